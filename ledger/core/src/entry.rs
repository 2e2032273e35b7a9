//! Entries: what stands at one place of a node's log.
//!
//! An entry holds the vertex and the node's first copy of the atom. Its
//! canonical bytes are the leaf of the node's tree, so that the head covers the
//! signatures as well as what they sign.

use crate::atom::{Atom, AtomError};
use crate::hash::{UniverseId, VertexId};
use crate::keys::{KeyError, PublicKey, Signature};
use crate::known::KnownKeys;
use crate::record::{Field, Opaque, SchemaError};
use crate::vertex::Vertex;

record! {
    /// The parts of an entry on the wire.
    EntryParts {
        /// Canonical bytes of the vertex.
        vertex: Opaque,
        /// The node's signature over the vertex, in older logs of some kinds.
        signature: Option<Signature>,
        /// Canonical bytes of the atom with its signatures.
        atom: Opaque,
    }
}

/// One place of a node's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The node's event.
    pub vertex: Vertex,
    /// Hash of the vertex as it was read or written.
    pub vertex_id: VertexId,
    /// The node's signature over `vertex_id`: only in older logs, and there for `Dispatch` and `Trip`.
    pub signature: Option<Signature>,
    /// The atom.
    pub atom: Atom,
}

impl Entry {
    /// The canonical bytes: the leaf of the tree.
    ///
    /// # Errors
    /// Over a limit of the encoding.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SchemaError> {
        let parts = EntryParts {
            vertex: Opaque(self.vertex.to_bytes()?),
            signature: self.signature,
            atom: Opaque(self.atom.to_bytes()?),
        };
        Ok(parts.to_bytes()?)
    }

    /// Reads an entry; signatures are not yet verified.
    ///
    /// # Errors
    /// Bytes that are not canonical or not in the schema, a vertex that names
    /// another atom, or a vertex signature where none may be.
    pub fn from_bytes(bytes: &[u8], universe: &UniverseId) -> Result<Entry, AtomError> {
        let parts = EntryParts::from_bytes(bytes)?;
        let atom = Atom::from_bytes(&parts.atom.0, universe)?;
        let vertex = Vertex::from_bytes(&parts.vertex.0)?;
        let may_be_signed = Vertex::may_be_signed_for(atom.body().kind());
        let rule = match () {
            () if vertex.e != atom.id() => "A vertex names the atom beside it.",
            () if parts.signature.is_some() && !may_be_signed => {
                "A vertex is signed for dispatch and trip at most."
            }
            () => {
                let vertex_id = Vertex::id_of(universe, &parts.vertex.0);
                return Ok(Entry {
                    vertex,
                    vertex_id,
                    signature: parts.signature,
                    atom,
                });
            }
        };
        Err(SchemaError::Rule { rule }.into())
    }

    /// Verifies the node's signature over the vertex, where there is one.
    ///
    /// # Errors
    /// See [`PublicKey::verify`].
    pub fn verify_vertex(&self, key: &PublicKey) -> Result<(), KeyError> {
        self.signature.map_or(Ok(()), |signature| {
            key.verify(&self.vertex_id.0, &signature)
        })
    }

    /// As [`Entry::verify_vertex`], where some keys are known to sign often.
    ///
    /// # Errors
    /// As there.
    pub fn verify_vertex_by(&self, known: &KnownKeys, key: &PublicKey) -> Result<(), KeyError> {
        self.signature.map_or(Ok(()), |signature| {
            known.verify(key, &self.vertex_id.0, &signature)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{Payload, Trip};
    use crate::vote::tests::{NOW, atom, four_nodes, key, mode, votes};

    /// Whether the entry of such an atom reads back where its vertex bears a signature of its own.
    fn check(payload: Payload, expected: bool) {
        let id = four_nodes().1.id;
        let atom = atom(id, 11, 1, payload);
        let vote = votes(id, 1, std::slice::from_ref(&atom)).remove(0);
        let vertex_id = Vertex::id_of(&id, &vote.vertex.0);
        let bytes = |signature| {
            let parts = EntryParts {
                vertex: vote.vertex.clone(),
                signature,
                atom: Opaque(atom.to_bytes().unwrap()),
            };
            parts.to_bytes().unwrap()
        };
        assert!(Entry::from_bytes(&bytes(None), &id).is_ok());
        let signed = bytes(Some(key(1).sign(&vertex_id.0).unwrap()));
        assert_eq!(Entry::from_bytes(&signed, &id).is_ok(), expected);
    }

    #[test]
    fn only_the_vertex_of_a_dispatch_or_a_trip_may_bear_a_signature_and_none_must() {
        let trip = Trip {
            device: "inverter".to_owned(),
            what: "rocof".to_owned(),
            acted_at_utc_ns: NOW,
            logged_at_utc_ns: NOW,
        };
        check(Payload::Trip(trip), true);
        check(mode("island"), false);
    }
}
