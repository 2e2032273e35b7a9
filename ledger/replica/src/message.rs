//! What nodes say to each other, and the bytes of it.
//!
//! A message is a type byte and a payload; where one ends is the business of
//! whoever carries it. Two carry the ledger: what a node has, and a batch of some
//! node's log. A batch may come from anybody, since its node has signed it. Two
//! more are the safety net behind them: what was taken in of a range of a log, and a
//! batch that stands in a copy with less than belongs there.

use std::sync::Arc;

use ledger_core::{Field as _, Have, SchemaError};

use crate::ranges::{RANGE_BYTES, RANGES_MAX, RangePrint};

/// Longest message in bytes.
/// Chosen: a batch of 256 entries of the greatest length would be 16 MiB; real
/// ones are 100 KiB. A longer one is refused before it is read.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// What the sender has.
    Have(Box<Have>),
    /// A batch of a node's log.
    Batch {
        /// Whose log, by its place in the configuration.
        node: usize,
        /// Whether the sender has more of it at once.
        more: bool,
        /// The batch: frames as they stand in a segment.
        bytes: Arc<[u8]>,
    },
    /// What the sender has taken in of ranges of a node's log.
    Ranges {
        /// Whose log, by its place in the configuration.
        node: usize,
        /// Whether it answers a range that differed; else it asks.
        is_answer: bool,
        /// The ranges.
        ranges: Vec<RangePrint>,
    },
    /// A batch that the receiver has, with what it has not taken in of it.
    Filling {
        /// Whose log, by its place in the configuration.
        node: usize,
        /// The batch.
        bytes: Arc<[u8]>,
    },
}

const TYPE_HAVE: u8 = 1;
const TYPE_BATCH: u8 = 2;
const TYPE_RANGES: u8 = 3;
const TYPE_FILLING: u8 = 4;

impl Message {
    /// The bytes.
    ///
    /// # Errors
    /// Over a limit of the encoding.
    pub fn encode(&self) -> Result<Vec<u8>, SchemaError> {
        Ok(match self {
            Message::Have(have) => [&[TYPE_HAVE][..], &have.to_bytes()?].concat(),
            Message::Batch { node, more, bytes } => {
                let head = [TYPE_BATCH, u8::from(*more)];
                [&head[..], &place(*node)?, bytes].concat()
            }
            Message::Ranges {
                node,
                is_answer,
                ranges,
            } => {
                let head = [TYPE_RANGES, u8::from(*is_answer)];
                let ranges: Vec<u8> = ranges.iter().flat_map(RangePrint::to_bytes).collect();
                [&head[..], &place(*node)?, &ranges].concat()
            }
            Message::Filling { node, bytes } => {
                [&[TYPE_FILLING, 0][..], &place(*node)?, bytes].concat()
            }
        })
    }

    /// Reads a message.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn decode(bytes: &[u8]) -> Result<Message, SchemaError> {
        let expected = |expected| Err(SchemaError::Expected { expected });
        let at = |high: u8, low: u8| usize::from(u16::from_be_bytes([high, low]));
        match bytes {
            [TYPE_HAVE, rest @ ..] => Ok(Message::Have(Box::new(Have::from_bytes(rest)?))),
            [TYPE_BATCH, more @ (0 | 1), high, low, rest @ ..] => Ok(Message::Batch {
                node: at(*high, *low),
                more: *more == 1,
                bytes: rest.into(),
            }),
            [TYPE_RANGES, is_answer @ (0 | 1), high, low, rest @ ..]
                if rest.len() % RANGE_BYTES == 0 && rest.len() <= RANGES_MAX * RANGE_BYTES =>
            {
                let ranges = rest.chunks_exact(RANGE_BYTES);
                let ranges: Option<Vec<_>> = ranges.map(RangePrint::from_bytes).collect();
                match ranges {
                    Some(ranges) => Ok(Message::Ranges {
                        node: at(*high, *low),
                        is_answer: *is_answer == 1,
                        ranges,
                    }),
                    None => expected("ranges of a log that are not too long"),
                }
            }
            [TYPE_FILLING, 0, high, low, rest @ ..] => Ok(Message::Filling {
                node: at(*high, *low),
                bytes: rest.into(),
            }),
            _ => expected("a message of a known type"),
        }
    }
}

fn place(node: usize) -> Result<[u8; 2], SchemaError> {
    let node = u16::try_from(node).map_err(|_| SchemaError::Expected {
        expected: "at most 65,536 nodes",
    })?;
    Ok(node.to_be_bytes())
}
