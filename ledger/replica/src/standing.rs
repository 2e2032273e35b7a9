//! Who has witnessed what, and how far that makes it.

use std::collections::BTreeMap;

use ledger_core::hash::{Tag, tagged};
use ledger_core::{
    Address, Atom, AtomError, AtomId, Digest32, Directory, Entry, Level, Particle, ParticleId,
};

/// How an atom stands with this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The clock of its entry in this node's log; absent while it waits, or
    /// where its shards are kept elsewhere.
    pub clock: Option<u64>,
    /// How far it is acknowledged.
    pub level: Option<Level>,
    author: Address,
    seq: u64,
    /// One bit for each node that has witnessed it, by place.
    witnesses: u128,
    /// Hash of a list of signatures over it that hold.
    good_sigs: Digest32,
}

/// Most nodes of a universe whose witnesses are counted here.
/// Chosen: the bits of the set; the ledger design reckons with 50.
pub const NODES_MAX: usize = 128;

/// All atoms that this node knows of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standings {
    atoms: BTreeMap<AtomId, Standing>,
    /// Which atom this node has witnessed for each place in a sequence.
    slots: BTreeMap<(Address, u64), AtomId>,
    /// Which atom this node has witnessed that takes a particle down.
    locks: BTreeMap<ParticleId, AtomId>,
    /// Which atom put a particle up.
    origins: BTreeMap<ParticleId, AtomId>,
    /// How many this node has witnessed that are not final.
    open: u64,
}

impl Standings {
    pub(crate) fn get(&self, id: &AtomId) -> Option<&Standing> {
        self.atoms.get(id)
    }

    pub(crate) fn level(&self, id: &AtomId) -> Option<Level> {
        self.atoms.get(id)?.level
    }

    /// The atom that this node has witnessed for a place in a sequence.
    pub(crate) fn slot(&self, author: &Address, seq: u64) -> Option<AtomId> {
        self.slots.get(&(*author, seq)).copied()
    }

    /// The atom that this node has witnessed and that takes the particle down.
    pub(crate) fn lock(&self, particle: &ParticleId) -> Option<AtomId> {
        self.locks.get(particle).copied()
    }

    pub(crate) fn lock_all(&mut self, particles: &[ParticleId], atom: AtomId) {
        for particle in particles {
            self.locks.insert(*particle, atom);
        }
    }

    /// Gives free what an atom that is not witnessed after all would have taken.
    pub(crate) fn unlock_all(&mut self, particles: &[ParticleId], atom: &AtomId) {
        for particle in particles {
            if self.locks.get(particle) == Some(atom) {
                self.locks.remove(particle);
            }
        }
    }

    /// Whether the atom that put the particle up is final.
    pub(crate) fn is_final(&self, particle: &ParticleId) -> bool {
        let origin = self.origins.get(particle);
        origin.is_some_and(|id| self.level(id) == Some(Level::Final))
    }

    /// Notes an entry of this node's own log. Gives the level that is new by that.
    pub(crate) fn entered(
        &mut self,
        directory: &Directory,
        me: usize,
        entry: &Entry,
    ) -> Option<Level> {
        let id = entry.atom.id();
        self.lock_all(&entry.vertex.locks, id);
        for particle in &entry.atom.body().particles {
            if let Particle::Up(up) = particle
                && let Ok(up) = up.id(&directory.id)
            {
                self.origins.insert(up, id);
            }
        }
        self.witnessed(directory, &entry.atom, me, Some(entry.vertex.l))
    }

    /// Whether the signatures of an atom hold. Those that were seen before cost
    /// nothing: a vote is only a vote with signatures that hold, and each atom
    /// comes once from every node.
    pub(crate) fn holds(&self, atom: &Atom) -> Result<(), AtomError> {
        match self.atoms.get(&atom.id()) {
            Some(standing) if standing.good_sigs == hash_of_sigs(atom) => Ok(()),
            _ => atom.verify(),
        }
    }

    /// Notes that `node` has witnessed an atom whose signatures hold, as its entry `own_clock` when it
    /// is this node. Gives the level that is new by that.
    pub(crate) fn witnessed(
        &mut self,
        directory: &Directory,
        atom: &Atom,
        node: usize,
        own_clock: Option<u64>,
    ) -> Option<Level> {
        let (id, body) = (atom.id(), atom.body());
        let (author, seq) = (body.author, body.author_seq);
        let standing = self.atoms.entry(id).or_insert(Standing {
            clock: None,
            level: None,
            author,
            seq,
            witnesses: 0,
            good_sigs: hash_of_sigs(atom),
        });
        let was_open = standing.is_open();
        standing.witnesses |= 1u128.checked_shl(node as u32).unwrap_or(0);
        if let Some(clock) = own_clock {
            standing.clock = Some(clock);
            self.slots.insert((author, seq), id);
        }
        let replicas = directory.replicas(&author);
        let is_witness = |node: &&usize| standing.witnesses >> **node & 1 == 1;
        let witnesses = replicas.iter().filter(is_witness).count();
        let level = directory.quorum(&author).level(witnesses);
        let is_new = level > standing.level;
        standing.level = standing.level.max(level);
        match (was_open, standing.is_open()) {
            (false, true) => self.open += 1,
            (true, false) => self.open -= 1,
            _ => {}
        }
        level.filter(|_| is_new)
    }

    /// How many atoms this node has witnessed that are not final yet.
    pub(crate) fn open(&self) -> u64 {
        self.open
    }
}

/// Tells lists of signatures apart; it never leaves the memory.
fn hash_of_sigs(atom: &Atom) -> Digest32 {
    let mut bytes = Vec::with_capacity(atom.sigs().len() * 97);
    for signed in atom.sigs() {
        bytes.extend_from_slice(&signed.key.0);
        bytes.extend_from_slice(&signed.signature.0);
    }
    tagged(Tag::Leaf, &atom.body().universe, &[&bytes])
}

impl Standing {
    fn is_open(&self) -> bool {
        self.clock.is_some() && self.level < Some(Level::Final)
    }

    /// Who wrote it, and as which of its sequence.
    pub fn place(&self) -> (Address, u64) {
        (self.author, self.seq)
    }

    /// The nodes that have witnessed it, by their places.
    pub fn witnesses(&self) -> impl Iterator<Item = usize> + use<> {
        let bits = self.witnesses;
        (0..NODES_MAX).filter(move |node| bits >> node & 1 == 1)
    }
}
