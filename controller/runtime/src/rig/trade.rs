//! The `[market]` section: tariff, interval, mechanism, and who takes part.

use std::time::Duration;

use document::Table;
use market::auction::{self, Auction, AuctionError};
use quantities::{ActivePower, Quantity};

use super::parse::Reader;
use super::sections::Place;
use super::{Market, RigDevice};

mod ahead;
mod contract;
mod feeder;
mod hvac;
mod intraday;
mod pace;
mod participant;
mod penalty;
mod regulation;
mod reserve;

pub use feeder::MarketFeeder;
pub use pace::Lead;
pub(super) use pace::check as check_pace;
pub use regulation::{ContractOfRig, DataOfRig, Regulation};
pub(super) use reserve::check as check_reserve;
pub(crate) use reserve::reserves;

/// Fastest market. Chosen: an hour of it in a second of the bench.
const TIME_FACTOR_MAX: i64 = 3600;

/// Mechanism of a rig that names none.
const MECHANISM_DEFAULT: &str = "uniform_k_half";

pub(super) fn market(reader: &Reader<'_>, devices: &[(RigDevice, Place<'_>)]) -> Option<Market> {
    let Some(table) = reader.section("market") else {
        regulation::without_market(reader);
        return None;
    };
    let document = table.document();
    let price = |key: &str, required: bool| {
        if required && !table.has(key) {
            table.missing::<()>(key, "22000");
        }
        market::Price(
            table
                .integer(key, -10_000_000..=10_000_000)
                .map_or(0, |p| p.value),
        )
    };
    let tariff = market::utility::Tariff {
        import: price("import_mc_per_kwh", true),
        export: price("export_mc_per_kwh", true),
        surcharge: price("surcharge_mc_per_kwh", false),
        congestion: price("congestion_mc_per_kwh", false),
        export_fee: price("export_fee_mc_per_kwh", false),
        loss_ppm: table
            .integer("loss_ppm", 0..=999_999)
            .map_or(0, |l| l.value as u32),
    };
    let tariff = regulation::with_network_tariff(reader, tariff);
    if let Err(e) = tariff.parity() {
        document.error(
            "R017",
            table.span(),
            e.to_string(),
            "",
            "see `gridrig explain R017`",
        );
    }
    if !table.has("interval") {
        table.missing::<()>("interval", "\"15s\"");
    }
    let interval = table.duration("interval");
    let time_factor = (table.integer("time_factor", 1..=TIME_FACTOR_MAX))
        .map_or(1, |factor| u32::try_from(factor.value).unwrap_or(1));
    if let Some(interval) = &interval {
        // The gate: clearing, ledger and setpoints need about 0.2 s on this design's own figures;
        // a fifth of the interval for them leaves 1 s as the shortest.
        let on_bench = interval.value / time_factor;
        if !(pace::INTERVAL_MIN..=Duration::from_secs(3600)).contains(&on_bench) {
            document.error(
                "R018",
                interval.span.clone(),
                "the market interval must lie between 1 s and 1 h by the clock of the bench",
                "",
                "",
            );
        } else if on_bench * time_factor != interval.value {
            let what = format!(
                "{:?} are no whole nanoseconds at a {time_factor}th",
                interval.value
            );
            document.error(
                "R182",
                interval.span.clone(),
                what,
                "",
                "take an interval that the factor divides",
            );
        }
    }
    let gate = match table.has("gate") {
        true => table.duration("gate").map(|gate| gate.value),
        false => Some(crate::desk::GATE * time_factor),
    };
    if !table.has("pcc_max") {
        table.missing::<()>("pcc_max", "\"40kW\"");
    }
    let pcc_max = table
        .quantity::<ActivePower>("pcc_max")
        .map(|p| p.value.abs());
    let lost_load = table.integer("lost_load_mc_per_kwh", 0..=crate::desk::PRICE_CAP.0);
    let sign_check = table.integer("sign_check_percent", 1..=20);
    let mechanism = mechanism_of(&table, MECHANISM_DEFAULT);
    let participants = participant::participants(&table, devices);
    let obligations = penalty::obligations(&table, &participants);
    let pace = (gate.unwrap_or(crate::desk::GATE), time_factor);
    let day_ahead = ahead::stage(&table, mechanism.as_deref(), pace);
    let intraday_intervals = intraday::stage(&table);
    let reserve = reserve::stage(&table, mechanism.as_deref(), table.has("feeder"));
    let has_network = reader.section("network").is_some();
    let feeder = feeder::stage(&table, mechanism.as_deref(), has_network);
    let contracts = contract::contracts(
        &table,
        &participants,
        devices,
        interval.as_ref().map(|it| it.value),
    );
    let has_stage = day_ahead.is_some() || intraday_intervals.is_some() || !contracts.is_empty();
    let is_open = day_ahead.is_some() || intraday_intervals.is_some();
    let balancing = real_time(
        &table,
        has_stage,
        reserve.is_some() || feeder.is_some(),
        obligations.is_some() && !is_open,
    );
    table.finish();
    let lost_load_mc = lost_load.as_ref().map(|price| price.value);
    let regulation = regulation::regulation(reader, devices, &participants, &tariff, lost_load_mc);
    Some(Market {
        interval: interval?.value,
        mechanism: mechanism?,
        tariff,
        pcc_max: pcc_max?,
        lost_load: lost_load.map(|price| market::Price(price.value)),
        sign_check: sign_check.map(|percent| percent.value as f64 / 100.0),
        participants,
        obligations,
        day_ahead,
        regulation,
        intraday_intervals,
        reserve,
        contracts,
        feeder,
        balancing,
        gate: gate?,
        time_factor,
        lead: Lead::default(),
    })
}

/// Whether real time activates balancing energy.
fn real_time(
    table: &Table<'_>,
    has_stage: bool,
    is_bound_otherwise: bool,
    is_penalised_unheard: bool,
) -> bool {
    const KEY: &str = "real_time";
    if !table.has(KEY) {
        return false;
    }
    let balancing = table.choice(KEY, &[("auction", false), ("balancing_energy", true)]);
    let Some(choice) = balancing.filter(|choice| choice.value) else {
        return false;
    };
    let why = if !has_stage {
        "nothing is traded before real time that could be balanced"
    } else if is_bound_otherwise {
        "balancing energy is activated on no feeder and beside no reserve"
    } else if is_penalised_unheard {
        "a penalty is owed beyond what was traded before, and who has no contract could not trade"
    } else {
        return true;
    };
    let help = "trade ahead, within the day or by contract, without `[market.feeder]` and `[market.reserve]`; \
                with `[market.penalty]` ahead or within the day";
    table.document().error("R180", choice.span, why, "", help);
    true
}

/// The mechanism's name, if a bench can use it.
pub(super) fn mechanism_of(table: &Table<'_>, otherwise: &str) -> Option<String> {
    const KEY: &str = "mechanism";
    if !table.has(KEY) {
        return Some(otherwise.into());
    }
    let name = table.text(KEY)?;
    match Auction::by_name(&name.value, std::collections::BTreeSet::new()) {
        Ok(_) => Some(name.value),
        Err(e @ AuctionError::Lots { .. }) => {
            let help = market::Coded::help(&e);
            table
                .document()
                .error("R095", name.span, e.to_string(), "", help);
            None
        }
        Err(_) => {
            let known: Vec<(&str, ())> = auction::names()
                .into_iter()
                .map(|name| (name, ()))
                .collect();
            table.choice(KEY, &known)?;
            None
        }
    }
}

#[cfg(test)]
mod tests;
