//! Reads the recipes that write setpoints, and checks that each ends safely.

use std::ops::Range;
use std::time::Duration;

use document::{Spanned, Table};
use model::Point;
use quantities::{ActivePower, Quantity};

use super::registers::{self, Defaults, Register};
use super::{required_time, twice, value};
use crate::codes;
use crate::modbus::{CommsLoss, Control, DataType, Encoding, Field, FieldValue, Readback};

/// Most registers in one write: MODBUS Application Protocol Specification V1.1b3, 6.12.
const WRITE_REGISTERS_MAX: u32 = 123;

/// Points that can be set.
const CONTROLLABLE: &[Point] = &[
    Point::ActivePowerSet,
    Point::ActivePowerLimit,
    Point::ReactivePowerSet,
    Point::SwitchOn,
];

/// Whether the device falls back by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// It falls back.
    Reverts,
    /// It keeps the last value.
    Holds,
}

/// What a field carries, as the file names it.
#[derive(Clone, Copy)]
enum Write {
    Setpoint,
    Percent,
    Revert,
    Constant,
}

/// Names of what a field carries.
const WRITES: &[(&str, Write)] = &[
    ("setpoint", Write::Setpoint),
    ("percent", Write::Percent),
    ("revert-seconds", Write::Revert),
    ("constant", Write::Constant),
];

pub(super) fn read(
    root: &Table<'_>,
    defaults: &Defaults,
    sign: Option<f64>,
    known: &[Point],
) -> Vec<Control> {
    let mut seen: Vec<Point> = Vec::new();
    root.tables("control")
        .into_iter()
        .filter_map(|table| {
            let point = controllable(&table, CONTROLLABLE);
            if let Some(point) = &point {
                if seen.contains(&point.value) {
                    let what = format!("the control `{}`", point.value);
                    twice(&table, codes::CONTROL_TWICE, point.span.clone(), &what);
                }
                seen.push(point.value);
            }
            control(table, defaults, sign, known, point.map(|p| p.value))
        })
        .collect()
}

/// The point that a control sets, if it is one that can be set.
pub(super) fn controllable(table: &Table<'_>, allowed: &[Point]) -> Option<Spanned<Point>> {
    let point = value::point(table, "name")?;
    if allowed.contains(&point.value) {
        return Some(point);
    }
    let names: Vec<&str> = allowed.iter().map(|p| p.name()).collect();
    table.document().error(
        codes::NOT_CONTROLLABLE,
        point.span,
        format!("`{}` cannot be set", point.value),
        "",
        format!("use one of: {}", names.join(", ")),
    );
    None
}

/// What the device does when it hears nothing more; there is no default.
pub(super) fn comms_loss(table: &Table<'_>) -> Option<Spanned<Loss>> {
    if table.has("comms_loss") {
        return table.choice(
            "comms_loss",
            &[("reverts", Loss::Reverts), ("holds", Loss::Holds)],
        );
    }
    table.document().error(
        codes::COMMS_LOSS_UNSTATED,
        table.span(),
        "it is not said what the device does when it hears nothing more",
        "in this table",
        "add `comms_loss = \"reverts\"` with `revert = \"60s\"`, or `comms_loss = \"holds\"`",
    );
    None
}

fn control(
    table: Table<'_>,
    defaults: &Defaults,
    sign: Option<f64>,
    known: &[Point],
    point: Option<Point>,
) -> Option<Control> {
    let loss = comms_loss(&table);
    let reverts = loss.as_ref().is_none_or(|l| l.value == Loss::Reverts);
    let revert = match &loss {
        Some(l) if l.value == Loss::Reverts => required_time(&table, "revert", "60s"),
        // Without a known loss behaviour the time may stand there; nothing follows from it.
        None => table.duration("revert"),
        Some(_) => None,
    };
    let refresh = refresh(&table, loss.as_ref().map(|l| l.value), revert.as_ref());
    let fields = fields(&table, defaults, sign, known, point, reverts, revert.as_ref());
    let Some(point) = point else {
        let _ = (table.has("safe"), table.has("tolerance"), table.has("range"));
        table.finish();
        return None;
    };
    let range = control_range(&table, point);
    let safe = value::setting(&table, "safe", point);
    if let (Some(range), Some(safe)) = (range, &safe)
        && !range.contains(ActivePower::from_base(safe.value))
    {
        table.document().error(
            codes::SAFE_OUTSIDE,
            safe.span.clone(),
            "the safe value lies outside the control's range",
            format!("the range is {range}"),
            "",
        );
    }
    let tolerance = tolerance(&table, point);
    table.finish();
    let (fields, setpoint) = fields?;
    Some(Control {
        point,
        fields,
        readback: Readback {
            field: setpoint,
            tolerance: tolerance?,
        },
        range,
        refresh,
        safe: safe?.value,
        comms_loss: match loss?.value {
            Loss::Reverts => CommsLoss::Reverts {
                after: revert?.value,
            },
            Loss::Holds => CommsLoss::Holds,
        },
    })
}

fn refresh(
    table: &Table<'_>,
    loss: Option<Loss>,
    revert: Option<&Spanned<Duration>>,
) -> Option<Duration> {
    let refresh = if table.has("refresh") {
        required_time(table, "refresh", "10s")
    } else {
        None
    };
    if loss != Some(Loss::Reverts) {
        return refresh.map(|r| r.value);
    }
    let revert = revert?;
    check_refresh(table, "refresh", refresh.as_ref(), revert);
    refresh.map(|r| r.value)
}

/// A setpoint that the device drops is rewritten at least twice before.
pub(super) fn check_refresh(
    table: &Table<'_>,
    key: &str,
    refresh: Option<&Spanned<Duration>>,
    revert: &Spanned<Duration>,
) {
    let half = revert.value / 2;
    match refresh {
        None if table.has(key) => {}
        None => table.document().error(
            codes::REFRESH_MISSING,
            revert.span.clone(),
            format!("the device reverts after {:?} and nothing is rewritten", revert.value),
            "",
            format!("add `{key} = \"{}s\"` or less", half.as_secs_f64()),
        ),
        Some(refresh) if refresh.value > half => table.document().error(
            codes::REFRESH_TOO_SLOW,
            refresh.span.clone(),
            format!("rewriting every {:?} is too slow", refresh.value),
            format!("the device reverts after {:?}", revert.value),
            format!("write `{key} = \"{}s\"` or less", half.as_secs_f64()),
        ),
        Some(_) => {}
    }
}

fn control_range(table: &Table<'_>, point: Point) -> Option<quantities::Bounds<ActivePower>> {
    if !table.has("range") {
        return None;
    }
    if point.unit() != "W" {
        table.document().error(
            codes::RANGE_NOT_POWER,
            table.span_of("range"),
            format!("`{point}` takes no range"),
            "",
            "leave it out",
        );
        return None;
    }
    table.range::<ActivePower>("range").map(|r| r.value)
}

/// Largest difference of the read-back; a switch has none.
fn tolerance(table: &Table<'_>, point: Point) -> Option<f64> {
    if point == Point::SwitchOn {
        return Some(0.0);
    }
    Some(value::setting(table, "tolerance", point)?.value.abs())
}

/// The fields and the index of the one that carries the setpoint.
fn fields(
    table: &Table<'_>,
    defaults: &Defaults,
    sign: Option<f64>,
    known: &[Point],
    point: Option<Point>,
    reverts: bool,
    revert: Option<&Spanned<Duration>>,
) -> Option<(Vec<Field>, usize)> {
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
        let unit = register.as_ref().and_then(|r| r.unit.clone());
        let data = register.as_ref().map(|r| r.encoding.data);
        let content = write
            .and_then(|w| content(&t, &w, point, data, unit.as_deref(), sign, known, reverts, revert));
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
        let scaled = matches!(value, FieldValue::Setpoint | FieldValue::PercentOf { .. });
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
    check_order(table, &extents);
    let setpoints: Vec<usize> = fields
        .iter()
        .enumerate()
        .filter(|(_, f)| matches!(f.value, FieldValue::Setpoint | FieldValue::PercentOf { .. }))
        .map(|(i, _)| i)
        .collect();
    match setpoints.as_slice() {
        [one] if complete => Some((fields, *one)),
        _ if !complete => None,
        many => {
            table.document().error(
                codes::SETPOINT_FIELD,
                table.span_of("fields"),
                format!("{} fields carry the setpoint, it must be one", many.len()),
                "",
                "mark one field with `write = \"setpoint\"` or `write = \"percent\"`",
            );
            None
        }
    }
}

/// What a field carries, and its factor to the base unit.
#[allow(clippy::too_many_arguments, reason = "each is one fact about the field; they have no common noun")]
fn content(
    t: &Table<'_>,
    write: &Spanned<Write>,
    point: Option<Point>,
    data: Option<DataType>,
    unit: Option<&str>,
    sign: Option<f64>,
    known: &[Point],
    reverts: bool,
    revert: Option<&Spanned<Duration>>,
) -> Option<(FieldValue, f64)> {
    match write.value {
        Write::Setpoint => {
            let factor = value::factor(t, point?, unit, sign)?;
            Some((FieldValue::Setpoint, factor))
        }
        Write::Percent => {
            let reference = value::point(t, "of");
            let min = t.number("min").map_or(0.0, |m| m.value);
            let factor = value::scale(t);
            let (reference, point) = (reference?, point?);
            if !known.contains(&reference.value) || reference.value.unit() != point.unit() {
                t.document().error(
                    codes::NO_REFERENCE,
                    reference.span,
                    format!("`{}` cannot be the 100 percent of `{point}`", reference.value),
                    "",
                    format!("map a point in {} that this profile reads", point.unit()),
                );
            }
            let sign = value::direction(t, point, sign)?;
            Some((
                FieldValue::PercentOf {
                    reference: reference.value,
                    min,
                },
                factor? * sign,
            ))
        }
        Write::Revert => {
            check_revert(t, &write.span, data, reverts, revert);
            Some((FieldValue::RevertSeconds, 1.0))
        }
        Write::Constant => {
            let raw = match t.integer("raw", i64::MIN..=i64::MAX) {
                None if !t.has("raw") => t.missing("raw", "0"),
                raw => raw,
            }?;
            if let Some(data) = data
                && !fits(data, raw.value)
            {
                t.document().error(
                    codes::CONSTANT_TOO_BIG,
                    raw.span,
                    format!("{} does not fit the field's type", raw.value),
                    "",
                    "write the raw number as it stands in the register",
                );
            }
            Some((FieldValue::Constant(raw.value), 1.0))
        }
    }
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
    data: Option<DataType>,
    reverts: bool,
    revert: Option<&Spanned<Duration>>,
) {
    let whole = revert.is_none_or(|r| r.value.subsec_nanos() == 0 && r.value.as_secs() > 0);
    let seconds = revert.map_or(Ok(0), |r| i64::try_from(r.value.as_secs()));
    let fitting = match (data, seconds) {
        (Some(data), Ok(seconds)) => fits(data, seconds),
        (None, Ok(_)) => true,
        (_, Err(_)) => false,
    };
    if !(reverts && whole && fitting) {
        t.document().error(
            codes::REVERT_FIELD,
            span.clone(),
            "the revert time cannot be written into this field",
            "",
            "state `comms_loss = \"reverts\"` with a whole number of seconds that fits the field",
        );
    }
}

/// Fields stand in address order without overlap, and a run of neighbours fits one request.
fn check_order(table: &Table<'_>, fields: &[Register]) {
    let mut run = 0;
    for (i, field) in fields.iter().enumerate() {
        let (kind, model, registers) = field.extent();
        let previous = i.checked_sub(1).and_then(|p| fields.get(p)).map(Register::extent);
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
