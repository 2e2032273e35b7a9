//! The report does not depend on how many cores have looked.

use std::num::NonZeroUsize;

use super::forge::{Lies, write};
use super::*;
use crate::{Expectation, Status, verify_on};

/// Entries of these logs: several times what is looked at together.
const ENTRIES: usize = 20;

/// Writes a log and gives the report of one core, which that of each other number
/// of cores equals.
fn report(lies: &Lies<'_>) -> Report {
    let run = tempfile::tempdir().unwrap();
    let payload: &dyn Fn(AtomId) -> Payload = &|_| dispatch(5);
    write(run.path(), &[payload; ENTRIES], lies);
    let on = |cores| {
        let cores = NonZeroUsize::new(cores).unwrap();
        verify_on(run.path(), &Expectation::default(), cores)
    };
    let alone = on(1);
    for cores in [2, 4, 2] {
        assert_eq!(on(cores), alone, "{cores} cores");
    }
    alone
}

/// Where the check of the signatures fails.
fn place(report: &Report) -> &str {
    match report.first_failure().map(|check| &check.status) {
        Some(Status::Failed { place, .. }) => place,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_number_of_cores_believes_an_honest_log() {
    let report = report(&Lies::default());
    passes(&report);
    assert_eq!(report.entries, ENTRIES as u64);
}

#[test]
fn every_number_of_cores_names_the_first_of_many_bad_signatures() {
    // Each atom from the twelfth on is signed by nobody of the universe.
    let strangers = |clock| key(if clock >= 12 { 99 } else { 2 });
    let report = report(&Lies {
        author: Some(&strangers),
        ..Lies::default()
    });
    assert_eq!(failure_of(&report), CheckName::Signatures);
    assert_eq!(place(&report), "clock 12");
}

#[test]
fn every_number_of_cores_names_one_bad_signature_among_good_ones() {
    for clock in [9, ENTRIES as u64] {
        let report = report(&Lies {
            unsigned: Some(clock),
            ..Lies::default()
        });
        assert_eq!(place(&report), format!("clock {clock}"));
    }
}

#[test]
fn every_number_of_cores_sees_another_key_under_vertices_and_heads() {
    for lies in [
        Lies {
            vertex_key: Some(key(4)),
            ..Lies::default()
        },
        Lies {
            head_key: Some(key(4)),
            ..Lies::default()
        },
    ] {
        assert_eq!(failure_of(&report(&lies)), CheckName::Signatures);
    }
}

fn failure_of(report: &Report) -> CheckName {
    report.first_failure().map(|check| check.name).unwrap()
}
