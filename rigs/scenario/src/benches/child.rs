//! The child processes of benches: the same binary, so that nothing else has to be installed.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{BenchError, idle, ledger_open, modbus, one, page, server, silent};

/// What a child process may be: its role on the command line, and what it does.
type Role = (&'static str, fn() -> Result<(), BenchError>);

const ROLES: &[Role] = &[
    (modbus::SERVERS, modbus::serve),
    (modbus::SCAN_SERVERS, modbus::serve_scan),
    (one::SERVER, one::serve),
    (server::SERVER, server::serve),
    (silent::LINE, silent::serve),
    (silent::SILENT_LINE, silent::serve_silent),
    (idle::BENCH, idle::run_bench),
    (ledger_open::OPENS_LOG, ledger_open::open_log),
    (ledger_open::OPENS_NODE, ledger_open::open_node),
    (ledger_open::WRITES_ON, ledger_open::write_on),
    (page::SERVER, page::serve),
    (page::SERVER_OF_A_THOUSAND, page::serve_a_thousand_points),
];

/// Plays a role in a child process of a bench, until it is over or standard input closes.
///
/// # Errors
/// When there is no such role, or it cannot be played.
pub fn child(role: &str) -> Result<(), BenchError> {
    match ROLES.iter().find(|(name, _)| *name == role) {
        Some((_, play)) => play(),
        None => Err(BenchError::Role(role.to_owned())),
    }
}

/// Tells the parent something, as one line.
pub(super) fn tell(what: &Value) -> Result<(), BenchError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what}")
        .and_then(|()| out.flush())
        .map_err(BenchError::system("the child cannot speak to its parent"))
}

/// Waits until the parent lets go, or has died.
pub(super) fn wait_for_parent() {
    let mut ignored = Vec::new();
    // An error means the same as the end: nobody is there any more.
    let _ = std::io::stdin().lock().read_to_end(&mut ignored);
}

/// A child process; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Kept {
    child: Child,
}

impl Kept {
    /// Starts this binary in a role and waits for its first line.
    pub(super) fn start(role: &'static str) -> Result<(Self, Value), BenchError> {
        Self::start_in(role, Path::new("."))
    }

    /// As [`Kept::start`], in a folder.
    pub(super) fn start_in(role: &'static str, folder: &Path) -> Result<(Self, Value), BenchError> {
        let failed = "the child process of the bench cannot be started";
        let program = std::env::current_exe().map_err(BenchError::system(failed))?;
        let mut child = Command::new(program)
            .args(["bench", "--child", role])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(BenchError::system(failed))?;
        let stdout = child.stdout.take();
        let kept = Self { child };
        let mut line = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout)
                .read_line(&mut line)
                .map_err(BenchError::system("the child process cannot be heard"))?;
        }
        match serde_json::from_str(&line) {
            Ok(said) => Ok((kept, said)),
            Err(_) => Err(BenchError::Child {
                expected: "a JSON document",
                said: line,
            }),
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has ended by itself.
    pub(super) fn finish(mut self) -> Result<(), BenchError> {
        self.child
            .wait()
            .map(|_| ())
            .map_err(BenchError::system("the child process cannot be waited for"))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone and reaped afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_is_not_there_is_named() {
        let error = child("no-such-role").expect_err("there is no such role");
        assert!(error.to_string().contains("`no-such-role`"), "{error}");
    }

    #[test]
    fn every_name_stands_for_one_bench_and_one_role() {
        for (n, (name, _)) in ROLES.iter().enumerate() {
            assert!(ROLES[..n].iter().all(|(other, _)| other != name), "{name}");
        }
        let benches = super::super::BENCHES;
        for (n, bench) in benches.iter().enumerate() {
            assert!(
                benches[..n].iter().all(|b| b.name != bench.name),
                "{}",
                bench.name
            );
        }
    }
}
