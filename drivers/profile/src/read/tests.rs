//! Every fault that a profile can have is told with its code and place, and nothing stops the reader.

mod rows;
mod texts;

use std::collections::BTreeSet;

use document::Source;
use proptest::prelude::*;

use crate::{EXPLANATIONS, Profile};
use rows::ROWS;
use texts::{BATTERY, DBC, METER, NUMBER, PLUG, SOURCE, SUNSPEC};

/// Faults of a text as `code line:column`.
fn faults(text: &str) -> Vec<String> {
    let found = match Profile::parse(Source::new("p.toml", text)) {
        Ok((_, warnings)) => warnings,
        Err(faults) => faults,
    };
    found
        .iter()
        .map(|d| {
            let (line, column) = d.place.as_ref().expect("a place").line_and_column();
            format!("{} {line}:{column}", d.code)
        })
        .collect()
}

#[test]
fn a_profile_without_faults_has_none() {
    for text in [METER, SUNSPEC, BATTERY, DBC, PLUG, NUMBER, SOURCE] {
        assert_eq!(faults(text), Vec::<String>::new());
    }
}

#[test]
fn every_fault_is_told_with_its_code_and_place() {
    let mut wrong = Vec::new();
    for (text, from, to, expected) in ROWS {
        assert!(text.contains(from), "{from}");
        let found = faults(&text.replacen(from, to, 1));
        if found != *expected {
            wrong.push(format!(
                "{from:?} -> {to:?}: {found:?}, expected {expected:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_write_of_more_than_123_registers_is_a_fault() {
    let field = |i: u32| {
        format!(
            "  {{ addr = {}, type = \"u16\", write = \"constant\", raw = 0 }},\n",
            104 + i
        )
    };
    let with = |n: u32| {
        let more: String = (0..n).map(field).collect();
        METER.replace("raw = 1 },\n", &format!("raw = 1 }},\n{more}"))
    };
    // Four registers stand there already.
    assert_eq!(faults(&with(119)), Vec::<String>::new());
    assert_eq!(faults(&with(121)), ["P009 170:12"]);
}

#[test]
fn a_spoilt_signal_of_a_dbc_file_is_told_where_it_is_mapped_with_its_line() {
    let folder = std::env::temp_dir().join(format!("gridrig-dbc-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let good = include_str!("../../../../tests/peers/inverter.dbc");
    let spoilt = good.replace("PowerTaken : 7|16", "PowerTaken : 7|65");
    std::fs::write(folder.join("spoilt.dbc"), spoilt).expect("written");
    let text = DBC.replace("../../tests/peers/inverter.dbc", "spoilt.dbc");
    let path = folder.join("p.toml").display().to_string();
    let faults = Profile::parse(Source::new(path, text)).expect_err("spoilt");
    std::fs::remove_dir_all(&folder).expect("removed");
    let [fault] = faults.as_slice() else {
        panic!("{faults:?}")
    };
    assert_eq!(fault.code, "P052");
    let words = "`PowerTaken` (line 15 of the DBC file) cannot be read: it has 65 bits";
    assert!(fault.message.contains(words), "{}", fault.message);
}

#[test]
fn every_code_has_a_row() {
    let mut seen: BTreeSet<&str> = ROWS
        .iter()
        .flat_map(|(_, _, _, expected)| expected.iter())
        .filter_map(|e| e.split(' ').next())
        .collect();
    seen.insert("P009");
    // A DBC file with a spoilt signal has a test of its own.
    seen.insert("P052");
    for (code, _) in EXPLANATIONS {
        assert!(seen.contains(code), "{code} is never tested");
    }
}

#[test]
fn a_fault_says_what_was_probably_meant() {
    let rows = [
        (METER, "\"ac.f\"", "\"ac.ff\"", "did you mean `ac.f`?"),
        (SUNSPEC, "\"WMax\"", "\"Wmax\"", "did you mean `WMax`?"),
        (
            METER,
            "unit = \"Hz\"",
            "unti = \"Hz\"",
            "did you mean `unit`?",
        ),
        (
            METER,
            "refresh = \"30s\"",
            "refresh = \"40s\"",
            "write `refresh = \"30s\"` or less",
        ),
    ];
    for (text, from, to, help) in rows {
        let faults =
            Profile::parse(Source::new("p.toml", text.replacen(from, to, 1))).expect_err("a fault");
        assert!(
            faults.iter().any(|f| f.help.as_deref() == Some(help)),
            "{to}: {faults:?}"
        );
    }
}

proptest! {
    #[test]
    fn a_text_pasted_over_another_never_stops_the_reader(
        base in 0..5_usize, other in 0..5_usize,
        at in 0..900_usize, end in 0..900_usize, from in 0..900_usize, len in 0..60_usize,
    ) {
        // The base texts are ASCII, so every byte is a boundary.
        let texts = [METER, SUNSPEC, BATTERY, DBC, PLUG, SOURCE];
        let cut = |text: &'static str, range: std::ops::Range<usize>| {
            text.get(range.start.min(text.len())..range.end.min(text.len())).unwrap_or_default()
        };
        let (at, end) = (at.min(end), at.max(end));
        let text = [
            cut(texts[base], 0..at),
            cut(texts[other], from..from + len),
            cut(texts[base], end..usize::MAX),
        ]
        .concat();
        if let Err(faults) = Profile::parse(Source::new("p.toml", text.clone())) {
            prop_assert!(!faults.is_empty(), "refused without a reason");
            for fault in faults {
                let place = fault.place.expect("a place");
                prop_assert!(place.span.end <= text.len(), "{}", fault.message);
            }
        }
    }
}

#[test]
fn whatever_stands_in_the_file_the_reader_answers() {
    // Each line in turn is left out, doubled, or given another value: faults, never a panic.
    for text in [METER, SUNSPEC, BATTERY, DBC, PLUG, NUMBER, SOURCE] {
        let lines: Vec<&str> = text.lines().collect();
        for i in 0..lines.len() {
            let mut without = lines.clone();
            without.remove(i);
            let _ = faults(&without.join("\n"));
            let mut twice = lines.clone();
            twice.insert(i, lines[i]);
            let _ = faults(&twice.join("\n"));
            for value in [
                "-1",
                "9223372036854775807",
                "nan",
                "\"\"",
                "[]",
                "{}",
                "\"é\"",
            ] {
                let key = lines[i].split('=').next().unwrap_or_default();
                let other = format!("{key}= {value}");
                let mut changed = lines.clone();
                changed[i] = &other;
                let _ = faults(&changed.join("\n"));
            }
        }
    }
}

#[test]
fn a_profile_that_only_reads_keeps_its_points_and_has_no_way_to_write() {
    let own = [METER, SUNSPEC, BATTERY, DBC, PLUG, NUMBER, SOURCE]
        .map(|text| Profile::parse(Source::new("p.toml", text)).expect("good").0);
    let bundled = crate::bundled_ids()
        .into_iter()
        .filter_map(crate::bundled)
        .map(|profile| (*profile).clone());
    for profile in own.into_iter().chain(bundled) {
        let reader = profile.read_only();
        assert_eq!(reader.controls(), [], "{}", profile.id);
        assert_eq!(reader.points(), profile.points(), "{}", profile.id);
        if let crate::Protocol::Modbus(modbus) = &reader.protocol {
            assert!(
                modbus.heartbeats.is_empty(),
                "{} has a heartbeat",
                profile.id
            );
        }
    }
}
