//! The result of one auction, and the check that it is one.
//!
//! Every clearing is checked against its book before anybody sees it, in release
//! builds too: money sums to zero, both sides trade the same energy, nobody
//! trades more than ordered or on worse terms than ordered, and at a uniform
//! price nobody is left out who was strictly better than it.
//!
//! Not responsible for how the result was found: that is [`crate::mechanism`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::book::Book;
use crate::fault::Coded;
use crate::interval::Interval;
use crate::order::{AgentId, Order, Side};
use crate::quantity::{Money, Mwh, MwhTotal, Price, div_nearest};

/// What one agent trades on one side. An agent that trades nothing has no fill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// Who trades.
    pub agent: AgentId,
    /// Bid or offer.
    pub side: Side,
    /// Energy traded, positive on both sides.
    pub quantity: Mwh,
    /// What the agent pays; negative is received.
    pub payment: Money,
}

/// One pair of a mechanism that pairs bids with offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trade {
    /// Who buys.
    pub buyer: AgentId,
    /// Who sells.
    pub seller: AgentId,
    /// Energy of the trade, positive.
    pub quantity: Mwh,
    /// Price of the trade.
    pub price: Price,
}

/// The result of one auction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clearing {
    /// The interval traded.
    pub interval: Interval,
    /// Name of the mechanism, as [`crate::mechanism::by_name`] takes it.
    pub mechanism: String,
    /// Energy traded on each side.
    pub quantity: MwhTotal,
    /// The one price of all trades, if the mechanism has one and anything trades.
    pub price: Option<Price>,
    /// Lowest and highest price that support the allocation, if anything trades.
    pub competitive: Option<(Price, Price)>,
    /// Best bid and best offer, for information when nothing trades.
    pub indicative: (Option<Price>, Option<Price>),
    /// Who trades what, in the order of the book.
    pub fills: Vec<Fill>,
    /// The pairs, for a mechanism that pairs; empty otherwise.
    pub trades: Vec<Trade>,
    /// Value of the served bids minus cost of the used offers, as ordered.
    pub welfare: Money,
    /// What is left with the operator: a surplus if positive, a deficit if negative; zero
    /// for a mechanism that balances.
    pub operator: Money,
}

/// A clearing that is not one. It is a defect of the mechanism, or a record that
/// was changed; a book cannot cause it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClearError {
    /// Payments, less what the operator keeps, do not sum to zero, or the operator keeps or
    /// owes what its mechanism promises it never does.
    #[error("interval {interval}: payments sum to {sum} instead of zero")]
    NotBalanced {
        /// Interval index.
        interval: u64,
        /// The sum.
        sum: Money,
    },
    /// The sides trade different energies.
    #[error("interval {interval}: {bought} bought, {sold} sold, {stated} stated")]
    SidesDiffer {
        /// Interval index.
        interval: u64,
        /// Energy of all buying fills.
        bought: MwhTotal,
        /// Energy of all selling fills.
        sold: MwhTotal,
        /// Energy the clearing states.
        stated: MwhTotal,
    },
    /// A fill has no order, or more energy than ordered, or none.
    #[error("interval {interval}: {side} of `{agent}` trades {quantity}, which it did not order")]
    NotOrdered {
        /// Interval index.
        interval: u64,
        /// Who trades.
        agent: AgentId,
        /// Which side.
        side: Side,
        /// The traded energy.
        quantity: Mwh,
    },
    /// An agent is worse off than by not trading.
    #[error(
        "interval {interval}: {side} of `{agent}` pays {payment}, its orders are worth {worth}"
    )]
    NotRational {
        /// Interval index.
        interval: u64,
        /// Who trades.
        agent: AgentId,
        /// Which side.
        side: Side,
        /// What it pays.
        payment: Money,
        /// The most it offered to pay.
        worth: Money,
    },
    /// A rejected order is strictly better than the uniform price.
    #[error(
        "interval {interval}: {side} of `{agent}` at {limit} is cut although the price is {price}"
    )]
    Paradoxical {
        /// Interval index.
        interval: u64,
        /// Who is cut.
        agent: AgentId,
        /// Which side.
        side: Side,
        /// Limit of the cut step.
        limit: Price,
        /// The published price.
        price: Price,
    },
    /// A payment is not what the price, or the pairs, make it.
    #[error(
        "interval {interval}: {side} of `{agent}` pays {payment} for {quantity}, its prices say otherwise"
    )]
    Payment {
        /// Interval index.
        interval: u64,
        /// Who trades.
        agent: AgentId,
        /// Which side.
        side: Side,
        /// What it pays.
        payment: Money,
        /// The traded energy.
        quantity: Mwh,
    },
    /// The stated welfare is not that of the fills.
    #[error("interval {interval}: the fills are worth {found}, the clearing states {stated}")]
    Welfare {
        /// Interval index.
        interval: u64,
        /// Welfare of the fills.
        found: Money,
        /// Welfare the clearing states.
        stated: Money,
    },
}

impl Coded for ClearError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotBalanced { .. } => "M020",
            Self::SidesDiffer { .. } => "M021",
            Self::NotOrdered { .. } => "M022",
            Self::NotRational { .. } => "M023",
            Self::Paradoxical { .. } => "M024",
            Self::Welfare { .. } => "M025",
            Self::Payment { .. } => "M026",
        }
    }

    fn place(&self) -> String {
        match self {
            Self::NotBalanced { interval, .. }
            | Self::SidesDiffer { interval, .. }
            | Self::Welfare { interval, .. } => format!("clearing of interval {interval}"),
            Self::NotOrdered {
                interval,
                agent,
                side,
                ..
            }
            | Self::NotRational {
                interval,
                agent,
                side,
                ..
            }
            | Self::Payment {
                interval,
                agent,
                side,
                ..
            }
            | Self::Paradoxical {
                interval,
                agent,
                side,
                ..
            } => {
                format!("clearing of interval {interval}, {side} of `{agent}`")
            }
        }
    }

    fn help(&self) -> String {
        "do not settle this interval; report it with the book, the mechanism is at fault".into()
    }
}

/// What the first `quantity` of a curve is worth at its own prices.
pub(crate) fn worth(order: &Order, quantity: Mwh) -> Money {
    let mut left = quantity.0;
    let mut sum = Money(0);
    for step in &order.steps {
        let used = left.min(step.quantity.0);
        sum += step.price * Mwh(used);
        left -= used;
    }
    sum
}

impl Clearing {
    /// Injection the agent is committed to, buying counted negative.
    #[must_use]
    pub fn position(&self, agent: &AgentId) -> MwhTotal {
        let fills = self.fills.iter().filter(|fill| fill.agent == *agent);
        fills
            .map(|f| MwhTotal(i128::from(f.quantity.0) * i128::from(f.side.injection_sign())))
            .sum()
    }

    /// What a unit is worth in this clearing: the price of all trades, or else the mean of
    /// what buyers pay and sellers receive, to the nearest; `None` when nothing trades.
    #[must_use]
    pub fn reference(&self) -> Option<Price> {
        if self.price.is_some() {
            return self.price;
        }
        let (mut amount, mut energy) = (0_i128, 0_i128);
        for fill in &self.fills {
            amount -= fill.payment.0 * i128::from(fill.side.injection_sign());
            energy += i128::from(fill.quantity.0);
        }
        let price = (energy > 0).then(|| div_nearest(amount, energy))?;
        i64::try_from(price).ok().map(Price)
    }

    /// Whether this can be the clearing of `book` by a rule that balances.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn check(&self, book: &Book) -> Result<(), ClearError> {
        let interval = self.interval.index;
        let sum: Money = self.fills.iter().map(|fill| fill.payment).sum();
        if sum != Money(0) || self.operator != Money(0) {
            return Err(ClearError::NotBalanced { interval, sum });
        }
        let side_total = |side| -> MwhTotal {
            let fills = self.fills.iter().filter(|fill| fill.side == side);
            fills.map(|fill| MwhTotal::from(fill.quantity)).sum()
        };
        let (bought, sold) = (side_total(Side::Buy), side_total(Side::Sell));
        if bought != sold || bought != self.quantity {
            let stated = self.quantity;
            return Err(ClearError::SidesDiffer {
                interval,
                bought,
                sold,
                stated,
            });
        }
        let mut fills = self.fills.iter().peekable();
        let mut welfare = Money(0);
        for order in book.orders() {
            let fill = fills.next_if(|f| f.agent == order.agent && f.side == order.side);
            let quantity = fill.map_or(Mwh(0), |fill| fill.quantity);
            self.check_order(order, quantity)?;
            if let Some(fill) = fill {
                welfare += check_fill(interval, order, fill)?;
            }
        }
        // Fills follow the book's order, so whatever is left has no order.
        if let Some(Fill {
            agent,
            side,
            quantity,
            ..
        }) = fills.next()
        {
            let (agent, side, quantity) = (agent.clone(), *side, *quantity);
            return Err(ClearError::NotOrdered {
                interval,
                agent,
                side,
                quantity,
            });
        }
        if welfare != self.welfare {
            let stated = self.welfare;
            return Err(ClearError::Welfare {
                interval,
                found: welfare,
                stated,
            });
        }
        self.check_payments()
    }

    /// Every payment follows from the price or from the pairs, so that a
    /// settlement made from those comes to the same money.
    fn check_payments(&self) -> Result<(), ClearError> {
        let mut paired: BTreeMap<(&AgentId, Side), (i128, Money)> = BTreeMap::new();
        for trade in &self.trades {
            let amount = trade.price * trade.quantity;
            for (agent, side, amount) in [
                (&trade.buyer, Side::Buy, amount),
                (&trade.seller, Side::Sell, -amount),
            ] {
                let sum = paired.entry((agent, side)).or_default();
                sum.0 += i128::from(trade.quantity.0);
                sum.1 += amount;
            }
        }
        for fill in &self.fills {
            let found = (i128::from(fill.quantity.0), fill.payment);
            let priced = match self.price {
                Some(price) => {
                    let amount = (price * fill.quantity).0;
                    found.1.0 == -amount * i128::from(fill.side.injection_sign())
                }
                None => paired.get(&(&fill.agent, fill.side)) == Some(&found),
            };
            if !priced {
                return Err(ClearError::Payment {
                    interval: self.interval.index,
                    agent: fill.agent.clone(),
                    side: fill.side,
                    payment: fill.payment,
                    quantity: fill.quantity,
                });
            }
        }
        Ok(())
    }

    /// No step strictly better than the price may be cut.
    fn check_order(&self, order: &Order, quantity: Mwh) -> Result<(), ClearError> {
        let Some(price) = self.price else {
            return Ok(());
        };
        let mut left = quantity.0;
        for step in &order.steps {
            let served = left.min(step.quantity.0);
            left -= served;
            if served < step.quantity.0 && order.side.prefers(step.price, price) {
                return Err(ClearError::Paradoxical {
                    interval: self.interval.index,
                    agent: order.agent.clone(),
                    side: order.side,
                    limit: step.price,
                    price,
                });
            }
        }
        Ok(())
    }
}

/// The fill's share of the welfare, if it is within the order and rational.
pub(crate) fn check_fill(interval: u64, order: &Order, fill: &Fill) -> Result<Money, ClearError> {
    let (agent, side) = (fill.agent.clone(), fill.side);
    let ordered: MwhTotal = order.steps.iter().map(|step| step.quantity.into()).sum();
    if fill.quantity.0 <= 0 || MwhTotal::from(fill.quantity) > ordered {
        return Err(ClearError::NotOrdered {
            interval,
            agent,
            side,
            quantity: fill.quantity,
        });
    }
    let worth = match side {
        Side::Buy => worth(order, fill.quantity),
        Side::Sell => -worth(order, fill.quantity),
    };
    if fill.payment > worth {
        let payment = fill.payment;
        return Err(ClearError::NotRational {
            interval,
            agent,
            side,
            payment,
            worth,
        });
    }
    Ok(worth)
}

#[cfg(test)]
mod tests;
