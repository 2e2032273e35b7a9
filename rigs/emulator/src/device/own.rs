//! What a device does by itself: the functions that it was given, and changes of them that have a time.
//!
//! It is not responsible for a function's arithmetic (see `law`, and `plant::der` for a DER to IEEE 1547-2018).

use std::time::Duration;

use model::Point;

use super::Device;
use super::law::{self, Law, Phase};
use crate::faults::Fault;
use crate::plant::Plant;
use crate::plant::der::Change;

impl Device {
    /// Lets what it does as a DER change at these times; what was to come under the number does not.
    pub fn change(&mut self, number: u16, changes: Vec<(Duration, Change)>) {
        self.changes.retain(|(known, ..)| *known != number);
        let all = changes.into_iter();
        self.changes
            .extend(all.map(|(at, change)| (number, at, change)));
        self.changes
            .sort_by_key(|(_, at, _)| std::cmp::Reverse(*at));
    }

    /// Carries out the changes that are due.
    fn carry_out_changes(&mut self, plant: &mut Plant) {
        let now = plant.now();
        while self.changes.last().is_some_and(|(_, at, _)| *at <= now) {
            if let (Some((_, _, change)), Some(functions)) =
                (self.changes.pop(), self.functions_mut(plant))
            {
                functions.change(change);
            }
        }
    }

    /// Lets the device carry out a function by itself, in phases by time.
    pub fn follow(&mut self, number: u16, phases: Vec<Phase>) {
        self.laws.insert(number, phases);
    }

    /// Carries out the functions that the device follows by itself.
    pub fn carry_on(&mut self, plant: &mut Plant) {
        if !self.changes.is_empty() && !self.faults.has(Fault::HoldOutput) {
            self.carry_out_changes(plant);
        }
        if self.laws.is_empty() || self.faults.has(Fault::HoldOutput) {
            return;
        }
        let bus = plant.bus_at(self.unit());
        if !bus.is_live() {
            return;
        }
        let now = plant.now();
        let laws: Vec<&Law> = self
            .laws
            .values()
            .filter_map(|phases| law::at(phases, now))
            .collect();
        let p = self.truth(plant, Point::ActivePower);
        // Of its phases, an inverter goes by the highest.
        let v = plant.volts(self.unit()).into_iter().fold(0.0, f64::max);
        if !self.holds(Point::ReactivePowerSet) && self.takes(Point::ReactivePowerSet) {
            let q = p.and_then(|p| laws.iter().find_map(|law| law.q(v, p)));
            let q = q.unwrap_or_else(|| self.unasked(Point::ReactivePowerSet));
            self.command(plant, Point::ReactivePowerSet, q);
        }
        if self.takes(Point::ActivePowerLimit) {
            let held = self.held.get(&Point::ActivePowerLimit).map(|h| h.value);
            let free = held.unwrap_or_else(|| self.unasked(Point::ActivePowerLimit));
            let droop = laws.iter().find_map(|law| match law {
                Law::FrequencyDroop(droop) => Some(*droop),
                _ => None,
            });
            let ceiling = laws
                .iter()
                .filter_map(|law| law.ceiling(v))
                .fold(f64::INFINITY, f64::min);
            let event = droop.and_then(|droop| droop.event(bus.f, self.event, p?));
            // Droop goes over the limit that was set, volt-watt caps both.
            let wanted = match (droop, event) {
                (Some(droop), Some(event)) => droop.power(bus.f, event),
                _ => free,
            };
            self.command(plant, Point::ActivePowerLimit, wanted.min(ceiling));
            self.event = event;
        }
    }
}
