//! Clearing without a common book: a coordinator tells a price, or a reference, and
//! everybody answers for itself.
//!
//! Four ways, one file each: [`bisection`], which is exact and needs few rounds;
//! [`gradient`] and [`admm`], which approach; and [`consensus`], in which pairs agree
//! without a coordinator. The first three end in the double auction of the same book at
//! the price they found, so that what they approach is what they trade. Whatever does
//! not settle in its rounds falls back to the bisection.
//!
//! Not responsible for messages: an answer is a function call.

pub mod admm;
pub mod bisection;
pub mod consensus;
pub mod gradient;

use crate::book::Book;
use crate::crossing::cross;
use crate::mechanism::{Allocation, allocation};
use crate::order::Side;
use crate::outcome::Outcome;
use crate::quantity::Price;

/// What a participant answers to a price: the least and the most it would inject, in
/// mWh; withdrawal is negative. Neither may fall when the price rises.
pub trait Respond {
    /// The answer; `None` where none has come by the time that whoever asks waits.
    fn respond(&self, price: Price) -> Option<(i128, i128)>;
}

/// One order of a book as a participant that is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a>(pub &'a crate::order::Order);

impl Respond for Asked<'_> {
    fn respond(&self, price: Price) -> Option<(i128, i128)> {
        Some(self.answer(price))
    }
}

impl Asked<'_> {
    /// What its curve says, which is always there.
    pub(crate) fn answer(&self, price: Price) -> (i128, i128) {
        let side = self.0.side;
        let total = |taken: &dyn Fn(Price) -> bool| -> i128 {
            let steps = self.0.steps.iter().filter(|step| taken(step.price));
            steps.map(|step| i128::from(step.quantity.0)).sum()
        };
        let certain = total(&|limit| side.prefers(limit, price));
        let possible = total(&|limit| limit == price || side.prefers(limit, price));
        match side {
            Side::Buy => (-possible, -certain),
            Side::Sell => (certain, possible),
        }
    }
}

/// The lowest and the highest limit of a book, between which every price that matters
/// lies; `None` for an empty one.
pub(crate) fn range(book: &Book) -> Option<(Price, Price)> {
    let sides = [Side::Buy, Side::Sell].map(|side| book.entries(side));
    let prices = || {
        sides
            .iter()
            .copied()
            .flatten()
            .map(|entry| Price(entry.price))
    };
    Some((prices().min()?, prices().max()?))
}

/// The double auction of the book at `price`, moved into the competitive interval.
pub(crate) fn at(book: &Book, price: Price, rounds: u32) -> Outcome {
    let Some(crossing) = cross(book) else {
        return Outcome {
            rounds: Some(rounds),
            ..Outcome::default()
        };
    };
    let price = price.clamp(crossing.lo, crossing.hi);
    let quantity = by_order(book, &allocation(book, &crossing));
    Outcome {
        rounds: Some(rounds),
        ..Outcome::at_prices(book, &quantity, price, price)
    }
}

/// Energy per order from energy per entry.
fn by_order(book: &Book, allocation: &Allocation) -> Vec<i64> {
    let mut quantity = vec![0; book.orders().len()];
    for (side, shares) in [
        (Side::Buy, &allocation.bids),
        (Side::Sell, &allocation.offers),
    ] {
        for (entry, share) in book.entries(side).iter().zip(shares) {
            quantity[entry.order] += share;
        }
    }
    quantity
}

#[cfg(test)]
mod tests;
