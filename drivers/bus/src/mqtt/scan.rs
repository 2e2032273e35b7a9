//! Listening to a broker without knowing who speaks there. Nothing is ever published.
//!
//! Responsible for subscribing to the topics on which devices announce themselves, and
//! for comparing what comes with the topics that profiles know. The broker keeps most
//! announcements, so a few seconds are enough; a device that speaks only when asked is
//! found by its last will, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use profile::mqtt::{Message, MqttProfile};
use profile::{Profile, Protocol};
use tokio::time::{Instant, timeout_at};

use super::link::{Broker, BrokerLink, Heard, Link, LinkError, client_id};
use crate::{BusSpec, Endpoint};

/// Topics of whole families of devices, besides those of the profiles.
/// Source: Shelly Gen1 MQTT documentation (announce), Tasmota MQTT discovery, Zigbee2MQTT MQTT
/// topics (bridge), Victron dbus-flashmq (serial number of the portal).
const ANNOUNCEMENTS: &[&str] = &[
    "shellies/announce",
    "shellies/+/announce",
    "tasmota/discovery/+/config",
    "zigbee2mqtt/bridge/state",
    "zigbee2mqtt/bridge/devices",
    "N/+/system/0/Serial",
];

/// Most messages and bytes that are kept. Chosen: a list of bridge devices is some 100 KiB, and a
/// few thousand retained messages are a large house.
const MESSAGES_MAX: usize = 10_000;
const BYTES_MAX: usize = 16 << 20;

/// A device that was heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What stands for `{t}` in its profile.
    pub topic: String,
    /// The profiles that fit, the best one first, each with the number of its topics that came.
    pub candidates: Vec<(Arc<Profile>, usize)>,
    /// Whether its last will says that it is away.
    pub is_away: bool,
}

/// Listens for some time.
///
/// # Errors
/// When the broker cannot be reached within that time, refuses the login, or is lost.
pub async fn listen(
    spec: BusSpec,
    profiles: &[Arc<Profile>],
    during: Duration,
) -> Result<Vec<Message>, LinkError> {
    let Endpoint::Broker(broker) = spec.endpoint else {
        return Err(LinkError::Transport {
            why: "this endpoint is no MQTT broker".to_owned(),
        });
    };
    let process = std::process::id().to_le_bytes();
    let id = client_id(&[b"scan", spec.id.as_bytes(), &process]);
    // Whoever only listens does not tell that it is there either.
    let broker = Broker {
        status: None,
        ..broker
    };
    let mut link = BrokerLink::new(&broker, &id, spec.seed)?;
    for filter in filters(profiles) {
        link.subscribe(&filter);
    }
    let end = Instant::now() + during;
    let mut is_up = false;
    let mut bytes = 0;
    let mut messages: Vec<Message> = Vec::new();
    while let Ok(heard) = timeout_at(end, link.next()).await {
        match heard {
            Heard::Up => is_up = true,
            Heard::Message(message) => {
                bytes += message.topic.len() + message.payload.len();
                messages.push(message);
                if messages.len() >= MESSAGES_MAX || bytes >= BYTES_MAX {
                    break;
                }
            }
            Heard::Down(error) => return Err(error),
            Heard::Acknowledged(_) | Heard::SubscriptionRefused | Heard::Barred { .. } => {}
        }
    }
    link.close().await;
    if is_up {
        Ok(messages)
    } else {
        Err(LinkError::Transport {
            why: format!("no connection within {} s", during.as_secs_f64()),
        })
    }
}

fn filters(profiles: &[Arc<Profile>]) -> BTreeSet<String> {
    let announcements = ANNOUNCEMENTS.iter().map(|topic| (*topic).to_owned());
    let own = profiles
        .iter()
        .filter_map(mqtt)
        .flat_map(templates)
        .map(|template| template.replace("{t}", "+"));
    announcements.chain(own).collect()
}

fn mqtt(profile: &Arc<Profile>) -> Option<&MqttProfile> {
    match &profile.protocol {
        Protocol::Mqtt(mqtt) => Some(mqtt),
        _ => None,
    }
}

/// The topics on which a device of this profile speaks unasked and by its name.
fn templates(mqtt: &MqttProfile) -> Vec<&str> {
    let spoken = mqtt.topics.iter().map(|topic| topic.subscribe.as_str());
    let will = mqtt.availability.iter().map(|a| a.topic.as_str());
    spoken
        .chain(will)
        // A topic that is nothing but the device's own fits everybody's.
        .filter(|template| template.matches("{t}").count() == 1 && *template != "{t}")
        .filter(|template| !template.contains("{c}"))
        .collect()
}

/// What stands for `{t}`, if a topic is one of the template; one level of a topic only.
fn name_in<'a>(template: &str, topic: &'a str) -> Option<&'a str> {
    let (before, after) = template.split_once("{t}")?;
    let name = topic.strip_prefix(before)?.strip_suffix(after)?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// The devices whose messages fit to profiles, in the order of their names.
#[must_use]
pub fn devices(messages: &[Message], profiles: &[Arc<Profile>]) -> Vec<Found> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for profile in profiles {
        let Some(mqtt) = mqtt(profile) else { continue };
        let mut topics: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut away: BTreeSet<&str> = BTreeSet::new();
        let mut others: BTreeSet<&str> = BTreeSet::new();
        for template in templates(mqtt) {
            for message in messages {
                let Some(name) = name_in(template, &message.topic) else {
                    continue;
                };
                if let Some(will) = mqtt.availability.as_ref().filter(|a| a.topic == template) {
                    let says = |word: &str| message.payload == word.as_bytes();
                    if says(&will.offline) {
                        away.insert(name);
                    } else if !says(&will.online) {
                        // Another family uses the same topic with other words.
                        others.insert(name);
                        continue;
                    }
                }
                topics.entry(name).or_default().insert(template);
            }
        }
        for (name, templates) in topics
            .into_iter()
            .filter(|(name, _)| !others.contains(name))
        {
            let one = found.entry(name.to_owned()).or_insert_with(|| Found {
                topic: name.to_owned(),
                candidates: Vec::new(),
                is_away: false,
            });
            one.is_away |= away.contains(name);
            one.candidates.push((Arc::clone(profile), templates.len()));
        }
    }
    for one in found.values_mut() {
        one.candidates
            .sort_by(|(a, seen_a), (b, seen_b)| seen_b.cmp(seen_a).then(a.id.cmp(&b.id)));
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(messages: &[(&str, &str)], expected: &[(&str, &str, bool)]) {
        let messages: Vec<Message> = messages
            .iter()
            .map(|(topic, payload)| Message {
                topic: (*topic).to_owned(),
                payload: payload.as_bytes().to_vec(),
                retain: true,
            })
            .collect();
        let profiles: Vec<_> = ["tasmota/plug", "shelly/gen2-plug"]
            .iter()
            .filter_map(|id| profile::bundled(id))
            .collect();
        let found = devices(&messages, &profiles);
        let told: Vec<_> = found
            .iter()
            .map(|f| (f.topic.as_str(), &*f.candidates[0].0.id, f.is_away))
            .collect();
        assert_eq!(told, expected, "{messages:?}");
    }

    #[test]
    fn plugs_are_found_by_their_last_wills_and_telemetry() {
        check(
            &[
                ("tele/p1/LWT", "Online"),
                ("tele/p1/SENSOR", "{}"),
                ("tele/p2/LWT", "Offline"),
                ("shellyplus1pm-1/online", "true"),
            ],
            &[
                ("p1", "tasmota/plug", false),
                ("p2", "tasmota/plug", true),
                ("shellyplus1pm-1", "shelly/gen2-plug", false),
            ],
        );
    }

    #[test]
    fn a_topic_of_another_family_is_no_find() {
        check(&[("zigbee/online", "yes"), ("tele/a/b/LWT", "Online")], &[]);
        check(
            &[("tele//LWT", "Online"), ("N/c0/system/0/Serial", "{}")],
            &[],
        );
    }
}
