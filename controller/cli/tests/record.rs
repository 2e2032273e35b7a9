//! `gridrig device watch` and `record`.

mod common;

use common::{Place, repository};
use serde_json::Value;

fn zoo() -> String {
    repository("rigs/virtual/zoo.toml").display().to_string()
}

fn rows(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("each line is an object"))
        .collect()
}

#[test]
fn a_recording_holds_the_wire_and_what_was_read_from_it_and_replaces_no_file() {
    let place = Place::new();
    for (device, wire, points) in [
        ("met_sdm630", "modbus", 10),
        ("bat_pylontech", "can", 10),
        ("plug_tasmota", "mqtt", 5),
        ("src_generic", "scpi", 4),
    ] {
        let out = format!("{device}.jsonl");
        let rig = zoo();
        let words = [
            "device", "record", &rig, device, "--for", "3s", "--out", &out, "--on", "sim",
        ];
        place.gridrig(&words).exits(0);
        let text = std::fs::read_to_string(place.path(&out)).expect("it was recorded");
        let rows = rows(&text);
        assert_eq!(rows[0]["capture"], 1);
        let first = rows.iter().position(|r| !r[wire].is_null());
        let value = rows.iter().position(|r| r["quality"] == "good");
        assert!(first < value, "{device}: a value came before its words");
        let mut known: Vec<&str> = rows.iter().filter_map(|r| r["point"].as_str()).collect();
        known.sort_unstable();
        known.dedup();
        assert!(known.len() >= points, "{device}: {known:?}");
        let again = place.gridrig(&words);
        assert!(
            again.exits(2).stderr.contains("error[C003]"),
            "{}",
            again.stderr
        );
    }
}

#[test]
fn a_watched_point_is_told_when_it_changes_with_its_age_and_quality() {
    let place = Place::new();
    let rig = zoo();
    let words = [
        "--json",
        "device",
        "watch",
        &rig,
        "met_sdm630",
        "--point",
        "ac.p",
        "--for",
        "3s",
        "--on",
        "sim",
    ];
    let done = place.gridrig(&words);
    let rows = rows(&done.exits(0).stdout);
    assert!(rows.len() > 1, "{}", done.stdout);
    for row in &rows {
        assert_eq!(row["point"], "ac.p");
        assert_eq!(row["quality"], "good");
        assert!(row["age_s"].as_f64() < Some(2.0), "{row}");
    }
    assert_ne!(rows[0]["value"], rows[1]["value"]);
    let wrong = [
        "device",
        "watch",
        &rig,
        "met_sdm630",
        "--point",
        "ac.power",
        "--on",
        "sim",
    ];
    let done = place.gridrig(&wrong);
    assert!(
        done.exits(2).stderr.contains("error[C005]"),
        "{}",
        done.stderr
    );
}
