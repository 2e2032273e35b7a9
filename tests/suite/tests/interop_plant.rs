//! The emulated plant against others: power flows of pandapower and OpenDSS on the low-voltage
//! benchmark of CIGRE and on networks that a seed draws, and ANDES on the frequency of an island.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

use serde_json::Value;
use suite::process::{WithArguments, gridrig, json_of, text_of};

/// Largest difference of a voltage in per unit.
/// Source: what pandapower and OpenDSS agree on among themselves, whose transformers have their
/// iron losses in different places (7e-5).
const NEAR_PU: f64 = 1e-4;

fn voltages(of: &Value) -> Vec<f64> {
    let list = of.as_array().unwrap_or_else(|| panic!("no voltages: {of}"));
    list.iter().filter_map(Value::as_f64).collect()
}

fn check(case: &str, seed: u64, phases: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("network.toml");
    let file = file.to_str().expect("a path of text");
    let seed = seed.to_string();
    let theirs = json_of("network_flow.py", [case, file, "--seed", &seed]);
    let ours = text_of(gridrig().with(["--json", "plant", "flow", file]));
    let ours: Value = serde_json::from_str(&ours).expect("one line of JSON");
    assert_eq!(ours["islands"][0]["state"], "solved", "{case} {seed}");
    let buses = ours["buses"].as_array().expect("buses");
    assert_eq!(buses.len(), theirs.as_object().expect("theirs").len());
    for bus in buses {
        let name = bus["name"].as_str().expect("a name");
        let v = voltages(&bus["v_pu"]);
        assert_eq!(v.len(), phases);
        for who in ["pandapower", "opendss"] {
            for (ours, theirs) in v.iter().zip(voltages(&theirs[name][who])) {
                assert!(
                    (ours - theirs).abs() <= NEAR_PU,
                    "{case} {seed}, {name}: {ours}, {who} says {theirs}"
                );
            }
        }
    }
}

#[test]
#[ignore = "needs peers"]
fn the_cigre_benchmark_is_solved_as_pandapower_and_opendss_solve_it() {
    check("cigre", 7, 1);
}

#[test]
#[ignore = "needs peers"]
fn the_cigre_benchmark_with_uneven_phases_is_solved_as_they_solve_it() {
    check("cigre_unbalanced", 7, 3);
}

#[test]
#[ignore = "needs peers"]
fn random_feeders_with_all_kinds_of_loads_are_solved_as_they_solve_them() {
    for seed in [1, 2, 3, 4] {
        check("random", seed, 1);
    }
}

#[test]
#[ignore = "needs peers"]
fn random_feeders_with_uneven_phases_are_solved_as_they_solve_them() {
    for seed in [1, 2, 3, 4] {
        check("random_unbalanced", seed, 3);
    }
}

/// Largest difference of a fall of the frequency, as a share of it.
/// Source: what the issue of the plant asks for; the two agree to a thousandth.
const NEAR_FALL: f64 = 0.05;

/// What a scenario's checks have found, by name.
fn found(scenario: &str) -> Vec<(String, f64)> {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let out = out.to_str().expect("a path of text");
    let _told = text_of(gridrig().with([
        "test", scenario, "--speed", "max", "--seed", "7", "--out", out,
    ]));
    let result = std::fs::read_to_string(folder.path().join("run/result.json")).expect("a result");
    let result: Value = serde_json::from_str(&result).expect("JSON");
    let checks = result["scenarios"][0]["checks"].as_array().expect("checks");
    let told = |check: &Value| Some((check["name"].as_str()?.into(), check["value"].as_f64()?));
    checks.iter().filter_map(told).collect()
}

#[test]
#[ignore = "needs peers"]
fn an_island_of_a_diesel_set_falls_as_deep_as_andes_says() {
    // The set, its load and the step of the scenario and its rig.
    let theirs = json_of(
        "andes_island.py",
        [
            ["--s-kva", "30"],
            ["--h", "1.5"],
            ["--droop", "0.04"],
            ["--lag", "0.3"],
            ["--damping", "1"],
            ["--load-kw", "12"],
            ["--step-kw", "6"],
        ]
        .concat(),
    );
    let ours = found("tests/scenarios/plant/diesel-nadir.toml");
    for (name, key) in [("nadir", "nadir_hz"), ("steady", "steady_hz")] {
        let (_, ours) = ours.iter().find(|(n, _)| n.starts_with(name)).expect(name);
        let theirs = theirs[key].as_f64().expect(key);
        let (fall, their_fall) = (50.0 - ours, 50.0 - theirs);
        assert!(
            (fall - their_fall).abs() <= NEAR_FALL * their_fall,
            "{name}: {ours} Hz, ANDES says {theirs}"
        );
    }
}
