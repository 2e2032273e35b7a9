//! What a node that has joined later keeps an eye on.
//!
//! It was not there when the others witnessed what is in their logs. Of two atoms
//! that exclude each other one may be final without this node seeing it: a liar
//! in the middle shows each side another log. So it witnesses neither, until a
//! quorum has decided, and shows both.

use std::collections::{BTreeMap, BTreeSet};

use ledger_core::{Address, AtomId, ParticleId};
use ledger_node::Row;

use crate::judge::downs_of;

/// Where an atom was seen first: the node, and its clock.
pub(crate) type Seen = (usize, u64);

/// An atom that excludes one that was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clash {
    /// Where the one before was seen.
    pub seen: Seen,
    /// Whether both take one particle down; else they share a place.
    pub spends: bool,
}

/// All that was seen in the logs of others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch {
    places: BTreeMap<(Address, u64), (AtomId, Seen)>,
    downs: BTreeMap<ParticleId, (AtomId, Seen)>,
    contested: BTreeSet<AtomId>,
}

impl Watch {
    /// Takes note of an atom in the log of a node; gives what it clashes with.
    pub(crate) fn note(&mut self, row: &Row, seen: Seen) -> Option<Clash> {
        let (id, place) = (row.atom, (row.author, row.seq));
        let mut clash = None;
        let (first, at) = *self.places.entry(place).or_insert((id, seen));
        if first != id {
            self.contested.extend([first, id]);
            let (seen, spends) = (at, false);
            clash = Some(Clash { seen, spends });
        }
        for down in downs_of(&row.particles) {
            let (first, at) = *self.downs.entry(down).or_insert((id, seen));
            if first != id {
                self.contested.extend([first, id]);
                let (seen, spends) = (at, true);
                clash = clash.or(Some(Clash { seen, spends }));
            }
        }
        clash
    }

    /// Whether another atom excludes this one.
    pub(crate) fn is_contested(&self, id: &AtomId) -> bool {
        self.contested.contains(id)
    }
}
