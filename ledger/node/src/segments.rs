//! The segment files of one log: reading them back, appending, handing out.
//!
//! What a batch says is the business of a [`Follower`]; here is only where it
//! stands, that it follows the one before, and what a torn end means.

use std::io;

use ledger_core::{EpochChange, HeadId, SegmentHeader, UniverseId};

use crate::epochs::write_epoch;
use crate::error::{LedgerError, StorageError};
use crate::log::LEDGER_FOLDER;
use crate::segment::{
    Fault, HeaderFound, RawBatch, header_frame, read_batch, read_header, segment_name,
    segment_number,
};
use crate::storage::Storage;

/// What goes along with the batches of a log.
pub(crate) trait Follower {
    /// The clock of the next entry.
    fn next_clock(&self) -> u64;
    /// The id of the latest head.
    fn last_head(&self) -> HeadId;
    /// Checks a batch that was read from `file` and goes along with it.
    fn follow(&mut self, file: &str, batch: &RawBatch<'_>) -> Result<(), LedgerError>;
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
}

impl Segments {
    /// Begins a log in an empty storage. With `is_shared` batches can be handed
    /// out again later.
    pub(crate) fn create(
        mut storage: Box<dyn Storage>,
        universe: UniverseId,
        segment_bytes: u64,
        is_shared: bool,
    ) -> Result<Segments, StorageError> {
        let header = header_frame(&SegmentHeader::new(1, universe, 1, HeadId::NONE));
        create_file(&mut *storage, &segment_name(1), &header)?;
        Ok(Segments {
            storage,
            universe,
            segment_bytes,
            number: 1,
            length: header.len() as u64,
            places: is_shared.then(Vec::new),
            torn_bytes: 0,
        })
    }

    /// Reads all batches back, cuts off a torn tail, and puts the rest on stable
    /// storage.
    pub(crate) fn open(
        storage: Box<dyn Storage>,
        universe: UniverseId,
        segment_bytes: u64,
        is_shared: bool,
        follower: &mut dyn Follower,
    ) -> Result<Segments, LedgerError> {
        let mut segments = Segments {
            storage,
            universe,
            segment_bytes,
            number: 0,
            length: 0,
            places: is_shared.then(Vec::new),
            torn_bytes: 0,
        };
        let numbers = segment_numbers(&mut *segments.storage)?;
        for number in numbers.iter().copied() {
            let is_last = Some(&number) == numbers.last();
            segments.open_one(number, is_last, follower)?;
        }
        // A process that was killed may have left what only the system's memory
        // holds. Whatever is read back here is handed out from now on.
        segments.sync()?;
        Ok(segments)
    }

    fn open_one(
        &mut self,
        number: u64,
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
        let mut at = match read_header(&file, &bytes, &header)? {
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
            follower.follow(&file, &batch)?;
            let length = (batch.next - at) as u64;
            self.note(follower.next_clock() - 1, at as u64, length);
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

    /// Appends a batch whose last entry has `last_clock`. `next_clock` and
    /// `last_head` are those before it, for the header of a new segment.
    pub(crate) fn append(
        &mut self,
        bytes: &[u8],
        (next_clock, last_head): (u64, HeadId),
        last_clock: u64,
        must_sync: bool,
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
        self.note(last_clock, self.length, bytes.len() as u64);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Writes the file of an epoch beside the segments.
    pub(crate) fn write_epoch(&mut self, change: &EpochChange) -> Result<(), LedgerError> {
        write_epoch(&mut *self.storage, change)
    }

    /// Puts what was appended on stable storage.
    pub(crate) fn sync(&mut self) -> Result<(), StorageError> {
        sync(&mut *self.storage, &segment_name(self.number))
    }

    /// Batches behind the entry `clock`, from the next on, in their order and
    /// as they stand in the files: at most `bytes_max`, but at least one where
    /// there is one. Empty in a log that was not opened as shared.
    pub(crate) fn after(
        &mut self,
        clock: u64,
        bytes_max: u64,
    ) -> Result<Vec<Vec<u8>>, StorageError> {
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

fn cut(storage: &mut dyn Storage, name: &str, length: u64) -> Result<(), StorageError> {
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
