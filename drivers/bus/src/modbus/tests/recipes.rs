//! Write recipes of hybrid inverters, what they can now, and counters.

use super::super::write::{refresh_interval, revert_time};
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

#[test]
fn a_setpoint_is_repeated_before_the_device_lets_go_and_a_rig_shortens_only_what_the_device_can() {
    let s = Duration::from_secs;
    let reverts = |after| CommsLoss::Reverts { after };
    // (loss of communication, it has a register for the time, own interval, the rig's wish, time, interval)
    for (comms_loss, takes_time, refresh, rig, time, interval) in [
        (CommsLoss::Holds, false, None, None, None, None),
        (CommsLoss::Holds, false, Some(s(9)), None, None, Some(s(9))),
        (reverts(s(20)), false, None, None, Some(s(20)), Some(s(10))),
        (
            reverts(s(20)),
            false,
            Some(s(30)),
            None,
            Some(s(20)),
            Some(s(10)),
        ),
        (
            reverts(s(20)),
            false,
            Some(s(3)),
            None,
            Some(s(20)),
            Some(s(3)),
        ),
        (
            reverts(s(20)),
            false,
            None,
            Some(s(60)),
            Some(s(20)),
            Some(s(10)),
        ),
        (
            reverts(s(20)),
            true,
            None,
            Some(s(60)),
            Some(s(60)),
            Some(s(30)),
        ),
        (
            CommsLoss::Holds,
            true,
            None,
            Some(s(60)),
            Some(s(60)),
            Some(s(30)),
        ),
    ] {
        let mut control = Control {
            comms_loss,
            refresh,
            ..inverter().controls[0].clone()
        };
        if takes_time {
            control.fields.push(Field {
                address: holding(501),
                encoding: u16_plain(),
                value: FieldValue::RevertSeconds,
            });
        }
        let row = format!("{comms_loss:?}, {takes_time}, {refresh:?}, {rig:?}");
        assert_eq!(revert_time(&control, rig), time, "{row}");
        assert_eq!(refresh_interval(&control, rig), interval, "{row}");
    }
}

/// An inverter whose first control this has changed, and what it is told for 700 W: the words of
/// its registers from 499 on, or why none.
async fn told(
    registers: &[(u16, i16)],
    change: impl Fn(&mut ModbusProfile),
) -> Result<Vec<i16>, String> {
    let device = fake(|_, _| NOW);
    for (address, word) in registers {
        let mut fake = device.lock().expect("sound");
        fake.registers.insert((1, *address), word.cast_unsigned());
    }
    let mut profile = inverter();
    profile.controls.truncate(1);
    profile.points[0].encoding.data = DataType::I16;
    change(&mut profile);
    let bench = Bench::start(false, vec![profile], &device);
    bench.runs(300 * MS).await;
    bench.order(1, 0, power(700.0), 1000 * MS);
    bench.runs(500 * MS).await;
    let fate = bench.seen.fate(1);
    if fate == ["Written", "Register"] {
        let fake = device.lock().expect("sound");
        let written = (499..501).filter_map(|a| fake.registers.get(&(1, a)));
        Ok(written.map(|word| word.cast_signed()).collect())
    } else {
        Err(fate.join("; "))
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_device_takes_is_worked_out_with_what_it_says_and_never_with_nonsense() {
    let percent = |profile: &mut ModbusProfile| {
        profile.points[0].point = Point::RatedActivePower;
        profile.controls[0].fields[0].value = FieldValue::PercentOf {
            reference: Point::RatedActivePower,
            min: 0.0,
        };
    };
    assert_eq!(told(&[(100, 1000)], percent).await, Ok(vec![70]));
    let zero = told(&[(100, 0)], percent).await.expect_err("no rating");
    assert!(zero.contains("rating.p is not known"), "{zero}");

    let ceiling = |profile: &mut ModbusProfile| {
        profile.points[0].point = Point::DischargePowerMax;
        profile.controls[0].ceiling = Some(Point::DischargePowerMax);
        let watts = ActivePower::from_watts;
        profile.controls[0].range = Some(quantities::Bounds::between(watts(100.0), watts(900.0)));
    };
    assert_eq!(told(&[(100, 650)], ceiling).await, Ok(vec![650]));
    // Nothing can be given now, although it would begin at 100 W.
    assert_eq!(told(&[(100, 0)], ceiling).await, Ok(vec![0]));
    let less = told(&[(100, -5)], ceiling).await.expect_err("nonsense");
    assert!(less.contains("takes no more than that"), "{less}");

    // Twenty-five seconds in tens: rather longer than shorter.
    let tens = |profile: &mut ModbusProfile| {
        let control = &mut profile.controls[0];
        control.comms_loss = CommsLoss::Reverts {
            after: Duration::from_secs(25),
        };
        control.fields.push(Field {
            address: holding(499),
            encoding: Encoding {
                factor: 10.0,
                ..u16_plain()
            },
            value: FieldValue::RevertSeconds,
        });
    };
    assert_eq!(told(&[], tens).await, Ok(vec![3, 700]));
}

#[tokio::test(start_paused = true)]
async fn after_a_reconnect_the_rating_of_the_device_before_does_not_count() {
    let device = fake(|_, _| NOW);
    let mut profile = inverter();
    profile.points[0].point = Point::RatedActivePower;
    profile.controls.truncate(1);
    profile.controls[0].fields[0].value = FieldValue::PercentOf {
        reference: Point::RatedActivePower,
        min: 0.0,
    };
    let bench = Bench::start(false, vec![profile], &device);
    bench.runs(500 * MS).await;
    {
        let mut fake = device.lock().expect("sound");
        fake.heard.clear();
        fake.holes = vec![100];
        fake.rule = Box::new(|n, _| if n == 0 { Deed::HangUp } else { NOW });
    }
    bench.runs(1000 * MS).await;
    bench.order(1, 0, power(50.0), 1000 * MS);
    bench.runs(500 * MS).await;
    let fate = bench.seen.fate(1);
    assert!(fate[0].starts_with("missed Written"), "{fate:?}");
}

#[tokio::test(start_paused = true)]
async fn a_value_whose_scale_stands_in_another_table_has_no_place() {
    let device = fake(|_, _| NOW);
    let mut profile = meter();
    profile.points[0].encoding.scale = Some(Address::Fixed {
        table: Table::Input,
        address: 101,
    });
    let bench = Bench::start(false, vec![profile], &device);
    bench.runs(500 * MS).await;
    assert_eq!(
        bench.seen.latest(0, Point::ActivePower),
        Some(Reading::Bad(Flaw::Config))
    );
    assert!(bench.seen.notices()[0].contains("ac.p cannot be reached"));
}
