//! Reading again what opening did not: whether the bytes of a log are still what
//! its node has signed.
//!
//! It reads the files beside whoever writes them, without the lock, and only as
//! far as the log went when it was opened.

use std::path::Path;

use ledger_core::merkle::Frontier;
use ledger_core::{Address, Field as _, HeadId, PublicKey, SegmentHeader, SignedHead, UniverseId};

use crate::error::{LedgerError, StorageError};
use crate::segment::{Fault, HeaderFound, read_batch, read_header, segment_name};
use crate::segments::numbers_of;
use crate::storage::list;

/// How far a check has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recheck {
    /// Entries whose bytes are under a head of the log's node.
    pub entries: u64,
    /// Bytes that were read for it.
    pub bytes: u64,
}

/// Checks the entries up to the clock `until` of the log of the node with this key
/// in `folder`: every frame, every leaf, the root of each batch, how the heads
/// follow each other, and the signature of the last of them, which covers all of
/// it. `go_on` is asked after each batch, so that it can pause, or end by `false`.
///
/// # Errors
/// Storage, or [`LedgerError::Corrupt`] with the file and the offset.
pub fn recheck(
    folder: &Path,
    universe: &UniverseId,
    key: &PublicKey,
    until: u64,
    go_on: &mut dyn FnMut(Recheck) -> bool,
) -> Result<Recheck, LedgerError> {
    let name = folder.display().to_string();
    let names = list(folder).map_err(|e| StorageError::new("list", &name, &e))?;
    let node = Address::of_key(universe, key);
    let mut done = Recheck {
        entries: 0,
        bytes: 0,
    };
    let mut tree = Frontier::new(*universe);
    let mut before = HeadId::NONE;
    for number in numbers_of(&names)? {
        if tree.size() >= until {
            break;
        }
        let file = segment_name(number);
        let corrupt = |offset: usize, what: &str| LedgerError::Corrupt {
            file: file.clone(),
            offset: offset as u64,
            what: what.to_owned(),
        };
        let bytes = std::fs::read(folder.join(&file));
        let bytes = bytes.map_err(|e| StorageError::new("read", &file, &e))?;
        let header = SegmentHeader::new(number, *universe, tree.size() + 1, before);
        let HeaderFound::Whole(mut at) = read_header(&file, &bytes, &header)? else {
            return Err(corrupt(0, "the header of the segment is cut off"));
        };
        while at < bytes.len() && tree.size() < until {
            let batch = read_batch(&bytes, at).map_err(|fault| match fault {
                Fault::Torn => corrupt(at, "a batch is cut off"),
                Fault::Damaged { offset, what } => corrupt(offset, what),
            })?;
            for (_, item) in &batch.items {
                tree.push(item.leaf(universe));
            }
            let signed = SignedHead::from_bytes(batch.head)
                .map_err(|e| corrupt(batch.head_at, &format!("the head: {e}")))?;
            let head = &signed.head;
            let follows = (head.size, head.root) == (tree.size(), tree.root())
                && head.prev == before
                && head.node == node;
            if !follows {
                return Err(corrupt(batch.head_at, "the head is not over the entries"));
            }
            let id = head.id(universe);
            before = id.map_err(|e| corrupt(batch.head_at, &format!("the head: {e}")))?;
            if tree.size() >= until || batch.next == bytes.len() {
                let held = signed.verify(universe, key);
                held.map_err(|e| corrupt(batch.head_at, &format!("the head: {e}")))?;
            }
            done.entries = tree.size();
            done.bytes += (batch.next - at) as u64;
            at = batch.next;
            if !go_on(done) {
                return Ok(done);
            }
        }
    }
    match done.entries >= until {
        true => Ok(done),
        false => Err(LedgerError::Corrupt {
            file: name,
            offset: 0,
            what: format!("it ends with entry {}, not {until}", done.entries),
        }),
    }
}
