//! Auctions in which telling the truth is the best one can do, for comparison.
//!
//! Their price is a budget that does not balance, trades given up, or a lottery,
//! so their outcome is not a [`crate::Clearing`] and no interval is settled by
//! them: they are reached through [`crate::offline`] only.
//!
//! McAfee and SBBA take one unit per trader. With bids `b` falling and offers `s`
//! rising, `k` is the last index with `b_k >= s_k`. McAfee trades all `k` at
//! `(b_{k+1} + s_{k+1}) / 2` if that lies between `s_k` and `b_k`, else gives up
//! trade `k`, whose prices the others then pay and receive. SBBA trades all `k` at
//! `s_{k+1}` if that is at most `b_k`, else `k - 1` at `b_k`, and draws which seller
//! stays out; drawing is the caller's, with a seed everybody knows.

mod huang;
mod vcg;

pub use huang::{Huang, huang};
pub use vcg::{Vcg, vcg};

use crate::quantity::Price;

/// Outcome of McAfee's trade reduction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McAfee {
    /// Pairs that cross.
    pub crossing: usize,
    /// Pairs that trade.
    pub trades: usize,
    /// What buyers pay and what sellers receive; `None` when nobody trades.
    pub prices: Option<(Price, Price)>,
    /// What the operator keeps, in mc per kWh and unit.
    pub surplus: i128,
}

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

/// Bids falling, offers rising, and how many pairs of them cross.
fn sorted(bids: &[Price], offers: &[Price]) -> (Vec<Price>, Vec<Price>, usize) {
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

/// McAfee's auction of one unit per trader.
#[must_use]
pub fn mcafee(bids: &[Price], offers: &[Price]) -> McAfee {
    let (bids, offers, k) = sorted(bids, offers);
    let Some((bid, offer)) = k.checked_sub(1).map(|last| (bids[last], offers[last])) else {
        return McAfee {
            crossing: 0,
            trades: 0,
            prices: None,
            surplus: 0,
        };
    };
    let next = bids.get(k).zip(offers.get(k));
    let doubled = next.map(|(bid, offer)| i128::from(bid.0) + i128::from(offer.0));
    let within = |sum: &i128| (2 * i128::from(offer.0)..=2 * i128::from(bid.0)).contains(sum);
    if let Some(sum) = doubled.filter(within) {
        // Between two prices, so it is one.
        let price = Price(sum.div_euclid(2) as i64);
        return McAfee {
            crossing: k,
            trades: k,
            prices: Some((price, price)),
            surplus: 0,
        };
    }
    let trades = k - 1;
    let gap = i128::from(bid.0) - i128::from(offer.0);
    let prices = (trades > 0).then_some((bid, offer));
    McAfee {
        crossing: k,
        trades,
        prices,
        surplus: trades as i128 * gap,
    }
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

#[cfg(test)]
mod tests;
