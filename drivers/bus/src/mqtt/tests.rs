//! The whole MQTT bus against a broker written by hand, in virtual time.

use std::time::Duration;

use model::{DeviceIx, Flaw, Point, Setpoint, Stage};
use profile::Protocol;
use profile::mqtt::{
    Availability, Command, Message, MqttProfile, Payload, Request, ToBroker, Topic, Value,
};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::*;
use crate::can::bench::{Recorder, TestClock, device, job};
use crate::{BusHandle, DispatchId, Framing, Writer};

fn value(point: Point, json: Option<&str>, factor: f64) -> Value {
    Value {
        point,
        json: json.map(str::to_owned),
        factor,
        words: vec![("ON".into(), 1.0), ("OFF".into(), 0.0)],
        range: (-4000.0, 4000.0),
    }
}

fn switch(dead_man: Option<&str>) -> Payload {
    Payload::Switch {
        on: "ON".into(),
        off: "OFF".into(),
        dead_man: dead_man.map(str::to_owned),
    }
}

/// A plug with a state topic, telemetry on request, a last will and a switch.
fn plug() -> MqttProfile {
    MqttProfile {
        topics: vec![
            Topic {
                subscribe: "stat/{t}/POWER".into(),
                values: vec![value(Point::SwitchOn, None, 1.0)],
            },
            Topic {
                subscribe: "tele/{t}/SENSOR".into(),
                values: vec![
                    value(Point::ActivePower, Some("/ENERGY/Power"), -1.0),
                    value(Point::VoltageL1, Some("/ENERGY/Voltage"), 1.0),
                ],
            },
        ],
        availability: Some(Availability {
            topic: "tele/{t}/LWT".into(),
            json: None,
            online: "Online".into(),
            offline: "Offline".into(),
        }),
        requests: vec![Request {
            topic: "cmnd/{t}/Status".into(),
            payload: "8".into(),
            every: Duration::from_secs(5),
        }],
        commands: vec![Command {
            point: Point::SwitchOn,
            topic: "cmnd/{t}/POWER".into(),
            payload: switch(None),
            confirm_within: Duration::from_secs(3),
            safe: 0.0,
            revert: None,
            refresh: None,
        }],
        timeout: Duration::from_secs(20),
        empty_is_gone: false,
    }
}

/// The broker's end of a connection.
struct Peer {
    from_bus: mpsc::UnboundedReceiver<ToBroker>,
    to_bus: mpsc::UnboundedSender<Message>,
}

impl Peer {
    /// Tells the bus a message; its turn comes before this returns.
    async fn say(&self, topic: &str, payload: impl AsRef<[u8]>) {
        self.tell(topic, payload, false).await;
    }

    /// As the broker tells a message that it had kept.
    async fn say_kept(&self, topic: &str, payload: &str) {
        self.tell(topic, payload, true).await;
    }

    async fn tell(&self, topic: &str, payload: impl AsRef<[u8]>, retain: bool) {
        let message = Message {
            topic: topic.into(),
            payload: payload.as_ref().to_vec(),
            retain,
        };
        self.to_bus.send(message).unwrap();
        sleep(Duration::from_millis(1)).await;
    }

    /// Messages that the bus has published since the last look: `topic payload`.
    fn published(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        while let Ok(said) = self.from_bus.try_recv() {
            if let ToBroker::Publish(message) = said {
                assert!(!message.retain, "a retained command fires again");
                let payload = String::from_utf8(message.payload).unwrap();
                texts.push(format!("{} {payload}", message.topic));
            }
        }
        texts
    }

    fn commands(&mut self) -> Vec<String> {
        let mut all = self.published();
        all.retain(|text| text.contains("/POWER"));
        all
    }
}

struct Rig {
    handle: BusHandle,
    /// There while the bench is armed.
    writer: Option<Writer>,
    sink: Arc<Recorder>,
    clock: Arc<TestClock>,
    dials: mpsc::UnboundedReceiver<(
        mpsc::UnboundedReceiver<ToBroker>,
        mpsc::UnboundedSender<Message>,
    )>,
}

impl Rig {
    fn new(profile: MqttProfile) -> Self {
        Self::with(vec![device(0, Protocol::Mqtt(profile), Some("p1"))])
    }

    fn with(devices: Vec<BusDevice>) -> Self {
        let (endpoint, dials) = mpsc::unbounded_channel();
        let spec = BusSpec {
            id: "mqtt-a".into(),
            endpoint: Endpoint::MemoryBroker(endpoint),
            framing: Framing::default(),
            timeout: None,
            min_gap: None,
            seed: 1,
        };
        let (sink, clock) = (Arc::new(Recorder::default()), TestClock::start());
        let handle = crate::start(spec, devices, clock.clone(), sink.clone());
        Self {
            writer: Some(handle.arm()),
            handle,
            sink,
            clock,
            dials,
        }
    }

    async fn accept(&mut self) -> Peer {
        let (from_bus, to_bus) = self.dials.recv().await.unwrap();
        // A dial takes a millisecond to be good.
        sleep(Duration::from_millis(3)).await;
        Peer { from_bus, to_bus }
    }

    async fn switch(&self, dispatch: u64, on: bool, valid_ms: u64, urgent: bool) {
        let valid = Duration::from_millis(valid_ms);
        let write = job(
            &self.clock,
            dispatch,
            0,
            Setpoint::Switch { on },
            valid,
            urgent,
        );
        self.writer.as_ref().unwrap().write(write).unwrap();
        // The broker's acknowledgement takes a millisecond.
        sleep(Duration::from_millis(3)).await;
    }

    /// What became of commands, in short words, since the last look.
    fn outcomes(&self) -> Vec<String> {
        let events = self.sink.take_events();
        events
            .iter()
            .filter_map(|event| match event {
                LinkEvent::Confirmed {
                    dispatch, stage, ..
                } => Some(format!("{} {stage:?}", dispatch.0)),
                LinkEvent::Missed {
                    dispatch,
                    stage,
                    why,
                    ..
                } => Some(format!("{} missed {stage:?}: {why}", dispatch.0)),
                _ => None,
            })
            .collect()
    }
}

fn check_outcomes(rig: &Rig, expected: &[&str]) {
    let outcomes = rig.outcomes();
    assert_eq!(outcomes.len(), expected.len(), "{outcomes:?}");
    for (outcome, words) in outcomes.iter().zip(expected) {
        for word in words.split(" … ") {
            assert!(outcome.contains(word), "{outcome:?} lacks {word:?}");
        }
    }
}

const SENSOR: &str = r#"{"ENERGY":{"Power":42,"Voltage":230}}"#;

#[tokio::test(start_paused = true)]
async fn the_bus_subscribes_asks_and_samples() {
    let mut rig = Rig::new(plug());
    let mut peer = rig.accept().await;
    let mut said = Vec::new();
    while let Ok(message) = peer.from_bus.try_recv() {
        said.push(message);
    }
    let subscribe = |filter: &str| ToBroker::Subscribe(filter.into());
    assert_eq!(
        said,
        [
            subscribe("stat/p1/POWER"),
            subscribe("tele/p1/LWT"),
            subscribe("tele/p1/SENSOR"),
            ToBroker::Publish(Message {
                topic: "cmnd/p1/Status".into(),
                payload: b"8".to_vec(),
                retain: false
            }),
        ]
    );
    peer.say("tele/p1/SENSOR", SENSOR).await;
    peer.say("stat/p1/POWER", "ON").await;
    rig.sink.check(0, Point::ActivePower, Ok(-42.0));
    rig.sink.check(0, Point::VoltageL1, Ok(230.0));
    rig.sink.check(0, Point::SwitchOn, Ok(1.0));
    assert_eq!(rig.sink.take_events(), [LinkEvent::Online(DeviceIx(0))]);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(peer.published().len(), 2);
    let report = rig.handle.stats.report();
    assert_eq!((report.requests, report.answers), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_command_is_confirmed_by_the_device_itself() {
    let mut rig = Rig::new(plug());
    let mut peer = rig.accept().await;
    // Reported before the command: it proves nothing.
    peer.say("stat/p1/POWER", "ON").await;
    peer.published();
    rig.switch(1, true, 1000, false).await;
    assert_eq!(peer.commands(), ["cmnd/p1/POWER ON"]);
    check_outcomes(&rig, &["1 Written"]);
    peer.say("stat/p1/POWER", "OFF").await;
    peer.say_kept("stat/p1/POWER", "ON").await;
    check_outcomes(&rig, &[]);
    peer.say("stat/p1/POWER", "ON").await;
    check_outcomes(&rig, &["1 Register"]);
    sleep(Duration::from_secs(5)).await;
    check_outcomes(&rig, &[]);
    // The device's own counters: what it said, and the time from the command to its report.
    let told = rig.handle.stats.devices();
    assert_eq!((told[0].device, told[0].answers), (DeviceIx(0), 4));
    assert_eq!(told[0].requests, rig.handle.stats.report().requests);
    assert!(told[0].round_trip_p50.is_some(), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_the_device_does_not_report_is_missed() {
    let mut rig = Rig::new(plug());
    let mut peer = rig.accept().await;
    rig.switch(1, true, 1000, false).await;
    sleep(Duration::from_millis(2900)).await;
    check_outcomes(&rig, &["1 Written"]);
    sleep(Duration::from_millis(200)).await;
    check_outcomes(&rig, &["1 missed Register … dev0: switch.on"]);
    peer.say("stat/p1/POWER", "ON").await;
    check_outcomes(&rig, &[]);
    assert_eq!(peer.commands().len(), 1);
    assert_eq!(rig.handle.stats.report().timeouts, 1);
    let told = rig.handle.stats.devices();
    assert_eq!((told[0].timeouts, told[0].round_trip_p50), (1, None));
}

#[tokio::test(start_paused = true)]
async fn a_broker_outage_in_the_middle_of_a_command_ends_in_expired_and_nothing_is_sent_late() {
    let mut rig = Rig::new(plug());
    drop(rig.accept().await);
    sleep(Duration::from_millis(1)).await;
    // The link is down now. The broker takes no dial for longer than the command lives.
    rig.switch(1, true, 400, false).await;
    for _ in 0..3 {
        drop(rig.dials.recv().await.unwrap());
    }
    sleep(Duration::from_millis(5)).await;
    let mut peer = rig.accept().await;
    sleep(Duration::from_secs(1)).await;
    assert!(peer.commands().is_empty());
    check_outcomes(&rig, &["1 missed Written … expired"]);
    assert_eq!(rig.handle.stats.report().expired, 1);
    assert_eq!(rig.handle.stats.devices()[0].expired, 1);
    assert!(rig.handle.stats.report().reconnects >= 1);
}

#[tokio::test(start_paused = true)]
async fn a_command_survives_a_hiccup_of_the_link_while_it_is_not_late() {
    let mut rig = Rig::new(plug());
    drop(rig.accept().await);
    sleep(Duration::from_millis(1)).await;
    rig.switch(1, true, 2000, false).await;
    let mut peer = rig.accept().await;
    assert_eq!(peer.commands(), ["cmnd/p1/POWER ON"]);
    peer.say("stat/p1/POWER", "ON").await;
    check_outcomes(&rig, &["1 Written", "1 Register"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_wish_wins_and_urgent_ones_go_first() {
    let mut devices = vec![device(0, Protocol::Mqtt(plug()), Some("p1"))];
    devices.push(device(1, Protocol::Mqtt(plug()), Some("p2")));
    let mut rig = Rig::with(devices);
    drop(rig.accept().await);
    sleep(Duration::from_millis(1)).await;
    rig.switch(1, true, 5000, false).await;
    rig.switch(2, false, 5000, false).await;
    let trip = job(
        &rig.clock,
        3,
        1,
        Setpoint::Switch { on: false },
        Duration::from_secs(5),
        true,
    );
    rig.writer.as_ref().unwrap().write(trip).unwrap();
    check_outcomes(&rig, &["1 missed Written … superseded by dispatch 2"]);
    let mut peer = rig.accept().await;
    assert_eq!(peer.commands(), ["cmnd/p2/POWER OFF", "cmnd/p1/POWER OFF"]);
    // A newer wish while the old one is out: the old one is given up.
    sleep(Duration::from_millis(3)).await;
    rig.outcomes();
    rig.switch(4, true, 5000, false).await;
    check_outcomes(
        &rig,
        &["2 missed Register … superseded by dispatch 4", "4 Written"],
    );
}

#[tokio::test(start_paused = true)]
async fn a_last_will_makes_every_point_bad_at_once_and_stops_requests_and_commands() {
    let mut rig = Rig::new(plug());
    let mut peer = rig.accept().await;
    peer.say("tele/p1/SENSOR", SENSOR).await;
    rig.sink.take_events();
    peer.say("tele/p1/LWT", "Offline").await;
    for point in [Point::ActivePower, Point::VoltageL1, Point::SwitchOn] {
        rig.sink.check(0, point, Err(Flaw::Offline));
    }
    assert_eq!(
        rig.sink.take_events(),
        [LinkEvent::Offline(DeviceIx(0), Flaw::Offline)]
    );
    peer.published();
    rig.switch(1, true, 1000, false).await;
    sleep(Duration::from_secs(30)).await;
    assert!(peer.published().is_empty());
    check_outcomes(&rig, &["1 missed Written … expired"]);

    peer.say("tele/p1/LWT", "Online").await;
    assert_eq!(rig.sink.take_events(), [LinkEvent::Online(DeviceIx(0))]);
    assert_eq!(peer.published(), ["cmnd/p1/Status 8"]);
    peer.say("tele/p1/SENSOR", SENSOR).await;
    rig.sink.check(0, Point::ActivePower, Ok(-42.0));
}

#[tokio::test(start_paused = true)]
async fn silence_is_a_timeout_and_a_kept_message_is_no_measurement() {
    let mut rig = Rig::new(plug());
    let peer = rig.accept().await;
    peer.say("tele/p1/SENSOR", SENSOR).await;
    peer.say_kept("stat/p1/POWER", "ON").await;
    assert_eq!(rig.sink.latest(0, Point::SwitchOn), None);
    sleep(Duration::from_millis(19_990)).await;
    rig.sink.check(0, Point::ActivePower, Ok(-42.0));
    sleep(Duration::from_millis(20)).await;
    rig.sink.check(0, Point::ActivePower, Err(Flaw::Timeout));
    assert_eq!(
        rig.sink.take_events(),
        [
            LinkEvent::Online(DeviceIx(0)),
            LinkEvent::Offline(DeviceIx(0), Flaw::Timeout)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_stays_away_takes_its_devices_with_it_after_the_grace() {
    let mut rig = Rig::new(plug());
    let peer = rig.accept().await;
    peer.say("tele/p1/SENSOR", SENSOR).await;
    drop(peer);
    drop(rig.dials);
    sleep(Duration::from_millis(1990)).await;
    rig.sink.check(0, Point::ActivePower, Ok(-42.0));
    sleep(Duration::from_millis(20)).await;
    rig.sink.check(0, Point::ActivePower, Err(Flaw::Timeout));
    sleep(Duration::from_secs(60)).await;
    let notices = rig.sink.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
}

#[tokio::test(start_paused = true)]
async fn malformed_and_foreign_messages_harm_nobody() {
    let mut rig = Rig::new(plug());
    let peer = rig.accept().await;
    peer.say("tele/p1/SENSOR", SENSOR).await;
    peer.say("tele/p1/SENSOR", r#"{"ENERGY":{"Power":4"#).await;
    rig.sink.check(0, Point::ActivePower, Err(Flaw::Corrupt));
    peer.say("tele/p1/SENSOR", r#"{"Time":"now"}"#).await;
    peer.say("stat/p1/POWER", [0xFF, 0xFE]).await;
    rig.sink.check(0, Point::SwitchOn, Err(Flaw::Corrupt));
    peer.say("tele/p1/LWT", "perhaps").await;
    peer.say("other/p1/SENSOR", SENSOR).await;
    let big = format!(
        r#"{{"list":"{}","ENERGY":{{"Power":7}}}}"#,
        "x".repeat(200 << 10)
    );
    peer.say_kept("tele/p1/SENSOR", &big).await;
    peer.say("tele/p1/SENSOR", &big).await;
    rig.sink.check(0, Point::ActivePower, Ok(-7.0));
    let readings = rig.sink.all(0, Point::ActivePower);
    assert_eq!(readings.len(), 3, "{readings:?}");
    assert_eq!(rig.handle.stats.report().corrupt, 3);
}

fn guarded() -> MqttProfile {
    let mut profile = plug();
    profile.commands[0].payload = switch(Some("ON 10"));
    profile.commands[0].revert = Some(Duration::from_secs(10));
    profile.commands[0].refresh = Some(Duration::from_secs(5));
    profile
}

#[tokio::test(start_paused = true)]
async fn a_dead_man_is_armed_with_every_closing_and_refreshed_until_opening() {
    let mut rig = Rig::new(guarded());
    let mut peer = rig.accept().await;
    rig.switch(1, true, 1000, false).await;
    peer.say("stat/p1/POWER", "ON").await;
    sleep(Duration::from_secs(11)).await;
    assert_eq!(peer.commands(), vec!["cmnd/p1/POWER ON 10"; 3]);
    rig.switch(2, false, 1000, false).await;
    assert_eq!(peer.commands(), ["cmnd/p1/POWER OFF"]);
    sleep(Duration::from_secs(20)).await;
    assert!(peer.commands().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dead_man_is_not_refreshed_after_a_person_or_an_outage_has_opened_the_switch() {
    let mut rig = Rig::new(guarded());
    let mut peer = rig.accept().await;
    rig.switch(1, true, 1000, false).await;
    peer.say("stat/p1/POWER", "ON").await;
    peer.say("stat/p1/POWER", "OFF").await;
    peer.commands();
    sleep(Duration::from_secs(12)).await;
    assert!(peer.commands().is_empty());

    rig.switch(2, true, 1000, false).await;
    peer.say("stat/p1/POWER", "ON").await;
    drop(peer);
    // Ten seconds without a refresh: the device has fallen back and must not be closed again.
    let mut away = Vec::new();
    for _ in 0..6 {
        away.push(rig.dials.recv().await.unwrap());
        away.pop();
    }
    sleep(Duration::from_millis(1)).await;
    let mut peer = rig.accept().await;
    sleep(Duration::from_secs(12)).await;
    assert!(peer.commands().is_empty());
    let notices = rig.sink.notices();
    assert!(
        notices.iter().any(|n| n.contains("commanded again")),
        "{notices:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_device_cannot_do_is_refused_in_clear_text() {
    let not_mqtt = Protocol::Can(profile::can::CanProfile {
        bitrate: 500_000,
        frames: Vec::new(),
        keep_alive: Vec::new(),
        controls: Vec::new(),
    });
    let mut rig = Rig::with(vec![
        device(0, Protocol::Mqtt(plug()), Some("p1")),
        device(1, Protocol::Mqtt(plug()), None),
        device(2, Protocol::Mqtt(plug()), Some("p/#")),
        device(3, not_mqtt, None),
    ]);
    let mut peer = rig.accept().await;
    assert!(peer.published().iter().all(|text| text.contains("p1")));
    rig.sink.check(1, Point::SwitchOn, Err(Flaw::Config));
    let events = rig.sink.take_events();
    for (ix, words) in [(1, "needs"), (2, "wildcards"), (3, "not for MQTT")] {
        let told = events.iter().any(|e| {
            matches!(e, LinkEvent::Notice { device: Some(d), text } if d.0 == ix && text.contains(words))
        });
        assert!(told, "device {ix}: {events:?}");
        assert!(events.contains(&LinkEvent::Offline(DeviceIx(ix), Flaw::Config)));
    }
    let power = Setpoint::Power {
        p: quantities::ActivePower::from_watts(10.0),
        q: quantities::ReactivePower::ZERO,
    };
    for (dispatch, ix, setpoint) in [(1, 0, power), (2, 1, Setpoint::Switch { on: true })] {
        let write = job(
            &rig.clock,
            dispatch,
            ix,
            setpoint,
            Duration::from_secs(1),
            false,
        );
        rig.writer.as_ref().unwrap().write(write).unwrap();
    }
    sleep(Duration::from_millis(1)).await;
    check_outcomes(
        &rig,
        &[
            "1 missed Written … dev0: its profile has no command",
            "2 missed Written … no usable MQTT profile",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn at_its_end_the_bus_finishes_urgent_commands_only_and_in_bounded_time() {
    let mut rig = Rig::with(vec![
        device(0, Protocol::Mqtt(plug()), Some("p1")),
        device(1, Protocol::Mqtt(plug()), Some("p2")),
    ]);
    let mut peer = rig.accept().await;
    peer.say("tele/p2/LWT", "Offline").await;
    rig.sink.take_events();
    let valid = Duration::from_secs(9);
    let trip = job(
        &rig.clock,
        1,
        0,
        Setpoint::Switch { on: false },
        valid,
        true,
    );
    let idle = job(
        &rig.clock,
        2,
        1,
        Setpoint::Switch { on: true },
        valid,
        false,
    );
    rig.writer.as_ref().unwrap().write(trip).unwrap();
    rig.writer.as_ref().unwrap().write(idle).unwrap();
    let ended_from = rig.clock.now();
    let Rig {
        handle,
        writer,
        sink,
        clock,
        dials,
    } = rig;
    drop((handle, writer));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(peer.commands(), ["cmnd/p1/POWER OFF"]);
    // The device never reports: the bus ends all the same.
    while peer.from_bus.recv().await.is_some() {}
    let took = clock.now().since(ended_from);
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_millis(2100),
        "{took:?}"
    );
    let events = sink.take_events();
    let missed = |dispatch, stage| {
        events.iter().any(|e| {
            matches!(e, LinkEvent::Missed { dispatch: d, stage: s, .. } if *d == DispatchId(dispatch) && *s == stage)
        })
    };
    assert!(
        missed(1, Stage::Register) && missed(2, Stage::Written),
        "{events:?}"
    );
    drop(dials);
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_urgent_command_lets_the_bus_end_at_once() {
    let mut rig = Rig::new(plug());
    let mut peer = rig.accept().await;
    rig.switch(1, false, 1000, true).await;
    let from = rig.clock.now();
    drop((rig.handle, rig.writer));
    peer.say("stat/p1/POWER", "OFF").await;
    while peer.from_bus.recv().await.is_some() {}
    assert!(rig.clock.now().since(from) < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_is_not_armed_asks_for_states_and_commands_nothing() {
    let mut rig = Rig::new(guarded());
    rig.writer = None;
    let looks_for_a_while = async |peer: &mut Peer, when: &str| {
        peer.say("stat/p1/POWER", "ON").await;
        sleep(Duration::from_secs(12)).await;
        let published = peer.published();
        assert!(published.len() >= 2, "{when}: {published:?}");
        for text in published {
            assert_eq!(text, "cmnd/p1/Status 8", "{when}");
        }
    };
    let mut peer = rig.accept().await;
    looks_for_a_while(&mut peer, "at the start").await;
    drop(peer);
    let mut peer = rig.accept().await;
    looks_for_a_while(&mut peer, "at a reconnect").await;

    rig.writer = Some(rig.handle.arm());
    rig.switch(1, true, 1000, false).await;
    assert_eq!(peer.commands(), ["cmnd/p1/POWER ON 10"]);
    peer.say("stat/p1/POWER", "ON").await;
    rig.writer = None;
    sleep(Duration::from_millis(1)).await;
    peer.published();
    looks_for_a_while(&mut peer, "disarmed: the dead man is not refreshed").await;
}

#[tokio::test(start_paused = true)]
async fn disarming_misses_what_waits_but_lets_what_is_urgent_out() {
    let devices = vec![
        device(0, Protocol::Mqtt(plug()), Some("p1")),
        device(1, Protocol::Mqtt(plug()), Some("p2")),
    ];
    let mut rig = Rig::with(devices);
    drop(rig.accept().await);
    sleep(Duration::from_millis(1)).await;
    rig.switch(1, true, 5000, false).await;
    let valid = Duration::from_secs(5);
    let rest = job(
        &rig.clock,
        2,
        1,
        Setpoint::Switch { on: false },
        valid,
        true,
    );
    rig.writer.as_ref().unwrap().write(rest).unwrap();
    rig.writer = None;
    let mut peer = rig.accept().await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(peer.commands(), ["cmnd/p2/POWER OFF"]);
    peer.say("stat/p2/POWER", "OFF").await;
    check_outcomes(
        &rig,
        &["1 missed Written … disarmed", "2 Written", "2 Register"],
    );
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_the_broker_denies_is_noticed_by_its_silence_and_told_by_name() {
    // Nothing may be read at all.
    let mut rig = Rig::new(plug());
    let _peer = rig.accept().await;
    sleep(Duration::from_millis(20_010)).await;
    let notices = rig.sink.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    for words in ["dev0: nothing", "tele/p1/SENSOR", "stat/p1/POWER", "denied"] {
        assert!(notices[0].contains(words), "{notices:?}");
    }
    // Only the switch may not be read.
    let mut rig = Rig::new(plug());
    let peer = rig.accept().await;
    for _ in 0..10 {
        peer.say("tele/p1/SENSOR", SENSOR).await;
        sleep(Duration::from_secs(5)).await;
    }
    let notices = rig.sink.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    for words in ["dev0: it speaks", "switch.on", "stat/p1/POWER", "denied"] {
        assert!(notices[0].contains(words), "{notices:?}");
    }
    assert!(!notices[0].contains("SENSOR"), "{notices:?}");
}

mod bundled;
mod kept;
mod link;
mod presence;
