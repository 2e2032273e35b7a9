use std::path::Path;

use super::*;
use crate::clock::SimClock;

const RIG: &str = r#"schema = 1
title  = "Two buses"
site   = { v = "230V", f = "50Hz", phases = 3 }
safety = { heartbeat = "1s", on_lost = "safe" }
[bus]
lan1 = { kind = "modbus-tcp", host = "127.0.0.1", port = 15020 }
lan2 = { kind = "modbus-tcp", host = "127.0.0.1", port = 15021 }
can0 = { kind = "can", uri = "virtual://x" }
[device]
pcc   = { profile = "eastron/sdm630", bus = "lan1", unit = 1, role = "pcc" }
load1 = { profile = "eastron/sdm630", bus = "lan1", unit = 2, role = "load", invert = true }
ess1  = { profile = "sunspec/storage-inverter", bus = "lan2", unit = 1, role = "ess", battery = "bat1", limits = { p = "-2..2kW", s = "3kVA", soc = "15..90%" }, ramp = "1kW/s", capacity = "5kWh", revert = "30s" }
bat1  = { profile = "pylontech/lv-can", bus = "can0", role = "battery" }
"#;

fn rig() -> Arc<Rig> {
    match crate::rig::load_text(Path::new("rig.toml"), RIG) {
        Ok(rig) => Arc::new(rig),
        Err(faults) => panic!("{faults:?}"),
    }
}

fn device(rig: &Rig, name: &str) -> DeviceIx {
    rig.device(name).expect("the rig has it")
}

#[test]
fn the_buses_of_a_storage_are_its_own_and_that_of_its_battery() {
    let rig = rig();
    let buses = |names: &[&str]| {
        let devices: Vec<DeviceIx> = names.iter().map(|n| device(&rig, n)).collect();
        buses_of(&rig, &devices)
    };
    assert_eq!(buses(&["ess1"]), [1, 2]);
    assert_eq!(buses(&["load1", "pcc"]), [0]);
    assert_eq!(buses(&["bat1", "pcc"]), [0, 2]);
}

#[test]
fn a_meter_wired_the_other_way_round_is_asked_for_the_counters_as_they_arrive() {
    let rig = rig();
    let points = |name| points_of(&rig, device(&rig, name));
    assert_eq!(points("pcc"), points("load1"));
    assert!(points("load1").contains(&Point::EnergyImport));
}

#[test]
fn a_virtual_bus_is_a_wire_of_this_process() {
    let rig = rig();
    let specs = specs_of(&rig, &[0, 2], 1).expect("all buses open");
    let (_, can) = specs.last().expect("two buses");
    let bus::Endpoint::VirtualCan { name, bitrate } = &can.endpoint else {
        panic!("{can:?}")
    };
    assert_eq!((name.as_str(), *bitrate), ("x", None));
}

/// An access in virtual time whose buses lead nowhere.
fn silent(rig: &Arc<Rig>) -> (PointAccess, Arc<dyn Clock>) {
    let clock: Arc<dyn Clock> = Arc::new(SimClock::start());
    let specs = (0..2)
        .map(|bus| {
            let mut spec = rig.bus_spec(bus, 1).expect("it is on the bench");
            spec.endpoint = bus::Endpoint::Memory(tokio::sync::mpsc::unbounded_channel().0);
            (bus, spec)
        })
        .collect();
    (PointAccess::open(rig, specs, Arc::clone(&clock)), clock)
}

#[tokio::test(start_paused = true)]
async fn an_absent_device_is_given_up_before_the_time_is_over_and_is_never_zero() {
    let rig = rig();
    let (mut access, clock) = silent(&rig);
    let wanted = [(device(&rig, "pcc"), Point::ActivePower)];
    let readings = access.read(&wanted, Duration::from_secs(60)).await;
    assert_eq!(readings[0].reading.good(), None);
    assert!(matches!(readings[0].reading, Reading::Bad(Flaw::Offline)));
    assert!(
        clock.now().as_seconds() < 30.0,
        "{}",
        clock.now().as_seconds()
    );
    assert!(!access.notices.is_empty(), "the bus told why");
    assert_eq!(access.heard_at(wanted[0].0), None);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_recorded_for_a_device_that_was_not_heard() {
    let rig = rig();
    let (mut access, clock) = silent(&rig);
    let dir = tempfile::tempdir().expect("a folder");
    let keys = evidence::KeySource::Seed(1);
    let mut evidence =
        Evidence::create(dir.path(), "test", &[], keys, &*clock).expect("a ledger begins");
    let wish = Setpoint::Power {
        p: ActivePower::from_watts(500.0),
        q: ReactivePower::ZERO,
    };
    let ess = device(&rig, "ess1");
    let fault = access
        .write(&mut evidence, ess, wish, Duration::from_secs(20))
        .await
        .expect_err("it is absent");
    assert!(matches!(
        fault,
        WriteFault::Refused {
            refusal: Refusal::Offline,
            ..
        }
    ));
    assert_eq!(evidence.dispatches_logged, 0);
}

#[tokio::test(start_paused = true)]
async fn active_and_reactive_power_are_one_setpoint_and_unknown_power_is_none() {
    let rig = rig();
    let (access, _) = silent(&rig);
    let ess = device(&rig, "ess1");
    let of = |values: &[(Point, f64)]| access.setpoints(ess, values);
    let both = of(&[
        (Point::ReactivePowerSet, 200.0),
        (Point::ActivePowerSet, -500.0),
    ]);
    let expected = Setpoint::Power {
        p: ActivePower::from_watts(-500.0),
        q: ReactivePower::from_vars(200.0),
    };
    assert_eq!(both, Some(vec![expected]));
    // Reactive power alone keeps the active power, which nobody has measured yet.
    assert_eq!(of(&[(Point::ReactivePowerSet, 200.0)]), None);
    assert_eq!(of(&[(Point::ActivePower, 1.0)]), None);
    assert_eq!(
        of(&[(Point::SwitchOn, 0.0)]),
        Some(vec![Setpoint::Switch { on: false }])
    );
}
