//! Loads: power that depends on voltage and frequency, behind a switch.
//!
//! `P = P0 g(V) (1 + D (f - f0) / f0)`, with `g(V) = V^a` or the shares of [`Zip`]. A motor that
//! A load may resonate at nominal frequency, as those that tests of unintentional islands use: what its
//! coil takes beyond what its capacitor gives is `V^2 Qf P0 (f0 / f - f / f0)`. A motor that
//! has just got its voltage draws its inrush instead, as the impedance that a rotor at rest is.

use std::time::Duration;

use network::description::Zip;

use super::counter::Counter;

/// How a load depends on its voltage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// `V^a`.
    Exponent(f64),
    /// Shares of constant impedance, current and power.
    Zip(Zip),
}

/// What a motor draws while it comes up to speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inrush {
    /// Current, in units of that at rated power.
    pub current: f64,
    /// For how long.
    pub length: Duration,
}

/// A load.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    p_nominal: f64,
    q_per_p: f64,
    shape: Shape,
    /// Change of power per change of frequency, both in per unit.
    damping: f64,
    inrush: Option<Inrush>,
    /// Quality factor of its resonance at nominal frequency.
    quality: f64,
    on: bool,
    /// Time for which it has had a voltage, in seconds; `None` while it has none.
    live_s: Option<f64>,
    /// Power at nominal frequency.
    p_at_nominal: f64,
    /// Reactive power in its coil, and in its capacitor, at nominal frequency.
    tank_var: f64,
    p: f64,
    q: f64,
    counter: Counter,
}

/// Tangent of the angle of a load with power factor 0.98.
/// Chosen: between a heater (0) and a cheap power supply.
const Q_PER_P: f64 = 0.203;

/// Power factor of a motor at rest.
/// Chosen: the middle of what textbooks say of squirrel-cage motors, 0.15 to 0.35.
const INRUSH_POWER_FACTOR: f64 = 0.25;

/// Voltage in per unit below which a load is a constant impedance, whatever it is above.
/// Chosen: as power flow programs do (PSS/E at 0.7), since nothing holds its power through a
/// short circuit nearby.
pub(super) const LEAST_V_PU: f64 = 0.7;

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
            shape: Shape::Exponent(VOLTAGE_EXPONENT),
            damping: 0.0,
            inrush: None,
            quality: 0.0,
            on,
            live_s: None,
            p_at_nominal: 0.0,
            tank_var: 0.0,
            p: 0.0,
            q: 0.0,
            counter: Counter::default(),
        }
    }

    /// Sets the reactive power per active power and the voltage exponent.
    #[must_use]
    pub fn shaped(mut self, q_per_p: f64, exponent: f64) -> Self {
        self.q_per_p = q_per_p;
        self.shape = Shape::Exponent(exponent);
        self
    }

    /// Sets the dependence on voltage.
    pub fn set_shape(&mut self, shape: Shape) {
        self.shape = shape;
    }

    /// Sets the change of power per change of frequency, both in per unit.
    pub fn set_damping(&mut self, damping: f64) {
        self.damping = damping;
    }

    /// Makes it a motor with an inrush each time that it gets its voltage.
    pub fn set_inrush(&mut self, inrush: Inrush) {
        self.inrush = Some(inrush);
    }

    /// Lets it resonate at nominal frequency with a quality factor.
    pub fn set_quality(&mut self, quality: f64) {
        self.quality = quality;
    }

    /// Reactive power in its coil, and in its capacitor, at nominal frequency and this voltage.
    #[must_use]
    pub fn tank_var(&self) -> f64 {
        self.tank_var
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

    /// A step at a voltage and a frequency in per unit, zero where there is none; what
    /// the frequency makes of its active power comes with [`Load::settle`].
    pub(super) fn step(&mut self, dt_s: f64, v_pu: f64, f_pu: f64) {
        if !(self.on && v_pu > 0.0) {
            self.live_s = None;
            self.tank_var = 0.0;
            (self.p_at_nominal, self.p, self.q) = (0.0, 0.0, 0.0);
            return;
        }
        let live_s = self.live_s.get_or_insert(0.0);
        let starting = |inrush: &Inrush| *live_s < inrush.length.as_secs_f64();
        if let Some(inrush) = self.inrush.filter(starting) {
            let s = inrush.current * self.p_nominal.hypot(self.q_per_p * self.p_nominal);
            let s = s.copysign(self.p_nominal) * v_pu * v_pu;
            self.p_at_nominal = -s * INRUSH_POWER_FACTOR;
            self.q = -s * (1.0 - INRUSH_POWER_FACTOR * INRUSH_POWER_FACTOR).sqrt();
        } else {
            self.p_at_nominal = -self.p_nominal * self.shape.factor(v_pu);
            self.q = self.p_at_nominal * self.q_per_p;
        }
        *live_s += dt_s;
        if self.quality > 0.0 {
            self.tank_var = self.quality * self.p_nominal.abs() * v_pu * v_pu;
            self.q -= self.tank_var * (1.0 / f_pu - f_pu);
        }
        self.p = self.p_at_nominal;
    }

    /// Settles at a deviation of the frequency in per unit.
    pub(super) fn settle(&mut self, df_pu: f64) {
        self.p = self.p_at_nominal * (1.0 + self.damping * df_pu);
    }

    /// Change of consumption in watts for a change of frequency by one per unit.
    pub(super) fn damping_w(&self) -> f64 {
        -self.p_at_nominal * self.damping
    }

    pub(super) fn count(&mut self, dt_s: f64) {
        self.counter.add(self.p, dt_s);
    }
}

impl Shape {
    /// Power in units of that at nominal voltage.
    fn factor(self, v_pu: f64) -> f64 {
        let held = v_pu.max(LEAST_V_PU);
        // The common exponents spare a power function in every step.
        let factor = match self {
            Self::Exponent(0.0) => 1.0,
            Self::Exponent(1.0) => held,
            Self::Exponent(2.0) => held * held,
            Self::Exponent(a) => held.powf(a),
            Self::Zip(zip) => 1.0 - zip.i - zip.z + zip.i * held + zip.z * held * held,
        };
        let below = v_pu / held;
        factor * below * below
    }
}
