//! The star of this ledger beside the path of the paper of 2017: time, size, and
//! what decides between them.

use ledger_core::payload::{Mode, Payload};
use ledger_core::{Atom, Body, ClockQuality, Field as _, Hlc, Quorum};
use ledger_sim::chance::Chance;
use ledger_sim::lab::Lab;
use ledger_sim::network::Network;
use ledger_sim::provision::path::{PathFault, PathProof};
use ledger_sim::provision::star::votes;
use ledger_sim::provision::{Path, Provisioner, StarQuorum, Trip};

/// Synchronisation of a disk, from the fastest to the slowest.
/// Chosen: p50 and p99 of the machines of the ledger design, 2.6.
const SYNC_NS: (i64, i64) = (130_000, 5_000_000);

fn mode(lab: &Lab) -> Atom {
    let payload = Payload::Mode(Mode {
        from: "grid".to_owned(),
        to: "island".to_owned(),
        reason: "asked".to_owned(),
    });
    let author = lab.party("controller");
    let body = Body {
        universe: lab.id,
        config_epoch: 0,
        author,
        author_seq: 1,
        prev: None,
        destinations: payload.destinations(&lab.id, &author, &[], 16),
        deps: vec![],
        hlc: Hlc(1),
        clock_quality: ClockQuality::VIRTUAL,
        particles: vec![],
        payload,
        expiry_utc_ns: None,
    };
    let key = lab.party_key("controller").expect("it is a party");
    Atom::sign(body, key).expect("it keeps the rules")
}

/// The median time to a proof among so many replicas, in nanoseconds.
fn median_ns(way: &dyn Provisioner, replicas: usize) -> i64 {
    let mut chance = Chance::of(replicas as u64);
    let network = Network::good();
    let mut took: Vec<i64> = (0..501)
        .filter_map(|_| {
            let mut trip = Trip {
                chance: &mut chance,
                network: &network,
                sync_ns: SYNC_NS,
            };
            way.course(replicas, 0, &mut trip).map(|c| c.latency_ns)
        })
        .collect();
    took.sort_unstable();
    took[took.len() / 2]
}

#[test]
fn a_star_takes_as_long_for_fifty_nodes_as_for_four_and_a_path_grows() {
    let [few, many] = [4, 50].map(|replicas| {
        let [star, path] = [&StarQuorum as &dyn Provisioner, &Path].map(|w| median_ns(w, replicas));
        (star, path)
    });
    assert!(few.0 < few.1 && many.0 < many.1, "{few:?} {many:?}");
    assert!(many.0 * 10 < few.0 * 13, "the star: {few:?} {many:?}");
    assert!(many.1 > few.1 * 2, "the path: {few:?} {many:?}");
}

#[test]
fn a_path_is_shown_in_fewer_bytes_than_a_star() {
    for (nodes, entries) in [(4, 1_000), (7, 1_000)] {
        let lab = Lab::of(nodes);
        let atom = mode(lab);
        let (mut chance, network) = (Chance::of(1), Network::good());
        let sizes = [&StarQuorum as &dyn Provisioner, &Path].map(|way| {
            let mut trip = Trip {
                chance: &mut chance,
                network: &network,
                sync_ns: SYNC_NS,
            };
            let witnesses = way.course(nodes, 0, &mut trip).unwrap().witnesses;
            match way.name() {
                "star" => {
                    let votes = votes(lab, &atom, &witnesses, entries).unwrap();
                    for (vote, node) in votes.iter().zip(&witnesses) {
                        let witness = vote.check(&atom, &lab.universe, &lab.directory);
                        assert_eq!(witness.unwrap().node, *node);
                    }
                    assert_eq!(votes.len(), Quorum { replicas: nodes }.is_final());
                    votes
                        .iter()
                        .map(|vote| vote.to_bytes().unwrap().len())
                        .sum::<usize>()
                }
                _ => {
                    let proof = PathProof::make(lab, atom.id(), &witnesses, entries).unwrap();
                    proof.check(lab, atom.id(), Path::length(nodes)).unwrap();
                    proof.to_bytes().unwrap().len()
                }
            }
        });
        assert!(sizes[1] * 2 < sizes[0], "{nodes} nodes: {sizes:?}");
    }
}

#[test]
fn what_is_cut_out_of_a_path_or_put_into_another_order_is_seen() {
    let lab = Lab::of(7);
    let (atom, other) = (mode(lab).id(), ledger_core::AtomId([7; 32]));
    let proof = PathProof::make(lab, atom, &[2, 0, 5, 1], 10).unwrap();
    let check = |change: &dyn Fn(&mut PathProof), expected: PathFault| {
        let mut changed = proof.clone();
        change(&mut changed);
        assert_eq!(changed.check(lab, atom, 4), Err(expected));
    };
    assert_eq!(proof.check(lab, atom, 4), Ok(()));
    assert_eq!(proof.check(lab, other, 4), Err(PathFault::OtherAtom(0)));
    check(&|p| p.0.truncate(3), PathFault::CutOff { found: 3 });
    check(
        &|p| p.0.retain(|(own, _)| own.o != lab.node(0)),
        PathFault::NotNext(1),
    );
    check(&|p| p.0.swap(1, 2), PathFault::NotNext(1));
    check(&|p| p.0[2].0.l += 1, PathFault::Signature(2));
    // The end of one path does not fit the beginning of another one.
    let grafted = PathProof::make(lab, atom, &[3, 0, 5, 1], 10).unwrap();
    check(&|p| p.0[0] = grafted.0[0].clone(), PathFault::Signature(1));
    // Whoever is on the path cannot make it longer than it was by coming again.
    let round = PathProof::make(lab, atom, &[2, 0, 2, 1], 10).unwrap();
    assert_eq!(round.check(lab, atom, 4), Err(PathFault::NotNext(2)));
}

/// How many witnesses each of so many pairs of proofs have in common.
fn in_common(way: &dyn Provisioner, replicas: usize, pairs: usize) -> Vec<usize> {
    let mut chance = Chance::of(7);
    let network = Network::good();
    let mut witnesses = || {
        let origin = chance.place(replicas);
        let mut trip = Trip {
            chance: &mut chance,
            network: &network,
            sync_ns: (0, 1),
        };
        let course = way.course(replicas, origin, &mut trip);
        course.expect("nothing is lost").witnesses
    };
    let common = |_| {
        let (one, other) = (witnesses(), witnesses());
        one.iter().filter(|node| other.contains(node)).count()
    };
    (0..pairs).map(common).collect()
}

#[test]
fn two_paths_often_share_no_node_and_two_quorums_share_one_that_does_not_lie() {
    const PAIRS: usize = 4_000;
    // The ledger design, 1.8, in thousandths; by chance within a fortieth at so many pairs.
    for (replicas, expected) in [(4, 0), (7, 114), (10, 71), (16, 272), (31, 241)] {
        let apart = in_common(&Path, replicas, PAIRS).into_iter();
        let apart = apart.filter(|common| *common == 0).count() * 1_000 / PAIRS;
        assert!(apart.abs_diff(expected) <= 25, "{replicas} nodes: {apart}");
        let least = in_common(&StarQuorum, replicas, 200).into_iter().min();
        assert!(
            least > Some(Quorum { replicas }.tolerated()),
            "{replicas} nodes: {least:?}"
        );
    }
}

#[test]
fn a_part_of_the_network_that_is_no_quorum_makes_a_path_and_no_star() {
    let network = Network {
        sides: Some(vec![true, true, true, false, false, false, false]),
        ..Network::good()
    };
    let mut chance = Chance::of(3);
    let mut done = [0, 0];
    for _ in 0..200 {
        for (way, done) in [&StarQuorum as &dyn Provisioner, &Path]
            .iter()
            .zip(&mut done)
        {
            let mut trip = Trip {
                chance: &mut chance,
                network: &network,
                sync_ns: SYNC_NS,
            };
            *done += usize::from(way.course(7, 0, &mut trip).is_some());
        }
    }
    assert_eq!(done[0], 0);
    assert!(done[1] > 0, "three of seven are enough for a path");
}
