//! Snapshots of what a run leaves, with fixed times.

use std::collections::BTreeMap;
use std::time::Duration;

use document::Source;
use model::{Instant, Mode, Reading};

use super::environment::Environment;
use super::junit::{InconclusiveAs, junit};
use super::plot::{Line, Plot};
use super::result::{Counters, LedgerSummary, RunResult, SCHEMA, ScenarioResult, Status};
use super::run::{DispatchRow, RunReport, run_report};
use super::{html, number};
use crate::check::{CheckResult, Evidence, LedgerEvidence, Verification, evaluate};
use crate::script::{Scenario, read};
use crate::series::{FaultSpan, RecordedEvent, Recording};
use crate::signal::Signal;
use crate::verdict::{Expect, Verdict};

const FILE: &str = r#"
name = "FFR <step> & \"quotes\""
source = ["Fingrid FFR 2024"]
tags = ["ffr"]
do = [{ at = "0s", step = { "grid.f" = "49.5Hz" }, mark = "t0" }]
check = [
  { t90 = "bat1.p", from = "t0", max = "1.0s", to = "2kW" },
  { band = "bat1.p", from = "t0+1.3s", for = "3s", within = "1.9..2.1kW", max_gap = "500ms" },
  { never = "bat1.p > 2.05kW" },
  { band = "bat1.soc", within = "15..90%" },
  { mode = "grid_connected", within = "1s" },
  { event = "cycle_late", at_most = 0 },
  { ledger = "complete" },
]
"#;

fn at(ms: u64) -> Instant {
    Instant::START + Duration::from_millis(ms)
}

fn recording(watts: f64) -> Recording {
    let mut recording = Recording {
        ended: at(8000),
        resolution: Duration::from_millis(100),
        modes: vec![(at(0), Mode::GridConnected)],
        faults: vec![FaultSpan {
            what: "lan1.loss = 20%".to_owned(),
            from: at(3000),
            to: Some(at(3600)),
        }],
        events: vec![RecordedEvent {
            at: at(0),
            kind: "mode_changed",
            device: None,
        }],
        ..Recording::default()
    };
    recording.marks.insert("t0".to_owned(), at(2000));
    let signal = Signal::parse("bat1.p").expect("known");
    for ms in (0..=8000).step_by(100).filter(|ms| *ms != 3100) {
        let t_s = (ms as f64 - 2100.0) / 1000.0;
        // A small ripple of fixed shape stands for the noise of a meter.
        let ripple = f64::from(u8::try_from(ms / 100 % 7).unwrap_or(0)) - 3.0;
        let p = if t_s <= 0.0 {
            0.0
        } else {
            watts * (1.0 - (-t_s / 0.25).exp()) + ripple
        };
        recording.push(&signal, at(ms), Reading::Good(p));
    }
    recording
}

fn scenario() -> Scenario {
    let loaded = read(Source::new("tests/scenarios/ffr.toml", FILE)).expect("right");
    loaded.scenarios.into_iter().next().expect("one")
}

fn checks(scenario: &Scenario, watts: f64) -> Vec<CheckResult> {
    let evidence = Evidence {
        ledger: LedgerEvidence {
            dispatches: 4,
            dispatches_logged: 4,
            verification: Verification::Holds {
                root: "9c0f".to_owned(),
            },
        },
        ..Evidence::default()
    };
    scenario
        .checks
        .iter()
        .map(|check| evaluate(check, &recording(watts), &evidence))
        .collect()
}

pub(super) fn judged(name: &str, watts: f64, expect: Expect) -> ScenarioResult {
    let mut scenario = scenario();
    scenario.name.push_str(name);
    scenario.expect = expect;
    scenario
        .checks
        .retain(|c| expect == Expect::Pass || c.kind.word() == "never");
    let checks = checks(&scenario, watts);
    ScenarioResult::judge(&scenario, Verdict::Pass, "", checks, false).ran(7, 8.0)
}

pub(super) fn result() -> RunResult {
    let mut broken = ScenarioResult::judge(
        &scenario(),
        Verdict::Infrastructure,
        "inverter-2 did not answer on lan1",
        Vec::new(),
        false,
    );
    broken.name.push_str(", no device");
    RunResult {
        schema: SCHEMA,
        id: "20261122T101530Z-7f3a".to_owned(),
        status: Status::Ended,
        verdict: Verdict::Pass,
        exit_code: 0,
        why: String::new(),
        gridrig: "0.1.0".to_owned(),
        rig: "rigs/virtual/lab.toml".to_owned(),
        on: "sim".to_owned(),
        speed: "max".to_owned(),
        seed: 7,
        started_utc: "2026-11-22T10:15:30.000Z".to_owned(),
        ended_utc: "2026-11-22T10:15:42.500Z".to_owned(),
        shard: None,
        parts: Vec::new(),
        repeats: Vec::new(),
        changes: None,
        scenarios: vec![
            judged("", 2000.0, Expect::Pass),
            judged(", too much", 2120.0, Expect::Pass),
            judged(", known bad", 2120.0, Expect::Fail),
            broken,
        ],
        counters: Counters {
            cycles: 240,
            cycles_late: 1,
            samples: 9600,
            dispatches: 12,
            dispatches_logged: 12,
            trades: 3,
            telemetry_written: 9600,
            telemetry_lost: 0,
            database_lost: 0,
            more: BTreeMap::from([("faults".to_owned(), 3)]),
        },
        ledger: LedgerSummary {
            root: Some("9c0f5e".to_owned()),
            entries: 61,
            verified: Some(true),
            ..LedgerSummary::default()
        },
        safe_end: Vec::new(),
        fallbacks: Vec::new(),
        unwritten: Vec::new(),
    }
    .judged(Verdict::Pass)
}

#[test]
fn what_telemetry_misses_is_said_in_the_report_and_nothing_where_it_has_all() {
    let with = |lost, waiting: u64, database| {
        let mut result = result();
        result.counters.telemetry_lost = lost;
        result.counters.database_lost = database;
        if waiting > 0 {
            let name = super::result::TELEMETRY_WAITING.to_owned();
            result.counters.more.insert(name, waiting);
        }
        (
            html::scenario_report(&result, &environment()),
            run_report(&result, &environment(), &run()),
        )
    };
    for (lost, waiting, database, said) in [
        (0, 0, 0, None),
        (1, 0, 0, Some("Of telemetry 1 value were lost.")),
        (
            0,
            7,
            0,
            Some("Of telemetry 7 values wait in the spool of this run"),
        ),
        (
            3,
            7,
            0,
            Some("Of telemetry 3 values were lost, and 7 values wait in the spool"),
        ),
        (
            0,
            0,
            9,
            Some("In samples.db 9 rows (readings, figures, events) are missing"),
        ),
        (
            1,
            0,
            1,
            Some("Of telemetry 1 value were lost. In samples.db 1 row ("),
        ),
    ] {
        let (scenarios, run) = with(lost, waiting, database);
        for page in [scenarios, run] {
            let told = page.split("<p class=\"missing\">").nth(1);
            assert_eq!(
                told.is_some(),
                said.is_some(),
                "{lost} {waiting} {database}"
            );
            assert!(
                told.unwrap_or_default()
                    .starts_with(said.unwrap_or_default()),
                "{told:?}"
            );
        }
    }
}

fn environment() -> Environment {
    Environment {
        gridrig: "0.1.0".to_owned(),
        versions: BTreeMap::from([("rig_schema".to_owned(), "1".to_owned())]),
        system: "Linux 6.1 x86_64".to_owned(),
        rig: "rigs/virtual/lab.toml".to_owned(),
        rig_hash: "5e1f".to_owned(),
        seed: 7,
        ..Environment::default()
    }
}

fn run() -> RunReport {
    let wave = |name: &str, size: f64, base: f64| Line {
        name: name.to_owned(),
        points: (0..600)
            .map(|i| {
                let t = f64::from(i) / 10.0;
                (t, (i != 300).then(|| base + size * (t / 5.0).sin()))
            })
            .collect(),
        holds: false,
    };
    let chart = |title: &str, unit: &str, lines| Plot {
        title: title.to_owned(),
        unit: unit.to_owned(),
        to_s: 60.0,
        lines,
        ..Plot::default()
    };
    RunReport {
        charts: vec![
            chart(
                "Active power",
                "W",
                vec![wave("pv1", 300.0, 1500.0), wave("bat1", 900.0, 0.0)],
            ),
            chart("Frequency", "Hz", vec![wave("grid", 0.02, 50.0)]),
        ],
        modes: vec![
            (0.0, "starting".to_owned()),
            (0.4, "grid_connected".to_owned()),
        ],
        dispatches: vec![DispatchRow {
            t_s: 58.2,
            device: "bat1".to_owned(),
            setpoint: "850 W".to_owned(),
            function: "pcc tracking".to_owned(),
            why: "<import> 900 W above the schedule".to_owned(),
            clamped: "ramp 500 W/s".to_owned(),
            confirmed: "power".to_owned(),
            ledger_clock: 41,
        }],
        market: vec![("last price".to_owned(), "12.4 ct/kWh".to_owned())],
        ledger: vec![("entries".to_owned(), "61".to_owned())],
    }
}

#[test]
fn the_result_is_the_same_bytes_for_the_same_run_and_is_read_again() {
    let json = result().to_json().expect("plain data");
    insta::assert_snapshot!("result", json);
    let mut again = RunResult::from_json(&json).expect("its own shape");
    assert_eq!(again.to_json().expect("plain data"), json);
    assert_eq!((again.verdict, again.exit_code), (Verdict::Fail, 1));
    again.schema = 2;
    let other = again.to_json().expect("plain data");
    assert!(RunResult::from_json(&other).is_err(), "another schema");
}

#[test]
fn continuous_integration_is_told_each_check_with_its_kind_of_failure() {
    let xml = junit(&result(), InconclusiveAs::Error).expect("plain data");
    insta::assert_snapshot!("junit", xml);
    let count = |text: &str| xml.matches(text).count();
    assert_eq!(count("<failure "), 2, "band and never of one scenario");
    assert_eq!(count("type=\"infra\""), 1);
    assert_eq!(
        count("type=\"inconclusive\""),
        2,
        "nobody measured bat1.soc"
    );
    let skipped = junit(&result(), InconclusiveAs::Skipped).expect("plain data");
    assert_eq!(skipped.matches("<skipped ").count(), 2);
}

#[test]
fn the_report_of_scenarios_is_one_file_without_a_script() {
    let page = html::scenario_report(&result(), &environment());
    insta::assert_snapshot!("scenarios", without_style(&page));
    assert!(!page.contains("<step>") && !page.contains("<script"));
    for outside in ["http:", "https:", "url(", "@import", "src="] {
        assert!(
            !page.contains(outside),
            "{outside} is loaded from elsewhere"
        );
    }
    keep("scenarios.html", &page);
}

#[test]
fn the_report_of_a_run_shows_charts_dispatches_market_and_ledger() {
    let mut result = result();
    result.scenarios.clear();
    result.verdict = Verdict::Pass;
    result.exit_code = 0;
    let page = run_report(&result, &environment(), &run());
    insta::assert_snapshot!("run", without_style(&page));
    assert!(!page.contains("<import>"));
    keep("run.html", &page);
}

#[test]
fn a_hundred_scenarios_stay_below_three_megabytes() {
    let mut result = result();
    let one = judged("", 2000.0, Expect::Pass);
    result.scenarios = vec![one; 100];
    let bytes = html::scenario_report(&result, &environment()).len();
    assert!(bytes < 3_000_000, "{bytes} bytes");
}

#[test]
fn a_number_has_no_needless_digits() {
    let rows = [
        (0.0, "0"),
        (-0.0, "0"),
        (2000.0, "2000"),
        (1987.456, "1987.46"),
        (0.025, "0.025"),
        (-49.999_999_9, "-50"),
        (1.0 / 3.0, "0.333333"),
        (123_456_789.0, "123456789"),
        (1e-12, "0"),
        (f64::NAN, "unknown"),
    ];
    for (value, text) in rows {
        assert_eq!(number(value), text);
    }
}

/// The style is no part of what a reviewer of a snapshot reads.
fn without_style(page: &str) -> String {
    let (before, rest) = page.split_once("<style>").expect("a style");
    let (_, after) = rest.split_once("</style>").expect("its end");
    format!("{before}{after}").replace("><", ">\n<")
}

/// Leaves a page to look at, where the folder for it is given.
fn keep(name: &str, page: &str) {
    if let Some(folder) = std::env::var_os("GRIDRIG_KEEP_REPORTS") {
        std::fs::write(std::path::Path::new(&folder).join(name), page).expect("writable");
    }
}

#[test]
fn the_report_shows_what_has_changed_and_how_often_repetitions_passed() {
    let before = result();
    let mut now = result();
    now.scenarios.push(now.scenarios[1].clone());
    now.scenarios.push(now.scenarios[0].clone());
    now.scenarios[1].checks[1].value = Some(2500.0);
    now.scenarios[2].verdict = Verdict::Fail;
    now.repeats = super::repeats::of(&now.scenarios);
    let budgets = super::budgets::Budgets {
        all: Some(0.01),
        named: Vec::new(),
    };
    now.changes = Some(super::compare::Comparison::of(&before, &now, &budgets));
    let page = html::scenario_report(&now, &environment());
    for text in [
        "Changed since 20261122T101530Z-7f3a",
        "<span class=\"word fail\">worse</span>",
        "pass → fail",
        "<span class=\"word fail\">too far</span>",
        "<span class=\"word infrastructure\">new</span>",
        "<h2>Repetitions</h2>",
        "<span class=\"word fail\">never</span>",
        "passed 0 of 2 times",
    ] {
        assert!(page.contains(text), "{text}");
    }
    now.changes = Some(super::compare::Comparison::default());
    assert!(html::scenario_report(&now, &environment()).contains("Nothing differs from"));
}

#[test]
fn a_marginal_value_is_said_beside_its_verdict_and_nowhere_else() {
    for is_marginal in [true, false] {
        let mut result = result();
        for scenario in &mut result.scenarios {
            for check in &mut scenario.checks {
                check.marginal = is_marginal;
            }
        }
        let page = html::scenario_report(&result, &environment());
        let xml = junit(&result, InconclusiveAs::Error).expect("written");
        let json = serde_json::to_string(&result).expect("written");
        assert_eq!(page.contains("</span> marginal</td>"), is_marginal);
        assert_eq!(
            xml.contains("name=\"marginal\" value=\"true\""),
            is_marginal
        );
        assert_eq!(json.contains("\"marginal\":true"), is_marginal);
        assert_eq!(json.contains("marginal"), is_marginal);
    }
}
