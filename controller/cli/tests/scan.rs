//! `gridrig scan`: the zoo is found over the wire, and what is proposed works.

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use common::{Place, repository};
use serde_json::Value;

/// What a scan cannot find: batteries that only answer somebody who writes, and a gateway that
/// sleeps until somebody keeps it awake.
const NOT_FOUND_BY_A_SCAN: &[&str] = &["byd/hvs-can", "pylontech/hv-can", "victron/gx-mqtt"];

/// What a scan proposes for a device that says nothing to tell it from a plainer one.
fn as_a_scan_can_know(id: &str) -> &str {
    match id {
        "zigbee2mqtt/timed-plug" => "zigbee2mqtt/plug",
        id => id,
    }
}

/// The emulators of the zoo in a process of their own, which ends with the test.
struct Zoo {
    child: Child,
    devices: Vec<Value>,
}

impl Drop for Zoo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Zoo {
    fn start(place: &Place) -> Self {
        let rig = repository("rigs/virtual/zoo.toml").display().to_string();
        let mut child = place
            .command(&["sim", &rig, "--json"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("gridrig starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let devices = lines
            .take(profile::bundled_ids().len())
            .map(|line| serde_json::from_str(&line.expect("a line")).expect("each is an object"))
            .collect();
        Self { child, devices }
    }

    /// The flags that name every bus of a kind, once.
    fn flags(&self, protocol: &str, flag: &str) -> Vec<String> {
        let of_kind = self.devices.iter().filter(|d| d["protocol"] == protocol);
        let mut addresses: Vec<String> = of_kind
            .filter_map(|d| d["address"].as_str().map(str::to_owned))
            .collect();
        addresses.sort();
        addresses.dedup();
        let flags = addresses.into_iter();
        // An instrument's line is a path or a host, and its address says which.
        let of = |address: &str| match flag {
            "--scpi" if address.starts_with('/') => "--scpi-serial".to_owned(),
            _ => flag.to_owned(),
        };
        flags.flat_map(|a| [of(&a), a]).collect()
    }

    fn profiles(&self, protocol: &str) -> Vec<&str> {
        let of_kind = self.devices.iter().filter(|d| d["protocol"] == protocol);
        let mut ids: Vec<&str> = of_kind
            .filter_map(|d| d["profile"].as_str())
            .filter(|id| !NOT_FOUND_BY_A_SCAN.contains(id))
            .map(as_a_scan_can_know)
            .collect();
        ids.sort_unstable();
        ids
    }
}

#[test]
fn every_device_of_the_zoo_is_found_and_the_proposed_rig_passes_the_live_check() {
    let place = Place::new();
    let zoo = Zoo::start(&place);
    let flags: Vec<String> = [
        ("modbus-tcp", "--tcp"),
        ("modbus-rtu", "--serial"),
        ("can", "--can"),
        ("mqtt", "--mqtt"),
        ("scpi", "--scpi"),
    ]
    .iter()
    .flat_map(|(protocol, flag)| zoo.flags(protocol, flag))
    .collect();
    let mut words = vec![
        "--json",
        "scan",
        "--listen",
        "3s",
        "--out",
        "rig.toml",
        // Emulated devices answer within a millisecond or two and need no rest; half of the time goes
        // into units of the serial line where nobody is.
        "--timeout",
        "150ms",
        "--min-gap",
        "2ms",
    ];
    words.extend(flags.iter().map(String::as_str));
    let told = place.gridrig(&words).exits(0).json();
    for protocol in ["modbus-tcp", "modbus-rtu", "can", "mqtt", "scpi"] {
        let prefix = match protocol {
            "modbus-tcp" => "lan",
            "modbus-rtu" => "rs",
            "can" => "can",
            "scpi" => "inst",
            _ => "mq",
        };
        let devices = told["devices"].as_array().expect("a list");
        let on_bus = devices
            .iter()
            .filter(|d| d["bus"].as_str().is_some_and(|bus| bus.starts_with(prefix)));
        let mut found: Vec<&str> = on_bus.filter_map(|d| d["profile"].as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, zoo.profiles(protocol), "{protocol}");
    }
    // Nothing may replace a rig.
    let again = place.gridrig(&words);
    assert!(
        again.exits(2).stderr.contains("error[C003]"),
        "{}",
        again.stderr
    );
    // Also the serial line with seven meters on it is asked for no more than it can carry.
    let checked = place.gridrig(&["--json", "check", "rig.toml"]);
    let told = checked.exits(0).json()["files"][0]["diagnostics"].clone();
    assert_eq!(told, Value::Array(Vec::new()));
    place.gridrig(&["check", "--live", "rig.toml"]).exits(0);
}

/// A profile of the user's own that has one of the models which can stand for one another.
fn with_model(place: &Place, id: &str, all: &str, model: u16) -> String {
    let text = profile::bundled_text(id).expect("it is bundled");
    assert!(text.contains(all), "{id} has other models now");
    let name = format!("{}-{model}", id.replace('/', "-"));
    let text = text.replace(all, &format!("[{model}]"));
    let text = text.replace(&format!("\"{id}\""), &format!("\"lab/{name}\""));
    place.file(&format!("{name}.toml"), &text);
    format!("{name}.toml")
}

#[test]
fn every_model_of_an_inverter_and_of_a_meter_is_emulated_scanned_and_read() {
    let place = Place::new();
    let (inverter, meter) = ("sunspec/inverter", "sunspec/meter");
    let inverters = "[103, 101, 102, 113, 111, 112]";
    let meters = "[203, 201, 202, 204, 213, 211, 212, 214]";
    let (mut rig, mut models) = (String::new(), Vec::new());
    for (n, model) in (1_u8..).zip([101, 102, 103, 111, 112, 113]) {
        let file = with_model(&place, inverter, inverters, model);
        rig += &format!(
            "pv{model} = {{ profile = \"{file}\", bus = \"lan1\", unit = {n}, role = \"pv\", limits = {{ p = \"0..3kW\" }}, poll = {{ fast = \"1s\" }} }}\n"
        );
        models.push((inverter, model));
    }
    for (n, model) in (7_u8..).zip([201, 202, 203, 204, 211, 212, 213, 214]) {
        let file = with_model(&place, meter, meters, model);
        rig += &format!(
            "met{model} = {{ profile = \"{file}\", bus = \"lan1\", unit = {n}, role = \"load\", invert = true, poll = {{ fast = \"1s\" }} }}\n"
        );
        models.push((meter, model));
    }
    place.file(
        "models.toml",
        &format!(
            "schema = 1\nsite = {{ v = \"230V\", f = \"50Hz\", phases = 3 }}\n\
             safety = {{ heartbeat = \"1s\", on_lost = \"safe\" }}\n\
             [bus]\nlan1 = {{ kind = \"modbus-tcp\", host = \"127.0.0.1\", port = 1502, min_gap = \"1ms\" }}\n\
             [device]\n{rig}"
        ),
    );
    let scan = [
        "--json",
        "scan",
        "--sim",
        "models.toml",
        "--units",
        "1..14",
        "--min-gap",
        "1ms",
        "--out",
        "found.toml",
    ];
    let found = place.gridrig(&scan).exits(0).json();
    let found = found["devices"].as_array().expect("a list");
    let text = std::fs::read_to_string(place.path("found.toml")).expect("it was written");
    assert_eq!(found.len(), models.len(), "{text}");
    for (device, (profile, model)) in found.iter().zip(&models) {
        assert_eq!(device["profile"], *profile, "{model}");
        let chain = format!("SunSpec models 1 {model}");
        // Of an inverter the nameplate and the controls come behind.
        assert!(
            text.contains(&format!("{chain}.")) || text.contains(&format!("{chain} ")),
            "{chain} is missing in {text}"
        );
    }
    let live = ["--json", "check", "--live", "--on", "sim", "models.toml"];
    let told = place.gridrig(&live).exits(0).json();
    let devices = told["files"][0]["summary"]["live"]["devices"].clone();
    let devices = devices.as_array().expect("a list of devices");
    assert_eq!(devices.len(), models.len());
    for device in devices {
        let readings = device["readings"].as_array().expect("a list of readings");
        for (point, low, high) in [
            ("ac.f", 49.5, 50.5),
            ("ac.v.l1", 207.0, 253.0),
            ("ac.p", 1.0, 4000.0),
        ] {
            let value = readings.iter().find(|r| r["point"] == point);
            let value = value.and_then(|r| r["value"].as_f64()).map(f64::abs);
            assert!(
                value.is_some_and(|v| low <= v && v <= high),
                "{point} is {value:?} in {device}"
            );
        }
    }
}

#[test]
fn a_scan_without_a_bus_and_one_that_finds_nothing_say_so() {
    let place = Place::new();
    let none = place.gridrig(&["scan"]);
    assert!(
        none.exits(2).stderr.contains("error[C020]"),
        "{}",
        none.stderr
    );
    let bad = place.gridrig(&["scan", "--tcp", "127.0.0.1", "--units", "0..3"]);
    assert!(bad.exits(2).stderr.contains("broadcast"), "{}", bad.stderr);
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("it has one").to_string();
    drop(free);
    let silent = place.gridrig(&["scan", "--tcp", &address, "--units", "1"]);
    silent.exits(3);
    for code in ["error[R024]", "error[C021]"] {
        assert!(silent.stderr.contains(code), "{}", silent.stderr);
    }
}
