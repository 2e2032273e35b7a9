//! SunSpec, model by model, with other people: their definitions against our layouts, their client
//! on our emulated models, our driver and our curves on devices that they encoded.

// Everything in this file is a test, its small functions too.
#![allow(clippy::panic)]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use suite::bench::Controller;
use suite::process::{Peer, WithArguments, gridrig, json_of, script, text_of};
use suite::sim::Sim;
use suite::{PATIENCE, folder, root, run, wait_for};

/// A point, its value, and how far it may be from that.
type Nearly = (&'static str, f64, f64);

/// A point and its value.
type Exactly = (&'static str, f64);

#[test]
#[ignore = "needs peers"]
fn every_layout_stands_where_the_published_definitions_put_it() {
    let theirs = text_of(script("sunspec_models.py"));
    let ours = include_str!("../../../drivers/profile/sunspec/models.toml");
    // Line by line, so that the first difference is told and not two long texts.
    let mut lines = theirs.lines().zip(ours.lines()).enumerate();
    if let Some((n, (theirs, ours))) = lines.find(|(_, (theirs, ours))| theirs != ours) {
        panic!("line {}: {ours}, theirs is {theirs}", n + 1);
    }
    assert_eq!(theirs.lines().count(), ours.lines().count());
}

#[test]
#[ignore = "needs peers"]
fn pysunspec2_finds_every_model_of_the_zoo_whole_and_reads_the_same_plant_in_all() {
    let sim = Sim::start(&root().join("rigs/virtual/zoo.toml"));
    let rows: [(&str, &[u16], &[Nearly]); 6] = [
        (
            "pv_sunspec",
            &[1, 103, 120, 121, 123, 160],
            &[("103.Hz", 50.0, 0.2), ("160.N", 2.0, 0.0)],
        ),
        (
            "pv_sunspec_der",
            &[
                1, 701, 702, 703, 704, 705, 706, 707, 708, 709, 710, 711, 712, 714, 715,
            ],
            &[
                ("701.Hz", 50.0, 0.2),
                ("703.ES", 1.0, 0.0),
                ("705.Crv[0].Pt[0].V", 92.0, 0.0),
                ("705.Crv[2].ReadOnly", 0.0, 0.0),
                ("706.Crv[1].Pt[1].W", 20.0, 0.0),
                ("711.Ctl[1].KOf", 0.05, 1e-9),
                ("712.Crv[0].Pt[3].Var", -44.0, 0.0),
            ],
        ),
        (
            "ess_sunspec_der",
            &[
                1, 701, 702, 703, 704, 705, 706, 707, 708, 709, 710, 711, 712, 713, 714, 715,
            ],
            &[("713.SoC", 50.0, 1.0), ("714.Prt[0].PrtTyp", 1.0, 0.0)],
        ),
        (
            "ess_sunspec_legacy",
            &[1, 103, 120, 121, 123, 124, 160],
            &[("124.ChaState", 50.0, 1.0)],
        ),
        (
            "bat_sunspec",
            &[1, 802],
            &[("802.SoC", 50.0, 1.0), ("802.V", 51.0, 1.0)],
        ),
        (
            "met_sunspec",
            &[1, 203],
            &[("203.Hz", 50.0, 0.2), ("203.W", 800.0, 80.0)],
        ),
    ];
    for (device, models, points) in rows {
        let told = sim.device(device);
        let (port, unit) = (sim.port(device).to_string(), told["unit"].to_string());
        let names = points.iter().map(|(name, ..)| *name);
        let begin = ["--port", &port, "--unit", &unit];
        let seen = json_of("read_sunspec.py", begin.into_iter().chain(names));
        assert_eq!(seen["models"], json!(models), "{device}");
        assert_eq!(
            seen["errors"],
            json!({}),
            "{device}: malformed in their eyes"
        );
        for (name, value, tolerance) in points {
            let read = seen["points"][name].as_f64().unwrap_or(f64::NAN);
            assert!(
                (read - value).abs() <= *tolerance,
                "{device} {name}: {read}"
            );
        }
    }
    sim.end();
}

/// A rig with one device of theirs.
fn rig(folder: &Path, port: u16, profile: &str, role: &str, more: &str) -> PathBuf {
    let path = folder.join("chain.toml");
    let text = format!(
        "schema = 1\n\
         title  = \"One device of other people\"\n\
         site   = {{ v = \"230V\", f = \"50Hz\", phases = 3 }}\n\
         safety = {{ heartbeat = \"1s\", on_lost = \"safe\" }}\n\
         [bus]\n\
         lan1 = {{ kind = \"modbus-tcp\", host = \"127.0.0.1\", port = {port}, timeout = \"1s\" }}\n\
         [device]\n\
         dev1 = {{ profile = \"{profile}\", bus = \"lan1\", unit = 1, role = \"{role}\"{more} }}\n"
    );
    std::fs::write(&path, text).expect("the folder can be written");
    path
}

#[test]
#[ignore = "needs peers"]
fn our_driver_reads_what_pysunspec2_encoded_in_every_kind_of_model() {
    let rows: [(&str, &str, &str, &[Exactly]); 5] = [
        (
            "der",
            "sunspec/der-inverter",
            "pv",
            &[
                ("ac.p", 5120.0),
                ("ac.q", -910.0),
                ("ac.s", 5200.0),
                ("ac.pf", 0.985),
                ("ac.f", 50.01),
                ("ac.v.l2", 230.3),
                ("ac.i.l1", 7.42),
                ("ac.p.l3", 1710.0),
                ("ac.e_exp", 123_456_789.0),
                ("ac.e_imp", 4321.0),
                ("state", 3.0),
                ("rating.p", 10_000.0),
                ("rating.s", 11_000.0),
            ],
        ),
        (
            "meter",
            "sunspec/meter",
            "meter",
            &[
                ("ac.p", -3510.0),
                ("ac.q", 120.0),
                ("ac.f", 50.01),
                ("ac.pf", -0.99),
                ("ac.v.l3", 230.4),
                ("ac.i.l2", 5.0),
                // What the maker calls import is given to the bus.
                ("ac.e_exp", 2_222_000.0),
                ("ac.e_imp", 1_111_000.0),
            ],
        ),
        (
            "float-meter",
            "sunspec/meter",
            "meter",
            &[
                ("ac.p", 1205.5),
                ("ac.v.l1", 230.5),
                ("ac.q", -104.0),
                ("ac.e_exp", 262_144.0),
            ],
        ),
        (
            "battery",
            "sunspec/battery",
            "battery",
            &[
                ("bat.soc", 0.873),
                ("bat.soh", 0.99),
                ("bat.v", 51.12),
                ("bat.i", 12.5),
                ("bat.lim.cha_i", 60.0),
                ("bat.lim.dis_i", 80.0),
                ("state", 3.0),
            ],
        ),
        (
            "float-inverter",
            "sunspec/inverter",
            "pv",
            &[
                ("ac.p", 2875.5),
                ("ac.q", 290.0),
                ("ac.pf", 0.995),
                ("dc.p", 2962.5),
                ("dc.p.1", 1580.0),
                ("dc.i.2", 3.5),
                ("dc.v.2", 395.0),
                ("rating.p", 3000.0),
            ],
        ),
    ];
    for (chain, profile, role, points) in rows {
        let folder = folder();
        let peer = Peer::start("sunspec_chain.py", ["--chain", chain]);
        let limits = match role {
            "pv" => ", limits = { p = \"0..10kW\" }",
            _ => "",
        };
        let rig = rig(folder.path(), peer.port(), profile, role, limits);
        let names: Vec<&str> = points.iter().map(|(name, _)| *name).collect();
        let read = gridrig()
            .with(["--json", "device", "read"])
            .with([rig.as_os_str()])
            .with(["dev1"])
            .with(&names);
        let read: Value = serde_json::from_str(&text_of(read)).expect("one document");
        assert_eq!(
            read.as_array().map(Vec::len),
            Some(points.len()),
            "{chain}: {read}"
        );
        for ((name, value), seen) in points.iter().zip(read.as_array().into_iter().flatten()) {
            assert_eq!(seen["point"], *name, "{chain}");
            let told = seen["value"].as_f64().unwrap_or(f64::NAN);
            assert!(
                (told - value).abs() < 1e-6 * value.abs().max(1.0),
                "{chain} {name}: {seen}"
            );
        }
    }
}

#[test]
#[ignore = "needs peers"]
fn a_foreign_inverter_adopts_our_curve_and_a_wrong_one_is_not_enabled() {
    let folder = folder();
    let mut peer = Peer::start("sunspec_chain.py", ["--chain", "der"]);
    let limits = ", limits = { p = \"0..10kW\" }";
    let rig = rig(
        folder.path(),
        peer.port(),
        "sunspec/der-inverter",
        "pv",
        limits,
    );
    let command = |kind: &[&str], out: &str| {
        gridrig()
            .with(["--json", "device", "curve"])
            .with([rig.as_os_str()])
            .with(["dev1"])
            .with(kind)
            .with(["--arm", "--out"])
            .with([folder.path().join(out)])
    };
    let points = "0.9:0.3,0.97:0,1.03:0,1.1:-0.3";
    let volt_var = ["volt-var", "--points", points, "--revert", "90s"];
    let text = text_of(command(&volt_var, "first"));
    let told: Value = serde_json::from_str(&text).expect("one document");
    assert!(
        told["proved_after_s"].as_f64() > Some(0.4),
        "adopted before it could be: {told}"
    );
    let dump = peer.ask("dump");
    assert_eq!(dump["ena"], 1);
    assert_eq!(
        dump["curve"],
        json!([[9000, 3000], [9700, 0], [10300, 0], [11000, -3000]])
    );
    assert_eq!(dump["revert_s"], 90);
    // The bench was armed for it, so the heartbeat was there meanwhile.
    assert!(dump["controller_hb"].as_u64() >= Some(1), "{dump}");
    let verify = gridrig()
        .with(["ledger", "verify"])
        .with([folder.path().join("first")]);
    assert!(
        !text_of(verify).is_empty(),
        "verify prints a line per check"
    );
    // A model that the device does not have is told by name, and the old curve stays.
    let droop = ["freq-droop", "--deadband", "0.04", "--droop", "0.05"];
    let output = command(&droop, "second").output().expect("gridrig starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("no SunSpec model 711"), "{said}");
    assert_eq!(peer.ask("dump")["curve"], dump["curve"]);
}

#[test]
#[ignore = "needs peers"]
fn a_foreign_inverter_that_moves_its_scale_factors_is_never_misread() {
    let folder = folder();
    let peer = Peer::start("sunspec_chain.py", ["--chain", "der", "--rescale"]);
    let limits = ", limits = { p = \"0..10kW\" }, poll = { fast = \"20ms\", normal = \"50ms\" }";
    let rig = rig(
        folder.path(),
        peer.port(),
        "sunspec/der-inverter",
        "pv",
        limits,
    );
    let run_dir = folder.path().join("run");
    let mut controller = Controller::on_bench(&rig, &run_dir, &["--for", "6s"]);
    wait_for("the inverter is read", PATIENCE, || {
        controller
            .shown("dev1", "p_w")
            .filter(|seen| *seen == json!(5120.0))
    });
    let (status, stderr) = controller.running.end(PATIENCE);
    assert!(status.success(), "the run ended with {status}:\n{stderr}");
    let samples = run::samples(&run_dir);
    for (point, value) in [("ac.p", 5120.0), ("ac.p.l2", 1700.0)] {
        let seen = run::values(&samples, "dev1", point);
        assert!(seen.len() > 20, "{point}: {}", seen.len());
        assert!(
            seen.iter().all(|p| *p == value),
            "{point}: a wrong value in {seen:?}"
        );
    }
}
