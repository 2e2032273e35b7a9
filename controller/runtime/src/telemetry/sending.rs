//! The thread that brings telemetry to the server: batches, patience, and order.
//!
//! Everything goes through the [`Spool`], and from there to the [`Endpoint`], oldest first and one batch at a time; the
//! queue is emptied meanwhile, so a server that answers slowly keeps nothing from the disk. What the server
//! says decides: done; refused as malformed (the batch is halved until the bad line stands alone, which is dropped
//! and counted); or not now, and the batch stays where it is.
//!
//! Waits double from half a second to half a minute, and each is drawn from its upper half, so that
//! the benches of a lab do not all come back at once. A server that names its own wait (`Retry-After`)
//! is not asked before it has passed. A server that does not answer at all may have been killed, and get again
//! what it had said it has (see [`Spool::recall`]).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::pending;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::Instant;
use tokio::time::Sleep;

use super::endpoint::{Answer, Endpoint, Refusal};
use super::influx::{Message, Messages};
use super::line::{Labels, Lines, sample_lines, values_of};
use super::refusal::RefusedField;
use super::spool::Spool;
use super::{Counts, Pace};

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
/// Bad lines that are looked for in one batch; with more, the server means the whole batch.
/// Chosen: 32, some 400 requests at most for a full batch.
const BAD_LINES_MAX: u32 = 32;
/// Batches that may wait in virtual time before the run's queue is left alone: there nothing is dropped, and a
/// second passes in no time, so the server sets the pace. Chosen: 8, those that are in memory.
const VIRTUAL_BATCHES_MAX: usize = 8;

/// Where the server stands.
enum Standing {
    /// It takes data.
    Takes,
    /// It took none: nothing is sent before the pause is over.
    Pauses {
        wait: Duration,
        over: Pin<Box<Sleep>>,
    },
    /// The pause is over: it is tried.
    Tried { wait: Duration },
}

type Delivering = Pin<Box<dyn Future<Output = Delivery>>>;

/// The thread's side.
pub(super) struct Writer {
    endpoint: Arc<Endpoint>,
    /// Address of the server, to tell of it.
    url: String,
    labels: Labels,
    counts: Arc<Counts>,
    spool: Spool,
    pace: Pace,
    /// Whether the run is over: then all that is in the queue has to reach the spool.
    ending: Arc<AtomicBool>,
    /// The latest control time that was heard of.
    now: Instant,
    standing: Standing,
    /// Whether the batch on its way was acknowledged, and counted, before.
    again: bool,
    /// Whether the present outage was told.
    warned: bool,
    /// Values lost by the field that the server refused, with its measurement where it was named.
    refused: BTreeMap<String, u64>,
}

impl Writer {
    pub(super) fn new(
        endpoint: Endpoint,
        url: String,
        labels: Labels,
        counts: Arc<Counts>,
        spool: Spool,
        pace: Pace,
        ending: Arc<AtomicBool>,
    ) -> Self {
        Self {
            endpoint: Arc::new(endpoint),
            url,
            labels,
            counts,
            spool,
            pace,
            ending,
            now: Instant::START,
            standing: Standing::Takes,
            again: false,
            warned: false,
            refused: BTreeMap::new(),
        }
    }

    pub(super) async fn run(mut self, mut messages: Messages) {
        let mut delivering: Option<Delivering> = None;
        let within = loop {
            if delivering.is_none() {
                delivering = self.next_delivery();
            }
            let listens = match self.pace {
                Pace::Real => true,
                Pace::Virtual => {
                    self.is_away()
                        || self.ending.load(Ordering::Relaxed)
                        || self.spool.batches() < VIRTUAL_BATCHES_MAX
                }
            };
            let fills = self.spool.filling().is_some();
            let over = async {
                match &mut self.standing {
                    Standing::Pauses { over, .. } => over.as_mut().await,
                    Standing::Takes | Standing::Tried { .. } => pending().await,
                }
            };
            let delivered = async {
                match &mut delivering {
                    Some(delivering) => delivering.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                message = messages.next(), if listens => match message {
                    Some(Message::Rows(now, rows)) => {
                        let lines = sample_lines(&self.labels, &rows);
                        // Rows of a device outside the rig make no line.
                        let missing = (rows.len() as u64).saturating_sub(lines.values);
                        Counts::add(&self.counts.lost, missing);
                        self.fill(now, &lines);
                    }
                    Some(Message::Lines(now, lines)) => self.fill(now, &lines),
                    Some(Message::Finish(within)) => break within,
                    None => break Duration::ZERO,
                },
                delivery = delivered => {
                    delivering = None;
                    self.settle(delivery);
                }
                () = over => self.try_again(),
                // Silence: nothing more will fill the batch soon.
                () = tokio::time::sleep(BATCH_WAIT), if fills => self.close(),
            }
        };
        self.close();
        // A last try, whatever the waits said.
        self.try_again();
        let last = async {
            loop {
                let Some(next) = delivering.take().or_else(|| self.next_delivery()) else {
                    break;
                };
                let delivery = delivering.insert(next).await;
                delivering = None;
                self.settle(delivery);
            }
        };
        // What is not sent when the time is up stays in the spool for the next run.
        let _ = tokio::time::timeout(within, last).await;
        Counts::add(&self.counts.lost, self.spool.end());
        for (field, values) in &self.refused {
            tracing::warn!(
                server = self.url,
                field,
                values,
                "Values of a field that the telemetry server has as another type were lost."
            );
        }
    }

    fn is_away(&self) -> bool {
        !matches!(self.standing, Standing::Takes)
    }

    /// Adds lines to the batch that fills, and ends it when it is due.
    fn fill(&mut self, now: Instant, lines: &Lines) {
        self.now = self.now.max(now);
        self.spool.forget(self.now);
        let mut rest = Cow::Borrowed(lines);
        while rest.lines > 0 {
            let filled = self.spool.filling().map_or(0, |(lines, _)| lines);
            let room = BATCH_LINES.saturating_sub(filled).max(1);
            let mut these = std::mem::take(&mut rest);
            // What does not fit is counted anew: a batch is thousands of lines, so that is seldom.
            if these.lines > room {
                let feeds = these.text.match_indices('\n');
                let end = feeds.skip(room - 1).map(|(at, _)| at + 1).next();
                let (fits, others) = these.text.split_at(end.unwrap_or(these.text.len()));
                rest = Cow::Owned(Lines::counted(others.to_owned()));
                these = Cow::Owned(Lines::counted(fits.to_owned()));
            }
            let lost = self.spool.append(&these, now);
            Counts::add(&self.counts.lost, lost);
            Counts::add(&self.counts.spooled, these.values);
            let is_due = self.spool.filling().is_some_and(|(lines, since)| {
                // In virtual time a second passes in no time: there only a full batch or silence counts.
                let waited = self.pace == Pace::Real && now.since(since) >= BATCH_WAIT;
                waited || lines >= BATCH_LINES
            });
            if is_due {
                self.close();
            }
        }
    }

    /// Ends the batch that fills.
    fn close(&mut self) {
        let lost = self.spool.close();
        Counts::add(&self.counts.lost, lost);
        if self.is_away() {
            self.spool.sync();
        }
    }

    /// The way of the oldest batch, if the server may be asked.
    fn next_delivery(&mut self) -> Option<Delivering> {
        let refused = match self.standing {
            Standing::Takes => false,
            Standing::Tried { .. } => true,
            Standing::Pauses { .. } => return None,
        };
        loop {
            match self.spool.take()? {
                Err(lost) => Counts::add(&self.counts.lost, lost),
                Ok(batch) => {
                    self.again = batch.again;
                    let endpoint = Arc::clone(&self.endpoint);
                    return Some(Box::pin(async move {
                        deliver(&endpoint, &batch.text, refused).await
                    }));
                }
            }
        }
    }

    /// Counts what became of a batch, and decides when the next one may leave.
    fn settle(&mut self, delivery: Delivery) {
        for (field, values) in &delivery.refused {
            let before = self.refused.entry(field.clone()).or_default();
            if *before == 0 {
                tracing::error!(
                    server = self.url,
                    field,
                    "The telemetry server has this field as another type: its values are lost, the rest of their lines is kept."
                );
            }
            *before += values;
        }
        // What is sent again was counted when it was acknowledged for the first time.
        if !self.again {
            Counts::add(&self.counts.written, delivery.written);
            Counts::add(&self.counts.lost, delivery.lost);
        }
        match delivery.left {
            None => {
                self.spool.given(self.now);
                self.back_again();
            }
            Some((left, refusal)) => {
                self.spool.put_back(left);
                self.put_off(&refusal);
            }
        }
    }

    /// Doubles the wait, and tells of the outage once.
    fn put_off(&mut self, refusal: &Refusal) {
        let wait = match &self.standing {
            Standing::Takes => {
                if refusal.gone {
                    self.spool.recall();
                }
                RETRY_FIRST
            }
            Standing::Pauses { wait, .. } | Standing::Tried { wait } => (*wait * 2).min(RETRY_MAX),
        };
        let random = RandomState::new().build_hasher().finish();
        let pause = pause(wait, refusal.after, random);
        self.standing = Standing::Pauses {
            wait,
            over: Box::pin(tokio::time::sleep(pause)),
        };
        self.spool.sync();
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(
                server = self.url,
                why = refusal.why,
                "The telemetry server took no data; it is spooled until it does."
            );
        }
    }

    fn try_again(&mut self) {
        if let Standing::Pauses { wait, .. } = self.standing {
            self.standing = Standing::Tried { wait };
        }
    }

    /// The server takes data: what waits may follow at once.
    fn back_again(&mut self) {
        self.standing = Standing::Takes;
        if std::mem::take(&mut self.warned) {
            tracing::info!(server = self.url, "The telemetry server takes data again.");
        }
    }
}

/// What became of a batch.
struct Delivery {
    written: u64,
    lost: u64,
    /// Of them, those of fields that the server refused.
    refused: BTreeMap<String, u64>,
    /// What was not sent (`None`: the whole batch), and why.
    left: Option<(Option<String>, Refusal)>,
}

/// Sends lines, halving what the server calls malformed; `refused` where the last try was.
async fn deliver(endpoint: &Endpoint, text: &str, refused: bool) -> Delivery {
    let mut lines: Vec<Cow<'_, str>> = text.split_inclusive('\n').map(Cow::Borrowed).collect();
    // Ranges still to be sent, the next one last.
    let mut ranges = vec![(0, lines.len())];
    let mut bad_lines = 0;
    let mut delivery = Delivery {
        written: 0,
        lost: 0,
        refused: BTreeMap::new(),
        left: None,
    };
    let mut is_changed = false;
    while let Some((from, until)) = ranges.pop() {
        let body = lines[from..until].concat();
        // Nothing is left of lines whose only field was refused.
        if body.is_empty() {
            continue;
        }
        let values = values_of(&body);
        let answer = endpoint.write(body, refused).await;
        // Where the server names the measurement, no line of it will be taken with that field.
        if let Answer::BadLines(_, Some(field)) = &answer
            && (field.measurement.is_some() || until - from == 1)
        {
            let taken = take_out(field, &mut lines[from..until]);
            if taken > 0 {
                is_changed = true;
                delivery.lost += taken;
                *delivery.refused.entry(field.to_string()).or_default() += taken;
                ranges.push((from, until));
                continue;
            }
        }
        let part = &lines[from..until];
        match answer {
            Answer::Done => delivery.written += values,
            Answer::BadLines(why, _) if part.len() == 1 || bad_lines >= BAD_LINES_MAX => {
                bad_lines += 1;
                delivery.lost += values;
                tracing::error!(
                    why,
                    line = part[0].trim_end(),
                    lines = part.len(),
                    "The telemetry server refused data as malformed; it is lost."
                );
            }
            Answer::BadLines(..) => {
                let middle = from + part.len() / 2;
                ranges.push((middle, until));
                ranges.push((from, middle));
            }
            Answer::NotNow(refusal) => {
                ranges.push((from, until));
                let is_whole = ranges.len() == 1 && until - from == lines.len() && !is_changed;
                let left = ranges
                    .iter()
                    .rev()
                    .map(|(from, until)| lines[*from..*until].concat());
                delivery.left = Some(((!is_whole).then(|| left.collect()), refusal));
                break;
            }
        }
    }
    delivery
}

/// Takes a field out of lines; how many values that were.
fn take_out(refused: &RefusedField, lines: &mut [Cow<'_, str>]) -> u64 {
    let mut values = 0;
    for line in lines {
        if let Some((rest, taken)) = refused.taken_from(line) {
            *line = Cow::Owned(rest);
            values += taken;
        }
    }
    values
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
