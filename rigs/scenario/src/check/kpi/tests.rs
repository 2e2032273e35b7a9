//! Each figure on a record of a hundred seconds, and on one with a hole.

use model::{Flaw, Mode};

use super::super::{Check, CheckKind, Evidence, Window, evaluate};
use super::*;
use crate::series::DeviceFacts;

fn at(ms: u64) -> Instant {
    Instant::START + Duration::from_millis(ms)
}

fn device(name: &str, role: Role, shed: Option<u8>) -> DeviceFacts {
    DeviceFacts {
        name: name.to_owned(),
        role,
        shed,
        capacity_wh: (role == Role::Ess).then_some(5000.0),
    }
}

/// A hundred seconds: grid-connected, from 60 to 80 s an island; from 60 s the plug is off, and from 70
/// to 75 s the bus is dead. Import 6 kW at first, 2 kW from 30 s, with 1 kvar throughout.
fn record() -> Recording {
    let mut record = Recording {
        ended: at(100_000),
        modes: vec![
            (at(0), Mode::GridConnected),
            (at(60_000), Mode::Islanded),
            (at(80_000), Mode::GridConnected),
        ],
        facts: BenchFacts {
            services: Vec::new(),
            nominal_v: 230.0,
            devices: vec![
                device("pcc", Role::Pcc, None),
                device("ess1", Role::Ess, None),
                device("load1", Role::Load, None),
                device("plug1", Role::Load, Some(1)),
                device("plug2", Role::Load, Some(2)),
            ],
        },
        ..Recording::default()
    };
    use SignalQuantity::{ActivePower, ReactivePower, Switch, Voltage};
    for s in 0..=100_u64 {
        let island = (60..80).contains(&s);
        let dead = (70..75).contains(&s);
        let mut push = |name: &str, quantity, value| {
            record.push(
                &Signal::new(name, quantity),
                at(s * 1000),
                Reading::Good(value),
            );
        };
        let live = |value: f64| if dead { 0.0 } else { value };
        push(
            "pcc",
            ActivePower,
            if island {
                0.0
            } else if s < 30 {
                6000.0
            } else {
                2000.0
            },
        );
        push("pcc", ReactivePower, if island { 0.0 } else { 1000.0 });
        // Ten per cent low for ten seconds.
        push(
            "ess1",
            Voltage,
            live(if (40..50).contains(&s) { 207.0 } else { 230.0 }),
        );
        push(
            "ess1",
            ActivePower,
            if island { live(3600.0) } else { -1800.0 },
        );
        push("load1", ActivePower, live(-3000.0));
        push("plug1", ActivePower, if island { 0.0 } else { -1000.0 });
        push("plug1", Switch, f64::from(u8::from(!island)));
        push("plug2", ActivePower, live(-500.0));
        push("plug2", Switch, 1.0);
    }
    record
}

/// What a figure is on a record, `None` when that is not known.
fn value(record: &Recording, figure: Figure) -> Option<f64> {
    let check = Check {
        uncertainty: None,
        name: "figure".to_owned(),
        kind: CheckKind::Kpi {
            figure,
            window: Window::WHOLE,
            at_least: Some(f64::NEG_INFINITY),
            at_most: None,
            max_gap: Duration::from_secs(2),
        },
        line: 1,
    };
    let result = evaluate(&check, record, &evidence());
    assert_eq!(
        result.value.is_some(),
        result.verdict == Verdict::Pass,
        "{}",
        result.why
    );
    result.value
}

fn evidence() -> Evidence {
    Evidence::default()
}

fn check(figure: Figure, expected: f64) {
    let value = value(&record(), figure).expect("known");
    assert!((value - expected).abs() < 1e-6, "{figure:?}: {value}");
}

#[test]
fn load_is_counted_by_class_against_what_it_would_have_taken() {
    use LoadClass::{All, Critical, Interruptible, Priority};
    // Critical: dead for 5 of 100 s.
    check(Figure::LoadServed(Critical), 95.0);
    check(Figure::TimeServed(Critical), 95.0);
    check(Figure::LoadServed(Interruptible), 80.0);
    check(Figure::TimeServed(Interruptible), 80.0);
    check(Figure::LoadServed(Priority), 95.0);
    // 3000 * 95 + 1000 * 80 + 500 * 95 of 4500 * 100.
    check(Figure::LoadServed(All), 412_500.0 / 4500.0);
    check(Figure::TimeServed(All), 80.0);
}

#[test]
fn what_was_agreed_is_judged_while_grid_connected_only() {
    // 80 s connected, 30 of them at 6 kW.
    check(Figure::Exchange((-3000.0, 5000.0)), 62.5);
    check(Figure::Exchange((-3000.0, 6000.0)), 100.0);
    // 6 kW with 1 kvar are 0.986, 2 kW are 0.894.
    check(Figure::PowerFactor(0.95), 37.5);
    check(Figure::PowerFactor(0.85), 100.0);
}

#[test]
fn a_dead_bus_is_an_outage_and_no_bad_voltage() {
    check(Figure::VoltageViolation, 10.0);
    check(Figure::Islanded, 20.0);
}

#[test]
fn energy_is_what_flowed_whichever_way() {
    // 1.8 kW for 80 s and 3.6 kW for 15 s, over twice 5 kWh.
    check(
        Figure::BatteryCycles,
        (1800.0 * 80.0 + 3600.0 * 15.0) / 3600.0 / 10_000.0,
    );
    let imported_kwh = (6000.0 * 30.0 + 2000.0 * 50.0) / 3.6e6;
    check(Figure::CarbonDioxide, imported_kwh * 0.207_291_713_09);
}

#[test]
fn what_was_not_measured_is_not_known() {
    let figures = [
        (
            Figure::LoadServed(LoadClass::Critical),
            "load1",
            SignalQuantity::ActivePower,
        ),
        (
            Figure::TimeServed(LoadClass::All),
            "plug1",
            SignalQuantity::Switch,
        ),
        (
            Figure::Exchange((0.0, 1.0)),
            "pcc",
            SignalQuantity::ActivePower,
        ),
        (
            Figure::PowerFactor(0.9),
            "pcc",
            SignalQuantity::ReactivePower,
        ),
        (Figure::VoltageViolation, "ess1", SignalQuantity::Voltage),
        (Figure::BatteryCycles, "ess1", SignalQuantity::ActivePower),
        (Figure::CarbonDioxide, "pcc", SignalQuantity::ActivePower),
    ];
    for (figure, name, quantity) in figures {
        let mut record = record();
        let old = record
            .series
            .remove(&Signal::new(name, quantity))
            .expect("there");
        for (t, reading) in old.samples() {
            let is_hole = (10_000..15_000).contains(&(t.as_nanos() / 1_000_000));
            let reading = if is_hole {
                Reading::Bad(Flaw::Timeout)
            } else {
                *reading
            };
            record.push(&Signal::new(name, quantity), *t, reading);
        }
        assert_eq!(value(&record, figure), None, "{figure:?}");
    }
}

#[test]
fn a_plug_that_lost_its_supply_with_the_bus_is_not_served_and_not_unknown() {
    let mut record = record();
    for quantity in [SignalQuantity::ActivePower, SignalQuantity::Switch] {
        let signal = Signal::new("plug2", quantity);
        let old = record.series.remove(&signal).expect("there");
        for (t, reading) in old.samples() {
            let is_gone = (70_000..78_000).contains(&(t.as_nanos() / 1_000_000));
            let reading = if is_gone {
                Reading::Bad(Flaw::Offline)
            } else {
                *reading
            };
            record.push(&signal, *t, reading);
        }
    }
    let served = value(&record, Figure::LoadServed(LoadClass::Priority));
    assert!((served.expect("known") - 92.0).abs() < 1e-6, "{served:?}");
}

#[test]
fn a_figure_beyond_its_bound_fails_and_a_record_that_ended_early_does_not_tell() {
    let check = |at_least, at_most, to_s: f64| {
        let check = Check {
            uncertainty: None,
            name: "islanded".to_owned(),
            kind: CheckKind::Kpi {
                figure: Figure::Islanded,
                window: Window {
                    from: crate::script::Moment::START,
                    to: super::super::WindowEnd::For(Duration::from_secs_f64(to_s)),
                },
                at_least,
                at_most,
                max_gap: Duration::from_secs(2),
            },
            line: 1,
        };
        evaluate(&check, &record(), &evidence()).verdict
    };
    assert_eq!(check(Some(20.0), Some(20.0), 100.0), Verdict::Pass);
    assert_eq!(check(Some(20.1), None, 100.0), Verdict::Fail);
    assert_eq!(check(None, Some(19.9), 100.0), Verdict::Fail);
    assert_eq!(check(Some(20.0), None, 101.0), Verdict::Inconclusive);
}
