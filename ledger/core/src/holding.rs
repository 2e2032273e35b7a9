//! What a node has of the logs of all: the version vector of logical clocks.

use crate::hash::Digest32;
use crate::head::SignedHead;

record! {
    /// How much of one log a node has.
    Held {
        /// Number of entries; the logical clock of the last one.
        size: u64,
        /// The root over them.
        root: Digest32,
    }
}

record! {
    /// What a node says that it has.
    Have {
        /// How much of each node's log, in the order of the configuration.
        held: Vec<Held>,
        /// The latest head that the sender has of the node to which this is
        /// said. That node has signed it, so nobody can make a node believe
        /// that it has signed more than it has.
        yours: Option<SignedHead>,
    }
}
