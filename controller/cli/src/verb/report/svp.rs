//! The samples and verdicts of a run in the tables of the SunSpec System Validation Platform.
//!
//! What the tables look like is told by [`scenario::svp`]; here are the files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use scenario::svp::{Table, summary};
use scenario::verdict::Verdict;
use serde_json::json;

use super::fresh::{cannot_write, create};
use super::samples::{Place, Samples};
use super::{RESULT_FILE, read};
use crate::codes::usage;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;

/// The summary of all checks.
const SUMMARY_FILE: &str = "result_summary.csv";

/// A line of the samples.
struct Sample<'l> {
    utc_ns: i64,
    device: &'l str,
    point: &'l str,
    /// Empty where it is bad.
    value: &'l str,
}

impl<'l> Sample<'l> {
    /// What a line says; `None` for the first one, which names the columns.
    fn of(line: &'l str) -> Option<Self> {
        let cells: Vec<&str> = line.split(',').collect();
        let [utc_ns, _t_s, device, point, value, _unit, quality] = cells[..] else {
            return None;
        };
        Some(Self {
            utc_ns: utc_ns.parse().ok()?,
            device,
            point,
            value: if quality == "good" { value } else { "" },
        })
    }
}

/// A table that is being written.
struct Written {
    table: Table,
    file: BufWriter<File>,
    path: PathBuf,
}

impl Written {
    fn line(&mut self, line: &str) -> Result<(), Problem> {
        let written = writeln!(self.file, "{line}");
        written.map_err(|e| cannot_write(&self.path, &e))
    }
}

/// Writes the tables of a run into a folder.
pub(super) fn export(run: &Path, out: &Path, terminal: &Terminal) -> Outcome {
    let samples = Samples::told(run, terminal)?;
    if std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        let help = "name a new folder, or an empty one, with `--out`";
        let fault = usage(
            "C003",
            format!("{} holds something already", out.display()),
            help,
        );
        return Err(Problem::usage(fault));
    }
    std::fs::create_dir_all(out).map_err(|e| cannot_write(out, &e))?;
    let mut names = Vec::new();
    for place in &samples.places {
        let name = |device: &str| match place.scenario.as_str() {
            "" => format!("{device}.csv"),
            scenario => format!("{scenario}__{device}.csv"),
        };
        let mut tables = BTreeMap::new();
        for (device, points) in points(place)? {
            let path = out.join(name(&device));
            let file = create(&path)?;
            let mut written = Written {
                table: Table::of(&points),
                file: BufWriter::new(file),
                path,
            };
            written.line(&written.table.head())?;
            names.push(name(&device));
            tables.insert(device, written);
        }
        each_sample(place, |sample| match tables.get_mut(sample.device) {
            None => Ok(()),
            Some(of) => match of.table.add(sample.utc_ns, sample.point, sample.value) {
                None => Ok(()),
                Some(line) => of.line(&line),
            },
        })?;
        for mut of in tables.into_values() {
            if let Some(line) = of.table.take() {
                of.line(&line)?;
            }
            of.file.flush().map_err(|e| cannot_write(&of.path, &e))?;
        }
    }
    if run.join(RESULT_FILE).is_file() {
        let result = read(run)?;
        let file_of = |number: usize, device: &str| {
            // The folder of a scenario begins with its number, from 1.
            let folder = format!("{:03}-", number + 1);
            let end = format!("__{device}.csv");
            let is_its = |file: &&String| file.starts_with(&folder) && file.ends_with(&end);
            names.iter().find(is_its).cloned()
        };
        let path = out.join(SUMMARY_FILE);
        std::fs::write(&path, summary(&result, file_of)).map_err(|e| cannot_write(&path, &e))?;
        names.push(SUMMARY_FILE.to_owned());
    }
    terminal.result(
        || json!({ "out": out, "files": names }),
        || format!("{} tables were written to {}.", names.len(), out.display()),
    );
    Ok(Verdict::Pass)
}

/// Gives each sample to `take`.
fn each_sample(
    place: &Place,
    mut take: impl FnMut(&Sample<'_>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    place.each(&mut |line| {
        Sample::of(line).map_or(Ok(()), |sample| take(&sample))?;
        Ok(true)
    })
}

/// What each device has said of itself.
fn points(place: &Place) -> Result<BTreeMap<String, BTreeSet<String>>, Problem> {
    let mut points: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    each_sample(place, |sample| {
        let of = points.entry(sample.device.to_owned()).or_default();
        if !of.contains(sample.point) {
            of.insert(sample.point.to_owned());
        }
        Ok(())
    })?;
    Ok(points)
}
