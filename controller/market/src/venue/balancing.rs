//! Balancing energy in place of the auction of real time.
//!
//! Theory. What was traded before real time stands. At the gate it is known by how much what is expected to
//! flow differs from it; that is the demand for balancing energy, at any price: upwards where the bus would
//! be short, downwards where it would be long. Whoever can bids to inject more than its position (`Sell`) or
//! less (`Buy`). Bids of the direction that is needed are activated, the cheapest first, and all of them get
//! the price of the last one; where they do not suffice, that price is the bound of the market. The other
//! direction is left alone: nobody is activated against another.
//!
//! The demand is an order of the [`POOL`], which nobody meters. With `c` traded before, `a` activated and
//! `m` metered one receives
//!
//! `p_before * c + p * a + p_imbalance * (m - c - a)`,
//!
//! and the pool, which has bought `a` of all, gets it back at the imbalance price. That is the price of
//! the activation; where there was none it is what was avoided, the best bid of the direction in which the
//! meter of the utility says that something would have been needed. So the pool is left with nothing, and
//! the accounts sum to zero as in [`crate::settlement`].
//!
//! Not responsible for who expects what, nor for calling anybody within the interval.

use std::collections::{BTreeMap, BTreeSet};

use super::Venue;
use crate::auction::AuctionError;
use crate::book::{Book, Capability};
use crate::clearing::{Clearing, Fill};
use crate::crossing::best;
use crate::interval::Interval;
use crate::mechanism::{KFactor, Mechanism as _, UniformPrice, nothing};
use crate::order::{AgentId, Order, Side};
use crate::quantity::{Money, Mwh, MwhTotal, Price};
use crate::settlement::Item;

/// Name of the mechanism in records.
pub const NAME: &str = "balancing_energy";

/// Name of the account that buys balancing energy and sells it to those who deviate.
pub const POOL: &str = "balancing";

/// The price is that of the last bid that is activated: of offers the dearest, of bids the one that pays
/// least.
fn marginal(pool: Side) -> Option<UniformPrice> {
    let num = match pool {
        Side::Buy => 0,
        Side::Sell => 1,
    };
    KFactor::new(num, 1).map(|k| UniformPrice { k })
}

/// Activates what the pool of a book asks for.
pub(super) fn clear(book: &Book) -> Result<Clearing, AuctionError> {
    let (pool, bids): (Vec<Order>, Vec<Order>) =
        (book.orders().iter().cloned()).partition(|order| order.agent.as_str() == POOL);
    // What the whole book has admitted its parts admit as well.
    let part = |orders| Book::admit(book.interval(), book.rules(), orders).map(|(book, _)| book);
    let bids = part(bids)?;
    let indicative = best(&bids);
    let idle = Clearing {
        indicative,
        ..nothing(book, NAME.to_owned())
    };
    let asked = pool
        .first()
        .and_then(|pool| Some((pool.side, marginal(pool.side)?)));
    let Some((side, rule)) = asked else {
        return Ok(idle);
    };
    let of_use = bids.orders().iter().filter(|order| order.side != side);
    let needed = part(of_use.chain(&pool).cloned().collect())?;
    let found = rule.clear(&needed)?;
    let place = |fill: &Fill| {
        let mut orders = book.orders().iter();
        orders.position(|order| (&order.agent, order.side) == (&fill.agent, fill.side))
    };
    let mut fills = found.fills;
    fills.sort_by_key(place);
    Ok(Clearing {
        mechanism: NAME.to_owned(),
        indicative,
        fills,
        ..found
    })
}

impl Venue {
    /// The venue that balances by bids instead of trading everything once more; `false`, as it was.
    #[must_use]
    pub fn by_balancing_energy(mut self, is: bool) -> Self {
        self.balances = is;
        self
    }

    /// Whether it balances by bids in real time.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.balances
    }

    /// What the pool orders when these are expected to inject so much of an interval; `None` where that is
    /// what they have traded.
    #[must_use]
    pub fn balancing_demand(
        &self,
        interval: u64,
        expected: &BTreeMap<AgentId, Mwh>,
    ) -> Option<Order> {
        let beyond = expected.iter().map(|(agent, energy)| {
            MwhTotal::from(*energy) + -self.position_before(interval, agent)
        });
        let MwhTotal(beyond) = beyond.sum();
        let book = &self.rules.book;
        let (side, price) = match beyond {
            0 => return None,
            short if short < 0 => (Side::Buy, book.cap),
            _ => (Side::Sell, book.floor),
        };
        let energy = i64::try_from(beyond.unsigned_abs()).unwrap_or(i64::MAX);
        Some(Order::single(POOL.into(), side, price, Mwh(energy)))
    }

    /// What everybody has traded of an interval before real time and is to deliver beside what it is
    /// activated for; nothing where real time trades the whole.
    pub(super) fn standing_positions(&self, interval: u64) -> BTreeMap<AgentId, MwhTotal> {
        let mut all: BTreeMap<AgentId, MwhTotal> = BTreeMap::new();
        let stages = self.positions_of(interval).filter(|_| self.balances);
        for (agent, injected) in stages.flat_map(|(_, positions)| positions.all()) {
            *all.entry(agent.clone()).or_default() += injected;
        }
        all.retain(|_, injected| injected.0 != 0);
        all
    }

    /// What was traded of an interval before real time, as a clearing of its own: everybody's position, at
    /// what is paid for it. That is what deviations are from, so it is by this price that they must not pay.
    pub(super) fn standing_trades(&self, clearing: &Clearing) -> Clearing {
        let mut net: BTreeMap<AgentId, (i128, i128)> = BTreeMap::new();
        for (_, positions) in self.positions_of(clearing.interval.index) {
            for (agent, injected, paid) in positions.paid() {
                let (energy, payment) = net.entry(agent.clone()).or_default();
                *energy += injected.0;
                *payment = payment.saturating_add(paid.0);
            }
        }
        let fill = |(agent, (injected, paid)): (AgentId, (i128, i128))| Fill {
            agent,
            side: if injected < 0 { Side::Buy } else { Side::Sell },
            quantity: Mwh(i64::try_from(injected.unsigned_abs()).unwrap_or(i64::MAX)),
            payment: Money(paid),
        };
        Clearing {
            price: None,
            fills: (net.into_iter())
                .filter(|(_, (injected, _))| *injected != 0)
                .map(fill)
                .collect(),
            ..clearing.clone()
        }
    }

    /// Who has had no way to commit to anything of an interval, since real time only balances what was traded
    /// before and nothing was: what flows of theirs is imbalance, and breaks nothing.
    pub(super) fn left_out(&self, clearing: &Clearing) -> BTreeSet<AgentId> {
        let index = clearing.interval.index;
        let was_traded = [Item::Ahead, Item::Intraday]
            .into_iter()
            .any(|item| self.positions.contains_key(&(index, item)));
        if !self.balances || was_traded {
            return BTreeSet::new();
        }
        let bound = self.rules.obligations.iter();
        let bound = bound.flat_map(|obligations| obligations.deposits.keys());
        let has_committed = |agent: &&AgentId| {
            self.position_before(index, agent).0 != 0
                || clearing.fills.iter().any(|fill| fill.agent == **agent)
        };
        bound
            .filter(|agent| !has_committed(agent))
            .cloned()
            .collect()
    }

    /// The clearing as what everybody is to deliver: with balancing energy the positions of the earlier
    /// stages as well, each at no payment, and without the pool.
    #[must_use]
    pub fn delivering(&self, clearing: &Clearing) -> Clearing {
        if clearing.mechanism != NAME {
            return clearing.clone();
        }
        let mut net = self.standing_positions(clearing.interval.index);
        for fill in clearing
            .fills
            .iter()
            .filter(|fill| fill.agent.as_str() != POOL)
        {
            let injected = i128::from(fill.quantity.0) * i128::from(fill.side.injection_sign());
            *net.entry(fill.agent.clone()).or_default() += MwhTotal(injected);
        }
        let fill = |(agent, MwhTotal(injected)): (AgentId, MwhTotal)| Fill {
            agent,
            side: if injected < 0 { Side::Buy } else { Side::Sell },
            quantity: Mwh(i64::try_from(injected.unsigned_abs()).unwrap_or(i64::MAX)),
            payment: Money(0),
        };
        Clearing {
            fills: net
                .into_iter()
                .filter(|(_, it)| it.0 != 0)
                .map(fill)
                .collect(),
            ..clearing.clone()
        }
    }

    /// What everybody can do beside its position, and the pool without bound.
    pub(super) fn beside_positions(
        &self,
        interval: &Interval,
        capabilities: &mut BTreeMap<AgentId, Capability>,
    ) {
        for (agent, capability) in &mut *capabilities {
            let MwhTotal(position) = self.position_before(interval.index, agent);
            let left = |most: MwhTotal, used: i128| MwhTotal(most.0.saturating_sub(used).max(0));
            *capability = Capability {
                inject_max: left(capability.inject_max, position),
                withdraw_max: left(capability.withdraw_max, -position),
            };
        }
        let any = MwhTotal(i128::from(i64::MAX));
        let any = Capability {
            inject_max: any,
            withdraw_max: any,
        };
        capabilities.insert(POOL.into(), any);
    }

    /// What a unit of a position is settled against: with balancing energy positions stand at what was
    /// paid for them.
    pub(super) fn settled_against(&self, clearing: &Clearing, price: Price) -> Price {
        match clearing.mechanism == NAME {
            true => Price(0),
            false => price,
        }
    }
}

#[cfg(test)]
mod tests;
