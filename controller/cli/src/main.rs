//! The `gridrig` command: one verb per file.
//!
//! It is responsible for words, colours, files named on the command line and exit codes.
//! What a verb does is done by the other rooms; nothing is decided here about a bench.

mod budget;
mod codes;
mod daemon;
mod folder;
mod problem;
mod render;
mod rig_file;
mod selection;
mod terminal;
mod timing;
mod verb;

use std::process::ExitCode;

use clap::Parser;

use problem::{Outcome, Problem};
use terminal::{Colour, Terminal};
use verb::Verb;

/// A hardware-in-the-loop testbed controller for lab microgrids.
#[derive(Debug, Parser)]
#[command(name = "gridrig", version, max_term_width = 100)]
pub struct CommandLine {
    /// One JSON document on standard output; words for people go to standard error.
    #[arg(long, global = true)]
    json: bool,
    /// Say nothing but results and errors.
    #[arg(long, short, global = true)]
    quiet: bool,
    /// When to use colours; `NO_COLOR` is heeded.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Colour,
    #[command(subcommand)]
    verb: Option<Verb>,
}

fn main() -> ExitCode {
    install_panic_hook();
    survive_file_size_limit();
    let line = CommandLine::parse();
    let terminal = Terminal::new(line.json, line.quiet, line.color);
    tell_traces(&terminal);
    let verb = line.verb.unwrap_or_default();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| verb.run(&terminal)));
    let outcome: Outcome = outcome.unwrap_or_else(|_| Err(Problem::ours_was_told()));
    let code = match outcome {
        Ok(verdict) => verdict.exit_code(),
        Err(problem) => {
            terminal.complain(&problem);
            problem.verdict.exit_code()
        }
    };
    ExitCode::from(code)
}

/// What the other rooms trace goes to standard error: warnings, unless `RUST_LOG` asks for more.
fn tell_traces(terminal: &Terminal) {
    // What the Modbus library says of each damaged frame is counted, and told once, by the bus.
    // The broker of an emulated bench takes every connection that only looks whether it is there,
    // for an error. The Modbus client warns of every byte that it could not decode; what came of a
    // request is told by its bus, once.
    let usual = if terminal.is_quiet() {
        "error,rumqttd=off,tokio_modbus=off"
    } else {
        "warn,start=info,rumqttd=off,tokio_modbus=off"
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal.is_coloured())
        .with_target(false)
        .init();
}

/// SIGXFSZ: a file has reached the size that this process may write. Source: signal(7), the number
/// on all Linux architectures but MIPS and PA-RISC.
const FILE_SIZE_EXCEEDED: i32 = 25;

/// Lets a write beyond the file size limit fail as any other write, so that the fault is told and
/// the bench comes to its safe end. Without a handler the signal would end the process at once.
fn survive_file_size_limit() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build();
    if let Ok(runtime) = runtime {
        let _inside = runtime.enter();
        // The handler stays for the life of the process; nobody needs to hear of the signal.
        let kind = tokio::signal::unix::SignalKind::from_raw(FILE_SIZE_EXCEEDED);
        drop(tokio::signal::unix::signal(kind));
    }
}

/// A panic is a mistake of ours, and it is told as such. It does not end the process here: the
/// thread that panicked may not be the one that brings the bench to its safe end.
fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let what = panic
            .payload()
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| panic.payload().downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        let place = panic
            .location()
            .map(|l| format!(" ({}:{})", l.file(), l.line()))
            .unwrap_or_default();
        terminal::to_stderr(&format!(
            "error[E000]: gridrig has made a mistake: {what}{place}\n  \
             = help: please report this line with the command that you gave; \
             `gridrig explain E000` says more\n"
        ));
    }));
}
