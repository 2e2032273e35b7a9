//! Appending: clocks, refusals, determinism, the writer thread.

use std::time::Duration;

use super::*;
use crate::{AppendError, LedgerWriter, Refusal, WaitError};
use ledger_core::credit::attested;
use ledger_core::{Address, Particle};

/// Longer than any of these operations takes, so that a test which fails ends.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_clock_counts_entries_by_one_across_batches_and_restarts() {
    let storage = MemoryStorage::default();
    let mut log = create(&storage, Durability::Fsync);
    assert_eq!(
        clocks(&log.append_batch(NOW, vec![mode("island")]).unwrap()),
        [1]
    );
    assert_eq!(
        clocks(
            &log.append_batch(NOW, vec![reading(), mode("grid")])
                .unwrap()
        ),
        [2, 3]
    );
    assert_eq!(log.append_batch(NOW, vec![]), Ok(vec![]));
    drop(log);
    let mut log = open(&storage).unwrap();
    assert_eq!((log.clock(), log.torn_bytes()), (3, 0));
    assert_eq!(
        clocks(&log.append_batch(NOW, vec![mode("island")]).unwrap()),
        [4]
    );
    let closed = log.close(NOW).unwrap();
    assert_eq!((closed.head.size, closed.head.closed), (4, true));
    let mut log = open(&storage).unwrap();
    assert_eq!(
        clocks(&log.append_batch(NOW, vec![mode("grid")]).unwrap()),
        [5]
    );
}

#[test]
fn the_same_drafts_keys_and_times_give_the_same_bytes() {
    let bytes = || {
        let storage = MemoryStorage::default();
        let mut log = create(&storage, Durability::Buffered);
        log.append_batch(NOW, vec![dispatch("inverter-1", 1), mode("island")])
            .unwrap();
        log.append_batch(NOW + 5, vec![reading()]).unwrap();
        log.close(NOW + 9).unwrap();
        storage
            .disk()
            .files
            .into_iter()
            .map(|(name, file)| (name, file.bytes))
            .collect::<Vec<_>>()
    };
    assert_eq!(bytes(), bytes());
}

#[test]
fn a_refused_draft_leaves_no_trace_of_its_batch() {
    let storage = MemoryStorage::default();
    let mut log = create(&storage, Durability::Buffered);
    log.append_batch(NOW, vec![dispatch("inverter-1", 7)])
        .unwrap();
    let before = storage.disk().files;
    let mut check = |draft: AtomDraft, expected: &str| {
        let found = log
            .append_batch(NOW, vec![mode("island"), draft])
            .unwrap_err();
        assert!(
            matches!(found, AppendError::Refused { draft: 1, .. }),
            "{found}"
        );
        assert!(found.to_string().contains(expected), "{found}");
        assert_eq!(log.clock(), 1);
        assert!(
            storage
                .disk()
                .files
                .iter()
                .all(|(n, f)| f.bytes == before[n].bytes)
        );
    };
    let with = |change: &dyn Fn(&mut AtomDraft)| {
        let mut draft = mode("grid");
        change(&mut draft);
        draft
    };
    check(
        dispatch("inverter-1", 6),
        "`inverter-1`: authority epoch 6 is below 7",
    );
    check(dispatch("", 8), "names its device");
    check(
        with(&|d| d.author = "nobody".to_owned()),
        "no key of `nobody`",
    );
    check(
        with(&|d| d.author = "market".to_owned()),
        "`market` may not author a mode",
    );
    check(mode(&"x".repeat(2000)), "at most 1024 bytes");
    check(
        with(&|d| d.deps = (0..65).map(|i| ledger_core::AtomId([i; 32])).collect()),
        "64 dependencies",
    );
    check(
        with(&|d| d.particles = vec![Particle::Down(ledger_core::ParticleId([0; 32]))]),
        "no particles",
    );
    assert_eq!(
        clocks(
            &log.append_batch(NOW, vec![dispatch("inverter-1", 7)])
                .unwrap()
        ),
        [2]
    );
}

#[test]
fn a_refused_reading_can_be_made_again_because_its_particles_were_not_put_up() {
    let storage = MemoryStorage::default();
    let mut log = create(&storage, Durability::Buffered);
    let mut metered = reading();
    let Payload::MeterReading(reading) = &mut metered.payload else {
        panic!("{metered:?}")
    };
    reading.energy_milliwatt_hours = Some(3);
    let up = attested(reading, &Address([2; 32]), Address([1; 32]), 1).unwrap();
    metered.particles = vec![Particle::Up(up)];
    log.append_batch(NOW, vec![metered.clone(), dispatch("", 1)])
        .unwrap_err();
    log.append_batch(NOW, vec![metered.clone()]).unwrap();
    let twice = log.append_batch(NOW, vec![metered.clone()]).unwrap_err();
    assert!(twice.to_string().contains("was put up before"), "{twice}");
    drop(log);
    let twice = open(&storage)
        .unwrap()
        .append_batch(NOW, vec![metered])
        .unwrap_err();
    assert!(twice.to_string().contains("was put up before"), "{twice}");
}

#[test]
fn a_bad_group_does_not_spoil_the_batch_of_the_others() {
    let storage = MemoryStorage::default();
    let mut log = create(&storage, Durability::Fsync);
    let syncs = storage.disk().syncs;
    let groups = vec![
        (NOW, vec![mode("a")]),
        (NOW, vec![mode("b"), dispatch("", 1)]),
        (NOW, vec![reading()]),
    ];
    let results = log.append_groups(groups);
    assert_eq!(clocks(results[0].as_ref().unwrap()), [1]);
    assert!(results[1].is_err());
    assert_eq!(clocks(results[2].as_ref().unwrap()), [2]);
    assert_eq!(
        storage.disk().syncs - syncs,
        1,
        "one synchronisation for the batch"
    );
}

#[test]
fn a_batch_has_a_largest_size() {
    let mut log = create(&MemoryStorage::default(), Durability::Buffered);
    let found = log.append_batch(NOW, vec![mode("a"); 4097]);
    let Err(AppendError::Refused { reason, .. }) = found else {
        panic!("{found:?}")
    };
    assert_eq!(
        reason,
        Refusal::TooMany {
            count: 4097,
            max: 4096
        }
    );
}

#[test]
fn a_full_disk_or_a_failed_synchronisation_stops_the_log_with_its_code() {
    let check = |fault: &dyn Fn(&mut crate::memory::Disk), code: &str| {
        let storage = MemoryStorage::default();
        let mut log = create(&storage, Durability::Fsync);
        log.append_batch(NOW, vec![mode("island")]).unwrap();
        storage.set(fault);
        let first = log.append_batch(NOW, vec![mode("grid")]).unwrap_err();
        assert_eq!(first.code(), code);
        storage.set(|disk| (disk.space, disk.good_syncs) = (None, None));
        assert_eq!(
            log.append_batch(NOW, vec![mode("grid")]).unwrap_err(),
            first,
            "it stays stopped"
        );
        assert_eq!(log.close(NOW).unwrap_err(), first);
        // The acknowledged entry is there after a crash, and the log goes on.
        for kept in [0, 100, 10_000] {
            let mut log = open(&storage.after_crash(kept)).unwrap();
            assert!(log.clock() >= 1);
            log.append_batch(NOW, vec![mode("grid")]).unwrap();
        }
    };
    check(&|disk| disk.space = Some(0), "ledger-disk-full");
    check(&|disk| disk.space = Some(300), "ledger-disk-full");
    check(&|disk| disk.good_syncs = Some(0), "ledger-device-error");
}

#[test]
fn short_writes_are_continued() {
    let storage = MemoryStorage::default();
    let mut log = create(&storage, Durability::Fsync);
    storage.set(|disk| disk.piece = Some(7));
    log.append_batch(NOW, vec![mode("island"), reading()])
        .unwrap();
    drop(log);
    assert_eq!(open(&storage).unwrap().clock(), 2);
}

#[test]
fn durable_means_synchronised_and_buffered_means_not() {
    for (durability, expected) in [(Durability::Fsync, 1), (Durability::Buffered, 0)] {
        let storage = MemoryStorage::default();
        let mut log = create(&storage, durability);
        let syncs = storage.disk().syncs;
        log.append_batch(NOW, vec![mode("island")]).unwrap();
        assert_eq!(storage.disk().syncs - syncs, expected);
        log.close(NOW).unwrap();
        assert_eq!(
            storage.disk().syncs - syncs,
            expected + 1,
            "closing always synchronises"
        );
    }
}

#[test]
fn a_late_ticket_is_answered_when_the_disk_comes_back() {
    let storage = MemoryStorage::default();
    let writer = LedgerWriter::start(create(&storage, Durability::Fsync)).unwrap();
    let stalled = storage.stall();
    let mut first = writer.submit(NOW, vec![mode("island")]);
    let mut second = writer.submit(NOW, vec![mode("grid"), reading()]);
    assert_eq!(first.wait(Duration::ZERO), Err(WaitError::Late));
    drop(stalled);
    assert_eq!(clocks(&first.wait(PATIENCE).unwrap()), [1]);
    assert_eq!(clocks(&second.wait(PATIENCE).unwrap()), [2, 3]);
    assert_eq!(first.wait(PATIENCE), Err(WaitError::Answered));
    let mut refused = writer.submit(NOW, vec![dispatch("", 1)]);
    assert_eq!(refused.wait(PATIENCE).unwrap_err().code(), "ledger-refused");
    assert_eq!(writer.close(NOW).unwrap().head.size, 3);
    assert_eq!(open(&storage).unwrap().clock(), 3);
}

#[test]
fn what_is_queued_while_the_disk_stalls_shares_batches() {
    let storage = MemoryStorage::default();
    let writer = LedgerWriter::start(create(&storage, Durability::Fsync)).unwrap();
    let mut tickets = {
        let stalled = storage.stall();
        let tickets: Vec<_> = (0..100)
            .map(|_| writer.submit(NOW, vec![mode("island")]))
            .collect();
        let synced = stalled.syncs;
        drop(stalled);
        assert!(synced <= 2, "nothing but the creation was synchronised");
        tickets
    };
    for (clock, ticket) in (1..).zip(&mut tickets) {
        assert_eq!(clocks(&ticket.wait(PATIENCE).unwrap()), [clock]);
    }
    // Two for the creation, one for the batch that met the stall, one or two more.
    assert!(storage.disk().syncs <= 6, "{}", storage.disk().syncs);
    writer.close(NOW).unwrap();
}

#[test]
fn a_full_queue_refuses_at_once() {
    let storage = MemoryStorage::default();
    let writer = LedgerWriter::start(create(&storage, Durability::Buffered)).unwrap();
    let stalled = storage.stall();
    let tickets: Vec<_> = (0..3000).map(|_| writer.submit(NOW, vec![])).collect();
    let mut last = writer.submit(NOW, vec![mode("a")]);
    // Empty submissions need no disk, so fill the queue behind one that does.
    let mut blocked: Vec<_> = (0..3000)
        .map(|_| writer.submit(NOW, vec![mode("a")]))
        .collect();
    let mut refused = blocked.pop().unwrap();
    assert_eq!(refused.wait(Duration::ZERO), Err(WaitError::QueueFull));
    drop(stalled);
    drop((tickets, blocked));
    let _ = last.wait(PATIENCE);
    writer.close(NOW).unwrap();
}
