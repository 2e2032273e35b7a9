//! The report: one line per check.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// What was checked, in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckName {
    /// The genesis configuration is the one its bytes render to.
    Universe,
    /// The segments follow each other, and every frame is intact.
    Frames,
    /// The log ends with a finished batch, and closed where that is demanded.
    End,
    /// Entries and heads are canonical, and payloads follow their schema.
    Canonical,
    /// The logical clock rises by one with each entry.
    Clock,
    /// Vertices form one chain of one node and name the head before them.
    Vertices,
    /// Heads cover exactly the entries and form one chain.
    Heads,
    /// Every signature verifies, and its key is in the universe.
    Signatures,
    /// Authors write only kinds that their roles allow.
    Roles,
    /// Each author's atoms are numbered and chained without a gap.
    Sequences,
    /// Atoms belong to the shards of their author and subjects.
    Destinations,
    /// What an atom names stands before it and has the right kind.
    References,
    /// The authority epoch of a device never falls.
    Authority,
    /// Every particle goes up once and down once, and sums are conserved.
    Particles,
    /// The hybrid logical clock rises with each entry.
    Time,
    /// The size and root that the asker knows are in the log.
    KnownHead,
}

/// Names and what they promise, in the order of the report.
pub(crate) const CHECKS: [(CheckName, &str); 16] = [
    (CheckName::Universe, "universe"),
    (CheckName::Frames, "frames"),
    (CheckName::End, "end"),
    (CheckName::Canonical, "canonical"),
    (CheckName::Clock, "clock"),
    (CheckName::Vertices, "vertices"),
    (CheckName::Heads, "heads"),
    (CheckName::Signatures, "signatures"),
    (CheckName::Roles, "roles"),
    (CheckName::Sequences, "sequences"),
    (CheckName::Destinations, "destinations"),
    (CheckName::References, "references"),
    (CheckName::Authority, "authority"),
    (CheckName::Particles, "particles"),
    (CheckName::Time, "time"),
    (CheckName::KnownHead, "known-head"),
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
        /// Where: a file and an offset, or a clock.
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
    /// Number of entries; the logical clock of the last one.
    pub entries: u64,
    /// The root over them, as hexadecimal.
    pub root: Option<String>,
    /// Number of entries of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Whether the last head closed the log in good order.
    pub closed: bool,
    /// Bytes behind the last finished batch. They were never acknowledged.
    pub tail_bytes: u64,
}

impl Report {
    /// Whether every check holds.
    pub fn is_ok(&self) -> bool {
        self.checks
            .iter()
            .all(|check| matches!(check.status, Status::Ok { .. }))
    }

    /// The first failed check.
    pub fn first_failure(&self) -> Option<&Check> {
        self.checks
            .iter()
            .find(|check| matches!(check.status, Status::Failed { .. }))
    }
}

impl fmt::Display for CheckName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = CHECKS
            .iter()
            .find(|(name, _)| name == self)
            .map_or("", |(_, text)| text);
        f.pad(name)
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
        let verdict = if self.is_ok() {
            "verified"
        } else {
            "NOT VERIFIED"
        };
        let universe = self.universe_id.as_deref().unwrap_or("unknown");
        write!(
            f,
            "{verdict}: {} entries of universe {universe}",
            self.entries
        )?;
        match &self.root {
            Some(root) => write!(f, ", root {root}"),
            None => Ok(()),
        }
    }
}
