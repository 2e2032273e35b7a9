//! Setup, script, teardown and the way to rest: what each of them makes of a run.

use std::path::PathBuf;

use scenario::report::result::ScenarioResult;
use scenario::runner::{TestOptions, run};
use scenario::verdict::Verdict;

/// Runs a scenario on the quiet bench.
fn play(text: &str) -> ScenarioResult {
    let source = document::Source::new("phases.toml", text);
    let loaded = scenario::script::read(source).expect("it is right");
    let folder = tempfile::tempdir().expect("a folder");
    let rig = concat!(env!("CARGO_MANIFEST_DIR"), "/../virtual/lab.toml");
    let options = TestOptions {
        scenarios: loaded.scenarios,
        rig: Some(PathBuf::from(rig)),
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
        run_dir: folder.path().to_path_buf(),
        command: Vec::new(),
        id: "phases".into(),
    };
    let mut result = run(options, |_| {}).expect("it runs");
    result.scenarios.remove(0)
}

/// A scenario that holds the storage at 1 kW in its setup, and demands that it is there from the
/// begin; with one of its pieces replaced.
fn check(from: &str, to: &str, verdict: Verdict, words: &[&str]) {
    let good = r#"
name = "phases"
setup = { within = "20s", do = [
  { at = "3s", set = { "ess1.p" = "1kW" }, mark = "asked", until = { settle = "ess1.p", band = "50W", within = "8s" } },
] }
do = [
  { at = "0s", mark = "t0", until = { mode = "grid_connected", within = "1s" } },
]
check = [
  { band = "ess1.p", from = "start", for = "2s", within = "0.9..1.1kW" },
  { event = "setpoint_confirmed", device = "ess1", from = "asked" },
]
teardown = { within = "20s", do = [
  { at = "0s", set = { "ess1.p" = "0W" }, until = { mode = "grid_connected", within = "1s" } },
  { at = "0s", until = { settle = "ess1.p", to = "0W", band = "50W", within = "8s" } },
] }
after = { safe = ["ess1"], within = "10s" }
"#;
    assert!(from.is_empty() || good.matches(from).count() == 1, "{from}");
    let result = play(&match from {
        "" => good.to_owned(),
        _ => good.replace(from, to),
    });
    assert_eq!(result.verdict, verdict, "{to}: {result:#?}");
    for word in words {
        assert!(result.why.contains(word), "`{word}` in {}", result.why);
    }
    if words.is_empty() {
        assert_eq!(result.why, "", "{to}");
    }
}

#[test]
fn a_setup_makes_the_bench_ready_before_the_script_begins_to_count() {
    check("", "", Verdict::Pass, &[]);
}

#[test]
fn a_setup_that_does_not_get_there_is_the_bench_and_not_the_device() {
    check(
        "settle = \"ess1.p\", band = \"50W\", within = \"8s\"",
        "above = \"ess1.p\", value = \"3kW\", within = \"2s\"",
        Verdict::Infrastructure,
        &["in the setup, line 4", "did not come within 2 s"],
    );
    check(
        "settle = \"ess1.p\", band = \"50W\", within = \"8s\"",
        "above = \"ess1.p\", value = \"3kW\", within = \"60s\"",
        Verdict::Infrastructure,
        &["the setup was not over within 20 s"],
    );
}

#[test]
fn a_teardown_follows_a_step_that_failed_and_precedes_the_way_to_rest() {
    // The bench is not in the mode safe yet, or the teardown would have its own word in it.
    check(
        "mark = \"t0\", until = { mode = \"grid_connected\"",
        "mark = \"t0\", until = { mode = \"islanded\"",
        Verdict::Fail,
        &["line 7: what the step waits for did not come within 1 s"],
    );
    let result = play(
        r#"
name = "both"
do = [{ at = "0s", until = { mode = "islanded", within = "1s" } }]
check = [{ ledger = "complete" }]
teardown = { within = "5s", do = [{ at = "0s", until = { mode = "islanded", within = "2s" } }] }
"#,
    );
    assert_eq!(result.verdict, Verdict::Fail);
    assert!(result.why.contains("line 3: "), "{}", result.why);
    let told = result.why.contains("in the teardown, line 5: ");
    assert!(told, "{}", result.why);
}

#[test]
fn a_teardown_that_fails_leaves_the_checks_as_they_were_and_the_bench_in_doubt() {
    let result = play(
        r#"
name = "left"
do = [{ at = "2s", set = { "ess1.p" = "1kW" } }]
check = [{ event = "dispatched" }]
teardown = { within = "3s", do = [{ at = "0s", until = { mode = "islanded", within = "9s" } }] }
"#,
    );
    assert_eq!(result.verdict, Verdict::Infrastructure, "{result:#?}");
    assert_eq!(result.checks[0].verdict, Verdict::Pass);
    assert_eq!(result.why, "the teardown was not over within 3 s");
}
