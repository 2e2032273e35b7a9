//! Whole runs of the emulated bench in virtual time, from seeds: what must hold in every one of them.
//!
//! A failure names its seed; the same seed gives the same run.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use control::mode::table::TABLE;
use runtime::desk::MarketReplay;
use runtime::journal::Replayed;
use runtime::rig::Rig;
use scenario::live::{LiveOptions, run};
use scenario::verdict::Verdict;
use serde_json::Value;
use suite::run::{events, events_of, samples};
use suite::{folder, root};

/// How much time of the bench each run takes: eight market intervals, and one failure of the utility.
const RUN_S: u64 = 120;
/// Control cycles that such a run has at least, at ten a second.
const CYCLES_MIN: u64 = RUN_S * 10;

fn load(path: &str) -> Arc<Rig> {
    Arc::new(runtime::rig::load(&root().join(path)).expect("the rig is good"))
}

/// Runs a rig in virtual time and checks everything that holds in every run.
fn check(rig: &Arc<Rig>, seed: u64, also: impl Fn(&Path, &str)) {
    let dir = folder();
    let said = format!("{} with seed {seed}", rig.title);
    let options = LiveOptions {
        rig: Arc::clone(rig),
        on: scenario::far_ends::On::Sim,
        virtual_time: true,
        seed,
        run_dir: dir.path().to_path_buf(),
        run_for: Some(Duration::from_secs(RUN_S)),
        listen: None,
        tokens: runtime::web::Tokens::default(),
        tls: None,
        armed: true,
        command: vec!["gridrig".into(), "demo".into()],
        id: format!("seed-{seed}"),
    };
    let result = run(options, |_| {}).unwrap_or_else(|faults| panic!("{said}: {faults:?}"));

    assert_eq!(result.verdict, Verdict::Pass, "{said}: {}", result.why);
    let counters = &result.counters;
    assert!(counters.cycles >= CYCLES_MIN, "{said}: {counters:?}");
    assert!(counters.dispatches > 0, "{said}: nothing was dispatched");
    assert_eq!(
        counters.dispatches, counters.dispatches_logged,
        "{said}: a dispatch without evidence"
    );
    assert_eq!(counters.telemetry_lost, 0, "{said}");
    assert_eq!(
        result.ledger.verified,
        Some(true),
        "{said}: the ledger does not verify"
    );

    let replayed = runtime::journal::replay(&dir.path().join("journal")).expect("readable");
    let identical = matches!(replayed, Replayed::Identical { steps, .. } if steps >= CYCLES_MIN);
    assert!(identical, "{said}: {replayed:?}");
    let market = runtime::desk::replay(dir.path()).expect("readable");
    assert!(
        matches!(market, MarketReplay::Identical { .. }),
        "{said}: {market:?}"
    );

    let events = events(dir.path());
    as_many_dispatches_as_counted(&events, counters.dispatches, &said);
    only_legal_modes(&events, &said);
    no_market_in_an_island(&events, &said);
    every_settlement_sums_to_zero(&events, &said);
    also(dir.path(), &said);
}

fn detail<'a>(event: &'a Value, key: &str) -> &'a str {
    event["details"][key].as_str().unwrap_or_default()
}

fn as_many_dispatches_as_counted(events: &[Value], counted: u64, said: &str) {
    let told = events_of(events, "dispatched");
    assert_eq!(
        told.len() as u64,
        counted,
        "{said}: events and counters disagree"
    );
    for event in told {
        assert!(
            event["details"]["ledger_clock"].as_u64().is_some(),
            "{said}: no evidence of {event}"
        );
    }
}

fn only_legal_modes(events: &[Value], said: &str) {
    let mut mode = "starting".to_owned();
    for change in events_of(events, "mode_changed") {
        let (from, to) = (detail(change, "from"), detail(change, "to"));
        assert_eq!(
            from, mode,
            "{said}: a mode was left that was never entered: {change}"
        );
        let legal = TABLE
            .iter()
            .any(|row| row.from.name() == from && row.to.name() == to);
        assert!(
            legal,
            "{said}: the table has no way from {from} to {to}: {change}"
        );
        mode = to.to_owned();
    }
    assert_ne!(mode, "starting", "{said}: the bench never left its start");
}

fn no_market_in_an_island(events: &[Value], said: &str) {
    let mut mode = "starting";
    for event in events {
        match event["event"].as_str() {
            Some("mode_changed") => mode = detail(event, "to"),
            Some("dispatched") if mode != "grid_connected" => {
                // What returns a load to its rest is no trade.
                let traded = detail(event, "function") == "market_schedule"
                    && detail(event, "why") != "no market interval speaks of it";
                assert!(!traded, "{said}: the market dispatched in {mode}: {event}");
            }
            _ => {}
        }
    }
}

fn every_settlement_sums_to_zero(events: &[Value], said: &str) {
    let settled = events_of(events, "market_settled");
    assert!(
        settled.len() >= 5,
        "{said}: only {} intervals were settled",
        settled.len()
    );
    for event in settled {
        let sum = &event["details"]["sum_u"];
        let zero = sum.as_i64() == Some(0) || sum.as_str() == Some("0");
        assert!(zero, "{said}: money appeared or vanished: {event}");
    }
}

#[test]
fn the_demo_bench_keeps_its_promises_for_every_seed() {
    let rig = load("rigs/virtual/campus.toml");
    for seed in 1..=5 {
        check(&rig, seed, |dir, said| {
            let islanded = events_of(&events(dir), "mode_changed")
                .iter()
                .any(|e| detail(e, "to") == "islanded");
            assert!(islanded, "{said}: the utility failed, and nothing islanded");
        });
    }
}

/// Runs a rig whose battery lasts minutes, and gives the lowest and the highest charge of all seeds.
fn charge_range(path: &str) -> (f64, f64) {
    let rig = load(path);
    // The limits of the rig, and one step of what the battery tells, which is whole per cent.
    let (lowest, highest) = (0.15 - 0.01, 0.90 + 0.01);
    let range = std::cell::Cell::new((1.0_f64, 0.0_f64));
    for seed in 1..=3 {
        check(&rig, seed, |dir, said| {
            // In an island the storage carries what the sun leaves over: no setpoint is in between.
            let changes = events(dir);
            let connected = |at: f64| {
                let changed = events_of(&changes, "mode_changed");
                let last = changed
                    .iter()
                    .rfind(|e| e["t_s"].as_f64().is_some_and(|t| t <= at));
                last.is_some_and(|e| detail(e, "to") == "grid_connected")
            };
            let charge: Vec<f64> = samples(dir)
                .iter()
                .filter(|row| row["device"] == "bat1" && row["point"] == "bat.soc")
                .filter(|row| row["t_s"].parse().is_ok_and(connected))
                .filter_map(|row| row["value"].parse().ok())
                .collect();
            let widen = |(low, high): (f64, f64), c: &f64| (low.min(*c), high.max(*c));
            let (low, high) = charge.iter().fold((1.0, 0.0), widen);
            assert!(
                low >= lowest && high <= highest,
                "{said}: the charge was in {low}..{high}"
            );
            range.set(charge.iter().fold(range.get(), widen));
        });
    }
    range.get()
}

#[test]
fn a_nearly_empty_battery_is_used_to_its_limit_and_not_beyond() {
    let (low, _) = charge_range("tests/rigs/low-battery.toml");
    assert!(low <= 0.17, "the limit was never met: {low}");
}

#[test]
fn a_nearly_full_battery_is_never_overfilled() {
    let (low, high) = charge_range("tests/rigs/full-battery.toml");
    assert!(high - low > 0.05, "the charge hardly moved: {low}..{high}");
}
