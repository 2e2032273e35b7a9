//! What came of a run, as lines for a terminal.

use std::collections::BTreeMap;

use scenario::report::result::RunResult;
use scenario::verdict::Verdict;

/// A line for each scenario with its verdict and reason, and their counts.
pub(crate) fn table(result: &RunResult) -> String {
    let mut text = String::new();
    for one in &result.scenarios {
        let reason = one.reason();
        text.push_str(&format!("{:<14} {}\n", one.verdict.word(), one.name));
        if one.verdict != Verdict::Pass && !reason.is_empty() {
            text.push_str(&format!("               {reason}\n"));
            text.push_str(&format!("               {}\n", one.file));
        }
        for check in one.checks.iter().filter(|check| check.marginal) {
            text.push_str(&format!("               marginal: {}\n", check.name));
        }
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for one in &result.scenarios {
        *counts.entry(one.verdict.word()).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(w, n)| format!("{n} {w}")).collect();
    text.push_str(&format!("{}: {}", result.verdict, counts.join(", ")));
    if !result.why.is_empty() {
        text.push_str(&format!("\n               {}", result.why));
    }
    text
}
