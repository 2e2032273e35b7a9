//! Nodes that do what no honest node does. They have their own key, and the keys
//! of the dishonest party, and nothing else.

mod forger;

use std::collections::BTreeSet;
use std::sync::Arc;

use ledger_core::payload::governance::FraudProof;
use ledger_core::{Held, Opaque, Payload};
use ledger_node::{AtomDraft, Durability};
use ledger_replica::{Effect, Message, Replica, Start};

use crate::chance::Chance;
use crate::disk::Disks;
use crate::lab::{DISHONEST, Lab};

pub use forger::{Forger, Forgery};

/// What a liar does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Runs twice under one key and shows each half of the others another log.
    TwoLogs,
    /// Signs two vertices for one value of its clock, for two of the others.
    TwoVertices,
    /// Witnesses whatever it sees: two atoms of one place, two spends.
    WitnessesAll,
    /// Witnesses with signatures that do not hold.
    SpoilsSignatures,
    /// Floods with atoms far ahead in a sequence, of the future, or too large.
    Floods,
    /// Sends old batches again and again.
    Replays,
    /// Sends bytes that mean nothing, cut messages and turned bits.
    Garbage,
    /// Lies about what it has: sizes, roots, heads.
    LiesInHave,
    /// Tells some of the others nothing.
    Withholds,
    /// Publishes proofs that prove nothing.
    AccusesFalsely,
}

/// All of them.
pub const BEHAVIOURS: [Behaviour; 10] = [
    Behaviour::TwoLogs,
    Behaviour::TwoVertices,
    Behaviour::WitnessesAll,
    Behaviour::SpoilsSignatures,
    Behaviour::Floods,
    Behaviour::Replays,
    Behaviour::Garbage,
    Behaviour::LiesInHave,
    Behaviour::Withholds,
    Behaviour::AccusesFalsely,
];

/// A node that lies.
pub struct Liar {
    lab: &'static Lab,
    me: usize,
    behaviour: Behaviour,
    chance: Chance,
    actor: Actor,
    /// Batches that went by.
    seen: Vec<Arc<[u8]>>,
}

enum Actor {
    /// One honest replica whose messages are spoilt on the way out.
    Spoilt(Box<Replica>),
    /// Two replicas under one key, and which of them speaks with whom.
    Twins(Box<[Replica; 2]>, Vec<usize>),
    /// A log that is made up.
    Forger(Box<Forger>),
}

impl std::fmt::Debug for Liar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Liar({}: {:?})", self.me, self.behaviour)
    }
}

fn replica(lab: &'static Lab, me: usize) -> Replica {
    let stores = Disks::new(me, lab.nodes()).stores(false);
    let keys = lab.keyring(me, &[DISHONEST]);
    Replica::open(
        &lab.universe,
        keys,
        stores,
        Durability::Buffered,
        Start::First,
    )
    .expect("empty disks in memory")
}

impl Liar {
    /// A liar at the place `me`.
    pub fn new(lab: &'static Lab, me: usize, behaviour: Behaviour, mut chance: Chance) -> Liar {
        let forge = |forgery| Actor::Forger(Box::new(Forger::new(lab, me, forgery)));
        let actor = match behaviour {
            Behaviour::TwoLogs => {
                let side = |_| chance.place(2);
                let sides = (0..lab.nodes()).map(side).collect();
                Actor::Twins(Box::new([replica(lab, me), replica(lab, me)]), sides)
            }
            Behaviour::TwoVertices => forge(Forgery::TwoVertices),
            Behaviour::WitnessesAll => forge(Forgery::None),
            Behaviour::SpoilsSignatures => forge(Forgery::Signatures),
            Behaviour::Floods => forge(Forgery::Flood),
            _ => Actor::Spoilt(Box::new(replica(lab, me))),
        };
        Liar {
            lab,
            me,
            behaviour,
            chance,
            actor,
            seen: vec![],
        }
    }

    /// What it does.
    pub fn behaviour(&self) -> Behaviour {
        self.behaviour
    }

    /// Lets the dishonest party say something here.
    pub fn submit(&mut self, now_utc_ns: i64, draft: AtomDraft) {
        match &mut self.actor {
            Actor::Spoilt(replica) => {
                replica.submit(now_utc_ns, vec![draft]);
            }
            Actor::Twins(twins, _) => {
                let at = self.chance.place(2);
                twins[at].submit(now_utc_ns, vec![draft]);
            }
            Actor::Forger(forger) => forger.submit(now_utc_ns, draft),
        }
    }

    /// Takes a message.
    pub fn receive(&mut self, now_utc_ns: i64, from: usize, message: Message) {
        if let Message::Batch { bytes, .. } = &message {
            self.seen.push(Arc::clone(bytes));
        }
        match &mut self.actor {
            Actor::Spoilt(replica) => replica.receive(now_utc_ns, from, message),
            Actor::Twins(twins, sides) => twins[sides[from]].receive(now_utc_ns, from, message),
            Actor::Forger(forger) => forger.receive(from, &message),
        }
    }

    /// Gives what it sends now, and to whom.
    pub fn step(&mut self, now_utc_ns: i64) -> Vec<(usize, Vec<u8>)> {
        let sends = |effects: Vec<Effect>| {
            let sends = effects.into_iter().filter_map(|effect| match effect {
                Effect::Send { to, message } => Some((to, message)),
                _ => None,
            });
            sends.collect::<Vec<_>>()
        };
        let honest = match &mut self.actor {
            Actor::Spoilt(replica) => sends(replica.step(now_utc_ns)),
            Actor::Twins(twins, sides) => {
                let [one, other] = &mut **twins;
                let one = sends(one.step(now_utc_ns)).into_iter();
                let other = sends(other.step(now_utc_ns)).into_iter();
                let one = one.filter(|(to, _)| sides[*to] == 0);
                one.chain(other.filter(|(to, _)| sides[*to] == 1)).collect()
            }
            Actor::Forger(forger) => forger.step(now_utc_ns, &mut self.chance),
        };
        let mut out = Vec::new();
        for (to, message) in honest {
            self.spoil(to, message, &mut out);
        }
        self.add(now_utc_ns, &mut out);
        out
    }

    /// A message as it leaves.
    fn spoil(&mut self, to: usize, message: Message, out: &mut Vec<(usize, Vec<u8>)>) {
        let message = match (self.behaviour, message) {
            (Behaviour::Withholds, _) if to % 2 == self.me % 2 => return,
            (Behaviour::LiesInHave, Message::Have(mut have)) => {
                for held in &mut have.held {
                    if self.chance.percent(30) {
                        let size = [0, held.size + 3, held.size / 2, u64::MAX];
                        let root = [held.root, [7; 32]];
                        *held = Held {
                            size: *self.chance.pick(&size).unwrap_or(&0),
                            root: *self.chance.pick(&root).unwrap_or(&[7; 32]),
                        };
                    }
                }
                if self.chance.percent(10) {
                    have.held.pop();
                }
                if self.chance.percent(30) {
                    have.yours = None;
                }
                Message::Have(have)
            }
            (_, message) => message,
        };
        if let Ok(bytes) = message.encode() {
            out.push((to, bytes));
        }
    }

    /// What it sends beside.
    fn add(&mut self, now_utc_ns: i64, out: &mut Vec<(usize, Vec<u8>)>) {
        let to = self.chance.place(self.lab.nodes());
        if to == self.me {
            return;
        }
        match self.behaviour {
            Behaviour::Replays => {
                if let Some(bytes) = self.chance.pick(&self.seen) {
                    let message = Message::Batch {
                        node: self.chance.place(self.lab.nodes()),
                        more: self.chance.percent(50),
                        bytes: Arc::clone(bytes),
                    };
                    out.extend(message.encode().ok().map(|bytes| (to, bytes)));
                }
            }
            Behaviour::Garbage => {
                let mut bytes = match out.first() {
                    Some((_, bytes)) if self.chance.percent(80) => bytes.clone(),
                    _ => (0..self.chance.below(90)).map(|n| n as u8).collect(),
                };
                if !bytes.is_empty() {
                    let at = self.chance.place(bytes.len());
                    match self.chance.percent(50) {
                        true => bytes.truncate(at),
                        false => bytes[at] ^= 1 << self.chance.below(8),
                    }
                }
                out.push((to, bytes));
            }
            Behaviour::AccusesFalsely if self.chance.percent(10) => self.accuse(now_utc_ns),
            _ => {}
        }
    }

    /// Publishes two things of one honest node or party that do not contradict
    /// each other, under each name that a proof can have.
    fn accuse(&mut self, now_utc_ns: i64) {
        const WHAT: [&str; 6] = [
            "two-atoms",
            "two-spends",
            "two-vertices",
            "two-locks",
            "two-heads",
            "two-faces",
        ];
        let mut shown = BTreeSet::new();
        for bytes in &self.seen {
            if let Some((batch, _)) = crate::frames::batch(bytes) {
                shown.insert(batch.head.to_vec());
                for item in &batch.items {
                    if let crate::frames::Item::Entry(bytes) = item
                        && let Ok(entry) = ledger_core::Entry::from_bytes(bytes, &self.lab.id)
                        && let Ok(atom) = entry.atom.to_bytes()
                    {
                        shown.insert(atom);
                    }
                }
            }
        }
        let shown: Vec<Vec<u8>> = shown.into_iter().filter(|b| b.len() < 20_000).collect();
        let mut one = || self.chance.pick(&shown).cloned().unwrap_or_default();
        let (first, second) = (Opaque(one()), Opaque(one()));
        let what = (*self.chance.pick(&WHAT).unwrap_or(&WHAT[0])).to_owned();
        let proof = FraudProof {
            what,
            first,
            second,
        };
        let name = format!("node-{}", self.me);
        if let Actor::Spoilt(replica) = &mut self.actor {
            let draft = AtomDraft::new(&name, Payload::FraudProof(proof));
            replica.submit(now_utc_ns, vec![draft]);
        }
    }
}
