//! `gridrig sim RIG`: only the wire emulators, for other programs to talk to.

use std::path::PathBuf;

use clap::Args;
use profile::Protocol;
use runtime::rig::{Rig, RigDevice};
use scenario::bench::{EmulatedBench, address_text};
use scenario::verdict::Verdict;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::live::SEED;
use crate::problem::{Outcome, Problem};
use crate::rig_file;
use crate::terminal::Terminal;

/// Arguments of `sim`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The rig; without one, the campus feeder that is inside the binary.
    rig: Option<PathBuf>,
    /// Seed of everything random.
    #[arg(long, default_value_t = SEED)]
    seed: u64,
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    let rig = rig_file::load(arguments.rig.as_deref(), terminal)?;
    // A device answers in its time, whatever else this host does; where that is not permitted, it does its best.
    if let Err(why) = runtime::rights::for_devices() {
        terminal.say(format!(
            "Without SCHED_FIFO ({why}): other work on this host may delay answers."
        ));
    }
    super::contact::in_runtime(stay(&rig, arguments.seed, terminal))?
}

async fn stay(rig: &Rig, seed: u64, terminal: &Terminal) -> Outcome {
    // The handlers first: who reads the last line may send a signal at once.
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
    let (bench, _) = EmulatedBench::start_real(rig, seed).await?;
    for (index, device) in rig.devices.iter().enumerate() {
        let bus = &rig.buses[device.bus];
        let address = bench
            .addresses
            .iter()
            .find(|a| a.bus == bus.id)
            .map(|a| address_text(&a.address))
            .unwrap_or_default();
        let line = json!({
            "device": &*device.id,
            "profile": &*device.profile.id,
            "protocol": bus.kind.protocol(),
            "address": address,
            "unit": unit(rig, index),
            "topic": device.topic,
        });
        if terminal.is_json() {
            terminal.print(line);
        } else {
            terminal.print(plain(&line, widths(rig)));
        }
    }
    terminal.say("The emulators run. Ctrl-C ends them.");
    tokio::select! {
        _ = interrupt.recv() => Ok(Verdict::Interrupted),
        _ = terminate.recv() => Ok(Verdict::Pass),
    }
}

/// The Modbus unit; other protocols have none.
fn unit(rig: &Rig, index: usize) -> Option<u8> {
    let device = &rig.devices[index];
    match &device.profile.protocol {
        Protocol::Modbus(modbus) => Some(device.unit.unwrap_or(modbus.unit)),
        Protocol::Can(_) | Protocol::Mqtt(_) | Protocol::Scpi(_) => None,
    }
}

/// Columns that the longest names of devices and profiles take.
fn widths(rig: &Rig) -> (usize, usize) {
    let widest = |sum: (usize, usize), device: &RigDevice| {
        let lengths = [&device.id, &device.profile.id].map(|name| name.chars().count());
        (sum.0.max(lengths[0]), sum.1.max(lengths[1]))
    };
    rig.devices.iter().fold((0, 0), widest)
}

fn plain(line: &Value, (device, profile): (usize, usize)) -> String {
    let text = |key: &str| match &line[key] {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    format!(
        "{:<device$} {:<profile$} {:<11} {:<44} {}",
        text("device"),
        text("profile"),
        text("protocol"),
        text("address"),
        text(if line["unit"].is_null() {
            "topic"
        } else {
            "unit"
        })
    )
}
