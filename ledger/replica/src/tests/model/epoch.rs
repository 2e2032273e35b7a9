//! The same across a change of the configuration: of four nodes one leaves and one
//! joins, one of those that stay lies, and every order in which the others go on
//! and hear of two atoms that exclude each other is walked.
//!
//! What stands in for the rest: the change itself is final before anything else
//! happens, so a node that stays may go on at any time, or never; the one that
//! leaves never does, and goes on witnessing in the old epoch. A lie is a vote of
//! the old epoch, which counts in both.

use std::collections::BTreeSet;

use ledger_core::universe::NodeMember;
use ledger_core::vertex::Commitment;
use ledger_core::{Directory, Entry, Epochs, Level, Party, Role, Universe, Vertex, VertexId};
use stateright::{Checker, HasDiscoveries, Model, Property};

use super::super::{NOW, key, universe};
use super::{Bench, Lab, Mind, Place, SPENT, SPENT_ELSEWHERE, Said, Variant, downs, parties};
use crate::watch::Watch;

/// Places of the nodes: of the first four the third leaves, and the fourth lies;
/// the fifth joins.
const LEAVES: usize = 2;
const LIES: usize = 3;
const JOINS: usize = 4;
const HONEST: [usize; 4] = [0, 1, LEAVES, JOINS];

/// What the node that joins does otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joiner {
    /// Nothing.
    Whole,
    /// It signs before it has read what the others said before.
    SignsAtOnce,
    /// It witnesses the first that it sees of two that exclude each other.
    TakesTheFirst,
}

/// What stands in an honest node's log, beside what was minted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Line {
    Witnessed(Said, u64),
    /// The node goes on in the next epoch.
    GoesOn,
}

/// What an honest node has seen; all that it thinks follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Seen {
    epoch: u64,
    log: Vec<Line>,
    /// How far it has read the log of each honest node.
    read: [usize; HONEST.len()],
    told: BTreeSet<Said>,
    accuses: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Reads { node: usize, of: usize },
    IsToldALie { node: usize, said: Said },
    GoesOn { node: usize },
}

type State = [Seen; HONEST.len()];

struct Change {
    lab: Lab,
    joiner: Joiner,
    epochs: [Epochs; 2],
    directories: [Directory; 2],
}

impl Change {
    fn new(joiner: Joiner) -> Change {
        let admin = Party {
            name: "admin".to_owned(),
            roles: vec![Role::Admin],
            key: key(120).public(),
        };
        let universe = Universe {
            parties: [admin].into_iter().chain(parties()).collect(),
            ..universe(4)
        };
        let lab = Lab::of(universe, 1, Variant::Whole);
        let before = Epochs::genesis(&lab.universe).unwrap();
        let mut next = lab.universe.clone();
        next.nodes[LEAVES] = NodeMember {
            name: "node-3-again".to_owned(),
            key: key(5).public(),
        };
        let mut change = before.propose(&next).unwrap();
        change.approve(&before.id(), &key(120)).unwrap();
        let mut after = before.clone();
        after.follow(&change).unwrap();
        let directories = [Directory::of(&before), Directory::of(&after)];
        Change {
            lab,
            joiner,
            epochs: [before, after],
            directories,
        }
    }

    /// What a node thinks after all that it has seen.
    fn mind(&self, state: &State, at: usize) -> Mind {
        let (seen, me) = (&state[at], HONEST[at]);
        let directory = &self.directories[seen.epoch as usize];
        let mut mind = self.lab.minted.clone();
        if me == JOINS && self.joiner != Joiner::TakesTheFirst {
            mind.standings.watch = Some(Watch::default());
        }
        for line in &seen.log {
            if let Line::Witnessed(said, epoch) = line {
                self.enter(directory, me, &mut mind, *said, *epoch);
            }
        }
        let mut sighted = |by: usize, said: Said, epoch: u64| {
            let atom = &self.lab.atoms[said];
            mind.standings.witnessed(directory, atom, (by, epoch), None);
            if let Some(watch) = &mut mind.standings.watch {
                watch.note(atom, (by, 1));
            }
            let standing = mind.standings.get(&atom.id());
            if standing.is_none_or(|s| s.clock.is_none()) {
                assert!(mind.waiting.admit(atom.clone(), NOW));
            }
        };
        for (of, read) in seen.read.iter().enumerate() {
            for line in &state[of].log[..*read] {
                if let Line::Witnessed(said, epoch) = line {
                    sighted(HONEST[of], *said, *epoch);
                }
            }
        }
        for said in &seen.told {
            sighted(LIES, *said, 0);
        }
        mind
    }

    fn enter(&self, directory: &Directory, me: usize, mind: &mut Mind, said: Said, epoch: u64) {
        let atom = &self.lab.atoms[said];
        let body = atom.body();
        let entry = Entry {
            vertex: Vertex {
                node: body.author,
                incarnation: 0,
                l: mind.clock + 1,
                e: atom.id(),
                n: epoch,
                c: Commitment {
                    size: mind.clock,
                    root: [0; 32],
                },
                prev: VertexId::NONE,
                locks: downs(atom),
                hlc: body.hlc,
            },
            vertex_id: VertexId::NONE,
            signature: None,
            atom: atom.clone(),
        };
        let (id, kind) = (&directory.id, body.kind());
        let applied = mind
            .particles
            .apply(id, kind, &body.author, &body.particles);
        applied.expect("nothing goes down twice");
        mind.clock += 1;
        mind.standings.entered(directory, me, &entry);
        let (seq, id) = (body.author_seq, atom.id());
        mind.places.insert(body.author, Place { seq, id });
    }

    /// Whether a node may sign: whoever joins has read the others as far as they
    /// wrote in the old epoch; the liar says at once that it has gone on.
    fn may_sign(&self, state: &State, at: usize) -> bool {
        let read = |of: usize| state[of].log[..state[at].read[of]].contains(&Line::GoesOn);
        let gone_on = |node: usize| match HONEST.iter().position(|n| *n == node) {
            Some(of) => read(of),
            None => true,
        };
        let directory = &self.directories[1];
        HONEST[at] != JOINS
            || self.joiner == Joiner::SignsAtOnce
            || directory.has_quorums_of(0, JOINS, gone_on)
    }

    /// A node witnesses what it may, after it has seen something.
    fn settle(&self, state: &mut State, at: usize) {
        let mind = self.mind(state, at);
        if let Some(watch) = &mind.standings.watch {
            let mut both = [SPENT, SPENT_ELSEWHERE].into_iter();
            let contested = |said: Said| watch.is_contested(&self.lab.atoms[said].id());
            state[at].accuses |= both.any(contested);
        }
        if !self.may_sign(state, at) {
            return;
        }
        let (mut waiting, mut judging) = (mind.waiting.clone(), mind);
        let seen = &state[at];
        let (epoch, accuses) = (seen.epoch, seen.accuses);
        let bench = Bench {
            epochs: &self.epochs[epoch as usize],
            directory: &self.directories[epoch as usize],
            me: HONEST[at],
            particles: &judging.particles,
            place: &|author| judging.places.get(author).copied(),
            accused: &|author| accuses && *author == self.lab.alice(),
            now_utc_ns: NOW,
        };
        let choice = waiting.choose(&bench, NOW, &mut judging.standings);
        state[at].accuses |= !choice.excluded.is_empty();
        for atom in &choice.witnessed {
            let said = self.lab.atoms.iter().position(|a| a.id() == atom.id());
            state[at].log.push(Line::Witnessed(said.unwrap(), epoch));
        }
    }

    fn is_final_anywhere(&self, state: &State, said: Said) -> bool {
        (0..HONEST.len()).any(|at| {
            let mind = self.mind(state, at);
            let standing = mind.standings.get(&self.lab.atoms[said].id());
            standing.is_some_and(|s| s.level == Some(Level::Final))
        })
    }
}

const NO_TWO_FINALS: &str = "no two atoms that exclude each other are final";
const BEFORE: &str = "one becomes final with the vote of the node that leaves";
const AFTER: &str = "one becomes final with the vote of the node that joins";

impl Model for Change {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let of = |node: &usize| Seen {
            epoch: u64::from(*node == JOINS),
            log: match node {
                0 => vec![Line::Witnessed(SPENT, 0)],
                1 => vec![Line::Witnessed(SPENT_ELSEWHERE, 0)],
                _ => vec![],
            },
            read: [0; HONEST.len()],
            told: BTreeSet::new(),
            accuses: false,
        };
        vec![HONEST.each_ref().map(of)]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for (node, seen) in state.iter().enumerate() {
            let others = (0..HONEST.len()).filter(|of| *of != node);
            let unread = others.filter(|of| seen.read[*of] < state[*of].log.len());
            steps.extend(unread.map(|of| Step::Reads { node, of }));
            let lies = [SPENT, SPENT_ELSEWHERE].into_iter();
            let new = lies.filter(|said| !seen.told.contains(said));
            steps.extend(new.map(|said| Step::IsToldALie { node, said }));
            if seen.epoch == 0 && HONEST[node] != LEAVES {
                steps.push(Step::GoesOn { node });
            }
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        let node = match step {
            Step::Reads { node, of } => {
                next[node].read[of] += 1;
                node
            }
            Step::IsToldALie { node, said } => {
                next[node].told.insert(said);
                node
            }
            Step::GoesOn { node } => {
                next[node].epoch = 1;
                next[node].log.push(Line::GoesOn);
                node
            }
        };
        self.settle(&mut next, node);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Change>> {
        fn with(change: &Change, state: &State, node: usize) -> bool {
            let at = HONEST.iter().position(|n| *n == node).unwrap();
            let mut said = [SPENT, SPENT_ELSEWHERE].into_iter();
            said.any(|said| {
                let mut log = state[at].log.iter();
                log.any(|line| matches!(line, Line::Witnessed(of, _) if *of == said))
                    && change.is_final_anywhere(state, said)
            })
        }
        vec![
            Property::always(NO_TWO_FINALS, |change: &Change, state: &State| {
                !(change.is_final_anywhere(state, SPENT)
                    && change.is_final_anywhere(state, SPENT_ELSEWHERE))
            }),
            Property::sometimes(BEFORE, |change: &Change, state: &State| {
                with(change, state, LEAVES)
            }),
            Property::sometimes(AFTER, |change: &Change, state: &State| {
                with(change, state, JOINS)
            }),
        ]
    }
}

#[test]
fn of_two_atoms_one_at_most_is_final_on_whichever_side_of_a_change() {
    let walked = Change::new(Joiner::Whole)
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_dfs()
        .join();
    let shown: BTreeSet<&str> = walked.discoveries().into_keys().collect();
    assert_eq!(shown, BTreeSet::from([BEFORE, AFTER]));
    let states = walked.unique_state_count();
    println!("{states} states");
    assert!(states > 1_000, "{states} states");
}

#[test]
fn a_node_that_joins_carelessly_makes_two_atoms_final() {
    for joiner in [Joiner::SignsAtOnce, Joiner::TakesTheFirst] {
        let walked = Change::new(joiner)
            .checker()
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        let found = walked.discovery(NO_TWO_FINALS);
        assert!(found.is_some(), "{joiner:?}");
    }
}
