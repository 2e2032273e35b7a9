//! Which market interval a time belongs to, from the rules that lie beside a run.

use std::path::Path;

use serde::Deserialize;

use super::RULES_FILE;

/// The intervals of a run's market: of its rules what says when they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Calendar {
    epoch_utc_ns: i64,
    first_start_ns: i64,
    interval_ns: i64,
    #[serde(default = "super::as_fast")]
    time_factor: i64,
}

impl Calendar {
    /// That of a run folder; `None` where there is no market, or its rules do not read.
    #[must_use]
    pub fn of(run_dir: &Path) -> Option<Self> {
        let bytes = std::fs::read(run_dir.join(RULES_FILE)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// The interval that begins at this moment, in nanoseconds since the Unix epoch; `None` when
    /// none does.
    #[must_use]
    pub fn beginning_at(&self, utc_ns: i64) -> Option<u64> {
        let since_epoch = utc_ns.checked_sub(self.epoch_utc_ns)?;
        let market_ns = since_epoch.checked_mul(self.time_factor)?;
        let since = market_ns.checked_sub(self.first_start_ns)?;
        let is_exact = since.checked_rem(self.interval_ns)? == 0;
        let index = since.checked_div(self.interval_ns)?;
        u64::try_from(index).ok().filter(|_| is_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_beginning_of_an_interval_or_of_none() {
        let calendar = Calendar {
            epoch_utc_ns: 1_000,
            first_start_ns: 30,
            interval_ns: 150,
            time_factor: 1,
        };
        for (utc_ns, interval) in [
            (1_030, Some(0)),
            (1_180, Some(1)),
            (1_030 + 150 * 400, Some(400)),
            (1_031, None),
            (880, None),
            (i64::MIN, None),
        ] {
            assert_eq!(calendar.beginning_at(utc_ns), interval, "{utc_ns}");
        }
        let faster = Calendar {
            time_factor: 5,
            ..calendar
        };
        // 30 and 180 of the market are 6 and 36 by the clock.
        for (utc_ns, interval) in [(1_006, Some(0)), (1_036, Some(1)), (1_007, None)] {
            assert_eq!(faster.beginning_at(utc_ns), interval, "{utc_ns}");
        }
    }
}
