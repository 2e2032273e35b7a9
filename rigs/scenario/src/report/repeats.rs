//! How often a scenario passed that ran several times, and what that says about it.

use serde::{Deserialize, Serialize};

use super::result::ScenarioResult;
use crate::verdict::Verdict;

/// Two-sided 95 % of the normal distribution, in standard deviations.
const Z: f64 = 1.959_963_985;

/// A scenario that ran several times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repeated {
    /// Name of the scenario.
    pub name: String,
    /// File that it stands in.
    pub file: String,
    /// How often it ran.
    pub runs: u64,
    /// How often it passed.
    pub passed: u64,
    /// Share of the runs that did not pass.
    pub flake_rate: f64,
    /// Where that share lies with 95 % confidence, by Wilson's interval.
    pub flake_rate_95: (f64, f64),
}

impl Repeated {
    /// Whether it passed sometimes only.
    #[must_use]
    pub fn is_flaky(&self) -> bool {
        self.passed > 0 && self.passed < self.runs
    }

    /// `passed 9 of 10 times; it fails in 10 % of runs (1.79 to 40.4 % with 95 % confidence)`.
    #[must_use]
    pub fn line(&self) -> String {
        let percent = |share: f64| super::number((share * 1e4).round() / 1e2);
        format!(
            "passed {} of {} times; it fails in {} % of runs ({} to {} % with 95 % confidence)",
            self.passed,
            self.runs,
            percent(self.flake_rate),
            percent(self.flake_rate_95.0),
            percent(self.flake_rate_95.1)
        )
    }
}

/// The interval in which a share lies with 95 % confidence, when it was seen in `hits` of `n` cases.
///
/// Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, 1927.
#[must_use]
pub fn wilson(hits: u64, n: u64) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let (hits, n) = (hits as f64, n as f64);
    let share = hits / n;
    let scale = 1.0 + Z * Z / n;
    let middle = (share + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

/// All scenarios that ran more than once, in the order in which they ran first.
#[must_use]
pub fn of(scenarios: &[ScenarioResult]) -> Vec<Repeated> {
    let mut found: Vec<Repeated> = Vec::new();
    for one in scenarios {
        let passed = u64::from(one.verdict == Verdict::Pass);
        let same = |r: &&mut Repeated| r.name == one.name && r.file == one.file;
        if let Some(known) = found.iter_mut().find(same) {
            known.runs += 1;
            known.passed += passed;
        } else {
            found.push(Repeated {
                name: one.name.clone(),
                file: one.file.clone(),
                runs: 1,
                passed,
                flake_rate: 0.0,
                flake_rate_95: (0.0, 1.0),
            });
        }
    }
    found.retain(|r| r.runs > 1);
    for one in &mut found {
        let failed = one.runs - one.passed;
        one.flake_rate = failed as f64 / one.runs as f64;
        one.flake_rate_95 = wilson(failed, one.runs);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_lies_in_the_interval_that_wilson_gives() {
        // Of 10 runs; recomputed by hand from the formula with z = 1.96.
        for (hits, n, low, high) in [
            (0, 10, 0.0, 0.2775),
            (1, 10, 0.0179, 0.4042),
            (5, 10, 0.2366, 0.7634),
            (10, 10, 0.7225, 1.0),
            (3, 1000, 0.0010, 0.0088),
            (0, 0, 0.0, 1.0),
        ] {
            let found = wilson(hits, n);
            let near = |a: f64, b: f64| (a - b).abs() < 1e-4;
            assert!(
                near(found.0, low) && near(found.1, high),
                "{hits}/{n}: {found:?}"
            );
        }
    }
}
