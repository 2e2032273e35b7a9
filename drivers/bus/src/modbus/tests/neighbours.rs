//! Devices on one line: a silent one, a refusing one, a busy one, and who waits for whom.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_dead_neighbour_costs_the_others_less_than_a_twentieth() {
    for rtu in [true, false] {
        let device = fake(|_, heard: &Heard| {
            if heard.unit == 4 {
                Deed::Silent
            } else {
                Deed::After(2 * MS)
            }
        });
        // Ninety requests a second, of which a serial line could do about two hundred.
        let one = ModbusProfile {
            points: vec![point(Point::ActivePower, 100)],
            ..meter()
        };
        let bench = Bench::start(rtu, vec![one; 10], &device);
        // After the first seconds, in which it is found out.
        bench.runs(5000 * MS).await;
        let before: Vec<_> = (0..10)
            .map(|d| bench.seen.good(d, Point::ActivePower).len())
            .collect();
        bench.runs(120_000 * MS).await;
        for d in 0..10 {
            let rate = bench.seen.good(d, Point::ActivePower).len() - before[usize::from(d)];
            if d == 3 {
                assert_eq!(rate, 0);
                let latest = bench.seen.latest(d, Point::ActivePower);
                assert_eq!(latest, Some(Reading::Bad(Flaw::Offline)));
            } else {
                assert!(rate >= 1140, "device {d}: {rate} of 1200, rtu {rtu}");
            }
        }
        let offline = bench
            .seen
            .events()
            .into_iter()
            .filter(|e| matches!(e, LinkEvent::Offline(..)));
        assert_eq!(
            offline.collect::<Vec<_>>(),
            [LinkEvent::Offline(DeviceIx(3), Flaw::Timeout)]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_writes_does_not_starve_reads() {
    let device = fake(|_, _| Deed::After(5 * MS));
    let bench = Bench::start(true, vec![inverter()], &device);
    bench.runs(1000 * MS).await;
    let before = bench.seen.good(0, Point::ActivePower).len();
    for n in 0..2000 {
        bench.order(n, 0, power(n as f64), 1000 * MS);
        bench.runs(5 * MS).await;
    }
    let reads = bench.seen.good(0, Point::ActivePower).len() - before;
    assert!(reads >= 40, "{reads} reads of 100 in ten seconds");
    bench.runs(1000 * MS).await;
    assert_eq!(bench.seen.fate(1999), ["Written", "Register"]);
    assert_eq!(device.lock().expect("sound").registers[&(1, 500)], 1999);
    let superseded =
        (0..2000).filter(|n| bench.seen.fate(*n)[0].contains("superseded by dispatch"));
    assert!(superseded.count() > 500);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_does_not_reach_a_device_puts_it_offline_at_once() {
    let device = fake(|_, heard: &Heard| {
        if heard.unit == 2 {
            Deed::Refuse(0x0B)
        } else {
            NOW
        }
    });
    let bench = Bench::start(false, vec![meter(), meter()], &device);
    bench.runs(50 * MS).await;
    let offline = LinkEvent::Offline(DeviceIx(1), Flaw::Exception(0x0B));
    assert!(bench.seen.events().contains(&offline));
    let units = device.lock().expect("sound").heard.clone();
    let asked = units.iter().filter(|h| h.unit == 2).count();
    assert_eq!(asked, 1, "the gateway's word is enough");
    bench.runs(9950 * MS).await;
    let asked = device
        .lock()
        .expect("sound")
        .heard
        .iter()
        .filter(|h| h.unit == 2)
        .count();
    assert!((2..=6).contains(&asked), "asked {asked} times");
    assert_eq!(bench.report().reconnects, 0, "the link stays");
    assert!(bench.seen.good(0, Point::ActivePower).len() >= 99);
}

#[tokio::test(start_paused = true)]
async fn a_busy_device_is_asked_again_before_anything_is_said() {
    for (busy, flaws) in [(3, vec![]), (4, vec![Flaw::Exception(6)])] {
        let mut left = busy;
        let device = fake(move |_, _| {
            if left > 0 {
                left -= 1;
                return Deed::Refuse(6);
            }
            NOW
        });
        let one = ModbusProfile {
            points: vec![point(Point::ActivePower, 100)],
            ..meter()
        };
        let bench = Bench::start(true, vec![one], &device);
        bench.runs(3000 * MS).await;
        assert_eq!(bench.seen.flaws(), flaws);
        assert_eq!(
            bench.seen.latest(0, Point::ActivePower),
            Some(Reading::Good(100.0))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_register_is_found_named_and_left_alone() {
    let device = fake(|_, _| NOW);
    device.lock().expect("sound").holes = vec![12];
    let points = [
        Point::ActivePower,
        Point::ReactivePower,
        Point::VoltageL1,
        Point::Frequency,
        Point::State,
    ];
    let profile = ModbusProfile {
        points: (10..).zip(points).map(|(a, p)| point(p, a)).collect(),
        ..meter()
    };
    let bench = Bench::start(false, vec![profile], &device);
    bench.runs(10_000 * MS).await;
    assert_eq!(
        bench.seen.latest(0, Point::VoltageL1),
        Some(Reading::Bad(Flaw::Config))
    );
    for (p, value) in [
        (Point::ActivePower, 10.0),
        (Point::ReactivePower, 11.0),
        (Point::Frequency, 13.0),
        (Point::State, 14.0),
    ] {
        assert!(bench.seen.good(0, p).len() > 95);
        assert_eq!(bench.seen.latest(0, p), Some(Reading::Good(value)));
    }
    let notices = bench.seen.notices();
    assert!(
        notices.len() == 1 && notices[0].contains("register 12 (ac.v.l1)"),
        "{notices:?}"
    );
    let asked = device
        .lock()
        .expect("sound")
        .heard
        .iter()
        .filter(|h| h.address <= 12 && h.address + h.count > 12)
        .count();
    assert!(asked <= 4, "asked {asked} times");
    device.lock().expect("sound").holes.clear();
    bench.runs(700_000 * MS).await;
    assert_eq!(
        bench.seen.latest(0, Point::VoltageL1),
        Some(Reading::Good(12.0))
    );
    // And all of them are one request again.
    device.lock().expect("sound").heard.clear();
    bench.runs(1000 * MS).await;
    let heard = device.lock().expect("sound").heard.clone();
    assert!(
        heard.iter().all(|h| (h.address, h.count) == (10, 5)),
        "{heard:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_device_that_stays_busy_is_told_once_for_all_the_patience_that_it_had() {
    let mut left = 8;
    let device = fake(move |_, _| {
        left -= u32::from(left > 0);
        if left > 0 { Deed::Refuse(6) } else { NOW }
    });
    let one = ModbusProfile {
        points: vec![point(Point::ActivePower, 100)],
        ..meter()
    };
    let bench = Bench::start(true, vec![one], &device);
    bench.runs(5000 * MS).await;
    let samples = bench.seen.samples.lock().expect("sound");
    let flawed = samples.iter().filter(|s| s.sample.reading.good().is_none());
    assert_eq!(flawed.count(), 1, "seven refusals: 4 and 3");
}

#[tokio::test(start_paused = true)]
async fn each_device_has_counters_of_its_own() {
    let device = fake(|n, heard: &Heard| match heard.unit {
        1 => Deed::After(20 * MS),
        2 if n % 5 == 4 => Deed::After(150 * MS),
        2 => Deed::After(5 * MS),
        3 => Deed::Refuse(4),
        _ => Deed::Silent,
    });
    let one = ModbusProfile {
        points: vec![point(Point::ActivePower, 100)],
        ..meter()
    };
    for rtu in [true, false] {
        let bench = Bench::start(rtu, vec![one.clone(); 4], &device);
        bench.runs(20_000 * MS).await;
        let told = bench.stats.devices();
        let of = |unit: usize| told[unit - 1];
        assert_eq!(told.len(), 4);
        assert_eq!((of(1).timeouts, of(1).corrupt, of(1).exceptions), (0, 0, 0));
        let p50 = of(1).round_trip_p50.expect("it answers").as_secs_f64();
        assert!((p50 / 0.02 - 1.0).abs() < 0.0625, "{p50}, rtu {rtu}");
        assert!(of(2).timeouts > 5 && of(2).late > 5, "{:?}", of(2));
        assert_eq!(of(3).exceptions, of(3).requests);
        assert_eq!((of(4).answers, of(4).round_trip_p50), (0, None));
        assert_eq!(of(4).timeouts, of(4).requests);
        // The parts are the whole.
        let sum = |what: fn(&crate::DeviceReport) -> u64| told.iter().map(what).sum::<u64>();
        let all = bench.report();
        assert_eq!(sum(|d| d.busy_nanos), all.busy_nanos);
        assert_eq!(sum(|d| d.exceptions), all.exceptions);
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_answers_fast_is_not_waited_for_long() {
    let device = fake(|n, _| {
        if n == 50 || n == 51 {
            Deed::Silent
        } else {
            Deed::After(10 * MS)
        }
    });
    let one = ModbusProfile {
        timeout: 1000 * MS,
        late_window: MS,
        points: vec![point(Point::ActivePower, 100)],
        ..meter()
    };
    let bench = Bench::start(false, vec![one], &device);
    bench.runs(10_000 * MS).await;
    let heard = device.lock().expect("sound").heard.clone();
    let waited = heard[51].at - heard[50].at;
    assert!(waited >= 250 * MS && waited < 400 * MS, "{waited:?}");
    // One that has missed may be slow now: it gets all of its time.
    let waited = heard[52].at - heard[51].at;
    assert!(waited >= 1000 * MS && waited < 1200 * MS, "{waited:?}");
}
