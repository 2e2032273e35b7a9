//! From a setpoint to register writes, and from the register back: pure.
//!
//! Responsible for a profile's recipe: percentages, revert time, limits of the
//! device, encoding with the scale that the device has just told. It is not
//! responsible for sending (see the bus task) nor for whether the setpoint is
//! allowed (see `limiter`).

use std::time::Duration;

use model::{Point, Setpoint};
use profile::modbus::{CommsLoss, Control, Encoding, FieldValue, WriteFunction};

use super::blocks::{self, Block, Place, group};
use super::codec::{self, EncodeError, Words};
use super::device::{Device, cut};

/// A control with absolute addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recipe {
    /// The fields, in the order of the profile.
    places: Vec<Place>,
    /// Reads that give all scale registers.
    pub(super) scale_blocks: Vec<Block>,
    /// The reads that give the fields that prove the setpoint.
    pub(super) readback: Vec<Block>,
    /// Points that percentages and limits refer to.
    pub(super) references: Vec<Point>,
    function: WriteFunction,
}

/// What is to be written, and what the device must say afterwards.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Composed {
    /// The requests.
    pub(super) writes: Vec<blocks::Write>,
    /// What the fields that prove the setpoint must hold.
    proofs: Vec<Proof>,
    /// A remark when the device takes less than was asked.
    pub(super) clamped: Option<String>,
}

/// What a field must hold after the write.
#[derive(Clone, Debug, PartialEq)]
struct Proof {
    /// Which field.
    field: usize,
    /// Its words.
    words: Vec<u16>,
    /// The value that these words stand for, in the base unit; `None` for a direction, whose
    /// words must be exactly these.
    expected: Option<f64>,
    /// Factor from the field to the base unit (percent of a reference, or 1).
    to_base: f64,
}

impl Recipe {
    /// The recipe with absolute addresses; `None` when the device lacks one of them.
    pub(super) fn resolve(device: &Device, control: &Control) -> Option<Self> {
        let mut places = Vec::new();
        for (number, field) in control.fields.iter().enumerate() {
            places.push(device.place(number, field.address, &field.encoding)?);
        }
        let proofs = control.readback.fields.iter();
        let proofs = proofs.map(|field| places.get(*field).copied());
        let (readback, misfits) = group(
            proofs.collect::<Option<_>>()?,
            device.profile.max_regs,
            device.profile.max_gap,
        );
        if readback.is_empty() || !misfits.is_empty() {
            return None;
        }
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
        let references = references.chain(control.ceiling).chain(control.floor);
        Some(Self {
            places,
            scale_blocks,
            readback,
            references: references.collect(),
            function: device.profile.write_function,
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
        let (wanted, clamped) = within(control, value, &reference)?;
        let mut encoded = Vec::new();
        let mut proofs = Vec::new();
        for (number, (field, place)) in control.fields.iter().zip(&self.places).enumerate() {
            let scale = self.scale_of(number, scales);
            let mut to_base = 1.0;
            let words = match &field.value {
                FieldValue::Constant(raw) => codec::encode_raw(&field.encoding, *raw),
                FieldValue::Setpoint => codec::encode(&field.encoding, wanted, scale),
                FieldValue::Magnitude => codec::encode(&field.encoding, wanted.abs(), scale),
                FieldValue::PositivePart => codec::encode(&field.encoding, wanted.max(0.0), scale),
                FieldValue::NegativePart => {
                    codec::encode(&field.encoding, (-wanted).max(0.0), scale)
                }
                FieldValue::BySign {
                    positive,
                    zero,
                    negative,
                } => {
                    let raw = if wanted > 0.0 {
                        positive
                    } else if wanted < 0.0 {
                        negative
                    } else {
                        zero
                    };
                    codec::encode_raw(&field.encoding, *raw)
                }
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
                FieldValue::RevertSeconds => revert_words(&field.encoding, revert, scale),
            }
            .map_err(|error| format!("register {}: {error}", place.address))?;
            if control.readback.fields.contains(&number) {
                let expected = if matches!(field.value, FieldValue::BySign { .. }) {
                    None
                } else {
                    let stands_for = codec::decode(&field.encoding, words.as_slice(), scale)
                        .map_err(|flaw| format!("register {}: {}", place.address, flaw.word()))?;
                    Some(stands_for * to_base)
                };
                proofs.push(Proof {
                    field: number,
                    words: words.as_slice().to_vec(),
                    expected,
                    to_base,
                });
            }
            encoded.push((place.table, place.address, words));
        }
        let fields: Vec<_> = encoded
            .iter()
            .map(|(t, a, w)| (*t, *a, w.as_slice()))
            .collect();
        Ok(Composed {
            writes: blocks::writes(&fields, self.function),
            proofs,
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

    /// The setpoint that the device's registers hold (base unit); `None` where they do not tell it, or
    /// only several of them together.
    pub(super) fn present(
        &self,
        control: &Control,
        answers: &[Vec<u16>],
        reference: impl Fn(Point) -> Option<f64>,
    ) -> Option<f64> {
        let [number] = control.readback.fields[..] else {
            return None;
        };
        let field = control.fields.get(number)?;
        let to_base = match field.value {
            FieldValue::Setpoint => 1.0,
            FieldValue::PercentOf {
                reference: whole, ..
            } => reference(whole)? / 100.0,
            _ => return None,
        };
        let (block, words) = self.readback.iter().zip(answers).next()?;
        let place = block.places.iter().find(|p| p.point == number)?;
        let (raw, scale) = cut(block, place, words);
        let told = codec::decode(&field.encoding, raw, scale).ok()?;
        Some(told * to_base)
    }

    /// Compares what the device says (the words of [`Self::readback`]) with what was written.
    pub(super) fn verify(
        &self,
        control: &Control,
        composed: &Composed,
        answers: &[Vec<u16>],
    ) -> Result<(), String> {
        for proof in &composed.proofs {
            let found = self
                .readback
                .iter()
                .zip(answers)
                .find_map(|(block, words)| {
                    let is_proof = |place: &&Place| place.point == proof.field;
                    Some((block, block.places.iter().find(is_proof)?, words))
                });
            let (Some(field), Some((block, place, words))) =
                (control.fields.get(proof.field), found)
            else {
                return Err("the control has no field that could be read back".to_owned());
            };
            let (raw, scale) = cut(block, place, words);
            verify_field(control, &field.encoding, proof, place.address, raw, scale)?;
        }
        Ok(())
    }
}

/// Compares one field with what was written into it.
fn verify_field(
    control: &Control,
    encoding: &Encoding,
    proof: &Proof,
    address: u16,
    raw: &[u16],
    scale: Option<u16>,
) -> Result<(), String> {
    let unit = control.point.unit();
    let Some(expected) = proof.expected else {
        return if raw == proof.words {
            Ok(())
        } else {
            Err(format!(
                "register {address} holds {raw:?}, written was the direction {:?}; the device may be in local control or in another mode",
                proof.words
            ))
        };
    };
    match codec::decode(encoding, raw, scale).map(|v| v * proof.to_base) {
        Ok(told) if (told - expected).abs() <= control.readback.tolerance => Ok(()),
        Ok(told) => Err(format!(
            "register {address} holds {raw:?} = {told} {unit}, written was {:?} = {expected} {unit}; the device may be in local control, in another mode, or narrower in its own limits",
            proof.words,
        )),
        Err(flaw) => Err(format!(
            "register {address} holds {raw:?}, which is {}; written was {:?} = {expected} {unit}",
            flaw.word(),
            proof.words,
        )),
    }
}

/// The revert time in whole units of its register, never shorter than it was meant; zero: the
/// device shall not revert by itself.
fn revert_words(
    encoding: &Encoding,
    revert: Option<Duration>,
    scale: Option<u16>,
) -> Result<Words, EncodeError> {
    let seconds = revert.map_or(0.0, |r| r.as_secs_f64());
    codec::encode(
        encoding,
        (seconds / encoding.factor).ceil() * encoding.factor,
        scale,
    )
}

/// The value that the device takes, and a remark when it is not the one asked for.
fn within(
    control: &Control,
    value: f64,
    reference: impl Fn(Point) -> Option<f64>,
) -> Result<(f64, Option<String>), String> {
    let (mut lower, mut upper) = control
        .range
        .map_or((f64::NEG_INFINITY, f64::INFINITY), |b| {
            (b.lower().as_watts(), b.upper().as_watts())
        });
    let now = |point: Point| {
        let known = reference(point).filter(|v| v.is_finite() && *v >= 0.0);
        known.ok_or_else(|| format!("{point} is not known, and the device takes no more than that"))
    };
    if let Some(ceiling) = control.ceiling {
        upper = upper.min(now(ceiling)?);
    }
    if let Some(floor) = control.floor {
        lower = lower.max(-now(floor)?);
    }
    // An upper end below the lower one means that the device takes nothing of the sort now.
    let taken = value.max(lower).min(upper);
    let unit = control.point.unit();
    let remark = (taken != value).then(|| {
        format!(
            "{} takes {lower} to {upper} {unit} only; {value} {unit} was asked for",
            control.point
        )
    });
    Ok((taken, remark))
}

/// Which controls a setpoint sets, and to what (base unit); the first one is its own point.
pub(crate) fn targets(setpoint: Setpoint) -> Vec<(Point, f64)> {
    match setpoint {
        Setpoint::Power { p, q } => vec![
            (Point::ActivePowerSet, p.as_watts()),
            (Point::ReactivePowerSet, q.as_vars()),
        ],
        Setpoint::Ceiling { p } => vec![(Point::ActivePowerLimit, p.as_watts())],
        Setpoint::Switch { on } => vec![(Point::SwitchOn, f64::from(u8::from(on)))],
        // No Modbus profile describes a grid simulator; the write is refused for want of a control.
        Setpoint::Source { .. } => Vec::new(),
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
