//! What the page may know of the scenario that is being played on this bench.

use model::Instant;

/// A scenario under way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScenarioView {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// How far it is, in words: `waiting for the bench`, `setup`, `steps`, `record`, `teardown`.
    pub phase: &'static str,
    /// The step under way, from 0; `None` before the first.
    pub step: Option<usize>,
    /// Its steps.
    pub steps: Vec<StepView>,
    /// What is demanded of signals, and when.
    pub bands: Vec<BandView>,
}

/// A step of a scenario.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepView {
    /// When, as it is written.
    pub at: String,
    /// What it does.
    pub text: String,
    /// What the moment is called.
    pub mark: Option<String>,
    /// When it began, or is expected to; `None` before the script has begun.
    pub due: Option<Instant>,
}

/// A band that a signal is to keep.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BandView {
    /// What is demanded, in words.
    pub name: String,
    /// The subject of the signal: a device, `grid` or `bus`.
    pub subject: String,
    /// Its quantity as scenarios write it, such as `p` or `f`.
    pub quantity: &'static str,
    /// Unit of both ends.
    pub unit: &'static str,
    /// Lower end; `None` without one.
    pub low: Option<f64>,
    /// Upper end; `None` without one.
    pub high: Option<f64>,
    /// When it begins, as far as that is known.
    pub from: Option<Instant>,
    /// When it ends; `None` with the record.
    pub until: Option<Instant>,
}
