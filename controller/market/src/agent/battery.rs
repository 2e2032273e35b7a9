//! Storage: buys below one threshold, sells above another.
//!
//! The rule, whole: between the lower and the upper limit of its state of charge
//! it offers to sell what lies above the lower limit plus the reserve and bids
//! for what fits below the upper limit minus the reserve, each bounded by its
//! power. So within the reserve of a limit it never moves closer to that limit,
//! and an energy sold is an energy it has. The gap between the thresholds is
//! what a round trip costs, so it never trades with itself.
//!
//! Not responsible for planning over several intervals.

use serde::{Deserialize, Serialize};

use super::{Agent, MarketView};
use crate::fault::Coded;
use crate::interval::Interval;
use crate::order::{AgentId, Order};
use crate::quantity::{Mwh, PPM, Price, energy_of_power_mwh};

/// Where the battery starts to buy and to sell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Thresholds {
    /// Stated outright.
    Fixed {
        /// The most it pays.
        buy_below: Price,
        /// The least it takes.
        sell_above: Price,
    },
    /// From the value of stored energy: it buys below `value · efficiency −
    /// degradation` and sells above `value / efficiency + degradation`.
    StoredValue {
        /// Value of one kilowatt-hour in the cells, not negative.
        value: Price,
    },
}

/// How a battery is declared; [`Battery`] is the checked form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// Who orders.
    pub agent: AgentId,
    /// Energy in the cells from 0 to 1000000 ppm, in mWh.
    pub capacity_mwh: Mwh,
    /// Most power it withdraws, in mW, not negative.
    pub charge_milliwatt_max: i64,
    /// Most power it injects, in mW, not negative.
    pub discharge_milliwatt_max: i64,
    /// Lower limit of its state of charge, in ppm.
    pub state_of_charge_ppm_min: u32,
    /// Upper limit of its state of charge, in ppm.
    pub state_of_charge_ppm_max: u32,
    /// Distance it keeps from either limit, in ppm.
    pub reserve_ppm: u32,
    /// Share of withdrawn energy that reaches the cells, in ppm.
    pub charge_efficiency_ppm: u32,
    /// Share of the cells' energy that reaches the bus, in ppm.
    pub discharge_efficiency_ppm: u32,
    /// Wear of one kilowatt-hour in one direction, not negative.
    pub degradation: Price,
    /// Where it starts to buy and to sell.
    pub thresholds: Thresholds,
}

/// A storage whose declaration has been checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Declaration", into = "Declaration")]
pub struct Battery {
    declared: Declaration,
    buy_below: Price,
    sell_above: Price,
}

/// Why a battery's declaration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("battery `{agent}`: {reason}")]
pub struct BatteryError {
    /// Whose declaration.
    pub agent: AgentId,
    /// What is wrong with it, in words.
    pub reason: String,
}

impl Coded for BatteryError {
    fn code(&self) -> &'static str {
        "M050"
    }
    fn place(&self) -> String {
        format!("battery `{}`", self.agent)
    }
    fn help(&self) -> String {
        "order the limits min + reserve <= max - reserve <= 1000000 ppm, use efficiencies of \
         1..=1000000 ppm, and leave at least twice the degradation between buying and selling"
            .into()
    }
}

impl Declaration {
    /// Prices at which it buys and sells, if they fit 64 bits.
    fn prices(&self) -> Option<(Price, Price)> {
        let whole = i128::from(PPM);
        match self.thresholds {
            Thresholds::Fixed {
                buy_below,
                sell_above,
            } => Some((buy_below, sell_above)),
            Thresholds::StoredValue { value } => {
                let (value, degradation) = (i128::from(value.0), i128::from(self.degradation.0));
                let charge = i128::from(self.charge_efficiency_ppm);
                let discharge = i128::from(self.discharge_efficiency_ppm);
                let buy = (value * charge).div_euclid(whole) - degradation;
                let sell = -((-value * whole).div_euclid(discharge)) + degradation;
                Some((
                    Price(i64::try_from(buy).ok()?),
                    Price(i64::try_from(sell).ok()?),
                ))
            }
        }
    }

    fn fault(&self) -> Option<&'static str> {
        let band = self.state_of_charge_ppm_min.checked_add(self.reserve_ppm)
            <= self.state_of_charge_ppm_max.checked_sub(self.reserve_ppm);
        let efficient = |ppm: u32| (1..=PPM).contains(&ppm);
        if self.capacity_mwh.0 <= 0 {
            Some("its capacity is not positive")
        } else if self.charge_milliwatt_max < 0 || self.discharge_milliwatt_max < 0 {
            Some("a power limit is negative")
        } else if self.state_of_charge_ppm_max > PPM
            || self
                .state_of_charge_ppm_max
                .checked_sub(self.reserve_ppm)
                .is_none()
            || self
                .state_of_charge_ppm_min
                .checked_add(self.reserve_ppm)
                .is_none()
            || !band
        {
            Some("no state of charge lies between its limits and reserves")
        } else if !efficient(self.charge_efficiency_ppm)
            || !efficient(self.discharge_efficiency_ppm)
        {
            Some("an efficiency is not within 1..=1000000 ppm")
        } else if self.degradation.0 < 0 {
            Some("its degradation is negative")
        } else if matches!(self.thresholds, Thresholds::StoredValue { value } if value.0 < 0) {
            Some("the value of stored energy is negative")
        } else {
            None
        }
    }
}

impl TryFrom<Declaration> for Battery {
    type Error = BatteryError;

    fn try_from(declared: Declaration) -> Result<Self, BatteryError> {
        let refuse = |reason: &str| {
            Err(BatteryError {
                agent: declared.agent.clone(),
                reason: reason.into(),
            })
        };
        if let Some(reason) = declared.fault() {
            return refuse(reason);
        }
        let Some((buy_below, sell_above)) = declared.prices() else {
            return refuse("its thresholds exceed 64 bits");
        };
        let gap = i128::from(sell_above.0) - i128::from(buy_below.0);
        if gap < 2 * i128::from(declared.degradation.0) || gap <= 0 {
            return refuse("the gap between buying and selling does not cover a round trip");
        }
        Ok(Self {
            declared,
            buy_below,
            sell_above,
        })
    }
}

impl From<Battery> for Declaration {
    fn from(battery: Battery) -> Self {
        battery.declared
    }
}

impl Battery {
    /// Who orders.
    #[must_use]
    pub fn agent(&self) -> &AgentId {
        &self.declared.agent
    }

    /// The most it pays and the least it takes.
    #[must_use]
    pub fn thresholds(&self) -> (Price, Price) {
        (self.buy_below, self.sell_above)
    }

    /// Energy at the terminals it may withdraw and inject from a state of charge
    /// within a span, in mWh and both rounded down.
    #[must_use]
    pub fn room(&self, state_of_charge_ppm: u32, span_ns: i64) -> (Mwh, Mwh) {
        let it = &self.declared;
        let (whole, now) = (i128::from(PPM), i128::from(state_of_charge_ppm));
        let capacity = i128::from(it.capacity_mwh.0);
        let low = i128::from(it.state_of_charge_ppm_min) + i128::from(it.reserve_ppm);
        let high = i128::from(it.state_of_charge_ppm_max) - i128::from(it.reserve_ppm);
        // Charging loses on the way in, so more than the room may be withdrawn;
        // discharging loses on the way out, so less than the content is injected.
        let withdraw = (high - now).max(0) * capacity / i128::from(it.charge_efficiency_ppm);
        let inject =
            (now - low).max(0) * capacity / whole * i128::from(it.discharge_efficiency_ppm) / whole;
        let within = |energy: i128, milliwatt: i64| {
            let energy = i64::try_from(energy).unwrap_or(i64::MAX);
            // A power whose energy exceeds 64 bits does not bind.
            Mwh(energy_of_power_mwh(milliwatt, span_ns).map_or(energy, |most| most.0.min(energy)))
        };
        (
            within(withdraw, it.charge_milliwatt_max),
            within(inject, it.discharge_milliwatt_max),
        )
    }
}

impl Agent for Battery {
    fn orders(&mut self, view: &MarketView, interval: &Interval) -> Vec<Order> {
        let Some(now) = view.outlook(self.agent()).state_of_charge_ppm else {
            return Vec::new();
        };
        let (withdraw, inject) = self.room(now, interval.dt_ns);
        let bid = view.bid(self.agent(), self.buy_below, withdraw);
        let offer = view.offer(self.agent(), self.sell_above, inject);
        bid.into_iter().chain(offer).collect()
    }
}
