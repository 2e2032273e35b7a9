use serde_json::{Value, json};

use super::*;
use crate::device::tests::{run, world};
use crate::faults::Fault;

fn plug(firmware: Firmware) -> (Plug, Shared) {
    let mut made = world();
    run(&mut made, 5.0);
    let device = made.device_index("plug1").expect("there");
    let shared = Shared::new(made);
    (Plug::new(shared.clone(), device, "plug1", firmware), shared)
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

#[test]
fn firmware_is_told_by_the_profile() {
    for (id, firmware) in [
        ("tasmota/plug", Firmware::Tasmota),
        ("shelly/gen2-plug", Firmware::Shelly),
    ] {
        let profile = profile::bundled(id).expect(id);
        let profile::Protocol::Mqtt(mqtt) = &profile.protocol else {
            panic!("MQTT")
        };
        assert_eq!(Firmware::of(mqtt), Some(firmware));
    }
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
    let status = |plug: &mut Plug| {
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
