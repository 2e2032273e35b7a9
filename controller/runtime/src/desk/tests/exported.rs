//! The market of a run as others read it.

use ledger_core::payload::{DispatchAck, DispatchKind, DispatchStage, Setpoint};

use super::super::export::{Cell, MarketOfRun, Table, What};
use super::*;
use crate::evidence::CONTROLLER;

/// A minute of the bench with this behind its market, read at a moment after it began, and the bench.
fn market(more: &str, read_at_ms: u64) -> (MarketOfRun, Bench) {
    let mut bench = Bench::new(("", ""), more);
    bench.run_until(64_500);
    bench.evidence.close(utc(64_500)).expect("closed");
    let read = MarketOfRun::read(bench.folder.path(), utc(read_at_ms)).expect("readable");
    (read.expect("a market"), bench)
}

/// The cells of a column.
pub(super) fn column(table: &Table, name: &str) -> Vec<Option<String>> {
    let mut names = table.columns.iter().map(|(name, _)| *name);
    let index = names.position(|known| known == name);
    let index = index.unwrap_or_else(|| panic!("{name} is not in {:?}", table.columns));
    table.rows.iter().map(|row| row[index].told()).collect()
}

#[test]
fn every_table_has_whole_rows_units_in_its_names_and_money_that_sums_to_zero() {
    let (market, _bench) = market("", 70_000);
    for (name, what) in What::NAMES {
        let table = market.table(what);
        // Nobody has a contract here, owes a penalty, is ready, or trades on lines.
        let rest = ["penalties", "nodes", "contracts", "capacity", "activations"];
        let is_empty = rest.contains(&name) || name == "congestion";
        assert_eq!(table.rows.is_empty(), is_empty, "{name}");
        for row in &table.rows {
            assert_eq!(row.len(), table.columns.len(), "{name}: {row:?}");
        }
        for (name, _) in &table.columns {
            let bare = ["energy", "price", "begins", "length", "received", "metered"];
            assert!(!bare.contains(name), "{name} has no unit");
        }
    }
    // Four intervals begin at 3, 18, 33 and 48 s and are settled a second after their end.
    let settlement = market.table(What::Settlement);
    let mut sum = 0;
    for row in &settlement.rows {
        let Cell::Eur(units) = row[7] else {
            panic!("{row:?}");
        };
        sum += units;
    }
    assert_eq!(sum, 0);
    let clearing = market.table(What::Clearing);
    assert_eq!(clearing.rows.len(), 5, "the next one is traded already");
    let begins = column(&clearing, "begins_utc_ns");
    assert_eq!(begins[1], Some((utc(18_000).unix_nanos()).to_string()));
    assert_eq!(
        column(&clearing, "begins_market_ns")[1],
        Some("18000000000".into())
    );
    // What participants committed to is nothing in all.
    let positions = market.table(What::Positions);
    let energies = column(&positions, "committed_mwh");
    let energies = energies
        .iter()
        .flatten()
        .map(|e| e.parse::<i64>().expect("whole"));
    assert_eq!(energies.sum::<i64>(), 0);
    let kpi = market.table(What::Kpi);
    let names = column(&kpi, "figure");
    let value = |name: &str| {
        let place = names
            .iter()
            .position(|n| n.as_deref() == Some(name))
            .expect("there");
        column(&kpi, "value")[place].clone()
    };
    assert_eq!(value("budget_residual"), Some("0".into()));
    assert_eq!(value("intervals_settled"), Some("4".into()));
    // 3 kW of sun and as much of the utility for a load of 6 kW.
    let own: f64 = value("self_sufficiency")
        .expect("known")
        .parse()
        .expect("a number");
    assert!((own - 0.5).abs() < 1e-4, "{own}");
    assert_eq!(value("self_consumption"), Some("1".into()));
}

#[test]
fn amounts_are_exact_decimal_texts() {
    for (units, text) in [
        (0, "0.00000000000"),
        (1, "0.00000000001"),
        (-250_000_000_001, "-2.50000000001"),
        (i128::MIN, "-1701411834604692317316873037.15884105728"),
    ] {
        assert_eq!(Cell::Eur(units).told().as_deref(), Some(text));
    }
}

#[test]
fn an_export_shows_no_more_of_participants_than_the_rig_allows() {
    let section = "[regulation]\ndata = { names = \"pseudonyms\", salt = \"0123456789abcdef\", \
                   resolution = \"1Wh\", retention = \"20s\", orders = false }";
    let (market, _bench) = market(section, 70_000);
    assert!(market.table(What::Orders).rows.is_empty());
    // Ends at 18, 33 and 48 s are too long ago at 70 s.
    let intervals = column(&market.table(What::Meter), "interval");
    assert!(
        intervals.iter().all(|n| n.as_deref() == Some("3")),
        "{intervals:?}"
    );
    let energies = column(&market.table(What::Meter), "metered_mwh");
    assert!(
        energies
            .iter()
            .flatten()
            .all(|mwh| mwh.ends_with("000") || mwh == "0")
    );
    let mut told = format!("{} {}", market.cts(), market.openadr());
    for (_, what) in What::NAMES {
        told.push_str(&format!("{:?}", market.table(what)));
    }
    for name in ["load1", "pv1", "ess1", "plug1", "plug2"] {
        assert!(!told.contains(name), "{name}");
    }
    assert!(told.contains("p-"));
}

#[test]
fn the_documents_have_the_words_of_cts_and_of_openadr() {
    let (market, _bench) = market("", 70_000);
    let cts = market.cts();
    let count = |key: &str| cts[key].as_array().map_or(0, Vec::len);
    let orders = market.table(What::Orders).rows.len();
    assert_eq!(count("tenders"), orders, "here every order has one step");
    assert_eq!(count("transactions"), market.table(What::Trades).rows.len());
    assert_eq!(count("positions"), market.table(What::Positions).rows.len());
    assert_eq!(count("deliveries"), market.table(What::Meter).rows.len());
    assert_eq!(cts["instruments"][0]["duration"], "PT15S");
    let transaction = &cts["transactions"][0];
    let tenders = cts["tenders"].as_array().expect("a list");
    let of = tenders
        .iter()
        .find(|t| t["tenderId"] == transaction["tenderId"]);
    let tender = of.expect("a transaction names its tender");
    assert_eq!(tender["partyId"], transaction["partyId"]);
    assert_eq!(tender["side"], transaction["side"]);

    let openadr = market.openadr();
    let events = openadr["events"].as_array().expect("a list");
    let price = &events[0]["intervals"][0];
    // 28572 mc are 0.28572 EUR.
    assert_eq!(price["payloads"][0]["type"], "PRICE");
    assert_eq!(price["payloads"][0]["values"][0], 0.28572);
    assert_eq!(price["intervalPeriod"]["start"], utc(3_000).to_string());
    let load = events
        .iter()
        .find(|event| event["id"] == "dispatch-load1")
        .expect("dispatched");
    let setpoint = &load["intervals"][0]["payloads"][0];
    assert_eq!(setpoint["type"], "DISPATCH_SETPOINT");
    let power = setpoint["values"][0].as_f64().expect("a number");
    assert!((power + 6.0).abs() < 1e-3, "{power}");
    let reports = openadr["reports"].as_array().expect("a list");
    let report = reports
        .iter()
        .find(|r| r["eventID"] == "dispatch-load1")
        .expect("reported");
    let used = &report["resources"][0]["intervals"][0]["payloads"][0];
    assert_eq!(used["type"], "USAGE");
    let energy = used["values"][0].as_f64().expect("a number");
    assert!((energy - 0.025).abs() < 1e-4, "{energy}");
}

/// The sum of a column of whole numbers or of money.
pub(super) fn sum(table: &Table, name: &str) -> i128 {
    let mut names = table.columns.iter().map(|(name, _)| *name);
    let index = names.position(|known| known == name).expect("a column");
    let cells = table.rows.iter().map(|row| match row[index] {
        Cell::Whole(number) => number.into(),
        Cell::Eur(units) => units,
        _ => 0,
    });
    cells.sum()
}

/// The value of a figure of the run.
fn figure(market: &MarketOfRun, name: &str) -> Option<f64> {
    let kpi = market.table(What::Kpi);
    let row = kpi
        .rows
        .iter()
        .find(|row| row[0] == Cell::Text(name.into()));
    match row.unwrap_or_else(|| panic!("no {name}"))[1] {
        Cell::Figure(figure) => Some(figure),
        _ => None,
    }
}

#[test]
fn what_is_traded_by_contract_ahead_and_within_the_day_is_exported_with_its_stage() {
    let section = "[market.day_ahead]\nintervals = 2\ngate = \"5s\"\n[market.intraday]\nintervals = 2\n\
                   [market.contract]\nsun = { buyer = \"load1\", seller = \"pv1\", energy = \"10Wh\", \
                   price_mc_per_kwh = 9000, first = 1, last = 2 }\n";
    let mut bench = Bench::new(("", ""), section);
    bench.run_until(20_000);
    // More sun than was sold ahead: within the day the rest finds the load that has less of it now.
    bench.power_w.insert("pv1", 5_000.0);
    bench.power_w.insert("load1", -8_000.0);
    bench.run_until(64_500);
    bench.evidence.close(utc(64_500)).expect("closed");
    let read = MarketOfRun::read(bench.folder.path(), utc(70_000)).expect("readable");
    let market = read.expect("a market");
    let trades = market.table(What::Trades);
    assert_eq!(sum(&trades, "energy_mwh"), 0);
    assert_eq!(sum(&trades, "received_eur"), 0);
    let stages = column(&trades, "stage");
    let of = |stage: &str| {
        stages
            .iter()
            .filter(|s| s.as_deref() == Some(stage))
            .count()
    };
    assert_eq!(of("contract"), 4, "two sides in two intervals");
    assert!(of("day_ahead") > 0 && of("real_time") > 0, "{stages:?}");
    assert!(of("intraday") > 0, "{stages:?}");
    let orders = column(&market.table(What::Orders), "stage");
    assert!(orders.iter().any(|s| s.as_deref() == Some("intraday")));
    let contracts = market.table(What::Contracts);
    assert_eq!(column(&contracts, "energy_mwh"), [Some("10000".into())]);
    assert_eq!(
        column(&contracts, "intervals_on_record"),
        [Some("2".into())]
    );
    let cts = market.cts();
    let transactions = cts["transactions"].as_array().expect("a list");
    assert_eq!(transactions.len(), trades.rows.len());
}

#[test]
fn welfare_is_the_most_that_orders_allow_at_one_price_and_less_by_another_rule() {
    for (rule, is_best) in [("uniform_k_half", true), ("sdr", false)] {
        let interval = "interval             = \"15s\"";
        let mechanism = format!("mechanism = \"{rule}\"\n{interval}");
        let mut bench = Bench::new((interval, &mechanism), "");
        // More load than sun: the utility serves the rest, and a storage that would sell dearer is used by a pool.
        bench.run_until(64_500);
        bench.evidence.close(utc(64_500)).expect("closed");
        let read = MarketOfRun::read(bench.folder.path(), utc(70_000)).expect("readable");
        let market = read.expect("a market");
        let welfare = market.table(What::Welfare);
        let efficiency = column(&welfare, "efficiency_ppm");
        let best = efficiency.iter().all(|e| e.as_deref() == Some("1000000"));
        assert_eq!(best, is_best, "{rule}: {efficiency:?}");
        let whole = figure(&market, "welfare_efficiency").expect("known");
        assert_eq!((whole - 1.0).abs() < 1e-9, is_best, "{rule}: {whole}");
        let alpha = figure(&market, "smiths_alpha").expect("known");
        assert_eq!(alpha.abs() < 1e-9, is_best, "{rule}: {alpha}");
        let gini = figure(&market, "gain_inequality_gini").expect("known");
        assert!(gini > 0.0, "{gini}");
    }
}

#[test]
fn a_manifest_names_the_rules_and_has_the_digest_of_every_other_table() {
    use sha3::{Digest as _, Sha3_256};
    let (market, bench) = market("", 70_000);
    let manifest = market.table(What::Manifest);
    let value = |item: &str| {
        let row = manifest
            .rows
            .iter()
            .find(|row| row[0] == Cell::Text(item.into()));
        row.unwrap_or_else(|| panic!("no {item}"))[1]
            .told()
            .expect("a text")
    };
    assert_eq!(value("interval_ns"), "15000000000");
    let rules = std::fs::read(bench.folder.path().join(RULES_FILE)).expect("there");
    let digest = |bytes: &[u8]| -> String {
        let digest = Sha3_256::digest(bytes);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    assert_eq!(value("rules_sha3_256"), digest(&rules));
    for (name, what) in What::NAMES
        .into_iter()
        .filter(|(name, _)| *name != "manifest")
    {
        let table = market.table(what);
        let text: String = table.csv().map(|line| line + "\n").collect();
        assert_eq!(
            value(&format!("{name}_csv_sha3_256")),
            digest(text.as_bytes()),
            "{name}"
        );
    }
}

#[test]
fn what_a_clearing_took_is_told_where_time_passes_and_exported() {
    let mut bench = Bench::new(("", ""), "");
    bench
        .desk
        .timed_by(std::sync::Arc::new(SystemClock::start()));
    bench.run_until(20_000);
    let timed = bench.told(|event| match event {
        Event::MarketTimed { interval, .. } => Some(*interval),
        _ => None,
    });
    assert_eq!(timed, [0, 1]);
    let dispatch = Payload::Dispatch(ledger_core::payload::Dispatch {
        device: "ess1".into(),
        kind: DispatchKind::Power,
        setpoint: Setpoint {
            p_milliwatts: Some(1_000),
            ..Setpoint::NONE
        },
        authority_epoch: 1,
        valid_from_utc_ns: utc(18_000).unix_nanos(),
        valid_until_utc_ns: utc(20_000).unix_nanos(),
        cause: bench.desk.cause,
        why: String::new(),
    });
    let mut note = |payload| {
        let draft = bench.evidence.draft(CONTROLLER, payload);
        let receipts = bench.evidence.append(utc(20_000), vec![draft], None);
        receipts.expect("appended")[0].atom_id
    };
    let dispatch = note(dispatch);
    note(Payload::DispatchAck(DispatchAck {
        dispatch,
        stage: DispatchStage::Power,
        measured_p_milliwatts: Some(1_000),
        seen_utc_ns: utc(18_250).unix_nanos(),
    }));
    bench.evidence.close(utc(20_000)).expect("closed");
    let row = "{\"event\":\"market_timed\",\"details\":{\"interval\":1,\"clear_us\":120,\"finality_us\":4500}}\n";
    std::fs::write(bench.folder.path().join("events.jsonl"), row).expect("written");
    let read = MarketOfRun::read(bench.folder.path(), utc(20_000)).expect("readable");
    let market = read.expect("a market");
    let latencies = market.table(What::Latencies);
    assert_eq!(column(&latencies, "clear_us"), [None, Some("120".into())]);
    assert_eq!(
        column(&latencies, "finality_us"),
        [None, Some("4500".into())]
    );
    assert_eq!(figure(&market, "finality_p99"), Some(4.5));
    assert_eq!(
        column(&latencies, "setpoints"),
        [Some("0".into()), Some("1".into())]
    );
    assert_eq!(
        column(&latencies, "setpoint_most_us")[1],
        Some("250000".into())
    );
    assert_eq!(figure(&market, "setpoint_p99"), Some(250.0));
}
