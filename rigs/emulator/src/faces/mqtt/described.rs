//! A device that is nothing but its profile: whatever a user has described speaks.
//!
//! It tells every topic of the profile with payloads made from its pointers, words and
//! factors; it answers what the profile asks and obeys what the profile commands. It knows
//! no more of the real firmware than the profile does, so it proves that a profile is whole,
//! not that it is right: that takes the device.

use std::time::Duration;

use model::Point;
use profile::mqtt::{Message, MqttProfile, Payload, TOPIC_LEVELS_MAX, Topic, Value as Mapped};
use serde_json::{Map, Value};

use super::{Talker, message, rounded};

/// Change of power that is told at once, in watts and as a fraction.
/// Chosen: above the noise of a quiet load.
const CHANGE: (f64, f64) = (2.0, 0.05);

/// A part of the profile's time-out after which everything is told again.
/// Chosen: a third, so that one lost message does not make a device stale.
const TELL_WITHIN: u32 = 3;

/// Decimals of a number in a payload.
/// Chosen: a millionth; a profile's factor may make small numbers of large values.
const DECIMALS: i32 = 6;

pub(super) fn presence(profile: &MqttProfile, topic: &str, there: bool) -> Option<Message> {
    let will = profile.availability.as_ref()?;
    let word = if there { &will.online } else { &will.offline };
    let payload = match &will.json {
        None => word.clone(),
        Some(pointer) => {
            let mut object = Value::Object(Map::new());
            put(&mut object, pointer, told_word(word));
            object.to_string()
        }
    };
    Some(message(filled(&will.topic, topic), payload, true))
}

pub(super) fn filters(profile: &MqttProfile, topic: &str) -> Vec<String> {
    let asked = profile.requests.iter().map(|r| &r.topic);
    let told = profile.commands.iter().map(|c| &c.topic);
    let mut all: Vec<String> = asked.chain(told).map(|t| filled(t, topic)).collect();
    // A topic below the controller's own cannot be known before it is used.
    all.retain(|filter| !filter.contains("{c}"));
    all.sort_unstable();
    all.dedup();
    all
}

pub(super) fn hear(device: &mut Talker, profile: &MqttProfile, heard: &Message) -> Vec<Message> {
    let payload = String::from_utf8_lossy(&heard.payload).into_owned();
    let own = device.topic.clone();
    for command in &profile.commands {
        if filled(&command.topic, &own) != heard.topic {
            continue;
        }
        let order = match &command.payload {
            Payload::Switch { on, off, dead_man } => [
                (dead_man.as_ref(), 1.0, command.revert),
                (Some(on), 1.0, None),
                (Some(off), 0.0, None),
            ]
            .into_iter()
            .find_map(|(text, value, revert)| {
                let heard = matched(&filled(text?, &own), &payload)?;
                Some((heard, value, revert))
            }),
            Payload::Number {
                template, factor, ..
            } => matched(&filled(template, &own), &payload).and_then(|heard| {
                let number: f64 = heard.number.as_deref()?.parse().ok()?;
                Some((heard, number * factor, command.revert))
            }),
        };
        if let Some((heard, value, revert)) = order {
            device.own.asker = heard.asker.or(device.own.asker.take());
            device.write(command.point, value, revert);
            return tell(device, profile);
        }
    }
    for request in &profile.requests {
        if filled(&request.topic, &own) == heard.topic
            && let Some(heard) = matched(&filled(&request.payload, &own), &payload)
        {
            device.own.asker = heard.asker.or(device.own.asker.take());
            return tell(device, profile);
        }
    }
    Vec::new()
}

pub(super) fn tick(device: &mut Talker, profile: &MqttProfile) -> Vec<Message> {
    let reading = device.reading();
    let every = (profile.timeout / TELL_WITHIN).max(Duration::from_millis(1));
    if device.has_news(&reading, CHANGE, every) {
        tell(device, profile)
    } else {
        Vec::new()
    }
}

/// Everything that is known.
fn tell(device: &mut Talker, profile: &MqttProfile) -> Vec<Message> {
    let reading = device.reading();
    let _ = device.has_news(&reading, CHANGE, Duration::ZERO);
    let topics = profile.topics.iter();
    topics.filter_map(|topic| told(device, topic)).collect()
}

/// A topic with what is known of its values; nothing when nothing is.
fn told(device: &Talker, topic: &Topic) -> Option<Message> {
    let mut to = filled(&topic.subscribe, &device.topic);
    if to.contains("{c}") {
        to = to.replace("{c}", device.own.asker.as_deref()?);
    }
    let world = device.world.lock();
    let mut object = Value::Object(Map::new());
    let mut plain = None;
    let mut known = false;
    for mapped in &topic.values {
        let Some(value) = world.value(device.device, mapped.point) else {
            continue;
        };
        known = true;
        let value = shown(mapped, value);
        match &mapped.json {
            Some(pointer) => put(&mut object, pointer, value),
            None => {
                plain = Some(match value {
                    Value::String(word) => word,
                    other => other.to_string(),
                });
            }
        }
    }
    let payload = plain.unwrap_or_else(|| object.to_string());
    known.then(|| message(to, payload, false))
}

/// A value as the device shows it: a word where the profile knows one, else a number.
fn shown(mapped: &Mapped, value: f64) -> Value {
    let raw = rounded(value / mapped.factor, DECIMALS);
    let word = mapped.words.iter().find(|(_, number)| *number == raw);
    match word {
        Some((word, _)) => told_word(word),
        None if mapped.point == Point::SwitchOn && mapped.json.is_some() => (raw >= 0.5).into(),
        None => raw.into(),
    }
}

/// `true` and `false` are words of JSON itself.
fn told_word(word: &str) -> Value {
    match word {
        "true" => true.into(),
        "false" => false.into(),
        word => word.into(),
    }
}

/// Puts a value where a pointer leads, making the objects and lists on the way.
fn put(root: &mut Value, pointer: &str, value: Value) {
    let mut place = root;
    for step in pointer.split('/').skip(1) {
        let name = step.replace("~1", "/").replace("~0", "~");
        place = match name.parse::<usize>() {
            // Chosen: a list of 16; no device has more phases or channels than that.
            Ok(index @ 0..16) if place.as_object().is_none_or(Map::is_empty) => {
                if !place.is_array() {
                    *place = Value::Array(Vec::new());
                }
                let Some(list) = place.as_array_mut() else {
                    return;
                };
                if list.len() <= index {
                    list.resize(index + 1, Value::Null);
                }
                &mut list[index]
            }
            _ => {
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                let Some(object) = place.as_object_mut() else {
                    return;
                };
                object.entry(name).or_insert(Value::Null)
            }
        };
    }
    *place = value;
}

/// A template with the device's own topic in it; `{c}` and `{v}` stay.
fn filled(template: &str, topic: &str) -> String {
    let mut text = template.replace("{t}", topic);
    for (n, level) in topic.split('/').take(TOPIC_LEVELS_MAX).enumerate() {
        text = text.replace(&format!("{{t.{}}}", n + 1), level);
    }
    text
}

/// What stood at the open places of a template.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    asker: Option<String>,
    number: Option<String>,
}

/// Whether a payload fits a template, and what it has at `{c}` and `{v}`.
///
/// A place ends where the text behind it begins; the same place twice keeps the first.
fn matched(template: &str, payload: &str) -> Option<Heard> {
    let mut heard = Heard::default();
    let mut template = template;
    let mut payload = payload;
    loop {
        let next = ["{c}", "{v}"]
            .into_iter()
            .filter_map(|mark| Some((template.find(mark)?, mark)))
            .min();
        let Some((at, mark)) = next else {
            return (template == payload).then_some(heard);
        };
        payload = payload.strip_prefix(&template[..at])?;
        template = &template[at + mark.len()..];
        let marks = ["{c}", "{v}"].into_iter().filter_map(|m| template.find(m));
        let fixed = &template[..marks.min().unwrap_or(template.len())];
        let end = if fixed.is_empty() {
            payload.len()
        } else {
            payload.find(fixed)?
        };
        let found = payload[..end].to_owned();
        payload = &payload[end..];
        match mark {
            "{c}" => heard.asker = heard.asker.or(Some(found)),
            _ => heard.number = heard.number.or(Some(found)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn templates_are_recognised_with_what_stands_in_their_places() {
        let heard = |asker: Option<&str>, number: Option<&str>| {
            Some(Heard {
                asker: asker.map(str::to_owned),
                number: number.map(str::to_owned),
            })
        };
        for (template, payload, expected) in [
            ("ON", "ON", heard(None, None)),
            ("ON", "OFF", None),
            ("", "", heard(None, None)),
            (r#"{"w":{v}}"#, r#"{"w":-12.5}"#, heard(None, Some("-12.5"))),
            (r#"{"w":{v}}"#, r#"{"w":}"#, heard(None, Some(""))),
            (r#"{"w":{v}}"#, r#"{"x":1}"#, None),
            ("{v}", "17", heard(None, Some("17"))),
            (
                r#"{"src":"{c}/p","params":{"v":{v}}}"#,
                r#"{"src":"gridrig/a/p","params":{"v":3}}"#,
                heard(Some("gridrig/a"), Some("3")),
            ),
        ] {
            assert_eq!(matched(template, payload), expected, "{template} {payload}");
        }
    }

    #[test]
    fn values_are_put_where_pointers_lead() {
        let mut root = Value::Object(Map::new());
        for (pointer, value) in [
            ("/ENERGY/Power", 1.0),
            ("/ENERGY/Voltage/1", 2.0),
            ("/ENERGY/Voltage/0", 3.0),
            ("/switch:0/a~1b", 4.0),
        ] {
            put(&mut root, pointer, value.into());
        }
        assert_eq!(
            root.to_string(),
            r#"{"ENERGY":{"Power":1.0,"Voltage":[3.0,2.0]},"switch:0":{"a/b":4.0}}"#
        );
    }

    proptest! {
        #[test]
        fn no_template_and_no_payload_make_it_panic(
            template in "[{}cvt./a\"]{0,20}",
            payload in "\\PC{0,20}",
            pointer in "(/[0-9a~]{0,3}){0,4}",
        ) {
            let _ = matched(&template, &payload);
            put(&mut Value::Null, &pointer, 1.into());
        }
    }
}
