//! The whole CAN bus against a socketcand server written by hand, in virtual time.

use model::{DeviceIx, Flaw, Point, Setpoint};
use profile::Protocol;
use profile::can::{
    Bits, ByteOrder, CanId, CanProfile, Control, ControlField, Field, Frame, KeepAlive, Number,
    Selector, Signal,
};
use profile::modbus::CommsLoss;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::bench::{Recorder, TestClock, device, job};
use super::*;
use crate::{BusHandle, DispatchId, Endpoint, Framing, KeepAlives, Writer};

fn signal(point: Point, start_bit: u16, factor: f64) -> Signal {
    Signal {
        point,
        field: Field {
            at: Bits {
                start: start_bit,
                len: 16,
                order: ByteOrder::Little,
            },
            number: Number::Signed,
            factor,
            offset: 0.0,
        },
        mask: u64::MAX,
        not_implemented: None,
        range: (-1000.0, 1000.0),
    }
}

fn frame(id: u16, len_min: usize, signals: Vec<Signal>) -> Frame {
    Frame {
        id: CanId::Standard(id),
        id_mask: 0x7FF,
        page: Vec::new(),
        len_min,
        period: Duration::from_secs(1),
        timeout: Duration::from_secs(3),
        identify: None,
        signals,
    }
}

/// A battery with a measurement, a charge and an identity frame, and a keep-alive.
fn battery() -> Protocol {
    let mut identity = frame(0x35E, 8, Vec::new());
    identity.identify = Some(b"PYLON".to_vec());
    Protocol::Can(CanProfile {
        bitrate: 500_000,
        frames: vec![
            frame(
                0x356,
                6,
                vec![
                    signal(Point::BatteryVoltage, 0, 0.01),
                    signal(Point::BatteryCurrent, 16, -0.1),
                ],
            ),
            frame(0x355, 4, vec![signal(Point::StateOfCharge, 0, 0.01)]),
            identity,
        ],
        keep_alive: vec![KeepAlive {
            id: CanId::Standard(0x305),
            data: vec![0; 8],
            every: Duration::from_secs(1),
            values: Vec::new(),
            wakes_for: None,
        }],
        controls: Vec::new(),
    })
}

struct Rig {
    handle: BusHandle,
    /// There while the bench is armed.
    writer: Option<Writer>,
    sink: Arc<Recorder>,
    clock: Arc<TestClock>,
    dials: mpsc::UnboundedReceiver<DuplexStream>,
}

impl Rig {
    fn new(devices: Vec<BusDevice>) -> Self {
        let (endpoint, dials) = mpsc::unbounded_channel();
        let spec = BusSpec {
            id: "can-a".into(),
            endpoint: Endpoint::Memory(endpoint),
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

    /// Takes the next dial through the handshake.
    async fn accept(&mut self) -> DuplexStream {
        let mut peer = self.dials.recv().await.unwrap();
        say(&mut peer, "< hi >").await;
        assert_eq!(hear(&mut peer).await, "< open can-a >");
        say(&mut peer, "< ok >").await;
        assert_eq!(hear(&mut peer).await, "< rawmode >");
        say(&mut peer, "< ok >").await;
        peer
    }
}

async fn say(peer: &mut DuplexStream, text: &str) {
    peer.write_all(text.as_bytes()).await.unwrap();
    // The bus gets its turn; virtual time moves by this much.
    sleep(Duration::from_millis(1)).await;
}

async fn hear(peer: &mut DuplexStream) -> String {
    let mut bytes = [0; 4096];
    let n = peer.read(&mut bytes).await.unwrap();
    String::from_utf8(bytes[..n].to_vec()).unwrap()
}

const MEASUREMENT: &str = "< frame 356 1.0 7A13F2FE6B01 >";
const CHARGE: &str = "< frame 355 1.0 58005E00 >";

#[tokio::test(start_paused = true)]
async fn frames_become_samples_with_the_time_at_which_they_came() {
    let mut rig = Rig::new(vec![device(0, battery(), None)]);
    let mut peer = rig.accept().await;
    sleep(Duration::from_secs(1)).await;
    let sent_at = rig.clock.now().as_nanos() / 1_000_000;
    say(&mut peer, MEASUREMENT).await;
    say(&mut peer, CHARGE).await;
    rig.sink.check(0, Point::BatteryVoltage, Ok(49.86));
    rig.sink.check(0, Point::BatteryCurrent, Ok(27.0));
    rig.sink.check(0, Point::StateOfCharge, Ok(0.88));
    assert_eq!(rig.sink.all(0, Point::BatteryVoltage)[0].0, sent_at);
    assert_eq!(rig.sink.take_events(), [LinkEvent::Online(DeviceIx(0))]);
    let report = rig.handle.stats.report();
    assert_eq!((report.answers, report.corrupt), (2, 0));
    // 47 + 6 · 8 and 47 + 4 · 8 bits, and the keep-alives, at 2 µs per bit.
    assert_eq!(report.busy_nanos, (95 + 79 + report.requests * 111) * 2_000);
}

#[tokio::test(start_paused = true)]
async fn frames_split_over_reads_and_several_in_one_read_are_all_heard() {
    let mut rig = Rig::new(vec![device(0, battery(), None)]);
    let mut peer = rig.accept().await;
    say(&mut peer, "< frame 356 1.0 7A13").await;
    say(&mut peer, "F2FE6B01 >< frame 355 1.0 58005E00 >< fra").await;
    say(&mut peer, "me 355 2.0 57005E00 >").await;
    rig.sink.check(0, Point::BatteryVoltage, Ok(49.86));
    let charges: Vec<_> = rig.sink.all(0, Point::StateOfCharge);
    assert_eq!(charges.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn garbage_and_short_frames_are_counted_and_never_become_values() {
    let mut rig = Rig::new(vec![device(0, battery(), None)]);
    let mut peer = rig.accept().await;
    say(&mut peer, "\u{1}\u{2}garbage< frame zzz 1 2 >").await;
    say(&mut peer, "< frame 356 1.0 7A13F2FE6B >").await;
    rig.sink.check(0, Point::BatteryVoltage, Err(Flaw::Corrupt));
    rig.sink.check(0, Point::BatteryCurrent, Err(Flaw::Corrupt));
    assert_eq!(rig.handle.stats.report().corrupt, 3);
    say(&mut peer, MEASUREMENT).await;
    rig.sink.check(0, Point::BatteryVoltage, Ok(49.86));
}

#[tokio::test(start_paused = true)]
async fn a_silent_frame_times_out_and_a_silent_device_is_offline() {
    let mut rig = Rig::new(vec![device(0, battery(), None)]);
    let mut peer = rig.accept().await;
    say(&mut peer, MEASUREMENT).await;
    let mut sent_at = rig.clock.now();
    for _ in 0..4 {
        sleep(Duration::from_millis(999)).await;
        sent_at = rig.clock.now();
        say(&mut peer, CHARGE).await;
    }
    rig.sink.check(0, Point::BatteryVoltage, Err(Flaw::Timeout));
    rig.sink.check(0, Point::StateOfCharge, Ok(0.88));
    assert_eq!(rig.sink.take_events(), [LinkEvent::Online(DeviceIx(0))]);

    sleep(Duration::from_secs(4)).await;
    let silent_at = (sent_at + Duration::from_secs(3)).as_nanos() / 1_000_000;
    for point in [Point::BatteryVoltage, Point::StateOfCharge] {
        assert_eq!(
            rig.sink.all(0, point).last(),
            Some(&(silent_at, model::Reading::Bad(Flaw::Offline)))
        );
    }
    assert_eq!(
        rig.sink.take_events(),
        [LinkEvent::Offline(DeviceIx(0), Flaw::Offline)]
    );

    say(&mut peer, CHARGE).await;
    rig.sink.check(0, Point::StateOfCharge, Ok(0.88));
    rig.sink.check(0, Point::BatteryVoltage, Err(Flaw::Offline));
    assert_eq!(rig.sink.take_events(), [LinkEvent::Online(DeviceIx(0))]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_server_is_dialled_again_with_growing_waits_and_told_once() {
    let mut rig = Rig::new(vec![device(0, battery(), None)]);
    let mut peer = rig.accept().await;
    say(&mut peer, MEASUREMENT).await;
    drop(peer);
    let mut waits = Vec::new();
    let mut last = rig.clock.now();
    for _ in 0..12 {
        drop(rig.dials.recv().await.unwrap());
        waits.push(rig.clock.now().since(last));
        last = rig.clock.now();
    }
    assert!(waits[0] <= Duration::from_millis(121), "{waits:?}");
    assert!(waits[11] >= Duration::from_secs(24), "{waits:?}");
    assert!(waits.iter().all(|w| *w <= Duration::from_secs(37)));
    let notices = rig.sink.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].contains("can-a"), "{notices:?}");
    rig.sink.check(0, Point::BatteryVoltage, Err(Flaw::Offline));

    let mut peer = rig.accept().await;
    say(&mut peer, MEASUREMENT).await;
    rig.sink.check(0, Point::BatteryVoltage, Ok(49.86));
    assert_eq!(rig.handle.stats.report().reconnects, 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_greets_is_given_up_after_its_time() {
    let mut rig = Rig::new(vec![device(0, battery(), None)]);
    let silent = rig.dials.recv().await.unwrap();
    sleep(Duration::from_secs(6)).await;
    let notices = rig.sink.notices();
    assert!(
        notices.len() == 1 && notices[0].contains("no answer within 5 s"),
        "{notices:?}"
    );
    drop(silent);
    rig.accept().await;
}

#[tokio::test(start_paused = true)]
async fn keep_alives_leave_at_once_and_then_at_their_interval() {
    let mut two = vec![device(0, battery(), None), device(1, battery(), None)];
    if let Protocol::Can(can) = &mut Arc::get_mut(&mut two[1].profile).unwrap().protocol {
        can.keep_alive[0].every = Duration::from_millis(500);
        can.frames.clear();
    }
    let mut rig = Rig::new(two);
    let mut peer = rig.accept().await;
    let mut at = Vec::new();
    for _ in 0..5 {
        assert_eq!(hear(&mut peer).await, "< send 305 8 0 0 0 0 0 0 0 0 >");
        at.push(rig.clock.now().as_nanos() / 1_000_000);
    }
    // The same frame of two devices goes out once, at the shorter interval.
    for pair in at.windows(2).skip(1) {
        assert!((500..=502).contains(&(pair[1] - pair[0])), "{at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_says_it_is_another_one_is_not_believed() {
    let mut rig = Rig::new(vec![device(0, battery(), None)]);
    let mut peer = rig.accept().await;
    say(&mut peer, MEASUREMENT).await;
    for _ in 0..2 {
        say(&mut peer, "< frame 35E 1.0 4259442020202020 >").await;
    }
    rig.sink.check(0, Point::BatteryVoltage, Err(Flaw::Config));
    say(&mut peer, MEASUREMENT).await;
    rig.sink.check(0, Point::BatteryVoltage, Err(Flaw::Config));
    let notices = rig.sink.notices();
    assert_eq!(notices.len(), 1);
    for words in ["dev0", "0x35E", "BYD", "PYLON", "maker/model"] {
        assert!(notices[0].contains(words), "{notices:?}");
    }
    say(&mut peer, "< frame 35E 1.0 50594C4F4E202020 >").await;
    say(&mut peer, MEASUREMENT).await;
    rig.sink.check(0, Point::BatteryVoltage, Ok(49.86));
}

#[tokio::test(start_paused = true)]
async fn bus_off_makes_every_point_bad_at_once_until_frames_come_again() {
    let mut rig = Rig::new(vec![device(0, battery(), None)]);
    let mut peer = rig.accept().await;
    say(&mut peer, MEASUREMENT).await;
    say(&mut peer, "< error 020 1.0 >").await;
    rig.sink.check(0, Point::BatteryVoltage, Ok(49.86));
    rig.sink.take_events();
    say(&mut peer, "< error 040 1.0 >").await;
    for point in [Point::BatteryVoltage, Point::StateOfCharge] {
        rig.sink.check(0, point, Err(Flaw::BusOff));
    }
    let events = rig.sink.take_events();
    assert!(
        matches!(
            events.as_slice(),
            [
                LinkEvent::Notice { .. },
                LinkEvent::Offline(DeviceIx(0), Flaw::BusOff)
            ]
        ),
        "{events:?}"
    );
    say(&mut peer, "< error 040 1.0 >").await;
    assert_eq!(rig.sink.take_events(), []);
    say(&mut peer, MEASUREMENT).await;
    rig.sink.check(0, Point::BatteryVoltage, Ok(49.86));
    assert_eq!(rig.sink.take_events(), [LinkEvent::Online(DeviceIx(0))]);
}

#[tokio::test(start_paused = true)]
async fn a_setpoint_for_a_can_device_is_refused_in_clear_text() {
    let rig = Rig::new(vec![device(0, battery(), None)]);
    let write = job(
        &rig.clock,
        7,
        0,
        Setpoint::Switch { on: true },
        Duration::from_secs(1),
        false,
    );
    rig.writer.as_ref().unwrap().write(write).unwrap();
    sleep(Duration::from_millis(1)).await;
    let events = rig.sink.take_events();
    let [
        LinkEvent::Missed {
            dispatch: DispatchId(7),
            device: DeviceIx(0),
            stage: Stage::Written,
            why,
        },
    ] = events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert!(why.contains("dev0") && why.contains("no control"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_point_that_another_live_frame_has_does_not_time_out() {
    let mut protocol = battery();
    if let Protocol::Can(can) = &mut protocol {
        // An older and a newer frame for the same point: a pack sends one of them.
        let alias = frame(0x357, 4, vec![signal(Point::StateOfCharge, 0, 0.01)]);
        can.frames.push(alias);
    }
    let mut rig = Rig::new(vec![device(0, protocol, None)]);
    let mut peer = rig.accept().await;
    for _ in 0..5 {
        say(&mut peer, CHARGE).await;
        sleep(Duration::from_millis(999)).await;
    }
    let readings = rig.sink.all(0, Point::StateOfCharge);
    assert_eq!(readings.len(), 5, "{readings:?}");
}

#[tokio::test(start_paused = true)]
async fn the_bus_ends_when_its_handles_are_dropped() {
    let mut rig = Rig::new(vec![device(0, battery(), None)]);
    let mut peer = rig.accept().await;
    assert_eq!(hear(&mut peer).await, "< send 305 8 0 0 0 0 0 0 0 0 >");
    drop((rig.handle, rig.writer));
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

/// Captures of a real pack (driver dossier, section 1.3) through the profile that ships.
#[tokio::test(start_paused = true)]
async fn the_bundled_pylontech_profile_reads_a_captured_pack() {
    let mut pack = device(0, battery(), None);
    pack.profile = profile::bundled("pylontech/lv-can").unwrap();
    let mut rig = Rig::new(vec![pack]);
    let mut peer = rig.accept().await;
    for text in [
        "351 1.0 1402740E740ECC01",
        "355 1.0 58005E00",
        "356 1.0 7A13F2FE6B01",
        "359 1.0 0000000006504E",
        "35C 1.0 C000",
        "35E 1.0 50594C4F4E202020",
    ] {
        say(&mut peer, &format!("< frame {text} >")).await;
    }
    for (point, expected) in [
        (Point::ChargeVoltageMax, 53.2),
        (Point::ChargeCurrentMax, 370.0),
        (Point::DischargeCurrentMax, 370.0),
        (Point::DischargeVoltageMin, 46.0),
        (Point::StateOfCharge, 0.88),
        (Point::StateOfHealth, 0.94),
        (Point::BatteryVoltage, 49.86),
        (Point::BatteryCurrent, 27.0),
        (Point::BatteryTemperature, 36.3),
        (Point::Alarm, 0.0),
        (Point::ChargeEnabled, 1.0),
        (Point::DischargeEnabled, 1.0),
    ] {
        let reading = rig.sink.latest(0, point).and_then(model::Reading::good);
        let value = reading.unwrap_or(f64::NAN);
        assert!((value - expected).abs() < 1e-9, "{point}: {value}");
    }
    assert!(rig.sink.notices().is_empty());
    assert_eq!(hear(&mut peer).await, "< send 305 8 0 0 0 0 0 0 0 0 >");
}

/// A battery that takes a power, and shows back what it has taken.
fn commanded() -> BusDevice {
    let Protocol::Can(mut can) = battery() else {
        unreachable!("it is a CAN profile")
    };
    can.keep_alive.clear();
    let power = Field {
        at: Bits {
            start: 8,
            len: 16,
            order: ByteOrder::Little,
        },
        number: Number::Signed,
        factor: -10.0,
        offset: 0.0,
    };
    let mut shown = signal(Point::ActivePowerSet, 0, -10.0);
    shown.range = (-1e5, 1e5);
    can.frames.push(frame(0x201, 2, vec![shown]));
    can.controls = vec![Control {
        point: Point::ActivePowerSet,
        id: CanId::Standard(0x200),
        len: 8,
        fields: vec![
            ControlField::Constant(
                Bits {
                    start: 0,
                    len: 4,
                    order: ByteOrder::Little,
                },
                3,
            ),
            ControlField::Setpoint(power),
            ControlField::Counter(Bits {
                start: 60,
                len: 4,
                order: ByteOrder::Little,
            }),
        ],
        range: Some(quantities::Bounds::between(
            quantities::ActivePower::from_watts(-2000.0),
            quantities::ActivePower::from_watts(2000.0),
        )),
        tolerance: 10.0,
        confirm_within: Duration::from_millis(500),
        refresh: Some(Duration::from_millis(200)),
        safe: 0.0,
        comms_loss: CommsLoss::Reverts {
            after: Duration::from_secs(1),
        },
    }];
    device(0, Protocol::Can(can), None)
}

fn power(watts: f64) -> Setpoint {
    Setpoint::Power {
        p: quantities::ActivePower::from_watts(watts),
        q: quantities::ReactivePower::from_vars(0.0),
    }
}

impl Rig {
    async fn command(&self, dispatch: u64, watts: f64, valid: Duration) {
        let write = job(&self.clock, dispatch, 0, power(watts), valid, false);
        self.writer.as_ref().unwrap().write(write).unwrap();
        sleep(Duration::from_millis(1)).await;
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_setpoint_goes_out_again_and_again_and_counts_when_the_device_shows_it() {
    let mut rig = Rig::new(vec![commanded()]);
    let mut peer = rig.accept().await;
    // 1230 W of discharge are -123 in the device's tens of watts, charging positive.
    rig.command(7, 1230.0, SECOND).await;
    assert_eq!(hear(&mut peer).await, "< send 200 8 3 85 ff 0 0 0 0 0 >");
    let confirmed = |stage, events: &[LinkEvent]| {
        events.iter().any(|e| {
            matches!(e, LinkEvent::Confirmed { dispatch: DispatchId(7), stage: s, .. } if *s == stage)
        })
    };
    assert!(confirmed(Stage::Written, &rig.sink.take_events()));
    // What it shows first is its old setpoint.
    say(&mut peer, "< frame 201 1.0 0000 >").await;
    assert!(!confirmed(Stage::Register, &rig.sink.take_events()));
    say(&mut peer, "< frame 201 1.0 85FF >").await;
    assert!(confirmed(Stage::Register, &rig.sink.take_events()));
    let told = rig.handle.stats.devices();
    assert_eq!(told[0].answers, rig.handle.stats.report().answers);
    assert!(told[0].round_trip_p50.is_some(), "{told:?}");
    let mut at = Vec::new();
    for count in 1..=16 {
        let count = format!("{:x}", count % 16 * 16);
        assert_eq!(
            hear(&mut peer).await,
            format!("< send 200 8 3 85 ff 0 0 0 0 {count} >")
        );
        at.push(rig.clock.now().as_nanos() / 1_000_000);
    }
    for pair in at.windows(2) {
        assert!((200..=202).contains(&(pair[1] - pair[0])), "{at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_setpoint_that_the_device_never_shows_is_missed_by_name() {
    let mut rig = Rig::new(vec![commanded()]);
    let mut peer = rig.accept().await;
    rig.command(7, 500.0, SECOND).await;
    hear(&mut peer).await;
    rig.sink.take_events();
    sleep(Duration::from_millis(500)).await;
    let events = rig.sink.take_events();
    let [
        LinkEvent::Missed {
            dispatch: DispatchId(7),
            stage: Stage::Register,
            why,
            ..
        },
    ] = events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert!(why.contains("dev0") && why.contains("ctl.p_set"), "{why}");
    // Its own counters: the frames that it was sent, and what it did not show.
    let told = rig.handle.stats.devices();
    assert_eq!(told[0].device, DeviceIx(0));
    assert_eq!(told[0].requests, rig.handle.stats.report().requests);
    assert!(told[0].timeouts >= 1 && told[0].round_trip_p50.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_setpoint_that_waited_too_long_for_the_bus_is_never_sent_nor_is_what_it_replaced() {
    let mut rig = Rig::new(vec![commanded()]);
    let mut peer = rig.accept().await;
    rig.command(1, 500.0, SECOND).await;
    hear(&mut peer).await;
    drop(peer);
    sleep(Duration::from_millis(1)).await;
    rig.sink.take_events();
    rig.command(2, -500.0, Duration::from_millis(50)).await;
    sleep(Duration::from_millis(60)).await;
    let events = rig.sink.take_events();
    let missed = |wanted: u64, words: &str| {
        events.iter().any(|e| {
            matches!(e, LinkEvent::Missed { dispatch, why, .. }
                if *dispatch == DispatchId(wanted) && why.contains(words))
        })
    };
    assert!(
        missed(1, "superseded by dispatch 2") && missed(2, "expired"),
        "{events:?}"
    );
    assert_eq!(rig.handle.stats.report().expired, 1);
    assert_eq!(rig.handle.stats.devices()[0].expired, 1);
    let mut peer = rig.accept().await;
    rig.command(3, 100.0, SECOND).await;
    assert_eq!(hear(&mut peer).await, "< send 200 8 3 f6 ff 0 0 0 0 10 >");
}

#[tokio::test(start_paused = true)]
async fn a_setpoint_in_force_goes_on_when_the_bus_is_back() {
    let mut rig = Rig::new(vec![commanded()]);
    let mut peer = rig.accept().await;
    rig.command(1, 500.0, SECOND).await;
    hear(&mut peer).await;
    say(&mut peer, "< frame 201 1.0 CEFF >").await;
    drop(peer);
    let mut peer = rig.accept().await;
    assert_eq!(hear(&mut peer).await, "< send 200 8 3 ce ff 0 0 0 0 10 >");
}

#[tokio::test(start_paused = true)]
async fn a_setpoint_beyond_the_device_is_held_at_its_range_and_said_so() {
    let mut rig = Rig::new(vec![commanded()]);
    let mut peer = rig.accept().await;
    rig.command(1, 5000.0, SECOND).await;
    assert_eq!(hear(&mut peer).await, "< send 200 8 3 38 ff 0 0 0 0 0 >");
    let notices = rig.sink.notices();
    assert!(
        notices
            .iter()
            .any(|n| n.contains("5000") && n.contains("2000")),
        "{notices:?}"
    );
    let switch = job(
        &rig.clock,
        2,
        0,
        Setpoint::Switch { on: true },
        SECOND,
        false,
    );
    rig.writer.as_ref().unwrap().write(switch).unwrap();
    sleep(Duration::from_millis(1)).await;
    let events = rig.sink.take_events();
    let refused = |e: &LinkEvent| matches!(e, LinkEvent::Missed { dispatch: DispatchId(2), why, .. } if why.contains("no control switch.on"));
    assert!(events.iter().any(refused), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_stays_off_is_opened_anew_and_keep_alives_come_at_once() {
    let mut rig = Rig::new(vec![device(0, battery(), None)]);
    let mut peer = rig.accept().await;
    hear(&mut peer).await;
    say(&mut peer, "< error 040 1.0 >").await;
    // Off the bus, nothing is sent; after a second the link is opened anew.
    let mut rest = String::new();
    peer.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "");
    let mut peer = rig.accept().await;
    let back_at = rig.clock.now();
    let seconds = back_at.since(Instant::START).as_secs_f64();
    assert!((1.0..1.3).contains(&seconds), "opened anew at {seconds} s");
    assert_eq!(hear(&mut peer).await, "< send 305 8 0 0 0 0 0 0 0 0 >");
    assert!(rig.clock.now().since(back_at) < Duration::from_millis(5));
    let report = rig.handle.stats.report();
    assert_eq!((report.bus_offs, report.reconnects), (1, 1));
    // The silence that follows is still that of a bus that was left, not of a frame that is late.
    sleep(4 * SECOND).await;
    rig.sink.check(0, Point::StateOfCharge, Err(Flaw::BusOff));
    assert_eq!(rig.handle.stats.report().timeouts, 0);
    // Another error is counted by itself, and nothing is said about the devices.
    say(&mut peer, "< error 020 3.0 >< error 004 3.1 >").await;
    let report = rig.handle.stats.report();
    assert_eq!(
        (report.bus_errors, report.bus_offs, report.corrupt),
        (2, 1, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_restarts_by_itself_is_believed_and_its_devices_are_kept_alive() {
    let mut rig = Rig::new(vec![device(0, battery(), None)]);
    let mut peer = rig.accept().await;
    hear(&mut peer).await;
    // It says so itself, or a frame shows it.
    for (time, back) in [(1, "< error 100 1.1 >"), (2, CHARGE), (3, CHARGE)] {
        say(&mut peer, "< error 040 1.0 >").await;
        assert_eq!(rig.handle.stats.report().bus_offs, time);
        rig.sink.check(0, Point::StateOfCharge, Err(Flaw::BusOff));
        sleep(Duration::from_millis(100)).await;
        say(&mut peer, back).await;
        let begin = rig.clock.now();
        assert_eq!(hear(&mut peer).await, "< send 305 8 0 0 0 0 0 0 0 0 >");
        assert!(rig.clock.now().since(begin) < Duration::from_millis(5));
        if back != CHARGE {
            // The controller is back, the battery has not spoken yet.
            rig.sink.check(0, Point::StateOfCharge, Err(Flaw::BusOff));
            say(&mut peer, CHARGE).await;
        }
        rig.sink.check(0, Point::StateOfCharge, Ok(0.88));
        // Long enough for the next beat, which is not of interest here.
        sleep(Duration::from_millis(1500)).await;
        hear(&mut peer).await;
        say(&mut peer, CHARGE).await;
    }
    assert_eq!(rig.handle.stats.report().reconnects, 0);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_breaks_while_the_controller_is_off_is_opened_once_and_used_at_once() {
    let mut rig = Rig::new(vec![device(0, battery(), None)]);
    let mut peer = rig.accept().await;
    hear(&mut peer).await;
    say(&mut peer, "< error 040 1.0 >").await;
    drop(peer);
    let mut peer = rig.accept().await;
    let begin = rig.clock.now();
    assert!(
        begin.since(Instant::START) < SECOND,
        "the patience is not over"
    );
    assert_eq!(hear(&mut peer).await, "< send 305 8 0 0 0 0 0 0 0 0 >");
    assert!(rig.clock.now().since(begin) < Duration::from_millis(5));
    // The first opening was enough.
    sleep(3 * SECOND).await;
    assert_eq!(rig.handle.stats.report().reconnects, 1);
    assert!(rig.dials.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_keep_alive_with_live_values_waits_until_they_are_known() {
    let mut protocol = battery();
    if let Protocol::Can(can) = &mut protocol {
        let mut voltage = signal(Point::BatteryVoltage, 7, 0.1).field;
        voltage.at.order = ByteOrder::Big;
        can.keep_alive[0].values = vec![(Point::BatteryVoltage, voltage)];
    }
    let mut rig = Rig::new(vec![device(0, protocol, None)]);
    let mut peer = rig.accept().await;
    sleep(Duration::from_secs(2)).await;
    say(&mut peer, MEASUREMENT).await;
    // 49.86 V in tenths, big-endian: 499 = 0x01f3. Nothing was said before.
    assert_eq!(hear(&mut peer).await, "< send 305 8 1 f3 0 0 0 0 0 0 >");
    sleep(Duration::from_secs(4)).await;
    rig.sink.check(0, Point::BatteryVoltage, Err(Flaw::Offline));
    let mut bytes = [0; 4096];
    let heard = peer.read(&mut bytes).await.unwrap();
    let early = String::from_utf8_lossy(&bytes[..heard]).into_owned();
    let silence = tokio::time::timeout(Duration::from_secs(5), peer.read(&mut bytes)).await;
    assert!(
        silence.is_err(),
        "a value that is not known is not said; before: {early}"
    );
}

#[tokio::test(start_paused = true)]
async fn pages_of_a_frame_are_told_apart_and_each_times_out_by_itself() {
    let mut protocol = battery();
    if let Protocol::Can(can) = &mut protocol {
        let page = |value, point| {
            let mut page = frame(0x400, 3, vec![signal(point, 8, 1.0)]);
            page.page = vec![Selector {
                at: Bits {
                    start: 0,
                    len: 8,
                    order: ByteOrder::Little,
                },
                values: vec![(value, value)],
            }];
            page
        };
        can.frames = vec![page(1, Point::DcVoltage), page(2, Point::DcCurrent)];
    }
    let mut rig = Rig::new(vec![device(0, protocol, None)]);
    let mut peer = rig.accept().await;
    say(&mut peer, "< frame 400 1.0 010500 >").await;
    say(&mut peer, "< frame 400 1.0 020700 >").await;
    // A page that nobody maps changes nothing.
    say(&mut peer, "< frame 400 1.0 030900 >").await;
    rig.sink.check(0, Point::DcVoltage, Ok(5.0));
    rig.sink.check(0, Point::DcCurrent, Ok(7.0));
    for _ in 0..4 {
        sleep(Duration::from_millis(999)).await;
        say(&mut peer, "< frame 400 1.0 010600 >").await;
    }
    rig.sink.check(0, Point::DcVoltage, Ok(6.0));
    rig.sink.check(0, Point::DcCurrent, Err(Flaw::Timeout));
}

#[tokio::test(start_paused = true)]
async fn a_masked_identifier_takes_the_frame_from_any_source() {
    let mut protocol = battery();
    if let Protocol::Can(can) = &mut protocol {
        let mut any = frame(0, 2, vec![signal(Point::DcVoltage, 0, 1.0)]);
        (any.id, any.id_mask) = (CanId::Extended(0x18FE_F100), 0x03FF_FF00);
        can.frames = vec![any];
    }
    let mut rig = Rig::new(vec![device(0, protocol, None)]);
    let mut peer = rig.accept().await;
    say(&mut peer, "< frame 0CFEF127 1.0 0500 >").await;
    rig.sink.check(0, Point::DcVoltage, Ok(5.0));
    say(&mut peer, "< frame 18FEF200 1.0 0600 >").await;
    rig.sink.check(0, Point::DcVoltage, Ok(5.0));
}

#[tokio::test(start_paused = true)]
async fn two_buses_of_one_process_meet_on_a_virtual_wire() {
    let wire = wire::Wire::named("meet", None);
    let mut pack = wire.join();
    let (sink, clock) = (Arc::new(Recorder::default()), TestClock::start());
    let spec = BusSpec {
        id: "can-v".into(),
        endpoint: Endpoint::VirtualCan {
            name: "meet".into(),
            bitrate: None,
        },
        framing: Framing::default(),
        timeout: None,
        min_gap: None,
        seed: 1,
    };
    let devices = vec![device(0, battery(), None)];
    let handle = crate::start(spec, devices, clock.clone(), sink.clone());
    let _writer = handle.arm();
    let data = |bytes: &[u8]| codec::Data::new(bytes).unwrap();
    let keep_alive = codec::Frame::Data {
        id: CanId::Standard(0x305),
        data: data(&[0; 8]),
    };
    assert_eq!(pack.receive().await.unwrap(), keep_alive);
    let charge = codec::Frame::Data {
        id: CanId::Standard(0x355),
        data: data(&[88, 0, 94, 0]),
    };
    pack.send(&charge).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    sink.check(0, Point::StateOfCharge, Ok(0.88));
    // The controller's node, the second on this wire, is thrown off the bus.
    wire.set_off(2, true);
    sleep(Duration::from_millis(1)).await;
    sink.check(0, Point::StateOfCharge, Err(Flaw::BusOff));
    // Opened anew it has a fresh controller, and the battery is kept alive again.
    while pack.receive().await.unwrap() != keep_alive {}
    pack.send(&charge).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    sink.check(0, Point::StateOfCharge, Ok(0.88));
    assert_eq!(handle.stats.report().bus_offs, 1);
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_only_looks_sends_no_frame_unless_the_rig_says_that_a_device_needs_it() {
    let mut other = battery();
    if let Protocol::Can(can) = &mut other {
        can.keep_alive[0].id = CanId::Standard(0x306);
    }
    for (keep_alives, expected) in [
        (KeepAlives::WhileArmed, ""),
        (KeepAlives::Always, "< send 306 8 0 0 0 0 0 0 0 0 >"),
    ] {
        let second = BusDevice {
            limits: Vec::new(),
            keep_alives,
            ..device(1, other.clone(), None)
        };
        let mut rig = Rig::new(vec![device(0, battery(), None), second]);
        rig.writer = None;
        let heard = async |peer: &mut DuplexStream| {
            let mut all = String::new();
            let end = tokio::time::Instant::now() + Duration::from_millis(2500);
            while let Ok(text) = tokio::time::timeout_at(end, hear(peer)).await {
                all.push_str(&text);
            }
            all
        };
        let mut peer = rig.accept().await;
        assert_eq!(heard(&mut peer).await, expected.repeat(3), "at the start");
        drop(peer);
        let mut peer = rig.accept().await;
        assert_eq!(heard(&mut peer).await, expected.repeat(3), "at a reconnect");
        rig.writer = Some(rig.handle.arm());
        let both = heard(&mut peer).await;
        assert_eq!(both.matches("< send 305 ").count(), 3, "armed: {both}");
        rig.writer = None;
        sleep(Duration::from_millis(1)).await;
        let after = heard(&mut peer).await;
        assert_eq!(after.matches("< send 305 ").count(), 0, "disarmed: {after}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disarmed_bus_lets_rest_leave_and_repeats_nothing() {
    let mut rig = Rig::new(vec![commanded()]);
    let mut peer = rig.accept().await;
    rig.command(1, 500.0, SECOND).await;
    hear(&mut peer).await;
    say(&mut peer, "< frame 201 1.0 CEFF >").await;
    rig.sink.take_events();
    let rest = job(&rig.clock, 2, 0, power(0.0), SECOND, true);
    rig.writer.as_ref().unwrap().write(rest).unwrap();
    rig.writer = None;
    assert_eq!(hear(&mut peer).await, "< send 200 8 3 0 0 0 0 0 0 10 >");
    say(&mut peer, "< frame 201 1.0 0000 >").await;
    let confirmed = |e: &LinkEvent| {
        matches!(
            e,
            LinkEvent::Confirmed {
                dispatch: DispatchId(2),
                stage: Stage::Register,
                ..
            }
        )
    };
    assert!(rig.sink.take_events().iter().any(confirmed));
    let mut bytes = [0; 64];
    let silence = tokio::time::timeout(SECOND * 5, peer.read(&mut bytes)).await;
    assert!(silence.is_err(), "{:?}", String::from_utf8_lossy(&bytes));
    // Armed again, nothing of before comes back.
    rig.writer = Some(rig.handle.arm());
    let silence = tokio::time::timeout(SECOND * 5, peer.read(&mut bytes)).await;
    assert!(silence.is_err(), "{:?}", String::from_utf8_lossy(&bytes));
}
