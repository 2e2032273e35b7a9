//! Who wants to trade how much at which price.
//!
//! Not responsible for admission: a [`crate::Book`] decides what is acceptable.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::quantity::{Mwh, MwhTotal, Price};

/// Name of a market participant. Cheap to copy, because every fill carries one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct AgentId(Arc<str>);

impl AgentId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for AgentId {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<&str> for AgentId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<AgentId> for String {
    fn from(id: AgentId) -> Self {
        id.0.as_ref().into()
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Side of the market. The order is the canonical one: bids come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// A bid: energy withdrawn from the bus.
    Buy,
    /// An offer: energy injected into the bus.
    Sell,
}

impl Side {
    /// +1 for an injection, −1 for a withdrawal.
    #[must_use]
    pub fn injection_sign(self) -> i64 {
        match self {
            Self::Buy => -1,
            Self::Sell => 1,
        }
    }

    /// Whether `a` trades before `b` on this side.
    #[must_use]
    pub fn prefers(self, a: Price, b: Price) -> bool {
        match self {
            Self::Buy => a > b,
            Self::Sell => a < b,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Buy => "bid",
            Self::Sell => "offer",
        })
    }
}

/// One step of a curve: a limit price and the energy tradable at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Limit price: a bid pays at most this, an offer receives at least this.
    pub price: Price,
    /// Energy of this step, positive on both sides.
    pub quantity: Mwh,
}

/// One agent's curve on one side for one interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Who orders.
    pub agent: AgentId,
    /// Bid or offer.
    pub side: Side,
    /// Steps, best price first: falling for a bid, rising for an offer.
    pub steps: Vec<Step>,
    /// Canonical precedence among equals, lowest first. It decides at most
    /// single milliwatt-hours; equal ranks fall back to the agent's name.
    pub rank: u64,
}

impl Order {
    /// An order of a single step, at rank 0.
    #[must_use]
    pub fn single(agent: AgentId, side: Side, price: Price, quantity: Mwh) -> Self {
        Self {
            agent,
            side,
            steps: vec![Step { price, quantity }],
            rank: 0,
        }
    }

    /// The part of it that is no more than this energy in all, cut where its prices are worst; `None` if none is.
    #[must_use]
    pub fn at_most(mut self, most: MwhTotal) -> Option<Self> {
        let MwhTotal(mut left) = most;
        self.steps.retain_mut(|step| {
            let quantity = i128::from(step.quantity.0).min(left);
            left -= quantity;
            // At most the step's own.
            step.quantity = Mwh(quantity as i64);
            quantity > 0
        });
        (!self.steps.is_empty()).then_some(self)
    }

    /// The same order at another rank.
    #[must_use]
    pub fn ranked(self, rank: u64) -> Self {
        Self { rank, ..self }
    }
}
