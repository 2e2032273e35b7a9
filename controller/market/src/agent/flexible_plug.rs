//! A load that runs when energy is cheap enough for it.

use serde::{Deserialize, Serialize};

use super::{Agent, MarketView};
use crate::interval::Interval;
use crate::order::{AgentId, Order};
use crate::quantity::{Mwh, Price};

/// A switchable load. It bids its forecast withdrawal at its willingness to pay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlexiblePlug {
    /// Who orders.
    pub agent: AgentId,
    /// The most it pays.
    pub willingness: Price,
}

impl Agent for FlexiblePlug {
    fn orders(&mut self, view: &MarketView, _: &Interval) -> Vec<Order> {
        let forecast = view.outlook(&self.agent).forecast;
        let bid = |Mwh(energy)| {
            view.bid(
                &self.agent,
                self.willingness,
                Mwh(energy.min(0).saturating_neg()),
            )
        };
        forecast.and_then(bid).into_iter().collect()
    }
}
