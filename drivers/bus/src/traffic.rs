//! What goes over a bus, word for word, for whoever records it.
//!
//! A driver shows each transaction to its [`Sink`](crate::Sink) after it has happened, borrowed:
//! a sink that does not record costs a call that does nothing. It is not responsible for keeping
//! anything.

use std::time::Duration;

use profile::can::CanId;

/// One thing that went over a bus.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Traffic<'a> {
    /// A Modbus transaction.
    Modbus {
        /// The unit that was asked.
        unit: u8,
        /// Function of the request (1 to 6, 15, 16).
        function: u8,
        /// First register, zero-based.
        address: u16,
        /// How many registers or bits.
        count: u16,
        /// The words that were written; empty for a read.
        written: &'a [u16],
        /// The words that were read (a bit is 0 or 1), or why there are none.
        answer: Result<&'a [u16], &'a str>,
        /// From the request to the answer; `None` when there was none.
        round_trip: Option<Duration>,
    },
    /// A CAN frame with data.
    Can {
        /// Its identifier.
        id: CanId,
        /// Its data bytes.
        data: &'a [u8],
        /// Whether it was sent by us.
        is_ours: bool,
    },
    /// An MQTT message.
    Mqtt {
        /// Its topic.
        topic: &'a str,
        /// Its payload.
        payload: &'a [u8],
        /// Whether the broker had kept it.
        retain: bool,
        /// Whether it was sent by us.
        is_ours: bool,
    },
    /// A line of SCPI.
    Scpi {
        /// Its text without the terminator; `None` for what was no text or had no end.
        line: Option<&'a str>,
        /// Whether it was sent by us.
        is_ours: bool,
    },
}
