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
    // From another folder than the root of the repository, and with a summary that others have begun.
    place.file("summary.md", "before\n");
    let done = place.shell(
        "cd s && GITHUB_ACTIONS=true GITHUB_WORKSPACE=.. GITHUB_STEP_SUMMARY=../summary.md \
         $G test a.toml c.toml --out ../other",
    );
    let told = &done.exits(1).stderr;
    assert!(told.contains("::error file=s/c.toml,line=7,"), "{told}");
    let summary = std::fs::read_to_string(place.path("summary.md")).expect("a summary");
    for text in [
        "before\n### gridrig: fail\n",
        "1 of 2 scenarios passed, seed 1.",
        "\n| fail | Known fault | ",
    ] {
        assert!(summary.contains(text), "{text}: {summary}");
    }
    let nowhere = place.shell(
        "GITHUB_ACTIONS=true GITHUB_STEP_SUMMARY=no/such/folder $G test s/a.toml --out third",
    );
    assert!(nowhere.exits(0).stderr.contains("::warning::"));
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
    assert_eq!(told["repeats"][0]["passed"], 2);
    assert_eq!(told["repeats"][0]["flake_rate"], 0.0);

    let same = [
        "test",
        "s/a.toml",
        "--repeat",
        "2",
        "--out",
        "b",
        "--baseline",
        "a",
    ];
    let done = place.gridrig(&same);
    assert!(
        done.exits(0).stderr.contains("Nothing differs"),
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
fn parts_of_a_run_are_put_together_as_if_one_runner_had_made_them() {
    let place = Place::new();
    suite(&place);
    let test = |out: &str, shard: Option<&str>| {
        let mut words = vec!["test", "s", "--repeat", "2", "--out", out];
        words.extend(shard.into_iter().flat_map(|part| ["--shard", part]));
        place.gridrig(&words)
    };
    test("whole", None).exits(1);
    // Dealt there and back: the third, which fails, is the second part's.
    test("one", Some("1/2")).exits(0);
    test("two", Some("2/2")).exits(1);
    let merge = ["report", "merge", "two", "one", "--out", "both"];
    let told = place.gridrig(&merge).exits(1).stdout.clone();
    assert!(told.contains("fail: 2 fail, 4 pass"), "{told}");
    let (whole, both) = (place.result("whole"), place.result("both"));
    for what in [
        "verdict",
        "exit_code",
        "scenarios",
        "repeats",
        "counters",
        "seed",
    ] {
        assert_eq!(whole[what], both[what], "{what}");
    }
    assert_eq!(both["parts"].as_array().map(Vec::len), Some(2));
    let text = |name: &str| std::fs::read_to_string(place.path(name)).expect("it was written");
    let cases = |junit: String| -> Vec<String> {
        let lines = junit.lines().filter(|line| line.contains("<testcase"));
        lines.map(str::to_owned).collect()
    };
    let whole = cases(text("whole/junit.xml"));
    assert_eq!(whole, cases(text("both/junit.xml")));
    assert_eq!(whole.len(), 6);
    assert!(text("both/report.html").contains("Known fault"));

    for (words, why) in [
        (&["one"][..], "part 2 of 2 is missing"),
        (&["one", "two", "two"][..], "part 2 of 2 is there twice"),
        (&["one", "whole"][..], "is not a part of a run"),
    ] {
        let words = [&["report", "merge"][..], words].concat();
        let done = place.gridrig(&words);
        let told = &done.exits(2).stderr;
        assert!(told.contains("C023") && told.contains(why), "{told}");
    }
}

#[test]
fn two_runs_are_compared_and_what_got_worse_is_a_failure() {
    let place = Place::new();
    suite(&place);
    let one = ["test", "s/a.toml", "--out", "a"];
    place.gridrig(&one).exits(0);
    let mut later = place.result("a");
    let check = &mut later["scenarios"][0]["checks"][0];
    let value = check["value"].as_f64().expect("the check has a value");
    let name = check["name"].as_str().expect("a name").to_owned();
    check["value"] = (value * 1.04).into();
    place.file("b/result.json", &later.to_string());
    let word = name.split(' ').next().expect("a word");
    let named = format!("{word}=5%");
    for (words, code, told) in [
        (&["a"][..], 0, "Nothing differs"),
        (&["b"], 0, "drift: FFR step / "),
        (&["b", "--within", "5%"], 0, "+4.00 %"),
        (&["b", "--within", "3%"], 1, "too far: FFR step / "),
        (&["b", "--within", "3%", "--budget", &named], 0, "drift: "),
        (&["b", "--budget", "nonsense"], 2, "write it like `t90=5%`"),
        (&["s"], 2, "C004"),
    ] {
        let words = [&["report", "diff", "a"][..], words].concat();
        let done = place.gridrig(&words);
        let said = format!("{}{}", done.exits(code).stdout, done.stderr);
        assert!(said.contains(told), "{words:?}: {said}");
    }
    later["scenarios"][0]["verdict"] = "inconclusive".into();
    place.file("b/result.json", &later.to_string());
    let worse = place.gridrig(&["report", "diff", "a", "b", "--json"]);
    let worse = worse.exits(1).json();
    assert_eq!(worse["turns"][0]["now"], "inconclusive");
    assert_eq!(worse["verdict"], "fail");
    place.gridrig(&["report", "diff", "b", "a"]).exits(0);
}

#[test]
fn the_samples_of_a_run_are_exported_as_one_table_and_its_report_is_found() {
    let place = Place::new();
    suite(&place);
    let words = ["test", "s/a.toml", "s/c.toml", "--out", "run"];
    place.gridrig(&words).exits(1);
    let table = place.gridrig(&["report", "export", "run"]);
    let table = &table.exits(0).stdout;
    let mut lines = table.lines();
    assert_eq!(
        lines.next(),
        Some("scenario,utc_ns,t_s,device,point,value,unit,quality")
    );
    let begins = |with: &str| table.lines().filter(|line| line.starts_with(with)).count();
    let (first, second) = (begins("001-ffr-step,"), begins("002-known-fault,"));
    assert!(first > 100 && second > 100, "{first} {second}");
    assert_eq!(first + second + 1, table.lines().count());
    let file = ["report", "export", "run", "--out", "all.csv"];
    place.gridrig(&file).exits(0);
    let written = std::fs::read_to_string(place.path("all.csv")).expect("it was written");
    assert_eq!(&written, table);
    let samples = place.path("run/002-known-fault/samples.csv.zst");
    let whole = std::fs::read(&samples).expect("it was written");
    std::fs::write(&samples, &whole[..whole.len() - 9]).expect("cut");
    let cut = place.gridrig(&["report", "export", "run"]);
    assert!(cut.exits(0).stderr.contains("ends early"), "{}", cut.stderr);
    let mut damaged = whole.clone();
    damaged[whole.len() / 2..].fill(0xA5);
    std::fs::write(&samples, damaged).expect("damaged");
    let read = place.gridrig(&["report", "export", "run"]);
    assert!(read.exits(2).stderr.contains("C010"), "{}", read.stderr);
    // It never writes over what is there.
    assert!(place.gridrig(&file).exits(2).stderr.contains("C003"));
    let none = place.gridrig(&["report", "export", "s"]);
    assert!(
        none.exits(2)
            .stderr
            .contains("there is no samples.csv.zst and no samples.db")
    );

    let opened = place.shell("DISPLAY= WAYLAND_DISPLAY= $G report open run");
    assert!(opened.exits(0).stdout.ends_with("run/report.html\n"));
    place.gridrig(&["report", "open", "s"]).exits(2);
}

#[test]
fn a_list_names_what_would_run_and_runs_nothing() {
    let place = Place::new();
    suite(&place);
    let listed = place.gridrig(&["test", "s", "-k", "not droop", "--list"]);
    assert_eq!(
        listed.exits(0).stdout,
        "FFR step (ffr)\nKnown fault (bad)\n"
    );
    let listed = place.gridrig(&["test", "s", "--shard", "2/2", "--list", "--json"]);
    assert_eq!(listed.exits(0).json()[0]["name"], "Slow droop");
    place
        .gridrig(&["test", "s", "-k", "nothing", "--list"])
        .exits(7);
    assert!(!place.path("out").exists(), "no run folder was made");
}

#[test]
fn an_interrupted_test_run_leaves_what_has_ended() {
    let place = Place::new();
    suite(&place);
    let running = place.start(&[
        "test", "s/a.toml", "--speed", "1", "--repeat", "100", "--out", "run",
    ]);
    common::until("the second scenario", || {
        place.path("run/002-ffr-step").exists()
    });
    running.signal("INT");
    running.end().exits(130);
    let result = place.result("run");
    assert_eq!(result["verdict"], "interrupted");
    let ended = names(&result).len();
    assert!((1..100).contains(&ended), "{ended}");
}
