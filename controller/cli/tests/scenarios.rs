//! `gridrig test`: what is chosen, what is judged, what is left behind.

mod common;

use common::Place;
use serde_json::Value;

/// A scenario of the demo bench with one check.
fn scenario(name: &str, tags: &str, check: &str) -> String {
    format!(
        "name = \"{name}\"\ntags = [{tags}]\ndo = [\n  {{ at = \"2s\", mark = \"t0\" }},\n]\n\
         check = [\n  {check},\n]\n"
    )
}

const HOLDS: &str = r#"{ band = "grid.f", from = "t0", for = "2s", within = "49.5..50.5Hz" }"#;
const FAILS: &str = r#"{ band = "grid.f", from = "t0", for = "2s", within = "51..52Hz" }"#;

fn suite(place: &Place) {
    place.file("s/a.toml", &scenario("FFR step", "\"ffr\"", HOLDS));
    place.file("s/b/b.toml", &scenario("Slow droop", "\"droop\"", HOLDS));
    place.file("s/c.toml", &scenario("Known fault", "\"bad\"", FAILS));
    place.file("s/rig.toml", "schema = 1\n[bus]\n");
    place.file("s/notes.md", "not a scenario");
}

fn names(result: &Value) -> Vec<&str> {
    result["scenarios"]
        .as_array()
        .expect("a list of scenarios")
        .iter()
        .filter_map(|s| s["name"].as_str())
        .collect()
}

#[test]
fn a_passing_scenario_exits_with_0_and_a_failing_one_with_1() {
    let place = Place::new();
    suite(&place);
    let done = place.gridrig(&["test", "s/a.toml", "--out", "good"]);
    assert!(done.exits(0).stdout.contains("pass"), "{}", done.stdout);
    assert!(done.stderr.contains("[1/1] pass"), "{}", done.stderr);
    let done = place.gridrig(&["test", "s", "--out", "all", "--json"]);
    let told = done.exits(1).json();
    assert_eq!(names(&told), ["FFR step", "Slow droop", "Known fault"]);
    assert_eq!(told, place.result("all"));
    for file in ["junit.xml", "report.html", "env.json", "repro.sh"] {
        assert!(place.path("all").join(file).exists(), "{file}");
    }
}

#[test]
fn on_github_a_failed_check_is_shown_beside_its_line() {
    let place = Place::new();
    suite(&place);
    let done = place.shell("GITHUB_ACTIONS=true $G test s/a.toml s/c.toml --out run");
    let told: Vec<&str> = done
        .exits(1)
        .stderr
        .lines()
        .filter(|l| l.starts_with("::"))
        .collect();
    assert_eq!(told.len(), 1, "{}", done.stderr);
    assert!(
        told[0].starts_with("::error file=s/c.toml,line=7,title=Known fault::"),
        "{}",
        told[0]
    );
}

#[test]
fn names_tags_and_shards_select() {
    let place = Place::new();
    suite(&place);
    let rows: &[(&[&str], &[&str])] = &[
        (&["-k", "ffr or droop"], &["FFR step", "Slow droop"]),
        (&["-k", "not (fault or slow)"], &["FFR step"]),
        (&["--tag", "droop"], &["Slow droop"]),
        (&["-k", "step or droop", "--shard", "2/2"], &["Slow droop"]),
    ];
    for (number, (words, expected)) in rows.iter().enumerate() {
        let out = format!("run{number}");
        let mut all = vec!["--json", "test", "s", "--out", &out];
        all.extend(*words);
        let done = place.gridrig(&all);
        assert_eq!(names(&done.exits(0).json()), *expected, "{words:?}");
    }
}

#[test]
fn nothing_selected_exits_with_7_and_leaves_a_folder() {
    let place = Place::new();
    suite(&place);
    let done = place.gridrig(&["test", "s", "-k", "nothing", "--out", "run"]);
    assert!(
        done.exits(7).stderr.contains("error[C007]"),
        "{}",
        done.stderr
    );
    assert_eq!(place.result("run")["verdict"], "nothing_selected");
}

#[test]
fn a_scenario_that_cannot_be_read_exits_with_2_and_shows_the_place() {
    let place = Place::new();
    suite(&place);
    place.file("s/d.toml", &scenario("Typo", "", r#"{ bend = "grid.f" }"#));
    let done = place.gridrig(&["test", "s", "--out", "run"]);
    assert!(
        done.exits(2).stderr.contains("s/d.toml:"),
        "{}",
        done.stderr
    );
    assert_eq!(place.result("run")["verdict"], "config");
}

#[test]
fn a_known_bad_device_passes_when_it_is_caught_and_fails_without_its_excuse() {
    let place = Place::new();
    let text = scenario("Bad meter", "", FAILS) + "expect = \"fail\"\n";
    place.file("bad.toml", &text);
    place.gridrig(&["test", "bad.toml", "--out", "a"]).exits(0);
    place
        .gridrig(&["test", "bad.toml", "--out", "b", "--ignore-expect"])
        .exits(1);
}

#[test]
fn repetitions_run_with_the_next_seed_and_a_baseline_shows_drift() {
    let place = Place::new();
    suite(&place);
    let words = ["test", "s/a.toml", "--repeat", "2", "--out", "a", "--json"];
    let told = place.gridrig(&words).exits(0).json();
    let seeds: Vec<u64> = told["scenarios"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|s| s["seed"].as_u64())
        .collect();
    assert_eq!(seeds.len(), 2);
    assert_eq!(seeds[1], seeds[0] + 1);

    let same = ["test", "s/a.toml", "--out", "b", "--baseline", "a"];
    let done = place.gridrig(&same);
    assert!(
        done.exits(0).stderr.contains("No value differs"),
        "{}",
        done.stderr
    );

    let mut before = place.result("a");
    let value = &mut before["scenarios"][0]["checks"][0]["value"];
    *value = (value.as_f64().expect("the check has a value") + 1.0).into();
    place.file("a/result.json", &before.to_string());
    let again = ["test", "s/a.toml", "--out", "c", "--baseline", "a"];
    let done = place.gridrig(&again);
    assert!(
        done.exits(0).stderr.contains("drift: FFR step / "),
        "{}",
        done.stderr
    );
    assert!(done.stderr.contains("Hz (-1"), "{}", done.stderr);

    let no_run = ["test", "s/a.toml", "--out", "d", "--baseline", "s"];
    place.gridrig(&no_run).exits(2);
}

#[test]
fn an_interrupted_test_run_leaves_what_has_ended() {
    let place = Place::new();
    suite(&place);
    let running = place.start(&[
        "test", "s/a.toml", "--speed", "1", "--repeat", "100", "--out", "run",
    ]);
    common::until("the second scenario", || {
        let folders = std::fs::read_dir(place.path("run"));
        folders.is_ok_and(|f| f.count() >= 2)
    });
    running.signal("INT");
    running.end().exits(130);
    let result = place.result("run");
    assert_eq!(result["verdict"], "interrupted");
    let ended = names(&result).len();
    assert!((1..100).contains(&ended), "{ended}");
}
