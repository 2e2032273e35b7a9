//! The services as data: each meets its points, and settings change single numbers.

use super::*;

fn check(name: &str, rows: &[(f64, f64)]) {
    let service = named(name).unwrap_or_else(|e| panic!("{e:?}"));
    for &(f, fraction) in rows {
        let found = service
            .fraction(Frequency::from_hertz(f))
            .expect("a fraction");
        // The points have four decimals.
        assert!((found - fraction).abs() < 5.1e-5, "{name} at {f}: {found}");
    }
}

#[test]
fn the_data_is_whole_and_names_its_sources() {
    let all = all().unwrap_or_else(|e| panic!("{e:?}"));
    assert!(all.len() >= 20, "{}", all.len());
    for service in all {
        assert!(!service.source.is_empty() && !service.title.is_empty());
    }
}

#[test]
fn dynamic_services_of_great_britain_meet_their_points() {
    check(
        "dc",
        &[
            (49.98, 0.0014),
            (49.95, 0.0095),
            (49.9, 0.0230),
            (49.85, 0.0365),
            (49.8, 0.0500),
            (49.7, 0.3667),
            (49.65, 0.5250),
            (49.6, 0.6833),
            (49.5, 1.0),
            (49.0, 1.0),
            (50.0, 0.0),
            (50.05, -0.0095),
            (50.3, -0.3667),
        ],
    );
    check(
        "dm",
        &[(49.95, 0.0206), (49.9, 0.05), (49.85, 0.525), (49.8, 1.0)],
    );
    check(
        "dr",
        &[
            (49.98, 0.0270),
            (49.95, 0.1892),
            (49.9, 0.4595),
            (49.85, 0.7297),
            (49.8, 1.0),
        ],
    );
}

#[test]
fn containment_reserves_meet_their_points() {
    check(
        "fcr-ce",
        &[
            (49.99, 0.05),
            (49.985, 0.075),
            (49.98, 0.10),
            (49.95, 0.25),
            (49.9, 0.5),
            (49.85, 0.75),
            (49.8, 1.0),
            (49.7, 1.0),
            (50.05, -0.25),
            (50.1, -0.5),
            (50.2, -1.0),
        ],
    );
    check("fcr-n", &[(49.95, 0.5), (50.05, -0.5), (49.8, 1.0)]);
    check(
        "fcr-d-up",
        &[
            (49.9, 0.0),
            (49.85, 0.125),
            (49.7, 0.5),
            (49.6, 0.75),
            (50.5, 0.0),
        ],
    );
    check(
        "fcr-d-down",
        &[(50.1, 0.0), (50.3, -0.5), (50.5, -1.0), (49.5, 0.0)],
    );
    check("fcr-gb", &[(49.99, 0.0), (49.5, 1.0), (50.5, -1.0)]);
    check("aemo-vf-raise", &[(49.85, 0.0), (49.5, 1.0), (50.5, 0.0)]);
}

/// The services that no program is an oracle of, once more as tables: hertz and per mille, by hand, with an
/// evaluator of its own in whole numbers. Millihertz, and millionths of what was contracted.
const TABLES: [(&str, &[(i64, i64)]); 12] = [
    (
        "fcr-ce",
        &[(49_800, 1_000_000), (50_000, 0), (50_200, -1_000_000)],
    ),
    (
        "fcr-gb",
        &[
            (49_500, 1_000_000),
            (49_985, 0),
            (50_015, 0),
            (50_500, -1_000_000),
        ],
    ),
    (
        "fcr-ie",
        &[
            (49_500, 1_000_000),
            (49_985, 0),
            (50_015, 0),
            (50_500, -1_000_000),
        ],
    ),
    ("fcr-n", &[(49_900, 1_000_000), (50_100, -1_000_000)]),
    ("fcr-d-up", &[(49_500, 1_000_000), (49_900, 0)]),
    ("fcr-d-down", &[(50_100, 0), (50_500, -1_000_000)]),
    (
        "dc",
        &[
            (49_500, 1_000_000),
            (49_800, 50_000),
            (49_985, 0),
            (50_015, 0),
            (50_200, -50_000),
            (50_500, -1_000_000),
        ],
    ),
    (
        "dm",
        &[
            (49_800, 1_000_000),
            (49_900, 50_000),
            (49_985, 0),
            (50_015, 0),
            (50_100, -50_000),
            (50_200, -1_000_000),
        ],
    ),
    (
        "dr",
        &[
            (49_800, 1_000_000),
            (49_985, 0),
            (50_015, 0),
            (50_200, -1_000_000),
        ],
    ),
    ("aemo-vf-raise", &[(49_500, 1_000_000), (49_850, 0)]),
    ("aemo-vf-lower", &[(50_150, 0), (50_500, -1_000_000)]),
    // What is left of the power, and nothing beyond 51.5 Hz.
    ("vde-4105", &[(50_200, 1_000_000), (51_500, 480_000)]),
];

#[test]
fn services_without_an_oracle_are_the_same_written_twice_at_every_millihertz() {
    // From the left: the last point at or before it, and the line to the next one.
    let by_table = |points: &[(i64, i64)], mhz: i64| {
        let at = points.partition_point(|(x, _)| *x <= mhz);
        match (at.checked_sub(1).map(|n| points[n]), points.get(at)) {
            (None, Some((_, first))) => *first as f64,
            (Some((_, last)), None) => last as f64,
            (Some((x0, y0)), Some((x1, y1))) => {
                (y0 * (x1 - mhz) + y1 * (mhz - x0)) as f64 / (x1 - x0) as f64
            }
            (None, None) => f64::NAN,
        }
    };
    for (name, points) in TABLES {
        let service = named(name).unwrap_or_else(|e| panic!("{e:?}"));
        let last = if name == "vde-4105" { 51_500 } else { 51_600 };
        for mhz in 48_400..=last {
            let found = service.fraction(Frequency::from_hertz(mhz as f64 / 1000.0));
            let found = found.expect("a fraction") * 1e6;
            let expected = by_table(points, mhz);
            assert!(
                (found - expected).abs() < 0.01,
                "{name} at {mhz} mHz: {found}, not {expected}"
            );
        }
    }
    // By hand, what no straight lines are: all or nothing, and droops in millihertz (five per cent of 50 Hz are 2500).
    let beyond = |mhz: i64| mhz.max(0) as f64;
    type ByHand<'a> = &'a dyn Fn(i64) -> f64;
    let at_or_below = |threshold: i64| move |mhz: i64| f64::from(u8::from(mhz <= threshold));
    let by_hand: [(&str, ByHand<'_>); 8] = [
        ("ffr", &at_or_below(49_700)),
        ("ffr-49-6", &at_or_below(49_600)),
        ("ffr-49-5", &at_or_below(49_500)),
        ("lfsm-o", &|mhz| -beyond(mhz - 50_200) / 2500.0),
        ("lfsm-u", &|mhz| beyond(49_800 - mhz) / 2500.0),
        ("en-50549", &|mhz| -beyond(mhz - 50_200) / 2500.0),
        ("g99", &|mhz| -beyond(mhz - 50_400) / 5000.0),
        ("fsm", &|mhz| {
            ((50_000 - mhz) as f64 / 3000.0).clamp(-0.1, 0.1)
        }),
    ];
    for (name, expected) in by_hand {
        let service = named(name).unwrap_or_else(|e| panic!("{e:?}"));
        for mhz in 48_400..=51_600_i64 {
            let found = service.fraction(Frequency::from_hertz(mhz as f64 / 1000.0));
            let (found, expected) = (found.expect("a fraction"), expected(mhz));
            assert!(
                (found - expected).abs() < 1e-8,
                "{name} at {mhz} mHz: {found}, not {expected}"
            );
        }
    }
}

#[test]
fn each_service_knows_where_it_asks_for_nothing_and_which_way_it_goes() {
    const EVER: f64 = f64::INFINITY;
    for (name, quiet, directions) in [
        ("fcr-ce", (0.0, 0.0), (true, true)),
        ("dc", (0.015, 0.015), (true, true)),
        ("ffr", (0.3, EVER), (true, false)),
        ("fcr-d-up", (0.1, EVER), (true, false)),
        ("fcr-d-down", (EVER, 0.1), (false, true)),
        ("lfsm-o", (EVER, 0.2), (false, true)),
        ("droop", (0.036, 0.036), (true, true)),
        ("afrr", (EVER, EVER), (true, true)),
    ] {
        let service = named(name).expect("a service");
        let (under, over) = service.quiet();
        assert_eq!((under.as_hertz(), over.as_hertz()), quiet, "{name}");
        assert_eq!(service.directions(), directions, "{name}");
    }
}

#[test]
fn a_fast_reserve_is_all_or_nothing() {
    check(
        "ffr",
        &[(49.71, 0.0), (49.7, 1.0), (49.65, 1.0), (50.0, 0.0)],
    );
    check("ffr-49-6", &[(49.61, 0.0), (49.6, 1.0)]);
    check("ffr-49-5", &[(49.51, 0.0), (49.5, 1.0)]);
    for (name, full_s, held_s) in [
        ("ffr", 1.3, 5.0),
        ("ffr-49-6", 1.0, 5.0),
        ("ffr-49-5", 0.7, 5.0),
        ("ffr-held", 1.3, 30.0),
    ] {
        let times_s = named(name).expect("a service").times_s;
        assert_eq!(
            (times_s[1], times_s[2]),
            (Some(full_s), Some(held_s)),
            "{name}"
        );
    }
}

#[test]
fn support_of_the_voltage_meets_its_points_and_hangs_on_nothing_else() {
    let service = named("voltage-support").expect("a service");
    // A droop of 5 % beyond 1 %, written a second time.
    let droop = |v: f64| match v {
        v if v > 1.01 => (-(v - 1.01) / 0.05).max(-1.0),
        v if v < 0.99 => ((0.99 - v) / 0.05).min(1.0),
        _ => 0.0,
    };
    for step in 0..60 {
        let v = 0.85 + 0.005 * f64::from(step);
        let found = service.q_fraction(v).expect("a fraction");
        assert!((found - droop(v)).abs() < 1e-9, "{v}: {found}");
    }
    assert_eq!(service.q_fraction(f64::NAN), None);
    assert_eq!(service.fraction(Frequency::from_hertz(49.5)), None);
    assert_eq!(named("dc").expect("a service").q_fraction(0.95), None);
}

#[test]
fn whole_blocks_deliver_what_is_all_or_nothing_or_stands_for_minutes() {
    let all = all().unwrap_or_else(|e| panic!("{e:?}"));
    let blocks: Vec<&str> = all.iter().filter(|s| s.blocks).map(|s| &*s.name).collect();
    assert_eq!(blocks, ["ffr-held", "afrr", "mfrr"]);
    assert!(
        all.iter()
            .filter(|s| s.blocks)
            .all(|s| !s.shape.closes_a_loop())
    );
}

#[test]
fn reductions_of_generators_meet_their_points() {
    check(
        "lfsm-o",
        &[
            (50.0, 0.0),
            (50.2, 0.0),
            (50.3, -0.04),
            (50.5, -0.12),
            (51.0, -0.32),
            (51.5, -0.52),
            (60.0, -1.0),
            (49.0, 0.0),
        ],
    );
    check(
        "lfsm-u",
        &[(49.8, 0.0), (49.7, 0.04), (49.0, 0.32), (51.0, 0.0)],
    );
    check(
        "vde-4105",
        &[
            (50.0, 1.0),
            (50.5, 0.88),
            (51.0, 0.68),
            (51.5, 0.48),
            (51.51, 0.0),
            (47.4, 0.0),
        ],
    );
    check("fsm", &[(49.85, 0.05), (49.0, 0.1), (50.3, -0.1)]);
    check("g99", &[(50.4, 0.0), (50.9, -0.1)]);
}

#[test]
fn droop_takes_the_nominal_frequency_that_is_nearer() {
    check(
        "droop",
        &[
            (59.0, 0.3213),
            (60.5, -0.1547),
            (59.97, 0.0),
            (49.0, 0.3856),
            (50.5, -0.1856),
        ],
    );
}

#[test]
fn a_signal_and_an_unknown_frequency_have_no_fraction() {
    let at = |name: &str, f| {
        named(name)
            .expect("a service")
            .fraction(Frequency::from_hertz(f))
    };
    assert_eq!(at("afrr", 49.9), None);
    assert_eq!(at("dc", f64::NAN), None);
    let fault = named("dcc").expect_err("no service").remove(0);
    assert_eq!(fault.code, "G020");
}

#[test]
fn a_settings_file_changes_single_numbers() {
    let with = |name: &str, text: &str| {
        let service = named(name).expect("a service");
        service.with(Source::new("s.toml", text))
    };
    let sooner = with("dc", "recover_notice_s = 60")
        .expect("settings")
        .recovery;
    let rule = Recovery {
        share: 0.2,
        every_s: 1800.0,
        notice_s: 60.0,
    };
    assert_eq!(sooner, Some(rule));
    for (name, text, told) in [
        (
            "dc",
            "recover_every_s = 0",
            "error[G023]: `recover_every_s` is 0 at s.toml:1:19",
        ),
        (
            "ffr",
            "recover_share = 0.1",
            "error[G023]: half a rule of recovery at s.toml:1:17",
        ),
    ] {
        let faults = with(name, text).expect_err("refused");
        assert!(faults[0].to_string().starts_with(told), "{}", faults[0]);
    }

    let with = |name: &str, text: &str| {
        let service = named(name).expect("a service");
        service.with(Source::new("s.toml", text)).map_err(|faults| {
            faults
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; ")
        })
    };
    let rows = [
        ("fcr-ce", "deadband_hz = 0.01", 49.99, 0.0),
        ("fcr-ce", "deadband_hz = 0.01", 49.98, 0.10),
        ("fcr-ce", "f_nom_hz = 60", 59.9, 0.5),
        ("ffr", "threshold_hz = 49.5", 49.6, 0.0),
        ("lfsm-o", "threshold_hz = 50.5\ndroop = 0.04", 51.0, -0.25),
        (
            "droop",
            "f_nom_hz = 50\n[freq_droop]\ndb_uf_hz = 0.5\nk_uf = 0.04",
            48.5,
            0.5,
        ),
        ("droop", "category = \"B\"\nk_of = 0.02", 60.636, -0.5),
    ];
    for (name, text, f, fraction) in rows {
        let service = with(name, text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let found = service
            .fraction(Frequency::from_hertz(f))
            .expect("a fraction");
        assert!((found - fraction).abs() < 1e-9, "{name} {text}: {found}");
    }
    let soon = with("ffr", "ready_s = 60\nhold_s = 30\nrelease_per_s = 1").expect("settings");
    assert_eq!((soon.ready_s, soon.times_s[2]), (Some(60.0), Some(30.0)));
    assert_eq!(soon.course().release_per_s, Some(1.0));
    for (name, text, told) in [
        (
            "ffr",
            "release_per_s = 0",
            "error[G023]: `release_per_s` is 0 at s.toml:1:17",
        ),
        (
            "droop",
            "k_of = 0",
            "error[G023]: `k_of` is 0 at s.toml:1:8",
        ),
        (
            "dc",
            "points = [[1, 0], [0, 1]]",
            "error[G023]: point 2 of the curve stands left",
        ),
        (
            "dc",
            "points = [[-1, 0], [1, 1]]",
            "error[G023]: `points` asks for more where there is too much already at s.toml:1:10",
        ),
        (
            "voltage-support",
            "volt_points = [[0.9, -1], [1.1, 1]]",
            "error[G023]: `volt_points` asks for more where there is too much already at s.toml:1:15",
        ),
        (
            "dc",
            "threshold_hz = 1",
            "error[D002]: unknown key `threshold_hz` at s.toml:1:1",
        ),
    ] {
        let found = with(name, text).expect_err("a fault");
        assert!(found.starts_with(told), "{found}");
    }
}
