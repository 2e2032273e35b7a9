//! Atoms that wait to be witnessed, and which of them may be now.

use std::collections::BTreeMap;

use ledger_core::{Address, Atom, AtomId};
use ledger_node::Place;

use crate::judge::{Bench, Verdict, downs};
use crate::standing::Standings;

/// Most atoms that wait to be witnessed.
/// Chosen: at 2,000 atoms a second it is two seconds of work. When it is full the
/// logs of others are not followed any further; they are asked for again later.
pub const WAITING_MAX: usize = 4_096;

/// Most of them that one author may have, so that one that leaves a gap in its
/// sequence on purpose does not keep the others out.
const WAITING_OF_AUTHOR_MAX: usize = WAITING_MAX / 4;

/// Most entries of one batch. Chosen: the ledger design, 2.5.
pub(crate) const BATCH_ENTRIES_MAX: usize = 256;

/// One that waits.
#[derive(Debug, Clone)]
struct Waiting {
    atom: Atom,
    /// When it was seen first; long ago when it was read back.
    since_utc_ns: i64,
}

/// All that wait, by author and number; two atoms of one place stand beside
/// each other.
#[derive(Debug, Clone, Default)]
pub(crate) struct WaitingRoom {
    places: BTreeMap<(Address, u64), Vec<Waiting>>,
    count: usize,
}

/// Which of those that wait are witnessed now, and which never.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    /// In an order in which each follows what it must follow.
    pub witnessed: Vec<Atom>,
    /// Never, and why.
    pub refused: Vec<(AtomId, String)>,
    /// Never, because of another atom.
    pub excluded: Vec<Excluded>,
}

/// An atom that another one of its author excludes.
#[derive(Debug)]
pub(crate) struct Excluded {
    /// The atom.
    pub atom: Atom,
    /// The other one.
    pub by: AtomId,
    /// Whether both take one particle down; else they share a place.
    pub spends: bool,
}

impl WaitingRoom {
    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Takes an atom in, unless it waits already; `false` where there is no room.
    pub(crate) fn admit(&mut self, atom: Atom, since_utc_ns: i64) -> bool {
        let (author, seq) = (atom.body().author, atom.body().author_seq);
        let is_waiting = |beside: &Vec<Waiting>| beside.iter().any(|w| w.atom.id() == atom.id());
        if self.places.get(&(author, seq)).is_some_and(is_waiting) {
            return true;
        }
        let of_author = self.places.range((author, 0)..=(author, u64::MAX)).count();
        if self.count >= WAITING_MAX || of_author >= WAITING_OF_AUTHOR_MAX {
            return false;
        }
        let beside = self.places.entry((author, seq)).or_default();
        beside.push(Waiting { atom, since_utc_ns });
        self.count += 1;
        true
    }

    /// Lets an atom go.
    pub(crate) fn forget(&mut self, atom: &Atom) {
        let place = (atom.body().author, atom.body().author_seq);
        if let Some(beside) = self.places.get_mut(&place) {
            let before = beside.len();
            beside.retain(|w| w.atom.id() != atom.id());
            self.count -= before - beside.len();
            if beside.is_empty() {
                self.places.remove(&place);
            }
        }
    }

    /// Chooses what is witnessed now, and locks what that takes down. Those that
    /// never may be are let go.
    pub(crate) fn choose(
        &mut self,
        bench: &Bench<'_>,
        signing_since_utc_ns: i64,
        standings: &mut Standings,
    ) -> Choice {
        let mut choice = Choice::default();
        let mut staged = BTreeMap::new();
        let mut gone = Vec::new();
        // By author and number, so that a sequence is gone through in its order.
        for (place, beside) in &self.places {
            for waiting in beside {
                if choice.witnessed.len() == BATCH_ENTRIES_MAX {
                    break;
                }
                let atom = &waiting.atom;
                let since = waiting.since_utc_ns.max(signing_since_utc_ns);
                match bench.judge(atom, since, standings, &staged) {
                    Verdict::Now => {
                        let id = atom.id();
                        staged.insert(place.0, Place { seq: place.1, id });
                        // Within a batch, too, a particle goes down once.
                        standings.lock_all(&downs(atom), id);
                        standings.lock_change(&atom.body().payload);
                        choice.witnessed.push(atom.clone());
                    }
                    Verdict::Later => {}
                    Verdict::Never(why) => {
                        gone.push(atom.clone());
                        choice.refused.push((atom.id(), why));
                    }
                    Verdict::Excluded { by, spends } => {
                        gone.push(atom.clone());
                        let atom = atom.clone();
                        choice.excluded.push(Excluded { atom, by, spends });
                    }
                }
            }
        }
        for atom in gone {
            self.forget(&atom);
        }
        choice
    }

    /// Those that wait, in their order.
    #[cfg(test)]
    pub(crate) fn ids(&self) -> impl Iterator<Item = AtomId> {
        self.places.values().flatten().map(|w| w.atom.id())
    }
}
