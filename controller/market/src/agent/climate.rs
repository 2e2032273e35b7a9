//! Heating or cooling that pays more the farther the room is from where it should be.
//!
//! `bid = mean + (T − T_set) · k · σ / |T_limit − T_set|` for cooling, mirrored for
//! heating: the inverse of the transactive controller of GridLAB-D, which moves the
//! setpoint by the price. Mean and deviation of the price are learned from clearings.

use serde::{Deserialize, Serialize};

use super::{Agent, MarketView};
use crate::clearing::Clearing;
use crate::interval::Interval;
use crate::order::{AgentId, Order};
use crate::quantity::{Mwh, PPM, Price, div_nearest, energy_of_power_mwh};

/// Weight of the last price in mean and deviation, in ppm.
/// Chosen: the last twenty prices make up most of it, a day of hours.
const MEMORY_PPM: i128 = 50_000;

/// How it is declared, with what it has learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Climate {
    /// Who orders.
    pub agent: AgentId,
    /// Power while it runs, in mW, positive.
    pub milliwatt: i64,
    /// Where the room should be, in millikelvin of any zero, as the sensor's.
    pub wanted_mk: i64,
    /// Where the room must not go, above the wanted one for cooling and below for heating.
    pub limit_mk: i64,
    /// Deviations of the price that the limit is worth, `k`, in ppm.
    pub reach_ppm: u32,
    /// Price to expect before any was seen.
    pub expected: Price,
    /// Deviation of the price to expect before any was seen, not negative.
    pub deviation: Price,
    /// What it has felt and learned.
    #[serde(skip)]
    known: Known,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Known {
    temperature_mk: Option<i64>,
    /// Mean and variance of prices, once one was seen.
    prices: Option<(i128, i128)>,
}

/// How it is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comfort {
    /// Where the room should be, in millikelvin.
    pub wanted_mk: i64,
    /// Where it must not go.
    pub limit_mk: i64,
    /// Deviations of the price that the limit is worth, in ppm.
    pub reach_ppm: u32,
    /// Price and deviation to expect before any was seen.
    pub expected: (Price, Price),
}

impl Climate {
    /// A load of this power, in milliwatts, that has felt nothing yet.
    #[must_use]
    pub fn new(agent: AgentId, milliwatt: i64, comfort: Comfort) -> Self {
        Self {
            agent,
            milliwatt,
            wanted_mk: comfort.wanted_mk,
            limit_mk: comfort.limit_mk,
            reach_ppm: comfort.reach_ppm,
            expected: comfort.expected.0,
            deviation: comfort.expected.1,
            known: Known::default(),
        }
    }

    /// Tells it the temperature of its room; `None` when nobody knows, then it is silent.
    pub fn feel(&mut self, temperature_mk: Option<i64>) {
        self.known.temperature_mk = temperature_mk;
    }

    fn mean_and_deviation(&self) -> (i128, i128) {
        match self.known.prices {
            Some((mean, variance)) => (mean, variance.isqrt()),
            None => (self.expected.0.into(), self.deviation.0.into()),
        }
    }

    /// What it bids at that temperature; `None` where it does not want to run at all.
    #[must_use]
    pub fn price(&self, temperature_mk: i64, cap: Price) -> Option<Price> {
        let band = i128::from(self.limit_mk) - i128::from(self.wanted_mk);
        let away = i128::from(temperature_mk) - i128::from(self.wanted_mk);
        let away = away * band.signum();
        let band = band.abs();
        if band == 0 || away <= -band {
            return None;
        }
        if away >= band {
            // The limit is reached: comfort is no question of price any more.
            return Some(cap);
        }
        let (mean, deviation) = self.mean_and_deviation();
        let reach = deviation * i128::from(self.reach_ppm) / i128::from(PPM);
        let price = mean + div_nearest(away * reach, band);
        Some(Price(price.clamp(i64::MIN.into(), cap.0.into()) as i64))
    }
}

impl Agent for Climate {
    fn orders(&mut self, view: &MarketView, interval: &Interval) -> Vec<Order> {
        let price = self
            .known
            .temperature_mk
            .and_then(|t| self.price(t, view.rules.cap));
        let energy = energy_of_power_mwh(self.milliwatt, interval.dt_ns);
        let order = price.zip(energy);
        order
            .and_then(|(price, energy)| view.bid(&self.agent, price, Mwh(energy.0)))
            .into_iter()
            .collect()
    }

    fn heed(&mut self, clearing: &Clearing) {
        let Some(price) = clearing.reference() else {
            return;
        };
        let price = i128::from(price.0);
        let (mean, variance) = self.known.prices.unwrap_or_else(|| {
            let deviation = i128::from(self.deviation.0);
            (self.expected.0.into(), deviation * deviation)
        });
        let whole = i128::from(PPM);
        let apart = price - mean;
        let mean = mean + div_nearest(apart * MEMORY_PPM, whole);
        let spread = (apart * apart).saturating_sub(variance);
        let variance = variance + div_nearest(spread.saturating_mul(MEMORY_PPM), whole);
        self.known.prices = Some((mean, variance.max(0)));
    }
}
