//! What nodes say to each other, and the bytes of it.
//!
//! A message is a type byte and a payload; where one ends is the business of
//! whoever carries it. There are two: what a node has, and a batch of some
//! node's log. A batch may come from anybody, since its node has signed it.

use std::sync::Arc;

use ledger_core::{Field as _, Have, SchemaError};

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
}

const TYPE_HAVE: u8 = 1;
const TYPE_BATCH: u8 = 2;

impl Message {
    /// The bytes.
    ///
    /// # Errors
    /// Over a limit of the encoding.
    pub fn encode(&self) -> Result<Vec<u8>, SchemaError> {
        Ok(match self {
            Message::Have(have) => [&[TYPE_HAVE][..], &have.to_bytes()?].concat(),
            Message::Batch { node, more, bytes } => {
                let node = u16::try_from(*node).map_err(|_| SchemaError::Expected {
                    expected: "at most 65,536 nodes",
                })?;
                let head = [TYPE_BATCH, u8::from(*more)];
                [&head[..], &node.to_be_bytes(), bytes].concat()
            }
        })
    }

    /// Reads a message.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn decode(bytes: &[u8]) -> Result<Message, SchemaError> {
        let expected = |expected| Err(SchemaError::Expected { expected });
        match bytes {
            [TYPE_HAVE, rest @ ..] => Ok(Message::Have(Box::new(Have::from_bytes(rest)?))),
            [TYPE_BATCH, more @ (0 | 1), high, low, rest @ ..] => Ok(Message::Batch {
                node: usize::from(u16::from_be_bytes([*high, *low])),
                more: *more == 1,
                bytes: rest.into(),
            }),
            _ => expected("a message of a known type"),
        }
    }
}
