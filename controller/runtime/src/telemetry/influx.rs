//! The time-series server: where it is, and the front of what goes to it.
//!
//! The caller hands over rows, events and figures, and never waits: they go into a queue, from which one thread
//! with its own little runtime takes them; see [`super::sending`].

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use model::{Instant, UtcTime};
use tokio::sync::mpsc;

use super::endpoint::{ANSWER_WAIT, Endpoint};
use super::figures::Figures;
use super::line::{Labels, Lines, Origin, Row, event_lines};
use super::record::EventRecord;
use super::sending::Writer;
use super::spool::Spool;
use super::{Counts, NamedDevice, Pace, TelemetryError};

/// Messages that may wait on a real bench.
/// Chosen: 4096, over six minutes of 100 ms cycles while a disk hangs.
const MESSAGES_WAITING_MAX: usize = 4_096;

/// How a server takes line protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteApi {
    /// `/api/v2/write` of versions 2 and 3, with a token.
    V2,
    /// `/write` of version 1, with a user and a password.
    V1,
}

/// Where and how the server is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct InfluxConfig {
    /// Base address, such as `http://127.0.0.1:8086`.
    pub url: String,
    /// How it takes line protocol.
    pub api: WriteApi,
    /// Organisation; version 1 has none.
    pub org: String,
    /// Bucket; for version 1 `database` or `database/retention_policy`.
    pub bucket: String,
    /// Token, for version 1 `user:password`; `None` sends none.
    pub token: Option<String>,
    /// The authority that signed the server's certificate, as PEM, with `https`; then no other is trusted.
    pub ca_pem: Option<Vec<u8>>,
    /// Most bytes that wait on disk while the server is away.
    pub spool_bytes: u64,
    /// Folder of what waits, in the run folder; a later run beside it takes over what is left.
    pub spool_dir: PathBuf,
}

impl std::fmt::Debug for InfluxConfig {
    /// The token stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InfluxConfig")
            .field("url", &self.url)
            .field("api", &self.api)
            .field("org", &self.org)
            .field("bucket", &self.bucket)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("ca_pem", &self.ca_pem.is_some())
            .field("spool_bytes", &self.spool_bytes)
            .field("spool_dir", &self.spool_dir)
            .finish()
    }
}

/// Checks the address of a server: scheme, host, port, nothing else.
///
/// The client library panics on an address that it cannot read, so it only ever sees one that passed here.
///
/// # Errors
/// With a sentence that says what is expected.
pub fn check_url(url: &str) -> Result<(), String> {
    let expected = |what: &str| {
        Err(format!(
            "{what} in {url:?}; write it like \"http://127.0.0.1:8086\""
        ))
    };
    let Some(rest) = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"))
    else {
        return expected("neither http:// nor https://");
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if port.is_some_and(|p| p.parse::<u16>().is_err() || p.starts_with('+')) {
        return expected("no port number after the last colon");
    }
    if let Some(v6) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return match v6.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => expected("no IPv6 address between the brackets"),
        };
    }
    if host.parse::<std::net::Ipv4Addr>().is_ok() {
        return Ok(());
    }
    let label_fits = |label: &str| {
        !label.is_empty()
            && label.len() < 64
            && !label.starts_with("xn--")
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    // A last label that begins with a digit would be read as a (bad) IPv4 address.
    let last_is_a_name = host
        .rsplit('.')
        .next()
        .is_some_and(|l| l.starts_with(|c: char| c.is_ascii_alphabetic()));
    if host.len() < 254 && last_is_a_name && host.split('.').all(label_fits) {
        Ok(())
    } else {
        expected("no host name or address")
    }
}

/// What the thread is told.
pub(super) enum Message {
    Rows(Instant, Arc<[Row]>),
    Lines(Instant, Lines),
    /// The end, with the time that a last try may take.
    Finish(Duration),
}

enum Queue {
    Bounded(mpsc::Sender<Message>),
    Unbounded(mpsc::UnboundedSender<Message>),
}

impl Queue {
    /// Hands a message over if there is room.
    fn push(&self, message: Message) -> bool {
        match self {
            Self::Bounded(queue) => queue.try_send(message).is_ok(),
            Self::Unbounded(queue) => queue.send(message).is_ok(),
        }
    }
}

/// The receiving end.
pub(super) enum Messages {
    Bounded(mpsc::Receiver<Message>),
    Unbounded(mpsc::UnboundedReceiver<Message>),
}

impl Messages {
    /// The next message; `None` when the sending end is gone.
    pub(super) async fn next(&mut self) -> Option<Message> {
        match self {
            Self::Bounded(messages) => messages.recv().await,
            Self::Unbounded(messages) => messages.recv().await,
        }
    }
}

/// The sending end of the sink.
pub(super) struct Influx {
    queue: Queue,
    counts: Arc<Counts>,
    labels: Labels,
    /// The moment of the last event, and how many nanoseconds the next one of the same moment is put off.
    last_event: Mutex<Option<(UtcTime, i64)>>,
    ending: Arc<AtomicBool>,
    ended: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Influx {
    /// Starts the thread; the server need not be there.
    ///
    /// # Errors
    /// When the address makes no sense, or no client or thread can be made.
    pub(super) fn start(
        config: InfluxConfig,
        origin: &Origin,
        devices: &[NamedDevice],
        pace: Pace,
    ) -> Result<Self, TelemetryError> {
        check_url(&config.url).map_err(TelemetryError::Url)?;
        let endpoint = Endpoint::new(&config)?;
        let counts = Arc::new(Counts::default());
        let (queue, messages) = match pace {
            Pace::Real => {
                let (tx, rx) = mpsc::channel(MESSAGES_WAITING_MAX);
                (Queue::Bounded(tx), Messages::Bounded(rx))
            }
            Pace::Virtual => {
                let (tx, rx) = mpsc::unbounded_channel();
                (Queue::Unbounded(tx), Messages::Unbounded(rx))
            }
        };
        let target = format!("{} {} {}", config.url, config.org, config.bucket);
        let mut spool = Spool::open(config.spool_dir, config.spool_bytes, &target);
        // In virtual time a run depends on nothing but itself.
        if pace == Pace::Real {
            let lost = spool.adopt();
            Counts::add(&counts.taken, lost);
            Counts::add(&counts.lost, lost);
        }
        // What a former run left counts here: it is written or lost in this run.
        Counts::add(&counts.taken, spool.values());
        let labels = Labels::new(origin, devices);
        let url = config.url;
        let ending = Arc::new(AtomicBool::new(false));
        let writer = Writer::new(
            endpoint,
            url,
            labels.clone(),
            Arc::clone(&counts),
            spool,
            pace,
            Arc::clone(&ending),
        );
        let (end, ended) = sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(TelemetryError::Thread)?;
        let thread = std::thread::Builder::new()
            .name("telemetry-influx".into())
            .spawn(move || {
                runtime.block_on(writer.run(messages));
                let _ = end.try_send(());
            })
            .map_err(TelemetryError::Thread)?;
        Ok(Self {
            queue,
            counts,
            labels,
            last_event: Mutex::new(None),
            ending,
            ended,
            thread,
        })
    }

    /// Hands rows over, or counts them as lost.
    pub(super) fn rows(&self, now: Instant, rows: Arc<[Row]>) {
        // Each row is a value or the word that there is none.
        self.push(rows.len() as u64, Message::Rows(now, rows));
    }

    /// Hands the lines of an event over, or counts them as lost.
    ///
    /// A server keeps one value for each series and time, and one step tells several events of one kind about
    /// one device. Events of one moment are therefore a nanosecond apart.
    pub(super) fn event(&self, utc: UtcTime, now: Instant, record: &EventRecord) {
        let later_ns = {
            let mut last = self
                .last_event
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let later_ns = match *last {
                Some((moment, later_ns)) if moment == utc => later_ns + 1,
                _ => 0,
            };
            *last = Some((utc, later_ns));
            later_ns
        };
        let told = UtcTime::from_unix_nanos(utc.unix_nanos().saturating_add(later_ns));
        self.lines(now, event_lines(&self.labels, told, record));
    }

    /// Hands figures over, or counts them as lost.
    pub(super) fn figures(&self, utc: UtcTime, now: Instant, figures: &[Figures]) {
        let mut lines = Lines::default();
        for figure in figures {
            figure.push_line(&mut lines, &self.labels, utc);
        }
        self.lines(now, lines);
    }

    fn lines(&self, now: Instant, lines: Lines) {
        if lines.values > 0 {
            self.push(lines.values, Message::Lines(now, lines));
        }
    }

    fn push(&self, values: u64, message: Message) {
        Counts::add(&self.counts.taken, values);
        if !self.queue.push(message) {
            Counts::add(&self.counts.lost, values);
        }
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Ends the thread after a last try of at most `within`.
    pub(super) fn finish(self, within: Duration) -> Arc<Counts> {
        self.ending.store(true, Ordering::Relaxed);
        self.queue.push(Message::Finish(within));
        drop(self.queue);
        // The thread keeps its own time; the grace lets it write its last batch to the spool.
        if self.ended.recv_timeout(within + ANSWER_WAIT) != Err(RecvTimeoutError::Timeout) {
            let _ = self.thread.join();
        }
        self.counts
    }
}
