//! `modbus`: many Modbus TCP devices on one thread, beside pymodbus' asyncio client.
//!
//! The servers run in a child process and are the same for both; each client's own CPU time
//! is counted. Both read the same registers at the same rate, and the times of their answers
//! go through the same arithmetic.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bus::{BusDevice, BusHandle, BusSpec, Endpoint, KeepAlives, LinkEvent, PollPeriods, Sink};
use emulator::bench::{
    Address, Bench, BenchSpec, BusKind, BusSpec as EmulatedBus, DeviceSpec, Emulate,
};
use emulator::plant::breaker::SyncCheck;
use emulator::plant::network::Feeder;
use emulator::plant::{Forming, Site};
use model::{DeviceIx, Point, PointSample, Reading, Role};
use profile::Profile;
use profile::modbus::DataType;
use quantities::{Frequency, Voltage};
use runtime::clock::SystemClock;
use serde_json::{Value, json};

use super::cadence::{Cadence, Window, cadence};
use super::unit::{Place, Times, profile};
use super::{BenchError, child, peer, rounded, usage};
use crate::live::in_runtime;

/// The role of the child process that holds the servers.
pub(super) const SERVERS: &str = "modbus-servers";

/// Devices, each behind a port of its own. Chosen: more than any lab has on one controller.
const DEVICES: usize = 100;

/// Reads per second and device. Chosen: as fast as a 20 ms service can use.
const HZ: u64 = 50;

/// Time in which is counted.
const RUN: Duration = Duration::from_secs(10);

/// Time before, in which everybody connects. Chosen: the set-up takes a few milliseconds a device.
const WARM_UP: Duration = Duration::from_secs(2);

/// Time afterwards, in which the last slots are still answered. Chosen: five periods.
const AFTER: Duration = Duration::from_millis(100);

/// Time-out of a read. Chosen: above any delay on loopback, so that a slow answer is late, not lost.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What is read: five values of two registers each.
const PLACES: [(Point, u16); 5] = [
    (Point::ActivePower, 0),
    (Point::ReactivePower, 2),
    (Point::ApparentPower, 4),
    (Point::Frequency, 6),
    (Point::VoltageL1, 8),
];

/// Registers of one read.
const REGISTERS: u16 = 10;

/// Source of the jitter of reconnects; nothing reconnects here.
const SEED: u64 = 7;

fn device() -> Arc<Profile> {
    let places = PLACES.map(|(point, address)| Place {
        point,
        address,
        data: DataType::F32,
    });
    let times = Times {
        timeout: TIMEOUT,
        late_window: TIMEOUT,
    };
    profile("bench/ten-registers", &places, times)
}

/// The child: a hundred meters, each with a load of its own, on a common plant.
pub(super) fn serve() -> Result<(), BenchError> {
    let profile = device();
    let name = |n: usize| -> Arc<str> { format!("meter-{n}").into() };
    let spec = BenchSpec {
        site: Site {
            v_nominal: Voltage::from_volts(230.0),
            f_nominal: Frequency::from_hertz(50.0),
            phases: 3,
        },
        // A stiff grid: the devices are of interest, not the feeder.
        feeder: Feeder {
            r_ohm: 0.001,
            x_ohm: 0.001,
        },
        forming: Forming::default(),
        sync: SyncCheck::default(),
        buses: (0..DEVICES)
            .map(|n| EmulatedBus {
                id: name(n),
                kind: BusKind::ModbusTcp,
                port: None,
                interface: name(n),
            })
            .collect(),
        devices: (0..DEVICES)
            .map(|n| DeviceSpec {
                id: name(n),
                role: Role::Meter,
                profile: Arc::clone(&profile),
                bus: name(n),
                unit: None,
                topic: None,
                battery: None,
                emulate: Emulate::default(),
            })
            .collect(),
        day: None,
        seed: SEED,
    };
    let mut bench = Bench::new(spec).map_err(|e| BenchError::Run(e.to_string()))?;
    in_runtime(false, async move {
        let addresses = bench
            .start_real()
            .await
            .map_err(|e| BenchError::Run(e.to_string()))?;
        let ports: Vec<u16> = addresses
            .iter()
            .filter_map(|a| match &a.address {
                Address::ModbusTcp(address) => Some(address.port()),
                _ => None,
            })
            .collect();
        child::tell(&json!({ "ports": ports }))?;
        // The parent's end is waited for beside the servers.
        let _ = tokio::task::spawn_blocking(child::wait_for_parent).await;
        Ok(())
    })
    .map_err(|faults| BenchError::Run(super::virtual_time::told(&faults)))?
}

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
fn window(from_s: f64) -> Window {
    Window {
        from_s,
        run_s: RUN.as_secs_f64(),
        period_s: 1.0 / HZ as f64,
    }
}

async fn ours(ports: &[u16]) -> Result<Outcome, BenchError> {
    let start = Instant::now();
    let tape = Arc::new(Tape {
        start,
        answers_s: Mutex::new(vec![Vec::with_capacity(1024); ports.len()]),
        flaws: AtomicU64::new(0),
    });
    let clock = Arc::new(SystemClock::start());
    let profile = device();
    let every = Duration::from_secs(1) / u32::try_from(HZ).unwrap_or(1);
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
        cadence: cadence(&answers, window(from.as_secs_f64())),
    })
}

fn pymodbus(ports: &[u16]) -> Result<(Value, Outcome), String> {
    let mut arguments: Vec<String> = ["scan", "--hz", &HZ.to_string()].map(Into::into).to_vec();
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
        cadence: cadence(&answers, window(number("from_s")?)),
    };
    let version = said.get("version").cloned().unwrap_or(Value::Null);
    Ok((version, outcome))
}

/// Reads the same servers, first with ours and then with the peer.
pub(super) fn measure() -> Result<Value, BenchError> {
    let (servers, said) = child::Kept::start(SERVERS)?;
    let ports: Vec<u16> = said
        .get("ports")
        .and_then(|v| serde_json::from_value(v.clone()).ok())
        .ok_or(BenchError::Child {
            expected: "the ports of its servers",
            said: said.to_string(),
        })?;
    let load = usage::load();
    let ours = in_runtime(false, ours(&ports))
        .map_err(|faults| BenchError::Run(super::virtual_time::told(&faults)))??;
    let theirs = pymodbus(&ports);
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
        "bench": "modbus",
        "devices": ports.len(),
        "hz": HZ,
        "registers": REGISTERS,
        "run_s": RUN.as_secs(),
        "ours": ours.json(),
        "pymodbus": peer,
        "cpu_ratio": ratio,
        "why_no_peer": why,
        "load_1_min": load,
        "optimised": !cfg!(debug_assertions),
    }))
}
