//! Profiles that ship, against registers set by hand.

use super::sunspec::sunspec_image;
use super::*;

fn bundled(id: &str) -> ModbusProfile {
    match &profile::bundled(id).expect("it ships").protocol {
        Protocol::Modbus(profile) => profile.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_bundled_inverter_takes_its_ceiling_in_per_cent_of_its_setting() {
    let device = fake(|_, _| NOW);
    sunspec_image(&device);
    {
        // Model 121 (setting 8 kW) before model 123.
        let mut fake = device.lock().expect("sound");
        let put = [(40_150, 121), (40_151, 30), (40_152, 800), (40_172, 1)];
        fake.registers.extend(put.map(|(a, w)| ((1, a), w)));
        let put = [
            (40_182, 123),
            (40_183, 24),
            (40_205, 0xFFFE),
            (40_208, 0xFFFF),
            (40_209, 0),
        ];
        fake.registers.extend(put.map(|(a, w)| ((1, a), w)));
    }
    let bench = Bench::start(false, vec![bundled("sunspec/inverter")], &device);
    bench.runs(2000 * MS).await;
    assert_eq!(bench.seen.notices(), [] as [&str; 0]);
    assert_eq!(
        bench.seen.latest(0, Point::RatedActivePower),
        Some(Reading::Good(8000.0))
    );
    assert_eq!(
        bench.seen.latest(0, Point::ActivePower),
        Some(Reading::Good(4321.0))
    );
    bench.order(
        1,
        0,
        Setpoint::Ceiling {
            p: ActivePower::from_watts(6000.0),
        },
        1000 * MS,
    );
    bench.runs(1000 * MS).await;
    assert_eq!(bench.seen.fate(1), ["Written", "Register"]);
    let fake = device.lock().expect("sound");
    let wrote = fake
        .heard
        .iter()
        .find(|h| h.function == 16)
        .expect("a write");
    assert_eq!(
        (wrote.address, wrote.words.as_slice()),
        (40_187, &[7500, 0, 60, 0, 1][..])
    );
}

#[tokio::test(start_paused = true)]
async fn a_deye_is_put_into_its_remote_mode_under_its_watchdog_and_told_the_power_last() {
    // Families 5 (low voltage) and 6 (high voltage); 12 kW in tenths of a watt, low word first.
    for (id, family) in [("deye/sg-lv", 5), ("deye/sg-hv", 6)] {
        for (watts, tenths) in [(1500.0, 125), (-3000.0, -250_i16), (0.0, 0)] {
            let device = fake(|_, _| NOW);
            let told = [
                (0, family),
                (20, 0xD4C0),
                (21, 1),
                (588, 60),
                (598, 2300),
                (609, 5000),
            ];
            let put = told.map(|(a, w)| ((1, a), w));
            device.lock().expect("sound").registers.extend(put);
            let bench = Bench::start(true, vec![bundled(id)], &device);
            bench.runs(3000 * MS).await;
            bench.order(1, 0, power(watts), 2000 * MS);
            bench.runs(2000 * MS).await;
            assert_eq!(bench.seen.fate(1), ["Written", "Register"], "{id} {watts}");
            let heard = device.lock().expect("sound").heard.clone();
            let writes = heard.iter().filter(|h| h.function == 16);
            let writes: Vec<_> = writes.map(|h| (h.address, h.words.clone())).collect();
            assert_eq!(
                writes,
                [
                    (1100, vec![1, 60]),
                    (1104, vec![1, 2]),
                    (1109, vec![tenths.cast_unsigned()]),
                ],
                "{id} {watts}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_bundled_breaker_is_closed_and_proved_from_its_coil() {
    let device = fake(|_, _| NOW);
    let bench = Bench::start(true, vec![bundled("generic/sync-breaker")], &device);
    bench.runs(1000 * MS).await;
    bench.order(1, 0, Setpoint::Switch { on: true }, 1000 * MS);
    bench.runs(1000 * MS).await;
    assert_eq!(bench.seen.fate(1), ["Written", "Register"]);
    assert_eq!(device.lock().expect("sound").registers[&(1, 0)], 1);
}

#[tokio::test(start_paused = true)]
async fn a_bundled_meter_is_identified_and_read_whole() {
    let device = fake(|_, _| NOW);
    let float = |shared: &Shared, address: u16, value: f32| {
        let bits = value.to_bits();
        let mut fake = shared.lock().expect("sound");
        fake.registers.insert((1, address), (bits >> 16) as u16);
        fake.registers.insert((1, address + 1), bits as u16);
    };
    for address in (0..400).step_by(2) {
        float(&device, address, 0.5);
    }
    float(&device, 0x00, 230.0);
    float(&device, 0x46, 49.98);
    float(&device, 0x34, -1234.5);
    let bench = Bench::start(true, vec![bundled("eastron/sdm630")], &device);
    bench.runs(20_000 * MS).await;
    assert_eq!(
        bench.seen.latest(0, Point::ActivePower),
        Some(Reading::Good(-1234.5))
    );
    assert_eq!(bench.seen.flaws(), []);
    for point in &bundled("eastron/sdm630").points {
        assert!(
            bench.seen.latest(0, point.point).is_some(),
            "{}",
            point.point
        );
    }
    float(&device, 0x34, f32::NAN);
    bench.runs(1000 * MS).await;
    assert_eq!(
        bench.seen.latest(0, Point::ActivePower),
        Some(Reading::Bad(Flaw::NotImplemented))
    );
}
