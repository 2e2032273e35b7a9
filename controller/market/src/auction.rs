//! The auction of an interval: any mechanism of the catalogue that a bench can use, made a
//! clearing that can be settled whatever it does with the money.
//!
//! The book always holds the orders of the utility grid. A rule that counts the utility in
//! by itself is given them as its tariff and its limits, and what it exchanges is the fill
//! of those orders; so the record of a book is the same under every rule. What a mechanism
//! leaves over, or lacks, is the operator's. What it promises is checked in every interval.
//!
//! Not responsible for the rules ([`crate::mechanism`]), nor for lots: devices order what
//! they need.

use std::collections::{BTreeMap, BTreeSet};

use crate::book::{Book, BookError};
use crate::catalogue::{Budget, RULES, Rational, Rule, Takes};
use crate::clearing::{ClearError, Clearing, Fill, check_fill, worth};
use crate::crossing::best;
use crate::fault::Coded;
use crate::mechanism::{self, Mechanism, UnknownMechanism};
use crate::mechanism::{RuleError, Surroundings, digest};
use crate::order::{AgentId, Order, Side};
use crate::outcome::{Exchange, Outcome};
use crate::quantity::{Money, Mwh, MwhTotal};
use crate::utility::Parity;

/// A mechanism as a bench uses it.
#[derive(Debug)]
pub struct Auction {
    name: String,
    rule: Kind,
    /// Whose orders trade whole or not at all, where the rule asks.
    indivisible: BTreeSet<AgentId>,
}

#[derive(Debug)]
enum Kind {
    /// Balances, and checks itself.
    Plain(Box<dyn Mechanism>),
    /// A rule of the catalogue.
    Listed(&'static Rule),
}

/// Why a mechanism cannot run a bench's intervals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuctionError {
    /// No mechanism has that name.
    #[error(transparent)]
    Unknown(#[from] UnknownMechanism),
    /// It trades lots of one size.
    #[error("`{name}` trades lots of one size, which devices do not order")]
    Lots {
        /// Its name.
        name: String,
    },
    /// The rule does not take the book.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The rules of the book contradict themselves.
    #[error(transparent)]
    Book(#[from] BookError),
    /// The feeder does not take its books.
    #[error(transparent)]
    Feeder(#[from] crate::feeder::FeederError),
    /// Energy and reserve cannot be cleared together.
    #[error(transparent)]
    Reserve(#[from] crate::reserve::ReserveError),
    /// What came out is no clearing, or not what the rule promises.
    #[error(transparent)]
    Clear(#[from] ClearError),
    /// More would cross the coupling than it carries.
    #[error("`{rule}` needs {needed} across the coupling, which carries {carried}")]
    Coupling {
        /// Which rule.
        rule: &'static str,
        /// What it needs.
        needed: MwhTotal,
        /// What the utility's order allows.
        carried: MwhTotal,
    },
}

impl Coded for AuctionError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown(error) => error.code(),
            Self::Lots { .. } => "M035",
            Self::Rule(error) => error.code(),
            Self::Book(error) => error.code(),
            Self::Feeder(error) => error.code(),
            Self::Reserve(error) => error.code(),
            Self::Clear(error) => error.code(),
            Self::Coupling { .. } => "M036",
        }
    }
    fn place(&self) -> String {
        match self {
            Self::Unknown(error) => error.place(),
            Self::Lots { .. } => "mechanism".into(),
            Self::Rule(error) => error.place(),
            Self::Book(error) => error.place(),
            Self::Feeder(error) => error.place(),
            Self::Reserve(error) => error.place(),
            Self::Clear(error) => error.place(),
            Self::Coupling { rule, .. } => format!("mechanism `{rule}`"),
        }
    }
    fn help(&self) -> String {
        match self {
            Self::Unknown(error) => error.help(),
            Self::Lots { .. } => {
                "use `huang` or `vcg`, which take any energies and are truthful too".into()
            }
            Self::Rule(error) => error.help(),
            Self::Book(error) => error.help(),
            Self::Feeder(error) => error.help(),
            Self::Reserve(error) => error.help(),
            Self::Clear(error) => error.help(),
            Self::Coupling { .. } => {
                "use a mechanism that asks for prices where the bench may be an island".into()
            }
        }
    }
}

/// Names of the mechanisms that a bench can use; besides them any `uniform_k_<num>_<den>`.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let usable = RULES.iter().filter(|rule| rule.takes != Takes::Lots);
    usable.map(|rule| rule.name).collect()
}

impl Auction {
    /// The auction by the mechanism of that name.
    ///
    /// # Errors
    /// [`AuctionError::Unknown`] and [`AuctionError::Lots`].
    pub fn by_name(name: &str, indivisible: BTreeSet<AgentId>) -> Result<Self, AuctionError> {
        let rule = match (mechanism::by_name(name), crate::catalogue::rule(name)) {
            (Ok(plain), _) => Kind::Plain(plain),
            (Err(_), Some(rule)) if rule.takes == Takes::Lots => {
                return Err(AuctionError::Lots { name: name.into() });
            }
            (Err(_), Some(rule)) => Kind::Listed(rule),
            (Err(unknown), None) => return Err(unknown.into()),
        };
        Ok(Self {
            name: name.into(),
            rule,
            indivisible,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Clears a book in which `utility` orders at `parity`, or does not order at all.
    ///
    /// # Errors
    /// [`AuctionError`].
    pub fn clear(
        &self,
        book: &Book,
        utility: &AgentId,
        parity: Parity,
    ) -> Result<Clearing, AuctionError> {
        let rule = match self.rule {
            Kind::Plain(ref plain) => return Ok(plain.clear(book)?),
            Kind::Listed(rule) => rule,
        };
        let seed = digest(book);
        let indivisible = Some(self.indivisible.clone());
        let outcome = if rule.utility {
            let (own, rest): (Vec<Order>, Vec<Order>) =
                (book.orders().iter().cloned()).partition(|order| order.agent == *utility);
            let (rest, _) = Book::admit(book.interval(), book.rules(), rest)?;
            let most = |side| -> Mwh {
                let own = own.iter().filter(|order| order.side == side);
                Mwh(own.flat_map(|o| &o.steps).map(|step| step.quantity.0).sum())
            };
            let around = Surroundings {
                parity: Some(parity),
                utility_max: (most(Side::Sell), most(Side::Buy)),
                seed,
                indivisible,
            };
            let mut outcome = rule.clear(&rest, &around)?;
            let (import, export) = around.utility_max;
            let exchange = std::mem::take(&mut outcome.utility);
            for (needed, carried) in [(exchange.import, import), (exchange.export, export)] {
                let carried = MwhTotal::from(carried);
                if needed > carried {
                    let rule = rule.name;
                    return Err(AuctionError::Coupling {
                        rule,
                        needed,
                        carried,
                    });
                }
            }
            outcome.fills.extend(fills_of(utility, exchange, parity));
            outcome
        } else {
            let around = Surroundings {
                parity: None,
                utility_max: (Mwh(0), Mwh(0)),
                seed,
                indivisible,
            };
            rule.clear(book, &around)?
        };
        let clearing = self.clearing(book, outcome);
        check(&clearing, book, rule)?;
        Ok(clearing)
    }

    /// The outcome as a clearing, its fills in the order of the book.
    fn clearing(&self, book: &Book, outcome: Outcome) -> Clearing {
        let mut found: BTreeMap<(Side, AgentId), Fill> = (outcome.fills.into_iter())
            .map(|fill| ((fill.side, fill.agent.clone()), fill))
            .collect();
        let orders = book.orders().iter();
        let mut welfare = Money(0);
        let fills: Vec<Fill> = orders
            .filter_map(|order| {
                let fill = found.remove(&(order.side, order.agent.clone()))?;
                let value = worth(order, fill.quantity);
                welfare += match order.side {
                    Side::Buy => value,
                    Side::Sell => -value,
                };
                Some(fill)
            })
            .collect();
        let bought = fills.iter().filter(|fill| fill.side == Side::Buy);
        // One price for all is one only if everybody's payment is made of it.
        let price = outcome.prices.and_then(|(buy, sell)| {
            let at = |fill: &Fill| {
                let amount = (buy * fill.quantity).0;
                fill.payment.0 == -amount * i128::from(fill.side.injection_sign())
            };
            (buy == sell && !fills.is_empty() && fills.iter().all(at)).then_some(buy)
        });
        Clearing {
            interval: book.interval(),
            mechanism: self.name.clone(),
            quantity: bought.map(|fill| MwhTotal::from(fill.quantity)).sum(),
            price,
            competitive: None,
            indicative: best(book),
            operator: fills.iter().map(|fill| fill.payment).sum(),
            fills,
            trades: outcome.trades,
            welfare,
        }
    }
}

/// What the utility exchanges as fills of its orders: the import at its price, the rest of
/// the payment for the export.
fn fills_of(utility: &AgentId, exchange: Exchange, parity: Parity) -> Vec<Fill> {
    let whole = |energy: MwhTotal| Mwh(i64::try_from(energy.0).unwrap_or(i64::MAX));
    let (import, export) = (whole(exchange.import), whole(exchange.export));
    let imported = match export {
        Mwh(0) => exchange.payment,
        _ => -(parity.import * import),
    };
    [
        (Side::Sell, import, imported),
        (Side::Buy, export, exchange.payment + -imported),
    ]
    .into_iter()
    .filter(|(_, quantity, _)| quantity.0 > 0)
    .map(|(side, quantity, payment)| Fill {
        agent: utility.clone(),
        side,
        quantity,
        payment,
    })
    .collect()
}

/// Whether energy balances, every fill is within its order, and the rule keeps its promises.
fn check(clearing: &Clearing, book: &Book, rule: &Rule) -> Result<(), ClearError> {
    let interval = clearing.interval.index;
    let kept = match rule.properties.budget {
        Budget::Balanced => clearing.operator == Money(0),
        Budget::Surplus => clearing.operator >= Money(0),
        Budget::Deficit => true,
    };
    if !kept {
        let sum = clearing.operator;
        return Err(ClearError::NotBalanced { interval, sum });
    }
    let sold = clearing.fills.iter().filter(|f| f.side == Side::Sell);
    let sold: MwhTotal = sold.map(|fill| MwhTotal::from(fill.quantity)).sum();
    if sold != clearing.quantity {
        return Err(ClearError::SidesDiffer {
            interval,
            bought: clearing.quantity,
            sold,
            stated: clearing.quantity,
        });
    }
    let mut fills = clearing.fills.iter().peekable();
    for order in book.orders() {
        let Some(fill) = fills.next_if(|f| f.agent == order.agent && f.side == order.side) else {
            continue;
        };
        match check_fill(interval, order, fill) {
            Err(ClearError::NotRational { .. })
                if rule.properties.rational != Rational::ThanNotTrading => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
