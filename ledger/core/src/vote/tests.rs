//! A node's log in miniature, and votes out of it.

use super::*;
use crate::federation::Federation;
use crate::hash::{AtomId, HeadId, ParticleId, UniverseId};
use crate::head::Head;
use crate::hlc::{ClockQuality, Hlc};
use crate::keys::SecretKey;
use crate::merkle::inclusion_proof;
use crate::particle::{Particle, Up};
use crate::payload::{Kind, Mode, Payload, Transfer};
use crate::universe::{NodeMember, Party, Role, Suite};
use crate::vertex::Commitment;
use crate::{Address, Body};

pub(crate) const NOW: i64 = 1_790_000_000_000_000_000;

pub(crate) fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

/// Four nodes (keys 1 to 4), a controller (11) and a buyer (12).
pub(crate) fn four_nodes() -> (Universe, Directory) {
    let universe = Universe {
        version: 2,
        suite: Suite::Sha3Secp256k1,
        name: "lab".to_owned(),
        created_utc_ns: NOW,
        shard_bits: 1,
        nodes: (1..=4)
            .map(|n| NodeMember {
                name: format!("node-{n}"),
                key: key(n).public(),
            })
            .collect(),
        parties: [
            ("buyer", Role::Participant, 12),
            ("controller", Role::Dispatcher, 11),
        ]
        .map(|(name, role, n)| Party {
            name: name.to_owned(),
            roles: vec![role],
            key: key(n).public(),
        })
        .to_vec(),
        federation: Some(Federation {
            admin_threshold: 1,
            transport_keys: (1..=4).map(|n| [n; 32]).collect(),
            replicas: Federation::full_replication(4, 1),
        }),
    };
    let id = universe.id().unwrap();
    let directory = Directory::new(&universe, id);
    (universe, directory)
}

pub(crate) fn atom(id: UniverseId, author: u8, seq: u64, payload: Payload) -> Atom {
    let key = key(author);
    let address = Address::of_key(&id, &key.public());
    let particles = match payload.kind() {
        Kind::Transfer => vec![
            Particle::Up(Up {
                asset: "energy".to_owned(),
                amount: crate::Amount(5),
                owner: address,
                nonce: seq,
            }),
            Particle::Down(ParticleId([7; 32])),
        ],
        _ => vec![],
    };
    let body = Body {
        universe: id,
        config_epoch: 0,
        author: address,
        author_seq: seq,
        prev: (seq > 1).then_some(AtomId([9; 32])),
        destinations: vec![address],
        deps: vec![],
        hlc: Hlc(seq),
        clock_quality: ClockQuality::UNKNOWN,
        particles,
        payload,
        expiry_utc_ns: None,
    };
    Atom::sign(body, &key).unwrap()
}

pub(crate) fn mode(to: &str) -> Payload {
    Payload::Mode(Mode {
        from: "grid".to_owned(),
        to: to.to_owned(),
        reason: "asked".to_owned(),
    })
}

pub(crate) fn transfer(memo: &str) -> Payload {
    Payload::Transfer(Transfer {
        memo: memo.to_owned(),
    })
}

/// The votes of node `node` for these atoms, in this order, under one head.
pub(crate) fn votes(id: UniverseId, node: u8, atoms: &[Atom]) -> Vec<Vote> {
    let secret = key(node);
    let address = Address::of_key(&id, &secret.public());
    let vertices: Vec<Vertex> = (1..)
        .zip(atoms)
        .map(|(l, atom)| Vertex {
            node: address,
            incarnation: 0,
            l,
            e: atom.id(),
            n: 0,
            c: Commitment {
                size: 0,
                root: [0; 32],
            },
            prev: VertexId::NONE,
            locks: match atom.body().kind() {
                Kind::Transfer => vec![ParticleId([7; 32])],
                _ => vec![],
            },
            hlc: Hlc(l),
        })
        .collect();
    let parts: Vec<EntryParts> = vertices
        .iter()
        .zip(atoms)
        .map(|(vertex, atom)| EntryParts {
            vertex: Opaque(vertex.to_bytes().unwrap()),
            signature: None,
            atom: Opaque(atom.to_bytes().unwrap()),
        })
        .collect();
    let leaves: Vec<Digest32> = parts
        .iter()
        .map(|p| leaf_hash(&id, &p.to_bytes().unwrap()))
        .collect();
    let head = Head {
        node: address,
        incarnation: 0,
        size: leaves.len() as u64,
        root: crate::merkle::root(&id, &leaves),
        last_vertex: vertices.last().unwrap().id(&id).unwrap(),
        prev: HeadId::NONE,
        hlc: Hlc(99),
        closed: false,
    };
    let head = SignedHead::sign(head, &id, &secret).unwrap();
    (0..)
        .zip(parts.iter().zip(atoms))
        .map(|(index, (parts, atom))| Vote {
            vertex: parts.vertex.clone(),
            signature: parts.signature,
            sigs: atom.sigs().to_vec(),
            path: inclusion_proof(&id, &leaves, index).unwrap(),
            head: head.clone(),
        })
        .collect()
}

#[test]
fn a_vote_says_which_node_saw_the_atom_as_which_event() {
    let (universe, directory) = four_nodes();
    let id = directory.id;
    let atoms: Vec<Atom> = (1..=5)
        .map(|seq| atom(id, 11, seq, mode("island")))
        .collect();
    for (at, vote) in votes(id, 3, &atoms).iter().enumerate() {
        let witness = vote.check(&atoms[at], &universe, &directory).unwrap();
        assert_eq!((witness.node, witness.vertex.l), (2, at as u64 + 1));
        let other = &atoms[(at + 1) % 5];
        assert_eq!(
            vote.check(other, &universe, &directory),
            Err(VoteError::OtherAtom)
        );
    }
    let stranger = &votes(id, 9, &atoms)[0];
    assert_eq!(
        stranger.check(&atoms[0], &universe, &directory),
        Err(VoteError::Stranger)
    );
}

#[test]
fn any_changed_byte_of_a_vote_is_refused() {
    let (universe, directory) = four_nodes();
    let id = directory.id;
    let atoms = [1, 2, 3].map(|seq| atom(id, 11, seq, mode("island")));
    let bytes = votes(id, 2, &atoms)[1].to_bytes().unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        if let Ok(vote) = Vote::from_bytes(&changed) {
            assert!(
                vote.check(&atoms[1], &universe, &directory).is_err(),
                "byte {at} of {}",
                bytes.len()
            );
        }
    }
}
