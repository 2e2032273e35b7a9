//! Books of energy and of readiness cleared together: `{"can": {"a": [most in, most out], …},
//! "energy": {"bids": […], "offers": […]}, "up": {…}, "down": {…}}`. One may bid and offer;
//! who is not under `can` is not bounded.
//!
//! Not responsible for how they are cleared: that is [`crate::cooptimised`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::out::Out;
use super::{OfflineError, UNTIMED, integer, rows, shape};
use crate::book::{Book, BookRules, Capability};
use crate::clearing::Clearing;
use crate::cooptimised::Books;
use crate::mechanism::UniformPrice;
use crate::order::{AgentId, Order, Side};
use crate::quantity::{MwhTotal, Price};

/// The orders of one of the books.
fn orders(place: &str, input: &Value) -> Result<Vec<Order>, OfflineError> {
    let mut orders = Vec::new();
    for (key, side) in [("bids", Side::Buy), ("offers", Side::Sell)] {
        let place = format!("{place}.{key}");
        let listed = input.get(key);
        let listed = listed.ok_or_else(|| shape(&place, "a list of orders"))?;
        rows(&place, listed, side, &mut orders, &mut BTreeSet::new())?;
    }
    Ok(orders)
}

/// What everybody can do: as stated, and without bound who is not.
fn capabilities(
    place: &str,
    input: &Value,
    orders: &[Order],
) -> Result<BTreeMap<AgentId, Capability>, OfflineError> {
    let any = MwhTotal(i64::MAX.into());
    let any = Capability {
        inject_max: any,
        withdraw_max: any,
    };
    let mut all: BTreeMap<AgentId, Capability> = (orders.iter())
        .map(|order| (order.agent.clone(), any))
        .collect();
    let place = format!("{place}.can");
    let stated = input.get("can").and_then(Value::as_object);
    let stated = stated.ok_or_else(|| shape(&place, "an object of [most in, most out]"))?;
    for (name, row) in stated {
        let place = format!("{place}.{name}");
        let [inject, withdraw] = row.as_array().map_or(&[][..], Vec::as_slice) else {
            return Err(shape(&place, "[most in, most out]"));
        };
        let most = |value| integer(&place, value).map(|most| MwhTotal(most.into()));
        let can = Capability {
            inject_max: most(inject)?,
            withdraw_max: most(withdraw)?,
        };
        all.insert(name.as_str().into(), can);
    }
    Ok(all)
}

/// The form.
pub(super) fn together(place: &str, input: &Value) -> Result<Out, OfflineError> {
    let nothing = serde_json::json!({"bids": [], "offers": []});
    let of = |key: &str| {
        let place = format!("{place}.{key}");
        orders(&place, input.get(key).unwrap_or(&nothing))
    };
    let [energy, up, down] = [of("energy")?, of("up")?, of("down")?];
    let unbounded = BookRules::unbounded();
    let bounded = BookRules {
        capabilities: Some(capabilities(place, input, &energy)?),
        ..unbounded.clone()
    };
    let book = |rules, orders| Book::new(UNTIMED, rules, orders).map_err(OfflineError::Orders);
    let books = Books {
        energy: book(&bounded, energy)?,
        up: book(&unbounded, up)?,
        down: book(&unbounded, down)?,
    };
    let found = books.clear(UniformPrice::HALF.k)?;
    let welfare = found.energy.welfare + found.up.welfare + found.down.welfare;
    Ok(Out::Map(vec![
        ("energy".into(), told(&found.energy)),
        ("up".into(), told(&found.up)),
        ("down".into(), told(&found.down)),
        ("welfare".into(), Out::Integer(welfare.0)),
        ("certificate".into(), Out::Text(found.dual.to_string())),
    ]))
}

fn told(clearing: &Clearing) -> Out {
    let price = |price: Price| Out::Integer(price.0.into());
    let of = |side: Side| {
        let fills = clearing.fills.iter().filter(move |fill| fill.side == side);
        Out::map(fills.map(|fill| (&fill.agent, fill.quantity.0.into())))
    };
    let ends = clearing.competitive;
    Out::Map(vec![
        ("q".into(), Out::Integer(clearing.quantity.0)),
        ("p".into(), clearing.price.map_or(Out::Null, price)),
        (
            "interval".into(),
            ends.map_or(Out::Null, |(low, high)| {
                Out::List(vec![price(low), price(high)])
            }),
        ),
        ("bought".into(), of(Side::Buy)),
        ("sold".into(), of(Side::Sell)),
    ])
}
