//! The proof of a star: a vote of each node of a quorum, as the ledger exports them.

use ledger_core::entry::EntryParts;
use ledger_core::merkle::{inclusion_proof, leaf_hash, root};
use ledger_core::vertex::Commitment;
use ledger_core::{
    Atom, AtomError, Digest32, Field as _, Head, HeadId, Hlc, KeyError, Opaque, SchemaError,
    SignedHead, Vertex, VertexId, Vote,
};
use thiserror::Error;

use crate::lab::Lab;

/// Why votes cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StarFault {
    /// A part has no canonical form.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The atom has none.
    #[error(transparent)]
    Atom(#[from] AtomError),
    /// A key refuses to sign.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The votes of these nodes, each of which has the atom as the entry behind so
/// many others.
///
/// # Errors
/// See [`StarFault`].
pub fn votes(
    lab: &Lab,
    atom: &Atom,
    witnesses: &[usize],
    entries: u64,
) -> Result<Vec<Vote>, StarFault> {
    let before: Vec<Digest32> = (0..entries)
        .map(|entry| leaf_hash(&lab.id, &entry.to_be_bytes()))
        .collect();
    let of = |node: &usize| vote(lab, atom, *node, before.clone());
    witnesses.iter().map(of).collect()
}

fn vote(lab: &Lab, atom: &Atom, node: usize, mut leaves: Vec<Digest32>) -> Result<Vote, StarFault> {
    let (id, key, entries) = (lab.id, &lab.node_keys[node], leaves.len() as u64);
    let vertex = Vertex {
        node: lab.node(node),
        incarnation: 0,
        l: entries + 1,
        e: atom.id(),
        n: 0,
        c: Commitment {
            size: entries,
            root: root(&id, &leaves),
        },
        prev: VertexId([1; 32]),
        locks: vec![],
        hlc: Hlc(1),
    };
    let vertex_id = vertex.id(&id)?;
    let vertex = Opaque(vertex.to_bytes().map_err(SchemaError::from)?);
    let parts = EntryParts {
        vertex: vertex.clone(),
        signature: None,
        atom: Opaque(atom.to_bytes()?),
    };
    let bytes = parts.to_bytes().map_err(SchemaError::from)?;
    leaves.push(leaf_hash(&id, &bytes));
    let head = Head {
        node: lab.node(node),
        incarnation: 0,
        size: entries + 1,
        root: root(&id, &leaves),
        last_vertex: vertex_id,
        prev: HeadId([1; 32]),
        hlc: Hlc(2),
        closed: false,
    };
    Ok(Vote {
        vertex,
        signature: None,
        sigs: atom.sigs().to_vec(),
        // The leaf was pushed above, so there is a path; none would not verify.
        path: inclusion_proof(&id, &leaves, leaves.len() - 1).unwrap_or_default(),
        head: SignedHead::sign(head, &id, key)?,
    })
}
