//! McAfee's trade reduction (1992) for one lot per trader.
//!
//! With bids `b` falling and offers `s` rising, `k` is the last index with
//! `b_k >= s_k`. All `k` trade at `(b_{k+1} + s_{k+1}) / 2` if that lies between
//! `s_k` and `b_k`; else trade `k` is given up and its prices are what the others
//! pay and receive. Nobody can move a price it trades at, so truth is best; the
//! operator keeps the difference.

use super::lots::{Lots, sorted};
use crate::book::Book;
use crate::mechanism::RuleError;
use crate::outcome::Outcome;
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

/// The same over a book of equal lots.
pub(crate) fn mcafee_of(book: &Book) -> Result<Outcome, RuleError> {
    let lots = Lots::of("mcafee", book)?;
    let found = mcafee(&lots.prices(book, true), &lots.prices(book, false));
    let Some((buy, sell)) = found.prices else {
        return Ok(Outcome::default());
    };
    Ok(lots.outcome(book, found.trades, (buy, sell), None))
}

#[cfg(test)]
mod tests;
