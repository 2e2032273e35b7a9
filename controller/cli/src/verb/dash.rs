//! `gridrig dash`: what others show of a bench.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use document::{Actor, Diagnostic};
use runtime::telemetry::grafana::{GrafanaFile, files};
use scenario::verdict::Verdict;
use serde_json::json;

use crate::problem::{Outcome, Problem};
use crate::rig_file;
use crate::terminal::Terminal;

/// Arguments of `dash`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write provisioning files and dashboards for Grafana, which name what telemetry writes.
    Export {
        /// The rig.
        rig: PathBuf,
        /// The folder; files of an earlier export in it are written anew.
        #[arg(long, value_name = "DIR", default_value = "grafana")]
        out: PathBuf,
    },
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    let What::Export { rig, out } = arguments.what;
    let rig = rig_file::load(Some(&rig), terminal)?;
    let files = files(&rig);
    for file in &files {
        write(&out, file)?;
    }
    let paths: Vec<String> = files
        .iter()
        .map(|file| out.join(&file.path).display().to_string())
        .collect();
    terminal.result(|| json!({ "files": paths }), || paths.join("\n"));
    if rig.influx.is_none() {
        terminal.say(
            "The rig names no server in [telemetry], so there is neither data source nor compose file.",
        );
    } else {
        terminal.say(format!(
            "With Docker: docker compose -f {}/compose.yaml up.",
            out.display()
        ));
    }
    terminal.say(format!(
        "Start Grafana with GF_PATHS_PROVISIONING={0}/provisioning and GRIDRIG_DASHBOARDS={0}/dashboards.",
        std::path::absolute(&out).unwrap_or(out).display()
    ));
    Ok(Verdict::Pass)
}

fn write(out: &Path, file: &GrafanaFile) -> Result<(), Problem> {
    let path = out.join(&file.path);
    let folder = path.parent().unwrap_or(out);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, &file.text))
        .map_err(|e| {
            let what = format!("{} cannot be written: {e}", path.display());
            let fault = Diagnostic::error("C003", Actor::Operator, what);
            Problem::from(fault.help("make room, or name another folder with `--out`"))
        })
}
