//! The market desk: it asks the agents, clears, turns trades into schedules, meters and settles.
//!
//! The market knows neither control nor ledger; this module translates. It runs in
//! the cycle, in market time (nanoseconds since the run began), and takes
//! microseconds for a bench's few orders. What a run's market decides is
//! [`market::Venue`]'s, so that a replay decides the same.

mod calendar;
mod direction;
mod opening;
mod records;
mod seat;
mod settling;
mod shown;

mod delivered;
mod replay;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ledger_core::AtomId;
use ledger_core::atom::DEPENDENCIES_MAX;
use ledger_core::payload::Payload;
use market::agent::UtilityGrid;
use market::meter::{EnergyMeter, Sample};
use market::quantity::energy_of_power_mwh;
use market::utility::Coupling;
use market::venue::VenueRules;
use market::{Agent, AgentId, Interval, MarketView, Price, Venue};
use model::{DeviceIx, Event, Instant, Order, Point, PointSample, ProcessImage, Schedule, UtcTime};
use quantities::ActivePower;
use serde::{Deserialize, Serialize};

pub use calendar::Calendar;
pub use delivered::{Books, Delivery, books};
pub use replay::{MarketReplay, MarketReplayError, replay};

use self::direction::DirectionWatch;
use self::records::{clearing_payload, order_payload, terms_payload};
use self::seat::Seat;
use crate::evidence::{self, Evidence, MARKET_OPERATOR, NotDurable, milliwatts};
use crate::rig::Rig;
use crate::view::IntervalView;

/// Name of the utility grid's account.
pub const UTILITY: &str = "utility";
/// Form of [`RULES_FILE`].
const RULES_SCHEMA: u32 = 2;
/// File in the run folder that holds the rules; the ledger binds its digest.
pub const RULES_FILE: &str = "market.json";
/// Subject of the ledger record that binds the rules.
pub const RULES_SUBJECT: &str = "market-rules";
/// Start of the first interval. Chosen: 3 s, when every bus of a healthy bench has answered.
const FIRST_START: Duration = Duration::from_secs(3);
/// Gate closure before an interval. Chosen: 1 s, ten control cycles; clearing, ledger and
/// setpoints together take less than 0.2 s.
pub const GATE: Duration = Duration::from_secs(1);
/// Time after an interval until its meters are read. Chosen: 1 s, one normal poll period.
pub const METER_LAG: Duration = Duration::from_secs(1);
/// How long the clearing waits for the orders' records.
/// Chosen: 50 ms, half a control period: a slower disk costs an interval, not a cycle.
const ORDERS_DURABLE_WITHIN: Duration = Duration::from_millis(50);
/// Price bounds: -50 to +300 ct/kWh in milli-cent, and a tick of one.
/// Chosen: wide enough for every tariff of a lab; a must-run load bids at the cap.
const PRICE_FLOOR: Price = Price(-50_000);
pub(crate) const PRICE_CAP: Price = Price(300_000);
const PRICE_TICK: i64 = 1;

/// What a replay needs besides the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    schema: u32,
    venue: VenueRules,
    /// UTC of market time zero, in nanoseconds.
    epoch_utc_ns: i64,
    first_start_ns: i64,
    interval_ns: i64,
}

impl Rules {
    fn interval(&self, index: u64) -> Option<Interval> {
        let offset = i64::try_from(index).ok()?.checked_mul(self.interval_ns)?;
        Interval::new(
            index,
            self.first_start_ns.checked_add(offset)?,
            self.interval_ns,
        )
        .ok()
    }

    /// The interval that begins at a time; `None` before the first one.
    fn index_at(&self, start_utc_ns: i64) -> Option<u64> {
        let since_first = start_utc_ns
            .saturating_sub(self.epoch_utc_ns)
            .saturating_sub(self.first_start_ns);
        u64::try_from(since_first / self.interval_ns.max(1)).ok()
    }

    fn utc_of(&self, interval: &Interval) -> i64 {
        self.epoch_utc_ns.saturating_add(interval.start_ns)
    }
}

/// A cleared interval that waits for its meters.
struct Cleared {
    clearing: market::Clearing,
    atom: AtomId,
    /// Whether nobody was asked to deliver at some time in it.
    is_excused: bool,
}

/// What the desk may know of the bench in a cycle.
#[derive(Clone, Copy, Debug)]
pub struct BenchNow<'a> {
    /// What was measured.
    pub image: &'a ProcessImage,
    /// What there is.
    pub bench: &'a control::Bench,
    /// Whether the utility is there to trade with.
    pub connected: bool,
    /// Whether devices are asked to deliver what was traded.
    pub delivers: bool,
}

/// What the desk has to say in a cycle.
#[derive(Debug, Default)]
pub struct DeskSays {
    /// Orders for the control core.
    pub orders: Vec<Order>,
    /// What happened.
    pub events: Vec<Event>,
    /// Served orders in this cycle.
    pub trades: u64,
}

/// The last clearing and the accounts, for the page.
#[derive(Clone, Debug, Default)]
pub struct DeskState {
    /// Number of the last cleared interval.
    pub interval: u64,
    /// Its price in milli-cent per kWh.
    pub price_mc_per_kwh: Option<i64>,
    /// Its energy in milliwatt-hours.
    pub energy_mwh: i64,
    /// Served orders since the run began.
    pub trades: u64,
    /// Balance of every account in 1e-11 EUR, positive = has paid.
    pub accounts: BTreeMap<String, i128>,
    /// Energy that no meter accounts for, in milliwatt-hours, summed over all settled intervals.
    pub unaccounted_mwh: i64,
    /// The last intervals, oldest first.
    pub intervals: VecDeque<Arc<IntervalView>>,
}

/// The market desk of a run.
pub struct Desk {
    rules: Rules,
    venue: Venue,
    pcc_max: ActivePower,
    utility: UtilityGrid,
    utility_meter: EnergyMeter,
    pcc: Option<DeviceIx>,
    seats: Vec<Seat>,
    /// Meters of the devices that somebody trades with.
    meters: BTreeMap<DeviceIx, EnergyMeter>,
    /// What a unit that an island cannot serve is worth.
    lost_load: Option<Price>,
    directions: DirectionWatch,
    next: u64,
    waiting: Vec<Cleared>,
    /// The clearing that counts now: the cause of what control dispatches.
    pub cause: Option<AtomId>,
    /// For the page.
    pub state: DeskState,
}

/// Why a desk cannot open.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The rig's market contradicts itself.
    #[error("the market of the rig cannot work: {0}")]
    Rules(String),
    /// The rules cannot be written into the run folder.
    #[error("the market's rules cannot be written: {0}")]
    Write(std::io::Error),
    /// The ledger did not take them.
    #[error(transparent)]
    Ledger(#[from] NotDurable),
}

impl Desk {
    /// The ledger names of the participants of a rig's market.
    #[must_use]
    pub fn participants(rig: &Rig) -> Vec<String> {
        let Some(market) = &rig.market else {
            return Vec::new();
        };
        market
            .participants
            .iter()
            .map(|participant| participant.name.clone())
            .chain([UTILITY.to_owned()])
            .collect()
    }

    /// Name of the clearing mechanism.
    #[must_use]
    pub fn mechanism_name(&self) -> String {
        self.rules.venue.mechanism.clone()
    }

    /// Takes in what was measured.
    pub fn observe(&mut self, samples: &[PointSample]) {
        for sample in samples.iter().filter(|s| s.point == Point::ActivePower) {
            let Some(p) = sample.sample.reading.good() else {
                continue;
            };
            let metered = Sample {
                instant_ns: sample.sample.measured_at.as_nanos() as i64,
                power_milliwatt: milliwatts(p),
            };
            let meter = if Some(sample.device) == self.pcc {
                Some(&mut self.utility_meter)
            } else {
                self.meters.get_mut(&sample.device)
            };
            if let Some(meter) = meter {
                // A sample that repeats an instant adds nothing; an implausible one must not count.
                let _unchanged = meter.record(metered);
            }
        }
    }

    /// Does what is due: clears at the gate, settles after the lag.
    ///
    /// # Errors
    /// [`NotDurable::Stopped`] when the ledger has failed.
    pub fn work(
        &mut self,
        now: Instant,
        utc: UtcTime,
        bench: &BenchNow<'_>,
        evidence: &mut Evidence,
    ) -> Result<DeskSays, NotDurable> {
        let mut says = DeskSays::default();
        let market_now = now.as_nanos() as i64;
        for cleared in &mut self.waiting {
            let interval = &cleared.clearing.interval;
            let runs = (interval.start_ns..interval.end_ns()).contains(&market_now);
            cleared.is_excused |= runs && !bench.delivers;
        }
        if let Some(interval) = self.rules.interval(self.next)
            && market_now >= interval.start_ns - GATE.as_nanos() as i64
        {
            self.next += 1;
            // After a long stall the intervals that have begun already are not traded any more.
            if market_now < interval.start_ns {
                self.clear(now, utc, interval, bench, evidence, &mut says)?;
            }
        }
        let lag = METER_LAG.as_nanos() as i64;
        while self
            .waiting
            .first()
            .is_some_and(|c| market_now >= c.clearing.interval.end_ns() + lag)
        {
            let cleared = self.waiting.remove(0);
            self.settle(utc, cleared, evidence, &mut says)?;
        }
        Ok(says)
    }

    fn clear(
        &mut self,
        now: Instant,
        utc: UtcTime,
        interval: Interval,
        bench: &BenchNow<'_>,
        evidence: &mut Evidence,
        says: &mut DeskSays,
    ) -> Result<(), NotDurable> {
        let view = MarketView {
            rules: self.rules.venue.book.clone(),
            coupling: self.coupling(&interval, bench.connected),
            lost_load: self.lost_load,
            outlooks: self
                .seats
                .iter()
                .map(|seat| {
                    let outlook = seat.outlook(now, bench.image, &bench.bench.devices, &interval);
                    (seat.agent.clone(), outlook)
                })
                .collect(),
        };
        let mut orders: Vec<market::Order> = self
            .seats
            .iter_mut()
            .flat_map(|seat| seat.orders(&view, &interval))
            .chain(self.utility.orders(&view, &interval))
            .filter_map(|order| self.venue.accepted_part(order))
            .collect();
        for (rank, order) in orders.iter_mut().enumerate() {
            order.rank = rank as u64;
        }
        let terms = self.venue.terms().map(|terms| {
            let payload = Payload::Terms(terms_payload(interval.index, &terms));
            evidence.draft(MARKET_OPERATOR, payload)
        });
        let before_orders = terms.iter().len();
        let posted = orders.iter().map(|o| {
            let author = evidence::party_of(o.agent.as_str());
            evidence.draft(&author, order_payload(&interval, o))
        });
        let drafts = terms.into_iter().chain(posted).collect();
        let receipts = match evidence.append(utc, drafts, Some(ORDERS_DURABLE_WITHIN)) {
            Ok(receipts) => receipts,
            Err(NotDurable::Late(deadline)) => {
                says.events.push(Event::LedgerLate {
                    deadline_ms: deadline.as_millis() as u64,
                    policy: format!("interval {} is not cleared", interval.index),
                });
                return Ok(());
            }
            Err(stopped) => return Err(stopped),
        };
        let uncleared = |why: String| Event::MarketNotCleared {
            interval: interval.index,
            why,
        };
        let atoms = orders.iter().zip(receipts.iter().skip(before_orders));
        let atoms: BTreeMap<u64, AtomId> = atoms.map(|(o, r)| (o.rank, r.atom_id)).collect();
        let cleared = match self.venue.clear(interval, orders) {
            Ok(cleared) => cleared,
            Err(e) => {
                says.events.push(uncleared(e.to_string()));
                return Ok(());
            }
        };
        let failure = cleared.failure.as_ref().map(ToString::to_string);
        let has_failed = failure.is_some();
        says.events.extend(failure.clone().map(uncleared));
        let faults = cleared.refused.iter().map(ToString::to_string);
        says.events
            .extend(faults.map(|why| Event::OrderRefused { why }));
        let clearing = cleared.clearing;
        let Some(payload) = clearing_payload(&clearing, &cleared.book, &atoms) else {
            let why = "it serves an order that is not on the ledger";
            says.events.push(uncleared(why.into()));
            return Ok(());
        };
        let payload = Payload::Clearing(payload);
        let draft = evidence.draft(MARKET_OPERATOR, payload).after(
            receipts
                .iter()
                .map(|r| r.atom_id)
                .take(DEPENDENCIES_MAX)
                .collect(),
        );
        let atom = match evidence.append(utc, vec![draft], Some(ORDERS_DURABLE_WITHIN)) {
            Ok(receipts) => receipts.first().map(|r| r.atom_id),
            Err(NotDurable::Late(deadline)) => {
                says.events.push(Event::LedgerLate {
                    deadline_ms: deadline.as_millis() as u64,
                    policy: format!("interval {} does not count", interval.index),
                });
                None
            }
            Err(stopped) => return Err(stopped),
        };
        // On the ledger sooner or later, and so known, even if it came too late to be followed.
        self.venue.take(&clearing);
        let Some(atom) = atom else { return Ok(()) };
        self.show_cleared(&clearing, &cleared.book, &atoms, atom, failure);
        if has_failed {
            // Nothing is traded, so nothing is asked of anybody; what flows is settled all the same.
            self.waiting.push(Cleared {
                clearing,
                atom,
                is_excused: true,
            });
            return Ok(());
        }
        self.cause = Some(atom);
        self.announce(interval, clearing, atom, says);
        Ok(())
    }

    /// Tells control and page what was cleared, and keeps it for settlement.
    fn announce(
        &mut self,
        interval: Interval,
        clearing: market::Clearing,
        atom: AtomId,
        says: &mut DeskSays,
    ) {
        let trades = clearing.fills.len() as u64;
        for seat in &mut self.seats {
            seat.heed(&clearing);
        }
        let price = clearing.reference().map(|p| p.0);
        self.state.interval = interval.index;
        self.state.price_mc_per_kwh = price;
        self.state.energy_mwh = i64::try_from(clearing.quantity.0).unwrap_or(i64::MAX);
        self.state.trades += trades;
        says.trades += trades;
        says.events.push(Event::MarketCleared {
            interval: interval.index,
            price_mc_per_kwh: price,
            energy_mwh: self.state.energy_mwh,
            trades,
        });
        let commitments = market::schedule::schedule(&clearing).unwrap_or_default();
        let power = |agent: &AgentId| {
            commitments
                .iter()
                .find(|c| c.agent == *agent)
                .map_or(ActivePower::ZERO, |c| {
                    ActivePower::from_watts(c.power_milliwatt as f64 / 1000.0)
                })
        };
        // What several trade with one device is one setpoint.
        let mut devices: BTreeMap<DeviceIx, ActivePower> = BTreeMap::new();
        for seat in &self.seats {
            let sum = devices.entry(seat.device).or_insert(ActivePower::ZERO);
            *sum += power(&seat.agent);
        }
        let at = |ns: i64| Instant::from_nanos(u64::try_from(ns).unwrap_or(0));
        says.orders.push(Order::Schedule(Schedule {
            interval: interval.index,
            from: at(interval.start_ns),
            until: at(interval.end_ns()),
            price_mc_per_kwh: price,
            pcc: self.pcc.map(|_| power(&self.utility.agent)),
            devices: devices.into_iter().collect(),
        }));
        self.waiting.push(Cleared {
            clearing,
            atom,
            is_excused: false,
        });
    }

    fn coupling(&self, interval: &Interval, connected: bool) -> Coupling {
        let max = energy_of_power_mwh(milliwatts(self.pcc_max.as_watts()), interval.dt_ns);
        match max {
            Some(max) if connected => Coupling::Connected {
                import_max: max,
                export_max: max,
            },
            _ => Coupling::Islanded,
        }
    }
}
