//! How long an append takes here: `cargo run --release -p ledger-node --example
//! append_speed [FOLDER]`. It writes to a new folder inside FOLDER (default: the
//! folder for temporary files) and removes it. Times are wall times; compare
//! their ratios rather than the values of a busy machine.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ledger_core::payload::{Dispatch, DispatchKind, Setpoint};
use ledger_core::universe::{NodeMember, SHARD_BITS_DEFAULT, Suite};
use ledger_core::{KnownKeys, Party, Payload, Role, SecretKey, Universe};
use ledger_node::{AtomDraft, Durability, Keyring, NodeLog};

/// Repetitions of each measurement.
const REPETITIONS: usize = 300;

fn universe(node: &SecretKey, controller: &SecretKey) -> Universe {
    let party = Party {
        name: "controller".to_owned(),
        roles: vec![Role::Dispatcher],
        key: controller.public(),
    };
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
        parties: vec![party],
        federation: None,
    }
}

fn dispatch(device: usize) -> AtomDraft {
    let dispatch = Dispatch {
        device: format!("inverter-{device}"),
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

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |per_mille: usize| times[times.len() * per_mille / 1000].as_secs_f64() * 1e6;
    println!(
        "{what:<28} p50 {:>8.0} us   p99 {:>8.0} us",
        at(500),
        at(990)
    );
}

fn times(
    mut work: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<Vec<Duration>, Box<dyn Error>> {
    (0..REPETITIONS)
        .map(|_| {
            let begun = Instant::now();
            work()?;
            Ok(begun.elapsed())
        })
        .collect()
}

fn measure(folder: &Path) -> Result<(), Box<dyn Error>> {
    let (node, controller) = (
        SecretKey::from_seed(&[1; 32]),
        SecretKey::from_seed(&[2; 32]),
    );
    let digest = [7; 32];
    let signature = controller.sign(&digest)?;
    let public = controller.public();
    let closed = SecretKey::from_bytes(&controller.to_bytes())?;
    let known = KnownKeys::of([public]);
    print("sign", times(|| Ok(closed.sign(&digest).map(|_| ())?))?);
    print(
        "sign, key from a seed",
        times(|| Ok(controller.sign(&digest).map(|_| ())?))?,
    );
    print("verify", times(|| Ok(public.verify(&digest, &signature)?))?);
    print(
        "verify, known key",
        times(|| Ok(known.verify(&public, &digest, &signature)?))?,
    );
    for durability in [Durability::Buffered, Durability::Fsync] {
        for count in [1, 10] {
            let run = folder.join(format!("{durability:?}-{count}"));
            std::fs::create_dir(&run)?;
            let keys =
                Keyring::new("node-1", node.clone()).with_party("controller", controller.clone());
            let mut log = NodeLog::create(&run, &universe(&node, &controller), keys, durability)?;
            let mut now_utc_ns = 0;
            let appends = times(|| {
                now_utc_ns += 20_000_000;
                log.append_batch(now_utc_ns, (0..count).map(dispatch).collect())?;
                Ok(())
            })?;
            print(&format!("append {count:>2} {durability:?}"), appends);
            log.close(now_utc_ns)?;
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = parent.join(format!("append-speed-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let measured = measure(&folder);
    std::fs::remove_dir_all(&folder)?;
    measured
}
