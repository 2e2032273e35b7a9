//! The way in which a bench of hardware is brought back: a command that switches it off and on again.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest time that the command may take. Chosen: ten minutes; inverters wait for the grid for five
/// before they enter service.
const WITHIN: Duration = Duration::from_secs(600);

/// How often is looked whether it has ended. Chosen: a tenth of a second, which nobody feels.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs the command in a shell and waits for its end: it returns when the bench is up again.
///
/// # Errors
/// Why the bench was not recovered.
pub(super) fn recover(command: &str) -> Result<(), String> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        // Standard output is for the result alone.
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| format!("`{command}` does not start: {e}"))?;
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("`{command}` ended with {status}")),
            Ok(None) if began.elapsed() < WITHIN => std::thread::sleep(LOOK_EVERY),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("`{command}` took more than {} s", WITHIN.as_secs()));
            }
            Err(e) => return Err(format!("`{command}` cannot be waited for: {e}")),
        }
    }
}
