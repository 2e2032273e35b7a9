//! Exchange with the alternating direction method of multipliers (Boyd and others,
//! 2011, section 7.3): everybody minimises its cost and the distance to a reference,
//! the price follows the average.
//!
//! With `x_i` the net injection, `λ` the price and `ρ` the weight of the distance:
//! `x_i ← clip((ρ·v_i + λ − b_i)/(a_i + ρ))` with `v_i = x_i − x̄`, then `λ ← λ − ρ·x̄`.
//! It ends when the rest `√N·|x̄|` and the last change `ρ·‖v − v_before‖` are small.
//!
//! All numbers are integers in parts of [`WHOLE`], so that every replica counts the
//! same rounds.

use super::{at, bisection, range};
use crate::book::Book;
use crate::mechanism::RuleError;
use crate::order::Side;
use crate::outcome::Outcome;
use crate::quantity::{Price, div_nearest};

/// One whole of energy or price. Chosen: twelve digits, so that rounding stays far
/// below the limits of convergence.
pub const WHOLE: i128 = 1_000_000_000_000;

/// Rounds of a book until the bisection takes over. Chosen: as for the gradient; few
/// books need more.
pub const ROUNDS_MAX: u32 = 500;

/// Marginal cost `b + a·x` within `least ..= most`; `a` in whole numbers, the others in
/// parts of [`WHOLE`]. A buyer's `x` is negative, its marginal value is the same line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quadratic {
    /// Rise of the marginal cost per unit, not negative.
    pub slope: i128,
    /// Marginal cost of the first unit.
    pub base: i128,
    /// Least net injection.
    pub least: i128,
    /// Most net injection.
    pub most: i128,
}

/// When it is near enough, in parts of [`WHOLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerance {
    /// Of the rest that nobody takes.
    pub rest: i128,
    /// Of the last change.
    pub change: i128,
}

/// Where it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchanged {
    /// The price, in parts of [`WHOLE`].
    pub price: i128,
    /// Net injections, in parts of [`WHOLE`].
    pub injections: Vec<i128>,
    /// Rounds it took.
    pub rounds: u32,
    /// Whether it came within the tolerance.
    pub settled: bool,
}

/// Exchanges from nothing and a price of zero; `weight` is `ρ`, at least one.
#[must_use]
pub fn exchange(
    agents: &[Quadratic],
    weight: i128,
    tolerance: Tolerance,
    rounds_max: u32,
) -> Exchanged {
    let count = (agents.len() as i128).max(1);
    let mut injections = vec![0_i128; agents.len()];
    let (mut mean, mut price) = (0_i128, 0_i128);
    for round in 1..=rounds_max {
        let before: Vec<i128> = injections.iter().map(|x| x - mean).collect();
        for (agent, (x, v)) in agents.iter().zip(injections.iter_mut().zip(&before)) {
            let pull = weight * v + price - agent.base;
            let wish = div_nearest(pull, agent.slope + weight);
            *x = wish.clamp(agent.least, agent.most);
        }
        mean = div_nearest(injections.iter().sum(), count);
        price -= weight * mean;
        let moved = injections.iter().zip(&before).map(|(x, v)| x - mean - v);
        let square = |x: i128| x.saturating_mul(x);
        let rest = square(mean).saturating_mul(count);
        let change = moved.fold(0_i128, |sum, d| sum.saturating_add(square(d)));
        let change = change.saturating_mul(square(weight));
        if rest <= square(tolerance.rest) && change <= square(tolerance.change) {
            return Exchanged {
                price,
                injections,
                rounds: round,
                settled: true,
            };
        }
    }
    Exchanged {
        price,
        injections,
        rounds: rounds_max,
        settled: false,
    }
}

/// The exchange over a book: each step is an agent, energies are counted in parts of
/// the largest and prices from the lowest limit, in parts of their range.
pub(crate) fn admm(book: &Book) -> Result<Outcome, RuleError> {
    let Some((low, high)) = range(book) else {
        return Ok(at(book, Price(0), 0));
    };
    let span = (i128::from(high.0) - i128::from(low.0)).max(1);
    let entries = [Side::Buy, Side::Sell].map(|side| (side, book.entries(side)));
    let all = || {
        entries
            .iter()
            .flat_map(|(side, e)| e.iter().map(move |e| (*side, e)))
    };
    let largest = all().map(|(_, entry)| entry.quantity).max().unwrap_or(1);
    let agents: Vec<Quadratic> = all()
        .map(|(side, entry)| {
            // Both factors are below 2^65, so the product fits.
            let most = i128::from(entry.quantity) * WHOLE / i128::from(largest);
            Quadratic {
                slope: 0,
                base: (i128::from(entry.price) - i128::from(low.0)) * WHOLE / span,
                least: if side == Side::Buy { -most } else { 0 },
                most: if side == Side::Sell { most } else { 0 },
            }
        })
        .collect();
    // A thousandth of the largest order, and of the range of prices.
    let tolerance = Tolerance {
        rest: WHOLE / 1_000,
        change: WHOLE / 1_000,
    };
    let found = exchange(&agents, 1, tolerance, ROUNDS_MAX);
    if found.settled {
        let above = (found.price * span).div_euclid(WHOLE);
        let price = i128::from(low.0) + above.clamp(0, span);
        return Ok(at(book, Price(price as i64), found.rounds));
    }
    let (price, rounds) = bisection::price(book);
    Ok(at(book, price.unwrap_or(Price(0)), found.rounds + rounds))
}
