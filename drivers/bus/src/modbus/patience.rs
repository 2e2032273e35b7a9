//! How long to wait for a device: pure.
//!
//! Responsible for the time-out of the next request, from how fast the device has
//! answered so far. It is not responsible for what happens after a time-out.

use std::time::Duration;

/// Weight of the latest answer in the average. Chosen: the average follows within a dozen answers.
const WEIGHT: f64 = 0.125;

/// Time-out in multiples of the average. Source: the rule of TCP (RFC 6298) is the mean and four
/// deviations; a device's answers deviate by about their mean.
const MARGIN: f64 = 4.0;

/// Least time-out as a share of the stated one.
/// Chosen: a device that writes its flash now and then takes some times its usual latency; a
/// quarter of what its maker or the lab allows is still patient with that.
const LEAST: u32 = 4;

/// What is known of a device's speed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Patience {
    /// Average time from request to answer, without the time on the wire, in seconds.
    latency_s: Option<f64>,
    /// The last request was not answered in time.
    missed: bool,
}

impl Patience {
    /// The device has answered after this time.
    pub(super) fn answered(&mut self, after: Duration) {
        let latest = after.as_secs_f64();
        let before = self.latency_s.unwrap_or(latest);
        self.latency_s = Some(before + WEIGHT * (latest - before));
        self.missed = false;
    }

    /// The device has not answered in time, or not in a way that can be believed.
    pub(super) fn missed(&mut self) {
        self.missed = true;
    }

    /// How long to wait for the next answer, at most the stated time.
    ///
    /// After a miss it gets all of its time: it may be slow now, not gone.
    pub(super) fn timeout(&self, stated: Duration) -> Duration {
        match self.latency_s {
            Some(latency) if !self.missed => {
                let adapted = Duration::from_secs_f64((MARGIN * latency).clamp(0.0, 1e6));
                adapted.max(stated / LEAST).min(stated)
            }
            _ => stated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The time-out in milliseconds, of 1000 stated, after answers of these times; 0 is a miss.
    fn check(answers_ms: &[u32], expected_ms: u128) {
        let mut patience = Patience::default();
        for ms in answers_ms {
            match ms {
                0 => patience.missed(),
                _ => patience.answered(MS * *ms),
            }
        }
        let timeout = patience.timeout(1000 * MS);
        assert_eq!(timeout.as_millis(), expected_ms, "{answers_ms:?}");
    }

    #[test]
    fn a_time_out_follows_the_device_within_what_is_stated() {
        check(&[], 1000);
        check(&[100], 400);
        // Never under a quarter of the stated time, never over it.
        check(&[5], 250);
        check(&[900], 1000);
        // One slow answer moves the average by an eighth.
        check(&[100, 180], 440);
    }

    #[test]
    fn a_device_that_has_missed_gets_all_of_its_time_until_it_answers() {
        check(&[100, 0], 1000);
        check(&[100, 0, 0], 1000);
        check(&[100, 0, 100], 400);
    }
}
