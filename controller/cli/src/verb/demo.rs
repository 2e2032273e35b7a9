//! `gridrig demo`: everything at once, without hardware.

use std::path::PathBuf;

use clap::Args;
use scenario::live::Ready;

use super::live::{self, Kind, LiveArguments, On, Told};
use crate::problem::Outcome;
use crate::terminal::Terminal;

/// Arguments of `demo`.
#[derive(Debug, Default, Args)]
pub struct Arguments {
    /// Another rig than the campus feeder that is inside the binary.
    #[arg(long)]
    rig: Option<PathBuf>,
    #[command(flatten)]
    live: LiveArguments,
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    live::run(
        &arguments.live,
        Kind {
            verb: "demo",
            rig: arguments.rig,
            on: On::Sim,
            armed: true,
            makes_token: true,
            tells,
        },
        terminal,
    )
}

fn tells(terminal: &Terminal, ready: &Ready, told: &Told) {
    for (bus, address) in &ready.buses {
        terminal.say(format!("  bus {bus:<8} {address}"));
    }
    let dir = told.dir.display();
    let Some(page) = ready.page else {
        terminal.say(format!("The demo runs; the run folder is {dir}."));
        return;
    };
    terminal.say(format!(
        "The demo runs: open http://{page}/ in a browser. Ctrl-C ends it. Three things to try:"
    ));
    terminal.say(format!("  1. curl http://{page}/api/v1/state"));
    match &told.token {
        Some(token) => terminal.say(format!(
            "  2. curl -X POST -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \
             -d '{{\"mode\":\"island\"}}' http://{page}/api/v1/mode"
        )),
        None => terminal.say(format!("  2. curl -X POST http://{page}/api/v1/safe")),
    }
    terminal.say(format!("  3. gridrig ledger verify {dir}"));
}
