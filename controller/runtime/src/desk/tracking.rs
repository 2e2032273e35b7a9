//! Within an interval: what still has to flow for its committed energy, and whether it can.
//!
//! Theory. A device that ramps, starts late or was slowed down has given less than it was committed to
//! by then; what is left of the energy over what is left of the time is the power that makes up for it
//! ([`RemainingEnergyTracker`]). It is looked at in every second of market time by what the meter has
//! counted so far, less what services have called, which is nobody's imbalance. Where it differs from
//! what was told, the schedule of the interval is told again, and takes the place of the one before; it
//! goes through arbitration and limiter like any other.
//!
//! At a coupling with a meter the storages hold the exchange, so that its energy is what is tracked; who
//! stands in a service, or has no such meter beside it, is tracked by its own.
//!
//! **Infeasible.** What a device can do now, its ramp and the time that is left bound what it can still
//! deliver. Where that is not enough it is told once for the interval, with what will be missing at least,
//! and stands on the ledger. It is settled like any other: what is missing is imbalance.
//!
//! Not responsible for switched loads and the sun, which have no power that could be asked of them, nor
//! for ceilings: they say what a network bears, and are not made up for.

use ledger_core::payload::{Infeasible, Payload};
use market::quantity::{MilliwattNs, PPM};
use market::schedule::RemainingEnergyTracker;
use market::{Interval, Mwh};
use model::{DeviceIx, DeviceSpec, Event, Instant, Role, Schedule, UtcTime};
use quantities::{ActivePower, Bounds, Quantity};

use super::{BenchNow, Desk, DeskSays, UTILITY};
use crate::evidence::{CONTROLLER, Evidence, NotDurable, milliwatts};

/// How often it is looked at. Chosen: 1 s, the normal poll period: no meter says something new sooner.
const EVERY_NS: i64 = 1_000_000_000;
/// Change that is not worth telling, as a share of the rating.
/// Chosen: 0.5 %, the usual accuracy class of an inverter's power. What is missing divided by ever less
/// time exceeds it in the end, so that at most this for a tenth of the interval stays missing.
const NOT_WORTH_TELLING: f64 = 0.005;
/// Part of the committed energy that may be missing before it is told, in ppm.
/// Chosen: 1 %, to which ideal devices keep their commitments.
const TOLERANCE_PPM: f64 = 10_000.0;
/// The same as a part of what the rating would bring in an interval, for those who have committed to little.
/// Chosen: 1 %, twice what meters of a bench differ from the truth.
const LEAST_MISSING: f64 = 0.01;
/// Part of an interval in whose rest nothing is changed or foretold any more: what is left divided by no less
/// than this, as the tracker has it, would be short of what is left. Chosen: a tenth.
const LAST_PART: i64 = 10;

/// Whose energy is tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// That at the coupling, which the storages hold.
    Exchange,
    /// That of a device.
    Device(DeviceIx),
}

/// A commitment and how far it is kept.
struct Tracked {
    whose: Whose,
    committed: Mwh,
    /// What services have asked for beside it, in mW ns, positive into the bus.
    called: i128,
    /// Power that the clearing says, and that control was told last, in milliwatts.
    cleared: i64,
    told: i64,
    is_infeasible: bool,
}

/// An interval that is cleared and not over.
pub(super) struct Running {
    interval: Interval,
    schedule: Schedule,
    tracked: Vec<Tracked>,
    looked_ns: i64,
    /// When it is looked at next.
    due_ns: i64,
}

/// What one who has to deliver can do.
pub(super) struct Able {
    pub(super) bounds: Bounds<ActivePower>,
    /// What it does now, services aside.
    pub(super) now: ActivePower,
    pub(super) ramp_w_per_s: f64,
    rated: ActivePower,
}

impl Able {
    /// As market time has it, in which no device ramps faster.
    pub(super) fn at_pace(self, time_factor: i64) -> Self {
        let ramp_w_per_s = self.ramp_w_per_s / time_factor.max(1) as f64;
        Self {
            ramp_w_per_s,
            ..self
        }
    }

    /// The energy that it can deliver in a time, in joules, when it goes to one end of its power at once.
    pub(super) fn reach(&self, to: ActivePower, span_s: f64) -> f64 {
        let (from, to) = (self.now.as_watts(), to.as_watts());
        let ramps_s = ((to - from).abs() / self.ramp_w_per_s.max(f64::MIN_POSITIVE)).min(span_s);
        let reached = from + (to - from).signum() * self.ramp_w_per_s.min(f64::MAX) * ramps_s;
        let reached = if ramps_s < span_s { to } else { reached };
        (from + reached) / 2.0 * ramps_s + to * (span_s - ramps_s)
    }

    /// What of an energy it cannot deliver in a time, in joules.
    fn missing(&self, joules: f64, span_s: f64) -> f64 {
        let least = self.reach(self.bounds.lower(), span_s);
        let most = self.reach(self.bounds.upper(), span_s);
        joules - joules.clamp(least.min(most), most.max(least))
    }
}

/// A milliwatt-hour is so many joules.
pub(super) const JOULES_PER_MWH: f64 = 3.6;

pub(super) fn seconds(ns: i64) -> f64 {
    ns as f64 * 1e-9
}

fn watts(milliwatts: i64) -> ActivePower {
    ActivePower::from_watts(milliwatts as f64 / 1e3)
}

/// Whether a device takes a power that a schedule can say.
pub(super) fn takes_power(spec: &DeviceSpec) -> bool {
    spec.takes_power && matches!(spec.role, Role::Ess | Role::Load)
}

impl Desk {
    /// Begins to track an interval by what its schedule says.
    pub(super) fn track_from(
        &mut self,
        clearing: &market::Clearing,
        schedule: &Schedule,
        bench: &BenchNow<'_>,
    ) {
        let energy = |total: i128| Mwh(i64::try_from(total).unwrap_or(i64::MAX));
        let tracked = |whose, committed, power: ActivePower| {
            let power = milliwatts(power.as_watts());
            Tracked {
                whose,
                committed,
                called: 0,
                cleared: power,
                told: power,
                is_infeasible: false,
            }
        };
        let mut all = Vec::new();
        let is_held = free_storages(bench).next().is_some();
        if let Some(pcc) = schedule.pcc.filter(|_| is_held) {
            let committed = energy(clearing.position(&self.utility.agent).0);
            all.push(tracked(Whose::Exchange, committed, pcc));
        }
        for (device, power) in &schedule.devices {
            let spec = &bench.bench.devices[device.index()];
            let follows = is_promised(bench.bench, *device)
                || (schedule.pcc.is_none() && spec.role == Role::Ess);
            if takes_power(spec) && follows {
                let seats = self.seats.iter().filter(|seat| seat.device == *device);
                let committed = seats.map(|seat| clearing.position(&seat.agent).0).sum();
                all.push(tracked(Whose::Device(*device), energy(committed), *power));
            }
        }
        let interval = clearing.interval;
        self.running.push(Running {
            interval,
            schedule: schedule.clone(),
            tracked: all,
            looked_ns: interval.start_ns,
            due_ns: interval.start_ns.saturating_add(EVERY_NS),
        });
    }

    /// By how much what is asked of a device in an interval differs now from what was cleared, in milliwatts.
    pub(super) fn shifted(&self, interval: u64, device: DeviceIx) -> i64 {
        let running = self.running.iter().find(|it| it.interval.index == interval);
        let mut tracked = running.into_iter().flat_map(|it| &it.tracked);
        let own = tracked.find(|it| it.whose == Whose::Device(device));
        own.map_or(0, |it| it.told.saturating_sub(it.cleared))
    }

    /// Looks at the interval that runs, and says again what is to be done in it where that is not the same.
    pub(super) fn track(
        &mut self,
        now: Instant,
        utc: UtcTime,
        bench: &BenchNow<'_>,
        evidence: &mut Evidence,
        says: &mut DeskSays,
    ) -> Result<(), NotDurable> {
        let now_ns = self.rules.market_ns(now);
        // What is over is looked at for reserve once more, behind its end.
        (self.running).retain(|it| now_ns < it.interval.end_ns().saturating_add(EVERY_NS));
        let mut all = std::mem::take(&mut self.running);
        let mut drafts = Vec::new();
        let runs = |it: &&mut Running| {
            let interval = &it.interval;
            (interval.start_ns..interval.end_ns()).contains(&now_ns)
        };
        for running in all.iter_mut().filter(runs) {
            let index = running.interval.index;
            let mut waiting = self.waiting.iter();
            let own = waiting.find(|it| it.clearing.interval.index == index);
            if own.is_none_or(|it| it.is_excused) {
                // Nobody has to deliver: what was made up for so far is forgotten.
                if running.tracked.iter().any(|it| it.told != it.cleared) {
                    let cleared = running.schedule.clone();
                    says.orders.push(model::Order::Schedule(cleared));
                }
                running.tracked.clear();
                continue;
            }
            running.count(now_ns, bench);
            if now_ns < running.due_ns {
                continue;
            }
            while running.due_ns <= now_ns {
                running.due_ns = running.due_ns.saturating_add(EVERY_NS);
            }
            let interval = running.interval;
            if interval.end_ns() - now_ns < interval.dt_ns / LAST_PART {
                continue;
            }
            let mut has_moved = false;
            for tracked in &mut running.tracked {
                has_moved |= self.look(tracked, &interval, now, bench);
                let infeasible = self.infeasible(tracked, &interval, now, bench);
                if let Some(found) = infeasible.filter(|_| !tracked.is_infeasible) {
                    tracked.is_infeasible = true;
                    says.events.push(Event::CommitmentInfeasible {
                        interval: index,
                        device: found.device.clone(),
                        committed_mwh: found.committed_milliwatt_hours,
                        missing_mwh: found.missing_milliwatt_hours,
                        why: found.why.clone(),
                    });
                    drafts.push(evidence.draft(CONTROLLER, Payload::Infeasible(found)));
                }
            }
            if has_moved {
                says.orders.push(model::Order::Schedule(running.told()));
            }
        }
        self.running = all;
        evidence.note(utc, drafts)
    }

    /// What is left of the energy over what is left of the time; whether that is worth telling.
    fn look(
        &self,
        tracked: &mut Tracked,
        interval: &Interval,
        now: Instant,
        bench: &BenchNow<'_>,
    ) -> bool {
        let now_ns = self.rules.market_ns(now);
        // What nobody has metered is not made up for.
        let Some(metered) = self.metered(tracked, interval, now_ns) else {
            return false;
        };
        let tracker = RemainingEnergyTracker {
            interval: *interval,
            committed: tracked.committed,
        };
        let Ok(power) = tracker.power_milliwatt(metered, now_ns) else {
            return false;
        };
        let (bounds, rated) = match tracked.whose {
            Whose::Exchange => {
                let most = self.pcc_max;
                let storages = exchange_able(now, bench);
                (Bounds::between(-most, most), storages.map(|it| it.rated))
            }
            Whose::Device(device) => {
                let Some(able) = able(device, now, bench) else {
                    return false;
                };
                (able.bounds, Some(able.rated))
            }
        };
        let Some(rated) = rated else { return false };
        let power = milliwatts(bounds.clamp(watts(power)).as_watts());
        let least = milliwatts(rated.as_watts() * NOT_WORTH_TELLING);
        if power.abs_diff(tracked.told) < least.unsigned_abs().max(1) {
            return false;
        }
        tracked.told = power;
        true
    }

    /// What was metered so far of what was committed.
    fn metered(&self, tracked: &Tracked, interval: &Interval, now_ns: i64) -> Option<MilliwattNs> {
        let meter = match tracked.whose {
            Whose::Exchange => &self.utility_meter,
            Whose::Device(device) => self.meters.get(&device)?,
        };
        let whole = meter.so_far(interval, now_ns, self.rules.time_factor)?;
        Some(whole - MilliwattNs(tracked.called))
    }

    /// What of a commitment cannot be delivered any more, if it is worth a word.
    fn infeasible(
        &self,
        tracked: &Tracked,
        interval: &Interval,
        now: Instant,
        bench: &BenchNow<'_>,
    ) -> Option<Infeasible> {
        let now_ns = self.rules.market_ns(now);
        let span_s = seconds(interval.end_ns() - now_ns);
        let metered = self.metered(tracked, interval, now_ns)?;
        let left = MilliwattNs::from(tracked.committed) - metered;
        // A milliwatt-nanosecond is 1e-12 J.
        let joules = left.0 as f64 * 1e-12;
        let (device, missing, rated, why) = match tracked.whose {
            Whose::Exchange => {
                let able = exchange_able(now, bench)?.at_pace(self.rules.time_factor);
                let exchange = bench.image.devices[self.pcc?.index()].p;
                let age_max = bench.bench.devices[self.pcc?.index()].sample_age_max;
                let served: ActivePower = bench.served.iter().map(|(_, p)| *p).sum();
                // What the utility would bring if the storages rested.
                let rest = exchange.fresh(now, age_max)? + served + able.now;
                let wanted = rest.as_watts() * span_s - joules;
                let why = format!(
                    "the storages would have to give {:.1}, can give {:.1} now and ramp by {:.1} a second",
                    ActivePower::from_watts(wanted / span_s),
                    able.bounds,
                    ActivePower::from_watts(able.ramp_w_per_s)
                );
                let missing = -able.missing(wanted, span_s);
                (UTILITY.to_owned(), missing, able.rated, why)
            }
            Whose::Device(device) => {
                let name = self.names[device.index()].clone();
                let spec = &bench.bench.devices[device.index()];
                match able(device, now, bench).map(|it| it.at_pace(self.rules.time_factor)) {
                    Some(able) => {
                        let why = format!(
                            "it would have to give {:.1}, can give {:.1} now and ramps by {:.1} a second",
                            ActivePower::from_watts(joules / span_s),
                            able.bounds,
                            ActivePower::from_watts(able.ramp_w_per_s)
                        );
                        (name, able.missing(joules, span_s), able.rated, why)
                    }
                    None => {
                        let why = "it does not answer".to_owned();
                        (name, joules, spec.rating.p.upper(), why)
                    }
                }
            }
        };
        let committed = tracked.committed.0 as f64 * JOULES_PER_MWH;
        let tolerance = (committed.abs() * TOLERANCE_PPM / f64::from(PPM))
            .max(rated.as_watts() * LEAST_MISSING * seconds(interval.dt_ns));
        (missing.abs() > tolerance).then(|| Infeasible {
            device,
            interval: interval.index,
            committed_milliwatt_hours: tracked.committed.0,
            missing_milliwatt_hours: (missing / JOULES_PER_MWH).round() as i64,
            why,
        })
    }
}

impl Running {
    /// Adds what services have asked for since it was looked at last.
    fn count(&mut self, now_ns: i64, bench: &BenchNow<'_>) {
        let span = i128::from(now_ns.saturating_sub(self.looked_ns).max(0));
        self.looked_ns = now_ns;
        for tracked in &mut self.tracked {
            let asked: ActivePower = match tracked.whose {
                // What services give, the utility need not bring.
                Whose::Exchange => -bench.served.iter().map(|(_, p)| *p).sum::<ActivePower>(),
                Whose::Device(device) => {
                    let own = bench.served.iter().filter(|(it, _)| *it == device);
                    own.map(|(_, p)| *p).sum()
                }
            };
            tracked.called += i128::from(milliwatts(asked.as_watts())) * span;
        }
    }

    /// The schedule with what is told now.
    fn told(&self) -> Schedule {
        let mut schedule = self.schedule.clone();
        for tracked in &self.tracked {
            match tracked.whose {
                Whose::Exchange => schedule.pcc = Some(watts(tracked.told)),
                Whose::Device(device) => {
                    let mut devices = schedule.devices.iter_mut();
                    if let Some((_, p)) = devices.find(|(it, _)| *it == device) {
                        *p = watts(tracked.told);
                    }
                }
            }
        }
        schedule
    }
}

/// The storages that no service has.
fn free_storages<'a>(bench: &BenchNow<'a>) -> impl Iterator<Item = DeviceIx> + 'a {
    let bench = bench.bench;
    let all = bench.of_role(Role::Ess);
    let free = all.filter(|(device, spec)| takes_power(spec) && !is_promised(bench, *device));
    free.map(|(device, _)| device)
}

/// Whether a device was promised to a service.
fn is_promised(bench: &control::Bench, device: DeviceIx) -> bool {
    let services = &bench.settings.services;
    services.iter().any(|spec| spec.devices.contains(&device))
}

/// What a device can do; `None` when it does not answer, or nobody knows what it does.
pub(super) fn able(device: DeviceIx, now: Instant, bench: &BenchNow<'_>) -> Option<Able> {
    let spec = &bench.bench.devices[device.index()];
    let mut all = bench.able.iter();
    let (_, bounds) = all.find(|(it, _)| *it == device)?;
    let measured = bench.image.devices[device.index()].p;
    let measured = measured.fresh(now, spec.sample_age_max)?;
    let called = bench.served.iter().filter(|(it, _)| *it == device);
    let called: ActivePower = called.map(|(_, p)| *p).sum();
    Some(Able {
        bounds: *bounds,
        now: measured - called,
        ramp_w_per_s: spec.rating.ramp.base(),
        rated: Quantity::max(spec.rating.p.upper(), -spec.rating.p.lower()),
    })
}

/// What the storages that hold the exchange can do together; `None` when one that answers is not known.
fn exchange_able(now: Instant, bench: &BenchNow<'_>) -> Option<Able> {
    let nothing = Able {
        bounds: Bounds::exactly(ActivePower::ZERO),
        now: ActivePower::ZERO,
        ramp_w_per_s: 0.0,
        rated: ActivePower::ZERO,
    };
    let answers = |device: &DeviceIx| bench.able.iter().any(|(it, _)| it == device);
    free_storages(bench)
        .filter(answers)
        .try_fold(nothing, |sum, device| {
            let own = able(device, now, bench)?;
            Some(Able {
                bounds: sum.bounds.plus(own.bounds),
                now: sum.now + own.now,
                ramp_w_per_s: sum.ramp_w_per_s + own.ramp_w_per_s,
                rated: sum.rated + own.rated,
            })
        })
}
