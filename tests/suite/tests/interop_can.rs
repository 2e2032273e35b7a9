//! CAN with other people: python-can and cantools on our battery, our controller on theirs.

#[path = "interop_can/commanded.rs"]
mod commanded;
#[path = "interop_can/dbc.rs"]
mod dbc;
#[path = "interop_can/link.rs"]
mod link;

use std::path::{Path, PathBuf};

use link::Link;
use serde_json::{Value, json};
use suite::bench::Controller;
use suite::process::{Peer, json_of};
use suite::run::{events, events_of, samples, values};
use suite::sim::Sim;
use suite::{PATIENCE, folder, root, wait_for};

#[test]
#[ignore = "needs peers"]
fn cantools_decodes_our_battery_and_knows_every_frame() {
    let steady = root().join("tests/rigs/steady.toml");
    let dir = folder();
    let serial = dir.path().join("serial.toml");
    let text = format!(
        "schema = 1\ninherit = \"{}\"\n\
         [bus]\ncan0 = {{ kind = \"can\", uri = \"slcan:///dev/ttyACM0?bitrate=500000\" }}\n",
        steady.display()
    );
    std::fs::write(&serial, text).expect("the folder can be written");
    for rig in [steady, serial] {
        let sim = Sim::start(&rig);
        let address = sim.address("bat1");
        let asked = match address.strip_prefix("slcan://") {
            Some(port) => {
                let path = port.split('?').next().unwrap_or_default();
                vec!["--slcan".to_owned(), path.to_owned()]
            }
            None => {
                let bus = address.rsplit('/').next().unwrap_or_default();
                let port = sim.port("bat1").to_string();
                ["--port", &port, "--bus", bus].map(str::to_owned).to_vec()
            }
        };
        let more = ["--for-s", "4", "--keep-alive"].map(str::to_owned);
        check_heard(&json_of("lvcan_listener.py", asked.into_iter().chain(more)));
        sim.end();
    }
}

fn check_heard(heard: &Value) {
    assert_eq!(heard["unknown"], json!([]), "frames that nobody knows");
    let frames = &heard["frames"];
    // 55 % charge, 100 % health, little-endian; the maker's name; charge and discharge allowed.
    assert_eq!(frames["355"], "37006400");
    assert_eq!(frames["35E"], "50594C4F4E202020");
    assert_eq!(frames["35C"], "C0");
    let decoded = &heard["decoded"];
    assert_eq!(
        decoded["Charge"],
        json!({ "StateOfCharge": 55, "StateOfHealth": 100 })
    );
    let of = |frame: &str, signal: &str| decoded[frame][signal].as_f64().unwrap_or(f64::NAN);
    assert_eq!(of("Limits", "ChargeVoltage"), 53.2);
    assert!(
        (40.0..60.0).contains(&of("Measured", "Voltage")),
        "{decoded}"
    );
    assert!(
        of("Measured", "Current").abs() < 3.0,
        "nobody asked it to move power: {decoded}"
    );
    assert!(
        (-10.0..60.0).contains(&of("Measured", "Temperature")),
        "{decoded}"
    );
    let alarms = decoded["Alarms"]
        .as_object()
        .expect("the alarms are decoded");
    let raised: Vec<_> = alarms
        .iter()
        .filter(|(name, value)| !name.starts_with("Modules") && value.as_i64() != Some(0))
        .collect();
    assert!(raised.is_empty(), "{raised:?}");
    for (name, count) in heard["counts"].as_object().expect("counts") {
        assert!(
            count.as_u64() >= Some(2),
            "{name} came {count} times in 4 s"
        );
    }
}

fn rig(dir: &Path, uri: &str) -> PathBuf {
    let path = dir.join("battery.toml");
    let text = format!(
        "schema = 1\nsite = {{ v = \"230V\", f = \"50Hz\", phases = 3 }}\n\
         [bus]\ncan0 = {{ kind = \"can\", uri = \"{uri}\" }}\n\
         [device]\nbat1 = {{ profile = \"pylontech/lv-can\", bus = \"can0\", role = \"battery\" }}\n"
    );
    std::fs::write(&path, text).expect("the folder can be written");
    path
}

#[test]
#[ignore = "needs peers"]
fn our_controller_reads_the_golden_frames_and_keeps_the_battery_alive() {
    for link in [Link::socketcand(), Link::serial()] {
        reads_the_golden_frames(&link);
    }
}

fn reads_the_golden_frames(link: &Link) {
    let dir = folder();
    let mut battery = Peer::start("lvcan_sender.py", &link.theirs);
    let controller =
        Controller::on_bench(&rig(dir.path(), &link.ours), &dir.path().join("run"), &[]);
    let shown = |charge: f64| {
        wait_for(&format!("the battery shows {charge}"), PATIENCE, || {
            controller
                .shown("bat1", "soc")
                .filter(|soc| *soc == json!(charge))
        });
    };
    shown(0.88);
    wait_for("three keep-alives", PATIENCE, || {
        battery.ask("dump")["keep_alives"]
            .as_u64()
            .filter(|n| *n >= 3)
    });
    assert!(
        battery
            .unasked
            .iter()
            .all(|frame| frame["received"] == "305"),
        "{:?}",
        battery.unasked
    );
    let run_dir = controller.end();

    let rows = samples(&run_dir);
    // 7A13 = 49.86 V, F2FE = -27.0 A, 6B01 = 36.3 degrees, 5E00 = 94 %. The battery counts what flows
    // into it, we count what flows out: its -27 A discharge it, and are +27 A here.
    for (point, value) in [
        ("bat.soc", 0.88),
        ("bat.soh", 0.94),
        ("bat.v", 49.86),
        ("bat.i", 27.0),
        ("bat.t", 36.3),
    ] {
        let seen = values(&rows, "bat1", point);
        assert!(!seen.is_empty(), "{point} was never read");
        assert!(
            seen.iter().all(|v| (v - value).abs() < 1e-9),
            "{point}: not {value} but {seen:?}"
        );
    }
}

#[test]
#[ignore = "needs peers"]
fn a_silent_battery_and_a_restarted_daemon_are_noticed_and_overcome() {
    let dir = folder();
    let mut relay = Peer::start("socketcand_relay.py", ["--port", "0"]);
    let mut battery = Peer::start("lvcan_sender.py", ["--port", &relay.port().to_string()]);
    let controller = Controller::on_bench(
        &rig(dir.path(), &link::uri_of(&relay)),
        &dir.path().join("run"),
        &[],
    );
    let shown = |charge: f64| {
        wait_for(&format!("the battery shows {charge}"), PATIENCE, || {
            controller
                .shown("bat1", "soc")
                .filter(|soc| *soc == json!(charge))
        });
    };
    shown(0.88);
    let _ = battery.ask("mute");
    wait_for("its charge is not vouched for any more", PATIENCE, || {
        controller
            .device("bat1")
            .filter(|d| d["soc"]["quality"] != "good")
    });
    let _ = battery.ask("set 355 32005E00");
    let _ = battery.ask("unmute");
    shown(0.50);
    assert_eq!(
        relay.ask("kick")["kicked"],
        2,
        "the battery and our controller"
    );
    let _ = battery.ask("set 355 2D005E00");
    shown(0.45);
    let run_dir = controller.end();
    let charge = values(&samples(&run_dir), "bat1", "bat.soc");
    assert!(
        charge.iter().all(|soc| [0.88, 0.5, 0.45].contains(soc)),
        "invented: {charge:?}"
    );
    assert!(
        !events_of(&events(&run_dir), "device_offline").is_empty(),
        "silence left no event"
    );
}
