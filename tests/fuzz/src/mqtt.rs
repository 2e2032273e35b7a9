//! MQTT: payloads to values, topics against filters, announcements to devices.

use std::sync::{Arc, LazyLock};

use bus::mqtt::{codec, scan as look, topic};
use model::Reading;
use profile::mqtt::{Message, Topic};
use profile::{Profile, Protocol};

use crate::choice;

static TOPICS: LazyLock<Vec<Topic>> = LazyLock::new(|| {
    profile::bundled_ids()
        .into_iter()
        .filter_map(profile::bundled)
        .filter_map(|profile| match &profile.protocol {
            Protocol::Mqtt(mqtt) => Some(mqtt.topics.clone()),
            _ => None,
        })
        .flatten()
        .collect()
});

/// A payload under any topic of a bundled profile: a value that is believed is a number
/// inside its range.
pub fn payload(bytes: &[u8]) {
    let Some((number, payload)) = choice(bytes, TOPICS.len()) else {
        return;
    };
    let values = &TOPICS[number].values;
    for (point, reading) in codec::decode(values, payload) {
        if let Reading::Good(value) = reading {
            assert!(
                values
                    .iter()
                    .filter(|v| v.point == point)
                    .any(|v| v.range.0 <= value && value <= v.range.1),
                "{point} is {value}, outside of every range"
            );
        }
    }
}

/// A filter and a topic, told apart by a line feed: a plain topic matches itself.
pub fn topic(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (filter, name) = text.split_once('\n').unwrap_or((&text, ""));
    let _ = topic::matches(filter, name);
    if topic::is_plain(filter) {
        assert!(topic::matches(filter, filter), "{filter:?}");
    }
    if let Ok(filled) = topic::fill(filter, Some(name), "reply") {
        assert!(!filled.contains("{t}") || name.contains("{t}") || name.contains("{c}"));
    }
}

static PROFILES: LazyLock<Vec<Arc<Profile>>> = LazyLock::new(|| {
    profile::bundled_ids()
        .into_iter()
        .filter_map(profile::bundled)
        .collect()
});

/// What a broker keeps, a topic and a payload on two lines each: a device that is found can be
/// subscribed to, and is found once.
pub fn scan(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut messages = Vec::new();
    while let (Some(topic), Some(payload)) = (lines.next(), lines.next()) {
        messages.push(Message {
            topic: String::from_utf8_lossy(topic).into_owned(),
            payload: payload.to_vec(),
            retain: true,
        });
    }
    let found = look::devices(&messages, &PROFILES);
    for device in &found {
        assert!(!device.candidates.is_empty(), "{:?}", device.topic);
        let same = found.iter().filter(|other| other.topic == device.topic);
        assert_eq!(same.count(), 1, "{:?} is found twice", device.topic);
    }
}
