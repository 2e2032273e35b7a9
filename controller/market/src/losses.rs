//! Losses as a factor per agent: a book at the reference node, and back.
//!
//! Of a kilowatt-hour offered at a node with the marginal loss `l` only `1 − l` arrives
//! at the reference; one taken there needs `1 + l`. So an offer counts with less energy at
//! a higher price, a bid with more energy at a lower one, and the auction at the
//! reference is the ordinary one. Rounding is against the trade, so that nobody trades
//! beyond its limit at home.
//!
//! A line of resistance `r` loses `r·P²/V²`, at the margin `2·r·P/V²`: twice the mean.
//! What is thereby collected too much is credited back by energy.
//!
//! Not responsible for measured losses: those are in [`crate::settlement`].

use std::collections::BTreeMap;

use crate::book::{Book, BookError};
use crate::catalogue::rule;
use crate::clearing::Fill;
use crate::fault::Coded;
use crate::mechanism::{RuleError, Surroundings};
use crate::order::{AgentId, Order, Side, Step};
use crate::outcome::{Outcome, shares};
use crate::quantity::{Money, Mwh, PPM, Price, div_nearest};

/// Marginal loss of each agent's way to the reference, in parts per million; who is not
/// listed is at the reference. Negative where injecting there relieves the lines.
pub type LossFactors = BTreeMap<AgentId, i32>;

/// Why a book with losses is not cleared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LossError {
    /// Half or more would be lost, which is no distribution line.
    #[error("the marginal loss of `{agent}` is {loss_ppm} ppm")]
    Factor {
        /// Whose.
        agent: AgentId,
        /// The loss.
        loss_ppm: i32,
    },
    /// Nothing is left of an order at the reference, or it does not fit there.
    #[error(transparent)]
    Order(#[from] BookError),
    /// The auction at the reference is refused.
    #[error(transparent)]
    Rule(#[from] RuleError),
}

impl Coded for LossError {
    fn code(&self) -> &'static str {
        match self {
            Self::Factor { .. } => "M130",
            Self::Order(error) => error.code(),
            Self::Rule(error) => error.code(),
        }
    }
    fn place(&self) -> String {
        match self {
            Self::Factor { agent, .. } => format!("loss of `{agent}`"),
            Self::Order(error) => error.place(),
            Self::Rule(error) => error.place(),
        }
    }
    fn help(&self) -> String {
        match self {
            Self::Factor { .. } => "give a loss within -499999 ..= 499999 ppm".into(),
            Self::Order(error) => error.help(),
            Self::Rule(error) => error.help(),
        }
    }
}

/// A cleared book with losses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithLosses {
    /// The auction at the reference.
    pub reference: Outcome,
    /// What each trades at home, with what it pays.
    pub fills: Vec<Fill>,
    /// Energy that is lost at the margin: injected less withdrawn, at home.
    pub lost: Mwh,
}

const WHOLE: i128 = PPM as i128;

/// How much of a unit at home counts at the reference, in ppm.
fn counts(side: Side, loss_ppm: i32) -> i128 {
    match side {
        Side::Buy => WHOLE + i128::from(loss_ppm),
        Side::Sell => WHOLE - i128::from(loss_ppm),
    }
}

fn up(above: i128, below: i128) -> i128 {
    -((-above).div_euclid(below))
}

/// An order as it counts at the reference: energy rounded down, the price against it.
fn at_reference(order: &Order, counts: i128, tick: i64) -> Option<Order> {
    let tick = i128::from(tick);
    let steps = order.steps.iter().map(|step| {
        let scaled = i128::from(step.price.0) * WHOLE;
        let price = match order.side {
            Side::Buy => scaled.div_euclid(counts * tick) * tick,
            Side::Sell => up(scaled, counts * tick) * tick,
        };
        Some(Step {
            price: Price(i64::try_from(price).ok()?),
            quantity: Mwh(i64::try_from(i128::from(step.quantity.0) * counts / WHOLE).ok()?),
        })
    });
    // Two steps that round to one price are one step, and what rounds to nothing is none.
    let mut merged: Vec<Step> = Vec::new();
    for step in steps.collect::<Option<Vec<Step>>>()? {
        match merged.last_mut() {
            Some(last) if last.price == step.price => {
                last.quantity.0 = last.quantity.0.checked_add(step.quantity.0)?;
            }
            _ if step.quantity.0 == 0 => {}
            _ => merged.push(step),
        }
    }
    (!merged.is_empty()).then(|| Order {
        steps: merged,
        ..order.clone()
    })
}

/// Energy at home of a fill at the reference, rounded so that the order's own price
/// still covers it: down where the energy costs its owner something, else up.
fn at_home(order: &Order, energy: Mwh, counts: i128) -> Mwh {
    let scaled = i128::from(energy.0) * WHOLE;
    let (least, most) = (scaled.div_euclid(counts), up(scaled, counts));
    let worth_something = order.steps.iter().all(|step| step.price.0 >= 0);
    let wish = match (order.side, worth_something) {
        (Side::Buy, true) | (Side::Sell, false) => most,
        _ => least,
    };
    let ordered: i64 = order.steps.iter().map(|step| step.quantity.0).sum();
    // Not above what was ordered, which fits.
    Mwh(wish.min(ordered.into()) as i64)
}

/// Clears a book at the reference by the uniform price and brings the fills home.
///
/// # Errors
/// [`LossError`].
pub fn clear(book: &Book, factors: &LossFactors) -> Result<WithLosses, LossError> {
    let loss = |agent: &AgentId| factors.get(agent).copied().unwrap_or(0);
    for (agent, &loss_ppm) in factors {
        if loss_ppm.unsigned_abs() >= PPM / 2 {
            let agent = agent.clone();
            return Err(LossError::Factor { agent, loss_ppm });
        }
    }
    let mut rules = book.rules().clone();
    // What is admissible at home may lie beyond the bounds once it is scaled.
    (rules.floor, rules.cap) = (
        Price(-crate::book::PRICE_MAGNITUDE_MAX / rules.tick * rules.tick),
        Price(crate::book::PRICE_MAGNITUDE_MAX / rules.tick * rules.tick),
    );
    rules.capabilities = None;
    let counted = book.orders().iter().filter_map(|order| {
        at_reference(order, counts(order.side, loss(&order.agent)), rules.tick)
    });
    let reference = Book::new(book.interval(), &rules, counted.collect())
        .map_err(|mut refused| LossError::Order(refused.swap_remove(0)))?;
    let mut outcome = Outcome::default();
    if let Some(rule) = rule("uniform_k_half") {
        outcome = rule.clear(&reference, &Surroundings::of(&reference))?;
    }
    let mut fills = Vec::new();
    let mut lost = 0;
    let mut own = outcome.fills.iter().peekable();
    for order in book.orders() {
        let Some(fill) = own.next_if(|f| f.agent == order.agent && f.side == order.side) else {
            continue;
        };
        let quantity = at_home(order, fill.quantity, counts(order.side, loss(&order.agent)));
        lost += quantity.0 * order.side.injection_sign();
        fills.push(Fill {
            quantity,
            ..fill.clone()
        });
    }
    Ok(WithLosses {
        reference: outcome,
        fills,
        lost: Mwh(lost),
    })
}

/// The marginal loss of a line that carries a power, in ppm: `2·r·P/V²`, positive for
/// who injects at the sending end.
#[must_use]
pub fn marginal_loss_ppm(resistance_milliohm: u32, power_milliwatt: i64, volt_milli: u32) -> i32 {
    let above = 2 * i128::from(resistance_milliohm) * i128::from(power_milliwatt) * WHOLE;
    let below = i128::from(volt_milli) * i128::from(volt_milli);
    let loss = div_nearest(above, below.max(1));
    // What a line loses beyond half is no matter of a factor any more; `clear` refuses it.
    loss.clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

/// Clears again with the losses of the flows of the last time, `passes` times.
///
/// # Errors
/// [`LossError`].
pub fn clear_again(
    book: &Book,
    passes: usize,
    mut factors_of: impl FnMut(&WithLosses) -> LossFactors,
) -> Result<WithLosses, LossError> {
    let mut cleared = clear(book, &LossFactors::new())?;
    for _ in 0..passes {
        let factors = factors_of(&cleared);
        cleared = clear(book, &factors)?;
    }
    Ok(cleared)
}

/// What each gets back of an amount that was collected too much, by energy; negative, as
/// it is received.
#[must_use]
pub fn credits(fills: &[Fill], collected_too_much: Money) -> Vec<(AgentId, Side, Money)> {
    let weights: Vec<i128> = fills.iter().map(|fill| fill.quantity.0.into()).collect();
    let parts = shares(collected_too_much.0, &weights);
    let credit = |(fill, part): (&Fill, i128)| (fill.agent.clone(), fill.side, Money(-part));
    fills.iter().zip(parts).map(credit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::BookRules;
    use crate::chance::Chance;
    use crate::clearing::worth;
    use crate::interval::Interval;

    fn book(rows: &[(&str, Side, i64, i64)]) -> Book {
        let order = |&(name, side, price, quantity): &(&str, Side, i64, i64)| {
            Order::single(name.into(), side, Price(price), Mwh(quantity))
        };
        let interval = Interval::new(0, 0, 1).unwrap();
        let orders = rows.iter().map(order).collect();
        Book::new(interval, &BookRules::unbounded(), orders).unwrap()
    }

    #[test]
    fn a_far_seller_gives_more_than_arrives_and_a_far_buyer_needs_more() {
        let book = book(&[
            ("town", Side::Buy, 30_000, 900),
            ("farm", Side::Sell, 9_000, 1_000),
        ]);
        let factors = [("farm".into(), 100_000)].into();
        let cleared = clear(&book, &factors).unwrap();
        let fills: Vec<_> = cleared.fills.iter().map(|f| f.quantity.0).collect();
        assert_eq!((fills, cleared.lost), (vec![900, 1_000], Mwh(100)));
        // Between 9000 / 0.9 and 30000.
        assert_eq!(
            cleared.reference.prices,
            Some((Price(20_000), Price(20_000)))
        );
        let factors = [("town".into(), 100_000)].into();
        let cleared = clear(&book, &factors).unwrap();
        let fills: Vec<_> = cleared.fills.iter().map(|f| f.quantity.0).collect();
        assert_eq!((fills, cleared.lost), (vec![900, 990], Mwh(90)));
    }

    #[test]
    fn nobody_trades_beyond_its_limit_at_home_and_money_balances() {
        let mut chance = Chance::seeded(4);
        let mut trades = 0;
        for _ in 0..400 {
            let names = ["a", "b", "c", "s", "t", "u"];
            let rows: Vec<_> = (names.iter().enumerate())
                .map(|(index, &name)| {
                    let side = if index < 3 { Side::Buy } else { Side::Sell };
                    (name, side, chance.within(-20, 60), chance.within(1, 40))
                })
                .collect();
            let book = book(&rows);
            let loss = |name: &&str| ((*name).into(), chance.within(-90_000, 300_000) as i32);
            let factors: LossFactors = names.iter().map(loss).collect();
            let cleared = clear(&book, &factors).unwrap();
            let paid: Money = cleared.fills.iter().map(|fill| fill.payment).sum();
            assert_eq!(paid, Money(0));
            for fill in &cleared.fills {
                let own = |o: &&Order| o.agent == fill.agent && o.side == fill.side;
                let order = book.orders().iter().find(own).unwrap();
                let value = worth(order, fill.quantity);
                let value = if fill.side == Side::Buy {
                    value
                } else {
                    -value
                };
                assert!(fill.payment <= value, "{fill:?} {order:?} {factors:?}");
                assert!(fill.quantity <= order.steps[0].quantity);
                trades += 1;
            }
        }
        assert!(trades > 500, "{trades}");
    }

    #[test]
    fn losses_follow_the_flow_that_they_come_from() {
        // 2 · 0.1 ohm · 10 kW / (400 V)² = 1.25 %.
        assert_eq!(marginal_loss_ppm(100, 10_000_000, 400_000), 12_500);
        assert_eq!(marginal_loss_ppm(100, -10_000_000, 400_000), -12_500);
        let book = book(&[
            ("town", Side::Buy, 30_000, 9_000_000),
            ("farm", Side::Sell, 9_000, 10_000_000),
        ]);
        let mut seen = Vec::new();
        let cleared = clear_again(&book, 3, |last| {
            let farm = last.fills.iter().find(|fill| fill.side == Side::Sell);
            // An hour's interval: milliwatt-hours are milliwatts.
            let loss = marginal_loss_ppm(400, farm.map_or(0, |fill| fill.quantity.0), 230_000);
            seen.push(loss);
            [("farm".into(), loss)].into()
        });
        let cleared = cleared.unwrap();
        assert!((seen[2] - seen[1]).abs() < 5_000, "{seen:?}");
        let credited = credits(&cleared.fills, Money(101));
        assert_eq!(credited.iter().map(|(_, _, m)| m.0).sum::<i128>(), -101);
        let half = clear(&book, &[("farm".into(), 500_000)].into());
        assert_eq!(half.unwrap_err().code(), "M130");
    }
}
