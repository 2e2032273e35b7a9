//! `gridrig scan`: what hangs on some buses, proposed as a rig. Nothing is written to any device.

mod propose;
mod role;
mod target;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bus::modbus::scan::Patience;
use clap::Args;
use document::Diagnostic;
use futures_util::stream::{self, StreamExt as _};
use model::Clock;
use profile::Profile;
use runtime::clock::SystemClock;
use scenario::bench::EmulatedBench;
use scenario::verdict::Verdict;
use serde_json::json;

use super::contact::in_runtime;
use super::live::{SEED, time};
use crate::codes::usage;
use crate::problem::{Outcome, Problem};
use crate::rig_file;
use crate::terminal::Terminal;
use propose::{Finds, Proposal};
use target::{Kind, Target};

/// Units that are asked when nothing else is said, besides those that bundled profiles name.
/// Chosen: the first ten; makers number from one.
const UNITS_FIRST: std::ops::RangeInclusive<u8> = 1..=10;

/// Buses that are looked at side by side.
/// Chosen: more than a bench has, few enough that none of them waits for the processor.
const AT_ONCE: usize = 16;

/// Arguments of `scan`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("lines").multiple(true)))]
pub struct Arguments {
    /// Modbus TCP devices and gateways; `192.168.1.0/28` asks each host of a network, 256 at most.
    #[arg(long, value_name = "HOST[:PORT]")]
    tcp: Vec<String>,
    /// Serial lines with Modbus RTU.
    #[arg(long, value_name = "PORT", group = "lines")]
    serial: Vec<String>,
    /// Instruments with SCPI over TCP; they are asked `*IDN?` and nothing else.
    #[arg(long, value_name = "HOST[:PORT]")]
    scpi: Vec<String>,
    /// Serial lines of instruments with SCPI.
    #[arg(long, value_name = "PORT", group = "lines")]
    scpi_serial: Vec<String>,
    /// Bits per second of the serial lines [default: those of the known makers, in turn].
    #[arg(long, requires = "lines")]
    baud: Option<u32>,
    /// Parity of the serial lines, with `--baud`.
    #[arg(long, requires = "baud", default_value = "none")]
    parity: String,
    /// CAN buses, such as `socketcan://can0`.
    #[arg(long, value_name = "URI")]
    can: Vec<String>,
    /// MQTT brokers, such as `mqtt://192.168.1.2`.
    #[arg(long, value_name = "URL")]
    mqtt: Vec<String>,
    /// User name at the brokers.
    #[arg(long, requires = "mqtt")]
    user: Option<String>,
    /// Environment variable that holds the password.
    #[arg(long, value_name = "NAME", requires = "user")]
    password_env: Option<String>,
    /// Certificate authority of the brokers, for `mqtts://`.
    #[arg(long, value_name = "FILE", requires = "mqtt")]
    ca: Option<PathBuf>,
    /// Scan the emulated bench of a rig.
    #[arg(long, value_name = "RIG")]
    sim: Option<PathBuf>,
    /// Modbus units to ask, such as `1..20,126` [default: 1 to 10 and those of known makers].
    #[arg(long, value_name = "UNITS")]
    units: Option<String>,
    /// Time that a Modbus unit or an instrument has to answer.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "300ms")]
    timeout: Duration,
    /// Silence before each Modbus request.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "20ms")]
    min_gap: Duration,
    /// How long CAN buses and brokers are listened to.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "5s")]
    listen: Duration,
    /// Write the rig here; the file must not exist yet. Without it, it is printed.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    if let Some(out) = arguments.out.as_ref().filter(|out| out.exists()) {
        return Err(Problem::usage(usage(
            "C003",
            format!("{} exists already", out.display()),
            "give `--out` another name; a scan never replaces a rig",
        )));
    }
    in_runtime(scan(&arguments, terminal))?
}

async fn scan(arguments: &Arguments, terminal: &Terminal) -> Outcome {
    let units = match &arguments.units {
        Some(text) => units(text).map_err(|why| {
            Problem::usage(usage(
                "C001",
                format!("`{text}` names no Modbus units: {why}"),
                "write them like `1..20,126`; 1 to 247, for 0 is the broadcast",
            ))
        })?,
        None => usual_units(),
    };
    let mut targets = target::named(arguments)?;
    let bench = match &arguments.sim {
        Some(path) => {
            let rig = rig_file::load(Some(path), terminal)?;
            let (bench, _) = EmulatedBench::start_real(&rig, SEED).await?;
            targets.extend(target::of_bench(&bench, &rig));
            Some(bench)
        }
        None => None,
    };
    targets.extend(target::of_networks(&arguments.tcp, terminal).await?);
    if targets.is_empty() {
        return Err(Problem::usage(usage(
            "C020",
            "there is nothing to scan",
            "name a bus with `--tcp`, `--serial`, `--scpi`, `--scpi-serial`, `--can`, `--mqtt` or `--sim`",
        )));
    }
    let profiles: Vec<Arc<Profile>> = profile::bundled_ids()
        .into_iter()
        .filter_map(profile::bundled)
        .collect();
    let mut proposal = Proposal::default();
    let mut troubles = Vec::new();
    let (units, profiles) = (&units, &profiles);
    let mut looks = stream::iter(targets)
        .map(|target| async move {
            let finds = look(&target, units, profiles, arguments, terminal).await;
            (target, finds)
        })
        .buffered(AT_ONCE);
    while let Some((target, finds)) = looks.next().await {
        match finds {
            Ok(finds) => proposal.add(&target, finds),
            Err(trouble) => troubles.push(*trouble),
        }
    }
    drop(looks);
    drop(bench);
    proposal.ease();
    terminal.draw(&troubles);
    tell(arguments, &proposal, troubles, terminal)
}

/// What a target has; for a serial line whose speed is not said, at the first speed that works.
async fn look(
    target: &Target,
    units: &[u8],
    profiles: &[Arc<Profile>],
    arguments: &Arguments,
    terminal: &Terminal,
) -> Result<Finds, Box<Diagnostic>> {
    let trouble = |why: String| {
        Box::new(usage(
            "R024",
            format!("{}: {why}", target.shown()),
            "the other buses are scanned all the same",
        ))
    };
    terminal.say(format!("Looking at {} ...", target.shown()));
    match target.kind {
        Kind::Can => {
            let traffic = bus::can::scan::listen(target.spec()?, profiles, arguments.listen)
                .await
                .map_err(|e| trouble(e.to_string()))?;
            let candidates = bus::can::scan::candidates(&traffic, profiles);
            Ok(Finds::Can(traffic, candidates))
        }
        Kind::Mqtt => {
            let messages = bus::mqtt::scan::listen(target.spec()?, profiles, arguments.listen)
                .await
                .map_err(|e| trouble(e.to_string()))?;
            let devices = bus::mqtt::scan::devices(&messages, profiles);
            Ok(Finds::Mqtt(messages, devices))
        }
        Kind::Scpi => {
            let mut at = target.clone();
            let mut found = None;
            for one in target.tries(profiles) {
                found = bus::scpi::scan::identify(one.spec()?, profiles, arguments.timeout)
                    .await
                    .map_err(|e| trouble(e.to_string()))?;
                at = one;
                if found.is_some() {
                    break;
                }
            }
            Ok(Finds::Scpi { at, found })
        }
        Kind::ModbusTcp | Kind::ModbusRtu => {
            let patience = Patience {
                timeout: arguments.timeout,
                min_gap: arguments.min_gap,
            };
            let mut found = Vec::new();
            let mut at = target.clone();
            for one in target.tries(profiles) {
                let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
                let tell = |found: &bus::modbus::scan::Found| {
                    let best = found.candidates.first();
                    let what = best.map_or("no bundled profile fits", |c| &*c.profile.id);
                    terminal.say(format!("  {} unit {}: {what}", target.shown(), found.unit));
                };
                let spec = one.spec()?;
                found = bus::modbus::scan::scan(spec, units, profiles, patience, clock, tell)
                    .await
                    .map_err(|e| trouble(e.to_string()))?;
                at = one;
                if !found.is_empty() {
                    break;
                }
            }
            Ok(Finds::Modbus {
                at,
                asked: units.len(),
                patience,
                found,
            })
        }
    }
}

fn tell(
    arguments: &Arguments,
    proposal: &Proposal,
    troubles: Vec<Diagnostic>,
    terminal: &Terminal,
) -> Outcome {
    if proposal.usable() == 0 {
        let nothing = usage(
            "C021",
            "no device was found that a bundled profile fits",
            "check supply, cable and address; ask other units with `--units`, listen longer with `--listen`",
        );
        let mut diagnostics = troubles;
        if let Some(text) = proposal.remarks() {
            terminal.say(text);
        }
        diagnostics.push(nothing);
        // The troubles were drawn when they were met.
        let last = diagnostics.split_off(diagnostics.len() - 1);
        return Err(Problem {
            verdict: Verdict::Infrastructure,
            diagnostics: last,
        });
    }
    let text = proposal.rig();
    let path = arguments.out.clone().unwrap_or_else(|| "rig.toml".into());
    // A proposal that does not pass its own check is a mistake of ours, and is told, not written.
    runtime::rig::load_text(&path, &text)?;
    match &arguments.out {
        Some(out) => {
            std::fs::write(out, &text).map_err(|e| {
                Problem::usage(usage(
                    "C003",
                    format!("{} cannot be written: {e}", out.display()),
                    "give `--out` another name",
                ))
            })?;
            if !terminal.is_json() {
                terminal.print(format!(
                    "{}: {} devices; read it, correct the guesses, then `gridrig check --live {}`",
                    out.display(),
                    proposal.usable(),
                    out.display()
                ));
            }
        }
        None if !terminal.is_json() => terminal.print(text.trim_end()),
        None => {}
    }
    let verdict = if troubles.is_empty() {
        Verdict::Pass
    } else {
        Verdict::Infrastructure
    };
    if terminal.is_json() {
        terminal.print(json!({
            "verdict": verdict.word(),
            "exit_code": verdict.exit_code(),
            "devices": proposal.as_json(),
            "rig": text,
            "file": arguments.out.as_ref().map(|out| out.display().to_string()),
            "diagnostics": crate::render::as_json(&troubles),
        }));
    }
    Ok(verdict)
}

/// Reads `1..20,126`.
fn units(text: &str) -> Result<Vec<u8>, String> {
    let one = |word: &str| match word.trim().parse::<u8>() {
        Ok(unit @ 1..=247) => Ok(unit),
        Ok(unit) => Err(format!("{unit} is no unit of a device")),
        Err(_) => Err(format!("`{}` is no number from 1 to 247", word.trim())),
    };
    let mut units = std::collections::BTreeSet::new();
    for part in text.split(',') {
        match part.split_once("..") {
            Some((first, last)) => units.extend(one(first)?..=one(last)?),
            None => {
                units.insert(one(part)?);
            }
        }
    }
    if units.is_empty() {
        return Err("the range is empty".to_owned());
    }
    Ok(units.into_iter().collect())
}

fn usual_units() -> Vec<u8> {
    let of_makers = profile::bundled_ids()
        .into_iter()
        .filter_map(profile::bundled)
        .filter_map(|profile| match &profile.protocol {
            profile::Protocol::Modbus(modbus) => Some(modbus.unit),
            _ => None,
        })
        .filter(|unit| (1..=247).contains(unit));
    let units: std::collections::BTreeSet<u8> = UNITS_FIRST.chain(of_makers).collect();
    units.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_as_ranges_and_single_ones_and_never_the_broadcast() {
        for (text, expected) in [
            ("1..3,126", Ok(vec![1, 2, 3, 126])),
            ("5", Ok(vec![5])),
            ("3,1,3", Ok(vec![1, 3])),
        ] {
            assert_eq!(units(text), expected, "{text}");
        }
        for text in ["0", "0..3", "248", "1..300", "", "a", "5..3"] {
            assert!(units(text).is_err(), "{text}");
        }
        assert!(!usual_units().contains(&0));
    }
}
