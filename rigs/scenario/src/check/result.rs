//! What a check found.

use serde::{Deserialize, Serialize};

use super::Check;
use crate::report::plot::Plot;
use crate::verdict::Verdict;

/// A point of a series that stands out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worst {
    /// Time since the run began, in seconds.
    pub t_s: f64,
    /// Value in the unit of the result.
    pub value: f64,
}

/// What a check found. Values are in `unit`: base units, and percent for a state of charge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Name of the check.
    pub name: String,
    /// Its kind: its key in the scenario, such as `band`, `t90` or `event`.
    pub kind: String,
    /// Line in the scenario, counted from 1.
    pub line: usize,
    /// What came out.
    pub verdict: Verdict,
    /// The signal that was looked at.
    pub signal: Option<String>,
    /// The value that decided; `None` when there is none.
    pub value: Option<f64>,
    /// Unit of value and limits; empty for a count or a switch.
    pub unit: String,
    /// Lower limit.
    pub lower: Option<f64>,
    /// Upper limit.
    pub upper: Option<f64>,
    /// What the sampling leaves open, or the scenario states, as plus or minus.
    pub uncertainty: Option<f64>,
    /// Unit of the uncertainty.
    pub uncertainty_unit: String,
    /// Whether the value lies within its uncertainty of a limit; the verdict stands.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marginal: bool,
    /// Begin of the evidence, in seconds since the run began.
    pub from_s: Option<f64>,
    /// End of the evidence, in seconds since the run began.
    pub to_s: Option<f64>,
    /// Measurements or events that were looked at.
    pub samples: u64,
    /// The measurement that decided.
    pub worst: Option<Worst>,
    /// Why, in one sentence with numbers.
    pub why: String,
    /// Where the band goes in time: seconds since the run began, lower and upper end; empty for a
    /// band that stands still. Not part of `result.json`.
    #[serde(skip)]
    pub band: Vec<(f64, f64, f64)>,
    /// Picture of the evidence; not part of `result.json`.
    #[serde(skip)]
    pub plot: Option<Plot>,
}

impl CheckResult {
    pub(super) fn new(check: &Check) -> Self {
        let signal = check.kind.signal();
        let unit = signal.map_or("", |s| s.quantity.shown_unit().0);
        Self {
            name: check.name.clone(),
            kind: check.kind.word().to_owned(),
            line: check.line,
            verdict: Verdict::Inconclusive,
            signal: signal.map(ToString::to_string),
            value: None,
            unit: unit.to_owned(),
            lower: None,
            upper: None,
            uncertainty: None,
            uncertainty_unit: String::new(),
            marginal: false,
            from_s: None,
            to_s: None,
            samples: 0,
            worst: None,
            why: String::new(),
            band: Vec::new(),
            plot: None,
        }
    }

    pub(super) fn says(mut self, verdict: Verdict, why: impl Into<String>) -> Self {
        self.verdict = verdict;
        self.why = why.into();
        self
    }

    /// Whether the value is no further from a limit than its uncertainty in the same unit.
    pub(super) fn is_near_a_limit(&self) -> bool {
        let (Some(value), Some(uncertainty)) = (self.value, self.uncertainty) else {
            return false;
        };
        self.unit == self.uncertainty_unit
            && [self.lower, self.upper]
                .into_iter()
                .flatten()
                .any(|limit| (value - limit).abs() <= uncertainty)
    }

    /// A check that could not be made because the bench failed, with the reason.
    #[must_use]
    pub fn infrastructure(check: &Check, why: impl Into<String>) -> Self {
        Self::new(check).says(Verdict::Infrastructure, why)
    }
}
