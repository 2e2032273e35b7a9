//! Four nodes that hear everything: the plain course of things.

use std::collections::VecDeque;

use ledger_core::payload::{Dispatch, DispatchKind, Mode, Setpoint};
use ledger_core::universe::{NodeMember, Suite};
use ledger_core::{Federation, Level, Party, Payload, Role, SecretKey, Universe};
use ledger_node::{AtomDraft, Durability, Keyring, MemoryStorage};

use crate::{Effect, Replica, Start, Stores};

const NOW: i64 = 1_790_000_000_000_000_000;

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn universe(nodes: u8) -> Universe {
    Universe {
        version: 2,
        suite: Suite::Sha3Secp256k1,
        name: "lab".to_owned(),
        created_utc_ns: NOW,
        shard_bits: 1,
        nodes: (1..=nodes)
            .map(|n| NodeMember {
                name: format!("node-{n}"),
                key: key(n).public(),
            })
            .collect(),
        parties: vec![Party {
            name: "controller".to_owned(),
            roles: vec![Role::Dispatcher],
            key: key(101).public(),
        }],
        federation: Some(Federation {
            admin_threshold: 1,
            transport_keys: vec![[0; 32]; usize::from(nodes)],
            replicas: Federation::full_replication(u64::from(nodes), 1),
        }),
    }
}

fn replica(universe: &Universe, me: u8) -> Replica {
    let keys = Keyring::new(&format!("node-{me}"), key(me)).with_party("controller", key(101));
    let copies = (1..=universe.nodes.len() as u8).map(|n| {
        let copy: Box<dyn ledger_node::Storage> = Box::new(MemoryStorage::default());
        (n != me).then_some(copy)
    });
    let stores = Stores {
        own: Box::new(MemoryStorage::default()),
        copies: copies.collect(),
    };
    Replica::open(universe, keys, stores, Durability::Fsync, Start::First).unwrap()
}

/// Steps all until nothing is under way; gives the effects by node.
fn settle(replicas: &mut [Replica]) -> Vec<Vec<Effect>> {
    let mut all = vec![vec![]; replicas.len()];
    let mut under_way = VecDeque::new();
    loop {
        for (from, replica) in replicas.iter_mut().enumerate() {
            for effect in replica.step(NOW) {
                match effect {
                    Effect::Send { to, message } => under_way.push_back((from, to, message)),
                    effect => all[from].push(effect),
                }
            }
        }
        if under_way.is_empty() {
            return all;
        }
        for (from, to, message) in under_way.drain(..) {
            replicas[to].receive(NOW, from, message);
        }
    }
}

#[test]
fn what_one_node_says_is_final_at_all_four() {
    let universe = universe(4);
    let mut replicas: Vec<Replica> = (1..=4).map(|me| replica(&universe, me)).collect();
    let dispatch = AtomDraft::new(
        "controller",
        Payload::Dispatch(Dispatch {
            device: "battery".to_owned(),
            kind: DispatchKind::Power,
            setpoint: Setpoint {
                p_milliwatts: Some(1_000),
                ..Setpoint::NONE
            },
            authority_epoch: 1,
            valid_from_utc_ns: NOW,
            valid_until_utc_ns: NOW + 1,
            cause: None,
            why: "droop".to_owned(),
        }),
    );
    let ticket = replicas[0].submit(NOW, vec![mode("island"), dispatch, mode("grid")]);
    let effects = settle(&mut replicas);
    let receipts = effects[0].iter().find_map(|effect| match effect {
        Effect::Appended { ticket: t, result } if *t == ticket => Some(result.clone().unwrap()),
        _ => None,
    });
    let receipts = receipts.unwrap();
    assert_eq!(receipts.len(), 3);
    for (replica, effects) in replicas.iter().zip(&effects) {
        assert_eq!(replica.clock(), 3);
        for receipt in &receipts {
            let standing = replica.standing(&receipt.atom_id).unwrap();
            assert_eq!(standing.level, Some(Level::Final));
            assert_eq!(standing.witnesses().count(), 4);
        }
        let finals = effects.iter().filter(|e| {
            matches!(
                e,
                Effect::Reached {
                    level: Level::Final,
                    ..
                }
            )
        });
        assert_eq!(finals.count(), 3);
        assert!(
            !effects.iter().any(|e| matches!(e, Effect::Faulty { .. })),
            "{effects:?}"
        );
    }
}

/// As [`replica`], on disks that outlive it.
fn replica_on(universe: &Universe, me: u8, own: &MemoryStorage, start: Start) -> Replica {
    let keys = Keyring::new(&format!("node-{me}"), key(me)).with_party("controller", key(101));
    let copies = (1..=universe.nodes.len() as u8).map(|n| {
        let copy: Box<dyn ledger_node::Storage> = Box::new(MemoryStorage::default());
        (n != me).then_some(copy)
    });
    let stores = Stores {
        own: Box::new(own.clone()),
        copies: copies.collect(),
    };
    Replica::open(universe, keys, stores, Durability::Fsync, start).unwrap()
}

fn mode(to: &str) -> AtomDraft {
    let (from, to, reason) = ("grid".to_owned(), to.to_owned(), "asked".to_owned());
    AtomDraft::new("controller", Payload::Mode(Mode { from, to, reason }))
}

#[test]
fn a_node_with_an_empty_disk_takes_its_own_log_back_before_it_signs() {
    let universe = universe(4);
    let mut replicas: Vec<Replica> = (1..=4).map(|me| replica(&universe, me)).collect();
    replicas[0].submit(NOW, vec![mode("island")]);
    settle(&mut replicas);
    replicas[0].submit(NOW, vec![mode("grid")]);
    settle(&mut replicas);
    let (clock, root) = (replicas[0].clock(), replicas[0].root());
    let lost = std::collections::BTreeSet::new();
    replicas[0] = replica_on(
        &universe,
        1,
        &MemoryStorage::default(),
        Start::Again { lost },
    );
    replicas[0].submit(NOW, vec![mode("island")]);
    assert!(!replicas[0].may_sign());
    for other in 1..4 {
        replicas[other].greet(0);
        replicas[0].greet(other);
    }
    settle(&mut replicas);
    // All of the old log is there, and what was submitted stands behind it.
    assert_eq!(replicas[0].clock(), clock + 1);
    assert_eq!(replicas[1].held(0), clock + 1);
    assert_ne!(replicas[0].root(), root);
    assert!(replicas.iter().all(|replica| replica.accused().is_empty()));
}
