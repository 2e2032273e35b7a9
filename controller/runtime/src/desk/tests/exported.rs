//! The market of a run as others read it.

use super::super::export::{Cell, MarketOfRun, Table, What};
use super::*;

/// A minute of the bench with this behind its market, read at a moment after it began.
fn market(more: &str, read_at_ms: u64) -> MarketOfRun {
    let mut bench = Bench::new(("", ""), more);
    bench.run_until(64_500);
    bench.evidence.close(utc(64_500)).expect("closed");
    let read = MarketOfRun::read(bench.folder.path(), utc(read_at_ms)).expect("readable");
    read.expect("a market")
}

/// The cells of a column.
fn column(table: &Table, name: &str) -> Vec<Option<String>> {
    let mut names = table.columns.iter().map(|(name, _)| *name);
    let index = names.position(|known| known == name);
    let index = index.unwrap_or_else(|| panic!("{name} is not in {:?}", table.columns));
    table.rows.iter().map(|row| row[index].told()).collect()
}

#[test]
fn every_table_has_whole_rows_units_in_its_names_and_money_that_sums_to_zero() {
    let market = market("", 70_000);
    for (name, what) in What::NAMES {
        let table = market.table(what);
        let is_empty = name == "penalties" || name == "nodes";
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
    let market = market(section, 70_000);
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
    let market = market("", 70_000);
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
