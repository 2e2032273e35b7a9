//! Characteristics that a device adopts, from the command line to the emulated registers.

#![allow(clippy::panic, reason = "a test that fails says so by a panic")]

mod common;

use common::{Done, Place, repository};

fn curve(place: &Place, device: &str, words: &[&str]) -> Done {
    let zoo = repository("rigs/virtual/zoo.toml").display().to_string();
    let begin = ["--json", "device", "curve", &zoo, device];
    place.gridrig(&[&begin[..], words, &["--on", "sim", "--out", "run"]].concat())
}

const IEEE: &str = "0.92:0.44,0.98:0,1.02:0,1.08:-0.44";

#[test]
fn each_characteristic_is_adopted_proved_and_recorded() {
    let rows: [(&str, &[&str]); 5] = [
        ("pv_sunspec_der", &["volt-var", "--points", IEEE, "--arm"]),
        (
            "pv_sunspec_der",
            &[
                "volt-watt",
                "--points",
                "1.06:1,1.1:0.2",
                "--revert",
                "60s",
                "--arm",
            ],
        ),
        (
            "ess_sunspec_der",
            &[
                "watt-var",
                "--points",
                "-1:0.44,-0.5:0,0.5:0,1:-0.44",
                "--arm",
            ],
        ),
        (
            "ess_sunspec_der",
            &[
                "freq-droop",
                "--deadband",
                "0.036",
                "--droop",
                "0.05",
                "--arm",
            ],
        ),
        (
            "pv_sunspec",
            &["power-factor", "--pf", "0.95", "--absorb", "--arm"],
        ),
    ];
    for (device, words) in rows {
        let place = Place::new();
        let done = curve(&place, device, words);
        let told = done.exits(0).json();
        assert_eq!(told["device"], device, "{words:?}");
        assert!(told["proved_after_s"].as_f64().is_some(), "{told}");
        let run = place.path("run").display().to_string();
        let verified = place.gridrig(&["ledger", "verify", &run]);
        verified.exits(0);
        let shown = place.gridrig(&["--json", "ledger", "show", &run]);
        let text = &shown.exits(0).stdout;
        for stage in ["approved: ", "adopted: "] {
            let record = format!("{stage}{}", words[0]);
            assert!(text.contains(&record), "{record} is not in {text}");
        }
    }
}

#[test]
fn what_cannot_be_adopted_is_told_by_code_and_by_name() {
    let rows: [(&str, &[&str], i32, &str); 6] = [
        (
            "pv_sunspec",
            &["volt-var", "--points", IEEE, "--arm"],
            3,
            "no SunSpec model 705",
        ),
        (
            "pv_sunspec_der",
            &["volt-var", "--points", "92:44", "--arm"],
            2,
            "a voltage must lie in 0.5..1.5",
        ),
        (
            "met_sunspec",
            &["volt-var", "--points", IEEE, "--arm"],
            2,
            "cannot take this kind of setpoint",
        ),
        ("pv_sunspec_der", &["volt-var", "--points", IEEE], 2, "C006"),
        (
            "pv_sunspec_der",
            &["volt-var", "--pf", "0.9", "--arm"],
            2,
            "`--pf` says nothing",
        ),
        (
            "pv_sunspec_der",
            &["volt-var", "--points", "1", "--arm"],
            2,
            "`1` is not a point",
        ),
    ];
    for (device, words, code, expected) in rows {
        let place = Place::new();
        let done = curve(&place, device, words);
        let told = format!("{}{}", done.stdout, done.stderr);
        assert_eq!(done.code, Some(code), "{words:?}: {told}");
        assert!(told.contains(expected), "{expected} is not in {told}");
    }
}
