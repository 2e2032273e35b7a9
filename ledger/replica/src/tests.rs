//! Four nodes that hear everything: the plain course of things.

mod epochs;
mod model;
mod model_epochs;
mod opening;
mod ranges;

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
        parties: [("controller", 101), ("standby", 102)]
            .map(|(name, n)| Party {
                name: name.to_owned(),
                roles: vec![Role::Dispatcher],
                key: key(n).public(),
            })
            .to_vec(),
        federation: Some(Federation {
            admin_threshold: 1,
            transport_keys: vec![[0; 32]; usize::from(nodes)],
            replicas: Federation::full_replication(u64::from(nodes), 1),
        }),
    }
}

fn replica(universe: &Universe, me: u8) -> Replica {
    let keys = Keyring::new(&format!("node-{me}"), key(me))
        .with_party("controller", key(101))
        .with_party("standby", key(102));
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
    settle_with(replicas, 0, vec![])
}

/// As [`settle`], with what one of them wanted to send before.
fn settle_with(replicas: &mut [Replica], from: usize, before: Vec<Effect>) -> Vec<Vec<Effect>> {
    let mut all = vec![vec![]; replicas.len()];
    let sends = before.into_iter().filter_map(|effect| match effect {
        Effect::Send { to, message } => Some((from, to, message)),
        _ => None,
    });
    let mut under_way: VecDeque<_> = sends.collect();
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
    let keys = Keyring::new(&format!("node-{me}"), key(me))
        .with_party("controller", key(101))
        .with_party("standby", key(102));
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

#[test]
fn an_atom_of_the_future_waits_until_its_time_has_come() {
    const HOUR_NS: i64 = 3_600_000_000_000;
    let universe = universe(4);
    let mut replicas: Vec<Replica> = (1..=2).map(|me| replica(&universe, me)).collect();
    replicas[0].submit(NOW + HOUR_NS, vec![mode("island")]);
    for effect in replicas[0].step(NOW + HOUR_NS) {
        if let Effect::Send { to: 1, message } = effect {
            replicas[1].receive(NOW, 0, message);
        }
    }
    for (now, clock) in [(NOW, 0), (NOW + HOUR_NS / 2, 0), (NOW + HOUR_NS, 1)] {
        replicas[1].step(now);
        assert_eq!(replicas[1].clock(), clock);
        assert_eq!(replicas[1].waiting_atoms() as u64, 1 - clock);
    }
}

#[test]
fn what_a_party_says_after_its_expiry_is_refused() {
    let universe = universe(4);
    let mut replica = replica(&universe, 1);
    for (expiry, is_taken) in [(NOW - 1, false), (NOW, true)] {
        let mut draft = mode("island");
        draft.expiry_utc_ns = Some(expiry);
        let ticket = replica.submit(NOW, vec![draft]);
        let taken = replica
            .step(NOW)
            .into_iter()
            .find_map(|effect| match effect {
                Effect::Appended { ticket: t, result } if t == ticket => Some(result),
                _ => None,
            });
        let reason = taken.unwrap().err().map(|e| e.to_string());
        assert_eq!(reason.is_none(), is_taken, "{reason:?}");
        assert!(reason.is_none_or(|r| r.contains("expired")));
    }
}

#[test]
fn a_node_that_is_ended_before_it_has_its_log_back_takes_it_back_when_it_comes_again() {
    let universe = universe(4);
    let mut replicas: Vec<Replica> = (1..=4).map(|me| replica(&universe, me)).collect();
    for to in ["island", "grid"] {
        replicas[0].submit(NOW, vec![mode(to)]);
        settle(&mut replicas);
    }
    let (clock, disk) = (replicas[0].clock(), MemoryStorage::default());
    let again = || {
        let lost = std::collections::BTreeSet::new();
        replica_on(&universe, 1, &disk, Start::Again { lost })
    };
    // It is ended twice: before it has heard anybody, and before it has heard all.
    assert_eq!(again().close(NOW).unwrap(), None);
    replicas[0] = again();
    replicas[1].greet(0);
    replicas[0].greet(1);
    for (from, other) in [(0, 1), (1, 0)].repeat(4) {
        for effect in replicas[from].step(NOW) {
            if let Effect::Send { to, message } = effect
                && to == other
            {
                replicas[to].receive(NOW, from, message);
            }
        }
    }
    assert!(replicas[0].clock() == clock && !replicas[0].may_sign());
    assert_eq!(replicas.remove(0).close(NOW).unwrap(), None);
    replicas.insert(0, again());
    for other in 1..4 {
        replicas[other].greet(0);
        replicas[0].greet(other);
    }
    settle(&mut replicas);
    assert!(replicas[0].may_sign());
    assert_eq!(replicas[0].clock(), clock);
    let head = replicas.swap_remove(0).close(NOW).unwrap();
    assert_eq!(head.unwrap().head.size, clock);
}

#[test]
fn an_author_that_contradicts_itself_is_accused_whatever_comes_in_one_step() {
    // The key of the controller is at two nodes. Both words come to a third node
    // before its next step; or the second word is said there, in that very step.
    for says_it_itself in [false, true] {
        let universe = universe(4);
        let mut replicas: Vec<Replica> = (1..=4).map(|me| replica(&universe, me)).collect();
        let second = if says_it_itself { 2 } else { 1 };
        replicas[0].submit(NOW, vec![mode("island")]);
        replicas[second].submit(NOW, vec![mode("grid")]);
        let mut under_way = Vec::new();
        for from in [0, 1] {
            for effect in replicas[from].step(NOW) {
                if let Effect::Send { to: 2, message } = effect {
                    under_way.push((from, message));
                }
            }
        }
        for (from, message) in under_way {
            replicas[2].receive(NOW, from, message);
        }
        let mut accused = 0;
        for _ in 0..2 {
            let effects = replicas[2].step(NOW).into_iter();
            accused += effects
                .filter(|e| matches!(e, Effect::Accused { .. }))
                .count();
        }
        assert_eq!(accused, 1, "{says_it_itself}");
    }
}

#[test]
fn a_command_of_a_past_epoch_is_witnessed_and_not_taken() {
    let universe = universe(4);
    let mut replicas: Vec<Replica> = (1..=4).map(|me| replica(&universe, me)).collect();
    let dispatch = |authority_epoch| {
        AtomDraft::new(
            "controller",
            Payload::Dispatch(Dispatch {
                device: "battery".to_owned(),
                kind: DispatchKind::Power,
                setpoint: Setpoint {
                    p_milliwatts: Some(1_000),
                    ..Setpoint::NONE
                },
                authority_epoch,
                valid_from_utc_ns: NOW,
                valid_until_utc_ns: NOW + 1,
                cause: None,
                why: "droop".to_owned(),
            }),
        )
    };
    // The standby's word of the second epoch is there before the controller's.
    replicas[1].submit(
        NOW,
        vec![AtomDraft {
            author: "standby".to_owned(),
            ..dispatch(2)
        }],
    );
    let ahead = replicas[1].step(NOW);
    let late = replicas[0].submit(NOW, vec![dispatch(1)]);
    let mut effects = settle_with(&mut replicas, 1, ahead);
    let taken = effects[0].drain(..).find_map(|effect| match effect {
        Effect::Appended { ticket, result } if ticket == late => Some(result.unwrap()),
        _ => None,
    });
    let id = taken.unwrap()[0].atom_id;
    for replica in &replicas {
        assert_eq!(replica.standing(&id).unwrap().witnesses().count(), 4);
    }
    // Where the second epoch is known the first is not taken any more.
    let stale = replicas[0].submit(NOW, vec![dispatch(1)]);
    let effects = settle(&mut replicas);
    assert!(effects[0].iter().any(|effect| matches!(
        effect,
        Effect::Appended { ticket, result: Err(ledger_node::AppendError::Refused { .. }) } if *ticket == stale
    )));
}

#[test]
fn a_batch_that_cannot_be_followed_is_not_asked_for_again_at_once() {
    let universe = universe(4);
    let mut replicas: Vec<Replica> = (1..=4).map(|me| replica(&universe, me)).collect();
    // The second node runs twice under one key, and both say something.
    let mut twin = replica(&universe, 2);
    let mut other = replica(&universe, 2);
    twin.submit(NOW, vec![mode("island")]);
    other.submit(NOW, vec![mode("grid"), mode("island")]);
    for (to, twin) in [(0, &mut twin), (2, &mut other)] {
        for effect in twin.step(NOW) {
            if let Effect::Send { to: at, message } = effect
                && at == to
            {
                replicas[to].receive(NOW, 1, message);
            }
        }
    }
    // The first and the third tell each other what they have of it until nothing
    // is under way any more; without end, if they ask on.
    let mut under_way = VecDeque::new();
    let mut count = 0;
    while count < 200 {
        for from in [0, 2] {
            for effect in replicas[from].step(NOW) {
                if let Effect::Send { to, message } = effect
                    && (to == 0 || to == 2)
                {
                    under_way.push_back((from, to, message));
                }
            }
        }
        let Some((from, to, message)) = under_way.pop_front() else {
            break;
        };
        replicas[to].receive(NOW, from, message);
        count += 1;
    }
    assert!(count < 40, "{count} messages");
}
