//! A stream whose owner stays awake for the next request of a client that asks at once.
//!
//! Responsible for the time between an answer and the next request. A task that sleeps in between
//! has to be woken, which on a virtual machine now and then takes longer than everything else
//! together. So after a client has asked within [`WINDOW`] of its last answer, the task looks again
//! and again for as long, and sleeps after that. A client that polls ten times a second never
//! keeps anybody awake. Only for sockets: a clock that is paused would never get past the window.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Time for which the next request is waited for awake.
/// Chosen: several times what a client on the same host takes between two requests (20 us), and
/// a hundredth of the period of the fastest bus that a controller polls.
const WINDOW: Duration = Duration::from_micros(200);

/// A stream of a server that stays awake.
#[derive(Debug)]
pub(crate) struct Eager<S> {
    inner: S,
    answered_at: Instant,
    /// The last request came within the window.
    is_quick: bool,
    /// There is a core for the client while we are awake.
    may_stay_awake: bool,
}

impl<S> Eager<S> {
    /// Watches a stream.
    pub(crate) fn new(inner: S) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            inner,
            answered_at: Instant::now(),
            is_quick: false,
            may_stay_awake: cores > 1,
        }
    }

    fn within_window(&self) -> bool {
        self.answered_at.elapsed() < WINDOW
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Eager<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if read.is_ready() {
            self.is_quick = self.within_window();
        } else if self.is_quick && self.may_stay_awake && self.within_window() {
            cx.waker().wake_by_ref();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Eager<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.answered_at = Instant::now();
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Wake, Waker};

    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Counting(AtomicU32);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often a look for the next request wakes itself, after a request that came so long after
    /// the last answer, when that answer is so old.
    async fn wakes(asked_after: Duration, answer_age: Duration, may_stay_awake: bool) -> u32 {
        let (near, mut far) = tokio::io::duplex(64);
        let mut eager = Eager::new(near);
        eager.may_stay_awake = may_stay_awake;
        let counting = Arc::new(Counting::default());
        let waker = Waker::from(Arc::clone(&counting));
        let mut cx = Context::from_waker(&waker);
        let mut bytes = [0; 8];
        far.write_all(&[1]).await.expect("it takes a byte");
        eager.answered_at = Instant::now() - asked_after;
        let read = Pin::new(&mut eager).poll_read(&mut cx, &mut ReadBuf::new(&mut bytes));
        assert!(read.is_ready());
        eager.answered_at = Instant::now() - answer_age;
        let before = counting.0.load(Ordering::Relaxed);
        let read = Pin::new(&mut eager).poll_read(&mut cx, &mut ReadBuf::new(&mut bytes));
        assert!(read.is_pending());
        counting.0.load(Ordering::Relaxed) - before
    }

    #[tokio::test]
    async fn only_a_client_that_asks_at_once_keeps_its_server_awake_and_only_for_the_window() {
        // A minute is far behind the window, and nothing is just now whatever the machine does.
        let (now, long) = (Duration::ZERO, Duration::from_secs(60));
        let rows = [
            (long, now, true, 0),
            (now, long, true, 0),
            (now, now, false, 0),
        ];
        for (asked, age, may, expected) in rows {
            assert_eq!(
                wakes(asked, age, may).await,
                expected,
                "{asked:?} {age:?} {may}"
            );
        }
        // The window may pass while a busy machine runs this; it does not do so each time.
        let mut tries = 0;
        while wakes(now, now, true).await == 0 {
            tries += 1;
            assert!(tries < 1000, "it never stays awake");
        }
    }
}
