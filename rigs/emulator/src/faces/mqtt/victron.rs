//! Topics and payloads of a GX device's broker, for one inverter behind it.
//!
//! `N/PORTAL/SERVICE/INSTANCE/PATH` tells values, `R/…` asks for one, `W/…` writes one. It
//! notifies what changes, and only while somebody keeps it awake on `R/PORTAL/keepalive`.
//! Nothing is retained. The inverter follows a setpoint for a minute.

use std::time::Duration;

use model::Point;
use profile::mqtt::Message;
use serde_json::{Value, json};

use super::{Talker, message, rounded};

/// How long it notifies after a keep-alive. Source: dbus-flashmq, README: 60 s.
const AWAKE: Duration = Duration::from_secs(60);

/// How long the inverter follows a setpoint that is not repeated.
/// Source: the maker's manual of ESS mode 3: 60 s.
const WATCHDOG: Duration = Duration::from_secs(60);

const SETPOINT: &str = "Hub4/L1/AcPowerSetpoint";

/// The portal and the device instance of the inverter, as the topic of the rig says them.
fn names(topic: &str) -> (&str, &str) {
    let mut levels = topic.split('/');
    (
        levels.next().unwrap_or_default(),
        levels.next().unwrap_or_default(),
    )
}

pub(super) fn filters(topic: &str) -> Vec<String> {
    let (portal, _) = names(topic);
    vec![format!("R/{portal}/#"), format!("W/{portal}/#")]
}

pub(super) fn hear(gx: &mut Talker, heard: &Message) -> Vec<Message> {
    let (portal, instance) = names(&gx.topic);
    let (portal, instance) = (portal.to_owned(), instance.to_owned());
    let Some((verb, path)) = heard.topic.split_once(&format!("/{portal}/")) else {
        return Vec::new();
    };
    match (verb, path) {
        ("R", "keepalive") => {
            let now = gx.world.lock().plant.now();
            gx.own.alive_until = Some(now + AWAKE);
            if suppresses(&heard.payload) {
                return tick(gx);
            }
            gx.own.notified.clear();
            let mut all = tick(gx);
            let done = json!({ "value": now.as_secs() });
            let topic = format!("N/{portal}/full_publish_completed");
            all.push(message(topic, done.to_string(), false));
            all
        }
        ("R", path) => {
            let asked = format!("N/{portal}/{path}");
            let values = values(gx).into_iter();
            let asked = values.filter(|(topic, _)| *topic == asked);
            asked
                .map(|(topic, text)| message(topic, text, false))
                .collect()
        }
        ("W", path) if path == format!("vebus/{instance}/{SETPOINT}") => {
            let said: Option<Value> = serde_json::from_slice(&heard.payload).ok();
            let watts = said.and_then(|said| said.get("value")?.as_f64());
            if let Some(watts) = watts {
                // Power from the AC input into the inverter is positive here.
                gx.write(Point::ActivePowerSet, -watts, Some(WATCHDOG));
            }
            tick(gx)
        }
        _ => Vec::new(),
    }
}

/// Whether a keep-alive asks for news only.
fn suppresses(payload: &[u8]) -> bool {
    let said: Option<Value> = serde_json::from_slice(payload).ok();
    said.is_some_and(|said| {
        said["keepalive-options"]
            .as_array()
            .is_some_and(|options| options.iter().any(|o| o == "suppress-republish"))
    })
}

pub(super) fn tick(gx: &mut Talker) -> Vec<Message> {
    let now = gx.world.lock().plant.now();
    if gx.own.alive_until.is_none_or(|until| now > until) {
        return Vec::new();
    }
    let mut said = Vec::new();
    for (topic, text) in values(gx) {
        if gx.own.notified.get(&topic) != Some(&text) {
            gx.own.notified.insert(topic.clone(), text.clone());
            said.push(message(topic, text, false));
        }
    }
    said
}

/// Topics and payloads of all values; what is not known is `null`.
fn values(gx: &Talker) -> Vec<(String, String)> {
    let (portal, instance) = names(&gx.topic);
    let world = gx.world.lock();
    let value = |point, factor: f64, decimals| {
        let value = world.value(gx.device, point)?;
        Some(rounded(value * factor, decimals))
    };
    let inverter = |path: &str| format!("N/{portal}/vebus/{instance}/{path}");
    let system = |path: &str| format!("N/{portal}/system/0/{path}");
    let rows = [
        (
            inverter("Ac/ActiveIn/L1/P"),
            value(Point::ActivePower, -1.0, 0),
        ),
        (
            inverter("Ac/ActiveIn/L1/V"),
            value(Point::VoltageL1, 1.0, 1),
        ),
        (
            inverter("Ac/ActiveIn/L1/F"),
            value(Point::Frequency, 1.0, 2),
        ),
        (inverter(SETPOINT), value(Point::ActivePowerSet, -1.0, 0)),
        (
            system("Dc/Battery/Soc"),
            value(Point::StateOfCharge, 100.0, 1),
        ),
        (
            system("Dc/Battery/Voltage"),
            value(Point::DcVoltage, 1.0, 2),
        ),
    ];
    let mut told: Vec<_> = rows
        .into_iter()
        .map(|(topic, value)| (topic, json!({ "value": value }).to_string()))
        .collect();
    told.push((system("Serial"), json!({ "value": portal }).to_string()));
    told
}
