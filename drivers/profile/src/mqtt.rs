//! MQTT profiles: topics, the values in their payloads, and commands.
//!
//! `{t}` in a topic or payload stands for the device's `topic` in the rig, `{c}` for
//! the controller's own reply topic; each is replaced wherever it stands.

use std::time::Duration;

use model::Point;

/// What an MQTT device says and takes.
#[derive(Clone, Debug, PartialEq)]
pub struct MqttProfile {
    /// Topics to listen to.
    pub topics: Vec<Topic>,
    /// Where the device tells whether it is there.
    pub availability: Option<Availability>,
    /// Messages sent at an interval to make the device speak.
    pub requests: Vec<Request>,
    /// Commands it takes.
    pub commands: Vec<Command>,
    /// Silence after which its points are not believed any more.
    pub timeout: Duration,
}

/// A topic and what its payload holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Topic to subscribe to.
    pub subscribe: String,
    /// Values in the payload.
    pub values: Vec<Value>,
}

/// A value in a payload. `value = number * factor` in the point's base unit, sign included.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Canonical name.
    pub point: Point,
    /// JSON pointer such as `/ENERGY/Power`; `None` = the payload itself is the value.
    pub json: Option<String>,
    /// Factor to the base unit, with the vendor's sign in it.
    pub factor: f64,
    /// Words that stand for numbers, such as `ON` = 1.
    pub words: Vec<(String, f64)>,
    /// Values outside are not believed, in the base unit.
    pub range: (f64, f64),
}

/// A last-will topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Availability {
    /// Topic to subscribe to.
    pub topic: String,
    /// Payload that means: there.
    pub online: String,
    /// Payload that means: gone.
    pub offline: String,
}

/// A message sent at an interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Topic to publish to.
    pub topic: String,
    /// Payload.
    pub payload: String,
    /// How often.
    pub every: Duration,
}

/// A command that the device takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Canonical name of what it sets, such as `switch.on`.
    pub point: Point,
    /// Topic to publish to, without retain.
    pub topic: String,
    /// Payload for 1.
    pub payload_on: String,
    /// Payload for 0.
    pub payload_off: String,
    /// The confirmation must come within this time.
    pub confirm_within: Duration,
    /// Value for a safe end.
    pub safe: f64,
    /// Payload, for the same topic, that means 1 and also arms the device's own dead-man timer,
    /// after which it goes to 0 by itself; sent in place of `payload_on` if there is one.
    pub dead_man: Option<String>,
    /// How often `dead_man` is sent again while 1 is wanted; at most half of the device's timer.
    pub dead_man_refresh: Option<Duration>,
}

/// A message as a broker carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Topic.
    pub topic: String,
    /// Payload bytes.
    pub payload: Vec<u8>,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
}

/// What a client of an in-memory broker says to it; the broker answers with [`Message`]s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToBroker {
    /// Listen to a topic filter (`+` and `#` wildcards).
    Subscribe(String),
    /// Tell all subscribers.
    Publish(Message),
}
