//! The control functions, one per file. Each looks at the situation and proposes; none decides.

mod black_start;
mod ceiling;
mod exchange_contract;
mod frequency_droop;
mod hand_over;
mod island_balance;
mod load_shedding;
mod loop_guard;
mod market_schedule;
mod operator;
mod pcc_tracking;
mod pcc_voltage;
mod reactive_exchange;
mod reserve;
mod safety;
mod secondary_frequency;
mod separating;
mod service_delivery;
mod smoothed;
mod synchronising;
mod voltage_support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{
    DeviceIx, DeviceSpec, Event, Instant, Mode, ProcessImage, Proposal, Role, Schedule, Setpoint,
};
use quantities::{ActivePower, Bounds, ReactivePower};

use crate::{Bench, Estimate, Rhythm};
pub use black_start::BlackStart;
pub use exchange_contract::ExchangeContract;
pub use frequency_droop::FrequencyDroop;
pub use hand_over::HandOver;
pub use island_balance::IslandBalance;
pub use load_shedding::LoadShedding;
pub use market_schedule::MarketSchedule;
pub use operator::Operator;
pub use pcc_tracking::PccTracking;
pub use pcc_voltage::PccVoltage;
pub use reactive_exchange::ReactiveExchange;
pub use reserve::Reserve;
pub use safety::Safety;
pub use secondary_frequency::SecondaryFrequency;
pub use separating::Separating;
pub use service_delivery::ServiceDelivery;
pub use synchronising::Synchronising;
pub use voltage_support::VoltageSupport;

/// Everything a function may look at.
pub struct Situation<'a> {
    /// Now.
    pub now: Instant,
    /// Which of the two rhythms this step belongs to.
    pub rhythm: Rhythm,
    /// Operating mode.
    pub mode: Mode,
    /// Whether devices may be written to.
    pub armed: bool,
    /// Whether the coupling breaker shall be opened now.
    pub opening: bool,
    /// What is true on the bus.
    pub seen: &'a Estimate,
    /// The image itself.
    pub image: &'a ProcessImage,
    /// Settings and devices.
    pub bench: &'a Bench,
    /// The market's schedule, if one counts now.
    pub schedule: Option<&'a Schedule>,
    /// What each storage inverter can do now that is not seen off, unless the bus is dead, and is not
    /// in service: the group that the others dispose of.
    pub storage: &'a [(DeviceIx, Bounds<ActivePower>)],
    /// What each one could do that answers, on or off.
    pub storage_answering: &'a [(DeviceIx, Bounds<ActivePower>)],
    /// What each device was asked for last, and when, since the bench was armed.
    pub sent: &'a BTreeMap<DeviceIx, (Instant, Setpoint)>,
    /// Devices that a person holds off.
    pub held_off: &'a [DeviceIx],
    /// Total power of the setpoints that the storage not in service was sent last.
    pub storage_sent: ActivePower,
    /// What each device can do now that is in service: storages, loads, and the sun.
    pub serving: &'a [(DeviceIx, Bounds<ActivePower>)],
    /// The devices that are in service: they follow their baseline and deliver on top of it.
    pub in_service: &'a BTreeSet<DeviceIx>,
    /// Power that services lately gave on top of the baseline.
    pub served: ActivePower,
    /// How long it lately took from a frequency to a setpoint that was taken over, where it is known.
    pub loop_delay: Option<Duration>,
}

impl Situation<'_> {
    /// What that storage can do in total now.
    #[must_use]
    pub fn storage_able(&self) -> Bounds<ActivePower> {
        self.storage
            .iter()
            .fold(Bounds::exactly(ActivePower::ZERO), |sum, (_, b)| {
                sum.plus(*b)
            })
    }

    /// What the generating sets that are seen on could give beyond what they give; `None` when the
    /// power of one is not known.
    #[must_use]
    pub fn room_of_sets(&self) -> Option<ActivePower> {
        self.bench
            .of_role(Role::Genset)
            .filter(|(device, spec)| {
                let own = &self.image.devices[device.index()];
                own.switch_on.fresh(self.now, spec.sample_age_max) == Some(true)
            })
            .map(|(device, spec)| {
                let own = &self.image.devices[device.index()];
                Some(spec.rating.p.upper() - own.p.fresh(self.now, spec.sample_age_max)?)
            })
            .sum()
    }

    /// Whether a device is not in service, so that the others dispose of it.
    #[must_use]
    pub fn is_free(&self, device: DeviceIx) -> bool {
        !self.in_service.contains(&device)
    }

    /// Exchange at the coupling as it would be without the services: what they give is not to be
    /// balanced by anybody else.
    #[must_use]
    pub fn exchange(&self) -> Option<ActivePower> {
        Some(self.seen.pcc? + self.served)
    }

    /// Measured power of the storage that is not in service.
    #[must_use]
    pub fn storage_measured(&self) -> Option<ActivePower> {
        if self.in_service.is_empty() {
            return self.seen.storage;
        }
        self.bench
            .of_role(Role::Ess)
            .filter(|(device, _)| self.is_free(*device))
            .map(|(device, spec)| {
                let p = self.image.devices[device.index()].p;
                p.fresh(self.now, spec.sample_age_max)
            })
            .sum()
    }

    /// Rated power of that storage in total, as a magnitude.
    #[must_use]
    pub fn storage_rated(&self) -> ActivePower {
        self.bench
            .of_role(Role::Ess)
            .filter(|(device, _)| self.is_free(*device))
            .map(|(_, spec)| spec.rating.p.upper())
            .sum()
    }

    /// Reactive power that the storage which takes it can give in total, at no active power.
    #[must_use]
    pub fn storage_reactive_rated(&self) -> ReactivePower {
        self.bench
            .of_role(Role::Ess)
            .filter(|(_, spec)| spec.takes_reactive)
            .map(|(_, spec)| ReactivePower::from_vars(spec.rating.s_max.as_volt_amperes()))
            .sum()
    }

    /// A device's description.
    #[must_use]
    pub fn spec(&self, device: DeviceIx) -> &DeviceSpec {
        &self.bench.devices[device.index()]
    }
}

/// Where functions put what they wish and what happened.
#[derive(Debug, Default)]
pub struct Wishes {
    /// Proposals of this step.
    pub proposals: Vec<Proposal>,
    /// Events of this step.
    pub events: Vec<Event>,
}

/// A control function.
pub trait Propose {
    /// Whether it also runs on the fast path.
    const FAST: bool;

    /// Looks and proposes.
    fn propose(&mut self, situation: &Situation<'_>, wishes: &mut Wishes);
}
