//! What a step waits for.

use std::time::Duration;

use model::{Instant, Mode};

use crate::series::Recording;
use crate::signal::Signal;

/// What a step waits for, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Until {
    /// The condition.
    pub kind: UntilKind,
    /// Time from the step's moment after which the wait has failed.
    pub within: Duration,
}

/// The condition of a wait.
#[derive(Clone, Debug, PartialEq)]
pub enum UntilKind {
    /// A signal has come to rest.
    Settle {
        /// Which signal.
        signal: Signal,
        /// Value around which it rests, in its base unit; `None` = wherever it comes to rest.
        target: Option<f64>,
        /// Largest distance from the target; without a target, half of the largest spread.
        band: f64,
        /// How long it has rested.
        rest: Duration,
    },
    /// A signal has risen above a value.
    Above {
        /// Which signal.
        signal: Signal,
        /// Value in its base unit.
        value: f64,
    },
    /// A signal has fallen below a value.
    Below {
        /// Which signal.
        signal: Signal,
        /// Value in its base unit.
        value: f64,
    },
    /// The mode is reached.
    Mode(Mode),
}

/// How far a wait has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The condition is met.
    Met,
    /// There is time left.
    Waiting,
    /// The time is over.
    Late,
}

impl Until {
    /// The signal that must be recorded, if it waits for one.
    #[must_use]
    pub fn signal(&self) -> Option<&Signal> {
        match &self.kind {
            UntilKind::Settle { signal, .. }
            | UntilKind::Above { signal, .. }
            | UntilKind::Below { signal, .. } => Some(signal),
            UntilKind::Mode(_) => None,
        }
    }

    /// How far the wait has come at `now`, for a step that was due at `began`.
    ///
    /// Only measurements since `began` count. A condition that is met at the last moment is met.
    #[must_use]
    pub fn progress(&self, recording: &Recording, began: Instant, now: Instant) -> Progress {
        if self.is_met(recording, began, now) {
            Progress::Met
        } else if now.since(began) >= self.within {
            Progress::Late
        } else {
            Progress::Waiting
        }
    }

    fn is_met(&self, recording: &Recording, began: Instant, now: Instant) -> bool {
        let latest = |signal: &Signal| {
            let series = recording.series.get(signal)?;
            series.measured(began, now).last().map(|(_, value)| value)
        };
        match &self.kind {
            UntilKind::Mode(mode) => recording
                .modes
                .iter()
                .rev()
                .find(|(t, _)| *t <= now)
                .is_some_and(|(_, m)| m == mode),
            UntilKind::Above { signal, value } => latest(signal).is_some_and(|v| v > *value),
            UntilKind::Below { signal, value } => latest(signal).is_some_and(|v| v < *value),
            UntilKind::Settle {
                signal,
                target,
                band,
                rest,
            } => {
                let Some(series) = recording.series.get(signal) else {
                    return false;
                };
                if now.since(began) < *rest {
                    return false;
                }
                let values: Vec<f64> = series.measured(now - *rest, now).map(|(_, v)| v).collect();
                let low = values.iter().copied().fold(f64::INFINITY, f64::min);
                let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                // One value alone says nothing about rest.
                values.len() >= 2
                    && match target {
                        Some(target) => target - band <= low && high <= target + band,
                        None => high - low <= 2.0 * band,
                    }
            }
        }
    }
}
