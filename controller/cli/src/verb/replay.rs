//! `gridrig replay RUN`: the control core again, on everything that it saw.

use std::path::PathBuf;

use clap::Args;
use runtime::journal::{self, Replayed};
use runtime::session::JOURNAL_FILE;
use scenario::verdict::Verdict;
use serde_json::json;

use crate::codes::usage;
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The run folder.
    run: PathBuf,
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    let path = arguments.run.join(JOURNAL_FILE);
    let replayed = journal::replay(&path).map_err(|e| {
        let (code, help) = match &e {
            journal::ReplayError::Read { .. } | journal::ReplayError::NotAJournal { .. } => (
                "C004",
                "name the run folder, the one that holds result.json and journal",
            ),
            journal::ReplayError::Damaged { .. } | journal::ReplayError::Incomplete { .. } => {
                ("C010", "take another copy of the run, if there is one")
            }
        };
        Problem::usage(usage(code, e.to_string(), help))
    })?;
    Ok(match replayed {
        Replayed::Identical { steps, torn_bytes } => {
            terminal.result(
                || json!({"result": "identical", "steps": steps, "torn_bytes": torn_bytes}),
                || match torn_bytes {
                    0 => format!("IDENTICAL: {steps} steps"),
                    n => format!(
                        "IDENTICAL: {steps} steps; the last {n} bytes are a step that was being \
                         written when the process died"
                    ),
                },
            );
            Verdict::Pass
        }
        Replayed::Different {
            step,
            at,
            now_comes,
        } => {
            let at_s = at.as_seconds();
            terminal.result(
                || json!({"result": "different", "step": step, "at_s": at_s, "now_comes": now_comes}),
                || format!("DIFFERENT at step {step} ({at_s:.3} s): now comes {now_comes}"),
            );
            Verdict::Fail
        }
    })
}
