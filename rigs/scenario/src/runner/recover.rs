//! The way in which a bench of hardware is brought back: a command that switches it off and on again.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use runtime::rig::{POWER_CYCLE_WITHIN, PowerCycle};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::interrupt::Interrupt;

/// How often is looked whether it has ended. Chosen: a tenth of a second, which nobody feels.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Whose word it is that brings the bench back.
pub(super) enum Remedy<'a> {
    /// That of the person who started the run: a line of the shell.
    Shell(&'a str),
    /// That of the rig.
    OfRig(&'a PowerCycle),
}

impl Remedy<'_> {
    fn command(&self) -> Command {
        match self {
            Self::Shell(line) => {
                let mut command = Command::new("sh");
                command.args(["-c", line]);
                command
            }
            Self::OfRig(cycle) => {
                let mut words = cycle.command.iter();
                let mut command = Command::new(words.next().map_or("", String::as_str));
                command.args(words).current_dir(&cycle.folder);
                command
            }
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Shell(line) => (*line).to_owned(),
            Self::OfRig(cycle) => cycle.command.join(" "),
        }
    }

    fn within(&self) -> Duration {
        match self {
            Self::Shell(_) => POWER_CYCLE_WITHIN,
            Self::OfRig(cycle) => cycle.within,
        }
    }

    /// Runs it and waits for its end: it returns when the bench is up again.
    ///
    /// # Errors
    /// Why the bench was not recovered.
    pub(super) fn apply(&self, interrupt: &Interrupt) -> Result<(), String> {
        let shown = self.shown();
        let mut child = self
            .command()
            .stdin(Stdio::null())
            // Standard output is for the result alone.
            .stdout(Stdio::null())
            // What it has started ends with it when it is given up.
            .process_group(0)
            .spawn()
            .map_err(|e| format!("`{shown}` does not start: {e}"))?;
        let began = Instant::now();
        let within = self.within();
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("`{shown}` ended with {status}")),
                Ok(None) if interrupt.was_heard() => {
                    give_up(&mut child);
                    return Err(format!("`{shown}` was interrupted by a person"));
                }
                Ok(None) if began.elapsed() < within => std::thread::sleep(LOOK_EVERY),
                Ok(None) => {
                    give_up(&mut child);
                    return Err(format!(
                        "`{shown}` took more than {} s",
                        within.as_secs_f64()
                    ));
                }
                Err(e) => return Err(format!("`{shown}` cannot be waited for: {e}")),
            }
        }
    }
}

/// Ends a command and all that it has started.
fn give_up(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(Err(e)) = group.map(|group| kill_process_group(group, Signal::KILL)) {
        tracing::debug!(message = "The power cycle's processes could not be ended.", %e);
    }
    // The command itself in any case.
    let _ = child.kill();
    let _ = child.wait();
}
