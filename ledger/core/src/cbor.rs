//! The canonical encoding: a strict, deterministic subset of CBOR.
//!
//! RFC 8949 section 4.2.1 (core deterministic encoding), restricted to
//! unsigned and negative integers, byte strings, text strings and arrays of
//! definite length. Maps, tags, floats and simple values are refused. The
//! decoder accepts exactly what the encoder writes, so that two different byte
//! strings never decode to the same value.
//!
//! This module is not responsible for what the values mean: see the records.

use thiserror::Error;

/// Longest accepted encoding, in bytes.
/// Chosen: the bound on one atom (ledger design, property 21); it lets a
/// reader refuse a length before it allocates.
pub const ENCODED_BYTES_MAX: usize = 64 * 1024;

/// Deepest accepted nesting of arrays, in levels.
/// Chosen: the deepest record in use is body, payload, list, line, option: five
/// levels. One is left over; recursion stays bounded.
pub const DEPTH_MAX: usize = 6;

/// Most elements accepted in one array.
/// Chosen: a market interval of a laboratory has tens of fills; 4096 still fits
/// an atom of 64 KiB with short elements and bounds the allocation.
pub const ELEMENTS_MAX: usize = 4096;

/// One item of the accepted subset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An integer in -2^64 ..= 2^64-1, the range of CBOR major types 0 and 1.
    Int(i128),
    /// A byte string.
    Bytes(Vec<u8>),
    /// A text string in UTF-8.
    Text(String),
    /// An array of definite length.
    Array(Vec<Value>),
}

/// Why bytes are not a canonical encoding, with the offset of the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CborError {
    /// The bytes end inside an item.
    #[error("the encoding ends inside an item at byte {offset}")]
    Truncated {
        /// Offset of the item, in bytes.
        offset: usize,
    },
    /// Bytes follow the one expected item.
    #[error("{count} bytes follow the item that ends at byte {offset}")]
    Trailing {
        /// Offset of the first trailing byte.
        offset: usize,
        /// Number of trailing bytes.
        count: usize,
    },
    /// A number or length is not written in its shortest form.
    #[error("the number at byte {offset} is not in its shortest form")]
    NotShortest {
        /// Offset of the initial byte.
        offset: usize,
    },
    /// A major type or additional value outside the accepted subset.
    #[error("initial byte 0x{initial:02x} at byte {offset} is outside the accepted subset")]
    NotInSubset {
        /// Offset of the initial byte.
        offset: usize,
        /// The refused initial byte.
        initial: u8,
    },
    /// A text string is not UTF-8.
    #[error("the text at byte {offset} is not UTF-8")]
    NotUtf8 {
        /// Offset of the text.
        offset: usize,
    },
    /// Arrays are nested deeper than [`DEPTH_MAX`].
    #[error("arrays are nested deeper than {DEPTH_MAX} at byte {offset}")]
    TooDeep {
        /// Offset of the array.
        offset: usize,
    },
    /// An array has more elements than [`ELEMENTS_MAX`].
    #[error("the array at byte {offset} has {count} elements, more than {ELEMENTS_MAX}")]
    TooMany {
        /// Offset of the array.
        offset: usize,
        /// Announced number of elements.
        count: u64,
    },
    /// The encoding is longer than [`ENCODED_BYTES_MAX`].
    #[error("the encoding has {count} bytes, more than {ENCODED_BYTES_MAX}")]
    TooLong {
        /// Its length in bytes.
        count: usize,
    },
    /// Encoding the decoded value again gives other bytes.
    #[error("encoding the decoded value again gives other bytes")]
    NotCanonical,
    /// An integer outside the range of CBOR.
    #[error("the integer does not fit into 64 bits and a sign")]
    IntegerRange,
}

/// Major types of RFC 8949 section 3.1, in the three high bits.
const MAJOR_UINT: u8 = 0;
const MAJOR_NINT: u8 = 1;
const MAJOR_BYTES: u8 = 2;
const MAJOR_TEXT: u8 = 3;
const MAJOR_ARRAY: u8 = 4;

impl Value {
    /// The canonical bytes of this value.
    ///
    /// # Errors
    /// An integer out of range, or a value over the limits of this module.
    pub fn encode(&self) -> Result<Vec<u8>, CborError> {
        let mut out = Vec::with_capacity(256);
        self.write(&mut out, 0)?;
        match out.len() {
            0..=ENCODED_BYTES_MAX => Ok(out),
            count => Err(CborError::TooLong { count }),
        }
    }

    fn write(&self, out: &mut Vec<u8>, depth: usize) -> Result<(), CborError> {
        let offset = out.len();
        match self {
            Value::Int(n) => {
                let (major, magnitude) = if *n < 0 {
                    (MAJOR_NINT, -1 - *n)
                } else {
                    (MAJOR_UINT, *n)
                };
                let magnitude = u64::try_from(magnitude).map_err(|_| CborError::IntegerRange)?;
                write_head(out, major, magnitude);
            }
            Value::Bytes(bytes) => {
                write_head(out, MAJOR_BYTES, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
            Value::Text(text) => {
                write_head(out, MAJOR_TEXT, text.len() as u64);
                out.extend_from_slice(text.as_bytes());
            }
            Value::Array(items) => {
                if depth == DEPTH_MAX {
                    return Err(CborError::TooDeep { offset });
                }
                if items.len() > ELEMENTS_MAX {
                    return Err(CborError::TooMany {
                        offset,
                        count: items.len() as u64,
                    });
                }
                write_head(out, MAJOR_ARRAY, items.len() as u64);
                for item in items {
                    item.write(out, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    /// Decodes exactly one canonical item that fills `bytes`.
    ///
    /// # Errors
    /// Says what is not canonical and where.
    pub fn decode(bytes: &[u8]) -> Result<Value, CborError> {
        if bytes.len() > ENCODED_BYTES_MAX {
            return Err(CborError::TooLong { count: bytes.len() });
        }
        let mut cursor = Cursor { bytes, at: 0 };
        let value = cursor.item(0)?;
        if cursor.at != bytes.len() {
            return Err(CborError::Trailing {
                offset: cursor.at,
                count: bytes.len() - cursor.at,
            });
        }
        // The strict cursor should make this comparison redundant. It stays,
        // because the whole ledger rests on it and it costs one pass.
        if value.encode()? != bytes {
            return Err(CborError::NotCanonical);
        }
        Ok(value)
    }

    /// Decodes the canonical item at the beginning of `bytes` and gives it with
    /// its length, for a sequence of items (RFC 8742).
    ///
    /// # Errors
    /// As [`Value::decode`], except that bytes may follow.
    pub fn decode_first(bytes: &[u8]) -> Result<(Value, usize), CborError> {
        let within = &bytes[..bytes.len().min(ENCODED_BYTES_MAX)];
        let mut cursor = Cursor {
            bytes: within,
            at: 0,
        };
        let value = cursor.item(0)?;
        match value.encode()? == within[..cursor.at] {
            true => Ok((value, cursor.at)),
            false => Err(CborError::NotCanonical),
        }
    }
}

fn write_head(out: &mut Vec<u8>, major: u8, n: u64) {
    let major = major << 5;
    match n {
        0..=23 => out.push(major | n as u8),
        24..=0xff => out.extend_from_slice(&[major | 24, n as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&(n as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&n.to_be_bytes());
        }
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: u64, offset: usize) -> Result<&'a [u8], CborError> {
        let left = self.bytes.len() - self.at;
        let count = usize::try_from(count).ok().filter(|c| *c <= left);
        let count = count.ok_or(CborError::Truncated { offset })?;
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    /// Reads the initial byte and its argument; refuses overlong arguments.
    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let offset = self.at;
        let initial = self.take(1, offset)?[0];
        let (major, additional) = (initial >> 5, initial & 0x1f);
        let (width, shortest_from) = match additional {
            0..=23 => return Ok((major, u64::from(additional))),
            24 => (1, 24),
            25 => (2, 0x100),
            26 => (4, 0x1_0000),
            27 => (8, 0x1_0000_0000),
            _ => return Err(CborError::NotInSubset { offset, initial }),
        };
        let n = self
            .take(width, offset)?
            .iter()
            .fold(0u64, |n, b| n << 8 | u64::from(*b));
        if n < shortest_from {
            return Err(CborError::NotShortest { offset });
        }
        Ok((major, n))
    }

    fn item(&mut self, depth: usize) -> Result<Value, CborError> {
        let offset = self.at;
        let (major, n) = self.head()?;
        Ok(match major {
            MAJOR_UINT => Value::Int(i128::from(n)),
            MAJOR_NINT => Value::Int(-1 - i128::from(n)),
            MAJOR_BYTES => Value::Bytes(self.take(n, offset)?.to_vec()),
            MAJOR_TEXT => {
                let text = std::str::from_utf8(self.take(n, offset)?);
                Value::Text(text.map_err(|_| CborError::NotUtf8 { offset })?.to_owned())
            }
            MAJOR_ARRAY if depth == DEPTH_MAX => return Err(CborError::TooDeep { offset }),
            MAJOR_ARRAY if n > ELEMENTS_MAX as u64 => {
                return Err(CborError::TooMany { offset, count: n });
            }
            MAJOR_ARRAY => Value::Array(
                (0..n)
                    .map(|_| self.item(depth + 1))
                    .collect::<Result<_, _>>()?,
            ),
            _ => {
                return Err(CborError::NotInSubset {
                    offset,
                    initial: self.bytes[offset],
                });
            }
        })
    }
}

#[cfg(test)]
mod tests;
