//! One clearing from a JSON document, for the command line and for research.
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

/// The mechanism of a document that names none.
pub const MECHANISM_DEFAULT: &str = "uniform_k_half";

/// The mechanism name of the balancing form, whose input is not a book.
pub const BALANCING: &str = "imbalance";

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
            Self::Mechanism(error) => format!("{}, {BALANCING}", error.help()),
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
    let out = if name == BALANCING {
        balancing(place, input)?
    } else {
        let mechanism = by_name(name)?;
        let book = Book::new(UNTIMED, &BookRules::unbounded(), book_orders(place, input)?)
            .map_err(OfflineError::Orders)?;
        clearing(&mechanism.clear(&book)?)
    };
    Ok(out.to_string())
}

fn book_orders(place: &str, input: &Value) -> Result<Vec<Order>, OfflineError> {
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

fn clearing(clearing: &Clearing) -> Out {
    let fills = &clearing.fills;
    let price = |price: Option<Price>| price.map_or(Out::Null, |p| Out::Integer(p.0.into()));
    let pair = |(a, b)| Out::List(vec![price(a), price(b)]);
    let competitive = clearing
        .competitive
        .map_or(Out::Null, |(lo, hi)| pair((Some(lo), Some(hi))));
    let mut out = vec![
        ("q".to_string(), Out::Integer(clearing.quantity.0)),
        ("p".into(), price(clearing.price)),
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
