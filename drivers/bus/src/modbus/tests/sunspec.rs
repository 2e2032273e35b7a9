//! SunSpec devices: the chain of models, scales that change, controls in per cent.

use super::*;

/// A SunSpec image: models 1, 120 (nameplate 10 kW), 103 (inverter), 123 (controls).
pub(super) fn sunspec_image(shared: &Shared) {
    let mut fake = shared.lock().expect("sound");
    let mut put = |a: u16, words: &[u16]| {
        for (i, w) in (0..).zip(words) {
            fake.registers.insert((1, a + i), *w);
        }
    };
    put(40_000, &[0x5375, 0x6E53, 1, 66]);
    put(40_070, &[120, 26]);
    put(40_070 + 3, &[1000, 1]);
    put(40_098, &[103, 50]);
    put(40_098 + 14, &[4321, 0]);
    put(40_150, &[123, 24]);
    put(40_150 + 23, &[0xFFFE]);
    put(40_176, &[0xFFFF, 0]);
}

fn sunspec_profile() -> ModbusProfile {
    let at = |model, offset| Address::Model { model, offset };
    let scaled = |p, address, data, scale, poll| RegisterPoint {
        point: p,
        address,
        encoding: Encoding {
            data,
            scale: Some(scale),
            not_implemented: Some(0x8000).into(),
            ..u16_plain()
        },
        range: (-1e9, 1e9),
        poll,
        monotonic: false,
    };
    let field = |offset, value, scale| Field {
        address: at(123, offset),
        encoding: Encoding {
            scale,
            ..u16_plain()
        },
        value,
    };
    ModbusProfile {
        layout: Layout::SunSpec {
            required: vec![1, 103, 120, 123],
            one_of: Vec::new(),
            optional: Vec::new(),
        },
        points: vec![
            scaled(
                Point::RatedActivePower,
                at(120, 3),
                DataType::U16,
                at(120, 4),
                Poll::Once,
            ),
            scaled(
                Point::ActivePower,
                at(103, 14),
                DataType::I16,
                at(103, 15),
                Poll::Fast,
            ),
        ],
        controls: vec![Control {
            point: Point::ActivePowerLimit,
            fields: vec![
                field(
                    5,
                    FieldValue::PercentOf {
                        reference: Point::RatedActivePower,
                        min: 1.0,
                    },
                    Some(at(123, 23)),
                ),
                field(6, FieldValue::Constant(0), None),
                field(7, FieldValue::RevertSeconds, None),
                field(8, FieldValue::Constant(0), None),
                field(9, FieldValue::Constant(1), None),
            ],
            readback: Readback {
                fields: vec![0],
                tolerance: 1.0,
            },
            range: None,
            ceiling: None,
            floor: None,
            ramp: None,
            refresh: None,
            safe: 0.0,
            comms_loss: CommsLoss::Reverts {
                after: Duration::from_secs(20),
            },
        }],
        ..meter()
    }
}

#[tokio::test(start_paused = true)]
async fn a_sunspec_inverter_is_discovered_read_limited_and_kept_alive() {
    let device = fake(|_, _| NOW);
    sunspec_image(&device);
    let bench = Bench::start(false, vec![sunspec_profile()], &device);
    bench.runs(1000 * MS).await;
    assert_eq!(
        bench.seen.latest(0, Point::RatedActivePower),
        Some(Reading::Good(10_000.0))
    );
    assert_eq!(
        bench.seen.latest(0, Point::ActivePower),
        Some(Reading::Good(4321.0))
    );
    let ceiling = |watts| Setpoint::Ceiling {
        p: ActivePower::from_watts(watts),
    };
    bench.order(1, 0, ceiling(5550.0), 1000 * MS);
    bench.runs(500 * MS).await;
    assert_eq!(bench.seen.fate(1), ["Written", "Register"]);
    let writes = |device: &Shared| {
        let fake = device.lock().expect("sound");
        fake.heard
            .iter()
            .filter(|h| h.function == 16)
            .cloned()
            .collect::<Vec<_>>()
    };
    let first = &writes(&device)[0];
    assert_eq!(
        (first.address, first.words.as_slice()),
        (40_155, &[5550, 0, 20, 0, 1][..])
    );
    // Nothing below one per cent, or some inverters go to standby.
    bench.order(2, 0, ceiling(0.0), 1000 * MS);
    bench.runs(500 * MS).await;
    assert_eq!(bench.seen.fate(2), ["Written", "Register"]);
    assert_eq!(writes(&device)[1].words, [100, 0, 20, 0, 1]);
    // The scale is asked for before each write: it may change while the inverter runs.
    device
        .lock()
        .expect("sound")
        .registers
        .insert((1, 40_173), 0xFFFF);
    bench.order(3, 0, ceiling(2000.0), 1000 * MS);
    bench.runs(500 * MS).await;
    assert_eq!(bench.seen.fate(3), ["Written", "Register"]);
    assert_eq!(writes(&device)[2].words[0], 200);
    // Kept alive at half of its revert time.
    bench.runs(31_000 * MS).await;
    assert_eq!(writes(&device).len(), 6);
    assert_eq!(bench.seen.notices(), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_scale_that_changes_while_running_scales_the_next_value() {
    let device = fake(|_, _| NOW);
    sunspec_image(&device);
    let bench = Bench::start(true, vec![sunspec_profile()], &device);
    bench.runs(1000 * MS).await;
    let rows = [
        (432, 1, Reading::Good(4320.0)),
        (43, 2, Reading::Good(4300.0)),
        (43, 0x8000, Reading::Bad(Flaw::NotImplemented)),
        (0x8000, 1, Reading::Bad(Flaw::NotImplemented)),
        (4321, 0, Reading::Good(4321.0)),
    ];
    for (raw, scale, expected) in rows {
        {
            let mut fake = device.lock().expect("sound");
            fake.registers.insert((1, 40_112), raw);
            fake.registers.insert((1, 40_113), scale);
        }
        bench.runs(300 * MS).await;
        assert_eq!(bench.seen.latest(0, Point::ActivePower), Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_model_is_told_and_its_points_have_no_value() {
    let device = fake(|_, _| NOW);
    sunspec_image(&device);
    device
        .lock()
        .expect("sound")
        .registers
        .insert((1, 40_098), 101);
    let bench = Bench::start(false, vec![sunspec_profile()], &device);
    bench.runs(1000 * MS).await;
    assert_eq!(
        bench.seen.latest(0, Point::ActivePower),
        Some(Reading::Bad(Flaw::Config))
    );
    assert_eq!(
        bench.seen.latest(0, Point::RatedActivePower),
        Some(Reading::Good(10_000.0))
    );
    let notices = bench.seen.notices();
    assert!(
        notices[0].contains("models [103] are required"),
        "{notices:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_reconnect_a_moved_chain_is_walked_again_and_a_known_one_is_not() {
    let device = fake(|_, _| NOW);
    sunspec_image(&device);
    let bench = Bench::start(false, vec![sunspec_profile()], &device);
    let hang_up = |device: &Shared| {
        let mut fake = device.lock().expect("sound");
        fake.heard.clear();
        fake.rule = Box::new(|n, _| if n == 0 { Deed::HangUp } else { NOW });
    };
    bench.runs(1000 * MS).await;
    hang_up(&device);
    bench.runs(2000 * MS).await;
    let count = |device: &Shared, address| {
        device
            .lock()
            .expect("sound")
            .heard
            .iter()
            .filter(|h| h.address == address && h.count == 2)
            .count()
    };
    assert_eq!(
        (
            count(&device, 40_000),
            count(&device, 40_176),
            count(&device, 40_070)
        ),
        (1, 1, 0)
    );
    // A firmware update has put a model in: everything behind it has moved.
    {
        let mut fake = device.lock().expect("sound");
        let words: Vec<_> = (40_098..40_178)
            .map(|a| fake.registers.remove(&(1, a)).unwrap_or(0))
            .collect();
        fake.registers.insert((1, 40_098), 122);
        fake.registers.insert((1, 40_099), 44);
        for (a, w) in (40_144..).zip(words) {
            fake.registers.insert((1, a), w);
        }
    }
    hang_up(&device);
    bench.runs(2000 * MS).await;
    assert_eq!(count(&device, 40_070), 1);
    assert_eq!(
        bench.seen.latest(0, Point::ActivePower),
        Some(Reading::Good(4321.0))
    );
}

#[tokio::test(start_paused = true)]
async fn a_point_is_read_in_the_model_that_the_device_has_and_an_optional_one_is_not_missed() {
    let device = fake(|_, _| NOW);
    sunspec_image(&device);
    let mut profile = sunspec_profile();
    profile.layout = Layout::SunSpec {
        required: vec![1, 120, 123],
        one_of: vec![113, 103],
        optional: vec![160],
    };
    let float = RegisterPoint {
        point: Point::ActivePower,
        address: Address::Model {
            model: 113,
            offset: 22,
        },
        encoding: Encoding {
            data: DataType::F32,
            ..u16_plain()
        },
        range: (-1e9, 1e9),
        poll: Poll::Fast,
        monotonic: false,
    };
    let string = RegisterPoint {
        point: Point::StringPower1,
        address: Address::Model {
            model: 160,
            offset: 21,
        },
        ..float.clone()
    };
    profile.points.insert(0, float);
    profile.points.push(string);
    let bench = Bench::start(false, vec![profile.clone()], &device);
    bench.runs(1000 * MS).await;
    assert_eq!(
        bench.seen.latest(0, Point::ActivePower),
        Some(Reading::Good(4321.0))
    );
    assert_eq!(
        bench.seen.latest(0, Point::StringPower1),
        Some(Reading::Bad(Flaw::NotImplemented))
    );
    assert_eq!(
        bench.seen.events(),
        [LinkEvent::Online(DeviceIx(0))],
        "there is nothing to complain of"
    );
    // With none of those that can stand for one another, it is told.
    profile.layout = Layout::SunSpec {
        required: vec![1],
        one_of: vec![113],
        optional: Vec::new(),
    };
    profile.points.truncate(1);
    let bench = Bench::start(false, vec![profile], &device);
    bench.runs(1000 * MS).await;
    let told = format!("{:?}", bench.seen.events());
    assert!(told.contains("one of the SunSpec models [113]"), "{told}");
    assert_eq!(
        bench.seen.latest(0, Point::ActivePower),
        Some(Reading::Bad(Flaw::Config))
    );
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_is_moved_on_every_second_and_only_while_the_bench_is_armed() {
    let device = fake(|_, _| NOW);
    sunspec_image(&device);
    let mut profile = sunspec_profile();
    profile.heartbeats = vec![Heartbeat {
        address: Address::Model {
            model: 123,
            offset: 20,
        },
        encoding: u16_plain(),
        every: 1000 * MS,
    }];
    let mut bench = Bench::start(false, vec![profile], &device);
    bench.runs(3500 * MS).await;
    let beats = |device: &Shared| {
        let fake = device.lock().expect("sound");
        let writes = fake.heard.iter().filter(|h| h.function == 16);
        writes
            .map(|h| (h.address, h.words.clone()))
            .collect::<Vec<_>>()
    };
    let expected: Vec<(u16, Vec<u16>)> = (1..=4).map(|n| (40_170, vec![n])).collect();
    assert_eq!(beats(&device), expected);
    bench.orders = None;
    bench.runs(5000 * MS).await;
    assert_eq!(beats(&device).len(), 4, "disarmed, it is silent");
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_has_lost_its_head_is_not_believed_although_its_end_is_there() {
    let device = fake(|_, _| NOW);
    sunspec_image(&device);
    let bench = Bench::start(false, vec![sunspec_profile()], &device);
    bench.runs(1000 * MS).await;
    {
        let mut fake = device.lock().expect("sound");
        fake.heard.clear();
        fake.registers.insert((1, 40_000), 0);
        fake.rule = Box::new(|n, _| if n == 0 { Deed::HangUp } else { NOW });
    }
    bench.runs(2000 * MS).await;
    assert_eq!(
        bench.seen.latest(0, Point::ActivePower),
        Some(Reading::Bad(Flaw::Config))
    );
    let notices = bench.seen.notices();
    assert!(notices[0].contains("no SunSpec marker"), "{notices:?}");
}

#[tokio::test(start_paused = true)]
async fn the_firmware_is_asked_once_and_a_device_that_refuses_it_is_read_all_the_same() {
    /// Where `Vr` of model 1 stands in the image.
    const VR: u16 = 40_002 + 42;
    for (text, refused, told) in [
        ("1.4.2-rc1", false, Some("1.4.2-rc1")),
        (" 7 ", false, Some("7")),
        ("", false, None),
        ("1.4.2", true, None),
    ] {
        let device = fake(|_, _| NOW);
        sunspec_image(&device);
        {
            let mut fake = device.lock().expect("sound");
            let mut bytes = [0_u8; 16];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            for (i, pair) in (0..).zip(bytes.chunks(2)) {
                let word = u16::from_be_bytes([pair[0], pair[1]]);
                fake.registers.insert((1, VR + i), word);
            }
            fake.holes.extend(refused.then_some(VR));
        }
        let bench = Bench::start(false, vec![sunspec_profile()], &device);
        bench.runs(1000 * MS).await;
        let power = bench.seen.latest(0, Point::ActivePower);
        assert_eq!(power, Some(Reading::Good(4321.0)), "{text}");
        let known = bench.stats.firmware();
        assert_eq!(known.get(&DeviceIx(0)).map(String::as_str), told, "{text}");
        let heard = &device.lock().expect("sound").heard;
        let asked = heard.iter().filter(|h| h.address == VR).count();
        assert_eq!(asked, 1, "{text}");
    }
}
