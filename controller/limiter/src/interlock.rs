//! The interlock matrix: what may be connected to what, and when.
//!
//! | wish | bus dead | bus alive | neither, or not known |
//! | --- | --- | --- | --- |
//! | close the coupling breaker | utility healthy | utility healthy, both sides in step | refused |
//! | connect a unit that can form | breaker seen open | yes | refused |
//! | connect one that forms without droop | as above, no other one on | no other one on | refused |
//! | connect a unit that only follows | refused | yes | refused |
//!
//! Opening is never refused. Inside a closed circle of interlocks a bench could not come up:
//! that some row can always be met is what `gridrig check` looks for.

use std::time::Duration;

use model::{DeviceImage, DeviceIx, DeviceSpec, Forming, Instant, ProcessImage, Role, Signal};
use quantities::{Frequency, PhaseAngle, Quantity, Voltage};

use crate::fences::SyncWindow;
use crate::{Fences, Refusal};

/// Lowest voltage of a utility worth closing onto, per unit.
/// IEEE 1547-2018 default enter-service window as given by secondary sources; the site's agreement wins.
const GRID_V_MIN_PU: f64 = 0.917;
/// Highest voltage of a utility worth closing onto, per unit. Source as above.
const GRID_V_MAX_PU: f64 = 1.05;
/// Voltage below which a bus is dead, per unit. The usual limit of a dead-bus check.
const DEAD_V_PU: f64 = 0.05;
/// Voltage from which a bus is alive, per unit.
/// Chosen: half of nominal, far above what a loose contact induces.
const LIVE_V_PU: f64 = 0.5;
/// From the decision to the touching of the contacts.
/// Chosen: 180 ms: a write on a usual serial line (100 ms) and a usual breaker (80 ms); the angle has
/// to fit at both ends of that time. A relay in the breaker looks again, and closer.
const CLOSES_WITHIN: Duration = Duration::from_millis(180);
/// By how much a difference of frequency may be wrong.
/// IEEE 1547-2018 Table 3 as given by secondary sources: 10 mHz; by it an old angle has moved on.
const DF_UNCERTAIN_HZ: f64 = 0.01;

/// Whose voltage and frequency are believed first, as in the estimate of control.
const TRUST: &[Role] = &[Role::Pcc, Role::Meter, Role::Ess, Role::Pv];

/// What the bus is seen to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bus {
    Dead,
    Alive(Voltage),
    Between(Voltage),
    NotKnown,
}

/// What the interlocks look at.
#[derive(Clone, Copy)]
pub(crate) struct Sight<'a> {
    pub(crate) now: Instant,
    pub(crate) fences: &'a Fences,
    pub(crate) specs: &'a [DeviceSpec],
    pub(crate) image: &'a ProcessImage,
}

impl Sight<'_> {
    /// Whether the bus is dead or alive.
    pub(crate) fn bus(&self) -> Bus {
        let Some((_, v)) = self.trusted(|d| d.v) else {
            return Bus::NotKnown;
        };
        let pu = v / self.fences.nominal_v;
        if pu < DEAD_V_PU {
            Bus::Dead
        } else if pu >= LIVE_V_PU {
            Bus::Alive(v)
        } else {
            Bus::Between(v)
        }
    }

    /// Whether the coupling breaker is seen open; `None` when there is none, or it is not known.
    pub(crate) fn breaker_open(&self) -> Option<bool> {
        let (spec, own) = self.of_role(Role::Breaker).next()?;
        own.switch_on
            .fresh(self.now, spec.sample_age_max)
            .map(|closed| !closed)
    }

    /// Whether a switch may be closed.
    pub(crate) fn may_close(&self, device: DeviceIx) -> Result<(), Refusal> {
        let spec = &self.specs[device.index()];
        match (spec.role, spec.forming) {
            (Role::Breaker, _) => self.may_couple(device),
            (Role::Ess | Role::Genset | Role::Pv, Forming::Follows) => match self.bus() {
                Bus::Alive(_) => Ok(()),
                Bus::Dead => Err(Refusal::NoFormer),
                unclear => Err(unclear.refusal()),
            },
            (Role::Ess | Role::Genset | Role::Pv, forming) => {
                match self.bus() {
                    Bus::Alive(_) => {}
                    Bus::Dead if self.breaker_open() == Some(true) => {}
                    Bus::Dead => return Err(Refusal::BackFeed),
                    unclear => return Err(unclear.refusal()),
                }
                if forming == Forming::Isochronous && self.another_isochronous(device) {
                    return Err(Refusal::TwoUndrooped);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Another unit that forms without droop and is not seen off.
    fn another_isochronous(&self, device: DeviceIx) -> bool {
        self.specs
            .iter()
            .zip(&self.image.devices)
            .enumerate()
            .filter(|(index, (spec, _))| {
                *index != device.index() && spec.forming == Forming::Isochronous
            })
            .any(|(_, (spec, own))| {
                own.switch_on.fresh(self.now, spec.sample_age_max) != Some(false)
            })
    }

    /// Whether the coupling breaker may be closed.
    fn may_couple(&self, device: DeviceIx) -> Result<(), Refusal> {
        let (spec, own) = (
            &self.specs[device.index()],
            &self.image.devices[device.index()],
        );
        let age_max = spec.sample_age_max;
        let (Some(grid_v), Some((_, grid_f))) = (
            own.grid_v.fresh(self.now, age_max),
            fresh(self.now, age_max, &own.grid_f),
        ) else {
            return Err(Refusal::GridNotHealthy);
        };
        let grid_pu = grid_v / self.fences.nominal_v;
        if !(GRID_V_MIN_PU..=GRID_V_MAX_PU).contains(&grid_pu) || !grid_f.is_finite() {
            return Err(Refusal::GridNotHealthy);
        }
        match self.bus() {
            Bus::Dead => Ok(()),
            Bus::Alive(v) => self.in_step(spec, own, v - grid_v, grid_f),
            unclear => Err(unclear.refusal()),
        }
    }

    /// Whether both sides of the breaker are in step, now and when the contacts touch.
    fn in_step(
        &self,
        spec: &DeviceSpec,
        own: &DeviceImage,
        dv: Voltage,
        grid_f: Frequency,
    ) -> Result<(), Refusal> {
        let not_known = |what| Err(Refusal::StepNotKnown { what });
        // The breaker's own meter is read together with the utility's side.
        let bus_f = fresh(self.now, spec.sample_age_max, &own.f).or_else(|| self.trusted(|d| d.f));
        let Some((_, bus_f)) = bus_f else {
            return not_known("the difference of frequency");
        };
        let angle = fresh(self.now, spec.sample_age_max, &own.sync_angle);
        let Some((seen_at, seen)) = angle else {
            return not_known("the angle");
        };
        let df = bus_f - grid_f;
        let age = self.now.since(seen_at).as_secs_f64();
        // A turn is 360 degrees; a slip of one hertz is one turn in a second.
        let after = |seconds: f64| turned(seen.as_degrees() + 360.0 * df.as_hertz() * seconds);
        let unsure = 360.0 * DF_UNCERTAIN_HZ * age;
        let (first, last) = (after(age), after(age + CLOSES_WITHIN.as_secs_f64()));
        let worst = if first.abs() >= last.abs() {
            first
        } else {
            last
        };
        let angle = worst + unsure.copysign(worst);
        let window = SyncWindow::of(self.specs);
        let too_large = |by, limit| {
            Err(Refusal::OutOfStep {
                df,
                dv,
                angle: PhaseAngle::from_degrees(angle),
                by,
                limit,
            })
        };
        if df.abs() > window.df_max {
            too_large("the frequency", window.df_max.as_hertz())
        } else if (dv / self.fences.nominal_v).abs() > window.dv_max_pu {
            too_large(
                "the voltage",
                window.dv_max_pu * self.fences.nominal_v.as_volts(),
            )
        } else if angle.abs() > window.angle_max.as_degrees() {
            too_large("the angle", window.angle_max.as_degrees())
        } else {
            Ok(())
        }
    }

    fn of_role(&self, role: Role) -> impl Iterator<Item = (&DeviceSpec, &DeviceImage)> {
        self.specs
            .iter()
            .zip(&self.image.devices)
            .filter(move |(spec, _)| spec.role == role)
    }

    /// The first fresh value of the most trusted role that has one, with its time.
    fn trusted<Q: Quantity>(
        &self,
        pick: impl Fn(&DeviceImage) -> Signal<Q>,
    ) -> Option<(Instant, Q)> {
        TRUST
            .iter()
            .flat_map(|role| self.of_role(*role))
            .find_map(|(spec, own)| fresh(self.now, spec.sample_age_max, &pick(own)))
    }
}

impl Bus {
    fn refusal(self) -> Refusal {
        match self {
            Self::Between(v) => Refusal::BusBetween { v },
            _ => Refusal::BusNotKnown,
        }
    }
}

fn fresh<Q: Quantity>(now: Instant, age_max: Duration, signal: &Signal<Q>) -> Option<(Instant, Q)> {
    signal.last_good.filter(|(at, _)| now.since(*at) <= age_max)
}

/// An angle within half a turn.
fn turned(degrees: f64) -> f64 {
    (degrees + 180.0).rem_euclid(360.0) - 180.0
}

#[cfg(test)]
mod tests;
