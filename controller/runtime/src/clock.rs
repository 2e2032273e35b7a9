//! The two clocks, and there are no others; the grid of cycles.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use model::{Clock, Instant, UtcTime};
use rustix::time::{ClockId, clock_gettime};

/// The clock of a real bench: the machine's monotonic and wall clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start_nanos: u64,
}

impl SystemClock {
    /// A clock whose run begins now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start_nanos: monotonic_nanos(),
        }
    }

    /// The machine's monotonic time of an instant of this run, for absolute sleeps.
    #[must_use]
    pub fn monotonic(&self, at: Instant) -> Duration {
        Duration::from_nanos(self.start_nanos + at.as_nanos())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(monotonic_nanos().saturating_sub(self.start_nanos))
    }

    fn utc(&self) -> UtcTime {
        let t = clock_gettime(ClockId::Realtime);
        UtcTime::from_unix_nanos(t.tv_sec * 1_000_000_000 + t.tv_nsec)
    }
}

fn monotonic_nanos() -> u64 {
    let t = clock_gettime(ClockId::Monotonic);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// The clock of virtual time: it follows the paused clock of a tokio runtime.
///
/// Its wall clock begins at a fixed day, so that records of the same seed are the same bytes.
#[derive(Clone, Debug)]
pub struct SimClock {
    start: tokio::time::Instant,
    /// By how much the wall clock has been stepped, in nanoseconds; all clones show the same.
    stepped: Arc<AtomicI64>,
}

/// Wall-clock time at which every virtual run begins: 2026-01-01T00:00:00 UTC.
/// Chosen: any fixed day will do.
const SIM_EPOCH: UtcTime = UtcTime::from_unix_nanos(1_767_225_600_000_000_000);

impl SimClock {
    /// A clock whose run begins now, in the paused time of the current runtime.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: tokio::time::Instant::now(),
            stepped: Arc::default(),
        }
    }

    /// Steps the wall clock, as a person or a time server does; monotonic time goes on.
    pub fn step_wall(&self, by_s: f64) {
        self.stepped
            .fetch_add((by_s * 1e9) as i64, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        Instant::START + self.start.elapsed()
    }

    fn utc(&self) -> UtcTime {
        let nanos = i64::try_from(self.now().as_nanos()).unwrap_or(i64::MAX);
        let wall = SIM_EPOCH.unix_nanos().saturating_add(nanos);
        let stepped = self.stepped.load(Ordering::Relaxed);
        UtcTime::from_unix_nanos(wall.saturating_add(stepped))
    }
}

/// The next point of the grid that lies ahead: missed cycles are not made up for.
pub(crate) fn next_due(due: Instant, period: Duration, now: Instant) -> Instant {
    let mut next = due + period;
    while next <= now {
        next = next + period;
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_cycles_are_left_out_and_the_grid_is_kept() {
        let at = |ms: u64| Instant::START + Duration::from_millis(ms);
        let period = Duration::from_millis(100);
        assert_eq!(next_due(at(100), period, at(105)), at(200));
        assert_eq!(next_due(at(100), period, at(350)), at(400));
        assert_eq!(next_due(at(100), period, at(200)), at(300));
    }

    #[tokio::test(start_paused = true)]
    async fn virtual_time_passes_only_when_everybody_waits() {
        let clock = SimClock::start();
        assert_eq!(clock.now(), Instant::START);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.now().as_seconds(), 3600.0);
        assert_eq!(clock.utc().to_string(), "2026-01-01T01:00:00.000Z");
        clock.clone().step_wall(-600.0);
        assert_eq!(clock.now().as_seconds(), 3600.0);
        assert_eq!(clock.utc().to_string(), "2026-01-01T00:50:00.000Z");
    }

    #[test]
    fn the_system_clock_goes_forward() {
        let clock = SystemClock::start();
        let first = clock.now();
        assert!(clock.now() >= first);
        assert!(clock.now().as_seconds() < 60.0);
    }
}
