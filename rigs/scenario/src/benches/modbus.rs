//! `modbus` and `modbus-scan`: many Modbus TCP devices on one thread, beside pymodbus' asyncio client.
//!
//! The servers run in a child process and are the same for both; each client's own CPU time
//! is counted. Both read the same registers at the same rate, and the times of their answers
//! go through the same arithmetic.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bus::{BusDevice, BusHandle, BusSpec, Endpoint, KeepAlives, LinkEvent, PollPeriods, Sink};
use model::{DeviceIx, PointSample, Reading};
use runtime::clock::SystemClock;
use serde_json::{Value, json};

use super::cadence::{Cadence, Window, cadence};
use super::meters::{self, PLACES, REGISTERS, Wiring, meter};
use super::{BenchError, child, peer, rounded, usage};
use crate::live::in_runtime;

/// How much is read: devices, each behind a port of its own, and how often each.
#[derive(Clone, Copy, Debug)]
struct Load {
    /// Its name on the command line.
    bench: &'static str,
    /// The role of the child process that holds the servers.
    servers: &'static str,
    devices: usize,
    hz: u32,
}

/// Chosen: more devices than any lab has on one controller, as fast as a 20 ms service can use.
const MANY: Load = Load {
    bench: "modbus",
    servers: "modbus-servers",
    devices: 100,
    hz: 50,
};

/// Chosen: as many units as a Modbus network can number, as fast as a supervisory cycle can use.
const SCAN: Load = Load {
    bench: "modbus-scan",
    servers: "modbus-scan-servers",
    devices: 250,
    hz: 20,
};

/// The roles of the child processes that hold the servers.
pub(super) const SERVERS: &str = MANY.servers;
/// As [`SERVERS`], for the scan.
pub(super) const SCAN_SERVERS: &str = SCAN.servers;

/// The child of `modbus`.
pub(super) fn serve() -> Result<(), BenchError> {
    meters::serve(MANY.devices, Wiring::Ports)
}

/// The child of `modbus-scan`.
pub(super) fn serve_scan() -> Result<(), BenchError> {
    meters::serve(SCAN.devices, Wiring::Ports)
}

/// Time in which is counted.
const RUN: Duration = Duration::from_secs(10);

/// Time before, in which everybody connects. Chosen: the set-up takes a few milliseconds a device.
const WARM_UP: Duration = Duration::from_secs(2);

/// Time afterwards, in which the last slots are still answered. Chosen: five periods.
const AFTER: Duration = Duration::from_millis(100);

/// Time-out of a read. Chosen: above any delay on loopback, so that a slow answer is late, not lost.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Source of the jitter of reconnects; nothing reconnects here.
const SEED: u64 = 7;

/// Writes down when each device has answered.
struct Tape {
    start: Instant,
    answers_s: Mutex<Vec<Vec<f64>>>,
    flaws: AtomicU64,
}

impl Sink for Tape {
    fn sample(&self, sample: PointSample) {
        // The values of one answer come together: one of them stands for all.
        if sample.point != PLACES[0].0 {
            return;
        }
        match sample.sample.reading {
            Reading::Good(_) => {
                let at = self.start.elapsed().as_secs_f64();
                let mut answers = self
                    .answers_s
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if let Some(device) = answers.get_mut(sample.device.index()) {
                    device.push(at);
                }
            }
            Reading::Bad(_) => {
                self.flaws.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn event(&self, _: LinkEvent) {}
}

/// What a client has cost and reached.
struct Outcome {
    cpu_s: f64,
    failed: u64,
    cadence: Cadence,
}

impl Outcome {
    fn cpu_us_per_read(&self) -> f64 {
        1e6 * self.cpu_s / self.cadence.answered.max(1) as f64
    }

    fn json(&self) -> Value {
        let mut document = self.cadence.json();
        document["cpu_s"] = rounded(self.cpu_s).into();
        document["cpu_us_per_read"] = rounded(self.cpu_us_per_read()).into();
        document["failed"] = self.failed.into();
        document
    }
}

/// The time of the count, on a clock that begins with the clients.
fn window(load: Load, from_s: f64) -> Window {
    Window {
        from_s,
        run_s: RUN.as_secs_f64(),
        period_s: 1.0 / f64::from(load.hz),
    }
}

async fn ours(load: Load, ports: &[u16]) -> Result<Outcome, BenchError> {
    let start = Instant::now();
    let tape = Arc::new(Tape {
        start,
        answers_s: Mutex::new(vec![Vec::with_capacity(1024); ports.len()]),
        flaws: AtomicU64::new(0),
    });
    let clock = Arc::new(SystemClock::start());
    let profile = meter(TIMEOUT, TIMEOUT);
    let every = Duration::from_secs(1) / load.hz;
    let buses: Vec<BusHandle> = ports
        .iter()
        .enumerate()
        .map(|(n, port)| {
            let id: Arc<str> = format!("bus-{n}").into();
            let spec = BusSpec {
                id: Arc::clone(&id),
                endpoint: Endpoint::Tcp {
                    host: "127.0.0.1".into(),
                    port: *port,
                },
                framing: bus::Framing::Tcp,
                timeout: None,
                min_gap: None,
                seed: SEED.wrapping_add(n as u64),
            };
            let device = BusDevice {
                ix: DeviceIx(u16::try_from(n).unwrap_or(u16::MAX)),
                id,
                profile: Arc::clone(&profile),
                unit: None,
                topic: None,
                revert: None,
                limits: Vec::new(),
                poll: PollPeriods {
                    fast: every,
                    normal: every,
                    slow: every,
                },
                keep_alives: KeepAlives::default(),
            };
            bus::start(spec, vec![device], clock.clone(), tape.clone())
        })
        .collect();
    tokio::time::sleep(WARM_UP).await;
    let (from, before) = (start.elapsed(), usage::cpu());
    let flaws = tape.flaws.load(Ordering::Relaxed);
    tokio::time::sleep(RUN).await;
    let cpu = usage::cpu() - before;
    let failed = tape.flaws.load(Ordering::Relaxed) - flaws;
    tokio::time::sleep(AFTER).await;
    drop(buses);
    let answers = tape
        .answers_s
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let answering = answers.iter().filter(|a| !a.is_empty()).count();
    if answering < ports.len() {
        return Err(BenchError::Silent {
            answering,
            devices: ports.len(),
        });
    }
    Ok(Outcome {
        cpu_s: cpu.as_secs_f64(),
        failed,
        cadence: cadence(&answers, window(load, from.as_secs_f64())),
    })
}

fn pymodbus(load: Load, ports: &[u16]) -> Result<(Value, Outcome), String> {
    let mut arguments: Vec<String> = ["scan", "--hz", &load.hz.to_string()]
        .map(Into::into)
        .to_vec();
    for (name, value) in [
        ("--seconds", RUN.as_secs_f64()),
        ("--warm-up", WARM_UP.as_secs_f64()),
        ("--after", AFTER.as_secs_f64()),
        ("--timeout", TIMEOUT.as_secs_f64()),
        ("--registers", f64::from(REGISTERS)),
    ] {
        arguments.extend([name.to_owned(), value.to_string()]);
    }
    arguments.extend(ports.iter().map(ToString::to_string));
    let said = peer::ask("pymodbus_scan.py", &arguments)?;
    let number = |name: &str| {
        let value = said.get(name).and_then(Value::as_f64);
        value.ok_or_else(|| format!("pymodbus_scan.py says no {name}"))
    };
    let answers: Vec<Vec<f64>> = said
        .get("answers_s")
        .and_then(|v| serde_json::from_value(v.clone()).ok())
        .ok_or("pymodbus_scan.py says no times of answers")?;
    let outcome = Outcome {
        cpu_s: number("cpu_s")?,
        failed: number("failed")? as u64,
        cadence: cadence(&answers, window(load, number("from_s")?)),
    };
    let version = said.get("version").cloned().unwrap_or(Value::Null);
    Ok((version, outcome))
}

/// Reads a hundred devices.
pub(super) fn measure() -> Result<Value, BenchError> {
    compare(MANY)
}

/// Reads as many devices as can be numbered.
pub(super) fn measure_scan() -> Result<Value, BenchError> {
    compare(SCAN)
}

/// Reads the same servers, first with ours and then with the peer.
fn compare(load: Load) -> Result<Value, BenchError> {
    let (servers, said) = child::Kept::start(load.servers)?;
    let ports = meters::ports(&said)?;
    let busy = usage::load();
    let ours = in_runtime(false, ours(load, &ports))
        .map_err(|faults| BenchError::Run(super::virtual_time::told(&faults)))??;
    let theirs = pymodbus(load, &ports);
    drop(servers);
    let (peer, ratio, why) = match &theirs {
        Ok((version, outcome)) => {
            let mut document = outcome.json();
            document["version"] = version.clone();
            // Per read: one that cannot keep up reads less and must not look cheaper for it.
            let ratio = rounded(ours.cpu_us_per_read() / outcome.cpu_us_per_read());
            (document, Some(ratio), None)
        }
        Err(why) => (Value::Null, None, Some(why)),
    };
    Ok(json!({
        "bench": load.bench,
        "devices": ports.len(),
        "hz": load.hz,
        "registers": REGISTERS,
        "run_s": RUN.as_secs(),
        "ours": ours.json(),
        "pymodbus": peer,
        "cpu_ratio": ratio,
        "why_no_peer": why,
        "load_1_min": busy,
        "optimised": !cfg!(debug_assertions),
    }))
}
