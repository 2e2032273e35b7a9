//! Active power: volt-watt, limit, and frequency droop from the power before the event.
//!
//! Precedence, as pyUL1741SB at dd11a39 tests it and OpenDER 2.2.0 does it: droop goes over the
//! limit of active power, volt-watt caps both.

use quantities::Frequency;
use services::Side;

use crate::filter::{Lag, Ramp};
use crate::settings::{Droop, Kind, PLimit, Settings, VoltWatt};

/// What the functions of active power remember.
#[derive(Clone, Debug, Default)]
pub struct ActivePower {
    volt_watt: Lag,
    limit: Ramp,
    droop: Latched,
}

/// What they need to know.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Voltage that functions follow.
    pub v_pu: f64,
    /// Frequency.
    pub f: Frequency,
    /// What could be given.
    pub available_pu: f64,
    /// What is wanted of a storage.
    pub demand_pu: f64,
    /// Share of the rating that entering service allows.
    pub share: f64,
    /// Whether service is being entered.
    pub entering: bool,
    /// Output at the end of the step before, if there was one.
    pub before_pu: Option<f64>,
}

impl ActivePower {
    /// The active power that is wanted at the end of a step.
    pub fn step(&mut self, settings: &Settings, asked: &Asked, dt_s: f64) -> f64 {
        let cap = settings.volt_watt.as_ref();
        let cap = cap.map_or(f64::INFINITY, |f| self.cap(f, asked.v_pu, dt_s));
        let limit = settings.p_limit.as_ref();
        let limit = limit.map_or(f64::INFINITY, |l| self.limit(l, dt_s));
        let wanted = match settings.kind {
            Kind::Pv => asked.available_pu,
            Kind::Storage => asked.demand_pu,
        };
        let droop = settings.droop.as_ref();
        let droop = droop.and_then(|d| self.droop.step(d, asked, wanted, limit.min(cap), dt_s));
        let p = match (droop, settings.kind) {
            (Some(droop), _) => droop.min(cap),
            (None, Kind::Pv) => wanted.min(asked.share).min(limit).min(cap),
            // The ramp holds back charging as well.
            (None, Kind::Storage) => wanted.clamp(-asked.share, asked.share).min(limit).min(cap),
        };
        match settings.kind {
            Kind::Pv => p.min(asked.available_pu).min(1.0),
            Kind::Storage => p.min(asked.available_pu).clamp(-1.0, 1.0),
        }
    }

    fn cap(&mut self, function: &VoltWatt, v_pu: f64, dt_s: f64) -> f64 {
        let ceiling = function.curve.value(v_pu);
        self.volt_watt.step(ceiling, function.olrt_s, dt_s)
    }

    fn limit(&mut self, limit: &PLimit, dt_s: f64) -> f64 {
        let time_s = limit.response_s;
        self.limit.step(limit.p_pu, time_s, time_s, dt_s)
    }

    /// Out of service: every function begins anew.
    pub fn leave(&mut self) {
        self.volt_watt.reset(1.0);
        self.limit.reset(1.0);
        self.droop = Latched::default();
        self.droop.lag.reset(0.0);
    }
}

/// Droop with the power before the event, which is held while frequency is out of its dead band.
#[derive(Clone, Debug, Default)]
struct Latched {
    lag: Lag,
    side: Option<Side>,
    before_pu: f64,
    active: bool,
}

impl Latched {
    /// The power that the droop asks for while it acts; nothing when it does not.
    fn step(
        &mut self,
        droop: &Droop,
        asked: &Asked,
        wanted_pu: f64,
        ceiling_pu: f64,
        dt_s: f64,
    ) -> Option<f64> {
        let usual_pu = wanted_pu.min(ceiling_pu);
        let side = droop.law.side(asked.f);
        // Held only while the frequency stays on its side: on the other one an event begins anew.
        if side.is_none() || side != self.side {
            self.before_pu = asked.before_pu.unwrap_or(usual_pu);
        }
        self.side = side;
        let wanted = self.before_pu + droop.law.change(asked.f);
        let target = match side {
            Some(Side::Over) => wanted.max(droop.p_min_pu),
            Some(Side::Under) => wanted.min(asked.available_pu),
            // While service is entered, the ramp and not the droop says where to.
            None if asked.entering => asked.before_pu.unwrap_or(usual_pu).min(ceiling_pu),
            None => usual_pu,
        };
        let acts = side.is_some() || self.active;
        let response_s = if acts { droop.olrt_s } else { 0.0 };
        let p = self.lag.step(target, response_s, dt_s);
        // The recovery is part of the event until it is over.
        self.active = side.is_some() || (self.active && (p - target).abs() >= droop.settled_pu);
        self.active.then_some(p)
    }
}
