//! `[market.contract]`: what participants have agreed between each other before the run.

use std::time::Duration;

use document::Table;
use market::contract::Contract;
use market::quantity::energy_of_power_mwh;
use market::{Coded, Mwh, Price};
use quantities::Energy;

use super::super::sections::Place;
use super::super::{Participation, RigDevice};
use super::participant::PRICES;
use crate::desk::UTILITY;
use crate::evidence::milliwatts;

/// The last interval that a contract may name. Chosen: a million, eleven days of one second each.
const INTERVAL_MAX: i64 = 1_000_000;

pub(super) fn contracts(
    market: &Table<'_>,
    participants: &[Participation],
    devices: &[(RigDevice, Place<'_>)],
    interval: Option<Duration>,
) -> Vec<Contract> {
    let mut found = Vec::new();
    if !market.has("contract") {
        return found;
    }
    let Some(list) = market.table("contract") else {
        return found;
    };
    for name in list.keys() {
        let Some(entry) = list.table(&name.value) else {
            continue;
        };
        let contract = contract(&name.value, &entry, participants);
        let span = entry.span();
        entry.finish();
        let Some(contract) = contract else { continue };
        if let Err(why) = contract.check() {
            list.document()
                .error("R156", span, why.to_string(), "", why.help());
            continue;
        }
        found.push(contract);
        let most = interval.and_then(|interval| beyond(&found, participants, devices, interval));
        if let Some((party, index)) = most {
            list.document().error(
                "R157",
                span,
                format!(
                    "the contracts of `{party}` come to more in interval {index} than its device gives or takes"
                ),
                "",
                "agree on less energy, or on other intervals",
            );
        }
    }
    list.finish();
    found
}

fn contract(name: &str, entry: &Table<'_>, participants: &[Participation]) -> Option<Contract> {
    let party = |key: &str| {
        if !entry.has(key) {
            return entry.missing(key, "\"load1\"");
        }
        let who = entry.text(key)?;
        let is_known = who.value == UTILITY || participants.iter().any(|p| p.name == who.value);
        if !is_known {
            entry.document().error(
                "R155",
                who.span,
                format!("`{}` is no participant of this market", who.value),
                "",
                "name one of `[market.participant]`, or `utility`",
            );
            return None;
        }
        Some(who.value)
    };
    let (buyer, seller) = (party("buyer"), party("seller"));
    let energy = match entry.has("energy") {
        true => entry.quantity::<Energy>("energy"),
        false => entry.missing("energy", "\"10Wh\""),
    };
    let price = match entry.has("price_mc_per_kwh") {
        true => entry.integer("price_mc_per_kwh", PRICES),
        false => entry.missing("price_mc_per_kwh", "20000"),
    };
    let number = |key: &str| match entry.has(key) {
        true => entry.integer(key, 0..=INTERVAL_MAX),
        false => entry.missing(key, "4"),
    };
    let (first, last) = (number("first"), number("last"));
    Some(Contract {
        name: name.to_owned(),
        buyer: buyer?.as_str().into(),
        seller: seller?.as_str().into(),
        energy: Mwh(milliwatts(energy?.value.as_watt_hours())),
        price: Price(price?.value),
        first: first?.value.unsigned_abs(),
        last: last?.value.unsigned_abs(),
    })
}

/// Who has agreed to more than its device can do, and in which interval, since the last contract
/// was added.
fn beyond(
    contracts: &[Contract],
    participants: &[Participation],
    devices: &[(RigDevice, Place<'_>)],
    interval: Duration,
) -> Option<(String, u64)> {
    let last = contracts.last()?;
    let dt_ns = i64::try_from(interval.as_nanos()).ok()?;
    for (party, sells) in [(&last.seller, true), (&last.buyer, false)] {
        let one = participants.iter().find(|p| p.name == party.as_str());
        // The utility, and a device without stated limits, are bound by none.
        let limits = one.and_then(|one| Some((one, devices[one.device].0.p?)));
        let Some((one, limits)) = limits else {
            continue;
        };
        let most = match sells {
            true => limits.upper().as_watts(),
            false => -limits.lower().as_watts(),
        };
        let share = f64::from(one.share_ppm) / 1e6;
        let most = energy_of_power_mwh(milliwatts((most * share).max(0.0)), dt_ns)?;
        // A sum is largest where one of them begins.
        let begins = contracts.iter().map(|contract| contract.first);
        for index in begins.filter(|index| last.deal(*index).is_some()) {
            let deals = contracts.iter().filter_map(|contract| contract.deal(index));
            let own = deals.filter(|deal| match sells {
                true => deal.seller == *party,
                false => deal.buyer == *party,
            });
            let sum: i128 = own.map(|deal| i128::from(deal.energy.0)).sum();
            if sum > i128::from(most.0) {
                return Some((party.to_string(), index));
            }
        }
    }
    None
}
