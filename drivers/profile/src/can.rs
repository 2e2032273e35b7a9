//! CAN profiles: frames, the numbers in them, and the frames that set something.

use std::time::Duration;

use model::Point;
use quantities::{ActivePower, Bounds};

use crate::modbus::CommsLoss;

/// Most data bytes of a frame: of an FD frame; a classic one carries eight (ISO 11898-1).
pub const DATA_BYTES_MAX: usize = 64;

/// Most data bytes of a classic frame (ISO 11898-1).
pub const CLASSIC_BYTES_MAX: usize = 8;

/// Lengths that a frame of more than eight bytes can have (ISO 11898-1, data length codes 9 to 15).
pub const FD_LENGTHS: [usize; 7] = [12, 16, 20, 24, 32, 48, 64];

/// The shortest length that a frame can have and that holds so many bytes; `None` beyond 64.
#[must_use]
pub fn frame_length(bytes: usize) -> Option<usize> {
    if bytes <= CLASSIC_BYTES_MAX {
        return Some(bytes);
    }
    FD_LENGTHS.iter().copied().find(|length| *length >= bytes)
}

/// What a CAN device says, wants to hear and takes.
#[derive(Clone, Debug, PartialEq)]
pub struct CanProfile {
    /// Bit rate in bits per second, for links that set it.
    pub bitrate: u32,
    /// Frames that the device sends.
    pub frames: Vec<Frame>,
    /// Frames that it wants to hear, at which interval.
    pub keep_alive: Vec<KeepAlive>,
    /// Setpoints that it takes.
    pub controls: Vec<Control>,
}

/// A CAN identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CanId {
    /// 11 bit.
    Standard(u16),
    /// 29 bit.
    Extended(u32),
}

impl CanId {
    /// Largest 11-bit identifier (ISO 11898-1).
    pub const STANDARD_MAX: u16 = 0x7FF;
    /// Largest 29-bit identifier (ISO 11898-1).
    pub const EXTENDED_MAX: u32 = 0x1FFF_FFFF;

    /// The number alone.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Standard(id) => u32::from(id),
            Self::Extended(id) => id,
        }
    }

    /// Whether this is an 11-bit identifier.
    #[must_use]
    pub fn is_standard(self) -> bool {
        matches!(self, Self::Standard(_))
    }
}

impl std::fmt::Display for CanId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Standard(id) => write!(f, "0x{id:03X}"),
            Self::Extended(id) => write!(f, "0x{id:08X}"),
        }
    }
}

/// A frame that the device sends, or one page of a frame whose meaning changes with a number in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Its identifier.
    pub id: CanId,
    /// Bits of the identifier that must fit. All of them, unless the device chooses some itself,
    /// as J1939 devices choose priority and source address.
    pub id_mask: u32,
    /// The page: numbers in the data that must have one of their values. Empty = every such frame.
    pub page: Vec<Selector>,
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

impl Frame {
    /// Whether a frame on the wire has this frame's identifier.
    #[must_use]
    pub fn has_id(&self, id: CanId) -> bool {
        self.id.is_standard() == id.is_standard()
            && self.id.number() & self.id_mask == id.number() & self.id_mask
    }
}

/// Byte order of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ByteOrder {
    /// Least significant byte first (Intel).
    Little,
    /// Most significant byte first (Motorola).
    Big,
}

/// Where a number stands in the data of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bits {
    /// First bit. Little-endian: least significant bit, counted from bit 0 of byte 0 upwards.
    /// Big-endian: most significant bit in the DBC numbering.
    pub start: u16,
    /// Number of bits, 1 to 64.
    pub len: u16,
    /// Byte order.
    pub order: ByteOrder,
}

impl Bits {
    /// Where the bits stand, as `byte * 8 + bit`, from the most significant to the least.
    pub fn positions(self) -> impl Iterator<Item = usize> {
        let (start, len) = (usize::from(self.start), usize::from(self.len));
        (0..len).map(move |n| match self.order {
            ByteOrder::Little => start + (len - 1 - n),
            ByteOrder::Big => {
                // Counted from the top of byte 0, neighbours of a big-endian number are neighbours.
                let from_top = start / 8 * 8 + (7 - start % 8) + n;
                from_top / 8 * 8 + (7 - from_top % 8)
            }
        })
    }

    /// The last byte that the number touches; `None` when it has no bits.
    #[must_use]
    pub fn last_byte(self) -> Option<usize> {
        self.positions().map(|p| p / 8).max()
    }
}

/// What the bits of a number mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// A whole number without sign.
    Unsigned,
    /// A whole number in two's complement.
    Signed,
    /// IEEE 754, 32 or 64 bits.
    Float,
}

/// A number in a frame. `value = raw * factor + offset` in the base unit, sign included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field {
    /// Where it stands.
    pub at: Bits,
    /// What its bits mean.
    pub number: Number,
    /// Factor from raw to base unit, with the vendor's sign in it.
    pub factor: f64,
    /// Offset in the base unit.
    pub offset: f64,
}

/// A number that tells the pages of a frame apart (the multiplexer of DBC files).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    /// Where it stands; a whole number without sign.
    pub at: Bits,
    /// Ranges of raw numbers, both ends included, of which one must be met; never empty.
    pub values: Vec<(u64, u64)>,
}

/// A value that the device says.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Canonical name.
    pub point: Point,
    /// Where and how it stands in the frame.
    pub field: Field,
    /// Bits of the raw number that count, for sets of flags; all ones otherwise.
    pub mask: u64,
    /// Raw numbers from this one upwards mean that the device does not have the value.
    pub not_implemented: Option<u64>,
    /// Values outside are not believed, in the base unit.
    pub range: (f64, f64),
}

/// A frame that the device wants to hear.
#[derive(Clone, Debug, PartialEq)]
pub struct KeepAlive {
    /// Its identifier.
    pub id: CanId,
    /// Its bytes, before live values are put in.
    pub data: Vec<u8>,
    /// How often.
    pub every: Duration,
    /// Values of the device itself that are said back to it. While one of them is not known,
    /// the frame is not sent.
    pub values: Vec<(Point, Field)>,
    /// The device says nothing before it hears this frame, and falls silent when it has not come
    /// for so long; `None` when it speaks unasked.
    pub wakes_for: Option<Duration>,
}

/// A setpoint that the device takes, as a frame that is sent again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// Canonical name: `ctl.p_set`, `ctl.p_lim`, `ctl.q_set` or `switch.on`.
    pub point: Point,
    /// Identifier of the frame. Controls with the same one share the frame.
    pub id: CanId,
    /// Data bytes of the frame.
    pub len: usize,
    /// What is written into it, besides zeros.
    pub fields: Vec<ControlField>,
    /// Values that the device takes, in the base unit, if narrower than the rating.
    pub range: Option<Bounds<ActivePower>>,
    /// Largest difference between the setpoint and what the device says back, in the base unit.
    pub tolerance: f64,
    /// Time within which the device's own frame must show the setpoint.
    pub confirm_within: Duration,
    /// Sent again at this interval.
    pub refresh: Option<Duration>,
    /// Value for a safe end, in the base unit.
    pub safe: f64,
    /// Whether the device itself falls back when it hears nothing.
    pub comms_loss: CommsLoss,
}

/// A field of a control's frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ControlField {
    /// The setpoint, in its base unit.
    Setpoint(Field),
    /// Always this raw number.
    Constant(Bits, u64),
    /// One more with every frame, and from the start again at its end.
    Counter(Bits),
}

impl ControlField {
    /// Where it stands.
    #[must_use]
    pub fn at(&self) -> Bits {
        match self {
            Self::Setpoint(field) => field.at,
            Self::Constant(at, _) | Self::Counter(at) => *at,
        }
    }
}
