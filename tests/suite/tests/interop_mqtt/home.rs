//! Our points in Home Assistant: `home_assistant.py` stands for it and refuses what it would refuse.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use suite::bench::{Controller, TOKEN};
use suite::process::{Peer, Running, WithArguments, mosquitto, text_of, tool};
use suite::{PATIENCE, folder, free_port, http, root, wait_for};

use super::{authority, certificate};

/// The quiet bench, shown to a Home Assistant; `without` names devices that it does not have.
fn rig(dir: &Path, name: &str, section: &str, without: &[&str]) -> PathBuf {
    let lab = std::fs::read_to_string(root().join("rigs/virtual/lab.toml")).expect("the bench");
    let is_left = |line: &&str| !without.iter().any(|w| line.starts_with(w));
    let lines: Vec<&str> = lab.lines().filter(is_left).collect();
    let text = format!(
        "{}\n[telemetry]\nhomeassistant = {{ {section}, every = \"1s\" }}\n",
        lines.join("\n")
    );
    let path = dir.join(format!("{name}.toml"));
    std::fs::write(&path, text).expect("the folder can be written");
    path
}

fn home(port: u16) -> Peer {
    Peer::start("home_assistant.py", ["--port", &port.to_string()])
}

/// What it knows; it must have refused nothing.
fn dump(home: &mut Peer) -> Value {
    let dump = home.ask("dump");
    assert_eq!(dump["errors"], json!([]), "Home Assistant refuses this");
    dump
}

/// The entities that are available, by their names.
fn available(dump: &Value) -> Vec<String> {
    let entities = dump["entities"].as_object().expect("entities");
    let there = entities.iter().filter(|(_, e)| e["available"] == true);
    there.map(|(id, _)| id.clone()).collect()
}

fn state(dump: &Value, device: &str, key: &str) -> Value {
    dump["entities"][format!("gridrig-laboratory-bench-400-v-quiet-{device}-{key}")].clone()
}

fn seen(home: &mut Peer, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    wait_for(what, PATIENCE, || Some(dump(home)).filter(&holds))
}

fn counter(controller: &Controller, name: &str) -> u64 {
    let metrics = http::get(controller.page, "/metrics").body;
    let line = metrics.lines().find(|l| l.starts_with(name));
    let value = line.and_then(|l| l.split(' ').nth(1)?.parse::<f64>().ok());
    value.expect("the counter is there") as u64
}

const DEVICES: [&str; 8] = [
    "bat1", "brk1", "ess1", "load1", "pcc", "plug1", "plug2", "pv1",
];

#[test]
#[ignore = "needs peers"]
fn home_assistant_shows_the_bench_and_nothing_that_is_not_true() {
    let dir = folder();
    let dir = dir.path();
    let (port, secure) = (free_port(), free_port());
    authority(dir, "ca");
    certificate(dir, "ca", "server", "-days 30");
    let _ = text_of(
        tool("mosquitto_passwd")
            .with(["-c", "-b"])
            .with([dir.join("passwd")])
            .with(["bench", "right"]),
    );
    // We come by TLS with a password, Home Assistant as it likes.
    let config = format!(
        "user root\nper_listener_settings true\nlistener {port} 127.0.0.1\nallow_anonymous true\n\
         listener {secure} 127.0.0.1\nallow_anonymous false\npassword_file {d}/passwd\n\
         cafile {d}/ca.pem\ncertfile {d}/server.pem\nkeyfile {d}/server.key\n",
        d = dir.display()
    );
    std::fs::write(dir.join("mosquitto.conf"), config).expect("written");
    let _broker = Running::start(
        tool("mosquitto")
            .with(["-c"])
            .with([dir.join("mosquitto.conf")]),
    );
    suite::wait_for_port("mosquitto", secure);
    let mut home = home(port);
    let section = format!(
        "url = \"mqtts://localhost:{secure}\", ca = \"ca.pem\", user = \"bench\", \
         password_env = \"BENCH_HOME_PASSWORD\""
    );
    let run = |rig: &Path, name: &str| {
        Controller::demo_with(
            Some(rig),
            &dir.join(name),
            &[],
            &[("BENCH_HOME_PASSWORD", "right")],
        )
    };
    let whole = rig(dir, "whole", &section, &[]);
    let controller = run(&whole, "run-whole");

    let all = seen(&mut home, "every device with its values", |d| {
        d["devices"] == json!(DEVICES) && state(d, "bat1", "bat_soc")["available"] == true
    });
    let charge = state(&all, "bat1", "bat_soc");
    assert_eq!(
        (&charge["unit"], &charge["class"]),
        (&json!("%"), &json!("battery"))
    );
    let percent = charge["state"].as_f64().expect("a number");
    assert!((50.0..=60.0).contains(&percent), "{percent} of 55 %");
    seen(&mut home, "the plug is shown with its load", |d| {
        state(d, "plug1", "ac_p")["state"]
            .as_f64()
            .is_some_and(|w| (w + 2000.0).abs() < 50.0)
            && state(d, "plug1", "switch_on")["state"] == true
    });
    controller.hold("plug1", &json!({ "on": false }));
    seen(&mut home, "the plug is shown off", |d| {
        state(d, "plug1", "switch_on")["state"] == false
            && state(d, "plug1", "ac_p")["state"].as_f64() == Some(0.0)
    });

    // One message per device and second, whatever the cycle does.
    let _ = home.ask("clear");
    std::thread::sleep(Duration::from_secs(5));
    let heard = dump(&mut home)["heard"].clone();
    for (topic, n) in heard.as_object().expect("topics") {
        let n = n.as_u64().expect("a count");
        assert!(
            topic.ends_with("/state") && (3..=7).contains(&n),
            "{topic}: {n}"
        );
    }
    assert_eq!(heard.as_object().expect("topics").len(), DEVICES.len());

    // It forgets everything and is told everything.
    let before = available(&dump(&mut home));
    let _ = home.ask("restart");
    seen(&mut home, "all is there again after a restart", |d| {
        available(d) == before
    });
    assert_eq!(
        counter(&controller, "gridrig_home_assistant_values_lost_total"),
        0
    );
    assert!(counter(&controller, "gridrig_home_assistant_values_written_total") > 100);

    // The end: everything stays announced, and nothing is shown as if it were true.
    let _ = controller.end();
    let ended = seen(&mut home, "nothing is available", |d| {
        available(d).is_empty()
    });
    assert_eq!(ended["devices"], json!(DEVICES));
    let _ = home.ask("restart");
    let kept = seen(&mut home, "the broker kept what was announced", |d| {
        d["devices"] == json!(DEVICES)
    });
    assert_eq!(
        kept["retained"].as_array().map(Vec::len),
        Some(DEVICES.len())
    );
    assert!(available(&kept).is_empty());
    let known: Vec<&String> = kept["entities"]
        .as_object()
        .expect("entities")
        .keys()
        .collect();

    // The next run has the same entities, but for the plug that was taken away.
    let smaller = rig(dir, "smaller", &section, &["plug2"]);
    let controller = run(&smaller, "run-smaller");
    let less = seen(&mut home, "the plug is taken away", |d| {
        !d["devices"]
            .as_array()
            .expect("names")
            .contains(&json!("plug2"))
            && state(d, "bat1", "bat_soc")["available"] == true
    });
    let entities = less["entities"].as_object().expect("entities");
    assert!(
        entities.keys().all(|id| known.contains(&id)),
        "{entities:?}"
    );
    // And a process that dies is missed at once.
    controller.running.kill();
    seen(&mut home, "the last will", |d| available(d).is_empty());
}

#[test]
#[ignore = "needs peers"]
fn a_device_that_is_gone_is_unavailable_there_and_not_zero_and_its_alarm_is_told_seen_and_over() {
    let dir = folder();
    let port = free_port();
    let _broker = mosquitto(dir.path(), port);
    let arguments = [
        "--port",
        &port.to_string(),
        "--topic",
        "plug3",
        "--on",
        "--tele-s",
        "1",
    ];
    let plug = Peer::start("tasmota_plug.py", arguments);
    let mut home = home(port);
    let path = dir.path().join("plug.toml");
    let text = format!(
        "schema = 1\ntitle = \"Laboratory bench, 400 V, quiet\"\n\
         site = {{ v = \"230V\", f = \"50Hz\", phases = 3 }}\n\
         [bus]\nmq = {{ kind = \"mqtt\", url = \"mqtt://127.0.0.1:{port}\" }}\n\
         [telemetry]\nhomeassistant = {{ url = \"mqtt://127.0.0.1:{port}\", every = \"1s\" }}\n\
         [device]\nplug3 = {{ profile = \"tasmota/plug\", bus = \"mq\", topic = \"plug3\", \
         role = \"load\", limits = {{ p = \"-3..0kW\" }} }}\n\
         [alarm]\nlight = {{ watch = \"plug3.p\", above = \"-500W\", severity = \"error\" }}\n"
    );
    std::fs::write(&path, text).expect("the folder can be written");
    let controller = Controller::on_bench(&path, &dir.path().join("run"), &[]);
    seen(&mut home, "the plug's power is shown", |d| {
        state(d, "plug3", "ac_p")["state"].as_f64() == Some(-1200.0)
    });
    // The alarm, and whether somebody has seen it: raised by a plug that is switched off.
    let alarm =
        |d: &Value| ["light", "light__seen"].map(|key| state(d, "_alarms", key)["state"].as_bool());
    let is = |raised, seen| move |d: &Value| alarm(d) == [Some(raised), Some(seen)];
    seen(&mut home, "the alarm is calm", is(false, false));
    controller.hold("plug3", &json!({ "on": false }));
    seen(&mut home, "the alarm is raised", is(true, false));
    let body = json!({ "alarm": "light" });
    let answer = http::post(controller.page, "/api/v1/acknowledge", Some(TOKEN), &body);
    assert_eq!(answer.status, 202, "{}", answer.body);
    let told = seen(&mut home, "the alarm was seen", is(true, true));
    let shown = state(&told, "_alarms", "light");
    assert_eq!(
        (&shown["name"], &shown["class"]),
        (&json!("light"), &json!("problem"))
    );
    controller.hold("plug3", &json!({ "on": true }));
    seen(
        &mut home,
        "the alarm is over, and nothing waits to be seen",
        is(false, false),
    );
    plug.vanish();
    let gone = seen(&mut home, "the plug is unavailable", |d| {
        let power = state(d, "plug3", "ac_p");
        assert_ne!(power["state"].as_f64(), Some(0.0), "an invented power");
        power["available"] == false
    });
    assert_eq!(state(&gone, "plug3", "switch_on")["available"], false);
    let _plug = Peer::start("tasmota_plug.py", arguments);
    seen(&mut home, "the plug is back", |d| {
        state(d, "plug3", "ac_p")["state"].as_f64() == Some(-1200.0)
    });
    let _ = controller.end();
}

#[test]
#[ignore = "needs peers"]
fn a_broker_that_hangs_or_is_away_delays_nothing_and_is_used_again() {
    let dir = folder();
    let dir = dir.path();
    let port = free_port();
    let section = format!("url = \"mqtt://127.0.0.1:{port}\"");
    let controller = Controller::demo(
        Some(&rig(dir, "bench", &section, &[])),
        &dir.join("run"),
        &[],
    );
    // Chosen: eight of ten cycles, as other programs share the machine.
    let steady = |what: &str| {
        let before = counter(&controller, "gridrig_cycles_total");
        std::thread::sleep(Duration::from_secs(12));
        let cycles = counter(&controller, "gridrig_cycles_total") - before;
        assert!(cycles >= 96, "{what}: {cycles} of 120 cycles");
    };
    steady("nobody listens");
    let broker = mosquitto(dir, port);
    let mut watching = home(port);
    let is_shown = |d: &Value| state(d, "bat1", "bat_soc")["available"] == true;
    seen(&mut watching, "the bench is shown", is_shown);
    broker.signal(Signal::STOP);
    steady("the broker hangs");
    broker.kill();
    drop(watching);
    let _broker = mosquitto(dir, port);
    let mut watching = home(port);
    seen(
        &mut watching,
        "the bench is shown by a new broker",
        is_shown,
    );
    assert_eq!(
        counter(&controller, "gridrig_home_assistant_values_lost_total"),
        0
    );
    let _ = controller.end();
}
