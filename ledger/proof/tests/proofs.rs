//! What a proof promises: an honest one is believed, and nothing else is.

// Everything in this file is a test, its small functions too.
#![allow(clippy::unwrap_used, clippy::panic)]

mod forge;

use ledger_core::{Atom, Field as _, Level, Opaque, ParticleId, UniverseId};

use forge::{Log, ack, bundle, dispatch, log, say, story, transfer, universe};
use ledger_proof::{Bundle, CHECKS, CheckName, Expectation, ItemCode, Report, Status, verify};

const NONE: usize = usize::MAX;

/// The name of the first failed check, or the whole report when none failed.
fn failure(report: &Report) -> Result<CheckName, String> {
    let failed = report.first_failure().map(|check| check.name);
    failed.ok_or_else(|| report.to_string())
}

fn logs(id: UniverseId, nodes: &[u8], atoms: &[Atom]) -> Vec<Log> {
    let nodes = nodes.iter();
    nodes.map(|n| log(id, *n, atoms, |_| ())).collect()
}

/// Verifies a bundle of three of four nodes about a story, changed before.
fn check(expected: CheckName, change: impl Fn(&mut Bundle)) {
    let four = universe(4);
    let id = four.id().unwrap();
    let atoms = story(id);
    let mut made = bundle(&four, &atoms, &logs(id, &[1, 2, 4], &atoms), 2);
    change(&mut made);
    let report = verify(&made.to_bytes().unwrap(), &Expectation::of(id));
    assert_eq!(failure(&report), Ok(expected), "{report}");
}

fn remark(report: &Report, name: CheckName) -> String {
    let check = report.checks.iter().find(|c| c.name == name).unwrap();
    match &check.status {
        Status::Ok { remark } => remark.clone().unwrap_or_default(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_acknowledgement_is_proved_by_three_of_four_down_to_the_order() {
    let four = universe(4);
    let id = four.id().unwrap();
    let atoms = story(id);
    let made = bundle(&four, &atoms, &logs(id, &[1, 2, 4], &atoms), 2);
    let bytes = made.to_bytes().unwrap();
    assert_eq!(Bundle::from_bytes(&bytes).as_ref(), Ok(&made));
    let known = &made.consistency[0].since;
    let expected = Expectation {
        since: Some((known.size, known.root)),
        ..Expectation::of(id)
    };
    let report = verify(&bytes, &expected);
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.level, Some("L3"));
    assert_eq!((report.kind, report.atoms), (Some("dispatch-ack"), 4));
    assert_eq!(
        remark(&report, CheckName::Dependencies),
        "closed: 4 atoms down to the first cause"
    );
    assert_eq!(
        remark(&report, CheckName::Time),
        "by a clock that is virtual; witnessed 3 to 3 ms later"
    );
}

#[test]
fn one_vote_is_the_quorum_where_one_node_keeps_all() {
    let one = universe(1);
    let id = one.id().unwrap();
    let atoms = story(id);
    let made = bundle(&one, &atoms, &logs(id, &[1], &atoms), NONE);
    let report = verify(&made.to_bytes().unwrap(), &Expectation::of(id));
    assert!(report.is_ok(), "{report}");
    assert_eq!(remark(&report, CheckName::Quorum), "1 of 1 replicas, L3");
}

#[test]
fn a_proof_below_the_quorum_says_its_level_and_is_accepted_where_that_is_asked_for() {
    let four = universe(4);
    let id = four.id().unwrap();
    let atom = [say(22, dispatch(None)).atom(id)];
    for (nodes, level) in [
        (&[1, 3, 4][..], Some(Level::Final)),
        (&[2, 3], Some(Level::Replicated)),
        (&[3], Some(Level::DurableLocal)),
        (&[], None),
    ] {
        let all = logs(id, &[1, 2, 3, 4], &atom);
        let mut made = bundle(&four, &atom, &all, NONE);
        let votes = nodes.iter().map(|n| all[n - 1].votes[0].clone());
        made.proven[0].votes = votes.collect();
        let bytes = made.to_bytes().unwrap();
        for asked in [Level::DurableLocal, Level::Replicated, Level::Final] {
            let expected = Expectation {
                level: asked,
                ..Expectation::of(id)
            };
            let report = verify(&bytes, &expected);
            assert_eq!(report.is_ok(), level >= Some(asked), "{report}");
            assert_eq!(report.level, level.map(Level::name));
        }
    }
}

#[test]
fn a_forged_bundle_fails_the_check_that_sees_it() {
    use CheckName::{Canonical, Consistency, Dependencies, Format, Heads, Inclusion, Quorum};
    let swap = |b: &mut Bundle| b.proven[0].votes.swap(0, 1);
    check(Quorum, swap);
    check(Quorum, |b| {
        b.proven[0].votes[1] = b.proven[0].votes[0].clone()
    });
    check(Quorum, |b| {
        let again = b.proven[0].votes[2].clone();
        b.proven[0].votes.push(again);
    });
    check(Quorum, |b| b.proven[2].votes.truncate(2));
    check(Quorum, |b| {
        b.proven[0].votes[0] = b.proven[1].votes[0].clone()
    });
    check(Inclusion, |b| {
        b.proven[0].votes[0].path.pop();
    });
    check(Heads, |b| {
        b.proven[0].votes[0].head = b.proven[0].votes[1].head.clone()
    });
    check(Canonical, |b| {
        b.proven[0].votes[0].vertex = Opaque(vec![0x80])
    });
    check(Canonical, |b| b.proven[0].atom.push(0));
    check(Format, |b| b.proven.rotate_left(1));
    check(Format, |b| b.proven.clear());
    check(Dependencies, |b| {
        b.proven.remove(1);
    });
    check(Dependencies, |b| b.proven.push(b.proven[3].clone()));
    check(Dependencies, |b| b.proven.swap(1, 2));
    check(Consistency, |b| b.consistency[0].since.size = 3);
    check(Consistency, |b| {
        b.consistency.push(b.consistency[0].clone())
    });
    check(CheckName::Universe, |b| {
        b.universe = universe(1).canonical().unwrap()
    });
}

/// Verifies a bundle about one atom, witnessed by nodes 1 to 3 of four with
/// their vertices changed.
fn check_atom(
    expected: Option<CheckName>,
    say: impl Fn(UniverseId) -> Atom,
    change: fn(&mut ledger_core::Vertex),
) {
    let four = universe(4);
    let id = four.id().unwrap();
    let atoms = [say(id)];
    let logs: Vec<Log> = (1..=3).map(|n| log(id, n, &atoms, change)).collect();
    let made = bundle(&four, &atoms, &logs, NONE);
    let report = verify(&made.to_bytes().unwrap(), &Expectation::of(id));
    assert_eq!(failure(&report).ok(), expected, "{report}");
}

#[test]
fn what_a_quorum_signed_against_the_rules_is_refused_all_the_same() {
    check_atom(None, |id| say(21, transfer()).atom(id), |_| ());
    let stray = |v: &mut ledger_core::Vertex| v.locks.push(ParticleId([8; 32]));
    check_atom(
        Some(CheckName::Locks),
        |id| say(21, transfer()).atom(id),
        stray,
    );
    check_atom(
        Some(CheckName::Locks),
        |id| say(21, transfer()).atom(id),
        |v| v.locks.clear(),
    );
    check_atom(
        Some(CheckName::Locks),
        |id| say(22, dispatch(None)).atom(id),
        stray,
    );
    check_atom(
        Some(CheckName::Author),
        |id| say(21, dispatch(None)).atom(id),
        |_| (),
    );
    check_atom(
        Some(CheckName::Author),
        |id| say(30, dispatch(None)).atom(id),
        |_| (),
    );
    check_atom(
        Some(CheckName::Epoch),
        |id| {
            let mut saying = say(22, dispatch(None));
            saying.epoch = 1;
            saying.atom(id)
        },
        |_| (),
    );
    check_atom(
        Some(CheckName::Epoch),
        |id| say(22, dispatch(None)).atom(id),
        |v| v.n = 1,
    );
}

#[test]
fn a_named_atom_has_the_kind_that_names_it_and_was_witnessed_before() {
    let four = universe(4);
    let id = four.id().unwrap();
    let [order, ..] = story(id);
    let answer = say(22, ack(order.id())).atom(id);
    let judge = |atoms: [Atom; 2], is_reversed: bool| {
        let logs = logs(id, &[1, 2, 3], &atoms);
        let mut made = bundle(&four, &atoms, &logs, NONE);
        if is_reversed {
            made.proven.reverse();
            made.subject = atoms[0].id();
        }
        failure(&verify(&made.to_bytes().unwrap(), &Expectation::of(id)))
    };
    assert_eq!(
        judge([order.clone(), answer], false),
        Ok(CheckName::Dependencies)
    );
    let mut later = say(22, dispatch(None));
    later.deps = vec![order.id()];
    let later = later.atom(id);
    assert!(judge([order.clone(), later.clone()], false).is_err());
    assert_eq!(judge([later, order], true), Ok(CheckName::Dependencies));
}

#[test]
fn a_node_that_contradicts_itself_inside_a_bundle_is_seen() {
    let four = universe(4);
    let id = four.id().unwrap();
    let atoms = story(id);
    let honest = logs(id, &[1, 2, 3], &atoms);
    let mut made = bundle(&four, &atoms, &honest, NONE);
    let fork = log(id, 2, &atoms, |v| v.hlc = ledger_core::Hlc(7));
    made.proven[0].votes[1] = fork.votes[3].clone();
    let report = verify(&made.to_bytes().unwrap(), &Expectation::of(id));
    assert_eq!(failure(&report), Ok(CheckName::Heads), "{report}");
}

#[test]
fn another_universe_or_an_unknown_older_head_is_refused() {
    let four = universe(4);
    let id = four.id().unwrap();
    let atoms = story(id);
    let bytes = bundle(&four, &atoms, &logs(id, &[1, 2, 3], &atoms), 3)
        .to_bytes()
        .unwrap();
    let other = Expectation::of(UniverseId([5; 32]));
    let since = Expectation {
        since: Some((3, [5; 32])),
        ..Expectation::of(id)
    };
    for (expected, name) in [
        (other, CheckName::Universe),
        (since, CheckName::Consistency),
    ] {
        assert_eq!(failure(&verify(&bytes, &expected)), Ok(name));
    }
}

/// A bundle of every kind of item, about the last of two atoms of which the
/// second names the first; with `depth` atoms in it.
fn small(depth: usize) -> (Expectation, Vec<u8>) {
    let four = universe(4);
    let id = four.id().unwrap();
    let command = say(22, dispatch(None)).atom(id);
    let atoms = [command.clone(), say(22, ack(command.id())).atom(id)];
    let logs = logs(id, &[1, 2, 3], &atoms);
    let mut made = bundle(&four, &atoms, &logs, 1);
    made.proven.truncate(depth);
    (Expectation::of(id), made.to_bytes().unwrap())
}

/// Nothing authenticates the text of the summary, the last bytes of the file.
const SUMMARY_BYTES: usize = "an acknowledgement".len();

#[test]
fn every_changed_byte_is_refused_but_those_of_the_summary() {
    // Every byte of a bundle of one atom, and some of one with what it names.
    for (depth, step) in [(1, 1), (2, 37)] {
        let (expected, bytes) = small(depth);
        assert!(verify(&bytes, &expected).is_ok());
        for at in (0..bytes.len()).step_by(step) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 7);
            let is_summary = at >= bytes.len() - SUMMARY_BYTES;
            let report = verify(&changed, &expected);
            assert_eq!(report.is_ok(), is_summary, "byte {at} of {}", bytes.len());
        }
    }
}

#[test]
fn a_bundle_that_is_cut_off_or_goes_on_is_refused() {
    let (expected, bytes) = small(2);
    for end in 0..bytes.len() {
        let report = verify(&bytes[..end], &expected);
        assert_eq!(failure(&report), Ok(CheckName::Format), "{end}");
    }
    let twice = [&bytes[..], &bytes].concat();
    let more = [&bytes[..], &7u64.to_bytes().unwrap()].concat();
    for long in [twice, more] {
        assert_eq!(failure(&verify(&long, &expected)), Ok(CheckName::Format));
    }
}

/// The first two cells of each row of a table of the format page.
fn rows(title: &str) -> Vec<(&'static str, &'static str)> {
    let head = format!("| {title} |");
    let page = include_str!("../../../docs/ledger-format.md");
    let table = page.lines().skip_while(|line| !line.starts_with(&head));
    let rows = table.skip(2).map_while(|line| line.strip_prefix("| "));
    let cells = |row: &'static str| {
        let mut cells = row.split(" | ");
        Some((cells.next()?, cells.next()?))
    };
    rows.filter_map(cells).collect()
}

#[test]
fn the_format_page_names_every_item_and_every_check() {
    let names = [
        "header",
        "universe",
        "epoch",
        "atom",
        "vote",
        "consistency",
        "summary",
    ];
    let codes = ItemCode::ALL.map(|code| (code as u8).to_string());
    let items: Vec<(&str, &str)> = names
        .into_iter()
        .zip(codes.iter().map(String::as_str))
        .collect();
    assert_eq!(rows("item"), items);
    let checks: Vec<&str> = rows("check").iter().map(|(name, _)| *name).collect();
    let expected: Vec<&str> = CHECKS.iter().map(|(_, name)| *name).collect();
    assert_eq!(checks, expected);
}
