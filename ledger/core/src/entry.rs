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
        /// The node's signature over the vertex, where its kind has one.
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
    /// The node's signature over `vertex_id`, for `Dispatch` and `Trip`.
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
    /// another atom, or a vertex signature that should not be there or is not.
    pub fn from_bytes(bytes: &[u8], universe: &UniverseId) -> Result<Entry, AtomError> {
        let parts = EntryParts::from_bytes(bytes)?;
        let atom = Atom::from_bytes(&parts.atom.0, universe)?;
        let vertex = Vertex::from_bytes(&parts.vertex.0)?;
        let is_signed = Vertex::is_signed_for(atom.body().kind());
        let rule = match () {
            () if vertex.e != atom.id() => "A vertex names the atom beside it.",
            () if parts.signature.is_some() != is_signed => {
                "A vertex is signed exactly for dispatch and trip."
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
