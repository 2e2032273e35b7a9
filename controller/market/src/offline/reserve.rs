//! Energy and reserve together: `{"D": energy, "R": up-reserve, "G1": [energy price,
//! capacity, price of up-reserve, most of it or null], …}`. With `"R_down"` down-reserve as
//! well: then a row may go on with its price and the most of it or null, else it has none.
//!
//! Not responsible for how it is bought: that is [`crate::reserve`].

use serde_json::Value;

use super::out::Out;
use super::{OfflineError, integer, shape};
use crate::quantity::{Mwh, Price};
use crate::reserve::{Award, Need, Provider, cooptimise as bought};

/// Key of the need of down-reserve.
const DOWN: &str = "R_down";

/// The form.
pub(super) fn cooptimise(place: &str, input: &Value) -> Result<Out, OfflineError> {
    let rows = input.as_object().ok_or_else(|| shape(place, "an object"))?;
    let needed = |key: &str| {
        let place = format!("{place}.{key}");
        let value = input.get(key).ok_or_else(|| shape(&place, "an energy"))?;
        integer(&place, value).map(Mwh)
    };
    let goes_down = input.get(DOWN).is_some();
    let need = Need {
        energy: needed("D")?,
        up: needed("R")?,
        down: match goes_down {
            true => needed(DOWN)?,
            false => Mwh(0),
        },
    };
    let mut providers = Vec::new();
    for (name, row) in rows
        .iter()
        .filter(|(name, _)| !["D", "R", DOWN].contains(&name.as_str()))
    {
        let place = format!("{place}.{name}");
        let row = row.as_array().map_or(&[][..], Vec::as_slice);
        let (energy_price, most, up, down) = match row {
            [energy, most, price, up] => (energy, most, (price, up), None),
            [energy, most, price, up, down_price, down] if goes_down => {
                (energy, most, (price, up), Some((down_price, down)))
            }
            _ => {
                return Err(shape(
                    &place,
                    "[energy price, capacity, reserve price, most or null], and beside `R_down` the price and \
                     most of down-reserve",
                ));
            }
        };
        let number = |value: &Value| integer(&place, value);
        let most = Mwh(number(most)?);
        let reserve = |(price, limit): (&Value, &Value)| -> Result<_, OfflineError> {
            let limit = match limit.is_null() {
                true => most,
                false => Mwh(number(limit)?),
            };
            Ok((Price(number(price)?), limit))
        };
        let (up_price, up_max) = reserve(up)?;
        let (down_price, down_max) = down.map_or(Ok((Price(0), Mwh(0))), reserve)?;
        providers.push(Provider {
            agent: name.as_str().into(),
            energy: (Mwh(0), most),
            energy_price: Price(number(energy_price)?),
            up_max,
            up_price,
            down_max,
            down_price,
        });
    }
    let found = bought(&providers, need)?;
    let each = |of: fn(&Award) -> Mwh| {
        let parts = found
            .awards
            .iter()
            .map(|award| Out::Integer(of(award).0.into()));
        Out::List(parts.collect())
    };
    let price = |price: Price| Out::Integer(price.0.into());
    let mut out = vec![
        ("e".into(), each(|award| award.energy)),
        ("r".into(), each(|award| award.up)),
        ("p_energy".into(), price(found.energy_price)),
        ("p_reserve".into(), price(found.up_price)),
        ("cost".into(), Out::Integer(found.cost.0)),
    ];
    if goes_down {
        out.push(("r_down".into(), each(|award| award.down)));
        out.push(("p_down".into(), price(found.down_price)));
    }
    Ok(Out::Map(out))
}
