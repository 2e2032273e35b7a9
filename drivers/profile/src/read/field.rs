//! Reads the fields of a write recipe: where each stands and what is written into it.

use std::ops::Range;
use std::time::Duration;

use document::{Spanned, Table};
use model::Point;

use super::registers::{self, Defaults, Register};
use super::value;
use crate::codes;
use crate::modbus::{DataType, Encoding, Field, FieldValue, WriteFunction};

/// Most registers in one write: MODBUS Application Protocol Specification V1.1b3, 6.12.
const WRITE_REGISTERS_MAX: u32 = 123;

/// What a field carries, as the file names it.
#[derive(Clone, Copy)]
enum Write {
    Setpoint,
    Magnitude,
    NegativePart,
    PositivePart,
    BySign,
    Percent,
    Revert,
    Constant,
}

/// Names of what a field carries.
const WRITES: &[(&str, Write)] = &[
    ("setpoint", Write::Setpoint),
    ("magnitude", Write::Magnitude),
    ("negative-part", Write::NegativePart),
    ("positive-part", Write::PositivePart),
    ("by-sign", Write::BySign),
    ("percent", Write::Percent),
    ("revert-seconds", Write::Revert),
    ("constant", Write::Constant),
];

/// What the control tells about all of its fields.
pub(super) struct Recipe<'c> {
    /// The point that is set, if its name was understood.
    pub(super) point: Option<Point>,
    /// The vendor's sign.
    pub(super) sign: Option<f64>,
    /// Points that the profile reads.
    pub(super) known: &'c [Point],
    /// Which function writes.
    pub(super) write_function: WriteFunction,
    /// Whether the device falls back by itself.
    pub(super) reverts: bool,
    /// After which time it does.
    pub(super) revert: Option<&'c Spanned<Duration>>,
    /// Fields are written in the order of the file, not in that of their addresses.
    pub(super) stepwise: bool,
}

/// The fields and the indices of those that are read back and proved.
pub(super) fn read_all(
    table: &Table<'_>,
    defaults: &Defaults,
    recipe: &Recipe<'_>,
) -> Option<(Vec<Field>, Vec<usize>)> {
    let mut extents: Vec<Register> = Vec::new();
    let mut fields = Vec::new();
    let mut complete = true;
    for t in table.tables("fields") {
        let register = registers::read(&t, defaults);
        let write = if t.has("write") {
            t.choice("write", WRITES)
        } else {
            t.missing("write", "\"setpoint\"")
        };
        let content = write.and_then(|w| content(&t, &w, register.as_ref(), recipe));
        t.finish();
        let (Some(register), Some((value, factor))) = (register, content) else {
            complete = false;
            continue;
        };
        if !register.writable {
            table.document().error(
                codes::NOT_WRITABLE,
                register.span.clone(),
                "nothing can be written here",
                "",
                "take a holding register or a coil, or a SunSpec point that is writable",
            );
        }
        if recipe.write_function == WriteFunction::Single && register.encoding.data.registers() > 1
        {
            table.document().error(
                codes::ONE_REGISTER,
                register.span.clone(),
                "function 6 writes one register, and this value takes more",
                "",
                "take a type of 16 bits, or `write_function = \"multiple\"`",
            );
        }
        let scaled = value.carries_setpoint() && !matches!(value, FieldValue::BySign { .. });
        fields.push(Field {
            address: register.address,
            encoding: Encoding {
                factor,
                scale: register.encoding.scale.filter(|_| scaled),
                ..register.encoding
            },
            value,
        });
        extents.push(register);
    }
    if recipe.stepwise {
        check_overlap(table, &extents);
    } else {
        check_order(table, &extents);
    }
    if !complete {
        return None;
    }
    let proved = |f: &Field| f.value.carries_setpoint();
    if let Some(fault) = incomplete(&fields) {
        table.document().error(
            codes::SETPOINT_FIELD,
            table.span_of("fields"),
            fault,
            "",
            "mark one field with `write = \"setpoint\"` or `\"percent\"`; or `\"magnitude\"` beside a \
             `\"by-sign\"`; or both `\"negative-part\"` and `\"positive-part\"`",
        );
        return None;
    }
    let indices = fields.iter().enumerate().filter(|(_, f)| proved(f));
    let indices = indices.map(|(i, _)| i).collect();
    Some((fields, indices))
}

/// Whether two fields tell one percentage in opposite directions.
fn are_mirrored(fields: &[Field]) -> bool {
    let percentages: Vec<(Point, f64)> = fields
        .iter()
        .filter_map(|f| match f.value {
            FieldValue::PercentOf { reference, .. } => Some((reference, f.encoding.factor)),
            _ => None,
        })
        .collect();
    matches!(percentages.as_slice(), [(a, one), (b, other)] if a == b && *one == -other)
}

/// Why the fields do not tell the device the whole setpoint exactly once, sign included.
fn incomplete(fields: &[Field]) -> Option<String> {
    let count = |is: fn(&FieldValue) -> bool| fields.iter().filter(|f| is(&f.value)).count();
    let whole = count(|v| matches!(v, FieldValue::Setpoint | FieldValue::PercentOf { .. }));
    let magnitudes = count(|v| matches!(v, FieldValue::Magnitude));
    let negative = count(|v| matches!(v, FieldValue::NegativePart));
    let positive = count(|v| matches!(v, FieldValue::PositivePart));
    let signs = count(|v| matches!(v, FieldValue::BySign { .. }));
    match (whole, magnitudes, negative, positive, signs) {
        // A lower and an upper limit that meet at the setpoint, each in its own direction.
        (2, 0, 0, 0, 0) if are_mirrored(fields) => None,
        (1, 0, 0, 0, 0) | (0, 1, 0, 0, 1) | (0, 0, 1, 1, 0 | 1) => None,
        (0, 0, 0, 0, _) => Some("0 fields carry the setpoint, it must be one".to_owned()),
        (2.., 0, 0, 0, _) => Some(format!("{whole} fields carry the setpoint, it must be one")),
        (0, 1, 0, 0, 0) => Some("the device is not told the sign of the setpoint".to_owned()),
        (0, 0, 0, 1, _) | (0, 0, 1, 0, _) => {
            Some("the device is told half of the setpoint only".to_owned())
        }
        _ => Some("the fields tell the setpoint in more than one way".to_owned()),
    }
}

/// What a field carries, and its factor to the base unit.
fn content(
    t: &Table<'_>,
    write: &Spanned<Write>,
    register: Option<&Register>,
    recipe: &Recipe<'_>,
) -> Option<(FieldValue, f64)> {
    match write.value {
        Write::Setpoint => {
            let (Some(point), Some(register)) = (recipe.point, register) else {
                return value::pass_over(t);
            };
            let factor = value::factor(t, point, register.unit.as_deref(), recipe.sign)?;
            Some((FieldValue::Setpoint, factor))
        }
        Write::Magnitude | Write::NegativePart | Write::PositivePart => {
            let (Some(point), Some(register)) = (recipe.point, register) else {
                return value::pass_over(t);
            };
            // A number without a sign: which way it counts is told by its name.
            let factor = value::unsigned_factor(t, point, register.unit.as_deref())?;
            let value = match write.value {
                Write::Magnitude => FieldValue::Magnitude,
                Write::NegativePart => FieldValue::NegativePart,
                _ => FieldValue::PositivePart,
            };
            Some((value, factor))
        }
        Write::BySign => {
            let [positive, zero, negative] =
                ["positive", "zero", "negative"].map(|key| constant(t, key, register));
            let value = FieldValue::BySign {
                positive: positive?,
                zero: zero?,
                negative: negative?,
            };
            Some((value, 1.0))
        }
        Write::Percent => percent(t, recipe),
        Write::Revert => {
            let scale = value::scale(t)?;
            check_revert(t, &write.span, register, recipe, scale);
            Some((FieldValue::RevertSeconds, scale))
        }
        Write::Constant => Some((FieldValue::Constant(constant(t, "raw", register)?), 1.0)),
    }
}

/// A raw number under `key` that fits the register.
fn constant(t: &Table<'_>, key: &str, register: Option<&Register>) -> Option<i64> {
    let raw = match t.integer(key, i64::MIN..=i64::MAX) {
        None if !t.has(key) => t.missing(key, "0"),
        raw => raw,
    }?;
    if let Some(register) = register
        && !fits(register.encoding.data, raw.value)
    {
        t.document().error(
            codes::CONSTANT_TOO_BIG,
            raw.span,
            format!("{} does not fit the field's type", raw.value),
            "",
            "write the raw number as it stands in the register",
        );
    }
    Some(raw.value)
}

fn percent(t: &Table<'_>, recipe: &Recipe<'_>) -> Option<(FieldValue, f64)> {
    let reference = value::point(t, "of");
    let min = t.number("min");
    if let Some(min) = &min
        && !(0.0..=100.0).contains(&min.value)
    {
        t.document().error(
            codes::BAD_PERCENTAGE,
            min.span.clone(),
            "the smallest percentage is none",
            "must lie in 0..=100",
            "",
        );
    }
    let factor = value::scale(t);
    let (reference, point) = (reference?, recipe.point?);
    let read = recipe.known.contains(&reference.value);
    // A percentage of an apparent power is one of a reactive power of the same number.
    let power = |point: Point| matches!(point.unit(), "W" | "var" | "VA");
    let fits = reference.value.unit() == point.unit() || (power(reference.value) && power(point));
    if !read || !fits {
        t.document().error(
            codes::NO_REFERENCE,
            reference.span,
            format!(
                "`{}` cannot be the 100 percent of `{point}`",
                reference.value
            ),
            "",
            format!("map a point in {} that this profile reads", point.unit()),
        );
    }
    let sign = value::direction(t, point, recipe.sign)?;
    let value = FieldValue::PercentOf {
        reference: reference.value,
        // A limit is never below nothing; a setpoint may go either way.
        min: match (min, point) {
            (Some(min), _) => min.value,
            (None, Point::ActivePowerLimit) => 0.0,
            (None, _) => f64::NEG_INFINITY,
        },
    };
    Some((value, factor? * sign))
}

/// Whether a raw whole number can be written in a type.
fn fits(data: DataType, raw: i64) -> bool {
    match data {
        DataType::Bit => (0..=1).contains(&raw),
        DataType::U16 => u16::try_from(raw).is_ok(),
        DataType::I16 => i16::try_from(raw).is_ok(),
        DataType::U32 => u32::try_from(raw).is_ok(),
        DataType::I32 => i32::try_from(raw).is_ok(),
        DataType::U64 => u64::try_from(raw).is_ok(),
        // 24 bits of mantissa hold whole numbers exactly.
        DataType::F32 => raw.unsigned_abs() <= 1 << 24,
        DataType::I64 => true,
    }
}

fn check_revert(
    t: &Table<'_>,
    span: &Range<usize>,
    register: Option<&Register>,
    recipe: &Recipe<'_>,
    scale: f64,
) {
    // How many of the register's own units the time is, such as minutes with a scale of 60.
    let units = recipe.revert.map(|r| r.value.as_secs_f64() / scale);
    let whole = units.is_none_or(|u| u.fract() == 0.0 && u >= 1.0);
    let fitting = units.is_none_or(|u| register.is_none_or(|r| fits(r.encoding.data, u as i64)));
    if !(recipe.reverts && whole && fitting) {
        t.document().error(
            codes::REVERT_FIELD,
            span.clone(),
            "the revert time cannot be written into this field",
            "",
            "state `comms_loss = \"reverts\"` with a whole number of seconds that fits the field",
        );
    }
}

/// Fields that are written one after the other do not overlap.
fn check_overlap(table: &Table<'_>, fields: &[Register]) {
    for (i, field) in fields.iter().enumerate() {
        let (kind, model, registers) = field.extent();
        let clash = fields.iter().take(i).any(|before| {
            let (k, m, taken) = before.extent();
            (k, m) == (kind, model) && taken.start < registers.end && registers.start < taken.end
        });
        if clash {
            table.document().error(
                codes::FIELD_ORDER,
                field.span.clone(),
                "two fields take the same register",
                "the second of them",
                "check address and type of both",
            );
        }
    }
}

/// Fields stand in address order without overlap, and a run of neighbours fits one request.
fn check_order(table: &Table<'_>, fields: &[Register]) {
    let mut run = 0;
    for (i, field) in fields.iter().enumerate() {
        let (kind, model, registers) = field.extent();
        let previous = i
            .checked_sub(1)
            .and_then(|p| fields.get(p))
            .map(Register::extent);
        let neighbour = match &previous {
            Some((k, m, before)) => {
                if (*k, *m) != (kind, model) || before.end > registers.start {
                    table.document().error(
                        codes::FIELD_ORDER,
                        field.span.clone(),
                        "the fields are not in address order in one table or model",
                        "begins before the end of the field above, or elsewhere",
                        "sort the fields by address",
                    );
                }
                before.end == registers.start
            }
            None => false,
        };
        let taken = registers.end - registers.start;
        let before = run;
        run = if neighbour { run + taken } else { taken };
        if run > WRITE_REGISTERS_MAX && before <= WRITE_REGISTERS_MAX {
            table.document().error(
                codes::WRITE_TOO_WIDE,
                field.span.clone(),
                format!("neighbouring fields take {run} registers"),
                format!("one write takes {WRITE_REGISTERS_MAX}"),
                "leave out fields that need not be written",
            );
        }
    }
}
