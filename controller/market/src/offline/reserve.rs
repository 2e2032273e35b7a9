//! Energy and up-reserve together: `{"D": energy, "R": reserve, "G1": [energy price,
//! capacity, reserve price, reserve most or null], …}`.
//!
//! Not responsible for how it is bought: that is [`crate::reserve`].

use serde_json::Value;

use super::out::Out;
use super::{OfflineError, integer, shape};
use crate::quantity::{Mwh, Price};
use crate::reserve::{Award, Need, Provider, cooptimise as bought};

/// The form.
pub(super) fn cooptimise(place: &str, input: &Value) -> Result<Out, OfflineError> {
    let rows = input.as_object().ok_or_else(|| shape(place, "an object"))?;
    let needed = |key: &str| {
        let place = format!("{place}.{key}");
        let value = input.get(key).ok_or_else(|| shape(&place, "an energy"))?;
        integer(&place, value).map(Mwh)
    };
    let need = Need {
        energy: needed("D")?,
        up: needed("R")?,
        down: Mwh(0),
    };
    let mut providers = Vec::new();
    for (name, row) in rows
        .iter()
        .filter(|(name, _)| !["D", "R"].contains(&name.as_str()))
    {
        let place = format!("{place}.{name}");
        let [energy_price, most, up_price, up_max] = row.as_array().map_or(&[][..], Vec::as_slice)
        else {
            return Err(shape(
                &place,
                "[energy price, capacity, reserve price, most or null]",
            ));
        };
        let number = |value: &Value| integer(&place, value);
        let most = Mwh(number(most)?);
        providers.push(Provider {
            agent: name.as_str().into(),
            energy: (Mwh(0), most),
            energy_price: Price(number(energy_price)?),
            up_max: if up_max.is_null() {
                most
            } else {
                Mwh(number(up_max)?)
            },
            up_price: Price(number(up_price)?),
            down_max: Mwh(0),
            down_price: Price(0),
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
    Ok(Out::Map(vec![
        ("e".into(), each(|award| award.energy)),
        ("r".into(), each(|award| award.up)),
        ("p_energy".into(), Out::Integer(found.energy_price.0.into())),
        ("p_reserve".into(), Out::Integer(found.up_price.0.into())),
        ("cost".into(), Out::Integer(found.cost.0)),
    ]))
}
