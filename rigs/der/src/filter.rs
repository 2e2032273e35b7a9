//! What remembers: first-order lags, timers and ramps, for steps of any length.
//!
//! A step has a length and the value at its end. A lag takes its input for a straight line from the
//! value before to the value now, so the result does not hang on how finely a series was sampled.

/// Rounding of times, in seconds. A microsecond is far below any step and far above the rounding of
/// a sum of a million of them.
const NEAR_S: f64 = 1e-6;

/// Steps that are so many times shorter than a response are followed in time; longer ones are
/// snapshots, in which everything has settled. As OpenDER 2.2.0 has it.
const SNAPSHOT: f64 = 1.15;

/// A first-order response that has covered 90 % of a step after its open-loop response time:
/// what is left falls as `10^(-t/T)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lag {
    input: f64,
    output: f64,
    started: bool,
    /// Step and response time of the factors below, which cost an exponential.
    of: (f64, f64),
    decay: f64,
    ramp: f64,
}

impl Lag {
    /// The output after a step in which the input went to a value. The first one is settled.
    pub fn step(&mut self, input: f64, response_s: f64, dt_s: f64) -> f64 {
        if !self.started || response_s <= 0.0 || response_s < SNAPSHOT * dt_s {
            self.reset(input);
        } else if dt_s > 0.0 {
            if self.of != (dt_s, response_s) {
                self.of = (dt_s, response_s);
                let tau_s = response_s / std::f64::consts::LN_10;
                self.decay = (-dt_s / tau_s).exp();
                self.ramp = tau_s / dt_s * (1.0 - self.decay);
            }
            self.output =
                input - (input - self.input) * self.ramp + self.decay * (self.output - self.input);
            self.input = input;
        }
        self.output
    }

    /// Settles at a value.
    pub fn reset(&mut self, value: f64) {
        self.input = value;
        self.output = value;
        self.started = true;
    }
}

/// How long a condition has held without a break. A step counts with what holds at its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timer {
    held_s: f64,
}

impl Timer {
    /// Whether the condition has held for so long.
    pub fn step(&mut self, holds: bool, limit_s: f64, dt_s: f64) -> bool {
        if !holds {
            self.held_s = 0.0;
            return false;
        }
        self.held_s += dt_s;
        self.held_s + NEAR_S >= limit_s
    }

    /// Time in seconds for which it has held so far.
    #[must_use]
    pub fn held_s(&self) -> f64 {
        self.held_s
    }
}

/// A value that changes no faster than from 0 to 1 in a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ramp {
    value: Option<f64>,
}

impl Ramp {
    /// The value after a step towards a target; each direction has its own time, and zero is at once.
    pub fn step(&mut self, target: f64, up_s: f64, down_s: f64, dt_s: f64) -> f64 {
        let from = self.value.unwrap_or(target);
        let toward = |time_s: f64, change: f64| {
            if time_s > 0.0 && change > dt_s / time_s {
                dt_s / time_s
            } else {
                change
            }
        };
        let value = if target >= from {
            from + toward(up_s, target - from)
        } else {
            from - toward(down_s, from - target)
        };
        self.value = Some(value);
        value
    }

    /// Jumps to a value.
    pub fn reset(&mut self, value: f64) {
        self.value = Some(value);
    }

    /// Where it is, once it has begun.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of a unit step after a time, in steps of a length.
    fn left(response_s: f64, until_s: f64, dt_s: f64) -> f64 {
        let mut lag = Lag::default();
        lag.step(0.0, response_s, dt_s);
        let mut output = 0.0;
        for _ in 0..(until_s / dt_s).round() as u64 {
            output = lag.step(1.0, response_s, dt_s);
        }
        1.0 - output
    }

    #[test]
    fn ten_percent_are_left_after_the_response_time_and_one_after_twice() {
        for dt_s in [0.001, 0.01] {
            assert!((left(5.0, 5.0, dt_s) - 0.1).abs() < 0.001, "{dt_s}");
            assert!((left(5.0, 10.0, dt_s) - 0.01).abs() < 0.0002, "{dt_s}");
        }
    }

    #[test]
    fn a_straight_line_is_followed_alike_in_few_and_in_many_steps() {
        let follow = |steps: u32| {
            let mut lag = Lag::default();
            let dt_s = 4.0 / f64::from(steps);
            lag.step(0.0, 10.0, dt_s);
            (1..=steps)
                .map(|n| lag.step(f64::from(n) / f64::from(steps), 10.0, dt_s))
                .last()
                .expect("some steps")
        };
        assert!((follow(4) - follow(4000)).abs() < 1e-9);
    }

    #[test]
    fn a_step_longer_than_the_response_is_a_snapshot() {
        let mut lag = Lag::default();
        lag.step(0.0, 5.0, 0.05);
        assert_eq!(lag.step(1.0, 5.0, 100.0), 1.0);
        assert_eq!(lag.step(0.5, 0.0, 0.05), 0.5);
        // No time has passed, so nothing has happened.
        assert_eq!(lag.step(0.2, 5.0, 0.0), 0.5);
    }

    #[test]
    fn a_timer_counts_only_what_holds_without_a_break() {
        let mut timer = Timer::default();
        let rows = [
            (true, false),
            (true, false),
            (false, false),
            (true, false),
            (true, false),
            (true, true),
            (true, true),
            (false, false),
        ];
        for (n, (holds, expected)) in rows.into_iter().enumerate() {
            assert_eq!(timer.step(holds, 0.3, 0.1), expected, "step {n}");
        }
    }

    #[test]
    fn a_ramp_has_a_time_for_each_direction() {
        let mut ramp = Ramp::default();
        assert_eq!(ramp.step(1.0, 10.0, 5.0, 1.0), 1.0);
        assert!((ramp.step(0.0, 10.0, 5.0, 1.0) - 0.8).abs() < 1e-12);
        assert!((ramp.step(1.0, 10.0, 5.0, 1.0) - 0.9).abs() < 1e-12);
        assert_eq!(ramp.step(0.0, 10.0, 0.0, 1.0), 0.0);
        ramp.reset(0.5);
        assert!((ramp.step(0.55, 10.0, 0.0, 1.0) - 0.55).abs() < 1e-12);
    }
}
