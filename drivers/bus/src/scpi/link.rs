//! The line to one instrument: one question at a time, and never a reply to another question.
//!
//! Replies carry no number that says to which query they belong. So a reply is only believed
//! while question and answer are known to be *in step*. They are out of step at the start,
//! after a reply that did not come in time, after a damaged one, and when something arrives
//! that nobody asked for. Then `*IDN?` is asked and everything before the instrument's identity
//! is thrown away: an instrument answers in order, so what was still under way has come before,
//! and an identity is no number, so a late one can never be taken for a value. Where even that
//! is not answered, a TCP connection is closed and opened anew.
//!
//! It is not responsible for what is asked or when, nor for what a reply means (see `codec`).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use model::{DeviceIx, Flaw};
use profile::scpi::ScpiProfile;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::codec::{Cut, Lines};
use crate::arming::Permit;
use crate::modbus::dial::{DialError, Opened, dial};
use crate::{BusStats, DeviceStats, Endpoint, Sink, Traffic};

/// First wait before dialling again, and the longest.
/// Chosen: an instrument that restarts is back within a minute, and is not hurried while it does.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));

/// Looks for the step before a line that says things unasked is given up for this question.
/// Chosen: 3; a late reply is thrown away at the first look.
const STEPS_MAX: usize = 3;

/// Bytes taken from the line at once. Chosen: a reply of the usual instrument fits many times.
const CHUNK: usize = 512;

/// What went wrong with a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LinkError {
    /// No reply in time.
    #[error("no reply within {0:?}")]
    Timeout(Duration),
    /// A reply that is no text, or has no end.
    #[error("the reply is damaged")]
    Corrupt,
    /// The connection is gone.
    #[error("the connection is gone: {0}")]
    Down(String),
    /// Something answers, and it is not this instrument.
    #[error("`{reply}` does not contain `{expected}`")]
    Stranger {
        /// The reply to `*IDN?`.
        reply: String,
        /// What the profile expects in it.
        expected: String,
    },
}

impl LinkError {
    pub(super) fn flaw(&self) -> Flaw {
        match self {
            Self::Timeout(_) => Flaw::Timeout,
            Self::Corrupt => Flaw::Corrupt,
            Self::Down(_) => Flaw::Offline,
            Self::Stranger { .. } => Flaw::Config,
        }
    }
}

/// A byte stream, whatever carries it.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type Dialling = Pin<Box<dyn Future<Output = Result<Opened, DialError>> + Send>>;

/// How the line is driven.
#[derive(Clone, Debug)]
pub(super) struct Manners {
    pub(super) crlf: bool,
    pub(super) timeout: Duration,
    pub(super) min_gap: Duration,
    pub(super) warm_up: Duration,
    pub(super) identify: String,
}

impl Manners {
    pub(super) fn of(profile: &ScpiProfile, spec: &crate::BusSpec) -> Self {
        Self {
            crlf: profile.crlf,
            timeout: spec.timeout.unwrap_or(profile.timeout),
            min_gap: spec.min_gap.unwrap_or(profile.min_gap),
            warm_up: profile.connect_delay,
            identify: profile.identify.clone(),
        }
    }
}

/// The line.
pub(super) struct ScpiLink {
    endpoint: Endpoint,
    manners: Manners,
    /// The instrument, whose counters are those of its line.
    device: DeviceIx,
    stats: Arc<BusStats>,
    /// Is shown every line.
    sink: Arc<dyn Sink>,
    stream: Option<Box<dyn Stream>>,
    lines: Lines,
    /// Whether the next line is the reply to the next query.
    in_step: bool,
    dialling: Option<Dialling>,
    backoff: Duration,
    dialled_before: bool,
    free_at: Instant,
}

impl ScpiLink {
    pub(super) fn new(
        endpoint: Endpoint,
        manners: Manners,
        device: DeviceIx,
        stats: Arc<BusStats>,
        sink: Arc<dyn Sink>,
    ) -> Self {
        Self {
            endpoint,
            manners,
            device,
            stats,
            sink,
            stream: None,
            lines: Lines::default(),
            in_step: false,
            dialling: None,
            backoff: Duration::ZERO,
            dialled_before: false,
            free_at: Instant::now(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.stream.is_some()
    }

    /// Counts for the line and for its instrument.
    fn count(
        &self,
        bus: impl FnOnce(&BusStats) -> &AtomicU64,
        device: impl FnOnce(&DeviceStats) -> &AtomicU64,
        n: u64,
    ) {
        BusStats::add(bus(&self.stats), n);
        self.stats.add_to(self.device, device, n);
    }

    /// Opens the line. May be dropped and called again: the attempt goes on.
    pub(super) async fn connect(&mut self) -> Result<(), DialError> {
        let dialling = self.dialling.get_or_insert_with(|| {
            let (endpoint, warm_up) = (self.endpoint.clone(), self.manners.warm_up);
            let wait = self.backoff;
            Box::pin(async move {
                tokio::time::sleep(wait).await;
                dial(endpoint, warm_up).await
            })
        });
        let opened = dialling.as_mut().await;
        self.dialling = None;
        let (first, most) = BACKOFF;
        self.backoff = (self.backoff * 2).clamp(first, most);
        let stream: Box<dyn Stream> = match opened? {
            Opened::Tcp(stream) => Box::new(stream),
            Opened::Serial(stream) => Box::new(stream),
            Opened::Memory(stream) => Box::new(stream),
        };
        if self.dialled_before {
            BusStats::add(&self.stats.reconnects, 1);
        }
        self.dialled_before = true;
        self.stream = Some(stream);
        self.lines.clear();
        self.in_step = false;
        Ok(())
    }

    /// Asks one thing and gives the line that answers it.
    pub(super) async fn ask(&mut self, query: &str) -> Result<String, LinkError> {
        for _ in 0..STEPS_MAX {
            // What comes during the pause that the instrument is given was not asked for either.
            tokio::time::sleep_until(self.free_at).await;
            if self.in_step && !self.has_unasked().await? {
                let result = self.exchange(query).await;
                self.in_step = result.is_ok();
                return result;
            }
            self.fall_into_step().await?;
        }
        self.in_step = false;
        Err(LinkError::Corrupt)
    }

    /// Says something that has no reply: it sets something, so the bench has to be armed.
    pub(super) async fn tell(&mut self, message: &str, _: Permit) -> Result<(), LinkError> {
        if !self.in_step {
            self.fall_into_step().await?;
        }
        let end = Instant::now() + self.manners.timeout;
        self.send(message, end).await
    }

    /// The last reply made no sense: the next question begins by falling into step.
    pub(super) fn doubt(&mut self) {
        self.in_step = false;
    }

    /// Asks who is there, and throws away whatever comes before that is said.
    pub(super) async fn fall_into_step(&mut self) -> Result<String, LinkError> {
        self.in_step = false;
        self.lines.clear();
        let timeout = self.manners.timeout;
        let end = Instant::now() + timeout;
        self.send("*IDN?", end).await?;
        let mut last = None;
        loop {
            match self.next_line(end, timeout).await {
                Ok(Cut::Line(line)) if self.is_identity(&line) => {
                    self.count(|b| &b.answers, |d| &d.answers, 1);
                    self.in_step = true;
                    self.backoff = Duration::ZERO;
                    return Ok(line);
                }
                // A late number is no identity of another instrument.
                Ok(Cut::Line(line))
                    if line
                        .chars()
                        .any(|c| c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E')) =>
                {
                    last = Some(line);
                }
                Ok(Cut::Line(_)) => {}
                Ok(Cut::Garbage) => self.count(|b| &b.corrupt, |d| &d.corrupt, 1),
                Err(LinkError::Timeout(_)) => {
                    let error = match last {
                        Some(reply) => LinkError::Stranger {
                            reply,
                            expected: self.manners.identify.clone(),
                        },
                        None => LinkError::Timeout(timeout),
                    };
                    self.count(|b| &b.timeouts, |d| &d.timeouts, 1);
                    // A serial line cannot be dialled anew; what holds for it is the order of replies.
                    if !matches!(self.endpoint, Endpoint::Serial { .. }) {
                        self.stream = None;
                    }
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn is_identity(&self, line: &str) -> bool {
        line.to_ascii_lowercase()
            .contains(&self.manners.identify.to_ascii_lowercase())
    }

    async fn exchange(&mut self, query: &str) -> Result<String, LinkError> {
        let timeout = self.manners.timeout;
        let begin = Instant::now();
        let end = begin + timeout;
        self.send(query, end).await?;
        let cut = self.next_line(end, timeout).await;
        let took = begin.elapsed();
        let busy = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.count(|b| &b.busy_nanos, |d| &d.busy_nanos, busy);
        match cut {
            // A second line cannot belong to one question.
            Ok(Cut::Line(line)) if !self.lines.has_begun() => {
                self.count(|b| &b.answers, |d| &d.answers, 1);
                if let Some(stats) = self.stats.device(self.device) {
                    stats.note_round_trip(took);
                }
                Ok(line)
            }
            Ok(_) => {
                self.count(|b| &b.corrupt, |d| &d.corrupt, 1);
                Err(LinkError::Corrupt)
            }
            Err(error) => {
                if matches!(error, LinkError::Timeout(_)) {
                    self.count(|b| &b.timeouts, |d| &d.timeouts, 1);
                }
                Err(error)
            }
        }
    }

    async fn send(&mut self, message: &str, end: Instant) -> Result<(), LinkError> {
        tokio::time::sleep_until(self.free_at).await;
        self.count(|b| &b.requests, |d| &d.requests, 1);
        let terminator = if self.manners.crlf { "\r\n" } else { "\n" };
        let bytes = format!("{message}{terminator}").into_bytes();
        let Some(stream) = &mut self.stream else {
            return Err(LinkError::Down("it is not open".to_owned()));
        };
        let end = end.max(Instant::now() + self.manners.timeout);
        let sent = tokio::time::timeout_at(end, async {
            stream.write_all(&bytes).await?;
            stream.flush().await
        })
        .await;
        self.free_at = Instant::now() + self.manners.min_gap;
        match sent {
            Ok(Ok(())) => {
                self.sink.traffic(Traffic::Scpi {
                    line: Some(message),
                    is_ours: true,
                });
                Ok(())
            }
            Ok(Err(error)) => Err(self.lost(&error.to_string())),
            Err(_) => Err(self.lost("it takes nothing more")),
        }
    }

    /// The next line, or garbage in its place.
    async fn next_line(&mut self, end: Instant, timeout: Duration) -> Result<Cut, LinkError> {
        loop {
            let mut chunk = [0; CHUNK];
            let Some(stream) = &mut self.stream else {
                return Err(LinkError::Down("it is not open".to_owned()));
            };
            let read = tokio::time::timeout_at(end, stream.read(&mut chunk)).await;
            let count = match read {
                Err(_) => return Err(LinkError::Timeout(timeout)),
                Ok(Ok(0)) => return Err(self.lost("the instrument has closed it")),
                Ok(Ok(count)) => count,
                Ok(Err(error)) => return Err(self.lost(&error.to_string())),
            };
            let mut cut = self.lines.push(chunk.get(..count).unwrap_or_default());
            self.show(&cut);
            match cut.len() {
                0 => {}
                1 => return Ok(cut.remove(0)),
                // Several at once are told as the last: only an identity is looked for among them.
                _ => return Ok(self.pick(cut)),
            }
        }
    }

    fn show(&self, cut: &[Cut]) {
        for cut in cut {
            let line = match cut {
                Cut::Line(line) => Some(line.as_str()),
                Cut::Garbage => None,
            };
            let is_ours = false;
            self.sink.traffic(Traffic::Scpi { line, is_ours });
        }
    }

    /// Of several lines the identity, if it is the last; otherwise nothing can be believed.
    fn pick(&self, mut cut: Vec<Cut>) -> Cut {
        match cut.pop() {
            Some(Cut::Line(line)) if !self.in_step && self.is_identity(&line) => Cut::Line(line),
            _ => Cut::Garbage,
        }
    }

    /// Whether something has arrived that nobody asked for.
    async fn has_unasked(&mut self) -> Result<bool, LinkError> {
        let mut chunk = [0; CHUNK];
        let Some(stream) = &mut self.stream else {
            return Err(LinkError::Down("it is not open".to_owned()));
        };
        let read = tokio::time::timeout(Duration::ZERO, stream.read(&mut chunk)).await;
        match read {
            Err(_) => Ok(self.lines.has_begun()),
            Ok(Ok(0)) => Err(self.lost("the instrument has closed it")),
            Ok(Ok(count)) => {
                self.count(|b| &b.corrupt, |d| &d.corrupt, 1);
                let cut = self.lines.push(chunk.get(..count).unwrap_or_default());
                self.show(&cut);
                Ok(true)
            }
            Ok(Err(error)) => Err(self.lost(&error.to_string())),
        }
    }

    fn lost(&mut self, why: &str) -> LinkError {
        self.stream = None;
        self.in_step = false;
        LinkError::Down(why.to_owned())
    }
}
