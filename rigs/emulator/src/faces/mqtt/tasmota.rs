//! Topics and payloads of Tasmota firmware.
//!
//! Commands come on `cmnd/T/NAME`, are answered on `stat/T/RESULT` and, for the relay,
//! on `stat/T/POWER`; telemetry goes out on `tele/T/STATE` and `tele/T/SENSOR`.

use std::time::Duration;

use model::UtcTime;
use profile::mqtt::Message;
use serde_json::{Map, Value, json};

use super::{Plug, Reading, message, rounded};

/// Time between telemetry messages.
/// Tasmota's default TelePeriod: 300 s.
const TELE_PERIOD: Duration = Duration::from_secs(300);

pub(super) fn hear(plug: &mut Plug, heard: &Message) -> Vec<Message> {
    let Some(command) = heard.topic.rsplit('/').next() else {
        return Vec::new();
    };
    let payload = String::from_utf8_lossy(&heard.payload).trim().to_owned();
    match command.to_ascii_uppercase().as_str() {
        "POWER" | "POWER1" => power(plug, &payload),
        "STATUS" => vec![status(plug, &payload)],
        "STATE" => vec![result(plug, &state(&plug.reading()))],
        _ => vec![result(plug, &json!({"Command": "Unknown"}))],
    }
}

pub(super) fn tick(plug: &mut Plug) -> Vec<Message> {
    let reading = plug.reading();
    let mut said = Vec::new();
    let due = plug
        .told
        .at
        .is_none_or(|at| reading.now >= at + TELE_PERIOD);
    if due {
        plug.told.at = Some(reading.now);
        said.push(message(
            format!("tele/{}/STATE", plug.topic),
            state(&reading).to_string(),
            false,
        ));
        said.push(message(
            format!("tele/{}/SENSOR", plug.topic),
            sensor(&reading).to_string(),
            false,
        ));
    }
    // A relay that moved by itself (a button, a timer) is told like one that was asked.
    if plug.told.on.is_some() && reading.on.is_some() && reading.on != plug.told.on {
        said.extend(relay(plug, reading.on));
    }
    plug.told.on = reading.on.or(plug.told.on);
    said
}

fn power(plug: &mut Plug, payload: &str) -> Vec<Message> {
    let now = plug.reading().on;
    let wanted = match payload.to_ascii_uppercase().as_str() {
        "ON" | "1" | "TRUE" => Some(true),
        "OFF" | "0" | "FALSE" => Some(false),
        "TOGGLE" | "2" => now.map(|on| !on),
        "" => None,
        _ => return vec![result(plug, &json!({"Command": "Error"}))],
    };
    if let Some(on) = wanted {
        plug.switch(on, None);
    }
    let reading = plug.reading();
    plug.told.on = reading.on.or(plug.told.on);
    relay(plug, reading.on)
}

fn relay(plug: &Plug, on: Option<bool>) -> Vec<Message> {
    let Some(on) = on else { return Vec::new() };
    let word = word(on);
    vec![
        result(plug, &json!({ "POWER": word })),
        message(format!("stat/{}/POWER", plug.topic), word, false),
    ]
}

fn status(plug: &Plug, payload: &str) -> Message {
    let reading = plug.reading();
    match payload {
        "8" | "10" => message(
            format!("stat/{}/STATUS{payload}", plug.topic),
            json!({"StatusSNS": sensor(&reading)}).to_string(),
            false,
        ),
        "11" => message(
            format!("stat/{}/STATUS11", plug.topic),
            json!({"StatusSTS": state(&reading)}).to_string(),
            false,
        ),
        _ => message(
            format!("stat/{}/STATUS", plug.topic),
            json!({"Status": {"Topic": plug.topic, "Power": u8::from(reading.on == Some(true))}})
                .to_string(),
            false,
        ),
    }
}

fn result(plug: &Plug, content: &Value) -> Message {
    message(
        format!("stat/{}/RESULT", plug.topic),
        content.to_string(),
        false,
    )
}

fn state(reading: &Reading) -> Value {
    let mut state = Map::new();
    state.insert("Time".into(), time(reading).into());
    state.insert("UptimeSec".into(), reading.now.as_secs().into());
    if let Some(on) = reading.on {
        state.insert("POWER".into(), word(on).into());
    }
    state.into()
}

fn sensor(reading: &Reading) -> Value {
    let mut energy = Map::new();
    let mut put = |name: &str, value: Option<f64>, decimals| {
        // What is not known is left out; it is never told as zero.
        if let Some(value) = value {
            energy.insert(name.into(), rounded(value, decimals).into());
        }
    };
    let s = reading.s();
    put("Total", reading.wh.map(|wh| wh / 1000.0), 5);
    put("Power", reading.p, 1);
    put("ApparentPower", s, 1);
    put("ReactivePower", reading.q.map(f64::abs), 1);
    let factor = match (reading.p, s) {
        (Some(p), Some(s)) if s > 0.0 => Some((p / s).abs()),
        (Some(_), Some(_)) => Some(0.0),
        _ => None,
    };
    put("Factor", factor, 2);
    put("Voltage", reading.v, 1);
    put("Current", reading.i, 3);
    json!({"Time": time(reading), "ENERGY": energy})
}

fn word(on: bool) -> &'static str {
    if on { "ON" } else { "OFF" }
}

/// A plug without a time server counts from the beginning of 1970, and so does this one.
fn time(reading: &Reading) -> String {
    let nanos = i64::try_from(reading.now.as_nanos()).unwrap_or(i64::MAX);
    let (year, month, day, hour, minute, second, _) = UtcTime::from_unix_nanos(nanos).civil();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}
