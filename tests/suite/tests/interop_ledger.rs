//! Proofs of the ledger in the opinion of a verifier that shares no line with ours, and of OpenSSL.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ledger_core::hash::hex;
use ledger_core::{Level, Universe};
use ledger_proof::{Bundle, CHECKS, Expectation, Status, verify};
use serde_json::Value;
use suite::process::{WithArguments, gridrig, script};
use suite::{folder, root};

/// A market on the quiet bench; it runs 40 s of virtual time in about two of ours.
const SCENARIO: &str = "tests/scenarios/market/real-time-balancing.toml";

/// Runs a command to its end; gives the exit code and standard output.
fn ended(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output
        .status
        .code()
        .is_none_or(|code| code != 0 && code != 6)
    {
        panic!(
            "{command:?}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    (output.status.code(), said)
}

/// The run folder of the scenario, below `dir`.
fn run_in(dir: &Path) -> PathBuf {
    let out = dir.join("runs");
    let command = gridrig().with(["test", SCENARIO, "--speed", "max", "--seed", "7"]);
    let (code, said) = ended(command.with(["--out".as_ref(), out.as_os_str()]));
    assert_eq!(code, Some(0), "{said}");
    let runs = fs::read_dir(out).expect("there are runs");
    let mut runs = runs.map(|run| run.expect("a folder").path());
    runs.find(|run| run.join("ledger").is_dir())
        .expect("a run with a ledger")
}

/// The clock of an acknowledgement whose dispatch was caused by a clearing.
fn answer_to_a_clearing(run: &Path) -> u64 {
    let (_, shown) = ended(gridrig().with(["ledger", "show", "--json"]).with([run]));
    let entries: Vec<Value> = shown
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object each"))
        .collect();
    let named = |id: &Value| entries.iter().find(|e| e["atom"] == *id);
    let is_answer = |e: &&Value| {
        let cause = named(&e["payload"]["dispatch"]).and_then(|d| named(&d["payload"]["cause"]));
        cause.is_some_and(|cause| cause["kind"] == "clearing")
    };
    let answer = entries.iter().find(is_answer).expect("such an answer");
    answer["clock"].as_u64().expect("a clock")
}

/// Proves an entry of a run into a file.
fn prove(run: &Path, clock: u64, out: &Path, more: &[&str]) -> Vec<u8> {
    let command = gridrig().with(["ledger", "prove"]).with([run]);
    let command = command
        .with([&format!("clock:{clock}"), "--out"])
        .with([out]);
    let (code, said) = ended(command.with(more));
    assert_eq!(code, Some(0), "{said}");
    fs::read(out).expect("the proof is there")
}

/// What the verifier in Python says of each file: its exit code, and the object that it prints.
fn python(universe: &Path, files: &[PathBuf], more: &[&str]) -> (Option<i32>, Vec<Value>) {
    let command = script("verify_proof.py")
        .with(["--json", "--universe"])
        .with([universe]);
    let (code, said) = ended(command.with(more).with(files));
    let said = said
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object each"));
    (code, said.collect())
}

/// The checks that a verdict of Python's names as failed, in the order of the report.
fn failed(said: &Value) -> String {
    let names = CHECKS.iter().map(|(_, name)| *name);
    let failed: Vec<&str> = names
        .filter(|name| said["checks"][name] == "failed")
        .collect();
    failed.join(" ")
}

#[test]
#[ignore = "needs peers"]
fn a_proof_of_a_run_is_believed_by_both_verifiers_and_a_changed_one_by_none() {
    let dir = folder();
    let run = run_in(dir.path());
    let universe = run.join("ledger/universe.json");
    let clock = answer_to_a_clearing(&run);
    let entries = ledger_node::entries(&run).expect("the log reads");
    let kept = entries
        .last()
        .expect("entries")
        .expect("the log reads")
        .vertex
        .c;
    let since = format!("{}:{}", kept.size, hex(&kept.root));
    let small = dir.path().join("small.tproof");
    let whole = dir.path().join("whole.tproof");
    let more = ["--since", &since, "--with-dependencies"];
    let proofs = [
        (prove(&run, clock, &small, &[]), 7),
        (prove(&run, clock, &whole, &more), 131),
    ];

    for (proof, more) in [(&small, &[][..]), (&whole, &more[..2])] {
        let ours = gridrig().with(["ledger", "verify-proof", "--universe"]);
        let (code, said) = ended(ours.with([&universe, proof]).with(more));
        assert_eq!(code, Some(0), "{said}");
        let (code, said) = python(&universe, std::slice::from_ref(proof), more);
        assert_eq!(
            (code, &said[0]["level"]),
            (Some(0), &"L3".into()),
            "{said:?}"
        );
    }
    // Another head than the one that was kept, and another universe.
    let rewritten = format!("{}:{}", kept.size, "00".repeat(32));
    let (code, said) = python(&universe, &[whole], &["--since", &rewritten]);
    assert_eq!(
        (code, failed(&said[0])),
        (Some(6), "consistency".to_owned())
    );
    let vectors = root().join("ledger/proof/vectors/universe.json");
    let (code, said) = python(&vectors, &[small], &[]);
    assert_eq!((code, failed(&said[0])), (Some(6), "universe".to_owned()));

    let text = fs::read_to_string(&universe).expect("the universe");
    let id = Universe::from_json(&text)
        .and_then(|u| u.id())
        .expect("a universe");
    let mut files = vec![];
    let mut wrong = |bytes: &[u8]| {
        assert!(!verify(bytes, &Expectation::of(id)).is_ok());
        let path = dir.path().join(format!("{}.wrong", files.len()));
        fs::write(&path, bytes).expect("a file is written");
        files.push(path);
    };
    for (bytes, step) in &proofs {
        let bundle = Bundle::from_bytes(bytes).expect("a bundle");
        let summary = bundle.summary.map_or(0, |text| text.len());
        for at in (0..bytes.len() - summary).step_by(*step) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            wrong(&changed);
        }
        for end in (0..bytes.len()).step_by(bytes.len() / 20) {
            wrong(&bytes[..end]);
        }
    }
    let (code, said) = python(&universe, &files, &[]);
    assert_eq!((code, said.len()), (Some(6), files.len()));
    let believed: Vec<&Value> = said
        .iter()
        .filter(|said| said["verified"] != false)
        .collect();
    assert!(believed.is_empty(), "{believed:?}");
}

#[test]
#[ignore = "needs peers"]
fn each_vector_has_the_same_verdict_in_both_verifiers() {
    let vectors = root().join("ledger/proof/vectors");
    let universe = vectors.join("universe.json");
    let text = fs::read_to_string(&universe).expect("the universe");
    let id = Universe::from_json(&text)
        .and_then(|u| u.id())
        .expect("a universe");
    let index = fs::read_to_string(vectors.join("index.txt")).expect("the index");
    let rows: Vec<Vec<&str>> = index
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.splitn(3, ' ').collect())
        .collect();
    assert!(rows.len() > 20, "{index}");
    for level in [Level::DurableLocal, Level::Replicated, Level::Final] {
        let asked = rows.iter().filter(|row| row[1] == level.name());
        let files: Vec<PathBuf> = asked.clone().map(|row| vectors.join(row[0])).collect();
        let (_, said) = python(&universe, &files, &["--level", level.name()]);
        assert_eq!(said.len(), files.len());
        for ((row, file), theirs) in asked.zip(&files).zip(&said) {
            let expected = row.get(2).copied().unwrap_or_default();
            assert_eq!(failed(theirs), expected, "{}", row[0]);
            let expectation = Expectation {
                level,
                ..Expectation::of(id)
            };
            let report = verify(&fs::read(file).expect("a vector"), &expectation);
            for check in &report.checks {
                let ours = match check.status {
                    Status::Ok { .. } => "ok",
                    Status::Failed { .. } => "failed",
                    Status::Undecided => "undecided",
                };
                let name = check.name.to_string();
                assert_eq!(theirs["checks"][&name], ours, "{} {name}", row[0]);
            }
        }
    }
}

#[test]
#[ignore = "needs peers"]
fn openssl_verifies_the_signature_of_an_atom_as_the_format_page_says() {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: there is no openssl in PATH");
        return;
    }
    let page = fs::read_to_string(root().join("docs/ledger-format.md")).expect("the page");
    let commands: Vec<&str> = page
        .lines()
        .filter(|l| l.starts_with("openssl dgst "))
        .collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    let dir = folder();
    let run = run_in(dir.path());
    let files = dir.path().join("openssl");
    let folder = files.to_string_lossy().into_owned();
    let proof = dir.path().join("a.tproof");
    let bytes = prove(&run, 1, &proof, &["--openssl", &folder]);
    let said = || {
        let shell = |command: &&str| {
            let line = command.replace("DIR", &folder);
            let output = Command::new("sh").with(["-c", &line]).output();
            String::from_utf8_lossy(&output.expect("sh starts").stdout).into_owned()
        };
        commands.iter().map(shell).collect::<String>()
    };
    let subject = Bundle::from_bytes(&bytes).expect("a bundle").subject;
    let told = said();
    assert!(told.starts_with("Verified OK\n"), "{told}");
    assert!(told.contains(&subject.to_string()), "{told}");

    let preimage = files.join("atom.preimage");
    let mut changed = fs::read(&preimage).expect("the preimage");
    changed[70] ^= 1;
    fs::write(&preimage, changed).expect("the preimage is written");
    assert!(said().starts_with("Verification failure\n"), "{}", said());
}
