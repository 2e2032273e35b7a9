//! Verbs that only read files: words, places and exit codes.

mod common;

use common::Place;
use serde_json::{Value, json};

const BAD_RIG: &str = r#"schema = 1
title  = "Bad"
site   = { v = "230V", f = "50Hz", phases = 1 }
safety = { heartbeat = "1s", on_lost = "safe" }

[bus]
lan1 = { kind = "modbus-tcp", host = "127.0.0.1", port = 15020, timeot = "300ms" }

[device]
pcc = { profile = "eastron/sdm63", bus = "lan1", unit = 1, role = "pcc" }
pv1 = { profile = "sunspec/inverter", bus = "lan1", unit = 2, role = "pv", limits = { p = "0..15kV" } }
pv2 = { profile = "sunspec/inverter", bus = "lan1", unit = 3, role = "pv", limits = { p = "0..15kW" } }
pv3 = { profile = "sunspec/inverter", bus = "lan1", unit = 3, role = "pv", limits = { p = "0..2kW" } }

[emulate]
pv2 = { rated = "3kVA" }
"#;

#[test]
fn every_fault_of_a_rig_is_drawn_with_its_place_and_its_mend() {
    let place = Place::new();
    place.file("rig.toml", BAD_RIG);
    let done = place.gridrig(&["check", "rig.toml"]);
    done.exits(2);
    let drawn = |lines: &[&str]| {
        let text = lines.join("\n");
        assert!(
            done.stderr.contains(&text),
            "{text}\n--- not in\n{}",
            done.stderr
        );
    };
    drawn(&[
        "error[D002]: unknown key `bus.lan1.timeot`",
        " --> rig.toml:7:65",
        "  |",
        r#"7 | lan1 = { kind = "modbus-tcp", host = "127.0.0.1", port = 15020, timeot = "300ms" }"#,
        "  |                                                                 ^^^^^^ nothing reads this",
        "  |",
        "  = help: did you mean `timeout`?",
    ]);
    drawn(&[
        "error[R002]: there is no profile `eastron/sdm63`",
        "  --> rig.toml:10:19",
        "   |",
        r#"10 | pcc = { profile = "eastron/sdm63", bus = "lan1", unit = 1, role = "pcc" }"#,
        "   |                   ^^^^^^^^^^^^^^^ neither bundled nor a file beside the rig",
        "   |",
        "   = help: did you mean `eastron/sdm630`?",
    ]);
    for (code, at) in [
        ("D007", "rig.toml:11:91"),
        ("R012", "rig.toml:12:"),
        ("R003", "rig.toml:13:"),
    ] {
        let head = format!("error[{code}]");
        let after = done.stderr.split(&head).nth(1);
        let place = after.and_then(|rest| rest.lines().nth(1)).unwrap_or("");
        assert!(place.contains(at), "{code}: {place}\n{}", done.stderr);
    }
}

#[test]
fn check_looks_into_the_devices_that_a_scenario_has_to_catch() {
    let place = Place::new();
    place.file("der.toml", include_str!("../../../rigs/virtual/der.toml"));
    for (mutants, code) in [
        ("{ pv1 = [{ defect = \"no_latch\" }] }", None),
        ("{ pv1 = [{ defect = \"no_lunch\" }] }", Some("D006")),
        ("{ pv9 = [{ defect = \"no_latch\" }] }", Some("R067")),
        ("{ pv1 = [{ }] }", Some("S022")),
    ] {
        let text = format!(
            "name = \"n\"\nrig = \"der.toml\"\nmutants = {mutants}\ncheck = [{{ ledger = \"complete\" }}]\n"
        );
        place.file("s.toml", &text);
        let done = place.gridrig(&["check", "s.toml"]);
        let done = done.exits(if code.is_some() { 2 } else { 0 });
        if let Some(code) = code {
            let head = format!("error[{code}]");
            assert!(done.stderr.contains(&head), "{mutants}: {}", done.stderr);
        }
    }
}

#[test]
fn check_tells_machines_the_same() {
    let place = Place::new();
    place.file("rig.toml", BAD_RIG);
    let done = place.gridrig(&["--json", "check", "rig.toml"]);
    let told = done.exits(2).json();
    assert_eq!(told["exit_code"], 2);
    let file = &told["files"][0];
    assert_eq!((&file["kind"], &file["ok"]), (&json!("rig"), &json!(false)));
    let first = &file["diagnostics"][0];
    assert_eq!(first["code"], "D002");
    assert_eq!(first["severity"], "error");
    assert_eq!(first["actor"], "author");
    assert_eq!((&first["line"], &first["column"]), (&json!(7), &json!(65)));
    assert_eq!(first["file"], "rig.toml");
    assert_eq!(first["help"], "did you mean `timeout`?");
}

#[test]
fn a_good_rig_is_told_with_its_devices_and_what_its_buses_carry() {
    let place = Place::new();
    common::campus(&place);
    let done = place.gridrig(&["check", "--json", "campus.toml"]);
    let summary = done.exits(0).json()["files"][0]["summary"].clone();
    assert_eq!(summary["devices"].as_array().map(Vec::len), Some(8));
    let serial = summary["buses"]
        .as_array()
        .and_then(|b| b.iter().find(|b| b["bus"] == "rs1"))
        .expect("the rig has rs1");
    let busy = serial["budget"]["busy_percent"].as_f64().expect("a budget");
    assert!((1.0..100.0).contains(&busy), "{busy}");
}

#[test]
fn a_line_that_is_asked_for_too_much_is_told() {
    let place = Place::new();
    let rig = common::campus(&place);
    let text = std::fs::read_to_string(rig).expect("the rig was written");
    place.file("slow.toml", &text.replace("115200", "2400"));
    let done = place.gridrig(&["check", "slow.toml"]);
    done.exits(0);
    assert!(
        done.stderr.contains("warning[R010]: bus `rs1`"),
        "{}",
        done.stderr
    );
}

#[test]
fn profiles_and_scenarios_are_known_by_what_stands_in_them() {
    let place = Place::new();
    for entry in walk(&common::repository("drivers/profile/devices")) {
        let done = place.gridrig(&["check", "--json", &entry]);
        let told = done.exits(0).json();
        assert_eq!(told["files"][0]["kind"], "profile", "{entry}");
        assert!(told["files"][0]["summary"]["budget"].is_object());
    }
    place.file("s.toml", "name = \"x\"\ncheck = []\ndo = []\n");
    let done = place.gridrig(&["check", "--json", "s.toml"]);
    assert_eq!(done.exits(2).json()["files"][0]["kind"], "scenario");
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path.display().to_string());
        }
    }
    files.sort();
    files
}

#[test]
fn usage_faults_exit_with_2_and_say_what_to_do() {
    let place = Place::new();
    common::campus(&place);
    place.file("full/file", "");
    place.file("notes.txt", "");
    let rows: &[(&[&str], &str)] = &[
        (&["seek"], "unrecognized subcommand"),
        (&["demo", "--for", "3"], "has no unit"),
        (&["demo", "--for", "0s"], "longer than nothing"),
        (&["demo", "--speed", "max"], "--for"),
        (
            &["run", "campus.toml", "--speed", "max", "--for", "1s"],
            "--on sim",
        ),
        (
            &["demo", "--headless", "--listen", "127.0.0.1:0"],
            "cannot be used",
        ),
        (
            &["demo", "--for", "1s", "--headless", "--out", "full"],
            "error[R025]",
        ),
        (&["check"], "required"),
        (&["check", "nowhere.toml"], "error[C003]"),
        (
            &["run", "nowhere.toml", "--on", "sim", "--out", "o1"],
            "error[R000]",
        ),
        (&["replay", "full"], "error[C004]"),
        (&["market", "replay", "full"], "error[ledger-missing]"),
        (&["market", "clear", "nowhere.json"], "error[C003]"),
        (&["ledger", "show", "full"], "error[ledger-missing]"),
        (&["ledger", "verify", "nowhere"], "error[C004]"),
        (&["explain", "R999"], "error[C008]"),
        (&["bench", "nothing"], "error[C001]"),
        (
            &["bench", "market", "--seconds", "5"],
            "the bench `market` has no `--seconds`",
        ),
        (&["bench", "cycles", "--seconds", "0"], "--seconds"),
        (
            &["device", "read", "campus.toml", "pvl"],
            "did you mean `pv1`?",
        ),
        (
            &["device", "read", "campus.toml", "pv1", "ac.pp"],
            "did you mean `ac.p`?",
        ),
        (
            &["device", "write", "campus.toml", "ess1", "ctl.p_set=1kW"],
            "error[C006]",
        ),
        (
            &["device", "write", "campus.toml", "ess1", "ctl.p_set=1"],
            "has no unit",
        ),
        (
            &["device", "write", "campus.toml", "pcc", "ctl.p_set=1kW"],
            "error[C005]",
        ),
        (&["test", "nowhere"], "error[C003]"),
        (&["test", "full", "-k", "and"], "error[C009]"),
        (&["test", "full", "--shard", "3/2"], "no part 3 of 2"),
    ];
    for (words, told) in rows {
        let done = place.gridrig(words);
        assert_eq!(done.code, Some(2), "{words:?}: {}", done.stderr);
        assert!(done.stderr.contains(told), "{words:?}: {}", done.stderr);
        for leak in ["panicked", "Os {", "RUST_BACKTRACE"] {
            assert!(!done.stderr.contains(leak), "{words:?}: {}", done.stderr);
        }
    }
}

#[test]
fn every_code_that_is_told_can_be_explained() {
    let place = Place::new();
    let rows = place.gridrig(&["--json", "explain"]).exits(0).json();
    let codes: Vec<&str> = rows
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|row| row["code"].as_str())
        .collect();
    for table in [
        "D001",
        "R012",
        "P001",
        "S001",
        "M001",
        "C001",
        "E000",
        "ledger-disk-full",
    ] {
        assert!(codes.contains(&table), "{table}");
    }
    let done = place.gridrig(&["explain", "r012"]);
    assert!(
        done.exits(0).stdout.starts_with("R012: "),
        "{}",
        done.stdout
    );
}

#[test]
fn the_vectors_of_the_market_clear_on_the_command_line() {
    let place = Place::new();
    let book = json!({"mech": "uniform_k_half", "in": {
        "bids": [["b1", 20_000, 1_000_000], ["b2", 10_000, 500_000]],
        "offers": [["o1", 8_000, 700_000], ["o2", 15_000, 600_000]],
    }});
    place.file("book.json", &book.to_string());
    let cleared = place
        .gridrig(&["market", "clear", "book.json"])
        .exits(0)
        .json();
    // The demand above 15000 is 1,000,000 and the supply up to there 1,300,000.
    assert_eq!(cleared["q"], 1_000_000, "{cleared}");
    let paid = place.gridrig(&["market", "clear", "book.json", "--mechanism", "pay_as_bid"]);
    assert_ne!(paid.exits(0).json(), cleared);
    let unknown = place.gridrig(&["market", "clear", "book.json", "--mechanism", "magic"]);
    unknown.exits(2);
    assert!(unknown.stderr.contains("error[M"), "{}", unknown.stderr);

    let book = r#"{"bids":[["b",30,5]],"offers":[["s",10,7]]}"#;
    let script = r#"{"mech":"cda","in":[["s","sell",9,4,"GTC"],["b","buy",12,6,"IOC"]]}"#;
    place.file("books.jsonl", &format!("{book}\n\n{script}\n"));
    let both = place.gridrig(&["market", "clear", "books.jsonl", "--lines"]);
    let lines: Vec<Value> = (both.exits(0).stdout.lines())
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    assert_eq!((lines.len(), &lines[0]["p"]), (2, &json!(10)), "{lines:?}");
    assert_eq!(lines[1]["trades"], json!([["b", "s", 4, 9]]));
    place.file("second.jsonl", &format!("{book}\n{{\"bids\":3}}\n"));
    let second = place.gridrig(&["market", "clear", "second.jsonl", "--lines"]);
    second.exits(2);
    assert!(
        second.stderr.contains("book in line 2"),
        "{}",
        second.stderr
    );
    assert_eq!(second.stdout.lines().count(), 1);

    place.file("broken.json", "{\"in\": \n  nonsense,\n  \"x\": 1}");
    let broken = place.gridrig(&["--json", "market", "clear", "broken.json"]);
    let told: Value = broken.exits(2).json();
    assert_eq!(told["diagnostics"][0]["code"], "M100");
    let at = &told["diagnostics"][0];
    assert_eq!((&at["line"], &at["column"]), (&json!(2), &json!(4)), "{at}");
}

#[test]
fn a_scenario_is_held_against_its_rig_and_one_that_others_include_is_known_as_such() {
    let place = Place::new();
    let rig = concat!(env!("CARGO_MANIFEST_DIR"), "/../../rigs/virtual/lab.toml");
    place.file(
        "s.toml",
        &format!(
            r#"name = "n"
rig = "{rig}"
include = ["common.toml"]
do = [{{ repeat = 2, do = [{{ at = "+1s", set = {{ "ess9.p" = "1kW" }} }}] }}]
check = [{{ never = "pv1.available > 1W" }}, {{ band = "ess1.p", from = "end", for = "1s", within = "0..1W" }}]
"#
        ),
    );
    place.file("common.toml", "setup = { within = \"3s\", do = [] }\n");
    let told = place
        .gridrig(&["check", "common.toml", "--json"])
        .exits(0)
        .json();
    assert_eq!(told["files"][0]["kind"], "fragment");
    let done = place.gridrig(&["check", "s.toml"]);
    done.exits(2);
    assert!(done.stderr.contains("S023"), "{}", done.stderr);
    let text = std::fs::read_to_string(place.path("s.toml")).expect("readable");
    place.file(
        "s.toml",
        &text.replace("from = \"end\", for = \"1s\", ", ""),
    );
    for verb in [["check", "s.toml"], ["test", "s.toml"]] {
        let done = place.gridrig(&verb);
        done.exits(2);
        for line in [
            " --> s.toml:4:49",
            " --> s.toml:5:20",
            "did you mean `ess1`?",
        ] {
            assert!(done.stderr.contains(line), "{line}: {}", done.stderr);
        }
    }
    let schema = place.gridrig(&["check", "--schema"]).exits(0).json();
    assert_eq!(schema["type"], "object");
}

#[test]
fn a_reader_that_leaves_is_no_fault() {
    let place = Place::new();
    // The reader has gone before the first word.
    let done = place.shell("{ sleep 0.3; $G explain; $G check --reference; } | true");
    done.exits(0);
    assert_eq!(done.stderr, "");
}

#[test]
fn benches_print_json() {
    let place = Place::new();
    let done = place.gridrig(&["bench", "market", "--size-max", "1000", "--rounds", "1"]);
    let told = done.exits(0).json();
    let orders: Vec<&Value> = told["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|r| &r["orders"])
        .collect();
    assert_eq!(orders, [100, 1_000]);
    assert!(
        told["continuous"]["operations_per_s"].as_u64() > Some(0),
        "{told}"
    );
    assert!(told["rows"][0]["whole_clear_ms"].as_f64().expect("a time") > 0.0);
}

#[test]
fn a_rig_with_a_network_passes_check_and_its_voltages_are_told() {
    let place = Place::new();
    let feeder = common::repository("rigs/virtual/feeder.toml");
    let feeder = feeder.display().to_string();
    let done = place.gridrig(&["check", "--json", &feeder]);
    let told = done.exits(0).json();
    assert_eq!(told["files"][0]["ok"], true);
    let done = place.gridrig(&["plant", "flow", "--json", &feeder]);
    let told = done.exits(0).json();
    assert_eq!(told["islands"][0]["state"], "solved");
    let losses = told["losses_w"].as_f64().expect("losses");
    // The transformer's iron, and little else: 2 kW on 100 kVA.
    assert!((255.0..275.0).contains(&losses), "{losses}");
}

#[test]
fn a_network_that_asks_for_too_much_is_told_to_have_collapsed() {
    let place = Place::new();
    let network = "f = \"50Hz\"\n[network]\n\
        bus = [{ name = \"a\", v_ll = \"400V\" }, { name = \"b\", v_ll = \"400V\" }]\n\
        source = [{ bus = \"a\" }]\n\
        line = [{ name = \"l\", from = \"a\", to = \"b\", length_m = 300, r_ohm_per_km = 0.2, x_ohm_per_km = 0.08 }]\n\
        load = [{ bus = \"b\", p = \"5MW\" }]\n";
    let file = place.file("network.toml", network).display().to_string();
    let told = place
        .gridrig(&["--json", "plant", "flow", &file])
        .exits(1)
        .json();
    assert_eq!(told["islands"][0]["state"], "collapsed");
    assert_eq!(told["buses"][1]["v_pu"], serde_json::json!([0.0]));
    place.file(
        "network.toml",
        &network.replace("from = \"a\"", "from = \"c\""),
    );
    let done = place.gridrig(&["plant", "flow", &file]);
    done.exits(2);
    assert!(done.stderr.contains("error[R053]"), "{}", done.stderr);
}
