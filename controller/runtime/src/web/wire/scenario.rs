//! The scenario that is being played, as the API tells it.

use model::Instant;
use serde::Serialize;

use crate::view::{BandView, LiveView, ScenarioView, StepView};

/// A scenario under way. Times are control time in seconds.
#[derive(Clone, Debug, Serialize)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// How far it is, in words.
    pub phase: &'static str,
    /// The step under way, from 0; `null` before the first.
    pub step: Option<usize>,
    /// Its steps.
    pub steps: Vec<Step>,
    /// What is demanded of signals, and when: known before it is measured.
    pub bands: Vec<Band>,
}

/// A step.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// When, as it is written.
    pub at: String,
    /// What it does.
    pub text: String,
    /// What the moment is called.
    pub mark: Option<String>,
    /// When it began, or is expected to.
    pub due_s: Option<f64>,
}

/// A band that a signal is to keep.
#[derive(Clone, Debug, Serialize)]
pub struct Band {
    /// What is demanded.
    pub name: String,
    /// A device, `grid` or `bus`.
    pub subject: String,
    /// Such as `p` or `f`.
    pub quantity: &'static str,
    /// Unit of both ends.
    pub unit: &'static str,
    /// Lower end; `null` without one.
    pub low: Option<f64>,
    /// Upper end; `null` without one.
    pub high: Option<f64>,
    /// When it begins, as far as that is known.
    pub from_s: Option<f64>,
    /// When it ends; `null` with the record.
    pub until_s: Option<f64>,
}

impl From<StepView> for Step {
    fn from(s: StepView) -> Self {
        Self {
            at: s.at,
            text: s.text,
            mark: s.mark,
            due_s: s.due.map(Instant::as_seconds),
        }
    }
}

impl From<BandView> for Band {
    fn from(b: BandView) -> Self {
        Self {
            name: b.name,
            subject: b.subject,
            quantity: b.quantity,
            unit: b.unit,
            low: b.low,
            high: b.high,
            from_s: b.from.map(Instant::as_seconds),
            until_s: b.until.map(Instant::as_seconds),
        }
    }
}

impl From<ScenarioView> for Scenario {
    fn from(s: ScenarioView) -> Self {
        Self {
            name: s.name,
            file: s.file,
            phase: s.phase,
            step: s.step,
            steps: s.steps.into_iter().map(Step::from).collect(),
            bands: s.bands.into_iter().map(Band::from).collect(),
        }
    }
}

/// The scenario that is being played; `None` where none is.
#[must_use]
pub fn scenario(view: &LiveView) -> Option<Scenario> {
    view.latest_scenario().map(Scenario::from)
}
