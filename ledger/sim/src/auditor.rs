//! The auditor: sees bytes and nothing else.
//!
//! It reads what stands on disks and what goes over the network, with its own
//! reader of batches, and counts votes on its own: it never asks a replica. What
//! the nodes say about themselves is held against it.

use std::collections::{BTreeMap, BTreeSet};

use ledger_core::merkle::{Frontier, leaf_hash};
use ledger_core::{
    Address, Atom, AtomId, Digest32, Entry, Field as _, Particle, ParticleId, SignedHead, VertexId,
};

use crate::frames::{self, Item};
use crate::lab::Lab;

/// One entry of a log as it stands on a disk.
#[derive(Debug, Clone)]
pub struct Line {
    /// The bytes: the leaf of the tree.
    pub leaf: Digest32,
    /// What they say.
    pub entry: Entry,
}

/// A log as it stands on a disk: its entries and its heads.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// The entries in their order.
    pub lines: Vec<Line>,
    /// The signed heads in their order.
    pub heads: Vec<SignedHead>,
}

/// A batch that was seen: the node whose log it is said to be of, length, checksum.
type BatchKey = (usize, usize, u32);

fn batch_key(node: usize, bytes: &[u8]) -> BatchKey {
    (node, bytes.len(), crc32c::crc32c(bytes))
}

/// What the auditor has understood so far.
#[derive(Debug)]
pub struct Auditor {
    lab: &'static Lab,
    /// Whether it verifies the signature of every head, or only of those nodes
    /// that are not known to be honest, or out of another's hand.
    thorough: bool,
    liars: BTreeSet<usize>,
    /// Who has validly witnessed what.
    votes: BTreeMap<AtomId, BTreeSet<usize>>,
    atoms: BTreeMap<AtomId, Atom>,
    places: BTreeMap<(Address, u64), BTreeSet<AtomId>>,
    spends: BTreeMap<ParticleId, BTreeSet<AtomId>>,
    /// Which atom put a particle up.
    origins: BTreeMap<ParticleId, AtomId>,
    clocks: BTreeMap<(usize, u64, u64), VertexId>,
    /// Two vertices of one node for one value of its clock.
    twice: Vec<(usize, u64)>,
    /// The tree of each node behind each root that it has signed.
    trees: BTreeMap<(usize, Digest32), Frontier>,
    /// Roots by node, life and size, out of what honest nodes received.
    received: BTreeMap<(usize, u64, u64), BTreeSet<Digest32>>,
    /// Batches that were looked at, with the vertices in those that hold.
    known: BTreeMap<BatchKey, Vec<(u64, u64, VertexId)>>,
    good_signatures: BTreeSet<Vec<u8>>,
    /// Batches that were put on the network and do not hold.
    pub worthless: u64,
}

/// The smallest number of which two sets share more than `f` of `n` nodes.
pub fn quorum(nodes: usize, tolerated: usize) -> usize {
    let shares_an_honest_one = |q: &usize| 2 * q > nodes + tolerated;
    (1..=nodes).find(shares_an_honest_one).unwrap_or(nodes)
}

impl Auditor {
    /// An auditor that has seen nothing.
    pub fn new(lab: &'static Lab, liars: BTreeSet<usize>, thorough: bool) -> Auditor {
        let empty = Frontier::new(lab.id);
        let trees = (0..lab.nodes()).map(|node| ((node, empty.root()), empty.clone()));
        Auditor {
            lab,
            thorough,
            liars,
            votes: BTreeMap::new(),
            atoms: BTreeMap::new(),
            places: BTreeMap::new(),
            spends: BTreeMap::new(),
            origins: BTreeMap::new(),
            clocks: BTreeMap::new(),
            twice: vec![],
            trees: trees.collect(),
            received: BTreeMap::new(),
            known: BTreeMap::new(),
            good_signatures: BTreeSet::new(),
            worthless: 0,
        }
    }

    /// Looks at a batch, said to be of the log of `node`, that `from` puts on the
    /// network.
    pub fn saw(&mut self, from: usize, node: usize, bytes: &[u8]) {
        let key = batch_key(node, bytes);
        // One whose predecessor was not seen yet is looked at again when it comes again.
        if self.known.get(&key).is_some_and(|known| !known.is_empty()) {
            return;
        }
        let vertices = self.understand(from, node, bytes);
        if vertices.is_none() {
            self.worthless += 1;
        }
        self.known.insert(key, vertices.unwrap_or_default());
    }

    /// Notes that a batch has come to somebody. Its vertices count as given once
    /// somebody could follow it, because what nobody follows is told to nobody;
    /// another vertex for a clock that was given is a second one in any case.
    pub fn arrived(&mut self, node: usize, bytes: &[u8], is_followed: bool) {
        let Some(vertices) = self.known.get(&batch_key(node, bytes)) else {
            return;
        };
        for (incarnation, l, id) in vertices {
            let place = (node, *incarnation, *l);
            let given = self.clocks.get(&place).copied();
            match given {
                Some(first) if first != *id => self.twice.push((node, *l)),
                None if is_followed => {
                    self.clocks.insert(place, *id);
                }
                _ => {}
            }
        }
    }

    /// Looks at a batch of the log of `node` that has come to an honest node, which
    /// had so much of that log before and has so much now. What it could not follow
    /// behind a gap it has not kept, so nobody can hold it against anybody.
    pub fn received(&mut self, node: usize, bytes: &[u8], before: u64, now: u64) {
        let Some((batch, _)) = frames::batch(bytes) else {
            return;
        };
        let Ok(signed) = SignedHead::from_bytes(batch.head) else {
            return;
        };
        let head = &signed.head;
        if now == before && before < head.size {
            return;
        }
        let place = (node, head.incarnation, head.size);
        let is_news = !self
            .received
            .get(&place)
            .is_some_and(|roots| roots.contains(&head.root));
        if is_news && self.is_signed(node, &signed) {
            self.received.entry(place).or_default().insert(head.root);
        }
    }

    fn is_signed(&self, node: usize, signed: &SignedHead) -> bool {
        let Some(member) = self.lab.universe.nodes.get(node) else {
            return false;
        };
        signed.head.node == self.lab.node(node) && signed.verify(&self.lab.id, &member.key).is_ok()
    }

    fn understand(
        &mut self,
        from: usize,
        node: usize,
        bytes: &[u8],
    ) -> Option<Vec<(u64, u64, VertexId)>> {
        let (batch, behind) = frames::batch(bytes)?;
        let signed = SignedHead::from_bytes(batch.head).ok()?;
        let is_trusted = !self.thorough && from == node && !self.liars.contains(&node);
        if !behind.is_empty() || !(is_trusted || self.is_signed(node, &signed)) {
            return None;
        }
        let mut entries = Vec::new();
        let mut leaves = Vec::new();
        for item in &batch.items {
            match item {
                Item::Entry(bytes) => {
                    let entry = Entry::from_bytes(bytes, &self.lab.id).ok()?;
                    leaves.push(leaf_hash(&self.lab.id, bytes));
                    entries.push(entry);
                }
                Item::Leaf(hash) => leaves.push((*hash).try_into().ok()?),
            }
        }
        let before = &entries.first()?.vertex.c;
        let mut tree = self.trees.get(&(node, before.root))?.clone();
        for leaf in leaves {
            tree.push(leaf);
        }
        let head = &signed.head;
        if (tree.size(), tree.root()) != (head.size, head.root) {
            return None;
        }
        self.trees.insert((node, head.root), tree);
        let vertex = |entry: &Entry| (head.incarnation, entry.vertex.l, entry.vertex_id);
        let vertices = entries.iter().map(vertex).collect();
        for entry in entries {
            self.count(node, entry);
        }
        Some(vertices)
    }

    fn count(&mut self, node: usize, entry: Entry) {
        let id = entry.atom.id();
        let key = self.lab.universe.nodes[node].key;
        if !self.holds(&entry.atom) || entry.verify_vertex(&key).is_err() {
            return;
        }
        let body = entry.atom.body();
        let of_place = self.places.entry((body.author, body.author_seq));
        of_place.or_default().insert(id);
        for particle in &body.particles {
            match particle {
                Particle::Down(down) => {
                    self.spends.entry(*down).or_default().insert(id);
                }
                Particle::Up(up) => {
                    let up = up.id(&self.lab.id).ok();
                    self.origins.extend(up.map(|up| (up, id)));
                }
            }
        }
        self.votes.entry(id).or_default().insert(node);
        self.atoms.entry(id).or_insert(entry.atom);
    }

    /// Whether the signatures of an atom hold; each list is verified once.
    fn holds(&mut self, atom: &Atom) -> bool {
        let Ok(bytes) = atom.to_bytes() else {
            return false;
        };
        if self.good_signatures.contains(&bytes) {
            return true;
        }
        let holds = atom.verify().is_ok();
        if holds {
            self.good_signatures.insert(bytes);
        }
        holds
    }

    /// The nodes that have validly witnessed an atom.
    pub fn voters(&self, id: &AtomId) -> BTreeSet<usize> {
        self.votes.get(id).cloned().unwrap_or_default()
    }

    fn votes(&self, id: &AtomId) -> usize {
        self.votes.get(id).map_or(0, BTreeSet::len)
    }

    /// Whether an atom has a quorum.
    pub fn is_final(&self, id: &AtomId) -> bool {
        self.votes(id) >= quorum(self.lab.nodes(), self.lab.tolerated())
    }

    /// Whether an atom has a quorum without the votes of nodes that have shown
    /// honest nodes two logs, and without those that `is_kept` says are lost. Such a
    /// vote can be missing at a node that follows the other log, and nodes cannot show
    /// each other single votes yet.
    pub fn is_firm(&self, id: &AtomId, is_kept: &dyn Fn(usize, &AtomId) -> bool) -> bool {
        let mut forked = self.forked();
        forked.extend(self.twice.iter().map(|(node, _)| *node));
        let votes = self.votes.get(id).into_iter().flatten();
        let firm = votes.filter(|node| !forked.contains(node) && is_kept(**node, id));
        firm.count() >= quorum(self.lab.nodes(), self.lab.tolerated())
    }

    /// Whether an atom, and each that its author wrote before it, spends nothing but
    /// what is firm. An author that was given what only some call final, through the
    /// vote of a node with two logs, and that has spent it waits with that for ever.
    pub fn is_founded(&self, id: &AtomId, is_kept: &dyn Fn(usize, &AtomId) -> bool) -> bool {
        let mut next = self.atoms.get(id);
        while let Some(atom) = next {
            let body = atom.body();
            let spends = body.particles.iter().filter_map(|particle| match particle {
                Particle::Down(down) => self.origins.get(down),
                Particle::Up(_) => None,
            });
            let is_firm =
                |origin: &AtomId| self.is_firm(origin, is_kept) && self.is_founded(origin, is_kept);
            if !spends.into_iter().all(is_firm) {
                return false;
            }
            next = body.prev.and_then(|prev| self.atoms.get(&prev));
        }
        true
    }

    /// Everything that has a quorum.
    pub fn finals(&self) -> impl Iterator<Item = &Atom> {
        self.atoms.values().filter(|atom| self.is_final(&atom.id()))
    }

    /// An atom that was on the network.
    pub fn atom(&self, id: &AtomId) -> Option<&Atom> {
        self.atoms.get(id)
    }

    /// The sets of atoms of which at most one may be final: those of one place
    /// in a sequence, and those that take one particle down.
    pub fn exclusive(&self) -> impl Iterator<Item = &BTreeSet<AtomId>> {
        let sets = self.places.values().chain(self.spends.values());
        sets.filter(|set| set.len() > 1)
    }

    /// Nodes with two vertices for one value of their clock, and which.
    pub fn twice(&self) -> &[(usize, u64)] {
        &self.twice
    }

    /// Nodes of which honest nodes have received two trees of one size.
    pub fn forked(&self) -> BTreeSet<usize> {
        let forks = self.received.iter().filter(|(_, roots)| roots.len() > 1);
        forks.map(|((node, _, _), _)| *node).collect()
    }

    /// Reads a log off a disk, segment after segment.
    pub fn read(&self, segments: &[&[u8]]) -> Log {
        let mut log = Log::default();
        for bytes in segments {
            for batch in frames::batches(bytes) {
                for item in &batch.items {
                    if let Item::Entry(bytes) = item
                        && let Ok(entry) = Entry::from_bytes(bytes, &self.lab.id)
                    {
                        let leaf = leaf_hash(&self.lab.id, bytes);
                        log.lines.push(Line { leaf, entry });
                    }
                }
                log.heads.extend(SignedHead::from_bytes(batch.head).ok());
            }
        }
        log
    }
}
