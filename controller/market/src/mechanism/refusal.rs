//! Why a mechanism does not clear a book.

use crate::book::BookError;
use crate::continuous::TenderError;
use crate::fault::Coded;
use crate::order::AgentId;
use crate::outcome::OutcomeError;

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
