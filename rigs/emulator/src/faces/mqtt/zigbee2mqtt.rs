//! Topics and payloads of a metering plug behind a Zigbee2MQTT bridge.
//!
//! All values come in one JSON object on the plug's own topic, when something changes or
//! when `/get` asks; `/set` switches, with `on_time` for a timer in the plug itself.

use std::time::Duration;

use profile::mqtt::Message;
use serde_json::{Map, Value};

use super::{Reading, Talker, message, position, positive_seconds, rounded};

/// Longest time between two reports of a plug that nobody asks.
/// Source: device pages of the bridge, measurement reporting of at most an hour; chosen 60 s,
/// as plugs of the last years report.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// Change of power that is told at once, in watts and as a fraction.
/// Chosen: usual reporting threshold of such plugs.
const CHANGE: (f64, f64) = (5.0, 0.05);

pub(super) fn hear(plug: &mut Talker, heard: &Message) -> Vec<Message> {
    let Ok(Value::Object(asked)) = serde_json::from_slice(&heard.payload) else {
        return Vec::new();
    };
    if heard.topic.ends_with("/get") {
        return vec![state(plug, &plug.reading())];
    }
    let word = asked.get("state").and_then(Value::as_str);
    let Some(on) = word.and_then(|word| position(word, plug.reading().on)) else {
        return Vec::new();
    };
    let timer = asked.get("on_time").and_then(Value::as_f64);
    plug.switch(on, timer.filter(|_| on).and_then(positive_seconds));
    // The bridge confirms every command, also one that changes nothing.
    let reading = plug.reading();
    let _ = plug.has_news(&reading, CHANGE, REPORT_EVERY);
    vec![state(plug, &reading)]
}

pub(super) fn tick(plug: &mut Talker) -> Vec<Message> {
    let reading = plug.reading();
    if plug.has_news(&reading, CHANGE, REPORT_EVERY) {
        vec![state(plug, &reading)]
    } else {
        Vec::new()
    }
}

fn state(plug: &Talker, reading: &Reading) -> Message {
    let mut state = Map::new();
    let mut put = |name: &str, value: Option<f64>, decimals| {
        // What is not known is left out; it is never told as zero.
        if let Some(value) = value {
            state.insert(name.into(), rounded(value, decimals).into());
        }
    };
    put("power", reading.p, 1);
    put("voltage", reading.v, 1);
    put("current", reading.i, 3);
    put("energy", reading.wh.map(|wh| wh / 1000.0), 3);
    if let Some(on) = reading.on {
        state.insert("state".into(), if on { "ON" } else { "OFF" }.into());
    }
    state.insert("linkquality".into(), 120.into());
    message(plug.topic.clone(), Value::from(state).to_string(), false)
}
