//! Real files: the lock, the errors of the operating system, reading back.

use super::*;
use crate::{FileStorage, Storage as _, StorageError, entries, show};

#[test]
fn a_second_writer_is_kept_out() {
    let run = tempfile::tempdir().unwrap();
    let log = NodeLog::create(run.path(), &universe(), keys(), Durability::Fsync).unwrap();
    let second = NodeLog::open(run.path(), keys(), Durability::Fsync).unwrap_err();
    assert_eq!(second.code(), "ledger-locked");
    drop(log);
    NodeLog::open(run.path(), keys(), Durability::Fsync).unwrap();
    let again = NodeLog::create(run.path(), &universe(), keys(), Durability::Fsync).unwrap_err();
    assert_eq!(again.code(), "ledger-exists");
    let nowhere = NodeLog::open(&run.path().join("none"), keys(), Durability::Fsync).unwrap_err();
    assert_eq!(nowhere.code(), "ledger-missing");
}

#[test]
fn foreign_keys_do_not_open_a_log() {
    let run = tempfile::tempdir().unwrap();
    NodeLog::create(run.path(), &universe(), keys(), Durability::Fsync)
        .unwrap()
        .close(NOW)
        .unwrap();
    for foreign in [
        Keyring::new("node-1", key(9)),
        Keyring::new("node-2", key(1)),
        Keyring::new("node-1", key(1)).with_party("controller", key(9)),
        Keyring::new("node-1", key(1)).with_party("stranger", key(2)),
    ] {
        let found = NodeLog::open(run.path(), foreign, Durability::Fsync).unwrap_err();
        assert_eq!(found.code(), "ledger-key");
    }
    // A keyring may hold fewer parties than the universe names.
    NodeLog::open(
        run.path(),
        Keyring::new("node-1", key(1)),
        Durability::Fsync,
    )
    .unwrap();
}

#[test]
fn a_device_without_space_is_named_so_by_the_operating_system() {
    let full = std::path::Path::new("/dev/full");
    if !full.exists() {
        println!("skipped: there is no /dev/full");
        return;
    }
    // That the log then stops is shown in memory; here is what the system says.
    let run = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(full, run.path().join("segment")).unwrap();
    let mut storage = FileStorage::open(run.path()).unwrap();
    let found = storage.append("segment", b"bytes").unwrap_err();
    let found = StorageError::new("append to", "segment", &found);
    assert_eq!(found.fault.code(), "ledger-disk-full");
}

#[test]
fn the_entries_and_their_rendering_read_back_without_keys() {
    let run = tempfile::tempdir().unwrap();
    let mut log = NodeLog::create(run.path(), &universe(), keys(), small_segments()).unwrap();
    let mut receipts = log
        .append_batch(NOW, vec![dispatch("inverter-1", 1)])
        .unwrap();
    let draft = mode("island").after(vec![receipts[0].atom_id]);
    for _ in 0..10 {
        receipts.extend(log.append_batch(NOW, vec![draft.clone()]).unwrap());
    }
    // Reading does not need the log to be closed.
    let read: Vec<_> = entries(run.path()).unwrap().map(Result::unwrap).collect();
    let ids = |r: &Receipt| (r.clock, r.atom_id);
    assert_eq!(
        read.iter()
            .map(|e| (e.clock, e.atom.id()))
            .collect::<Vec<_>>(),
        receipts.iter().map(ids).collect::<Vec<_>>()
    );
    let shown: Vec<_> = show(run.path()).unwrap().map(Result::unwrap).collect();
    assert_eq!(shown.len(), 11);
    let first = &shown[0];
    assert_eq!(first["clock"], 1);
    assert_eq!(first["atom"], receipts[0].atom_id.to_string());
    assert_eq!(first["kind"], "dispatch");
    assert_eq!(first["author"], "controller");
    assert_eq!(first["utc"], "2026-09-21T14:13:20.000Z");
    assert_eq!(first["shards"].as_array().unwrap().len(), 2);
    assert_eq!(first["payload"]["setpoint"]["p_milliwatts"], 1_500_000);
    assert!(first["payload"]["setpoint"]["q_millivars"].is_null());
    assert_eq!(shown[1]["deps"][0], receipts[0].atom_id.to_string());
}
