//! Where the two curves cross, in which interval a price supports that, and who
//! gets how much.
//!
//! Theory: sorted bids fall, sorted offers rise; the largest tradable quantity is
//! reached where they cross. Every price between
//! `max(last accepted offer, first unserved bid)` and
//! `min(last accepted bid, first unserved offer)` leaves nobody worse off and no
//! rejected order strictly better than the price. A partly served order counts
//! as unserved. The orders at the marginal price of a side share what is left in
//! proportion to their size, the rest by largest remainder.
//!
//! Not responsible for picking the price in the interval: that is the mechanism.

use crate::book::{Book, Limit};
use crate::order::Side;
use crate::quantity::{MwhTotal, Price};

/// Entries of a side from which the ladder of price levels replaces the sort.
/// Chosen: below it, sweeping every level costs more than sorting; by the bench, 35 001
/// levels take about as long as sorting some 2 000 entries.
const LADDER_ENTRIES_MIN: usize = 2_000;

/// Most levels a ladder may have.
/// Chosen: 2^18 levels of 16 bytes are 4 MiB, still within a common cache.
const LADDER_LEVELS_MAX: i128 = 1 << 18;

/// All energy of one side at one price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    pub price: Price,
    pub total: i128,
}

/// The crossing of a book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crossing {
    /// Energy traded, positive.
    pub quantity: MwhTotal,
    /// Price of the last accepted bid.
    pub last_bid: Price,
    /// Price of the last accepted offer.
    pub last_offer: Price,
    /// Lowest price that supports the allocation.
    pub lo: Price,
    /// Highest price that supports the allocation; never below `lo`.
    pub hi: Price,
}

/// The price levels of a side, best first.
pub(crate) fn levels(book: &Book, side: Side) -> Vec<Level> {
    let limits = book.limits(side);
    let rules = book.rules();
    let span = (i128::from(rules.cap.0) - i128::from(rules.floor.0)) / i128::from(rules.tick) + 1;
    if limits.len() >= LADDER_ENTRIES_MIN && span <= LADDER_LEVELS_MAX {
        // `span` was just bounded, so it fits any index.
        ladder(limits, side, rules.floor.0, rules.tick, span as usize)
    } else {
        sorted(limits, side)
    }
}

/// Divides multiples of a tick by it, without the slow instruction for division: the
/// factors of two are shifted away, and modulo 2^64 the odd rest has an inverse, which
/// five steps of Newton find.
struct ExactDivision {
    shift: u32,
    inverse: u64,
}

impl ExactDivision {
    fn by(tick: i64) -> Self {
        let shift = tick.trailing_zeros();
        let odd = tick.unsigned_abs() >> shift;
        let better =
            |inverse: u64, _| inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        // An odd number is its own inverse modulo 8; each step doubles the bits.
        let inverse = (0..5).fold(odd, better);
        Self { shift, inverse }
    }

    /// The quotient of a multiple that is not negative.
    fn quotient(&self, multiple: u64) -> u64 {
        (multiple >> self.shift).wrapping_mul(self.inverse)
    }
}

fn ladder(limits: &[Limit], side: Side, floor: i64, tick: i64, span: usize) -> Vec<Level> {
    // A side holds less than 2^64 mWh, so a rung does too.
    let mut rungs = vec![0_u64; span];
    let tick_of = ExactDivision::by(tick);
    for limit in limits {
        // An admitted price is a multiple of the tick within the bounds.
        let above = limit.price.wrapping_sub(floor) as u64;
        rungs[tick_of.quotient(above) as usize] += limit.quantity as u64;
    }
    let level = |(rung, &total): (usize, &u64)| {
        (total > 0).then_some(Level {
            price: Price(floor + tick * rung as i64),
            total: total.into(),
        })
    };
    match side {
        Side::Sell => rungs.iter().enumerate().filter_map(level).collect(),
        Side::Buy => rungs.iter().enumerate().rev().filter_map(level).collect(),
    }
}

fn sorted(limits: &[Limit], side: Side) -> Vec<Level> {
    let mut pairs: Vec<(i64, i64)> = limits.iter().map(|l| (l.price, l.quantity)).collect();
    match side {
        Side::Sell => pairs.sort_unstable(),
        Side::Buy => pairs.sort_unstable_by(|a, b| b.cmp(a)),
    }
    let mut levels: Vec<Level> = Vec::new();
    for (price, quantity) in pairs {
        let quantity = i128::from(quantity);
        match levels.last_mut() {
            Some(level) if level.price.0 == price => level.total += quantity,
            _ => levels.push(Level {
                price: Price(price),
                total: quantity,
            }),
        }
    }
    levels
}

/// Where the sides cross; `None` when no bid reaches any offer.
#[must_use]
pub fn cross(book: &Book) -> Option<Crossing> {
    cross_levels(&levels(book, Side::Buy), &levels(book, Side::Sell))
}

/// The best bid and the best offer, which tell what would have crossed.
#[must_use]
pub fn best(book: &Book) -> (Option<Price>, Option<Price>) {
    let prices = |side| book.entries(side).iter().map(|entry| Price(entry.price));
    (prices(Side::Buy).max(), prices(Side::Sell).min())
}

fn cross_levels(bids: &[Level], offers: &[Level]) -> Option<Crossing> {
    let (mut i, mut j, mut quantity) = (0, 0, 0_i128);
    let (mut bid_left, mut offer_left) = (
        bids.first().map_or(0, |l| l.total),
        offers.first().map_or(0, |l| l.total),
    );
    let mut last = None;
    while let (Some(bid), Some(offer)) = (bids.get(i), offers.get(j)) {
        if bid.price < offer.price {
            break;
        }
        let traded = bid_left.min(offer_left);
        quantity += traded;
        bid_left -= traded;
        offer_left -= traded;
        last = Some((bid.price, offer.price));
        if bid_left == 0 {
            i += 1;
            bid_left = bids.get(i).map_or(0, |l| l.total);
        }
        if offer_left == 0 {
            j += 1;
            offer_left = offers.get(j).map_or(0, |l| l.total);
        }
    }
    let (last_bid, last_offer) = last?;
    let unserved = |level: Option<&Level>, none: Price| level.map_or(none, |l| l.price);
    Some(Crossing {
        quantity: MwhTotal(quantity),
        last_bid,
        last_offer,
        lo: last_offer.max(unserved(bids.get(i), last_offer)),
        hi: last_bid.min(unserved(offers.get(j), last_bid)),
    })
}

/// Energy per entry of a side: full above the margin, pro-rata at it.
/// `quantity` is at least the energy above the margin and at most that plus the
/// energy at the margin, which is what a [`Crossing`] of the same book says.
pub(crate) fn allocate(book: &Book, side: Side, margin: Price, quantity: MwhTotal) -> Vec<i64> {
    let limits = book.limits(side);
    // Which side it is is asked once and not per order, and whether an order is better
    // is computed and not branched on: half of a large book is, in no order.
    let (mut shares, full, at_margin) = match side {
        Side::Buy => better(limits, margin.0, |price, margin| price > margin),
        Side::Sell => better(limits, margin.0, |price, margin| price < margin),
    };
    let rest = quantity.0 - full;
    let total: i128 = at_margin
        .iter()
        .map(|&index| i128::from(limits[index].quantity))
        .sum();
    if rest >= total {
        for index in at_margin {
            shares[index] = limits[index].quantity;
        }
        return shares;
    }
    let each: Vec<i128> = at_margin
        .iter()
        .map(|&index| limits[index].quantity.into())
        .collect();
    for (index, share) in at_margin.into_iter().zip(pro_rata(&each, rest)) {
        // rest < total, so a share is below the entry's own 64-bit quantity.
        shares[index] = share as i64;
    }
    shares
}

/// `rest` shared in proportion to quantities, in whole numbers; single units go to the largest remainders, of
/// equals to the first. All of them where `rest` is no less; products are to stay below 2^127, as in an admitted book.
pub(crate) fn pro_rata(quantities: &[i128], rest: i128) -> Vec<i128> {
    let total: i128 = quantities.iter().sum();
    if rest >= total {
        return quantities.to_vec();
    }
    let mut given = 0_i128;
    let mut remainders = Vec::with_capacity(quantities.len());
    let mut shares = Vec::with_capacity(quantities.len());
    for (index, quantity) in quantities.iter().enumerate() {
        let product = quantity * rest;
        given += product / total;
        shares.push(product / total);
        remainders.push((product % total, index));
    }
    // Quantities are in canonical order, so a stable sort leaves ties by rank.
    remainders.sort_by_key(|&(remainder, _)| std::cmp::Reverse(remainder));
    // Fewer than one unit each is left over, so one pass places it all.
    let left = usize::try_from(rest - given).unwrap_or(0);
    for &(_, index) in remainders.iter().take(left) {
        shares[index] += 1;
    }
    shares
}

/// What is served in full, its sum, and which entries are at the margin.
fn better(
    limits: &[Limit],
    margin: i64,
    is_better: impl Fn(i64, i64) -> bool,
) -> (Vec<i64>, i128, Vec<usize>) {
    let mut at_margin = Vec::new();
    let mut full = 0_u64;
    let shares = limits.iter().enumerate().map(|(index, limit)| {
        if limit.price == margin {
            at_margin.push(index);
        }
        // All ones or all zeros.
        let share = limit.quantity & -i64::from(is_better(limit.price, margin));
        // A side holds less than 2^64 mWh.
        full += share as u64;
        share
    });
    let shares = shares.collect();
    (shares, full.into(), at_margin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{BENCH_RULES, generate_book};

    #[test]
    fn the_ladder_and_the_sort_see_the_same_levels() {
        let book = generate_book(7, 4_000);
        let span = ((BENCH_RULES.1 - BENCH_RULES.0) / BENCH_RULES.2 + 1) as usize;
        for side in [Side::Buy, Side::Sell] {
            let limits = book.limits(side);
            let by_ladder = ladder(limits, side, BENCH_RULES.0, BENCH_RULES.2, span);
            assert_eq!(by_ladder, sorted(limits, side), "{side}");
            assert!(
                by_ladder.len() > 100,
                "a book of few levels would prove little"
            );
        }
    }

    #[test]
    fn a_multiple_of_a_tick_is_divided_exactly() {
        for tick in [1, 2, 3, 7, 10, 96, 1 << 40, i64::MAX, 999_999_937] {
            for quotient in [0_i64, 1, 2, 3, 35_000, (1 << 18) - 1] {
                let Some(multiple) = quotient.checked_mul(tick) else {
                    continue;
                };
                let found = ExactDivision::by(tick).quotient(multiple as u64);
                assert_eq!(found, quotient as u64, "{multiple} / {tick}");
            }
        }
    }
}
