//! A load that must be served whatever the price.

use serde::{Deserialize, Serialize};

use super::{Agent, MarketView};
use crate::interval::Interval;
use crate::order::{AgentId, Order};
use crate::quantity::Mwh;

/// A must-run load. It bids its forecast withdrawal at the cap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MustRunLoad {
    /// Who orders.
    pub agent: AgentId,
}

impl Agent for MustRunLoad {
    fn orders(&mut self, view: &MarketView, _: &Interval) -> Vec<Order> {
        let forecast = view.outlook(&self.agent).forecast;
        let bid = |Mwh(energy)| {
            view.bid(
                &self.agent,
                view.rules.cap,
                Mwh(energy.min(0).saturating_neg()),
            )
        };
        forecast.and_then(bid).into_iter().collect()
    }
}
