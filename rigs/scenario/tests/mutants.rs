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

fn mutants() -> Vec<Scenario> {
    let mut all_files = Vec::new();
    files("", &mut all_files);
    let mut all = Vec::new();
    for path in all_files {
        let text = std::fs::read_to_string(&path).expect("readable");
        let source: Arc<Source> = Source::new(path.display().to_string(), text);
        let loaded = read(source).expect("the scenario is right");
        all.extend(loaded.scenarios.into_iter().filter(|s| s.mutant.is_some()));
    }
    all
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
            Some(Mutant::Device { der, .. }) => Some(der),
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

#[test]
fn every_mutant_is_a_device_that_a_rig_can_have() {
    for scenario in mutants() {
        let Some(Mutant::Device { device, der }) = &scenario.mutant else {
            continue;
        };
        let rig = scenario.rig.as_ref().expect("a rig of its own");
        let path = Path::new(&scenario.file)
            .parent()
            .expect("in a folder")
            .join(rig);
        let rig = runtime::rig::load_mutant(&path, device, der);
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
        let faults = runtime::rig::load_mutant(der, device, over).expect_err("refused");
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
