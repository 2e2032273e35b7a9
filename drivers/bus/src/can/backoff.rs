//! How long to wait before a lost link is tried again.

use std::time::Duration;

/// Part of the wait by which it varies either way.
/// Chosen: ±20 %, enough that controllers that lost the same server do not return in step.
const JITTER: f64 = 0.2;

/// Waits that double up to a limit, with a jitter that follows from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
    state: u64,
}

impl Backoff {
    /// Waits from `first` to `most`; the same seed gives the same waits.
    pub(crate) fn new(first: Duration, most: Duration, seed: u64) -> Self {
        Self {
            first,
            most,
            next: first,
            state: seed,
        }
    }

    /// How long to wait now; the next wait is twice as long.
    pub(crate) fn wait(&mut self) -> Duration {
        let base = self.next;
        self.next = (base * 2).min(self.most);
        // The upper 53 bits fill the mantissa: a fraction from 0 to 1.
        let fraction = (self.draw() >> 11) as f64 / (1_u64 << 53) as f64;
        base.mul_f64(1.0 - JITTER + 2.0 * JITTER * fraction)
    }

    /// The link has proved itself: the next wait is the first again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }

    /// A draw of SplitMix64 (Steele, Lea, Flood 2014): small, and good enough for a jitter.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(30);

    #[test]
    fn waits_double_up_to_the_limit_and_begin_again_after_a_reset() {
        let mut backoff = Backoff::new(FIRST, MOST, 7);
        let mut base = FIRST;
        for _ in 0..12 {
            let wait = backoff.wait();
            assert!(
                base.mul_f64(0.8) <= wait && wait <= base.mul_f64(1.2),
                "{wait:?}"
            );
            base = (base * 2).min(MOST);
        }
        assert_eq!(base, MOST);
        backoff.reset();
        assert!(backoff.wait() <= FIRST.mul_f64(1.2));
    }

    #[test]
    fn a_seed_decides_the_jitter() {
        let waits = |seed| {
            let mut backoff = Backoff::new(FIRST, MOST, seed);
            (0..5).map(|_| backoff.wait()).collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}
