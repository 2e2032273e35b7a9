//! A node among others, at the edge: files, sockets and the thread.
//!
//! This crate is responsible for carrying what a [`ledger_replica::Replica`]
//! says to the other nodes and what they say to it, for the keys and the
//! configuration of a node on disk, and for the thread in which the replica
//! lives. It is *not* responsible for what is said.

pub mod config;
pub mod epoch;
pub mod files;
pub mod grant;
mod inbox;
pub mod node;
mod peers;
mod recheck;
pub mod tls;

pub use config::{ConfigError, EXPLANATIONS, NodeConfig};
pub use files::{FilesError, init};
pub use node::{Event, Node, NodeError, Status};

#[cfg(test)]
mod simulated;
