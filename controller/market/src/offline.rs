//! One clearing from a JSON document, for the command line and for research.
//! Any mechanism of [`crate::mechanism`] and of [`crate::catalogue`], and the forms of
//! `offline/forms.rs`, which have inputs or results of their own. Several names joined
//! by `|` answer one after the other.
//!
//! In: `{"mech": …, "in": {"bids": [[id, price, quantity]], "offers": […]}}` or the
//! inner object alone. Out: `q`, `p`, `interval`, `alloc`, `pay`, `welfare`, and
//! `indicative` when nothing trades. Integers beyond 2^53 are strings, on the way
//! out always, on the way in wherever one prefers. Listing order is rank, bids
//! before offers.
//!
//! Not responsible for files: it takes text and gives text.

mod distributed;
mod forms;
mod network;
mod out;
mod pool;
mod reserve;
mod script;
mod together;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::balancing::BalancingError;
use crate::book::{Book, BookError, BookRules};
use crate::catalogue::{RULES, rule};
use crate::clearing::ClearError;
use crate::fault::Coded;
use crate::feeder::FeederError;
use crate::interval::Interval;
use crate::mechanism::RuleError;
use crate::mechanism::{UnknownMechanism, by_name};
use crate::order::{AgentId, Order, Side};
use crate::quantity::{Mwh, NS_PER_HOUR, Price};
use crate::reserve::ReserveError;
use forms::FORMS;
use out::Out;

/// The mechanism of a document that names none.
pub const MECHANISM_DEFAULT: &str = "uniform_k_half";

/// An offline book has no time; an hour makes energy and average power agree.
const UNTIMED: Interval = Interval {
    index: 0,
    start_ns: 0,
    dt_ns: NS_PER_HOUR,
};

/// Why a document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfflineError {
    /// It is not JSON.
    #[error("line {line}, column {column}: {reason}")]
    Json {
        /// Line, counted from 1.
        line: usize,
        /// Column, counted from 1.
        column: usize,
        /// What the parser says.
        reason: String,
    },
    /// It is JSON of another shape.
    #[error("{place}: {expected} expected")]
    Shape {
        /// Path in the document.
        place: String,
        /// What belongs there.
        expected: String,
    },
    /// Two orders have one name.
    #[error("{place}: the id `{id}` is taken")]
    SameId {
        /// Path in the document.
        place: String,
        /// The id.
        id: AgentId,
    },
    /// No mechanism has that name.
    #[error(transparent)]
    Mechanism(#[from] UnknownMechanism),
    /// Orders are not admissible; all of them.
    #[error("{}", joined(.0))]
    Orders(Vec<BookError>),
    /// The clearing failed its check.
    #[error(transparent)]
    Clear(#[from] ClearError),
    /// The balancing form is refused.
    #[error(transparent)]
    Balancing(#[from] BalancingError),
    /// The feeder is refused.
    #[error(transparent)]
    Feeder(#[from] FeederError),
    /// Reserve is refused.
    #[error(transparent)]
    Reserve(#[from] ReserveError),
    /// A mechanism of the catalogue refuses the book.
    #[error(transparent)]
    Rule(#[from] RuleError),
}

fn joined(errors: &[BookError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

impl Coded for OfflineError {
    fn code(&self) -> &'static str {
        match self {
            Self::Json { .. } => "M100",
            Self::Shape { .. } => "M101",
            Self::SameId { .. } => "M102",
            Self::Mechanism(error) => error.code(),
            Self::Orders(errors) => errors.first().map_or("M013", Coded::code),
            Self::Clear(error) => error.code(),
            Self::Balancing(error) => error.code(),
            Self::Feeder(error) => error.code(),
            Self::Reserve(error) => error.code(),
            Self::Rule(error) => error.code(),
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Json { line, column, .. } => format!("{line}:{column}"),
            Self::Shape { place, .. } | Self::SameId { place, .. } => place.clone(),
            Self::Mechanism(error) => error.place(),
            Self::Orders(errors) => {
                let places: Vec<String> = errors.iter().map(Coded::place).collect();
                places.join(", ")
            }
            Self::Clear(error) => error.place(),
            Self::Balancing(error) => error.place(),
            Self::Feeder(error) => error.place(),
            Self::Reserve(error) => error.place(),
            Self::Rule(error) => error.place(),
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Json { .. } => "give one JSON object".into(),
            Self::Shape { .. } => {
                "the form is {\"mech\": name, \"in\": {\"bids\": [[id, price_mc_per_kwh, \
                 quantity_mwh]], \"offers\": [...]}}"
                    .into()
            }
            Self::SameId { .. } => "give every order its own id".into(),
            Self::Mechanism(error) => {
                let mut names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
                names.extend(FORMS.iter().map(|form| form.name));
                let known = names.into_iter().collect::<BTreeSet<_>>();
                let known: Vec<&str> = known.into_iter().collect();
                format!("{}; offline also: {}", error.help(), known.join(", "))
            }
            Self::Orders(errors) => errors.first().map_or_else(String::new, Coded::help),
            Self::Clear(error) => error.help(),
            Self::Balancing(error) => error.help(),
            Self::Feeder(error) => error.help(),
            Self::Reserve(error) => error.help(),
            Self::Rule(error) => error.help(),
        }
    }
}

/// Clears the document; `mechanism` wins over the one the document names.
///
/// # Errors
/// [`OfflineError`].
pub fn clear(json: &str, mechanism: Option<&str>) -> Result<String, OfflineError> {
    let document: Value = serde_json::from_str(json).map_err(|error| OfflineError::Json {
        line: error.line(),
        column: error.column(),
        reason: error.to_string(),
    })?;
    let named = match document.get("mech") {
        None => None,
        Some(name) => Some(
            name.as_str()
                .ok_or_else(|| shape("mech", "a mechanism's name"))?,
        ),
    };
    let name = mechanism.or(named).unwrap_or(MECHANISM_DEFAULT);
    let (place, input) = match document.get("in") {
        Some(input) => ("in", input),
        None => ("(document)", &document),
    };
    if let Some(names) = (!known(name))
        .then(|| name.split('|'))
        .filter(|n| n.clone().count() > 1)
    {
        let answer = |name: &str| Ok((name.to_owned(), answer(name, place, input)?));
        let answers: Result<Vec<_>, OfflineError> = names.map(answer).collect();
        return Ok(Out::Map(answers?).to_string());
    }
    Ok(answer(name, place, input)?.to_string())
}

fn known(name: &str) -> bool {
    FORMS.iter().any(|form| form.name == name) || rule(name).is_some() || by_name(name).is_ok()
}

/// What the mechanism of that name makes of the input.
fn answer(name: &str, place: &str, input: &Value) -> Result<Out, OfflineError> {
    let form = FORMS
        .iter()
        .find(|form| form.name == name && (form.takes)(input));
    if let Some(form) = form {
        return (form.answer)(place, input);
    }
    // A mechanism that settles runs has a richer result, so it comes first.
    let mechanism = match by_name(name) {
        Ok(mechanism) => mechanism,
        Err(unknown) => {
            let rule = rule(name).ok_or(unknown)?;
            return forms::catalogued(rule, place, input);
        }
    };
    Ok(forms::clearing(&mechanism.clear(&book(place, input)?)?))
}

fn book(place: &str, input: &Value) -> Result<Book, OfflineError> {
    Book::new(UNTIMED, &BookRules::unbounded(), orders(place, input)?).map_err(OfflineError::Orders)
}

fn orders(place: &str, input: &Value) -> Result<Vec<Order>, OfflineError> {
    if !input.is_object() {
        return Err(shape(place, "an object"));
    }
    let (mut orders, mut taken) = (Vec::new(), BTreeSet::new());
    for (key, side) in [("bids", Side::Buy), ("offers", Side::Sell)] {
        let place = format!("{place}.{key}");
        let listed = input
            .get(key)
            .ok_or_else(|| shape(&place, "a list of orders"))?;
        rows(&place, listed, side, &mut orders, &mut taken)?;
    }
    Ok(orders)
}

/// Appends `[id, price, quantity]` rows, ranked in the order of listing.
fn rows(
    place: &str,
    listed: &Value,
    side: Side,
    orders: &mut Vec<Order>,
    taken: &mut BTreeSet<AgentId>,
) -> Result<(), OfflineError> {
    let listed = listed
        .as_array()
        .ok_or_else(|| shape(place, "a list of orders"))?;
    for (index, row) in listed.iter().enumerate() {
        let place = format!("{place}[{index}]");
        let [id, price, quantity] = row.as_array().map_or(&[][..], Vec::as_slice) else {
            return Err(shape(&place, "[id, price, quantity]"));
        };
        let id = id
            .as_str()
            .ok_or_else(|| shape(&format!("{place}[0]"), "an id in quotes"))?;
        let price = Price(integer(&format!("{place}[1]"), price)?);
        let quantity = Mwh(integer(&format!("{place}[2]"), quantity)?);
        let id = AgentId::from(id);
        if !taken.insert(id.clone()) {
            return Err(OfflineError::SameId { place, id });
        }
        orders.push(Order::single(id, side, price, quantity).ranked(orders.len() as u64));
    }
    Ok(())
}

/// A 64-bit integer, as a number or as a decimal string.
fn integer(place: &str, value: &Value) -> Result<i64, OfflineError> {
    let number = match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    };
    number.ok_or_else(|| shape(place, "a 64-bit integer, as a number or a string"))
}

fn shape(place: &str, expected: &str) -> OfflineError {
    OfflineError::Shape {
        place: place.into(),
        expected: expected.into(),
    }
}

#[cfg(test)]
mod tests;
