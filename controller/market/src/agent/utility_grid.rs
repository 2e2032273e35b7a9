//! The utility grid: sells at import parity, buys at export parity.

use serde::{Deserialize, Serialize};

use super::{Agent, MarketView};
use crate::interval::Interval;
use crate::order::{AgentId, Order};
use crate::utility::{Coupling, Parity};

/// The grid behind the point of common coupling. Islanded, it posts nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UtilityGrid {
    /// Who orders.
    pub agent: AgentId,
    /// Prices across the coupling, from [`crate::utility::Tariff::parity`].
    pub parity: Parity,
}

impl Agent for UtilityGrid {
    fn orders(&mut self, view: &MarketView, _: &Interval) -> Vec<Order> {
        match view.coupling {
            Coupling::Islanded => Vec::new(),
            Coupling::Connected {
                import_max,
                export_max,
            } => {
                let bid = view.bid(&self.agent, self.parity.export, export_max);
                let offer = view.offer(&self.agent, self.parity.import, import_max);
                bid.into_iter().chain(offer).collect()
            }
        }
    }
}
