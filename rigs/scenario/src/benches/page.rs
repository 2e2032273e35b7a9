//! `page`: what the page costs the server: the state of 100 devices ten times a second, for one reader and
//! for eight.
//!
//! The server runs in a child process with a view that is fed as an engine feeds it, so that feeding is
//! counted with serving; the readers are this process and are not.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use model::{DeviceIx, Mode, Point, PointSample, ProcessImage, Reading, Role, Sample, UtcTime};
use runtime::alarm::Alarms;
use runtime::clock::SystemClock;
use runtime::lease::Lease;
use runtime::view::{CycleReport, DeviceLabel, LiveView, RigView};
use runtime::web::{Access, Hall, Runs, Tokens};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::usage::{self, Process};
use super::{BenchError, child, rounded};

/// The role of the child process.
pub(super) const SERVER: &str = "page-server";
/// The role of one with a list of a thousand points, for a browser.
pub(super) const SERVER_OF_A_THOUSAND: &str = "page-server-of-a-thousand-points";

/// Devices, and states a second: what was asked for.
const DEVICES: u16 = 100;
/// Devices with four points each that make a thousand.
const DEVICES_OF_A_THOUSAND: u16 = 250;
const STATES_PER_S: u64 = 10;
/// Readers in a round. Chosen: one person, and a lab full of walls.
const READERS: [usize; 2] = [1, 8];
/// Time in which it is counted. Chosen: a hundred states.
const RUN: Duration = Duration::from_secs(10);
/// Time before it is counted. Chosen: every reader is connected within far less.
const SETTLE: Duration = Duration::from_secs(1);
/// A client that hears nothing for so long gives up. Chosen: fifty states.
const SILENCE_MAX: Duration = Duration::from_secs(5);

fn failed(what: &'static str) -> impl FnOnce(std::io::Error) -> BenchError {
    BenchError::system(what)
}

/// The child: the page of a bench that turns ten times a second.
pub(super) fn serve() -> Result<(), BenchError> {
    serve_devices(DEVICES)
}

/// The same of a bench with a thousand points.
pub(super) fn serve_a_thousand_points() -> Result<(), BenchError> {
    serve_devices(DEVICES_OF_A_THOUSAND)
}

fn serve_devices(devices: u16) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed("the page has no runtime"))?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.map_err(failed("the page has no port"))?;
        let address = listener.local_addr();
        let address = address.map_err(failed("the page has no port"))?;
        let port = address.port();
        let view = Arc::new(view(devices));
        let (commands, _nobody) = mpsc::channel(1);
        let clock = Arc::new(SystemClock::start());
        let hall = Hall {
            view: Arc::clone(&view),
            commands,
            access: Access {
                address,
                tokens: Tokens::default(),
                tls: None,
            },
            lease: Lease::new(clock),
            alarms: Alarms::of(&[], model::Instant::START),
            runs: Runs::beside(std::path::PathBuf::from("no-run")),
            bids: None,
        };
        tokio::spawn(runtime::web::serve(listener, hall));
        tokio::spawn(turn(view, devices));
        child::tell(&json!({ "port": port }))?;
        let _ = tokio::task::spawn_blocking(child::wait_for_parent).await;
        Ok(())
    })
}

fn view(devices: u16) -> LiveView {
    let device = |n: u16| DeviceLabel {
        name: format!("device{n}"),
        role: if n == 0 { Role::Pcc } else { Role::Ess },
        profile: "sunspec/storage-inverter".into(),
        bus: "lan1".into(),
        sample_age_max: Duration::from_secs(2),
    };
    LiveView::new(RigView {
        title: format!("{devices} devices"),
        rig_path: "many.toml".into(),
        site: "230 V, 50 Hz, 1 phase".into(),
        devices: (0..devices).map(device).collect(),
        services: Vec::new(),
        buses: vec!["lan1".into()],
        started_utc: UtcTime::default(),
        virtual_time: false,
    })
}

/// Every value of every device is another one in each cycle.
async fn turn(view: Arc<LiveView>, devices: u16) {
    let period = Duration::from_secs(1) / STATES_PER_S as u32;
    let mut ticks = tokio::time::interval(period);
    let mut image = ProcessImage::unread(usize::from(devices));
    for n in 1.. {
        ticks.tick().await;
        let now = model::Instant::START + period * n;
        for device in 0..devices {
            let points = [
                (Point::ActivePower, 1000.0),
                (Point::ReactivePower, 100.0),
                (Point::VoltageL1, 230.0),
                (Point::Frequency, 50.0),
            ];
            for (point, about) in points {
                let swing = f64::from(n % 100 + u32::from(device)) / 100.0;
                image.observe(PointSample {
                    device: DeviceIx(device),
                    point,
                    sample: Sample {
                        measured_at: now,
                        reading: Reading::Good(about + swing),
                    },
                });
            }
        }
        view.cycle(CycleReport {
            n: u64::from(n),
            now,
            utc: UtcTime::from_unix_nanos(now.as_nanos() as i64),
            late_ms: 0.1,
            took_ms: 0.4,
            mode: Mode::GridConnected,
            armed: false,
            estimate: &Default::default(),
            image: &image,
            services: &[],
        });
    }
}

/// Reads the stream until it is told to stop, and counts states and bytes.
fn read(port: u16, count: &[AtomicU64; 2], over: &AtomicBool) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    write!(
        stream,
        "GET /api/v1/stream?hz={STATES_PER_S} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
    )?;
    let mut lines = BufReader::new(stream);
    let mut line = Vec::new();
    while !over.load(Ordering::Relaxed) {
        line.clear();
        let bytes = lines.by_ref().read_until(b'\n', &mut line)?;
        if bytes == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let is_state = line.starts_with(b"event: state");
        count[0].fetch_add(u64::from(is_state), Ordering::Relaxed);
        count[1].fetch_add(bytes as u64, Ordering::Relaxed);
    }
    Ok(())
}

fn round(port: u16, process: Process, readers: usize) -> Result<Value, BenchError> {
    let count = [AtomicU64::new(0), AtomicU64::new(0)];
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading: Vec<_> = (0..readers)
            .map(|_| scope.spawn(|| read(port, &count, &over)))
            .collect();
        std::thread::sleep(SETTLE);
        let now = || [0, 1].map(|i| count[i].load(Ordering::Relaxed));
        let (begin, cpu, before) = (Instant::now(), process.cpu(), now());
        std::thread::sleep(RUN);
        let (wall, spent, after) = (begin.elapsed().as_secs_f64(), process.cpu(), now());
        over.store(true, Ordering::Relaxed);
        for reader in reading {
            let read = reader.join().unwrap_or(Ok(()));
            read.map_err(failed("the stream of the page cannot be read"))?;
        }
        let cpu = spent?.saturating_sub(cpu?).as_secs_f64();
        let states = after[0] - before[0];
        Ok(json!({
            "readers": readers,
            "states_per_s_of_each": rounded(states as f64 / readers as f64 / wall),
            "bytes_of_a_state": (after[1] - before[1]) / states.max(1),
            "cpu_percent_of_a_core": rounded(100.0 * cpu / wall),
        }))
    })
}

/// Reads from outside.
pub(super) fn measure() -> Result<Value, BenchError> {
    let (child, said) = child::Kept::start(SERVER)?;
    let port = said["port"]
        .as_u64()
        .and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or(BenchError::Child {
        expected: "a port",
        said: said.to_string(),
    })?;
    let load = usage::load();
    let process = Process(child.id());
    let idle = round_without_readers(process)?;
    let rows = READERS.iter().map(|readers| round(port, process, *readers));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    Ok(json!({
        "bench": "page",
        "devices": DEVICES,
        "states_per_s": STATES_PER_S,
        "run_s": RUN.as_secs(),
        "cpu_percent_without_readers": idle,
        "rows": rows,
        "load_1_min": load,
        "optimised": !cfg!(debug_assertions),
    }))
}

/// What feeding alone costs.
fn round_without_readers(process: Process) -> Result<f64, BenchError> {
    std::thread::sleep(SETTLE);
    let (begin, before) = (Instant::now(), process.cpu()?);
    std::thread::sleep(RUN / 2);
    let (wall, after) = (begin.elapsed(), process.cpu()?);
    let cpu = after.saturating_sub(before);
    Ok(rounded(100.0 * cpu.as_secs_f64() / wall.as_secs_f64()))
}
