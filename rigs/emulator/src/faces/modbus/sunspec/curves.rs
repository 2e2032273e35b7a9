//! Curves that a client writes and lets the device adopt: models 705 to 712.
//!
//! The first curve is the active one and read-only. A client writes another one, writes its
//! number to the request, and looks at the result until the device has copied it to the first
//! place. Responsible for that and for the timer that takes a curve back; what a curve then
//! does to the power is in [`crate::device::law`].

use std::time::Duration;

use quantities::Frequency;
use services::{Curve, FrequencyWatt, Reactive};

use super::super::image::Exception;
use super::link::Link;
use crate::device::Nameplate;
use crate::device::law::{Droop, Law, Phase};
use crate::world::World;

/// Points of a curve, and curves (or sets of parameters) of a model.
/// Chosen: the four points of the IEEE 1547 volt-var curve, and two curves to write besides the active one.
pub(super) const POINTS: u16 = 4;
const CURVES: u16 = 3;

/// Time that a device takes to adopt a curve.
/// Chosen: longer than a request, so that a client that does not wait is found out.
const ADOPTING: Duration = Duration::from_millis(300);

/// Results of an adoption (SunSpec model 705, AdptCrvRslt).
const BUSY: f64 = 0.0;
const DONE: f64 = 1.0;
const FAILED: f64 = 2.0;

/// How often the groups of these models are there.
pub(super) fn counts(point: &str) -> Option<u16> {
    match point {
        "NPt" => Some(POINTS),
        "NCrv" | "NCrvSet" | "NCtl" => Some(CURVES),
        _ => None,
    }
}

/// Whether a point belongs to the active curve, which nobody may write.
pub(super) fn is_active(name: &str) -> bool {
    name.starts_with("Crv[1].") || name.starts_with("Ctl[1].")
}

/// Points of the default curves, in the units of the models.
//= IEEE 1547-2018 category B defaults, tables 8, 31 and 9 (as in the settings reference).
const VOLT_VAR: [(f64, f64); 4] = [(92.0, 44.0), (98.0, 0.0), (102.0, 0.0), (108.0, -44.0)];
const VOLT_WATT: [(f64, f64); 2] = [(106.0, 100.0), (110.0, 20.0)];
const WATT_VAR: [(f64, f64); 4] = [(-100.0, 44.0), (-50.0, 0.0), (50.0, 0.0), (100.0, -44.0)];

/// The number with which a point of these models begins; `None` for other points.
pub(super) fn begin(model: u16, name: &str) -> Option<f64> {
    if !(705..=712).contains(&model) {
        return None;
    }
    if let Some(count) = counts(name) {
        return Some(count.into());
    }
    let point = |points: &[(f64, f64)], name: &str| -> Option<f64> {
        let (number, axis) = name.strip_prefix("Pt[")?.split_once("].")?;
        let (x, y) = points.get(number.parse::<usize>().ok()?.checked_sub(1)?)?;
        Some(if matches!((model, axis), (_, "V") | (712, "W")) {
            *x
        } else {
            *y
        })
    };
    let (curve, inner) = match name.split_once("].") {
        Some((head, inner)) => (head.rsplit('[').next()?.parse::<u16>().ok()?, inner),
        None => (0, name),
    };
    match (model, inner) {
        (_, "ReadOnly") => Some(f64::from(u8::from(curve == 1))),
        (_, "AdptCrvRslt" | "AdptCtlRslt") => Some(DONE),
        (
            _,
            "Ena" | "AdptCrvReq" | "AdptCtlReq" | "RvrtTms" | "RvrtRem" | "RvrtCrv" | "RvrtCtl",
        ) => Some(0.0),
        // A device without trips of its own has none to tell.
        (707..=710, "MustTrip.ActPt" | "MayTrip.ActPt" | "MomCess.ActPt") => Some(0.0),
        (706, "ActPt") => Some(2.0),
        (_, "ActPt") => Some(4.0),
        // Percent of the largest active power (706), of the largest apparent power (705, 712).
        (706, "DeptRef") => Some(0.0),
        (_, "DeptRef") => Some(3.0),
        (_, "Pri") => Some(1.0),
        (705, "VRef") => Some(100.0),
        (705, "VRefAutoEna") => Some(0.0),
        (705, "VRefAutoTms") => Some(300.0),
        (706, "RspTms") => Some(10.0),
        (_, "RspTms") => Some(5.0),
        (711, "DbOf" | "DbUf") => Some(0.036),
        (711, "KOf" | "KUf") => Some(0.05),
        (711, "PMin") => Some(0.0),
        (705, inner) => point(&VOLT_VAR, inner),
        (706, inner) => point(&VOLT_WATT, inner),
        (712, inner) => point(&WATT_VAR, inner),
        _ => None,
    }
}

/// What moves in a model with curves.
#[derive(Clone, Debug)]
pub(super) struct Adoption {
    /// Name of the group: `Crv` or `Ctl`.
    group: &'static str,
    /// Points of request, result and the curve to go back to.
    request: &'static str,
    result: &'static str,
    back: &'static str,
    /// The curve that is being adopted, and when that is done.
    pending: Option<(u16, Duration)>,
    /// When the function is taken back.
    revert_at: Option<Duration>,
}

impl Adoption {
    /// That of a model; `None` when it has no curves.
    pub(super) fn of(model: u16) -> Option<Self> {
        let (group, request, result, back) = match model {
            705 | 706 | 712 => ("Crv", "AdptCrvReq", "AdptCrvRslt", "RvrtCrv"),
            707..=710 => ("Crv", "AdptCrvReq", "AdptCrvRslt", ""),
            711 => ("Ctl", "AdptCtlReq", "AdptCtlRslt", "RvrtCtl"),
            _ => return None,
        };
        Some(Self {
            group,
            request,
            result,
            back,
            pending: None,
            revert_at: None,
        })
    }

    /// Does what has become due.
    pub(super) fn settle(&mut self, link: &mut Link, now: Duration) {
        if let Some((curve, _)) = self.pending.filter(|(_, due)| *due <= now) {
            self.pending = None;
            self.copy(link, curve);
            link.put(self.result, Some(DONE));
        }
        if self.revert_at.is_some_and(|at| at <= now) {
            self.revert_at = None;
            match link.curve_to_go_back_to(self) {
                Some(curve) => self.copy(link, curve),
                None => link.put("Ena", Some(0.0)),
            }
        }
        let left = self.revert_at.map_or(0.0, |at| (at - now).as_secs_f64());
        link.put("RvrtRem", Some(left.ceil()));
    }

    /// Copies a curve to the first place.
    fn copy(&self, link: &mut Link, curve: u16) {
        let from = format!("{}[{curve}].", self.group);
        let values: Vec<(String, Option<f64>)> = link
            .cells
            .iter()
            .filter_map(|cell| cell.name.strip_prefix(&from))
            .filter(|inner| *inner != "ReadOnly")
            .map(|inner| {
                let to = format!("{}[1].{inner}", self.group);
                (to, link.number(&format!("{from}{inner}")))
            })
            .collect();
        for (name, value) in values {
            link.put(&name, value);
        }
    }
}

impl Link {
    /// Lets the device act on a model with curves.
    pub(super) fn act_on_curves(
        &mut self,
        world: &mut World,
        device: usize,
        touched: &[u16],
        nameplate: &Nameplate,
    ) -> Result<(), Exception> {
        let Some(mut adoption) = self.adoption.take() else {
            return Ok(());
        };
        let now = world.plant.now();
        let settings = world.functions(device).map(|der| der.own().clone());
        let is_touched = |link: &Self, name: &str| {
            link.cell(name)
                .is_some_and(|cell| touched.contains(&cell.offset))
        };
        if is_touched(self, adoption.request) {
            let curve = self.number(adoption.request).unwrap_or(0.0) as u16;
            let fits = match &settings {
                Some(der) => self.change_of_set(adoption.group, curve, der).is_some(),
                None => self.law(&adoption, curve, nameplate, world).is_some(),
            };
            if (1..=CURVES).contains(&curve) && fits {
                adoption.pending = Some((curve, now + ADOPTING));
                self.put(adoption.result, Some(BUSY));
            } else {
                adoption.pending = None;
                self.put(adoption.result, Some(FAILED));
            }
        }
        let enabled = self.number("Ena") == Some(1.0);
        if is_touched(self, "Ena") || is_touched(self, "RvrtTms") {
            let after = self.number("RvrtTms").unwrap_or(0.0);
            adoption.revert_at = (enabled && after > 0.0)
                .then(|| Duration::try_from_secs_f64(after).ok())
                .flatten()
                .map(|after| now + after);
        }
        // Disabled is disabled, whatever is adopted meanwhile.
        let mut followed = vec![(now, Some(1))];
        followed.extend(adoption.pending.map(|(curve, due)| (due, Some(curve))));
        let back = self.curve_to_go_back_to(&adoption);
        followed.extend(adoption.revert_at.map(|at| (at, back)));
        let followed = followed
            .into_iter()
            .map(|(from, curve)| (from, curve.filter(|_| enabled)));
        match settings {
            Some(der) => {
                let change = |curve: Option<u16>| match curve {
                    Some(curve) => self.change_of_set(adoption.group, curve, &der),
                    None => self.change_off(),
                };
                let changes = followed.filter_map(|(from, curve)| Some((from, change(curve)?)));
                world.change(device, self.number, changes.collect());
            }
            None => {
                let law = |curve: u16| self.law(&adoption, curve, nameplate, world);
                let phases = followed.map(|(from, curve)| Phase {
                    from,
                    law: curve.and_then(law),
                });
                let phases = phases.collect();
                world.follow(device, self.number, phases);
            }
        }
        self.adoption = Some(adoption);
        Ok(())
    }

    fn curve_to_go_back_to(&self, adoption: &Adoption) -> Option<u16> {
        let curve = self.number(adoption.back)?;
        (1.0..=f64::from(CURVES))
            .contains(&curve)
            .then_some(curve as u16)
    }

    /// What a curve makes the device do; `None` when it is no curve that a device would adopt.
    fn law(
        &self,
        adoption: &Adoption,
        curve: u16,
        nameplate: &Nameplate,
        world: &World,
    ) -> Option<Law> {
        let of = |name: &str| self.number(&format!("{}[{curve}].{name}", adoption.group));
        let site = world.plant.site();
        if self.number == 711 {
            let gain = |name| of(name).filter(|k| *k > 0.0);
            return Some(Law::FrequencyDroop(Droop {
                law: FrequencyWatt {
                    nominal: site.f_nominal,
                    deadband_over: Frequency::from_hertz(of("DbOf")?),
                    deadband_under: Frequency::from_hertz(of("DbUf")?),
                    droop_over: gain("KOf")?,
                    droop_under: gain("KUf")?,
                },
                rating: nameplate.p,
                p_min: of("PMin").unwrap_or(0.0) / 100.0 * nameplate.p,
            }));
        }
        let count = of("ActPt").filter(|n| (1.0..=f64::from(POINTS)).contains(n))? as u16;
        let (x_name, y_name) = match self.number {
            706 => ("V", "W"),
            712 => ("W", "Var"),
            _ => ("V", "Var"),
        };
        let x_base = if self.number == 712 {
            nameplate.p
        } else {
            site.v_nominal.as_volts()
        };
        let y_base = if self.number == 706 || of("DeptRef") == Some(0.0) {
            nameplate.p
        } else {
            nameplate.s
        };
        let points = (1..=count)
            .map(|n| {
                let x = of(&format!("Pt[{n}].{x_name}"))?;
                let y = of(&format!("Pt[{n}].{y_name}"))?;
                Some((x / 100.0 * x_base, y / 100.0 * y_base))
            })
            .collect::<Option<Vec<_>>>()?;
        let curve = Curve::new(points).ok()?;
        Some(match self.number {
            706 => Law::VoltWatt(curve),
            712 => Law::Reactive(Reactive::WattVar(curve)),
            _ => Law::Reactive(Reactive::VoltVar(curve)),
        })
    }
}
