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
    let Some(page) = &ready.page else {
        terminal.say(format!("The demo runs; the run folder is {dir}."));
        return;
    };
    terminal.say(format!(
        "The demo runs: open {page} in a browser. Ctrl-C ends it. Three things to try:"
    ));
    let [look, command] = tries(page, told);
    terminal.say(format!("  1. {look}"));
    terminal.say(format!("  2. {command}"));
    terminal.say(format!("  3. gridrig ledger verify {dir}"));
}

/// What can be tried on the page from a terminal.
fn tries(page: &str, told: &Told) -> [String; 2] {
    if let Some(keys) = &told.keys {
        let ca = keys.join("ca.pem");
        let ca = ca.display();
        return [
            format!("gridrig top --api {page} --ca {ca} --token-file FILE"),
            format!("gridrig safe --api {page} --ca {ca}"),
        ];
    }
    let command = match &told.token {
        Some(token) => format!(
            "curl -X POST -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \
             -d '{{\"mode\":\"island\"}}' {page}api/v1/mode"
        ),
        None => format!("curl -X POST {page}api/v1/safe"),
    };
    [format!("curl {page}api/v1/state"), command]
}
