//! Energy counters.

/// Energy counted in each direction; only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counter {
    /// Energy of positive power in watt-hours.
    pub positive_wh: f64,
    /// Energy of negative power in watt-hours, as a positive number.
    pub negative_wh: f64,
}

impl Counter {
    /// Adds a power in watts over a time in seconds.
    pub fn add(&mut self, p: f64, dt_s: f64) {
        let wh = p * dt_s / 3600.0;
        if wh >= 0.0 {
            self.positive_wh += wh;
        } else {
            self.negative_wh -= wh;
        }
    }
}
