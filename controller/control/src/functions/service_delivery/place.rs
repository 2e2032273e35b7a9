//! A device in service: what it can do, its baseline, and what services have asked of it so far.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{DeviceIx, DeviceSpec, Link, Role};
use quantities::{ActivePower, Bounds, Energy, Quantity, StateOfCharge};

use super::Situation;
use super::following::Following;
use crate::reservation::{Reserved, ServiceSpec, Side};

/// A device in service that answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) device: DeviceIx,
    /// What it can do now.
    able: Bounds<ActivePower>,
    /// What it would do without the services, inside what their reserves leave.
    pub(super) baseline: ActivePower,
    /// What services ask of it on top.
    pub(super) given: ActivePower,
    /// Whether it is seen not to follow.
    failed: bool,
    soc: Option<StateOfCharge>,
}

impl Place {
    /// All devices in service that answer, in the order of the rig.
    pub(super) fn all(s: &Situation<'_>, baselines: &BTreeMap<DeviceIx, ActivePower>) -> Vec<Self> {
        let settings = &s.bench.settings;
        s.serving
            .iter()
            .map(|(device, able)| {
                let spec = s.spec(*device);
                let committed = s.schedule.and_then(|schedule| {
                    let mut devices = schedule.devices.iter();
                    devices.find(|(d, _)| d == device).map(|(_, p)| *p)
                });
                let declared = committed
                    .or_else(|| baselines.get(device).copied())
                    .unwrap_or(ActivePower::ZERO);
                let reserved = Reserved::of(*device, &settings.services, &s.bench.devices);
                let soc = charge_of(s, *device);
                let left = reserved.leaves(*able);
                // Where the reserves leave nothing, the nearest to rest.
                let mut baseline =
                    left.map_or(able.clamp(ActivePower::ZERO), |left| left.clamp(declared));
                let edges = reserved.charge(spec);
                let floor = settings.reserve_soc.map(StateOfCharge::as_fraction);
                let lower = edges.map(|e| e.lower().as_fraction());
                let lower = lower.map(|lower| floor.map_or(lower, |floor| lower.max(floor)));
                let upper = edges.map(|e| e.upper().as_fraction());
                // What is not known is taken at its worst.
                let soc_now = soc.map(StateOfCharge::as_fraction);
                let may_discharge = soc_now.zip(lower).is_some_and(|(soc, edge)| soc > edge);
                let may_charge = soc_now.zip(upper).is_some_and(|(soc, edge)| soc < edge);
                // A load has no charge that could run out.
                let is_load = spec.role == Role::Load;
                if !may_discharge && !is_load {
                    baseline = Quantity::min(baseline, ActivePower::ZERO);
                }
                if !may_charge && !is_load {
                    baseline = Quantity::max(baseline, ActivePower::ZERO);
                }
                Self {
                    device: *device,
                    able: *able,
                    baseline: able.clamp(baseline),
                    given: ActivePower::ZERO,
                    failed: false,
                    soc,
                }
            })
            .collect()
    }

    /// The places of a service's devices.
    pub(super) fn of(places: &[Self], spec: &ServiceSpec) -> Vec<DeviceIx> {
        places
            .iter()
            .map(|place| place.device)
            .filter(|device| spec.devices.contains(device))
            .collect()
    }

    /// What is left of some devices on top of what they were given; of all, or of those that follow.
    pub(super) fn rooms(
        places: &[Self],
        of: &[DeviceIx],
        also_failed: bool,
    ) -> Vec<(DeviceIx, Bounds<ActivePower>)> {
        places
            .iter()
            .filter(|place| of.contains(&place.device) && (also_failed || !place.failed))
            .map(|place| {
                let used = place.baseline + place.given;
                let room = Bounds::between(place.able.lower() - used, place.able.upper() - used);
                (place.device, room)
            })
            .collect()
    }

    /// Gives a device more to do.
    pub(super) fn give(places: &mut [Self], device: DeviceIx, share: ActivePower) {
        if let Some(place) = places.iter_mut().find(|place| place.device == device) {
            place.given += share;
        }
    }

    /// Marks the devices that are seen not to follow.
    pub(super) fn judge(places: &mut [Self], devices: &BTreeMap<DeviceIx, Following>) {
        for place in places {
            place.failed = devices
                .get(&place.device)
                .is_some_and(Following::has_failed);
        }
    }
}

fn charge_of(s: &Situation<'_>, device: DeviceIx) -> Option<StateOfCharge> {
    let fresh = |device: DeviceIx| {
        let age_max = s.spec(device).sample_age_max;
        s.image.devices[device.index()].soc.fresh(s.now, age_max)
    };
    let battery = s.spec(device).battery.and_then(fresh);
    battery.or_else(|| fresh(device))
}

/// Additional power that a service could sustain for what is left of its time, if it were asked for all of
/// it now and the others for all of theirs.
pub(super) fn could_give(
    side: Side,
    index: usize,
    services: &[ServiceSpec],
    places: &[Place],
    specs: &[DeviceSpec],
    spent_s: &impl Fn(usize) -> f64,
) -> ActivePower {
    let spec = &services[index];
    let rest_of = |i: usize| {
        let rest = services[i].hold.as_secs_f64() - spent_s(i);
        Duration::try_from_secs_f64(rest).unwrap_or_default()
    };
    let of_device = |place: &Place| {
        let device = &specs[place.device.index()];
        let rating = &device.rating;
        let mut power = match side {
            Side::Up => place.able.upper() - place.baseline,
            Side::Down => place.baseline - place.able.lower(),
        };
        if device.role == Role::Load {
            let others = services.iter().enumerate().filter(|(i, _)| *i != index);
            let others: ActivePower = others
                .map(|(_, other)| other.share(side, place.device, specs))
                .sum();
            return Quantity::max(power - others, ActivePower::ZERO);
        }
        // Without a charge that is known there is nothing to sustain it with.
        let (Some(soc), Some(capacity)) = (place.soc, rating.capacity) else {
            return ActivePower::ZERO;
        };
        let part = match side {
            Side::Up => soc.as_fraction() - rating.soc.lower().as_fraction(),
            Side::Down => rating.soc.upper().as_fraction() - soc.as_fraction(),
        };
        let charge = Energy::from_watt_hours(capacity.as_watt_hours() * part);
        let mut energy = match side {
            Side::Up => rating.efficiency.gives(charge),
            Side::Down => rating.efficiency.fills(charge),
        };
        for (i, other) in services.iter().enumerate().filter(|(i, _)| *i != index) {
            let share = other.share(side, place.device, specs);
            power -= share;
            energy -= share * rest_of(i);
        }
        let hold = rest_of(index);
        let sustained = if hold.is_zero() {
            power
        } else {
            Quantity::min(power, energy / hold)
        };
        Quantity::max(sustained, ActivePower::ZERO)
    };
    let all: ActivePower = places
        .iter()
        .filter(|place| spec.devices.contains(&place.device) && !place.failed)
        .map(of_device)
        .sum();
    Quantity::min(all, spec.sold(side))
}

/// Why a device does not give its share.
pub(super) fn why_lost(
    s: &Situation<'_>,
    device: DeviceIx,
    devices: &BTreeMap<DeviceIx, Following>,
) -> String {
    let name = &s.spec(device).id;
    if devices.get(&device).is_some_and(Following::has_failed) {
        let measured = s.image.devices[device.index()].p.last_good;
        return match measured {
            Some((_, p)) => format!("{name} does not follow, it gives {p:.1}"),
            None => format!("the power of {name} was never measured"),
        };
    }
    let own = &s.image.devices[device.index()];
    if own.link == Link::Offline {
        format!("{name} does not answer")
    } else if own.switch_on.fresh(s.now, s.spec(device).sample_age_max) == Some(false) {
        format!("{name} is off")
    } else {
        format!("{name} is held by somebody")
    }
}

/// The devices of a service that give nothing or not their share, with reasons.
fn lost(
    s: &Situation<'_>,
    spec: &ServiceSpec,
    is_there: impl Fn(DeviceIx) -> bool,
    devices: &BTreeMap<DeviceIx, Following>,
) -> Vec<String> {
    let failed = |device: &DeviceIx| devices.get(device).is_some_and(Following::has_failed);
    spec.devices
        .iter()
        .filter(|device| !is_there(**device) || failed(device))
        .map(|device| why_lost(s, *device, devices))
        .collect()
}

/// Why a service is given in part only.
pub(super) fn why_short(
    s: &Situation<'_>,
    spec: &ServiceSpec,
    shares: &BTreeMap<DeviceIx, ActivePower>,
    devices: &BTreeMap<DeviceIx, Following>,
) -> String {
    let lost = lost(s, spec, |device| shares.contains_key(&device), devices);
    let shares: Vec<String> = shares
        .iter()
        .map(|(device, share)| format!("{} is asked for {share:.1}", s.spec(*device).id))
        .collect();
    lost.into_iter()
        .chain(shares)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Why a service could not give all that was sold.
pub(super) fn why_less(
    s: &Situation<'_>,
    spec: &ServiceSpec,
    places: &[Place],
    devices: &BTreeMap<DeviceIx, Following>,
) -> String {
    let there = |device| places.iter().any(|place| place.device == device);
    let lost = lost(s, spec, there, devices);
    if !lost.is_empty() {
        return lost.join(", ");
    }
    let charges: Vec<String> = places
        .iter()
        .filter(|place| spec.devices.contains(&place.device))
        .map(|place| {
            let spec = s.spec(place.device);
            let name = &spec.id;
            match place.soc {
                _ if spec.role == Role::Load => {
                    format!(
                        "{name} takes {:.1} of {:.1}",
                        -place.baseline,
                        -place.able.lower()
                    )
                }
                Some(soc) => format!("{name} can do {:.1} at a charge of {soc:.1}", place.able),
                None => format!("the charge of {name} is not known"),
            }
        })
        .collect();
    charges.join(", ")
}
