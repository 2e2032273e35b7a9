//! The index beside a log: what is opened with it is what is read without it, and
//! whatever is not the index of the log as it stands is not trusted.

use ledger_core::UniverseId;

use super::*;
use crate::memory::{Disk, File};
use crate::{IndexFound, Row, recheck};

/// Segments and blocks so small that a few entries fill several.
fn indexed() -> NodeLogOptions {
    NodeLogOptions {
        index_entries: Some(3),
        ..small_segments()
    }
}

fn begin(storage: &MemoryStorage) -> NodeLog {
    NodeLog::create_on(Box::new(storage.clone()), &universe(), keys(), indexed()).unwrap()
}

/// Appends batches of one and of several entries.
fn write(log: &mut NodeLog, batches: usize) {
    for n in 0..batches {
        let mut drafts = vec![dispatch(&format!("inverter-{}", n % 4), 1 + n as u64 / 5)];
        drafts.extend((0..n % 3).map(|_| reading()));
        log.append_batch(NOW + n as i64, drafts).unwrap();
    }
}

/// The log in `storage` as `options` open it, and what was told of it.
fn opened(
    storage: &MemoryStorage,
    options: NodeLogOptions,
) -> Result<(NodeLog, Vec<Row>), LedgerError> {
    let mut rows = Vec::new();
    let log = NodeLog::open_on(Box::new(storage.clone()), keys(), options, &mut |row| {
        rows.push(row);
    })?;
    Ok((log, rows))
}

/// A log of several segments and blocks whose last entries are in no block: the
/// process was killed.
fn killed() -> MemoryStorage {
    let storage = MemoryStorage::default();
    let mut log = begin(&storage);
    write(&mut log, 16);
    storage
}

fn closed() -> MemoryStorage {
    let storage = MemoryStorage::default();
    let mut log = begin(&storage);
    write(&mut log, 16);
    log.close(NOW + 100).unwrap();
    storage
}

fn names(storage: &MemoryStorage, prefix: &str) -> Vec<String> {
    let names = storage.disk().files.into_keys();
    names.filter(|name| name.starts_with(prefix)).collect()
}

fn without_index(storage: &MemoryStorage) -> MemoryStorage {
    let mut disk = storage.disk();
    disk.files.retain(|name, _| !name.starts_with("index-"));
    MemoryStorage::of(disk)
}

fn changed(storage: &MemoryStorage, change: impl FnOnce(&mut Disk)) -> MemoryStorage {
    let mut disk = storage.disk();
    change(&mut disk);
    MemoryStorage::of(disk)
}

/// Opened with its index, the log must be the one that is read without it, and go
/// on like it.
fn check_same(storage: &MemoryStorage, expected: &dyn Fn(&IndexFound) -> bool) {
    let plain = NodeLogOptions {
        index_entries: None,
        ..indexed()
    };
    let beside = without_index(storage);
    let (mut read, rows_read) = opened(&beside, plain).unwrap();
    let (mut log, rows) = opened(storage, indexed()).unwrap();
    assert!(expected(log.index_found()), "{:?}", log.index_found());
    assert_eq!(rows, rows_read);
    assert_eq!(log.clock(), read.clock());
    assert_eq!(log.root(), read.root());
    let authorities = |log: &NodeLog| {
        let all = log.authorities().iter().map(|(d, a)| (d.clone(), *a));
        all.collect::<Vec<_>>()
    };
    assert_eq!(authorities(&log), authorities(&read));
    let controller = log.author("controller").unwrap();
    assert_eq!(log.place(&controller), read.place(&controller));
    // The same entry comes of the same draft: its place, its head, its time.
    let draft = || vec![mode("island"), dispatch("inverter-1", 40)];
    let (one, other) = (
        log.append_batch(NOW + 200, draft()).unwrap(),
        read.append_batch(NOW + 200, draft()).unwrap(),
    );
    assert_eq!(one, other);
    assert_eq!(log.root(), read.root());
    drop((log, read));
    // What the index does not say after that is read back with it.
    let (again, _) = opened(storage, indexed()).unwrap();
    assert_ne!(again.index_found(), &IndexFound::None);
    assert!(!matches!(again.index_found(), IndexFound::Refused { .. }));
    assert_eq!(again.clock(), one.last().unwrap().clock);
    let segments = |storage: &MemoryStorage| {
        let files = storage.disk().files.into_iter();
        let files = files.filter(|(name, _)| name.starts_with("segment-"));
        files.map(|(_, file)| file.bytes).collect::<Vec<_>>()
    };
    assert_eq!(segments(storage), segments(&beside));
}

fn is_used(found: &IndexFound) -> bool {
    matches!(found, IndexFound::Used { .. })
}

fn is_refused(found: &IndexFound) -> bool {
    matches!(found, IndexFound::Refused { .. })
}

#[test]
fn a_log_opened_with_its_index_is_the_log_that_is_read_without_it() {
    let (killed, closed) = (killed(), closed());
    assert!(names(&killed, "segment-").len() > 3);
    assert!(names(&killed, "index-").len() > 3);
    let entries = |found: &IndexFound| match found {
        IndexFound::Used { entries } => *entries,
        other => panic!("{other:?}"),
    };
    let clock = opened(&without_index(&closed), indexed())
        .unwrap()
        .0
        .clock();
    // Closed in good order it has all, killed all but less than a block.
    check_same(&closed, &|found| entries(found) == clock);
    check_same(&killed, &|found| {
        (clock - 3..clock).contains(&entries(found))
    });
    // There was none: it is made.
    let none = without_index(&closed);
    check_same(&none, &|found| *found == IndexFound::None);
    assert_eq!(names(&none, "index-").len(), names(&none, "segment-").len());
}

#[test]
fn what_opening_skipped_is_not_read() {
    // Else the tests beside this one could pass without an index.
    let storage = closed();
    let rotten = changed(&storage, |disk| {
        disk.files.get_mut("segment-00000001.log").unwrap().bytes[300] ^= 1;
    });
    assert!(opened(&rotten, indexed()).is_ok());
    assert!(opened(&without_index(&rotten), indexed()).is_err());
}

#[test]
fn an_index_that_is_torn_is_used_as_far_as_it_is_whole() {
    let storage = killed();
    let last = names(&storage, "index-").pop().unwrap();
    let length = storage.disk().files[&last].bytes.len();
    for kept in (0..length).step_by(5) {
        let torn = changed(&storage, |disk| {
            disk.files.get_mut(&last).unwrap().bytes.truncate(kept);
        });
        check_same(&torn, &is_used);
    }
}

#[test]
fn an_index_with_a_changed_byte_is_refused_and_all_of_the_log_is_read() {
    let storage = closed();
    let last = names(&storage, "index-").pop().unwrap();
    for name in names(&storage, "index-") {
        let length = storage.disk().files[&name].bytes.len();
        // 11 divides the length of no field.
        for at in (0..length).step_by(11) {
            let bent = changed(&storage, |disk| {
                disk.files.get_mut(&name).unwrap().bytes[at] ^= 1 << (at % 8);
            });
            // A length that has become greater looks like a block that is torn; then
            // the blocks before it hold on their own.
            let (log, _) = opened(&bent, indexed()).unwrap();
            let fits = match log.index_found() {
                IndexFound::Refused { .. } => true,
                // The last file has only the block of the closing head.
                IndexFound::Used { entries } => *entries < log.clock() || name == last,
                IndexFound::None => false,
            };
            assert!(fits, "{name} byte {at}: {:?}", log.index_found());
            assert_eq!(log.root(), opened(&storage, indexed()).unwrap().0.root());
        }
    }
    // Once for all that follows from it.
    let bent = changed(&storage, |disk| {
        disk.files.get_mut("index-00000001.log").unwrap().bytes[200] ^= 1;
    });
    check_same(&bent, &is_refused);
}

#[test]
fn an_index_that_is_not_of_this_log_is_refused() {
    let storage = closed();
    // Another log of the same node, of the same length.
    let other = MemoryStorage::default();
    let mut log = begin(&other);
    log.append_batch(NOW - 5, vec![reading()]).unwrap();
    write(&mut log, 16);
    log.close(NOW + 100).unwrap();
    let of_other = changed(&storage, |disk| {
        disk.files.retain(|name, _| !name.starts_with("index-"));
        let files = other.disk().files.into_iter();
        disk.files
            .extend(files.filter(|(name, _)| name.starts_with("index-")));
    });
    check_same(&of_other, &is_refused);
    // Of one segment and the same length to the byte, said a little later.
    let wide = |at: i64| {
        let storage = MemoryStorage::default();
        let options = NodeLogOptions {
            index_entries: Some(3),
            ..NodeLogOptions::from(Durability::Fsync)
        };
        let boxed = Box::new(storage.clone());
        let mut log = NodeLog::create_on(boxed, &universe(), keys(), options).unwrap();
        for _ in 0..4 {
            log.append_batch(at, vec![reading()]).unwrap();
        }
        storage
    };
    let (one, later) = (wide(NOW), wide(NOW + 1_000_000));
    let length = |disk: &MemoryStorage| disk.disk().files["segment-00000001.log"].bytes.len();
    assert_eq!(length(&one), length(&later));
    let of_later = changed(&one, |disk| {
        let index = later.disk().files["index-00000001.log"].clone();
        disk.files.insert("index-00000001.log".to_owned(), index);
    });
    check_same(&of_later, &is_refused);
    // Signed by somebody else.
    let foreign = MemoryStorage::default();
    let mut stranger = universe();
    stranger.nodes[0].key = key(9).public();
    let ring = Keyring::new("node-1", key(9)).with_party("controller", key(2));
    let boxed = Box::new(foreign.clone());
    let mut log = NodeLog::create_on(boxed, &stranger, ring, indexed()).unwrap();
    write(&mut log, 16);
    log.close(NOW + 100).unwrap();
    let of_stranger = changed(&storage, |disk| {
        for (name, file) in foreign.disk().files {
            if name.starts_with("index-") {
                disk.files.insert(name, file);
            }
        }
    });
    check_same(&of_stranger, &is_refused);
    // One of its files is missing.
    for name in names(&storage, "index-") {
        if name == *names(&storage, "index-").last().unwrap() {
            continue;
        }
        let short = changed(&storage, |disk| {
            disk.files.remove(&name);
        });
        check_same(&short, &is_refused);
    }
    // It has a file for a segment that there is none of.
    let long = changed(&storage, |disk| {
        let bytes = disk.files["index-00000001.log"].bytes.clone();
        let file = File { synced: 0, bytes };
        disk.files.insert("index-00000099.log".to_owned(), file);
    });
    check_same(&long, &is_refused);
}

#[test]
fn an_index_that_says_more_than_the_log_has_is_refused() {
    let storage = killed();
    let last = names(&storage, "segment-").pop().unwrap();
    let before = storage.disk();
    // The log was put back to what it was before; the index was not.
    let (mut log, _) = opened(&storage, indexed()).unwrap();
    for n in 50..53 {
        log.append_batch(NOW + n, vec![mode("grid"); 2]).unwrap();
    }
    drop(log);
    let newer = changed(&storage, |disk| {
        for (name, file) in &before.files {
            if name.starts_with("segment-") {
                disk.files.insert(name.clone(), file.clone());
            }
        }
        disk.files
            .retain(|name, _| !name.starts_with("segment-") || before.files.contains_key(name));
    });
    assert!(newer.disk().files.contains_key(&last));
    check_same(&newer, &is_refused);
    // An older index says less: what it does not say is read.
    let older = changed(&storage, |disk| {
        for (name, file) in &before.files {
            if name.starts_with("index-") {
                disk.files.insert(name.clone(), file.clone());
            }
        }
        disk.files
            .retain(|name, _| !name.starts_with("index-") || before.files.contains_key(name));
    });
    check_same(&older, &is_used);
}

#[test]
fn a_segment_that_was_cut_or_replaced_is_found_by_its_index() {
    let storage = closed();
    let all = names(&storage, "segment-");
    for name in &all[..all.len() - 1] {
        let short = changed(&storage, |disk| {
            disk.files.get_mut(name).unwrap().bytes.pop();
        });
        let found = opened(&short, indexed()).unwrap_err();
        assert_eq!(found.code(), "ledger-corrupt", "{name}: {found}");
        // Nothing was cut off: it is there for whoever looks at it.
        assert_eq!(
            short.disk().files[name].bytes.len() + 1,
            storage.disk().files[name].bytes.len()
        );
    }
    let gone = changed(&storage, |disk| {
        disk.files.remove(&all[1]);
    });
    assert_eq!(
        opened(&gone, indexed()).unwrap_err().code(),
        "ledger-corrupt"
    );
}

#[test]
fn a_crash_at_any_byte_behind_the_index_loses_only_what_was_not_acknowledged() {
    let storage = killed();
    let last = names(&storage, "segment-").pop().unwrap();
    let (mut log, _) = opened(&storage, indexed()).unwrap();
    let (clock, before) = (log.clock(), storage.disk().files[&last].bytes.len());
    log.append_batch(NOW + 300, vec![mode("island"), reading()])
        .unwrap();
    let after = storage.disk().files[&last].bytes.len();
    for kept in before..after {
        let torn = changed(&storage, |disk| {
            disk.files.get_mut(&last).unwrap().bytes.truncate(kept);
        });
        let (log, _) = opened(&torn, indexed()).unwrap();
        assert_eq!(log.clock(), clock);
        assert_eq!(log.torn_bytes(), (kept - before) as u64);
    }
}

#[test]
fn a_bit_that_turned_over_in_what_opening_skipped_is_found() {
    let run = tempfile::tempdir().unwrap();
    let mut log = NodeLog::create(run.path(), &universe(), keys(), indexed()).unwrap();
    write(&mut log, 16);
    let clock = log.clock();
    log.close(NOW + 100).unwrap();
    let folder = run.path().join("ledger");
    let id: UniverseId = universe().id().unwrap();
    let look = || recheck(&folder, &id, &key(1).public(), clock, &mut |_| true);
    assert_eq!(look().unwrap().entries, clock);
    // Whoever else signed it has not.
    assert!(recheck(&folder, &id, &key(2).public(), clock, &mut |_| true).is_err());
    let mut segments: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
    segments.retain(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("segment-")
    });
    assert!(segments.len() > 3);
    for segment in segments {
        let path = segment.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        // Every seventh: 7 divides neither a frame's head nor a hash.
        for at in (0..bytes.len()).step_by(7) {
            let mut bent = bytes.clone();
            bent[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bent).unwrap();
            let found = look();
            let is_found = found.as_ref().is_err_and(|e| e.code() == "ledger-corrupt");
            // Behind the last entry there is only the head of the end.
            let is_behind = || NodeLog::open(run.path(), keys(), small_segments()).is_err();
            assert!(is_found || is_behind(), "{path:?} byte {at}: {found:?}");
        }
        std::fs::write(&path, &bytes).unwrap();
    }
    assert!(look().is_ok());
    // It can be ended at any time.
    let half = recheck(&folder, &id, &key(1).public(), clock, &mut |done| {
        done.entries < clock / 2
    });
    assert!(half.unwrap().entries < clock);
}

#[test]
fn a_log_that_was_stopped_is_read_whole_next_time() {
    let storage = closed();
    let (mut log, _) = opened(&storage, indexed()).unwrap();
    let why = crate::StorageError::new("read", "segment-00000001.log", &std::io::Error::other("x"));
    log.stop(why);
    let found = log.append_batch(NOW + 200, vec![mode("grid")]).unwrap_err();
    assert_eq!(found.code(), "ledger-storage");
    drop(log);
    let (log, _) = opened(&storage, indexed()).unwrap();
    assert_eq!(log.index_found(), &IndexFound::None);
}
