//! One shape of error: code, place, reason, help, and who must act.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A text with the name of the file it came from.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Path as the user gave it.
    pub path: String,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// Names a text.
    #[must_use]
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self {
            path: path.into(),
            text: text.into(),
        })
    }
}

/// A range of bytes in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The text.
    pub source: Arc<Source>,
    /// Byte range in the text.
    pub span: Range<usize>,
}

impl Place {
    /// Line and column of the start, both counted from 1; the column counts characters.
    #[must_use]
    pub fn line_and_column(&self) -> (usize, usize) {
        let start = self.span.start.min(self.source.text.len());
        let before = self.source.text.get(..start).unwrap_or("");
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_and_column();
        write!(f, "{}:{line}:{column}", self.source.path)
    }
}

/// Who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// The person who runs the bench.
    Operator,
    /// The person who wrote the rig, profile or scenario.
    Author,
    /// The device, or whoever made it.
    Device,
    /// The makers of gridrig.
    Us,
}

impl Actor {
    /// The name in messages and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Author => "author",
            Self::Device => "device",
            Self::Us => "gridrig",
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file can be used all the same.
    Warning,
    /// The file cannot be used.
    Error,
}

/// Something wrong, with its place and its mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code, such as `R012`; `gridrig explain` says more.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Who can mend it.
    pub actor: Actor,
    /// What is wrong, in one line.
    pub message: String,
    /// Where, if it is in a file.
    pub place: Option<Place>,
    /// A few words beside the caret.
    pub label: String,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error that has no place in a file.
    #[must_use]
    pub fn error(code: &'static str, actor: Actor, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            actor,
            message: message.into(),
            place: None,
            label: String::new(),
            help: None,
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the place and a few words beside the caret.
    #[must_use]
    pub fn at(mut self, place: Place, label: impl Into<String>) -> Self {
        self.place = Some(place);
        self.label = label.into();
        self
    }
}

impl fmt::Display for Diagnostic {
    /// One plain line, for logs and JSON; the command line draws the rich form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{word}[{}]: {}", self.code, self.message)?;
        if let Some(place) = &self.place {
            write!(f, " at {place}")?;
        }
        if let Some(help) = &self.help {
            write!(f, " (help: {help})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}
