//! Storage that plans over forecast prices by dynamic programming.
//!
//! Backwards over the horizon, `V_t(e)` is the most that can still be earned with the
//! energy `e` in the cells: one step charges, holds or discharges as many levels as the
//! power allows. What one more level is worth now, `w`, is what it bids by:
//! `w · efficiency − wear` for charging and `w / efficiency + wear` for discharging, level
//! by level, so that the curve falls as the cells fill. Between buying and selling is at
//! least the wear of a round trip.
//!
//! Not responsible for the forecast: it is told.

use serde::{Deserialize, Serialize};

use super::battery::{Battery, Declaration};
use super::{Agent, MarketView};
use crate::interval::Interval;
use crate::order::{AgentId, Order, Side, Step};
use crate::quantity::{Mwh, PPM, Price, energy_of_power_mwh};

/// Levels of the cells. Chosen: a percent each, as the displays of batteries have.
pub const LEVELS: usize = 100;

/// A battery with a forecast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedBattery {
    /// The storage; its thresholds are used while there is no forecast.
    pub battery: Battery,
    /// What a unit in the cells is worth after the horizon.
    pub value_after: Price,
    /// Length of one step of the forecast, in nanoseconds.
    pub step_ns: i64,
    /// Prices to expect after the interval that is traded.
    #[serde(skip)]
    forecast: Option<Vec<Price>>,
}

/// What each level is worth and how much one holds.
struct Plan {
    /// Value of the energy from level `i` to `i + 1`, in u.
    worth: Vec<i128>,
    /// Energy of a level in the cells, in mWh.
    level: i128,
    /// Energy in the cells below the lowest level, in mWh.
    bottom: i128,
}

impl PlannedBattery {
    /// A battery without a forecast yet.
    #[must_use]
    pub fn new(battery: Battery, value_after: Price, step_ns: i64) -> Self {
        Self {
            battery,
            value_after,
            step_ns,
            forecast: None,
        }
    }

    /// Tells it the prices to expect after the interval that is traded next, one per
    /// step; `None` when nobody knows.
    pub fn expect(&mut self, prices: Option<Vec<Price>>) {
        self.forecast = prices;
    }

    /// Who orders.
    #[must_use]
    pub fn agent(&self) -> &AgentId {
        self.battery.agent()
    }

    /// The plan, unless a level is nothing or more than a step can move.
    fn plan(&self) -> Option<Plan> {
        let forecast = self.forecast.as_ref()?;
        let it: Declaration = self.battery.clone().into();
        let whole = i128::from(PPM);
        let capacity = i128::from(it.capacity_mwh.0);
        let bottom = capacity * i128::from(it.state_of_charge_ppm_min + it.reserve_ppm) / whole;
        let top = capacity * i128::from(it.state_of_charge_ppm_max - it.reserve_ppm) / whole;
        let level = (top - bottom) / LEVELS as i128;
        let (charge, discharge) = (
            i128::from(it.charge_efficiency_ppm),
            i128::from(it.discharge_efficiency_ppm),
        );
        let moved = |milliwatt: i64| energy_of_power_mwh(milliwatt, self.step_ns);
        let into = i128::from(moved(it.charge_milliwatt_max)?.0) * charge / whole;
        let out_of = i128::from(moved(it.discharge_milliwatt_max)?.0) * whole / discharge;
        if level == 0 {
            return None;
        }
        let (up, down) = (into / level, out_of / level);
        if up == 0 && down == 0 {
            return None;
        }
        let (bought, sold) = (level * whole / charge, level * discharge / whole);
        let wear = i128::from(it.degradation.0);
        let mut value: Vec<i128> = (0..=LEVELS as i128)
            .map(|i| i * level * i128::from(self.value_after.0))
            .collect();
        for price in forecast.iter().rev() {
            let price = i128::from(price.0);
            let (cost, earned) = ((price + wear) * bought, (price - wear) * sold);
            value = (0..=LEVELS as i128)
                .map(|from| {
                    let highest = (from + up).min(LEVELS as i128);
                    let lowest = (from - down).max(0);
                    let after = (lowest..=highest).map(|to| {
                        let now = match to - from {
                            rise if rise > 0 => -rise * cost,
                            fall => -fall * earned,
                        };
                        now + value[to as usize]
                    });
                    after.max().unwrap_or(value[from as usize])
                })
                .collect();
        }
        let worth = value.windows(2).map(|pair| pair[1] - pair[0]).collect();
        Some(Plan {
            worth,
            level,
            bottom,
        })
    }

    /// The curves of a plan from a state of charge.
    fn curves(&self, plan: &Plan, charge_ppm: u32, view: &MarketView, span_ns: i64) -> Vec<Order> {
        let it: Declaration = self.battery.clone().into();
        let whole = i128::from(PPM);
        let now = i128::from(it.capacity_mwh.0) * i128::from(charge_ppm) / whole;
        let place = ((now - plan.bottom).max(0) / plan.level).min(LEVELS as i128) as usize;
        let (withdraw, inject) = self.battery.room(charge_ppm, span_ns);
        let wear = i128::from(it.degradation.0);
        let price = |worth: i128| worth.div_euclid(plan.level);
        let charge = i128::from(it.charge_efficiency_ppm);
        let discharge = i128::from(it.discharge_efficiency_ppm);
        let bids = plan.worth[place.min(LEVELS - 1)..].iter().map(|&worth| {
            let limit = price(worth) * charge / whole - wear;
            (limit, plan.level * whole / charge)
        });
        let offers = plan.worth[..place].iter().rev().map(|&worth| {
            let limit = -(-price(worth) * whole).div_euclid(discharge) + wear;
            (limit, plan.level * discharge / whole)
        });
        let of = |side: Side, curve: Vec<(i128, i128)>, most: Mwh| {
            let steps = steps(side, &curve, most, view);
            (!steps.is_empty()).then(|| Order {
                agent: self.agent().clone(),
                side,
                steps,
                rank: 0,
            })
        };
        let bids: Vec<(i128, i128)> = bids.collect();
        // Where energy is a burden, burning it in a round trip would look like a gain; the
        // device cannot do both at once.
        let least = bids.first().map_or(i128::MIN, |&(limit, _)| {
            limit + i128::from(view.rules.tick) + 2 * wear
        });
        let offers = offers.map(|(limit, energy)| (limit.max(least), energy));
        let offer = of(Side::Sell, offers.collect(), inject);
        let bid = of(Side::Buy, bids, withdraw);
        bid.into_iter().chain(offer).collect()
    }
}

/// Admissible steps of a curve: prices that run one way, at most `most` in all; what
/// would be one step too many joins the last one at its price.
fn steps(side: Side, curve: &[(i128, i128)], most: Mwh, view: &MarketView) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut left = i128::from(most.0);
    for &(limit, energy) in curve {
        let energy = energy.min(left);
        let limit = Price(limit.clamp(i64::MIN.into(), i64::MAX.into()) as i64);
        let price = match side {
            Side::Buy => view.rules.bid_at(limit),
            Side::Sell => view.rules.offer_at(limit),
        };
        let (Some(price), true) = (price, energy > 0) else {
            break;
        };
        left -= energy;
        let full = steps.len() >= view.rules.steps_max;
        // At most the room, which fits.
        let energy = energy as i64;
        match steps.last_mut() {
            // Worth must not rise while the cells fill; where rounding lets it, it is level.
            Some(last) if !side.prefers(last.price, price) => last.quantity.0 += energy,
            // One step too many: no more is ordered, rather than at a better price.
            Some(_) if full => break,
            _ => steps.push(Step {
                price,
                quantity: Mwh(energy),
            }),
        }
    }
    steps
}

impl Agent for PlannedBattery {
    fn orders(&mut self, view: &MarketView, interval: &Interval) -> Vec<Order> {
        let Some(charge) = view.outlook(self.agent()).state_of_charge_ppm else {
            return Vec::new();
        };
        match self.plan() {
            Some(plan) => self.curves(&plan, charge, view, interval.dt_ns),
            None => self.battery.orders(view, interval),
        }
    }
}
