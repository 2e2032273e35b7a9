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

    fn units(&self) -> String {
        let units = self.devices.iter().filter_map(|d| d["unit"].as_u64());
        let mut units: Vec<u64> = units.collect();
        units.sort_unstable();
        units.dedup();
        let words: Vec<String> = units.iter().map(u64::to_string).collect();
        words.join(",")
    }
}

#[test]
fn every_device_of_the_zoo_is_found_and_the_proposed_rig_passes_the_live_check() {
    let place = Place::new();
    let zoo = Zoo::start(&place);
    let units = zoo.units();
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
        "--units",
        &units,
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
    place.gridrig(&["check", "rig.toml"]).exits(0);
    place.gridrig(&["check", "--live", "rig.toml"]).exits(0);
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
