//! `gridrig run`: the daemon on a bench.

use std::path::PathBuf;

use clap::Args;
use scenario::live::Ready;

use super::live::{self, Kind, LiveArguments, On, Told};
use crate::problem::Outcome;
use crate::terminal::Terminal;

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The rig.
    rig: PathBuf,
    /// What is at the far end of its buses.
    #[arg(long, value_enum, default_value = "bench")]
    on: On,
    /// Allow setpoints from the start; without it the run only looks.
    #[arg(long)]
    arm: bool,
    #[command(flatten)]
    live: LiveArguments,
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    let tells = if arguments.arm {
        tells_armed
    } else {
        tells_read_only
    };
    live::run(
        &arguments.live,
        Kind {
            verb: "run",
            rig: Some(arguments.rig),
            on: arguments.on,
            armed: arguments.arm,
            makes_token: false,
            tells,
        },
        terminal,
    )
}

fn tells_armed(terminal: &Terminal, ready: &Ready, told: &Told) {
    tells(
        terminal,
        ready,
        told,
        "armed: setpoints leave for the devices",
    );
}

fn tells_read_only(terminal: &Terminal, ready: &Ready, told: &Told) {
    tells(
        terminal,
        ready,
        told,
        "read-only: nothing is written until it is armed",
    );
}

fn tells(terminal: &Terminal, ready: &Ready, told: &Told, state: &str) {
    for (bus, address) in &ready.buses {
        terminal.say(format!("  bus {bus:<8} {address}"));
    }
    if let Some(page) = &ready.page {
        terminal.say(format!("The page is at {page}."));
    }
    terminal.say(format!(
        "The run is {state}. Its folder is {}.",
        told.dir.display()
    ));
}
