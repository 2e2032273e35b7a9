//! A device in service: what it can do, its baseline, and what services have asked of it so far.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{DeviceIx, DeviceSpec, Link};
use quantities::{ActivePower, Bounds, Energy, Quantity, StateOfCharge};

use super::Situation;
use super::expected::Expected;
use super::following::Following;
use super::recovery::Recoveries;
use super::switched::Switched;
use crate::blocks;
use crate::reservation::{Deliverer, Reserved, ServiceSpec, Side};

/// A device in service that answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) device: DeviceIx,
    pub(super) kind: Deliverer,
    /// What it can do now.
    able: Bounds<ActivePower>,
    /// What it would do without the services, inside what their reserves leave.
    pub(super) baseline: ActivePower,
    /// What services ask of it on top.
    pub(super) given: ActivePower,
    /// Whether it is seen not to follow.
    failed: bool,
    /// A switched load that has to stay where it stands.
    pub(super) locked: bool,
    /// Whether a switched load stands on while nothing is asked of it.
    pub(super) stands_on: bool,
    soc: Option<StateOfCharge>,
}

impl Place {
    /// All devices in service that answer, in the order of the rig.
    pub(super) fn all(
        s: &Situation<'_>,
        (baselines, recoveries): (&BTreeMap<DeviceIx, ActivePower>, &Recoveries),
        (expected, switched): (&Expected, &Switched),
    ) -> Vec<Self> {
        let settings = &s.bench.settings;
        s.serving
            .iter()
            .filter_map(|(device, able)| {
                let committed = s.schedule.and_then(|schedule| {
                    let mut devices = schedule.devices.iter();
                    devices.find(|(d, _)| d == device).map(|(_, p)| *p)
                });
                let declared = committed.or_else(|| baselines.get(device).copied());
                let reserved = Reserved::of(*device, &settings.services, &s.bench.devices);
                let found = Self {
                    device: *device,
                    kind: Deliverer::of(s.spec(*device))?,
                    able: *able,
                    baseline: ActivePower::ZERO,
                    given: ActivePower::ZERO,
                    failed: false,
                    locked: false,
                    stands_on: false,
                    soc: charge_of(s, *device),
                };
                Some(match found.kind {
                    Deliverer::Storage => {
                        let recovery = recoveries.of(*device);
                        found.storage(s, declared.unwrap_or_default() + recovery, &reserved)
                    }
                    Deliverer::Load => found.load(declared, &reserved),
                    Deliverer::Sun => found.sun(s, declared, &reserved, expected),
                    Deliverer::Block => {
                        let takes = baselines.get(device).copied();
                        let takes = takes.or_else(|| expected.of(*device));
                        found.block(s, takes, &reserved, switched)
                    }
                })
            })
            .collect()
    }

    /// Its baseline leaves power and charge to the reserves.
    fn storage(self, s: &Situation<'_>, declared: ActivePower, reserved: &Reserved) -> Self {
        let mut baseline = self.left(Some(declared), reserved);
        let edges = reserved.charge(s.spec(self.device));
        let floor = s.bench.settings.reserve_soc.map(StateOfCharge::as_fraction);
        let lower = edges.map(|e| e.lower().as_fraction());
        let lower = lower.map(|lower| floor.map_or(lower, |floor| lower.max(floor)));
        let upper = edges.map(|e| e.upper().as_fraction());
        // What is not known is taken at its worst.
        let soc_now = self.soc.map(StateOfCharge::as_fraction);
        if !soc_now.zip(lower).is_some_and(|(soc, edge)| soc > edge) {
            baseline = Quantity::min(baseline, ActivePower::ZERO);
        }
        if !soc_now.zip(upper).is_some_and(|(soc, edge)| soc < edge) {
            baseline = Quantity::max(baseline, ActivePower::ZERO);
        }
        let baseline = self.able.clamp(baseline);
        Self { baseline, ..self }
    }

    /// A load has no charge that could run out.
    fn load(self, declared: Option<ActivePower>, reserved: &Reserved) -> Self {
        let baseline = self.able.clamp(self.left(declared, reserved));
        Self { baseline, ..self }
    }

    /// What was declared, inside what the reserves leave; where they leave nothing, the nearest to rest.
    fn left(&self, declared: Option<ActivePower>, reserved: &Reserved) -> ActivePower {
        let declared = declared.unwrap_or(ActivePower::ZERO);
        let left = reserved.leaves(self.able);
        left.map_or(self.able.clamp(ActivePower::ZERO), |left| {
            left.clamp(declared)
        })
    }

    /// The sun gives what it was expected to before the event, less what is kept to be given upwards. It can
    /// be held down to nothing, and give as much as is known to be there.
    fn sun(
        self,
        s: &Situation<'_>,
        declared: Option<ActivePower>,
        reserved: &Reserved,
        expected: &Expected,
    ) -> Self {
        let rated = Bounds::between(ActivePower::ZERO, self.able.upper());
        let there = expected.of(self.device).unwrap_or(ActivePower::ZERO);
        let kept = rated.clamp(there - reserved.up);
        let baseline = declared.map_or(kept, |declared| {
            Bounds::between(ActivePower::ZERO, kept).clamp(declared)
        });
        let known = expected.sun_now(s, self.device).unwrap_or(baseline);
        Self {
            able: Bounds::between(ActivePower::ZERO, rated.clamp(known)),
            baseline,
            ..self
        }
    }

    /// A switched load stands where it can be switched to the side that was sold: on to be let go, off to be
    /// taken. What it takes is what somebody has stated, or what it was seen to take.
    fn block(
        self,
        s: &Situation<'_>,
        takes: Option<ActivePower>,
        reserved: &Reserved,
        switched: &Switched,
    ) -> Self {
        let rated = self.able.lower();
        let takes = self.able.clamp(takes.unwrap_or(rated));
        let stands_on = reserved.up > ActivePower::ZERO;
        Self {
            able: Bounds::between(ActivePower::ZERO, takes),
            baseline: if stands_on { takes } else { ActivePower::ZERO },
            stands_on,
            failed: switched.is_elsewhere(s, self.device, stands_on),
            ..self
        }
    }

    /// What a switched load gives to a side when it is switched, as a magnitude.
    pub(super) fn size(&self, side: Side) -> ActivePower {
        match side {
            Side::Up => self.able.upper() - self.baseline,
            Side::Down => self.baseline - self.able.lower(),
        }
    }

    /// Whether it is seen not to follow.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// The places of a service's devices that can give any power, not only whole blocks.
    pub(super) fn of(places: &[Self], spec: &ServiceSpec) -> Vec<DeviceIx> {
        places
            .iter()
            .filter(|place| place.kind != Deliverer::Block)
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
            let follows = devices.get(&place.device);
            place.failed |= follows.is_some_and(Following::has_failed);
        }
    }
}

/// The charge of a storage that is known now.
pub(super) fn charge_of(s: &Situation<'_>, device: DeviceIx) -> Option<StateOfCharge> {
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
        let mut power = place.size(side);
        if spec.ready.is_some() {
            power = Quantity::min(power, spec.share(side, place.device, specs));
        }
        if place.kind != Deliverer::Storage {
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
    let theirs = || {
        let theirs = |place: &&Place| spec.devices.contains(&place.device) && !place.failed;
        places.iter().filter(theirs)
    };
    let is_block = |place: &&Place| place.kind == Deliverer::Block;
    let any_power: ActivePower = theirs().filter(|p| !is_block(p)).map(of_device).sum();
    let whole: Vec<ActivePower> = theirs()
        .filter(|place| is_block(place) && !place.locked)
        .map(|place| place.size(side))
        .collect();
    blocks::reach(spec.sold(side), any_power, &whole)
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
            match (place.kind, place.soc) {
                (Deliverer::Block, _) if place.locked => format!("{name} was switched just now"),
                (Deliverer::Load | Deliverer::Block, _) => format!(
                    "{name} takes {:.1} of {:.1}",
                    -place.baseline,
                    -place.able.lower()
                ),
                (Deliverer::Sun, _) => format!(
                    "{name} is at {:.1}, and {:.1} are known to be there",
                    place.baseline,
                    place.able.upper()
                ),
                (_, Some(soc)) => {
                    format!("{name} can do {:.1} at a charge of {soc:.1}", place.able)
                }
                (_, None) => format!("the charge of {name} is not known"),
            }
        })
        .collect();
    charges.join(", ")
}
