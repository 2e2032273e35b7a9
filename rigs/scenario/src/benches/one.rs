//! `modbus-one`: how many requests one connection carries, ours and a bare client's in turn.
//!
//! Both read the same ten registers of the same plain server in a child process, as fast as
//! they can. Ours is the whole bus as in a run: plan, guard, decoding, delivery. Both are tasks
//! beside one that sleeps until the turn is over, so that the runtime has a timer for both.
//!
//! Turns are short and come in pairs, each time another first: what else the machine does weighs on both of a pair, and the
//! ratio is the median of those within a pair. The time of a processor for each request says what is ours to save; the
//! server's is not in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bus::{BusDevice, BusSpec, Endpoint, Framing, KeepAlives, LinkEvent, PollPeriods, Sink};
use emulator::faces::modbus::frame::Framing as Frames;
use model::{DeviceIx, PointSample};
use runtime::clock::SystemClock;
use serde_json::{Value, json};
use tokio_modbus::client::{self, Reader};
use tokio_modbus::slave::Slave;

use super::meters::{REGISTERS, meter};
use super::{BenchError, child, late, meters, rounded, usage};
use crate::live::in_runtime;

/// The role of the child process that holds the server.
pub(super) const SERVER: &str = "modbus-one-server";

/// Time of one turn of a client. Chosen: ten thousand requests, and far less than other work takes to come and go.
const TURN: Duration = Duration::from_millis(400);

/// Time before a turn is counted. Chosen: both are connected and set up within far less.
const SETTLE: Duration = Duration::from_millis(100);

/// Turns of each client. Chosen: an odd number for the median, and a quarter of a minute in all.
const PAIRS: usize = 15;

/// Time-out of a read. Chosen: above any delay on loopback.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The child: a server that answers at once.
pub(super) fn serve() -> Result<(), BenchError> {
    in_runtime(false, async {
        let port = late::unit(Frames::Tcp, late::Manners::Good).await?;
        child::tell(&json!({ "ports": [port] }))?;
        let _ = tokio::task::spawn_blocking(child::wait_for_parent).await;
        Ok(())
    })
    .map_err(|faults| BenchError::Run(super::virtual_time::told(&faults)))?
}

/// Delivery is part of the work; what is delivered is not looked at.
struct Nowhere;

impl Sink for Nowhere {
    fn sample(&self, _: PointSample) {}
    fn event(&self, _: LinkEvent) {}
}

/// What a turn of a client has come to.
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// Requests per second.
    rate: f64,
    /// Time of a processor for each request, in microseconds, of this process.
    cpu_us: f64,
}

impl Turn {
    /// Counts for the time of a turn what a counter tells.
    async fn count(answers: impl Fn() -> u64) -> Self {
        tokio::time::sleep(SETTLE).await;
        let (begin, cpu, before) = (Instant::now(), usage::cpu(), answers());
        tokio::time::sleep(TURN).await;
        let (wall, cpu) = (begin.elapsed(), usage::cpu().saturating_sub(cpu));
        let count = (answers() - before) as f64;
        Self {
            rate: count / wall.as_secs_f64(),
            cpu_us: cpu.as_secs_f64() * 1e6 / count.max(1.0),
        }
    }
}

/// Our bus.
async fn ours(port: u16) -> Turn {
    let spec = BusSpec {
        id: "one".into(),
        endpoint: Endpoint::Tcp {
            host: "127.0.0.1".into(),
            port,
        },
        framing: Framing::Tcp,
        timeout: None,
        min_gap: None,
        seed: 7,
    };
    // Due again as soon as it is done.
    let every = Duration::from_nanos(1);
    let device = BusDevice {
        ix: DeviceIx(0),
        id: "one".into(),
        profile: meter(TIMEOUT, TIMEOUT),
        unit: None,
        topic: None,
        revert: None,
        poll: PollPeriods {
            fast: every,
            normal: every,
            slow: every,
        },
        limits: Vec::new(),
        keep_alives: KeepAlives::default(),
    };
    let clock = Arc::new(SystemClock::start());
    let bus = bus::start(spec, vec![device], clock, Arc::new(Nowhere));
    Turn::count(|| bus.stats.report().answers).await
}

/// The client library alone.
async fn bare(port: u16) -> Result<Turn, BenchError> {
    let answers = Arc::new(AtomicU64::new(0));
    let mut reading = tokio::spawn(read_bare(port, Arc::clone(&answers)));
    tokio::select! {
        turn = Turn::count(|| answers.load(Ordering::Relaxed)) => {
            reading.abort();
            Ok(turn)
        }
        ended = &mut reading => Err(match ended {
            Ok(error) => error,
            Err(error) => BenchError::Run(error.to_string()),
        }),
    }
}

/// Reads until it is stopped, or fails.
async fn read_bare(port: u16, answers: Arc<AtomicU64>) -> BenchError {
    let failed = "the plain server is not there";
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let stream = match tokio::net::TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(error) => return BenchError::system(failed)(error),
    };
    stream.set_nodelay(true).ok();
    let mut context = client::tcp::attach_slave(stream, Slave(1));
    loop {
        match context.read_holding_registers(0, REGISTERS).await {
            Ok(Ok(words)) if words.len() == usize::from(REGISTERS) => {
                answers.fetch_add(1, Ordering::Relaxed);
            }
            other => return BenchError::Run(format!("the plain server says {other:?}")),
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    super::cadence::quantile(&values, 0.5)
}

/// Lets both read in turn.
pub(super) fn measure() -> Result<Value, BenchError> {
    let (server, said) = child::Kept::start(SERVER)?;
    let port = meters::ports(&said)?.first().copied().unwrap_or_default();
    let load = usage::load();
    let pairs = in_runtime(false, async {
        let mut pairs = Vec::new();
        for n in 0..PAIRS {
            pairs.push(if n % 2 == 0 {
                (ours(port).await, bare(port).await?)
            } else {
                let theirs = bare(port).await?;
                (ours(port).await, theirs)
            });
        }
        Ok::<_, BenchError>(pairs)
    });
    let pairs = pairs.map_err(|faults| BenchError::Run(super::virtual_time::told(&faults)))??;
    drop(server);
    let of = |what: fn(&(Turn, Turn)) -> f64| median(pairs.iter().map(what));
    Ok(json!({
        "bench": "modbus-one",
        "registers": REGISTERS,
        "pairs": PAIRS,
        "turn_s": TURN.as_secs_f64(),
        "ours_per_s": of(|(own, _)| own.rate).round(),
        "tokio_modbus_per_s": of(|(_, theirs)| theirs.rate).round(),
        "rate_ratio": rounded(of(|(own, theirs)| own.rate / theirs.rate)),
        "ours_cpu_us": rounded(of(|(own, _)| own.cpu_us)),
        "tokio_modbus_cpu_us": rounded(of(|(_, theirs)| theirs.cpu_us)),
        "cpu_ratio": rounded(of(|(own, theirs)| own.cpu_us / theirs.cpu_us)),
        "load_1_min": load,
        "optimised": !cfg!(debug_assertions),
    }))
}
