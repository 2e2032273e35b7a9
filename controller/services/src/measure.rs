//! What was delivered, measured: response, accuracy, overshoot, score, availability. Pure functions of series.
//!
//! A series is pairs of a time in seconds and a value in any one unit, in the order of time. Each result carries
//! what the sampling and the clocks leave open, as plus or minus; who compares with a limit says
//! *inconclusive* where the limit lies inside.

mod availability;
mod response;
mod score;
mod tracking;

pub use availability::availability;
pub use response::{Reached, StepUnit, reached};
pub use score::{PerformanceScore, Resampled, performance_score, resample};
pub use tracking::{accuracy, overshoot};

/// A number with what is left open about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The number.
    pub value: f64,
    /// Plus or minus.
    pub uncertainty: f64,
}

/// How a measurement compares with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Kept, whatever the truth is within the uncertainty.
    Kept,
    /// Broken, whatever it is.
    Broken,
    /// The limit lies inside.
    Open,
}

impl Measured {
    /// Against the largest value that is allowed.
    #[must_use]
    pub fn at_most(self, most: f64) -> Comparison {
        if self.value + self.uncertainty <= most {
            Comparison::Kept
        } else if self.value - self.uncertainty > most {
            Comparison::Broken
        } else {
            Comparison::Open
        }
    }

    /// Against the least value that is allowed.
    #[must_use]
    pub fn at_least(self, least: f64) -> Comparison {
        Self {
            value: -self.value,
            ..self
        }
        .at_most(-least)
    }
}
