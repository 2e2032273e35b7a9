//! What a copy lacks though it has its leaf, and how it is given that later.

use super::{LedgerError, Mirror, MirrorFault};
use crate::filled::{Filled, laid_over};
use crate::index::Row;
use crate::segment::{Item, read_batch};
use ledger_core::{Address, Entry, UniverseId};

impl Mirror {
    /// From now on a batch with leaves is refused: every shard is kept here.
    pub fn refuse_leaves(&mut self) {
        self.is_whole = true;
    }

    /// Batches behind the entry `clock`, with what was given later.
    pub(super) fn after(
        &mut self,
        clock: u64,
        bytes_max: u64,
    ) -> Result<Vec<Vec<u8>>, LedgerError> {
        let mut batches = self.segments.after(clock, bytes_max)?;
        if self.filled.is_empty() {
            return Ok(batches);
        }
        for stands in &mut batches {
            let first = read_batch(stands, 0).map(|batch| batch.first_clock);
            let first = first.unwrap_or_default();
            let given = self.filled.get(self.segments.storage(), first);
            let whole = given.and_then(|g| laid_over(&self.state.universe, stands, &g));
            if let Some(whole) = whole {
                *stands = whole;
            }
        }
        Ok(batches)
    }

    /// Tells `visit` of what was given later.
    pub(super) fn recall_filled(&mut self, visit: &mut dyn FnMut(Row)) -> Result<(), LedgerError> {
        self.filled = Filled::read(self.segments.storage())?;
        let clocks: Vec<u64> = self.filled.clocks().collect();
        for first in clocks {
            let Some(stands) = self.segments.after(first - 1, 0)?.pop() else {
                continue;
            };
            let Some(whole) = self.after(first - 1, 0)?.pop() else {
                continue;
            };
            for (_, entry) in new_in(&self.state.universe, &stands, &whole) {
                visit(Row::of(&entry));
            }
        }
        Ok(())
    }

    /// Takes another reading of a batch that stands here, and keeps what that has in
    /// place of leaves. Gives all entries of the batch, each with its clock.
    ///
    /// # Errors
    /// See [`MirrorFault`]; [`MirrorFault::Known`] when it is not a reading of a batch
    /// that stands here.
    pub fn fill(&mut self, bytes: &[u8]) -> Result<Vec<(u64, Entry)>, MirrorFault> {
        let unsigned = |what: &str| MirrorFault::Unsigned {
            what: what.to_owned(),
        };
        let given = read_batch(bytes, 0).map_err(|_| unsigned("it does not read"))?;
        if given.next != bytes.len() || given.first_clock == 0 {
            return Err(unsigned("it is not one batch"));
        }
        let first = given.first_clock;
        let stands = self.after(first - 1, 0).map_err(not_read)?.pop();
        let stands = stands.ok_or(MirrorFault::Known)?;
        let universe = self.state.universe;
        let whole = laid_over(&universe, &stands, bytes).ok_or(MirrorFault::Known)?;
        let new = new_in(&universe, &stands, &whole);
        let signs = |(clock, entry): &(u64, Entry)| {
            let vertex = &entry.vertex;
            vertex.l == *clock
                && vertex.node == Address::of_key(&universe, &self.state.key)
                && entry.verify_vertex(&self.state.key).is_ok()
        };
        if new.len() != leaves_in(&stands) - leaves_in(&whole) || !new.iter().all(signs) {
            let what = "an entry that it kept back is none";
            return Err(MirrorFault::Lie { what });
        }
        if !new.is_empty() {
            let storage = self.segments.storage();
            if !self.filled.put(storage, first, &whole)? {
                let what = "its copy lacks too much: remove the copy, it is fetched again";
                let (file, detail) = (crate::filled::FILLED_FILE, what);
                return Err(crate::StorageError::damaged(file, detail).into());
            }
        }
        Ok(entries_of(&universe, &whole))
    }
}

fn not_read(e: LedgerError) -> MirrorFault {
    match e {
        LedgerError::Storage(e) => MirrorFault::Storage(e),
        e => MirrorFault::Storage(crate::StorageError::damaged("the copy", &e.to_string())),
    }
}

/// The entries of a batch that are there in full, each with its clock.
fn entries_of(universe: &UniverseId, bytes: &[u8]) -> Vec<(u64, Entry)> {
    let Ok(batch) = read_batch(bytes, 0) else {
        return vec![];
    };
    let places = (batch.first_clock..).zip(&batch.items);
    let entries = places.filter_map(|(clock, (_, item))| match item {
        Item::Entry(bytes) => Some((clock, Entry::from_bytes(bytes, universe).ok()?)),
        Item::Leaf(_) => None,
    });
    entries.collect()
}

/// Those of `whole` that stand as leaves in the other reading of the batch.
fn new_in(universe: &UniverseId, stands: &[u8], whole: &[u8]) -> Vec<(u64, Entry)> {
    let Ok(batch) = read_batch(stands, 0) else {
        return vec![];
    };
    let (first, items) = (batch.first_clock, &batch.items);
    let was_leaf = |clock: u64| {
        let at = usize::try_from(clock - first).ok();
        at.and_then(|at| items.get(at))
            .is_some_and(|(_, i)| i.is_leaf())
    };
    let entries = entries_of(universe, whole).into_iter();
    entries.filter(|(clock, _)| was_leaf(*clock)).collect()
}

/// The clocks of the first and the last entry of a batch.
pub fn clocks_of(bytes: &[u8]) -> Option<(u64, u64)> {
    let batch = read_batch(bytes, 0).ok()?;
    let last = batch.first_clock + batch.items.len() as u64;
    (batch.next == bytes.len() && !batch.items.is_empty()).then(|| (batch.first_clock, last - 1))
}

/// Whether entries of a batch stand as their leaves.
pub fn has_leaves(bytes: &[u8]) -> bool {
    leaves_in(bytes) > 0
}

fn leaves_in(bytes: &[u8]) -> usize {
    let batch = read_batch(bytes, 0);
    batch.map_or(0, |batch| {
        batch.items.iter().filter(|(_, i)| i.is_leaf()).count()
    })
}
