//! The recommended suite: every row of it has a scenario or a judge, and the page says which.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use document::{Document, Source};
use scenario::script;

/// Rows of the suite. Source: its table.
const ROWS: i64 = 41;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios")
}

/// A row: its name, the scenarios that are it, and who judges it where none is.
struct Row {
    name: String,
    by: Vec<String>,
    judge: Option<String>,
}

fn rows() -> BTreeMap<i64, Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rows.toml");
    let text = std::fs::read_to_string(&path).expect("the rows are there");
    let document = Document::parse(Source::new("rows.toml", text)).expect("it is TOML");
    let mut rows = BTreeMap::new();
    for table in document.root().tables("row") {
        let n = table.integer("n", 1..=ROWS).expect("a number").value;
        let row = Row {
            name: table.text("name").expect("a name").value,
            by: table.texts("by").into_iter().map(|t| t.value).collect(),
            judge: table
                .has("judge")
                .then(|| table.text("judge").expect("a command").value),
        };
        table.finish();
        assert!(rows.insert(n, row).is_none(), "row {n} is there twice");
    }
    assert!(!document.has_errors(), "{:?}", document.into_faults());
    rows
}

/// The numbers behind "row" and "rows" of a source: `control.md rows 4 and 13: …`.
fn named(source: &str) -> Vec<i64> {
    let Some((_, rest)) = source.split_once(" row") else {
        return Vec::new();
    };
    let rest = rest.strip_prefix('s').unwrap_or(rest);
    let rest = rest.split([':', ',']).next().unwrap_or_default();
    let words = rest.split_whitespace();
    let numbers = words.take_while(|word| *word == "and" || word.parse::<i64>().is_ok());
    numbers.filter_map(|word| word.parse().ok()).collect()
}

/// Every scenario file below a folder, by its name below it, with the rows that it names.
fn scenarios() -> BTreeMap<String, BTreeSet<i64>> {
    let mut found = BTreeMap::new();
    let folders = std::fs::read_dir(folder()).expect("the folder is there");
    for folder in folders
        .map(|f| f.expect("an entry").path())
        .filter(|p| p.is_dir())
    {
        for file in std::fs::read_dir(&folder).expect("it can be listed") {
            let path = file.expect("an entry").path();
            if path.extension().is_none_or(|e| e != "toml") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("it is text");
            let source = Source::new(path.display().to_string(), text);
            let Ok(loaded) = script::read(source) else {
                continue;
            };
            let sources = loaded.scenarios.iter().flat_map(|s| &s.source);
            let rows = sources.flat_map(|source| named(source)).collect();
            let name = |path: &Path| {
                path.file_name()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned()
            };
            found.insert(format!("{}/{}", name(&folder), name(&path)), rows);
        }
    }
    found
}

#[test]
fn every_row_of_the_recommended_suite_has_a_scenario_or_a_judge() {
    let (rows, scenarios) = (rows(), scenarios());
    let mut missing = Vec::new();
    for n in 1..=ROWS {
        let Some(row) = rows.get(&n) else {
            missing.push(format!("row {n} is not there"));
            continue;
        };
        if row.by.is_empty() == row.judge.is_none() {
            missing.push(format!(
                "row {n} has neither a scenario nor a judge, or both"
            ));
        }
        for file in row.by.iter().filter(|file| !scenarios.contains_key(*file)) {
            missing.push(format!("row {n}: {file} is no scenario"));
        }
        // A scenario that says which row it is stands in that row, so that none is lost by renaming another.
        for (file, _) in scenarios.iter().filter(|(_, named)| named.contains(&n)) {
            if !row.by.contains(file) {
                missing.push(format!("row {n}: {file} names it and is not listed"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Rows of conformance and services, which qualify a device or a controller.
const QUALIFYING: std::ops::RangeInclusive<i64> = 1..=28;

#[test]
fn each_scenario_of_conformance_and_services_names_its_row_and_each_row_catches_something_wrong() {
    let named = scenarios();
    let mut missing = Vec::new();
    for (n, row) in rows().into_iter().filter(|(n, _)| QUALIFYING.contains(n)) {
        for file in row.by.iter().filter(|file| !named[*file].contains(&n)) {
            missing.push(format!("row {n}: {file} does not name it in its source"));
        }
        // Known-bad devices beside it do not count: those show that a check can fail, not that this scenario does.
        let catches = row.by.iter().any(|file| {
            let path = folder().join(file);
            let text = std::fs::read_to_string(&path).expect("it is text");
            let read = script::read(Source::new(path.display().to_string(), text));
            let all = read.expect("the scenario is right").scenarios;
            all.iter().any(|s| s.mutant.is_some())
        });
        if !catches {
            missing.push(format!("row {n} has no mutant that it must catch"));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn rows_are_named_by_numbers_alone_or_together() {
    for (source, rows) in [
        ("control.md row 3: 5 %", &[3][..]),
        ("control.md rows 4 and 13: within 30 s", &[4, 13]),
        ("HIL testing, 4 and row 34: a loop delay", &[34]),
        ("control.md row 22 and 2.7, after", &[22]),
        ("a ramp of 2 Hz/s", &[]),
    ] {
        assert_eq!(named(source), rows, "{source}");
    }
}

#[test]
fn the_page_has_the_table_of_the_rows() {
    let mut table = String::from("| row | what | where |\n| ---: | --- | --- |\n");
    for (n, row) in rows() {
        let link = |file: &String| {
            let name = file
                .rsplit('/')
                .next()
                .unwrap_or(file)
                .trim_end_matches(".toml");
            format!("[{name}]({file})")
        };
        let links: Vec<String> = row.by.iter().map(link).collect();
        let place = row
            .judge
            .map_or_else(|| links.join(", "), |judge| format!("`{judge}`"));
        table.push_str(&format!("| {n} | {} | {place} |\n", row.name));
    }
    let path = folder().join("README.md");
    let page = std::fs::read_to_string(&path).expect("the page is there");
    let (head, rest) = page
        .split_once("| row | what | where |\n")
        .expect("the page has the table");
    let end = rest.find("\n\n").map_or("", |end| &rest[end + 1..]);
    let made = format!("{head}{table}{end}");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &made).expect("the page can be written");
    }
    assert_eq!(
        page, made,
        "run `UPDATE=1 cargo test -p scenario --test rows`"
    );
}
