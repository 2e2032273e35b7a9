//! From a setpoint to register writes, and from the register back: pure.
//!
//! Responsible for a profile's recipe: percentages, revert time, limits of the
//! device, encoding with the scale that the device has just told. It is not
//! responsible for sending (see the bus task) nor for whether the setpoint is
//! allowed (see `limiter`).

use std::time::Duration;

use model::{Point, Setpoint};
use profile::modbus::{CommsLoss, Control, FieldValue};

use super::blocks::{self, Block, Place, group};
use super::codec;
use super::device::{Device, cut};

/// A control with absolute addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recipe {
    /// The fields, in the order of the profile.
    places: Vec<Place>,
    /// Reads that give all scale registers.
    pub(super) scale_blocks: Vec<Block>,
    /// The read that gives the field that proves the setpoint.
    pub(super) readback: Block,
    /// Points that percentages refer to.
    pub(super) references: Vec<Point>,
}

/// What is to be written, and what the device must say afterwards.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Composed {
    /// The requests.
    pub(super) writes: Vec<blocks::Write>,
    /// The words of the field that proves the setpoint.
    pub(super) words: Vec<u16>,
    /// The value that these words stand for, in the base unit.
    pub(super) expected: f64,
    /// Factor from that field to the base unit (percent of a reference, or 1).
    to_base: f64,
    /// A remark when the device takes less than was asked.
    pub(super) clamped: Option<String>,
}

impl Recipe {
    /// The recipe with absolute addresses; `None` when the device lacks one of them.
    pub(super) fn resolve(device: &Device, control: &Control) -> Option<Self> {
        let mut places = Vec::new();
        for (number, field) in control.fields.iter().enumerate() {
            places.push(device.place(number, field.address, &field.encoding)?);
        }
        let proof = *places.get(control.readback.field)?;
        let (mut readback, _) = group(vec![proof], blocks::READ_REGISTERS_MAX, 0);
        let scales = places.iter().filter_map(|p| {
            p.scale.map(|address| Place {
                address,
                registers: 1,
                scale: None,
                ..*p
            })
        });
        let (scale_blocks, _) = group(
            scales.collect(),
            device.profile.max_regs,
            device.profile.max_gap,
        );
        let references = control.fields.iter().filter_map(|f| match f.value {
            FieldValue::PercentOf { reference, .. } => Some(reference),
            _ => None,
        });
        Some(Self {
            places,
            scale_blocks,
            readback: readback.pop()?,
            references: references.collect(),
        })
    }

    pub(super) fn refers_to(&self, point: Point) -> bool {
        self.references.contains(&point)
    }

    /// What has to be written for `value` (base unit).
    ///
    /// `scales` holds the words of [`Self::scale_blocks`], `reference` knows the points' values.
    pub(super) fn compose(
        &self,
        control: &Control,
        value: f64,
        scales: &[Vec<u16>],
        reference: impl Fn(Point) -> Option<f64>,
        revert: Option<Duration>,
    ) -> Result<Composed, String> {
        let (wanted, clamped) = within(control, value);
        let mut encoded = Vec::new();
        let mut proof = None;
        for (number, (field, place)) in control.fields.iter().zip(&self.places).enumerate() {
            let scale = self.scale_of(number, scales);
            let mut to_base = 1.0;
            let words = match &field.value {
                FieldValue::Constant(raw) => codec::encode_raw(&field.encoding, *raw),
                FieldValue::Setpoint => codec::encode(&field.encoding, wanted, scale),
                FieldValue::PercentOf {
                    reference: point,
                    min,
                } => {
                    let whole = reference(*point)
                        .filter(|w| w.is_finite() && *w != 0.0)
                        .ok_or_else(|| {
                            format!("{point} is not known, and the device takes a percentage of it")
                        })?;
                    to_base = whole / 100.0;
                    codec::encode(&field.encoding, (wanted / to_base).max(*min), scale)
                }
                FieldValue::RevertSeconds => {
                    // Zero: the device shall not revert by itself.
                    let seconds = revert.map_or(0.0, |r| r.as_secs_f64().ceil());
                    codec::encode(&field.encoding, seconds, scale)
                }
            }
            .map_err(|error| format!("register {}: {error}", place.address))?;
            if number == control.readback.field {
                let stands_for = codec::decode(&field.encoding, words.as_slice(), scale)
                    .map_err(|flaw| format!("register {}: {}", place.address, flaw.word()))?;
                proof = Some((words.as_slice().to_vec(), stands_for * to_base, to_base));
            }
            encoded.push((place.table, place.address, words));
        }
        let (words, expected, to_base) =
            proof.ok_or("the control has no field that could be read back")?;
        let fields: Vec<_> = encoded
            .iter()
            .map(|(t, a, w)| (*t, *a, w.as_slice()))
            .collect();
        Ok(Composed {
            writes: blocks::writes(&fields),
            words,
            expected,
            to_base,
            clamped,
        })
    }

    fn scale_of(&self, field: usize, scales: &[Vec<u16>]) -> Option<u16> {
        let found = self
            .scale_blocks
            .iter()
            .zip(scales)
            .find_map(|(block, words)| {
                let place = block.places.iter().find(|p| p.point == field)?;
                Some((block, place, words))
            });
        found.and_then(|(block, place, words)| cut(block, place, words).0.first().copied())
    }

    /// Compares what the device says with what was written.
    pub(super) fn verify(
        &self,
        control: &Control,
        composed: &Composed,
        words: &[u16],
    ) -> Result<(), String> {
        let (Some(field), Some(place)) = (
            control.fields.get(control.readback.field),
            self.readback.places.first(),
        ) else {
            return Err("the control has no field that could be read back".to_owned());
        };
        let (raw, scale) = cut(&self.readback, place, words);
        let told = codec::decode(&field.encoding, raw, scale);
        match told.map(|v| v * composed.to_base) {
            Ok(told) if (told - composed.expected).abs() <= control.readback.tolerance => Ok(()),
            Ok(told) => Err(format!(
                "register {} holds {raw:?} = {told} {unit}, written was {:?} = {} {unit}; the device may be in local control, in another mode, or narrower in its own limits",
                place.address,
                composed.words,
                composed.expected,
                unit = control.point.unit()
            )),
            Err(flaw) => Err(format!(
                "register {} holds {raw:?}, which is {}; written was {:?} = {} {}",
                place.address,
                flaw.word(),
                composed.words,
                composed.expected,
                control.point.unit()
            )),
        }
    }
}

/// The value that the device takes, and a remark when it is not the one asked for.
fn within(control: &Control, value: f64) -> (f64, Option<String>) {
    let Some(bounds) = control.range else {
        return (value, None);
    };
    let (lower, upper) = (bounds.lower().as_watts(), bounds.upper().as_watts());
    let taken = value.clamp(lower, upper);
    let unit = control.point.unit();
    let remark = (taken != value).then(|| {
        format!(
            "{} takes {lower} to {upper} {unit} only; {value} {unit} was asked for",
            control.point
        )
    });
    (taken, remark)
}

/// Which controls a setpoint sets, and to what (base unit); the first one is its own point.
pub(super) fn targets(setpoint: Setpoint) -> Vec<(Point, f64)> {
    match setpoint {
        Setpoint::Power { p, q } => vec![
            (Point::ActivePowerSet, p.as_watts()),
            (Point::ReactivePowerSet, q.as_vars()),
        ],
        Setpoint::Ceiling { p } => vec![(Point::ActivePowerLimit, p.as_watts())],
        Setpoint::Switch { on } => vec![(Point::SwitchOn, f64::from(u8::from(on)))],
    }
}

/// Time after which the device reverts by itself, if it does.
pub(super) fn revert_time(control: &Control, rig: Option<Duration>) -> Option<Duration> {
    let own = match control.comms_loss {
        CommsLoss::Reverts { after } => Some(after),
        CommsLoss::Holds => None,
    };
    let takes_time = control
        .fields
        .iter()
        .any(|f| f.value == FieldValue::RevertSeconds);
    // A rig's wish counts only where the device has a register for it.
    rig.filter(|_| takes_time).or(own)
}

/// How often a setpoint is written again so that the device does not revert while all is well.
pub(super) fn refresh_interval(control: &Control, rig: Option<Duration>) -> Option<Duration> {
    let half = revert_time(control, rig).map(|r| r / 2);
    [control.refresh, half]
        .into_iter()
        .flatten()
        .filter(|d| !d.is_zero())
        .min()
}
