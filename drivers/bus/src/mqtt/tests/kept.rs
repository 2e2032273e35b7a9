//! What a device takes back by itself: who repeats it, and who does not any more.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_dead_man_of_a_device_that_is_away_is_not_refreshed_and_that_is_told() {
    let mut rig = Rig::new(guarded());
    let mut peer = rig.accept().await;
    rig.switch(1, true, 1000, false).await;
    peer.say("stat/p1/POWER", "ON").await;
    peer.commands();
    peer.say("tele/p1/LWT", "Offline").await;
    sleep(Duration::from_secs(6)).await;
    // Whatever wakes the bus meanwhile.
    peer.say("tele/p2/SENSOR", SENSOR).await;
    assert_eq!(peer.commands(), [] as [&str; 0], "nobody would hear it");
    peer.say("tele/p1/LWT", "Online").await;
    assert_eq!(peer.commands(), ["cmnd/p1/POWER ON 10"], "still in time");
    peer.say("tele/p1/LWT", "Offline").await;
    sleep(Duration::from_secs(11)).await;
    let notices = rig.sink.notices();
    assert!(
        notices.iter().any(|n| n.contains("commanded again")),
        "{notices:?}"
    );
    peer.say("tele/p1/LWT", "Online").await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!(peer.commands(), [] as [&str; 0], "it has fallen back");
}

#[tokio::test(start_paused = true)]
async fn while_the_write_path_closes_nothing_is_refreshed_any_more() {
    let mut rig = Rig::with(vec![
        device(0, Protocol::Mqtt(guarded()), Some("p1")),
        device(1, Protocol::Mqtt(plug()), Some("p2")),
    ]);
    let mut peer = rig.accept().await;
    rig.switch(1, true, 1000, false).await;
    peer.say("stat/p1/POWER", "ON").await;
    sleep(Duration::from_secs(4)).await;
    // An urgent command that nobody confirms holds the door open for two seconds.
    let off = Setpoint::Switch { on: false };
    let rest = job(&rig.clock, 2, 1, off, Duration::from_secs(5), true);
    rig.writer.as_ref().unwrap().write(rest).unwrap();
    rig.writer = None;
    peer.commands();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(peer.commands(), ["cmnd/p2/POWER OFF"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_while_the_write_path_closes_is_not_refreshed_after_it() {
    let mut rig = Rig::new(guarded());
    drop(rig.accept().await);
    sleep(Duration::from_millis(1)).await;
    rig.switch(1, true, 1500, true).await;
    rig.writer = None;
    let mut peer = rig.accept().await;
    assert_eq!(peer.commands(), ["cmnd/p1/POWER ON 10"], "it was urgent");
    peer.say("stat/p1/POWER", "ON").await;
    sleep(Duration::from_secs(12)).await;
    assert_eq!(peer.commands(), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_number_is_confirmed_as_it_was_said_and_a_switch_by_any_number_that_means_on() {
    let mut profile = plug();
    profile.commands.push(Command {
        point: Point::ActivePowerSet,
        topic: "cmnd/{t}/W".into(),
        payload: Payload::Number {
            template: "{v}".into(),
            factor: -1.0,
            decimals: 0,
            range: (-4000.0, 4000.0),
            tolerance: 0.1,
        },
        ..profile.commands[0].clone()
    });
    profile.topics.push(Topic {
        subscribe: "stat/{t}/W".into(),
        values: vec![value(Point::ActivePowerSet, None, -1.0)],
    });
    let mut rig = Rig::new(profile);
    let mut peer = rig.accept().await;
    peer.published();
    let power = Setpoint::Power {
        p: quantities::ActivePower::from_watts(200.4),
        q: quantities::ReactivePower::ZERO,
    };
    let write = job(&rig.clock, 1, 0, power, Duration::from_secs(1), false);
    rig.writer.as_ref().unwrap().write(write).unwrap();
    sleep(Duration::from_millis(3)).await;
    assert_eq!(peer.published(), ["cmnd/p1/W -200"]);
    peer.say("stat/p1/W", "-200").await;
    check_outcomes(&rig, &["1 Written", "1 Register"]);
    // Some firmware tells a relay's position in percent.
    rig.switch(2, true, 1000, false).await;
    peer.say("stat/p1/POWER", "100").await;
    check_outcomes(&rig, &["2 Written", "2 Register"]);
}
