use super::*;
use crate::vote::tests::{atom, four_nodes, key, mode, transfer, votes};

fn testimony(atom: &Atom, vote: &Vote) -> Box<Testimony> {
    Box::new(Testimony {
        atom: Opaque(atom.to_bytes().unwrap()),
        vote: vote.clone(),
    })
}

/// Checks a contradiction as it was made, and as it reads back when published.
fn check(contradiction: &Contradiction, expected: Result<u8, EvidenceError>) {
    let (universe, directory) = four_nodes();
    let expected = expected.map(|n| Address::of_key(&directory.id, &key(n).public()));
    assert_eq!(contradiction.accused(&universe, &directory), expected);
    let payload = contradiction.to_payload().unwrap();
    let read = Contradiction::from_payload(&payload, &directory).unwrap();
    assert_eq!(&read, contradiction);
}

#[test]
fn each_kind_of_contradiction_accuses_the_one_who_signed_both() {
    let id = four_nodes().1.id;
    let [island, grid] = ["island", "grid"].map(|to| atom(id, 11, 1, mode(to)));
    let two_atoms =
        |a: &Atom, b: &Atom| Contradiction::TwoAtoms(Box::new(a.clone()), Box::new(b.clone()));
    check(&two_atoms(&island, &grid), Ok(11));

    let [one, other] = [&island, &grid].map(|a| votes(id, 3, std::slice::from_ref(a)).remove(0));
    let two_vertices =
        Contradiction::TwoVertices(testimony(&island, &one), testimony(&grid, &other));
    check(&two_vertices, Ok(3));
    let two_heads = Contradiction::TwoHeads(Box::new(one.head), Box::new(other.head));
    check(&two_heads, Ok(3));

    let spends = [
        atom(id, 12, 1, transfer("a")),
        atom(id, 12, 2, transfer("b")),
    ];
    let [a, b] = spends.clone().map(Box::new);
    check(&Contradiction::TwoSpends(a, b), Ok(12));
    let both = votes(id, 2, &spends);
    let two_locks = Contradiction::TwoLocks(
        testimony(&spends[0], &both[0]),
        testimony(&spends[1], &both[1]),
    );
    check(&two_locks, Ok(2));
}

#[test]
fn what_an_honest_signer_may_have_made_accuses_nobody() {
    let id = four_nodes().1.id;
    let atoms = [1, 2].map(|seq| atom(id, 11, seq, mode("island")));
    let no = || Err(EvidenceError::NoContradiction);
    let boxed = |a: &Atom| Box::new(a.clone());
    check(
        &Contradiction::TwoAtoms(boxed(&atoms[0]), boxed(&atoms[1])),
        no(),
    );
    check(
        &Contradiction::TwoAtoms(boxed(&atoms[0]), boxed(&atoms[0])),
        no(),
    );
    let both = votes(id, 3, &atoms);
    let of_others = votes(id, 4, &atoms);
    let shown = |at: usize, votes: &[Vote]| testimony(&atoms[at], &votes[at]);
    check(
        &Contradiction::TwoVertices(shown(0, &both), shown(1, &both)),
        no(),
    );
    check(
        &Contradiction::TwoVertices(shown(0, &both), shown(0, &of_others)),
        no(),
    );
    check(
        &Contradiction::TwoLocks(shown(0, &both), shown(1, &both)),
        no(),
    );
    let head = |votes: &[Vote]| Box::new(votes[0].head.clone());
    check(
        &Contradiction::TwoHeads(head(&both), head(&of_others)),
        no(),
    );
    check(&Contradiction::TwoHeads(head(&both), head(&both)), no());
}

#[test]
fn a_forged_signature_is_no_evidence() {
    let (universe, directory) = four_nodes();
    let id = directory.id;
    let atoms = ["island", "grid"].map(|to| atom(id, 11, 1, mode(to)));
    let [one, mut other] = [0, 1].map(|at: usize| votes(id, 3, &atoms[at..=at]).remove(0).head);
    other.signature = one.signature;
    let forged = Contradiction::TwoHeads(Box::new(one), Box::new(other));
    assert_eq!(
        forged.accused(&universe, &directory),
        Err(EvidenceError::Head)
    );
}

#[test]
fn the_format_page_names_every_kind_of_evidence() {
    let rows = crate::page::rows("evidence");
    let names: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(names, NAMES);
}
