//! Two runs beside each other: what a later one has changed, and whether it may.
//!
//! Scenarios are the same by name and file, repetitions one by one; checks by name and line. A **regression** is
//! a verdict that got worse, a scenario or a check that is gone, and a value that drifted further than its budget.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::budgets::{Allowance, Budgets};
use super::number;
use super::result::{RunResult, ScenarioResult};
use crate::check::CheckResult;
use crate::verdict::Verdict;

/// A check whose value is not what it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Name of the scenario.
    pub scenario: String,
    /// Name of the check.
    pub check: String,
    /// The value of the earlier run, in `unit`.
    pub before: f64,
    /// The value of the later run, in `unit`.
    pub now: f64,
    /// Unit of both.
    pub unit: String,
    /// By how much it may differ; `None` = by anything.
    pub budget: Option<Allowance>,
}

impl Drift {
    /// Whether it went further than its budget.
    #[must_use]
    pub fn is_too_far(&self) -> bool {
        let exceeds = |a: &Allowance| a.is_exceeded(self.before, self.now, &self.unit);
        self.budget.as_ref().is_some_and(exceeds)
    }

    /// `1.2 -> 1.3 s (+0.1, +8.33 %)`.
    #[must_use]
    pub fn line(&self) -> String {
        let change = self.now - self.before;
        let share = if self.before == 0.0 {
            String::new()
        } else {
            format!(", {:+.2} %", change / self.before.abs() * 100.0)
        };
        let sign = if change > 0.0 { "+" } else { "" };
        format!(
            "{} -> {} {} ({sign}{}{share})",
            number(self.before),
            number(self.now),
            self.unit,
            number(change)
        )
    }
}

/// A verdict that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Name of the scenario.
    pub scenario: String,
    /// Verdict of the earlier run.
    pub before: Verdict,
    /// Verdict of the later run.
    pub now: Verdict,
}

impl Turn {
    /// Whether it got worse.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        self.before.worse(self.now) == self.now
    }
}

/// What a later run has changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Name of the earlier run.
    pub baseline: String,
    /// Verdicts that differ.
    pub turns: Vec<Turn>,
    /// Values that differ.
    pub drifts: Vec<Drift>,
    /// Scenarios, and checks after a slash, that only the earlier run has.
    pub gone: Vec<String>,
    /// The same of the later run.
    pub new: Vec<String>,
}

impl Comparison {
    /// Compares two runs.
    #[must_use]
    pub fn of(before: &RunResult, now: &RunResult, budgets: &Budgets) -> Self {
        let mut comparison = Self {
            baseline: before.id.clone(),
            ..Self::default()
        };
        let (before, now) = (keyed(&before.scenarios), keyed(&now.scenarios));
        for (key, one) in &now {
            match before.iter().find(|(k, _)| k == key) {
                None => comparison.new.push(one.name.clone()),
                Some((_, earlier)) => comparison.compare(earlier, one, budgets),
            }
        }
        let is_gone = |key| !now.iter().any(|(k, _)| *k == key);
        let gone = before.iter().filter(|(key, _)| is_gone(*key));
        comparison
            .gone
            .extend(gone.map(|(_, earlier)| earlier.name.clone()));
        comparison
    }

    fn compare(&mut self, before: &ScenarioResult, now: &ScenarioResult, budgets: &Budgets) {
        if before.verdict != now.verdict {
            self.turns.push(Turn {
                scenario: now.name.clone(),
                before: before.verdict,
                now: now.verdict,
            });
        }
        for check in &now.checks {
            let Some(earlier) = same(&before.checks, check) else {
                self.new.push(format!("{} / {}", now.name, check.name));
                continue;
            };
            if let (Some(a), Some(b)) = (earlier.value, check.value)
                && a != b
            {
                self.drifts.push(Drift {
                    scenario: now.name.clone(),
                    check: check.name.clone(),
                    before: a,
                    now: b,
                    unit: check.unit.clone(),
                    budget: budgets.of(&now.name, &check.name, &check.kind),
                });
            }
        }
        let gone = before
            .checks
            .iter()
            .filter(|c| same(&now.checks, c).is_none());
        self.gone
            .extend(gone.map(|c| format!("{} / {}", now.name, c.name)));
    }

    /// Whether anything got worse than it may.
    #[must_use]
    pub fn is_regression(&self) -> bool {
        self.regressions() > 0
    }

    /// How many things got worse than they may.
    #[must_use]
    pub fn regressions(&self) -> usize {
        let turns = self.turns.iter().filter(|turn| turn.is_worse()).count();
        let drifts = self
            .drifts
            .iter()
            .filter(|drift| drift.is_too_far())
            .count();
        self.gone.len() + turns + drifts
    }

    /// Whether the two runs say the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
            && self.drifts.is_empty()
            && self.gone.is_empty()
            && self.new.is_empty()
    }

    /// One line for each difference, regressions marked by their first word.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let turns = self.turns.iter().map(|t| {
            let word = if t.is_worse() { "worse" } else { "better" };
            format!("{word}: {}: {} -> {}", t.scenario, t.before, t.now)
        });
        let gone = self.gone.iter().map(|what| format!("gone: {what}"));
        let new = self.new.iter().map(|what| format!("new: {what}"));
        let drifts = self.drifts.iter().map(|d| {
            let word = if d.is_too_far() { "too far" } else { "drift" };
            format!("{word}: {} / {}: {}", d.scenario, d.check, d.line())
        });
        turns.chain(gone).chain(new).chain(drifts).collect()
    }
}

/// Each scenario with what it is known by: file, name, and the how manieth of these it is.
fn keyed(scenarios: &[ScenarioResult]) -> Vec<((&str, &str, usize), &ScenarioResult)> {
    let mut nth: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    scenarios
        .iter()
        .map(|one| {
            let key = (one.file.as_str(), one.name.as_str());
            let n = nth.entry(key).or_default();
            *n += 1;
            ((key.0, key.1, *n), one)
        })
        .collect()
}

/// The same check among others: on its line, or, where lines were moved, by its name alone.
fn same<'a>(checks: &'a [CheckResult], check: &CheckResult) -> Option<&'a CheckResult> {
    let named = |c: &&CheckResult| c.name == check.name;
    checks
        .iter()
        .find(|c| named(c) && c.line == check.line)
        .or_else(|| checks.iter().find(named))
}

#[cfg(test)]
mod tests;
