//! The index beside a log: what opening needs of each entry, so that a long log
//! is not read whole.
//!
//! Beside `segment-00000001.log` stands `index-00000001.log` and so on. It is a
//! row of blocks, each over some whole batches of its segment: of every entry
//! what the node must remember of it ([`Row`]), and behind them the state of the
//! log. Each block is hashed with the one before and signed by the node that
//! keeps it, so that one signature covers all of the index up to there. It is
//! written behind the batches that it is about and never waited for: whatever of
//! it a crash takes away is read out of the segments again.
//!
//! # When it is trusted
//!
//! Wholly or not at all. Every block must hold, but for a last one that is torn;
//! the last must be signed by this node; each segment that is finished must be as
//! long as the index says and begin with the header that follows; and the last
//! indexed batch must stand where the index says, with a head that is signed by
//! the log's node over the tree that the index has. An index that fails one of
//! these is [`IndexFound::Refused`]: the log is read whole, and the index is
//! written anew.
//!
//! What is older than the last indexed batch is not read at opening, so a bit
//! that turned over there is not seen then. It is when those bytes are handed to
//! anybody, when the log is verified, and by [`crate::recheck()`], which a running
//! node does in the background.

use ledger_core::hash::{Tag, tagged};
use ledger_core::merkle::Frontier;
use ledger_core::{
    Address, Atom, AtomId, Authority, Digest32, Entry, HeadId, Kind, Particle, Payload, PublicKey,
    SecretKey, SignedHead,
};

mod block;
mod fit;
mod writing;

pub(crate) use block::BatchRow;
pub(crate) use writing::{Index, index_name};

/// Entries after which a block is written, when the batch that reaches it ends.
/// Chosen: a second of a busy log is what a killed process leaves to be read, and
/// the block's signature is less than a thousandth of theirs.
pub const INDEX_ENTRIES_DEFAULT: usize = 1024;

/// How an index is kept.
#[derive(Debug, Clone)]
pub struct IndexOptions {
    /// Entries after which a block is written.
    pub entries: usize,
    /// The key of the node that keeps it.
    pub key: SecretKey,
}

/// What opening needs of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The logical clock of the entry.
    pub clock: u64,
    /// The atom.
    pub atom: AtomId,
    /// Its kind.
    pub kind: Kind,
    /// Who wrote it.
    pub author: Address,
    /// As which of its sequence.
    pub seq: u64,
    /// The configuration epoch in which it was written.
    pub config_epoch: u64,
    /// The configuration epoch of the vertex.
    pub vertex_epoch: u64,
    /// See [`sigs_digest`].
    pub sigs: Digest32,
    /// What the atom puts up and takes down.
    pub particles: Vec<Particle>,
}

impl Row {
    /// The row of an entry.
    pub fn of(entry: &Entry) -> Row {
        Row::of_atom(&entry.atom, entry.vertex.l, entry.vertex.n)
    }

    /// The row of an atom whose vertex has this clock and epoch.
    pub fn of_atom(atom: &Atom, clock: u64, vertex_epoch: u64) -> Row {
        let body = atom.body();
        Row {
            clock,
            atom: atom.id(),
            kind: body.kind(),
            author: body.author,
            seq: body.author_seq,
            config_epoch: body.config_epoch,
            vertex_epoch,
            sigs: sigs_digest(atom),
            particles: body.particles.clone(),
        }
    }
}

/// Tells lists of signatures over an atom apart; no node tells another.
pub fn sigs_digest(atom: &Atom) -> Digest32 {
    let mut bytes = Vec::with_capacity(atom.sigs().len() * 97);
    for signed in atom.sigs() {
        bytes.extend_from_slice(&signed.key.0);
        bytes.extend_from_slice(&signed.signature.0);
    }
    tagged(Tag::Index, &atom.body().universe, &[&[2], &bytes])
}

/// What stands at one place of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    /// An entry.
    Entry(Row),
    /// Something of a shard that is kept elsewhere.
    Elsewhere,
}

/// What became of an index at opening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexFound {
    /// There was none, or none is kept.
    None,
    /// It was used for the entries up to this clock; behind them the log was read.
    Used {
        /// The clock of the last one.
        entries: u64,
    },
    /// It is not the index of this log as it is. All of the log was read.
    Refused {
        /// What does not hold.
        why: String,
    },
}

/// What the index keeps of a batch.
#[derive(Debug)]
pub(crate) struct Notes {
    /// Each place.
    pub seen: Vec<Noted>,
    /// The devices that it commands or grants, with who may now.
    pub devices: Vec<(String, Authority)>,
    /// Bytes of its head.
    pub head_bytes: usize,
    /// The log behind it.
    pub state: State,
}

/// The state of a log behind a batch, as far as it is not in the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub last_head: HeadId,
    pub epoch: u64,
    pub hlc: u64,
    pub size: u64,
    pub peaks: Vec<Digest32>,
}

/// The device that an atom is about, where it says who may command it.
pub(crate) fn device_of(payload: &Payload) -> Option<&String> {
    match payload {
        Payload::Dispatch(dispatch) => Some(&dispatch.device),
        Payload::AuthorityGrant(grant) => Some(&grant.device),
        _ => None,
    }
}

/// Goes along with what the index has of a log.
pub(crate) trait Recall {
    /// The key of the node whose log it is.
    fn log_key(&self) -> PublicKey;
    /// How many of the latest heads are wanted.
    fn heads_wanted(&self) -> usize;
    /// Takes what stands at the next place.
    ///
    /// # Errors
    /// What does not follow.
    fn recall(&mut self, noted: Noted) -> Result<(), &'static str>;
    /// Takes who may command a device.
    fn recall_device(&mut self, device: String, authority: Authority);
    /// Goes on behind the last indexed batch; `heads` are the latest, the newest last.
    fn resume(&mut self, frontier: Frontier, state: &State, heads: Vec<SignedHead>);
}
