//! How a verb reaches devices: their buses opened without a controller, what nothing was heard of, and the
//! ledger of what is written.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use document::{Actor, Diagnostic};
use model::{Clock, DeviceIx};
use runtime::access::recorder::Recorder;
use runtime::access::{PointAccess, PointReading, WriteFault, buses_of, specs_of};
use runtime::clock::SystemClock;
use runtime::evidence::{self, CONTROLLER, Evidence, KeySource};
use runtime::rig::Rig;
use scenario::bench::EmulatedBench;
use scenario::far_ends::FarEnds;

use super::live::{On, SEED, time};
use crate::folder::Attempt;
use crate::problem::Problem;

/// Time that a device has for all points, when nothing else is said.
/// Chosen: 10 s, the longest first contact of the bundled profiles with one lost connection.
pub const WITHIN: &str = "10s";

#[derive(Debug, Args)]
pub struct How {
    /// What is at the far end of the buses.
    #[arg(long, value_enum, default_value = "bench")]
    pub on: On,
    /// Time that the device has.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = WITHIN)]
    pub within: Duration,
}

/// Runs a future on a runtime of its own, in real time.
///
/// # Errors
/// R026 when the system gives no threads or timers.
pub fn in_runtime<F: Future>(future: F) -> Result<F::Output, Problem> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| {
            Diagnostic::error(
                "R026",
                Actor::Operator,
                format!("the system gives no threads or timers: {e}"),
            )
        })?;
    let output = runtime.block_on(future);
    // Emulated devices end with the process; nothing waits for them.
    runtime.shutdown_background();
    Ok(output)
}

/// Opens the buses of some devices, emulated or real. The emulated bench must be kept.
///
/// # Errors
/// What keeps them from being opened.
pub async fn open(
    rig: &Arc<Rig>,
    devices: &[DeviceIx],
    on: On,
) -> Result<(Option<EmulatedBench>, PointAccess, Arc<dyn Clock>), Problem> {
    let (bench, specs) = far_end(rig, devices, on).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let access = PointAccess::open(rig, specs, Arc::clone(&clock));
    Ok((bench, access, clock))
}

/// Buses that are open with a recorder, and what keeps them so.
pub struct Recorded {
    pub bench: Option<EmulatedBench>,
    pub access: PointAccess,
    pub recorder: Arc<Recorder>,
    pub clock: Arc<dyn Clock>,
}

/// Opens the buses of some devices with a recorder of everything that goes over them.
pub async fn open_recorded(
    rig: &Arc<Rig>,
    devices: &[DeviceIx],
    on: On,
) -> Result<Recorded, Problem> {
    let (bench, specs) = far_end(rig, devices, on).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let (access, recorder) = PointAccess::open_recorded(rig, specs, Arc::clone(&clock));
    Ok(Recorded {
        bench,
        access,
        recorder,
        clock,
    })
}

/// How the buses of some devices are opened. The emulated bench must be kept.
async fn far_end(
    rig: &Arc<Rig>,
    devices: &[DeviceIx],
    on: On,
) -> Result<(Option<EmulatedBench>, Vec<(usize, bus::BusSpec)>), Problem> {
    let buses = buses_of(rig, devices);
    let far_ends = FarEnds::of(rig, on.into())?;
    Ok(match on {
        On::Sim | On::Mixed => {
            let (bench, specs) = EmulatedBench::start_part(rig, &far_ends, SEED).await?;
            let specs = specs.into_iter().enumerate();
            (
                Some(bench),
                specs.filter(|(i, _)| buses.contains(i)).collect(),
            )
        }
        On::Bench => (None, specs_of(rig, &buses, SEED)?),
    })
}

/// What nothing was heard of: R024 for a bus that did not open, C011 for a device that gave
/// nothing on a bus that did.
pub fn absences(
    rig: &Rig,
    readings: &[PointReading],
    notices: &[String],
    within: Duration,
) -> Vec<Diagnostic> {
    let has_value = |device: DeviceIx| {
        let mut own = readings.iter().filter(|r| r.device == device);
        own.any(|r| r.reading.good().is_some())
    };
    let mut devices: Vec<DeviceIx> = readings.iter().map(|r| r.device).collect();
    devices.dedup();
    let bus_of = |device: DeviceIx| rig.devices[device.index()].bus;
    let mut diagnostics = Vec::new();
    for (index, bus) in rig.buses.iter().enumerate() {
        let on_bus = || devices.iter().copied().filter(|d| bus_of(*d) == index);
        let silent: Vec<DeviceIx> = on_bus().filter(|d| !has_value(*d)).collect();
        let told = about(&bus.id, notices);
        if !told.is_empty() && !silent.is_empty() && silent.len() == on_bus().count() {
            // The notice begins with the name of the bus and says what to do.
            diagnostics.push(
                Diagnostic::error("R024", Actor::Operator, told.join("; ")).help(format!(
                    "until then nothing is known of: {}",
                    names(rig, &silent).join(", ")
                )),
            );
            continue;
        }
        diagnostics.extend(silent.into_iter().map(|device| {
            let name = &rig.devices[device.index()].id;
            let told = about(name, notices).join("; ");
            let told = if told.is_empty() {
                told
            } else {
                format!(": {told}")
            };
            Diagnostic::error(
                "C011",
                Actor::Device,
                format!(
                    "`{name}` on bus `{}` gave no value within {} s{told}",
                    bus.id,
                    within.as_secs_f64()
                ),
            )
            .help("check its supply, its cable and its address")
        }));
    }
    diagnostics
}

fn names<'a>(rig: &'a Rig, devices: &[DeviceIx]) -> Vec<&'a str> {
    devices
        .iter()
        .map(|d| &*rig.devices[d.index()].id)
        .collect()
}

/// Notices that name a bus or device.
fn about<'a>(name: &str, notices: &'a [String]) -> Vec<&'a str> {
    let is_name = |word: &str| word == name;
    notices
        .iter()
        .map(String::as_str)
        .filter(|notice| {
            notice
                .split(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_'))
                .any(is_name)
        })
        .collect()
}

/// The ledger of the attempt cannot be written.
pub fn no_ledger(attempt: &Attempt, e: &dyn std::fmt::Display) -> Problem {
    Problem::from(
        Diagnostic::error(
            "R025",
            Actor::Operator,
            format!(
                "the ledger in {} cannot be written: {e}",
                attempt.dir.display()
            ),
        )
        .help("give another folder with `--out`, or make room"),
    )
}

/// The ledger of an attempt, the rig bound to it.
///
/// # Errors
/// R025 when it cannot be written.
pub fn begin_evidence(
    rig: &Rig,
    attempt: &Attempt,
    clock: &dyn Clock,
) -> Result<Evidence, Problem> {
    let fail = |e: &dyn std::fmt::Display| no_ledger(attempt, e);
    let mut evidence = Evidence::create(&attempt.dir, &rig.title, &[], KeySource::Entropy, clock)
        .map_err(|e| fail(&e))?;
    let bind = evidence::document("rig", rig.source.text.as_bytes(), &rig.title);
    evidence
        .note(clock.utc(), vec![evidence.draft(CONTROLLER, bind)])
        .map_err(|e| fail(&e))?;
    Ok(evidence)
}

/// A fault of writing, for a person.
pub fn fault(fault: &WriteFault) -> Diagnostic {
    let message = fault.to_string();
    match fault {
        WriteFault::Refused { .. } => Diagnostic::error("C012", Actor::Operator, message)
            .help("see the limits in the rig, and `gridrig device read` for what is measured"),
        WriteFault::NotRecorded { .. } => Diagnostic::error("C014", Actor::Operator, message)
            .help("the disk of the run folder is slow or full; give another one with `--out`"),
        WriteFault::NotTaken { .. } | WriteFault::NotProved { .. } => {
            Diagnostic::error("C013", Actor::Device, message)
                .help("read the device before anything is assumed about what it does")
        }
    }
}
