//! The proof of a path: coordinates, each signed over all that stand before it.
//!
//! In the paper a signature covers its own coordinate only, so coordinates could be
//! cut off, reordered and grafted. Here, as in the program that followed the paper,
//! it covers the hash of what is before it, too.

use ledger_core::hash::{Tag, tagged};
use ledger_core::vertex::Commitment;
use ledger_core::{
    Address, AtomId, Digest32, Field as _, SchemaError, Signature, UniverseId, Value,
};
use thiserror::Error;

use crate::lab::Lab;

/// One node's part of a proof: the paper's `(l, e, o, n, c)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coordinate {
    /// The node's clock for the event.
    pub l: u64,
    /// The event: the atom.
    pub e: AtomId,
    /// The node.
    pub o: Address,
    /// The next node; none at the end.
    pub n: Option<Address>,
    /// The node's commitment: size and root of its log before.
    pub c: Commitment,
}

impl Coordinate {
    fn to_value(&self) -> Value {
        Value::Array(vec![
            self.l.to_value(),
            self.e.to_value(),
            self.o.to_value(),
            self.n.to_value(),
            self.c.to_value(),
        ])
    }
}

/// The coordinates of a path in their order, each with its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathProof(pub Vec<(Coordinate, Signature)>);

/// Why a path proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PathFault {
    /// A coordinate is about another atom.
    #[error("coordinate {0} is about another atom")]
    OtherAtom(usize),
    /// A node stands in the path that the one before did not name, or twice.
    #[error("coordinate {0} is of a node that was not the next one")]
    NotNext(usize),
    /// A signature does not hold.
    #[error("the signature of coordinate {0} does not hold")]
    Signature(usize),
    /// The path does not end where it says, or is too short.
    #[error("the path has {found} coordinates and no end there")]
    CutOff {
        /// How many there are.
        found: usize,
    },
    /// A coordinate has no canonical form.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

/// What a node signs: all before it, and its own coordinate.
fn digest(id: &UniverseId, before: &Digest32, own: &Coordinate) -> Result<Digest32, SchemaError> {
    let own = own.to_value().encode().map_err(SchemaError::from)?;
    Ok(tagged(Tag::Vertex, id, &[before, &own]))
}

impl PathProof {
    /// The proof of a path over these nodes, each of which has so many entries.
    ///
    /// # Errors
    /// A key refuses to sign.
    pub fn make(
        lab: &Lab,
        atom: AtomId,
        witnesses: &[usize],
        entries: u64,
    ) -> Result<PathProof, PathFault> {
        let mut before = [0; 32];
        let mut proof = Vec::new();
        for (at, node) in witnesses.iter().enumerate() {
            let own = Coordinate {
                l: entries + 1,
                e: atom,
                o: lab.node(*node),
                n: witnesses.get(at + 1).map(|next| lab.node(*next)),
                c: Commitment {
                    size: entries,
                    root: [at as u8; 32],
                },
            };
            before = digest(&lab.id, &before, &own)?;
            let signature = lab.node_keys[*node].sign(&before);
            let signature = signature.map_err(|_| PathFault::Signature(at))?;
            proof.push((own, signature));
        }
        Ok(PathProof(proof))
    }

    /// Checks all of it, as a stranger would.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(&self, lab: &Lab, atom: AtomId, length: usize) -> Result<(), PathFault> {
        let mut before = [0; 32];
        let mut next = self.0.first().map(|(first, _)| first.o);
        let mut seen = Vec::new();
        for (at, (own, signature)) in self.0.iter().enumerate() {
            if own.e != atom {
                return Err(PathFault::OtherAtom(at));
            }
            let node = lab.directory.node(&own.o);
            let (Some(node), true) = (node, next == Some(own.o) && !seen.contains(&own.o)) else {
                return Err(PathFault::NotNext(at));
            };
            before = digest(&lab.id, &before, own)?;
            let key = &lab.universe.nodes[node].key;
            key.verify(&before, signature)
                .map_err(|_| PathFault::Signature(at))?;
            seen.push(own.o);
            next = own.n;
        }
        match next.is_none() && self.0.len() >= length {
            true => Ok(()),
            false => Err(PathFault::CutOff {
                found: self.0.len(),
            }),
        }
    }

    /// The canonical bytes.
    ///
    /// # Errors
    /// Over a limit of the encoding.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SchemaError> {
        let signed = |(own, signature): &(Coordinate, Signature)| {
            Value::Array(vec![own.to_value(), signature.to_value()])
        };
        let all = Value::Array(self.0.iter().map(signed).collect());
        all.encode().map_err(SchemaError::from)
    }
}
