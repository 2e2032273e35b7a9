//! Keeps charge and power of the storage back for an island or a frequency event.

use model::{Function, Group, Mode, Proposal, Target};
use quantities::{ActivePower, Bounds, Quantity};

use super::{Propose, Situation, Wishes};

/// Reserve while grid-connected: below the floor nothing is discharged, and some power is left over.
///
/// It binds what may be planned (tracking, market); a frequency answer may use it: that is what it is for.
#[derive(Clone, Debug, Default)]
pub struct Reserve {
    at_floor: bool,
}

/// Charge above the floor from which discharging is allowed again.
/// Chosen: 1 %, the resolution of most battery management systems.
const LEAVES_FLOOR: f64 = 0.01;

impl Propose for Reserve {
    const FAST: bool = false;

    fn propose(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        if s.mode != Mode::GridConnected {
            return;
        }
        let settings = &s.bench.settings;
        let rule = |upper: ActivePower, why: String| Proposal {
            function: Function::Reserve,
            target: Target::Group {
                group: Group::Storage,
                wish: None,
                bounds: Bounds::between(ActivePower::from_watts(f64::NEG_INFINITY), upper),
            },
            why,
        };
        if let Some(floor) = settings.reserve_soc {
            // What is not known is taken at its worst.
            self.at_floor = s.seen.soc.is_none_or(|soc| {
                let leaves = floor.as_fraction() + if self.at_floor { LEAVES_FLOOR } else { 0.0 };
                soc.as_fraction() < leaves.min(1.0)
            });
            if self.at_floor {
                let charge = s.seen.soc.map_or_else(
                    || "the charge is not known".to_owned(),
                    |soc| format!("charge {:.0} %", soc.as_percent()),
                );
                let why = format!("{charge}, reserve {:.0} %", floor.as_percent());
                wishes.proposals.push(rule(ActivePower::ZERO, why));
            }
        }
        if let Some(power) = settings.reserve_p {
            let able = s.storage_able().upper();
            let upper = Quantity::max(able - power, ActivePower::ZERO);
            let why = format!("of {able:.1}, {power:.1} stay in reserve");
            wishes.proposals.push(rule(upper, why));
        }
    }
}
