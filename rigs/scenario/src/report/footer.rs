//! The foot of a report: what the run was made with, and who vouches for its records.

use std::collections::BTreeMap;

use super::environment::Environment;
use super::result::{LedgerSummary, RunResult};
use super::{escape, number};

/// Rigs that are named one by one. Chosen: more than a person compares; all stand in `env.json`.
const RIGS_SHOWN: usize = 12;

/// The foot.
pub(super) fn footer(result: &RunResult, environment: &Environment) -> String {
    let mut rows: Vec<(&str, String)> = vec![
        ("gridrig", escape(&result.gridrig)),
        ("versions", versions(environment)),
        ("system", escape(&environment.system)),
        ("rig", rigs(environment)),
        ("seed", result.seed.to_string()),
        ("wall clock", clock(result, environment)),
        ("firmware", named(&environment.firmware)),
        ("began, ended", began(result)),
        ("ledger", ledger(result)),
    ];
    rows.retain(|(_, value)| !value.is_empty());
    let rows: Vec<String> = rows
        .iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>"))
        .collect();
    format!(
        "<footer><h2>Made with</h2><dl>{}</dl></footer>",
        rows.concat()
    )
}

/// Who signed a ledger: root, node and signature; nothing where there is no root.
pub(super) fn signed(ledger: &LedgerSummary) -> String {
    match &ledger.root {
        None => String::new(),
        Some(_) => format!("<p class=\"signed\">{}</p>", vouched(ledger)),
    }
}

fn versions(environment: &Environment) -> String {
    let all: Vec<String> = environment
        .versions
        .iter()
        .map(|(name, version)| format!("{} {}", escape(&name.replace('_', " ")), escape(version)))
        .collect();
    all.join(", ")
}

fn named(of: &BTreeMap<String, String>) -> String {
    let all: Vec<String> = of
        .iter()
        .map(|(name, what)| format!("{} {}", escape(name), escape(what)))
        .collect();
    all.join(", ")
}

fn began(result: &RunResult) -> String {
    match result.ended_utc.is_empty() {
        true => escape(&result.started_utc),
        false => format!(
            "{}, {}",
            escape(&result.started_utc),
            escape(&result.ended_utc)
        ),
    }
}

/// Each rig with its hash.
fn rigs(environment: &Environment) -> String {
    let mut of: BTreeMap<&str, &str> = environment
        .rigs
        .iter()
        .map(|(rig, hash)| (rig.as_str(), hash.as_str()))
        .collect();
    if of.is_empty() && !environment.rig_hash.is_empty() {
        of.insert(&environment.rig, &environment.rig_hash);
    }
    let shown = of.iter().take(RIGS_SHOWN);
    let shown: Vec<String> = shown
        .map(|(rig, hash)| format!("{} <code>{}</code>", escape(rig), escape(hash)))
        .collect();
    match of.len() > RIGS_SHOWN {
        true => format!("{} and {} more", shown.join("<br>"), of.len() - RIGS_SHOWN),
        false => shown.join("<br>"),
    }
}

fn clock(result: &RunResult, environment: &Environment) -> String {
    match (result.speed.as_str(), environment.clock_offset_ms) {
        ("max", _) => "virtual time, the same for the same seed".to_owned(),
        (_, Some(offset)) => format!("{} ms ahead of its reference", number(offset)),
        (_, None) => "offset from a reference not known".to_owned(),
    }
}

fn ledger(result: &RunResult) -> String {
    let ledger = &result.ledger;
    if ledger.root.is_some() {
        return vouched(ledger);
    }
    match ledger.entries {
        0 => "This run kept no ledger.".to_owned(),
        entries => format!(
            "{entries} entries, {}; each scenario has a ledger of its own, whose root and signature stand beside it",
            verified(ledger)
        ),
    }
}

fn verified(ledger: &LedgerSummary) -> &'static str {
    match ledger.verified {
        Some(true) => "verified",
        Some(false) => "does NOT verify",
        None => "not verified",
    }
}

fn vouched(ledger: &LedgerSummary) -> String {
    let mut text = format!("Ledger: {} entries, {}", ledger.entries, verified(ledger));
    if let Some(root) = &ledger.root {
        text.push_str(&format!(", root <code>{}</code>", escape(root)));
    }
    if let (Some((there, all)), Some(open)) = (ledger.nodes, ledger.not_final) {
        text.push_str(&format!(
            "; {there} of {all} nodes at the end, {open} entries not final"
        ));
    }
    if let (Some(node), Some(signature)) = (&ledger.node, &ledger.signature) {
        text.push_str(&format!(
            "; signed by node <code>{}</code>: <code>{}</code>",
            escape(node),
            escape(signature)
        ));
    }
    text
}
