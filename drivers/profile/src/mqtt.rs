//! MQTT profiles: topics, the values in their payloads, and commands.
//!
//! `{t}` in a topic or payload stands for the device's `topic` in the rig, `{t.1}` for the
//! first level of it, `{t.2}` for the second and so on, `{c}` for the controller's own reply
//! topic, and `{v}` in the payload of a command for the number to set; each is replaced
//! wherever it stands.

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
    /// Whether an empty payload says that the source of a topic's values is gone.
    pub empty_is_gone: bool,
}

impl MqttProfile {
    /// How many levels the device's `topic` in the rig must have at least, as the highest
    /// `{t.N}` of the profile says; 0 when the profile does not use the topic.
    #[must_use]
    pub fn topic_levels(&self) -> usize {
        self.templates().map(levels).max().unwrap_or(0)
    }

    /// All topics and payloads in which placeholders may stand.
    fn templates(&self) -> impl Iterator<Item = &str> {
        let will = self.availability.iter().map(|a| a.topic.as_str());
        let topics = self.topics.iter().map(|t| t.subscribe.as_str());
        let asked = self
            .requests
            .iter()
            .flat_map(|r| [r.topic.as_str(), r.payload.as_str()]);
        let told = self.commands.iter().flat_map(|c| {
            let payloads = match &c.payload {
                Payload::Switch { on, off, dead_man } => {
                    [Some(on), Some(off), dead_man.as_ref()].map(|p| p.map(String::as_str))
                }
                Payload::Number { template, .. } => [Some(template.as_str()), None, None],
            };
            payloads.into_iter().flatten().chain([c.topic.as_str()])
        });
        will.chain(topics).chain(asked).chain(told)
    }
}

/// Most levels of a device's topic that a profile can name.
/// Chosen: 9, so that one digit says which; the deepest topic of a bundled profile has two.
pub const TOPIC_LEVELS_MAX: usize = 9;

/// The levels of a device's topic that a template needs.
fn levels(template: &str) -> usize {
    let named = (1..=TOPIC_LEVELS_MAX).filter(|n| template.contains(&format!("{{t.{n}}}")));
    named.max().unwrap_or(usize::from(template.contains("{t}")))
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
    /// JSON pointer to the word; a payload that is no JSON object is the word itself.
    pub json: Option<String>,
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
    /// What to say there.
    pub payload: Payload,
    /// The confirmation must come within this time.
    pub confirm_within: Duration,
    /// Value for a safe end, in the base unit.
    pub safe: f64,
    /// Silence after which the device falls back by itself; `None` = it holds the last value.
    pub revert: Option<Duration>,
    /// How often what is in force is said again; at most half of `revert`.
    pub refresh: Option<Duration>,
}

/// What a command says.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// One of two texts.
    Switch {
        /// Means 1.
        on: String,
        /// Means 0.
        off: String,
        /// Means 1 and also arms the device's own dead-man timer, after which it goes to 0 by
        /// itself; said in place of `on` if there is one.
        dead_man: Option<String>,
    },
    /// A number in a text.
    Number {
        /// The text; `{v}` stands for the number.
        template: String,
        /// Factor to the base unit, with the vendor's sign in it: `value = number * factor`.
        factor: f64,
        /// Digits behind the decimal point that the device takes.
        decimals: u8,
        /// Values that the device takes, in the base unit; others are never said to it.
        range: (f64, f64),
        /// Largest difference, in the base unit, between what is said and what the device reports.
        tolerance: f64,
    },
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
