//! Sound benches have no fault, and each mistake of wiring or profile is told by name.

use std::path::Path;

use super::*;

const RIG: &str = r#"schema = 1
site   = { v = "230V", f = "50Hz", phases = 3 }
safety = { heartbeat = "1s", on_lost = "safe" }
[bus]
lan1 = { kind = "modbus-tcp", host = "127.0.0.1" }
can0 = { kind = "can", uri = "socketcand://127.0.0.1/can0" }
[device]
pcc   = { profile = "eastron/sdm630", bus = "lan1", unit = 1, role = "pcc" }
load1 = { profile = "eastron/sdm630", bus = "lan1", unit = 2, role = "load", invert = true }
pv1   = { profile = "sunspec/inverter", bus = "lan1", unit = 3, role = "pv", limits = { p = "0..5kW" } }
ess1  = { profile = "sunspec/storage-inverter", bus = "lan1", unit = 4, role = "ess", battery = "bat1", limits = { p = "-5..5kW" } }
bat1  = { profile = "pylontech/lv-can", bus = "can0", role = "battery" }
"#;

/// A bench in balance: 1 kW from the utility and 3 kW of sun for 3.4 kW of load and 600 W into
/// the battery.
const SOUND: &[(&str, Point, f64)] = &[
    ("pcc", Point::ActivePower, 1000.0),
    ("pcc", Point::ApparentPower, 1030.0),
    ("pcc", Point::PowerFactor, 0.97),
    ("pcc", Point::Frequency, 50.01),
    ("pcc", Point::VoltageL1, 231.0),
    ("pcc", Point::VoltageL2, 230.0),
    ("pcc", Point::VoltageL3, 229.0),
    ("pcc", Point::CurrentL1, 1.5),
    ("pcc", Point::CurrentL2, 1.5),
    ("pcc", Point::CurrentL3, 1.5),
    ("pcc", Point::ReactivePower, 240.0),
    ("load1", Point::ActivePower, -3400.0),
    ("pv1", Point::ActivePower, 3000.0),
    ("ess1", Point::ActivePower, -600.0),
    ("bat1", Point::BatteryVoltage, 50.0),
    ("bat1", Point::BatteryCurrent, -11.5),
];

fn rig() -> Rig {
    crate::rig::load_text(Path::new("rig.toml"), RIG).expect("the rig is sound")
}

/// The codes and devices that are told when some values are others.
fn check(changes: &[(&str, Point, f64)], expected: &[(&str, &str)]) {
    let rig = rig();
    let mut observed = Observations::new();
    for (device, point, value) in SOUND.iter().chain(changes) {
        let ix = rig.device(device).expect("the rig has it");
        observed.insert((ix, *point), Observed::steady(*value));
    }
    let told = faults(&rig, &[], &observed);
    let told: Vec<(&str, String)> = told
        .iter()
        .map(|d| {
            let line = d.place.as_ref().map_or(0, |p| p.line_and_column().0);
            let device = RIG.lines().nth(line.wrapping_sub(1)).unwrap_or_default();
            let name = device.split('=').next().unwrap_or_default();
            (d.code, name.trim().to_owned())
        })
        .collect();
    let told: Vec<(&str, &str)> = told.iter().map(|(c, n)| (*c, n.as_str())).collect();
    assert_eq!(told, expected, "{changes:?}");
}

#[test]
fn a_sound_bench_has_no_fault() {
    check(&[], &[]);
    // At night, in standby.
    check(
        &[
            ("pv1", Point::ActivePower, -30.0),
            ("pcc", Point::ActivePower, 4030.0),
            ("pcc", Point::ApparentPower, 4100.0),
            ("pcc", Point::CurrentL1, 6.0),
            ("pcc", Point::CurrentL2, 6.0),
            ("pcc", Point::CurrentL3, 6.0),
        ],
        &[],
    );
    // A dead phase is no wrong scale.
    check(
        &[
            ("pcc", Point::VoltageL3, 0.3),
            ("pcc", Point::CurrentL1, 3.0),
        ],
        &[],
    );
}

#[test]
fn each_wrong_sign_is_told_with_its_device() {
    check(
        &[("load1", Point::ActivePower, 3400.0)],
        &[("R040", "load1"), ("R044", "load1")],
    );
    check(
        &[("pv1", Point::ActivePower, -3000.0)],
        &[("R040", "pv1"), ("R044", "pv1")],
    );
    check(&[("pcc", Point::ActivePower, -1000.0)], &[("R044", "pcc")]);
    check(
        &[("ess1", Point::ActivePower, 600.0)],
        &[("R040", "ess1"), ("R044", "ess1")],
    );
    check(
        &[("bat1", Point::BatteryCurrent, 11.5)],
        &[("R040", "ess1")],
    );
}

#[test]
fn each_wrong_unit_is_told_by_voltage_and_current() {
    let kilo = ("pcc", Point::ActivePower, 1_000_000.0);
    let told = [("R041", "pcc"), ("R042", "pcc"), ("R044", "")];
    check(&[kilo], &told);
    check(
        &[
            ("pcc", Point::ActivePower, 1.0),
            ("pcc", Point::ReactivePower, 0.24),
            ("pcc", Point::ApparentPower, 1.03),
        ],
        &[("R041", "pcc"), ("R044", "")],
    );
    check(&[("pcc", Point::PowerFactor, 0.097)], &[("R042", "pcc")]);
    check(&[("pcc", Point::Frequency, 5.0)], &[("R043", "pcc")]);
    let low = ("pcc", Point::VoltageL2, 23.0);
    check(&[low], &[("R041", "pcc"), ("R043", "pcc")]);
}

#[test]
fn what_moves_while_it_is_observed_gets_the_benefit_of_the_doubt() {
    let rig = rig();
    let ix = rig.device("load1").expect("the rig has it");
    let moving = Observed::steady(-3000.0).with(2000.0);
    let told = |value| {
        faults(
            &rig,
            &[],
            &Observations::from([((ix, Point::ActivePower), value)]),
        )
    };
    assert_eq!(told(moving), []);
    assert_eq!(told(Observed::steady(2000.0)).len(), 1);
}

/// The codes and devices that are told when nothing but this was observed, each from a
/// smallest to a largest value, on this rig.
fn check_only(rig: &str, seen: &[(&str, Point, f64, f64)], expected: &[(&str, &str)]) {
    let rig = crate::rig::load_text(Path::new("rig.toml"), rig).expect("the rig is sound");
    let observed = seen.iter().map(|(device, point, low, high)| {
        let ix = rig.device(device).expect("the rig has it");
        ((ix, *point), Observed::steady(*low).with(*high))
    });
    let told: Vec<(&str, bool)> = faults(&rig, &[], &observed.collect())
        .iter()
        .map(|d| {
            let named = expected.iter().any(|(code, device)| {
                *code == d.code && d.message.contains(&format!("`{device}`"))
            });
            let nobody = expected.contains(&(d.code, "")) && !d.message.contains('`');
            (d.code, named || nobody)
        })
        .collect();
    let expected: Vec<(&str, bool)> = expected.iter().map(|(code, _)| (*code, true)).collect();
    assert_eq!(told, expected, "{seen:?}");
}

/// Device, point, and its two ends.
type Moving<'a> = &'a [(&'a str, Point, f64, f64)];

/// Device, and words of its fault.
type Faults<'a> = &'a [(&'a str, &'a str)];

#[test]
fn what_moves_past_a_border_is_told_only_when_both_of_its_ends_are_beyond() {
    use Point::*;
    let rows: [(Moving<'_>, Faults<'_>); 10] = [
        (&[("pv1", ActivePower, -3000.0, 100.0)], &[]),
        (&[("pv1", ActivePower, -3000.0, -200.0)], &[("R040", "pv1")]),
        (&[("pcc", Frequency, 40.0, 60.0)], &[]),
        (&[("pcc", Frequency, 56.0, 60.0)], &[("R043", "pcc")]),
        (&[("pcc", VoltageL1, 100.0, 300.0)], &[]),
        // 345 VA in the phase that is told, and the device may hang on three.
        (
            &[
                ("pcc", VoltageL1, 230.0, 230.0),
                ("pcc", CurrentL1, 1.5, 1.5),
                ("pcc", ActivePower, 1000.0, 1000.0),
            ],
            &[],
        ),
        (
            &[
                ("pcc", VoltageL1, 230.0, 230.0),
                ("pcc", CurrentL1, 1.5, 1.5),
                ("pcc", ActivePower, 100.0, 3000.0),
            ],
            &[],
        ),
        (
            &[
                ("pcc", VoltageL1, 230.0, 230.0),
                ("pcc", CurrentL1, 1.5, 1.5),
                ("pcc", ActivePower, -3000.0, 3000.0),
            ],
            &[],
        ),
        (
            &[
                ("pcc", VoltageL1, 230.0, 230.0),
                ("pcc", CurrentL1, 1.5, 1.5),
                ("pcc", ActivePower, 1300.0, 3000.0),
            ],
            &[("R041", "pcc")],
        ),
        (
            &[
                ("pcc", ActivePower, 500.0, 1000.0),
                ("pcc", ApparentPower, 600.0, 1100.0),
                ("pcc", PowerFactor, 0.5, 0.5),
            ],
            &[],
        ),
    ];
    for (seen, expected) in rows {
        check_only(RIG, seen, expected);
    }
}

#[test]
fn little_power_is_told_only_where_there_is_enough_to_tell_it_by() {
    use Point::*;
    // (voltage, current, active and reactive power, apparent power and power factor, what is told)
    type Phase = (f64, f64, f64, Option<f64>, Option<(f64, Option<f64>)>);
    let rows: [(Phase, &[(&str, &str)]); 8] = [
        // The electronics of a meter itself.
        ((230.0, 0.0, 15.0, None, None), &[]),
        ((230.0, 0.0, 25.0, None, None), &[("R041", "pcc")]),
        // Little active power may be much reactive power, and nobody told how much.
        ((230.0, 1.5, 1.0, Some(240.0), None), &[]),
        ((230.0, 1.5, 1.0, None, None), &[]),
        ((230.0, 1.5, 1.0, Some(0.2), None), &[("R041", "pcc")]),
        ((230.0, 0.1, 1.0, Some(0.2), None), &[]),
        // More active than apparent power; a power factor of almost nothing.
        (
            (230.0, 5.0, 1000.0, None, Some((500.0, None))),
            &[("R042", "pcc")],
        ),
        ((230.0, 0.2, 5.0, None, Some((50.0, Some(0.97)))), &[]),
    ];
    for ((v, i, p, q, s), expected) in rows {
        let mut seen = vec![
            ("pcc", VoltageL1, v, v),
            ("pcc", CurrentL1, i, i),
            ("pcc", ActivePower, p, p),
        ];
        seen.extend(q.map(|q| ("pcc", ReactivePower, q, q)));
        seen.extend(s.map(|(s, _)| ("pcc", ApparentPower, s, s)));
        let pf = s.and_then(|(_, pf)| pf);
        seen.extend(pf.map(|pf| ("pcc", PowerFactor, pf, pf)));
        check_only(RIG, &seen, expected);
    }
}

#[test]
fn what_a_device_may_draw_at_rest_grows_with_its_limits_in_both_directions() {
    let large = RIG.replace(
        "invert = true }",
        "invert = true, limits = { p = \"-20..0kW\" } }",
    );
    for (rig, device, watts, expected) in [
        (RIG, "pv1", -80.0, &[][..]),
        (RIG, "pv1", -120.0, &[("R040", "pv1")]),
        (RIG, "load1", 300.0, &[("R040", "load1")]),
        (&large, "load1", 300.0, &[]),
        (&large, "load1", 500.0, &[("R040", "load1")]),
    ] {
        check_only(rig, &[(device, Point::ActivePower, watts, watts)], expected);
    }
}

#[test]
fn a_battery_has_a_direction_only_with_power_enough_on_both_sides() {
    for (watts, amperes, told) in [
        (-600.0, 11.5, true),
        (-100.0, 11.5, false),
        (-600.0, 2.0, false),
        (600.0, 11.5, false),
    ] {
        let seen = [
            ("ess1", Point::ActivePower, watts, watts),
            ("bat1", Point::BatteryVoltage, 50.0, 50.0),
            ("bat1", Point::BatteryCurrent, amperes, amperes),
        ];
        let expected: &[_] = if told { &[("R040", "ess1")] } else { &[] };
        check_only(RIG, &seen, expected);
    }
}

#[test]
fn a_balance_allows_for_what_moved_and_names_nobody_by_chance() {
    let no_pcc = RIG.replace("role = \"pcc\"", "role = \"meter\"");
    // (rig, power of coupling, sun, load from and to, storage, who is named)
    for (rig, pcc, pv, load, ess, expected) in [
        (RIG, 1000.0, 3000.0, (-4000.0, -1000.0), -600.0, None),
        (RIG, 1000.0, 3000.0, (-2600.0, -2200.0), -600.0, Some("")),
        // A thousand watts too many: turning one leaves two hundred, or forty, or nothing.
        (RIG, 400.0, 3000.0, (-2400.0, -2400.0), 0.0, Some("")),
        (RIG, 480.0, 3500.0, (-2980.0, -2980.0), 0.0, Some("pcc")),
        (RIG, 500.0, 480.0, (-2980.0, -2980.0), 3000.0, Some("pcc")),
        (RIG, 480.0, 500.0, (-2980.0, -2980.0), 3000.0, Some("pv1")),
        (&no_pcc, 1000.0, 3000.0, (-10.0, -10.0), -600.0, None),
    ] {
        let seen = [
            ("pcc", Point::ActivePower, pcc, pcc),
            ("pv1", Point::ActivePower, pv, pv),
            ("load1", Point::ActivePower, load.0, load.1),
            ("ess1", Point::ActivePower, ess, ess),
        ];
        let expected: Vec<_> = expected.map(|name| ("R044", name)).into_iter().collect();
        check_only(rig, &seen, &expected);
    }
}

#[test]
fn a_bus_without_voltage_has_no_frequency_to_be_wrong() {
    check_only(
        RIG,
        &[
            ("pcc", Point::Frequency, 0.0, 0.0),
            ("pcc", Point::VoltageL1, 0.0, 4.0),
        ],
        &[],
    );
}

#[test]
fn a_bench_that_is_not_metered_whole_is_not_summed_up() {
    let rig = rig();
    let of = |name: &str| {
        (
            rig.device(name).expect("the rig has it"),
            Point::ActivePower,
        )
    };
    let observed = Observations::from([
        (of("pcc"), Observed::steady(5000.0)),
        (of("load1"), Observed::steady(-100.0)),
    ]);
    assert_eq!(faults(&rig, &[], &observed), []);
}

#[test]
fn a_value_outside_of_its_profile_is_told() {
    let rig = rig();
    let reading = PointReading {
        device: rig.device("bat1").expect("the rig has it"),
        point: Point::StateOfCharge,
        reading: Reading::Bad(Flaw::OutOfRange),
        measured_at: None,
    };
    let told = faults(&rig, &[reading], &Observations::new());
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].code, "R045");
    assert!(told[0].message.contains("bat.soc"), "{}", told[0].message);
}
