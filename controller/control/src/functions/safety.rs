//! Brings the bench to rest in the safe mode.

use model::{Function, Group, Mode, Proposal, Role, Setpoint, Target};
use quantities::{ActivePower, Bounds};

use super::{Propose, Situation, Wishes};

/// The safe mode: storage at rest, photovoltaics at rest; switches stay as they are, and the breaker where
/// the rig does not want it open.
#[derive(Clone, Debug, Default)]
pub struct Safety;

impl Propose for Safety {
    const FAST: bool = true;

    fn propose(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        if s.mode != Mode::Safe {
            return;
        }
        if let Some((breaker, _)) = s.bench.first(Role::Breaker)
            && s.bench.settings.safe_opens_breaker
        {
            wishes.proposals.push(Proposal {
                function: Function::Safety,
                target: Target::Device {
                    device: breaker,
                    setpoint: Setpoint::Switch { on: false },
                },
                why: "the bench is in the safe mode".into(),
            });
        }
        for group in [Group::Storage, Group::Pv] {
            wishes.proposals.push(Proposal {
                function: Function::Safety,
                target: Target::Group {
                    group,
                    wish: Some(ActivePower::ZERO),
                    bounds: Bounds::exactly(ActivePower::ZERO),
                },
                why: "the bench is in the safe mode".into(),
            });
        }
    }
}
