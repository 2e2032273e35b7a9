//! Bilateral negotiation: buyers meet sellers one after the other and haggle.
//!
//! Buyer and seller offer in turns, and what is left to share loses value from turn
//! to turn, for each by its own patience. Whoever thinks ahead from the last turn
//! knows what the other will accept now, so they agree at once: with patience `db`
//! and `ds`, many turns and the buyer first, at
//! `s + (b − s)·ds·(1 − db)/(1 − db·ds)` (Rubinstein, 1982). Here the number of turns
//! is finite and the shares are counted back from the last one, in whole numbers.
//!
//! Who meets whom is the canonical order and not the price, so the pairs are not
//! the best ones.

use crate::book::Book;
use crate::clearing::Trade;
use crate::order::Side;
use crate::outcome::Outcome;
use crate::quantity::{Mwh, PPM, Price};

/// One whole in which shares are counted. Chosen: a million times finer than the
/// patience, so that rounding never moves a price.
const WHOLE: i128 = 1_000_000_000_000;

/// How a pair haggles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiation {
    /// What a buyer's share keeps of its value by the next turn, in ppm.
    pub buyer_patience_ppm: u32,
    /// What a seller's share keeps of its value by the next turn, in ppm.
    pub seller_patience_ppm: u32,
    /// Turns until nothing is left, at least one; the buyer has the first.
    pub turns: u32,
}

impl Negotiation {
    /// Equal patience and so many turns that their number no longer matters.
    pub const EQUAL: Self = Self {
        buyer_patience_ppm: 900_000,
        seller_patience_ppm: 900_000,
        turns: 200,
    };

    /// The seller's part of what there is to share, in parts of `WHOLE`.
    fn seller_share(self) -> i128 {
        let kept = |share: i128, ppm: u32| share * i128::from(ppm.min(PPM)) / i128::from(PPM);
        // In the last turn whoever offers takes all.
        let mut share = if self.turns % 2 == 1 { 0 } else { WHOLE };
        for turn in (1..self.turns).rev() {
            share = if turn % 2 == 1 {
                kept(share, self.seller_patience_ppm)
            } else {
                WHOLE - kept(WHOLE - share, self.buyer_patience_ppm)
            };
        }
        share
    }

    /// What a pair agrees on, for a bid not below the offer.
    #[must_use]
    pub fn price(self, bid: Price, offer: Price) -> Price {
        let surplus = i128::from(bid.0) - i128::from(offer.0);
        // Between the two prices, so it is one.
        Price((i128::from(offer.0) + surplus * self.seller_share() / WHOLE) as i64)
    }

    /// Every pair in canonical order trades what both still want.
    pub(crate) fn clear(self, book: &Book) -> Outcome {
        let mut offers = book.entries(Side::Sell).to_vec();
        let mut trades = Vec::new();
        let share = self.seller_share();
        for bid in book.entries(Side::Buy) {
            let mut left = bid.quantity;
            for offer in offers.iter_mut().filter(|o| o.price <= bid.price) {
                let quantity = left.min(offer.quantity);
                if quantity == 0 {
                    continue;
                }
                left -= quantity;
                offer.quantity -= quantity;
                let surplus = i128::from(bid.price) - i128::from(offer.price);
                let above = (surplus * share / WHOLE) as i64;
                trades.push(Trade {
                    buyer: book.orders()[bid.order].agent.clone(),
                    seller: book.orders()[offer.order].agent.clone(),
                    quantity: Mwh(quantity),
                    price: Price(offer.price + above),
                });
            }
        }
        Outcome::of_trades(book, trades)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(buyer: u32, seller: u32, turns: u32, expected: i64) {
        let negotiation = Negotiation {
            buyer_patience_ppm: buyer,
            seller_patience_ppm: seller,
            turns,
        };
        let price = negotiation.price(Price(1_000_000), Price(0));
        assert_eq!(price, Price(expected), "{buyer} {seller} {turns}");
    }

    #[test]
    fn the_more_patient_side_gets_more_as_rubinstein_says() {
        // 0.9·(1 − 0.9)/(1 − 0.81) = 0.473684…
        check(900_000, 900_000, 200, 473_684);
        // 0.95·(1 − 0.5)/(1 − 0.475) = 0.904761…
        check(500_000, 950_000, 200, 904_761);
        // 0.5·(1 − 0.95)/(1 − 0.475) = 0.047619…
        check(950_000, 500_000, 200, 47_619);
    }

    #[test]
    fn who_offers_last_takes_all_that_is_left_by_then() {
        check(900_000, 900_000, 1, 0);
        check(900_000, 900_000, 2, 900_000);
        check(0, 0, 9, 0);
        check(1_000_000, 1_000_000, 2, 1_000_000);
    }
}
