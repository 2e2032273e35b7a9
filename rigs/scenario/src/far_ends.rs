//! What is at the far end of each bus: hardware, or emulated devices.
//!
//! A run is on an emulated bench, on a real one, or on one of which the rig says which buses are real. A
//! wire ends at one or the other, so a device is what its bus is. The emulated half has a plant of its own;
//! nothing flows between it and the hardware but what the controller asks of both.

use document::{Actor, Diagnostic};
use model::Role;
use runtime::rig::Rig;

use crate::signal::{Signal, SignalQuantity};

/// What a run is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Emulated devices.
    Sim,
    /// The devices of the bench.
    Bench,
    /// Those of the buses that the rig calls real; the others are emulated.
    Mixed,
}

impl On {
    /// The word in results.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Bench => "bench",
            Self::Mixed => "mixed",
        }
    }

    /// Whether there is hardware in it, which has no virtual time and is taken for one run.
    #[must_use]
    pub fn has_hardware(self) -> bool {
        self != Self::Sim
    }
}

/// The far ends of a rig's buses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FarEnds {
    /// Whether each bus is real, in the order of the rig.
    real: Vec<bool>,
}

impl FarEnds {
    /// The far ends of a rig in a run.
    ///
    /// # Errors
    /// R143 where a half real bench is asked for and the rig does not say which half.
    pub fn of(rig: &Rig, on: On) -> Result<Self, Box<Diagnostic>> {
        let named = |bus: usize| rig.hardware.real.contains(&bus);
        let real: Vec<bool> = (0..rig.buses.len())
            .map(|bus| match on {
                On::Sim => false,
                On::Bench => true,
                On::Mixed => named(bus),
            })
            .collect();
        let refused = |message: String, help: &str| {
            Err(Box::new(
                Diagnostic::error("R143", Actor::Author, message).help(help),
            ))
        };
        let file = &rig.source.path;
        match on {
            On::Mixed if !real.contains(&true) => refused(
                format!("{file} does not say which of its buses are real"),
                "add `[bench]` with `real = [\"lan1\"]`, or use `--on sim`",
            ),
            On::Mixed if !real.contains(&false) => refused(
                format!("{file} calls all of its buses real, so that nothing is emulated"),
                "use `--on bench`, or take a bus out of `real` in `[bench]`",
            ),
            _ => Ok(Self { real }),
        }
    }

    /// Those of a bench that is all emulated.
    #[must_use]
    pub fn emulated(rig: &Rig) -> Self {
        Self {
            real: vec![false; rig.buses.len()],
        }
    }

    /// Whether a bus is real.
    #[must_use]
    pub fn is_real(&self, bus: usize) -> bool {
        self.real.get(bus).copied().unwrap_or(false)
    }

    /// Whether any bus is emulated.
    #[must_use]
    pub fn has_emulated(&self) -> bool {
        self.real.contains(&false)
    }

    /// Whether any bus is real.
    #[must_use]
    pub fn has_real(&self) -> bool {
        self.real.contains(&true)
    }

    /// Whether a device, a bus, or `grid` for the utility, is emulated, by its name. The utility is that of
    /// the emulated plant as long as nothing real stands at the coupling.
    pub(crate) fn emulates(&self, rig: &Rig, name: &str) -> bool {
        if let Some(device) = rig.devices.iter().find(|d| *d.id == *name) {
            return !self.is_real(device.bus);
        }
        if let Some(bus) = rig.buses.iter().position(|bus| *bus.id == *name) {
            return !self.is_real(bus);
        }
        let mut coupling = rig
            .devices
            .iter()
            .filter(|d| matches!(d.role, Role::Breaker | Role::Pcc | Role::Source));
        name == "grid" && self.has_emulated() && coupling.all(|d| !self.is_real(d.bus))
    }

    /// Whether a signal that is an input of the emulated plant can be set here.
    pub(crate) fn takes_input(&self, rig: &Rig, signal: &Signal) -> bool {
        let of_network =
            signal.quantity == SignalQuantity::Switch && rig.device(&signal.subject).is_none();
        match of_network {
            true => self.has_emulated(),
            false => self.emulates(rig, &signal.subject),
        }
    }

    /// The names of the devices that are real, and of those that are emulated, in the order of the rig.
    #[must_use]
    pub fn names(&self, rig: &Rig) -> (Vec<String>, Vec<String>) {
        let (real, emulated): (Vec<_>, Vec<_>) = rig
            .devices
            .iter()
            .partition(|device| self.is_real(device.bus));
        let names = |devices: Vec<&runtime::rig::RigDevice>| {
            devices.iter().map(|device| device.id.to_string()).collect()
        };
        (names(real), names(emulated))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::demo;

    fn lab(bench: &str) -> Rig {
        let text = format!("{bench}\n{}", include_str!("../../virtual/lab.toml"));
        runtime::rig::load_text(Path::new(demo::RIG_PATH), &text).expect("a rig")
    }

    #[test]
    fn a_bench_is_half_real_only_where_the_rig_says_which_half() {
        let all: Vec<String> = lab("")
            .buses
            .iter()
            .map(|b| format!("{:?}", &*b.id))
            .collect();
        let rows = [
            ("", Some("does not say")),
            ("bench = { real = [\"mq\"] }", None),
            (
                &*format!("bench = {{ real = [{}] }}", all.join(", ")),
                Some("nothing is emulated"),
            ),
        ];
        for (bench, refused) in rows {
            let rig = lab(bench);
            let mixed = FarEnds::of(&rig, On::Mixed);
            let told = mixed.as_ref().err().map(|fault| fault.message.clone());
            match refused {
                Some(word) => assert!(told.is_some_and(|t| t.contains(word)), "{bench}"),
                None => assert_eq!(told, None, "{bench}"),
            }
            // The list is for a half real bench alone.
            assert!(
                !FarEnds::of(&rig, On::Bench)
                    .expect("all of it")
                    .has_emulated()
            );
            assert_eq!(FarEnds::of(&rig, On::Sim), Ok(FarEnds::emulated(&rig)));
        }
    }

    #[test]
    fn a_device_is_what_its_bus_is_and_the_utility_is_what_stands_at_the_coupling() {
        let rig = lab("bench = { real = [\"mq\"] }");
        let ends = FarEnds::of(&rig, On::Mixed).expect("half of it");
        for (name, emulated) in [
            ("plug1", false),
            ("mq", false),
            ("ess1", true),
            ("grid", true),
        ] {
            assert_eq!(ends.emulates(&rig, name), emulated, "{name}");
        }
        let coupling = rig.devices.iter().find(|d| d.role == Role::Breaker);
        let bus = &rig.buses[coupling.expect("a breaker").bus].id;
        let rig = lab(&format!("bench = {{ real = [\"{bus}\"] }}"));
        let ends = FarEnds::of(&rig, On::Mixed).expect("half of it");
        assert!(
            !ends.emulates(&rig, "grid"),
            "the real utility is nobody's to set"
        );
        let (real, emulated) = ends.names(&rig);
        assert_eq!(real.len() + emulated.len(), rig.devices.len());
        assert!(emulated.contains(&"plug1".to_owned()), "{emulated:?}");
    }
}
