//! Trading within the day: what agents quote, what comes from outside, and what they lead to.
//!
//! Orders and withdrawals are on the ledger before the books are touched, in the sequence in which
//! the books see them; the trades follow them. Whoever has the ledger comes to the same trades.

use std::collections::BTreeMap;

use ledger_core::AtomId;
use ledger_core::payload::Payload;
use ledger_node::AtomDraft;
use market::order::Step;
use market::venue::intraday::{Entered, around, intraday_rules, product};
use market::venue::{IntradayError, Refusal};
use market::{AgentId, CounterError, MarketView, Order, Side};
use model::{Event, UtcTime};

use super::clearing::{AtGate, append};
use super::outside::Bid;
use super::records::{order_payload_of, trade_payload, withdrawal_payload};
use super::{Desk, DeskSays};
use crate::evidence::{self, Evidence, MARKET_OPERATOR, NotDurable};

/// What the desk keeps of the stage.
#[derive(Debug, Default)]
pub(super) struct Quotes {
    /// How many intervals are open at a time.
    intervals: u64,
    /// Rank of the next order of each interval.
    ranks: BTreeMap<u64, u64>,
    /// The record of each order.
    atoms: BTreeMap<(u64, u64), AtomId>,
    /// What each agent has ordered last.
    quoted: BTreeMap<(u64, AgentId, Side), Vec<Step>>,
}

impl Quotes {
    /// Nothing is quoted yet, and so many intervals are open at a time.
    pub(super) fn new(intervals: u64) -> Self {
        Self {
            intervals,
            ..Self::default()
        }
    }

    fn rank(&mut self, interval: u64) -> u64 {
        let next = self.ranks.entry(interval).or_default();
        *next += 1;
        *next - 1
    }

    /// Forgets the intervals before this one.
    fn forget(&mut self, open: u64) {
        self.ranks.retain(|interval, _| *interval >= open);
        self.atoms.retain(|(interval, _), _| *interval >= open);
        self.quoted.retain(|(interval, ..), _| *interval >= open);
    }
}

/// What changes an order book.
#[derive(Debug)]
pub(super) enum Act {
    /// An order takes the place of the one of its side.
    Enter(Order),
    /// The order of a side is taken back.
    Withdraw(AgentId, Side),
}

impl Desk {
    /// The intervals that are open within the day: from the next one on, those that were traded
    /// ahead where there is such a stage.
    pub(super) fn open_intraday(&self) -> std::ops::Range<u64> {
        let Some(quotes) = &self.intraday else {
            return self.next..self.next;
        };
        let end = self.next.saturating_add(quotes.intervals);
        let ahead = self.ahead.as_ref().map_or(end, |ahead| ahead.next);
        self.next..end.min(ahead).max(self.next)
    }

    /// Lets every agent quote around what it has of each interval that is open; in an island nobody
    /// does. What changes is taken back first, by all: whoever quotes anew has then counted on
    /// nothing that could still be traded away.
    pub(super) fn quote(
        &mut self,
        at: &AtGate<'_>,
        evidence: &mut Evidence,
        says: &mut DeskSays,
    ) -> Result<(), NotDurable> {
        let open = self.open_intraday();
        let Some(quotes) = &mut self.intraday else {
            return Ok(());
        };
        quotes.forget(open.start);
        let (mut withdrawn, mut entered) = (Vec::new(), Vec::new());
        for index in open {
            for (agent, side, order) in self.quotes_for(at, index) {
                let key = (index, agent, side);
                let Some(quotes) = &mut self.intraday else {
                    break;
                };
                let steps = order.as_ref().map(|order| order.steps.clone());
                if quotes.quoted.get(&key) == steps.as_ref() {
                    continue;
                }
                match steps {
                    Some(steps) => quotes.quoted.insert(key.clone(), steps),
                    None => quotes.quoted.remove(&key),
                };
                let (_, agent, side) = key;
                if self.venue.rests_intraday(index, &agent, side) {
                    withdrawn.push((index, Act::Withdraw(agent, side)));
                }
                entered.extend(order.map(|order| (index, Act::Enter(order))));
            }
        }
        withdrawn.extend(entered);
        self.play(at.utc, withdrawn, evidence, says)?;
        Ok(())
    }

    /// What every agent orders for an interval now, on either side.
    fn quotes_for(&mut self, at: &AtGate<'_>, index: u64) -> Vec<(AgentId, Side, Option<Order>)> {
        let Some(interval) = self.rules.interval(index) else {
            return Vec::new();
        };
        let rules = intraday_rules(&self.rules.venue.book);
        let view = MarketView {
            rules: rules.clone(),
            ..self.view(at, &interval)
        };
        let mut found = Vec::new();
        for seat in self.seats.iter_mut().filter(|seat| !seat.is_outside()) {
            let signs = self.signs.as_ref();
            let is_let = self.venue.lets(&seat.agent, &interval).is_ok()
                && signs.is_none_or(|it| it.lets(seat.device).is_ok());
            let whole: Vec<Order> = match at.bench.connected && is_let {
                true => (seat.orders(&view, &interval).into_iter())
                    .filter_map(|order| self.venue.net_of_levies(order))
                    .filter_map(|order| self.venue.accepted_part(index, order))
                    .collect(),
                false => Vec::new(),
            };
            let position = self.venue.position_before(index, &seat.agent);
            let mut orders = around(&whole, position, self.rules.venue.parity, &rules);
            for side in [Side::Sell, Side::Buy] {
                let own = orders.iter().position(|order| order.side == side);
                let own = own.map(|at| orders.swap_remove(at));
                found.push((seat.agent.clone(), side, own));
            }
        }
        found
    }

    /// Judges what comes from outside for an order book.
    pub(super) fn judge_intraday(&self, bid: Bid) -> Result<(u64, Act), CounterError> {
        let agent = AgentId::from(bid.participant.as_str());
        if !self.counter.outsiders().contains(&agent) {
            return Err(CounterError::Stranger { agent });
        }
        // What rests can be taken back by anybody.
        if !bid.steps.is_empty() {
            self.sign_lets(&agent)?;
        }
        let refused = |why: IntradayError| CounterError::from(Refusal::from(why));
        if self.intraday.is_none() {
            return Err(refused(IntradayError::NoStage));
        }
        let open = self.open_intraday();
        let index = bid.interval.unwrap_or(open.start);
        if index < open.start {
            return Err(CounterError::Closed {
                interval: index,
                open: open.start,
            });
        }
        let interval = self.rules.interval(index).filter(|_| index < open.end);
        let Some(interval) = interval else {
            return Err(CounterError::TooFar {
                interval: index,
                last: open.end.saturating_sub(1).max(open.start),
            });
        };
        if bid.steps.is_empty() {
            let side = bid.side;
            return match self.venue.rests_intraday(index, &agent, side) {
                true => Ok((index, Act::Withdraw(agent, side))),
                false => Err(refused(IntradayError::NothingRests { agent, side })),
            };
        }
        let order = bid.order();
        self.venue.inspect_intraday(interval, &order)?;
        Ok((index, Act::Enter(order)))
    }

    /// Puts what changes the books on the ledger, changes them, and puts the trades there; what
    /// became of each.
    pub(super) fn play(
        &mut self,
        utc: UtcTime,
        mut acts: Vec<(u64, Act)>,
        evidence: &mut Evidence,
        says: &mut DeskSays,
    ) -> Result<Vec<Result<Entered, Refusal>>, NotDurable> {
        let Some(quotes) = &mut self.intraday else {
            return Ok(Vec::new());
        };
        if acts.is_empty() {
            return Ok(Vec::new());
        }
        let mut drafts: Vec<AtomDraft> = Vec::with_capacity(acts.len());
        for (index, act) in &mut acts {
            let (agent, payload) = match act {
                Act::Enter(order) => {
                    order.rank = quotes.rank(*index);
                    (
                        order.agent.clone(),
                        order_payload_of(product(*index), order),
                    )
                }
                Act::Withdraw(agent, side) => (
                    agent.clone(),
                    withdrawal_payload(product(*index), agent, *side),
                ),
            };
            drafts.push(evidence.draft(&evidence::party_of(agent.as_str()), payload));
        }
        // On the ledger sooner or later, and so they count.
        let late = || "orders within the day are recorded late".to_owned();
        let atoms = append(utc, drafts, late, evidence, says)?.unwrap_or_default();
        let mut results = Vec::with_capacity(acts.len());
        let mut trades: Vec<AtomDraft> = Vec::new();
        for (at, (index, act)) in acts.into_iter().enumerate() {
            let order = match act {
                Act::Enter(order) => order,
                Act::Withdraw(agent, side) => {
                    self.venue.withdraw_intraday(index, &agent, side);
                    results.push(Ok(Entered::default()));
                    continue;
                }
            };
            let Some((interval, quotes)) = self.rules.interval(index).zip(self.intraday.as_mut())
            else {
                continue;
            };
            if let Some(atom) = atoms.get(at) {
                quotes.atoms.insert((index, order.rank), *atom);
            }
            let entered = self.venue.enter_intraday(interval, order);
            if let Err(why) = &entered {
                let why = why.to_string();
                says.events.push(Event::OrderRefused { why });
            }
            for execution in entered.iter().flat_map(|entered| &entered.executions) {
                let deal = &execution.deal;
                let ranks = [execution.maker, execution.taker];
                let of = ranks
                    .iter()
                    .filter_map(|rank| quotes.atoms.get(&(index, *rank)));
                let payload = Payload::Trade(trade_payload(product(index), deal));
                let mut follows: Vec<AtomId> = of.copied().collect();
                follows.sort_unstable();
                follows.dedup();
                trades.push(evidence.draft(MARKET_OPERATOR, payload).after(follows));
                says.trades += 1;
                says.events.push(Event::IntradayTraded {
                    interval: index,
                    buyer: deal.buyer.to_string(),
                    seller: deal.seller.to_string(),
                    energy_mwh: deal.energy.0,
                    price_mc_per_kwh: deal.price.0,
                });
            }
            results.push(entered);
        }
        if !trades.is_empty() {
            let late = || "trades within the day are recorded late".to_owned();
            append(utc, trades, late, evidence, says)?;
        }
        Ok(results)
    }
}
