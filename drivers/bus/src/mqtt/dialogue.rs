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
use profile::mqtt::{Availability, Command, Message, MqttProfile, Payload, Request, Topic};
use profile::{Profile, Protocol};

use super::link::Token;
use super::orders::{Order, Orders, Outcome, Wish};
use super::topic::Unfilled;
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

/// What the device takes back by itself unless it is told again and again.
#[derive(Debug)]
struct Kept {
    point: Point,
    wish: Wish,
    due: Instant,
    every: Duration,
    /// The device has reported that it is so.
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
    kept: Vec<Kept>,
    timeout: Duration,
    /// An empty payload says that the source of a topic is gone.
    empty_is_gone: bool,
    presence: Presence,
    /// Its last will says that it is gone.
    gone: bool,
    heard_at: Instant,
    /// It was told that nobody writes its reactive power.
    told_reactive: bool,
    /// Topics, by their place, that have said anything yet.
    speaking: BTreeSet<usize>,
    /// When topics that have said nothing are told of; `None` = not yet or not any more.
    silence_told_at: Option<Instant>,
    /// They were told of, or there are none.
    told_partly: bool,
    /// Whether it has ever been heard.
    ever_heard: bool,
}

impl Device {
    fn points(&self) -> BTreeSet<Point> {
        let values = self.topics.iter().flat_map(|t| &t.values);
        values.map(|v| v.point).collect()
    }

    /// Points of which no topic has ever said anything, and those topics.
    fn never_told(&self) -> (BTreeSet<Point>, Vec<&str>) {
        let silent = |spoken: bool| {
            self.topics
                .iter()
                .enumerate()
                .filter(move |(n, _)| self.speaking.contains(n) == spoken)
                .map(|(_, topic)| topic)
        };
        let points = |spoken: bool| silent(spoken).flat_map(|t| t.values.iter().map(|v| v.point));
        let told: BTreeSet<Point> = points(true).collect();
        let never: BTreeSet<Point> = points(false).filter(|p| !told.contains(p)).collect();
        let topics = silent(false)
            .filter(|t| t.values.iter().any(|v| never.contains(&v.point)))
            .map(|t| t.subscribe.as_str())
            .collect();
        (never, topics)
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
    pub(crate) device: DeviceIx,
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
            let is_for = hear(device, &mut self.orders, message, desk);
            if is_for {
                desk.stats.add_to(device.ix, |d| &d.answers, 1);
            }
            known |= is_for;
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
        let (point, value) = match order.setpoint {
            Setpoint::Switch { on } => (Point::SwitchOn, f64::from(u8::from(on))),
            Setpoint::Power { p, .. } => (Point::ActivePowerSet, p.as_watts()),
            Setpoint::Ceiling { p } => (Point::ActivePowerLimit, p.as_watts()),
            Setpoint::Source { .. } => {
                desk.events([order.missed(
                    Stage::Written,
                    format!(
                        "{}: no source of a bench speaks MQTT; nothing is written",
                        device.id
                    ),
                )]);
                return;
            }
        };
        match device.command(point).map(|c| wish(&c.payload, value)) {
            Some(Ok(wish)) => desk.events(self.orders.take(point, order, wish)),
            Some(Err(range)) => desk.events([order.missed(
                Stage::Written,
                format!(
                    "{}: {point} of {value} {unit} is outside of what the device takes, {} to {} {unit}: \
                     narrow `limits` in the rig",
                    device.id,
                    range.0,
                    range.1,
                    unit = point.unit()
                ),
            )]),
            None => desk.events([order.missed(
                Stage::Written,
                format!(
                    "{}: its profile has no command for {:?}",
                    device.id, order.setpoint
                ),
            )]),
        }
        if let Setpoint::Power { q, .. } = order.setpoint
            && q.as_vars() != 0.0
        {
            self.tell_reactive(order.device, desk);
        }
    }

    /// Says once that a device takes no reactive power over MQTT.
    fn tell_reactive(&mut self, ix: DeviceIx, desk: &Desk<'_>) {
        if let Some(device) = self.devices.iter_mut().find(|d| d.ix == ix)
            && !std::mem::replace(&mut device.told_reactive, true)
        {
            let text = format!(
                "{}: its profile has no {}; the wish for reactive power is not written",
                device.id,
                Point::ReactivePowerSet
            );
            desk.notice(ix, text);
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
        for device in expired {
            BusStats::add(&desk.stats.expired, 1);
            desk.stats.add_to(device, |d| &d.expired, 1);
        }
        for device in unconfirmed {
            BusStats::add(&desk.stats.timeouts, 1);
            desk.stats.add_to(device, |d| &d.timeouts, 1);
        }
        desk.events(events);
        for device in &mut self.devices {
            if device
                .silent_at(self.link_down_since)
                .is_some_and(|at| desk.now >= at)
            {
                BusStats::add(&desk.stats.timeouts, 1);
                desk.stats.add_to(device.ix, |d| &d.timeouts, 1);
                if !device.ever_heard && self.link_down_since.is_none() {
                    never_heard(device, desk);
                }
                go_offline(device, Flaw::Timeout, desk);
            }
            if device.silence_told_at.is_some_and(|at| desk.now >= at) {
                device.silence_told_at = None;
                if device.presence == Presence::Online && self.link_down_since.is_none() {
                    device.told_partly = true;
                    partly_silent(device, desk);
                }
            }
            let late: Vec<Point> = device
                .kept
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
        let (key, _, wish) = self.orders.next_ready(desk.now, ready)?;
        let device = self.devices.iter_mut().find(|d| d.ix == key.0)?;
        let command = device.command(key.1)?.clone();
        let token = self.orders.next_token();
        desk.events(
            self.orders
                .sent(key, token, desk.now, command.confirm_within),
        );
        device.kept.retain(|k| k.point != key.1);
        if let Some(every) = command.refresh
            && falls_back_from(&command.payload, wish)
        {
            device.kept.push(Kept {
                point: key.1,
                wish,
                due: desk.now + every,
                every,
                confirmed: false,
            });
        }
        Some(Outgoing {
            device: key.0,
            token: Some(token),
            payload: said(&command.payload, wish),
            topic: command.topic,
        })
    }

    fn next_refresh(&mut self, now: Instant) -> Option<Outgoing> {
        let device = self
            .devices
            .iter_mut()
            .find(|d| !d.gone && d.kept.iter().any(|k| k.due <= now))?;
        let kept = device.kept.iter_mut().find(|k| k.due <= now)?;
        kept.due = now + kept.every;
        let (point, wish) = (kept.point, kept.wish);
        let command = device.command(point)?;
        Some(Outgoing {
            device: device.ix,
            token: None,
            topic: command.topic.clone(),
            payload: said(&command.payload, wish),
        })
    }

    fn next_request(&mut self, now: Instant) -> Option<Outgoing> {
        let device = self
            .devices
            .iter_mut()
            .find(|d| !d.gone && d.requests.iter().any(|r| r.due <= now))?;
        let ix = device.ix;
        let periodic = device.requests.iter_mut().find(|r| r.due <= now)?;
        // Counted from now: after an outage there is one request, not a burst.
        periodic.due = now + periodic.request.every;
        Some(Outgoing {
            device: ix,
            token: None,
            topic: periodic.request.topic.clone(),
            payload: periodic.request.payload.clone(),
        })
    }

    /// When something is due without any message.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let down = self.link_down_since;
        let silences = self.devices.iter().filter_map(|d| d.silent_at(down));
        let kept = self
            .devices
            .iter()
            .flat_map(|d| d.kept.iter().map(move |m| (d.gone, m)))
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
        let partly = self.devices.iter().filter_map(|d| d.silence_told_at);
        silences
            .chain(partly)
            .chain(kept)
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
            device.kept.clear();
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

/// What a device is to be told so that a point has a value; what it takes where that is too much.
fn wish(payload: &Payload, value: f64) -> Result<Wish, (f64, f64)> {
    match payload {
        Payload::Switch { .. } => Ok(Wish {
            value,
            tolerance: 0.0,
        }),
        Payload::Number {
            factor,
            decimals,
            range,
            tolerance,
            ..
        } => {
            let (_, said) = codec::number(value, *factor, *decimals);
            if (range.0..=range.1).contains(&said) {
                Ok(Wish {
                    value: said,
                    tolerance: *tolerance,
                })
            } else {
                Err(*range)
            }
        }
    }
}

/// Where the number stands in a payload that is otherwise filled in: what no topic may hold,
/// so that a device topic with `{v}` in it stays as it is.
const NUMBER_MARK: &str = "\0";

/// Whether the device leaves this state by itself when nobody repeats it.
fn falls_back_from(payload: &Payload, wish: Wish) -> bool {
    match payload {
        Payload::Switch { dead_man, .. } => dead_man.is_some() && wish.value >= 0.5,
        Payload::Number { .. } => true,
    }
}

fn said(payload: &Payload, wish: Wish) -> String {
    match payload {
        Payload::Switch { off, .. } if wish.value < 0.5 => off.clone(),
        Payload::Switch { on, dead_man, .. } => dead_man.as_ref().unwrap_or(on).clone(),
        Payload::Number {
            template,
            factor,
            decimals,
            ..
        } => template.replace(
            NUMBER_MARK,
            &codec::number(wish.value, *factor, *decimals).0,
        ),
    }
}

/// Why a device cannot be talked to.
#[derive(Debug, thiserror::Error)]
enum Misfit {
    #[error("profile {profile} is not for MQTT; put the device on another bus")]
    Protocol { profile: Arc<str> },
    #[error("profile {profile} needs the device's `topic` in the rig")]
    NoTopic { profile: Arc<str> },
    #[error(
        "profile {profile} needs at least {levels} levels in the device's `topic` in the rig, such as `a/b`"
    )]
    Levels { profile: Arc<str>, levels: usize },
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
        Protocol::Modbus(_) | Protocol::Can(_) | Protocol::Scpi(_) => None,
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
        topic::fill(template, own, reply).map_err(|unfilled| match unfilled {
            Unfilled::NoTopic => Misfit::NoTopic { profile: id() },
            Unfilled::NoLevel(_) => Misfit::Levels {
                profile: id(),
                levels: profile.topic_levels(),
            },
        })
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
            payload: filled_payload(&c.payload, fill)?,
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
        kept: Vec::new(),
        timeout: timeout.unwrap_or(profile.timeout),
        empty_is_gone: profile.empty_is_gone,
        presence: Presence::Unknown,
        gone: false,
        heard_at: now,
        told_reactive: false,
        speaking: BTreeSet::new(),
        silence_told_at: None,
        told_partly: false,
        ever_heard: false,
    })
}

fn filled_payload(
    payload: &Payload,
    fill: impl Fn(&str) -> Result<String, Misfit>,
) -> Result<Payload, Misfit> {
    Ok(match payload {
        Payload::Switch { on, off, dead_man } => Payload::Switch {
            on: fill(on)?,
            off: fill(off)?,
            dead_man: dead_man.as_deref().map(fill).transpose()?,
        },
        Payload::Number { template, .. } => {
            let filled = fill(&template.replace("{v}", NUMBER_MARK))?;
            let mut payload = payload.clone();
            if let Payload::Number { template, .. } = &mut payload {
                *template = filled;
            }
            payload
        }
    })
}

/// Whether the message is for this device.
fn hear(device: &mut Device, orders: &mut Orders, message: &Message, desk: &Desk<'_>) -> bool {
    let mut known = hear_availability(device, message, desk);
    let mut readings = Vec::new();
    let mut spoke = false;
    for (n, topic) in device.topics.iter().enumerate() {
        if !topic::matches(&topic.subscribe, &message.topic) {
            continue;
        }
        known = true;
        if message.retain {
            continue;
        }
        if device.empty_is_gone && message.payload.is_empty() {
            // The source of these values has left the gateway; others may still be there.
            let gone = topic.values.iter();
            readings.extend(gone.map(|v| (v.point, Reading::Bad(Flaw::Offline))));
        } else {
            readings.extend(codec::decode(&topic.values, &message.payload));
            device.speaking.insert(n);
            spoke = true;
        }
    }
    if spoke {
        device.heard_at = desk.now;
        // A will may overtake the return of its own device.
        device.gone = false;
        come_online(device, desk);
    }
    if readings
        .iter()
        .any(|(_, r)| *r == Reading::Bad(Flaw::Corrupt))
    {
        BusStats::add(&desk.stats.corrupt, 1);
        desk.stats.add_to(device.ix, |d| &d.corrupt, 1);
    }
    for (point, reading) in readings {
        desk.sample(device.ix, point, reading);
        if let Reading::Good(value) = reading {
            let value = match point {
                Point::SwitchOn => f64::from(u8::from(value >= 0.5)),
                _ => value,
            };
            let key = (device.ix, point);
            let trip = orders.confirmed_after(key, value, desk.now);
            if let (Some(trip), Some(stats)) = (trip, desk.stats.device(device.ix)) {
                stats.note_round_trip(trip);
            }
            desk.events(orders.state(key, value, desk.now));
            hear_kept(device, point, value);
        }
    }
    known
}

/// What was as wished and is otherwise now was changed by a person, another program or the
/// device: a blind repetition would fight them.
fn hear_kept(device: &mut Device, point: Point, value: f64) {
    for kept in &mut device.kept {
        if kept.point == point && kept.wish.is(value) {
            kept.confirmed = true;
        }
    }
    device
        .kept
        .retain(|k| k.point != point || k.wish.is(value) || !k.confirmed);
}

fn hear_availability(device: &mut Device, message: &Message, desk: &Desk<'_>) -> bool {
    let Some(will) = &device.availability else {
        return false;
    };
    if !topic::matches(&will.topic, &message.topic) {
        return false;
    }
    let word = codec::word(will.json.as_deref(), &message.payload);
    let says = |text: &str| word.as_deref() == Some(text);
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
        desk.stats.add_to(device.ix, |d| &d.corrupt, 1);
    }
    true
}

/// What a person looks for when nothing comes: a broker refuses in silence.
const SILENT_WHY: &str = "check the device's topic, that it talks to this broker, and that the \
                          broker lets this login read there (a denied topic is only silent)";

fn never_heard(device: &Device, desk: &Desk<'_>) {
    let topics: Vec<&str> = device
        .availability
        .iter()
        .map(|a| a.topic.as_str())
        .chain(device.topics.iter().map(|t| t.subscribe.as_str()))
        .collect();
    let text = format!(
        "{}: nothing has come on {} for {:?} although the broker is connected: {SILENT_WHY}",
        device.id,
        topics.join(", "),
        device.timeout
    );
    desk.notice(device.ix, text);
}

fn partly_silent(device: &Device, desk: &Desk<'_>) {
    let (points, topics) = device.never_told();
    if points.is_empty() {
        return;
    }
    let points: Vec<&str> = points.iter().map(|p| p.name()).collect();
    let text = format!(
        "{}: it speaks, but {} has never come on {}: {SILENT_WHY}",
        device.id,
        points.join(", "),
        topics.join(", ")
    );
    desk.notice(device.ix, text);
}

fn come_online(device: &mut Device, desk: &Desk<'_>) {
    device.ever_heard = true;
    if device.presence != Presence::Online {
        device.presence = Presence::Online;
        device.silence_told_at = (!device.told_partly).then(|| desk.now + device.timeout);
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
