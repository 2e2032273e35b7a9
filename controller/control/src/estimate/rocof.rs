//! Rate of change of frequency over a stated window.

use std::collections::VecDeque;
use std::time::Duration;

use model::Instant;
use quantities::{Frequency, FrequencyRate};

/// Length of the window. Pass limits differ by window, so it is stated.
/// Chosen: 500 ms, the longer of the two windows in use (100 ms and 500 ms): polled samples come
/// every 100 to 200 ms, so a shorter one would hold one sample.
pub const WINDOW: Duration = Duration::from_millis(500);

/// The frequency samples of the last half second.
#[derive(Clone, Debug, Default)]
pub struct RocofWindow {
    samples: VecDeque<(Instant, Frequency)>,
}

impl RocofWindow {
    /// Takes in a sample; the same or an older one is ignored.
    pub fn observe(&mut self, at: Instant, f: Frequency) {
        if self.samples.back().is_some_and(|(last, _)| *last >= at) {
            return;
        }
        self.samples.push_back((at, f));
        // One sample older than the window stays, so that the window is always spanned.
        while self.samples.len() > 2 && at.since(self.samples[1].0) >= WINDOW {
            self.samples.pop_front();
        }
    }

    /// Mean rate over the window; unknown until it is at least half full or when it is stale.
    #[must_use]
    pub fn rate(&self, now: Instant) -> Option<FrequencyRate> {
        let (first_at, first) = *self.samples.front()?;
        let (last_at, last) = *self.samples.back()?;
        let span = last_at.since(first_at);
        let fresh = now.since(last_at) <= WINDOW;
        (fresh && span >= WINDOW / 2).then(|| (last - first) / span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_of_one_hertz_per_second_is_seen_as_such() {
        let mut window = RocofWindow::default();
        let at = |ms: u64| Instant::START + Duration::from_millis(ms);
        for ms in (0..=1000).step_by(100) {
            window.observe(at(ms), Frequency::from_hertz(50.0 - ms as f64 / 1000.0));
        }
        let rate = window.rate(at(1050)).expect("known");
        assert!((rate.as_hertz_per_second() + 1.0).abs() < 1e-9, "{rate}");
        assert_eq!(window.rate(at(1600)), None, "stale");
    }
}
