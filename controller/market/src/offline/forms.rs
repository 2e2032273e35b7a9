//! The forms whose input is not a book alone, or whose result is not a clearing.
//!
//! Not responsible for what they compute: each calls one module.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::out::Out;
use super::{
    OfflineError, UNTIMED, book, distributed, integer, network, pool, reserve, rows, script, shape,
    together,
};
use crate::balancing::{Balancing, balance};
use crate::book::{Book, BookRules};
use crate::catalogue::Rule;
use crate::clearing::{Clearing, Trade};
use crate::mechanism::Surroundings;
use crate::mechanism::{self, Pool};
use crate::order::{AgentId, Order, Side};
use crate::outcome::Outcome;
use crate::quantity::{Mwh, MwhTotal, Price};
use crate::utility::Parity;

/// A form: its name, which input it is for, and how it answers.
pub(super) struct Form {
    pub name: &'static str,
    pub takes: fn(&Value) -> bool,
    pub answer: fn(&str, &Value) -> Result<Out, OfflineError>,
}

const fn form(name: &'static str, answer: fn(&str, &Value) -> Result<Out, OfflineError>) -> Form {
    let takes = |_: &Value| true;
    Form {
        name,
        takes,
        answer,
    }
}

/// Prices of one unit per trader, under `b` and `s`.
fn has_units(input: &Value) -> bool {
    input.get("bids").is_none()
}

/// All forms.
pub(super) const FORMS: &[Form] = &[
    form("imbalance", balancing),
    Form {
        takes: has_units,
        ..form("mcafee", mcafee)
    },
    Form {
        takes: has_units,
        ..form("sbba", sbba)
    },
    form("vcg", vcg),
    form("huang", huang),
    form("huang_trade_reduction", huang),
    Form {
        takes: has_units,
        ..form("sdr", |place, input| {
            pool::pool(place, input, &[("sdr", Pool::SupplyDemandRatio)])
        })
    },
    Form {
        takes: has_units,
        ..form("mmr", |place, input| {
            pool::pool(place, input, &[("mmr", Pool::MidMarketRate)])
        })
    },
    Form {
        takes: has_units,
        ..form("bill_sharing", |place, input| {
            pool::pool(place, input, &[("bill_sharing", Pool::BillSharing)])
        })
    },
    Form {
        takes: Value::is_array,
        ..form("cda", script::script)
    },
    form("network_uniform", network::network),
    form("cooptimise", reserve::cooptimise),
    form(crate::cooptimised::NAME, together::together),
    form("tatonnement|admm", distributed::both),
    form("tatonnement", distributed::tatonnement),
    Form {
        takes: has_units,
        ..form("admm", distributed::admm)
    },
    form("sdr|mmr", |place, input| {
        let both = [
            ("sdr", Pool::SupplyDemandRatio),
            ("mmr", Pool::MidMarketRate),
        ];
        pool::pool(place, input, &both)
    }),
];

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
    let found = mechanism::mcafee(&units(place, input, "b")?, &units(place, input, "s")?);
    Ok(Out::Map(vec![
        ("k".into(), count(found.crossing)),
        ("trades".into(), count(found.trades)),
        ("buy".into(), optional(found.prices.map(|(buy, _)| buy))),
        ("sell".into(), optional(found.prices.map(|(_, sell)| sell))),
        ("surplus".into(), Out::Integer(found.surplus)),
    ]))
}

fn sbba(place: &str, input: &Value) -> Result<Out, OfflineError> {
    let found = mechanism::sbba(&units(place, input, "b")?, &units(place, input, "s")?);
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
    let found = mechanism::vcg(&book);
    let alloc = Out::map(found.fills.iter().map(|f| (&f.agent, f.quantity.0.into())));
    let mut out = vec![
        (
            "pay".to_string(),
            Out::map(found.fills.iter().map(|f| (&f.agent, f.payment.0))),
        ),
        ("deficit".into(), Out::Integer(found.deficit.0)),
    ];
    if !unit_demand {
        out.insert(0, ("alloc".into(), alloc));
    }
    Ok(Out::Map(out))
}

fn huang(place: &str, input: &Value) -> Result<Out, OfflineError> {
    let found = mechanism::huang(&book(place, input)?);
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

pub(super) fn clearing(clearing: &Clearing) -> Out {
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
        out.push(("trades".into(), traded(&clearing.trades)));
    }
    Out::Map(out)
}

/// Keys of a book that a mechanism of the catalogue may use.
const BOOK_KEYS: [&str; 7] = [
    "bids",
    "offers",
    "ls",
    "lb",
    "utility_max",
    "seed",
    "indivisible",
];

/// A mechanism of the catalogue over a book, with what surrounds it.
pub(super) fn catalogued(rule: &Rule, place: &str, input: &Value) -> Result<Out, OfflineError> {
    let keys = input.as_object().into_iter().flatten();
    if let Some((key, _)) = keys
        .clone()
        .find(|(key, _)| !BOOK_KEYS.contains(&key.as_str()))
    {
        let known = format!("one of {}", BOOK_KEYS.join(", "));
        return Err(shape(&format!("{place}.{key}"), &known));
    }
    let book = book(place, input)?;
    let around = surroundings(&book, place, input)?;
    Ok(outcome(&rule.clear(&book, &around)?, &book))
}

fn surroundings(book: &Book, place: &str, input: &Value) -> Result<Surroundings, OfflineError> {
    let mut around = Surroundings::of(book);
    around.parity = match (input.get("ls"), input.get("lb")) {
        (None, None) => None,
        (Some(export), Some(import)) => Some(Parity {
            export: Price(integer(&format!("{place}.ls"), export)?),
            import: Price(integer(&format!("{place}.lb"), import)?),
        }),
        (None, _) => return Err(shape(&format!("{place}.ls"), "what the utility pays")),
        (_, None) => return Err(shape(&format!("{place}.lb"), "what the utility charges")),
    };
    if around
        .parity
        .is_some_and(|parity| parity.export > parity.import)
    {
        return Err(shape(&format!("{place}.lb"), "a price not below `ls`"));
    }
    around.utility_max = match input.get("utility_max") {
        None => (Mwh(i64::MAX), Mwh(i64::MAX)),
        Some(listed) => {
            let place = format!("{place}.utility_max");
            let Some([import, export]) = listed.as_array().map(Vec::as_slice) else {
                return Err(shape(&place, "[import_mwh, export_mwh]"));
            };
            let energy = |value: &Value| match integer(&place, value)? {
                energy if energy >= 0 => Ok(Mwh(energy)),
                _ => Err(shape(&place, "energies that are not negative")),
            };
            (energy(import)?, energy(export)?)
        }
    };
    if let Some(seed) = input.get("seed") {
        around.seed = (seed.as_u64())
            .ok_or_else(|| shape(&format!("{place}.seed"), "a number that is not negative"))?;
    }
    if let Some(listed) = input.get("indivisible") {
        let place = format!("{place}.indivisible");
        let ids = listed
            .as_array()
            .ok_or_else(|| shape(&place, "a list of ids"))?;
        let known = |id: &Value| {
            let agent = AgentId::from(id.as_str()?);
            let ordered = book.orders().iter().any(|order| order.agent == agent);
            ordered.then_some(agent)
        };
        let ids: Option<BTreeSet<AgentId>> = ids.iter().map(known).collect();
        around.indivisible = Some(ids.ok_or_else(|| shape(&place, "ids of orders of this book"))?);
    }
    Ok(around)
}

fn traded(trades: &[Trade]) -> Out {
    let trade = |t: &Trade| {
        let names = [&t.buyer, &t.seller].map(|agent| Out::Text(agent.to_string()));
        let numbers = [t.quantity.0, t.price.0].map(|number| Out::Integer(number.into()));
        Out::List(names.into_iter().chain(numbers).collect())
    };
    Out::List(trades.iter().map(trade).collect())
}

/// What every rule can say, and beside it what only some have.
fn outcome(outcome: &Outcome, book: &Book) -> Out {
    let fills = &outcome.fills;
    let mut out = vec![("q".to_string(), Out::Integer(outcome.bought().0))];
    match outcome.prices {
        Some((buy, sell)) if buy == sell => out.push(("p".into(), optional(Some(buy)))),
        Some((buy, sell)) => {
            out.push(("buy".into(), optional(Some(buy))));
            out.push(("sell".into(), optional(Some(sell))));
        }
        None => out.push(("p".into(), Out::Null)),
    }
    out.extend([
        (
            "alloc".to_string(),
            Out::map(fills.iter().map(|f| (&f.agent, f.quantity.0.into()))),
        ),
        (
            "pay".into(),
            Out::map(fills.iter().map(|f| (&f.agent, f.payment.0))),
        ),
        ("welfare".into(), Out::Integer(outcome.welfare(book).0)),
        ("residual".into(), Out::Integer(outcome.residual().0)),
    ]);
    let utility = outcome.utility;
    if utility != Default::default() {
        let rows = [
            ("import", utility.import.0),
            ("export", utility.export.0),
            ("pay", utility.payment.0),
        ];
        let rows = rows.map(|(key, n)| (key.to_string(), Out::Integer(n)));
        out.push(("utility".into(), Out::Map(rows.into())));
    }
    if !outcome.trades.is_empty() {
        out.push(("trades".into(), traded(&outcome.trades)));
    }
    if !outcome.imports.is_empty() {
        let rows = outcome.imports.iter().map(|(agent, e)| (agent, e.0.into()));
        out.push(("imports".into(), Out::map(rows)));
    }
    if !outcome.left_out.is_empty() {
        let names = outcome
            .left_out
            .iter()
            .map(|agent| Out::Text(agent.to_string()));
        out.push(("left_out".into(), Out::List(names.collect())));
    }
    if let Some(rounds) = outcome.rounds {
        out.push(("rounds".into(), Out::Integer(rounds.into())));
    }
    Out::Map(out)
}
