//! A line of a list, and where it leads.

use ratatui::text::{Line, Span};

/// Where a marked line leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// To an entry, by its identity.
    Entry(String),
    /// To the entries before this clock.
    Older(u64),
    /// To the newest entries.
    Newest,
}

/// A line of a list that leads somewhere: where to, and how many lines above lead there, too.
pub type Mark = (Goal, usize);

/// A line of a list, and where it leads when it is chosen.
#[derive(Clone, Debug)]
pub struct Row {
    pub line: Line<'static>,
    pub goal: Option<Goal>,
}

impl Row {
    /// A line that leads nowhere.
    pub(super) fn plain(text: Span<'static>) -> Self {
        Self::from(Line::from(text))
    }

    /// A line that leads somewhere.
    pub(super) fn to(line: Line<'static>, goal: Goal) -> Self {
        Self {
            line,
            goal: Some(goal),
        }
    }

    /// A line about an entry of the ledger, if it has one.
    pub(super) fn about(line: Line<'static>, atom: Option<&String>) -> Self {
        Self {
            line,
            goal: atom.map(|atom| Goal::Entry(atom.clone())),
        }
    }
}

/// The lines that lead somewhere: the number of each, and what tells it apart from the others.
pub fn marks(rows: &[Row]) -> Vec<(usize, Mark)> {
    let mut found: Vec<(usize, Mark)> = Vec::new();
    for (n, row) in rows.iter().enumerate() {
        if let Some(goal) = &row.goal {
            let above = found.iter().filter(|(_, (of, _))| of == goal).count();
            found.push((n, (goal.clone(), above)));
        }
    }
    found
}

impl From<Line<'static>> for Row {
    fn from(line: Line<'static>) -> Self {
        Self { line, goal: None }
    }
}
