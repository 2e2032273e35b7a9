//! The gates: asks who orders, records, clears, and tells what came out.

use std::collections::BTreeMap;
use std::ops::Range;

use ledger_core::AtomId;
use ledger_core::atom::DEPENDENCIES_MAX;
use ledger_core::payload::Payload;
use ledger_node::AtomDraft;
use market::book::BookError;
use market::quantity::energy_of_power_mwh;
use market::utility::Coupling;
use market::venue::{self, ahead};
use market::{Agent, AgentId, Coded, Interval, MarketView, Order};
use model::{DeviceIx, Event, Instant, Schedule, UtcTime};
use quantities::ActivePower;

use super::reach::Reach;
use super::records::{clearing_payload, order_payload, terms_payload, trade_payload};
use super::{BenchNow, Cleared, Desk, DeskSays, ORDERS_DURABLE_WITHIN, reserve};
use crate::evidence::{self, Evidence, MARKET_OPERATOR, NotDurable, milliwatts};

/// When a gate closes, and what is known then.
pub(super) struct AtGate<'a> {
    pub(super) now: Instant,
    pub(super) utc: UtcTime,
    pub(super) bench: &'a BenchNow<'a>,
}

/// The orders of an interval on the ledger.
pub(super) struct Posted {
    /// The record of each order by its rank.
    by_rank: BTreeMap<u64, AtomId>,
    /// All records, the terms before them included.
    all: Vec<AtomId>,
}

impl Posted {
    pub(super) fn of(orders: &[Order], receipts: &[AtomId], before: usize) -> Self {
        let atoms = orders.iter().zip(receipts.iter().skip(before));
        Self {
            by_rank: atoms.map(|(o, atom)| (o.rank, *atom)).collect(),
            all: receipts.to_vec(),
        }
    }

    /// The orders of both directions of readiness, the one after the other.
    fn of_both(orders: &[Vec<Order>; 2], receipts: &[AtomId]) -> [Self; 2] {
        let [up, down] = orders;
        let (of_up, of_down) = receipts.split_at(up.len().min(receipts.len()));
        [Self::of(up, of_up, 0), Self::of(down, of_down, 0)]
    }
}

pub(super) fn uncleared(interval: u64, why: impl std::fmt::Display) -> Event {
    Event::MarketNotCleared {
        interval,
        why: why.to_string(),
    }
}

/// Appends records; `None` when they were late, which is told with what follows.
pub(super) fn append(
    utc: UtcTime,
    drafts: Vec<AtomDraft>,
    follows: impl FnOnce() -> String,
    evidence: &mut Evidence,
    says: &mut DeskSays,
) -> Result<Option<Vec<AtomId>>, NotDurable> {
    match evidence.append(utc, drafts, Some(ORDERS_DURABLE_WITHIN)) {
        Ok(receipts) => Ok(Some(receipts.iter().map(|r| r.atom_id).collect())),
        Err(NotDurable::Late(deadline)) => {
            says.events.push(Event::LedgerLate {
                deadline_ms: deadline.as_millis() as u64,
                policy: follows(),
            });
            Ok(None)
        }
        Err(stopped) => Err(stopped),
    }
}

pub(super) fn order_drafts(
    interval: &Interval,
    orders: &[Order],
    evidence: &Evidence,
) -> Vec<AtomDraft> {
    let draft = |order: &Order| {
        let author = evidence::party_of(order.agent.as_str());
        evidence.draft(&author, order_payload(interval, order))
    };
    orders.iter().map(draft).collect()
}

/// The record of what was cleared, after that of its orders; tells what was refused, and when there
/// is none.
pub(super) fn clearing_draft(
    cleared: &venue::Cleared,
    posted: &Posted,
    evidence: &Evidence,
    says: &mut DeskSays,
) -> Option<AtomDraft> {
    let number = cleared.clearing.interval.index;
    let (interval, _) = venue::reserve::interval_of(number).unwrap_or_else(|| {
        let (interval, _) = ahead::interval_of(number);
        (interval, market::Side::Sell)
    });
    let failure = cleared.failure.iter();
    says.events
        .extend(failure.map(|why| uncleared(interval, why)));
    let told = |fault: &dyn Coded| format!("[{}] {fault}", fault.code());
    let faults = cleared.refused.iter();
    says.events
        .extend(faults.map(|fault| Event::OrderRefused { why: told(fault) }));
    let moved = cleared.moved.iter();
    says.events.extend(moved.map(|what| Event::Noticed {
        device: None,
        text: told(what),
    }));
    let Some(payload) = clearing_payload(&cleared.clearing, &cleared.book, &posted.by_rank) else {
        let why = "it serves an order that is not on the ledger";
        says.events.push(uncleared(interval, why));
        return None;
    };
    let orders = posted.all.iter().copied().take(DEPENDENCIES_MAX);
    let draft = evidence.draft(MARKET_OPERATOR, Payload::Clearing(payload));
    Some(draft.after(orders.collect()))
}

impl Desk {
    /// Clears an interval in real time.
    pub(super) fn clear(
        &mut self,
        at: &AtGate<'_>,
        interval: Interval,
        evidence: &mut Evidence,
        says: &mut DeskSays,
    ) -> Result<(), NotDurable> {
        let index = interval.index;
        let began = self.ticks();
        let (outside, absent) = self.counter.close(index);
        for seat in &mut self.seats {
            let most = self.ceilings.get(&seat.device);
            let most = most.map(|most| milliwatts(most.as_watts()));
            seat.learn(at.now, at.bench.image, &at.bench.bench.devices, most);
            seat.feel();
        }
        // Without a schedule that says so again, nobody is held in the interval that comes.
        self.ceilings.clear();
        let ready = if self.venue.buys_together() {
            self.readiness(at, &interval)
        } else {
            self.buy_reserve(at, interval, evidence, says)?;
            Default::default()
        };
        let view = self.view(at, &interval);
        self.tell_silence(&interval, &view, &absent, says);
        let reach = self.reach(at.now, &interval, at.bench);
        let orders = match self.rules.balancing {
            true => self.balancing_bids(&view, &interval, &reach, outside),
            false => self.orders(&view, &interval, &reach, outside),
        };
        let terms = self.venue.terms().map(|terms| {
            let payload = Payload::Terms(terms_payload(index, &terms));
            evidence.draft(MARKET_OPERATOR, payload)
        });
        let mut drafts: Vec<AtomDraft> = terms.into_iter().collect();
        let contracted = self.venue.contracted(index);
        drafts.extend(contracted.iter().map(|deal| {
            let payload = Payload::Trade(trade_payload(index, deal));
            evidence.draft(MARKET_OPERATOR, payload)
        }));
        let before_orders = drafts.len();
        drafts.extend(order_drafts(&interval, &orders, evidence));
        let before_ready = drafts.len();
        for (side, orders) in reserve::SIDES.into_iter().zip(&ready) {
            let product = venue::reserve::product(interval, side);
            drafts.extend(order_drafts(&product, orders, evidence));
        }
        let late = || format!("interval {index} is not cleared");
        let asked = self.ticks();
        let Some(receipts) = append(at.utc, drafts, late, evidence, says)? else {
            return Ok(());
        };
        let posted_at = self.ticks();
        let (energy_receipts, ready_receipts) = receipts.split_at(before_ready.min(receipts.len()));
        let posted = Posted::of(&orders, energy_receipts, before_orders);
        let posted_ready = Posted::of_both(&ready, ready_receipts);
        let together = venue::together::Orders {
            energy: orders,
            ready,
        };
        let cleared = match self.clear_with_reserve(at, interval, together, says) {
            Ok(cleared) => cleared,
            Err(e) => {
                says.events.push(uncleared(index, e));
                return Ok(());
            }
        };
        let (cleared, bought) = cleared;
        let mut drafts = Vec::new();
        for (cleared, posted) in bought.iter().zip(&posted_ready) {
            drafts.extend(clearing_draft(cleared, posted, evidence, says));
        }
        let Some(draft) = clearing_draft(&cleared, &posted, evidence, says) else {
            return Ok(());
        };
        drafts.push(draft);
        let late = || format!("interval {index} does not count");
        let cleared_at = self.ticks();
        let atoms = append(at.utc, drafts, late, evidence, says)?;
        let clear = (asked - began) + (cleared_at - posted_at);
        let finality = (posted_at - asked) + (self.ticks() - cleared_at);
        if clear + finality > 0 {
            let us = |ns: u128| u64::try_from(ns / 1_000).unwrap_or(u64::MAX);
            says.events.push(Event::MarketTimed {
                interval: index,
                clear_us: us(clear),
                finality_us: us(finality),
            });
        }
        // On the ledger sooner or later, and so known, even if it came too late to be followed.
        for ready in &bought {
            self.venue.take_reserve(&ready.clearing);
        }
        if !bought.is_empty() {
            let sides = reserve::SIDES.into_iter();
            let bought = sides.zip(bought.iter().map(|it| &it.clearing));
            self.tell_bought(index, bought, says);
        }
        self.venue.take(&cleared.clearing);
        let Some(atom) = atoms.and_then(|atoms| atoms.last().copied()) else {
            return Ok(());
        };
        let failure = cleared.failure.as_ref().map(ToString::to_string);
        self.show_cleared(
            &cleared.clearing,
            &cleared.book,
            &posted.by_rank,
            atom,
            failure,
        );
        self.bind_reserve(&cleared.clearing, says);
        if cleared.failure.is_some() {
            // Nothing is traded, so nothing is asked of anybody; what flows is settled all the same.
            self.waiting.push(Cleared {
                clearing: cleared.clearing,
                atom,
                is_excused: true,
            });
            return Ok(());
        }
        self.cause = Some(atom);
        self.ceilings = self.ceilings_of(&cleared);
        self.announce(at, cleared.clearing, atom, says);
        Ok(())
    }

    /// Clears an interval together with its readiness, where that is bought so and needed; what was bought, upwards
    /// and downwards.
    fn clear_with_reserve(
        &mut self,
        at: &AtGate<'_>,
        interval: Interval,
        orders: venue::together::Orders,
        says: &mut DeskSays,
    ) -> Result<(venue::Cleared, Vec<venue::Cleared>), BookError> {
        if orders.ready.iter().any(|ready| !ready.is_empty())
            && let Some(found) = self.venue.clear_together(interval, orders.clone())?
        {
            return Ok((found.energy, found.ready.into()));
        }
        let cleared = self.clear_in_band(at, interval, orders.energy, says)?;
        Ok((cleared, Vec::new()))
    }

    /// Trades a block of intervals ahead: all orders in one record of the ledger's time, all
    /// clearings in another, so that a long block delays a cycle no more than a short one.
    pub(super) fn clear_ahead(
        &mut self,
        at: &AtGate<'_>,
        block: Range<u64>,
        evidence: &mut Evidence,
        says: &mut DeskSays,
    ) -> Result<(), NotDurable> {
        let mut products = Vec::new();
        let mut drafts = Vec::new();
        for index in block.clone() {
            let Some(interval) = self.rules.interval(index) else {
                break;
            };
            let product = ahead::product(interval);
            let view = self.view(at, &interval);
            let (outside, _) = self.ahead_counter.close(index);
            let mut orders = self.orders(&view, &interval, &Reach::default(), Vec::new());
            if self.rules.balancing {
                orders = self.beside_contracts(index, orders);
            }
            orders.extend(outside);
            for (rank, order) in orders.iter_mut().enumerate() {
                order.rank = rank as u64;
            }
            let before = drafts.len();
            drafts.extend(order_drafts(&product, &orders, evidence));
            products.push((product, orders, before));
        }
        let late = || {
            format!(
                "intervals {} to {} are not traded ahead",
                block.start,
                block.end - 1
            )
        };
        let Some(receipts) = append(at.utc, drafts, late, evidence, says)? else {
            return Ok(());
        };
        let mut traded = Vec::new();
        let mut drafts = Vec::new();
        for (product, orders, before) in products {
            let own = &receipts[..before + orders.len()];
            let mut posted = Posted::of(&orders, own, before);
            posted.all.drain(..before);
            let cleared = match self.venue.clear_ahead(product, orders) {
                Ok(Some(cleared)) => cleared,
                Ok(None) => continue,
                Err(e) => {
                    says.events
                        .push(uncleared(ahead::interval_of(product.index).0, e));
                    continue;
                }
            };
            if let Some(draft) = clearing_draft(&cleared, &posted, evidence, says) {
                drafts.push(draft);
                // What it could cost is held back before the next product is cleared.
                self.venue.take_ahead(&cleared.clearing);
                traded.push(cleared.clearing);
            }
        }
        let late = || {
            format!(
                "positions of intervals {} on are recorded late",
                block.start
            )
        };
        // On the ledger sooner or later, and so they count.
        append(at.utc, drafts, late, evidence, says)?;
        let (mut energy, mut trades) = (0_i128, 0_u64);
        for clearing in &traded {
            energy += clearing.quantity.0;
            trades += clearing.fills.len() as u64;
        }
        says.trades += trades;
        says.events.push(Event::DayAheadTraded {
            from: block.start,
            intervals: traded.len() as u64,
            energy_mwh: i64::try_from(energy).unwrap_or(i64::MAX),
            trades,
        });
        Ok(())
    }

    /// What agents may know at a gate.
    pub(super) fn view(&self, at: &AtGate<'_>, interval: &Interval) -> MarketView {
        let outlook = |seat: &super::Seat| {
            let devices = &at.bench.bench.devices;
            let epoch = (self.rules.epoch_utc_ns, self.rules.time_factor);
            let outlook = seat.outlook(at.now, at.bench.image, devices, interval, epoch);
            (seat.agent.clone(), outlook)
        };
        MarketView {
            rules: self.rules.venue.book.clone(),
            coupling: self.coupling(interval, at.bench.connected),
            lost_load: self.lost_load,
            outlooks: self.seats.iter().map(outlook).collect(),
        }
    }

    /// The orders of everybody, each with its rank.
    fn orders(
        &mut self,
        view: &MarketView,
        interval: &Interval,
        reach: &Reach,
        outside: Vec<Order>,
    ) -> Vec<Order> {
        let (venue, signs) = (&self.venue, &self.signs);
        let mut orders: Vec<Order> = (self.seats.iter_mut())
            .filter(|seat| venue.lets(&seat.agent, interval).is_ok())
            .filter(|seat| signs.as_ref().is_none_or(|it| it.lets(seat.device).is_ok()))
            .flat_map(|seat| {
                let whole = seat.orders(view, interval);
                reach.of(seat, whole)
            })
            .filter_map(|order| venue.net_of_levies(order))
            .filter_map(|order| venue.accepted_part(interval.index, order))
            .chain(self.utility.orders(view, interval))
            // What comes from outside is admitted as it is, or refused.
            .chain(outside)
            .collect();
        for (rank, order) in orders.iter_mut().enumerate() {
            order.rank = rank as u64;
        }
        orders
    }

    /// Tells control and page what was cleared, and keeps it for settlement.
    fn announce(
        &mut self,
        gate: &AtGate<'_>,
        clearing: market::Clearing,
        atom: AtomId,
        says: &mut DeskSays,
    ) {
        let interval = clearing.interval;
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
        let delivers = self.venue.delivering(&clearing);
        let commitments = market::schedule::schedule(&delivers).unwrap_or_default();
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
        let at = |ns: i64| self.rules.instant(ns);
        let schedule = Schedule {
            interval: interval.index,
            from: at(interval.start_ns),
            until: at(interval.end_ns()),
            price_mc_per_kwh: price,
            pcc: self.pcc.map(|_| power(&self.utility.agent)),
            devices: devices.into_iter().collect(),
            ceilings: (self.ceilings.iter())
                .map(|(device, most)| (*device, *most))
                .collect(),
        };
        self.track_from(&delivers, &schedule, gate.bench);
        says.orders.push(model::Order::Schedule(schedule));
        self.waiting.push(Cleared {
            clearing,
            atom,
            is_excused: false,
        });
    }

    /// Tells who orders nothing from this interval on though it could.
    fn tell_silence(
        &mut self,
        interval: &Interval,
        view: &MarketView,
        absent: &[AgentId],
        says: &mut DeskSays,
    ) {
        let blind = self.seats.iter().filter_map(|seat| {
            let why = seat.is_blind(view.outlooks.get(&seat.agent)?)?;
            Some((seat.agent.clone(), why.to_owned()))
        });
        let absent = absent.iter();
        let absent =
            absent.map(|agent| (agent.clone(), "no order of it came before the gate".into()));
        // Who may not order need not be looked at further.
        let barred = self.seats.iter().filter_map(|seat| {
            let why = self.venue.lets(&seat.agent, interval).err()?;
            Some((seat.agent.clone(), format!("[{}] {why}", why.code())))
        });
        let unproved = self.seats.iter().filter_map(|seat| {
            let why = self.sign_lets(&seat.agent).err()?;
            Some((seat.agent.clone(), format!("[{}] {why}", why.code())))
        });
        let silent: BTreeMap<AgentId, String> =
            (blind.chain(absent).chain(barred).chain(unproved)).collect();
        for (agent, why) in &silent {
            if !self.silent.contains(agent) {
                says.events.push(Event::MarketSilent {
                    interval: interval.index,
                    participant: agent.to_string(),
                    why: why.clone(),
                });
            }
        }
        self.silent = silent.into_keys().collect();
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
