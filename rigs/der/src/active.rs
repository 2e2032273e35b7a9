//! Active power: volt-watt, limit, and frequency droop from the power before the event.
//!
//! Precedence, as pyUL1741SB at dd11a39 tests it and OpenDER 2.2.0 does it: droop goes over the
//! limit of active power, volt-watt caps both.

use quantities::Frequency;
use services::Side;

use crate::defect::Defect;
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
    /// What a storage could take.
    pub absorbable_pu: f64,
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
        let cap = self.cap(settings.volt_watt.as_ref(), asked.v_pu, dt_s);
        let limit = self.limit(settings.p_limit.as_ref(), settings.told.limit_s, dt_s);
        let has = |defect| settings.defect == Some(defect);
        let wanted = match settings.kind {
            Kind::Pv => asked.available_pu,
            Kind::Storage => asked.demand_pu,
        };
        let droop = settings.droop.as_ref();
        let latches = !has(Defect::NoLatch);
        let ceiling = limit.min(cap);
        let droop = droop.and_then(|d| self.droop.step(d, asked, wanted, (ceiling, latches), dt_s));
        let p = match (droop, settings.kind) {
            (Some(droop), _) if has(Defect::DroopOverVoltWatt) => droop,
            (Some(droop), _) if has(Defect::DroopBelowLimit) => droop.min(ceiling),
            (Some(droop), _) => droop.min(cap),
            (None, Kind::Pv) => wanted.min(asked.share).min(limit).min(cap),
            // The ramp holds back charging as well.
            (None, Kind::Storage) => wanted.clamp(-asked.share, asked.share).min(limit).min(cap),
        };
        match settings.kind {
            Kind::Pv => p.min(asked.available_pu).min(1.0),
            Kind::Storage => p
                .min(asked.available_pu)
                .max(-asked.absorbable_pu)
                .clamp(-1.0, 1.0),
        }
    }

    /// The ceiling of volt-watt; switched on, it comes down from the rating.
    fn cap(&mut self, function: Option<&VoltWatt>, v_pu: f64, dt_s: f64) -> f64 {
        let Some(function) = function else {
            self.volt_watt.reset(1.0);
            return f64::INFINITY;
        };
        let ceiling = function.curve.value(v_pu);
        self.volt_watt.step(ceiling, function.olrt_s, dt_s)
    }

    /// The limit that was asked for; it comes and goes with its response, from and to the rating.
    fn limit(&mut self, limit: Option<&PLimit>, goes_s: f64, dt_s: f64) -> f64 {
        match limit {
            Some(limit) => {
                let time_s = limit.response_s;
                self.limit.step(limit.p_pu, time_s, time_s, dt_s)
            }
            None if self.limit.value().is_some_and(|limit| limit < 1.0) => {
                self.limit.step(1.0, goes_s, goes_s, dt_s)
            }
            None => {
                self.limit.reset(1.0);
                f64::INFINITY
            }
        }
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
        (ceiling_pu, latches): (f64, bool),
        dt_s: f64,
    ) -> Option<f64> {
        let usual_pu = wanted_pu.min(ceiling_pu);
        let side = droop.law.side(asked.f);
        // Held only while the frequency stays on its side: on the other one an event begins anew.
        if side.is_none() || side != self.side || !latches {
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
