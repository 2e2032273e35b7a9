//! Why a verb did not do what it was asked, and the exit code that says so.

use document::{Actor, Diagnostic};
use scenario::verdict::Verdict;

/// What a verb comes to.
pub type Outcome = Result<Verdict, Problem>;

/// Everything that is wrong, told at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What it makes of the process.
    pub verdict: Verdict,
    /// What is wrong; empty when it was told already.
    pub diagnostics: Vec<Diagnostic>,
}

/// Codes that mean: the bench or the machine was not there, although the operator's files are
/// right. Every other fault of operator or author is one of usage or configuration.
const INFRASTRUCTURE: &[&str] = &[
    "R024",
    "R025",
    "R026",
    "C010",
    "C011",
    "C013",
    "C014",
    "C025",
    "C029",
    "R089",
    "L004",
    "L005",
    "ledger-disk-full",
    "ledger-device-error",
    "ledger-file-too-large",
    "ledger-not-permitted",
    "ledger-locked",
    "ledger-storage",
];

fn verdict_of(diagnostic: &Diagnostic) -> Verdict {
    match diagnostic.actor {
        Actor::Device | Actor::Us => Verdict::Infrastructure,
        Actor::Operator | Actor::Author if INFRASTRUCTURE.contains(&diagnostic.code) => {
            Verdict::Infrastructure
        }
        Actor::Operator | Actor::Author => Verdict::Config,
    }
}

impl Problem {
    /// A problem of usage or configuration, whatever the code says elsewhere.
    pub fn usage(diagnostic: Diagnostic) -> Self {
        Self {
            verdict: Verdict::Config,
            diagnostics: vec![diagnostic],
        }
    }

    /// A mistake of ours, which the panic hook has told.
    pub fn ours_was_told() -> Self {
        Self {
            verdict: Verdict::Infrastructure,
            diagnostics: Vec::new(),
        }
    }

    /// All messages in one line, for `result.json`.
    pub fn why(&self) -> String {
        let lines: Vec<String> = self.diagnostics.iter().map(ToString::to_string).collect();
        lines.join("; ")
    }
}

impl From<Vec<Diagnostic>> for Problem {
    /// The worst that any of them means.
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        let verdict = diagnostics
            .iter()
            .filter(|d| d.severity == document::Severity::Error)
            .map(verdict_of)
            .reduce(Verdict::worse)
            .unwrap_or(Verdict::Infrastructure);
        Self {
            verdict,
            diagnostics,
        }
    }
}

impl From<Diagnostic> for Problem {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::from(vec![diagnostic])
    }
}

impl From<Box<Diagnostic>> for Problem {
    fn from(diagnostic: Box<Diagnostic>) -> Self {
        Self::from(vec![*diagnostic])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_must_act_decides_the_exit_code() {
        let rows = [
            ("R002", Actor::Author, 2),
            ("R024", Actor::Operator, 3),
            ("R022", Actor::Operator, 2),
            ("C011", Actor::Device, 3),
            ("E000", Actor::Us, 3),
        ];
        for (code, actor, expected) in rows {
            let problem = Problem::from(Diagnostic::error(code, actor, "x"));
            assert_eq!(problem.verdict.exit_code(), expected, "{code}");
        }
        let both = vec![
            Diagnostic::error("R024", Actor::Operator, "x"),
            Diagnostic::error("R002", Actor::Author, "y"),
        ];
        assert_eq!(Problem::from(both).verdict, Verdict::Config);
    }
}
