//! Answers a frequency deviation of the utility with storage power, along a droop.

use limiter::loop_delay::may_droop;
use model::{Event, Function, Group, Mode, Proposal, Target};
use quantities::{ActivePower, Bounds};
use services::Droop;

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
    /// Whether the loop was too slow when it was last looked at.
    too_late: bool,
}

impl FrequencyDroop {
    /// Whether the loop is fast enough for a droop, where the rig says what the island bears. Told when
    /// it changes.
    fn is_in_time(&mut self, s: &Situation<'_>, wishes: &mut Wishes) -> bool {
        let (Some(delay), Some(margin)) = (s.loop_delay, s.bench.settings.delay_margin) else {
            return true;
        };
        let verdict = may_droop(delay, margin);
        let changed = verdict.is_err() != self.too_late;
        self.too_late = verdict.is_err();
        if changed {
            let text = match verdict {
                Err(late) => format!("R062: the frequency droop is refused: {late}"),
                Ok(()) => "the loop is fast enough for the frequency droop again".into(),
            };
            wishes.events.push(Event::Noticed { device: None, text });
        }
        verdict.is_ok()
    }
}

impl Propose for FrequencyDroop {
    const FAST: bool = true;

    fn propose(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        let in_time = self.is_in_time(s, wishes);
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
