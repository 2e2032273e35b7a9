//! Tatonnement by gradient: the price follows the excess of demand, with steps that
//! become smaller.
//!
//! With limits instead of slopes the answers jump, so the price would swing forever at
//! a constant step; at the `n`-th round it moves by a share of the price range divided
//! by `n`. It ends when a price supports the answers, or after [`ROUNDS_MAX`] rounds in
//! the bisection.

use super::{Asked, at, bisection, range};
use crate::book::Book;
use crate::mechanism::RuleError;
use crate::outcome::Outcome;
use crate::quantity::Price;

/// Rounds until the bisection takes over.
/// Chosen: more rounds than that do not fit an interval of a minute on a slow link.
pub const ROUNDS_MAX: u32 = 200;

/// The gradient over a book.
pub(crate) fn gradient(book: &Book) -> Result<Outcome, RuleError> {
    let Some((low, high)) = range(book) else {
        return Ok(at(book, Price(0), 0));
    };
    let tick = i128::from(book.rules().tick);
    let span = i128::from(high.0) - i128::from(low.0);
    let total: i128 = (book.orders().iter())
        .flat_map(|order| &order.steps)
        .map(|step| i128::from(step.quantity.0))
        .sum();
    let mut price = (i128::from(low.0) + span / 2).div_euclid(tick) * tick;
    for round in 1..=ROUNDS_MAX {
        // Between the lowest and the highest limit.
        let asked = Price(price as i64);
        let (mut least, mut most) = (0, 0);
        for order in book.orders() {
            let answer = Asked(order).answer(asked);
            (least, most) = (least + answer.0, most + answer.1);
        }
        if least <= 0 && 0 <= most {
            return Ok(at(book, asked, round));
        }
        // Excess demand as a share of all energy, in parts of 2^32.
        let excess = (-(least + most) << 31) / total;
        let step = (excess * span / i128::from(round)) >> 32;
        let ticks = match step / tick {
            // Less than a tick is a tick, or it would never arrive.
            0 => excess.signum(),
            ticks => ticks,
        };
        price = (price + ticks * tick).clamp(low.0.into(), high.0.into());
    }
    let (price, rounds) = bisection::price(book);
    Ok(at(book, price.unwrap_or(Price(0)), ROUNDS_MAX + rounds))
}
