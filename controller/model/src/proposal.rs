//! What a control function wishes, before anything is decided.

use quantities::{ActivePower, Bounds, ReactivePower};
use serde::{Deserialize, Serialize};

use crate::{DeviceIx, Setpoint};

/// Who asked. The order is the priority: the first wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// Bring the bench to rest.
    Safety,
    /// Shed loads so that an island survives.
    LoadShedding,
    /// Open the coupling breaker, for a wanted island or a lost utility.
    Separating,
    /// Bring up a dead bus.
    BlackStart,
    /// Hand the part of an island's former to another unit.
    HandOver,
    /// Answer a frequency deviation.
    FrequencyDroop,
    /// Keep an island in balance.
    IslandBalance,
    /// Bring the frequency of an island that a set forms alone back to nominal.
    SecondaryFrequency,
    /// Match the island to the utility and close the breaker.
    Synchronising,
    /// A person or a scenario.
    Operator,
    /// Deliver the frequency services that were sold.
    ServiceDelivery,
    /// Keep charge and power back for what may come.
    Reserve,
    /// Keep the exchange inside what was agreed with the utility.
    ExchangeContract,
    /// Bring the voltage of an island back to nominal.
    VoltageSupport,
    /// Support the voltage at the point of common coupling, as was sold.
    PccVoltage,
    /// Keep the power factor or the reactive power at the point of common coupling.
    ReactiveExchange,
    /// Hold the exchange at the point of common coupling.
    PccTracking,
    /// Follow what the market decided.
    MarketSchedule,
    /// Nobody asks for anything: come to rest.
    Idle,
}

impl Function {
    /// The name in telemetry, ledger and page.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Safety => "safety",
            Self::LoadShedding => "load_shedding",
            Self::Separating => "separating",
            Self::BlackStart => "black_start",
            Self::HandOver => "hand_over",
            Self::FrequencyDroop => "frequency_droop",
            Self::IslandBalance => "island_balance",
            Self::SecondaryFrequency => "secondary_frequency",
            Self::Synchronising => "synchronising",
            Self::Operator => "operator",
            Self::ExchangeContract => "exchange_contract",
            Self::ServiceDelivery => "service_delivery",
            Self::Reserve => "reserve",
            Self::VoltageSupport => "voltage_support",
            Self::PccVoltage => "pcc_voltage",
            Self::ReactiveExchange => "reactive_exchange",
            Self::PccTracking => "pcc_tracking",
            Self::MarketSchedule => "market_schedule",
            Self::Idle => "idle",
        }
    }
}

/// Devices that act as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// All energy storage together.
    Storage,
    /// All photovoltaic inverters together.
    Pv,
}

/// What a proposal is about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The total active power of a group; `None` narrows the bounds and wishes nothing.
    Group {
        /// Which group.
        group: Group,
        /// Total power wished for.
        wish: Option<ActivePower>,
        /// Bounds that lower priorities have to respect.
        bounds: Bounds<ActivePower>,
    },
    /// The total reactive power of a group.
    Reactive {
        /// Which group.
        group: Group,
        /// Total reactive power wished for.
        wish: ReactivePower,
    },
    /// One device directly.
    Device {
        /// Which device.
        device: DeviceIx,
        /// What it shall do.
        setpoint: Setpoint,
    },
}

/// What a control function wishes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Who asks.
    pub function: Function,
    /// What for.
    pub target: Target,
    /// Why, in a few words with numbers and units, for the dispatch record.
    pub why: String,
}
