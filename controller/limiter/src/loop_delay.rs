//! How late a droop that is closed over a network may answer.
//!
//! An island of inertia H with a droop R, whose units lag by T, is the loop
//! `1/R / ((2 H s + D)(T s + 1))`. Its phase margin at the frequency where its gain is one is the
//! delay that it bears, and not more: beyond it the frequency swings ever wider. A supervisor that
//! closes such a loop keeps to half of that.

use std::time::Duration;

/// Share of the margin that a loop may use up.
/// Chosen: a half, the usual gain and phase reserve of a loop that nobody tunes on site.
pub const MARGIN_SHARE: f64 = 0.5;
/// Frequency dependence of the loads, per unit of power for a per unit of frequency.
/// Source: the usual 1 to 2 of power system texts; the lower one is the worse case.
const DAMPING: f64 = 1.0;

/// What an island is made of, as far as a droop is concerned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loop {
    /// Inertia constant H: the time for which the turning masses could give the rated power.
    pub inertia: Duration,
    /// Droop, per unit of frequency at full power.
    pub droop: f64,
    /// Lag of the units that answer, first order.
    pub lag: Duration,
}

impl Loop {
    /// The delay at which the loop begins to swing; `None` where its gain is below one at every
    /// frequency, so that no delay makes it swing.
    #[must_use]
    pub fn delay_margin(&self) -> Option<Duration> {
        let (h2, t) = (2.0 * self.inertia.as_secs_f64(), self.lag.as_secs_f64());
        let gain = 1.0 / self.droop;
        // ((2H w)^2 + D^2) ((T w)^2 + 1) = gain^2 is a square equation in w^2.
        let (a, b) = ((h2 * t).powi(2), h2.powi(2) + (DAMPING * t).powi(2));
        let c = DAMPING.powi(2) - gain.powi(2);
        if c >= 0.0 {
            return None;
        }
        let square = if a == 0.0 {
            -c / b
        } else {
            ((b * b - 4.0 * a * c).sqrt() - b) / (2.0 * a)
        };
        let w = square.sqrt();
        let phase = std::f64::consts::PI - (h2 * w / DAMPING).atan() - (t * w).atan();
        Duration::try_from_secs_f64(phase / w).ok()
    }
}

/// A loop that is slower than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the loop from frequency to setpoint takes {} ms, half of its delay margin of {} ms is allowed",
    delay.as_millis(),
    margin.as_millis()
)]
pub struct TooLate {
    /// What was measured, or is expected.
    pub delay: Duration,
    /// The margin.
    pub margin: Duration,
}

/// Whether a droop may be closed over a loop with this delay.
///
/// # Errors
/// When the delay is more than [`MARGIN_SHARE`] of the margin.
pub fn may_droop(delay: Duration, margin: Duration) -> Result<(), TooLate> {
    if delay > margin.mul_f64(MARGIN_SHARE) {
        Err(TooLate { delay, margin })
    } else {
        Ok(())
    }
}

/// The delay of a loop that polls, decides once per cycle and writes: each at its worst.
#[must_use]
pub fn expected(poll: Duration, cycle: Duration, write: Duration) -> Duration {
    poll + cycle + write
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(h_s: f64, droop: f64, lag_s: f64, margin_s: f64) {
        let margin = Loop {
            inertia: Duration::from_secs_f64(h_s),
            droop,
            lag: Duration::from_secs_f64(lag_s),
        }
        .delay_margin()
        .expect("the loop has a margin")
        .as_secs_f64();
        assert!(
            (margin - margin_s).abs() < 0.001,
            "H {h_s} R {droop} T {lag_s}: {margin}"
        );
    }

    #[test]
    fn the_delay_margin_is_that_of_nyquist() {
        // Computed there, and confirmed by simulating 0.9 and 1.1 of the margin.
        check(1.0, 0.05, 0.2, 0.121);
        check(2.0, 0.05, 0.2, 0.247);
        check(5.0, 0.05, 0.2, 0.677);
        check(10.0, 0.05, 0.2, 1.457);
        check(3.0, 0.05, 0.5, 0.363);
        check(5.0, 0.10, 0.2, 1.516);
    }

    #[test]
    fn half_of_the_margin_is_allowed_and_a_weak_droop_bears_any_delay() {
        let ms = Duration::from_millis;
        assert_eq!(may_droop(ms(60), ms(120)), Ok(()));
        let late = may_droop(ms(61), ms(120)).unwrap_err();
        assert_eq!(
            late.to_string(),
            "the loop from frequency to setpoint takes 61 ms, half of its delay margin of 120 ms is allowed"
        );
        let weak = Loop {
            inertia: ms(5000),
            droop: 2.0,
            lag: ms(200),
        };
        assert_eq!(weak.delay_margin(), None);
    }

    /// The loop itself, by small steps, as a second way to the same number: a step of load settles
    /// below the margin and swings up above it.
    #[test]
    fn a_loop_settles_below_its_margin_and_swings_up_above_it() {
        let island = Loop {
            inertia: Duration::from_secs(1),
            droop: 0.05,
            lag: Duration::from_millis(200),
        };
        let margin = island.delay_margin().expect("a margin").as_secs_f64();
        for (share, settles) in [(0.9, true), (1.1, false)] {
            let dt = 0.000_5;
            let late = (share * margin / dt) as usize;
            let (mut f, mut p, mut past) = (0.0_f64, 0.0_f64, vec![0.0; late.max(1)]);
            let (mut early, mut end) = (0.0_f64, 0.0_f64);
            let steps = (20.0 / dt) as usize;
            for n in 0..steps {
                let slot = n % past.len();
                let seen = past[slot];
                past[slot] = f;
                p += dt / 0.2 * (-seen / 0.05 - p);
                f += dt / 2.0 * (p - 0.1 - DAMPING * f);
                let swing = (f + 0.1 / (DAMPING + 20.0)).abs();
                if n < steps / 4 {
                    early = early.max(swing);
                } else if n > steps * 3 / 4 {
                    end = end.max(swing);
                }
            }
            assert_eq!(
                end < early / 2.0,
                settles,
                "{share} of the margin: {early} {end}"
            );
        }
    }
}
