//! Benches that must not be operated: each is refused or made safe, and says why.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use scenario::live::{LiveOptions, run};
use scenario::report::result::RunResult;

/// Runs the lab bench with one piece of its rig replaced, and gives the result and the events.
fn lab(from: &str, to: &str, seconds: u64) -> (RunResult, String) {
    let text = include_str!("../../virtual/lab.toml");
    assert!(text.contains(from), "the row must change something: {from}");
    bench(&text.replace(from, to), seconds)
}

fn bench(text: &str, seconds: u64) -> (RunResult, String) {
    let rig = runtime::rig::load_text(Path::new("lab.toml"), text).expect("the rig itself is good");
    let dir = tempfile::tempdir().expect("a folder");
    let result = run(
        LiveOptions {
            rig: Arc::new(rig),
            on: scenario::far_ends::On::Sim,
            virtual_time: true,
            seed: 1,
            run_dir: dir.path().to_path_buf(),
            run_for: Some(Duration::from_secs(seconds)),
            listen: None,
            tokens: runtime::web::Tokens::default(),
            tls: None,
            armed: true,
            command: Vec::new(),
            id: "bad".into(),
        },
        |_| {},
    )
    .expect("it runs");
    let events = std::fs::read_to_string(dir.path().join("events.jsonl")).expect("events");
    (result, events)
}

#[test]
fn a_limit_wider_than_the_nameplate_that_the_device_reports_disarms_the_bench() {
    let (result, events) = lab("ess1  = { rated = \"12kVA\"", "ess1  = { faults = []", 10);
    // Without a stated rating the emulated inverter is a 3 kW one; the rig asks for 10 kW.
    assert!(events.contains("R012"), "{events}");
    assert_eq!(
        result.counters.dispatches, 0,
        "the bench is looked at before it is armed, and then it is not armed"
    );
}

#[test]
fn a_device_that_ignores_its_setpoints_is_told_of_and_asked_again() {
    // The bench shall hold its exchange at zero, and the storage takes no setpoint.
    let (_, events) = lab(
        "[emulate]\npv1   = { rated = \"15kVA\", p = \"4kW\" }\ness1  = { rated = \"12kVA\"",
        "[emulate]\npv1   = { rated = \"15kVA\", p = \"4kW\" }\ness1  = { faults = [\"ignore_writes\"], rated = \"12kVA\"",
        4,
    );
    assert!(
        !events.contains("setpoint_missed"),
        "nobody asks it for anything: {events}"
    );
    let text = include_str!("../../virtual/lab.toml").replace(
        "ess1  = { rated = \"12kVA\"",
        "ess1  = { faults = [\"ignore_writes\"], rated = \"12kVA\"",
    );
    let (_, events) = bench(
        &text.replace(
            "deadband        = \"0.03Hz\"",
            "deadband        = \"0.03Hz\"\npcc_target      = \"0W\"",
        ),
        6,
    );
    let missed = events
        .lines()
        .filter(|l| l.contains("setpoint_missed"))
        .count();
    assert!(missed >= 2, "told of and asked again: {events}");
}

#[test]
fn a_silent_device_goes_offline_and_the_others_stay() {
    let (result, events) = lab(
        "pv1   = { rated = \"15kVA\"",
        "pv1   = { faults = [\"silent\"], rated = \"15kVA\"",
        20,
    );
    let offline: Vec<&str> = events
        .lines()
        .filter(|l| l.contains("device_offline"))
        .collect();
    assert!(
        !offline.is_empty() && offline.iter().all(|l| l.contains("pv1")),
        "{offline:?}"
    );
    assert_eq!(result.counters.telemetry_lost, 0);
}

#[test]
fn an_emergency_stop_circuit_that_opens_brings_the_bench_to_the_safe_mode() {
    let dir = tempfile::tempdir().expect("a folder");
    let rig = dir.path().join("rig.toml");
    let text = include_str!("../../virtual/lab.toml");
    // The quiet bench has one contact that can be opened from outside: the breaker's.
    let with_estop = text.replace(
        "on_lost = \"safe\" }",
        "on_lost = \"safe\", estop = \"brk1.switch\" }",
    );
    assert_ne!(text, with_estop);
    std::fs::write(&rig, with_estop).expect("written");
    let script = r#"
name = "estop"
do = [
  { at = "1s", set = { "ess1.p" = "2kW" } },
  { at = "+2s", step = { "grid.v" = "0V" }, mark = "stop" },
  { at = "+3s", mark = "over" },
]
check = [
  { mode = "safe", from = "stop", within = "1s" },
  { event = "armed", from = "stop", to = "over", at_most = 0 },
]
"#;
    let loaded = scenario::script::read(document::Source::new("estop.toml", script)).expect("good");
    let run_dir = dir.path().join("out");
    std::fs::create_dir(&run_dir).expect("made");
    let result = scenario::runner::run(
        scenario::runner::TestOptions {
            scenarios: loaded.scenarios,
            rig: Some(rig),
            on: scenario::far_ends::On::Sim,
            virtual_time: true,
            seed: 1,
            repeat: 1,
            ignore_expect: false,
            inconclusive_as_skipped: false,
            shard: None,
            baseline: None,
            listen: None,
            template: None,
            hardware: scenario::runner::Hardware::default(),
            run_dir,
            command: Vec::new(),
            id: "estop".into(),
        },
        |_| {},
    )
    .expect("it runs");
    assert_eq!(result.exit_code, 0, "{:#?}", result.scenarios[0].checks);
}
