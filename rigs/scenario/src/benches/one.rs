//! `modbus-one`: how many requests one connection carries, ours and a bare client's in turn.
//!
//! Both read the same ten registers of the same plain server in a child process, as fast as
//! they can. Ours is the whole bus as in a run: plan, guard, decoding, delivery. Both are tasks
//! beside one that sleeps until the turn is over, so that the runtime has a timer for both.

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

/// Time of one turn of a client. Chosen: tens of thousands of requests.
const TURN: Duration = Duration::from_secs(2);

/// Turns of each client; the median counts. Chosen: five, so that one disturbed turn weighs nothing.
const TURNS: usize = 5;

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

/// Requests per second of our bus.
async fn ours(port: u16) -> f64 {
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
    // It connects and sets up first.
    tokio::time::sleep(TURN / 10).await;
    let (begin, before) = (Instant::now(), bus.stats.report().answers);
    tokio::time::sleep(TURN).await;
    (bus.stats.report().answers - before) as f64 / begin.elapsed().as_secs_f64()
}

/// Requests per second of the client library alone.
async fn bare(port: u16) -> Result<f64, BenchError> {
    let answers = Arc::new(AtomicU64::new(0));
    let mut reading = tokio::spawn(read_bare(port, Arc::clone(&answers)));
    // As long as ours has to get going.
    tokio::time::sleep(TURN / 10).await;
    let (begin, before) = (Instant::now(), answers.load(Ordering::Relaxed));
    tokio::select! {
        () = tokio::time::sleep(TURN) => reading.abort(),
        ended = &mut reading => {
            return Err(match ended {
                Ok(error) => error,
                Err(error) => BenchError::Run(error.to_string()),
            });
        }
    }
    Ok((answers.load(Ordering::Relaxed) - before) as f64 / begin.elapsed().as_secs_f64())
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

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    super::cadence::quantile(&rates, 0.5)
}

/// Lets both read in turn.
pub(super) fn measure() -> Result<Value, BenchError> {
    let (server, said) = child::Kept::start(SERVER)?;
    let port = meters::ports(&said)?.first().copied().unwrap_or_default();
    let load = usage::load();
    let turns = in_runtime(false, async {
        let (mut own, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            own.push(ours(port).await);
            theirs.push(bare(port).await?);
        }
        Ok::<_, BenchError>((own, theirs))
    });
    let (own, theirs) =
        turns.map_err(|faults| BenchError::Run(super::virtual_time::told(&faults)))??;
    drop(server);
    let (own, theirs) = (median(own), median(theirs));
    Ok(json!({
        "bench": "modbus-one",
        "registers": REGISTERS,
        "turns": TURNS,
        "turn_s": TURN.as_secs(),
        "ours_per_s": own.round(),
        "tokio_modbus_per_s": theirs.round(),
        "rate_ratio": rounded(own / theirs),
        "load_1_min": load,
        "optimised": !cfg!(debug_assertions),
    }))
}
