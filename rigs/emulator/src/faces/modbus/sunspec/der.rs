//! What the models of IEEE 1547 mean to a device that is a DER by the model of `der-model`.
//!
//! Responsible for both ways: the numbers with which points begin, out of the device's settings,
//! and the change of settings that the numbers in a model ask for. Per cent in the registers are
//! per unit in the settings.

use der_model::settings::{
    Abnormal, Category, Droop, EnterService, ReactiveSettings, Threshold, VoltWatt, Vref,
};
use der_model::{Quantity, Settings, Steps};
use quantities::Frequency;
use services::{Curve, FrequencyWatt, Reactive};

use super::link::Link;
use crate::device::Nameplate;
use crate::plant::der::{Change, ReactiveFunction, TripCurves};

/// Modes of model 702 that such a device has.
//= SunSpec model 702, point CtrlModes: 0 to 5 maximum and fixed active power, fixed reactive power
// and factor, volt-var, frequency-watt; 7 and 8 voltage trips; 9 watt-var, 10 volt-watt; 12 and 13
// frequency trips.
const CONTROL_MODES: u32 = 0b11_0111_1011_1111;

/// A voltage that nobody reaches, in per unit, for a threshold that is switched off.
const NEVER_S: f64 = f64::INFINITY;

/// What a model of trip curves looks at.
fn looks_at(model: u16) -> Option<Quantity> {
    match model {
        707 => Some(Quantity::LowVoltage),
        708 => Some(Quantity::HighVoltage),
        709 => Some(Quantity::LowFrequency),
        710 => Some(Quantity::HighFrequency),
        _ => None,
    }
}

/// The number with which a point begins; `None` where the settings say nothing about it.
pub(super) fn begin(
    model: u16,
    name: &str,
    settings: &Settings,
    nameplate: &Nameplate,
) -> Option<f64> {
    let flag = |on: bool| Some(f64::from(u8::from(on)));
    let (capability, enter) = (&settings.capability, &settings.enter);
    match (model, name) {
        (702, "NorOpCatRtg") => flag(settings.category == Category::B),
        (702, "AbnOpCatRtg") => Some(match settings.abnormal {
            Abnormal::I => 0.0,
            Abnormal::II => 1.0,
            Abnormal::III => 2.0,
        }),
        (702, "CtrlModes") => Some(f64::from(CONTROL_MODES)),
        (702, "VarMaxInjRtg" | "VarMaxInj") => Some(capability.inject_pu * nameplate.s),
        (702, "VarMaxAbsRtg" | "VarMaxAbs") => Some(capability.absorb_pu * nameplate.s),
        (703, "ESVHi") => Some(100.0 * enter.v_hi_pu),
        (703, "ESVLo") => Some(100.0 * enter.v_lo_pu),
        (703, "ESHzHi") => Some(enter.f_hi_hz),
        (703, "ESHzLo") => Some(enter.f_lo_hz),
        (703, "ESDlyTms") => Some(enter.delay_s),
        (703, "ESRmpTms") => Some(enter.ramp_s),
        (704, "AntiIslEna") => Some(1.0),
        (705, "Ena") => flag(acts(settings, |law| matches!(law, Reactive::VoltVar(_)))),
        (706, "Ena") => flag(settings.volt_watt.is_some()),
        (711, "Ena") => flag(settings.droop.is_some()),
        (712, "Ena") => flag(acts(settings, |law| matches!(law, Reactive::WattVar(_)))),
        (707..=710, "Ena") => Some(1.0),
        (705..=712, _) => of_set(model, name.split_once("].")?.1, settings),
        _ => None,
    }
}

fn acts(settings: &Settings, is: fn(&Reactive) -> bool) -> bool {
    let law = settings.reactive.as_ref().map(|reactive| &reactive.law);
    law.is_some_and(is)
}

/// The number with which a point of each curve or set of parameters begins.
fn of_set(model: u16, name: &str, settings: &Settings) -> Option<f64> {
    if let Some(quantity) = looks_at(model) {
        return of_trip(name, quantity, settings);
    }
    match model {
        705 | 712 => of_reactive(model, name, settings),
        706 => {
            let on = settings.volt_watt.as_ref()?;
            match name {
                "RspTms" => Some(on.olrt_s),
                _ => of_curve(name, &on.curve, "V", "W"),
            }
        }
        711 => {
            let on = settings.droop.as_ref()?;
            Some(match name {
                "DbOf" => on.law.deadband_over.as_hertz(),
                "DbUf" => on.law.deadband_under.as_hertz(),
                "KOf" => on.law.droop_over,
                "KUf" => on.law.droop_under,
                "RspTms" => on.olrt_s,
                "PMin" => 100.0 * on.p_min_pu,
                _ => return None,
            })
        }
        _ => None,
    }
}

fn of_reactive(model: u16, name: &str, settings: &Settings) -> Option<f64> {
    let on = settings.reactive.as_ref()?;
    match (&on.law, model, name) {
        (Reactive::VoltVar(_), 705, "RspTms") => Some(on.olrt_s),
        (Reactive::VoltVar(_), 705, "VRef") => Some(100.0 * on.vref.fixed_pu),
        (Reactive::VoltVar(_), 705, "VRefAutoEna") => {
            Some(f64::from(u8::from(on.vref.tau_s.is_some())))
        }
        (Reactive::VoltVar(_), 705, "VRefAutoTms") => on.vref.tau_s,
        (Reactive::VoltVar(curve), 705, _) => of_curve(name, curve, "V", "Var"),
        (Reactive::WattVar(curve), 712, _) => of_curve(name, curve, "W", "Var"),
        _ => None,
    }
}

/// The points of a curve in per cent, as many as the registers have room for.
fn of_curve(name: &str, curve: &Curve, x: &str, y: &str) -> Option<f64> {
    if name == "ActPt" {
        return Some(curve.points().len().min(super::curves::POINTS.into()) as f64);
    }
    let (number, axis) = name.strip_prefix("Pt[")?.split_once("].")?;
    let number = number.parse::<usize>().ok()?.checked_sub(1)?;
    let point = curve.points().get(number)?;
    match axis {
        _ if axis == x => Some(100.0 * point.0),
        _ if axis == y => Some(100.0 * point.1),
        _ => None,
    }
}

/// The three curves of a model of trips, the point farthest from nominal first.
fn of_trip(name: &str, quantity: Quantity, settings: &Settings) -> Option<f64> {
    let (trip, ride) = (&settings.trip, &settings.ride);
    let (curve, inner) = name.split_once('.')?;
    let steps: &[Threshold] = match (curve, quantity) {
        ("MustTrip", Quantity::LowVoltage) => &trip.uv,
        ("MustTrip", Quantity::HighVoltage) => &trip.ov,
        ("MustTrip", Quantity::LowFrequency) => &trip.uf,
        ("MustTrip", Quantity::HighFrequency) => &trip.of,
        ("MayTrip", _) => ride.may_trip.of(quantity).as_slice(),
        ("MomCess", _) => ride.cease.momentary.of(quantity).as_slice(),
        _ => return None,
    };
    if inner == "ActPt" {
        return Some(steps.len() as f64);
    }
    let (number, axis) = inner.strip_prefix("Pt[")?.split_once("].")?;
    let from_far = number.parse::<usize>().ok()?.checked_sub(1)?;
    let step = steps.iter().rev().nth(from_far)?;
    match axis {
        "V" => Some(100.0 * step.at),
        "Hz" => Some(step.at),
        "Tms" => Some(step.clearing_s),
        _ => None,
    }
}

impl Link {
    /// What a curve or set of parameters asks for when it is on; `None` when it is none that the
    /// device would adopt.
    pub(super) fn change_of_set(
        &self,
        group: &str,
        set: u16,
        settings: &Settings,
    ) -> Option<Change> {
        let of = |name: &str| self.number(&format!("{group}[{set}].{name}"));
        match self.number {
            711 => {
                let gain = |name| of(name).filter(|k| *k > 0.0);
                let hertz = |name| Some(Frequency::from_hertz(of(name)?));
                Some(Change::Droop(Some(Droop {
                    law: FrequencyWatt {
                        nominal: settings.nominal,
                        deadband_over: hertz("DbOf")?,
                        deadband_under: hertz("DbUf")?,
                        droop_over: gain("KOf")?,
                        droop_under: gain("KUf")?,
                    },
                    olrt_s: of("RspTms")?,
                    p_min_pu: of("PMin")? / 100.0,
                    settled_pu: SETTLED_PU,
                })))
            }
            706 => Some(Change::VoltWatt(Some(VoltWatt {
                curve: self.curve_of(group, set, ("V", "W"), |_, percent| percent / 100.0)?,
                olrt_s: of("RspTms").unwrap_or(settings.told.volt_watt_s),
            }))),
            705 | 712 => {
                let capability = settings.capability;
                // Of the largest reactive power each side has its own.
                let of_var_max = of("DeptRef") == Some(1.0);
                let y = |_: f64, percent: f64| match percent / 100.0 {
                    q if of_var_max && q >= 0.0 => q * capability.inject_pu,
                    q if of_var_max => q * capability.absorb_pu,
                    q => q,
                };
                let x = if self.number == 705 { "V" } else { "W" };
                let curve = self.curve_of(group, set, (x, "Var"), y)?;
                let can = |(_, q): &(f64, f64)| {
                    (-capability.absorb_pu - NEAR_PU..=capability.inject_pu + NEAR_PU).contains(q)
                };
                if !curve.points().iter().all(can) {
                    return None;
                }
                Some(if self.number == 705 {
                    if !falls(&curve) {
                        return None;
                    }
                    let auto = of("VRefAutoEna") == Some(1.0);
                    let on = ReactiveSettings {
                        law: Reactive::VoltVar(curve),
                        olrt_s: of("RspTms").unwrap_or(settings.told.volt_var_s),
                        vref: Vref {
                            fixed_pu: of("VRef").unwrap_or(100.0) / 100.0,
                            tau_s: of("VRefAutoTms").filter(|_| auto),
                            lo_pu: VREF_PU.0,
                            hi_pu: VREF_PU.1,
                        },
                    };
                    Change::Reactive(ReactiveFunction::VoltVar, Some(on))
                } else {
                    let on = ReactiveSettings {
                        law: Reactive::WattVar(curve),
                        olrt_s: settings.told.watt_var_s,
                        vref: Vref::NOMINAL,
                    };
                    Change::Reactive(ReactiveFunction::WattVar, Some(on))
                })
            }
            model => {
                let quantity = looks_at(model)?;
                let steps = |curve| self.steps_of(group, set, curve, quantity);
                let [near, far] = *steps("MustTrip")?.as_slice() else {
                    return None;
                };
                let curves = TripCurves {
                    must: [near, far],
                    may: steps("MayTrip")?,
                    momentary: Some(steps("MomCess")?),
                };
                Some(Change::Trip(quantity, curves))
            }
        }
    }

    /// What it is to switch the function of a model off.
    pub(super) fn change_off(&self) -> Option<Change> {
        Some(match self.number {
            705 => Change::Reactive(ReactiveFunction::VoltVar, None),
            706 => Change::VoltWatt(None),
            711 => Change::Droop(None),
            712 => Change::Reactive(ReactiveFunction::WattVar, None),
            model => {
                let never = Threshold {
                    at: 0.0,
                    clearing_s: NEVER_S,
                };
                // Without trips nothing may trip either; what gives up its output is no trip.
                let curves = TripCurves {
                    must: [never; 2],
                    may: Steps::default(),
                    momentary: None,
                };
                Change::Trip(looks_at(model)?, curves)
            }
        })
    }

    fn curve_of(
        &self,
        group: &str,
        set: u16,
        (x, y): (&str, &str),
        base: impl Fn(f64, f64) -> f64,
    ) -> Option<Curve> {
        let of = |name: &str| self.number(&format!("{group}[{set}].{name}"));
        let most = f64::from(super::curves::POINTS);
        let count = of("ActPt").filter(|n| (2.0..=most).contains(n))? as u16;
        let points = (1..=count)
            .map(|n| {
                let x = of(&format!("Pt[{n}].{x}"))? / 100.0;
                Some((x, base(x, of(&format!("Pt[{n}].{y}"))?)))
            })
            .collect::<Option<Vec<_>>>()?;
        Curve::new(points).ok()
    }

    /// The steps of one of the three curves of a model of trips; none are a curve, too.
    fn steps_of(&self, group: &str, set: u16, curve: &str, of: Quantity) -> Option<Steps> {
        let number = |name: &str| self.number(&format!("{group}[{set}].{curve}.{name}"));
        let (axis, scale) = if of.is_voltage() {
            ("V", 100.0)
        } else {
            ("Hz", 1.0)
        };
        let most = f64::from(super::curves::POINTS);
        let count = number("ActPt").filter(|n| (0.0..=most).contains(n))? as u16;
        let points = (1..=count)
            .map(|n| {
                Some(Threshold {
                    at: number(&format!("Pt[{n}].{axis}"))? / scale,
                    clearing_s: number(&format!("Pt[{n}].Tms"))?,
                })
            })
            .collect::<Option<Vec<_>>>()?;
        Steps::new(&points, of).ok()
    }

    /// When the device may enter service, as the registers of model 703 say.
    pub(super) fn enter_service(&self) -> Option<EnterService> {
        let of = |name: &str| self.number(name);
        let (delay_s, ramp_s) = (of("ESDlyTms")?, of("ESRmpTms")?);
        // Without a ramp a small device waits the random time instead, all of it here.
        let random_s = of("ESRndTms").filter(|_| ramp_s <= 0.0).unwrap_or(0.0);
        let enter = EnterService {
            v_lo_pu: of("ESVLo")? / 100.0,
            v_hi_pu: of("ESVHi")? / 100.0,
            f_lo_hz: of("ESHzLo")?,
            f_hi_hz: of("ESHzHi")?,
            delay_s: delay_s + random_s,
            ramp_s,
        };
        let opens = enter.v_lo_pu < enter.v_hi_pu && enter.f_lo_hz < enter.f_hi_hz;
        opens.then_some(enter)
    }
}

/// How near is near enough to end the recovery of a droop, per unit, and where a reference voltage
/// may go by itself. As the defaults of the DER model, which a register does not tell.
const SETTLED_PU: f64 = 0.001;
const VREF_PU: (f64, f64) = (0.95, 1.05);

/// How far beyond a limit rounding may carry what stands on it, per unit.
const NEAR_PU: f64 = 1e-6;

fn falls(curve: &Curve) -> bool {
    curve.points().windows(2).all(|pair| pair[1].1 <= pair[0].1)
}
