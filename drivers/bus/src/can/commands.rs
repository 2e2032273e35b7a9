//! Setpoints on their way to CAN devices: which wait, which are out, which the device has shown.
//!
//! Pure; time is an argument. A setpoint is a frame that is sent at once and then again at
//! its interval, so that the device does not fall back. It counts as done only when a frame
//! of the device's own shows it. One that is not out by its deadline is never sent, and one
//! that a newer one has replaced is not sent again. Not responsible for the link.

use std::sync::Arc;
use std::time::Duration;

use model::{DeviceIx, Instant, Point, Reading, Stage};
use profile::can::{CanId, Control, ControlField};

use super::codec::{self, Data, Frame};
use crate::modbus::targets;
use crate::{BusDevice, DispatchId, LinkEvent, WriteJob};

/// Wait before a frame is offered again to a link that could not take it.
/// Chosen: 10 ms, forty frames at 500 kbit/s; the deadline of the setpoint ends the attempts.
const OFFER_AGAIN: Duration = Duration::from_millis(10);

/// A frame that has to go out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outgoing {
    pub(crate) to: DeviceIx,
    pub(crate) frame: Frame,
    device: usize,
    sending: usize,
}

/// What became of setpoints at an instant.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<LinkEvent>,
    /// Devices of setpoints that were dropped because they came too late.
    pub(crate) expired: Vec<DeviceIx>,
    /// Devices that did not show a setpoint in time.
    pub(crate) unconfirmed: Vec<DeviceIx>,
}

/// All setpoints of a bus.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    devices: Vec<Device>,
}

#[derive(Debug)]
struct Device {
    ix: DeviceIx,
    id: Arc<str>,
    controls: Vec<Held>,
    frames: Vec<Sending>,
    order: Option<Order>,
}

/// A control and the value that is in force.
#[derive(Debug)]
struct Held {
    control: Control,
    value: Option<f64>,
    /// Whether it is sent again; not after the bench was disarmed.
    again: bool,
}

/// A frame that carries setpoints.
#[derive(Debug)]
struct Sending {
    id: CanId,
    len: usize,
    every: Option<Duration>,
    /// When it goes out again; `None` while nothing in it is in force.
    due: Option<Instant>,
    count: u64,
}

/// A setpoint on its way.
#[derive(Debug)]
struct Order {
    dispatch: DispatchId,
    valid_until: Instant,
    urgent: bool,
    not_before: Instant,
    /// Which controls, to what the device must show, and whether it has.
    targets: Vec<(usize, f64, bool)>,
    /// Frames that are not out yet.
    unsent: Vec<usize>,
    /// When the last frame of it went out; `None` before.
    sent_at: Option<Instant>,
    confirm_until: Option<Instant>,
}

impl Commands {
    /// The controls of these devices.
    pub(crate) fn new(devices: &[BusDevice]) -> Self {
        let with_controls = devices.iter().filter_map(|device| {
            let controls = &super::listener::can(&device.profile)?.controls;
            let mut frames: Vec<Sending> = Vec::new();
            for control in controls {
                match frames.iter_mut().find(|f| f.id == control.id) {
                    Some(known) => {
                        known.every = [known.every, control.refresh].into_iter().flatten().min();
                    }
                    None => frames.push(Sending {
                        id: control.id,
                        len: control.len,
                        every: control.refresh,
                        due: None,
                        count: 0,
                    }),
                }
            }
            (!controls.is_empty()).then(|| Device {
                ix: device.ix,
                id: Arc::clone(&device.id),
                controls: controls
                    .iter()
                    .map(|control| Held {
                        control: control.clone(),
                        value: None,
                        again: false,
                    })
                    .collect(),
                frames,
                order: None,
            })
        });
        Self {
            devices: with_controls.collect(),
        }
    }

    /// Takes a setpoint in; `None` when its device has no control at all.
    pub(crate) fn take(&mut self, job: &WriteJob, now: Instant) -> Option<Vec<LinkEvent>> {
        let device = self.devices.iter_mut().find(|d| d.ix == job.device)?;
        Some(device.take(job, now))
    }

    /// Frames that have to go out now.
    pub(crate) fn due(&self, now: Instant) -> Vec<Outgoing> {
        let mut outgoing = Vec::new();
        for (n, device) in self.devices.iter().enumerate() {
            for (sending, frame) in device.frames.iter().enumerate() {
                let ordered = device.order.as_ref().is_some_and(|order| {
                    order.unsent.contains(&sending)
                        && order.not_before <= now
                        && now <= order.valid_until
                });
                // While a newer setpoint waits, what it replaces does not go out.
                let waits = device
                    .order
                    .as_ref()
                    .is_some_and(|o| o.unsent.contains(&sending));
                let again = !waits && frame.due.is_some_and(|due| due <= now);
                if (ordered || again)
                    && let Some(frame) = device.compose(sending)
                {
                    outgoing.push(Outgoing {
                        to: device.ix,
                        frame,
                        device: n,
                        sending,
                    });
                }
            }
        }
        outgoing
    }

    /// A frame is out.
    pub(crate) fn sent(&mut self, outgoing: &Outgoing, now: Instant) -> Option<LinkEvent> {
        self.devices
            .get_mut(outgoing.device)?
            .sent(outgoing.sending, now)
    }

    /// A frame could not go out; the link is still there.
    pub(crate) fn not_taken(&mut self, outgoing: &Outgoing, now: Instant) {
        let Some(device) = self.devices.get_mut(outgoing.device) else {
            return;
        };
        let again = now + OFFER_AGAIN;
        if let Some(order) = &mut device.order {
            order.not_before = again;
        }
        if let Some(frame) = device.frames.get_mut(outgoing.sending)
            && frame.due.is_some()
        {
            frame.due = Some(again);
        }
    }

    /// The device says what a point is now; when that proves a setpoint, the time since it went out, too.
    pub(crate) fn heard(
        &mut self,
        device: DeviceIx,
        point: Point,
        reading: Reading<f64>,
        now: Instant,
    ) -> Option<(LinkEvent, Duration)> {
        let device = self.devices.iter_mut().find(|d| d.ix == device)?;
        let value = reading.good()?;
        let order = device.order.as_mut()?;
        order.confirm_until?;
        for (control, expected, shown) in &mut order.targets {
            let spec = &device.controls.get(*control)?.control;
            if spec.point == point && (value - *expected).abs() <= spec.tolerance {
                *shown = true;
            }
        }
        if !order.targets.iter().all(|(.., shown)| *shown) {
            return None;
        }
        let dispatch = order.dispatch;
        let since = now.since(order.sent_at?);
        device.order = None;
        let event = LinkEvent::Confirmed {
            dispatch,
            device: device.ix,
            stage: Stage::Register,
            at: now,
        };
        Some((event, since))
    }

    /// What is over by now.
    pub(crate) fn tick(&mut self, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        for device in &mut self.devices {
            let Some(order) = &device.order else { continue };
            let name = &device.id;
            let points = device.points(order);
            match order.confirm_until {
                None if now > order.valid_until => {
                    // What never went out is not in force, nor is what it replaced.
                    for (control, ..) in &order.targets {
                        if let Some(held) = device.controls.get_mut(*control) {
                            held.value = None;
                        }
                    }
                    outcome.expired.push(device.ix);
                    outcome.events.push(device.missed(
                        order,
                        Stage::Written,
                        format!("{name}: {points} expired before it could be sent: the bus is away or full"),
                    ));
                    device.order = None;
                }
                Some(until) if now >= until => {
                    outcome.unconfirmed.push(device.ix);
                    outcome.events.push(device.missed(
                        order,
                        Stage::Register,
                        format!(
                            "{name}: {points} was sent, but no frame of the device showed it in time: \
                             check that the device is in remote control and takes this value"
                        ),
                    ));
                    device.order = None;
                }
                _ => {}
            }
        }
        outcome
    }

    /// The write path has gone: what is not urgent is missed, and nothing is sent again.
    pub(crate) fn disarm(&mut self) -> Vec<LinkEvent> {
        let mut events = Vec::new();
        for device in &mut self.devices {
            device.frames.iter_mut().for_each(|frame| frame.due = None);
            device
                .controls
                .iter_mut()
                .for_each(|held| held.again = false);
            events.extend(device.drop_order(|order| !order.urgent));
        }
        events
    }

    /// Time for urgent setpoints is over as well.
    pub(crate) fn give_up(&mut self) -> Vec<LinkEvent> {
        let drop = |device: &mut Device| device.drop_order(|_| true);
        self.devices.iter_mut().filter_map(drop).collect()
    }

    /// Whether no setpoint is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.devices.iter().all(|device| device.order.is_none())
    }

    /// When something is due or over next. Frames wait for a link, deadlines do not.
    pub(crate) fn next_due(&self, can_send: bool) -> Option<Instant> {
        let of_device = |device: &Device| {
            let order = device
                .order
                .as_ref()
                .map(|order| match order.confirm_until {
                    Some(until) => until,
                    None if can_send && !order.unsent.is_empty() => order.not_before,
                    // Valid at its deadline still, so over just after it.
                    None => order.valid_until + Duration::from_nanos(1),
                });
            let again = device.frames.iter().filter_map(|f| f.due).min();
            [order, again.filter(|_| can_send)]
                .into_iter()
                .flatten()
                .min()
        };
        self.devices.iter().filter_map(of_device).min()
    }
}

impl Device {
    fn take(&mut self, job: &WriteJob, now: Instant) -> Vec<LinkEvent> {
        let dispatch = job.dispatch;
        let mut events = Vec::new();
        let missed = |device: DeviceIx, why: String| LinkEvent::Missed {
            dispatch,
            device,
            stage: Stage::Written,
            why,
        };
        let mut wanted = Vec::new();
        for (n, (point, value)) in targets(job.setpoint.get()).into_iter().enumerate() {
            let place = self.controls.iter().position(|c| c.control.point == point);
            let Some(place) = place else {
                if n == 0 {
                    let why = format!("{}: its profile has no control {point}", self.id);
                    events.push(missed(self.ix, why));
                    return events;
                }
                // Only the second target (reactive power) may be missing.
                if value != 0.0 {
                    events.push(LinkEvent::Notice {
                        device: Some(self.ix),
                        text: format!(
                            "{}: its profile has no control {point}; the wish for reactive power is not sent",
                            self.id
                        ),
                    });
                }
                continue;
            };
            let control = &self.controls[place].control;
            let taken = clamped(control, value);
            if taken != value {
                events.push(LinkEvent::Notice {
                    device: Some(self.ix),
                    text: format!(
                        "{}: {point} of {value} is outside what the device takes; {taken} is sent",
                        self.id
                    ),
                });
            }
            let Some(shown) = on_the_wire(control, taken) else {
                let why = format!(
                    "{}: {point} of {taken} does not fit into the bits of frame {}",
                    self.id, control.id
                );
                events.push(missed(self.ix, why));
                return events;
            };
            wanted.push((place, taken, shown));
        }
        if let Some(old) = self.order.take() {
            let stage = match old.confirm_until {
                Some(_) => Stage::Register,
                None => Stage::Written,
            };
            let why = format!("superseded by dispatch {}", dispatch.0);
            events.push(self.missed(&old, stage, why));
        }
        let mut unsent = Vec::new();
        for (place, taken, _) in &wanted {
            let held = &mut self.controls[*place];
            held.value = Some(*taken);
            held.again = true;
            let id = held.control.id;
            let frames = self.frames.iter().position(|f| f.id == id);
            unsent.extend(frames.filter(|f| !unsent.contains(f)));
        }
        for sending in &unsent {
            // It goes out for the order first, and from then on at its interval.
            self.frames[*sending].due = None;
        }
        self.order = Some(Order {
            dispatch,
            valid_until: job.valid_until,
            urgent: job.urgent,
            not_before: now,
            targets: wanted
                .into_iter()
                .map(|(place, _, shown)| (place, shown, false))
                .collect(),
            unsent,
            sent_at: None,
            confirm_until: None,
        });
        events
    }

    fn sent(&mut self, sending: usize, now: Instant) -> Option<LinkEvent> {
        let frame = self.frames.get_mut(sending)?;
        frame.count = frame.count.wrapping_add(1);
        // Counted from now: after an outage there is one frame, not a burst.
        let id = frame.id;
        let again = self.controls.iter().any(|c| c.control.id == id && c.again);
        frame.due = frame.every.filter(|_| again).map(|every| now + every);
        let order = self.order.as_mut()?;
        if order.confirm_until.is_some() {
            return None;
        }
        order.unsent.retain(|unsent| *unsent != sending);
        if !order.unsent.is_empty() {
            return None;
        }
        let within = order
            .targets
            .iter()
            .filter_map(|(control, ..)| self.controls.get(*control))
            .map(|held| held.control.confirm_within)
            .max()
            .unwrap_or_default();
        order.sent_at = Some(now);
        order.confirm_until = Some(now + within);
        Some(LinkEvent::Confirmed {
            dispatch: order.dispatch,
            device: self.ix,
            stage: Stage::Written,
            at: now,
        })
    }

    /// Drops the setpoint on its way, if it is one of these.
    fn drop_order(&mut self, which: impl Fn(&Order) -> bool) -> Option<LinkEvent> {
        let order = self.order.take_if(|order| which(order))?;
        let stage = match order.confirm_until {
            Some(_) => Stage::Register,
            None => Stage::Written,
        };
        let why = format!("{}: the bench was disarmed", self.id);
        Some(self.missed(&order, stage, why))
    }

    /// The frame as it goes out now; `None` when its length is none (a test proves that none is).
    fn compose(&self, sending: usize) -> Option<Frame> {
        let frame = self.frames.get(sending)?;
        let mut data = vec![0; frame.len];
        for held in self.controls.iter().filter(|c| c.control.id == frame.id) {
            // What nobody has set yet is as at a safe end.
            let value = held.value.unwrap_or(held.control.safe);
            for field in &held.control.fields {
                let raw = match field {
                    ControlField::Setpoint(field) => codec::raw(field, value)?,
                    ControlField::Constant(_, raw) => *raw,
                    ControlField::Counter(_) => frame.count,
                };
                codec::insert(&mut data, field.at(), raw);
            }
        }
        Some(Frame::Data {
            id: frame.id,
            data: Data::new(&data)?,
        })
    }

    fn points(&self, order: &Order) -> String {
        let points = order
            .targets
            .iter()
            .filter_map(|(control, ..)| Some(self.controls.get(*control)?.control.point.name()));
        points.collect::<Vec<_>>().join(" and ")
    }

    fn missed(&self, order: &Order, stage: Stage, why: String) -> LinkEvent {
        LinkEvent::Missed {
            dispatch: order.dispatch,
            device: self.ix,
            stage,
            why,
        }
    }
}

fn clamped(control: &Control, value: f64) -> f64 {
    use quantities::{ActivePower, Quantity};
    control.range.map_or(value, |range| {
        range.clamp(ActivePower::from_base(value)).base()
    })
}

/// The value that the device must show: the setpoint as its bits carry it.
fn on_the_wire(control: &Control, value: f64) -> Option<f64> {
    control.fields.iter().find_map(|field| match field {
        ControlField::Setpoint(field) => codec::value(field, codec::raw(field, value)?),
        _ => None,
    })
}
