//! What a person or a scenario holds a device to. It is limited like everything else.

use std::collections::BTreeMap;

use model::{DeviceIx, Function, Proposal, Setpoint, Target};

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
