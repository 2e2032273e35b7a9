//! What is looked at before and while a bench may be written to: nameplates, controls, the emergency stop.

use std::time::Duration;

use model::{DeviceIx, Event, Instant, Mode, Order, Point, PointSample, ProcessImage, Setpoint};

use super::Engine;
use crate::view::{ArmingView, Change};

/// A nameplate may be rounded by its scale factor. Chosen: 0.5 %, the usual accuracy class.
const NAMEPLATE_ROUNDING: f64 = 1.005;
/// How long a run that starts armed waits for devices that have not answered yet.
/// Chosen: 3 s, the first three attempts of every driver; whoever is absent then is told of anyway.
const ARMED_WITHIN: Duration = Duration::from_secs(3);

impl Engine {
    /// A limit of the rig must not be wider than what the device itself says on its nameplate.
    /// When it is, the bench is disarmed and stays so until the rig is mended.
    pub(super) fn watch_nameplates(
        &mut self,
        samples: &[PointSample],
        orders: &mut Vec<Order>,
        events: &mut Vec<Event>,
    ) {
        for sample in samples
            .iter()
            .filter(|s| s.point == Point::RatedActivePower)
        {
            let Some(rated) = sample.sample.reading.good() else {
                continue;
            };
            let spec = &self.controller.bench().devices[sample.device.index()];
            let widest = spec.rating.p.upper().as_watts().abs();
            let widest = widest.max(spec.rating.p.lower().as_watts().abs());
            let moves_power = spec.takes_power || spec.takes_ceiling;
            if moves_power && widest > rated * NAMEPLATE_ROUNDING {
                self.too_wide.insert(sample.device);
                orders.push(Order::Arm(false));
                events.push(Event::Noticed {
                    device: Some(sample.device),
                    text: format!(
                        "R012: the rig's limit of {widest} W is wider than the nameplate of {rated} W \
                         that the device reports; the bench stays disarmed. Narrow `limits.p` in the rig"
                    ),
                });
            }
        }
        if !self.too_wide.is_empty() {
            orders.retain(|order| {
                let refused = *order == Order::Arm(true);
                if refused {
                    events.push(Event::OrderRefused {
                        why: "a limit of the rig is wider than a nameplate (R012)".into(),
                    });
                }
                !refused
            });
        }
    }

    /// Whoever starts a run armed has consented; the bench is still looked at first, and what will be
    /// written is told.
    pub(super) fn arm_when_known(
        &mut self,
        now: Instant,
        image: &ProcessImage,
        orders: &mut Vec<Order>,
    ) {
        let is_known = image.devices.iter().all(|d| d.link != model::Link::Unknown);
        if !self.parts.arms || !(is_known || now >= Instant::START + ARMED_WITHIN) {
            return;
        }
        self.parts.arms = false;
        for change in self.look_ahead(now, image).changes {
            tracing::info!(
                target: "start",
                message = "Arming changes this.",
                device = %self.names[change.device.index()],
                point = %change.point,
                now = ?change.now.map(|(_, value)| value),
                would_be = change.would_be,
                why = change.why
            );
        }
        orders.push(Order::Arm(true));
    }

    /// Keeps what devices say that their controls hold.
    pub(super) fn look_at_controls(&mut self, samples: &[PointSample]) {
        for sample in samples.iter().filter(|s| s.point.is_control()) {
            let key = (sample.device, sample.point);
            match sample.sample.reading.good() {
                Some(value) => self.held.insert(key, (sample.sample.measured_at, value)),
                None => self.held.remove(&key),
            };
        }
    }

    /// What arming would change now.
    pub(super) fn look_ahead(&self, now: Instant, image: &ProcessImage) -> ArmingView {
        let blocked = self
            .parts
            .rig
            .devices
            .iter()
            .enumerate()
            .find_map(|(n, d)| {
                let wide = self.too_wide.contains(&DeviceIx(n as u16));
                wide.then(|| format!("R012: the limit of {} is wider than its nameplate", d.id))
            });
        let changes = self.controller.preview(now, image);
        let changes = changes.iter().flat_map(|dispatch| {
            let targets = match dispatch.setpoint.get() {
                Setpoint::Power { p, q } => vec![
                    (Point::ActivePowerSet, p.as_watts()),
                    (Point::ReactivePowerSet, q.as_vars()),
                ],
                Setpoint::Ceiling { p } => vec![(Point::ActivePowerLimit, p.as_watts())],
                Setpoint::Switch { on } => vec![(Point::SwitchOn, f64::from(u8::from(on)))],
                Setpoint::Source { f, v, phase, on } => [
                    f.map(|f| (Point::FrequencySet, f.as_hertz())),
                    v.map(|v| (Point::VoltageSet, v.as_volts())),
                    phase.map(|phase| (Point::PhaseSet, phase.as_degrees())),
                    on.map(|on| (Point::SwitchOn, f64::from(u8::from(on)))),
                ]
                .into_iter()
                .flatten()
                .collect(),
            };
            let device = dispatch.device;
            let profile = &self.parts.rig.devices[device.index()].profile;
            let switch = image.devices[device.index()].switch_on.last_good;
            targets
                .into_iter()
                .filter(|(point, _)| profile.takes(*point))
                .map(move |(point, would_be)| Change {
                    device,
                    point,
                    now: match point {
                        Point::SwitchOn => switch.map(|(at, on)| (at, f64::from(u8::from(on)))),
                        _ => self.held.get(&(device, point)).copied(),
                    },
                    would_be,
                    function: dispatch.function,
                    why: dispatch.why.clone(),
                    clamped: dispatch.clamped.clone(),
                })
        });
        ArmingView {
            at: now,
            blocked,
            changes: changes.collect(),
        }
    }

    /// The emergency stop circuit must be seen closed; anything else is a stop.
    pub(super) fn watch_estop(
        &mut self,
        now: Instant,
        image: &ProcessImage,
        orders: &mut Vec<Order>,
    ) {
        let Some(estop) = self.parts.rig.safety.estop else {
            return;
        };
        let spec = &self.controller.bench().devices[estop];
        let own = &image.devices[estop];
        // A contact that has gone offline is told at once, without waiting until its word is old.
        let closed = own
            .switch_on
            .fresh(now, spec.sample_age_max)
            .filter(|_| own.link != model::Link::Offline);
        self.estop_seen |= closed.is_some();
        // Before the circuit was read for the first time the bench is not armed anyway.
        if self.estop_seen && closed != Some(true) && self.mode != Mode::Safe {
            orders.push(Order::EmergencyStop);
        }
    }
}
