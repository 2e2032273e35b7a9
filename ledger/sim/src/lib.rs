//! A laboratory of several nodes in one process and out of one seed.
//!
//! This crate is responsible for finding what breaks the ledger: it runs honest
//! replicas over disks in memory and a network that delays, loses, doubles,
//! reorders and parts, lets one node lie, lets power, processes, disks and clocks
//! fail, and holds the properties of the ledger design against what comes of it.
//! It is *not* responsible for the real network and the real disk; other suites
//! have those.
//!
//! Three parts know nothing of each other: [`workload`] is what the parties say,
//! [`auditor`] re-derives from bytes alone what is witnessed and final, and
//! [`invariants`] holds one checker for each property. [`world`] drives them.
//!
//! A broken variant ([`plan::Mutation`]) is made of the honest replica and of what
//! stands around it: a disk that does not synchronise, an operator who begins a
//! restored node as a new one, a voter that is counted twice. So the replica
//! itself has no switch that somebody could leave on.

pub mod auditor;
pub mod byzantine;
pub mod chance;
pub mod disk;
pub mod frames;
pub mod invariants;
pub mod lab;
pub mod network;
pub mod plan;
pub mod properties;
pub mod provision;
pub mod workload;
pub mod world;

pub use plan::{MUTATIONS, Mutation};
pub use properties::{PROPERTIES, report, run_seed, seeds_of};
pub use world::Outcome;
