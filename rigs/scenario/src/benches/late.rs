//! `late-replies`: how many wrong values are believed when answers come too late.
//!
//! A unit answers every tenth read after the client has given up. A frame on a serial line
//! carries no number, so a client that asks on at once takes the old answer for the new
//! question's. Each register holds a value of its own, so a wrong one is seen. Ours is the
//! whole bus as in a run; the peers are plain tokio-modbus and pymodbus, as a program would
//! use them that opens the connection anew when it breaks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bus::{BusDevice, BusSpec, Endpoint, KeepAlives, LinkEvent, PollPeriods, Sink};
use emulator::faces::modbus::frame::Framing;
use model::{DeviceIx, Point, PointSample, Reading};
use profile::modbus::DataType;
use runtime::clock::SystemClock;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_modbus::client::{self, Context, Reader};
use tokio_modbus::slave::Slave;

use super::unit::{Place, Times, profile};
use super::{BenchError, peer, rounded};
use crate::live::in_runtime;

/// Time-out of a read. Chosen: usual for a meter on a serial line.
const TIMEOUT: Duration = Duration::from_millis(100);

/// By how much an answer is late. Chosen: as a device does that writes its flash in between.
const LATE_BY: Duration = Duration::from_millis(30);

/// Time in which our bus expects late answers. Chosen: some times what they need.
const LATE_WINDOW: Duration = Duration::from_millis(200);

/// Every such read is answered late.
const EVERY: u64 = 10;

/// Reads of each client. Chosen: twenty late answers.
const READS: u64 = 200;

/// Pause between two reads of a peer. Chosen: a hundred reads in a second, as a busy line has.
const GAP: Duration = Duration::from_millis(10);

/// Registers that are read in turn, and their distance, so that each takes a request of its own.
const ADDRESSES: u16 = 10;
const SPREAD: u16 = 3;

/// Longest time that a client may take. Chosen: some times what any of them needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a register holds: tells each from every other.
fn content(address: u16) -> u16 {
    address ^ 0x5a5a
}

/// What became of the reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    right: u64,
    wrong: u64,
    lost: u64,
}

impl Tally {
    fn reads(&self) -> u64 {
        self.right + self.wrong + self.lost
    }

    /// Takes note of a read: what came of it, and what stands in the register.
    fn note(&mut self, got: Option<f64>, address: u16) {
        match got {
            Some(value) if value == f64::from(content(address)) => self.right += 1,
            Some(_) => self.wrong += 1,
            None => self.lost += 1,
        }
    }
}

/// The answer of the unit to a request: the registers' contents, or a refusal.
fn answer(pdu: &[u8]) -> Vec<u8> {
    match *pdu {
        [3, high, low, 0, count @ 1..=125] => {
            let first = u16::from_be_bytes([high, low]);
            let words = (0..u16::from(count)).map(|n| content(first.wrapping_add(n)));
            let bytes = words.flat_map(u16::to_be_bytes);
            [3, 2 * count].into_iter().chain(bytes).collect()
        }
        _ => vec![pdu.first().copied().unwrap_or(0) | 0x80, 1],
    }
}

/// The unit: answers in order, and every so often too late. It ends with the runtime.
async fn unit(framing: Framing) -> Result<u16, BenchError> {
    let failed = "no port for the unit with the late answers";
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .map_err(BenchError::system(failed))?;
    let port = listener.local_addr().map_err(BenchError::system(failed))?;
    let reads = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, framing, Arc::clone(&reads)));
        }
    });
    Ok(port.port())
}

async fn serve(mut stream: TcpStream, framing: Framing, reads: Arc<AtomicU64>) {
    // A refusal costs only time.
    stream.set_nodelay(true).ok();
    let mut buffer = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut buffer).await {
        while let Some(request) = framing.take(&mut buffer) {
            let turn = reads.fetch_add(1, Ordering::Relaxed) + 1;
            if turn.is_multiple_of(EVERY) {
                tokio::time::sleep(TIMEOUT + LATE_BY).await;
            }
            let bytes = request.wrap.bytes(request.unit, &answer(&request.pdu));
            if stream.write_all(&bytes).await.is_err() {
                return;
            }
        }
    }
}

/// Compares what the bus delivers with what stands in the registers.
struct Auditor {
    points: Vec<(Point, u16)>,
    tally: Mutex<Tally>,
}

impl Auditor {
    fn tally(&self) -> Tally {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Auditor {
    fn sample(&self, sample: PointSample) {
        let known = self.points.iter().find(|(point, _)| *point == sample.point);
        if let Some((_, address)) = known {
            let got = match sample.sample.reading {
                Reading::Good(value) => Some(value),
                Reading::Bad(_) => None,
            };
            let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.note(got, *address);
        }
    }

    fn event(&self, _: LinkEvent) {}
}

async fn ours(port: u16, framing: Framing) -> Tally {
    let points: Vec<(Point, u16)> = Point::ALL
        .iter()
        .zip(0..ADDRESSES)
        .map(|(point, n)| (*point, SPREAD * n))
        .collect();
    let places: Vec<Place> = points
        .iter()
        .map(|(point, address)| Place {
            point: *point,
            address: *address,
            data: DataType::U16,
        })
        .collect();
    let times = Times {
        timeout: TIMEOUT,
        late_window: LATE_WINDOW,
    };
    let auditor = Arc::new(Auditor {
        points,
        tally: Mutex::default(),
    });
    let spec = BusSpec {
        id: "late".into(),
        endpoint: Endpoint::Tcp {
            host: "127.0.0.1".into(),
            port,
        },
        framing: match framing {
            Framing::Rtu => bus::Framing::Rtu { baud: None },
            Framing::Tcp => bus::Framing::Tcp,
        },
        timeout: None,
        min_gap: None,
        seed: 7,
    };
    // All registers in a row, each as often as a peer that pauses between two reads.
    let every = GAP * u32::from(ADDRESSES);
    let device = BusDevice {
        ix: DeviceIx(0),
        id: "late-unit".into(),
        profile: profile("bench/late-unit", &places, times),
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
    let clock = Arc::new(SystemClock::start());
    let running = bus::start(spec, vec![device], clock, auditor.clone());
    let begin = Instant::now();
    while auditor.tally().reads() < READS && begin.elapsed() < PATIENCE {
        tokio::time::sleep(GAP).await;
    }
    drop(running);
    auditor.tally()
}

async fn connect(port: u16, framing: Framing) -> Result<Context, BenchError> {
    let stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .map_err(BenchError::system(
            "the unit with the late answers is not there",
        ))?;
    stream.set_nodelay(true).ok();
    Ok(match framing {
        Framing::Rtu => client::rtu::attach_slave(stream, Slave(1)),
        Framing::Tcp => client::tcp::attach_slave(stream, Slave(1)),
    })
}

async fn plain(port: u16, framing: Framing) -> Result<Tally, BenchError> {
    let mut tally = Tally::default();
    let mut context = connect(port, framing).await?;
    for turn in 0..READS {
        let address = SPREAD * (turn % u64::from(ADDRESSES)) as u16;
        let read = context.read_holding_registers(address, 1);
        match tokio::time::timeout(TIMEOUT, read).await {
            Ok(Ok(Ok(words))) => tally.note(words.first().copied().map(f64::from), address),
            Ok(Ok(Err(_))) | Err(_) => tally.note(None, address),
            Ok(Err(_)) => {
                tally.note(None, address);
                context = connect(port, framing).await?;
            }
        }
        tokio::time::sleep(GAP).await;
    }
    Ok(tally)
}

fn pymodbus(port: u16, framing: Framing) -> Result<Tally, String> {
    let framer = match framing {
        Framing::Rtu => "rtu",
        Framing::Tcp => "socket",
    };
    let arguments = [
        ("--framer", framer.to_owned()),
        ("--port", port.to_string()),
        ("--timeout", TIMEOUT.as_secs_f64().to_string()),
        ("--gap", GAP.as_secs_f64().to_string()),
        ("--reads", READS.to_string()),
        ("--addresses", ADDRESSES.to_string()),
        ("--spread", SPREAD.to_string()),
    ];
    let arguments: Vec<String> = std::iter::once("late".to_owned())
        .chain(
            arguments
                .into_iter()
                .flat_map(|(name, value)| [name.to_owned(), value]),
        )
        .collect();
    let said = peer::ask("pymodbus_scan.py", &arguments)?;
    let number = |name: &str| {
        let value = said.get(name).and_then(Value::as_u64);
        value.ok_or_else(|| format!("pymodbus_scan.py says no {name}"))
    };
    Ok(Tally {
        right: number("right")?,
        wrong: number("wrong")?,
        lost: number("lost")?,
    })
}

fn row(framing: Framing, client: &str, tally: Tally, begin: Instant) -> Value {
    json!({
        "framing": match framing {
            Framing::Rtu => "rtu over tcp",
            Framing::Tcp => "modbus tcp",
        },
        "client": client,
        "right": tally.right,
        "wrong": tally.wrong,
        "lost": tally.lost,
        "wall_s": rounded(begin.elapsed().as_secs_f64()),
    })
}

async fn compare() -> Result<Value, BenchError> {
    let mut rows = Vec::new();
    let mut why_no_peer = None;
    let mut wrong = 0;
    for framing in [Framing::Rtu, Framing::Tcp] {
        // Each client has a unit of its own, so that all see the same answers late.
        let begin = Instant::now();
        let tally = ours(unit(framing).await?, framing).await;
        wrong += tally.wrong;
        rows.push(row(framing, "gridrig", tally, begin));
        let begin = Instant::now();
        let tally = plain(unit(framing).await?, framing).await?;
        rows.push(row(framing, "tokio-modbus", tally, begin));
        let (begin, port) = (Instant::now(), unit(framing).await?);
        match tokio::task::spawn_blocking(move || pymodbus(port, framing)).await {
            Ok(Ok(tally)) => rows.push(row(framing, "pymodbus", tally, begin)),
            Ok(Err(why)) => why_no_peer = Some(why),
            Err(panic) => why_no_peer = Some(panic.to_string()),
        }
    }
    Ok(json!({
        "bench": "late-replies",
        "timeout_ms": TIMEOUT.as_millis() as u64,
        "late_by_ms": LATE_BY.as_millis() as u64,
        "late_every": EVERY,
        "reads": READS,
        "wrong_values_of_ours": wrong,
        "rows": rows,
        "why_no_peer": why_no_peer,
    }))
}

/// Lets each client read from a unit that answers late.
pub(super) fn measure() -> Result<Value, BenchError> {
    in_runtime(false, compare())
        .map_err(|faults| BenchError::Run(super::virtual_time::told(&faults)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_answers_with_what_stands_in_its_registers() {
        assert_eq!(answer(&[3, 0, 3, 0, 2]), [3, 4, 0x5a, 0x59, 0x5a, 0x5e]);
        assert_eq!(answer(&[3, 0, 3, 0, 126]), [0x83, 1]);
        assert_eq!(answer(&[6, 0, 3, 0, 2]), [0x86, 1]);
        assert_eq!(answer(&[]), [0x80, 1]);
    }

    #[test]
    fn a_value_of_another_register_is_counted_as_wrong() {
        let mut tally = Tally::default();
        tally.note(Some(f64::from(0x5a59_u16)), 3);
        tally.note(Some(f64::from(0x5a5a_u16)), 3);
        tally.note(None, 3);
        let expected = Tally {
            right: 1,
            wrong: 1,
            lost: 1,
        };
        assert_eq!((tally, tally.reads()), (expected, 3));
    }
}
