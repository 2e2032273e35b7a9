//! `fast-path`: how long a step of the frequency takes to a setpoint at the storage, and to its power.
//!
//! A meter and a storage are emulated over real Modbus TCP, on a thread and runtime of their own; the
//! controller is the one of a run: control thread, droop, limiter, and the signed ledger on the disk. The utility's
//! frequency is stepped at random moments of the polling period. A tap before the storage notes when the
//! first byte of a write comes in; the power counts as followed when the controller has read it.
//!
//! The bound of each figure is measured in the same run: half a polling period, half a step of the emulated plant
//! and one bare Modbus round trip. What the disk costs is told by the same run with its folder in memory. The least
//! that is left then is measured beside it after pauses as long as the polling's: the bare signatures of a setpoint, and
//! the bare chain of threads that it goes. Both are told once with processors that may sleep and once with such as
//! are kept awake (`processors` in a rig), for most of it is their way back.

mod append;
mod tape;
mod wire;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::Clock;
use runtime::awake::Awake;
use runtime::clock::SystemClock;
use runtime::rig::Processors;
use runtime::session::{Options, Session, Time};
use runtime::thread::Waker;
use serde_json::{Value, json};

use self::tape::{Step, Tape, spread};
use self::wire::Wire;
use super::virtual_time::{RunFolder, told};
use super::{BenchError, rounded, usage};
use crate::live::in_runtime;

/// Polling periods, and steps at each. Chosen: a hundred and more, so that the 99th of a hundred is one of them.
const RUNS: [(u64, usize); 4] = [(10, 200), (20, 120), (50, 100), (100, 100)];

/// The polling period and the steps of the run whose folder is in memory.
const IN_MEMORY: (u64, usize) = (10, 200);

/// Where that is on Linux.
const MEMORY: &str = "/dev/shm";

/// Frequencies between which it is stepped, in hertz. Chosen: both outside the deadband on one side, so that each
/// step is answered on the fast path, and on top of the same power from before.
const LEVELS_HZ: [f64; 2] = [49.8, 49.2];

/// Droop, deadband and rated power of the storage, as in [`rig`].
const DROOP: f64 = 0.04;
const DEADBAND_HZ: f64 = 0.03;
const RATED_W: f64 = 10_000.0;

/// Time until the devices are found, set up and armed, at most. Chosen: some times what it takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A step that is not answered by then is lost. Chosen: ten cycles.
const LOST_AFTER: Duration = Duration::from_secs(1);

/// Pause between two looks at the tape. Chosen: it delays the next step only.
const LOOK: Duration = Duration::from_millis(1);

/// Seed of the bench and of the moments of the steps. Chosen: any.
const SEED: u64 = 7;

/// The bench of one meter and one storage, polled so often; ramps are as good as none.
fn rig(poll_ms: u64, processors: Processors) -> String {
    let processors = match processors {
        Processors::MayIdle => "idle",
        Processors::StayAwake => "awake",
    };
    format!(
        r#"schema = 1
title = "Fast path"
site = {{ v = "230V", f = "50Hz", phases = 3 }}
safety = {{ heartbeat = "1s", on_lost = "safe" }}
[control]
period = "100ms"
droop = "4%"
deadband = "0.03Hz"
processors = "{processors}"
[bus]
lan1 = {{ kind = "modbus-tcp", host = "127.0.0.1", timeout = "300ms", min_gap = "0ms" }}
lan2 = {{ kind = "modbus-tcp", host = "127.0.0.2", timeout = "300ms", min_gap = "0ms" }}
[device]
pcc = {{ profile = "sunspec/meter", bus = "lan1", role = "pcc", poll = {{ fast = "{poll_ms}ms" }} }}
ess1 = {{ profile = "sunspec/storage-inverter", bus = "lan2", role = "ess", limits = {{ p = "-10..10kW", s = "12kVA" }}, ramp = "10000kW/s", capacity = "100kWh", revert = "60s", poll = {{ fast = "{poll_ms}ms" }} }}
[emulate]
ess1 = {{ rated = "12kVA", soc = "50%", ramp = "10000kW/s", capacity = "100kWh" }}
"#
    )
}

/// What the droop asks for.
fn answer_w(f_hz: f64) -> f64 {
    (50.0 - f_hz - DEADBAND_HZ) / (50.0 * DROOP) * RATED_W
}

/// What one run has shown.
struct Measured {
    steps: Vec<Step>,
    lost: usize,
    round_trips_ms: Vec<f64>,
}

/// One run: so many steps at a polling period, with its folder under `folder`.
fn run(
    folder: &Path,
    (poll_ms, count): (u64, usize),
    processors: Processors,
) -> Result<Measured, BenchError> {
    let rig = runtime::rig::load_text(Path::new("fast-path.toml"), &rig(poll_ms, processors))
        .map_err(|faults| BenchError::Run(told(&faults)))?;
    let rig = Arc::new(rig);
    let clock = SystemClock::start();
    let tape = Tape::default();
    let wire = Wire::start(Arc::clone(&rig), SEED, clock, tape.clone())?;
    let measured = in_runtime(false, async {
        let round_trips_ms = wire.round_trips_ms().await?;
        let waker = Waker::new().map_err(BenchError::system("no event descriptor"))?;
        let options = Options {
            rig: Arc::clone(&rig),
            buses: wire.buses(),
            run_dir: folder.to_owned(),
            seed: SEED,
            armed: true,
            listeners: vec![Box::new(tape.clone())],
        };
        let session = Session::open(options, Time::Real(clock, waker))
            .map_err(|fault| BenchError::Run(told(&[*fault])))?;
        let mut outcome = Err(BenchError::Run("the steps were not begun".into()));
        let stop = async {
            outcome = steps(&wire, &tape, clock, poll_ms, count).await;
            "all steps are done".to_owned()
        };
        session
            .run(stop)
            .await
            .map_err(|fault| BenchError::Run(told(&[*fault])))?;
        let (steps, lost) = outcome?;
        Ok::<_, BenchError>(Measured {
            steps,
            lost,
            round_trips_ms,
        })
    });
    measured.map_err(|faults| BenchError::Run(told(&faults)))?
}

/// Steps the frequency and looks on the tape what came of it; those that were answered, and how many were not.
async fn steps(
    wire: &Wire,
    tape: &Tape,
    clock: SystemClock,
    poll_ms: u64,
    count: usize,
) -> Result<(Vec<Step>, usize), BenchError> {
    // The first step shows that all is there; it is not counted.
    if step(wire, tape, clock, 0, PATIENCE).await?.is_none() {
        return Err(BenchError::Run(
            "no step of the frequency is answered".into(),
        ));
    }
    let (mut done, mut lost) = (Vec::new(), 0);
    for n in 1..=count {
        // Any moment of the polling period, and past the write that the last step may still bring.
        let pause = (poll_ms as f64) * (1.0 + spread(n as u64));
        tokio::time::sleep(Duration::from_secs_f64(pause / 1e3)).await;
        match step(wire, tape, clock, n, LOST_AFTER).await? {
            Some(step) => done.push(step),
            None => lost += 1,
        }
    }
    Ok((done, lost))
}

/// One step, or `None` when it was not followed in time.
async fn step(
    wire: &Wire,
    tape: &Tape,
    clock: SystemClock,
    n: usize,
    patience: Duration,
) -> Result<Option<Step>, BenchError> {
    let f_hz = LEVELS_HZ[(n + 1) % 2];
    let size_w = (answer_w(LEVELS_HZ[1]) - answer_w(LEVELS_HZ[0])).abs();
    tape.clear();
    let begun = clock.now();
    wire.set_frequency(f_hz)?;
    while clock.now().since(begun) < patience {
        tokio::time::sleep(LOOK).await;
        if let Some(step) = tape.step(begun, f_hz, answer_w(f_hz), size_w) {
            return Ok(Some(step));
        }
    }
    Ok(None)
}

/// Half and 99 of 100, in milliseconds.
fn spread_ms(mut ms: Vec<f64>) -> Value {
    ms.sort_by(f64::total_cmp);
    let at = |share| rounded(super::cadence::quantile(&ms, share));
    json!({ "p50": at(0.5), "p99": at(0.99) })
}

fn figures(poll_ms: u64, measured: Measured) -> Value {
    let Measured {
        steps,
        lost,
        round_trips_ms,
    } = measured;
    let of = |pick: fn(&Step) -> Duration| {
        spread_ms(steps.iter().map(|s| pick(s).as_secs_f64() * 1e3).collect())
    };
    let round_trip = spread_ms(round_trips_ms);
    let plant_ms = emulator::bench::STEP.as_secs_f64() * 1e3;
    let period = poll_ms as f64 + plant_ms;
    let bound = |share: f64, which: &str| {
        rounded(period * share + round_trip[which].as_f64().unwrap_or(0.0))
    };
    json!({
        "poll_ms": poll_ms,
        "steps": steps.len(),
        "steps_lost": lost,
        "step_to_write_ms": of(|s| s.to_write),
        "step_to_power_ms": of(|s| s.to_power),
        "of_which_write_to_power_ms": of(|s| s.write_to_power),
        "sample_to_first_byte_ms": of(|s| s.from_sample),
        "round_trip_ms": round_trip,
        // The frequency is seen by the meter at the next step of the plant, and by the controller at the next poll.
        "bound_step_to_write_ms": { "p50": bound(0.5, "p50"), "p99": bound(1.0, "p99") },
    })
}

/// The kind of file system of a folder, as the kernel calls it: what is in memory costs no wait for a disk.
fn file_system(folder: &Path) -> Option<String> {
    let folder = fs::canonicalize(folder).ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    kind_of(&mounts, &folder)
}

fn kind_of(mounts: &str, folder: &Path) -> Option<String> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(place, _)| folder.starts_with(place))
        .max_by_key(|(place, _)| place.len())
        .map(|(_, kind)| kind.to_owned())
}

/// A folder in memory that goes away with this, where the system has such a place.
fn memory_folder() -> Option<RunFolder> {
    let path = PathBuf::from(MEMORY).join(format!("gridrig-fast-path-{}", std::process::id()));
    fs::create_dir_all(&path).ok()?;
    Some(RunFolder(path))
}

/// Measures in a folder in memory, and what is the least there.
fn without_disk(memory: &Path, processors: Processors) -> Result<Value, BenchError> {
    let folder = |name: &str| {
        let folder = memory.join(name);
        let made = fs::create_dir_all(&folder);
        made.map_err(BenchError::system("no run folder can be made"))
            .map(|()| folder)
    };
    let measured = run(&folder("run")?, IN_MEMORY, processors)?;
    let mut awake = Awake::prepare().map_err(BenchError::system("no threads"))?;
    awake.keep(processors == Processors::StayAwake);
    Ok(json!({
        "how": (processors == Processors::StayAwake).then(|| awake.way.line()),
        "run": figures(IN_MEMORY.0, measured),
        "ledger_append_ms": spread_ms(append::times_ms(&folder("append")?)?),
        "bare_signatures_after_pause_ms": spread_ms(append::bare_signatures_ms()?),
        "bound_bare_chain_after_pause_ms": spread_ms(append::bare_chain_ms()?),
    }))
}

/// Measures at each polling period, and once more without a disk.
pub(super) fn measure() -> Result<Value, BenchError> {
    let disk = RunFolder::make("fast-path")?;
    let load = usage::load();
    let mut runs = Vec::new();
    for (poll_ms, count) in RUNS {
        let folder = disk.inside(&format!("poll-{poll_ms}"))?;
        let measured = run(&folder, (poll_ms, count), Processors::MayIdle)?;
        runs.push(figures(poll_ms, measured));
    }
    let append = spread_ms(append::times_ms(&disk.inside("append")?)?);
    let without_disk = match memory_folder() {
        None => Value::Null,
        Some(memory) => json!({
            "idle": without_disk(&memory.inside("idle")?, Processors::MayIdle)?,
            "awake": without_disk(&memory.inside("awake")?, Processors::StayAwake)?,
        }),
    };
    Ok(json!({
        "bench": "fast-path",
        "step_hz": LEVELS_HZ,
        "period_ms": 100,
        "plant_step_ms": emulator::bench::STEP.as_millis() as u64,
        "file_system": file_system(&disk.0),
        "runs": runs,
        "ledger_append_ms": append,
        "without_disk_wait": without_disk,
        "load_1_min": load,
        "optimised": !cfg!(debug_assertions),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rig_of_every_polling_period_can_be_read() {
        for (poll_ms, _) in RUNS {
            for processors in [Processors::MayIdle, Processors::StayAwake] {
                let text = rig(poll_ms, processors);
                let loaded = runtime::rig::load_text(Path::new("rig.toml"), &text);
                let loaded = loaded.expect("a rig");
                assert_eq!(loaded.processors, processors, "{poll_ms} ms");
            }
        }
    }

    #[test]
    fn a_folder_lies_on_the_file_system_that_is_mounted_nearest_to_it() {
        let mounts =
            "none / overlay rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\ndev /dev devtmpfs rw 0 0\n";
        for (folder, kind) in [
            ("/var/a", Some("overlay")),
            ("/dev/shm/b", Some("tmpfs")),
            ("/dev/shmx", Some("devtmpfs")),
        ] {
            let found = kind_of(mounts, Path::new(folder));
            assert_eq!(found.as_deref(), kind, "{folder}");
        }
    }
}
