//! `gridrig device`: single points of devices, through the same drivers and the same limiter.

mod record;
mod watch;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use document::{Actor, Diagnostic};
use model::{Clock, DeviceIx, Point, Reading, Setpoint};
use runtime::access::recorder::Recorder;
use runtime::access::{
    PointAccess, PointReading, WriteFault, Written, buses_of, points_of, specs_of,
};
use runtime::clock::SystemClock;
use runtime::evidence::{self, CONTROLLER, Evidence, KeySource};
use runtime::rig::Rig;
use scenario::bench::EmulatedBench;
use scenario::far_ends::FarEnds;
use scenario::folder::About;
use scenario::report::result::LedgerSummary;
use scenario::verdict::Verdict;
use serde_json::{Value, json};

use super::live::{On, SEED, time};
use crate::codes::usage;
use crate::folder::{self, Attempt};
use crate::problem::{Outcome, Problem};
use crate::rig_file;
use crate::terminal::Terminal;

/// Time that a device has for all points, when nothing else is said.
/// Chosen: 10 s, the longest first contact of the bundled profiles with one lost connection.
pub const WITHIN: &str = "10s";

/// Arguments of `device`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The devices of a rig with all that they say and take.
    Ls {
        /// The rig.
        rig: PathBuf,
    },
    /// Read points of a device; all of them when none is named.
    Read {
        /// The rig.
        rig: PathBuf,
        /// The device.
        device: String,
        /// Points such as `ac.p`.
        points: Vec<String>,
        #[command(flatten)]
        how: How,
    },
    /// Show values as they change, until Ctrl-C.
    Watch {
        /// The rig.
        rig: PathBuf,
        /// The device; all of them without.
        device: Option<String>,
        /// Points such as `ac.p`; all of them when none is named.
        #[arg(long = "point", value_name = "POINT")]
        points: Vec<String>,
        /// End by itself after this time.
        #[arg(long = "for", value_name = "TIME", value_parser = time)]
        run_for: Option<Duration>,
        /// What is at the far end of the buses.
        #[arg(long, value_enum, default_value = "bench")]
        on: On,
    },
    /// Record what goes over the wire, with what it was read as.
    Record {
        /// The rig.
        rig: PathBuf,
        /// The device.
        device: String,
        /// For how long.
        #[arg(long = "for", value_name = "TIME", value_parser = time)]
        run_for: Duration,
        /// The recording, one JSON object per line; the file must not exist yet.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// What is at the far end of the buses.
        #[arg(long, value_enum, default_value = "bench")]
        on: On,
    },
    /// Write setpoints to a device: limited, recorded, read back.
    Write {
        /// The rig.
        rig: PathBuf,
        /// The device.
        device: String,
        /// Setpoints such as `ctl.p_set=-500W` or `switch.on=off`.
        #[arg(required = true, value_name = "POINT=VALUE")]
        setpoints: Vec<String>,
        /// Yes, move power.
        #[arg(long)]
        arm: bool,
        /// The run folder for the evidence (by default a new one under `out/`).
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        #[command(flatten)]
        how: How,
    },
    /// Let an inverter adopt a characteristic that it then follows by itself: limited, recorded,
    /// read back, and only then enabled.
    Curve(super::curve::Arguments),
}

#[derive(Debug, Args)]
pub struct How {
    /// What is at the far end of the buses.
    #[arg(long, value_enum, default_value = "bench")]
    pub on: On,
    /// Time that the device has.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = WITHIN)]
    pub within: Duration,
}

/// Runs it.
pub fn run(arguments: Arguments, terminal: &Terminal) -> Outcome {
    match arguments.what {
        What::Curve(arguments) => super::curve::run(arguments, terminal),
        What::Ls { rig } => list(&*rig_file::load(Some(&rig), terminal)?, terminal),
        What::Read {
            rig,
            device,
            points,
            how,
        } => {
            let rig = rig_file::load(Some(&rig), terminal)?;
            let device = rig_file::device(&rig, &device)?;
            in_runtime(read(&rig, device, &points, &how, terminal))?
        }
        What::Watch {
            rig,
            device,
            points,
            run_for,
            on,
        } => {
            let rig = rig_file::load(Some(&rig), terminal)?;
            let device = device.map(|d| rig_file::device(&rig, &d)).transpose()?;
            let watch = watch::Watch {
                device,
                points: &points,
                on,
                run_for,
            };
            in_runtime(watch.run(&rig, terminal))?
        }
        What::Record {
            rig,
            device,
            run_for,
            out,
            on,
        } => {
            let rig = rig_file::load(Some(&rig), terminal)?;
            let device = rig_file::device(&rig, &device)?;
            in_runtime(record::run(&rig, device, on, run_for, &out, terminal))?
        }
        What::Write {
            rig,
            device,
            setpoints,
            arm,
            out,
            how,
        } => {
            let rig = rig_file::load(Some(&rig), terminal)?;
            let device = rig_file::device(&rig, &device)?;
            let values = values(&rig, device, &setpoints)?;
            if !arm {
                return Err(Problem::usage(usage(
                    "C006",
                    "writing moves power, and this was not armed",
                    "add `--arm` if that is what you want",
                )));
            }
            let about = About {
                rig: rig.source.path.clone(),
                on: how.on.word().into(),
                speed: "1".into(),
                seed: SEED,
                ..About::default()
            };
            let attempt = folder::make(out.as_deref(), "write", about)?;
            in_runtime(write(&rig, device, &values, &how, &attempt, terminal))?
                .map_err(|problem| attempt.failed(problem))
        }
    }
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

fn list(rig: &Rig, terminal: &Terminal) -> Outcome {
    let names = |points: &[Point]| points.iter().map(|p| p.name()).collect::<Vec<_>>();
    let rows: Vec<Value> = rig
        .devices
        .iter()
        .map(|device| {
            let says = rig
                .device(&device.id)
                .map(|ix| points_of(rig, ix))
                .unwrap_or_default();
            json!({
                "device": &*device.id,
                "role": device.role.name(),
                "profile": &*device.profile.id,
                "bus": &*rig.buses[device.bus].id,
                "protocol": rig.buses[device.bus].kind.protocol(),
                "says": names(&says),
                "takes": names(&device.profile.controls()),
            })
        })
        .collect();
    if terminal.is_json() {
        terminal.print(Value::from(rows));
        return Ok(Verdict::Pass);
    }
    for (row, device) in rows.iter().zip(&rig.devices) {
        let list = |key: &str| {
            let words: Vec<&str> = row[key]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            if words.is_empty() {
                "nothing".to_owned()
            } else {
                words.join(" ")
            }
        };
        terminal.print(format!(
            "{:<10} {:<8} {:<28} {}",
            device.id,
            device.role.name(),
            device.profile.id,
            rig.buses[device.bus].id
        ));
        terminal.print(format!("           says  {}", list("says")));
        terminal.print(format!("           takes {}", list("takes")));
    }
    Ok(Verdict::Pass)
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
struct Recorded {
    bench: Option<EmulatedBench>,
    access: PointAccess,
    recorder: Arc<Recorder>,
    clock: Arc<dyn Clock>,
}

/// Opens the buses of some devices with a recorder of everything that goes over them.
async fn open_recorded(rig: &Arc<Rig>, devices: &[DeviceIx], on: On) -> Result<Recorded, Problem> {
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

/// A value with its unit, or why there is none.
pub fn value_text(reading: &PointReading) -> String {
    match reading.reading {
        Reading::Good(value) => {
            let (value, unit) = match reading.point.unit() {
                "1" => (value, String::new()),
                unit => (value, format!(" {unit}")),
            };
            format!("{}{unit}", scenario::report::number(value))
        }
        Reading::Bad(flaw) => format!("- ({})", flaw.word()),
    }
}

/// A reading for machines.
pub fn reading_json(rig: &Rig, reading: &PointReading, now: model::Instant) -> Value {
    let flaw = match reading.reading {
        Reading::Good(_) => None,
        Reading::Bad(flaw) => Some(flaw.word()),
    };
    json!({
        "device": &*rig.devices[reading.device.index()].id,
        "point": reading.point.name(),
        "value": reading.reading.good(),
        "unit": reading.point.unit(),
        "quality": flaw.unwrap_or("good"),
        "age_s": reading.measured_at.map(|at| now.since(at).as_secs_f64()),
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

async fn read(
    rig: &Arc<Rig>,
    device: DeviceIx,
    names: &[String],
    how: &How,
    terminal: &Terminal,
) -> Outcome {
    let says = points_of(rig, device);
    let points = if names.is_empty() {
        says
    } else {
        names
            .iter()
            .map(|n| rig_file::point(&rig.devices[device.index()], n, &says, "says"))
            .collect::<Result<_, _>>()?
    };
    let (bench, mut access, clock) = open(rig, &[device], how.on).await?;
    let wanted: Vec<_> = points.into_iter().map(|p| (device, p)).collect();
    let readings = access.read(&wanted, how.within).await;
    let now = clock.now();
    if terminal.is_json() {
        let rows: Value = readings.iter().map(|r| reading_json(rig, r, now)).collect();
        terminal.print(rows);
    } else {
        for reading in &readings {
            terminal.print(format!(
                "{:<16} {}",
                reading.point.name(),
                value_text(reading)
            ));
        }
    }
    let absences = absences(rig, &readings, &access.notices, how.within);
    drop(bench);
    if absences.is_empty() {
        return Ok(Verdict::Pass);
    }
    // The readings are the JSON document; what is missing is drawn for people.
    terminal.draw(&absences);
    Ok(Verdict::Infrastructure)
}

/// Reads `POINT=VALUE`; the value has a unit wherever the point has one.
fn values(rig: &Rig, device: DeviceIx, words: &[String]) -> Result<Vec<(Point, f64)>, Problem> {
    let device = &rig.devices[device.index()];
    let mut values: Vec<(Point, f64)> = Vec::new();
    for word in words {
        let fail = |what: &str| {
            Problem::usage(usage(
                "C001",
                format!("`{word}` is not a setpoint: {what}"),
                "write it like `ctl.p_set=-500W`, `ctl.f_set=49.5Hz` or `switch.on=off`",
            ))
        };
        let Some((name, text)) = word.split_once('=') else {
            return Err(fail("there is no `=`"));
        };
        let point = rig_file::point(device, name.trim(), &device.profile.controls(), "takes")?;
        if values.iter().any(|(known, _)| *known == point) {
            return Err(fail("it stands there twice"));
        }
        values.push((point, value(point, text.trim()).map_err(|e| fail(&e))?));
    }
    Ok(values)
}

fn value(point: Point, text: &str) -> Result<f64, String> {
    use quantities::{
        ActivePower, Frequency, PhaseAngle, Quantity, ReactivePower, Voltage, parse_quantity,
    };
    fn of<Q: Quantity>(text: &str) -> Result<f64, String> {
        parse_quantity::<Q>(text)
            .map(Quantity::base)
            .map_err(|e| e.to_string())
    }
    match (point, text) {
        (Point::SwitchOn, "on" | "closed" | "1") => Ok(1.0),
        (Point::SwitchOn, "off" | "open" | "0") => Ok(0.0),
        (Point::SwitchOn, _) => Err("a switch is `on` or `off`".into()),
        (Point::ReactivePowerSet, _) => of::<ReactivePower>(text),
        (Point::FrequencySet, _) => of::<Frequency>(text),
        (Point::VoltageSet, _) => of::<Voltage>(text),
        (Point::PhaseSet, _) => of::<PhaseAngle>(text),
        _ => of::<ActivePower>(text),
    }
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

async fn write(
    rig: &Arc<Rig>,
    device: DeviceIx,
    values: &[(Point, f64)],
    how: &How,
    attempt: &Attempt,
    terminal: &Terminal,
) -> Outcome {
    let (bench, mut access, clock) = open(rig, &[device], how.on).await?;
    let no_ledger = |e: &dyn std::fmt::Display| no_ledger(attempt, e);
    let mut evidence = begin_evidence(rig, attempt, &*clock)?;

    let done = write_all(rig, device, values, how, &mut access, &mut evidence).await;
    // The log is closed in good order also when the device was not.
    let root = evidence.close(clock.utc()).map_err(|e| no_ledger(&e));
    drop(bench);
    let written = done?;
    let root = root?;
    let steps = written.iter().map(|w| w.steps).sum();
    let verified = ledger_verify::verify(&attempt.dir);
    attempt.conclude(Verdict::Pass, "", |result| {
        result.counters.dispatches = steps;
        result.counters.dispatches_logged = evidence.dispatches_logged;
        result.ledger = LedgerSummary {
            root: Some(root),
            entries: verified.entries,
            verified: Some(verified.is_ok()),
            ..LedgerSummary::default()
        };
    })?;
    if terminal.is_json() {
        terminal.print(json!({
            "run": attempt.dir,
            "written": written.iter().map(written_json).collect::<Value>(),
        }));
    } else {
        for one in &written {
            terminal.print(written_text(&rig.devices[device.index()].id, one));
        }
        terminal.say(format!("The evidence is in {}.", attempt.dir.display()));
    }
    Ok(Verdict::Pass)
}

async fn write_all(
    rig: &Rig,
    device: DeviceIx,
    values: &[(Point, f64)],
    how: &How,
    access: &mut PointAccess,
    evidence: &mut Evidence,
) -> Result<Vec<Written>, Problem> {
    let heard = access.learn(device, how.within).await;
    let absent = |access: &PointAccess| {
        let silent = [PointReading {
            device,
            point: values.first().map_or(Point::ActivePowerSet, |(p, _)| *p),
            reading: Reading::Bad(model::Flaw::NeverRead),
            measured_at: None,
        }];
        Problem::from(absences(rig, &silent, &access.notices, how.within))
    };
    if !heard {
        return Err(absent(access));
    }
    let Some(setpoints) = access.setpoints(device, values) else {
        return Err(absent(access));
    };
    let mut written = Vec::new();
    for setpoint in setpoints {
        let one = access
            .write(evidence, device, setpoint, how.within)
            .await
            .map_err(|e| Problem::from(fault(&e)))?;
        written.push(one);
    }
    Ok(written)
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

fn setpoint_text(setpoint: Setpoint) -> String {
    runtime::telemetry::setpoint_text(setpoint)
}

fn written_json(written: &Written) -> Value {
    json!({
        "wished": setpoint_text(written.wished),
        "approved": setpoint_text(written.approved),
        "clamped": written.clamped,
        "steps": written.steps,
        "atom": written.atom.to_string(),
        "proved": written.proved.map(|(stage, after)| json!({
            "stage": format!("{stage:?}").to_lowercase(),
            "after_s": after.as_secs_f64(),
        })),
    })
}

fn written_text(device: &str, written: &Written) -> String {
    let mut text = format!("{device}: {}", setpoint_text(written.approved));
    if !written.clamped.is_empty() {
        text.push_str(&format!(" (limited: {})", written.clamped.join(", ")));
    }
    if written.steps > 1 {
        text.push_str(&format!(", in {} steps along its ramp", written.steps));
    }
    match written.proved {
        Some((_, after)) => text.push_str(&format!(
            ", proved by its own register after {:.0} ms",
            after.as_secs_f64() * 1e3
        )),
        None => text.push_str(", not proved"),
    }
    text
}
