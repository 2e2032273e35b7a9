//! What stands in the points of the models: measured, from the nameplate, or a plain number.
//!
//! A point that nobody fills carries the pattern for "not implemented". Points of repeated
//! groups are named without their numbers here (`module.DCW`).

use model::Point;
use profile::sunspec::{ModelPoint, PointType};

use super::super::image::Identity;
use super::scales::Scales;
use super::{curves, der, state};
use crate::device::Nameplate;
use crate::plant::Site;
use crate::world::World;

/// Modules of model 160; they share the DC power evenly. Chosen: the usual two trackers.
pub(super) const MODULES: u16 = 2;
const MODULE_SHARE: f64 = 1.0 / MODULES as f64;

/// Ports of model 714. Chosen: one, all of the DC side.
pub(super) const PORTS: u16 = 1;

/// What a point of a model shows.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Registers that never change by themselves; a writable point keeps what is written.
    Words {
        /// The registers.
        words: Vec<u16>,
        /// The exponent at which they stand there.
        scale: i16,
    },
    /// A measured value and its factor from the base unit.
    Measured(Point, f64),
    /// Whether a setpoint is in force: 1 or 0; or the number that it leaves behind after its timer.
    Enable {
        /// The setpoint.
        point: Point,
        /// What was written.
        written: u16,
        /// The point that holds what is agreed for the time after.
        after: &'static str,
    },
    /// Position of the switch, and what was written there last.
    Switch {
        /// What was written.
        written: u16,
    },
    /// Seconds until a setpoint is taken back.
    Remaining(Point),
    /// Seconds that the device has been on: a heartbeat.
    Uptime,
    /// What the device tells of its state.
    Told(fn(&World, usize) -> Option<f64>),
}

/// Points that are measured, by name: canonical point and factor from its base unit.
pub(super) const MEASURED: &[(&str, Point, f64)] = &[
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
    ("module.DCW", Point::DcPower, MODULE_SHARE),
    ("module.DCA", Point::DcCurrent, MODULE_SHARE),
    ("module.DCV", Point::DcVoltage, 1.0),
    ("module.DCSt", Point::State, 1.0),
    ("Prt.DCW", Point::DcPower, 1.0),
    ("Prt.DCA", Point::DcCurrent, 1.0),
    ("Prt.DCV", Point::DcVoltage, 1.0),
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
pub(super) const MEASURED_IN: &[(u16, &str, Point, f64)] = &[
    // As a real meter at the point of common coupling counts: what it calls import is given to
    // the bus.
    (201, "TotWhImp", Point::EnergyExport, 1.0),
    (201, "TotWhExp", Point::EnergyImport, 1.0),
    (202, "TotWhImp", Point::EnergyExport, 1.0),
    (202, "TotWhExp", Point::EnergyImport, 1.0),
    (203, "TotWhImp", Point::EnergyExport, 1.0),
    (203, "TotWhExp", Point::EnergyImport, 1.0),
    (204, "TotWhImp", Point::EnergyExport, 1.0),
    (204, "TotWhExp", Point::EnergyImport, 1.0),
    (211, "TotWhImp", Point::EnergyExport, 1.0),
    (211, "TotWhExp", Point::EnergyImport, 1.0),
    (212, "TotWhImp", Point::EnergyExport, 1.0),
    (212, "TotWhExp", Point::EnergyImport, 1.0),
    (213, "TotWhImp", Point::EnergyExport, 1.0),
    (213, "TotWhExp", Point::EnergyImport, 1.0),
    (214, "TotWhImp", Point::EnergyExport, 1.0),
    (214, "TotWhExp", Point::EnergyImport, 1.0),
    (802, "V", Point::BatteryVoltage, 1.0),
    (802, "A", Point::BatteryCurrent, 1.0),
    (802, "W", Point::DcPower, 1.0),
];

/// How a point is made of the nameplate.
pub(super) type OfNameplate = fn(&Nameplate) -> f64;

/// Points that stand on the nameplate.
pub(super) const RATED: &[(u16, &str, OfNameplate)] = &[
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
    (702, "WMaxRtg", |n| n.p),
    (702, "VAMaxRtg", |n| n.s),
    (702, "VarMaxInjRtg", |n| n.s),
    (702, "VarMaxAbsRtg", |n| n.s),
    (702, "WMax", |n| n.p),
    (702, "VAMax", |n| n.s),
    (702, "VarMaxInj", |n| n.s),
    (702, "VarMaxAbs", |n| n.s),
    (713, "WHRtg", |n| n.capacity_wh),
    (802, "WHRtg", |n| n.capacity_wh),
    (802, "WChaRteMax", |n| n.p),
    (802, "WDisChaRteMax", |n| n.p),
];

/// Points that begin with a number in their own unit; a writable one keeps what is written.
pub(super) const FIXED: &[(u16, &str, f64)] = &[
    (1, "DA", 1.0),
    (122, "PVConn", 7.0),
    (123, "Conn_WinTms", 0.0),
    (123, "Conn_RvrtTms", 0.0),
    (123, "WMaxLimPct", 100.0),
    (123, "WMaxLimPct_WinTms", 0.0),
    (123, "WMaxLimPct_RvrtTms", 0.0),
    (123, "WMaxLimPct_RmpTms", 0.0),
    (123, "WMaxLim_Ena", 0.0),
    (123, "OutPFSet", 1.0),
    (123, "OutPFSet_WinTms", 0.0),
    (123, "OutPFSet_RvrtTms", 0.0),
    (123, "OutPFSet_RmpTms", 0.0),
    (123, "OutPFSet_Ena", 0.0),
    (123, "VArWMaxPct", 0.0),
    (123, "VArMaxPct", 0.0),
    (123, "VArAvalPct", 0.0),
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
    (160, "N", MODULES as f64),
    // Categories B and III of IEEE 1547; CtrlModes: those of models 704 to 712 that are here
    // (maximum and fixed active power, fixed reactive power and factor, volt-var, frequency-watt,
    // watt-var, volt-watt).
    (702, "NorOpCatRtg", 1.0),
    (702, "AbnOpCatRtg", 2.0),
    (702, "CtrlModes", 0b110_0011_1111 as f64),
    (703, "ESVHi", 105.0),
    (703, "ESVLo", 91.7),
    (703, "ESDlyTms", 0.0),
    (703, "ESRndTms", 0.0),
    (703, "ESRmpTms", 0.0),
    (704, "PFWInjEna", 0.0),
    (704, "PFWInjEnaRvrt", 0.0),
    (704, "PFWInjRvrtTms", 0.0),
    (704, "PFWAbsEna", 0.0),
    (704, "PFWAbsEnaRvrt", 0.0),
    (704, "PFWAbsRvrtTms", 0.0),
    (704, "PFWInj.PF", 1.0),
    (704, "PFWInj.Ext", 0.0),
    (704, "PFWInjRvrt.PF", 1.0),
    (704, "PFWInjRvrt.Ext", 0.0),
    (704, "PFWAbs.PF", 1.0),
    (704, "PFWAbs.Ext", 0.0),
    (704, "PFWAbsRvrt.PF", 1.0),
    (704, "PFWAbsRvrt.Ext", 0.0),
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
    (714, "PrtAlrms", 0.0),
    (714, "NPrt", PORTS as f64),
    (714, "Prt.DCSta", 1.0),
    (714, "Prt.DCAlrm", 0.0),
    (715, "LocRemCtl", 0.0),
    (715, "ControllerHb", 0.0),
    (715, "AlarmReset", 0.0),
    (715, "OpCtl", 1.0),
    (802, "LocRemCtl", 0.0),
    (802, "CtrlHb", 0.0),
    (802, "SetOp", 1.0),
    (802, "AlmRst", 0.0),
    (802, "State", 3.0),
    (802, "Typ", 4.0),
];

/// What stands in a point; the error is a plain number, or none.
pub(super) fn content(
    (model, length): (u16, u16),
    point: &ModelPoint,
    identity: &Identity,
    site: Site,
    scales: &Scales,
) -> Result<Content, Option<f64>> {
    let plain = plain(&point.name);
    let name = plain.as_str();
    if point.kind == PointType::Sunssf {
        return Err(scales.of(name).map(f64::from));
    }
    let settings = identity.der.as_ref();
    let number = settings.and_then(|s| der::begin(model, &point.name, s, &identity.nameplate));
    if number.is_some() {
        return Err(number);
    }
    if let Some(number) = curves::begin(model, &point.name) {
        return Err(Some(number));
    }
    let words = |text: &str| Content::Words {
        words: text_words(text, point.size),
        scale: 0,
    };
    let enable = |point, after| {
        Ok(Content::Enable {
            point,
            written: 0,
            after,
        })
    };
    match (model, name) {
        (_, "ID") => return Err(Some(f64::from(model))),
        (_, "L") => return Err(Some(f64::from(length))),
        (1, "Mn") => return Ok(words(&identity.maker)),
        (1, "Md") => return Ok(words(&identity.model)),
        (1, "SN") => return Ok(words(&identity.serial)),
        (1, "Vr") => return Ok(words(env!("CARGO_PKG_VERSION"))),
        // 4 photovoltaic, 82 storage (SunSpec model 120, point DERTyp).
        (120, "DERTyp") => return Err(Some(if identity.is_storage { 82.0 } else { 4.0 })),
        (121, "VRef") => return Err(Some(site.v_nominal.as_volts())),
        (121, "ECPNomHz") => return Err(Some(site.f_nominal.as_hertz())),
        // 0 single phase, 1 split phase, 2 three phases (SunSpec model 701, point ACType).
        (701, "ACType") => return Err(Some(f64::from(site.phases.clamp(1, 3) - 1))),
        (701, "St") => return Ok(Content::Told(state::operates)),
        (701, "InvSt") => return Ok(Content::Told(state::inverter)),
        (122, "ECPConn") | (701, "ConnSt") => return Ok(Content::Told(state::connected)),
        (701, "DERMode") => return Ok(Content::Told(state::mode)),
        (701, "Alrm") => return Ok(Content::Told(state::alarms)),
        (703, "ESDlyRemTms") => return Ok(Content::Told(state::enters_in)),
        (702, "VNomRtg" | "VNom") => return Err(Some(site.v_nominal.as_volts())),
        (702, "WChaRteMaxRtg" | "WDisChaRteMaxRtg" | "WChaRteMax" | "WDisChaRteMax")
            if identity.is_storage =>
        {
            return Err(Some(identity.nameplate.p));
        }
        (123, "Conn") | (703, "ES") => return Ok(Content::Switch { written: 1 }),
        // IEEE 1547-2018 default enter-service window: half a hertz below to a tenth above.
        (703, "ESHzHi") => return Err(Some(site.f_nominal.as_hertz() + 0.1)),
        (703, "ESHzLo") => return Err(Some(site.f_nominal.as_hertz() - 0.5)),
        (715, "DERHb") | (802, "Hb") => return Ok(Content::Uptime),
        (160 | 714, "module.ID" | "Prt.ID") => return Err(number_in(&point.name).map(f64::from)),
        (714, "Prt.PrtTyp") => return Err(Some(if identity.is_storage { 1.0 } else { 0.0 })),
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
        .find(|(number, known, ..)| (*number, *known) == (model, name))
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
        .find(|(number, known, _)| (*number, *known) == (model, name))
    {
        return Err(Some(rated(&identity.nameplate)));
    }
    if let Some((_, _, number)) = FIXED
        .iter()
        .find(|(number, known, _)| (*number, *known) == (model, name))
    {
        return Err(Some(*number));
    }
    match MEASURED.iter().find(|(known, ..)| *known == name) {
        Some((_, point, factor)) => Ok(Content::Measured(*point, *factor)),
        None => Err(None),
    }
}

/// A name without the numbers of groups: `Crv[2].Pt[1].V` is `Crv.Pt.V`.
pub(super) fn plain(name: &str) -> String {
    let mut inside = false;
    name.chars()
        .filter(|c| {
            let was = inside;
            inside = (inside || *c == '[') && *c != ']';
            !(was || inside)
        })
        .collect()
}

/// The number of the outermost group in a name.
pub(super) fn number_in(name: &str) -> Option<u16> {
    let (_, rest) = name.split_once('[')?;
    rest.split_once(']')?.0.parse().ok()
}

/// A text in registers, two characters each, filled with zeros.
fn text_words(text: &str, size: u16) -> Vec<u16> {
    let bytes: Vec<u8> = text.bytes().filter(u8::is_ascii).collect();
    (0..usize::from(size))
        .map(|n| {
            let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
            u16::from_be_bytes([byte(2 * n), byte(2 * n + 1)])
        })
        .collect()
}
