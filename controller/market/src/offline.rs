//! One clearing from a JSON document, for the command line and for research.
//! Any mechanism of [`crate::mechanism`], and the forms `imbalance` (from
//! [`crate::balancing`]) and `mcafee`, `sbba`, `vcg`, `huang` (from
//! [`crate::truthful`]), which have inputs or results of their own.
//!
//! In: `{"mech": …, "in": {"bids": [[id, price, quantity]], "offers": […]}}` or the
//! inner object alone. Out: `q`, `p`, `interval`, `alloc`, `pay`, `welfare`, and
//! `indicative` when nothing trades. Integers beyond 2^53 are strings, on the way
//! out always, on the way in wherever one prefers. Listing order is rank, bids
//! before offers.
//!
//! Not responsible for files: it takes text and gives text.

use std::collections::{BTreeMap, BTreeSet};

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

use crate::balancing::{Balancing, BalancingError, balance};
use crate::book::{Book, BookError, BookRules};
use crate::clearing::{ClearError, Clearing};
use crate::fault::Coded;
use crate::interval::Interval;
use crate::mechanism::{UnknownMechanism, by_name};
use crate::order::{AgentId, Order, Side};
use crate::quantity::{Mwh, MwhTotal, NS_PER_HOUR, Price};
use crate::truthful;

/// The mechanism of a document that names none.
pub const MECHANISM_DEFAULT: &str = "uniform_k_half";

/// A form that is not a [`crate::Mechanism`]: its name and how it answers.
type Form = (&'static str, fn(&str, &Value) -> Result<Out, OfflineError>);

/// The forms whose input is not a book, or whose outcome is not a clearing.
const FORMS: &[Form] = &[
    ("imbalance", balancing),
    ("mcafee", mcafee),
    ("sbba", sbba),
    ("vcg", vcg),
    ("huang", huang),
    ("huang_trade_reduction", huang),
];

/// Largest integer a double holds exactly, 2^53.
const EXACT_MAX: i128 = 1 << 53;

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
                let forms: Vec<&str> = FORMS.iter().map(|(name, _)| *name).collect();
                format!("{}; offline also: {}", error.help(), forms.join(", "))
            }
            Self::Orders(errors) => errors.first().map_or_else(String::new, Coded::help),
            Self::Clear(error) => error.help(),
            Self::Balancing(error) => error.help(),
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
    if !input.is_object() {
        return Err(shape(place, "an object"));
    }
    let out = match FORMS.iter().find(|(form, _)| *form == name) {
        Some((_, answer)) => answer(place, input)?,
        None => {
            let mechanism = by_name(name)?;
            clearing(&mechanism.clear(&book(place, input)?)?)
        }
    };
    Ok(out.to_string())
}

fn book(place: &str, input: &Value) -> Result<Book, OfflineError> {
    Book::new(UNTIMED, &BookRules::unbounded(), orders(place, input)?).map_err(OfflineError::Orders)
}

fn orders(place: &str, input: &Value) -> Result<Vec<Order>, OfflineError> {
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

fn balancing(place: &str, input: &Value) -> Result<Out, OfflineError> {
    let listed = (input.get("imbalance").and_then(Value::as_object))
        .ok_or_else(|| shape(&format!("{place}.imbalance"), "an object of deviations"))?;
    let mut deviations = BTreeMap::new();
    for (id, value) in listed {
        let deviation = Mwh(integer(&format!("{place}.imbalance.{id}"), value)?);
        deviations.insert(AgentId::from(id.as_str()), MwhTotal::from(deviation));
    }
    let mut taken: BTreeSet<AgentId> = deviations.keys().cloned().collect();
    let mut offers = Vec::new();
    for (key, side) in [("down", Side::Buy), ("up", Side::Sell)] {
        if let Some(listed) = input.get(key) {
            rows(
                &format!("{place}.{key}"),
                listed,
                side,
                &mut offers,
                &mut taken,
            )?;
        }
    }
    let place = format!("{place}.da");
    let day_ahead = input
        .get("da")
        .ok_or_else(|| shape(&place, "the day-ahead price"))?;
    let day_ahead = Price(integer(&place, day_ahead)?);
    let rules = BookRules::unbounded();
    let result = balance(UNTIMED, &rules, &deviations, offers, day_ahead)?;
    let Balancing {
        activated,
        price,
        single,
        dual,
    } = &result;
    let money = |list: &[(AgentId, crate::Money)]| {
        Out::map(list.iter().map(|(agent, amount)| (agent, amount.0)))
    };
    Ok(Out::Map(vec![
        (
            "activated".into(),
            Out::map(activated.iter().map(|(agent, e)| (agent, e.0.abs()))),
        ),
        ("p_imb".into(), Out::Integer(price.0.into())),
        ("single".into(), money(single)),
        (
            "single_residual".into(),
            Out::Integer(result.single_residual().0),
        ),
        ("dual".into(), money(dual)),
        (
            "dual_residual".into(),
            Out::Integer(result.dual_residual().0),
        ),
    ]))
}

/// The prices of one unit each, listed under `key`.
fn units(place: &str, input: &Value, key: &str) -> Result<Vec<Price>, OfflineError> {
    let place = format!("{place}.{key}");
    let listed = input.get(key).and_then(Value::as_array);
    let listed = listed.ok_or_else(|| shape(&place, "a list of prices"))?;
    let price = |(index, value)| integer(&format!("{place}[{index}]"), value).map(Price);
    listed.iter().enumerate().map(price).collect()
}

fn optional(price: Option<Price>) -> Out {
    price.map_or(Out::Null, |price| Out::Integer(price.0.into()))
}

fn count(number: usize) -> Out {
    Out::Integer(number as i128)
}

fn mcafee(place: &str, input: &Value) -> Result<Out, OfflineError> {
    let found = truthful::mcafee(&units(place, input, "b")?, &units(place, input, "s")?);
    Ok(Out::Map(vec![
        ("k".into(), count(found.crossing)),
        ("trades".into(), count(found.trades)),
        ("buy".into(), optional(found.prices.map(|(buy, _)| buy))),
        ("sell".into(), optional(found.prices.map(|(_, sell)| sell))),
        ("surplus".into(), Out::Integer(found.surplus)),
    ]))
}

fn sbba(place: &str, input: &Value) -> Result<Out, OfflineError> {
    let found = truthful::sbba(&units(place, input, "b")?, &units(place, input, "s")?);
    let excluded = "buyer k; one of sellers 1..k by lottery".to_string();
    Ok(Out::Map(vec![
        ("k".into(), count(found.crossing)),
        ("trades".into(), count(found.trades)),
        ("price".into(), optional(found.price)),
        (
            "excluded".into(),
            if found.lottery {
                Out::Text(excluded)
            } else {
                Out::Null
            },
        ),
    ]))
}

/// Takes a book, or one unit per trader as the other truthful forms do.
fn vcg(place: &str, input: &Value) -> Result<Out, OfflineError> {
    let unit_demand = input.get("b").is_some();
    let book = if unit_demand {
        let mut orders = Vec::new();
        for (key, side) in [("b", Side::Buy), ("s", Side::Sell)] {
            for (index, price) in units(place, input, key)?.into_iter().enumerate() {
                let id = AgentId::from(format!("{key}{}", index + 1));
                orders.push(Order::single(id, side, price, Mwh(1)).ranked(orders.len() as u64));
            }
        }
        Book::new(UNTIMED, &BookRules::unbounded(), orders).map_err(OfflineError::Orders)?
    } else {
        book(place, input)?
    };
    let found = truthful::vcg(&book);
    let alloc = Out::map(found.fills.iter().map(|(agent, q, _)| (agent, q.0.into())));
    let mut out = vec![
        (
            "pay".to_string(),
            Out::map(found.fills.iter().map(|(agent, _, pay)| (agent, pay.0))),
        ),
        ("deficit".into(), Out::Integer(found.deficit.0)),
    ];
    if !unit_demand {
        out.insert(0, ("alloc".into(), alloc));
    }
    Ok(Out::Map(out))
}

fn huang(place: &str, input: &Value) -> Result<Out, OfflineError> {
    let found = truthful::huang(&book(place, input)?);
    Ok(Out::Map(vec![
        ("q".into(), Out::Integer(found.quantity.0)),
        ("buy".into(), optional(found.prices.map(|(buy, _)| buy))),
        ("sell".into(), optional(found.prices.map(|(_, sell)| sell))),
        (
            "alloc".into(),
            Out::map(found.fills.iter().map(|(agent, q)| (agent, q.0.into()))),
        ),
        ("surplus".into(), Out::Integer(found.surplus.0)),
    ]))
}

fn clearing(clearing: &Clearing) -> Out {
    let fills = &clearing.fills;
    let pair = |(a, b)| Out::List(vec![optional(a), optional(b)]);
    let competitive = clearing
        .competitive
        .map_or(Out::Null, |(lo, hi)| pair((Some(lo), Some(hi))));
    let mut out = vec![
        ("q".to_string(), Out::Integer(clearing.quantity.0)),
        ("p".into(), optional(clearing.price)),
        ("interval".into(), competitive),
        (
            "alloc".into(),
            Out::map(fills.iter().map(|f| (&f.agent, f.quantity.0.into()))),
        ),
        (
            "pay".into(),
            Out::map(fills.iter().map(|f| (&f.agent, f.payment.0))),
        ),
        ("welfare".into(), Out::Integer(clearing.welfare.0)),
    ];
    if fills.is_empty() {
        out.push(("indicative".into(), pair(clearing.indicative)));
    }
    if !clearing.trades.is_empty() {
        let trade = |t: &crate::clearing::Trade| {
            let names = [&t.buyer, &t.seller].map(|agent| Out::Text(agent.to_string()));
            let numbers = [t.quantity.0, t.price.0].map(|number| Out::Integer(number.into()));
            Out::List(names.into_iter().chain(numbers).collect())
        };
        out.push((
            "trades".into(),
            Out::List(clearing.trades.iter().map(trade).collect()),
        ));
    }
    Out::Map(out)
}

/// JSON that keeps the order of its keys, so that results read in listing order.
enum Out {
    Null,
    Integer(i128),
    Text(String),
    List(Vec<Out>),
    Map(Vec<(String, Out)>),
}

impl Out {
    fn map<'a>(rows: impl Iterator<Item = (&'a AgentId, i128)>) -> Self {
        Self::Map(
            rows.map(|(agent, n)| (agent.to_string(), Self::Integer(n)))
                .collect(),
        )
    }
}

impl Serialize for Out {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Integer(n) if (-EXACT_MAX..=EXACT_MAX).contains(n) => {
                // Within 2^53, so it fits.
                serializer.serialize_i64(*n as i64)
            }
            Self::Integer(n) => serializer.collect_str(n),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items
                    .iter()
                    .try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Self::Map(rows) => {
                let mut map = serializer.serialize_map(Some(rows.len()))?;
                rows.iter()
                    .try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
        }
    }
}

impl std::fmt::Display for Out {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| std::fmt::Error)?)
    }
}

#[cfg(test)]
mod tests;
