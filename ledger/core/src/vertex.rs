//! Vertices: a node's statement that it saw an atom as its event number `l`.
//!
//! A node's vertices form a hash chain, and each names the head that the node
//! had published before. A node signs none of them alone: a vertex is proved by
//! its Merkle path under the signed head of its batch, one signature for all of it.
//! In older logs that of a `Dispatch` or `Trip` bears a signature of its own.

use crate::address::Address;
use crate::hash::{AtomId, Digest32, ParticleId, Tag, UniverseId, VertexId, tagged};
use crate::hlc::Hlc;
use crate::payload::Kind;
use crate::record::{Field, SchemaError};

record! {
    /// The size and root of a node's own tree.
    Commitment {
        /// Number of entries.
        size: u64,
        /// Root over them.
        root: Digest32,
    }
}

record! {
    /// One event of a node.
    Vertex where counts_from_one {
        /// The node.
        node: Address,
        /// Which life of the node this is; it rises when a backup was restored.
        incarnation: u64,
        /// Logical clock: the index of the entry plus one.
        l: u64,
        /// The atom that was seen.
        e: AtomId,
        /// Configuration epoch of the replica set.
        n: u64,
        /// The node's latest head before this batch.
        c: Commitment,
        /// The node's previous vertex.
        prev: VertexId,
        /// Particles that this vertex locks, sorted.
        locks: Vec<ParticleId>,
        /// When the node saw it.
        hlc: Hlc,
    }
}

fn counts_from_one(v: &Vertex) -> Result<(), SchemaError> {
    let rules = [
        (v.l >= 1, "The logical clock begins at 1."),
        (
            v.c.size < v.l,
            "A vertex names a head that is older than itself.",
        ),
        (
            v.locks.is_sorted_by(|a, b| a < b),
            "Locks are sorted and unique.",
        ),
    ];
    match rules.into_iter().find(|(holds, _)| !holds) {
        Some((_, rule)) => Err(SchemaError::Rule { rule }),
        None => Ok(()),
    }
}

impl Vertex {
    /// The id of the vertex with these canonical bytes.
    pub fn id_of(universe: &UniverseId, bytes: &[u8]) -> VertexId {
        VertexId(tagged(Tag::Vertex, universe, &[bytes]))
    }

    /// The id.
    ///
    /// # Errors
    /// Over a limit of the encoding.
    pub fn id(&self, universe: &UniverseId) -> Result<VertexId, SchemaError> {
        Ok(Vertex::id_of(universe, &self.to_bytes()?))
    }

    /// Whether the vertex of an atom of this kind may carry its own signature, as in older logs.
    pub fn may_be_signed_for(kind: Kind) -> bool {
        matches!(kind, Kind::Dispatch | Kind::Trip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vertex() -> Vertex {
        Vertex {
            node: Address([1; 32]),
            incarnation: 0,
            l: 3,
            e: AtomId([2; 32]),
            n: 0,
            c: Commitment {
                size: 2,
                root: [3; 32],
            },
            prev: VertexId([4; 32]),
            locks: vec![],
            hlc: Hlc(9),
        }
    }

    #[test]
    fn a_vertex_reads_back_and_its_id_covers_every_field() {
        let universe = UniverseId([1; 32]);
        let base = vertex().id(&universe).unwrap();
        assert_eq!(
            Vertex::from_bytes(&vertex().to_bytes().unwrap()),
            Ok(vertex())
        );
        let changes: [fn(&mut Vertex); 9] = [
            |v| v.node = Address([9; 32]),
            |v| v.incarnation = 1,
            |v| v.l = 4,
            |v| v.e = AtomId([9; 32]),
            |v| v.n = 1,
            |v| v.c.root = [9; 32],
            |v| v.prev = VertexId([9; 32]),
            |v| v.locks.push(ParticleId([9; 32])),
            |v| v.hlc = Hlc(10),
        ];
        for change in changes {
            let mut changed = vertex();
            change(&mut changed);
            assert_ne!(changed.id(&universe).unwrap(), base);
        }
    }

    #[test]
    fn a_clock_of_zero_or_a_head_from_the_future_is_refused() {
        for (l, size) in [(0, 0), (3, 3), (3, 4)] {
            let mut bad = vertex();
            (bad.l, bad.c.size) = (l, size);
            assert!(Vertex::from_value(bad.to_value()).is_err(), "{l} {size}");
        }
    }
}
