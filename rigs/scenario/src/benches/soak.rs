//! `soak`: whether the memory of a long run stays flat, in virtual time.
//!
//! The demo bench runs with everything that a run has, its ledger and its record included, and looks at its
//! own resident memory at equal distances of its own time. What the check of the whole ledger takes at the
//! end of a run is told apart: it grows with the run, and is over when the run is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::usage::{self, Process};
use super::virtual_time::{RunFolder, demo_run, told};
use super::{BenchError, at_most, rounded};
use crate::live;
use crate::verdict::Verdict;

/// Looks in a run. Chosen: one an hour of a day.
const LOOKS: u32 = 24;

/// Part of the run that is not counted. Chosen: a quarter, in which what is bounded (the past that the page
/// shows, the pages of the allocator) fills up.
const WARM_UP: f64 = 0.25;

/// Growth that counts as flat, in MiB per hour of the bench.
/// Chosen: 0.5, a dozen in a day, less than half of what the whole run takes in a soak of a day.
const GROWTH_MAX_MIB_PER_H: f64 = 0.5;

/// What was seen at a time of the bench: hours and MiB.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Look {
    at_h: f64,
    rss_mib: f64,
}

/// Runs the demo bench for so long in virtual time.
///
/// # Errors
/// When it cannot be run, or does not pass.
pub fn measure(seconds: u64) -> Result<Value, BenchError> {
    let folder = RunFolder::make("soak")?;
    let time = Duration::from_secs(seconds);
    let options = demo_run(&folder, time, true)?;
    let looks = Arc::new(Mutex::new(Vec::new()));
    let (seen, every) = (Arc::clone(&looks), time / LOOKS);
    let load = usage::load();
    let begin = Instant::now();
    let result = live::run(options, move |_| {
        // By the clock of the run, which is its runtime's.
        tokio::spawn(async move {
            let began = tokio::time::Instant::now();
            loop {
                let at_h = began.elapsed().as_secs_f64() / 3600.0;
                if let Ok(size) = Process(std::process::id()).size() {
                    let rss_mib = size.rss_kib as f64 / 1024.0;
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.push(Look { at_h, rss_mib });
                }
                tokio::time::sleep(every).await;
            }
        });
    });
    let result = result.map_err(|faults| BenchError::Run(told(&faults)))?;
    if result.verdict != Verdict::Pass {
        return Err(BenchError::Run(result.why));
    }
    let wall_s = begin.elapsed().as_secs_f64();
    let looks = looks.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let growth = growth_mib_per_h(&looks)
        .ok_or_else(|| BenchError::Run("its memory was not seen often enough".into()))?;
    let size = Process(std::process::id()).size()?;
    let rows: Vec<Value> = looks
        .iter()
        .map(|look| json!([rounded(look.at_h), rounded(look.rss_mib)]))
        .collect();
    Ok(json!({
        "bench": "soak",
        "bench_s": seconds,
        "wall_s": rounded(wall_s),
        "times_real": rounded(seconds as f64 / wall_s),
        "growth_mib_per_h": at_most(GROWTH_MAX_MIB_PER_H, growth),
        "rss_mib_at_h": rows,
        "rss_max_mib_with_the_ledgers_check": rounded(size.rss_max_kib as f64 / 1024.0),
        "cycles": result.counters.cycles,
        "ledger_entries": result.ledger.entries,
        "load_1_min": load,
        "optimised": !cfg!(debug_assertions),
    }))
}

/// Slope of the straight line through what was seen after the warm-up (least squares); `None` for too few.
fn growth_mib_per_h(looks: &[Look]) -> Option<f64> {
    let end = looks.last()?.at_h;
    let late: Vec<&Look> = looks.iter().filter(|l| l.at_h >= end * WARM_UP).collect();
    if late.len() < 3 {
        return None;
    }
    let count = late.len() as f64;
    let mean = |of: fn(&Look) -> f64| late.iter().map(|look| of(look)).sum::<f64>() / count;
    let (at_h, rss_mib) = (mean(|l| l.at_h), mean(|l| l.rss_mib));
    let of_time: f64 = late.iter().map(|l| (l.at_h - at_h).powi(2)).sum();
    let together: f64 = late
        .iter()
        .map(|l| (l.at_h - at_h) * (l.rss_mib - rss_mib))
        .sum();
    (of_time > 0.0).then(|| together / of_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(rss_mib: impl Fn(f64) -> f64) -> Vec<Look> {
        (0..=24)
            .map(|hour| f64::from(hour) * 0.5)
            .map(|at_h| Look {
                at_h,
                rss_mib: rss_mib(at_h),
            })
            .collect()
    }

    #[test]
    fn what_fills_up_in_the_beginning_is_no_growth_and_a_leak_is() {
        let check = |rss_mib: fn(f64) -> f64, expected: f64| {
            let growth = growth_mib_per_h(&looks(rss_mib)).expect("enough was seen");
            assert!((growth - expected).abs() < 1e-9, "{growth}");
        };
        check(|_| 30.0, 0.0);
        check(|h| if h < 3.0 { 10.0 + h * 5.0 } else { 30.0 }, 0.0);
        check(|h| 30.0 + 2.5 * h, 2.5);
        check(|h| 30.0 - 0.25 * h, -0.25);
        assert_eq!(growth_mib_per_h(&looks(|_| 1.0)[..2]), None);
        assert_eq!(growth_mib_per_h(&[]), None);
    }
}
