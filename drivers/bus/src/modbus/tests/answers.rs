//! What is believed: late, damaged and foreign answers, and the line after them.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_sound_device_is_read_at_its_rate_with_mid_transaction_times() {
    for rtu in [true, false] {
        let device = fake(|_, _| Deed::After(10 * MS));
        let bench = Bench::start(rtu, vec![meter()], &device);
        bench.runs(10_050 * MS).await;
        for p in meter().points {
            let good = bench.seen.good(0, p.point).len();
            assert!((99..=102).contains(&good), "{good} of {}", p.point);
        }
        bench.no_wrong_value();
        assert_eq!(bench.seen.events(), [LinkEvent::Online(DeviceIx(0))]);
        let report = bench.report();
        assert_eq!(
            (report.timeouts, report.corrupt, report.reconnects),
            (0, 0, 0)
        );
        let heard = device.lock().expect("sound").heard[0].at;
        let first = bench.seen.samples.lock().expect("sound")[0]
            .sample
            .measured_at;
        assert_eq!(first, Instant::START + (heard - bench.clock.0) + 5 * MS);
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_random_delays_never_mislabel_a_value() {
    let rows = [
        (Framing::Rtu { baud: None }, Stamp::Own),
        (Framing::Tcp, Stamp::Own),
        // Gateways that repeat the newest number, or none at all.
        (Framing::Tcp, Stamp::Newest),
        (Framing::TcpUnnumbered, Stamp::Zero),
        (Framing::TcpUnnumbered, Stamp::Newest),
    ];
    for (framing, stamp) in rows {
        let mut seed = 42;
        let device = fake(move |_, _| {
            // Up to the time-out and the late window together, a third of them late.
            let late = noise(&mut seed).is_multiple_of(3);
            let ms = if late {
                100 + noise(&mut seed) % 200
            } else {
                noise(&mut seed) % 100
            };
            Deed::After(ms as u32 * MS)
        });
        device.lock().expect("sound").stamp = stamp;
        let bench = Bench::serving(framing, vec![meter()], &device);
        while device.lock().expect("sound").heard.len() < 10_000 {
            bench.runs(1000 * MS).await;
        }
        let good = bench.no_wrong_value();
        assert!(good > 4000, "{good} good values, {framing:?}, {stamp:?}");
        assert!(bench.report().timeouts > 1000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_lags_far_behind_its_late_window_is_told_apart_by_length() {
    let rows = [
        (Framing::Rtu { baud: None }, Stamp::Own),
        (Framing::Tcp, Stamp::Newest),
        (Framing::TcpUnnumbered, Stamp::Zero),
    ];
    for (framing, stamp) in rows {
        let mut seed = 43;
        let device = fake(move |_, _| {
            let slow = noise(&mut seed).is_multiple_of(4);
            // In order, but up to three times later than anybody promised.
            let ms = if slow {
                noise(&mut seed) % 900
            } else {
                noise(&mut seed) % 50
            };
            Deed::Busy(ms as u32 * MS)
        });
        device.lock().expect("sound").stamp = stamp;
        let bench = Bench::serving(framing, vec![meter()], &device);
        while device.lock().expect("sound").heard.len() < 5_000 {
            bench.runs(1000 * MS).await;
        }
        let good = bench.no_wrong_value();
        assert!(good > 1000, "{good} good values, {framing:?}");
    }
}

/// A fault in every fifth answer: what the flaw is called, and that nothing wrong comes of it.
async fn check_fault(rtu: bool, deed: Deed, flaw: Flaw) {
    let fault = deed.clone();
    let device = fake(move |n, _| if n % 5 == 4 { fault.clone() } else { NOW });
    let bench = Bench::start(rtu, vec![meter()], &device);
    bench.runs(20_000 * MS).await;
    let good = bench.no_wrong_value();
    // A fault holds the line for 300 ms at most: 66 of them, with three good answers between.
    assert!(good > 150, "{good} good values with {deed:?}, rtu {rtu}");
    assert_eq!(bench.seen.flaws(), [flaw], "{deed:?}, rtu {rtu}");
    let offline = |e: &LinkEvent| matches!(e, LinkEvent::Offline(..));
    assert!(
        !bench.seen.events().iter().any(offline),
        "one fault in five is no outage"
    );
    let reconnects = bench.report().reconnects;
    match flaw {
        Flaw::Corrupt if !rtu => assert!(
            reconnects > 10,
            "a stream that is not ours is in step only on a new connection: {deed:?}"
        ),
        Flaw::Offline => assert!(reconnects > 10, "{deed:?}"),
        _ => assert_eq!(reconnects, 0, "{deed:?}, rtu {rtu}"),
    }
}

#[tokio::test(start_paused = true)]
async fn each_fault_on_the_line_has_its_flaw_and_never_a_value() {
    let garbage: Vec<u8> = (0..40_u8)
        .map(|i| i.wrapping_mul(37).wrapping_add(11))
        .collect();
    let foreign = fake::frame(true, 0, 1, &[3, 2, 0, 9]);
    let rows = [
        (true, Deed::Silent, Flaw::Timeout),
        (false, Deed::Silent, Flaw::Timeout),
        (true, Deed::Damaged, Flaw::Corrupt),
        (true, Deed::Bytes(garbage.clone()), Flaw::Corrupt),
        (true, Deed::OtherUnit, Flaw::Corrupt),
        (false, Deed::OtherUnit, Flaw::Corrupt),
        (false, Deed::OtherTransaction, Flaw::Corrupt),
        (true, Deed::Short, Flaw::Corrupt),
        (false, Deed::Short, Flaw::Corrupt),
        (true, Deed::OtherFunction, Flaw::Corrupt),
        (false, Deed::OtherFunction, Flaw::Corrupt),
        // A sound frame with another register's value glued before the right answer.
        (true, Deed::Before(foreign), Flaw::Corrupt),
        (true, Deed::Refuse(4), Flaw::Exception(4)),
        (false, Deed::Refuse(4), Flaw::Exception(4)),
        (false, Deed::HangUp, Flaw::Offline),
        (true, Deed::HangUp, Flaw::Offline),
    ];
    for (rtu, deed, flaw) in rows {
        check_fault(rtu, deed, flaw).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_zero_byte_from_turning_the_line_around_does_no_harm() {
    let device = fake(|_, _| Deed::Before(vec![0, 0]));
    let bench = Bench::start(true, vec![meter()], &device);
    bench.runs(2000 * MS).await;
    assert!(bench.no_wrong_value() > 70);
    assert_eq!(bench.seen.flaws(), []);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_run() {
    let run = || async {
        let mut seed = 5;
        let device = fake(move |_, _| match noise(&mut seed) % 7 {
            0 => Deed::Silent,
            1 => Deed::HangUp,
            2 => Deed::Bytes(vec![9; 30]),
            ms => Deed::After(ms as u32 * MS),
        });
        let bench = Bench::start(false, vec![meter(), meter()], &device);
        bench.runs(60_000 * MS).await;
        let samples = bench.seen.samples.lock().expect("sound").clone();
        (samples, bench.seen.events(), bench.report())
    };
    assert_eq!(run().await, run().await);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_over_tcp_is_awaited_and_thrown_away_by_its_number() {
    // Every third answer takes 150 ms, 50 ms longer than it may.
    let device = fake(|n, _| Deed::After(if n % 3 == 2 { 150 * MS } else { 5 * MS }));
    let bench = Bench::start(false, vec![meter()], &device);
    bench.runs(20_000 * MS).await;
    let good = bench.no_wrong_value();
    // Two good answers and a late one take 160 ms.
    assert!(good > 200, "{good}");
    assert_eq!(bench.report().reconnects, 0, "the connection stays");
    // After a late answer the next request goes out at once, not after the late window of 200 ms.
    let fake = device.lock().expect("sound");
    let after = |n: usize| fake.heard[n + 1].at - fake.heard[n].at;
    assert!(after(2) < 160 * MS, "{:?}", after(2));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_does_not_repeat_numbers_is_named_and_read_when_the_rig_says_so() {
    let device = fake(|_, _| NOW);
    device.lock().expect("sound").stamp = Stamp::Zero;
    let bench = Bench::serving(Framing::TcpUnnumbered, vec![meter(), meter()], &device);
    bench.runs(5_000 * MS).await;
    assert!(bench.no_wrong_value() > 300);
    assert_eq!(bench.seen.flaws(), []);

    // The same gateway without that: nothing is believed, and a person hears what to do.
    device.lock().expect("sound").heard.clear();
    device.lock().expect("sound").rule = Box::new(|_, _| Deed::OtherTransaction);
    device.lock().expect("sound").stamp = Stamp::Own;
    let bench = Bench::serving(Framing::Tcp, vec![meter()], &device);
    bench.runs(60_000 * MS).await;
    assert_eq!(bench.no_wrong_value(), 0);
    let notices = bench.seen.notices();
    assert!(
        notices.len() == 1 && notices[0].contains("tid = \"ignore\""),
        "{notices:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_burst_of_damaged_answers_the_second_poll_is_right_at_the_latest() {
    for rtu in [true, false] {
        for burst in 1..=2 {
            let device = fake(move |n, _| {
                if (20..20 + burst).contains(&n) {
                    Deed::Bytes(vec![0xA5; 11])
                } else {
                    NOW
                }
            });
            let one = ModbusProfile {
                points: vec![point(Point::ActivePower, 100)],
                ..meter()
            };
            let bench = Bench::start(rtu, vec![one], &device);
            bench.runs(10_000 * MS).await;
            bench.no_wrong_value();
            let samples = bench.seen.samples.lock().expect("sound");
            let good = |s: &PointSample| matches!(s.sample.reading, Reading::Good(_));
            let last_bad = samples.iter().rposition(|s| !good(s)).expect("a burst");
            assert!(last_bad < 19 + 2 + burst as usize, "{last_bad}, rtu {rtu}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn arbitrary_bytes_are_never_a_value() {
    let rtu = Framing::Rtu { baud: None };
    for framing in [rtu, Framing::Tcp, Framing::TcpUnnumbered] {
        let mut seed = 44;
        let device = fake(move |_, _| {
            if noise(&mut seed).is_multiple_of(2) {
                return NOW;
            }
            let count = noise(&mut seed) % 300 + 1;
            let bytes = (0..count).map(|_| noise(&mut seed) as u8);
            Deed::Bytes(bytes.collect())
        });
        let bench = Bench::serving(framing, vec![meter()], &device);
        while device.lock().expect("sound").heard.len() < 2_000 {
            bench.runs(1000 * MS).await;
        }
        let good = bench.no_wrong_value();
        assert!(good > 200, "{good} good values, {framing:?}");
    }
}
