//! Proofs on the command line: files, words and exit codes.

mod common;

use common::{Done, Place};
use ledger_core::payload::{Dispatch, DispatchAck, DispatchKind, DispatchStage, Setpoint};
use ledger_core::universe::{NodeMember, Suite};
use ledger_core::{Party, Payload, Role, SecretKey, Universe};
use ledger_node::{AtomDraft, Durability, Keyring, NodeLog};

const NOW: i64 = 1_790_000_000_000_000_000;

/// A run folder with a dispatch and its acknowledgement, and its root.
#[allow(clippy::unwrap_used, reason = "everything in this file is a test")]
fn run(place: &Place) -> String {
    let key = |n| SecretKey::from_seed(&[n; 32]);
    let universe = Universe {
        version: 1,
        suite: Suite::Sha3Secp256k1,
        name: "bench-1".to_owned(),
        created_utc_ns: NOW,
        shard_bits: 4,
        nodes: vec![NodeMember {
            name: "node-1".to_owned(),
            key: key(1).public(),
        }],
        parties: vec![Party {
            name: "controller".to_owned(),
            roles: vec![Role::Dispatcher],
            key: key(2).public(),
        }],
        federation: None,
    };
    let keys = Keyring::new("node-1", key(1)).with_party("controller", key(2));
    let folder = place.path("run");
    std::fs::create_dir(&folder).unwrap();
    let mut log = NodeLog::create(&folder, &universe, keys, Durability::Fsync).unwrap();
    let command = Payload::Dispatch(Dispatch {
        device: "inverter-1".to_owned(),
        kind: DispatchKind::Release,
        setpoint: Setpoint::NONE,
        authority_epoch: 0,
        valid_from_utc_ns: NOW,
        valid_until_utc_ns: NOW,
        cause: None,
        why: "end".to_owned(),
    });
    let drafts = vec![AtomDraft::new("controller", command)];
    let dispatch = log.append_batch(NOW, drafts).unwrap()[0].atom_id;
    let root = ledger_core::hash::hex(&log.root());
    let answer = Payload::DispatchAck(DispatchAck {
        dispatch,
        stage: DispatchStage::Register,
        measured_p_milliwatts: None,
        seen_utc_ns: NOW,
    });
    let drafts = vec![AtomDraft::new("controller", answer)];
    log.append_batch(NOW, drafts).unwrap();
    log.close(NOW).unwrap();
    root
}

const UNIVERSE: [&str; 2] = ["--universe", "run/ledger/universe.json"];

fn verify(place: &Place, more: &[&str]) -> Done {
    let words = [&["ledger", "verify-proof", "a.tproof"], &UNIVERSE[..], more].concat();
    place.gridrig(&words)
}

#[test]
fn a_proof_verifies_without_the_run_and_a_changed_one_does_not() {
    let place = Place::new();
    let root = run(&place);
    let since = format!("1:{root}");
    let prove = [
        "ledger", "prove", "run", "clock:2", "--out", "a.tproof", "--json",
    ];
    let more = ["--with-dependencies", "--since", &since];
    let made = place.gridrig(&[&prove[..], &more].concat());
    let made = made.exits(0).json();
    assert_eq!((&made["level"], &made["atoms"]), (&"L3".into(), &2.into()));
    // Nothing but the genesis configuration is left of the run.
    std::fs::remove_file(place.path("run/ledger/segment-00000001.log")).unwrap();
    verify(&place, &["--since", &since]).exits(0);
    let report = verify(&place, &["--level", "L1", "--json"]);
    let report = report.exits(0).json();
    assert_eq!(report["atom"], made["atom"]);
    assert_eq!(report["checks"].as_array().map(Vec::len), Some(14));
    let kept = format!("2:{root}");
    verify(&place, &["--since", &kept]).exits(6);

    let proof = place.path("a.tproof");
    let mut bytes = std::fs::read(&proof).unwrap();
    bytes[700] ^= 1;
    std::fs::write(&proof, &bytes).unwrap();
    let refused = verify(&place, &[]);
    refused.exits(6);
    assert!(
        refused.stdout.contains("NOT VERIFIED"),
        "{}",
        refused.stdout
    );
    std::fs::write(&proof, &bytes[..700]).unwrap();
    verify(&place, &[]).exits(6);
    std::fs::remove_file(&proof).unwrap();
    verify(&place, &[]).exits(2);
}

#[test]
fn what_cannot_be_proved_is_told_with_its_code() {
    let place = Place::new();
    let root = run(&place);
    let check = |atom: &str, more: &[&str], exit: i32, code: &str| {
        let words = ["ledger", "prove", "run", atom, "--out", "a.tproof"];
        let done = place.gridrig(&[&words[..], more].concat());
        done.exits(exit);
        assert!(done.stderr.contains(code), "{atom}: {}", done.stderr);
        assert!(!place.path("a.tproof").exists(), "{atom}");
    };
    check("clock:3", &[], 2, "error[C022]");
    check("dispatch", &[], 2, "error[C001]");
    check("clock:1", &["--since", "1"], 2, "error[C001]");
    check(
        "clock:1",
        &["--since", &format!("2:{root}")],
        6,
        "error[C022]",
    );
}
