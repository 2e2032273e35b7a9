//! Letting a SunSpec device adopt a characteristic: pure. Answers go in, requests come out.
//!
//! Responsible for the steps that models 705, 706, 711 and 712 ask for: a curve that may be
//! written is filled, its number is requested, the result is awaited, the active curve is read
//! back and compared, and only then the function is enabled. A constant power factor (704, or
//! 123 on older devices) needs no adoption, but is proved and enabled alike. It is not
//! responsible for sending (see the bus task) nor for whether the characteristic is allowed
//! (see `limiter`).

use std::collections::BTreeMap;
use std::time::Duration;

use model::Characteristic;
use profile::modbus::{Address, Encoding, WordOrder};
use profile::sunspec::{self, ModelPoint};

use super::blocks::READ_REGISTERS_MAX;
use super::codec;
use super::sunspec::{Chain, Model};

/// Wait between two looks at the result of an adoption.
/// Chosen: five looks a second cost a bus little; the standard gives a device seconds.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Looks at a result that stays busy. Chosen: 10 s with [`LOOK_EVERY`], far above real devices.
const LOOKS_MAX: u32 = 50;

/// Results of an adoption. Source: SunSpec models 705 to 712, AdptCrvRslt.
const DONE: u16 = 1;
const FAILED: u16 = 2;

/// What reactive power is a percentage of: the largest apparent power.
/// Source: SunSpec models 705 and 712, DeptRef.
const OF_VA_MAX: f64 = 3.0;

/// What active power is a percentage of: the largest active power. Source: SunSpec model 706, DeptRef.
const OF_W_MAX: f64 = 0.0;

/// Reactive power goes first where both do not fit. Source: SunSpec models 705 and 712, Pri;
/// a grid code that asks for the function asks for this.
const REACTIVE_FIRST: f64 = 1.0;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Read holding registers.
    Read {
        /// First register, absolute.
        address: u16,
        /// How many.
        count: u16,
    },
    /// Write holding registers in one request.
    Write {
        /// First register, absolute.
        address: u16,
        /// What is written.
        words: Vec<u16>,
    },
}

/// What an answer has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The next request may go out.
    Go,
    /// The next request may go out after this time.
    Wait(Duration),
    /// All was written, the proof comes next.
    Written,
    /// The device follows the characteristic.
    Done,
}

/// Names of the points that a kind of characteristic uses.
#[derive(Clone, Copy, Debug)]
struct Names {
    model: u16,
    /// The group of curves; `None` where there is one place only.
    group: Option<&'static str>,
    count: &'static str,
    request: &'static str,
    result: &'static str,
    enable: &'static str,
    revert: &'static str,
}

const fn curves(model: u16) -> Names {
    Names {
        model,
        group: Some("Crv"),
        count: "NCrv",
        request: "AdptCrvReq",
        result: "AdptCrvRslt",
        enable: "Ena",
        revert: "RvrtTms",
    }
}

const DROOP: Names = Names {
    model: 711,
    group: Some("Ctl"),
    count: "NCtl",
    request: "AdptCtlReq",
    result: "AdptCtlRslt",
    enable: "Ena",
    revert: "RvrtTms",
};

const POWER_FACTOR: Names = Names {
    model: 704,
    group: None,
    count: "",
    request: "",
    result: "",
    enable: "PFWInjEna",
    revert: "PFWInjRvrtTms",
};

const POWER_FACTOR_OLD: Names = Names {
    model: 123,
    enable: "OutPFSet_Ena",
    revert: "OutPFSet_RvrtTms",
    ..POWER_FACTOR
};

/// The models that carry a characteristic, the first that a device has is taken.
fn ways(characteristic: &Characteristic) -> &'static [Names] {
    match characteristic {
        Characteristic::VoltVar(_) => const { &[curves(705)] },
        Characteristic::VoltWatt(_) => const { &[curves(706)] },
        Characteristic::WattVar(_) => const { &[curves(712)] },
        Characteristic::FreqDroop(_) => const { &[DROOP] },
        Characteristic::PowerFactor { .. } => const { &[POWER_FACTOR, POWER_FACTOR_OLD] },
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Counts and scale factors.
    Head,
    /// May this curve be written?
    MayWrite(u16),
    /// The writes, from this one on.
    Write(usize),
    /// The request to adopt the curve.
    Ask(u16),
    /// Is it adopted? So many looks were in vain.
    Look(u32),
    /// The active curve is read.
    Prove,
    /// Revert time and function, from this write on.
    Enable(usize),
    /// Is the function enabled?
    ProveEnabled,
}

/// A characteristic on its way into a device.
#[derive(Clone, Debug)]
pub(super) struct Adoption {
    wish: Characteristic,
    revert: Option<Duration>,
    names: Names,
    layout: &'static sunspec::Model,
    at: Model,
    points: Vec<ModelPoint>,
    scales: BTreeMap<String, u16>,
    writes: Vec<(u16, Vec<u16>)>,
    stage: Stage,
}

impl Adoption {
    /// Begins; an error when the device has no model for it.
    pub(super) fn begin(
        wish: Characteristic,
        revert: Option<Duration>,
        chain: &Chain,
    ) -> Result<Self, String> {
        let ways = ways(&wish);
        let found = ways.iter().find_map(|names| {
            let at = chain.models.iter().find(|m| m.id == names.model)?;
            Some((*names, *at, sunspec::model(names.model)?))
        });
        let Some((names, at, layout)) = found else {
            let models: Vec<String> = ways.iter().map(|n| n.model.to_string()).collect();
            return Err(format!(
                "it has no SunSpec model {} and cannot follow {}",
                models.join(" or "),
                wish.name()
            ));
        };
        if at.length < layout.length {
            return Err(format!(
                "its model {} has {} registers, the specification {}",
                at.id, at.length, layout.length
            ));
        }
        Ok(Self {
            wish,
            revert,
            names,
            layout,
            at,
            points: layout.points.clone(),
            scales: BTreeMap::new(),
            writes: Vec::new(),
            stage: Stage::Head,
        })
    }

    /// What has to be sent next; `None` when a point is not there, which ends it.
    pub(super) fn request(&self) -> Option<Request> {
        let read = |from: &ModelPoint, to: &ModelPoint| {
            Some(Request::Read {
                address: self.at.address.checked_add(from.offset)?,
                count: (to.offset + to.size).checked_sub(from.offset)?,
            })
        };
        let written = |at: usize| {
            let (offset, words) = self.writes.get(at)?;
            Some(Request::Write {
                address: self.at.address.checked_add(*offset)?,
                words: words.clone(),
            })
        };
        match &self.stage {
            Stage::Head => read(self.layout.points.first()?, self.layout.points.last()?),
            Stage::MayWrite(curve) => {
                let point = self.point(&self.member(*curve, "ReadOnly"))?;
                read(point, point)
            }
            Stage::Write(at) | Stage::Enable(at) => written(*at),
            Stage::Ask(curve) => {
                let point = self.point(self.names.request)?;
                Some(Request::Write {
                    address: self.at.address.checked_add(point.offset)?,
                    words: vec![*curve],
                })
            }
            Stage::Look(_) => {
                let point = self.point(self.names.result)?;
                read(point, point)
            }
            Stage::Prove => {
                // From the first register on, so that the scale factors are in the same answer.
                let last = self.last_of_the_active()?;
                read(self.layout.points.first()?, last)
            }
            Stage::ProveEnabled => {
                let point = self.point(self.names.enable)?;
                read(point, point)
            }
        }
    }

    /// Takes the answer to [`Self::request`], the words of a read; the error says why it ends.
    pub(super) fn take(&mut self, words: &[u16]) -> Result<Next, String> {
        match self.stage.clone() {
            Stage::Head => {
                self.take_head(words)?;
                if self.names.group.is_some() {
                    // The first is the active one, and never to be written.
                    self.stage = Stage::MayWrite(2);
                } else {
                    self.compose(1)?;
                    self.stage = Stage::Write(0);
                }
                Ok(Next::Go)
            }
            Stage::MayWrite(curve) => {
                if words == [0] {
                    self.compose(curve)?;
                    self.stage = Stage::Write(0);
                    return Ok(Next::Go);
                }
                let next = curve + 1;
                if self.point(&self.member(next, "ReadOnly")).is_none() {
                    return Err(self.about(self.names.count, "no curve of it may be written"));
                }
                self.stage = Stage::MayWrite(next);
                Ok(Next::Go)
            }
            Stage::Write(at) => {
                self.stage = if at + 1 < self.writes.len() {
                    Stage::Write(at + 1)
                } else if self.names.group.is_some() {
                    Stage::Ask(self.curve())
                } else {
                    Stage::Prove
                };
                Ok(if self.stage == Stage::Prove {
                    Next::Written
                } else {
                    Next::Go
                })
            }
            Stage::Ask(_) => {
                self.stage = Stage::Look(0);
                Ok(Next::Wait(LOOK_EVERY))
            }
            Stage::Look(looks) => match words {
                [DONE] => {
                    self.stage = Stage::Prove;
                    Ok(Next::Written)
                }
                [FAILED] => Err(self.about(
                    self.names.result,
                    "the device has refused to adopt the curve; see what it permits",
                )),
                _ if looks + 1 >= LOOKS_MAX => Err(self.about(
                    self.names.result,
                    &format!(
                        "the device is still busy with the curve after {} s",
                        (LOOK_EVERY * LOOKS_MAX).as_secs()
                    ),
                )),
                _ => {
                    self.stage = Stage::Look(looks + 1);
                    Ok(Next::Wait(LOOK_EVERY))
                }
            },
            Stage::Prove => {
                self.prove(words)?;
                self.writes = self.enabling()?;
                self.stage = Stage::Enable(0);
                Ok(Next::Go)
            }
            Stage::Enable(at) => {
                self.stage = if at + 1 < self.writes.len() {
                    Stage::Enable(at + 1)
                } else {
                    Stage::ProveEnabled
                };
                Ok(Next::Go)
            }
            Stage::ProveEnabled => match words {
                [1] => Ok(Next::Done),
                _ => Err(self.about(
                    self.names.enable,
                    &format!("it holds {words:?} after it was enabled; the device may be in local control"),
                )),
            },
        }
    }

    /// Why the device's refusal of the request ends it.
    pub(super) fn refused(&self, why: &str) -> String {
        let address = match self.request() {
            Some(Request::Read { address, .. } | Request::Write { address, .. }) => address,
            None => self.at.address,
        };
        format!("model {}, register {address}: {why}", self.at.id)
    }

    fn about(&self, point: &str, why: &str) -> String {
        let offset = self.point(point).map_or(0, |p| p.offset);
        let address = u32::from(self.at.address) + u32::from(offset);
        format!("model {}, register {address} ({point}): {why}", self.at.id)
    }

    fn point(&self, name: &str) -> Option<&ModelPoint> {
        self.points.iter().find(|p| p.name == name)
    }

    fn member(&self, curve: u16, point: &str) -> String {
        match self.names.group {
            Some(group) => format!("{group}[{curve}].{point}"),
            None => point.to_owned(),
        }
    }

    /// The curve whose writes are composed.
    fn curve(&self) -> u16 {
        let first = self.writes.first().map(|(offset, _)| *offset);
        let point = self.points.iter().find(|p| Some(p.offset) == first);
        point
            .and_then(|p| p.name.split_once('[')?.1.split_once(']')?.0.parse().ok())
            .unwrap_or(0)
    }

    /// Takes in counts and scale factors.
    fn take_head(&mut self, words: &[u16]) -> Result<(), String> {
        let word = |name: &str| -> Option<u16> {
            let point = self.layout.point(name)?;
            words.get(usize::from(point.offset)).copied()
        };
        if word("ID") != Some(self.at.id) {
            return Err(self.about("ID", "the model is not there any more"));
        }
        self.scales = scales(self.layout, words);
        let Some(points) = self.layout.lay_out(&word, self.at.length) else {
            return Err(self.about(
                self.names.count,
                &format!(
                    "it announces more curves and points than its {} registers have room for",
                    self.at.length
                ),
            ));
        };
        self.points = points;
        if self.names.group.is_some() && self.point(&self.member(2, "ReadOnly")).is_none() {
            return Err(self.about(self.names.count, "it has no curve besides the active one"));
        }
        // A value and its scale factor come in one answer, also in the proof.
        let last = self.last_of_the_active();
        if last.is_some_and(|p| p.offset + p.size > READ_REGISTERS_MAX) {
            return Err(format!(
                "model {}: a curve of so many points cannot be read back in one request of {READ_REGISTERS_MAX} registers",
                self.at.id
            ));
        }
        Ok(())
    }

    /// The points of a curve with the numbers that they must hold, in their own units.
    fn values(&self, curve: u16) -> Vec<(String, f64)> {
        let member = |name: &str| self.member(curve, name);
        let listed = |points: &[(f64, f64)], reference: f64, priority: bool, x: &str, y: &str| {
            let mut values = vec![
                (member("ActPt"), points.len() as f64),
                (member("DeptRef"), reference),
            ];
            if priority {
                values.push((member("Pri"), REACTIVE_FIRST));
            }
            for (n, point) in points.iter().enumerate() {
                values.push((member(&format!("Pt[{}].{x}", n + 1)), point.0 * 100.0));
                values.push((member(&format!("Pt[{}].{y}", n + 1)), point.1 * 100.0));
            }
            values
        };
        match &self.wish {
            Characteristic::VoltVar(points) => listed(points, OF_VA_MAX, true, "V", "Var"),
            Characteristic::VoltWatt(points) => listed(points, OF_W_MAX, false, "V", "W"),
            Characteristic::WattVar(points) => listed(points, OF_VA_MAX, true, "W", "Var"),
            Characteristic::FreqDroop(droop) => vec![
                (member("DbOf"), droop.db_over_hz),
                (member("DbUf"), droop.db_under_hz),
                (member("KOf"), droop.k_over),
                (member("KUf"), droop.k_under),
            ],
            // Over-excited gives reactive power (704, Ext); in the fourth quadrant, where it is
            // taken, the older model has a negative power factor (as 120 and 121 have).
            Characteristic::PowerFactor { pf, absorbs } if self.names.model == 704 => vec![
                ("PFWInj.PF".into(), *pf),
                ("PFWInj.Ext".into(), f64::from(u8::from(*absorbs))),
            ],
            Characteristic::PowerFactor { pf, absorbs } => {
                vec![("OutPFSet".into(), if *absorbs { -pf } else { *pf })]
            }
        }
    }

    /// Composes the writes of a curve: neighbours go in one request.
    fn compose(&mut self, curve: u16) -> Result<(), String> {
        let mut writes: Vec<(u16, Vec<u16>)> = Vec::new();
        for (name, value) in self.values(curve) {
            let Some(point) = self.point(&name) else {
                return Err(self.about(
                    "NPt",
                    &format!("the device has no {name}: its curves have fewer points"),
                ));
            };
            let words = self.encode(point, value)?;
            match writes.last_mut() {
                Some((offset, before))
                    if usize::from(*offset) + before.len() == usize::from(point.offset)
                        && before.len() + words.len() <= super::blocks::WRITE_REGISTERS_MAX =>
                {
                    before.extend(words);
                }
                _ => writes.push((point.offset, words)),
            }
        }
        self.writes = writes;
        Ok(())
    }

    fn encode(&self, point: &ModelPoint, value: f64) -> Result<Vec<u16>, String> {
        let scale = point
            .sf
            .as_ref()
            .and_then(|sf| self.scales.get(sf).copied());
        let fail = |why: String| self.about(&point.name, &why);
        let encoding = encoding(point).ok_or_else(|| fail("it is no number".into()))?;
        codec::encode(&encoding, value, scale)
            .map(|words| words.as_slice().to_vec())
            .map_err(|error| fail(format!("{value} cannot be written: {error}")))
    }

    fn last_of_the_active(&self) -> Option<&ModelPoint> {
        let values = self.values(1);
        let written = values.iter().filter_map(|(name, _)| self.point(name));
        // The fixed part may reach further.
        self.layout
            .points
            .last()
            .into_iter()
            .chain(written)
            .max_by_key(|p| p.offset)
    }

    /// Compares the active curve with what was asked for, with the scale factors of the same answer.
    fn prove(&self, words: &[u16]) -> Result<(), String> {
        let scales = scales(self.layout, words);
        for (name, wanted) in self.values(1) {
            let told = self.point(&name).and_then(|point| {
                let start = usize::from(point.offset);
                let raw = words.get(start..start + usize::from(point.size))?;
                let scale = point.sf.as_ref().and_then(|sf| scales.get(sf).copied());
                let step = scale.map_or(1.0, |s| 10_f64.powi(s.cast_signed().into()));
                let value = codec::decode(&encoding(point)?, raw, scale).ok()?;
                Some((value, step))
            });
            match told {
                // Half a step is what rounding costs; a little more is what floats cost.
                Some((value, step)) if (value - wanted).abs() <= step * 0.501 => {}
                Some((value, _)) => {
                    return Err(self.about(
                        &name,
                        &format!("the active curve holds {value}, {wanted} was asked for"),
                    ));
                }
                None => return Err(self.about(&name, "it cannot be read back")),
            }
        }
        Ok(())
    }

    /// The writes that enable the function, its revert time first.
    fn enabling(&self) -> Result<Vec<(u16, Vec<u16>)>, String> {
        let mut writes = Vec::new();
        let Some(enable) = self.point(self.names.enable) else {
            return Err(self.about(self.names.enable, "it is not there"));
        };
        if let Some(revert) = self.revert {
            let Some(point) = self.point(self.names.revert) else {
                return Err(self.about(self.names.revert, "it is not there"));
            };
            writes.push((
                point.offset,
                self.encode(point, revert.as_secs_f64().ceil())?,
            ));
        }
        writes.push((enable.offset, vec![1]));
        Ok(writes)
    }
}

/// The scale factors in the first registers of a model.
fn scales(layout: &sunspec::Model, words: &[u16]) -> BTreeMap<String, u16> {
    layout
        .points
        .iter()
        .filter(|p| p.kind == sunspec::PointType::Sunssf)
        .filter_map(|p| Some((p.name.clone(), *words.get(usize::from(p.offset))?)))
        .collect()
}

fn encoding(point: &ModelPoint) -> Option<Encoding> {
    Some(Encoding {
        data: point.kind.data()?,
        order: WordOrder::BigFirst,
        factor: 1.0,
        // Where it stands does not matter here; that there is one does.
        scale: point.sf.as_ref().map(|_| Address::Model {
            model: 0,
            offset: 0,
        }),
        not_implemented: point.kind.not_implemented().into(),
    })
}

#[cfg(test)]
mod tests;
