//! Topics and payloads of Tasmota firmware.
//!
//! Commands come on `cmnd/T/NAME`, are answered on `stat/T/RESULT` and, for the relay,
//! on `stat/T/POWER`; telemetry goes out on `tele/T/STATE` and `tele/T/SENSOR`.

use std::time::Duration;

use model::{Point, UtcTime};
use profile::mqtt::Message;
use serde_json::{Map, Value, json};

use super::{Reading, Talker, message, rounded};

/// Time between telemetry messages.
/// Tasmota's default TelePeriod: 300 s.
const TELE_PERIOD: Duration = Duration::from_secs(300);

pub(super) fn hear(plug: &mut Talker, heard: &Message) -> Vec<Message> {
    let Some(command) = heard.topic.rsplit('/').next() else {
        return Vec::new();
    };
    obey(plug, command, &String::from_utf8_lossy(&heard.payload))
}

/// Most commands in one `Backlog`, as the firmware's documentation says.
const BACKLOG_MAX: usize = 30;

fn obey(plug: &mut Talker, command: &str, payload: &str) -> Vec<Message> {
    let payload = payload.trim().to_owned();
    match command.to_ascii_uppercase().as_str() {
        "BACKLOG" | "BACKLOG0" => payload
            .split(';')
            .take(BACKLOG_MAX)
            .map(|each| each.trim().split_once(' ').unwrap_or((each.trim(), "")))
            // A backlog inside a backlog is no command of the firmware.
            .filter(|(name, _)| !name.to_ascii_uppercase().starts_with("BACKLOG"))
            .flat_map(|(name, value)| obey(plug, name, value))
            .collect(),
        "PULSETIME" | "PULSETIME1" => pulse_time(plug, &payload),
        "POWER" | "POWER1" => power(plug, &payload),
        "STATUS" => vec![status(plug, &payload)],
        "STATE" => vec![result(plug, &state(&plug.reading()))],
        _ => vec![result(plug, &json!({"Command": "Unknown"}))],
    }
}

pub(super) fn tick(plug: &mut Talker) -> Vec<Message> {
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

fn power(plug: &mut Talker, payload: &str) -> Vec<Message> {
    let now = plug.reading().on;
    let wanted = match payload.to_ascii_uppercase().as_str() {
        "ON" | "1" | "TRUE" => Some(true),
        "OFF" | "0" | "FALSE" => Some(false),
        "TOGGLE" | "2" => now.map(|on| !on),
        "" => None,
        _ => return vec![result(plug, &json!({"Command": "Error"}))],
    };
    if let Some(on) = wanted {
        // Every `ON` starts the pulse timer anew.
        plug.switch(on, plug.own.pulse.filter(|_| on));
    }
    let reading = plug.reading();
    plug.told.on = reading.on.or(plug.told.on);
    relay(plug, reading.on)
}

/// `PulseTime`: 0 is off, up to 111 tenths of a second, above seconds and 100.
fn pulse_time(plug: &mut Talker, payload: &str) -> Vec<Message> {
    match payload.parse::<u64>() {
        Ok(0) => plug.own.pulse = None,
        Ok(tenths @ 1..=111) => plug.own.pulse = Some(Duration::from_millis(tenths * 100)),
        Ok(seconds @ 112..=64_900) => plug.own.pulse = Some(Duration::from_secs(seconds - 100)),
        _ if payload.is_empty() => {}
        _ => return vec![result(plug, &json!({"Command": "Error"}))],
    }
    let set = plug.own.pulse.map_or(0, |pulse| match pulse.as_millis() {
        tenths @ ..=11_100 => tenths / 100,
        millis => millis / 1000 + 100,
    });
    let left = plug.world.lock().remaining(plug.device, Point::SwitchOn);
    let left = left.map_or(0, |left| left.as_secs() + 100);
    vec![result(
        plug,
        &json!({"PulseTime1": {"Set": set, "Remaining": left}}),
    )]
}

fn relay(plug: &Talker, on: Option<bool>) -> Vec<Message> {
    let Some(on) = on else { return Vec::new() };
    let word = word(on);
    vec![
        result(plug, &json!({ "POWER": word })),
        message(format!("stat/{}/POWER", plug.topic), word, false),
    ]
}

fn status(plug: &Talker, payload: &str) -> Message {
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

fn result(plug: &Talker, content: &Value) -> Message {
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
