//! The tables of keys and the reader name the same keys.

use std::collections::BTreeSet;

use super::*;
use crate::script::keys::{
    AFTER, AGREE, CHECKS, Key, LOOP, OF_ALL, PHASE, RAMP, RANGE, ROOT, STEP, UNTIL,
};
use crate::script::schema::schema;

/// A key that nothing reads, and that is like none that something does.
const NOBODYS: &str = "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqq";

/// The keys that the reader asks for in a table, by what it says of a key that it does not know.
/// `@` stands in the text where that key is put.
fn asked(text: &str) -> BTreeSet<String> {
    assert_eq!(text.matches('@').count(), 1, "{text}");
    load(&text.replace('@', "")).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
    let faults = load(&text.replace(
        '@',
        &format!(
            "{NOBODYS} = 1{}",
            if text.contains("@# ") { "" } else { ", " }
        ),
    ))
    .expect_err("unknown");
    let [fault] = faults.as_slice() else {
        panic!("{text}: {faults:#?}")
    };
    let known = fault.split_once("known here: ").map(|(_, known)| known);
    let known = known.and_then(|known| known.strip_suffix(')'));
    let known = known.unwrap_or_else(|| panic!("{fault}"));
    known.split(", ").map(str::to_owned).collect()
}

fn names<'k>(keys: impl IntoIterator<Item = &'k Key>) -> BTreeSet<String> {
    keys.into_iter().map(|key| key.name.to_owned()).collect()
}

const LEDGER: &str = r#"{ ledger = "complete" }"#;
const MARK: &str = r#"{ at = "0s", mark = "t0" }"#;

#[test]
fn every_kind_of_check_is_read_with_the_keys_that_its_table_names() {
    let kinds: BTreeSet<String> = CHECKS.iter().map(|kind| kind.key.name.to_owned()).collect();
    for kind in CHECKS {
        let mut found = BTreeSet::new();
        for example in kind.examples {
            let example = example.replacen("{ ", "{ @", 1);
            found.extend(asked(&scenario(MARK, &example, "")));
        }
        let mut expected = names(kind.keys.iter().chain(OF_ALL));
        expected.extend(kinds.iter().cloned());
        assert_eq!(found, expected, "{}", kind.key.name);
    }
}

#[test]
fn every_other_table_is_read_with_the_keys_that_it_names() {
    let step = |text: &str| scenario(text, LEDGER, "");
    let more = |text: &str| scenario(MARK, LEDGER, text);
    let waits = [
        r#"{ at = "0s", until = { @settle = "a.p", within = "1s", band = "1W" } }"#,
        r#"{ at = "0s", until = { @above = "a.p", within = "1s", value = "1W" } }"#,
    ];
    let wait: BTreeSet<String> = waits.iter().flat_map(|text| asked(&step(text))).collect();
    assert_eq!(wait, names(UNTIL));
    let mut of_step = names(STEP);
    of_step.insert("repeat".to_owned());
    let rows = [
        (step(r#"{ @at = "0s", mark = "t0" }"#), of_step),
        (step(r#"{ @repeat = 2, do = [] }"#), names(LOOP)),
        (
            step(r#"{ at = "0s", ramp = { "a.p" = { @to = "1W", over = "1s" } } }"#),
            names(RAMP),
        ),
        (
            step(r#"{ at = "0s", agree = { @pcc_target = "1W" } }"#),
            names(AGREE),
        ),
        (more(r#"setup = { @do = [], within = "1s" }"#), names(PHASE)),
        (
            more(r#"teardown = { @do = [], within = "1s" }"#),
            names(PHASE),
        ),
        (
            more(r#"after = { @safe = [], within = "1s" }"#),
            names(AFTER),
        ),
        (
            more(r#"matrix = { a = { @from = "1", to = "2", step = "1" } }"#),
            names(RANGE),
        ),
        // At the top a key stands in a line of its own.
        (more("@# "), names(ROOT)),
    ];
    for (text, expected) in rows {
        assert_eq!(asked(&text), expected, "{text}");
    }
}

#[test]
fn the_page_names_every_key_and_the_schema_every_word() {
    let page = include_str!("../../../../../tests/scenarios/README.md");
    let of_checks = CHECKS
        .iter()
        .flat_map(|kind| kind.keys.iter().chain([&kind.key]));
    let tables = [
        ROOT, AFTER, PHASE, STEP, LOOP, UNTIL, AGREE, RANGE, RAMP, OF_ALL,
    ];
    for key in tables.into_iter().flatten().chain(of_checks) {
        let name = key.name;
        let forms = [
            format!("`{name}`"),
            format!("`{name} ="),
            format!(" {name} = "),
        ];
        let is_named = forms.iter().any(|form| page.contains(form));
        assert!(is_named, "the page leaves out `{name}`");
        assert!(key.about.ends_with('.'), "{name}: {}", key.about);
    }
    let text = schema().to_string();
    for word in [
        "islanded",
        "black_start",
        "load_shed",
        "carbon_dioxide",
        "critical",
    ] {
        assert!(text.contains(&format!("\"{word}\"")), "{word}");
    }
}

#[test]
fn a_check_that_breaks_off_has_none_of_its_keys_called_unknown() {
    let text = scenario(
        MARK,
        r#"{ settle = "a.x", from = "t0", to = "1kW", tolerance = "1W", max = "1s", for = "1s", max_gap = "1s", uncertainty = "1W" }"#,
        "",
    );
    let faults = load(&text).expect_err("no such quantity");
    assert_eq!(faults.len(), 1, "{faults:#?}");
}
