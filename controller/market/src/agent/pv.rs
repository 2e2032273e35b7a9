//! Photovoltaics: a price taker that sells what the sun gives.
//!
//! Not responsible for its night consumption; a load that is always there is a
//! must-run load and is declared as one.

use serde::{Deserialize, Serialize};

use super::{Agent, MarketView};
use crate::interval::Interval;
use crate::order::{AgentId, Order};
use crate::quantity::{Mwh, Price};

/// A photovoltaic plant. It offers its forecast at zero: below that, curtailing
/// is cheaper than injecting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pv {
    /// Who orders.
    pub agent: AgentId,
}

impl Agent for Pv {
    fn orders(&mut self, view: &MarketView, _: &Interval) -> Vec<Order> {
        let forecast = view.outlook(&self.agent).forecast;
        let offer = |Mwh(energy)| view.offer(&self.agent, Price(0), Mwh(energy.max(0)));
        forecast.and_then(offer).into_iter().collect()
    }
}
