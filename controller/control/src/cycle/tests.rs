//! The core as a whole, on images written by hand and time that is an argument.

use model::{DeviceSpec, ModeRequest, Point, PointSample, Rating, Reading, RestStep, Sample};
use quantities::{
    ApparentPower, Energy, Frequency, PowerRamp, ReactivePower, StateOfCharge, Voltage,
};

use super::*;
use crate::Settings;

mod deciding;
mod delivery;
mod exchange;
mod hand_over;
mod island;
mod pcc_voltage;
mod safe;
mod secondary_frequency;
mod shedding;
mod sources;
mod tracking;

const PCC: DeviceIx = DeviceIx(0);
const BREAKER: DeviceIx = DeviceIx(1);
const PV: DeviceIx = DeviceIx(2);
const ESS: DeviceIx = DeviceIx(3);
const BAT: DeviceIx = DeviceIx(4);
const PLUG_1: DeviceIx = DeviceIx(5);
const PLUG_2: DeviceIx = DeviceIx(6);

/// A desk: a controller, its image and the time.
struct Desk {
    controller: Controller,
    image: ProcessImage,
    now_ms: u64,
    events: Vec<Event>,
}

fn spec(name: &str, role: Role, lower_kw: f64, upper_kw: f64) -> DeviceSpec {
    DeviceSpec {
        id: name.into(),
        role,
        rating: Rating {
            p: Bounds::between(
                ActivePower::from_kilowatts(lower_kw),
                ActivePower::from_kilowatts(upper_kw),
            ),
            s_max: ApparentPower::from_kilovolt_amperes(upper_kw.abs().max(lower_kw.abs())),
            ramp: PowerRamp::from_watts_per_second(100_000.0),
            soc: Bounds::between(
                StateOfCharge::from_percent(15.0),
                StateOfCharge::from_percent(90.0),
            ),
            capacity: Some(Energy::from_kilowatt_hours(10.0)),
            source: None,
            efficiency: model::Efficiency::LOSSLESS,
            temperature: None,
        },
        shed: None,
        battery: (role == Role::Ess).then_some(BAT),
        takes_power: role == Role::Ess,
        takes_reactive: role == Role::Ess,
        takes_ceiling: role == Role::Pv,
        takes_switch: matches!(role, Role::Breaker | Role::Load),
        safe_p: ActivePower::ZERO,
        safe_on: None,
        forming: model::Forming::Droops,
        sample_age_max: Duration::from_secs(1),
    }
}

/// A grid simulator, last in the rig.
const SOURCE: DeviceIx = DeviceIx(7);

fn source() -> DeviceSpec {
    let mut spec = spec("grid1", Role::Source, 0.0, 0.0);
    spec.rating.source = Some(model::SourceRating {
        f: Bounds::between(Frequency::from_hertz(47.0), Frequency::from_hertz(52.0)),
        v: Bounds::between(Voltage::from_volts(180.0), Voltage::from_volts(260.0)),
        rocof: None,
        slew: None,
        nominal: (Frequency::from_hertz(50.0), Voltage::from_volts(230.0)),
    });
    spec
}

fn hold_source(f: Option<f64>, on: Option<bool>) -> Order {
    Order::Hold {
        device: SOURCE,
        setpoint: Setpoint::Source {
            f: f.map(Frequency::from_hertz),
            v: None,
            phase: None,
            on,
        },
    }
}

impl Desk {
    fn new() -> Self {
        Self::of(|_| ())
    }

    /// The desk with devices that are changed before the controller sees them.
    fn of(change: impl FnOnce(&mut Vec<DeviceSpec>)) -> Self {
        Self::made(|devices, _| change(devices))
    }

    /// The desk with devices and settings that are changed before the controller sees them.
    fn made(change: impl FnOnce(&mut Vec<DeviceSpec>, &mut Settings)) -> Self {
        let mut plug_1 = spec("plug1", Role::Load, -2.0, 0.0);
        plug_1.shed = Some(1);
        let mut plug_2 = spec("plug2", Role::Load, -2.0, 0.0);
        plug_2.shed = Some(2);
        let mut devices = vec![
            spec("pcc", Role::Pcc, -50.0, 50.0),
            spec("brk1", Role::Breaker, -50.0, 50.0),
            spec("pv1", Role::Pv, 0.0, 20.0),
            spec("ess1", Role::Ess, -10.0, 10.0),
            spec("bat1", Role::Battery, -10.0, 10.0),
            plug_1,
            plug_2,
            source(),
        ];
        let mut settings =
            Settings::nominal(Frequency::from_hertz(50.0), Voltage::from_volts(230.0));
        settings.reconnect_delay = Duration::from_secs(5);
        change(&mut devices, &mut settings);
        let image = ProcessImage::unread(devices.len());
        let mut desk = Self {
            controller: Controller::new(Bench { settings, devices }),
            image,
            now_ms: 0,
            events: Vec::new(),
        };
        for (device, point, value) in [
            (PCC, Point::ActivePower, 0.0),
            (PCC, Point::Frequency, 50.0),
            (PCC, Point::VoltageL1, 230.0),
            (BREAKER, Point::SwitchOn, 1.0),
            (BREAKER, Point::GridVoltage, 230.0),
            (BREAKER, Point::GridFrequency, 50.0),
            (PV, Point::ActivePower, 0.0),
            (ESS, Point::ActivePower, 0.0),
            (BAT, Point::StateOfCharge, 0.5),
        ] {
            desk.see(device, point, value);
        }
        desk.orders(&[Order::Arm(true)]);
        desk
    }

    fn see(&mut self, device: DeviceIx, point: Point, value: f64) {
        self.image.observe(PointSample {
            device,
            point,
            sample: Sample {
                measured_at: self.now(),
                reading: Reading::Good(value),
            },
        });
    }

    fn now(&self) -> Instant {
        Instant::START + Duration::from_millis(self.now_ms)
    }

    /// Everything that was seen is seen again, now.
    fn refresh(&mut self) {
        let now = self.now();
        for device in &mut self.image.devices {
            macro_rules! again {
                ($($field:ident),+) => {$(
                    if let Some((_, value)) = device.$field.last_good {
                        device.$field.observe(Sample { measured_at: now, reading: Reading::Good(value) });
                    }
                )+};
            }
            again!(p, q, v, f, soc, switch_on, grid_v, grid_f);
        }
    }

    fn orders(&mut self, orders: &[Order]) -> Outcome {
        self.step(Rhythm::Supervisory, orders)
    }

    fn step(&mut self, rhythm: Rhythm, orders: &[Order]) -> Outcome {
        self.now_ms += if rhythm == Rhythm::Fast { 20 } else { 100 };
        self.refresh();
        self.image.taken_at = self.now();
        let outcome = self
            .controller
            .step(self.now(), rhythm, &self.image.clone(), orders);
        self.events.extend(outcome.events.iter().cloned());
        outcome
    }

    /// Runs for a time; the last setpoint of each device.
    fn run(&mut self, seconds: f64) -> BTreeMap<DeviceIx, (Setpoint, Function)> {
        let mut last = BTreeMap::new();
        for _ in 0..(seconds * 10.0) as usize {
            for dispatch in self.orders(&[]).dispatches {
                last.insert(
                    dispatch.device,
                    (dispatch.setpoint.get(), dispatch.function),
                );
            }
        }
        last
    }

    fn mode(&self) -> Mode {
        self.controller.mode.mode()
    }
}

fn kw(setpoint: Setpoint) -> f64 {
    match setpoint {
        Setpoint::Power { p, .. } | Setpoint::Ceiling { p } => p.as_kilowatts(),
        Setpoint::Switch { on } => f64::from(u8::from(on)),
        Setpoint::Source { .. } => unreachable!("a source moves no power"),
    }
}

fn schedule(pcc_kw: f64, ess_kw: f64) -> Order {
    Order::Schedule(Schedule {
        interval: 1,
        from: Instant::START,
        until: Instant::START + Duration::from_secs(900),
        price_mc_per_kwh: Some(20_000),
        pcc: Some(ActivePower::from_kilowatts(pcc_kw)),
        devices: vec![(ESS, ActivePower::from_kilowatts(ess_kw))],
        ceilings: Vec::new(),
    })
}

#[test]
fn an_import_above_the_committed_exchange_is_met_with_discharge() {
    let mut desk = Desk::new();
    desk.see(PCC, Point::ActivePower, 3_000.0);
    desk.orders(&[schedule(1.0, 0.5)]);
    let last = desk.run(1.0);
    let (setpoint, function) = last[&ESS];
    assert_eq!(function, Function::PccTracking);
    assert!(kw(setpoint) > 2.0 && kw(setpoint) < 3.0, "{setpoint:?}");
}

#[test]
fn without_a_meter_at_the_coupling_the_schedule_is_followed_as_it_is() {
    let mut desk = Desk::new();
    desk.image.devices[PCC.index()].p = model::Signal::unread();
    desk.orders(&[schedule(1.0, 0.5)]);
    // The ramp lets it through within a period.
    desk.run(0.2);
    let last = desk.run(1.0);
    assert!(last.is_empty(), "nothing has changed since: {last:?}");
    assert_eq!(sent_power(&desk.controller.sent, ESS).as_kilowatts(), 0.5);
}

#[test]
fn a_frequency_fall_is_answered_on_the_fast_path() {
    let mut desk = Desk::new();
    desk.see(PCC, Point::Frequency, 49.5);
    let outcome = desk.step(Rhythm::Fast, &[]);
    let [dispatch] = outcome.dispatches.as_slice() else {
        unreachable!("{outcome:?}")
    };
    assert_eq!(dispatch.function, Function::FrequencyDroop);
    assert!(dispatch.urgent);
    // The ramp lets through what its time allows, then (0.5 - 0.03) Hz of 2 Hz at 10 kW.
    desk.run(1.0);
    let sent = sent_power(&desk.controller.sent, ESS).as_kilowatts();
    assert!((sent - 10.0 * 0.47 / 2.0).abs() < 0.06, "{sent} kW");
}

#[test]
fn a_storage_that_nobody_asks_any_more_comes_to_rest() {
    let mut desk = Desk::new();
    desk.see(PCC, Point::Frequency, 49.5);
    desk.run(1.0);
    assert!(sent_power(&desk.controller.sent, ESS) > ActivePower::ZERO);
    desk.see(PCC, Point::Frequency, 50.0);
    let last = desk.run(1.0);
    assert_eq!(last[&ESS].1, Function::Idle);
    assert_eq!(sent_power(&desk.controller.sent, ESS), ActivePower::ZERO);
}

#[test]
fn the_first_hold_after_arming_or_after_a_lost_one_moves_from_where_the_device_is() {
    let hold = |kw: f64| Order::Hold {
        device: ESS,
        setpoint: Setpoint::Power {
            p: ActivePower::from_kilowatts(kw),
            q: ReactivePower::ZERO,
        },
    };
    let mut desk = Desk::of(|devices| {
        devices[ESS.index()].rating.ramp = quantities::PowerRamp::from_watts_per_second(10_000.0);
    });
    desk.see(ESS, Point::ActivePower, 3_000.0);
    desk.run(5.0);
    let first = desk.orders(&[hold(8.0)]);
    let sent = |outcome: &crate::Outcome| {
        let own = outcome.dispatches.iter().find(|d| d.device == ESS);
        kw(own.expect("sent").setpoint.get())
    };
    assert!(
        sent(&first) <= 4.0 + 1e-9,
        "1 kW per period from 3 kW: {}",
        sent(&first)
    );
    desk.run(3.0);
    let lost = desk.orders(&[Order::Forget { device: ESS }]);
    assert!(
        sent(&lost) <= 4.0 + 1e-9,
        "from 3 kW again: {}",
        sent(&lost)
    );
}

#[test]
fn what_an_operator_holds_is_limited_like_everything_else() {
    let mut desk = Desk::new();
    let outcome = desk.orders(&[Order::Hold {
        device: ESS,
        setpoint: Setpoint::Power {
            p: ActivePower::from_kilowatts(99.0),
            q: ReactivePower::ZERO,
        },
    }]);
    let dispatch = outcome
        .dispatches
        .iter()
        .find(|d| d.device == ESS)
        .expect("sent");
    assert!(kw(dispatch.setpoint.get()) <= 10.0);
    assert!(!dispatch.clamped.is_empty());
    let last = desk.run(1.0);
    assert!(last.get(&ESS).is_none_or(|(s, _)| kw(*s) <= 10.0));
}

#[test]
fn nothing_is_sent_before_the_bench_is_armed() {
    let mut desk = Desk::new();
    desk.orders(&[Order::Arm(false)]);
    desk.orders(&[schedule(1.0, 5.0)]);
    assert!(desk.run(1.0).is_empty());
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let outcomes = || {
        let mut desk = Desk::new();
        desk.see(PCC, Point::ActivePower, 2_500.0);
        let mut all = vec![desk.orders(&[schedule(0.5, 1.0)])];
        for f in [50.0, 49.7, 49.2, 50.4] {
            desk.see(PCC, Point::Frequency, f);
            all.push(desk.step(Rhythm::Fast, &[]));
            all.push(desk.orders(&[]));
        }
        all
    };
    assert_eq!(outcomes(), outcomes());
}

#[test]
fn an_order_for_a_device_that_is_not_there_is_refused_with_an_event() {
    let mut desk = Desk::new();
    let outcome = desk.orders(&[Order::Release {
        device: DeviceIx(99),
    }]);
    assert!(matches!(
        outcome.events.as_slice(),
        [Event::OrderRefused { .. }]
    ));
}

fn hold_ess(kw: f64) -> Order {
    Order::Hold {
        device: ESS,
        setpoint: Setpoint::Power {
            p: ActivePower::from_kilowatts(kw),
            q: ReactivePower::ZERO,
        },
    }
}

#[test]
fn the_end_of_a_ramp_is_sent_to_the_last_watt_and_a_wish_that_hardly_moves_is_not() {
    let mut desk = Desk::of(|devices| {
        devices[ESS.index()].rating.ramp = PowerRamp::from_watts_per_second(10_000.0);
    });
    desk.see(ESS, Point::ActivePower, 0.0);
    // Steps of 1 kW, and of what is left less than is worth a message by itself.
    for (wished_kw, sent_kw) in [(4.03, 4.03), (4.06, 4.03), (4.03, 4.03)] {
        desk.orders(&[hold_ess(wished_kw)]);
        desk.run(1.0);
        let sent = sent_power(&desk.controller.sent, ESS).as_kilowatts();
        assert!((sent - sent_kw).abs() < 1e-9, "{wished_kw}: {sent}");
    }
}

#[test]
fn a_device_whose_plug_is_out_is_asked_nothing_and_is_asked_again_when_it_is_back() {
    let mut desk = Desk::new();
    desk.orders(&[hold_ess(2.0)]);
    desk.run(1.0);
    let plug = |out| Order::Unplug { device: ESS, out };
    desk.orders(&[plug(true), hold_ess(4.0)]);
    assert!(!desk.run(2.0).contains_key(&ESS));
    desk.orders(&[plug(false)]);
    assert_eq!(kw(desk.run(1.0)[&ESS].0), 4.0);
}

#[test]
fn a_droop_over_a_loop_slower_than_half_its_margin_is_refused_and_told_once() {
    let mut desk = Desk::new();
    desk.controller.bench.settings.delay_margin = Some(Duration::from_millis(300));
    let answers = |desk: &mut Desk, delay_ms: u64| {
        desk.see(PCC, Point::Frequency, 50.0);
        desk.orders(&[Order::LoopDelay(Duration::from_millis(delay_ms))]);
        desk.run(1.0);
        desk.see(PCC, Point::Frequency, 49.5);
        desk.run(1.0);
        sent_power(&desk.controller.sent, ESS).as_kilowatts() > 1.0
    };
    assert!(answers(&mut desk, 150));
    assert!(!answers(&mut desk, 151));
    assert!(answers(&mut desk, 100));
    let told = |word: &str| {
        let of = |e: &&Event| matches!(e, Event::Noticed { text, .. } if text.contains(word));
        desk.events.iter().filter(of).count()
    };
    assert_eq!(
        (told("R062"), told("fast enough")),
        (1, 1),
        "{:?}",
        desk.events
    );
}

#[test]
fn a_storage_that_is_held_is_stopped_when_its_battery_is_empty_though_nobody_asks_anew() {
    let mut desk = Desk::new();
    desk.orders(&[hold_ess(2.0)]);
    desk.run(2.0);
    assert_eq!(sent_power(&desk.controller.sent, ESS).as_kilowatts(), 2.0);
    desk.see(BAT, Point::StateOfCharge, 0.05);
    let last = desk.run(0.5);
    assert_eq!(kw(last[&ESS].0), 0.0, "{last:?}");
    assert!(desk.run(1.0).is_empty(), "and told once");
}

#[test]
fn a_frozen_frequency_meter_is_outvoted_by_two_that_agree_and_by_no_single_one() {
    // Storage and photovoltaics, and what is believed; the meter at the coupling stays at 50 Hz.
    let rows = [
        (Some(49.5), Some(49.52), 49.5),
        (Some(49.5), Some(49.7), 50.0),
        (Some(49.5), None, 50.0),
        (Some(49.95), Some(49.94), 50.0),
    ];
    for (ess, pv, believed) in rows {
        let mut desk = Desk::new();
        for (device, f) in [(ESS, ess), (PV, pv)] {
            if let Some(f) = f {
                desk.see(device, Point::Frequency, f);
            }
        }
        let seen = desk
            .step(Rhythm::Supervisory, &[])
            .estimate
            .f
            .expect("seen");
        assert!(
            (seen.as_hertz() - believed).abs() < 1e-9,
            "{ess:?} {pv:?}: {seen}"
        );
    }
}

#[test]
fn a_characteristic_is_let_through_while_the_bench_is_armed_and_not_at_rest() {
    let wish = model::Characteristic::VoltVar(vec![(0.92, 0.44), (1.08, -0.44)]);
    let adopt = |device: DeviceIx, characteristic: &model::Characteristic| Order::Adopt {
        device,
        characteristic: characteristic.clone(),
        revert: Some(Duration::from_secs(60)),
    };
    let check = |before: &[Order], order: Order, refused: Option<&str>| {
        let mut desk = Desk::new();
        desk.orders(before);
        let outcome = desk.orders(&[order]);
        let why = outcome.events.iter().find_map(|event| match event {
            Event::NotAdopted { why, .. } => Some(why.as_str()),
            _ => None,
        });
        assert_eq!(outcome.adoptions.len(), usize::from(refused.is_none()));
        assert!(
            why.unwrap_or_default()
                .contains(refused.unwrap_or_default()),
            "{why:?}"
        );
        // It is for one step.
        assert!(desk.orders(&[]).adoptions.is_empty());
    };
    check(&[], adopt(PV, &wish), None);
    check(&[], adopt(ESS, &wish), None);
    check(
        &[],
        adopt(PLUG_1, &wish),
        Some("cannot take this kind of setpoint"),
    );
    check(&[Order::Arm(false)], adopt(PV, &wish), Some("not armed"));
    check(
        &[Order::Mode(ModeRequest::Safe)],
        adopt(PV, &wish),
        Some("safe mode"),
    );
    let steep = model::Characteristic::VoltVar(vec![(0.92, 1.4)]);
    check(&[], adopt(PV, &steep), Some("must lie in"));
}
