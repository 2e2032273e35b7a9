//! Bad rigs: each fault is told with code and place, all of them at once.

use std::time::Duration;

use super::*;
use crate::rig::Processors;

const GOOD: &str = r#"
schema = 1
site = { v = "230V", f = "50Hz", phases = 3 }
[bus]
lan1 = { kind = "modbus-tcp", host = "127.0.0.1", port = 1502 }
rs1 = { kind = "modbus-rtu", port = "/dev/ttyUSB0", baud = 9600 }
mq = { kind = "mqtt", url = "mqtt://127.0.0.1:1883" }
[device]
inv1 = { profile = "sunspec/inverter", bus = "lan1", role = "pv", limits = { p = "0..3kW" }, revert = "60s" }
met1 = { profile = "eastron/sdm630", bus = "rs1", unit = 2, role = "pcc" }
plug3 = { profile = "tasmota/plug", bus = "mq", topic = "plug3", role = "load", shed = 2 }
"#;

fn load_file(text: &str) -> Result<Rig, Vec<Diagnostic>> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("rig.toml");
    std::fs::write(&path, text).expect("written");
    load(&path)
}

/// The good rig with one piece replaced must give exactly these codes at these lines.
fn check(from: &str, to: &str, expected: &[(&str, usize)]) {
    assert!(GOOD.contains(from), "the row must change something: {from}");
    let faults = load_file(&GOOD.replace(from, to)).expect_err("a bad rig");
    let got: Vec<(&str, usize)> = faults
        .iter()
        .map(|d| {
            (
                d.code,
                d.place.as_ref().map_or(0, |p| p.line_and_column().0),
            )
        })
        .collect();
    assert_eq!(got, expected, "{faults:#?}");
}

#[test]
fn a_good_rig_is_loaded_with_nothing_left_to_say() {
    let rig = load_file(GOOD).expect("good");
    assert!(rig.warnings.is_empty(), "{:?}", rig.warnings);
    assert_eq!(rig.devices.len(), 3);
    let bench = rig.bench();
    assert!(bench.devices[0].takes_ceiling && bench.devices[2].takes_switch);
    assert_eq!(bench.shed_order().len(), 1);
}

#[test]
fn processors_may_idle_unless_the_rig_keeps_them_awake() {
    let with = |control: &str| load_file(&GOOD.replace("[bus]", &format!("{control}\n[bus]")));
    for (control, expected) in [
        ("", Processors::MayIdle),
        ("[control]\nperiod = \"50ms\"", Processors::MayIdle),
        ("[control]\nprocessors = \"idle\"", Processors::MayIdle),
        ("[control]\nprocessors = \"awake\"", Processors::StayAwake),
    ] {
        let rig = with(control).expect("good");
        assert_eq!(rig.processors, expected, "{control}");
        assert!(rig.warnings.is_empty(), "{:?}", rig.warnings);
    }
    check(
        "[bus]",
        "[control]\nprocessors = \"awak\"\n[bus]",
        &[("D006", 5)],
    );
}

#[test]
fn each_fault_of_a_rig_has_its_code_and_its_line() {
    check("unit = 2", "unti = 2", &[("D002", 10)]);
    check("0..3kW", "0..3V", &[("D007", 9)]);
    check("sunspec/inverter", "sunspec/invertor", &[("R002", 9)]);
    check("bus = \"rs1\"", "bus = \"rs2\"", &[("R001", 10)]);
    check("bus = \"rs1\", unit = 2", "bus = \"mq\"", &[("R004", 10)]);
    check(", topic = \"plug3\"", "", &[("R011", 11)]);
    check(
        "[device]",
        "[device]\ngx1 = { profile = \"victron/gx-mqtt\", bus = \"mq\", topic = \"c0619\", role = \"ess\", limits = { p = \"-2..2kW\" } }",
        &[("R011", 9)],
    );
    check(
        "[device]",
        "[device]\ngx1 = { profile = \"victron/gx-mqtt\", bus = \"mq\", topic = \"c0619/257\", allow_writes = true, role = \"ess\", limits = { p = \"-21..2kW\" } }",
        &[("R012", 9)],
    );
    check("limits = { p = \"0..3kW\" }, ", "", &[("R008", 9)]);
    let source = |limits: &str| {
        format!(
            "gs1 = {{ kind = \"scpi\", host = \"10.0.0.4\" }}\n[device]\ngrid1 = {{ profile = \"generic/grid-simulator\", bus = \"gs1\", role = \"source\"{limits} }}"
        )
    };
    check("[device]", &source(""), &[("R008", 10)]);
    check(
        "[device]",
        &source(", limits = { f = \"47..52Hz\" }"),
        &[("R008", 10)],
    );
    check(
        "[device]",
        &source(", limits = { f = \"47..5200Hz\", v = \"0..260V\" }"),
        &[("R012", 10)],
    );
    check(
        "[device]",
        &source(", limits = { f = \"47..52Hz\", v = \"0..260V\" }")
            .replace("grid1 =", "grid0 = { profile = \"chroma/63800\", bus = \"gs1\", role = \"load\", limits = { p = \"-4..0kW\" } }\ngrid1 ="),
        &[("R003", 11)],
    );
    check(
        "role = \"pcc\"",
        "role = \"source\"",
        &[("R008", 10), ("R005", 10)],
    );
    check(
        "role = \"pcc\"",
        "role = \"pcc\", shed = 1",
        &[("R006", 10)],
    );
    check("role = \"pcc\"", "role = \"breaker\"", &[("R005", 10)]);
    check("mqtt://", "http://", &[("R019", 7), ("R001", 11)]);
    check("v = \"230V\"", "v = \"23kV\"", &[("R020", 3)]);
    check(
        "role = \"pv\", limits = { p = \"0..3kW\" }, revert = \"60s\" }",
        "role = \"pv\", limits = { p = \"0..3kW\" } }\ninv2 = { profile = \"sunspec/inverter\", bus = \"lan1\", role = \"pv\", limits = { p = \"0..1kW\" } }",
        &[("R003", 10)],
    );
    check(
        "[device]",
        "[emulate]\ninv1 = { rated = \"2kVA\" }\n[device]",
        &[("R012", 11)],
    );
}

#[test]
fn an_emulated_inverter_is_a_der_by_a_table_or_by_a_file_of_settings() {
    let rig = |der: &str| GOOD.replace("[device]", &format!("[emulate.inv1]\n{der}\n[device]"));
    let read = |der: &str| {
        let rig = load_file(&rig(der)).expect("good");
        let (_, device) = &rig.emulate.devices[0];
        device.physics.der.clone().expect("settings")
    };
    let by_table = read("der = { volt_var = { olrt_s = 7 }, defect = \"no_latch\" }");
    assert_eq!(by_table.nominal.as_hertz(), 50.0);
    let reactive = by_table.reactive.expect("volt-var is on");
    assert_eq!(reactive.olrt_s, 7.0);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("der.toml");
    let write = |text: &str| std::fs::write(&file, text).expect("written");
    let named = format!("der = {:?}", file.display().to_string());
    write("[volt_var]\nolrt_s = 7\n");
    assert_eq!(read(&named).reactive, Some(reactive));
    let check = |der: &str, expected: &[&str]| {
        let told = load_file(&rig(der)).expect_err("bad");
        let codes: Vec<&str> = told.iter().map(|d| d.code).collect();
        assert_eq!(codes, expected, "{told:?}");
    };
    check("der = { volt_var = { olrt_s = 700 } }", &["G001"]);
    check("der = { kind = \"storage\" }", &["G005"]);
    check("der = { defect = \"no_lach\" }", &["D006"]);
    check("der = { volt_vra = {} }", &["D002"]);
    check("der = \"not-there.toml\"", &["R028"]);
    check("der = 3", &["D003"]);
    write("[volt_var]\nolrt_s = 700\n");
    check(&named, &["G001"]);
}

#[test]
fn all_faults_of_a_rig_are_told_at_once() {
    let bad = GOOD
        .replace("unit = 2", "unti = 2")
        .replace("0..3kW", "0..3V")
        .replace("tasmota/plug", "tasmota/plgu");
    let codes: Vec<_> = load_file(&bad)
        .expect_err("bad")
        .iter()
        .map(|d| d.code)
        .collect();
    assert_eq!(codes, ["D007", "D002", "R002"]);
}

#[test]
fn a_rig_inherits_and_replaces_by_name() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("base.toml"), GOOD).expect("written");
    let rig = dir.path().join("rig.toml");
    std::fs::write(
        &rig,
        "inherit = \"base.toml\"\n[bus]\nlan1 = { kind = \"modbus-tcp\", host = \"10.0.0.9\" }\n",
    )
    .expect("written");
    let rig = load(&rig).expect("good");
    assert_eq!(rig.buses.len(), 3);
    assert_eq!(
        rig.buses[0].kind,
        crate::rig::BusKind::ModbusTcp {
            numbered: true,
            host: "10.0.0.9".into(),
            port: 502
        }
    );

    // A path belongs to the file that it stands in, not to the one that inherits it.
    let below = dir.path().join("below");
    std::fs::create_dir(&below).expect("made");
    let day = format!("{GOOD}\n[plant]\nday = \"day.toml\"\n");
    std::fs::write(dir.path().join("base.toml"), day).expect("written");
    let heir = below.join("rig.toml");
    std::fs::write(&heir, "inherit = \"../base.toml\"\n").expect("written");
    let day = load(&heir).expect("good").emulate.day.expect("a day");
    assert_eq!(day, below.join("..").join("day.toml"));

    std::fs::write(dir.path().join("rig.toml"), "inherit = \"rig.toml\"\n").expect("written");
    let circle = load(&dir.path().join("rig.toml")).expect_err("a circle");
    assert_eq!(circle[0].code, "R016");
}

#[test]
fn a_rig_that_is_not_there_is_said_to_be_not_there() {
    let faults = load(Path::new("no/such/rig.toml")).expect_err("absent");
    assert_eq!(faults[0].code, "R000");
}

#[test]
fn a_rig_that_is_not_on_disk_cannot_inherit() {
    let faults = load_text_only("inherit = \"base.toml\"\n");
    assert_eq!(faults[0].code, "R016");
}

fn load_text_only(text: &str) -> Vec<Diagnostic> {
    super::load_text(Path::new("rig.toml"), text).expect_err("it cannot be used")
}

#[test]
fn each_kind_of_modbus_bus_has_the_framing_that_its_gateway_needs() {
    let rows = [
        (
            "kind = \"modbus-tcp\", host = \"127.0.0.1\"",
            bus::Framing::Tcp,
        ),
        (
            "kind = \"modbus-tcp\", host = \"127.0.0.1\", tid = \"match\"",
            bus::Framing::Tcp,
        ),
        (
            "kind = \"modbus-tcp\", host = \"127.0.0.1\", tid = \"ignore\"",
            bus::Framing::TcpUnnumbered,
        ),
        (
            "kind = \"modbus-rtu-tcp\", host = \"127.0.0.1\", port = 4001, baud = 19200",
            bus::Framing::Rtu { baud: Some(19_200) },
        ),
    ];
    let dir = tempfile::tempdir().expect("a folder");
    for (line, framing) in rows {
        let path = dir.path().join("rig.toml");
        let text = GOOD.replace(
            "kind = \"modbus-tcp\", host = \"127.0.0.1\", port = 1502",
            line,
        );
        assert_ne!(text, GOOD);
        std::fs::write(&path, text).expect("written");
        let rig = load(&path).expect("good");
        let spec = rig.bus_spec(0, 1).expect("a bus of the bench");
        assert_eq!(spec.framing, framing, "{line}");
        assert!(matches!(spec.endpoint, bus::Endpoint::Tcp { .. }));
    }
}

#[test]
fn a_device_that_asks_for_permission_has_no_control_until_the_rig_gives_it() {
    let device = |keys: &str| {
        format!(
            "{GOOD}ess1 = {{ profile = \"sungrow/sh\", bus = \"lan1\", unit = 9, role = \"ess\", limits = {{ p = \"-3..3kW\" }}{keys} }}\n"
        )
    };
    let takes = |keys: &str| {
        let rig = load_file(&device(keys)).expect("good");
        rig.devices[3].profile.takes(model::Point::ActivePowerSet)
    };
    assert!(!takes(""));
    assert!(!takes(", allow_writes = false"));
    assert!(takes(", allow_writes = true, accept_hold = true"));
    // It keeps its setpoint for ever when it hears nothing: that has to be accepted.
    let faults = load_file(&device(", allow_writes = true")).expect_err("it holds");
    assert_eq!(faults.iter().map(|d| d.code).collect::<Vec<_>>(), ["R014"]);
    // A rig may close a device that others leave open.
    let closed = GOOD.replace("revert = \"60s\"", "allow_writes = false");
    let rig = load_file(&closed).expect("good");
    assert!(rig.devices[0].profile.controls().is_empty());
}

#[test]
fn a_device_on_can_has_no_frame_of_ours_unless_the_rig_permits_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let write =
        |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
    let inverter = include_str!("../../../../../tests/peers/inverter.toml");
    write(
        "inverter.dbc",
        include_str!("../../../../../tests/peers/inverter.dbc"),
    );
    let asks = inverter.replace("version  = 1", "version  = 1\nopt_in   = true");
    let awake = "\n[[keep_alive]]\nid = 0x305\ndata = \"00\"\nevery = \"1s\"\n";
    write("inverter.toml", &format!("{asks}{awake}"));
    // Controls, and frames that keep it awake.
    for (keys, expected) in [
        ("", (0, 0)),
        (", allow_writes = true", (1, 1)),
        (", allow_writes = false", (0, 0)),
        (", keep_alive = \"always\"", (0, 1)),
    ] {
        let rig = format!(
            "schema = 1\nsite = {{ v = \"230V\", f = \"50Hz\", phases = 3 }}\n[bus]\ncan0 = {{ kind = \"can\", uri = \"virtual://lab\" }}\n\
             [device]\ninv1 = {{ profile = \"inverter.toml\", bus = \"can0\", role = \"ess\", limits = {{ p = \"-3..3kW\" }}{keys} }}\n"
        );
        write("rig.toml", &rig);
        let rig = load(&dir.path().join("rig.toml")).expect("good");
        let profile::Protocol::Can(can) = &rig.devices[0].profile.protocol else {
            panic!("CAN")
        };
        let found = (can.controls.len(), can.keep_alive.len());
        assert_eq!(found, expected, "{keys}");
    }
}

#[test]
fn the_slower_of_two_ramps_counts() {
    let ramp = |keys: &str| {
        let rig = load_file(&format!(
            "{GOOD}ess1 = {{ profile = \"sungrow/sh\", bus = \"lan1\", unit = 9, role = \"ess\", limits = {{ p = \"-3..3kW\" }}, allow_writes = true, accept_hold = true{keys} }}\n"
        ));
        let ramp = rig.expect("good").devices[3].ramp.expect("a ramp");
        ramp.as_watts_per_second()
    };
    assert_eq!(ramp(""), 5000.0);
    assert_eq!(ramp(", ramp = \"1kW/s\""), 1000.0);
    assert_eq!(ramp(", ramp = \"9kW/s\""), 5000.0);
}

#[test]
fn limits_of_exchange_temperature_and_forming_reach_the_core() {
    let limited = GOOD
        .replace("unit = 2, role = \"pcc\"", "unit = 2, role = \"pcc\", limits = { p = \"-2..4kW\" }")
        .replace("[device]", "[control]\ninertia = \"1s\"\nlag = \"200ms\"\ndroop = \"5%\"\n[device]\ness1 = { profile = \"sunspec/storage-inverter\", bus = \"lan1\", unit = 3, role = \"ess\", forming = \"isochronous\", limits = { p = \"-1..1kW\", t_charge = \"0..45degC\" } }");
    let bench = load_file(&limited).expect("good").bench();
    let exchange = bench.settings.exchange.expect("it is limited");
    assert_eq!(exchange.lower().as_kilowatts(), -2.0);
    assert_eq!(exchange.upper().as_kilowatts(), 4.0);
    // The margin of H = 1 s, 5 % and 0.2 s is 121 ms.
    let margin = bench.settings.delay_margin.expect("the island is stated");
    assert_eq!(margin.as_millis(), 121);
    let storage = &bench.devices[0];
    assert_eq!(storage.forming, model::Forming::Isochronous);
    let heat = storage.rating.temperature.expect("it is limited");
    assert_eq!(heat.charge.upper().as_celsius(), 45.0);
    assert!(heat.discharge.upper().as_celsius().is_infinite());
    assert_eq!(bench.devices[1].forming, model::Forming::Follows);

    check(
        "role = \"pcc\"",
        "role = \"pcc\", forming = \"droop\"",
        &[("D005", 10)],
    );
    check(
        "[bus]",
        "[control]\ninertia = \"1s\"\n[bus]",
        &[("D005", 5)],
    );
}

/// A rig with storage and breaker, with one piece replaced, must give exactly these codes at these lines.
fn check_island(from: &str, to: &str, expected: &[(&str, usize)]) {
    let island = format!(
        "{}\n{}",
        GOOD.trim_end(),
        r#"brk1 = { profile = "generic/sync-breaker", bus = "rs1", unit = 3, role = "breaker" }
ess1 = { profile = "sunspec/storage-inverter", bus = "lan1", unit = 3, role = "ess", limits = { p = "-1..1kW", soc = "15..90%" }, revert = "30s" }
io1 = { profile = "shelly/gen2-plug", bus = "mq", topic = "io1", role = "load" }
[safety]
estop = "io1"
[control]
reserve_p = "1kW"
"#
    );
    assert!(
        island.contains(from),
        "the row must change something: {from}"
    );
    let faults = match load_file(&island.replace(from, to)) {
        Ok(rig) => rig.warnings,
        Err(faults) => faults,
    };
    let line = |d: &Diagnostic| d.place.as_ref().map_or(0, |p| p.line_and_column().0);
    let got: Vec<(&str, usize)> = faults.iter().map(|d| (d.code, line(d))).collect();
    assert_eq!(got, expected, "{faults:#?}");
}

#[test]
fn a_rig_that_contradicts_itself_is_told_so_with_its_place() {
    check_island("reserve_p", "reserve_p", &[]);
    check_island("15..90%", "15..20%", &[("R064", 13)]);
    check_island("15..90%", "15..21%", &[]);
    check_island("-1..1kW", "-1..0kW", &[("R064", 13), ("R064", 18)]);
    check_island(
        "reserve_p = \"1kW\"",
        "reserve_p = \"1.1kW\"",
        &[("R064", 18)],
    );
    check_island(
        "generic/sync-breaker\", bus = \"rs1\", unit = 3",
        "tasmota/plug\", bus = \"mq\", topic = \"brk\"",
        &[("R065", 12)],
    );
    check_island(
        "role = \"load\" }\n[safety]",
        "role = \"load\", shed = 1 }\n[safety]",
        &[("R065", 14)],
    );
    check_island(
        "estop = \"io1\"",
        "estop = \"brk1\"\nbreaker = \"open\"",
        &[("R065", 12)],
    );
    check_island("estop = \"io1\"", "estop = \"brk1\"", &[]);
    // 1 s of a slow line and 100 ms of a write, against a half of the margin.
    check_island(
        "[control]",
        "[control]\ndelay_margin = \"2.1s\"",
        &[("R062", 18)],
    );
    check_island("[control]", "[control]\ndelay_margin = \"2.2s\"", &[]);
    check_island(
        "[safety]",
        "[safety]\norder = [\"pv\", \"pv\"]",
        &[("R063", 16), ("D006", 16)],
    );
}

#[test]
fn a_limit_of_exports_that_the_sun_alone_could_break_is_told_where_it_takes_no_ceiling() {
    let check = |pcc: &str, pv: &str, expected: &[(&str, usize)]| {
        let text = GOOD
            .replace("role = \"pcc\"", &format!("role = \"pcc\"{pcc}"))
            .replace("revert = \"60s\"", &format!("revert = \"60s\"{pv}"));
        let rig = load_file(&text).expect("a warning at most");
        let line = |d: &Diagnostic| d.place.as_ref().map_or(0, |p| p.line_and_column().0);
        let mut warnings: Vec<_> = rig.warnings.iter().map(|d| (d.code, line(d))).collect();
        warnings.retain(|(code, _)| *code == "R066");
        assert_eq!(warnings, expected, "{pcc} {pv}");
    };
    let closed = ", allow_writes = false";
    check(", limits = { p = \"-2..8kW\" }", closed, &[("R066", 9)]);
    check(", limits = { p = \"-3..8kW\" }", closed, &[]);
    check(", limits = { p = \"1..8kW\" }", closed, &[("R066", 9)]);
    check(", limits = { p = \"-2..8kW\" }", "", &[]);
    check("", closed, &[]);
}

#[test]
fn units_without_droop_that_wait_for_each_other_are_told() {
    let stiff = |name: &str, unit: u8| {
        format!(
            "{name} = {{ profile = \"sunspec/storage-inverter\", bus = \"lan1\", unit = {unit}, role = \"ess\", forming = \"isochronous\", limits = {{ p = \"-1..1kW\" }} }}\n"
        )
    };
    let one = format!("{GOOD}{}", stiff("ess1", 3));
    assert!(load_file(&one).is_ok());
    let two = format!("{one}{}", stiff("ess2", 4));
    let faults = load_file(&two).expect_err("neither tells whether it is on");
    let codes: Vec<&str> = faults.iter().map(|d| d.code).collect();
    assert_eq!(codes, ["R065", "R065"]);
}

#[test]
fn a_sample_is_fresh_for_three_polls_of_what_control_looks_at_and_a_second_at_least() {
    let bench = load_file(GOOD).expect("good").bench();
    let ages: Vec<u64> = bench
        .devices
        .iter()
        .map(|d| d.sample_age_max.as_secs())
        .collect();
    assert_eq!(ages[0], 1, "a SunSpec inverter, polled every 200 ms");
    assert_eq!(ages[1], 3, "a meter at 9600 baud, polled every second");
}

#[test]
fn a_network_is_held_against_the_devices_of_the_rig() {
    // One line each, so that the rows can say where.
    let network = |more: &str| {
        format!(
            r#"[network]
bus = [{{ name = "grid", v_ll = "400V" }}, {{ name = "hall", v_ll = "400V" }}]
source = [{{ bus = "grid" }}]
line = [{{ name = "cable", from = "grid", to = "hall", length_m = 50, r_ohm_per_km = 0.2, x_ohm_per_km = 0.08 }}]
{more}
[device]"#
        )
    };
    let rows: [(&str, &[(&str, usize)]); 4] = [
        ("", &[]),
        (
            r#"connection = [{ device = "inv2", bus = "hall" }]"#,
            &[("R053", 12)],
        ),
        (
            r#"switch = [{ name = "tie", from = "hall", to = "grid" }]"#,
            &[("R050", 12)],
        ),
        (
            r#"switch = [{ name = "tie", from = "hall", to = "grid", closed = false, device = "brk" }]"#,
            &[("R053", 12)],
        ),
    ];
    for (more, expected) in rows {
        if expected.is_empty() {
            let rig = load_file(&GOOD.replace("[device]", &network(more))).expect("good");
            assert!(rig.emulate.network.is_some());
        } else {
            check("[device]", &network(more), expected);
        }
    }
}

#[test]
fn a_home_assistant_is_reached_as_a_bus_of_mqtt_is() {
    let section = |keys: &str| format!("{GOOD}\n[telemetry]\nhomeassistant = {{ {keys} }}\n");
    let rig = load_file(&section("url = \"mqtt://10.0.0.9\", user = \"bench\"")).expect("good");
    let home = rig.home_assistant.as_ref().expect("it is there");
    assert_eq!(
        (home.broker.host.as_str(), home.broker.port),
        ("10.0.0.9", 1883)
    );
    assert_eq!(
        (home.prefix.as_str(), home.every),
        ("homeassistant", Duration::from_secs(5))
    );
    let shown = rig
        .home()
        .expect("nothing is missing")
        .expect("it is there");
    assert_eq!(
        shown.broker.status.as_deref(),
        Some("gridrig/microgrid-bench/status")
    );
    let plug = shown
        .devices
        .iter()
        .find(|d| d.name == "plug3")
        .expect("the plug");
    assert!(
        plug.points
            .iter()
            .any(|(p, age)| *p == model::Point::SwitchOn && age.is_some())
    );
    for (keys, code) in [
        ("prefix = \"ha\"", "D004"),
        ("url = \"http://10.0.0.9\"", "R019"),
        ("url = \"mqtts://10.0.0.9\"", "R019"),
        ("url = \"mqtt://10.0.0.9\", cert = \"a.pem\"", "R019"),
        ("url = \"mqtt://10.0.0.9\", prefix = \"home/#\"", "D005"),
        ("url = \"mqtt://10.0.0.9\", prefix = \"\"", "D005"),
        ("url = \"mqtt://10.0.0.9\", every = \"10ms\"", "D005"),
        ("url = \"mqtt://10.0.0.9\", every = \"2h\"", "D005"),
        ("url = \"mqtt://10.0.0.9\", every = 5", "D003"),
        ("url = \"mqtt://10.0.0.9\", retain = true", "D002"),
    ] {
        let faults = load_file(&section(keys)).expect_err(keys);
        let codes: Vec<&str> = faults.iter().map(|d| d.code).collect();
        assert_eq!(codes, [code], "{keys}: {faults:#?}");
    }
    // Without its password it cannot be reached, and that is told before anything starts.
    let rig = load_file(&section(
        "url = \"mqtt://10.0.0.9\", user = \"bench\", password_env = \"NOBODY_SETS_THIS\"",
    ))
    .expect("good on paper");
    assert_eq!(rig.home().expect_err("no password").code, "R022");
}

#[test]
fn a_telemetry_server_says_its_version_and_where_its_token_is() {
    use crate::rig::SecretFrom;
    use crate::telemetry::WriteApi;
    let section = |keys: &str| {
        format!(
            "{GOOD}\n[telemetry]\ninflux = {{ url = \"http://10.0.0.9\", bucket = \"b\", {keys} }}\n"
        )
    };
    let server = |keys: &str| {
        let rig = load_file(&section(keys)).expect("good");
        rig.influx.expect("it is there")
    };
    assert_eq!(server("org = \"lab\"").api, WriteApi::V2);
    assert_eq!(server("api = \"v1\"").api, WriteApi::V1);
    assert_eq!(
        server("token_env = \"TOKEN\"").token,
        Some(SecretFrom::Environment("TOKEN".into()))
    );
    let Some(SecretFrom::File(path)) = server("token_file = \"keys/token\"").token else {
        panic!("a file")
    };
    assert!(path.ends_with("keys/token"));
    for (keys, code) in [
        ("api = \"v4\"", "D006"),
        ("token_env = \"T\", token_file = \"t\"", "D005"),
        ("ca = \"ca.pem\"", "R115"),
    ] {
        let faults = load_file(&section(keys)).expect_err(keys);
        let codes: Vec<&str> = faults.iter().map(|d| d.code).collect();
        assert_eq!(codes, [code], "{keys}: {faults:#?}");
    }
    let at = |url: &str| {
        let influx = format!("influx = {{ url = \"{url}\", bucket = \"b\", ca = \"pki/ca.pem\" }}");
        load_file(&format!("{GOOD}\n[telemetry]\n{influx}\n"))
    };
    let rig = at("https://10.0.0.9:8086").expect("good");
    let ca = rig.influx.as_ref().and_then(|influx| influx.ca.clone());
    assert!(ca.is_some_and(|ca| ca.ends_with("pki/ca.pem")));
    let unread = rig.telemetry_server(Path::new("run")).expect_err("no file");
    assert_eq!(unread.code, "R023");
    for url in [
        "10.0.0.9:8086",
        "https://10.0.0.9/influx",
        "https://user@host",
    ] {
        let faults = at(url).expect_err(url);
        let codes: Vec<&str> = faults.iter().map(|d| d.code).collect();
        assert_eq!(codes, ["R115"], "{url}: {faults:#?}");
    }
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("token");
    let from = SecretFrom::File(file.clone());
    for (text, expected) in [
        (None, Err("R023")),
        (Some(""), Err("R023")),
        (Some("two\nlines\n"), Err("R023")),
        (Some("t0k3n==\n"), Ok("t0k3n==")),
    ] {
        if let Some(text) = text {
            std::fs::write(&file, text).expect("it can be written");
        }
        let read = from.read("the token");
        let read = read.as_deref().map_err(|d| d.code);
        assert_eq!(read, expected, "{text:?}");
    }
    let unset = SecretFrom::Environment("NOBODY_SETS_THIS".into());
    assert_eq!(unset.read("the token").expect_err("unset").code, "R022");
}

#[test]
fn an_alarm_watches_one_value_of_the_bench_against_one_limit_in_its_unit() {
    use crate::alarm::{AlarmSpec, Quantity, Severity, Side, Source};
    let section = |entry: &str| format!("{GOOD}\n[alarm]\nlow = {{ {entry} }}\n");
    let rig = load_file(&section(
        "watch = \"met1.f\", above = \"50.5Hz\", clears = \"50.2Hz\", for = \"2s\", silent = \"1min\", severity = \"error\"",
    ))
    .expect("good");
    let met1 = rig.devices.iter().position(|d| &*d.id == "met1");
    let spec = AlarmSpec {
        name: "low".into(),
        source: Source::Device(model::DeviceIx(met1.expect("the meter") as u16)),
        signal: "met1.f".into(),
        quantity: Quantity::F,
        side: Side::Above,
        limit: 50.5,
        clears: 50.2,
        lasting: Duration::from_secs(2),
        silent: Some(Duration::from_secs(60)),
        severity: Severity::Error,
    };
    assert_eq!(rig.alarms, [spec]);
    let rig = load_file(&section("watch = \"bench.soc\", below = \"20%\"")).expect("good");
    let low = &rig.alarms[0];
    assert_eq!(
        (low.source, low.side, low.limit, low.clears, low.severity),
        (Source::Bench, Side::Below, 0.2, 0.2, Severity::Warning)
    );
    for (entry, code) in [
        ("below = \"20%\"", "D004"),
        ("watch = \"soc\", below = \"20%\"", "R091"),
        ("watch = \"nobody.soc\", below = \"20%\"", "R091"),
        ("watch = \"met1.colour\", below = \"20%\"", "R091"),
        ("watch = \"met1.rocof\", above = \"1Hz/s\"", "R091"),
        ("watch = \"bench.t\", above = \"40degC\"", "R091"),
        ("watch = \"bench.soc\"", "R090"),
        (
            "watch = \"bench.soc\", below = \"20%\", above = \"80%\"",
            "R090",
        ),
        (
            "watch = \"bench.soc\", below = \"20%\", clears = \"10%\"",
            "R090",
        ),
        (
            "watch = \"bench.f\", above = \"50Hz\", clears = \"51Hz\"",
            "R090",
        ),
        ("watch = \"bench.f\", above = \"50V\"", "D007"),
        (
            "watch = \"bench.f\", above = \"50Hz\", clears = \"50V\"",
            "D007",
        ),
        (
            "watch = \"bench.f\", above = \"50Hz\", severity = \"red\"",
            "D006",
        ),
        (
            "watch = \"bench.f\", above = \"50Hz\", untill = \"2s\"",
            "D002",
        ),
    ] {
        let faults = load_file(&section(entry)).expect_err(entry);
        let codes: Vec<&str> = faults.iter().map(|d| d.code).collect();
        assert_eq!(codes, [code], "{entry}: {faults:#?}");
    }
}
