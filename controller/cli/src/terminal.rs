//! The two streams: results on standard output, words for people on standard error.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write};

use serde_json::{Value, json};

use crate::problem::Problem;
use crate::render;

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How this process speaks.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    json: bool,
    quiet: bool,
    coloured: bool,
    screen_coloured: bool,
}

impl Terminal {
    /// Heeds flags, terminal and `NO_COLOR`.
    pub fn new(json: bool, quiet: bool, colour: Colour) -> Self {
        let (choice, coloured, screen_coloured) = match colour {
            Colour::Always => (anstream::ColorChoice::Always, true, true),
            Colour::Never => (anstream::ColorChoice::Never, false, false),
            Colour::Auto => {
                let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
                let coloured = !refused && std::io::stderr().is_terminal();
                let screen_coloured = !refused && std::io::stdout().is_terminal();
                (anstream::ColorChoice::Auto, coloured, screen_coloured)
            }
        };
        choice.write_global();
        Self {
            json,
            quiet,
            coloured,
            screen_coloured,
        }
    }

    /// Whether results are wanted as JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether only results and errors are wanted.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether errors are coloured.
    pub fn is_coloured(&self) -> bool {
        self.coloured
    }

    /// Whether what fills the screen, on standard output, is coloured.
    pub fn is_screen_coloured(&self) -> bool {
        self.screen_coloured
    }

    /// A line of the result: standard output.
    pub fn print(&self, line: impl Display) {
        to(&mut std::io::stdout().lock(), &format!("{line}\n"));
    }

    /// A line for people, not part of the result: standard error, unless they want quiet.
    pub fn say(&self, line: impl Display) {
        if !self.quiet {
            to_stderr(&format!("{line}\n"));
        }
    }

    /// The result: as JSON if that is wanted, otherwise as text.
    pub fn result(&self, as_json: impl FnOnce() -> Value, as_text: impl FnOnce() -> String) {
        if self.json {
            self.print(as_json());
        } else {
            self.print(as_text().trim_end_matches('\n'));
        }
    }

    /// Draws all diagnostics on standard error.
    pub fn draw(&self, diagnostics: &[document::Diagnostic]) {
        for text in render::all(diagnostics, self.coloured) {
            to_stderr(&format!("{text}\n\n"));
        }
    }

    /// Tells why a verb failed: drawn for people, and as the JSON document where one is wanted.
    pub fn complain(&self, problem: &Problem) {
        self.draw(&problem.diagnostics);
        if self.json && !problem.diagnostics.is_empty() {
            self.print(json!({
                "verdict": problem.verdict.word(),
                "exit_code": problem.verdict.exit_code(),
                "diagnostics": render::as_json(&problem.diagnostics),
            }));
        }
    }
}

/// Writes to standard error; nobody is left to be told when that fails.
pub fn to_stderr(text: &str) {
    let mut stream = std::io::stderr().lock();
    let _ = stream.write_all(text.as_bytes());
}

/// Writes a whole text. A reader that has gone away wants no more: that ends the process quietly,
/// as it does for every filter.
fn to(stream: &mut impl Write, text: &str) {
    let written = stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.flush());
    match written {
        Ok(()) => (),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {
            PIPE_IS_BROKEN.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        Err(e) => to_stderr(&format!(
            "error[C003]: standard output cannot be written: {e}\n"
        )),
    }
}

/// Set when nobody reads standard output any more; long listings look at it.
static PIPE_IS_BROKEN: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Whether nobody reads standard output any more.
pub fn nobody_reads() -> bool {
    PIPE_IS_BROKEN.load(std::sync::atomic::Ordering::Relaxed)
}
