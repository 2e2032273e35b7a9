//! The orders of a book as tenders of a continuous double auction, by rank.
//!
//! A periodic book has no time, so the rank stands for it: the lowest comes first, and
//! of equals the bid. It shows what the continuous auction would have made of the same
//! orders; the auction itself is [`crate::continuous`].

use crate::book::Book;
use crate::clearing::Trade;
use crate::continuous::{ContinuousBook, Scale, Tender, Validity};
use crate::mechanism::RuleError;
use crate::order::Side;
use crate::outcome::Outcome;
use crate::quantity::Price;

/// The auction over a book; every step is an order of its own.
pub(crate) fn cda(book: &Book) -> Result<Outcome, RuleError> {
    let entries =
        [Side::Buy, Side::Sell].map(|side| book.entries(side).iter().map(move |e| (side, *e)));
    let mut sequence: Vec<_> = entries.into_iter().flatten().collect();
    let orders = book.orders();
    // Stable, so the steps of a curve stay in their order.
    sequence.sort_by_key(|(side, entry)| (orders[entry.order].rank, *side));
    if sequence.is_empty() {
        return Ok(Outcome::default());
    }
    let mut owners: Vec<_> = orders.iter().map(|order| &order.agent).collect();
    owners.sort_unstable();
    let mut continuous = ContinuousBook::new(Scale::of_prices(
        sequence.iter().map(|(_, e)| Price(e.price)),
    ))?;
    let mut executions = Vec::new();
    for (id, (side, entry)) in sequence.iter().enumerate() {
        let owner = owners.partition_point(|agent| **agent < orders[entry.order].agent);
        let tender = Tender {
            // A book of 2^32 steps would not fit any memory it is cleared in.
            id: id as u32,
            owner: owner as u32,
            side: *side,
            price: Price(entry.price),
            quantity: crate::quantity::Mwh(entry.quantity),
            validity: Validity::Gate,
        };
        continuous.submit(tender, &mut executions)?;
    }
    let agent = |id: u32| orders[sequence[id as usize].1.order].agent.clone();
    let trades = executions.into_iter().map(|execution| {
        let (maker, taker) = (agent(execution.maker), agent(execution.taker));
        let (buyer, seller) = match sequence[execution.taker as usize].0 {
            Side::Buy => (taker, maker),
            Side::Sell => (maker, taker),
        };
        Trade {
            buyer,
            seller,
            quantity: execution.quantity,
            price: execution.price,
        }
    });
    Ok(Outcome::of_trades(book, trades.collect()))
}
