//! From wishes to dispatches: through the limiter, and only what says something new.

use std::time::Duration;

use limiter::Clamp;
use model::{Event, Function, Instant, Mode, ProcessImage, Role, Setpoint};
use quantities::{ActivePower, Quantity};

use super::{Bench, Controller, Dispatch, in_force};
use crate::arbitrate::DeviceWish;
use crate::reservation::Reserved;

/// Change of a power setpoint that is not worth a message, as a share of the device's rating, or of what
/// services have reserved of it where one of them asks. Chosen: 0.5 %, the usual accuracy class of an inverter's power.
const NOT_WORTH_SENDING: f64 = 0.005;
/// What a commitment of the market and the end of a ramp are kept to. Chosen: a watt, what most registers resolve.
const A_WATT: ActivePower = ActivePower::from_watts(1.0);
/// Time after which a switch that did not follow is asked again.
/// Chosen: 3 s, the confirmation deadline of the slowest plug.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(3);
/// The same for an engine set: it warms up and comes into step first.
/// Chosen: 60 s, in which a cold set takes load; to be told to run twice does it no harm.
const ASK_A_SET_AGAIN_AFTER: Duration = Duration::from_secs(60);

impl Controller {
    /// Passes the wishes through the limiter; what has not changed is not sent again.
    pub(super) fn release(
        &mut self,
        now: Instant,
        wanted: Vec<DeviceWish>,
        image: &ProcessImage,
        events: &mut Vec<Event>,
    ) -> Vec<Dispatch> {
        let mut dispatches = Vec::new();
        for wish in wanted {
            let spec = &self.bench.devices[wish.device.index()];
            let takes = match wish.setpoint {
                Setpoint::Power { .. } => spec.takes_power,
                Setpoint::Ceiling { .. } => spec.takes_ceiling,
                Setpoint::Switch { .. } => spec.takes_switch,
                Setpoint::Source { .. } => spec.rating.source.is_some(),
            };
            // A device that cannot be asked is left alone, unless a person asked for it.
            if !takes && wish.function != Function::Operator {
                continue;
            }
            if self.unplugged.contains(&wish.device) || !self.worth_sending(now, &wish, image) {
                continue;
            }
            let committed = in_force(&self.schedules, now)
                .and_then(|s| s.devices.iter().find(|(device, _)| *device == wish.device))
                .map(|(_, p)| *p);
            // A stop is not slowed down by a ramp.
            let verdict = if self.mode.mode() == Mode::Safe && wish.function == Function::Safety {
                self.limiter.stop(now, wish.device, wish.setpoint, image)
            } else {
                self.limiter.approve(now, wish.device, wish.setpoint, image)
            };
            match verdict {
                Ok(verdict) => {
                    self.refused.remove(&wish.device);
                    let approved = verdict.approved.get();
                    let slowed = (verdict.clamps.iter()).any(|c| matches!(c, Clamp::Ramp { .. }));
                    let arrives = !slowed && self.on_the_way.contains(&wish.device);
                    let same = !self.said_again.remove(&wish.device)
                        && self.sent.get(&wish.device).is_some_and(|(_, last)| {
                            same_enough(last, &approved, self.not_worth_sending(&wish))
                                && !comes_to(committed, last, &approved)
                                && !(arrives && is_apart(last, &approved))
                        });
                    if same && !matches!(approved, Setpoint::Switch { .. }) {
                        continue;
                    }
                    self.sent.insert(wish.device, (now, approved));
                    if slowed {
                        self.on_the_way.insert(wish.device);
                    } else {
                        self.on_the_way.remove(&wish.device);
                    }
                    dispatches.push(Dispatch {
                        device: wish.device,
                        setpoint: verdict.approved,
                        function: wish.function,
                        why: wish.why,
                        clamped: verdict.clamps.iter().map(ToString::to_string).collect(),
                        valid_until: now + self.bench.settings.setpoint_validity,
                        urgent: matches!(
                            wish.function,
                            Function::Safety
                                | Function::LoadShedding
                                | Function::Separating
                                | Function::FrequencyDroop
                                | Function::ServiceDelivery
                        ),
                    });
                }
                Err(refusal) => {
                    let before = self.refused.insert(wish.device, refusal);
                    // The numbers change from cycle to cycle; the reason is told once.
                    if !before.is_some_and(|before| before.is_like(&refusal)) {
                        events.push(Event::SetpointRefused {
                            device: wish.device,
                            function: wish.function,
                            why: refusal.to_string(),
                        });
                    }
                }
            }
        }
        dispatches
    }

    fn worth_sending(&self, now: Instant, wish: &DeviceWish, image: &ProcessImage) -> bool {
        let spec = &self.bench.devices[wish.device.index()];
        let Some((at, last)) = self.sent.get(&wish.device) else {
            return !is_so_already(now, wish, spec, image);
        };
        if self.said_again.contains(&wish.device) {
            return true;
        }
        match wish.setpoint {
            // What a device may give changes while what is wished stays: the limiter looks each time.
            Setpoint::Power { .. } | Setpoint::Ceiling { .. } => true,
            // A switch is asked again when it is seen not to have followed.
            Setpoint::Switch { on } => {
                let seen = image.devices[wish.device.index()]
                    .switch_on
                    .fresh(now, spec.sample_age_max);
                let again_after = match spec.role {
                    Role::Genset if on => ASK_A_SET_AGAIN_AFTER,
                    _ => ASK_AGAIN_AFTER,
                };
                *last != wish.setpoint || (seen == Some(!on) && now.since(*at) >= again_after)
            }
            Setpoint::Source { .. } => *last != wish.setpoint,
        }
    }

    /// The change of this wish's power that is not worth a message.
    fn not_worth_sending(&self, wish: &DeviceWish) -> ActivePower {
        let Bench { settings, devices } = &self.bench;
        let rating = devices[wish.device.index()].rating.p;
        let rated = Quantity::max(rating.upper().abs(), rating.lower().abs());
        let of = if wish.function == Function::ServiceDelivery {
            // A small service of a large device is measured by what was sold.
            let reserved = Reserved::of(wish.device, &settings.services, devices);
            Quantity::min(rated, Quantity::max(reserved.up, reserved.down))
        } else {
            rated
        };
        Quantity::max(of * NOT_WORTH_SENDING, A_WATT)
    }
}

/// Whether a switch is seen where it is wanted: then it is not touched. A power setpoint is sent even
/// where the device holds it already, since it has to be repeated to stay.
fn is_so_already(
    now: Instant,
    wish: &DeviceWish,
    spec: &model::DeviceSpec,
    image: &ProcessImage,
) -> bool {
    let seen = image.devices[wish.device.index()].switch_on;
    matches!(wish.setpoint, Setpoint::Switch { on } if seen.fresh(now, spec.sample_age_max) == Some(on))
}

/// Whether a setpoint is what the market has committed the device to, and the last one was not: a
/// commitment is kept to the last watt, however little that moves the device.
fn comes_to(committed: Option<ActivePower>, last: &Setpoint, approved: &Setpoint) -> bool {
    match (committed, last, approved) {
        (Some(committed), Setpoint::Power { p: before, .. }, Setpoint::Power { p, .. }) => {
            let is_it = |p: ActivePower| (p - committed).abs() < A_WATT;
            is_it(*p) && !is_it(*before)
        }
        _ => false,
    }
}

/// Whether two setpoints of power differ by what a register tells apart.
fn is_apart(a: &Setpoint, b: &Setpoint) -> bool {
    match (a, b) {
        (Setpoint::Power { p: a, .. }, Setpoint::Power { p: b, .. })
        | (Setpoint::Ceiling { p: a }, Setpoint::Ceiling { p: b }) => (*a - *b).abs() >= A_WATT,
        _ => false,
    }
}

fn same_enough(a: &Setpoint, b: &Setpoint, small: ActivePower) -> bool {
    match (a, b) {
        (Setpoint::Power { p: p1, q: q1 }, Setpoint::Power { p: p2, q: q2 }) => {
            // Coming to rest is always worth a message.
            let rest = *p2 == ActivePower::ZERO && *p1 != ActivePower::ZERO;
            !rest && (*p1 - *p2).abs() <= small && (*q1 - *q2).as_vars().abs() <= small.as_watts()
        }
        (Setpoint::Ceiling { p: p1 }, Setpoint::Ceiling { p: p2 }) => (*p1 - *p2).abs() <= small,
        (Setpoint::Switch { on: a }, Setpoint::Switch { on: b }) => a == b,
        // A source is asked for steps of millihertz on purpose: every change is worth a message.
        (Setpoint::Source { .. }, Setpoint::Source { .. }) => a == b,
        _ => false,
    }
}
