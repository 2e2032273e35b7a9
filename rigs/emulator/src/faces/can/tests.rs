use profile::Protocol;

use super::*;
use crate::device::tests::world;
use crate::faults::Fault;

fn frames(id: &str) -> Vec<Frame> {
    match &profile::bundled(id).expect(id).protocol {
        Protocol::Can(can) => can.frames.clone(),
        _ => panic!("{id} is not CAN"),
    }
}

fn field(start: u16, len: u16, order: ByteOrder, signed: bool, factor: f64) -> Field {
    Field {
        at: Bits { start, len, order },
        number: if signed {
            Number::Signed
        } else {
            Number::Unsigned
        },
        factor,
        offset: 0.0,
    }
}

fn bytes(fields: &[(Field, f64)]) -> String {
    let mut data = vec![0_u8; 8];
    for (field, value) in fields {
        place(&mut data, field.at, raw(field, Some(*value)));
        // What is put in is read out again, by the same file but the other way round.
        let back = read(&data, field).expect("within the data");
        assert!(
            (back - value).abs() <= field.factor.abs() / 2.0,
            "{value} {back}"
        );
    }
    data.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[test]
fn values_become_the_bytes_that_were_captured_on_real_wires() {
    let le = |start, signed, factor| field(start, 16, ByteOrder::Little, signed, factor);
    // 53.2 V, 370 A, 370 A, 46 V; 49.86 V, -27 A (here: 27 A of discharge), 36.3 degrees.
    let limits = [
        (le(0, false, 0.1), 53.2),
        (le(16, true, 0.1), 370.0),
        (le(32, true, 0.1), 370.0),
        (le(48, false, 0.1), 46.0),
    ];
    assert_eq!(bytes(&limits), "1402740E740ECC01");
    let state = [
        (le(0, true, 0.01), 49.86),
        (le(16, true, -0.1), 27.0),
        (le(32, true, 0.1), 36.3),
    ];
    assert_eq!(bytes(&state), "7A13F2FE6B010000");
    assert_eq!(
        bytes(&[(le(0, false, 0.01), 0.88), (le(16, false, 0.01), 0.94)]),
        "58005E0000000000"
    );
}

#[test]
fn big_endian_signals_count_from_their_most_significant_bit() {
    // DBC: start bit 7 is the top of byte 0.
    let be = |start, bits| field(start, bits, ByteOrder::Big, false, 1.0);
    assert_eq!(bytes(&[(be(7, 16), f64::from(0x1234))]), "1234000000000000");
    assert_eq!(bytes(&[(be(3, 12), f64::from(0xabc))]), "0ABC000000000000");
    assert_eq!(bytes(&[(be(23, 8), 255.0)]), "0000FF0000000000");
}

#[test]
fn numbers_outside_a_signal_are_held_at_its_end_and_unknown_ones_are_implausible() {
    let signed = field(0, 16, ByteOrder::Little, true, 1.0);
    let unsigned = field(0, 8, ByteOrder::Little, false, 1.0);
    assert_eq!(raw(&signed, Some(1e9)), 0x7fff);
    assert_eq!(raw(&signed, Some(-1e9)), 0x8000);
    assert_eq!(raw(&unsigned, Some(-5.0)), 0);
    assert_eq!(raw(&unsigned, None), 0xff);
    assert_eq!(raw(&signed, None), 0x8000);
}

#[test]
fn a_bundled_battery_sends_limits_state_and_its_name() {
    let world = world();
    let bms = world.device_index("bms1").expect("there");
    let frames = frames("pylontech/lv-can");
    let of = |id: u16| {
        let frame = frames
            .iter()
            .find(|f| f.id == CanId::Standard(id))
            .expect("there");
        encode(frame, &world, bms).expect("known")
    };
    // Charge voltage 53.2 V and discharge voltage 46.0 V stand around the currents.
    assert_eq!(
        (of(0x351)[..2].to_vec(), of(0x351)[6..].to_vec()),
        (vec![0x14, 0x02], vec![0xcc, 0x01])
    );
    assert_eq!(of(0x355), [50, 0, 100, 0]);
    assert_eq!(of(0x35c)[0], 0xc0, "charge and discharge allowed");
    assert_eq!(of(0x35e), *b"PYLON   ");
    assert_eq!(of(0x359).len(), 7);
}

#[tokio::test(start_paused = true)]
async fn every_frame_comes_at_its_period() {
    let shared = Shared::new(world());
    let mut bus = CanBus::new(shared.clone());
    let bms = shared.lock().device_index("bms1").expect("there");
    let Protocol::Can(profile) = &profile::bundled("pylontech/lv-can")
        .expect("bundled")
        .protocol
    else {
        panic!("CAN")
    };
    bus.add(bms, profile.clone());
    let bus = Arc::new(bus);
    let (_, mut traffic) = bus.join();
    tokio::spawn(Arc::clone(&bus).run());
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    let mut counts: BTreeMap<CanId, u32> = BTreeMap::new();
    while let Ok(sent) = traffic.try_recv() {
        *counts.entry(sent.frame.id).or_default() += 1;
    }
    assert_eq!(counts.len(), 6);
    assert!(counts.values().all(|count| *count == 6), "{counts:?}");
}

/// The profile of the laboratory's inverter, from its DBC file.
fn own_inverter() -> CanProfile {
    let path = "../../tests/peers/inverter.toml";
    let text = std::fs::read_to_string(path).expect("there");
    match profile::Profile::parse(document::Source::new(path, text)) {
        Ok((profile, _)) => match profile.protocol {
            Protocol::Can(can) => can,
            _ => panic!("CAN"),
        },
        Err(faults) => panic!("{faults:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_from_a_dbc_file_shows_what_it_was_told_and_falls_back_without_a_word() {
    let shared = Shared::new(world());
    let ess = shared.lock().device_index("bat1").expect("there");
    let mut bus = CanBus::new(shared.clone());
    bus.add(ess, own_inverter());
    let bus = Arc::new(bus);
    let (client, mut traffic) = bus.join();
    let steps = shared.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(crate::bench::STEP).await;
            steps.lock().step(crate::bench::STEP);
        }
    });
    tokio::spawn(Arc::clone(&bus).run());
    let mut latest = async |id: CanId, page: Option<u8>| {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut last = None;
        while let Ok(sent) = traffic.try_recv() {
            let fits = page.is_none_or(|page| sent.frame.data.first() == Some(&page));
            if sent.frame.id == id && fits {
                last = Some(sent.frame.data);
            }
        }
        last.expect("it comes every 100 or 200 ms")
    };
    let command = |mode: u8| CanFrame {
        id: CanId::Standard(0x200),
        data: vec![mode, 0x7B, 0, 0, 0, 0, 0, 0],
    };
    // A frame that is too short is none.
    let mut short = command(1);
    short.data.truncate(7);
    bus.hear(client, short);
    assert_eq!(latest(CanId::Standard(0x201), None).await[..2], [0, 0]);
    // In another mode the command is none; 123 tens of watts are 0x007b.
    bus.hear(client, command(2));
    assert_eq!(latest(CanId::Standard(0x201), None).await[..2], [0, 0]);
    bus.hear(client, command(1));
    assert_eq!(latest(CanId::Standard(0x201), None).await[..2], [0, 0x7B]);
    // Without another word it takes its setpoint back after a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(latest(CanId::Standard(0x201), None).await[..2], [0, 0]);
    // Page 0: charge in hundredths of a percent, 49.99 after a second of 1230 W out of 5 kWh;
    // page 1: 22 degrees above -40.
    let battery = CanId::Extended(0x18FE_F100);
    assert_eq!(latest(battery, Some(0)).await[1..3], [0x87, 0x13]);
    assert_eq!(latest(battery, Some(1)).await[5], 62);
}

#[tokio::test(start_paused = true)]
async fn a_battery_that_waits_for_its_inverter_is_silent_until_it_hears_one() {
    let shared = Shared::new(world());
    let bms = shared.lock().device_index("bms1").expect("there");
    let mut bus = CanBus::new(shared.clone());
    let Protocol::Can(profile) = &profile::bundled("byd/hvs-can").expect("bundled").protocol else {
        panic!("CAN")
    };
    bus.add(bms, profile.clone());
    let bus = Arc::new(bus);
    let (client, mut traffic) = bus.join();
    tokio::spawn(Arc::clone(&bus).run());
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(traffic.try_recv().is_err(), "it speaks unasked");
    bus.hear(
        client,
        CanFrame {
            id: CanId::Standard(0x151),
            data: vec![1, 0, 0, 0, 0, 0, 0, 0],
        },
    );
    tokio::time::sleep(Duration::from_secs(21)).await;
    let mut heard: BTreeMap<CanId, Vec<u8>> = BTreeMap::new();
    while let Ok(sent) = traffic.try_recv() {
        heard.insert(sent.frame.id, sent.frame.data);
    }
    // 53.2 V and 46.0 V in tenths, big-endian; half charged, in hundredths of a percent; its name.
    assert_eq!(
        heard[&CanId::Standard(0x110)][..4],
        [0x02, 0x14, 0x01, 0xCC]
    );
    assert_eq!(
        heard[&CanId::Standard(0x150)][..4],
        [0x13, 0x88, 0x27, 0x10]
    );
    assert!(heard[&CanId::Standard(0x2D0)].starts_with(b"\0BYD"));
    // The inverter has gone: nobody is told any more.
    crate::device::tests::run(&mut shared.lock(), 600.0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    while traffic.try_recv().is_ok() {}
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(traffic.try_recv().is_err(), "it has fallen silent");
}

#[tokio::test(start_paused = true)]
async fn faults_of_the_wire_fall_on_frames() {
    let shared = Shared::new(world());
    let mut bus = CanBus::new(shared.clone());
    let bms = shared.lock().device_index("bms1").expect("there");
    let Protocol::Can(profile) = &profile::bundled("pylontech/lv-can")
        .expect("bundled")
        .protocol
    else {
        panic!("CAN")
    };
    bus.add(bms, profile.clone());
    let bus = Arc::new(bus);
    let (_, mut traffic) = bus.join();
    tokio::spawn(Arc::clone(&bus).run());
    let ms = Duration::from_millis;
    tokio::time::sleep(ms(500)).await;
    while traffic.try_recv().is_ok() {}
    // Frames come once a second, half a second from now. (fault, after how long, frames, their
    // length, whether every controller has left)
    for (fault, after, frames, len, bus_off) in [
        (Fault::Loss(1.0), 1000, 0, 0, false),
        (Fault::Crc(1.0), 1000, 0, 0, false),
        (Fault::Reboot(ms(3_600_000)), 1000, 0, 0, false),
        (Fault::WrongLength, 1000, 6, 7, false),
        (Fault::BusOff, 1000, 6, 8, true),
        (Fault::Delay(ms(700)), 1000, 0, 0, false),
        (Fault::Stuck, 1000, 12, 8, false),
    ] {
        shared.lock().set_fault("bms1", fault, true).expect("there");
        tokio::time::sleep(ms(after)).await;
        shared
            .lock()
            .set_fault("bms1", fault, false)
            .expect("there");
        let mut came = Vec::new();
        while let Ok(sent) = traffic.try_recv() {
            came.push(sent);
        }
        assert_eq!(came.len(), frames, "{fault}");
        // Charge and discharge limits are eight bytes.
        let limits = came
            .iter()
            .rev()
            .find(|s| s.frame.id == CanId::Standard(0x351));
        assert_eq!(limits.map_or(0, |s| s.frame.data.len()), len, "{fault}");
        assert_eq!(came.iter().any(|s| s.bus_off), bus_off, "{fault}");
    }
}
