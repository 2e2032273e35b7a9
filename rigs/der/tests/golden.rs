//! The model against what EPRI's OpenDER 2.2.0 has given for the same settings and series: golden files, so
//! that nobody needs Python. `tests/run --only interop_der` makes them anew and compares.
//!
//! `golden/NAME.toml` are the settings, `NAME.in.csv` the series, `NAME.opender.csv` what OpenDER gave.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "golden series are files")]

use std::path::{Path, PathBuf};

use der_model::series::{Columns, Series};
use der_model::{Der, settings};
use document::Source;

/// Settled powers, per unit, which have a closed form.
const SETTLED_PU: f64 = 1e-4;
/// Settled powers where OpenDER searches the circle of the rating, and ends within a thousandth.
const SEARCHED_PU: f64 = 1.5e-3;
/// Powers on their way: another method of integration.
const MOVING_PU: f64 = 0.02;
/// Rows in which the status may differ: OpenDER says that it ceases from the first moment on, the model when
/// its output is gone, 0.16 s later, which are three steps of these series.
const ODD_ROWS: usize = 3;

/// A row of a result: powers, and whether the device gives power, comes back, is out or has ceased.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    p: f64,
    q: f64,
    status: &'static str,
}

fn word(status: &str) -> &'static str {
    match status {
        "entering" | "Entering Service" => "entering",
        "ceased" | "Momentary Cessation" | "Cease to Energize" => "ceased",
        "tripped" | "off" | "Trip" => "out",
        _ => "on",
    }
}

fn rows(text: &str) -> Vec<Row> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        Row {
            p: cells[1].parse().expect("a number"),
            q: cells[2].parse().expect("a number"),
            status: word(cells[3]),
        }
    };
    text.lines().skip(1).map(row).collect()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What the model gives for the settings and the series of a case.
fn ours(folder: &Path, name: &str) -> Vec<Row> {
    let source = Source::new(name, text(&folder.join(format!("{name}.toml"))));
    let (settings, _) = settings::read(source).unwrap_or_else(|e| panic!("{name}: {e:?}"));
    let series = text(&folder.join(format!("{name}.in.csv")));
    let mut lines = series.lines();
    let columns = Columns::read(lines.next().expect("a first line"), settings.kind);
    let columns = columns.unwrap_or_else(|e| panic!("{name}: {e:?}"));
    let mut driven = Series::new(Der::new(settings), columns);
    let mut out = b"t_s,p_pu,q_pu,status\n".to_vec();
    for line in lines {
        driven
            .row(line, &mut out)
            .unwrap_or_else(|e| panic!("{name}: {e:?}"));
    }
    rows(std::str::from_utf8(&out).expect("text"))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.expect("an entry").file_name();
            Some(name.to_str()?.strip_suffix(".toml")?.to_owned())
        })
        .collect();
    names.sort();
    names
}

#[test]
fn the_model_gives_what_opender_gave_for_every_golden_series() {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let names = names(&folder);
    assert!(names.len() >= 25, "{}", names.len());
    for name in &names {
        let near = match name.as_str() {
            "watt-var" | "power-factor" => SEARCHED_PU,
            moving if moving.ends_with("-response") || moving == "enter-service" => MOVING_PU,
            moving if moving.starts_with("cessation") || moving.starts_with("trip") => MOVING_PU,
            _ => SETTLED_PU,
        };
        let (ours, theirs) = (
            ours(&folder, name),
            rows(&text(&folder.join(format!("{name}.opender.csv")))),
        );
        assert_eq!(ours.len(), theirs.len(), "{name}");
        let mut odd = 0;
        for (n, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            if ours.status != theirs.status {
                odd += 1;
                continue;
            }
            let apart = (ours.p - theirs.p).abs().max((ours.q - theirs.q).abs());
            assert!(
                apart <= near,
                "{name}, row {n}: {ours:?}, OpenDER {theirs:?}"
            );
        }
        assert!(odd <= ODD_ROWS, "{name}: {odd} rows of another status");
    }
}
