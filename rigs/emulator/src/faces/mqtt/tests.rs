use serde_json::{Value, json};

use super::*;
use crate::device::tests::{run, world};
use crate::faults::Fault;

fn talker(name: &str, topic: &str, firmware: Firmware) -> (Talker, Shared) {
    let mut made = world();
    run(&mut made, 5.0);
    let device = made.device_index(name).expect("there");
    let shared = Shared::new(made);
    (Talker::new(shared.clone(), device, topic, firmware), shared)
}

fn plug(firmware: Firmware) -> (Talker, Shared) {
    talker("plug1", "plug1", firmware)
}

/// A power of the plant in whole watts: it settles there, it does not jump.
fn watts(world: &Shared, signal: &str) -> f64 {
    world.lock().get(signal).expect("there").round() + 0.0
}

fn said(messages: &[Message], topic: &str) -> Option<String> {
    let found = messages.iter().find(|m| m.topic == topic)?;
    Some(String::from_utf8_lossy(&found.payload).into_owned())
}

fn heard(topic: &str, payload: &str) -> Message {
    message(topic.into(), payload, false)
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn mqtt(id: &str) -> (std::sync::Arc<Profile>, MqttProfile) {
    let profile = profile::bundled(id).expect(id);
    let profile::Protocol::Mqtt(mqtt) = &profile.protocol else {
        panic!("MQTT")
    };
    let mqtt = mqtt.clone();
    (profile, mqtt)
}

#[test]
fn firmware_is_told_by_the_profile() {
    for (id, firmware) in [
        ("tasmota/plug", Firmware::Tasmota),
        ("shelly/gen1-plug", Firmware::ShellyGen1),
        ("shelly/gen2-plug", Firmware::Shelly),
        ("zigbee2mqtt/timed-plug", Firmware::Zigbee2Mqtt),
        ("victron/gx-mqtt", Firmware::Victron),
    ] {
        let (profile, mqtt) = mqtt(id);
        assert_eq!(Firmware::of(&profile, &mqtt), firmware);
    }
    let (profile, mqtt) = mqtt("tasmota/plug");
    let own = Profile {
        id: "my/plug".into(),
        ..profile.as_ref().clone()
    };
    assert_eq!(Firmware::of(&own, &mqtt), Firmware::Described(mqtt));
}

#[test]
fn a_tasmota_plug_confirms_on_result_and_power() {
    let (mut plug, world) = plug(Firmware::Tasmota);
    let greeting = plug.greet();
    assert_eq!(said(&greeting, "tele/plug1/LWT").as_deref(), Some("Online"));
    assert!(said(&greeting, "tele/plug1/SENSOR").is_some());
    for (payload, word, power) in [
        ("OFF", "OFF", 0.0),
        ("TOGGLE", "ON", -1000.0),
        ("", "ON", -1000.0),
    ] {
        let answer = plug.hear(&heard("cmnd/plug1/POWER", payload));
        assert_eq!(said(&answer, "stat/plug1/POWER").as_deref(), Some(word));
        let result = said(&answer, "stat/plug1/RESULT").expect("a result");
        assert_eq!(result, format!("{{\"POWER\":\"{word}\"}}"));
        run(&mut world.lock(), 0.1);
        assert_eq!(world.lock().get("plug1.p"), Ok(power));
    }
    assert!(plug.tick().is_empty(), "nothing new");
}

#[test]
fn a_tasmota_status_holds_the_sensor_and_leaves_out_what_is_not_known() {
    let (mut plug, world) = plug(Firmware::Tasmota);
    let status = |plug: &mut Talker| {
        let answer = plug.hear(&heard("cmnd/plug1/Status", "10"));
        json_of(&said(&answer, "stat/plug1/STATUS10").expect("answered"))
    };
    let sensor = status(&mut plug);
    assert_eq!(
        sensor.pointer("/StatusSNS/ENERGY/Power"),
        Some(&json!(1000.0))
    );
    assert_eq!(
        sensor.pointer("/StatusSNS/ENERGY/Factor"),
        Some(&json!(1.0))
    );
    let answer = plug.hear(&heard("cmnd/plug1/Status", "8"));
    assert!(said(&answer, "stat/plug1/STATUS8").is_some());
    world
        .lock()
        .set_fault("plug1", Fault::NotImplemented, true)
        .expect("there");
    assert_eq!(status(&mut plug).pointer("/StatusSNS/ENERGY/Power"), None);
}

#[test]
fn a_shelly_plug_answers_its_asker_and_notifies_everybody() {
    let (mut plug, _) = plug(Firmware::Shelly);
    let greeting = plug.greet();
    assert_eq!(said(&greeting, "plug1/online").as_deref(), Some("true"));
    let ask = r#"{"id":7,"src":"ctl/plug1","method":"Switch.Set","params":{"id":0,"on":false}}"#;
    let answer = plug.hear(&heard("plug1/rpc", ask));
    let result = json_of(&said(&answer, "ctl/plug1/rpc").expect("answered"));
    assert_eq!(
        result,
        json!({"id": 7, "src": "plug1", "dst": "ctl/plug1", "result": {"was_on": true}})
    );
    let notice = json_of(&said(&answer, "plug1/events/rpc").expect("notified"));
    assert_eq!(notice["method"], "NotifyStatus");
    assert_eq!(
        notice.pointer("/params/switch:0/output"),
        Some(&json!(false))
    );
    let ask = r#"{"id":8,"src":"x","method":"Switch.GetStatus","params":{"id":0}}"#;
    let status = json_of(&said(&plug.hear(&heard("plug1/rpc", ask)), "x/rpc").expect("answered"));
    assert_eq!(status.pointer("/result/output"), Some(&json!(false)));
    assert_eq!(status.pointer("/result/freq"), Some(&json!(50.0)));
}

#[test]
fn a_shelly_dead_man_toggles_back_unless_repeated() {
    let (mut plug, world) = plug(Firmware::Shelly);
    plug.greet();
    let ask =
        r#"{"id":3,"src":"c","method":"Switch.Set","params":{"id":0,"on":true,"toggle_after":60}}"#;
    plug.hear(&heard("plug1/rpc", ask));
    run(&mut world.lock(), 50.0);
    plug.hear(&heard("plug1/rpc", ask));
    run(&mut world.lock(), 50.0);
    assert_eq!(world.lock().get("plug1.on"), Ok(1.0));
    run(&mut world.lock(), 11.0);
    assert_eq!(world.lock().get("plug1.on"), Ok(0.0));
    let notice = plug.tick();
    let notice = json_of(&said(&notice, "plug1/events/rpc").expect("told unasked"));
    assert_eq!(
        notice.pointer("/params/switch:0/output"),
        Some(&json!(false))
    );
}

#[test]
fn a_wrong_request_is_answered_with_an_error_or_not_at_all() {
    let (mut plug, _) = plug(Firmware::Shelly);
    plug.greet();
    let rows = [
        (
            r#"{"id":1,"src":"x","method":"Relay.Set","params":{}}"#,
            Some(404),
        ),
        (
            r#"{"id":1,"src":"x","method":"Switch.Set","params":{"id":4,"on":true}}"#,
            Some(-105),
        ),
        (
            r#"{"id":1,"src":"x","method":"Switch.Set","params":{"id":0}}"#,
            Some(-103),
        ),
        (r#"{"id":1,"method":"Switch.Set"}"#, None),
        ("no JSON", None),
    ];
    for (ask, code) in rows {
        let answer = said(&plug.hear(&heard("plug1/rpc", ask)), "x/rpc");
        let told = answer.map(|text| json_of(&text)["error"]["code"].as_i64());
        assert_eq!(told.flatten(), code, "{ask}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plug_without_supply_is_announced_by_its_will_and_comes_back() {
    let (plug, world) = plug(Firmware::Tasmota);
    let hub = Hub::default();
    let (ask, mut hear) = hub.connect(None);
    ask.send(ToBroker::Subscribe("tele/plug1/LWT".into()))
        .expect("up");
    tokio::spawn(run_on_hub(plug, hub.clone()));
    let word = |m: Option<Message>| String::from_utf8(m.expect("told").payload).expect("text");
    assert_eq!(word(hear.recv().await), "Online");
    world
        .lock()
        .set_fault("plug1", Fault::Silent, true)
        .expect("there");
    assert_eq!(word(hear.recv().await), "Offline");
    world
        .lock()
        .set_fault("plug1", Fault::Silent, false)
        .expect("there");
    assert_eq!(word(hear.recv().await), "Online");
}

#[test]
fn a_tasmota_backlog_arms_the_pulse_timer_that_every_power_on_starts_anew() {
    let (mut plug, world) = plug(Firmware::Tasmota);
    plug.greet();
    let arm = heard("cmnd/plug1/Backlog", "PulseTime 160; Power ON");
    let answer = plug.hear(&arm);
    assert_eq!(said(&answer, "stat/plug1/POWER").as_deref(), Some("ON"));
    run(&mut world.lock(), 50.0);
    plug.hear(&arm);
    run(&mut world.lock(), 50.0);
    assert_eq!(world.lock().get("plug1.on"), Ok(1.0));
    run(&mut world.lock(), 11.0);
    assert_eq!(world.lock().get("plug1.on"), Ok(0.0));
    assert_eq!(
        said(&plug.tick(), "stat/plug1/POWER").as_deref(),
        Some("OFF")
    );
    plug.hear(&heard("cmnd/plug1/Backlog", "Power OFF; PulseTime 0"));
    plug.hear(&heard("cmnd/plug1/POWER", "ON"));
    run(&mut world.lock(), 100.0);
    assert_eq!(world.lock().get("plug1.on"), Ok(1.0), "by hand it stays");
    for (payload, result) in [
        ("5", json!({"PulseTime1": {"Set": 5, "Remaining": 0}})),
        ("", json!({"PulseTime1": {"Set": 5, "Remaining": 0}})),
        ("70000", json!({"Command": "Error"})),
    ] {
        let answer = plug.hear(&heard("cmnd/plug1/PulseTime", payload));
        let told = said(&answer, "stat/plug1/RESULT").expect("a result");
        assert_eq!(json_of(&told), result, "{payload}");
    }
}

#[test]
fn a_first_generation_shelly_tells_each_value_on_its_topic_in_watt_minutes() {
    let (mut plug, world) = plug(Firmware::ShellyGen1);
    let greeting = plug.greet();
    assert_eq!(
        said(&greeting, "shellies/plug1/online").as_deref(),
        Some("true")
    );
    run(&mut world.lock(), 3600.0);
    let all = plug.hear(&heard("shellies/plug1/command", "update"));
    assert_eq!(said(&all, "shellies/plug1/relay/0").as_deref(), Some("on"));
    assert_eq!(
        said(&all, "shellies/plug1/relay/0/power").as_deref(),
        Some("1000.00")
    );
    let energy = said(&all, "shellies/plug1/relay/0/energy").expect("told");
    let wh = world.lock().get("plug1.ac.e_imp").expect("counted");
    assert_eq!(energy, (wh * 60.0).floor().to_string(), "{wh} Wh");
    let answer = plug.hear(&heard("shellies/plug1/relay/0/command", "off"));
    assert_eq!(
        said(&answer, "shellies/plug1/relay/0").as_deref(),
        Some("off")
    );
    assert!(
        plug.hear(&heard("shellies/plug1/relay/0/command", "maybe"))
            .is_empty()
    );
    let card = plug.hear(&heard("shellies/command", "announce"));
    let card = json_of(&said(&card, "shellies/announce").expect("announced"));
    assert_eq!(card["id"], "plug1");
}

#[test]
fn a_plug_behind_zigbee2mqtt_answers_in_one_object_and_goes_off_by_its_timer() {
    let (mut plug, world) = talker("plug1", "zigbee2mqtt/heater", Firmware::Zigbee2Mqtt);
    let greeting = plug.greet();
    let there = said(&greeting, "zigbee2mqtt/heater/availability").expect("told");
    assert_eq!(json_of(&there), json!({"state": "online"}));
    let state = |answer: &[Message]| json_of(&said(answer, "zigbee2mqtt/heater").expect("told"));
    let asked = state(&plug.hear(&heard("zigbee2mqtt/heater/get", r#"{"power":""}"#)));
    assert_eq!(
        (&asked["state"], &asked["power"]),
        (&json!("ON"), &json!(1000.0))
    );
    let arm = r#"{"state":"ON","on_time":60}"#;
    state(&plug.hear(&heard("zigbee2mqtt/heater/set", arm)));
    run(&mut world.lock(), 61.0);
    assert_eq!(state(&plug.tick())["state"], "OFF");
    for junk in ["ON", r#"{"state":7}"#, "{}", "[]"] {
        assert!(
            plug.hear(&heard("zigbee2mqtt/heater/set", junk)).is_empty(),
            "{junk}"
        );
    }
}

#[test]
fn a_gx_device_notifies_while_it_is_kept_awake_and_follows_a_setpoint_for_a_minute() {
    let (mut gx, world) = talker("bat1", "c0619ab12345/257", Firmware::Victron);
    assert!(
        gx.will().is_none() && gx.greet().is_empty(),
        "asleep, and nothing is kept"
    );
    let value = |said: &[Message], path: &str| {
        let topic = format!("N/c0619ab12345/{path}");
        let text = super::tests::said(said, &topic)?;
        Some(json_of(&text)["value"].clone())
    };
    let full = gx.hear(&heard("R/c0619ab12345/keepalive", ""));
    assert_eq!(value(&full, "system/0/Dc/Battery/Soc"), Some(json!(50.0)));
    assert!(value(&full, "full_publish_completed").is_some());
    let setpoint = "vebus/257/Hub4/L1/AcPowerSetpoint";
    let write = heard(&format!("W/c0619ab12345/{setpoint}"), r#"{"value":-1500}"#);
    let answer = gx.hear(&write);
    assert_eq!(value(&answer, setpoint), Some(json!(-1500.0)));
    run(&mut world.lock(), 2.0);
    assert_eq!(watts(&world, "bat1.p"), 1500.0);
    let asked = gx.hear(&heard("R/c0619ab12345/vebus/257/Ac/ActiveIn/L1/P", ""));
    assert_eq!(
        value(&asked, "vebus/257/Ac/ActiveIn/L1/P"),
        Some(json!(-1500.0))
    );
    world
        .lock()
        .set_fault("bat1", Fault::NotImplemented, true)
        .expect("there");
    assert_eq!(value(&gx.tick(), setpoint), Some(Value::Null));
    // Another keep-alive tells everything anew.
    let again = gx.hear(&heard("R/c0619ab12345/keepalive", ""));
    assert_eq!(
        value(&again, "system/0/Serial"),
        Some(json!("c0619ab12345"))
    );
    run(&mut world.lock(), 60.1);
    assert_eq!(watts(&world, "bat1.p"), 0.0, "nobody repeated it");
    world
        .lock()
        .set_fault("bat1", Fault::NotImplemented, false)
        .expect("there");
    assert!(gx.tick().is_empty(), "it has fallen asleep");
    let keep = r#"{"keepalive-options":["suppress-republish"]}"#;
    let awake = gx.hear(&heard("R/c0619ab12345/keepalive", keep));
    assert_eq!(value(&awake, "full_publish_completed"), None);
}

/// A profile that nobody has bundled: a number and a switch, answers to the asker.
const OWN: &str = r#"schema = 1
[profile]
id = "my/charger"
title = "My charger"
version = 1
source = ["my own notes"]
protocol = "mqtt"
sign = "consumption+"
[mqtt]
timeout = "9s"
availability = { topic = "{t}/up", json = "/up", online = "yes", offline = "no" }
[[topic]]
subscribe = "{c}/answer"
values = [{ name = "ac.p", json = "/meter/0/kw", unit = "kW", range = "-9..9kW" }]
[[topic]]
subscribe = "{t}/power"
values = [{ name = "ac.p", unit = "kW", range = "-9..9kW" }]
[[topic]]
subscribe = "{t}/set"
values = [{ name = "ctl.p_set", json = "/kw", unit = "kW", range = "-9..9kW" }]
[[request]]
topic = "{t}/ask"
payload = '{"to":"{c}"}'
every = "1s"
[[command]]
name = "ctl.p_set"
topic = "{t}/tell"
payload = '{"kw":{v}}'
unit = "kW"
decimals = 3
range = "-9..9kW"
tolerance = "1W"
confirm_within = "3s"
comms_loss = "reverts"
revert = "30s"
refresh = "10s"
safe = "0W"
"#;

#[test]
fn a_device_that_only_its_profile_describes_tells_answers_and_obeys() {
    let parsed = Profile::parse(document::Source::new("own.toml", OWN));
    let (profile, _) = parsed.expect("a good profile");
    let profile::Protocol::Mqtt(mqtt) = &profile.protocol else {
        panic!("MQTT")
    };
    let firmware = Firmware::of(&profile, mqtt);
    let (mut own, world) = talker("bat1", "garage/charger", firmware);
    let will = own.will().expect("it has one");
    assert_eq!(
        (will.topic.as_str(), will.retain),
        ("garage/charger/up", true)
    );
    assert_eq!(will.payload, br#"{"up":"no"}"#);
    let greeting = own.greet();
    assert_eq!(
        said(&greeting, "garage/charger/up").as_deref(),
        Some(r#"{"up":"yes"}"#)
    );
    let answer = own.hear(&heard("garage/charger/tell", r#"{"kw":-1.5}"#));
    assert_eq!(
        said(&answer, "garage/charger/set").as_deref(),
        Some(r#"{"kw":-1.5}"#)
    );
    run(&mut world.lock(), 1.0);
    assert_eq!(watts(&world, "bat1.p"), 1500.0);
    let answer = own.hear(&heard("garage/charger/ask", r#"{"to":"gridrig/x"}"#));
    assert_eq!(
        said(&answer, "gridrig/x/answer").as_deref(),
        Some(r#"{"meter":[{"kw":-1.5}]}"#)
    );
    assert_eq!(
        said(&answer, "garage/charger/power").as_deref(),
        Some("-1.5")
    );
    run(&mut world.lock(), 31.0);
    assert_eq!(watts(&world, "bat1.p"), 0.0, "it falls back as described");
    assert!(
        own.hear(&heard("garage/charger/tell", "full power!"))
            .is_empty()
    );
}

#[test]
fn every_bundled_profile_can_be_spoken_from_its_description_alone() {
    for id in [
        "tasmota/plug",
        "shelly/gen1-plug",
        "shelly/gen2-plug",
        "zigbee2mqtt/timed-plug",
    ] {
        let (_, mqtt) = mqtt(id);
        let (mut plug, world) = plug(Firmware::Described(mqtt.clone()));
        plug.greet();
        let command = mqtt.commands.first().expect("a switch");
        let profile::mqtt::Payload::Switch { on, off, dead_man } = &command.payload else {
            panic!("a switch")
        };
        let topic = command.topic.replace("{t}", "plug1");
        let fill = |text: &str| text.replace("{t}", "plug1").replace("{c}", "me");
        for (text, expected) in [
            (off, 0.0),
            (dead_man.as_ref().unwrap_or(on), 1.0),
            (off, 0.0),
        ] {
            let answer = plug.hear(&heard(&topic, &fill(text)));
            assert!(!answer.is_empty(), "{id} says nothing to {text}");
            assert_eq!(world.lock().get("plug1.on"), Ok(expected), "{id} {text}");
        }
    }
}

#[test]
fn a_new_connection_begins_anew_and_only_its_presence_is_kept() {
    let (mut plug, world) = plug(Firmware::Tasmota);
    let will = plug.will().expect("it has one");
    assert!(will.retain);
    for _ in 0..2 {
        let greeting = plug.greet();
        let kept: Vec<&str> = greeting
            .iter()
            .filter(|m| m.retain)
            .map(|m| &*m.topic)
            .collect();
        assert_eq!(kept, ["tele/plug1/LWT"]);
        assert!(said(&greeting, "tele/plug1/SENSOR").is_some(), "each time");
    }
    let set = |fault, on| world.lock().set_fault("plug1", fault, on).expect("there");
    for (fault, expected) in [
        (Fault::Loss(1.0), None),
        (Fault::Loss(0.0), Some(0)),
        (Fault::Delay(Duration::from_millis(80)), Some(80)),
    ] {
        set(fault, true);
        assert_eq!(
            plug.befall(),
            expected.map(Duration::from_millis),
            "{fault}"
        );
        set(fault, false);
    }

    let (mut gx, _) = talker("bat1", "c0619ab12345/257", Firmware::Victron);
    gx.hear(&heard("R/c0619ab12345/keepalive", ""));
    assert!(gx.greet().is_empty());
    gx.world.lock().set("bat1.soc", 0.3).expect("there");
    assert!(
        gx.tick().is_empty(),
        "nobody has woken it on this connection"
    );
    let keep = r#"{"keepalive-options":["suppress-republish"]}"#;
    let told = gx.hear(&heard("R/c0619ab12345/keepalive", keep));
    assert!(said(&told, "N/c0619ab12345/system/0/Serial").is_some());
}

#[test]
fn an_opened_relay_has_no_timer_and_no_zero_has_a_sign() {
    let (mut plug, world) = plug(Firmware::Tasmota);
    plug.greet();
    plug.hear(&heard("cmnd/plug1/Backlog", "PulseTime 160; Power OFF"));
    run(&mut world.lock(), 70.0);
    assert_eq!(world.lock().get("plug1.on"), Ok(0.0));
    for value in [-0.04, -0.0, 0.04] {
        assert!(rounded(value, 1).is_sign_positive(), "{value}");
    }
}
