//! The database of a run, as Python's own sqlite3 reads it: after a kill, and by the queries that its page shows.

use serde_json::Value;
use suite::bench::Controller;
use suite::process::json_of;
use suite::{PATIENCE, folder, http, wait_for};

/// How far the database of a run may be behind its page, and so how much a killed run may lose, in seconds of control.
/// A second is what it says of itself: so often is it made safe, with the first cycle of 100 ms that finds the second
/// over. Chosen: 0.3 s beside it, that cycle and 0.2 s for the way of a reading to the disk. At the worst moment a kill
/// cost 0.98 to 1.10 s in seven runs beside other work, and 1.00 to 1.13 s in five beside three busy loops and a writer
/// that synced all the time; of their looks one in a hundred saw it 1.04 to 1.15 s behind.
const LOST_MAX_S: f64 = 1.3;

#[test]
#[ignore = "needs peers"]
fn a_killed_run_has_lost_nothing_that_its_page_had_shown_more_than_a_second_before() {
    let dir = folder();
    let demo = Controller::demo(None, &dir.path().join("run"), &[]);
    wait_for("it runs", PATIENCE, || {
        let state = http::try_request(demo.page, "GET", "/api/v1/state", None, "")?.json();
        (state["cycle"]["n"].as_u64()? > 20).then_some(())
    });
    let told = json_of(
        "samples_db.py",
        [
            "kill",
            &demo.page.to_string(),
            &demo.run_dir.join("samples.db").display().to_string(),
            &demo.running.id().to_string(),
            // Chosen: four times what it takes to become safe, so that its worst moment is known.
            "4",
        ],
    );
    demo.running.kill();
    let number = |key: &str| told[key].as_f64().expect("a number");
    let (said_s, left_s) = (number("said_s"), number("left_s"));
    let missing = told["missing"].as_array().expect("what is missing");
    let mut behind_s: Vec<f64> = told["behind_s"]
        .as_array()
        .expect("looks")
        .iter()
        .map(|s| s.as_f64().expect("a number"))
        .collect();
    behind_s.sort_by(f64::total_cmp);
    // Nineteen looks of twenty: one that came while the disk hung says nothing of a kill, which a disk does not heed.
    let mostly_s = behind_s[behind_s.len() * 19 / 20];
    println!(
        "{} looks saw it up to {mostly_s:.2} s behind, but for one in twenty; killed at {said_s} s, the youngest reading is of {left_s} s; of {} readings and events {} are missing",
        behind_s.len(),
        told["shown"],
        missing.len()
    );
    assert_eq!(told["sound"], "ok");
    assert!(number("shown") > 200.0, "{}", told["shown"]);
    assert!(mostly_s < LOST_MAX_S, "{mostly_s} s behind");
    assert!(said_s - left_s < LOST_MAX_S, "{left_s} of {said_s} s");
    let too_old = |shown: &&Value| shown[0].as_f64().is_none_or(|at| at < said_s - LOST_MAX_S);
    let too_old: Vec<&Value> = missing.iter().filter(too_old).collect();
    assert!(too_old.is_empty(), "{said_s} s: {too_old:?}");
}
