//! A diesel set as a unit of the plant: engine and governor, synchroniser, generator breaker.
//!
//! The engine is the one of [`network::island`]; this file starts it, brings it into step and
//! closes its breaker. Told to run, a set warms up, and then joins what is live, or takes a dead
//! part that the utility is not joined to. One whose island goes down trips: its engine turns on,
//! but its breaker stays open until it is told to run anew.
//!
//! It is not responsible for an engine's protection, cooling down, or its exciter's dynamics.

use network::island::{Diesel, Engine};

use super::counter::Counter;

/// Slip with which the synchroniser drives a set towards the bus, in hertz.
/// Chosen: the usual setting of synchronisers; the angle comes round within five seconds.
const SLIP_HZ: f64 = 0.2;

/// Angle in degrees inside which the synchroniser closes.
/// Chosen: half of what IEEE 1547 permits up to 500 kVA, as for a breaker without lead.
const CLOSE_WITHIN_DEG: f64 = 10.0;

/// Angle of a set that has just come up to speed, in degrees.
/// Chosen: half a turn away, the worst that chance gives.
const ANGLE_AT_FIRST_DEG: f64 = 180.0;

/// Time for which a part must be dead before a set takes it, in seconds.
/// Chosen: as the black-start examples wait; a bus between two supplies is not dead yet.
const DEAD_FOR_S: f64 = 1.0;

/// Time in which an isochronous governor brings the frequency back, in seconds.
/// Chosen: an order above the lag of governor and engine, so that the two do not meet.
const RESET_S: f64 = 3.0;

/// Active power that the engine can give for one volt-ampere of its generator.
//= ISO 8528-1: sets are rated at a power factor of 0.8 (recalled).
pub const POWER_FACTOR: f64 = 0.8;

/// How a governor holds the frequency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Governor {
    /// Along its droop.
    #[default]
    Droop,
    /// Back to nominal, by a slow integral on top of the droop.
    Isochronous,
}

/// What the part of a set looks like to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Around {
    /// Somebody holds voltage and frequency.
    Live,
    /// Nobody does, and nobody but an island may.
    Dead,
    /// Not to be closed onto: a lost utility, or a bus that is being brought up.
    Closed,
}

/// A diesel set.
#[derive(Clone, Debug)]
pub struct Genset {
    diesel: Diesel,
    governor: Governor,
    wanted: bool,
    on_load: bool,
    tripped: bool,
    /// Angle against the bus while it comes into step, in degrees.
    angle: f64,
    dead_s: f64,
    p: f64,
    q: f64,
    counter: Counter,
}

impl Genset {
    /// A set that stands still.
    #[must_use]
    pub fn new(mut diesel: Diesel, governor: Governor) -> Self {
        diesel.stop();
        diesel.p_limits = (0.0, POWER_FACTOR * diesel.s_va);
        Self {
            diesel,
            governor,
            wanted: false,
            on_load: false,
            tripped: false,
            angle: ANGLE_AT_FIRST_DEG,
            dead_s: 0.0,
            p: 0.0,
            q: 0.0,
            counter: Counter::default(),
        }
    }

    /// Tells it to run or to stop; to run, a trip is forgotten.
    pub fn run(&mut self, run: bool) {
        self.wanted = run;
        if run {
            self.tripped = false;
        }
    }

    /// Lets it run on load from the beginning: warm, in step, its breaker closed.
    pub fn run_on_load(&mut self) {
        self.wanted = true;
        self.on_load = true;
        self.diesel.engine = Engine::Running;
    }

    /// Sets the power at nominal frequency in watts; held inside what the engine can give.
    pub fn set_p(&mut self, p: f64) {
        let (low, high) = self.diesel.p_limits;
        self.diesel.p_set = p.clamp(low, high);
    }

    /// Sets a ceiling of the engine's power in watts; held inside what it can give.
    pub fn set_ceiling(&mut self, p: f64) {
        self.diesel.p_limits.1 = p.clamp(0.0, self.rated());
    }

    /// Ceiling of the engine's power in watts.
    #[must_use]
    pub fn ceiling(&self) -> f64 {
        self.diesel.p_limits.1
    }

    /// Power at nominal frequency in watts.
    #[must_use]
    pub fn p_set(&self) -> f64 {
        self.diesel.p_set
    }

    /// Rated apparent power in volt-amperes.
    #[must_use]
    pub fn rated_va(&self) -> f64 {
        self.diesel.s_va
    }

    /// Most active power of the engine in watts.
    #[must_use]
    pub fn rated(&self) -> f64 {
        POWER_FACTOR * self.diesel.s_va
    }

    /// Whether it was told to run.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether its breaker is closed.
    #[must_use]
    pub fn is_on_load(&self) -> bool {
        self.on_load
    }

    /// Whether its island went down under it.
    #[must_use]
    pub fn has_tripped(&self) -> bool {
        self.tripped
    }

    /// What the engine does.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.diesel.engine
    }

    /// Litres burnt so far.
    #[must_use]
    pub fn litres(&self) -> f64 {
        self.diesel.litres()
    }

    /// Active power at the terminals in watts.
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

    /// Whether it can take a part on the spot: its breaker is closed already.
    pub(super) fn can_form(&self) -> bool {
        self.on_load && self.diesel.engine == Engine::Running
    }

    /// Engine and synchroniser move on; true when it closes its breaker onto a dead part.
    pub(super) fn attend(&mut self, dt_s: f64, around: Around) -> bool {
        if !self.wanted {
            self.diesel.stop();
            self.open();
            return false;
        }
        self.diesel.start();
        self.diesel.start_up(dt_s);
        self.dead_s = if around == Around::Dead {
            self.dead_s + dt_s
        } else {
            0.0
        };
        if self.on_load || self.tripped || self.diesel.engine != Engine::Running {
            return false;
        }
        match around {
            Around::Live => {
                self.angle = (self.angle - 360.0 * SLIP_HZ * dt_s).rem_euclid(360.0);
                self.on_load = self.angle.min(360.0 - self.angle) <= CLOSE_WITHIN_DEG;
                false
            }
            Around::Dead => {
                self.on_load = self.dead_s >= DEAD_FOR_S;
                self.on_load
            }
            Around::Closed => false,
        }
    }

    fn open(&mut self) {
        self.on_load = false;
        self.angle = ANGLE_AT_FIRST_DEG;
        self.p = 0.0;
        self.q = 0.0;
    }

    /// Its island goes down.
    pub(super) fn trip(&mut self) {
        self.tripped |= self.on_load;
        self.unload();
    }

    /// The grid, or a person at the set, takes the trip back.
    pub(super) fn reset(&mut self) {
        self.tripped = false;
    }

    /// Nothing flows.
    pub(super) fn rest(&mut self) {
        if self.on_load {
            self.unload();
        }
    }

    /// It loses its load at once, and turns on.
    fn unload(&mut self) {
        self.diesel.drop_load();
        self.open();
    }

    /// What it is as a machine of its island; it stands for nothing while its breaker is open.
    pub(super) fn machine(&self) -> Diesel {
        let mut machine = self.diesel.clone();
        if !self.on_load {
            machine.stop();
        }
        machine
    }

    /// A step in an island is over: how its machine came out of it, and what it gave.
    pub(super) fn carry(&mut self, machine: &Diesel, (p, q): (f64, f64), f_pu: f64, dt_s: f64) {
        if !self.on_load {
            self.idle(dt_s);
            return;
        }
        self.diesel = machine.clone();
        (self.p, self.q) = (p, q);
        if self.governor == Governor::Isochronous {
            // The whole droop within the reset time.
            let wanted = self.diesel.s_va / self.diesel.droop * (1.0 - f_pu);
            self.set_p(self.diesel.p_set + wanted * (dt_s / RESET_S).min(1.0));
        }
    }

    /// A step in which somebody else holds the frequency, from `f` to `f_next`.
    pub(super) fn follow(&mut self, f: f64, f_next: f64, f_nominal: f64, dt_s: f64) {
        self.reset();
        if !self.on_load {
            self.idle(dt_s);
            return;
        }
        self.diesel.step(f, f_next, f_nominal, dt_s);
        (self.p, self.q) = (self.diesel.p(), 0.0);
    }

    /// A step without a load.
    pub(super) fn idle(&mut self, dt_s: f64) {
        self.diesel.idle(dt_s);
    }

    pub(super) fn count(&mut self, dt_s: f64) {
        self.counter.add(self.p, dt_s);
    }
}
