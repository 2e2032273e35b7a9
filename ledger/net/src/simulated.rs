//! The connections of real nodes over a network in virtual time, in which hosts crash
//! with what they had under way and with what their disks had not synchronised.
//!
//! Handshake, pinned keys, framing, back-pressure, dialling again and the turn of the
//! replica are those of a node; only the sockets are turmoil's and the disks are in
//! memory. TLS draws its nonces from the system, so a seed repeats what happens when,
//! not every byte.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ledger_core::keys::remembering;
use ledger_core::payload::Mode;
use ledger_core::universe::{NodeMember, SHARD_BITS_DEFAULT, Suite};
use ledger_core::{AtomId, Federation, Level, Party, Payload, Role, SecretKey, Universe};
use ledger_node::{AtomDraft, Durability, Keyring, MemoryStorage, Storage, Ticket};
use ledger_replica::{Replica, Start, Stores};
use turmoil::Sim;
use turmoil::net::{TcpListener, TcpStream};

use crate::inbox::{Inbox, Submission};
use crate::node::{Event, Status, Worker};
use crate::peers::{Line, Switchboard, Wire, accept, dial, dials};
use crate::tls::TransportKey;

const NODES: usize = 4;
const PORT: u16 = 7300;
const BEGIN_UTC_NS: i64 = 1_790_000_000_000_000_000;

/// How often a node takes its turn, and how often a party of it says something.
const TURN: Duration = Duration::from_millis(10);
const SAYS: Duration = Duration::from_millis(250);

/// Time in which all must agree after the last trouble.
/// Chosen: a stalled connection is given up after ten seconds, and dialled within two.
const CONVERGENCE: Duration = Duration::from_secs(30);

/// The sockets of the simulated network.
struct Simulated;

impl Wire for Simulated {
    type Listener = TcpListener;
    type Stream = TcpStream;
    async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        listener.accept().await
    }
    async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(address).await
    }
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn transport(node: usize) -> TransportKey {
    TransportKey::from_bytes(&[100 + node as u8; 32]).unwrap()
}

fn name(node: usize) -> String {
    format!("node-{node}")
}

/// Each node has a party of its own.
fn party(node: usize) -> String {
    format!("controller-{node}")
}

fn universe() -> Universe {
    Universe {
        version: 2,
        suite: Suite::Sha3Secp256k1,
        name: "lab".to_owned(),
        created_utc_ns: BEGIN_UTC_NS,
        shard_bits: SHARD_BITS_DEFAULT,
        nodes: (0..NODES)
            .map(|node| NodeMember {
                name: name(node),
                key: key(node as u8 + 1).public(),
            })
            .collect(),
        parties: (0..NODES)
            .map(|node| Party {
                name: party(node),
                roles: vec![Role::Dispatcher],
                key: key(node as u8 + 51).public(),
            })
            .collect(),
        federation: Some(Federation {
            admin_threshold: 1,
            transport_keys: (0..NODES).map(|node| transport(node).digest()).collect(),
            replicas: Federation::full_replication(NODES as u64, SHARD_BITS_DEFAULT),
        }),
    }
}

/// What the nodes leave to be looked at.
#[derive(Default)]
struct Seen {
    /// What was acknowledged at each level, by the node that said so.
    reached: BTreeMap<(usize, AtomId), Level>,
    /// What was acknowledged to a party of each node.
    receipts: BTreeSet<(usize, u64, AtomId)>,
    accused: Vec<String>,
    faults: Vec<String>,
    status: Vec<Status>,
    said: usize,
}

/// The laboratory of a run.
struct Lab {
    universe: Universe,
    durability: Durability,
    /// Disks by node and by whose log is on them.
    disks: Mutex<Vec<Vec<MemoryStorage>>>,
    lives: Mutex<[u64; NODES]>,
    seen: Mutex<Seen>,
    /// Whether parties still speak.
    speaks: Mutex<bool>,
}

impl Lab {
    fn new(durability: Durability) -> Arc<Lab> {
        let disks = |_| (0..NODES).map(|_| MemoryStorage::default()).collect();
        let status = vec![Status::default(); NODES];
        Arc::new(Lab {
            universe: universe(),
            durability,
            disks: Mutex::new((0..NODES).map(disks).collect()),
            lives: Mutex::default(),
            seen: Mutex::new(Seen {
                status,
                ..Seen::default()
            }),
            speaks: Mutex::new(true),
        })
    }

    fn open(&self, me: usize) -> Replica {
        let disks = self.disks.lock().unwrap();
        let copies = disks[me].iter().enumerate().map(|(of, disk)| {
            let copy: Box<dyn Storage> = Box::new(disk.clone());
            (of != me).then_some(copy)
        });
        let stores = Stores {
            copies: copies.collect(),
            own: Box::new(disks[me][me].clone()),
        };
        let keys =
            Keyring::new(&name(me), key(me as u8 + 1)).with_party(&party(me), key(me as u8 + 51));
        let life = &mut self.lives.lock().unwrap()[me];
        *life += 1;
        let start = match *life {
            1 => Start::First,
            _ => Start::Again {
                lost: BTreeSet::new(),
            },
        };
        Replica::open(&self.universe, keys, stores, self.durability, start).unwrap()
    }

    /// The host has crashed: of what was not synchronised `kept` bytes of each disk are
    /// still there.
    fn crashed(&self, node: usize, kept: usize) {
        for disk in &mut self.disks.lock().unwrap()[node] {
            *disk = disk.after_crash(kept);
        }
    }

    /// A node's life, until its host crashes.
    async fn live(self: Arc<Lab>, me: usize) -> turmoil::Result {
        let replica = self.open(me);
        let names: Vec<String> = (0..NODES).map(name).collect();
        let pinned = self.universe.federation.as_ref();
        let board = Arc::new(Switchboard {
            me,
            genesis: NODES,
            key: transport(me),
            pinned: pinned.map_or(vec![], |f| f.transport_keys.clone()),
            lines: names.iter().map(|_| Line::new()).collect(),
            inbox: Inbox::new(NODES),
        });
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        tokio::spawn(accept::<Simulated>(Arc::clone(&board), listener));
        for node in (0..NODES).filter(|node| dials(me, *node, NODES)) {
            let address = SocketAddr::new(turmoil::lookup(name(node)), PORT);
            tokio::spawn(dial::<Simulated>(Arc::clone(&board), node, address));
        }
        let now = || {
            let since = turmoil::sim_elapsed().unwrap_or_default();
            BEGIN_UTC_NS + since.as_nanos() as i64
        };
        let status = Arc::new(Mutex::new(Status::default()));
        let (told, clock) = (Arc::clone(&status), Arc::new(now));
        let mut worker = Worker::new(replica, Arc::clone(&board), told, clock, names);
        let mut tickets: Vec<Ticket> = Vec::new();
        let mut last = turmoil::elapsed();
        loop {
            if *self.speaks.lock().unwrap() && turmoil::elapsed() - last >= SAYS {
                last = turmoil::elapsed();
                let (reply, ticket) = Ticket::pair();
                let (from, reason) = ("grid".to_owned(), "asked".to_owned());
                let to = {
                    let seen = &mut self.seen.lock().unwrap();
                    seen.said += 1;
                    format!("mode-{}", seen.said)
                };
                let draft = AtomDraft::new(&party(me), Payload::Mode(Mode { from, to, reason }));
                let submission = Submission {
                    now_utc_ns: now(),
                    drafts: vec![draft],
                    reply,
                };
                if board.inbox.submit(submission).is_ok() {
                    tickets.push(ticket);
                }
            }
            let work = board.inbox.take(Duration::ZERO);
            worker.turn(work, &mut |event| self.heard(me, event));
            tickets.retain_mut(|ticket| match ticket.wait(Duration::ZERO) {
                Ok(receipts) => {
                    let seen = &mut self.seen.lock().unwrap();
                    let receipts = receipts.iter().map(|r| (me, r.clock, r.atom_id));
                    seen.receipts.extend(receipts);
                    false
                }
                Err(ledger_node::WaitError::Late) => true,
                Err(e) => {
                    self.seen.lock().unwrap().faults.push(e.to_string());
                    false
                }
            });
            self.seen.lock().unwrap().status[me] = status.lock().unwrap().clone();
            tokio::time::sleep(TURN).await;
        }
    }

    fn heard(&self, me: usize, event: Event) {
        let seen = &mut self.seen.lock().unwrap();
        match event {
            Event::Reached { atom, level } => {
                let highest = seen.reached.entry((me, atom)).or_insert(level);
                *highest = level.max(*highest);
            }
            Event::Accused { who, what } => seen.accused.push(format!("{who}: {what}")),
            Event::Faulty { node, what } => seen.faults.push(format!("{node}: {what}")),
            Event::Refused { atom, why } => seen.faults.push(format!("{atom}: {why}")),
            Event::Ready | Event::NextEpoch { .. } => {}
        }
    }

    /// Why not everything is everywhere; none once it is.
    fn unsettled(&self) -> Option<String> {
        let seen = self.seen.lock().unwrap();
        let clock = seen.status.iter().map(|s| s.clock).max();
        let is_there = |s: &Status| {
            s.may_sign
                && s.open == 0
                && Some(s.clock) == clock
                && s.nodes.iter().all(|(_, held, _)| Some(*held) == clock)
        };
        let behind = seen.status.iter().position(|s| !is_there(s));
        behind.map(|node| format!("{}: {:?}", name(node), seen.status[node]))
    }

    /// What does not hold once all is settled.
    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let seen = self.seen.lock().unwrap();
        let all = seen.accused.iter().chain(&seen.faults);
        broken.extend(all.cloned());
        let mut places = BTreeMap::new();
        for (node, clock, atom) in &seen.receipts {
            let first = *places.entry((*node, *clock)).or_insert(*atom);
            if first != *atom {
                broken.push(format!("{} gave the clock {clock} twice", name(*node)));
            }
        }
        for node in 0..NODES {
            let replica = self.open(node);
            for (of, clock, atom) in &seen.receipts {
                let standing = replica.standing(atom);
                if standing.is_none_or(|s| s.level != Some(Level::Final)) {
                    broken.push(format!("{} lacks {atom} of {}", name(node), name(*of)));
                }
                if *of == node && standing.and_then(|s| s.clock) != Some(*clock) {
                    broken.push(format!("{} has not {atom} at {clock}", name(node)));
                }
            }
            for (of, atom) in seen.reached.keys() {
                if replica.standing(atom).is_none() {
                    broken.push(format!(
                        "{} lacks {atom} that {} had",
                        name(node),
                        name(*of)
                    ));
                }
            }
        }
        broken
    }
}

/// A number that follows from a seed, as good as any.
fn draw(seed: &mut u64, below: u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % below
}

fn pass(sim: &mut Sim<'_>, time: Duration) {
    let until = sim.elapsed() + time;
    while sim.elapsed() < until {
        sim.step().expect("no host ends by itself");
    }
}

/// What happens to one node while the others go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Crash,
    CutOff,
    /// What it has acknowledged alone nobody else can give back.
    CutOffAndCrash,
}

/// Four nodes, of which one at a time crashes or is cut off; gives what does not hold,
/// and how much was acknowledged.
fn run(seed: u64, durability: Durability) -> (Vec<String>, usize) {
    // All nodes are in this process: each signature is verified once in it.
    remembering(|| run_once(seed, durability))
}

fn run_once(seed: u64, durability: Durability) -> (Vec<String>, usize) {
    let lab = Lab::new(durability);
    let mut builder = turmoil::Builder::new();
    builder
        .rng_seed(seed)
        .tick_duration(Duration::from_millis(5))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(40))
        .tcp_capacity(4096)
        .simulation_duration(Duration::from_secs(600));
    let mut sim = builder.build();
    for node in 0..NODES {
        let lab = Arc::clone(&lab);
        sim.host(name(node), move || Arc::clone(&lab).live(node));
    }
    let mut dice = seed;
    pass(&mut sim, Duration::from_secs(1));
    for trouble in [
        Trouble::CutOffAndCrash,
        Trouble::Crash,
        Trouble::CutOff,
        Trouble::Crash,
    ] {
        let node = draw(&mut dice, NODES as u64) as usize;
        let away = Duration::from_millis(50 + draw(&mut dice, 1_000));
        let others: Vec<String> = (0..NODES).filter(|n| *n != node).map(name).collect();
        // What is on the way arrives when the link is whole again, as over real TCP; but
        // not what a host had on the way that has crashed meanwhile.
        match trouble {
            Trouble::Crash => {}
            Trouble::CutOff => others.iter().for_each(|o| sim.hold(name(node), &**o)),
            Trouble::CutOffAndCrash => others.iter().for_each(|o| sim.partition(name(node), &**o)),
        }
        if trouble != Trouble::Crash {
            pass(&mut sim, SAYS + away);
        }
        if trouble != Trouble::CutOff {
            sim.crash(name(node));
            lab.crashed(node, draw(&mut dice, 200) as usize);
            pass(&mut sim, away);
            sim.bounce(name(node));
        }
        match trouble {
            Trouble::Crash => {}
            Trouble::CutOff => others.iter().for_each(|o| sim.release(name(node), &**o)),
            Trouble::CutOffAndCrash => others.iter().for_each(|o| sim.repair(name(node), &**o)),
        }
        pass(&mut sim, Duration::from_millis(draw(&mut dice, 1_200)));
    }
    *lab.speaks.lock().unwrap() = false;
    let until = sim.elapsed() + CONVERGENCE;
    while lab.unsettled().is_some() && sim.elapsed() < until {
        pass(&mut sim, Duration::from_millis(100));
    }
    let unsettled = lab.unsettled();
    drop(sim);
    let mut broken = lab.broken();
    broken.extend(unsettled);
    let acknowledged = lab.seen.lock().unwrap().receipts.len();
    (broken, acknowledged)
}

/// Seeds of a run of the tests. `GRIDRIG_TURMOIL_SEEDS` asks for more.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let wanted = std::env::var("GRIDRIG_TURMOIL_SEEDS");
    0..wanted.ok().and_then(|n| n.parse().ok()).unwrap_or(count)
}

#[test]
fn over_real_connections_nothing_acknowledged_is_lost_when_hosts_crash() {
    for seed in seeds(2) {
        let (broken, acknowledged) = run(seed, Durability::Fsync);
        assert!(broken.is_empty(), "seed {seed}: {}", broken.join("\n"));
        assert!(acknowledged > 20, "seed {seed}: {acknowledged}");
    }
}

#[test]
fn a_node_that_signs_before_it_is_durable_is_caught_over_real_connections() {
    let (broken, _) = run(0, Durability::Buffered);
    assert!(!broken.is_empty());
}
