//! `virtual`: how many times faster than real time the demo bench runs.
//!
//! Everything runs as in a real run, the run folder and the signed ledger included; the
//! bound is the CPU time that it takes, for on one core no clock can run faster. The check of the
//! whole ledger, with which a run ends, is part of it; what is left without it is told as well,
//! since that check can be made by anybody at any time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{BenchError, rounded, usage};
use crate::demo;
use crate::far_ends::On;
use crate::live::{self, LiveOptions};
use crate::verdict::Verdict;

/// Time of the bench that is run through, in seconds. Chosen: ten minutes, so that the start weighs nothing.
const BENCH_S: u64 = 600;

/// Seed of the bench. Chosen: any; the same each time.
pub(super) const SEED: u64 = 7;

/// A run folder that goes away with this.
pub(super) struct RunFolder(pub(super) PathBuf);

impl RunFolder {
    pub(super) fn make(name: &str) -> Result<Self, BenchError> {
        let path = std::env::temp_dir().join(format!("gridrig-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(BenchError::system("no run folder can be made"))?;
        Ok(Self(path))
    }

    /// A folder inside, for what must begin empty.
    pub(super) fn inside(&self, name: &str) -> Result<PathBuf, BenchError> {
        let path = self.0.join(name);
        std::fs::create_dir_all(&path).map_err(BenchError::system("no run folder can be made"))?;
        Ok(path)
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's folder for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Options of a headless run of the demo bench.
pub(super) fn demo_run(
    folder: &RunFolder,
    time: Duration,
    virtual_time: bool,
) -> Result<LiveOptions, BenchError> {
    let rig = runtime::rig::load_text(std::path::Path::new(demo::RIG_PATH), demo::RIG)
        .map_err(|faults| BenchError::Run(told(&faults)))?;
    Ok(LiveOptions {
        rig: Arc::new(rig),
        on: On::Sim,
        virtual_time,
        seed: SEED,
        run_dir: folder.0.clone(),
        run_for: Some(time),
        listen: None,
        tokens: runtime::web::Tokens::default(),
        tls: None,
        armed: true,
        command: Vec::new(),
        id: "bench".into(),
    })
}

/// The messages of diagnostics in a line.
pub(super) fn told(faults: &[document::Diagnostic]) -> String {
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// Runs the demo bench in virtual time.
pub(super) fn measure() -> Result<Value, BenchError> {
    let folder = RunFolder::make("virtual")?;
    let options = demo_run(&folder, Duration::from_secs(BENCH_S), true)?;
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
    // Done at the end of every run, and once more here to tell its part of the time.
    let (begin, cpu) = (Instant::now(), usage::cpu());
    let verified = ledger_verify::verify(&folder.0);
    let (verify_s, verify_cpu_s) = (
        begin.elapsed().as_secs_f64(),
        (usage::cpu() - cpu).as_secs_f64(),
    );
    if !verified.is_ok() {
        return Err(BenchError::Run("the ledger does not verify".into()));
    }
    let bench_s = BENCH_S as f64;
    Ok(json!({
        "bench": "virtual",
        "bench_s": BENCH_S,
        "wall_s": rounded(wall_s),
        "cpu_s": rounded(cpu_s),
        "times_real": rounded(bench_s / wall_s),
        "times_real_one_core": rounded(bench_s / wall_s.max(cpu_s)),
        // What it is where nobody else wants the core: the same on a busy machine.
        "times_real_of_cpu_time": rounded(bench_s / cpu_s),
        "of_which_ledger_verification_s": rounded(verify_s),
        "of_which_ledger_verification_cpu_s": rounded(verify_cpu_s),
        "times_real_one_core_without_verification": rounded(bench_s / (wall_s.max(cpu_s) - verify_s)),
        "cycles": result.counters.cycles,
        "samples": result.counters.samples,
        "dispatches": result.counters.dispatches,
        "ledger_entries": result.ledger.entries,
        "load_1_min": load,
        "optimised": !cfg!(debug_assertions),
    }))
}
