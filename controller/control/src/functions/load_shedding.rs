//! Sheds loads so that an island survives, and gives them back when it can carry them.

use std::time::Duration;

use model::{DeviceIx, Event, Function, Instant, Proposal, Setpoint, Target};
use quantities::Quantity;

use super::{Propose, Situation, Wishes};

/// Load shedding in an island, one block after the other in the order of the rig.
#[derive(Clone, Debug, Default)]
pub struct LoadShedding {
    shed: Vec<DeviceIx>,
    last_shed: Option<Instant>,
    strained_since: Option<Instant>,
    easy_since: Option<Instant>,
}

/// Frequency of the first block, per unit of nominal: 49.0 Hz at 50 Hz, the usual first step of
/// under-frequency schemes (a configurable default of the field, not read in a standard).
const SHED_BELOW_F_PU: f64 = 0.98;
/// Time between two blocks. Chosen: 300 ms, two sample periods plus the switching of a plug.
const BLOCK_SPACING: Duration = Duration::from_millis(300);
/// Share of the discharge limit above which the storage counts as strained.
/// Chosen: 95 %, where the emulated inverter's own limit begins to pull the frequency.
const STRAINED_SHARE: f64 = 0.95;
/// How long it may be strained. Chosen: 500 ms, shorter than an inverter's overload time.
const STRAINED_FOR: Duration = Duration::from_millis(500);
/// Charge kept above the lower limit for the essential loads, as a fraction.
/// Chosen: 5 %, about a minute of full discharge in the demo bench.
const RESERVE_SOC: f64 = 0.05;
/// How long the island must be at ease before a load comes back.
/// Chosen: 5 s, ten times the longest swing of the emulated island.
const EASY_FOR: Duration = Duration::from_secs(5);
/// Room that must be left over after a load has come back, as a multiple of its rating.
/// Chosen: 1.5, so that it is not shed again at once.
const RETURN_ROOM: f64 = 1.5;

impl LoadShedding {
    fn cause(&mut self, s: &Situation<'_>) -> Option<String> {
        let settings = &s.bench.settings;
        if let Some(f) = s.seen.f
            && f <= settings.nominal_f * SHED_BELOW_F_PU
        {
            return Some(format!("frequency fell to {f:.2}"));
        }
        if s.storage.is_empty() {
            // A set forms alone: its frequency says all that there is to say.
            self.strained_since = None;
            return None;
        }
        let able = s.storage_able();
        let strained = s
            .seen
            .storage
            .is_some_and(|p| p.as_watts() > 0.0 && p >= able.upper() * STRAINED_SHARE);
        self.strained_since = strained.then(|| self.strained_since.unwrap_or(s.now));
        if self
            .strained_since
            .is_some_and(|t| s.now.since(t) >= STRAINED_FOR)
        {
            return Some(format!(
                "the storage is at its limit of {:.1}",
                able.upper()
            ));
        }
        let floor = s
            .bench
            .of_role(model::Role::Ess)
            .map(|(_, spec)| spec.rating.soc.lower())
            .reduce(Quantity::max)?;
        let soc = s.seen.soc?;
        let discharging = s.seen.storage.is_some_and(|p| p.as_watts() > 0.0);
        (discharging && soc.as_fraction() <= floor.as_fraction() + RESERVE_SOC)
            .then(|| format!("state of charge fell to {:.0} %", soc.as_percent()))
    }

    /// On a dead bus nothing is left to wait for: a load that stays closed would be the first thing
    /// that a forming unit meets.
    fn shed_all(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        for device in s.bench.shed_order() {
            if !self.shed.contains(&device) {
                self.shed.push(device);
                wishes.events.push(Event::LoadShed {
                    device,
                    why: "the bus is dead".into(),
                });
            }
        }
        self.easy_since = None;
    }

    fn at_ease(&self, s: &Situation<'_>, next: DeviceIx) -> bool {
        let settings = &s.bench.settings;
        if s.mode.is_coupled() {
            return true;
        }
        let calm = s
            .seen
            .f
            .is_some_and(|f| f > settings.nominal_f * ((1.0 + SHED_BELOW_F_PU) / 2.0));
        let needs = s.spec(next).rating.p.lower().abs() * RETURN_ROOM;
        let room = if s.storage.is_empty() {
            s.room_of_sets()
        } else {
            s.seen.storage.map(|p| s.storage_able().upper() - p)
        };
        calm && room.is_some_and(|room| room >= needs)
    }
}

impl Propose for LoadShedding {
    const FAST: bool = true;

    fn propose(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        if s.mode.is_dark() {
            self.shed_all(s, wishes);
        }
        let cause = if s.mode.is_islanded() {
            self.cause(s)
        } else {
            self.strained_since = None;
            None
        };
        let order = s.bench.shed_order();
        if let Some(why) = cause {
            self.easy_since = None;
            let spaced = self
                .last_shed
                .is_none_or(|at| s.now.since(at) >= BLOCK_SPACING);
            let next = order.iter().find(|d| !self.shed.contains(d));
            if let (true, Some(device)) = (spaced, next) {
                self.shed.push(*device);
                self.last_shed = Some(s.now);
                self.strained_since = None;
                wishes.events.push(Event::LoadShed {
                    device: *device,
                    why,
                });
            }
        } else if let Some(last) = self.shed.last().copied().filter(|_| !s.mode.is_dark()) {
            let easy = self.at_ease(s, last);
            self.easy_since = easy.then(|| self.easy_since.unwrap_or(s.now));
            if self.easy_since.is_some_and(|t| s.now.since(t) >= EASY_FOR) {
                self.shed.pop();
                self.easy_since = None;
                wishes.events.push(Event::LoadRestored { device: last });
            }
        }
        for device in &self.shed {
            wishes.proposals.push(Proposal {
                function: Function::LoadShedding,
                target: Target::Device {
                    device: *device,
                    setpoint: Setpoint::Switch { on: false },
                },
                why: "shed so that the island survives".into(),
            });
        }
    }
}
