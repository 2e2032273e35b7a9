//! What is durable may leave; what came too late is held back, and the ledger says so.

use control::{Bench, Controller, Rhythm, Settings};
use ledger_core::Payload;
use ledger_core::payload::DispatchStage;
use model::{
    DeviceIx, DeviceSpec, Instant, Order, Point, PointSample, ProcessImage, Rating, Reading, Role,
    Sample,
};
use quantities::{
    ActivePower, ApparentPower, Bounds, Frequency, PowerRamp, StateOfCharge, Voltage,
};

use super::*;
use crate::clock::SystemClock;

/// One approved dispatch, by the only road there is: a controller that is asked for it.
fn dispatch() -> (Vec<DeviceId>, Vec<Dispatch>) {
    let device = DeviceSpec {
        id: "ess1".into(),
        role: Role::Ess,
        rating: Rating {
            p: Bounds::between(
                ActivePower::from_kilowatts(-5.0),
                ActivePower::from_kilowatts(5.0),
            ),
            s_max: ApparentPower::from_kilovolt_amperes(5.0),
            ramp: PowerRamp::from_watts_per_second(1e9),
            soc: Bounds::between(
                StateOfCharge::from_percent(10.0),
                StateOfCharge::from_percent(90.0),
            ),
            capacity: None,
            source: None,
            efficiency: model::Efficiency::LOSSLESS,
            temperature: None,
        },
        shed: None,
        battery: None,
        takes_power: true,
        takes_reactive: true,
        takes_ceiling: false,
        takes_switch: false,
        safe_p: ActivePower::ZERO,
        safe_on: None,
        forming: model::Forming::Droops,
        sample_age_max: Duration::from_secs(1),
    };
    let settings = Settings::nominal(Frequency::from_hertz(50.0), Voltage::from_volts(230.0));
    let mut controller = Controller::new(Bench {
        settings,
        devices: vec![device],
    });
    let mut image = ProcessImage::unread(1);
    image.observe(PointSample {
        device: DeviceIx(0),
        point: Point::StateOfCharge,
        sample: Sample {
            measured_at: Instant::START,
            reading: Reading::Good(0.5),
        },
    });
    let hold = Order::Hold {
        device: DeviceIx(0),
        setpoint: Setpoint::Power {
            p: ActivePower::from_kilowatts(2.0),
            q: quantities::ReactivePower::ZERO,
        },
    };
    let outcome = controller.step(
        Instant::from_nanos(100_000_000),
        Rhythm::Supervisory,
        &image,
        &[Order::Arm(true), hold],
    );
    assert_eq!(outcome.dispatches.len(), 1);
    (vec!["ess1".into()], outcome.dispatches)
}

fn ledger(dir: &Path) -> Vec<Payload> {
    ledger_node::entries(dir)
        .expect("a ledger")
        .map(|e| e.expect("readable").atom.body().payload.clone())
        .collect()
}

#[test]
fn a_dispatch_is_in_the_ledger_before_it_may_leave() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = SystemClock::start();
    let mut evidence =
        Evidence::create(dir.path(), "test", &[], KeySource::Entropy, &clock).expect("a ledger");
    // A slow machine must not turn this test into the other one.
    evidence.deadline = Duration::from_secs(10);
    let (names, dispatches) = dispatch();
    let receipts = evidence
        .before_release(
            clock.utc(),
            clock.now(),
            &names,
            &dispatches,
            None,
            Duration::MAX,
        )
        .expect("durable");
    assert_eq!((receipts.len(), evidence.dispatches_logged), (1, 1));
    evidence.close(clock.utc()).expect("closed");
    let entries = ledger(dir.path());
    let [Payload::Dispatch(written)] = entries.as_slice() else {
        unreachable!("{entries:?}")
    };
    assert_eq!(written.setpoint.p_milliwatts, Some(2_000_000));
    assert!(written.why.starts_with("operator: "), "{}", written.why);
}

/// A ledger for whose record of a dispatch nobody waits. On a busy machine the record may be there before
/// anybody looks, and then it is not late: another one is made.
fn with_a_late_record(clock: &SystemClock) -> (tempfile::TempDir, Evidence) {
    for _ in 0..100 {
        let dir = tempfile::tempdir().expect("a folder");
        let mut evidence =
            Evidence::create(dir.path(), "test", &[], KeySource::Entropy, clock).expect("a ledger");
        evidence.deadline = Duration::ZERO;
        let (names, dispatches) = dispatch();
        let (utc, now) = (clock.utc(), clock.now());
        let record = evidence.before_release(utc, now, &names, &dispatches, None, Duration::MAX);
        match record {
            Ok(_) => evidence.close(clock.utc()).map(drop).expect("closed"),
            late => {
                assert_eq!(late, Err(NotDurable::Late(Duration::ZERO)));
                return (dir, evidence);
            }
        }
    }
    unreachable!("every record was there at once");
}

#[test]
fn a_dispatch_whose_record_is_late_is_held_back_and_the_ledger_says_so() {
    let clock = SystemClock::start();
    let (dir, mut evidence) = with_a_late_record(&clock);
    assert_eq!(evidence.dispatches_logged, 0, "it did not leave");
    evidence.close(clock.utc()).expect("closed");
    assert_eq!(evidence.held_back, 1);
    let entries = ledger(dir.path());
    let [Payload::Dispatch(_), Payload::DispatchAck(told)] = entries.as_slice() else {
        unreachable!("{entries:?}")
    };
    assert_eq!(told.stage, DispatchStage::Failed);
}

/// A ledger in which an admin may grant devices.
fn with_admin(dir: &Path) -> Evidence {
    let key = |n: u8| SecretKey::from_seed(&[n; 32]);
    let parties = [
        ("admin-1", ledger_core::Role::Admin, 2),
        ("controller", ledger_core::Role::Dispatcher, 3),
        ("controller-2", ledger_core::Role::Dispatcher, 4),
    ];
    let universe = Universe {
        version: ledger_core::universe::UNIVERSE_VERSION,
        suite: ledger_core::universe::Suite::Sha3Secp256k1,
        name: "lab".to_owned(),
        created_utc_ns: 1,
        shard_bits: 0,
        nodes: vec![NodeMember {
            name: NODE.to_owned(),
            key: key(1).public(),
        }],
        parties: parties
            .map(|(name, role, n)| Party {
                name: name.to_owned(),
                roles: vec![role],
                key: key(n).public(),
            })
            .to_vec(),
        federation: None,
    };
    let keys = parties
        .iter()
        .fold(Keyring::new(NODE, key(1)), |ring, (name, _, n)| {
            ring.with_party(name, key(*n))
        });
    let log = NodeLog::create(dir, &universe, keys, Durability::Buffered).expect("a log");
    Evidence::of(Log::Here(Box::new(log)))
}

#[test]
fn a_controller_whose_device_was_granted_to_another_may_not_send_and_may_still_note() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = SystemClock::start();
    let mut evidence = with_admin(dir.path());
    let (names, dispatches) = dispatch();
    let send = |evidence: &mut Evidence| {
        let (utc, now) = (clock.utc(), clock.now());
        evidence.before_release(utc, now, &names, &dispatches, None, Duration::MAX)
    };
    assert!(send(&mut evidence).is_ok());
    let universe = ledger_node::entries(dir.path()).expect("a log");
    let id = universe.universe().id().expect("it keeps the rules");
    let standby = universe.universe().party("controller-2").expect("a party");
    let grant = Payload::AuthorityGrant(payload::AuthorityGrant {
        issuer: ledger_core::Address::of_key(&id, &standby.key),
        device: "ess1".to_owned(),
        authority_epoch: 2,
    });
    let drafts = vec![evidence.draft("admin-1", grant)];
    evidence.append(clock.utc(), drafts, None).expect("granted");
    let why = "`ess1`: authority epoch 1 is below 2".to_owned();
    assert_eq!(send(&mut evidence), Err(NotDurable::Fenced(why)));
    assert_eq!(evidence.dispatches_logged, 1);
    let mode = mode_change(model::Mode::GridConnected, model::Mode::Islanded, "asked");
    let drafts = vec![evidence.draft(CONTROLLER, mode)];
    assert_eq!(evidence.note(clock.utc(), drafts), Ok(()));
    evidence.close(clock.utc()).expect("closed");
    let kinds: Vec<&str> = ledger(dir.path()).iter().map(|p| p.kind().name()).collect();
    assert_eq!(kinds, ["dispatch", "authority-grant", "mode"]);
}

#[test]
fn in_virtual_time_facts_wait_for_a_record_or_a_second_and_keep_their_order() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = crate::clock::SimClock::start();
    let mut evidence =
        Evidence::create(dir.path(), "test", &[], KeySource::Seed(7), &clock).expect("a ledger");
    let at = |ms: i64| UtcTime::from_unix_nanos(1_000_000_000_000 + ms * 1_000_000);
    let note = |evidence: &mut Evidence, ms: i64, why: &str| {
        let mode = mode_change(model::Mode::GridConnected, model::Mode::Islanded, why);
        let drafts = vec![evidence.draft(CONTROLLER, mode)];
        evidence.note(at(ms), drafts).expect("taken");
        ledger(dir.path()).len()
    };
    assert_eq!(note(&mut evidence, 0, "a"), 0);
    assert_eq!(note(&mut evidence, 999, "b"), 0);
    // A second has passed since the first.
    assert_eq!(note(&mut evidence, 1000, "c"), 3);
    assert_eq!(evidence.clock, 3);
    assert_eq!(note(&mut evidence, 1100, "d"), 3);
    // What is waited for takes them along.
    let document = evidence.draft(CONTROLLER, document("rig", b"", "e"));
    let receipts = evidence
        .append(at(1200), vec![document], None)
        .expect("appended");
    assert_eq!((receipts.len(), receipts[0].clock), (1, 5));
    // A wall clock that was stepped back keeps nobody waiting for long.
    assert_eq!(note(&mut evidence, 1300, "f"), 5);
    assert_eq!(note(&mut evidence, -10_000, "g"), 7);
    assert_eq!(note(&mut evidence, -9_900, "h"), 7);
    evidence.close(at(0)).expect("closed");
    let told: Vec<String> = ledger(dir.path())
        .into_iter()
        .map(|payload| match payload {
            Payload::Mode(mode) => mode.reason,
            Payload::Config(config) => config.note,
            other => unreachable!("{other:?}"),
        })
        .collect();
    assert_eq!(told, ["a", "b", "c", "d", "e", "f", "g", "h"]);
}
