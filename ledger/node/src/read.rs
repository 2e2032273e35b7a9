//! Reading a log without its keys: entries, and their rendering as JSON.
//!
//! The reader takes no lock and changes nothing. It stops before a torn tail
//! and reports damage; it does not verify signatures, that is `ledger-verify`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ledger_core::{
    Atom, Digest32, Entry, Epochs, SegmentHeader, Shown, Signature, SignedHead, Universe,
    UniverseId, Vertex,
};
use ledger_core::{Field as _, HeadId};
use serde_json::{Map, Value as Json};

use crate::epochs::epochs_by;
use crate::error::{LedgerError, StorageError, StorageFault};
use crate::filled::{FILLED_FILE, filled_in, laid_over};
use crate::log::{LEDGER_FOLDER, UNIVERSE_FILE};
use crate::segment::{Fault, HeaderFound, Item, read_batch, read_header, segment_name};
use crate::segments::numbers_of;
use crate::storage::list;

/// One entry as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The logical clock, from 1.
    pub clock: u64,
    /// The atom.
    pub atom: Atom,
    /// The node's vertex.
    pub vertex: Vertex,
    /// The node's signature over the vertex, where its kind has one.
    pub vertex_signature: Option<Signature>,
}

/// The entries of a log in their order.
#[derive(Debug)]
pub struct Entries {
    folder: PathBuf,
    epochs: Epochs,
    id: UniverseId,
    numbers: std::vec::IntoIter<u64>,
    segment: Option<(String, Vec<u8>, usize)>,
    ready: std::vec::IntoIter<LogEntry>,
    next_clock: u64,
    last_head: HeadId,
    signed_head: Option<SignedHead>,
    elsewhere: Vec<(u64, Digest32)>,
    /// What a copy was given later, by the clock with which the batch begins.
    filled: BTreeMap<u64, Vec<u8>>,
    is_over: bool,
}

/// The entries of the log in `run_dir/ledger`.
///
/// # Errors
/// A missing or damaged genesis configuration, or a missing segment.
pub fn entries(run_dir: &Path) -> Result<Entries, LedgerError> {
    let folder = run_dir.join(LEDGER_FOLDER);
    let epochs = epochs_in(&folder)?;
    entries_in(&folder, epochs)
}

/// The configurations beside the log in a folder.
pub(crate) fn epochs_in(folder: &Path) -> Result<Epochs, LedgerError> {
    let mut read = |name: &str| match read(folder, name) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.fault == StorageFault::Missing && name != UNIVERSE_FILE => Ok(None),
        Err(e) => Err(e),
    };
    epochs_by(&mut read)
}

/// The entries of the segments in `folder`, which may be a copy of another node's
/// log and then has no configuration of its own.
///
/// # Errors
/// A missing segment.
pub fn entries_in(folder: &Path, epochs: Epochs) -> Result<Entries, LedgerError> {
    let names = list(folder).map_err(|e| StorageError::new("list", LEDGER_FOLDER, &e))?;
    let filled = match read(folder, FILLED_FILE) {
        Ok(bytes) => filled_in(&bytes),
        Err(e) if e.fault == StorageFault::Missing => BTreeMap::new(),
        Err(e) => return Err(e.into()),
    };
    Ok(Entries {
        id: epochs.id(),
        epochs,
        numbers: numbers_of(&names)?.into_iter(),
        folder: folder.to_owned(),
        segment: None,
        ready: vec![].into_iter(),
        next_clock: 1,
        last_head: HeadId::NONE,
        signed_head: None,
        elsewhere: vec![],
        filled,
        is_over: false,
    })
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>, StorageError> {
    std::fs::read(folder.join(name)).map_err(|e| StorageError::new("read", name, &e))
}

impl Entries {
    /// The genesis configuration of the log.
    pub fn universe(&self) -> &Universe {
        self.epochs.genesis_configuration()
    }

    /// All configurations beside the log.
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// The head over all entries of the batches that were read so far; at the
    /// end of the iteration, the last head of the log.
    pub fn signed_head(&self) -> Option<&SignedHead> {
        self.signed_head.as_ref()
    }

    /// Clock and leaf of each entry so far that is kept elsewhere: in a copy of the
    /// log of a node that keeps other shards.
    pub fn elsewhere(&self) -> &[(u64, Digest32)] {
        &self.elsewhere
    }

    /// Reads until at least one entry is ready; false at the end.
    fn fill(&mut self) -> Result<bool, LedgerError> {
        while self.ready.as_slice().is_empty() {
            let (file, bytes, at) = match self.segment.take() {
                Some(segment) => segment,
                None => match self.numbers.next() {
                    Some(number) => match self.open_segment(number)? {
                        Some(segment) => segment,
                        None => return Ok(false),
                    },
                    None => return Ok(false),
                },
            };
            if at == bytes.len() {
                continue;
            }
            let corrupt = |offset: usize, what: String| LedgerError::Corrupt {
                file: file.clone(),
                offset: offset as u64,
                what,
            };
            let is_last = self.numbers.as_slice().is_empty();
            let batch = match read_batch(&bytes, at) {
                Ok(batch) => batch,
                Err(Fault::Torn) if is_last => return Ok(false),
                Err(Fault::Torn) => return Err(corrupt(at, "a batch is cut off".to_owned())),
                Err(Fault::Damaged { offset, what }) => {
                    return Err(corrupt(offset, what.to_owned()));
                }
            };
            let next = batch.next;
            let whole = self.filled.get(&batch.first_clock);
            let whole = whole.and_then(|whole| laid_over(&self.id, &bytes[at..next], whole));
            let whole = whole.as_deref().map(|whole| read_batch(whole, 0));
            let batch = whole.and_then(Result::ok).unwrap_or(batch);
            let mut ready = Vec::with_capacity(batch.items.len());
            for (offset, item) in &batch.items {
                let entry = match item {
                    Item::Entry(entry) => entry,
                    Item::Leaf(leaf) => {
                        self.elsewhere.push((self.next_clock, **leaf));
                        self.next_clock += 1;
                        continue;
                    }
                };
                let entry = Entry::from_bytes(entry, &self.id)
                    .map_err(|e| corrupt(*offset, e.to_string()))?;
                if entry.vertex.l != self.next_clock {
                    return Err(corrupt(
                        *offset,
                        "the logical clock does not follow".to_owned(),
                    ));
                }
                self.next_clock += 1;
                ready.push(LogEntry {
                    clock: entry.vertex.l,
                    atom: entry.atom,
                    vertex: entry.vertex,
                    vertex_signature: entry.signature,
                });
            }
            let head = SignedHead::from_bytes(batch.head)
                .map_err(|e| corrupt(batch.head_at, e.to_string()))?;
            self.last_head = head
                .head
                .id(&self.id)
                .map_err(|e| corrupt(batch.head_at, e.to_string()))?;
            self.signed_head = Some(head);
            self.ready = ready.into_iter();
            self.segment = Some((file, bytes, next));
        }
        Ok(true)
    }

    fn open_segment(
        &mut self,
        number: u64,
    ) -> Result<Option<(String, Vec<u8>, usize)>, LedgerError> {
        let file = segment_name(number);
        let bytes = read(&self.folder, &file)?;
        let header = SegmentHeader::new(number, self.id, self.next_clock, self.last_head);
        let is_last = self.numbers.as_slice().is_empty();
        match read_header(&file, &bytes, &header)? {
            HeaderFound::Whole(at) => Ok(Some((file, bytes, at))),
            HeaderFound::Torn if is_last => Ok(None),
            HeaderFound::Torn => Err(LedgerError::Corrupt {
                file,
                offset: 0,
                what: "the header of the segment is cut off".to_owned(),
            }),
        }
    }
}

impl Iterator for Entries {
    type Item = Result<LogEntry, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        match self.fill() {
            Ok(true) => self.ready.next().map(Ok),
            Ok(false) => {
                self.is_over = true;
                None
            }
            Err(e) => {
                self.is_over = true;
                Some(Err(e))
            }
        }
    }
}

/// The entries of the log in `run_dir/ledger`, each as one JSON object with
/// `clock, atom, kind, author, author_seq, shards, groups, utc, hlc, deps` and
/// `payload`, and with `prev`, `expiry_utc_ns` and `particles` where they exist.
///
/// # Errors
/// As [`entries`]; damage further on is an item of the iterator.
pub fn show(
    run_dir: &Path,
) -> Result<impl Iterator<Item = Result<Json, LedgerError>> + use<>, LedgerError> {
    let entries = entries(run_dir)?;
    let epochs = entries.epochs().clone();
    Ok(entries.map(move |entry| entry.map(|entry| shown_entry(&epochs, &entry))))
}

pub(crate) fn shown_entry(epochs: &Epochs, entry: &LogEntry) -> Json {
    let body = entry.atom.body();
    let (universe, author) = (epochs.current(), epochs.name_of(&body.author));
    let author = author.map_or_else(|| body.author.to_string(), str::to_owned);
    let shards = body
        .destinations
        .iter()
        .map(|d| format!("{:016x}", d.shard().0));
    let groups = body
        .destinations
        .iter()
        .map(|d| d.shard().group(universe.shard_bits));
    let mut object = Map::new();
    let mut put = |key: &str, value: Json| object.insert(key.to_owned(), value);
    put("clock", entry.clock.into());
    put("atom", entry.atom.id().to_string().into());
    put("kind", body.kind().name().into());
    put("author", author.into());
    put("author_seq", body.author_seq.into());
    put("shards", shards.collect());
    put("groups", groups.collect());
    put("utc", utc_text(body.hlc.utc_milliseconds()).into());
    put("hlc", body.hlc.0.into());
    put("clock_quality", json(body.clock_quality.shown()));
    put("deps", json(body.deps.shown()));
    put("payload", json(body.payload.shown()));
    if let Some(prev) = body.prev {
        put("prev", prev.to_string().into());
    }
    if let Some(expiry) = body.expiry_utc_ns {
        put("expiry_utc_ns", expiry.into());
    }
    if !body.particles.is_empty() {
        put("particles", json(body.particles.shown()));
    }
    Json::Object(object)
}

/// An absent value is null; an integer beyond JSON's reach is a text.
pub(crate) fn json(shown: Shown) -> Json {
    match shown {
        Shown::Absent => Json::Null,
        Shown::Int(n) => match (i64::try_from(n), u64::try_from(n)) {
            (Ok(n), _) => n.into(),
            (_, Ok(n)) => n.into(),
            _ => n.to_string().into(),
        },
        Shown::Text(text) => text.into(),
        Shown::List(items) => items.into_iter().map(json).collect(),
        Shown::Record(fields) => Json::Object(
            fields
                .into_iter()
                .map(|(k, v)| (k.to_owned(), json(v)))
                .collect(),
        ),
    }
}

/// A time as `2026-11-05T12:34:56.789Z` (RFC 3339), by the civil calendar.
pub(crate) fn utc_text(milliseconds: u64) -> String {
    const MILLISECONDS_PER_DAY: u64 = 86_400_000;
    let (days, rest) = (
        milliseconds / MILLISECONDS_PER_DAY,
        milliseconds % MILLISECONDS_PER_DAY,
    );
    // Days since 1970-01-01 to year, month and day: count years from March, so
    // that the leap day is the last, in cycles of 400 years (146,097 days).
    // 719,468 is the number of days from 0000-03-01 to 1970-01-01.
    let shifted = days + 719_468;
    let (cycle, day_of_cycle) = (shifted / 146_097, shifted % 146_097);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524
        - day_of_cycle / 146_096)
        / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = cycle * 400 + year_of_cycle + u64::from(month <= 2);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, millisecond) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_by_the_civil_calendar() {
        // Seconds from `date -u +%s`, each with one millisecond added.
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.001Z"),
            (951_782_399, "2000-02-28T23:59:59.001Z"),
            (951_782_400, "2000-02-29T00:00:00.001Z"),
            (1_709_251_199, "2024-02-29T23:59:59.001Z"),
            (1_709_251_200, "2024-03-01T00:00:00.001Z"),
            (4_107_542_400, "2100-03-01T00:00:00.001Z"),
        ] {
            assert_eq!(utc_text(seconds * 1000 + 1), expected);
        }
    }
}
