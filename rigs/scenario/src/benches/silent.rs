//! `rtu-silent`: what nine units of a serial line lose when the tenth says nothing.
//!
//! Our bus reads ten emulated units on one pseudo terminal, first all of them, then with one
//! that is silent. The bound is the rate that was asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus::{BusDevice, BusSpec, Endpoint, Framing, KeepAlives, LinkEvent, PollPeriods, Sink};
use model::{DeviceIx, PointSample, Reading};
use profile::modbus::{Parity, SerialSettings};
use runtime::clock::SystemClock;
use serde_json::{Value, json};

use super::meters::{self, PLACES, Wiring, meter};
use super::{BenchError, child, rounded, usage};
use crate::live::in_runtime;

/// The role of the child process with ten units that answer.
pub(super) const LINE: &str = "rtu-line";
/// The role of the child process in which one of them does not.
pub(super) const SILENT_LINE: &str = "rtu-line-silent";

/// Units on the line.
const UNITS: usize = 10;

/// The one that says nothing. Chosen: in the middle.
const SILENT: usize = 4;

/// How often each unit is read. Chosen: ninety reads a second are half of what a fast line carries.
const EVERY: Duration = Duration::from_millis(100);

/// Time-out and late window. Chosen: usual for a meter on a fast line.
const TIMEOUT: Duration = Duration::from_millis(100);

/// Time before, in which the silent one is found out. Chosen: some times what three time-outs need.
const WARM_UP: Duration = Duration::from_secs(3);

/// Time in which is counted. Chosen: several probes of the silent unit fall into it.
const RUN: Duration = Duration::from_secs(12);

/// Settings of the line. Chosen: the fastest in common use; a pseudo terminal is faster still.
const SETTINGS: SerialSettings = SerialSettings {
    baud: 115_200,
    parity: Parity::None,
    stop_bits: 1,
};

/// The child with ten units that answer.
pub(super) fn serve() -> Result<(), BenchError> {
    meters::serve(UNITS, Wiring::Line { silent: None })
}

/// The child in which one unit is silent.
pub(super) fn serve_silent() -> Result<(), BenchError> {
    meters::serve(
        UNITS,
        Wiring::Line {
            silent: Some(SILENT),
        },
    )
}

/// Counts the good answers of each unit.
struct Tally {
    answers: Vec<AtomicU64>,
}

impl Sink for Tally {
    fn sample(&self, sample: PointSample) {
        // The values of one answer come together: one of them stands for all.
        if sample.point == PLACES[0].0
            && let Reading::Good(_) = sample.sample.reading
            && let Some(count) = self.answers.get(sample.device.index())
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn event(&self, _: LinkEvent) {}
}

/// Answers of each unit in a second, as a share of what was asked for.
async fn rates(path: String) -> Vec<f64> {
    let tally = Arc::new(Tally {
        answers: (0..UNITS).map(|_| AtomicU64::new(0)).collect(),
    });
    let spec = BusSpec {
        id: "line".into(),
        endpoint: Endpoint::Serial {
            path,
            settings: SETTINGS,
        },
        framing: Framing::Rtu { baud: None },
        timeout: None,
        min_gap: None,
        seed: 7,
    };
    let devices = (0..UNITS).map(|n| BusDevice {
        ix: DeviceIx(u16::try_from(n).unwrap_or(u16::MAX)),
        id: format!("unit-{}", n + 1).into(),
        profile: meter(TIMEOUT, TIMEOUT),
        unit: u8::try_from(n + 1).ok(),
        topic: None,
        revert: None,
        poll: PollPeriods {
            fast: EVERY,
            normal: EVERY,
            slow: EVERY,
        },
        limits: Vec::new(),
        keep_alives: KeepAlives::default(),
    });
    let clock = Arc::new(SystemClock::start());
    let bus = bus::start(spec, devices.collect(), clock, tally.clone());
    tokio::time::sleep(WARM_UP).await;
    let read = || -> Vec<u64> {
        let counts = tally.answers.iter();
        counts.map(|c| c.load(Ordering::Relaxed)).collect()
    };
    let before = read();
    tokio::time::sleep(RUN).await;
    let after = read();
    drop(bus);
    let asked = RUN.as_secs_f64() / EVERY.as_secs_f64();
    let shares = before.iter().zip(&after);
    shares.map(|(b, a)| (a - b) as f64 / asked).collect()
}

fn of_line(role: &'static str) -> Result<Vec<f64>, BenchError> {
    let (line, said) = child::Kept::start(role)?;
    let path = said.get("line").and_then(Value::as_str);
    let path = path.map(str::to_owned).ok_or_else(|| BenchError::Child {
        expected: "the path of its line",
        said: said.to_string(),
    })?;
    let rates = in_runtime(false, rates(path))
        .map_err(|faults| BenchError::Run(super::virtual_time::told(&faults)))?;
    drop(line);
    Ok(rates)
}

/// The least share of all units but the silent one.
fn least(rates: &[f64]) -> f64 {
    let others = rates.iter().enumerate().filter(|(n, _)| *n != SILENT);
    others
        .map(|(_, share)| *share)
        .fold(f64::INFINITY, f64::min)
}

/// Reads the line without and with a silent unit.
pub(super) fn measure() -> Result<Value, BenchError> {
    let load = usage::load();
    let all = of_line(LINE)?;
    let silent = of_line(SILENT_LINE)?;
    Ok(json!({
        "bench": "rtu-silent",
        "units": UNITS,
        "hz": rounded(1.0 / EVERY.as_secs_f64()),
        "timeout_ms": TIMEOUT.as_millis() as u64,
        "run_s": RUN.as_secs(),
        "least_rate_all_answer": rounded(least(&all)),
        "least_rate_one_silent": rounded(least(&silent)),
        "silent_unit_rate": silent.get(SILENT).copied().map(rounded),
        "load_1_min": load,
        "optimised": !cfg!(debug_assertions),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_silent_unit_does_not_count_as_the_slowest() {
        let mut rates = vec![1.0; UNITS];
        rates[SILENT] = 0.0;
        rates[UNITS - 1] = 0.97;
        assert_eq!(least(&rates), 0.97);
    }
}
