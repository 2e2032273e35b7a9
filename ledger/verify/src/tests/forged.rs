//! Ledgers with well-formed frames and valid signatures that lie once.

use super::forge::{Lies, write};
use super::*;
use ledger_core::atom::Body;
use ledger_core::{Address, Amount, Head, HeadId, Hlc, Particle, Vertex, VertexId};
use ledger_core::{particle::Up, payload::Transfer};

type Make<'a> = &'a dyn Fn(AtomId) -> Payload;

/// A dispatch, its acknowledgement and a mode change.
fn usual<'a>() -> [Make<'a>; 3] {
    [&|_| dispatch(5), &ack, &|_| mode()]
}

fn check(payloads: &[Make<'_>], lies: &Lies<'_>, expected: CheckName) {
    let run = tempfile::tempdir().unwrap();
    write(run.path(), payloads, lies);
    assert_eq!(failure(run.path()), Ok(expected));
}

#[test]
fn without_a_lie_the_forger_is_believed() {
    let run = tempfile::tempdir().unwrap();
    write(run.path(), &usual(), &Lies::default());
    passes(&verify(run.path()));
}

#[test]
fn an_older_log_whose_vertices_bear_signatures_of_their_own_is_believed() {
    let run = tempfile::tempdir().unwrap();
    let older = Lies {
        vertex_key: Some(key(1)),
        ..Lies::default()
    };
    write(run.path(), &usual(), &older);
    passes(&verify(run.path()));
}

#[test]
fn a_lie_in_an_atom_is_seen_by_its_check() {
    let lie = |at: u64, change: &dyn Fn(&mut Body), expected| {
        let body = |clock, body: &mut Body| {
            if clock == at {
                change(body)
            }
        };
        check(
            &usual(),
            &Lies {
                body: Some(&body),
                ..Lies::default()
            },
            expected,
        );
    };
    lie(2, &|b| b.author_seq = 3, CheckName::Sequences);
    lie(2, &|b| b.prev = Some(AtomId([1; 32])), CheckName::Sequences);
    lie(
        2,
        &|b| (b.author_seq, b.prev) = (1, None),
        CheckName::Sequences,
    );
    lie(
        1,
        &|b| b.destinations = vec![b.author],
        CheckName::Destinations,
    );
    lie(
        2,
        &|b| b.destinations = vec![Address([1; 32])],
        CheckName::Destinations,
    );
    lie(
        2,
        &|b| b.deps = vec![AtomId([1; 32])],
        CheckName::References,
    );
    lie(2, &|b| b.config_epoch = 1, CheckName::Roles);
    lie(2, &|b| b.hlc = Hlc(1), CheckName::Time);
    lie(2, &|b| b.hlc = Hlc(u64::MAX), CheckName::Time);
    // Each author puts something up for itself, so that its shard is enough.
    let put_up = |b: &mut Body| {
        b.particles = vec![Particle::Up(Up {
            asset: "energy".to_owned(),
            amount: Amount(1),
            owner: b.author,
            nonce: 0,
        })];
    };
    lie(3, &put_up, CheckName::Particles);
    let transfer = |_| {
        Payload::Transfer(Transfer {
            memo: String::new(),
        })
    };
    let body = |_, body: &mut Body| put_up(body);
    let market = |_| key(3);
    let lies = Lies {
        body: Some(&body),
        author: Some(&market),
        ..Lies::default()
    };
    check(&[&transfer], &lies, CheckName::Particles);
}

#[test]
fn an_author_without_the_role_or_out_of_the_universe_is_seen() {
    let market = |_| key(3);
    check(
        &[&|_| mode()],
        &Lies {
            author: Some(&market),
            ..Lies::default()
        },
        CheckName::Roles,
    );
    let stranger = |_| key(9);
    check(
        &[&|_| mode()],
        &Lies {
            author: Some(&stranger),
            ..Lies::default()
        },
        CheckName::Signatures,
    );
}

#[test]
fn an_author_who_did_not_sign_is_seen() {
    let lies = Lies {
        unsigned: Some(2),
        ..Lies::default()
    };
    check(&usual(), &lies, CheckName::Signatures);
}

#[test]
fn an_authority_epoch_that_falls_is_seen() {
    check(
        &[&|_| dispatch(5), &|_| dispatch(4)],
        &Lies::default(),
        CheckName::Authority,
    );
}

#[test]
fn an_atom_that_stands_twice_is_seen() {
    let lies = Lies {
        repeat: Some(3),
        ..Lies::default()
    };
    let run = tempfile::tempdir().unwrap();
    write(
        run.path(),
        &[&|_| dispatch(5), &ack, &|_| mode(), &|_| mode()],
        &lies,
    );
    let failed: Vec<CheckName> = verify(run.path())
        .checks
        .into_iter()
        .filter(|c| matches!(c.status, crate::Status::Failed { .. }))
        .map(|c| c.name)
        .collect();
    assert_eq!(
        failed,
        [CheckName::Sequences, CheckName::References, CheckName::Time]
    );
}

#[test]
fn a_lie_in_a_vertex_is_seen_by_its_check() {
    let lie = |change: &dyn Fn(&mut Vertex), expected| {
        let vertex = |clock, vertex: &mut Vertex| {
            if clock == 2 {
                change(vertex)
            }
        };
        check(
            &usual(),
            &Lies {
                vertex: Some(&vertex),
                ..Lies::default()
            },
            expected,
        );
    };
    lie(&|v| v.l = 3, CheckName::Clock);
    lie(&|v| v.prev = VertexId([1; 32]), CheckName::Vertices);
    lie(&|v| v.c.root = [1; 32], CheckName::Vertices);
    lie(&|v| v.c.size = 0, CheckName::Vertices);
    lie(&|v| v.n = 1, CheckName::Vertices);
    lie(&|v| v.incarnation = 1, CheckName::Vertices);
    lie(
        &|v| v.node = Address::of_key(&universe().id().unwrap(), &key(4).public()),
        CheckName::Vertices,
    );
    lie(&|v| v.hlc = Hlc(1), CheckName::Time);
    check(
        &usual(),
        &Lies {
            vertex_key: Some(key(4)),
            ..Lies::default()
        },
        CheckName::Signatures,
    );
}

#[test]
fn a_lie_in_a_head_is_seen_by_its_check() {
    let lie = |change: &dyn Fn(&mut Head), expected| {
        let head = |size, head: &mut Head| {
            if size == 2 {
                change(head)
            }
        };
        check(
            &usual(),
            &Lies {
                head: Some(&head),
                ..Lies::default()
            },
            expected,
        );
    };
    lie(&|h| h.root = [1; 32], CheckName::Heads);
    lie(&|h| h.prev = HeadId([1; 32]), CheckName::Heads);
    lie(&|h| h.last_vertex = VertexId([1; 32]), CheckName::Heads);
    lie(&|h| h.incarnation = 1, CheckName::Heads);
    lie(&|h| h.hlc = Hlc(1), CheckName::Time);
    check(
        &usual(),
        &Lies {
            head_key: Some(key(4)),
            ..Lies::default()
        },
        CheckName::Signatures,
    );
    // A size is also what the next vertex names, so two checks see it.
    lie(&|h| h.size = 1, CheckName::Heads);
}
