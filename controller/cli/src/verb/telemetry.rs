//! `gridrig telemetry`: the server that a rig's telemetry goes to.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use document::{Actor, Diagnostic};
use runtime::telemetry::setup::{Retention, SetupError, set_up};
use scenario::verdict::Verdict;
use serde_json::json;

use crate::problem::{Outcome, Problem};
use crate::rig_file;
use crate::terminal::Terminal;

/// Arguments of `telemetry`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make the bucket that the rig names, with its retention, and let the server make means of a minute.
    Init {
        /// The rig.
        rig: PathBuf,
        /// Days for which every value is kept.
        #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        keep: u32,
        /// Days for which the means are kept.
        #[arg(long, value_name = "DAYS", default_value_t = 730, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        keep_minutes: u32,
    },
}

const DAY: Duration = Duration::from_secs(86_400);

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    let What::Init {
        rig,
        keep,
        keep_minutes,
    } = arguments.what;
    let path = rig;
    let rig = rig_file::load(Some(&path), terminal)?;
    let config = rig.telemetry_server(&std::env::temp_dir())?;
    let Some(config) = config else {
        let what = format!("{} names no telemetry server", path.display());
        let fault = Diagnostic::error("C024", Actor::Operator, what);
        let help = "add `[telemetry.influx]`; without a server, values are in the run folder";
        return Err(Problem::usage(fault.help(help)));
    };
    let retention = Retention {
        values: DAY * keep,
        minutes: DAY * keep_minutes,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Problem::from(unset(e.to_string())))?;
    let done = runtime
        .block_on(set_up(&config, retention))
        .map_err(|e| Problem::from(refused(&e)))?;
    terminal.result(|| json!({ "done": done }), || done.join("\n"));
    Ok(Verdict::Pass)
}

fn unset(what: String) -> Diagnostic {
    Diagnostic::error("C025", Actor::Operator, what)
}

fn refused(e: &SetupError) -> Diagnostic {
    unset(e.to_string()).help(match e {
        SetupError::Away { .. } => "start it, or mend `url` in `[telemetry.influx]`",
        SetupError::Refused { .. } => {
            "the token needs the right to make buckets and tasks (with version 1: an administrator)"
        }
        SetupError::NoBuckets { .. } => {
            "VictoriaMetrics keeps what its own -retentionPeriod says; InfluxDB 1 needs `api = \"v1\"`"
        }
    })
}
