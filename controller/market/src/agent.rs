//! Market participants that post orders, one file each.
//!
//! Every participant is declared as data and decides from what the view shows.
//! What the view does not show is unknown, and nobody orders on the unknown.
//!
//! Not responsible for rank: orders leave here at rank 0 and whoever sequences
//! them assigns the canonical one.

mod battery;
mod planned_battery;

mod climate;
mod electric_vehicle;
mod flexible_plug;
mod must_run;
mod quadratic_load;
mod room;

mod price_taker;
mod pv;
mod utility_grid;

mod zero_intelligence;
mod zip;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use battery::{Battery, BatteryError, Declaration, Thresholds};
pub use climate::{Climate, Comfort};
pub use electric_vehicle::{ElectricVehicle, VehicleDeclaration, VehicleError};
pub use flexible_plug::FlexiblePlug;
pub use must_run::MustRunLoad;
pub use planned_battery::PlannedBattery;
pub use price_taker::PriceTaker;
pub use pv::Pv;
pub use quadratic_load::QuadraticLoad;
pub use room::Room;
pub use utility_grid::UtilityGrid;
pub use zero_intelligence::ZeroIntelligence;
pub use zip::Zip;

use crate::book::BookRules;
use crate::clearing::Clearing;
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
    /// What a unit that an island cannot serve is worth; the cap if nobody says.
    pub lost_load: Option<Price>,
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

    /// Takes in what an interval came to; who does not learn does nothing.
    fn heed(&mut self, clearing: &Clearing) {
        let _ = clearing;
    }
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
    /// Takes any price that is better than doing without.
    PriceTaker(PriceTaker),
    /// Storage that plans over forecast prices.
    PlannedBattery(PlannedBattery),
    /// A vehicle that must be full by its departure.
    ElectricVehicle(ElectricVehicle),
    /// Heating or cooling that pays by the temperature of its room.
    Climate(Climate),
    /// A load that uses less the dearer it is.
    QuadraticLoad(QuadraticLoad),
    /// A trader that draws its prices.
    ZeroIntelligence(ZeroIntelligence),
    /// A trader that learns its margin.
    Zip(Zip),
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
            Self::PriceTaker(it) => &it.agent,
            Self::PlannedBattery(it) => it.agent(),
            Self::ElectricVehicle(it) => it.agent(),
            Self::Climate(it) => &it.agent,
            Self::QuadraticLoad(it) => &it.agent,
            Self::ZeroIntelligence(it) => &it.agent,
            Self::Zip(it) => &it.agent,
        }
    }

    /// The participant as what it does.
    fn acting(&mut self) -> &mut dyn Agent {
        match self {
            Self::Pv(it) => it,
            Self::MustRun(it) => it,
            Self::FlexiblePlug(it) => it,
            Self::Battery(it) => it,
            Self::UtilityGrid(it) => it,
            Self::PriceTaker(it) => it,
            Self::PlannedBattery(it) => it,
            Self::ElectricVehicle(it) => it,
            Self::Climate(it) => it,
            Self::QuadraticLoad(it) => it,
            Self::ZeroIntelligence(it) => it,
            Self::Zip(it) => it,
        }
    }
}

impl Agent for Participant {
    fn orders(&mut self, view: &MarketView, interval: &Interval) -> Vec<Order> {
        self.acting().orders(view, interval)
    }

    fn heed(&mut self, clearing: &Clearing) {
        self.acting().heed(clearing);
    }
}

#[cfg(test)]
mod tests;
