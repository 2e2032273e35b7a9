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
