//! What a run folder says of its run, however that ended, and what can be made of it afterwards.

mod common;

use common::{Place, until};

const HOLDS: &str = r#"{ band = "grid.f", from = "t0", for = "1s", within = "49.5..50.5Hz" }"#;
const FAILS: &str = r#"{ band = "grid.f", from = "t0", for = "1s", within = "51..52Hz" }"#;

/// A scenario of the demo bench.
fn scenario(name: &str, tag: &str, checks: &[&str]) -> String {
    format!(
        "name = \"{name}\"\ntags = [\"{tag}\"]\ndo = [{{ at = \"1s\", mark = \"t0\" }}]\ncheck = [{}]\n",
        checks.join(",\n")
    )
}

fn text(place: &Place, name: &str) -> String {
    std::fs::read_to_string(place.path(name)).expect("it was written")
}

#[test]
fn a_runner_that_was_killed_leaves_a_record_that_no_reader_takes_for_a_result() {
    let place = Place::new();
    for name in ["a", "b"] {
        place.file(&format!("s/{name}.toml"), &scenario(name, "x", &[HOLDS]));
    }
    let words = [
        "test", "s", "--repeat", "1000", "--shard", "1/2", "--out", "one",
    ];
    let running = place.start(&words);
    until("a record with a scenario", || {
        let record = std::fs::read_to_string(place.path("one/result.json"));
        record.is_ok_and(|text| text.contains("\"checks\""))
    });
    let goes_on = place.gridrig(&["report", "diff", "one", "one"]);
    assert!(
        goes_on.exits(2).stderr.contains("C026"),
        "{}",
        goes_on.stderr
    );
    running.signal("KILL");
    assert_eq!(running.end().code, None, "it had no time to say anything");

    let record = place.result("one");
    assert_eq!(record["status"], "running");
    assert_eq!(
        (&record["verdict"], &record["exit_code"]),
        (&"interrupted".into(), &130.into())
    );
    assert_eq!(record["shard"]["part"], 1);
    assert!(text(&place, "one/repro.sh").contains("--repeat 1000"));
    assert!(text(&place, "one/junit.xml").contains("type=\"interrupted\""));
    let told = place.gridrig(&["report", "diff", "one", "one"]);
    assert!(
        told.exits(0).stderr.contains("was killed"),
        "{}",
        told.stderr
    );
    let opened = place.shell("DISPLAY= WAYLAND_DISPLAY= $G report open one");
    opened.exits(0);
    let report = text(&place, "one/report.html");
    assert!(report.contains("was killed") && report.contains("grid.f"));

    place
        .gridrig(&["test", "s", "--shard", "2/2", "--out", "two"])
        .exits(0);
    let merge = place.gridrig(&["report", "merge", "one", "two", "--out", "whole"]);
    assert!(
        merge
            .exits(130)
            .stdout
            .contains("part 1: its runner was killed"),
        "{}",
        merge.stdout
    );
    let whole = place.result("whole");
    assert_eq!(
        (&whole["status"], &whole["verdict"]),
        (&"ended".into(), &"interrupted".into())
    );
    let junit = text(&place, "whole/junit.xml");
    assert!(
        junit.contains("<testcase name=\"run\"") && junit.contains("was killed"),
        "{junit}"
    );
}

#[test]
fn a_report_that_does_not_fit_is_told_and_what_was_recorded_is_kept() {
    for (check, code) in [(HOLDS, 3), (FAILS, 1)] {
        let place = Place::new();
        // Each check has a picture, so that the report is far longer than all records.
        place.file("s.toml", &scenario("wide", "x", &[check; 80]));
        // As on a full disk, but without one: no file may grow beyond 150 KiB. Shells count in blocks
        // of 512 bytes or of one KiB.
        let limit =
            "case $(readlink -f /proc/$$/exe) in *bash) ulimit -f 150;; *) ulimit -f 300;; esac";
        let done = place.shell(&format!("{limit}; $G test s.toml --out run"));
        done.exits(code);
        for told in [
            "error[R025]",
            "run/report.html cannot be written",
            "are in run",
        ] {
            assert!(done.stderr.contains(told), "{told}: {}", done.stderr);
        }
        let result = place.result("run");
        assert_eq!(
            (&result["status"], &result["exit_code"]),
            (&"ended".into(), &code.into())
        );
        assert_eq!(
            result["scenarios"][0]["checks"].as_array().map(Vec::len),
            Some(80)
        );
        let report = text(&place, "run/report.html");
        assert!(
            report.contains("cannot be written"),
            "a short report says why"
        );
        assert!(
            !place.path("run/.report.html.part").exists(),
            "half a file takes room"
        );
        let rows = place.gridrig(&["report", "export", "run"]).stdout;
        assert!(rows.lines().count() > 100, "the samples are there");
        place
            .gridrig(&["ledger", "verify", "run/001-wide"])
            .exits(0);
    }
}

#[test]
fn a_report_is_laid_out_for_the_kind_of_test_and_names_what_was_not_tested() {
    let place = Place::new();
    place.file("s/a.toml", &scenario("Trip <1>", "trip", &[HOLDS]));
    place.file("s/b.toml", &scenario("Own one", "mine", &[HOLDS]));
    let words = [
        "test",
        "s",
        "--out",
        "run",
        "--report-template",
        "der-conformance",
    ];
    place.gridrig(&words).exits(0);
    let report = text(&place, "run/report.html");
    for wanted in [
        "Conformance tests of a distributed energy resource",
        "IEEE 1547.1, which was not read for it",
        "Serial number",
        "Other scenarios",
        "No scenario of this run belongs here.",
        "not tested",
        "Tested by",
        "<svg",
        "signed by node <code>",
    ] {
        assert!(report.contains(wanted), "{wanted}");
    }
    let order = [
        "abnormal voltage and frequency: trip</h2>",
        "Trip &lt;1&gt;</h2>",
        "Other scenarios</h2>",
        "Own one</h2>",
    ];
    let at: Vec<Option<usize>> = order.iter().map(|text| report.find(text)).collect();
    assert!(at.iter().all(Option::is_some) && at.is_sorted(), "{at:?}");

    let other = "DISPLAY= WAYLAND_DISPLAY= $G report open run --template hil-commissioning";
    let opened = place.shell(other);
    assert!(
        opened
            .exits(0)
            .stdout
            .ends_with("run/report-hil-commissioning.html\n")
    );
    let again = text(&place, "run/report-hil-commissioning.html");
    assert!(again.contains("<svg") && again.contains("IEC TS 62898-3-5:2026"));
    assert!(again.contains("Protection settings of the devices"));

    place.file(
        "own.toml",
        "title = \"Ours\"\n[[section]]\nheading = \"Mine\"\ntags = [\"mine\"]\n",
    );
    place
        .shell("DISPLAY= WAYLAND_DISPLAY= $G report open run --template own.toml")
        .exits(0);
    assert!(text(&place, "run/report-own.html").contains(">Mine</h2>"));
    for (words, code) in [
        (&["report", "open", "run", "--template", "none"][..], "C027"),
        (
            &["test", "s", "--report-template", "none", "--out", "x"],
            "C027",
        ),
    ] {
        let done = place.gridrig(words);
        assert!(done.exits(2).stderr.contains(code), "{}", done.stderr);
    }
}

#[test]
fn a_value_beyond_its_budget_fails_the_run_that_has_a_baseline() {
    let place = Place::new();
    place.file("s.toml", &scenario("Band", "x", &[HOLDS]));
    place
        .gridrig(&["test", "s.toml", "--out", "before"])
        .exits(0);
    let mut before = place.result("before");
    let value = &mut before["scenarios"][0]["checks"][0]["value"];
    *value = (value.as_f64().expect("a value") + 0.1).into();
    place.file("before/result.json", &before.to_string());
    let file = |check: &str, by: &str| format!("[[budget]]\ncheck = \"{check}\"\nby = \"{by}\"\n");
    for (n, (check, by, code)) in [
        ("band", "150mHz", 0),
        ("band", "50mHz", 1),
        ("t90", "50mHz", 0),
    ]
    .into_iter()
    .enumerate()
    {
        place.file("budgets.toml", &file(check, by));
        let out = format!("run{n}");
        let words = [
            "test",
            "s.toml",
            "--baseline",
            "before",
            "--budgets",
            "budgets.toml",
            "--out",
            &out,
        ];
        let done = place.gridrig(&words);
        done.exits(code);
        let diff = [
            "report",
            "diff",
            "before",
            &out,
            "--budgets",
            "budgets.toml",
        ];
        place.gridrig(&diff).exits(code);
        let junit = text(&place, &format!("{out}/junit.xml"));
        assert_eq!(junit.contains("1 regressions since"), code == 1, "{junit}");
        assert_eq!(
            done.stderr.contains("too far: Band"),
            code == 1,
            "{}",
            done.stderr
        );
        let only_shown = [
            "test",
            "s.toml",
            "--baseline",
            "before",
            "--out",
            &format!("shown{n}"),
        ];
        place.gridrig(&only_shown).exits(0);
    }
    place.file("budgets.toml", "within = \"much\"\n");
    let wrong = [
        "test",
        "s.toml",
        "--baseline",
        "before",
        "--budgets",
        "budgets.toml",
        "--out",
        "x",
    ];
    let told = place.gridrig(&wrong);
    assert!(
        told.exits(2).stderr.contains("budgets.toml:1:10"),
        "{}",
        told.stderr
    );
}

/// A rig of one device that is not there.
fn absent(port: u16) -> String {
    format!(
        "schema = 1\ntitle = \"Nobody\"\nsite = {{ v = \"230V\", f = \"50Hz\", phases = 1 }}\n[bus]\n\
         lan1 = {{ kind = \"modbus-tcp\", host = \"127.0.0.1\", port = {port}, timeout = \"100ms\" }}\n[device]\n\
         met1 = {{ profile = \"eastron/sdm630\", bus = \"lan1\", unit = 1, role = \"meter\" }}\n"
    )
}

#[test]
fn a_bench_has_one_run_at_a_time_and_is_recovered_once_before_it_is_given_up() {
    let place = Place::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    place.file("rig.toml", &absent(port.expect("a free port").port()));
    let check = r#"{ band = "met1.p", within = "0..1W" }"#;
    place.file("s.toml", &scenario("Nobody", "x", &[check]));
    let holds = [
        "run",
        "rig.toml",
        "--on",
        "bench",
        "--headless",
        "--for",
        "3s",
        "--out",
        "first",
    ];
    let first = place.start(&holds);
    until("the first run", || place.path("first/journal").exists());
    let words = [
        "test", "s.toml", "--rig", "rig.toml", "--on", "bench", "--out",
    ];
    let refused = place.gridrig(&[&words[..], &["second"]].concat());
    let told = &refused.exits(3).stderr;
    assert!(
        told.contains("C029") && told.contains("`gridrig run`"),
        "{told}"
    );
    assert_eq!(place.result("second")["verdict"], "infrastructure");

    let waits = [
        "third",
        "--wait",
        "30s",
        "--recover",
        "echo again >> recovered",
    ];
    let waited = place.gridrig(&[&words[..], &waits].concat());
    let told = &waited.stderr;
    assert!(told.contains("Waits for the bench"), "{told}");
    first.end();
    let result = place.result("third");
    println!("{:?} {}", waited.code, result["scenarios"][0]["why"]);
    let recovered = std::fs::read_to_string(place.path("recovered")).unwrap_or_default();
    assert_eq!(waited.code, Some(3));
    assert_eq!(recovered, "again\n", "once");
    assert_eq!(result["counters"]["bench_recovered"], 1);
    for wrong in ["--wait=1s", "--recover=true"] {
        let done = place.gridrig(&["test", "s.toml", wrong]);
        assert!(done.exits(2).stderr.contains("C001"), "{}", done.stderr);
    }
}
