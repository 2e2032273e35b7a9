//! Looking at what one entry or head says of itself: its form and its signatures.
//!
//! That is nearly all of the work, and needs nothing of the entries before it,
//! so it is done on all cores. It is not responsible for what must be so between
//! entries: see the checks.

use ledger_core::merkle::leaf_hash;
use ledger_core::{
    Address, AtomError, Digest32, Directory, Entry, Field as _, KeyError, KnownKeys, PublicKey,
    SchemaError, SignedHead, Universe,
};

use crate::reader::{self, Batch, Found};

/// Entries that are looked at together.
/// Chosen: some tenths of a second of signatures on one core, and a megabyte or
/// two of decoded entries. Few in tests, so that a short log has several.
const LOOKED_AT_ONCE: usize = if cfg!(test) { 8 } else { 2048 };

/// The next batches, until they hold [`LOOKED_AT_ONCE`] entries; none at the end.
/// `None` when something else stands there, which the frames have excluded.
pub(crate) fn some_batches<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Vec<Batch<'a>>> {
    let (mut batches, mut entries) = (vec![], 0);
    while *at < bytes.len() && entries < LOOKED_AT_ONCE {
        let Found::Batch(batch) = reader::batch(bytes, *at) else {
            return None;
        };
        *at = batch.end;
        entries += batch.entries.len();
        batches.push(batch);
    }
    Some(batches)
}

/// What can be looked at alone.
pub(crate) enum Part<'a> {
    Entry(&'a [u8]),
    Head(&'a [u8]),
}

/// The parts of a batch, in their order.
pub(crate) fn parts_of<'b>(batch: &'b Batch<'b>) -> impl Iterator<Item = Part<'b>> {
    let entries = batch.entries.iter().map(|frame| Part::Entry(frame.payload));
    entries.chain([Part::Head(batch.head.payload)])
}

/// What was seen of a part.
pub(crate) enum Look {
    Entry(Box<Result<LookedEntry, AtomError>>),
    Head(Box<Result<LookedHead, SchemaError>>),
}

/// An entry, and what it says of itself.
pub(crate) struct LookedEntry {
    pub entry: Entry,
    /// Its leaf in the node's tree.
    pub leaf: Digest32,
    /// Whether the node that the vertex names has signed it, where it must.
    pub by_node: Result<(), KeyError>,
    /// Whether its author and everybody else under it has signed the atom.
    pub by_author: Result<(), AtomError>,
}

/// A head, and whether the node that it names has signed it.
pub(crate) struct LookedHead {
    pub signed: SignedHead,
    /// Whether it is signed.
    pub by_node: Result<(), KeyError>,
}

/// Decodes a part and verifies its signatures: what takes long, and needs no
/// other part.
pub(crate) fn look(
    part: &Part<'_>,
    universe: &Universe,
    directory: &Directory,
    known: &KnownKeys,
) -> Look {
    let id = &directory.id;
    // A stranger is refused for that; no key is tried on it.
    let by = |node: &Address, verify: &dyn Fn(&PublicKey) -> Result<(), KeyError>| {
        let member = directory.node(node).and_then(|at| universe.nodes.get(at));
        member.map_or(Ok(()), |member| verify(&member.key))
    };
    match part {
        Part::Entry(bytes) => {
            let looked = Entry::from_bytes(bytes, id).map(|entry| LookedEntry {
                leaf: leaf_hash(id, bytes),
                by_node: by(&entry.vertex.node, &|key| {
                    entry.verify_vertex_by(known, key)
                }),
                by_author: entry.atom.verify_by(known),
                entry,
            });
            Look::Entry(Box::new(looked))
        }
        Part::Head(bytes) => {
            let looked = SignedHead::from_bytes(bytes).map(|signed| LookedHead {
                by_node: by(&signed.head.node, &|key| signed.verify_by(known, id, key)),
                signed,
            });
            Look::Head(Box::new(looked))
        }
    }
}
