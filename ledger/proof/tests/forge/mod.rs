//! Four nodes in miniature, and bundles out of their logs.

#![allow(clippy::unwrap_used, reason = "all of this is for tests")]
#![allow(dead_code, reason = "each test file uses its part")]

use ledger_core::atom::Body;
use ledger_core::credit::{CREDIT, attested};
use ledger_core::entry::EntryParts;
use ledger_core::merkle::{consistency_proof, inclusion_proof, leaf_hash, root};
use ledger_core::particle::{Particle, Up};
use ledger_core::payload::{
    Clearing, Dispatch, DispatchAck, DispatchKind, DispatchStage, Fill, MeterReading, Mint, Order,
    ReadingQuality, Setpoint, Side, Step, Transfer,
};
use ledger_core::universe::{NodeMember, Suite};
use ledger_core::vertex::Commitment;
use ledger_core::{
    Address, Amount, Atom, AtomId, ClockQuality, Digest32, Epochs, Federation, Field as _, Head,
    HeadId, Hlc, Kind, Opaque, ParticleId, Party, Payload, Role, SecretKey, Signature, SignedHead,
    Universe, UniverseId, Vertex, VertexId, Vote,
};

use ledger_proof::{Bundle, Consistency, Proven};

pub const NOW: i64 = 1_790_000_000_000_000_000;

pub fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

/// `nodes` nodes (keys 1 and up), a buyer (21), a controller (22), a market (23), a
/// meter (24), and two admins (31, 32) of whom both must sign.
pub fn universe(nodes: u8) -> Universe {
    let party = |name: &str, role, n| Party {
        name: name.to_owned(),
        roles: vec![role],
        key: key(n).public(),
    };
    Universe {
        version: if nodes > 1 { 2 } else { 1 },
        suite: Suite::Sha3Secp256k1,
        name: "lab".to_owned(),
        created_utc_ns: NOW,
        shard_bits: 0,
        nodes: (1..=nodes)
            .map(|n| NodeMember {
                name: format!("node-{n}"),
                key: key(n).public(),
            })
            .collect(),
        parties: vec![
            party("admin-1", Role::Admin, 31),
            party("admin-2", Role::Admin, 32),
            party("buyer", Role::Participant, 21),
            party("controller", Role::Dispatcher, 22),
            party("market", Role::MarketOperator, 23),
            party("meter", Role::Meter, 24),
        ],
        federation: (nodes > 1).then(|| Federation {
            admin_threshold: 2,
            transport_keys: (1..=nodes).map(|n| [n; 32]).collect(),
            replicas: Federation::full_replication(nodes.into(), 0),
        }),
    }
}

/// What an author says, with everything that a test may want to be wrong.
pub struct Saying {
    pub author: u8,
    pub payload: Payload,
    pub deps: Vec<AtomId>,
    pub epoch: u64,
    /// What moves; a transfer without it moves a credit out of nowhere.
    pub particles: Option<Vec<Particle>>,
}

pub fn say(author: u8, payload: Payload) -> Saying {
    Saying {
        author,
        payload,
        deps: vec![],
        epoch: 0,
        particles: None,
    }
}

impl Saying {
    pub fn atom(self, id: UniverseId) -> Atom {
        let key = key(self.author);
        let author = Address::of_key(&id, &key.public());
        let particles = match (self.particles, self.payload.kind()) {
            (Some(particles), _) => particles,
            (None, Kind::Transfer) => vec![
                Particle::Up(Up {
                    asset: "energy".to_owned(),
                    amount: Amount(5),
                    owner: author,
                    nonce: 1,
                }),
                Particle::Down(ParticleId([7; 32])),
            ],
            _ => vec![],
        };
        let body = Body {
            universe: id,
            config_epoch: self.epoch,
            author,
            author_seq: 1,
            prev: None,
            destinations: self.payload.destinations(&id, &author, &particles, 16),
            deps: self.deps,
            hlc: Hlc::default().tick(NOW),
            clock_quality: ClockQuality::VIRTUAL,
            particles,
            payload: self.payload,
            expiry_utc_ns: None,
        };
        Atom::sign(body, &key).unwrap()
    }
}

/// What a meter has measured for the buyer, in milliwatt-hours.
pub const ENERGY_MILLIWATT_HOURS: i64 = 5;

/// A reading, and what it attests for the market to mint in the buyer's name.
pub fn metering(id: UniverseId) -> (Atom, Up) {
    let reading = MeterReading {
        participant: "buyer".to_owned(),
        interval_start_utc_ns: NOW,
        interval_ns: 1_000_000_000,
        energy_milliwatt_hours: Some(ENERGY_MILLIWATT_HOURS),
        quality: ReadingQuality::Valid,
    };
    let [buyer, market] = [21, 23].map(|n| Address::of_key(&id, &key(n).public()));
    let metered = attested(&reading, &buyer, market, 1).unwrap();
    let mut saying = say(24, Payload::MeterReading(reading));
    saying.particles = Some(vec![Particle::Up(metered.clone())]);
    (saying.atom(id), metered)
}

/// A credit of the buyer.
pub fn credit(id: UniverseId, amount: i64, nonce: u64) -> Up {
    Up {
        asset: CREDIT.to_owned(),
        amount: Amount(amount.into()),
        owner: Address::of_key(&id, &key(21).public()),
        nonce,
    }
}

fn moving(id: UniverseId, downs: &[&Up], up: &Up) -> Option<Vec<Particle>> {
    let downs = downs
        .iter()
        .map(|down| Particle::Down(down.id(&id).unwrap()));
    Some(downs.chain([Particle::Up(up.clone())]).collect())
}

/// The market mints a credit for a reading.
pub fn minting(id: UniverseId, reading: &Atom, downs: &[&Up], up: &Up) -> Atom {
    let reading = reading.id();
    let mut saying = say(23, Payload::Mint(Mint { reading }));
    saying.particles = moving(id, downs, up);
    saying.atom(id)
}

/// The buyer gives a credit on, or back to itself.
pub fn paying(id: UniverseId, after: &[&Atom], down: &Up, up: &Up) -> Atom {
    let mut saying = say(21, transfer());
    saying.deps = after.iter().map(|atom| atom.id()).collect();
    saying.deps.sort_unstable();
    saying.particles = moving(id, &[down], up);
    saying.atom(id)
}

pub fn transfer() -> Payload {
    Payload::Transfer(Transfer {
        memo: "credit".to_owned(),
    })
}

pub fn dispatch(cause: Option<AtomId>) -> Payload {
    Payload::Dispatch(Dispatch {
        device: "inverter-1".to_owned(),
        kind: DispatchKind::Power,
        setpoint: Setpoint {
            p_milliwatts: Some(-1_500_000),
            ..Setpoint::NONE
        },
        authority_epoch: 0,
        valid_from_utc_ns: NOW,
        valid_until_utc_ns: NOW,
        cause,
        why: "price".to_owned(),
    })
}

pub fn ack(dispatch: AtomId) -> Payload {
    Payload::DispatchAck(DispatchAck {
        dispatch,
        stage: DispatchStage::Power,
        measured_p_milliwatts: Some(-1_499_000),
        seen_utc_ns: NOW,
    })
}

/// The change that puts node 5 into the place of node 4, signed by these admins and
/// carried by node 1.
pub fn change(admins: &[u8]) -> Atom {
    let four = universe(4);
    let mut next = four.clone();
    next.nodes[3] = NodeMember {
        name: "node-5".to_owned(),
        key: key(5).public(),
    };
    next.federation.as_mut().unwrap().transport_keys[3] = [5; 32];
    let epochs = Epochs::genesis(&four).unwrap();
    let mut change = epochs.propose(&next).unwrap();
    for admin in admins {
        change.approve(&epochs.id(), &key(*admin)).unwrap();
    }
    say(1, Payload::Epoch(change)).atom(epochs.id())
}

/// An atom of epoch `of` with the votes of nodes, each in an epoch; before it the
/// change with the votes of `by`.
pub fn across(of: u64, votes: &[(u8, u64)], change: Atom, by: &[u8]) -> Bundle {
    let four = universe(4);
    let id = four.id().unwrap();
    let mut saying = say(22, dispatch(None));
    saying.epoch = of;
    let said = saying.atom(id);
    let carried = [
        (change, by.to_vec()),
        (said, votes.iter().map(|v| v.0).collect()),
    ];
    // One log of each node, or it would contradict itself.
    let vote_of = |of: usize, node: u8| {
        let here = carried.iter().filter(|(_, nodes)| nodes.contains(&node));
        let atoms: Vec<Atom> = here.map(|(atom, _)| atom.clone()).collect();
        let epoch = votes.iter().find(|(n, _)| *n == node).map_or(0, |v| v.1);
        let log = log(id, node, &atoms, |v| {
            v.n = if v.e == carried[1].0.id() { epoch } else { 0 };
        });
        let at = atoms
            .iter()
            .position(|atom| atom.id() == carried[of].0.id());
        log.votes[at.unwrap()].clone()
    };
    let proven = |of: usize| Proven {
        atom: carried[of].0.to_bytes().unwrap(),
        votes: carried[of]
            .1
            .iter()
            .map(|node| vote_of(of, *node))
            .collect(),
    };
    Bundle {
        universe_id: id,
        subject: carried[1].0.id(),
        universe: four.canonical().unwrap(),
        epochs: vec![proven(0)],
        proven: vec![proven(1)],
        consistency: vec![],
        summary: Some("a setpoint".to_owned()),
    }
}

/// Order, clearing, dispatch and acknowledgement, each named by the next.
pub fn story(id: UniverseId) -> [Atom; 4] {
    let order = Payload::Order(Order {
        agent: "house-1".to_owned(),
        interval: 1,
        side: Side::Buy,
        steps: vec![Step {
            price_millicents_per_kwh: 100,
            quantity_milliwatt_hours: 5,
        }],
        rank: 0,
    });
    let order = say(21, order).atom(id);
    let clearing = Payload::Clearing(Clearing {
        interval: 1,
        mechanism: "uniform_k_half".to_owned(),
        quantity_milliwatt_hours: 5,
        price_millicents_per_kwh: Some(100),
        price_low_millicents_per_kwh: None,
        price_high_millicents_per_kwh: None,
        fills: vec![Fill {
            order: order.id(),
            agent: "house-1".to_owned(),
            quantity_milliwatt_hours: 5,
            amount: Amount(-500),
        }],
        operator_amount: Amount(500),
    });
    let clearing = say(23, clearing).atom(id);
    let command = say(22, dispatch(Some(clearing.id()))).atom(id);
    let answer = say(22, ack(command.id())).atom(id);
    [order, clearing, command, answer]
}

/// The log of one node.
pub struct Log {
    pub leaves: Vec<Digest32>,
    pub votes: Vec<Vote>,
    pub node: Address,
}

/// The log of node `node` that has witnessed these atoms in this order; `change`
/// may spoil each vertex before it is signed.
pub fn log(id: UniverseId, node: u8, atoms: &[Atom], change: impl Fn(&mut Vertex)) -> Log {
    log_with(id, node, atoms, change, |_, _| None)
}

/// As [`log`]; `sign` gives the signature that a vertex bears, as in older logs.
pub fn log_with(
    id: UniverseId,
    node: u8,
    atoms: &[Atom],
    change: impl Fn(&mut Vertex),
    sign: impl Fn(&SecretKey, &VertexId) -> Option<Signature>,
) -> Log {
    let secret = key(node);
    let address = Address::of_key(&id, &secret.public());
    let parts: Vec<EntryParts> = (1..)
        .zip(atoms)
        .map(|(l, atom)| {
            let particles = atom.body().particles.iter();
            let downs = particles.filter_map(|particle| match particle {
                Particle::Down(id) => Some(*id),
                Particle::Up(_) => None,
            });
            let mut locks: Vec<ParticleId> = downs.collect();
            locks.sort_unstable();
            let mut vertex = Vertex {
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
                locks,
                hlc: Hlc::default().tick(NOW + 3_000_000),
            };
            change(&mut vertex);
            let vertex_id = vertex.id(&id).unwrap();
            EntryParts {
                vertex: Opaque(vertex.to_bytes().unwrap()),
                signature: sign(&secret, &vertex_id),
                atom: Opaque(atom.to_bytes().unwrap()),
            }
        })
        .collect();
    let leaf = |parts: &EntryParts| leaf_hash(&id, &parts.to_bytes().unwrap());
    let leaves: Vec<Digest32> = parts.iter().map(leaf).collect();
    let head = Head {
        node: address,
        incarnation: 0,
        size: leaves.len() as u64,
        root: root(&id, &leaves),
        last_vertex: VertexId::NONE,
        prev: HeadId::NONE,
        hlc: Hlc::default().tick(NOW + 4_000_000),
        closed: false,
    };
    let head = SignedHead::sign(head, &id, &secret).unwrap();
    let votes = (0..).zip(parts.iter().zip(atoms));
    let votes = votes.map(|(index, (parts, atom))| Vote {
        vertex: parts.vertex.clone(),
        signature: parts.signature,
        sigs: atom.sigs().to_vec(),
        path: inclusion_proof(&id, &leaves, index).unwrap(),
        head: head.clone(),
    });
    Log {
        votes: votes.collect(),
        node: address,
        leaves,
    }
}

/// A bundle about the last of the atoms, with all the others behind it; the
/// first node's log proves that it extends its first `since` entries.
pub fn bundle(universe: &Universe, atoms: &[Atom], logs: &[Log], since: usize) -> Bundle {
    let id = universe.id().unwrap();
    let proven = atoms.iter().enumerate().rev().map(|(at, atom)| Proven {
        atom: atom.to_bytes().unwrap(),
        votes: logs.iter().map(|log| log.votes[at].clone()).collect(),
    });
    let leaves = &logs[0].leaves;
    let consistency = consistency_proof(&id, leaves, since).map(|path| Consistency {
        node: logs[0].node,
        since: Commitment {
            size: since as u64,
            root: root(&id, &leaves[..since]),
        },
        path,
    });
    Bundle {
        universe_id: id,
        subject: atoms[atoms.len() - 1].id(),
        universe: universe.canonical().unwrap(),
        epochs: vec![],
        proven: proven.collect(),
        consistency: consistency.into_iter().collect(),
        summary: Some("an acknowledgement".to_owned()),
    }
}
