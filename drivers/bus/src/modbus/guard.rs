//! A port that is watched: what came in, when, and whether it is quiet.
//!
//! Responsible for the bytes between the RTU client and the serial line (or the
//! stream in its place): it counts them, remembers the last one's time, and can
//! throw away what nobody asked for. It is not responsible for frames.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What a port must be able to do.
pub(super) trait Port: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Port for T {}

/// Longest time to wait for silence, over and above the quarantine.
/// Chosen: ten of the longest frames at 9600 baud; a line that talks longer is not for us.
const BABBLE_MAX: Duration = Duration::from_secs(3);

struct Inner {
    io: Box<dyn Port>,
    /// Time of the last byte in either direction.
    active_at: Instant,
    /// Bytes of this transaction, without zeros before the first one.
    received: usize,
    /// The other end has gone.
    ended: bool,
}

/// A handle to the watched port; every transaction gets a clone of it.
#[derive(Clone)]
pub(super) struct GuardedIo {
    inner: Arc<Mutex<Inner>>,
}

impl fmt::Debug for GuardedIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuardedIo")
    }
}

/// Why a line could not be made quiet.
#[derive(Debug)]
pub(super) enum NotQuiet {
    /// The port has gone.
    Gone(io::Error),
    /// Bytes come without a pause.
    Babble,
}

impl GuardedIo {
    pub(super) fn new(io: impl Port + 'static) -> Self {
        let inner = Inner {
            io: Box::new(io),
            active_at: Instant::now(),
            received: 0,
            ended: false,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The state is plain numbers: a panic elsewhere cannot have left it half-changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to count the bytes of a transaction.
    pub(super) fn begin(&self) {
        self.lock().received = 0;
    }

    /// Bytes received since [`Self::begin`].
    pub(super) fn received(&self) -> usize {
        self.lock().received
    }

    /// Whether the other end has gone.
    pub(super) fn ended(&self) -> bool {
        self.lock().ended
    }

    /// Throws away what comes in until `until` is past and the line was silent for `gap`.
    ///
    /// Gives back the number of bytes thrown away.
    pub(super) async fn drain(&self, until: Instant, gap: Duration) -> Result<usize, NotQuiet> {
        let give_up = until.max(Instant::now()) + BABBLE_MAX;
        let mut thrown = 0;
        let mut buffer = [0; 256];
        loop {
            let quiet_at = until.max(self.lock().active_at + gap);
            tokio::select! {
                biased;
                read = self.read_some(&mut buffer) => match read {
                    Ok(0) => return Err(NotQuiet::Gone(io::ErrorKind::UnexpectedEof.into())),
                    Ok(n) => thrown += n,
                    Err(error) => return Err(NotQuiet::Gone(error)),
                },
                () = tokio::time::sleep_until(quiet_at) => return Ok(thrown),
            }
            if Instant::now() > give_up {
                return Err(NotQuiet::Babble);
            }
        }
    }

    async fn read_some(&self, buffer: &mut [u8]) -> io::Result<usize> {
        std::future::poll_fn(|cx| {
            let mut read = ReadBuf::new(buffer);
            ready!(self.lock().poll_fill(cx, &mut read))?;
            Poll::Ready(Ok(read.filled().len()))
        })
        .await
    }
}

impl Inner {
    /// Reads once and takes note.
    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        match &read {
            Ok(()) if buf.filled().len() == before => self.ended = true,
            Ok(()) => self.active_at = Instant::now(),
            Err(_) => self.ended = true,
        }
        Poll::Ready(read)
    }
}

impl AsyncRead for GuardedIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        loop {
            let mut bytes = [0; 512];
            let len = bytes.len().min(buf.remaining());
            let mut read = ReadBuf::new(&mut bytes[..len]);
            ready!(inner.poll_fill(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            // Turning the line around may look like a zero byte; no answer begins with unit 0.
            let zeros = match inner.received {
                0 => read.filled().iter().take_while(|b| **b == 0).count(),
                _ => 0,
            };
            let answer = &read.filled()[zeros..];
            if !answer.is_empty() {
                inner.received += answer.len();
                buf.put_slice(answer);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for GuardedIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        let written = ready!(Pin::new(&mut inner.io).poll_write(cx, buf));
        inner.active_at = Instant::now();
        inner.ended |= written.is_err();
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().io).poll_shutdown(cx)
    }
}
