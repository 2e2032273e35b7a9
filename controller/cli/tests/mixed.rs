//! A bench of which a part is real: the real devices are another process here, behind a socket, as hardware
//! would be; the others are emulated in the process of the run.

#![allow(clippy::panic, reason = "a test that fails says so by a panic")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};

use common::{Place, until};
use serde_json::Value;

/// The storage, which is real; its charge is told by where it is, so that nobody takes one for the other.
fn storage(port: u16, emulate: &str) -> String {
    format!(
        r#"
schema = 1
title  = "The real half"
site   = {{ v = "230V", f = "50Hz", phases = 3 }}
[bus]
lan1 = {{ kind = "modbus-tcp", host = "127.0.0.1", port = {port}, timeout = "300ms" }}
[device]
ess1 = {{ profile = "sunspec/storage-inverter", bus = "lan1", unit = 1, role = "ess", limits = {{ p = "-3..3kW" }}, revert = "30s", poll = {{ fast = "100ms" }} }}
[emulate]
ess1 = {{ rated = "3kVA", soc = "77%", ramp = "50kW/s"{emulate} }}
"#
    )
}

/// The whole bench: what is in `[bench]`, and where the storage is.
fn bench(port: u16, section: &str) -> String {
    format!(
        r#"
schema = 1
title  = "Half real"
site   = {{ v = "230V", f = "50Hz", phases = 3 }}
[bench]
{section}
[bus]
lan1 = {{ kind = "modbus-tcp", host = "127.0.0.1", port = {port}, timeout = "300ms" }}
rs1  = {{ kind = "modbus-rtu", port = "/dev/nobody", baud = 115200, timeout = "150ms", min_gap = "2ms" }}
mq   = {{ kind = "mqtt", url = "mqtt://127.0.0.1:1" }}
[device]
ess1  = {{ profile = "sunspec/storage-inverter", bus = "lan1", unit = 1, role = "ess", limits = {{ p = "-3..3kW" }}, revert = "30s", poll = {{ fast = "100ms" }} }}
pcc   = {{ profile = "eastron/sdm630", bus = "rs1", unit = 1, role = "pcc", poll = {{ fast = "100ms" }} }}
brk1  = {{ profile = "generic/sync-breaker", bus = "rs1", unit = 2, role = "breaker", poll = {{ fast = "100ms" }} }}
plug1 = {{ profile = "tasmota/plug", bus = "mq", topic = "plug1", role = "load", shed = 1, limits = {{ p = "-2..0kW" }} }}
[emulate]
ess1  = {{ rated = "3kVA", soc = "20%" }}
plug1 = {{ p = "500W" }}
"#
    )
}

/// Real and emulated devices are commanded, and what only an emulated one has is set.
const SCENARIO: &str = r#"
name = "Both halves are commanded"
need = { ess = 1, source = "grid" }
do = [
  { at = "0s", set = { "ess1.p" = "1kW", "plug1.p" = "-700W" }, mark = "t0", until = { settle = "ess1.p", band = "60W", within = "10s" } },
  { at = "+1s", hold = { "plug1.on" = "off" }, mark = "t1" },
  { at = "+2s", mark = "t2" },
]
check = [
  { band = "ess1.p", from = "t2-1s", to = "t2", within = "0.9..1.1kW" },
  { band = "ess1.soc", from = "t0", to = "t2", within = "76..78%", max_gap = "90s" },
  { event = "setpoint_confirmed", device = "ess1" },
  { event = "setpoint_confirmed", device = "plug1" },
  { ledger = "complete" },
]
after = { safe = ["ess1"], within = "10s" }
"#;

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    listener.expect("a free port").port()
}

/// The process of the real half; it does not outlive the test.
struct Hardware(Child);

impl Drop for Hardware {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the real half and says at which port it is.
fn hardware(place: &Place) -> (Hardware, u16) {
    place.file("real.toml", &storage(15020, ""));
    let mut child = place
        .command(&["sim", "real.toml", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("gridrig starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let line = lines.next().expect("a line").expect("a line of text");
    let told: Value = serde_json::from_str(&line).expect("a line of JSON");
    let address = told["address"].as_str().expect("it is told");
    let (_, port) = address.rsplit_once(':').expect("host and port");
    (Hardware(child), port.parse().expect("a port"))
}

#[test]
fn real_and_emulated_devices_run_together_and_the_report_says_which_is_which() {
    let place = Place::new();
    let (_hardware, port) = hardware(&place);
    place.file("rig.toml", &bench(port, "real = [\"lan1\"]"));
    place.file("s.toml", SCENARIO);
    let looked = place.gridrig(&["check", "--live", "--on", "mixed", "rig.toml"]);
    assert!(looked.exits(0).stdout.contains("77"), "{}", looked.stdout);
    let read = [
        "device", "read", "rig.toml", "ess1", "bat.soc", "--on", "mixed",
    ];
    let read = place.gridrig(&read);
    assert!(read.exits(0).stdout.contains("77"), "{}", read.stdout);

    let words = ["test", "s.toml", "--rig", "rig.toml", "--on", "mixed"];
    let done = place.gridrig(&[&words[..], &["--out", "run"]].concat());
    done.exits(0);
    let result = place.result("run");
    assert_eq!(result["on"], "mixed");
    assert_eq!(result["speed"], "1");
    let halves = &result["scenarios"][0]["halves"];
    assert_eq!(halves["real"], serde_json::json!(["ess1"]));
    assert_eq!(
        halves["emulated"],
        serde_json::json!(["pcc", "brk1", "plug1"])
    );
    let of = |name: &str| std::fs::read_to_string(place.path("run").join(name)).expect("a file");
    let report = of("report.html");
    assert!(report.contains("rig.toml: ess1 real; pcc, brk1, plug1 emulated"));
    let environment: Value = serde_json::from_str(&of("env.json")).expect("JSON");
    assert_eq!(environment["halves"]["rig.toml"], *halves);
    // SunSpec's common model tells it; a plug is not asked, and that is no version.
    let firmware = &environment["firmware"];
    assert_eq!(firmware["ess1"], env!("CARGO_PKG_VERSION"));
    assert_eq!(firmware["plug1"], "not told");
    assert!(report.contains(&format!("ess1 {}", env!("CARGO_PKG_VERSION"))));

    // On the bench itself the plug and the meters are nobody: the list is for `mixed` alone.
    let all = [
        "test", "s.toml", "--rig", "rig.toml", "--on", "sim", "--out", "sim",
    ];
    let emulated = place.gridrig(&all);
    let told = &emulated.exits(1).stdout;
    assert!(
        told.contains("ess1.soc"),
        "its charge is 20 % there: {told}"
    );
    assert!(place.result("sim")["scenarios"][0]["halves"].is_null());
}

#[test]
fn the_real_half_is_taken_for_one_run_and_the_emulated_one_is_everybodys() {
    let place = Place::new();
    let (_hardware, port) = hardware(&place);
    place.file("rig.toml", &bench(port, "real = [\"lan1\"]"));
    place.file("s.toml", SCENARIO);
    let holds = "run rig.toml --on mixed --headless --for 60s --out first";
    let first = place.start(&holds.split(' ').collect::<Vec<_>>());
    until("the first run", || place.path("first/journal").exists());
    let words = ["test", "s.toml", "--rig", "rig.toml", "--out"];
    let refused = place.gridrig(&[&words[..], &["second", "--on", "mixed"]].concat());
    let told = &refused.exits(3).stderr;
    assert!(told.contains("C029") && told.contains("bus lan1"), "{told}");
    let emulated = [&words[..], &["third", "--on", "sim"]].concat();
    place.gridrig(&emulated).exits(1);
    first.signal("TERM");
    first.end().exits(0);
    let environment = std::fs::read_to_string(place.path("first/env.json")).expect("a file");
    assert!(environment.contains("\"halves\""), "{environment}");
}

#[test]
fn what_a_half_real_bench_cannot_do_is_refused_before_anything_moves() {
    let place = Place::new();
    place.file("half.toml", &bench(15020, "real = [\"lan1\"]"));
    place.file("none.toml", &bench(15020, "recover = [\"true\"]"));
    place.file(
        "all.toml",
        &bench(15020, "real = [\"lan1\", \"rs1\", \"mq\"]"),
    );
    place.file("coupling.toml", &bench(15020, "real = [\"rs1\"]"));
    place.file("s.toml", SCENARIO);
    let step =
        |step: &str| SCENARIO.replace("  { at = \"+2s\"", &format!("{step}\n  {{ at = \"+2s\""));
    place.file(
        "fault.toml",
        &step(r#"  { at = "+0s", fault = { "ess1.stuck" = "on" } },"#),
    );
    place.file(
        "fault-bus.toml",
        &step(r#"  { at = "+0s", fault = { "mq.restart" = "1s", "lan1.loss" = "2%" } },"#),
    );
    place.file(
        "grid.toml",
        &SCENARIO.replace(", source = \"grid\"", "").replace(
            "  { at = \"+2s\"",
            "  { at = \"+0s\", step = { \"grid.f\" = \"49.9Hz\" } },\n  { at = \"+2s\"",
        ),
    );
    let rows: [(&str, &str, &[&str], i32, &str); 8] = [
        ("s.toml", "half.toml", &["--speed", "max"], 2, "C002"),
        ("s.toml", "none.toml", &[], 2, "R143"),
        ("s.toml", "all.toml", &[], 2, "R143"),
        ("fault.toml", "half.toml", &[], 2, "`ess1` is real here"),
        ("fault-bus.toml", "half.toml", &[], 2, "`lan1` is real here"),
        (
            "grid.toml",
            "coupling.toml",
            &[],
            2,
            "`grid.f` is real here",
        ),
        ("s.toml", "coupling.toml", &[], 3, "has none"),
        (
            "s.toml",
            "half.toml",
            &["--listen", "127.0.0.1:x"],
            2,
            "127.0.0.1:x",
        ),
    ];
    for (n, (scenario, rig, more, code, word)) in rows.into_iter().enumerate() {
        let out = format!("run{n}");
        let words = [
            "test", scenario, "--rig", rig, "--on", "mixed", "--out", &out,
        ];
        let done = place.gridrig(&[&words[..], more].concat());
        let told = format!("{}{}", done.stdout, done.stderr);
        assert_eq!(done.code, Some(code), "{scenario} on {rig}: {told}");
        assert!(told.contains(word), "{scenario} on {rig}: {told}");
    }
    let run = [
        "run",
        "none.toml",
        "--on",
        "mixed",
        "--headless",
        "--for",
        "1s",
    ];
    assert!(place.gridrig(&run).exits(2).stderr.contains("R143"));
    let fast = [
        "run",
        "half.toml",
        "--on",
        "mixed",
        "--speed",
        "max",
        "--for",
        "1s",
    ];
    assert!(place.gridrig(&fast).exits(2).stderr.contains("C002"));
}

/// Writes the program that brings the bench back.
fn program(place: &Place, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = place.file("lab/cycle.sh", &format!("#!/bin/sh\n{text}\n"));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
}

/// Whether a process is there and no zombie.
fn lives(id: &str) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(id.trim()).join("status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

#[test]
fn the_rigs_own_power_cycle_brings_the_bench_back_once() {
    let place = Place::new();
    let port = free_port();
    let section = "real = [\"lan1\"]\nrecover = [\"./cycle.sh\", \"3\"]";
    place.file("lab/rig.toml", &bench(port, section));
    place.file("lab/real.toml", &storage(port, &format!(", port = {port}")));
    place.file("s.toml", SCENARIO);
    // It is called beside the rig, wherever the run was started, with its arguments and no shell.
    program(
        &place,
        &format!(
            "echo \"$1\" >> cycled\n{} sim real.toml --json > sim.log 2> sim.err &\necho $! > sim.pid\n\
             until grep -q ess1 sim.log; do sleep 0.1; done",
            env!("CARGO_BIN_EXE_gridrig")
        ),
    );
    let words = "test s.toml --rig lab/rig.toml --on mixed --out run";
    let done = place.gridrig(&words.split(' ').collect::<Vec<_>>());
    let of = |name: &str| std::fs::read_to_string(place.path("lab").join(name)).unwrap_or_default();
    let hardware = of("sim.pid");
    let ended = place.shell(&format!("kill -9 {hardware}"));
    done.exits(0);
    ended.exits(0);
    assert_eq!(of("cycled"), "3\n", "once");
    let result = place.result("run");
    assert_eq!(result["counters"]["bench_recovered"], 1);
    assert_eq!(result["scenarios"][0]["verdict"], "pass");
    assert!(place.path("run/001-again/journal").exists());
}

#[test]
fn a_power_cycle_that_fails_or_hangs_leaves_a_verdict_of_infrastructure() {
    let rows = [
        ("exit 7", "", "exit status: 7"),
        // What it has started ends with it.
        (
            "sleep 1000 > child.log 2>&1 &\necho $! > child.pid\nwait",
            "recover_within = \"500ms\"",
            "took more than 0.5 s",
        ),
    ];
    for (text, more, why) in rows {
        let place = Place::new();
        program(&place, text);
        let section = format!("real = [\"lan1\"]\nrecover = [\"./cycle.sh\"]\n{more}");
        place.file("lab/rig.toml", &bench(free_port(), &section));
        place.file("s.toml", SCENARIO);
        let words = "test s.toml --rig lab/rig.toml --on mixed --out run";
        let done = place.gridrig(&words.split(' ').collect::<Vec<_>>());
        done.exits(3);
        let result = place.result("run");
        assert_eq!(result["counters"]["bench_recovered"], 0);
        let told = result["why"].as_str().unwrap_or_default();
        assert!(told.contains(why), "{why}: {told}");
        let scenario = result["scenarios"][0]["why"].as_str().unwrap_or_default();
        assert!(scenario.contains("ess1"), "{scenario}");
        if let Ok(child) = std::fs::read_to_string(place.path("lab/child.pid")) {
            until("the end of what it has started", || !lives(&child));
        }
    }
}
