//! Who is there: silence, last wills, and a broker that goes and comes back.

use super::*;

#[tokio::test(start_paused = true)]
async fn after_a_hiccup_of_the_link_a_device_is_asked_at_once_and_has_all_of_its_time() {
    let mut rig = Rig::new(plug());
    let mut peer = rig.accept().await;
    peer.say("tele/p1/SENSOR", SENSOR).await;
    sleep(Duration::from_secs(19)).await;
    peer.published();
    drop(peer);
    let mut peer = rig.accept().await;
    assert_eq!(peer.published(), ["cmnd/p1/Status 8"]);
    // It was silent for twenty seconds, but some of them were the link's.
    sleep(Duration::from_secs(19)).await;
    rig.sink.check(0, Point::ActivePower, Ok(-42.0));
    sleep(Duration::from_secs(2)).await;
    rig.sink.check(0, Point::ActivePower, Err(Flaw::Timeout));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_back_is_asked_at_once_and_not_for_what_was_missed() {
    let mut rig = Rig::new(plug());
    let mut peer = rig.accept().await;
    peer.published();
    peer.say("tele/p1/LWT", "Offline").await;
    sleep(Duration::from_secs(1)).await;
    peer.say("tele/p1/LWT", "Online").await;
    assert_eq!(peer.published(), ["cmnd/p1/Status 8"], "it says so itself");

    // A will may overtake the return of its own device: it speaks, so it is there.
    peer.say("tele/p1/LWT", "Offline").await;
    sleep(Duration::from_secs(60)).await;
    rig.sink.take_events();
    peer.say("tele/p1/SENSOR", SENSOR).await;
    assert_eq!(rig.sink.take_events(), [LinkEvent::Online(DeviceIx(0))]);
    rig.sink.check(0, Point::ActivePower, Ok(-42.0));
    assert_eq!(peer.published(), ["cmnd/p1/Status 8"], "once, no burst");
    rig.switch(1, true, 1000, false).await;
    assert_eq!(peer.commands(), ["cmnd/p1/POWER ON"]);
}

#[tokio::test(start_paused = true)]
async fn a_last_will_that_is_told_again_is_no_news() {
    let mut rig = Rig::new(plug());
    let peer = rig.accept().await;
    peer.say("tele/p1/LWT", "Offline").await;
    drop(peer);
    let peer = rig.accept().await;
    peer.say_kept("tele/p1/LWT", "Offline").await;
    let mut events = rig.sink.take_events();
    events.retain(|event| !matches!(event, LinkEvent::Notice { .. }));
    assert_eq!(events, [LinkEvent::Offline(DeviceIx(0), Flaw::Offline)]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_never_came_is_told_once_and_not_of_a_broker_that_is_away() {
    let mut rig = Rig::new(plug());
    let peer = rig.accept().await;
    for _ in 0..3 {
        for _ in 0..5 {
            peer.say("tele/p1/SENSOR", SENSOR).await;
            sleep(Duration::from_secs(5)).await;
        }
        peer.say("tele/p1/LWT", "Offline").await;
        peer.say("tele/p1/LWT", "Online").await;
    }
    let notices = rig.sink.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");

    // The broker is away just when it would be told.
    let mut rig = Rig::new(plug());
    let peer = rig.accept().await;
    peer.say("tele/p1/SENSOR", SENSOR).await;
    sleep(Duration::from_secs(10)).await;
    peer.say("tele/p1/SENSOR", SENSOR).await;
    sleep(Duration::from_millis(9950)).await;
    drop(peer);
    sleep(Duration::from_millis(100)).await;
    // It was never there at all.
    let never = Rig::new(plug());
    drop(never.dials);
    sleep(Duration::from_secs(60)).await;
    for notices in [rig.sink.notices(), never.sink.notices()] {
        assert!(
            notices.len() == 1 && notices[0].contains("tried again"),
            "{notices:?}"
        );
    }
}
