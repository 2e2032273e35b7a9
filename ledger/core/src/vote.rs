//! Votes: a node's vertex in a form that can be shown to others.
//!
//! A node signs one head per batch, not each vertex. A vote therefore holds the
//! vertex, the Merkle path of its entry, and the signed head over it: whoever
//! has the body of the atom can check it with nothing but the configuration.

use thiserror::Error;

use crate::atom::{Atom, AtomError, Signed, verify_signatures};
use crate::directory::Directory;
use crate::entry::EntryParts;
use crate::hash::{Digest32, VertexId};
use crate::head::SignedHead;
use crate::keys::{KeyError, PublicKey, Signature};
use crate::merkle::{leaf_hash, verify_inclusion};
use crate::record::{Field, Opaque, SchemaError};
use crate::universe::Universe;
use crate::vertex::Vertex;

record! {
    /// A vertex with all that proves it, except for the body of the atom.
    Vote {
        /// Canonical bytes of the vertex.
        vertex: Opaque,
        /// The node's signature over the vertex, in older logs of some kinds.
        signature: Option<Signature>,
        /// The signatures of the atom as this node has them, sorted by key.
        sigs: Vec<Signed>,
        /// The path from the entry to the root of the head.
        path: Vec<Digest32>,
        /// The head.
        head: SignedHead,
    }
}

/// What a vote says once it has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// The node, by its place in the configuration.
    pub node: usize,
    /// Its vertex.
    pub vertex: Vertex,
    /// The hash of the vertex.
    pub vertex_id: VertexId,
}

/// Why a vote does not count.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VoteError {
    /// A part is not in the schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The signatures of the atom do not hold.
    #[error(transparent)]
    Atom(#[from] AtomError),
    /// The vertex names another atom.
    #[error("the vertex is about another atom")]
    OtherAtom,
    /// The node is not in the configuration.
    #[error("the vertex is of a node that is not in the configuration")]
    Stranger,
    /// The head is of another node or another life of it.
    #[error("the head is of another node or incarnation than the vertex")]
    OtherHead,
    /// The path does not lead from the entry to the root.
    #[error("the entry is not under the head")]
    NotUnderHead,
    /// The vertex has a signature where none may be.
    #[error("a vertex is signed for dispatch and trip at most")]
    SignatureOfVertex,
    /// A signature of the node does not hold.
    #[error("the signature of the node: {0}")]
    Key(#[from] KeyError),
}

impl Vote {
    /// Checks everything about the vote that a stranger can check.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(
        &self,
        atom: &Atom,
        universe: &Universe,
        directory: &Directory,
    ) -> Result<Witness, VoteError> {
        let id = directory.id;
        let vertex = Vertex::from_bytes(&self.vertex.0)?;
        if vertex.e != atom.id() {
            return Err(VoteError::OtherAtom);
        }
        let node = directory.node(&vertex.node).ok_or(VoteError::Stranger)?;
        let key = universe.nodes.get(node).ok_or(VoteError::Stranger)?.key;
        let head = &self.head.head;
        if head.node != vertex.node || head.incarnation != vertex.incarnation {
            return Err(VoteError::OtherHead);
        }
        // The same signatures were verified with the atom.
        if self.sigs != atom.sigs() {
            verify_signatures(
                &id,
                &atom.id(),
                &atom.body().author,
                &self.sigs,
                PublicKey::verify,
            )?;
        }
        let parts = EntryParts {
            vertex: self.vertex.clone(),
            signature: self.signature,
            atom: Opaque(atom.bytes_with(&self.sigs)?),
        };
        let leaf = leaf_hash(&id, &parts.to_bytes().map_err(SchemaError::from)?);
        let index = vertex.l - 1;
        if !verify_inclusion(&id, &leaf, index, head.size, &self.path, &head.root) {
            return Err(VoteError::NotUnderHead);
        }
        let vertex_id = Vertex::id_of(&id, &self.vertex.0);
        if let Some(signature) = self.signature {
            if !Vertex::may_be_signed_for(atom.body().kind()) {
                return Err(VoteError::SignatureOfVertex);
            }
            key.verify(&vertex_id.0, &signature)?;
        }
        self.head.verify(&id, &key)?;
        Ok(Witness {
            node,
            vertex,
            vertex_id,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
