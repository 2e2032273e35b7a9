//! The bridge to pytest: its own tests, tests in Python on a bench that we run, and one that is killed.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use suite::bench::{Controller, TOKEN};
use suite::process::{Running, WithArguments, gridrig, output, python_of};
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

#[test]
#[ignore = "needs peers"]
fn a_foreign_validator_finds_nothing_in_junit_but_what_is_written_on_purpose() {
    let folder = folder();
    let scenario = |name: &str, rest: &str| {
        let path = folder.path().join(format!("{name}.toml"));
        std::fs::write(&path, format!("name = \"<{name}> & \\\"more\\\"\"\n{rest}"))
            .expect("it can be written");
        path
    };
    let band = |within: &str| {
        format!(
            "do = [{{ at = \"1s\", mark = \"t0\" }}]\ncheck = [{{ band = \"grid.f\", from = \"t0\", for = \"2s\", within = \"{within}\" }}, {{ ledger = \"complete\" }}]\n"
        )
    };
    let silent = "do = [{ at = \"1s\", fault = { \"ess1.silent\" = \"on\" }, mark = \"t0\" }, { at = \"8s\", mark = \"t1\" }]\n\
        check = [{ band = \"ess1.p\", from = \"t0+2s\", to = \"t1\", within = \"-10..10kW\" }]\n";
    let files = [
        scenario("pass", &band("49..51Hz")),
        scenario("fail", &band("51..52Hz")),
        scenario(
            "known bad",
            &format!("expect = \"fail\"\n{}", band("51..52Hz")),
        ),
        scenario(
            "nobody",
            "need = { genset = 7 }\ndo = []\ncheck = [{ ledger = \"complete\" }]\n",
        ),
        scenario("unknown", silent),
    ];
    let mut written = Vec::new();
    for more in [&[][..], &["--inconclusive=skip"]] {
        let run = folder.path().join(format!("run{}", written.len()));
        let command = gridrig().with(["test"]).with(&files).with(more);
        let done = output(command.with(["--out"]).with([&run]));
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        written.push(run.join("junit.xml"));
    }
    let breaches = |files: &[PathBuf]| -> Vec<String> {
        let script = root().join("tests/peers/junit_schema.py");
        let told = output(python_of("pytest").with([script]).with(files));
        assert!(told.status.success(), "{told:?}");
        serde_json::from_slice(&told.stdout).expect("a list")
    };
    let on_purpose = "/testsuites/testsuite/testcase: Unexpected child with tag 'properties'.";
    assert_eq!(breaches(&written), [on_purpose]);
    // It does look: what readers would stumble over is found.
    let whole = std::fs::read_to_string(&written[0]).expect("it was written");
    let broken = folder.path().join("broken.xml");
    std::fs::write(&broken, whole.replace(" failures=", " failed=")).expect("it can be written");
    assert!(breaches(&[broken]).len() > 2);
}

/// The secret of a role in a tokens file.
fn secret(keys: &Path, role: &str) -> String {
    let text = std::fs::read_to_string(keys.join("tokens.toml")).expect("init makes tokens");
    let table = text
        .split("[token.")
        .find(|table| table.contains(&format!("\"{role}\"")));
    let secret = table.and_then(|table| table.split("secret = \"").nth(1)?.split('"').next());
    secret.expect("each role has a token").to_owned()
}

#[test]
#[ignore = "needs peers"]
fn a_bench_that_others_reach_is_asked_over_tls_and_believed_by_its_authority_alone() {
    let folder = folder();
    let keys = folder.path().join("keys");
    let made = output(gridrig().with(["init"]).with([&keys]));
    assert!(made.status.success(), "{made:?}");
    let rig = root().join(RIG);
    let bench = Controller::read_only_beyond(&rig, &keys, &folder.path().join("run"));
    let api = format!("https://127.0.0.1:{}", bench.page);
    let (arm, operate) = (secret(&keys, "arm"), secret(&keys, "operate"));
    let pytest = |token: &str, ca: Option<PathBuf>| {
        let mut command = pytest(&[of_bridge("bench/test_bench.py")]).with(["--gridrig", &api]);
        command.env("GRIDRIG_TOKEN", token);
        match ca {
            Some(ca) => command.env("GRIDRIG_CA", ca),
            None => command.env_remove("GRIDRIG_CA"),
        };
        command
    };
    let told = closing_line(pytest(&arm, Some(keys.join("ca.pem"))));
    assert!(told.contains("4 passed"), "{told}");

    let refused = |command: Command, why: &str| {
        let output = output(command);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            !output.status.success() && told.contains("4 errors"),
            "{told}"
        );
        assert!(told.contains(why), "{why}: {told}");
    };
    // The system's authorities know nothing of this bench, and neither does another bench's.
    refused(pytest(&arm, None), "nobody vouches for the daemon");
    let others = folder.path().join("others");
    assert!(
        output(gridrig().with(["init"]).with([&others]))
            .status
            .success()
    );
    refused(
        pytest(&arm, Some(others.join("ca.pem"))),
        "nobody vouches for the daemon",
    );
    // Who may operate may not arm, and a stranger may not even look.
    refused(pytest(&operate, Some(keys.join("ca.pem"))), "403");
    refused(
        pytest("not-a-token-of-this-bench", Some(keys.join("ca.pem"))),
        "wrong_token",
    );
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
