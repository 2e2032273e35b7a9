use super::*;
use crate::meter::Reading;
use crate::order::Side;
use crate::quantity::{Mwh, Price};
use crate::settlement::CouplingMeter;
use crate::utility::Parity;
use serde_json::Value;

fn record(index: u64, mechanism: &str) -> Record {
    let interval = Interval::new(index, index as i64 * 60, 60).unwrap();
    let rules = BookRules::unbounded();
    let orders = vec![
        Order::single("load".into(), Side::Buy, Price(35_000), Mwh(1_500)),
        Order::single("late".into(), Side::Buy, Price(9_000), Mwh(0)),
        Order::single("grid".into(), Side::Buy, Price(7_500), Mwh(900)),
        Order::single("plant".into(), Side::Sell, Price(4_000), Mwh(2_000)),
        Order::single("grid".into(), Side::Sell, Price(29_592), Mwh(900)),
    ];
    let (book, refused) = Book::admit(interval, &rules, orders.clone()).unwrap();
    assert_eq!(refused.len(), 1);
    let clearing = by_name(mechanism).unwrap().clear(&book).unwrap();
    let valid = |energy| Reading::Valid {
        energy: Mwh(energy),
    };
    let parity = Parity {
        import: Price(29_592),
        export: Price(7_500),
    };
    let basis = Basis {
        readings: [
            ("load".into(), valid(-1_600)),
            (
                "plant".into(),
                Reading::Estimated {
                    energy: Mwh(1_900),
                    coverage_ppm: 960_000,
                },
            ),
            ("dark".into(), Reading::Missing { coverage_ppm: 0 }),
        ]
        .into(),
        coupling: Some(CouplingMeter {
            utility: "grid".into(),
            reading: valid(-290),
            parity,
        }),
        fallback_price: None,
        instructed: [].into(),
    };
    let settlement = settle(&clearing, &basis).unwrap();
    let settled = Some(Settled { basis, settlement });
    Record {
        interval,
        mechanism: mechanism.into(),
        rules,
        orders,
        clearing,
        settled,
    }
}

/// Every way to change one value of a document, with the path to it.
fn changes(value: &Value, path: &str, out: &mut Vec<(String, Value)>) {
    let mut changed = |new: Value| out.push((path.to_string(), new));
    match value {
        Value::Number(number) => changed((number.as_i64().unwrap() + 1).into()),
        Value::String(text) => changed(match text.parse::<i128>() {
            Ok(number) => (number - 1).to_string().into(),
            Err(_) => format!("{text}x").into(),
        }),
        Value::Array(items) => {
            let shorter: Vec<Value> = items.iter().skip(1).cloned().collect();
            if !items.is_empty() {
                changed(shorter.into());
            }
            for (index, item) in items.iter().enumerate() {
                changes(item, &format!("{path}/{index}"), out);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                changes(item, &format!("{path}/{key}"), out);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

#[test]
fn a_faithful_record_is_identical_also_after_json() {
    let records = [
        record(0, "uniform_k_half"),
        record(1, "pay_as_bid"),
        record(2, "uniform_k_1_3"),
    ];
    let again = records
        .iter()
        .map(|record| serde_json::from_str(&serde_json::to_string(record).unwrap()).unwrap());
    let verdict = replay(again);
    assert_eq!(
        verdict,
        Verdict::Identical {
            cleared: 3,
            settled: 3
        }
    );
    assert_eq!(verdict.to_string(), "IDENTICAL");
}

#[test]
fn any_changed_value_of_a_result_is_detected_where_it_is() {
    for mechanism in ["uniform_k_half", "pay_as_bid"] {
        let faithful = serde_json::to_value(record(3, mechanism)).unwrap();
        let mut found = Vec::new();
        for root in ["/clearing", "/settled/settlement"] {
            changes(faithful.pointer(root).unwrap(), root, &mut found);
        }
        let mut detected = 0;
        for (path, new) in found {
            let mut changed = faithful.clone();
            *changed.pointer_mut(&path).unwrap() = new;
            // A side or an item of another name is no record at all.
            let Ok(record) = serde_json::from_value::<Record>(changed) else {
                continue;
            };
            let Verdict::Different(difference) = replay([record]) else {
                panic!("{path} changed and went unnoticed");
            };
            let place = path.trim_start_matches("/settled").trim_start_matches('/');
            let place = place.split('/').fold(String::new(), |place, part| {
                match (part.parse::<usize>(), place.is_empty()) {
                    (Ok(index), _) => format!("{place}[{index}]"),
                    (Err(_), true) => part.to_string(),
                    (Err(_), false) => format!("{place}.{part}"),
                }
            });
            assert_eq!(difference.place, place);
            assert_eq!(difference.interval, 3);
            detected += 1;
        }
        assert!(detected > 50, "{detected} values were changed");
    }
}

#[test]
fn a_changed_order_or_meter_changes_the_result() {
    let check = |change: fn(&mut Record), place: &str| {
        let mut record = record(3, "uniform_k_half");
        change(&mut record);
        let difference = first_difference(&record).expect(place);
        assert_eq!(difference.place, place, "{difference}");
    };
    check(
        |r| r.orders[3].steps[0].quantity = Mwh(1_999),
        "clearing.fills[0].payment",
    );
    check(|r| drop(r.orders.remove(0)), "clearing.competitive[0]");
    check(
        |r| r.mechanism = "pay_as_bid".into(),
        "clearing.fills[1].payment",
    );
    check(|r| r.mechanism = "roulette".into(), "mechanism");
    check(|r| r.rules.tick = 0, "rules");
    check(|r| r.interval.index = 4, "clearing.interval.index");
    check(
        |r| {
            let settled = r.settled.as_mut().unwrap();
            settled.basis.readings.insert(
                "load".into(),
                Reading::Valid {
                    energy: Mwh(-1_601),
                },
            );
        },
        "settlement.lines[4].amount",
    );
    check(
        |r| {
            r.settled.as_mut().unwrap().basis.readings.clear();
        },
        "settlement",
    );
}

#[test]
fn the_first_differing_interval_is_told_and_what_it_says() {
    let mut wrong = record(1, "uniform_k_half");
    wrong.clearing.price = Some(Price(7_501));
    let records = [
        record(0, "uniform_k_half"),
        wrong,
        record(2, "uniform_k_half"),
    ];
    let told = replay(records).to_string();
    assert_eq!(
        told,
        "interval 1: clearing.price: recorded 7501, recomputed 7500"
    );
}

#[test]
fn an_interval_not_settled_yet_is_only_cleared_again() {
    let unsettled = Record {
        settled: None,
        ..record(0, "uniform_k_half")
    };
    assert_eq!(
        replay([unsettled]),
        Verdict::Identical {
            cleared: 1,
            settled: 0
        }
    );
}
