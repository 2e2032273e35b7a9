//! Ledgers that a node wrote, whole, cut off and changed.

use super::*;
use crate::{Expectation, Status, verify_against};
use ledger_node::{AtomDraft, Durability, Keyring, NodeLog, NodeLogOptions};

fn keys() -> Keyring {
    Keyring::new("node-1", key(1)).with_party("controller", key(2))
}

fn draft(payload: Payload) -> AtomDraft {
    AtomDraft::new("controller", payload)
}

fn write(run: &Path, segment_bytes: u64, closed: bool) {
    let options = NodeLogOptions {
        durability: Durability::Buffered,
        segment_bytes,
        index_entries: None,
    };
    let mut log = NodeLog::create(run, &universe(), keys(), options).unwrap();
    let sent = log
        .append_batch(NOW, vec![draft(dispatch(1)), draft(mode())])
        .unwrap();
    log.append_batch(
        NOW + 1,
        vec![draft(ack(sent[0].atom_id)).after(vec![sent[1].atom_id])],
    )
    .unwrap();
    log.append_batch(NOW + 2, vec![draft(dispatch(1))]).unwrap();
    if closed {
        log.close(NOW + 3).unwrap();
    }
}

#[test]
fn an_honest_ledger_passes_every_check_and_is_counted() {
    for segment_bytes in [1_000_000, 1] {
        for closed in [true, false] {
            let run = tempfile::tempdir().unwrap();
            write(run.path(), segment_bytes, closed);
            let report = verify(run.path());
            passes(&report);
            assert_eq!(
                (report.entries, report.closed, report.tail_bytes),
                (4, closed, 0)
            );
            assert_eq!((report.kinds["dispatch"], report.kinds["mode"]), (2, 1));
            // No check passes because there was nothing to look at.
            assert!(
                report.checks.iter().all(|check| check.count > 0),
                "{report}"
            );
            let known = Expectation {
                universe: Some(universe().id().unwrap()),
                closed,
                head: Some((
                    4,
                    ledger_core::hash::from_hex(&report.root.clone().unwrap())
                        .unwrap()
                        .try_into()
                        .unwrap(),
                )),
            };
            passes(&verify_against(run.path(), &known));
        }
    }
}

#[test]
fn a_report_is_text_and_json() {
    let run = tempfile::tempdir().unwrap();
    write(run.path(), 1_000_000, true);
    let report = verify(run.path());
    let text = report.to_string();
    assert!(text.contains("end           ok      1  closed\n"), "{text}");
    assert!(text.contains("verified: 4 entries of universe "), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["checks"][0]["name"], "universe");
    assert_eq!(json["checks"][0]["status"], "ok");
}

#[test]
fn each_single_changed_byte_of_the_files_fails() {
    for closed in [true, false] {
        let run = tempfile::tempdir().unwrap();
        write(run.path(), 1_000_000, closed);
        for file in ["ledger/universe.json", SEGMENT] {
            let path = run.path().join(file);
            let good = std::fs::read(&path).unwrap();
            // Every byte of the closed log; of the other, which says the same, every third.
            for at in (0..good.len()).step_by(if closed { 1 } else { 3 }) {
                // One bit; in the log that was not closed also turned to zero.
                for xor in [1u8 << (at % 8), if closed { 0 } else { good[at] }] {
                    if xor == 0 {
                        continue;
                    }
                    let mut bytes = good.clone();
                    bytes[at] ^= xor;
                    std::fs::write(&path, &bytes).unwrap();
                    assert!(
                        failure(run.path()).is_ok(),
                        "{file} byte {at} xor {xor:02x}"
                    );
                }
            }
            std::fs::write(&path, &good).unwrap();
        }
        passes(&verify(run.path()));
    }
}

#[test]
fn each_changed_payload_byte_fails_even_with_a_corrected_checksum() {
    let run = tempfile::tempdir().unwrap();
    write(run.path(), 1_000_000, true);
    let path = run.path().join(SEGMENT);
    let good = std::fs::read(&path).unwrap();
    // Without the frame that ends it, the last batch is one that was never finished.
    let closed = Expectation {
        closed: true,
        ..Expectation::default()
    };
    let mut at = 0;
    let mut flips = 0;
    while at < good.len() {
        let length = u32::from_le_bytes(good[at..at + 4].try_into().unwrap()) as usize;
        // Type and payload; every third of them, to keep the test short.
        for byte in (at + 8..at + 9 + length).step_by(3) {
            let mut bytes = good.clone();
            bytes[byte] ^= 1 << (byte % 8);
            let crc = crc32c::crc32c_append(
                crc32c::crc32c(&bytes[at..at + 4]),
                &bytes[at + 8..at + 9 + length],
            );
            bytes[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
            std::fs::write(&path, &bytes).unwrap();
            let report = verify_against(run.path(), &closed);
            assert!(!report.is_ok(), "byte {byte}");
            flips += 1;
        }
        at += 9 + length;
    }
    assert!(flips > 800, "{flips}");
}

#[test]
fn a_torn_tail_is_counted_and_what_was_committed_passes() {
    let run = tempfile::tempdir().unwrap();
    write(run.path(), 1_000_000, false);
    let path = run.path().join(SEGMENT);
    let good = std::fs::read(&path).unwrap();
    let ends: Vec<usize> = batch_ends(&good);
    let (before, last) = (ends[ends.len() - 2], ends[ends.len() - 1]);
    assert_eq!(last, good.len());
    for cut in before..last {
        std::fs::write(&path, &good[..cut]).unwrap();
        let report = verify(run.path());
        passes(&report);
        assert_eq!(
            (report.entries, report.tail_bytes),
            (3, (cut - before) as u64)
        );
        let end = report
            .checks
            .iter()
            .find(|c| c.name == CheckName::End)
            .unwrap();
        let tail = format!("not closed; tail: {} bytes not committed", cut - before);
        let expected = if cut == before {
            "not closed".to_owned()
        } else {
            tail
        };
        assert_eq!(
            end.status,
            Status::Ok {
                remark: Some(expected)
            }
        );
        // The opener agrees with the verifier about every one of them.
        let log = NodeLog::open(run.path(), keys(), Durability::Buffered).unwrap();
        assert_eq!((log.clock(), log.torn_bytes()), (3, (cut - before) as u64));
    }
}

/// Offsets behind each batch, from the announced lengths.
fn batch_ends(bytes: &[u8]) -> Vec<usize> {
    let mut at = 9 + u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    let mut ends = vec![];
    while at < bytes.len() {
        at += u64::from_be_bytes(bytes[at + 9..at + 17].try_into().unwrap()) as usize;
        ends.push(at);
    }
    ends
}

#[test]
fn removing_the_end_of_a_closed_ledger_is_seen_by_whoever_asks() {
    let run = tempfile::tempdir().unwrap();
    write(run.path(), 1_000_000, true);
    let whole = verify(run.path());
    let root = ledger_core::hash::from_hex(&whole.root.unwrap())
        .unwrap()
        .try_into()
        .unwrap();
    let path = run.path().join(SEGMENT);
    let good = std::fs::read(&path).unwrap();
    let ends = batch_ends(&good);
    let closed = Expectation {
        closed: true,
        ..Expectation::default()
    };
    let known = Expectation {
        head: Some((4, root)),
        ..Expectation::default()
    };
    let first = |expected| {
        verify_against(run.path(), expected)
            .first_failure()
            .map(|c| c.name)
    };
    assert_eq!((first(&closed), first(&known)), (None, None));
    // Only the mark is gone: all entries are there.
    std::fs::write(&path, &good[..ends[2]]).unwrap();
    assert_eq!(
        (first(&closed), first(&known)),
        (Some(CheckName::End), None)
    );
    // The last entry is gone as well.
    std::fs::write(&path, &good[..ends[1]]).unwrap();
    assert_eq!(
        (first(&closed), first(&known)),
        (Some(CheckName::End), Some(CheckName::KnownHead))
    );
    assert!(!verify(run.path()).closed);
    // A batch cut out of the middle fails without being asked.
    std::fs::write(&path, [&good[..ends[0]], &good[ends[1]..]].concat()).unwrap();
    assert!(failure(run.path()).is_ok());
}

#[test]
fn another_universe_or_no_ledger_at_all_fails() {
    let run = tempfile::tempdir().unwrap();
    assert_eq!(failure(run.path()), Ok(CheckName::Universe));
    write(run.path(), 1_000_000, true);
    let mut other = universe();
    other.name = "bench-2".to_owned();
    let expected = Expectation {
        universe: Some(other.id().unwrap()),
        ..Expectation::default()
    };
    let report = verify_against(run.path(), &expected);
    assert_eq!(report.first_failure().unwrap().name, CheckName::Universe);
    std::fs::write(
        run.path().join("ledger/universe.json"),
        other.to_json().unwrap(),
    )
    .unwrap();
    assert!(failure(run.path()).is_ok());
    std::fs::write(
        run.path().join("ledger/universe.json"),
        universe().to_json().unwrap(),
    )
    .unwrap();
    std::fs::remove_file(run.path().join(SEGMENT)).unwrap();
    assert_eq!(failure(run.path()), Ok(CheckName::Frames));
}

#[test]
fn an_acknowledgement_of_nothing_fails() {
    let check = |payload: Payload, deps: Vec<AtomId>| {
        let run = tempfile::tempdir().unwrap();
        let mut log =
            NodeLog::create(run.path(), &universe(), keys(), Durability::Buffered).unwrap();
        let first = log.append_batch(NOW, vec![draft(mode())]).unwrap()[0].atom_id;
        let payload = match payload {
            Payload::DispatchAck(ack) if ack.dispatch == AtomId([0; 32]) => super::ack(first),
            other => other,
        };
        log.append_batch(NOW, vec![draft(payload).after(deps)])
            .unwrap();
        log.close(NOW).unwrap();
        assert_eq!(failure(run.path()), Ok(CheckName::References));
    };
    check(ack(AtomId([5; 32])), vec![]);
    // The zero id stands for the mode atom, which is no dispatch.
    check(ack(AtomId([0; 32])), vec![]);
    check(mode(), vec![AtomId([5; 32])]);
}
