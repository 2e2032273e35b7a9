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
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::link::{Broker, BrokerLink, Heard, Link, LinkError, client_id};
use super::{codec, topic};
use crate::{BusSpec, Endpoint};

/// Topics of whole families of devices, besides those of the profiles.
/// Source: Shelly Gen1 MQTT documentation (announce), Tasmota MQTT discovery, Zigbee2MQTT MQTT
/// topics (bridge), Victron dbus-flashmq (serial number of the portal).
const ANNOUNCEMENTS: &[&str] = &[
    "shellies/announce",
    "shellies/+/announce",
    "tasmota/discovery/+/config",
    "+/bridge/state",
    "+/bridge/devices",
    "N/+/system/0/Serial",
];

/// Most messages and bytes that are kept. Chosen: a list of bridge devices is some 100 KiB, and a
/// few thousand retained messages are a large house.
const MESSAGES_MAX: usize = 10_000;
const BYTES_MAX: usize = 16 << 20;

/// Most levels of a device's own topic that are looked for. Chosen: 3, a bridge's base topic and a
/// name such as `kitchen/plug`; each more is one more subscription per topic of a profile.
const NAME_LEVELS_MAX: usize = 3;

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
        .flat_map(subscriptions);
    announcements.chain(own).collect()
}

/// Filters for a template, whichever device speaks.
fn subscriptions(template: &str) -> Vec<String> {
    if template.contains("{t}") {
        let names = (1..=NAME_LEVELS_MAX).map(|levels| vec!["+"; levels].join("/"));
        return names.map(|name| template.replace("{t}", &name)).collect();
    }
    let levels = template.split('/');
    let levels = levels.map(|level| level_number(level).map_or(level, |_| "+"));
    vec![levels.collect::<Vec<_>>().join("/")]
}

fn mqtt(profile: &Arc<Profile>) -> Option<&MqttProfile> {
    match &profile.protocol {
        Protocol::Mqtt(mqtt) => Some(mqtt),
        _ => None,
    }
}

/// Which level of a device's topic a level of a template stands for.
fn level_number(level: &str) -> Option<usize> {
    level.strip_prefix("{t.")?.strip_suffix('}')?.parse().ok()
}

/// The topics on which a device of this profile speaks unasked and by its name.
fn templates(mqtt: &MqttProfile) -> Vec<&str> {
    let spoken = mqtt.topics.iter().map(|topic| topic.subscribe.as_str());
    let will = mqtt.availability.iter().map(|a| a.topic.as_str());
    // A wildcard stands for whole levels only. A topic that is nothing but the device's own fits
    // everybody's.
    let is_named = |template: &&str| {
        let levels = || template.split('/');
        let whole = levels().filter(|level| *level == "{t}").count();
        let marks = template.matches("{t").count();
        let numbered = levels().filter(|l| level_number(l).is_some()).count();
        marks > 0 && (marks == whole && whole == 1 || marks == numbered) && *template != "{t}"
    };
    spoken
        .chain(will)
        .filter(is_named)
        .filter(|template| !template.contains("{c}"))
        .collect()
}

/// What a topic says of the name of the device that speaks there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    /// All of it.
    Whole(String),
    /// Some of its levels, by number.
    Levels(BTreeMap<usize, String>),
}

impl Name {
    /// The device's topic, when all of so many levels are known.
    fn topic(&self, levels: usize) -> Option<String> {
        match self {
            Self::Whole(name) => Some(name.clone()),
            Self::Levels(known) => {
                let all = (1..=levels).map(|n| known.get(&n).map(String::as_str));
                Some(all.collect::<Option<Vec<_>>>()?.join("/"))
            }
        }
    }

    /// Whether it says nothing else than this name.
    fn fits(&self, topic: &str) -> bool {
        match self {
            Self::Whole(name) => name == topic,
            Self::Levels(known) => {
                let levels: Vec<&str> = topic.split('/').collect();
                known
                    .iter()
                    .all(|(n, level)| levels.get(n - 1) == Some(&level.as_str()))
            }
        }
    }
}

/// The name in a topic, if it is one of the template.
fn name_in(template: &str, topic: &str) -> Option<Name> {
    if let Some((before, after)) = template.split_once("{t}") {
        let name = topic.strip_prefix(before)?.strip_suffix(after)?;
        let mut levels = name.split('/');
        let fits = levels.all(|l| !l.is_empty()) && name.split('/').count() <= NAME_LEVELS_MAX;
        return fits.then(|| Name::Whole(name.to_owned()));
    }
    let (wanted, heard) = (template.split('/'), topic.split('/'));
    if wanted.clone().count() != heard.clone().count() {
        return None;
    }
    let mut known = BTreeMap::new();
    for (wanted, heard) in wanted.zip(heard) {
        match level_number(wanted) {
            Some(n) if !heard.is_empty() => {
                // A level that stands there twice must be the same.
                let before = known.insert(n, heard.to_owned());
                if before.is_some_and(|b| b != heard) {
                    return None;
                }
            }
            None if wanted == heard => {}
            Some(_) | None => return None,
        }
    }
    Some(Name::Levels(known))
}

/// How many letters of a template are its own: of two that fit a topic, the one with more says
/// better who speaks there.
fn own_letters(template: &str) -> usize {
    let marks: usize = template
        .split('/')
        .filter(|level| *level == "{t}" || level_number(level).is_some())
        .map(str::len)
        .sum();
    template.len() - marks
}

/// What one profile has heard.
#[derive(Default)]
struct Ear<'a> {
    /// Templates by what their topics say of the name.
    heard: BTreeMap<Name, BTreeSet<&'a str>>,
    away: BTreeSet<Name>,
    /// Another family uses the same topic with other words.
    others: BTreeSet<Name>,
}

impl<'a> Ear<'a> {
    fn hear(&mut self, mqtt: &'a MqttProfile, template: &'a str, name: Name, message: &Message) {
        if let Some(will) = mqtt.availability.as_ref().filter(|a| a.topic == template) {
            let word = codec::word(will.json.as_deref(), &message.payload);
            if word.as_deref() == Some(&*will.offline) {
                self.away.insert(name.clone());
            } else if word.as_deref() != Some(&*will.online) {
                self.others.insert(name);
                return;
            }
        }
        self.heard.entry(name).or_default().insert(template);
    }

    /// The devices by their topics, each with the number of templates that came, and whether it
    /// is away.
    fn devices(&self, levels: usize) -> Vec<(String, usize, bool)> {
        let topics: BTreeSet<String> = self.heard.keys().filter_map(|n| n.topic(levels)).collect();
        let fitting = |topic: &str, names: &BTreeSet<Name>| names.iter().any(|n| n.fits(topic));
        topics
            .into_iter()
            .filter(|topic| !fitting(topic, &self.others))
            .map(|topic| {
                let came = self.heard.iter().filter(|(name, _)| name.fits(&topic));
                let templates: BTreeSet<&str> = came.flat_map(|(_, t)| t.iter().copied()).collect();
                let is_away = fitting(&topic, &self.away);
                (topic, templates.len(), is_away)
            })
            .collect()
    }
}

/// Topics of the devices behind bridges of Zigbee2MQTT, with the values that each has.
fn bridged(messages: &[Message]) -> Vec<(String, BTreeSet<String>)> {
    let mut devices = Vec::new();
    for message in messages {
        let Some(base) = message.topic.strip_suffix("/bridge/devices") else {
            continue;
        };
        let Ok(Value::Array(list)) = serde_json::from_slice(&message.payload) else {
            continue;
        };
        for device in list {
            let name = device["friendly_name"]
                .as_str()
                .filter(|n| topic::is_plain(n));
            let mut values = BTreeSet::new();
            collect_properties(&device["definition"]["exposes"], &mut values);
            if let (Some(name), false) = (name, values.is_empty()) {
                devices.push((format!("{base}/{name}"), values));
            }
        }
    }
    devices
}

/// All `property` texts in a value: what a bridge exposes is nested once or twice (the JSON reader
/// itself limits the depth).
fn collect_properties(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_properties(item, into)),
        Value::Object(members) => {
            into.extend(
                members
                    .get("property")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            members
                .values()
                .for_each(|member| collect_properties(member, into));
        }
        _ => {}
    }
}

/// Whether a bridged device with these values is one of the profile: it speaks on its own topic,
/// has everything that the profile commands, and something to measure.
fn is_bridged(mqtt: &MqttProfile, has: &BTreeSet<String>) -> bool {
    let Some(topic) = mqtt.topics.iter().find(|t| t.subscribe == "{t}") else {
        return false;
    };
    let said = |value: &&profile::mqtt::Value| {
        let pointer = value.json.as_deref().unwrap_or("");
        has.contains(pointer.trim_start_matches('/'))
    };
    let points: Vec<model::Point> = topic.values.iter().filter(said).map(|v| v.point).collect();
    let commands = |point: &model::Point| mqtt.commands.iter().any(|c| c.point == *point);
    let measures = points.iter().any(|point| !commands(point));
    measures && mqtt.commands.iter().all(|c| points.contains(&c.point))
}

/// The devices whose messages fit to profiles, in the order of their names.
#[must_use]
pub fn devices(messages: &[Message], profiles: &[Arc<Profile>]) -> Vec<Found> {
    let known: Vec<(&Arc<Profile>, &MqttProfile, Vec<&str>)> = profiles
        .iter()
        .filter_map(|profile| mqtt(profile).map(|mqtt| (profile, mqtt, templates(mqtt))))
        .collect();
    let mut ears: Vec<Ear<'_>> = known.iter().map(|_| Ear::default()).collect();
    for message in messages {
        let mut fits = Vec::new();
        for (index, (_, mqtt, templates)) in known.iter().enumerate() {
            for template in templates {
                if let Some(name) = name_in(template, &message.topic) {
                    fits.push((own_letters(template), index, *mqtt, *template, name));
                }
            }
        }
        let best = fits.iter().map(|(letters, ..)| *letters).max();
        for (letters, index, mqtt, template, name) in fits {
            if Some(letters) == best {
                ears[index].hear(mqtt, template, name, message);
            }
        }
    }
    let bridged = bridged(messages);
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for ((profile, mqtt, _), ear) in known.iter().zip(&ears) {
        let mut devices = ear.devices(mqtt.topic_levels().max(1));
        for (topic, has) in &bridged {
            // The list of a bridge knows better than its topics what is behind it.
            let place = devices.iter().position(|(known, ..)| known == topic);
            match (is_bridged(mqtt, has), place) {
                (true, Some(n)) => devices[n].1 += 1,
                (true, None) => devices.push((topic.clone(), 1, false)),
                (false, Some(n)) => drop(devices.remove(n)),
                (false, None) => {}
            }
        }
        for (topic, templates, is_away) in devices {
            let one = found.entry(topic.clone()).or_insert_with(|| Found {
                topic,
                candidates: Vec::new(),
                is_away: false,
            });
            one.is_away |= is_away;
            one.candidates.push((Arc::clone(profile), templates));
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
        let profiles: Vec<_> = profile::bundled_ids()
            .into_iter()
            .filter_map(profile::bundled)
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
        check(
            &[("zigbee/online", "yes"), ("tele/a/b/c/d/LWT", "Online")],
            &[],
        );
        check(
            &[("tele//LWT", "Online"), ("N/c0/system/0/Serial", "{}")],
            &[],
        );
    }

    #[test]
    fn what_speaks_with_other_words_is_another_family_and_a_name_is_the_same_throughout() {
        check(&[("tele/p1/SENSOR", "{}"), ("tele/p1/LWT", "perhaps")], &[]);
        let twice = "N/{t.1}/vebus/{t.2}/of/{t.1}";
        assert_eq!(name_in(twice, "N/a/vebus/2/of/b"), None);
        let levels = [(1, "a".to_owned()), (2, "2".to_owned())];
        assert_eq!(
            name_in(twice, "N/a/vebus/2/of/a"),
            Some(Name::Levels(levels.into()))
        );
    }

    #[test]
    fn of_two_profiles_the_one_that_more_was_heard_of_is_first_and_a_last_will_counts_for_both() {
        let whole = profile::bundled("tasmota/plug").expect("bundled");
        let variant = |id: &str, change: fn(&mut MqttProfile)| {
            let mut profile = (*whole).clone();
            profile.id = id.into();
            if let Protocol::Mqtt(mqtt) = &mut profile.protocol {
                change(mqtt);
            }
            Arc::new(profile)
        };
        let no_will = variant("a/no-will", |mqtt| mqtt.availability = None);
        let message = |topic: &str, payload: &str| Message {
            topic: topic.to_owned(),
            payload: payload.into(),
            retain: true,
        };
        let messages = [
            message("tele/p1/LWT", "Offline"),
            message("tele/p1/SENSOR", "{}"),
        ];
        let found = devices(&messages, &[Arc::clone(&whole), no_will]);
        let [one] = found.as_slice() else {
            panic!("{found:?}");
        };
        let names: Vec<_> = one.candidates.iter().map(|(p, n)| (&*p.id, *n)).collect();
        assert_eq!(names, [("tasmota/plug", 2), ("a/no-will", 1)]);
        assert!(one.is_away);
    }

    #[test]
    fn a_name_may_have_several_levels() {
        check(
            &[("tele/a/b/LWT", "Online"), ("tele/a/b/SENSOR", "{}")],
            &[("a/b", "tasmota/plug", false)],
        );
        check(
            &[
                ("lab/shelly-1/online", "true"),
                ("lab/shelly-2/online", "false"),
            ],
            &[
                ("lab/shelly-1", "shelly/gen2-plug", false),
                ("lab/shelly-2", "shelly/gen2-plug", true),
            ],
        );
        // Both generations end in `online`; the one that names its family is right.
        check(
            &[("shellies/shellyplug-s-1/online", "true")],
            &[("shellyplug-s-1", "shelly/gen1-plug", false)],
        );
    }

    #[test]
    fn plugs_behind_a_bridge_are_found_by_its_list_and_by_their_availability() {
        let plug = r#"[{"type":"switch","features":[{"property":"state"}]},{"property":"power"}]"#;
        let lamp =
            r#"[{"type":"light","features":[{"property":"state"},{"property":"brightness"}]}]"#;
        let device = |name: &str, exposes: &str| {
            format!(r#"{{"friendly_name":"{name}","definition":{{"exposes":{exposes}}}}}"#)
        };
        let list = format!(
            r#"[{{"friendly_name":"Coordinator","definition":null}},{},{},{}]"#,
            device("kitchen/plug", plug),
            device("lamp", lamp),
            device("bad/#", plug)
        );
        check(
            &[
                ("zigbee2mqtt/bridge/devices", &list),
                ("zigbee2mqtt/lamp/availability", r#"{"state":"online"}"#),
                (
                    "zigbee2mqtt/kitchen/plug/availability",
                    r#"{"state":"offline"}"#,
                ),
            ],
            &[("zigbee2mqtt/kitchen/plug", "zigbee2mqtt/plug", true)],
        );
        // Without the list, what speaks as a plug's availability does may be one.
        check(
            &[("z2m/plug/availability", "online")],
            &[("z2m/plug", "zigbee2mqtt/plug", false)],
        );
        check(&[("z2m/bridge/devices", "{")], &[]);
    }

    #[test]
    fn a_portal_and_an_instance_are_put_together() {
        check(
            &[
                ("N/c0619ab/system/0/Serial", r#"{"value":"c0619ab"}"#),
                ("N/c0619ab/system/0/Dc/Battery/Soc", r#"{"value":52.1}"#),
                ("N/c0619ab/vebus/257/Ac/ActiveIn/L1/P", r#"{"value":10}"#),
                ("N/other/system/0/Dc/Battery/Soc", r#"{"value":1}"#),
            ],
            &[("c0619ab/257", "victron/gx-mqtt", false)],
        );
        // A portal that sleeps does not tell the instance.
        check(&[("N/c0619ab/system/0/Dc/Battery/Soc", "{}")], &[]);
    }

    #[test]
    fn subscriptions_take_whole_levels() {
        for (template, expected) in [
            (
                "tele/{t}/LWT",
                &["tele/+/LWT", "tele/+/+/LWT", "tele/+/+/+/LWT"][..],
            ),
            ("N/{t.1}/vebus/{t.2}/P", &["N/+/vebus/+/P"]),
        ] {
            assert_eq!(subscriptions(template), expected);
        }
        let all: Vec<_> = profile::bundled_ids()
            .into_iter()
            .filter_map(profile::bundled)
            .collect();
        for filter in filters(&all) {
            assert!(!filter.contains(['{', '#']), "{filter}");
            assert!(
                filter.split('/').all(|l| l == "+" || !l.contains('+')),
                "{filter}"
            );
            assert!(
                filter.split('/').any(|l| l != "+"),
                "{filter} is everything"
            );
        }
    }
}
