//! Vickrey-Clarke-Groves double auction: everybody pays what others lose by it.
//!
//! The allocation is the efficient one. A buyer of `x` pays the `x` dearest units
//! among the others' unserved bids and accepted offers; a seller of `y` receives
//! the `y` cheapest among the others' unserved offers and accepted bids. It runs a
//! deficit, which somebody has to fund.

use crate::book::Book;
use crate::clearing::Fill;
use crate::crossing::cross;
use crate::mechanism::allocation;
use crate::order::Side;
use crate::outcome::Outcome;
use crate::quantity::{Money, Mwh, Price};

/// Outcome of the auction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vcg {
    /// Who trades how much and pays what, per order that trades.
    pub fills: Vec<Fill>,
    /// What sellers receive beyond what buyers pay.
    pub deficit: Money,
}

/// One step of the book with what it trades.
struct Part {
    order: usize,
    side: Side,
    price: Price,
    served: i64,
    unserved: i64,
}

/// The auction over a book; the time grows with the square of the orders.
#[must_use]
pub fn vcg(book: &Book) -> Vcg {
    let Some(crossing) = cross(book) else {
        return Vcg {
            fills: Vec::new(),
            deficit: Money(0),
        };
    };
    let shares = allocation(book, &crossing);
    let mut parts = Vec::new();
    for (side, shares) in [(Side::Buy, shares.bids), (Side::Sell, shares.offers)] {
        for (entry, served) in book.entries(side).iter().zip(shares) {
            let (order, price) = (entry.order, Price(entry.price));
            parts.push(Part {
                order,
                side,
                price,
                served,
                unserved: entry.quantity - served,
            });
        }
    }
    // Cheapest first; a seller takes from the front, a buyer from the back.
    parts.sort_by_key(|part| part.price);
    let mut fills = Vec::new();
    let mut deficit = Money(0);
    for (index, order) in book.orders().iter().enumerate() {
        let own = parts.iter().filter(|part| part.order == index);
        let traded = Mwh(own.map(|part| part.served).sum());
        if traded.0 == 0 {
            continue;
        }
        // What others would trade instead: their own side's rest, the other's part.
        let instead = |part: &&Part| book.orders()[part.order].agent != order.agent;
        let energy = |part: &Part| {
            if part.side == order.side {
                part.unserved
            } else {
                part.served
            }
        };
        let priced = |part: &Part| (part.price, energy(part));
        let others = parts.iter().filter(instead);
        let payment = match order.side {
            Side::Buy => value(others.rev().map(priced), traded),
            Side::Sell => -value(others.map(priced), traded),
        };
        deficit += -payment;
        fills.push(Fill {
            agent: order.agent.clone(),
            side: order.side,
            quantity: traded,
            payment,
        });
    }
    Vcg { fills, deficit }
}

/// The same as an outcome.
pub(crate) fn vcg_of(book: &Book) -> Outcome {
    Outcome {
        fills: vcg(book).fills,
        ..Outcome::default()
    }
}

/// Value of the first `quantity` of priced energies.
fn value(energies: impl Iterator<Item = (Price, i64)>, quantity: Mwh) -> Money {
    let mut left = quantity.0;
    energies
        .map(|(price, energy)| {
            let used = left.min(energy);
            left -= used;
            price * Mwh(used)
        })
        .sum()
}
