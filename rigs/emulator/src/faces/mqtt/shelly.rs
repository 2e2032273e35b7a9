//! Topics and payloads of Shelly firmware, second generation and later.
//!
//! Requests come on `T/rpc` as JSON-RPC and are answered on the asker's own `SRC/rpc`;
//! changes go out on `T/events/rpc` and `T/status/switch:0`.

use std::time::Duration;

use model::Point;
use profile::mqtt::Message;
use serde_json::{Map, Value, json};

use super::{Reading, Talker, message, position, positive_seconds, rounded};

/// Time between notifications of measured values when they barely move.
/// Chosen: the firmware tells energy every minute, lively meters every few seconds.
const NOTIFY_EVERY: Duration = Duration::from_secs(10);

/// Change of power that is told at once, in watts and as a fraction.
/// Chosen: above the noise of a quiet load.
const NOTIFY_CHANGE: (f64, f64) = (2.0, 0.05);

/// Error codes of the firmware: an argument does not fit, there is no such component or method.
const INVALID_ARGUMENT: i64 = -103;
const NOT_FOUND: i64 = -105;
const NO_HANDLER: i64 = 404;

pub(super) fn hear(plug: &mut Talker, heard: &Message) -> Vec<Message> {
    if heard.topic.ends_with("/rpc") {
        rpc(plug, &heard.payload)
    } else {
        command(plug, &String::from_utf8_lossy(&heard.payload))
    }
}

pub(super) fn tick(plug: &mut Talker) -> Vec<Message> {
    let reading = plug.reading();
    if !plug.has_news(&reading, NOTIFY_CHANGE, NOTIFY_EVERY) {
        return Vec::new();
    }
    let status = status(plug, &reading);
    let ts = rounded(reading.now.as_secs_f64(), 2);
    let notice = json!({
        "src": plug.topic,
        "dst": format!("{}/events", plug.topic),
        "method": "NotifyStatus",
        "params": {"ts": ts, "switch:0": status},
    });
    vec![
        message(
            format!("{}/events/rpc", plug.topic),
            notice.to_string(),
            false,
        ),
        message(
            format!("{}/status/switch:0", plug.topic),
            status.to_string(),
            false,
        ),
    ]
}

/// `on`, `off` or `toggle`, with seconds until it toggles back behind a comma.
fn command(plug: &mut Talker, payload: &str) -> Vec<Message> {
    let (word, seconds) = payload.split_once(',').unwrap_or((payload, ""));
    let Some(on) = position(word, plug.reading().on) else {
        return tick(plug);
    };
    let after = seconds.trim().parse().ok().and_then(positive_seconds);
    plug.switch(on, after);
    tick(plug)
}

fn rpc(plug: &mut Talker, payload: &[u8]) -> Vec<Message> {
    // What is no request has nobody to answer to.
    let Ok(request) = serde_json::from_slice::<Value>(payload) else {
        return Vec::new();
    };
    let Some(asker) = request.get("src").and_then(Value::as_str) else {
        return Vec::new();
    };
    let method = request.get("method").and_then(Value::as_str).unwrap_or("");
    let params = request.get("params").cloned().unwrap_or(Value::Null);
    let answered = match method {
        "Switch.Set" | "Switch.Toggle" => switch(plug, method, &params),
        "Switch.GetStatus" => component(&params).map(|()| status(plug, &plug.reading())),
        "Shelly.GetStatus" => Ok(json!({"switch:0": status(plug, &plug.reading())})),
        "Shelly.GetDeviceInfo" => Ok(json!({
            "id": plug.topic, "model": "SNPL-EMULATED", "gen": 2, "app": "PlugS",
            "ver": env!("CARGO_PKG_VERSION"),
        })),
        _ => Err((NO_HANDLER, format!("No handler for {method}"))),
    };
    let mut answer = Map::new();
    answer.insert(
        "id".into(),
        request.get("id").cloned().unwrap_or(Value::Null),
    );
    answer.insert("src".into(), plug.topic.clone().into());
    answer.insert("dst".into(), asker.into());
    match answered {
        Ok(result) => answer.insert("result".into(), result),
        Err((code, text)) => answer.insert("error".into(), json!({"code": code, "message": text})),
    };
    let mut said = vec![message(
        format!("{asker}/rpc"),
        Value::from(answer).to_string(),
        false,
    )];
    said.extend(tick(plug));
    said
}

fn switch(plug: &Talker, method: &str, params: &Value) -> Result<Value, (i64, String)> {
    component(params)?;
    let before = plug.reading().on == Some(true);
    let on = match method {
        "Switch.Toggle" => !before,
        _ => params.get("on").and_then(Value::as_bool).ok_or_else(|| {
            (
                INVALID_ARGUMENT,
                "Missing required argument 'on'!".to_owned(),
            )
        })?,
    };
    let after = params
        .get("toggle_after")
        .and_then(Value::as_f64)
        .and_then(positive_seconds);
    plug.switch(on, after);
    Ok(json!({"was_on": before}))
}

fn component(params: &Value) -> Result<(), (i64, String)> {
    match params.get("id").and_then(Value::as_u64) {
        Some(0) => Ok(()),
        Some(id) => Err((NOT_FOUND, format!("Argument 'id', value {id} not found!"))),
        None => Err((
            INVALID_ARGUMENT,
            "Missing required argument 'id'!".to_owned(),
        )),
    }
}

fn status(plug: &Talker, reading: &Reading) -> Value {
    let mut status = Map::new();
    status.insert("id".into(), 0.into());
    status.insert("source".into(), "MQTT".into());
    if let Some(on) = reading.on {
        status.insert("output".into(), on.into());
    }
    let left = plug.world.lock().remaining(plug.device, Point::SwitchOn);
    if let Some(left) = left {
        status.insert(
            "timer_duration".into(),
            rounded(left.as_secs_f64(), 2).into(),
        );
    }
    let mut put = |name: &str, value: Option<f64>, decimals| {
        // What is not known is left out; it is never told as zero.
        if let Some(value) = value {
            status.insert(name.into(), rounded(value, decimals).into());
        }
    };
    put("apower", reading.p, 1);
    put("voltage", reading.v, 1);
    put("current", reading.i, 3);
    put("freq", reading.f, 2);
    if let Some(wh) = reading.wh {
        status.insert("aenergy".into(), json!({"total": rounded(wh, 3)}));
    }
    status.insert("temperature".into(), json!({"tC": 25.0, "tF": 77.0}));
    status.into()
}
