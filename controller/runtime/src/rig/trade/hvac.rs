//! `strategy = "hvac"`: heating or cooling, and the room that nobody measures.

use std::time::Duration;

use document::Table;
use market::Price;
use market::agent::{Comfort, Room};
use quantities::Temperature;

use super::super::Strategy;
use super::participant::PRICES;

/// Zero degrees Celsius in millikelvin.
const ZERO_CELSIUS_MK: f64 = 273_150.0;
/// Deviations of the price that the limit is worth to one that says nothing of it, in per cent.
/// Chosen: 200, so that but for one price in twenty it runs before the limit.
const REACH_PERCENT: i64 = 200;
const PPM_PER_PERCENT: u32 = 10_000;

fn millikelvin(celsius: Temperature) -> i64 {
    (celsius.as_celsius() * 1e3 + ZERO_CELSIUS_MK).round() as i64
}

pub(super) fn strategy(entry: &Table<'_>) -> Option<Strategy> {
    let temperature = |key: &str, example: &str| match entry.has(key) {
        true => entry
            .quantity::<Temperature>(key)
            .map(|it| millikelvin(it.value)),
        false => entry.missing(key, example),
    };
    let price = |key: &str| match entry.has(key) {
        true => entry.integer(key, PRICES).map(|p| Price(p.value)),
        false => entry.missing(key, "20000"),
    };
    let (wanted, limit) = (
        temperature("wanted", "\"21degC\""),
        temperature("limit", "\"20degC\""),
    );
    let expected = (price("expected_mc_per_kwh"), price("deviation_mc_per_kwh"));
    let reach = match entry.has("reach_percent") {
        true => entry.integer("reach_percent", 1..=1_000).map(|it| it.value),
        false => Some(REACH_PERCENT),
    };
    let (outside, running) = (
        temperature("outside", "\"5degC\""),
        temperature("running", "\"35degC\""),
    );
    let constant = match entry.has("time_constant") {
        true => entry.duration("time_constant").map(|it| it.value),
        false => entry.missing("time_constant", "\"2h\""),
    };
    let begins = match entry.has("begins") {
        true => temperature("begins", ""),
        false => wanted,
    };
    let ends = (outside?, running?);
    let constant: Duration = constant?;
    let constant_ns = i64::try_from(constant.as_nanos()).unwrap_or(i64::MAX);
    // It leads to the side of the limit when off, and away from it when on.
    let (wanted, limit) = (wanted?, limit?);
    let leads = |to: i64| i128::from(to - wanted) * i128::from(limit - wanted);
    let room = Room::new(ends, constant_ns, begins?);
    let Some(room) = room.filter(|_| leads(ends.0) > 0 && leads(ends.1) < 0) else {
        return refused(
            entry,
            "running",
            "a room goes towards `limit` when its load is off, and away from it when it is on",
        );
    };
    let (wanted_mk, limit_mk) = (wanted, limit);
    if wanted_mk == limit_mk {
        return refused(
            entry,
            "limit",
            "there is no comfort between two temperatures that are the same",
        );
    }
    let expected = (expected.0?, expected.1?);
    if expected.1.0 < 0 {
        return refused(entry, "deviation_mc_per_kwh", "a deviation is not negative");
    }
    Some(Strategy::Hvac {
        comfort: Comfort {
            wanted_mk,
            limit_mk,
            reach_ppm: reach? as u32 * PPM_PER_PERCENT,
            expected,
        },
        room,
    })
}

fn refused(entry: &Table<'_>, key: &str, what: &str) -> Option<Strategy> {
    let help = "heating: `wanted` above `limit`, `outside` below both, `running` above; cooling: the mirror image";
    entry
        .document()
        .error("R177", entry.span_of(key), what, "", help);
    None
}
