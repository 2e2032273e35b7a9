//! `junit.xml`, for continuous integration.
//!
//! A scenario is a suite and a check is a case. A known-bad scenario (`expect = "fail"`)
//! is one case, because its failing checks are what was asked for. Measured values are
//! properties of the case and stand in its output, since some readers drop one of them.

use std::time::Duration;

use quick_junit::{
    NonSuccessKind, Property, Report, SerializeError, TestCase, TestCaseStatus, TestSuite,
};

use super::number;
use super::result::{RunResult, ScenarioResult};
use crate::check::CheckResult;
use crate::verdict::{Expect, Verdict};

/// How an inconclusive check is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InconclusiveAs {
    /// As an error, which stops a pipeline.
    #[default]
    Error,
    /// As skipped, which does not.
    Skipped,
}

/// The text of `junit.xml`.
///
/// # Errors
/// When the writer of XML refuses.
pub fn junit(result: &RunResult, inconclusive: InconclusiveAs) -> Result<String, SerializeError> {
    let mut report = Report::new(format!("gridrig {}", result.rig));
    for scenario in &result.scenarios {
        report.add_test_suite(suite(result, scenario, inconclusive));
    }
    // What befell the run as a whole, a killed runner say, is no scenario's and must show.
    if result.verdict != Verdict::Pass && (result.scenarios.is_empty() || !result.why.is_empty()) {
        let status = status(result.verdict, &result.why, inconclusive);
        let mut suite = TestSuite::new("gridrig");
        suite.add_test_case(TestCase::new("run", status));
        report.add_test_suite(suite);
    }
    report.to_string().map(|xml| narrow(&xml))
}

/// The same with one blank for each level instead of four: of a thousand checks a sixth of the bytes was
/// indentation. Only markup begins with `<`, since in a text it is escaped. The cases of a suite that were
/// skipped are called so, as in the schema of xUnit; the writer calls them `disabled`.
fn narrow(xml: &str) -> String {
    let mut narrow = String::with_capacity(xml.len());
    for line in xml.split_inclusive('\n') {
        let text = line.trim_start_matches(' ');
        let depth = match text.starts_with('<') {
            true => (line.len() - text.len()) / WRITERS_INDENT,
            false => line.len() - text.len(),
        };
        narrow.extend(std::iter::repeat_n(' ', depth));
        match text.starts_with("<testsuite ") {
            true => narrow.push_str(&text.replacen(DISABLED, SKIPPED, 1)),
            false => narrow.push_str(text),
        }
    }
    narrow
}

/// How the writer of JUnit begins the number of skipped cases, and how readers know it. A name of a suite
/// cannot hold the first, for in it quotes are escaped.
const DISABLED: &str = " disabled=\"";
const SKIPPED: &str = " skipped=\"";

/// Blanks for each level that the writer of JUnit makes. Source: quick-junit 0.5.
const WRITERS_INDENT: usize = 4;

fn suite(result: &RunResult, scenario: &ScenarioResult, inconclusive: InconclusiveAs) -> TestSuite {
    let mut suite = TestSuite::new(scenario.name.as_str());
    suite.set_time(seconds(scenario.duration_s));
    // That of the run: a scenario in virtual time has none of its own.
    suite.timestamp = result.started_utc.parse().ok();
    suite.add_property(("file", scenario.file.as_str()));
    suite.add_property(("rig", result.rig.as_str()));
    suite.add_property(("on", result.on.as_str()));
    suite.add_property(("seed", scenario.seed.to_string().as_str()));
    suite.add_property(("verdict", scenario.verdict.word()));
    for (name, value) in &scenario.matrix {
        suite.add_property((format!("matrix.{name}").as_str(), value.as_str()));
    }
    let is_known_bad = scenario.expect == Expect::Fail;
    if is_known_bad {
        let reason = scenario.reason();
        let status = status(scenario.verdict, &reason, inconclusive);
        let mut case = TestCase::new("a check catches the known-bad device", status);
        case.set_classname(scenario.name.as_str());
        let mut output = reason;
        for (i, check) in scenario.checks.iter().enumerate() {
            for (name, value) in values(check) {
                case.add_property(Property::new(format!("check{}.{name}", i + 1), value));
            }
            output.push('\n');
            output.push_str(&line(scenario, check));
        }
        case.set_system_out(output);
        suite.add_test_case(case);
        return suite;
    }
    for check in &scenario.checks {
        let mut case = TestCase::new(
            check.name.as_str(),
            status(check.verdict, &check.why, inconclusive),
        );
        case.set_classname(scenario.name.as_str());
        for (name, value) in values(check) {
            case.add_property(Property::new(name, value));
        }
        case.set_system_out(line(scenario, check));
        suite.add_test_case(case);
    }
    // What stopped the script, or a scenario without checks, is nobody's check and must show.
    if !scenario.why.is_empty() || scenario.checks.is_empty() {
        let reason = scenario.reason();
        let mut case = TestCase::new("run", status(scenario.verdict, &reason, inconclusive));
        case.set_classname(scenario.name.as_str());
        case.set_system_out(reason);
        suite.add_test_case(case);
    }
    suite
}

fn status(verdict: Verdict, why: &str, inconclusive: InconclusiveAs) -> TestCaseStatus {
    let (kind, of_type) = match (verdict, inconclusive) {
        (Verdict::Pass, _) => return TestCaseStatus::success(),
        (Verdict::Inconclusive, InconclusiveAs::Skipped) => {
            let mut status = TestCaseStatus::skipped();
            status.set_type("inconclusive").set_message(why);
            return status;
        }
        (Verdict::Fail, _) => (NonSuccessKind::Failure, "fail"),
        (Verdict::Ledger, _) => (NonSuccessKind::Failure, "ledger"),
        (Verdict::Safety, _) => (NonSuccessKind::Error, "safety"),
        (Verdict::Infrastructure, _) => (NonSuccessKind::Error, "infra"),
        (Verdict::Inconclusive, InconclusiveAs::Error) => (NonSuccessKind::Error, "inconclusive"),
        (other, _) => (NonSuccessKind::Error, other.word()),
    };
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(of_type).set_message(why);
    status
}

/// Measured values of a check with their names.
fn values(check: &CheckResult) -> Vec<(String, String)> {
    let numbers = [
        ("value", check.value),
        ("lower", check.lower),
        ("upper", check.upper),
        ("uncertainty", check.uncertainty),
        ("from_s", check.from_s),
        ("to_s", check.to_s),
    ];
    let mut values = vec![("verdict".to_owned(), check.verdict.word().to_owned())];
    if check.marginal {
        values.push(("marginal".to_owned(), "true".to_owned()));
    }
    values.extend(
        numbers
            .iter()
            .filter_map(|(name, value)| value.map(|v| ((*name).to_owned(), number(v)))),
    );
    for (name, unit) in [
        ("unit", &check.unit),
        ("uncertainty_unit", &check.uncertainty_unit),
    ] {
        if !unit.is_empty() {
            values.push((name.to_owned(), unit.clone()));
        }
    }
    values.push(("samples".to_owned(), check.samples.to_string()));
    values
}

fn line(scenario: &ScenarioResult, check: &CheckResult) -> String {
    format!(
        "{}:{}: {}: {}: {}",
        scenario.file, check.line, check.verdict, check.name, check.why
    )
}

fn seconds(duration_s: f64) -> Duration {
    Duration::try_from_secs_f64(duration_s).unwrap_or_default()
}
