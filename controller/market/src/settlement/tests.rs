use super::*;
use crate::book::{Book, BookRules};
use crate::mechanism::by_name;
use crate::order::Order;
use crate::quantity::Mwh;

fn interval() -> Interval {
    Interval::new(7, 0, 60_000_000_000).unwrap()
}

/// A plant sells 2000 mWh; 1500 to a load, 500 to the grid at 7500 mc/kWh.
fn clearing(mechanism: &str) -> Clearing {
    let orders = vec![
        Order::single("load".into(), Side::Buy, Price(35_000), Mwh(1_500)),
        Order::single("grid".into(), Side::Buy, Price(7_500), Mwh(900)),
        Order::single("plant".into(), Side::Sell, Price(4_000), Mwh(2_000)),
        Order::single("grid".into(), Side::Sell, Price(29_592), Mwh(900)),
    ];
    let book = Book::new(interval(), &BookRules::unbounded(), orders).unwrap();
    by_name(mechanism).unwrap().clear(&book).unwrap()
}

fn valid(energy: i64) -> Reading {
    Reading::Valid {
        energy: Mwh(energy),
    }
}

fn basis(load: Reading, plant: Reading, grid: Reading) -> Basis {
    let parity = Parity {
        import: Price(29_592),
        export: Price(7_500),
    };
    Basis {
        readings: [("load".into(), load), ("plant".into(), plant)].into(),
        coupling: Some(CouplingMeter {
            utility: "grid".into(),
            reading: grid,
            parity,
        }),
        fallback_price: None,
        instructed: BTreeMap::new(),
    }
}

/// Amounts as `account item quantity price` lines.
fn told(settlement: &Settlement) -> Vec<String> {
    let line = |line: &Line| {
        let Line {
            account,
            item,
            quantity,
            price,
            amount,
        } = line;
        let Some(price) = price else {
            return format!("{account} {item:?} {} for {}", quantity.0, amount.0);
        };
        assert_eq!(amount.0, -quantity.0 * i128::from(price.0), "{account}");
        format!("{account} {item:?} {} at {}", quantity.0, price.0)
    };
    settlement.lines.iter().map(line).collect()
}

/// The imbalance lines of the readings, after the three of the positions.
fn check(load: i64, plant: i64, grid: i64, source: PriceSource, expected: &[&str]) {
    let basis = basis(valid(load), valid(plant), valid(grid));
    let settlement = settle(&clearing("uniform_k_half"), &basis).unwrap();
    assert_eq!(settlement.balances().values().map(|m| m.0).sum::<i128>(), 0);
    assert_eq!(
        settlement.imbalance_price.map(|(_, source)| source),
        Some(source)
    );
    let told = told(&settlement);
    let energy = [
        "grid Energy -500 at 7500",
        "load Energy -1500 at 7500",
        "plant Energy 2000 at 7500",
    ];
    assert_eq!(told[..3], energy);
    assert_eq!(told[3..], *expected);
}

#[test]
fn a_short_system_pays_import_parity_for_what_the_grid_delivered_instead() {
    check(
        -1_600,
        1_900,
        -290,
        PriceSource::ImportParity,
        &[
            "grid Imbalance 210 at 29592",
            "load Imbalance -100 at 29592",
            "plant Imbalance -100 at 29592",
            // 10 mWh more went in than came out: losses, bought by the operator.
            "(operator) Unaccounted -10 at 29592",
        ],
    );
}

#[test]
fn a_long_system_earns_export_parity() {
    check(
        -1_400,
        2_000,
        -600,
        PriceSource::ExportParity,
        &["grid Imbalance -100 at 7500", "load Imbalance 100 at 7500"],
    );
}

#[test]
fn deviations_that_cancel_settle_at_the_clearing_price() {
    check(
        -1_600,
        2_100,
        -500,
        PriceSource::ClearingPrice,
        &["load Imbalance -100 at 7500", "plant Imbalance 100 at 7500"],
    );
}

#[test]
fn meters_that_show_more_consumed_than_injected_owe_the_operator_nothing_hidden() {
    check(
        -1_530,
        2_000,
        -500,
        PriceSource::ClearingPrice,
        &[
            "load Imbalance -30 at 7500",
            "(operator) Unaccounted 30 at 7500",
        ],
    );
}

#[test]
fn exact_delivery_settles_positions_alone() {
    let basis = basis(valid(-1_500), valid(2_000), valid(-500));
    let settlement = settle(&clearing("uniform_k_half"), &basis).unwrap();
    assert_eq!(settlement.lines.len(), 3);
    assert_eq!(settlement.imbalance_price, None);
}

#[test]
fn a_missing_meter_counts_as_its_position_and_says_so() {
    let missing = Reading::Missing { coverage_ppm: 3 };
    let estimated = Reading::Estimated {
        energy: Mwh(1_990),
        coverage_ppm: 900_000,
    };
    let settlement = settle(
        &clearing("uniform_k_half"),
        &basis(missing, estimated, missing),
    )
    .unwrap();
    assert_eq!(settlement.substituted, ["grid".into(), "load".into()]);
    assert_eq!(settlement.estimated, ["plant".into()]);
    assert_eq!(settlement.unaccounted, MwhTotal(-10));
    let imbalance = [
        "plant Imbalance -10 at 7500",
        "(operator) Unaccounted 10 at 7500",
    ];
    assert_eq!(told(&settlement)[3..], imbalance);
}

#[test]
fn pairs_settle_each_at_its_own_price() {
    let basis = basis(valid(-1_500), valid(2_000), valid(-500));
    let settlement = settle(&clearing("pay_as_bid"), &basis).unwrap();
    let expected = [
        "load Energy -1500 at 35000",
        "plant Energy 1500 at 35000",
        "grid Energy -500 at 7500",
        "plant Energy 500 at 7500",
    ];
    assert_eq!(told(&settlement), expected);
}

#[test]
fn an_island_without_a_clearing_settles_at_the_last_valid_price_or_not_at_all() {
    let book = Book::new(interval(), &BookRules::unbounded(), Vec::new()).unwrap();
    let clearing = by_name("uniform_k_half").unwrap().clear(&book).unwrap();
    let mut island = Basis {
        readings: [("load".into(), valid(-5)), ("store".into(), valid(5))].into(),
        coupling: None,
        fallback_price: None,
        instructed: BTreeMap::new(),
    };
    assert_eq!(settle(&clearing, &island).unwrap_err().code(), "M082");
    island.fallback_price = Some(Price(11));
    let settlement = settle(&clearing, &island).unwrap();
    assert_eq!(
        settlement.imbalance_price,
        Some((Price(11), PriceSource::Fallback))
    );
    assert_eq!(
        told(&settlement),
        ["load Imbalance -5 at 11", "store Imbalance 5 at 11"]
    );
}

#[test]
fn what_cannot_be_settled_is_refused() {
    let complete = || basis(valid(-1_500), valid(2_000), valid(-500));
    let refused = |basis: &Basis, clearing: &Clearing| settle(clearing, basis).unwrap_err().code();
    let cleared = clearing("uniform_k_half");

    let mut unmetered = complete();
    unmetered.readings.remove(&AgentId::from("load"));
    assert_eq!(refused(&unmetered, &cleared), "M080");
    let mut islanded = complete();
    islanded.coupling = None;
    assert_eq!(refused(&islanded, &cleared), "M080");

    let mut twice = complete();
    twice.readings.insert("grid".into(), valid(-500));
    assert_eq!(refused(&twice, &cleared), "M081");

    let mut changed = cleared;
    changed.fills[0].quantity = Mwh(501);
    let sum = settle(&changed, &complete()).unwrap_err();
    assert_eq!(sum.code(), "M084");
}
