//! Setpoints on their way: written, proved, refused, expired, cut short.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_setpoint_is_written_then_proved_from_the_register() {
    for rtu in [true, false] {
        let device = fake(|_, _| NOW);
        let bench = Bench::start(rtu, vec![inverter()], &device);
        bench.runs(500 * MS).await;
        bench.order(1, 0, power(-2500.0), 1000 * MS);
        bench.runs(500 * MS).await;
        assert_eq!(bench.seen.fate(1), ["Written", "Register"]);
        assert_eq!(
            device.lock().expect("sound").registers[&(1, 500)],
            (-2500_i16).cast_unsigned()
        );
        assert_eq!(device.lock().expect("sound").registers[&(1, 510)], 0);
        bench.order(
            2,
            0,
            Setpoint::Ceiling {
                p: ActivePower::ZERO,
            },
            1000 * MS,
        );
        bench.runs(500 * MS).await;
        let fate = bench.seen.fate(2);
        assert!(fate[0].contains("has no ctl.p_lim"), "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_register_that_does_not_take_the_value_is_told_with_its_numbers() {
    let device = fake(|_, _| NOW);
    device.lock().expect("sound").stubborn = true;
    let bench = Bench::start(false, vec![inverter()], &device);
    bench.runs(500 * MS).await;
    bench.order(1, 0, power(1200.0), 1000 * MS);
    bench.runs(500 * MS).await;
    let fate = bench.seen.fate(1);
    assert_eq!(fate[0], "Written");
    assert!(fate[1].starts_with("missed Register: dev0: ctl.p_set: register 500 holds [500] = 500 W, written was [1200] = 1200 W"), "{fate:?}");
}

#[tokio::test(start_paused = true)]
async fn a_late_setpoint_is_never_written() {
    let device = fake(|_, heard: &Heard| {
        if heard.at.elapsed().is_zero() {
            Deed::Silent
        } else {
            NOW
        }
    });
    let bench = Bench::start(true, vec![inverter()], &device);
    bench.runs(3000 * MS).await;
    bench.order(1, 0, power(700.0), 1500 * MS);
    bench.runs(1000 * MS).await;
    assert_eq!(bench.seen.fate(1), [] as [&str; 0]);
    bench.runs(1000 * MS).await;
    device.lock().expect("sound").rule = Box::new(|_, _| NOW);
    bench.runs(100_000 * MS).await;
    let fate = bench.seen.fate(1);
    assert!(fate.len() == 1 && fate[0].contains("expired"), "{fate:?}");
    let wrote = |h: &Heard| h.function == 16;
    assert!(!device.lock().expect("sound").heard.iter().any(wrote));
    assert_eq!(bench.report().expired, 1);
    assert!(
        !bench.seen.good(0, Point::ActivePower).is_empty(),
        "it came back"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_write_answer_is_tried_again() {
    let mut lost = 2;
    let device = fake(move |_, heard: &Heard| {
        if heard.function == 16 && lost > 0 {
            lost -= 1;
            return Deed::Silent;
        }
        NOW
    });
    let bench = Bench::start(true, vec![inverter()], &device);
    bench.runs(500 * MS).await;
    bench.order(1, 0, power(40.0), 5000 * MS);
    bench.runs(4000 * MS).await;
    assert_eq!(bench.seen.fate(1), ["Written", "Register"]);
}

#[tokio::test(start_paused = true)]
async fn a_switch_is_a_coil_that_is_set_and_read_back() {
    let coil = Address::Fixed {
        table: Table::Coil,
        address: 3,
    };
    let bit = Encoding {
        data: DataType::Bit,
        ..u16_plain()
    };
    let profile = ModbusProfile {
        points: vec![RegisterPoint {
            address: coil,
            encoding: bit,
            ..point(Point::SwitchOn, 0)
        }],
        controls: vec![Control {
            point: Point::SwitchOn,
            fields: vec![Field {
                address: coil,
                encoding: bit,
                value: FieldValue::Setpoint,
            }],
            ..inverter().controls[0].clone()
        }],
        ..meter()
    };
    for rtu in [true, false] {
        let device = fake(|_, _| NOW);
        let bench = Bench::start(rtu, vec![profile.clone()], &device);
        bench.runs(500 * MS).await;
        assert_eq!(
            bench.seen.latest(0, Point::SwitchOn),
            Some(Reading::Good(0.0))
        );
        bench.order(1, 0, Setpoint::Switch { on: true }, 1000 * MS);
        bench.runs(500 * MS).await;
        assert_eq!(bench.seen.fate(1), ["Written", "Register"]);
        assert_eq!(
            bench.seen.latest(0, Point::SwitchOn),
            Some(Reading::Good(1.0))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_urgent_writes_are_done_before_the_bus_ends() {
    for (dead, expected) in [(false, "Written"), (true, "missed Written")] {
        let device = fake(|_, _| NOW);
        let bench = Bench::start(true, vec![inverter()], &device);
        bench.runs(500 * MS).await;
        if dead {
            device.lock().expect("sound").rule = Box::new(|_, _| Deed::Silent);
        }
        let order = Order {
            dispatch: DispatchId(1),
            device: DeviceIx(0),
            setpoint: power(0.0),
            valid_until: bench.clock.now() + Duration::from_secs(60),
            urgent: true,
        };
        bench.give(order);
        let Bench {
            seen,
            key,
            orders,
            task,
            ..
        } = bench;
        drop((key, orders));
        let ended = tokio::time::timeout(Duration::from_secs(3), task).await;
        ended.expect("in time").expect("no panic");
        let fate = seen.fate(1);
        assert!(fate[0].starts_with(expected), "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_the_end_has_cut_short_is_told() {
    let device = fake(|_, heard: &Heard| {
        if heard.function == 16 {
            Deed::Silent
        } else {
            NOW
        }
    });
    let slow = ModbusProfile {
        timeout: 30_000 * MS,
        ..inverter()
    };
    let bench = Bench::start(false, vec![slow], &device);
    bench.runs(500 * MS).await;
    bench.order(1, 0, power(3.0), 60_000 * MS);
    bench.runs(500 * MS).await;
    let Bench {
        seen,
        key,
        orders,
        task,
        ..
    } = bench;
    drop((key, orders));
    tokio::time::timeout(Duration::from_secs(3), task)
        .await
        .expect("in time")
        .expect("no panic");
    let fate = seen.fate(1);
    assert_eq!(fate.len(), 1);
    assert!(fate[0].starts_with("missed Written"), "{fate:?}");
}

#[tokio::test(start_paused = true)]
async fn reactive_power_is_written_only_when_it_differs_or_the_device_is_new() {
    let device = fake(|_, _| NOW);
    let bench = Bench::start(false, vec![inverter()], &device);
    let wrote = |device: &Shared| bench.wrote(device);
    let rows: [(u64, f64, &[u16]); 4] = [
        (1, 0.0, &[500, 510]),
        (2, 0.0, &[500]),
        (3, 5.0, &[500, 510]),
        (4, 5.0, &[500]),
    ];
    for (dispatch, vars, expected) in rows {
        bench.runs(300 * MS).await;
        let q = ReactivePower::from_vars(vars);
        bench.order(
            dispatch,
            0,
            Setpoint::Power {
                p: ActivePower::from_watts(dispatch as f64),
                q,
            },
            1000 * MS,
        );
        bench.runs(300 * MS).await;
        assert_eq!(wrote(&device), expected, "dispatch {dispatch}");
    }
    device.lock().expect("sound").rule = Box::new(|n, _| if n == 0 { Deed::HangUp } else { NOW });
    bench.runs(1000 * MS).await;
    wrote(&device);
    device.lock().expect("sound").rule = Box::new(|_, _| NOW);
    bench.order(
        5,
        0,
        Setpoint::Power {
            p: ActivePower::ZERO,
            q: ReactivePower::from_vars(5.0),
        },
        1000 * MS,
    );
    bench.runs(300 * MS).await;
    assert_eq!(wrote(&device), [500, 510], "after a reconnect");
}

#[tokio::test(start_paused = true)]
async fn a_bench_that_is_armed_again_at_once_writes_and_keeps_alive_what_the_device_may_have_let_go()
 {
    let device = fake(|_, _| NOW);
    let mut profile = inverter();
    for control in &mut profile.controls {
        control.refresh = Some(400 * MS);
    }
    let mut bench = Bench::start(false, vec![profile], &device);
    let wish = Setpoint::Power {
        p: ActivePower::from_watts(700.0),
        q: ReactivePower::from_vars(5.0),
    };
    bench.runs(300 * MS).await;
    bench.order(1, 0, wish, 1000 * MS);
    bench.runs(300 * MS).await;
    assert_eq!(bench.wrote(&device), [500, 510]);
    // The old writer goes and the new one comes before the bus has its turn.
    bench.orders = None;
    bench.orders = Some(bench.key.open());
    bench.order(2, 0, wish, 1000 * MS);
    bench.runs(300 * MS).await;
    assert_eq!(bench.wrote(&device), [500, 510], "nobody keeps it alive");
    bench.runs(700 * MS).await;
    assert_eq!(
        bench.wrote(&device),
        [500, 510, 500, 510],
        "it is kept alive"
    );
}

/// When writes came, in milliseconds after the first.
fn writes_at(device: &Shared) -> Vec<u128> {
    let fake = device.lock().expect("sound");
    let writes = fake.heard.iter().filter(|h| h.function == 16);
    let at: Vec<_> = writes.map(|h| h.at).collect();
    at.iter().map(|then| (*then - at[0]).as_millis()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_again_and_again_is_given_up_and_told() {
    for (deed, expected, why) in [
        (Deed::Silent, 3, "no answer"),
        (Deed::Refuse(6), 4, "busy"),
        (Deed::Refuse(4), 1, "remote control"),
    ] {
        let told = deed.clone();
        let device = fake(move |_, heard: &Heard| match heard.function {
            16 => deed.clone(),
            _ => NOW,
        });
        let bench = Bench::start(true, vec![inverter()], &device);
        bench.runs(500 * MS).await;
        bench.order(1, 0, power(40.0), 60_000 * MS);
        bench.runs(30_000 * MS).await;
        let at = writes_at(&device);
        assert_eq!(at.len(), expected, "{told:?}: {at:?}");
        let fate = bench.seen.fate(1);
        assert!(
            fate.len() == 1 && fate[0].starts_with("missed Written") && fate[0].contains(why),
            "{told:?}: {fate:?}"
        );
        if expected == 4 {
            // A busy device is left alone for longer each time.
            let near = |at: u128, wanted: u128| (wanted..wanted + 50).contains(&at);
            assert!(
                near(at[1], 100) && near(at[2], 300) && near(at[3], 700),
                "{at:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_register_has_a_moment_to_take_the_value_and_one_that_cannot_be_read_proves_nothing() {
    let device = fake(|_, _| NOW);
    device.lock().expect("sound").stubborn = true;
    let bench = Bench::start(false, vec![inverter()], &device);
    bench.runs(500 * MS).await;
    bench.order(1, 0, power(1200.0), 1000 * MS);
    bench.runs(60 * MS).await;
    assert_eq!(bench.seen.fate(1), ["Written"]);
    {
        let mut registers = device.lock().expect("sound");
        registers.registers.insert((1, 500), 1200);
        registers.registers.insert((1, 510), 0);
    }
    bench.runs(200 * MS).await;
    assert_eq!(bench.seen.fate(1), ["Written", "Register"]);

    device.lock().expect("sound").rule = Box::new(|_, heard| match heard.address {
        500 if heard.function == 3 => Deed::Refuse(4),
        _ => NOW,
    });
    bench.order(2, 0, power(1200.0), 1000 * MS);
    bench.runs(500 * MS).await;
    let fate = bench.seen.fate(2);
    assert!(
        fate[1].starts_with("missed Register") && fate[1].contains("not read back"),
        "{fate:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_setpoint_that_cannot_be_kept_alive_is_told_once() {
    let device = fake(|_, _| NOW);
    let mut profile = inverter();
    profile.controls[0].refresh = Some(300 * MS);
    let bench = Bench::start(false, vec![profile], &device);
    bench.runs(500 * MS).await;
    bench.order(1, 0, power(1200.0), 1000 * MS);
    bench.runs(200 * MS).await;
    {
        let mut fake = device.lock().expect("sound");
        fake.stubborn = true;
        fake.registers.insert((1, 500), 0);
    }
    bench.runs(2000 * MS).await;
    let notices = bench.seen.notices();
    assert!(
        notices.len() == 1
            && notices[0].contains("keep-alive of ctl.p_set: dev0: ctl.p_set: register 500 holds"),
        "{notices:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn while_the_door_closes_nothing_is_kept_alive_any_more() {
    // The second device takes its time over the urgent write.
    let device = fake(|_, heard: &Heard| match (heard.unit, heard.function) {
        (2, 16) => Deed::Refuse(6),
        _ => NOW,
    });
    let mut kept = inverter();
    kept.controls[0].refresh = Some(200 * MS);
    let mut bench = Bench::start(true, vec![kept, inverter()], &device);
    bench.runs(500 * MS).await;
    bench.order(1, 0, power(1200.0), 1000 * MS);
    bench.runs(100 * MS).await;
    bench.wrote(&device);
    bench.give(Order {
        dispatch: DispatchId(2),
        device: DeviceIx(1),
        setpoint: power(0.0),
        valid_until: bench.clock.now() + 5000 * MS,
        urgent: true,
    });
    bench.orders = None;
    bench.runs(5000 * MS).await;
    let heard = device.lock().expect("sound").heard.clone();
    let units: Vec<_> = heard
        .iter()
        .filter(|h| h.function == 16)
        .map(|h| h.unit)
        .collect();
    assert_eq!(units, [2; 4]);
}
