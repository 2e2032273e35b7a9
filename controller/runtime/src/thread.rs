//! The control thread of a real bench: absolute sleeps, its own thread, never the async runtime.
//!
//! It sleeps on a timer with an absolute deadline and on an event that the image
//! store raises when a frequency sample calls for the fast path. With the right to
//! it runs under SCHED_FIFO with its memory locked.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use control::Rhythm;
use model::{Clock, Instant};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::awake::Awake;
use crate::clock::{SystemClock, next_due};
use crate::engine::{Engine, RestInHand};
use crate::rights::{self, Rights};

/// A step counts as late when it begins more than this share of the period after it was due.
pub(crate) const LATE_SHARE: f64 = 0.2;

/// Raises the event that wakes the control thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// A waker that nobody waits for yet.
    ///
    /// # Errors
    /// When the system has no file descriptor left.
    pub fn new() -> std::io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(event)))
    }

    /// Wakes the control thread.
    pub fn wake(&self) {
        // The only failure is a counter that is full: then it is awake already.
        let _awake = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    fn lower(&self) {
        let mut count = [0; 8];
        // Empty is fine: somebody else may have lowered it.
        let _lowered = rustix::io::read(&*self.0, &mut count);
    }
}

/// Runs the engine until told to stop; gives it back.
pub struct ControlThread {
    stop: Arc<AtomicBool>,
    waker: Waker,
    thread: std::thread::JoinHandle<(Engine, bool)>,
    /// What the process was allowed to do for its timing.
    pub rights: Rights,
}

impl ControlThread {
    /// Starts the control thread; while the bench is armed it keeps the processors awake, if it is given that.
    ///
    /// # Errors
    /// When the system gives no thread or no timer.
    pub fn start(
        engine: Engine,
        clock: SystemClock,
        waker: Waker,
        awake: Option<Awake>,
    ) -> std::io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let (stop_seen, waker_seen) = (Arc::clone(&stop), waker.clone());
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || {
                // The receiver waits below; it is only gone if the starter was killed.
                let _heard = tell.send(rights::for_control());
                run(engine, clock, &timer, &waker_seen, &stop_seen, awake)
            })?;
        let rights = told
            .recv()
            .map_err(|_| std::io::Error::other("the control thread ended at once"))?;
        Ok(Self {
            stop,
            waker,
            thread,
            rights,
        })
    }

    /// Whether the engine has ended by itself (its ledger failed).
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Stops the cycle and gives the engine back for the safe end, and whether a step of it panicked:
    /// then rest that was approved beforehand has left already, and the core is not to be asked again.
    ///
    /// # Errors
    /// When the control thread itself ended badly.
    pub fn stop(self) -> Result<(Engine, bool), String> {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
        self.thread
            .join()
            .map_err(|_| "the control thread ended badly".to_owned())
    }
}

fn run(
    mut engine: Engine,
    clock: SystemClock,
    timer: &OwnedFd,
    waker: &Waker,
    stop: &AtomicBool,
    mut awake: Option<Awake>,
) -> (Engine, bool) {
    let hand = engine.rest_in_hand();
    let period = engine.period();
    let mut due = clock.now() + period;
    while !stop.load(Ordering::Acquire) && !engine.must_end() {
        if let Some(awake) = &mut awake {
            awake.keep(engine.is_armed());
        }
        if sleep_until(timer, waker, clock.monotonic(due)) {
            if !stepped(&mut engine, Rhythm::Supervisory, due, &hand) {
                return (engine, true);
            }
            due = next_due(due, period, clock.now());
        } else if !stop.load(Ordering::Acquire) {
            waker.lower();
            let now = clock.now();
            if !stepped(&mut engine, Rhythm::Fast, now, &hand) {
                return (engine, true);
            }
        }
    }
    (engine, false)
}

/// Takes a step. When it panics, the devices are brought to rest without asking the core again: what it
/// holds may be half done, while rest was approved before anything went wrong.
pub(crate) fn stepped(
    engine: &mut Engine,
    rhythm: Rhythm,
    due: Instant,
    hand: &RestInHand,
) -> bool {
    let step = std::panic::AssertUnwindSafe(|| engine.step(rhythm, due));
    if std::panic::catch_unwind(step).is_ok() {
        return true;
    }
    engine.rest_without_the_core(hand, "a step of the control panicked");
    false
}

/// Sleeps until an absolute time of the monotonic clock. True at that time, false when woken before.
pub(crate) fn sleep_until(timer: &OwnedFd, waker: &Waker, at: Duration) -> bool {
    let spec = Itimerspec {
        it_interval: Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        it_value: Timespec {
            tv_sec: at.as_secs() as i64,
            tv_nsec: i64::from(at.subsec_nanos()),
        },
    };
    if timerfd_settime(timer, TimerfdTimerFlags::ABSTIME, &spec).is_err() {
        // Without a timer the cycle still must not spin.
        std::thread::sleep(Duration::from_millis(1));
        return true;
    }
    let mut fds = [
        PollFd::from_borrowed_fd(timer.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(waker.0.as_fd(), PollFlags::IN),
    ];
    // An interrupted sleep is looked at again by the caller's loop.
    let _ready = poll(&mut fds, None);
    if fds[0].revents().contains(PollFlags::IN) {
        let mut count = [0; 8];
        let _expired = rustix::io::read(timer, &mut count);
        return true;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_ends_at_its_time_or_when_woken() {
        let clock = SystemClock::start();
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).expect("timer");
        let waker = Waker::new().expect("waker");
        let at = clock.now() + Duration::from_millis(5);
        assert!(sleep_until(&timer, &waker, clock.monotonic(at)));
        assert!(clock.now() >= at);
        waker.wake();
        let far = clock.now() + Duration::from_secs(3600);
        assert!(!sleep_until(&timer, &waker, clock.monotonic(far)));
        waker.lower();
    }
}
