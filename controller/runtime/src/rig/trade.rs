//! The `[market]` section: tariff, interval, and who takes part.

use std::time::Duration;

use document::Table;
use quantities::{ActivePower, Quantity};

use super::parse::Reader;
use super::sections::{Place, named};
use super::{Market, Participation, RigDevice};

pub(super) fn market(reader: &Reader<'_>, devices: &[(RigDevice, Place<'_>)]) -> Option<Market> {
    let table = reader.section("market")?;
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
    if let Some(interval) = &interval {
        // The gate: clearing, ledger and setpoints need about 0.2 s on this design's own figures;
        // a fifth of the interval for them leaves 1 s as the shortest.
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&interval.value) {
            document.error(
                "R018",
                interval.span.clone(),
                "the market interval must lie between 1 s and 1 h",
                "",
                "",
            );
        }
    }
    if !table.has("pcc_max") {
        table.missing::<()>("pcc_max", "\"40kW\"");
    }
    let pcc_max = table
        .quantity::<ActivePower>("pcc_max")
        .map(|p| p.value.abs());
    let mut participants = Vec::new();
    if let Some(list) = table.table("participant") {
        for name in list.keys() {
            let Some(entry) = list.table(&name.value) else {
                continue;
            };
            let index = named(devices, &name.value);
            if index.is_none() {
                document.error(
                    "R009",
                    name.span,
                    format!(
                        "`market` speaks of `{}`, which the rig does not have",
                        name.value
                    ),
                    "",
                    "use the same names as in `[device]`",
                );
            }
            let participation = participation(&entry);
            entry.finish();
            if let (Some(index), Some(participation)) = (index, participation) {
                participants.push((index, participation));
            }
        }
        list.finish();
    }
    table.finish();
    participants.sort_by_key(|(index, _)| *index);
    Some(Market {
        interval: interval?.value,
        tariff,
        pcc_max: pcc_max?,
        participants,
    })
}

fn participation(entry: &Table<'_>) -> Option<Participation> {
    #[derive(Clone, Copy)]
    enum Kind {
        Pv,
        MustRun,
        Flexible,
        Storage,
    }
    let kinds = [
        ("pv", Kind::Pv),
        ("must_run", Kind::MustRun),
        ("flexible", Kind::Flexible),
        ("storage", Kind::Storage),
    ];
    if !entry.has("kind") {
        return entry.missing("kind", "\"pv\"");
    }
    let price = |key: &str| {
        if entry.has(key) {
            entry
                .integer(key, -10_000_000..=10_000_000)
                .map(|p| p.value)
        } else {
            entry.missing(key, "20000")
        }
    };
    match entry.choice("kind", &kinds)?.value {
        Kind::Pv => Some(Participation::Pv),
        Kind::MustRun => Some(Participation::MustRun),
        Kind::Flexible => Some(Participation::Flexible {
            willingness_mc: price("willingness_mc_per_kwh")?,
        }),
        Kind::Storage => {
            let buy_below_mc = price("buy_below_mc_per_kwh");
            let sell_above_mc = price("sell_above_mc_per_kwh");
            Some(Participation::Storage {
                buy_below_mc: buy_below_mc?,
                sell_above_mc: sell_above_mc?,
            })
        }
    }
}
