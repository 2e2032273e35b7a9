//! Loads: power that depends on voltage, behind a switch.

use super::counter::Counter;

/// A load with the exponential voltage characteristic `P = P0 * V^a`.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    p_nominal: f64,
    q_per_p: f64,
    exponent: f64,
    on: bool,
    p: f64,
    q: f64,
    counter: Counter,
}

/// Tangent of the angle of a load with power factor 0.98.
/// Chosen: between a heater (0) and a cheap power supply.
const Q_PER_P: f64 = 0.203;

/// Voltage exponent of a load.
/// Chosen: halfway between constant power (0) and constant impedance (2), as laboratory
/// loads with some electronics behave.
const VOLTAGE_EXPONENT: f64 = 1.0;

impl Load {
    /// A load of a power in watts (positive = consumption) at nominal voltage.
    #[must_use]
    pub fn new(p_nominal: f64, on: bool) -> Self {
        Self {
            p_nominal,
            q_per_p: Q_PER_P,
            exponent: VOLTAGE_EXPONENT,
            on,
            p: 0.0,
            q: 0.0,
            counter: Counter::default(),
        }
    }

    /// Sets the reactive power per active power and the voltage exponent.
    #[must_use]
    pub fn shaped(mut self, q_per_p: f64, exponent: f64) -> Self {
        self.q_per_p = q_per_p;
        self.exponent = exponent;
        self
    }

    /// Sets the power at nominal voltage in watts, positive = consumption.
    pub fn set_nominal(&mut self, p: f64) {
        self.p_nominal = p;
    }

    /// Power at nominal voltage in watts, positive = consumption.
    #[must_use]
    pub fn nominal(&self) -> f64 {
        self.p_nominal
    }

    /// Switches.
    pub fn switch(&mut self, on: bool) {
        self.on = on;
    }

    /// Whether it is switched on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Active power in watts, negative for consumption.
    #[must_use]
    pub fn p(&self) -> f64 {
        self.p
    }

    /// Reactive power in var, negative for a lagging load.
    #[must_use]
    pub fn q(&self) -> f64 {
        self.q
    }

    /// Counted energy; consumption is negative.
    #[must_use]
    pub fn counter(&self) -> Counter {
        self.counter
    }

    pub(super) fn step(&mut self, _dt_s: f64, v_pu: f64) {
        self.p = if self.on && v_pu > 0.0 {
            // The common exponents spare a power function in every step.
            let factor = match self.exponent {
                0.0 => 1.0,
                1.0 => v_pu,
                2.0 => v_pu * v_pu,
                a => v_pu.powf(a),
            };
            -self.p_nominal * factor
        } else {
            0.0
        };
        self.q = self.p * self.q_per_p;
    }

    pub(super) fn count(&mut self, dt_s: f64) {
        self.counter.add(self.p, dt_s);
    }
}
