//! `feeder`: how many times faster than real time a feeder of 100 buses and 50 inverters runs, with
//! the drivers and faces of all its devices, controller, journal and signed ledger.
//!
//! As in the bench `virtual`, the bound is the CPU time, for on one core no clock can run faster.
//! What the plant alone costs, and against the number of its buses, is measured by the bench `plant`
//! and stands in the same document.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::field::Field;
use super::virtual_time::{RunFolder, SEED, told};
use super::{BenchError, at_least, plant, rounded, usage};
use crate::far_ends::On;
use crate::live::{self, LiveOptions};
use crate::verdict::Verdict;

/// The feeder: every second bus has an inverter.
const FEEDER: (usize, usize) = (100, 50);

/// How many times faster than real time it is to run on one core. Chosen: by who asked for it.
const ASKED_TIMES_REAL: f64 = 20.0;

/// Runs the feeder for so many seconds of virtual time, then the bench `plant`.
///
/// # Errors
/// When it cannot be run, or does not pass.
pub fn measure(seconds: u64) -> Result<Value, BenchError> {
    let (buses, inverters) = FEEDER;
    let field = Field {
        inverters,
        buses: Some(buses),
    };
    let folder = RunFolder::make("feeder")?;
    let rig = field.load(&folder)?;
    let options = LiveOptions {
        rig,
        on: On::Sim,
        virtual_time: true,
        seed: SEED,
        run_dir: folder.inside("run")?,
        run_for: Some(Duration::from_secs(seconds)),
        listen: None,
        tokens: runtime::web::Tokens::default(),
        tls: None,
        armed: true,
        command: Vec::new(),
        id: "feeder".into(),
    };
    let load = usage::load();
    let (begin, cpu) = (Instant::now(), usage::cpu());
    let result = live::run(options, |_| ()).map_err(|faults| BenchError::Run(told(&faults)))?;
    let (wall_s, cpu_s) = (
        begin.elapsed().as_secs_f64(),
        (usage::cpu() - cpu).as_secs_f64(),
    );
    if result.verdict != Verdict::Pass {
        return Err(BenchError::Run(result.why));
    }
    let bench_s = seconds as f64;
    Ok(json!({
        "bench": "feeder",
        "buses": buses,
        "inverters": inverters,
        "devices": field.devices(),
        "bench_s": seconds,
        "wall_s": rounded(wall_s),
        "cpu_s": rounded(cpu_s),
        "times_real": rounded(bench_s / wall_s),
        "times_real_one_core": at_least(ASKED_TIMES_REAL, bench_s / wall_s.max(cpu_s)),
        "cycles": result.counters.cycles,
        "samples": result.counters.samples,
        "dispatches": result.counters.dispatches,
        "ledger_entries": result.ledger.entries,
        "plant": plant::measure()?,
        "load_1_min": load,
        "optimised": !cfg!(debug_assertions),
    }))
}
