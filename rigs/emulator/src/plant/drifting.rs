//! An island that nobody wanted: followers that are left alone with their loads.
//!
//! **Theory.** Nobody holds voltage and frequency; they go where the powers meet. Active power sets the
//! voltage: loads that draw `L` at `V` draw what the inverters give, `G`, at `V sqrt(G / L)` when they are
//! impedances. Reactive power sets the frequency: a load of the quality factor `Qf` takes
//! `V^2 Qf P0 (f0 / f - f / f0)` beside its own, and moves until that is what is given. With both
//! balanced the island stays for as long as its inverters do; else it leaves their limits within cycles.
//!
//! Only a plant without a network has such islands. A utility whose voltage is zero is a short
//! circuit and ends them; one that is disconnected does not.

use super::wires::Unit;
use super::{Plant, Supply};

/// Time constants with which voltage and frequency go to where the powers meet, in seconds.
/// Chosen: of the order of a cycle for the tank of a load with a quality factor of one, and of a few
/// for the phase-locked loops that drag the frequency along.
const VOLTAGE_LAG_S: f64 = 0.01;
const FREQUENCY_LAG_S: f64 = 0.05;

/// Quality factor that every island has at least. Chosen: cables and filters of the inverters.
const LEAST_QUALITY: f64 = 0.02;

/// Voltage in per unit at which an island counts as dead, and the most that it rises to.
/// Chosen: 5 % is what tests of unintentional islanding wait for; saturation ends what is above 1.5.
const DEAD_PU: f64 = 0.05;
const MOST_PU: f64 = 1.5;

/// Furthest that the frequency runs, in per unit of nominal. Chosen: far beyond every trip.
const F_PU: (f64, f64) = (0.5, 1.5);

impl Plant {
    /// Whether followers keep a voltage on a part that has just lost who held it.
    pub(super) fn can_drift(&self, n: usize) -> bool {
        let by_model = |m: usize| self.pv[m].functions().is_some();
        let pv = (0..self.pv.len()).filter(|m| self.zones.part(Unit::Pv(*m)) == n);
        let storage = (0..self.storage.len()).filter(|m| {
            let here = self.zones.part(Unit::Storage(*m)) == n;
            here && self.storage[*m].functions().is_some()
        });
        let given = pv.filter(|m| by_model(*m)).map(|m| self.pv[m].p());
        let given: f64 = given.chain(storage.map(|m| self.storage[m].p())).sum();
        self.wires.is_none() && given > 0.0
    }

    /// A step of an island that nobody holds.
    pub(super) fn step_drifting(&mut self, n: usize, dt_s: f64) {
        let f_nominal = self.site.f_nominal.as_hertz();
        let (mut given, mut taken) = ((0.0, 0.0), (0.0, 0.0));
        let mut tank_var = 0.0;
        for (m, pv) in self.pv.iter().enumerate() {
            if self.zones.part(Unit::Pv(m)) == n {
                given = (given.0 + pv.p(), given.1 + pv.q());
            }
        }
        for (m, storage) in self.storage.iter().enumerate() {
            if self.zones.part(Unit::Storage(m)) == n {
                given = (given.0 + storage.p(), given.1 + storage.q());
            }
        }
        for (m, load) in self.loads.iter().enumerate() {
            if self.zones.part(Unit::Load(m)) == n {
                taken = (taken.0 - load.p(), taken.1 - load.q());
                tank_var += load.tank_var();
            }
        }
        let bus = &mut self.parts[n].bus;
        let v_nominal = self.site.v_nominal.as_volts();
        let v_pu = bus.v / v_nominal;
        let meets_pu = match taken.0 > 0.0 {
            true => v_pu * (given.0.max(0.0) / taken.0).sqrt(),
            false if given.0 > 0.0 => MOST_PU,
            false => 0.0,
        };
        let moved = 1.0 - (-dt_s / VOLTAGE_LAG_S).exp();
        let v_pu = v_pu + (meets_pu.min(MOST_PU) - v_pu) * moved;
        bus.v = v_pu * v_nominal;

        let x = bus.f / f_nominal;
        let resonant = tank_var * (1.0 / x - x);
        let tank_var = tank_var.max(LEAST_QUALITY * taken.0.abs());
        // What the tank has to take: all that is given beyond what the loads take beside it.
        let wanted = if tank_var > 0.0 {
            (given.1 - (taken.1 - resonant)) / tank_var
        } else {
            0.0
        };
        let meets = f64::midpoint(-wanted, wanted.hypot(2.0));
        let moved = 1.0 - (-dt_s / FREQUENCY_LAG_S).exp();
        bus.f = f_nominal * (x + (meets - x) * moved).clamp(F_PU.0, F_PU.1);
        if v_pu < DEAD_PU {
            self.go_dead(n);
        }
    }

    /// Who holds a part that has lost the utility: nobody, but its followers may go on.
    pub(super) fn without_holder(&self, n: usize, shorted: bool) -> Supply {
        let was = self.parts[n].bus.supply;
        let goes_on = match was {
            Supply::Drifting => true,
            Supply::Grid => self.can_drift(n),
            Supply::Island | Supply::Lost | Supply::Dead => false,
        };
        match (goes_on && !shorted, self.parts[n].joined) {
            (true, _) => Supply::Drifting,
            (false, true) => Supply::Lost,
            (false, false) => Supply::Dead,
        }
    }
}

#[cfg(test)]
mod tests;
