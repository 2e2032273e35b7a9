//! What every mapped value has, whatever the protocol: point, unit, scale, sign and range.

use document::{Spanned, Table};
use model::Point;
use quantities::{
    ActivePower, ApparentPower, Bounds, Current, Energy, Frequency, PhaseAngle, Quantity,
    ReactivePower, Temperature, Voltage,
};

use super::units;
use crate::{codes, near};

/// Which direction a vendor counts as positive, as a factor to ours (into the AC bus).
const SIGNS: &[(&str, f64)] = &[
    ("into-bus", 1.0),
    ("out-of-bus", -1.0),
    ("import+", 1.0),
    ("export+", -1.0),
    ("generation+", 1.0),
    ("consumption+", -1.0),
    ("discharge+", 1.0),
    ("charge+", -1.0),
];

/// Points that have a direction, so that a vendor's sign matters.
const DIRECTED: &[Point] = &[
    Point::ActivePower,
    Point::ReactivePower,
    Point::ActivePowerL1,
    Point::ActivePowerL2,
    Point::ActivePowerL3,
    Point::DcCurrent,
    Point::DcPower,
    Point::BatteryCurrent,
    Point::ActivePowerSet,
    Point::ActivePowerLimit,
    Point::ReactivePowerSet,
];

/// The vendor's sign as the table states it.
pub(super) fn read_sign(table: &Table<'_>) -> Option<f64> {
    Some(table.choice("sign", SIGNS)?.value)
}

/// The canonical point under `key`.
pub(super) fn point(table: &Table<'_>, key: &str) -> Option<Spanned<Point>> {
    let name = table.required_text(key, "ac.p")?;
    let Some(point) = Point::from_name(&name.value) else {
        let known: Vec<&str> = Point::ALL.iter().map(|p| p.name()).collect();
        table.document().error(
            codes::UNKNOWN_POINT,
            name.span,
            format!("`{}` is not a canonical point", name.value),
            "",
            near::help(&name.value, &known),
        );
        return None;
    };
    Some(name.map(|_| point))
}

/// The factor to the base unit: `scale` times the unit's factor times the sign.
///
/// `known_unit` is the unit that the layout already tells, if it does.
pub(super) fn factor(
    table: &Table<'_>,
    point: Point,
    known_unit: Option<&str>,
    sign: Option<f64>,
) -> Option<f64> {
    let factor = unsigned_factor(table, point, known_unit);
    let sign = direction(table, point, sign);
    Some(factor? * sign?)
}

/// The factor to the base unit of a number that has no sign of its own.
pub(super) fn unsigned_factor(
    table: &Table<'_>,
    point: Point,
    known_unit: Option<&str>,
) -> Option<f64> {
    let unit = match (table.has("unit"), known_unit) {
        (true, _) => table.text("unit")?,
        (false, Some(known)) => Spanned {
            value: known.to_owned(),
            span: table.span(),
        },
        (false, None) if point.unit() == "1" => Spanned {
            value: "1".to_owned(),
            span: table.span(),
        },
        (false, None) => table.missing("unit", &format!("\"{}\"", point.unit()))?,
    };
    let unit_factor = units::factor(point, &unit.value);
    if unit_factor.is_none() {
        table.document().error(
            codes::WRONG_UNIT,
            unit.span,
            format!("unit `{}` does not fit `{point}`", unit.value),
            "",
            format!("use one of: {}", units::accepted(point)),
        );
    }
    let scale = scale(table);
    Some(unit_factor? * scale?)
}

/// Our name of a unit that a DBC file writes.
pub(super) fn from_dbc(unit: &str) -> &str {
    units::from_dbc(unit)
}

/// Marks the keys of a value as asked for: what is wrong with them follows from an earlier fault.
pub(super) fn pass_over<T>(table: &Table<'_>) -> Option<T> {
    for key in ["unit", "scale", "sign", "offset", "range"] {
        table.has(key);
    }
    None
}

/// The plain factor `scale`, 1 when it is left out; never zero.
pub(super) fn scale(table: &Table<'_>) -> Option<f64> {
    if !table.has("scale") {
        return Some(1.0);
    }
    let scale = table.number("scale")?;
    if scale.value == 0.0 {
        table.document().error(
            codes::ZERO_SCALE,
            scale.span,
            "a scale of zero makes every value zero",
            "",
            "write what one raw count means, such as `scale = 0.1`",
        );
        return None;
    }
    Some(scale.value)
}

/// The factor for the vendor's sign: 1 for points without a direction.
pub(super) fn direction(table: &Table<'_>, point: Point, sign: Option<f64>) -> Option<f64> {
    if !DIRECTED.contains(&point) {
        return Some(1.0);
    }
    if table.has("sign") {
        return read_sign(table);
    }
    if sign.is_none() {
        table.document().error(
            codes::SIGN_UNSTATED,
            table.span(),
            format!("the sign of `{point}` is not stated"),
            "",
            "add `sign = \"import+\"` (or another) to `[profile]` or to this value",
        );
    }
    sign
}

/// The range in which values are believed, in the base unit.
pub(super) fn range(table: &Table<'_>, point: Point) -> Option<(f64, f64)> {
    if !table.has("range") {
        let example = match point.unit() {
            "1" => "[0, 1]".to_owned(),
            unit => format!("\"0..100{unit}\""),
        };
        return table.missing("range", &example);
    }
    if point.unit() == "1" {
        return plain_range(table);
    }
    Some(bounds_in(table, "range", point)?.value)
}

/// A range of two plain numbers.
pub(super) fn plain_range(table: &Table<'_>) -> Option<(f64, f64)> {
    let numbers = table.numbers("range");
    match numbers.as_slice() {
        [low, high] if low.value <= high.value => Some((low.value, high.value)),
        _ => {
            table.document().error(
                codes::BAD_RANGE,
                table.span_of("range"),
                "a range is a list of two numbers, the lower one first",
                "",
                "for example `range = [0, 1]`",
            );
            None
        }
    }
}

pub(super) fn bounds_in(table: &Table<'_>, key: &str, point: Point) -> Option<Spanned<(f64, f64)>> {
    fn read<Q: Quantity>(table: &Table<'_>, key: &str) -> Option<Spanned<(f64, f64)>> {
        let ends = |b: Bounds<Q>| (b.lower().base(), b.upper().base());
        table.range::<Q>(key).map(|r| r.map(ends))
    }
    match point.unit() {
        "W" => read::<ActivePower>(table, key),
        "var" => read::<ReactivePower>(table, key),
        "VA" => read::<ApparentPower>(table, key),
        "V" => read::<Voltage>(table, key),
        "A" => read::<Current>(table, key),
        "Hz" => read::<Frequency>(table, key),
        "Wh" => read::<Energy>(table, key),
        "degC" => read::<Temperature>(table, key),
        _ => read::<PhaseAngle>(table, key),
    }
}

/// A value of a settable point in its base unit: a text with unit, or on or off for a switch.
pub(super) fn setting(table: &Table<'_>, key: &str, point: Point) -> Option<Spanned<f64>> {
    let example = match point.unit() {
        "1" => "\"off\"".to_owned(),
        unit => format!("\"0{unit}\""),
    };
    if !table.has(key) {
        return table.missing(key, &example);
    }
    match point.unit() {
        "1" => table.choice(key, &[("off", 0.0), ("on", 1.0)]),
        "var" => table
            .quantity::<ReactivePower>(key)
            .map(|q| q.map(Quantity::base)),
        "Hz" => table
            .quantity::<Frequency>(key)
            .map(|q| q.map(Quantity::base)),
        "V" => table
            .quantity::<Voltage>(key)
            .map(|q| q.map(Quantity::base)),
        "deg" => table
            .quantity::<PhaseAngle>(key)
            .map(|q| q.map(Quantity::base)),
        _ => table
            .quantity::<ActivePower>(key)
            .map(|q| q.map(Quantity::base)),
    }
}
