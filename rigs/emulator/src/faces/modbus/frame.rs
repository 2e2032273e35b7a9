//! Framing by hand: MBAP for TCP, checksum for serial lines.

/// Which framing a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Modbus TCP: a header with transaction, protocol, length and unit.
    Tcp,
    /// Modbus RTU: unit, function, data, checksum.
    Rtu,
}

/// What the answer must carry besides unit and data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrap {
    /// The request's transaction number.
    Tcp {
        /// The number.
        transaction: u16,
    },
    /// A checksum.
    Rtu,
}

/// A request cut out of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// How the answer is wrapped.
    pub wrap: Wrap,
    /// Unit.
    pub unit: u8,
    /// Function code and data.
    pub pdu: Vec<u8>,
}

impl Request {
    /// The function code; 0 for an empty request.
    #[must_use]
    pub fn function(&self) -> u8 {
        self.pdu.first().copied().unwrap_or(0)
    }
}

/// Longest function code and data together.
//= MODBUS Application Protocol Specification V1.1b3, 4.1: 253 bytes.
const PDU_MAX: usize = 253;

impl Framing {
    /// Cuts the next whole request out of what was received; `None` until there is one.
    pub fn take(self, buffer: &mut Vec<u8>) -> Option<Request> {
        match self {
            Self::Tcp => take_tcp(buffer),
            Self::Rtu => take_rtu(buffer),
        }
    }

    /// Whether the stream is out of step for good: a server closes it then.
    #[must_use]
    pub fn is_lost(self, buffer: &[u8]) -> bool {
        match self {
            Self::Tcp => match header(buffer) {
                Some((_, protocol, length)) => {
                    protocol != 0 || !(2..=PDU_MAX + 1).contains(&length)
                }
                None => false,
            },
            Self::Rtu => false,
        }
    }
}

impl Wrap {
    /// The framed bytes of an answer.
    #[must_use]
    pub fn bytes(self, unit: u8, pdu: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(pdu.len() + 8);
        match self {
            Self::Tcp { transaction } => {
                bytes.extend(transaction.to_be_bytes());
                bytes.extend([0, 0]);
                bytes.extend((pdu.len() as u16 + 1).to_be_bytes());
                bytes.push(unit);
                bytes.extend_from_slice(pdu);
            }
            Self::Rtu => {
                bytes.push(unit);
                bytes.extend_from_slice(pdu);
                bytes.extend(checksum(&bytes).to_le_bytes());
            }
        }
        bytes
    }
}

fn header(buffer: &[u8]) -> Option<(u16, u16, usize)> {
    let word = |at: usize| Some(u16::from_be_bytes([*buffer.get(at)?, *buffer.get(at + 1)?]));
    Some((word(0)?, word(2)?, usize::from(word(4)?)))
}

fn take_tcp(buffer: &mut Vec<u8>) -> Option<Request> {
    let (transaction, protocol, length) = header(buffer)?;
    if protocol != 0 || length < 2 || buffer.len() < 6 + length {
        return None;
    }
    let frame: Vec<u8> = buffer.drain(..6 + length).collect();
    Some(Request {
        wrap: Wrap::Tcp { transaction },
        unit: *frame.get(6)?,
        pdu: frame.get(7..)?.to_vec(),
    })
}

/// A serial line has no lengths: the function tells how long its request is. The first
/// place from which a whole request with a good checksum begins counts; what stands
/// before it is noise. What never becomes one is thrown away at the next silence.
fn take_rtu(buffer: &mut Vec<u8>) -> Option<Request> {
    for start in 0..buffer.len().saturating_sub(3) {
        let rest = buffer.get(start..)?;
        let length = match rtu_length(rest) {
            Length::Known(length) => length,
            Length::Unknown => rest.len(),
            Length::NotYet => continue,
        };
        if rest.get(..length).is_some_and(is_whole) {
            let frame: Vec<u8> = buffer.drain(..start + length).skip(start).collect();
            return Some(Request {
                wrap: Wrap::Rtu,
                unit: *frame.first()?,
                pdu: frame.get(1..length - 2)?.to_vec(),
            });
        }
    }
    // Endless noise without silence must not grow without end.
    let surplus = buffer.len().saturating_sub(PDU_MAX + 3);
    buffer.drain(..surplus);
    None
}

enum Length {
    Known(usize),
    NotYet,
    Unknown,
}

fn rtu_length(buffer: &[u8]) -> Length {
    match buffer.get(1) {
        Some(1..=6) => Length::Known(8),
        Some(15 | 16) => match buffer.get(6) {
            Some(count) => Length::Known(9 + usize::from(*count)),
            None => Length::NotYet,
        },
        _ => Length::Unknown,
    }
}

fn is_whole(frame: &[u8]) -> bool {
    match frame.split_last_chunk::<2>() {
        Some((body, sum)) if body.len() >= 2 => checksum(body) == u16::from_le_bytes(*sum),
        _ => false,
    }
}

/// The checksum of a serial frame, sent low byte first.
//= MODBUS over Serial Line Specification V1.02, 6.2.2: CRC-16, polynomial 0xA001 reflected, preset 0xFFFF.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte), |sum, _| {
            if sum & 1 == 1 {
                (sum >> 1) ^ 0xa001
            } else {
                sum >> 1
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_meets_known_frames() {
        // The check value of CRC-16/MODBUS, and a read of ten registers of unit 1.
        assert_eq!(checksum(b"123456789"), 0x4b37);
        assert_eq!(checksum(&[0x01, 0x03, 0x00, 0x00, 0x00, 0x0a]), 0xcdc5);
    }

    #[test]
    fn a_tcp_request_is_cut_out_and_answered_under_its_number() {
        let mut buffer = vec![0x12, 0x34, 0, 0, 0, 6, 0x11, 3, 0, 0x6b, 0, 3, 0xff];
        let request = Framing::Tcp.take(&mut buffer).expect("whole");
        assert_eq!(
            (request.unit, request.pdu.as_slice()),
            (0x11, &[3, 0, 0x6b, 0, 3][..])
        );
        assert_eq!(buffer, [0xff], "the rest stays");
        assert_eq!(
            request.wrap.bytes(0x11, &[3, 2, 0xab, 0xcd]),
            [0x12, 0x34, 0, 0, 0, 5, 0x11, 3, 2, 0xab, 0xcd]
        );
    }

    #[test]
    fn a_half_request_waits_and_a_foreign_stream_is_lost() {
        let mut half = vec![0, 1, 0, 0, 0, 6, 1, 3];
        assert_eq!(Framing::Tcp.take(&mut half), None);
        assert!(!Framing::Tcp.is_lost(&half));
        assert!(Framing::Tcp.is_lost(b"GET / HTTP/1.1"));
        assert!(Framing::Tcp.is_lost(&[0, 1, 0, 0, 0xff, 0xff]));
    }

    #[test]
    fn a_serial_request_is_found_behind_noise() {
        let good = [0x01, 0x03, 0x00, 0x00, 0x00, 0x0a, 0xc5, 0xcd];
        for noise in [&[][..], &[0x00][..], &[0x01, 0x03, 0x55][..]] {
            let mut buffer = noise.to_vec();
            buffer.extend(good);
            buffer.extend(good);
            let first = Framing::Rtu.take(&mut buffer).expect("found");
            assert_eq!(first.pdu, [3, 0, 0, 0, 10]);
            assert!(Framing::Rtu.take(&mut buffer).is_some());
        }
        let mut wrong = vec![0x01, 0x03, 0x00, 0x00, 0x00, 0x0a, 0xc5, 0xce];
        assert_eq!(Framing::Rtu.take(&mut wrong), None);
    }

    #[test]
    fn a_serial_write_of_many_registers_waits_for_its_last_byte() {
        let mut frame = vec![1, 16, 0, 5, 0, 2, 4, 0, 10, 0, 20];
        frame.extend(checksum(&frame).to_le_bytes());
        let last = frame.pop().expect("a byte");
        let mut buffer = frame;
        assert_eq!(Framing::Rtu.take(&mut buffer), None);
        buffer.push(last);
        assert_eq!(
            Framing::Rtu.take(&mut buffer).map(|r| r.function()),
            Some(16)
        );
    }

    #[test]
    fn an_unknown_function_is_still_a_request() {
        let mut buffer = vec![1, 0x2b, 0x0e, 1, 0];
        buffer.extend(checksum(&buffer).to_le_bytes());
        assert_eq!(
            Framing::Rtu.take(&mut buffer).map(|r| r.function()),
            Some(0x2b)
        );
    }
}
