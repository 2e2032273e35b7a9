//! Drafts and receipts: what a caller gives and gets.

use ledger_core::{Atom, AtomId, ClockQuality, Entry, Particle, Payload};

/// What a caller wants said. The node adds the author's sequence number, the
/// previous atom, the destinations, the time and the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtomDraft {
    /// Name of the author in the universe; its key must be in the keyring.
    pub author: String,
    /// What is said.
    pub payload: Payload,
    /// Atoms it depends on, in any order. They must be in the log: the node
    /// does not look them up, the verification does.
    pub deps: Vec<AtomId>,
    /// What it creates and consumes; empty except for mint, burn and transfer.
    pub particles: Vec<Particle>,
    /// How far the time of the append may be trusted.
    pub clock_quality: ClockQuality,
    /// When it expires, in nanoseconds since the Unix epoch, UTC.
    pub expiry_utc_ns: Option<i64>,
}

impl AtomDraft {
    /// A draft without dependencies, particles, expiry or clock quality.
    pub fn new(author: &str, payload: Payload) -> AtomDraft {
        AtomDraft {
            author: author.to_owned(),
            payload,
            deps: vec![],
            particles: vec![],
            clock_quality: ClockQuality::UNKNOWN,
            expiry_utc_ns: None,
        }
    }

    /// The same draft with dependencies.
    #[must_use]
    pub fn after(mut self, deps: Vec<AtomId>) -> AtomDraft {
        self.deps = deps;
        self
    }
}

/// That an atom is in the log, as durable as the log was asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The node's logical clock: the number of the entry, from 1.
    pub clock: u64,
    /// The id of the atom.
    pub atom_id: AtomId,
}

/// What becomes an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// What a party of this node says.
    Draft(Box<AtomDraft>),
    /// What somebody else has said, verified, and is seen here for the first time.
    Seen(Box<Atom>),
}

/// A batch that is in the log, as it may be sent to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// For each group whether it was taken.
    pub results: Vec<Result<Vec<Receipt>, crate::AppendError>>,
    /// The entries of the batch, in their order.
    pub entries: Vec<Entry>,
    /// The batch: frames as they stand in the segment. Empty when nothing was
    /// taken.
    pub bytes: Vec<u8>,
}
