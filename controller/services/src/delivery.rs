//! The answer of one service over time: `ready -> activating -> holding -> releasing -> recovering -> ready`.
//!
//! What is wanted comes from a characteristic or from a signal, as a fraction of the contract; the answer
//! follows it no faster than the course of the service allows. A service that is all or nothing keeps
//! its answer for its time even if it is not wanted any more, and then has a time in which it gets
//! ready again. One that is proportional follows what is wanted in every phase: its phases tell people
//! how far it is, and nothing hangs on them.
//!
//! Time is an argument, counted from any fixed moment.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How the answer of a service moves. Fractions are of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// Fastest growth of the answer per second; `None` = at once.
    pub ramp_per_s: Option<f64>,
    /// Fastest return of the answer per second; `None` = as fast as it grows.
    pub release_per_s: Option<f64>,
    /// Shortest time for which a full answer stays; `None` = the answer is proportional and stays
    /// as long as it is wanted.
    pub held_for: Option<Duration>,
    /// Time from an activation to being ready for the next one; `None` = ready at once.
    pub ready_within: Option<Duration>,
}

/// How far a service is. Times are those of the steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing to speak of is wanted; it waits.
    #[default]
    Ready,
    /// On the way to what is wanted.
    Activating {
        /// Since when the service is activated.
        since: Duration,
    },
    /// What is wanted is given.
    Holding {
        /// Since when the service is activated.
        since: Duration,
        /// Since when all of it is given.
        full_since: Duration,
    },
    /// On the way back.
    Releasing {
        /// Since when the service was activated.
        since: Duration,
    },
    /// Back, and not to be asked again before its time.
    Recovering {
        /// From when it is ready.
        until: Duration,
    },
}

impl Phase {
    /// The name in events and files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Activating { .. } => "activating",
            Self::Holding { .. } => "holding",
            Self::Releasing { .. } => "releasing",
            Self::Recovering { .. } => "recovering",
        }
    }
}

/// Wanted fraction from which a service counts as activated. Chosen: 5 %, the answer of a GB service at
/// the end of its flat part; what a quiet frequency asks for is below it.
const ACTIVATED: f64 = 0.05;
/// Wanted fraction below which it counts as not activated any more. Chosen: half of that, so that a
/// frequency at the edge does not switch the phase with every sample.
const QUIET: f64 = 0.025;
/// Distance from what is wanted at which it counts as given. Chosen: 1 %, below what is measured.
const REACHED: f64 = 0.01;
/// Distance at which it counts as on the way again. Chosen: ten times that.
const LEFT: f64 = 0.1;
/// Longest time that a ramp makes up for after a pause. Chosen: 5 s, the longest period of a cycle that a rig may have.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The answer of a service, and how far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    phase: Phase,
    answer: f64,
    /// What an answer that is all or nothing goes to.
    goal: f64,
    looked_at: Option<Duration>,
    /// Answer times seconds since the activation.
    spent_s: f64,
}

impl Delivery {
    /// How far it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The answer that was given last, as a fraction of the contract.
    #[must_use]
    pub fn answer(&self) -> f64 {
        self.answer
    }

    /// Time of full answer that the activation under way has taken out of what was reserved, in seconds.
    #[must_use]
    pub fn spent_s(&self) -> f64 {
        self.spent_s
    }

    /// Looks again: the answer to what is wanted now, both as fractions of the contract.
    pub fn step(&mut self, course: &Course, now: Duration, wanted: f64) -> f64 {
        let elapsed = self
            .looked_at
            .map_or(Duration::ZERO, |at| now.saturating_sub(at));
        self.looked_at = Some(now);
        self.spent_s += self.answer.abs() * elapsed.as_secs_f64();
        self.advance(course, now, wanted);
        let goal = match (self.phase, course.held_for) {
            (Phase::Recovering { .. }, _) | (Phase::Ready | Phase::Releasing { .. }, Some(_)) => {
                0.0
            }
            (Phase::Activating { .. } | Phase::Holding { .. }, Some(_)) => self.goal,
            (_, None) => wanted,
        };
        let returns = goal == 0.0 || (goal.abs() < self.answer.abs() && goal * self.answer > 0.0);
        let rate = match course.release_per_s {
            Some(release) if returns => Some(release),
            _ => course.ramp_per_s,
        };
        let most = rate.map_or(f64::INFINITY, |rate| {
            rate * elapsed.min(PAUSE_MAX).as_secs_f64()
        });
        self.answer += (goal - self.answer).clamp(-most, most);
        self.answer
    }

    /// Starts anew: the answer ends at once, as when the bench is not there to give it.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// The next phase, by what was given last and what is wanted now.
    fn advance(&mut self, course: &Course, now: Duration, wanted: f64) {
        let is_wanted = wanted.abs() >= ACTIVATED;
        let is_quiet = wanted.abs() < QUIET;
        let aim = match course.held_for {
            Some(_) => self.goal,
            None => wanted,
        };
        let off = (self.answer - aim).abs();
        self.phase = match (self.phase, course.held_for) {
            (Phase::Ready, _) if is_wanted => {
                self.goal = wanted;
                self.spent_s = 0.0;
                Phase::Activating { since: now }
            }
            (Phase::Ready, _) => {
                self.spent_s = 0.0;
                Phase::Ready
            }
            (Phase::Activating { since }, None) if is_quiet => Phase::Releasing { since },
            (Phase::Activating { since }, _) if off <= REACHED => Phase::Holding {
                since,
                full_since: now,
            },
            (Phase::Holding { since, .. }, None) if is_quiet => Phase::Releasing { since },
            (Phase::Holding { since, .. }, None) if off > LEFT => Phase::Activating { since },
            (Phase::Holding { since, full_since }, Some(held_for))
                if is_quiet && now.saturating_sub(full_since) >= held_for =>
            {
                Phase::Releasing { since }
            }
            (Phase::Releasing { .. }, None) if is_wanted => Phase::Activating { since: now },
            (Phase::Releasing { .. }, None) if off <= REACHED => Phase::Ready,
            (Phase::Releasing { since }, Some(_)) if self.answer == 0.0 => {
                match course.ready_within {
                    Some(within) => Phase::Recovering {
                        until: since + within,
                    },
                    None => Phase::Ready,
                }
            }
            (Phase::Recovering { until }, _) if now >= until => Phase::Ready,
            (same, _) => same,
        };
    }
}

#[cfg(test)]
mod tests;
