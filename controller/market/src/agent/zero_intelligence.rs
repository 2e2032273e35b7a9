//! A trader without a mind: it asks any price, or any at which it does not lose.
//!
//! The baseline of every experiment (Gode and Sunder, 1993): what a market achieves with
//! these, it achieves by its rules. Each interval has its own draw from the seed, so a
//! replay asks the same.

use serde::{Deserialize, Serialize};

use super::{Agent, MarketView};
use crate::chance::Chance;
use crate::interval::Interval;
use crate::order::{AgentId, Order, Side};
use crate::quantity::{Mwh, Price};

/// Buys or sells its forecast at a drawn price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZeroIntelligence {
    /// Who orders.
    pub agent: AgentId,
    /// What the energy is worth to it, or costs it.
    pub limit: Price,
    /// Whether it never asks a price at which it would lose.
    pub constrained: bool,
    /// Seed of its draws; agents with different names draw different prices.
    pub seed: u64,
}

/// The draws of an agent in an interval.
pub(super) fn draws(seed: u64, agent: &AgentId, interval: &Interval) -> Chance {
    let named = agent.as_str().bytes().map(u64::from);
    let mixed = named.fold(seed, |state, byte| crate::chance::mix(state ^ byte));
    Chance::seeded(crate::chance::mix(mixed ^ interval.index))
}

impl ZeroIntelligence {
    /// The price it asks on that side.
    #[must_use]
    pub fn price(&self, side: Side, view: &MarketView, interval: &Interval) -> Price {
        let (floor, cap) = (view.rules.floor, view.rules.cap);
        let limit = self.limit.clamp(floor, cap);
        let (low, high) = match (self.constrained, side) {
            (false, _) => (floor, cap),
            (true, Side::Buy) => (floor, limit),
            (true, Side::Sell) => (limit, cap),
        };
        let drawn = draws(self.seed, &self.agent, interval).within(low.0, high.0);
        Price(drawn)
    }
}

impl Agent for ZeroIntelligence {
    fn orders(&mut self, view: &MarketView, interval: &Interval) -> Vec<Order> {
        let Some(Mwh(forecast)) = view.outlook(&self.agent).forecast else {
            return Vec::new();
        };
        let order = if forecast < 0 {
            let price = self.price(Side::Buy, view, interval);
            view.bid(&self.agent, price, Mwh(forecast.saturating_neg()))
        } else {
            let price = self.price(Side::Sell, view, interval);
            view.offer(&self.agent, price, Mwh(forecast))
        };
        order.into_iter().collect()
    }
}
