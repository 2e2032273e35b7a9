//! What a mechanism of the catalogue decides about a book, whatever it does with
//! the money.
//!
//! A [`Clearing`] always balances, so an interval can be settled by it. An outcome
//! may leave a surplus or a deficit with the operator, have one price for buyers
//! and another for sellers, and count the utility grid in. It says so in numbers.
//!
//! Not responsible for the rules: those are in [`crate::mechanism`].

use crate::book::Book;
use crate::clearing::{Clearing, Fill, Trade, worth};
use crate::fault::Coded;
use crate::order::{AgentId, Side};
use crate::quantity::{Money, Mwh, MwhTotal, Price};

/// What the utility grid exchanges with the book, both energies positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exchange {
    /// Energy that the utility delivers.
    pub import: MwhTotal,
    /// Energy that the utility takes.
    pub export: MwhTotal,
    /// What the utility pays; negative is received.
    pub payment: Money,
}

/// The result of one rule on one book.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Who trades what and pays how much, in the order of the book.
    pub fills: Vec<Fill>,
    /// The pairs, for a rule that pairs; empty otherwise.
    pub trades: Vec<Trade>,
    /// What all buyers pay and all sellers receive, if the rule has such prices.
    pub prices: Option<(Price, Price)>,
    /// Trade with the utility grid, zero for a rule without one.
    pub utility: Exchange,
    /// The part of the import that is counted to each member, for a rule that does so.
    pub imports: Vec<(AgentId, Mwh)>,
    /// Who stays out although the price would suit it.
    pub left_out: Vec<AgentId>,
    /// Rounds of messages, for a rule that iterates.
    pub rounds: Option<u32>,
}

/// An outcome that cannot be one: a defect of the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutcomeError {
    /// Energy is made or lost.
    #[error("{bought} bought and exported, {sold} sold and imported")]
    SidesDiffer {
        /// Energy of buyers and exports.
        bought: MwhTotal,
        /// Energy of sellers and imports.
        sold: MwhTotal,
    },
    /// A fill has no order, or exceeds it.
    #[error("{side} of `{agent}` trades {quantity}, which it did not order")]
    NotOrdered {
        /// Who trades.
        agent: AgentId,
        /// Which side.
        side: Side,
        /// The traded energy.
        quantity: Mwh,
    },
}

impl Coded for OutcomeError {
    fn code(&self) -> &'static str {
        match self {
            Self::SidesDiffer { .. } => "M027",
            Self::NotOrdered { .. } => "M028",
        }
    }
    fn place(&self) -> String {
        match self {
            Self::SidesDiffer { .. } => "outcome".into(),
            Self::NotOrdered { agent, side, .. } => format!("{side} of `{agent}`"),
        }
    }
    fn help(&self) -> String {
        "do not use this outcome; report it with the book, the mechanism is at fault".into()
    }
}

impl Outcome {
    /// Energy that participants buy.
    #[must_use]
    pub fn bought(&self) -> MwhTotal {
        self.total(Side::Buy)
    }

    /// Energy that participants sell.
    #[must_use]
    pub fn sold(&self) -> MwhTotal {
        self.total(Side::Sell)
    }

    fn total(&self, side: Side) -> MwhTotal {
        let fills = self.fills.iter().filter(|fill| fill.side == side);
        fills.map(|fill| MwhTotal::from(fill.quantity)).sum()
    }

    /// What is left with the operator: a surplus if positive, a deficit if negative.
    #[must_use]
    pub fn residual(&self) -> Money {
        self.fills.iter().map(|fill| fill.payment).sum::<Money>() + self.utility.payment
    }

    /// Value of the served bids minus cost of the used offers, as ordered, and
    /// what the utility pays for its part.
    #[must_use]
    pub fn welfare(&self, book: &Book) -> Money {
        let mut fills = self.fills.iter().peekable();
        let mut sum = self.utility.payment;
        for order in book.orders() {
            if let Some(fill) = fills.next_if(|f| f.agent == order.agent && f.side == order.side) {
                let value = worth(order, fill.quantity);
                sum += if order.side == Side::Buy {
                    value
                } else {
                    -value
                };
            }
        }
        sum
    }

    /// Whether energy balances and every fill is within its order.
    ///
    /// # Errors
    /// [`OutcomeError`].
    pub fn check(&self, book: &Book) -> Result<(), OutcomeError> {
        let mut fills = self.fills.iter().peekable();
        for order in book.orders() {
            let ordered: MwhTotal = order.steps.iter().map(|step| step.quantity.into()).sum();
            let own = |fill: &&Fill| {
                let within = fill.quantity.0 > 0 && MwhTotal::from(fill.quantity) <= ordered;
                within && fill.agent == order.agent && fill.side == order.side
            };
            fills.next_if(own);
        }
        if let Some(fill) = fills.next() {
            return Err(OutcomeError::NotOrdered {
                agent: fill.agent.clone(),
                side: fill.side,
                quantity: fill.quantity,
            });
        }
        let bought = self.bought() + self.utility.export;
        let sold = self.sold() + self.utility.import;
        if bought == sold {
            Ok(())
        } else {
            Err(OutcomeError::SidesDiffer { bought, sold })
        }
    }

    /// The outcome in which every pair trades at its own price.
    pub(crate) fn of_trades(book: &Book, trades: Vec<Trade>) -> Self {
        let orders = book.orders();
        let mut quantity = vec![0_i64; orders.len()];
        let mut payment = vec![0_i128; orders.len()];
        // Sorted once, so that a trade finds its orders without a search of all.
        let mut index: Vec<usize> = (0..orders.len()).collect();
        index.sort_by_key(|&i| (orders[i].side, &orders[i].agent));
        for trade in &trades {
            let amount = (trade.price * trade.quantity).0;
            for (agent, side, amount) in [
                (&trade.buyer, Side::Buy, amount),
                (&trade.seller, Side::Sell, -amount),
            ] {
                let at = index
                    .binary_search_by_key(&(side, agent), |&i| (orders[i].side, &orders[i].agent));
                if let Ok(at) = at {
                    quantity[index[at]] += trade.quantity.0;
                    payment[index[at]] += amount;
                }
            }
        }
        Self {
            fills: fills(book, &quantity, &payment),
            trades,
            ..Self::default()
        }
    }

    /// The outcome in which orders trade those energies, buyers at one price and
    /// sellers at another.
    pub(crate) fn at_prices(book: &Book, quantity: &[i64], buy: Price, sell: Price) -> Self {
        let payment: Vec<i128> = book
            .orders()
            .iter()
            .zip(quantity)
            .map(|(order, &energy)| match order.side {
                Side::Buy => (buy * Mwh(energy)).0,
                Side::Sell => -(sell * Mwh(energy)).0,
            })
            .collect();
        Self {
            fills: fills(book, quantity, &payment),
            prices: Some((buy, sell)),
            ..Self::default()
        }
    }
}

impl From<Clearing> for Outcome {
    fn from(clearing: Clearing) -> Self {
        Self {
            fills: clearing.fills,
            trades: clearing.trades,
            prices: clearing.price.map(|price| (price, price)),
            ..Self::default()
        }
    }
}

/// One fill per order that trades, from energy and payment per order.
pub(crate) fn fills(book: &Book, quantity: &[i64], payment: &[i128]) -> Vec<Fill> {
    let orders = book.orders().iter().zip(quantity).zip(payment);
    orders
        .filter(|((_, quantity), _)| **quantity > 0)
        .map(|((order, &quantity), &payment)| Fill {
            agent: order.agent.clone(),
            side: order.side,
            quantity: Mwh(quantity),
            payment: Money(payment),
        })
        .collect()
}

/// Whole parts of `amount` in proportion to `weights`, which are not negative:
/// the largest remainders get the single units left over, ties the first.
/// All zero when there is nothing to share by.
pub(crate) fn shares(amount: i128, weights: &[i128]) -> Vec<i128> {
    let total: i128 = weights.iter().sum();
    if total <= 0 {
        return vec![0; weights.len()];
    }
    // Whole multiples first, so that the product below stays small.
    let (each, rest) = (amount.div_euclid(total), amount.rem_euclid(total));
    let mut given = 0;
    let mut remainders = Vec::with_capacity(weights.len());
    let mut parts: Vec<i128> = Vec::with_capacity(weights.len());
    for (index, &weight) in weights.iter().enumerate() {
        let (part, remainder) = part_of(rest, weight, total);
        given += part;
        parts.push(each * weight + part);
        remainders.push((remainder, index));
    }
    remainders.sort_by_key(|&(remainder, _)| std::cmp::Reverse(remainder));
    let left = usize::try_from(rest - given).unwrap_or(0);
    for &(_, index) in remainders.iter().take(left) {
        parts[index] += 1;
    }
    parts
}

/// `rest * weight / total` and its remainder, for `0 <= rest < total < 2^65` and
/// `weight <= total`: the product is taken in two halves where it could leave 128 bits.
fn part_of(rest: i128, weight: i128, total: i128) -> (i128, i128) {
    if let Some(product) = rest.checked_mul(weight) {
        return (product / total, product % total);
    }
    let (high, low) = (weight >> 32, weight & 0xffff_ffff);
    let upper = rest * high;
    let (quotient, remainder) = (upper / total, upper % total);
    let lower = (remainder << 32) + rest * low;
    ((quotient << 32) + lower / total, lower % total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_the_largest_remainders_get_the_rest() {
        for (amount, weights, expected) in [
            (10, vec![1, 1, 1], vec![4, 3, 3]),
            (-10, vec![1, 1, 1], vec![-3, -3, -4]),
            (7, vec![5, 0, 2], vec![5, 0, 2]),
            (1, vec![1, 3], vec![0, 1]),
            (5, vec![0, 0], vec![0, 0]),
        ] {
            assert_eq!(
                shares(amount, &weights),
                expected,
                "{amount} by {weights:?}"
            );
        }
    }

    #[test]
    fn shares_of_the_largest_energies_stay_exact() {
        let most = i128::from(u64::MAX);
        let weights = [most - 2, 1, 1];
        let parts = shares((most - 1) * 1_000 + most - 1, &weights);
        assert_eq!(parts.iter().sum::<i128>(), (most - 1) * 1_000 + most - 1);
        assert_eq!(part_of(most - 1, most, most), (most - 1, 0));
        assert_eq!(part_of(most - 1, most - 1, most), (most - 2, 1));
    }
}
