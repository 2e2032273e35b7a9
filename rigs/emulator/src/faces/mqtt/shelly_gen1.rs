//! Topics and payloads of Shelly firmware of the first generation.
//!
//! Each value has a topic of its own under `shellies/NAME/`; the relay is commanded on
//! `relay/0/command`, and `command` (own or everybody's) makes it announce itself or tell
//! all. The energy counter counts watt-minutes.

use std::time::Duration;

use profile::mqtt::Message;
use serde_json::json;

use super::{Talker, message, position, rounded};

/// Time between reports. Source: the maker's default update period, 30 s.
const UPDATE_PERIOD: Duration = Duration::from_secs(30);

/// Change of power that is told at once, in watts and as a fraction.
/// Chosen: above the noise of a quiet load.
const CHANGE: (f64, f64) = (2.0, 0.05);

pub(super) fn hear(plug: &mut Talker, heard: &Message) -> Vec<Message> {
    let payload = String::from_utf8_lossy(&heard.payload);
    if heard.topic.ends_with("/relay/0/command") {
        let Some(on) = position(&payload, plug.reading().on) else {
            return Vec::new();
        };
        plug.switch(on, None);
        return tick(plug);
    }
    match payload.trim() {
        "announce" => vec![announcement(plug)],
        "update" => update(plug),
        _ => Vec::new(),
    }
}

pub(super) fn tick(plug: &mut Talker) -> Vec<Message> {
    let reading = plug.reading();
    if plug.has_news(&reading, CHANGE, UPDATE_PERIOD) {
        update(plug)
    } else {
        Vec::new()
    }
}

/// All values; what is not known is left out.
fn update(plug: &Talker) -> Vec<Message> {
    let reading = plug.reading();
    let topic = |tail: &str| format!("shellies/{}/{tail}", plug.topic);
    let mut said = Vec::new();
    if let Some(on) = reading.on {
        let word = if on { "on" } else { "off" };
        said.push(message(topic("relay/0"), word, true));
    }
    if let Some(p) = reading.p {
        let watts = format!("{:.2}", rounded(p, 2));
        said.push(message(topic("relay/0/power"), watts, false));
    }
    if let Some(wh) = reading.wh {
        let watt_minutes = (wh * 60.0).floor().to_string();
        said.push(message(topic("relay/0/energy"), watt_minutes, false));
    }
    said
}

fn announcement(plug: &Talker) -> Message {
    let own = json!({
        "id": plug.topic, "model": "SHPLG-EMULATED", "mac": "000000000000", "ip": "127.0.0.1",
        "new_fw": false, "fw_ver": env!("CARGO_PKG_VERSION"),
    });
    message("shellies/announce".into(), own.to_string(), false)
}
