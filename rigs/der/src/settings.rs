//! The settings of a DER, and how they are read from a file.
//!
//! Every key that is missing takes the default of its category, every value must lie in its range,
//! and all faults are told at once. Powers are per unit of the nameplate's apparent power, positive
//! = into the bus; voltages per unit of nominal.

mod read;

use quantities::Frequency;
use services::{Curve, FrequencyWatt, Reactive};

use crate::defect::Defect;
use crate::region::Region;

pub use read::{EXPLANATIONS, Emulated, read, read_emulated};

/// Category of performance under normal conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// For places with few such devices.
    A,
    /// For places with many, whose output varies.
    B,
}

/// Category of performance under abnormal conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abnormal {
    /// The least.
    I,
    /// What bulk power systems need.
    II,
    /// Ride-through with momentary cessation.
    III,
}

/// What is behind the inverter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Photovoltaics: everything that is available is given.
    Pv,
    /// A storage: what is demanded is given or taken.
    Storage,
}

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Nominal frequency.
    pub nominal: Frequency,
    /// Normal performance.
    pub category: Category,
    /// Abnormal performance.
    pub abnormal: Abnormal,
    /// What is behind the inverter.
    pub kind: Kind,
    /// Whether it is in service when it begins.
    pub start_on: bool,
    /// Step of the input in seconds, for the report.
    pub step_s: f64,
    /// Reactive power that it can give and take.
    pub capability: Capability,
    /// The reactive function, if one is on.
    pub reactive: Option<ReactiveSettings>,
    /// Ceiling of active power by voltage.
    pub volt_watt: Option<VoltWatt>,
    /// Active power by frequency.
    pub droop: Option<Droop>,
    /// Limit of active power.
    pub p_limit: Option<PLimit>,
    /// When it may enter service, and how.
    pub enter: EnterService,
    /// When it must trip.
    pub trip: Trip,
    /// What it does while voltage and frequency are abnormal.
    pub ride: RideThrough,
    /// How it answers to what it is told while it runs.
    pub told: Told,
    /// What it does wrong on purpose.
    pub defect: Option<Defect>,
}

/// Response times, in seconds, of functions that are off until somebody asks for them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Told {
    /// Limit of active power, from nothing to everything.
    pub limit_s: f64,
    /// Volt-var.
    pub volt_var_s: f64,
    /// Watt-var.
    pub watt_var_s: f64,
    /// Constant power factor.
    pub const_pf_s: f64,
    /// Constant reactive power.
    pub const_q_s: f64,
    /// Volt-watt.
    pub volt_watt_s: f64,
    /// Time over which one reactive function gives way to another.
    pub mode_change_s: f64,
}

/// Reactive power and current that the device can give.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capability {
    /// Largest reactive power into the bus.
    pub inject_pu: f64,
    /// Largest reactive power out of the bus.
    pub absorb_pu: f64,
    /// Active power from which both are there in full.
    pub p_full_pu: f64,
    /// Active power below which there is none.
    pub p_least_pu: f64,
    /// Largest current.
    pub current_pu: f64,
    /// Response time of the current control, in seconds.
    pub inverter_s: f64,
}

/// The reactive function.
#[derive(Clone, Debug, PartialEq)]
pub struct ReactiveSettings {
    /// Where the reactive power comes from.
    pub law: Reactive,
    /// Open-loop response time in seconds.
    pub olrt_s: f64,
    /// Reference voltage of a volt-var curve.
    pub vref: Vref,
}

/// The reference voltage, by which the points of a volt-var curve are shifted from 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vref {
    /// As it is set.
    pub fixed_pu: f64,
    /// Time constant in seconds with which it follows the voltage by itself, if it does.
    pub tau_s: Option<f64>,
    /// Where it may go by itself.
    pub lo_pu: f64,
    /// Where it may go by itself.
    pub hi_pu: f64,
}

impl Vref {
    /// Nominal voltage, for functions that look at no other.
    pub const NOMINAL: Self = Self {
        fixed_pu: 1.0,
        tau_s: None,
        lo_pu: 1.0,
        hi_pu: 1.0,
    };
}

/// Ceiling of active power by voltage.
#[derive(Clone, Debug, PartialEq)]
pub struct VoltWatt {
    /// Active power of voltage.
    pub curve: Curve,
    /// Open-loop response time in seconds.
    pub olrt_s: f64,
}

/// Active power by frequency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Droop {
    /// Dead bands and slopes.
    pub law: FrequencyWatt,
    /// Open-loop response time in seconds.
    pub olrt_s: f64,
    /// The least power that it goes down to.
    pub p_min_pu: f64,
    /// How near is near enough to end the recovery.
    pub settled_pu: f64,
}

/// Limit of active power.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PLimit {
    /// The limit.
    pub p_pu: f64,
    /// Time in seconds from nothing to everything.
    pub response_s: f64,
}

/// Enter service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EnterService {
    /// Lowest voltage.
    pub v_lo_pu: f64,
    /// Highest voltage.
    pub v_hi_pu: f64,
    /// Lowest frequency in hertz.
    pub f_lo_hz: f64,
    /// Highest frequency in hertz.
    pub f_hi_hz: f64,
    /// Time in seconds for which all must hold; without a ramp with the drawn delay in it.
    pub delay_s: f64,
    /// Time in seconds from nothing to everything.
    pub ramp_s: f64,
}

/// A threshold and the time in seconds after which it trips.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// Per unit of nominal voltage, or hertz.
    pub at: f64,
    /// In seconds.
    pub clearing_s: f64,
}

/// When it must trip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trip {
    /// Over-voltage, the nearer and the farther.
    pub ov: [Threshold; 2],
    /// Under-voltage.
    pub uv: [Threshold; 2],
    /// Over-frequency.
    pub of: [Threshold; 2],
    /// Under-frequency.
    pub uf: [Threshold; 2],
}

/// What it does while voltage and frequency are abnormal.
#[derive(Clone, Debug, PartialEq)]
pub struct RideThrough {
    /// Where it ceases: below and above, momentarily or until it trips.
    pub cease: Cease,
    /// Where it may trip although it need not yet. What must trip does so wherever it is.
    pub may_trip: Region,
    /// What it makes of that.
    pub trips: Trips,
    /// Rate of change of frequency that trips it, in hertz per second, and the time over which it is
    /// taken; nothing unless it is set.
    pub rocof: Option<(f64, f64)>,
    /// Jump of the voltage's angle that trips it, in degrees; nothing unless it is set.
    pub phase_jump_deg: Option<f64>,
    /// Time in seconds after which it leaves an island.
    pub island_s: f64,
}

/// When a device trips that may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trips {
    /// It stays until it must.
    WhenItMust,
    /// It leaves as soon as it may.
    WhenItMay,
}

/// How it gives up its output while voltage or frequency are far from nominal.
#[derive(Clone, Debug, PartialEq)]
pub struct Cease {
    /// Categories I and II cease to energise.
    pub energise: Option<Energise>,
    /// Where it ceases momentarily, whatever its category: category III has its own region, every
    /// other one is an agreement.
    pub momentary: Region,
    /// Back after so many seconds.
    pub return_s: f64,
}

/// Ceasing to energise: below and above these, after a time, until it trips or voltage is back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Energise {
    /// Below this.
    pub lo_pu: f64,
    /// Above this.
    pub hi_pu: f64,
    /// After so many seconds.
    pub after_s: f64,
}

#[cfg(test)]
mod tests;
