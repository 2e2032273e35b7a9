//! `gridrig report export`: the samples of a run as one table, for other people's tools.

mod parquet;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use runtime::telemetry::SAMPLES_FILE;
use scenario::verdict::Verdict;

use super::svp;
use crate::codes::usage;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;

/// How a table is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated: a row for each value, units in a column of their own.
    #[default]
    Csv,
    /// Apache Parquet: a row for each moment, a column for each point with its unit in the name.
    Parquet,
    /// Tables with the columns of the SunSpec System Validation Platform: one for each device, and a summary.
    Svp,
}

/// The samples of a run: files, each with the folder of its scenario.
struct Samples<'a> {
    run: &'a Path,
    files: Vec<(String, PathBuf)>,
    terminal: &'a Terminal,
}

/// What is done with a line: it says whether more is wanted.
type Take<'t> = dyn FnMut(Line<'_>) -> Result<bool, Problem> + 't;

/// A line of a file of samples.
enum Line<'a> {
    /// The names of the columns; told once.
    Head(&'a str),
    /// A sample of a scenario.
    Row(&'a str, &'a str),
}

impl<'a> Samples<'a> {
    /// Those below a run folder: its own, or those of its scenarios.
    fn find(run: &'a Path, terminal: &'a Terminal) -> Result<Self, Problem> {
        let mut samples = Self {
            run,
            files: Vec::new(),
            terminal,
        };
        samples.files = files(run).map_err(|e| samples.no_run(e.to_string()))?;
        if samples.files.is_empty() {
            return Err(samples.no_run(format!("there is no {SAMPLES_FILE} in it")));
        }
        Ok(samples)
    }

    fn no_run(&self, what: String) -> Problem {
        Problem::usage(usage(
            "C004",
            format!("the run {}: {what}", self.run.display()),
            "name a run folder that holds samples",
        ))
    }

    /// Reads all of them, in their order; `tells` says so where one ends early.
    fn each(&self, tells: bool, take: &mut Take<'_>) -> Result<(), Problem> {
        for (place, (scenario, path)) in self.files.iter().enumerate() {
            let file = File::open(path).map_err(|e| self.no_run(e.to_string()))?;
            let lines = zstd::stream::Decoder::new(file).map_err(|e| self.no_run(e.to_string()))?;
            for (number, line) in BufReader::new(lines).lines().enumerate() {
                let line = match line {
                    Ok(line) => line,
                    // A run that was killed ends in the middle of a frame: all before it stands.
                    Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                        if tells {
                            let shown = path.display();
                            self.terminal
                                .say(format!("{shown} ends early: the run was killed"));
                        }
                        break;
                    }
                    Err(e) => {
                        let what = format!("{} cannot be read any further: {e}", path.display());
                        let help = "take another copy of the run, if there is one";
                        return Err(Problem::usage(usage("C010", what, help)));
                    }
                };
                let goes_on = match (number, place) {
                    (0, 0) => take(Line::Head(&line))?,
                    (0, _) => true,
                    _ => take(Line::Row(scenario, &line))?,
                };
                if !goes_on {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// The files of samples below a run folder, each with the folder of its scenario.
pub(super) fn files(run: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let own = run.join(SAMPLES_FILE);
    if own.exists() {
        return Ok(vec![(String::new(), own)]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(run)? {
        let entry = entry?;
        let path = entry.path().join(SAMPLES_FILE);
        if path.exists() {
            found.push((entry.file_name().to_string_lossy().into_owned(), path));
        }
    }
    found.sort();
    Ok(found)
}

/// Runs it.
pub fn run(run: &Path, format: Format, out: Option<&Path>, terminal: &Terminal) -> Outcome {
    let samples = Samples::find(run, terminal)?;
    let told = match (format, out) {
        (Format::Csv, None) => {
            let sink = std::io::stdout().lock();
            csv(&samples, sink, Path::new("standard output"))?
        }
        (Format::Csv, Some(path)) => csv(&samples, BufWriter::new(create(path)?), path)?,
        (Format::Parquet, Some(path)) => parquet::write(&samples, create(path)?, path)?,
        (Format::Parquet, None) => {
            return Err(Problem::usage(usage(
                "C001",
                "a Parquet file is nothing to read on standard output",
                "name a new file with `--out`",
            )));
        }
        (Format::Svp, out) => {
            return svp::export(run, out.unwrap_or(Path::new("")), terminal);
        }
    };
    if let Some(told) = told {
        terminal.say(told);
    }
    Ok(Verdict::Pass)
}

/// Writes a row for each value; what there is to say, or nothing when nobody reads on.
fn csv(
    samples: &Samples<'_>,
    mut sink: impl Write,
    target: &Path,
) -> Result<Option<String>, Problem> {
    let (mut rows, mut is_read) = (0, true);
    samples.each(true, &mut |line| {
        let written = match line {
            Line::Head(names) => writeln!(sink, "scenario,{names}"),
            Line::Row(scenario, line) => {
                rows += 1;
                writeln!(sink, "{scenario},{line}")
            }
        };
        match written {
            // Whoever reads has had enough.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => is_read = false,
            written => written.map_err(|e| cannot_write(target, &e))?,
        }
        Ok(is_read)
    })?;
    if !is_read {
        return Ok(None);
    }
    sink.flush().map_err(|e| cannot_write(target, &e))?;
    Ok(Some(format!("{rows} samples were written.")))
}

fn create(path: &Path) -> Result<File, Problem> {
    File::create_new(path).map_err(|e| cannot_write(path, &e))
}

pub(super) fn cannot_write(path: &Path, e: &dyn std::fmt::Display) -> Problem {
    Problem::usage(usage(
        "C003",
        format!("{} cannot be written: {e}", path.display()),
        "make room, or name a new file with `--out`",
    ))
}
