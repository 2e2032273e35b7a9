//! Write recipes of hybrid inverters, what they can now, and counters.

use super::*;

/// A hybrid inverter that takes one register per request: mode, power without sign, command.
fn by_sign() -> ModbusProfile {
    let field = |address, value| Field {
        address: holding(address),
        encoding: u16_plain(),
        value,
    };
    ModbusProfile {
        write_function: WriteFunction::Single,
        controls: vec![Control {
            fields: vec![
                field(600, FieldValue::Constant(2)),
                field(602, FieldValue::Magnitude),
                field(
                    601,
                    FieldValue::BySign {
                        positive: 0xBB,
                        zero: 0xCC,
                        negative: 0xAA,
                    },
                ),
            ],
            readback: Readback {
                fields: vec![1, 2],
                tolerance: 1.0,
            },
            ..inverter().controls[0].clone()
        }],
        ..meter()
    }
}

#[tokio::test(start_paused = true)]
async fn a_setpoint_is_told_as_direction_and_magnitude_one_register_at_a_time() {
    for (watts, command) in [(1500.0, 0xBB), (-700.0, 0xAA), (0.0, 0xCC)] {
        let device = fake(|_, _| NOW);
        let bench = Bench::start(false, vec![by_sign()], &device);
        bench.runs(300 * MS).await;
        bench.order(1, 0, power(watts), 1000 * MS);
        bench.runs(500 * MS).await;
        assert_eq!(bench.seen.fate(1), ["Written", "Register"], "{watts}");
        let heard = device.lock().expect("sound").heard.clone();
        let writes: Vec<_> = heard
            .iter()
            .filter(|h| h.function != 3)
            .map(|h| (h.function, h.address, h.words.clone()))
            .collect();
        let power = watts.abs() as u16;
        assert_eq!(
            writes,
            [
                (6, 600, vec![2]),
                (6, 602, vec![power]),
                (6, 601, vec![command])
            ],
            "{watts}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_direction_that_the_device_does_not_take_over_is_missed() {
    let device = fake(|_, _| NOW);
    device.lock().expect("sound").deaf = vec![601];
    let bench = Bench::start(false, vec![by_sign()], &device);
    bench.runs(300 * MS).await;
    bench.order(1, 0, power(1500.0), 1000 * MS);
    bench.runs(1000 * MS).await;
    let fate = bench.seen.fate(1);
    assert_eq!(fate[0], "Written");
    assert!(
        fate[1].contains("missed Register") && fate[1].contains("direction"),
        "{fate:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_device_is_asked_for_no_more_than_it_says_it_can() {
    // Registers 100 and 200 hold what the battery takes and gives now.
    let limit = |p, address| RegisterPoint {
        poll: Poll::Normal,
        ..point(p, address)
    };
    let mut profile = inverter();
    profile.points = vec![
        limit(Point::ChargePowerMax, 100),
        limit(Point::DischargePowerMax, 200),
    ];
    profile.controls[0].floor = Some(Point::ChargePowerMax);
    profile.controls[0].ceiling = Some(Point::DischargePowerMax);
    for (wish, written) in [(5000.0, 900), (-5000.0, -400_i16), (250.0, 250)] {
        let device = fake(|_, _| NOW);
        {
            let mut fake = device.lock().expect("sound");
            fake.registers.insert((1, 100), 400);
            fake.registers.insert((1, 200), 900);
        }
        let bench = Bench::start(false, vec![profile.clone()], &device);
        bench.runs(300 * MS).await;
        bench.order(1, 0, power(wish), 1000 * MS);
        bench.runs(500 * MS).await;
        assert_eq!(bench.seen.fate(1), ["Written", "Register"], "{wish}");
        let held = device.lock().expect("sound").registers[&(1, 500)];
        assert_eq!(held.cast_signed(), written, "{wish}");
        let told = bench
            .seen
            .notices()
            .iter()
            .any(|n| n.contains("takes -400 to 900 W only"));
        assert_eq!(
            told,
            wish.abs() > 900.0,
            "{wish}: {:?}",
            bench.seen.notices()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_counter_that_falls_once_is_not_believed_and_twice_was_reset() {
    let mut profile = meter();
    profile.points = vec![RegisterPoint {
        monotonic: true,
        ..point(Point::EnergyImport, 100)
    }];
    let device = fake(|_, _| NOW);
    let set = |value| {
        device
            .lock()
            .expect("sound")
            .registers
            .insert((1, 100), value);
    };
    set(50);
    let bench = Bench::start(false, vec![profile], &device);
    bench.runs(250 * MS).await;
    set(0);
    bench.runs(100 * MS).await;
    assert_eq!(
        bench.seen.latest(0, Point::EnergyImport),
        Some(Reading::Bad(Flaw::OutOfRange))
    );
    set(51);
    bench.runs(100 * MS).await;
    assert_eq!(
        bench.seen.latest(0, Point::EnergyImport),
        Some(Reading::Good(51.0))
    );
    assert_eq!(bench.seen.notices(), [] as [String; 0]);
    set(3);
    bench.runs(300 * MS).await;
    assert_eq!(
        bench.seen.latest(0, Point::EnergyImport),
        Some(Reading::Good(3.0))
    );
    assert!(bench.seen.notices()[0].contains("was reset, from 51 to 3 Wh"));
}
