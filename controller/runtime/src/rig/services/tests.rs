//! Services of a rig: what is read, and what is refused at its place.

use std::path::Path;

use quantities::{Energy, StateOfCharge};

use crate::rig::{Rig, load};

const BENCH: &str = r#"schema = 1
site = { v = "230V", f = "50Hz", phases = 3 }
[bus]
lan1 = { kind = "modbus-tcp", host = "10.0.0.1" }
lan2 = { kind = "modbus-tcp", host = "10.0.0.2" }
lan3 = { kind = "modbus-tcp", host = "10.0.0.3" }
lan4 = { kind = "scpi", host = "10.0.0.4" }
lan5 = { kind = "modbus-tcp", host = "10.0.0.5" }
mq   = { kind = "mqtt", url = "mqtt://10.0.0.6" }
[device]
ess1 = { profile = "sunspec/storage-inverter", bus = "lan1", role = "ess", limits = { p = "-10..10kW", soc = "10..90%" }, ramp = "10kW/s", capacity = "10kWh", revert = "30s" }
ess2 = { profile = "sunspec/storage-inverter", bus = "lan2", role = "ess", limits = { p = "-5..5kW" }, capacity = "10kWh", revert = "30s" }
pv1  = { profile = "sunspec/inverter", bus = "lan3", role = "pv", limits = { p = "0..3kW" }, revert = "60s" }
load1 = { profile = "chroma/63800", bus = "lan4", role = "load", limits = { p = "-4..0kW" } }
pv2  = { profile = "sunspec/inverter", bus = "lan5", role = "pv", limits = { p = "0..3kW" }, revert = "60s" }
met1 = { profile = "sunspec/inverter", bus = "lan5", unit = 2, role = "meter", limits = { p = "0..3kW" }, revert = "60s" }
plug1 = { profile = "tasmota/plug", bus = "mq", topic = "plug1", role = "load", limits = { p = "-2..0kW" } }
plug2 = { profile = "tasmota/plug", bus = "mq", topic = "plug2", role = "load", limits = { p = "-2..0kW" } }
[service]
"#;
/// The line of the first service.
const FIRST: usize = 20;

fn load_with(services: &str, files: &[(&str, &str)]) -> Result<Rig, Vec<document::Diagnostic>> {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &Path, text: &str| {
        std::fs::write(dir.path().join(name), text).expect("written");
    };
    write(Path::new("rig.toml"), &format!("{BENCH}{services}\n"));
    for (name, text) in files {
        write(Path::new(name), text);
    }
    load(&dir.path().join("rig.toml"))
}

#[test]
fn what_was_sold_reaches_the_core_with_its_devices_and_its_time() {
    let rig = load_with(
        r#"fcr1 = { service = "fcr-ce", up = "4kW", down = "4kW", devices = ["ess2", "ess1"] }
afrr1 = { service = "afrr", up = "3kW", group = "storage", hold = "30min" }
own = { service = "droop", up = "2kW", down = "2kW", devices = ["ess1"], hold = "5min", settings = "own.toml" }"#,
        &[("own.toml", "k_uf = 0.04\ndb_uf_hz = 0.0")],
    )
    .unwrap_or_else(|faults| panic!("{faults:#?}"));
    let bench = rig.bench();
    let [fcr, afrr, own] = bench.settings.services.as_slice() else {
        unreachable!("{:?}", bench.settings.services)
    };
    assert_eq!((fcr.hold.as_secs(), afrr.hold.as_secs()), (900, 1800));
    let devices: Vec<u16> = fcr.devices.iter().map(|d| d.0).collect();
    assert_eq!(devices, [0, 1]);
    assert_eq!(afrr.devices, fcr.devices);
    let at = |hz| {
        own.definition
            .fraction(quantities::Frequency::from_hertz(hz))
    };
    // One hertz of two at 4 % of 50 Hz.
    assert!((at(49.0).expect("a fraction") - 0.5).abs() < 1e-9);
    let reserved =
        control::Reserved::of(model::DeviceIx(0), &bench.settings.services, &bench.devices);
    // Two thirds of 4 kW, two thirds of 3 kW, and 2 kW.
    assert!((reserved.up.as_kilowatts() - 20.0 / 3.0).abs() < 1e-9);
    let energy = Energy::from_watt_hours(8000.0 / 3.0 / 4.0 + 1000.0 + 2000.0 / 12.0);
    // What comes out is 95 % of what the charge gives.
    let drawn_wh = energy.as_watt_hours() / 0.95;
    let lower = StateOfCharge::from_fraction(0.1 + drawn_wh / 10_000.0);
    let charge = reserved.charge(&bench.devices[0]).expect("some is left");
    assert!((charge.lower().as_fraction() - lower.as_fraction()).abs() < 1e-9);
}

#[track_caller]
fn check(services: &str, expected: &[(&str, usize)]) {
    let files = [("zero.toml", "k_uf = 0")];
    let faults = load_with(services, &files).expect_err("a bad rig");
    let got: Vec<(&str, usize)> = faults
        .iter()
        .map(|d| {
            let line = d.place.as_ref().map_or(0, |p| p.line_and_column().0);
            (d.code, line)
        })
        .collect();
    assert_eq!(got, expected, "{faults:#?}");
}

#[test]
fn each_fault_of_a_service_has_its_code_and_its_line() {
    let of = |text: &str| format!("s1 = {{ {text} }}");
    let row = |text: &str, code: &str| check(&of(text), &[(code, FIRST)]);
    row(r#"service = "fcr", up = "1kW", devices = ["ess1"]"#, "G020");
    row(r#"up = "1kW", devices = ["ess1"]"#, "D004");
    row(
        r#"service = "dc", up = "1kW", devices = ["ess1"], hodl = "5min""#,
        "D002",
    );
    row(r#"service = "dc", up = "1kV", devices = ["ess1"]"#, "D007");
    // Nothing sold, less than nothing, and what it never asks for.
    row(r#"service = "dc", devices = ["ess1"]"#, "R081");
    row(r#"service = "dc", up = "-1kW", devices = ["ess1"]"#, "R081");
    row(
        r#"service = "ffr", up = "1kW", down = "1kW", devices = ["ess1"]"#,
        "R081",
    );
    // Nobody, somebody who cannot, somebody who is not there, and twice.
    row(r#"service = "dc", up = "1kW""#, "R082");
    row(r#"service = "dc", up = "1kW", devices = ["met1"]"#, "R082");
    row(r#"service = "dc", up = "1kW", devices = ["ess9"]"#, "R009");
    row(
        r#"service = "dc", up = "1kW", devices = ["ess1", "ess1"]"#,
        "R082",
    );
    row(
        r#"service = "dc", up = "1kW", devices = ["ess1"], group = "storage""#,
        "R082",
    );
    // For how long, and which file.
    row(r#"service = "agc", up = "1kW", devices = ["ess1"]"#, "R084");
    row(
        r#"service = "dc", up = "1kW", devices = ["ess1"], settings = "none.toml""#,
        "R085",
    );
    // What is left of a power is not a service; a droop of zero is told in its own file.
    row(
        r#"service = "vde-4105", up = "1kW", devices = ["ess1"], hold = "5min""#,
        "R080",
    );
    check(
        &of(
            r#"service = "droop", up = "1kW", devices = ["ess1"], hold = "5min", settings = "zero.toml""#,
        ),
        &[("G023", 1)],
    );
    check(
        r#"ess2 = { service = "dc", up = "1kW", devices = ["ess1"] }"#,
        &[("R086", FIRST)],
    );
    // More than it has: in power, in time, and in energy.
    row(
        r#"service = "ffr", up = "11kW", devices = ["ess1"]"#,
        "R083",
    );
    row(
        r#"service = "dc", up = "9kW", down = "1kW", devices = ["ess2"]"#,
        "R083",
    );
    row(
        r#"service = "dm", up = "9kW", down = "9kW", devices = ["ess1"]"#,
        "R083",
    );
    check(
        r#"s1 = { service = "dc", up = "6kW", devices = ["ess1"] }
s2 = { service = "ffr", up = "5kW", devices = ["ess1"] }"#,
        &[("R083", FIRST), ("R083", FIRST + 1)],
    );
}

#[test]
fn a_device_that_is_too_slow_or_says_no_energy_cannot_deliver() {
    let text = r#"s1 = { service = "ffr", up = "6kW", devices = ["ess1"] }"#;
    for (from, to, code) in [
        ("ramp = \"10kW/s\"", "ramp = \"4kW/s\"", "R083"),
        (", capacity = \"10kWh\"", "", "R084"),
        ("f = \"50Hz\"", "f = \"60Hz\"", "R080"),
    ] {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("rig.toml");
        let rig = format!("{BENCH}{text}\n").replacen(from, to, 1);
        std::fs::write(&path, rig).expect("written");
        let faults = load(&path).expect_err("a bad rig");
        assert_eq!(faults[0].code, code, "{faults:#?}");
    }
}

#[test]
fn a_load_that_takes_a_setpoint_delivers_out_of_its_range_and_needs_no_energy() {
    let service = |up: &str, down: &str| {
        let text = format!(
            r#"s1 = {{ service = "dc", up = "{up}", down = "{down}", devices = ["load1"] }}"#
        );
        load_with(&text, &[]).map_err(|faults| faults[0].code)
    };
    let rig = service("2.5kW", "1.5kW").expect("4 kW of 4 kW");
    assert_eq!(
        rig.bench().settings.services[0].devices,
        [model::DeviceIx(3)]
    );
    let too_much = service("2.5kW", "2kW").map(|_| ());
    assert_eq!(too_much, Err("R083"));
}

#[test]
fn what_is_reserved_counts_the_losses_of_the_rig_or_the_usual_ones() {
    let lowest = |keys: &str| {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("rig.toml");
        let text = r#"s1 = { service = "fcr-ce", up = "4kW", down = "4kW", devices = ["ess1"] }"#;
        let rig = format!("{BENCH}{text}\n").replacen("ramp =", &format!("{keys}ramp ="), 1);
        std::fs::write(&path, rig).expect("written");
        let rig = load(&path).map_err(|faults| faults[0].code)?;
        let bench = rig.bench();
        let device = model::DeviceIx(0);
        let reserved = control::Reserved::of(device, &bench.settings.services, &bench.devices);
        let charge = reserved.charge(&bench.devices[0]).expect("some");
        Ok((charge.lower().as_percent(), charge.upper().as_percent()))
    };
    let check = |keys: &str, lower: f64, upper: f64| {
        let (low, high) = lowest(keys).expect("a good rig");
        assert!(
            (low - lower).abs() < 1e-6 && (high - upper).abs() < 1e-6,
            "{keys}: {low} {high}"
        );
    };
    // 1 kWh of 10 kWh, between 10 and 90 %.
    check(
        "charge_efficiency = \"100%\", discharge_efficiency = \"100%\", ",
        20.0,
        80.0,
    );
    check(
        "charge_efficiency = \"90%\", discharge_efficiency = \"80%\", ",
        22.5,
        81.0,
    );
    check("", 10.0 + 10.0 / 0.95, 80.5);
    assert_eq!(lowest("charge_efficiency = \"40%\", "), Err("D005"));
}

#[test]
fn a_loop_that_is_expected_to_be_too_slow_is_told_with_each_service_that_closes_one() {
    let services = r#"fcr1 = { service = "fcr-ce", up = "1kW", down = "1kW", devices = ["ess1"] }
afrr1 = { service = "afrr", up = "1kW", group = "storage", hold = "30min" }
[control]
delay_margin = "150ms""#;
    let rig = load_with(services, &[]).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let told: Vec<_> = rig.warnings.iter().filter(|d| d.code == "R062").collect();
    let [late] = told.as_slice() else {
        unreachable!("{:?}", rig.warnings)
    };
    let words = "the frequency droop, the service fcr1 will be refused";
    assert!(late.message.starts_with(words), "{}", late.message);
}

#[test]
fn the_sun_delivers_downwards_by_itself_and_upwards_beside_one_that_is_left_free() {
    let of = |keys: &str| {
        let text = format!(r#"s1 = {{ service = "dc", {keys} }}"#);
        let rig = load_with(&text, &[]).map_err(|faults| faults[0].code)?;
        Ok(rig.bench().settings.services[0].reference)
    };
    for (keys, expected) in [
        (r#"down = "2kW", devices = ["pv1"]"#, Ok(None)),
        (
            r#"up = "2kW", devices = ["pv1"], reference = "pv2""#,
            Ok(Some(model::DeviceIx(4))),
        ),
        (r#"up = "2kW", devices = ["pv1"]"#, Err("R100")),
        (
            r#"up = "2kW", devices = ["pv1"], reference = "pv1""#,
            Err("R100"),
        ),
        (
            r#"up = "2kW", devices = ["pv1"], reference = "ess1""#,
            Err("R100"),
        ),
        (
            r#"up = "2kW", devices = ["pv1"], reference = "pv9""#,
            Err("R100"),
        ),
        (
            r#"up = "2kW", devices = ["ess1"], reference = "pv2""#,
            Err("R100"),
        ),
        (
            r#"up = "2kW", down = "2kW", devices = ["pv1"], reference = "pv2""#,
            Err("R083"),
        ),
    ] {
        assert_eq!(of(keys), expected, "{keys}");
    }
}

#[test]
fn loads_with_a_switch_only_are_sold_as_whole_blocks_of_one_service_and_one_side() {
    let of = |text: &str| {
        load_with(text, &[])
            .map(|rig| rig.bench().settings.services[0].dwell)
            .map_err(|faults| faults[0].code)
    };
    let two = r#"devices = ["plug1", "plug2"]"#;
    let sold = format!(
        r#"s1 = {{ service = "ffr-held", up = "4kW", {two}, on_min = "30s", off_min = "1min" }}"#
    );
    let dwell = of(&sold).expect("a good rig");
    assert_eq!((dwell.on.as_secs(), dwell.off.as_secs()), (30, 60));
    for (text, code) in [
        // An answer that follows the frequency, and one that must return slowly.
        (
            format!(r#"s1 = {{ service = "dc", up = "4kW", {two} }}"#),
            "R101",
        ),
        (
            format!(r#"s1 = {{ service = "ffr", up = "4kW", {two} }}"#),
            "R101",
        ),
        (
            r#"s1 = { service = "dc", up = "1kW", devices = ["ess1"], on_min = "30s" }"#.to_owned(),
            "R101",
        ),
        (
            format!(r#"s1 = {{ service = "mfrr", up = "2kW", down = "2kW", {two} }}"#),
            "R102",
        ),
        (
            r#"s1 = { service = "ffr-held", up = "2kW", devices = ["plug1"] }
s2 = { service = "mfrr", up = "2kW", devices = ["plug1"] }"#
                .to_owned(),
            "R083",
        ),
        (
            r#"s1 = { service = "ffr-held", up = "1kW", devices = ["ess1", "plug1"] }
s2 = { service = "mfrr", up = "1kW", devices = ["ess1", "plug1"] }"#
                .to_owned(),
            "R102",
        ),
        // Three kilowatts of blocks of two.
        (
            format!(r#"s1 = {{ service = "mfrr", up = "3kW", {two} }}"#),
            "R102",
        ),
    ] {
        assert_eq!(of(&text).map(|_| ()), Err(code), "{text}");
    }
    // A storage beside them makes up for the rest.
    let mixed = r#"s1 = { service = "mfrr", up = "3kW", devices = ["ess1", "plug1"] }"#;
    assert!(of(mixed).is_ok());
}

#[test]
fn a_storage_goes_back_to_a_charge_by_a_rule_that_is_there_and_that_leaves_its_reserves() {
    let of = |text: &str, files: &[(&str, &str)]| {
        load_with(text, files)
            .map(|rig| rig.bench().settings.services[0].recover)
            .map_err(|faults| faults[0].code)
    };
    let sold =
        |more: &str| format!(r#"s1 = {{ service = "dc", up = "4kW", down = "4kW", {more} }}"#);
    let half = Some(StateOfCharge::from_percent(50.0));
    let of_ess1 = r#"devices = ["ess1"], recover = "50%""#;
    assert_eq!(of(&sold(of_ess1), &[]), Ok(half));
    assert_eq!(of(&sold(r#"devices = ["ess1"]"#), &[]), Ok(None));
    let rule = (
        "s.toml",
        "recover_share = 0.2\nrecover_every_s = 1800\nrecover_notice_s = 3600\n",
    );
    let ffr = r#"s1 = { service = "ffr", up = "4kW", devices = ["ess1"], recover = "50%" }"#;
    assert_eq!(of(ffr, &[]), Err("R130"), "nobody says how");
    let with = ffr.replace("recover =", "settings = \"s.toml\", recover =");
    assert_eq!(of(&with, &[rule]), Ok(half));
    // 4 kW for a quarter of an hour are 10 % of it, above its 10 and below its 90 %.
    let low = of_ess1.replace("50%", "15%");
    assert_eq!(of(&sold(&low), &[]), Err("R131"));
    let load = r#"s1 = { service = "dc", up = "2kW", devices = ["load1"], recover = "50%" }"#;
    assert_eq!(of(load, &[]), Err("R131"), "no storage");
}

#[test]
fn a_load_that_stands_ready_for_a_service_is_not_the_market_s_to_switch() {
    let market = |kind: &str| {
        let text = format!(
            r#"s1 = {{ service = "ffr-held", up = "2kW", devices = ["plug1"] }}
[market]
interval = "15s"
pcc_max = "40kW"
import_mc_per_kwh = 30000
export_mc_per_kwh = 8000
[market.participant]
plug1 = {{ {kind} }}"#
        );
        load_with(&text, &[]).map(|_| ()).map_err(|faults| {
            let line = faults[0]
                .place
                .as_ref()
                .map_or(0, |p| p.line_and_column().0);
            (faults[0].code, line)
        })
    };
    assert_eq!(market(r#"kind = "must_run""#), Ok(()));
    let flexible = market(r#"kind = "flexible", willingness_mc_per_kwh = 20000"#);
    assert_eq!(flexible, Err(("R103", FIRST + 7)));
}

#[test]
fn support_of_the_voltage_is_sold_once_and_beside_no_other_use_of_reactive_power() {
    let of = |text: &str| {
        load_with(text, &[])
            .map(|rig| {
                rig.bench()
                    .settings
                    .pcc_voltage
                    .map(|spec| spec.q.as_vars())
            })
            .map_err(|faults| faults[0].code)
    };
    let one = r#"vs1 = { service = "voltage-support", q = "4kvar" }"#;
    assert_eq!(of(one), Ok(Some(4000.0)));
    for (text, code) in [
        (
            r#"vs1 = { service = "voltage-support" }"#.to_owned(),
            "D004",
        ),
        (
            r#"vs1 = { service = "voltage-support", q = "-4kvar" }"#.to_owned(),
            "R081",
        ),
        (
            r#"vs1 = { service = "voltage-support", q = "40kvar" }"#.to_owned(),
            "R083",
        ),
        (
            r#"vs1 = { service = "voltage-support", q = "4kvar", up = "1kW" }"#.to_owned(),
            "D002",
        ),
        (one.to_owned() + "\n" + &one.replace("vs1", "vs2"), "R104"),
        (one.to_owned() + "\n[control]\npcc_pf_min = 0.95", "R104"),
        (one.to_owned() + "\n[control]\npcc_q = \"0kvar\"", "R104"),
        // What a device does by itself is nothing that a controller delivers.
        (
            r#"vs1 = { service = "volt-var", up = "1kW", devices = ["ess1"] }"#.to_owned(),
            "R080",
        ),
    ] {
        assert_eq!(of(&text), Err(code), "{text}");
    }
}
