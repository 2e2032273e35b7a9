//! Client of a serial CAN adapter that speaks slcan (the LAWICEL CAN232 protocol).
//!
//! Responsible for opening the adapter's channel, for cutting its lines into frames
//! however they are split, and for writing frames. Not responsible for dialling again.
//!
//! A line ends with a carriage return; a bell alone means that the adapter refuses.
//! `t` and `T` are frames with 11 and 29 bits, `r` and `R` requests, `d`, `D`, `b` and
//! `B` frames of CAN FD. Adapters do not report that they have left the bus.

use std::collections::VecDeque;
use std::time::Duration;

use profile::can::{CLASSIC_BYTES_MAX, CanId, DATA_BYTES_MAX, FD_LENGTHS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::LinkError;
use super::codec::{Data, Frame};
use super::socketcand::Stream;

/// Longest line that is still collected, in bytes.
/// Chosen: the longest FD line (1 + 8 + 1 + 128 digits) with a time stamp, and room.
const LINE_BYTES_MAX: usize = 160;

/// Bytes taken from the port at once. Chosen: about 150 frames, 40 ms of a full 500 kbit/s bus.
const READ_BYTES: usize = 4096;

/// Time in which what an adapter still had to say is passed over, and in which it may refuse.
/// Chosen: three turns of a USB adapter with its latency timer of 16 ms; many never answer.
const SETTLE_TIME: Duration = Duration::from_millis(50);

/// Bit rates in bits per second, in the order of the commands `S0` to `S8` (LAWICEL CAN232 manual).
pub const BITRATES: [u32; 9] = [
    10_000, 20_000, 50_000, 100_000, 125_000, 250_000, 500_000, 800_000, 1_000_000,
];

/// What an adapter says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A frame of the bus.
    Frame(Frame),
    /// It has done what it was told, or tells something that is no frame.
    Done,
    /// It refuses what it was told.
    Refused,
    /// Bytes that are no line of the protocol.
    Garbage,
}

/// Cuts lines out of a stream: pure, and independent of how the stream is split.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    /// The line is too long to be one: it is passed over to its end.
    too_long: bool,
}

impl Parser {
    /// Takes in bytes and gives back what is complete.
    pub fn push(&mut self, bytes: &[u8], heard: &mut VecDeque<Heard>) {
        for byte in bytes {
            match byte {
                b'\r' | 0x07 => {
                    let line = std::mem::take(&mut self.line);
                    let too_long = std::mem::take(&mut self.too_long);
                    heard.push_back(match (too_long, *byte) {
                        (true, _) => Heard::Garbage,
                        (false, b'\r') => read(&line),
                        // A refusal is a bell alone; a line that it cuts off is lost.
                        (false, _) if line.is_empty() => Heard::Refused,
                        (false, _) => Heard::Garbage,
                    });
                }
                // Some firmware ends its lines as a terminal would.
                b'\n' if self.line.is_empty() => {}
                _ if self.line.len() >= LINE_BYTES_MAX => self.too_long = true,
                byte => self.line.push(*byte),
            }
        }
    }

    /// Bytes that are held back until their line is complete.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.line.len()
    }
}

fn read(line: &[u8]) -> Heard {
    let Some((kind, rest)) = line.split_first() else {
        return Heard::Done;
    };
    let frame = match kind {
        b't' | b'T' | b'r' | b'R' | b'd' | b'D' | b'b' | b'B' => frame(*kind, rest),
        // A frame was sent, version, serial number, status.
        b'z' | b'Z' | b'V' | b'v' | b'N' | b'F' => return Heard::Done,
        _ => None,
    };
    frame.map_or(Heard::Garbage, Heard::Frame)
}

fn frame(kind: u8, rest: &[u8]) -> Option<Frame> {
    let extended = kind.is_ascii_uppercase();
    let digits = if extended { 8 } else { 3 };
    let id = number(rest.get(..digits)?)?;
    let id = if extended {
        (id <= CanId::EXTENDED_MAX).then_some(CanId::Extended(id))?
    } else {
        let id = u16::try_from(id).ok()?;
        (id <= CanId::STANDARD_MAX).then_some(CanId::Standard(id))?
    };
    let code = number(rest.get(digits..=digits)?)?;
    let fd = matches!(kind.to_ascii_lowercase(), b'd' | b'b');
    let len = length(code, fd)?;
    let rest = rest.get(digits + 1..)?;
    if kind.eq_ignore_ascii_case(&b'r') {
        return is_stamp(rest).then_some(Frame::Remote { id });
    }
    let (data, stamp) = rest.split_at_checked(2 * len)?;
    let bytes: Vec<u8> = data
        .chunks(2)
        .map(|pair| number(pair).and_then(|n| u8::try_from(n).ok()))
        .collect::<Option<_>>()?;
    let data = Data::new(&bytes)?;
    is_stamp(stamp).then_some(Frame::Data { id, data })
}

/// Data bytes of a length code (ISO 11898-1): nine and more are lengths of CAN FD.
fn length(code: u32, fd: bool) -> Option<usize> {
    let code = usize::try_from(code).ok()?;
    if code <= CLASSIC_BYTES_MAX {
        return Some(code);
    }
    if !fd {
        return None;
    }
    FD_LENGTHS.get(code - CLASSIC_BYTES_MAX - 1).copied()
}

/// Nothing, or the four digits of a time stamp in milliseconds.
fn is_stamp(rest: &[u8]) -> bool {
    rest.is_empty() || (rest.len() == 4 && number(rest).is_some())
}

fn number(digits: &[u8]) -> Option<u32> {
    // A sign would be read as well, and no adapter writes one.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The line that sends a frame; `None` for what cannot be sent (error frames).
#[must_use]
pub fn send_line(frame: &Frame) -> Option<String> {
    use std::fmt::Write as _;
    let (id, letter, code, bytes): (CanId, char, usize, &[u8]) = match frame {
        Frame::Data { id, data } => {
            let len = data.as_slice().len();
            let code = match FD_LENGTHS.iter().position(|fd| *fd == len) {
                Some(place) => CLASSIC_BYTES_MAX + 1 + place,
                None => len,
            };
            let letter = if data.is_fd() { 'd' } else { 't' };
            (*id, letter, code, data.as_slice())
        }
        Frame::Remote { id } => (*id, 'r', 0, &[]),
        Frame::Error { .. } => return None,
    };
    let mut text = match id {
        CanId::Standard(id) => format!("{letter}{id:03X}"),
        CanId::Extended(id) => format!("{}{id:08X}", letter.to_ascii_uppercase()),
    };
    let _ = write!(text, "{code:X}");
    for byte in bytes {
        let _ = write!(text, "{byte:02X}");
    }
    text.push('\r');
    debug_assert!(text.len() <= 11 + 2 * DATA_BYTES_MAX);
    Some(text)
}

/// An open channel of an adapter.
pub struct Connection<S> {
    stream: S,
    parser: Parser,
    heard: VecDeque<Heard>,
    buffer: Vec<u8>,
}

impl<S: Stream> Connection<S> {
    /// Closes the channel, sets its bit rate and opens it; the caller bounds the time.
    ///
    /// # Errors
    /// When the bit rate is none of [`BITRATES`], the port fails, or the adapter refuses.
    pub async fn open(stream: S, bitrate: u32) -> Result<Self, LinkError> {
        let refused = |why: &str| LinkError::Adapter {
            why: why.to_owned(),
        };
        let Some(code) = BITRATES.iter().position(|rate| *rate == bitrate) else {
            return Err(refused(&format!("it has no bit rate of {bitrate}")));
        };
        let mut this = Self {
            stream,
            parser: Parser::default(),
            heard: VecDeque::new(),
            buffer: vec![0; READ_BYTES],
        };
        // Half a line of an earlier session ends here, and a closed channel may refuse to close.
        this.write("\r\rC\r").await?;
        this.settle().await?;
        this.heard.clear();
        this.parser = Parser::default();
        this.write(&format!("S{code}\rO\r")).await?;
        this.settle().await?;
        if this.heard.contains(&Heard::Refused) {
            return Err(refused(&format!("it refuses to open at {bitrate} bit/s")));
        }
        Ok(this)
    }

    /// The next thing that the adapter says. Safe to drop while it waits.
    ///
    /// # Errors
    /// When the port fails or ends, as one that is pulled out does.
    pub async fn receive(&mut self) -> Result<Heard, LinkError> {
        loop {
            match self.heard.pop_front() {
                Some(Heard::Done) => {}
                Some(heard) => return Ok(heard),
                None => self.take_in().await?,
            }
        }
    }

    /// Sends a frame; the caller bounds the time.
    ///
    /// # Errors
    /// When the port fails, or for a frame that the protocol cannot carry.
    pub async fn send(&mut self, frame: &Frame) -> Result<(), LinkError> {
        let line = send_line(frame).ok_or(LinkError::NotCarried)?;
        self.write(&line).await
    }

    /// Closes the channel, so that the adapter leaves the bus.
    pub async fn close(mut self) {
        // A port that is already gone is as closed as it can be.
        let _ = self.write("C\r").await;
        let _ = self.stream.shutdown().await;
    }

    /// Takes in what the adapter says until it has had its time.
    async fn settle(&mut self) -> Result<(), LinkError> {
        let until = Instant::now() + SETTLE_TIME;
        while let Ok(read) = timeout_at(until, self.take_in()).await {
            read?;
        }
        Ok(())
    }

    async fn take_in(&mut self) -> Result<(), LinkError> {
        let n = self.stream.read(&mut self.buffer).await?;
        if n == 0 {
            return Err(LinkError::Closed);
        }
        self.parser
            .push(self.buffer.get(..n).unwrap_or(&[]), &mut self.heard);
        Ok(())
    }

    async fn write(&mut self, text: &str) -> Result<(), LinkError> {
        self.stream.write_all(text.as_bytes()).await?;
        self.stream.flush().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
