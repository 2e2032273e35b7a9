//! Every mechanism with what it promises, as data.
//!
//! One row per mechanism. A promise is tested: `tests/promises.rs` runs every row
//! over random books and looks for a breach of each property that is declared to
//! hold, and for a counter-example of each that is declared not to.
//!
//! Not responsible for the forms of other inputs (networks, reserve, scripts of an
//! order book): those are in [`crate::offline`].

use std::collections::BTreeSet;

use crate::book::{Book, BookError};
use crate::continuous::TenderError;
use crate::fault::Coded;
use crate::mechanism::{
    self, Mechanism, Negotiation, PairPrice, PayAsBid, Pool, Stackelberg, UniformPrice, distributed,
};
use crate::order::{AgentId, Side};
use crate::outcome::{Outcome, OutcomeError};
use crate::quantity::Mwh;
use crate::utility::Parity;

/// What a mechanism may know besides the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// What the utility grid sells and buys at; who has none may not use a rule
    /// that needs one.
    pub parity: Option<Parity>,
    /// Most energy to import and to export.
    pub utility_max: (Mwh, Mwh),
    /// Seed of a rule that draws lots, see [`digest`].
    pub seed: u64,
    /// Orders that trade whole or not at all; `None` stands for all bids.
    pub indivisible: Option<BTreeSet<AgentId>>,
}

impl Surroundings {
    /// A book alone: no utility grid, lots drawn from the book itself.
    #[must_use]
    pub fn of(book: &Book) -> Self {
        Self {
            parity: None,
            utility_max: (Mwh(0), Mwh(0)),
            seed: digest(book),
            indivisible: None,
        }
    }
}

/// A number that every replica computes alike from the set of orders, and nobody
/// can foresee who does not know all of them. It is no cryptographic hash: a ledger
/// that has one takes that instead.
#[must_use]
pub fn digest(book: &Book) -> u64 {
    let mut state = book.interval().index;
    let mut mix = |word: u64| state = crate::chance::mix(state ^ word);
    for order in book.orders() {
        mix(u64::from(order.side == Side::Sell));
        order.agent.as_str().bytes().for_each(|b| mix(b.into()));
        for step in &order.steps {
            mix(step.price.0 as u64);
            mix(step.quantity.0 as u64);
        }
    }
    state
}

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

/// Why a mechanism does not clear a book.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The rule trades lots of one size.
    #[error("`{rule}` trades one lot per order, all of the same energy; `{agent}` differs")]
    NotALot {
        /// Which rule.
        rule: &'static str,
        /// Whose order.
        agent: AgentId,
    },
    /// The rule needs the utility's prices.
    #[error("`{rule}` needs the tariff of the utility grid, and there is none")]
    NoTariff {
        /// Which rule.
        rule: &'static str,
    },
    /// An amount leaves 128 bits.
    #[error("`{rule}`: an amount exceeds 128 bits")]
    Overflow {
        /// Which rule.
        rule: &'static str,
    },
    /// More traders than the rule can pair.
    #[error("`{rule}` pairs at most {most} steps with each other, the book has {found}")]
    TooMany {
        /// Which rule.
        rule: &'static str,
        /// Most steps.
        most: usize,
        /// Steps of the book.
        found: usize,
    },
    /// The utility's orders do not fit the book.
    #[error(transparent)]
    Utility(#[from] BookError),
    /// The book has more prices, or more orders, than an order book holds.
    #[error(transparent)]
    Tender(#[from] TenderError),
    /// The rule broke what every outcome must keep.
    #[error(transparent)]
    Outcome(#[from] OutcomeError),
}

impl Coded for RuleError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotALot { .. } => "M031",
            Self::NoTariff { .. } => "M032",
            Self::Overflow { .. } => "M033",
            Self::TooMany { .. } => "M034",
            Self::Utility(error) => error.code(),
            Self::Tender(error) => error.code(),
            Self::Outcome(error) => error.code(),
        }
    }
    fn place(&self) -> String {
        match self {
            Self::NotALot { rule, agent } => format!("mechanism `{rule}`, order of `{agent}`"),
            Self::NoTariff { rule } | Self::Overflow { rule } | Self::TooMany { rule, .. } => {
                format!("mechanism `{rule}`")
            }
            Self::Utility(error) => error.place(),
            Self::Tender(error) => error.place(),
            Self::Outcome(error) => error.place(),
        }
    }
    fn help(&self) -> String {
        match self {
            Self::NotALot { .. } => {
                "let each order have one step of the same energy, or use `huang` or `vcg`".into()
            }
            Self::NoTariff { .. } => {
                "give `ls` (the utility buys) and `lb` (it sells), both in mc/kWh".into()
            }
            Self::Overflow { .. } => "check the units: energy in mWh, prices in mc/kWh".into(),
            Self::TooMany { .. } => "use `bisection`, which takes any number".into(),
            Self::Utility(error) => error.help(),
            Self::Tender(error) => error.help(),
            Self::Outcome(error) => error.help(),
        }
    }
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
