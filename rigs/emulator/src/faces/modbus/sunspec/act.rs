//! What the device does about the controls that were written.

use std::time::Duration;

use model::Point;

use super::super::image::Exception;
use super::link::Link;
use der_model::settings::{ReactiveSettings, Vref};

use crate::device::law::{Law, Phase};
use crate::device::{Nameplate, Revert};
use crate::plant::der::{Change, ReactiveFunction};
use crate::world::World;

/// The number under which a device keeps its constant power factor; that of no model.
const PF: u16 = 0;

/// Lets a device follow a power factor from now on, and another one after a time.
fn follow(
    world: &mut World,
    device: usize,
    number: u16,
    law: Option<Law>,
    until: Option<Duration>,
    back: Option<Law>,
) {
    let now = world.plant.now();
    if let Some(olrt_s) = world.functions(device).map(|der| der.own().told.const_pf_s) {
        let change = |law: Option<Law>| {
            let on = law.and_then(|law| match law {
                Law::Reactive(law) => Some(ReactiveSettings {
                    law,
                    olrt_s,
                    vref: Vref::NOMINAL,
                }),
                _ => None,
            });
            Change::Reactive(ReactiveFunction::PowerFactor, on)
        };
        let mut changes = vec![(now, change(law))];
        if let Some(until) = until.filter(|until| !until.is_zero()) {
            changes.push((now + until, change(back)));
        }
        world.change(device, number, changes);
        return;
    }
    let mut phases = vec![Phase { from: now, law }];
    if let Some(until) = until.filter(|until| !until.is_zero()) {
        phases.push(Phase {
            from: now + until,
            law: back,
        });
    }
    world.follow(device, number, phases);
}

impl Link {
    /// Lets the device act on the controls of this model whose registers were touched.
    ///
    /// # Errors
    /// Exception 3 when the device does not take what the registers now say.
    pub(super) fn act(
        &mut self,
        world: &mut World,
        device: usize,
        touched: &[u16],
        nameplate: &Nameplate,
    ) -> Result<(), Exception> {
        if self.adoption.is_some() {
            return self.act_on_curves(world, device, touched, nameplate);
        }
        let any = |names: &[&str]| {
            names
                .iter()
                .filter_map(|name| self.cell(name))
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
        match self.number {
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
                if any(&["OutPFSet", "OutPFSet_Ena"]) {
                    // A negative power factor is an under-excited one: reactive power goes in
                    // (IEEE sign convention, as model 103 has it).
                    let law = n("OutPFSet").filter(|_| on("OutPFSet_Ena"));
                    let law = law.and_then(|pf| Law::power_factor(pf.abs(), pf < 0.0));
                    if on("OutPFSet_Ena") && law.is_none() {
                        return Err(Exception::IllegalValue);
                    }
                    let until = after("OutPFSet_RvrtTms").filter(|_| law.is_some());
                    follow(world, device, PF, law, until, None);
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
            703 => {
                let window = ["ESVHi", "ESVLo", "ESHzHi", "ESHzLo"];
                let times = ["ESDlyTms", "ESRndTms", "ESRmpTms"];
                if world.functions(device).is_some() && (any(&window) || any(&times)) {
                    let enter = self.enter_service().ok_or(Exception::IllegalValue)?;
                    let now = world.plant.now();
                    world.change(device, self.number, vec![(now, Change::Enter(enter))]);
                }
                if any(&["ES"]) {
                    hold(world, Point::SwitchOn, n("ES"), "", None)?;
                }
            }
            715 if any(&["OpCtl"]) => {
                // 0 stop, 1 start, 2 enter and 3 leave standby (SunSpec model 715, OpCtl).
                let start = n("OpCtl").map(|op| f64::from(u8::from(op == 1.0 || op == 3.0)));
                hold(world, Point::SwitchOn, start, "", None)?;
            }
            802 if any(&["SetOp"]) => {
                // 1 connect, 2 disconnect (SunSpec model 802, SetOp).
                let connect = n("SetOp").map(|op| f64::from(u8::from(op == 1.0)));
                hold(world, Point::SwitchOn, connect, "", None)?;
            }
            704 => {
                if any(&["AntiIslEna"]) && world.functions(device).is_some() {
                    let on = on("AntiIslEna");
                    let now = world.plant.now();
                    world.change(device, self.number, vec![(now, Change::LeavesIslands(on))]);
                }
                if any(&["PFWInjEna", "PFWInj.PF", "PFWInj.Ext", "PFWInjRvrtTms"]) {
                    let of = |pf: &str, ext: &str| {
                        Law::power_factor(n(pf)?, n(ext).is_some_and(|ext| ext == 1.0))
                    };
                    let law = of("PFWInj.PF", "PFWInj.Ext").filter(|_| on("PFWInjEna"));
                    if on("PFWInjEna") && law.is_none() {
                        return Err(Exception::IllegalValue);
                    }
                    let until = after("PFWInjRvrtTms").filter(|_| law.is_some());
                    let back =
                        of("PFWInjRvrt.PF", "PFWInjRvrt.Ext").filter(|_| on("PFWInjEnaRvrt"));
                    follow(world, device, PF, law, until, back);
                }
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
                            mode => {
                                // Of the largest reactive power, which a DER tells in model 702.
                                let own = world.functions(device).map(|der| der.own().capability);
                                let base = match (mode, own) {
                                    (Some(1.0), Some(own)) => own.inject_pu * nameplate.s,
                                    _ => nameplate.s,
                                };
                                let share = |name| n(name).map(|pct| pct / 100.0 * base);
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
