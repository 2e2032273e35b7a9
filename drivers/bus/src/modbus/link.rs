//! The guarded link: one transaction at a time, and never an answer to another question.
//!
//! Responsible for asking one request and believing only its own answer: unit,
//! function, length and echo are checked; after a time-out or a damaged answer an
//! RTU line is kept silent until a late answer has passed and is then proved in
//! step again by a request of another length. On a TCP connection a late answer is
//! known by its number and awaited; after a damaged or foreign one, or when nothing
//! comes any more, the connection is opened anew. It is not responsible for what is
//! asked or when (see `plan`), nor for what the words mean (see `codec`).
//!
//! Limit: RTU frames carry no number, nor do those of gateways that do not repeat it. A
//! late answer is told apart by silence, order and length; one that overtakes another on
//! the way cannot be.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use model::Flaw;
use tokio::time::Instant;
use tokio_modbus::client::{self, Client};
use tokio_modbus::slave::Slave;

pub use super::ask::Ask;
use super::ask::{Shape, probe};
use super::deadline::Deadline;
use super::dial::{DialError, Opened, dial};
use super::gate::{Gate, Numbers};
use super::guard::{GuardedIo, NotQuiet};
use crate::{BusStats, Endpoint, Framing};

/// Shortest back-off after a failure. Chosen: does not hurry a device that restarts its server.
const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// Longest back-off. Chosen: an operator who plugs the cable in again waits half a minute at most.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Jitter of the back-off, as a fraction either way. Chosen: keeps many links from dialling in step.
const BACKOFF_JITTER: f64 = 0.2;

/// Transactions without a single byte after which a connection counts as dead at the other end.
/// Chosen: as many as put a device offline; one lost answer is noise.
const SILENCES_MAX: u8 = 3;

/// A connection that the other end closes sooner than this was brief.
/// Chosen: two programs that push each other out of a device do so at every retry, within seconds.
const BRIEF: Duration = Duration::from_secs(10);

/// Brief connections in a row before a person is told. Chosen: a restarting server gives two at most.
const BRIEF_MAX: u8 = 3;

/// Answers in a row with a foreign number before a person is told.
/// Chosen: one may come from a damaged frame, three do not.
const FOREIGN_MAX: u8 = 3;

/// Shortest silence between RTU frames. Source: Modbus over Serial Line V1.02, 2.5.1.1 (above 19200 baud).
const SILENCE_MIN: Duration = Duration::from_micros(1750);

/// Bits on the line per byte: start, eight data, parity or second stop, stop.
/// Source: Modbus over Serial Line V1.02, 2.5.1.
const BITS_PER_BYTE: f64 = 11.0;

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
    /// The same without the time that both are on the wire, where the rate is known.
    pub latency: Duration,
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
    Down {
        retry_at: Instant,
    },
    Dialing(Dialing),
    Up {
        port: GuardedIo,
        /// The client of a Modbus TCP connection; an RTU line gets a fresh one per transaction.
        client: Option<Box<dyn Client>>,
    },
}

/// One link with its guard.
pub struct ModbusLink {
    endpoint: Endpoint,
    framing: Framing,
    warm_up: Duration,
    /// Bits per second, if it is known.
    baud: Option<u32>,
    wire: Wire,
    deadline: Deadline,
    /// Whether the link was lost rather than closed by us.
    lost: bool,
    connected_before: bool,
    failures: u32,
    jitter: Jitter,
    /// The line is kept silent until then, or a late answer awaited.
    quarantine_until: Instant,
    up_since: Instant,
    /// End of the last transaction.
    last_end: Instant,
    /// How long the last transaction took, silence and proof in step included.
    busy: Duration,
    /// Units whose answer to a request of this shape may still be on its way.
    suspects: BTreeMap<u8, Shape>,
    /// The unit that has not answered, while nothing came since.
    silent_unit: Option<u8>,
    /// Transactions in a row in which not a single byte came.
    silences: u8,
    /// Connections in a row that the other end has closed soon after they were opened.
    brief: u8,
    /// Connections in a row that were given up for an answer with a foreign number.
    foreign: u8,
    probes: u16,
    late: Vec<u8>,
    stats: Arc<BusStats>,
}

impl ModbusLink {
    /// A link that is not open yet. `warm_up` is waited after each opening.
    #[must_use]
    pub fn new(
        endpoint: Endpoint,
        framing: Framing,
        warm_up: Duration,
        seed: u64,
        stats: Arc<BusStats>,
    ) -> Self {
        let now = Instant::now();
        let (framing, baud) = match (&endpoint, framing) {
            (Endpoint::Serial { settings, .. }, _) => {
                let baud = Some(settings.baud);
                (Framing::Rtu { baud }, baud)
            }
            (_, Framing::Rtu { baud }) => (framing, baud),
            (_, Framing::Tcp | Framing::TcpUnnumbered) => (framing, None),
        };
        Self {
            endpoint,
            framing,
            warm_up,
            baud,
            wire: Wire::Down { retry_at: now },
            deadline: Deadline::new(now),
            lost: true,
            connected_before: false,
            failures: 0,
            jitter: Jitter(seed),
            quarantine_until: now,
            up_since: now,
            last_end: now,
            busy: Duration::ZERO,
            suspects: BTreeMap::new(),
            silent_unit: None,
            silences: 0,
            brief: 0,
            foreign: 0,
            probes: 0,
            late: Vec::new(),
            stats,
        }
    }

    /// Whether requests can be sent.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.wire, Wire::Up { .. })
    }

    /// Whether it runs in RTU framing.
    #[must_use]
    pub fn is_rtu(&self) -> bool {
        matches!(self.framing, Framing::Rtu { .. })
    }

    /// Whether each answer repeats the number of its request.
    fn is_numbered(&self) -> bool {
        self.framing == Framing::Tcp
    }

    /// Whether it is a line of this machine, which nobody at the other end can close.
    fn is_line(&self) -> bool {
        match self.endpoint {
            Endpoint::Serial { .. } => true,
            // In virtual time a stream stands in for both.
            Endpoint::Memory(_) => self.is_rtu(),
            _ => false,
        }
    }

    /// The units whose late answers were thrown away since the last call.
    pub fn take_late(&mut self) -> Vec<u8> {
        if let Wire::Up { port, .. } = &self.wire {
            self.late.extend(port.take_late());
        }
        std::mem::take(&mut self.late)
    }

    /// What a person should know about the link, when it has just become clear.
    pub fn complaint(&mut self) -> Option<String> {
        let is_due = self.foreign >= FOREIGN_MAX || self.brief >= BRIEF_MAX;
        if !is_due || self.is_line() {
            return None;
        }
        let server = match &self.endpoint {
            Endpoint::Tcp { host, port } => format!("{host}:{port}"),
            _ => "the server".to_owned(),
        };
        if self.foreign >= FOREIGN_MAX {
            self.foreign = 0;
            return Some(format!(
                "{server} answers with numbers that no request has; if it is a gateway that does not repeat transaction numbers, say tid = \"ignore\" at the bus in the rig"
            ));
        }
        self.brief = 0;
        Some(format!(
            "{server} closes each connection soon after it was opened; many devices serve one client only: end the other program that reads this device"
        ))
    }

    /// When the last transaction ended, and how long it took.
    #[must_use]
    pub fn last(&self) -> (Instant, Duration) {
        (self.last_end, self.busy)
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
                        self.wire = attach(opened, self.framing);
                        self.suspects.clear();
                        self.silences = 0;
                        self.up_since = Instant::now();
                        if std::mem::replace(&mut self.connected_before, true) {
                            BusStats::add(&self.stats.reconnects, 1);
                        }
                    }
                    Err(error) => {
                        self.fall(true);
                        return Err(error);
                    }
                },
                Wire::Up { .. } => {
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
        let result = self.transact_in_step(unit, ask, timing, begin).await;
        if result.is_err() {
            self.last_end = Instant::now();
        }
        self.busy = self.last_end - begin;
        BusStats::add(
            &self.stats.busy_nanos,
            u64::try_from(self.busy.as_nanos()).unwrap_or(u64::MAX),
        );
        match result {
            Ok(_) | Err(LinkError::Exception(_)) => {
                self.failures = 0;
                self.foreign = 0;
                if self.last_end - self.up_since > BRIEF {
                    self.brief = 0;
                }
            }
            Err(LinkError::Down(_)) => {
                let brief = self.last_end - self.up_since < BRIEF;
                self.brief = if brief {
                    self.brief.saturating_add(1)
                } else {
                    0
                };
                self.fall(true);
            }
            // The stream is out of step for ever now; only a new one is in step.
            Err(LinkError::Corrupt(_)) if self.is_numbered() => {
                if let Wire::Up { port, .. } = &self.wire
                    && port.is_foreign()
                {
                    self.foreign = self.foreign.saturating_add(1);
                }
                self.fall(false);
            }
            Err(LinkError::Timeout(_)) if !self.is_line() && self.silences >= SILENCES_MAX => {
                // A server that has restarted or lost its cable does not close the old connection.
                self.fall(true);
            }
            Err(LinkError::Corrupt(_) | LinkError::Timeout(_)) => {}
        }
        result
    }

    async fn transact_in_step(
        &mut self,
        unit: u8,
        ask: Ask<'_>,
        timing: Timing,
        mut begin: Instant,
    ) -> Result<Answer, LinkError> {
        let shape = ask.shape();
        // Boxed is what seldom happens: room for it inside would be moved about with every request.
        if self.suspects.contains_key(&unit) {
            // A numbered answer may have come in the meantime.
            Box::pin(self.quiet(timing)).await?;
            if self.suspects.get(&unit) == Some(&shape) {
                Box::pin(self.prove_in_step(unit, ask, timing)).await?;
            }
            begin = Instant::now();
        }
        let result = self.exchange(unit, ask, timing, begin).await;
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
        unit: u8,
        ask: Ask<'_>,
        timing: Timing,
    ) -> Result<(), LinkError> {
        self.probes = self.probes.wrapping_add(1);
        let Some(probe) = probe(ask, self.probes) else {
            return Ok(());
        };
        let same_function = probe.shape().function == ask.shape().function;
        match self.exchange(unit, probe, timing, Instant::now()).await {
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

    /// Begins a request where there is nothing to wait for before: no gap, and no numbered answer on its
    /// way that was not asked for. Gives back whether it has begun.
    fn begin_if_quiet(&self, unit: u8, timing: Timing) -> bool {
        match &self.wire {
            Wire::Up { port, .. } if self.is_numbered() && timing.min_gap.is_zero() => {
                port.begin_if_settled(unit)
            }
            _ => false,
        }
    }

    /// Waits until nothing is on its way any more that was not asked for.
    async fn quiet(&mut self, timing: Timing) -> Result<(), LinkError> {
        let gap = self.silence().max(timing.min_gap);
        let Wire::Up { port, .. } = &self.wire else {
            return Err(LinkError::Down("not connected".to_owned()));
        };
        let quiet = if self.is_numbered() {
            let port = port.clone();
            let settled = port.settle(self.quarantine_until).await;
            if !matches!(settled, Ok(false)) {
                let late = port.take_late();
                self.suspects.retain(|unit, _| !late.contains(unit));
                self.late.extend(late);
            }
            let quiet = settled.map(|_| 0);
            if quiet.is_ok() && !timing.min_gap.is_zero() {
                tokio::time::sleep_until(self.last_end + timing.min_gap).await;
            }
            quiet
        } else {
            port.drain(self.quarantine_until, gap).await
        };
        match quiet {
            Ok(0) => Ok(()),
            Ok(_) => {
                match self.silent_unit.take() {
                    Some(unit) => self.late.push(unit),
                    None => BusStats::add(&self.stats.corrupt, 1),
                }
                Ok(())
            }
            Err(NotQuiet::Gone(error)) => Err(LinkError::Down(error.to_string())),
            Err(NotQuiet::Foreign(error)) => Err(LinkError::Corrupt(error.to_string())),
            Err(NotQuiet::Babble) => {
                BusStats::add(&self.stats.corrupt, 1);
                let text = "the line does not fall silent; check for a second master, the baud rate, and the termination";
                Err(LinkError::Corrupt(text.to_owned()))
            }
        }
    }

    /// One request and its answer. `begin` is now: the clock was looked at already.
    async fn exchange(
        &mut self,
        unit: u8,
        ask: Ask<'_>,
        timing: Timing,
        begin: Instant,
    ) -> Result<Answer, LinkError> {
        let at_once = self.begin_if_quiet(unit, timing);
        let mut begin = begin;
        if !at_once {
            Box::pin(self.quiet(timing)).await?;
            begin = Instant::now();
        }
        let wire = self.wire_time(ask);
        let timeout = timing.timeout + wire;
        let numbered = self.is_numbered();
        let more = if self.is_rtu() { 0 } else { HEADER_MORE };
        let Wire::Up { port, client } = &mut self.wire else {
            return Err(LinkError::Down("not connected".to_owned()));
        };
        if !at_once {
            port.begin(unit);
        }
        let limit = (&mut self.deadline, begin, timeout);
        let mut result = match client {
            Some(client) => {
                client.set_slave(Slave(unit));
                call(client.as_mut(), ask, limit, &self.stats).await
            }
            None => {
                // A fresh client per transaction: no decoder state outlives its request.
                let mut client = client::rtu::attach_slave(port.clone(), Slave(unit));
                call(&mut client, ask, limit, &self.stats).await
            }
        };
        let heard = port.heard();
        if let Ok(answer) = &mut result {
            // The port has looked at the clock when the answer came.
            self.last_end = heard.at;
            answer.round_trip = heard.after;
            answer.latency = answer.round_trip.saturating_sub(wire);
        }
        let (received, ended) = (heard.bytes, heard.ended);
        let expected = match &result {
            Ok(_) => ask.shape().bytes + more,
            Err(LinkError::Exception(_)) => EXCEPTION_BYTES + more,
            Err(LinkError::Timeout(_)) => 0,
            Err(LinkError::Corrupt(_) | LinkError::Down(_)) => received,
        };
        if received != expected && !numbered {
            // A right frame behind or before other bytes may be the answer to an older question,
            // and bytes that never became a frame are noise, not silence.
            let text = match result {
                Err(LinkError::Timeout(_)) => format!("{received} bytes came, but no sound frame"),
                _ => format!("{received} bytes came instead of {expected}"),
            };
            result = Err(LinkError::Corrupt(text));
        }
        if ended {
            let text = if self.is_line() {
                "the port has gone"
            } else {
                "the other end has closed the connection"
            };
            result = Err(LinkError::Down(text.to_owned()));
        }
        count(&self.stats, &result);
        self.silences = if received > 0 {
            0
        } else {
            self.silences.saturating_add(1)
        };
        self.silent_unit = match result {
            Err(LinkError::Timeout(_)) => Some(unit),
            _ => None,
        };
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
        if let Wire::Up { port, .. } = &self.wire {
            self.late.extend(port.take_late());
        }
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

/// By how many bytes a frame is longer in TCP framing: a header of six instead of a checksum of two.
const HEADER_MORE: usize = 4;

fn attach(opened: Opened, framing: Framing) -> Wire {
    let gate = match framing {
        Framing::Tcp => Some(Gate::new(Numbers::Repeated)),
        Framing::TcpUnnumbered => Some(Gate::new(Numbers::Ignored)),
        Framing::Rtu { .. } => None,
    };
    let has_header = gate.is_some();
    let port = match opened {
        Opened::Serial(port) => GuardedIo::new(port, gate),
        Opened::Tcp(stream) => GuardedIo::new(stream, gate),
        Opened::Memory(stream) => GuardedIo::new(stream, gate),
    };
    // The unit is set before each request.
    let client = has_header.then(|| client::tcp::attach_slave(port.clone(), Slave(1)).into());
    Wire::Up { port, client }
}

/// One request through a client, checked.
async fn call(
    client: &mut dyn Client,
    ask: Ask<'_>,
    (deadline, begin, timeout): (&mut Deadline, Instant, Duration),
    stats: &BusStats,
) -> Result<Answer, LinkError> {
    BusStats::add(&stats.requests, 1);
    let answer = client.call(ask.request());
    let outcome = deadline.keep(begin + timeout, answer).await;
    let result = match outcome {
        None => Err(LinkError::Timeout(timeout)),
        Some(Ok(Ok(response))) => ask.accept(response).map_err(LinkError::Corrupt),
        Some(Ok(Err(exception))) => Err(LinkError::Exception(exception.into())),
        Some(Err(tokio_modbus::Error::Protocol(error))) => {
            Err(LinkError::Corrupt(error.to_string()))
        }
        Some(Err(tokio_modbus::Error::Transport(error))) => Err(match error.kind() {
            std::io::ErrorKind::InvalidData => LinkError::Corrupt(error.to_string()),
            _ => LinkError::Down(error.to_string()),
        }),
    };
    // The port knows when bytes came and went.
    result.map(|words| Answer {
        words,
        round_trip: Duration::ZERO,
        latency: Duration::ZERO,
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
