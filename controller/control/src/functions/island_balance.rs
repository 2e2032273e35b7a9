//! Keeps an island in balance: storage reference to its own power, photovoltaics under a ceiling.

use model::{Function, Group, Mode, Proposal, Target};
use quantities::Bounds;

use super::ceiling::Ceiling;
use super::{Propose, Situation, Wishes};

/// Balance of an island.
///
/// The grid-forming storage carries whatever the loads and the sun leave; its frequency droops
/// with the distance from its reference. Moving the reference to the measured power brings the
/// frequency back to nominal. Photovoltaics may give no more than loads and charging can take.
#[derive(Clone, Debug, Default)]
pub struct IslandBalance {
    ceiling: Ceiling,
}

/// Share of the possible charging power that the ceiling leaves unused, for what changes
/// between two cycles. Chosen: 10 %, the largest cloud step of the demo day in one second.
const CHARGE_MARGIN: f64 = 0.1;

/// Share of the loads that is left to a set where no storage is on: an engine takes nothing up, and
/// soots up when it idles. Chosen: 30 %, the lowest lasting load that makers of sets name.
const SET_SHARE: f64 = 0.3;

impl Propose for IslandBalance {
    const FAST: bool = false;

    fn propose(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        if !s.mode.is_islanded() {
            let why = "the island has ended";
            self.ceiling.lift(Function::IslandBalance, s, why, wishes);
            return;
        }
        // While synchronising, the reference is what steers the frequency (see there).
        let balancing = s.mode != Mode::Resynchronising;
        if let Some(storage) = s.seen.storage.filter(|_| balancing) {
            wishes.proposals.push(Proposal {
                function: Function::IslandBalance,
                target: Target::Group {
                    group: Group::Storage,
                    wish: Some(storage),
                    bounds: Bounds::unbounded(),
                },
                why: format!("the island needs {storage:.1} of the storage"),
            });
        }
        if let (Some(load), Some(_)) = (s.seen.load, s.seen.pv) {
            let charge_max = -s.storage_able().lower();
            let (room, what) = if s.storage.is_empty() {
                (-load * SET_SHARE, "no storage is on".to_owned())
            } else {
                let room = charge_max * (1.0 - CHARGE_MARGIN);
                (room, format!("the storage can charge {charge_max:.1}"))
            };
            let why = format!("loads take {load:.1}, {what}");
            self.ceiling
                .hold(Function::IslandBalance, load + room, why, wishes);
        }
    }
}
