//! `gridrig market`: an offline clearing, all clearings of a run again, or a run's market for others.

mod export;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use document::{Diagnostic, Place, Source};
use market::Coded as _;
use market::offline::OfflineError;
use runtime::desk::{self, MarketReplay, MarketReplayError};
use scenario::verdict::Verdict;
use serde_json::json;

use crate::codes::usage;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;

/// Arguments of `market`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Clear one book; the result is JSON.
    Clear {
        /// The book, `{"mech": …, "in": {…}}`; `-` reads standard input.
        book: PathBuf,
        /// The mechanism; it wins over the one that the book names.
        #[arg(long, value_name = "NAME")]
        mechanism: Option<String>,
        /// Take every line of the file for a book of its own; each gives one line.
        #[arg(long)]
        lines: bool,
    },
    /// Recompute every clearing and settlement of a run from its ledger.
    Replay {
        /// The run folder.
        run: PathBuf,
    },
    /// Write the market of a run as a table, or as a document of CTS or OpenADR 3.
    Export(export::Arguments),
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    match arguments.what {
        What::Clear {
            book,
            mechanism,
            lines,
        } => {
            let clear = if lines { clear_lines } else { clear };
            clear(&book, mechanism.as_deref(), terminal)
        }
        What::Replay { run } => replayed(&run, terminal),
        What::Export(arguments) => export::run(&arguments, terminal),
    }
}

fn clear(path: &Path, mechanism: Option<&str>, terminal: &Terminal) -> Outcome {
    let text = read(path)?;
    let cleared = market::offline::clear(&text, mechanism)
        .map_err(|e| Problem::usage(fault(path, &text, &e)))?;
    terminal.print(cleared.trim_end());
    Ok(Verdict::Pass)
}

/// Stops at the first line that is not cleared; those before it are.
fn clear_lines(path: &Path, mechanism: Option<&str>, terminal: &Terminal) -> Outcome {
    let text = read(path)?;
    let lines = text.lines().enumerate();
    for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let cleared = market::offline::clear(line, mechanism).map_err(|e| {
            let mut told = fault(path, line, &e);
            told.message = format!("book in line {}: {}", index + 1, told.message);
            Problem::usage(told)
        })?;
        terminal.print(cleared.trim_end());
    }
    Ok(Verdict::Pass)
}

fn read(path: &Path) -> Result<String, Problem> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    text.map_err(|e| {
        Problem::usage(usage(
            "C003",
            format!("the book {} cannot be read: {e}", path.display()),
            "name a JSON file, or `-` for standard input",
        ))
    })
}

/// The market's own code, place and help; a place in the text where JSON itself is broken.
fn fault(path: &Path, text: &str, error: &OfflineError) -> Diagnostic {
    let diagnostic = usage(error.code(), error.to_string(), &error.help());
    match error {
        OfflineError::Json {
            line,
            column,
            reason,
        } => {
            let start: usize = text
                .split_inclusive('\n')
                .take(line.saturating_sub(1))
                .map(str::len)
                .sum();
            let at = start + column.saturating_sub(1);
            let place = Place {
                source: Source::new(path.display().to_string(), text),
                span: at..at + 1,
            };
            Diagnostic {
                message: "this is not JSON".into(),
                ..diagnostic
            }
            .at(place, reason.clone())
        }
        _ => diagnostic,
    }
}

/// Why the market of a run cannot be read.
fn unreadable(e: &MarketReplayError) -> Problem {
    let help = "name the run folder, the one that holds ledger/";
    let diagnostic = match e {
        MarketReplayError::Ledger(e) => usage(e.code(), e.to_string(), help),
        MarketReplayError::Rules(_) => usage("C004", e.to_string(), help),
        MarketReplayError::RulesNotBound => {
            usage("C010", e.to_string(), "take another copy of the run")
        }
    };
    Problem::usage(diagnostic)
}

fn replayed(run: &Path, terminal: &Terminal) -> Outcome {
    let replay = desk::replay(run).map_err(|e| unreadable(&e))?;
    Ok(match replay {
        MarketReplay::Identical {
            cleared,
            settled,
            uncleared,
        } => {
            terminal.result(
                || {
                    json!({
                        "result": "identical", "cleared": cleared, "settled": settled,
                        "uncleared": uncleared,
                    })
                },
                || {
                    let beside = match uncleared {
                        0 => String::new(),
                        n => format!(", {n} with orders and never cleared"),
                    };
                    format!("IDENTICAL: {cleared} intervals cleared, {settled} settled{beside}")
                },
            );
            Verdict::Pass
        }
        MarketReplay::Different { interval, what } => {
            terminal.result(
                || json!({"result": "different", "interval": interval, "what": what}),
                || format!("DIFFERENT in interval {interval}: {what}"),
            );
            Verdict::Fail
        }
    })
}
