//! Recovery: a storage in service goes back to its charge after an event, within the rule of its service.
//!
//! The rule knows periods, the most energy of one as a share of what the service keeps for an activation, and
//! how long before a period its baseline is declared. What is declared comes on top of the baseline that others
//! have declared, and answers on top of both: an event in the middle of a recovery changes nothing of it. It
//! begins and ends only while no event is under way, as every other baseline does.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{DeviceIx, Event, Instant};
use quantities::{ActivePower, Energy, Quantity, StateOfCharge};
use services::definition::Recovery as Rule;

use super::place::charge_of;
use super::{Situation, Wishes};
use crate::reservation::{Deliverer, Reserved, ServiceSpec, Side};

/// Distance from its charge from which a storage goes back. Chosen: one per cent, since battery
/// management systems tell whole ones.
const WORTH: f64 = 0.01;

/// What was declared for one device.
#[derive(Clone, Debug, Default)]
struct Declared {
    /// Number of the last period that was looked at.
    looked: Option<u64>,
    /// Periods to come or under way, with the power of each.
    stretches: Vec<(Instant, Instant, ActivePower)>,
    /// What counts now.
    in_force: ActivePower,
}

/// The recoveries of all devices.
#[derive(Clone, Debug, Default)]
pub(super) struct Recoveries(BTreeMap<DeviceIx, Declared>);

impl Recoveries {
    /// Declares what has to be declared by now, and takes up what was declared before unless an event is under way.
    pub(super) fn look(&mut self, s: &Situation<'_>, is_quiet: bool, wishes: &mut Wishes) {
        for (device, _) in s.serving {
            let Some((service, rule, target)) = rule_of(s, *device) else {
                continue;
            };
            let declared = self.0.entry(*device).or_default();
            declared.declare(s, (*device, service), rule, target, wishes);
            if is_quiet {
                declared.take_up(s.now);
            }
        }
    }

    /// Power on top of a device's baseline.
    pub(super) fn of(&self, device: DeviceIx) -> ActivePower {
        self.0
            .get(&device)
            .map_or(ActivePower::ZERO, |d| d.in_force)
    }

    /// Nothing that was declared counts any more.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

/// The first service of a storage that says how it goes back, the rule, and the charge to go back to.
fn rule_of<'s>(
    s: &'s Situation<'_>,
    device: DeviceIx,
) -> Option<(&'s ServiceSpec, Rule, StateOfCharge)> {
    if Deliverer::of(s.spec(device)) != Some(Deliverer::Storage) {
        return None;
    }
    let mut services = s.bench.settings.services.iter();
    services.find_map(|service| {
        let rule = service.definition.recovery?;
        let target = service.recover?;
        let delivers = service.devices.contains(&device);
        delivers.then_some((service, rule, target))
    })
}

impl Declared {
    fn declare(
        &mut self,
        s: &Situation<'_>,
        (device, service): (DeviceIx, &ServiceSpec),
        rule: Rule,
        target: StateOfCharge,
        wishes: &mut Wishes,
    ) {
        let seconds = |s: f64| Duration::try_from_secs_f64(s).unwrap_or_default();
        let since = s.now.since(Instant::START) + seconds(rule.notice_s);
        // The last period whose baseline has to be declared by now.
        let period = (since.as_secs_f64() / rule.every_s).floor() as u64;
        // What had to be declared before anybody looked is too late.
        if self
            .looked
            .replace(period)
            .is_none_or(|last| period <= last)
        {
            return;
        }
        let Some(soc) = charge_of(s, device) else {
            return;
        };
        let from = Instant::START + seconds(period as f64 * rule.every_s);
        let until = from + seconds(rule.every_s);
        let Some(p) = self.wanted(
            s,
            (device, service),
            rule,
            target.as_fraction() - soc.as_fraction(),
        ) else {
            return;
        };
        self.stretches.push((from, until, p));
        wishes.events.push(Event::Noticed {
            device: Some(device),
            text: format!(
                "declared for {} from {:.0} s on, for {:.0} s: {p:.1} on top of its baseline, to bring its charge from {:.1} % back to {:.1} %",
                service.name,
                from.as_seconds(),
                rule.every_s,
                soc.as_percent(),
                target.as_percent()
            ),
        });
    }

    /// The power that a period needs, within its rule and what the reserves leave; nothing where it is not worth it.
    fn wanted(
        &self,
        s: &Situation<'_>,
        (device, service): (DeviceIx, &ServiceSpec),
        rule: Rule,
        missing: f64,
    ) -> Option<ActivePower> {
        let rating = &s.spec(device).rating;
        let (capacity, efficiency) = (rating.capacity?, rating.efficiency);
        let hours = |span: Duration| span.as_secs_f64() / 3600.0;
        // What was declared already will have been there by then.
        let coming: f64 = self
            .stretches
            .iter()
            .map(|(from, until, p)| {
                let left = until.since(if s.now > *from { s.now } else { *from });
                let energy = Energy::from_watt_hours(p.abs().as_watts() * hours(left));
                match *p < ActivePower::ZERO {
                    true => efficiency.stored(energy).as_watt_hours(),
                    false => -efficiency.drawn(energy).as_watt_hours(),
                }
            })
            .sum();
        let missing_wh = missing * capacity.as_watt_hours() - coming;
        if missing_wh.abs() < WORTH * capacity.as_watt_hours() {
            return None;
        }
        let at_terminals_wh = match missing_wh > 0.0 {
            true => missing_wh / efficiency.charge,
            false => missing_wh * efficiency.discharge,
        };
        let period_h = rule.every_s / 3600.0;
        let specs = &s.bench.devices;
        let kept = Side::BOTH.map(|side| service.share(side, device, specs) * service.hold);
        let kept_wh = kept
            .iter()
            .map(|energy| energy.as_watt_hours())
            .fold(0.0, f64::max);
        let most_wh = rule.share * kept_wh;
        let wh = at_terminals_wh.clamp(-most_wh, most_wh);
        let p = ActivePower::from_watts(-wh / period_h);
        let reserved = Reserved::of(device, &s.bench.settings.services, specs);
        let p = reserved.leaves(rating.p)?.clamp(p);
        (p != ActivePower::ZERO).then_some(p)
    }

    fn take_up(&mut self, now: Instant) {
        self.stretches.retain(|(_, until, _)| now < *until);
        let under_way = self.stretches.iter().find(|(from, ..)| *from <= now);
        self.in_force = under_way.map_or(ActivePower::ZERO, |(.., p)| *p);
    }
}
