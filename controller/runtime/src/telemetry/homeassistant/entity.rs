//! What each point is in the words of Home Assistant: one table.
//!
//! Pairs of device class, unit and state class are those that its sensor documentation
//! allows (`DEVICE_CLASS_UNITS` and `DEVICE_CLASS_STATE_CLASSES` of its sensor component);
//! another pair would be refused there, or shown without statistics.

use model::Point;
use serde_json::{Value, json};

/// What kind of thing is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Power,
    ReactivePower,
    ApparentPower,
    PowerFactor,
    Energy,
    Voltage,
    Current,
    Frequency,
    Temperature,
    Charge,
    Health,
    Angle,
    /// An enumeration or bits of the vendor's: a number without statistics.
    Code,
    /// A contact: closed or open.
    Switch,
    /// Whether a battery permits something.
    Permission,
    /// An alarm of the rig.
    Problem,
    /// Whether somebody has seen an alarm that is raised.
    Seen,
}

/// Its platform and its keys there: device class, unit, state class.
type Facts = (
    Platform,
    Option<&'static str>,
    Option<&'static str>,
    Option<&'static str>,
);

/// The integration of Home Assistant that shows it. None that takes commands is among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Platform {
    Sensor,
    BinarySensor,
}

impl Platform {
    fn name(self) -> &'static str {
        match self {
            Self::Sensor => "sensor",
            Self::BinarySensor => "binary_sensor",
        }
    }
}

const MEASUREMENT: Option<&str> = Some("measurement");

impl Kind {
    fn facts(self) -> Facts {
        use Platform::{BinarySensor, Sensor};
        match self {
            Self::Power => (Sensor, Some("power"), Some("W"), MEASUREMENT),
            Self::ReactivePower => (Sensor, Some("reactive_power"), Some("var"), MEASUREMENT),
            Self::ApparentPower => (Sensor, Some("apparent_power"), Some("VA"), MEASUREMENT),
            Self::PowerFactor => (Sensor, Some("power_factor"), None, MEASUREMENT),
            Self::Energy => (Sensor, Some("energy"), Some("Wh"), Some("total_increasing")),
            Self::Voltage => (Sensor, Some("voltage"), Some("V"), MEASUREMENT),
            Self::Current => (Sensor, Some("current"), Some("A"), MEASUREMENT),
            Self::Frequency => (Sensor, Some("frequency"), Some("Hz"), MEASUREMENT),
            Self::Temperature => (Sensor, Some("temperature"), Some("°C"), MEASUREMENT),
            Self::Charge => (Sensor, Some("battery"), Some("%"), MEASUREMENT),
            Self::Health => (Sensor, None, Some("%"), MEASUREMENT),
            Self::Angle => (Sensor, None, Some("°"), MEASUREMENT),
            Self::Code => (Sensor, None, None, None),
            Self::Switch => (BinarySensor, Some("power"), None, None),
            Self::Permission => (BinarySensor, None, None, None),
            Self::Problem => (BinarySensor, Some("problem"), None, None),
            Self::Seen => (BinarySensor, None, None, None),
        }
    }
}

/// What an entity shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// A point of a device.
    Point(Point),
    /// An alarm of the rig, by its name.
    Alarm(String),
    /// Whether an alarm that is raised was seen, by the name of the alarm and that of the entity.
    Seen(String, String),
}

impl Shown {
    /// Whether an alarm was seen.
    pub(super) fn seen(alarm: &str) -> Self {
        Self::Seen(alarm.to_owned(), format!("{alarm} seen"))
    }

    /// Its key: in the state, among the components, and at the end of its unique id.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Point(point) => super::super::field_name(*point),
            // A template can name it whatever the rig calls it.
            Self::Alarm(name) => object_id(name).replace('-', "_"),
            Self::Seen(alarm, _) => {
                format!("{}__seen", object_id(alarm).replace('-', "_"))
            }
        }
    }

    /// What it is called, what it is, and whether it tells of the device rather than of its power.
    fn facts(&self) -> (&str, Kind, bool) {
        match self {
            Self::Point(point) => shown(*point),
            Self::Alarm(name) => (name, Kind::Problem, false),
            Self::Seen(_, name) => (name, Kind::Seen, true),
        }
    }

    /// The integration that shows it.
    pub(super) fn platform(&self) -> &'static str {
        self.facts().1.facts().0.name()
    }

    /// A good value as the state says it.
    pub(super) fn said(&self, value: f64) -> Value {
        said(self.facts().1, value)
    }
}

/// What a point is called and what it is; whether it tells of the device rather than of its power.
fn shown(point: Point) -> (&'static str, Kind, bool) {
    use Kind::{
        Angle, ApparentPower, Charge, Code, Current, Energy, Frequency, Health, Permission, Power,
        PowerFactor, ReactivePower, Switch, Temperature, Voltage,
    };
    match point {
        Point::ActivePower => ("Active power", Power, false),
        Point::ReactivePower => ("Reactive power", ReactivePower, false),
        Point::ApparentPower => ("Apparent power", ApparentPower, false),
        Point::PowerFactor => ("Power factor", PowerFactor, false),
        Point::Frequency => ("Frequency", Frequency, false),
        Point::VoltageL1 => ("Voltage L1", Voltage, false),
        Point::VoltageL2 => ("Voltage L2", Voltage, false),
        Point::VoltageL3 => ("Voltage L3", Voltage, false),
        Point::CurrentL1 => ("Current L1", Current, false),
        Point::CurrentL2 => ("Current L2", Current, false),
        Point::CurrentL3 => ("Current L3", Current, false),
        Point::ActivePowerL1 => ("Active power L1", Power, false),
        Point::ActivePowerL2 => ("Active power L2", Power, false),
        Point::ActivePowerL3 => ("Active power L3", Power, false),
        Point::EnergyImport => ("Energy taken from the bus", Energy, false),
        Point::EnergyExport => ("Energy given to the bus", Energy, false),
        Point::DcVoltage => ("DC voltage", Voltage, false),
        Point::DcCurrent => ("DC current", Current, false),
        Point::DcPower => ("DC power", Power, false),
        Point::StringVoltage1 => ("String 1 voltage", Voltage, false),
        Point::StringVoltage2 => ("String 2 voltage", Voltage, false),
        Point::StringCurrent1 => ("String 1 current", Current, false),
        Point::StringCurrent2 => ("String 2 current", Current, false),
        Point::StringPower1 => ("String 1 power", Power, false),
        Point::StringPower2 => ("String 2 power", Power, false),
        Point::StateOfCharge => ("State of charge", Charge, false),
        Point::StateOfHealth => ("State of health", Health, true),
        Point::BatteryVoltage => ("Battery voltage", Voltage, false),
        Point::BatteryCurrent => ("Battery current", Current, false),
        Point::BatteryTemperature => ("Battery temperature", Temperature, false),
        Point::ChargeCurrentMax => ("Charge current limit", Current, true),
        Point::DischargeCurrentMax => ("Discharge current limit", Current, true),
        Point::ChargeVoltageMax => ("Charge voltage limit", Voltage, true),
        Point::DischargeVoltageMin => ("Discharge voltage limit", Voltage, true),
        Point::ChargePowerMax => ("Charge power limit", Power, true),
        Point::DischargePowerMax => ("Discharge power limit", Power, true),
        Point::ChargeEnabled => ("Charging permitted", Permission, true),
        Point::DischargeEnabled => ("Discharging permitted", Permission, true),
        Point::RatedApparentPower => ("Rated apparent power", ApparentPower, true),
        Point::RatedActivePower => ("Rated active power", Power, true),
        Point::State => ("State", Code, true),
        Point::Alarm => ("Alarm", Code, true),
        Point::Warning => ("Warning", Code, true),
        Point::SwitchOn => ("Switch", Switch, false),
        Point::GridVoltage => ("Grid voltage", Voltage, false),
        Point::GridFrequency => ("Grid frequency", Frequency, false),
        Point::SyncAngle => ("Angle to the grid", Angle, false),
        Point::ActivePowerSet => ("Active power setpoint", Power, true),
        Point::ActivePowerLimit => ("Active power ceiling", Power, true),
        Point::ReactivePowerSet => ("Reactive power setpoint", ReactivePower, true),
        Point::FrequencySet => ("Frequency setpoint", Frequency, true),
        Point::VoltageSet => ("Voltage setpoint", Voltage, true),
        Point::PhaseSet => ("Phase angle setpoint", Angle, true),
    }
}

fn said(kind: Kind, value: f64) -> Value {
    if kind.facts().0 == Platform::BinarySensor {
        return Value::from(if value >= 0.5 { "ON" } else { "OFF" });
    }
    let value = match kind {
        Kind::Charge | Kind::Health => value * 100.0,
        _ => value,
    };
    // A millionth of a unit is below every meter; the rest is noise of binary fractions.
    json!((value * 1e6).round() / 1e6)
}

/// Where a device's entities live at the broker.
pub(super) struct Topics<'a> {
    /// Whether we are there.
    pub(super) status: &'a str,
    /// The device's values.
    pub(super) state: &'a str,
}

/// The configuration of an entity.
pub(super) fn component(of: &Shown, device_id: &str, topics: &Topics<'_>) -> Value {
    let (name, kind, diagnostic) = of.facts();
    let (platform, device_class, unit, state_class) = kind.facts();
    let key = of.key();
    let mut component = json!({
        "platform": platform.name(),
        "name": name,
        "unique_id": format!("{device_id}-{key}"),
        "state_topic": topics.state,
        "value_template": format!("{{{{ value_json.{key} }}}}"),
        // Both must say so: we are there, and this very point has a value. A value that is not
        // known is null in the state, and unknown is not zero.
        "availability_mode": "all",
        "availability": [
            { "topic": topics.status },
            {
                "topic": topics.state,
                "value_template": format!(
                    "{{{{ 'online' if value_json.get('{key}') is not none else 'offline' }}}}"
                ),
            },
        ],
    });
    let more = [
        ("device_class", device_class),
        ("unit_of_measurement", unit),
        ("state_class", state_class),
        ("entity_category", diagnostic.then_some("diagnostic")),
    ];
    for (key, value) in more {
        if let Some(value) = value {
            component[key] = Value::from(value);
        }
    }
    component
}

/// A name in letters that a discovery topic may hold, and that no other name has.
pub(super) fn object_id(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(fits) {
        return name.to_owned();
    }
    let letters: String = name
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    // The broker link's name maker: a short hash, told apart by its sixteen digits.
    let hash = bus::mqtt::link::client_id(&[name.as_bytes()]);
    format!("{letters}-{}", hash.trim_start_matches("grig-"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_point_has_a_name_of_its_own_and_its_own_unit() {
        let names: BTreeSet<&str> = Point::ALL.iter().map(|p| shown(*p).0).collect();
        assert_eq!(names.len(), Point::ALL.len());
        for point in Point::ALL {
            let (_, kind, _) = shown(*point);
            let (_, _, unit, _) = kind.facts();
            let expected = match (point.unit(), kind) {
                ("1", Kind::Charge | Kind::Health) => Some("%"),
                ("1", _) => None,
                ("degC", _) => Some("°C"),
                ("deg", _) => Some("°"),
                (unit, _) => Some(unit),
            };
            assert_eq!(unit, expected, "{point}");
        }
    }

    #[test]
    fn values_are_said_in_the_unit_that_is_announced() {
        for (point, value, expected) in [
            (Point::ActivePower, -1500.0625, json!(-1500.0625)),
            (Point::StateOfCharge, 0.55, json!(55.0)),
            (Point::StateOfHealth, 0.99, json!(99.0)),
            (Point::SwitchOn, 1.0, json!("ON")),
            (Point::SwitchOn, 0.0, json!("OFF")),
            (Point::ChargeEnabled, 1.0, json!("ON")),
            (Point::PowerFactor, 0.1 + 0.2, json!(0.3)),
        ] {
            assert_eq!(Shown::Point(point).said(value), expected, "{point}");
        }
    }
}
