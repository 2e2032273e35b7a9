//! The market desk: it asks the agents, clears, turns trades into schedules, meters and settles.
//!
//! The market knows neither control nor ledger; this module translates. It runs in
//! the cycle, in market time (nanoseconds since the run began), and takes
//! microseconds for a bench's few orders. What a run's market decides is
//! [`market::Venue`]'s, so that a replay decides the same.

mod balancing;
mod calendar;
mod credits;
mod direction;
mod doubt;
pub mod export;
mod feeder;
mod intraday;
mod late;
mod lead;
mod opening;
mod outside;
mod protection;
mod reach;
mod records;
mod reserve;
mod seat;
mod settling;
mod shown;
mod signs;
mod tracking;

mod clearing;
mod delivered;
mod replay;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ledger_core::AtomId;
use market::agent::UtilityGrid;
use market::meter::Sample;
use market::sign::SignFault;
use market::venue::VenueRules;
use market::venue::balancing::POOL;
use market::{AgentId, Counter, Interval, Price, Venue};
use model::{Clock, DeviceIx, Event, Instant, Order, Point, PointSample, ProcessImage, UtcTime};
use quantities::{ActivePower, Bounds};
use serde::{Deserialize, Serialize};

pub use calendar::Calendar;
pub use delivered::{Books, Delivery, books};
pub use late::{Corrected, LateReading};
pub use outside::{Bid, BidQueue, Entry, OpenGate, Stage, Taken};
pub use protection::Protection;
pub use records::{BOOKINGS, FEEDER_ACCOUNTS};
pub use replay::{MarketReplay, MarketReplayError, replay};

use self::clearing::AtGate;
use self::credits::Credits;
use self::direction::DirectionWatch;
use self::doubt::WatchedMeter;
use self::intraday::Quotes;
use self::reserve::Reserves;
use self::seat::Seat;
use self::signs::Signs;
use self::tracking::Running;
use crate::evidence::{Evidence, NotDurable, milliwatts};
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
/// Gate closure before an interval, by the clock of the bench, of a rig that says none. Chosen: 1 s, ten control
/// cycles; clearing, ledger and setpoints together take less than 0.2 s, and a rig is refused if they could take longer.
pub const GATE: Duration = Duration::from_secs(1);
/// Time after an interval until its meters are read. Chosen: 1 s, one normal poll period.
pub const METER_LAG: Duration = Duration::from_secs(1);
/// How long the clearing waits for the orders' records.
/// Chosen: 50 ms, half a control period: a slower disk costs an interval, not a cycle.
pub(crate) const ORDERS_DURABLE_WITHIN: Duration = Duration::from_millis(50);
/// Price bounds: -50 to +300 ct/kWh in milli-cent, and a tick of one.
/// Chosen: wide enough for every tariff of a lab; a must-run load bids at the cap.
pub(crate) const PRICE_FLOOR: Price = Price(-50_000);
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
    /// What of participants others are shown; `None` shows everything.
    #[serde(default)]
    protection: Option<Protection>,
    /// The feeder of the real-time stage, if it is on one.
    #[serde(default)]
    feeder: Option<market::venue::FeederRules>,
    /// Whether real time activates balancing energy beside what was traded before.
    #[serde(default)]
    balancing: bool,
    /// How much faster market time goes than the clock of the bench; energy is that of market time.
    #[serde(default = "as_fast")]
    time_factor: i64,
}

/// Market time of rules that say nothing of it.
const fn as_fast() -> i64 {
    1
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
            .saturating_mul(self.time_factor)
            .saturating_sub(self.first_start_ns);
        u64::try_from(since_first / self.interval_ns.max(1)).ok()
    }

    /// The venue that they make.
    fn venue(&self) -> Result<Venue, String> {
        let venue = Venue::new(self.venue.clone()).map_err(|e| e.to_string())?;
        let venue = (venue.on_feeder(self.feeder.clone())).map_err(|e| e.to_string())?;
        Ok(venue.by_balancing_energy(self.balancing))
    }

    /// The interval in which a trade under this number is to be delivered: real time trades the whole
    /// once more, and with balancing energy what the stages before have traded stands.
    fn delivered_in(&self, number: u64) -> Option<u64> {
        let earlier = |index: u64| self.balancing.then_some(index);
        if market::venue::reserve::interval_of(number).is_some() {
            return None;
        }
        if let Some(index) = market::venue::intraday::interval_of(number) {
            return earlier(index);
        }
        match market::venue::ahead::interval_of(number) {
            (index, true) => earlier(index),
            (index, false) => Some(index),
        }
    }

    /// What both sides of a deal are to deliver by it, and in which interval.
    fn delivered_by<'a>(
        &self,
        deal: &'a ledger_core::payload::Trade,
    ) -> Option<(u64, [(&'a str, i64); 2])> {
        let index = self
            .delivered_in(deal.interval)
            .filter(|_| self.balancing)?;
        let energy = deal.quantity_milliwatt_hours;
        Some((index, [(&deal.buyer, -energy), (&deal.seller, energy)]))
    }

    fn utc_of(&self, interval: &Interval) -> i64 {
        self.epoch_utc_ns
            .saturating_add(self.on_bench(interval.start_ns))
    }

    /// A market time, or a span of it, by the clock of the bench.
    fn on_bench(&self, market_ns: i64) -> i64 {
        market_ns / self.time_factor.max(1)
    }

    /// The market time of a moment of the bench.
    fn market_ns(&self, now: Instant) -> i64 {
        let ns = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        ns.saturating_mul(self.time_factor)
    }

    /// The moment of the bench of a market time.
    fn instant(&self, market_ns: i64) -> Instant {
        Instant::from_nanos(u64::try_from(self.on_bench(market_ns)).unwrap_or(0))
    }
}

/// When blocks of intervals are traded ahead.
struct AheadTimes {
    /// Intervals of a block.
    intervals: u64,
    /// How long before a block its gate closes.
    gate_ns: i64,
    /// First interval of the next block.
    next: u64,
}

/// One with a part of a device in an interval: what it committed to, and its share of the device in ppm.
type Owner = (AgentId, (market::MwhTotal, u32));

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
    /// What the service that the market buys asks of each device, on top of its baseline.
    pub called: &'a [(DeviceIx, ActivePower)],
    /// What all services ask of each device, on top of its baseline.
    pub served: &'a [(DeviceIx, ActivePower)],
    /// What each device that takes a power can do now beside what services have reserved of it; who
    /// does not answer is not listed.
    pub able: &'a [(DeviceIx, Bounds<ActivePower>)],
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
    utility_meter: WatchedMeter,
    pcc: Option<DeviceIx>,
    seats: Vec<Seat>,
    /// Meters of the devices that somebody trades with.
    meters: BTreeMap<DeviceIx, WatchedMeter>,
    /// Who had what of a device in a settled interval whose reading was not valid.
    unread: BTreeMap<(u64, DeviceIx), Vec<Owner>>,
    /// What a unit that an island cannot serve is worth.
    lost_load: Option<Price>,
    directions: DirectionWatch,
    /// Whether the meters of devices go with their setpoints, where the rig asks for it.
    signs: Option<Signs>,
    /// What watches the voltages of the feeder, if there is one.
    watch: Option<feeder::Watch>,
    /// What photovoltaics are held to in the interval cleared last, as the feeder bears no more.
    ceilings: BTreeMap<DeviceIx, ActivePower>,
    /// Names of the devices of the rig.
    names: Vec<String>,
    /// Orders from outside that nobody has looked at yet.
    bids: BidQueue,
    /// Orders from outside that were taken.
    counter: Counter,
    /// Those of them for the day-ahead stage.
    ahead_counter: Counter,
    /// Who has not ordered in the last interval, and was told of.
    silent: BTreeSet<AgentId>,
    /// The day-ahead stage, if the rig has one.
    ahead: Option<AheadTimes>,
    /// The stage within the day, if the rig has one.
    intraday: Option<Quotes>,
    /// The reserve stage, if the rig has one.
    reserves: Option<Reserves>,
    /// How long before an interval its gate closes, in market time.
    gate_before_ns: i64,
    /// What is to be told in the next cycle.
    untold: Vec<Event>,
    /// Whether the gate leaves time for what follows it, where time passes.
    lead: Option<lead::Watch>,
    /// What times a clearing, if anything does.
    clock: Option<Arc<dyn Clock>>,
    next: u64,
    waiting: Vec<Cleared>,
    /// Intervals that are cleared and not over, and how far their energy has come.
    running: Vec<Running>,
    /// What was metered and sold, as credits of the ledger.
    credits: Credits,
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
            .chain(market.balancing.then(|| POOL.to_owned()))
            .collect()
    }

    /// Name of the clearing mechanism.
    #[must_use]
    pub fn mechanism_name(&self) -> String {
        self.real_time_rule()
    }

    /// From now on it tells how long clearings take by this clock.
    pub fn timed_by(&mut self, clock: Arc<dyn Clock>) {
        self.clock = Some(clock);
    }

    /// When the gate of an interval closes, in market time.
    fn gate_ns(&self, interval: &Interval) -> i64 {
        interval.start_ns.saturating_sub(self.gate_before_ns)
    }

    /// Nanoseconds by the clock that times clearings.
    fn ticks(&self) -> u128 {
        self.clock
            .as_ref()
            .map_or(0, |clock| clock.now().as_nanos().into())
    }

    /// Takes in what was measured.
    pub fn observe(&mut self, samples: &[PointSample]) {
        for sample in samples {
            let Some(value) = sample.sample.reading.good() else {
                continue;
            };
            let instant_ns = self.rules.market_ns(sample.sample.measured_at);
            let meter = if Some(sample.device) == self.pcc {
                Some(&mut self.utility_meter)
            } else {
                self.meters.get_mut(&sample.device)
            };
            let Some(meter) = meter else { continue };
            match sample.point {
                Point::ActivePower => meter.record(Sample {
                    instant_ns,
                    power_milliwatt: milliwatts(value),
                }),
                Point::EnergyExport => meter.count(true, instant_ns, value),
                Point::EnergyImport => meter.count(false, instant_ns, value),
                _ => {}
            }
        }
    }

    /// Whether the device with which somebody trades lets it.
    fn sign_lets(&self, agent: &AgentId) -> Result<(), SignFault> {
        let own = self.seats.iter().find(|seat| seat.agent == *agent);
        match own.zip(self.signs.as_ref()) {
            Some((seat, signs)) => signs.lets(seat.device),
            None => Ok(()),
        }
    }

    /// The block of intervals whose day-ahead gate has closed and that nobody has looked at yet.
    fn block_due(&mut self, market_now: i64) -> Option<std::ops::Range<u64>> {
        let ahead = self.ahead.as_mut()?;
        let first = self.rules.interval(ahead.next)?;
        if market_now < first.start_ns.saturating_sub(ahead.gate_ns) {
            return None;
        }
        let block = ahead.next..ahead.next.saturating_add(ahead.intervals);
        ahead.next = block.end;
        Some(block)
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
        let mut says = DeskSays {
            events: std::mem::take(&mut self.untold),
            ..DeskSays::default()
        };
        let market_now = self.rules.market_ns(now);
        for cleared in &mut self.waiting {
            let interval = &cleared.clearing.interval;
            let runs = (interval.start_ns..interval.end_ns()).contains(&market_now);
            cleared.is_excused |= runs && !bench.delivers;
        }
        for seat in &mut self.seats {
            seat.live(now, bench.image, &bench.bench.devices);
        }
        if let Some(signs) = &mut self.signs {
            signs.look(now, bench, &mut says);
        }
        self.watch_reserve(now, bench);
        self.track(now, utc, bench, evidence, &mut says)?;
        let at = AtGate { now, utc, bench };
        while let Some(block) = self.block_due(market_now) {
            let begins = self.rules.interval(block.start);
            if begins.is_some_and(|first| market_now < self.gate_ns(&first)) {
                self.clear_ahead(&at, block.clone(), evidence, &mut says)?;
            } else {
                for index in block.clone() {
                    self.ahead_counter.close(index);
                }
                says.events.push(Event::MarketNotCleared {
                    interval: block.start,
                    why: "its day-ahead gate was missed, and it is traded in real time alone"
                        .into(),
                });
            }
        }
        let open = self.next;
        while let Some(interval) = self.rules.interval(self.next)
            && market_now >= self.gate_ns(&interval)
        {
            self.next += 1;
            // After a long stall the intervals that have begun already are not traded any more.
            if market_now < interval.start_ns {
                self.clear(&at, interval, evidence, &mut says)?;
            } else {
                self.counter.close(interval.index);
                says.events.push(Event::MarketNotCleared {
                    interval: interval.index,
                    why: "it had begun when its gate was looked at".into(),
                });
            }
        }
        if self.next > open {
            self.quote(&at, evidence, &mut says)?;
        }
        self.hear_bids(utc, evidence, &mut says)?;
        let lag = METER_LAG.as_nanos() as i64 * self.rules.time_factor;
        while self
            .waiting
            .first()
            .is_some_and(|c| market_now >= c.clearing.interval.end_ns() + lag)
        {
            let cleared = self.waiting.remove(0);
            self.settle(utc, cleared, evidence, &mut says)?;
        }
        self.hear_readings(utc, evidence, &mut says)?;
        self.hear_counters(utc, evidence, &mut says)?;
        self.credits.work(utc, evidence, &mut says.events)?;
        if let Some(protection) = &self.rules.protection {
            says.events
                .iter_mut()
                .for_each(|event| protection.event(event));
        }
        Ok(says)
    }
}

#[cfg(test)]
mod tests;
