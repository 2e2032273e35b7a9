//! The foot of a report: what the run was made with, and who vouches for its records.

use std::collections::BTreeMap;

use super::environment::Environment;
use super::result::{LedgerSummary, NOT_TOLD, RunResult};
use super::{escape, number};

/// Rigs that are named one by one. Chosen: more than a person compares; all stand in `env.json`.
const RIGS_SHOWN: usize = 12;

/// Devices whose firmware is named one by one. Chosen: those of a large bench; all stand in `env.json`.
const FIRMWARE_SHOWN: usize = 24;

/// The foot.
pub(super) fn footer(result: &RunResult, environment: &Environment) -> String {
    let mut rows: Vec<(&str, String)> = vec![
        ("gridrig", escape(&result.gridrig)),
        ("versions", versions(environment)),
        ("system", escape(&environment.system)),
        ("rig", rigs(environment)),
        ("half real", halves(environment)),
        ("seed", result.seed.to_string()),
        ("wall clock", clock(result, environment)),
        ("firmware", firmware(&environment.firmware)),
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

/// The firmware of each device; those that do not say come last, together.
fn firmware(of: &BTreeMap<String, String>) -> String {
    let (silent, told): (Vec<_>, Vec<_>) = of.iter().partition(|(_, what)| *what == NOT_TOLD);
    let mut all: Vec<String> = told
        .iter()
        .take(FIRMWARE_SHOWN)
        .map(|(name, what)| format!("{} {}", escape(name), escape(what)))
        .collect();
    if told.len() > FIRMWARE_SHOWN {
        all.push(format!("and {} more", told.len() - FIRMWARE_SHOWN));
    }
    match silent.as_slice() {
        [] => {}
        [(name, _)] => all.push(format!("{} {NOT_TOLD}", escape(name))),
        many => all.push(format!("{} devices {NOT_TOLD}", many.len())),
    }
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

/// What was real and what was emulated, for each rig that was both.
fn halves(environment: &Environment) -> String {
    let all: Vec<String> = environment
        .halves
        .iter()
        .take(RIGS_SHOWN)
        .map(|(rig, halves)| {
            let names = |of: &[String]| escape(&of.join(", "));
            format!(
                "{}: {} real; {} emulated",
                escape(rig),
                names(&halves.real),
                names(&halves.emulated)
            )
        })
        .collect();
    all.join("<br>")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::About;
    use crate::report::result::Halves;

    fn foot(environment: Environment) -> String {
        let about = About::default();
        footer(&about.result(String::new()), &environment)
    }

    #[test]
    fn firmware_that_was_told_is_named_and_what_was_not_told_is_said() {
        let check = |firmware: &[(&str, &str)], expected: &str| {
            let all = firmware.iter();
            let firmware = all.map(|(d, v)| ((*d).to_owned(), (*v).to_owned()));
            let made = foot(Environment {
                firmware: firmware.collect(),
                ..Environment::default()
            });
            let row = format!("<dt>firmware</dt><dd>{expected}</dd>");
            assert!(made.contains(&row), "{expected}: {made}");
        };
        check(
            &[("inv1", "1.4 <b>"), ("met1", NOT_TOLD)],
            "inv1 1.4 &lt;b&gt;, met1 not told",
        );
        check(&[("a", NOT_TOLD), ("b", NOT_TOLD)], "2 devices not told");
        let many: Vec<(String, String)> =
            (0..30).map(|n| (format!("d{n:02}"), "7".into())).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(d, v)| (&**d, &**v)).collect();
        let shown: Vec<String> = many[..24].iter().map(|(d, v)| format!("{d} {v}")).collect();
        check(&many, &format!("{}, and 6 more", shown.join(", ")));
        assert!(!foot(Environment::default()).contains("firmware"));
    }

    #[test]
    fn a_bench_that_was_half_real_is_told_with_both_of_its_halves() {
        let halves = Halves {
            real: vec!["ess1".into(), "pv1".into()],
            emulated: vec!["plug1".into()],
        };
        let made = foot(Environment {
            halves: BTreeMap::from([("lab.toml".to_owned(), halves)]),
            ..Environment::default()
        });
        assert!(
            made.contains("lab.toml: ess1, pv1 real; plug1 emulated"),
            "{made}"
        );
        assert!(!foot(Environment::default()).contains("half real"));
    }
}
