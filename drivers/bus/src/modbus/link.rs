//! The guarded link: one transaction at a time, and never an answer to another question.
//!
//! Responsible for asking one request and believing only its own answer: unit,
//! function, length and echo are checked; after a time-out or a damaged answer an
//! RTU line is kept silent until a late answer has passed and is then proved in
//! step again by a request of another length; a TCP connection is closed and opened
//! anew. It is not responsible for what is asked or when (see `plan`), nor for what
//! the words mean (see `codec`).
//!
//! Limit: RTU frames carry no transaction number. A late answer is told apart by
//! silence, order and length; one that overtakes another on the way cannot be.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use model::Flaw;
use profile::modbus::Table;
use tokio::time::Instant;
use tokio_modbus::client::{self, Client};
use tokio_modbus::slave::{Slave, SlaveContext};
use tokio_modbus::{Request, Response};

use super::dial::{DialError, Opened, dial};
use super::guard::{GuardedIo, NotQuiet};
use crate::{BusStats, Endpoint};

/// Shortest back-off after a failure. Chosen: does not hurry a device that restarts its server.
const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// Longest back-off. Chosen: an operator who plugs the cable in again waits half a minute at most.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Jitter of the back-off, as a fraction either way. Chosen: keeps many links from dialling in step.
const BACKOFF_JITTER: f64 = 0.2;

/// Shortest silence between RTU frames. Source: Modbus over Serial Line V1.02, 2.5.1.1 (above 19200 baud).
const SILENCE_MIN: Duration = Duration::from_micros(1750);

/// Bits on the line per byte: start, eight data, parity or second stop, stop.
/// Source: Modbus over Serial Line V1.02, 2.5.1.
const BITS_PER_BYTE: f64 = 11.0;

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Read registers or bits.
    Read {
        /// Table.
        table: Table,
        /// First register, zero-based.
        address: u16,
        /// How many.
        count: u16,
    },
    /// Function 16.
    WriteRegisters {
        /// First register, zero-based.
        address: u16,
        /// What is written.
        words: &'a [u16],
    },
    /// Function 5.
    WriteCoil {
        /// The coil, zero-based.
        address: u16,
        /// Whether it is set.
        on: bool,
    },
}

impl Ask<'_> {
    fn request(&self) -> Request<'_> {
        match *self {
            Self::Read {
                table,
                address,
                count,
            } => match table {
                Table::Holding => Request::ReadHoldingRegisters(address, count),
                Table::Input => Request::ReadInputRegisters(address, count),
                Table::Coil => Request::ReadCoils(address, count),
                Table::Discrete => Request::ReadDiscreteInputs(address, count),
            },
            Self::WriteRegisters { address, words } => {
                Request::WriteMultipleRegisters(address, Cow::Borrowed(words))
            }
            Self::WriteCoil { address, on } => Request::WriteSingleCoil(address, on),
        }
    }

    /// What the answer looks like on the line: its function and its length in bytes, checksum included.
    fn shape(&self) -> Shape {
        let (function, bytes) = match *self {
            Self::Read { table, count, .. } => match table {
                Table::Holding => (3, 5 + 2 * usize::from(count)),
                Table::Input => (4, 5 + 2 * usize::from(count)),
                Table::Coil => (1, 5 + usize::from(count).div_ceil(8)),
                Table::Discrete => (2, 5 + usize::from(count).div_ceil(8)),
            },
            Self::WriteRegisters { .. } => (16, 8),
            Self::WriteCoil { .. } => (5, 8),
        };
        Shape { function, bytes }
    }

    /// Bytes of the request on an RTU line.
    fn request_bytes(&self) -> usize {
        match self {
            Self::Read { .. } | Self::WriteCoil { .. } => 8,
            Self::WriteRegisters { words, .. } => 9 + 2 * words.len(),
        }
    }

    /// The words of a response, if it is the answer to this request.
    fn accept(&self, response: Response) -> Result<Vec<u16>, String> {
        let expected = |what: &str, got: String| Err(format!("expected {what}, got {got}"));
        match (*self, response) {
            (
                Self::Read {
                    table: Table::Holding,
                    count,
                    ..
                },
                Response::ReadHoldingRegisters(words),
            )
            | (
                Self::Read {
                    table: Table::Input,
                    count,
                    ..
                },
                Response::ReadInputRegisters(words),
            ) => {
                if words.len() == usize::from(count) {
                    Ok(words)
                } else {
                    expected(&format!("{count} registers"), words.len().to_string())
                }
            }
            (
                Self::Read {
                    table: Table::Coil,
                    count,
                    ..
                },
                Response::ReadCoils(bits),
            )
            | (
                Self::Read {
                    table: Table::Discrete,
                    count,
                    ..
                },
                Response::ReadDiscreteInputs(bits),
            ) => {
                // Bits come in whole bytes; those beyond the count are padding.
                if bits.len() == usize::from(count).div_ceil(8) * 8 {
                    let bits = bits.iter().take(count.into());
                    Ok(bits.map(|b| u16::from(*b)).collect())
                } else {
                    expected(&format!("{count} bits"), bits.len().to_string())
                }
            }
            (
                Self::WriteRegisters { address, words },
                Response::WriteMultipleRegisters(echo, count),
            ) => {
                if echo == address && usize::from(count) == words.len() {
                    Ok(Vec::new())
                } else {
                    expected(
                        &format!("an echo of {} registers at {address}", words.len()),
                        format!("{count} at {echo}"),
                    )
                }
            }
            (Self::WriteCoil { address, on }, Response::WriteSingleCoil(echo, state)) => {
                if echo == address && state == on {
                    Ok(Vec::new())
                } else {
                    expected(
                        &format!("an echo of coil {address} = {on}"),
                        format!("{echo} = {state}"),
                    )
                }
            }
            (_, other) => expected("another function", format!("{:?}", other.function_code())),
        }
    }
}

/// Function and length of an answer: what tells a late one from the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    function: u8,
    bytes: usize,
}

/// Time a transaction may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time to wait for an answer, besides its time on the wire.
    pub timeout: Duration,
    /// Silence before a request.
    pub min_gap: Duration,
    /// How long after a failure a late answer may still come.
    pub late_window: Duration,
}

/// An answer with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The words read (a bit is 0 or 1); none for a write.
    pub words: Vec<u16>,
    /// Time from the request to the answer.
    pub round_trip: Duration,
}

/// Why there is no answer to believe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Nothing came in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// Something came that is not the answer.
    #[error("damaged or foreign answer: {0}")]
    Corrupt(String),
    /// The device refused.
    #[error("the device refused with exception {0:#04x} ({name})", name = exception_name(*.0))]
    Exception(u8),
    /// There is no link.
    #[error("the link is down: {0}")]
    Down(String),
}

impl LinkError {
    /// The flaw of the samples that were not read.
    #[must_use]
    pub fn flaw(&self) -> Flaw {
        match self {
            Self::Timeout(_) => Flaw::Timeout,
            Self::Corrupt(_) => Flaw::Corrupt,
            Self::Exception(code) => Flaw::Exception(*code),
            Self::Down(_) => Flaw::Offline,
        }
    }
}

/// The name of an exception. Source: Modbus Application Protocol V1.1b3, 7.
fn exception_name(code: u8) -> &'static str {
    match code {
        1 => "illegal function",
        2 => "illegal data address",
        3 => "illegal data value",
        4 => "device failure",
        5 => "acknowledge, still working",
        6 => "device busy",
        8 => "memory parity error",
        0x0A => "gateway path unavailable",
        0x0B => "gateway target does not respond",
        _ => "not in the standard",
    }
}

/// How a link came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connected {
    /// It was lost, or is the first one: devices may have changed.
    Anew,
    /// It was closed by us to get back in step.
    Resumed,
}

type Dialing = Pin<Box<dyn Future<Output = Result<Opened, DialError>> + Send>>;

enum Wire {
    Down { retry_at: Instant },
    Dialing(Dialing),
    Tcp(client::Context),
    Rtu(GuardedIo),
}

/// One link with its guard.
pub struct ModbusLink {
    endpoint: Endpoint,
    rtu: bool,
    warm_up: Duration,
    /// Bits per second, if it is known.
    baud: Option<u32>,
    wire: Wire,
    /// Whether the link was lost rather than closed by us.
    lost: bool,
    connected_before: bool,
    failures: u32,
    jitter: Jitter,
    /// An RTU line is kept silent until then.
    quarantine_until: Instant,
    /// TCP: end of the last transaction.
    last_end: Instant,
    /// Units whose answer to a request of this shape may still be on its way.
    suspects: BTreeMap<u8, Shape>,
    probes: u16,
    stats: Arc<BusStats>,
}

impl ModbusLink {
    /// A link that is not open yet. `baud` paces an RTU line; `warm_up` is waited after each opening.
    #[must_use]
    pub fn new(
        endpoint: Endpoint,
        rtu: bool,
        baud: Option<u32>,
        warm_up: Duration,
        seed: u64,
        stats: Arc<BusStats>,
    ) -> Self {
        let now = Instant::now();
        Self {
            endpoint,
            rtu,
            warm_up,
            baud,
            wire: Wire::Down { retry_at: now },
            lost: true,
            connected_before: false,
            failures: 0,
            jitter: Jitter(seed),
            quarantine_until: now,
            last_end: now,
            suspects: BTreeMap::new(),
            probes: 0,
            stats,
        }
    }

    /// Whether requests can be sent.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.wire, Wire::Tcp(_) | Wire::Rtu(_))
    }

    /// Whether it runs in RTU framing.
    #[must_use]
    pub fn is_rtu(&self) -> bool {
        self.rtu
    }

    /// Time for which the line is of no use after a failed transaction.
    #[must_use]
    pub fn aftermath(&self, late_window: Duration) -> Duration {
        if self.rtu {
            late_window
        } else {
            BACKOFF_MIN + self.warm_up
        }
    }

    /// Opens the link, after the back-off. May be dropped and called again without loss.
    ///
    /// # Errors
    /// When the attempt has failed; the next call makes the next attempt.
    pub async fn connect(&mut self) -> Result<Connected, DialError> {
        loop {
            match &mut self.wire {
                Wire::Down { retry_at } => {
                    tokio::time::sleep_until(*retry_at).await;
                    let dialing = dial(self.endpoint.clone(), self.warm_up);
                    self.wire = Wire::Dialing(Box::pin(dialing));
                }
                Wire::Dialing(dialing) => match dialing.await {
                    Ok(opened) => {
                        self.wire = attach(opened, self.rtu);
                        self.suspects.clear();
                        if std::mem::replace(&mut self.connected_before, true) {
                            BusStats::add(&self.stats.reconnects, 1);
                        }
                    }
                    Err(error) => {
                        self.fall(true);
                        return Err(error);
                    }
                },
                Wire::Tcp(_) | Wire::Rtu(_) => {
                    return Ok(if std::mem::take(&mut self.lost) {
                        Connected::Anew
                    } else {
                        Connected::Resumed
                    });
                }
            }
        }
    }

    /// Asks one request and gives back its answer, or nothing.
    ///
    /// # Errors
    /// When no answer came that can be believed. The link may be down then: see [`Self::is_up`].
    pub async fn transact(
        &mut self,
        unit: u8,
        ask: Ask<'_>,
        timing: Timing,
    ) -> Result<Answer, LinkError> {
        let begin = Instant::now();
        let result = match &self.wire {
            Wire::Tcp(_) => self.transact_tcp(unit, ask, timing).await,
            Wire::Rtu(port) => {
                let port = port.clone();
                self.transact_rtu(&port, unit, ask, timing).await
            }
            Wire::Down { .. } | Wire::Dialing(_) => {
                return Err(LinkError::Down("not connected".to_owned()));
            }
        };
        self.last_end = Instant::now();
        let busy = (self.last_end - begin).as_nanos();
        BusStats::add(
            &self.stats.busy_nanos,
            u64::try_from(busy).unwrap_or(u64::MAX),
        );
        if let Ok(_) | Err(LinkError::Exception(_)) = result {
            self.failures = 0;
        }
        if let Err(LinkError::Down(_)) = result {
            self.fall(true);
        }
        result
    }

    async fn transact_tcp(
        &mut self,
        unit: u8,
        ask: Ask<'_>,
        timing: Timing,
    ) -> Result<Answer, LinkError> {
        if !timing.min_gap.is_zero() {
            tokio::time::sleep_until(self.last_end + timing.min_gap).await;
        }
        let Wire::Tcp(context) = &mut self.wire else {
            return Err(LinkError::Down("not connected".to_owned()));
        };
        context.set_slave(Slave(unit));
        let result = exchange(context, ask, timing.timeout, &self.stats).await;
        count(&self.stats, &result);
        if let Err(LinkError::Timeout(_) | LinkError::Corrupt(_)) = result {
            // The connection is out of step for ever now; only a new one is in step.
            self.fall(false);
        }
        result
    }

    async fn transact_rtu(
        &mut self,
        port: &GuardedIo,
        unit: u8,
        ask: Ask<'_>,
        timing: Timing,
    ) -> Result<Answer, LinkError> {
        let shape = ask.shape();
        if self.suspects.get(&unit) == Some(&shape) {
            self.prove_in_step(port, unit, ask, timing).await?;
        }
        let result = self.exchange_rtu(port, unit, ask, timing).await;
        match result {
            // An answer of another shape than the missing one: that one is not on its way any more.
            Ok(_) => drop(self.suspects.remove(&unit)),
            Err(LinkError::Timeout(_) | LinkError::Corrupt(_)) => {
                self.suspects.insert(unit, shape);
            }
            Err(LinkError::Exception(_) | LinkError::Down(_)) => {}
        }
        result
    }

    /// Asks something whose answer looks different from the one that is missing.
    ///
    /// A line keeps the order of answers: once this one is in, no older one is on its way.
    async fn prove_in_step(
        &mut self,
        port: &GuardedIo,
        unit: u8,
        ask: Ask<'_>,
        timing: Timing,
    ) -> Result<(), LinkError> {
        self.probes = self.probes.wrapping_add(1);
        let Some(probe) = probe(ask, self.probes) else {
            return Ok(());
        };
        let same_function = probe.shape().function == ask.shape().function;
        match self.exchange_rtu(port, unit, probe, timing).await {
            Ok(_) => {}
            // An exception has no length: it may be the missing answer. Let the other one pass by, too.
            Err(LinkError::Exception(_)) if same_function => {
                self.quarantine_until = Instant::now() + timing.late_window;
            }
            Err(LinkError::Exception(_)) => {}
            Err(error) => return Err(error),
        }
        self.suspects.remove(&unit);
        Ok(())
    }

    async fn exchange_rtu(
        &mut self,
        port: &GuardedIo,
        unit: u8,
        ask: Ask<'_>,
        timing: Timing,
    ) -> Result<Answer, LinkError> {
        let gap = self.silence().max(timing.min_gap);
        let thrown = port.drain(self.quarantine_until, gap).await;
        if !matches!(thrown, Ok(0)) {
            BusStats::add(&self.stats.corrupt, 1);
        }
        match thrown {
            Ok(_) => {}
            Err(NotQuiet::Gone(error)) => return Err(LinkError::Down(error.to_string())),
            Err(NotQuiet::Babble) => {
                return Err(LinkError::Corrupt(
                    "the line does not fall silent".to_owned(),
                ));
            }
        }
        port.begin();
        // A fresh client per transaction: no decoder state outlives its request.
        let mut context = client::rtu::attach_slave(port.clone(), Slave(unit));
        let timeout = timing.timeout + self.wire_time(ask);
        let mut result = exchange(&mut context, ask, timeout, &self.stats).await;
        let received = port.received();
        let expected = match &result {
            Ok(_) => ask.shape().bytes,
            Err(LinkError::Exception(_)) => EXCEPTION_BYTES,
            Err(LinkError::Timeout(_)) => 0,
            Err(LinkError::Corrupt(_) | LinkError::Down(_)) => received,
        };
        if received != expected {
            // A right frame behind or before other bytes may be the answer to an older question,
            // and bytes that never became a frame are noise, not silence.
            let text = match result {
                Err(LinkError::Timeout(_)) => format!("{received} bytes came, but no sound frame"),
                _ => format!("{received} bytes came instead of {expected}"),
            };
            result = Err(LinkError::Corrupt(text));
        }
        if port.ended() {
            result = Err(LinkError::Down("the port has gone".to_owned()));
        }
        count(&self.stats, &result);
        if let Err(LinkError::Timeout(_) | LinkError::Corrupt(_)) = result {
            self.quarantine_until = Instant::now() + timing.late_window;
        }
        result
    }

    /// Silence that ends a frame: 3.5 characters. Source: Modbus over Serial Line V1.02, 2.5.1.1.
    fn silence(&self) -> Duration {
        let characters =
            |baud: u32| Duration::from_secs_f64(3.5 * BITS_PER_BYTE / f64::from(baud.max(1)));
        self.baud.map_or(SILENCE_MIN, characters).max(SILENCE_MIN)
    }

    /// Time that request and answer take on the line.
    fn wire_time(&self, ask: Ask<'_>) -> Duration {
        let bytes = (ask.request_bytes() + ask.shape().bytes) as f64;
        self.baud.map_or(Duration::ZERO, |baud| {
            Duration::from_secs_f64(bytes * BITS_PER_BYTE / f64::from(baud.max(1)))
        })
    }

    /// Closes the link and sets the time of the next attempt.
    fn fall(&mut self, lost: bool) {
        self.lost |= lost;
        self.failures = self.failures.saturating_add(1);
        let doubled = BACKOFF_MIN * 2_u32.pow((self.failures - 1).min(16));
        let factor = 1.0 + BACKOFF_JITTER * self.jitter.next_signed();
        let wait = doubled.min(BACKOFF_MAX).mul_f64(factor);
        self.wire = Wire::Down {
            retry_at: Instant::now() + wait,
        };
    }
}

/// Bytes of an exception on an RTU line: unit, function, code, checksum.
const EXCEPTION_BYTES: usize = 5;

fn attach(opened: Opened, rtu: bool) -> Wire {
    // The unit is set before each request.
    let unit = Slave(1);
    match (opened, rtu) {
        (Opened::Serial(port), _) => Wire::Rtu(GuardedIo::new(port)),
        (Opened::Tcp(stream), true) => Wire::Rtu(GuardedIo::new(stream)),
        (Opened::Memory(stream), true) => Wire::Rtu(GuardedIo::new(stream)),
        (Opened::Tcp(stream), false) => Wire::Tcp(client::tcp::attach_slave(stream, unit)),
        (Opened::Memory(stream), false) => Wire::Tcp(client::tcp::attach_slave(stream, unit)),
    }
}

/// One request through a client, checked.
async fn exchange(
    context: &mut client::Context,
    ask: Ask<'_>,
    timeout: Duration,
    stats: &BusStats,
) -> Result<Answer, LinkError> {
    BusStats::add(&stats.requests, 1);
    let sent = Instant::now();
    let outcome = tokio::time::timeout(timeout, context.call(ask.request())).await;
    let result = match outcome {
        Err(_) => Err(LinkError::Timeout(timeout)),
        Ok(Ok(Ok(response))) => ask.accept(response).map_err(LinkError::Corrupt),
        Ok(Ok(Err(exception))) => Err(LinkError::Exception(exception.into())),
        Ok(Err(tokio_modbus::Error::Protocol(error))) => Err(LinkError::Corrupt(error.to_string())),
        Ok(Err(tokio_modbus::Error::Transport(error))) => Err(match error.kind() {
            std::io::ErrorKind::InvalidData => LinkError::Corrupt(error.to_string()),
            _ => LinkError::Down(error.to_string()),
        }),
    };
    result.map(|words| Answer {
        words,
        round_trip: sent.elapsed(),
    })
}

/// Counts an outcome.
fn count(stats: &BusStats, result: &Result<Answer, LinkError>) {
    match result {
        Ok(_) => BusStats::add(&stats.answers, 1),
        Err(LinkError::Timeout(_)) => BusStats::add(&stats.timeouts, 1),
        Err(LinkError::Corrupt(_)) => BusStats::add(&stats.corrupt, 1),
        Err(LinkError::Exception(_)) => BusStats::add(&stats.exceptions, 1),
        Err(LinkError::Down(_)) => {}
    }
}

/// A request whose answer has another shape than that of `ask`; the lengths take turns, so that
/// the late answer to one probe is not taken for that to the next.
fn probe(ask: Ask<'_>, turn: u16) -> Option<Ask<'static>> {
    let Ask::Read {
        table,
        address,
        count,
    } = ask
    else {
        // A late echo repeats what was written: it cannot be mistaken for anything else.
        return None;
    };
    let turn = turn % 4;
    Some(match table {
        Table::Holding | Table::Input => {
            let other = if count > 4 {
                count - 1 - turn
            } else {
                // One to five registers without the count itself.
                let candidate = 1 + turn;
                candidate + u16::from(candidate >= count)
            };
            let address = address.min(u16::MAX - other);
            Ask::Read {
                table,
                address,
                count: other,
            }
        }
        // Few bits fit in one byte whatever their number: another function it must be.
        Table::Coil | Table::Discrete => Ask::Read {
            table: Table::Holding,
            address: 0,
            count: 1 + turn,
        },
    })
}

/// Small seeded noise (splitmix64), so that virtual time is deterministic.
#[derive(Clone, Copy, Debug)]
struct Jitter(u64);

impl Jitter {
    /// The next number between -1 and 1.
    fn next_signed(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}
