//! The day-ahead stage: a block of intervals is traded at once, before the first of them.
//!
//! Not responsible for when the gate of the stage closes, for what agents expect, nor for how a
//! position is settled.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::auction::{Auction, AuctionError};
use crate::interval::Interval;
use crate::order::AgentId;

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

/// The auction of the stage.
pub(super) fn auction(
    rules: &AheadRules,
    indivisible: BTreeSet<AgentId>,
) -> Result<Auction, AuctionError> {
    Auction::by_name(&rules.mechanism, indivisible)
}
