//! `gridrig report export`: the samples of a run as one table, for other people's tools.

mod parquet;

use std::io::{BufWriter, Write};
use std::path::Path;

use clap::ValueEnum;
use scenario::verdict::Verdict;

use super::fresh::{cannot_write, create};
use super::samples::Samples;
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

/// What is done with a line: it says whether more is wanted.
type Take<'t> = dyn FnMut(Line<'_>) -> Result<bool, Problem> + 't;

/// A line of a file of samples.
enum Line<'a> {
    /// The names of the columns; told once.
    Head(&'a str),
    /// A sample of a scenario.
    Row(&'a str, &'a str),
}

/// Reads all of them, in their order.
fn each(samples: &Samples, take: &mut Take<'_>) -> Result<(), Problem> {
    for (number, place) in samples.places.iter().enumerate() {
        let (mut is_head, mut goes_on) = (true, true);
        place.each(&mut |line| {
            goes_on = match (std::mem::take(&mut is_head), number) {
                (true, 0) => take(Line::Head(line))?,
                (true, _) => true,
                (false, _) => take(Line::Row(&place.scenario, line))?,
            };
            Ok(goes_on)
        })?;
        if !goes_on {
            break;
        }
    }
    Ok(())
}

/// Runs it.
pub fn run(run: &Path, format: Format, out: Option<&Path>, terminal: &Terminal) -> Outcome {
    let told = match (format, out) {
        (Format::Csv, None) => {
            let sink = std::io::stdout().lock();
            csv(
                &Samples::told(run, terminal)?,
                sink,
                Path::new("standard output"),
            )?
        }
        (Format::Csv, Some(path)) => {
            let samples = Samples::told(run, terminal)?;
            csv(&samples, BufWriter::new(create(path)?), path)?
        }
        (Format::Parquet, Some(path)) => {
            let samples = Samples::told(run, terminal)?;
            parquet::write(&samples, create(path)?, path)?
        }
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
fn csv(samples: &Samples, mut sink: impl Write, target: &Path) -> Result<Option<String>, Problem> {
    let (mut rows, mut is_read) = (0, true);
    each(samples, &mut |line| {
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
