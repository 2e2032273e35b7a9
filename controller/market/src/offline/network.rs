//! A feeder of nodes: `{"nodes": [{"name", "bids", "offers", "toward", "cap", "fee"}]}`,
//! the root first and without the last three; or two nodes in short, `{"A": {"bids",
//! "offers"}, "B": {…}, "cap", "fee"}`.
//!
//! Not responsible for how it is cleared: that is [`crate::feeder`].

use std::collections::BTreeSet;

use serde_json::Value;

use super::out::Out;
use super::{OfflineError, UNTIMED, integer, rows, shape};
use crate::book::{Book, BookRules};
use crate::feeder::{Cleared, Feeder, Line};
use crate::order::{AgentId, Side};
use crate::quantity::{Mwh, Price};

fn node_book(
    place: &str,
    node: &Value,
    taken: &mut BTreeSet<AgentId>,
) -> Result<Book, OfflineError> {
    let mut orders = Vec::new();
    for (key, side) in [("bids", Side::Buy), ("offers", Side::Sell)] {
        if let Some(listed) = node.get(key) {
            rows(&format!("{place}.{key}"), listed, side, &mut orders, taken)?;
        }
    }
    Book::new(UNTIMED, &BookRules::unbounded(), orders).map_err(OfflineError::Orders)
}

fn line(place: &str, value: &Value, toward: usize) -> Result<Line, OfflineError> {
    let number = |key: &str| {
        let place = format!("{place}.{key}");
        let value = value.get(key).ok_or_else(|| shape(&place, "a number"))?;
        integer(&place, value)
    };
    Ok(Line {
        toward,
        capacity: Mwh(number("cap")?),
        fee: Price(number("fee")?),
    })
}

/// Every order, also those that do not trade.
fn alloc(cleared: &Cleared) -> Out {
    let fills = cleared.nodes.iter().flat_map(|node| &node.fills);
    Out::map(fills.map(|fill| (&fill.agent, fill.quantity.0.into())))
}

fn price(price: Option<Price>) -> Out {
    price.map_or(Out::Null, |price| Out::Integer(price.0.into()))
}

/// The form.
pub(super) fn network(place: &str, input: &Value) -> Result<Out, OfflineError> {
    match input.get("nodes") {
        Some(nodes) => of_nodes(&format!("{place}.nodes"), nodes),
        None => two_nodes(place, input),
    }
}

fn two_nodes(place: &str, input: &Value) -> Result<Out, OfflineError> {
    let mut taken = BTreeSet::new();
    let mut book = |key: &str| {
        let place = format!("{place}.{key}");
        let node = input.get(key).filter(|node| node.is_object());
        let node = node.ok_or_else(|| shape(&place, "an object of bids and offers"))?;
        node_book(&place, node, &mut taken)
    };
    let books = [book("A")?, book("B")?];
    let feeder = Feeder::new(vec![line(place, input, 0)?])?;
    let cleared = feeder.clear(&books)?;
    let [a, b] = cleared.nodes.as_slice() else {
        return Err(shape(place, "two nodes"));
    };
    Ok(Out::Map(vec![
        ("alloc".into(), alloc(&cleared)),
        ("pA".into(), price(a.price)),
        ("pB".into(), price(b.price)),
        ("flowAB".into(), Out::Integer(-b.flow.0)),
        ("congestion_rent".into(), Out::Integer(cleared.rent().0)),
        ("fee_rev".into(), Out::Integer(cleared.fees().0)),
        ("welfare".into(), Out::Integer(cleared.welfare.0)),
    ]))
}

fn of_nodes(place: &str, nodes: &Value) -> Result<Out, OfflineError> {
    let listed = nodes.as_array().filter(|nodes| !nodes.is_empty());
    let listed = listed.ok_or_else(|| shape(place, "a list of nodes, the root first"))?;
    let mut names: Vec<&str> = Vec::new();
    let (mut books, mut lines, mut taken) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (index, node) in listed.iter().enumerate() {
        let place = format!("{place}[{index}]");
        let name = node.get("name").and_then(Value::as_str);
        let name = name.filter(|name| !names.contains(name));
        let name = name.ok_or_else(|| shape(&format!("{place}.name"), "a name of its own"))?;
        books.push(node_book(&place, node, &mut taken)?);
        if index > 0 {
            let toward = node.get("toward").and_then(Value::as_str);
            let toward = names.iter().position(|known| Some(*known) == toward);
            let toward = toward
                .ok_or_else(|| shape(&format!("{place}.toward"), "the name of a node before it"))?;
            lines.push(line(&place, node, toward)?);
        }
        names.push(name);
    }
    let cleared = Feeder::new(lines)?.clear(&books)?;
    let by_node = |of: &dyn Fn(usize) -> Out| {
        let rows = names.iter().enumerate();
        Out::Map(
            rows.map(|(index, name)| (name.to_string(), of(index)))
                .collect(),
        )
    };
    let nodes = &cleared.nodes;
    let fills = nodes.iter().flat_map(|node| &node.fills);
    Ok(Out::Map(vec![
        ("alloc".into(), alloc(&cleared)),
        (
            "pay".into(),
            Out::map(fills.map(|fill| (&fill.agent, fill.payment.0))),
        ),
        ("price".into(), by_node(&|index| price(nodes[index].price))),
        (
            "flow_to_root".into(),
            by_node(&|index| Out::Integer(nodes[index].flow.0)),
        ),
        ("congestion_rent".into(), Out::Integer(cleared.rent().0)),
        ("fee_rev".into(), Out::Integer(cleared.fees().0)),
        ("welfare".into(), Out::Integer(cleared.welfare.0)),
    ]))
}
