//! A unit that does what a DER to IEEE 1547-2018 does: the crate `der-model` at its terminals.
//!
//! Responsible for what the model measures here, and for what is told to it at run time: settings
//! that change, and which of several reactive functions is on. What each function does is the
//! model's; what a register means is the faces'.

use der_model::settings::{
    Droop, EnterService, PLimit, ReactiveSettings, Threshold, VoltWatt, Vref,
};
use der_model::{Der, Measured, Output, Quantity, Settings, Status, Steps, Volts};
use quantities::Frequency;
use services::Reactive;

/// What stands at the terminals of a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terminals {
    /// Voltage in per unit of nominal.
    pub v: Volts,
    /// Frequency; the last one where there is no voltage.
    pub f: Frequency,
    /// Angle against a steady reference in degrees; it moves with jumps only while the unit is
    /// on the utility.
    pub angle_deg: f64,
    /// Whether it is in an island that nobody holds on purpose.
    pub island: bool,
}

/// A reactive function; of several that are asked for, the first in this order acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReactiveFunction {
    /// Constant reactive power.
    Constant,
    /// Constant power factor.
    PowerFactor,
    /// By voltage.
    VoltVar,
    /// By active power.
    WattVar,
}

/// Reactive functions in all.
const REACTIVE_FUNCTIONS: usize = 4;

impl ReactiveFunction {
    fn of(law: &Reactive) -> Self {
        match law {
            Reactive::Constant(_) => Self::Constant,
            Reactive::PowerFactor { .. } => Self::PowerFactor,
            Reactive::VoltVar(_) => Self::VoltVar,
            Reactive::WattVar(_) => Self::WattVar,
        }
    }
}

/// A change of settings while the unit runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A reactive function comes or goes.
    Reactive(ReactiveFunction, Option<ReactiveSettings>),
    /// Volt-watt comes or goes.
    VoltWatt(Option<VoltWatt>),
    /// Frequency droop comes or goes.
    Droop(Option<Droop>),
    /// When it may enter service, and how.
    Enter(EnterService),
    /// Whether it leaves an island that nobody holds.
    LeavesIslands(bool),
    /// What it does on one side of one quantity, and when.
    Trip(Quantity, TripCurves),
}

/// The curves of one side of one quantity.
#[derive(Clone, Debug, PartialEq)]
pub struct TripCurves {
    /// Where it must trip, the nearer to nominal first.
    pub must: [Threshold; 2],
    /// Where it may trip.
    pub may: Steps,
    /// Where it ceases momentarily; as it was made where nobody says.
    pub momentary: Option<Steps>,
}

/// What the sources behind an inverter could do now, per unit of its rating.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Offer {
    /// Active power that could be given.
    pub(super) available_pu: f64,
    /// Active power that is wanted of a storage.
    pub(super) demand_pu: f64,
    /// Active power that a storage could take.
    pub(super) absorbable_pu: f64,
    /// Whether it may be in service.
    pub(super) permit: bool,
}

/// The functions of a unit.
#[derive(Clone, Debug)]
pub struct Functions {
    model: Der,
    /// What it was made with, and is again after a start.
    own: Settings,
    /// Reactive power that somebody holds it at, per unit.
    held_q_pu: Option<f64>,
    /// The reactive functions that are asked for.
    reactive: [Option<ReactiveSettings>; REACTIVE_FUNCTIONS],
    given: Output,
    begun: bool,
}

impl Functions {
    /// Functions with settings; before its first step everything has settled.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut reactive = [const { None }; REACTIVE_FUNCTIONS];
        if let Some(on) = &settings.reactive {
            reactive[ReactiveFunction::of(&on.law) as usize] = Some(on.clone());
        }
        let status = if settings.start_on {
            Status::On
        } else {
            Status::Off
        };
        Self {
            model: Der::new(settings.clone()),
            own: settings,
            held_q_pu: None,
            reactive,
            given: Output {
                p_pu: 0.0,
                q_pu: 0.0,
                status,
            },
            begun: false,
        }
    }

    /// A step at these terminals; active and reactive power per unit of the rating.
    pub(super) fn step(&mut self, dt_s: f64, at: &Terminals, offer: Offer) -> (f64, f64) {
        let measured = Measured {
            v: at.v,
            f: at.f,
            available_pu: offer.available_pu,
            demand_pu: offer.demand_pu,
            absorbable_pu: offer.absorbable_pu,
            permit: offer.permit,
            angle_deg: Some(at.angle_deg),
            island: at.island,
        };
        let dt_s = if self.begun { dt_s } else { 0.0 };
        self.begun = true;
        self.given = self.model.step(dt_s, &measured);
        (self.given.p_pu, self.given.q_pu)
    }

    /// A step in which the unit forms an island and gives these powers per unit: the functions
    /// stand back. Whether it has tripped. A bus that is brought up is nothing to trip at.
    pub(super) fn stand_back(
        &mut self,
        dt_s: f64,
        at: &Terminals,
        given: (f64, f64),
        is_starting: bool,
    ) -> bool {
        let nominal = self.model.settings().nominal;
        let (v, f) = if is_starting {
            (Volts::Balanced(1.0), nominal)
        } else {
            (at.v, at.f)
        };
        let measured = Measured {
            v,
            f,
            available_pu: 0.0,
            demand_pu: given.0,
            absorbable_pu: 0.0,
            permit: true,
            angle_deg: None,
            island: false,
        };
        self.begun = true;
        self.given = self.model.form(dt_s, &measured, given);
        self.given.status == Status::Tripped
    }

    /// Whether it is in service, so that it could take over its bus.
    pub(super) fn is_in_service(&self) -> bool {
        matches!(
            self.given.status,
            Status::On | Status::Entering | Status::Ceased
        )
    }

    /// The model with its settings.
    #[must_use]
    pub fn model(&self) -> &Der {
        &self.model
    }

    /// The settings that it was made with.
    #[must_use]
    pub fn own(&self) -> &Settings {
        &self.own
    }

    /// What it does.
    #[must_use]
    pub fn status(&self) -> Status {
        self.given.status
    }

    /// The reactive function that acts, if one does.
    #[must_use]
    pub fn reactive(&self) -> Option<ReactiveFunction> {
        let acting = self.model.settings().reactive.as_ref()?;
        Some(ReactiveFunction::of(&acting.law))
    }

    /// Starts anew, with what it was made with.
    pub fn start_anew(&mut self) {
        *self = Self::new(Settings {
            start_on: false,
            ..self.own.clone()
        });
    }

    /// Sets the limit of active power per unit, or takes it away.
    pub fn limit(&mut self, limit_pu: Option<f64>) {
        let told = self.own.told.limit_s;
        let own = self.own.p_limit;
        let limit = limit_pu.map(|p_pu| PLimit {
            p_pu,
            response_s: own.map_or(told, |own| own.response_s),
        });
        let limit = limit.or(own);
        if self.model.settings().p_limit != limit {
            self.model.change(|settings| settings.p_limit = limit);
        }
    }

    /// Holds reactive power at a value per unit, or lets go of it.
    pub fn hold_q(&mut self, q_pu: Option<f64>) {
        if self.held_q_pu != q_pu {
            self.held_q_pu = q_pu;
            self.choose();
        }
    }

    /// Changes a setting.
    pub fn change(&mut self, change: Change) {
        match change {
            Change::Reactive(function, settings) => {
                self.reactive[function as usize] = settings;
                self.choose();
            }
            Change::VoltWatt(on) => self.model.change(|settings| settings.volt_watt = on),
            Change::Droop(on) => self.model.change(|settings| settings.droop = on),
            Change::Enter(enter) => self.model.change(|settings| settings.enter = enter),
            Change::LeavesIslands(on) => {
                let own_s = self.own.ride.island_s;
                let island_s = if on { own_s } else { f64::INFINITY };
                self.model
                    .change(|settings| settings.ride.island_s = island_s);
            }
            Change::Trip(of, curves) => {
                let own = self.own.ride.cease.momentary.of(of);
                let momentary = curves.momentary.unwrap_or_else(|| own.clone());
                self.model.change(|settings| {
                    let (trip, ride) = (&mut settings.trip, &mut settings.ride);
                    *match of {
                        Quantity::LowVoltage => &mut trip.uv,
                        Quantity::HighVoltage => &mut trip.ov,
                        Quantity::LowFrequency => &mut trip.uf,
                        Quantity::HighFrequency => &mut trip.of,
                    } = curves.must;
                    ride.may_trip.put(of, curves.may);
                    ride.cease.momentary.put(of, momentary);
                });
            }
        }
    }

    /// Of all reactive functions that are asked for, one acts.
    fn choose(&mut self) {
        let olrt_s = self.own.told.const_q_s;
        let held = self.held_q_pu.map(|q_pu| ReactiveSettings {
            law: Reactive::Constant(q_pu),
            olrt_s,
            vref: Vref::NOMINAL,
        });
        let acts = held.or_else(|| self.reactive.iter().flatten().next().cloned());
        self.model.change(|settings| settings.reactive = acts);
    }
}

#[cfg(test)]
pub(crate) mod tests;
