//! The exact prices of pools, as fractions.
//!
//! Not responsible for the formulas: those are [`crate::mechanism::Pool`].

use serde_json::Value;

use super::out::Out;
use super::{OfflineError, integer, shape};
use crate::mechanism::Pool;
use crate::quantity::{Mwh, Price};
use crate::utility::Parity;

/// Exact prices of pools for `rows` of supply and demand in mWh.
pub(super) fn pool(
    place: &str,
    input: &Value,
    pools: &[(&str, Pool)],
) -> Result<Out, OfflineError> {
    let price = |key: &str| {
        let place = format!("{place}.{key}");
        let value = input.get(key).ok_or_else(|| shape(&place, "a price"))?;
        integer(&place, value).map(Price)
    };
    let parity = Parity {
        export: price("ls")?,
        import: price("lb")?,
    };
    let place = format!("{place}.rows");
    let listed = input.get("rows").and_then(Value::as_array);
    let listed = listed.ok_or_else(|| shape(&place, "a list of [supply_mwh, demand_mwh]"))?;
    let mut rows = Vec::new();
    for (index, row) in listed.iter().enumerate() {
        let place = format!("{place}[{index}]");
        let [supply, demand] = row.as_array().map_or(&[][..], Vec::as_slice) else {
            return Err(shape(&place, "[supply_mwh, demand_mwh]"));
        };
        let (supply, demand) = (integer(&place, supply)?, integer(&place, demand)?);
        if supply < 0 || demand < 0 || parity.export > parity.import {
            return Err(shape(
                &place,
                "energies not negative, and `ls` not above `lb`",
            ));
        }
        let mut cells = vec![Out::Integer(supply.into()), Out::Integer(demand.into())];
        for (_, pool) in pools {
            let amounts = pool.amounts(Mwh(supply).into(), Mwh(demand).into(), parity)?;
            let exact = [amounts.sell_price, amounts.buy_price];
            cells.extend(exact.map(|price| Out::Text(fraction(price))));
        }
        rows.push(Out::List(cells));
    }
    let columns = pools
        .iter()
        .flat_map(|(name, _)| ["sell", "buy"].map(|s| format!("{name}_{s}")));
    let columns = ["S".to_owned(), "D".to_owned()].into_iter().chain(columns);
    Ok(Out::Map(vec![
        ("cols".into(), Out::List(columns.map(Out::Text).collect())),
        ("rows".into(), Out::List(rows)),
    ]))
}

/// A fraction in lowest terms, as `3/2`, or as a whole number.
fn fraction((above, below): (i128, i128)) -> String {
    let (mut divisor, mut rest) = (above.abs(), below);
    while rest != 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    // The denominator is positive, so the divisor is too.
    match (above / divisor, below / divisor) {
        (whole, 1) => whole.to_string(),
        (above, below) => format!("{above}/{below}"),
    }
}
