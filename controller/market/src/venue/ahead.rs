//! The day-ahead stage: positions that are traded before, and settled against real time.
//!
//! Theory. An interval is traded twice, ahead and in real time. In real time everybody orders anew
//! for the whole of what it expects; what that changes of its position is traded at the price of
//! real time. With `c` traded ahead and `n` in real time, both injection positive, it receives
//!
//! `p_ahead * c + p_real * (n - c) = p_real * n + (p_ahead - p_real) * c`.
//!
//! So the accounts of real time are those without the stage, and each position adds the difference
//! of both prices for its energy. Positions sum to zero, and so do these lines, whatever the
//! prices are. Imbalance is metered against `n`, the sum of both trades.
//!
//! Not responsible for when the gate of the stage closes, nor for what agents expect.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::auction::{Auction, AuctionError};
use crate::clearing::Clearing;
use crate::interval::Interval;
use crate::order::AgentId;
use crate::quantity::{Money, MwhTotal, Price};
use crate::settlement::{Account, Item, Line, SettlementError};

/// Number of the day-ahead product of interval 0. Products have numbers of their own, so that the
/// records of both stages differ; no run has as many intervals.
pub const PRODUCTS_FROM: u64 = 1 << 32;

/// The rules of the stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AheadRules {
    /// Name of the mechanism, as [`Auction::by_name`] takes it.
    pub mechanism: String,
}

/// The day-ahead product of an interval.
#[must_use]
pub fn product(interval: Interval) -> Interval {
    Interval {
        index: interval.index.saturating_add(PRODUCTS_FROM),
        ..interval
    }
}

/// The interval that a number of a record means, and whether it is that of a day-ahead product.
#[must_use]
pub fn interval_of(number: u64) -> (u64, bool) {
    match number.checked_sub(PRODUCTS_FROM) {
        Some(index) => (index, true),
        None => (number, false),
    }
}

/// The stage of a venue.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) auction: Auction,
    /// What was traded of intervals that are not settled yet.
    traded: BTreeMap<u64, Clearing>,
}

impl Ahead {
    pub(super) fn new(
        rules: &AheadRules,
        indivisible: BTreeSet<AgentId>,
    ) -> Result<Self, AuctionError> {
        Ok(Self {
            auction: Auction::by_name(&rules.mechanism, indivisible)?,
            traded: BTreeMap::new(),
        })
    }

    /// Takes what was traded of a product.
    pub(super) fn take(&mut self, clearing: &Clearing) {
        let (index, _) = interval_of(clearing.interval.index);
        self.traded.insert(index, clearing.clone());
    }

    /// What was traded ahead of an interval, if anything.
    pub(super) fn of(&self, index: u64) -> Option<&Clearing> {
        self.traded.get(&index)
    }

    /// Forgets an interval that is settled, and those that never were.
    pub(super) fn forget(&mut self, index: u64) {
        self.traded.retain(|other, _| *other > index);
    }
}

/// What positions are settled by when a unit is worth `real_time` in real time.
pub(super) fn lines(
    interval: u64,
    traded: &Clearing,
    real_time: Price,
) -> Result<Vec<Line>, SettlementError> {
    let mut positions: BTreeMap<&AgentId, (i128, Option<i128>)> = BTreeMap::new();
    for fill in &traded.fills {
        let entry = positions.entry(&fill.agent).or_insert((0, Some(0)));
        entry.0 += i128::from(fill.quantity.0) * i128::from(fill.side.injection_sign());
        entry.1 = entry.1.and_then(|paid| paid.checked_add(fill.payment.0));
    }
    let mut lines = Vec::with_capacity(positions.len() + 1);
    for (agent, (injected, paid)) in positions {
        let account = Account::Participant(agent.clone());
        let back = injected.checked_mul(i128::from(real_time.0));
        // What it paid ahead, and what its position would cost in real time.
        let amount = paid
            .zip(back)
            .and_then(|(paid, back)| paid.checked_add(back));
        let Some(amount) = amount else {
            return Err(SettlementError::Overflow { interval, account });
        };
        lines.push(Line {
            account,
            item: Item::Ahead,
            quantity: MwhTotal(injected),
            price: None,
            amount: Money(amount),
        });
    }
    if traded.operator != Money(0) {
        lines.push(Line {
            account: Account::Operator,
            item: Item::Ahead,
            quantity: MwhTotal(0),
            price: None,
            amount: -traded.operator,
        });
    }
    Ok(lines)
}
