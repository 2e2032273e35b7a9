//! Client of the socketcand protocol: a CAN bus carried as text over a byte stream.
//!
//! Responsible for the handshake, for cutting elements out of the stream however it
//! is split, and for writing frames. Not responsible for dialling again.
//!
//! An element is `< word word … >`. The server greets with `< hi >`, takes
//! `< open NAME >` and `< rawmode >`, answers each with `< ok >`, and then reports
//! every frame as `< frame ID SECONDS.MICROSECONDS DATA >`. Eight digits in ID make
//! an extended identifier.

use std::collections::VecDeque;

use profile::can::CanId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::LinkError;
use super::codec::{Data, Frame};

/// Longest element in bytes that is still collected.
/// Chosen: five times the longest frame element (8 data bytes with blanks, about 50 bytes).
const ELEMENT_BYTES_MAX: usize = 256;

/// Bytes taken from the stream at once. Chosen: about 80 frames, 20 ms of a full 500 kbit/s bus.
const READ_BYTES: usize = 4096;

/// What a socketcand server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It greets.
    Hi,
    /// It has done what it was told.
    Ok,
    /// It answers to `echo`.
    Echo,
    /// A frame or an error frame of the bus.
    Frame(Frame),
    /// It cannot do what it was told.
    Refused(String),
    /// Bytes that are no element of the protocol.
    Garbage,
}

/// Cuts elements out of a stream: pure, and independent of how the stream is split.
#[derive(Debug, Default)]
pub struct Parser {
    /// Bytes of the element that is open; `None` between elements.
    open: Option<Vec<u8>>,
    /// Whether the garbage that is running now has been reported.
    in_garbage: bool,
}

impl Parser {
    /// Takes in bytes and gives back what is complete.
    pub fn push(&mut self, bytes: &[u8], heard: &mut VecDeque<Heard>) {
        for byte in bytes {
            match (*byte, self.open.as_mut()) {
                (b'<', None) => self.begin(),
                (b'<', Some(_)) => {
                    // The element before was never closed.
                    self.garbage(heard);
                    self.begin();
                }
                (b'>', Some(element)) => {
                    let element = std::mem::take(element);
                    self.open = None;
                    heard.push_back(read(&element));
                }
                (_, Some(element)) if element.len() >= ELEMENT_BYTES_MAX => {
                    self.open = None;
                    self.garbage(heard);
                }
                (byte, Some(element)) => element.push(byte),
                (byte, None) if byte.is_ascii_whitespace() || byte == 0 => {}
                (_, None) => self.garbage(heard),
            }
        }
    }

    /// Bytes that are held back until their element is complete.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, Vec::len)
    }

    fn begin(&mut self) {
        self.open = Some(Vec::new());
        self.in_garbage = false;
    }

    /// A run of garbage is told once, however long it is.
    fn garbage(&mut self, heard: &mut VecDeque<Heard>) {
        if !self.in_garbage {
            heard.push_back(Heard::Garbage);
        }
        self.in_garbage = true;
    }
}

fn read(element: &[u8]) -> Heard {
    let Ok(text) = std::str::from_utf8(element) else {
        return Heard::Garbage;
    };
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    match words.as_slice() {
        ["hi"] => Heard::Hi,
        ["ok"] => Heard::Ok,
        ["echo"] => Heard::Echo,
        ["frame", id, time, data @ ..] if is_time(time) => match (read_id(id), read_data(data)) {
            (Some(id), Some(data)) => Heard::Frame(Frame::Data { id, data }),
            _ => Heard::Garbage,
        },
        ["error", class, time] if is_time(time) => match u32::from_str_radix(class, 16) {
            Ok(class) => Heard::Frame(Frame::Error { class }),
            Err(_) => Heard::Garbage,
        },
        ["error", ..] => Heard::Refused(text.trim().to_owned()),
        _ => Heard::Garbage,
    }
}

fn is_time(word: &str) -> bool {
    word.parse::<f64>().is_ok_and(|t| t.is_finite() && t >= 0.0)
}

fn read_id(word: &str) -> Option<CanId> {
    if !word.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let id = u32::from_str_radix(word, 16).ok()?;
    match word.len() {
        8 if id <= CanId::EXTENDED_MAX => Some(CanId::Extended(id)),
        1..=3 => u16::try_from(id)
            .ok()
            .filter(|id| *id <= CanId::STANDARD_MAX)
            .map(CanId::Standard),
        _ => None,
    }
}

/// Data as one run of digits or as single bytes with blanks between: servers differ.
fn read_data(words: &[&str]) -> Option<Data> {
    let mut bytes = Vec::new();
    for word in words {
        let digits: Vec<u8> = word
            .chars()
            .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
            .collect::<Option<_>>()?;
        match digits.as_slice() {
            [digit] => bytes.push(*digit),
            digits if digits.len() % 2 == 0 => {
                bytes.extend(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]));
            }
            _ => return None,
        }
    }
    // The protocol has no frames of CAN FD.
    Data::new(&bytes).filter(|data| !data.is_fd())
}

/// The element that sends a frame; `None` for what the protocol cannot carry (RTR, error
/// frames, frames of CAN FD).
///
/// The server reads the length as a decimal and the bytes as hexadecimal numbers;
/// both identifiers and bytes go out in lower case, an extended identifier with eight digits.
#[must_use]
pub fn send_element(frame: &Frame) -> Option<String> {
    use std::fmt::Write as _;
    let Frame::Data { id, data } = frame else {
        return None;
    };
    if data.is_fd() {
        return None;
    }
    let mut text = match id {
        CanId::Standard(id) => format!("< send {id:x}"),
        CanId::Extended(id) => format!("< send {id:08x}"),
    };
    let _ = write!(text, " {}", data.as_slice().len());
    for byte in data.as_slice() {
        let _ = write!(text, " {byte:x}");
    }
    text.push_str(" >");
    Some(text)
}

/// A byte stream to a socketcand server.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// An open bus on a socketcand server.
pub struct Connection<S> {
    stream: S,
    parser: Parser,
    heard: VecDeque<Heard>,
    buffer: Vec<u8>,
}

impl<S: Stream> Connection<S> {
    /// Greets the server and opens the bus; the caller bounds the time.
    ///
    /// # Errors
    /// When the stream ends or the server refuses to open the bus.
    pub async fn open(stream: S, interface: &str) -> Result<Self, LinkError> {
        let mut this = Self {
            stream,
            parser: Parser::default(),
            heard: VecDeque::new(),
            buffer: vec![0; READ_BYTES],
        };
        this.expect(&Heard::Hi).await?;
        this.write(&format!("< open {interface} >")).await?;
        this.expect(&Heard::Ok).await?;
        this.write("< rawmode >").await?;
        this.expect(&Heard::Ok).await?;
        Ok(this)
    }

    /// The next thing that the server says. Safe to drop while it waits.
    ///
    /// # Errors
    /// When the stream fails or ends.
    pub async fn receive(&mut self) -> Result<Heard, LinkError> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Ok(heard);
            }
            let n = self.stream.read(&mut self.buffer).await?;
            if n == 0 {
                return Err(LinkError::Closed);
            }
            self.parser
                .push(self.buffer.get(..n).unwrap_or(&[]), &mut self.heard);
        }
    }

    /// Sends a frame; the caller bounds the time.
    ///
    /// # Errors
    /// When the stream fails, or for a frame that the protocol cannot carry.
    pub async fn send(&mut self, frame: &Frame) -> Result<(), LinkError> {
        let text = send_element(frame).ok_or(LinkError::NotCarried)?;
        self.write(&text).await
    }

    /// Ends the stream in an orderly way, so that the server frees the bus at once.
    pub async fn close(mut self) {
        // A stream that is already broken is as closed as it can be.
        let _ = self.stream.shutdown().await;
    }

    async fn write(&mut self, text: &str) -> Result<(), LinkError> {
        self.stream.write_all(text.as_bytes()).await?;
        self.stream.flush().await?;
        Ok(())
    }

    async fn expect(&mut self, wanted: &Heard) -> Result<(), LinkError> {
        loop {
            match self.receive().await? {
                heard if heard == *wanted => return Ok(()),
                Heard::Refused(text) => return Err(LinkError::Refused { text }),
                // Frames of another client, an echo, or noise before the stream is in step.
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
