//! What a person or a scenario holds a device to. It is limited like everything else.

use std::collections::BTreeMap;

use model::{DeviceIx, Function, Proposal, Role, Setpoint, Target};

use crate::Bench;

use super::{Propose, Situation, Wishes};

/// Devices that somebody holds.
#[derive(Clone, Debug, Default)]
pub struct Operator {
    held: BTreeMap<DeviceIx, Setpoint>,
}

impl Operator {
    /// Holds a device until it is released.
    pub fn hold(&mut self, device: DeviceIx, setpoint: Setpoint) {
        self.held.insert(device, setpoint);
    }

    /// Whether the coupling breaker is held open.
    #[must_use]
    pub fn holds_open(&self, bench: &Bench) -> bool {
        let breaker = bench.first(Role::Breaker);
        let held = breaker.and_then(|(breaker, _)| self.held.get(&breaker));
        matches!(held, Some(Setpoint::Switch { on: false }))
    }

    /// Devices that are held off, in the order of the rig.
    #[must_use]
    pub fn held_off(&self) -> Vec<DeviceIx> {
        let off = Setpoint::Switch { on: false };
        let held = self.held.iter().filter(|(_, setpoint)| **setpoint == off);
        held.map(|(device, _)| *device).collect()
    }

    /// Whether a device is held.
    #[must_use]
    pub fn holds(&self, device: DeviceIx) -> bool {
        self.held.contains_key(&device)
    }

    /// Lets go of a device.
    pub fn release(&mut self, device: DeviceIx) {
        self.held.remove(&device);
    }
}

impl Propose for Operator {
    const FAST: bool = false;

    fn propose(&mut self, _: &Situation<'_>, wishes: &mut Wishes) {
        for (device, setpoint) in &self.held {
            wishes.proposals.push(Proposal {
                function: Function::Operator,
                target: Target::Device {
                    device: *device,
                    setpoint: *setpoint,
                },
                why: "held by the operator".into(),
            });
        }
    }
}
