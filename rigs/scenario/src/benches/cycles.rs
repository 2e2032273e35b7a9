//! `cycles`: how late the control cycle begins in real time while every core is busy with other work.
//!
//! Fifty devices are emulated behind real sockets on loopback, and run as `gridrig run --on sim` runs
//! them: drivers and devices on one ordinary thread, control on its own, under SCHED_FIFO where the
//! system allows it. As many threads as there are cores do nothing but compute meanwhile. Every cycle
//! from the first to the last counts, and late is what the controller itself counts as late.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{DeviceIx, Event, Instant, Mode, PointSample, Reading, ServiceReport};
use runtime::engine::Listener;
use runtime::session::{Ended, Options, Session};
use serde_json::{Value, json};

use super::busy::Busy;
use super::cadence::quantile;
use super::field::Field;
use super::virtual_time::{RunFolder, SEED, told};
use super::{BenchError, at_most, rounded, usage};
use crate::far_ends::FarEnds;
use crate::live::{in_runtime, open_buses, time};

/// 49 inverters and the meter at the point of common coupling.
const FIELD: Field = Field {
    inverters: 49,
    buses: None,
};

/// Share of the cycles that may be late under SCHED_FIFO. Chosen: by who asked for it.
const ASKED_SHARE_LATE: f64 = 0.001;

/// What the cycles of a run were like.
#[derive(Debug, Default)]
struct Seen {
    late_ms: Vec<f64>,
    answered: BTreeSet<DeviceIx>,
    ledger_late: u64,
}

/// Listens to the run; clones share what is seen.
#[derive(Clone, Debug, Default)]
struct Watch(Arc<Mutex<Seen>>);

impl Watch {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Watch {
    fn samples(&mut self, _: Instant, samples: &[PointSample]) {
        let good = |s: &&PointSample| matches!(s.sample.reading, Reading::Good(_));
        let devices = samples.iter().filter(good).map(|s| s.device);
        self.seen().answered.extend(devices);
    }

    fn services(&mut self, _: Instant, _: &[ServiceReport]) {}

    fn event(&mut self, _: Instant, event: &Event) {
        if matches!(event, Event::LedgerLate { .. }) {
            self.seen().ledger_late += 1;
        }
    }

    fn cycle(&mut self, _: Instant, _: Mode, late: Duration) {
        self.seen().late_ms.push(late.as_secs_f64() * 1e3);
    }
}

/// The run itself: until its time is over.
async fn run(folder: &RunFolder, watch: Watch, run_for: Duration) -> Result<Ended, BenchError> {
    let failed = |faults: Vec<document::Diagnostic>| BenchError::Run(told(&faults));
    let rig = FIELD.load(folder)?;
    let (time, _) = time(false).map_err(failed)?;
    // The devices end with what holds them.
    let (_devices, buses) = open_buses(&rig, &FarEnds::emulated(&rig), false, SEED)
        .await
        .map_err(failed)?;
    let options = Options {
        rig,
        buses,
        run_dir: folder.inside("run")?,
        seed: SEED,
        armed: true,
        listeners: vec![Box::new(watch)],
    };
    let session = Session::open(options, time).map_err(|fault| failed(vec![*fault]))?;
    let stop = async {
        tokio::time::sleep(run_for).await;
        "its time is over".to_owned()
    };
    session
        .run(stop)
        .await
        .map_err(|fault| failed(vec![*fault]))
}

/// Runs the bench in real time for so many seconds.
///
/// # Errors
/// When it cannot be run, or devices never answered.
pub fn measure(seconds: u64) -> Result<Value, BenchError> {
    let folder = RunFolder::make("cycles")?;
    let load = usage::load();
    let watch = Watch::default();
    let busy = Busy::start()?;
    let ended = in_runtime(
        false,
        run(&folder, watch.clone(), Duration::from_secs(seconds)),
    );
    let (threads, share_of_cores) = busy.end();
    let ended = ended.map_err(|faults| BenchError::Run(told(&faults)))??;
    if let Some(fault) = ended.fault {
        return Err(BenchError::Run(fault));
    }
    let seen = watch.seen();
    let (answering, devices) = (seen.answered.len(), FIELD.devices());
    if answering < devices {
        return Err(BenchError::Silent { answering, devices });
    }
    let mut late_ms = seen.late_ms.clone();
    late_ms.sort_by(f64::total_cmp);
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| rounded(quantile(&late_ms, share)));
    let counters = ended.finished.counters;
    let share_late = counters.cycles_late as f64 / counters.cycles.max(1) as f64;
    Ok(json!({
        "bench": "cycles",
        "run_s": seconds,
        "period_ms": 100,
        "devices": devices,
        "cycles": counters.cycles,
        "cycles_late": counters.cycles_late,
        "share_late": at_most(ASKED_SHARE_LATE, share_late),
        "lateness_ms": { "p50": p50, "p99": p99, "max": max },
        "sched_fifo": ended.rights.as_ref().map(|rights| rights.fifo.is_ok()),
        "rights": ended.rights.as_ref().map(runtime::rights::Rights::line),
        "busy_threads": threads,
        "busy_share_of_cores": rounded(share_of_cores),
        "samples": counters.samples,
        "dispatches": counters.dispatches,
        "ledger_late": seen.ledger_late,
        "load_1_min": load,
        "optimised": !cfg!(debug_assertions),
    }))
}
