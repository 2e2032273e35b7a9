//! Peers agree pair by pair, without a coordinator (after consensus and innovation,
//! Sorin, Bobo and Pinson, 2019).
//!
//! Every pair of a bid and an offer that reach each other has two prices, the buyer's
//! and the seller's view, and two energies. In each round a view moves toward the
//! other's (consensus) and against what the pair does not agree on (innovation); an
//! energy moves with the gain at that price, less what a full hand charges for itself.
//! After the last round a pair trades what both have, at a price between its views and
//! within its limits.
//!
//! An experiment: it takes hundreds of rounds and loses some welfare. Energies are
//! counted in parts of the largest order, prices in parts of their range.

use super::range;
use crate::book::{Book, Entry};
use crate::clearing::Trade;
use crate::mechanism::RuleError;
use crate::order::Side;
use crate::outcome::Outcome;
use crate::quantity::{Mwh, Price};

/// One whole of energy or price.
const WHOLE: i128 = 1 << 40;

/// Rounds. Chosen: further rounds change few trades of random books.
const ROUNDS: u32 = 300;

/// Rounds that are not counted, because energies are still on their way.
const ROUNDS_FIRST: u32 = 100;

/// Most steps on both sides together, since every pair of them speaks.
const STEPS_MAX: usize = 1_024;

/// Share of the difference of views that goes away in a round, as a shift.
/// Chosen: the views of a pair meet within some ten rounds.
const CONSENSUS_SHIFT: u32 = 2;

/// What a disagreement on energy moves a view by, as a shift. Chosen: see `STEP_SHIFT`.
const INNOVATION_SHIFT: u32 = 2;

/// What a gain moves an energy by, as a shift. Chosen with the others by the welfare
/// that remains over random books, which a test measures.
const STEP_SHIFT: u32 = 3;

struct Pair {
    bid: usize,
    offer: usize,
    buyer_view: i128,
    seller_view: i128,
    wanted: i128,
    given: i128,
}

/// One side's hand: its limit, how much it has, and what it charges for the last unit.
struct Hand {
    limit: i128,
    whole: i128,
    charge: i128,
    sum: i128,
}

fn hands(entries: &[Entry], low: Price, span: i128, largest: i128) -> Vec<Hand> {
    let hand = |entry: &Entry| Hand {
        limit: (i128::from(entry.price) - i128::from(low.0)) * WHOLE / span,
        whole: i128::from(entry.quantity) * WHOLE / largest,
        charge: 0,
        sum: 0,
    };
    entries.iter().map(hand).collect()
}

/// The consensus over a book.
pub(crate) fn consensus(book: &Book) -> Result<Outcome, RuleError> {
    let (bids, offers) = (book.entries(Side::Buy), book.entries(Side::Sell));
    let found = bids.len() + offers.len();
    if found > STEPS_MAX {
        return Err(RuleError::TooMany {
            rule: "consensus",
            most: STEPS_MAX,
            found,
        });
    }
    let Some((low, high)) = range(book) else {
        return Ok(Outcome::default());
    };
    let span = (i128::from(high.0) - i128::from(low.0)).max(1);
    let entries = bids.iter().chain(offers);
    let largest = entries
        .map(|entry| entry.quantity)
        .max()
        .unwrap_or(1)
        .into();
    let mut buyers = hands(bids, low, span, largest);
    let mut sellers = hands(offers, low, span, largest);
    let reach = |(bid, offer): &(usize, usize)| bids[*bid].price >= offers[*offer].price;
    let all = (0..bids.len()).flat_map(|bid| (0..offers.len()).map(move |offer| (bid, offer)));
    let mut pairs: Vec<Pair> = (all.filter(reach))
        .map(|(bid, offer)| Pair {
            bid,
            offer,
            buyer_view: buyers[bid].limit,
            seller_view: sellers[offer].limit,
            wanted: 0,
            given: 0,
        })
        .collect();
    // Energies swing around what they approach, so their mean is what counts.
    let mut means = vec![(0_i128, 0_i128); pairs.len()];
    for number in 0..ROUNDS {
        round(&mut pairs, &mut buyers, &mut sellers);
        if number >= ROUNDS_FIRST {
            let seen = means.iter_mut().zip(&pairs);
            seen.for_each(|(sum, pair)| *sum = (sum.0 + pair.wanted, sum.1 + pair.given));
        }
    }
    let counted = i128::from(ROUNDS - ROUNDS_FIRST);
    for (pair, (wanted, given)) in pairs.iter_mut().zip(means) {
        (pair.wanted, pair.given) = (wanted / counted, given / counted);
    }
    let price = |share: i128| i128::from(low.0) + share * span / WHOLE;
    let mut left = (
        bids.iter().map(|e| e.quantity).collect::<Vec<_>>(),
        offers.iter().map(|e| e.quantity).collect::<Vec<_>>(),
    );
    let mut trades = Vec::new();
    for pair in pairs {
        let agreed = pair.wanted.min(pair.given) * largest / WHOLE;
        let rooms = left.0[pair.bid].min(left.1[pair.offer]);
        let quantity = i64::try_from(agreed).unwrap_or(i64::MAX).min(rooms);
        if quantity <= 0 {
            continue;
        }
        left.0[pair.bid] -= quantity;
        left.1[pair.offer] -= quantity;
        let (bid, offer) = (&bids[pair.bid], &offers[pair.offer]);
        let view = price((pair.buyer_view + pair.seller_view) / 2);
        // Both limits are 64-bit prices, the bid not below the offer.
        let price = view.clamp(offer.price.into(), bid.price.into()) as i64;
        trades.push(Trade {
            buyer: book.orders()[bid.order].agent.clone(),
            seller: book.orders()[offer.order].agent.clone(),
            quantity: Mwh(quantity),
            price: Price(price),
        });
    }
    Ok(Outcome {
        rounds: Some(ROUNDS),
        ..Outcome::of_trades(book, trades)
    })
}

fn round(pairs: &mut [Pair], buyers: &mut [Hand], sellers: &mut [Hand]) {
    buyers
        .iter_mut()
        .chain(sellers.iter_mut())
        .for_each(|hand| hand.sum = 0);
    for pair in &mut *pairs {
        let (buyer, seller) = (&mut buyers[pair.bid], &mut sellers[pair.offer]);
        let apart = (pair.buyer_view - pair.seller_view) >> CONSENSUS_SHIFT;
        let short = (pair.wanted - pair.given) >> INNOVATION_SHIFT;
        pair.buyer_view += short - apart;
        pair.seller_view += short + apart;
        let gain = buyer.limit - pair.buyer_view - buyer.charge;
        pair.wanted = (pair.wanted + (gain >> STEP_SHIFT)).clamp(0, buyer.whole);
        let gain = pair.seller_view - seller.limit - seller.charge;
        pair.given = (pair.given + (gain >> STEP_SHIFT)).clamp(0, seller.whole);
        buyer.sum += pair.wanted;
        seller.sum += pair.given;
    }
    // A hand that is too full charges more for itself, an empty one nothing.
    for hand in buyers.iter_mut().chain(sellers) {
        hand.charge = (hand.charge + ((hand.sum - hand.whole) >> STEP_SHIFT)).max(0);
    }
}
