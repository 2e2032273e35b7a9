//! A real process is killed while it appends; nothing it was told is lost.

use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use ledger_core::payload::Mode;
use ledger_core::universe::{NodeMember, SHARD_BITS_DEFAULT, Suite};
use ledger_core::{Party, Payload, Role, SecretKey, Universe};
use ledger_node::{AtomDraft, Durability, Keyring, NodeLog};
use ledger_verify::verify;

/// Tells the writing process where to write.
const RUN_FOLDER: &str = "LEDGER_KILLED_RUN_FOLDER";

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn keys() -> Keyring {
    Keyring::new("node-1", key(1)).with_party("controller", key(2))
}

/// Appends until it is killed, and prints each clock it was told.
fn append_for_ever(run: &Path) -> Result<(), Box<dyn Error>> {
    let controller = Party {
        name: "controller".to_owned(),
        roles: vec![Role::Dispatcher],
        key: key(2).public(),
    };
    let universe = Universe {
        version: 1,
        suite: Suite::Sha3Secp256k1,
        name: "killed".to_owned(),
        created_utc_ns: 0,
        shard_bits: SHARD_BITS_DEFAULT,
        nodes: vec![NodeMember {
            name: "node-1".to_owned(),
            key: key(1).public(),
        }],
        parties: vec![controller],
        federation: None,
    };
    let mut log = NodeLog::create(run, &universe, keys(), Durability::Buffered)?;
    for now in 0.. {
        let mode = Mode {
            from: "a".to_owned(),
            to: "b".to_owned(),
            reason: "x".repeat(1000),
        };
        let drafts = vec![AtomDraft::new("controller", Payload::Mode(mode)); 3];
        for receipt in log.append_batch(now, drafts)? {
            // On a line of its own, whatever the test runner has printed.
            println!("\ntold {}", receipt.clock);
        }
    }
    Ok(())
}

#[test]
fn a_killed_writer_loses_nothing_that_it_was_told() {
    if let Some(run) = std::env::var_os(RUN_FOLDER) {
        append_for_ever(Path::new(&run)).unwrap();
        return;
    }
    for appends in [1, 7, 40, 90] {
        let run = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_killed_writer_loses_nothing_that_it_was_told",
                "--nocapture",
            ])
            .env(RUN_FOLDER, run.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let told = |line: String| {
            line.strip_prefix("told ")
                .and_then(|clock| clock.parse::<u64>().ok())
        };
        let told: Vec<u64> = lines.filter_map(told).take(appends).collect();
        // SIGKILL, wherever the child is by now.
        child.kill().unwrap();
        child.wait().unwrap();
        let last = *told.last().unwrap();
        assert_eq!(last, appends as u64);
        let report = verify(run.path());
        assert!(
            report.is_ok() && report.entries >= last && !report.closed,
            "{report}"
        );
        let log = NodeLog::open(run.path(), keys(), Durability::Fsync).unwrap();
        assert_eq!(
            (log.clock(), log.torn_bytes()),
            (report.entries, report.tail_bytes)
        );
        log.close(1 << 60).unwrap();
        assert!(verify(run.path()).closed);
    }
}
