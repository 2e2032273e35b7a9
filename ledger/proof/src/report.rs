//! The report: one line per check.

use std::collections::BTreeMap;
use std::fmt;

use ledger_core::Level;
use serde::Serialize;

/// What was checked, in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckName {
    /// The file is a bundle: every item is canonical and in its place.
    Format,
    /// The genesis configuration is the one that the asker knows.
    Universe,
    /// Atoms and vertices are canonical and follow their schema.
    Canonical,
    /// Every atom is signed by its author.
    Signatures,
    /// A role of the author allows the kind of the atom.
    Author,
    /// Atoms and vertices are of a configuration epoch that is in the bundle.
    Epoch,
    /// Each vertex locks exactly the particles that its atom takes down.
    Locks,
    /// Each vertex and atom stand under the head of the vote.
    Inclusion,
    /// The nodes signed heads and vertices, and do not contradict themselves.
    Heads,
    /// So many replicas of the author's group have witnessed the atom as asked.
    Quorum,
    /// A head of the bundle extends the one that the asker kept.
    Consistency,
    /// Every atom that is named is in the bundle, or none is.
    Dependencies,
    /// What is taken down was put up before, and what is put up balances with it.
    Amounts,
    /// What the wall clocks said. Advice: it never fails.
    Time,
}

/// Names, in the order of the report.
pub const CHECKS: [(CheckName, &str); 14] = [
    (CheckName::Format, "format"),
    (CheckName::Universe, "universe"),
    (CheckName::Canonical, "canonical"),
    (CheckName::Signatures, "signatures"),
    (CheckName::Author, "author"),
    (CheckName::Epoch, "epoch"),
    (CheckName::Locks, "locks"),
    (CheckName::Inclusion, "inclusion"),
    (CheckName::Heads, "heads"),
    (CheckName::Quorum, "quorum"),
    (CheckName::Consistency, "consistency"),
    (CheckName::Dependencies, "dependencies"),
    (CheckName::Amounts, "amounts"),
    (CheckName::Time, "time"),
];

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "status")]
pub enum Status {
    /// It holds everywhere.
    Ok {
        /// A remark that does not make it fail.
        #[serde(skip_serializing_if = "Option::is_none")]
        remark: Option<String>,
    },
    /// It does not hold.
    Failed {
        /// Where: an atom and a vote, or an item of the file.
        place: String,
        /// What does not hold there.
        what: String,
    },
    /// Another failure ended the verification before this was decided.
    Undecided,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: CheckName,
    /// How it ended.
    #[serde(flatten)]
    pub status: Status,
    /// How many things were looked at.
    pub count: u64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One line per check, in a fixed order.
    pub checks: Vec<Check>,
    /// The universe, where one could be read.
    pub universe_id: Option<String>,
    /// The atom that the bundle is about.
    pub atom: Option<String>,
    /// What kind of statement it is.
    pub kind: Option<&'static str>,
    /// Number of atoms in the bundle.
    pub atoms: u64,
    /// The least level that any of them has reached: `L1`, `L2` or `L3`.
    pub level: Option<&'static str>,
    /// What the bundle says for people. Nothing authenticates it.
    pub summary: Option<String>,
}

impl Report {
    /// Whether every check holds.
    pub fn is_ok(&self) -> bool {
        let mut checks = self.checks.iter();
        checks.all(|check| matches!(check.status, Status::Ok { .. }))
    }

    /// The first failed check.
    pub fn first_failure(&self) -> Option<&Check> {
        let mut checks = self.checks.iter();
        checks.find(|check| matches!(check.status, Status::Failed { .. }))
    }
}

/// Counts, first failures and remarks, by check.
#[derive(Default)]
pub(crate) struct Tally {
    counts: BTreeMap<CheckName, u64>,
    failures: BTreeMap<CheckName, (String, String)>,
    remarks: BTreeMap<CheckName, String>,
}

impl Tally {
    /// Counts one more thing and notes the first for which `holds` is false.
    pub(crate) fn note(&mut self, name: CheckName, holds: bool, place: &str, what: &str) {
        *self.counts.entry(name).or_default() += 1;
        if !holds {
            self.failures
                .entry(name)
                .or_insert_with(|| (place.to_owned(), what.to_owned()));
        }
    }

    /// As `note`; the failure is an error's own words.
    pub(crate) fn judge<T, E: fmt::Display>(
        &mut self,
        name: CheckName,
        place: &str,
        result: Result<T, E>,
    ) -> Option<T> {
        match result {
            Ok(value) => {
                self.note(name, true, place, "");
                Some(value)
            }
            Err(e) => {
                self.note(name, false, place, &e.to_string());
                None
            }
        }
    }

    pub(crate) fn remark(&mut self, name: CheckName, remark: String) {
        self.remarks.insert(name, remark);
    }

    /// The lines of the report; without `finished` what did not fail is open.
    pub(crate) fn checks(mut self, finished: bool) -> Vec<Check> {
        let mut check = |name: CheckName| {
            let count = self.counts.get(&name).copied().unwrap_or(0);
            let status = match self.failures.remove(&name) {
                Some((place, what)) => Status::Failed { place, what },
                None if finished || (count > 0 && name <= CheckName::Universe) => Status::Ok {
                    remark: self.remarks.remove(&name),
                },
                None => Status::Undecided,
            };
            Check {
                name,
                status,
                count,
            }
        };
        CHECKS.iter().map(|(name, _)| check(*name)).collect()
    }
}

/// The short name of a level, for the report.
pub(crate) fn least(levels: impl Iterator<Item = Option<Level>>) -> Option<Level> {
    levels.min().flatten()
}

impl fmt::Display for CheckName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = CHECKS.iter().find(|(name, _)| name == self);
        f.pad(name.map_or("", |(_, text)| text))
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Check {
            name,
            count,
            status,
        } = self;
        match status {
            Status::Ok { remark: None } => write!(f, "{name:<13} ok      {count}"),
            Status::Ok {
                remark: Some(remark),
            } => write!(f, "{name:<13} ok      {count}  {remark}"),
            Status::Failed { place, what } => write!(f, "{name:<13} FAILED  {place}: {what}"),
            Status::Undecided => write!(f, "{name:<13} undecided"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            writeln!(f, "{check}")?;
        }
        if let Some(summary) = &self.summary {
            // Anybody may have written it, so it does not get at the terminal.
            let summary = summary.replace(char::is_control, " ");
            writeln!(
                f,
                "says of itself, and nothing authenticates this: {summary}"
            )?;
        }
        let verdict = match self.is_ok() {
            true => "verified",
            false => "NOT VERIFIED",
        };
        let text = |part: &Option<String>| part.clone().unwrap_or_else(|| "unknown".to_owned());
        let (kind, level) = (
            self.kind.unwrap_or("atom"),
            self.level.unwrap_or("no level"),
        );
        let (atom, universe) = (text(&self.atom), text(&self.universe_id));
        write!(
            f,
            "{verdict}: {kind} {atom} at {level} in universe {universe}"
        )
    }
}
