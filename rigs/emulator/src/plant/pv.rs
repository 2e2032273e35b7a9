//! Photovoltaic inverters: the sun offers, a ceiling and the frequency take away.

use quantities::Frequency;
use services::Reduction;

use super::counter::Counter;
use super::der::{Functions, Offer, Terminals};
use super::storage::CEASE_V_PU;

/// Time constant of the power control, in seconds.
/// Chosen: small string inverters follow a changed limit within half a second.
const LAG_S: f64 = 0.15;

/// Time constant of the over-frequency reduction, in seconds.
/// Chosen: a few cycles, since nothing else saves an island with a surplus of sun.
const REDUCTION_LAG_S: f64 = 0.04;

/// Over-frequency reduction: threshold above nominal in per unit, and droop.
/// Threshold 50.2 Hz of 50 Hz as in EN 50549-1 (recalled). Chosen: a droop of 2.5 %,
/// inside the 2 to 12 % that the standard lets one set, so that an island with a full
/// battery settles below 51.5 Hz.
const REDUCTION: (f64, f64) = (0.004, 0.025);

/// A photovoltaic inverter with its modules.
#[derive(Clone, Debug)]
pub struct Pv {
    rated: f64,
    available: f64,
    ceiling: f64,
    connected: bool,
    q_set: f64,
    ramp: f64,
    reduction: Reduction,
    /// Power when the over-frequency threshold was crossed: the reference of the reduction.
    before: Option<f64>,
    /// What it does to IEEE 1547-2018, in place of the simple laws of this file.
    functions: Option<Box<Functions>>,
    /// What its modules give, after the ramp.
    offered: f64,
    p: f64,
    q: f64,
    counter: Counter,
}

impl Pv {
    /// An inverter of a rating in watts with a ramp in watts per second.
    #[must_use]
    pub fn new(rated: f64, ramp: f64, f_nominal: Frequency) -> Self {
        Self {
            rated,
            available: rated,
            ceiling: rated,
            connected: true,
            q_set: 0.0,
            ramp,
            reduction: Reduction {
                nominal: f_nominal,
                threshold: f_nominal * (1.0 + REDUCTION.0),
                droop: REDUCTION.1,
            },
            before: None,
            functions: None,
            offered: 0.0,
            p: 0.0,
            q: 0.0,
            counter: Counter::default(),
        }
    }

    /// Lets it carry out the functions of a DER to IEEE 1547-2018.
    pub fn set_functions(&mut self, functions: Functions) {
        self.offered = self.available();
        self.functions = Some(Box::new(functions));
    }

    /// The functions of a DER that it carries out, if it does.
    #[must_use]
    pub fn functions(&self) -> Option<&Functions> {
        self.functions.as_deref()
    }

    /// The same, to be told something.
    pub fn functions_mut(&mut self) -> Option<&mut Functions> {
        self.functions.as_deref_mut()
    }

    /// Sets the power that the sun offers, in watts.
    pub fn set_available(&mut self, p: f64) {
        self.available = p.max(0.0);
    }

    /// Sets the ceiling in watts; held inside the rating.
    pub fn set_ceiling(&mut self, p: f64) {
        self.ceiling = p.clamp(0.0, self.rated);
        let limit_pu = (self.ceiling < self.rated).then(|| self.ceiling / self.rated);
        if let Some(functions) = &mut self.functions {
            functions.limit(limit_pu);
        }
    }

    /// Sets the reactive power in var; held inside the rating.
    pub fn set_q(&mut self, q: f64) {
        self.q_set = q.clamp(-self.rated, self.rated);
        let q_pu = self.q_set / self.rated;
        if let Some(functions) = &mut self.functions {
            functions.hold_q(Some(q_pu));
        }
    }

    /// Connects to the bus or leaves it.
    pub fn connect(&mut self, connected: bool) {
        self.connected = connected;
    }

    /// Rated power in watts.
    #[must_use]
    pub fn rated(&self) -> f64 {
        self.rated
    }

    /// Power that the sun offers, in watts, as far as the inverter can carry it.
    #[must_use]
    pub fn available(&self) -> f64 {
        self.available.min(self.rated)
    }

    /// Ceiling in watts.
    #[must_use]
    pub fn ceiling(&self) -> f64 {
        self.ceiling
    }

    /// Reactive power setpoint in var.
    #[must_use]
    pub fn q_set(&self) -> f64 {
        self.q_set
    }

    /// Whether it is on the bus.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Active power in watts.
    #[must_use]
    pub fn p(&self) -> f64 {
        self.p
    }

    /// Reactive power in var.
    #[must_use]
    pub fn q(&self) -> f64 {
        self.q
    }

    /// Counted energy.
    #[must_use]
    pub fn counter(&self) -> Counter {
        self.counter
    }

    pub(super) fn trip(&mut self) {
        self.p = 0.0;
        self.q = 0.0;
        self.before = None;
    }

    /// A step at a voltage in per unit, zero where there is none.
    pub(super) fn step(&mut self, dt_s: f64, v_pu: f64, f: Frequency) {
        if !(v_pu >= CEASE_V_PU && self.connected) {
            self.trip();
            return;
        }
        let wanted = self.available().min(self.ceiling);
        let limit = self.frequency_limit(f);
        if limit < wanted && limit < self.p {
            // Protection of the island: faster than setpoints, and no ramp holds it back.
            self.p += (limit - self.p) * (1.0 - (-dt_s / REDUCTION_LAG_S).exp());
        } else {
            let change = (wanted.min(limit) - self.p) * (1.0 - (-dt_s / LAG_S).exp());
            self.p += change.clamp(-self.ramp * dt_s, self.ramp * dt_s);
        }
        let room = (self.rated * self.rated - self.p * self.p).max(0.0).sqrt();
        self.q = self.q_set.clamp(-room, room);
    }

    /// A step of one that carries out the functions of a DER.
    pub(super) fn carry_out(&mut self, dt_s: f64, at: &Terminals) {
        let step = self.ramp * dt_s;
        self.offered += (self.available() - self.offered).clamp(-step, step);
        let offer = Offer {
            available_pu: self.offered / self.rated,
            demand_pu: 0.0,
            absorbable_pu: 0.0,
            permit: self.connected,
        };
        if let Some(functions) = &mut self.functions {
            let (p_pu, q_pu) = functions.step(dt_s, at, offer);
            (self.p, self.q) = (p_pu * self.rated, q_pu * self.rated);
        }
    }

    fn frequency_limit(&mut self, f: Frequency) -> f64 {
        let remaining = self.reduction.remaining(f);
        if remaining >= 1.0 {
            self.before = None;
            return f64::INFINITY;
        }
        *self.before.get_or_insert(self.p) * remaining
    }

    pub(super) fn count(&mut self, dt_s: f64) {
        self.counter.add(self.p, dt_s);
    }
}
