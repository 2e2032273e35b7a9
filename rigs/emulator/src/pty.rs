//! A pseudo terminal as an asynchronous byte stream.

use std::fs::{File, OpenOptions};
use std::io;

use rustix::fs::OFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::OptionalActions;
use tokio::io::Join;
use tokio::net::unix::pipe;

/// The emulator's side of a pseudo terminal: to the system, a pipe in each direction.
pub(crate) type Pty = Join<pipe::Receiver, pipe::Sender>;

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

impl Opened {
    /// Opens a pseudo terminal in raw mode.
    ///
    /// # Errors
    /// When the system has none left.
    pub(crate) fn open() -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let path = rustix::pty::ptsname(&master, Vec::new())?
            .to_string_lossy()
            .into_owned();
        let client_side = open_no_controlling(&path)?;
        let mut mode = rustix::termios::tcgetattr(&client_side)?;
        mode.make_raw();
        rustix::termios::tcsetattr(&client_side, OptionalActions::Now, &mode)?;
        let master = File::from(master);
        let receiver = pipe::Receiver::from_file_unchecked(master.try_clone()?)?;
        let sender = pipe::Sender::from_file_unchecked(master)?;
        Ok(Self {
            pty: tokio::io::join(receiver, sender),
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
