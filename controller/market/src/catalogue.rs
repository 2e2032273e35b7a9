//! Every mechanism with what it promises, as data.
//!
//! One row per mechanism. A promise is tested: `tests/promises.rs` runs every row
//! over random books and looks for a breach of each property that is declared to
//! hold, and for a counter-example of each that is declared not to.
//!
//! Not responsible for the forms of other inputs (networks, reserve, scripts of an
//! order book): those are in [`crate::offline`].

use crate::book::Book;
use crate::mechanism::{
    self, Mechanism, Negotiation, PairPrice, PayAsBid, Pool, RuleError, Stackelberg, Surroundings,
    UniformPrice, distributed,
};
use crate::outcome::Outcome;

/// Whether nobody is worse off than by the alternative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rational {
    /// Nobody pays more than it bid or receives less than it asked.
    ThanNotTrading,
    /// Nobody pays more, or receives less, than at the utility's tariff; what it
    /// bid is not asked.
    ThanTheUtility,
    /// There are books in which somebody is worse off than at the utility's tariff.
    No,
}

/// What becomes of the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// Payments sum to exactly zero.
    Balanced,
    /// The operator may keep something and never owes.
    Surplus,
    /// The operator may owe.
    Deficit,
}

/// Whether the reported welfare is the largest possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Efficient {
    /// Always.
    Yes,
    /// There are books in which it is not.
    No,
}

/// Whether an agent does best by saying its true limit price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truthful {
    /// Whatever the others say.
    Yes,
    /// On average over the lots that are drawn.
    InExpectation,
    /// There are books in which a false price pays.
    No,
    /// Limit prices are not used at all.
    NotAsked,
}

/// What a mechanism promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Properties {
    /// Nobody is worse off.
    pub rational: Rational,
    /// What becomes of the money.
    pub budget: Budget,
    /// The largest welfare.
    pub efficient: Efficient,
    /// Truth pays.
    pub truthful: Truthful,
}

/// Which books a mechanism takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Any curves.
    Curves,
    /// One step per order; a curve would count as several traders.
    Singles,
    /// One lot per order, all of the same energy.
    Lots,
}

type Answer = fn(&Book, &Surroundings) -> Result<Outcome, RuleError>;

/// One mechanism of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// What it does, one sentence.
    pub summary: &'static str,
    /// Which books it takes.
    pub takes: Takes,
    /// Whether the utility grid takes part, at its tariff.
    pub utility: bool,
    /// What it promises.
    pub properties: Properties,
    answer: Answer,
}

impl Rule {
    /// The outcome of the rule on the book, checked.
    ///
    /// # Errors
    /// [`RuleError`].
    pub fn clear(&self, book: &Book, around: &Surroundings) -> Result<Outcome, RuleError> {
        let outcome = (self.answer)(book, around)?;
        outcome.check(book)?;
        Ok(outcome)
    }
}

const fn promise(
    rational: Rational,
    budget: Budget,
    efficient: Efficient,
    truthful: Truthful,
) -> Properties {
    Properties {
        rational,
        budget,
        efficient,
        truthful,
    }
}

/// The rule of that name.
#[must_use]
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name)
}

use Budget::{Balanced, Deficit, Surplus};
use Rational::{ThanNotTrading, ThanTheUtility};

/// Every mechanism that clears a book. To add one, add its file and its row.
pub const RULES: &[Rule] = &[
    Rule {
        name: "uniform_k_half",
        summary: "One price for all, in the middle of the competitive interval.",
        takes: Takes::Curves,
        utility: false,
        properties: promise(ThanNotTrading, Balanced, Efficient::Yes, Truthful::No),
        answer: |book, _| Ok(UniformPrice::HALF.outcome(book).into()),
    },
    Rule {
        name: "pay_as_bid",
        summary: "The same allocation; each pair trades at the bid of its buyer.",
        takes: Takes::Curves,
        utility: false,
        properties: promise(ThanNotTrading, Balanced, Efficient::Yes, Truthful::No),
        answer: |book, _| {
            let rule = PayAsBid {
                price: PairPrice::BuyerBid,
            };
            Ok(rule.outcome(book).into())
        },
    },
    Rule {
        name: "pay_as_bid_mid",
        summary: "The same allocation; each pair trades midway between bid and offer.",
        takes: Takes::Curves,
        utility: false,
        properties: promise(ThanNotTrading, Balanced, Efficient::Yes, Truthful::No),
        answer: |book, _| {
            let rule = PayAsBid {
                price: PairPrice::PairMid,
            };
            Ok(rule.outcome(book).into())
        },
    },
    Rule {
        name: "mcafee",
        summary: "The last pair gives up its trade when it is needed to set the prices.",
        takes: Takes::Lots,
        utility: false,
        properties: promise(ThanNotTrading, Surplus, Efficient::No, Truthful::Yes),
        answer: |book, _| mechanism::mcafee_of(book),
    },
    Rule {
        name: "sbba",
        summary: "The next seller sets the one price, or the last buyer does and a lot is drawn.",
        takes: Takes::Lots,
        utility: false,
        properties: promise(
            ThanNotTrading,
            Balanced,
            Efficient::No,
            Truthful::InExpectation,
        ),
        answer: |book, around| mechanism::sbba_of(book, around.seed),
    },
    Rule {
        name: "huang",
        summary: "The last bid and offer only set the prices, the longer side is cut alike.",
        takes: Takes::Singles,
        utility: false,
        properties: promise(ThanNotTrading, Surplus, Efficient::No, Truthful::Yes),
        answer: |book, _| Ok(mechanism::huang_of(book)),
    },
    Rule {
        name: "vcg",
        summary: "Everybody pays what the others lose by it; somebody funds the deficit.",
        takes: Takes::Curves,
        utility: false,
        properties: promise(ThanNotTrading, Deficit, Efficient::Yes, Truthful::Yes),
        answer: |book, _| Ok(mechanism::vcg_of(book)),
    },
    Rule {
        name: "sdr",
        summary: "Prices from the ratio of supply to demand, between the utility's two prices.",
        takes: Takes::Curves,
        utility: true,
        properties: promise(ThanTheUtility, Balanced, Efficient::No, Truthful::NotAsked),
        answer: |book, around| Pool::SupplyDemandRatio.clear(book, around),
    },
    Rule {
        name: "mmr",
        summary: "The middle of the utility's two prices, the longer side shares the rest.",
        takes: Takes::Curves,
        utility: true,
        properties: promise(ThanTheUtility, Balanced, Efficient::No, Truthful::NotAsked),
        answer: |book, around| Pool::MidMarketRate.clear(book, around),
    },
    Rule {
        name: "bill_sharing",
        summary: "Energy within the pool is free, the pool's bill is shared by energy.",
        takes: Takes::Curves,
        utility: true,
        properties: promise(Rational::No, Balanced, Efficient::No, Truthful::NotAsked),
        answer: |book, around| Pool::BillSharing.clear(book, around),
    },
    Rule {
        name: "cda",
        summary: "One order after the other, by rank, trades at once with the best that rests.",
        takes: Takes::Curves,
        utility: false,
        properties: promise(ThanNotTrading, Balanced, Efficient::No, Truthful::No),
        answer: |book, _| mechanism::cda(book),
    },
    Rule {
        name: "bisection",
        summary: "The price is found by asking everybody, half of the range at a time.",
        takes: Takes::Curves,
        utility: false,
        properties: promise(ThanNotTrading, Balanced, Efficient::Yes, Truthful::No),
        answer: |book, _| distributed::bisection::bisection(book),
    },
    Rule {
        name: "gradient",
        summary: "The price follows the excess of demand, then the auction at that price.",
        takes: Takes::Curves,
        utility: false,
        properties: promise(ThanNotTrading, Balanced, Efficient::Yes, Truthful::No),
        answer: |book, _| distributed::gradient::gradient(book),
    },
    Rule {
        name: "admm",
        summary: "Everybody moves toward a reference, the price follows; then the auction at it.",
        takes: Takes::Curves,
        utility: false,
        properties: promise(ThanNotTrading, Balanced, Efficient::Yes, Truthful::No),
        answer: |book, _| distributed::admm::admm(book),
    },
    Rule {
        name: "consensus",
        summary: "Pairs agree on price and energy without a coordinator, in many rounds.",
        takes: Takes::Curves,
        utility: false,
        properties: promise(ThanNotTrading, Balanced, Efficient::No, Truthful::No),
        answer: |book, _| distributed::consensus::consensus(book),
    },
    Rule {
        name: "community",
        summary: "The manager trades the rest with the utility and keeps a scarce coupling's rent.",
        takes: Takes::Curves,
        utility: true,
        properties: promise(ThanNotTrading, Surplus, Efficient::Yes, Truthful::No),
        answer: mechanism::community,
    },
    Rule {
        name: "stackelberg",
        summary: "A retailer posts the two prices that leave it the largest margin.",
        takes: Takes::Curves,
        utility: true,
        properties: promise(ThanNotTrading, Surplus, Efficient::No, Truthful::No),
        answer: |book, around| Stackelberg::Margin.clear(book, around),
    },
    Rule {
        name: "stackelberg_welfare",
        summary: "A retailer posts the two prices that are best for all and no loss to it.",
        takes: Takes::Curves,
        utility: true,
        properties: promise(ThanNotTrading, Surplus, Efficient::No, Truthful::No),
        answer: |book, around| Stackelberg::Welfare.clear(book, around),
    },
    Rule {
        name: "negotiation",
        summary: "Pairs in canonical order haggle in turns, the more patient side gets more.",
        takes: Takes::Curves,
        utility: false,
        properties: promise(ThanNotTrading, Balanced, Efficient::No, Truthful::No),
        answer: |book, _| Ok(Negotiation::EQUAL.clear(book)),
    },
    Rule {
        name: "all_or_nothing",
        summary: "One price for all, and orders that are served whole or left out.",
        takes: Takes::Curves,
        utility: false,
        properties: promise(ThanNotTrading, Balanced, Efficient::No, Truthful::No),
        answer: |book, around| Ok(mechanism::all_or_nothing(book, around)),
    },
];
