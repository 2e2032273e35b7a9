//! `gridrig service`: names, numbers and exit codes.

mod common;

use common::Place;

fn check(place: &Place, words: &[&str], key: &str, expected: f64) {
    let words = [&["service", "eval"], words].concat();
    let done = place.gridrig(&words);
    let told = done.exits(0).json();
    let found = told[key].as_f64().expect("a number");
    assert!((found - expected).abs() < 5.1e-5, "{words:?}: {told}");
    assert_eq!(told["service"], words[2]);
}

#[test]
fn each_named_service_has_a_fraction_at_a_frequency() {
    let place = Place::new();
    for (name, f, fraction) in [
        ("fcr-ce", "49.9", 0.5),
        ("fcr-n", "49.95", 0.5),
        ("fcr-d-up", "49.7", 0.5),
        ("fcr-d-down", "50.3", -0.5),
        ("dc", "49.5", 1.0),
        ("dc", "49.8", 0.05),
        ("dc", "49.98", 0.0014),
        ("dm", "49.85", 0.525),
        ("dr", "49.9", 0.4595),
        ("ffr", "49.65", 1.0),
        ("lfsm-o", "50.5", -0.12),
        ("lfsm-u", "49.7", 0.04),
        ("vde-4105", "50.5", 0.88),
        ("droop", "59.0", 0.3213),
    ] {
        check(&place, &[name, "--f", f], "p_fraction", fraction);
    }
}

#[test]
fn settings_change_a_service_and_name_the_function_of_a_der() {
    let place = Place::new();
    place.file("ce.toml", "deadband_hz = 0.01\n");
    place.file("pf.toml", "[const_pf]\npf = 0.9\nexcitation = \"inject\"\n");
    check(
        &place,
        &["fcr-ce", "--settings", "ce.toml", "--f", "49.99"],
        "p_fraction",
        0.0,
    );
    check(
        &place,
        &["volt-var", "--f", "60", "--v", "0.95"],
        "q_fraction",
        0.22,
    );
    check(
        &place,
        &["volt-watt", "--f", "60", "--v", "1.08"],
        "p_fraction",
        0.5,
    );
    check(
        &place,
        &["watt-var", "--f", "60", "--p", "0.75"],
        "q_fraction",
        -0.22,
    );
    check(
        &place,
        &["voltage-support", "--f", "50", "--v", "0.965"],
        "q_fraction",
        0.5,
    );
    check(
        &place,
        &[
            "const-pf",
            "--settings",
            "pf.toml",
            "--f",
            "60",
            "--p",
            "0.5",
        ],
        "q_fraction",
        0.2422,
    );
}

#[test]
fn what_cannot_be_evaluated_is_told() {
    let place = Place::new();
    place.file("s.toml", "deadband = 1\n");
    for (words, code) in [
        (
            &["dcc", "--f", "50"][..],
            "error[G020]: there is no service `dcc`",
        ),
        (&["afrr", "--f", "50"], "error[G021]"),
        (
            &["volt-var", "--f", "60"],
            "error[G022]: `volt-var` needs `--v`",
        ),
        (
            &["voltage-support", "--f", "50"],
            "error[G022]: `voltage-support` needs `--v`",
        ),
        (&["dc", "--f", "NaN"], "error[C001]"),
        (
            &["dc", "--settings", "s.toml", "--f", "50"],
            "error[D002]: unknown key `deadband`\n --> s.toml:1:1",
        ),
    ] {
        let done = place.gridrig(&[&["service", "eval"], words].concat());
        done.exits(2);
        assert!(done.stderr.contains(code), "{code}\n{}", done.stderr);
    }
    let listed = place.gridrig(&["service", "ls"]);
    assert!(listed.exits(0).stdout.contains("recalled, not read"));
    for name in [
        "voltage-support",
        "volt-var",
        "volt-watt",
        "watt-var",
        "const-pf",
        "const-q",
    ] {
        assert!(listed.stdout.contains(&format!("\n{name} ")), "{name}");
    }
}
