//! Discriminatory auction: the allocation of the uniform price, paired best bid
//! with best offer, each pair at its own price.
//!
//! Individually rational and budget balanced; equal energy trades at unequal
//! prices, so it invites shading. Kept for comparison.

use super::{Allocation, Mechanism, allocation, fills, nothing};
use crate::book::Book;
use crate::clearing::{Clearing, Trade};
use crate::crossing::{best, cross};
use crate::order::Side;
use crate::quantity::{Money, Mwh, Price};

/// The price of one pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairPrice {
    /// What the buyer bid.
    BuyerBid,
    /// Midway between bid and offer, rounded down.
    PairMid,
}

/// The pay-as-bid auction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayAsBid {
    /// The price of one pair.
    pub price: PairPrice,
}

/// One accepted part of an order, in the order of the sweep.
struct Accepted {
    order: usize,
    price: Price,
    left: i64,
}

impl PayAsBid {
    fn price_of(self, bid: Price, offer: Price) -> Price {
        match self.price {
            PairPrice::BuyerBid => bid,
            // Prices are below 2^62 in magnitude, so their sum fits.
            PairPrice::PairMid => Price((bid.0 + offer.0).div_euclid(2)),
        }
    }

    /// Pairs along both curves; the bid of a pair is never below its offer,
    /// because both curves are swept to the same energy, short of the crossing.
    fn trades(self, book: &Book, allocation: &Allocation) -> Vec<(usize, usize, Mwh, Price)> {
        let bids = accepted(book, Side::Buy, &allocation.bids);
        let mut offers = accepted(book, Side::Sell, &allocation.offers).into_iter();
        let mut trades = Vec::new();
        let mut offer = offers.next();
        for mut bid in bids {
            while bid.left > 0 {
                let Some(part) = offer.as_mut() else {
                    return trades;
                };
                let quantity = bid.left.min(part.left);
                let price = self.price_of(bid.price, part.price);
                trades.push((bid.order, part.order, Mwh(quantity), price));
                bid.left -= quantity;
                part.left -= quantity;
                if part.left == 0 {
                    offer = offers.next();
                }
            }
        }
        trades
    }
}

fn accepted(book: &Book, side: Side, shares: &[i64]) -> Vec<Accepted> {
    let entries = book
        .entries(side)
        .iter()
        .zip(shares)
        .filter(|(_, share)| **share > 0);
    let mut parts: Vec<Accepted> = entries
        .map(|(entry, &left)| Accepted {
            order: entry.order,
            price: Price(entry.price),
            left,
        })
        .collect();
    // Stable, so equal prices stay in canonical order.
    parts.sort_by(|a, b| match side {
        Side::Buy => b.price.cmp(&a.price),
        Side::Sell => a.price.cmp(&b.price),
    });
    parts
}

impl Mechanism for PayAsBid {
    fn name(&self) -> String {
        match self.price {
            PairPrice::BuyerBid => "pay_as_bid".into(),
            PairPrice::PairMid => "pay_as_bid_mid".into(),
        }
    }

    fn outcome(&self, book: &Book) -> Clearing {
        let Some(crossing) = cross(book) else {
            return nothing(book, self.name());
        };
        let allocation = allocation(book, &crossing);
        let (mut fills, welfare) = fills(book, &allocation);
        let pairs = self.trades(book, &allocation);
        let mut owed = vec![0_i128; book.orders().len()];
        for &(buyer, seller, quantity, price) in &pairs {
            owed[buyer] += (price * quantity).0;
            owed[seller] -= (price * quantity).0;
        }
        // Fills are a subsequence of the orders, both in canonical order.
        let mut orders = book.orders().iter().zip(owed);
        for fill in &mut fills {
            if let Some((_, amount)) =
                orders.find(|(order, _)| order.agent == fill.agent && order.side == fill.side)
            {
                fill.payment.0 = amount;
            }
        }
        let name = |order: usize| book.orders()[order].agent.clone();
        Clearing {
            interval: book.interval(),
            mechanism: self.name(),
            quantity: crossing.quantity,
            price: None,
            competitive: Some((crossing.lo, crossing.hi)),
            indicative: best(book),
            fills,
            trades: pairs
                .into_iter()
                .map(|(buyer, seller, quantity, price)| Trade {
                    buyer: name(buyer),
                    seller: name(seller),
                    quantity,
                    price,
                })
                .collect(),
            welfare,
            operator: Money(0),
        }
    }
}
