//! The bus against a hand-written device, in virtual time.

mod fake;

use std::sync::Mutex;

use model::{Point, PointSample, Reading, UtcTime};
use profile::modbus::*;
use quantities::{ActivePower, ReactivePower};

use super::*;
use crate::{BusReport, PollPeriods};
use fake::{Deed, Heard, Shared, fake, serve};

const MS: Duration = Duration::from_millis(1);
const NOW: Deed = Deed::After(Duration::ZERO);

struct TestClock(tokio::time::Instant);

impl Clock for TestClock {
    fn now(&self) -> Instant {
        Instant::START + self.0.elapsed()
    }
    fn utc(&self) -> UtcTime {
        UtcTime::default()
    }
}

#[derive(Default)]
struct Seen {
    samples: Mutex<Vec<PointSample>>,
    events: Mutex<Vec<LinkEvent>>,
}

impl Sink for Seen {
    fn sample(&self, sample: PointSample) {
        self.samples.lock().expect("sound").push(sample);
    }
    fn event(&self, event: LinkEvent) {
        self.events.lock().expect("sound").push(event);
    }
}

impl Seen {
    fn good(&self, device: u16, point: Point) -> Vec<f64> {
        let samples = self.samples.lock().expect("sound");
        let of = samples
            .iter()
            .filter(|s| (s.device.0, s.point) == (device, point));
        of.filter_map(|s| s.sample.reading.good()).collect()
    }
    fn latest(&self, device: u16, point: Point) -> Option<Reading<f64>> {
        let samples = self.samples.lock().expect("sound");
        let of = samples
            .iter()
            .rev()
            .find(|s| (s.device.0, s.point) == (device, point));
        of.map(|s| s.sample.reading)
    }
    fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        for sample in self.samples.lock().expect("sound").iter() {
            if let Reading::Bad(flaw) = sample.sample.reading
                && !flaws.contains(&flaw)
            {
                flaws.push(flaw);
            }
        }
        flaws
    }
    fn events(&self) -> Vec<LinkEvent> {
        self.events.lock().expect("sound").clone()
    }
    fn notices(&self) -> Vec<String> {
        let texts = self.events().into_iter().filter_map(|e| match e {
            LinkEvent::Notice { text, .. } => Some(text),
            _ => None,
        });
        texts.collect()
    }
    /// The stages and misses of a dispatch, in words.
    fn fate(&self, dispatch: u64) -> Vec<String> {
        let fates = self.events().into_iter().filter_map(|e| match e {
            LinkEvent::Confirmed {
                dispatch: d, stage, ..
            } if d.0 == dispatch => Some(format!("{stage:?}")),
            LinkEvent::Missed {
                dispatch: d,
                stage,
                why,
                ..
            } if d.0 == dispatch => Some(format!("missed {stage:?}: {why}")),
            _ => None,
        });
        fates.collect()
    }
}

fn holding(address: u16) -> Address {
    Address::Fixed {
        table: Table::Holding,
        address,
    }
}

fn u16_plain() -> Encoding {
    Encoding {
        data: DataType::U16,
        order: WordOrder::BigFirst,
        factor: 1.0,
        scale: None,
        not_implemented: None,
    }
}

fn point(point: Point, address: u16) -> RegisterPoint {
    RegisterPoint {
        point,
        address: holding(address),
        encoding: u16_plain(),
        range: (-1e9, 1e9),
        poll: Poll::Fast,
    }
}

/// Each point one register at 100 times its number: no two share a block, all blocks look alike.
fn meter() -> ModbusProfile {
    let points = [
        Point::ActivePower,
        Point::ReactivePower,
        Point::VoltageL1,
        Point::Frequency,
    ];
    ModbusProfile {
        unit: 1,
        timeout: 100 * MS,
        min_gap: Duration::ZERO,
        late_window: 200 * MS,
        connect_delay: Duration::ZERO,
        max_regs: 125,
        max_gap: 4,
        serial: None,
        layout: Layout::Fixed,
        identify: None,
        points: (1..).zip(points).map(|(i, p)| point(p, 100 * i)).collect(),
        controls: Vec::new(),
    }
}

/// A meter that also takes a power setpoint at 500 and an optional reactive one at 510.
fn inverter() -> ModbusProfile {
    let control = |point, address, refresh| Control {
        point,
        fields: vec![Field {
            address: holding(address),
            encoding: Encoding {
                data: DataType::I16,
                ..u16_plain()
            },
            value: FieldValue::Setpoint,
        }],
        readback: Readback {
            field: 0,
            tolerance: 1.0,
        },
        range: None,
        refresh,
        safe: 0.0,
        comms_loss: CommsLoss::Holds,
    };
    ModbusProfile {
        controls: vec![
            control(Point::ActivePowerSet, 500, None),
            control(Point::ReactivePowerSet, 510, None),
        ],
        ..meter()
    }
}

struct Bench {
    seen: Arc<Seen>,
    stats: Arc<BusStats>,
    orders: mpsc::Sender<Order>,
    clock: Arc<TestClock>,
    task: tokio::task::JoinHandle<()>,
}

impl Bench {
    fn start(rtu: bool, profiles: Vec<ModbusProfile>, fake: &Shared) -> Self {
        let (dial, dialled) = mpsc::unbounded_channel();
        tokio::spawn(serve(Arc::clone(fake), rtu, dialled));
        Self::on(Endpoint::Memory(dial), rtu, profiles)
    }

    fn on(endpoint: Endpoint, rtu: bool, profiles: Vec<ModbusProfile>) -> Self {
        let spec = BusSpec {
            id: "bus".into(),
            endpoint,
            rtu,
            timeout: None,
            min_gap: None,
            seed: 7,
        };
        let devices = (0..).zip(profiles).map(|(i, p)| BusDevice {
            ix: DeviceIx(i),
            id: format!("dev{i}").into(),
            unit: Some(i as u8 + 1),
            profile: Arc::new(profile::Profile {
                id: "test/device".into(),
                title: String::new(),
                version: 1,
                source: Vec::new(),
                protocol: Protocol::Modbus(p),
            }),
            topic: None,
            revert: None,
            poll: PollPeriods {
                fast: 100 * MS,
                normal: 1000 * MS,
                slow: 10_000 * MS,
            },
        });
        let seen = Arc::new(Seen::default());
        let stats = Arc::new(BusStats::default());
        let clock = Arc::new(TestClock(tokio::time::Instant::now()));
        let (orders, jobs) = mpsc::channel(64);
        let bus = Bus::new(
            spec,
            devices.collect(),
            clock.clone(),
            seen.clone(),
            stats.clone(),
        );
        let task = tokio::spawn(drive::<Order>(bus, jobs));
        Self {
            seen,
            stats,
            orders,
            clock,
            task,
        }
    }

    async fn runs(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn order(&self, dispatch: u64, device: u16, setpoint: Setpoint, valid: Duration) {
        self.orders
            .try_send(Order {
                dispatch: DispatchId(dispatch),
                device: DeviceIx(device),
                setpoint,
                valid_until: self.clock.now() + valid,
                urgent: false,
            })
            .expect("room");
    }

    fn report(&self) -> BusReport {
        self.stats.report()
    }

    /// No sample may ever hold the value of another register.
    fn no_wrong_value(&self) -> usize {
        let samples = self.seen.samples.lock().expect("sound");
        let mut good = 0;
        for sample in samples.iter() {
            if let Reading::Good(value) = sample.sample.reading {
                let own = meter()
                    .points
                    .iter()
                    .position(|p| p.point == sample.point)
                    .expect("a point")
                    + 1;
                assert_eq!(value, 100.0 * own as f64, "{sample:?}");
                good += 1;
            }
        }
        good
    }
}

fn power(watts: f64) -> Setpoint {
    Setpoint::Power {
        p: ActivePower::from_watts(watts),
        q: ReactivePower::ZERO,
    }
}

/// Small seeded noise, other than that of the link.
fn noise(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

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
    for rtu in [true, false] {
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
        let bench = Bench::start(rtu, vec![meter()], &device);
        while device.lock().expect("sound").heard.len() < 10_000 {
            bench.runs(1000 * MS).await;
        }
        let good = bench.no_wrong_value();
        assert!(good > 4000, "{good} good values");
        assert!(bench.report().timeouts > 1000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_lags_far_behind_its_late_window_is_told_apart_by_length() {
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
    let bench = Bench::start(true, vec![meter()], &device);
    while device.lock().expect("sound").heard.len() < 5_000 {
        bench.runs(1000 * MS).await;
    }
    let good = bench.no_wrong_value();
    assert!(good > 1000, "{good} good values");
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
    if !rtu && flaw != Flaw::Exception(4) {
        assert!(
            bench.report().reconnects > 10,
            "TCP is only in step on a new connection"
        );
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
async fn a_setpoint_is_written_then_proved_from_the_register() {
    for rtu in [true, false] {
        let device = fake(|_, _| NOW);
        let bench = Bench::start(rtu, vec![inverter()], &device);
        bench.runs(500 * MS).await;
        bench.order(1, 0, power(-2500.0), 1000 * MS);
        bench.runs(500 * MS).await;
        assert_eq!(bench.seen.fate(1), ["Written", "Register"]);
        assert_eq!(
            device.lock().expect("sound").registers[&(1, 500)],
            (-2500_i16).cast_unsigned()
        );
        assert_eq!(device.lock().expect("sound").registers[&(1, 510)], 0);
        bench.order(
            2,
            0,
            Setpoint::Ceiling {
                p: ActivePower::ZERO,
            },
            1000 * MS,
        );
        bench.runs(500 * MS).await;
        let fate = bench.seen.fate(2);
        assert!(fate[0].contains("has no ctl.p_lim"), "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_register_that_does_not_take_the_value_is_told_with_its_numbers() {
    let device = fake(|_, _| NOW);
    device.lock().expect("sound").stubborn = true;
    let bench = Bench::start(false, vec![inverter()], &device);
    bench.runs(500 * MS).await;
    bench.order(1, 0, power(1200.0), 1000 * MS);
    bench.runs(500 * MS).await;
    let fate = bench.seen.fate(1);
    assert_eq!(fate[0], "Written");
    assert!(fate[1].starts_with("missed Register: dev0: ctl.p_set: register 500 holds [500] = 500 W, written was [1200] = 1200 W"), "{fate:?}");
}

#[tokio::test(start_paused = true)]
async fn a_late_setpoint_is_never_written() {
    let device = fake(|_, heard: &Heard| {
        if heard.at.elapsed().is_zero() {
            Deed::Silent
        } else {
            NOW
        }
    });
    let bench = Bench::start(true, vec![inverter()], &device);
    bench.runs(3000 * MS).await;
    bench.order(1, 0, power(700.0), 1500 * MS);
    bench.runs(1000 * MS).await;
    assert_eq!(bench.seen.fate(1), [] as [&str; 0]);
    bench.runs(1000 * MS).await;
    device.lock().expect("sound").rule = Box::new(|_, _| NOW);
    bench.runs(100_000 * MS).await;
    let fate = bench.seen.fate(1);
    assert!(fate.len() == 1 && fate[0].contains("expired"), "{fate:?}");
    let wrote = |h: &Heard| h.function == 16;
    assert!(!device.lock().expect("sound").heard.iter().any(wrote));
    assert_eq!(bench.report().expired, 1);
    assert!(
        !bench.seen.good(0, Point::ActivePower).is_empty(),
        "it came back"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_write_answer_is_tried_again() {
    let mut lost = 2;
    let device = fake(move |_, heard: &Heard| {
        if heard.function == 16 && lost > 0 {
            lost -= 1;
            return Deed::Silent;
        }
        NOW
    });
    let bench = Bench::start(true, vec![inverter()], &device);
    bench.runs(500 * MS).await;
    bench.order(1, 0, power(40.0), 5000 * MS);
    bench.runs(4000 * MS).await;
    assert_eq!(bench.seen.fate(1), ["Written", "Register"]);
}

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
async fn a_gateway_that_does_not_reach_a_device_puts_it_offline_at_once() {
    let device = fake(|_, heard: &Heard| {
        if heard.unit == 2 {
            Deed::Refuse(0x0B)
        } else {
            NOW
        }
    });
    let bench = Bench::start(false, vec![meter(), meter()], &device);
    bench.runs(10_000 * MS).await;
    let asked = device
        .lock()
        .expect("sound")
        .heard
        .iter()
        .filter(|h| h.unit == 2)
        .count();
    assert!((2..=6).contains(&asked), "asked {asked} times");
    assert!(
        bench
            .seen
            .events()
            .contains(&LinkEvent::Offline(DeviceIx(1), Flaw::Exception(0x0B)))
    );
    assert_eq!(bench.report().reconnects, 0, "the link stays");
    assert!(bench.seen.good(0, Point::ActivePower).len() >= 99);
}

/// A SunSpec image: models 1, 120 (nameplate 10 kW), 103 (inverter), 123 (controls).
fn sunspec_image(shared: &Shared) {
    let mut fake = shared.lock().expect("sound");
    let mut put = |a: u16, words: &[u16]| {
        for (i, w) in (0..).zip(words) {
            fake.registers.insert((1, a + i), *w);
        }
    };
    put(40_000, &[0x5375, 0x6E53, 1, 66]);
    put(40_070, &[120, 26]);
    put(40_070 + 3, &[1000, 1]);
    put(40_098, &[103, 50]);
    put(40_098 + 14, &[4321, 0]);
    put(40_150, &[123, 24]);
    put(40_150 + 23, &[0xFFFE]);
    put(40_176, &[0xFFFF, 0]);
}

fn sunspec_profile() -> ModbusProfile {
    let at = |model, offset| Address::Model { model, offset };
    let scaled = |p, address, data, scale, poll| RegisterPoint {
        point: p,
        address,
        encoding: Encoding {
            data,
            scale: Some(scale),
            not_implemented: Some(0x8000),
            ..u16_plain()
        },
        range: (-1e9, 1e9),
        poll,
    };
    let field = |offset, value, scale| Field {
        address: at(123, offset),
        encoding: Encoding {
            scale,
            ..u16_plain()
        },
        value,
    };
    ModbusProfile {
        layout: Layout::SunSpec {
            required: vec![1, 103, 120, 123],
        },
        points: vec![
            scaled(
                Point::RatedActivePower,
                at(120, 3),
                DataType::U16,
                at(120, 4),
                Poll::Once,
            ),
            scaled(
                Point::ActivePower,
                at(103, 14),
                DataType::I16,
                at(103, 15),
                Poll::Fast,
            ),
        ],
        controls: vec![Control {
            point: Point::ActivePowerLimit,
            fields: vec![
                field(
                    5,
                    FieldValue::PercentOf {
                        reference: Point::RatedActivePower,
                        min: 1.0,
                    },
                    Some(at(123, 23)),
                ),
                field(6, FieldValue::Constant(0), None),
                field(7, FieldValue::RevertSeconds, None),
                field(8, FieldValue::Constant(0), None),
                field(9, FieldValue::Constant(1), None),
            ],
            readback: Readback {
                field: 0,
                tolerance: 1.0,
            },
            range: None,
            refresh: None,
            safe: 0.0,
            comms_loss: CommsLoss::Reverts {
                after: Duration::from_secs(20),
            },
        }],
        ..meter()
    }
}

#[tokio::test(start_paused = true)]
async fn a_sunspec_inverter_is_discovered_read_limited_and_kept_alive() {
    let device = fake(|_, _| NOW);
    sunspec_image(&device);
    let bench = Bench::start(false, vec![sunspec_profile()], &device);
    bench.runs(1000 * MS).await;
    assert_eq!(
        bench.seen.latest(0, Point::RatedActivePower),
        Some(Reading::Good(10_000.0))
    );
    assert_eq!(
        bench.seen.latest(0, Point::ActivePower),
        Some(Reading::Good(4321.0))
    );
    let ceiling = |watts| Setpoint::Ceiling {
        p: ActivePower::from_watts(watts),
    };
    bench.order(1, 0, ceiling(5550.0), 1000 * MS);
    bench.runs(500 * MS).await;
    assert_eq!(bench.seen.fate(1), ["Written", "Register"]);
    let writes = |device: &Shared| {
        let fake = device.lock().expect("sound");
        fake.heard
            .iter()
            .filter(|h| h.function == 16)
            .cloned()
            .collect::<Vec<_>>()
    };
    let first = &writes(&device)[0];
    assert_eq!(
        (first.address, first.words.as_slice()),
        (40_155, &[5550, 0, 20, 0, 1][..])
    );
    // Nothing below one per cent, or some inverters go to standby.
    bench.order(2, 0, ceiling(0.0), 1000 * MS);
    bench.runs(500 * MS).await;
    assert_eq!(bench.seen.fate(2), ["Written", "Register"]);
    assert_eq!(writes(&device)[1].words, [100, 0, 20, 0, 1]);
    // The scale is asked for before each write: it may change while the inverter runs.
    device
        .lock()
        .expect("sound")
        .registers
        .insert((1, 40_173), 0xFFFF);
    bench.order(3, 0, ceiling(2000.0), 1000 * MS);
    bench.runs(500 * MS).await;
    assert_eq!(bench.seen.fate(3), ["Written", "Register"]);
    assert_eq!(writes(&device)[2].words[0], 200);
    // Kept alive at half of its revert time.
    bench.runs(31_000 * MS).await;
    assert_eq!(writes(&device).len(), 6);
    assert_eq!(bench.seen.notices(), [] as [&str; 0]);
}

fn bundled(id: &str) -> ModbusProfile {
    match &profile::bundled(id).expect("it ships").protocol {
        Protocol::Modbus(profile) => profile.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_bundled_inverter_takes_its_ceiling_in_per_cent_of_its_setting() {
    let device = fake(|_, _| NOW);
    sunspec_image(&device);
    {
        // Model 121 (setting 8 kW) before model 123.
        let mut fake = device.lock().expect("sound");
        let put = [(40_150, 121), (40_151, 30), (40_152, 800), (40_172, 1)];
        fake.registers.extend(put.map(|(a, w)| ((1, a), w)));
        let put = [
            (40_182, 123),
            (40_183, 24),
            (40_205, 0xFFFE),
            (40_208, 0xFFFF),
            (40_209, 0),
        ];
        fake.registers.extend(put.map(|(a, w)| ((1, a), w)));
    }
    let bench = Bench::start(false, vec![bundled("sunspec/inverter")], &device);
    bench.runs(2000 * MS).await;
    assert_eq!(bench.seen.notices(), [] as [&str; 0]);
    assert_eq!(
        bench.seen.latest(0, Point::RatedActivePower),
        Some(Reading::Good(8000.0))
    );
    assert_eq!(
        bench.seen.latest(0, Point::ActivePower),
        Some(Reading::Good(4321.0))
    );
    bench.order(
        1,
        0,
        Setpoint::Ceiling {
            p: ActivePower::from_watts(6000.0),
        },
        1000 * MS,
    );
    bench.runs(1000 * MS).await;
    assert_eq!(bench.seen.fate(1), ["Written", "Register"]);
    let fake = device.lock().expect("sound");
    let wrote = fake
        .heard
        .iter()
        .find(|h| h.function == 16)
        .expect("a write");
    assert_eq!(
        (wrote.address, wrote.words.as_slice()),
        (40_187, &[7500, 0, 60, 0, 1][..])
    );
}

#[tokio::test(start_paused = true)]
async fn the_bundled_breaker_is_closed_and_proved_from_its_coil() {
    let device = fake(|_, _| NOW);
    let bench = Bench::start(true, vec![bundled("generic/sync-breaker")], &device);
    bench.runs(1000 * MS).await;
    bench.order(1, 0, Setpoint::Switch { on: true }, 1000 * MS);
    bench.runs(1000 * MS).await;
    assert_eq!(bench.seen.fate(1), ["Written", "Register"]);
    assert_eq!(device.lock().expect("sound").registers[&(1, 0)], 1);
}

#[tokio::test(start_paused = true)]
async fn a_bundled_meter_is_identified_and_read_whole() {
    let device = fake(|_, _| NOW);
    let float = |shared: &Shared, address: u16, value: f32| {
        let bits = value.to_bits();
        let mut fake = shared.lock().expect("sound");
        fake.registers.insert((1, address), (bits >> 16) as u16);
        fake.registers.insert((1, address + 1), bits as u16);
    };
    for address in (0..400).step_by(2) {
        float(&device, address, 0.5);
    }
    float(&device, 0x46, 49.98);
    float(&device, 0x34, -1234.5);
    let bench = Bench::start(true, vec![bundled("eastron/sdm630")], &device);
    bench.runs(20_000 * MS).await;
    assert_eq!(
        bench.seen.latest(0, Point::ActivePower),
        Some(Reading::Good(-1234.5))
    );
    assert_eq!(bench.seen.flaws(), []);
    for point in &bundled("eastron/sdm630").points {
        assert!(
            bench.seen.latest(0, point.point).is_some(),
            "{}",
            point.point
        );
    }
    float(&device, 0x34, f32::NAN);
    bench.runs(1000 * MS).await;
    assert_eq!(
        bench.seen.latest(0, Point::ActivePower),
        Some(Reading::Bad(Flaw::NotImplemented))
    );
}

#[tokio::test(start_paused = true)]
async fn a_scale_that_changes_while_running_scales_the_next_value() {
    let device = fake(|_, _| NOW);
    sunspec_image(&device);
    let bench = Bench::start(true, vec![sunspec_profile()], &device);
    bench.runs(1000 * MS).await;
    let rows = [
        (432, 1, Reading::Good(4320.0)),
        (43, 2, Reading::Good(4300.0)),
        (43, 0x8000, Reading::Bad(Flaw::NotImplemented)),
        (0x8000, 1, Reading::Bad(Flaw::NotImplemented)),
        (4321, 0, Reading::Good(4321.0)),
    ];
    for (raw, scale, expected) in rows {
        {
            let mut fake = device.lock().expect("sound");
            fake.registers.insert((1, 40_112), raw);
            fake.registers.insert((1, 40_113), scale);
        }
        bench.runs(300 * MS).await;
        assert_eq!(bench.seen.latest(0, Point::ActivePower), Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_model_is_told_and_its_points_have_no_value() {
    let device = fake(|_, _| NOW);
    sunspec_image(&device);
    device
        .lock()
        .expect("sound")
        .registers
        .insert((1, 40_098), 101);
    let bench = Bench::start(false, vec![sunspec_profile()], &device);
    bench.runs(1000 * MS).await;
    assert_eq!(
        bench.seen.latest(0, Point::ActivePower),
        Some(Reading::Bad(Flaw::Config))
    );
    assert_eq!(
        bench.seen.latest(0, Point::RatedActivePower),
        Some(Reading::Good(10_000.0))
    );
    let notices = bench.seen.notices();
    assert!(
        notices[0].contains("models [103] are required"),
        "{notices:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_reconnect_a_moved_chain_is_walked_again_and_a_known_one_is_not() {
    let device = fake(|_, _| NOW);
    sunspec_image(&device);
    let bench = Bench::start(false, vec![sunspec_profile()], &device);
    let hang_up = |device: &Shared| {
        let mut fake = device.lock().expect("sound");
        fake.heard.clear();
        fake.rule = Box::new(|n, _| if n == 0 { Deed::HangUp } else { NOW });
    };
    bench.runs(1000 * MS).await;
    hang_up(&device);
    bench.runs(2000 * MS).await;
    let count = |device: &Shared, address| {
        device
            .lock()
            .expect("sound")
            .heard
            .iter()
            .filter(|h| h.address == address && h.count == 2)
            .count()
    };
    assert_eq!(
        (
            count(&device, 40_000),
            count(&device, 40_176),
            count(&device, 40_070)
        ),
        (1, 1, 0)
    );
    // A firmware update has put a model in: everything behind it has moved.
    {
        let mut fake = device.lock().expect("sound");
        let words: Vec<_> = (40_098..40_178)
            .map(|a| fake.registers.remove(&(1, a)).unwrap_or(0))
            .collect();
        fake.registers.insert((1, 40_098), 122);
        fake.registers.insert((1, 40_099), 44);
        for (a, w) in (40_144..).zip(words) {
            fake.registers.insert((1, a), w);
        }
    }
    hang_up(&device);
    bench.runs(2000 * MS).await;
    assert_eq!(count(&device, 40_070), 1);
    assert_eq!(
        bench.seen.latest(0, Point::ActivePower),
        Some(Reading::Good(4321.0))
    );
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_another_one_is_neither_believed_nor_written() {
    let device = fake(|_, _| NOW);
    let profile = ModbusProfile {
        identify: Some(Identify {
            address: holding(70),
            encoding: u16_plain(),
            range: (45.0, 65.0),
        }),
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
async fn a_switch_is_a_coil_that_is_set_and_read_back() {
    let coil = Address::Fixed {
        table: Table::Coil,
        address: 3,
    };
    let bit = Encoding {
        data: DataType::Bit,
        ..u16_plain()
    };
    let profile = ModbusProfile {
        points: vec![RegisterPoint {
            address: coil,
            encoding: bit,
            ..point(Point::SwitchOn, 0)
        }],
        controls: vec![Control {
            point: Point::SwitchOn,
            fields: vec![Field {
                address: coil,
                encoding: bit,
                value: FieldValue::Setpoint,
            }],
            ..inverter().controls[0].clone()
        }],
        ..meter()
    };
    for rtu in [true, false] {
        let device = fake(|_, _| NOW);
        let bench = Bench::start(rtu, vec![profile.clone()], &device);
        bench.runs(500 * MS).await;
        assert_eq!(
            bench.seen.latest(0, Point::SwitchOn),
            Some(Reading::Good(0.0))
        );
        bench.order(1, 0, Setpoint::Switch { on: true }, 1000 * MS);
        bench.runs(500 * MS).await;
        assert_eq!(bench.seen.fate(1), ["Written", "Register"]);
        assert_eq!(
            bench.seen.latest(0, Point::SwitchOn),
            Some(Reading::Good(1.0))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_urgent_writes_are_done_before_the_bus_ends() {
    for (dead, expected) in [(false, "Written"), (true, "missed Written")] {
        let device = fake(|_, _| NOW);
        let bench = Bench::start(true, vec![inverter()], &device);
        bench.runs(500 * MS).await;
        if dead {
            device.lock().expect("sound").rule = Box::new(|_, _| Deed::Silent);
        }
        let order = Order {
            dispatch: DispatchId(1),
            device: DeviceIx(0),
            setpoint: power(0.0),
            valid_until: bench.clock.now() + Duration::from_secs(60),
            urgent: true,
        };
        bench.orders.try_send(order).expect("room");
        let Bench {
            seen, orders, task, ..
        } = bench;
        drop(orders);
        let ended = tokio::time::timeout(Duration::from_secs(3), task).await;
        ended.expect("in time").expect("no panic");
        let fate = seen.fate(1);
        assert!(fate[0].starts_with(expected), "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_the_end_has_cut_short_is_told() {
    let device = fake(|_, heard: &Heard| {
        if heard.function == 16 {
            Deed::Silent
        } else {
            NOW
        }
    });
    let slow = ModbusProfile {
        timeout: 30_000 * MS,
        ..inverter()
    };
    let bench = Bench::start(false, vec![slow], &device);
    bench.runs(500 * MS).await;
    bench.order(1, 0, power(3.0), 60_000 * MS);
    bench.runs(500 * MS).await;
    let Bench {
        seen, orders, task, ..
    } = bench;
    drop(orders);
    tokio::time::timeout(Duration::from_secs(3), task)
        .await
        .expect("in time")
        .expect("no panic");
    let fate = seen.fate(1);
    assert_eq!(fate.len(), 1);
    assert!(fate[0].starts_with("missed Written"), "{fate:?}");
}

#[tokio::test(start_paused = true)]
async fn reactive_power_is_written_only_when_it_differs_or_the_device_is_new() {
    let device = fake(|_, _| NOW);
    let bench = Bench::start(false, vec![inverter()], &device);
    let wrote = |device: &Shared| {
        let mut fake = device.lock().expect("sound");
        let heard = std::mem::take(&mut fake.heard);
        heard
            .iter()
            .filter(|h| h.function == 16)
            .map(|h| h.address)
            .collect::<Vec<_>>()
    };
    let rows: [(u64, f64, &[u16]); 4] = [
        (1, 0.0, &[500, 510]),
        (2, 0.0, &[500]),
        (3, 5.0, &[500, 510]),
        (4, 5.0, &[500]),
    ];
    for (dispatch, vars, expected) in rows {
        bench.runs(300 * MS).await;
        let q = ReactivePower::from_vars(vars);
        bench.order(
            dispatch,
            0,
            Setpoint::Power {
                p: ActivePower::from_watts(dispatch as f64),
                q,
            },
            1000 * MS,
        );
        bench.runs(300 * MS).await;
        assert_eq!(wrote(&device), expected, "dispatch {dispatch}");
    }
    device.lock().expect("sound").rule = Box::new(|n, _| if n == 0 { Deed::HangUp } else { NOW });
    bench.runs(1000 * MS).await;
    wrote(&device);
    device.lock().expect("sound").rule = Box::new(|_, _| NOW);
    bench.order(
        5,
        0,
        Setpoint::Power {
            p: ActivePower::ZERO,
            q: ReactivePower::from_vars(5.0),
        },
        1000 * MS,
    );
    bench.runs(300 * MS).await;
    assert_eq!(wrote(&device), [500, 510], "after a reconnect");
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
