//! How long a clearing of many orders takes, and an order book of many operations.
//!
//! The crate reads no clock, so the caller brings one. The random numbers are a
//! small linear congruential generator with a seed, so that a book is the same
//! everywhere.

use crate::book::{Book, BookRules};
use crate::clearing::{ClearError, Clearing};
use crate::continuous::{ContinuousBook, Placed, Scale, Tender, TenderError, Ticket, Validity};
use crate::crossing::cross;
use crate::interval::Interval;
use crate::mechanism::{Mechanism, UniformPrice, allocation};
use crate::order::{AgentId, Order, Side};
use crate::quantity::{Mwh, NS_PER_HOUR, Price};

/// Floor, cap and tick of a generated book in mc/kWh: 35 001 levels.
/// Chosen: wide enough for negative prices and scarcity, a tick of 0.01 cent.
pub const BENCH_RULES: (i64, i64, i64) = (-50_000, 300_000, 10);

/// Knuth's MMIX constants; the upper half of the state is used, whose period is
/// long enough for a book.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, bound: u64) -> i64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // The upper 32 bits, below 2^32.
        ((self.0 >> 32) % bound) as i64
    }
}

/// `n` single-step orders, half of them bids, over all price levels.
#[must_use]
pub fn generate_orders(seed: u64, n: usize) -> Vec<Order> {
    let (floor, cap, tick) = BENCH_RULES;
    let levels = ((cap - floor) / tick + 1) as u64;
    let mut random = Lcg(seed);
    (0..n)
        .map(|index| {
            let side = if index % 2 == 0 {
                Side::Buy
            } else {
                Side::Sell
            };
            let price = Price(floor + tick * random.below(levels));
            let quantity = Mwh(1 + random.below(1_000_000));
            let agent = AgentId::from(format!("a{index}"));
            Order::single(agent, side, price, quantity).ranked(index as u64)
        })
        .collect()
}

/// The book of [`generate_orders`].
#[must_use]
pub fn generate_book(seed: u64, n: usize) -> Book {
    let (floor, cap, tick) = BENCH_RULES;
    let rules = BookRules::bounded(Price(floor), Price(cap), tick);
    let interval = Interval {
        index: 0,
        start_ns: 0,
        dt_ns: NS_PER_HOUR,
    };
    match Book::admit(interval, &rules, generate_orders(seed, n)) {
        Ok((book, _)) => book,
        Err(_) => unreachable!("BENCH_RULES are consistent, as the tests of this module show"),
    }
}

/// How long the parts of one clearing took, each the best of several rounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// Orders in the book.
    pub orders: usize,
    /// Price and quantity alone, in nanoseconds.
    pub crossing_ns: u64,
    /// Energy per order at that price, in nanoseconds.
    pub allocation_ns: u64,
    /// All of it again, with named fills and payments, in nanoseconds.
    pub outcome_ns: u64,
    /// The self-check of the clearing, in nanoseconds.
    pub check_ns: u64,
    /// The result, which is the same for the same seed and size.
    pub clearing: Clearing,
}

/// Clears one generated book `rounds` times (at least once) between readings of
/// `now_ns`; the best round tells what the work costs, the others what disturbed it.
///
/// # Errors
/// When the clearing fails its own check.
pub fn time_clearing(
    seed: u64,
    n: usize,
    rounds: usize,
    mut now_ns: impl FnMut() -> u64,
) -> Result<Timing, ClearError> {
    let book = generate_book(seed, n);
    let mut round = || {
        let begin = now_ns();
        let crossing = std::hint::black_box(cross(&book));
        let crossed = now_ns();
        std::hint::black_box(
            crossing
                .as_ref()
                .map(|crossing| allocation(&book, crossing)),
        );
        let allocated = now_ns();
        let clearing = UniformPrice::HALF.outcome(&book);
        let cleared = now_ns();
        clearing.check(&book)?;
        let checked = now_ns();
        debug_assert_eq!(
            crossing.map_or(0, |c| c.quantity.0),
            clearing.quantity.0,
            "both see the same book"
        );
        Ok(Timing {
            orders: book.orders().len(),
            crossing_ns: crossed.saturating_sub(begin),
            allocation_ns: allocated.saturating_sub(crossed),
            outcome_ns: cleared.saturating_sub(allocated),
            check_ns: checked.saturating_sub(cleared),
            clearing,
        })
    };
    let mut best = round()?;
    for _ in 1..rounds {
        let next = round()?;
        best.crossing_ns = best.crossing_ns.min(next.crossing_ns);
        best.allocation_ns = best.allocation_ns.min(next.allocation_ns);
        best.outcome_ns = best.outcome_ns.min(next.outcome_ns);
        best.check_ns = best.check_ns.min(next.check_ns);
    }
    Ok(best)
}

/// How long a stream of operations on one order book took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContinuousTiming {
    /// Tenders and cancellations.
    pub operations: usize,
    /// All of them, in nanoseconds.
    pub ns: u64,
    /// Trades among them.
    pub trades: usize,
    /// Orders that rest at the end.
    pub resting: usize,
}

/// What a bench does to an order book.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Submit(Tender),
    /// Cancels what the tender of that number left.
    Cancel(u32),
}

/// Levels of a benched order book, and how far prices lie around its middle.
/// Chosen: those of [`BENCH_RULES`], with prices as near to each other as in a live book.
const CONTINUOUS_LEVELS: (usize, i64) = (35_001, 200);

/// As many tenders as cancellations, of the oldest order each, so that few orders rest.
fn generate_operations(seed: u64, n: usize) -> Vec<Operation> {
    let (floor, _, tick) = BENCH_RULES;
    let (levels, around) = CONTINUOUS_LEVELS;
    let middle = levels as i64 / 2;
    let mut random = Lcg(seed);
    let (mut id, mut cancelled) = (0, 0);
    (0..n)
        .map(|_| {
            if cancelled < id && random.below(2) == 0 {
                cancelled += 1;
                // It may have traded already.
                return Operation::Cancel(cancelled - 1);
            }
            let side = if random.below(2) == 0 {
                Side::Buy
            } else {
                Side::Sell
            };
            let level = middle + random.below(2 * around as u64) - around;
            id += 1;
            Operation::Submit(Tender {
                id: id - 1,
                owner: id - 1,
                side,
                price: Price(floor + tick * level),
                quantity: Mwh(1 + random.below(1_000)),
                validity: Validity::Gate,
            })
        })
        .collect()
}

/// Runs one generated stream of operations between two readings of `now_ns`; the best of
/// `rounds`, at least one.
///
/// # Errors
/// Never with the operations that are generated here.
pub fn time_continuous(
    seed: u64,
    n: usize,
    rounds: usize,
    mut now_ns: impl FnMut() -> u64,
) -> Result<ContinuousTiming, TenderError> {
    let operations = generate_operations(seed, n);
    let (floor, _, tick) = BENCH_RULES;
    let scale = Scale::Ticks {
        floor: Price(floor),
        tick,
        levels: CONTINUOUS_LEVELS.0,
    };
    let mut round = || {
        let mut book = ContinuousBook::new(scale.clone())?;
        let mut tickets: Vec<Option<Ticket>> = vec![None; operations.len()];
        let mut executions = Vec::with_capacity(1_024);
        let mut trades = 0;
        let begin = now_ns();
        for operation in &operations {
            match *operation {
                Operation::Submit(tender) => {
                    let placed = book.submit(tender, &mut executions)?;
                    if let Placed::Rests { ticket, .. } = placed {
                        tickets[tender.id as usize] = Some(ticket);
                    }
                    trades += executions.len();
                    executions.clear();
                }
                Operation::Cancel(id) => {
                    if let Some(ticket) = tickets[id as usize].take() {
                        std::hint::black_box(book.cancel(ticket));
                    }
                }
            }
        }
        let ns = now_ns().saturating_sub(begin);
        Ok(ContinuousTiming {
            operations: operations.len(),
            ns,
            trades,
            resting: book.close().len(),
        })
    };
    let mut best: ContinuousTiming = round()?;
    for _ in 1..rounds {
        best.ns = best.ns.min(round()?.ns);
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_book_is_the_same_every_time_and_all_of_it_is_admitted() {
        let book = generate_book(1, 1_000);
        assert_eq!(book.orders().len(), 1_000);
        assert_eq!(book, generate_book(1, 1_000));
        assert_ne!(book, generate_book(2, 1_000));
    }

    #[test]
    fn the_parts_of_a_clearing_are_timed_by_the_callers_clock() {
        // Each reading is a tick later than the one before: 1, 2, 3, and so on.
        let (mut now, mut tick) = (0, 0);
        let timing = time_clearing(1, 100, 2, || {
            tick += 1;
            now += tick;
            now
        });
        let timing = timing.unwrap();
        // The second round is slower, so the first one is the best.
        assert_eq!((timing.crossing_ns, timing.allocation_ns), (2, 3));
        assert_eq!((timing.outcome_ns, timing.check_ns), (4, 5));
        assert_eq!(timing.orders, 100);
        assert!(timing.clearing.price.is_some());
    }

    #[test]
    fn a_stream_of_operations_trades_the_same_every_time() {
        let mut tick = 0;
        let mut timed = |seed| {
            let now = || {
                tick += 5;
                tick
            };
            time_continuous(seed, 2_000, 2, now).unwrap()
        };
        let first = timed(1);
        assert_eq!((first.operations, first.ns), (2_000, 5));
        assert_eq!(first, timed(1));
        assert_ne!(first, timed(2));
        assert!(first.trades > 100 && first.resting > 0, "{first:?}");
    }
}
