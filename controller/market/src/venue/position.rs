//! Positions that somebody has before real time, and what they are settled by.
//!
//! Theory. An interval is traded before: by contract, ahead, or within the day. In real time
//! everybody orders anew for the whole of what it expects; what that changes of its position is
//! traded at the price of real time. With `c` traded before and `n` in real time, both injection
//! positive, it receives
//!
//! `p_before * c + p_real * (n - c) = p_real * n + (p_before - p_real) * c`.
//!
//! So the accounts of real time are those without the stages, and each position adds the difference
//! of both prices for its energy. Positions of a stage sum to zero, and so do these lines, whatever
//! the prices are. Imbalance is metered against `n`, the sum of all trades.

use std::collections::BTreeMap;

use crate::clearing::Clearing;
use crate::contract::Deal;
use crate::order::AgentId;
use crate::quantity::{Money, MwhTotal, Price};
use crate::settlement::{Account, Item, Line, SettlementError};

/// What everybody has of one interval by one stage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Positions {
    /// Energy, injection positive, and what is paid for it; `None` beyond 128 bits.
    of: BTreeMap<AgentId, (i128, Option<i128>)>,
    /// What the mechanism leaves with the operator.
    operator: Money,
}

impl Positions {
    /// Those that a clearing leads to.
    pub(super) fn of_clearing(clearing: &Clearing) -> Self {
        let mut all = Self {
            of: BTreeMap::new(),
            operator: clearing.operator,
        };
        for fill in &clearing.fills {
            let injected = i128::from(fill.quantity.0) * i128::from(fill.side.injection_sign());
            all.add(&fill.agent, injected, fill.payment);
        }
        all
    }

    /// Adds both sides of a deal.
    pub(super) fn take(&mut self, deal: &Deal) {
        let paid = deal.price * deal.energy;
        let energy = i128::from(deal.energy.0);
        self.add(&deal.buyer, -energy, paid);
        self.add(&deal.seller, energy, -paid);
    }

    /// Energy that one has, injection positive.
    pub(super) fn injected(&self, agent: &AgentId) -> MwhTotal {
        let of = self.of.get(agent);
        MwhTotal(of.map_or(0, |(injected, _)| *injected))
    }

    /// What everybody has, injection positive.
    pub(super) fn all(&self) -> impl Iterator<Item = (&AgentId, MwhTotal)> {
        (self.of.iter()).map(|(agent, (injected, _))| (agent, MwhTotal(*injected)))
    }

    /// The same, each with what is paid for it; nothing beyond 128 bits.
    pub(super) fn paid(&self) -> impl Iterator<Item = (&AgentId, MwhTotal, Money)> {
        (self.of.iter()).map(|(agent, (injected, paid))| {
            let paid = paid.unwrap_or_default();
            (agent, MwhTotal(*injected), Money(paid))
        })
    }

    /// The most that one pays for its position when a unit is worth one of these in real time.
    pub(super) fn most(&self, agent: &AgentId, prices: &[Price]) -> Option<Money> {
        let (injected, paid) = self.of.get(agent)?;
        let costs = prices.iter().map(|price| {
            let back = injected.saturating_mul(i128::from(price.0));
            paid.unwrap_or(i128::MAX).saturating_add(back)
        });
        costs.max().map(Money)
    }

    fn add(&mut self, agent: &AgentId, injected: i128, paid: Money) {
        let entry = self.of.entry(agent.clone()).or_insert((0, Some(0)));
        entry.0 += injected;
        entry.1 = entry.1.and_then(|sum| sum.checked_add(paid.0));
    }

    /// What they are settled by when a unit is worth `real_time` in real time.
    pub(super) fn lines(
        &self,
        interval: u64,
        item: Item,
        real_time: Price,
    ) -> Result<Vec<Line>, SettlementError> {
        let mut lines = Vec::with_capacity(self.of.len() + 1);
        for (agent, (injected, paid)) in &self.of {
            let account = Account::Participant(agent.clone());
            let back = injected.checked_mul(i128::from(real_time.0));
            // What it paid before, and what its position would cost in real time.
            let amount = paid
                .zip(back)
                .and_then(|(paid, back)| paid.checked_add(back));
            let Some(amount) = amount else {
                return Err(SettlementError::Overflow { interval, account });
            };
            lines.push(Line {
                account,
                item,
                quantity: MwhTotal(*injected),
                price: None,
                amount: Money(amount),
            });
        }
        if self.operator != Money(0) {
            lines.push(Line {
                account: Account::Operator,
                item,
                quantity: MwhTotal(0),
                price: None,
                amount: -self.operator,
            });
        }
        Ok(lines)
    }
}
