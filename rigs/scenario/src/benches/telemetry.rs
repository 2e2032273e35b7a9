//! `telemetry`: values per second into line protocol, into the files of a run, into the spool, and into a
//! server; beside them the line protocol of Python's client.
//!
//! The front of all sinks is used as a run uses it. A *value* is one good reading of one point of a device: a field of
//! the line protocol, a row of the store, a point of VictoriaMetrics. A *line*, which InfluxDB calls a point, carries all
//! that a device says at one time: here ten values, and in a second measurement of the encoder one. What was asked for in
//! points is held against values, and for the encoder against lines of one value as well.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant as Moment};

use model::{Clock, DeviceIx, Instant, Point, PointSample, Reading, Role, Sample, UtcTime};
use runtime::clock::SystemClock;
use runtime::telemetry::{
    InfluxConfig, LineProtocol, NamedDevice, Pace, RunAbout, Servers, Telemetry, TelemetryReport,
    WriteApi,
};
use serde_json::{Value, json};

use super::{BenchError, at_least, peer, rounded, usage};

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
const VALUES: u64 = CYCLES * DEVICES as u64 * POINTS.len() as u64;

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

/// How long a server may take to show what it has acknowledged. Chosen: VictoriaMetrics promises a second.
const SHOWN_WITHIN: Duration = Duration::from_secs(20);
const SHOWN_LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) fn measure() -> Result<Value, BenchError> {
    let (ten, one) = (encoding(POINTS.len()), encoding(1));
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
        "line_protocol_values_per_s": at_least(ASKED_ENCODED, ten.values_per_s),
        "line_protocol_values_per_cpu_s": rounded(ten.values_per_cpu_s),
        "line_protocol_lines_of_ten_values_per_s": rounded(ten.values_per_s / POINTS.len() as f64),
        "line_protocol_lines_of_one_value_per_s": at_least(ASKED_ENCODED, one.values_per_s),
        "line_protocol_lines_of_one_value_per_cpu_s": rounded(one.values_per_cpu_s),
        "python_client": match &python {
            Ok(values_per_s) => json!({
                "values_per_s": rounded(*values_per_s),
                "times": at_least(ASKED_TIMES_PYTHON, ten.values_per_s / values_per_s),
            }),
            Err(why) => json!({ "missing": why }),
        },
        "store_and_database_values_per_s": at_least(ASKED_STORED, stored),
        "store_and_database_bytes_per_value": rounded(store),
        "spool_with_the_store_beside_values_per_s": at_least(ASKED_SPOOLED, spooled),
        "victoria_metrics": match served {
            Ok((values_per_s, held)) => json!({
                "values_per_s": at_least(ASKED_SERVED, values_per_s),
                "values_sent": VALUES,
                "values_held": held,
            }),
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

/// The moments of a run that ends about now: a server keeps and shows what is of today.
struct Calendar {
    began: UtcTime,
}

impl Calendar {
    fn that_ends_now() -> Self {
        let lasts = PERIOD.as_nanos() as i64 * CYCLES as i64;
        let now = SystemClock::start().utc().unix_nanos();
        Self {
            began: UtcTime::from_unix_nanos(now - lasts),
        }
    }

    fn utc(&self, now: Instant) -> UtcTime {
        UtcTime::from_unix_nanos(self.began.unix_nanos() + now.as_nanos() as i64)
    }
}

/// How fast values become text, by the clock on the wall and by the time of the processor.
struct Encoded {
    values_per_s: f64,
    values_per_cpu_s: f64,
}

/// Encodes what the bench says in a cycle, of each device so many points, which are a line.
fn encoding(points: usize) -> Encoded {
    let encoder = LineProtocol::new(&RunAbout::default().origin, &devices());
    let calendar = Calendar::that_ends_now();
    let (now, mut samples) = samples(1);
    let shown = &POINTS[..points];
    samples.retain(|sample| shown.contains(&sample.point));
    let (began, cpu) = (Moment::now(), usage::cpu_of_thread());
    let (mut values, mut bytes) = (0_u64, 0);
    while began.elapsed() < ENCODING {
        bytes += encoder.lines(calendar.utc(now), now, &samples).len();
        values += samples.len() as u64;
    }
    let (took, spent) = (began.elapsed(), usage::cpu_of_thread().saturating_sub(cpu));
    // Said, so that the work cannot be left out.
    tracing::debug!(bytes, "Lines were made.");
    Encoded {
        values_per_s: values as f64 / took.as_secs_f64(),
        values_per_cpu_s: values as f64 / spent.as_secs_f64(),
    }
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
    let calendar = Calendar::that_ends_now();
    let began = Moment::now();
    for cycle in 0..CYCLES {
        let (now, samples) = samples(cycle);
        telemetry.samples(calendar.utc(now), now, &samples);
    }
    // The sinks work side by side: with patience, one is timed by its own count while the others go on.
    while arrived(&telemetry.report()) < VALUES && began.elapsed() < patience {
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
    if arrived(&report) != VALUES || lost > 0 {
        return Err(BenchError::Run(format!("of {VALUES} values: {report:?}")));
    }
    Ok((VALUES as f64 / took, bytes_in(&run) as f64 / VALUES as f64))
}

/// The same into a VictoriaMetrics of its own, and how many values it then holds: fewer than were sent are a fault.
fn served() -> Result<(f64, u64), String> {
    let data = tempdir().map_err(|e| e.to_string())?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
    drop(listener);
    let _serving = peer::Serving::listening(
        "victoria-metrics",
        &[
            format!("-httpListenAddr=127.0.0.1:{port}"),
            format!("-storageDataPath={}", data.0.display()),
            "-search.latencyOffset=0s".to_owned(),
        ],
        port,
    )?;
    let server = server(&format!("http://127.0.0.1:{port}"));
    let (rate, _) =
        written(Some(server), ITSELF, |report| report.written).map_err(|e| e.to_string())?;
    let began = Moment::now();
    loop {
        let held = held(port)?;
        if held == VALUES {
            return Ok((rate, held));
        }
        if began.elapsed() > SHOWN_WITHIN {
            return Err(format!("of {VALUES} values it holds {held}"));
        }
        std::thread::sleep(SHOWN_LOOK_EVERY);
    }
}

/// Values that a VictoriaMetrics holds of the last hour, counted by itself.
fn held(port: u16) -> Result<u64, String> {
    // What waits in memory is made to be seen.
    let _ = get(port, "/internal/force_flush")?;
    // sum(count_over_time({__name__!=""}[1h])), as a query is escaped.
    let count = "sum%28count_over_time%28%7B__name__%21%3D%22%22%7D%5B1h%5D%29%29";
    let answer = get(port, &format!("/api/v1/query?nocache=1&query={count}"))?;
    let answer: Value = serde_json::from_str(&answer).map_err(|e| format!("{e}: {answer}"))?;
    let counted = answer["data"]["result"][0]["value"][1].as_str();
    Ok(counted.and_then(|n| n.parse().ok()).unwrap_or(0))
}

/// The body of a page of loopback.
fn get(port: u16, path: &str) -> Result<String, String> {
    let told = |e: std::io::Error| format!("GET {path}: {e}");
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(told)?;
    stream.set_read_timeout(Some(SHOWN_WITHIN)).map_err(told)?;
    // HTTP/1.0: the answer ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").map_err(told)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(told)?;
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned());
    body.ok_or_else(|| format!("GET {path}: {answer}"))
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
