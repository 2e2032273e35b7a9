//! Answers a frequency deviation of the utility with storage power, along a droop.

use model::{Function, Group, Mode, Proposal, Target};
use quantities::{ActivePower, Bounds};
use services::Droop;

use super::loop_guard::LoopGuard;
use super::{Propose, Situation, Wishes};

/// Frequency droop while grid-connected.
///
/// The power from before the event is latched when the frequency leaves the deadband and the
/// droop's answer is added to it, so that an answer is never mixed with what other functions do
/// meanwhile. Storage that delivers a service answers by that, and not by this droop. In an island the grid-forming inverter does the droop itself, faster than any
/// supervisor can.
#[derive(Clone, Debug, Default)]
pub struct FrequencyDroop {
    before: Option<ActivePower>,
    in_time: LoopGuard,
}

impl Propose for FrequencyDroop {
    const FAST: bool = true;

    fn propose(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        let in_time = self.in_time.look(s, "the frequency droop", wishes).is_ok();
        let Some(f) = s
            .seen
            .f
            .filter(|_| in_time && s.mode == Mode::GridConnected)
        else {
            self.before = None;
            return;
        };
        let settings = &s.bench.settings;
        let droop = Droop {
            nominal: settings.nominal_f,
            deadband: settings.deadband,
            droop: settings.droop,
            p_max: s.storage_rated(),
        };
        let answer = droop.power(f);
        if answer == ActivePower::ZERO {
            self.before = None;
            return;
        }
        let before = *self.before.get_or_insert(s.storage_sent);
        wishes.proposals.push(Proposal {
            function: Function::FrequencyDroop,
            target: Target::Group {
                group: Group::Storage,
                wish: Some(before + answer),
                bounds: Bounds::unbounded(),
            },
            why: format!("{f:.3} answered with {answer:.1} on top of {before:.1}"),
        });
    }
}
