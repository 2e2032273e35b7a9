//! Seeded noise: the same seed, the same run.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// Exponentially correlated noise around zero (an Ornstein-Uhlenbeck process).
#[derive(Clone, Debug)]
pub struct Noise {
    rng: ChaCha8Rng,
    deviation: f64,
    correlation_s: f64,
    value: f64,
}

impl Noise {
    /// Noise of a standard deviation that forgets itself over a time in seconds.
    pub fn new(seed: u64, deviation: f64, correlation_s: f64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            deviation,
            correlation_s,
            value: 0.0,
        }
    }

    /// Sets the standard deviation.
    pub fn set_deviation(&mut self, deviation: f64) {
        self.deviation = deviation.max(0.0);
        self.value = self
            .value
            .clamp(-4.0 * self.deviation, 4.0 * self.deviation);
    }

    /// The noise after a step in seconds.
    pub fn step(&mut self, dt_s: f64) -> f64 {
        if self.deviation > 0.0 {
            let keep = 1.0 - (dt_s / self.correlation_s).min(1.0);
            let spread = self.deviation * (1.0 - keep * keep).sqrt();
            self.value = keep * self.value + spread * unit_variance(&mut self.rng);
        }
        self.value
    }
}

/// A uniform number of zero mean and unit variance.
fn unit_variance(rng: &mut ChaCha8Rng) -> f64 {
    (2.0 * fraction(rng) - 1.0) * 3.0_f64.sqrt()
}

/// A uniform number from 0 to below 1.
pub fn fraction(rng: &mut impl RngCore) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}
