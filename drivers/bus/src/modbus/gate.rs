//! Modbus TCP frames by their numbers: which answer may pass to the client. Pure: bytes go in, bytes come out.
//!
//! Responsible for cutting a stream into frames and for letting one through only when
//! it answers the request that is on its way. An answer to an older request is thrown
//! away and counted; any other number is a fault, since then the stream is not ours.
//! Where a gateway does not repeat numbers, the first frame passes, and whoever asks has
//! to tell late answers apart by silence, order and length (see [`super::link`]).
//!
//! Terms: the *number* is the transaction identifier of the MBAP header.

use std::collections::VecDeque;
use std::io;

use tokio::io::ReadBuf;

/// Bytes of the header before the unit: number, protocol, length.
/// Source: Modbus Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3.
const HEADER_BYTES: usize = 6;

/// Values of the length field: unit and function at least, unit and the longest PDU at most.
/// Source: as [`HEADER_BYTES`]; Modbus Application Protocol V1.1b3, 4.1 (253 bytes).
const LENGTHS: std::ops::RangeInclusive<usize> = 2..=254;

/// Requests without an answer that are remembered.
/// Chosen: a device that owes more than this many is offline long since.
const OWED_MAX: usize = 32;

/// Whether answers repeat the number of their request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    /// They do, as the standard says.
    Repeated,
    /// They do not: some gateways send what they like.
    Ignored,
}

/// A request without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owed {
    number: u16,
    unit: u8,
}

/// The gate of one connection.
#[derive(Debug)]
pub(super) struct Gate {
    numbers: Numbers,
    unit: u8,
    /// The first bytes of the request that is on its way: its number.
    head: Vec<u8>,
    /// Bytes of a frame that is not whole yet.
    inbox: Vec<u8>,
    /// The answer that has passed, and how much of it was handed over.
    passed: Vec<u8>,
    given: usize,
    owed: VecDeque<Owed>,
    late: Vec<u8>,
    foreign: bool,
}

fn fault(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

impl Gate {
    pub(super) fn new(numbers: Numbers) -> Self {
        Self {
            numbers,
            unit: 0,
            head: Vec::new(),
            inbox: Vec::new(),
            passed: Vec::new(),
            given: 0,
            owed: VecDeque::new(),
            late: Vec::new(),
            foreign: false,
        }
    }

    /// A new request to a unit begins; what was unanswered stays owed.
    pub(super) fn begin(&mut self, unit: u8) {
        self.unit = unit;
        self.head.clear();
        self.passed.clear();
        self.given = 0;
        if self.numbers == Numbers::Ignored {
            // The line was silent before: what is left over is no beginning of an answer.
            self.inbox.clear();
        }
    }

    /// Nobody waits for the answer any more: when it comes, it is late.
    pub(super) fn give_up(&mut self) {
        self.head.clear();
    }

    /// Takes note of bytes on their way to the device.
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        let missing = 2_usize.saturating_sub(self.head.len());
        if missing == 0 {
            return;
        }
        self.head.extend(bytes.iter().take(missing));
        if let (Some(number), Numbers::Repeated) = (self.number(), self.numbers) {
            if self.owed.len() == OWED_MAX {
                self.owed.pop_front();
            }
            let unit = self.unit;
            self.owed.push_back(Owed { number, unit });
        }
    }

    /// The number of the request that is on its way.
    fn number(&self) -> Option<u16> {
        let head: [u8; 2] = self.head.as_slice().try_into().ok()?;
        Some(u16::from_be_bytes(head))
    }

    /// Whether an answer is still owed.
    pub(super) fn is_owed(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Whether nothing is owed and nobody has to be told of a late answer.
    pub(super) fn is_clear(&self) -> bool {
        self.owed.is_empty() && self.late.is_empty()
    }

    /// Whether an answer came with a number that no request had.
    pub(super) fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// The units of late answers since the last call.
    pub(super) fn take_late(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.late)
    }

    /// Takes in what came from the device.
    ///
    /// # Errors
    /// When it is no Modbus TCP, or an answer to what nobody asked.
    pub(super) fn take_in(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inbox.extend_from_slice(bytes);
        while let Some(length) = self.whole_frame()? {
            let number = u16::from_be_bytes([self.inbox[0], self.inbox[1]]);
            match self.numbers {
                Numbers::Ignored => {
                    // A second frame is seen by the number of bytes received.
                    if let (Some(head), true) = (self.number(), self.passed.is_empty()) {
                        self.pass(length);
                        self.passed[..2].copy_from_slice(&head.to_be_bytes());
                    }
                }
                Numbers::Repeated => {
                    let Some(place) = self.owed.iter().position(|o| o.number == number) else {
                        self.foreign = true;
                        return Err(fault(format!(
                            "an answer with number {number}, which no open request has"
                        )));
                    };
                    let owed = self.owed.remove(place);
                    if self.number() == Some(number) {
                        self.pass(length);
                    } else {
                        self.late.extend(owed.map(|o| o.unit));
                    }
                }
            }
            self.inbox.drain(..length);
        }
        Ok(())
    }

    /// Lets the frame at the front of the inbox through.
    fn pass(&mut self, length: usize) {
        self.passed.clear();
        self.passed.extend_from_slice(&self.inbox[..length]);
    }

    /// Length of the frame at the front of the inbox, once it is all there.
    fn whole_frame(&self) -> io::Result<Option<usize>> {
        let Some(header) = self.inbox.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let protocol = u16::from_be_bytes([header[2], header[3]]);
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        if protocol != 0 || !LENGTHS.contains(&length) {
            return Err(fault(format!(
                "no Modbus TCP: protocol {protocol}, length {length}"
            )));
        }
        let frame = HEADER_BYTES + length;
        Ok((self.inbox.len() >= frame).then_some(frame))
    }

    /// Hands over what has passed; `false` when nothing is left.
    pub(super) fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let rest = self.passed.get(self.given..).unwrap_or_default();
        let count = rest.len().min(buf.remaining());
        if count == 0 {
            return false;
        }
        buf.put_slice(&rest[..count]);
        self.given += count;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame with a number, of unit 9: a read of one register that holds its number.
    fn answer(number: u16) -> Vec<u8> {
        let [high, low] = number.to_be_bytes();
        vec![high, low, 0, 0, 0, 5, 9, 3, 2, high, low]
    }

    fn given(gate: &mut Gate) -> Vec<u8> {
        let mut bytes = [0; 300];
        let mut buf = ReadBuf::new(&mut bytes);
        while gate.give(&mut buf) {}
        buf.filled().to_vec()
    }

    fn ask(gate: &mut Gate, number: u16) {
        gate.begin(9);
        for byte in number.to_be_bytes() {
            gate.sent(&[byte]);
        }
        gate.sent(&[0, 0, 0, 6]);
    }

    #[test]
    fn only_the_answer_with_the_number_of_the_request_passes() {
        let mut gate = Gate::new(Numbers::Repeated);
        ask(&mut gate, 7);
        ask(&mut gate, 8);
        assert!(gate.is_owed());
        // The late answer to 7, and the right one in two pieces.
        gate.take_in(&answer(7)).expect("a late answer is no fault");
        assert!(given(&mut gate).is_empty());
        assert_eq!(gate.take_late(), [9]);
        gate.take_in(&answer(8)[..4]).expect("sound");
        assert!(given(&mut gate).is_empty());
        gate.take_in(&answer(8)[4..]).expect("sound");
        assert_eq!(given(&mut gate), answer(8));
        assert!(!gate.is_owed());
    }

    #[test]
    fn an_answer_that_nobody_waits_for_any_more_is_late() {
        let mut gate = Gate::new(Numbers::Repeated);
        ask(&mut gate, 7);
        gate.give_up();
        gate.take_in(&answer(7)).expect("late");
        assert!(given(&mut gate).is_empty());
        assert_eq!(gate.take_late(), [9]);
    }

    #[test]
    fn a_number_that_nobody_has_asked_with_is_a_fault() {
        for foreign in [6, 8, 0xFFFF] {
            let mut gate = Gate::new(Numbers::Repeated);
            ask(&mut gate, 7);
            let error = gate.take_in(&answer(foreign)).expect_err("foreign");
            assert!(error.to_string().contains(&foreign.to_string()), "{error}");
            assert!(gate.is_foreign());
            assert!(given(&mut gate).is_empty());
        }
        // An answer that comes twice answers nothing the second time.
        let mut gate = Gate::new(Numbers::Repeated);
        ask(&mut gate, 7);
        assert!(gate.take_in(&answer(7)).is_ok());
        assert!(gate.take_in(&answer(7)).is_err());
    }

    #[test]
    fn where_numbers_mean_nothing_the_first_frame_passes_as_if_it_had_the_right_one() {
        let mut gate = Gate::new(Numbers::Ignored);
        gate.take_in(&answer(3)[..5]).expect("left over");
        ask(&mut gate, 7);
        gate.take_in(&answer(0)).expect("any number");
        let mut expected = answer(0);
        expected[..2].copy_from_slice(&[0, 7]);
        assert_eq!(given(&mut gate), expected);
        gate.take_in(&answer(1)).expect("a second frame");
        assert!(given(&mut gate).is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_gate_panic_grow_or_pass_a_foreign_frame(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
            numbers in prop::sample::select(vec![Numbers::Repeated, Numbers::Ignored]),
        ) {
            let mut gate = Gate::new(numbers);
            ask(&mut gate, 0x0102);
            for piece in pieces {
                if gate.take_in(&piece).is_err() {
                    break;
                }
                prop_assert!(gate.inbox.len() < HEADER_BYTES + LENGTHS.end());
            }
            let passed = given(&mut gate);
            prop_assert!(passed.is_empty() || passed.starts_with(&[1, 2, 0, 0]), "{passed:?}");
        }
    }
}
