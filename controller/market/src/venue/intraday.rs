//! Trading within the day: an order book of each interval that is open, until its real-time gate.
//!
//! Theory. An interval that is open has a [continuous book](crate::continuous): price before time,
//! and every trade at the price of the order that rests. Each participant has at most one curve on
//! either side of a book; a new one takes the place of the old, behind all that rest. What is traded
//! is a position, which real time nets.
//!
//! No order may lead to more than its device can do: what one has of the interval by all earlier
//! stages and the whole of the order come to no more than its capability.
//!
//! Everything follows from the sequence of orders and withdrawals of a book, which stands on the
//! ledger before it is matched.
//!
//! Not responsible for when an interval opens or closes, nor for what somebody orders.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::book::{Book, BookError, BookRules, Capability};
use crate::continuous::{ContinuousBook, Placed, Scale, Tender, TenderError, Ticket, Validity};
use crate::contract::Deal;
use crate::fault::Coded;
use crate::interval::Interval;
use crate::order::{AgentId, Order, Side, Step};
use crate::quantity::{Mwh, MwhTotal, Price};
use crate::utility::Parity;

/// Number of the product of interval 0 within the day; those ahead begin at
/// [`PRODUCTS_FROM`](super::ahead::PRODUCTS_FROM).
pub const PRODUCTS_FROM: u64 = 1 << 33;

/// All prices of an order book are multiples of this, in mc/kWh.
/// Chosen: a tenth of a thousandth of a euro; books of the bounds of a bench have 35001 levels then.
pub const TICK: i64 = 10;

/// The rules of the stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntradayRules {
    /// How many intervals are open at a time, the next one first.
    pub intervals: u64,
}

/// The product of an interval within the day.
#[must_use]
pub fn product(interval: u64) -> u64 {
    interval.saturating_add(PRODUCTS_FROM)
}

/// The interval that a number of a record means, if it is that of a product within the day.
#[must_use]
pub fn interval_of(number: u64) -> Option<u64> {
    number.checked_sub(PRODUCTS_FROM)
}

/// A trade within the day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Who sells whom how much at what price.
    pub deal: Deal,
    /// Rank of the order that rested.
    pub maker: u64,
    /// Rank of the order that came.
    pub taker: u64,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entered {
    /// Its trades, in their sequence.
    pub executions: Vec<Execution>,
    /// What rests of it.
    pub rests: MwhTotal,
}

/// Why an order is not entered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntradayError {
    /// The market has no such stage.
    #[error("this market does not trade within the day")]
    NoStage,
    /// No order of that side rests.
    #[error("{side} of `{agent}`: nothing rests that could be taken back")]
    NothingRests {
        /// Whose.
        agent: AgentId,
        /// Which side.
        side: Side,
    },
    /// The order would not be admitted to any book.
    #[error(transparent)]
    Book(#[from] BookError),
    /// The order book does not take it.
    #[error(transparent)]
    Tender(#[from] TenderError),
    /// What is traded already and the order together are beyond the device.
    #[error(
        "{side} of `{agent}`: with {position} traded already its device leaves {left}, not {ordered}"
    )]
    Beyond {
        /// Who orders.
        agent: AgentId,
        /// On which side.
        side: Side,
        /// What it has of the interval, injection positive.
        position: MwhTotal,
        /// What it may still order on this side.
        left: MwhTotal,
        /// What it orders.
        ordered: MwhTotal,
    },
}

impl Coded for IntradayError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoStage => "M045",
            Self::NothingRests { .. } => "M047",
            Self::Book(error) => error.code(),
            Self::Tender(error) => error.code(),
            Self::Beyond { .. } => "M046",
        }
    }
    fn place(&self) -> String {
        match self {
            Self::NoStage => "market".into(),
            Self::Book(error) => error.place(),
            Self::Tender(error) => error.place(),
            Self::Beyond { agent, side, .. } | Self::NothingRests { agent, side } => {
                format!("{side} of `{agent}`")
            }
        }
    }
    fn help(&self) -> String {
        match self {
            Self::NoStage => "add `[market.intraday]` to the rig, or order for real time".into(),
            Self::NothingRests { .. } => "it may have been traded: look at the ledger".into(),
            Self::Book(error) => error.help(),
            Self::Tender(error) => error.help(),
            Self::Beyond { left, .. } => format!("order at most {left}, or trade back first"),
        }
    }
}

/// The order book of one interval.
#[derive(Debug)]
struct Open {
    book: ContinuousBook,
    /// Number of everybody who has ordered: nobody trades with itself.
    owners: BTreeMap<AgentId, u32>,
    /// Whose each order of the book is, and its rank, by its number there.
    tenders: Vec<(AgentId, u64)>,
    /// Where the curves rest.
    resting: BTreeMap<(AgentId, Side), Vec<Ticket>>,
}

/// The stage of a venue.
#[derive(Debug)]
pub(super) struct Intraday {
    rules: BookRules,
    open: BTreeMap<u64, Open>,
}

fn scale(rules: &BookRules) -> Scale {
    // The bounds are multiples of the tick and the floor is not above the cap.
    let levels = (i128::from(rules.cap.0) - i128::from(rules.floor.0)) / i128::from(rules.tick) + 1;
    Scale::Ticks {
        floor: rules.floor,
        tick: rules.tick,
        levels: usize::try_from(levels).unwrap_or(usize::MAX),
    }
}

impl Intraday {
    /// The stage of a market with these rules of its books.
    pub(super) fn new(rules: &BookRules) -> Result<Self, IntradayError> {
        let rules = intraday_rules(rules);
        rules.check()?;
        ContinuousBook::new(scale(&rules))?;
        Ok(Self {
            rules,
            open: BTreeMap::new(),
        })
    }

    /// Whether an order may be entered by one who has this of the interval.
    pub(super) fn inspect(
        &self,
        interval: Interval,
        order: &Order,
        position: MwhTotal,
        capability: Option<Capability>,
    ) -> Result<(), IntradayError> {
        let (_, refused) = Book::admit(interval, &self.rules, vec![order.clone()])?;
        if let Some(why) = refused.into_iter().next() {
            return Err(why.into());
        }
        let Some(capability) = capability else {
            return Ok(());
        };
        let ordered: MwhTotal = order.steps.iter().map(|s| MwhTotal::from(s.quantity)).sum();
        let left = match order.side {
            Side::Sell => capability.inject_max - position,
            Side::Buy => capability.withdraw_max + position,
        };
        if ordered > left {
            return Err(IntradayError::Beyond {
                agent: order.agent.clone(),
                side: order.side,
                position,
                left: MwhTotal(left.0.max(0)),
                ordered,
            });
        }
        Ok(())
    }

    /// Enters an order that was inspected, in place of the curve of its side.
    pub(super) fn enter(&mut self, index: u64, order: &Order) -> Result<Entered, IntradayError> {
        self.withdraw(index, &order.agent, order.side);
        let open = match self.open.entry(index) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => free.insert(Open {
                book: ContinuousBook::new(scale(&self.rules))?,
                owners: BTreeMap::new(),
                tenders: Vec::new(),
                resting: BTreeMap::new(),
            }),
        };
        let next = u32::try_from(open.owners.len()).unwrap_or(u32::MAX);
        let owner = *open.owners.entry(order.agent.clone()).or_insert(next);
        let mut entered = Entered::default();
        let mut tickets = Vec::new();
        let mut executions = Vec::new();
        for step in &order.steps {
            let id = u32::try_from(open.tenders.len()).unwrap_or(u32::MAX);
            let tender = Tender {
                id,
                owner,
                side: order.side,
                price: step.price,
                quantity: step.quantity,
                validity: Validity::Gate,
            };
            let placed = open.book.submit(tender, &mut executions)?;
            open.tenders.push((order.agent.clone(), order.rank));
            if let Placed::Rests { ticket, left } = placed {
                tickets.push(ticket);
                entered.rests += MwhTotal::from(left);
            }
        }
        if !tickets.is_empty() {
            let key = (order.agent.clone(), order.side);
            open.resting.insert(key, tickets);
        }
        let of = |id: u32| open.tenders.get(id as usize);
        for execution in executions {
            let Some(((maker, of_maker), (taker, of_taker))) =
                of(execution.maker).zip(of(execution.taker))
            else {
                continue;
            };
            let (buyer, seller) = match order.side {
                Side::Buy => (taker, maker),
                Side::Sell => (maker, taker),
            };
            entered.executions.push(Execution {
                deal: Deal {
                    buyer: buyer.clone(),
                    seller: seller.clone(),
                    energy: execution.quantity,
                    price: execution.price,
                },
                maker: *of_maker,
                taker: *of_taker,
            });
        }
        Ok(entered)
    }

    /// Takes the curve of a side out of the book; what was left of it.
    pub(super) fn withdraw(&mut self, index: u64, agent: &AgentId, side: Side) -> MwhTotal {
        let Some(open) = self.open.get_mut(&index) else {
            return MwhTotal(0);
        };
        let tickets = open.resting.remove(&(agent.clone(), side));
        let tickets = tickets.into_iter().flatten();
        let left = tickets.filter_map(|ticket| open.book.cancel(ticket));
        left.map(MwhTotal::from).sum()
    }

    /// Whether a curve of this side may rest in the book.
    pub(super) fn rests(&self, index: u64, agent: &AgentId, side: Side) -> bool {
        let open = self.open.get(&index);
        open.is_some_and(|open| open.resting.contains_key(&(agent.clone(), side)))
    }

    /// The best bid and the best offer.
    pub(super) fn best(&self, index: u64) -> (Option<Price>, Option<Price>) {
        let book = self.open.get(&index).map(|open| &open.book);
        let best = |side| book.and_then(|book| book.best(side));
        (best(Side::Buy), best(Side::Sell))
    }

    /// Closes the books up to an interval: what rests there ends.
    pub(super) fn close(&mut self, index: u64) {
        self.open.retain(|other, _| *other > index);
    }
}

/// The rules of a market's books as they are within the day. What a device can do is held against
/// all that is traded, so it is not among them.
#[must_use]
pub fn intraday_rules(rules: &BookRules) -> BookRules {
    let tick = TICK.max(rules.tick);
    BookRules {
        // Inwards, to multiples of the tick.
        floor: Price(-((-rules.floor.0).div_euclid(tick) * tick)),
        cap: Price(rules.cap.0.div_euclid(tick) * tick),
        tick,
        steps_max: rules.steps_max,
        capabilities: None,
    }
}

/// What one would still trade who orders this for the whole of an interval and has `position` of
/// it: what lies beyond its position it offers, what lies before it buys back.
///
/// Theory. The bids and the offers of somebody are one ladder of rising prices, from all that it
/// would take to all that it would give. A position stands somewhere on it. Each unit above is worth
/// its price to sell, each below its price to buy back. Nobody pays more than the utility would
/// charge in real time, or takes less than it would pay, since that is always left; and what must
/// be had at any price is not offered back.
#[must_use]
pub fn around(
    whole: &[Order],
    position: MwhTotal,
    parity: Parity,
    rules: &BookRules,
) -> Vec<Order> {
    let Some(agent) = whole.first().map(|order| order.agent.clone()) else {
        return Vec::new();
    };
    let of = |side| {
        let orders = whole.iter().filter(move |order| order.side == side);
        orders.flat_map(|order| order.steps.iter().copied())
    };
    let mut ladder: Vec<Step> = of(Side::Buy).collect();
    ladder.reverse();
    let taken: i128 = ladder.iter().map(|step| i128::from(step.quantity.0)).sum();
    ladder.extend(of(Side::Sell));
    let mut before = position.0.saturating_add(taken);
    let (mut bids, mut offers) = (Vec::new(), Vec::new());
    for step in ladder {
        let quantity = i128::from(step.quantity.0);
        // At most the step's own.
        let below = before.clamp(0, quantity) as i64;
        before -= quantity;
        let above = step.quantity.0 - below;
        if below > 0 && step.price > rules.floor {
            let limit = rules.bid_at(step.price.min(parity.import));
            bids.extend(limit.map(|price| (price, below)));
        }
        if above > 0 && step.price < rules.cap {
            let limit = rules.offer_at(step.price.max(parity.export));
            offers.extend(limit.map(|price| (price, above)));
        }
    }
    bids.reverse();
    let orders = [(Side::Buy, bids), (Side::Sell, offers)];
    let orders = orders.into_iter().map(|(side, steps)| Order {
        agent: agent.clone(),
        side,
        steps: merged(steps, rules.steps_max),
        rank: 0,
    });
    orders.filter(|order| !order.steps.is_empty()).collect()
}

/// Steps of one price as one, and no more than a curve may have: those with the best prices.
fn merged(steps: Vec<(Price, i64)>, most: usize) -> Vec<Step> {
    let mut merged: Vec<Step> = Vec::with_capacity(steps.len());
    for (price, quantity) in steps {
        match merged.last_mut() {
            Some(last) if last.price == price => {
                last.quantity = Mwh(last.quantity.0.saturating_add(quantity));
            }
            _ => merged.push(Step {
                price,
                quantity: Mwh(quantity),
            }),
        }
    }
    merged.truncate(most);
    merged
}

#[cfg(test)]
mod tests;
