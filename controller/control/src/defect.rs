//! Controllers that are wrong on purpose, to find out whether a scenario finds them out.
//!
//! A defect stands at a seam of the cycle and not inside a function: it spoils what the controller was
//! told once, what it takes for true, or what a function has proposed. The functions know nothing of it.
//! Only [`Controller::with_defect`](crate::Controller::with_defect) makes such a controller, and only the
//! qualification kit of scenarios asks for one, on an emulated bench.

use std::time::Duration;

use model::{Function, Order, Proposal, Schedule, Setpoint, Target};
use quantities::{ActivePower, ApparentPower, Bounds, PowerRamp, Quantity, StateOfCharge};

use crate::{Bench, Dwell, Estimate};

/// What a controller does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Nobody hears what this function proposes.
    Silent(Function),
    /// What this function proposes has the other sign.
    Turned(Function),
    /// The droop is half as steep as it is set.
    HalfDroop,
    /// The dead band is ten times as wide as it is set.
    WideDeadband,
    /// Devices are asked for three times what the rig permits.
    RatingIgnored,
    /// A battery is used between empty and full.
    ChargeLimitsIgnored,
    /// A value counts as fresh for an hour.
    StaleBelieved,
    /// An island goes back as soon as the utility is there.
    ReturnsAtOnce,
    /// The coupling breaker counts as closed, whatever it says.
    IslandUnseen,
    /// The utility counts as healthy whenever it is heard of.
    UtilityAlwaysHealthy,
    /// The battery counts as half full.
    ChargeAlwaysHalf,
    /// Deviations of the frequency have the other sign.
    FrequencyMirrored,
    /// The steps of the safe end come in the opposite order.
    SafeOrderTurned,
    /// Nobody hears what the market has scheduled.
    ScheduleUnheard,
    /// Of what the market says of an interval, only the first is heard.
    EnergyUntracked,
    /// Switched loads in service are switched as soon as that is asked.
    DwellIgnored,
    /// Every fiftieth cycle does not come. What counts the cycles leaves it out, not the controller.
    CyclesLeftOut,
    /// Devices in service are asked for three times their baseline and answer, which uses what was sold.
    ReserveUsed,
    /// The charge is not recovered after an event.
    NeverRecovers,
    /// The charge is recovered at once and with all that the reserves leave.
    RecoversUndeclared,
}

/// By how much the limits of the rig are overstepped.
const OVER_RATING: f64 = 3.0;
/// By how much a recovery is faster than its rule: what the reserves leave is the limit then.
const UNLIMITED: f64 = 1e3;
/// Age up to which everything is believed.
const BELIEVED_FOR: Duration = Duration::from_secs(3600);

impl Defect {
    /// All of them, with the names by which a scenario asks for them.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("never_sheds", Self::Silent(Function::LoadShedding)),
        ("never_separates", Self::Silent(Function::Separating)),
        ("never_hands_over", Self::Silent(Function::HandOver)),
        ("no_frequency_droop", Self::Silent(Function::FrequencyDroop)),
        (
            "frequency_droop_turned",
            Self::Turned(Function::FrequencyDroop),
        ),
        ("no_island_balance", Self::Silent(Function::IslandBalance)),
        (
            "no_secondary_frequency",
            Self::Silent(Function::SecondaryFrequency),
        ),
        ("never_synchronises", Self::Silent(Function::Synchronising)),
        ("operator_ignored", Self::Silent(Function::Operator)),
        ("operator_turned", Self::Turned(Function::Operator)),
        (
            "services_not_delivered",
            Self::Silent(Function::ServiceDelivery),
        ),
        ("services_turned", Self::Turned(Function::ServiceDelivery)),
        ("no_reserve", Self::Silent(Function::Reserve)),
        ("contract_ignored", Self::Silent(Function::ExchangeContract)),
        ("no_voltage_support", Self::Silent(Function::PccVoltage)),
        ("voltage_support_turned", Self::Turned(Function::PccVoltage)),
        (
            "no_reactive_exchange",
            Self::Silent(Function::ReactiveExchange),
        ),
        (
            "reactive_exchange_turned",
            Self::Turned(Function::ReactiveExchange),
        ),
        ("half_droop", Self::HalfDroop),
        ("wide_deadband", Self::WideDeadband),
        ("rating_ignored", Self::RatingIgnored),
        ("charge_limits_ignored", Self::ChargeLimitsIgnored),
        ("stale_believed", Self::StaleBelieved),
        ("returns_at_once", Self::ReturnsAtOnce),
        ("island_unseen", Self::IslandUnseen),
        ("utility_always_healthy", Self::UtilityAlwaysHealthy),
        ("charge_always_half", Self::ChargeAlwaysHalf),
        ("frequency_mirrored", Self::FrequencyMirrored),
        ("safe_order_turned", Self::SafeOrderTurned),
        ("schedule_unheard", Self::ScheduleUnheard),
        (
            "schedule_not_followed",
            Self::Silent(Function::MarketSchedule),
        ),
        ("energy_untracked", Self::EnergyUntracked),
        ("dwell_ignored", Self::DwellIgnored),
        ("cycles_left_out", Self::CyclesLeftOut),
        ("reserve_used", Self::ReserveUsed),
        ("never_recovers", Self::NeverRecovers),
        ("recovers_undeclared", Self::RecoversUndeclared),
    ];

    /// What is wrong, in words.
    #[must_use]
    pub fn words(self) -> String {
        let said = match self {
            Self::Silent(function) => {
                return format!("nobody hears what `{}` proposes", function.name());
            }
            Self::Turned(function) => {
                return format!("what `{}` proposes has the other sign", function.name());
            }
            Self::HalfDroop => "the droop is half as steep as it is set",
            Self::WideDeadband => "the dead band is ten times as wide as it is set",
            Self::RatingIgnored => "devices are asked for three times what the rig permits",
            Self::ChargeLimitsIgnored => "a battery is used between empty and full",
            Self::StaleBelieved => "a value counts as fresh for an hour",
            Self::ReturnsAtOnce => "an island goes back as soon as the utility is there",
            Self::IslandUnseen => "the coupling breaker counts as closed, whatever it says",
            Self::UtilityAlwaysHealthy => "the utility counts as healthy whenever it is heard of",
            Self::ChargeAlwaysHalf => "the battery counts as half full",
            Self::FrequencyMirrored => "deviations of the frequency have the other sign",
            Self::SafeOrderTurned => "the steps of the safe end come in the opposite order",
            Self::ScheduleUnheard => "nobody hears what the market has scheduled",
            Self::EnergyUntracked => {
                "what an interval still lacks of the committed energy is not made up for"
            }
            Self::DwellIgnored => "switched loads in service are switched as soon as that is asked",
            Self::CyclesLeftOut => "every fiftieth cycle does not come",
            Self::ReserveUsed => {
                "devices in service are asked for three times their baseline and answer"
            }
            Self::NeverRecovers => "the charge is not recovered after an event",
            Self::RecoversUndeclared => {
                "the charge is recovered at once and with all that the reserves leave"
            }
        };
        said.to_owned()
    }

    /// The name by which a scenario asks for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(_, defect)| *defect == self)
            .map_or("", |(name, _)| name)
    }

    /// What the controller makes of what it is told once.
    pub(crate) fn spoil_bench(self, bench: &mut Bench) {
        let settings = &mut bench.settings;
        match self {
            Self::HalfDroop => settings.droop *= 2.0,
            Self::WideDeadband => settings.deadband = settings.deadband * 10.0,
            Self::ReturnsAtOnce => settings.reconnect_delay = Duration::ZERO,
            Self::SafeOrderTurned => settings.safe_order.reverse(),
            Self::DwellIgnored => {
                for service in &mut settings.services {
                    service.dwell = Dwell::default();
                }
            }
            Self::NeverRecovers => {
                for service in &mut settings.services {
                    service.recover = None;
                }
            }
            Self::RecoversUndeclared => {
                for rule in settings
                    .services
                    .iter_mut()
                    .filter_map(|s| s.definition.recovery.as_mut())
                {
                    rule.notice_s = 0.0;
                    rule.share *= UNLIMITED;
                }
            }
            Self::RatingIgnored => {
                for spec in &mut bench.devices {
                    let rating = &mut spec.rating;
                    let (lower, upper) = (rating.p.lower(), rating.p.upper());
                    rating.p = Bounds::between(lower * OVER_RATING, upper * OVER_RATING);
                    let s_max = rating.s_max.as_volt_amperes() * OVER_RATING;
                    rating.s_max = ApparentPower::from_volt_amperes(s_max);
                    rating.ramp = PowerRamp::from_base(rating.ramp.base() * OVER_RATING);
                }
            }
            Self::ChargeLimitsIgnored => {
                for spec in &mut bench.devices {
                    spec.rating.soc = Bounds::between(
                        StateOfCharge::from_fraction(0.0),
                        StateOfCharge::from_fraction(1.0),
                    );
                }
            }
            Self::StaleBelieved => {
                for spec in &mut bench.devices {
                    spec.sample_age_max = BELIEVED_FOR;
                }
            }
            _ => {}
        }
    }

    /// Whether the controller, to which the market has said so much, does not hear this order.
    pub(crate) fn is_deaf_to(self, order: &Order, schedules: &[Schedule]) -> bool {
        let Order::Schedule(schedule) = order else {
            return false;
        };
        match self {
            Self::ScheduleUnheard => true,
            Self::EnergyUntracked => schedules.iter().any(|s| s.interval == schedule.interval),
            _ => false,
        }
    }

    /// What the controller takes for true.
    pub(crate) fn spoil_estimate(self, bench: &Bench, seen: &mut Estimate) {
        let nominal = (bench.settings.nominal_f, bench.settings.nominal_v);
        match self {
            Self::IslandUnseen => seen.breaker_closed = seen.breaker_closed.map(|_| true),
            Self::UtilityAlwaysHealthy => {
                seen.grid_f = seen.grid_f.map(|_| nominal.0);
                seen.grid_v = seen.grid_v.map(|_| nominal.1);
            }
            Self::ChargeAlwaysHalf => {
                seen.soc = seen.soc.map(|_| StateOfCharge::from_fraction(0.5));
            }
            Self::FrequencyMirrored => seen.f = seen.f.map(|f| nominal.0 + (nominal.0 - f)),
            _ => {}
        }
    }

    /// What comes of the proposals of a step.
    pub(crate) fn spoil_proposals(self, proposals: &mut Vec<Proposal>) {
        match self {
            Self::Silent(function) => proposals.retain(|proposal| proposal.function != function),
            Self::Turned(function) => {
                for proposal in proposals.iter_mut().filter(|p| p.function == function) {
                    turn(&mut proposal.target);
                }
            }
            Self::ReserveUsed => {
                let of_services = |p: &&mut Proposal| p.function == Function::ServiceDelivery;
                for proposal in proposals.iter_mut().filter(of_services) {
                    if let Target::Device {
                        setpoint: Setpoint::Power { p, .. } | Setpoint::Ceiling { p },
                        ..
                    } = &mut proposal.target
                    {
                        *p = *p * OVER_RATING;
                    }
                }
            }
            _ => {}
        }
    }
}

fn turn(target: &mut Target) {
    match target {
        Target::Group { wish, bounds, .. } => {
            *wish = wish.map(|p: ActivePower| -p);
            *bounds = Bounds::between(-bounds.upper(), -bounds.lower());
        }
        Target::Reactive { wish, .. } => *wish = -*wish,
        Target::Device {
            setpoint: Setpoint::Power { p, q },
            ..
        } => (*p, *q) = (-*p, -*q),
        Target::Device { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_defect_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Defect::ALL.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), Defect::ALL.len());
        for (name, defect) in Defect::ALL {
            assert_eq!(defect.name(), *name);
        }
    }
}
