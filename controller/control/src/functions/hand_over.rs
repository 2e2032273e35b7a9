//! Hands the part of the former from one unit of an island to another.
//!
//! Who forms is said by the rig (`forming`), and a unit forms while it is connected: the actuator is
//! its switch. The new former is connected first and shares along its droop, the old ones are
//! disconnected only when it is seen to carry, so there is never none. Two without a droop never
//! meet: a guard refuses that, and the interlocks of the limiter do.
//!
//! Asked for on the utility, the new former is brought up and waits for the island. Back on the
//! utility, which forms the bus then, a storage that was taken off is connected again and follows.
//! A bus that is dead already is brought up by a person only, not from here.

mod guard;
mod seen;

use std::collections::BTreeSet;
use std::time::Duration;

use model::{DeviceIx, Event, Function, Group, Instant, Mode, Proposal, Role, Setpoint, Target};
use quantities::{ActivePower, Bounds, Quantity, ReactivePower};

use super::{Propose, Situation, Wishes};
use crate::mode::limits;
use seen::{SEEN_GIVING, carries, ends_soon, formers, is_on, is_settled, power, rated};

/// How long the new former may take to be seen carrying the island.
/// Chosen: as for a dead bus to come up: a cold engine warms up and comes into step in less.
const CARRIES_WITHIN: Duration = limits::START_WITHIN;
/// How long the old ones may take to be seen off. As for the coupling breaker.
const OFF_WITHIN: Duration = limits::OPEN_WITHIN;
/// By how much the storage's reference is lowered, as a share of its rating, until a set is seen on load.
/// Chosen: 10 %, a fifth of a hertz at a droop of 4 %: enough for the set to show itself, far inside
/// the band of a stable island.
const PROBE: f64 = 0.1;
/// How fast the storage's reference is moved while a set takes over: share of what it still carries,
/// per second. Chosen: 1 /s, as the tracking of the exchange, which the same loop of a poll and a write bears.
const UNLOADS_PER_S: f64 = 1.0;

/// Handing over the part of the former.
#[derive(Clone, Debug, Default)]
pub struct HandOver {
    asked: Vec<DeviceIx>,
    running: Option<Running>,
    /// Formers that were last seen connected.
    standing: BTreeSet<DeviceIx>,
    /// The set that carries the island since a hand-over: it is kept on.
    kept: Option<DeviceIx>,
    /// Units that were taken off.
    parted: Vec<DeviceIx>,
    /// A new former that came to nothing: it is taken off again.
    revoked: Option<DeviceIx>,
    /// The former for which a hand-over by itself was tried.
    tried_for: Option<DeviceIx>,
}

/// A hand-over under way.
#[derive(Clone, Debug)]
struct Running {
    to: DeviceIx,
    /// Whether it stood beside the others before.
    was_on: bool,
    began: Instant,
    /// Since when the new former is seen to carry.
    carries_since: Option<Instant>,
    /// Since when the old ones have been asked to go, and who they are.
    parting: Option<(Instant, Vec<DeviceIx>)>,
}

impl HandOver {
    /// Takes in an order; the next turn answers it.
    pub fn ask(&mut self, to: DeviceIx) {
        self.asked.push(to);
    }

    /// Looks at who is connected; one that is not known any more stays what it was.
    fn remember(&mut self, s: &Situation<'_>) {
        for device in formers(s) {
            match is_on(s, device) {
                Some(true) => {
                    self.standing.insert(device);
                }
                Some(false) => {
                    self.standing.remove(&device);
                }
                None => {}
            }
        }
    }

    fn answer(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        for to in std::mem::take(&mut self.asked) {
            match guard::refusal(s, to, self.running.as_ref().map(|r| r.to)) {
                Some(why) => wishes.events.push(Event::OrderRefused {
                    why: format!("hand over to {}: {why}", s.spec(to).id),
                }),
                None => self.begin(s, to, "asked for".into(), wishes),
            }
        }
    }

    fn begin(&mut self, s: &Situation<'_>, to: DeviceIx, why: String, wishes: &mut Wishes) {
        // On the utility another one may have been brought up for nothing.
        if let Some(before) = self.running.take().filter(|r| !r.was_on && r.to != to) {
            self.revoked = Some(before.to);
        }
        self.parted.retain(|device| *device != to);
        self.revoked = self.revoked.filter(|device| *device != to);
        self.running = Some(Running {
            to,
            was_on: is_on(s, to) == Some(true),
            began: s.now,
            carries_since: None,
            parting: None,
        });
        wishes.events.push(Event::HandOverBegan { to, why });
    }

    /// An island whose only former runs low, or has fallen silent, looks for another one.
    fn watch_former(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        let mut standing = self.standing.iter();
        let (Some(former), None) = (standing.next().copied(), standing.next()) else {
            self.tried_for = None;
            return;
        };
        let Some(why) = ends_soon(s, former) else {
            self.tried_for = None;
            return;
        };
        if self.running.is_some() || s.mode != Mode::Islanded || self.tried_for == Some(former) {
            return;
        }
        let spare = formers(s)
            .find(|device| *device != former && guard::refusal(s, *device, None).is_none());
        if let Some(spare) = spare {
            self.tried_for = Some(former);
            self.begin(s, spare, why, wishes);
        }
    }

    fn go_on(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        match self.progress(s, &mut running, wishes) {
            Progress::Goes => self.running = Some(running),
            Progress::Done(parted) => {
                let is_set = s.spec(running.to).role == Role::Genset;
                self.kept = is_set.then_some(running.to);
                wishes.events.push(Event::HandedOver {
                    to: running.to,
                    parted: parted.len() as u64,
                    after_s: s.now.since(running.began).as_secs_f64(),
                });
                self.parted = parted;
            }
            Progress::Failed(why) => {
                let to = running.to;
                // Where it is the only one left, or the others may have gone already, it stays.
                let is_needed = running.was_on || running.parting.is_some();
                if !is_needed && self.standing.iter().any(|device| *device != to) {
                    self.revoked = Some(to);
                }
                wishes.events.push(Event::HandOverFailed { to, why });
            }
        }
    }

    fn progress(&self, s: &Situation<'_>, running: &mut Running, wishes: &mut Wishes) -> Progress {
        let to = running.to;
        if let Some((since, parting)) = &running.parting {
            if is_on(s, to) != Some(true) {
                return Progress::Failed(format!("{} is not seen on any more", s.spec(to).id));
            }
            let left = parting
                .iter()
                .find(|device| is_on(s, **device) != Some(false));
            let Some(left) = left else {
                return Progress::Done(parting.clone());
            };
            if s.now.since(*since) >= OFF_WITHIN {
                let id = &s.spec(*left).id;
                return Progress::Failed(format!("{id} was not seen off in time"));
            }
            keep(s, to, wishes);
            for device in parting {
                wishes.proposals.push(part(s, *device, to));
            }
            return Progress::Goes;
        }
        keep(s, to, wishes);
        if is_on(s, to) != Some(true) {
            running.carries_since = None;
            if s.now.since(running.began) >= CARRIES_WITHIN {
                return Progress::Failed(format!("{} was not seen on in time", s.spec(to).id));
            }
            return Progress::Goes;
        }
        if s.mode != Mode::Islanded {
            // It waits for the island, or for it to be at ease again.
            running.began = s.now;
            running.carries_since = None;
            return Progress::Goes;
        }
        let others: Vec<DeviceIx> = formers(s)
            .filter(|device| *device != to && is_on(s, *device) == Some(true))
            .collect();
        if s.spec(to).role == Role::Genset {
            unload(s, to, wishes);
        } else {
            unload_sets(s, &others, to, wishes);
        }
        let carries = is_settled(s) && carries(s, to, &others);
        running.carries_since = carries.then(|| running.carries_since.unwrap_or(s.now));
        let settled = running
            .carries_since
            .is_some_and(|since| s.now.since(since) >= s.bench.settings.settle_time);
        if settled {
            running.parting = Some((s.now, others));
        } else if s.now.since(running.began) >= CARRIES_WITHIN {
            let gives = power(s, to).map_or("its power is not known".into(), |p| {
                format!("it gives {p:.1}")
            });
            let id = &s.spec(to).id;
            return Progress::Failed(format!("{id} was not seen to carry the island: {gives}"));
        }
        Progress::Goes
    }

    /// What stands after a hand-over, and what is taken back.
    fn stand_by(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        if let Some(to) = self.revoked {
            if is_on(s, to) == Some(false) {
                self.revoked = None;
            } else {
                let why = "the hand-over came to nothing".into();
                wishes.proposals.push(switch(to, false, why));
            }
        }
        if s.mode.is_coupled() {
            self.kept = None;
            self.parted
                .retain(|device| s.spec(*device).role == Role::Ess);
            self.give_back(s, |_| true, "the utility forms the bus: it follows", wishes);
            return;
        }
        if s.mode == Mode::Resynchronising {
            // Only a storage can be told how much to give, and so bring the island into step.
            let has_charge = |device| !guard::is_empty(s, device);
            let why = "it brings the island into step with the utility";
            self.give_back(s, has_charge, why, wishes);
        }
        if self.running.is_some() {
            return;
        }
        if let Some(set) = self.kept {
            let why = "it forms the island".into();
            wishes.proposals.push(switch(set, true, why));
        }
        let comes_back = s.mode == Mode::Resynchronising;
        for device in self.parted.iter().filter(|_| !comes_back) {
            let why = "another unit forms the island".into();
            wishes.proposals.push(switch(*device, false, why));
        }
    }

    /// Connects storages that were taken off, until they are seen on.
    fn give_back(
        &mut self,
        s: &Situation<'_>,
        may: impl Fn(DeviceIx) -> bool,
        why: &str,
        wishes: &mut Wishes,
    ) {
        let fits = |device: DeviceIx| s.spec(device).role == Role::Ess && may(device);
        self.parted
            .retain(|device| !(fits(*device) && is_on(s, *device) == Some(true)));
        for device in self.parted.iter().filter(|device| fits(**device)) {
            wishes.proposals.push(switch(*device, true, why.into()));
        }
    }

    /// The bus is dead, or at rest: nothing is handed over any more.
    fn drop(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        if let Some(running) = self.running.take() {
            wishes.events.push(Event::HandOverFailed {
                to: running.to,
                why: format!("the microgrid is in {}", s.mode),
            });
        }
        self.kept = None;
        self.parted.clear();
        self.revoked = None;
        self.tried_for = None;
    }
}

impl Propose for HandOver {
    const FAST: bool = false;

    fn propose(&mut self, s: &Situation<'_>, wishes: &mut Wishes) {
        self.remember(s);
        self.answer(s, wishes);
        if s.mode.is_dark() || matches!(s.mode, Mode::Safe | Mode::Starting) {
            self.drop(s, wishes);
            return;
        }
        self.watch_former(s, wishes);
        self.go_on(s, wishes);
        self.stand_by(s, wishes);
    }
}

enum Progress {
    Goes,
    Done(Vec<DeviceIx>),
    Failed(String),
}

/// Brings the storage to rest, so that a set takes over along its droop. The frequency moves: that is
/// how a set without a setpoint is told.
fn unload(s: &Situation<'_>, to: DeviceIx, wishes: &mut Wishes) {
    let gives = power(s, to).is_some_and(|p| p >= rated(s, to) * SEEN_GIVING);
    let Some(carried) = s.seen.storage else {
        return;
    };
    let id = &s.spec(to).id;
    let lower = s.storage_sent - carried * (UNLOADS_PER_S * s.bench.settings.period.as_secs_f64());
    let (wish, why) = if gives {
        (lower, format!("{id} takes over {carried:.1}"))
    } else {
        // Nobody is there yet to take it over: the frequency alone would fall.
        let probe = carried - s.storage_rated() * PROBE;
        let why = format!("{id} is called onto load");
        (Quantity::max(lower, probe), why)
    };
    wishes.proposals.push(Proposal {
        function: Function::HandOver,
        target: Target::Group {
            group: Group::Storage,
            wish: Some(wish),
            bounds: Bounds::unbounded(),
        },
        why,
    });
}

/// Brings sets that take a setpoint to rest, so that a storage takes over: at nominal frequency they
/// would go on giving all of it.
fn unload_sets(s: &Situation<'_>, others: &[DeviceIx], to: DeviceIx, wishes: &mut Wishes) {
    let is_told = |set: &&DeviceIx| s.spec(**set).role == Role::Genset && s.spec(**set).takes_power;
    for set in others.iter().filter(is_told) {
        let (Some((_, Setpoint::Power { p, .. })), Some(carried)) =
            (s.sent.get(set), power(s, *set))
        else {
            continue;
        };
        let step = carried * (UNLOADS_PER_S * s.bench.settings.period.as_secs_f64());
        wishes.proposals.push(Proposal {
            function: Function::HandOver,
            target: Target::Device {
                device: *set,
                setpoint: Setpoint::Power {
                    p: Quantity::max(*p - step, s.spec(*set).rating.p.lower()),
                    q: ReactivePower::ZERO,
                },
            },
            why: format!("{} takes over {carried:.1}", s.spec(to).id),
        });
    }
}

/// Connects the new former; a storage that is on is left to its setpoints.
fn keep(s: &Situation<'_>, to: DeviceIx, wishes: &mut Wishes) {
    if s.spec(to).role == Role::Genset || is_on(s, to) != Some(true) {
        let why = "it is to form the island".into();
        wishes.proposals.push(switch(to, true, why));
    }
}

fn part(s: &Situation<'_>, device: DeviceIx, to: DeviceIx) -> Proposal {
    let carried = power(s, device).unwrap_or(ActivePower::ZERO);
    let why = format!(
        "{} carries the island, this one still {carried:.1}",
        s.spec(to).id
    );
    switch(device, false, why)
}

fn switch(device: DeviceIx, on: bool, why: String) -> Proposal {
    Proposal {
        function: Function::HandOver,
        target: Target::Device {
            device,
            setpoint: Setpoint::Switch { on },
        },
        why,
    }
}
