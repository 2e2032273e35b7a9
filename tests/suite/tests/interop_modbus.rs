//! Modbus with other people: libmodbus, minimalmodbus, pymodbus, modbus-serial and jsmodbus on both sides, a cable
//! that is pulled, a gateway that restarts, and a meter whose answers come late.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use suite::bench::Controller;
use suite::late_meter::{self, MEASURED, Misdeeds};
use suite::process::{
    Peer, Running, WithArguments, gridrig, node, output, script, serial_cable, text_of, tool,
};
use suite::run::{SampleRow, events, events_of, samples};
use suite::sim::Sim;
use suite::{PATIENCE, folder, free_port, root, wait_for};

/// mbpoll on a serial line, reading one float of an input register.
fn mbpoll_rtu(line: &str, unit: u8, register: u16) -> Command {
    tool("mbpoll").with([
        "-m",
        "rtu",
        "-b",
        "115200",
        "-P",
        "none",
        "-a",
        &unit.to_string(),
        "-0",
        "-q",
        "-1",
        "-o",
        "1",
        "-t",
        "3:float",
        "-B",
        "-r",
        &register.to_string(),
        "-c",
        "1",
        line,
    ])
}

/// The number that mbpoll shows for a register.
fn number(text: &str, register: u16) -> f64 {
    let mark = format!("[{register}]:");
    let shown = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(&mark))
        .map(str::trim);
    shown
        .and_then(|n| n.parse().ok())
        .unwrap_or_else(|| panic!("no number at {mark} {text}"))
}

fn rig(dir: &Path, bus: &str) -> PathBuf {
    let path = dir.join("meter.toml");
    let text = format!(
        "schema = 1\nsite = {{ v = \"230V\", f = \"50Hz\", phases = 3 }}\n\
         [bus]\nline = {bus}\n\
         [device]\nmet1 = {{ profile = \"eastron/sdm630\", bus = \"line\", unit = 2, role = \"pcc\" }}\n"
    );
    std::fs::write(&path, text).expect("the folder can be written");
    path
}

fn serial(dir: &Path, timeout: &str) -> String {
    format!(
        "{{ kind = \"modbus-rtu\", port = \"{}\", baud = 9600, parity = \"none\", timeout = \"{timeout}\", min_gap = \"10ms\" }}",
        dir.join("ours").display()
    )
}

// --- Other people's clients on our emulators ------------------------------------------------------

#[test]
#[ignore = "needs peers"]
fn mbpoll_reads_our_meters_on_a_serial_line_and_no_other_unit_answers() {
    let sim = Sim::start(&root().join("tests/rigs/steady.toml"));
    let line = sim.address("pcc");
    let read = |unit, register| number(&text_of(mbpoll_rtu(&line, unit, register)), register);
    assert!((read(1, 0x46) - 50.0).abs() < 0.2);
    assert!((read(1, 0x00) - 230.0).abs() < 10.0);
    // Three meters of one line balance: sun 9 kW, plugs 2 and 3 kW, the building's load, the grid.
    // Started a moment ago, the sun and the plugs may still be on their way up.
    wait_for("the feeder balances", PATIENCE, || {
        let (grid_w, load_w) = (read(1, 0x34), read(3, 0x34));
        let (sun_w, plugs_w) = (9000.0, 5000.0);
        ((grid_w + sun_w - load_w.abs() - plugs_w).abs() < 400.0).then_some(())
    });
    let nobody = output(mbpoll_rtu(&line, 9, 0x34));
    let text = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(text.contains("timed out"), "unit 9 answered: {text}");
    sim.end();
}

#[test]
#[ignore = "needs peers"]
fn mbpoll_hears_an_illegal_address_where_our_inverter_has_no_register() {
    let sim = Sim::start(&root().join("tests/rigs/steady.toml"));
    let port = sim.port("pv1").to_string();
    let read = |register: &str| {
        let reading = tool("mbpoll").with([
            "-m",
            "tcp",
            "-a",
            "1",
            "-0",
            "-q",
            "-1",
            "-t",
            "4:hex",
            "-r",
            register,
            "-c",
            "1",
            "-p",
            &port,
            "127.0.0.1",
        ]);
        let output = output(reading);
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    };
    assert!(read("40000").contains("0x5375"));
    let refused = read("60000");
    assert!(refused.contains("Illegal data address"), "{refused}");
    sim.end();
}

/// A client of other people, over TCP or on a serial line.
#[derive(Clone, Copy, Debug)]
enum Client {
    Libmodbus,
    ModbusSerial,
    Jsmodbus,
}

impl Client {
    const ALL: [Self; 3] = [Self::Libmodbus, Self::ModbusSerial, Self::Jsmodbus];

    fn command(self, verb: &str) -> Command {
        match self {
            Self::Libmodbus => tool("libmodbus_peer").with([verb]),
            Self::ModbusSerial => node("modbus_peer.cjs").with([verb, "modbus-serial"]),
            Self::Jsmodbus => node("modbus_peer.cjs").with([verb, "jsmodbus"]),
        }
    }

    fn answer(command: Command) -> Value {
        let said = output(command);
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        serde_json::from_str(text.trim()).unwrap_or_else(|e| {
            panic!("{e}: {text}{}", String::from_utf8_lossy(&said.stderr));
        })
    }

    /// Reads over TCP from unit 1: function, address, count.
    fn read(self, port: u16, [function, address, count]: [u16; 3]) -> Value {
        let command = match self {
            Self::Libmodbus => self.command("read").with(["tcp", "127.0.0.1"]),
            _ => self.command("read").with(["tcp"]),
        };
        let place = [port, 1, function, address, count].map(|n| n.to_string());
        Self::answer(command.with(place))
    }

    /// Writes with function 16 over TCP to unit 1.
    fn write(self, port: u16, address: u16, words: &[u16]) -> Value {
        let command = match self {
            Self::Libmodbus => self.command("write").with(["tcp", "127.0.0.1"]),
            _ => self.command("write"),
        };
        let place = [port, 1, address].into_iter().chain(words.iter().copied());
        Self::answer(command.with(place.map(|n| n.to_string())))
    }

    /// Reads two input registers of unit 1 on a serial line as a float.
    fn float_on_line(self, line: &str, address: u16) -> f32 {
        let command = match self {
            Self::Libmodbus => self.command("read").with(["rtu", line, "115200"]),
            _ => self.command("read").with(["rtu", line]),
        };
        let place = [1, 4, address, 2].map(|n: u16| n.to_string());
        let answer = Self::answer(command.with(place));
        let words: Vec<u16> = serde_json::from_value(answer["words"].clone())
            .unwrap_or_else(|e| panic!("{self:?}: {e}: {answer}"));
        f32::from_bits(u32::from(words[0]) << 16 | u32::from(words[1]))
    }
}

/// The register of a SunSpec model's ID, found as any client would.
fn model_at(port: u16, model: u16) -> u16 {
    let mut address = 40_002;
    loop {
        let head = Client::Libmodbus.read(port, [3, address, 2]);
        let head: Vec<u16> = serde_json::from_value(head["words"].clone()).expect("two words");
        assert_ne!(head[0], 0xFFFF, "there is no model {model}");
        if head[0] == model {
            return address;
        }
        address += 2 + head[1];
    }
}

#[test]
#[ignore = "needs peers"]
fn other_peoples_clients_read_and_write_our_inverter() {
    let sim = Sim::start(&root().join("tests/rigs/steady.toml"));
    let port = sim.port("pv1");
    // WMaxLimPct is the sixth register of model 123.
    let limit = model_at(port, 123) + 5;
    for (client, percent) in Client::ALL.into_iter().zip([9_100, 8_200, 7_300]) {
        let marker = client.read(port, [3, 40_000, 2]);
        assert_eq!(marker["words"], json!([0x5375, 0x6E53]), "{client:?}");
        let refused = client.read(port, [3, 60_000, 1]);
        assert!(refused["error"].is_string(), "{client:?}: {refused}");
        let written = client.write(port, limit, &[percent]);
        assert_eq!(written["written"], 1, "{client:?}: {written}");
        let read = client.read(port, [3, limit, 1]);
        assert_eq!(read["words"], json!([percent]), "{client:?}");
    }
    sim.end();
}

#[test]
#[ignore = "needs peers"]
fn other_peoples_clients_read_our_meter_on_a_serial_line() {
    let sim = Sim::start(&root().join("tests/rigs/steady.toml"));
    let line = sim.address("pcc");
    for client in [Client::Libmodbus, Client::ModbusSerial] {
        let hertz = client.float_on_line(&line, 0x46);
        assert!((hertz - 50.0).abs() < 0.2, "{client:?}: {hertz} Hz");
    }
    sim.end();
}

#[test]
#[ignore = "needs peers"]
fn minimalmodbus_reads_our_meters_and_hears_where_there_is_no_register() {
    let sim = Sim::start(&root().join("tests/rigs/steady.toml"));
    let line = sim.address("pcc");
    let read = |unit: &str, address: &str| {
        let arguments = [&line, "115200", unit, address, "60000"];
        Client::answer(script("minimalmodbus_read.py").with(arguments))
    };
    for (unit, address, expected, off) in [
        ("1", 0x46, 50.0, 0.2),
        ("1", 0x00, 230.0, 10.0),
        ("3", 0x46, 50.0, 0.2),
    ] {
        let told = read(unit, &address.to_string());
        let float = told["float"].as_f64().unwrap_or_else(|| panic!("{told}"));
        assert!((float - expected).abs() < off, "unit {unit}: {told}");
        assert_eq!(told["refused"], "IllegalRequestError", "{told}");
        // The first word of a float is its upper half, in this library's opinion too.
        let upper = u64::from((float as f32).to_bits() >> 16);
        let word = told["word"].as_u64().unwrap_or_else(|| panic!("{told}"));
        assert!(word.abs_diff(upper) <= 1, "unit {unit}: {told}");
    }
    let nobody = read("9", "70");
    let why = nobody["error"]
        .as_str()
        .unwrap_or_else(|| panic!("{nobody}"));
    assert!(why.starts_with("NoResponseError"), "{nobody}");
    sim.end();
}

/// A gateway as one can buy it: what comes over TCP goes onto the line, and back. It serves one
/// connection and ends with it.
fn gateway(port: u16, line: &Path) -> Running {
    let listen = format!("tcp-listen:{port},bind=127.0.0.1,reuseaddr");
    let line = format!("file:{},raw,echo=0", line.display());
    let mut running = Running::start(tool("socat").with(["-d", "-d", &listen, &line]));
    let _ = running.told("listening on");
    running
}

#[test]
#[ignore = "needs peers"]
fn libmodbus_reads_our_meter_through_a_gateway_that_passes_rtu_over_tcp() {
    let dir = folder();
    let path = dir.path().join("meter.toml");
    let text = std::fs::read_to_string(rig(
        dir.path(),
        "{ kind = \"modbus-rtu-tcp\", host = \"127.0.0.1\", baud = 115200 }",
    ))
    .expect("just written")
    .replace("unit = 2", "unit = 1");
    std::fs::write(&path, text).expect("the folder can be written");
    let sim = Sim::start(&path);
    assert_eq!(sim.device("met1")["protocol"], "modbus-rtu-tcp");
    let ours = dir.path().join("ours");
    let ends = [
        format!("pty,raw,echo=0,link={}", ours.display()),
        format!("tcp:127.0.0.1:{}", sim.port("met1")),
    ];
    let _bridge = Running::start(tool("socat").with(ends));
    wait_for("the line", PATIENCE, || ours.exists().then_some(()));
    let hertz = Client::Libmodbus.float_on_line(&ours.display().to_string(), 0x46);
    assert!((hertz - 50.0).abs() < 0.2, "{hertz} Hz");
    sim.end();
}

// --- Our controller on other people's devices -----------------------------------------------------

#[test]
#[ignore = "needs peers"]
fn device_read_tells_what_pymodbus_serves() {
    let dir = folder();
    let _cable = serial_cable(dir.path());
    let theirs = dir.path().join("theirs").display().to_string();
    let _meter = Peer::start("rtu_meter.py", ["--pty", &theirs, "--unit", "2"]);
    let rig = rig(dir.path(), &serial(dir.path(), "1s"));
    let text = text_of(
        gridrig()
            .with(["device", "read", "--json", "--within", "30s"])
            .with([&rig])
            .with(["met1", "ac.p", "ac.f", "ac.v.l2"]),
    );
    for value in ["3655.75", "49.97", "230.8"] {
        assert!(text.contains(value), "{value} is not in {text}");
    }
}

/// What the meters of other people measure: active power and frequency.
const FLOATS: [&str; 3] = ["0x00=230.5", "0x34=3655.75", "0x46=49.96875"];

/// `gridrig device read` of the meter behind a bus.
fn check_read(dir: &Path, bus: &str) {
    let text = text_of(
        gridrig()
            .with(["device", "read", "--json", "--within", "30s"])
            .with([rig(dir, bus)])
            .with(["met1", "ac.p", "ac.f"]),
    );
    for value in ["3655.75", "49.96875"] {
        assert!(text.contains(value), "{value} is not in {text}");
    }
}

#[test]
#[ignore = "needs peers"]
fn device_read_tells_what_other_peoples_servers_say() {
    let dir = folder();
    let served = [
        tool("libmodbus_peer").with(["serve", "tcp", "2"]),
        node("modbus_peer.cjs").with(["serve", "modbus-serial", &free_port().to_string(), "2"]),
        node("modbus_peer.cjs").with(["serve", "jsmodbus", &free_port().to_string(), "2"]),
    ];
    for command in served {
        let server = Peer::of(command.with(FLOATS));
        let bus = format!(
            "{{ kind = \"modbus-tcp\", host = \"127.0.0.1\", port = {} }}",
            server.port()
        );
        check_read(dir.path(), &bus);
    }
}

#[test]
#[ignore = "needs peers"]
fn device_read_tells_what_libmodbus_says_on_a_line_and_behind_a_gateway() {
    let dir = folder();
    let _cable = serial_cable(dir.path());
    let theirs = dir.path().join("theirs").display().to_string();
    let serve = ["serve", "rtu", &theirs, "115200", "2"];
    let _meter = Peer::of(tool("libmodbus_peer").with(serve).with(FLOATS));
    check_read(dir.path(), &serial(dir.path(), "1s"));
    let port = free_port();
    let _gateway = gateway(port, &dir.path().join("ours"));
    check_read(dir.path(), &rtu_over_tcp(port));
}

fn rtu_over_tcp(port: u16) -> String {
    format!(
        "{{ kind = \"modbus-rtu-tcp\", host = \"127.0.0.1\", port = {port}, baud = 115200, timeout = \"500ms\" }}"
    )
}

#[test]
#[ignore = "needs peers"]
fn a_gateway_that_restarts_is_found_again_and_no_value_is_invented() {
    let dir = folder();
    let _cable = serial_cable(dir.path());
    let theirs = dir.path().join("theirs").display().to_string();
    let serve = ["serve", "rtu", &theirs, "115200", "2"];
    let mut meter = Peer::of(tool("libmodbus_peer").with(serve).with(FLOATS));
    let (port, line) = (free_port(), dir.path().join("ours"));
    let before = gateway(port, &line);
    let rig = rig(dir.path(), &rtu_over_tcp(port));
    let controller = Controller::on_bench(&rig, &dir.path().join("run"), &[]);
    let shown = |value: f64| {
        wait_for(&format!("the meter shows {value} W"), PATIENCE, || {
            let shown = controller.shown("met1", "p_w");
            shown.filter(|p| *p == json!(value))
        });
    };
    shown(3655.75);
    before.kill();
    wait_for("the meter is offline", PATIENCE, || {
        controller.device("met1").filter(|d| d["link"] == "offline")
    });
    let _ = meter.ask("set 0x34=-812.5");
    let _after = gateway(port, &line);
    shown(-812.5);
    let line = controller.device("met1").expect("a device")["line"].clone();
    assert!(line["answers"].as_u64() > Some(0), "{line}");
    assert!(line["round_trip_p99_ms"].as_f64() > Some(0.0), "{line}");
    let run_dir = controller.end();
    let rows = samples(&run_dir);
    for row in rows.iter().filter(|r| r["point"] == "ac.p") {
        let known = ["3655.75", "-812.5"].contains(&row["value"].as_str());
        assert!(
            known || row["value"].is_empty() && row["quality"] != "good",
            "invented: {row:?}"
        );
    }
}

#[test]
#[ignore = "needs peers"]
fn a_pulled_cable_is_noticed_and_a_plugged_one_is_found_again() {
    let dir = folder();
    let cable = serial_cable(dir.path());
    let theirs = dir.path().join("theirs").display().to_string();
    let meter = Peer::start("rtu_meter.py", ["--pty", &theirs, "--unit", "2"]);
    let rig = rig(dir.path(), &serial(dir.path(), "500ms"));
    let controller = Controller::on_bench(&rig, &dir.path().join("run"), &[]);
    let shown = |value: f64| {
        wait_for(&format!("the meter shows {value} W"), PATIENCE, || {
            controller
                .shown("met1", "p_w")
                .filter(|p| *p == json!(value))
        });
    };
    shown(3655.75);
    drop(meter);
    cable.kill();
    wait_for("the meter is offline", PATIENCE, || {
        controller.device("met1").filter(|d| d["link"] == "offline")
    });
    let _cable = serial_cable(dir.path());
    let mut meter = Peer::start("rtu_meter.py", ["--pty", &theirs, "--unit", "2"]);
    let _ = meter.ask("set p -812.5");
    shown(-812.5);
    let run_dir = controller.end();
    let powers: Vec<SampleRow> = samples(&run_dir)
        .into_iter()
        .filter(|r| r["point"] == "ac.p")
        .collect();
    for row in &powers {
        let known = ["3655.75", "-812.5"].contains(&row["value"].as_str());
        // Between start and `set`, the new meter may still say its first value.
        assert!(
            known || row["value"].is_empty() && row["quality"] != "good",
            "invented: {row:?}"
        );
    }
    assert!(
        powers.iter().any(|row| row["quality"] != "good"),
        "the gap left no trace"
    );
    let events = events(&run_dir);
    assert!(!events_of(&events, "device_offline").is_empty());
    assert!(
        events_of(&events, "device_online").len() >= 2,
        "it never came back in the events"
    );
}

/// How long we wait for an answer, and how late the late ones are: into the middle of the next request.
const TIMEOUT: &str = "200ms";
const LATE_BY: Duration = Duration::from_millis(320);
/// How long the meter is read. Chosen: long enough for dozens of late answers.
const READ_FOR: &str = "30s";

/// Reads a misbehaving meter and compares every single value with the register that it belongs to.
fn check_late(rig: &Path, run_dir: &Path, misdeeds: &Misdeeds) {
    let mut controller = Controller::on_bench(rig, run_dir, &["--for", READ_FOR]);
    let (status, stderr) = controller.running.end(PATIENCE * 2);
    assert!(status.success(), "{status}:\n{stderr}");
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (late, broken) = (count(&misdeeds.late), count(&misdeeds.broken));
    let story = format!(
        "{} requests, {late} late, {broken} broken answers",
        count(&misdeeds.heard)
    );
    assert!(late >= 5 && broken >= 5, "the line was too good: {story}");

    let rows = samples(run_dir);
    let (mut good, mut bad) = (0, 0);
    for row in rows.iter().filter(|row| row["device"] == "met1") {
        let Ok(value) = row["value"].parse::<f64>() else {
            assert_ne!(row["quality"], "good", "{row:?}");
            bad += 1;
            continue;
        };
        let point = row["point"].as_str();
        let Some((_, _, measured)) = MEASURED.iter().find(|(name, _, _)| *name == point) else {
            panic!("a point that the meter does not have: {row:?}")
        };
        // The meter counts energy in kWh, the sample is in Wh.
        let factor = if point.starts_with("ac.e_") {
            1000.0
        } else {
            1.0
        };
        let expected = f64::from(*measured) * factor;
        assert!(
            (value - expected).abs() < 1e-6 * expected.abs(),
            "wrong, not {expected}: {row:?} ({story})"
        );
        good += 1;
    }
    assert!(
        good >= 60,
        "only {good} good values, {bad} bad ones: {story}"
    );
    assert!(bad >= 5, "no failure was told: {story}");
}

#[test]
#[ignore = "needs peers"]
fn a_late_answer_on_a_serial_line_is_never_taken_for_another() {
    let dir = folder();
    let _cable = serial_cable(dir.path());
    let misdeeds = late_meter::on_cable(&dir.path().join("theirs"), 2, LATE_BY);
    let rig = rig(dir.path(), &serial(dir.path(), TIMEOUT));
    check_late(&rig, &dir.path().join("run"), &misdeeds);
}

#[test]
#[ignore = "needs peers"]
fn a_late_answer_over_tcp_is_never_taken_for_another() {
    let dir = folder();
    let (port, misdeeds) = late_meter::on_tcp(2, LATE_BY);
    let bus = format!(
        "{{ kind = \"modbus-tcp\", host = \"127.0.0.1\", port = {port}, timeout = \"{TIMEOUT}\" }}"
    );
    check_late(&rig(dir.path(), &bus), &dir.path().join("run"), &misdeeds);
}
