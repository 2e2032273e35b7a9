//! A port that is watched: what came in, when, and whether it is quiet.
//!
//! Responsible for the bytes between the client and the line, or the stream in its
//! place: it counts them, remembers the last one's time, can throw away what nobody
//! asked for, and lets through a numbered answer only to the request that carries its
//! number (see [`super::gate`]). It is not responsible for what a frame says.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::gate::Gate;

/// What a port must be able to do.
pub(super) trait Port: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Port for T {}

/// Longest time to wait for silence, over and above the quarantine.
/// Chosen: ten of the longest frames at 9600 baud; a line that talks longer is not for us.
const BABBLE_MAX: Duration = Duration::from_secs(3);

/// Bytes that are read at once. Chosen: more than the longest frame (260 bytes).
const CHUNK_BYTES: usize = 512;

struct Inner {
    io: Box<dyn Port>,
    /// Time of the last byte in either direction.
    active_at: Instant,
    /// When the last bytes of the request were written.
    sent_at: Instant,
    /// Bytes of this transaction, without zeros before the first one of an RTU answer.
    received: usize,
    /// The other end has gone.
    ended: bool,
    /// Cuts frames out of a Modbus TCP stream; an RTU stream has none.
    gate: Option<Gate>,
}

/// A handle to the watched port; clones are the same port.
#[derive(Clone)]
pub(super) struct GuardedIo {
    inner: Arc<Mutex<Inner>>,
}

impl fmt::Debug for GuardedIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuardedIo")
    }
}

/// What a port has heard since a request began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// How much.
    pub(super) bytes: usize,
    /// When the last ones came.
    pub(super) at: Instant,
    /// Time from the last bytes of the request to the last ones of the answer.
    pub(super) after: Duration,
    /// The other end has gone.
    pub(super) ended: bool,
}

/// Why a line could not be made quiet.
#[derive(Debug)]
pub(super) enum NotQuiet {
    /// The port has gone.
    Gone(io::Error),
    /// Bytes come without a pause.
    Babble,
    /// What comes is no Modbus TCP, or answers what nobody asked.
    Foreign(io::Error),
}

impl GuardedIo {
    /// Watches a port; a gate makes it one of Modbus TCP.
    pub(super) fn new(io: impl Port + 'static, gate: Option<Gate>) -> Self {
        let now = Instant::now();
        let inner = Inner {
            io: Box::new(io),
            active_at: now,
            sent_at: now,
            received: 0,
            ended: false,
            gate,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The state is plain data: a panic elsewhere cannot have left it half-changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to count the bytes of a transaction with a unit.
    pub(super) fn begin(&self, unit: u8) {
        self.lock().begin(unit);
    }

    /// The same, where there are no numbered answers to wait for or to tell of. Gives back whether it has begun.
    pub(super) fn begin_if_settled(&self, unit: u8) -> bool {
        let mut inner = self.lock();
        let settled = inner.is_settled();
        if settled {
            inner.begin(unit);
        }
        settled
    }

    /// What came since [`Self::begin`].
    pub(super) fn heard(&self) -> Heard {
        let inner = self.lock();
        Heard {
            bytes: inner.received,
            at: inner.active_at,
            after: inner.active_at - inner.sent_at,
            ended: inner.ended,
        }
    }

    /// Whether a numbered answer may still be on its way.
    pub(super) fn is_owed(&self) -> bool {
        self.lock().gate.as_ref().is_some_and(Gate::is_owed)
    }

    /// Whether an answer came with a number that no request had.
    pub(super) fn is_foreign(&self) -> bool {
        self.lock().gate.as_ref().is_some_and(Gate::is_foreign)
    }

    /// The units whose late answers were thrown away since the last call.
    pub(super) fn take_late(&self) -> Vec<u8> {
        let mut inner = self.lock();
        inner.gate.as_mut().map(Gate::take_late).unwrap_or_default()
    }

    /// Throws away what comes in until `until` is past and the line was silent for `gap`.
    ///
    /// Gives back the number of bytes thrown away.
    pub(super) async fn drain(&self, until: Instant, gap: Duration) -> Result<usize, NotQuiet> {
        let give_up = until.max(Instant::now()) + BABBLE_MAX;
        let mut thrown = 0;
        let mut buffer = [0; CHUNK_BYTES];
        loop {
            let quiet_at = until.max(self.lock().active_at + gap);
            tokio::select! {
                biased;
                read = self.read_some(&mut buffer) => thrown += read?,
                () = tokio::time::sleep_until(quiet_at) => return Ok(thrown),
            }
            if Instant::now() > give_up {
                return Err(NotQuiet::Babble);
            }
        }
    }

    /// Waits for the numbered answers that are still on their way, until `until` at most.
    ///
    /// Gives back whether there was anything to wait for, or to tell.
    pub(super) async fn settle(&self, until: Instant) -> Result<bool, NotQuiet> {
        if self.lock().is_settled() {
            return Ok(false);
        }
        while self.is_owed() && Instant::now() < until {
            let mut buffer = [0; CHUNK_BYTES];
            tokio::select! {
                biased;
                read = self.read_some(&mut buffer) => {
                    let count = read?;
                    let mut inner = self.lock();
                    if let Some(gate) = &mut inner.gate {
                        gate.take_in(&buffer[..count]).map_err(NotQuiet::Foreign)?;
                    }
                }
                () = tokio::time::sleep_until(until) => {}
            }
        }
        Ok(true)
    }

    /// Reads at least one byte, past the gate.
    async fn read_some(&self, buffer: &mut [u8]) -> Result<usize, NotQuiet> {
        let read = std::future::poll_fn(|cx| {
            let mut read = ReadBuf::new(buffer);
            ready!(self.lock().poll_fill(cx, &mut read))?;
            Poll::Ready(Ok(read.filled().len()))
        });
        match read.await {
            Ok(0) => Err(NotQuiet::Gone(io::ErrorKind::UnexpectedEof.into())),
            Ok(n) => Ok(n),
            Err(error) => Err(NotQuiet::Gone(error)),
        }
    }
}

impl Inner {
    fn begin(&mut self, unit: u8) {
        self.received = 0;
        if let Some(gate) = &mut self.gate {
            gate.begin(unit);
        }
    }

    /// Whether there are no numbered answers to wait for or to tell of; nobody waits for one any more.
    fn is_settled(&mut self) -> bool {
        match &mut self.gate {
            Some(gate) => {
                gate.give_up();
                gate.is_clear()
            }
            None => false,
        }
    }

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

    /// Hands over what an RTU line says, without zeros before an answer.
    fn poll_line(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut bytes = [0; CHUNK_BYTES];
            let len = bytes.len().min(buf.remaining());
            let mut read = ReadBuf::new(&mut bytes[..len]);
            ready!(self.poll_fill(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            // Turning the line around may look like a zero byte; no answer begins with unit 0.
            let zeros = match self.received {
                0 => read.filled().iter().take_while(|b| **b == 0).count(),
                _ => 0,
            };
            let answer = &read.filled()[zeros..];
            if !answer.is_empty() {
                self.received += answer.len();
                buf.put_slice(answer);
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Hands over the answer that the gate lets through.
    fn poll_frame(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(gate) = &mut self.gate
                && gate.give(buf)
            {
                return Poll::Ready(Ok(()));
            }
            let mut bytes = [MaybeUninit::uninit(); CHUNK_BYTES];
            let mut read = ReadBuf::uninit(&mut bytes);
            ready!(self.poll_fill(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.received += read.filled().len();
            if let Some(gate) = &mut self.gate {
                gate.take_in(read.filled())?;
            }
        }
    }
}

impl AsyncRead for GuardedIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        match inner.gate {
            None => inner.poll_line(cx, buf),
            Some(_) => inner.poll_frame(cx, buf),
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
        inner.sent_at = Instant::now();
        inner.active_at = inner.sent_at;
        inner.ended |= written.is_err();
        if let (Ok(count), Some(gate)) = (&written, &mut inner.gate) {
            gate.sent(buf.get(..*count).unwrap_or_default());
        }
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().io).poll_shutdown(cx)
    }
}
