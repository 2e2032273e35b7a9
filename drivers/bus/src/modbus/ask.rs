//! Requests, and which answer belongs to which: pure.
//!
//! Responsible for what a request looks like to the client library, how long it and its
//! answer are on the wire, and whether a response is the answer to it. It is not
//! responsible for sending (see [`super::link`]).

use std::borrow::Cow;

use profile::modbus::Table;
use tokio_modbus::{Request, Response};

use crate::Permit;

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Read registers or bits.
    Read {
        /// Table.
        table: Table,
        /// First register, zero-based.
        address: u16,
        /// How many.
        count: u16,
    },
    /// Function 16.
    WriteRegisters {
        /// The bench is armed.
        permit: Permit,
        /// First register, zero-based.
        address: u16,
        /// What is written.
        words: &'a [u16],
    },
    /// Function 6.
    WriteRegister {
        /// The bench is armed.
        permit: Permit,
        /// The register, zero-based.
        address: u16,
        /// What is written.
        word: u16,
    },
    /// Function 5.
    WriteCoil {
        /// The bench is armed.
        permit: Permit,
        /// The coil, zero-based.
        address: u16,
        /// Whether it is set.
        on: bool,
    },
}

impl Ask<'_> {
    pub(super) fn request(&self) -> Request<'_> {
        match *self {
            Self::Read {
                table,
                address,
                count,
            } => match table {
                Table::Holding => Request::ReadHoldingRegisters(address, count),
                Table::Input => Request::ReadInputRegisters(address, count),
                Table::Coil => Request::ReadCoils(address, count),
                Table::Discrete => Request::ReadDiscreteInputs(address, count),
            },
            Self::WriteRegisters { address, words, .. } => {
                Request::WriteMultipleRegisters(address, Cow::Borrowed(words))
            }
            Self::WriteRegister { address, word, .. } => {
                Request::WriteSingleRegister(address, word)
            }
            Self::WriteCoil { address, on, .. } => Request::WriteSingleCoil(address, on),
        }
    }

    /// What the answer looks like on the line: its function and its length in bytes, checksum included.
    pub(super) fn shape(&self) -> Shape {
        let (function, bytes) = match *self {
            Self::Read { table, count, .. } => match table {
                Table::Holding => (3, 5 + 2 * usize::from(count)),
                Table::Input => (4, 5 + 2 * usize::from(count)),
                Table::Coil => (1, 5 + usize::from(count).div_ceil(8)),
                Table::Discrete => (2, 5 + usize::from(count).div_ceil(8)),
            },
            Self::WriteRegisters { .. } => (16, 8),
            Self::WriteRegister { .. } => (6, 8),
            Self::WriteCoil { .. } => (5, 8),
        };
        Shape { function, bytes }
    }

    /// First register, how many, and the words that are written, for whoever records it.
    pub(super) fn told(&self) -> (u16, u16, Vec<u16>) {
        match *self {
            Self::Read { address, count, .. } => (address, count, Vec::new()),
            Self::WriteRegisters { address, words, .. } => {
                let count = u16::try_from(words.len()).unwrap_or(u16::MAX);
                (address, count, words.to_vec())
            }
            Self::WriteRegister { address, word, .. } => (address, 1, vec![word]),
            Self::WriteCoil { address, on, .. } => (address, 1, vec![u16::from(on)]),
        }
    }

    /// Bytes of the request on an RTU line.
    pub(super) fn request_bytes(&self) -> usize {
        match self {
            Self::Read { .. } | Self::WriteRegister { .. } | Self::WriteCoil { .. } => 8,
            Self::WriteRegisters { words, .. } => 9 + 2 * words.len(),
        }
    }

    /// The words of a response, if it is the answer to this request.
    pub(super) fn accept(&self, response: Response) -> Result<Vec<u16>, String> {
        let expected = |what: &str, got: String| Err(format!("expected {what}, got {got}"));
        match (*self, response) {
            (
                Self::Read {
                    table: Table::Holding,
                    count,
                    ..
                },
                Response::ReadHoldingRegisters(words),
            )
            | (
                Self::Read {
                    table: Table::Input,
                    count,
                    ..
                },
                Response::ReadInputRegisters(words),
            ) => {
                if words.len() == usize::from(count) {
                    Ok(words)
                } else {
                    expected(&format!("{count} registers"), words.len().to_string())
                }
            }
            (
                Self::Read {
                    table: Table::Coil,
                    count,
                    ..
                },
                Response::ReadCoils(bits),
            )
            | (
                Self::Read {
                    table: Table::Discrete,
                    count,
                    ..
                },
                Response::ReadDiscreteInputs(bits),
            ) => {
                // Bits come in whole bytes; those beyond the count are padding.
                if bits.len() == usize::from(count).div_ceil(8) * 8 {
                    let bits = bits.iter().take(count.into());
                    Ok(bits.map(|b| u16::from(*b)).collect())
                } else {
                    expected(&format!("{count} bits"), bits.len().to_string())
                }
            }
            (
                Self::WriteRegisters { address, words, .. },
                Response::WriteMultipleRegisters(echo, count),
            ) => {
                if echo == address && usize::from(count) == words.len() {
                    Ok(Vec::new())
                } else {
                    expected(
                        &format!("an echo of {} registers at {address}", words.len()),
                        format!("{count} at {echo}"),
                    )
                }
            }
            (
                Self::WriteRegister { address, word, .. },
                Response::WriteSingleRegister(echo, written),
            ) => {
                if echo == address && written == word {
                    Ok(Vec::new())
                } else {
                    expected(
                        &format!("an echo of register {address} = {word}"),
                        format!("{echo} = {written}"),
                    )
                }
            }
            (Self::WriteCoil { address, on, .. }, Response::WriteSingleCoil(echo, state)) => {
                if echo == address && state == on {
                    Ok(Vec::new())
                } else {
                    expected(
                        &format!("an echo of coil {address} = {on}"),
                        format!("{echo} = {state}"),
                    )
                }
            }
            (_, other) => expected("another function", format!("{:?}", other.function_code())),
        }
    }
}

/// Function and length of an answer: what tells a late one from the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) function: u8,
    pub(super) bytes: usize,
}

/// A request whose answer has another shape than that of `ask`; the lengths take turns, so that
/// the late answer to one probe is not taken for that to the next.
pub(super) fn probe(ask: Ask<'_>, turn: u16) -> Option<Ask<'static>> {
    let Ask::Read {
        table,
        address,
        count,
    } = ask
    else {
        // A late echo repeats what was written: it cannot be mistaken for anything else.
        return None;
    };
    let turn = turn % 4;
    Some(match table {
        Table::Holding | Table::Input => {
            let other = if count > 4 {
                count - 1 - turn
            } else {
                // One to five registers without the count itself.
                let candidate = 1 + turn;
                candidate + u16::from(candidate >= count)
            };
            let address = address.min(u16::MAX - other);
            Ask::Read {
                table,
                address,
                count: other,
            }
        }
        // Few bits fit in one byte whatever their number: another function it must be.
        Table::Coil | Table::Discrete => Ask::Read {
            table: Table::Holding,
            address: 0,
            count: 1 + turn,
        },
    })
}
