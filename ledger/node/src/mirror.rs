//! A copy of another node's log, as far as this node keeps its shards.
//!
//! A node follows the logs of the others: that is how it hears of atoms, how it
//! counts who has witnessed what, and how it sees that a node contradicts
//! itself. Entries of shards that are kept elsewhere stand as the hash of their
//! leaf, so that the root can be checked all the same. The copy can be fetched
//! again from anybody, so it is written without waiting for the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use ledger_core::merkle::{Frontier, inclusion_proof};
use ledger_core::vertex::Commitment;
use ledger_core::vote::Vote;
use ledger_core::{
    Address, Authority, Digest32, Entry, Field as _, HeadId, KnownKeys, PublicKey, SignedHead,
    Testimony, UniverseId, VertexId,
};
use thiserror::Error;

use crate::error::{LedgerError, StorageError};
use crate::filled::Filled;
use crate::index::{self, IndexFound, IndexOptions, Noted, Notes, Recall, Row};
use crate::log::SEGMENT_BYTES_DEFAULT;
use crate::segment::{Item, RawBatch, batch_bytes, read_batch};
use crate::segments::{Follower, Keeping, Segments};
use crate::storage::Storage;

/// Heads that are kept in memory to compare with others of the same size.
/// Chosen: at ten batches a second it is nearly two minutes, longer than a
/// healthy peer is behind; it bounds the memory.
const HEADS_KEPT: usize = 1024;

/// What stands at one place of the other node's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// The entry.
    Entry(Box<Entry>),
    /// Something of a shard that is kept elsewhere.
    Elsewhere,
}

/// Why a batch does not become a part of the copy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MirrorFault {
    /// It begins behind the next entry: what is between must come first.
    #[error("the batch begins at {found}, the copy ends at {size}")]
    Gap {
        /// The clock of its first entry.
        found: u64,
        /// Number of entries of the copy.
        size: u64,
    },
    /// It is in the copy already.
    #[error("the batch is known")]
    Known,
    /// It is not what a node of this universe has signed: the fault of whoever
    /// sent it.
    #[error("the batch is not signed by its node: {what}")]
    Unsigned {
        /// What is wrong.
        what: String,
    },
    /// The node has signed what no honest node signs.
    #[error("the node signed a batch that does not hold: {what}")]
    Lie {
        /// What does not hold.
        what: &'static str,
    },
    /// The node has signed two trees of one size.
    #[error("the node signed two trees of size {}", .0.head.size)]
    Fork(Box<SignedHead>, Box<SignedHead>),
    /// The copy cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A copy of another node's log.
pub struct Mirror {
    segments: Segments,
    state: State,
    heads: Heads,
    /// What was fetched later in place of leaves.
    filled: Filled,
    /// Whether every shard is kept here, so that a leaf is always one too few.
    is_whole: bool,
    known: Arc<KnownKeys>,
}

mod filling;

pub use filling::{clocks_of, has_leaves};

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = self.size();
        f.debug_struct("Mirror").field("size", &size).finish()
    }
}

#[derive(Clone)]
struct State {
    universe: UniverseId,
    node: Address,
    key: PublicKey,
    frontier: Frontier,
    /// Not known behind an entry that is kept elsewhere.
    last_vertex: Option<VertexId>,
    last_head: HeadId,
    committed: Commitment,
}

/// The latest heads, the newest last.
#[derive(Debug, Default)]
struct Heads(VecDeque<SignedHead>);

impl Heads {
    fn push(&mut self, signed: SignedHead) {
        if self.0.len() == HEADS_KEPT {
            self.0.pop_front();
        }
        self.0.push_back(signed);
    }

    fn of(&self, size: u64) -> Option<&SignedHead> {
        let at = self.0.partition_point(|signed| signed.head.size < size);
        self.0.get(at).filter(|signed| signed.head.size == size)
    }
}

impl Mirror {
    /// The copy in `storage`, begun where there is none, read back otherwise;
    /// `visit` is told what stands at each place where it is kept here, out of the
    /// index, where there is one, or out of the copy. The node's key is the faster
    /// to verify by where it is among the `known` ones.
    ///
    /// # Errors
    /// Storage, or a copy that does not hold: remove it, it is fetched again.
    pub fn open_on(
        mut storage: Box<dyn Storage>,
        universe: UniverseId,
        (key, known): (PublicKey, Arc<KnownKeys>),
        index: Option<IndexOptions>,
        visit: &mut dyn FnMut(Row),
    ) -> Result<Mirror, LedgerError> {
        let keeping = Keeping {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            is_shared: true,
            index,
        };
        let mut reading = Reading {
            state: State::new(universe, key),
            heads: Heads::default(),
            visit: &mut *visit,
        };
        let names = storage
            .names()
            .map_err(|e| StorageError::new("list", "the copy of a log", &e))?;
        let segments = if names.is_empty() {
            Segments::create(storage, universe, reading.state.node, keeping)?
        } else {
            Segments::open(storage, universe, keeping, &mut reading)?
        };
        let mut mirror = Mirror {
            segments,
            state: reading.state,
            heads: reading.heads,
            filled: Filled::default(),
            is_whole: false,
            known,
        };
        mirror.recall_filled(visit)?;
        Ok(mirror)
    }

    /// What became of the index at opening.
    pub fn index_found(&self) -> &IndexFound {
        &self.segments.index_found
    }

    /// Number of entries.
    pub fn size(&self) -> u64 {
        self.state.frontier.size()
    }

    /// The root over them.
    pub fn root(&self) -> Digest32 {
        self.state.frontier.root()
    }

    /// The latest head.
    pub fn head(&self) -> Option<&SignedHead> {
        self.heads.0.back()
    }

    /// Takes the next batch into the copy.
    ///
    /// # Errors
    /// See [`MirrorFault`]; the copy is then as it was.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<Vec<(u64, Sighting)>, MirrorFault> {
        let unsigned = |what: String| MirrorFault::Unsigned { what };
        let batch = read_batch(bytes, 0).map_err(|_| unsigned("it does not read".to_owned()))?;
        if batch.next != bytes.len() {
            return Err(unsigned("bytes follow it".to_owned()));
        }
        if self.is_whole && batch.items.iter().any(|(_, item)| item.is_leaf()) {
            return Err(unsigned("it lacks entries that are kept here".to_owned()));
        }
        let head = SignedHead::from_bytes(batch.head).map_err(|e| unsigned(e.to_string()))?;
        if head.head.node != self.state.node {
            return Err(unsigned("it is of another node".to_owned()));
        }
        // Whatever has come before costs nothing when it comes again.
        if self.heads.of(head.head.size) == Some(&head) {
            return Err(MirrorFault::Known);
        }
        head.verify_by(&self.known, &self.state.universe, &self.state.key)
            .map_err(|e| unsigned(e.to_string()))?;
        if let Some(known) = self.heads.of(head.head.size) {
            let is_same = known.head.root == head.head.root;
            return Err(match is_same {
                true => MirrorFault::Known,
                false => MirrorFault::Fork(Box::new(known.clone()), Box::new(head)),
            });
        }
        let size = self.size();
        if batch.first_clock > size + 1 {
            return Err(MirrorFault::Gap {
                found: batch.first_clock,
                size,
            });
        }
        let oldest = self.heads.0.front().map_or(0, |signed| signed.head.size);
        if head.head.size < oldest {
            return Err(MirrorFault::Known);
        }
        if batch.first_clock <= size {
            return Err(MirrorFault::Lie {
                what: "it says anew what it has said before",
            });
        }
        let mut state = self.state.clone();
        let seen = state.take(&batch, &head)?;
        // Nobody could show such an entry as a vote.
        let is_shown = |(_, sighting): &(u64, Sighting)| match sighting {
            Sighting::Entry(entry) => {
                let (known, key) = (&self.known, &self.state.key);
                entry.verify_vertex_by(known, key).is_ok()
            }
            Sighting::Elsewhere => true,
        };
        if !seen.iter().all(is_shown) {
            return Err(MirrorFault::Lie {
                what: "the signature over a vertex does not hold",
            });
        }
        let before = (size + 1, self.state.last_head);
        let is_indexed = self.segments.is_indexed();
        let notes = is_indexed.then(|| state.notes(&seen, batch.head.len()));
        self.segments
            .append(bytes, before, state.frontier.size(), false, notes)?;
        self.state = state;
        self.heads.push(head);
        Ok(seen)
    }

    /// Batches behind the entry `clock`, at most `bytes_max` but at least one
    /// where there is one.
    ///
    /// # Errors
    /// Storage, or a batch that does not read any more.
    pub fn batches_after(
        &mut self,
        clock: u64,
        bytes_max: u64,
    ) -> Result<Vec<Vec<u8>>, LedgerError> {
        self.after(clock, bytes_max)
    }

    /// The entries behind `clock` that stand here in full, each with its clock,
    /// out of about `bytes_max` bytes of batches; and the clock up to which that
    /// goes.
    ///
    /// # Errors
    /// Storage.
    pub fn entries_after(
        &mut self,
        clock: u64,
        bytes_max: u64,
    ) -> Result<(Vec<(u64, Entry)>, u64), LedgerError> {
        let mut entries = Vec::new();
        let mut last = clock;
        for bytes in self.after(clock, bytes_max)? {
            let Ok(batch) = read_batch(&bytes, 0) else {
                continue;
            };
            for (at, (_, item)) in (batch.first_clock..).zip(&batch.items) {
                last = last.max(at);
                if let Item::Entry(bytes) = item
                    && let Ok(entry) = Entry::from_bytes(bytes, &self.state.universe)
                    && at > clock
                {
                    entries.push((at, entry));
                }
            }
        }
        Ok((entries, last))
    }

    /// The entry at `clock`; `None` where there is none or it is kept elsewhere.
    ///
    /// # Errors
    /// Storage, or a batch that does not read any more.
    pub fn entry_at(&mut self, clock: u64) -> Result<Option<Entry>, LedgerError> {
        let (entries, _) = self.entries_after(clock.saturating_sub(1), 0)?;
        let mut entries = entries.into_iter();
        Ok(entries.find(|(at, _)| *at == clock).map(|(_, entry)| entry))
    }

    /// Empties the index: the copy has turned out to be damaged, and whoever opens it
    /// next reads all of it.
    pub fn forget_index(&mut self) {
        self.segments.forget_index();
    }

    /// Brings the index up to the end of the copy, at the end of its use.
    pub fn finish(&mut self) {
        self.segments.finish_index();
    }

    /// Puts the copy on stable storage.
    ///
    /// # Errors
    /// Storage.
    pub fn sync(&mut self) -> Result<(), StorageError> {
        self.segments.sync()
    }

    /// The node's vote at `clock` out of this copy, with its atom; `None`
    /// where there is none or it is kept elsewhere. It reads the whole copy.
    ///
    /// # Errors
    /// Storage.
    pub fn vote(&mut self, clock: u64) -> Result<Option<Testimony>, LedgerError> {
        let batches = self.after(0, u64::MAX)?;
        Ok(self.head().cloned().and_then(|head| {
            let refs: Vec<&[u8]> = batches.iter().map(Vec::as_slice).collect();
            vote_of(&self.state.universe, &refs, clock, head)
        }))
    }

    /// Two votes of the node for one value of its clock: the one in this copy
    /// and the one in a signed batch that says something else. `None` when the
    /// batch cannot be laid over the copy.
    ///
    /// # Errors
    /// Storage.
    pub fn against(&mut self, bytes: &[u8]) -> Result<Option<(Testimony, Testimony)>, LedgerError> {
        let Ok(batch) = read_batch(bytes, 0) else {
            return Ok(None);
        };
        let Ok(other_head) = SignedHead::from_bytes(batch.head) else {
            return Ok(None);
        };
        let own = self.after(0, u64::MAX)?;
        let before: Vec<&[u8]> = own
            .iter()
            .map(Vec::as_slice)
            .take_while(|b| read_batch(b, 0).is_ok_and(|b| b.first_clock < batch.first_clock))
            .collect();
        let theirs: Vec<&[u8]> = before.into_iter().chain([bytes]).collect();
        for clock in batch.first_clock..=other_head.head.size {
            let Some(mine) = self.vote(clock)? else {
                continue;
            };
            let id = &self.state.universe;
            if let Some(other) = vote_of(id, &theirs, clock, other_head.clone())
                && other.vote.vertex != mine.vote.vertex
            {
                return Ok(Some((mine, other)));
            }
        }
        Ok(None)
    }
}

/// The vote at `clock` under `head`, out of all batches up to that head.
fn vote_of(
    universe: &UniverseId,
    batches: &[&[u8]],
    clock: u64,
    head: SignedHead,
) -> Option<Testimony> {
    let mut leaves = Vec::new();
    let mut found = None;
    for bytes in batches {
        let batch = read_batch(bytes, 0).ok()?;
        for (_, item) in &batch.items {
            leaves.push(item.leaf(universe));
            if leaves.len() as u64 == clock
                && let Item::Entry(bytes) = item
            {
                found = Entry::from_bytes(bytes, universe).ok();
            }
        }
    }
    leaves.truncate(usize::try_from(head.head.size).ok()?);
    let entry = found?;
    let vote = Vote {
        vertex: ledger_core::Opaque(entry.vertex.to_bytes().ok()?),
        signature: entry.signature,
        sigs: entry.atom.sigs().to_vec(),
        path: inclusion_proof(universe, &leaves, usize::try_from(clock - 1).ok()?)?,
        head,
    };
    Some(Testimony {
        atom: ledger_core::Opaque(entry.atom.to_bytes().ok()?),
        vote,
    })
}

/// The bytes of a batch for a node that keeps other shards: entries for which
/// `is_kept` is false stand as their hashes. `None` when the batch does not read.
pub fn for_other_shards(
    universe: &UniverseId,
    bytes: &[u8],
    is_kept: &dyn Fn(&Entry) -> bool,
) -> Option<Vec<u8>> {
    let batch = read_batch(bytes, 0).ok()?;
    let kept = batch.items.iter().map(|(_, item)| match item {
        Item::Entry(bytes) => match Entry::from_bytes(bytes, universe) {
            Ok(entry) => is_kept(&entry),
            Err(_) => true,
        },
        Item::Leaf(_) => true,
    });
    let kept: Vec<bool> = kept.collect();
    Some(with_leaves(universe, &batch, &kept))
}

/// The clock of the last entry of a batch; `None` when it does not read.
pub fn last_clock(bytes: &[u8]) -> Option<u64> {
    let batch = read_batch(bytes, 0).ok()?;
    Some(batch.first_clock + (batch.items.len() as u64).saturating_sub(1))
}

/// As [`for_other_shards`], where it is known of each entry whether it is kept.
pub fn without_other_shards(universe: &UniverseId, bytes: &[u8], kept: &[bool]) -> Option<Vec<u8>> {
    let batch = read_batch(bytes, 0).ok()?;
    (batch.items.len() == kept.len()).then(|| with_leaves(universe, &batch, kept))
}

fn with_leaves(universe: &UniverseId, batch: &RawBatch<'_>, kept: &[bool]) -> Vec<u8> {
    let items = || batch.items.iter().map(|(_, item)| *item).zip(kept);
    let leaves: Vec<Option<Digest32>> = items()
        .map(|(item, is_kept)| (!is_kept).then(|| item.leaf(universe)))
        .collect();
    let items: Vec<Item<'_>> = items()
        .zip(&leaves)
        .map(|((item, _), leaf)| leaf.as_ref().map_or(item, Item::Leaf))
        .collect();
    batch_bytes(
        batch.first_clock,
        &items,
        batch.head,
        &HeadId(batch.head_id),
    )
}

impl State {
    fn new(universe: UniverseId, key: PublicKey) -> State {
        let frontier = Frontier::new(universe);
        State {
            universe,
            node: Address::of_key(&universe, &key),
            key,
            committed: Commitment {
                size: 0,
                root: frontier.root(),
            },
            frontier,
            last_vertex: Some(VertexId::NONE),
            last_head: HeadId::NONE,
        }
    }

    /// What an index keeps of a batch that ends here.
    fn notes(&self, seen: &[(u64, Sighting)], head_bytes: usize) -> Notes {
        let noted = |(_, sighting): &(u64, Sighting)| match sighting {
            Sighting::Entry(entry) => Noted::Entry(Row::of(entry)),
            Sighting::Elsewhere => Noted::Elsewhere,
        };
        Notes {
            seen: seen.iter().map(noted).collect(),
            devices: vec![],
            head_bytes,
            state: index::State {
                last_head: self.last_head,
                epoch: 0,
                hlc: 0,
                size: self.frontier.size(),
                peaks: self.frontier.peaks().to_vec(),
            },
        }
    }

    /// Goes along with a batch whose head is signed by the node.
    fn take(
        &mut self,
        batch: &RawBatch<'_>,
        signed: &SignedHead,
    ) -> Result<Vec<(u64, Sighting)>, MirrorFault> {
        let lie = |what| Err(MirrorFault::Lie { what });
        let mut seen = Vec::with_capacity(batch.items.len());
        for (_, item) in &batch.items {
            let clock = self.frontier.size() + 1;
            let sighting = match item {
                Item::Leaf(_) => {
                    self.last_vertex = None;
                    Sighting::Elsewhere
                }
                Item::Entry(bytes) => {
                    let Ok(entry) = Entry::from_bytes(bytes, &self.universe) else {
                        return lie("an entry is not canonical");
                    };
                    let vertex = &entry.vertex;
                    if vertex.l != clock {
                        return lie("its logical clock does not rise by one");
                    }
                    if vertex.node != self.node || vertex.incarnation != signed.head.incarnation {
                        return lie("a vertex is of another node or incarnation");
                    }
                    if vertex.c != self.committed {
                        return lie("a vertex names another head than the one before");
                    }
                    if self.last_vertex.is_some_and(|last| last != vertex.prev) {
                        return lie("a vertex does not follow the one before");
                    }
                    self.last_vertex = Some(entry.vertex_id);
                    Sighting::Entry(Box::new(entry))
                }
            };
            self.frontier.push(item.leaf(&self.universe));
            seen.push((clock, sighting));
        }
        let head = &signed.head;
        if (head.size, head.root) != (self.frontier.size(), self.frontier.root()) {
            return lie("its head is not over its entries");
        }
        if self
            .last_vertex
            .is_some_and(|last| last != head.last_vertex)
        {
            return lie("its head names another vertex");
        }
        self.last_vertex = Some(head.last_vertex);
        let Ok(id) = head.id(&self.universe) else {
            return lie("its head has no canonical form");
        };
        self.last_head = id;
        self.committed = Commitment {
            size: head.size,
            root: head.root,
        };
        Ok(seen)
    }
}

/// A copy that is being read back.
struct Reading<'a> {
    state: State,
    heads: Heads,
    visit: &'a mut dyn FnMut(Row),
}

impl Follower for Reading<'_> {
    fn next_clock(&self) -> u64 {
        self.state.frontier.size() + 1
    }

    fn last_head(&self) -> HeadId {
        self.state.last_head
    }

    fn follow(&mut self, file: &str, batch: &RawBatch<'_>) -> Result<Notes, LedgerError> {
        let corrupt = |what: String| LedgerError::Corrupt {
            file: file.to_owned(),
            offset: batch.head_at as u64,
            what,
        };
        let head = SignedHead::from_bytes(batch.head).map_err(|e| corrupt(e.to_string()))?;
        let seen = self.state.take(batch, &head);
        self.heads.push(head);
        let seen = seen.map_err(|e| corrupt(e.to_string()))?;
        let notes = self.state.notes(&seen, batch.head.len());
        for noted in &notes.seen {
            if let Noted::Entry(row) = noted {
                (self.visit)(row.clone());
            }
        }
        Ok(notes)
    }
}

impl Recall for Reading<'_> {
    fn log_key(&self) -> PublicKey {
        self.state.key
    }

    fn heads_wanted(&self) -> usize {
        HEADS_KEPT
    }

    fn recall(&mut self, noted: Noted) -> Result<(), &'static str> {
        if let Noted::Entry(row) = noted {
            (self.visit)(row);
        }
        Ok(())
    }

    fn recall_device(&mut self, _: String, _: Authority) {
        // Who may command what is told by this node's own log.
    }

    fn resume(&mut self, frontier: Frontier, state: &index::State, heads: Vec<SignedHead>) {
        if let Some(head) = heads.last() {
            self.state.last_vertex = Some(head.head.last_vertex);
            self.state.last_head = state.last_head;
            self.state.committed = Commitment {
                size: head.head.size,
                root: head.head.root,
            };
        }
        self.state.frontier = frontier;
        for head in heads {
            self.heads.push(head);
        }
    }
}
