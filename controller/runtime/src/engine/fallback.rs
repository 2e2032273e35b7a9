//! Pulling the plug: a device hears nothing any more, and its own watchdog or revert timer is to show.
//!
//! The write path of its bus is given up while everything is read as before, so that the time is
//! measured until the device leaves what it was held at. Other devices of that bus hear nothing
//! either, and are measured as well.

use std::time::Duration;

use model::{DeviceIx, Event, Instant, Order, ProcessImage, Setpoint};
use quantities::{ActivePower, Quantity};

use super::Engine;

/// How far measured power must leave what a device was held at, as a share of its rating, and at least.
/// Chosen: 3 % and 60 W, as for every setpoint that is followed.
const LEFT_SHARE: f64 = 0.03;
const LEFT_AT_LEAST: ActivePower = ActivePower::from_watts(60.0);

/// How a device fell back by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Fallback {
    /// Its name.
    pub device: String,
    /// How long after its plug was pulled; `None` = it did not, until the plug was back or the run over.
    pub after: Option<Duration>,
    /// How long its plug was out.
    pub out: Duration,
    /// Within which time it has to, as rig and profile say; `None` = they state none.
    pub stated: Option<Duration>,
}

/// A device whose plug is out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pulled {
    device: DeviceIx,
    at: Instant,
    held: Setpoint,
    after: Option<Duration>,
}

impl Engine {
    /// Pulls plugs and puts them back, as orders say; they are widened to all devices of the bus.
    pub(super) fn pull_plugs(
        &mut self,
        now: Instant,
        orders: &mut Vec<Order>,
        events: &mut Vec<Event>,
    ) {
        let mut wider = Vec::new();
        for order in orders.iter() {
            let Order::Unplug { device, out } = order else {
                continue;
            };
            let Some(own) = self.parts.rig.devices.get(device.index()) else {
                continue;
            };
            let bus = own.bus;
            if *out {
                self.parts.path.pull(bus);
                events.push(Event::Unplugged { device: *device });
            } else {
                self.parts.path.put_back(bus);
            }
            for (index, other) in self.parts.rig.devices.iter().enumerate() {
                if other.bus != bus {
                    continue;
                }
                let of_bus = DeviceIx(index as u16);
                wider.push(Order::Unplug {
                    device: of_bus,
                    out: *out,
                });
                if !*out {
                    self.pulled.retain(|pulled| {
                        let back = pulled.device == of_bus;
                        if back {
                            self.fallbacks.push(fallback(
                                &self.names,
                                &self.parts.rig,
                                pulled,
                                now,
                            ));
                        }
                        !back
                    });
                } else if let Some(held) = self.controller.last_sent(of_bus) {
                    self.pulled.push(Pulled {
                        device: of_bus,
                        at: now,
                        held,
                        after: None,
                    });
                }
            }
        }
        orders.retain(|order| !matches!(order, Order::Unplug { .. }));
        orders.extend(wider);
    }

    /// Looks whether a device whose plug is out has left what it was held at.
    pub(super) fn watch_pulled(&mut self, image: &ProcessImage, events: &mut Vec<Event>) {
        for pulled in self.pulled.iter_mut().filter(|p| p.after.is_none()) {
            let spec = &self.controller.bench().devices[pulled.device.index()];
            let own = &image.devices[pulled.device.index()];
            let widest = Quantity::max(spec.rating.p.upper().abs(), spec.rating.p.lower().abs());
            let far = Quantity::max(widest * LEFT_SHARE, LEFT_AT_LEAST);
            let left_at = match pulled.held {
                Setpoint::Power { p, .. } => {
                    { own.p.last_good.filter(|(_, is)| (*is - p).abs() > far) }.map(|(at, _)| at)
                }
                Setpoint::Ceiling { p } => {
                    { own.p.last_good.filter(|(_, is)| *is > p + far) }.map(|(at, _)| at)
                }
                Setpoint::Switch { on } => {
                    { own.switch_on.last_good.filter(|(_, is)| *is != on) }.map(|(at, _)| at)
                }
                // A grid simulator keeps what it has; whoever stands beside it switches it off.
                Setpoint::Source { .. } => None,
            };
            let Some(left_at) = left_at.filter(|at| *at > pulled.at) else {
                continue;
            };
            let after = left_at.since(pulled.at);
            pulled.after = Some(after);
            let stated = self.parts.rig.devices[pulled.device.index()].falls_back_within();
            events.push(Event::FellBack {
                device: pulled.device,
                after_s: after.as_secs_f64(),
                stated_s: stated.map(|s| s.as_secs_f64()),
            });
        }
    }

    /// All fallbacks that were measured; plugs that are still out count until now.
    pub(super) fn take_fallbacks(&mut self) -> Vec<Fallback> {
        let now = self.parts.clock.now();
        for pulled in std::mem::take(&mut self.pulled) {
            self.fallbacks
                .push(fallback(&self.names, &self.parts.rig, &pulled, now));
        }
        std::mem::take(&mut self.fallbacks)
    }
}

fn fallback(
    names: &[model::DeviceId],
    rig: &crate::rig::Rig,
    pulled: &Pulled,
    now: Instant,
) -> Fallback {
    Fallback {
        device: names[pulled.device.index()].to_string(),
        after: pulled.after,
        out: now.since(pulled.at),
        stated: rig.devices[pulled.device.index()].falls_back_within(),
    }
}
