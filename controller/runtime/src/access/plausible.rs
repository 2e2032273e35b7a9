//! Whether what a bench says can be true: directions, sizes and sums.
//!
//! A wrong sign, unit, scale or word order in a profile still gives numbers. Physics tells most
//! of them: a load does not feed in, power is not more than voltage times current, and what
//! flows through the point of common coupling is what the devices make of it. Pure: what was
//! observed goes in, faults come out.
//!
//! It is not responsible for identity and ranges (the driver checks them at every reading), nor
//! for control. A value that moved while it was observed gets the benefit of the doubt: only what
//! contradicts at both ends of its movement is told.

use std::collections::BTreeMap;

use document::{Actor, Diagnostic, Document, Place, Severity};
use model::{DeviceIx, Flaw, Point, Reading, Role};

use super::PointReading;
use crate::rig::{Rig, RigDevice};

/// A value over some time, in the base unit of its point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    /// The smallest value.
    pub low: f64,
    /// The largest value.
    pub high: f64,
}

impl Observed {
    /// A value that stood still.
    #[must_use]
    pub fn steady(value: f64) -> Self {
        Self {
            low: value,
            high: value,
        }
    }

    /// The same with one more value.
    #[must_use]
    pub fn with(self, value: f64) -> Self {
        Self {
            low: self.low.min(value),
            high: self.high.max(value),
        }
    }

    fn middle(self) -> f64 {
        f64::midpoint(self.low, self.high)
    }

    fn spread(self) -> f64 {
        self.high - self.low
    }

    /// Largest and smallest magnitude.
    fn magnitudes(self) -> (f64, f64) {
        let smallest = if self.low <= 0.0 && self.high >= 0.0 {
            0.0
        } else {
            self.low.abs().min(self.high.abs())
        };
        (smallest, self.low.abs().max(self.high.abs()))
    }
}

/// What was observed, by device and point. A point that was not measured anew is not in it.
pub type Observations = BTreeMap<(DeviceIx, Point), Observed>;

/// Power that a device may move the wrong way, in watts, and as a part of its limits.
/// Chosen: 50 W, the electronics and the fan of an inverter at night; 2 % for large ones.
const STANDBY_W: f64 = 50.0;
const STANDBY_PART: f64 = 0.02;
/// How much more than voltage times current power may be, as a part and in volt-amperes.
/// Chosen: 15 % and 20 VA; meters of class 1 do better, but current and power are rarely read
/// in one request.
const SIZE_PART: f64 = 0.15;
const SIZE_VA: f64 = 20.0;
/// Apparent power from which too little power is told, in volt-amperes, and the part of it that is
/// too little. Chosen: a thousandth is what a wrong prefix makes, a twentieth is far above it.
const SMALL_FROM_VA: f64 = 100.0;
const SMALL_PART: f64 = 0.05;
/// Largest difference of power factors (1). Chosen: ten times the resolution of cheap meters.
const POWER_FACTOR_OFF: f64 = 0.1;
/// Part by which frequency and voltage may be off nominal. Chosen: 10 % and 20 %, beyond what any
/// protection leaves running and within what a scale of ten does.
const FREQUENCY_OFF: f64 = 0.1;
const VOLTAGE_OFF: f64 = 0.2;
/// Voltage below which a phase is dead rather than wrong, in volts. Chosen: what is coupled into
/// an open conductor.
const DEAD_V: f64 = 5.0;
/// What may be missing in the balance at the point of common coupling, in watts and as a part of
/// all power that flows. Chosen: 100 W and 5 %, losses of a feeder and meters of class 1.
const BALANCE_W: f64 = 100.0;
const BALANCE_PART: f64 = 0.05;
/// Part of the gap that may be left when one sign is turned, for that device to be named.
/// Chosen: a tenth, so that chance names nobody.
const CLOSES_PART: f64 = 0.1;
/// Power of a battery that has a direction, in watts. Chosen: above the self-consumption of packs.
const BATTERY_W: f64 = 150.0;

/// Everything that cannot be true, in the order of the rig.
#[must_use]
pub fn faults(rig: &Rig, readings: &[PointReading], observed: &Observations) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    for (index, device) in rig.devices.iter().enumerate() {
        let Some(ix) = rig.device(&device.id) else {
            continue;
        };
        let look = Look {
            rig,
            device,
            ix,
            observed,
        };
        debug_assert_eq!(ix.index(), index);
        faults.extend(look.beyond_range(readings));
        faults.extend(look.direction());
        faults.extend(look.battery_direction());
        faults.extend(look.size());
        faults.extend(look.power_factor());
        faults.extend(look.nominal());
    }
    faults.extend(balance(rig, observed));
    faults
}

struct Look<'a> {
    rig: &'a Rig,
    device: &'a RigDevice,
    ix: DeviceIx,
    observed: &'a Observations,
}

impl Look<'_> {
    fn of(&self, point: Point) -> Option<Observed> {
        self.observed.get(&(self.ix, point)).copied()
    }

    fn fault(&self, code: &'static str, message: String, help: &str) -> Diagnostic {
        let diagnostic = Diagnostic::error(code, Actor::Author, message).help(help);
        match place_of(self.rig, &self.device.id) {
            Some(place) => diagnostic.at(place, "this device"),
            None => diagnostic,
        }
    }

    /// R045: a value that its own profile does not believe.
    fn beyond_range(&self, readings: &[PointReading]) -> Option<Diagnostic> {
        let beyond: Vec<&str> = readings
            .iter()
            .filter(|r| r.device == self.ix && r.reading == Reading::Bad(Flaw::OutOfRange))
            .map(|r| r.point.name())
            .collect();
        (!beyond.is_empty()).then(|| {
            self.fault(
                "R045",
                format!(
                    "`{}` says values outside of what its profile {} believes: {}",
                    self.device.id,
                    self.device.profile.id,
                    beyond.join(", ")
                ),
                "check type, word order, scale and unit of these points in the profile",
            )
        })
    }

    /// R040: power that flows the wrong way for what the device is.
    fn direction(&self) -> Option<Diagnostic> {
        let p = self.of(Point::ActivePower)?;
        let widest = self
            .device
            .p
            .map_or(0.0, |p| p.upper().as_watts().max(-p.lower().as_watts()));
        let standby = STANDBY_W.max(STANDBY_PART * widest);
        match self.device.role {
            Role::Load if p.low > standby => Some(self.fault(
                "R040",
                format!(
                    "the load `{}` feeds {:.0} W into the bus",
                    self.device.id,
                    p.middle()
                ),
                if self.device.invert {
                    "take `invert` out, or correct the sign in its profile"
                } else {
                    "a meter in front of a load needs `invert = true`; otherwise correct the sign in its profile"
                },
            )),
            Role::Pv if p.high < -standby => Some(self.fault(
                "R040",
                format!(
                    "the photovoltaic inverter `{}` consumes {:.0} W",
                    self.device.id,
                    -p.middle()
                ),
                "correct the sign in its profile; it says which direction the vendor counts as positive",
            )),
            _ => None,
        }
    }

    /// R040: a battery that charges while its inverter discharges it.
    fn battery_direction(&self) -> Option<Diagnostic> {
        let battery = self.rig.devices.get(self.device.battery?)?;
        let battery_ix = self.rig.device(&battery.id)?;
        let p = self.of(Point::ActivePower)?;
        let of_battery = |point| self.observed.get(&(battery_ix, point)).copied();
        let (v, i) = (
            of_battery(Point::BatteryVoltage)?,
            of_battery(Point::BatteryCurrent)?,
        );
        let (least, _) = p.magnitudes();
        let (least_i, _) = i.magnitudes();
        let opposite = p.middle() * i.middle() < 0.0;
        (opposite && least > BATTERY_W && least_i * v.middle() > BATTERY_W).then(|| {
            self.fault(
                "R040",
                format!(
                    "`{}` gives {:.0} W while its battery `{}` has a current of {:.1} A: discharging is positive in both",
                    self.device.id,
                    p.middle(),
                    battery.id,
                    i.middle()
                ),
                "correct the sign in the profile of one of the two, or `battery` in the rig",
            )
        })
    }

    /// Apparent power by voltage and current: at least and at most, in volt-amperes.
    fn volt_amperes(&self) -> Option<(f64, f64)> {
        let phases = [
            (Point::VoltageL1, Point::CurrentL1),
            (Point::VoltageL2, Point::CurrentL2),
            (Point::VoltageL3, Point::CurrentL3),
        ];
        let of = |(v, i): (Point, Point)| {
            let (v, i) = (self.of(v)?.magnitudes(), self.of(i)?.magnitudes());
            Some((v.0 * i.0, v.1 * i.1))
        };
        let first = of(phases[0])?;
        match (of(phases[1]), of(phases[2])) {
            (Some(second), Some(third)) => {
                Some((first.0 + second.0 + third.0, first.1 + second.1 + third.1))
            }
            // A device that tells one phase may hang on all of them.
            _ => Some((first.0, first.1 * f64::from(self.rig.site.phases))),
        }
    }

    /// R041: power that voltage and current do not make.
    fn size(&self) -> Option<Diagnostic> {
        let p = self.of(Point::ActivePower)?;
        let (least_va, most_va) = self.volt_amperes()?;
        let (least_p, most_p) = p.magnitudes();
        let told = |what: &str, va: f64| {
            let ratio = p.middle().abs() / va.max(1.0);
            let help = match ratio {
                500.0..=2000.0 => {
                    "it looks as if W were taken for kW: check unit and scale of ac.p"
                }
                0.0005..=0.002 => {
                    "it looks as if kW were taken for W: check unit and scale of ac.p"
                }
                _ => {
                    "check unit, scale and word order of power, voltage and current in its profile"
                }
            };
            self.fault(
                "R041",
                format!(
                    "`{}` says {:.1} W, which is {what} its voltage and current ({va:.1} VA)",
                    self.device.id,
                    p.middle()
                ),
                help,
            )
        };
        if least_p > most_va * (1.0 + SIZE_PART) + SIZE_VA {
            return Some(told("more than", most_va));
        }
        // Little active power may be much reactive power.
        let most_s = match self.of(Point::ReactivePower) {
            Some(q) => most_p.hypot(q.magnitudes().1),
            None => return None,
        };
        (least_va > SMALL_FROM_VA && most_s < SMALL_PART * least_va)
            .then(|| told("far less than", least_va))
    }

    /// R042: a power factor that power and apparent power do not make.
    fn power_factor(&self) -> Option<Diagnostic> {
        let (p, s) = (self.of(Point::ActivePower)?, self.of(Point::ApparentPower)?);
        let ((least_p, most_p), (least_s, most_s)) = (p.magnitudes(), s.magnitudes());
        let wrong = |message: String| {
            self.fault(
                "R042",
                message,
                "check unit and scale of ac.p, ac.s and ac.pf in its profile",
            )
        };
        if least_p > most_s * (1.0 + SIZE_PART) + SIZE_VA {
            return Some(wrong(format!(
                "`{}` says {:.1} W of {:.1} VA: more active than apparent power",
                self.device.id,
                p.middle(),
                s.middle()
            )));
        }
        let (least_pf, most_pf) = self.of(Point::PowerFactor)?.magnitudes();
        if least_s < SMALL_FROM_VA {
            return None;
        }
        let (low, high) = (least_p / most_s, most_p / least_s);
        (most_pf + POWER_FACTOR_OFF < low || least_pf - POWER_FACTOR_OFF > high).then(|| {
            wrong(format!(
                "`{}` says a power factor of {most_pf:.2}, but its power makes {:.2}",
                self.device.id,
                f64::midpoint(low, high)
            ))
        })
    }

    /// R043: frequency and voltage that are not those of the site.
    fn nominal(&self) -> Option<Diagnostic> {
        let off = |value: Observed, nominal: f64, part: f64| {
            value.low > nominal * (1.0 + part) || value.high < nominal * (1.0 - part)
        };
        let (site_f, site_v) = (self.rig.site.f.as_hertz(), self.rig.site.v.as_volts());
        let told = |point: Point, value: Observed, nominal: f64| {
            self.fault(
                "R043",
                format!(
                    "`{}` says {} = {:.2} {}, and the site has {nominal} {}",
                    self.device.id,
                    point,
                    value.middle(),
                    point.unit(),
                    point.unit()
                ),
                "check scale and word order in its profile, and `site` in the rig",
            )
        };
        let f = self.of(Point::Frequency).filter(|f| f.high > 0.0);
        if let Some(f) = f.filter(|f| off(*f, site_f, FREQUENCY_OFF)) {
            return Some(told(Point::Frequency, f, site_f));
        }
        [Point::VoltageL1, Point::VoltageL2, Point::VoltageL3]
            .into_iter()
            .filter_map(|point| Some((point, self.of(point)?)))
            .find(|(_, v)| v.high > DEAD_V && off(*v, site_v, VOLTAGE_OFF))
            .map(|(point, v)| told(point, v, site_v))
    }
}

/// R044: what flows through the point of common coupling is not what the devices make of it.
///
/// Only where every device that moves power tells how much. One device whose opposite sign closes
/// the balance is named; otherwise something is not metered, which is a warning.
fn balance(rig: &Rig, observed: &Observations) -> Option<Diagnostic> {
    let moves = |role: Role| matches!(role, Role::Pcc | Role::Pv | Role::Ess | Role::Load);
    let mut parts: Vec<(&RigDevice, Observed)> = Vec::new();
    for device in rig.devices.iter().filter(|d| moves(d.role)) {
        let p = observed.get(&(rig.device(&device.id)?, Point::ActivePower))?;
        parts.push((device, *p));
    }
    parts.iter().find(|(d, _)| d.role == Role::Pcc)?;
    if parts.len() < 2 {
        return None;
    }
    let sum: f64 = parts.iter().map(|(_, p)| p.middle()).sum();
    let flows: f64 = parts.iter().map(|(_, p)| p.middle().abs()).sum();
    let moved: f64 = parts.iter().map(|(_, p)| p.spread() / 2.0).sum();
    let allowed = BALANCE_W + BALANCE_PART * flows + moved;
    if sum.abs() <= allowed {
        return None;
    }
    let closes = allowed.min(sum.abs() * CLOSES_PART);
    let turned = parts
        .iter()
        .filter(|(_, p)| (sum - 2.0 * p.middle()).abs() <= closes)
        .min_by(|(_, a), (_, b)| {
            let rest = |p: &Observed| (sum - 2.0 * p.middle()).abs();
            rest(a).total_cmp(&rest(b))
        });
    let message = format!(
        "the bench does not balance: {:+.0} W come in at the point of common coupling and from its devices, and go nowhere",
        sum
    );
    Some(match turned {
        Some((device, p)) => {
            let message = format!(
                "{message}; with the opposite sign of `{}` ({:+.0} W) they would",
                device.id,
                p.middle()
            );
            let help = match device.role {
                Role::Pcc => "positive is import from the utility: add or remove `invert`, or correct the sign in its profile",
                Role::Load => "a load's power is negative: add or remove `invert`, or correct the sign in its profile",
                _ => "positive is power into the bus: correct the sign in its profile",
            };
            let diagnostic = Diagnostic::error("R044", Actor::Author, message).help(help);
            match place_of(rig, &device.id) {
                Some(place) => diagnostic.at(place, "this device"),
                None => diagnostic,
            }
        }
        None => Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::error("R044", Actor::Author, message).help(
                "something may not be metered; otherwise a scale is wrong: compare with a meter that you trust",
            )
        },
    })
}

/// Where a device stands in the rig; `None` when an inherited file has it.
fn place_of(rig: &Rig, device: &str) -> Option<Place> {
    let document = Document::parse(std::sync::Arc::clone(&rig.source)).ok()?;
    let devices = document.root().table("device")?;
    devices.has(device).then(|| {
        let span = devices.span_of(device);
        document.place(span)
    })
}

#[cfg(test)]
mod tests;
