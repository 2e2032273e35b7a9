//! What a script holds a source to: the utility of a bench that has a grid simulator.
//!
//! `grid.f`, `grid.v`, `grid.live` and `grid.phase` mean the same on every bench. Where the rig has
//! a grid simulator they are asked of it, through the controller's door; where it has none they are
//! inputs of the emulated plant.

use model::{DeviceIx, Point, Role, Setpoint};
use quantities::{Frequency, PhaseAngle, Voltage};
use runtime::rig::Rig;

use crate::signal::{Signal, SignalQuantity};

/// What a source is held to; what is `None` was never asked for and stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct HeldSource {
    f: Option<Frequency>,
    v: Option<Voltage>,
    phase: Option<PhaseAngle>,
    on: Option<bool>,
}

impl HeldSource {
    /// Takes a wish in; `None` when a source has no such quantity. The others stay held.
    pub(crate) fn take(&mut self, quantity: SignalQuantity, value: f64) -> Option<Setpoint> {
        match quantity {
            SignalQuantity::Frequency => self.f = Some(Frequency::from_hertz(value)),
            SignalQuantity::Voltage => self.v = Some(Voltage::from_volts(value)),
            SignalQuantity::PhaseJump => {
                let before = self.phase.map_or(0.0, PhaseAngle::as_degrees);
                let turned = (before + value + 180.0).rem_euclid(360.0) - 180.0;
                self.phase = Some(PhaseAngle::from_degrees(turned));
            }
            SignalQuantity::Live | SignalQuantity::Switch => self.on = Some(value >= 0.5),
            _ => return None,
        }
        Some(Setpoint::Source {
            f: self.f,
            v: self.v,
            phase: self.phase,
            on: self.on,
        })
    }

    /// What a quantity is held to.
    pub(crate) fn value(&self, quantity: SignalQuantity) -> Option<f64> {
        match quantity {
            SignalQuantity::Frequency => self.f.map(Frequency::as_hertz),
            SignalQuantity::Voltage => self.v.map(Voltage::as_volts),
            _ => None,
        }
    }
}

/// Whether a signal is an input of the emulated bench, and not something that is asked of control.
pub(crate) fn is_input(rig: &Rig, signal: &Signal) -> bool {
    let of_service = matches!(
        signal.quantity,
        SignalQuantity::ServiceSignal | SignalQuantity::Baseline
    );
    if of_service || !matches!(source_of(rig, signal), Ok(None)) {
        return false;
    }
    match signal.quantity {
        SignalQuantity::ActivePower | SignalQuantity::ReactivePower => {
            rig.device(&signal.subject).is_some_and(|ix| {
                let device = &rig.devices[ix.index()];
                // A load that takes a setpoint is asked, as any other device.
                matches!(device.role, Role::Load | Role::Meter)
                    && !device.profile.takes(Point::ActivePowerSet)
            })
        }
        // A switch of the network that is no device: nobody but the bench can move it.
        SignalQuantity::Switch if rig.device(&signal.subject).is_none() => {
            rig.emulate.network.as_ref().is_some_and(|network| {
                let mut switches = network.switches.iter();
                switches.any(|switch| *switch.name == *signal.subject)
            })
        }
        SignalQuantity::Switch => false,
        _ => true,
    }
}

/// The source that a signal is asked of, if it is one; `grid` is the only source of a rig.
///
/// # Errors
/// When the rig has several, and `grid` could be any of them.
pub(crate) fn source_of(rig: &Rig, signal: &Signal) -> Result<Option<DeviceIx>, String> {
    let of_source = matches!(
        signal.quantity,
        SignalQuantity::Frequency
            | SignalQuantity::Voltage
            | SignalQuantity::PhaseJump
            | SignalQuantity::Live
            | SignalQuantity::Switch
    );
    let mut sources = rig.devices.iter().filter(|d| d.role == Role::Source);
    let named = match (sources.next(), sources.next()) {
        (None, _) => return Ok(None),
        _ if !of_source => return Ok(None),
        (Some(only), None) if signal.subject == "grid" => Some(only),
        (Some(_), Some(_)) if signal.subject == "grid" => {
            return Err(format!(
                "`{signal}` could be any of several sources; name one of them in place of `grid`"
            ));
        }
        _ => rig
            .devices
            .iter()
            .find(|d| d.role == Role::Source && *d.id == *signal.subject),
    };
    Ok(named.and_then(|device| rig.device(&device.id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"
site = { v = "230V", f = "50Hz" }
[bus]
i1 = { kind = "scpi", host = "127.0.0.1" }
i2 = { kind = "scpi", host = "127.0.0.2" }
[device]
"#;
    const ONE: &str = "g1 = { profile = \"generic/grid-simulator\", bus = \"i1\", role = \"source\", limits = { f = \"45..55Hz\", v = \"0..260V\" } }\n";

    fn check(rig: &str, signal: &str, expected: Result<Option<u16>, ()>) {
        let rig = runtime::rig::load_text(std::path::Path::new("rig.toml"), rig).expect("a rig");
        let signal = Signal::parse(signal).expect("a signal");
        let found = source_of(&rig, &signal);
        assert_eq!(
            found.map(|d| d.map(|d| d.0)).map_err(|_| ()),
            expected,
            "{signal}"
        );
    }

    #[test]
    fn the_grid_is_the_only_source_and_several_must_be_named() {
        let one = format!("{PLAIN}{ONE}");
        let two = format!(
            "{one}{}",
            ONE.replace("g1 =", "g2 =").replace("\"i1\"", "\"i2\"")
        );
        for (rig, signal, expected) in [
            (&one, "grid.f", Ok(Some(0))),
            (&one, "grid.live", Ok(Some(0))),
            (&one, "g1.v", Ok(Some(0))),
            (&one, "grid.noise", Ok(None)),
            (&one, "g1.p", Ok(None)),
            (&two, "grid.f", Err(())),
            (&two, "g2.f", Ok(Some(1))),
            (&two, "other.f", Ok(None)),
        ] {
            check(rig, signal, expected);
        }
    }

    #[test]
    fn what_is_asked_for_stays_and_a_phase_jumps_from_where_it_is() {
        let mut held = HeldSource::default();
        held.take(SignalQuantity::Frequency, 49.5);
        held.take(SignalQuantity::PhaseJump, 170.0);
        let setpoint = held.take(SignalQuantity::PhaseJump, 30.0);
        assert_eq!(
            setpoint,
            Some(Setpoint::Source {
                f: Some(Frequency::from_hertz(49.5)),
                v: None,
                phase: Some(PhaseAngle::from_degrees(-160.0)),
                on: None,
            })
        );
        assert_eq!(held.take(SignalQuantity::StateOfCharge, 0.5), None);
    }
}
