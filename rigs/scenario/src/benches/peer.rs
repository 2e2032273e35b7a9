//! The peers of the foreign bench: found if they are there, and run once, or kept while they serve.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// The interpreter that has the peers' packages. Source: `tests/peers/README.md`.
const PYTHON: (&str, &str) = ("GRIDRIG_PEERS_PYTHON", "target/peers/python/bin/python");

/// The folder of the peers' scripts. Source: `tests/peers/README.md`.
const SCRIPTS: (&str, &str) = ("GRIDRIG_PEERS_SCRIPTS", "tests/peers");

/// The folder of the peers' programs. Source: `tests/peers/README.md`.
const PROGRAMS: (&str, &str) = ("GRIDRIG_PEERS_BIN", "target/peers/bin");

/// Time in which a program must listen. Chosen: far more than a broker takes on a busy machine.
const LISTENS_WITHIN: Duration = Duration::from_secs(5);
/// How often is looked whether it does. Chosen: a part of what a program takes to start.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a peer says, or why there is none.
pub(super) type Said = Result<Value, String>;

/// Runs a peer's script and reads its one JSON line.
pub(super) fn ask(script: &str, arguments: &[String]) -> Said {
    let mut command = Command::new(place(PYTHON)?);
    command.arg(place(SCRIPTS)?.join(script)).args(arguments);
    last_word(command)
}

/// Runs a peer's program and reads its one JSON line.
pub(super) fn tool(program: &str, arguments: &[String]) -> Said {
    let mut command = Command::new(place(PROGRAMS)?.join(program));
    command.args(arguments);
    last_word(command)
}

fn last_word(mut command: Command) -> Said {
    let shown = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{shown} does not start: {e}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    heard(&said).ok_or_else(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let last = complaint.lines().last().unwrap_or_else(|| said.trim());
        format!("{shown} has ended with {}: {last}", output.status)
    })
}

/// A peer that serves; it leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Serving {
    child: Child,
}

impl Serving {
    /// Starts a peer's script and waits until it says that it is ready.
    pub(super) fn start(script: &str, arguments: &[String]) -> Result<(Self, Value), String> {
        let mut command = Command::new(place(PYTHON)?);
        command.arg(place(SCRIPTS)?.join(script)).args(arguments);
        Self::spawn(command)
    }

    /// Starts a peer's program and waits until it says that it is ready.
    pub(super) fn tool(program: &str, arguments: &[String]) -> Result<(Self, Value), String> {
        let mut command = Command::new(place(PROGRAMS)?.join(program));
        command.args(arguments);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Result<(Self, Value), String> {
        let shown = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("{shown} does not start: {e}"))?;
        let stdout = child.stdout.take();
        let serving = Self { child };
        let mut line = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout)
                .read_line(&mut line)
                .map_err(|e| format!("{shown} cannot be heard: {e}"))?;
        }
        match heard(&line) {
            Some(said) => Ok((serving, said)),
            None => Err(format!("{shown} is not ready: {line}")),
        }
    }
}

impl Serving {
    /// Starts a peer's program, or the one of that name in the path, and waits until it listens
    /// on a port of loopback.
    pub(super) fn listening(
        program: &str,
        arguments: &[String],
        port: u16,
    ) -> Result<Self, String> {
        let found = place(PROGRAMS).map(|folder| folder.join(program));
        let program = found
            .ok()
            .filter(|path| path.exists())
            .unwrap_or_else(|| PathBuf::from(program));
        let child = Command::new(&program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("{} does not start: {e}", program.display()))?;
        let mut serving = Self { child };
        for _ in 0..LISTENS_WITHIN.as_millis() / LOOK_EVERY.as_millis() {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(serving);
            }
            if let Ok(Some(status)) = serving.child.try_wait() {
                return Err(format!("{} has ended with {status}", program.display()));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Err(format!("{} does not listen on {port}", program.display()))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone and reaped afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The JSON document of a peer that has done its work.
fn heard(said: &str) -> Option<Value> {
    let document: Value = serde_json::from_str(said.lines().last()?).ok()?;
    document.get("error").is_none().then_some(document)
}

/// A file of the foreign bench: where the environment says, or where `tests/run` puts it.
fn place((variable, usual): (&str, &str)) -> Result<PathBuf, String> {
    let path = std::env::var_os(variable).map_or_else(|| PathBuf::from(usual), PathBuf::from);
    if path.exists() {
        Ok(path)
    } else {
        Err(format!(
            "{} is not there; run `tests/run --provision` and start the bench from the top folder, or set {variable}",
            path.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(said: &str, expected: Option<u64>) {
        let found = heard(said).and_then(|v| v.get("n").and_then(Value::as_u64));
        assert_eq!(found, expected, "{said}");
    }

    #[test]
    fn a_peer_is_believed_only_when_its_last_line_is_a_result() {
        check("{\"n\": 3}\n", Some(3));
        check("warning: slow\n{\"n\": 3}\n", Some(3));
        check("{\"error\": \"refused\", \"n\": 3}\n", None);
        check("Traceback\n", None);
        check("", None);
    }

    #[test]
    fn a_peer_that_is_not_there_is_told_with_what_to_do() {
        let why = place(("GRIDRIG_NO_SUCH_VARIABLE", "no/such/place")).expect_err("not there");
        assert!(
            why.contains("no/such/place") && why.contains("GRIDRIG_NO_SUCH_VARIABLE"),
            "{why}"
        );
    }
}
