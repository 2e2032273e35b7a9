//! The market desk: it asks the agents, clears, turns trades into schedules, meters and settles.
//!
//! The market knows neither control nor ledger; this module translates. It runs in
//! the cycle, in market time (nanoseconds since the run began), and takes
//! microseconds for a bench's few orders.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use control::Reserved;
use ledger_core::AtomId;
use ledger_core::payload::{self, Payload, ReadingQuality};
use ledger_node::AtomDraft;
use market::agent::{
    Battery, Declaration, FlexiblePlug, MustRunLoad, Outlook, Participant, Pv, Thresholds,
    UtilityGrid,
};
use market::meter::{EnergyMeter, MeterRules, Reading, Sample};
use market::quantity::energy_of_power_mwh;
use market::settlement::{Account, Basis, CouplingMeter, Item};
use market::utility::{Coupling, Parity};
use market::{Agent, AgentId, Book, BookRules, Interval, MarketView, Mwh, Price, Side};
use model::{DeviceIx, Event, Instant, Order, Point, PointSample, ProcessImage, Schedule, UtcTime};
use quantities::{ActivePower, Bounds, Quantity};
use serde::{Deserialize, Serialize};

use crate::evidence::{self, CONTROLLER, Evidence, MARKET_OPERATOR, NotDurable, milliwatts};
use crate::rig::{Participation, Rig};

/// Name of the utility grid's account.
pub const UTILITY: &str = "utility";
/// File in the run folder that holds the rules; the ledger binds its digest.
pub const RULES_FILE: &str = "market.json";
/// Subject of the ledger record that binds the rules.
pub const RULES_SUBJECT: &str = "market-rules";
/// Mechanism of the demo and of every rig so far.
const MECHANISM: &str = "uniform_k_half";
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
const PRICE_CAP: Price = Price(300_000);
const PRICE_TICK: i64 = 1;

/// What a replay needs besides the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    schema: u32,
    mechanism: String,
    book: BookRules,
    parity: Parity,
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

    fn utc_of(&self, interval: &Interval) -> i64 {
        self.epoch_utc_ns.saturating_add(interval.start_ns)
    }
}

/// A seat at the desk: one device that trades.
struct Seat {
    agent: AgentId,
    device: DeviceIx,
    participant: Participant,
    meter: EnergyMeter,
}

/// A cleared interval that waits for its meters.
struct Cleared {
    clearing: market::Clearing,
    atom: AtomId,
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
}

/// The market desk of a run.
pub struct Desk {
    rules: Rules,
    mechanism: Box<dyn market::Mechanism>,
    pcc_max: ActivePower,
    utility: UtilityGrid,
    utility_meter: EnergyMeter,
    pcc: Option<DeviceIx>,
    seats: Vec<Seat>,
    next: u64,
    waiting: Vec<Cleared>,
    fallback: Option<Price>,
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

/// Coverage rules of the meters: samples up to 3 s apart count as one curve (a plug reports every
/// 1 to 2 s); 95 % coverage is valid, 50 % is an estimate. Chosen from the poll periods of the
/// bundled profiles.
const METER_RULES: MeterRules = MeterRules {
    gap_ns_max: 3_000_000_000,
    valid_ppm: 950_000,
    estimated_ppm: 500_000,
};

impl Desk {
    /// Opens the desk of a rig: writes its rules into the run folder and binds them to the ledger.
    ///
    /// # Errors
    /// See [`DeskError`].
    pub fn open(
        rig: &Rig,
        market: &crate::rig::Market,
        run_dir: &Path,
        evidence: &mut Evidence,
        now: Instant,
        utc: UtcTime,
    ) -> Result<Self, DeskError> {
        let wrong = |e: &dyn std::fmt::Display| DeskError::Rules(e.to_string());
        let parity = market.tariff.parity().map_err(|e| wrong(&e))?;
        let rules = Rules {
            schema: 1,
            mechanism: MECHANISM.into(),
            book: BookRules::bounded(PRICE_FLOOR, PRICE_CAP, PRICE_TICK),
            parity,
            epoch_utc_ns: utc.unix_nanos().saturating_sub(now.as_nanos() as i64),
            first_start_ns: FIRST_START.as_nanos() as i64,
            interval_ns: market.interval.as_nanos() as i64,
        };
        let bytes = serde_json::to_vec_pretty(&rules).map_err(|e| wrong(&e))?;
        std::fs::write(run_dir.join(RULES_FILE), &bytes).map_err(DeskError::Write)?;
        let bind = evidence::document(RULES_SUBJECT, &bytes, "rules of this run's market");
        evidence.note(utc, vec![evidence.draft(CONTROLLER, bind)])?;
        let meter = || EnergyMeter::new(METER_RULES).map_err(|e| wrong(&e));
        let bench = rig.bench();
        let seats = market
            .participants
            .iter()
            .map(|(index, how)| {
                let device = &rig.devices[*index];
                let agent = AgentId::from(&*device.id);
                Ok(Seat {
                    participant: participant(
                        &agent,
                        how,
                        &left_by_reserves(&bench, DeviceIx(*index as u16)),
                    )
                    .map_err(|e| wrong(&e))?,
                    agent,
                    device: DeviceIx(*index as u16),
                    meter: meter()?,
                })
            })
            .collect::<Result<_, DeskError>>()?;
        Ok(Self {
            mechanism: market::mechanism::by_name(MECHANISM).map_err(|e| wrong(&e))?,
            pcc_max: market.pcc_max,
            utility: UtilityGrid {
                agent: UTILITY.into(),
                parity,
            },
            utility_meter: meter()?,
            pcc: bench.first(model::Role::Pcc).map(|(ix, _)| ix),
            rules,
            seats,
            next: 0,
            waiting: Vec::new(),
            fallback: None,
            cause: None,
            state: DeskState::default(),
        })
    }

    /// The ledger names of the participants of a rig's market.
    #[must_use]
    pub fn participants(rig: &Rig) -> Vec<String> {
        let Some(market) = &rig.market else {
            return Vec::new();
        };
        market
            .participants
            .iter()
            .map(|(index, _)| rig.devices[*index].id.to_string())
            .chain([UTILITY.to_owned()])
            .collect()
    }

    /// Name of the clearing mechanism.
    #[must_use]
    pub fn mechanism_name(&self) -> String {
        self.mechanism.name()
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
                self.seats
                    .iter_mut()
                    .find(|s| s.device == sample.device)
                    .map(|s| &mut s.meter)
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
        image: &ProcessImage,
        bench: &control::Bench,
        connected: bool,
        evidence: &mut Evidence,
    ) -> Result<DeskSays, NotDurable> {
        let mut says = DeskSays::default();
        let market_now = now.as_nanos() as i64;
        if let Some(interval) = self.rules.interval(self.next)
            && market_now >= interval.start_ns - GATE.as_nanos() as i64
        {
            self.next += 1;
            // After a long stall the intervals that have begun already are not traded any more.
            if market_now < interval.start_ns {
                self.clear(
                    now, utc, interval, image, bench, connected, evidence, &mut says,
                )?;
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

    #[allow(
        clippy::too_many_arguments,
        reason = "the one call that joins four rooms"
    )]
    fn clear(
        &mut self,
        now: Instant,
        utc: UtcTime,
        interval: Interval,
        image: &ProcessImage,
        bench: &control::Bench,
        connected: bool,
        evidence: &mut Evidence,
        says: &mut DeskSays,
    ) -> Result<(), NotDurable> {
        let view = MarketView {
            rules: self.rules.book.clone(),
            coupling: self.coupling(&interval, connected),
            outlooks: self
                .seats
                .iter()
                .map(|seat| {
                    let outlook = outlook(now, seat, image, &bench.devices, &interval);
                    (seat.agent.clone(), outlook)
                })
                .collect(),
        };
        let mut orders: Vec<market::Order> = self
            .seats
            .iter_mut()
            .flat_map(|seat| seat.participant.orders(&view, &interval))
            .chain(self.utility.orders(&view, &interval))
            .collect();
        for (rank, order) in orders.iter_mut().enumerate() {
            order.rank = rank as u64;
        }
        let drafts = orders
            .iter()
            .map(|o| {
                let author = evidence::party_of(o.agent.as_str());
                evidence.draft(&author, order_payload(&interval, o))
            })
            .collect();
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
        let refused = |why: String| Event::OrderRefused { why };
        let (book, faults) = match Book::admit(interval, &self.rules.book, orders.clone()) {
            Ok(admitted) => admitted,
            Err(e) => {
                says.events.push(refused(e.to_string()));
                return Ok(());
            }
        };
        says.events
            .extend(faults.iter().map(|f| refused(f.to_string())));
        let clearing = match self.mechanism.clear(&book) {
            Ok(clearing) => clearing,
            Err(e) => {
                says.events.push(refused(e.to_string()));
                return Ok(());
            }
        };
        let atoms = orders.iter().zip(&receipts);
        let atoms = atoms.map(|(o, r)| (o.rank, r.atom_id)).collect();
        let Some(payload) = clearing_payload(&clearing, &book, &atoms) else {
            says.events
                .push(refused("the clearing serves an order that is not recorded".into()));
            return Ok(());
        };
        let payload = Payload::Clearing(payload);
        let draft = evidence
            .draft(MARKET_OPERATOR, payload)
            .after(receipts.iter().map(|r| r.atom_id).collect());
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
        let Some(atom) = atom else { return Ok(()) };
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
        if let Some(price) = clearing.price {
            self.fallback = Some(price);
        }
        self.state.interval = interval.index;
        self.state.price_mc_per_kwh = clearing.price.map(|p| p.0);
        self.state.energy_mwh = i64::try_from(clearing.quantity.0).unwrap_or(i64::MAX);
        self.state.trades += trades;
        says.trades += trades;
        says.events.push(Event::MarketCleared {
            interval: interval.index,
            price_mc_per_kwh: clearing.price.map(|p| p.0),
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
        let at = |ns: i64| Instant::from_nanos(u64::try_from(ns).unwrap_or(0));
        says.orders.push(Order::Schedule(Schedule {
            interval: interval.index,
            from: at(interval.start_ns),
            until: at(interval.end_ns()),
            price_mc_per_kwh: clearing.price.map(|p| p.0),
            pcc: self.pcc.map(|_| power(&self.utility.agent)),
            devices: self
                .seats
                .iter()
                .map(|seat| (seat.device, power(&seat.agent)))
                .collect(),
        }));
        self.waiting.push(Cleared { clearing, atom });
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

    fn settle(
        &mut self,
        utc: UtcTime,
        cleared: Cleared,
        evidence: &mut Evidence,
        says: &mut DeskSays,
    ) -> Result<(), NotDurable> {
        let interval = cleared.clearing.interval;
        let basis = Basis {
            readings: self
                .seats
                .iter_mut()
                .map(|seat| (seat.agent.clone(), seat.meter.close(&interval)))
                .collect(),
            coupling: self.pcc.map(|_| CouplingMeter {
                utility: self.utility.agent.clone(),
                reading: self.utility_meter.close(&interval),
                parity: self.rules.parity,
            }),
            fallback_price: self.fallback,
        };
        let settlement = match market::settlement::settle(&cleared.clearing, &basis) {
            Ok(settlement) => settlement,
            Err(e) => {
                says.events.push(Event::OrderRefused {
                    why: format!("interval {} is not settled: {e}", interval.index),
                });
                return Ok(());
            }
        };
        let start = self.rules.utc_of(&interval);
        let readings = basis
            .readings
            .iter()
            .map(|(agent, reading)| (agent.as_str(), reading))
            .chain(basis.coupling.iter().map(|c| (UTILITY, &c.reading)));
        let mut drafts: Vec<AtomDraft> = readings
            .map(|(who, reading)| {
                let payload = reading_payload(who, start, &interval, reading);
                evidence.draft(CONTROLLER, Payload::MeterReading(payload))
            })
            .collect();
        drafts.push(
            evidence
                .draft(
                    MARKET_OPERATOR,
                    Payload::Settlement(settlement_payload(&settlement)),
                )
                .after(vec![cleared.atom]),
        );
        evidence.note(utc, drafts)?;
        let unaccounted = i64::try_from(settlement.unaccounted.0).unwrap_or(i64::MAX);
        self.state.unaccounted_mwh = self.state.unaccounted_mwh.saturating_add(unaccounted);
        let mut sum = 0_i128;
        for (account, amount) in settlement.balances() {
            sum += amount.0;
            *self.state.accounts.entry(account.to_string()).or_default() += amount.0;
        }
        says.events.push(Event::MarketSettled {
            interval: interval.index,
            sum_u: sum.to_string(),
            unaccounted_mwh: unaccounted,
        });
        Ok(())
    }
}

/// A device as the market may use it: without the power and the charge that services reserve of it.
fn left_by_reserves(bench: &control::Bench, device: DeviceIx) -> model::DeviceSpec {
    let mut spec = bench.devices[device.index()].clone();
    let reserved = Reserved::of(device, &bench.settings.services, &bench.devices);
    if reserved != Reserved::default() {
        let nothing = Bounds::exactly(ActivePower::ZERO);
        spec.rating.p = reserved.leaves(spec.rating.p).unwrap_or(nothing);
        // The rig was refused if no charge were left.
        spec.rating.soc = reserved.charge(&spec).unwrap_or(spec.rating.soc);
    }
    spec
}

fn participant(
    agent: &AgentId,
    how: &Participation,
    spec: &model::DeviceSpec,
) -> Result<Participant, String> {
    let agent = agent.clone();
    Ok(match *how {
        Participation::Pv => Participant::Pv(Pv { agent }),
        Participation::MustRun => Participant::MustRun(MustRunLoad { agent }),
        Participation::Flexible { willingness_mc } => Participant::FlexiblePlug(FlexiblePlug {
            agent,
            willingness: Price(willingness_mc),
        }),
        Participation::Storage {
            buy_below_mc,
            sell_above_mc,
        } => {
            let capacity = spec
                .rating
                .capacity
                .ok_or("a storage in the market needs `capacity`")?;
            let ppm = |fraction: f64| (fraction * 1e6).round() as u32;
            let declared = Declaration {
                agent,
                capacity_mwh: Mwh(milliwatts(capacity.as_watt_hours())),
                charge_milliwatt_max: milliwatts((-spec.rating.p.lower()).as_watts()).max(0),
                discharge_milliwatt_max: milliwatts(spec.rating.p.upper().as_watts()).max(0),
                state_of_charge_ppm_min: ppm(spec.rating.soc.lower().as_fraction()),
                state_of_charge_ppm_max: ppm(spec.rating.soc.upper().as_fraction()),
                // Chosen: 5 %, kept for what an island may need.
                reserve_ppm: 50_000,
                charge_efficiency_ppm: ppm(spec.rating.efficiency.charge),
                discharge_efficiency_ppm: ppm(spec.rating.efficiency.discharge),
                degradation: Price(0),
                thresholds: Thresholds::Fixed {
                    buy_below: Price(buy_below_mc),
                    sell_above: Price(sell_above_mc),
                },
            };
            Participant::Battery(Battery::try_from(declared).map_err(|e| e.to_string())?)
        }
    })
}

/// What a device expects of the interval: what it does now, or for a switched load what it would
/// do when on. Unknown stays unknown: then its agent does not order.
fn outlook(
    now: Instant,
    seat: &Seat,
    image: &ProcessImage,
    specs: &[model::DeviceSpec],
    interval: &Interval,
) -> Outlook {
    let spec = &specs[seat.device.index()];
    let own = &image.devices[seat.device.index()];
    let energy = |p: ActivePower| energy_of_power_mwh(milliwatts(p.as_watts()), interval.dt_ns);
    let forecast = match seat.participant {
        Participant::FlexiblePlug(_) => energy(spec.rating.p.lower()),
        Participant::Battery(_) => None,
        _ => own.p.fresh(now, spec.sample_age_max).and_then(energy),
    };
    let store = spec.battery.map_or(own, |b| &image.devices[b.index()]);
    let soc = store
        .soc
        .fresh(now, spec.sample_age_max.max(Duration::from_secs(5)))
        .or_else(|| own.soc.fresh(now, spec.sample_age_max));
    Outlook {
        forecast,
        state_of_charge_ppm: soc
            .filter(|soc| soc.is_finite())
            .map(|soc| (soc.as_fraction().clamp(0.0, 1.0) * 1e6).round() as u32),
    }
}

fn order_payload(interval: &Interval, order: &market::Order) -> Payload {
    let steps = order.steps.iter().map(|step| payload::Step {
        price_millicents_per_kwh: step.price.0,
        quantity_milliwatt_hours: step.quantity.0,
    });
    Payload::Order(payload::Order {
        agent: order.agent.to_string(),
        interval: interval.index,
        side: match order.side {
            Side::Buy => payload::Side::Buy,
            Side::Sell => payload::Side::Sell,
        },
        steps: steps.collect(),
        rank: order.rank,
    })
}

/// The record of a clearing; `atoms` holds the record of each order by its rank, of which no
/// interval has two. `None` when a fill has no order on record.
fn clearing_payload(
    clearing: &market::Clearing,
    book: &Book,
    atoms: &BTreeMap<u64, AtomId>,
) -> Option<payload::Clearing> {
    let fill = |fill: &market::Fill| {
        let mut orders = book.orders().iter();
        let order = orders.find(|o| o.agent == fill.agent && o.side == fill.side)?;
        Some(payload::Fill {
            order: *atoms.get(&order.rank)?,
            agent: fill.agent.to_string(),
            quantity_milliwatt_hours: fill.quantity.0,
            // The ledger counts towards the account, the market what it pays.
            amount: ledger_core::Amount(-fill.payment.0),
        })
    };
    Some(payload::Clearing {
        interval: clearing.interval.index,
        mechanism: clearing.mechanism.clone(),
        quantity_milliwatt_hours: i64::try_from(clearing.quantity.0).unwrap_or(i64::MAX),
        price_millicents_per_kwh: clearing.price.map(|p| p.0),
        price_low_millicents_per_kwh: clearing.competitive.map(|(low, _)| low.0),
        price_high_millicents_per_kwh: clearing.competitive.map(|(_, high)| high.0),
        fills: clearing.fills.iter().map(fill).collect::<Option<_>>()?,
        operator_amount: ledger_core::Amount(0),
    })
}

fn reading_payload(
    who: &str,
    start_utc_ns: i64,
    interval: &Interval,
    reading: &Reading,
) -> payload::MeterReading {
    payload::MeterReading {
        participant: who.into(),
        interval_start_utc_ns: start_utc_ns,
        interval_ns: interval.dt_ns.unsigned_abs(),
        energy_milliwatt_hours: reading.energy().map(|e| e.0),
        quality: match reading {
            Reading::Valid { .. } => ReadingQuality::Valid,
            Reading::Estimated { .. } => ReadingQuality::Estimated,
            Reading::Missing { .. } => ReadingQuality::Missing,
        },
    }
}

fn settlement_payload(settlement: &market::settlement::Settlement) -> payload::Settlement {
    payload::Settlement {
        interval: settlement.interval.index,
        lines: settlement
            .lines
            .iter()
            .map(|line| payload::SettlementLine {
                account: match &line.account {
                    Account::Participant(agent) => agent.to_string(),
                    Account::Operator => "operator".into(),
                },
                // The ledger counts towards the account, the market what it pays.
                amount: ledger_core::Amount(-line.amount.0),
                what: match line.item {
                    Item::Energy => "energy",
                    Item::Imbalance => "imbalance",
                    Item::Unaccounted => "unaccounted",
                }
                .into(),
            })
            .collect(),
    }
}

mod replay;
pub use replay::{MarketReplay, MarketReplayError, replay};
