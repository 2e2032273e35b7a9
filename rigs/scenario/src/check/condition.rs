//! A condition on a signal or on the mode, and how values are compared.

use std::fmt;

use model::Mode;

use crate::signal::Signal;

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `==`
    Equal,
    /// `!=`
    Different,
}

impl Comparison {
    /// The comparisons with their signs; of two that begin alike the longer comes first.
    pub const SIGNS: &'static [(&'static str, Self)] = &[
        (">=", Self::AtLeast),
        ("<=", Self::AtMost),
        ("==", Self::Equal),
        ("!=", Self::Different),
        (">", Self::Above),
        ("<", Self::Below),
    ];

    /// Whether it holds; never for a number that is none.
    #[must_use]
    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
            Self::Equal => value == limit,
            // NaN differs from everything and shows nothing.
            Self::Different => value != limit && !value.is_nan(),
        }
    }

    /// The comparison that holds where this one does not; both are false for a number that is none.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Above => Self::AtMost,
            Self::AtLeast => Self::Below,
            Self::Below => Self::AtLeast,
            Self::AtMost => Self::Above,
            Self::Equal => Self::Different,
            Self::Different => Self::Equal,
        }
    }

    fn sign(self) -> &'static str {
        Self::SIGNS
            .iter()
            .find(|(_, c)| *c == self)
            .map_or("?", |(sign, _)| sign)
    }
}

/// Something that can be true at a moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Of a signal.
    Signal {
        /// Which.
        signal: Signal,
        /// How it is compared.
        comparison: Comparison,
        /// With what, in the base unit of the signal.
        limit: f64,
    },
    /// Of the mode.
    Mode {
        /// Whether it is this one (`==`) or another one (`!=`).
        is: bool,
        /// Which mode.
        mode: Mode,
    },
}

impl Condition {
    /// The condition that is true where this one is false.
    #[must_use]
    pub fn opposite(&self) -> Self {
        match self {
            Self::Signal {
                signal,
                comparison,
                limit,
            } => Self::Signal {
                signal: signal.clone(),
                comparison: comparison.opposite(),
                limit: *limit,
            },
            Self::Mode { is, mode } => Self::Mode {
                is: !is,
                mode: *mode,
            },
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal {
                signal,
                comparison,
                limit,
            } => write!(f, "{signal} {} {}", comparison.sign(), signal.show(*limit)),
            Self::Mode { is, mode } => {
                write!(f, "mode {} {mode}", if *is { "==" } else { "!=" })
            }
        }
    }
}
