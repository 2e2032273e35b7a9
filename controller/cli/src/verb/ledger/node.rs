//! `gridrig ledger node`: one node of a universe of several, until it is told to end.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use ledger_net::{Event, Node, NodeConfig};
use model::Clock as _;
use scenario::verdict::Verdict;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::problem::{Outcome, Problem};
use crate::terminal::Terminal;

/// How often the node says how it stands, in seconds. Chosen: often enough to watch it.
const STATUS_SECONDS: u64 = 5;

/// Arguments of `ledger node`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The node's configuration, which `gridrig ledger init` wrote.
    config: PathBuf,
}

/// Runs it.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> Outcome {
    crate::verb::contact::in_runtime(stay(arguments, terminal))?
}

async fn stay(arguments: &Arguments, terminal: &Terminal) -> Outcome {
    let handler = |kind| {
        signal(kind).map_err(|e| {
            Problem::from(document::Diagnostic::error(
                "R026",
                document::Actor::Operator,
                format!("the system gives no signal handler: {e}"),
            ))
        })
    };
    let mut interrupt = handler(SignalKind::interrupt())?;
    let mut terminate = handler(SignalKind::terminate())?;
    let clock = Arc::new(runtime::clock::SystemClock::start());
    let mut often = tokio::time::interval(std::time::Duration::from_secs(STATUS_SECONDS));
    let mut goes_on = false;
    loop {
        // Read anew each time: the node may go on in another configuration.
        let config = NodeConfig::load(&arguments.config).map_err(|e| Problem::from(e.0))?;
        let (told, mut events) = tokio::sync::mpsc::unbounded_channel();
        let on_event = move |event: Event| {
            // Levels are in the status; a line for each would be a line for each setpoint.
            if !matches!(event, Event::Reached { .. }) {
                let _ = told.send(event);
            }
        };
        let clock = Arc::clone(&clock);
        let wall = Arc::new(move || clock.utc().unix_nanos());
        let started = match goes_on {
            false => Node::start(&config, wall, on_event),
            true => Node::go_on(&config, wall, on_event),
        };
        let node = started.map_err(|e| Problem::from(vec![e.into_diagnostic()]))?;
        say(
            terminal,
            json!({ "node": config.node, "listens_on": node.listens_on().to_string(), "epoch": config.epochs.last() }),
        );
        let verdict = loop {
            tokio::select! {
                _ = interrupt.recv() => break Some(Verdict::Interrupted),
                _ = terminate.recv() => break Some(Verdict::Pass),
                event = events.recv() => match event {
                    Some(event) => {
                        say(terminal, event_line(&event));
                        if matches!(event, Event::NextEpoch { .. }) {
                            break None;
                        }
                    }
                    None => break Some(Verdict::Infrastructure),
                },
                _ = often.tick() => say(terminal, status_line(&node)),
            }
        };
        node.close()
            .map_err(|e| Problem::from(vec![e.into_diagnostic()]))?;
        if let Some(verdict) = verdict {
            return Ok(verdict);
        }
        goes_on = true;
    }
}

fn say(terminal: &Terminal, line: Value) {
    if terminal.is_json() {
        terminal.print(line);
    } else if let Value::Object(fields) = line {
        let word = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let words: Vec<String> = fields
            .iter()
            .map(|(key, value)| format!("{key} {}", word(value)))
            .collect();
        terminal.print(words.join("  "));
    }
}

fn event_line(event: &Event) -> Value {
    match event {
        Event::Reached { atom, level } => {
            json!({ "event": "reached", "atom": atom.to_string(), "level": level.name() })
        }
        Event::Refused { atom, why } => {
            json!({ "event": "refused", "atom": atom.to_string(), "why": why })
        }
        Event::Accused { who, what } => json!({ "event": "accused", "who": who, "what": what }),
        Event::Faulty { node, what } => json!({ "event": "faulty", "node": node, "what": what }),
        Event::NextEpoch { number } => json!({ "event": "next-epoch", "epoch": number }),
        Event::Ready => json!({ "event": "ready" }),
    }
}

/// Of each granted device its epoch; whose it is stands in the grant.
fn authority(status: &ledger_net::Status) -> Value {
    let granted = status.authorities.iter();
    let granted = granted.filter(|(_, of)| of.holder != ledger_core::Holder::Anybody);
    Value::Object(
        granted
            .map(|(device, of)| (device.clone(), json!(of.epoch)))
            .collect(),
    )
}

fn status_line(node: &Node) -> Value {
    let status = node.status();
    let [l1, l2, l3] = status.reached;
    let held: serde_json::Map<String, Value> = status
        .nodes
        .iter()
        .map(|(name, size, is_up)| (name.clone(), json!({ "size": size, "connected": is_up })))
        .collect();
    json!({
        "epoch": status.epoch,
        "clock": status.clock,
        "root": ledger_core::hash::hex(&status.root),
        "may_sign": status.may_sign,
        "waits_for": status.unheard,
        "L1": l1, "L2": l2, "L3": l3,
        "not_final": status.open,
        "nodes": held,
        "accused": status.accused,
        "authority": authority(&status),
        "stopped": status.stopped,
    })
}
