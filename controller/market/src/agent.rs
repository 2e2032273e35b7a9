//! Market participants that post orders: price takers, one file each.
//!
//! Every participant is declared as data and decides from what the view shows.
//! What the view does not show is unknown, and nobody orders on the unknown.
//!
//! Not responsible for rank: orders leave here at rank 0 and whoever sequences
//! them assigns the canonical one.

mod battery;
mod flexible_plug;
mod must_run;
mod pv;
mod utility_grid;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use battery::{Battery, BatteryError, Declaration, Thresholds};
pub use flexible_plug::FlexiblePlug;
pub use must_run::MustRunLoad;
pub use pv::Pv;
pub use utility_grid::UtilityGrid;

use crate::book::BookRules;
use crate::interval::Interval;
use crate::order::{AgentId, Order, Side};
use crate::quantity::{Mwh, Price};
use crate::utility::Coupling;

/// What is known about one participant for the interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outlook {
    /// Expected energy, injection positive; `None` when nobody knows.
    pub forecast: Option<Mwh>,
    /// State of charge in parts per million; `None` when unknown or no storage.
    pub state_of_charge_ppm: Option<u32>,
}

/// What participants may know when they order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarketView {
    /// Price bounds and tick.
    pub rules: BookRules,
    /// State of the point of common coupling.
    pub coupling: Coupling,
    /// What is known about each participant.
    pub outlooks: BTreeMap<AgentId, Outlook>,
}

impl MarketView {
    /// What is known about `agent`; nothing, if the view does not list it.
    #[must_use]
    pub fn outlook(&self, agent: &AgentId) -> Outlook {
        self.outlooks.get(agent).copied().unwrap_or_default()
    }

    /// A bid no higher than `limit`, or none if bounds or energy do not allow one.
    fn bid(&self, agent: &AgentId, limit: Price, quantity: Mwh) -> Option<Order> {
        let price = self.rules.bid_at(limit)?;
        (quantity.0 > 0).then(|| Order::single(agent.clone(), Side::Buy, price, quantity))
    }

    /// An offer no lower than `limit`, or none if bounds or energy do not allow one.
    fn offer(&self, agent: &AgentId, limit: Price, quantity: Mwh) -> Option<Order> {
        let price = self.rules.offer_at(limit)?;
        (quantity.0 > 0).then(|| Order::single(agent.clone(), Side::Sell, price, quantity))
    }
}

/// Something that orders.
pub trait Agent {
    /// The orders for one interval; at most one per side.
    fn orders(&mut self, view: &MarketView, interval: &Interval) -> Vec<Order>;
}

/// Any of the built-in participants, as configuration declares them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Participant {
    /// Photovoltaics: sells its forecast at any price from zero up.
    Pv(Pv),
    /// A load that must be served: buys its forecast at the cap.
    MustRun(MustRunLoad),
    /// A load that waits for its price.
    FlexiblePlug(FlexiblePlug),
    /// Storage that buys low and sells high.
    Battery(Battery),
    /// The grid behind the point of common coupling.
    UtilityGrid(UtilityGrid),
}

impl Participant {
    /// Who orders.
    #[must_use]
    pub fn agent(&self) -> &AgentId {
        match self {
            Self::Pv(it) => &it.agent,
            Self::MustRun(it) => &it.agent,
            Self::FlexiblePlug(it) => &it.agent,
            Self::Battery(it) => it.agent(),
            Self::UtilityGrid(it) => &it.agent,
        }
    }
}

impl Agent for Participant {
    fn orders(&mut self, view: &MarketView, interval: &Interval) -> Vec<Order> {
        match self {
            Self::Pv(it) => it.orders(view, interval),
            Self::MustRun(it) => it.orders(view, interval),
            Self::FlexiblePlug(it) => it.orders(view, interval),
            Self::Battery(it) => it.orders(view, interval),
            Self::UtilityGrid(it) => it.orders(view, interval),
        }
    }
}

#[cfg(test)]
mod tests;
