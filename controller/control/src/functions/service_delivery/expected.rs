//! What devices do without the services that are told no power of their own: the sun, and loads with a switch only.
//!
//! It is seen while nothing is asked of them, and stands for the time of an event: that is the baseline which
//! was declared before it. Where an inverter beside them is left free, it says what the sun would give.

use std::collections::{BTreeMap, BTreeSet};

use model::DeviceIx;
use quantities::{ActivePower, Bounds, Quantity};

use super::Situation;
use super::switched::Switched;
use crate::reservation::Deliverer;

/// The powers, positive into the bus.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    seen: BTreeMap<DeviceIx, ActivePower>,
}

impl Expected {
    /// Looks at the devices of which nothing is asked; one that was never looked at is looked at in any case.
    pub(super) fn look(
        &mut self,
        s: &Situation<'_>,
        switched: &Switched,
        quiet: &BTreeSet<DeviceIx>,
    ) {
        for (device, able) in s.serving {
            if self.seen.contains_key(device) && !quiet.contains(device) {
                continue;
            }
            let seen = match Deliverer::of(s.spec(*device)) {
                Some(Deliverer::Sun) if self.reference(s, *device).is_some() => {
                    self.sun_now(s, *device)
                }
                Some(Deliverer::Sun) => measured(s, *device),
                Some(Deliverer::Block) if switched.is_seen_on(s, *device) => measured(s, *device),
                _ => None,
            };
            if let Some(p) = seen {
                self.seen.insert(*device, able.clamp(p));
            }
        }
    }

    /// What a device is expected to do, where that was ever seen.
    pub(super) fn of(&self, device: DeviceIx) -> Option<ActivePower> {
        self.seen.get(&device).copied()
    }

    /// What the sun would give a device now, by an inverter that is left free; nothing where that is not known.
    pub(super) fn sun_now(&self, s: &Situation<'_>, device: DeviceIx) -> Option<ActivePower> {
        let reference = self.reference(s, device)?;
        let rated = |device| s.spec(device).rating.p.upper();
        let share = measured(s, reference)? / rated(reference);
        let share = share.is_finite().then_some(share)?;
        Some(Bounds::between(ActivePower::ZERO, rated(device)).clamp(rated(device) * share))
    }

    fn reference(&self, s: &Situation<'_>, device: DeviceIx) -> Option<DeviceIx> {
        let mut services = s.bench.settings.services.iter();
        services.find_map(|spec| spec.reference.filter(|_| spec.devices.contains(&device)))
    }

    /// What was seen is of another situation.
    pub(super) fn forget(&mut self) {
        self.seen.clear();
    }
}

fn measured(s: &Situation<'_>, device: DeviceIx) -> Option<ActivePower> {
    let age_max = s.spec(device).sample_age_max;
    let p = s.image.devices[device.index()].p.fresh(s.now, age_max);
    p.filter(|p| p.is_finite())
}
