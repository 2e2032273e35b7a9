//! The `[alarm]` section: values that a person shall look at, one entry each.

use document::Table;
use quantities::{
    ActivePower, Frequency, FrequencyRate, ReactivePower, StateOfCharge, Temperature, Voltage,
};

use super::RigDevice;
use super::bench::device_ix;
use super::parse::Reader;
use super::sections::{Place, named};
use crate::alarm::{AlarmSpec, Quantity, Severity, Side, Source};

pub(super) fn alarms(reader: &Reader<'_>, devices: &[(RigDevice, Place<'_>)]) -> Vec<AlarmSpec> {
    let mut found = Vec::new();
    for (name, table) in reader.entries("alarm") {
        found.extend(alarm(&name, &table, devices));
        table.finish();
    }
    found
}

fn alarm(name: &str, table: &Table<'_>, devices: &[(RigDevice, Place<'_>)]) -> Option<AlarmSpec> {
    let lasting = table.duration("for").map(|d| d.value);
    let silent = table.duration("silent").map(|d| d.value);
    let words = [("warning", Severity::Warning), ("error", Severity::Error)];
    let severity = table.choice("severity", &words).map(|s| s.value);
    let watched = watched(table, devices);
    let Some((source, quantity)) = watched else {
        // So that no key of theirs is told to be unknown besides.
        for key in ["above", "below", "clears"] {
            let _ = table.text(key);
        }
        return None;
    };
    let ends = [("above", Side::Above), ("below", Side::Below)]
        .map(|(key, side)| Some((key, side, limit(table, key, quantity)?)));
    let (key, side, limit_at) = match ends {
        [Some(above), None] => above,
        [None, Some(below)] => below,
        _ => {
            // A limit that could not be read is told already.
            if table.has("above") == table.has("below") {
                table.document().error(
                    "R090",
                    table.span(),
                    format!("the alarm `{name}` needs one limit"),
                    "",
                    "give `above` or `below`; two limits are two alarms",
                );
            }
            let _ = table.text("clears");
            return None;
        }
    };
    let clears = match table.has("clears") {
        true => limit(table, "clears", quantity)?,
        false => limit_at,
    };
    let inside = match side {
        Side::Above => clears <= limit_at,
        Side::Below => clears >= limit_at,
    };
    if !inside {
        let side = match side {
            Side::Above => "at most",
            Side::Below => "at least",
        };
        table.document().error(
            "R090",
            table.span_of("clears"),
            format!("the alarm `{name}` clears where it is raised"),
            format!("`clears` is {side} what `{key}` says"),
            "leave it out to clear at the limit itself",
        );
        return None;
    }
    Some(AlarmSpec {
        name: name.to_owned(),
        source,
        signal: table.text("watch")?.value,
        quantity,
        side,
        limit: limit_at,
        clears,
        lasting: lasting.unwrap_or_default(),
        silent,
        severity: severity.unwrap_or(Severity::Warning),
    })
}

/// Whose value an alarm watches, and which.
fn watched(table: &Table<'_>, devices: &[(RigDevice, Place<'_>)]) -> Option<(Source, Quantity)> {
    let signal = table.required_text("watch", "\"bat1.soc\"")?;
    let refused = |message: String, help: &str| {
        let span = signal.span.clone();
        table.document().error("R091", span, message, "", help);
    };
    let Some((whose, what)) = signal.value.split_once('.') else {
        refused(
            format!("`{}` is no value of the bench", signal.value),
            "write a device and what it says, such as \"bat1.soc\", or \"bench.f\"",
        );
        return None;
    };
    let source = match (whose, named(devices, whose)) {
        (_, Some(index)) => Source::Device(device_ix(index)),
        ("bench", None) => Source::Bench,
        _ => {
            let help = "name a device of the rig, or `bench` for what control believes of its bus";
            refused(format!("there is no device `{whose}`"), help);
            return None;
        }
    };
    let known = Quantity::NAMES.iter().find(|(word, _)| *word == what);
    let fits = |quantity: Quantity| match source {
        Source::Bench => quantity != Quantity::Temperature,
        Source::Device(_) => quantity != Quantity::Rocof,
    };
    match known.map(|(_, quantity)| *quantity).filter(|q| fits(*q)) {
        Some(quantity) => Some((source, quantity)),
        None => {
            let help = match source {
                Source::Bench => "the bench has p (at the coupling), q, v, f, soc and rocof",
                Source::Device(_) => "a device has p, q, v, f, soc and t",
            };
            refused(format!("`{what}` cannot be watched"), help);
            None
        }
    }
}

/// A limit in the unit of what it limits.
fn limit(table: &Table<'_>, key: &str, quantity: Quantity) -> Option<f64> {
    fn read<Q: quantities::Quantity>(table: &Table<'_>, key: &str) -> Option<f64> {
        table.quantity::<Q>(key).map(|q| q.value.base())
    }
    if !table.has(key) {
        return None;
    }
    match quantity {
        Quantity::P => read::<ActivePower>(table, key),
        Quantity::Q => read::<ReactivePower>(table, key),
        Quantity::V => read::<Voltage>(table, key),
        Quantity::F => read::<Frequency>(table, key),
        Quantity::Soc => read::<StateOfCharge>(table, key),
        Quantity::Temperature => read::<Temperature>(table, key),
        Quantity::Rocof => read::<FrequencyRate>(table, key),
    }
}
