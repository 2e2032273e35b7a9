//! The lease of a bench: at most one person or script has it, for a time, and may renew it.
//!
//! Whoever has it may command; others may look, and may always bring the bench to its safe state. A
//! bench that was armed under a lease is disarmed when the lease ends: nobody stands beside it any
//! more. It is not responsible for tokens (see [`crate::web`]) nor for the safe end (see the engine).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{Clock, Event, Instant};

/// Longest lease. Chosen: 24 h: whoever needs more renews it, as whoever stands beside a bench can.
pub const LEASE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Lease of somebody who does not say for how long. Chosen: 1 h, a usual test with its preparation.
pub const LEASE_USUAL: Duration = Duration::from_secs(3600);
/// Longest name, in characters. Chosen: 64, a user and a host.
pub const NAME_CHARS_MAX: usize = 64;

/// Who has the bench, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Who.
    pub by: String,
    /// Until when.
    pub until: Instant,
}

/// The lease of one bench, shared by the API and the engine.
#[derive(Clone)]
pub struct Lease {
    inner: Arc<Mutex<Inner>>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("held", &self.who()).finish()
    }
}

#[derive(Debug, Default)]
struct Inner {
    held: Option<Held>,
    news: Vec<Event>,
}

impl Inner {
    /// Ends a lease whose time is over.
    fn expire(&mut self, now: Instant) {
        if let Some(held) = self.held.take_if(|held| held.until <= now) {
            self.news.push(Event::LeaseEnded {
                by: held.by,
                given_back: false,
            });
        }
    }
}

impl Lease {
    /// A bench that nobody has.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            inner: Arc::default(),
            clock,
        }
    }

    /// The clock of the bench, for whatever else ends by itself.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner, Instant) -> T) -> T {
        let now = self.clock.now();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.expire(now);
        change(&mut inner, now)
    }

    /// What time it is by the clock of the lease, which is that of control.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Who has the bench now.
    #[must_use]
    pub fn who(&self) -> Option<Held> {
        self.with(|inner, _| inner.held.clone())
    }

    /// How long the lease still lasts.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        self.with(|inner, now| inner.held.as_ref().map(|held| held.until.since(now)))
    }

    /// Takes the bench, or renews what one has: from now on for this time, never less than before.
    ///
    /// # Errors
    /// Who has it.
    pub fn take(&self, by: &str, time: Duration) -> Result<Held, Held> {
        self.with(|inner, now| {
            if let Some(held) = inner.held.as_ref().filter(|held| held.by != by) {
                return Err(held.clone());
            }
            let time = time.min(LEASE_MAX);
            let held = Held {
                by: by.to_owned(),
                until: now + time,
            };
            inner.held = Some(held.clone());
            inner.news.push(Event::LeaseTaken {
                by: by.to_owned(),
                for_s: time.as_secs_f64(),
            });
            Ok(held)
        })
    }

    /// Gives the bench back; false when nobody has it.
    ///
    /// # Errors
    /// Who has it, if it is somebody else.
    pub fn give_back(&self, by: &str) -> Result<bool, Held> {
        self.with(|inner, _| match inner.held.take_if(|held| held.by == by) {
            Some(held) => {
                inner.news.push(Event::LeaseEnded {
                    by: held.by,
                    given_back: true,
                });
                Ok(true)
            }
            None => inner.held.clone().map_or(Ok(false), Err),
        })
    }

    /// Whether somebody may command the bench: whoever has it, or anybody while nobody has.
    ///
    /// # Errors
    /// Who has it.
    pub fn may_command(&self, by: &str) -> Result<(), Held> {
        match self.who() {
            Some(held) if held.by != by => Err(held),
            _ => Ok(()),
        }
    }

    /// What has happened to the lease since the last look.
    pub(crate) fn news(&self) -> Vec<Event> {
        self.with(|inner, _| std::mem::take(&mut inner.news))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[tokio::test(start_paused = true)]
    async fn one_has_the_bench_until_the_time_is_over_and_may_renew_it() {
        let lease = Lease::new(Arc::new(SimClock::start()));
        assert_eq!(lease.who(), None);
        assert_eq!(lease.may_command("ann"), Ok(()), "nobody has it");
        lease.take("ann", seconds(60)).expect("it is free");
        let other = lease.take("bob", seconds(60)).expect_err("ann has it");
        assert_eq!(other.by, "ann");
        assert!(lease.may_command("bob").is_err());
        assert!(lease.give_back("bob").is_err());
        tokio::time::advance(seconds(50)).await;
        lease.take("ann", seconds(60)).expect("she renews it");
        tokio::time::advance(seconds(59)).await;
        assert!(lease.who().is_some());
        tokio::time::advance(seconds(1)).await;
        assert_eq!(lease.who(), None, "its time is over");
        lease.take("bob", seconds(60)).expect("it is free again");
        assert_eq!(lease.give_back("bob"), Ok(true));
        assert_eq!(lease.give_back("bob"), Ok(false));
        let ended = |by: &str, given_back| Event::LeaseEnded {
            by: by.into(),
            given_back,
        };
        let news = lease.news();
        assert!(news.contains(&ended("ann", false)), "{news:?}");
        assert!(news.contains(&ended("bob", true)), "{news:?}");
        assert_eq!(lease.news(), Vec::new(), "told once");
    }

    #[tokio::test(start_paused = true)]
    async fn no_lease_is_longer_than_a_day() {
        let lease = Lease::new(Arc::new(SimClock::start()));
        lease.take("ann", seconds(1_000_000)).expect("free");
        assert_eq!(lease.left(), Some(LEASE_MAX));
    }
}
