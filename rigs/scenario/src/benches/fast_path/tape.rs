//! What was seen since the last step: frequencies and powers that the controller has read, and writes at the
//! storage. Pure but for its lock; all times are those of one clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{DeviceIx, Event, Instant, Mode, Point, PointSample, Reading, ServiceReport};
use runtime::engine::Listener;

/// The meter and the storage, in the order of the rig.
const METER: DeviceIx = DeviceIx(0);
const STORAGE: DeviceIx = DeviceIx(1);

/// How near a frequency must be to count as the stepped one, in hertz. Chosen: twice the accuracy of a meter.
const NEAR_HZ: f64 = 0.02;

/// Distance from its new power, as a share of the step, at which the storage has followed.
/// Chosen: 10 %, the full response of a frequency service.
const FOLLOWED: f64 = 0.1;

/// What came of a step of the frequency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// From the step to the first byte of a write at the storage.
    pub to_write: Duration,
    /// From the step until its power was read that has followed.
    pub to_power: Duration,
    /// From that write until then: what the storage itself takes, and half a poll.
    pub write_to_power: Duration,
    /// From the sample that shows the step to the first byte of that write.
    pub from_sample: Duration,
}

#[derive(Debug, Default)]
struct Seen {
    frequencies: Vec<(Instant, f64)>,
    powers: Vec<(Instant, f64)>,
    writes: Vec<Instant>,
}

/// The tape, shared by whoever sees something.
#[derive(Clone, Debug, Default)]
pub(super) struct Tape(Arc<Mutex<Seen>>);

impl Tape {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was before the next step.
    pub(super) fn clear(&self) {
        *self.seen() = Seen::default();
    }

    /// A write has come to the storage.
    pub(super) fn wrote(&self, at: Instant) {
        self.seen().writes.push(at);
    }

    /// What came of a step that began then, once its power has followed.
    pub(super) fn step(&self, begun: Instant, f_hz: f64, p_w: f64, size_w: f64) -> Option<Step> {
        let seen = self.seen();
        let near = |(at, f): &&(Instant, f64)| *at >= begun && (f - f_hz).abs() <= NEAR_HZ;
        let (sampled, _) = seen.frequencies.iter().find(near)?;
        let written = seen.writes.iter().find(|at| *at > sampled)?;
        let followed =
            |(at, p): &&(Instant, f64)| at > written && (p - p_w).abs() <= FOLLOWED * size_w;
        let (power, _) = seen.powers.iter().find(followed)?;
        Some(Step {
            to_write: written.since(begun),
            to_power: power.since(begun),
            write_to_power: power.since(*written),
            from_sample: written.since(*sampled),
        })
    }
}

impl Listener for Tape {
    fn samples(&mut self, _: Instant, samples: &[PointSample]) {
        let mut seen = self.seen();
        for sample in samples {
            let Reading::Good(value) = sample.sample.reading else {
                continue;
            };
            let row = (sample.sample.measured_at, value);
            match (sample.device, sample.point) {
                (METER, Point::Frequency) => seen.frequencies.push(row),
                (STORAGE, Point::ActivePower) => seen.powers.push(row),
                _ => {}
            }
        }
    }

    fn services(&mut self, _: Instant, _: &[ServiceReport]) {}

    fn event(&mut self, _: Instant, _: &Event) {}

    fn cycle(&mut self, _: Instant, _: Mode, _: Duration) {}
}

/// A number from 0 to 1 that is the same for the same turn (splitmix64).
pub(super) fn spread(turn: u64) -> f64 {
    let mut z = turn.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use model::Sample;

    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::START + Duration::from_millis(ms)
    }

    #[test]
    fn a_step_is_timed_by_the_sample_that_shows_it_the_write_behind_that_and_the_power_behind_that()
    {
        let mut tape = Tape::default();
        let mut say = |device, point, ms, value| {
            let sample = Sample {
                measured_at: at(ms),
                reading: Reading::Good(value),
            };
            let row = PointSample {
                device,
                point,
                sample,
            };
            tape.samples(at(ms), &[row]);
        };
        say(METER, Point::Frequency, 5, 49.8);
        say(METER, Point::Frequency, 12, 49.2);
        say(METER, Point::Frequency, 22, 49.2);
        // The new power before the write is that of chance, and the old one afterwards has not followed.
        say(STORAGE, Point::ActivePower, 14, 3850.0);
        say(STORAGE, Point::ActivePower, 18, 850.0);
        say(STORAGE, Point::ActivePower, 28, 3849.0);
        let step = |tape: &Tape| tape.step(at(2), 49.2, 3850.0, 3000.0);
        assert_eq!(step(&tape), None, "nothing was written");
        // A keep-alive before the sample is no answer to it.
        tape.wrote(at(4));
        assert_eq!(step(&tape), None);
        tape.wrote(at(16));
        let ms = Duration::from_millis;
        let expected = Step {
            to_write: ms(14),
            to_power: ms(26),
            write_to_power: ms(12),
            from_sample: ms(4),
        };
        assert_eq!(step(&tape), Some(expected));
    }
}
