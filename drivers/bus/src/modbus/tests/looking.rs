//! Without a write path nothing is written, and what happens when it closes.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_bus_that_is_not_armed_sends_nothing_that_writes_at_start_at_reconnect_or_after_disarming()
 {
    for rtu in [false, true] {
        let device = fake(|_, _| NOW);
        let mut profile = inverter();
        profile.controls[0].refresh = Some(500 * MS);
        let mut bench = Bench::start(rtu, vec![profile], &device);
        bench.orders = None;
        let check = |from: tokio::time::Instant, expected: bool, when: &str| {
            let heard = &device.lock().expect("sound").heard;
            let writes = heard.iter().filter(|h| h.at >= from && h.function > 4);
            assert_eq!(writes.count() > 0, expected, "{when}, rtu: {rtu}");
            assert!(
                heard.iter().any(|h| h.at >= from && h.function <= 4),
                "{when}: it looks"
            );
        };
        let start = tokio::time::Instant::now();
        bench.runs(3000 * MS).await;
        check(start, false, "at the start");

        let hang_up_once =
            |n: u64| move |m: u64, _: &Heard| if m == n { Deed::HangUp } else { NOW };
        let hang_up = || {
            let mut fake = device.lock().expect("sound");
            let next = fake.heard.len() as u64;
            fake.rule = Box::new(hang_up_once(next));
        };
        let (before, dials) = (
            tokio::time::Instant::now(),
            device.lock().expect("sound").dials,
        );
        hang_up();
        bench.runs(5000 * MS).await;
        check(before, false, "at a reconnect");
        assert!(device.lock().expect("sound").dials > dials, "it was one");

        let before = tokio::time::Instant::now();
        bench.orders = Some(bench.key.open());
        bench.runs(2000 * MS).await;
        check(before, false, "armed, and nothing is wanted");
        bench.order(
            1,
            0,
            Setpoint::Power {
                p: ActivePower::from_watts(700.0),
                q: ReactivePower::from_vars(0.0),
            },
            1000 * MS,
        );
        bench.runs(2000 * MS).await;
        check(before, true, "armed");

        bench.orders = None;
        bench.runs(MS).await;
        let before = tokio::time::Instant::now();
        bench.runs(10_000 * MS).await;
        hang_up();
        bench.runs(10_000 * MS).await;
        check(before, false, "disarmed, and after another reconnect");
    }
}

#[tokio::test(start_paused = true)]
async fn disarming_misses_what_waits_but_lets_what_is_urgent_out() {
    // Each answer takes a while, so that the others wait.
    let device = fake(|_, _| Deed::Busy(20 * MS));
    let mut bench = Bench::start(false, vec![inverter(), inverter()], &device);
    bench.runs(2000 * MS).await;
    let power = |p| Setpoint::Power {
        p: ActivePower::from_watts(p),
        q: ReactivePower::from_vars(0.0),
    };
    bench.order(1, 0, power(700.0), 5000 * MS);
    let rest = Order {
        dispatch: DispatchId(2),
        device: DeviceIx(1),
        setpoint: power(0.0),
        valid_until: bench.clock.now() + 5000 * MS,
        urgent: true,
    };
    bench.give(rest);
    bench.orders = None;
    bench.runs(5000 * MS).await;
    let heard = device.lock().expect("sound").heard.clone();
    let written: Vec<_> = heard
        .iter()
        .filter(|h| h.function == 16)
        .map(|h| (h.unit, h.address))
        .collect();
    assert_eq!(
        written,
        [(2, 500), (2, 510)],
        "rest of the second device only"
    );
    let events = bench.seen.events.lock().expect("sound");
    let missed = events.iter().any(|e| {
        matches!(e, LinkEvent::Missed { dispatch: DispatchId(1), stage: Stage::Written, why, .. } if why.contains("disarmed"))
    });
    assert!(missed, "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_controls_hold_is_read_while_the_bench_only_looks_and_not_while_it_is_armed() {
    let device = fake(|_, _| NOW);
    device.lock().expect("sound").holes = vec![510];
    let mut profile = inverter();
    let coil = Address::Fixed {
        table: Table::Coil,
        address: 3,
    };
    let bit = Encoding {
        data: DataType::Bit,
        ..u16_plain()
    };
    profile.controls.push(Control {
        point: Point::SwitchOn,
        fields: vec![Field {
            address: coil,
            encoding: bit,
            value: FieldValue::Setpoint,
        }],
        ..profile.controls[0].clone()
    });
    let mut bench = Bench::start(false, vec![profile], &device);
    let looks = |device: &Shared| {
        let heard = std::mem::take(&mut device.lock().expect("sound").heard);
        let bits = heard.iter().filter(|h| h.function == 1).count();
        assert_eq!(bits, 0, "a switch tells its position as a measurement");
        let of = |address| heard.iter().filter(|h| h.address == address).count();
        (of(500), of(510))
    };
    // Nothing was wanted while it was armed, so nothing was read there.
    bench.runs(3050 * MS).await;
    assert_eq!(looks(&device), (0, 0));
    assert_eq!(bench.seen.latest(0, Point::ActivePowerSet), None);

    bench.orders = None;
    bench.runs(3050 * MS).await;
    assert_eq!(looks(&device), (4, 4), "disarmed");
    let latest = |point| bench.seen.latest(0, point);
    let refused = Reading::Bad(Flaw::Exception(2));
    assert_eq!(latest(Point::ActivePowerSet), Some(Reading::Good(500.0)));
    assert_eq!(latest(Point::ReactivePowerSet), Some(refused));

    device.lock().expect("sound").rule = Box::new(|n, _| if n == 0 { Deed::HangUp } else { NOW });
    bench.runs(3050 * MS).await;
    let (set, _) = looks(&device);
    assert!(set >= 3, "after a reconnect, too: {set}");
    device.lock().expect("sound").rule = Box::new(|_, _| NOW);

    bench.orders = Some(bench.key.open());
    bench.runs(100 * MS).await;
    looks(&device);
    bench.runs(5000 * MS).await;
    assert_eq!(looks(&device), (0, 0), "armed again");
}

#[tokio::test(start_paused = true)]
async fn a_percentage_that_a_control_holds_is_told_as_power() {
    let device = fake(|_, _| NOW);
    {
        let mut fake = device.lock().expect("sound");
        fake.registers.insert((1, 100), 5000);
        fake.registers.insert((1, 500), 40);
    }
    let mut profile = inverter();
    profile.points = vec![point(Point::RatedActivePower, 100)];
    profile.controls.truncate(1);
    profile.controls[0].fields[0].value = FieldValue::PercentOf {
        reference: Point::RatedActivePower,
        min: 0.0,
    };
    let mut bench = Bench::start(false, vec![profile], &device);
    bench.orders = None;
    bench.runs(3000 * MS).await;
    assert_eq!(
        bench.seen.latest(0, Point::ActivePowerSet),
        Some(Reading::Good(2000.0))
    );
}
