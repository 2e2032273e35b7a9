//! The log itself: create, append, close.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ledger_core::{
    Address, Authorities, Directory, Entry, EpochChange, Epochs, Field as _, ParticleStates,
    SignedHead, Universe, UniverseId,
};

use crate::draft::{Appended, AtomDraft, Receipt, Record};
use crate::epochs::write_epoch;
use crate::error::{AppendError, LedgerError, Refusal, StorageError};
use crate::index::{INDEX_ENTRIES_DEFAULT, IndexFound, IndexOptions};
use crate::keyring::{Author, Keyring};
use crate::segment::{Item, batch_bytes};
use crate::segments::{Keeping, Segments, create_file};
use crate::state::{Chain, Place};
use crate::storage::{FileStorage, Storage};

mod reading;

pub use reading::Visit;

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
    /// Entries after which a block of the index is written, where one is kept: for
    /// a log that is opened again. See [`crate::index`].
    pub index_entries: Option<usize>,
}

impl From<Durability> for NodeLogOptions {
    fn from(durability: Durability) -> NodeLogOptions {
        NodeLogOptions {
            durability,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            index_entries: None,
        }
    }
}

impl NodeLogOptions {
    /// The same with an index, as for the log of a node that lasts.
    #[must_use]
    pub fn indexed(self) -> NodeLogOptions {
        NodeLogOptions {
            index_entries: Some(INDEX_ENTRIES_DEFAULT),
            ..self
        }
    }

    fn keeping(&self, epochs: &Epochs, keys: &Keyring) -> Keeping {
        let key = keys.node_key();
        let index = self.index_entries.map(|entries| IndexOptions {
            entries,
            key: key.clone(),
        });
        Keeping {
            segment_bytes: self.segment_bytes,
            is_shared: epochs.genesis_configuration().federation.is_some(),
            index,
        }
    }
}

/// One node's log, open for appending.
pub struct NodeLog {
    epochs: Epochs,
    segments: Segments,
    options: NodeLogOptions,
    universe: UniverseId,
    keys: Keyring,
    authors: BTreeMap<String, Author>,
    chain: Chain,
    particles: ParticleStates,
    /// Why the log has stopped; every later append says the same.
    stopped: Option<StorageError>,
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
        keys.authors(&Epochs::genesis(universe)?)?;
        let folder = run_dir.join(LEDGER_FOLDER);
        let name = folder.display().to_string();
        std::fs::create_dir(&folder).map_err(|e| StorageError::new("create", &name, &e))?;
        let storage =
            FileStorage::open(&folder).map_err(|e| StorageError::new("open", &name, &e))?;
        NodeLog::create_on(Box::new(storage), universe, keys, options)
    }

    /// As [`NodeLog::create`], in an empty storage.
    ///
    /// # Errors
    /// As [`NodeLog::create`].
    pub fn create_on(
        storage: Box<dyn Storage>,
        universe: &Universe,
        keys: Keyring,
        options: impl Into<NodeLogOptions>,
    ) -> Result<NodeLog, LedgerError> {
        NodeLog::begin_on(storage, &Epochs::genesis(universe)?, keys, options)
    }

    /// As [`NodeLog::create_on`], for a node that joins with a later epoch.
    ///
    /// # Errors
    /// As [`NodeLog::create`].
    pub fn begin_on(
        mut storage: Box<dyn Storage>,
        epochs: &Epochs,
        keys: Keyring,
        options: impl Into<NodeLogOptions>,
    ) -> Result<NodeLog, LedgerError> {
        let options = options.into();
        let id = epochs.id();
        let authors = keys.authors(epochs)?;
        let chain = empty_chain(epochs, &keys)?;
        let genesis = epochs.genesis_configuration();
        create_file(&mut *storage, UNIVERSE_FILE, genesis.to_json()?.as_bytes())?;
        for change in epochs.changes() {
            write_epoch(&mut *storage, change)?;
        }
        let keeping = options.keeping(epochs, &keys);
        Ok(NodeLog {
            epochs: epochs.clone(),
            segments: Segments::create(storage, id, chain.node(), keeping)?,
            options,
            universe: id,
            keys,
            authors,
            chain,
            particles: ParticleStates::default(),
            stopped: None,
        })
    }

    /// The universe of this log.
    pub fn universe_id(&self) -> UniverseId {
        self.universe
    }

    /// The configurations by which this log goes.
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// The configuration epoch of the latest entry.
    pub fn latest_epoch(&self) -> u64 {
        self.chain.latest_epoch()
    }

    /// Keeps the next configuration beside the log: when it is opened again, it
    /// goes by that.
    ///
    /// # Errors
    /// Storage, or a configuration that may not follow.
    pub fn keep_epoch(&mut self, change: &EpochChange) -> Result<(), LedgerError> {
        let checked = self.epochs.check(change);
        checked.map_err(|source| LedgerError::Epoch {
            file: crate::epochs::epoch_file(change.number),
            source,
        })?;
        self.segments.write_epoch(change)
    }

    /// The clock of the latest entry, 0 before the first.
    pub fn clock(&self) -> u64 {
        self.chain.next_clock() - 1
    }

    /// The root of the latest head.
    pub fn root(&self) -> ledger_core::Digest32 {
        self.chain.committed().root
    }

    /// What became of the index at opening.
    pub fn index_found(&self) -> &IndexFound {
        &self.segments.index_found
    }

    /// Stops the log, as it has turned out to be damaged: every later append says
    /// why, and whoever opens it next reads all of it.
    pub fn stop(&mut self, why: StorageError) {
        self.segments.forget_index();
        self.stopped = Some(why);
    }

    /// Bytes of a torn tail that opening cut off. None of them was acknowledged.
    pub fn torn_bytes(&self) -> u64 {
        self.segments.torn_bytes
    }

    /// This node, by its place in the configuration.
    pub fn place_of_node(&self) -> usize {
        self.chain.me()
    }

    /// The latest atom of an author whose shard this node keeps.
    pub fn place(&self, author: &Address) -> Option<Place> {
        self.chain.place(author)
    }

    /// What is up in the shards that this node keeps.
    pub fn particles(&self) -> &ParticleStates {
        &self.particles
    }

    /// Who may command which device.
    pub fn authorities(&self) -> &Authorities {
        self.chain.authorities()
    }

    /// The address of an author whose key this node has.
    pub fn author(&self, name: &str) -> Option<Address> {
        self.authors.get(name).map(|author| author.address)
    }

    /// Batches behind the entry `clock` as they may be sent to others: at most
    /// `bytes_max`, but at least one where there is one.
    ///
    /// # Errors
    /// Storage, or a batch that does not read any more.
    pub fn batches_after(
        &mut self,
        clock: u64,
        bytes_max: u64,
    ) -> Result<Vec<Vec<u8>>, LedgerError> {
        self.segments.after(clock, bytes_max)
    }

    /// The atom of the entry `clock` of a log with several nodes; `None` when
    /// there is no such entry.
    ///
    /// # Errors
    /// Storage, or a batch that does not read any more.
    pub fn atom_at(&mut self, clock: u64) -> Result<Option<ledger_core::Atom>, LedgerError> {
        let batches = self.segments.after(clock.saturating_sub(1), 0)?;
        let universe = self.universe;
        Ok(batches.first().and_then(|bytes| {
            let batch = crate::segment::read_batch(bytes, 0).ok()?;
            let at = usize::try_from(clock.checked_sub(batch.first_clock)?).ok()?;
            match batch.items.get(at)?.1 {
                Item::Entry(bytes) => Some(Entry::from_bytes(bytes, &universe).ok()?.atom),
                Item::Leaf(_) => None,
            }
        }))
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
        let records = |drafts: Vec<AtomDraft>| {
            let records = drafts
                .into_iter()
                .map(|draft| Record::Draft(Box::new(draft)));
            records.collect()
        };
        let groups = groups
            .into_iter()
            .map(|(now_utc_ns, drafts)| (now_utc_ns, records(drafts)))
            .collect();
        self.append_records(groups).results
    }

    /// As [`NodeLog::append_groups`], also for what others have said; gives the
    /// batch for those who follow this log.
    pub fn append_records(&mut self, groups: Vec<(i64, Vec<Record>)>) -> Appended {
        let mut appended = Appended {
            results: Vec::with_capacity(groups.len()),
            entries: vec![],
            bytes: vec![],
        };
        if let Some(e) = &self.stopped {
            let stopped = groups.iter().map(|_| Err(AppendError::Stopped(e.clone())));
            appended.results = stopped.collect();
            return appended;
        }
        let mut chain = self.chain.clone();
        let mut leaves = Vec::new();
        let mut now = i64::MIN;
        let mark = self.particles.mark();
        for (now_utc_ns, records) in groups {
            now = now.max(now_utc_ns);
            let made = self.make_group(&mut chain, now_utc_ns, records);
            let receipts = made.map(|made| {
                let receipts = made.iter().map(|(entry, _)| Receipt {
                    clock: entry.vertex.l,
                    atom_id: entry.atom.id(),
                });
                let receipts = receipts.collect();
                for (entry, bytes) in made {
                    appended.entries.push(entry);
                    leaves.push(bytes);
                }
                receipts
            });
            appended.results.push(receipts);
        }
        if leaves.is_empty() {
            return appended;
        }
        match self.write_batch(chain, &appended.entries, &leaves, false, now) {
            Ok((_, bytes)) => {
                self.particles.settle();
                appended.bytes = bytes;
            }
            Err(e) => {
                // What was not written must not stay taken down.
                self.particles.roll_back(mark);
                appended.entries.clear();
                for result in appended
                    .results
                    .iter_mut()
                    .filter(|r| r.as_ref().is_ok_and(|r| !r.is_empty()))
                {
                    *result = Err(e.clone());
                }
            }
        }
        appended
    }

    /// Makes the entries of one group on top of `chain`, or leaves it.
    fn make_group(
        &mut self,
        chain: &mut Chain,
        now_utc_ns: i64,
        records: Vec<Record>,
    ) -> Result<Vec<(Entry, Vec<u8>)>, AppendError> {
        let refused = |draft, reason| AppendError::Refused { draft, reason };
        if records.len() > BATCH_DRAFTS_MAX {
            let reason = Refusal::TooMany {
                count: records.len(),
                max: BATCH_DRAFTS_MAX,
            };
            return Err(refused(BATCH_DRAFTS_MAX, reason));
        }
        let mark = self.particles.mark();
        let mut staged = chain.clone();
        let mut made = Vec::with_capacity(records.len());
        for (index, record) in records.into_iter().enumerate() {
            let particles = &mut self.particles;
            let entry = match record {
                Record::Seen(atom) => staged.witness(*atom, particles, now_utc_ns),
                Record::Draft(draft) => match self.authors.get(&draft.author) {
                    None => Err(Refusal::NoKey {
                        author: draft.author,
                    }),
                    Some(author) => staged.make_entry(*draft, author, particles, now_utc_ns),
                },
            };
            match entry {
                Ok(entry) => made.push(entry),
                Err(reason) => {
                    self.particles.roll_back(mark);
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
        made: &[Entry],
        entries: &[Vec<u8>],
        closed: bool,
        now_utc_ns: i64,
    ) -> Result<(SignedHead, Vec<u8>), AppendError> {
        let before = (self.chain.next_clock(), self.chain.last_head());
        let head = chain
            .make_head(closed, self.keys.node_key(), now_utc_ns)
            .map_err(AppendError::Sign)?;
        let items: Vec<Item<'_>> = entries.iter().map(|bytes| Item::Entry(bytes)).collect();
        let head_bytes = head
            .to_bytes()
            .map_err(|_| AppendError::Sign(ledger_core::KeyError::Sign))?;
        let bytes = batch_bytes(before.0, &items, &head_bytes, &chain.last_head());
        let must_sync = closed || self.options.durability == Durability::Fsync;
        let last_clock = chain.next_clock() - 1;
        let is_indexed = self.segments.is_indexed();
        let notes = is_indexed.then(|| chain.notes(made, head_bytes.len()));
        let written = self
            .segments
            .append(&bytes, before, last_clock, must_sync, notes);
        if let Err(e) = written {
            self.stopped = Some(e.clone());
            return Err(AppendError::Stopped(e));
        }
        self.chain = chain;
        Ok((head, bytes))
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
            None => {
                let closed = self.write_batch(self.chain.clone(), &[], &[], true, now_utc_ns);
                self.segments.finish_index();
                closed.map(|(head, _)| head)
            }
        }
    }
}

/// The state of an empty log of the node whose key is in the keyring.
fn empty_chain(epochs: &Epochs, keys: &Keyring) -> Result<Chain, LedgerError> {
    let id = epochs.id();
    let node = Address::of_key(&id, &keys.node_key().public());
    let directory = Directory::of(epochs);
    let me = directory
        .node(&node)
        .ok_or_else(|| LedgerError::ForeignKey {
            name: keys.node_name().to_owned(),
        })?;
    Ok(Chain::new(Arc::new(directory), me, node))
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
