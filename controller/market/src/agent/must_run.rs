//! A load that must be served whatever the price, in an island up to the value of lost load.

use serde::{Deserialize, Serialize};

use super::{Agent, MarketView};
use crate::interval::Interval;
use crate::order::{AgentId, Order};
use crate::quantity::Mwh;
use crate::utility::Coupling;

/// A must-run load. It bids its forecast withdrawal at the cap; in an island, which has no more
/// than it has, at the value of lost load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MustRunLoad {
    /// Who orders.
    pub agent: AgentId,
}

impl Agent for MustRunLoad {
    fn orders(&mut self, view: &MarketView, _: &Interval) -> Vec<Order> {
        let forecast = view.outlook(&self.agent).forecast;
        let limit = match view.coupling {
            Coupling::Connected { .. } => view.rules.cap,
            Coupling::Islanded => view.lost_load.unwrap_or(view.rules.cap),
        };
        let bid = |Mwh(energy)| view.bid(&self.agent, limit, Mwh(energy.min(0).saturating_neg()));
        forecast.and_then(bid).into_iter().collect()
    }
}
