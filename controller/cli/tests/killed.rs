//! The end that nobody can prepare: the daemon is killed, and the devices have to know by themselves.
//!
//! Everything is real: the emulators are a process of their own behind sockets and a broker, the daemon
//! is another, and what became of the devices is read by a third.

#![allow(clippy::panic, reason = "a test that fails says so by a panic")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{Place, Running, until};
use serde_json::Value;

/// Devices with the time within which each falls back by itself, as the rig and its profile state it.
const STATED: [(&str, Duration); 3] = [
    ("ess1", Duration::from_secs(4)),
    ("pv1", Duration::from_secs(6)),
    ("plug1", Duration::from_secs(8)),
];
/// How exactly the fallback is seen here: each look is a process of its own, on a busy machine.
const SEEN_WITHIN: Duration = Duration::from_millis(1500);

/// The rig, with the buses at these addresses.
fn rig(lan1: &str, lan2: &str, mq: &str) -> String {
    format!(
        r#"
schema = 1
title  = "A bench whose daemon is killed"
site   = {{ v = "230V", f = "50Hz", phases = 3 }}
[bus]
lan1 = {{ kind = "modbus-tcp", {lan1} }}
lan2 = {{ kind = "modbus-tcp", {lan2} }}
mq   = {{ kind = "mqtt", url = "{mq}" }}
[device]
ess1  = {{ profile = "sunspec/storage-inverter", bus = "lan1", unit = 1, role = "ess", limits = {{ p = "-3..3kW" }}, revert = "4s" }}
pv1   = {{ profile = "sunspec/inverter", bus = "lan2", unit = 1, role = "pv", limits = {{ p = "0..3kW" }}, revert = "6s" }}
plug1 = {{ profile = "plug.toml", bus = "mq", topic = "plug1", role = "load", limits = {{ p = "-2..0kW" }} }}
[emulate]
ess1  = {{ rated = "3kVA", soc = "55%", ramp = "50kW/s" }}
pv1   = {{ rated = "3kVA", p = "2kW" }}
plug1 = {{ p = "500W" }}
"#
    )
}

/// A process that does not outlive the test.
struct Emulators(Child);

impl Drop for Emulators {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the emulators; where each device is.
fn emulators(place: &Place) -> (Emulators, BTreeMap<String, String>) {
    let mut child = place
        .command(&["sim", "sim.toml", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("gridrig starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let told: BTreeMap<String, String> = lines
        .take(STATED.len())
        .map(|line| {
            let line = line.expect("a line of JSON");
            let told: Value = serde_json::from_str(&line).expect("a line of JSON");
            let of = |key: &str| told[key].as_str().expect("it is told").to_owned();
            (of("device"), of("address"))
        })
        .collect();
    (Emulators(child), told)
}

fn host_and_port(address: &str) -> String {
    let (host, port) = address.rsplit_once(':').expect("host and port");
    format!("host = \"{host}\", port = {port}")
}

/// Asks the daemon; the body of its answer, or nothing while it does not listen yet.
fn ask(port: u16, method: &str, path: &str, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer s3cret\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some(body.to_owned())
}

/// What a device says now, read by another process; nothing when it could not be read.
fn read(place: &Place, device: &str, point: &str) -> Option<f64> {
    let done = place.gridrig(&["--json", "device", "read", "bench.toml", device, point]);
    let told: Value = serde_json::from_str(&done.stdout).ok()?;
    told[0]["value"].as_f64()
}

/// Whether a device is at what it falls back to: at rest, its ceiling lifted, or off.
fn has_fallen_back(place: &Place, device: &str) -> Option<bool> {
    match device {
        "ess1" => read(place, device, "ac.p").map(|p| p.abs() < 60.0),
        "pv1" => read(place, device, "ac.p").map(|p| p > 1700.0),
        _ => read(place, device, "switch.on").map(|on| on < 0.5),
    }
}

#[test]
fn every_device_falls_back_within_its_stated_time_when_the_daemon_is_killed() {
    let place = Place::new();
    // A plug of the user's own, with a timer of 8 s instead of a minute.
    let plug = profile::bundled_text("shelly/gen2-plug").expect("it is bundled");
    let plug = plug
        .replace("\"toggle_after\":60", "\"toggle_after\":8")
        .replace("revert         = \"60s\"", "revert         = \"8s\"")
        .replace("refresh        = \"20s\"", "refresh        = \"2s\"");
    place.file("plug.toml", &plug);
    let free = |port: u16| format!("host = \"127.0.0.1\", port = {port}");
    place.file(
        "sim.toml",
        &rig(&free(15020), &free(15021), "mqtt://127.0.0.1:1883"),
    );
    let (_emulators, at) = emulators(&place);
    let (lan1, lan2) = (host_and_port(&at["ess1"]), host_and_port(&at["pv1"]));
    place.file("bench.toml", &rig(&lan1, &lan2, &at["plug1"]));

    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a free port")
        .port();
    let listen = format!("127.0.0.1:{port}");
    let words = [
        "run",
        "bench.toml",
        "--arm",
        "--listen",
        &listen,
        "--token-env",
        "BENCH_TOKEN",
        "--out",
        "out",
    ];
    let daemon = Running::of(
        place
            .command(&words)
            .env("BENCH_TOKEN", "s3cret")
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    until("an armed bench", || {
        let told = ask(port, "GET", "/api/v1/arming", "").unwrap_or_default();
        told.contains("\"armed\":true")
    });
    let hold = |device: &str, setpoint: &str| {
        let body = format!("{{\"device\":\"{device}\",\"setpoint\":{setpoint}}}");
        let told = ask(port, "POST", "/api/v1/hold", &body).unwrap_or_default();
        assert!(told.contains("accepted"), "{told}");
    };
    // A plug that is on already is not commanded, and so not timed.
    hold("plug1", r#"{"on":false}"#);
    hold("ess1", r#"{"p_w":1500}"#);
    hold("pv1", r#"{"ceiling_w":800}"#);
    until("the plug is off", || {
        has_fallen_back(&place, "plug1") == Some(true)
    });
    hold("plug1", r#"{"on":true}"#);
    until("everything is held", || {
        STATED
            .iter()
            .all(|(device, _)| has_fallen_back(&place, device) == Some(false))
    });
    // Held for longer than any of the timers: the daemon keeps them awake.
    std::thread::sleep(Duration::from_secs(9));
    for (device, _) in STATED {
        let fallen = has_fallen_back(&place, device);
        assert_eq!(fallen, Some(false), "{device} is kept awake");
    }

    daemon.signal("KILL");
    let killed = Instant::now();
    let mut after: BTreeMap<&str, Duration> = BTreeMap::new();
    until("every device is at its safe value", || {
        for (device, _) in STATED {
            if !after.contains_key(device) && has_fallen_back(&place, device) == Some(true) {
                after.insert(device, killed.elapsed());
            }
        }
        after.len() == STATED.len()
    });
    println!("fell back after {after:?}");
    for (device, stated) in STATED {
        let took = after[device];
        assert!(
            took <= stated + SEEN_WITHIN,
            "{device} fell back after {took:?}, {stated:?} are stated"
        );
    }
    drop(daemon);
}
