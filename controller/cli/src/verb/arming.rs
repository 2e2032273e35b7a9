//! `gridrig arm`, `disarm`, `lock` and `safe`: what a person tells a running bench.
//!
//! They talk to the daemon's HTTP API and to nothing else ([`crate::daemon`]). Arming shows first what would be written
//! and asks; the daemon decides. They are not responsible for what is written (see the controller).

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use clap::Args;
use hyper::Method;
use scenario::verdict::Verdict;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::codes::usage;
use crate::daemon::{self, Address, Caller, Credentials, Question, Vouched, refused};
use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;

/// Where the daemon is.
#[derive(Debug, Args)]
pub struct Daemon {
    #[command(flatten)]
    pub(super) address: Address,
    #[command(flatten)]
    credentials: Credentials,
    /// Name under which the bench is had [default: the user's].
    #[arg(long = "as", value_name = "WHO")]
    who: Option<String>,
}

impl Daemon {
    /// Who asks, with the token where one is named.
    pub(super) fn caller(&self) -> Result<Caller, Problem> {
        let token = self.credentials.token()?;
        let holder = self.who.clone().unwrap_or_else(daemon::own_name);
        Ok(Caller { holder, token })
    }
}

/// Arguments of `arm`.
#[derive(Debug, Args)]
pub struct Arm {
    #[command(flatten)]
    daemon: Daemon,
    /// Arm without asking; what would be written is shown all the same.
    #[arg(long)]
    yes: bool,
    /// For how long: then the bench comes to rest and is disarmed, unless it is armed anew before.
    #[arg(long = "for", value_name = "TIME", value_parser = super::live::time, default_value = "1h")]
    time: Duration,
}

/// Arguments of `lock`.
#[derive(Debug, Args)]
pub struct Lock {
    /// What to do.
    #[command(subcommand)]
    what: LockVerb,
}

/// What can be done about the lease of a bench.
#[derive(Debug, clap::Subcommand)]
enum LockVerb {
    /// Have the bench to oneself for a time, or renew that; nothing is armed.
    Take {
        #[command(flatten)]
        daemon: Daemon,
        /// For how long.
        #[arg(long = "for", value_name = "TIME", value_parser = super::live::time, default_value = "1h")]
        time: Duration,
    },
    /// Give the bench back; an armed one is brought to rest and disarmed.
    Drop {
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Say who has the bench, and for how long.
    Who {
        #[command(flatten)]
        daemon: Daemon,
    },
}

/// Arguments of `disarm` and `safe`.
#[derive(Debug, Args)]
pub struct Tell {
    #[command(flatten)]
    daemon: Daemon,
}

/// What arming would change, as the daemon tells it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Ahead {
    pub(super) armed: bool,
    blocked: Option<String>,
    t_s: Option<f64>,
    changes: Vec<Change>,
}

impl Ahead {
    /// Why the bench cannot be armed, and what helps; `None` where it can be.
    pub(super) fn forbids(&self) -> Option<(String, &'static str)> {
        match (&self.blocked, self.t_s) {
            (Some(why), _) => Some((
                format!("the bench cannot be armed: {why}"),
                "mend the rig and start the run anew",
            )),
            (None, None) => Some((
                "the bench was not looked at yet".to_owned(),
                "try again in a second",
            )),
            (None, Some(_)) => None,
        }
    }

    /// What would be written, one line for each control.
    pub(super) fn table(&self) -> String {
        table(&self.changes)
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Change {
    device: String,
    point: String,
    unit: String,
    now: Option<f64>,
    age_s: Option<f64>,
    would_be: f64,
    function: String,
    why: String,
    clamped: Vec<String>,
}

/// Shows what would be written, asks, and arms.
pub fn arm(arguments: &Arm, terminal: &Terminal) -> Outcome {
    let found = ask(
        &arguments.daemon,
        Method::GET,
        "/api/v1/arming",
        &Value::Null,
    )?;
    let ahead: Ahead = serde_json::from_value(found.clone()).map_err(|e| {
        refused(format!("the daemon's answer is not understood: {e}"))
            .help("use the `gridrig` that the daemon was started with")
    })?;
    let lease = json!({ "for_s": arguments.time.as_secs_f64() });
    if ahead.armed {
        ask(&arguments.daemon, Method::POST, "/api/v1/arm", &lease)?;
        terminal.result(
            || found,
            || {
                format!(
                    "The bench is armed already, and stays so for another {}.",
                    words(arguments.time)
                )
            },
        );
        return Ok(Verdict::Pass);
    }
    if let Some((why, help)) = ahead.forbids() {
        return Err(refused(why).help(help).into());
    }
    terminal.say(ahead.table());
    if !arguments.yes && !is_confirmed()? {
        terminal.say("Nothing was armed.");
        return Ok(Verdict::Interrupted);
    }
    ask(&arguments.daemon, Method::POST, "/api/v1/arm", &lease)?;
    terminal.result(
        || json!({ "armed": true, "shown": found, "for_s": arguments.time.as_secs_f64() }),
        || {
            format!(
                "The bench is armed from the next cycle on, for {}; arm it anew before that is over.",
                words(arguments.time)
            )
        },
    );
    Ok(Verdict::Pass)
}

/// Ends writing; what was touched is brought to rest first.
pub fn disarm(arguments: &Tell, terminal: &Terminal) -> Outcome {
    ask(
        &arguments.daemon,
        Method::POST,
        "/api/v1/disarm",
        &Value::Null,
    )?;
    terminal.result(
        || json!({ "armed": false }),
        || {
            "The bench is disarmed: what was touched comes to rest, and nothing more is written."
                .into()
        },
    );
    Ok(Verdict::Pass)
}

/// Brings every device to its safe state; needs no token, and sends none.
pub fn safe(arguments: &Tell, terminal: &Terminal) -> Outcome {
    let vouched = arguments.daemon.address.ask_safe()?;
    if vouched == Vouched::No {
        terminal.say(
            "Whoever answered there has no certificate that is trusted. The command was given all the same; look whether the bench obeys, or use its own emergency stop.",
        );
    }
    terminal.result(
        || json!({ "mode": "safe", "vouched": vouched == Vouched::Yes }),
        || "The bench goes to its safe state.".into(),
    );
    Ok(Verdict::Pass)
}

/// Who has the bench: taken, given back or told.
pub fn lock(arguments: &Lock, terminal: &Terminal) -> Outcome {
    let told = match &arguments.what {
        LockVerb::Take { daemon, time } => {
            let body = json!({ "for_s": time.as_secs_f64() });
            ask(daemon, Method::POST, "/api/v1/lock/take", &body)?
        }
        LockVerb::Drop { daemon } => ask(daemon, Method::POST, "/api/v1/lock/drop", &Value::Null)?,
        LockVerb::Who { daemon } => ask(daemon, Method::GET, "/api/v1/lock", &Value::Null)?,
    };
    let line = match (told["holder"].as_str(), told["left_s"].as_f64()) {
        (Some(holder), Some(left)) => {
            let left = Duration::from_secs_f64(left.max(0.0));
            format!("{holder} has the bench for another {}.", words(left))
        }
        _ => "Nobody has the bench.".to_owned(),
    };
    terminal.result(|| told, || line);
    Ok(Verdict::Pass)
}

/// A time as a person says it.
pub fn words(time: Duration) -> String {
    match time.as_secs() {
        s if s >= 3600 && s.is_multiple_of(3600) => format!("{} h", s / 3600),
        s if s >= 60 => format!("{} min {} s", s / 60, s % 60),
        s => format!("{s} s"),
    }
}

/// What would be written, one line for each control.
fn table(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "Nothing would be written at once.".to_owned();
    }
    let mut rows = vec![["device", "point", "now", "would become", "why"].map(str::to_owned)];
    for change in changes {
        let of = |value: f64| match (&*change.unit, change.point.as_str()) {
            (_, "switch.on") => if value >= 0.5 { "on" } else { "off" }.to_owned(),
            ("1", _) => format!("{value}"),
            (unit, _) => format!("{value:.0} {unit}"),
        };
        let now = match (change.now, change.age_s) {
            (Some(value), Some(age)) if age >= 5.0 => format!("{} ({age:.0} s ago)", of(value)),
            (Some(value), _) => of(value),
            (None, _) => "not known".to_owned(),
        };
        let mut why = format!("{}: {}", change.function, change.why);
        if !change.clamped.is_empty() {
            // Writing to a text cannot fail.
            let _ = write!(why, " ({})", change.clamped.join(", "));
        }
        rows.push([
            change.device.clone(),
            change.point.clone(),
            now,
            of(change.would_be),
            why,
        ]);
    }
    let width = |column: usize| {
        rows.iter()
            .map(|r| r[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2), width(3)];
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(text, "{cell:<width$}  ");
        }
        text.push_str(&row[4]);
        text.push('\n');
    }
    text.trim_end().to_owned()
}

/// Whether the person at the terminal says yes.
fn is_confirmed() -> Result<bool, Problem> {
    if !std::io::stdin().is_terminal() {
        let fault = usage(
            "C001",
            "arming wants a person at a terminal who confirms it",
            "look at what is shown above, and give `--yes` if it is right",
        );
        return Err(Problem::usage(fault));
    }
    crate::terminal::to_stderr("Arm the bench? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    Ok(read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes"))
}

/// Asks the daemon; its JSON answer.
fn ask(daemon: &Daemon, method: Method, path: &str, body: &Value) -> Result<Value, Problem> {
    daemon
        .address
        .ask(&daemon.caller()?, Question { method, path, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_what_is_there_what_would_come_and_why() {
        let change = |point: &str, unit: &str, now, age_s, would_be| Change {
            device: "ess1".into(),
            point: point.into(),
            unit: unit.into(),
            now,
            age_s,
            would_be,
            function: "operator".into(),
            why: "held".into(),
            clamped: vec!["ramp".into()],
        };
        let text = table(&[
            change("ctl.p_set", "W", Some(500.0), Some(0.4), 1500.0),
            change("ctl.q_set", "var", None, None, 0.0),
            change("switch.on", "1", Some(0.0), Some(12.0), 1.0),
        ]);
        let expected = "\
device  point      now             would become  why
ess1    ctl.p_set  500 W           1500 W        operator: held (ramp)
ess1    ctl.q_set  not known       0 var         operator: held (ramp)
ess1    switch.on  off (12 s ago)  on            operator: held (ramp)";
        assert_eq!(text, expected);
        assert_eq!(table(&[]), "Nothing would be written at once.");
    }
}
