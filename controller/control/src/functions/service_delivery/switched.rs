//! The switched loads of services: which are switched, and since when each stands as it does.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{DeviceIx, Instant};
use quantities::{ActivePower, Quantity};

use super::Situation;
use super::following::Following;
use super::place::Place;
use crate::blocks::{self, Block};
use crate::reservation::{Deliverer, ServiceSpec, Side};

/// Time in which a switch has to be seen where it was put. Chosen: 4 s, one more than after which it is asked again.
const SEEN_WITHIN: Duration = Duration::from_secs(4);
/// Time after a switching in which a load's power is not yet what it will be.
/// Chosen: 2 s, the longest between two messages of a bundled plug while it is polled.
const SETTLES_WITHIN: Duration = Duration::from_secs(2);

/// What the switched loads of a service come to.
pub(super) struct Shares {
    /// What each is asked for.
    pub(super) asked: Vec<(DeviceIx, ActivePower)>,
    /// What all of them are seen to give.
    pub(super) given: ActivePower,
    /// Power, as a magnitude, below which nothing more can be given in whole blocks.
    pub(super) grain: ActivePower,
}

/// The memory of all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Switched {
    loads: BTreeMap<DeviceIx, Load>,
}

/// One of them.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    /// Whether it is switched away from where it stands without the services.
    engaged: bool,
    /// Whether it is put on, and since when; nothing before it was looked at.
    put: Option<(bool, Option<Instant>)>,
}

impl Switched {
    /// Whether a load is switched for a service.
    pub(super) fn is_engaged(&self, device: DeviceIx) -> bool {
        self.loads.get(&device).is_some_and(|load| load.engaged)
    }

    /// Whether a load is put on, seen on, and long enough for its power to say what it takes.
    pub(super) fn is_seen_on(&self, s: &Situation<'_>, device: DeviceIx) -> bool {
        let put = self.loads.get(&device).and_then(|load| load.put);
        let Some((true, since)) = put else {
            return false;
        };
        let has_settled = since.is_none_or(|at| s.now.since(at) >= SETTLES_WITHIN);
        has_settled && seen(s, device) == Some(true)
    }

    /// Whether a load that stands so without the services is seen elsewhere than it was put, for too long.
    pub(super) fn is_elsewhere(
        &self,
        s: &Situation<'_>,
        device: DeviceIx,
        stands_on: bool,
    ) -> bool {
        let load = self.loads.get(&device).copied().unwrap_or_default();
        let put = stands_on != load.engaged;
        let since = load.put.and_then(|(_, since)| since);
        let in_time = since.is_some_and(|at| s.now.since(at) < SEEN_WITHIN);
        load.put.is_some() && !in_time && seen(s, device) == Some(!put)
    }

    /// Whether a load has to stay as it is for what its service states.
    fn has_to_stay(&self, s: &Situation<'_>, spec: &ServiceSpec, device: DeviceIx) -> bool {
        let put = self.loads.get(&device).and_then(|load| load.put);
        let Some((on, Some(since))) = put else {
            return false;
        };
        let dwell = if on { spec.dwell.on } else { spec.dwell.off };
        s.now.since(since) < dwell
    }

    /// Notes where each load is put now, and which of them have to stay there.
    pub(super) fn note(&mut self, s: &Situation<'_>, places: &mut [Place]) {
        let is_block = |place: &&mut Place| place.kind == Deliverer::Block;
        let there: Vec<DeviceIx> = places
            .iter_mut()
            .filter(is_block)
            .map(|place| place.device)
            .collect();
        self.loads.retain(|device, _| there.contains(device));
        for place in places.iter_mut().filter(is_block) {
            let load = self.loads.entry(place.device).or_default();
            let on = place.stands_on != load.engaged;
            load.put = match load.put {
                Some((put, since)) if put == on => Some((put, since)),
                Some(_) => Some((on, Some(s.now))),
                // Where it is seen already it was not put just now.
                None => Some((on, (seen(s, place.device) != Some(on)).then_some(s.now))),
            };
            let (engaged, device) = (load.engaged, place.device);
            let mut services = s.bench.settings.services.iter();
            let spec = services.find(|spec| spec.devices.contains(&device));
            place.locked = !engaged && spec.is_some_and(|spec| self.has_to_stay(s, spec, device));
        }
    }

    /// Switches the loads of a service, so that they give what others, who can give up to `others`, leave of
    /// what is asked.
    pub(super) fn share(
        &mut self,
        s: &Situation<'_>,
        spec: &ServiceSpec,
        (asked, others): (ActivePower, ActivePower),
        places: &[Place],
        devices: &BTreeMap<DeviceIx, Following>,
    ) -> Shares {
        // Such a service was sold to one side.
        let side = if spec.up > ActivePower::ZERO {
            Side::Up
        } else {
            Side::Down
        };
        let sign = match side {
            Side::Up => 1.0,
            Side::Down => -1.0,
        };
        let mut blocks: Vec<Block> = places
            .iter()
            .filter(|place| place.kind == Deliverer::Block && spec.devices.contains(&place.device))
            .map(|place| {
                let follows = devices.get(&place.device).map_or(1.0, Following::gives);
                let engaged = self.is_engaged(place.device);
                // One that does not come to be where it stands has nothing to give.
                let gone = place.has_failed() && !engaged;
                Block {
                    device: place.device,
                    size: place.size(side),
                    gives: place.size(side) * follows,
                    engaged,
                    locked: gone || self.has_to_stay(s, spec, place.device),
                }
            })
            .collect();
        let wanted = asked * sign;
        let given = blocks::engage(wanted, others * sign, &mut blocks);
        let left = blocks.iter().filter(|b| !b.engaged && !b.locked);
        let grain = left.map(|block| block.size).reduce(Quantity::min);
        let asked = blocks
            .iter()
            .map(|block| {
                let load = self.loads.entry(block.device).or_default();
                load.engaged = block.engaged;
                let share = match block.engaged {
                    true => block.size,
                    false => ActivePower::ZERO,
                };
                (block.device, share * sign)
            })
            .collect();
        Shares {
            asked,
            given: given * sign,
            grain: grain.unwrap_or(ActivePower::ZERO),
        }
    }

    /// Nothing is delivered any more: all of them go back. Since when each stands as it does is still true.
    pub(super) fn go_back(&mut self) {
        for load in self.loads.values_mut() {
            load.engaged = false;
        }
    }
}

fn seen(s: &Situation<'_>, device: DeviceIx) -> Option<bool> {
    let age_max = s.spec(device).sample_age_max;
    s.image.devices[device.index()]
        .switch_on
        .fresh(s.now, age_max)
}
