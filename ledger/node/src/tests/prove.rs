//! Proofs out of real logs.

use std::path::PathBuf;

use ledger_core::payload::{DispatchAck, DispatchStage};
use ledger_core::{AtomId, Digest32, Level};
use ledger_proof::{Expectation, verify};

use super::*;
use crate::{Asked, ProveError, Selector, prove};

/// A run with `entries` entries in several segments: dispatches with their
/// acknowledgements, and mode changes. Gives the ids, and the roots after
/// each entry.
fn run(entries: usize) -> (tempfile::TempDir, Vec<AtomId>, Vec<Digest32>) {
    let run = tempfile::tempdir().unwrap();
    let mut log = NodeLog::create(run.path(), &universe(), keys(), small_segments()).unwrap();
    let (mut ids, mut roots) = (vec![], vec![]);
    for n in 0..entries {
        let draft = match n % 3 {
            0 => dispatch("inverter-1", 0),
            1 => AtomDraft::new(
                "controller",
                Payload::DispatchAck(DispatchAck {
                    dispatch: ids[n - 1],
                    stage: DispatchStage::Power,
                    measured_p_milliwatts: None,
                    seen_utc_ns: NOW,
                }),
            ),
            _ => mode("island").after(vec![ids[n - 1]]),
        };
        let receipts = log.append_batch(NOW + n as i64, vec![draft]).unwrap();
        ids.push(receipts[0].atom_id);
        roots.push(log.root());
    }
    log.close(NOW + entries as i64).unwrap();
    (run, ids, roots)
}

fn of(atom: &str) -> Asked {
    Asked {
        atom: atom.parse().unwrap(),
        since: None,
        with_dependencies: false,
    }
}

#[test]
fn every_entry_of_logs_of_every_size_is_proved_with_all_that_it_names() {
    for entries in 1..10 {
        let (run, ids, roots) = run(entries);
        let folders = [run.path().to_path_buf()];
        for (at, id) in ids.iter().enumerate() {
            let asked = Asked {
                since: Some((at as u64 + 1, roots[at])),
                with_dependencies: true,
                ..of(&format!("clock:{}", at + 1))
            };
            let bundle = prove(&folders, &asked).unwrap();
            assert_eq!((bundle.subject, bundle.proven.len()), (*id, at % 3 + 1));
            let expected = Expectation {
                since: asked.since,
                ..Expectation::of(bundle.universe_id)
            };
            let report = verify(&bundle.to_bytes().unwrap(), &expected);
            assert!(report.is_ok(), "{report}");
            assert_eq!(report.level, Some(Level::Final.name()));
        }
    }
}

#[test]
fn an_atom_is_found_by_its_digits_and_by_its_clock() {
    let (run, ids, _) = run(40);
    let folders = [run.path().to_path_buf()];
    let subject = |atom: &str| prove(&folders, &of(atom)).map(|bundle| bundle.subject);
    let text = ids[7].to_string();
    for asked in ["clock:8", &text, &text[..12]] {
        assert_eq!(subject(asked).unwrap(), ids[7]);
    }
    for absent in ["clock:0", "clock:41", "0123456789abcdef0"] {
        let refused = subject(absent).unwrap_err();
        assert!(matches!(refused, ProveError::Absent { .. }), "{refused}");
    }
    // Forty ids begin with sixteen digits, so one of these fits several.
    let ambiguous = "0123456789abcdef".chars().filter(|digit| {
        matches!(
            subject(&digit.to_string()),
            Err(ProveError::Ambiguous { .. })
        )
    });
    assert!(ambiguous.count() > 0);
    for word in ["", "clock:", "clock:x", "DISPATCH", "7F"] {
        assert!(word.parse::<Selector>().is_err(), "{word}");
    }
}

#[test]
fn what_no_log_has_is_told() {
    let (run, _, roots) = run(3);
    let folders = [run.path().to_path_buf()];
    for since in [(2, roots[2]), (4, roots[2]), (0, roots[0])] {
        let asked = Asked {
            since: Some(since),
            ..of("clock:1")
        };
        let refused = prove(&folders, &asked).unwrap_err();
        assert!(
            matches!(refused, ProveError::UnknownHead { .. }),
            "{refused}"
        );
    }
    let empty = tempfile::tempdir().unwrap();
    let refused = prove(&[empty.path().to_path_buf()], &of("clock:1")).unwrap_err();
    assert!(matches!(refused, ProveError::Ledger(_)), "{refused}");
    let blank = tempfile::tempdir().unwrap();
    NodeLog::create(blank.path(), &universe(), keys(), Durability::Fsync)
        .unwrap()
        .close(NOW)
        .unwrap();
    let blank = [PathBuf::from(blank.path())];
    let refused = prove(&blank, &of("clock:1")).unwrap_err();
    assert!(matches!(refused, ProveError::Empty { .. }), "{refused}");
}
