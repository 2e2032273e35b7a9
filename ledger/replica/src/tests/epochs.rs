//! A configuration follows another: a node is replaced while the others go on.

use std::collections::{BTreeMap, VecDeque};

use ledger_core::universe::NodeMember;
use ledger_core::{AtomId, EpochChange, Epochs, Level, Party, Payload, Role, Universe};
use ledger_node::{AppendError, AtomDraft, Durability, Keyring, MemoryStorage, NodeLog, Refusal};

use super::{NOW, key, mode, universe};
use crate::{Effect, Replica, Start, Stores};

/// The universe of the tests beside, with two admins of whom both must sign.
pub(super) fn genesis() -> Universe {
    let mut genesis = universe(4);
    let admins = [1, 2].map(|n| Party {
        name: format!("admin-{n}"),
        roles: vec![Role::Admin],
        key: key(120 + n).public(),
    });
    genesis.parties.splice(0..0, admins);
    genesis.federation.as_mut().unwrap().admin_threshold = 2;
    genesis
}

/// The fourth node leaves, and this one joins.
fn with_node(n: u8) -> Universe {
    let mut next = genesis();
    next.nodes[3] = NodeMember {
        name: format!("node-{n}"),
        key: key(n).public(),
    };
    next
}

/// Nodes by their number, and what they write on.
struct Lab {
    disks: BTreeMap<(u8, u8), MemoryStorage>,
    replicas: BTreeMap<u8, Replica>,
}

impl Lab {
    fn new(nodes: &[u8]) -> Lab {
        let mut lab = Lab {
            disks: BTreeMap::new(),
            replicas: BTreeMap::new(),
        };
        for n in nodes {
            lab.open(*n, &genesis(), 4, Start::First);
        }
        lab
    }

    fn disk(&mut self, node: u8, of: u8) -> MemoryStorage {
        self.disks.entry((node, of)).or_default().clone()
    }

    fn open(&mut self, me: u8, universe: &Universe, nodes: u8, start: Start) {
        let copies = (1..=nodes).map(|of| {
            let copy: Box<dyn ledger_node::Storage> = Box::new(self.disk(me, of));
            (of != me).then_some(copy)
        });
        let copies = copies.collect();
        let own = Box::new(self.disk(me, me));
        let stores = Stores { own, copies };
        let keys = Keyring::new(&format!("node-{me}"), key(me))
            .with_party("controller", key(101))
            .with_party("standby", key(102));
        let replica = Replica::open(universe, keys, stores, Durability::Fsync, start);
        self.replicas.insert(me, replica.unwrap());
    }

    /// The log of a node that joins, with all configurations so far.
    fn begin(&mut self, me: u8, epochs: &Epochs) {
        let keys = Keyring::new(&format!("node-{me}"), key(me));
        let own = Box::new(self.disk(me, me));
        NodeLog::begin_on(own, epochs, keys, Durability::Fsync).unwrap();
        self.open(me, &genesis(), 5, Start::First);
    }

    /// Steps all until nothing is under way; gives the effects by node.
    fn settle(&mut self) -> BTreeMap<u8, Vec<Effect>> {
        let all: Vec<u8> = self.replicas.keys().copied().collect();
        self.settle_among(&all)
    }

    /// As [`Lab::settle`], as long as only these nodes hear each other.
    fn settle_among(&mut self, among: &[u8]) -> BTreeMap<u8, Vec<Effect>> {
        let mut effects: BTreeMap<u8, Vec<Effect>> = BTreeMap::new();
        for (n, replica) in &mut self.replicas {
            let others = among.iter().filter(|other| *other != n);
            others.for_each(|other| replica.greet(usize::from(other - 1)));
        }
        loop {
            let mut under_way = VecDeque::new();
            for n in among {
                for effect in self.replicas.get_mut(n).unwrap().step(NOW) {
                    match effect {
                        Effect::Send { to, message } => under_way.push_back((*n, to, message)),
                        effect => effects.entry(*n).or_default().push(effect),
                    }
                }
            }
            if under_way.is_empty() {
                return effects;
            }
            for (from, to, message) in under_way {
                let to = to as u8 + 1;
                if let Some(replica) = self.replicas.get_mut(&to).filter(|_| among.contains(&to)) {
                    replica.receive(NOW, usize::from(from - 1), message);
                }
            }
        }
    }

    /// A party of a node says something; gives the atom, or why it is not taken.
    fn say(&mut self, node: u8, draft: AtomDraft, among: &[u8]) -> Result<AtomId, AppendError> {
        let ticket = self
            .replicas
            .get_mut(&node)
            .unwrap()
            .submit(NOW, vec![draft]);
        let effects = self.settle_among(among);
        let mut of_node = effects[&node].iter();
        let appended = of_node.find_map(|effect| match effect {
            Effect::Appended { ticket: t, result } if *t == ticket => Some(result.clone()),
            _ => None,
        });
        appended.unwrap().map(|receipts| receipts[0].atom_id)
    }

    fn level(&self, node: u8, atom: AtomId) -> Option<Level> {
        self.replicas[&node].standing(&atom)?.level
    }

    /// Who has witnessed an atom as far as a node knows, by number.
    fn witnesses(&self, node: u8, atom: AtomId) -> Vec<u8> {
        let standing = self.replicas[&node].standing(&atom).unwrap();
        standing.witnesses().map(|at| at as u8 + 1).collect()
    }

    /// All these nodes go on in the next epoch.
    fn go_on(&mut self, nodes: &[u8]) {
        for n in nodes {
            drop(self.replicas.remove(n));
            self.open(*n, &genesis(), 5, Start::GoesOn);
            assert_eq!(self.replicas[n].epochs().last(), 1, "node {n}");
        }
    }
}

fn change_to(next: &Universe, admins: &[u8]) -> EpochChange {
    let epochs = Epochs::genesis(&genesis()).unwrap();
    let mut change = epochs.propose(next).unwrap();
    for n in admins {
        change.approve(&epochs.id(), &key(120 + n)).unwrap();
    }
    change
}

fn by_node(node: u8, change: &EpochChange) -> AtomDraft {
    AtomDraft::new(&format!("node-{node}"), Payload::Epoch(change.clone()))
}

fn after(change: &EpochChange) -> Epochs {
    let mut epochs = Epochs::genesis(&genesis()).unwrap();
    epochs.follow(change).unwrap();
    epochs
}

/// Three nodes of four have said something and changed to the fifth instead of
/// the fourth, which is gone.
fn replaced() -> (Lab, EpochChange, AtomId) {
    let mut lab = Lab::new(&[1, 2, 3, 4]);
    let before = lab.say(1, mode("island"), &[1, 2, 3, 4]).unwrap();
    lab.replicas.remove(&4);
    let change = change_to(&with_node(5), &[1, 2]);
    let carried = lab.say(2, by_node(2, &change), &[1, 2, 3]).unwrap();
    for n in [1, 2, 3] {
        assert_eq!(lab.level(n, carried), Some(Level::Final), "node {n}");
    }
    lab.go_on(&[1, 2, 3]);
    (lab, change, before)
}

#[test]
fn a_node_is_replaced_and_with_its_successor_the_ledger_is_final_again() {
    let (mut lab, change, before) = replaced();
    lab.begin(5, &after(&change));
    let effects = lab.settle();
    let faulty = |effect: &&Effect| matches!(effect, Effect::Faulty { .. });
    assert_eq!(effects.values().flatten().find(faulty), None);
    // What was final before has come to the new node, and stays what it was.
    assert_eq!(lab.level(5, before), Some(Level::Final));
    assert_eq!(lab.witnesses(1, before), [1, 2, 3, 4, 5]);
    // With the third away the fifth makes the quorum.
    let alone = lab.say(1, mode("grid"), &[1, 2]).unwrap();
    assert_eq!(lab.level(1, alone), Some(Level::Replicated));
    lab.settle_among(&[1, 2, 5]);
    assert_eq!(lab.level(1, alone), Some(Level::Final));
    assert_eq!(lab.witnesses(1, alone), [1, 2, 5]);
    // A start from the disk goes on in the same epoch, with the same finals.
    lab.go_on(&[1, 2, 3, 5]);
    lab.settle();
    assert_eq!(lab.level(3, alone), Some(Level::Final));
    assert_eq!(lab.level(5, before), Some(Level::Final));
}

#[test]
fn a_node_that_joins_signs_nothing_before_it_has_read_a_quorum_of_the_old_logs() {
    let (mut lab, change, _) = replaced();
    lab.begin(5, &after(&change));
    for among in [&[1, 5][..], &[1, 2, 5]] {
        lab.settle_among(among);
        assert!(!lab.replicas[&5].may_sign(), "{among:?}");
        assert_eq!(lab.replicas[&5].clock(), 0);
    }
    lab.settle_among(&[1, 2, 3, 5]);
    assert!(lab.replicas[&5].may_sign());
    assert!(lab.replicas[&5].clock() > 0);
}

#[test]
fn a_node_that_joins_witnesses_neither_of_two_atoms_that_exclude_each_other() {
    let mut lab = Lab::new(&[1, 2, 3]);
    // The controller says two things: one side of the network hears the first.
    let one = lab.say(1, mode("island"), &[1, 2]).unwrap();
    let other = lab.say(3, mode("grid"), &[3]).unwrap();
    let change = change_to(&with_node(5), &[1, 2]);
    let carried = lab.say(2, by_node(2, &change), &[1, 2, 3]).unwrap();
    assert_eq!(lab.level(1, carried), Some(Level::Final));
    lab.go_on(&[1, 2, 3]);
    lab.begin(5, &after(&change));
    lab.settle();
    assert!(lab.replicas[&5].may_sign());
    for atom in [one, other] {
        assert!(!lab.witnesses(5, atom).contains(&5), "{atom}");
        assert!(lab.level(1, atom) < Some(Level::Final));
    }
    assert_eq!(lab.replicas[&5].accused().len(), 1);
}

#[test]
fn a_node_that_has_left_signs_nothing_and_its_votes_stop_counting() {
    let mut lab = Lab::new(&[1, 2, 3, 4]);
    let change = change_to(&with_node(5), &[1, 2]);
    lab.say(1, by_node(1, &change), &[1, 2, 3, 4]).unwrap();
    // The fourth does not go on: it does not know the epoch of what the others say.
    lab.go_on(&[1, 2, 3]);
    let said = lab.say(1, mode("island"), &[1, 2, 4]).unwrap();
    assert_eq!(lab.witnesses(1, said), [1, 2]);
    assert_eq!(lab.level(1, said), Some(Level::Replicated));
    // Its own late word counts in the epoch before only: with two of the present one
    // it makes no quorum.
    let late = lab
        .say(
            4,
            AtomDraft {
                author: "standby".to_owned(),
                ..mode("grid")
            },
            &[4],
        )
        .unwrap();
    lab.settle_among(&[1, 2, 4]);
    assert_eq!(lab.level(1, late), Some(Level::Replicated));
    // Opened again it knows that it has left.
    lab.go_on(&[4]);
    assert!(!lab.replicas[&4].may_sign());
    let refused = lab.say(4, mode("grid"), &[4]).unwrap_err();
    let left = Refusal::Left { epoch: 1 };
    assert_eq!(
        refused,
        AppendError::Refused {
            draft: 0,
            reason: left
        }
    );
}

#[test]
fn a_change_that_too_few_have_signed_or_that_another_stands_against_is_refused() {
    let mut lab = Lab::new(&[1, 2, 3, 4]);
    let all = [1, 2, 3, 4];
    let refused = |found: Result<AtomId, AppendError>| match found.unwrap_err() {
        AppendError::Refused { reason, .. } => reason.to_string(),
        AppendError::Stopped(e) => e.to_string(),
        AppendError::Sign(e) => e.to_string(),
    };
    let few = change_to(&with_node(5), &[2]);
    let why = refused(lab.say(1, by_node(1, &few), &all));
    assert_eq!(
        why,
        "the change of the configuration: 1 of 2 admins have signed it"
    );
    let one = change_to(&with_node(5), &[1, 2]);
    let other = change_to(&with_node(6), &[1, 2]);
    let first = lab.say(1, by_node(1, &one), &[1]).unwrap();
    let why = refused(lab.say(1, by_node(1, &other), &[1]));
    assert_eq!(
        why,
        "the change of the configuration: another change stands for epoch 1"
    );
    // The other change is carried by another node at the same time: one at most is final.
    let second = lab.say(2, by_node(2, &other), &[2]).unwrap();
    let effects = lab.settle();
    let finals = effects.values().flatten();
    let finals = finals.filter(|e| matches!(e, Effect::NextEpoch { .. }));
    let finals: Vec<&Effect> = finals.collect();
    assert!(finals.windows(2).all(|w| w[0] == w[1]), "{finals:?}");
    let is_final = |atom| (1..=4).any(|n| lab.level(n, atom) == Some(Level::Final));
    assert!(!is_final(first) || !is_final(second));
    // The ledger itself goes on whatever became of it.
    let said = lab.say(3, mode("island"), &all).unwrap();
    assert_eq!(lab.level(4, said), Some(Level::Final));
}

#[test]
fn nobody_joins_with_a_change_of_the_parties_alone_and_the_new_key_counts() {
    let mut lab = Lab::new(&[1, 2, 3, 4]);
    let mut next = genesis();
    let standby = next.parties.iter_mut().find(|p| p.name == "standby");
    standby.unwrap().key = key(110).public();
    let change = change_to(&next, &[1, 2]);
    lab.say(3, by_node(3, &change), &[1, 2, 3, 4]).unwrap();
    for n in 1..=4 {
        drop(lab.replicas.remove(&n));
        // The old key still lies beside; it signs nothing any more.
        lab.open(n, &genesis(), 4, Start::GoesOn);
    }
    lab.settle();
    let by_old = AtomDraft {
        author: "standby".to_owned(),
        ..mode("grid")
    };
    let found = lab.say(1, by_old, &[1, 2, 3, 4]);
    let author = "standby".to_owned();
    let reason = Refusal::NoKey { author };
    assert_eq!(
        found.unwrap_err(),
        AppendError::Refused { draft: 0, reason }
    );
    let said = lab.say(1, mode("grid"), &[1, 2, 3, 4]).unwrap();
    assert_eq!(lab.level(4, said), Some(Level::Final));
}
