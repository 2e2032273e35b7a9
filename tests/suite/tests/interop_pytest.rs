//! The bridge to pytest: its own tests, tests in Python on a bench that we run, and one that is killed.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use suite::bench::{Controller, TOKEN};
use suite::process::{Running, WithArguments, output, python_of};
use suite::{PATIENCE, folder, http, root, wait_for};

/// The quiet bench, with a breaker, a storage and plugs.
const RIG: &str = "rigs/virtual/lab.toml";

/// A pytest on some files, without a bench; nothing is left among the sources.
fn pytest(files: &[PathBuf]) -> Command {
    let mut command = python_of("pytest")
        .with(["-m", "pytest", "-p", "no:cacheprovider", "-rs", "-s"])
        .with(files);
    command
        .env_remove("GRIDRIG_API")
        .env("GRIDRIG_TOKEN", TOKEN)
        .current_dir(root());
    command
}

/// The last line of a pytest that must end well.
fn closing_line(command: Command) -> String {
    let output = output(command);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}\n{told}", output.status);
    let last = told.lines().rfind(|line| !line.trim().is_empty());
    last.unwrap_or_default().to_owned()
}

fn of_bridge(path: &str) -> PathBuf {
    root().join("tests/pytest").join(path)
}

/// Those of the bench, with its address.
fn on(controller: &Controller, files: &[PathBuf]) -> Command {
    let api = format!("http://127.0.0.1:{}", controller.page);
    pytest(files).with(["--gridrig", &api])
}

fn cycle(controller: &Controller) -> Value {
    http::get(controller.page, "/api/v1/state").json()["cycle"].clone()
}

/// Kinds of the latest events.
fn events(controller: &Controller) -> Vec<String> {
    let events = http::get(controller.page, "/api/v1/events").json();
    let events = events.as_array().expect("a list");
    let kinds = events.iter().filter_map(|e| e["event"].as_str());
    kinds.map(str::to_owned).collect()
}

#[test]
#[ignore = "needs peers"]
fn the_bridge_passes_its_own_tests() {
    let told = closing_line(pytest(&[of_bridge("tests")]));
    assert!(
        told.contains("passed") && !told.contains("skipped"),
        "{told}"
    );
}

#[test]
#[ignore = "needs peers"]
fn without_a_bench_every_test_of_one_is_skipped() {
    let told = closing_line(pytest(&[of_bridge("bench")]));
    assert!(
        told.contains("5 skipped") && !told.contains("passed"),
        "{told}"
    );
}

#[test]
#[ignore = "needs peers"]
fn tests_in_python_command_a_running_bench_and_leave_it_at_rest() {
    let folder = folder();
    let bench = Controller::read_only(&root().join(RIG), &folder.path().join("run"), &[]);
    let told = closing_line(on(&bench, &[of_bridge("bench/test_bench.py")]));
    assert!(told.contains("4 passed"), "{told}");
    assert_eq!(cycle(&bench)["armed"], false);
    let power = bench.shown("ess1", "p_w").and_then(|p| p.as_f64());
    assert!(power.is_some_and(|p| p.abs() < 60.0), "{power:?}");
    let lock = http::get(bench.page, "/api/v1/lock").json();
    assert_eq!(lock["holder"], Value::Null);
    let _run = bench.end();
}

/// The files that a page writes: blocks of Python, each named by its first line.
#[test]
#[ignore = "needs peers"]
fn the_tests_of_the_page_pass_as_they_stand() {
    let page = std::fs::read_to_string(root().join("docs/pytest.md")).expect("the page is there");
    let folder = folder();
    let mut files = Vec::new();
    for block in page.split("```python\n").skip(1) {
        let body = block.split("```").next().expect("a block ends");
        let name = body.lines().next().and_then(|line| line.strip_prefix("# "));
        let path = folder.path().join(name.expect("the name of the file"));
        std::fs::write(&path, body).expect("the folder can be written");
        files.push(path);
    }
    assert_eq!(files.len(), 2);
    let bench = Controller::read_only(&root().join(RIG), &folder.path().join("run"), &[]);
    let told = closing_line(on(&bench, &files));
    assert!(told.contains("2 passed"), "{told}");
    let _run = bench.end();
}

#[test]
#[ignore = "needs peers"]
fn a_test_that_is_killed_leaves_the_bench_at_rest_and_disarmed() {
    let folder = folder();
    let bench = Controller::read_only(&root().join(RIG), &folder.path().join("run"), &[]);
    let mut test = Running::start(on(&bench, &[of_bridge("bench/test_killed.py")]));
    while !test
        .line()
        .expect("it holds before it ends")
        .contains("holding")
    {}
    let power = || bench.shown("ess1", "p_w").and_then(|p| p.as_f64());
    wait_for(
        "the storage gives what the test asked for",
        PATIENCE,
        || power().filter(|p| *p > 900.0),
    );
    test.kill();
    let killed = Instant::now();
    wait_for("the bench is disarmed and at rest", PATIENCE, || {
        let at_rest = power().is_some_and(|p| p.abs() < 60.0);
        (at_rest && cycle(&bench)["armed"] == false).then_some(())
    });
    // Five seconds of lease, and a safe end that takes less than that on this bench.
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    let told = events(&bench);
    for kind in ["lease_taken", "lease_ended", "armed"] {
        assert!(
            told.iter().any(|event| event == kind),
            "no {kind} in {told:?}"
        );
    }
    println!(
        "at rest {:.1} s after the test was killed",
        took.as_secs_f64()
    );
    let _run = bench.end();
}
