//! Whether it is the device that the rig says.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_device_that_is_another_one_is_neither_believed_nor_written() {
    let device = fake(|_, _| NOW);
    let profile = ModbusProfile {
        identify: vec![Identify {
            address: holding(70),
            encoding: u16_plain(),
            range: (45.0, 65.0),
        }],
        ..inverter()
    };
    let bench = Bench::start(true, vec![profile], &device);
    bench.order(1, 0, power(5.0), 1000 * MS);
    bench.runs(3000 * MS).await;
    assert_eq!(bench.seen.flaws(), [Flaw::Config]);
    assert!(bench.seen.notices()[0].contains("this is not a test/device"));
    assert!(bench.seen.fate(1)[0].contains("not ready"));
    assert!(
        device
            .lock()
            .expect("sound")
            .heard
            .iter()
            .all(|h| h.function == 3 && h.address == 70)
    );
    assert!(bench.seen.good(0, Point::ActivePower).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_device_at_the_broadcast_unit_of_a_line_is_told_and_never_asked() {
    for (rtu, told) in [(true, true), (false, false)] {
        let device = fake(|_, _| NOW);
        let (dial, dialled) = mpsc::unbounded_channel();
        tokio::spawn(serve(Arc::clone(&device), rtu, dialled));
        let bench = Bench::with_units(Endpoint::Memory(dial), framing(rtu), vec![(0, meter())]);
        bench.runs(5000 * MS).await;
        let notices = bench.seen.notices();
        assert_eq!(
            notices
                .iter()
                .any(|n| n.contains("unit 0 is the broadcast")),
            told,
            "{notices:?}"
        );
        assert_eq!(device.lock().expect("sound").heard.is_empty(), told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_not_itself_yet_is_asked_again_soon_and_a_stranger_ever_more_rarely() {
    let profile = || ModbusProfile {
        identify: vec![Identify {
            address: holding(70),
            encoding: u16_plain(),
            range: (45.0, 65.0),
        }],
        ..meter()
    };
    // While it starts it refuses everything, as some do with exception 4.
    let device = fake(|n, _| if n == 0 { Deed::Refuse(4) } else { NOW });
    device.lock().expect("sound").registers.insert((1, 70), 50);
    let bench = Bench::start(false, vec![profile()], &device);
    bench.runs(6000 * MS).await;
    assert!(!bench.seen.good(0, Point::ActivePower).is_empty());
    // One that stays another one is asked after 5, 10, 20 s and so on, up to ten minutes.
    let device = fake(|_, _| NOW);
    let bench = Bench::start(false, vec![profile()], &device);
    bench.runs(4000 * Duration::from_secs(1)).await;
    let heard = device.lock().expect("sound").heard.clone();
    let gaps = heard.windows(2).map(|w| (w[1].at - w[0].at).as_secs());
    assert_eq!(
        gaps.collect::<Vec<u64>>(),
        [5, 10, 20, 40, 80, 160, 320, 600, 600, 600, 600, 600]
    );
    assert_eq!(bench.seen.notices().len(), 1, "it is told once");
}

#[tokio::test(start_paused = true)]
async fn every_proof_of_identity_must_fit() {
    let proof = |address| Identify {
        address: holding(address),
        encoding: u16_plain(),
        range: (45.0, 65.0),
    };
    for (second, known) in [(50, true), (5000, false)] {
        let device = fake(|_, _| NOW);
        {
            let mut fake = device.lock().expect("sound");
            fake.registers.insert((1, 70), 50);
            fake.registers.insert((1, 80), second);
        }
        let profile = ModbusProfile {
            identify: vec![proof(70), proof(80)],
            ..meter()
        };
        let bench = Bench::start(false, vec![profile], &device);
        bench.runs(1000 * MS).await;
        let read = !bench.seen.good(0, Point::ActivePower).is_empty();
        assert_eq!(read, known, "{second}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_was_away_is_asked_again_who_it_is() {
    let device = fake(|_, _| NOW);
    let put = |silent: bool, identity: u16| {
        let mut fake = device.lock().expect("sound");
        fake.rule = Box::new(move |_, _| if silent { Deed::Silent } else { NOW });
        fake.registers.insert((1, 70), identity);
    };
    put(false, 50);
    let profile = ModbusProfile {
        identify: vec![Identify {
            address: holding(70),
            encoding: u16_plain(),
            range: (45.0, 65.0),
        }],
        ..meter()
    };
    let bench = Bench::start(true, vec![profile], &device);
    bench.runs(1000 * MS).await;
    assert_eq!(
        bench.seen.latest(0, Point::ActivePower),
        Some(Reading::Good(100.0))
    );
    // Somebody puts another one in its place, and the line itself stays.
    put(true, 50);
    bench.runs(5000 * MS).await;
    put(false, 99);
    let before = bench.seen.good(0, Point::ActivePower).len();
    bench.runs(60_000 * MS).await;
    assert_eq!(bench.seen.good(0, Point::ActivePower).len(), before);
    assert_eq!(
        bench.seen.latest(0, Point::ActivePower),
        Some(Reading::Bad(Flaw::Config))
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_of_setting_up_is_tried_again_at_once_when_nobody_answered_and_later_when_it_was_refused()
 {
    let profile = || ModbusProfile {
        identify: vec![Identify {
            address: holding(70),
            encoding: u16_plain(),
            range: (45.0, 65.0),
        }],
        ..meter()
    };
    let timeout = profile().timeout;
    // What becomes of the first request, and when the second one comes, since the first.
    for (deed, from, to) in [
        // Besides the time-out a late answer is waited for.
        (Deed::Silent, timeout, MS * 400),
        (Deed::Refuse(6), MS * 500, MS * 600),
    ] {
        let told = deed.clone();
        let device = fake(move |n, _| if n == 0 { deed.clone() } else { NOW });
        device.lock().expect("sound").registers.insert((1, 70), 50);
        let bench = Bench::start(false, vec![profile()], &device);
        bench.runs(3000 * MS).await;
        let heard = device.lock().expect("sound").heard.clone();
        let gap = heard[1].at - heard[0].at;
        assert!((from..to).contains(&gap), "{told:?}: {gap:?}");
        assert!(!bench.seen.good(0, Point::ActivePower).is_empty());
    }
}
