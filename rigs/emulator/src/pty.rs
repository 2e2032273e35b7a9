//! A pseudo terminal as an asynchronous byte stream.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::fs::OFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::OptionalActions;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The emulator's side of a pseudo terminal.
#[derive(Debug)]
pub(crate) struct Pty {
    fd: AsyncFd<File>,
}

/// A pseudo terminal with both sides.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The emulator's side.
    pub(crate) pty: Pty,
    /// Path that clients open as their serial port.
    pub(crate) path: String,
    /// The client's side, to be kept open: without any opener the emulator's side would
    /// fail. A plain file, because a serial port object would lock the path against clients.
    pub(crate) client_side: File,
}

impl Pty {
    /// Opens a pseudo terminal in raw mode.
    ///
    /// # Errors
    /// When the system has none left.
    pub(crate) fn open() -> io::Result<Opened> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let path = rustix::pty::ptsname(&master, Vec::new())?
            .to_string_lossy()
            .into_owned();
        let status = rustix::fs::fcntl_getfl(&master)?;
        rustix::fs::fcntl_setfl(&master, status | OFlags::NONBLOCK)?;
        let client_side = open_no_controlling(&path)?;
        let mut mode = rustix::termios::tcgetattr(&client_side)?;
        mode.make_raw();
        rustix::termios::tcsetattr(&client_side, OptionalActions::Now, &mode)?;
        Ok(Opened {
            pty: Self {
                fd: AsyncFd::new(File::from(master))?,
            },
            path,
            client_side,
        })
    }
}

fn open_no_controlling(path: &str) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NOCTTY.bits().cast_signed())
        .open(path)
}

impl AsyncRead for Pty {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.fd.poll_read_ready(cx))?;
            let unfilled = buf.initialize_unfilled();
            match guard.try_io(|fd| fd.get_ref().read(unfilled)) {
                Ok(Ok(count)) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Pty {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.fd.poll_write_ready(cx))?;
            match guard.try_io(|fd| fd.get_ref().write(buf)) {
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
