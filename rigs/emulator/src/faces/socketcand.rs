//! The socketcand protocol: a CAN bus as text over a byte stream.
//!
//! The server greets with `< hi >`, answers `< open BUS >` and `< rawmode >` with
//! `< ok >` each, and then sends `< frame ID SEC.USEC DATA >`; the client sends
//! `< send ID DLC BYTE.. >`. Greeting and answers are single writes, since clients
//! compare one read with them. What the daemon refuses is refused here too.

use std::io;
use std::sync::Arc;

use profile::can::CanId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::broadcast;

use super::can::{CanBus, CanFrame, Sent};

/// Longest command; beyond, the client is taken for something else and left.
/// Chosen: four times the longest send of the protocol.
const COMMAND_MAX: usize = 256;

/// Serves one client until it leaves.
///
/// # Errors
/// When the stream breaks.
pub async fn serve<S>(bus: Arc<CanBus>, interface: Arc<str>, mut stream: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (number, mut traffic) = bus.join();
    let mut session = Session {
        interface,
        state: State::Greeted,
    };
    stream.write_all(b"< hi >").await?;
    stream.flush().await?;
    let mut received: Vec<u8> = Vec::new();
    let mut chunk = [0_u8; 256];
    loop {
        tokio::select! {
            count = stream.read(&mut chunk) => {
                let count = count?;
                if count == 0 {
                    return Ok(());
                }
                received.extend_from_slice(chunk.get(..count).unwrap_or_default());
                while let Some(command) = take_command(&mut received) {
                    match session.obey(&command) {
                        Reaction::Answer(text) => {
                            stream.write_all(text.as_bytes()).await?;
                            stream.flush().await?;
                        }
                        Reaction::Frame(frame) => bus.hear(number, frame),
                        Reaction::Raw => {
                            // What was sent before raw mode is not for this client.
                            traffic = traffic.resubscribe();
                            stream.write_all(b"< ok >").await?;
                            stream.flush().await?;
                        }
                    }
                }
                if received.len() > COMMAND_MAX {
                    return Ok(());
                }
            }
            sent = traffic.recv(), if session.state == State::Raw => match sent {
                // The protocol has no frames of CAN FD.
                Ok(sent) if sent.by != number && sent.frame.data.len() <= 8 => {
                    stream.write_all(frame_text(&sent).as_bytes()).await?;
                    stream.flush().await?;
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeted,
    Opened,
    Raw,
}

/// What a client has reached.
#[derive(Debug)]
struct Session {
    interface: Arc<str>,
    state: State,
}

#[derive(Debug, PartialEq)]
enum Reaction {
    Answer(String),
    Frame(CanFrame),
    Raw,
}

impl Session {
    fn obey(&mut self, command: &str) -> Reaction {
        let words: Vec<&str> = command.split_whitespace().collect();
        let error = |why: &str| Reaction::Answer(format!("< error {why} >"));
        match (self.state, words.as_slice()) {
            (State::Greeted, ["open", bus]) if **bus == *self.interface => {
                self.state = State::Opened;
                Reaction::Answer("< ok >".into())
            }
            (State::Greeted, ["open", _]) => error("could not open bus"),
            (State::Opened, ["rawmode"]) => {
                self.state = State::Raw;
                Reaction::Raw
            }
            (_, ["echo"]) => Reaction::Answer("< echo >".into()),
            (State::Raw, ["send", frame @ ..]) => match parse_send(frame) {
                Some(frame) => Reaction::Frame(frame),
                None => error("Syntax error in send command"),
            },
            _ => error("unknown command"),
        }
    }
}

/// Cuts the next `< … >` out of what was received.
fn take_command(received: &mut Vec<u8>) -> Option<String> {
    let end = received.iter().position(|byte| *byte == b'>')?;
    let whole: Vec<u8> = received.drain(..=end).collect();
    let begin = whole.iter().position(|byte| *byte == b'<')? + 1;
    let inner = whole.get(begin..end).unwrap_or_default();
    Some(String::from_utf8_lossy(inner).trim().to_owned())
}

/// `ID DLC BYTE..`: eight digits make an extended identifier, the length is decimal.
fn parse_send(words: &[&str]) -> Option<CanFrame> {
    let (id, rest) = words.split_first()?;
    let (length, bytes) = rest.split_first()?;
    let number = u32::from_str_radix(id, 16).ok()?;
    let id = match id.len() {
        8 if number < 1 << 29 => CanId::Extended(number),
        1..=7 if number < 1 << 11 => CanId::Standard(number as u16),
        _ => return None,
    };
    let data: Vec<u8> = bytes
        .iter()
        .map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect::<Option<_>>()?;
    let length: usize = length.parse().ok()?;
    (length == data.len() && length <= 8).then_some(CanFrame { id, data })
}

/// Class of the error frame that says that the controller is off the bus.
/// Source: `CAN_ERR_BUSOFF` of the kernel's `linux/can/error.h`.
const BUS_OFF: u16 = 0x040;

/// A frame as the daemon writes it; without data both blanks stay. Of an error it tells the class only.
fn frame_text(sent: &Sent) -> String {
    if sent.bus_off {
        let (seconds, micros) = (sent.at.as_secs(), sent.at.subsec_micros());
        return format!("< error {BUS_OFF:03X} {seconds}.{micros:06} >");
    }
    let id = match sent.frame.id {
        CanId::Standard(id) => format!("{id:03X}"),
        CanId::Extended(id) => format!("{id:08X}"),
    };
    let hex: String = sent.frame.data.iter().map(|b| format!("{b:02X}")).collect();
    let (seconds, micros) = (sent.at.as_secs(), sent.at.subsec_micros());
    format!("< frame {id} {seconds}.{micros:06} {hex} >")
}

#[cfg(test)]
mod tests;
