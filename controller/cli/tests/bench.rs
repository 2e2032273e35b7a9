//! Verbs that run a bench: emulated, absent, interrupted, killed.

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::Stdio;

use common::{Done, Place, Running, campus, until};
use serde_json::Value;

/// Every file of a complete run folder.
const COMPLETE: &[&str] = &[
    "result.json",
    "events.jsonl",
    "samples.csv.zst",
    "journal",
    "junit.xml",
    "report.html",
    "ledger/universe.json",
    "env.json",
    "repro.sh",
];

fn is_complete(place: &Place, run: &str) {
    for file in COMPLETE {
        assert!(place.path(run).join(file).exists(), "{run} has no {file}");
    }
}

/// Ledger verifies, and control and market come out again.
fn is_proved(place: &Place, run: &str) {
    place.gridrig(&["ledger", "verify", run]).exits(0);
    for words in [["replay", run].as_slice(), &["market", "replay", run]] {
        let done = place.gridrig(words);
        assert!(
            done.exits(0).stdout.starts_with("IDENTICAL"),
            "{}",
            done.stdout
        );
    }
}

#[test]
fn a_demo_in_virtual_time_leaves_a_complete_proved_run() {
    let place = Place::new();
    let done = place.gridrig(&[
        "demo", "--speed", "max", "--for", "40s", "--out", "run", "--json",
    ]);
    let told = done.exits(0).json();
    assert_eq!(told["verdict"], "pass");
    let counters = &told["counters"];
    assert!(counters["cycles"].as_u64() > Some(390), "{counters}");
    assert_eq!(counters["dispatches"], counters["dispatches_logged"]);
    is_complete(&place, "run");
    is_proved(&place, "run");
}

#[test]
fn the_same_seed_gives_the_same_ledger_in_virtual_time() {
    let place = Place::new();
    let root = |seed: &str, out: &str| {
        let words = [
            "demo", "--speed", "max", "--for", "20s", "--seed", seed, "--out", out,
        ];
        place.gridrig(&words).exits(0);
        place.result(out)["ledger"]["root"].clone()
    };
    let first = root("7", "a");
    assert!(first.is_string());
    assert_eq!(first, root("7", "b"));
    assert_ne!(first, root("8", "c"));
}

#[test]
fn a_damaged_ledger_exits_with_6_and_a_damaged_journal_is_no_replay() {
    let place = Place::new();
    let words = ["demo", "--speed", "max", "--for", "10s", "--out", "run"];
    place.gridrig(&words).exits(0);
    let log = place.path("run/ledger/segment-00000001.log");
    let whole = std::fs::read(&log).expect("the log is there");
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&log, &bytes).expect("the log is changed");
    let done = place.gridrig(&["ledger", "verify", "run"]);
    assert!(done.exits(6).stdout.contains("FAILED"), "{}", done.stdout);

    // The end is cut off at a batch: only what the run noted down can tell.
    std::fs::write(&log, &whole[..whole.len() - 200]).expect("the log is cut");
    place.gridrig(&["ledger", "verify", "run"]).exits(6);

    let journal = place.path("run/journal");
    let mut bytes = std::fs::read(&journal).expect("the journal is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&journal, &bytes).expect("the journal is changed");
    let done = place.gridrig(&["replay", "run"]);
    assert!(
        done.exits(2).stderr.contains("error[C010]"),
        "{}",
        done.stderr
    );
}

#[test]
fn a_ledger_of_another_universe_is_not_verified() {
    let place = Place::new();
    for (seed, out) in [("1", "a"), ("2", "b")] {
        let words = [
            "demo", "--speed", "max", "--for", "5s", "--seed", seed, "--out", out,
        ];
        place.gridrig(&words).exits(0);
    }
    let verify = |universe: &str| place.gridrig(&["ledger", "verify", "a", "--universe", universe]);
    verify("a/ledger/universe.json").exits(0);
    verify("b/ledger/universe.json").exits(6);
    verify("a/result.json").exits(2);
    let shown = place.gridrig(&["--json", "ledger", "show", "a"]);
    let first: Value = serde_json::from_str(shown.exits(0).stdout.lines().next().expect("a line"))
        .expect("each line is an object");
    for key in ["clock", "atom", "kind", "author", "shards", "utc"] {
        assert!(first.get(key).is_some(), "{key}");
    }
}

#[test]
fn a_port_in_use_is_an_infrastructure_error_with_its_code() {
    let place = Place::new();
    let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = held.local_addr().expect("it has an address").to_string();
    let words = ["demo", "--for", "2s", "--listen", &address, "--out", "run"];
    let done = place.gridrig(&words);
    assert!(
        done.exits(3).stderr.contains("error[R024]"),
        "{}",
        done.stderr
    );
    let result = place.result("run");
    assert_eq!(result["verdict"], "infrastructure");
    assert!(
        result["why"]
            .as_str()
            .expect("it says why")
            .contains("R024")
    );
}

#[test]
fn a_page_beyond_the_own_machine_is_refused() {
    let place = Place::new();
    let words = [
        "demo",
        "--for",
        "2s",
        "--listen",
        "0.0.0.0:0",
        "--out",
        "run",
    ];
    let done = place.gridrig(&words);
    assert_ne!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stderr.contains("error["), "{}", done.stderr);
    assert!(place.path("run/result.json").exists());
}

#[test]
fn an_attempt_with_a_bad_rig_leaves_a_folder_that_says_why() {
    let place = Place::new();
    place.file("rig.toml", "schema = 1\nnonsense = 2\n");
    place
        .gridrig(&["demo", "--rig", "rig.toml", "--out", "run"])
        .exits(2);
    let result = place.result("run");
    assert_eq!(
        (&result["verdict"], &result["exit_code"]),
        (&"config".into(), &2.into())
    );
    assert!(
        result["why"]
            .as_str()
            .expect("it says why")
            .contains("nonsense")
    );
    assert!(place.path("run/junit.xml").exists());
}

#[test]
fn an_absent_serial_port_and_a_kernel_without_can_are_told_clearly() {
    let place = Place::new();
    place.file(
        "rig.toml",
        r#"schema = 1
title  = "Nothing is plugged in"
site   = { v = "230V", f = "50Hz", phases = 3 }
safety = { heartbeat = "1s", on_lost = "safe" }
[bus]
rs1  = { kind = "modbus-rtu", port = "/dev/serial/by-id/not-there", baud = 9600 }
can0 = { kind = "can", uri = "socketcan://gridrigtest0" }
[device]
pcc  = { profile = "eastron/sdm630", bus = "rs1", unit = 1, role = "pcc" }
bat1 = { profile = "pylontech/lv-can", bus = "can0", role = "battery" }
"#,
    );
    let done = place.gridrig(&["check", "--live", "--within", "3s", "rig.toml"]);
    done.exits(3);
    let told: Vec<&str> = done
        .stderr
        .lines()
        .filter(|l| l.starts_with("error[R024]"))
        .collect();
    assert_eq!(told.len(), 2, "{}", done.stderr);
    assert!(
        told[0].contains("/dev/serial/by-id/not-there does not exist"),
        "{}",
        told[0]
    );
    assert!(told[1].contains("gridrigtest0"), "{}", told[1]);
    assert!(!done.stderr.contains("Os {"), "{}", done.stderr);

    // A run goes on without them, and says so in its events.
    let words = [
        "run",
        "rig.toml",
        "--headless",
        "--for",
        "3s",
        "--out",
        "run",
    ];
    place.gridrig(&words);
    let events = std::fs::read_to_string(place.path("run/events.jsonl")).expect("the run told");
    assert!(events.contains("not-there"), "{events}");
    assert!(events.contains("gridrigtest0"), "{events}");
}

#[test]
fn a_full_disk_is_told_with_its_code_and_nothing_pretends_to_have_been_logged() {
    let place = Place::new();
    // A limit of 64 blocks for every file of the process stands in for a disk without space.
    let done =
        place.shell("ulimit -f 64; exec $G demo --headless --speed max --for 10min --out run");
    assert_eq!(done.code, Some(3), "{}", done.stderr);
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    assert!(
        done.stderr.contains("error[ledger-file-too-large]"),
        "{}",
        done.stderr
    );
    let counters = place.result("run")["counters"].clone();
    assert_eq!(counters["dispatches"], counters["dispatches_logged"]);
    // What was acknowledged before is still proved.
    place.gridrig(&["ledger", "verify", "run"]).exits(0);
}

#[test]
fn a_folder_that_cannot_be_made_is_an_infrastructure_error() {
    let place = Place::new();
    place.file("file", "");
    let words = ["demo", "--headless", "--for", "1s", "--out", "file/run"];
    let done = place.gridrig(&words);
    assert!(
        done.exits(3).stderr.contains("error[R025]"),
        "{}",
        done.stderr
    );
}

#[test]
fn ctrl_c_exits_with_130_and_leaves_a_complete_run() {
    let place = Place::new();
    let running = place.start(&["demo", "--headless", "--out", "run"]);
    let journal = place.path("run/journal");
    until("the journal", || {
        std::fs::metadata(&journal).is_ok_and(|m| m.len() > 20_000)
    });
    running.signal("INT");
    let done = running.end();
    done.exits(130);
    is_complete(&place, "run");
    assert_eq!(place.result("run")["verdict"], "interrupted");
    assert_eq!(place.result("run")["counters"]["database_lost"], 0);
    let [whole, record, database] = exported_of_each(&place, "run");
    assert!(whole.len() > 50, "{} samples", whole.len());
    assert_eq!(record, database);
    assert_eq!(whole, database);
    is_proved(&place, "run");
}

#[test]
fn a_terminated_daemon_comes_to_its_safe_end_and_exits_with_0() {
    let place = Place::new();
    campus(&place);
    let words = [
        "run",
        "campus.toml",
        "--on",
        "sim",
        "--arm",
        "--headless",
        "--out",
        "run",
    ];
    let running = place.start(&words);
    let journal = place.path("run/journal");
    until("the journal", || {
        std::fs::metadata(&journal).is_ok_and(|m| m.len() > 20_000)
    });
    running.signal("TERM");
    running.end().exits(0);
    is_complete(&place, "run");
    is_proved(&place, "run");
}

#[test]
fn a_run_that_is_not_armed_writes_nothing() {
    let place = Place::new();
    campus(&place);
    let words = [
        "run",
        "campus.toml",
        "--on",
        "sim",
        "--speed",
        "max",
        "--for",
        "60s",
        "--out",
        "run",
    ];
    place.gridrig(&words).exits(0);
    let counters = place.result("run")["counters"].clone();
    assert_eq!(counters["dispatches"], 0, "{counters}");
    assert!(counters["samples"].as_u64() > Some(100), "{counters}");
}

/// The rows that `report export` gives, without the line of names, in an order of their own.
fn exported(place: &Place, run: &str) -> BTreeSet<String> {
    let done = place.gridrig(&["report", "export", run]);
    let rows = done.exits(0).stdout.lines().skip(1);
    rows.map(str::to_owned).collect()
}

/// What is exported of a run, of its record alone, and of its database alone.
fn exported_of_each(place: &Place, run: &str) -> [BTreeSet<String>; 3] {
    let alone = |name: &str, files: &[&str]| {
        std::fs::create_dir(place.path(name)).expect("a folder");
        for file in files {
            // The log beside a database is there after a kill only.
            let _ = std::fs::copy(place.path(run).join(file), place.path(name).join(file));
        }
        exported(place, name)
    };
    [
        exported(place, run),
        alone("record", &["samples.csv.zst"]),
        alone(
            "database",
            &["samples.db", "samples.db-wal", "samples.db-shm"],
        ),
    ]
}

#[test]
fn after_kill_9_everything_acknowledged_is_proved_and_exported() {
    let place = Place::new();
    let running = place.start(&["demo", "--headless", "--out", "run"]);
    let log = place.path("run/ledger/segment-00000001.log");
    let journal = place.path("run/journal");
    until("ledger and journal", || {
        std::fs::metadata(&log).is_ok_and(|m| m.len() > 8_000)
            && std::fs::metadata(&journal).is_ok_and(|m| m.len() > 20_000)
    });
    running.signal("KILL");
    assert_eq!(running.end().code, None, "it was killed");
    is_proved(&place, "run");
    // Record and database are written one after the other: the kill may have come between.
    let [whole, record, database] = exported_of_each(&place, "run");
    assert!(whole.len() > 50, "{} samples", whole.len());
    assert_eq!(whole.len(), record.len().max(database.len()));
    assert!(record.is_subset(&whole) && database.is_subset(&whole));
    let shown = place.gridrig(&["ledger", "show", "run"]);
    assert!(
        shown.exits(0).stdout.contains("dispatch"),
        "{}",
        shown.stdout
    );
}

#[test]
fn a_device_is_read_point_by_point() {
    let place = Place::new();
    campus(&place);
    let words = [
        "--json",
        "device",
        "read",
        "campus.toml",
        "pcc",
        "ac.f",
        "ac.p",
        "--on",
        "sim",
    ];
    let told = place.gridrig(&words).exits(0).json();
    assert_eq!(told[0]["point"], "ac.f");
    let hertz = told[0]["value"].as_f64().expect("a frequency");
    assert!((49.5..50.5).contains(&hertz), "{told}");
    assert_eq!(
        (&told[0]["quality"], &told[0]["unit"]),
        (&"good".into(), &"Hz".into())
    );

    let absent = [
        "device",
        "read",
        "campus.toml",
        "pcc",
        "ac.f",
        "--within",
        "3s",
    ];
    let done = place.gridrig(&absent);
    assert!(
        done.exits(3).stderr.contains("error[R024]"),
        "{}",
        done.stderr
    );
}

#[test]
fn a_device_is_written_through_the_limiter_and_the_ledger() {
    let place = Place::new();
    campus(&place);
    let write = |setpoint: &str, out: &str| {
        let words = [
            "--json",
            "device",
            "write",
            "campus.toml",
            "ess1",
            setpoint,
            "--arm",
            "--on",
            "sim",
            "--out",
            out,
        ];
        place.gridrig(&words)
    };
    let told = write("ctl.p_set=-1500W", "a").exits(0).json();
    let written = &told["written"][0];
    assert_eq!(written["proved"]["stage"], "register", "{told}");
    assert_eq!(written["clamped"], serde_json::json!([]));
    place.gridrig(&["ledger", "verify", "a"]).exits(0);
    let shown = place.gridrig(&["--json", "ledger", "show", "a"]).stdout;
    let atom = written["atom"].as_str().expect("it names its record");
    assert!(shown.contains(atom), "{atom} is not in {shown}");

    // The rig allows 10 kW.
    let told = write("ctl.p_set=50kW", "b").exits(0).json();
    let clamped = told["written"][0]["clamped"].to_string();
    assert!(clamped.contains("rating"), "{told}");
    assert!(
        told["written"][0]["approved"].to_string().contains("10"),
        "{told}"
    );
}

#[test]
fn the_emulators_of_a_rig_say_where_they_are_until_ctrl_c() {
    let place = Place::new();
    campus(&place);
    let mut child = place
        .command(&["sim", "campus.toml", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("gridrig starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let devices: Vec<Value> = lines
        .take(8)
        .map(|line| serde_json::from_str(&line.expect("a line")).expect("an object"))
        .collect();
    let of = |name: &str| {
        devices
            .iter()
            .find(|d| d["device"] == name)
            .expect("its line")
    };
    assert_eq!(of("pv1")["protocol"], "modbus-tcp");
    assert_eq!(of("pv1")["unit"], 1);
    let address = of("pv1")["address"].as_str().expect("an address");
    std::net::TcpStream::connect(address).expect("the emulator listens");
    assert!(
        of("pcc")["address"]
            .as_str()
            .is_some_and(|a| a.starts_with("/dev/pts/"))
    );
    assert!(
        of("bat1")["address"]
            .as_str()
            .is_some_and(|a| a.starts_with("socketcand://"))
    );
    assert!(
        of("plug1")["address"]
            .as_str()
            .is_some_and(|a| a.starts_with("mqtt://"))
    );
    let id = child.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-s", "INT", &id])
        .status();
    assert!(sent.is_ok_and(|s| s.success()));
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
}

#[test]
fn the_demo_shows_three_things_to_try_that_work() {
    let place = Place::new();
    let mut child = place
        .command(&[
            "demo",
            "--listen",
            "127.0.0.1:0",
            "--for",
            "8s",
            "--out",
            "run",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gridrig starts");
    let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut told = lines.map_while(Result::ok);
    let tries: Vec<String> = told
        .by_ref()
        .filter_map(|l| {
            let line = l.trim();
            let (number, command) = line.split_once(". ")?;
            number.parse::<u8>().ok().map(|_| command.to_owned())
        })
        .take(3)
        .collect();
    assert_eq!(tries.len(), 3);
    let state = place.shell(&tries[0].replace("curl", "curl -sS -m 5 -f"));
    assert!(state.exits(0).stdout.contains("plug1"), "{}", state.stdout);
    let island = place.shell(&tries[1].replace("curl", "curl -sS -m 5 -f"));
    island.exits(0);
    place.shell(&tries[2].replace("gridrig", "$G")).exits(0);
    // The rest is read so that the demo never writes into a closed pipe.
    let rest: Vec<String> = told.collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{rest:?}");
    let events = std::fs::read_to_string(place.path("run/events.jsonl")).expect("events");
    assert!(events.contains("island"), "{events}");
}

#[test]
fn a_running_bench_is_armed_only_by_who_confirms_and_is_disarmed_and_made_safe() {
    let place = Place::new();
    campus(&place);
    // A free port; taken again at once by the daemon.
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a port")
        .port();
    let api = format!("http://127.0.0.1:{port}");
    let listen = format!("127.0.0.1:{port}");
    let token = ("ARMING_TOKEN", "sesame-sesame-sesame");
    let _daemon = Running::of(
        place
            .command(&[
                "run",
                "campus.toml",
                "--on",
                "sim",
                "--listen",
                &listen,
                "--token-env",
                token.0,
                "--out",
                "run",
            ])
            .env(token.0, token.1)
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    let tell = |words: &[&str], with_token: bool| {
        let mut words = words.to_vec();
        words.extend(["--json", "--api", &api]);
        if with_token {
            words.extend(["--token-env", token.0]);
        }
        let output = place.command(&words).env(token.0, token.1).output();
        Done::of(output.expect("gridrig starts"))
    };
    // Where it is armed already, nothing is asked.
    let armed = || tell(&["arm"], true).code == Some(0);
    until("the difference", || tell(&["arm"], true).code == Some(2));
    assert!(!armed(), "without a terminal nobody has confirmed");
    assert_eq!(
        tell(&["arm", "--yes"], false).code,
        Some(3),
        "without the token"
    );
    assert!(!armed());
    tell(&["arm", "--yes"], true).exits(0);
    until("the arm", armed);
    let shown = place.gridrig(&["top", "--api", &api]);
    let first = shown
        .exits(0)
        .stdout
        .lines()
        .next()
        .unwrap_or("")
        .to_owned();
    assert!(
        first.contains("ARMED  ") && first.contains(" has the bench for "),
        "{first}"
    );
    for line in [
        "─[closed]─",
        "\nbat1 ",
        "\nrs1 ",
        "Mode changed from starting",
    ] {
        assert!(shown.stdout.contains(line), "{line}: {}", shown.stdout);
    }
    let state = place.gridrig(&["top", "--api", &api, "--json"]).json();
    assert_eq!(state["cycle"]["armed"], true, "{state}");
    tell(&["disarm"], true).exits(0);
    until("the disarm", || !armed());
    tell(&["safe"], false).exits(0);
}
