//! A load that uses less the dearer it is: discomfort grows with the square of what it
//! goes without.
//!
//! With discomfort `a/2·(d − d*)²` the last unit is worth `a·(d* − d)`: the choke price at
//! nothing, and zero at what it would like. It bids that line in steps.

use serde::{Deserialize, Serialize};

use super::{Agent, MarketView};
use crate::interval::Interval;
use crate::order::{AgentId, Order, Side, Step};
use crate::quantity::{Mwh, Price};

/// Most steps of the line, if the book takes as many.
/// Chosen: the line is met to a sixteenth of the choke price.
const STEPS_MAX: usize = 8;

/// The load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuadraticLoad {
    /// Who orders.
    pub agent: AgentId,
    /// Price at which it does without everything, positive.
    pub choke: Price,
}

impl Agent for QuadraticLoad {
    fn orders(&mut self, view: &MarketView, _: &Interval) -> Vec<Order> {
        let Some(Mwh(forecast)) = view.outlook(&self.agent).forecast else {
            return Vec::new();
        };
        let wanted = i128::from(forecast.min(0).saturating_neg());
        let count = STEPS_MAX.min(view.rules.steps_max) as i128;
        let mut steps: Vec<Step> = Vec::new();
        for step in 0..count {
            // Whole units whose sum is what it would like.
            let quantity = wanted * (step + 1) / count - wanted * step / count;
            // The value in the middle of the step.
            let value = i128::from(self.choke.0) * (2 * (count - step) - 1) / (2 * count);
            let price = view.rules.bid_at(Price(value as i64));
            let (Some(price), true) = (price, quantity > 0) else {
                continue;
            };
            // At most what was forecast.
            let quantity = quantity.min(i64::MAX.into()) as i64;
            match steps.last_mut() {
                Some(last) if last.price == price => last.quantity.0 += quantity,
                _ => steps.push(Step {
                    price,
                    quantity: Mwh(quantity),
                }),
            }
        }
        if steps.is_empty() {
            return Vec::new();
        }
        vec![Order {
            agent: self.agent.clone(),
            side: Side::Buy,
            steps,
            rank: 0,
        }]
    }
}
