//! Tatonnement by bisection: halve the range of prices until supply meets demand.
//!
//! Answers are intervals, because at its own limit an agent does not mind how much. The
//! lowest price at which the most that is injected covers the least that is withdrawn
//! is one end of the competitive interval, the highest at which the opposite holds is
//! the other. Each end takes as many rounds as the range has bits.
//!
//! An agent whose answer falls while the price rises, or that does not answer, is at fault: it
//! is left out, and the search begins again without it.

use super::{Asked, Respond, at, range};
use crate::book::Book;
use crate::mechanism::RuleError;
use crate::mechanism::UniformPrice;
use crate::outcome::Outcome;
use crate::quantity::Price;

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Lowest and highest price at which supply meets demand, multiples of the tick.
    /// Both lie at a bound when they never meet within the range.
    pub interval: (Price, Price),
    /// Rounds of the search for the lower end, of the last search.
    pub rounds_low: u32,
    /// Rounds of all searches.
    pub rounds: u32,
    /// Who answered more at a lower price, or not at all, by index.
    pub at_fault: Vec<usize>,
}

/// One agent's answers at the bounds of the range that is left.
#[derive(Debug, Clone, Copy)]
struct Answers {
    low: (i128, i128),
    high: (i128, i128),
}

/// Searches the multiples of `tick` from `low` to `high`.
pub fn search(agents: &[&dyn Respond], low: Price, high: Price, tick: i64) -> Found {
    let mut at_fault = Vec::new();
    let mut rounds = 0;
    loop {
        let asked: Vec<usize> = (0..agents.len())
            .filter(|i| !at_fault.contains(i))
            .collect();
        let mut search = Search {
            agents,
            asked: &asked,
            tick: i128::from(tick.max(1)),
            low: i128::from(low.0),
            high: i128::from(high.0),
            rounds: 0,
        };
        // The lowest price at which the most injected is not negative; the highest at
        // which the least injected is not positive is found from the other side.
        let lower = search.first(|(_, most)| most >= 0);
        let rounds_low = search.rounds;
        let upper = search.first(|(least, _)| least > 0);
        rounds += search.rounds;
        match (lower, upper) {
            (Ok(lower), Ok(upper)) => {
                let last = search.last_multiple();
                let bound = |price: i128| Price(price as i64);
                let lower = lower.unwrap_or(last);
                let upper = upper.map_or(last, |first| first - search.tick);
                return Found {
                    interval: (bound(lower), bound(upper.max(lower))),
                    rounds_low,
                    rounds,
                    at_fault,
                };
            }
            (Err(faulty), _) | (_, Err(faulty)) => at_fault.push(faulty),
        }
    }
}

struct Search<'a> {
    agents: &'a [&'a dyn Respond],
    asked: &'a [usize],
    tick: i128,
    low: i128,
    high: i128,
    rounds: u32,
}

impl Search<'_> {
    fn last_multiple(&self) -> i128 {
        self.low + (self.high - self.low).div_euclid(self.tick) * self.tick
    }

    /// The lowest price at which `holds` of all answers together, `None` if it holds
    /// nowhere; or who is at fault.
    fn first(&mut self, holds: impl Fn((i128, i128)) -> bool) -> Result<Option<i128>, usize> {
        let most = (i128::MIN / 2, i128::MAX / 2);
        let mut known = vec![
            Answers {
                low: (most.0, most.0),
                high: (most.1, most.1),
            };
            self.asked.len()
        ];
        let (mut from, mut to) = (0, (self.high - self.low).div_euclid(self.tick) + 1);
        while from < to {
            let middle = from + (to - from) / 2;
            // Between two 64-bit prices.
            let price = Price((self.low + middle * self.tick) as i64);
            self.rounds += 1;
            let mut sum = (0_i128, 0_i128);
            let mut answers = Vec::with_capacity(self.asked.len());
            for (&index, known) in self.asked.iter().zip(&known) {
                let answer = self.agents[index].respond(price).ok_or(index)?;
                let rises = known.low.1 <= answer.0 && answer.1 <= known.high.0;
                if !rises || answer.0 > answer.1 {
                    return Err(index);
                }
                sum = (sum.0 + answer.0, sum.1 + answer.1);
                answers.push(answer);
            }
            if holds(sum) {
                to = middle;
                known.iter_mut().zip(answers).for_each(|(k, a)| k.high = a);
            } else {
                from = middle + 1;
                known.iter_mut().zip(answers).for_each(|(k, a)| k.low = a);
            }
        }
        let count = (self.high - self.low).div_euclid(self.tick) + 1;
        Ok((from < count).then(|| self.low + from * self.tick))
    }
}

/// The price of the uniform auction, found by asking; and the rounds it took.
pub(crate) fn price(book: &Book) -> (Option<Price>, u32) {
    let Some((low, high)) = range(book) else {
        return (None, 0);
    };
    let asked: Vec<Asked> = book.orders().iter().map(Asked).collect();
    let agents: Vec<&dyn Respond> = asked.iter().map(|agent| agent as &dyn Respond).collect();
    let found = search(&agents, low, high, book.rules().tick);
    let (low, high) = found.interval;
    (Some(UniformPrice::HALF.k.price(low, high)), found.rounds)
}

/// The bisection over a book.
pub(crate) fn bisection(book: &Book) -> Result<Outcome, RuleError> {
    let (price, rounds) = price(book);
    Ok(at(book, price.unwrap_or(Price(0)), rounds))
}
