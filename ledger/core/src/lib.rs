//! Atoms, logical clocks and proofs: pure and exact.
//!
//! This crate is responsible for the bytes of the ledger: which byte strings
//! are an atom, a vertex, a tree head or a universe, what they hash to, who
//! signed them, and what a Merkle proof proves. It is *not* responsible for
//! storing them (that is `ledger-node`), for judging a whole run (that is
//! `ledger-verify`), or for reading a clock or drawing randomness: time and
//! entropy are arguments.
//!
//! The terms, in the order in which an entry is made:
//!
//! - A [`Universe`] is one instance of the ledger: who may sign what. Its
//!   [`UniverseId`] is inside every other hash.
//! - An [`Atom`] is one signed statement. Its [`AtomId`] covers the body only,
//!   so that adding a signature never renames it.
//! - A [`Vertex`] says that a node saw an atom as its event number `l`.
//! - A [`SignedHead`] is the node's commitment to all its entries so far.
//!
//! Where several nodes keep one universe ([`Federation`]):
//!
//! - A [`Vote`] is a vertex that can be shown alone: with the Merkle path to a
//!   head that its node signed.
//! - A [`Quorum`] of votes makes an atom final; [`Level`] says how far it is.
//! - A [`Contradiction`] is two signed objects that one honest signer would never
//!   have made both.
//! - An [`EpochChange`] is a later configuration, signed by the admins of the one
//!   before; [`Epochs`] is the chain of them.
//!
//! Signed bytes hold integers, byte strings, texts and arrays only (see
//! [`cbor`]); there are no floats and no maps in them.

pub mod cbor;
#[macro_use]
mod record;
pub mod address;
pub mod atom;
pub mod authority;
pub mod credit;
pub mod directory;
pub mod entry;
pub mod epochs;
pub mod evidence;
pub mod federation;
pub mod hash;
pub mod head;
pub mod hlc;
pub mod holding;
pub mod keys;
pub mod known;
pub mod merkle;
mod multiples;
pub mod particle;
pub mod payload;
pub mod segment;
pub mod universe;
pub mod vertex;
pub mod vote;

pub use address::{Address, Shard};
pub use atom::{Atom, AtomError, Body};
pub use authority::{Authorities, Authority, AuthorityFault, Holder};
pub use cbor::{CborError, Value};
pub use directory::Directory;
pub use entry::Entry;
pub use epochs::{EpochChange, EpochError, Epochs};
pub use evidence::{Contradiction, EvidenceError, Testimony};
pub use federation::{Federation, Level, Quorum};
pub use hash::{AtomId, Digest32, HeadId, ParticleId, UniverseId, VertexId};
pub use head::{Head, SignedHead};
pub use hlc::{ClockQuality, ClockSource, Hlc};
pub use holding::{Have, Held};
pub use keys::{KeyError, PublicKey, SecretKey, Signature};
pub use known::KnownKeys;
pub use particle::{Particle, ParticleError, ParticleStates};
pub use payload::{Kind, Payload};
pub use record::{Amount, Field, Opaque, SchemaError, Shown};
pub use segment::SegmentHeader;
pub use universe::{Party, Role, Universe, UniverseError};
pub use vertex::Vertex;
pub use vote::{Vote, VoteError, Witness};

#[cfg(test)]
mod page;
