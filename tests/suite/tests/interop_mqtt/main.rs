//! MQTT with other people: mosquitto's clients on our plugs, our controller on their broker.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

mod home;
mod plugs;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use suite::bench::Controller;
use suite::process::{Peer, Running, WithArguments, mosquitto, output, text_of, tool};
use suite::sim::Sim;
use suite::{PATIENCE, folder, free_port, http, root, run, wait_for};

use rustix::process::Signal;

/// mosquitto_sub that ends after one message, or after half a minute without one.
fn next_of(port: u16, topic: &str) -> Command {
    let port = port.to_string();
    tool("mosquitto_sub").with(["-p", &port, "-t", topic, "-C", "1", "-W", "30"])
}

fn publish(port: u16, topic: &str, payload: &str) {
    let port = port.to_string();
    let _ =
        text_of(tool("mosquitto_pub").with(["-p", &port, "-t", topic, "-m", payload, "-q", "1"]));
}

/// Subscribes, publishes as soon as that is in force, and gives the first message heard.
fn answer_to(port: u16, topic: &str, command: (&str, &str)) -> String {
    // A retained mark comes at once to whoever has subscribed: its arrival says that it is in force.
    let port_text = port.to_string();
    let mark = [
        "-p",
        &port_text,
        "-t",
        "probe/subscribed",
        "-m",
        "in force",
        "-q",
        "1",
        "-r",
    ];
    let _ = text_of(tool("mosquitto_pub").with(mark));
    let mut listening = Running::start(tool("mosquitto_sub").with([
        "-p",
        &port_text,
        "-t",
        topic,
        "-t",
        "probe/subscribed",
        "-C",
        "2",
        "-W",
        "30",
    ]));
    assert_eq!(listening.line().as_deref(), Some("in force"));
    publish(port, command.0, command.1);
    listening
        .line()
        .unwrap_or_else(|| panic!("nothing came on {topic}"))
}

// --- Other people's clients on our plugs ----------------------------------------------------------

#[test]
#[ignore = "needs peers"]
fn mosquitto_hears_and_switches_our_tasmota_plug() {
    let sim = Sim::start(&root().join("tests/rigs/steady.toml"));
    let port = sim.port("plug1");
    assert_eq!(
        text_of(next_of(port, "tele/plug1/LWT")).trim(),
        "Online",
        "retained"
    );
    assert_eq!(
        answer_to(port, "stat/plug1/POWER", ("cmnd/plug1/POWER", "ON")),
        "ON"
    );
    let power = || {
        let status = answer_to(port, "stat/plug1/STATUS10", ("cmnd/plug1/Status", "10"));
        let status: Value = serde_json::from_str(&status).expect("the status is JSON");
        status["StatusSNS"]["ENERGY"]["Power"].as_f64()
    };
    wait_for("the load behind it draws 2 kW", PATIENCE, || {
        power().filter(|w| (w - 2000.0).abs() < 50.0)
    });
    assert_eq!(
        answer_to(port, "stat/plug1/POWER", ("cmnd/plug1/POWER", "OFF")),
        "OFF"
    );
    wait_for("the load behind it draws nothing", PATIENCE, || {
        power().filter(|w| *w == 0.0)
    });
    // An empty payload asks and changes nothing.
    assert_eq!(
        answer_to(port, "stat/plug1/POWER", ("cmnd/plug1/POWER", "")),
        "OFF"
    );
    sim.end();
}

#[test]
#[ignore = "needs peers"]
fn mosquitto_calls_our_shelly_plug() {
    let sim = Sim::start(&root().join("tests/rigs/steady.toml"));
    let port = sim.port("plug2");
    let call = |method: &str, more: &str| {
        let request = format!(
            "{{\"id\":7,\"src\":\"probe\",\"method\":\"{method}\",\"params\":{{\"id\":0{more}}}}}"
        );
        let answer: Value =
            serde_json::from_str(&answer_to(port, "probe/rpc", ("plug2/rpc", &request)))
                .expect("an answer is JSON");
        assert_eq!(answer["id"], 7, "{answer}");
        answer
    };
    let _ = call("Switch.Set", ",\"on\":true");
    let status = call("Switch.GetStatus", "");
    assert_eq!(status["result"]["output"], true, "{status}");
    let was_on = call("Switch.Set", ",\"on\":false");
    assert_eq!(was_on["result"]["was_on"], true, "{was_on}");
    let status = call("Switch.GetStatus", "");
    assert_eq!(status["result"]["output"], false, "{status}");
    assert_eq!(status["result"]["apower"].as_f64(), Some(0.0), "{status}");
    sim.end();
}

#[test]
#[ignore = "needs peers"]
fn a_message_of_200_kilobytes_does_not_cut_our_plugs_off() {
    let sim = Sim::start(&root().join("tests/rigs/steady.toml"));
    let port = sim.port("plug1");
    let dir = folder();
    let large = dir.path().join("large");
    std::fs::write(&large, vec![b'x'; 200_000]).expect("written");
    let port_text = port.to_string();
    // The broker may refuse it; what counts is that the plug still obeys.
    let _ = output(
        tool("mosquitto_pub")
            .with(["-p", &port_text, "-t", "cmnd/plug1/Junk", "-r", "-f"])
            .with([&large]),
    );
    assert_eq!(
        answer_to(port, "stat/plug1/POWER", ("cmnd/plug1/POWER", "OFF")),
        "OFF"
    );
    sim.end();
}

// --- Our controller on their broker ---------------------------------------------------------------

fn rig(dir: &Path, port: u16) -> PathBuf {
    let path = dir.join("plug.toml");
    let text = format!(
        "schema = 1\nsite = {{ v = \"230V\", f = \"50Hz\", phases = 3 }}\n\
         [bus]\nmq = {{ kind = \"mqtt\", url = \"mqtt://127.0.0.1:{port}\" }}\n\
         [device]\nplug3 = {{ profile = \"tasmota/plug\", bus = \"mq\", topic = \"plug3\", \
         role = \"load\", limits = {{ p = \"-3..0kW\" }} }}\n"
    );
    std::fs::write(&path, text).expect("the folder can be written");
    path
}

fn switch_commands(plug: &mut Peer) -> Vec<String> {
    let dump = plug.ask("dump");
    let commands = dump["commands"]
        .as_array()
        .expect("the plug keeps its commands")
        .clone();
    commands
        .iter()
        .filter(|c| c[0] == "POWER" && c[1] != "")
        .filter_map(|c| c[1].as_str().map(str::to_owned))
        .collect()
}

#[test]
#[ignore = "needs peers"]
fn a_command_that_the_broker_died_with_is_never_carried_out_late() {
    let dir = folder();
    let port = free_port();
    let broker = mosquitto(dir.path(), port);
    let mut plug = Peer::start(
        "tasmota_plug.py",
        [
            "--port",
            &port.to_string(),
            "--topic",
            "plug3",
            "--on",
            "--tele-s",
            "1",
        ],
    );
    let controller = Controller::on_bench(&rig(dir.path(), port), &dir.path().join("run"), &[]);
    wait_for("the plug is seen on", PATIENCE, || {
        controller
            .shown("plug3", "switch_on")
            .filter(|on| *on == json!(true))
    });
    // Proof that the command would come through: off, and on again.
    controller.hold("plug3", &json!({ "on": false }));
    wait_for("the plug goes off", PATIENCE, || {
        (plug.ask("dump")["on"] == false).then_some(())
    });
    controller.hold("plug3", &json!({ "on": true }));
    wait_for("the plug goes on", PATIENCE, || {
        (plug.ask("dump")["on"] == true).then_some(())
    });
    let before = switch_commands(&mut plug);
    let offs = |commands: &[String]| commands.iter().filter(|c| *c == "OFF").count();

    // Stopped, the broker takes the bytes and does nothing: the publish is under way when it dies.
    broker.signal(Signal::STOP);
    controller.hold("plug3", &json!({ "on": false }));
    std::thread::sleep(Duration::from_secs(2));
    broker.kill();
    wait_for("the command is told to have failed", PATIENCE, || {
        let events = http::get(controller.page, "/api/v1/events").body;
        ["setpoint_missed", "setpoint_refused"]
            .iter()
            .any(|e| events.contains(e))
            .then_some(())
    });
    // Nobody wants it off any more when the broker comes back.
    controller.hold("plug3", &json!({ "on": true }));
    std::thread::sleep(Duration::from_secs(1));
    let _broker = mosquitto(dir.path(), port);
    wait_for("the plug is seen again", PATIENCE, || {
        controller
            .device("plug3")
            .filter(|d| d["link"] == "online" && d["switch_on"]["quality"] == "good")
    });
    // Long enough for anything that still waits in a queue.
    std::thread::sleep(Duration::from_secs(8));
    let after = switch_commands(&mut plug);
    assert_eq!(
        offs(&after),
        offs(&before),
        "carried out late: {before:?}, then {after:?}"
    );
    assert_eq!(plug.ask("dump")["on"], true);
    // And the road is whole: a new command arrives.
    controller.hold("plug3", &json!({ "on": false }));
    wait_for("the plug goes off", PATIENCE, || {
        (plug.ask("dump")["on"] == false).then_some(())
    });
    let run_dir = controller.end();
    let result = run::result(&run_dir);
    assert_eq!(
        result["counters"]["dispatches"],
        result["counters"]["dispatches_logged"]
    );
}

#[test]
#[ignore = "needs peers"]
fn the_last_will_of_a_plug_without_supply_is_heard_at_once() {
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
    let controller = Controller::on_bench(&rig(dir.path(), port), &dir.path().join("run"), &[]);
    let online = || {
        wait_for("the plug is online and draws 1200 W", PATIENCE, || {
            controller
                .shown("plug3", "p_w")
                .filter(|p| *p == json!(-1200.0))
        });
    };
    online();
    plug.vanish();
    let gone = wait_for("the plug is offline", PATIENCE, || {
        controller
            .device("plug3")
            .filter(|d| d["link"] == "offline")
    });
    // Not known is not zero: no good reading of 0 W stands for a plug that is gone.
    assert_ne!(gone["p_w"], json!({ "value": 0.0, "quality": "good" }));
    let _plug = Peer::start("tasmota_plug.py", arguments);
    online();
    let powers = run::values(&run::samples(&controller.end()), "plug3", "ac.p");
    // The safe end switches the plug off: only after its last draw is a power of zero true.
    let last_draw = powers.iter().rposition(|p| *p == -1200.0);
    let until_the_end = &powers[..=last_draw.expect("it drew power")];
    assert!(
        until_the_end.iter().all(|p| *p == -1200.0),
        "an invented power: {powers:?}"
    );
}

// --- A broker that asks who we are ----------------------------------------------------------------

/// Runs openssl in a folder.
fn openssl(dir: &Path, arguments: &str) {
    let done = output(
        Command::new("openssl")
            .with(arguments.split(' '))
            .current_dir_to(dir),
    );
    assert!(
        done.status.success(),
        "openssl {arguments}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

trait InFolder {
    fn current_dir_to(self, dir: &Path) -> Self;
}

impl InFolder for Command {
    fn current_dir_to(mut self, dir: &Path) -> Self {
        self.current_dir(dir);
        self
    }
}

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// An authority `NAME.pem` of its own.
fn authority(dir: &Path, name: &str) {
    openssl(
        dir,
        &format!(
            "req -x509 {NEW_KEY} -keyout {name}.key -out {name}.pem -days 30 -subj /CN={name}"
        ),
    );
}

/// A certificate `NAME.pem` with its key, signed by an authority, valid for some days from now.
fn certificate(dir: &Path, authority: &str, name: &str, days: &str) {
    std::fs::write(
        dir.join("ext"),
        "subjectAltName=DNS:localhost,IP:127.0.0.1\n",
    )
    .expect("written");
    openssl(
        dir,
        &format!("req {NEW_KEY} -keyout {name}.key -out {name}.csr -subj /CN={name}"),
    );
    openssl(
        dir,
        &format!(
            "x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial \
             -out {name}.pem {days} -extfile ext"
        ),
    );
}

/// mosquitto with a configuration of its own.
fn secured(dir: &Path, port: u16, lines: &str) -> Running {
    let config = dir.join("mosquitto.conf");
    let text = format!("user root\nlistener {port} 127.0.0.1\n{lines}\n");
    std::fs::write(&config, text).expect("the folder can be written");
    let broker = Running::start(tool("mosquitto").with(["-c"]).with([&config]));
    suite::wait_for_port("mosquitto", port);
    broker
}

fn secured_rig(dir: &Path, name: &str, bus: &str) -> PathBuf {
    let path = dir.join(format!("{name}.toml"));
    let text = format!(
        "schema = 1\ntitle = \"Secured Lab\"\nsite = {{ v = \"230V\", f = \"50Hz\", phases = 3 }}\n\
         [bus]\nmq = {{ kind = \"mqtt\", {bus} }}\n\
         [device]\nplug3 = {{ profile = \"tasmota/plug\", bus = \"mq\", topic = \"plug3\", \
         role = \"load\", limits = {{ p = \"-3..0kW\" }} }}\n"
    );
    std::fs::write(&path, text).expect("the folder can be written");
    path
}

/// Waits until the list of events holds all of these words.
fn told(controller: &Controller, what: &str, words: &[&str]) {
    wait_for(what, PATIENCE, || {
        let events = http::get(controller.page, "/api/v1/events").body;
        words.iter().all(|w| events.contains(w)).then_some(())
    });
}

#[test]
#[ignore = "needs peers"]
fn a_broker_that_cannot_be_trusted_or_does_not_trust_us_is_told_by_name() {
    let dir = folder();
    let dir = dir.path();
    authority(dir, "ca");
    authority(dir, "stranger");
    certificate(dir, "ca", "server", "-days 30");
    certificate(dir, "ca", "old", "-days -1");
    certificate(dir, "ca", "bench", "-days 30");
    certificate(dir, "stranger", "foreign", "-days 30");
    let tls = |certificate: &str, more: &str| {
        format!(
            "allow_anonymous true\ncafile {d}/ca.pem\ncertfile {d}/{certificate}.pem\n\
             keyfile {d}/{certificate}.key\n{more}",
            d = dir.display()
        )
    };
    let mutual = tls("server", "require_certificate true\n");
    // (name, broker, bus beyond the URL, words of the event)
    let rows: [(&str, String, &str, &[&str]); 5] = [
        (
            "expired",
            tls("old", ""),
            "ca = \"ca.pem\"",
            &["has expired"],
        ),
        (
            "stranger",
            tls("server", ""),
            "ca = \"stranger.pem\"",
            &["not signed by the authority in `ca`"],
        ),
        (
            "anonymous",
            mutual.clone(),
            "ca = \"ca.pem\"",
            &["add `cert` and `key`"],
        ),
        (
            "foreign",
            mutual.clone(),
            "ca = \"ca.pem\", cert = \"foreign.pem\", key = \"foreign.key\"",
            &["does not accept our certificate"],
        ),
        (
            "known",
            mutual,
            "ca = \"ca.pem\", cert = \"bench.pem\", key = \"bench.key\"",
            &[],
        ),
    ];
    for (name, broker, bus, words) in rows {
        let port = free_port();
        let broker = secured(dir, port, &broker);
        let url = format!("url = \"mqtts://localhost:{port}\", {bus}");
        let rig = secured_rig(dir, name, &url);
        let controller = Controller::on_bench(&rig, &dir.join(format!("run-{name}")), &[]);
        if words.is_empty() {
            // The broker keeps that we are there, which only a connection can have told it.
            let status = tool("mosquitto_sub").with([
                "-h",
                "localhost",
                "-p",
                &port.to_string(),
                "-t",
                "gridrig/secured-lab/mq/status",
                "-C",
                "1",
                "-W",
                "30",
                "--cafile",
            ]);
            let status = status
                .with([dir.join("ca.pem")])
                .with(["--cert"])
                .with([dir.join("bench.pem")])
                .with(["--key"])
                .with([dir.join("bench.key")]);
            assert_eq!(text_of(status).trim(), "online");
        } else {
            told(&controller, name, words);
        }
        let _ = controller.end();
        broker.kill();
    }
}

#[test]
#[ignore = "needs peers"]
fn a_wrong_password_and_a_denied_topic_are_told_by_name() {
    let dir = folder();
    let dir = dir.path();
    let (passwords, rights) = (dir.join("passwd"), dir.join("acl"));
    for (user, create) in [("lab", true), ("plug", false)] {
        let flags: &[&str] = if create { &["-c", "-b"] } else { &["-b"] };
        let _ = text_of(
            tool("mosquitto_passwd")
                .with(flags)
                .with([&passwords])
                .with([user, "right"]),
        );
    }
    // Everything but the position of the switch may be read.
    let acl = "user plug\ntopic readwrite #\nuser lab\ntopic read tele/plug3/LWT\n\
               topic read stat/plug3/STATUS10\ntopic read tele/plug3/SENSOR\n\
               topic write cmnd/plug3/#\ntopic write gridrig/#\n";
    std::fs::write(&rights, acl).expect("written");
    let port = free_port();
    let _broker = secured(
        dir,
        port,
        &format!(
            "allow_anonymous false\npassword_file {}\nacl_file {}",
            passwords.display(),
            rights.display()
        ),
    );
    let _plug = Peer::start(
        "tasmota_plug.py",
        [
            "--port",
            &port.to_string(),
            "--topic",
            "plug3",
            "--on",
            "--user",
            "plug",
            "--password",
            "right",
        ],
    );
    let url = format!("url = \"mqtt://127.0.0.1:{port}\", user = \"lab\", timeout = \"4s\"");
    // Without a password in the environment it is an empty one.
    let wrong = secured_rig(dir, "wrong", &url);
    let controller = Controller::on_bench(&wrong, &dir.join("run-wrong"), &[]);
    told(
        &controller,
        "the login is refused",
        &["refuses the login", "check user and password"],
    );
    let _ = controller.end();
    // Any variable of the environment will do as the place of a password; this one is given by the test.
    let right = secured_rig(
        dir,
        "right",
        &format!("{url}, password_env = \"BENCH_MQTT_PASSWORD\""),
    );
    let controller = Controller::on_bench_with(
        &right,
        &dir.join("run-right"),
        &[],
        &[("BENCH_MQTT_PASSWORD", "right")],
    );
    wait_for("the plug's power is read", PATIENCE, || {
        controller
            .shown("plug3", "p_w")
            .filter(|p| *p == json!(-1200.0))
    });
    told(
        &controller,
        "the denied topic is noticed",
        &["switch.on has never come on", "stat/plug3/POWER", "denied"],
    );
    let _ = controller.end();
}

#[test]
#[ignore = "needs peers"]
fn a_kept_message_above_our_limit_is_named_and_survived() {
    let dir = folder();
    let port = free_port();
    let _broker = mosquitto(dir.path(), port);
    let _plug = Peer::start(
        "tasmota_plug.py",
        ["--port", &port.to_string(), "--topic", "plug3", "--on"],
    );
    let large = dir.path().join("large");
    std::fs::write(&large, vec![b'x'; 5 << 20]).expect("written");
    let port_text = port.to_string();
    let _ = text_of(
        tool("mosquitto_pub")
            .with([
                "-p",
                &port_text,
                "-t",
                "tele/plug3/STATE",
                "-q",
                "1",
                "-r",
                "-f",
            ])
            .with([&large]),
    );
    let controller = Controller::on_bench(&rig(dir.path(), port), &dir.path().join("run"), &[]);
    told(
        &controller,
        "the topic is named",
        &["tele/plug3/STATE", "not listened to any more"],
    );
    wait_for("the plug is read all the same", PATIENCE, || {
        controller
            .shown("plug3", "p_w")
            .filter(|p| *p == json!(-1200.0))
    });
    controller.hold("plug3", &json!({ "on": false }));
    wait_for("and it obeys", PATIENCE, || {
        controller
            .shown("plug3", "switch_on")
            .filter(|on| *on == json!(false))
    });
    let _ = controller.end();
}
