//! Setpoints: what a device takes, holds, and takes back by itself when nobody repeats it.
//!
//! It is not responsible for how a setpoint arrives (see the faces), nor for what the part of the plant
//! then makes of it.

use std::time::Duration;

use model::Point;
use quantities::{Frequency, Voltage};

use super::{Device, Held, Kind, NotTaken, Revert};
use crate::faults::Fault;
use crate::plant::Plant;

impl Device {
    /// Sets something; with a revert time the device takes it back by itself unless it is repeated.
    ///
    /// A switch with a revert time toggles back, as a plug's dead-man timer does.
    ///
    /// # Errors
    /// When the device has no such setpoint.
    pub fn write(
        &mut self,
        plant: &mut Plant,
        point: Point,
        value: f64,
        revert: Option<Revert>,
    ) -> Result<(), NotTaken> {
        // A storage has a limit beside its setpoint only where it is a DER.
        let limits = point == Point::ActivePowerLimit && self.functions(plant).is_some();
        if !(self.takes(point) || limits) || !value.is_finite() {
            return Err(NotTaken { point });
        }
        if self.faults.has(Fault::IgnoreWrites) {
            return Ok(());
        }
        let revert = revert.filter(|revert| !revert.after.is_zero());
        let held = Held {
            value,
            until: revert.map(|revert| plant.now() + revert.after),
            back: revert.and_then(|revert| revert.to),
        };
        self.held.insert(point, held);
        if !self.faults.has(Fault::HoldOutput) {
            self.command(plant, point, value);
        }
        Ok(())
    }

    /// Lets go of a setpoint: the device returns to what it does unasked.
    pub fn release(&mut self, plant: &mut Plant, point: Point) {
        if !self.faults.has(Fault::IgnoreWrites) && self.held.remove(&point).is_some() {
            self.let_go(plant, point);
        }
    }

    /// Returns to what it does unasked; a DER to its own reactive function.
    pub(super) fn let_go(&self, plant: &mut Plant, point: Point) {
        self.command(plant, point, self.unasked(point));
        if point == Point::ReactivePowerSet
            && let Some(functions) = self.functions_mut(plant)
        {
            functions.hold_q(None);
        }
    }

    /// The setpoint as the device's own register shows it: a breaker that waits for its
    /// window has been told to close, though it is open.
    #[must_use]
    pub fn setpoint(&self, plant: &Plant, point: Point) -> Option<f64> {
        match (self.kind, point) {
            (Kind::Breaker, Point::SwitchOn) => {
                let asked = plant.breaker.is_closed() || plant.breaker.is_armed();
                self.told(point).or(Some(f64::from(u8::from(asked))))
            }
            _ => self.value(plant, point),
        }
    }

    /// Whether a setpoint is in force.
    #[must_use]
    pub fn holds(&self, point: Point) -> bool {
        self.held.contains_key(&point)
    }

    /// Time left until a setpoint is taken back.
    #[must_use]
    pub fn remaining(&self, plant: &Plant, point: Point) -> Option<Duration> {
        Some(self.held.get(&point)?.until?.saturating_sub(plant.now()))
    }

    /// Whether the device takes such a setpoint.
    #[must_use]
    pub fn takes(&self, point: Point) -> bool {
        match self.kind {
            Kind::Pv(_) => matches!(
                point,
                Point::ActivePowerLimit | Point::ReactivePowerSet | Point::SwitchOn
            ),
            Kind::Storage(_) => matches!(
                point,
                Point::ActivePowerSet | Point::ReactivePowerSet | Point::SwitchOn
            ),
            Kind::Genset(_) => matches!(
                point,
                Point::ActivePowerSet | Point::ActivePowerLimit | Point::SwitchOn
            ),
            Kind::Breaker | Kind::Plug(_) => point == Point::SwitchOn,
            Kind::Source => matches!(
                point,
                Point::FrequencySet | Point::VoltageSet | Point::PhaseSet | Point::SwitchOn
            ),
            Kind::ElectronicLoad(_) => matches!(point, Point::ActivePowerSet | Point::SwitchOn),
            Kind::Pcc | Kind::Battery(_) | Kind::Meter(_) => false,
        }
    }

    /// Takes back what nobody has repeated in time.
    pub fn expire(&mut self, plant: &mut Plant) {
        if self.held.is_empty() {
            return;
        }
        let now = plant.now();
        let due: Vec<(Point, Held)> = self
            .held
            .iter()
            .filter(|(_, held)| held.until.is_some_and(|until| until <= now))
            .map(|(point, held)| (*point, *held))
            .collect();
        for (point, held) in due {
            self.held.remove(&point);
            match (held.back, point) {
                (Some(back), _) => self.command(plant, point, back),
                (None, Point::SwitchOn) => self.command(plant, point, 1.0 - held.value),
                (None, _) => self.let_go(plant, point),
            }
        }
    }

    /// What a setpoint is when nobody asks: no power for a storage, no ceiling for the sun.
    pub(super) fn unasked(&self, point: Point) -> f64 {
        match point {
            Point::ActivePowerLimit => self.nameplate.p,
            Point::SwitchOn if matches!(self.kind, Kind::Genset(_)) => 0.0,
            Point::SwitchOn => 1.0,
            _ => 0.0,
        }
    }

    /// The value that a register shows while the output does not follow.
    pub(super) fn told(&self, point: Point) -> Option<f64> {
        if self.faults.has(Fault::HoldOutput) {
            self.held.get(&point).map(|held| held.value)
        } else {
            None
        }
    }

    pub(super) fn command(&self, plant: &mut Plant, point: Point, value: f64) {
        let on = value >= 0.5;
        match (self.kind, point) {
            (Kind::Breaker, Point::SwitchOn) if on => plant.breaker.close(),
            (Kind::Breaker, Point::SwitchOn) => plant.breaker.open(),
            (Kind::Pv(ix), _) => {
                if let Some(pv) = plant.pv.get_mut(ix) {
                    match point {
                        Point::ActivePowerLimit => pv.set_ceiling(value),
                        Point::ReactivePowerSet => pv.set_q(value),
                        Point::SwitchOn => pv.connect(on),
                        _ => {}
                    }
                }
            }
            (Kind::Storage(ix), _) => {
                if let Some(storage) = plant.storage.get_mut(ix) {
                    match point {
                        Point::ActivePowerSet => storage.set_p(value),
                        Point::ActivePowerLimit => storage.limit(value),
                        Point::ReactivePowerSet => storage.set_q(value),
                        Point::SwitchOn => storage.connect(on),
                        _ => {}
                    }
                }
            }
            (Kind::Genset(ix), _) => {
                if let Some(set) = plant.gensets.get_mut(ix) {
                    match point {
                        Point::ActivePowerSet => set.set_p(value),
                        Point::ActivePowerLimit => set.set_ceiling(value),
                        Point::SwitchOn => set.run(on),
                        _ => {}
                    }
                }
            }
            (Kind::Source, Point::FrequencySet) => {
                plant.grid.set_f(Frequency::from_hertz(value));
            }
            (Kind::Source, Point::VoltageSet) => plant.grid.set_v(Voltage::from_volts(value)),
            (Kind::Source, Point::PhaseSet) => plant.grid.set_phase(value),
            (Kind::Source, Point::SwitchOn) => plant.grid.set_energised(on),
            (Kind::ElectronicLoad(ix), Point::ActivePowerSet) => {
                if let Some(load) = plant.loads.get_mut(ix) {
                    load.set_nominal((-value).max(0.0));
                }
            }
            (Kind::Plug(ix) | Kind::ElectronicLoad(ix), Point::SwitchOn) => {
                if let Some(load) = plant.loads.get_mut(ix) {
                    load.switch(on);
                }
            }
            _ => {}
        }
    }
}
