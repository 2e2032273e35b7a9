//! A time limit that costs nothing while answers come in time.
//!
//! Responsible for one timer per link that is moved only when it fires or when a limit comes sooner:
//! a timer for each request is set and taken back tens of thousands of times a second on a fast link.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Poll, Waker};

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer of a link. It is never later than the limit of the request that is on its way.
#[derive(Debug)]
pub(super) struct Deadline {
    timer: Pin<Box<Sleep>>,
    /// Whom it will wake. It need not be told again before it fires or is moved.
    wakes: Option<Waker>,
}

impl Deadline {
    /// A timer that is over.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            timer: Box::pin(sleep_until(now)),
            wakes: None,
        }
    }

    /// What a future comes to, if it does so until then.
    pub(super) async fn keep<F: Future>(&mut self, until: Instant, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let Self { timer, wakes } = self;
        // One that has fired is moved on below, when there is something to wait for.
        if timer.deadline() > until {
            timer.as_mut().reset(until);
            *wakes = None;
        }
        std::future::poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            let is_told = |told: &Waker| told.will_wake(context.waker());
            if wakes.as_ref().is_some_and(is_told) && !timer.is_elapsed() {
                return Poll::Pending;
            }
            // It may have been set for an earlier request.
            while timer.as_mut().poll(context).is_ready() {
                if timer.deadline() >= until {
                    return Poll::Ready(None);
                }
                timer.as_mut().reset(until);
            }
            *wakes = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_wakes_the_task_that_waits_now_and_not_the_one_before() {
        let begin = Instant::now();
        let ms = move |ms: u64| begin + Duration::from_millis(ms);
        let mut deadline = Deadline::new(begin);
        // One task waits for a while, and leaves the timer to another one.
        let (kept, mut deadline) = tokio::spawn(async move {
            let kept = deadline
                .keep(ms(100), sleep(Duration::from_millis(20)))
                .await;
            (kept.is_some(), deadline)
        })
        .await
        .expect("no panic");
        assert!(kept);
        let kept = deadline.keep(ms(100), std::future::pending::<()>()).await;
        assert_eq!((kept, Instant::now()), (None, ms(100)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_holds_whatever_the_timer_was_set_for_before() {
        let begin = Instant::now();
        let ms = |ms: u64| begin + Duration::from_millis(ms);
        let mut deadline = Deadline::new(begin);
        // Until when, how long it takes, and when it is over in the end.
        for (until, takes, over) in [
            (100, 20, 20),
            // The timer still stands at 100.
            (150, 200, 150),
            // A sooner limit than the one before.
            (1000, 10, 160),
            (200, 500, 200),
            (200, 0, 200),
            // Over already.
            (180, 10, 200),
            (300, 60, 260),
        ] {
            let work = sleep(Duration::from_millis(takes));
            let came = Instant::now() + Duration::from_millis(takes) <= ms(until);
            let kept = deadline.keep(ms(until), work).await.is_some();
            assert_eq!((kept, Instant::now()), (came, ms(over)), "until {until}");
        }
    }
}
