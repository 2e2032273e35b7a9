//! A trader that learns its margin from what the market pays (zero intelligence plus,
//! Cliff, 1997).
//!
//! It asks its limit plus a margin, or bids it less the margin. When it sees that more
//! could be had the margin rises, when it was priced out it falls, each time a part of
//! the way to a target near the last price, with some inertia. The margin is an amount
//! and not a share of the limit, because limits of energy may be zero or negative.

use serde::{Deserialize, Serialize};

use super::zero_intelligence::draws;
use super::{Agent, MarketView};
use crate::clearing::Clearing;
use crate::interval::Interval;
use crate::order::{AgentId, Order, Side};
use crate::quantity::{Mwh, PPM, Price};

/// Highest learning rate and inertia, and the lowest rate, in ppm. Source: Cliff, 1997:
/// the rate is drawn from 0.1 to 0.5, the inertia from 0 to 0.1.
const RATE_PPM: (i64, i64) = (100_000, 500_000);
const INERTIA_PPM: (i64, i64) = (0, 100_000);

/// A target lies up to this part beyond the last price, in ppm. Source: Cliff, 1997.
const BEYOND_PPM: i64 = 50_000;

/// How the trader is declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zip {
    /// Who orders.
    pub agent: AgentId,
    /// What the energy is worth to it, or costs it.
    pub limit: Price,
    /// Margin with which it begins, not negative.
    pub margin: Price,
    /// Seed of its draws.
    pub seed: u64,
    /// What it has learned; nothing at first.
    #[serde(skip)]
    learned: Learned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Learned {
    /// Change of the margin so far, in mc/kWh.
    margin: i64,
    /// The last change, which goes on a little.
    momentum: i64,
    /// The side it last ordered on.
    side: Option<Side>,
}

impl Zip {
    /// A trader that has learned nothing yet.
    #[must_use]
    pub fn new(agent: AgentId, limit: Price, margin: Price, seed: u64) -> Self {
        Self {
            agent,
            limit,
            margin,
            seed,
            learned: Learned::default(),
        }
    }

    /// The margin now, never negative.
    #[must_use]
    pub fn margin(&self) -> Price {
        Price(self.margin.0.saturating_add(self.learned.margin).max(0))
    }

    /// What it asks on that side.
    #[must_use]
    pub fn price(&self, side: Side) -> Price {
        let margin = self.margin().0;
        Price(match side {
            Side::Buy => self.limit.0.saturating_sub(margin),
            Side::Sell => self.limit.0.saturating_add(margin),
        })
    }
}

impl Agent for Zip {
    fn orders(&mut self, view: &MarketView, _: &Interval) -> Vec<Order> {
        let Some(Mwh(forecast)) = view.outlook(&self.agent).forecast else {
            return Vec::new();
        };
        let side = if forecast < 0 { Side::Buy } else { Side::Sell };
        self.learned.side = Some(side);
        let energy = Mwh(forecast.saturating_abs());
        let order = match side {
            Side::Buy => view.bid(&self.agent, self.price(side), energy),
            Side::Sell => view.offer(&self.agent, self.price(side), energy),
        };
        order.into_iter().collect()
    }

    fn heed(&mut self, clearing: &Clearing) {
        let Some(side) = self.learned.side else {
            return;
        };
        let own = self.price(side).0;
        // Without a trade, what the other side would have taken.
        let (seen, traded) = match (clearing.reference(), clearing.indicative, side) {
            (Some(price), ..) => (price.0, true),
            (None, (_, Some(offer)), Side::Buy) => (offer.0, false),
            (None, (Some(bid), _), Side::Sell) => (bid.0, false),
            _ => return,
        };
        let mut chance = draws(self.seed, &self.agent, &clearing.interval);
        let rate = chance.within(RATE_PPM.0, RATE_PPM.1);
        let inertia = chance.within(INERTIA_PPM.0, INERTIA_PPM.1);
        let beyond = i128::from(chance.within(0, BEYOND_PPM)) * i128::from(seen).abs()
            / i128::from(PPM)
            + i128::from(chance.within(0, 1));
        let outward = if side == Side::Sell { 1 } else { -1 };
        // It could have had more when its price was within what was paid.
        let within = i128::from(seen - own).signum() * outward >= 0;
        let more = traded && within;
        let target = i128::from(seen)
            + if more {
                outward * beyond
            } else {
                -outward * beyond
            };
        let apart = (target - i128::from(own)) * outward;
        let whole = i128::from(PPM);
        let moved = (i128::from(self.learned.momentum) * i128::from(inertia)
            + apart * i128::from(rate) * i128::from(i64::from(PPM) - inertia) / whole)
            / whole;
        // Two prices and a share of them.
        let moved = i64::try_from(moved).unwrap_or(0);
        self.learned.momentum = moved;
        let margin = self.margin().0.saturating_add(moved).max(0);
        self.learned.margin = margin.saturating_sub(self.margin.0);
    }
}
