//! What devices behind a broker say and are told: a pure state machine.
//!
//! Responsible for turning messages and silence into samples and events, for requests
//! and for commands. Time is an argument. Not responsible for the link.
//!
//! A message that the broker had kept (retained) tells whether a device is there, but
//! is no measurement: nobody knows how old it is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use model::{DeviceIx, Flaw, Instant, Point, PointSample, Reading, Sample, Setpoint, Stage};
use profile::mqtt::{Availability, Command, Message, MqttProfile, Request, Topic};
use profile::{Profile, Protocol};

use super::link::Token;
use super::orders::{Order, Orders, Outcome};
use super::{codec, topic};
use crate::{BusDevice, BusStats, LinkEvent, Sink};

/// Time for which a lost link is thought a hiccup; after it no device behind it is believed.
/// Chosen: two seconds, in which three attempts to reconnect are made.
const LINK_GRACE: Duration = Duration::from_secs(2);

/// Why a command is missed when its write path is gone.
const DISARMED: &str = "the bench was disarmed or the run ended before it was confirmed";

/// Whether a device is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// Nothing has been heard yet.
    Unknown,
    /// It speaks.
    Online,
    /// It does not, or its last will says so.
    Offline,
}

/// A message to send at an interval.
#[derive(Debug)]
struct Periodic {
    request: Request,
    due: Instant,
}

/// A switch that the device opens by itself unless it is told again and again.
#[derive(Debug)]
struct DeadMan {
    point: Point,
    due: Instant,
    every: Duration,
    /// The device has reported the switch closed.
    confirmed: bool,
}

#[derive(Debug)]
struct Device {
    ix: DeviceIx,
    id: Arc<str>,
    /// The profile with all topics filled in.
    topics: Vec<Topic>,
    availability: Option<Availability>,
    requests: Vec<Periodic>,
    commands: Vec<Command>,
    dead_men: Vec<DeadMan>,
    timeout: Duration,
    presence: Presence,
    /// Its last will says that it is gone.
    gone: bool,
    heard_at: Instant,
}

impl Device {
    fn points(&self) -> BTreeSet<Point> {
        let values = self.topics.iter().flat_map(|t| &t.values);
        values.map(|v| v.point).collect()
    }

    fn command(&self, point: Point) -> Option<&Command> {
        self.commands.iter().find(|c| c.point == point)
    }

    /// When its silence has lasted too long.
    fn silent_at(&self, link_down_since: Option<Instant>) -> Option<Instant> {
        (self.presence != Presence::Offline).then(|| {
            let own = self.heard_at + self.timeout;
            link_down_since.map_or(own, |since| own.min(since + LINK_GRACE))
        })
    }
}

/// Where samples, events and counts go.
pub(crate) struct Desk<'a> {
    pub(crate) sink: &'a dyn Sink,
    pub(crate) stats: &'a BusStats,
    pub(crate) now: Instant,
}

impl Desk<'_> {
    fn sample(&self, device: DeviceIx, point: Point, reading: Reading<f64>) {
        self.sink.sample(PointSample {
            device,
            point,
            sample: Sample {
                measured_at: self.now,
                reading,
            },
        });
    }

    fn events(&self, events: impl IntoIterator<Item = LinkEvent>) {
        for event in events {
            self.sink.event(event);
        }
    }

    fn notice(&self, device: DeviceIx, text: String) {
        self.sink.event(LinkEvent::Notice {
            device: Some(device),
            text,
        });
    }
}

/// A message that shall go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// For a command, to be acknowledged.
    pub(crate) token: Option<Token>,
    pub(crate) topic: String,
    pub(crate) payload: String,
}

/// The dialogue with all devices behind a broker.
#[derive(Debug)]
pub(crate) struct Dialogue {
    devices: Vec<Device>,
    orders: Orders,
    /// Since when there is no link; `None` while there is one.
    link_down_since: Option<Instant>,
}

impl Dialogue {
    /// A dialogue with these devices; a device whose profile does not fit gets a notice.
    ///
    /// `reply` is the root of the controller's own topics; `timeout` that of the rig.
    pub(crate) fn new(
        devices: &[BusDevice],
        timeout: Option<Duration>,
        reply: &str,
        desk: &Desk<'_>,
    ) -> Self {
        let devices = devices
            .iter()
            .filter_map(|device| {
                match filled(device, timeout, &format!("{reply}/{}", device.id), desk.now) {
                    Ok(filled) => Some(filled),
                    Err(misfit) => {
                        refuse(device, &misfit, desk);
                        None
                    }
                }
            })
            .collect();
        Self {
            devices,
            orders: Orders::default(),
            link_down_since: Some(desk.now),
        }
    }

    /// Topics to subscribe to.
    pub(crate) fn filters(&self) -> BTreeSet<String> {
        self.devices
            .iter()
            .flat_map(|device| {
                let will = device.availability.iter().map(|a| a.topic.clone());
                will.chain(device.topics.iter().map(|t| t.subscribe.clone()))
            })
            .collect()
    }

    /// There is a link: devices are asked at once.
    pub(crate) fn link_up(&mut self, now: Instant) {
        self.link_down_since = None;
        self.orders.link_up();
        for device in &mut self.devices {
            for request in &mut device.requests {
                request.due = now;
            }
            if device.presence != Presence::Offline {
                // Its silence so far was the link's.
                device.heard_at = now;
            }
        }
    }

    /// The link is lost.
    pub(crate) fn link_down(&mut self, now: Instant) {
        if self.link_down_since.is_none() {
            self.link_down_since = Some(now);
            self.orders.link_down(now);
        }
    }

    /// Takes in a message.
    pub(crate) fn hear(&mut self, message: &Message, desk: &Desk<'_>) {
        let mut known = false;
        for device in &mut self.devices {
            known |= hear(device, &mut self.orders, message, desk);
        }
        if known {
            BusStats::add(&desk.stats.answers, 1);
        } else {
            tracing::debug!(topic = message.topic, "A message is for no device.");
        }
    }

    /// Takes in a command.
    pub(crate) fn order(&mut self, order: Order, desk: &Desk<'_>) {
        let Some(device) = self.devices.iter().find(|d| d.ix == order.device) else {
            desk.events([order.missed(
                Stage::Written,
                "the device has no usable MQTT profile on this bus".to_owned(),
            )]);
            return;
        };
        let wish = match order.setpoint {
            Setpoint::Switch { on } => device.command(Point::SwitchOn).map(|c| (c.point, on)),
            Setpoint::Power { .. } | Setpoint::Ceiling { .. } => None,
        };
        match wish {
            Some((point, on)) => desk.events(self.orders.take(point, order, on)),
            None => desk.events([order.missed(
                Stage::Written,
                format!(
                    "{}: its profile has no command for {:?}",
                    device.id, order.setpoint
                ),
            )]),
        }
    }

    /// The broker has taken a command.
    pub(crate) fn acknowledged(&mut self, token: Token, desk: &Desk<'_>) {
        desk.events(self.orders.acknowledged(token, desk.now));
    }

    /// What is over by now; whether the connection is dead.
    pub(crate) fn tick(&mut self, desk: &Desk<'_>) -> bool {
        let devices = &self.devices;
        let Outcome {
            events,
            expired,
            unconfirmed,
            dead_connection,
        } = self.orders.tick(desk.now, |ix| name(devices, ix));
        BusStats::add(&desk.stats.expired, expired);
        BusStats::add(&desk.stats.timeouts, unconfirmed);
        desk.events(events);
        for device in &mut self.devices {
            if device
                .silent_at(self.link_down_since)
                .is_some_and(|at| desk.now >= at)
            {
                BusStats::add(&desk.stats.timeouts, 1);
                go_offline(device, Flaw::Timeout, desk);
            }
            let late: Vec<Point> = device
                .dead_men
                .extract_if(.., |d| desk.now >= d.due + d.every)
                .map(|d| d.point)
                .collect();
            for point in late {
                desk.notice(
                    device.ix,
                    format!(
                        "{}: {point} could not be refreshed in time and is left to the device's own \
                         timer; it has to be commanded again",
                        device.id
                    ),
                );
            }
        }
        dead_connection
    }

    /// The next message to send now, if there is a link; the caller asks until there is none.
    pub(crate) fn next_outgoing(&mut self, desk: &Desk<'_>) -> Option<Outgoing> {
        if self.link_down_since.is_some() {
            return None;
        }
        self.next_command(desk)
            .or_else(|| self.next_refresh(desk.now))
            .or_else(|| self.next_request(desk.now))
    }

    fn next_command(&mut self, desk: &Desk<'_>) -> Option<Outgoing> {
        let devices = &self.devices;
        // A broker may keep a message for a device that is away: it would be carried out late.
        let ready = |ix| devices.iter().any(|d| d.ix == ix && !d.gone);
        let (key, _, on) = self.orders.next_ready(desk.now, ready)?;
        let device = self.devices.iter_mut().find(|d| d.ix == key.0)?;
        let command = device.command(key.1)?.clone();
        let token = self.orders.next_token();
        desk.events(
            self.orders
                .sent(key, token, desk.now, command.confirm_within),
        );
        device.dead_men.retain(|d| d.point != key.1);
        if on
            && command.dead_man.is_some()
            && let Some(every) = command.dead_man_refresh
        {
            device.dead_men.push(DeadMan {
                point: key.1,
                due: desk.now + every,
                every,
                confirmed: false,
            });
        }
        Some(Outgoing {
            token: Some(token),
            payload: payload(&command, on).to_owned(),
            topic: command.topic,
        })
    }

    fn next_refresh(&mut self, now: Instant) -> Option<Outgoing> {
        let device = self
            .devices
            .iter_mut()
            .find(|d| !d.gone && d.dead_men.iter().any(|m| m.due <= now))?;
        let dead_man = device.dead_men.iter_mut().find(|m| m.due <= now)?;
        dead_man.due = now + dead_man.every;
        let point = dead_man.point;
        let command = device.command(point)?;
        Some(Outgoing {
            token: None,
            topic: command.topic.clone(),
            payload: payload(command, true).to_owned(),
        })
    }

    fn next_request(&mut self, now: Instant) -> Option<Outgoing> {
        let device = self
            .devices
            .iter_mut()
            .find(|d| !d.gone && d.requests.iter().any(|r| r.due <= now))?;
        let periodic = device.requests.iter_mut().find(|r| r.due <= now)?;
        // Counted from now: after an outage there is one request, not a burst.
        periodic.due = now + periodic.request.every;
        Some(Outgoing {
            token: None,
            topic: periodic.request.topic.clone(),
            payload: periodic.request.payload.clone(),
        })
    }

    /// When something is due without any message.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let down = self.link_down_since;
        let silences = self.devices.iter().filter_map(|d| d.silent_at(down));
        let dead_men = self
            .devices
            .iter()
            .flat_map(|d| d.dead_men.iter().map(move |m| (d.gone, m)))
            .map(|(gone, m)| {
                // One that cannot be sent is looked at again when it is late.
                if gone || down.is_some() {
                    m.due + m.every
                } else {
                    m.due
                }
            });
        let requests = self
            .devices
            .iter()
            .filter(|d| down.is_none() && !d.gone)
            .flat_map(|d| d.requests.iter().map(|r| r.due));
        silences
            .chain(dead_men)
            .chain(requests)
            .chain(self.orders.next_due())
            .min()
    }

    /// The write path closes: only urgent commands are still sent.
    pub(crate) fn wind_down(&mut self, desk: &Desk<'_>) {
        desk.events(self.orders.drop_all(true, DISARMED));
        self.let_go();
    }

    /// A device that falls back by itself shall do so now.
    fn let_go(&mut self) {
        for device in &mut self.devices {
            device.dead_men.clear();
        }
    }

    /// Whether an urgent command is still under way.
    pub(crate) fn has_urgent(&self) -> bool {
        self.orders.has_urgent()
    }

    /// The write path is shut: what is still under way is missed, and nothing is refreshed.
    pub(crate) fn shut(&mut self, desk: &Desk<'_>) {
        desk.events(self.orders.drop_all(false, DISARMED));
        self.let_go();
    }
}

fn name(devices: &[Device], ix: DeviceIx) -> &str {
    devices.iter().find(|d| d.ix == ix).map_or("?", |d| &*d.id)
}

fn payload(command: &Command, on: bool) -> &str {
    match (&command.dead_man, on) {
        (Some(armed), true) => armed,
        (None, true) => &command.payload_on,
        (_, false) => &command.payload_off,
    }
}

/// Why a device cannot be talked to.
#[derive(Debug, thiserror::Error)]
enum Misfit {
    #[error("profile {profile} is not for MQTT; put the device on another bus")]
    Protocol { profile: Arc<str> },
    #[error("profile {profile} needs the device's `topic` in the rig")]
    NoTopic { profile: Arc<str> },
    #[error("`topic` {topic:?} of the rig must not be empty or have wildcards")]
    Wildcards { topic: String },
}

fn refuse(device: &BusDevice, misfit: &Misfit, desk: &Desk<'_>) {
    desk.notice(device.ix, format!("{}: {misfit}", device.id));
    if let Some(profile) = mqtt(&device.profile) {
        let values = profile.topics.iter().flat_map(|t| &t.values);
        let points: BTreeSet<Point> = values.map(|v| v.point).collect();
        for point in points {
            desk.sample(device.ix, point, Reading::Bad(Flaw::Config));
        }
    }
    desk.sink.event(LinkEvent::Offline(device.ix, Flaw::Config));
}

fn mqtt(profile: &Profile) -> Option<&MqttProfile> {
    match &profile.protocol {
        Protocol::Mqtt(profile) => Some(profile),
        Protocol::Modbus(_) | Protocol::Can(_) => None,
    }
}

/// A device with all topics and payloads of its profile filled in.
fn filled(
    device: &BusDevice,
    timeout: Option<Duration>,
    reply: &str,
    now: Instant,
) -> Result<Device, Misfit> {
    let id = || Arc::clone(&device.profile.id);
    let profile = mqtt(&device.profile).ok_or_else(|| Misfit::Protocol { profile: id() })?;
    let own = device.topic.as_deref();
    if let Some(own) = own.filter(|own| !topic::is_plain(own)) {
        return Err(Misfit::Wildcards {
            topic: own.to_owned(),
        });
    }
    let fill = |template: &str| {
        topic::fill(template, own, reply).ok_or_else(|| Misfit::NoTopic { profile: id() })
    };
    let topics = profile.topics.iter().map(|t| {
        Ok(Topic {
            subscribe: fill(&t.subscribe)?,
            values: t.values.clone(),
        })
    });
    let availability = profile.availability.as_ref().map(|a| {
        Ok(Availability {
            topic: fill(&a.topic)?,
            ..a.clone()
        })
    });
    let requests = profile.requests.iter().map(|r| {
        Ok(Periodic {
            request: Request {
                topic: fill(&r.topic)?,
                payload: fill(&r.payload)?,
                every: r.every,
            },
            due: now,
        })
    });
    let commands = profile.commands.iter().map(|c| {
        Ok(Command {
            topic: fill(&c.topic)?,
            payload_on: fill(&c.payload_on)?,
            payload_off: fill(&c.payload_off)?,
            dead_man: c.dead_man.as_deref().map(fill).transpose()?,
            ..c.clone()
        })
    });
    Ok(Device {
        ix: device.ix,
        id: Arc::clone(&device.id),
        topics: topics.collect::<Result<_, _>>()?,
        availability: availability.transpose()?,
        requests: requests.collect::<Result<_, _>>()?,
        commands: commands.collect::<Result<_, _>>()?,
        dead_men: Vec::new(),
        timeout: timeout.unwrap_or(profile.timeout),
        presence: Presence::Unknown,
        gone: false,
        heard_at: now,
    })
}

/// Whether the message is for this device.
fn hear(device: &mut Device, orders: &mut Orders, message: &Message, desk: &Desk<'_>) -> bool {
    let mut known = hear_availability(device, message, desk);
    let mut readings = Vec::new();
    for topic in &device.topics {
        if topic::matches(&topic.subscribe, &message.topic) {
            known = true;
            if !message.retain {
                readings.extend(codec::decode(&topic.values, &message.payload));
                device.heard_at = desk.now;
                // A will may overtake the return of its own device.
                device.gone = false;
            }
        }
    }
    if known && !message.retain && !device.gone {
        come_online(device, desk);
    }
    if readings
        .iter()
        .any(|(_, r)| *r == Reading::Bad(Flaw::Corrupt))
    {
        BusStats::add(&desk.stats.corrupt, 1);
    }
    for (point, reading) in readings {
        desk.sample(device.ix, point, reading);
        if let Reading::Good(value) = reading {
            let on = value >= 0.5;
            desk.events(orders.state((device.ix, point), on, desk.now));
            hear_switch(device, point, on);
        }
    }
    known
}

/// A switch that was closed and is open now was opened by a person or by the device:
/// a blind refresh would close it again.
fn hear_switch(device: &mut Device, point: Point, on: bool) {
    for dead_man in &mut device.dead_men {
        if dead_man.point == point && on {
            dead_man.confirmed = true;
        }
    }
    device
        .dead_men
        .retain(|d| d.point != point || on || !d.confirmed);
}

fn hear_availability(device: &mut Device, message: &Message, desk: &Desk<'_>) -> bool {
    let Some(will) = &device.availability else {
        return false;
    };
    if !topic::matches(&will.topic, &message.topic) {
        return false;
    }
    let says = |text: &str| message.payload.trim_ascii() == text.as_bytes();
    if says(&will.offline) {
        device.gone = true;
        if device.presence != Presence::Offline {
            go_offline(device, Flaw::Offline, desk);
        }
    } else if says(&will.online) {
        if device.gone {
            for request in &mut device.requests {
                request.due = desk.now;
            }
        }
        device.gone = false;
        device.heard_at = desk.now;
        come_online(device, desk);
    } else {
        BusStats::add(&desk.stats.corrupt, 1);
    }
    true
}

fn come_online(device: &mut Device, desk: &Desk<'_>) {
    if device.presence != Presence::Online {
        device.presence = Presence::Online;
        desk.sink.event(LinkEvent::Online(device.ix));
    }
}

fn go_offline(device: &mut Device, flaw: Flaw, desk: &Desk<'_>) {
    device.presence = Presence::Offline;
    for point in device.points() {
        desk.sample(device.ix, point, Reading::Bad(flaw));
    }
    desk.sink.event(LinkEvent::Offline(device.ix, flaw));
}
