//! Uniform price with orders that trade whole or not at all.
//!
//! The book is cleared as if all could be divided; if an indivisible order is cut,
//! orders are dropped and the rest is cleared again, until none is cut. So an order
//! never trades at a loss, and one may be left out although the price would suit it:
//! the outcome names those. Up to [`EXACT_MAX`] indivisible orders the dropped ones are
//! the best choice; beyond, the last one that is cut goes, again and again.
//!
//! A choice is searched by branch and bound: dropping an order never raises the
//! welfare of the divisible book, which is therefore a bound.

use std::collections::BTreeSet;

use crate::book::Book;
use crate::crossing::cross;
use crate::mechanism::Surroundings;
use crate::mechanism::{Mechanism, UniformPrice, allocation};
use crate::order::{AgentId, Order, Side};
use crate::outcome::Outcome;
use crate::quantity::{Money, Price};

/// Indivisible orders up to which the choice is exact.
/// Chosen: a feeder's switchable loads; a choice is then a word of bits.
pub const EXACT_MAX: usize = 20;

/// Books cleared in one search. Chosen: some milliseconds for a small book; a search
/// that would take more keeps the best choice found by then, the same everywhere.
const SEARCH_MAX: usize = 4_096;

/// Orders that trade whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllOrNothing {
    /// Whose; `None` stands for every bid.
    pub agents: Option<BTreeSet<AgentId>>,
}

/// One cleared choice of what to keep.
struct Choice {
    outcome: Outcome,
    welfare: Money,
    /// Indivisible orders that are cut, by index in the whole book.
    cut: Vec<usize>,
    /// Indivisible orders that trade.
    served: Vec<usize>,
}

impl AllOrNothing {
    fn is_indivisible(&self, order: &Order) -> bool {
        match &self.agents {
            None => order.side == Side::Buy,
            Some(agents) => agents.contains(&order.agent),
        }
    }

    /// Clears the book without the dropped orders.
    fn choice(&self, book: &Book, dropped: &BTreeSet<usize>) -> Choice {
        let kept: Vec<usize> = (0..book.orders().len())
            .filter(|i| !dropped.contains(i))
            .collect();
        let orders = kept.iter().map(|&i| book.orders()[i].clone()).collect();
        // A part of an admitted book is admitted.
        let part = Book::admit(book.interval(), book.rules(), orders);
        let part = part.map_or_else(|_| book.clone(), |(part, _)| part);
        let shares = cross(&part).map(|crossing| allocation(&part, &crossing));
        let mut energy = vec![0_i64; part.orders().len()];
        if let Some(shares) = shares {
            for (side, shares) in [(Side::Buy, shares.bids), (Side::Sell, shares.offers)] {
                for (entry, share) in part.entries(side).iter().zip(shares) {
                    energy[entry.order] += share;
                }
            }
        }
        let (mut cut, mut served) = (Vec::new(), Vec::new());
        for (order, (&whole, &energy)) in part.orders().iter().zip(kept.iter().zip(&energy)) {
            if energy == 0 || !self.is_indivisible(order) {
                continue;
            }
            served.push(whole);
            if energy < order.steps.iter().map(|step| step.quantity.0).sum() {
                cut.push(whole);
            }
        }
        let clearing = UniformPrice::HALF.outcome(&part);
        Choice {
            welfare: clearing.welfare,
            outcome: clearing.into(),
            cut,
            served,
        }
    }

    pub(crate) fn clear(&self, book: &Book) -> Outcome {
        let mut dropped = BTreeSet::new();
        let mut found = self.choice(book, &dropped);
        // The last in canonical order goes, so that a rank is worth something.
        while let Some(&last) = found.cut.last() {
            dropped.insert(last);
            found = self.choice(book, &dropped);
        }
        let indivisible = book
            .orders()
            .iter()
            .filter(|order| self.is_indivisible(order));
        if !dropped.is_empty() && indivisible.count() <= EXACT_MAX {
            let mut search = Search {
                rule: self,
                book,
                best: (found, dropped),
                seen: BTreeSet::new(),
            };
            search.from(BTreeSet::new());
            (found, dropped) = search.best;
        }
        let price = found.outcome.prices.map(|(price, _)| price);
        found.outcome.left_out = left_out(book, &dropped, price);
        found.outcome
    }
}

struct Search<'a> {
    rule: &'a AllOrNothing,
    book: &'a Book,
    best: (Choice, BTreeSet<usize>),
    seen: BTreeSet<BTreeSet<usize>>,
}

impl Search<'_> {
    fn from(&mut self, dropped: BTreeSet<usize>) {
        if self.seen.len() >= SEARCH_MAX || !self.seen.insert(dropped.clone()) {
            return;
        }
        let choice = self.rule.choice(self.book, &dropped);
        if choice.welfare <= self.best.0.welfare {
            return;
        }
        if choice.cut.is_empty() {
            self.best = (choice, dropped);
            return;
        }
        // Some indivisible order that trades here has to go, or nothing changes.
        for &order in choice.served.iter().rev() {
            let mut next = dropped.clone();
            next.insert(order);
            self.from(next);
        }
    }
}

/// The dropped orders whose price is strictly better than the one of the outcome.
fn left_out(book: &Book, dropped: &BTreeSet<usize>, price: Option<Price>) -> Vec<AgentId> {
    let orders = dropped.iter().map(|&index| &book.orders()[index]);
    let would = |order: &&Order| {
        let price = price.unwrap_or(order.steps[0].price);
        order.side.prefers(order.steps[0].price, price)
    };
    orders
        .filter(would)
        .map(|order| order.agent.clone())
        .collect()
}

/// The rule over a book.
pub(crate) fn all_or_nothing(book: &Book, around: &Surroundings) -> Outcome {
    let agents = around.indivisible.clone();
    AllOrNothing { agents }.clear(book)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::BookRules;
    use crate::chance::Chance;
    use crate::interval::Interval;
    use crate::quantity::Mwh;

    fn book(rows: &[(&str, Side, i64, i64)]) -> Book {
        let order = |(rank, &(name, side, price, quantity)): (usize, &(&str, Side, i64, i64))| {
            Order::single(name.into(), side, Price(price), Mwh(quantity)).ranked(rank as u64)
        };
        let orders = rows.iter().enumerate().map(order).collect();
        let interval = Interval::new(0, 0, 1).unwrap();
        Book::new(interval, &BookRules::unbounded(), orders).unwrap()
    }

    fn check(rows: &[(&str, Side, i64, i64)], expected: &[(&str, i64)], left_out: &[&str]) {
        let outcome = AllOrNothing { agents: None }.clear(&book(rows));
        let fills = outcome.fills.iter();
        let fills: Vec<(&str, i64)> = fills.map(|f| (f.agent.as_str(), f.quantity.0)).collect();
        assert_eq!(fills, expected);
        let names: Vec<&str> = outcome.left_out.iter().map(AgentId::as_str).collect();
        assert_eq!(names, left_out);
    }

    #[test]
    fn an_order_that_would_be_cut_is_left_out_whole() {
        let rows = [
            ("kettle", Side::Buy, 30, 6),
            ("washer", Side::Buy, 20, 6),
            ("sun", Side::Sell, 5, 10),
        ];
        // Four units are left over; the price is the sun's, so the washer is told.
        check(&rows, &[("kettle", 6), ("sun", 6)], &["washer"]);
    }

    #[test]
    fn the_best_choice_may_be_another_than_the_last_order() {
        let rows = [
            ("small", Side::Buy, 30, 3),
            ("large", Side::Buy, 29, 9),
            ("sun", Side::Sell, 5, 10),
        ];
        check(&rows, &[("large", 9), ("sun", 9)], &["small"]);
    }

    #[test]
    fn the_choice_is_the_best_of_all_choices() {
        let mut chance = Chance::seeded(1);
        for _ in 0..60 {
            let bids = chance.within(1, 6) as usize;
            let names = ["a", "b", "c", "d", "e", "f"];
            let mut rows: Vec<(&str, Side, i64, i64)> = (names[..bids].iter())
                .map(|name| (*name, Side::Buy, chance.within(0, 20), chance.within(1, 9)))
                .collect();
            rows.push(("s", Side::Sell, chance.within(0, 10), chance.within(1, 20)));
            rows.push(("t", Side::Sell, chance.within(0, 20), chance.within(1, 20)));
            let book = book(&rows);
            let rule = AllOrNothing { agents: None };
            let choices = (0_u32..1 << bids).map(|bits| {
                let dropped = (0..bids).filter(|i| bits & (1 << i) != 0).collect();
                rule.choice(&book, &dropped)
            });
            let whole = choices.filter(|choice| choice.cut.is_empty());
            let best = whole.map(|choice| choice.welfare).max().unwrap();
            assert_eq!(rule.clear(&book).welfare(&book), best, "{rows:?}");
        }
    }
}
