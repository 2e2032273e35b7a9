//! A run's evidence can be recomputed, and any later change of it is seen.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use runtime::desk::MarketReplay;
use runtime::journal::Replayed;
use scenario::live::{LiveOptions, run};
use suite::{folder, root};

/// One run of the demo bench for all tests here.
fn recorded() -> &'static Path {
    static RUN: OnceLock<tempfile::TempDir> = OnceLock::new();
    RUN.get_or_init(|| {
        let dir = folder();
        let rig = runtime::rig::load(&root().join("rigs/virtual/campus.toml")).expect("a good rig");
        let options = LiveOptions {
            rig: Arc::new(rig),
            on: scenario::far_ends::On::Sim,
            virtual_time: true,
            seed: 7,
            run_dir: dir.path().to_path_buf(),
            run_for: Some(Duration::from_secs(60)),
            listen: None,
            tokens: runtime::web::Tokens::default(),
            tls: None,
            armed: true,
            command: vec!["gridrig".into(), "demo".into()],
            id: "recorded".into(),
        };
        run(options, |_| {}).expect("it runs");
        dir
    })
    .path()
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copied");
        }
    }
}

/// The files below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found.sort();
    found
}

/// Changes one bit in the middle of a file.
fn tamper(path: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = std::fs::read(path).expect("the file is there");
    let at = at(bytes.len());
    bytes[at] ^= 1;
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn every_cycle_and_every_clearing_of_a_run_is_recomputed_as_it_was() {
    let run = recorded();
    let cycles = runtime::journal::replay(&run.join("journal")).expect("readable");
    assert!(
        matches!(cycles, Replayed::Identical { steps, .. } if steps >= 600),
        "{cycles:?}"
    );
    let market = runtime::desk::replay(run).expect("readable");
    let identical = matches!(market, MarketReplay::Identical { cleared, settled, .. } if cleared >= 2 && settled >= 1);
    assert!(identical, "{market:?}");
    let verified = ledger_verify::verify(run);
    assert!(verified.is_ok(), "{verified:?}");
}

#[test]
fn a_changed_bit_of_the_journal_is_seen_wherever_it_is() {
    for tenth in 1..10 {
        let dir = folder();
        copy_folder(recorded(), dir.path());
        let journal = dir.path().join("journal");
        tamper(&journal, |length| length * tenth / 10);
        let replayed = runtime::journal::replay(&journal);
        let whole = runtime::journal::replay(&recorded().join("journal")).expect("readable");
        let same = matches!((&replayed, &whole),
            (Ok(Replayed::Identical { steps: a, .. }), Replayed::Identical { steps: b, .. }) if a == b);
        assert!(
            !same,
            "a bit at {tenth}/10 was changed, and the replay did not see it"
        );
    }
}

#[test]
fn a_changed_bit_of_the_ledger_is_seen_wherever_it_is() {
    let segments: Vec<PathBuf> = files(&recorded().join("ledger"))
        .into_iter()
        .filter(|path| std::fs::metadata(path).is_ok_and(|m| m.len() > 1000))
        .collect();
    assert!(!segments.is_empty(), "the run left no ledger");
    for segment in segments {
        let name = segment
            .strip_prefix(recorded())
            .expect("inside the run")
            .to_path_buf();
        for tenth in 1..10 {
            let dir = folder();
            copy_folder(recorded(), dir.path());
            tamper(&dir.path().join(&name), |length| length * tenth / 10);
            let verified = ledger_verify::verify(dir.path());
            assert!(
                !verified.is_ok(),
                "a bit at {tenth}/10 of {} was changed, and the ledger still verified",
                name.display()
            );
        }
    }
}
