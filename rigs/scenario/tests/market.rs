//! The market on the demo bench in virtual time: every mechanism that a bench can use, every
//! strategy, and who breaks what was committed. The rig is the demo's with another `[market]`.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ledger_core::payload::{Payload, Side, StandingKind};
use runtime::desk::{Calendar, MarketReplay};
use runtime::rig::Rig;
use scenario::live::{LiveOptions, run};

/// Tariff and intervals, short so that a test is.
const TARIFF: &str = r#"
interval = "2s"
pcc_max = "40kW"
import_mc_per_kwh = 28000
export_mc_per_kwh = 7500
"#;
/// Who takes part in the demo.
const DEMO: &str = r#"
[market.participant]
pv1   = { kind = "pv" }
load1 = { kind = "must_run" }
ess1  = { kind = "storage", buy_below_mc_per_kwh = 12000, sell_above_mc_per_kwh = 26000 }
plug1 = { kind = "flexible", willingness_mc_per_kwh = 30000 }
plug2 = { kind = "flexible", willingness_mc_per_kwh = 15000 }
"#;

/// The demo's rig with another market; `Err` is how its faults read.
fn load(
    market: &str,
    change: impl Fn(String) -> String,
    folder: &Path,
) -> Result<Rig, Vec<String>> {
    let virtual_rigs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../virtual");
    let campus = std::fs::read_to_string(virtual_rigs.join("campus.toml")).expect("there");
    let (before, rest) = campus.split_once("[market]").expect("a market");
    let (_, after) = rest.split_once("[plant]").expect("a plant");
    let day = virtual_rigs.join("campus-day.toml");
    std::fs::copy(day, folder.join("campus-day.toml")).expect("copied");
    let path = folder.join("rig.toml");
    let text = format!("{before}[market]\n{TARIFF}{market}\n[plant]{after}");
    std::fs::write(&path, change(text)).expect("written");
    runtime::rig::load(&path).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// What a run has left.
struct Ran {
    /// Market payloads in the order of the ledger.
    records: Vec<Payload>,
    /// How often each kind of event was told.
    told: BTreeMap<String, usize>,
    cleared: u64,
    settled: u64,
    /// Balance of every account.
    accounts: Vec<(String, i128)>,
}

/// Runs a market and checks what holds in every run of one.
fn check(market: &str, seconds: u64) -> Ran {
    check_with(market, seconds, |rig| rig)
}

/// The same with a change of the rest of the rig.
fn check_with(market: &str, seconds: u64, change: impl Fn(String) -> String) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    let rig =
        load(market, change, folder.path()).unwrap_or_else(|faults| panic!("{market}: {faults:?}"));
    let run_dir = folder.path().join("run");
    std::fs::create_dir(&run_dir).expect("made");
    let options = LiveOptions {
        rig: Arc::new(rig),
        on: scenario::far_ends::On::Sim,
        virtual_time: true,
        seed: 7,
        run_dir: run_dir.clone(),
        run_for: Some(Duration::from_secs(seconds)),
        listen: None,
        tokens: runtime::web::Tokens::default(),
        tls: None,
        armed: true,
        command: vec!["gridrig".into(), "demo".into()],
        id: "market".into(),
    };
    let result = run(options, |_| {}).unwrap_or_else(|faults| panic!("{market}: {faults:?}"));
    assert_eq!(result.ledger.verified, Some(true), "{market}");
    let replayed = runtime::desk::replay(&run_dir).expect("readable");
    let MarketReplay::Identical {
        cleared, settled, ..
    } = replayed
    else {
        panic!("{market}: {replayed:?}");
    };
    let mut told = BTreeMap::new();
    let events = std::fs::read_to_string(run_dir.join("events.jsonl")).expect("there");
    for line in events.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let kind = event["event"].as_str().unwrap_or("").to_owned();
        *told.entry(kind).or_default() += 1;
    }
    let records: Vec<Payload> = ledger_node::entries(&run_dir)
        .expect("a ledger")
        .map(|entry| entry.expect("an entry").atom.body().payload.clone())
        .collect();
    // By the rules alone each reading is of the interval whose settlement it stands before.
    let calendar = Calendar::of(&run_dir).expect("rules of the market");
    let mut read = BTreeSet::new();
    for record in &records {
        match record {
            Payload::MeterReading(p) => {
                let _ = read.insert(calendar.beginning_at(p.interval_start_utc_ns));
            }
            Payload::Settlement(p) => {
                let read = std::mem::take(&mut read);
                assert_eq!(read, BTreeSet::from([Some(p.interval)]), "{market}");
            }
            _ => {}
        }
    }
    let mut accounts: BTreeMap<String, i128> = BTreeMap::new();
    for record in &records {
        let Payload::Settlement(settlement) = record else {
            continue;
        };
        let sum: i128 = settlement.lines.iter().map(|line| line.amount.0).sum();
        assert_eq!(sum, 0, "{market}: {settlement:?}");
        for line in &settlement.lines {
            *accounts.entry(line.account.clone()).or_default() += line.amount.0;
        }
    }
    Ran {
        records,
        told,
        cleared,
        settled,
        accounts: accounts.into_iter().collect(),
    }
}

/// One of each sort: a price of one for all and of another `k`, prices of pairs, two prices with a
/// surplus, a deficit, the tariff, the manager, whole orders, rounds of messages. The library's
/// tests clear such a book by all of them.
const MECHANISMS: [&str; 9] = [
    "uniform_k_1_4",
    "pay_as_bid",
    "huang",
    "vcg",
    "mmr",
    "community",
    "all_or_nothing",
    "consensus",
    "cda",
];

#[test]
fn mechanisms_of_every_sort_clear_settle_to_zero_and_replay() {
    // Two plants, so that one of them may set the price.
    let market = DEMO.replace(
        "pv1   = { kind = \"pv\" }",
        r#"
east  = { device = "pv1", share_ppm = 600000, kind = "pv" }
west  = { device = "pv1", share_ppm = 400000, kind = "pv", limit_mc_per_kwh = 500 }
"#,
    );
    for name in MECHANISMS {
        let ran = check(&format!("mechanism = \"{name}\"\n{market}"), 7);
        assert!(
            ran.cleared >= 2 && ran.settled >= 1,
            "{name}: {:?}",
            ran.told
        );
        let traded = ran.records.iter().any(|record| {
            matches!(record, Payload::Clearing(c) if c.mechanism == name && !c.fills.is_empty())
        });
        assert!(traded, "{name}: nothing was traded");
        assert_eq!(ran.told.get("market_not_settled"), None, "{name}");
        assert!(ran.accounts.len() >= 3, "{name}: {:?}", ran.accounts);
    }
}

#[test]
fn every_strategy_orders_and_several_share_a_device() {
    let ran = check(
        r#"
[market.participant]
pv1    = { kind = "pv", strategy = "zip", margin_mc_per_kwh = 5000, limit_mc_per_kwh = 1000 }
load1  = { kind = "must_run", strategy = "zi", limit_mc_per_kwh = 300000, seed = 3 }
south  = { device = "ess1", share_ppm = 400000, kind = "storage", strategy = "battery_dp", value_mc_per_kwh = 25000, forecast_mc_per_kwh = [28000, 40000, 9000] }
north  = { device = "ess1", share_ppm = 400000, kind = "storage", buy_below_mc_per_kwh = 12000, sell_above_mc_per_kwh = 26000 }
car    = { device = "ess1", share_ppm = 200000, kind = "storage", strategy = "ev", departure = "1h", wanted = "90%", patient_mc_per_kwh = 10000 }
plug1  = { kind = "flexible", strategy = "quadratic", willingness_mc_per_kwh = 60000 }
plug2  = { kind = "flexible", willingness_mc_per_kwh = 15000 }
"#,
        13,
    );
    assert!(ran.cleared >= 4 && ran.settled >= 2, "{:?}", ran.told);
    let mut orders: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let mut sold_by_plan = false;
    for record in &ran.records {
        if let Payload::Order(order) = record {
            let steps = orders.entry(order.agent.clone()).or_default();
            steps.insert(order.steps.len());
            sold_by_plan |= order.agent == "south" && order.side == Side::Sell;
        }
    }
    let names: Vec<&str> = orders.keys().map(String::as_str).collect();
    let expected = [
        "car", "load1", "north", "plug1", "plug2", "pv1", "south", "utility",
    ];
    assert_eq!(names, expected);
    assert!(sold_by_plan, "{orders:?}");
    let curves = orders["plug1"].iter().max();
    assert!(curves.is_some_and(|steps| *steps > 1), "{orders:?}");
    // Each of the three who share the storage is metered by itself.
    let metered: BTreeSet<&str> = (ran.records.iter())
        .filter_map(|record| match record {
            Payload::MeterReading(reading) => Some(reading.participant.as_str()),
            _ => None,
        })
        .collect();
    assert!(
        ["car", "north", "south"]
            .iter()
            .all(|it| metered.contains(it)),
        "{metered:?}"
    );
}

#[test]
fn who_breaks_commitments_pays_is_capped_and_suspended_and_all_of_it_replays() {
    // Its plug takes a third of what its rating says and it buys.
    let ran = check_with(
        &format!(
            r#"
{DEMO}
broken = {{ device = "plug2", kind = "flexible", willingness_mc_per_kwh = 300000, deposit_mc = 50000 }}
[market.penalty]
deposit_mc = 1000000
tolerance = "0.1Wh"
call_at = 1
cap_at = 2
suspend_at = 3
suspended_for = 2
"#
        )
        .replace("plug2 = { kind = \"flexible\", willingness_mc_per_kwh = 15000 }", ""),
        22,
        |rig| rig.replace("plug2 = { p = \"3kW\" }", "plug2 = { p = \"1kW\" }"),
    );
    let balance = |name: &str| ran.accounts.iter().find(|(who, _)| who == name);
    assert!(
        balance("penalties").is_some_and(|(_, sum)| *sum > 0),
        "{:?}",
        ran.accounts
    );
    let mut stood = Vec::new();
    for record in &ran.records {
        let Payload::Terms(terms) = record else {
            continue;
        };
        // The controller moves the storage to hold the exchange, so it is not bound.
        assert!(terms.accounts.iter().all(|a| a.participant != "ess1"));
        let account = terms.accounts.iter().find(|a| a.participant == "broken");
        let standing = account.expect("an account").standing;
        if stood.last() != Some(&standing) {
            stood.push(standing);
        }
        // The load delivers, so nothing is ever held against it.
        let load = terms.accounts.iter().find(|a| a.participant == "load1");
        assert_eq!(load.expect("an account").standing, StandingKind::Good);
    }
    use StandingKind::{Called, Capped, Good, Suspended};
    assert_eq!(stood[..4], [Good, Called, Capped, Suspended], "{stood:?}");
    assert_eq!(stood.get(4), Some(&Capped), "{stood:?}");
    let suspended: BTreeSet<u64> = (ran.records.iter())
        .filter_map(|record| match record {
            Payload::Terms(terms) => (terms.accounts.iter())
                .any(|a| a.participant == "broken" && a.standing == Suspended)
                .then_some(terms.interval),
            _ => None,
        })
        .collect();
    for record in &ran.records {
        if let Payload::Order(order) = record {
            let barred = order.agent == "broken" && suspended.contains(&order.interval);
            assert!(!barred, "{order:?} in {suspended:?}");
        }
    }
    let told = |kind: &str| ran.told.get(kind).copied().unwrap_or(0);
    assert!(told("penalty_charged") >= 3, "{:?}", ran.told);
    assert!(told("standing_changed") >= 4, "{:?}", ran.told);
}

#[test]
fn a_meter_that_is_put_in_the_wrong_way_round_is_told() {
    let turned = |rig: String| rig.replace("role = \"load\", invert = true", "role = \"load\"");
    for (change, notices) in [(true, 1), (false, 0)] {
        let ran = check_with(DEMO, 13, |rig| if change { turned(rig) } else { rig });
        let told = ran.told.get("noticed").copied().unwrap_or(0);
        assert_eq!(told, notices, "{:?}", ran.told);
    }
}

/// The faults of a market, one or more of which contains each of `expected`.
fn check_faults(market: &str, expected: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let faults = load(market, |rig| rig, folder.path())
        .err()
        .unwrap_or_default();
    assert_eq!(faults.len(), expected.len(), "{market}: {faults:?}");
    for expected in expected {
        let said = faults.iter().any(|fault| fault.contains(expected));
        assert!(said, "{market}: no {expected} in {faults:?}");
    }
}

#[test]
fn a_market_that_cannot_work_is_refused_with_its_place() {
    let with = |participant: &str| format!("[market.participant]\n{participant}\n");
    check_faults(
        &format!("mechanism = \"uniform_k_haf\"\n{DEMO}"),
        &["did you mean `uniform_k_half`"],
    );
    check_faults(&format!("mechanism = \"uniform_k_3_2\"\n{DEMO}"), &["D006"]);
    check_faults(&format!("mechanism = \"mcafee\"\n{DEMO}"), &["R095"]);
    check_faults(
        &with("utility = { device = \"pv1\", kind = \"pv\" }"),
        &["R096"],
    );
    check_faults(
        &with("sun = { device = \"pv9\", kind = \"pv\" }"),
        &["R009"],
    );
    check_faults(
        &with("sun = { device = \"pv1\", share_ppm = 300000, kind = \"pv\" }"),
        &["R097"],
    );
    check_faults(
        &with("pv1 = { kind = \"pv\" }\nsun = { device = \"pv1\", kind = \"pv\" }"),
        &["R097"],
    );
    check_faults(
        &with("pv1 = { kind = \"pv\", strategy = \"ev\" }"),
        &["D006"],
    );
    check_faults(&with("pv1 = { kind = \"pv\", seed = 3 }"), &["D002"]);
    check_faults(&with("pv1 = { kind = \"pv\", deposit_mc = 3 }"), &["R099"]);
    check_faults(
        &with(
            "pv1 = { kind = \"pv\", bound = false, deposit_mc = 3 }\n[market.penalty]\ndeposit_mc = 9",
        ),
        &["R099"],
    );
    check_faults(
        &format!("{DEMO}[market.penalty]\ncap_at = 9\n"),
        &["D004", "R099"],
    );
    check_faults(
        &with(
            "ess1 = { kind = \"storage\", strategy = \"battery_dp\", value_mc_per_kwh = 9000, forecast_mc_per_kwh = [] }",
        ),
        &["R098"],
    );
}
