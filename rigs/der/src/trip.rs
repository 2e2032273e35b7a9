//! Protection: thresholds with clearing times, each with a timer of its own.
//!
//! Voltage is the worst of all phases. A condition must hold without a break for its clearing time.

use crate::filter::Timer;
use crate::region::{Edge, Quantity, Watch};
use crate::settings::{RideThrough, Threshold, Trip, Trips};
use crate::voltage::Volts;

/// Why a device has tripped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Over-voltage.
    OverVoltage,
    /// Under-voltage.
    UnderVoltage,
    /// Over-frequency.
    OverFrequency,
    /// Under-frequency.
    UnderFrequency,
    /// Rate of change of frequency.
    Rocof,
    /// A jump of the voltage's angle.
    PhaseJump,
    /// An island.
    Island,
}

impl Cause {
    fn of(quantity: Quantity) -> Self {
        match quantity {
            Quantity::LowVoltage => Self::UnderVoltage,
            Quantity::HighVoltage => Self::OverVoltage,
            Quantity::LowFrequency => Self::UnderFrequency,
            Quantity::HighFrequency => Self::OverFrequency,
        }
    }
}

/// All timers of the protection.
#[derive(Clone, Debug, Default)]
pub struct Protection {
    timers: [[Timer; 2]; 4],
    may: Watch,
    rocof: Rocof,
    island: Timer,
    angle_deg: Option<f64>,
}

/// What protection looks at.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Voltage.
    pub v: Volts,
    /// Frequency in hertz.
    pub f_hz: f64,
    /// Angle of the voltage against a steady reference, in degrees, if somebody knows it.
    pub angle_deg: Option<f64>,
    /// Whether the device is in an island with its neighbours.
    pub island: bool,
    /// Whether it holds voltage and frequency itself, so that their changes are no loss of mains.
    pub holds: bool,
}

impl Protection {
    /// What trips at the end of a step.
    pub fn step(
        &mut self,
        trip: &Trip,
        ride: &RideThrough,
        seen: &Seen,
        dt_s: f64,
    ) -> Option<Cause> {
        let (low, high, f) = (seen.v.low(), seen.v.high(), seen.f_hz);
        let mut cause = None;
        let mut look = |timers: &mut [Timer; 2], at: &[Threshold; 2], over: bool, value, why| {
            for (timer, threshold) in timers.iter_mut().zip(at) {
                let beyond = if over {
                    value > threshold.at
                } else {
                    value < threshold.at
                };
                if timer.step(beyond, threshold.clearing_s, dt_s) {
                    cause = cause.or(Some(why));
                }
            }
        };
        let [ov, uv, of, uf] = &mut self.timers;
        look(ov, &trip.ov, true, high, Cause::OverVoltage);
        look(uv, &trip.uv, false, low, Cause::UnderVoltage);
        look(of, &trip.of, true, f, Cause::OverFrequency);
        look(uf, &trip.uf, false, f, Cause::UnderFrequency);
        if ride.trips == Trips::WhenItMay {
            let place = self
                .may
                .step(&ride.may_trip, Edge::Outside, seen.v, f, dt_s);
            cause = cause.or(place.inside.map(Cause::of));
        }
        if !seen.holds
            && let Some((limit, window_s)) = ride.rocof
            && self.rocof.step(f, window_s, dt_s).abs() > limit
        {
            cause = cause.or(Some(Cause::Rocof));
        }
        if let (Some(before), Some(now)) = (self.angle_deg, seen.angle_deg)
            && ride
                .phase_jump_deg
                .is_some_and(|limit| turned(before, now) > limit)
        {
            cause = cause.or(Some(Cause::PhaseJump));
        }
        self.angle_deg = seen.angle_deg;
        if self.island.step(seen.island, ride.island_s, dt_s) {
            cause = cause.or(Some(Cause::Island));
        }
        cause
    }
}

/// The smaller angle between two, in degrees.
fn turned(a: f64, b: f64) -> f64 {
    let turn = (a - b).rem_euclid(360.0);
    turn.min(360.0 - turn)
}

/// Rate of change of frequency, averaged over a window that moves with time.
#[derive(Clone, Debug, Default)]
struct Rocof {
    /// Time that each value has been known for, and the value; the oldest first.
    seen: std::collections::VecDeque<(f64, f64)>,
}

impl Rocof {
    /// Hertz per second over the window; nothing before the window is full.
    fn step(&mut self, f_hz: f64, window_s: f64, dt_s: f64) -> f64 {
        for (age_s, _) in &mut self.seen {
            *age_s += dt_s;
        }
        self.seen.push_back((0.0, f_hz));
        // The youngest value that is as old as the window is its beginning.
        while self
            .seen
            .get(1)
            .is_some_and(|(age_s, _)| *age_s + 1e-9 >= window_s)
        {
            self.seen.pop_front();
        }
        match self.seen.front() {
            Some((age_s, f)) if *age_s + 1e-9 >= window_s => (f_hz - f) / age_s,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_change_is_taken_over_the_window() {
        let mut rocof = Rocof::default();
        let mut found = 0.0;
        for n in 0..10 {
            found = rocof.step(60.0 + 0.06 * f64::from(n), 0.1, 0.02);
        }
        assert!((found - 3.0).abs() < 1e-9, "{found}");
        // A single bad value in between is worth little.
        assert!(rocof.step(60.6, 0.5, 0.02).abs() < 0.01);
    }

    #[test]
    fn angles_turn_the_shorter_way() {
        for (a, b, expected) in [
            (170.0, -170.0, 20.0),
            (0.0, 20.0, 20.0),
            (350.0, 10.0, 20.0),
        ] {
            assert!((turned(a, b) - expected).abs() < 1e-9);
        }
    }
}
