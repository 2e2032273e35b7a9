//! Brings up a dead bus: every switch open first, then the grid-forming storage, then the loads.
//!
//! The voltage ramp is the inverter's own; the supervisor only says when it may begin. Loads that may
//! be shed come back through load shedding, one after the other and only into room that is there;
//! those that may not be shed come back here, as soon as the bus is stable.

use model::{DeviceIx, Function, Link, Mode, Proposal, Role, Setpoint, Target};

use super::{Propose, Situation, Wishes};

/// Black start.
#[derive(Clone, Debug, Default)]
pub struct BlackStart {
    /// Switched loads that may not be shed, opened here and not yet given back.
    opened: Vec<DeviceIx>,
}

impl BlackStart {
    /// Switched loads that somebody will see closed onto the forming unit if nobody opens them.
    fn firm_loads(s: &Situation<'_>) -> Vec<DeviceIx> {
        s.bench
            .of_role(Role::Load)
            .filter(|(_, spec)| spec.takes_switch && spec.shed.is_none())
            .map(|(device, _)| device)
            .collect()
    }

    /// The first load that answers and is not seen open.
    fn still_closed<'a>(s: &'a Situation<'_>) -> Option<&'a str> {
        s.bench
            .of_role(Role::Load)
            .filter(|(_, spec)| spec.takes_switch)
            .find(|(device, spec)| {
                let image = &s.image.devices[device.index()];
                // A plug that has lost its own supply cannot be asked; it comes up as it was made to.
                image.link == Link::Online
                    && image.switch_on.fresh(s.now, spec.sample_age_max) != Some(false)
            })
            .map(|(_, spec)| spec.id.as_str())
    }
}

fn switch(device: DeviceIx, on: bool, why: String) -> Proposal {
    Proposal {
        function: Function::BlackStart,
        target: Target::Device {
            device,
            setpoint: Setpoint::Switch { on },
        },
        why,
    }
}

impl Propose for BlackStart {
    const FAST: bool = false;

    fn propose(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        if s.mode != Mode::BlackStarting {
            // Back on a live bus, nobody holds the loads open any more.
            if !s.mode.is_dark() {
                for device in self.opened.drain(..) {
                    let why = "the bus is up again".into();
                    wishes.proposals.push(switch(device, true, why));
                }
            }
            return;
        }
        for device in Self::firm_loads(s) {
            if !self.opened.contains(&device) {
                self.opened.push(device);
            }
        }
        for device in &self.opened {
            let why = "open until the bus is up".into();
            wishes.proposals.push(switch(*device, false, why));
        }
        if Self::still_closed(s).is_some() {
            return;
        }
        for (device, spec) in s.bench.of_role(Role::Ess).filter(|(_, e)| e.takes_switch) {
            let why = format!("every load is open: {} brings up the bus", spec.id);
            wishes.proposals.push(switch(device, true, why));
        }
    }
}
