//! Crashes and damage: what opening keeps, cuts off and refuses.

use super::*;

/// A log of three batches that was not closed.
fn written() -> (MemoryStorage, NodeLog) {
    let storage = MemoryStorage::default();
    let mut log = create(&storage, Durability::Fsync);
    log.append_batch(NOW, vec![dispatch("inverter-1", 1), mode("island")])
        .unwrap();
    log.append_batch(NOW, vec![reading()]).unwrap();
    log.append_batch(NOW, vec![mode("grid")]).unwrap();
    (storage, log)
}

const SEGMENT: &str = "segment-00000001.log";

#[test]
fn a_crash_at_any_byte_of_a_batch_loses_only_what_was_not_acknowledged() {
    let (storage, mut log) = written();
    let synced = storage.disk().files[SEGMENT].bytes.len();
    storage.set(|disk| disk.good_syncs = Some(0));
    log.append_batch(NOW, vec![dispatch("inverter-1", 2), mode("island")])
        .unwrap_err();
    storage.set(|disk| disk.good_syncs = None);
    let unsynced = storage.disk().files[SEGMENT].bytes.len() - synced;
    assert!(unsynced > 500);
    for kept in 0..=unsynced {
        let crashed = storage.after_crash(kept);
        let mut log = open(&crashed).unwrap_or_else(|e| panic!("{kept} of {unsynced}: {e}"));
        // The whole batch may have arrived although nobody was told.
        let (clock, torn) = if kept == unsynced {
            (6, 0)
        } else {
            (4, kept as u64)
        };
        assert_eq!((log.clock(), log.torn_bytes()), (clock, torn));
        let receipts = log.append_batch(NOW, vec![mode("island")]).unwrap();
        assert_eq!(clocks(&receipts), [clock + 1]);
        drop(log);
        assert_eq!(open(&crashed).unwrap().clock(), clock + 1);
    }
}

#[test]
fn what_opening_reads_back_is_on_stable_storage() {
    let storage = MemoryStorage::default();
    let mut log = create(&storage, Durability::Buffered);
    log.append_batch(NOW, vec![mode("island")]).unwrap();
    drop(log);
    // Only the process ended: the system still had the batch.
    assert_eq!(open(&storage).unwrap().clock(), 1);
    assert_eq!(open(&storage.after_crash(0)).unwrap().clock(), 1);
}

#[test]
fn any_changed_byte_of_a_written_ledger_is_refused_and_nothing_is_cut_off() {
    let check = |storage: &MemoryStorage| {
        for (name, file) in storage.disk().files {
            for at in 0..file.bytes.len() {
                // One bit, and turned to zero.
                for xor in [1 << (at % 8), file.bytes[at]] {
                    let mut disk = storage.disk();
                    disk.files.get_mut(&name).unwrap().bytes[at] ^= xor;
                    let changed = MemoryStorage::of(disk);
                    if xor != 0 {
                        assert!(open(&changed).is_err(), "{name} byte {at} xor {xor:02x}");
                        let length = changed.disk().files[&name].bytes.len();
                        assert_eq!(length, file.bytes.len(), "{name} byte {at} xor {xor:02x}");
                    }
                }
            }
        }
    };
    let (storage, log) = written();
    check(&storage);
    log.close(NOW).unwrap();
    check(&storage);
    // Closed without a single entry: the shortest batch there is.
    let empty = MemoryStorage::default();
    create(&empty, Durability::Fsync).close(NOW).unwrap();
    check(&empty);
}

#[test]
fn zeros_where_the_last_batch_never_arrived_are_cut_off() {
    let (storage, _) = written();
    let length = storage.disk().files[SEGMENT].bytes.len();
    for zeros in [1, 10, 100, 5000] {
        let mut disk = storage.disk();
        disk.files
            .get_mut(SEGMENT)
            .unwrap()
            .bytes
            .resize(length + zeros, 0);
        let log = open(&MemoryStorage::of(disk)).unwrap();
        assert_eq!((log.clock(), log.torn_bytes()), (4, zeros as u64));
    }
}

#[test]
fn damage_names_the_file_and_the_offset() {
    let (storage, _) = written();
    let length = storage.disk().files[SEGMENT].bytes.len();
    storage.set(|disk| disk.files.get_mut(SEGMENT).unwrap().bytes[length - 1] ^= 1);
    let found = open(&storage).unwrap_err();
    assert_eq!(found.code(), "ledger-corrupt");
    let expected = format!(
        "{SEGMENT} at byte {}: the end of a batch does not read",
        length - 49
    );
    assert!(found.to_string().contains(&expected), "{found}");
}

/// A log over several segments.
fn many_segments() -> MemoryStorage {
    let storage = MemoryStorage::default();
    let boxed = Box::new(storage.clone());
    let mut log = NodeLog::create_on(boxed, &universe(), keys(), small_segments()).unwrap();
    for _ in 0..8 {
        log.append_batch(NOW, vec![mode("island"), mode("grid")])
            .unwrap();
    }
    storage
}

#[test]
fn segments_follow_each_other_and_none_may_miss() {
    let storage = many_segments();
    let names: Vec<String> = storage.disk().files.into_keys().collect();
    assert!(names.len() >= 4, "{names:?}");
    assert_eq!(open(&storage).unwrap().clock(), 16);
    for name in &names[..names.len() - 2] {
        let mut disk = storage.disk();
        disk.files.remove(name);
        let found = open(&MemoryStorage::of(disk)).unwrap_err();
        assert!(
            matches!(found, LedgerError::Corrupt { .. }),
            "{name}: {found}"
        );
    }
    // A segment that ends early is torn only if it is the last.
    let mut disk = storage.disk();
    disk.files.get_mut(&names[0]).unwrap().bytes.pop();
    let found = open(&MemoryStorage::of(disk)).unwrap_err();
    assert!(found.to_string().contains("a batch is cut off"), "{found}");
}

#[test]
fn a_crash_while_a_segment_begins_is_repaired() {
    let storage = many_segments();
    let last = storage
        .disk()
        .files
        .into_keys()
        .rfind(|n| n.starts_with("seg"))
        .unwrap();
    let length = storage.disk().files[&last].bytes.len();
    for kept in [0, 5, 60] {
        let mut disk = storage.disk();
        disk.files.get_mut(&last).unwrap().bytes.truncate(kept);
        let crashed = MemoryStorage::of(disk);
        let mut log = open(&crashed).unwrap();
        assert_eq!(log.torn_bytes(), kept as u64);
        let clock = log.clock();
        assert!((8..16).contains(&clock), "{clock} {length}");
        log.append_batch(NOW, vec![mode("island")]).unwrap();
        drop(log);
        assert_eq!(open(&crashed).unwrap().clock(), clock + 1);
    }
}

#[test]
fn a_lone_segment_header_that_was_changed_is_refused() {
    let storage = MemoryStorage::default();
    drop(create(&storage, Durability::Fsync));
    for at in 0..storage.disk().files[SEGMENT].bytes.len() {
        let mut disk = storage.disk();
        disk.files.get_mut(SEGMENT).unwrap().bytes[at] ^= 0x10;
        assert!(open(&MemoryStorage::of(disk)).is_err(), "byte {at}");
    }
}
