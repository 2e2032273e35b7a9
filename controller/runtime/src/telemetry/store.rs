//! The embedded store: `samples.csv.zst` and `events.jsonl` in the run folder, and on a real bench their
//! index, the [`Database`].
//!
//! The store writes one compressed stream with one row per reading, good or bad. On a real bench it
//! is flushed every second, so that a killed process loses at most the last second; what follows the
//! last flush is torn, and [`read_samples`] reads up to there. When the disk does not take a row,
//! the store says so once and counts all that follows as lost: the bench goes on.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use model::{Instant, Point, UtcTime};

use super::database::{Database, rows_in};
use super::figures::Figures;
use super::line::{Row, values_in};
use super::table::{Cells, SAMPLE_COLUMNS};
use super::{Counts, EventRecord, NamedDevice};

/// Time between two flushes: what a killed process may lose.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// Messages that may wait for the store.
/// Chosen: 4096, over six minutes of 100 ms cycles while a disk hangs.
const MESSAGES_WAITING_MAX: usize = 4_096;
/// Compression level. Chosen: 3, the default of zstd: well above 100 MB/s on one core.
const LEVEL: i32 = 3;
fn push_row(out: &mut String, devices: &[NamedDevice], row: &Row) {
    let sample = &row.sample;
    let unnamed;
    let device = match devices.get(sample.device.index()) {
        Some(device) => device.name.as_str(),
        None => {
            unnamed = format!("#{}", sample.device.0);
            &unnamed
        }
    };
    let flaw = row.flaw();
    let cells = Cells {
        utc_ns: row.utc.unix_nanos(),
        at_ns: sample.sample.measured_at.as_nanos(),
        device,
        point: sample.point.name(),
        value: row.value(),
        unit: sample.point.unit(),
        quality: flaw.as_deref().unwrap_or("good"),
    };
    cells.push(out);
    out.push('\n');
}

/// One of the two files, with what is written but not yet safe.
struct Output<W> {
    name: &'static str,
    /// `None` after the first error: what comes later is lost.
    writer: Option<W>,
    /// Values or events since the last flush.
    pending: u64,
}

impl<W: Write> Output<W> {
    /// Writes, and gives the number that is lost by it.
    fn write(&mut self, text: &str, count: u64) -> u64 {
        self.pending += count;
        let result = self.writer.as_mut().map(|w| w.write_all(text.as_bytes()));
        self.settle(result)
    }

    /// What is lost after a try: nothing, or everything since the last flush.
    fn settle(&mut self, result: Option<io::Result<()>>) -> u64 {
        match result {
            Some(Ok(())) => 0,
            Some(Err(error)) => {
                tracing::error!(
                    file = self.name,
                    %error,
                    "The run folder took no more; what follows is counted as lost."
                );
                self.writer = None;
                std::mem::take(&mut self.pending)
            }
            None => std::mem::take(&mut self.pending),
        }
    }

    /// Flushes, and gives the numbers that are safe and lost by it.
    fn flush(&mut self) -> (u64, u64) {
        let result = self.writer.as_mut().map(Write::flush);
        let lost = self.settle(result);
        (std::mem::take(&mut self.pending), lost)
    }
}

/// Both files of the run folder.
pub(super) struct Store<S: Write, E: Write> {
    devices: Arc<[NamedDevice]>,
    samples: Output<zstd::stream::write::Encoder<'static, S>>,
    events: Output<BufWriter<E>>,
    database: Option<Database>,
    counts: Arc<Counts>,
    text: String,
}

/// An event on its way to the files.
pub(super) struct ToldEvent {
    pub(super) utc: UtcTime,
    pub(super) now: Instant,
    pub(super) record: EventRecord,
}

impl<S: Write, E: Write> Store<S, E> {
    /// A store that writes to these.
    pub(super) fn new(
        samples: S,
        events: E,
        devices: Arc<[NamedDevice]>,
        counts: Arc<Counts>,
    ) -> Self {
        let encoder = zstd::stream::write::Encoder::new(samples, LEVEL).and_then(|mut e| {
            e.include_checksum(true)?;
            Ok(e)
        });
        let mut store = Self {
            devices,
            samples: Output {
                name: super::SAMPLES_FILE,
                writer: encoder
                    .inspect_err(|error| tracing::error!(%error, "Compression is not available."))
                    .ok(),
                pending: 0,
            },
            events: Output {
                name: super::EVENTS_FILE,
                writer: Some(BufWriter::new(events)),
                pending: 0,
            },
            database: None,
            counts,
            text: String::new(),
        };
        store.samples.write(&format!("{SAMPLE_COLUMNS}\n"), 0);
        store
    }

    /// The same store with an index beside it.
    pub(super) fn indexed(mut self, database: Database) -> Self {
        self.database = Some(database);
        self
    }

    /// Writes rows.
    pub(super) fn rows(&mut self, rows: &[Row]) {
        self.text.clear();
        for row in rows {
            push_row(&mut self.text, &self.devices, row);
        }
        let lost = self.samples.write(&self.text, values_in(rows));
        Counts::add(&self.counts.lost, lost);
        if let Some(database) = &mut self.database {
            database.rows(rows);
        }
    }

    /// Writes an event.
    pub(super) fn event(&mut self, event: &ToldEvent) {
        let ToldEvent { utc, now, record } = event;
        self.text = record.json_line(*utc, *now);
        if let Some(database) = &mut self.database {
            database.event(*utc, *now, record, &self.text);
        }
        self.text.push('\n');
        let lost = self.events.write(&self.text, 1);
        Counts::add(&self.counts.events_lost, lost);
    }

    /// Writes figures of the bench, which only the index holds.
    fn figures(&mut self, utc: UtcTime, now: Instant, figures: &[Figures]) {
        if let Some(database) = &mut self.database {
            database.figures(utc, now, figures);
        }
    }

    /// Makes all that was written so far safe from a killed process.
    pub(super) fn flush(&mut self) {
        let (written, lost) = self.samples.flush();
        Counts::add(&self.counts.written, written);
        Counts::add(&self.counts.lost, lost);
        let (_, lost) = self.events.flush();
        Counts::add(&self.counts.events_lost, lost);
        if let Some(database) = &mut self.database {
            database.flush();
        }
    }

    /// Ends the files.
    pub(super) fn finish(mut self) {
        // The stream ends without a flush before it: a flush would leave a mark in the file.
        let ended = self.samples.writer.take().map(|e| {
            let mut writer = e.finish()?;
            writer.flush()
        });
        let lost = self.samples.settle(ended);
        let written = std::mem::take(&mut self.samples.pending);
        Counts::add(&self.counts.written, written);
        Counts::add(&self.counts.lost, lost);
        let (_, lost) = self.events.flush();
        Counts::add(&self.counts.events_lost, lost);
        if let Some(database) = self.database {
            database.finish();
        }
    }
}

enum Message {
    Rows(Instant, Arc<[Row]>),
    Event(Box<ToldEvent>),
    Figures(UtcTime, Instant, Vec<Figures>),
    Finish,
}

/// A store on its own thread behind a bounded queue.
pub(super) struct StoreThread {
    queue: SyncSender<Message>,
    ended: Receiver<()>,
    thread: JoinHandle<()>,
}

impl StoreThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives none.
    pub(super) fn start<S: Write + Send + 'static, E: Write + Send + 'static>(
        store: Store<S, E>,
    ) -> io::Result<Self> {
        let (queue, messages) = sync_channel(MESSAGES_WAITING_MAX);
        let (end, ended) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("telemetry-store".into())
            .spawn(move || {
                run(store, &messages);
                // Nobody waits any more when the time was up.
                let _ = end.try_send(());
            })?;
        Ok(Self {
            queue,
            ended,
            thread,
        })
    }

    /// Hands rows over, or counts them as lost.
    pub(super) fn rows(&self, now: Instant, rows: Arc<[Row]>, counts: &Counts) {
        let (values, all) = (values_in(&rows), rows.len() as u64);
        if self.queue.try_send(Message::Rows(now, rows)).is_err() {
            Counts::add(&counts.lost, values);
            Counts::add(&counts.database_lost, all);
        }
    }

    /// Hands an event over, or counts it as lost.
    pub(super) fn event(&self, event: ToldEvent, counts: &Counts) {
        let message = Message::Event(Box::new(event));
        if self.queue.try_send(message).is_err() {
            Counts::add(&counts.events_lost, 1);
            Counts::add(&counts.database_lost, 1);
        }
    }

    /// Hands figures over, which only the index holds, or counts them as lost.
    pub(super) fn figures(
        &self,
        utc: UtcTime,
        now: Instant,
        figures: Vec<Figures>,
        counts: &Counts,
    ) {
        let rows = rows_in(&figures);
        let message = Message::Figures(utc, now, figures);
        if self.queue.try_send(message).is_err() {
            Counts::add(&counts.database_lost, rows);
        }
    }

    /// Ends the thread; a disk that hangs longer than `within` is left alone.
    pub(super) fn finish(self, within: Duration) {
        // A full queue means a hanging disk: the thread then ends by the closed queue.
        let _ = self.queue.try_send(Message::Finish);
        drop(self.queue);
        if self.ended.recv_timeout(within) != Err(RecvTimeoutError::Timeout) {
            // A panic of the thread has been told on its own; its values are missing from the counters.
            let _ = self.thread.join();
        }
    }
}

/// The life of the thread. The rhythm of flushes comes from the control time of the messages, or
/// from silence: no clock is read.
fn run<S: Write, E: Write>(mut store: Store<S, E>, messages: &Receiver<Message>) {
    let mut flushed_at = Instant::START;
    loop {
        let now = match messages.recv_timeout(FLUSH_EVERY) {
            Ok(Message::Rows(now, rows)) => {
                store.rows(&rows);
                now
            }
            Ok(Message::Event(event)) => {
                store.event(&event);
                event.now
            }
            Ok(Message::Figures(utc, now, figures)) => {
                store.figures(utc, now, &figures);
                now
            }
            Err(RecvTimeoutError::Timeout) => {
                store.flush();
                continue;
            }
            Ok(Message::Finish) | Err(RecvTimeoutError::Disconnected) => break,
        };
        if now.since(flushed_at) >= FLUSH_EVERY {
            flushed_at = now;
            store.flush();
        }
    }
    store.finish();
}

/// A row of the store, read back.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSample {
    /// Wall-clock time in nanoseconds since 1970.
    pub utc_ns: i64,
    /// Control time in seconds.
    pub t_s: f64,
    /// Name of the device.
    pub device: String,
    /// Which point.
    pub point: Point,
    /// The value in the base unit of the point, or why there is none.
    pub value: Result<f64, String>,
}

/// Why a store cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened.
    #[error("cannot read {path}: {source}")]
    Open {
        /// Its path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is not a store of this version.
    #[error("{path} is not a store of samples: its first line is {first_line:?}")]
    NotAStore {
        /// Its path.
        path: PathBuf,
        /// What stands in place of the columns.
        first_line: String,
    },
    /// A row inside the file makes no sense.
    #[error("{path}, row {row}: {text:?} is not a row of samples")]
    Row {
        /// Its path.
        path: PathBuf,
        /// Number of the row, the first after the columns is 1.
        row: usize,
        /// The row.
        text: String,
    },
}

/// Reads a store back, up to where a killed process tore it.
///
/// # Errors
/// When the file cannot be opened, is not a store, or holds a row that makes no sense before its end.
pub fn read_samples(path: &Path) -> Result<Vec<StoredSample>, StoreError> {
    let open = |source| StoreError::Open {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(open)?;
    let decoder = zstd::stream::read::Decoder::new(file).map_err(open)?;
    let mut reader = BufReader::new(Torn(decoder));
    let mut rows = Vec::new();
    let mut line = String::new();
    let mut number = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).map_err(open)?;
        if number == 0 && line.trim_end_matches('\n') != SAMPLE_COLUMNS && !line.is_empty() {
            return Err(StoreError::NotAStore {
                path: path.to_owned(),
                first_line: line.chars().take(80).collect(),
            });
        }
        // The last line of a torn file has no line feed, and may end inside a number.
        let Some(whole) = line.strip_suffix('\n') else {
            return Ok(rows);
        };
        if number > 0 {
            rows.push(parse_row(whole).ok_or_else(|| StoreError::Row {
                path: path.to_owned(),
                row: number,
                text: whole.chars().take(120).collect(),
            })?);
        }
        number += 1;
    }
}

/// A stream whose damaged end counts as its end.
struct Torn<R>(R);

impl<R: Read> Read for Torn<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
            // A torn frame reports an unexpected end or, cut inside a block, damaged data.
            Err(_) => Ok(0),
            ok => ok,
        }
    }
}

fn parse_row(row: &str) -> Option<StoredSample> {
    let (utc_ns, rest) = row.split_once(',')?;
    let (t_s, rest) = rest.split_once(',')?;
    // From the right, since only the name of the device may hold a comma.
    let (rest, quality) = rest.rsplit_once(',')?;
    let (rest, _unit) = rest.rsplit_once(',')?;
    let (rest, value) = rest.rsplit_once(',')?;
    let (device, point) = rest.rsplit_once(',')?;
    let device = match device.strip_prefix('"').and_then(|d| d.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => device.to_owned(),
    };
    Some(StoredSample {
        utc_ns: utc_ns.parse().ok()?,
        t_s: t_s.parse().ok()?,
        device,
        point: Point::from_name(point)?,
        value: match quality {
            "good" => Ok(value.parse().ok()?),
            why => Err(why.to_owned()),
        },
    })
}
