//! The time-series server: batches of line protocol, patience, and a spool.
//!
//! One thread with its own little runtime takes rows from a queue, makes batches, and writes them
//! to the [`Endpoint`]. What the server says decides: done; refused as malformed (the batch is halved until the bad line
//! stands alone, which is dropped and counted); or not now, which sends the batch to the spool. While
//! anything is spooled, new batches queue behind it, so that the server gets all in order.
//!
//! Waits double from half a second to half a minute, and each is drawn from its upper half, so that
//! the benches of a lab do not all come back at once. A server that names its own wait (`Retry-After`)
//! is not asked before it has passed.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use model::{Instant, UtcTime};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::endpoint::{ANSWER_WAIT, Answer, Endpoint, Refusal};
use super::figures::Figures;
use super::line::{Labels, Line, Origin, Row, event_line, sample_lines};
use super::record::EventRecord;
use super::spool::{Spool, values_of};
use super::{Counts, NamedDevice, Pace, TelemetryError};

/// Lines in a batch; the server's makers advise 5 000.
const BATCH_LINES: usize = 5_000;
/// Longest time that a line waits for its batch to fill, in control time or in silence.
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// First wait after a failure. Chosen: half a second.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// Longest wait after failures. Chosen: half a minute, so that a returning server is soon used.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Longest wait that a server may ask for. Chosen: ten minutes; a larger number is more likely a mistake.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// Messages that may wait on a real bench.
/// Chosen: 4096, over six minutes of 100 ms cycles; an answer takes at most [`ANSWER_WAIT`].
const MESSAGES_WAITING_MAX: usize = 4_096;
/// Bad lines that are looked for in one batch; with more, the server means the whole batch.
/// Chosen: 32, some 400 requests at most for a full batch.
const BAD_LINES_MAX: u32 = 32;

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

enum Message {
    Rows(Instant, Arc<[Row]>),
    Lines(Instant, Vec<Line>),
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

enum Messages {
    Bounded(mpsc::Receiver<Message>),
    Unbounded(mpsc::UnboundedReceiver<Message>),
}

impl Messages {
    async fn next(&mut self) -> Option<Message> {
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
        let mut spool = Spool::open(config.spool_dir.clone(), config.spool_bytes, &target);
        // In virtual time a run depends on nothing but itself.
        if pace == Pace::Real {
            let lost = spool.adopt();
            Counts::add(&counts.taken, lost);
            Counts::add(&counts.lost, lost);
        }
        // What a former run left counts here: it is written or lost in this run.
        Counts::add(&counts.taken, spool.values());
        let labels = Labels::new(origin, devices);
        let writer = Writer {
            endpoint,
            config,
            labels: labels.clone(),
            counts: Arc::clone(&counts),
            spool,
            lines: Vec::new(),
            batch_since: None,
            retry_wait: None,
            retry: None,
            warned: false,
        };
        let (end, ended) = sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(TelemetryError::Thread)?;
        let thread = std::thread::Builder::new()
            .name("telemetry-influx".into())
            .spawn(move || {
                runtime.block_on(writer.run(messages, pace));
                let _ = end.try_send(());
            })
            .map_err(TelemetryError::Thread)?;
        Ok(Self {
            queue,
            counts,
            labels,
            last_event: Mutex::new(None),
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
        self.lines(now, event_line(&self.labels, told, record));
    }

    /// Hands figures over, or counts them as lost.
    pub(super) fn figures(&self, utc: UtcTime, now: Instant, figures: &[Figures]) {
        let lines = figures.iter().filter_map(|f| f.line(&self.labels, utc));
        self.lines(now, lines.collect());
    }

    fn lines(&self, now: Instant, lines: Vec<Line>) {
        if !lines.is_empty() {
            let values = values_of(&lines);
            self.push(values, Message::Lines(now, lines));
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
        self.queue.push(Message::Finish(within));
        drop(self.queue);
        // The thread keeps its own time; the grace lets it write its last batch to the spool.
        if self.ended.recv_timeout(within + ANSWER_WAIT) != Err(RecvTimeoutError::Timeout) {
            let _ = self.thread.join();
        }
        self.counts
    }
}

/// The thread's side.
struct Writer {
    endpoint: Endpoint,
    config: InfluxConfig,
    labels: Labels,
    counts: Arc<Counts>,
    spool: Spool,
    /// The batch that fills.
    lines: Vec<Line>,
    /// Control time of its first line.
    batch_since: Option<Instant>,
    /// How long to wait before the next try, while the server is away.
    retry_wait: Option<Duration>,
    /// When the next spooled batch is tried; only looked at while one is there.
    retry: Option<Pin<Box<Sleep>>>,
    /// Whether the present outage was told.
    warned: bool,
}

impl Writer {
    async fn run(mut self, mut messages: Messages, pace: Pace) {
        if !self.spool.is_empty() {
            self.retry = Some(Box::pin(tokio::time::sleep(Duration::ZERO)));
        }
        let within = loop {
            let replays = !self.spool.is_empty();
            let fills = !self.lines.is_empty();
            let retry = &mut self.retry;
            let retry = async move {
                match retry {
                    Some(sleep) => sleep.as_mut().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = messages.next() => match message {
                    Some(Message::Rows(now, rows)) => {
                        let lines = sample_lines(&self.labels, &rows);
                        // Rows of a device outside the rig make no line.
                        let kept = values_of(&lines);
                        Counts::add(&self.counts.lost, (rows.len() as u64).saturating_sub(kept));
                        self.fill(now, lines, pace).await;
                    }
                    Some(Message::Lines(now, lines)) => self.fill(now, lines, pace).await,
                    Some(Message::Finish(within)) => break within,
                    None => break Duration::ZERO,
                },
                () = retry, if replays => self.replay_one().await,
                // Silence: nothing more will fill the batch soon.
                () = tokio::time::sleep(BATCH_WAIT), if fills => self.ship_batch().await,
            }
        };
        // A last try, whatever the waits said.
        self.retry_wait = None;
        let last = async {
            while !self.spool.is_empty() && self.retry_wait.is_none() {
                self.replay_one().await;
            }
            self.ship_batch().await;
            while !self.spool.is_empty() && self.retry_wait.is_none() {
                self.replay_one().await;
            }
        };
        let _ = tokio::time::timeout(within, last).await;
        // When the time was up, the batch is still in memory; the spool keeps it for the next run.
        let lines = std::mem::take(&mut self.lines);
        self.keep(&lines);
    }

    /// Adds lines to the batch, and sends it when it is due.
    async fn fill(&mut self, now: Instant, lines: Vec<Line>, pace: Pace) {
        if lines.is_empty() {
            return;
        }
        let since = *self.batch_since.get_or_insert(now);
        self.lines.extend(lines);
        // In virtual time a second passes in no time: there only a full batch or silence counts.
        let waited = pace == Pace::Real && now.since(since) >= BATCH_WAIT;
        if waited || self.lines.len() >= BATCH_LINES {
            self.ship_batch().await;
        }
    }

    /// Sends the batch, or puts it behind what is spooled.
    async fn ship_batch(&mut self) {
        if !self.spool.is_empty() || self.retry_wait.is_some() {
            let lines = std::mem::take(&mut self.lines);
            self.batch_since = None;
            self.keep(&lines);
            return;
        }
        while !self.lines.is_empty() {
            let many = self.lines.len().min(BATCH_LINES);
            // The lines stay in place while they are under way: what interrupts the call loses nothing.
            let left = self.ship(&self.lines[..many]).await;
            self.lines.drain(..many);
            if let Err(Failed { left, refusal }) = left {
                self.put_off(&refusal);
                let rest = std::mem::take(&mut self.lines);
                self.keep(&left);
                self.keep(&rest);
                break;
            }
            self.back_again();
        }
        self.batch_since = None;
    }

    /// Sends the oldest spooled batch.
    async fn replay_one(&mut self) {
        let lines = match self.spool.oldest() {
            None => return,
            Some(Err(lost)) => {
                Counts::add(&self.counts.lost, lost);
                return;
            }
            Some(Ok(lines)) => lines,
        };
        let left = match self.ship(&lines).await {
            Ok(()) => {
                self.back_again();
                Vec::new()
            }
            Err(Failed { left, refusal }) => {
                self.put_off(&refusal);
                left
            }
        };
        if let Err(error) = self.spool.settle_oldest(&left) {
            tracing::error!(%error, "The spool of telemetry could not be changed.");
        }
    }

    /// Puts lines into the spool, or counts them as lost.
    fn keep(&mut self, lines: &[Line]) {
        for batch in lines.chunks(BATCH_LINES) {
            match self.spool.push(batch) {
                Ok(lost) => Counts::add(&self.counts.lost, lost),
                Err(error) => {
                    tracing::error!(%error, "The spool of telemetry took no more.");
                    Counts::add(&self.counts.lost, values_of(batch));
                }
            }
        }
    }

    /// Doubles the wait, and tells of the outage once.
    fn put_off(&mut self, refusal: &Refusal) {
        let wait = self
            .retry_wait
            .map_or(RETRY_FIRST, |w| (w * 2).min(RETRY_MAX));
        self.retry_wait = Some(wait);
        self.retry = Some(Box::pin(tokio::time::sleep(pause(
            wait,
            refusal.after,
            RandomState::new().build_hasher().finish(),
        ))));
        if !self.warned {
            self.warned = true;
            tracing::warn!(
                server = self.config.url,
                why = refusal.why,
                "The telemetry server took no data; it is spooled until it does."
            );
        }
    }

    /// The server takes data: what is spooled may follow at once.
    fn back_again(&mut self) {
        self.retry_wait = None;
        self.retry = Some(Box::pin(tokio::time::sleep(Duration::ZERO)));
        if std::mem::take(&mut self.warned) {
            tracing::info!(
                server = self.config.url,
                "The telemetry server takes data again."
            );
        }
    }

    /// Sends lines, halving what the server calls malformed. Counts what is written and what is lost.
    async fn ship(&self, lines: &[Line]) -> Result<(), Failed> {
        // Ranges still to be sent, the next one last.
        let mut ranges = vec![(0, lines.len())];
        let mut bad_lines = 0;
        while let Some((from, until)) = ranges.pop() {
            let part = &lines[from..until];
            if part.is_empty() {
                continue;
            }
            let values = values_of(part);
            match self.post(part).await {
                Answer::Done => Counts::add(&self.counts.written, values),
                Answer::BadLines(why) if part.len() == 1 || bad_lines >= BAD_LINES_MAX => {
                    bad_lines += 1;
                    Counts::add(&self.counts.lost, values);
                    tracing::error!(
                        why,
                        line = part[0].text,
                        lines = part.len(),
                        "The telemetry server refused data as malformed; it is lost."
                    );
                }
                Answer::BadLines(_) => {
                    let middle = from + part.len() / 2;
                    ranges.push((middle, until));
                    ranges.push((from, middle));
                }
                Answer::NotNow(refusal) => {
                    ranges.push((from, until));
                    let left = ranges
                        .iter()
                        .rev()
                        .flat_map(|(from, until)| lines[*from..*until].iter().cloned())
                        .collect();
                    return Err(Failed { left, refusal });
                }
            }
        }
        Ok(())
    }

    async fn post(&self, lines: &[Line]) -> Answer {
        let mut body = String::with_capacity(lines.iter().map(|l| l.text.len() + 1).sum());
        for line in lines {
            body.push_str(&line.text);
            body.push('\n');
        }
        self.endpoint.write(body).await
    }
}

/// The time until the next try: the upper half of the wait, by a random number, and never less than what
/// the server asked for.
pub(super) fn pause(wait: Duration, asked: Option<Duration>, random: u64) -> Duration {
    let half = wait / 2;
    let spread = half.mul_f64(random as f64 / u64::MAX as f64);
    match asked {
        None => half + spread,
        Some(asked) => asked.min(RETRY_AFTER_MAX) + spread,
    }
}

/// What was not sent, and why.
struct Failed {
    left: Vec<Line>,
    refusal: Refusal,
}
