//! Every order in which two atoms of one place can meet a change of the
//! configuration (stateright walks them): what is counted over both epochs, what
//! decides that a node which joins has read up, and what it and the others judge
//! with is the replica's own.
//!
//! What stands in for the rest does more than it could over the wire. A node that
//! stays witnesses either atom whenever its own judgement lets it, as if it heard
//! each at any time, and goes on in the next epoch whenever it likes, as if the
//! change were final from the beginning. A node that leaves never hears of the
//! change and goes on witnessing. Liars have no log: whoever counts, counts them
//! for both atoms in the earliest epoch that they belong to, and the node that joins
//! may believe of them whatever helps. Only the node that joins reads, in the order
//! of each log, as far as it likes before each of its own words.

use std::collections::{BTreeMap, BTreeSet};

use ledger_core::payload::Mode;
use ledger_core::universe::NodeMember;
use ledger_core::vertex::Commitment;
use ledger_core::{
    Address, Atom, Body, ClockQuality, Directory, Entry, Epochs, Hlc, Kind, Level, ParticleStates,
    Payload, Universe, Vertex, VertexId,
};
use ledger_node::{Place, Row};
use stateright::{Checker, HasDiscoveries, Model, Property};

use super::epochs::genesis;
use super::{NOW, key};
use crate::judge::{Bench, Verdict};
use crate::standing::Standings;
use crate::watch::Watch;

/// What a variant of the ledger does otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    /// Nothing.
    Whole,
    /// It takes one vote less for a quorum.
    QuorumMinusOne,
    /// A node that goes on in the next epoch forgets what it has witnessed.
    ForgetsLocks,
    /// A node that joins signs before it has read anything.
    ReadsNothing,
    /// A node that joins takes the first of two atoms that it reads.
    WatchesNothing,
}

/// Two atoms of one author for one place: at most one may ever be final.
const SAID: usize = 2;

/// What stands in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Line {
    /// One of the two atoms, and the epoch of the vertex.
    Witnessed(usize, u64),
    /// The first word in the next epoch.
    GoesOn,
}

/// An honest node.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Node {
    log: Vec<Line>,
    /// How much of it the node that joins has read.
    read: usize,
}

/// What the node that joins believes of a liar.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Belief {
    witnessed: BTreeSet<usize>,
    goes_on: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// By place; none where the node lies.
    nodes: BTreeMap<usize, Node>,
    liars: BTreeMap<usize, Belief>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Witnesses(usize, usize),
    GoesOn(usize),
    Reads(usize),
    Believes(usize, usize),
    BelievesItGoesOn(usize),
}

struct Lab {
    universe: Universe,
    epochs: Epochs,
    directory: Directory,
    atoms: Vec<Atom>,
    liars: BTreeSet<usize>,
    variant: Variant,
}

/// The place of the node that joins: behind those of the genesis.
const JOINS: usize = 4;

/// How the configuration changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// A node takes the place of the fourth.
    Replaces,
    /// A fifth node joins, and nobody leaves.
    Joins,
}

impl Lab {
    fn new(change: Change, liars: &[usize], variant: Variant) -> Lab {
        let genesis = genesis();
        let mut epochs = Epochs::genesis(&genesis).unwrap();
        let mut next = genesis.clone();
        let member = NodeMember {
            name: "node-5".to_owned(),
            key: key(5).public(),
        };
        match change {
            Change::Replaces => next.nodes[3] = member,
            Change::Joins => {
                next.nodes.push(member);
                let federation = next.federation.as_mut().unwrap();
                federation.transport_keys.push([0; 32]);
                federation
                    .replicas
                    .iter_mut()
                    .for_each(|group| group.push(4));
            }
        }
        let mut change = epochs.propose(&next).unwrap();
        for n in [1, 2] {
            change.approve(&epochs.id(), &key(120 + n)).unwrap();
        }
        epochs.follow(&change).unwrap();
        let directory = Directory::of(&epochs);
        let author = Address::of_key(&directory.id, &key(101).public());
        let atom = |to: &str| {
            let payload = Payload::Mode(Mode {
                from: "grid".to_owned(),
                to: to.to_owned(),
                reason: String::new(),
            });
            let body = Body {
                universe: directory.id,
                config_epoch: 0,
                author,
                author_seq: 1,
                prev: None,
                destinations: payload.destinations(&directory.id, &author, &[], 16),
                deps: vec![],
                hlc: Hlc::default().tick(NOW),
                clock_quality: ClockQuality::VIRTUAL,
                particles: vec![],
                payload,
                expiry_utc_ns: None,
            };
            Atom::sign(body, &key(101)).unwrap()
        };
        Lab {
            universe: epochs.view(),
            atoms: vec![atom("island"), atom("safe")],
            epochs,
            directory,
            liars: liars.iter().copied().collect(),
            variant,
        }
    }

    fn stays(&self, node: usize) -> bool {
        self.directory.is_member(0, node) && self.directory.is_member(1, node)
    }

    /// The epoch that a node is in.
    fn epoch(&self, node: usize, log: &[Line]) -> u64 {
        u64::from(!self.directory.is_member(0, node) || log.contains(&Line::GoesOn))
    }

    /// Notes what a node has witnessed, in its log or as its word.
    fn note(&self, standings: &mut Standings, node: usize, said: usize, epoch: u64, own: bool) {
        let atom = &self.atoms[said];
        if !own {
            standings.witnessed(&self.directory, atom, (node, epoch), None);
            return;
        }
        let vertex = Vertex {
            node: Address::of_key(&self.directory.id, &self.universe.nodes[node].key),
            incarnation: 0,
            l: 1,
            e: atom.id(),
            n: epoch,
            c: Commitment {
                size: 0,
                root: [0; 32],
            },
            prev: VertexId::NONE,
            locks: vec![],
            hlc: atom.body().hlc,
        };
        let entry = Entry {
            vertex,
            vertex_id: VertexId::NONE,
            signature: None,
            atom: atom.clone(),
        };
        standings.entered(&self.directory, node, &entry);
    }

    /// The earliest epoch that a node belongs to.
    fn first_epoch(&self, node: usize) -> u64 {
        u64::from(!self.directory.is_member(0, node))
    }

    /// What the node that joins knows, and whom it has seen go on.
    fn known_to_joining(&self, state: &State) -> (Standings, BTreeSet<usize>) {
        let mut standings = Standings::default();
        if self.variant != Variant::WatchesNothing {
            standings.watch = Some(Watch::default());
        }
        let mut gone_on = BTreeSet::new();
        let mut sees = |node: usize, said: usize, epoch: u64| {
            self.note(&mut standings, node, said, epoch, false);
            if let Some(watch) = &mut standings.watch {
                let atom = &self.atoms[said];
                let row = Row::of_atom(atom, 1, atom.body().config_epoch);
                watch.note(&row, (node, 1));
            }
        };
        for (node, has) in state.nodes.iter().filter(|(node, _)| **node != JOINS) {
            for line in &has.log[..has.read] {
                match line {
                    Line::Witnessed(said, epoch) => sees(*node, *said, *epoch),
                    Line::GoesOn => {
                        gone_on.insert(*node);
                    }
                }
            }
        }
        for (node, belief) in &state.liars {
            for said in &belief.witnessed {
                sees(*node, *said, self.first_epoch(*node));
            }
            if belief.goes_on {
                gone_on.insert(*node);
            }
        }
        (standings, gone_on)
    }

    /// Whether a node witnesses an atom now, by the judgement of a replica.
    fn witnesses(&self, state: &State, node: usize, said: usize) -> bool {
        let log = &state.nodes[&node].log;
        let (mut standings, gone_on) = match node {
            JOINS => self.known_to_joining(state),
            _ => (Standings::default(), BTreeSet::new()),
        };
        let is_new = self.epoch(node, log) > 0;
        for line in log {
            let forgets = self.variant == Variant::ForgetsLocks && is_new;
            if let Line::Witnessed(said, epoch) = line
                && !(forgets && *epoch == 0)
            {
                self.note(&mut standings, node, *said, *epoch, true);
            }
        }
        if node == JOINS {
            // It hears of an atom in somebody's log, or not at all.
            let is_heard = standings.get(&self.atoms[said].id()).is_some();
            let has_gone_on = |node: usize| gone_on.contains(&node);
            let has_read_up = self.variant == Variant::ReadsNothing
                || self.directory.has_quorums_of(0, JOINS, has_gone_on);
            if !is_heard || !has_read_up {
                return false;
            }
        }
        let bench = Bench {
            epochs: &self.epochs,
            directory: &self.directory,
            me: node,
            particles: &ParticleStates::default(),
            place: &|author| {
                let seq = 1;
                let id = standings.slot(author, seq)?;
                Some(Place { seq, id })
            },
            accused: &|_| false,
            now_utc_ns: NOW,
        };
        let verdict = bench.judge(&self.atoms[said], NOW, &standings, &BTreeMap::new());
        verdict == Verdict::Now
    }

    /// How far an atom is for whoever has every log and believes every liar.
    fn is_final(&self, state: &State, said: usize) -> bool {
        let mut votes: BTreeMap<usize, u64> = BTreeMap::new();
        for (node, has) in &state.nodes {
            for line in &has.log {
                if let Line::Witnessed(atom, epoch) = line
                    && *atom == said
                {
                    let first = votes.entry(*node).or_insert(*epoch);
                    *first = (*first).min(*epoch);
                }
            }
        }
        votes.extend(
            self.liars
                .iter()
                .map(|liar| (*liar, self.first_epoch(*liar))),
        );
        let body = self.atoms[said].body();
        if self.variant == Variant::QuorumMinusOne {
            let has = |node: usize, epoch: u64| votes.get(&node).is_some_and(|of| *of <= epoch);
            let mut counts = self.directory.counts(Kind::Mode, &body.author, has);
            return counts.any(|count| count.witnesses + 1 >= count.quorum.is_final());
        }
        let mut standings = Standings::default();
        for (node, epoch) in votes {
            self.note(&mut standings, node, said, epoch, false);
        }
        standings.level(&self.atoms[said].id()) == Some(Level::Final)
    }
}

const NO_TWO_FINALS: &str = "no two atoms of one place are final, in whichever epochs";
const FIRST_FINAL: &str = "the first one becomes final";
const OTHER_FINAL: &str = "the other one becomes final";
const BY_JOINING: &str = "one is final that would not be without the node that joins";

/// Nodes that stay are alike, and so are the two atoms: of all such states one stands
/// for the rest.
fn representative(state: &State) -> State {
    let swap = |state: &State, said: &dyn Fn(usize) -> usize| {
        let mut state = state.clone();
        for node in state.nodes.values_mut() {
            for line in &mut node.log {
                if let Line::Witnessed(of, _) = line {
                    *of = said(*of);
                }
            }
        }
        for belief in state.liars.values_mut() {
            belief.witnessed = belief.witnessed.iter().map(|of| said(*of)).collect();
        }
        // The first three nodes stay, in every lab.
        let stays: Vec<usize> = state.nodes.keys().copied().filter(|n| *n < 3).collect();
        let mut of_stays: Vec<Node> = stays.iter().map(|n| state.nodes[n].clone()).collect();
        of_stays.sort();
        state.nodes.extend(stays.into_iter().zip(of_stays));
        state
    };
    let (one, other) = (swap(state, &|of| of), swap(state, &|of| SAID - 1 - of));
    let order = |s: &State| (s.nodes.clone(), s.liars.clone());
    match order(&one) <= order(&other) {
        true => one,
        false => other,
    }
}

impl Model for Lab {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let all = 0..=JOINS;
        let honest = all.filter(|node| !self.liars.contains(node));
        let of_liars = self.liars.iter().map(|node| (*node, Belief::default()));
        vec![State {
            nodes: honest.map(|node| (node, Node::default())).collect(),
            liars: of_liars.collect(),
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for (node, has) in &state.nodes {
            let witnessed = |said: usize| {
                let mut lines = has.log.iter();
                lines.any(|line| matches!(line, Line::Witnessed(of, _) if *of == said))
            };
            let may = |said: &usize| !witnessed(*said) && self.witnesses(state, *node, *said);
            steps.extend(
                (0..SAID)
                    .filter(may)
                    .map(|said| Step::Witnesses(*node, said)),
            );
            if self.stays(*node) && self.epoch(*node, &has.log) == 0 {
                steps.push(Step::GoesOn(*node));
            }
            let is_read = state.nodes.contains_key(&JOINS) && *node != JOINS;
            if is_read && has.read < has.log.len() {
                steps.push(Step::Reads(*node));
            }
        }
        if !state.nodes.contains_key(&JOINS) {
            return;
        }
        for (liar, belief) in &state.liars {
            let new = (0..SAID).filter(|said| !belief.witnessed.contains(said));
            steps.extend(new.map(|said| Step::Believes(*liar, said)));
            if !belief.goes_on {
                steps.push(Step::BelievesItGoesOn(*liar));
            }
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Witnesses(node, said) => {
                let has = next.nodes.get_mut(&node)?;
                let epoch = self.epoch(node, &has.log);
                has.log.push(Line::Witnessed(said, epoch));
            }
            Step::GoesOn(node) => next.nodes.get_mut(&node)?.log.push(Line::GoesOn),
            Step::Reads(node) => next.nodes.get_mut(&node)?.read += 1,
            Step::Believes(liar, said) => {
                next.liars.get_mut(&liar)?.witnessed.insert(said);
            }
            Step::BelievesItGoesOn(liar) => next.liars.get_mut(&liar)?.goes_on = true,
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Lab>> {
        vec![
            Property::always(NO_TWO_FINALS, |lab: &Lab, state: &State| {
                !(0..SAID).all(|said| lab.is_final(state, said))
            }),
            Property::sometimes(FIRST_FINAL, |lab: &Lab, state: &State| {
                lab.is_final(state, 0)
            }),
            Property::sometimes(OTHER_FINAL, |lab: &Lab, state: &State| {
                lab.is_final(state, 1)
            }),
            Property::sometimes(BY_JOINING, |lab: &Lab, state: &State| {
                let mut without = state.clone();
                without.nodes.remove(&JOINS);
                let helps =
                    |said: usize| lab.is_final(state, said) && !lab.is_final(&without, said);
                (0..SAID).any(helps)
            }),
        ]
    }
}

#[test]
fn p23_no_two_quorums_of_two_epochs_decide_differently_in_any_state() {
    for (change, liars, least) in [
        // One of those that stay, the one that leaves, the one that joins, and one
        // in each epoch.
        (Change::Replaces, &[2][..], 1_000),
        (Change::Replaces, &[3], 1_000),
        (Change::Replaces, &[4], 100),
        (Change::Replaces, &[3, 4], 50),
        (Change::Joins, &[2], 1_000),
        (Change::Joins, &[4], 100),
    ] {
        let lab = Lab::new(change, liars, Variant::Whole);
        let walk = lab.checker().finish_when(HasDiscoveries::AnyFailures);
        let walked = walk.symmetry_fn(representative).spawn_dfs().join();
        let shown: BTreeSet<&str> = walked.discoveries().into_keys().collect();
        let states = walked.unique_state_count();
        println!("{change:?}, {liars:?} lie: {states} states, {shown:?}");
        assert!(!shown.contains(NO_TWO_FINALS), "{change:?} {liars:?}");
        // By symmetry whichever atom is final is the first or the other one.
        let is_final = shown.contains(FIRST_FINAL) || shown.contains(OTHER_FINAL);
        let joins = shown.contains(BY_JOINING) || liars.contains(&JOINS);
        assert!(is_final && joins, "{change:?} {liars:?}: {shown:?}");
        assert!(states > least, "{change:?} {liars:?}: {states} states");
    }
}

#[test]
fn each_broken_change_of_the_configuration_makes_two_atoms_of_one_place_final() {
    for (liars, variant) in [
        (&[2][..], Variant::QuorumMinusOne),
        (&[2], Variant::ForgetsLocks),
        (&[2], Variant::ReadsNothing),
        (&[2], Variant::WatchesNothing),
        // Nothing is broken here but the promise: two lie in the first epoch.
        (&[2, 3], Variant::Whole),
    ] {
        let lab = Lab::new(Change::Replaces, liars, variant);
        let walked = lab.checker().finish_when(HasDiscoveries::AnyFailures);
        let walked = walked.spawn_bfs().join();
        let found = walked.discovery(NO_TWO_FINALS);
        let found = found.map(|path| path.into_actions());
        println!("{variant:?}: {found:?}");
        assert!(found.is_some(), "{variant:?}");
    }
}
