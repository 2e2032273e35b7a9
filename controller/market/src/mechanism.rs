//! The rule that turns a book into a clearing.
//!
//! One file per mechanism. A [`Mechanism`], with its row in [`KNOWN`], balances and
//! can settle the intervals of a run; it says what the outcome is, and
//! [`Mechanism::clear`] checks it and is not its to change. What may leave a surplus
//! or a deficit, draws lots or counts the utility grid in has its row, with what it
//! promises, in [`crate::catalogue`] only, beside all the others.
//!
//! Not responsible for orders or for settlement.

mod refusal;
mod surroundings;

mod pay_as_bid;
mod uniform;

mod lots;
mod mcafee;
mod sbba;

mod huang;
mod vcg;

mod pool;

mod all_or_nothing;
mod cda;
mod community;
pub mod distributed;
mod negotiation;
mod stackelberg;

pub(crate) use all_or_nothing::all_or_nothing;
pub use all_or_nothing::{AllOrNothing, EXACT_MAX};
pub(crate) use cda::cda;
pub(crate) use community::community;

pub(crate) use huang::huang_of;
pub use huang::{Huang, huang};
pub(crate) use mcafee::mcafee_of;
pub use mcafee::{McAfee, mcafee};
pub use negotiation::Negotiation;
pub use pay_as_bid::{PairPrice, PayAsBid};
pub use pool::{Pool, PoolAmounts};
pub use refusal::RuleError;
pub(crate) use sbba::sbba_of;
pub use sbba::{Sbba, sbba};
pub use stackelberg::Stackelberg;
pub use surroundings::{Surroundings, digest};
pub use uniform::{KFactor, UniformPrice};
pub(crate) use vcg::vcg_of;
pub use vcg::{Vcg, vcg};

use crate::book::Book;
use crate::clearing::{ClearError, Clearing, Fill, worth};
use crate::crossing::{Crossing, allocate, best};
use crate::fault::Coded;
use crate::order::Side;
use crate::quantity::{Money, Mwh, MwhTotal};

/// A pure auction rule.
pub trait Mechanism: Send + Sync + std::fmt::Debug {
    /// Name under which [`by_name`] finds this very rule again.
    fn name(&self) -> String;

    /// The outcome, not yet checked.
    fn outcome(&self, book: &Book) -> Clearing;

    /// The outcome, checked against its book.
    ///
    /// # Errors
    /// [`ClearError`] when the rule broke a property every clearing must have.
    fn clear(&self, book: &Book) -> Result<Clearing, ClearError> {
        let clearing = self.outcome(book);
        clearing.check(book)?;
        Ok(clearing)
    }
}

/// One known mechanism.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Name in configuration and records.
    pub name: &'static str,
    /// What it does, one sentence.
    pub summary: &'static str,
    build: fn() -> Box<dyn Mechanism>,
}

/// Every mechanism that has a plain name. A uniform price at another `k` is named
/// `uniform_k_<num>_<den>`, see [`by_name`].
pub const KNOWN: &[Row] = &[
    Row {
        name: "uniform_k_half",
        summary: "One price for all, in the middle of the competitive interval.",
        build: || Box::new(UniformPrice::HALF),
    },
    Row {
        name: "pay_as_bid",
        summary: "The same allocation; each pair trades at the bid of its buyer.",
        build: || {
            Box::new(PayAsBid {
                price: PairPrice::BuyerBid,
            })
        },
    },
    Row {
        name: "pay_as_bid_mid",
        summary: "The same allocation; each pair trades midway between bid and offer.",
        build: || {
            Box::new(PayAsBid {
                price: PairPrice::PairMid,
            })
        },
    },
];

/// No mechanism has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no mechanism is named `{name}`")]
pub struct UnknownMechanism {
    /// The name asked for.
    pub name: String,
}

impl Coded for UnknownMechanism {
    fn code(&self) -> &'static str {
        "M030"
    }
    fn place(&self) -> String {
        "mechanism".into()
    }
    fn help(&self) -> String {
        let names: Vec<&str> = KNOWN.iter().map(|row| row.name).collect();
        format!(
            "known: {}, uniform_k_<num>_<den> with num <= den",
            names.join(", ")
        )
    }
}

/// The mechanism of that name.
///
/// # Errors
/// [`UnknownMechanism`], whose help lists the known ones.
pub fn by_name(name: &str) -> Result<Box<dyn Mechanism>, UnknownMechanism> {
    if let Some(row) = KNOWN.iter().find(|row| row.name == name) {
        return Ok((row.build)());
    }
    UniformPrice::by_name(name)
        .map(|rule| Box::new(rule) as Box<dyn Mechanism>)
        .ok_or_else(|| UnknownMechanism { name: name.into() })
}

/// Energy per entry of each side of a crossed book.
#[derive(Debug)]
pub(crate) struct Allocation {
    pub bids: Vec<i64>,
    pub offers: Vec<i64>,
}

/// The allocation all mechanisms of a uniform crossing share.
pub(crate) fn allocation(book: &Book, crossing: &Crossing) -> Allocation {
    Allocation {
        bids: allocate(book, Side::Buy, crossing.last_bid, crossing.quantity),
        offers: allocate(book, Side::Sell, crossing.last_offer, crossing.quantity),
    }
}

/// One fill per order that trades, without payments yet, and the welfare.
fn fills(book: &Book, allocation: &Allocation) -> (Vec<Fill>, Money) {
    let mut fills: Vec<Fill> = Vec::with_capacity(book.orders().len());
    let mut welfare = Money(0);
    for (side, shares) in [
        (Side::Buy, &allocation.bids),
        (Side::Sell, &allocation.offers),
    ] {
        let mut shares = shares.as_slice();
        // Entries of one order are neighbours, so each run is one fill.
        for run in book.entries(side).chunk_by(|a, b| a.order == b.order) {
            let (own, rest) = shares.split_at(run.len());
            shares = rest;
            // An admitted order adds up to 64 bits at most, and so does its share.
            let quantity = Mwh(own.iter().sum());
            if quantity.0 == 0 {
                continue;
            }
            let order = &book.orders()[run[0].order];
            let value = worth(order, quantity);
            welfare += if side == Side::Buy { value } else { -value };
            fills.push(Fill {
                agent: order.agent.clone(),
                side,
                quantity,
                payment: Money(0),
            });
        }
    }
    (fills, welfare)
}

/// A clearing in which nothing trades.
pub(crate) fn nothing(book: &Book, mechanism: String) -> Clearing {
    Clearing {
        interval: book.interval(),
        mechanism,
        quantity: MwhTotal(0),
        price: None,
        competitive: None,
        indicative: best(book),
        fills: Vec::new(),
        trades: Vec::new(),
        welfare: Money(0),
        operator: Money(0),
    }
}

#[cfg(test)]
mod tests;
