//! The strongly budget-balanced auction (Segal-Halevi, Hassidim and Aumann, 2016)
//! for one lot per trader.
//!
//! All `k` crossing pairs trade at `s_{k+1}` if that is at most `b_k`. Else `k - 1`
//! trade at `b_k`, and a lot decides which of the `k` sellers stays out. Everybody
//! pays and receives the same, so nothing is left over; truth is best on average
//! over the lots.

use super::lots::{Lots, sorted};
use crate::book::Book;
use crate::mechanism::RuleError;
use crate::outcome::Outcome;
use crate::quantity::Price;

/// Outcome of the strongly budget-balanced auction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sbba {
    /// Pairs that cross.
    pub crossing: usize,
    /// Pairs that trade.
    pub trades: usize,
    /// The one price; `None` when nobody trades.
    pub price: Option<Price>,
    /// Whether buyer `crossing` and one drawn seller of the crossing ones stay out.
    pub lottery: bool,
}

/// The strongly budget-balanced auction of one unit per trader.
#[must_use]
pub fn sbba(bids: &[Price], offers: &[Price]) -> Sbba {
    let (bids, offers, k) = sorted(bids, offers);
    let Some(bid) = k.checked_sub(1).map(|last| bids[last]) else {
        return Sbba {
            crossing: 0,
            trades: 0,
            price: None,
            lottery: false,
        };
    };
    match offers.get(k).filter(|next| **next <= bid) {
        Some(next) => Sbba {
            crossing: k,
            trades: k,
            price: Some(*next),
            lottery: false,
        },
        None => {
            let price = (k > 1).then_some(bid);
            Sbba {
                crossing: k,
                trades: k - 1,
                price,
                lottery: true,
            }
        }
    }
}

/// The same over a book of equal lots; the seller who stays out is number
/// `seed mod k`, best first.
pub(crate) fn sbba_of(book: &Book, seed: u64) -> Result<Outcome, RuleError> {
    let lots = Lots::of("sbba", book)?;
    let found = sbba(&lots.prices(book, true), &lots.prices(book, false));
    let Some(price) = found.price else {
        return Ok(Outcome::default());
    };
    // A price needs a crossing, so the divisor is not zero.
    let drawn = (found.lottery).then(|| (seed % found.crossing as u64) as usize);
    Ok(lots.outcome(book, found.trades, (price, price), drawn))
}
