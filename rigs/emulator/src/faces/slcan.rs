//! A serial CAN adapter (slcan, the LAWICEL CAN232 protocol) on the emulated bus.
//!
//! The client opens a channel with `S6` (bit rate) and `O`, sends `t35181402740E740ECC01`,
//! and hears frames in the same form; `C` closes the channel. Each command is answered by
//! a carriage return, a refused one by a bell. What clients do out of turn is tolerated as
//! real adapters tolerate it: empty lines, opening twice, closing what is closed.

use std::io;
use std::sync::Arc;

use profile::can::CanId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::broadcast;

use super::can::{CanBus, CanFrame};

/// Longest line. Chosen: beyond the longest frame of CAN FD, 138 characters.
const LINE_MAX: usize = 200;

/// Done.
const OK: &str = "\r";
/// Refused.
const BELL: &str = "\u{7}";

/// Lengths behind the codes 9 to F (CAN FD).
const LONG: [usize; 7] = [12, 16, 20, 24, 32, 48, 64];

/// Serves the adapter's serial side, whoever comes and goes there.
///
/// # Errors
/// When the stream breaks.
pub async fn serve<S>(bus: Arc<CanBus>, mut stream: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (number, mut traffic) = bus.join();
    let mut adapter = Adapter { open: false };
    let mut line: Vec<u8> = Vec::new();
    let mut chunk = [0_u8; 256];
    loop {
        tokio::select! {
            count = stream.read(&mut chunk) => {
                let count = count?;
                if count == 0 {
                    return Ok(());
                }
                for byte in chunk.get(..count).unwrap_or_default() {
                    if *byte != b'\r' {
                        // What is too long is cut, and so refused.
                        if line.len() < LINE_MAX {
                            line.push(*byte);
                        }
                        continue;
                    }
                    let was_open = adapter.open;
                    let (answer, frame) = adapter.obey(&line);
                    line.clear();
                    if adapter.open && !was_open {
                        // What was on the bus before is not for this channel.
                        traffic = traffic.resubscribe();
                    }
                    if let Some(frame) = frame {
                        bus.hear(number, frame);
                    }
                    stream.write_all(answer.as_bytes()).await?;
                    stream.flush().await?;
                }
            }
            sent = traffic.recv(), if adapter.open => match sent {
                // An adapter has no line that says that it is off the bus.
                Ok(sent) if sent.by != number && !sent.bus_off => {
                    stream.write_all(text(&sent.frame).as_bytes()).await?;
                    stream.flush().await?;
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            }
        }
    }
}

#[derive(Debug)]
struct Adapter {
    open: bool,
}

impl Adapter {
    /// The answer to a line, and the frame that it sends.
    fn obey(&mut self, line: &[u8]) -> (&'static str, Option<CanFrame>) {
        let line = std::str::from_utf8(line).unwrap_or("?").trim_matches('\n');
        let mut letters = line.chars();
        match (letters.next(), letters.as_str()) {
            (None, _) => (OK, None),
            // `C` alone; python-can sends the bit rate in the same line, after a blank or not.
            (Some('C'), _) => {
                self.open = false;
                (OK, None)
            }
            (Some('S'), rate) if !self.open => {
                let known = matches!(rate.as_bytes(), [b'0'..=b'8']);
                (if known { OK } else { BELL }, None)
            }
            (Some('O'), "") => {
                self.open = true;
                (OK, None)
            }
            (Some('V'), "") => ("V1013\r", None),
            (Some('N'), "") => ("NA123\r", None),
            (Some('F'), "") if self.open => ("F00\r", None),
            (Some(kind @ ('t' | 'T' | 'd' | 'D' | 'b' | 'B')), rest) if self.open => {
                match frame(kind, rest) {
                    Some(frame) => {
                        let answer = if kind.is_ascii_lowercase() {
                            "z\r"
                        } else {
                            "Z\r"
                        };
                        (answer, Some(frame))
                    }
                    None => (BELL, None),
                }
            }
            _ => (BELL, None),
        }
    }
}

fn frame(kind: char, rest: &str) -> Option<CanFrame> {
    if !rest.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let digits = if kind.is_ascii_uppercase() { 8 } else { 3 };
    let (id, rest) = rest.split_at_checked(digits)?;
    let (code, bytes) = rest.split_at_checked(1)?;
    let number = u32::from_str_radix(id, 16).ok()?;
    let id = match digits {
        8 if number < 1 << 29 => CanId::Extended(number),
        3 if number < 1 << 11 => CanId::Standard(number as u16),
        _ => return None,
    };
    let code = usize::from_str_radix(code, 16).ok()?;
    let length = match (code, kind.to_ascii_lowercase()) {
        (0..=8, _) => code,
        (_, 'd' | 'b') => *LONG.get(code - 9)?,
        _ => return None,
    };
    if bytes.len() != 2 * length {
        return None;
    }
    let data = (0..length)
        .map(|n| u8::from_str_radix(bytes.get(2 * n..2 * n + 2)?, 16).ok())
        .collect::<Option<_>>()?;
    Some(CanFrame { id, data })
}

/// A frame as the adapter writes it.
fn text(frame: &CanFrame) -> String {
    let long = LONG.iter().position(|length| *length == frame.data.len());
    let code = long.map_or(frame.data.len(), |place| place + 9);
    let letter = if long.is_some() { 'd' } else { 't' };
    let head = match frame.id {
        CanId::Standard(id) => format!("{letter}{id:03X}{code:X}"),
        CanId::Extended(id) => format!("{}{id:08X}{code:X}", letter.to_ascii_uppercase()),
    };
    let hex: String = frame.data.iter().map(|b| format!("{b:02X}")).collect();
    format!("{head}{hex}\r")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> Vec<(&'static str, Option<CanFrame>)> {
        let mut adapter = Adapter { open: false };
        lines.iter().map(|l| adapter.obey(l.as_bytes())).collect()
    }

    #[test]
    fn a_channel_opens_closes_and_refuses_as_real_adapters_do() {
        for (lines, answers) in [
            // python-can: the bit rate in one line with the close, an empty line, and twice open.
            (vec!["C", "S6", "O"], vec![OK, OK, OK]),
            (vec!["CS6", "", "O", "O", "C", "C"], vec![OK; 6]),
            (vec!["t3510"], vec![BELL]),
            (vec!["S9", "S", "O", "S6"], vec![BELL, BELL, OK, BELL]),
            (
                vec!["O", "t3510", "T000003510", "t9990"],
                vec![OK, "z\r", "Z\r", BELL],
            ),
            (
                vec!["O", "t3512AA", "t3511A", "t351G", "t3519"],
                vec![OK, BELL, BELL, BELL, BELL],
            ),
            (
                vec!["x", "V", "F", "\u{fc}"],
                vec![BELL, "V1013\r", BELL, BELL],
            ),
        ] {
            let given: Vec<_> = told(&lines).into_iter().map(|(answer, _)| answer).collect();
            assert_eq!(given, answers, "{lines:?}");
        }
    }

    #[test]
    fn frames_are_written_as_they_are_read() {
        for (line, id, data) in [
            (
                "t35181402740E740ECC01",
                CanId::Standard(0x351),
                vec![0x14, 2, 0x74, 14, 0x74, 14, 0xCC, 1],
            ),
            ("T18FEF100101", CanId::Extended(0x18FE_F100), vec![1]),
            ("t0000", CanId::Standard(0), vec![]),
        ] {
            let frame = CanFrame { id, data };
            let (_, sent) = told(&["O", line]).pop().expect("two answers");
            assert_eq!(sent.as_ref(), Some(&frame), "{line}");
            assert_eq!(text(&frame), format!("{line}\r"));
        }
        let long = CanFrame {
            id: CanId::Standard(1),
            data: vec![0xAB; 64],
        };
        let line = text(&long);
        assert!(line.starts_with("d001FABAB"), "{line}");
        let (_, sent) = told(&["O", line.trim_end()]).pop().expect("two answers");
        assert_eq!(sent, Some(long));
    }

    #[test]
    fn no_line_makes_the_adapter_panic() {
        // Every prefix of a good line, and every line with one byte changed.
        let good = b"T18FEF1008AABBCCDDEEFF0011";
        let mut adapter = Adapter { open: true };
        for end in 0..good.len() {
            for byte in 0..=255 {
                let mut line = good.get(..=end).expect("shorter").to_vec();
                if let Some(last) = line.last_mut() {
                    *last = byte;
                }
                adapter.open = true;
                adapter.obey(&line);
            }
        }
    }
}
