//! `gridrig check --live` against devices and profiles that give wrong numbers.

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use common::Place;
use serde_json::Value;

/// A bench with a meter at the point of common coupling, a load behind a meter, and sun.
fn bench(pcc: &str, load: &str, faults: &str) -> String {
    format!(
        r#"schema = 1
title  = "Known bad"
site   = {{ v = "230V", f = "50Hz", phases = 3 }}
safety = {{ heartbeat = "1s", on_lost = "safe" }}
[bus]
lan1 = {{ kind = "modbus-tcp", host = "127.0.0.1", port = 15020, timeout = "500ms" }}
[device]
pcc   = {{ profile = "{pcc}", bus = "lan1", unit = 1, role = "pcc" }}
load1 = {{ profile = "{load}", bus = "lan1", unit = 2, role = "load", invert = true }}
pv1   = {{ profile = "sunspec/inverter", bus = "lan1", unit = 3, role = "pv", limits = {{ p = "0..3kW" }} }}
[emulate]
load1 = {{ p = "5kW", faults = [{faults}] }}
pv1   = {{ rated = "3kVA" }}
"#
    )
}

/// The codes of errors that `check --live` tells, with what it printed.
fn codes(place: &Place, words: &[&str]) -> (Option<i32>, Vec<String>, String) {
    let done = place.gridrig(words);
    let codes = done
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("error[")?.split(']').next())
        .map(str::to_owned)
        .collect();
    (done.code, codes, done.stderr)
}

const METER: &str = "eastron/sdm630";

#[test]
fn a_sound_bench_passes_and_each_faulty_device_is_caught_by_name() {
    let place = Place::new();
    for (name, faults, expected) in [
        ("sound", "", &[][..]),
        ("sign_flip", "\"sign_flip\"", &["R040", "R044"][..]),
        ("bias", "\"bias=20kW\"", &["R041", "R042"][..]),
    ] {
        let file = format!("{name}.toml");
        place.file(&file, &bench(METER, METER, faults));
        let (code, told, text) = codes(&place, &["check", "--live", "--on", "sim", &file]);
        for wanted in expected {
            assert!(told.iter().any(|c| c == wanted), "{name}: {wanted}\n{text}");
        }
        assert_eq!(told.is_empty(), expected.is_empty(), "{name}: {text}");
        let exit = if expected.is_empty() { 0 } else { 2 };
        assert_eq!(code, Some(exit), "{name}: {text}");
        assert_eq!(
            text.contains("load1 ="),
            !expected.is_empty(),
            "{name}: {text}"
        );
    }
}

/// Emulators in a process of their own; the profile that they use is sound.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(place: &Place) -> (Served, String) {
    place.file("served.toml", &bench(METER, METER, ""));
    let mut child = place
        .command(&["sim", "served.toml", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("gridrig starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let line = lines.next().expect("a line").expect("it is text");
    let told: Value = serde_json::from_str(&line).expect("it is an object");
    let address = told["address"].as_str().expect("an address");
    let port = address.rsplit(':').next().expect("a port").to_owned();
    (Served(child), port)
}

#[test]
fn a_profile_with_a_wrong_sign_unit_or_word_order_is_caught() {
    let place = Place::new();
    let (_served, port) = serve(&place);
    let good = profile::bundled_text(METER).expect("it is bundled");
    let power = good
        .split("[[point]]")
        .find(|point| point.contains("\"ac.p\""))
        .expect("the meter has ac.p");
    let kilo = power.replace("unit = \"W\"", "unit = \"kW\"");
    let doctored = [
        ("sound", good.to_owned(), &[][..]),
        (
            "sign",
            good.replace("\"import+\"", "\"export+\""),
            &["R044"][..],
        ),
        (
            "unit",
            good.replace(power, &kilo)
                .replace("-100..100kW", "-100..100MW"),
            &["R041", "R042"][..],
        ),
        // The register of identity is not a frequency any more.
        ("order", good.replace("\"ABCD\"", "\"CDAB\""), &["C011"][..]),
    ];
    for (name, text, expected) in doctored {
        assert!(name == "sound" || text != good, "{name} changes nothing");
        let text = text.replace("\"eastron/sdm630\"", "\"own/meter\"");
        place.file("meter.toml", &text);
        let rig = bench("meter.toml", METER, "").replace("port = 15020", &format!("port = {port}"));
        place.file("rig.toml", &rig);
        let words = ["check", "--live", "--within", "4s", "rig.toml"];
        let (code, told, text) = codes(&place, &words);
        for wanted in expected {
            assert!(told.iter().any(|c| c == wanted), "{name}: {wanted}\n{text}");
        }
        assert_eq!(code == Some(0), expected.is_empty(), "{name}: {text}");
    }
}
