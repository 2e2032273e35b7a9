//! The bundled profiles, each with messages as its maker's documentation shows them.

use super::*;

fn bundled(id: &str, topic: &str) -> Rig {
    let mut plug = device(0, Protocol::Mqtt(plug()), Some(topic));
    plug.profile = profile::bundled(id).unwrap();
    Rig::with(vec![plug])
}

#[tokio::test(start_paused = true)]
async fn the_bundled_tasmota_profile_reads_and_switches_a_plug() {
    let mut rig = bundled("tasmota/plug", "plug-1");
    let mut peer = rig.accept().await;
    assert_eq!(
        peer.published(),
        ["cmnd/plug-1/Status 10", "cmnd/plug-1/POWER "]
    );
    peer.say_kept("tele/plug-1/LWT", "Online").await;
    let status = r#"{"StatusSNS":{"Time":"2026-01-01T00:00:00","ENERGY":{"Total":1.25,"Power":40,"ApparentPower":50,"ReactivePower":30,"Factor":0.80,"Voltage":230,"Current":0.217}}}"#;
    peer.say("stat/plug-1/STATUS10", status).await;
    peer.say("stat/plug-1/POWER", "OFF").await;
    rig.sink.check(0, Point::ActivePower, Ok(-40.0));
    rig.sink.check(0, Point::VoltageL1, Ok(230.0));
    rig.sink.check(0, Point::EnergyImport, Ok(1250.0));
    rig.sink.check(0, Point::SwitchOn, Ok(0.0));
    rig.outcomes();
    rig.switch(1, true, 1000, false).await;
    assert_eq!(
        peer.published(),
        ["cmnd/plug-1/Backlog PulseTime 160; Power ON"]
    );
    peer.say("stat/plug-1/RESULT", r#"{"POWER":"ON"}"#).await;
    peer.say("stat/plug-1/POWER", "ON").await;
    check_outcomes(&rig, &["1 Written", "1 Register"]);
}

#[tokio::test(start_paused = true)]
async fn the_bundled_shelly_profile_reads_and_switches_a_plug() {
    let mut rig = bundled("shelly/gen2-plug", "plug-1");
    let mut peer = rig.accept().await;
    let asked = peer.published();
    let (topic, request) = asked[0].split_once(' ').unwrap();
    assert_eq!(topic, "plug-1/rpc");
    let request: serde_json::Value = serde_json::from_str(request).unwrap();
    let source = request["src"].as_str().unwrap();
    assert_eq!(request["method"], "Switch.GetStatus");
    let answer = r#"{"id":1,"src":"plug-1","result":{"id":0,"output":false,"apower":8.9,"voltage":237.5,"freq":50.0,"aenergy":{"total":6.532}}}"#;
    peer.say(&format!("{source}/rpc"), answer).await;
    rig.sink.check(0, Point::ActivePower, Ok(-8.9));
    rig.sink.check(0, Point::Frequency, Ok(50.0));
    rig.sink.check(0, Point::SwitchOn, Ok(0.0));

    rig.outcomes();
    rig.switch(1, true, 1000, false).await;
    let sent = peer.published();
    let (topic, command) = sent.last().unwrap().split_once(' ').unwrap();
    let command: serde_json::Value = serde_json::from_str(command).unwrap();
    assert_eq!(
        (topic, &command["method"]),
        ("plug-1/rpc", &"Switch.Set".into())
    );
    assert_eq!(command["params"]["on"], true);
    assert!(command["params"]["toggle_after"].as_f64().unwrap() >= 1.0);
    // The answer to the command says what was, not what is; the notification does.
    let result = r#"{"id":3,"result":{"was_on":false}}"#;
    peer.say(&format!("{source}/rpc"), result).await;
    check_outcomes(&rig, &["1 Written"]);
    let event = r#"{"src":"plug-1","method":"NotifyStatus","params":{"ts":1.0,"switch:0":{"id":0,"output":true}}}"#;
    peer.say("plug-1/events/rpc", event).await;
    check_outcomes(&rig, &["1 Register"]);
    peer.say("plug-1/online", "false").await;
    rig.sink.check(0, Point::ActivePower, Err(Flaw::Offline));
}

#[tokio::test(start_paused = true)]
async fn a_tasmota_plug_is_closed_with_its_own_timer_and_opened_without() {
    let mut rig = bundled("tasmota/plug", "plug-1");
    let mut peer = rig.accept().await;
    rig.switch(1, true, 1000, false).await;
    peer.say("stat/plug-1/POWER", "ON").await;
    sleep(Duration::from_secs(41)).await;
    let mut told = peer.published();
    told.retain(|text| text.contains("Backlog"));
    assert_eq!(
        told,
        vec!["cmnd/plug-1/Backlog PulseTime 160; Power ON"; 3],
        "once, and again every 20 s"
    );
    rig.switch(2, false, 1000, false).await;
    let told = peer.published();
    assert!(
        told.contains(&"cmnd/plug-1/Backlog Power OFF; PulseTime 0".to_owned()),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_bundled_profile_of_a_first_generation_shelly_counts_watt_minutes() {
    let mut rig = bundled("shelly/gen1-plug", "shellyplug-s-040BAD");
    let mut peer = rig.accept().await;
    assert_eq!(
        peer.published(),
        ["shellies/shellyplug-s-040BAD/command update"]
    );
    let own = |tail: &str| format!("shellies/shellyplug-s-040BAD/{tail}");
    peer.say_kept(&own("online"), "true").await;
    assert_eq!(rig.sink.take_events(), [LinkEvent::Online(DeviceIx(0))]);
    // The device retains these; a kept one is no measurement.
    peer.say_kept(&own("relay/0"), "on").await;
    assert_eq!(rig.sink.latest(0, Point::SwitchOn), None);
    for (tail, payload) in [
        ("relay/0", "off"),
        ("relay/0/power", "62.35"),
        ("relay/0/energy", "90000"),
    ] {
        peer.say(&own(tail), payload).await;
    }
    rig.sink.check(0, Point::SwitchOn, Ok(0.0));
    rig.sink.check(0, Point::ActivePower, Ok(-62.35));
    rig.sink.check(0, Point::EnergyImport, Ok(1500.0));
    rig.outcomes();
    rig.switch(1, true, 1000, false).await;
    assert_eq!(peer.published(), [own("relay/0/command on")]);
    peer.say(&own("relay/0"), "on").await;
    check_outcomes(&rig, &["1 Written", "1 Register"]);
    // Its protection has opened the relay.
    peer.say(&own("relay/0"), "overpower").await;
    rig.sink.check(0, Point::SwitchOn, Ok(0.0));
    peer.say(&own("online"), "false").await;
    rig.sink.check(0, Point::ActivePower, Err(Flaw::Offline));
}

#[tokio::test(start_paused = true)]
async fn a_plug_behind_zigbee2mqtt_is_heard_in_both_forms_of_its_availability() {
    for (there, gone) in [
        (r#"{"state":"online"}"#, r#"{"state":"offline"}"#),
        ("online", "offline"),
    ] {
        let mut rig = bundled("zigbee2mqtt/timed-plug", "zigbee2mqtt/heater");
        let mut peer = rig.accept().await;
        assert_eq!(
            peer.published(),
            [r#"zigbee2mqtt/heater/get {"state":"","power":""}"#]
        );
        peer.say_kept("zigbee2mqtt/heater/availability", there)
            .await;
        assert_eq!(rig.sink.take_events(), [LinkEvent::Online(DeviceIx(0))]);
        let state = r#"{"current":0.19,"energy":12.52,"linkquality":113,"power":43,"state":"OFF","voltage":231}"#;
        peer.say("zigbee2mqtt/heater", state).await;
        rig.sink.check(0, Point::SwitchOn, Ok(0.0));
        rig.sink.check(0, Point::ActivePower, Ok(-43.0));
        rig.sink.check(0, Point::EnergyImport, Ok(12_520.0));
        rig.switch(1, true, 1000, false).await;
        assert_eq!(
            peer.published(),
            [r#"zigbee2mqtt/heater/set {"state":"ON","on_time":60}"#]
        );
        peer.say("zigbee2mqtt/heater", r#"{"state":"ON"}"#).await;
        check_outcomes(&rig, &["1 Written", "1 Register"]);
        peer.say("zigbee2mqtt/heater/availability", gone).await;
        rig.sink.check(0, Point::SwitchOn, Err(Flaw::Offline));
        let events = rig.sink.take_events();
        assert_eq!(
            events,
            [LinkEvent::Offline(DeviceIx(0), Flaw::Offline)],
            "{gone}"
        );
    }
}

const SETPOINT: &str = "vebus/257/Hub4/L1/AcPowerSetpoint";

async fn gx() -> (Rig, Peer) {
    let mut rig = bundled("victron/gx-mqtt", "c0619ab12345/257");
    let mut peer = rig.accept().await;
    let asked = peer.published();
    assert_eq!(
        asked[0],
        r#"R/c0619ab12345/keepalive {"keepalive-options":["suppress-republish"]}"#
    );
    assert!(asked.contains(&"R/c0619ab12345/vebus/257/Ac/ActiveIn/L1/P ".to_owned()));
    peer.say(
        "N/c0619ab12345/vebus/257/Ac/ActiveIn/L1/P",
        r#"{"value":212}"#,
    )
    .await;
    rig.sink.check(0, Point::ActivePower, Ok(-212.0));
    (rig, peer)
}

async fn set(rig: &Rig, dispatch: u64, watts: f64, vars: f64) {
    let setpoint = Setpoint::Power {
        p: quantities::ActivePower::from_watts(watts),
        q: quantities::ReactivePower::from_vars(vars),
    };
    let valid = Duration::from_secs(1);
    let write = job(&rig.clock, dispatch, 0, setpoint, valid, false);
    rig.writer.as_ref().unwrap().write(write).unwrap();
    sleep(Duration::from_millis(3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_gx_device_is_told_its_power_confirms_it_and_is_told_again_before_its_watchdog() {
    let (rig, mut peer) = gx().await;
    rig.outcomes();
    let told = |peer: &mut Peer| {
        let mut told = peer.published();
        told.retain(|text| text.starts_with("W/"));
        told
    };
    // To discharge 500.4 W is to draw -500 W from the AC input.
    set(&rig, 1, 500.4, 0.0).await;
    let say = format!(r#"W/c0619ab12345/{SETPOINT} {{"value":-500}}"#);
    assert_eq!(told(&mut peer), [say.as_str()]);
    check_outcomes(&rig, &["1 Written"]);
    let state = format!("N/c0619ab12345/{SETPOINT}");
    peer.say(&state, r#"{"value":-200}"#).await;
    check_outcomes(&rig, &[]);
    peer.say(&state, r#"{"value":-500.0}"#).await;
    check_outcomes(&rig, &["1 Register"]);
    rig.sink.check(0, Point::ActivePowerSet, Ok(500.0));
    for _ in 0..3 {
        sleep(Duration::from_millis(2500)).await;
        peer.say(
            "N/c0619ab12345/vebus/257/Ac/ActiveIn/L1/P",
            r#"{"value":-490}"#,
        )
        .await;
        sleep(Duration::from_millis(2500)).await;
        assert_eq!(told(&mut peer), [say.as_str()]);
        peer.say(
            "N/c0619ab12345/vebus/257/Ac/ActiveIn/L1/P",
            r#"{"value":-498}"#,
        )
        .await;
    }
    // Somebody else sets it: two controllers must not fight by blind repetition.
    peer.say(&state, r#"{"value":100}"#).await;
    sleep(Duration::from_secs(10)).await;
    assert!(told(&mut peer).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_gx_device_does_not_know_or_has_lost_is_told_by_name_and_never_zero() {
    let (rig, peer) = gx().await;
    let power = "N/c0619ab12345/vebus/257/Ac/ActiveIn/L1/P";
    peer.say(power, r#"{"value":null}"#).await;
    rig.sink
        .check(0, Point::ActivePower, Err(Flaw::NotImplemented));
    peer.say(
        "N/c0619ab12345/system/0/Dc/Battery/Soc",
        r#"{"value":52.1}"#,
    )
    .await;
    rig.outcomes();
    // The inverter has left the gateway, which itself goes on.
    peer.say(power, "").await;
    rig.sink.check(0, Point::ActivePower, Err(Flaw::Offline));
    rig.sink.check(0, Point::StateOfCharge, Ok(0.521));
    assert_eq!(rig.sink.take_events(), []);
    assert_eq!(rig.handle.stats.report().corrupt, 0);
    // Nothing but departures: the whole gateway is silent.
    for _ in 0..4 {
        sleep(Duration::from_secs(2)).await;
        peer.say(power, "").await;
    }
    rig.sink.check(0, Point::StateOfCharge, Err(Flaw::Timeout));
}

#[tokio::test(start_paused = true)]
async fn what_a_gx_device_cannot_take_is_never_said_to_it() {
    let (rig, mut peer) = gx().await;
    let mut narrow = profile::bundled("victron/gx-mqtt")
        .unwrap()
        .as_ref()
        .clone();
    if let Protocol::Mqtt(mqtt) = &mut narrow.protocol
        && let Payload::Number { range, .. } = &mut mqtt.commands[0].payload
    {
        *range = (-1000.0, 1000.0);
    }
    drop((rig, peer));
    let mut device = device(0, Protocol::Mqtt(plug()), Some("c0619ab12345/257"));
    device.profile = Arc::new(narrow);
    let mut rig = Rig::with(vec![device]);
    peer = rig.accept().await;
    peer.published();
    set(&rig, 1, 1000.6, 0.0).await;
    check_outcomes(&rig, &["1 missed Written … outside … narrow `limits`"]);
    assert!(peer.published().iter().all(|text| !text.starts_with("W/")));
    // Reactive power has no command; that is said once, and active power goes out.
    for dispatch in [2, 3] {
        set(&rig, dispatch, 10.0, 50.0).await;
    }
    let told = peer.published();
    assert_eq!(told.iter().filter(|t| t.starts_with("W/")).count(), 2);
    let notices = rig.sink.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].contains("ctl.q_set"), "{notices:?}");
}

#[tokio::test(start_paused = true)]
async fn a_topic_with_too_few_levels_is_told_with_what_to_do() {
    let rig = bundled("victron/gx-mqtt", "c0619ab12345");
    sleep(Duration::from_millis(5)).await;
    let notices = rig.sink.notices();
    assert!(notices[0].contains("at least 2 levels"), "{notices:?}");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_looks_like_a_placeholder_is_said_as_it_is() {
    let mut odd = profile::bundled("victron/gx-mqtt")
        .unwrap()
        .as_ref()
        .clone();
    if let Protocol::Mqtt(mqtt) = &mut odd.protocol
        && let Payload::Number { template, .. } = &mut mqtt.commands[0].payload
    {
        *template = r#"{"to":"{t}","value":{v}}"#.to_owned();
    }
    let mut device = device(0, Protocol::Mqtt(plug()), Some("{v}/{c}"));
    device.profile = Arc::new(odd);
    let mut rig = Rig::with(vec![device]);
    let mut peer = rig.accept().await;
    peer.published();
    set(&rig, 1, 250.0, 0.0).await;
    let told = peer.published();
    let command: Vec<&String> = told.iter().filter(|t| t.starts_with("W/")).collect();
    assert_eq!(
        command,
        [r#"W/{v}/vebus/{c}/Hub4/L1/AcPowerSetpoint {"to":"{v}/{c}","value":-250}"#]
    );
}
