//! What is entered into an order book, at which prices, and what becomes of it.
//!
//! Not responsible for matching: that is [`super::ContinuousBook`].

use std::collections::BTreeSet;

use crate::fault::Coded;
use crate::order::Side;
use crate::quantity::{Mwh, Price};

/// Most price levels of a book.
/// Chosen: the bits of so many levels are three tiers of words, and their queues 4 MiB.
pub const LEVELS_MAX: usize = 1 << 18;

/// The admissible prices of a book, rising.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scale {
    /// Every multiple of a tick between two bounds.
    Ticks {
        /// The lowest price.
        floor: Price,
        /// Distance of two prices, positive, in mc/kWh.
        tick: i64,
        /// How many prices there are.
        levels: usize,
    },
    /// These, each once, rising.
    Listed(Vec<Price>),
}

impl Scale {
    /// Any prices, in any order, as a scale.
    #[must_use]
    pub fn of_prices(prices: impl IntoIterator<Item = Price>) -> Self {
        Self::Listed(
            prices
                .into_iter()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
        )
    }

    pub(super) fn levels(&self) -> usize {
        match self {
            Self::Ticks { levels, .. } => *levels,
            Self::Listed(prices) => prices.len(),
        }
    }

    pub(super) fn level(&self, price: Price) -> Option<usize> {
        match self {
            Self::Ticks {
                floor,
                tick,
                levels,
            } => {
                // In 64 bits: a division of 128 takes longer than the rest of an operation.
                let above = price.0.checked_sub(floor.0).filter(|above| *above >= 0)?;
                let level = above / *tick;
                let is_on_tick = level * *tick == above;
                usize::try_from(level)
                    .ok()
                    .filter(|level| is_on_tick && *level < *levels)
            }
            Self::Listed(prices) => prices.binary_search(&price).ok(),
        }
    }

    pub(super) fn price(&self, level: usize) -> Price {
        match self {
            // The levels were counted from the floor, so the product fits.
            Self::Ticks { floor, tick, .. } => Price(floor.0 + tick * level as i64),
            Self::Listed(prices) => prices[level],
        }
    }
}

/// How long an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Until the gate closes.
    Gate,
    /// Until an instant of market time, in nanoseconds, or the gate.
    Until(i64),
    /// What does not trade at once is cancelled.
    Immediate,
    /// All of it trades at once, or nothing.
    Whole,
}

/// What somebody wants to enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tender {
    /// The caller's number of the order.
    pub id: u32,
    /// The caller's number of who orders; nobody trades with itself.
    pub owner: u32,
    /// Bid or offer.
    pub side: Side,
    /// The limit.
    pub price: Price,
    /// How much, positive.
    pub quantity: Mwh,
    /// How long it stands.
    pub validity: Validity,
}

/// One trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execution {
    /// The order that rested.
    pub maker: u32,
    /// The order that came.
    pub taker: u32,
    /// How much.
    pub quantity: Mwh,
    /// The price of the order that rested.
    pub price: Price,
}

/// Where a resting order is found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// What became of a tender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// All of it traded.
    Filled,
    /// The rest stands.
    Rests {
        /// Where.
        ticket: Ticket,
        /// How much.
        left: Mwh,
    },
    /// The rest is cancelled: it was immediate, or it met an order of its own owner.
    Cancelled {
        /// How much.
        left: Mwh,
    },
    /// It had to trade whole and could not; the book is as before.
    Rejected,
}

/// Why a tender or a scale is refused; the book is as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TenderError {
    /// The scale has no level, too many, or no positive tick.
    #[error("a book needs 1 to {LEVELS_MAX} price levels and a positive tick, not {levels}")]
    Levels {
        /// How many it has.
        levels: usize,
    },
    /// The price is none of the scale.
    #[error("order {id}: {price} is no price of this book")]
    Price {
        /// Which order.
        id: u32,
        /// The price.
        price: Price,
    },
    /// The quantity is not positive.
    #[error("order {id}: {quantity} is no quantity")]
    Quantity {
        /// Which order.
        id: u32,
        /// The quantity.
        quantity: Mwh,
    },
    /// As many orders rest as can be numbered.
    #[error("order {id}: the book is full")]
    Full {
        /// Which order.
        id: u32,
    },
}

impl Coded for TenderError {
    fn code(&self) -> &'static str {
        match self {
            Self::Levels { .. } => "M110",
            Self::Price { .. } => "M111",
            Self::Quantity { .. } => "M112",
            Self::Full { .. } => "M113",
        }
    }
    fn place(&self) -> String {
        match self {
            Self::Levels { .. } => "price scale".into(),
            Self::Price { id, .. } | Self::Quantity { id, .. } | Self::Full { id } => {
                format!("order {id}")
            }
        }
    }
    fn help(&self) -> String {
        match self {
            Self::Levels { .. } => "use a larger tick, or bounds closer to each other".into(),
            Self::Price { .. } => "use a multiple of the tick within the bounds".into(),
            Self::Quantity { .. } => "order a positive energy".into(),
            Self::Full { .. } => "close the gate, or cancel orders".into(),
        }
    }
}
