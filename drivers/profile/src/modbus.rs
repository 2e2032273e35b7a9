//! Modbus profiles: registers, their decoding, and the recipes that write setpoints.

use std::time::Duration;

use model::Point;
use quantities::{ActivePower, Bounds, PowerRamp};

/// What a Modbus device says and takes.
#[derive(Clone, Debug, PartialEq)]
pub struct ModbusProfile {
    /// Unit identifier unless the rig says otherwise.
    pub unit: u8,
    /// Time to wait for an answer.
    pub timeout: Duration,
    /// Silence to keep before each request.
    pub min_gap: Duration,
    /// How long after a timeout a late answer may still come; requests wait for it to pass.
    pub late_window: Duration,
    /// Time to wait after connecting before the first request.
    pub connect_delay: Duration,
    /// Most registers per read.
    pub max_regs: u16,
    /// Largest hole, in registers, that a read may bridge.
    pub max_gap: u16,
    /// Serial settings of the maker, for RTU.
    pub serial: Option<SerialSettings>,
    /// Which function writes holding registers.
    pub write_function: WriteFunction,
    /// How addresses are found.
    pub layout: Layout,
    /// Registers that tell whether this is the right device at all, and rightly read; in order.
    pub identify: Vec<Identify>,
    /// Points that are read.
    pub points: Vec<RegisterPoint>,
    /// Setpoints that are written; as with the points, a canonical point may stand there several
    /// times in the SunSpec layout.
    pub controls: Vec<Control>,
    /// Counters that the controller moves on while the bench is armed.
    pub heartbeats: Vec<Heartbeat>,
}

impl ModbusProfile {
    /// The points that count in a device with these SunSpec models, as indices of [`Self::points`],
    /// and the canonical points that have no place in it although they should.
    #[must_use]
    pub fn places(&self, has: &dyn Fn(u16) -> bool) -> (Vec<usize>, Vec<Point>) {
        let mut taken: Vec<Point> = Vec::new();
        let mut indices = Vec::new();
        for (index, point) in self.points.iter().enumerate() {
            if !taken.contains(&point.point) && point.address.is_in(has) {
                taken.push(point.point);
                indices.push(index);
            }
        }
        let mut missing: Vec<Point> = Vec::new();
        for point in self.points.iter().map(|p| p.point) {
            let mut places = self.points.iter().filter(|p| p.point == point);
            let optional = |p: &RegisterPoint| match p.address {
                Address::Fixed { .. } => false,
                Address::Model { model, .. } => self.layout.is_optional(model),
            };
            if !taken.contains(&point) && !missing.contains(&point) && !places.all(optional) {
                missing.push(point);
            }
        }
        (indices, missing)
    }
}

/// A counter in the device that the controller moves on, so that the device knows that it is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// Where it stands.
    pub address: Address,
    /// Its type.
    pub encoding: Encoding,
    /// How often it is moved on.
    pub every: Duration,
}

/// Serial line settings; eight data bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SerialSettings {
    /// Bits per second.
    pub baud: u32,
    /// Parity.
    pub parity: Parity,
    /// Stop bits, 1 or 2.
    pub stop_bits: u8,
}

/// Parity of a serial line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parity {
    /// No parity bit.
    None,
    /// Even parity.
    Even,
    /// Odd parity.
    Odd,
}

/// Which function writes holding registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFunction {
    /// Function 6: one register at a time, for devices that refuse function 16.
    Single,
    /// Function 16: neighbours together, so that the device sees them at once.
    Multiple,
}

/// How register addresses are found.
#[derive(Clone, Debug, PartialEq)]
pub enum Layout {
    /// Addresses are fixed.
    Fixed,
    /// SunSpec: the chain of models is walked at 40000, 0, 50000; addresses are offsets in a model.
    SunSpec {
        /// Models that must be there; others are passed over.
        required: Vec<u16>,
        /// Of these, one must be there.
        one_of: Vec<u16>,
        /// Models that are used when they are there.
        optional: Vec<u16>,
    },
}

impl Layout {
    /// Whether a SunSpec model is one that this layout names.
    #[must_use]
    pub fn names(&self, model: u16) -> bool {
        match self {
            Self::Fixed => false,
            Self::SunSpec {
                required,
                one_of,
                optional,
            } => [required, one_of, optional]
                .iter()
                .any(|list| list.contains(&model)),
        }
    }

    /// Whether a device may be without this SunSpec model, and with no other in its place.
    #[must_use]
    pub fn is_optional(&self, model: u16) -> bool {
        match self {
            Self::Fixed => false,
            Self::SunSpec { optional, .. } => optional.contains(&model),
        }
    }

    /// The SunSpec models of a device as this layout expects it: what is required, the first of
    /// those of which one must be there, and what is optional.
    #[must_use]
    pub fn usual_models(&self) -> Vec<u16> {
        match self {
            Self::Fixed => Vec::new(),
            Self::SunSpec {
                required,
                one_of,
                optional,
            } => required
                .iter()
                .chain(one_of.first())
                .chain(optional)
                .copied()
                .collect(),
        }
    }
}

/// Which Modbus table a register stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Holding registers, read with function 3.
    Holding,
    /// Input registers, read with function 4.
    Input,
    /// Coils, read with function 1.
    Coil,
    /// Discrete inputs, read with function 2.
    Discrete,
}

/// Where a register stands: zero-based wire addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A fixed address in a table.
    Fixed {
        /// Table.
        table: Table,
        /// Zero-based wire address.
        address: u16,
    },
    /// An offset from the ID register of a SunSpec model (holding registers).
    Model {
        /// Model number.
        model: u16,
        /// Offset in registers; the ID register itself is 0, the length register 1.
        offset: u16,
    },
}

impl Address {
    /// Whether it is in a device with these SunSpec models.
    #[must_use]
    pub fn is_in(self, has: &dyn Fn(u16) -> bool) -> bool {
        match self {
            Self::Fixed { .. } => true,
            Self::Model { model, .. } => has(model),
        }
    }
}

/// Type of a value in registers; 32 and 64 bit types span 2 and 4 registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// One bit, from a coil or a discrete input.
    Bit,
    /// Unsigned 16 bit.
    U16,
    /// Signed 16 bit.
    I16,
    /// Unsigned 32 bit.
    U32,
    /// Signed 32 bit.
    I32,
    /// Unsigned 64 bit.
    U64,
    /// Signed 64 bit.
    I64,
    /// IEEE 754 single.
    F32,
}

impl DataType {
    /// Number of registers (or bits) that a value takes.
    #[must_use]
    pub fn registers(self) -> u16 {
        match self {
            Self::Bit | Self::U16 | Self::I16 => 1,
            Self::U32 | Self::I32 | Self::F32 => 2,
            Self::U64 | Self::I64 => 4,
        }
    }
}

/// Order of the words of a value that spans several registers; bytes inside a word are big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordOrder {
    /// Most significant word first (ABCD).
    BigFirst,
    /// Least significant word first (CDAB).
    LittleFirst,
}

/// How a raw number becomes a value in the point's base unit: `value = raw * factor * 10^scale * sign`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Encoding {
    /// Type of the raw number.
    pub data: DataType,
    /// Order of its words.
    pub order: WordOrder,
    /// Fixed factor from raw to base unit, with the unit's multiple and the vendor's sign in it.
    pub factor: f64,
    /// A register (signed, power of ten) that scales the raw number; read in the same request.
    pub scale: Option<Address>,
    /// Raw bit patterns that mean "not implemented".
    pub not_implemented: Patterns,
}

/// Raw bit patterns that mean "not implemented"; some devices have several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    bits: [u64; Self::MAX],
    len: usize,
}

impl Patterns {
    /// Most patterns of a value.
    /// Chosen: no known device has more than two (all ones, and the sign bit alone).
    pub const MAX: usize = 4;

    /// The patterns of a list; `None` when it has more than [`Self::MAX`].
    #[must_use]
    pub fn of(list: &[u64]) -> Option<Self> {
        let mut patterns = Self::default();
        patterns.bits.get_mut(..list.len())?.copy_from_slice(list);
        patterns.len = list.len();
        Some(patterns)
    }

    /// All patterns, the one that a device tells first in front.
    #[must_use]
    pub fn as_slice(&self) -> &[u64] {
        self.bits.get(..self.len).unwrap_or_default()
    }

    /// Whether these bits mean "not implemented".
    #[must_use]
    pub fn contains(&self, bits: u64) -> bool {
        self.as_slice().contains(&bits)
    }
}

impl From<Option<u64>> for Patterns {
    fn from(pattern: Option<u64>) -> Self {
        pattern.map_or_else(Self::default, |bits| Self {
            bits: [bits, 0, 0, 0],
            len: 1,
        })
    }
}

/// How often a point is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Poll {
    /// Every cycle of the fast class (about the control period).
    Fast,
    /// Every second or so.
    Normal,
    /// Every minute or so.
    Slow,
    /// Once after connecting.
    Once,
}

/// A point that is read.
///
/// In the SunSpec layout a canonical point may stand there several times, each time in another
/// model: the first whose model the device has is the one that counts (see [`ModbusProfile::places`]).
#[derive(Clone, Debug, PartialEq)]
pub struct RegisterPoint {
    /// Canonical name.
    pub point: Point,
    /// Where it stands.
    pub address: Address,
    /// How it is decoded.
    pub encoding: Encoding,
    /// Values outside are not believed, in the base unit.
    pub range: (f64, f64),
    /// How often it is read.
    pub poll: Poll,
    /// A counter that only grows: a smaller value is believed when the next read confirms it.
    pub monotonic: bool,
}

/// A register whose value must lie in a range, or this is not the device it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Identify {
    /// Where it stands.
    pub address: Address,
    /// How it is decoded.
    pub encoding: Encoding,
    /// Values that prove the device.
    pub range: (f64, f64),
}

/// A setpoint that can be written: the recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// Canonical name: `ctl.p_set`, `ctl.p_lim`, `ctl.q_set` or `switch.on`.
    pub point: Point,
    /// Fields to write, in this order; neighbours go in one request.
    pub fields: Vec<Field>,
    /// The fields that are read back and compared.
    pub readback: Readback,
    /// Values that the device takes, in the base unit, if narrower than the rating.
    pub range: Option<Bounds<ActivePower>>,
    /// The device takes no more than this point's value now.
    pub ceiling: Option<Point>,
    /// The device takes no less than the negative of this point's value now.
    pub floor: Option<Point>,
    /// Fastest change that the device bears.
    pub ramp: Option<PowerRamp>,
    /// Rewritten at this interval, so that the device's watchdog stays quiet.
    pub refresh: Option<Duration>,
    /// Value for a safe end, in the base unit.
    pub safe: f64,
    /// Whether the device itself falls back when it hears nothing.
    pub comms_loss: CommsLoss,
}

/// What the device does when it hears nothing more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CommsLoss {
    /// It reverts by itself after this time (the default of the profile; a rig's `revert` wins).
    Reverts {
        /// Time without a write.
        after: Duration,
    },
    /// It keeps the last value for ever.
    Holds,
}

/// A field of a write recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Where it is written.
    pub address: Address,
    /// How it is encoded.
    pub encoding: Encoding,
    /// What is written.
    pub value: FieldValue,
}

/// What is written into a field.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// Always this raw number.
    Constant(i64),
    /// The setpoint, in its base unit.
    Setpoint,
    /// The setpoint without its sign; another field tells the direction.
    Magnitude,
    /// The setpoint where it is negative (charging), as a positive number; else zero.
    NegativePart,
    /// The setpoint where it is positive (discharging); else zero.
    PositivePart,
    /// A raw number that tells the direction of the setpoint.
    BySign {
        /// For power into the AC bus.
        positive: i64,
        /// For no power.
        zero: i64,
        /// For power out of the AC bus.
        negative: i64,
    },
    /// The setpoint in percent of another point's value.
    PercentOf {
        /// The reference, such as `rating.p`.
        reference: Point,
        /// Smallest percentage that may be written (some inverters trip to standby at 0).
        min: f64,
    },
    /// The revert time in seconds.
    RevertSeconds,
}

impl FieldValue {
    /// Whether the field depends on the setpoint, so that it has to be proved.
    #[must_use]
    pub fn carries_setpoint(&self) -> bool {
        match self {
            Self::Setpoint
            | Self::Magnitude
            | Self::NegativePart
            | Self::PositivePart
            | Self::BySign { .. }
            | Self::PercentOf { .. } => true,
            Self::Constant(_) | Self::RevertSeconds => false,
        }
    }
}

/// How a written setpoint is proved from the device's own registers.
#[derive(Clone, Debug, PartialEq)]
pub struct Readback {
    /// Indices of the fields (in [`Control::fields`]) that depend on the setpoint, in order.
    pub fields: Vec<usize>,
    /// Largest difference that still counts as equal, in the base unit; a direction must be equal.
    pub tolerance: f64,
}
