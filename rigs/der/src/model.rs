//! The device as a whole: what it measures goes in, what it gives comes out, step by step.
//!
//! A step speaks of the time that ends with it: what is measured at its end is taken to have held
//! from the step before, and lags take it for a straight line.

use quantities::Frequency;

use crate::active::{ActivePower, Asked};
use crate::defect::Defect;
use crate::filter::Lag;
use crate::reactive::ReactivePower;
use crate::ride::Cessation;
use crate::service::Entering;
use crate::settings::{Kind, Settings};
use crate::trip::{Cause, Protection, Seen};
use crate::voltage::Volts;

/// What the device measures, and what it is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Voltage.
    pub v: Volts,
    /// Frequency.
    pub f: Frequency,
    /// Active power that sun or battery could give now, per unit.
    pub available_pu: f64,
    /// Active power that is wanted of a storage, per unit, positive = into the bus.
    pub demand_pu: f64,
    /// Active power that a storage could take now, per unit; a PV does not look at it.
    pub absorbable_pu: f64,
    /// Whether it may be in service.
    pub permit: bool,
    /// Angle of the voltage against a steady reference in degrees, where somebody knows it.
    pub angle_deg: Option<f64>,
    /// Whether it is in an island that nobody wanted. The model does not find that out by itself:
    /// it has no plant that its search could move.
    pub island: bool,
}

/// What the device does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It gives power.
    On,
    /// It comes back, on its ramp.
    Entering,
    /// Its protection has tripped, and what it waits for has not come.
    Tripped,
    /// It gives nothing for as long as the voltage is what it is.
    Ceased,
    /// It is out of service for no fault: not begun, or not permitted.
    Off,
}

impl Status {
    /// The word of output files.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Entering => "entering",
            Self::Tripped => "tripped",
            Self::Ceased => "ceased",
            Self::Off => "off",
        }
    }
}

/// What the device gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Output {
    /// Active power per unit of the rating, positive = into the bus.
    pub p_pu: f64,
    /// Reactive power likewise.
    pub q_pu: f64,
    /// What it does.
    pub status: Status,
}

/// Whether it is in service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Out(Option<Cause>),
    Entering,
    In,
}

/// A device to IEEE 1547-2018.
///
/// ```
/// use document::Source;
/// use der_model::{Der, Measured, Status, Volts};
/// use quantities::Frequency;
/// let file = Source::new("settings.toml", "[volt_var]\nenabled = true\n");
/// let (settings, _) = der_model::settings::read(file).unwrap();
/// let mut device = Der::new(settings);
/// let given = device.step(0.05, &Measured {
///     v: Volts::Balanced(0.95),
///     f: Frequency::from_hertz(60.0),
///     available_pu: 0.5,
///     demand_pu: 0.0,
///     absorbable_pu: 0.0,
///     permit: true,
///     angle_deg: None,
///     island: false,
/// });
/// assert!((given.q_pu - 0.22).abs() < 1e-9);
/// assert_eq!(given.status, Status::On);
/// ```
#[derive(Clone, Debug)]
pub struct Der {
    settings: Settings,
    /// What the device makes of them.
    obeyed: Settings,
    service: Service,
    entering: Entering,
    /// The ramp of entering service has ended; the status follows with the next step.
    entered: bool,
    protection: Protection,
    cessation: Cessation,
    active: ActivePower,
    reactive: ReactivePower,
    /// Active and reactive current of the inverter.
    current: (Lag, Lag),
    before_pu: Option<f64>,
}

impl Der {
    /// A device that begins as its settings say.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut entering = Entering::default();
        let service = if settings.start_on {
            Service::In
        } else {
            entering.leave();
            Service::Out(None)
        };
        Self {
            settings: settings.clone(),
            obeyed: obeyed(settings),
            service,
            entering,
            entered: false,
            protection: Protection::default(),
            cessation: Cessation::default(),
            active: ActivePower::default(),
            reactive: ReactivePower::default(),
            current: (Lag::default(), Lag::default()),
            before_pu: None,
        }
    }

    /// Its settings, as somebody would read them.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Time in seconds until it may enter service if all stays as it is; nothing while it is in
    /// service.
    #[must_use]
    pub fn enters_in_s(&self) -> Option<f64> {
        let out = matches!(self.service, Service::Out(_));
        out.then(|| self.entering.left_s(&self.obeyed.enter))
    }

    /// Why it has tripped, while it is out of service for that.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self.service {
            Service::Out(cause) => cause,
            _ => None,
        }
    }

    /// Takes other settings from the next step on; what the functions remember stays, so that each
    /// goes from where it is to where it shall be with its own response.
    pub fn adopt(&mut self, settings: Settings) {
        self.settings = settings.clone();
        self.obeyed = obeyed(settings);
    }

    /// Changes some of its settings in the same way.
    pub fn change(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.settings.clone();
        change(&mut settings);
        self.adopt(settings);
    }

    /// One step of a length in seconds; zero for the first, before which nothing is known.
    pub fn step(&mut self, dt_s: f64, measured: &Measured) -> Output {
        match self.obeyed.defect {
            None => self.sound_step(dt_s, measured),
            Some(defect) => defect.given(self.sound_step(dt_s, &defect.seen(measured))),
        }
    }

    /// One step in which it forms an island on purpose and gives these powers: its functions stand
    /// back and go on from there when it follows again, without a ramp of entering service.
    ///
    /// Voltage and frequency trips look on, and so does what it may trip at; what means loss of
    /// mains (rate of change, jumps, an island) does not, and it does not cease, for then nobody
    /// would hold the voltage. Chosen: the sources that were read say nothing of it.
    pub fn form(&mut self, dt_s: f64, measured: &Measured, (p_pu, q_pu): (f64, f64)) -> Output {
        let v_pu = measured.v.average();
        let seen = Seen {
            v: measured.v,
            f_hz: measured.f.as_hertz(),
            angle_deg: None,
            island: false,
            holds: true,
        };
        let (trip, ride) = (&self.obeyed.trip, &self.obeyed.ride);
        let cause = self.protection.step(trip, ride, &seen, dt_s);
        self.cessation = Cessation::default();
        if cause.is_some() {
            self.service = Service::Out(cause);
            self.leave(v_pu);
            self.before_pu = Some(0.0);
            return Output {
                p_pu: 0.0,
                q_pu: 0.0,
                status: Status::Tripped,
            };
        }
        self.service = Service::In;
        self.entering.complete();
        self.active.leave();
        self.reactive.stand_back(v_pu, q_pu);
        let over = v_pu.max(LEAST_V_PU);
        self.current.0.reset(p_pu / over);
        self.current.1.reset(q_pu / over);
        self.before_pu = Some(p_pu);
        Output {
            p_pu,
            q_pu,
            status: Status::On,
        }
    }

    fn sound_step(&mut self, dt_s: f64, measured: &Measured) -> Output {
        self.decide(dt_s, measured);
        let (cease, f_hz) = (&self.obeyed.ride.cease, measured.f.as_hertz());
        let ceased = self.cessation.step(cease, measured.v, f_hz, dt_s);
        let (p_pu, q_pu) = match self.service {
            Service::Out(_) => {
                self.leave(measured.v.average());
                (0.0, 0.0)
            }
            _ => self.give(dt_s, measured, ceased),
        };
        self.before_pu = Some(p_pu);
        Output {
            p_pu,
            q_pu,
            status: match self.service {
                Service::Out(Some(_)) => Status::Tripped,
                Service::Out(None) => Status::Off,
                _ if ceased => Status::Ceased,
                Service::Entering => Status::Entering,
                Service::In => Status::On,
            },
        }
    }

    /// In service or not.
    fn decide(&mut self, dt_s: f64, measured: &Measured) {
        let settings = &self.obeyed;
        let f_hz = measured.f.as_hertz();
        let may = self.entering.may_enter(
            &settings.enter,
            measured.v,
            f_hz,
            measured.permit,
            settings.defect != Some(Defect::TimerNotRestarted),
            dt_s,
        );
        let seen = Seen {
            v: measured.v,
            f_hz,
            angle_deg: measured.angle_deg,
            island: measured.island,
            holds: false,
        };
        let cause = self
            .protection
            .step(&settings.trip, &settings.ride, &seen, dt_s);
        if self.entered && self.service == Service::Entering {
            self.service = Service::In;
        }
        if may && matches!(self.service, Service::Out(_)) {
            // A step longer than the whole ramp ends it.
            self.service = if dt_s <= settings.enter.ramp_s {
                Service::Entering
            } else {
                Service::In
            };
        }
        if cause.is_some() {
            self.service = Service::Out(cause);
        } else if !measured.permit && !matches!(self.service, Service::Out(_)) {
            self.service = Service::Out(None);
        }
    }

    fn leave(&mut self, v_pu: f64) {
        self.entering.leave();
        self.active.leave();
        self.reactive.leave(self.obeyed.reactive.as_ref(), v_pu);
        self.rest();
    }

    fn rest(&mut self) {
        self.current.0.reset(0.0);
        self.current.1.reset(0.0);
    }

    fn give(&mut self, dt_s: f64, measured: &Measured, ceased: bool) -> (f64, f64) {
        let settings = &self.obeyed;
        let share = self.entering.share(&settings.enter, dt_s);
        let v_pu = measured.v.average();
        let asked = Asked {
            v_pu,
            f: measured.f,
            available_pu: measured.available_pu,
            demand_pu: measured.demand_pu,
            absorbable_pu: measured.absorbable_pu,
            share,
            entering: self.service == Service::Entering,
            before_pu: self.before_pu,
        };
        let p = self.active.step(settings, &asked, dt_s);
        let reactive = settings.reactive.as_ref();
        let change_s = settings.told.mode_change_s;
        let q = self.reactive.step(reactive, change_s, v_pu, p, dt_s);
        let storage = settings.kind == Kind::Storage;
        let capability = settings.capability;
        let q = if settings.defect == Some(Defect::ActivePowerPriority) {
            let room = (1.0 - p * p).max(0.0).sqrt();
            q.clamp(-room, room)
        } else {
            q
        };
        let (p, q) = capability.share(reactive.map(|r| &r.law), p, q, storage);
        self.entered = share > 1.0;
        if ceased {
            self.rest();
            return (0.0, 0.0);
        }
        self.feed(
            v_pu,
            (p, q),
            (capability.current_pu, capability.inverter_s),
            dt_s,
        )
    }

    /// The powers through the current of the inverter, of which reactive current has the first share.
    fn feed(
        &mut self,
        v_pu: f64,
        (p, q): (f64, f64),
        (most, response_s): (f64, f64),
        dt_s: f64,
    ) -> (f64, f64) {
        let over = v_pu.max(LEAST_V_PU);
        let reactive = (q / over).clamp(-most, most);
        let room = (most * most - reactive * reactive).max(0.0).sqrt();
        let active = (p / over).clamp(-room, room);
        let active = self.current.0.step(active, response_s, dt_s);
        let reactive = self.current.1.step(reactive, response_s, dt_s);
        (active * v_pu, reactive * v_pu)
    }
}

/// What a device makes of its settings: nothing else, unless it has a defect.
fn obeyed(mut settings: Settings) -> Settings {
    if let Some(defect) = settings.defect {
        defect.spoil(&mut settings);
    }
    settings
}

/// Voltage that currents are computed with at least, per unit. As OpenDER 2.2.0 has it: only to
/// divide by, since without voltage no power flows.
const LEAST_V_PU: f64 = 1e-4;

#[cfg(test)]
mod tests;
