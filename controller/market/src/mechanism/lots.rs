//! Books in which every order is one lot of the same energy.
//!
//! Not responsible for a price rule.

use crate::book::Book;
use crate::mechanism::RuleError;
use crate::order::Side;
use crate::outcome::Outcome;
use crate::quantity::Price;

/// Bids falling, offers rising, and how many pairs of them cross.
pub(super) fn sorted(bids: &[Price], offers: &[Price]) -> (Vec<Price>, Vec<Price>, usize) {
    let (mut bids, mut offers) = (bids.to_vec(), offers.to_vec());
    bids.sort_unstable_by_key(|price| std::cmp::Reverse(*price));
    offers.sort_unstable();
    let crossing = bids
        .iter()
        .zip(&offers)
        .take_while(|(bid, offer)| bid >= offer)
        .count();
    (bids, offers, crossing)
}

/// The orders of a book of lots by index, best first, equals in canonical order.
pub(super) struct Lots {
    bids: Vec<usize>,
    offers: Vec<usize>,
    energy: i64,
}

impl Lots {
    pub(super) fn of(rule: &'static str, book: &Book) -> Result<Self, RuleError> {
        let orders = book.orders();
        let energy = orders.first().map_or(0, |order| order.steps[0].quantity.0);
        for order in orders {
            if order.steps.len() != 1 || order.steps[0].quantity.0 != energy {
                let agent = order.agent.clone();
                return Err(RuleError::NotALot { rule, agent });
            }
        }
        let best_first = |side| {
            let mut entries: Vec<_> = book.entries(side).iter().collect();
            // Stable, so equal prices stay in canonical order.
            entries.sort_by_key(|e| if side == Side::Buy { -e.price } else { e.price });
            entries.into_iter().map(|entry| entry.order).collect()
        };
        Ok(Self {
            bids: best_first(Side::Buy),
            offers: best_first(Side::Sell),
            energy,
        })
    }

    pub(super) fn prices(&self, book: &Book, bids: bool) -> Vec<Price> {
        let orders = if bids { &self.bids } else { &self.offers };
        let price = |&order: &usize| book.orders()[order].steps[0].price;
        orders.iter().map(price).collect()
    }

    /// The best `trades` of both sides at these prices; with a drawn seller, the
    /// best `trades + 1` sellers without that one.
    pub(super) fn outcome(
        &self,
        book: &Book,
        trades: usize,
        (buy, sell): (Price, Price),
        drawn: Option<usize>,
    ) -> Outcome {
        let mut quantity = vec![0; book.orders().len()];
        for &bid in &self.bids[..trades] {
            quantity[bid] = self.energy;
        }
        let reach = trades + usize::from(drawn.is_some());
        for (place, &offer) in self.offers[..reach].iter().enumerate() {
            if Some(place) != drawn {
                quantity[offer] = self.energy;
            }
        }
        let left_out = drawn.map(|place| book.orders()[self.offers[place]].agent.clone());
        Outcome {
            left_out: left_out.into_iter().collect(),
            ..Outcome::at_prices(book, &quantity, buy, sell)
        }
    }
}
