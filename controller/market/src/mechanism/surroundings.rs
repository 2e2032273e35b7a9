//! What a mechanism may know besides the book.

use std::collections::BTreeSet;

use crate::book::Book;
use crate::order::{AgentId, Side};
use crate::quantity::Mwh;
use crate::utility::Parity;

/// What a mechanism may know besides the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// What the utility grid sells and buys at; who has none may not use a rule
    /// that needs one.
    pub parity: Option<Parity>,
    /// Most energy to import and to export.
    pub utility_max: (Mwh, Mwh),
    /// Seed of a rule that draws lots, see [`digest`].
    pub seed: u64,
    /// Orders that trade whole or not at all; `None` stands for all bids.
    pub indivisible: Option<BTreeSet<AgentId>>,
}

impl Surroundings {
    /// A book alone: no utility grid, lots drawn from the book itself.
    #[must_use]
    pub fn of(book: &Book) -> Self {
        Self {
            parity: None,
            utility_max: (Mwh(0), Mwh(0)),
            seed: digest(book),
            indivisible: None,
        }
    }
}

/// A number that every replica computes alike from the set of orders, and nobody
/// can foresee who does not know all of them. It is no cryptographic hash: a ledger
/// that has one takes that instead.
#[must_use]
pub fn digest(book: &Book) -> u64 {
    let mut state = book.interval().index;
    let mut mix = |word: u64| state = crate::chance::mix(state ^ word);
    for order in book.orders() {
        mix(u64::from(order.side == Side::Sell));
        order.agent.as_str().bytes().for_each(|b| mix(b.into()));
        for step in &order.steps {
            mix(step.price.0 as u64);
            mix(step.quantity.0 as u64);
        }
    }
    state
}
