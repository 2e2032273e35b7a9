//! Multi-unit trade reduction (Huang, Scheller-Wolf and Sycara, 2002).
//!
//! The last crossing bid and the last crossing offer only set the prices. Among
//! the others the longer side is cut, everybody by the same energy, until both
//! sides match; who has less than the cut leaves and the rest shares what is left.

use crate::book::{Book, Entry};
use crate::crossing::cross;
use crate::order::{AgentId, Side};
use crate::outcome::Outcome;
use crate::quantity::{Money, Mwh, MwhTotal, Price};

/// Outcome of the reduction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Huang {
    /// Energy traded.
    pub quantity: MwhTotal,
    /// What buyers pay and sellers receive; `None` when nothing trades.
    pub prices: Option<(Price, Price)>,
    /// Who trades how much.
    pub fills: Vec<(AgentId, Mwh)>,
    by_order: Vec<(usize, Mwh)>,
    /// What the operator keeps.
    pub surplus: Money,
}

/// The reduction over a book of single-step orders; a curve counts as one trader
/// per step, so it is truthful for single steps only.
#[must_use]
pub fn huang(book: &Book) -> Huang {
    let nothing = Huang {
        quantity: MwhTotal(0),
        prices: None,
        fills: Vec::new(),
        by_order: Vec::new(),
        surplus: Money(0),
    };
    let Some(crossing) = cross(book) else {
        return nothing;
    };
    let mut bids = crossing_entries(book, Side::Buy, crossing.quantity);
    let mut offers = crossing_entries(book, Side::Sell, crossing.quantity);
    let (Some(buy), Some(sell)) = (bids.pop(), offers.pop()) else {
        return nothing;
    };
    // The cut knows no prices: single units go by rank, or a false price could move them.
    bids.sort_by_key(|entry| entry.order);
    offers.sort_by_key(|entry| entry.order);
    let total =
        |entries: &[Entry]| -> i128 { entries.iter().map(|e| i128::from(e.quantity)).sum() };
    let (bought, sold) = (total(&bids), total(&offers));
    let quantity = bought.min(sold);
    if quantity == 0 {
        return nothing;
    }
    cut(&mut bids, bought - quantity);
    cut(&mut offers, sold - quantity);
    let (buy, sell) = (Price(buy.price), Price(sell.price));
    let by_order: Vec<(usize, Mwh)> = bids
        .into_iter()
        .chain(offers)
        .filter(|entry| entry.quantity > 0)
        .map(|entry| (entry.order, Mwh(entry.quantity)))
        .collect();
    let named = |&(order, energy): &(usize, Mwh)| (book.orders()[order].agent.clone(), energy);
    Huang {
        quantity: MwhTotal(quantity),
        prices: Some((buy, sell)),
        fills: by_order.iter().map(named).collect(),
        by_order,
        surplus: Money(quantity * (i128::from(buy.0) - i128::from(sell.0))),
    }
}

/// The same as an outcome.
pub(crate) fn huang_of(book: &Book) -> Outcome {
    let found = huang(book);
    let Some((buy, sell)) = found.prices else {
        return Outcome::default();
    };
    let mut quantity = vec![0; book.orders().len()];
    for (order, energy) in found.by_order {
        quantity[order] += energy.0;
    }
    Outcome::at_prices(book, &quantity, buy, sell)
}

/// The entries of a side that reach into the crossing, best first, then by rank.
fn crossing_entries(book: &Book, side: Side, quantity: MwhTotal) -> Vec<Entry> {
    let mut entries = book.entries(side).to_vec();
    // Stable, so equal prices stay in canonical order.
    entries.sort_by_key(|e| if side == Side::Buy { -e.price } else { e.price });
    let mut before = 0;
    entries
        .into_iter()
        .take_while(|entry| {
            let reaches = before < quantity.0;
            before += i128::from(entry.quantity);
            reaches
        })
        .collect()
}

/// Takes `gap` from the entries, the same from each; single units by rank.
fn cut(entries: &mut [Entry], mut gap: i128) {
    loop {
        let count = entries.iter().filter(|entry| entry.quantity > 0).count() as i128;
        if gap == 0 || count == 0 {
            return;
        }
        let each = gap / count;
        let mut left = false;
        for entry in entries
            .iter_mut()
            .filter(|e| (1..=each).contains(&e.quantity.into()))
        {
            gap -= i128::from(entry.quantity);
            entry.quantity = 0;
            left = true;
        }
        if left {
            continue;
        }
        let extra = gap % count;
        for (index, entry) in entries.iter_mut().filter(|e| e.quantity > 0).enumerate() {
            // Everybody left has more than `each`, which therefore fits 64 bits.
            entry.quantity -= (each + i128::from((index as i128) < extra)) as i64;
        }
        return;
    }
}
