//! Devices that are wrong on purpose, to find out whether a test finds them out.
//!
//! Each defect stands in one place: most spoil a setting, some what is measured or given, and the
//! few that change how a function works are asked for where it does. A settings file cannot name
//! one; a rig that emulates the device can.

use crate::model::{Measured, Output};
use crate::region::Region;
use crate::settings::{Settings, Threshold, Trips};
use crate::voltage::Volts;

/// What a device does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Reactive power has the other sign.
    SignFlippedReactive,
    /// Active power goes before reactive power at the rating.
    ActivePowerPriority,
    /// Droop counts from the power now instead of that before the event.
    NoLatch,
    /// Droop begins at nominal frequency.
    IgnoresDeadband,
    /// Droop is half as steep as it is set.
    HalfDroop,
    /// The limit of active power holds the droop down.
    DroopBelowLimit,
    /// Droop goes over the ceiling of volt-watt.
    DroopOverVoltWatt,
    /// Droop acts at over-frequency only.
    NoUnderFrequency,
    /// Every function takes twice its response time.
    LateResponse,
    /// The reference voltage does not follow by itself.
    VrefFrozen,
    /// The limit of active power is not obeyed.
    LimitIgnored,
    /// Enters service with everything at once.
    NoRampOnEntry,
    /// Waits for a tenth of the delay only.
    EntersEarly,
    /// An excursion does not start the delay anew.
    TimerNotRestarted,
    /// Enters service at any frequency.
    EntersAtAnyFrequency,
    /// Does not look at the permit.
    PermitIgnored,
    /// Protection looks at the average of the phases.
    AveragePhaseTrip,
    /// Protection never trips.
    TripNever,
    /// Protection takes half as long again as it is set.
    TripsLate,
    /// Voltage and frequency that must be ridden through trip at once.
    NoRideThrough,
    /// Gives power at voltages at which it should give none.
    NoMomentaryCessation,
    /// Gives up its power half a second late where it ceases momentarily.
    CeasesLate,
    /// Comes back from momentary cessation two seconds late.
    ReturnsLate,
    /// Trips in half of the time for which it must stay.
    TripsBeforeItMay,
    /// A change of frequency that every category must bear trips.
    TripsOnRocof,
    /// A jump of the angle that must be borne trips.
    TripsOnPhaseJump,
    /// Stays in an island.
    IslandIgnored,
}

/// Change of frequency in hertz per second that trips where it should not.
/// Chosen: below the 0.5 Hz/s of category I.
const ROCOF_HZ_PER_S: f64 = 0.3;

/// Jump in degrees that trips where it should not. Chosen: half of what must be borne.
const PHASE_JUMP_DEG: f64 = 10.0;

/// Time in seconds by which momentary cessation is late.
/// Chosen: six times the 83 ms that the standard allows.
const LATE_CESSATION_S: f64 = 0.5;

/// Time in seconds by which the return from momentary cessation is late.
/// Chosen: five times what the standard allows.
const LATE_RETURN_S: f64 = 2.0;

/// Clearing time in seconds of a device that rides nothing through: the shortest that may be set.
const AT_ONCE_S: f64 = 0.16;

impl Defect {
    /// All of them, with the names by which a rig asks for them.
    pub const ALL: [(&'static str, Self); 27] = [
        ("sign_flipped_reactive", Self::SignFlippedReactive),
        ("active_power_priority", Self::ActivePowerPriority),
        ("no_latch", Self::NoLatch),
        ("ignores_deadband", Self::IgnoresDeadband),
        ("half_droop", Self::HalfDroop),
        ("droop_below_limit", Self::DroopBelowLimit),
        ("droop_over_volt_watt", Self::DroopOverVoltWatt),
        ("no_under_frequency", Self::NoUnderFrequency),
        ("late_response", Self::LateResponse),
        ("vref_frozen", Self::VrefFrozen),
        ("limit_ignored", Self::LimitIgnored),
        ("no_ramp_on_entry", Self::NoRampOnEntry),
        ("enters_early", Self::EntersEarly),
        ("timer_not_restarted", Self::TimerNotRestarted),
        ("enters_at_any_frequency", Self::EntersAtAnyFrequency),
        ("permit_ignored", Self::PermitIgnored),
        ("average_phase_trip", Self::AveragePhaseTrip),
        ("trip_never", Self::TripNever),
        ("trips_late", Self::TripsLate),
        ("no_ride_through", Self::NoRideThrough),
        ("no_momentary_cessation", Self::NoMomentaryCessation),
        ("ceases_late", Self::CeasesLate),
        ("returns_late", Self::ReturnsLate),
        ("trips_before_it_may", Self::TripsBeforeItMay),
        ("trips_on_rocof", Self::TripsOnRocof),
        ("trips_on_phase_jump", Self::TripsOnPhaseJump),
        ("island_ignored", Self::IslandIgnored),
    ];

    /// What the device makes of its settings.
    pub(crate) fn spoil(self, settings: &mut Settings) {
        match self {
            Self::IgnoresDeadband => {
                if let Some(droop) = &mut settings.droop {
                    droop.law.deadband_over = droop.law.nominal * 0.0;
                    droop.law.deadband_under = droop.law.nominal * 0.0;
                }
            }
            Self::HalfDroop => {
                if let Some(droop) = &mut settings.droop {
                    droop.law.droop_over *= 2.0;
                    droop.law.droop_under *= 2.0;
                }
            }
            Self::NoUnderFrequency => {
                if let Some(droop) = &mut settings.droop {
                    droop.law.deadband_under = droop.law.nominal;
                }
            }
            Self::LateResponse => {
                let times = [
                    settings.reactive.as_mut().map(|f| &mut f.olrt_s),
                    settings.volt_watt.as_mut().map(|f| &mut f.olrt_s),
                    settings.droop.as_mut().map(|f| &mut f.olrt_s),
                    settings.p_limit.as_mut().map(|f| &mut f.response_s),
                ];
                for time_s in times.into_iter().flatten() {
                    *time_s *= 2.0;
                }
            }
            Self::VrefFrozen => {
                if let Some(reactive) = &mut settings.reactive {
                    reactive.vref.tau_s = None;
                }
            }
            Self::LimitIgnored => settings.p_limit = None,
            Self::NoRampOnEntry => settings.enter.ramp_s = 0.0,
            Self::EntersEarly => settings.enter.delay_s *= 0.1,
            Self::EntersAtAnyFrequency => {
                settings.enter.f_lo_hz = 0.0;
                settings.enter.f_hi_hz = f64::INFINITY;
            }
            Self::TripNever => {
                clearing(settings, |_| f64::INFINITY);
                settings.ride.trips = Trips::WhenItMust;
            }
            Self::TripsLate => {
                clearing(settings, |time_s| 1.5 * time_s);
                settings.ride.trips = Trips::WhenItMust;
            }
            Self::NoRideThrough => clearing(settings, |_| AT_ONCE_S),
            Self::NoMomentaryCessation => {
                settings.ride.cease.energise = None;
                settings.ride.cease.momentary = Region::default();
            }
            Self::CeasesLate => {
                let cease = &mut settings.ride.cease;
                cease.momentary = cease.momentary.timed(|after_s| after_s + LATE_CESSATION_S);
            }
            Self::ReturnsLate => settings.ride.cease.return_s += LATE_RETURN_S,
            Self::TripsBeforeItMay => {
                settings.ride.trips = Trips::WhenItMay;
                settings.ride.may_trip = settings.ride.may_trip.timed(|time_s| 0.5 * time_s);
            }
            Self::TripsOnRocof => {
                let window_s = settings.ride.rocof.map_or(ROCOF_WINDOW_S, |(_, s)| s);
                settings.ride.rocof = Some((ROCOF_HZ_PER_S, window_s));
            }
            Self::TripsOnPhaseJump => settings.ride.phase_jump_deg = Some(PHASE_JUMP_DEG),
            Self::SignFlippedReactive
            | Self::ActivePowerPriority
            | Self::NoLatch
            | Self::DroopBelowLimit
            | Self::DroopOverVoltWatt
            | Self::TimerNotRestarted
            | Self::PermitIgnored
            | Self::AveragePhaseTrip
            | Self::IslandIgnored => {}
        }
    }

    /// What the device takes for what it measures and is told.
    pub(crate) fn seen(self, measured: &Measured) -> Measured {
        let mut seen = *measured;
        match self {
            Self::AveragePhaseTrip => seen.v = Volts::Balanced(measured.v.average()),
            Self::PermitIgnored => seen.permit = true,
            Self::IslandIgnored => seen.island = false,
            _ => {}
        }
        seen
    }

    /// What comes out of the device.
    pub(crate) fn given(self, output: Output) -> Output {
        match self {
            Self::SignFlippedReactive => Output {
                q_pu: -output.q_pu,
                ..output
            },
            _ => output,
        }
    }
}

/// Window in seconds over which a rate of change is taken where none is set: the shortest.
const ROCOF_WINDOW_S: f64 = 0.1;

/// Changes all clearing times.
fn clearing(settings: &mut Settings, changed: impl Fn(f64) -> f64) {
    let trip = &mut settings.trip;
    let all: [&mut [Threshold; 2]; 4] = [&mut trip.ov, &mut trip.uv, &mut trip.of, &mut trip.uf];
    for threshold in all.into_iter().flatten() {
        threshold.clearing_s = changed(threshold.clearing_s);
    }
}

#[cfg(test)]
mod tests;
