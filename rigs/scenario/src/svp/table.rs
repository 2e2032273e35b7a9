//! Tables of results with SVP's columns: one of measurements for each device, and a summary of all checks.
//!
//! Units are the same on both sides (V, A, W, VA, var, Hz), and so is the sign: positive is power that the device
//! gives. A cell is empty where nothing good was measured at that time: nothing is held over or made up.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::CheckResult;
use crate::report::result::RunResult;
use crate::verdict::Verdict;

/// Columns of a point. Totals have the names that SVP's scripts give them, single phases those of its data
/// acquisition. Source: `points_default` there and the heads of its published results.
const COLUMNS: &[(&str, &[&str])] = &[
    ("ac.v.l1", &["AC_VRMS_1"]),
    ("ac.v.l2", &["AC_VRMS_2"]),
    ("ac.v.l3", &["AC_VRMS_3"]),
    ("ac.i.l1", &["AC_IRMS_1"]),
    ("ac.i.l2", &["AC_IRMS_2"]),
    ("ac.i.l3", &["AC_IRMS_3"]),
    ("ac.p.l1", &["AC_P_1"]),
    ("ac.p.l2", &["AC_P_2"]),
    ("ac.p.l3", &["AC_P_3"]),
    ("ac.f", &["AC_FREQ_1", "F_MEAS"]),
    ("dc.v", &["DC_V"]),
    ("dc.i", &["DC_I"]),
    ("dc.p", &["DC_P"]),
    ("ac.p", &["P_MEAS"]),
    ("ac.q", &["Q_MEAS"]),
    ("ac.s", &["S_MEAS"]),
    ("ac.pf", &["PF_MEAS"]),
];

/// A table of the measurements of one device, which grows by a line for each time at which it was read.
#[derive(Clone, Debug)]
pub struct Table {
    /// Where each point stands, by its name.
    columns: Vec<(String, Vec<String>)>,
    line: Option<(i64, BTreeMap<usize, String>)>,
}

impl Table {
    /// A table with columns for these points: SVP's own first and in its order, then all others by their names.
    #[must_use]
    pub fn of(points: &BTreeSet<String>) -> Self {
        let known = COLUMNS.iter().filter(|(point, _)| points.contains(*point));
        let known = known.map(|(point, names)| {
            let names = names.iter().map(|name| (*name).to_owned());
            ((*point).to_owned(), names.collect())
        });
        let is_known = |point: &String| COLUMNS.iter().any(|(of, _)| of == point);
        let others = points.iter().filter(|point| !is_known(point));
        let others =
            others.map(|point| (point.clone(), vec![point.to_uppercase().replace('.', "_")]));
        Self {
            columns: known.chain(others).collect(),
            line: None,
        }
    }

    /// Its first line.
    #[must_use]
    pub fn head(&self) -> String {
        let names = self.columns.iter().flat_map(|(_, names)| names);
        let all: Vec<&str> = std::iter::once("TIME")
            .chain(names.map(String::as_str))
            .collect();
        all.join(",")
    }

    /// Takes a reading, empty where it is bad; gives the line before it when that is full, which is when the
    /// time is another one. `utc_ns` is the time of day in nanoseconds since 1970.
    pub fn add(&mut self, utc_ns: i64, point: &str, value: &str) -> Option<String> {
        let place = self.columns.iter().position(|(of, _)| of == point)?;
        let is_new = self.line.as_ref().is_none_or(|(at, _)| *at != utc_ns);
        let full = is_new.then(|| self.take()).flatten();
        let (_, cells) = self.line.get_or_insert((utc_ns, BTreeMap::new()));
        cells.insert(place, value.to_owned());
        full
    }

    /// The line that is not full yet.
    pub fn take(&mut self) -> Option<String> {
        let (utc_ns, cells) = self.line.take()?;
        // Whole microseconds: more than any clock of a bench is good for.
        let micros = utc_ns.div_euclid(1_000);
        let mut line = format!(
            "{}.{:06}",
            micros.div_euclid(1_000_000),
            micros.rem_euclid(1_000_000)
        );
        for (place, (_, names)) in self.columns.iter().enumerate() {
            for _ in names {
                line.push(',');
                line.push_str(cells.get(&place).map_or("", String::as_str));
            }
        }
        Some(line)
    }
}

/// Quantities of a summary, with the unit that they are told in.
const QUANTITIES: &[(&str, &str)] = &[("V", "V"), ("F", "Hz"), ("P", "W"), ("Q", "var")];

/// Kinds of checks whose verdict is one of a response time, as SVP's `90%_BY_TR=1` is.
const RESPONSES: &[&str] = &["t_start", "t90", "t_full"];

/// Kinds of checks whose verdict is one of staying where the value belongs, as SVP's `WITHIN_BOUNDS_BY_LAST_TR` is.
const BOUNDS: &[&str] = &["band", "curve", "settle", "overshoot", "never", "always"];

/// The summary of a run: a line for each check that looked at a signal. `file_of` names the table of a device in
/// the scenario with this number, from 0, if there is one.
#[must_use]
pub fn summary(run: &RunResult, file_of: impl Fn(usize, &str) -> Option<String>) -> String {
    let mut head = vec![
        "90%_BY_TR=1".to_owned(),
        "WITHIN_BOUNDS_BY_LAST_TR".to_owned(),
    ];
    for (name, _) in QUANTITIES {
        head.extend(["MEAS", "TARGET_MIN", "TARGET_MAX"].map(|part| format!("{name}_{part}")));
    }
    head.extend(["STEP", "FILENAME"].map(str::to_owned));
    let mut lines = vec![head.join(",")];
    for (number, scenario) in run.scenarios.iter().enumerate() {
        for check in &scenario.checks {
            let Some((device, quantity)) = check.signal.as_deref().and_then(|s| s.split_once('.'))
            else {
                continue;
            };
            let word = verdict_word(check.verdict);
            let of = |kinds: &[&str]| {
                if kinds.contains(&check.kind.as_str()) {
                    word
                } else {
                    ""
                }
            };
            let mut cells = vec![of(RESPONSES).to_owned(), of(BOUNDS).to_owned()];
            for (name, unit) in QUANTITIES {
                let is_it =
                    quantity.eq_ignore_ascii_case(name) && BOUNDS.contains(&check.kind.as_str());
                cells.extend(values(check, unit).map(|v| if is_it { v } else { String::new() }));
            }
            let file = file_of(number, device).unwrap_or_default();
            cells.extend([
                cell(&format!("{}: {}", scenario.name, check.name)),
                cell(&file),
            ]);
            lines.push(cells.join(","));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Value and limits of a check in a unit without a prefix; empty where it has none in that unit.
fn values(check: &CheckResult, unit: &str) -> [String; 3] {
    let factor = match check.unit.strip_suffix(unit) {
        Some("") => Some(1.0),
        Some("k") => Some(1e3),
        Some("M") => Some(1e6),
        _ => None,
    };
    let told = |value: Option<f64>| match (value, factor) {
        (Some(value), Some(factor)) => (value * factor).to_string(),
        _ => String::new(),
    };
    [check.value, check.lower, check.upper].map(told)
}

fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "Pass",
        Verdict::Fail => "Fail",
        // SVP has no word for it, and neither of its own is true.
        _ => "Inconclusive",
    }
}

/// A text as a cell.
fn cell(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}
