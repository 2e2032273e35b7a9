//! What this machine can do for a control loop: how late it wakes one, and how long a record takes to its disk.
//!
//! Both are measured with what a run uses: the timer and rights of the control thread, and a ledger.

use std::path::Path;
use std::time::Duration;

use model::Clock;
use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

use crate::clock::{SystemClock, next_due};
use crate::evidence::{CONTROLLER, CreateError, Evidence, KeySource, NotDurable, document};
use crate::rights::{self, Rights};
use crate::thread::{LATE_SHARE, Waker, sleep_until};

/// Control periods that are looked at. Chosen: those that benches use.
pub const PERIODS_MS: [u64; 7] = [5, 10, 20, 50, 100, 200, 500];

/// Period at which lateness is measured. Chosen: the shortest of [`PERIODS_MS`], so that most is seen in a given
/// time; a timer is as late at another.
const PERIOD: Duration = Duration::from_millis(5);

/// Records that are appended one by one. Chosen: the 99th of a hundred is then not the worst.
const RECORDS: usize = 300;

/// Sorted times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Sorts them.
    #[must_use]
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that so many in a thousand do not exceed; zero of none.
    #[must_use]
    pub fn per_mille(&self, rank: usize) -> Duration {
        let place = (self.0.len() * rank).div_ceil(1000);
        let at = self.0.get(place.saturating_sub(1));
        at.copied().unwrap_or_default()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// How late a loop begins that sleeps on the control thread's timer, for so long, and what that thread may do.
///
/// # Errors
/// When the system gives no thread, timer or event.
pub fn lateness(time: Duration) -> std::io::Result<(Rights, Times)> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
    let waker = Waker::new()?;
    let measure = move || {
        let rights = rights::for_control();
        let clock = SystemClock::start();
        let end = clock.now() + time;
        let mut due = clock.now() + PERIOD;
        let mut late = Vec::new();
        while due < end {
            if sleep_until(&timer, &waker, clock.monotonic(due)) {
                late.push(clock.now().since(due));
                due = next_due(due, PERIOD, clock.now());
            }
        }
        (rights, Times::of(late))
    };
    std::thread::Builder::new()
        .name("fitness".into())
        .spawn(measure)?
        .join()
        .map_err(|_| std::io::Error::other("the measuring thread ended badly"))
}

/// Why the disk was not measured.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// No ledger can be made there.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// A record did not become durable.
    #[error(transparent)]
    Append(#[from] NotDurable),
}

/// How long records take until they are durable in a new ledger in this folder, one after another.
///
/// # Errors
/// [`DiskError`].
pub fn records(folder: &Path) -> Result<Times, DiskError> {
    let clock = SystemClock::start();
    let mut ledger = Evidence::create(folder, "fitness", &[], KeySource::Entropy, &clock)?;
    let mut times = Vec::with_capacity(RECORDS);
    for n in 0..RECORDS {
        let record = document("fitness", &n.to_le_bytes(), "a record of the measurement");
        let draft = ledger.draft(CONTROLLER, record);
        let begin = clock.now();
        ledger.append(clock.utc(), vec![draft], None)?;
        times.push(clock.now().since(begin));
    }
    ledger.close(clock.utc())?;
    Ok(Times::of(times))
}

/// The shortest of [`PERIODS_MS`] that this machine sustains: all but one in a thousand cycles begin in time, and
/// all but one in a hundred records are durable within the period and within `deadline`. `None` = none of them.
#[must_use]
pub fn sustains(late: &Times, records: &Times, deadline: Duration) -> Option<Duration> {
    if late.count() == 0 || records.count() == 0 || records.per_mille(990) > deadline {
        return None;
    }
    let holds = |period: &Duration| {
        late.per_mille(999) <= period.mul_f64(LATE_SHARE) && records.per_mille(990) <= *period
    };
    PERIODS_MS
        .into_iter()
        .map(Duration::from_millis)
        .find(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_period_is_sustained_when_cycles_begin_in_time_and_records_keep_up() {
        let of = |ms: &[f64]| Times::of(ms.iter().map(|ms| MS.mul_f64(*ms)).collect());
        for (late, records, sustained) in [
            (&[0.1, 0.2][..], &[0.5, 1.0][..], Some(5)),
            (&[0.1, 1.1], &[0.5, 1.0], Some(10)),
            (&[0.1, 0.2], &[0.5, 12.0], Some(20)),
            (&[0.1, 15.0], &[0.5, 1.0], Some(100)),
            (&[0.1, 101.0], &[0.5, 1.0], None),
            (&[0.1, 0.2], &[0.5, 21.0], None),
            (&[], &[0.5], None),
            (&[0.1], &[], None),
        ] {
            let found = sustains(&of(late), &of(records), 20 * MS);
            assert_eq!(found, sustained.map(|ms| MS * ms), "{late:?} {records:?}");
        }
    }

    #[test]
    fn one_in_a_thousand_does_not_count() {
        let mut times = vec![MS; 999];
        times.push(100 * MS);
        let times = Times::of(times);
        assert_eq!(times.per_mille(999), MS);
        assert_eq!(times.per_mille(1000), 100 * MS);
        assert_eq!(times.per_mille(500), MS);
    }

    #[test]
    fn this_machine_is_measured_with_the_timer_and_the_ledger_of_a_run() {
        let (_, late) = lateness(60 * MS).expect("a timer");
        assert!((2..=12).contains(&late.count()), "{late:?}");
        let folder = tempfile::tempdir().expect("a folder");
        let records = records(folder.path()).expect("a ledger");
        assert_eq!(records.count(), RECORDS);
        assert!(records.per_mille(1) > Duration::ZERO);
        assert!(folder.path().join("ledger").exists());
    }
}
