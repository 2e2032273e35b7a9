//! How long a log takes to open: `cargo run --release -p ledger-node --example
//! open_speed [ENTRIES] [FOLDER]` (1,000,000 and the folder for temporary files).
//! It writes a log, closes it in good order and opens it, then leaves it as a
//! process that is killed does and opens it again. Beside it stands what only
//! hashing the same bytes takes, so that the ratio says more than the times.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ledger_core::UniverseId;
use ledger_core::merkle::leaf_hash;
use ledger_core::payload::{Dispatch, DispatchKind, Setpoint};
use ledger_core::universe::{NodeMember, SHARD_BITS_DEFAULT, Suite};
use ledger_core::{Party, Payload, Role, SecretKey, Universe};
use ledger_node::log::LEDGER_FOLDER;
use ledger_node::{AtomDraft, Durability, Keyring, NodeLog};

/// Entries of a batch. Chosen: the largest one of a node among several.
const BATCH: usize = 256;

fn universe() -> Universe {
    let [node, controller] = keys();
    Universe {
        version: 1,
        suite: Suite::Sha3Secp256k1,
        name: "speed".to_owned(),
        created_utc_ns: 0,
        shard_bits: SHARD_BITS_DEFAULT,
        nodes: vec![NodeMember {
            name: "node-1".to_owned(),
            key: node.public(),
        }],
        parties: vec![Party {
            name: "controller".to_owned(),
            roles: vec![Role::Dispatcher],
            key: controller.public(),
        }],
        federation: None,
    }
}

fn keys() -> [SecretKey; 2] {
    [[1; 32], [2; 32]].map(|seed| SecretKey::from_seed(&seed))
}

fn keyring() -> Keyring {
    let [node, controller] = keys();
    Keyring::new("node-1", node).with_party("controller", controller)
}

fn dispatch(device: usize) -> AtomDraft {
    let dispatch = Dispatch {
        device: format!("inverter-{}", device % 50),
        kind: DispatchKind::Power,
        setpoint: Setpoint {
            p_milliwatts: Some(1_500_000),
            q_millivars: Some(-20_000),
            ..Setpoint::NONE
        },
        authority_epoch: 1,
        valid_from_utc_ns: 0,
        valid_until_utc_ns: 1_000_000_000,
        cause: None,
        why: "droop".to_owned(),
    };
    AtomDraft::new("controller", Payload::Dispatch(dispatch))
}

fn open(run: &Path, what: &str) -> Result<NodeLog, Box<dyn Error>> {
    let begun = Instant::now();
    let log = NodeLog::open(run, keyring(), Durability::Buffered)?;
    let took = begun.elapsed();
    let each = took.as_secs_f64() * 1e6 / log.clock().max(1) as f64;
    println!(
        "{what:<28} {:>8.2} s   {each:>6.2} us an entry",
        took.as_secs_f64()
    );
    Ok(log)
}

fn measure(run: &Path, entries: usize) -> Result<(), Box<dyn Error>> {
    let mut log = NodeLog::create(run, &universe(), keyring(), Durability::Buffered)?;
    let mut now_utc_ns = 0;
    for first in (0..entries).step_by(BATCH) {
        now_utc_ns += 20_000_000;
        let last = (first + BATCH).min(entries);
        log.append_batch(now_utc_ns, (first..last).map(dispatch).collect())?;
    }
    log.close(now_utc_ns)?;
    let mut bytes = Vec::new();
    for file in std::fs::read_dir(run.join(LEDGER_FOLDER))? {
        bytes.push(std::fs::read(file?.path())?);
    }
    let begun = Instant::now();
    for file in &bytes {
        std::hint::black_box(leaf_hash(&UniverseId::NONE, file));
    }
    let size: usize = bytes.iter().map(Vec::len).sum();
    drop(bytes);
    let (took, megabytes) = (begun.elapsed().as_secs_f64(), size as f64 / 1e6);
    println!(
        "{:<28} {took:>8.2} s   of {megabytes:.0} MB",
        "hashing its bytes once"
    );
    let mut log = open(run, "after a good end")?;
    // Nothing of a log that was closed is written any more; so it goes on, and is dropped.
    log.append_batch(now_utc_ns, vec![dispatch(0)])?;
    drop(log);
    open(run, "after it was killed")?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args_os().skip(1);
    let entries = words.next().map_or(Ok(1_000_000), |word| {
        word.to_string_lossy().parse::<usize>()
    })?;
    let parent = words.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = parent.join(format!("open-speed-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let measured = measure(&folder, entries);
    std::fs::remove_dir_all(&folder)?;
    measured
}
