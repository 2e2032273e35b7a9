//! Who has witnessed what, and how far that makes it.

use std::collections::BTreeMap;

use ledger_core::{
    Address, Atom, AtomError, AtomId, Digest32, Directory, Entry, EpochChange, Kind, KnownKeys,
    Level, Particle, ParticleId, Payload,
};
use ledger_node::Row;

use crate::judge::downs_of;
use crate::watch::Watch;

/// How an atom stands with this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The clock of its entry in this node's log; absent while it waits, or
    /// where its shards are kept elsewhere.
    pub clock: Option<u64>,
    /// How far it is acknowledged.
    pub level: Option<Level>,
    author: Address,
    seq: u64,
    kind: Kind,
    /// The configuration epoch in which it was written.
    epoch: u64,
    /// By the epoch of their vertices: one bit for each node that has witnessed
    /// it, by place.
    witnesses: Vec<(u64, u128)>,
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
    /// Which change of the configuration this node has witnessed for each epoch, or
    /// is about to, and the first atom that carried it into its log.
    changes: BTreeMap<u64, (Option<AtomId>, EpochChange)>,
    /// What a node that has joined later keeps an eye on.
    pub(crate) watch: Option<Watch>,
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

    /// The change that this node has witnessed for an epoch, or is about to, and
    /// the atom in its log that carried it.
    pub(crate) fn change(&self, number: u64) -> Option<&(Option<AtomId>, EpochChange)> {
        self.changes.get(&number)
    }

    /// Takes the place of an epoch for the change that an atom carries, if any.
    pub(crate) fn lock_change(&mut self, payload: &Payload) {
        if let Payload::Epoch(change) = payload {
            let about_to = (None, change.clone());
            self.changes.entry(change.number).or_insert(about_to);
        }
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
        let row = Row::of(entry);
        self.carried(&entry.atom);
        self.took(directory, &row);
        self.note(directory, &row, me, Some(row.clock))
    }

    /// Takes what this node's own log says of the past, all at once and before
    /// anything else. [`Standings::carried`] is told of changes of the configuration,
    /// and [`Standings::count_all`] counts.
    pub(crate) fn recall(&mut self, directory: &Directory, me: usize, rows: Vec<Row>) {
        let mut slots = Vec::with_capacity(rows.len());
        let mut atoms = Vec::with_capacity(rows.len());
        for row in rows {
            self.took(directory, &row);
            let mut standing = Standing::new(&row);
            standing.note(directory, me, row.vertex_epoch);
            standing.clock = Some(row.clock);
            slots.push(((row.author, row.seq), row.atom));
            atoms.push((row.atom, standing));
        }
        // Sorted first, a map is built many times as fast.
        atoms.sort_unstable_by_key(|(id, _)| *id);
        slots.sort_unstable();
        self.atoms = atoms.into_iter().collect();
        self.slots = slots.into_iter().collect();
    }

    /// Takes the vote of another node for an atom that this one has witnessed, too,
    /// under the same signatures; `false` where it has not.
    /// [`Standings::count_all`] counts.
    pub(crate) fn recall_vote(&mut self, directory: &Directory, row: &Row, node: usize) -> bool {
        let known = self.atoms.get_mut(&row.atom);
        let same = known.filter(|known| known.clock.is_some() && known.good_sigs == row.sigs);
        let Some(standing) = same else { return false };
        standing.note(directory, node, row.vertex_epoch);
        true
    }

    /// Takes the vote of another node for an atom whose signatures hold.
    /// [`Standings::count_all`] counts.
    pub(crate) fn recall_sight(&mut self, directory: &Directory, row: &Row, node: usize) {
        let standing = self.atoms.entry(row.atom);
        let standing = standing.or_insert_with(|| Standing::new(row));
        standing.note(directory, node, row.vertex_epoch);
    }

    /// Counts all votes that were recalled.
    pub(crate) fn count_all(&mut self, directory: &Directory) {
        for standing in self.atoms.values_mut() {
            standing.level = standing.level.max(standing.counted(directory));
        }
        let open = self.atoms.values().filter(|standing| standing.is_open());
        self.open = open.count() as u64;
    }

    /// Notes what an atom of this node's own log takes down and puts up.
    fn took(&mut self, directory: &Directory, row: &Row) {
        if row.particles.is_empty() {
            return;
        }
        self.lock_all(&downs_of(&row.particles), row.atom);
        for particle in &row.particles {
            if let Particle::Up(up) = particle
                && let Ok(up) = up.id(&directory.id)
            {
                self.origins.insert(up, row.atom);
            }
        }
    }

    /// Notes the change of the configuration that an atom of this node's own log
    /// carries, if any.
    pub(crate) fn carried(&mut self, atom: &Atom) {
        self.lock_change(&atom.body().payload);
        if let Payload::Epoch(change) = &atom.body().payload
            && let Some((first, witnessed)) = self.changes.get_mut(&change.number)
            && witnessed.configuration == change.configuration
        {
            first.get_or_insert(atom.id());
        }
    }

    /// Whether the signatures of an atom hold. Those that were seen before cost
    /// nothing: a vote is only a vote with signatures that hold, and each atom
    /// comes once from every node.
    pub(crate) fn holds(&self, known: &KnownKeys, row: &Row, atom: &Atom) -> Result<(), AtomError> {
        match self.atoms.get(&row.atom) {
            Some(standing) if standing.good_sigs == row.sigs => Ok(()),
            _ => atom.verify_by(known),
        }
    }

    /// Notes that another node has witnessed an atom whose signatures hold. Gives the
    /// level that is new by that.
    pub(crate) fn seen(&mut self, directory: &Directory, row: &Row, node: usize) -> Option<Level> {
        self.note(directory, row, node, None)
    }

    /// As [`Standings::seen`], of an atom in an epoch.
    #[cfg(test)]
    pub(crate) fn witnessed(
        &mut self,
        directory: &Directory,
        atom: &Atom,
        (node, epoch): (usize, u64),
        own_clock: Option<u64>,
    ) -> Option<Level> {
        let row = Row::of_atom(atom, own_clock.unwrap_or(0), epoch);
        self.note(directory, &row, node, own_clock)
    }

    fn note(
        &mut self,
        directory: &Directory,
        row: &Row,
        node: usize,
        own_clock: Option<u64>,
    ) -> Option<Level> {
        let standing = self
            .atoms
            .entry(row.atom)
            .or_insert_with(|| Standing::new(row));
        let was_open = standing.is_open();
        standing.note(directory, node, row.vertex_epoch);
        if let Some(clock) = own_clock {
            standing.clock = Some(clock);
            self.slots.insert((row.author, row.seq), row.atom);
        }
        let level = standing.counted(directory);
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

impl Standing {
    fn new(row: &Row) -> Standing {
        Standing {
            clock: None,
            level: None,
            author: row.author,
            seq: row.seq,
            kind: row.kind,
            epoch: row.config_epoch,
            witnesses: vec![],
            good_sigs: row.sigs,
        }
    }

    fn is_open(&self) -> bool {
        self.clock.is_some() && self.level < Some(Level::Final)
    }

    /// Notes the vote of a node. One counts in an epoch that the node belongs to,
    /// and that is not before the one in which the atom was written.
    fn note(&mut self, directory: &Directory, node: usize, epoch: u64) {
        if epoch < self.epoch || !directory.is_member(epoch, node) {
            return;
        }
        let bit = 1u128.checked_shl(node as u32).unwrap_or(0);
        match self.witnesses.iter_mut().find(|(of, _)| *of == epoch) {
            Some((_, nodes)) => *nodes |= bit,
            None => self.witnesses.push((epoch, bit)),
        }
    }

    fn counted(&self, directory: &Directory) -> Option<Level> {
        let has = |node: usize, epoch: u64| {
            let mut votes = self.witnesses.iter();
            votes.any(|(of, nodes)| *of <= epoch && nodes >> node & 1 == 1)
        };
        directory.level(self.kind, &self.author, has)
    }

    /// Who wrote it, and as which of its sequence.
    pub fn place(&self) -> (Address, u64) {
        (self.author, self.seq)
    }

    /// The nodes that have witnessed it, by their places.
    pub fn witnesses(&self) -> impl Iterator<Item = usize> + use<> {
        let of_epochs = self.witnesses.iter().map(|(_, nodes)| *nodes);
        let bits = of_epochs.fold(0, |all, nodes| all | nodes);
        (0..NODES_MAX).filter(move |node| bits >> node & 1 == 1)
    }
}
