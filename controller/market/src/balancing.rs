//! Balancing energy: which offers a deviation activates, and who pays for it.
//!
//! The activated offers are the cheapest that cover the deviation, shared at the
//! margin like any auction. With one price everybody settles at the marginal
//! price and the accounts sum to zero. With two prices who helped settles at the
//! day-ahead price instead, and what is left over is the operator's.
//!
//! Not responsible for metering, or for the interval settlement of a bus with a
//! utility grid: that is [`crate::settlement`].

use std::collections::BTreeMap;

use crate::book::{Book, BookError, BookRules};
use crate::crossing::{allocate, levels};
use crate::fault::Coded;
use crate::interval::Interval;
use crate::order::{AgentId, Order, Side};
use crate::quantity::{Money, MwhTotal, Price};

/// Energy activated and paid for one interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balancing {
    /// Energy per activated offer, in canonical order; injection positive.
    pub activated: Vec<(AgentId, MwhTotal)>,
    /// Marginal price of the activation; the day-ahead price when none was needed.
    pub price: Price,
    /// What each account pays when everybody settles at the marginal price.
    pub single: Vec<(AgentId, Money)>,
    /// What each account pays when helpers settle at the day-ahead price.
    pub dual: Vec<(AgentId, Money)>,
}

impl Balancing {
    /// Sum of the one-price payments; zero.
    #[must_use]
    pub fn single_residual(&self) -> Money {
        self.single.iter().map(|(_, amount)| *amount).sum()
    }

    /// Sum of the two-price payments, which the operator keeps.
    #[must_use]
    pub fn dual_residual(&self) -> Money {
        self.dual.iter().map(|(_, amount)| *amount).sum()
    }
}

/// Why balancing is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BalancingError {
    /// An offer is not admissible.
    #[error(transparent)]
    Offers(#[from] BookError),
    /// The offers do not cover the deviation.
    #[error("balancing needs {needed} and only {offered} is offered")]
    Exhausted {
        /// Energy to balance.
        needed: MwhTotal,
        /// Energy of all offers in that direction.
        offered: MwhTotal,
    },
    /// An amount or the deviation exceeds 128 bits.
    #[error("balancing of `{agent}` exceeds 128 bits")]
    Overflow {
        /// Whose amount.
        agent: AgentId,
    },
}

impl Coded for BalancingError {
    fn code(&self) -> &'static str {
        match self {
            Self::Offers(error) => error.code(),
            Self::Exhausted { .. } => "M090",
            Self::Overflow { .. } => "M091",
        }
    }
    fn place(&self) -> String {
        match self {
            Self::Offers(error) => error.place(),
            Self::Exhausted { .. } => "balancing offers".into(),
            Self::Overflow { agent } => format!("deviation of `{agent}`"),
        }
    }
    fn help(&self) -> String {
        match self {
            Self::Offers(error) => error.help(),
            Self::Exhausted { .. } => "offer more energy, or shed the rest at its value".into(),
            Self::Overflow { .. } => "check the unit of the deviation".into(),
        }
    }
}

/// Balances the deviations (injection positive) with offers to inject more (`Sell`)
/// or to take energy back (`Buy`); the direction not needed is ignored.
///
/// # Errors
/// [`BalancingError`].
pub fn balance(
    interval: Interval,
    rules: &BookRules,
    deviations: &BTreeMap<AgentId, MwhTotal>,
    offers: Vec<Order>,
    day_ahead: Price,
) -> Result<Balancing, BalancingError> {
    let book = match Book::new(interval, rules, offers) {
        Ok(book) => book,
        Err(mut errors) => return Err(errors.swap_remove(0).into()),
    };
    let mut total = 0_i128;
    for (agent, deviation) in deviations {
        total = total
            .checked_add(deviation.0)
            .ok_or_else(|| BalancingError::Overflow {
                agent: agent.clone(),
            })?;
    }
    let side = if total < 0 { Side::Sell } else { Side::Buy };
    let needed = MwhTotal(total.checked_abs().unwrap_or(i128::MAX));
    let (price, shares) = activate(&book, side, needed)?.unwrap_or((day_ahead, Vec::new()));
    let sign = i128::from(side.injection_sign());
    let activated: Vec<(AgentId, MwhTotal)> = (book.entries(side).iter().zip(shares))
        .filter(|(_, share)| *share > 0)
        .map(|(entry, share)| {
            (
                book.orders()[entry.order].agent.clone(),
                MwhTotal(sign * i128::from(share)),
            )
        })
        .collect();
    let charge = |agent: &AgentId, injected: MwhTotal, price: Price| {
        let amount = injected.0.checked_mul(-i128::from(price.0));
        let overflow = || BalancingError::Overflow {
            agent: agent.clone(),
        };
        amount
            .map(|amount| (agent.clone(), Money(amount)))
            .ok_or_else(overflow)
    };
    let (mut single, mut dual) = (Vec::new(), Vec::new());
    for (agent, &deviation) in deviations {
        let helps = deviation.0.signum() * total.signum() < 0;
        single.push(charge(agent, deviation, price)?);
        dual.push(charge(
            agent,
            deviation,
            if helps { day_ahead } else { price },
        )?);
    }
    for (agent, energy) in &activated {
        single.push(charge(agent, *energy, price)?);
        dual.push(charge(agent, *energy, price)?);
    }
    Ok(Balancing {
        activated,
        price,
        single,
        dual,
    })
}

/// The marginal price and the share of every entry; `None` when nothing is needed.
fn activate(
    book: &Book,
    side: Side,
    needed: MwhTotal,
) -> Result<Option<(Price, Vec<i64>)>, BalancingError> {
    if needed.0 == 0 {
        return Ok(None);
    }
    let mut offered = 0;
    for level in levels(book, side) {
        offered += level.total;
        if offered >= needed.0 {
            return Ok(Some((
                level.price,
                allocate(book, side, level.price, needed),
            )));
        }
    }
    Err(BalancingError::Exhausted {
        needed,
        offered: MwhTotal(offered),
    })
}
