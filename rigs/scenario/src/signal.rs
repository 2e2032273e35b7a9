//! Names of what a scenario sets and checks: `bat1.p`, `grid.f`, `mode`.
//!
//! A signal is a subject and a quantity. Whether `bat1.p` is asked of the
//! controller (an operator hold, which is limited) or `load1.p` is an input of the
//! emulated bench is the runner's decision; here only the quantity and its unit are
//! settled, so that a value with a wrong unit never leaves the file it stands in.

use std::fmt;

use quantities::{
    ActivePower, Frequency, ParseQuantityError, PhaseAngle, ReactivePower, StateOfCharge, Voltage,
    parse_quantity, parse_range,
};
use serde::{Deserialize, Serialize};

/// A phase of three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The first.
    L1,
    /// The second, 120 degrees behind it.
    L2,
    /// The third.
    L3,
}

/// What is measured or set of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalQuantity {
    /// Active power, watt; positive = into the AC bus, at the coupling point import.
    ActivePower,
    /// Reactive power, var.
    ReactivePower,
    /// Voltage, volt.
    Voltage,
    /// Frequency, hertz.
    Frequency,
    /// Phase angle against the utility, degree.
    PhaseAngle,
    /// Jump of the utility's phase, degree; an input only.
    PhaseJump,
    /// Voltage of one phase of the utility, volt; an input only.
    PhaseVoltage(Phase),
    /// Jump of one phase of the utility against the others, degree; an input only.
    PhaseTurn(Phase),
    /// Size of the utility's random frequency wander, hertz; an input only.
    FrequencyNoise,
    /// Whether the utility is energised, 1 = yes.
    Live,
    /// State of charge, a fraction; written and shown in percent.
    StateOfCharge,
    /// Switch position, 1 = closed or on.
    Switch,
    /// Power that the sun or the wind would give now, watt.
    AvailablePower,
    /// What a service is asked for on top of the baseline, watt.
    AskedPower,
    /// Power upwards that a service could give now, watt.
    ReserveUp,
    /// Power downwards that a service could give now, watt, as a magnitude.
    ReserveDown,
    /// What a device would do without its services, or all devices of a service, watt.
    Baseline,
    /// The set point of a service that follows one, a fraction of its contract; written and shown in percent.
    ServiceSignal,
}

impl SignalQuantity {
    /// The quantities with their names behind the dot.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("p", Self::ActivePower),
        ("q", Self::ReactivePower),
        ("v", Self::Voltage),
        ("f", Self::Frequency),
        ("angle", Self::PhaseAngle),
        ("phase", Self::PhaseJump),
        ("v_l1", Self::PhaseVoltage(Phase::L1)),
        ("v_l2", Self::PhaseVoltage(Phase::L2)),
        ("v_l3", Self::PhaseVoltage(Phase::L3)),
        ("phase_l1", Self::PhaseTurn(Phase::L1)),
        ("phase_l2", Self::PhaseTurn(Phase::L2)),
        ("phase_l3", Self::PhaseTurn(Phase::L3)),
        ("noise", Self::FrequencyNoise),
        ("live", Self::Live),
        ("soc", Self::StateOfCharge),
        ("on", Self::Switch),
        ("available", Self::AvailablePower),
        ("asked", Self::AskedPower),
        ("up", Self::ReserveUp),
        ("down", Self::ReserveDown),
        ("baseline", Self::Baseline),
        ("signal", Self::ServiceSignal),
    ];

    /// The name behind the dot.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ActivePower => "p",
            Self::ReactivePower => "q",
            Self::Voltage => "v",
            Self::Frequency => "f",
            Self::PhaseAngle => "angle",
            Self::PhaseJump => "phase",
            Self::PhaseVoltage(Phase::L1) => "v_l1",
            Self::PhaseVoltage(Phase::L2) => "v_l2",
            Self::PhaseVoltage(Phase::L3) => "v_l3",
            Self::PhaseTurn(Phase::L1) => "phase_l1",
            Self::PhaseTurn(Phase::L2) => "phase_l2",
            Self::PhaseTurn(Phase::L3) => "phase_l3",
            Self::FrequencyNoise => "noise",
            Self::Live => "live",
            Self::StateOfCharge => "soc",
            Self::Switch => "on",
            Self::AvailablePower => "available",
            Self::AskedPower => "asked",
            Self::ReserveUp => "up",
            Self::ReserveDown => "down",
            Self::Baseline => "baseline",
            Self::ServiceSignal => "signal",
        }
    }

    /// Symbol of the base unit; `1` for a fraction or a switch.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::ActivePower
            | Self::AvailablePower
            | Self::AskedPower
            | Self::ReserveUp
            | Self::ReserveDown
            | Self::Baseline => "W",
            Self::ReactivePower => "var",
            Self::Voltage | Self::PhaseVoltage(_) => "V",
            Self::Frequency | Self::FrequencyNoise => "Hz",
            Self::PhaseAngle | Self::PhaseJump | Self::PhaseTurn(_) => "deg",
            Self::StateOfCharge | Self::ServiceSignal | Self::Switch | Self::Live => "1",
        }
    }

    /// Unit in which reports show the value, and its factor from the base unit.
    #[must_use]
    pub fn shown_unit(self) -> (&'static str, f64) {
        match self {
            Self::StateOfCharge | Self::ServiceSignal => ("%", 100.0),
            Self::Switch | Self::Live => ("", 1.0),
            other => (other.unit(), 1.0),
        }
    }

    /// Reads a value, such as `"2kW"` or, for a switch, `"on"`; the result is in the base unit.
    ///
    /// # Errors
    /// When the text has no number or a unit of another quantity.
    pub fn parse_value(self, text: &str) -> Result<f64, ParseQuantityError> {
        fn read<Q: quantities::Quantity>(text: &str) -> Result<f64, ParseQuantityError> {
            parse_quantity::<Q>(text).map(Q::base)
        }
        match self {
            Self::ActivePower
            | Self::AvailablePower
            | Self::AskedPower
            | Self::ReserveUp
            | Self::ReserveDown
            | Self::Baseline => read::<ActivePower>(text),
            Self::ReactivePower => read::<ReactivePower>(text),
            Self::Voltage | Self::PhaseVoltage(_) => read::<Voltage>(text),
            Self::Frequency | Self::FrequencyNoise => read::<Frequency>(text),
            Self::PhaseAngle | Self::PhaseJump | Self::PhaseTurn(_) => read::<PhaseAngle>(text),
            Self::StateOfCharge | Self::ServiceSignal => read::<StateOfCharge>(text),
            Self::Switch | Self::Live => parse_switch(text),
        }
    }

    /// Reads a range, such as `"1.9..2.1kW"`; both ends in the base unit, lower end first.
    ///
    /// # Errors
    /// As [`Self::parse_value`], when the ends are reversed, and for a switch, which has no range.
    pub fn parse_range(self, text: &str) -> Result<(f64, f64), ParseQuantityError> {
        fn read<Q: quantities::Quantity>(text: &str) -> Result<(f64, f64), ParseQuantityError> {
            parse_range::<Q>(text).map(|b| (b.lower().base(), b.upper().base()))
        }
        match self {
            Self::ActivePower
            | Self::AvailablePower
            | Self::AskedPower
            | Self::ReserveUp
            | Self::ReserveDown
            | Self::Baseline => read::<ActivePower>(text),
            Self::ReactivePower => read::<ReactivePower>(text),
            Self::Voltage | Self::PhaseVoltage(_) => read::<Voltage>(text),
            Self::Frequency | Self::FrequencyNoise => read::<Frequency>(text),
            Self::PhaseAngle | Self::PhaseJump | Self::PhaseTurn(_) => read::<PhaseAngle>(text),
            Self::StateOfCharge | Self::ServiceSignal => read::<StateOfCharge>(text),
            Self::Switch | Self::Live => parse_switch(text).map(|position| (position, position)),
        }
    }
}

/// Positions of a switch, with their values.
const POSITIONS: &[(&str, f64)] = &[("on", 1.0), ("off", 0.0), ("closed", 1.0), ("open", 0.0)];

fn parse_switch(text: &str) -> Result<f64, ParseQuantityError> {
    POSITIONS
        .iter()
        .find(|(word, _)| *word == text.trim())
        .map(|(_, value)| *value)
        .ok_or_else(|| ParseQuantityError::WrongUnit {
            unit: text.trim().to_owned(),
            accepted: "on, off, closed, open".to_owned(),
        })
}

/// A signal of the bench, such as `bat1.p`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String")]
#[serde(try_from = "String")]
pub struct Signal {
    /// Device, or `grid` (the utility) or `pcc` (the point of common coupling).
    pub subject: String,
    /// What of it.
    pub quantity: SignalQuantity,
}

/// Why a text is not a signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignalNameError {
    /// There is no dot with something before it.
    #[error("`{0}` is not a signal (write it as `bat1.p`)")]
    NoSubject(String),
    /// The word behind the dot is no quantity.
    #[error("`{0}` is not a quantity of a signal")]
    UnknownQuantity(String),
}

impl Signal {
    /// The signal of a subject.
    #[must_use]
    pub fn new(subject: impl Into<String>, quantity: SignalQuantity) -> Self {
        Self {
            subject: subject.into(),
            quantity,
        }
    }

    /// Reads a name such as `bat1.p`.
    ///
    /// # Errors
    /// When there is no dot, or no known quantity behind it.
    pub fn parse(name: &str) -> Result<Self, SignalNameError> {
        let Some((subject, quantity)) = name.trim().rsplit_once('.') else {
            return Err(SignalNameError::NoSubject(name.to_owned()));
        };
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if subject.is_empty() || !subject.chars().all(known) {
            return Err(SignalNameError::NoSubject(name.to_owned()));
        }
        // A breaker is said to be closed rather than on; both mean its position.
        let quantity = if quantity == "closed" { "on" } else { quantity };
        SignalQuantity::NAMES
            .iter()
            .find(|(word, _)| *word == quantity)
            .map(|(_, quantity)| Self::new(subject, *quantity))
            .ok_or_else(|| SignalNameError::UnknownQuantity(quantity.to_owned()))
    }

    /// A value of this signal as reports show it, such as `1987.5 W` or `55 %`.
    #[must_use]
    pub fn show(&self, value: f64) -> String {
        match self.quantity {
            SignalQuantity::Switch | SignalQuantity::Live if value == 1.0 => "on".to_owned(),
            SignalQuantity::Switch | SignalQuantity::Live if value == 0.0 => "off".to_owned(),
            quantity => {
                let (unit, factor) = quantity.shown_unit();
                let number = crate::report::number(value * factor);
                format!("{number} {unit}").trim_end().to_owned()
            }
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.subject, self.quantity.name())
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> Self {
        signal.to_string()
    }
}

impl TryFrom<String> for Signal {
    type Error = SignalNameError;
    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::parse(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quantity_has_one_name_and_leads_back_to_itself() {
        for (name, quantity) in SignalQuantity::NAMES {
            assert_eq!(quantity.name(), *name);
            let signal = Signal::new("bat1", *quantity);
            assert_eq!(Signal::parse(&signal.to_string()), Ok(signal));
        }
    }

    #[test]
    fn a_name_without_a_subject_or_a_quantity_is_refused() {
        for name in ["", "p", ".p", "bat1.", "bat1.power", "bat 1.p", "a.b.p"] {
            assert!(Signal::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_value_must_carry_a_unit_of_its_quantity() {
        use SignalQuantity as Q;
        let rows = [
            (Q::ActivePower, "2kW", Some(2000.0)),
            (Q::ActivePower, "50Hz", None),
            (Q::Frequency, "49.5Hz", Some(49.5)),
            (Q::Frequency, "49.5", None),
            (Q::StateOfCharge, "20%", Some(0.2)),
            (Q::Switch, "on", Some(1.0)),
            (Q::Switch, "open", Some(0.0)),
            (Q::Switch, "1", None),
            (Q::AvailablePower, "3kW", Some(3000.0)),
        ];
        for (quantity, text, expected) in rows {
            assert_eq!(quantity.parse_value(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_value_is_shown_as_a_person_writes_it() {
        let rows = [
            ("bat1.p", 1987.5, "1987.5 W"),
            ("bat1.soc", 0.55, "55 %"),
            ("plug3.on", 1.0, "on"),
            ("grid.f", 49.5, "49.5 Hz"),
        ];
        for (name, value, text) in rows {
            assert_eq!(Signal::parse(name).expect("known").show(value), text);
        }
    }
}
