//! A copy of a log in which leaves stand, and what it was given later in their place.

use std::sync::Arc;

use ledger_core::Epochs;

use super::*;
use crate::index::{IndexFound, IndexOptions};
use crate::mirror::{Mirror, has_leaves, without_other_shards};
use crate::read::entries_in;
use crate::storage::FileStorage;

fn copy(folder: &std::path::Path, seen: &mut Vec<u64>) -> Mirror {
    let storage = FileStorage::open(folder).unwrap();
    let index = IndexOptions {
        entries: 2,
        key: key(1),
    };
    let id = universe().id().unwrap();
    let visit = &mut |row: crate::Row| seen.push(row.clock);
    let by = (key(1).public(), Arc::default());
    Mirror::open_on(Box::new(storage), id, by, Some(index), visit).unwrap()
}

#[test]
fn what_a_copy_was_given_later_is_there_for_whoever_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, id) = (dir.path(), universe().id().unwrap());
    let storage = MemoryStorage::default();
    let mut log = NodeLog::create_on(
        Box::new(storage.clone()),
        &universe(),
        keys(),
        NodeLogOptions {
            segment_bytes: 1_000_000,
            ..small_segments()
        },
    )
    .unwrap();
    let mut batches = Vec::new();
    for to in ["island", "grid", "safe"] {
        let drafts = [mode(to), dispatch("battery", 1)];
        let records = drafts.map(|d| crate::Record::Draft(Box::new(d))).to_vec();
        batches.push(log.append_records(vec![(NOW, records)]).bytes);
    }
    let mut mirror = copy(folder, &mut vec![]);
    for (at, bytes) in batches.iter().enumerate() {
        let kept = [true, at != 1];
        mirror
            .follow(&without_other_shards(&id, bytes, &kept).unwrap())
            .unwrap();
    }
    // Of a batch that says something else nothing is taken.
    assert!(mirror.fill(&batches[0]).unwrap().len() == 2);
    let other = without_other_shards(&id, &batches[1], &[false, false]).unwrap();
    assert_eq!(mirror.fill(&other).unwrap().len(), 1);
    for bad in [
        &batches[1][1..],
        &[],
        &[batches[1].clone(), vec![0]].concat(),
    ] {
        assert!(mirror.fill(bad).is_err());
    }
    let read = |elsewhere: &[u64]| {
        let epochs = Epochs::genesis(&universe()).unwrap();
        let mut entries = entries_in(folder, epochs).unwrap();
        let clocks: Vec<u64> = entries.by_ref().map(|e| e.unwrap().clock).collect();
        let left: Vec<u64> = entries.elsewhere().iter().map(|(at, _)| *at).collect();
        assert_eq!(left, elsewhere);
        assert_eq!(clocks.len() + left.len(), 6);
    };
    read(&[4]);
    let clocks: Vec<u64> = mirror
        .fill(&batches[1])
        .unwrap()
        .iter()
        .map(|e| e.0)
        .collect();
    assert_eq!(clocks, [3, 4]);
    read(&[]);
    assert!(mirror.vote(4).unwrap().is_some());
    // A crash in the middle of writing leaves a piece, which is fetched again.
    mirror.finish();
    drop(mirror);
    let file = folder.join(crate::filled::FILLED_FILE);
    let whole = std::fs::read(&file).unwrap();
    for cut in [whole.len(), whole.len() - 1, 0] {
        std::fs::write(&file, &whole[..cut]).unwrap();
        let mut seen = Vec::new();
        let mut mirror = copy(folder, &mut seen);
        assert!(matches!(mirror.index_found(), IndexFound::Used { .. }));
        seen.sort_unstable();
        let handed_on = mirror.batches_after(0, u64::MAX).unwrap();
        let is_whole = !handed_on.iter().any(|bytes| has_leaves(bytes));
        assert_eq!(is_whole, cut == whole.len());
        let expected: &[u64] = if is_whole {
            &[1, 2, 3, 4, 5, 6]
        } else {
            &[1, 2, 3, 5, 6]
        };
        assert_eq!(seen, expected);
        mirror.fill(&batches[1]).unwrap();
        assert!(mirror.entry_at(4).unwrap().is_some());
        assert_eq!(std::fs::read(&file).unwrap(), whole);
    }
}
