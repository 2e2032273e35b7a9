//! `idle`: what the demo bench costs when it just runs: memory, CPU, threads.
//!
//! The devices, the plant and the broker are emulated in the same process and counted with it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::usage::{self, Process};
use super::virtual_time::{RunFolder, demo_run, told};
use super::{BenchError, child, rounded};
use crate::live;

/// The role of the child process.
pub(super) const BENCH: &str = "idle-bench";

/// Time before it is counted. Chosen: devices are found and set up within a second or two.
const SETTLE: Duration = Duration::from_secs(3);

/// Time in which it is counted. Chosen: some hundred cycles of the slowest class that matters.
const RUN: Duration = Duration::from_secs(20);

/// Time by which the child outlives the count. Chosen: a busy machine wakes the parent late.
const MARGIN: Duration = Duration::from_secs(2);

/// The child: a headless run of the demo bench.
pub(super) fn run_bench() -> Result<(), BenchError> {
    let folder = RunFolder::make("idle")?;
    let options = demo_run(&folder, SETTLE + RUN + MARGIN, false)?;
    live::run(options, |_| {
        // A parent that cannot be told does not wait either.
        let _ = child::tell(&json!({ "ready": true }));
    })
    .map(|_| ())
    .map_err(|faults| BenchError::Run(told(&faults)))
}

/// Watches the child from outside.
pub(super) fn measure() -> Result<Value, BenchError> {
    let (child, _) = child::Kept::start(BENCH)?;
    let process = Process(child.id());
    let load = usage::load();
    std::thread::sleep(SETTLE);
    let (begin, before) = (Instant::now(), process.cpu()?);
    std::thread::sleep(RUN);
    let (wall, after) = (begin.elapsed(), process.cpu()?);
    let size = process.size()?;
    // It brings its bench to rest and tidies up by itself.
    child.finish()?;
    let cpu = after.saturating_sub(before);
    let binary = std::env::current_exe()
        .and_then(std::fs::metadata)
        .map_err(BenchError::system("the size of the binary cannot be read"))?;
    let mib = |bytes: u64| rounded(bytes as f64 / (1 << 20) as f64);
    Ok(json!({
        "bench": "idle",
        "run_s": RUN.as_secs(),
        "rss_mib": mib(size.rss_kib * 1024),
        "rss_max_mib": mib(size.rss_max_kib * 1024),
        "cpu_percent_of_a_core": rounded(100.0 * cpu.as_secs_f64() / wall.as_secs_f64()),
        "threads": size.threads,
        "binary_mib": mib(binary.len()),
        "load_1_min": load,
        "optimised": !cfg!(debug_assertions),
    }))
}
