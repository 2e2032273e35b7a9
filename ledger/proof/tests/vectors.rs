//! The vectors: bundles with their verdicts, for whoever writes a third verifier.
//!
//! They are made here from seeds, stored in `vectors/`, and given to the
//! verifier in Python by the suite `interop_ledger`. `UPDATE=1` writes them anew.

// Everything in this file is a test, its small functions too.
#![allow(clippy::unwrap_used, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "vectors are files")]

mod forge;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use forge::{
    ENERGY_MILLIWATT_HOURS, ack, across, bundle, change, credit, dispatch, key, log, log_with,
    metering, minting, paying, say, story, transfer, universe,
};
use ledger_core::atom::Signed;
use ledger_core::particle::Up;
use ledger_core::{
    Atom, Hlc, Level, ParticleId, SecretKey, Signature, UniverseId, Vertex, VertexId,
};
use ledger_proof::{Bundle, Expectation, verify};

/// No consistency proof.
const NONE: usize = usize::MAX;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// A bundle of nodes 1 to 3 of four about these atoms.
fn of(atoms: &[Atom], change: impl Fn(&mut Vertex)) -> Bundle {
    let four = universe(4);
    let id = four.id().unwrap();
    let logs: Vec<_> = (1..=3).map(|n| log(id, n, atoms, &change)).collect();
    bundle(&four, atoms, &logs, NONE)
}

/// The other signature that ECDSA would take for the same statement: `n - s`.
fn high_s(signature: &Signature) -> Signature {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xfe, 0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36,
        0x41, 0x41,
    ];
    let mut high = *signature;
    let mut borrow = 0;
    for at in (0..32).rev() {
        let digit = i16::from(ORDER[at]) - i16::from(signature.0[32 + at]) - borrow;
        borrow = i16::from(digit < 0);
        high.0[32 + at] = u8::try_from(digit + 256 * borrow).unwrap();
    }
    high
}

/// Name, level asked for, checks that fail, and the bytes.
type Vector = (&'static str, Level, &'static str, Vec<u8>);

fn vectors() -> Vec<Vector> {
    let id = universe(4).id().unwrap();
    let final_ = Level::Final;
    let whole = || {
        let atoms = story(id);
        let logs: Vec<_> = [1, 2, 4].map(|n| log(id, n, &atoms, |_| ())).into();
        bundle(&universe(4), &atoms, &logs, 2)
    };
    let command = || [say(22, dispatch(None)).atom(id)];
    let given = || [say(21, transfer()).atom(id)];
    let single = || of(&command(), |_| ());
    // As in older logs, where a vertex bears a signature of its own.
    let signed_alone = |atoms: &[Atom], by: &dyn Fn(&SecretKey) -> SecretKey| {
        let sign = |own: &SecretKey, vertex: &VertexId| Some(by(own).sign(&vertex.0).unwrap());
        let logs: Vec<_> = (1..=3)
            .map(|n| log_with(id, n, atoms, |_| (), sign))
            .collect();
        bundle(&universe(4), atoms, &logs, NONE).to_bytes().unwrap()
    };
    let own = |own: &SecretKey| own.clone();
    let of_another = |_: &SecretKey| key(4);
    let changed = |mut bundle: Bundle, change: &dyn Fn(&mut Bundle)| {
        change(&mut bundle);
        bundle.to_bytes().unwrap()
    };
    let kept = |bundle: Bundle| bundle.to_bytes().unwrap();
    let two = |b: &mut Bundle| b.proven[0].votes.truncate(2);
    let one = |b: &mut Bundle| b.proven[0].votes.truncate(1);
    let stray = |v: &mut Vertex| v.locks.push(ParticleId([8; 32]));
    let later_epoch = || {
        let mut saying = say(22, dispatch(None));
        saying.epoch = 1;
        [saying.atom(id)]
    };
    let other_kind = || {
        let [order, ..] = story(id);
        [order.clone(), say(22, ack(order.id())).atom(id)]
    };
    let fork = || {
        let atoms = story(id);
        let other = log(id, 2, &atoms, |v| v.hlc = Hlc(7));
        let mut made = whole();
        made.proven[0].votes[1] = other.votes[3].clone();
        kept(made)
    };
    let malleable = || {
        let [atom] = command();
        let turn = |signed: &Signed| Signed {
            signature: high_s(&signed.signature),
            ..signed.clone()
        };
        let sigs: Vec<Signed> = atom.sigs().iter().map(turn).collect();
        let bytes = atom.bytes_with(&sigs).unwrap();
        kept(of(&[Atom::from_bytes(&bytes, &id).unwrap()], |_| ()))
    };
    let overlong = || {
        let mut bytes = kept(single());
        let summary = "an acknowledgement".len();
        // The code 7 of the last item, in two bytes in place of one.
        let at = bytes.len() - summary - 2;
        assert_eq!(bytes[at], 7);
        bytes.insert(at, 0x18);
        bytes
    };
    let other_universe = || {
        let one = universe(1);
        let id = one.id().unwrap();
        let atoms = [say(22, dispatch(None)).atom(id)];
        kept(bundle(&one, &atoms, &[log(id, 1, &atoms, |_| ())], NONE))
    };
    let cut_off = || {
        let mut bytes = kept(single());
        bytes.truncate(bytes.len() - "an acknowledgement".len() - 3);
        bytes
    };
    let both = || change(&[31, 32]);
    // From the meter through the mint to whom the credit went.
    let (reading, metered) = metering(id);
    let minted = |downs: &[&Up], amount: i64| {
        let up = credit(id, amount, 2);
        let mint = minting(id, &reading, downs, &up);
        let paid = paying(id, &[&mint], &up, &credit(id, amount, 3));
        kept(of(&[reading.clone(), mint, paid], |_| ()))
    };
    let energy = ENERGY_MILLIWATT_HOURS;
    let minted_twice = || {
        let ups = [2, 3].map(|nonce| credit(id, energy, nonce));
        let mints = [0, 1].map(|at| minting(id, &reading, &[&metered], &ups[at]));
        let [one, other] = &mints;
        let paid = paying(id, &[one, other], &ups[1], &credit(id, energy, 4));
        kept(of(
            &[reading.clone(), one.clone(), other.clone(), paid],
            |_| (),
        ))
    };
    let spent_twice = || {
        let up = credit(id, energy, 2);
        let mint = minting(id, &reading, &[&metered], &up);
        let one = paying(id, &[&mint], &up, &credit(id, energy, 3));
        let other = paying(id, &[&mint, &one], &up, &credit(id, energy, 4));
        kept(of(&[reading.clone(), mint, one, other], |_| ()))
    };
    let out_of_nowhere = || {
        let up = credit(id, energy, 2);
        let other = credit(id, energy, 9);
        let mint = minting(id, &reading, &[&metered], &up);
        let paid = paying(id, &[&mint], &other, &credit(id, energy, 3));
        kept(of(&[reading.clone(), mint, paid], |_| ()))
    };
    vec![
        ("credit", final_, "", minted(&[&metered], energy)),
        (
            "mint-above-its-reading",
            final_,
            "amounts",
            minted(&[&metered], energy + 1),
        ),
        (
            "mint-without-reading",
            final_,
            "amounts",
            minted(&[], energy),
        ),
        ("minted-twice", final_, "amounts", minted_twice()),
        ("spent-twice", final_, "amounts", spent_twice()),
        ("credit-out-of-nowhere", final_, "amounts", out_of_nowhere()),
        ("story", final_, "", kept(whole())),
        ("dispatch", final_, "", kept(single())),
        ("transfer", final_, "", kept(of(&given(), |_| ()))),
        (
            "vertices-signed-alone",
            final_,
            "",
            signed_alone(&command(), &own),
        ),
        (
            "vertices-signed-by-another",
            final_,
            "heads quorum",
            signed_alone(&command(), &of_another),
        ),
        (
            "vertices-signed-where-none-may-be",
            final_,
            "heads quorum",
            signed_alone(&given(), &own),
        ),
        (
            "two-of-four",
            Level::Replicated,
            "",
            changed(single(), &two),
        ),
        (
            "one-of-four",
            Level::DurableLocal,
            "",
            changed(single(), &one),
        ),
        (
            "two-of-four-for-l3",
            final_,
            "quorum",
            changed(single(), &two),
        ),
        (
            "one-of-four-for-l2",
            Level::Replicated,
            "quorum",
            changed(single(), &one),
        ),
        (
            "one-node-twice",
            final_,
            "quorum",
            changed(single(), &|b| {
                b.proven[0].votes[2] = b.proven[0].votes[1].clone()
            }),
        ),
        (
            "votes-out-of-order",
            final_,
            "quorum",
            changed(single(), &|b| b.proven[0].votes.swap(0, 1)),
        ),
        ("stray-lock", final_, "locks", kept(of(&command(), stray))),
        (
            "no-lock",
            final_,
            "locks",
            kept(of(&given(), |v| v.locks.clear())),
        ),
        (
            "wrong-role",
            final_,
            "author",
            kept(of(&[say(21, dispatch(None)).atom(id)], |_| ())),
        ),
        (
            "later-epoch",
            final_,
            "epoch",
            kept(of(&later_epoch(), |_| ())),
        ),
        (
            "vertex-of-later-epoch",
            final_,
            "epoch quorum",
            kept(of(&command(), |v| v.n = 1)),
        ),
        (
            "replaced-node",
            final_,
            "",
            kept(across(1, &[(1, 1), (2, 1), (5, 1)], both(), &[1, 2, 3])),
        ),
        (
            "across-the-change",
            final_,
            "",
            kept(across(0, &[(1, 0), (2, 1), (5, 1)], both(), &[1, 2, 3])),
        ),
        (
            "before-the-change",
            final_,
            "",
            kept(across(0, &[(1, 0), (2, 0), (4, 0)], both(), &[1, 2, 3])),
        ),
        (
            "vote-of-a-node-that-left",
            final_,
            "epoch quorum",
            kept(across(1, &[(1, 1), (2, 1), (4, 1)], both(), &[1, 2, 3])),
        ),
        (
            "old-vote-of-a-node-that-left",
            final_,
            "quorum",
            kept(across(0, &[(1, 1), (2, 1), (4, 0)], both(), &[1, 2, 3])),
        ),
        (
            "vote-older-than-its-atom",
            final_,
            "epoch",
            kept(across(1, &[(1, 0), (2, 1), (5, 1)], both(), &[1, 2, 3])),
        ),
        (
            "change-by-one-admin",
            final_,
            "epoch",
            kept(across(
                1,
                &[(1, 1), (2, 1), (5, 1)],
                change(&[31]),
                &[1, 2, 3],
            )),
        ),
        (
            "change-by-a-stranger",
            final_,
            "epoch",
            kept(across(
                1,
                &[(1, 1), (2, 1), (5, 1)],
                change(&[31, 22]),
                &[1, 2, 3],
            )),
        ),
        (
            "change-without-quorum",
            final_,
            "quorum",
            kept(across(1, &[(1, 1), (2, 1), (5, 1)], both(), &[1, 2])),
        ),
        (
            "change-left-out",
            final_,
            "epoch quorum",
            changed(
                across(1, &[(1, 1), (2, 1), (5, 1)], both(), &[1, 2]),
                &|b| b.epochs.clear(),
            ),
        ),
        ("fork", final_, "heads", fork()),
        (
            "cut-path",
            final_,
            "inclusion quorum",
            changed(whole(), &|b| {
                b.proven[0].votes[0].path.pop();
            }),
        ),
        (
            "other-kind",
            final_,
            "dependencies",
            kept(of(&other_kind(), |_| ())),
        ),
        (
            "missing-cause",
            final_,
            "dependencies",
            changed(whole(), &|b| {
                b.proven.remove(2);
            }),
        ),
        (
            "rewritten",
            final_,
            "consistency",
            changed(whole(), &|b| b.consistency[0].since.root[0] ^= 1),
        ),
        ("high-s", final_, "signatures", malleable()),
        ("overlong-integer", final_, "format", overlong()),
        ("cut-off", final_, "format", cut_off()),
        ("other-universe", final_, "universe", other_universe()),
    ]
}

/// The checks that fail, in the order of the report.
fn failed(bytes: &[u8], universe: UniverseId, level: Level) -> String {
    let expected = Expectation {
        level,
        ..Expectation::of(universe)
    };
    let report = verify(bytes, &expected);
    let failed = report.checks.iter();
    let failed = failed.filter(|c| matches!(c.status, ledger_proof::Status::Failed { .. }));
    let names: Vec<String> = failed.map(|check| check.name.to_string()).collect();
    assert_eq!(report.is_ok(), names.is_empty());
    names.join(" ")
}

#[test]
fn each_vector_is_what_its_seed_makes_and_has_its_verdict() {
    let (folder, four) = (folder(), universe(4));
    let id = four.id().unwrap();
    let mut index = String::from("# file level checks-that-fail\n");
    let mut files = vec![(
        "universe.json".to_owned(),
        four.to_json().unwrap().into_bytes(),
    )];
    for (name, level, expected, bytes) in vectors() {
        assert_eq!(failed(&bytes, id, level), expected, "{name}");
        writeln!(
            index,
            "{}",
            format!("{name}.tproof {level} {expected}").trim_end()
        )
        .unwrap();
        files.push((format!("{name}.tproof"), bytes));
    }
    files.push(("index.txt".to_owned(), index.into_bytes()));
    for (name, bytes) in files {
        let path = folder.join(&name);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        let stored = std::fs::read(&path).expect("there: run with UPDATE=1 once");
        assert!(stored == bytes, "{name} is old: run with UPDATE=1");
    }
}
