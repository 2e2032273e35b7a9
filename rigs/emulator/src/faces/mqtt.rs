//! MQTT: devices with the topics and payloads of real firmware.
//!
//! A [`Talker`] turns what it hears into what it says, without I/O; [`run_on_hub`] and
//! [`run_on_broker`] join it to the in-memory broker and to a real one. A device with the
//! fault `silent` loses its supply: the connection dies and the broker tells its will.
//!
//! The firmware of the bundled profiles is written from the makers' documentation. Any other
//! device speaks as its profile describes it (see `described`).

mod described;
mod shelly;
mod shelly_gen1;
mod tasmota;
mod victron;
mod zigbee2mqtt;

use std::net::SocketAddr;
use std::time::Duration;

use model::Point;
use profile::Profile;
use profile::mqtt::{Message, MqttProfile, ToBroker};
use rumqttc::{AsyncClient, Event, LastWill, MqttOptions, Packet, QoS};
use tokio::sync::mpsc;

use crate::hub::Hub;
use crate::world::Shared;

/// How often a device looks whether it has something to say by itself.
/// Chosen: real firmware reports a switched relay within some hundred milliseconds.
const TICK: Duration = Duration::from_millis(200);

/// Time between attempts to reach a broker.
/// Chosen: a bench's broker comes back within seconds and loopback costs nothing.
const RECONNECT_AFTER: Duration = Duration::from_millis(500);

/// Messages that may wait for a real broker.
const QUEUE: usize = 256;

/// Whose firmware a device has.
#[derive(Clone, Debug, PartialEq)]
pub enum Firmware {
    /// Tasmota: `cmnd`, `stat` and `tele` topics.
    Tasmota,
    /// Shelly of the first generation: plain topics.
    ShellyGen1,
    /// Shelly of the second generation and later: RPC and notifications.
    Shelly,
    /// A plug behind a Zigbee2MQTT bridge.
    Zigbee2Mqtt,
    /// A Victron inverter behind a GX device.
    Victron,
    /// What its profile says, to the letter.
    Described(MqttProfile),
}

impl Firmware {
    /// The firmware that a profile is about, told by its identity.
    #[must_use]
    pub fn of(profile: &Profile, mqtt: &MqttProfile) -> Self {
        let known = [
            ("tasmota/", Self::Tasmota),
            ("shelly/gen1", Self::ShellyGen1),
            ("shelly/gen2", Self::Shelly),
            ("zigbee2mqtt/", Self::Zigbee2Mqtt),
            ("victron/gx", Self::Victron),
        ];
        known
            .into_iter()
            .find(|(begin, _)| profile.id.starts_with(begin))
            .map_or_else(|| Self::Described(mqtt.clone()), |(_, firmware)| firmware)
    }
}

/// A device behind a broker: what it has said so far, and how it says the next.
#[derive(Debug)]
pub struct Talker {
    world: Shared,
    device: usize,
    topic: String,
    firmware: Firmware,
    told: Told,
    /// Own state of the firmware that the plant does not know.
    own: Own,
}

/// State of one firmware or another.
#[derive(Debug, Default)]
struct Own {
    /// Tasmota's pulse timer: a relay that is switched on goes off after it.
    pulse: Option<Duration>,
    /// A GX device notifies until this time of the plant.
    alive_until: Option<Duration>,
    /// What a GX device has told last, by topic.
    notified: std::collections::BTreeMap<String, String>,
    /// Where the last asker of a described device wants its answers.
    asker: Option<String>,
}

/// What was told last, so that only news is told unasked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Told {
    on: Option<bool>,
    power: Option<f64>,
    at: Option<Duration>,
}

/// What a plug measures now, as its firmware would show it: consumption is positive.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Reading {
    on: Option<bool>,
    p: Option<f64>,
    q: Option<f64>,
    v: Option<f64>,
    i: Option<f64>,
    f: Option<f64>,
    wh: Option<f64>,
    now: Duration,
}

impl Talker {
    /// A talker for a device under a topic.
    #[must_use]
    pub fn new(world: Shared, device: usize, topic: &str, firmware: Firmware) -> Self {
        Self {
            world,
            device,
            topic: topic.into(),
            firmware,
            told: Told::default(),
            own: Own::default(),
        }
    }

    /// What the broker shall tell when the device is gone.
    #[must_use]
    pub fn will(&self) -> Option<Message> {
        self.presence(false)
    }

    /// How it tells that it is there, or that it is gone.
    fn presence(&self, there: bool) -> Option<Message> {
        let topic = &self.topic;
        let pick = |yes: &'static str, no: &'static str| if there { yes } else { no };
        let (topic, word) = match &self.firmware {
            Firmware::Tasmota => (format!("tele/{topic}/LWT"), pick("Online", "Offline")),
            Firmware::ShellyGen1 => (format!("shellies/{topic}/online"), pick("true", "false")),
            Firmware::Shelly => (format!("{topic}/online"), pick("true", "false")),
            Firmware::Zigbee2Mqtt => (
                format!("{topic}/availability"),
                pick(r#"{"state":"online"}"#, r#"{"state":"offline"}"#),
            ),
            Firmware::Victron => return None,
            Firmware::Described(profile) => {
                return described::presence(profile, topic, there);
            }
        };
        Some(message(topic, word, true))
    }

    /// What it listens to.
    #[must_use]
    pub fn filters(&self) -> Vec<String> {
        let topic = &self.topic;
        match &self.firmware {
            Firmware::Tasmota => vec![format!("cmnd/{topic}/#")],
            Firmware::ShellyGen1 => vec![
                format!("shellies/{topic}/command"),
                format!("shellies/{topic}/relay/0/command"),
                "shellies/command".into(),
            ],
            Firmware::Shelly => vec![
                format!("{topic}/rpc"),
                format!("{topic}/command"),
                format!("{topic}/command/switch:0"),
            ],
            Firmware::Zigbee2Mqtt => vec![format!("{topic}/set"), format!("{topic}/get")],
            Firmware::Victron => victron::filters(topic),
            Firmware::Described(profile) => described::filters(profile, topic),
        }
    }

    /// What it says when it has connected.
    pub fn greet(&mut self) -> Vec<Message> {
        self.told = Told::default();
        self.own.alive_until = None;
        self.own.notified.clear();
        let mut said: Vec<Message> = self.presence(true).into_iter().collect();
        said.extend(self.tick());
        said
    }

    /// What it answers to a message.
    pub fn hear(&mut self, heard: &Message) -> Vec<Message> {
        match &self.firmware {
            Firmware::Tasmota => tasmota::hear(self, heard),
            Firmware::ShellyGen1 => shelly_gen1::hear(self, heard),
            Firmware::Shelly => shelly::hear(self, heard),
            Firmware::Zigbee2Mqtt => zigbee2mqtt::hear(self, heard),
            Firmware::Victron => victron::hear(self, heard),
            Firmware::Described(profile) => {
                let profile = profile.clone();
                described::hear(self, &profile, heard)
            }
        }
    }

    /// What it says by itself now.
    pub fn tick(&mut self) -> Vec<Message> {
        match &self.firmware {
            Firmware::Tasmota => tasmota::tick(self),
            Firmware::ShellyGen1 => shelly_gen1::tick(self),
            Firmware::Shelly => shelly::tick(self),
            Firmware::Zigbee2Mqtt => zigbee2mqtt::tick(self),
            Firmware::Victron => victron::tick(self),
            Firmware::Described(profile) => {
                let profile = profile.clone();
                described::tick(self, &profile)
            }
        }
    }

    /// Whether there is news since the last time it told: the switch moved, the power moved by
    /// more than `(watts, fraction)`, or `every` has passed. What is new counts as told.
    fn has_news(&mut self, reading: &Reading, change: (f64, f64), every: Duration) -> bool {
        let told = self.told;
        let switched = reading.on.is_some() && reading.on != told.on;
        let moved = match (reading.p, told.power) {
            (Some(now), Some(before)) => {
                (now - before).abs() > change.0.max(before.abs() * change.1)
            }
            (now, before) => now.is_some() != before.is_some(),
        };
        let due = told.at.is_none_or(|at| reading.now >= at + every);
        if switched || moved || due {
            self.told = Told {
                on: reading.on,
                power: reading.p,
                at: Some(reading.now),
            };
        }
        switched || moved || due
    }

    fn reading(&self) -> Reading {
        let world = self.world.lock();
        let value = |point| world.value(self.device, point);
        Reading {
            on: value(Point::SwitchOn).map(|on| on >= 0.5),
            p: value(Point::ActivePower).map(|p| -p),
            q: value(Point::ReactivePower).map(|q| -q),
            v: value(Point::VoltageL1),
            i: value(Point::CurrentL1),
            f: value(Point::Frequency),
            wh: value(Point::EnergyImport),
            now: world.plant.now(),
        }
    }

    fn switch(&self, on: bool, toggle_after: Option<Duration>) {
        self.write(Point::SwitchOn, f64::from(u8::from(on)), toggle_after);
    }

    fn write(&self, point: Point, value: f64, revert: Option<Duration>) {
        let revert = revert.map(Into::into);
        if let Err(error) = self.world.lock().write(self.device, point, value, revert) {
            tracing::warn!(topic = %self.topic, %error, "An emulated device does not take a command.");
        }
    }

    /// Lets the wire's faults befall a message: the time it waits, or `None` when it is lost.
    fn befall(&self) -> Option<Duration> {
        let wire = self.world.lock().befall(self.device);
        (!wire.lost).then_some(wire.delay)
    }

    fn is_silent(&self) -> bool {
        self.world.lock().is_silent(self.device)
    }
}

impl Reading {
    fn s(&self) -> Option<f64> {
        Some(self.p?.hypot(self.q?))
    }
}

/// The word of a switch payload, whatever its case; `None` when it is none of the three.
fn position(word: &str, now: Option<bool>) -> Option<bool> {
    match word.trim().to_ascii_lowercase().as_str() {
        "on" => Some(true),
        "off" => Some(false),
        "toggle" => Some(now != Some(true)),
        _ => None,
    }
}

/// A time in seconds that is longer than nothing.
fn positive_seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| !time.is_zero())
}

fn message(topic: String, payload: impl Into<Vec<u8>>, retain: bool) -> Message {
    Message {
        topic,
        payload: payload.into(),
        retain,
    }
}

/// A number rounded to some decimals, as firmware shows it.
fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    // Adding zero turns a negative zero into a plain one.
    (value * scale).round() / scale + 0.0
}

/// Lives on the in-memory broker, for ever.
pub async fn run_on_hub(mut talker: Talker, hub: Hub) {
    loop {
        let (say, mut heard) = hub.connect(talker.will());
        for filter in talker.filters() {
            // The hub lives as long as anybody holds it, and this task does.
            say.send(ToBroker::Subscribe(filter)).ok();
        }
        let mut outbox = talker.greet();
        let mut ticks = tokio::time::interval(TICK);
        loop {
            for message in outbox.drain(..) {
                let Some(delay) = talker.befall() else {
                    continue;
                };
                if delay.is_zero() {
                    say.send(ToBroker::Publish(message)).ok();
                } else {
                    let say = say.downgrade();
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        if let Some(say) = say.upgrade() {
                            say.send(ToBroker::Publish(message)).ok();
                        }
                    });
                }
            }
            tokio::select! {
                biased;
                message = heard.recv() => match message {
                    Some(message) => outbox = talker.hear(&message),
                    None => break,
                },
                _ = ticks.tick() => {
                    if talker.is_silent() {
                        break;
                    }
                    outbox = talker.tick();
                }
            }
        }
        drop((say, heard));
        wait_for_supply(&talker).await;
    }
}

/// Lives on a real broker, for ever, and comes back when the broker does.
pub async fn run_on_broker(mut talker: Talker, address: SocketAddr) {
    loop {
        wait_for_supply(&talker).await;
        let id = format!("emulated-{}", talker.topic.replace('/', "-"));
        let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
        options.set_keep_alive(Duration::from_secs(5));
        options.set_max_packet_size(1 << 20, 1 << 20);
        if let Some(will) = talker.will() {
            options.set_last_will(LastWill::new(
                will.topic,
                will.payload,
                QoS::AtLeastOnce,
                true,
            ));
        }
        let (client, mut events) = AsyncClient::new(options, QUEUE);
        let (told, mut incoming) = mpsc::channel::<Option<Message>>(QUEUE);
        // The event loop has a task of its own: publishing from the task that polls it
        // could wait for itself. `None` stands for "connected".
        let polling = tokio::spawn(async move {
            while let Ok(event) = events.poll().await {
                let news = match event {
                    Event::Incoming(Packet::ConnAck(_)) => None,
                    Event::Incoming(Packet::Publish(publish)) => Some(Message {
                        topic: publish.topic.clone(),
                        payload: publish.payload.to_vec(),
                        retain: publish.retain,
                    }),
                    _ => continue,
                };
                if told.send(news).await.is_err() {
                    return;
                }
            }
        });
        let _aborts = AbortOnDrop(polling.abort_handle());
        let mut ticks = tokio::time::interval(TICK);
        let mut connected = false;
        loop {
            let outbox = tokio::select! {
                biased;
                news = incoming.recv() => match news {
                    Some(None) => {
                        connected = true;
                        for filter in talker.filters() {
                            if client.subscribe(filter, QoS::AtLeastOnce).await.is_err() {
                                break;
                            }
                        }
                        talker.greet()
                    }
                    Some(Some(message)) => talker.hear(&message),
                    None => break,
                },
                _ = ticks.tick() => {
                    if talker.is_silent() {
                        break;
                    }
                    if connected { talker.tick() } else { Vec::new() }
                }
            };
            for message in outbox {
                let Some(delay) = talker.befall() else {
                    continue;
                };
                let client = client.clone();
                let publish = async move {
                    let qos = if message.retain {
                        QoS::AtLeastOnce
                    } else {
                        QoS::AtMostOnce
                    };
                    client
                        .publish(message.topic, qos, message.retain, message.payload)
                        .await
                        .ok();
                };
                if delay.is_zero() {
                    publish.await;
                } else {
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        publish.await;
                    });
                }
            }
        }
        drop(incoming);
        tokio::time::sleep(RECONNECT_AFTER).await;
    }
}

/// Ends a task together with the one that started it.
#[derive(Debug)]
pub(crate) struct AbortOnDrop(pub(crate) tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn wait_for_supply(talker: &Talker) {
    while talker.is_silent() {
        tokio::time::sleep(TICK).await;
    }
}

#[cfg(test)]
mod tests;
