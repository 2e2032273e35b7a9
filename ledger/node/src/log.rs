//! The log itself: create, open, append, close.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use ledger_core::{
    Address, Entry, Field as _, HeadId, ParticleStates, SegmentHeader, SignedHead, Universe,
    UniverseId,
};

use crate::draft::{AtomDraft, Receipt};
use crate::error::{AppendError, LedgerError, Refusal, StorageError};
use crate::keyring::{Author, Keyring};
use crate::segment::{
    Fault, HeaderFound, batch_bytes, header_frame, read_batch, read_header, segment_name,
    segment_number,
};
use crate::state::Chain;
use crate::storage::{FileStorage, Storage};

/// Name of the ledger's folder inside a run folder.
pub const LEDGER_FOLDER: &str = "ledger";

/// Name of the genesis configuration inside the ledger's folder.
pub const UNIVERSE_FILE: &str = "universe.json";

/// Size at which a segment is followed by a new one, in bytes.
/// Chosen: ledger design 2.5; a file of 64 MiB is read in one piece and sealed
/// about hourly at 150 atoms a second.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

/// Most drafts in one batch.
/// Chosen: 16 control cycles of 256 devices. It bounds the bytes of a batch.
pub const BATCH_DRAFTS_MAX: usize = 4096;

/// When an append returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After `fdatasync`: an acknowledged atom survives a power failure.
    Fsync,
    /// After the operating system took the bytes: an acknowledged atom survives
    /// the end of the process, not that of the machine. For virtual time.
    Buffered,
}

/// How a log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeLogOptions {
    /// When an append returns.
    pub durability: Durability,
    /// Size at which a segment is followed by a new one, in bytes.
    pub segment_bytes: u64,
}

impl From<Durability> for NodeLogOptions {
    fn from(durability: Durability) -> NodeLogOptions {
        NodeLogOptions {
            durability,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
        }
    }
}

/// One node's log, open for appending.
pub struct NodeLog {
    storage: Box<dyn Storage>,
    options: NodeLogOptions,
    universe: UniverseId,
    keys: Keyring,
    authors: BTreeMap<String, Author>,
    segment: OpenSegment,
    chain: Chain,
    particles: ParticleStates,
    /// Why the log has stopped; every later append says the same.
    stopped: Option<StorageError>,
    torn_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct OpenSegment {
    number: u64,
    length: u64,
}

impl std::fmt::Debug for NodeLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let clock = self.clock();
        f.debug_struct("NodeLog")
            .field("universe", &self.universe)
            .field("clock", &clock)
            .finish()
    }
}

impl NodeLog {
    /// Begins a new log in `run_dir/ledger`, which must not exist yet.
    ///
    /// # Errors
    /// Storage, a universe that breaks a rule, or keys that are not in it.
    pub fn create(
        run_dir: &Path,
        universe: &Universe,
        keys: Keyring,
        options: impl Into<NodeLogOptions>,
    ) -> Result<NodeLog, LedgerError> {
        // Nothing is written for a configuration that is refused anyway.
        keys.authors(universe, &universe.id()?)?;
        let folder = run_dir.join(LEDGER_FOLDER);
        let name = folder.display().to_string();
        std::fs::create_dir(&folder).map_err(|e| StorageError::new("create", &name, &e))?;
        let storage =
            FileStorage::open(&folder).map_err(|e| StorageError::new("open", &name, &e))?;
        NodeLog::create_on(Box::new(storage), universe, keys, options)
    }

    /// Opens the log in `run_dir/ledger` and cuts off a torn tail.
    ///
    /// # Errors
    /// Storage, another process that keeps the log, keys that are not in its
    /// universe, or [`LedgerError::Corrupt`] with file and offset.
    pub fn open(
        run_dir: &Path,
        keys: Keyring,
        options: impl Into<NodeLogOptions>,
    ) -> Result<NodeLog, LedgerError> {
        let folder = run_dir.join(LEDGER_FOLDER);
        let name = folder.display().to_string();
        let storage =
            FileStorage::open(&folder).map_err(|e| StorageError::new("open", &name, &e))?;
        NodeLog::open_on(Box::new(storage), keys, options)
    }

    /// As [`NodeLog::create`], in an empty storage.
    ///
    /// # Errors
    /// As [`NodeLog::create`].
    pub fn create_on(
        mut storage: Box<dyn Storage>,
        universe: &Universe,
        keys: Keyring,
        options: impl Into<NodeLogOptions>,
    ) -> Result<NodeLog, LedgerError> {
        let id = universe.id()?;
        let authors = keys.authors(universe, &id)?;
        create_file(&mut *storage, UNIVERSE_FILE, universe.to_json()?.as_bytes())?;
        let header = header_frame(&SegmentHeader::new(1, id, 1, HeadId::NONE));
        create_file(&mut *storage, &segment_name(1), &header)?;
        let node = Address::of_key(&id, &keys.node_key().public());
        Ok(NodeLog {
            storage,
            options: options.into(),
            universe: id,
            keys,
            authors,
            segment: OpenSegment {
                number: 1,
                length: header.len() as u64,
            },
            chain: Chain::new(id, node),
            particles: ParticleStates::default(),
            stopped: None,
            torn_bytes: 0,
        })
    }

    /// As [`NodeLog::open`], from a storage.
    ///
    /// # Errors
    /// As [`NodeLog::open`].
    pub fn open_on(
        mut storage: Box<dyn Storage>,
        keys: Keyring,
        options: impl Into<NodeLogOptions>,
    ) -> Result<NodeLog, LedgerError> {
        let universe = read_universe(&mut *storage)?;
        let id = universe.id()?;
        let authors = keys.authors(&universe, &id)?;
        let node_key = keys.node_key().public();
        let mut chain = Chain::new(id, Address::of_key(&id, &node_key));
        let mut particles = ParticleStates::default();
        let mut last_head: Option<(String, usize, SignedHead)> = None;
        let mut segment = OpenSegment {
            number: 0,
            length: 0,
        };
        let mut torn_bytes = 0;
        let numbers = segment_numbers(&mut *storage)?;
        for number in numbers.iter().copied() {
            let is_last = Some(&number) == numbers.last();
            let file = segment_name(number);
            let bytes = read_file(&mut *storage, &file)?;
            let corrupt = |offset: usize, what: &str| LedgerError::Corrupt {
                file: file.clone(),
                offset: offset as u64,
                what: what.to_owned(),
            };
            let header = SegmentHeader::new(number, id, chain.next_clock(), chain.last_head());
            let mut at = match read_header(&file, &bytes, &header)? {
                HeaderFound::Whole(at) => at,
                HeaderFound::Torn if is_last => {
                    torn_bytes = bytes.len() as u64;
                    cut(&mut *storage, &file, 0)?;
                    let frame = header_frame(&header);
                    write_all(&mut *storage, &file, &frame)?;
                    sync(&mut *storage, &file)?;
                    segment = OpenSegment {
                        number,
                        length: frame.len() as u64,
                    };
                    break;
                }
                HeaderFound::Torn => {
                    return Err(corrupt(0, "the header of the segment is cut off"));
                }
            };
            while at < bytes.len() {
                let batch = match read_batch(&bytes, at) {
                    Ok(batch) => batch,
                    Err(Fault::Torn) if is_last => {
                        torn_bytes = (bytes.len() - at) as u64;
                        cut(&mut *storage, &file, at as u64)?;
                        sync(&mut *storage, &file)?;
                        break;
                    }
                    Err(Fault::Torn) => return Err(corrupt(at, "a batch is cut off")),
                    Err(Fault::Damaged { offset, what }) => return Err(corrupt(offset, what)),
                };
                if batch.first_clock != chain.next_clock() {
                    return Err(corrupt(at, "the batch does not follow the one before"));
                }
                for (offset, entry_bytes) in &batch.entries {
                    let entry = Entry::from_bytes(entry_bytes, &id)
                        .map_err(|e| corrupt(*offset, &format!("the entry: {e}")))?;
                    chain
                        .follow_entry(&entry, entry_bytes, &mut particles)
                        .map_err(|what| corrupt(*offset, what))?;
                }
                let head = SignedHead::from_bytes(batch.head)
                    .map_err(|e| corrupt(batch.head_at, &format!("the head: {e}")))?;
                chain
                    .follow_head(&head.head)
                    .map_err(|what| corrupt(batch.head_at, what))?;
                if chain.last_head().0 != batch.head_id {
                    return Err(corrupt(
                        batch.head_at,
                        "the end of the batch names another head",
                    ));
                }
                last_head = Some((file.clone(), batch.head_at, head));
                at = batch.next;
            }
            segment = OpenSegment {
                number,
                length: at as u64,
            };
        }
        // One signature covers all of it: the last head is over the root of all
        // entries and the chain of all heads.
        if let Some((file, offset, head)) = last_head {
            head.verify(&id, &node_key)
                .map_err(|e| LedgerError::Corrupt {
                    file,
                    offset: offset as u64,
                    what: format!("the head: {e}"),
                })?;
        }
        Ok(NodeLog {
            storage,
            options: options.into(),
            universe: id,
            keys,
            authors,
            segment,
            chain,
            particles,
            stopped: None,
            torn_bytes,
        })
    }

    /// The universe of this log.
    pub fn universe_id(&self) -> UniverseId {
        self.universe
    }

    /// The clock of the latest entry, 0 before the first.
    pub fn clock(&self) -> u64 {
        self.chain.next_clock() - 1
    }

    /// The root of the latest head.
    pub fn root(&self) -> ledger_core::Digest32 {
        self.chain.committed().root
    }

    /// Bytes of a torn tail that opening cut off. None of them was acknowledged.
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// Appends all drafts as one batch, or none. When it returns, the batch is
    /// as durable as the log was asked to be.
    ///
    /// # Errors
    /// [`AppendError::Refused`] leaves the log as it was. After
    /// [`AppendError::Stopped`] every append returns the same error until the
    /// log is opened again.
    pub fn append_batch(
        &mut self,
        now_utc_ns: i64,
        drafts: Vec<AtomDraft>,
    ) -> Result<Vec<Receipt>, AppendError> {
        let mut results = self.append_groups(vec![(now_utc_ns, drafts)]);
        results.pop().unwrap_or(Ok(vec![]))
    }

    /// Appends several groups of drafts, each with its own time and each whole
    /// or not at all, as one batch with one signed head and one
    /// synchronisation. The results are in the order of the groups.
    pub fn append_groups(
        &mut self,
        groups: Vec<(i64, Vec<AtomDraft>)>,
    ) -> Vec<Result<Vec<Receipt>, AppendError>> {
        if let Some(e) = &self.stopped {
            return groups
                .iter()
                .map(|_| Err(AppendError::Stopped(e.clone())))
                .collect();
        }
        let mut chain = self.chain.clone();
        let mut entries = Vec::new();
        let mut results = Vec::with_capacity(groups.len());
        let mut now = i64::MIN;
        let particles_before = groups
            .iter()
            .any(|(_, drafts)| carry_particles(drafts))
            .then(|| self.particles.clone());
        for (now_utc_ns, drafts) in groups {
            now = now.max(now_utc_ns);
            let made = self.make_group(&mut chain, now_utc_ns, drafts);
            results.push(made.map(|(receipts, bytes)| {
                entries.extend(bytes);
                receipts
            }));
        }
        if entries.is_empty() {
            return results;
        }
        if let Err(e) = self.write_batch(chain, &entries, false, now) {
            // What was not written must not stay taken down.
            if let Some(before) = particles_before {
                self.particles = before;
            }
            for result in results
                .iter_mut()
                .filter(|r| r.as_ref().is_ok_and(|r| !r.is_empty()))
            {
                *result = Err(e.clone());
            }
        }
        results
    }

    /// Makes the entries of one group on top of `chain`, or leaves it.
    fn make_group(
        &mut self,
        chain: &mut Chain,
        now_utc_ns: i64,
        drafts: Vec<AtomDraft>,
    ) -> Result<(Vec<Receipt>, Vec<Vec<u8>>), AppendError> {
        let refused = |draft, reason| AppendError::Refused { draft, reason };
        if drafts.len() > BATCH_DRAFTS_MAX {
            let reason = Refusal::TooMany {
                count: drafts.len(),
                max: BATCH_DRAFTS_MAX,
            };
            return Err(refused(BATCH_DRAFTS_MAX, reason));
        }
        let before = carry_particles(&drafts).then(|| self.particles.clone());
        let mut staged = chain.clone();
        let mut made = (
            Vec::with_capacity(drafts.len()),
            Vec::with_capacity(drafts.len()),
        );
        for (index, draft) in drafts.into_iter().enumerate() {
            let entry = match self.authors.get(&draft.author) {
                None => Err(Refusal::NoKey {
                    author: draft.author,
                }),
                Some(author) => {
                    let node_key = self.keys.node_key();
                    staged.make_entry(draft, author, node_key, &mut self.particles, now_utc_ns)
                }
            };
            match entry {
                Ok((entry, bytes)) => {
                    made.0.push(Receipt {
                        clock: entry.vertex.l,
                        atom_id: entry.atom.id(),
                    });
                    made.1.push(bytes);
                }
                Err(reason) => {
                    if let Some(before) = before {
                        self.particles = before;
                    }
                    return Err(refused(index, reason));
                }
            }
        }
        *chain = staged;
        Ok(made)
    }

    /// Writes a batch on top of what is durable. `chain` is the state with the
    /// entries and without the head; it becomes ours only when all is durable.
    fn write_batch(
        &mut self,
        mut chain: Chain,
        entries: &[Vec<u8>],
        closed: bool,
        now_utc_ns: i64,
    ) -> Result<SignedHead, AppendError> {
        let first_clock = self.chain.next_clock();
        let head = chain
            .make_head(closed, self.keys.node_key(), now_utc_ns)
            .map_err(AppendError::Sign)?;
        let bytes = batch_bytes(first_clock, entries, &head, &chain.last_head());
        let must_sync = closed || self.options.durability == Durability::Fsync;
        if let Err(e) = self.write(&bytes, must_sync) {
            self.stopped = Some(e.clone());
            return Err(AppendError::Stopped(e));
        }
        self.chain = chain;
        Ok(head)
    }

    fn write(&mut self, bytes: &[u8], must_sync: bool) -> Result<(), StorageError> {
        if self.segment.length >= self.options.segment_bytes {
            // A finished segment is on stable storage before the next begins.
            sync(&mut *self.storage, &segment_name(self.segment.number))?;
            let number = self.segment.number + 1;
            let (clock, head) = (self.chain.next_clock(), self.chain.last_head());
            let header = header_frame(&SegmentHeader::new(number, self.universe, clock, head));
            create_file(&mut *self.storage, &segment_name(number), &header)?;
            self.segment = OpenSegment {
                number,
                length: header.len() as u64,
            };
        }
        let name = segment_name(self.segment.number);
        write_all(&mut *self.storage, &name, bytes)?;
        if must_sync {
            sync(&mut *self.storage, &name)?;
        }
        self.segment.length += bytes.len() as u64;
        Ok(())
    }

    /// Ends the log in good order: a last head, marked closed and always on
    /// stable storage. A log that was closed can be opened and continued.
    ///
    /// # Errors
    /// As [`NodeLog::append_batch`].
    pub fn close(mut self, now_utc_ns: i64) -> Result<SignedHead, AppendError> {
        self.close_here(now_utc_ns)
    }

    pub(crate) fn close_here(&mut self, now_utc_ns: i64) -> Result<SignedHead, AppendError> {
        match &self.stopped {
            Some(e) => Err(AppendError::Stopped(e.clone())),
            None => self.write_batch(self.chain.clone(), &[], true, now_utc_ns),
        }
    }
}

fn carry_particles(drafts: &[AtomDraft]) -> bool {
    drafts.iter().any(|d| !d.particles.is_empty())
}

/// Reads and checks the genesis configuration.
pub(crate) fn read_universe(storage: &mut dyn Storage) -> Result<Universe, LedgerError> {
    let bytes = read_file(storage, UNIVERSE_FILE)?;
    universe_of(&bytes)
}

/// Checks the content of the genesis file.
pub(crate) fn universe_of(bytes: &[u8]) -> Result<Universe, LedgerError> {
    let text = std::str::from_utf8(bytes).map_err(|e| LedgerError::Corrupt {
        file: UNIVERSE_FILE.to_owned(),
        offset: e.valid_up_to() as u64,
        what: "the text is not UTF-8".to_owned(),
    })?;
    Ok(Universe::from_json(text)?)
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

fn read_file(storage: &mut dyn Storage, name: &str) -> Result<Vec<u8>, StorageError> {
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

/// Creates a file with its first bytes; both name and bytes are durable then.
fn create_file(storage: &mut dyn Storage, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
    storage
        .create(name)
        .map_err(|e| StorageError::new("create", name, &e))?;
    write_all(storage, name, bytes)?;
    sync(storage, name)?;
    storage
        .sync_names()
        .map_err(|e| StorageError::new("synchronise", LEDGER_FOLDER, &e))
}
