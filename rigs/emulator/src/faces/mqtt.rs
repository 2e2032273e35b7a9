//! MQTT: plugs with the topics and payloads of real firmware.
//!
//! A [`Plug`] turns what it hears into what it says, without I/O; [`run_on_hub`] and
//! [`run_on_broker`] join it to the in-memory broker and to a real one. A plug with the
//! fault `silent` loses its supply: the connection dies and the broker tells its will.

mod shelly;
mod tasmota;

use std::net::SocketAddr;
use std::time::Duration;

use model::Point;
use profile::mqtt::{Message, MqttProfile, ToBroker};
use rumqttc::{AsyncClient, Event, LastWill, MqttOptions, Packet, QoS};
use tokio::sync::mpsc;

use crate::hub::Hub;
use crate::world::Shared;

/// How often a plug looks whether it has something to say by itself.
/// Chosen: real firmware reports a switched relay within some hundred milliseconds.
const TICK: Duration = Duration::from_millis(200);

/// Time between attempts to reach a broker.
/// Chosen: a bench's broker comes back within seconds and loopback costs nothing.
const RECONNECT_AFTER: Duration = Duration::from_millis(500);

/// Messages that may wait for a real broker.
const QUEUE: usize = 256;

/// Whose firmware a plug has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// Tasmota: `cmnd`, `stat` and `tele` topics.
    Tasmota,
    /// Shelly of the second generation and later: RPC and notifications.
    Shelly,
}

impl Firmware {
    /// The firmware that a profile is about, told by where it announces itself; `None` for others.
    #[must_use]
    pub fn of(profile: &MqttProfile) -> Option<Self> {
        match profile.availability.as_ref()?.topic.as_str() {
            "tele/{t}/LWT" => Some(Self::Tasmota),
            "{t}/online" => Some(Self::Shelly),
            _ => None,
        }
    }
}

/// A plug: what it has said so far, and how it says the next.
#[derive(Debug)]
pub struct Plug {
    world: Shared,
    device: usize,
    topic: String,
    firmware: Firmware,
    told: Told,
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

impl Plug {
    /// A plug that speaks for a device under a topic.
    #[must_use]
    pub fn new(world: Shared, device: usize, topic: &str, firmware: Firmware) -> Self {
        Self {
            world,
            device,
            topic: topic.into(),
            firmware,
            told: Told::default(),
        }
    }

    /// What the broker shall tell when the plug is gone.
    #[must_use]
    pub fn will(&self) -> Message {
        match self.firmware {
            Firmware::Tasmota => message(format!("tele/{}/LWT", self.topic), "Offline", true),
            Firmware::Shelly => message(format!("{}/online", self.topic), "false", true),
        }
    }

    /// What it listens to.
    #[must_use]
    pub fn filters(&self) -> Vec<String> {
        match self.firmware {
            Firmware::Tasmota => vec![format!("cmnd/{}/#", self.topic)],
            Firmware::Shelly => vec![
                format!("{}/rpc", self.topic),
                format!("{}/command", self.topic),
                format!("{}/command/switch:0", self.topic),
            ],
        }
    }

    /// What it says when it has connected.
    pub fn greet(&mut self) -> Vec<Message> {
        self.told = Told::default();
        let mut said = match self.firmware {
            Firmware::Tasmota => vec![message(format!("tele/{}/LWT", self.topic), "Online", true)],
            Firmware::Shelly => vec![message(format!("{}/online", self.topic), "true", true)],
        };
        said.extend(self.tick());
        said
    }

    /// What it answers to a message.
    pub fn hear(&mut self, heard: &Message) -> Vec<Message> {
        match self.firmware {
            Firmware::Tasmota => tasmota::hear(self, heard),
            Firmware::Shelly => shelly::hear(self, heard),
        }
    }

    /// What it says by itself now.
    pub fn tick(&mut self) -> Vec<Message> {
        match self.firmware {
            Firmware::Tasmota => tasmota::tick(self),
            Firmware::Shelly => shelly::tick(self),
        }
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
        let value = f64::from(u8::from(on));
        let revert = toggle_after.map(Into::into);
        // A plug always takes its switch; only a plug is given this face.
        if let Err(error) = self
            .world
            .lock()
            .write(self.device, Point::SwitchOn, value, revert)
        {
            tracing::warn!(topic = %self.topic, %error, "A plug could not switch.");
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
pub async fn run_on_hub(mut plug: Plug, hub: Hub) {
    loop {
        let (say, mut heard) = hub.connect(Some(plug.will()));
        for filter in plug.filters() {
            // The hub lives as long as anybody holds it, and this task does.
            say.send(ToBroker::Subscribe(filter)).ok();
        }
        let mut outbox = plug.greet();
        let mut ticks = tokio::time::interval(TICK);
        loop {
            for message in outbox.drain(..) {
                let Some(delay) = plug.befall() else { continue };
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
                    Some(message) => outbox = plug.hear(&message),
                    None => break,
                },
                _ = ticks.tick() => {
                    if plug.is_silent() {
                        break;
                    }
                    outbox = plug.tick();
                }
            }
        }
        drop((say, heard));
        wait_for_supply(&plug).await;
    }
}

/// Lives on a real broker, for ever, and comes back when the broker does.
pub async fn run_on_broker(mut plug: Plug, address: SocketAddr) {
    loop {
        wait_for_supply(&plug).await;
        let will = plug.will();
        let id = format!("emulated-{}", plug.topic.replace('/', "-"));
        let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
        options.set_keep_alive(Duration::from_secs(5));
        options.set_max_packet_size(1 << 20, 1 << 20);
        options.set_last_will(LastWill::new(
            will.topic,
            will.payload,
            QoS::AtLeastOnce,
            true,
        ));
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
                        for filter in plug.filters() {
                            if client.subscribe(filter, QoS::AtLeastOnce).await.is_err() {
                                break;
                            }
                        }
                        plug.greet()
                    }
                    Some(Some(message)) => plug.hear(&message),
                    None => break,
                },
                _ = ticks.tick() => {
                    if plug.is_silent() {
                        break;
                    }
                    if connected { plug.tick() } else { Vec::new() }
                }
            };
            for message in outbox {
                let Some(delay) = plug.befall() else { continue };
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

async fn wait_for_supply(plug: &Plug) {
    while plug.is_silent() {
        tokio::time::sleep(TICK).await;
    }
}

#[cfg(test)]
mod tests;
