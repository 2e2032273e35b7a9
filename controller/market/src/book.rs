//! Which orders are admitted to one interval, in canonical order.
//!
//! A book is a function of the *set* of orders: whatever order they arrived in,
//! the same book results. That is what lets every replica clear the same way.
//!
//! Not responsible for signatures, collateral or the gate: the caller has
//! already dropped what came late or unsigned.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::fault::Coded;
use crate::interval::Interval;
use crate::order::{AgentId, Order, Side, Step};
use crate::quantity::{MwhTotal, Price};

/// Largest magnitude of any price, in mc/kWh.
///
/// Together with [`SIDE_TOTAL_MAX`] it proves that money fits 128 bits: a side is
/// worth less than 2^62 · 2^64 = 2^126 u, and the difference of two sides less
/// than 2^127 u.
pub const PRICE_MAGNITUDE_MAX: i64 = 1 << 62;

/// Largest energy admitted to one side, in mWh.
///
/// It proves that the pro-rata product of one order (below 2^63) and the rest to
/// share (at most 2^64 − 1) stays below 2^127.
pub const SIDE_TOTAL_MAX: i128 = u64::MAX as i128;

/// Steps of one curve when the rules do not say otherwise.
/// Chosen: a device with four operating points needs four; ten leaves room and
/// still bounds the work one agent can cause.
pub const STEPS_MAX_DEFAULT: usize = 10;

/// The most an agent can physically exchange in the interval, both positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capability {
    /// Most energy it can inject, in mWh.
    pub inject_max: MwhTotal,
    /// Most energy it can withdraw, in mWh.
    pub withdraw_max: MwhTotal,
}

/// What an order must satisfy to be admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BookRules {
    /// Lowest admissible price, a multiple of the tick.
    pub floor: Price,
    /// Highest admissible price, a multiple of the tick.
    pub cap: Price,
    /// Price step in mc/kWh, positive; prices are its multiples.
    pub tick: i64,
    /// Most steps of one curve.
    pub steps_max: usize,
    /// What each agent can deliver. `None` states that nobody checks;
    /// with a table, an agent missing from it is refused.
    pub capabilities: Option<BTreeMap<AgentId, Capability>>,
}

impl BookRules {
    /// Rules without a capability table and with the default curve length.
    #[must_use]
    pub fn bounded(floor: Price, cap: Price, tick: i64) -> Self {
        Self {
            floor,
            cap,
            tick,
            steps_max: STEPS_MAX_DEFAULT,
            capabilities: None,
        }
    }

    /// The widest rules there are: any price of admissible magnitude, tick 1.
    #[must_use]
    pub fn unbounded() -> Self {
        Self::bounded(Price(-PRICE_MAGNITUDE_MAX), Price(PRICE_MAGNITUDE_MAX), 1)
    }

    /// The highest admissible bid not above `limit`; `None` when even the floor
    /// is above it, so that rounding never makes a buyer pay over its limit.
    #[must_use]
    pub fn bid_at(&self, limit: Price) -> Option<Price> {
        if limit < self.floor {
            return None;
        }
        // The floor is a multiple of the tick, so rounding down stays above it.
        Some(Price(
            limit.min(self.cap).0.div_euclid(self.tick) * self.tick,
        ))
    }

    /// The lowest admissible offer not below `limit`; `None` when even the cap
    /// is below it, so that rounding never makes a seller sell under its limit.
    #[must_use]
    pub fn offer_at(&self, limit: Price) -> Option<Price> {
        if limit > self.cap {
            return None;
        }
        // Rounding up is rounding the negative down, and stays below the cap.
        Some(Price(
            -((-limit.max(self.floor).0).div_euclid(self.tick) * self.tick),
        ))
    }

    /// Whether the rules themselves make sense.
    ///
    /// # Errors
    /// [`BookError::Rules`] with the reason.
    pub fn check(&self) -> Result<(), BookError> {
        let refuse = |reason: &str| {
            Err(BookError::Rules {
                reason: reason.into(),
            })
        };
        let magnitude = self.floor.0.unsigned_abs().max(self.cap.0.unsigned_abs());
        if self.tick <= 0 {
            refuse("the tick is not positive")
        } else if self.floor > self.cap {
            refuse("the floor is above the cap")
        } else if self.floor.0 % self.tick != 0 || self.cap.0 % self.tick != 0 {
            refuse("floor and cap are not multiples of the tick")
        } else if magnitude > PRICE_MAGNITUDE_MAX.unsigned_abs() {
            refuse("a bound exceeds 2^62 mc/kWh")
        } else if self.steps_max == 0 {
            refuse("a curve may have no step at all")
        } else {
            Ok(())
        }
    }
}

/// Why an order, or the rules, are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// The rules contradict themselves.
    #[error("the book's rules do not work: {reason}")]
    Rules {
        /// Which rule, in words.
        reason: String,
    },
    /// A price is outside the bounds or off the tick.
    #[error("{side} of `{agent}`: {price} is not a multiple of {tick} within [{floor}, {cap}]")]
    Price {
        /// Who ordered.
        agent: AgentId,
        /// Which side.
        side: Side,
        /// The refused price.
        price: Price,
        /// Tick in mc/kWh.
        tick: i64,
        /// Lowest admissible price.
        floor: Price,
        /// Highest admissible price.
        cap: Price,
    },
    /// A step orders nothing, or less.
    #[error("{side} of `{agent}`: step {step} orders {quantity_mwh} mWh")]
    Quantity {
        /// Who ordered.
        agent: AgentId,
        /// Which side.
        side: Side,
        /// Step, counted from 1.
        step: usize,
        /// The refused energy in mWh.
        quantity_mwh: i64,
    },
    /// A curve has too few or too many steps, or its prices do not run one way.
    #[error("{side} of `{agent}`: {reason}")]
    Curve {
        /// Who ordered.
        agent: AgentId,
        /// Which side.
        side: Side,
        /// What is wrong, in words.
        reason: String,
    },
    /// The agent has a curve on this side already.
    #[error("{side} of `{agent}`: a second curve on the same side")]
    Duplicate {
        /// Who ordered.
        agent: AgentId,
        /// Which side.
        side: Side,
    },
    /// More energy than the agent can exchange.
    #[error("{side} of `{agent}`: {ordered} exceeds its capability of {capability}")]
    Capability {
        /// Who ordered.
        agent: AgentId,
        /// Which side.
        side: Side,
        /// Energy of all steps.
        ordered: MwhTotal,
        /// What it can exchange in the interval.
        capability: MwhTotal,
    },
    /// A capability table exists and does not list the agent.
    #[error("{side} of `{agent}`: no capability is registered for it")]
    Unregistered {
        /// Who ordered.
        agent: AgentId,
        /// Which side.
        side: Side,
    },
    /// The side holds more energy than exact arithmetic allows.
    #[error("{side} of `{agent}`: the side would exceed 2^64 - 1 mWh")]
    SideTotal {
        /// Who ordered.
        agent: AgentId,
        /// Which side.
        side: Side,
    },
}

impl Coded for BookError {
    fn code(&self) -> &'static str {
        match self {
            Self::Rules { .. } => "M010",
            Self::Price { .. } => "M011",
            Self::Quantity { .. } => "M012",
            Self::Curve { .. } => "M013",
            Self::Duplicate { .. } => "M014",
            Self::Capability { .. } => "M015",
            Self::Unregistered { .. } => "M016",
            Self::SideTotal { .. } => "M017",
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Rules { .. } => "book rules".into(),
            Self::Price { agent, side, .. }
            | Self::Quantity { agent, side, .. }
            | Self::Curve { agent, side, .. }
            | Self::Duplicate { agent, side }
            | Self::Capability { agent, side, .. }
            | Self::Unregistered { agent, side }
            | Self::SideTotal { agent, side } => format!("{side} of `{agent}`"),
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Rules { .. } => "set floor <= cap, both multiples of a positive tick".to_string(),
            Self::Price {
                tick, floor, cap, ..
            } => {
                format!("move the price to a multiple of {tick} within [{floor}, {cap}]")
            }
            Self::Quantity { .. } => "order a positive energy, or leave the step out".into(),
            Self::Curve {
                side: Side::Buy, ..
            } => "let bid prices fall from step to step".into(),
            Self::Curve {
                side: Side::Sell, ..
            } => "let offer prices rise from step to step".into(),
            Self::Duplicate { .. } => {
                "give each agent one curve per side; put more prices into its steps".into()
            }
            Self::Capability { capability, .. } => format!("order at most {capability}"),
            Self::Unregistered { .. } => "register the agent's capability first".into(),
            Self::SideTotal { .. } => "split the market, or check the units of the orders".into(),
        }
    }
}

/// One step in the flat form in which the auction reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub price: i64,
    pub quantity: i64,
    /// Index of the order in the book.
    pub order: usize,
}

/// Price and energy of a step alone: what the price and the shares of an auction are
/// found from, in two thirds of the memory of an [`Entry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    pub price: i64,
    pub quantity: i64,
}

/// The admitted orders of one interval, bids before offers, each side by rank
/// and then by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    interval: Interval,
    rules: BookRules,
    orders: Vec<Order>,
    bids: Vec<Entry>,
    offers: Vec<Entry>,
    limits: [Vec<Limit>; 2],
}

impl Book {
    /// The book of the admissible orders, and why each other one is refused.
    ///
    /// # Errors
    /// [`BookError::Rules`] when no book can be kept under these rules.
    pub fn admit(
        interval: Interval,
        rules: &BookRules,
        mut orders: Vec<Order>,
    ) -> Result<(Self, Vec<BookError>), BookError> {
        rules.check()?;
        orders.sort_by(|a, b| {
            let steps = |order: &Order| -> Vec<(i64, i64)> {
                order
                    .steps
                    .iter()
                    .map(|step| (step.price.0, step.quantity.0))
                    .collect()
            };
            (a.side, a.rank, &a.agent)
                .cmp(&(b.side, b.rank, &b.agent))
                // Only a duplicate gets here; its steps decide which one stays.
                .then_with(|| steps(a).cmp(&steps(b)))
        });
        let mut refused = Vec::new();
        let mut seen = BTreeSet::new();
        let mut totals = [0_i128; 2];
        orders.retain(|order| {
            let total = match inspect(order, rules) {
                Ok(total) => total,
                Err(error) => {
                    refused.push(error);
                    return false;
                }
            };
            let (agent, side) = (order.agent.clone(), order.side);
            let side_total = &mut totals[usize::from(side == Side::Sell)];
            if *side_total + total.0 > SIDE_TOTAL_MAX {
                refused.push(BookError::SideTotal { agent, side });
                false
            } else if !seen.insert((agent.clone(), side)) {
                refused.push(BookError::Duplicate { agent, side });
                false
            } else {
                *side_total += total.0;
                true
            }
        });
        let entries = |side| {
            let numbered = orders
                .iter()
                .enumerate()
                .filter(|(_, order)| order.side == side);
            numbered
                .flat_map(|(index, order)| {
                    order.steps.iter().map(move |step| Entry {
                        price: step.price.0,
                        quantity: step.quantity.0,
                        order: index,
                    })
                })
                .collect()
        };
        let (bids, offers): (Vec<Entry>, Vec<Entry>) = (entries(Side::Buy), entries(Side::Sell));
        let limits = [&bids, &offers].map(|entries| {
            let limit = |entry: &Entry| Limit {
                price: entry.price,
                quantity: entry.quantity,
            };
            entries.iter().map(limit).collect()
        });
        Ok((
            Self {
                interval,
                rules: rules.clone(),
                orders,
                bids,
                offers,
                limits,
            },
            refused,
        ))
    }

    /// The book of all orders, or every reason why some are not admissible.
    ///
    /// # Errors
    /// Every refusal, in canonical order.
    pub fn new(
        interval: Interval,
        rules: &BookRules,
        orders: Vec<Order>,
    ) -> Result<Self, Vec<BookError>> {
        let (book, refused) = Self::admit(interval, rules, orders).map_err(|error| vec![error])?;
        if refused.is_empty() {
            Ok(book)
        } else {
            Err(refused)
        }
    }

    /// The interval the orders are for.
    #[must_use]
    pub fn interval(&self) -> Interval {
        self.interval
    }

    /// The rules the orders satisfy.
    #[must_use]
    pub fn rules(&self) -> &BookRules {
        &self.rules
    }

    /// The orders in canonical order: bids, then offers, each by rank and name.
    #[must_use]
    pub fn orders(&self) -> &[Order] {
        &self.orders
    }

    /// The entries of a side without their orders.
    pub(crate) fn limits(&self, side: Side) -> &[Limit] {
        let [bids, offers] = &self.limits;
        match side {
            Side::Buy => bids,
            Side::Sell => offers,
        }
    }

    pub(crate) fn entries(&self, side: Side) -> &[Entry] {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.offers,
        }
    }
}

/// Everything that can be said about one order alone; its energy if admissible.
fn inspect(order: &Order, rules: &BookRules) -> Result<MwhTotal, BookError> {
    let (agent, side) = (order.agent.clone(), order.side);
    let curve = |reason: String| BookError::Curve {
        agent: agent.clone(),
        side,
        reason,
    };
    if order.steps.is_empty() {
        return Err(curve("the curve has no step".into()));
    }
    if order.steps.len() > rules.steps_max {
        let steps = order.steps.len();
        return Err(curve(format!(
            "{steps} steps, {} are admissible",
            rules.steps_max
        )));
    }
    for (index, step) in order.steps.iter().enumerate() {
        let Step { price, quantity } = *step;
        if price < rules.floor || price > rules.cap || price.0 % rules.tick != 0 {
            let BookRules {
                tick, floor, cap, ..
            } = *rules;
            return Err(BookError::Price {
                agent,
                side,
                price,
                tick,
                floor,
                cap,
            });
        }
        if quantity.0 <= 0 {
            let (step, quantity_mwh) = (index + 1, quantity.0);
            return Err(BookError::Quantity {
                agent,
                side,
                step,
                quantity_mwh,
            });
        }
    }
    if let Some(pair) = order
        .steps
        .windows(2)
        .find(|w| !side.prefers(w[0].price, w[1].price))
    {
        return Err(curve(format!(
            "{} is followed by {}",
            pair[0].price, pair[1].price
        )));
    }
    let ordered: MwhTotal = order.steps.iter().map(|step| step.quantity.into()).sum();
    if ordered.0 > i128::from(i64::MAX) {
        return Err(curve(format!(
            "the steps add up to {ordered}, which exceeds 64 bits"
        )));
    }
    if let Some(table) = &rules.capabilities {
        let Some(listed) = table.get(&agent) else {
            return Err(BookError::Unregistered { agent, side });
        };
        let capability = match side {
            Side::Buy => listed.withdraw_max,
            Side::Sell => listed.inject_max,
        };
        if ordered > capability {
            return Err(BookError::Capability {
                agent,
                side,
                ordered,
                capability,
            });
        }
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests;
