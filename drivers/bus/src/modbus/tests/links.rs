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
