//! A continuous auction, order by order.
//!
//! Not responsible for matching: that is [`crate::continuous`].

use std::collections::BTreeSet;

use serde_json::Value;

use super::out::Out;
use super::{OfflineError, integer, shape};
use crate::continuous::{ContinuousBook, Execution, Placed, Scale, Tender, Validity};
use crate::mechanism::RuleError;
use crate::order::{AgentId, Side};
use crate::quantity::{Mwh, Price};

/// Words for how long an order stands.
const VALIDITIES: [(&str, Validity); 3] = [
    ("GTC", Validity::Gate),
    ("IOC", Validity::Immediate),
    ("FOK", Validity::Whole),
];

/// A continuous auction, order by order: `[id, "buy" or "sell", price, quantity, "GTC",
/// "IOC" or "FOK"]`.
pub(super) fn script(place: &str, input: &Value) -> Result<Out, OfflineError> {
    let mut tenders = Vec::new();
    let mut ids: Vec<AgentId> = Vec::new();
    let mut taken = BTreeSet::new();
    for (index, row) in input.as_array().into_iter().flatten().enumerate() {
        let place = format!("{place}[{index}]");
        let [id, side, price, quantity, validity] = row.as_array().map_or(&[][..], Vec::as_slice)
        else {
            return Err(shape(&place, "[id, side, price, quantity, validity]"));
        };
        let id = (id.as_str()).ok_or_else(|| shape(&format!("{place}[0]"), "an id in quotes"))?;
        let id = AgentId::from(id);
        if !taken.insert(id.clone()) {
            return Err(OfflineError::SameId { place, id });
        }
        let side = match side.as_str() {
            Some("buy") => Side::Buy,
            Some("sell") => Side::Sell,
            _ => return Err(shape(&format!("{place}[1]"), "`buy` or `sell`")),
        };
        let known = |(word, _): &&(&str, Validity)| validity.as_str() == Some(word);
        let (_, validity) = VALIDITIES
            .iter()
            .find(known)
            .ok_or_else(|| shape(&format!("{place}[4]"), "`GTC`, `IOC` or `FOK`"))?;
        ids.push(id);
        tenders.push(Tender {
            // As many rows as text can hold in memory.
            id: index as u32,
            owner: index as u32,
            side,
            price: Price(integer(&format!("{place}[2]"), price)?),
            quantity: Mwh(integer(&format!("{place}[3]"), quantity)?),
            validity: *validity,
        });
    }
    let name = |id: u32| Out::Text(ids[id as usize].to_string());
    let mut executions = Vec::new();
    let mut rejected = Vec::new();
    let mut expired = Vec::new();
    if !tenders.is_empty() {
        let scale = Scale::of_prices(tenders.iter().map(|tender| tender.price));
        let refused = |error| OfflineError::Rule(RuleError::Tender(error));
        let mut book = ContinuousBook::new(scale).map_err(refused)?;
        for tender in &tenders {
            let placed = book.submit(*tender, &mut executions).map_err(refused)?;
            if placed == Placed::Rejected {
                rejected.push(name(tender.id));
            }
        }
        expired = book.close();
    }
    let number = |n: i64| Out::Integer(n.into());
    let trade = |e: &Execution| {
        let (buyer, seller) = match tenders[e.taker as usize].side {
            Side::Buy => (e.taker, e.maker),
            Side::Sell => (e.maker, e.taker),
        };
        let cells = [number(e.quantity.0), number(e.price.0)];
        Out::List(
            [name(buyer), name(seller)]
                .into_iter()
                .chain(cells)
                .collect(),
        )
    };
    let rest = |&(id, left, price): &(u32, Mwh, Price)| {
        Out::List(vec![name(id), number(left.0), number(price.0)])
    };
    Ok(Out::Map(vec![
        (
            "trades".into(),
            Out::List(executions.iter().map(trade).collect()),
        ),
        ("rejected".into(), Out::List(rejected)),
        (
            "expired".into(),
            Out::List(expired.iter().map(rest).collect()),
        ),
    ]))
}
