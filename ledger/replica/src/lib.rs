//! Several nodes, one ledger: a replica as a state machine.
//!
//! This crate is responsible for what a node does about the other nodes: which
//! atoms it witnesses and in which order, when an atom is replicated and when it
//! is final, what it tells the others, and what it says when somebody
//! contradicts itself. It is *not* responsible for sockets, threads or clocks:
//! messages and the time are arguments, and what is to be sent is a result. Its
//! only door to the world is [`ledger_node::Storage`], of which there is one in
//! memory; the same inputs give the same outputs.
//!
//! # How it works
//!
//! A node follows the logs of the others ([`ledger_node::Mirror`]). A batch of a
//! log is the one thing that is ever sent: it brings new atoms, and it is the
//! vote of its node for each atom in it, under one signature. A node that sees
//! an atom for the first time, in a shard that it keeps, makes it an entry of its
//! own log, and sends that batch. When a quorum of the replicas of the author's
//! shard have it, the atom is final ([`ledger_core::Level`]).
//!
//! A node witnesses at most one atom for each place in an author's sequence and
//! at most one that takes a particle down, and it keeps that on stable storage
//! before anybody hears of it. So two atoms that exclude each other are never
//! both final, as long as no more than `f` nodes lie.
//!
//! What was missed is asked for by how far a copy goes. That does not say that
//! everything up to there was taken in: a copy that was restored, or that somebody
//! handed on, may have only the leaf of an entry. So now and then nodes that keep
//! the same shards compare what they have taken in of each log ([`ranges`]), and
//! fill in what is missing.
//!
//! # Configurations
//!
//! A replica goes by the configurations whose files lay beside its log when it was
//! opened ([`ledger_core::Epochs`]), and signs in the latest. When a change is
//! final it keeps the file of the next one and says so ([`Effect::NextEpoch`]);
//! whoever opens it again lets it go on in the next epoch. A node that joins signs
//! nothing before it has read, for each group that it keeps, the logs of a quorum
//! of the old configuration as far as these wrote in it.
//!
//! # What it does not do
//!
//! It never decides between two atoms of one place: who signed both has
//! contradicted itself, both signatures are published, and that place stays
//! frozen. Time-outs, first-seen and lowest ids can all contradict a final atom.

mod judge;
pub mod message;
pub mod ranges;
pub mod replica;
mod standing;
mod waiting;
mod watch;

pub use message::Message;
pub use replica::{Effect, Replica, Start, Stores, Ticket};
pub use standing::Standing;

#[cfg(test)]
mod tests;
