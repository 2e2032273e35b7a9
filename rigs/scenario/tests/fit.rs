//! A scenario that names what its bench has not is told of it before anything moves.

use std::path::{Path, PathBuf};

use document::Source;
use scenario::far_ends::On;
use scenario::fit;
use scenario::runner::{TestOptions, run};
use scenario::script::read;
use scenario::verdict::Verdict;

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|e| e == "toml") {
            into.push(path);
        }
    }
}

#[test]
fn every_bundled_scenario_names_only_what_its_bench_has() {
    let mut paths = Vec::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/scenarios");
    files(Path::new(folder), &mut paths);
    let mut scenarios = Vec::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).expect("readable");
        let loaded = read(Source::new(path.display().to_string(), text)).expect("right");
        let plain = loaded.scenarios.into_iter().filter(|s| s.mutant.is_none());
        scenarios.extend(plain);
    }
    assert!(scenarios.len() > 100, "{}", scenarios.len());
    let told: Vec<String> = fit::faults(&scenarios, None, On::Sim)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(told.is_empty(), "{told:#?}");
}

/// What the quiet bench is told of a step and a check.
fn check(step: &str, check: &str, expected: &[(&str, &str)]) {
    let text = format!(
        "name = \"n\"\nmatrix = {{ a = [\"1\", \"2\"] }}\ndo = [\n{step}\n]\ncheck = [\n{check}\n]\n"
    );
    let loaded = read(Source::new("s.toml", text)).expect("it is right by itself");
    let rig = concat!(env!("CARGO_MANIFEST_DIR"), "/../virtual/lab.toml");
    let told: Vec<String> = fit::faults(&loaded.scenarios, Some(Path::new(rig)), On::Sim)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (found, (code, words)) in told.iter().zip(expected) {
        let fits = found.contains(&format!("[{code}]")) && found.contains(words);
        assert!(fits, "{code} `{words}` in {found}");
        assert!(found.contains("s.toml:"), "{found}");
    }
}

#[test]
fn what_is_not_on_the_bench_is_told_at_once_with_each_place() {
    let ledger = "{ ledger = \"complete\" }";
    let mark = "{ at = \"0s\", mark = \"t0\" }";
    check(mark, ledger, &[]);
    check(
        r#"{ at = "0s", set = { "ess9.p" = "1kW", "grid.f" = "50Hz" }, release = ["ess1", "pv8"], fault = { "lan9.loss" = "2%", "ess1.stuck" = "on", "controller.clock_jump" = "1s" }, until = { settle = "ess1.p", band = "50W", within = "5s" } }"#,
        ledger,
        &[
            (
                "S024",
                "no device `ess9` at s.toml:4:22 (help: did you mean `ess1`?)",
            ),
            ("S024", "no device `pv8`"),
            ("S024", "no device or bus `lan9`"),
        ],
    );
    check(
        mark,
        r#"{ band = "ess9.p", within = "0..1W" },
           { never = "pv1.available > 1W" },
           { always = "pcc.p < 9kW" },
           { event = "device_offline", device = "esss1" },
           { ordered = ["load_shed plug77", "load_restored"] },
           { accuracy = "fcr1", at_most = "5%" },
           { link = "met9", p99 = "1s", loss = "1%" }"#,
        &[
            ("S024", "no device `ess9` at s.toml:7:10"),
            ("S025", "`pv1.available` is never measured"),
            ("S024", "`esss1`"),
            ("S024", "`plug77`"),
            ("S024", "`fcr1`"),
            ("S024", "`met9`"),
        ],
    );
    check(
        r#"{ at = "0s", until = { above = "grid.noise", value = "1Hz", within = "1s" } }"#,
        ledger,
        &[("S025", "of `grid` it measures")],
    );
}

#[test]
fn a_bench_that_lacks_what_is_needed_is_not_looked_at_and_a_missing_rig_is_told_once() {
    let text = |more: &str| {
        format!(
            "name = \"n\"\n{more}\ndo = []\ncheck = [{{ band = \"gen7.p\", within = \"0..1W\" }}]\n"
        )
    };
    let faults = |more: &str| {
        let loaded = read(Source::new("s.toml", text(more))).expect("it is right by itself");
        let told = fit::faults(&loaded.scenarios, None, On::Sim);
        told.iter().map(|f| f.code).collect::<Vec<_>>()
    };
    assert_eq!(faults(""), ["S024"], "the demo bench has none");
    assert_eq!(faults("need = { genset = 7 }"), [""; 0]);
    let two = "rig = \"no-such.toml\"\nmatrix = { a = [\"1\", \"2\"] }";
    assert_eq!(faults(two).len(), 1);
}

#[test]
fn a_scenario_that_only_an_emulated_bench_bears_does_not_begin_on_a_real_one() {
    let text = r#"name = "n"
do = [{ at = "0s", fault = { "ess1.stuck" = "on" } }]
check = [{ ledger = "complete" }]
"#;
    let loaded = read(Source::new("s.toml", text)).expect("it is right by itself");
    let folder = tempfile::tempdir().expect("a folder");
    let options = TestOptions {
        scenarios: loaded.scenarios,
        rig: Some(PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../virtual/lab.toml"
        ))),
        on: On::Bench,
        virtual_time: false,
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
        id: "real".into(),
    };
    let result = run(options, |_| {}).expect("it ends");
    assert_eq!(result.verdict, Verdict::Config, "{result:#?}");
    let why = &result.scenarios[0].why;
    assert!(why.contains("S028") && why.contains("s.toml:2:"), "{why}");
}
