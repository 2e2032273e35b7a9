//! The segment files of one log: reading them back, appending, handing out.
//!
//! What a batch says is the business of a [`Follower`]; here is only where it
//! stands, that it follows the one before, and what a torn end means.

use std::io;

use ledger_core::{Address, EpochChange, HeadId, SegmentHeader, UniverseId};

use crate::epochs::write_epoch;
use crate::error::{LedgerError, StorageError};
use crate::index::{BatchRow, Index, IndexFound, IndexOptions, Notes, Recall};
use crate::log::LEDGER_FOLDER;
use crate::segment::{
    Fault, HeaderFound, RawBatch, header_frame, read_batch, read_header, segment_name,
    segment_number,
};
use crate::storage::Storage;

/// What goes along with the batches of a log.
pub(crate) trait Follower: Recall {
    /// The clock of the next entry.
    fn next_clock(&self) -> u64;
    /// The id of the latest head.
    fn last_head(&self) -> HeadId;
    /// Checks a batch that was read from `file`, goes along with it, and gives what
    /// an index keeps of it.
    fn follow(&mut self, file: &str, batch: &RawBatch<'_>) -> Result<Notes, LedgerError>;
}

/// How the segments of a log are kept.
#[derive(Debug, Clone)]
pub(crate) struct Keeping {
    /// Size at which a segment is followed by a new one, in bytes.
    pub segment_bytes: u64,
    /// Whether batches can be handed out again later.
    pub is_shared: bool,
    /// Where an index is kept beside them, how.
    pub index: Option<IndexOptions>,
}

/// Where a batch stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    last_clock: u64,
    segment: u64,
    offset: u64,
    length: u64,
}

/// The segment files of one log, open for appending.
pub(crate) struct Segments {
    storage: Box<dyn Storage>,
    universe: UniverseId,
    segment_bytes: u64,
    number: u64,
    length: u64,
    /// Every batch, where others will ask for them.
    places: Option<Vec<Place>>,
    /// Bytes of a torn tail that opening cut off.
    pub torn_bytes: u64,
    index: Option<Index>,
    /// What became of the index at opening.
    pub index_found: IndexFound,
}

impl Segments {
    /// Begins the log of a node in an empty storage.
    pub(crate) fn create(
        mut storage: Box<dyn Storage>,
        universe: UniverseId,
        node: Address,
        keeping: Keeping,
    ) -> Result<Segments, StorageError> {
        let header = header_frame(&SegmentHeader::new(1, universe, 1, HeadId::NONE));
        create_file(&mut *storage, &segment_name(1), &header)?;
        let mut segments = Segments::new(storage, universe, node, keeping);
        (segments.number, segments.length) = (1, header.len() as u64);
        Ok(segments)
    }

    fn new(
        storage: Box<dyn Storage>,
        universe: UniverseId,
        node: Address,
        keeping: Keeping,
    ) -> Segments {
        let index = keeping.index;
        Segments {
            storage,
            universe,
            segment_bytes: keeping.segment_bytes,
            number: 0,
            length: 0,
            places: keeping.is_shared.then(Vec::new),
            torn_bytes: 0,
            index: index.map(|options| Index::new(universe, options, node)),
            index_found: IndexFound::None,
        }
    }

    /// Reads all batches back that the index does not have, cuts off a torn tail,
    /// and puts the rest on stable storage.
    pub(crate) fn open(
        storage: Box<dyn Storage>,
        universe: UniverseId,
        keeping: Keeping,
        follower: &mut dyn Follower,
    ) -> Result<Segments, LedgerError> {
        let node = Address::of_key(&universe, &follower.log_key());
        let mut segments = Segments::new(storage, universe, node, keeping);
        let numbers = segment_numbers(&mut *segments.storage)?;
        let (first, offset) = segments.recall(&numbers, follower)?;
        for number in numbers.iter().copied().filter(|number| *number >= first) {
            let is_last = Some(&number) == numbers.last();
            let from = (number == first).then_some(offset).flatten();
            segments.open_one(number, from, is_last, follower)?;
        }
        // A process that was killed may have left what only the system's memory
        // holds. Whatever is read back here is handed out from now on.
        segments.sync()?;
        Ok(segments)
    }

    /// Goes along with the index as far as it goes; gives the segment and, unless it
    /// is its beginning, the offset from which the log is to be read.
    fn recall(
        &mut self,
        numbers: &[u64],
        follower: &mut dyn Follower,
    ) -> Result<(u64, Option<u64>), LedgerError> {
        let Some(index) = &mut self.index else {
            return Ok((1, None));
        };
        let recalled = match index.read(&mut *self.storage, numbers, follower) {
            Ok(Some(recalled)) => recalled,
            Ok(None) => {
                index.forget(&mut *self.storage);
                return Ok((1, None));
            }
            Err(why) => {
                index.forget(&mut *self.storage);
                self.index_found = IndexFound::Refused { why };
                return Ok((1, None));
            }
        };
        index.go_on(&mut *self.storage, &recalled);
        let entries = recalled.entries();
        if let Some(places) = &mut self.places {
            let place = |(segment, batch, last_clock): &(u64, BatchRow, u64)| Place {
                last_clock: *last_clock,
                segment: *segment,
                offset: batch.offset,
                length: batch.length,
            };
            places.extend(recalled.batches.iter().map(place));
        }
        let (segment, offset) = recalled.end;
        self.index_found = IndexFound::Used { entries };
        recalled
            .tell(follower)
            .map_err(|what| LedgerError::Corrupt {
                file: crate::index::index_name(segment),
                offset: 0,
                what: format!("{what}; remove the index, and the log is read whole"),
            })?;
        Ok((segment, Some(offset)))
    }

    fn open_one(
        &mut self,
        number: u64,
        from: Option<u64>,
        is_last: bool,
        follower: &mut dyn Follower,
    ) -> Result<(), LedgerError> {
        let file = segment_name(number);
        let bytes = read_file(&mut *self.storage, &file)?;
        let corrupt = |offset: usize, what: &str| LedgerError::Corrupt {
            file: file.clone(),
            offset: offset as u64,
            what: what.to_owned(),
        };
        let (clock, head) = (follower.next_clock(), follower.last_head());
        let header = SegmentHeader::new(number, self.universe, clock, head);
        self.number = number;
        // Where the index ends within a segment it has compared the header.
        let header_found = match from {
            Some(offset) => HeaderFound::Whole(offset as usize),
            None => read_header(&file, &bytes, &header)?,
        };
        let mut at = match header_found {
            HeaderFound::Whole(at) => at,
            HeaderFound::Torn if is_last => {
                self.torn_bytes = bytes.len() as u64;
                cut(&mut *self.storage, &file, 0)?;
                let frame = header_frame(&header);
                write_all(&mut *self.storage, &file, &frame)?;
                sync(&mut *self.storage, &file)?;
                self.length = frame.len() as u64;
                return Ok(());
            }
            HeaderFound::Torn => {
                return Err(corrupt(0, "the header of the segment is cut off"));
            }
        };
        while at < bytes.len() {
            let batch = match read_batch(&bytes, at) {
                Ok(batch) => batch,
                Err(Fault::Torn) if is_last => {
                    self.torn_bytes = (bytes.len() - at) as u64;
                    cut(&mut *self.storage, &file, at as u64)?;
                    sync(&mut *self.storage, &file)?;
                    break;
                }
                Err(Fault::Torn) => return Err(corrupt(at, "a batch is cut off")),
                Err(Fault::Damaged { offset, what }) => return Err(corrupt(offset, what)),
            };
            if batch.first_clock != follower.next_clock() {
                return Err(corrupt(at, "the batch does not follow the one before"));
            }
            let notes = follower.follow(&file, &batch)?;
            let length = (batch.next - at) as u64;
            self.note(follower.next_clock() - 1, at as u64, length);
            if let Some(index) = &mut self.index {
                index.add(&mut *self.storage, number, (at as u64, length), notes);
            }
            at = batch.next;
        }
        self.length = at as u64;
        Ok(())
    }

    fn note(&mut self, last_clock: u64, offset: u64, length: u64) {
        let segment = self.number;
        if let Some(places) = &mut self.places {
            places.push(Place {
                last_clock,
                segment,
                offset,
                length,
            });
        }
    }

    /// The storage, for what stands beside the segments.
    pub(crate) fn storage(&mut self) -> &mut dyn Storage {
        &mut *self.storage
    }

    /// Whether an index is kept, so that notes are wanted.
    pub(crate) fn is_indexed(&self) -> bool {
        self.index.is_some()
    }

    /// Appends a batch whose last entry has `last_clock`. `next_clock` and
    /// `last_head` are those before it, for the header of a new segment; `notes` are
    /// for the index, where one is kept.
    pub(crate) fn append(
        &mut self,
        bytes: &[u8],
        (next_clock, last_head): (u64, HeadId),
        last_clock: u64,
        must_sync: bool,
        notes: Option<Notes>,
    ) -> Result<(), StorageError> {
        if self.length >= self.segment_bytes {
            // A finished segment is on stable storage before the next begins.
            sync(&mut *self.storage, &segment_name(self.number))?;
            let number = self.number + 1;
            let header = SegmentHeader::new(number, self.universe, next_clock, last_head);
            let header = header_frame(&header);
            create_file(&mut *self.storage, &segment_name(number), &header)?;
            (self.number, self.length) = (number, header.len() as u64);
        }
        let name = segment_name(self.number);
        write_all(&mut *self.storage, &name, bytes)?;
        if must_sync {
            sync(&mut *self.storage, &name)?;
        }
        let place = (self.length, bytes.len() as u64);
        self.note(last_clock, place.0, place.1);
        // Behind the batch, and never waited for: an index that says more than the
        // log has is refused.
        if let (Some(index), Some(notes)) = (&mut self.index, notes) {
            index.add(&mut *self.storage, self.number, place, notes);
        }
        self.length += place.1;
        Ok(())
    }

    /// Writes the file of an epoch beside the segments.
    pub(crate) fn write_epoch(&mut self, change: &EpochChange) -> Result<(), LedgerError> {
        write_epoch(&mut *self.storage, change)
    }

    /// Brings the index up to the end of the log, at the end of its use.
    pub(crate) fn finish_index(&mut self) {
        if let Some(index) = &mut self.index {
            index.finish(&mut *self.storage);
        }
    }

    /// Empties the index: whoever opens the log next reads all of it.
    pub(crate) fn forget_index(&mut self) {
        if let Some(mut index) = self.index.take() {
            index.forget(&mut *self.storage);
        }
    }

    /// Puts what was appended on stable storage.
    pub(crate) fn sync(&mut self) -> Result<(), StorageError> {
        sync(&mut *self.storage, &segment_name(self.number))
    }

    /// Batches behind the entry `clock`, from the next on, in their order and
    /// as they stand in the files: at most `bytes_max`, but at least one where
    /// there is one. Empty in a log that was not opened as shared. What does not
    /// read any more is not handed out.
    pub(crate) fn after(
        &mut self,
        clock: u64,
        bytes_max: u64,
    ) -> Result<Vec<Vec<u8>>, LedgerError> {
        let places = self.places.as_deref().unwrap_or(&[]);
        let from = places.partition_point(|place| place.last_clock <= clock);
        let mut batches = Vec::new();
        let mut total = 0;
        for place in places.get(from..).unwrap_or(&[]) {
            total += place.length;
            if total > bytes_max && !batches.is_empty() {
                break;
            }
            let name = segment_name(place.segment);
            let bytes = self
                .storage
                .read_at(&name, place.offset, place.length as usize)
                .map_err(|e| StorageError::new("read", &name, &e))?;
            if read_batch(&bytes, 0).map_or(true, |batch| batch.next != bytes.len()) {
                return Err(LedgerError::Corrupt {
                    file: name,
                    offset: place.offset,
                    what: "a batch does not read any more".to_owned(),
                });
            }
            batches.push(bytes);
        }
        Ok(batches)
    }
}

/// The numbers of the segments, which run from 1 without a gap.
fn segment_numbers(storage: &mut dyn Storage) -> Result<Vec<u64>, LedgerError> {
    let names = storage
        .names()
        .map_err(|e| StorageError::new("list", LEDGER_FOLDER, &e))?;
    numbers_of(&names)
}

/// As [`segment_numbers`], from the names of all files.
pub(crate) fn numbers_of(names: &[String]) -> Result<Vec<u64>, LedgerError> {
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| segment_number(name))
        .collect();
    numbers.sort_unstable();
    let expected = (1..)
        .zip(&numbers)
        .find(|(expected, found)| expected != *found);
    let missing = if numbers.is_empty() {
        Some(1)
    } else {
        expected.map(|(expected, _)| expected)
    };
    match missing {
        None => Ok(numbers),
        Some(number) => Err(LedgerError::Corrupt {
            file: segment_name(number),
            offset: 0,
            what: "the segment is missing".to_owned(),
        }),
    }
}

pub(crate) fn read_file(storage: &mut dyn Storage, name: &str) -> Result<Vec<u8>, StorageError> {
    storage
        .read(name)
        .map_err(|e| StorageError::new("read", name, &e))
}

/// Cuts a file to a length.
pub(crate) fn cut(storage: &mut dyn Storage, name: &str, length: u64) -> Result<(), StorageError> {
    storage
        .truncate(name, length)
        .map_err(|e| StorageError::new("truncate", name, &e))
}

fn sync(storage: &mut dyn Storage, name: &str) -> Result<(), StorageError> {
    storage
        .sync(name)
        .map_err(|e| StorageError::new("synchronise", name, &e))
}

/// Writes all of `bytes`, in as many pieces as storage takes.
fn write_all(storage: &mut dyn Storage, name: &str, mut bytes: &[u8]) -> Result<(), StorageError> {
    while !bytes.is_empty() {
        match storage.append(name, bytes) {
            Ok(0) => {
                return Err(StorageError::new(
                    "append to",
                    name,
                    &io::ErrorKind::WriteZero.into(),
                ));
            }
            Ok(count) => bytes = &bytes[count..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(StorageError::new("append to", name, &e)),
        }
    }
    Ok(())
}

/// Appends all bytes to a file, which is created where there is none.
pub(crate) fn append_bytes(
    storage: &mut dyn Storage,
    name: &str,
    bytes: &[u8],
) -> Result<(), StorageError> {
    match storage.create(name) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(StorageError::new("create", name, &e)),
    }
    write_all(storage, name, bytes)
}

/// Appends all bytes to a file and puts them on stable storage.
pub(crate) fn append_all(
    storage: &mut dyn Storage,
    name: &str,
    bytes: &[u8],
) -> Result<(), StorageError> {
    write_all(storage, name, bytes)?;
    sync(storage, name)
}

/// Creates a file with its first bytes; both name and bytes are durable then.
pub(crate) fn create_file(
    storage: &mut dyn Storage,
    name: &str,
    bytes: &[u8],
) -> Result<(), StorageError> {
    storage
        .create(name)
        .map_err(|e| StorageError::new("create", name, &e))?;
    write_all(storage, name, bytes)?;
    sync(storage, name)?;
    storage
        .sync_names()
        .map_err(|e| StorageError::new("synchronise", LEDGER_FOLDER, &e))
}
