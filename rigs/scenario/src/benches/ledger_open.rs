//! `ledger-open`: how long a node takes to open a log of many entries, and all that it keeps, after
//! it was closed in good order and after `kill -9`; beside reading and hashing the bytes.
//!
//! It writes the log of one of four nodes and, up to [`COPIES_MAX`], its copies of the three others'
//! logs, each of so many entries. Each opening is a process of its own, so that the memory is that of the opening. What is
//! killed is a process that has opened all of it and is writing on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ledger_core::merkle::leaf_hash;
use ledger_core::payload::{MeterReading, ReadingQuality};
use ledger_core::universe::{NodeMember, Suite};
use ledger_core::{Federation, KnownKeys, Party, Payload, Role, SecretKey, Universe, UniverseId};
use ledger_node::{
    AtomDraft, Durability, FileStorage, IndexOptions, Keyring, Mirror, NodeLog, NodeLogOptions,
    Record, Storage, index::INDEX_ENTRIES_DEFAULT,
};
use ledger_replica::{Replica, Start, Stores};
use serde_json::{Value, json};

use super::child::{Kept, tell};
use super::usage::{Process, cpu, load};
use super::{BenchError, at_most, rounded};

/// Nodes of the universe. Chosen: the smallest that bears a liar.
const NODES: u8 = 4;

/// Entries of a batch. Chosen: the largest one of a node among several.
const BATCH: usize = 256;

/// Most entries of which the copies are written, too.
/// Chosen: seven logs are written for one that is measured; of a million that takes longer than a bench may.
const COPIES_MAX: usize = 200_000;

/// Batches that the process which is killed has written before. Chosen: more than a block of the index,
/// so that a killed node has some behind its last block.
const BATCHES_BEFORE_KILL: usize = 6;

/// What is asked of a log of a million entries, in seconds. Chosen: by who asked for it.
const CLOSED_MAX_S: f64 = 2.0;
const KILLED_MAX_S: f64 = 10.0;

/// Child processes: they work in the folder that they are started in.
pub(super) const OPENS_LOG: &str = "ledger-opens-log";
pub(super) const OPENS_NODE: &str = "ledger-opens-node";
pub(super) const WRITES_ON: &str = "ledger-writes-on";

/// Writes logs of so many entries and opens them.
///
/// # Errors
/// They cannot be written or opened, or no child process can be started.
pub fn measure(entries: usize) -> Result<Value, BenchError> {
    let folder = std::env::temp_dir().join(format!("gridrig-ledger-open-{}", std::process::id()));
    std::fs::create_dir_all(&folder)
        .map_err(BenchError::system("there is no folder for the logs"))?;
    let measured = measure_in(&folder, entries);
    let removed = std::fs::remove_dir_all(&folder);
    let measured = measured?;
    removed.map_err(BenchError::system("the logs cannot be removed"))?;
    Ok(measured)
}

fn measure_in(folder: &Path, entries: usize) -> Result<Value, BenchError> {
    let load = load();
    let has_copies = entries <= COPIES_MAX;
    let mut all = Logs::open(folder, has_copies)?;
    while all.own.clock() < entries as u64 {
        all.write(BATCH.min(entries - all.own.clock() as usize))?;
    }
    all.close()?;
    let bound = bound(folder)?;
    let node = || has_copies.then(|| opened(OPENS_NODE, folder)).transpose();
    let closed_log = opened(OPENS_LOG, folder)?;
    let closed_node = node()?;
    kill(folder)?;
    let killed_log = opened(OPENS_LOG, folder)?;
    // Opening has mended what was behind the index, so it is killed once more.
    kill(folder)?;
    let killed_node = node()?;
    let beside = |asked: f64, opened: &Value| {
        let seconds = |of: &str| opened[of].as_f64().unwrap_or(f64::NAN);
        json!({ "wall_s": at_most(asked, seconds("s")), "cpu_s": at_most(asked, seconds("cpu_s")) })
    };
    Ok(json!({
        "bench": "ledger-open",
        "optimised": !cfg!(debug_assertions),
        "load": load,
        "entries": entries,
        "bound": bound,
        "closed": { "log": closed_log, "node": closed_node },
        "killed": { "log": killed_log, "node": killed_node },
        "log_after_a_good_end": beside(CLOSED_MAX_S, &closed_log),
        "log_after_a_kill": beside(KILLED_MAX_S, &killed_log),
    }))
}

/// Opens in a process of its own.
fn opened(role: &'static str, folder: &Path) -> Result<Value, BenchError> {
    let (child, said) = Kept::start_in(role, folder)?;
    child.finish()?;
    Ok(said)
}

/// Lets a process open all, write on, and be killed while it does.
fn kill(folder: &Path) -> Result<(), BenchError> {
    let (child, _) = Kept::start_in(WRITES_ON, folder)?;
    // Signal 9.
    drop(child);
    Ok(())
}

/// What only reading and hashing the bytes of the own log takes.
fn bound(folder: &Path) -> Result<Value, BenchError> {
    let failed = "the log cannot be read";
    let (began, before) = (Instant::now(), cpu());
    let mut bytes = 0;
    for file in std::fs::read_dir(folder.join("own")).map_err(BenchError::system(failed))? {
        let file = file.map_err(BenchError::system(failed))?;
        if file.file_name().to_string_lossy().starts_with("segment-") {
            let read = std::fs::read(file.path()).map_err(BenchError::system(failed))?;
            bytes += read.len();
            std::hint::black_box(leaf_hash(&UniverseId::NONE, &read));
        }
    }
    Ok(json!({
        "what": "reading and hashing the bytes of the log",
        "megabytes": rounded(bytes as f64 / 1e6),
        "s": rounded(began.elapsed().as_secs_f64()),
        "cpu_s": rounded((cpu() - before).as_secs_f64()),
    }))
}

/// The role [`OPENS_LOG`].
pub(super) fn open_log() -> Result<(), BenchError> {
    timed(|| {
        let log = NodeLog::open_on(
            storage(Path::new("own"))?,
            keyring(1),
            options(),
            &mut |_| {},
        )
        .map_err(failed)?;
        Ok((log.clock(), format!("{:?}", log.index_found())))
    })
}

/// The role [`OPENS_NODE`].
pub(super) fn open_node() -> Result<(), BenchError> {
    timed(|| {
        let mut copies = vec![None];
        for n in 2..=NODES {
            copies.push(Some(storage(&copy_of(Path::new(""), n))?));
        }
        let own = storage(Path::new("own"))?;
        let stores = Stores { own, copies };
        let replica = Replica::open(&universe(), keyring(1), stores, options(), Start::GoesOn)
            .map_err(failed)?;
        Ok((replica.clock(), format!("{:?}", replica.unread())))
    })
}

/// The role [`WRITES_ON`]: until it is killed.
pub(super) fn write_on() -> Result<(), BenchError> {
    let has_copies = copy_of(Path::new(""), 2).exists();
    let mut all = Logs::open(Path::new(""), has_copies)?;
    for _ in 0..BATCHES_BEFORE_KILL {
        all.write(BATCH)?;
    }
    tell(&json!({ "entries": all.own.clock() }))?;
    // It is killed at once; a parent that is gone must not leave it writing for ever.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        all.write(BATCH)?;
    }
    Ok(())
}

fn timed(open: impl FnOnce() -> Result<(u64, String), BenchError>) -> Result<(), BenchError> {
    let (began, before) = (Instant::now(), cpu());
    let (entries, from_index) = open()?;
    let (took, spent) = (began.elapsed(), cpu() - before);
    tell(&json!({
        "entries": entries,
        "s": rounded(took.as_secs_f64()),
        "cpu_s": rounded(spent.as_secs_f64()),
        "rss_max_kib": Process(std::process::id()).size()?.rss_max_kib,
        "out_of_the_index": from_index,
    }))
}

/// All logs, and who follows them.
struct Logs {
    own: NodeLog,
    others: Vec<(NodeLog, Mirror)>,
}

impl Logs {
    /// Those in a folder, begun where there are none.
    fn open(folder: &Path, has_copies: bool) -> Result<Logs, BenchError> {
        let universe = universe();
        let id = universe.id().map_err(failed)?;
        let log = |path: &Path, n: u8| -> Result<NodeLog, BenchError> {
            let is_new = !path.exists();
            let storage = storage(path)?;
            let opened = match is_new {
                true => NodeLog::create_on(storage, &universe, keyring(n), options()),
                false => NodeLog::open_on(storage, keyring(n), options(), &mut |_| {}),
            };
            opened.map_err(failed)
        };
        let known = Arc::new(KnownKeys::of_universe(&universe));
        let mut own = log(&folder.join("own"), 1)?;
        let mut others = Vec::new();
        for n in (2..=NODES).filter(|_| has_copies) {
            let mut far = log(&folder.join(format!("far-{n}")), n)?;
            let index = IndexOptions {
                entries: INDEX_ENTRIES_DEFAULT,
                key: key(1),
            };
            let by = (key(n).public(), Arc::clone(&known));
            let copy = storage(&copy_of(folder, n))?;
            let mut copy =
                Mirror::open_on(copy, id, by, Some(index), &mut |_| {}).map_err(failed)?;
            follow(&mut own, &mut far, &mut copy)?;
            others.push((far, copy));
        }
        Ok(Logs { own, others })
    }

    /// A batch of what node 1 says, and what the others witness of it.
    fn write(&mut self, entries: usize) -> Result<(), BenchError> {
        let first = self.own.clock();
        let now = first as i64 * 1_000_000;
        let drafts = (first..first + entries as u64).map(reading).collect();
        let appended = self.own.append_records(vec![(now, drafts)]);
        for (log, copy) in &mut self.others {
            let atoms = appended.entries.iter().map(|entry| entry.atom.clone());
            let seen = atoms.map(|atom| Record::Seen(Box::new(atom))).collect();
            let witnessed = log.append_records(vec![(now, seen)]);
            copy.follow(&witnessed.bytes).map_err(failed)?;
        }
        Ok(())
    }

    fn close(mut self) -> Result<(), BenchError> {
        let now = self.own.clock() as i64 * 1_000_000;
        for (_, copy) in &mut self.others {
            copy.finish();
            copy.sync().map_err(failed)?;
        }
        self.own.close(now).map_err(failed)?;
        Ok(())
    }
}

/// Brings another's log and its copy up to the own log: who is killed in between leaves them behind.
fn follow(own: &mut NodeLog, far: &mut NodeLog, copy: &mut Mirror) -> Result<(), BenchError> {
    let mut seen = vec![];
    for clock in far.clock() + 1..=own.clock() {
        let atom = own.atom_at(clock).map_err(failed)?;
        seen.extend(atom.map(|atom| Record::Seen(Box::new(atom))));
    }
    if !seen.is_empty() {
        far.append_records(vec![(own.clock() as i64 * 1_000_000, seen)]);
    }
    if copy.size() < far.clock() {
        for bytes in far.batches_after(copy.size(), u64::MAX).map_err(failed)? {
            copy.follow(&bytes).map_err(failed)?;
        }
    }
    Ok(())
}

fn failed(what: impl std::fmt::Display) -> BenchError {
    BenchError::Run(what.to_string())
}

fn copy_of(folder: &Path, n: u8) -> PathBuf {
    folder.join(format!("copy-{n}"))
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn universe() -> Universe {
    let member = |n: u8| NodeMember {
        name: format!("node-{n}"),
        key: key(n).public(),
    };
    Universe {
        version: 2,
        suite: Suite::Sha3Secp256k1,
        name: "bench".to_owned(),
        created_utc_ns: 0,
        shard_bits: 1,
        nodes: (1..=NODES).map(member).collect(),
        parties: vec![Party {
            name: "meter".to_owned(),
            roles: vec![Role::Meter],
            key: key(101).public(),
        }],
        federation: Some(Federation {
            admin_threshold: 1,
            transport_keys: vec![[0; 32]; usize::from(NODES)],
            replicas: Federation::full_replication(u64::from(NODES), 1),
        }),
    }
}

fn keyring(n: u8) -> Keyring {
    let ring = Keyring::new(&format!("node-{n}"), key(n));
    match n {
        1 => ring.with_party("meter", key(101)),
        _ => ring,
    }
}

fn reading(n: u64) -> Record {
    let reading = MeterReading {
        participant: format!("house-{}", n % 50),
        interval_start_utc_ns: n as i64,
        interval_ns: 1_000_000_000,
        energy_milliwatt_hours: Some(n as i64),
        quality: ReadingQuality::Valid,
    };
    let draft = AtomDraft::new("meter", Payload::MeterReading(reading));
    Record::Draft(Box::new(draft))
}

fn storage(folder: &Path) -> Result<Box<dyn Storage>, BenchError> {
    let failed = "the log cannot be opened";
    std::fs::create_dir_all(folder).map_err(BenchError::system(failed))?;
    let storage = FileStorage::open(folder).map_err(BenchError::system(failed))?;
    Ok(Box::new(storage))
}

fn options() -> NodeLogOptions {
    NodeLogOptions::from(Durability::Buffered).indexed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_that_were_left_open_are_gone_on_with_and_all_of_a_node_opens() {
        let folder = tempfile::tempdir().unwrap();
        for clock in [300, 610] {
            let mut all = Logs::open(folder.path(), true).unwrap();
            all.write(BATCH).unwrap();
            all.write(300 - BATCH).unwrap();
            assert_eq!(all.own.clock(), clock);
            for (far, copy) in &all.others {
                assert_eq!((far.clock(), copy.size()), (clock, clock));
            }
            // As when it is killed before the others have heard of it.
            let drafts = (clock..clock + 10).map(reading).collect();
            all.own.append_records(vec![(0, drafts)]);
        }
        drop(Logs::open(folder.path(), true).unwrap());
        let own = storage(&folder.path().join("own")).unwrap();
        let copy = |n| Some(storage(&copy_of(folder.path(), n)).unwrap());
        let copies = vec![None, copy(2), copy(3), copy(4)];
        let stores = Stores { own, copies };
        let replica = Replica::open(&universe(), keyring(1), stores, options(), Start::GoesOn);
        assert_eq!(replica.unwrap().held(3), 620);
    }
}
