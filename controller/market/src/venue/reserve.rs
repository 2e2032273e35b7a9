//! The reserve stage: readiness is bought before an interval, called within it, and paid by what the
//! meters say.
//!
//! Theory. The utility needs so much power upwards and downwards in every interval; it buys it of those
//! who offer to be ready, each direction in an auction of its own at the price of the last one needed,
//! and at its limit where too little is offered. It comes before energy: what is bought no longer counts
//! as capability ([`Venue::accepted_in`]). Or it is bought together with energy ([`super::together`]). Who is ready is called by what its energy costs, the cheapest
//! first. Called energy moves the position of its provider and, the other way, that of the utility, so
//! that it is never an imbalance; it is paid at the price of the dearest that was called. Readiness is
//! paid times the share of time in which it was there and the score by which it was followed
//! ([`crate::activation`]); who follows badly forfeits it, and who follows worse owes a penalty.
//!
//! Everything is paid by the utility or to it, so these lines sum to zero.
//!
//! Not responsible for calling, or for measuring: sums of moments are arguments.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Cleared, Not, Refusal, Venue};
use crate::activation::{Delivery, Moment, pay, score_of};
use crate::auction::{Auction, AuctionError};
use crate::book::{Book, BookError, BookRules, Capability};
use crate::clearing::Clearing;
use crate::interval::Interval;
use crate::order::{AgentId, Order, Side};
use crate::quantity::{Money, Mwh, MwhTotal, PPM, Price};
use crate::settlement::{Account, Item, Line};

/// Number of the up-reserve of interval 0; those within the day begin at
/// [`intraday::PRODUCTS_FROM`](super::intraday::PRODUCTS_FROM).
pub const UP_FROM: u64 = 1 << 34;
/// Number of the down-reserve of interval 0.
pub const DOWN_FROM: u64 = 1 << 35;

/// The price of the last one needed, or the limit of who buys where too little is offered.
const MECHANISM: &str = "uniform_k_0_1";

/// Nanoseconds of an hour: a milliwatt over them is a milliwatt-hour.
const NS_PER_HOUR: i128 = 3_600_000_000_000;

/// What somebody offers to be ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Most of it upwards, over an interval.
    pub up: Mwh,
    /// Most of it downwards, over an interval.
    pub down: Mwh,
    /// What being ready costs, either way.
    pub ready: Price,
    /// What energy upwards costs when it is called.
    pub up_energy: Price,
    /// What is paid for energy downwards when it is called.
    pub down_energy: Price,
}

impl Offer {
    /// Most of it to a side: `Sell` is up.
    #[must_use]
    pub fn most(&self, side: Side) -> Mwh {
        match side {
            Side::Sell => self.up,
            Side::Buy => self.down,
        }
    }

    fn energy(&self, side: Side) -> Price {
        match side {
            Side::Sell => self.up_energy,
            Side::Buy => self.down_energy,
        }
    }
}

/// How readiness is bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Procurement {
    /// Before energy, which is traded with what it leaves.
    #[default]
    Sequential,
    /// Together with energy, at the least cost of both ([`super::together`]).
    CoOptimised,
}

/// The rules of the stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReserveRules {
    /// What the utility needs upwards in every interval.
    pub up: Mwh,
    /// What it needs downwards.
    pub down: Mwh,
    /// The most that it pays for readiness.
    pub limit: Price,
    /// What who follows worst owes for all that it was to be ready for.
    pub penalty: Price,
    /// How it is bought.
    #[serde(default)]
    pub procurement: Procurement,
    /// Who offers what.
    pub offers: BTreeMap<AgentId, Offer>,
}

impl ReserveRules {
    /// What the utility needs to a side: `Sell` is up.
    #[must_use]
    pub fn needed(&self, side: Side) -> Mwh {
        match side {
            Side::Sell => self.up,
            Side::Buy => self.down,
        }
    }

    /// Who is called to a side before whom.
    #[must_use]
    pub fn merit(&self, side: Side) -> Vec<AgentId> {
        let mut all: Vec<(&AgentId, &Offer)> = self.offers.iter().collect();
        // Stable, so equals stay in the order of their names.
        all.sort_by_key(|(_, offer)| match side {
            Side::Sell => i128::from(offer.up_energy.0),
            Side::Buy => -i128::from(offer.down_energy.0),
        });
        all.into_iter().map(|(agent, _)| agent.clone()).collect()
    }
}

/// The product of a side of an interval.
#[must_use]
pub fn product(interval: Interval, side: Side) -> Interval {
    let from = match side {
        Side::Sell => UP_FROM,
        Side::Buy => DOWN_FROM,
    };
    Interval {
        index: interval.index.saturating_add(from),
        ..interval
    }
}

/// The interval and the side that a number of a record means, if it is that of reserve.
#[must_use]
pub fn interval_of(number: u64) -> Option<(u64, Side)> {
    match number.checked_sub(DOWN_FROM) {
        Some(index) => Some((index, Side::Buy)),
        None => Some((number.checked_sub(UP_FROM)?, Side::Sell)),
    }
}

/// How somebody was called in an interval, and how it followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activation {
    /// Moments that were looked at.
    pub moments: u64,
    /// Those in which it could be called and was metered.
    pub available: u64,
    /// Energy that it was called for upwards.
    pub up: Mwh,
    /// Energy that it was called for downwards, as a magnitude.
    pub down: Mwh,
    /// Sum of how far it was called away from its baseline, in mW.
    pub asked: u64,
    /// Sum over the moments in which it was called of how far it was metered from what it was called
    /// for, in mW.
    pub missed: u64,
}

impl Activation {
    fn availability_ppm(&self) -> u32 {
        let part = u128::from(self.available) * u128::from(PPM);
        // At most a whole.
        part.checked_div(u128::from(self.moments))
            .unwrap_or(0)
            .min(PPM.into()) as u32
    }

    fn called(&self, side: Side) -> Mwh {
        match side {
            Side::Sell => self.up,
            Side::Buy => self.down,
        }
    }
}

/// The moments of an activation, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Course {
    moments: u64,
    available: u64,
    /// In mW ns.
    up: i128,
    down: i128,
    asked: u64,
    missed: u64,
}

impl Course {
    /// Adds a moment that counts for so many nanoseconds; `None` is one in which it could not be called,
    /// or was not metered.
    pub fn take(&mut self, moment: Option<Moment>, for_ns: i64) {
        self.moments += 1;
        let Some(moment) = moment else { return };
        self.available += 1;
        let called = i128::from(moment.commanded) - i128::from(moment.baseline);
        let energy = called * i128::from(for_ns.max(0));
        match called >= 0 {
            true => self.up += energy,
            false => self.down -= energy,
        }
        if called == 0 {
            // What it does uncalled is no answer to a call: it is metered, and settled as imbalance.
            return;
        }
        let apart = |a: i64, b: i64| a.abs_diff(b);
        let asked = apart(moment.commanded, moment.baseline);
        let missed = apart(moment.commanded, moment.measured);
        self.asked = self.asked.saturating_add(asked);
        self.missed = self.missed.saturating_add(missed);
    }

    /// What it comes to; parts of a milliwatt-hour are dropped, on both sides of the account alike.
    #[must_use]
    pub fn close(self) -> Activation {
        let energy = |sum: i128| Mwh(i64::try_from(sum / NS_PER_HOUR).unwrap_or(i64::MAX));
        Activation {
            moments: self.moments,
            available: self.available,
            up: energy(self.up),
            down: energy(self.down),
            asked: self.asked,
            missed: self.missed,
        }
    }
}

/// What is bought of an interval, and how it was called.
#[derive(Debug, Clone, Default)]
pub(super) struct Bought {
    up: Option<Clearing>,
    down: Option<Clearing>,
    activations: BTreeMap<AgentId, Activation>,
}

impl Bought {
    fn of(&self, side: Side) -> Option<&Clearing> {
        match side {
            Side::Sell => self.up.as_ref(),
            Side::Buy => self.down.as_ref(),
        }
    }

    /// What somebody is ready for.
    fn ready(&self, agent: &AgentId, side: Side) -> Mwh {
        let fills = self.of(side).into_iter().flat_map(|it| &it.fills);
        let own = fills.filter(|fill| fill.side == Side::Sell && fill.agent == *agent);
        Mwh(own.map(|fill| fill.quantity.0).sum())
    }

    /// Energy that was called of everybody, injection positive, and of the utility the other way.
    pub(super) fn instructed(&self, utility: &AgentId) -> BTreeMap<AgentId, MwhTotal> {
        let called = |it: &Activation| MwhTotal(i128::from(it.up.0) - i128::from(it.down.0));
        let mut all: BTreeMap<AgentId, MwhTotal> = (self.activations.iter())
            .map(|(agent, it)| (agent.clone(), called(it)))
            .filter(|(_, energy)| energy.0 != 0)
            .collect();
        let sum: MwhTotal = all.values().copied().sum();
        if sum.0 != 0 {
            all.insert(utility.clone(), -sum);
        }
        all
    }

    /// What is paid for readiness and for what was called.
    pub(super) fn lines(&self, rules: &ReserveRules, utility: &AgentId) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut others: BTreeMap<Item, Money> = BTreeMap::new();
        let mut book = |agent: &AgentId, item, quantity: i64, amount: Money| {
            if amount != Money(0) {
                *others.entry(item).or_default() += -amount;
                lines.push(Line {
                    account: Account::Participant(agent.clone()),
                    item,
                    quantity: MwhTotal(quantity.into()),
                    price: None,
                    amount,
                });
            }
        };
        for side in [Side::Sell, Side::Buy] {
            let price = self.of(side).and_then(|it| it.price);
            let called = self
                .activations
                .iter()
                .filter(|(_, it)| it.called(side).0 > 0);
            let prices = called.filter_map(|(agent, _)| rules.offers.get(agent));
            let prices = prices.map(|offer| offer.energy(side));
            let energy_price = match side {
                Side::Sell => prices.max(),
                Side::Buy => prices.min(),
            };
            for (agent, activation) in &self.activations {
                let capacity = self.ready(agent, side);
                let paid = pay(&Delivery {
                    capacity,
                    capacity_price: price.unwrap_or_default(),
                    availability_ppm: activation.availability_ppm(),
                    score_ppm: score_of(activation.asked.into(), activation.missed.into()),
                    energy: activation.called(side),
                    side,
                    energy_price: energy_price.unwrap_or_default(),
                    penalty: rules.penalty * capacity,
                });
                let sign = side.injection_sign();
                book(agent, Item::Reserve, sign * capacity.0, paid.capacity);
                let energy = sign * activation.called(side).0;
                book(agent, Item::Activation, energy, paid.energy);
                book(agent, Item::Penalty, sign * capacity.0, paid.penalty);
            }
        }
        for (item, amount) in others.into_iter().filter(|(_, amount)| *amount != Money(0)) {
            lines.push(Line {
                account: match item {
                    Item::Penalty => Account::Penalties,
                    _ => Account::Participant(utility.clone()),
                },
                item,
                quantity: MwhTotal(0),
                price: None,
                amount,
            });
        }
        lines
    }
}

/// The auction of the stage.
pub(super) fn auction() -> Result<Auction, AuctionError> {
    Auction::by_name(MECHANISM, std::collections::BTreeSet::new())
}

impl Venue {
    /// What everybody offers to a side, bounded by what each can sustain now, and what the utility needs;
    /// nothing without the stage, or where nothing is needed.
    #[must_use]
    pub fn reserve_orders(&self, side: Side, able: &BTreeMap<AgentId, Mwh>) -> Vec<Order> {
        let Some(rules) = &self.rules.reserve else {
            return Vec::new();
        };
        let needed = rules.needed(side);
        if needed.0 <= 0 {
            return Vec::new();
        }
        let utility = &self.rules.utility;
        let need = Order::single(utility.clone(), Side::Buy, rules.limit, needed);
        let offers = rules.offers.iter().filter_map(|(agent, offer)| {
            let most = offer.most(side).min(*able.get(agent)?);
            let order = Order::single(agent.clone(), Side::Sell, offer.ready, most);
            (most.0 > 0).then_some(order)
        });
        let mut orders: Vec<Order> = [need].into_iter().chain(offers).collect();
        for (rank, order) in orders.iter_mut().enumerate() {
            order.rank = rank as u64;
        }
        orders
    }

    /// Buys the readiness of a side of an interval; `None` without the stage.
    ///
    /// # Errors
    /// [`BookError::Rules`] when no book can be kept.
    pub fn clear_reserve(
        &self,
        interval: Interval,
        side: Side,
        orders: Vec<Order>,
    ) -> Result<Option<Cleared>, BookError> {
        let Some(auction) = &self.reserve else {
            return Ok(None);
        };
        let (book, not) = self.admitted_reserve(interval, side, orders)?;
        Ok(Some(self.cleared(auction, MECHANISM, book, not)))
    }

    /// The book of readiness to a side of an interval, and what was not admitted or moved.
    pub(super) fn admitted_reserve(
        &self,
        interval: Interval,
        side: Side,
        orders: Vec<Order>,
    ) -> Result<(Book, Not), BookError> {
        let product = product(interval, side);
        let (orders, not, moved) = self.regulated(&product, orders);
        let mut refused: Vec<Refusal> = not.into_iter().map(Refusal::from).collect();
        let of = |inject: i64, withdraw: i64| Capability {
            inject_max: MwhTotal(inject.into()),
            withdraw_max: MwhTotal(withdraw.into()),
        };
        let rules = self.rules.reserve.iter();
        let capabilities = rules.flat_map(|rules| {
            let offers = rules.offers.iter();
            let offers = offers.map(move |(agent, it)| (agent.clone(), of(it.most(side).0, 0)));
            let need = (self.rules.utility.clone(), of(0, rules.needed(side).0));
            offers.chain([need])
        });
        let book = BookRules {
            capabilities: Some(capabilities.collect()),
            ..self.rules.book.clone()
        };
        let (book, not) = Book::admit(product, &book, orders)?;
        refused.extend(not.into_iter().map(Refusal::from));
        Ok((book, (refused, moved)))
    }

    /// Takes what was bought of an interval: it no longer counts as capability for energy.
    pub fn take_reserve(&mut self, clearing: &Clearing) {
        let Some((index, side)) = interval_of(clearing.interval.index) else {
            return;
        };
        let bought = self.bought.entry(index).or_default();
        match side {
            Side::Sell => bought.up = Some(clearing.clone()),
            Side::Buy => bought.down = Some(clearing.clone()),
        }
    }

    /// Takes how everybody was called in an interval that is settled next.
    pub fn take_activations(&mut self, interval: u64, activations: BTreeMap<AgentId, Activation>) {
        if let Some(bought) = self.bought.get_mut(&interval) {
            bought.activations = activations;
        }
    }

    /// What somebody is ready for in an interval; `Sell` is up.
    #[must_use]
    pub fn ready(&self, interval: u64, agent: &AgentId, side: Side) -> Mwh {
        let bought = self.bought.get(&interval);
        bought.map_or(Mwh(0), |bought| bought.ready(agent, side))
    }

    /// The most that somebody may order of energy on a side in an interval, beside what it is ready for;
    /// `None` without bound.
    #[must_use]
    pub fn accepted_in(&self, interval: u64, agent: &AgentId, side: Side) -> Option<MwhTotal> {
        let MwhTotal(most) = self.accepted(agent, side)?;
        let ready = i128::from(self.ready(interval, agent, side).0);
        Some(MwhTotal((most - ready).max(0)))
    }

    /// The rules of the book of an interval: who is ready can do less, and with balancing energy whoever has
    /// traded already.
    pub(super) fn book_of(&self, interval: &Interval) -> BookRules {
        let mut book = self.rules.book.clone();
        if self.balances
            && let Some(capabilities) = &mut book.capabilities
        {
            self.beside_positions(interval, capabilities);
        }
        let bought = self.bought.get(&interval.index);
        for (agent, capability) in book.capabilities.iter_mut().flatten() {
            let ready = |side| bought.map_or(0, |it| i128::from(it.ready(agent, side).0));
            let left = |most: MwhTotal, side| MwhTotal((most.0 - ready(side)).max(0));
            *capability = Capability {
                inject_max: left(capability.inject_max, Side::Sell),
                withdraw_max: left(capability.withdraw_max, Side::Buy),
            };
        }
        book
    }
}

#[cfg(test)]
mod tests;
