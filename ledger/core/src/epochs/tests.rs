use super::*;
use crate::federation::{Federation, Quorum};
use crate::payload::Kind;
use crate::universe::{Party, Role, Suite};
use crate::{Directory, Level};

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn node(n: u8) -> NodeMember {
    NodeMember {
        name: format!("node-{n}"),
        key: key(n).public(),
    }
}

fn admin(n: u8) -> Party {
    Party {
        name: format!("admin-{n}"),
        roles: vec![Role::Admin],
        key: key(100 + n).public(),
    }
}

/// These nodes, three admins of whom two must sign, and a controller.
fn lab(nodes: &[u8]) -> Universe {
    let controller = Party {
        name: "controller".to_owned(),
        roles: vec![Role::Dispatcher],
        key: key(90).public(),
    };
    Universe {
        version: 2,
        suite: Suite::Sha3Secp256k1,
        name: "lab".to_owned(),
        created_utc_ns: 7,
        shard_bits: 1,
        nodes: nodes.iter().map(|n| node(*n)).collect(),
        parties: [1, 2, 3]
            .map(admin)
            .into_iter()
            .chain([controller])
            .collect(),
        federation: Some(Federation {
            admin_threshold: 2,
            transport_keys: nodes.iter().map(|n| [*n; 32]).collect(),
            replicas: Federation::full_replication(nodes.len() as u64, 1),
        }),
    }
}

fn signed(epochs: &Epochs, next: &Universe, admins: &[u8]) -> EpochChange {
    let mut change = epochs.propose(next).unwrap();
    for n in admins {
        change.approve(&epochs.id(), &key(100 + n)).unwrap();
    }
    change
}

#[test]
fn a_change_counts_with_as_many_admins_of_the_configuration_before_as_it_asks_for() {
    let epochs = Epochs::genesis(&lab(&[1, 2, 3, 4])).unwrap();
    let next = lab(&[1, 2, 3, 5]);
    let check = |admins: &[u8], expected: Result<(), &str>| {
        let found = epochs.check(&signed(&epochs, &next, admins));
        let found = found.map(|_| ()).map_err(|e| e.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{admins:?}");
    };
    check(&[], Err("0 of 2 admins have signed it"));
    check(&[2], Err("1 of 2 admins have signed it"));
    check(&[2, 2], Err("1 of 2 admins have signed it"));
    check(&[3, 1], Ok(()));
    check(&[1, 2, 3], Ok(()));
    let stranger = key(104).public();
    let not_one =
        format!("the key {stranger} has not approved it as an admin of the configuration before");
    check(&[1, 2, 4], Err(&not_one));
    // A signature over one change is none over another.
    let mut moved = signed(&epochs, &next, &[1, 2]);
    moved.configuration = Opaque(lab(&[1, 2, 3, 6]).canonical().unwrap());
    assert!(matches!(
        epochs.check(&moved),
        Err(EpochError::Approval { .. })
    ));
}

#[test]
fn configurations_follow_each_other_without_a_gap_and_each_names_the_one_before() {
    let mut epochs = Epochs::genesis(&lab(&[1, 2, 3, 4])).unwrap();
    let first = signed(&epochs, &lab(&[1, 2, 3, 5]), &[1, 2]);
    let other = signed(&epochs, &lab(&[1, 2, 3, 6]), &[1, 2]);
    epochs.follow(&first).unwrap();
    let again = EpochError::Number { found: 1, last: 1 };
    assert_eq!(epochs.follow(&first), Err(again.clone()));
    assert_eq!(epochs.follow(&other), Err(again));
    let mut second = signed(&epochs, &lab(&[1, 2, 5]), &[1, 2]);
    second.prev = epochs.id().0;
    assert_eq!(
        epochs.follow(&second),
        Err(EpochError::Predecessor { number: 2 })
    );
    let second = signed(&epochs, &lab(&[1, 2, 5]), &[1, 2]);
    epochs.follow(&second).unwrap();
    assert_eq!(epochs.last(), 2);
    // Places are for ever, and whoever has left has no transport key.
    let view = epochs.view();
    let names: Vec<&str> = view.nodes.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["node-1", "node-2", "node-3", "node-4", "node-5"]);
    let keys = view.federation.unwrap().transport_keys;
    assert_eq!(keys, [[1; 32], [2; 32], [0; 32], [0; 32], [5; 32]]);
    let directory = Directory::of(&epochs);
    assert_eq!(directory.members(), [0, 1, 4]);
    let of_four = Address::of_key(&epochs.id(), &key(4).public());
    assert_eq!(directory.node(&of_four), Some(3));
    assert!(directory.may_author(0, &of_four, Kind::FraudProof));
    assert!(!directory.may_author(1, &of_four, Kind::FraudProof));
}

#[test]
fn what_no_change_may_do_is_refused() {
    let mut epochs = Epochs::genesis(&lab(&[1, 2, 3, 4])).unwrap();
    let step = signed(&epochs, &lab(&[1, 2, 3, 5]), &[1, 2]);
    epochs.follow(&step).unwrap();
    let check = |what: &dyn Fn(&mut Universe), rule: &str| {
        let mut next = lab(&[1, 2, 3, 5]);
        what(&mut next);
        let found = epochs.propose(&next).unwrap_err().to_string();
        assert_eq!(found, rule);
    };
    let change = |rule: &str| format!("the change of the configuration: {rule}");
    let forever = change("Name, creation, suite and shards of a universe never change.");
    check(&|u| u.name = "other".to_owned(), &forever);
    check(&|u| u.created_utc_ns += 1, &forever);
    check(&|_| {}, &change("Something changes."));
    let one = change("One node leaves and one joins at most.");
    check(&|u| *u = lab(&[1, 2]), &one);
    check(&|u| *u = lab(&[1, 2, 3, 5, 6, 7]), &one);
    let fresh = change("A node that joins has a name and a key that nobody ever had.");
    check(&|u| *u = lab(&[1, 2, 3, 4]), &fresh);
    check(
        &|u| {
            *u = lab(&[1, 2, 3]);
            u.nodes[2].key = key(8).public();
        },
        &change("One node leaves and one joins at most."),
    );
    check(
        &|u| u.federation.as_mut().unwrap().transport_keys[0] = [9; 32],
        &change("A node that stays keeps its transport key and its groups."),
    );
    check(
        &|u| u.federation.as_mut().unwrap().replicas[0] = vec![0, 1, 2],
        &change("A node that stays keeps its transport key and its groups."),
    );
    check(
        &|u| u.parties[3].key = key(4).public(),
        &change("A party never has the key of a node."),
    );
    check(
        &|u| {
            u.parties.drain(..3);
        },
        &change("There is an admin who can approve the next change."),
    );
    check(
        &|u| u.federation.as_mut().unwrap().admin_threshold = 4,
        "the genesis configuration: The threshold of admins can be reached.",
    );
}

#[test]
fn after_a_change_the_new_admins_decide_and_the_old_keys_are_worth_nothing() {
    let mut epochs = Epochs::genesis(&lab(&[1, 2, 3, 4])).unwrap();
    let mut next = lab(&[1, 2, 3, 4]);
    next.parties[0].key = key(150).public();
    let step = signed(&epochs, &next, &[1, 2]);
    epochs.follow(&step).unwrap();
    let mut later = next.clone();
    later.federation.as_mut().unwrap().admin_threshold = 3;
    let of_old = signed(&epochs, &later, &[1, 2]);
    assert!(matches!(
        epochs.check(&of_old),
        Err(EpochError::Approval { .. })
    ));
    assert!(epochs.check(&signed(&epochs, &later, &[2, 3])).is_ok());
    assert!(epochs.check(&signed(&epochs, &later, &[2, 50])).is_ok());
}

#[test]
fn quorums_on_both_sides_of_a_change_of_one_node_never_hold_two_atoms() {
    // Whoever stays and is honest votes for one of two atoms only, and whoever joins
    // has read a quorum of the old logs: so the second atom has at most the old nodes
    // outside of the first one's quorum, and the liars among the new ones.
    for n in 1..=100usize {
        let old = Quorum { replicas: n };
        for m in [n.saturating_sub(1), n, n + 1]
            .into_iter()
            .filter(|m| *m > 0)
        {
            let new = Quorum { replicas: m };
            let second = n - old.is_final() + new.tolerated();
            assert!(second < new.is_final(), "{n} to {m}");
        }
    }
    // Not so for a change of several at once.
    let (old, new) = (Quorum { replicas: 7 }, Quorum { replicas: 4 });
    assert!(7 - old.is_final() + new.tolerated() >= new.is_final());
}

#[test]
fn the_vote_of_a_node_counts_in_the_epochs_that_it_belongs_to() {
    let mut epochs = Epochs::genesis(&lab(&[1, 2, 3, 4])).unwrap();
    let step = signed(&epochs, &lab(&[1, 2, 3, 5]), &[1, 2]);
    epochs.follow(&step).unwrap();
    let directory = Directory::of(&epochs);
    let author = Address::of_key(&epochs.id(), &key(90).public());
    let check = |votes: &[(usize, u64)], expected: Option<Level>| {
        let has =
            |node: usize, epoch: u64| votes.iter().any(|(at, of)| *at == node && *of <= epoch);
        let found = directory.level(Kind::Mode, &author, has);
        assert_eq!(found, expected, "{votes:?}");
    };
    check(&[(0, 0), (1, 0), (3, 0)], Some(Level::Final));
    // A node that has left does not vote in the new epoch, whatever it says.
    check(&[(0, 1), (1, 1), (3, 1)], Some(Level::Replicated));
    // A vote of the new epoch completes no quorum of the old one.
    check(&[(0, 0), (3, 0), (1, 1)], Some(Level::Replicated));
    // The vote of a node that stays goes on to count, as its lock does.
    check(&[(0, 0), (1, 0), (4, 1)], Some(Level::Final));
}
