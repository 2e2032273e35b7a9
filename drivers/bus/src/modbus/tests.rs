//! The bus against a hand-written device, in virtual time.

mod answers;

mod bundled;
mod fake;
mod identity;
mod links;
mod looking;
mod neighbours;
mod recipes;
mod sunspec;
mod teaching;
mod writes;

use std::sync::Mutex;

use model::{Point, PointSample, Reading, Setpoint, UtcTime};
use profile::modbus::*;
use quantities::{ActivePower, ReactivePower};
use tokio::sync::mpsc;

use super::*;
use crate::{BusReport, Endpoint, KeepAlives, PollPeriods, arming};
use fake::{Deed, Heard, Shared, Stamp, fake, serve};

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
        not_implemented: Patterns::default(),
    }
}

fn point(point: Point, address: u16) -> RegisterPoint {
    RegisterPoint {
        point,
        address: holding(address),
        encoding: u16_plain(),
        range: (-1e9, 1e9),
        poll: Poll::Fast,
        monotonic: false,
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
        write_function: WriteFunction::Multiple,
        layout: Layout::Fixed,
        identify: Vec::new(),
        points: (1..).zip(points).map(|(i, p)| point(p, 100 * i)).collect(),
        controls: Vec::new(),
        heartbeats: Vec::new(),
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
            fields: vec![0],
            tolerance: 1.0,
        },
        range: None,
        ceiling: None,
        floor: None,
        ramp: None,
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
    key: arming::Key<Given>,
    /// There while the bench is armed.
    orders: Option<mpsc::Sender<Given>>,
    clock: Arc<TestClock>,
    task: tokio::task::JoinHandle<()>,
}

impl Bench {
    fn start(rtu: bool, profiles: Vec<ModbusProfile>, fake: &Shared) -> Self {
        Self::serving(framing(rtu), profiles, fake)
    }

    fn serving(framing: Framing, profiles: Vec<ModbusProfile>, fake: &Shared) -> Self {
        let (dial, dialled) = mpsc::unbounded_channel();
        let rtu = matches!(framing, Framing::Rtu { .. });
        tokio::spawn(serve(Arc::clone(fake), rtu, dialled));
        Self::framed(Endpoint::Memory(dial), framing, profiles)
    }

    fn on(endpoint: Endpoint, rtu: bool, profiles: Vec<ModbusProfile>) -> Self {
        Self::framed(endpoint, framing(rtu), profiles)
    }

    fn framed(endpoint: Endpoint, framing: Framing, profiles: Vec<ModbusProfile>) -> Self {
        Self::with_units(endpoint, framing, (1..).zip(profiles).collect())
    }

    fn with_units(
        endpoint: Endpoint,
        framing: Framing,
        profiles: Vec<(u8, ModbusProfile)>,
    ) -> Self {
        let spec = BusSpec {
            id: "bus".into(),
            endpoint,
            framing,
            timeout: None,
            min_gap: None,
            seed: 7,
        };
        let devices = (0..).zip(profiles).map(|(i, (unit, p))| BusDevice {
            ix: DeviceIx(i),
            id: format!("dev{i}").into(),
            unit: Some(unit),
            profile: Arc::new(profile::Profile {
                id: "test/device".into(),
                title: String::new(),
                version: 1,
                source: Vec::new(),
                opt_in: false,
                protocol: Protocol::Modbus(p),
            }),
            topic: None,
            revert: None,
            limits: Vec::new(),
            poll: PollPeriods {
                fast: 100 * MS,
                normal: 1000 * MS,
                slow: 10_000 * MS,
            },
            keep_alives: KeepAlives::default(),
        });
        let seen = Arc::new(Seen::default());
        let devices: Vec<BusDevice> = devices.collect();
        let stats = Arc::new(BusStats::of(devices.iter().map(|d| d.ix)));
        let clock = Arc::new(TestClock(tokio::time::Instant::now()));
        let (key, door) = arming::new();
        let orders = Some(key.open());
        let bus = Bus::new(spec, devices, clock.clone(), seen.clone(), stats.clone());
        let task = tokio::spawn(drive::<Given>(bus, door));
        Self {
            seen,
            stats,
            key,
            orders,
            clock,
            task,
        }
    }

    async fn runs(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn order(&self, dispatch: u64, device: u16, setpoint: Setpoint, valid: Duration) {
        self.give(Order {
            dispatch: DispatchId(dispatch),
            device: DeviceIx(device),
            setpoint,
            valid_until: self.clock.now() + valid,
            urgent: false,
        });
    }

    fn give(&self, given: impl Into<Given>) {
        let orders = self.orders.as_ref().expect("armed");
        orders.try_send(given.into()).expect("room");
    }

    /// First registers of the writes since the last look.
    fn wrote(&self, device: &Shared) -> Vec<u16> {
        let heard = std::mem::take(&mut device.lock().expect("sound").heard);
        let written = heard.iter().filter(|h| h.function == 16);
        written.map(|h| h.address).collect()
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

fn framing(rtu: bool) -> Framing {
    if rtu {
        Framing::Rtu { baud: None }
    } else {
        Framing::Tcp
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
