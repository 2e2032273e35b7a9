//! Community manager: members trade among themselves, the manager trades the rest
//! with the utility grid at its tariff (after Moret and Pinson, 2018).
//!
//! For members with fixed bids the manager's problem is the double auction with the
//! utility as two orders, which bracket the price. What is imported is nobody's in
//! particular, so the manager counts it to members such that the largest part is as
//! small as possible: the fairness of the collective, without changing any payment.
//! Where the point of common coupling binds, the price leaves the tariff and the
//! manager keeps the rent.

use crate::book::Book;
use crate::clearing::Fill;
use crate::mechanism::{Mechanism, UniformPrice};
use crate::mechanism::{RuleError, Surroundings};
use crate::order::{AgentId, Order, Side};
use crate::outcome::{Exchange, Outcome};
use crate::quantity::{Mwh, MwhTotal};

/// The book with the utility as two orders, and the utility's name in it.
fn with_utility(
    rule: &'static str,
    book: &Book,
    around: &Surroundings,
) -> Result<(Book, AgentId), RuleError> {
    let parity = around.parity.ok_or(RuleError::NoTariff { rule })?;
    let mut name = String::from("utility");
    while book
        .orders()
        .iter()
        .any(|order| order.agent.as_str() == name)
    {
        name.push('+');
    }
    let utility = AgentId::from(name);
    let mut orders = book.orders().to_vec();
    let (import, export) = around.utility_max;
    for (side, price, most) in [
        (Side::Sell, parity.import, import),
        (Side::Buy, parity.export, export),
    ] {
        // No more than the side still holds; the members could not take more anyway.
        let entries = book.entries(side).iter();
        let total: i128 = entries.map(|e| i128::from(e.quantity)).sum();
        let room = crate::book::SIDE_TOTAL_MAX - total;
        let quantity = Mwh(i64::try_from(room.min(most.0.into())).unwrap_or(i64::MAX));
        if quantity.0 > 0 {
            orders.push(Order::single(utility.clone(), side, price, quantity).ranked(u64::MAX));
        }
    }
    let mut rules = book.rules().clone();
    rules.capabilities = None;
    match Book::new(book.interval(), &rules, orders) {
        Ok(book) => Ok((book, utility)),
        Err(mut refused) => Err(RuleError::Utility(refused.swap_remove(0))),
    }
}

/// The community over a book.
pub(crate) fn community(book: &Book, around: &Surroundings) -> Result<Outcome, RuleError> {
    let (whole, utility) = with_utility("community", book, around)?;
    let clearing = UniformPrice::HALF.outcome(&whole);
    let parity = around
        .parity
        .ok_or(RuleError::NoTariff { rule: "community" })?;
    let mut exchange = Exchange::default();
    let (own, fills): (Vec<Fill>, Vec<Fill>) =
        (clearing.fills.into_iter()).partition(|fill| fill.agent == utility);
    for fill in own {
        match fill.side {
            Side::Sell => {
                exchange.import = fill.quantity.into();
                exchange.payment += -(parity.import * fill.quantity);
            }
            Side::Buy => {
                exchange.export = fill.quantity.into();
                exchange.payment += parity.export * fill.quantity;
            }
        }
    }
    Ok(Outcome {
        imports: imports(&fills, exchange.import),
        fills,
        prices: clearing.price.map(|price| (price, price)),
        utility: exchange,
        ..Outcome::default()
    })
}

/// The import by member, the largest part as small as possible: everybody has the
/// same, but no more than it buys; single units go to the first.
fn imports(fills: &[Fill], import: MwhTotal) -> Vec<(AgentId, Mwh)> {
    let buyers: Vec<&Fill> = fills.iter().filter(|fill| fill.side == Side::Buy).collect();
    let counted = |level: i64| -> i128 {
        let parts = buyers.iter().map(|fill| fill.quantity.0.min(level));
        parts.map(i128::from).sum()
    };
    // The highest level that does not count more than there is.
    let (mut low, mut high) = (0, i64::MAX);
    while low < high {
        let middle = low + (high - low).div_euclid(2) + 1;
        if counted(middle) <= import.0 {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    let mut left = import.0 - counted(low);
    let mut rows = Vec::new();
    for fill in buyers {
        let extra = i64::from(left > 0 && fill.quantity.0 > low);
        left -= i128::from(extra);
        let part = fill.quantity.0.min(low) + extra;
        if part > 0 {
            rows.push((fill.agent.clone(), Mwh(part)));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::Money;

    fn check(bought: &[i64], import: i128, expected: &[i64]) {
        let fills: Vec<Fill> = (bought.iter().enumerate())
            .map(|(index, &quantity)| Fill {
                agent: format!("m{index}").into(),
                side: Side::Buy,
                quantity: Mwh(quantity),
                payment: Money(0),
            })
            .collect();
        let rows = imports(&fills, MwhTotal(import));
        let parts: Vec<i64> = rows.iter().map(|(_, part)| part.0).collect();
        assert_eq!(parts, expected, "{import} among {bought:?}");
    }

    #[test]
    fn the_largest_import_is_as_small_as_possible() {
        check(&[10, 2, 10], 12, &[5, 2, 5]);
        check(&[10, 2, 10], 13, &[6, 2, 5]);
        check(&[10, 2, 10], 22, &[10, 2, 10]);
        check(&[10, 2, 10], 1, &[1]);
        check(&[10, 2, 10], 0, &[]);
        check(&[], 0, &[]);
    }
}
