//! The checks, over everything in a bundle.

use std::collections::{BTreeMap, BTreeSet};

use ledger_core::directory::Count;
use ledger_core::hash::{Tag, hex, tagged};
use ledger_core::merkle::verify_consistency;
use ledger_core::particle::{Up, balance};
use ledger_core::{
    Address, Atom, AtomId, Digest32, Directory, Epochs, Level, Particle, ParticleId, Payload,
    Universe, UniverseId, VertexId, Vote, VoteError, Witness,
};

use crate::report::{Tally, least};
use crate::{Bundle, CheckName, Consistency, Expectation, Proven, Report};

/// Digits of an id in a place: enough to tell the atoms of a bundle apart.
const DIGITS_SHOWN: usize = 16;

/// Verifies the bytes of a bundle.
pub(crate) fn run(bytes: &[u8], expected: &Expectation) -> Report {
    let mut judge = Judge {
        expected,
        tally: Tally::default(),
        heads: BTreeMap::new(),
        vertices: BTreeMap::new(),
        fewest: None,
    };
    let mut report = Report {
        checks: vec![],
        universe_id: None,
        atom: None,
        kind: None,
        atoms: 0,
        level: None,
        summary: None,
    };
    // `None` only says that a check failed; the tally knows which.
    let finished = judge.all(bytes, &mut report).is_some();
    report.checks = judge.tally.checks(finished);
    report
}

struct Judge<'a> {
    expected: &'a Expectation,
    tally: Tally,
    /// Every head that was seen: node, incarnation and size, and its root.
    heads: BTreeMap<(Address, u64, u64), Digest32>,
    /// Every vertex that was seen: node, incarnation and clock, and its id.
    vertices: BTreeMap<(Address, u64, u64), VertexId>,
    /// The least number of replicas that have witnessed one of the atoms.
    fewest: Option<usize>,
}

/// An atom of the bundle after its votes were judged.
struct Judged {
    atom: Atom,
    level: Option<Level>,
    witnesses: Vec<Witness>,
}

impl Judge<'_> {
    fn all(&mut self, bytes: &[u8], report: &mut Report) -> Option<()> {
        let bundle = Bundle::from_bytes(bytes);
        let bundle = self.tally.judge(CheckName::Format, "file", bundle)?;
        report.universe_id = Some(bundle.universe_id.to_string());
        report.atom = Some(bundle.subject.to_string());
        report.atoms = bundle.proven.len() as u64;
        report.summary.clone_from(&bundle.summary);
        let genesis = self.universe(&bundle)?;
        let epochs = self.epochs(&genesis, &bundle)?;
        let (universe, directory) = (epochs.view(), Directory::of(&epochs));

        let mut judged = Vec::with_capacity(bundle.proven.len());
        let mut is_whole = true;
        for (at, proven) in bundle.proven.iter().enumerate() {
            let place = format!("atom {}", at + 1);
            let atom = Atom::from_bytes(&proven.atom, &directory.id);
            match self.tally.judge(CheckName::Canonical, &place, atom) {
                Some(atom) => judged.push(self.atom(atom, proven, None, &universe, &directory)),
                None => is_whole = false,
            }
        }
        if !is_whole {
            return None;
        }
        let first = judged.first()?;
        self.tally.note(
            CheckName::Format,
            first.atom.id() == bundle.subject,
            "header",
            "it names another atom than the first",
        );
        report.kind = Some(first.atom.body().kind().name());
        let level = least(judged.iter().map(|j| j.level));
        report.level = level.map(Level::name);
        self.consistency(&bundle, &universe, &directory);
        self.dependencies(&judged);
        self.amounts(&judged, &directory.id);
        self.time(&judged);
        Some(())
    }

    fn universe(&mut self, bundle: &Bundle) -> Option<Universe> {
        let (name, place) = (CheckName::Universe, "universe");
        let none = UniverseId::NONE;
        let id = UniverseId(tagged(Tag::Universe, &none, &[&bundle.universe]));
        let expected = self.expected.universe;
        let what = format!("it is {id}, expected {expected}");
        self.tally.note(name, id == expected, place, &what);
        let what = "the header names another universe than its configuration";
        self.tally.note(name, id == bundle.universe_id, place, what);
        let universe = Universe::from_canonical(&bundle.universe);
        let universe = self.tally.judge(name, place, universe)?;
        (id == expected && id == bundle.universe_id).then_some(universe)
    }

    /// Follows the changes of the configuration, each by the one before it.
    fn epochs(&mut self, genesis: &Universe, bundle: &Bundle) -> Option<Epochs> {
        let name = CheckName::Epoch;
        let genesis = Epochs::genesis(genesis);
        let mut epochs = self.tally.judge(name, "universe", genesis)?;
        for (at, proven) in bundle.epochs.iter().enumerate() {
            let place = format!("epoch {}", at + 1);
            let (universe, directory) = (epochs.view(), Directory::of(&epochs));
            let atom = Atom::from_bytes(&proven.atom, &directory.id);
            let atom = self.tally.judge(CheckName::Canonical, &place, atom)?;
            let Payload::Epoch(change) = atom.body().payload.clone() else {
                let what = "the atom carries no change of the configuration";
                self.tally.note(name, false, &place, what);
                return None;
            };
            self.atom(atom, proven, Some(Level::Final), &universe, &directory);
            self.tally.judge(name, &place, epochs.follow(&change))?;
        }
        if epochs.last() > 0 {
            let remark = format!("{} changes of the configuration", epochs.last());
            self.tally.remark(name, remark);
        }
        Some(epochs)
    }

    fn atom(
        &mut self,
        atom: Atom,
        proven: &Proven,
        level: Option<Level>,
        universe: &Universe,
        directory: &Directory,
    ) -> Judged {
        // A change of the configuration is final, whatever is asked of the rest.
        let is_epoch = level.is_some();
        let asked = level.unwrap_or(self.expected.level);
        let body = atom.body();
        let place = short(&atom.id());
        let tally = &mut self.tally;
        tally.judge(CheckName::Signatures, &place, atom.verify());
        // Of an epoch that is not in the bundle the check below tells.
        let epoch = body.config_epoch.min(directory.epoch());
        let may = directory.may_author(epoch, &body.author, body.kind());
        let what = "no role of the author allows this kind";
        tally.note(CheckName::Author, may, &place, what);
        let is_known = body.config_epoch <= directory.epoch();
        let what = "the atom is of a configuration that is not in the bundle";
        tally.note(CheckName::Epoch, is_known, &place, what);

        let votes = proven.votes.iter().enumerate();
        let witnesses: Vec<Witness> = votes
            .filter_map(|(at, vote)| {
                let place = format!("{place} vote {}", at + 1);
                self.vote(&atom, vote, &place, universe, directory)
            })
            .collect();

        let distinct = witnesses.is_sorted_by(|a, b| a.node < b.node);
        let what = "votes are in the order of the nodes, one of each";
        self.tally.note(CheckName::Quorum, distinct, &place, what);
        let (kind, author) = (body.kind(), &body.author);
        let keeps = |w: &Witness| directory.decides(w.node, kind, author);
        let what = "a node voted that does not keep the shard of the author";
        self.tally
            .note(CheckName::Quorum, witnesses.iter().all(keeps), &place, what);
        // Each epoch counts for itself; the best one tells how far the atom is.
        let has = |node: usize, epoch: u64| {
            let mut votes = witnesses.iter();
            votes.any(|w| w.node == node && w.vertex.n <= epoch)
        };
        let best = directory
            .counts(kind, author, has)
            .max_by_key(|count| (count.level(), count.witnesses));
        let level = best.and_then(Count::level);
        let (found, of) = best.map_or((0, 0), |b| (b.witnesses, b.quorum.replicas));
        let reached = level.map_or("no level", Level::name);
        let share = format!("{found} of {of} replicas, {reached}");
        let what = format!("{share}; {asked} is asked for");
        self.tally
            .note(CheckName::Quorum, level >= Some(asked), &place, &what);
        if !is_epoch && self.fewest.is_none_or(|fewest| found < fewest) {
            self.fewest = Some(found);
            self.tally.remark(CheckName::Quorum, share);
        }
        Judged {
            level,
            witnesses,
            atom,
        }
    }

    fn vote(
        &mut self,
        atom: &Atom,
        vote: &Vote,
        place: &str,
        universe: &Universe,
        directory: &Directory,
    ) -> Option<Witness> {
        let witness = match vote.check(atom, universe, directory) {
            Ok(witness) => witness,
            Err(e) => {
                self.tally.note(of_vote(&e), false, place, &e.to_string());
                return None;
            }
        };
        for name in [CheckName::Canonical, CheckName::Inclusion, CheckName::Heads] {
            self.tally.note(name, true, place, "");
        }
        let vertex = &witness.vertex;
        let epoch = atom.body().config_epoch;
        let is_known = epoch <= vertex.n && directory.is_member(vertex.n, witness.node);
        let what = "the node does not belong to the configuration of its vertex";
        self.tally.note(CheckName::Epoch, is_known, place, what);

        let downs = atom.body().particles.iter().filter_map(|p| match p {
            Particle::Down(id) => Some(*id),
            Particle::Up(_) => None,
        });
        let downs: BTreeSet<ParticleId> = downs.collect();
        // Where one node keeps all there is nobody to disagree with, and it may
        // do without locks.
        let needs_none = universe.federation.is_none() && vertex.locks.is_empty();
        let fits = needs_none || downs.iter().eq(&vertex.locks);
        let what = "the vertex locks other particles than the atom takes down";
        self.tally.note(CheckName::Locks, fits, place, what);

        let life = (vertex.node, vertex.incarnation);
        let head = &vote.head.head;
        let root = self.heads.entry((life.0, life.1, head.size));
        let same = *root.or_insert(head.root) == head.root;
        let what = "the node signed another tree of this size";
        self.tally.note(CheckName::Heads, same, place, what);
        let event = self.vertices.entry((life.0, life.1, vertex.l));
        let same = *event.or_insert(witness.vertex_id) == witness.vertex_id;
        let what = "the node gave this value of its clock to another event";
        self.tally.note(CheckName::Heads, same, place, what);
        Some(witness)
    }

    fn consistency(&mut self, bundle: &Bundle, universe: &Universe, directory: &Directory) {
        let name = CheckName::Consistency;
        let votes = bundle.proven.first().map_or(&[][..], |p| &p.votes);
        let mut nodes = BTreeSet::new();
        for (at, proof) in bundle.consistency.iter().enumerate() {
            let place = format!("proof {}", at + 1);
            let Consistency { node, since, path } = proof;
            let is_first = nodes.insert(*node);
            self.tally
                .note(name, is_first, &place, "it is the second of one node");
            let head = votes.iter().map(|v| &v.head.head).find(|h| h.node == *node);
            let holds = head.is_some_and(|head| {
                let (old, new) = ((since.size, &since.root), (head.size, &head.root));
                verify_consistency(&directory.id, old, new, path)
            });
            let what = "the head of no vote for the first atom extends it";
            self.tally.note(name, holds, &place, what);
            let member = directory.node(node).and_then(|at| universe.nodes.get(at));
            let node = member.map_or_else(|| node.to_string(), |m| m.name.clone());
            let (size, root) = (since.size, hex(&since.root));
            let remark = format!("{node} extends its {size} entries under {root}");
            self.tally.remark(name, remark);
        }
        match self.expected.since {
            Some((size, root)) => {
                let mut proofs = bundle.consistency.iter();
                let is_there = proofs.any(|c| c.since.size == size && c.since.root == root);
                let what = "the bundle does not extend the head that was kept";
                self.tally.note(name, is_there, "bundle", what);
            }
            None if bundle.consistency.is_empty() => {
                let remark = "no older head is in the bundle, and none was asked for";
                self.tally.remark(name, remark.to_owned());
            }
            None => {}
        }
    }

    fn dependencies(&mut self, judged: &[Judged]) {
        let name = CheckName::Dependencies;
        let places = judged.iter().map(|j| j.atom.id()).zip(0..);
        let places: BTreeMap<AtomId, usize> = places.collect();
        let is_closure = judged.len() > 1;
        let mut named: BTreeSet<AtomId> = BTreeSet::new();
        let mut absent = BTreeSet::new();
        for (at, later) in judged.iter().enumerate() {
            let (id, body) = (later.atom.id(), later.atom.body());
            let place = short(&id);
            // The last of two equal atoms has the place, so the first one fails.
            let belongs = places.get(&id) == Some(&at) && (at == 0 || named.contains(&id));
            let what = "no atom before it names it, or it is there twice";
            self.tally.note(name, belongs, &place, what);
            let deps = body.deps.iter().map(|id| (*id, None));
            for (id, kind) in body.payload.references().into_iter().chain(deps) {
                named.insert(id);
                let Some(earlier) = places.get(&id).and_then(|at| judged.get(*at)) else {
                    absent.insert(id);
                    let what = format!("atom {id}, which it names, is not in the bundle");
                    self.tally.note(name, !is_closure, &place, &what);
                    continue;
                };
                let fits = kind.is_none_or(|kind| kind == earlier.atom.body().kind());
                let what = format!("atom {id} is of another kind than it says");
                self.tally.note(name, fits, &place, &what);
                let in_order = earlier.witnesses.iter().all(|a| later.is_after(a));
                let what = format!("a node witnessed it before atom {id}, which it names");
                self.tally.note(name, in_order, &place, &what);
            }
        }
        let remark = match (is_closure, absent.len()) {
            (true, _) => format!("closed: {} atoms down to the first cause", judged.len()),
            (false, 0) => "it depends on nothing".to_owned(),
            (false, n) => format!("{n} that it names are not in the bundle"),
        };
        self.tally.remark(name, remark);
    }

    /// Follows what moves from owner to owner back to the meter, where the bundle has
    /// all that is named. Of an atom alone it sees only what is put up out of nothing.
    fn amounts(&mut self, judged: &[Judged], universe: &UniverseId) {
        let name = CheckName::Amounts;
        let mut ups: BTreeMap<ParticleId, (&Up, AtomId)> = BTreeMap::new();
        for one in judged {
            for particle in &one.atom.body().particles {
                let Particle::Up(up) = particle else { continue };
                let place = short(&one.atom.id());
                if let Some(id) = self.tally.judge(name, &place, up.id(universe)) {
                    let is_new = ups.insert(id, (up, one.atom.id())).is_none();
                    let what = format!("particle {id} is put up twice");
                    self.tally.note(name, is_new, &place, &what);
                }
            }
        }
        let is_closure = judged.len() > 1;
        let mut gone = BTreeSet::new();
        for one in judged {
            let (body, place) = (one.atom.body(), short(&one.atom.id()));
            let downs = body.particles.iter().filter_map(|particle| match particle {
                Particle::Down(id) => Some(*id),
                Particle::Up(_) => None,
            });
            let downs: Vec<ParticleId> = downs.collect();
            if !is_closure && !downs.is_empty() {
                let remark = "what it takes down is in no atom of the bundle";
                self.tally.remark(name, remark.to_owned());
                continue;
            }
            let found = |id: &ParticleId| ups.get(id).map(|(up, _)| *up);
            let balanced = balance(body.kind(), &body.author, &body.particles, found);
            self.tally.judge(name, &place, balanced);
            let reading = match &body.payload {
                Payload::Mint(mint) => Some(mint.reading),
                _ => None,
            };
            for down in downs {
                let first = gone.insert(down);
                let what = format!("particle {down} is taken down twice");
                self.tally.note(name, first, &place, &what);
                let origin = ups.get(&down).map(|(_, atom)| *atom);
                let is_named = origin.is_none_or(|origin| match reading {
                    Some(reading) => origin == reading,
                    None => body.deps.contains(&origin),
                });
                let what = format!("it does not name the atom that put up particle {down}");
                self.tally.note(name, is_named, &place, &what);
            }
        }
    }

    fn time(&mut self, judged: &[Judged]) {
        let Some(subject) = judged.first() else {
            return;
        };
        let body = subject.atom.body();
        let said = body.hlc.utc_milliseconds() as i128;
        let hlcs = subject.witnesses.iter().map(|w| w.vertex.hlc);
        let seen: Vec<i128> = hlcs.map(|hlc| hlc.utc_milliseconds() as i128).collect();
        for _ in &seen {
            self.tally.note(CheckName::Time, true, "", "");
        }
        let (Some(first), Some(last)) = (seen.iter().min(), seen.iter().max()) else {
            return;
        };
        let source = body.clock_quality.source.name();
        let mut remark = format!(
            "by a clock that is {source}; witnessed {} to {} ms later",
            first - said,
            last - said
        );
        if *first < said {
            remark += ", so a clock is wrong";
        }
        let expiry_ms = body.expiry_utc_ns.map(|ns| i128::from(ns) / 1_000_000);
        if expiry_ms.is_some_and(|expiry| *first > expiry) {
            remark += ", after its expiry";
        }
        self.tally.remark(CheckName::Time, remark);
    }
}

impl Judged {
    /// Whether the node of `earlier` witnessed this atom after it, or not at all.
    fn is_after(&self, earlier: &Witness) -> bool {
        let a = &earlier.vertex;
        self.witnesses.iter().all(|later| {
            let b = &later.vertex;
            (a.node, a.incarnation) != (b.node, b.incarnation) || a.l < b.l
        })
    }
}

/// The check that a vote fails.
fn of_vote(error: &VoteError) -> CheckName {
    match error {
        VoteError::Schema(_) => CheckName::Canonical,
        VoteError::Atom(_) => CheckName::Signatures,
        VoteError::OtherAtom | VoteError::Stranger => CheckName::Quorum,
        VoteError::NotUnderHead => CheckName::Inclusion,
        VoteError::OtherHead | VoteError::SignatureOfVertex | VoteError::Key(_) => CheckName::Heads,
    }
}

fn short(id: &AtomId) -> String {
    let mut text = id.to_string();
    text.truncate(DIGITS_SHOWN);
    text
}
