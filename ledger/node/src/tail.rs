//! Following a log that somebody else writes: each look reads what came since the last one.
//!
//! It takes no lock and changes nothing, like [`crate::read`]. A batch that is not whole yet is
//! left for the next look.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use ledger_core::{Entry, Epochs, Field as _, HeadId, SegmentHeader, SignedHead, UniverseId};
use serde_json::Value as Json;

use crate::error::{LedgerError, StorageError};
use crate::log::LEDGER_FOLDER;
use crate::read::{LogEntry, epochs_in, shown_entry};
use crate::segment::{Fault, HeaderFound, Item, RawBatch, read_batch, read_header, segment_name};

/// Where a batch stands, to be read again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPlace {
    segment: u64,
    /// In bytes from the beginning of the segment.
    offset: u64,
    /// In bytes.
    length: u64,
}

/// A reader that follows the log in a run folder.
#[derive(Debug)]
pub struct Tail {
    folder: PathBuf,
    /// Those beside the log when it was opened: a later one is told by the next run.
    epochs: Epochs,
    id: UniverseId,
    /// The segment that is being read, from 1.
    segment: u64,
    /// Byte of it from which nothing was read yet; 0 before its header.
    offset: u64,
    next_clock: u64,
    last_head: HeadId,
}

impl Tail {
    /// Before the first entry of the log in `run_dir/ledger`.
    ///
    /// # Errors
    /// A missing or damaged genesis configuration.
    pub fn open(run_dir: &Path) -> Result<Tail, LedgerError> {
        let folder = run_dir.join(LEDGER_FOLDER);
        let epochs = epochs_in(&folder)?;
        Ok(Tail {
            id: epochs.id(),
            epochs,
            folder,
            segment: 1,
            offset: 0,
            next_clock: 1,
            last_head: HeadId::NONE,
        })
    }

    /// The configurations by which it is read.
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// Hands `take` every entry that was written since the last look.
    ///
    /// # Errors
    /// Damage in the log, or a file that cannot be read; what came before was handed over.
    pub fn look(&mut self, mut take: impl FnMut(BatchPlace, LogEntry)) -> Result<(), LedgerError> {
        loop {
            // A segment is complete before the next one exists: this must be asked first.
            let is_complete = self.folder.join(segment_name(self.segment + 1)).exists();
            let file = segment_name(self.segment);
            let bytes = self.bytes_from(&file)?;
            let mut at = 0;
            if self.offset == 0 {
                let header =
                    SegmentHeader::new(self.segment, self.id, self.next_clock, self.last_head);
                match read_header(&file, &bytes, &header)? {
                    HeaderFound::Whole(behind) => at = behind,
                    HeaderFound::Torn if is_complete => {
                        return Err(self.corrupt(&file, 0, "the header of the segment is cut off"));
                    }
                    HeaderFound::Torn => return Ok(()),
                }
            }
            while at < bytes.len() {
                let batch = match read_batch(&bytes, at) {
                    Ok(batch) => batch,
                    Err(Fault::Torn) if is_complete => {
                        return Err(self.corrupt(&file, at, "a batch is cut off"));
                    }
                    Err(Fault::Torn) => break,
                    Err(Fault::Damaged { offset, what }) => {
                        return Err(self.corrupt(&file, offset, what));
                    }
                };
                let place = BatchPlace {
                    segment: self.segment,
                    offset: self.offset + at as u64,
                    length: (batch.next - at) as u64,
                };
                self.follow(&file, &batch, |entry| take(place, entry))?;
                at = batch.next;
            }
            self.offset += at as u64;
            if !is_complete {
                return Ok(());
            }
            (self.segment, self.offset) = (self.segment + 1, 0);
        }
    }

    fn follow(
        &mut self,
        file: &str,
        batch: &RawBatch<'_>,
        mut take: impl FnMut(LogEntry),
    ) -> Result<(), LedgerError> {
        let mut entries = Vec::new();
        for (clock, (offset, item)) in (self.next_clock..).zip(&batch.items) {
            if let Item::Entry(bytes) = item {
                let entry = self.entry(file, *offset, bytes)?;
                if entry.clock != clock {
                    let what = "the logical clock does not follow";
                    return Err(self.corrupt(file, *offset, what));
                }
                entries.push(entry);
            }
        }
        let head = SignedHead::from_bytes(batch.head).map_err(|e| e.to_string());
        let head = head.and_then(|head| head.head.id(&self.id).map_err(|e| e.to_string()));
        self.last_head = head.map_err(|e| self.corrupt(file, batch.head_at, &e))?;
        self.next_clock += batch.items.len() as u64;
        entries.into_iter().for_each(&mut take);
        Ok(())
    }

    fn entry(&self, file: &str, offset: usize, bytes: &[u8]) -> Result<LogEntry, LedgerError> {
        let entry = Entry::from_bytes(bytes, &self.id)
            .map_err(|e| self.corrupt(file, offset, &e.to_string()))?;
        Ok(LogEntry {
            clock: entry.vertex.l,
            atom: entry.atom,
            vertex: entry.vertex,
            vertex_signature: entry.signature,
        })
    }

    /// The entry of a clock out of its batch, as one JSON object like those of [`crate::show`];
    /// `None` when it is not in this batch.
    ///
    /// # Errors
    /// As [`Tail::look`].
    pub fn shown(&self, place: BatchPlace, clock: u64) -> Result<Option<Json>, LedgerError> {
        let file = segment_name(place.segment);
        let unreadable = |e: &std::io::Error| StorageError::new("read", &file, e);
        let mut bytes = vec![0; usize::try_from(place.length).unwrap_or(0)];
        let opened = File::open(self.folder.join(&file)).map_err(|e| unreadable(&e))?;
        std::os::unix::fs::FileExt::read_exact_at(&opened, &mut bytes, place.offset)
            .map_err(|e| unreadable(&e))?;
        let batch = read_batch(&bytes, 0)
            .map_err(|_| self.corrupt(&file, 0, "a batch does not read again"))?;
        for (offset, item) in &batch.items {
            let Item::Entry(bytes) = item else { continue };
            let entry = self.entry(&file, *offset, bytes)?;
            if entry.clock == clock {
                return Ok(Some(shown_entry(&self.epochs, &entry)));
            }
        }
        Ok(None)
    }

    fn bytes_from(&self, file: &str) -> Result<Vec<u8>, StorageError> {
        let read = || {
            let mut bytes = Vec::new();
            let mut opened = File::open(self.folder.join(file))?;
            opened.seek(SeekFrom::Start(self.offset))?;
            opened.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|e: std::io::Error| StorageError::new("read", file, &e))
    }

    fn corrupt(&self, file: &str, offset: usize, what: &str) -> LedgerError {
        LedgerError::Corrupt {
            file: file.to_owned(),
            offset: self.offset + offset as u64,
            what: what.to_owned(),
        }
    }
}
