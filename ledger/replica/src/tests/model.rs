//! Every order in which a few atoms that exclude each other can come to the
//! honest nodes, one state after the other (stateright walks them): what the
//! nodes judge with, count with and wait with is the replica's own.
//!
//! What stands in for the rest: an honest node appends what it chooses, and all
//! others read its log in its order, each when it likes. The liar, always the
//! last node, has no log: it tells any node that it has witnessed any atom, when
//! it likes, or never. So it does more than it could over the wire. Time stands.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use ledger_core::credit::attested;
use ledger_core::particle::Up;
use ledger_core::payload::{MeterReading, Mint, ReadingQuality, Transfer};
use ledger_core::vertex::Commitment;
use ledger_core::{
    Address, Amount, Atom, AtomId, Body, ClockQuality, Directory, Entry, Epochs, Hlc, Level,
    Particle, ParticleStates, Party, Payload, Role, SecretKey, Universe, Vertex, VertexId,
};
use ledger_node::Place;
use stateright::{Checker, HasDiscoveries, Model, Property};

use super::{NOW, key, universe};
use crate::judge::{Bench, downs};
use crate::standing::Standings;
use crate::waiting::WaitingRoom;

/// The atoms that the model is about, by their places in [`Lab::atoms`].
type Said = usize;

/// Alice spends her credit.
const SPENT: Said = 0;
/// Alice spends it in the same place of her sequence on somebody else.
const SPENT_ELSEWHERE: Said = 1;
/// Alice spends it once more, in the place behind the first.
const SPENT_AGAIN: Said = 2;
/// Bob, who is honest, spends his own.
const HONEST: Said = 3;

/// Pairs of which at most one may ever be final.
const EXCLUSIVE: [(Said, Said); 2] = [(SPENT, SPENT_ELSEWHERE), (SPENT, SPENT_AGAIN)];

/// What a variant of the ledger does otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    /// Nothing.
    Whole,
    /// It takes one vote less for a quorum.
    QuorumMinusOne,
    /// It takes what is replicated for final.
    ReplicatedIsFinal,
    /// A node has forgotten what it witnessed when it witnesses again.
    NoLock,
}

/// What everybody in the model knows.
struct Lab {
    universe: Universe,
    epochs: Epochs,
    directory: Directory,
    atoms: Vec<Atom>,
    /// What has been final before: both credits were minted.
    minted: Mind,
    /// How many nodes there are, and how many of them lie.
    nodes: usize,
    liars: usize,
    /// Whom the liars may tell that they have witnessed what.
    lies: Vec<(usize, Said)>,
    /// Whether they publish proofs before honest nodes find them.
    tells_proof: bool,
    /// What the first node has in its log from the beginning.
    says: Vec<Said>,
    variant: Variant,
    known: Mutex<Known>,
}

/// What a node judges with: all of it is the replica's own.
#[derive(Clone)]
struct Mind {
    standings: Standings,
    particles: ParticleStates,
    places: BTreeMap<Address, Place>,
    waiting: WaitingRoom,
    clock: u64,
}

/// What an honest node has seen, in which order it matters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Seen {
    me: usize,
    /// Its log behind what was minted.
    log: Vec<Said>,
    /// What it has read of each honest node's log.
    read: Vec<Vec<Said>>,
    /// What liars have told it.
    told: BTreeSet<(usize, Said)>,
    /// Whom it knows to have contradicted itself.
    accused: BTreeSet<Address>,
    /// What waits.
    waits: Vec<AtomId>,
}

/// An honest node. Two are equal when they have seen the same.
struct Node {
    seen: Seen,
    mind: Arc<Mind>,
    /// Hash of what it has seen.
    print: u64,
}

impl Node {
    fn new(seen: Seen, mind: Arc<Mind>) -> Arc<Node> {
        let mut hasher = DefaultHasher::new();
        seen.hash(&mut hasher);
        let print = hasher.finish();
        Arc::new(Node { seen, mind, print })
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.seen == other.seen
    }
}

impl Hash for Node {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.print);
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Seen {
            log, read, told, ..
        } = &self.seen;
        write!(f, "log {log:?}, has read {read:?}, was told {told:?}")
    }
}

/// What an honest node may hear next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    /// The next entry of an honest node's log.
    Entry(usize),
    /// A liar says that it has witnessed an atom.
    Lie(usize, Said),
    /// The proof that Alice has contradicted herself. Both signatures are in the
    /// world, so a liar may publish it whenever it likes.
    Proof,
}

/// A node hears something, or two things before its next step, and steps.
#[derive(Debug, Clone, PartialEq)]
struct Step {
    node: usize,
    words: Vec<Word>,
}

type State = Vec<Arc<Node>>;

/// A node that hears the same does the same: each case is worked out once.
type Known = BTreeMap<(u64, Vec<(Word, Option<Said>)>), Arc<Node>>;

fn parties() -> Vec<Party> {
    [
        ("alice", Role::Participant, 111),
        ("bob", Role::Participant, 112),
        ("market", Role::MarketOperator, 113),
        ("meter", Role::Meter, 114),
    ]
    .map(|(name, role, n)| Party {
        name: name.to_owned(),
        roles: vec![role],
        key: key(n).public(),
    })
    .to_vec()
}

impl Lab {
    fn new(nodes: u8, liars: usize, variant: Variant) -> Lab {
        let universe = Universe {
            parties: parties(),
            ..universe(nodes)
        };
        Lab::of(universe, liars, variant)
    }

    fn of(universe: Universe, liars: usize, variant: Variant) -> Lab {
        let nodes = universe.nodes.len();
        let directory = Directory::new(&universe, universe.id().unwrap());
        let id = directory.id;
        let [alice, bob, market, meter] = [111, 112, 113, 114].map(key);
        let address = |key: &SecretKey| Address::of_key(&id, &key.public());
        let up = |owner: &SecretKey, nonce| Up {
            asset: "energy".to_owned(),
            amount: Amount(10),
            owner: address(owner),
            nonce,
        };
        let says = |author: &SecretKey,
                    after: Option<(u64, AtomId)>,
                    payload: Payload,
                    particles: Vec<Particle>| {
            let body = Body {
                universe: id,
                config_epoch: 0,
                author: address(author),
                author_seq: after.map_or(1, |(seq, _)| seq + 1),
                prev: after.map(|(_, id)| id),
                destinations: payload.destinations(&id, &address(author), &particles, 16),
                deps: vec![],
                hlc: Hlc::default().tick(NOW),
                clock_quality: ClockQuality::VIRTUAL,
                particles,
                payload,
                expiry_utc_ns: None,
            };
            Atom::sign(body, author).unwrap()
        };
        let said = |author: &SecretKey, after: Option<(u64, AtomId)>, particles: Vec<Particle>| {
            let memo = String::new();
            says(
                author,
                after,
                Payload::Transfer(Transfer { memo }),
                particles,
            )
        };
        let spend = |of: &SecretKey, nonce, after, to: &SecretKey, new| {
            let down = Particle::Down(up(of, nonce).id(&id).unwrap());
            said(of, after, vec![down, Particle::Up(up(to, new))])
        };
        // What both have was metered, one reading after the other, and then minted.
        let mut before: Vec<Atom> = Vec::new();
        let mut credits = Vec::new();
        for (owner, nonce) in [(&alice, 1), (&bob, 2)] {
            let reading = MeterReading {
                participant: String::from("somebody"),
                interval_start_utc_ns: NOW,
                interval_ns: 1,
                energy_milliwatt_hours: Some(10),
                quality: ReadingQuality::Valid,
            };
            let metered = attested(&reading, &address(owner), address(&market), nonce).unwrap();
            credits.push(Particle::Down(metered.id(&id).unwrap()));
            credits.push(Particle::Up(up(owner, nonce)));
            let after = before.last().map(|atom| (nonce - 1, atom.id()));
            let payload = Payload::MeterReading(reading);
            before.push(says(&meter, after, payload, vec![Particle::Up(metered)]));
        }
        let reading = before[0].id();
        before.push(says(
            &market,
            None,
            Payload::Mint(Mint { reading }),
            credits,
        ));
        let spent = spend(&alice, 1, None, &bob, 3);
        let again = spend(&alice, 1, Some((1, spent.id())), &market, 4);
        let atoms = vec![
            spent,
            spend(&alice, 1, None, &market, 5),
            again,
            spend(&bob, 2, None, &alice, 6),
        ];
        let mut lab = Lab {
            epochs: Epochs::genesis(&universe).unwrap(),
            universe,
            directory,
            atoms,
            minted: Mind {
                standings: Standings::default(),
                particles: ParticleStates::default(),
                places: BTreeMap::new(),
                waiting: WaitingRoom::default(),
                clock: 0,
            },
            nodes,
            liars,
            lies: vec![],
            tells_proof: true,
            says: vec![],
            variant,
            known: Mutex::default(),
        };
        let mut minted = lab.minted.clone();
        for atom in &before {
            for node in 0..lab.nodes {
                let standings = &mut minted.standings;
                standings.witnessed(&lab.directory, atom, (node, 0), None);
            }
            // It stands in every log; whose is no matter.
            lab.enter(0, &mut minted, atom);
        }
        lab.minted = minted;
        lab.lying_about(&[SPENT, SPENT_ELSEWHERE])
    }

    /// The same, with liars that may tell everybody about these atoms.
    fn lying_about(mut self, lies: &[Said]) -> Lab {
        let to = 0..self.honest();
        self.lies = to
            .flat_map(|to| lies.iter().map(move |said| (to, *said)))
            .collect();
        self
    }

    fn honest(&self) -> usize {
        self.nodes - self.liars
    }

    /// Appends an atom to a node's log.
    fn enter(&self, me: usize, mind: &mut Mind, atom: &Atom) {
        let (id, body) = (self.directory.id, atom.body());
        let vertex = Vertex {
            node: Address::of_key(&id, &self.universe.nodes[me].key),
            incarnation: 0,
            l: mind.clock + 1,
            e: atom.id(),
            n: 0,
            c: Commitment {
                size: mind.clock,
                root: [0; 32],
            },
            prev: VertexId::NONE,
            locks: downs(atom),
            hlc: body.hlc,
        };
        let entry = Entry {
            vertex,
            vertex_id: VertexId::NONE,
            signature: None,
            atom: atom.clone(),
        };
        let applied = mind
            .particles
            .apply(&id, body.kind(), &body.author, &body.particles);
        // A node that forgets takes down twice what is down already.
        assert!(applied.is_ok() || self.variant == Variant::NoLock);
        mind.clock += 1;
        mind.standings.entered(&self.directory, me, &entry);
        let (seq, id) = (body.author_seq, atom.id());
        mind.places.insert(body.author, Place { seq, id });
    }

    /// A node notes that another has witnessed an atom.
    fn sighted(&self, mind: &mut Mind, by: usize, atom: &Atom) {
        mind.standings
            .witnessed(&self.directory, atom, (by, 0), None);
        let standing = mind.standings.get(&atom.id());
        if standing.is_none_or(|s| s.clock.is_none()) {
            assert!(mind.waiting.admit(atom.clone(), NOW));
        }
    }

    /// A node hears of atoms, and witnesses what it may.
    fn hear(&self, node: &Node, words: &[(Word, Option<Said>)]) -> Arc<Node> {
        let (mut seen, mut mind) = (node.seen.clone(), Mind::clone(&node.mind));
        for word in words {
            match *word {
                (Word::Entry(by), Some(said)) => {
                    seen.read[by].push(said);
                    self.sighted(&mut mind, by, &self.atoms[said]);
                }
                (Word::Lie(by, said), _) => {
                    seen.told.insert((by, said));
                    self.sighted(&mut mind, by, &self.atoms[said]);
                }
                _ => {
                    seen.accused.insert(self.alice());
                }
            }
        }
        let mut waiting = std::mem::take(&mut mind.waiting);
        let mut forgetful = self.minted.clone();
        let judging = match self.variant {
            Variant::NoLock => &mut forgetful,
            _ => &mut mind,
        };
        let bench = Bench {
            epochs: &self.epochs,
            directory: &self.directory,
            me: seen.me,
            particles: &judging.particles,
            place: &|author| judging.places.get(author).copied(),
            accused: &|author| seen.accused.contains(author),
            now_utc_ns: NOW,
        };
        let choice = waiting.choose(&bench, NOW, &mut judging.standings);
        for excluded in &choice.excluded {
            seen.accused.insert(excluded.atom.body().author);
        }
        for atom in &choice.witnessed {
            waiting.forget(atom);
            self.enter(seen.me, &mut mind, atom);
            let said = self.atoms.iter().position(|a| a.id() == atom.id());
            seen.log.push(said.unwrap());
        }
        seen.waits = waiting.ids().collect();
        mind.waiting = waiting;
        Node::new(seen, Arc::new(mind))
    }

    fn said(&self, state: &State, node: usize, word: Word) -> Option<Said> {
        match word {
            Word::Entry(by) => {
                let read = state[node].seen.read[by].len();
                state[by].seen.log.get(read).copied()
            }
            Word::Lie(_, said) => Some(said),
            Word::Proof => None,
        }
    }

    /// What a node has not heard yet.
    fn words(&self, state: &State, node: usize) -> Vec<Word> {
        let seen = &state[node].seen;
        let mut words = Vec::new();
        for by in (0..self.honest()).filter(|by| *by != node) {
            if seen.read[by].len() < state[by].seen.log.len() {
                words.push(Word::Entry(by));
            }
        }
        for by in self.honest()..self.nodes {
            let told = |said: &Said| seen.told.contains(&(by, *said));
            let lies = self.lies.iter().filter(|(to, _)| *to == node);
            let new = lies.map(|(_, said)| *said).filter(|said| !told(said));
            words.extend(new.map(|said| Word::Lie(by, said)));
        }
        if self.tells_proof && seen.accused.is_empty() {
            words.push(Word::Proof);
        }
        words
    }

    fn alice(&self) -> Address {
        self.atoms[SPENT].body().author
    }

    /// Whether a node takes an atom for final.
    fn is_final(&self, mind: &Mind, said: Said) -> bool {
        let Some(standing) = mind.standings.get(&self.atoms[said].id()) else {
            return false;
        };
        let quorum = self.directory.quorum(&self.atoms[said].body().author);
        match self.variant {
            Variant::Whole | Variant::NoLock => standing.level == Some(Level::Final),
            Variant::ReplicatedIsFinal => standing.level >= Some(Level::Replicated),
            Variant::QuorumMinusOne => standing.witnesses().count() + 1 >= quorum.is_final(),
        }
    }

    fn is_final_anywhere(&self, state: &State, said: Said) -> bool {
        state.iter().any(|node| self.is_final(&node.mind, said))
    }
}

const NO_TWO_FINALS: &str = "no two atoms that exclude each other are final";
const NOBODY_HONEST: &str = "nobody honest is accused";
const HONEST_FINAL: &str = "what is honest is final at every node in the end";
const FIRST_FINAL: &str = "the first spend becomes final";
const OTHER_FINAL: &str = "the other spend becomes final";
const FROZEN: &str = "the nodes part, and neither can ever be final";

/// All orders of three honest nodes.
const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

/// States in which three honest nodes have changed places are as one, as long as
/// they begin alike. Nobody thinks with what this gives; it is only compared.
fn by_order(state: &State) -> State {
    let placed = |order: &[usize; 3]| -> Vec<Seen> {
        let seen = order.iter().enumerate().map(|(me, was)| {
            let seen = &state[*was].seen;
            let read = order.iter().map(|by| seen.read[*by].clone()).collect();
            let mut seen = seen.clone();
            (seen.me, seen.read) = (me, read);
            seen
        });
        seen.collect()
    };
    // What does not name other nodes decides first: few orders are left.
    let of_itself = |node: &usize| {
        let seen = &state[*node].seen;
        (&seen.log, &seen.told, &seen.accused, &seen.waits)
    };
    let is_sorted = |order: &&[usize; 3]| order.is_sorted_by_key(of_itself);
    let sorted = ORDERS.iter().filter(is_sorted);
    let least = sorted.map(placed).min().unwrap_or_default();
    let nodes = least.into_iter().zip(state);
    nodes
        .map(|(seen, node)| Node::new(seen, Arc::clone(&node.mind)))
        .collect()
}

impl Model for Lab {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let node = |me: usize| {
            let mut mind = self.minted.clone();
            let log = match me {
                0 => self.says.clone(),
                _ => vec![],
            };
            for said in &log {
                self.enter(me, &mut mind, &self.atoms[*said]);
            }
            let seen = Seen {
                me,
                log,
                read: vec![vec![]; self.honest()],
                told: BTreeSet::new(),
                accused: BTreeSet::new(),
                waits: vec![],
            };
            Node::new(seen, Arc::new(mind))
        };
        vec![(0..self.honest()).map(node).collect()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for node in 0..self.honest() {
            let words = self.words(state, node);
            // Two words in one step differ from one after the other only where
            // both bring something new.
            let new = |word: &&Word| {
                let said = self.said(state, node, **word);
                said.is_some_and(|said| {
                    let standing = state[node].mind.standings.get(&self.atoms[said].id());
                    standing.is_none()
                })
            };
            for one in words.iter().filter(new) {
                for other in words.iter().filter(new).filter(|other| *other != one) {
                    let words = vec![*one, *other];
                    steps.push(Step { node, words });
                }
            }
            let alone = words.into_iter().map(|word| vec![word]);
            steps.extend(alone.map(|words| Step { node, words }));
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let at = step.node;
        let words = step.words.into_iter();
        let words: Vec<_> = words
            .map(|word| (word, self.said(state, at, word)))
            .collect();
        let mut known = self.known.lock().unwrap();
        let case = (state[at].print, words);
        let after = match known.get(&case) {
            Some(after) => Arc::clone(after),
            None => {
                let after = self.hear(&state[at], &case.1);
                known.insert(case, Arc::clone(&after));
                after
            }
        };
        let mut next = state.clone();
        next[at] = after;
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Lab>> {
        vec![
            Property::always(NO_TWO_FINALS, |lab: &Lab, state: &State| {
                let mut pairs = EXCLUSIVE.iter();
                pairs.all(|(one, other)| {
                    !(lab.is_final_anywhere(state, *one) && lab.is_final_anywhere(state, *other))
                })
            }),
            Property::always(NOBODY_HONEST, |lab: &Lab, state: &State| {
                let mut accused = state.iter().flat_map(|node| &node.seen.accused);
                accused.all(|who| *who == lab.alice())
            }),
            Property::sometimes(FIRST_FINAL, |lab: &Lab, state: &State| {
                lab.is_final_anywhere(state, SPENT)
            }),
            Property::sometimes(OTHER_FINAL, |lab: &Lab, state: &State| {
                lab.is_final_anywhere(state, SPENT_ELSEWHERE)
            }),
            Property::sometimes(FROZEN, |lab: &Lab, state: &State| {
                let mut spends = EXCLUSIVE.iter().flat_map(|(one, other)| [one, other]);
                spends.all(|said| !lab.is_final_anywhere(state, *said)) && is_over(lab, state)
            }),
            Property::always(HONEST_FINAL, |lab: &Lab, state: &State| {
                let mut said = lab.says.iter();
                said.all(|said| state.iter().all(|node| lab.is_final(&node.mind, *said)))
                    || !is_over(lab, state)
            }),
        ]
    }
}

/// All that can happen has happened.
fn is_over(lab: &Lab, state: &State) -> bool {
    (0..lab.honest()).all(|node| lab.words(state, node).is_empty())
}

/// Walks all states; gives how many there are, and which properties show
/// themselves: as broken, or as possible.
fn walk(lab: Lab) -> (usize, BTreeSet<&'static str>) {
    let begin_alike = lab.says.is_empty();
    let mut walk = lab.checker().finish_when(HasDiscoveries::AnyFailures);
    if begin_alike {
        walk = walk.symmetry_fn(by_order);
    }
    let walked = walk.spawn_dfs().join();
    let shown = walked.discoveries().into_keys().collect();
    (walked.unique_state_count(), shown)
}

#[test]
fn of_atoms_that_exclude_each_other_one_at_most_is_final_in_every_state() {
    for (other, possible) in [
        // A node that hears of the proof first witnesses neither: that is why the
        // place stays frozen, and why nobody may choose by time.
        (SPENT_ELSEWHERE, vec![FIRST_FINAL, FROZEN, OTHER_FINAL]),
        // What follows the first spend is never witnessed without it.
        (SPENT_AGAIN, vec![FIRST_FINAL, FROZEN]),
    ] {
        let lab = Lab::new(4, 1, Variant::Whole).lying_about(&[SPENT, other]);
        let (states, shown) = walk(lab);
        assert_eq!(shown, BTreeSet::from_iter(possible));
        assert!(states > 2_000, "{states} states");
    }
}

#[test]
fn what_the_honest_say_is_final_in_the_end_whatever_the_liar_does() {
    let mut lab = Lab::new(4, 1, Variant::Whole);
    // About this one the liar is silent for ever. Of the others it tells two
    // nodes, and the rest hear of them from each other.
    lab.says = vec![HONEST];
    lab.lies = vec![(1, SPENT), (2, SPENT_ELSEWHERE)];
    lab.tells_proof = false;
    let (states, shown) = walk(lab);
    assert_eq!(shown, BTreeSet::from([FIRST_FINAL, OTHER_FINAL]));
    assert!(states > 2_000, "{states} states");
}

#[test]
fn each_broken_variant_makes_two_atoms_final_that_exclude_each_other() {
    for (nodes, liars, variant) in [
        (4, 1, Variant::QuorumMinusOne),
        (4, 1, Variant::ReplicatedIsFinal),
        (4, 1, Variant::NoLock),
        // Nothing is broken here but the promise: three nodes bear no liar, and
        // four bear one.
        (3, 1, Variant::Whole),
        (4, 2, Variant::Whole),
    ] {
        let lab = Lab::new(nodes, liars, variant);
        let walked = lab.checker().finish_when(HasDiscoveries::AnyFailures);
        let walked = walked.spawn_bfs().join();
        let found = walked.discovery(NO_TWO_FINALS);
        let found = found.map(|path| path.into_actions());
        println!("{nodes} nodes, {liars} liars, {variant:?}: {found:?}");
        assert!(found.is_some(), "{variant:?}");
    }
}
