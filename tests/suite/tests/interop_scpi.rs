//! Instruments with other people: pyvisa on our emulators, our driver on an instrument of sinstruments.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use suite::bench::Controller;
use suite::process::{Peer, WithArguments, gridrig, json_of, output, text_of};
use suite::run::{events, events_of, samples};
use suite::sim::Sim;
use suite::{PATIENCE, folder, free_port, root, wait_for};

/// What pyvisa hears from an instrument; each row is a message and its answer.
fn check_client(resource: &str, rows: &[(&str, Option<&str>)]) {
    let mut words = vec![resource];
    words.extend(rows.iter().map(|(message, _)| *message));
    let told = json_of("scpi_client.py", words);
    for (number, (message, expected)) in rows.iter().enumerate() {
        let answer = &told["answers"][number];
        assert_eq!(answer.as_str(), *expected, "{resource}: {message}: {told}");
    }
}

#[test]
#[ignore = "needs peers"]
fn pyvisa_drives_our_grid_simulator_over_a_socket_and_is_told_its_mistakes() {
    let sim = Sim::start(&root().join("rigs/virtual/bench-instruments.toml"));
    let resource = format!("TCPIP::127.0.0.1::{}::SOCKET", sim.port("grid1"));
    check_client(
        &resource,
        &[
            (
                "*IDN?",
                Some("GRIDSIM,generic/grid-simulator,EMU-grid1,1.0"),
            ),
            ("SYSTem:ERRor?", Some("0,\"No error\"")),
            ("SOURce:FREQuency 49.5;VOLTage 225", None),
            ("*OPC?", Some("1")),
            ("SOUR:FREQ?", Some("49.5000")),
            ("volt?", Some("225.000")),
            ("SOUR:FREQ:LIM:LOW 47;HIGH 52", None),
            ("FREQ 53", None),
            ("SYST:ERR?", Some("-222,\"Data out of range\"")),
            ("FREKWENCY 49", None),
            ("FREQ", None),
            ("FREQ fifty", None),
            ("SYST:ERR?", Some("-113,\"Undefined header\"")),
            ("SYST:ERR?", Some("-109,\"Missing parameter\"")),
            ("SYST:ERR?", Some("-104,\"Data type error\"")),
            ("SYST:ERR?", Some("0,\"No error\"")),
            ("FREQ?;VOLT?", Some("49.5000;225.000")),
            ("OUTP OFF;:OUTP?", Some("0")),
        ],
    );
    sim.end();
}

#[test]
#[ignore = "needs peers"]
fn pyvisa_drives_our_electronic_load_over_a_serial_line() {
    let sim = Sim::start(&root().join("rigs/virtual/bench-instruments.toml"));
    let resource = format!("ASRL{}::INSTR", sim.address("eload1"));
    check_client(
        &resource,
        &[
            ("*IDN?", Some("CHROMA,chroma/63800,EMU-eload1,1.0")),
            (":LOAD:MODE POW;:LOAD:POW 1500", None),
            (":LOAD ON", None),
            (":LOAD:POW?;:LOAD?", Some("1500.0;1")),
            (":LOAD:POW 9000", None),
            ("SYST:ERR?", Some("-222,\"Data out of range\"")),
            (":LOAD OFF;:LOAD?", Some("0")),
        ],
    );
    sim.end();
}

/// The instrument of others on one of the two kinds of line, and the rig's words for it.
fn line(dir: &Path, is_serial: bool, timeout: &str) -> (Vec<String>, String) {
    if is_serial {
        let pty = dir.join("instrument").display().to_string();
        let bus = format!("{{ kind = \"scpi\", serial = \"{pty}\", timeout = \"{timeout}\" }}");
        (vec!["--pty".into(), pty], bus)
    } else {
        let port = free_port();
        let bus = format!(
            "{{ kind = \"scpi\", host = \"127.0.0.1\", port = {port}, timeout = \"{timeout}\" }}"
        );
        (vec!["--port".into(), port.to_string()], bus)
    }
}

fn rig(dir: &Path, bus: &str, more: &str) -> PathBuf {
    let path = dir.join("instrument.toml");
    let text = format!(
        "schema = 1\nsite = {{ v = \"230V\", f = \"50Hz\", phases = 3 }}\n[bus]\ninst1 = {bus}\n[device]\n\
         grid1 = {{ profile = \"generic/grid-simulator\", bus = \"inst1\", role = \"source\", \
         limits = {{ f = \"47..52Hz\", v = \"180..260V\"{more} }}, poll = {{ fast = \"100ms\" }} }}\n"
    );
    std::fs::write(&path, text).expect("the folder can be written");
    path
}

fn write(dir: &Path, rig: &Path, values: &[&str]) -> std::process::Output {
    let run = dir.join(format!("out-{}", free_port()));
    output(
        gridrig()
            .with(["device", "write"])
            .with([rig])
            .with(["grid1"])
            .with(values)
            .with(["--arm", "--out"])
            .with([run]),
    )
}

#[test]
#[ignore = "needs peers"]
fn an_instrument_of_others_is_armed_set_and_read_back_over_a_socket_and_a_serial_line() {
    for is_serial in [false, true] {
        let dir = folder();
        let (words, bus) = line(dir.path(), is_serial, "500ms");
        let mut peer = Peer::start("scpi_instrument.py", words);
        let _ = peer.ask("queue -410 Query INTERRUPTED");
        let _ = peer.ask("queue -350 Queue overflow");
        let rig = rig(dir.path(), &bus, "");
        // Reading asks, and neither takes control nor empties anybody's error queue.
        let told = text_of(
            gridrig()
                .with(["device", "read"])
                .with([&rig])
                .with(["grid1"]),
        );
        assert!(told.contains("ac.v.l1"), "{told}");
        let before = peer.ask("dump");
        assert_eq!(before["errors"], 2, "{before}");
        let heard = before["heard"].as_array().expect("a list");
        let asks = |message: &Value| message.as_str().is_some_and(|m| m.contains('?'));
        assert!(heard.iter().all(asks), "{before}");
        // What stood in its queue from before is not held against the setting.
        let done = write(
            dir.path(),
            &rig,
            &["ctl.f_set=49.5Hz", "ctl.v_set=231V", "switch.on=1"],
        );
        assert!(done.status.success(), "{done:?}");
        let after = peer.ask("dump");
        assert_eq!(
            after["held"],
            json!({ "f": 49.5, "v": 231.0, "phase": 0.0, "on": true }),
            "{after}"
        );
        assert_eq!(after["remote"], true);
        assert_eq!(after["errors"], 0, "{after}");
        assert_eq!(
            after["limits"],
            json!({
                "FREQuency:LIMit:LOW": 47.0, "FREQuency:LIMit:HIGH": 52.0,
                "VOLTage:LIMit:LOW": 180.0, "VOLTage:LIMit:HIGH": 260.0,
            })
        );
    }
}

#[test]
#[ignore = "needs peers"]
fn a_setting_that_others_refuse_change_or_count_in_another_unit_is_no_success() {
    let dir = folder();
    let (words, bus) = line(dir.path(), false, "500ms");
    let mut peer = Peer::start("scpi_instrument.py", words);
    let rig = rig(dir.path(), &bus, "");
    // The fault, and a word of what the person is told.
    for (fault, told) in [
        ("refuse FREQuency", "-200: Execution error"),
        ("drift f 49.9", "49.9"),
        ("unit 1000", "49500"),
    ] {
        let _ = peer.ask(fault);
        let done = write(dir.path(), &rig, &["ctl.f_set=49.5Hz"]);
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success(), "{fault}: {done:?}");
        assert!(text.contains(told), "{fault}: {text}");
        let _ = peer.ask("well");
    }
    let done = write(dir.path(), &rig, &["ctl.f_set=49.5Hz"]);
    assert!(done.status.success(), "{done:?}");
}

#[test]
#[ignore = "needs peers"]
fn slow_answers_of_others_are_never_taken_for_another_question() {
    let dir = folder();
    let (words, bus) = line(dir.path(), false, "200ms");
    let mut peer = Peer::start("scpi_instrument.py", words);
    let rig = rig(dir.path(), &bus, "");
    let done = write(
        dir.path(),
        &rig,
        &["ctl.f_set=49.5Hz", "ctl.v_set=231V", "switch.on=1"],
    );
    assert!(done.status.success(), "{done:?}");
    let controller = Controller::on_bench(&rig, &dir.path().join("run"), &[]);
    let seen = |what: &str| {
        wait_for(what, PATIENCE, || controller.shown("grid1", "f_hz"));
    };
    seen("the frequency is shown");
    for _ in 0..4 {
        // Later than we wait, and into the middle of the next question.
        let _ = peer.ask("slow 0.32");
        std::thread::sleep(std::time::Duration::from_secs(2));
        let _ = peer.ask("well");
        seen("the frequency is shown again");
    }
    let run_dir = controller.end();
    let mut bad = 0;
    for row in samples(&run_dir).iter().filter(|r| r["device"] == "grid1") {
        let expected = match row["point"].as_str() {
            "ac.f" => 49.5,
            "ac.v.l1" => 231.0,
            "ac.p" => 1250.0,
            "ac.q" => -310.0,
            "switch.on" => 1.0,
            _ => continue,
        };
        match row["value"].parse::<f64>() {
            Ok(value) if row["quality"] == "good" => assert_eq!(value, expected, "{row:?}"),
            _ => bad += 1,
        }
    }
    assert!(bad >= 4, "no answer was late: {bad}");
}

#[test]
#[ignore = "needs peers"]
fn an_instrument_that_is_unplugged_is_told_of_found_again_and_not_switched_on_anew() {
    for is_serial in [false, true] {
        let dir = folder();
        let (words, bus) = line(dir.path(), is_serial, "300ms");
        let mut peer = Peer::start("scpi_instrument.py", &words);
        let rig = rig(dir.path(), &bus, "");
        let controller = Controller::on_bench(&rig, &dir.path().join("run"), &[]);
        let link = |state: &str| {
            wait_for(&format!("the instrument is {state}"), PATIENCE, || {
                controller.device("grid1").filter(|d| d["link"] == state)
            });
        };
        link("online");
        controller.hold("grid1", &json!({ "f_hz": 49.5, "v_v": 231.0 }));
        // Read back, too: nothing of the setting is on its way any more.
        wait_for("the instrument is set", PATIENCE, || {
            let told = peer.ask("dump");
            let heard = told["heard"].as_array()?.iter();
            let set = heard.skip_while(|m| *m != "SOURce:FREQuency 49.5000");
            let is_proved = set.into_iter().any(|m| *m == "SOURce:FREQuency?");
            (told["held"]["v"] == 231.0 && is_proved).then_some(())
        });
        controller.release("grid1");
        drop(peer);
        link("offline");
        let mut peer = Peer::start("scpi_instrument.py", &words);
        link("online");
        std::thread::sleep(std::time::Duration::from_secs(2));
        let after = peer.ask("dump");
        assert_eq!(after["held"]["v"], 0.0, "it was set by nobody: {after}");
        assert_eq!(after["held"]["on"], false, "{after}");
        let run_dir = controller.end();
        let events = events(&run_dir);
        assert!(!events_of(&events, "device_offline").is_empty());
        assert!(events_of(&events, "device_online").len() >= 2);
    }
}

#[test]
#[ignore = "needs peers"]
fn a_scan_finds_the_instrument_of_others_by_its_name_alone_and_proposes_a_rig() {
    for is_serial in [false, true] {
        let dir = folder();
        let (words, _) = line(dir.path(), is_serial, "500ms");
        let mut peer = Peer::start("scpi_instrument.py", &words);
        let flags = match is_serial {
            true => ["--scpi-serial".to_owned(), words[1].clone()],
            false => ["--scpi".to_owned(), format!("127.0.0.1:{}", words[1])],
        };
        let out = dir.path().join("rig.toml");
        let told = text_of(
            gridrig()
                .with(["scan"])
                .with(flags)
                .with(["--out"])
                .with([&out]),
        );
        assert!(told.contains("1 devices"), "{told}");
        let heard = peer.ask("dump")["heard"].clone();
        let asked = heard.as_array().expect("a list");
        assert!(asked.iter().all(|m| m == "*IDN?"), "{heard}");
        let rig = std::fs::read_to_string(&out).expect("it was written");
        for text in [
            "Foreign Instruments",
            "generic/grid-simulator",
            "role = \"source\"",
        ] {
            assert!(rig.contains(text), "{text}: {rig}");
        }
        let _ = text_of(gridrig().with(["check", "--live"]).with([&out]));
    }
}
