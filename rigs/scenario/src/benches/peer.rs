//! The Python peers of the foreign bench: found if they are there, and run once.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// The interpreter that has the peers' packages. Source: `tests/peers/README.md`.
const PYTHON: (&str, &str) = ("GRIDRIG_PEERS_PYTHON", "target/peers/python/bin/python");

/// The folder of the peers' scripts. Source: `tests/peers/README.md`.
const SCRIPTS: (&str, &str) = ("GRIDRIG_PEERS_SCRIPTS", "tests/peers");

/// What a peer says, or why there is none.
pub(super) type Said = Result<Value, String>;

/// Runs a peer's script and reads its one JSON line.
pub(super) fn ask(script: &str, arguments: &[String]) -> Said {
    let python = place(PYTHON)?;
    let script = place(SCRIPTS)?.join(script);
    let output = Command::new(&python)
        .arg(&script)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{} does not start: {e}", python.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    heard(&said).ok_or_else(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let last = complaint.lines().last().unwrap_or("nothing");
        format!(
            "{} has ended with {}: {last}",
            script.display(),
            output.status
        )
    })
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
