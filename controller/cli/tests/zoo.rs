//! The zoo: one of every bundled profile, on paper and over the wire.

#![allow(clippy::panic, reason = "a test that fails says so by a panic")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use common::{Place, repository};
use serde_json::Value;

fn zoo() -> String {
    repository("rigs/virtual/zoo.toml").display().to_string()
}

#[test]
fn every_bundled_profile_passes_check() {
    let place = Place::new();
    for id in profile::bundled_ids() {
        let text = profile::bundled_text(id).expect("it is bundled");
        let file = place.file(&format!("{}.toml", id.replace('/', "-")), text);
        let done = place.gridrig(&["--json", "check", &file.display().to_string()]);
        let told = done.exits(0).json()["files"][0].clone();
        assert_eq!(told["kind"], "profile", "{id}");
        assert_eq!(told["diagnostics"], Value::Array(Vec::new()), "{id}");
        assert_eq!(told["summary"]["id"], id);
    }
}

#[test]
fn the_zoo_passes_check_without_a_warning() {
    let place = Place::new();
    let done = place.gridrig(&["--json", "check", &zoo()]);
    let told = done.exits(0).json()["files"][0].clone();
    assert_eq!(told["diagnostics"], Value::Array(Vec::new()));
}

#[test]
fn the_zoo_serves_one_of_every_bundled_profile_at_an_address() {
    let place = Place::new();
    let mut child = place
        .command(&["sim", &zoo(), "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("gridrig starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    // Whoever leaves early would let the emulators run on.
    let mut served = BTreeMap::new();
    while served.len() < profile::bundled_ids().len() {
        let Some(Ok(line)) = lines.next() else { break };
        let Ok(told) = serde_json::from_str::<Value>(&line) else {
            break;
        };
        let id = told["profile"].as_str().unwrap_or_default().to_owned();
        served.insert(id, told);
    }
    child.kill().expect("it still ran");
    child.wait().expect("it ends");
    for id in profile::bundled_ids() {
        let told = served.get(id).unwrap_or_else(|| panic!("{id} is missing"));
        assert!(
            told["address"].as_str().is_some_and(|a| !a.is_empty()),
            "{told}"
        );
    }
}

#[test]
fn every_device_of_the_zoo_is_heard_by_its_driver() {
    let place = Place::new();
    let done = place.gridrig(&["--json", "check", "--live", "--on", "sim", &zoo()]);
    let told = done.exits(0).json()["files"][0].clone();
    let devices = told["summary"]["live"]["devices"]
        .as_array()
        .expect("a list of devices");
    assert_eq!(devices.len(), profile::bundled_ids().len());
    for device in devices {
        let readings = device["readings"].as_array().expect("a list of readings");
        assert!(readings.iter().any(|r| r["quality"] == "good"), "{device}");
    }
}
