use std::sync::Arc;

use model::Point;
use profile::Protocol;
use profile::modbus::ModbusProfile;

use super::image::Identity;
use super::sunspec::SunSpecImage;
use super::*;
use crate::device::Nameplate;
use crate::device::tests::{run, world};
use crate::faults::Fault;

fn modbus(id: &str) -> ModbusProfile {
    match &profile::bundled(id).expect(id).protocol {
        Protocol::Modbus(modbus) => modbus.clone(),
        _ => panic!("{id} is not Modbus"),
    }
}

/// A port with the devices of the test world under these units and profiles.
fn port(units: &[(u8, &str, &str)]) -> (Port, Shared) {
    let mut made = world();
    run(&mut made, 5.0);
    let site = made.plant.site();
    let shared = Shared::new(made);
    let mut port = Port::new(shared.clone());
    for (unit, device, profile) in units {
        let (ix, nameplate) = {
            let world = shared.lock();
            let ix = world.device_index(device).expect("there");
            (ix, world.devices()[ix].nameplate)
        };
        let identity = Identity {
            der: None,
            maker: "gridrig".into(),
            model: "test".into(),
            serial: "1".into(),
            nameplate,
            is_storage: *device == "bat1",
        };
        port.add(*unit, ix, Image::of(&modbus(profile), &identity, site));
    }
    (port, shared)
}

fn ask(port: &Port, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let request = Request {
        wrap: Wrap::Tcp { transaction: 9 },
        unit,
        pdu: pdu.to_vec(),
    };
    let mut answers = port.answer(&request);
    answers.pop().expect("an answer").bytes.split_off(7)
}

fn read(port: &Port, unit: u8, function: u8, address: u16, count: u16) -> Vec<u16> {
    let [a, b] = address.to_be_bytes();
    let [c, d] = count.to_be_bytes();
    let answer = ask(port, unit, &[function, a, b, c, d]);
    assert_eq!(answer[0], function, "{address}: {answer:?}");
    assert_eq!(usize::from(answer[1]), answer.len() - 2);
    answer[2..]
        .chunks(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
        .collect()
}

fn write(port: &Port, unit: u8, address: u16, words: &[u16]) -> Vec<u8> {
    let mut pdu = vec![16];
    pdu.extend(address.to_be_bytes());
    pdu.extend((words.len() as u16).to_be_bytes());
    pdu.push(2 * words.len() as u8);
    pdu.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    ask(port, unit, &pdu)
}

#[test]
fn an_eastron_meter_tells_voltage_and_power_as_floats_in_input_registers() {
    let (port, world) = port(&[(2, "lm1", "eastron/sdm630")]);
    let v = read(&port, 2, 4, 0, 2);
    let volts = f32::from_bits(u32::from(v[0]) << 16 | u32::from(v[1]));
    assert_eq!(
        f64::from(volts),
        f64::from(world.lock().plant.bus().v as f32)
    );
    let p = read(&port, 2, 4, 0x34, 2);
    // 1000 W is 0x447A0000: consumption is positive on the meter's own wires.
    assert_eq!(p, [0x447a, 0x0000]);
}

#[test]
fn what_is_not_there_or_not_allowed_is_answered_with_its_exception() {
    let (port, _) = port(&[
        (2, "lm1", "eastron/sdm630"),
        (3, "brk1", "generic/sync-breaker"),
    ]);
    let rows: [(u8, &[u8], u8); 9] = [
        (2, &[4, 0x50, 0, 0, 2], 2),
        (2, &[3, 0, 0, 0, 2], 2),
        (2, &[4, 0, 0, 0, 0], 3),
        (2, &[4, 0, 0, 0, 126], 3),
        (2, &[0x2b, 14, 1, 0], 1),
        (2, &[6, 0, 0, 0, 1], 2),
        (3, &[5, 0, 0, 0x12, 0x34], 3),
        (3, &[5, 0, 9, 0xff, 0], 2),
        (9, &[4, 0, 0, 0, 2], 0x0b),
    ];
    for (unit, pdu, exception) in rows {
        assert_eq!(ask(&port, unit, pdu), [pdu[0] | 0x80, exception], "{pdu:?}");
    }
}

#[test]
fn a_breaker_is_opened_by_its_coil_and_shows_it_in_its_contact() {
    let (port, world) = port(&[(3, "brk1", "generic/sync-breaker")]);
    assert_eq!(ask(&port, 3, &[2, 0, 0, 0, 1]), [2, 1, 1]);
    assert_eq!(ask(&port, 3, &[5, 0, 0, 0, 0]), [5, 0, 0, 0, 0]);
    run(&mut world.lock(), 0.1);
    assert_eq!(ask(&port, 3, &[2, 0, 0, 0, 1]), [2, 1, 0]);
    assert_eq!(ask(&port, 3, &[15, 0, 0, 0, 1, 1, 1]), [15, 0, 0, 0, 1]);
    assert_eq!(ask(&port, 3, &[1, 0, 0, 0, 1]), [1, 1, 1], "the command");
}

#[test]
fn a_sunspec_chain_is_walked_from_its_marker_to_its_end() {
    let (port, _) = port(&[(1, "pv1", "sunspec/inverter")]);
    assert_eq!(read(&port, 1, 3, 40000, 2), [0x5375, 0x6e53]);
    let (mut at, mut found) = (40002_u16, Vec::new());
    loop {
        let head = read(&port, 1, 3, at, 2);
        if head[0] == 0xffff {
            assert_eq!(head[1], 0);
            break;
        }
        found.push((head[0], head[1]));
        assert_eq!(
            read(&port, 1, 3, at, 125.min(head[1] + 2)).len(),
            usize::from(125.min(head[1] + 2))
        );
        at += 2 + head[1];
    }
    assert_eq!(
        found,
        [
            (1, 66),
            (103, 50),
            (120, 26),
            (121, 30),
            (123, 24),
            (160, 48)
        ]
    );
    let maker = read(&port, 1, 3, 40004, 4);
    assert_eq!(maker, [0x6772, 0x6964, 0x7269, 0x6700], "gridrig");
    assert_eq!(ask(&port, 1, &[3, 0x9c, 0x3f, 0, 1]), [0x83, 2], "39999");
}

#[test]
fn every_model_is_complete_and_unimplemented_points_carry_their_pattern() {
    let mut world = world();
    run(&mut world, 5.0);
    let identity = Identity {
        der: None,
        maker: "gridrig".into(),
        model: "test".into(),
        serial: "1".into(),
        nameplate: Nameplate {
            p: 2000.0,
            s: 2000.0,
            capacity_wh: 5000.0,
        },
        is_storage: true,
    };
    let numbers: Vec<u16> = profile::sunspec::numbers().collect();
    let mut image = SunSpecImage::of_models(&numbers, &identity, world.plant.site());
    let bat = world.device_index("bat1").expect("there");
    for number in numbers {
        let model = profile::sunspec::model(number).expect("bundled");
        let base = image.base_of(number).expect("in the chain");
        for point in &model.points {
            let words = image
                .read(&world, bat, Table::Holding, base + point.offset, point.size)
                .expect("complete");
            assert_eq!(words.len(), usize::from(point.size));
            let name = format!("{number}.{}", point.name);
            // Nothing tells these; all else of importance must be filled.
            if matches!(
                point.name.as_str(),
                "TmpCab" | "Evt2" | "VMax" | "DoD" | "EvtVnd1"
            ) {
                let bits = words.iter().fold(0_u64, |b, w| b << 16 | u64::from(*w));
                assert_eq!(Some(bits), point.kind.not_implemented(), "{name}");
            }
            if matches!(point.name.as_str(), "W" | "Hz" | "SoC" | "WRtg" | "WMax") {
                let bits = words.iter().fold(0_u64, |b, w| b << 16 | u64::from(*w));
                assert_ne!(Some(bits), point.kind.not_implemented(), "{name}");
            }
        }
    }
}

#[test]
fn model_103_tells_power_frequency_and_power_factor_with_their_scales() {
    let (port, world) = port(&[(1, "pv1", "sunspec/inverter")]);
    let base = 40070;
    let value = |offset: u16, sf: u16| {
        let raw = read(&port, 1, 3, base + offset, 1)[0] as i16;
        let scale = read(&port, 1, 3, base + sf, 1)[0] as i16;
        f64::from(raw) * 10_f64.powi(scale.into())
    };
    assert!((value(14, 15) - world.lock().plant.pv[0].p()).abs() <= 0.5);
    assert!((value(16, 17) - 50.0).abs() < 1e-9);
    assert!((value(22, 23) - 100.0).abs() < 1e-9, "percent");
    assert_eq!(read(&port, 1, 3, base + 38, 1), [4], "MPPT");
}

#[test]
fn a_power_limit_by_model_123_is_obeyed_and_reverts() {
    let (port, world) = port(&[(1, "pv1", "sunspec/inverter")]);
    let base = 40070 + 52 + 28 + 32;
    assert_eq!(read(&port, 1, 3, base, 1), [123]);
    let sf = read(&port, 1, 3, base + 23, 1)[0] as i16;
    let percent = (40.0 / 10_f64.powi(sf.into())) as u16;
    assert_eq!(write(&port, 1, base + 5, &[percent, 0, 30, 0, 1])[0], 16);
    run(&mut world.lock(), 3.0);
    assert!((world.lock().plant.pv[0].p() - 1200.0).abs() < 1.0);
    assert_eq!(read(&port, 1, 3, base + 5, 5), [percent, 0, 30, 0, 1]);
    run(&mut world.lock(), 28.0);
    assert_eq!(read(&port, 1, 3, base + 9, 1), [0], "no longer enabled");
    run(&mut world.lock(), 3.0);
    assert!((world.lock().plant.pv[0].p() - 3000.0).abs() < 1.0);
    assert_eq!(
        write(&port, 1, base + 23, &[0]),
        [0x90, 2],
        "a scale factor"
    );
}

#[test]
fn a_power_setpoint_by_model_704_is_obeyed_and_goes_to_its_revert_value() {
    let (port, world) = port(&[(1, "bat1", "sunspec/storage-inverter")]);
    let mut base = 40002;
    while read(&port, 1, 3, base, 1) != [704] {
        base += 2 + read(&port, 1, 3, base + 1, 1)[0];
    }
    let sf = read(&port, 1, 3, base + 55, 1)[0] as i16;
    assert_eq!(sf, 0);
    // WSetEna 1, WSetMod 1, WSet -800 W, WSetRvrt -100 W, percentages, WSetEnaRvrt 1, 20 s.
    let words = [1, 1, 0xffff, 0xfce0, 0xffff, 0xff9c, 0, 0, 1, 0, 20];
    assert_eq!(write(&port, 1, base + 22, &words)[0], 16);
    run(&mut world.lock(), 5.0);
    assert!((world.lock().plant.storage[0].p() + 800.0).abs() < 1.0);
    assert_eq!(read(&port, 1, 3, base + 33, 2), [0, 15], "seconds left");
    run(&mut world.lock(), 20.0);
    assert!((world.lock().plant.storage[0].p() + 100.0).abs() < 1.0);
    assert_eq!(
        read(&port, 1, 3, base + 22, 1),
        [1],
        "enabled at its revert value"
    );
}

#[test]
fn faults_of_the_wire_spoil_answers_as_they_say() {
    let good = |port: &Port| {
        let request = Request {
            wrap: Wrap::Tcp { transaction: 9 },
            unit: 2,
            pdu: vec![4, 0, 0x34, 0, 2],
        };
        port.answer(&request)
    };
    let (port, world) = port(&[(2, "lm1", "eastron/sdm630")]);
    let whole = vec![0, 9, 0, 0, 0, 7, 2, 4, 4, 0x44, 0x7a, 0, 0];
    assert_eq!(good(&port)[0].bytes, whole);
    let rows: [(Fault, Option<Vec<u8>>); 6] = [
        (Fault::Silent, None),
        (
            Fault::WrongUnit,
            Some(vec![0, 9, 0, 0, 0, 7, 3, 4, 4, 0x44, 0x7a, 0, 0]),
        ),
        (
            Fault::WrongTransaction,
            Some(vec![0, 8, 0, 0, 0, 7, 2, 4, 4, 0x44, 0x7a, 0, 0]),
        ),
        (
            Fault::WrongLength,
            Some(vec![0, 9, 0, 0, 0, 5, 2, 4, 2, 0x44, 0x7a]),
        ),
        (
            Fault::Exception(6),
            Some(vec![0, 9, 0, 0, 0, 3, 2, 0x84, 6]),
        ),
        (
            Fault::NotImplemented,
            Some(vec![0, 9, 0, 0, 0, 7, 2, 4, 4, 0x7f, 0xc0, 0, 0]),
        ),
    ];
    for (fault, expected) in rows {
        world.lock().set_fault("lm1", fault, true).expect("there");
        let answer = good(&port).pop().map(|answer| answer.bytes);
        assert_eq!(answer, expected, "{fault}");
        world.lock().set_fault("lm1", fault, false).expect("there");
    }
    world
        .lock()
        .set_fault("bus1", Fault::Delay(Duration::from_millis(80)), true)
        .expect("bus");
    assert_eq!(good(&port)[0].after, Duration::from_millis(80));
    world
        .lock()
        .set_fault("lm1", Fault::Crc(1.0), true)
        .expect("there");
    assert_ne!(good(&port)[0].bytes, whole);
}

#[test]
fn an_ignored_write_leaves_the_register_as_it_was() {
    let (port, world) = port(&[(1, "pv1", "sunspec/inverter")]);
    let base = 40070 + 52 + 28 + 32;
    let before = read(&port, 1, 3, base + 5, 5);
    world
        .lock()
        .set_fault("pv1", Fault::IgnoreWrites, true)
        .expect("there");
    assert_eq!(
        write(&port, 1, base + 5, &[10, 0, 30, 0, 1])[0],
        16,
        "acknowledged"
    );
    assert_eq!(read(&port, 1, 3, base + 5, 5), before);
    assert!(!world.lock().holds(2, Point::ActivePowerLimit));
}

#[tokio::test(start_paused = true)]
async fn a_serial_line_answers_its_units_and_survives_noise() {
    let (port, _) = port(&[(2, "lm1", "eastron/sdm630")]);
    let (mut client, server) = tokio::io::duplex(1024);
    tokio::spawn(Arc::new(port).serve(server, Framing::Rtu));
    let frame = |unit: u8| {
        let mut frame = vec![unit, 4, 0, 0x34, 0, 2];
        frame.extend(frame::checksum(&frame).to_le_bytes());
        frame
    };
    for noise in [&[][..], &[0xff, 0x00, 0x55][..]] {
        client.write_all(noise).await.expect("open");
        client.write_all(&frame(7)).await.expect("open");
        client.write_all(&frame(2)).await.expect("open");
        let mut answer = [0_u8; 9];
        client.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(answer[..7], [2, 4, 4, 0x44, 0x7a, 0, 0]);
        assert_eq!(frame::checksum(&answer[..7]).to_le_bytes(), answer[7..]);
    }
}

fn write_one(port: &Port, unit: u8, address: u16, word: u16) -> Vec<u8> {
    let [a, b] = address.to_be_bytes();
    let [c, d] = word.to_be_bytes();
    ask(port, unit, &[6, a, b, c, d])
}

#[test]
fn a_sungrow_obeys_mode_power_and_command_one_register_at_a_time() {
    let (port, world) = port(&[(4, "bat1", "sungrow/sh")]);
    assert_eq!(
        write(&port, 4, 13049, &[2]),
        [0x90, 1],
        "function 16 is not known"
    );
    // (mode, power, command, power of the storage)
    for (mode, power, command, expected) in [
        (2, 700, 0xbb, 700.0),
        (2, 400, 0xaa, -400.0),
        (2, 400, 0xcc, 0.0),
        (2, 300, 0xbb, 300.0),
        // Without the forced mode it does as it likes.
        (0, 300, 0xbb, 0.0),
    ] {
        for (address, word) in [(13051, power), (13049, mode), (13050, command)] {
            assert_eq!(write_one(&port, 4, address, word)[0], 6);
        }
        run(&mut world.lock(), 5.0);
        let p = world.lock().plant.storage[0].p();
        assert!(
            (p - expected).abs() < 1.0,
            "{mode} {power} {command:#x}: {p}"
        );
        assert_eq!(read(&port, 4, 3, 13049, 3)[0], mode);
        assert_eq!(read(&port, 4, 3, 13050, 1), [command]);
    }
}

#[test]
fn a_huawei_charges_and_discharges_for_the_minutes_it_is_told() {
    let (port, world) = port(&[(5, "bat1", "huawei/sun2000")]);
    let tell = |charge: u16, discharge: u16, command: u16| {
        for (address, words) in [
            (47246, vec![0]),
            (47083, vec![1]),
            (47247, vec![0, charge]),
            (47249, vec![0, discharge]),
            (47100, vec![command]),
        ] {
            assert_eq!(write(&port, 5, address, &words)[0], 16, "{address}");
        }
    };
    for (charge, discharge, command, expected) in
        [(0, 600, 2, 600.0), (500, 0, 1, -500.0), (0, 0, 2, 0.0)]
    {
        tell(charge, discharge, command);
        run(&mut world.lock(), 5.0);
        let p = world.lock().plant.storage[0].p();
        assert!((p - expected).abs() < 1.0, "{command}: {p}");
    }
    tell(0, 600, 2);
    run(&mut world.lock(), 70.0);
    let p = world.lock().plant.storage[0].p();
    assert!(p.abs() < 1.0, "the minute is over, and it goes on with {p}");
}

#[test]
fn a_device_that_starts_anew_closes_connections_and_forgets_what_it_was_told() {
    let (port, world) = port(&[
        (3, "brk1", "generic/sync-breaker"),
        (1, "bat1", "sunspec/storage-inverter"),
    ]);
    let bat = world.lock().device_index("bat1").expect("there");
    world
        .lock()
        .write(bat, Point::ActivePowerSet, 500.0, None)
        .expect("taken");
    run(&mut world.lock(), 1.0);
    world
        .lock()
        .set_fault("bat1", Fault::Reboot(Duration::from_secs(3)), true)
        .expect("there");
    let request = Request {
        unit: 1,
        pdu: vec![3, 0x9c, 0x40, 0, 2],
        wrap: Wrap::Tcp { transaction: 7 },
    };
    let fate = |port: &Port| port.answer(&request).first().map(|a| a.connection);
    assert_eq!(fate(&port), Some(Connection::Closed), "away");
    assert!(!world.lock().holds(bat, Point::ActivePowerSet));
    run(&mut world.lock(), 3.1);
    assert_eq!(fate(&port), Some(Connection::Kept), "back");
}

#[test]
fn faults_of_the_wire_make_answers_busy_noise_dead_or_those_of_a_neighbour() {
    let units = [(2, "lm1", "eastron/sdm630"), (4, "met1", "eastron/sdm630")];
    let (port, world) = port(&units);
    let request = |unit| Request {
        unit,
        pdu: vec![4, 0, 0x34, 0, 2],
        wrap: Wrap::Tcp { transaction: 7 },
    };
    let answer = |unit| port.answer(&request(unit)).pop().expect("one");
    let set = |fault, on| world.lock().set_fault("bus1", fault, on).expect("there");
    let sound = [answer(2).bytes, answer(4).bytes];
    assert_ne!(sound[0][9..], sound[1][9..], "the meters differ");

    set(Fault::Busy(1.0), true);
    assert_eq!(answer(2).bytes[7..], [0x84, 6]);
    set(Fault::Busy(1.0), false);

    set(Fault::Garbage(1.0), true);
    let (one, two) = (answer(2).bytes, answer(2).bytes);
    assert!(one.len() >= 8 && one != two && one != sound[0], "{one:?}");
    set(Fault::Garbage(1.0), false);

    set(Fault::Previous, true);
    answer(4);
    let mixed = answer(2);
    assert_eq!(mixed.bytes[..7], sound[0][..7], "the frame is right");
    assert_eq!(
        mixed.bytes[9..],
        sound[1][9..],
        "the data are the neighbour's"
    );
    set(Fault::Previous, false);

    set(Fault::HalfOpen, true);
    assert_eq!(answer(2).connection, Connection::Dead);
    set(Fault::HalfOpen, false);
    assert_eq!(answer(2).bytes, sound[0], "all is over");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_half_open_stays_dead_and_a_new_one_is_served() {
    let (port, world) = port(&[(2, "lm1", "eastron/sdm630")]);
    let port = Arc::new(port);
    let ask = Wrap::Tcp { transaction: 1 }.bytes(2, &[4, 0, 0x34, 0, 2]);
    let dial = || {
        let (near, far) = tokio::io::duplex(512);
        tokio::spawn(Arc::clone(&port).serve(far, Framing::Tcp));
        near
    };
    let answered = async |stream: &mut tokio::io::DuplexStream| {
        stream.write_all(&ask).await.expect("open");
        let mut bytes = [0; 64];
        let read = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut bytes));
        read.await.is_ok()
    };
    let mut old = dial();
    assert!(answered(&mut old).await);
    world
        .lock()
        .set_fault("bus1", Fault::HalfOpen, true)
        .expect("there");
    assert!(!answered(&mut old).await);
    world
        .lock()
        .set_fault("bus1", Fault::HalfOpen, false)
        .expect("there");
    assert!(!answered(&mut old).await, "dead for ever");
    assert!(answered(&mut dial()).await);
}

#[test]
fn what_is_written_is_noted_and_what_is_asked_is_not() {
    let (port, world) = port(&[(3, "brk1", "generic/sync-breaker")]);
    ask(&port, 3, &[2, 0, 0, 0, 1]);
    assert!(world.lock().touches().is_empty());
    ask(&port, 3, &[6, 0, 99, 0, 1]);
    ask(&port, 3, &[5, 0, 0, 0, 0]);
    let touches: Vec<String> = world
        .lock()
        .touches()
        .iter()
        .map(|t| t.what.clone())
        .collect();
    assert_eq!(
        touches,
        ["unit 3 function 6", "unit 3 function 5", "brk1 switch.on"]
    );
}

#[test]
fn an_exception_carries_nothing_out_a_lost_answer_does_and_a_restart_undoes_it() {
    let (port, world) = port(&[(1, "pv1", "sunspec/inverter")]);
    let limit = 40070 + 52 + 28 + 32 + 5;
    let before = read(&port, 1, 3, limit, 5);
    let set = |fault, on| world.lock().set_fault("pv1", fault, on).expect("there");
    let tell = || {
        let mut pdu = vec![16];
        pdu.extend(limit.to_be_bytes());
        pdu.extend([0, 5, 10, 0, 10, 0, 0, 0, 30, 0, 0, 0, 1]);
        let request = Request {
            wrap: Wrap::Tcp { transaction: 9 },
            unit: 1,
            pdu,
        };
        port.answer(&request).len()
    };
    set(Fault::Exception(6), true);
    assert_eq!(tell(), 1);
    set(Fault::Exception(6), false);
    assert_eq!(read(&port, 1, 3, limit, 5), before);
    set(Fault::Loss(1.0), true);
    assert_eq!(tell(), 0);
    set(Fault::Loss(1.0), false);
    assert_eq!(read(&port, 1, 3, limit, 5), [10, 0, 30, 0, 1]);
    set(Fault::Reboot(Duration::from_secs(3)), true);
    run(&mut world.lock(), 3.1);
    assert_eq!(read(&port, 1, 3, limit, 5), before);
}

#[test]
fn a_request_that_counts_its_bytes_wrong_is_refused_and_a_mixed_up_answer_keeps_its_length() {
    let (pv, _) = port(&[(1, "pv1", "sunspec/inverter")]);
    let limit = (40070_u16 + 52 + 28 + 32 + 5).to_be_bytes();
    for (bytes, data) in [(4, &[0, 10][..]), (2, &[0, 10, 0, 0]), (1, &[0])] {
        let head = [16, limit[0], limit[1], 0, 1, bytes];
        let pdu = [&head[..], data].concat();
        assert_eq!(ask(&pv, 1, &pdu), [0x90, 3], "{pdu:?}");
    }
    let (port, world) = port(&[(2, "lm1", "eastron/sdm630")]);
    let power = read(&port, 2, 4, 0x34, 2);
    read(&port, 2, 4, 0, 4);
    let faults = |on| world.lock().set_fault("lm1", Fault::Previous, on);
    faults(true).expect("there");
    assert_eq!(read(&port, 2, 4, 0x46, 2), power);
}
