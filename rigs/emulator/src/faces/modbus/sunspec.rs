//! A chain of complete SunSpec models: every point of every model is there.
//!
//! What a point means stands in `MEASURED`, `RATED` and `FIXED`; a point that
//! nobody fills carries the pattern for "not implemented". Controls act as the models
//! say, not as any client's recipe does, so that foreign clients are obeyed as well.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Point;
use profile::modbus::{Address, Layout, ModbusProfile, Table, WordOrder};
use profile::sunspec::{self, Model, ModelPoint, PointType};

use super::image::{Exception, Identity};
use super::number::{from_bits, from_words, to_bits, to_words};
use crate::device::{Nameplate, Revert};
use crate::plant::Site;
use crate::world::World;

/// Address at which the chain begins: the first that clients try.
const BASE: u16 = sunspec::BASES[0];

/// Points that are measured, by name: canonical point and factor from its base unit.
const MEASURED: &[(&str, Point, f64)] = &[
    ("W", Point::ActivePower, 1.0),
    ("WphA", Point::ActivePowerL1, 1.0),
    ("WphB", Point::ActivePowerL2, 1.0),
    ("WphC", Point::ActivePowerL3, 1.0),
    ("WL1", Point::ActivePowerL1, 1.0),
    ("WL2", Point::ActivePowerL2, 1.0),
    ("WL3", Point::ActivePowerL3, 1.0),
    ("VAr", Point::ReactivePower, 1.0),
    ("VAR", Point::ReactivePower, 1.0),
    ("Var", Point::ReactivePower, 1.0),
    ("VA", Point::ApparentPower, 1.0),
    ("Hz", Point::Frequency, 1.0),
    ("AphA", Point::CurrentL1, 1.0),
    ("AphB", Point::CurrentL2, 1.0),
    ("AphC", Point::CurrentL3, 1.0),
    ("AL1", Point::CurrentL1, 1.0),
    ("AL2", Point::CurrentL2, 1.0),
    ("AL3", Point::CurrentL3, 1.0),
    ("PhV", Point::VoltageL1, 1.0),
    ("LNV", Point::VoltageL1, 1.0),
    ("PhVphA", Point::VoltageL1, 1.0),
    ("PhVphB", Point::VoltageL2, 1.0),
    ("PhVphC", Point::VoltageL3, 1.0),
    ("VL1", Point::VoltageL1, 1.0),
    ("VL2", Point::VoltageL2, 1.0),
    ("VL3", Point::VoltageL3, 1.0),
    ("WH", Point::EnergyExport, 1.0),
    ("ActWh", Point::EnergyExport, 1.0),
    ("TotWhExp", Point::EnergyExport, 1.0),
    ("TotWhImp", Point::EnergyImport, 1.0),
    ("TotWhInj", Point::EnergyExport, 1.0),
    ("TotWhAbs", Point::EnergyImport, 1.0),
    ("DCA", Point::DcCurrent, 1.0),
    ("DCV", Point::DcVoltage, 1.0),
    ("DCW", Point::DcPower, 1.0),
    ("St", Point::State, 1.0),
    ("Evt1", Point::Alarm, 1.0),
    ("Alrm", Point::Alarm, 1.0),
    ("SoC", Point::StateOfCharge, 100.0),
    ("SoH", Point::StateOfHealth, 100.0),
    ("ChaState", Point::StateOfCharge, 100.0),
    ("InBatV", Point::BatteryVoltage, 1.0),
    ("AChaMax", Point::ChargeCurrentMax, 1.0),
    ("ADisChaMax", Point::DischargeCurrentMax, 1.0),
];

/// Where a name means something else in one model.
const MEASURED_IN: &[(u16, &str, Point, f64)] = &[
    (802, "V", Point::BatteryVoltage, 1.0),
    (802, "A", Point::BatteryCurrent, 1.0),
    (802, "W", Point::DcPower, 1.0),
];

/// How a point is made of the nameplate.
type OfNameplate = fn(&Nameplate) -> f64;

/// Points that stand on the nameplate.
const RATED: &[(u16, &str, OfNameplate)] = &[
    (120, "WRtg", |n| n.p),
    (120, "VARtg", |n| n.s),
    (120, "VArRtgQ1", |n| n.s),
    (120, "VArRtgQ4", |n| -n.s),
    (120, "WHRtg", |n| n.capacity_wh),
    (120, "MaxChaRte", |n| n.p),
    (120, "MaxDisChaRte", |n| n.p),
    (121, "WMax", |n| n.p),
    (121, "VAMax", |n| n.s),
    (121, "VArMaxQ1", |n| n.s),
    (121, "VArMaxQ4", |n| -n.s),
    (124, "WChaMax", |n| n.p),
    (713, "WHRtg", |n| n.capacity_wh),
    (802, "WHRtg", |n| n.capacity_wh),
    (802, "WChaRteMax", |n| n.p),
    (802, "WDisChaRteMax", |n| n.p),
];

/// Points that begin with a number in their own unit; a writable one keeps what is written.
const FIXED: &[(u16, &str, f64)] = &[
    (1, "DA", 1.0),
    (122, "PVConn", 7.0),
    (122, "ECPConn", 1.0),
    (123, "Conn_WinTms", 0.0),
    (123, "Conn_RvrtTms", 0.0),
    (123, "Conn", 1.0),
    (123, "WMaxLimPct", 100.0),
    (123, "WMaxLimPct_WinTms", 0.0),
    (123, "WMaxLimPct_RvrtTms", 0.0),
    (123, "WMaxLimPct_RmpTms", 0.0),
    (123, "WMaxLim_Ena", 0.0),
    (123, "OutPFSet", 1.0),
    (123, "OutPFSet_Ena", 0.0),
    (123, "VArWMaxPct", 0.0),
    (123, "VArMaxPct", 0.0),
    (123, "VArPct_WinTms", 0.0),
    (123, "VArPct_RvrtTms", 0.0),
    (123, "VArPct_RmpTms", 0.0),
    (123, "VArPct_Mod", 2.0),
    (123, "VArPct_Ena", 0.0),
    (124, "WChaGra", 100.0),
    (124, "WDisChaGra", 100.0),
    (124, "StorCtl_Mod", 0.0),
    (124, "MinRsvPct", 0.0),
    (124, "OutWRte", 100.0),
    (124, "InWRte", 100.0),
    (124, "InOutWRte_WinTms", 0.0),
    (124, "InOutWRte_RvrtTms", 0.0),
    (124, "InOutWRte_RmpTms", 0.0),
    (124, "ChaGriSet", 1.0),
    (701, "ConnSt", 1.0),
    (704, "WMaxLimPctEna", 0.0),
    (704, "WMaxLimPct", 100.0),
    (704, "WMaxLimPctRvrt", 100.0),
    (704, "WMaxLimPctEnaRvrt", 0.0),
    (704, "WMaxLimPctRvrtTms", 0.0),
    (704, "WSetEna", 0.0),
    (704, "WSetMod", 1.0),
    (704, "WSet", 0.0),
    (704, "WSetRvrt", 0.0),
    (704, "WSetPct", 0.0),
    (704, "WSetPctRvrt", 0.0),
    (704, "WSetEnaRvrt", 0.0),
    (704, "WSetRvrtTms", 0.0),
    (704, "VarSetEna", 0.0),
    (704, "VarSetMod", 4.0),
    (704, "VarSetPri", 0.0),
    (704, "VarSet", 0.0),
    (704, "VarSetRvrt", 0.0),
    (704, "VarSetPct", 0.0),
    (704, "VarSetPctRvrt", 0.0),
    (704, "VarSetEnaRvrt", 0.0),
    (704, "VarSetRvrtTms", 0.0),
    (713, "Sta", 0.0),
    (802, "LocRemCtl", 0.0),
    (802, "CtrlHb", 0.0),
    (802, "State", 3.0),
    (802, "Typ", 4.0),
];

/// A chain of models in the registers of a unit.
#[derive(Debug)]
pub struct SunSpecImage {
    links: Vec<Link>,
    /// First address behind the chain's end marker.
    end: u16,
    nameplate: Nameplate,
}

#[derive(Debug)]
struct Link {
    model: &'static Model,
    base: u16,
    points: Vec<Cell>,
}

/// One point of the chain.
#[derive(Debug)]
struct Cell {
    offset: u16,
    size: u16,
    kind: PointType,
    writable: bool,
    /// Exponent of its scale factor.
    scale: i16,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Registers that never change by themselves; a writable point keeps what is written.
    Words(Vec<u16>),
    /// A measured value and its factor from the base unit.
    Measured(Point, f64),
    /// Whether a setpoint is in force: 1 or 0; or the number that it leaves behind after its timer.
    Enable {
        point: Point,
        written: u16,
        after: &'static str,
    },
    /// Seconds until a setpoint is taken back.
    Remaining(Point),
}

impl SunSpecImage {
    /// The chain that a profile requires or uses; model 1 always begins it.
    #[must_use]
    pub fn new(profile: &ModbusProfile, identity: &Identity, site: Site) -> Self {
        let mut numbers: Vec<u16> = match &profile.layout {
            Layout::SunSpec { required } => required.clone(),
            Layout::Fixed => Vec::new(),
        };
        let points = profile.points.iter().map(|point| point.address);
        let fields = profile.controls.iter().flat_map(|c| &c.fields);
        for address in points.chain(fields.map(|field| field.address)) {
            if let Address::Model { model, .. } = address {
                numbers.push(model);
            }
        }
        numbers.push(1);
        numbers.sort_unstable();
        numbers.dedup();
        Self::of_models(&numbers, identity, site)
    }

    /// The chain of these models, in this order; unknown numbers are left out.
    #[must_use]
    pub fn of_models(numbers: &[u16], identity: &Identity, site: Site) -> Self {
        let mut base = BASE + 2;
        let mut links = Vec::new();
        for model in numbers.iter().filter_map(|n| sunspec::model(*n)) {
            links.push(Link::new(model, base, identity, site));
            base = base.saturating_add(model.registers());
        }
        Self {
            links,
            end: base + 2,
            nameplate: identity.nameplate,
        }
    }

    /// Reads registers.
    ///
    /// # Errors
    /// Exception 2 outside the chain or outside the holding table.
    pub fn read(
        &self,
        world: &World,
        device: usize,
        table: Table,
        address: u16,
        count: u16,
    ) -> Result<Vec<u16>, Exception> {
        let end = address.checked_add(count).filter(|end| *end <= self.end);
        let (Some(end), Table::Holding, BASE..) = (end, table, address) else {
            return Err(Exception::IllegalAddress);
        };
        let mut words = vec![0_u16; usize::from(count)];
        let mut put = |at: u16, word: u16| {
            if let Some(place) = at
                .checked_sub(address)
                .and_then(|n| words.get_mut(usize::from(n)))
            {
                *place = word;
            }
        };
        put(BASE, sunspec::MARKER[0]);
        put(BASE + 1, sunspec::MARKER[1]);
        put(self.end - 2, sunspec::END_MODEL);
        put(self.end - 1, 0);
        for link in &self.links {
            if link.base >= end || link.base + link.model.registers() <= address {
                continue;
            }
            for cell in &link.points {
                let at = link.base + cell.offset;
                if at >= end || at + cell.size <= address {
                    continue;
                }
                for (n, word) in (at..).zip(link.words(cell, world, device)) {
                    put(n, word);
                }
            }
        }
        Ok(words)
    }

    /// Writes registers of writable points, then lets the device act on every model touched.
    ///
    /// # Errors
    /// Exception 2 when one of the registers is not writable; 3 when the device does not
    /// take what they now say.
    pub fn write(
        &mut self,
        world: &mut World,
        device: usize,
        table: Table,
        address: u16,
        words: &[u16],
    ) -> Result<(), Exception> {
        if table != Table::Holding {
            return Err(Exception::IllegalAddress);
        }
        let span = |n: usize| -> Option<(usize, usize, usize)> {
            let at = u16::try_from(usize::from(address) + n).ok()?;
            let link = self
                .links
                .iter()
                .position(|l| (l.base..l.base + l.model.registers()).contains(&at))?;
            let offset = at - self.links.get(link)?.base;
            let cell = self
                .links
                .get(link)?
                .points
                .iter()
                .position(|c| (c.offset..c.offset + c.size).contains(&offset))?;
            let found = self.links.get(link)?.points.get(cell)?;
            found
                .writable
                .then_some((link, cell, usize::from(offset - found.offset)))
        };
        // Look first, then write: a refused request must leave no trace.
        let places: Vec<(usize, usize, usize)> = (0..words.len())
            .map(span)
            .collect::<Option<_>>()
            .ok_or(Exception::IllegalAddress)?;
        let mut touched: BTreeMap<usize, Vec<u16>> = BTreeMap::new();
        for ((link, cell, word), value) in places.into_iter().zip(words) {
            let Some(found) = self
                .links
                .get_mut(link)
                .and_then(|link| link.points.get_mut(cell))
            else {
                continue;
            };
            match &mut found.content {
                Content::Words(stored) => {
                    if let Some(stored) = stored.get_mut(word) {
                        *stored = *value;
                    }
                }
                Content::Enable { written, .. } => *written = *value,
                Content::Measured(..) | Content::Remaining(_) => {}
            }
            touched.entry(link).or_default().push(found.offset);
        }
        for (link, offsets) in touched {
            if let Some(link) = self.links.get(link) {
                link.act(world, device, &offsets, &self.nameplate)?;
            }
        }
        Ok(())
    }

    /// Address of a model's ID register.
    #[must_use]
    pub fn base_of(&self, model: u16) -> Option<u16> {
        self.links
            .iter()
            .find(|link| link.model.number == model)
            .map(|link| link.base)
    }
}

impl Link {
    fn new(model: &'static Model, base: u16, identity: &Identity, site: Site) -> Self {
        let scales = scales(model, &identity.nameplate, site);
        let points = model
            .points
            .iter()
            .map(|point| Cell::new(model, point, &scales, identity, site))
            .collect();
        Self {
            model,
            base,
            points,
        }
    }

    fn words(&self, cell: &Cell, world: &World, device: usize) -> Vec<u16> {
        match &cell.content {
            Content::Words(words) => words.clone(),
            Content::Measured(point, factor) => {
                let value = world.value(device, *point).map(|value| value * factor);
                cell.encode(value)
            }
            Content::Enable {
                point,
                written,
                after,
            } => {
                // Once the timer has run out, the register shows what was agreed for then.
                let told = if *written == 1 && !world.holds(device, *point) {
                    self.number(after).map_or(0, |after| after as u16)
                } else {
                    *written
                };
                vec![told]
            }
            Content::Remaining(point) => {
                let left = world.remaining(device, *point).unwrap_or_default();
                cell.encode(Some(left.as_secs_f64().ceil()))
            }
        }
    }

    /// The number that a stored point holds, in its unit; `None` when it is not implemented.
    fn number(&self, name: &str) -> Option<f64> {
        let point = self.model.point(name)?;
        let cell = self.points.iter().find(|c| c.offset == point.offset)?;
        let words = match &cell.content {
            Content::Words(words) => words.clone(),
            Content::Enable { written, .. } => vec![*written],
            _ => return None,
        };
        let bits = from_words(&words, WordOrder::BigFirst);
        if cell.kind.not_implemented() == Some(bits) {
            return None;
        }
        Some(from_bits(bits, cell.kind.data()?) * 10_f64.powi(cell.scale.into()))
    }

    /// Lets the device act on the controls of this model whose registers were touched.
    fn act(
        &self,
        world: &mut World,
        device: usize,
        touched: &[u16],
        nameplate: &Nameplate,
    ) -> Result<(), Exception> {
        let any = |names: &[&str]| {
            names
                .iter()
                .filter_map(|name| self.model.point(name))
                .any(|point| {
                    touched
                        .iter()
                        .any(|t| (point.offset..point.offset + point.size).contains(t))
                })
        };
        let n = |name: &str| self.number(name);
        let on = |name: &str| n(name) == Some(1.0);
        let percent = |name: &str| n(name).map(|pct| pct / 100.0 * nameplate.p);
        let after = |name: &str| -> Option<Duration> {
            Duration::try_from_secs_f64(n(name).unwrap_or(0.0)).ok()
        };
        let hold =
            |world: &mut World, point: Point, value: Option<f64>, time: &str, to: Option<f64>| {
                let Some(value) = value else {
                    return Err(Exception::IllegalValue);
                };
                let revert = after(time).map(|after| Revert { after, to });
                world
                    .write(device, point, value, revert)
                    .map_err(|_| Exception::IllegalValue)
            };
        match self.model.number {
            123 => {
                if any(&["Conn"]) {
                    hold(world, Point::SwitchOn, n("Conn"), "Conn_RvrtTms", None)?;
                }
                let limit = ["WMaxLimPct", "WMaxLimPct_RvrtTms", "WMaxLim_Ena"];
                if any(&limit) {
                    if on("WMaxLim_Ena") {
                        hold(
                            world,
                            Point::ActivePowerLimit,
                            percent("WMaxLimPct"),
                            "WMaxLimPct_RvrtTms",
                            None,
                        )?;
                    } else {
                        world.release(device, Point::ActivePowerLimit);
                    }
                }
                let reactive = ["VArWMaxPct", "VArMaxPct", "VArPct_RvrtTms", "VArPct_Ena"];
                if any(&reactive) || any(&["VArPct_Mod"]) {
                    if on("VArPct_Ena") {
                        let share = match n("VArPct_Mod") {
                            Some(1.0) => percent("VArWMaxPct"),
                            _ => n("VArMaxPct").map(|pct| pct / 100.0 * nameplate.s),
                        };
                        hold(
                            world,
                            Point::ReactivePowerSet,
                            share,
                            "VArPct_RvrtTms",
                            None,
                        )?;
                    } else {
                        world.release(device, Point::ReactivePowerSet);
                    }
                }
            }
            124 => {
                // Limits of charge and discharge; a negative one forces the other way.
                let mode = n("StorCtl_Mod").unwrap_or(0.0) as u16;
                if mode & 3 == 0 {
                    world.release(device, Point::ActivePowerSet);
                } else {
                    let upper = if mode & 2 != 0 {
                        percent("OutWRte")
                    } else {
                        None
                    };
                    let lower = if mode & 1 != 0 {
                        percent("InWRte")
                    } else {
                        None
                    };
                    let upper = upper.unwrap_or(f64::INFINITY);
                    let lower = lower.map_or(f64::NEG_INFINITY, |limit| -limit);
                    let p = 0.0_f64.max(lower).min(upper);
                    hold(
                        world,
                        Point::ActivePowerSet,
                        Some(p),
                        "InOutWRte_RvrtTms",
                        None,
                    )?;
                }
            }
            704 => {
                let limit = ["WMaxLimPctEna", "WMaxLimPct", "WMaxLimPctRvrtTms"];
                if any(&limit) {
                    if on("WMaxLimPctEna") {
                        let to = percent("WMaxLimPctRvrt").filter(|_| on("WMaxLimPctEnaRvrt"));
                        hold(
                            world,
                            Point::ActivePowerLimit,
                            percent("WMaxLimPct"),
                            "WMaxLimPctRvrtTms",
                            to,
                        )?;
                    } else {
                        world.release(device, Point::ActivePowerLimit);
                    }
                }
                let set = ["WSetEna", "WSetMod", "WSet", "WSetPct", "WSetRvrtTms"];
                if any(&set) {
                    if on("WSetEna") {
                        let (value, to) = match n("WSetMod") {
                            Some(0.0) => (percent("WSetPct"), percent("WSetPctRvrt")),
                            _ => (n("WSet"), n("WSetRvrt")),
                        };
                        let to = to.filter(|_| on("WSetEnaRvrt"));
                        hold(world, Point::ActivePowerSet, value, "WSetRvrtTms", to)?;
                    } else {
                        world.release(device, Point::ActivePowerSet);
                    }
                }
                let var = [
                    "VarSetEna",
                    "VarSetMod",
                    "VarSet",
                    "VarSetPct",
                    "VarSetRvrtTms",
                ];
                if any(&var) {
                    if on("VarSetEna") {
                        let (value, to) = match n("VarSetMod") {
                            Some(4.0) => (n("VarSet"), n("VarSetRvrt")),
                            Some(0.0) => (percent("VarSetPct"), percent("VarSetPctRvrt")),
                            _ => {
                                let share = |name| n(name).map(|pct| pct / 100.0 * nameplate.s);
                                (share("VarSetPct"), share("VarSetPctRvrt"))
                            }
                        };
                        let to = to.filter(|_| on("VarSetEnaRvrt"));
                        hold(world, Point::ReactivePowerSet, value, "VarSetRvrtTms", to)?;
                    } else {
                        world.release(device, Point::ReactivePowerSet);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Cell {
    fn new(
        model: &Model,
        point: &ModelPoint,
        scales: &BTreeMap<&str, i16>,
        identity: &Identity,
        site: Site,
    ) -> Self {
        let scale = point
            .sf
            .as_deref()
            .and_then(|sf| scales.get(sf).copied())
            .unwrap_or(0);
        let mut cell = Self {
            offset: point.offset,
            size: point.size,
            kind: point.kind,
            writable: point.writable,
            scale,
            content: Content::Words(Vec::new()),
        };
        cell.content = content(model, point, identity, site, scales)
            .unwrap_or_else(|number| Content::Words(cell.encode(number)));
        cell
    }

    fn encode(&self, value: Option<f64>) -> Vec<u16> {
        let Some(data) = self.kind.data() else {
            // Texts that nobody fills, and fillers.
            let filler = if self.kind == PointType::Pad {
                0x8000
            } else {
                0
            };
            return vec![filler; usize::from(self.size)];
        };
        let raw = value.map(|value| value / 10_f64.powi(self.scale.into()));
        to_words(
            to_bits(raw, data, self.kind.not_implemented()),
            data,
            WordOrder::BigFirst,
        )
    }
}

/// What stands in a point; the error is a plain number, or none.
fn content(
    model: &Model,
    point: &ModelPoint,
    identity: &Identity,
    site: Site,
    scales: &BTreeMap<&str, i16>,
) -> Result<Content, Option<f64>> {
    let name = point.name.as_str();
    if point.kind == PointType::Sunssf {
        return Err(scales.get(name).map(|scale| f64::from(*scale)));
    }
    let enable = |point, after| {
        Ok(Content::Enable {
            point,
            written: 0,
            after,
        })
    };
    match (model.number, name) {
        (_, "ID") => return Err(Some(f64::from(model.number))),
        (_, "L") => return Err(Some(f64::from(model.length))),
        (1, "Mn") => return Ok(Content::Words(text(&identity.maker, point.size))),
        (1, "Md") => return Ok(Content::Words(text(&identity.model, point.size))),
        (1, "SN") => return Ok(Content::Words(text(&identity.serial, point.size))),
        (1, "Vr") => return Ok(Content::Words(text(env!("CARGO_PKG_VERSION"), point.size))),
        // 4 photovoltaic, 82 storage (SunSpec model 120, point DERTyp).
        (120, "DERTyp") => return Err(Some(if identity.is_storage { 82.0 } else { 4.0 })),
        (121, "VRef") => return Err(Some(site.v_nominal.as_volts())),
        (121, "ECPNomHz") => return Err(Some(site.f_nominal.as_hertz())),
        (701, "ACType") => return Err(Some(if site.phases >= 3 { 3.0 } else { 0.0 })),
        (701, "St") => return Err(Some(1.0)),
        // 3 is "running" in this model's own enumeration.
        (701, "InvSt") => return Err(Some(3.0)),
        (123, "WMaxLim_Ena") => return enable(Point::ActivePowerLimit, ""),
        (123, "VArPct_Ena") => return enable(Point::ReactivePowerSet, ""),
        (704, "WMaxLimPctEna") => return enable(Point::ActivePowerLimit, "WMaxLimPctEnaRvrt"),
        (704, "WSetEna") => return enable(Point::ActivePowerSet, "WSetEnaRvrt"),
        (704, "VarSetEna") => return enable(Point::ReactivePowerSet, "VarSetEnaRvrt"),
        (704, "WMaxLimPctRvrtRem") => return Ok(Content::Remaining(Point::ActivePowerLimit)),
        (704, "WSetRvrtRem") => return Ok(Content::Remaining(Point::ActivePowerSet)),
        (704, "VarSetRvrtRem") => return Ok(Content::Remaining(Point::ReactivePowerSet)),
        (713, "WHAvail") => {
            let factor = identity.nameplate.capacity_wh;
            return Ok(Content::Measured(Point::StateOfCharge, factor));
        }
        // Power factor is in percent where the model says so.
        (_, "PF") if point.unit.as_deref() == Some("Pct") => {
            return Ok(Content::Measured(Point::PowerFactor, 100.0));
        }
        (701, "PF") => return Ok(Content::Measured(Point::PowerFactor, 1.0)),
        _ => {}
    }
    let own = MEASURED_IN
        .iter()
        .find(|(number, known, ..)| (*number, *known) == (model.number, name))
        .map(|(_, _, point, factor)| (*point, *factor));
    if let Some((point, factor)) = own {
        return Ok(Content::Measured(point, factor));
    }
    // The total current of a balanced device is that of one phase times their number.
    if name == "A" {
        return Ok(Content::Measured(Point::CurrentL1, f64::from(site.phases)));
    }
    if name == "LLV" && site.phases >= 3 {
        return Ok(Content::Measured(Point::VoltageL1, 3.0_f64.sqrt()));
    }
    if let Some((_, _, rated)) = RATED
        .iter()
        .find(|(number, known, _)| (*number, *known) == (model.number, name))
    {
        return Err(Some(rated(&identity.nameplate)));
    }
    if let Some((_, _, number)) = FIXED
        .iter()
        .find(|(number, known, _)| (*number, *known) == (model.number, name))
    {
        return Err(Some(*number));
    }
    match MEASURED.iter().find(|(known, ..)| *known == name) {
        Some((_, point, factor)) => Ok(Content::Measured(*point, *factor)),
        None => Err(None),
    }
}

/// Finest exponents by unit: what real inverters resolve.
const FINEST: &[(&str, i16)] = &[
    ("A", -2),
    ("V", -1),
    ("Hz", -2),
    ("W", 0),
    ("VA", 0),
    ("var", 0),
    ("Var", 0),
    ("Wh", 0),
    ("WH", 0),
    ("Pct", -2),
    ("cos()", -3),
    ("-", -3),
    ("C", -1),
];

/// The exponents of a model's scale factors: as fine as its unit allows, as coarse as
/// the nameplate makes necessary.
fn scales<'m>(model: &'m Model, nameplate: &Nameplate, site: Site) -> BTreeMap<&'m str, i16> {
    let mut scales: BTreeMap<&str, i16> = BTreeMap::new();
    for point in &model.points {
        let Some(sf) = point.sf.as_deref() else {
            continue;
        };
        let unit = point.unit.as_deref().unwrap_or("-");
        let finest = FINEST
            .iter()
            .find(|(known, _)| *known == unit)
            .map_or(-2, |(_, scale)| *scale);
        let finest = if unit == "Hz" && point.kind == PointType::Uint32 {
            -3
        } else {
            finest
        };
        // Half as much again as the rating: transients must not wrap or stop short.
        let most = match unit {
            "W" | "VA" | "var" | "Var" => 1.5 * nameplate.s.max(nameplate.p),
            "WH" => nameplate.capacity_wh,
            "A" => 1.5 * nameplate.s / site.v_nominal.as_volts(),
            _ => 0.0,
        };
        let room = match point.kind {
            PointType::Int16 => 32_000.0,
            PointType::Uint16 => 65_000.0,
            _ => f64::INFINITY,
        };
        let mut scale = finest;
        while most / 10_f64.powi(scale.into()) > room && scale < 10 {
            scale += 1;
        }
        let entry = scales.entry(sf).or_insert(scale);
        *entry = scale.max(*entry);
    }
    scales
}

/// A text in registers, two characters each, filled with zeros.
fn text(text: &str, size: u16) -> Vec<u16> {
    let bytes: Vec<u8> = text.bytes().filter(u8::is_ascii).collect();
    (0..usize::from(size))
        .map(|n| {
            let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
            u16::from_be_bytes([byte(2 * n), byte(2 * n + 1)])
        })
        .collect()
}
