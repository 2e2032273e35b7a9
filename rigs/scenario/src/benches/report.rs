//! `report`: how long results take from the record to the files, and how large the files are.
//!
//! A thousand assertions are judged against a record and told as JUnit and as HTML; beside them pytest
//! makes a thousand empty assertions and its own page. Then a hundred scenarios with four pictures
//! each, as one page. All is made in memory and written to a folder.

use std::path::Path;
use std::time::{Duration, Instant};

use document::Source;
use model::{Instant as At, Mode, Reading};
use serde_json::{Value, json};

use super::virtual_time::{RunFolder, told};
use super::{BenchError, at_most, peer, rounded};
use crate::check::{Evidence, evaluate};
use crate::folder::{self, About};
use crate::report::html::scenario_report;
use crate::report::junit::InconclusiveAs;
use crate::report::result::{RunResult, ScenarioResult};
use crate::script::{self, Scenario};
use crate::series::{RecordedEvent, Recording};
use crate::signal::Signal;
use crate::verdict::Verdict;

/// Assertions, as many as the peer makes. Source: who asked for it.
const ASSERTIONS: usize = 1_000;
/// Assertions of a scenario. Chosen: more than any of the bundled ones has.
const OF_SCENARIO: usize = 50;
/// Scenarios of the long report. Source: who asked for it.
const SCENARIOS: usize = 100;
/// Times that each is done; the best counts. Chosen: others may use the machine, too.
const ROUNDS: usize = 3;

/// Bounds. Source: who asked for it.
const SECONDS_MAX: f64 = 1.0;
const ASSERTIONS_BYTES_MAX: f64 = 1e6;
const SCENARIOS_BYTES_MAX: f64 = 3e6;

/// Checks of a scenario of the long report.
const PICTURED: [&str; 4] = [
    r#"{ t90 = "bat1.p", from = "t0", max = "1.0s", to = "2kW" }"#,
    r#"{ band = "bat1.p", from = "t0+1.5s", for = "20s", within = "1.9..2.1kW" }"#,
    r#"{ never = "bat1.p > 2.05kW" }"#,
    r#"{ overshoot = "bat1.p", from = "t0", to = "2kW", over = "20s", at_most = "10%" }"#,
];

pub(super) fn measure() -> Result<Value, BenchError> {
    let plain = r#"{ event = "cycle_late", at_most = 0 }"#;
    let many = scenario(&[plain; OF_SCENARIO])?;
    let assertions = timed(ASSERTIONS / OF_SCENARIO, &many)?;
    let pictured = scenario(&PICTURED)?;
    let pictures = timed(SCENARIOS, &pictured)?;
    Ok(json!({
        "bench": "report",
        "assertions": {
            "count": ASSERTIONS,
            "judged_and_written_s": at_most(SECONDS_MAX, assertions.seconds),
            "junit_and_html_bytes": at_most(ASSERTIONS_BYTES_MAX, assertions.junit + assertions.html),
            "html_bytes": assertions.html,
            "junit_bytes": assertions.junit,
            "pytest_html": match peer::ask("pytest_report.py", &[ASSERTIONS.to_string()]) {
                Ok(said) => said,
                Err(why) => json!({ "not_measured": why }),
            },
        },
        "scenarios": {
            "count": SCENARIOS,
            "pictures": SCENARIOS * PICTURED.len(),
            "judged_and_written_s": at_most(SECONDS_MAX, pictures.seconds),
            "html_bytes": at_most(SCENARIOS_BYTES_MAX, pictures.html),
        },
    }))
}

/// What a run's report took.
struct Taken {
    seconds: f64,
    html: f64,
    junit: f64,
}

/// Judges so many scenarios and writes their run folder; the best of some rounds.
fn timed(count: usize, scenario: &Scenario) -> Result<Taken, BenchError> {
    let record = record();
    let mut best: Option<Taken> = None;
    for _ in 0..ROUNDS {
        let folder = RunFolder::make("report")?;
        let start = Instant::now();
        let about = About {
            id: "report".into(),
            speed: "max".into(),
            ..About::default()
        };
        let mut result: RunResult = about.result(String::new());
        for _ in 0..count {
            let judge = |check| evaluate(check, &record, &Evidence::default());
            let checks = scenario.checks.iter().map(judge).collect();
            let one = ScenarioResult::judge(scenario, Verdict::Pass, "", checks, false);
            result.scenarios.push(one);
        }
        let result = result.judged(Verdict::Pass);
        let environment = about.environment(None);
        let html = scenario_report(&result, &environment);
        let written = folder::write(
            &folder.0,
            &result,
            &html,
            &environment,
            InconclusiveAs::Error,
        );
        let seconds = start.elapsed().as_secs_f64();
        written.map_err(|faults| BenchError::Run(told(&faults)))?;
        if result.verdict != Verdict::Pass {
            return Err(BenchError::Run(result.scenarios[0].reason()));
        }
        let taken = Taken {
            seconds: rounded(seconds),
            html: bytes(&folder.0.join(folder::REPORT_FILE))?,
            junit: bytes(&folder.0.join("junit.xml"))?,
        };
        if best.as_ref().is_none_or(|b| taken.seconds < b.seconds) {
            best = Some(taken);
        }
    }
    best.ok_or_else(|| BenchError::Run("no round".into()))
}

fn bytes(path: &Path) -> Result<f64, BenchError> {
    let found = std::fs::metadata(path).map_err(BenchError::system("the file is not there"))?;
    Ok(found.len() as f64)
}

fn scenario(checks: &[&str]) -> Result<Scenario, BenchError> {
    let text = format!(
        "name = \"A step of two kilowatts\"\ndo = [{{ at = \"2s\", mark = \"t0\" }}]\ncheck = [\n{}\n]\n",
        checks.join(",\n")
    );
    let loaded = script::read(Source::new("bench.toml", text));
    let loaded = loaded.map_err(|faults| BenchError::Run(told(&faults)))?;
    let first = loaded.scenarios.into_iter().next();
    first.ok_or_else(|| BenchError::Run("no scenario".into()))
}

/// Half a minute in ten samples a second, with a step of two kilowatts.
fn record() -> Recording {
    let at = |ms: u64| At::START + Duration::from_millis(ms);
    let mut record = Recording {
        ended: at(30_000),
        resolution: Duration::from_millis(100),
        modes: vec![(at(0), Mode::GridConnected)],
        events: vec![RecordedEvent {
            at: at(0),
            kind: "mode_changed",
            device: None,
        }],
        ..Recording::default()
    };
    record.marks.insert("t0".to_owned(), at(2_000));
    if let Ok(signal) = Signal::parse("bat1.p") {
        for ms in (0..=30_000).step_by(100) {
            let t_s = (ms as f64 - 2_050.0) / 1e3;
            let p_w = if t_s <= 0.0 {
                0.0
            } else {
                2_000.0 * (1.0 - (-t_s / 0.25).exp())
            };
            record.push(&signal, at(ms), Reading::Good(p_w));
        }
    }
    record
}
