//! The node log: durable, append-only, its entry index is the logical clock.
//!
//! This crate is responsible for keeping one node's entries on disk: an entry
//! is acknowledged only when it is as durable as was asked for, and what was
//! acknowledged is never lost silently. It is *not* responsible for judging a
//! finished run (that is `ledger-verify`, which reads the files on its own),
//! nor for other nodes.
//!
//! # The files
//!
//! `<run>/ledger/universe.json` is the genesis configuration and
//! `<run>/ledger/segment-00000001.log` and so on hold the entries. Segments
//! grow; they are not preallocated, because then the end of the file is the end
//! of what was written, a copy of the folder has no padding, and a torn tail
//! is short rather than full of zeros. The price is that a durable write also
//! writes the file's length.
//!
//! A segment is a sequence of frames, `len u32 LE | crc32c u32 LE | type u8 |
//! bytes`, where the checksum covers length, type and bytes. The first frame
//! is the segment's header. Then come batches, each written at once: `Begin`
//! with the length of the batch, its entries, its signed `Head`, and `End` which
//! repeats the length. A batch is acknowledged only as a whole.
//!
//! # Torn or damaged
//!
//! After a crash the file may end inside a batch. Such a tail is cut off on
//! opening, because nothing in it was acknowledged. Damage is something else:
//! the batch has its full length and does not read. Since a batch is framed on
//! both ends, one changed byte in a written batch always leaves an intact frame
//! behind it or an intact head before it, and opening then fails with the file
//! and the offset. When the power fails, a disk may also keep a later page of
//! an unacknowledged batch and lose an earlier one; that is reported as damage
//! too: an operator looks at it rather than a program guessing.

pub mod balances;
pub mod draft;
pub mod epochs;
pub mod error;
mod filled;
mod frame;
pub mod index;
pub mod keyring;
pub mod log;
pub mod memory;
pub mod mirror;
pub mod prove;
pub mod read;
mod recheck;
mod segment;
mod segments;
mod state;
pub mod storage;
pub mod tail;
pub mod writer;

pub use balances::{Balance, Holdings, balances};
pub use draft::{Appended, AtomDraft, Receipt, Record};
pub use epochs::{epochs_in, read_epochs};
pub use error::{AppendError, LedgerError, Refusal, StorageError, StorageFault};
pub use index::{IndexFound, IndexOptions, Row};
pub use keyring::Keyring;
pub use log::{Durability, NodeLog, NodeLogOptions};
pub use memory::MemoryStorage;
pub use mirror::{Mirror, MirrorFault, Sighting};
pub use prove::{Asked, ProveError, Selector, prove};
pub use read::{LogEntry, entries, show};
pub use recheck::{Recheck, recheck};
pub use state::Place;
pub use storage::{FileStorage, Storage};
pub use tail::{BatchPlace, Tail};
pub use writer::{LedgerWriter, Ticket, WaitError};

#[cfg(test)]
mod tests;
