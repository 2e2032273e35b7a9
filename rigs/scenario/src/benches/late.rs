//! `late-replies`: how many wrong values are believed when answers come too late or broken.
//!
//! A unit answers every tenth read after the client has given up. A frame on a serial line
//! carries no number, so a client that asks on at once takes the old answer for the new
//! question's. In the longest trial answers are late by any time, garbage, or of a wrong
//! length. Each register holds a value of its own, so a wrong one is seen. Ours is the
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

/// How a unit answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manners {
    /// At once.
    Good,
    /// Every so many reads by so much later than the time-out.
    Late {
        /// Every such read.
        every: u64,
        /// Time from request to answer.
        after: Duration,
    },
    /// By chance: late by up to another time-out, garbage, or a register too few or too many.
    Broken {
        /// The time-out of the reads.
        timeout: Duration,
    },
}

/// What every client has to do.
#[derive(Clone, Copy, Debug)]
struct Trial {
    name: &'static str,
    /// Reads of each client.
    reads: u64,
    /// Pause of a peer between two reads.
    gap: Duration,
    timeout: Duration,
    /// Time in which our bus expects late answers.
    late_window: Duration,
    manners: Manners,
}

/// Twenty late answers among two hundred, 30 ms late, as a device is that writes its flash in between;
/// time-out and window are usual for a meter on a serial line.
const fn late(name: &'static str, gap_ms: u64) -> Trial {
    Trial {
        name,
        reads: 200,
        gap: Duration::from_millis(gap_ms),
        timeout: Duration::from_millis(100),
        late_window: Duration::from_millis(200),
        manners: Manners::Late {
            every: 10,
            after: Duration::from_millis(130),
        },
    }
}

/// Ten thousand reads with a short time-out, so that it ends within a minute.
/// Chosen: the window is twice the time by which answers are late.
const BROKEN: Trial = Trial {
    name: "10000 reads, 6 in 100 broken",
    reads: 10_000,
    gap: Duration::ZERO,
    timeout: Duration::from_millis(10),
    late_window: Duration::from_millis(20),
    manners: Manners::Broken {
        timeout: Duration::from_millis(10),
    },
};

const TRIALS: [Trial; 4] = [
    late("every tenth answer late, reads at once", 0),
    late("every tenth answer late, 10 ms between reads", 10),
    late("every tenth answer late, 50 ms between reads", 50),
    BROKEN,
];

/// Of a hundred answers of a unit with broken manners, so many are late, garbage, of a wrong length.
/// Chosen: a line that an electrician would be called for.
const BROKEN_IN_100: (u64, u64, u64) = (2, 4, 6);

/// Registers that are read in turn, and their distance, so that each takes a request of its own.
const ADDRESSES: u16 = 10;
const SPREAD: u16 = 3;

/// Longest time that ours may take. Chosen: some times what it needs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Pause between two looks at what ours has read. Chosen: short against the whole.
const LOOK: Duration = Duration::from_millis(10);

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

/// A unit with these manners; it answers in order, and ends with the runtime.
pub(super) async fn unit(framing: Framing, manners: Manners) -> Result<u16, BenchError> {
    let failed = "no port for the unit with the late answers";
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .map_err(BenchError::system(failed))?;
    let port = listener.local_addr().map_err(BenchError::system(failed))?;
    let reads = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, framing, manners, Arc::clone(&reads)));
        }
    });
    Ok(port.port())
}

/// What a unit does with the answer to its `turn`-th request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    After(Duration),
    Garbage(usize),
    Shorter,
    Longer,
}

/// The same for the same turn (splitmix64).
fn deed(manners: Manners, turn: u64) -> Deed {
    let mut z = turn.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let chance = z ^ (z >> 31);
    let share = (chance >> 32) as f64 / f64::from(u32::MAX);
    match manners {
        Manners::Late { every, after } if turn.is_multiple_of(every) => Deed::After(after),
        Manners::Broken { timeout } => match chance % 100 {
            n if n < BROKEN_IN_100.0 => Deed::After(timeout.mul_f64(1.0 + share)),
            n if n < BROKEN_IN_100.1 => Deed::Garbage((20.0 * share) as usize + 1),
            n if n < BROKEN_IN_100.2 && share < 0.5 => Deed::Shorter,
            n if n < BROKEN_IN_100.2 => Deed::Longer,
            _ => Deed::After(Duration::ZERO),
        },
        Manners::Good | Manners::Late { .. } => Deed::After(Duration::ZERO),
    }
}

/// An answer with another number of registers, in itself well-formed.
fn resized(mut pdu: Vec<u8>, longer: bool) -> Vec<u8> {
    if let [3, count, ..] = pdu.as_mut_slice() {
        if longer {
            *count += 2;
            pdu.extend([0x13, 0x37]);
        } else {
            *count -= 2;
            pdu.truncate(pdu.len() - 2);
        }
    }
    pdu
}

async fn serve(mut stream: TcpStream, framing: Framing, manners: Manners, reads: Arc<AtomicU64>) {
    // A refusal costs only time.
    stream.set_nodelay(true).ok();
    let mut buffer = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut buffer).await {
        while let Some(request) = framing.take(&mut buffer) {
            let turn = reads.fetch_add(1, Ordering::Relaxed) + 1;
            let right = answer(&request.pdu);
            let wrapped = |pdu: &[u8]| request.wrap.bytes(request.unit, pdu);
            let bytes = match deed(manners, turn) {
                Deed::After(delay) => {
                    if !delay.is_zero() {
                        tokio::time::sleep(delay).await;
                    }
                    wrapped(&right)
                }
                Deed::Garbage(count) => vec![0x55; count],
                Deed::Shorter => wrapped(&resized(right, false)),
                Deed::Longer => wrapped(&resized(right, true)),
            };
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

async fn ours(port: u16, framing: Framing, trial: Trial) -> Tally {
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
        timeout: trial.timeout,
        late_window: trial.late_window,
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
    let every = (trial.gap * u32::from(ADDRESSES)).max(Duration::from_millis(1));
    let device = BusDevice {
        ix: DeviceIx(0),
        id: "late-unit".into(),
        profile: profile("bench/late-unit", &places, times),
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
    let clock = Arc::new(SystemClock::start());
    let running = bus::start(spec, vec![device], clock, auditor.clone());
    let begin = Instant::now();
    while auditor.tally().reads() < trial.reads && begin.elapsed() < PATIENCE {
        tokio::time::sleep(LOOK).await;
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

async fn plain(port: u16, framing: Framing, trial: Trial) -> Result<Tally, BenchError> {
    let mut tally = Tally::default();
    let mut context = connect(port, framing).await?;
    for turn in 0..trial.reads {
        let address = SPREAD * (turn % u64::from(ADDRESSES)) as u16;
        let read = context.read_holding_registers(address, 1);
        match tokio::time::timeout(trial.timeout, read).await {
            Ok(Ok(Ok(words))) => tally.note(words.first().copied().map(f64::from), address),
            Ok(Ok(Err(_))) | Err(_) => tally.note(None, address),
            Ok(Err(_)) => {
                tally.note(None, address);
                context = connect(port, framing).await?;
            }
        }
        if !trial.gap.is_zero() {
            tokio::time::sleep(trial.gap).await;
        }
    }
    Ok(tally)
}

fn pymodbus(port: u16, framing: Framing, trial: Trial) -> Result<Tally, String> {
    let framer = match framing {
        Framing::Rtu => "rtu",
        Framing::Tcp => "socket",
    };
    let arguments = [
        ("--framer", framer.to_owned()),
        ("--port", port.to_string()),
        ("--timeout", trial.timeout.as_secs_f64().to_string()),
        ("--gap", trial.gap.as_secs_f64().to_string()),
        ("--reads", trial.reads.to_string()),
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

fn row(trial: Trial, framing: Framing, client: &str, tally: Tally, took: Duration) -> Value {
    json!({
        "trial": trial.name,
        "framing": match framing {
            Framing::Rtu => "rtu over tcp",
            Framing::Tcp => "modbus tcp",
        },
        "client": client,
        "right": tally.right,
        "wrong": tally.wrong,
        "lost": tally.lost,
        "wall_s": rounded(took.as_secs_f64()),
    })
}

/// What a client made of it, and how long it took.
async fn timed<T>(client: impl Future<Output = T>) -> (T, Duration) {
    let begin = Instant::now();
    let result = client.await;
    (result, begin.elapsed())
}

async fn compare() -> Result<Value, BenchError> {
    let mut rows = Vec::new();
    let mut why_no_peer = None;
    let mut wrong = 0;
    for (trial, framing) in TRIALS
        .into_iter()
        .flat_map(|t| [(t, Framing::Rtu), (t, Framing::Tcp)])
    {
        // Each client has a unit of its own, so that all see the same answers late, and they run
        // beside each other, so that all see the same machine.
        let (own_port, plain_port, py_port) = (
            unit(framing, trial.manners).await?,
            unit(framing, trial.manners).await?,
            unit(framing, trial.manners).await?,
        );
        let peer = tokio::task::spawn_blocking(move || {
            let begin = Instant::now();
            (pymodbus(py_port, framing, trial), begin.elapsed())
        });
        let (own, bare, peer) = tokio::join!(
            timed(ours(own_port, framing, trial)),
            timed(plain(plain_port, framing, trial)),
            peer,
        );
        wrong += own.0.wrong;
        rows.push(row(trial, framing, "gridrig", own.0, own.1));
        rows.push(row(trial, framing, "tokio-modbus", bare.0?, bare.1));
        match peer {
            Ok((Ok(tally), took)) => rows.push(row(trial, framing, "pymodbus", tally, took)),
            Ok((Err(why), _)) => why_no_peer = Some(why),
            Err(panic) => why_no_peer = Some(panic.to_string()),
        }
    }
    Ok(json!({
        "bench": "late-replies",
        "wrong_values_of_ours": wrong,
        "rows": rows,
        "why_no_peer": why_no_peer,
    }))
}

/// Lets each client read from a unit that answers late.
pub(super) fn measure() -> Result<Value, BenchError> {
    if cfg!(debug_assertions) {
        let why = "a development build of tokio-modbus stops at an answer of a wrong length; \
                   measure with `cargo run --release -- bench late-replies`";
        return Err(BenchError::Run(why.to_owned()));
    }
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
    fn broken_manners_are_as_frequent_as_is_said_and_the_same_each_time() {
        let timeout = Duration::from_millis(10);
        let deeds: Vec<Deed> = (0..10_000)
            .map(|turn| deed(Manners::Broken { timeout }, turn))
            .collect();
        let count = |of: fn(&Deed) -> bool| deeds.iter().filter(|d| of(d)).count();
        for (found, expected) in [
            (count(|d| matches!(d, Deed::After(t) if !t.is_zero())), 200),
            (count(|d| matches!(d, Deed::Garbage(_))), 200),
            (count(|d| matches!(d, Deed::Shorter | Deed::Longer)), 200),
        ] {
            assert!((expected - 50..expected + 50).contains(&found), "{found}");
        }
        let late = deeds.iter().filter_map(|d| match d {
            Deed::After(t) if !t.is_zero() => Some(*t),
            _ => None,
        });
        assert!(late.clone().all(|t| t >= timeout && t <= 2 * timeout));
        assert_eq!(resized(vec![3, 4, 1, 2, 3, 4], false), [3, 2, 1, 2]);
        assert_eq!(resized(vec![3, 2, 1, 2], true), [3, 4, 1, 2, 0x13, 0x37]);
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
