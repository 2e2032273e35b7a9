//! Units that a vendor writes, with their factors to a point's base unit.

use model::Point;

/// Units of one base unit, each with its factor to it.
type Units = &'static [(&'static str, f64)];

/// Units by the base unit of the point.
const UNITS: &[(&str, Units)] = &[
    ("W", &[("W", 1.0), ("kW", 1e3), ("MW", 1e6), ("mW", 1e-3)]),
    ("var", &[("var", 1.0), ("kvar", 1e3)]),
    ("VA", &[("VA", 1.0), ("kVA", 1e3)]),
    ("V", &[("V", 1.0), ("kV", 1e3), ("mV", 1e-3)]),
    ("A", &[("A", 1.0), ("kA", 1e3), ("mA", 1e-3)]),
    ("Hz", &[("Hz", 1.0), ("mHz", 1e-3)]),
    (
        "Wh",
        &[
            ("Wh", 1.0),
            ("kWh", 1e3),
            ("MWh", 1e6),
            // A watt-minute is what first-generation plugs count.
            ("Wmin", 1.0 / 60.0),
            ("mWh", 1e-3),
        ],
    ),
    ("deg", &[("deg", 1.0)]),
    ("degC", &[("degC", 1.0)]),
    ("1", &[("1", 1.0), ("%", 1e-2)]),
];

/// Units as SunSpec writes them, where ours are written otherwise.
const SUNSPEC_UNITS: &[(&str, &str)] = &[
    ("Var", "var"),
    ("VAr", "var"),
    ("WH", "Wh"),
    ("C", "degC"),
    ("Pct", "%"),
    ("cos()", "1"),
    // What the float meters 211 to 214 call the unit of a power factor.
    ("PF", "1"),
];

/// Units as DBC files write them, where ours are written otherwise. They are free text there.
const DBC_UNITS: &[(&str, &str)] = &[
    ("\u{b0}C", "degC"),
    ("deg C", "degC"),
    ("C", "degC"),
    ("VAr", "var"),
    ("Var", "var"),
    ("kVAr", "kvar"),
    ("Volt", "V"),
    ("Amp", "A"),
    ("-", "1"),
];

fn units(point: Point) -> Units {
    UNITS
        .iter()
        .find(|(base, _)| *base == point.unit())
        .map_or(&[], |(_, units)| *units)
}

/// Factor from a unit to the base unit of a point; `None` when the unit does not fit it.
pub(super) fn factor(point: Point, unit: &str) -> Option<f64> {
    let (_, factor) = units(point).iter().find(|(name, _)| *name == unit)?;
    Some(*factor)
}

/// Names of the units that fit a point, for messages.
pub(super) fn accepted(point: Point) -> String {
    let names: Vec<&str> = units(point).iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

/// Our name of a unit that SunSpec writes; a percentage of whatever is a percentage.
pub(super) fn from_sunspec(unit: &str) -> &str {
    if unit.starts_with('%') {
        return "%";
    }
    SUNSPEC_UNITS
        .iter()
        .find(|(theirs, _)| *theirs == unit)
        .map_or(unit, |(_, ours)| *ours)
}

/// Our name of a unit that a DBC file writes.
pub(super) fn from_dbc(unit: &str) -> &str {
    let unit = unit.trim();
    DBC_UNITS
        .iter()
        .find(|(theirs, _)| *theirs == unit)
        .map_or(unit, |(_, ours)| *ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_has_a_unit_and_its_own_base_unit_counts_one() {
        for point in Point::ALL {
            assert_eq!(factor(*point, point.unit()), Some(1.0), "{point}");
        }
    }

    #[test]
    fn a_unit_of_another_quantity_does_not_fit() {
        let rows = [
            (Point::ActivePower, "kW", Some(1e3)),
            (Point::ActivePower, "kvar", None),
            (Point::ReactivePower, "kvar", Some(1e3)),
            (Point::StateOfCharge, "%", Some(0.01)),
            (Point::EnergyExport, "kW", None),
            (Point::EnergyExport, from_sunspec("WH"), Some(1.0)),
            (Point::StateOfCharge, from_sunspec("% AhrRtg"), Some(0.01)),
        ];
        for (point, unit, expected) in rows {
            assert_eq!(factor(point, unit), expected, "{point} in {unit}");
        }
    }
}
