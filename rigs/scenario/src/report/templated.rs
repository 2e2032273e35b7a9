//! A report that is laid out as tests of one kind need it: what a person fills in, its parts with
//! their tables, and the lines for signatures.

use super::environment::Environment;
use super::footer::footer;
use super::html::{
    allowed, changed, evidence, facts, facts_of, head, headline, page, repeated, section, value,
};
use super::result::{NOT_TOLD, RunResult, ScenarioResult};
use super::template::{COLUMNS, Column, Section, Template};
use super::{escape, number};
use crate::check::CheckResult;
use crate::verdict::Verdict;

/// The heading of what has no part of its own.
const ELSEWHERE: &str = "Other scenarios";

/// A scenario with its place in the run, by which links find it.
type Numbered<'a> = (usize, &'a ScenarioResult);

/// The whole report as one file without a script.
#[must_use]
pub fn templated_report(
    result: &RunResult,
    environment: &Environment,
    template: &Template,
) -> String {
    let mut parts: Vec<Vec<Numbered<'_>>> = vec![Vec::new(); template.sections.len() + 1];
    for (i, scenario) in result.scenarios.iter().enumerate() {
        let section = template.section_of(&scenario.tags);
        parts[section.unwrap_or(template.sections.len())].push((i, scenario));
    }
    let elsewhere = Section {
        heading: ELSEWHERE.to_owned(),
        text: "None of the parts above has one of their tags.".to_owned(),
        tags: Vec::new(),
    };
    let sections: Vec<(&Section, Vec<Numbered<'_>>)> = template
        .sections
        .iter()
        .chain([&elsewhere])
        .zip(parts)
        .filter(|(section, scenarios)| **section != elsewhere || !scenarios.is_empty())
        .collect();

    let mut body = head(result.verdict.word(), &result.id, &headline(result));
    body.push_str(&format!(
        "<h2 class=\"title\">{}</h2><p>{}</p>{}",
        escape(&template.title),
        escape(&template.text),
        laid_out(template)
    ));
    body.push_str(&filled_in(template, environment));
    body.push_str(&facts(&facts_of(result)));
    body.push_str(&summary(&sections));
    if let Some(changes) = &result.changes {
        body.push_str(&changed(changes));
    }
    body.push_str(&repeated(&result.repeats));
    for (n, (part, scenarios)) in sections.iter().enumerate() {
        body.push_str(&part_of(n, part, scenarios, template));
    }
    body.push_str(&signatures(template));
    body.push_str(&footer(result, environment));
    page(&format!("{}: {}", template.title, result.id), &body)
}

fn laid_out(template: &Template) -> String {
    match template.after.is_empty() {
        true => String::new(),
        false => format!(
            "<p class=\"meta\">Laid out for the kind of tests of {}, which was not read for it: the layout \
             names no clause, and what a scenario is after is what its author states.</p>\n",
            escape(&template.after)
        ),
    }
}

/// What a person fills in by hand or before printing, and what is known of it already.
fn filled_in(template: &Template, environment: &Environment) -> String {
    let empty = template.fill.iter().map(|what| {
        format!(
            "<tr><th scope=\"row\">{}</th><td class=\"blank\"></td></tr>",
            escape(what)
        )
    });
    let told = environment.firmware.iter();
    let told = told.filter(|(_, version)| *version != NOT_TOLD);
    let firmware = told.map(|(device, version)| {
        format!(
            "<tr><th scope=\"row\">Firmware of {}</th><td>{}</td></tr>",
            escape(device),
            escape(version)
        )
    });
    let rows: String = empty.chain(firmware).collect();
    match rows.is_empty() {
        true => String::new(),
        false => format!("<table class=\"fill\"><tbody>{rows}</tbody></table>\n"),
    }
}

/// How many scenarios each part has, and what came of them; a part without any shows what was not tested.
fn summary(sections: &[(&Section, Vec<Numbered<'_>>)]) -> String {
    let row = |(n, (part, scenarios)): (usize, &(&Section, Vec<Numbered<'_>>))| {
        let of = |is: fn(Verdict) -> bool| scenarios.iter().filter(|(_, s)| is(s.verdict)).count();
        let passed = of(|v| v == Verdict::Pass);
        let failed = of(|v| matches!(v, Verdict::Fail | Verdict::Safety | Verdict::Ledger));
        let worst = Verdict::worst(scenarios.iter().map(|(_, s)| s.verdict));
        let (class, word) = match scenarios.is_empty() {
            true => ("nothing_selected", "not tested"),
            false => (worst.word(), worst.word()),
        };
        format!(
            "<tr><td><span class=\"word {class}\">{}</span></td><td><a href=\"#p{n}\">{}</a></td>\
             <td class=\"n\">{}</td><td class=\"n\">{passed}</td><td class=\"n\">{failed}</td>\
             <td class=\"n\">{}</td></tr>",
            word.replace('_', " "),
            escape(&part.heading),
            scenarios.len(),
            scenarios.len() - passed - failed,
        )
    };
    format!(
        "<h2>Summary</h2><div class=\"wide\"><table><thead><tr><th>verdict</th><th>part</th>\
         <th class=\"n\">scenarios</th><th class=\"n\">passed</th><th class=\"n\">failed</th>\
         <th class=\"n\">neither</th></tr></thead><tbody>{}</tbody></table></div>\n",
        sections.iter().enumerate().map(row).collect::<String>()
    )
}

fn part_of(n: usize, part: &Section, scenarios: &[Numbered<'_>], template: &Template) -> String {
    let text = match part.text.is_empty() {
        true => String::new(),
        false => format!("<p>{}</p>", escape(&part.text)),
    };
    let shown = match scenarios.is_empty() {
        true => "<p class=\"meta\">No scenario of this run belongs here.</p>\n".to_owned(),
        false => table(scenarios, &template.columns),
    };
    let details: String = scenarios.iter().map(|(i, one)| section(*i, one)).collect();
    format!(
        "<h2 id=\"p{n}\" class=\"part\">{}</h2>{text}{shown}{details}",
        escape(&part.heading)
    )
}

fn table(scenarios: &[Numbered<'_>], columns: &[Column]) -> String {
    let heads: String = columns
        .iter()
        .filter_map(|column| COLUMNS.iter().find(|(_, known)| known == column))
        .map(|(name, _)| format!("<th class=\"n\">{name}</th>"))
        .collect();
    let mut rows = String::new();
    for (i, scenario) in scenarios {
        rows.push_str(&format!(
            "<tr class=\"scenario\"><td><span class=\"word {word}\">{shown}</span></td>\
             <td colspan=\"{}\"><a href=\"#s{i}\">{}</a></td></tr>",
            columns.len() + 1,
            escape(&scenario.name),
            word = scenario.verdict.word(),
            shown = scenario.verdict.word().replace('_', " "),
        ));
        for (k, check) in scenario.checks.iter().enumerate() {
            let cells: String = columns
                .iter()
                .map(|column| format!("<td class=\"n\">{}</td>", escape(&cell(*column, check))))
                .collect();
            rows.push_str(&format!(
                "<tr><td><span class=\"word {word}\">{word}</span>{marginal}</td>\
                 <td><a href=\"#s{i}c{k}\">{}</a></td>{cells}</tr>",
                escape(&check.name),
                word = check.verdict.word(),
                marginal = if check.marginal { " marginal" } else { "" },
            ));
        }
    }
    format!(
        "<div class=\"wide\"><table><thead><tr><th>verdict</th><th>check</th>{heads}</tr></thead>\
         <tbody>{rows}</tbody></table></div>\n"
    )
}

fn cell(column: Column, check: &CheckResult) -> String {
    match column {
        Column::Signal => check.signal.clone().unwrap_or_default(),
        Column::Value => value(check),
        Column::Allowed => allowed(check),
        Column::Uncertainty => check.uncertainty.map_or_else(
            || "not known".to_owned(),
            |u| {
                format!("± {} {}", number(u), check.uncertainty_unit)
                    .trim_end()
                    .to_owned()
            },
        ),
        Column::Samples => check.samples.to_string(),
        Column::Evidence => evidence(check),
    }
}

fn signatures(template: &Template) -> String {
    if template.sign.is_empty() {
        return String::new();
    }
    let line = |who: &String| {
        format!(
            "<tr><th scope=\"row\">{}</th><td class=\"blank\"></td><td class=\"blank\"></td>\
             <td class=\"blank\"></td></tr>",
            escape(who)
        )
    };
    format!(
        "<h2>Signatures</h2><table class=\"fill\"><thead><tr><th></th><th>name</th><th>date</th>\
         <th>signature</th></tr></thead><tbody>{}</tbody></table>\n",
        template.sign.iter().map(line).collect::<String>()
    )
}
