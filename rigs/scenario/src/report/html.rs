//! `report.html` of scenarios: verdict and table first, then a picture for each check.

use super::compare::Comparison;
use super::environment::Environment;
use super::footer::{footer, signed};
use super::repeats::Repeated;
use super::result::{Counters, RunResult, ScenarioResult};
use super::safety::safety;
use super::template::Template;
use super::templated::templated_report;
use super::{charts, escape, number};
use crate::check::CheckResult;
use crate::verdict::Expect;

/// The report in a layout, or, without one, in the order in which the scenarios ran.
#[must_use]
pub fn report(
    result: &RunResult,
    environment: &Environment,
    template: Option<&Template>,
) -> String {
    match template {
        Some(template) => templated_report(result, environment, template),
        None => scenario_report(result, environment),
    }
}

/// The whole report as one file without a script.
#[must_use]
pub fn scenario_report(result: &RunResult, environment: &Environment) -> String {
    let mut body = head(result.verdict.word(), &result.id, &headline(result));
    body.push_str(&facts(&facts_of(result)));
    if let Some(changes) = &result.changes {
        body.push_str(&changed(changes));
    }
    body.push_str(&repeated(&result.repeats));
    body.push_str(&overview(&result.scenarios));
    for (i, scenario) in result.scenarios.iter().enumerate() {
        body.push_str(&section(i, scenario));
        body.push_str(&safety(&[], &scenario.fallbacks));
    }
    let rows = result.counters.rows();
    body.push_str("<h2>Counters</h2>");
    let rows: Vec<(&str, String)> = rows.iter().map(|(n, c)| (*n, c.to_string())).collect();
    body.push_str(&facts(&rows));
    body.push_str(&missing(&result.counters));
    body.push_str(&footer(result, environment));
    page(&format!("{}: {}", result.verdict, result.id), &body)
}

/// What came out, in a line.
pub(super) fn headline(result: &RunResult) -> String {
    let passed = result.scenarios.iter().filter(|s| is_good(s)).count();
    if result.why.is_empty() {
        format!("{passed} of {} scenarios passed", result.scenarios.len())
    } else {
        result.why.clone()
    }
}

/// How the run was made, as names with values.
pub(super) fn facts_of(result: &RunResult) -> Vec<(&'static str, String)> {
    vec![
        ("rig", result.rig.clone()),
        ("on", format!("{}, speed {}", result.on, result.speed)),
        ("seed", result.seed.to_string()),
        ("started", result.started_utc.clone()),
        ("ended", result.ended_utc.clone()),
        ("exit code", result.exit_code.to_string()),
        (
            "part",
            result
                .shard
                .map_or_else(String::new, |s| format!("{} of {}", s.part, s.of)),
        ),
        ("put together from", result.parts.join(", ")),
    ]
}

fn is_good(scenario: &ScenarioResult) -> bool {
    scenario.verdict == crate::verdict::Verdict::Pass
}

/// A page around a body.
pub(super) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{}</title>\n<style>\n{}</style></head>\n<body>\n{body}\n</body></html>\n",
        escape(title),
        include_str!("report.css")
    )
}

/// The lamp with the verdict, beside the name of the run.
pub(super) fn head(word: &str, name: &str, headline: &str) -> String {
    let shown = word.replace('_', " ");
    format!(
        "<header class=\"{word}\"><span class=\"lamp\">{}</span><div><h1>{}</h1><p>{}</p></div></header>\n",
        escape(&shown),
        escape(headline),
        escape(name),
        word = escape(word)
    )
}

/// Names with values, side by side; empty values are left out.
pub(super) fn facts(rows: &[(&str, String)]) -> String {
    let rows: Vec<String> = rows
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| {
            let name = name.replace('_', " ");
            format!(
                "<div><dt>{}</dt><dd>{}</dd></div>",
                escape(&name),
                escape(value)
            )
        })
        .collect();
    format!("<dl class=\"facts\">{}</dl>\n", rows.concat())
}

/// What telemetry misses, so that nobody takes a gap on the server for a quiet bench.
pub(super) fn missing(counters: &Counters) -> String {
    counters
        .telemetry_missing()
        .map_or_else(String::new, |text| {
            format!("<p class=\"missing\">{}</p>\n", escape(&text))
        })
}

/// What has changed since the run that it was compared with, regressions in the colour of a failure.
pub(super) fn changed(changes: &Comparison) -> String {
    let mut rows = String::new();
    let mut row = |word: &str, class: &str, what: &str, how: &str| {
        rows.push_str(&format!(
            "<tr><td><span class=\"word {class}\">{word}</span></td><td>{}</td><td class=\"n\">{}</td></tr>",
            escape(what),
            escape(how)
        ));
    };
    for turn in &changes.turns {
        let (word, class) = match turn.is_worse() {
            true => ("worse", "fail"),
            false => ("better", "pass"),
        };
        let how = format!("{} → {}", turn.before, turn.now);
        row(word, class, &turn.scenario, &how);
    }
    for gone in &changes.gone {
        row("gone", "fail", gone, "");
    }
    for new in &changes.new {
        row("new", "infrastructure", new, "");
    }
    for drift in &changes.drifts {
        let (word, class) = match drift.is_too_far() {
            true => ("too far", "fail"),
            false => ("drift", "infrastructure"),
        };
        let what = format!("{} / {}", drift.scenario, drift.check);
        row(word, class, &what, &drift.line());
    }
    let baseline = escape(&changes.baseline);
    if rows.is_empty() {
        return format!("<p class=\"meta\">Nothing differs from {baseline}.</p>\n");
    }
    format!(
        "<h2>Changed since {baseline}</h2><div class=\"wide\"><table><thead><tr><th></th><th>what</th>\
         <th class=\"n\">from, to</th></tr></thead><tbody>{rows}</tbody></table></div>\n"
    )
}

pub(super) fn repeated(repeats: &[Repeated]) -> String {
    if repeats.is_empty() {
        return String::new();
    }
    let row = |one: &Repeated| {
        let (word, class) = match (one.is_flaky(), one.passed) {
            (true, _) => ("flaky", "inconclusive"),
            (false, 0) => ("never", "fail"),
            (false, _) => ("always", "pass"),
        };
        format!(
            "<tr><td><span class=\"word {class}\">{word}</span></td><td>{}</td><td>{}</td></tr>",
            escape(&one.name),
            escape(&one.line())
        )
    };
    format!(
        "<h2>Repetitions</h2><div class=\"wide\"><table><thead><tr><th>passes</th><th>scenario</th>\
         <th>how often</th></tr></thead><tbody>{}</tbody></table></div>\n",
        repeats.iter().map(row).collect::<String>()
    )
}

fn overview(scenarios: &[ScenarioResult]) -> String {
    let mut rows = String::new();
    for (i, scenario) in scenarios.iter().enumerate() {
        rows.push_str(&format!(
            "<tr class=\"scenario\"><td><span class=\"word {word}\">{shown}</span></td>\
             <td colspan=\"4\"><a href=\"#s{i}\">{}</a></td></tr>",
            escape(&scenario.name),
            word = scenario.verdict.word(),
            shown = scenario.verdict.word().replace('_', " "),
        ));
        if !scenario.why.is_empty() {
            rows.push_str(&format!(
                "<tr><td></td><td colspan=\"4\" class=\"why\">{}</td></tr>",
                escape(&scenario.why)
            ));
        }
        for (k, check) in scenario.checks.iter().enumerate() {
            rows.push_str(&overview_row(i, k, check));
        }
    }
    format!(
        "<div class=\"wide\"><table><thead><tr><th>verdict</th><th>check</th><th class=\"n\">value</th>\
         <th class=\"n\">allowed</th><th class=\"n\">evidence</th></tr></thead>\
         <tbody>{rows}</tbody></table></div>\n"
    )
}

fn overview_row(i: usize, k: usize, check: &CheckResult) -> String {
    format!(
        "<tr><td><span class=\"word {word}\">{word}</span>{marginal}</td><td><a href=\"#s{i}c{k}\">{}</a></td>\
         <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
        escape(&check.name),
        escape(&value(check)),
        escape(&allowed(check)),
        escape(&evidence(check)),
        word = check.verdict.word(),
        marginal = if check.marginal { " marginal" } else { "" },
    )
}

/// The value with its unit; with its uncertainty where both have the same unit.
pub(super) fn value(check: &CheckResult) -> String {
    let Some(value) = check.value else {
        return "none".to_owned();
    };
    let with = check
        .uncertainty
        .filter(|_| check.uncertainty_unit == check.unit)
        .map_or(String::new(), |u| format!(" ± {}", number(u)));
    format!("{}{with} {}", number(value), check.unit)
        .trim()
        .to_owned()
}

pub(super) fn allowed(check: &CheckResult) -> String {
    let unit = &check.unit;
    let text = match (check.lower, check.upper) {
        (Some(low), Some(high)) if low == high => format!("{} {unit}", number(low)),
        (Some(low), Some(high)) => format!("{} to {} {unit}", number(low), number(high)),
        (Some(low), None) => format!("≥ {} {unit}", number(low)),
        (None, Some(high)) => format!("≤ {} {unit}", number(high)),
        (None, None) => String::new(),
    };
    text.trim().to_owned()
}

pub(super) fn evidence(check: &CheckResult) -> String {
    match (check.from_s, check.to_s) {
        (Some(from), Some(to)) => format!("{} to {} s", number(from), number(to)),
        _ => String::new(),
    }
}

pub(super) fn section(i: usize, scenario: &ScenarioResult) -> String {
    let mut meta = vec![scenario.file.clone()];
    if !scenario.tags.is_empty() {
        meta.push(format!("tags: {}", scenario.tags.join(", ")));
    }
    meta.extend(scenario.source.iter().map(|s| format!("after {s}")));
    meta.push(format!("seed {}", scenario.seed));
    if !scenario.rig.is_empty() {
        meta.push(format!("rig {}", scenario.rig));
    }
    meta.push(format!("{} s", number(scenario.duration_s)));
    if scenario.expect == Expect::Fail {
        meta.push("a known-bad device: a check must fail".to_owned());
    }
    let reason = scenario.reason();
    let checks: Vec<String> = scenario
        .checks
        .iter()
        .enumerate()
        .map(|(k, check)| check_section(i, k, check))
        .collect();
    format!(
        "<section class=\"{word}\"><h2 id=\"s{i}\"><span class=\"word\">{shown}</span> {}</h2>\
         <p class=\"meta\">{}</p><p>{}</p>{}</section>\n",
        escape(&scenario.name),
        escape(&meta.join(" · ")),
        escape(&reason),
        checks.concat() + &scenario.ledger.as_ref().map_or_else(String::new, signed),
        word = scenario.verdict.word(),
        shown = scenario.verdict.word().replace('_', " "),
    )
}

fn check_section(i: usize, k: usize, check: &CheckResult) -> String {
    let sampling = match (check.uncertainty, check.uncertainty_unit == check.unit) {
        (Some(u), false) => format!(
            " Times are known to ± {} {}.",
            number(u),
            check.uncertainty_unit
        ),
        _ => String::new(),
    };
    let picture = check.plot.as_ref().map_or(String::new(), |plot| {
        let label = format!("{} over time; {}", plot.title, check.why);
        charts::svg(plot, &label)
    });
    format!(
        "<div class=\"check {word}\" id=\"s{i}c{k}\"><h3><span class=\"word\">{word}</span> {}</h3>\
         <p>{}.{}</p>{picture}</div>",
        escape(&check.name),
        escape(&check.why),
        escape(&sampling),
        word = check.verdict.word(),
    )
}
