//! The qualification kit: devices that are wrong on purpose, each named by the scenario that catches it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use document::{Severity, Source};
use scenario::runner::{TestOptions, run};
use scenario::script::{Mutant, Scenario, read};
use scenario::verdict::{Expect, Verdict};

/// Mutants at least, as the kit promises.
const AT_LEAST: usize = 40;

/// Every scenario file below a folder of `tests/scenarios`.
fn files(below: &str, into: &mut Vec<PathBuf>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios");
    for entry in std::fs::read_dir(folder.join(below)).expect("the folder is there") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files(path.to_str().expect("UTF-8"), into);
        } else if path.extension().is_some_and(|e| e == "toml") {
            into.push(path);
        }
    }
    into.sort();
}

/// Every scenario of the pack that has to fail: mutants, and those that are known to be bad as a whole.
fn wrong_on_purpose() -> Vec<Scenario> {
    let mut all_files = Vec::new();
    files("", &mut all_files);
    let mut all = Vec::new();
    for path in all_files {
        let text = std::fs::read_to_string(&path).expect("readable");
        let source: Arc<Source> = Source::new(path.display().to_string(), text);
        let loaded = read(source).expect("the scenario is right");
        let wrong = loaded
            .scenarios
            .into_iter()
            .filter(|s| s.expect == Expect::Fail);
        all.extend(wrong);
    }
    all
}

fn mutants() -> Vec<Scenario> {
    let wrong = wrong_on_purpose().into_iter();
    wrong.filter(|s| s.mutant.is_some()).collect()
}

#[test]
fn the_kit_holds_forty_devices_that_are_wrong_each_in_its_own_way() {
    let mutants = mutants();
    let is_device = |s: &&Scenario| matches!(s.mutant, Some(Mutant::Device { .. }));
    let devices = mutants.iter().filter(is_device).count();
    assert!(devices >= AT_LEAST, "{devices}");
    let titles: BTreeSet<String> = mutants.iter().map(Scenario::title).collect();
    assert_eq!(titles.len(), mutants.len(), "each one differs");
    for scenario in &mutants {
        assert_eq!(scenario.expect, Expect::Fail, "{}", scenario.title());
        assert!(scenario.tags.iter().any(|tag| tag == "mutants"));
    }
}

#[test]
fn every_defect_is_caught_by_a_scenario() {
    let wrong: Vec<String> = mutants()
        .into_iter()
        .filter_map(|scenario| match scenario.mutant {
            Some(Mutant::Device { over, .. }) => Some(over),
            _ => None,
        })
        .collect();
    for (defect, _) in der_model::Defect::ALL {
        let named = format!("defect = \"{defect}\"");
        let caught = wrong.iter().any(|der| der.contains(&named));
        assert!(caught, "no scenario has to catch `{defect}`");
    }
}

/// What is wrong with a controller, and the scenarios that have to catch it: a row of the table in the
/// reference of scenarios.
fn rows_of_controllers() -> Vec<String> {
    let mutants = mutants();
    let row = |(name, defect): &(&str, runtime::Defect)| {
        let files: BTreeSet<String> = mutants
            .iter()
            .filter(|scenario| scenario.mutant == Some(Mutant::Controller(*defect)))
            .filter_map(|scenario| {
                let (_, below) = scenario.file.split_once("tests/scenarios/")?;
                Some(format!("[{below}]({below})"))
            })
            .collect();
        let files: Vec<String> = files.into_iter().collect();
        assert!(!files.is_empty(), "no scenario has to catch `{name}`");
        format!("| `{name}` | {} | {} |", defect.words(), files.join(", "))
    };
    runtime::Defect::ALL.iter().map(row).collect()
}

/// Defects of controllers at least, as the kit promises.
const CONTROLLERS_AT_LEAST: usize = 20;

#[test]
fn every_defect_of_a_controller_is_caught_by_a_scenario_and_stands_in_the_reference() {
    let rows = rows_of_controllers();
    assert!(rows.len() >= CONTROLLERS_AT_LEAST, "{}", rows.len());
    println!("{}", rows.join("\n"));
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios/README.md");
    let reference = std::fs::read_to_string(reference).expect("readable");
    let missing: Vec<&String> = rows
        .iter()
        .filter(|row| !reference.contains(*row))
        .collect();
    assert!(missing.is_empty(), "the table lacks {missing:#?}");
}

/// The page of the kit: whatever is wrong on purpose, beside the scenario that has to catch it.
fn page_of_the_kit() -> String {
    let all = wrong_on_purpose();
    let below = |scenario: &Scenario| {
        let (_, below) = scenario
            .file
            .split_once("tests/scenarios/")
            .expect("it is of the pack");
        below.to_owned()
    };
    // A combination of a matrix is the same mutant once more.
    let rows_of = |takes: &dyn Fn(&Scenario) -> Option<String>| -> BTreeSet<(String, String)> {
        let rows = all.iter().filter_map(|s| Some((below(s), takes(s)?)));
        rows.collect()
    };
    let devices = rows_of(&|s| match &s.mutant {
        Some(Mutant::Device { device, over, .. }) => {
            // In one line, however it is broken over lines in the file.
            let words: Vec<&str> = over.split_whitespace().collect();
            Some(format!("`{device}`: `{}`", words.join(" ")))
        }
        _ => None,
    });
    let controllers = rows_of(&|s| match &s.mutant {
        Some(Mutant::Controller(defect)) => {
            let name = runtime::Defect::ALL
                .iter()
                .find(|(_, known)| known == defect);
            let name = name.map_or("?", |(name, _)| name);
            Some(format!("`{name}`: {}", defect.words()))
        }
        _ => None,
    });
    let benches = rows_of(&|s| {
        s.mutant
            .is_none()
            .then(|| s.name.replace("Known bad: ", ""))
    });
    let table = |what: &str, rows: &BTreeSet<(String, String)>| {
        let lines: Vec<String> = rows
            .iter()
            .map(|(file, wrong)| format!("| {wrong} | [{file}]({file}) |\n"))
            .collect();
        format!(
            "| {what} | has to be caught by |\n| --- | --- |\n{}",
            lines.concat()
        )
    };
    let runs = all.len();
    format!(
        "# The qualification kit\n\n\
         Made from the scenarios by `UPDATE=1 cargo test -p scenario --test mutants`; do not edit.\n\n\
         A suite is worth what it catches. {} devices, {} controllers and {} benches are wrong on purpose, in {runs} runs with the\n\
         combinations of their scenarios. Each of these runs passes only if a check fails, so a mutant that is not caught fails the pack\n\
         (exit code 1), and a pack that passes has caught all of them:\n\
         ```sh\n\
         gridrig test tests/scenarios --tag mutants --speed max    # devices and controllers\n\
         gridrig test tests/scenarios/faults -k known --speed max  # benches and links\n\
         ```\n\
         Not caught: none. Whoever adds one that the suite cannot catch yet writes no scenario for it, and names it here.\n\n\
         ## Devices\n\n{}\n## Controllers\n\n{}\n## Benches and links\n\n{}",
        devices.len(),
        controllers.len(),
        benches.len(),
        table("wrong device", &devices),
        table("wrong controller", &controllers),
        table("what is wrong", &benches),
    )
}

#[test]
fn the_page_of_the_kit_names_whatever_is_wrong_beside_what_has_to_catch_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios/QUALIFICATION.md");
    let made = page_of_the_kit();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &made).expect("the page can be written");
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        page, made,
        "run `UPDATE=1 cargo test -p scenario --test mutants`"
    );
}

#[test]
fn every_mutant_is_a_device_that_a_rig_can_have() {
    for scenario in mutants() {
        let Some(Mutant::Device { device, part, over }) = &scenario.mutant else {
            continue;
        };
        let rig = scenario.rig.as_ref().expect("a rig of its own");
        let path = Path::new(&scenario.file)
            .parent()
            .expect("in a folder")
            .join(rig);
        let rig = runtime::rig::load_mutant(&path, device, *part, over);
        let rig = rig.unwrap_or_else(|faults| {
            let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
            panic!("{}: {}", scenario.title(), told.join("; "))
        });
        let sound = rig.warnings.iter().all(|w| w.severity != Severity::Error);
        assert!(sound, "{}", scenario.title());
    }
}

#[test]
fn a_mutant_of_a_device_that_the_rig_does_not_emulate_is_refused_with_its_code() {
    let der = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../virtual/der.toml"));
    for (device, over, code) in [
        ("pv9", "{ defect = \"no_latch\" }", "R067"),
        ("grid1", "{ defect = \"no_latch\" }", "R067"),
        ("pv1", "{ defect = \"no_lunch\" }", "D006"),
    ] {
        let faults =
            runtime::rig::load_mutant(der, device, Some("der"), over).expect_err("refused");
        let codes: Vec<&str> = faults.iter().map(|f| f.code).collect();
        assert_eq!(codes, [code], "{device} {over}");
    }
}

#[test]
fn a_real_bench_leaves_wrong_devices_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = TestOptions {
        scenarios: mutants(),
        rig: None,
        on: scenario::far_ends::On::Bench,
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
        id: "test".into(),
    };
    let result = run(options, |one| panic!("{} was run", one.name)).expect("it ends");
    assert_eq!(result.verdict, Verdict::NothingSelected);
}
