//! SunSpec with other people: their clients on our emulators, and our controller on the foreign bench,
//! where every device is a program of somebody else.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use suite::bench::Controller;
use suite::process::{
    Peer, Running, WithArguments, gridrig, json_of, mosquitto, serial_cable, text_of, tool,
};
use suite::sim::Sim;
use suite::{PATIENCE, folder, free_port, http, root, run, wait_for};

/// What the foreign inverter's sun gives, and the ceiling that we set, in watts.
const SUN_W: f64 = 8200.0;
const CEILING_W: f64 = 4000.0;

// --- Other people's clients on our emulators ------------------------------------------------------

fn steady() -> Sim {
    Sim::start(&root().join("tests/rigs/steady.toml"))
}

fn points(port: u16, names: &[&str]) -> Value {
    let port = port.to_string();
    json_of("read_sunspec.py", [&["--port", &port], names].concat())["points"].clone()
}

#[test]
#[ignore = "needs peers"]
fn pysunspec2_discovers_our_inverter_and_reads_what_it_does() {
    let sim = steady();
    let port = sim.port("pv1").to_string();
    let names = ["1.Mn", "103.W", "103.Hz", "103.PhVphA", "121.WMax"];
    // Started a moment ago, the inverter may still be on its way up.
    wait_for("the inverter gives its sun", PATIENCE, || {
        points(sim.port("pv1"), &["103.W"])["103.W"]
            .as_f64()
            .filter(|w| (w - 9000.0).abs() < 50.0)
    });
    let seen = json_of("read_sunspec.py", [&["--port", &port], &names[..]].concat());
    assert_eq!(seen["models"], json!([1, 103, 120, 121, 123, 160]));
    assert_eq!(
        seen["errors"],
        json!({}),
        "a model is malformed in their eyes"
    );
    let of = |name: &str| seen["points"][name].as_f64().unwrap_or(f64::NAN);
    assert_eq!(seen["points"]["1.Mn"], "gridrig");
    assert!((of("103.W") - 9000.0).abs() < 100.0, "{seen}");
    assert!((of("103.Hz") - 50.0).abs() < 0.2, "{seen}");
    assert!((of("103.PhVphA") - 230.0).abs() < 10.0, "{seen}");
    assert_eq!(of("121.WMax"), 15_000.0);
    sim.end();
}

#[test]
#[ignore = "needs peers"]
fn pysunspec2_discovers_our_storage_and_reads_its_charge() {
    let sim = steady();
    let port = sim.port("ess1").to_string();
    let seen = json_of(
        "read_sunspec.py",
        ["--port", &port, "713.SoC", "103.W", "103.Hz", "704.WSetEna"],
    );
    assert_eq!(seen["models"], json!([1, 103, 120, 121, 704, 713]));
    assert_eq!(
        seen["errors"],
        json!({}),
        "a model is malformed in their eyes"
    );
    let of = |name: &str| seen["points"][name].as_f64().unwrap_or(f64::NAN);
    assert!((of("713.SoC") - 55.0).abs() < 1.0, "{seen}");
    assert!((of("103.Hz") - 50.0).abs() < 0.2, "{seen}");
    assert!(
        of("103.W").abs() < 100.0,
        "nobody asked it to move power: {seen}"
    );
    sim.end();
}

#[test]
#[ignore = "needs peers"]
fn pysunspec2_limits_our_inverter_and_the_limit_ends_by_itself() {
    let sim = steady();
    let port = sim.port("pv1");
    let text = port.to_string();
    let settings = [
        "123.WMaxLimPct=20",
        "123.WMaxLimPct_RvrtTms=8",
        "123.WMaxLim_Ena=1",
    ];
    let written = json_of(
        "write_sunspec.py",
        [&["--port", &text], &settings[..]].concat(),
    );
    assert_eq!(
        written["points"]["123.WMaxLimPct"], 20.0,
        "read back by them"
    );
    let watts = || points(port, &["103.W"])["103.W"].as_f64();
    wait_for("the power obeys 20 % of 15 kW", PATIENCE, || {
        watts().filter(|w| (2900.0..3100.0).contains(w))
    });
    wait_for("the revert timer gives the sun back", PATIENCE, || {
        watts().filter(|w| *w > 8900.0)
    });
    sim.end();
}

#[test]
#[ignore = "needs peers"]
fn pysunspec2_lets_our_der_adopt_curves_of_volt_var_and_of_momentary_cessation_and_its_power_follows()
 {
    const RATED_VA: f64 = 10e3;
    let sim = Sim::start(&root().join("rigs/virtual/der.toml"));
    let (port, source) = (sim.port("pv1").to_string(), sim.port("grid1"));
    let unit = sim.device("pv1")["unit"].to_string();
    let source = format!("127.0.0.1:{source}");
    let device = ["--port", &port, "--unit", &unit];
    let steps = ["--step", "0.95", "--step", "1.08", "--step", "1.0"];
    let bench = ["--source", &source, "--nominal", "277"];
    let arguments = [&device[..], &bench[..], &steps[..]].concat();
    let seen = json_of("der_volt_var.py", arguments);
    let chain: Vec<u16> = [1].into_iter().chain(701..=712).chain([714, 715]).collect();
    assert_eq!(seen["models"], json!(chain));
    assert_eq!(seen["errors"], json!({}), "malformed in their eyes");
    // The settings of the rig, as a client of a DER expects to find them.
    for (point, value) in [
        ("701.ConnSt", 1.0),
        ("701.Alrm", 0.0),
        ("702.WMaxRtg", RATED_VA),
        ("702.AbnOpCatRtg", 2.0),
        ("703.ES", 1.0),
        ("703.ESDlyTms", 10.0),
        ("706.Ena", 0.0),
        ("707.Crv[0].MustTrip.Pt[0].Tms", 2.0),
        ("707.Crv[0].MayTrip.Pt[2].V", 88.0),
        ("707.Crv[0].MomCess.Pt[0].V", 50.0),
        ("708.Crv[0].MustTrip.Pt[0].V", 120.0),
        ("709.Crv[0].MustTrip.Pt[1].Hz", 58.5),
        ("710.Crv[0].MustTrip.Pt[1].Hz", 61.2),
        ("711.Ctl[0].KOf", 0.05),
        ("714.NPrt", 1.0),
    ] {
        let told = seen["told"][point].as_f64().unwrap_or(f64::NAN);
        assert!((told - value).abs() < 1e-6, "{point}: {told}");
    }
    assert_eq!(seen["adopted"], 1, "the device said that it failed");
    assert_eq!(seen["shown"][1], json!([97.0, 20.0]), "the active curve");
    // Straight between the points (97 %, 20 %) and (92 %, 40 %), on the outermost one, and back; with
    // a response, and at first over the five seconds in which one function gives way to another.
    for (step, share) in seen["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .zip([0.28, -0.4, 0.0])
    {
        let powers: Vec<f64> = step["var"]
            .as_array()
            .expect("powers")
            .iter()
            .filter_map(Value::as_f64)
            .collect();
        let last = powers.last().copied().unwrap_or(f64::NAN);
        let expected = share * RATED_VA;
        assert!(
            (last - expected).abs() < 0.02 * RATED_VA,
            "{step}: not {expected}"
        );
        assert!(
            (powers[0] - last).abs() > 0.01 * RATED_VA,
            "it is there at once, which no open-loop response is: {step}"
        );
    }
    // At 0.75 it gives power, until a curve of model 707 says that it ceases there; it stays connected.
    let cessation = &seen["cessation"];
    let adopted = json!({"result": 1, "may": 0, "must": 2, "cease": [1, 80.0, 0.0]});
    assert_eq!(cessation["adopted"], adopted);
    for (when, gives_low) in [("before", true), ("after", false)] {
        for (n, gives) in [(0, gives_low), (1, true)] {
            let (watts, connected) = (&cessation[when][n][0], &cessation[when][n][1]);
            let watts = watts.as_f64().unwrap_or(f64::NAN);
            assert_eq!(watts > 0.5 * RATED_VA, gives, "{when}, {n}: {watts}");
            assert_eq!(connected, 1, "{when}, {n}");
        }
    }
    sim.end();
}

#[test]
#[ignore = "needs peers"]
fn mbpoll_reads_the_sunspec_mark_of_our_inverter() {
    let sim = steady();
    let text = text_of(mbpoll_tcp(sim.port("pv1"), 40000, 2, "4:hex"));
    assert!(text.contains("0x5375") && text.contains("0x6E53"), "{text}");
    sim.end();
}

fn mbpoll_tcp(port: u16, register: u16, count: u16, format: &str) -> std::process::Command {
    tool("mbpoll")
        .with(["-m", "tcp", "-a", "1", "-0", "-q", "-1", "-t", format])
        .with([
            "-r",
            &register.to_string(),
            "-c",
            &count.to_string(),
            "-p",
            &port.to_string(),
            "127.0.0.1",
        ])
}

// --- Our controller on other people's devices -----------------------------------------------------

/// The foreign bench: four devices and what carries them, all on loopback.
struct ForeignBench {
    folder: tempfile::TempDir,
    inverter: Peer,
    meter: Peer,
    plug: Peer,
    battery: Peer,
    relay: Peer,
    broker_port: u16,
    _broker: Running,
    _cable: Running,
}

impl ForeignBench {
    fn start() -> Self {
        let folder = folder();
        let cable = serial_cable(folder.path());
        let theirs = folder.path().join("theirs").display().to_string();
        let broker_port = free_port();
        let broker = mosquitto(folder.path(), broker_port);
        let relay = Peer::start("socketcand_relay.py", ["--port", "0"]);
        let bus = relay.port().to_string();
        Self {
            inverter: Peer::start("sunspec_inverter.py", ["--port", "0"]),
            meter: Peer::start("rtu_meter.py", ["--pty", &theirs, "--unit", "2"]),
            plug: Peer::start(
                "tasmota_plug.py",
                [
                    "--port",
                    &broker_port.to_string(),
                    "--topic",
                    "plug3",
                    "--on",
                ],
            ),
            battery: Peer::start("lvcan_sender.py", ["--port", &bus]),
            relay,
            broker_port,
            _broker: broker,
            _cable: cable,
            folder,
        }
    }

    /// The rig of `tests/rigs/foreign.toml` with the ports of this test and more text.
    fn rig(&self, more: &str) -> std::path::PathBuf {
        let text = format!(
            "inherit = \"{base}\"\n\
             [bus]\n\
             lan1 = {{ kind = \"modbus-tcp\", host = \"127.0.0.1\", port = {inverter}, timeout = \"1s\" }}\n\
             rs1  = {{ kind = \"modbus-rtu\", port = \"{cable}\", baud = 9600, parity = \"none\", timeout = \"1s\", min_gap = \"10ms\" }}\n\
             can0 = {{ kind = \"can\", uri = \"socketcand://127.0.0.1:{can}/can0\" }}\n\
             mq   = {{ kind = \"mqtt\", url = \"mqtt://127.0.0.1:{broker}\" }}\n\
             {more}",
            base = root().join("tests/rigs/foreign.toml").display(),
            inverter = self.inverter.port(),
            cable = self.folder.path().join("ours").display(),
            can = self.relay.port(),
            broker = self.broker_port,
        );
        let path = self.folder.path().join("foreign.toml");
        std::fs::write(&path, text).expect("the folder can be written");
        path
    }
}

#[test]
#[ignore = "needs peers"]
fn the_foreign_bench_is_metered_limited_and_switched_and_says_so_itself() {
    let mut bench = ForeignBench::start();
    let run_dir = bench.folder.path().join("run");
    let rig = bench.rig("");
    let mut controller = Controller::on_bench(&rig, &run_dir, &["--for", "25s"]);

    // Metered: what the devices hold is what the page shows, as the page came to know it.
    let expected: [(&str, &str, Value); 5] = [
        ("met1", "p_w", json!(3655.75)),
        ("inv1", "p_w", json!(SUN_W)),
        ("bat1", "soc", json!(0.88)),
        ("plug3", "p_w", json!(-1200.0)),
        ("plug3", "switch_on", json!(true)),
    ];
    for (device, reading, value) in expected {
        wait_for(&format!("{device} {reading} = {value}"), PATIENCE, || {
            controller
                .shown(device, reading)
                .filter(|seen| *seen == value)
        });
    }
    assert_eq!(bench.plug.ask("dump")["on"], true);

    // Without the token nothing moves.
    let body = json!({ "device": "inv1", "setpoint": { "ceiling_w": 100.0 } });
    assert_eq!(
        http::post(controller.page, "/api/v1/hold", None, &body).status,
        401
    );

    controller.hold("inv1", &json!({ "ceiling_w": CEILING_W }));
    controller.hold("plug3", &json!({ "on": false }));

    // Limited and switched: asked of the devices by other people's tools, never by ours.
    wait_for(
        "the inverter makes 4 kW, says its own peer",
        PATIENCE,
        || (bench.inverter.ask("dump")["w"] == CEILING_W).then_some(()),
    );
    let seen = points(
        bench.inverter.port(),
        &["103.W", "103.St", "123.WMaxLimPct", "123.WMaxLim_Ena"],
    );
    for (point, value) in [
        ("103.W", CEILING_W),
        ("103.St", 5.0),
        ("123.WMaxLimPct", 40.0),
        ("123.WMaxLim_Ena", 1.0),
    ] {
        assert_eq!(
            seen[point].as_f64(),
            Some(value),
            "{point}, read by pysunspec2: {seen}"
        );
    }
    // Model 123 begins 40182 after models 1, 103, 120 and 121; WMaxLimPct is its register 5.
    let text = text_of(mbpoll_tcp(bench.inverter.port(), 40187, 1, "4"));
    assert!(
        text.contains("[40187]:") && text.contains("4000"),
        "read by mbpoll: {text}"
    );
    let state = text_of(tool("mosquitto_sub").with([
        "-p",
        &bench.broker_port.to_string(),
        "-t",
        "tele/plug3/STATE",
        "-C",
        "1",
        "-W",
        "20",
    ]));
    let state: Value = serde_json::from_str(&state).expect("Tasmota's state is JSON");
    assert_eq!(state["POWER"], "OFF", "heard by mosquitto_sub");
    assert_eq!(bench.plug.ask("dump")["w"], 0);
    // Kept alive: the battery counts what an inverter must send.
    wait_for("three keep-alives", PATIENCE, || {
        bench.battery.ask("dump")["keep_alives"]
            .as_u64()
            .filter(|n| *n >= 3)
    });
    assert!(
        bench.battery.unasked.iter().all(|f| f["received"] == "305"),
        "nothing else is sent"
    );
    // The meter moves, and so does our page.
    assert_eq!(bench.meter.ask("set p -812.5"), json!({ "p": -812.5 }));
    wait_for("the meter's new value", PATIENCE, || {
        controller
            .shown("met1", "p_w")
            .filter(|seen| *seen == json!(-812.5))
    });

    let (status, stderr) = controller.running.end(PATIENCE);
    assert!(status.success(), "the run ended with {status}:\n{stderr}");
    evidence_is_whole(&run_dir);
    // Released at the end: the limit is gone or fully open.
    let dump = bench.inverter.ask("dump");
    let open = dump["wmaxlim_ena"] == 0 || dump["wmaxlimpct"] == 100.0;
    assert!(open, "the bench was left limited: {dump}");
}

/// The run folder says what was measured and what was done, and its ledger verifies.
fn evidence_is_whole(run_dir: &Path) {
    let result = run::result(run_dir);
    assert_eq!(result["verdict"], "pass", "{result}");
    let counters = &result["counters"];
    assert_eq!(counters["dispatches"], counters["dispatches_logged"]);
    assert!(counters["dispatches"].as_u64() >= Some(2), "{counters}");
    assert_eq!(counters["telemetry_lost"], 0);
    assert_eq!(result["ledger"]["verified"], true);

    let samples = run::samples(run_dir);
    let met = run::values(&samples, "met1", "ac.p");
    assert!(met.len() > 20 && met.contains(&3655.75), "{met:?}");
    assert!(
        met.iter().all(|p| [3655.75, -812.5].contains(p)),
        "an invented value: {met:?}"
    );
    let charge = run::values(&samples, "bat1", "bat.soc");
    assert!(
        charge.len() > 5 && charge.iter().all(|soc| *soc == 0.88),
        "{charge:?}"
    );

    let events = run::events(run_dir);
    for (device, setpoint) in [
        ("inv1", json!({ "ceiling_w": CEILING_W })),
        ("plug3", json!({ "on": false })),
    ] {
        let dispatched = run::events_of(&events, "dispatched");
        let ours = dispatched
            .iter()
            .find(|e| e["device"] == device && e["details"]["setpoint"] == setpoint)
            .unwrap_or_else(|| panic!("no dispatch of {setpoint} to {device}"));
        assert_eq!(ours["details"]["function"], "operator");
        let confirmed = run::events_of(&events, "setpoint_confirmed");
        let in_power = confirmed.iter().any(|e| {
            e["details"]["atom"] == ours["details"]["atom"] && e["details"]["stage"] == "power"
        });
        assert!(in_power, "{device} was never seen to obey in power");
    }
    let verify = gridrig()
        .with(["ledger", "verify"])
        .with([run_dir.as_os_str()]);
    let text = text_of(verify);
    assert!(!text.is_empty(), "verify prints a line per check");
}

#[test]
#[ignore = "needs peers"]
fn a_killed_controller_leaves_no_limit_behind() {
    let mut bench = ForeignBench::start();
    let run_dir = bench.folder.path().join("run");
    let rig = bench.rig(
        "[device]\n\
         inv1 = { profile = \"sunspec/inverter\", bus = \"lan1\", unit = 1, role = \"pv\", \
         limits = { p = \"0..10kW\" }, revert = \"6s\" }\n",
    );
    let controller = Controller::on_bench(&rig, &run_dir, &[]);
    wait_for("the inverter is metered", PATIENCE, || {
        controller
            .shown("inv1", "p_w")
            .filter(|seen| *seen == json!(SUN_W))
    });
    controller.hold("inv1", &json!({ "ceiling_w": CEILING_W }));
    wait_for("the inverter makes 4 kW", PATIENCE, || {
        (bench.inverter.ask("dump")["w"] == CEILING_W).then_some(())
    });
    let dump = bench.inverter.ask("dump");
    assert_eq!(dump["rvrt_s"], 6, "the device was not told to revert");
    // Held for more than two revert times: only refreshing can do that.
    for _ in 0..28 {
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(
            bench.inverter.ask("dump")["w"],
            CEILING_W,
            "the limit was not refreshed"
        );
    }
    controller.running.kill();
    wait_for("the inverter reverts by itself", PATIENCE, || {
        (bench.inverter.ask("dump")["w"] == SUN_W).then_some(())
    });
}
