//! `gridrig doctor`: what is measured, what is found, and what it ends with.

mod common;

use common::Place;

#[test]
fn a_machine_is_measured_and_the_exit_code_says_whether_it_is_good_enough() {
    let place = Place::new();
    let done = place.gridrig(&["doctor", "--for", "200ms", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    let sustains = told["sustains_ms"].as_f64();
    let is_enough = sustains.is_some_and(|ms| ms <= 100.0);
    done.exits(if is_enough { 0 } else { 3 });
    assert_eq!(told["verdict"] == "pass", is_enough, "{told}");
    assert!(told["lateness_ms"]["n"].as_u64() > Some(5), "{told}");
    assert!(told["record_ms"]["p50"].as_f64() > Some(0.0), "{told}");
    let findings = told["findings"].as_array().expect("a list");
    for what in [
        "SCHED_FIFO",
        "locked memory",
        "records on the disk",
        "wall clock",
    ] {
        let one = findings.iter().find(|f| f["what"] == what);
        let one = one.unwrap_or_else(|| panic!("{what}: {told}"));
        let is_good = one["state"] == "good";
        assert_eq!(one["help"] == "", is_good, "{one}");
    }
    let left = std::fs::read_dir(place.path(".")).expect("a folder");
    assert_eq!(left.count(), 0, "nothing is left behind");
}

#[test]
fn a_line_of_the_rig_that_is_not_there_is_bad_and_told_with_its_remedy() {
    let place = Place::new();
    place.file(
        "rig.toml",
        "schema = 1\nsite = { v = \"230V\", f = \"50Hz\", phases = 1 }\n[bus]\n\
         rs1 = { kind = \"modbus-rtu\", port = \"/dev/there-is-no-line\" }\n[device]\n\
         pcc = { profile = \"eastron/sdm120\", bus = \"rs1\", unit = 1, role = \"pcc\" }\n",
    );
    let done = place.gridrig(&["doctor", "rig.toml", "--for", "50ms"]);
    let told = &done.exits(3).stdout;
    for text in [
        "bad",
        "/dev/there-is-no-line",
        "dialout",
        "This box sustains",
    ] {
        assert!(told.contains(text), "{text}: {told}");
    }
    let nowhere = place.gridrig(&["doctor", "--for", "50ms", "--dir", "nowhere"]);
    assert!(nowhere.stderr.contains("R025"), "{}", nowhere.stderr);
    assert!(!nowhere.stdout.contains("sustains"));
    place.gridrig(&["doctor", "--for", "0s"]).exits(2);
}
