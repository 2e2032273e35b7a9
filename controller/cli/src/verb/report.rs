//! `gridrig report`: what came of runs, opened, compared, put together, exported.

mod svp;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Args, Subcommand, ValueEnum};
use runtime::telemetry::SAMPLES_FILE;
use scenario::folder::About;
use scenario::report::compare::{Budgets, Comparison};
use scenario::report::html::scenario_report;
use scenario::report::junit::InconclusiveAs;
use scenario::report::merge::merge;
use scenario::report::result::RunResult;
use scenario::verdict::Verdict;
use serde_json::{Value, json};

use super::test::Inconclusive;
use crate::codes::usage;
use crate::folder;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;

/// The result of a run, for machines.
const RESULT_FILE: &str = "result.json";

/// The report of a run, for people.
const REPORT_FILE: &str = "report.html";

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

/// What is done with reports.
#[derive(Debug, Subcommand)]
enum What {
    /// Show the report of a run in the browser, and say where it is.
    Open {
        /// The run folder.
        run: PathBuf,
    },
    /// Compare two runs; what got worse is a failure (exit code 1).
    Diff {
        /// The run folder of the earlier run.
        before: PathBuf,
        /// The run folder of the later one.
        now: PathBuf,
        /// By how much every value may differ, as a share of the earlier one [default: by anything].
        #[arg(long, value_name = "SHARE", value_parser = share)]
        within: Option<f64>,
        /// The same for checks whose name contains the word; may be repeated, the last that fits counts.
        #[arg(long, value_name = "WORD=SHARE", value_parser = budget)]
        budget: Vec<(String, f64)>,
    },
    /// Put the parts of a run together that `gridrig test --shard` has made.
    Merge {
        /// The run folders of all parts.
        #[arg(required = true)]
        parts: Vec<PathBuf>,
        /// The run folder; it must be new or empty (by default a new one under `out/`).
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// How JUnit shows an inconclusive scenario.
        #[arg(long, value_enum, default_value_t)]
        inconclusive: Inconclusive,
    },
    /// Write the samples of a run as one table.
    Export {
        /// The run folder.
        run: PathBuf,
        /// How it is written.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        /// Where to; without it, to standard output. For `svp` a folder, which must be new or empty.
        #[arg(long, value_name = "FILE", required_if_eq("format", "svp"))]
        out: Option<PathBuf>,
    },
}

/// How a table is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Comma-separated, units in a column of their own.
    #[default]
    Csv,
    /// Tables with the columns of the SunSpec System Validation Platform: one for each device, and a summary.
    Svp,
}

/// `5%` or `0.05`.
fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(percent) => (percent, 100.0),
        None => (text, 1.0),
    };
    match number.trim().parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value / unit),
        _ => Err("write it like `5%`".into()),
    }
}

fn budget(text: &str) -> Result<(String, f64), String> {
    let parts = text.rsplit_once('=').filter(|(word, _)| !word.is_empty());
    let (word, of) = parts.ok_or("write it like `t90=5%`")?;
    Ok((word.to_owned(), share(of)?))
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    match arguments.what {
        What::Open { run } => open(&run, terminal),
        What::Diff {
            before,
            now,
            within,
            budget,
        } => {
            let budgets = Budgets {
                all: within,
                named: budget,
            };
            diff(&before, &now, &budgets, terminal)
        }
        What::Merge {
            parts,
            out,
            inconclusive,
        } => put_together(&parts, out.as_deref(), inconclusive, terminal),
        What::Export {
            run,
            format: Format::Csv,
            out,
        } => export(&run, out.as_deref(), terminal),
        What::Export {
            run,
            format: Format::Svp,
            out,
        } => svp::export(&run, &out.unwrap_or_default(), terminal),
    }
}

/// The result of a run; `run` is its folder or the file itself.
pub(super) fn read(run: &Path) -> Result<RunResult, Problem> {
    let path = match run.is_dir() {
        true => run.join(RESULT_FILE),
        false => run.to_path_buf(),
    };
    let fail = |what: String| {
        Problem::usage(usage(
            "C004",
            format!("the run {}: {what}", path.display()),
            "name the run folder of an earlier `gridrig test`",
        ))
    };
    let text = std::fs::read_to_string(&path).map_err(|e| fail(e.to_string()))?;
    RunResult::from_json(&text).map_err(|e| fail(e.to_string()))
}

/// Tells people what a run has changed.
pub(super) fn tell(changes: &Comparison, terminal: &Terminal) {
    if changes.is_empty() {
        terminal.say(format!("Nothing differs from {}.", changes.baseline));
    }
    for line in changes.lines() {
        terminal.say(line);
    }
}

fn open(run: &Path, terminal: &Terminal) -> Outcome {
    let path = run.join(REPORT_FILE);
    let path = path.canonicalize().map_err(|e| {
        Problem::usage(usage(
            "C004",
            format!("the report {}: {e}", path.display()),
            "name a run folder; every attempt leaves one with report.html",
        ))
    })?;
    let has_screen = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()));
    let shown = has_screen
        && Command::new("xdg-open")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .is_ok();
    terminal.result(
        || json!({ "report": path, "shown": shown }),
        || path.display().to_string(),
    );
    if !shown {
        terminal.say("There is no screen to show it on; open the file in any browser.");
    }
    Ok(Verdict::Pass)
}

fn diff(before: &Path, now: &Path, budgets: &Budgets, terminal: &Terminal) -> Outcome {
    let changes = Comparison::of(&read(before)?, &read(now)?, budgets);
    let verdict = match changes.is_regression() {
        true => Verdict::Fail,
        false => Verdict::Pass,
    };
    terminal.result(
        || {
            let mut value = serde_json::to_value(&changes).unwrap_or(Value::Null);
            value["verdict"] = json!(verdict.word());
            value
        },
        || match changes.is_empty() {
            true => format!("Nothing differs from {}.", changes.baseline),
            false => changes.lines().join("\n"),
        },
    );
    Ok(verdict)
}

fn put_together(
    parts: &[PathBuf],
    out: Option<&Path>,
    inconclusive: Inconclusive,
    terminal: &Terminal,
) -> Outcome {
    let read_all: Result<Vec<RunResult>, Problem> = parts.iter().map(|part| read(part)).collect();
    let read_all = read_all?;
    let attempt = folder::make(out, "report", About::default())?;
    let whole = merge(&attempt.about.id, read_all).map_err(|e| {
        let help = "name every part of one `gridrig test … --shard I/N` once";
        attempt.failed(Problem::usage(usage("C023", e.to_string(), help)))
    })?;
    let about = About {
        rig: whole.rig.clone(),
        on: whole.on.clone(),
        speed: whole.speed.clone(),
        seed: whole.seed,
        ..attempt.about.clone()
    };
    scenario::folder::write(
        &attempt.dir,
        &whole,
        &scenario_report(&whole),
        &about.environment(None),
        match inconclusive {
            Inconclusive::Error => InconclusiveAs::Error,
            Inconclusive::Skip => InconclusiveAs::Skipped,
        },
    )
    .map_err(|fault| attempt.failed(Problem::from(*fault)))?;
    terminal.result(
        || serde_json::to_value(&whole).unwrap_or(Value::Null),
        || super::test::table(&whole),
    );
    terminal.say(format!(
        "The run folder is {}; records and ledgers stay in those of the parts.",
        attempt.dir.display()
    ));
    Ok(whole.verdict)
}

/// The samples below a run folder: its own, or those of its scenarios, with their folder's name.
fn samples(run: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
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

fn export(run: &Path, out: Option<&Path>, terminal: &Terminal) -> Outcome {
    let no_run = |what: String| {
        Problem::usage(usage(
            "C004",
            format!("the run {}: {what}", run.display()),
            "name a run folder that holds samples",
        ))
    };
    let files = samples(run).map_err(|e| no_run(e.to_string()))?;
    if files.is_empty() {
        return Err(no_run(format!("there is no {SAMPLES_FILE} in it")));
    }
    let mut sink: Box<dyn Write> = match out {
        None => Box::new(std::io::stdout().lock()),
        Some(path) => {
            let file = File::create_new(path).map_err(|e| cannot_write(path, &e))?;
            Box::new(BufWriter::new(file))
        }
    };
    let target = out.unwrap_or(Path::new("standard output"));
    let mut rows = 0;
    for (place, (scenario, path)) in files.iter().enumerate() {
        let file = File::open(path).map_err(|e| no_run(e.to_string()))?;
        let lines = zstd::stream::Decoder::new(file).map_err(|e| no_run(e.to_string()))?;
        for (number, line) in BufReader::new(lines).lines().enumerate() {
            let line = match line {
                Ok(line) => line,
                // A run that was killed ends in the middle of a frame: all before it stands.
                Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                    terminal.say(format!("{} ends early: the run was killed", path.display()));
                    break;
                }
                Err(e) => {
                    let what = format!("{} cannot be read any further: {e}", path.display());
                    let help = "take another copy of the run, if there is one";
                    return Err(Problem::usage(usage("C010", what, help)));
                }
            };
            let written = match (number, place) {
                (0, 0) => writeln!(sink, "scenario,{line}"),
                (0, _) => Ok(()),
                _ => {
                    rows += 1;
                    writeln!(sink, "{scenario},{line}")
                }
            };
            match written {
                // Whoever reads has had enough.
                Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(Verdict::Pass),
                written => written.map_err(|e| cannot_write(target, &e))?,
            }
        }
    }
    sink.flush().map_err(|e| cannot_write(target, &e))?;
    terminal.say(format!("{rows} samples were written."));
    Ok(Verdict::Pass)
}

fn cannot_write(path: &Path, e: &std::io::Error) -> Problem {
    Problem::usage(usage(
        "C003",
        format!("{} cannot be written: {e}", path.display()),
        "make room, or name a new file with `--out`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_word_and_a_share() {
        assert_eq!(share("5%"), Ok(0.05));
        assert_eq!(share("0.05"), Ok(0.05));
        assert_eq!(budget("t90=2%"), Ok(("t90".to_owned(), 0.02)));
        assert_eq!(budget("p >= 1=2%"), Ok(("p >= 1".to_owned(), 0.02)));
        for bad in ["", "t90", "=5%", "t90=", "t90=-5%", "t90=nan", "t90=x%"] {
            assert!(budget(bad).is_err(), "{bad}");
        }
    }
}
