//! CAN profiles: frames and the signals in them.

use std::time::Duration;

use model::Point;

/// What a CAN device says and wants to hear.
#[derive(Clone, Debug, PartialEq)]
pub struct CanProfile {
    /// Bit rate in bits per second, for links that set it.
    pub bitrate: u32,
    /// Frames that the device sends.
    pub frames: Vec<Frame>,
    /// Frames that it wants to hear, at which interval.
    pub keep_alive: Vec<KeepAlive>,
}

/// A CAN identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CanId {
    /// 11 bit.
    Standard(u16),
    /// 29 bit.
    Extended(u32),
}

/// A frame that the device sends.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Its identifier.
    pub id: CanId,
    /// Fewest data bytes; a shorter frame is corrupt. A signal beyond the end of a frame
    /// that is long enough is merely absent from it.
    pub len_min: usize,
    /// How often it comes.
    pub period: Duration,
    /// Silence after which its points are not believed any more.
    pub timeout: Duration,
    /// Text that the bytes must begin with, for identity frames.
    pub identify: Option<Vec<u8>>,
    /// What stands in it.
    pub signals: Vec<Signal>,
}

/// Byte order of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first (Intel).
    Little,
    /// Most significant byte first (Motorola).
    Big,
}

/// A number in a frame. `value = raw * factor + offset` in the point's base unit, sign included.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Canonical name.
    pub point: Point,
    /// First bit. Little-endian: least significant bit, counted from bit 0 of byte 0 upwards.
    /// Big-endian: most significant bit in the DBC numbering.
    pub start_bit: u16,
    /// Number of bits, 1 to 64.
    pub bits: u16,
    /// Byte order.
    pub order: ByteOrder,
    /// Whether the raw number is two's complement.
    pub signed: bool,
    /// Factor from raw to base unit, with the vendor's sign in it.
    pub factor: f64,
    /// Offset in the base unit.
    pub offset: f64,
    /// Values outside are not believed, in the base unit.
    pub range: (f64, f64),
}

/// A frame that the device wants to hear.
#[derive(Clone, Debug, PartialEq)]
pub struct KeepAlive {
    /// Its identifier.
    pub id: CanId,
    /// Its bytes.
    pub data: Vec<u8>,
    /// How often.
    pub every: Duration,
}
