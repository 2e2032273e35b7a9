//! Registers at fixed addresses, built from a profile's points and controls.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::Point;
use profile::modbus::{
    Address, CommsLoss, DataType, Encoding, FieldValue, ModbusProfile, Patterns, Table,
    WriteFunction,
};

use super::image::Exception;
use super::number::{from_bits, from_words, to_bits, to_words};
use crate::device::Nameplate;
use crate::world::World;

/// Exponent of a scale register while nothing else is known of it.
/// Chosen: none; the factor alone scales, unless the type would be too small.
const PLAIN_SCALE: i16 = 0;

/// Registers at fixed addresses.
#[derive(Clone, Debug)]
pub struct FixedImage {
    slots: Vec<Slot>,
    /// Which slot covers a register, and which of its words.
    places: BTreeMap<(Table, u16), (usize, u16)>,
    controls: Vec<ControlImage>,
    /// Whether function 16 is known.
    takes_many: bool,
    /// Longest hole that a read may bridge; such a hole reads as zero.
    max_gap: u16,
    nameplate: Nameplate,
}

#[derive(Clone, Debug)]
struct Slot {
    table: Table,
    address: u16,
    encoding: Encoding,
    scale: i16,
    content: Content,
    /// What was last written here.
    written: Option<u64>,
}

#[derive(Clone, Debug)]
enum Content {
    /// A value of the device.
    Value(Point),
    /// A constant raw number.
    Raw(u64),
    /// A field of a control.
    Field { control: usize, value: FieldValue },
}

#[derive(Clone, Debug)]
struct ControlImage {
    point: Point,
    slots: Vec<usize>,
    revert: Option<Duration>,
}

impl FixedImage {
    /// The registers of a profile; points of SunSpec models are passed over.
    #[must_use]
    pub fn new(profile: &ModbusProfile, nameplate: Nameplate) -> Self {
        let mut image = Self {
            slots: Vec::new(),
            places: BTreeMap::new(),
            controls: Vec::new(),
            takes_many: profile.write_function == WriteFunction::Multiple,
            max_gap: profile.max_gap,
            nameplate,
        };
        let scales = scales(profile);
        let scale_of = |encoding: &Encoding| {
            encoding
                .scale
                .and_then(fixed)
                .and_then(|place| scales.get(&place).copied())
                .unwrap_or(PLAIN_SCALE)
        };
        // Controls come first: where a point reads a control's field, the field is writable.
        for (index, control) in profile.controls.iter().enumerate() {
            let mut slots = Vec::new();
            for field in &control.fields {
                let content = Content::Field {
                    control: index,
                    value: field.value.clone(),
                };
                let scale = scale_of(&field.encoding);
                if let Some(slot) = image.add(field.address, field.encoding, scale, content) {
                    slots.push(slot);
                }
            }
            image.controls.push(ControlImage {
                point: control.point,
                slots,
                revert: match control.comms_loss {
                    CommsLoss::Reverts { after } => Some(after),
                    CommsLoss::Holds => None,
                },
            });
        }
        for point in &profile.points {
            let content = Content::Value(point.point);
            let scale = scale_of(&point.encoding);
            image.add(point.address, point.encoding, scale, content);
        }
        for identify in &profile.identify {
            let (low, high) = identify.range;
            let raw = raw_of(0.5 * (low + high), &identify.encoding, PLAIN_SCALE);
            let bits = to_bits(
                Some(raw),
                identify.encoding.data,
                identify.encoding.not_implemented,
            );
            image.add(
                identify.address,
                identify.encoding,
                PLAIN_SCALE,
                Content::Raw(bits),
            );
        }
        for ((table, address), scale) in scales {
            let encoding = Encoding {
                data: DataType::I16,
                order: profile::modbus::WordOrder::BigFirst,
                factor: 1.0,
                scale: None,
                not_implemented: Patterns::default(),
            };
            image.add(
                Address::Fixed { table, address },
                encoding,
                PLAIN_SCALE,
                Content::Raw(u64::from(scale as u16)),
            );
        }
        image
    }

    fn add(
        &mut self,
        address: Address,
        encoding: Encoding,
        scale: i16,
        content: Content,
    ) -> Option<usize> {
        let (table, address) = fixed(address)?;
        let words = encoding.data.registers();
        let slot = self.slots.len();
        let place = |n: u16| (table, address.saturating_add(n));
        if (0..words).any(|n| self.places.contains_key(&place(n))) {
            return None;
        }
        for n in 0..words {
            self.places.insert(place(n), (slot, n));
        }
        self.slots.push(Slot {
            table,
            address,
            encoding,
            scale,
            content,
            written: None,
        });
        Some(slot)
    }

    /// Whether several registers can be written in one request.
    #[must_use]
    pub fn takes_many(&self) -> bool {
        self.takes_many
    }

    /// Reads registers.
    ///
    /// # Errors
    /// Exception 2 when a register is neither mapped nor in a hole that may be bridged.
    pub fn read(
        &self,
        world: &World,
        device: usize,
        table: Table,
        address: u16,
        count: u16,
    ) -> Result<Vec<u16>, Exception> {
        let end = u32::from(address) + u32::from(count);
        if end > 0x1_0000 {
            return Err(Exception::IllegalAddress);
        }
        let mut words = Vec::with_capacity(usize::from(count));
        let mut at = u32::from(address);
        while at < end {
            let register = at as u16;
            match self.places.get(&(table, register)) {
                Some(&(slot, word)) => {
                    let Some(slot) = self.slots.get(slot) else {
                        return Err(Exception::IllegalAddress);
                    };
                    let data = slot.encoding.data;
                    let bits = self.bits(slot, world, device);
                    let all = to_words(bits, data, slot.encoding.order);
                    let wanted = (end - at).min(u32::from(data.registers() - word)) as usize;
                    words.extend(all.iter().skip(usize::from(word)).take(wanted));
                    at += wanted as u32;
                }
                None if self.is_bridgeable(table, register) => {
                    words.push(0);
                    at += 1;
                }
                None => return Err(Exception::IllegalAddress),
            }
        }
        Ok(words)
    }

    /// Writes registers that belong to controls, and lets the device act.
    ///
    /// # Errors
    /// Exception 2 when a register belongs to no control; 3 when the device does not take it.
    pub fn write(
        &mut self,
        world: &mut World,
        device: usize,
        table: Table,
        address: u16,
        words: &[u16],
    ) -> Result<(), Exception> {
        // Look first, then write: a refused request must leave no trace.
        let mut writes: Vec<(usize, u64)> = Vec::new();
        let mut at = 0;
        while let Some(rest) = words.get(at..).filter(|rest| !rest.is_empty()) {
            let register = u32::from(address) + at as u32;
            let register = u16::try_from(register).map_err(|_| Exception::IllegalAddress)?;
            let &(index, word) = self
                .places
                .get(&(table, register))
                .ok_or(Exception::IllegalAddress)?;
            let slot = self.slots.get(index).ok_or(Exception::IllegalAddress)?;
            let length = usize::from(slot.encoding.data.registers());
            let value = rest.get(..length).filter(|_| word == 0);
            let (Content::Field { .. }, Some(value)) = (&slot.content, value) else {
                return Err(Exception::IllegalAddress);
            };
            writes.push((index, from_words(value, slot.encoding.order)));
            at += length;
        }
        let mut touched = BTreeSet::new();
        for (index, bits) in writes {
            if let Some(slot) = self.slots.get_mut(index) {
                slot.written = Some(bits);
                if let Content::Field { control, .. } = slot.content {
                    touched.insert(control);
                }
            }
        }
        for control in touched {
            self.act(world, device, control)?;
        }
        Ok(())
    }

    /// Hands a control to the device as its fields now say.
    fn act(&self, world: &mut World, device: usize, control: usize) -> Result<(), Exception> {
        let Some(control) = self.controls.get(control) else {
            return Ok(());
        };
        let (mut told, mut enabled, mut revert) = (Told::default(), true, control.revert);
        for slot in control.slots.iter().filter_map(|ix| self.slots.get(*ix)) {
            let Content::Field { value, .. } = &slot.content else {
                continue;
            };
            let data = slot.encoding.data;
            let raw = slot.written.map(|bits| from_bits(bits, data));
            let scaled = raw.map(|raw| raw * slot.encoding.factor * 10_f64.powi(slot.scale.into()));
            match value {
                FieldValue::Setpoint => told.whole = scaled,
                FieldValue::PercentOf { .. } => {
                    told.whole = scaled.map(|percent| percent / 100.0 * self.nameplate.p);
                }
                FieldValue::Magnitude => told.magnitude = scaled,
                FieldValue::PositivePart => told.positive = scaled,
                FieldValue::NegativePart => told.negative = scaled,
                FieldValue::BySign {
                    positive,
                    zero,
                    negative,
                } => {
                    let is =
                        |raw: &i64| slot.written == Some(to_bits(Some(*raw as f64), data, None));
                    told.direction = Some(match slot.written {
                        // The least of them first: two directions may share a number.
                        Some(_) if is(negative) => Direction::Negative,
                        Some(_) if is(positive) => Direction::Positive,
                        Some(_) if is(zero) => Direction::Zero,
                        _ => Direction::Unknown,
                    });
                }
                // The recipe's constants switch the control on; any other number lets go.
                FieldValue::Constant(constant) => {
                    enabled &= slot
                        .written
                        .is_none_or(|bits| bits == to_bits(Some(*constant as f64), data, None));
                }
                FieldValue::RevertSeconds => {
                    if let Some(seconds) = scaled.filter(|s| *s >= 0.0) {
                        revert = Duration::try_from_secs_f64(seconds).ok();
                    }
                }
            }
        }
        match told.setpoint() {
            Some(value) if enabled => world
                .write(device, control.point, value, revert.map(Into::into))
                .map_err(|_| Exception::IllegalValue),
            _ => {
                world.release(device, control.point);
                Ok(())
            }
        }
    }

    fn bits(&self, slot: &Slot, world: &World, device: usize) -> u64 {
        let encode = |value: Option<f64>| bits_of(value, &slot.encoding, slot.scale);
        match &slot.content {
            Content::Raw(bits) => *bits,
            Content::Value(point) => encode(world.value(device, *point)),
            Content::Field { control, value } => {
                let point = self.controls.get(*control).map(|control| control.point);
                let now = point.and_then(|point| world.setpoint(device, point));
                match value {
                    FieldValue::Setpoint => encode(now),
                    FieldValue::Magnitude => encode(now.map(f64::abs)),
                    FieldValue::PositivePart => encode(now.map(|value| value.max(0.0))),
                    FieldValue::NegativePart => encode(now.map(|value| (-value).max(0.0))),
                    // Until it is told a direction, it has none but that of rest.
                    FieldValue::BySign { zero, .. } => slot
                        .written
                        .unwrap_or_else(|| to_bits(Some(*zero as f64), slot.encoding.data, None)),
                    FieldValue::PercentOf { .. } => encode(
                        now.filter(|_| self.nameplate.p > 0.0)
                            .map(|value| value / self.nameplate.p * 100.0),
                    ),
                    FieldValue::Constant(_) | FieldValue::RevertSeconds => {
                        slot.written.unwrap_or(0)
                    }
                }
            }
        }
    }

    /// Whether a register lies in a hole between two mapped ones that is short enough.
    fn is_bridgeable(&self, table: Table, register: u16) -> bool {
        let before = self
            .places
            .range(..(table, register))
            .next_back()
            .filter(|((t, _), _)| *t == table);
        let after = self
            .places
            .range((table, register)..)
            .next()
            .filter(|((t, _), _)| *t == table);
        match (before, after) {
            (Some(((_, low), _)), Some(((_, high), _))) => high - low - 1 <= self.max_gap,
            _ => false,
        }
    }

    /// Table and address of every mapped value, for tests and the reference page.
    pub fn addresses(&self) -> impl Iterator<Item = (Table, u16)> {
        self.slots.iter().map(|slot| (slot.table, slot.address))
    }
}

/// What the fields of a control say, as far as they were written.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    whole: Option<f64>,
    magnitude: Option<f64>,
    positive: Option<f64>,
    negative: Option<f64>,
    direction: Option<Direction>,
}

/// What a direction field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Positive,
    Zero,
    Negative,
    /// Nothing yet, or a number that means none of them.
    Unknown,
}

impl Told {
    /// The setpoint that they make together; `None` while something is missing.
    fn setpoint(self) -> Option<f64> {
        let sign = match self.direction {
            Some(Direction::Positive) => 1.0,
            Some(Direction::Negative) => -1.0,
            Some(Direction::Zero) => return Some(0.0),
            Some(Direction::Unknown) => return None,
            None => 0.0,
        };
        match (self.whole, self.magnitude, self.positive, self.negative) {
            (Some(whole), ..) => Some(whole),
            (None, Some(magnitude), ..) => Some(sign * magnitude),
            // A device with a direction looks at that part only.
            (None, None, Some(positive), Some(negative)) => Some(match self.direction {
                Some(Direction::Positive) => positive,
                Some(Direction::Negative) => -negative,
                _ => positive - negative,
            }),
            _ => None,
        }
    }
}

fn fixed(address: Address) -> Option<(Table, u16)> {
    match address {
        Address::Fixed { table, address } => Some((table, address)),
        Address::Model { .. } => None,
    }
}

/// The registers that tell a value (base unit), or that there is none, where no register
/// scales it.
#[must_use]
pub fn words_of(value: Option<f64>, encoding: &Encoding) -> Vec<u16> {
    let bits = bits_of(value, encoding, PLAIN_SCALE);
    to_words(bits, encoding.data, encoding.order)
}

fn bits_of(value: Option<f64>, encoding: &Encoding, scale: i16) -> u64 {
    let raw = value.map(|value| raw_of(value, encoding, scale));
    to_bits(raw, encoding.data, encoding.not_implemented)
}

fn raw_of(value: f64, encoding: &Encoding, scale: i16) -> f64 {
    value / (encoding.factor * 10_f64.powi(scale.into()))
}

/// The exponents of all scale registers: the smallest from 0 up with which every number
/// that they scale fits its type over the profile's range.
fn scales(profile: &ModbusProfile) -> BTreeMap<(Table, u16), i16> {
    let mut scales = BTreeMap::new();
    let read = profile.points.iter().map(|p| (&p.encoding, p.range));
    for (encoding, (low, high)) in read {
        let Some(place) = encoding.scale.and_then(fixed) else {
            continue;
        };
        let most = match encoding.data {
            DataType::U16 => f64::from(u16::MAX - 1),
            DataType::I16 => f64::from(i16::MAX),
            _ => f64::INFINITY,
        };
        let raw = low.abs().max(high.abs()) / encoding.factor.abs();
        let mut scale = PLAIN_SCALE;
        while raw / 10_f64.powi(scale.into()) > most && scale < 10 {
            scale += 1;
        }
        let entry = scales.entry(place).or_insert(PLAIN_SCALE);
        *entry = scale.max(*entry);
    }
    for field in profile.controls.iter().flat_map(|c| &c.fields) {
        if let Some(place) = field.encoding.scale.and_then(fixed) {
            scales.entry(place).or_insert(PLAIN_SCALE);
        }
    }
    scales
}
