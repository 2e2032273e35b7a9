//! `report.html` of a run without scenarios: charts, dispatches, market, ledger.

use super::environment::Environment;
use super::footer::footer;
use super::html::{facts, head, missing, page};
use super::plot::{Plot, thinned};
use super::result::RunResult;
use super::safety::safety;
use super::{charts, escape, number};

/// What a `demo` or `run` has to show besides its result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunReport {
    /// Charts: power, frequency, voltage and whatever else is worth seeing.
    pub charts: Vec<Plot>,
    /// Modes with the second in which each began.
    pub modes: Vec<(f64, String)>,
    /// The last dispatches, newest first.
    pub dispatches: Vec<DispatchRow>,
    /// The market in short: names with values, in the order of the page.
    pub market: Vec<(String, String)>,
    /// The ledger in short: names with values, in the order of the page.
    pub ledger: Vec<(String, String)>,
}

/// A dispatch, as a person reads it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DispatchRow {
    /// When, in seconds since the run began.
    pub t_s: f64,
    /// Which device.
    pub device: String,
    /// What it was asked to do, with unit.
    pub setpoint: String,
    /// Who asked.
    pub function: String,
    /// Why, with numbers.
    pub why: String,
    /// What the limiter changed; empty when nothing.
    pub clamped: String,
    /// How far it was confirmed; empty when it was not.
    pub confirmed: String,
    /// Ledger clock of the record that was durable before.
    pub ledger_clock: u64,
}

/// The whole report as one file without a script.
#[must_use]
pub fn run_report(result: &RunResult, environment: &Environment, report: &RunReport) -> String {
    let headline = if result.why.is_empty() {
        "The run ended as it was asked to".to_owned()
    } else {
        result.why.clone()
    };
    let mut body = head(result.verdict.word(), &result.id, &headline);
    body.push_str(&facts(&[
        ("rig", result.rig.clone()),
        ("on", format!("{}, speed {}", result.on, result.speed)),
        ("seed", result.seed.to_string()),
        ("started", result.started_utc.clone()),
        ("ended", result.ended_utc.clone()),
        ("exit code", result.exit_code.to_string()),
    ]));
    let rows = result.counters.rows();
    let rows: Vec<(&str, String)> = rows.iter().map(|(n, c)| (*n, c.to_string())).collect();
    body.push_str(&facts(&rows));
    body.push_str(&missing(&result.counters));
    if !report.charts.is_empty() {
        body.push_str("<h2>Measurements</h2>");
    }
    for chart in &report.charts {
        body.push_str(&chart_section(chart));
    }
    body.push_str(&modes(&report.modes));
    body.push_str(&safety(&result.safe_end, &result.fallbacks));
    body.push_str(&dispatches(&report.dispatches));
    for (title, rows) in [("Market", &report.market), ("Ledger", &report.ledger)] {
        if !rows.is_empty() {
            let rows: Vec<(&str, String)> =
                rows.iter().map(|(n, v)| (n.as_str(), v.clone())).collect();
            body.push_str(&format!("<h2>{title}</h2>{}", facts(&rows)));
        }
    }
    body.push_str(&footer(result, environment));
    page(&format!("{}: {}", result.verdict, result.id), &body)
}

fn chart_section(chart: &Plot) -> String {
    let mut thin = chart.clone();
    for line in &mut thin.lines {
        line.points = thinned(&line.points);
    }
    let label = format!("{} in {} over time", thin.title, thin.unit);
    format!(
        "<div class=\"check\"><h3>{}</h3>{}{}</div>",
        escape(&thin.title),
        charts::legend(&thin),
        charts::svg(&thin, &label)
    )
}

fn modes(modes: &[(f64, String)]) -> String {
    if modes.is_empty() {
        return String::new();
    }
    let rows: Vec<String> = modes
        .iter()
        .map(|(t, mode)| {
            format!(
                "<tr><td class=\"n\">{} s</td><td>{}</td></tr>",
                number(*t),
                escape(&mode.replace('_', " "))
            )
        })
        .collect();
    format!(
        "<h2>Modes</h2><table class=\"narrow\"><thead><tr><th class=\"n\">from</th><th>mode</th></tr></thead>\
         <tbody>{}</tbody></table>",
        rows.concat()
    )
}

fn dispatches(rows: &[DispatchRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let rows: Vec<String> = rows
        .iter()
        .map(|row| {
            let clamped = if row.clamped.is_empty() {
                String::new()
            } else {
                format!("; limited: {}", row.clamped)
            };
            format!(
                "<tr><td class=\"n\">{} s</td><td>{}</td><td class=\"n\">{}</td><td>{}</td>\
                 <td class=\"why\">{}</td><td>{}</td><td class=\"n\">{}</td></tr>",
                number(row.t_s),
                escape(&row.device),
                escape(&row.setpoint),
                escape(&row.function),
                escape(&format!("{}{clamped}", row.why)),
                escape(&row.confirmed),
                row.ledger_clock
            )
        })
        .collect();
    format!(
        "<h2>Last dispatches</h2><div class=\"wide\"><table><thead><tr><th class=\"n\">at</th>\
         <th>device</th><th class=\"n\">setpoint</th><th>who asked</th><th>why</th>\
         <th>confirmed</th><th class=\"n\">ledger clock</th></tr></thead>\
         <tbody>{}</tbody></table></div>",
        rows.concat()
    )
}
