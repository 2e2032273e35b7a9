use profile::Protocol;

use super::*;
use crate::device::tests::world;

fn frames(id: &str) -> Vec<Frame> {
    match &profile::bundled(id).expect(id).protocol {
        Protocol::Can(can) => can.frames.clone(),
        _ => panic!("{id} is not CAN"),
    }
}

fn signal(start_bit: u16, bits: u16, order: ByteOrder, signed: bool, factor: f64) -> Signal {
    Signal {
        point: model::Point::BatteryVoltage,
        start_bit,
        bits,
        order,
        signed,
        factor,
        offset: 0.0,
        range: (-1e9, 1e9),
    }
}

fn bytes(fields: &[(Signal, f64)]) -> String {
    let mut data = vec![0_u8; 8];
    for (signal, value) in fields {
        place(&mut data, signal, raw(signal, Some(*value)));
    }
    data.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[test]
fn values_become_the_bytes_that_were_captured_on_real_wires() {
    let le = |start, signed, factor| signal(start, 16, ByteOrder::Little, signed, factor);
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
    let be = |start, bits| signal(start, bits, ByteOrder::Big, false, 1.0);
    assert_eq!(bytes(&[(be(7, 16), f64::from(0x1234))]), "1234000000000000");
    assert_eq!(bytes(&[(be(3, 12), f64::from(0xabc))]), "0ABC000000000000");
    assert_eq!(bytes(&[(be(23, 8), 255.0)]), "0000FF0000000000");
}

#[test]
fn numbers_outside_a_signal_are_held_at_its_end_and_unknown_ones_are_implausible() {
    let signed = signal(0, 16, ByteOrder::Little, true, 1.0);
    let unsigned = signal(0, 8, ByteOrder::Little, false, 1.0);
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
