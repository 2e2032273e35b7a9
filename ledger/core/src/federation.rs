//! Several nodes for one universe: who keeps which shards, and how many of them
//! must have seen an atom.
//!
//! With `n` replicas of a group, `f = floor((n - 1) / 3)` of them may do
//! anything. An atom that `floor((n + f) / 2) + 1` replicas have witnessed is
//! final: two such sets share a replica that is not among the `f`, and that one
//! never witnesses two atoms for one place. (`2f + 1` would be too few when `n`
//! is not `3f + 1`: with 50 replicas it is 33, and two sets of 33 can share 16
//! liars.) Three replicas tolerate no liar, only crashes; four are the first
//! number that tolerates one.

use crate::cbor::Value;
use crate::hash::Digest32;
use crate::record::{Field, SchemaError, Shown};
use crate::universe::Universe;

record! {
    /// The part of a configuration that says how its nodes work together.
    Federation {
        /// How many admins must sign a change of the configuration.
        admin_threshold: u64,
        /// SHA3-256 of each node's public key for transport (the DER of its
        /// SubjectPublicKeyInfo), in the order of the nodes.
        transport_keys: Vec<Digest32>,
        /// For each group the nodes that keep it: their places in the list of
        /// nodes from 0, sorted.
        replicas: Vec<Vec<u64>>,
    }
}

impl Federation {
    /// The rules that hold between it and the rest of the configuration.
    pub(crate) fn rules(&self, universe: &Universe) -> [(bool, &'static str); 5] {
        let nodes = universe.nodes.len() as u64;
        let admins = universe.admins().count() as u64;
        [
            (
                self.transport_keys.len() as u64 == nodes,
                "Each node has a transport key.",
            ),
            (
                self.replicas.len() as u64 == 1 << universe.shard_bits,
                "Each group has its list of replicas.",
            ),
            (
                self.replicas
                    .iter()
                    .all(|group| !group.is_empty() && group.is_sorted_by(|a, b| a < b)),
                "Replicas of a group are sorted and unique, at least one.",
            ),
            (
                self.replicas.iter().flatten().all(|node| *node < nodes),
                "Replicas are among the nodes.",
            ),
            (
                (1..=admins).contains(&self.admin_threshold) || admins == 0,
                "The threshold of admins can be reached.",
            ),
        ]
    }

    /// Every node keeps everything: right for up to seven nodes.
    pub fn full_replication(nodes: u64, shard_bits: u8) -> Vec<Vec<u64>> {
        vec![(0..nodes).collect(); 1 << shard_bits]
    }
}

/// How many replicas of a group it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// Number of replicas of the group.
    pub replicas: usize,
}

impl Quorum {
    /// How many of them may do anything whatever.
    pub fn tolerated(self) -> usize {
        self.replicas.saturating_sub(1) / 3
    }

    /// So many have at least one among them that is not a liar.
    pub fn replicated(self) -> usize {
        self.tolerated() + 1
    }

    /// Two sets of so many share one that is not a liar.
    pub fn is_final(self) -> usize {
        (self.replicas + self.tolerated()) / 2 + 1
    }

    /// The level that so many witnesses give.
    pub fn level(self, witnesses: usize) -> Option<Level> {
        match witnesses {
            0 => None,
            n if n >= self.is_final() => Some(Level::Final),
            n if n >= self.replicated() => Some(Level::Replicated),
            _ => Some(Level::DurableLocal),
        }
    }
}

/// How far an atom is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// L1: on stable storage at one node.
    DurableLocal,
    /// L2: at so many replicas that one of them is no liar.
    Replicated,
    /// L3: at a quorum; no conflicting atom can ever get there.
    Final,
}

impl Level {
    /// The short name, as it stands in answers and logs.
    pub fn name(self) -> &'static str {
        match self {
            Level::DurableLocal => "L1",
            Level::Replicated => "L2",
            Level::Final => "L3",
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// On the wire a level is its number.
impl Field for Level {
    fn to_value(&self) -> Value {
        (*self as u8 + 1).to_value()
    }
    fn from_value(value: Value) -> Result<Self, SchemaError> {
        match u8::from_value(value)? {
            1 => Ok(Level::DurableLocal),
            2 => Ok(Level::Replicated),
            3 => Ok(Level::Final),
            _ => Err(SchemaError::Expected {
                expected: "a level, 1 to 3",
            }),
        }
    }
    fn shown(&self) -> Shown {
        Shown::Text(self.name().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_counts_the_liars_that_two_of_them_may_share() {
        // n, f, q from the ledger design 1.8.
        for (n, f, q) in [
            (1, 0, 1),
            (2, 0, 2),
            (3, 0, 2),
            (4, 1, 3),
            (5, 1, 4),
            (7, 2, 5),
            (10, 3, 7),
            (16, 5, 11),
            (31, 10, 21),
            (50, 16, 34),
            (100, 33, 67),
        ] {
            let quorum = Quorum { replicas: n };
            assert_eq!((quorum.tolerated(), quorum.is_final()), (f, q), "n = {n}");
            // Two quorums share more than the liars; the honest alone can make one.
            assert!(2 * q > n + f && q <= n - f, "n = {n}");
        }
    }

    #[test]
    fn levels_are_reached_in_their_order() {
        let quorum = Quorum { replicas: 7 };
        let levels: Vec<Option<Level>> = (0..=7).map(|n| quorum.level(n)).collect();
        let [one, two, three] = [Level::DurableLocal, Level::Replicated, Level::Final].map(Some);
        assert_eq!(levels, [None, one, one, two, two, three, three, three]);
    }
}
