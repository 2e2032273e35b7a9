//! CAN frames and the numbers in them, as pure functions.
//!
//! Responsible for cutting a number out of the data bytes and giving it its unit, and
//! for putting one in. Not responsible for when a frame came or whether its device is believed.
//!
//! Bits are counted as in DBC files: bit 0 is the least significant bit of byte 0,
//! bit 8 that of byte 1. A little-endian signal is named by its least significant
//! bit and grows upwards; a big-endian signal is named by its most significant bit
//! and runs down inside a byte, then goes on at the top of the next byte.

use model::{Flaw, Reading};
use profile::can::{
    Bits, CanId, DATA_BYTES_MAX, Field, Frame as FrameSpec, Number, Selector, Signal, frame_length,
};

/// Bit of an error class that says that the controller has left the bus
/// (`CAN_ERR_BUSOFF` of the Linux kernel's `can/error.h`, which socketcand passes on).
pub const CLASS_BUS_OFF: u32 = 0x40;

/// Bit of an error class that says that the controller has come back to the bus
/// (`CAN_ERR_RESTARTED`, same source).
pub const CLASS_RESTARTED: u32 = 0x100;

/// Data bytes of a frame: a length that a frame can have, by construction.
///
/// More than eight bytes make a frame of CAN FD; shorter ones travel as classic frames,
/// which every node of an FD bus hears too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Data {
    bytes: [u8; DATA_BYTES_MAX],
    len: u8,
}

impl Data {
    /// The bytes as data of a frame; `None` when no frame has so many.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let len = bytes.len();
        if frame_length(len) != Some(len) {
            return None;
        }
        let mut data = Self {
            bytes: [0; DATA_BYTES_MAX],
            len: u8::try_from(len).ok()?,
        };
        data.bytes.get_mut(..len)?.copy_from_slice(bytes);
        Some(data)
    }

    /// The bytes that were sent.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.len))
            .unwrap_or(&self.bytes)
    }

    /// Whether only a frame of CAN FD carries so many bytes.
    #[must_use]
    pub fn is_fd(&self) -> bool {
        usize::from(self.len) > profile::can::CLASSIC_BYTES_MAX
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

impl Frame {
    /// Bits that the frame takes on the wire, stuff bits left out.
    ///
    /// ISO 11898-1: 47 bits around the data with 11-bit identifiers, 67 with 29-bit ones, the
    /// gap between frames included. A frame of CAN FD counts as if it never changed to the
    /// faster rate, which is the longest that it can take.
    #[must_use]
    pub fn bits(&self) -> u64 {
        let around = |id: &CanId| if id.is_standard() { 47 } else { 67 };
        match self {
            Self::Data { id, data } => around(id) + 8 * data.as_slice().len() as u64,
            Self::Remote { id } => around(id),
            // An error frame is six to twelve dominant bits, a delimiter and a gap.
            Self::Error { .. } => 23,
        }
    }
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
    if !(1..=64).contains(&signal.field.at.len) {
        return Reading::Bad(Flaw::Config);
    }
    let Some(raw) = extract(data, signal.field.at) else {
        return Reading::Bad(Flaw::NotImplemented);
    };
    if signal.not_implemented.is_some_and(|from| raw >= from) {
        return Reading::Bad(Flaw::NotImplemented);
    }
    let Some(value) = value(&signal.field, raw & signal.mask) else {
        return Reading::Bad(Flaw::NotImplemented);
    };
    let (low, high) = signal.range;
    if value.is_finite() && low <= value && value <= high {
        Reading::Good(value)
    } else {
        Reading::Bad(Flaw::OutOfRange)
    }
}

/// The value that raw bits stand for; `None` for a floating-point number that is none (NaN).
#[must_use]
pub fn value(field: &Field, raw: u64) -> Option<f64> {
    let number = match (field.number, field.at.len) {
        (Number::Unsigned, _) => raw as f64,
        (Number::Signed, len) => sign_extended(raw, len) as f64,
        (Number::Float, 32) => f64::from(f32::from_bits(u32::try_from(raw).ok()?)),
        (Number::Float, _) => f64::from_bits(raw),
    };
    (!number.is_nan()).then_some(number * field.factor + field.offset)
}

/// The raw bits of a value, rounded to the nearest; `None` when the field cannot carry it.
#[must_use]
pub fn raw(field: &Field, value: f64) -> Option<u64> {
    let number = (value - field.offset) / field.factor;
    if !number.is_finite() {
        return None;
    }
    let len = u32::from(field.at.len);
    let whole = number.round();
    match (field.number, len) {
        (Number::Float, 32) => {
            let single = number as f32;
            single.is_finite().then(|| u64::from(single.to_bits()))
        }
        (Number::Float, _) => Some(number.to_bits()),
        // Two to the power of the bits is exact as a float, the largest number below it is not.
        (Number::Unsigned, 1..=64) => {
            (whole >= 0.0 && whole < 2_f64.powi(len.cast_signed())).then_some(whole as u64)
        }
        (Number::Signed, 1..=64) => {
            let half = 2_f64.powi(len.cast_signed() - 1);
            (-half <= whole && whole < half)
                .then(|| (whole as i64).cast_unsigned() & u64::MAX >> (64 - len))
        }
        _ => None,
    }
}

/// Whether the data of a frame is this page of it.
#[must_use]
pub fn is_page(page: &[Selector], data: &[u8]) -> bool {
    page.iter().all(|selector| {
        extract(data, selector.at).is_some_and(|raw| {
            let mut ranges = selector.values.iter();
            ranges.any(|(low, high)| (*low..=*high).contains(&raw))
        })
    })
}

/// Whether an identity frame carries what the profile expects; `None` when it is no identity frame.
#[must_use]
pub fn identity_fits(frame: &FrameSpec, data: &[u8]) -> Option<bool> {
    frame.identify.as_ref().map(|text| data.starts_with(text))
}

/// The raw bits, the most significant first; `None` when one lies beyond the data.
#[must_use]
pub fn extract(data: &[u8], at: Bits) -> Option<u64> {
    let mut raw = 0_u64;
    for position in at.positions() {
        let byte = data.get(position / 8)?;
        raw = raw << 1 | u64::from(byte >> (position % 8) & 1);
    }
    Some(raw)
}

/// Puts raw bits into the data; bits beyond it are left out.
pub fn insert(data: &mut [u8], at: Bits, raw: u64) {
    let len = usize::from(at.len);
    for (n, position) in at.positions().enumerate() {
        let bit = (raw >> (len - 1 - n) & 1) as u8;
        if let Some(byte) = data.get_mut(position / 8) {
            *byte = *byte & !(1 << (position % 8)) | bit << (position % 8);
        }
    }
}

fn sign_extended(raw: u64, bits: u16) -> i64 {
    let unused = 64_u32.saturating_sub(u32::from(bits)).min(63);
    (raw << unused) as i64 >> unused
}

#[cfg(test)]
mod tests;
