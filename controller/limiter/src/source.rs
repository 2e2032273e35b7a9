//! Grid simulators: frequency and voltage inside the rig's limits, neither faster than it may move.

use std::time::Duration;

use model::{DeviceImage, Instant, Setpoint, SourceRating};
use quantities::{Frequency, PhaseAngle, Quantity, Voltage};

use crate::ramp::towards;
use crate::{Approved, Clamp, Verdict};

/// Frequency, voltage, phase and output that are wished of a source.
pub(crate) type SourceWish = (
    Option<Frequency>,
    Option<Voltage>,
    Option<PhaseAngle>,
    Option<bool>,
);

/// Longest time credited to a source, whose rates are what a test is about: after an hour of rest
/// it must not jump.
/// Chosen: 100 ms, the usual cycle; in a slower one it moves more slowly than it may, never faster.
const SOURCE_STEP_MAX: Duration = Duration::from_millis(100);
/// Time credited to a source that was never set from here.
/// Chosen: 10 ms, the fastest cycle that a bench is offered.
const FIRST_STEP: Duration = Duration::from_millis(10);

/// What a source was last approved to be, and when; `None` was never asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SourceMemory {
    f: Option<(Instant, Frequency)>,
    v: Option<(Instant, Voltage)>,
}

impl SourceMemory {
    /// A source that has been set to this.
    pub(crate) fn set(now: Instant, f: Frequency, v: Voltage) -> Self {
        Self {
            f: Some((now, f)),
            v: Some((now, v)),
        }
    }

    /// Where it was never set from here, it moves from where it is.
    fn measured(now: Instant, own: &DeviceImage) -> Self {
        let since = now - FIRST_STEP;
        Self {
            f: own.f.last_good.map(|(_, f)| (since, f)),
            v: own.v.last_good.map(|(_, v)| (since, v)),
        }
    }

    /// Limits a wish. Switching the output is a person's decision and has no limit of its own.
    pub(crate) fn approve(
        &mut self,
        now: Instant,
        rating: &SourceRating,
        (f, v, phase, on): SourceWish,
        own: &DeviceImage,
    ) -> Verdict {
        let mut clamps = Vec::new();
        let measured = Self::measured(now, own);
        let f = f.map(|wished| {
            let rated = rating.f.clamp(wished);
            if rated != wished {
                clamps.push(Clamp::Frequency { wished });
            }
            let moved = match (rating.rocof, self.f.or(measured.f)) {
                (Some(rate), Some((at, f))) => towards(rated, f, rate * time_of(now, at)),
                _ => rated,
            };
            if moved != rated {
                clamps.push(Clamp::Rocof { wished: rated });
            }
            rating.f.clamp(moved)
        });
        let v = v.map(|wished| {
            let rated = rating.v.clamp(wished);
            if rated != wished {
                clamps.push(Clamp::Voltage { wished });
            }
            let moved = match (rating.slew, self.v.or(measured.v)) {
                (Some(rate), Some((at, v))) => towards(rated, v, rate * time_of(now, at)),
                _ => rated,
            };
            if moved != rated {
                clamps.push(Clamp::Slew { wished: rated });
            }
            rating.v.clamp(moved)
        });
        self.f = f.map(|f| (now, f)).or(self.f);
        self.v = v.map(|v| (now, v)).or(self.v);
        Verdict {
            approved: Approved::new(Setpoint::Source { f, v, phase, on }),
            clamps,
        }
    }
}

/// The time that a source is credited with since it was last set.
fn time_of(now: Instant, at: Instant) -> Duration {
    now.since(at).min(SOURCE_STEP_MAX)
}

/// Whether every part of a wish is a number.
pub(crate) fn is_finite((f, v, phase, _): &SourceWish) -> bool {
    f.is_none_or(Quantity::is_finite)
        && v.is_none_or(Quantity::is_finite)
        && phase.is_none_or(Quantity::is_finite)
}
