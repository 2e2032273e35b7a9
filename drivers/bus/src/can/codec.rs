//! CAN frames and the signals in them, as pure functions.
//!
//! Responsible for cutting a number out of the data bytes and giving it its unit.
//! Not responsible for when a frame came or whether its device is believed.
//!
//! Bits are counted as in DBC files: bit 0 is the least significant bit of byte 0,
//! bit 8 that of byte 1. A little-endian signal is named by its least significant
//! bit and grows upwards; a big-endian signal is named by its most significant bit
//! and runs down inside a byte, then goes on at the top of the next byte.

use model::{Flaw, Reading};
use profile::can::{ByteOrder, CanId, Frame as FrameSpec, Signal};

/// Most data bytes of a classic CAN frame (ISO 11898-1).
pub const DATA_BYTES_MAX: usize = 8;

/// Bit of an error class that says that the controller has left the bus
/// (`CAN_ERR_BUSOFF` of the Linux kernel's `can/error.h`, which socketcand passes on).
pub const CLASS_BUS_OFF: u32 = 0x40;

/// Data bytes of a classic frame: at most eight, by construction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Data {
    bytes: [u8; DATA_BYTES_MAX],
    len: usize,
}

impl Data {
    /// The bytes as data of a frame; `None` when there are more than eight.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut data = Self {
            bytes: [0; DATA_BYTES_MAX],
            len: bytes.len(),
        };
        data.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(data)
    }

    /// The bytes that were sent.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_slice().fmt(f)
    }
}

/// What comes over a CAN bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A frame with data.
    Data {
        /// Identifier.
        id: CanId,
        /// Data bytes.
        data: Data,
    },
    /// A request for a frame (RTR): it has a length and no data.
    Remote {
        /// Identifier that is asked for.
        id: CanId,
    },
    /// The controller reports an error on the bus.
    Error {
        /// Error class, bits as in the kernel's `can/error.h`.
        class: u32,
    },
}

/// One signal of a frame.
///
/// A frame shorter than the profile demands is corrupt. A signal beyond the end of
/// a frame that is long enough is one that this device does not have.
#[must_use]
pub fn decode(frame: &FrameSpec, signal: &Signal, data: &[u8]) -> Reading<f64> {
    if data.len() < frame.len_min {
        return Reading::Bad(Flaw::Corrupt);
    }
    if !(1..=64).contains(&signal.bits) {
        return Reading::Bad(Flaw::Config);
    }
    let Some(raw) = extract(data, signal) else {
        return Reading::Bad(Flaw::NotImplemented);
    };
    let number = if signal.signed {
        sign_extended(raw, signal.bits) as f64
    } else {
        raw as f64
    };
    let value = number * signal.factor + signal.offset;
    let (low, high) = signal.range;
    if value.is_finite() && low <= value && value <= high {
        Reading::Good(value)
    } else {
        Reading::Bad(Flaw::OutOfRange)
    }
}

/// Whether an identity frame carries what the profile expects; `None` when it is no identity frame.
#[must_use]
pub fn identity_fits(frame: &FrameSpec, data: &[u8]) -> Option<bool> {
    frame.identify.as_ref().map(|text| data.starts_with(text))
}

/// The raw bits, the most significant first; `None` when one lies beyond the data.
fn extract(data: &[u8], signal: &Signal) -> Option<u64> {
    let mut raw = 0_u64;
    for position in positions(signal) {
        let byte = data.get(position / 8)?;
        raw = raw << 1 | u64::from(byte >> (position % 8) & 1);
    }
    Some(raw)
}

/// Where the bits of a signal stand, from the most significant to the least.
fn positions(signal: &Signal) -> impl Iterator<Item = usize> + use<> {
    let (start, bits, order) = (
        usize::from(signal.start_bit),
        usize::from(signal.bits),
        signal.order,
    );
    (0..bits).map(move |n| match order {
        ByteOrder::Little => start + (bits - 1 - n),
        ByteOrder::Big => {
            // Counted from the top of byte 0, neighbours of a big-endian signal are neighbours.
            let from_top = start / 8 * 8 + (7 - start % 8) + n;
            from_top / 8 * 8 + (7 - from_top % 8)
        }
    })
}

fn sign_extended(raw: u64, bits: u16) -> i64 {
    let unused = 64 - u32::from(bits);
    (raw << unused) as i64 >> unused
}

/// Puts a raw number into the data: the inverse of [`extract`], for tests.
#[cfg(test)]
pub(crate) fn insert(data: &mut [u8], signal: &Signal, raw: u64) {
    let places: Vec<usize> = positions(signal).collect();
    for (n, position) in places.iter().rev().enumerate() {
        let bit = (raw >> n & 1) as u8;
        let byte = &mut data[position / 8];
        *byte = *byte & !(1 << (position % 8)) | bit << (position % 8);
    }
}

#[cfg(test)]
mod tests;
