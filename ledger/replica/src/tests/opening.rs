//! A replica that begins again: out of the indexes of its logs, and without them.

use ledger_core::{AtomId, Entry, UniverseId};
use ledger_node::{MemoryStorage, NodeLogOptions};

use super::*;

fn indexed() -> NodeLogOptions {
    NodeLogOptions {
        index_entries: Some(4),
        ..NodeLogOptions::from(Durability::Fsync)
    }
}

/// The disks of one node: its own log, and copies of the others'.
#[derive(Clone)]
struct Disks(Vec<MemoryStorage>);

impl Disks {
    fn new(nodes: u8) -> Disks {
        Disks((0..nodes).map(|_| MemoryStorage::default()).collect())
    }

    fn copied(&self, keep: impl Fn(&str) -> bool) -> Disks {
        let copy = |disk: &MemoryStorage| {
            let mut disk = disk.disk();
            disk.files.retain(|name, _| keep(name));
            MemoryStorage::of(disk)
        };
        Disks(self.0.iter().map(copy).collect())
    }

    fn open(&self, universe: &Universe, me: u8) -> Replica {
        let keys = Keyring::new(&format!("node-{me}"), key(me))
            .with_party("controller", key(101))
            .with_party("standby", key(102));
        let at = usize::from(me - 1);
        let boxed =
            |disk: &MemoryStorage| -> Box<dyn ledger_node::Storage> { Box::new(disk.clone()) };
        let stores = Stores {
            own: boxed(&self.0[at]),
            copies: (0..self.0.len())
                .map(|n| (n != at).then(|| boxed(&self.0[n])))
                .collect(),
        };
        Replica::open(universe, keys, stores, indexed(), Start::GoesOn).unwrap()
    }
}

/// Four nodes that say some things to each other; gives the disks of all, as they
/// are when the nodes are killed.
fn killed(universe: &Universe) -> Vec<Disks> {
    let disks: Vec<Disks> = (0..4).map(|_| Disks::new(4)).collect();
    let open = |(at, disks): (usize, &Disks)| disks.open(universe, at as u8 + 1);
    let mut nodes: Vec<Replica> = disks.iter().enumerate().map(open).collect();
    let mut now = NOW;
    for round in 0..12_usize {
        let drafts = vec![draft(&format!("inverter-{round}")); 1 + round % 3];
        nodes[round % 2].submit(now, drafts);
        let mut messages = Vec::new();
        for _ in 0..6 {
            now += 1_000_000;
            for (to, from, message) in std::mem::take(&mut messages) {
                let to: usize = to;
                nodes[to].receive(now, from, message);
            }
            for (from, node) in nodes.iter_mut().enumerate() {
                for effect in node.step(now) {
                    // The last node hears nothing in the last rounds.
                    if let Effect::Send { to, message } = effect
                        && (to != 3 || round < 9)
                    {
                        messages.push((to, from, message));
                    }
                }
            }
        }
    }
    disks
}

fn draft(device: &str) -> AtomDraft {
    AtomDraft::new(
        "controller",
        Payload::Mode(Mode {
            from: "grid".to_owned(),
            to: "island".to_owned(),
            reason: device.to_owned(),
        }),
    )
}

/// All that a replica says of what it knows; `disks` are its.
fn knowledge(replica: &Replica, disks: &Disks) -> Vec<String> {
    let mut said = vec![format!("{} {:?}", replica.clock(), replica.root())];
    said.extend((0..4).map(|node| format!("{node} holds {}", replica.held(node))));
    said.push(format!("{} are open", replica.open_atoms()));
    said.push(format!("{:?}", replica.accused()));
    let logs = disks.0.iter().map(MemoryStorage::disk);
    for (name, file) in logs.flat_map(|disk| disk.files) {
        if name.starts_with("segment-") {
            for atom in atoms(&file.bytes, &replica.log().universe_id()) {
                said.push(format!("{atom} {:?}", replica.standing(&atom)));
            }
        }
    }
    said
}

/// The atoms of a segment: a frame is length, checksum, type and payload; an entry
/// has type 3.
fn atoms(bytes: &[u8], id: &UniverseId) -> Vec<AtomId> {
    let (mut at, mut atoms) = (0, Vec::new());
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let payload = &bytes[at + 9..at + 9 + length];
        if bytes[at + 8] == 3 {
            atoms.push(Entry::from_bytes(payload, id).unwrap().atom.id());
        }
        at += 9 + length;
    }
    atoms
}

#[test]
fn a_replica_knows_by_its_indexes_what_it_knows_by_its_logs() {
    let universe = universe(4);
    for (at, disks) in killed(&universe).iter().enumerate() {
        let me = at as u8 + 1;
        let mut with = disks.copied(|_| true).open(&universe, me);
        assert_eq!(with.unread().len(), 4, "each log of node {me} has an index");
        let plain = disks.copied(|name| !name.starts_with("index-"));
        let mut without = plain.open(&universe, me);
        assert_eq!(without.unread(), vec![]);
        let known = knowledge(&with, disks);
        assert!(known.len() > 40, "{}", known.len());
        assert_eq!(known, knowledge(&without, disks), "node {me}");
        // What others have witnessed and this one has not is witnessed now, in both.
        let now = NOW + 10_000_000_000;
        let (one, other) = (with.step(now), without.step(now));
        assert_eq!(one, other, "node {me}");
        assert_eq!(with.root(), without.root());
    }
}

#[test]
fn an_index_of_another_log_is_told_of_and_not_believed() {
    let universe = universe(4);
    let disks = killed(&universe);
    // The copy of node 2's log gets the index of the copy of node 3's.
    let mixed = disks[0].copied(|_| true);
    mixed.0[1].set(|disk| {
        disk.files.retain(|name, _| !name.starts_with("index-"));
        for (name, file) in mixed.0[2].disk().files {
            if name.starts_with("index-") {
                disk.files.insert(name, file);
            }
        }
    });
    let mut bent = mixed.open(&universe, 1);
    let honest = disks[0].copied(|_| true).open(&universe, 1);
    assert_eq!(bent.unread().len(), 3);
    assert_eq!(knowledge(&bent, &disks[0]), knowledge(&honest, &disks[0]));
    let told = bent.step(NOW + 10_000_000_000);
    let told = told.iter().find_map(|effect| match effect {
        Effect::Faulty { node: 0, what } => Some(what.as_str()),
        _ => None,
    });
    let told = told.unwrap_or_default();
    assert!(
        told.contains("the index beside the log of `node-2`"),
        "{told}"
    );
}

#[test]
fn a_log_that_turns_out_to_be_damaged_signs_nothing_more() {
    let universe = universe(4);
    let disks = &killed(&universe)[0];
    let mut replica = disks.open(&universe, 1);
    let clock = replica.clock();
    let why = ledger_node::StorageError::damaged("segment-00000001.log", "at byte 7: x");
    replica.damaged(0, why);
    replica.submit(NOW + 10_000_000_000, vec![draft("inverter-1")]);
    let effects = replica.step(NOW + 10_000_000_000);
    assert_eq!(replica.clock(), clock);
    assert!(!effects.iter().any(|effect| matches!(
        effect,
        Effect::Send {
            message: crate::Message::Batch { node: 0, .. },
            ..
        }
    )));
    let told = effects.iter().any(|effect| {
        matches!(
            effect,
            Effect::Faulty { node: 0, what } if what.contains("ledger-corrupt")
        )
    });
    assert!(told, "{effects:?}");
    // A copy that is damaged stops nobody, and is read whole the next time.
    let mut replica = disks.copied(|_| true).open(&universe, 1);
    let why = ledger_node::StorageError::damaged("segment-00000001.log", "at byte 7: x");
    replica.damaged(2, why);
    replica.submit(NOW + 10_000_000_000, vec![draft("inverter-1")]);
    replica.step(NOW + 10_000_000_000);
    assert!(replica.clock() > clock);
}
