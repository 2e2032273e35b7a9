//! `telemetry`: values per second into line protocol, into the files of a run, into the spool, and into a
//! server; beside them the line protocol of Python's client.
//!
//! The front of all sinks is used as a run uses it. A value is one good reading of one point.

use std::path::Path;
use std::time::{Duration, Instant as Moment};

use model::{DeviceIx, Instant, Point, PointSample, Reading, Role, Sample, UtcTime};
use runtime::telemetry::{
    InfluxConfig, LineProtocol, NamedDevice, Pace, RunAbout, Servers, Telemetry, TelemetryReport,
    WriteApi,
};
use serde_json::{Value, json};

use super::{BenchError, at_least, peer, rounded};

/// Devices, and what each says ten times a second. Chosen: a large bench.
const DEVICES: u16 = 100;
const POINTS: [Point; 10] = [
    Point::ActivePower,
    Point::ReactivePower,
    Point::ApparentPower,
    Point::Frequency,
    Point::VoltageL1,
    Point::VoltageL2,
    Point::VoltageL3,
    Point::CurrentL1,
    Point::StateOfCharge,
    Point::BatteryTemperature,
];
const PERIOD: Duration = Duration::from_millis(100);

/// Cycles that are written: a million values.
const CYCLES: u64 = 1_000;

/// How long the encoding is timed.
const ENCODING: Duration = Duration::from_secs(2);

/// How long a sink may take by itself, and how often is looked. Chosen: half a minute is 30,000 values a second.
const ITSELF: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How long the end of a sink is waited for. Chosen: far more than any takes.
const WITHIN: Duration = Duration::from_secs(60);

/// What was asked for, in values per second, and times of Python's client.
const ASKED_ENCODED: f64 = 5_000_000.0;
const ASKED_TIMES_PYTHON: f64 = 20.0;
const ASKED_STORED: f64 = 50_000.0;
const ASKED_SPOOLED: f64 = 200_000.0;
const ASKED_SERVED: f64 = 100_000.0;

/// A Sunday in November 2026.
const UTC: UtcTime = UtcTime::from_unix_nanos(1_795_341_600_000_000_000);

pub(super) fn measure() -> Result<Value, BenchError> {
    let encoded = encoding();
    let python = peer::ask("influx_lines.py", &[POINTS.len().to_string()]);
    let python = python.map(|said| said["values_per_s"].as_f64().unwrap_or(0.0));
    let (stored, store) = written(None, Duration::ZERO, |report| report.store_written)?;
    let nobody = server("http://127.0.0.1:1");
    let (spooled, _) = written(Some(nobody), ITSELF, |report| report.spooled)?;
    let served = served();
    Ok(json!({
        "bench": "telemetry",
        "devices": DEVICES,
        "points": POINTS.len(),
        "line_protocol_values_per_s": at_least(ASKED_ENCODED, encoded),
        "python_client": match &python {
            Ok(values_per_s) => json!({
                "values_per_s": rounded(*values_per_s),
                "times": at_least(ASKED_TIMES_PYTHON, encoded / values_per_s),
            }),
            Err(why) => json!({ "missing": why }),
        },
        "store_and_database_values_per_s": at_least(ASKED_STORED, stored),
        "store_and_database_bytes_per_value": rounded(store),
        "spool_with_the_store_beside_values_per_s": at_least(ASKED_SPOOLED, spooled),
        "victoria_metrics_values_per_s": match served {
            Ok(values_per_s) => at_least(ASKED_SERVED, values_per_s),
            Err(why) => json!({ "missing": why }),
        },
    }))
}

fn devices() -> Vec<NamedDevice> {
    (0..DEVICES)
        .map(|n| NamedDevice {
            name: format!("bat{n}"),
            role: Role::Ess,
            bus: format!("lan{}", n / 10),
        })
        .collect()
}

/// What the bench says in one cycle: no two values alike, as of a meter.
fn samples(cycle: u64) -> (Instant, Vec<PointSample>) {
    let now = Instant::from_nanos(cycle * PERIOD.as_nanos() as u64);
    let mut samples = Vec::with_capacity(usize::from(DEVICES) * POINTS.len());
    for device in 0..DEVICES {
        for (n, point) in POINTS.into_iter().enumerate() {
            let value = f64::from(device) + n as f64 * 0.1 + (cycle % 997) as f64 * 1e-3;
            samples.push(PointSample {
                device: DeviceIx(device),
                point,
                sample: Sample {
                    measured_at: now,
                    reading: Reading::Good(value),
                },
            });
        }
    }
    (now, samples)
}

fn utc(now: Instant) -> UtcTime {
    UtcTime::from_unix_nanos(UTC.unix_nanos() + now.as_nanos() as i64)
}

/// Values per second of CPU time that become text.
fn encoding() -> f64 {
    let encoder = LineProtocol::new(&RunAbout::default().origin, &devices());
    let (now, samples) = samples(1);
    let began = Moment::now();
    let (mut values, mut bytes) = (0_u64, 0);
    while began.elapsed() < ENCODING {
        bytes += encoder.lines(utc(now), now, &samples).len();
        values += samples.len() as u64;
    }
    // Said, so that the work cannot be left out.
    tracing::debug!(bytes, "Lines were made.");
    values as f64 / began.elapsed().as_secs_f64()
}

fn server(url: &str) -> InfluxConfig {
    InfluxConfig {
        url: url.to_owned(),
        api: WriteApi::V2,
        org: String::new(),
        bucket: "bench".into(),
        token: None,
        ca_pem: None,
        spool_bytes: 1 << 30,
        spool_dir: std::path::PathBuf::new(),
    }
}

/// Values per second from the first cycle until the sink has them, and bytes of the run folder per value.
fn written(
    influx: Option<InfluxConfig>,
    patience: Duration,
    arrived: impl Fn(&TelemetryReport) -> u64,
) -> Result<(f64, f64), BenchError> {
    let dir = tempdir()?;
    let told = |e: &dyn std::fmt::Display| BenchError::Run(e.to_string());
    let servers = Servers {
        influx: influx.map(|config| InfluxConfig {
            spool_dir: dir.0.join("run/spool"),
            ..config
        }),
        home_assistant: None,
    };
    let run = dir.0.join("run");
    std::fs::create_dir_all(&run).map_err(BenchError::system("making a run folder"))?;
    let about = RunAbout::default();
    let telemetry =
        Telemetry::start(&run, devices(), servers, Pace::Real, &about).map_err(|e| told(&e))?;
    let began = Moment::now();
    for cycle in 0..CYCLES {
        let (now, samples) = samples(cycle);
        telemetry.samples(utc(now), now, &samples);
    }
    let expected = CYCLES * u64::from(DEVICES) * POINTS.len() as u64;
    // The sinks work side by side: with patience, one is timed by its own count while the others go on.
    while arrived(&telemetry.report()) < expected && began.elapsed() < patience {
        std::thread::sleep(LOOK_EVERY);
    }
    let by_itself = began.elapsed();
    let report = telemetry.finish(WITHIN);
    // The last second of the store is safe at the end only, and so is what waits for a server.
    let took = match by_itself < patience {
        true => by_itself,
        false => began.elapsed(),
    }
    .as_secs_f64();
    // What was given up on the way has arrived nowhere, however it is counted.
    let lost = report.lost + report.store_lost;
    if arrived(&report) != expected || lost > 0 {
        return Err(BenchError::Run(format!("of {expected} values: {report:?}")));
    }
    Ok((
        expected as f64 / took,
        bytes_in(&run) as f64 / expected as f64,
    ))
}

/// The same into a VictoriaMetrics of its own.
fn served() -> Result<f64, String> {
    let data = tempdir().map_err(|e| e.to_string())?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
    drop(listener);
    let _serving = peer::Serving::listening(
        "victoria-metrics",
        &[
            format!("-httpListenAddr=127.0.0.1:{port}"),
            format!("-storageDataPath={}", data.0.display()),
            "-retentionPeriod=100y".to_owned(),
        ],
        port,
    )?;
    let server = server(&format!("http://127.0.0.1:{port}"));
    let served = written(Some(server), ITSELF, |report| report.written);
    served.map(|(rate, _)| rate).map_err(|e| e.to_string())
}

fn bytes_in(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}

/// A folder that goes with the bench.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tempdir() -> Result<Folder, BenchError> {
    let unique = Moment::now();
    let name = format!("gridrig-bench-{}-{unique:?}", std::process::id());
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    let path = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&path).map_err(BenchError::system("making a folder"))?;
    Ok(Folder(path))
}
