//! Who takes any price that is better than doing without.
//!
//! A plant that can curtail sells from what curtailing costs or saves; a load that can
//! do without buys up to what that is worth.

use serde::{Deserialize, Serialize};

use super::{Agent, MarketView};
use crate::interval::Interval;
use crate::order::{AgentId, Order};
use crate::quantity::{Mwh, Price};

/// Sells a positive forecast and buys a negative one, each at one price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceTaker {
    /// Who orders.
    pub agent: AgentId,
    /// The least it takes for a unit; below zero when curtailing costs it something.
    pub sell_from: Price,
    /// The most it pays for a unit.
    pub buy_up_to: Price,
}

impl Agent for PriceTaker {
    fn orders(&mut self, view: &MarketView, _: &Interval) -> Vec<Order> {
        let order = view
            .outlook(&self.agent)
            .forecast
            .and_then(|Mwh(forecast)| {
                if forecast < 0 {
                    view.bid(&self.agent, self.buy_up_to, Mwh(forecast.saturating_neg()))
                } else {
                    view.offer(&self.agent, self.sell_from, Mwh(forecast))
                }
            });
        order.into_iter().collect()
    }
}
