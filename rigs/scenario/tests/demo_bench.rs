//! The demo bench as a whole, in virtual time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use scenario::live::{LiveOptions, run};
use scenario::report::result::RunResult;
use scenario::verdict::Verdict;

/// Runs the demo bench for a time and gives its result.
fn demo(seed: u64, seconds: u64, run_dir: &Path) -> RunResult {
    let rig = runtime::rig::load_text(Path::new(scenario::demo::RIG_PATH), scenario::demo::RIG)
        .expect("the demo rig is good");
    assert!(rig.warnings.is_empty(), "{:?}", rig.warnings);
    run(
        LiveOptions {
            rig: Arc::new(rig),
            on: scenario::far_ends::On::Sim,
            virtual_time: true,
            seed,
            run_dir: run_dir.to_path_buf(),
            run_for: Some(Duration::from_secs(seconds)),
            listen: None,
            tokens: runtime::web::Tokens::default(),
            tls: None,
            armed: true,
            command: vec!["gridrig".into(), "demo".into()],
            id: "demo".into(),
        },
        |_| {},
    )
    .expect("it runs")
}

#[test]
fn the_demo_bench_dispatches_trades_and_leaves_complete_evidence() {
    let dir = tempfile::tempdir().expect("a folder");
    let result = demo(7, 120, dir.path());
    assert_eq!(result.verdict, Verdict::Pass, "{}", result.why);
    let counters = &result.counters;
    assert!(counters.dispatches > 0, "{counters:?}");
    assert_eq!(counters.dispatches, counters.dispatches_logged);
    assert!(counters.trades > 0, "{counters:?}");
    assert_eq!(counters.telemetry_lost, 0);
    assert!(counters.telemetry_written > 0);
    assert_eq!(counters.cycles_late, 0, "virtual time is never late");
    assert_eq!(result.ledger.verified, Some(true));
    let replayed = runtime::journal::replay(&dir.path().join("journal")).expect("readable");
    assert!(
        matches!(replayed, runtime::journal::Replayed::Identical { steps, .. } if steps >= 1200),
        "{replayed:?}"
    );
    let market = runtime::desk::replay(dir.path()).expect("readable");
    assert!(
        matches!(market, runtime::desk::MarketReplay::Identical { cleared, settled, .. } if cleared >= 6 && settled >= 5),
        "{market:?}"
    );
    for file in [
        "result.json",
        "events.jsonl",
        "samples.csv.zst",
        "journal",
        "junit.xml",
        "report.html",
        "env.json",
        "repro.sh",
        "ledger/universe.json",
    ] {
        assert!(dir.path().join(file).exists(), "{file}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let dir = tempfile::tempdir().expect("a folder");
        let result = demo(seed, 60, dir.path());
        let events = std::fs::read_to_string(dir.path().join("events.jsonl")).expect("read");
        (result.counters, result.ledger, events)
    };
    let (first, second) = (run(3), run(3));
    assert_eq!(first.0, second.0);
    assert_eq!(first.2, second.2);
    assert_eq!(first.1, second.1, "the ledger's root, to the last byte");
    assert_ne!(first.1, run(4).1, "another seed gives another run");
}
