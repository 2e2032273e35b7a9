//! How long a node takes to open what it keeps: `cargo run --release -p
//! ledger-replica --example open_speed [ENTRIES] [FOLDER]` (1,000,000 and the folder
//! for temporary files).
//!
//! It writes the log of one of four nodes and its copies of the three others' logs,
//! each of so many entries, and opens them: closed in good order, then left as a
//! process that is killed leaves them, then without an index. Each opening is a
//! process of its own, so that the memory is that of the opening. Beside them stands
//! what only reading and hashing the bytes of the own log takes. The result is JSON.

#![allow(
    clippy::disallowed_methods,
    reason = "the crate is pure; this measures it, from the edge"
)]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use ledger_core::merkle::leaf_hash;
use ledger_core::payload::{MeterReading, ReadingQuality};
use ledger_core::universe::{NodeMember, Suite};
use ledger_core::{Federation, Party, Payload, Role, SecretKey, Universe, UniverseId};
use ledger_node::{
    AtomDraft, Durability, FileStorage, IndexOptions, Keyring, Mirror, NodeLog, NodeLogOptions,
    Record, Storage, index::INDEX_ENTRIES_DEFAULT,
};
use ledger_replica::{Replica, Start, Stores};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Nodes of the universe. Chosen: the smallest that bears a liar.
const NODES: u8 = 4;

/// Entries of a batch. Chosen: the largest one of a node among several.
const BATCH: usize = 256;

/// Entries behind the last batch of the log that was closed.
const TAIL: usize = 1_000;

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
        name: "speed".to_owned(),
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

fn reading(n: usize) -> Record {
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

fn storage(folder: &Path) -> Outcome<Box<dyn Storage>> {
    std::fs::create_dir_all(folder)?;
    Ok(Box::new(FileStorage::open(folder)?))
}

fn options() -> NodeLogOptions {
    NodeLogOptions::from(Durability::Buffered).indexed()
}

fn index() -> IndexOptions {
    IndexOptions {
        entries: INDEX_ENTRIES_DEFAULT,
        key: key(1),
    }
}

/// Writes all logs: what node 1 says, and the others witness.
fn write(folder: &Path, entries: usize) -> Outcome<()> {
    let universe = universe();
    let id = universe.id()?;
    let mut own = NodeLog::create_on(
        storage(&folder.join("own"))?,
        &universe,
        keyring(1),
        options(),
    )?;
    let mut others = Vec::new();
    for n in 2..=NODES {
        let far = storage(&folder.join(format!("far-{n}")))?;
        let log = NodeLog::create_on(far, &universe, keyring(n), Durability::Buffered)?;
        let copy = storage(&folder.join(format!("copy-{n}")))?;
        let copy = Mirror::open_on(copy, id, key(n).public(), Some(index()), &mut |_| {})?;
        others.push((log, copy));
    }
    let total = entries + TAIL;
    let mut has_closed = false;
    for first in (0..total).step_by(BATCH) {
        let now = first as i64 * 1_000_000;
        let drafts = (first..(first + BATCH).min(total)).map(reading).collect();
        let appended = own.append_records(vec![(now, drafts)]);
        let seen = || {
            let atoms = appended.entries.iter().map(|entry| entry.atom.clone());
            atoms.map(|atom| Record::Seen(Box::new(atom))).collect()
        };
        for (log, copy) in &mut others {
            let witnessed = log.append_records(vec![(now, seen())]);
            copy.follow(&witnessed.bytes)?;
        }
        if first + BATCH >= entries && !has_closed {
            // As it would be closed: kept aside, and gone on with.
            has_closed = true;
            for (_, copy) in &mut others {
                copy.finish();
            }
            own.close(now)?;
            copy_all(folder, &folder.join("closed"))?;
            own = NodeLog::open_on(
                storage(&folder.join("own"))?,
                keyring(1),
                options(),
                &mut |_| {},
            )?;
        }
    }
    drop((own, others));
    copy_all(folder, &folder.join("killed"))?;
    let plain = folder.join("plain");
    copy_all(folder, &plain)?;
    for kept in kept(&plain)? {
        for file in std::fs::read_dir(kept)? {
            let file = file?;
            if file.file_name().to_string_lossy().starts_with("index-") {
                std::fs::remove_file(file.path())?;
            }
        }
    }
    Ok(())
}

/// The folders of what node 1 keeps.
fn kept(folder: &Path) -> Outcome<Vec<std::path::PathBuf>> {
    let mut folders = vec![folder.join("own")];
    folders.extend((2..=NODES).map(|n| folder.join(format!("copy-{n}"))));
    Ok(folders)
}

fn copy_all(from: &Path, to: &Path) -> Outcome<()> {
    for (from, to) in kept(from)?.into_iter().zip(kept(to)?) {
        std::fs::create_dir_all(&to)?;
        for file in std::fs::read_dir(from)? {
            let file = file?;
            std::fs::copy(file.path(), to.join(file.file_name()))?;
        }
    }
    Ok(())
}

/// The most memory that this process has had, in megabytes.
fn peak_megabytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}

/// Seconds of CPU that this process has taken; what a busy machine cannot stretch.
fn cpu_s() -> Option<f64> {
    // Of the fields behind the name in brackets, the 12th and 13th are ticks of a
    // hundredth of a second (proc(5)).
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let behind = stat.rsplit_once(')')?.1;
    let fields: Vec<&str> = behind.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

/// Opens the log alone, or all that the node keeps, and says how long it took.
fn open(folder: &Path, what: &str) -> Outcome<Value> {
    let (began, cpu) = (Instant::now(), cpu_s());
    let own = storage(&folder.join("own"))?;
    let (entries, unread) = match what {
        "log" => {
            let log = NodeLog::open_on(own, keyring(1), options(), &mut |_| {})?;
            (log.clock(), format!("{:?}", log.index_found()))
        }
        _ => {
            let mut copies = vec![None];
            for n in 2..=NODES {
                copies.push(Some(storage(&folder.join(format!("copy-{n}")))?));
            }
            let stores = Stores { own, copies };
            let start = Start::GoesOn;
            let replica = Replica::open(&universe(), keyring(1), stores, options(), start)?;
            (replica.clock(), format!("{:?}", replica.unread()))
        }
    };
    let took = began.elapsed().as_secs_f64();
    Ok(json!({
        "opened": what,
        "entries": entries,
        "s": took,
        "cpu_s": cpu_s().zip(cpu).map(|(after, before)| after - before),
        "peak_megabytes": peak_megabytes(),
        "out_of_the_index": unread,
    }))
}

/// What only reading and hashing the bytes of the own log takes.
fn bound(folder: &Path) -> Outcome<Value> {
    let (began, cpu) = (Instant::now(), cpu_s());
    let mut bytes = 0;
    for file in std::fs::read_dir(folder.join("own"))? {
        let file = file?;
        if file.file_name().to_string_lossy().starts_with("segment-") {
            let read = std::fs::read(file.path())?;
            bytes += read.len();
            std::hint::black_box(leaf_hash(&UniverseId::NONE, &read));
        }
    }
    Ok(json!({
        "bound": "reading and hashing the bytes of the log",
        "megabytes": bytes as f64 / 1e6,
        "s": began.elapsed().as_secs_f64(),
        "cpu_s": cpu_s().zip(cpu).map(|(after, before)| after - before),
    }))
}

fn all(folder: &Path, entries: usize) -> Outcome<()> {
    write(folder, entries)?;
    let mut rows = vec![json!({ "optimised": !cfg!(debug_assertions), "bound": bound(folder)? })];
    for state in ["closed", "killed", "plain"] {
        for what in ["log", "node"] {
            let me = std::env::current_exe()?;
            let mut child = std::process::Command::new(me);
            child.args(["--open", what]).arg(folder.join(state));
            let out = child.output()?;
            if !out.status.success() {
                return Err(String::from_utf8_lossy(&out.stderr).into());
            }
            let mut row: Value = serde_json::from_slice(&out.stdout)?;
            row["state"] = state.into();
            rows.push(row);
        }
    }
    println!("{}", serde_json::to_string_pretty(&rows)?);
    Ok(())
}

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, what, folder] = words.as_slice()
        && flag == "--open"
    {
        println!("{}", open(Path::new(folder), what)?);
        return Ok(());
    }
    let entries = words.first().map_or(Ok(1_000_000), |word| word.parse())?;
    let parent = words.get(1).map_or_else(std::env::temp_dir, Into::into);
    let folder = parent.join(format!("open-speed-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let measured = all(&folder, entries);
    std::fs::remove_dir_all(&folder)?;
    measured
}
