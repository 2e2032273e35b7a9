//! Links that go away, come back, or never open.

use super::*;

#[tokio::test(start_paused = true)]
async fn unplugged_and_plugged_in_again_it_is_read_again() {
    for rtu in [true, false] {
        let device = fake(|_, _| NOW);
        let (dial, mut dialled) = mpsc::unbounded_channel();
        let bench = Bench::on(Endpoint::Memory(dial), rtu, vec![meter()]);
        let plug = |stream, device: &Shared| {
            let (one, only) = mpsc::unbounded_channel();
            one.send(stream).expect("open");
            tokio::spawn(serve(Arc::clone(device), rtu, only));
        };
        plug(dialled.recv().await.expect("dialled"), &device);
        bench.runs(1000 * MS).await;
        device.lock().expect("sound").rule = Box::new(|_, _| Deed::HangUp);
        // Until it is plugged in again, each dialled stream ends at once.
        for _ in 0..5 {
            drop(dialled.recv().await.expect("dialled"));
        }
        bench.runs(MS).await;
        assert_eq!(
            bench.seen.latest(0, Point::ActivePower),
            Some(Reading::Bad(Flaw::Offline))
        );
        device.lock().expect("sound").rule = Box::new(|_, _| NOW);
        plug(dialled.recv().await.expect("dialled"), &device);
        bench.runs(1000 * MS).await;
        assert_eq!(
            bench.seen.latest(0, Point::ActivePower),
            Some(Reading::Good(100.0))
        );
        let told: Vec<_> = bench.seen.events();
        assert_eq!(told.first(), Some(&LinkEvent::Online(DeviceIx(0))));
        assert_eq!(told.last(), Some(&LinkEvent::Online(DeviceIx(0))));
        assert!(
            told.iter().any(|e| matches!(e, LinkEvent::Offline(..))),
            "{told:?}"
        );
        bench.no_wrong_value();
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_cannot_be_opened_is_told_once() {
    let (dial, dialled) = mpsc::unbounded_channel();
    drop(dialled);
    let bench = Bench::on(Endpoint::Memory(dial), false, vec![inverter()]);
    bench.order(1, 0, power(1.0), 300 * MS);
    bench.runs(120_000 * MS).await;
    assert_eq!(bench.seen.notices(), ["bus: the in-memory device has gone"]);
    assert_eq!(bench.seen.flaws(), [Flaw::Offline]);
    assert!(bench.seen.fate(1)[0].contains("the link is down"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_without_closing_is_dialled_anew() {
    for (rtu, redialled) in [(false, true), (true, false)] {
        let device = fake(|_, _| NOW);
        let bench = Bench::start(rtu, vec![meter()], &device);
        bench.runs(1000 * MS).await;
        assert_eq!(device.lock().expect("sound").dials, 1);
        device.lock().expect("sound").rule = Box::new(|_, _| Deed::Silent);
        bench.runs(3000 * MS).await;
        let dials = device.lock().expect("sound").dials;
        assert_eq!(dials > 1, redialled, "{dials} dials, rtu {rtu}");
        device.lock().expect("sound").rule = Box::new(|_, _| NOW);
        bench.runs(5000 * MS).await;
        assert_eq!(
            bench.seen.latest(0, Point::ActivePower),
            Some(Reading::Good(100.0))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_serves_somebody_else_already_is_named_once_and_not_hurried() {
    let device = fake(|_, _| Deed::HangUp);
    let bench = Bench::start(false, vec![meter()], &device);
    bench.runs(120_000 * MS).await;
    let notices = bench.seen.notices();
    assert!(
        notices.len() == 1 && notices[0].contains("one client only"),
        "{notices:?}"
    );
    // The back-off has grown to half a minute.
    let dials = device.lock().expect("sound").dials;
    assert!((5..=14).contains(&dials), "{dials} dials in two minutes");
}

#[tokio::test(start_paused = true)]
async fn a_link_that_cannot_be_opened_makes_every_point_bad_from_the_first_attempt() {
    let (dial, dialled) = mpsc::unbounded_channel();
    drop(dialled);
    let bench = Bench::on(Endpoint::Memory(dial), false, vec![meter()]);
    bench.runs(10 * MS).await;
    assert_eq!(
        bench.seen.latest(0, Point::ActivePower),
        Some(Reading::Bad(Flaw::Offline))
    );
}
