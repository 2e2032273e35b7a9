//! Serves the live page with a made-up bench, to look at the page without one.
//!
//! `cargo run -p runtime --example page -- [ADDRESS]`, then open the address it prints. The bench
//! leaves the utility after twenty seconds and comes back, one plug falls silent, and one setpoint
//! is missed, so that every part of the page has something to show. The token is `demo`.

use std::sync::Arc;
use std::time::Duration;

use bus::BusReport;
use control::Estimate;
use model::{
    DeviceIx, Event, Flaw, Function, Instant, Link, Mode, Point, PointSample, ProcessImage,
    Reading, Role, Sample, ServiceIx, ServicePhase, ServiceReport, Setpoint, Stage, UtcTime,
};
use quantities::{ActivePower, Frequency, FrequencyRate, ReactivePower, StateOfCharge, Voltage};
use runtime::view::{
    BusView, Counters, CycleReport, DeviceLabel, LedgerView, LiveView, MarketView, RigView,
    ServiceLabel,
};
use runtime::web::{Access, Hall, Tokens, WebCommand, serve};

/// Devices of the made-up bench: name, role, profile, bus.
const DEVICES: &[(&str, Role, &str, &str)] = &[
    ("met1", Role::Pcc, "eastron/sdm630", "rs1"),
    ("brk1", Role::Breaker, "generic/breaker-io", "lan1"),
    ("inv1", Role::Pv, "sunspec/inverter", "lan1"),
    ("inv2", Role::Pv, "sunspec/inverter", "lan1"),
    ("ess1", Role::Ess, "sunspec/storage", "lan1"),
    ("bat1", Role::Battery, "pylontech/lv-can", "can0"),
    ("plug1", Role::Load, "tasmota/plug", "mq"),
    ("plug2", Role::Load, "shelly/plus-plug", "mq"),
    ("plug3", Role::Load, "tasmota/plug", "mq"),
    ("met2", Role::Meter, "eastron/sdm120", "rs1"),
];
/// 2026-11-22T10:00:00 UTC.
const STARTED: i64 = 1_795_341_600_000_000_000;
const PERIOD: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7070".into());
    let view = Arc::new(LiveView::new(RigView {
        title: "Demo bench".into(),
        rig_path: "rigs/virtual/demo.toml".into(),
        site: "230 V, 50 Hz, 1 phase".into(),
        devices: DEVICES
            .iter()
            .map(|(name, role, profile, bus)| DeviceLabel {
                name: (*name).into(),
                role: *role,
                profile: (*profile).into(),
                bus: (*bus).into(),
                sample_age_max: Duration::from_secs(3),
            })
            .collect(),
        services: vec![
            sold("dc1", "dc", 600.0, 600.0),
            sold("ffr1", "ffr", 200.0, 0.0),
        ],
        buses: ["lan1", "rs1", "can0", "mq"].map(String::from).into(),
        started_utc: UtcTime::from_unix_nanos(STARTED),
        virtual_time: true,
    }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(&address).await?;
        println!("http://{}", listener.local_addr()?);
        let (commands, mut orders) = tokio::sync::mpsc::channel(16);
        let access = Access {
            address: listener.local_addr()?,
            tokens: Tokens::one(Some("demo".into())),
            tls: None,
        };
        let bench = async {
            let mut bench = FakeBench::new(Arc::clone(&view));
            // Four minutes of past, so that the charts are full from the start.
            for _ in 0..2_400 {
                bench.turn();
            }
            let mut ticks = tokio::time::interval(PERIOD);
            loop {
                tokio::select! {
                    _ = ticks.tick() => bench.turn(),
                    Some(command) = orders.recv() => bench.obey(command),
                }
            }
        };
        let hall = Hall {
            view: Arc::clone(&view),
            commands,
            access,
            lease: runtime::lease::Lease::new(Arc::new(runtime::clock::SystemClock::start())),
            alarms: runtime::alarm::Alarms::default(),
            runs: runtime::web::Runs::beside("no-run".into()),
            bids: None,
        };
        tokio::select! {
            () = serve(listener, hall) => {}
            () = bench => {}
        }
        Ok(())
    })
}

/// A service of the storage.
fn sold(name: &str, service: &str, up_w: f64, down_w: f64) -> ServiceLabel {
    ServiceLabel {
        name: name.into(),
        service: service.into(),
        up: ActivePower::from_watts(up_w),
        down: ActivePower::from_watts(down_w),
        devices: vec![DeviceIx(4)],
    }
}

/// A bench that is nothing but some sines.
struct FakeBench {
    view: Arc<LiveView>,
    image: ProcessImage,
    n: u64,
    mode: Mode,
    armed: bool,
    dispatches: u64,
}

impl FakeBench {
    fn new(view: Arc<LiveView>) -> Self {
        let mut image = ProcessImage::unread(DEVICES.len());
        for device in &mut image.devices {
            device.link = Link::Online;
        }
        Self {
            view,
            image,
            n: 0,
            mode: Mode::GridConnected,
            armed: true,
            dispatches: 0,
        }
    }

    fn now(&self) -> Instant {
        Instant::START + PERIOD * u32::try_from(self.n).unwrap_or(u32::MAX)
    }

    fn utc(&self) -> UtcTime {
        UtcTime::from_unix_nanos(STARTED + self.now().as_nanos() as i64)
    }

    fn tell(&self, event: &Event) {
        self.view.event(self.utc(), self.now(), event);
    }

    fn obey(&mut self, command: WebCommand) {
        match command {
            WebCommand::Safe => self.enter(Mode::Safe, "a person asked for it on the page"),
            WebCommand::Arm(armed) => {
                self.armed = armed;
                self.tell(&Event::Armed { armed });
            }
            WebCommand::Mode(_) => self.enter(Mode::GridConnected, "a person asked for it"),
            WebCommand::Hold { device, setpoint } => {
                self.dispatch(device, setpoint, Function::Operator, "a person holds it");
            }
            WebCommand::Release { .. }
            | WebCommand::Agree(_)
            | WebCommand::HandOver { .. }
            | WebCommand::Signal { .. }
            | WebCommand::Baseline { .. } => {}
        }
    }

    fn enter(&mut self, to: Mode, why: &str) {
        let from = std::mem::replace(&mut self.mode, to);
        self.tell(&Event::ModeChanged {
            from,
            to,
            why: why.into(),
        });
    }

    fn dispatch(&mut self, device: DeviceIx, setpoint: Setpoint, function: Function, why: &str) {
        self.dispatches += 1;
        let atom = format!(
            "{:016x}{:016x}",
            self.dispatches.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            self.n
        );
        let clamped = if self.dispatches.is_multiple_of(3) {
            vec!["ramp 500 W/s".to_owned()]
        } else {
            vec![]
        };
        self.tell(&Event::Dispatched {
            device,
            setpoint,
            function,
            why: why.into(),
            clamped,
            ledger_clock: 100 + self.dispatches,
            atom: atom.clone(),
        });
        if self.dispatches % 7 == 5 {
            self.tell(&Event::SetpointMissed {
                device,
                stage: Stage::Register,
                why: "register 0x9c40 still reads 0".into(),
                atom,
            });
        } else {
            self.tell(&Event::SetpointConfirmed {
                device,
                stage: if self.dispatches.is_multiple_of(2) {
                    Stage::Power
                } else {
                    Stage::Register
                },
                after_s: 0.18,
                atom,
            });
        }
    }

    fn say(&mut self, device: usize, point: Point, reading: Reading<f64>, ago: Duration) {
        self.image.observe(PointSample {
            device: DeviceIx(device as u16),
            point,
            sample: Sample {
                measured_at: self.now() - ago,
                reading,
            },
        });
    }

    fn turn(&mut self) {
        self.n += 1;
        let t = self.now().as_seconds();
        match self.n % 1_200 {
            200 => self.enter(Mode::Islanding, "the utility fell to 47.8 Hz"),
            230 => self.enter(Mode::Islanded, "stable for 3 s"),
            600 => self.enter(Mode::Resynchronising, "the utility is healthy for 30 s"),
            650 => self.enter(Mode::GridConnected, "breaker closed at 1.2°, 0.02 Hz"),
            _ => {}
        }
        let islanded = self.mode.is_islanded();
        let wave = |period: f64| (t * std::f64::consts::TAU / period).sin();
        let pv = 1_450.0 + 500.0 * wave(97.0) + 40.0 * wave(3.1);
        let loads = [
            420.0 + 15.0 * wave(5.0),
            800.0 + 300.0 * wave(61.0).signum(),
            260.0,
        ];
        let load: f64 = loads.iter().sum();
        let ess = if islanded {
            load - pv
        } else {
            350.0 * wave(40.0)
        };
        let pcc = if islanded { 0.0 } else { load - pv - ess };
        let f = 50.0
            + if islanded {
                0.12 * wave(9.0)
            } else {
                0.012 * wave(14.0) + 0.004 * wave(1.7)
            };
        let v = 230.0 + 1.5 * wave(33.0) + if islanded { 2.5 } else { 0.0 };
        let soc = 0.55 + 0.1 * wave(400.0);
        let fast = Duration::from_millis(60);
        let rows: Vec<(usize, f64, Option<f64>)> = vec![
            (0, pcc, Some(-120.0)),
            (2, pv * 0.6, Some(90.0 + 40.0 * wave(30.0))),
            (3, pv * 0.4, Some(-30.0)),
            (4, ess, Some(60.0 * wave(21.0))),
            (6, -loads[0], None),
            (7, -loads[1], None),
            (9, -load * 0.4, Some(12.0)),
        ];
        for (device, p, q) in rows {
            self.say(device, Point::ActivePower, Reading::Good(p), fast);
            if let Some(q) = q {
                self.say(device, Point::ReactivePower, Reading::Good(q), fast);
            }
            self.say(device, Point::VoltageL1, Reading::Good(v), fast);
            if q.is_some() {
                self.say(device, Point::Frequency, Reading::Good(f), fast);
            }
        }
        self.say(
            1,
            Point::SwitchOn,
            Reading::Good(f64::from(u8::from(!islanded))),
            fast,
        );
        self.say(
            5,
            Point::StateOfCharge,
            Reading::Good(soc),
            Duration::from_millis(400),
        );
        self.say(6, Point::SwitchOn, Reading::Good(1.0), fast);
        self.say(7, Point::SwitchOn, Reading::Good(1.0), fast);
        // One plug falls silent, one meter fails now and then.
        if t < 200.0 {
            self.say(8, Point::ActivePower, Reading::Good(-loads[2]), fast);
        } else {
            self.say(8, Point::ActivePower, Reading::Bad(Flaw::Offline), fast);
        }
        if self.n == 2_000 {
            self.image.devices[8].link = Link::Offline;
            self.tell(&Event::DeviceOffline {
                device: DeviceIx(8),
                flaw: Flaw::Offline,
            });
        }
        if (self.n / 20).is_multiple_of(3) {
            self.say(
                9,
                Point::ActivePower,
                Reading::Bad(Flaw::Timeout),
                Duration::ZERO,
            );
        }
        self.act(t, ess);
        let watts = ActivePower::from_watts;
        let estimate = Estimate {
            f: Some(Frequency::from_hertz(f)),
            rocof: Some(FrequencyRate::from_hertz_per_second(0.08 * wave(9.0))),
            v: Some(Voltage::from_volts(v)),
            pcc: Some(watts(pcc)),
            pcc_q: None,
            storage: Some(watts(ess)),
            storage_q: None,
            pv: Some(watts(pv)),
            load: Some(watts(load)),
            soc: Some(StateOfCharge::from_fraction(soc)),
            breaker_closed: Some(!islanded),
            grid_f: Some(Frequency::from_hertz(if islanded { 47.9 } else { f })),
            grid_v: Some(Voltage::from_volts(229.4)),
        };
        self.image.taken_at = self.now();
        self.view.cycle(CycleReport {
            n: self.n,
            now: self.now(),
            utc: self.utc(),
            late_ms: 0.12 + 0.1 * wave(2.0),
            took_ms: 0.43,
            mode: self.mode,
            armed: self.armed,
            estimate: &estimate,
            image: &self.image,
            services: &self.services(islanded, 0.6 * ess),
        });
    }

    /// What services would say: the one follows the storage, the other has no reserve for half of the time.
    fn services(&self, islanded: bool, asked_w: f64) -> [ServiceReport; 2] {
        let watts = ActivePower::from_watts;
        let report = |service, phase, asked, up, down, available| ServiceReport {
            service: ServiceIx(service),
            phase,
            asked,
            baseline: (!islanded).then_some(ActivePower::ZERO),
            others: ActivePower::ZERO,
            up,
            down,
            available,
        };
        let none = ActivePower::ZERO;
        if islanded {
            return [0, 1].map(|n| report(n, ServicePhase::Ready, none, none, none, false));
        }
        let phase = match asked_w.abs() {
            p if p > 150.0 => ServicePhase::Holding,
            p if p > 50.0 => ServicePhase::Activating,
            _ => ServicePhase::Ready,
        };
        let full = (self.n / 200).is_multiple_of(2);
        let up = watts(if full { 200.0 } else { 90.0 });
        [
            report(0, phase, watts(asked_w), watts(600.0), watts(600.0), true),
            report(1, ServicePhase::Ready, none, up, none, full),
        ]
    }

    /// What control, market, ledger and buses would say.
    fn act(&mut self, t: f64, ess: f64) {
        if self.n.is_multiple_of(35) && self.mode != Mode::Safe {
            let (function, why) = if self.mode.is_islanded() {
                (Function::IslandBalance, "balance of the island, 49.93 Hz")
            } else {
                (Function::MarketSchedule, "interval 42 committed 350 W")
            };
            let setpoint = Setpoint::Power {
                p: ActivePower::from_watts(ess),
                q: ReactivePower::ZERO,
            };
            self.dispatch(DeviceIx(4), setpoint, function, why);
        }
        if self.n.is_multiple_of(300) {
            let interval = self.n / 300;
            let price = 18_000 + 2_300 * (interval as i64 % 5);
            self.tell(&Event::MarketCleared {
                interval,
                price_mc_per_kwh: Some(price),
                energy_mwh: 41_500,
                trades: 3,
            });
            self.view.market(MarketView {
                interval,
                mechanism: "uniform_k_half".into(),
                price_mc_per_kwh: Some(price),
                energy_mwh: 41_500,
                trades: 3,
                open: None,
                accounts: ["solar-roof", "workshop", "storage-coop", "grid"]
                    .iter()
                    .zip([1.2345, -0.8121, 0.1177, -0.5401])
                    .map(|(name, eur)| ((*name).to_owned(), format!("{eur:+.4} EUR")))
                    .collect(),
                intervals: Vec::new(),
            });
        }
        if self.n.is_multiple_of(10) {
            self.view.ledger(LedgerView {
                clock: 100 + self.dispatches,
                root: format!(
                    "{:064x}",
                    u128::from(self.dispatches).wrapping_mul(0x9e37_79b9_7f4a_7c15_1234_5678)
                ),
                entries: 100 + self.dispatches,
                federation: None,
            });
            let report = |rate: f64, timeouts: u64| BusReport {
                requests: (t * rate) as u64,
                answers: (t * rate) as u64 - timeouts,
                timeouts,
                ..BusReport::default()
            };
            let bus = |name: &str, report: BusReport, busy_percent: f64| BusView {
                name: name.into(),
                report,
                busy_percent,
                devices: Vec::new(),
            };
            self.view.buses(vec![
                bus("lan1", report(50.0, 0), 12.0),
                bus("rs1", report(9.0, (t / 30.0) as u64), 84.0),
                bus("can0", report(70.0, 0), 3.0),
                bus("mq", report(4.0, 0), 1.0),
            ]);
            self.view.counters(Counters {
                cycles: self.n,
                cycles_late: self.n / 900,
                samples: self.n * 31,
                dispatches: self.dispatches,
                dispatches_logged: self.dispatches,
                trades: self.n / 300 * 3,
                telemetry_written: self.n * 29,
                telemetry_lost: 0,
                telemetry_waiting: 0,
                database_lost: 0,
                home_written: 0,
                home_lost: 0,
            });
        }
    }
}
