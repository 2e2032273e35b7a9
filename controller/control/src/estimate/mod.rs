//! What is true on the bus, as far as the image tells.

mod rocof;

use std::iter::Sum;

use model::{DeviceIx, DeviceSpec, Instant, ProcessImage, Role, Signal};
use quantities::{
    ActivePower, Frequency, FrequencyRate, Quantity, ReactivePower, StateOfCharge, Voltage,
};
use serde::{Deserialize, Serialize};

use crate::Bench;
pub use rocof::RocofWindow;

/// The estimated state of the bus. `None` is unknown, which is never zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Frequency of the bus, from the best device that has a fresh one.
    pub f: Option<Frequency>,
    /// Rate of change of frequency over half a second.
    pub rocof: Option<FrequencyRate>,
    /// Voltage of the bus, line to neutral.
    pub v: Option<Voltage>,
    /// Exchange at the point of common coupling, positive = import.
    pub pcc: Option<ActivePower>,
    /// Reactive power exchanged there.
    pub pcc_q: Option<ReactivePower>,
    /// Total power of the storage, positive = discharging.
    pub storage: Option<ActivePower>,
    /// Total reactive power of the storage.
    pub storage_q: Option<ReactivePower>,
    /// Total power of photovoltaics.
    pub pv: Option<ActivePower>,
    /// Power that the loads take, positive = consumption: what the others give.
    pub load: Option<ActivePower>,
    /// Lowest state of charge of any storage.
    pub soc: Option<StateOfCharge>,
    /// Whether the coupling breaker is closed; `None` when there is none or it is not known.
    pub breaker_closed: Option<bool>,
    /// Frequency on the utility side of the breaker.
    pub grid_f: Option<Frequency>,
    /// Voltage on the utility side of the breaker.
    pub grid_v: Option<Voltage>,
}

/// Which role's frequency and voltage are believed first.
const TRUST: &[Role] = &[Role::Pcc, Role::Meter, Role::Ess, Role::Pv];

/// Estimates the state of the bus.
#[must_use]
pub fn estimate(
    bench: &Bench,
    now: Instant,
    image: &ProcessImage,
    window: &mut RocofWindow,
) -> Estimate {
    let view = View { bench, now, image };
    let f = view.believed_frequency();
    if let Some((at, f)) = f {
        window.observe(at, f);
    }
    let pcc = view.total(Role::Pcc, |d| d.p);
    let storage = view.total(Role::Ess, |d| d.p);
    let pv = view.total(Role::Pv, |d| d.p);
    let sets = view.total(Role::Genset, |d| d.p);
    let breaker = bench.first(Role::Breaker);
    let breaker_closed = breaker.and_then(|(device, spec)| {
        image.devices[device.index()]
            .switch_on
            .fresh(now, spec.sample_age_max)
    });
    // With an open breaker nothing is exchanged, whatever a far meter last said.
    let exchanged = if breaker_closed == Some(false) {
        Some(ActivePower::ZERO)
    } else {
        pcc
    };
    Estimate {
        f: f.map(|(_, f)| f),
        rocof: window.rate(now),
        v: view.first_of(TRUST, |d| d.v).map(|(_, v)| v),
        pcc,
        pcc_q: view.total(Role::Pcc, |d| d.q),
        storage,
        storage_q: view.total(Role::Ess, |d| d.q),
        pv,
        load: match (exchanged, storage, pv, sets) {
            (Some(pcc), Some(storage), Some(pv), Some(sets)) => Some(pcc + storage + pv + sets),
            _ => None,
        },
        soc: view.lowest_soc(),
        breaker_closed,
        grid_f: breaker.and_then(|(device, spec)| {
            image.devices[device.index()]
                .grid_f
                .fresh(now, spec.sample_age_max)
        }),
        grid_v: breaker.and_then(|(device, spec)| {
            image.devices[device.index()]
                .grid_v
                .fresh(now, spec.sample_age_max)
        }),
    }
}

struct View<'a> {
    bench: &'a Bench,
    now: Instant,
    image: &'a ProcessImage,
}

/// How far the most trusted frequency must be from two others for them to be believed.
/// Chosen: 0.1 Hz, ten times the accuracy of a usual meter, and what 2 Hz/s change within 50 ms.
const OUTVOTED_HZ: f64 = 0.1;
/// How close those two must be to each other. Chosen: 0.05 Hz, twice what their accuracies add up to.
const AGREED_HZ: f64 = 0.05;

impl View<'_> {
    /// The frequency of the most trusted device that has a fresh one, unless two others agree with each
    /// other and not with it: a meter that has frozen tells fresh values, and they are wrong.
    fn believed_frequency(&self) -> Option<(Instant, Frequency)> {
        let all: Vec<(Instant, Frequency)> = TRUST
            .iter()
            .flat_map(|role| self.bench.of_role(*role))
            .filter_map(|(device, spec)| self.fresh(device, spec, &|d| d.f))
            .collect();
        let (first, others) = all.split_first()?;
        let apart =
            |a: &(Instant, Frequency), b: &(Instant, Frequency)| (a.1 - b.1).as_hertz().abs();
        let against: Vec<_> = others
            .iter()
            .filter(|o| apart(o, first) > OUTVOTED_HZ)
            .collect();
        let agreed = against.iter().enumerate().find(|(n, one)| {
            let later = against[n + 1..].iter();
            later
                .into_iter()
                .any(|other| apart(one, other) <= AGREED_HZ)
        });
        Some(agreed.map_or(*first, |(_, one)| **one))
    }

    /// The first fresh value of the most trusted role that has one, with its time.
    fn first_of<Q: Quantity>(
        &self,
        roles: &[Role],
        pick: impl Fn(&model::DeviceImage) -> Signal<Q>,
    ) -> Option<(Instant, Q)> {
        roles
            .iter()
            .flat_map(|role| self.bench.of_role(*role))
            .find_map(|(device, spec)| self.fresh(device, spec, &pick))
    }

    fn fresh<Q: Quantity>(
        &self,
        device: DeviceIx,
        spec: &DeviceSpec,
        pick: &impl Fn(&model::DeviceImage) -> Signal<Q>,
    ) -> Option<(Instant, Q)> {
        pick(&self.image.devices[device.index()])
            .last_good
            .filter(|(at, _)| self.now.since(*at) <= spec.sample_age_max)
    }

    /// The sum over all devices of a role; zero when the rig has none, unknown when one is unknown.
    fn total<Q: Quantity + Sum>(
        &self,
        role: Role,
        pick: impl Fn(&model::DeviceImage) -> Signal<Q>,
    ) -> Option<Q> {
        self.bench
            .of_role(role)
            .map(|(device, spec)| self.fresh(device, spec, &pick).map(|(_, p)| p))
            .sum()
    }

    fn lowest_soc(&self) -> Option<StateOfCharge> {
        self.bench
            .devices
            .iter()
            .enumerate()
            .filter(|(_, spec)| matches!(spec.role, Role::Ess | Role::Battery))
            .filter_map(|(index, spec)| {
                self.image.devices[index]
                    .soc
                    .fresh(self.now, spec.sample_age_max)
            })
            .reduce(Quantity::min)
    }
}
