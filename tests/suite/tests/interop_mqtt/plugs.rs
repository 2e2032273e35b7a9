//! Plugs of other makers, each written from its maker's documentation, and another broker.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use suite::bench::Controller;
use suite::process::{Peer, WithArguments, mosquitto, node};
use suite::{PATIENCE, folder, free_port, wait_for};

use super::{rig, switch_commands};

fn rig_of(dir: &Path, port: u16, device: &str) -> PathBuf {
    let path = dir.join("plug.toml");
    let text = format!(
        "schema = 1\nsite = {{ v = \"230V\", f = \"50Hz\", phases = 3 }}\n\
         [bus]\nmq = {{ kind = \"mqtt\", url = \"mqtt://127.0.0.1:{port}\" }}\n\
         [device]\nplug3 = {{ bus = \"mq\", role = \"load\", limits = {{ p = \"-3..0kW\" }}, {device} }}\n"
    );
    std::fs::write(&path, text).expect("the folder can be written");
    path
}

/// Waits until the page shows a good value of a reading.
fn shown(controller: &Controller, reading: &str, expected: &Value) {
    wait_for(&format!("{reading} is {expected}"), PATIENCE, || {
        controller.shown("plug3", reading).filter(|v| v == expected)
    });
}

/// Holds the plug on or off and waits until the plug itself is.
fn switch(controller: &Controller, plug: &mut Peer, on: bool) {
    controller.hold("plug3", &json!({ "on": on }));
    wait_for("the plug obeys", PATIENCE, || {
        (plug.ask("dump")["on"] == on).then_some(())
    });
    shown(controller, "switch_on", &json!(on));
}

#[test]
#[ignore = "needs peers"]
fn a_shelly_of_the_first_generation_is_read_and_switched() {
    let dir = folder();
    let port = free_port();
    let _broker = mosquitto(dir.path(), port);
    let name = "shellyplug-s-C45BBE";
    let start = |more: &[&str]| {
        let own = ["--port", &port.to_string(), "--name", name];
        Peer::start("shelly_gen1_plug.py", own.iter().chain(more))
    };
    let mut plug = start(&["--on"]);
    let device = format!("profile = \"shelly/gen1-plug\", topic = \"{name}\"");
    let rig = rig_of(dir.path(), port, &device);
    let controller = Controller::on_bench(&rig, &dir.path().join("run"), &[]);
    shown(&controller, "p_w", &json!(-750.5));
    shown(&controller, "switch_on", &json!(true));
    switch(&controller, &mut plug, false);
    shown(&controller, "p_w", &json!(0.0));
    switch(&controller, &mut plug, true);
    // No command is kept: a plug that comes back would carry it out again.
    let commands = plug.ask("dump")["commands"].clone();
    assert_eq!(commands, json!([["off", false], ["on", false]]));
    // A bench that only looks wants nothing of a plug that comes back.
    controller.disarm();
    plug.vanish();
    wait_for("its last will is heard", PATIENCE, || {
        controller
            .device("plug3")
            .filter(|d| d["link"] == "offline")
    });
    // With a timer of its own it falls off although nobody says so, and that is seen.
    let mut plug = start(&["--auto-off-s", "3"]);
    shown(&controller, "switch_on", &json!(false));
    let _ = plug.ask("button");
    shown(&controller, "switch_on", &json!(true));
    shown(&controller, "switch_on", &json!(false));
    assert_eq!(plug.ask("dump")["on"], false);
    let _ = controller.end();
}

#[test]
#[ignore = "needs peers"]
fn a_plug_behind_zigbee2mqtt_is_read_switched_and_missed() {
    let dir = folder();
    let port = free_port();
    let _broker = mosquitto(dir.path(), port);
    let mut plug = Peer::start(
        "zigbee2mqtt_plug.py",
        [
            "--port",
            &port.to_string(),
            "--name",
            "kitchen/plug",
            "--on",
        ],
    );
    let device = "profile = \"zigbee2mqtt/plug\", topic = \"zigbee2mqtt/kitchen/plug\"";
    let rig = rig_of(dir.path(), port, device);
    let controller = Controller::on_bench(&rig, &dir.path().join("run"), &[]);
    shown(&controller, "p_w", &json!(-900.0));
    switch(&controller, &mut plug, false);
    shown(&controller, "p_w", &json!(0.0));
    switch(&controller, &mut plug, true);
    // A hand on the plug is seen without asking.
    controller.release("plug3");
    let _ = plug.ask("button");
    shown(&controller, "switch_on", &json!(false));
    let _ = plug.ask("away");
    wait_for("out of reach is offline", PATIENCE, || {
        controller
            .device("plug3")
            .filter(|d| d["link"] == "offline")
    });
    let _ = plug.ask("back");
    shown(&controller, "switch_on", &json!(false));
    let commands = plug.ask("dump")["commands"].clone();
    let commands = commands.as_array().expect("a list");
    assert!(commands.iter().all(|c| c[2] == false), "{commands:?}");
    let _ = controller.end();
}

#[test]
#[ignore = "needs peers"]
fn a_timed_plug_stays_on_while_we_are_there_and_falls_off_without_us() {
    // As the bundled profile, with a shorter time, so that the test need not wait for a minute.
    let dir = folder();
    let port = free_port();
    let bundled = suite::root().join("drivers/profile/devices/plug/zigbee2mqtt-timed-plug.toml");
    let text = std::fs::read_to_string(bundled).expect("the profile");
    let quick = text
        .replace("\"on_time\":60", "\"on_time\":6")
        .replace("= \"60s\"", "= \"6s\"")
        .replace("= \"20s\"", "= \"2s\"");
    assert_eq!(quick.matches("\"6s\"").count(), 1, "{quick}");
    std::fs::write(dir.path().join("timed.toml"), quick).expect("written");
    let _broker = mosquitto(dir.path(), port);
    let mut plug = Peer::start("zigbee2mqtt_plug.py", ["--port", &port.to_string()]);
    let device = "profile = \"timed.toml\", topic = \"zigbee2mqtt/kitchen/plug\"";
    let rig = rig_of(dir.path(), port, device);
    let controller = Controller::on_bench(&rig, &dir.path().join("run"), &[]);
    switch(&controller, &mut plug, true);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(14) {
        assert_eq!(plug.ask("dump")["on"], true, "after {:?}", began.elapsed());
        std::thread::sleep(Duration::from_millis(500));
    }
    // Killed, not ended: nobody says anything any more, and the plug's own timer does it.
    let before = plug.ask("dump")["commands"].as_array().map(Vec::len);
    controller.running.kill();
    wait_for("the plug falls off by itself", PATIENCE, || {
        (plug.ask("dump")["on"] == false).then_some(())
    });
    assert_eq!(
        plug.ask("dump")["commands"].as_array().map(Vec::len),
        before
    );
}

#[test]
#[ignore = "needs peers"]
fn aedes_is_as_good_a_broker() {
    let dir = folder();
    let port = free_port();
    let start = || Peer::of(node("aedes_broker.cjs").with([port.to_string()]));
    let mut broker = start();
    let arguments = [
        "--port",
        &port.to_string(),
        "--topic",
        "plug3",
        "--on",
        "--tele-s",
        "1",
    ];
    let mut plug = Peer::start("tasmota_plug.py", arguments);
    let controller = Controller::on_bench(&rig(dir.path(), port), &dir.path().join("run"), &[]);
    shown(&controller, "p_w", &json!(-1200.0));
    switch(&controller, &mut plug, false);
    switch(&controller, &mut plug, true);
    let status = "gridrig/microgrid-bench/mq/status";
    let dump = broker.ask("dump");
    assert_eq!(dump["retained"][status], "online", "{dump}");
    // Commands go at QoS 1 and are never kept; what is kept is our own status.
    let published = dump["published"].as_array().expect("a list");
    let commands: Vec<&Value> = published
        .iter()
        .filter(|p| p[0].as_str().is_some_and(|t| t.starts_with("cmnd/plug3/")) && p[1] != "10")
        .filter(|p| p[1] != "")
        .collect();
    assert!(commands.len() >= 2, "{published:?}");
    assert!(
        commands.iter().all(|p| p[2] == 1 && p[3] == false),
        "{commands:?}"
    );
    // A plug without supply: aedes sends its last will, too.
    plug.vanish();
    wait_for("the plug is offline", PATIENCE, || {
        controller
            .device("plug3")
            .filter(|d| d["link"] == "offline")
    });
    let mut plug = Peer::start("tasmota_plug.py", arguments);
    shown(&controller, "switch_on", &json!(true));
    // The broker dies and comes back without memory: everything is subscribed again.
    drop(broker);
    wait_for("the broker is missed", PATIENCE, || {
        controller
            .device("plug3")
            .filter(|d| d["link"] == "offline")
    });
    let before = switch_commands(&mut plug);
    let mut broker = start();
    wait_for("the plug is seen again", PATIENCE, || {
        controller
            .device("plug3")
            .filter(|d| d["link"] == "online" && d["switch_on"]["quality"] == "good")
    });
    let after = switch_commands(&mut plug);
    let offs = |c: &[String]| c.iter().filter(|c| *c == "OFF").count();
    assert_eq!(offs(&before), offs(&after), "nothing is carried out late");
    switch(&controller, &mut plug, false);
    let _ = controller.end();
    let dump = broker.ask("dump");
    assert_eq!(dump["retained"][status], "offline", "{dump}");
}
