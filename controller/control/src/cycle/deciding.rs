//! From proposals to one wish per device: arbitrated, then split over what each can give.

use model::{
    DeviceIx, Event, Function, Group, Instant, Link, Mode, ProcessImage, Proposal, RestStep, Role,
    Setpoint, Target,
};
use quantities::{ActivePower, Bounds, Quantity, ReactivePower};

use super::{Controller, able_of, in_force, sent_power};
use crate::allocate::allocate;
use crate::arbitrate::{self, DeviceWish};
use crate::functions::Wishes;

/// Excess that is worth an event, as a share of the group's rating. Chosen: 5 %.
const SHORT_SHARE: f64 = 0.05;

impl Controller {
    /// Arbitrates and allocates: one wish per device.
    pub(super) fn decide(
        &mut self,
        now: Instant,
        image: &ProcessImage,
        wishes: &mut Wishes,
    ) -> Vec<DeviceWish> {
        let safe = self.mode.mode() == Mode::Safe;
        wishes
            .proposals
            .retain(|proposal| !self.is_on_anyway(proposal, now, image, safe));
        let mut wanted = arbitrate::devices(&wishes.proposals);
        // Only the safe mode overrides what somebody holds a storage or inverter to.
        if safe {
            wanted.retain(|w| {
                w.function == Function::Safety || matches!(w.setpoint, Setpoint::Switch { .. })
            });
            if self.safety.has_reached(RestStep::Sources) {
                wanted.extend(self.nominal_sources());
            }
        }
        let in_service = self.in_service();
        let reactive = arbitrate::reactive(Group::Storage, &wishes.proposals);
        for wish in &mut wanted {
            if let (Function::ServiceDelivery, Setpoint::Power { q, .. }, Some(reactive)) =
                (wish.function, &mut wish.setpoint, &reactive)
            {
                *q = self.share_of(wish.device, reactive.q, image);
            }
        }
        for (group, role, step) in [
            (Group::Storage, Role::Ess, RestStep::Storages),
            (Group::Pv, Role::Pv, RestStep::Pv),
        ] {
            // In the safe mode each is left as it is until its step has come.
            if safe && !self.safety.has_reached(step) {
                continue;
            }
            let reactive = arbitrate::reactive(group, &wishes.proposals);
            let idle = self.idle(group, reactive.is_some());
            let Some(wish) = arbitrate::group(group, &wishes.proposals, idle) else {
                self.short.remove(&group);
                continue;
            };
            let mut able = able_of(&self.limiter, &self.bench, role, now, image);
            // A storage in service is no part of the group, neither of its wish nor of what is held. The
            // sun is: what a service leaves free, the others may hold.
            able.retain(|(device, _)| role == Role::Pv || !in_service.contains(device));
            self.hold_under_ceilings(role, now, &mut able);
            // A device that is held gives what it is held to; the others give the rest.
            let held: ActivePower = able
                .iter()
                .filter(|(device, _)| wanted.iter().any(|w| w.device == *device))
                .map(|(device, _)| held_power(&wanted, *device))
                .sum();
            able.retain(|(device, _)| wanted.iter().all(|w| w.device != *device));
            let allocation = allocate(wish.p - held, &able);
            self.report_shortfall(group, &wish, allocation.excess, &mut wishes.events);
            for (device, p) in allocation.shares {
                let q = reactive.as_ref().map_or(ReactivePower::ZERO, |wish| {
                    self.share_of(device, wish.q, image)
                });
                let setpoint = match group {
                    Group::Storage => Setpoint::Power { p, q },
                    Group::Pv => Setpoint::Ceiling { p },
                };
                let why = match &reactive {
                    Some(reactive) if q != ReactivePower::ZERO => format!(
                        "{}; {q:.1} by {} ({})",
                        wish.why,
                        reactive.function.name(),
                        reactive.why
                    ),
                    _ => wish.why.clone(),
                };
                wanted.push(DeviceWish {
                    device,
                    setpoint,
                    function: wish.function,
                    why,
                });
            }
        }
        wanted.sort_by_key(|w| w.device);
        wanted
    }

    /// What the network bears of one inverter is no more because another one gives less.
    fn hold_under_ceilings(
        &self,
        role: Role,
        now: Instant,
        able: &mut [(DeviceIx, Bounds<ActivePower>)],
    ) {
        let schedule = in_force(&self.schedules, now);
        let Some(schedule) = schedule.filter(|_| role == Role::Pv && self.mode.mode().is_coupled())
        else {
            return;
        };
        for (device, most) in &schedule.ceilings {
            if let Some((_, able)) = able.iter_mut().find(|(own, _)| own == device) {
                *able = Bounds::between(able.lower(), able.clamp(*most));
            }
        }
    }

    /// Whether somebody only holds a storage, an inverter or a set that takes a setpoint on that is on: there is one setpoint for a
    /// device, and a wish that changes nothing must not stand in the way of its power, least of all
    /// of its rest.
    fn is_on_anyway(
        &self,
        proposal: &Proposal,
        now: Instant,
        image: &ProcessImage,
        safe: bool,
    ) -> bool {
        let Target::Device { device, setpoint } = proposal.target else {
            return false;
        };
        let spec = &self.bench.devices[device.index()];
        let has_power = match spec.role {
            Role::Ess | Role::Pv => true,
            Role::Genset => spec.takes_power,
            _ => false,
        };
        let only_on = setpoint == Setpoint::Switch { on: true };
        if !has_power || !only_on || proposal.function == Function::Safety {
            return false;
        }
        let own = &image.devices[device.index()];
        safe || own.switch_on.fresh(now, spec.sample_age_max) == Some(true)
    }

    /// In the safe mode a source that was set from here goes back to the site's nominal values.
    fn nominal_sources(&self) -> impl Iterator<Item = DeviceWish> {
        self.bench
            .of_role(Role::Source)
            .filter(|(device, _)| self.sent.contains_key(device))
            .filter_map(|(device, spec)| {
                let (f, v) = spec.rating.source?.nominal;
                Some(DeviceWish {
                    device,
                    setpoint: Setpoint::Source {
                        f: Some(f),
                        v: Some(v),
                        phase: None,
                        on: None,
                    },
                    function: Function::Safety,
                    why: "the bench is in the safe mode".into(),
                })
            })
    }

    /// What a storage shall do when nobody asks for active power: come to rest, once it was touched.
    /// An island is never left alone: there the last reference stands until it is measured again,
    /// and it is said again only together with a reactive one.
    fn idle(&self, group: Group, is_asked_for_q: bool) -> Option<arbitrate::GroupWish> {
        if group != Group::Storage {
            return None;
        }
        let islanded = self.mode.mode().is_islanded();
        let sent = |(device, _)| self.sent.get(&device).map(|(_, setpoint)| *setpoint);
        let mut sent = self.bench.of_role(Role::Ess).filter_map(sent);
        let at_rest = Setpoint::Power {
            p: ActivePower::ZERO,
            q: ReactivePower::ZERO,
        };
        let touched = sent.any(|setpoint| setpoint != at_rest);
        (is_asked_for_q || (touched && !islanded)).then(|| arbitrate::GroupWish {
            p: if islanded {
                self.storage_sent()
            } else {
                ActivePower::ZERO
            },
            function: Function::Idle,
            why: "nobody asks for active power".into(),
        })
    }

    /// Total of the active power that the storage was sent last.
    fn storage_sent(&self) -> ActivePower {
        self.bench
            .of_role(Role::Ess)
            .map(|(device, _)| sent_power(&self.sent, device))
            .sum()
    }

    /// A device's share of the storage's reactive power, in proportion to what those are made for that answer.
    fn share_of(
        &self,
        device: DeviceIx,
        total: ReactivePower,
        image: &ProcessImage,
    ) -> ReactivePower {
        let apparent = |spec: &model::DeviceSpec| match spec.takes_reactive {
            true => spec.rating.s_max.as_volt_amperes(),
            false => 0.0,
        };
        let all: f64 = self
            .bench
            .of_role(Role::Ess)
            .filter(|(device, _)| image.devices[device.index()].link != Link::Offline)
            .map(|(_, spec)| apparent(spec))
            .sum();
        if all > 0.0 {
            total * (apparent(&self.bench.devices[device.index()]) / all)
        } else {
            ReactivePower::ZERO
        }
    }

    fn report_shortfall(
        &mut self,
        group: Group,
        wish: &arbitrate::GroupWish,
        excess: ActivePower,
        events: &mut Vec<Event>,
    ) {
        // A ceiling above what the sun can give is no shortfall.
        let rated: ActivePower = self
            .bench
            .of_role(Role::Ess)
            .map(|(_, spec)| spec.rating.p.upper())
            .sum();
        let short = group == Group::Storage && excess.abs() > rated * SHORT_SHARE;
        let before = self.short.insert(group, short).unwrap_or(false);
        if short && !before {
            events.push(Event::FellShort {
                function: wish.function,
                excess_w: excess.as_watts(),
            });
        }
    }
}

fn held_power(wanted: &[DeviceWish], device: DeviceIx) -> ActivePower {
    wanted
        .iter()
        .find(|w| w.device == device)
        .map_or(ActivePower::ZERO, |w| match w.setpoint {
            Setpoint::Power { p, .. } | Setpoint::Ceiling { p } => p,
            Setpoint::Switch { .. } | Setpoint::Source { .. } => ActivePower::ZERO,
        })
}
