//! A log that grows is followed: nothing twice, nothing left out, nothing that is not whole.

use std::fs::OpenOptions;
use std::io::Write as _;

use super::*;
use crate::Tail;

fn seen(tail: &mut Tail) -> Vec<u64> {
    let mut clocks = Vec::new();
    tail.look(|_, entry| clocks.push(entry.clock)).unwrap();
    clocks
}

#[test]
fn each_look_at_a_growing_log_has_what_came_since_the_last_one() {
    let run = tempfile::tempdir().unwrap();
    let mut log = NodeLog::create(run.path(), &universe(), keys(), small_segments()).unwrap();
    let mut tail = Tail::open(run.path()).unwrap();
    let mut last = seen(&mut tail).last().copied().unwrap_or(0);
    for round in 0..20_usize {
        let drafts = vec![mode("island"); round % 3];
        let count = drafts.len() as u64;
        if !drafts.is_empty() {
            log.append_batch(NOW, drafts).unwrap();
        }
        let expected: Vec<u64> = (last + 1..=last + count).collect();
        assert_eq!(seen(&mut tail), expected, "round {round}");
        last += count;
    }
    let segments = std::fs::read_dir(run.path().join("ledger")).unwrap();
    let segments = segments.filter(|e| {
        let name = e.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("segment-")
    });
    assert!(segments.count() > 2, "it has more than one segment");
    // One that begins late sees the same, and each entry can be had again from its place.
    let mut late = Tail::open(run.path()).unwrap();
    let mut places = Vec::new();
    late.look(|place, entry| places.push((place, entry.clock)))
        .unwrap();
    assert_eq!(places.len() as u64, last);
    let shown: Vec<_> = crate::show(run.path())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for ((place, clock), shown) in places.into_iter().zip(shown) {
        assert_eq!(late.shown(place, clock).unwrap().as_ref(), Some(&shown));
    }
}

#[test]
fn a_batch_that_is_half_written_is_left_for_the_next_look() {
    let run = tempfile::tempdir().unwrap();
    let mut log = NodeLog::create(run.path(), &universe(), keys(), Durability::Fsync).unwrap();
    let mut tail = Tail::open(run.path()).unwrap();
    log.append_batch(NOW, vec![mode("island")]).unwrap();
    let before = seen(&mut tail);
    let file = run.path().join("ledger/segment-00000001.log");
    let short = std::fs::read(&file).unwrap();
    log.append_batch(NOW, vec![mode("grid"), reading()])
        .unwrap();
    let whole = std::fs::read(&file).unwrap();
    let added = &whole[short.len()..];
    let first = before.last().unwrap() + 1;
    for written in [1, 20, added.len() / 2, added.len() - 1] {
        std::fs::write(&file, &whole[..short.len() + written]).unwrap();
        assert_eq!(
            seen(&mut tail),
            Vec::<u64>::new(),
            "{written} bytes of {}",
            added.len()
        );
    }
    let mut rest = OpenOptions::new().append(true).open(&file).unwrap();
    rest.write_all(&added[added.len() - 1..]).unwrap();
    assert_eq!(seen(&mut tail), vec![first, first + 1]);
}
