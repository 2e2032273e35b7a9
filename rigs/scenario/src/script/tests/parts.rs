//! Loops and included files.

use super::*;

const LEDGER: &str = r#"{ ledger = "complete" }"#;

/// The moments and marks of the script.
fn told(scenario: &Scenario) -> Vec<String> {
    let one = |step: &Step| {
        let mark = step.mark.as_deref().unwrap_or("-");
        format!("{} {mark} ({})", step.at, step.origin)
    };
    scenario.steps.iter().map(one).collect()
}

#[test]
fn a_loop_is_written_out_and_its_steps_keep_their_place() {
    let text = scenario(
        r#"{ at = "0s", mark = "t0" },
{ repeat = 2, as = "n", do = [
  { at = "+1s", set = { "ess{n}.p" = "{n}kW" }, mark = "up{n}" },
  { repeat = 2, do = [
    { at = "+2s", set = { "ess{n}.p" = "{low}" } },
  ] },
] }"#,
        r#"{ band = "ess2.p", from = "up2", for = "1s", within = "0..1W" }"#,
        r#"matrix = { low = ["0W"] }"#,
    );
    let scenarios = load(&text).expect("right");
    assert_eq!(
        told(&scenarios[0]),
        [
            "0s t0 (line 3)",
            "+1s up1 (line 5, round 1)",
            "+2s - (line 7, round 1, round 1)",
            "+2s - (line 7, round 1, round 2)",
            "+1s up2 (line 5, round 2)",
            "+2s - (line 7, round 2, round 1)",
            "+2s - (line 7, round 2, round 2)",
        ]
    );
    assert_eq!(
        scenarios[0].steps[4].actions,
        [Action::Set {
            signal: Signal::new("ess2", SignalQuantity::ActivePower),
            value: 2000.0
        }]
    );
}

#[test]
fn a_fault_in_a_loop_is_told_once_with_its_place() {
    // Each with what stands at the place.
    let rows = [
        (
            r#"{ repeat = 3, do = [{ at = "+1s", set = { "a.p" = "1V" } }] }"#,
            "S004",
            "\"1V\"",
            "no value of `a.p`",
        ),
        (
            r#"{ repeat = 3, do = [{ at = "1s", release = ["a"] }, { at = "2s", release = ["a"] }] }"#,
            "S012",
            "{ at = \"1s\"",
            "at 1s and the one before it at 2s",
        ),
        (
            r#"{ repeat = 3, do = [{ at = "+1s", mark = "t" }] }"#,
            "S015",
            "\"t\"",
            "name the round",
        ),
        (
            r#"{ repeat = 3, as = "low", do = [] }"#,
            "S026",
            "\"low\"",
            "stands for something already",
        ),
        (
            r#"{ repeat = 3, as = "n-1", do = [] }"#,
            "S026",
            "\"n-1\"",
            "cannot name a round",
        ),
        (
            r#"{ repeat = 99, do = [{ repeat = 1000, do = [{ repeat = 1000, do = [] }] }] }"#,
            "S026",
            "{ repeat = 1000, do = []",
            "more than 2000 steps",
        ),
        (
            r#"{ repeat = 1000, do = [{ at = "+1s", release = ["a"] }, { at = "+1s", release = ["a"] }] }"#,
            "S026",
            "{ at = \"+1s\"",
            "more than 2000 steps",
        ),
        (r#"{ repeat = 0, do = [] }"#, "D005", "0", "out of range"),
        (
            r#"{ repeat = 2 }"#,
            "D004",
            "{ repeat",
            "`do.do` is missing",
        ),
        (
            r#"{ repeat = 2, at = "1s", do = [] }"#,
            "D002",
            "at = \"1s\"",
            "unknown key `do.at`",
        ),
        (
            r#"{ at = "1s", set = { "a{n}.p" = "1W" } }"#,
            "S010",
            "\"a{n}.p\"",
            "no `n`",
        ),
    ];
    for (step, code, place, words) in rows {
        let text = format!(
            "name = \"n\"\nmatrix = {{ low = [\"1\", \"2\"] }}\ndo = [{step}]\ncheck = [{LEDGER}]\n"
        );
        let column = 7 + step.find(place).expect("it stands there");
        let faults = load(&text).expect_err(step);
        assert_eq!(faults.len(), 1, "{step}: {faults:#?}");
        for part in [&format!("[{code}]"), words, &format!(" s.toml:3:{column}")] {
            assert!(faults[0].contains(part), "`{part}`: {faults:?}");
        }
    }
}

/// A folder with these files, and what `s.toml` in it becomes.
fn load_files(files: &[(&str, &str)]) -> Result<Vec<Scenario>, Vec<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("one")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    let own = folder.path().join("s.toml");
    let text = std::fs::read_to_string(&own).expect("readable");
    let shown = |text: String| text.replace(&format!("{}/", folder.path().display()), "");
    let mut loaded = read(Source::new(own.display().to_string(), text))
        .map(|loaded| loaded.scenarios)
        .map_err(|faults| {
            faults
                .iter()
                .map(|f| shown(f.to_string()))
                .collect::<Vec<_>>()
        })?;
    for scenario in &mut loaded {
        let before = scenario.setup.iter_mut().flat_map(|p| &mut p.steps);
        let behind = scenario.teardown.iter_mut().flat_map(|p| &mut p.steps);
        for step in before.chain(&mut scenario.steps).chain(behind) {
            step.origin.file = step.origin.file.take().map(shown);
        }
    }
    Ok(loaded)
}

#[test]
fn an_included_file_comes_before_the_own_steps_and_its_teardown_behind_them() {
    let scenarios = load_files(&[
        (
            "s.toml",
            r#"name = "n"
include = ["parts/common.toml"]
matrix = { p = ["1kW"] }
setup = { within = "5s", do = [{ at = "ready+1s", release = ["b"] }] }
do = [{ at = "+1s", mark = "own" }]
check = [{ never = "a.p > 1W", from = "common", to = "own" }]
teardown = { within = "6s", do = [{ at = "0s", release = ["d"] }] }
"#,
        ),
        (
            "parts/common.toml",
            r#"include = ["../deeper.toml"]
setup = { within = "3s", do = [{ at = "0s", set = { "a.p" = "{p}" }, mark = "ready" }] }
do = [{ at = "0s", mark = "common" }]
teardown = { within = "4s", do = [{ at = "0s", release = ["c"] }] }
"#,
        ),
        ("deeper.toml", "do = [{ at = \"0s\", mark = \"deeper\" }]\n"),
    ])
    .expect("right");
    assert_eq!(
        told(&scenarios[0]),
        [
            "0s deeper (parts/../deeper.toml, line 1)",
            "0s common (parts/common.toml, line 3)",
            "+1s own (line 5)",
        ]
    );
    let phases = |phases: &[Phase]| {
        let of_it = |p: &Phase| (p.within.as_secs(), p.steps[0].origin.to_string());
        phases.iter().map(of_it).collect::<Vec<_>>()
    };
    let common = |line: usize| format!("parts/common.toml, line {line}");
    assert_eq!(
        phases(&scenarios[0].setup),
        [(3, common(2)), (5, "line 4".to_owned())]
    );
    assert_eq!(
        phases(&scenarios[0].teardown),
        [(6, "line 7".to_owned()), (4, common(4))]
    );
}

#[test]
fn what_is_wrong_with_an_included_file_is_told_at_its_place() {
    let own =
        |more: &str| format!("name = \"n\"\ninclude = [\"a.toml\"]\n{more}check = [{LEDGER}]\n");
    let rows: [(&str, &str, &str, &str, &str); 7] = [
        (
            "",
            "include = [\"s.toml\"]\n",
            "S027",
            "a.toml:1:12",
            "includes itself",
        ),
        (
            "",
            "include = [\"b.toml\"]\n",
            "S027",
            "a.toml:1:12",
            "cannot be read",
        ),
        (
            "",
            "include = [\"a.toml\"]\n",
            "S027",
            "a.toml:1:12",
            "includes itself",
        ),
        ("", "do = [\n", "D001", "a.toml:", "not a TOML"),
        (
            "",
            "do = [{ at = \"1\", mark = \"t\" }]\n",
            "S001",
            "a.toml:1:14",
            "no unit",
        ),
        (
            "",
            "check = []\n",
            "D002",
            "a.toml:1:1",
            "unknown key `check`",
        ),
        (
            "do = [{ at = \"1s\", mark = \"t\" }]\n",
            "do = [{ at = \"0s\", mark = \"t\" }]\n",
            "S015",
            "s.toml:3:27",
            "a mark `t` already",
        ),
    ];
    for (more, included, code, place, words) in rows {
        let files = [("s.toml", own(more)), ("a.toml", included.to_owned())];
        let faults =
            load_files(&[("s.toml", &files[0].1), ("a.toml", &files[1].1)]).expect_err(included);
        assert_eq!(faults.len(), 1, "{included}: {faults:#?}");
        for part in [&format!("[{code}]"), place, words] {
            assert!(faults[0].contains(part), "`{part}`: {faults:?}");
        }
    }
    for (path, words) in [("/dev/zero", "is no file"), (".", "is no file")] {
        let text = own("").replace("a.toml", path);
        let faults = load_files(&[("s.toml", &text)]).expect_err(path);
        let is_told = faults.len() == 1 && faults[0].contains(words);
        assert!(is_told && faults[0].contains("s.toml:2:12"), "{faults:?}");
    }
    // Two files that name each other twice over double with each level, and an end is made of that.
    let twice = "include = [\"b.toml\", \"b.toml\"]\n";
    let mut files: Vec<(String, String)> = vec![("s.toml".to_owned(), own(""))];
    files.push(("a.toml".to_owned(), twice.to_owned()));
    for (name, next) in ["bc", "cd", "de", "ef", "fg", "gh"].map(|pair| pair.split_at(1)) {
        let text = twice.replace("b.toml", &format!("{next}.toml"));
        files.push((format!("{name}.toml"), text));
    }
    files.push(("h.toml".to_owned(), String::new()));
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(n, t)| (n.as_str(), t.as_str()))
        .collect();
    let faults = load_files(&files).expect_err("254 files");
    assert!(
        faults.iter().all(|f| f.contains("more than 100 files")),
        "{faults:?}"
    );
}

#[test]
fn a_file_to_include_is_read_by_itself() {
    let fragment = |text: &str| {
        read_fragment(Source::new("common.toml", text))
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let good = r#"setup = { within = "3s", do = [{ at = "0s", set = { "a.p" = "{p}" }, mark = "ready" }] }
do = [{ at = "ready+1s", mark = "common" }]
"#;
    assert_eq!(fragment(good), Ok(Vec::new()));
    let faults = fragment(&good.replace("ready+", "steady+")).expect_err("no such mark");
    assert!(
        faults.len() == 1 && faults[0].contains("common.toml:2:"),
        "{faults:?}"
    );
}
