//! Storage inverters and the batteries behind them.
//!
//! On a grid the inverter follows its setpoint; in an island it forms voltage and
//! frequency, and the setpoint shifts its droop line. One whose island goes down trips: on a dead
//! bus it stays off until it is told to connect, and by itself it only comes back to a grid. The battery ends at an empty
//! and a full charge; near both, its allowed power tapers to nothing.

use network::island::Former;

use super::FormingLaw;
use super::counter::Counter;
use super::der::{Functions, Offer, Terminals};

/// Time constant of the power control, in seconds.
/// Chosen: battery inverters with a current loop settle within a few mains cycles.
const LAG_S: f64 = 0.06;

/// One-way efficiency of inverter and battery.
/// Chosen: 95 % each way, 90 % round trip, as data sheets of lithium storages say.
const EFFICIENCY: f64 = 0.95;

/// Charge, as a fraction, over which the allowed power tapers to zero at either end.
/// Chosen: battery management systems of lithium packs reduce current in the last 3 %.
const TAPER: f64 = 0.03;

/// Current that an inverter carries for a moment, in per unit of its rating.
/// Chosen: what data sheets of laboratory inverters say for some seconds; it lets them hold their
/// rating down to 0.9 of nominal voltage.
const CURRENT_MAX_PU: f64 = 1.1;

/// Voltage in per unit below which an inverter that follows gives nothing until it is back.
//= IEEE 1547-2018 Table 16, category III: momentary cessation below 0.5 (recalled).
pub(super) const CEASE_V_PU: f64 = 0.5;

/// What a storage inverter and its battery are made for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StorageRating {
    /// Rated power in watts, to either side.
    pub p: f64,
    /// Usable energy in watt-hours.
    pub capacity_wh: f64,
    /// Fastest change of the power setpoint in watts per second.
    pub ramp: f64,
}

/// A storage inverter with its battery.
#[derive(Clone, Debug)]
pub struct Storage {
    rating: StorageRating,
    p_set: f64,
    q_set: f64,
    connected: bool,
    /// Whether it can form an island at all.
    forms: bool,
    /// How it forms one, where it differs from the rest of the plant.
    law: Option<FormingLaw>,
    /// What it does to IEEE 1547-2018, in place of following its setpoints at once.
    functions: Option<Box<Functions>>,
    /// Its island went down under it.
    tripped: bool,
    /// It was told to connect, and nobody has taken that up yet.
    asked: bool,
    forming: bool,
    /// The setpoint after the ramp.
    p_ramped: f64,
    p: f64,
    q: f64,
    soc: f64,
    counter: Counter,
}

impl Storage {
    /// A storage at rest, charged to a fraction.
    #[must_use]
    pub fn new(rating: StorageRating, soc: f64) -> Self {
        Self {
            rating,
            p_set: 0.0,
            q_set: 0.0,
            connected: true,
            forms: true,
            law: None,
            functions: None,
            tripped: false,
            asked: false,
            forming: false,
            p_ramped: 0.0,
            p: 0.0,
            q: 0.0,
            soc: soc.clamp(0.0, 1.0),
            counter: Counter::default(),
        }
    }

    /// Lets it follow only, as an inverter without an island mode.
    pub fn follow_only(&mut self) {
        self.forms = false;
    }

    /// Lets it carry out the functions of a DER to IEEE 1547-2018; it forms no island then, unless
    /// it is told that it can.
    pub fn set_functions(&mut self, functions: Functions) {
        self.follow_only();
        self.functions = Some(Box::new(functions));
    }

    /// Lets it form an island, too.
    pub fn form_too(&mut self) {
        self.forms = true;
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

    /// Gives it a law of its own by which it forms an island.
    pub fn set_law(&mut self, law: FormingLaw) {
        self.law = Some(law);
    }

    /// The law by which it forms an island, where it has one of its own.
    #[must_use]
    pub fn law(&self) -> Option<FormingLaw> {
        self.law
    }

    /// Sets active power in watts, positive = discharge; held inside the rating.
    pub fn set_p(&mut self, p: f64) {
        self.p_set = p.clamp(-self.rating.p, self.rating.p);
    }

    /// Sets reactive power in var; held inside the rating.
    pub fn set_q(&mut self, q: f64) {
        self.q_set = q.clamp(-self.rating.p, self.rating.p);
        let q_pu = self.q_set / self.rating.p;
        if let Some(functions) = &mut self.functions {
            functions.hold_q(Some(q_pu));
        }
    }

    /// Sets the limit of active power in watts, of one that carries out the functions of a DER.
    pub fn limit(&mut self, p: f64) {
        let limit_pu = (p < self.rating.p).then(|| p / self.rating.p);
        if let Some(functions) = &mut self.functions {
            functions.limit(limit_pu);
        }
    }

    /// Sets the state of charge as a fraction.
    pub fn set_soc(&mut self, soc: f64) {
        self.soc = soc.clamp(0.0, 1.0);
    }

    /// Sets the usable energy in watt-hours.
    pub fn set_capacity(&mut self, capacity_wh: f64) {
        self.rating.capacity_wh = capacity_wh.max(0.0);
    }

    /// Connects to the bus or leaves it. On a dead bus, to connect is to bring it up.
    pub fn connect(&mut self, connected: bool) {
        self.connected = connected;
        self.asked = connected;
        if connected {
            self.tripped = false;
        }
    }

    /// Rated power in watts.
    #[must_use]
    pub fn rating(&self) -> f64 {
        self.rating.p
    }

    /// Usable energy in watt-hours.
    #[must_use]
    pub fn capacity_wh(&self) -> f64 {
        self.rating.capacity_wh
    }

    /// Active power setpoint in watts, before the ramp.
    #[must_use]
    pub fn p_set(&self) -> f64 {
        self.p_set
    }

    /// Reactive power setpoint in var.
    #[must_use]
    pub fn q_set(&self) -> f64 {
        self.q_set
    }

    /// Active power in watts, positive = discharge.
    #[must_use]
    pub fn p(&self) -> f64 {
        self.p
    }

    /// Reactive power in var.
    #[must_use]
    pub fn q(&self) -> f64 {
        self.q
    }

    /// State of charge as a fraction.
    #[must_use]
    pub fn soc(&self) -> f64 {
        self.soc
    }

    /// Whether it is on the bus.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected && !self.tripped
    }

    /// Whether it forms the island now.
    #[must_use]
    pub fn is_forming(&self) -> bool {
        self.forming && self.is_connected()
    }

    /// Counted energy.
    #[must_use]
    pub fn counter(&self) -> Counter {
        self.counter
    }

    /// Power at the battery's terminals in watts, positive = discharge.
    #[must_use]
    pub fn dc_power(&self) -> f64 {
        if self.p >= 0.0 {
            self.p / EFFICIENCY
        } else {
            self.p * EFFICIENCY
        }
    }

    /// Largest discharge in watts that the charge allows now.
    #[must_use]
    pub fn discharge_max(&self) -> f64 {
        self.rating.p * (self.soc / TAPER).clamp(0.0, 1.0)
    }

    /// Largest charge in watts that the charge allows now.
    #[must_use]
    pub fn charge_max(&self) -> f64 {
        self.rating.p * ((1.0 - self.soc) / TAPER).clamp(0.0, 1.0)
    }

    /// Whether it could form an island: it is there, and not empty; a DER is in service, or was
    /// told to bring up its bus.
    #[must_use]
    pub fn can_form(&self) -> bool {
        let functions = self.functions.as_ref();
        let serves = functions.is_none_or(|f| self.asked || f.is_in_service());
        self.forms && serves && self.is_connected() && self.soc > 0.0
    }

    pub(super) fn begin_forming(&mut self) {
        self.forming = self.can_form();
        self.asked = false;
    }

    /// Whether it was told to connect and could form an island.
    pub(super) fn is_asked(&self) -> bool {
        self.asked && self.can_form()
    }

    /// Its island goes down.
    pub(super) fn trip(&mut self) {
        self.tripped = self.forming || self.tripped;
        self.asked = false;
    }

    /// A person at the device, or the grid, takes the trip back.
    pub(super) fn reset(&mut self) {
        self.tripped = false;
        self.asked = false;
    }

    /// What it is as a machine of its island: inside what the battery allows, and nothing at
    /// all while it does not form.
    pub(super) fn drive(&self, former: &mut Former) {
        let forms = self.is_forming();
        former.s_va = if forms { self.rating.p } else { 0.0 };
        former.p_set = if forms { self.p_ramped } else { 0.0 };
        former.p_limits = if forms {
            (-self.charge_max(), self.discharge_max())
        } else {
            (0.0, 0.0)
        };
    }

    pub(super) fn track_setpoint(&mut self, dt_s: f64) {
        let step = self.rating.ramp * dt_s;
        self.p_ramped += (self.p_set - self.p_ramped).clamp(-step, step);
    }

    /// Coming from an island, the ramp begins at the power that flows.
    fn leave_island(&mut self) {
        if self.forming {
            self.forming = false;
            self.p_ramped = self.p;
        }
    }

    /// A step on a bus that others hold, with a voltage in per unit: the setpoint is followed,
    /// inside what the current permits.
    pub(super) fn follow(&mut self, dt_s: f64, v_pu: f64) {
        self.leave_island();
        self.track_setpoint(dt_s);
        if v_pu < CEASE_V_PU {
            (self.p, self.q) = (0.0, 0.0);
            return;
        }
        let carried = CURRENT_MAX_PU * v_pu * self.rating.p;
        let target = if self.is_connected() {
            let (low, high) = (-self.charge_max(), self.discharge_max());
            self.p_ramped.clamp(low.max(-carried), high.min(carried))
        } else {
            0.0
        };
        let rise = 1.0 - (-dt_s / LAG_S).exp();
        self.p += (target - self.p) * rise;
        let room = (self.rating.p * self.rating.p - self.p * self.p)
            .max(0.0)
            .sqrt();
        let q_target = if self.is_connected() {
            self.q_set.clamp(-room, room)
        } else {
            0.0
        };
        self.q += (q_target - self.q) * rise;
    }

    /// A step of one that carries out the functions of a DER, whoever holds its bus.
    pub(super) fn carry_out(&mut self, dt_s: f64, at: &Terminals) {
        self.leave_island();
        self.track_setpoint(dt_s);
        let rated = self.rating.p;
        let offer = Offer {
            available_pu: self.discharge_max() / rated,
            demand_pu: self.p_ramped / rated,
            absorbable_pu: self.charge_max() / rated,
            permit: self.is_connected(),
        };
        if let Some(functions) = &mut self.functions {
            let (p_pu, q_pu) = functions.step(dt_s, at, offer);
            (self.p, self.q) = (p_pu * rated, q_pu * rated);
        }
    }

    /// A step of one that forms its island and carries out the functions of a DER: they stand back,
    /// and its protection looks on.
    pub(super) fn look_on(&mut self, dt_s: f64, at: &Terminals, is_starting: bool) {
        self.track_setpoint(dt_s);
        let given = (self.p / self.rating.p, self.q / self.rating.p);
        let functions = self.functions.as_mut();
        if functions.is_some_and(|f| f.stand_back(dt_s, at, given, is_starting)) {
            self.trip();
            (self.p, self.q) = (0.0, 0.0);
        }
    }

    /// A step in an island: the bus takes what it takes.
    pub(super) fn form(&mut self, p: f64, q: f64) {
        self.p = p;
        self.q = q;
    }

    pub(super) fn rest(&mut self) {
        self.p = 0.0;
        self.q = 0.0;
        self.p_ramped = 0.0;
        self.forming = false;
    }

    pub(super) fn count(&mut self, dt_s: f64) {
        self.counter.add(self.p, dt_s);
        let drawn_wh = self.dc_power() * dt_s / 3600.0;
        if self.rating.capacity_wh > 0.0 {
            self.soc = (self.soc - drawn_wh / self.rating.capacity_wh).clamp(0.0, 1.0);
        }
    }
}
