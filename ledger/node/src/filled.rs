//! Entries that a copy of a log was given later, in place of their leaves.
//!
//! A copy is only ever appended to. Where it has the leaf of an entry that belongs
//! here, the whole batch is kept in a file beside the segments, and is laid over
//! the one that stands there whenever that is read. The leaves are what the node
//! has signed, so nothing else can be laid over them.

use std::collections::BTreeMap;
use std::io;

use ledger_core::{HeadId, UniverseId};

use crate::error::StorageError;
use crate::segment::{Item, batch_bytes, read_batch};
use crate::segments::{append_bytes, cut};
use crate::storage::Storage;

/// The file beside the segments.
pub(crate) const FILLED_FILE: &str = "filled.log";

/// Most bytes of that file.
/// Chosen: some 200,000 entries. A copy that lacks more is better removed and
/// fetched again.
const FILLED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Where the batches stand in the file, by the clock of their first entry.
#[derive(Debug, Default)]
pub(crate) struct Filled {
    places: BTreeMap<u64, (u64, usize)>,
    length: u64,
}

impl Filled {
    /// Those of a storage. What a crash has left in pieces is cut off: it is found
    /// missing again.
    pub(crate) fn read(storage: &mut dyn Storage) -> Result<Filled, StorageError> {
        let bytes = match storage.read(FILLED_FILE) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Filled::default()),
            Err(e) => return Err(StorageError::new("read", FILLED_FILE, &e)),
        };
        let mut filled = Filled::default();
        for (first, at, length) in batches(&bytes) {
            filled.places.insert(first, (at as u64, length));
            filled.length = (at + length) as u64;
        }
        if filled.length < bytes.len() as u64 {
            cut(storage, FILLED_FILE, filled.length)?;
        }
        Ok(filled)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The clocks with which its batches begin.
    pub(crate) fn clocks(&self) -> impl Iterator<Item = u64> {
        self.places.keys().copied()
    }

    /// The batch that begins with a clock.
    pub(crate) fn get(&self, storage: &mut dyn Storage, first: u64) -> Option<Vec<u8>> {
        let (offset, length) = *self.places.get(&first)?;
        storage.read_at(FILLED_FILE, offset, length).ok()
    }

    /// Keeps a batch; `false` where there is no room for it.
    pub(crate) fn put(
        &mut self,
        storage: &mut dyn Storage,
        first: u64,
        bytes: &[u8],
    ) -> Result<bool, StorageError> {
        if self.length + bytes.len() as u64 > FILLED_BYTES_MAX {
            return Ok(false);
        }
        append_bytes(storage, FILLED_FILE, bytes)?;
        self.places.insert(first, (self.length, bytes.len()));
        self.length += bytes.len() as u64;
        Ok(true)
    }
}

/// The batches in the bytes of the file up to the first that does not read: first
/// clock, offset and length.
fn batches(bytes: &[u8]) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let batch = (at < bytes.len()).then(|| read_batch(bytes, at).ok())??;
        let found = (batch.first_clock, at, batch.next - at);
        at = batch.next;
        Some(found)
    })
}

/// As [`batches`], for whoever reads a folder without keeping it: the bytes of each.
pub(crate) fn filled_in(bytes: &[u8]) -> BTreeMap<u64, Vec<u8>> {
    let found = batches(bytes);
    found
        .map(|(first, at, length)| (first, bytes[at..at + length].to_vec()))
        .collect()
}

/// The batch that stands in a copy with the entries of another reading of it in
/// place of leaves. `None` when that is not a reading of this batch.
pub(crate) fn laid_over(universe: &UniverseId, stands: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let (stands, other) = (read_batch(stands, 0).ok()?, read_batch(other, 0).ok()?);
    if (stands.first_clock, stands.items.len()) != (other.first_clock, other.items.len()) {
        return None;
    }
    let mut items: Vec<Item<'_>> = Vec::with_capacity(stands.items.len());
    for ((_, mine), (_, theirs)) in stands.items.iter().zip(&other.items) {
        items.push(match (*mine, *theirs) {
            (Item::Entry(_), _) => *mine,
            (Item::Leaf(leaf), theirs) if theirs.leaf(universe) == *leaf => theirs,
            (Item::Leaf(_), _) => return None,
        });
    }
    let id = HeadId(stands.head_id);
    Some(batch_bytes(stands.first_clock, &items, stands.head, &id))
}
