//! Every bundled file is a profile, and known facts stand where the makers put them.

use std::collections::BTreeSet;
use std::path::Path;

use model::Point;

use super::*;
use crate::Protocol;
use crate::can::{CanId, CanProfile, Number};
use crate::modbus::{
    Address, CommsLoss, Control, DataType, FieldValue, ModbusProfile, Poll, Table, WordOrder,
};
use crate::mqtt::{MqttProfile, Payload};

fn modbus(id: &str) -> ModbusProfile {
    match &bundled(id).expect(id).protocol {
        Protocol::Modbus(m) => m.clone(),
        _ => panic!("{id} is not a Modbus profile"),
    }
}

fn can(id: &str) -> CanProfile {
    match &bundled(id).expect(id).protocol {
        Protocol::Can(c) => c.clone(),
        _ => panic!("{id} is not a CAN profile"),
    }
}

fn mqtt(id: &str) -> MqttProfile {
    match &bundled(id).expect(id).protocol {
        Protocol::Mqtt(m) => m.clone(),
        _ => panic!("{id} is not an MQTT profile"),
    }
}

#[test]
fn every_bundled_file_is_a_profile_without_faults_or_warnings() {
    for (path, text) in FILES {
        match Profile::parse(Source::new(*path, *text)) {
            Ok((profile, warnings)) => {
                assert_eq!(warnings, [], "{path}");
                let file = path.rsplit('/').next().expect("has a name");
                assert_eq!(file, format!("{}.toml", profile.id.replace('/', "-")));
            }
            Err(faults) => {
                let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
                panic!("{path}:\n{}", lines.join("\n"));
            }
        }
    }
    assert_eq!(bundled_ids().len(), FILES.len(), "an identity twice");
}

#[test]
fn every_file_among_the_devices_is_bundled() {
    let devices = Path::new(env!("CARGO_MANIFEST_DIR")).join("devices");
    let mut found = BTreeSet::new();
    for kind in std::fs::read_dir(devices).expect("devices") {
        let kind = kind.expect("readable");
        for file in std::fs::read_dir(kind.path()).expect("a folder") {
            let file = file.expect("readable").file_name();
            found.insert(format!(
                "{}/{}",
                kind.file_name().to_string_lossy(),
                file.to_string_lossy()
            ));
        }
    }
    let bundled: BTreeSet<String> = FILES.iter().map(|(p, _)| (*p).to_owned()).collect();
    assert_eq!(found, bundled);
}

#[test]
fn registers_stand_where_the_makers_put_them() {
    let (input, holding) = (Table::Input, Table::Holding);
    let (abcd, cdab) = (WordOrder::BigFirst, WordOrder::LittleFirst);
    let f32 = DataType::F32;
    let rows = [
        (
            "eastron/sdm630",
            Point::ActivePower,
            input,
            0x34,
            f32,
            abcd,
            1.0,
        ),
        (
            "eastron/sdm630",
            Point::VoltageL1,
            input,
            0x00,
            f32,
            abcd,
            1.0,
        ),
        (
            "eastron/sdm630",
            Point::Frequency,
            input,
            0x46,
            f32,
            abcd,
            1.0,
        ),
        // What the maker calls import is energy given to the bus.
        (
            "eastron/sdm630",
            Point::EnergyExport,
            input,
            0x48,
            f32,
            abcd,
            1e3,
        ),
        (
            "eastron/sdm120",
            Point::ActivePower,
            input,
            0x0c,
            f32,
            abcd,
            1.0,
        ),
        (
            "carlo-gavazzi/em340",
            Point::ActivePower,
            input,
            0x28,
            DataType::I32,
            cdab,
            0.1,
        ),
        (
            "schneider/iem3000",
            Point::ActivePower,
            holding,
            0xbf3,
            f32,
            abcd,
            1e3,
        ),
        (
            "schneider/iem3000",
            Point::EnergyExport,
            holding,
            0xc83,
            DataType::I64,
            abcd,
            1.0,
        ),
        (
            "generic/sync-breaker",
            Point::SwitchOn,
            Table::Discrete,
            0,
            DataType::Bit,
            abcd,
            1.0,
        ),
        (
            "generic/sync-breaker",
            Point::SyncAngle,
            input,
            4,
            f32,
            abcd,
            1.0,
        ),
    ];
    for (id, point, table, address, data, order, factor) in rows {
        let profile = modbus(id);
        let found = profile.points.iter().find(|p| p.point == point).expect(id);
        assert_eq!(
            found.address,
            Address::Fixed { table, address },
            "{id} {point}"
        );
        assert_eq!(
            (
                found.encoding.data,
                found.encoding.order,
                found.encoding.factor
            ),
            (data, order, factor),
            "{id} {point}"
        );
    }
}

#[test]
fn sunspec_points_take_address_type_scale_and_pattern_from_their_model() {
    // (point, model, offset, type, scale offset, factor, not implemented, poll)
    let rows = [
        (
            Point::ActivePower,
            103,
            14,
            DataType::I16,
            Some(15),
            1.0,
            0x8000,
            Poll::Fast,
        ),
        (
            Point::PowerFactor,
            103,
            22,
            DataType::I16,
            Some(23),
            0.01,
            0x8000,
            Poll::Normal,
        ),
        (
            Point::EnergyExport,
            103,
            24,
            DataType::U32,
            Some(26),
            1.0,
            0,
            Poll::Slow,
        ),
        (
            Point::State,
            103,
            38,
            DataType::U16,
            None,
            1.0,
            0xffff,
            Poll::Normal,
        ),
        (
            Point::RatedActivePower,
            121,
            2,
            DataType::U16,
            Some(22),
            1.0,
            0xffff,
            Poll::Once,
        ),
        (
            Point::StateOfCharge,
            713,
            4,
            DataType::U16,
            Some(8),
            0.01,
            0xffff,
            Poll::Normal,
        ),
    ];
    let profile = modbus("sunspec/storage-inverter");
    for (point, model, offset, data, scale, factor, pattern, poll) in rows {
        let found = profile
            .points
            .iter()
            .find(|p| p.point == point)
            .expect("mapped");
        assert_eq!(found.address, Address::Model { model, offset }, "{point}");
        assert_eq!(found.encoding.data, data, "{point}");
        let scale = scale.map(|offset| Address::Model { model, offset });
        assert_eq!(found.encoding.scale, scale, "{point}");
        assert_eq!(found.encoding.factor, factor, "{point}");
        assert_eq!(
            found.encoding.not_implemented.as_slice(),
            [pattern],
            "{point}"
        );
        assert_eq!(found.poll, poll, "{point}");
    }
}

#[test]
fn the_power_ceiling_is_one_request_of_model_123_with_at_least_one_percent() {
    let profile = modbus("sunspec/inverter");
    let is_ceiling = |c: &&Control| c.point == Point::ActivePowerLimit;
    let control = profile.controls.iter().find(is_ceiling).expect("a ceiling");
    let offsets: Vec<Address> = control.fields.iter().map(|f| f.address).collect();
    let expected: Vec<Address> = (5..=9)
        .map(|offset| Address::Model { model: 123, offset })
        .collect();
    assert_eq!(offsets, expected);
    let values: Vec<&FieldValue> = control.fields.iter().map(|f| &f.value).collect();
    let percent = FieldValue::PercentOf {
        reference: Point::RatedActivePower,
        min: 1.0,
    };
    let (zero, one) = (FieldValue::Constant(0), FieldValue::Constant(1));
    assert_eq!(
        values,
        [&percent, &zero, &FieldValue::RevertSeconds, &zero, &one]
    );
    assert_eq!(control.readback.fields, [0]);
    let scale = Address::Model {
        model: 123,
        offset: 23,
    };
    assert_eq!(
        control.fields.first().and_then(|f| f.encoding.scale),
        Some(scale)
    );
}

#[test]
fn the_power_setpoint_fills_the_whole_block_of_model_704() {
    let rows = [
        (Point::ActivePowerSet, 22, 33, 2, 55),
        (Point::ReactivePowerSet, 35, 47, 3, 57),
    ];
    let profile = modbus("sunspec/storage-inverter");
    for (point, first, end, readback, scale) in rows {
        let control = profile
            .controls
            .iter()
            .find(|c| c.point == point)
            .expect("there");
        let mut next = first;
        for field in &control.fields {
            assert_eq!(
                field.address,
                Address::Model {
                    model: 704,
                    offset: next
                },
                "{point}"
            );
            next += field.encoding.data.registers();
        }
        assert_eq!(
            (next, control.readback.fields.as_slice(), control.safe),
            (end, [readback].as_slice(), 0.0),
            "{point}"
        );
        let setpoint = &control.fields[readback];
        assert_eq!(setpoint.value, FieldValue::Setpoint, "{point}");
        let scale = Address::Model {
            model: 704,
            offset: scale,
        };
        assert_eq!(setpoint.encoding.scale, Some(scale), "{point}");
    }
}

#[test]
fn every_setpoint_that_a_device_drops_is_rewritten_twice_before() {
    let mut dropped = 0;
    for id in bundled_ids() {
        if let Protocol::Modbus(m) = &bundled(id).expect("listed").protocol {
            for control in &m.controls {
                if let CommsLoss::Reverts { after } = control.comms_loss {
                    let refresh = control.refresh.expect(id);
                    assert!(refresh * 2 <= after, "{id} {}", control.point);
                    dropped += 1;
                }
            }
        }
    }
    assert!(
        dropped >= 7,
        "ceilings and connection of the inverters, p and q of the storages"
    );
}

#[test]
fn a_coil_that_is_told_and_a_contact_that_tells_are_two_things() {
    let profile = modbus("generic/sync-breaker");
    let control = profile.controls.first().expect("a control");
    let coil = Address::Fixed {
        table: Table::Coil,
        address: 0,
    };
    assert_eq!(control.fields.first().map(|f| f.address), Some(coil));
    assert_eq!(
        (control.point, control.comms_loss),
        (Point::SwitchOn, CommsLoss::Holds)
    );
}

#[test]
fn battery_frames_hold_what_captured_packs_send() {
    // (profile, frame, point, start, bits, signed, factor)
    let rows = [
        (
            "pylontech/lv-can",
            0x351,
            Point::ChargeVoltageMax,
            0,
            16,
            false,
            0.1,
        ),
        (
            "pylontech/lv-can",
            0x351,
            Point::ChargeCurrentMax,
            16,
            16,
            true,
            0.1,
        ),
        (
            "pylontech/lv-can",
            0x351,
            Point::DischargeCurrentMax,
            32,
            16,
            true,
            0.1,
        ),
        (
            "pylontech/lv-can",
            0x355,
            Point::StateOfCharge,
            0,
            16,
            false,
            0.01,
        ),
        (
            "pylontech/lv-can",
            0x356,
            Point::BatteryVoltage,
            0,
            16,
            true,
            0.01,
        ),
        // The pack counts charging as positive.
        (
            "pylontech/lv-can",
            0x356,
            Point::BatteryCurrent,
            16,
            16,
            true,
            -0.1,
        ),
        (
            "pylontech/lv-can",
            0x35c,
            Point::ChargeEnabled,
            7,
            1,
            false,
            1.0,
        ),
        (
            "pylontech/lv-can",
            0x35c,
            Point::DischargeEnabled,
            6,
            1,
            false,
            1.0,
        ),
        // Not the finer number after it: real packs leave that zero.
        (
            "victron/lv-can",
            0x355,
            Point::StateOfCharge,
            0,
            16,
            false,
            0.01,
        ),
        (
            "victron/lv-can",
            0x356,
            Point::BatteryCurrent,
            16,
            16,
            true,
            -0.1,
        ),
    ];
    for (id, frame, point, start, bits, signed, factor) in rows {
        let profile = can(id);
        let frame = CanId::Standard(frame);
        let frame = profile.frames.iter().find(|f| f.id == frame).expect(id);
        let signal = frame.signals.iter().find(|s| s.point == point).expect(id);
        assert_eq!(
            (signal.field.at.start, signal.field.at.len),
            (start, bits),
            "{id} {point}"
        );
        assert_eq!(
            signal.field.number == Number::Signed,
            signed,
            "{id} {point}"
        );
        assert!((signal.field.factor - factor).abs() < 1e-12, "{id} {point}");
    }
    for id in ["pylontech/lv-can", "victron/lv-can"] {
        let keep_alive = can(id).keep_alive;
        assert_eq!(keep_alive.len(), 1);
        assert_eq!(
            (keep_alive[0].id, &keep_alive[0].data[..]),
            (CanId::Standard(0x305), &[0; 8][..])
        );
    }
}

#[test]
fn a_plug_consumes_and_its_payloads_are_json_where_they_look_like_it() {
    // (profile, what arms the dead-man timer)
    let rows = [
        ("tasmota/plug", Some("PulseTime 160")),
        ("shelly/gen1-plug", None),
        ("shelly/gen2-plug", Some("\"toggle_after\":60")),
        ("zigbee2mqtt/plug", None),
        ("zigbee2mqtt/timed-plug", Some("\"on_time\":60")),
    ];
    for (id, timer) in rows {
        let plug = mqtt(id);
        for value in plug.topics.iter().flat_map(|t| &t.values) {
            let consumes = value.point == Point::ActivePower;
            assert_eq!(value.factor < 0.0, consumes, "{id} {}", value.point);
        }
        assert!(plug.availability.is_some(), "{id}");
        let command = plug.commands.first().expect("a command");
        let Payload::Switch { on, off, dead_man } = &command.payload else {
            panic!("{id} has no switch")
        };
        assert_eq!(dead_man.is_some(), timer.is_some(), "{id}");
        assert_eq!(command.revert.is_some(), timer.is_some(), "{id}");
        if let (Some(dead_man), Some(timer)) = (dead_man, timer) {
            assert!(dead_man.contains(timer), "{id}: {dead_man}");
            assert_eq!(
                (command.revert, command.refresh),
                (
                    Some(std::time::Duration::from_secs(60)),
                    Some(std::time::Duration::from_secs(20))
                ),
                "{id}"
            );
        }
        for payload in [Some(on), Some(off), dead_man.as_ref()]
            .into_iter()
            .flatten()
        {
            let depth = payload.chars().fold(0_i32, |depth, c| match c {
                '{' => depth + 1,
                '}' => depth - 1,
                _ => depth,
            });
            assert_eq!(depth, 0, "{payload}");
        }
    }
    // A first-generation Shelly counts watt-minutes.
    let gen1 = mqtt("shelly/gen1-plug");
    let energy = gen1.topics.iter().flat_map(|t| &t.values);
    let energy: Vec<f64> = energy
        .filter(|v| v.point == Point::EnergyImport)
        .map(|v| v.factor)
        .collect();
    assert!(
        energy.len() == 1 && (energy[0] * 60.0 - 1.0).abs() < 1e-12,
        "{energy:?}"
    );
}

#[test]
fn a_gx_device_is_told_its_setpoint_as_a_number_well_below_its_watchdog() {
    let gx = mqtt("victron/gx-mqtt");
    assert!(gx.empty_is_gone && gx.availability.is_none());
    assert_eq!(gx.topic_levels(), 2);
    let command = gx.commands.first().expect("a command");
    let Payload::Number {
        template, factor, ..
    } = &command.payload
    else {
        panic!("a number is said")
    };
    assert_eq!((command.point, *factor), (Point::ActivePowerSet, -1.0));
    assert_eq!(template, "{\"value\":{v}}");
    let (revert, refresh) = (command.revert.expect("it reverts"), command.refresh);
    assert!(refresh.is_some_and(|every| every * 2 <= revert));
}

#[test]
fn a_profile_that_is_not_bundled_has_a_similar_name() {
    let rows = [
        ("eastron/sdm360", Some("eastron/sdm630")),
        ("sunspec/invertor", Some("sunspec/inverter")),
        ("sdm630", Some("eastron/sdm630")),
        ("pylontec/lv-can", Some("pylontech/lv-can")),
        ("acme/rocket", None),
    ];
    for (id, expected) in rows {
        assert_eq!(similar(id), expected, "{id}");
        assert!(bundled(id).is_none(), "{id}");
    }
    assert!(bundled_text("eastron/sdm630").is_some_and(|t| t.contains("sdm630")));
}

#[test]
fn a_profile_tells_what_it_says_and_takes() {
    let profile = bundled("sunspec/storage-inverter").expect("bundled");
    assert!(profile.says(Point::StateOfCharge) && !profile.says(Point::SyncAngle));
    assert_eq!(
        profile.controls(),
        [Point::ActivePowerSet, Point::ReactivePowerSet]
    );
    let plug = bundled("tasmota/plug").expect("bundled");
    assert!(plug.takes(Point::SwitchOn) && !plug.takes(Point::ActivePowerSet));
    let points = plug.points();
    let mut sorted = points.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(points, sorted, "each once, in canonical order");
}
