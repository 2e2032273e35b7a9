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
mod pcc_voltage;

mod secondary_frequency;
mod shedding;
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
fn a_breaker_seen_closed_means_grid_connected_and_seen_open_means_an_island() {
    let mut desk = Desk::new();
    assert_eq!(desk.mode(), Mode::GridConnected);
    desk.see(BREAKER, Point::SwitchOn, 0.0);
    desk.orders(&[]);
    assert_eq!(desk.mode(), Mode::Islanding);
    desk.run(4.5);
    assert_eq!(desk.mode(), Mode::Islanded, "stable for the settle time");
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
fn an_island_that_shall_return_slips_past_the_utility() {
    let mut desk = Desk::new();
    desk.see(BREAKER, Point::SwitchOn, 0.0);
    desk.see(ESS, Point::ActivePower, 2_000.0);
    desk.run(12.0);
    assert_eq!(desk.mode(), Mode::Resynchronising);
    let last = desk.run(2.0);
    assert_eq!(last[&ESS].1, Function::Synchronising);
    assert!(
        kw(last[&ESS].0) > 2.0,
        "the reference rises: {:?}",
        last[&ESS]
    );
}

#[test]
fn an_islanded_bus_sheds_the_plugs_one_after_the_other_and_gives_them_back() {
    let mut desk = Desk::new();
    desk.see(BREAKER, Point::SwitchOn, 0.0);
    desk.see(PCC, Point::Frequency, 48.9);
    let first = desk.orders(&[]);
    let shed: Vec<_> = first
        .dispatches
        .iter()
        .filter(|d| d.function == Function::LoadShedding)
        .map(|d| d.device)
        .collect();
    assert_eq!(shed, [PLUG_1], "one block at a time");
    let later = desk.run(0.5);
    assert_eq!(later[&PLUG_2].1, Function::LoadShedding);

    desk.see(PCC, Point::Frequency, 50.0);
    let back = desk.run(12.0);
    assert_eq!(back[&PLUG_1].0, Setpoint::Switch { on: true });
    assert_eq!(back[&PLUG_2].0, Setpoint::Switch { on: true });
    let restored = desk
        .events
        .iter()
        .filter(|e| matches!(e, Event::LoadRestored { .. }))
        .count();
    assert_eq!(restored, 2);
}

#[test]
fn the_market_never_counts_in_an_island() {
    let mut desk = Desk::new();
    desk.orders(&[schedule(1.0, 8.0)]);
    desk.see(BREAKER, Point::SwitchOn, 0.0);
    desk.see(ESS, Point::ActivePower, 1_500.0);
    let last = desk.run(1.0);
    assert_eq!(last[&ESS].1, Function::IslandBalance);
    assert!((kw(last[&ESS].0) - 1.5).abs() < 0.051);
}

#[test]
fn photovoltaics_in_an_island_give_no_more_than_loads_and_charging_take() {
    let mut desk = Desk::new();
    desk.see(BREAKER, Point::SwitchOn, 0.0);
    desk.see(PV, Point::ActivePower, 6_000.0);
    desk.see(ESS, Point::ActivePower, -4_000.0);
    let last = desk.run(1.0);
    // Loads 2 kW and 90 % of 10 kW charging.
    assert!((kw(last[&PV].0) - 11.0).abs() < 0.11, "{:?}", last[&PV]);
    desk.see(BAT, Point::StateOfCharge, 0.95);
    let full = desk.run(1.0);
    assert!((kw(full[&PV].0) - 2.0).abs() < 0.11, "{:?}", full[&PV]);
}

#[test]
fn a_wanted_island_first_brings_the_exchange_to_zero_then_opens_the_breaker() {
    let mut desk = Desk::new();
    desk.see(PCC, Point::ActivePower, 4_000.0);
    desk.orders(&[Order::Mode(ModeRequest::Island)]);
    let first = desk.run(1.0);
    assert!(!first.contains_key(&BREAKER), "not while power flows");
    desk.see(PCC, Point::ActivePower, 100.0);
    let then = desk.run(1.0);
    assert_eq!(then[&BREAKER].0, Setpoint::Switch { on: false });
    // And it stays: no automatic return from an island that was wanted.
    desk.see(BREAKER, Point::SwitchOn, 0.0);
    let stays = desk.run(12.0);
    assert!(!stays.contains_key(&BREAKER));
    desk.orders(&[Order::Mode(ModeRequest::Reconnect)]);
    let back = desk.run(2.0);
    assert_eq!(desk.mode(), Mode::Resynchronising);
    let close = back.get(&BREAKER).map(|b| b.0);
    assert!(close.is_none() || close == Some(Setpoint::Switch { on: true }));
    desk.see(BREAKER, Point::SwitchOn, 1.0);
    desk.run(0.2);
    assert_eq!(desk.mode(), Mode::GridConnected);
}

#[test]
fn an_island_returns_by_itself_when_the_utility_is_healthy_long_enough() {
    let mut desk = Desk::new();
    desk.see(BREAKER, Point::SwitchOn, 0.0);
    desk.see(BREAKER, Point::GridVoltage, 0.0);
    desk.run(10.0);
    assert_eq!(desk.mode(), Mode::Islanded);
    desk.see(BREAKER, Point::GridVoltage, 230.0);
    desk.run(4.5);
    assert_eq!(desk.mode(), Mode::Islanded, "not yet");
    desk.see(BREAKER, Point::SyncAngle, 60.0);
    let waits = desk.run(0.9);
    assert_eq!(desk.mode(), Mode::Resynchronising);
    assert!(
        !waits.contains_key(&BREAKER),
        "the two sides are out of step"
    );
    let refused: Vec<&Event> = desk
        .events
        .iter()
        .filter(|e| matches!(e, Event::SetpointRefused { device, .. } if *device == BREAKER))
        .collect();
    assert_eq!(
        refused.len(),
        1,
        "told once, however its numbers change: {refused:?}"
    );
    desk.see(BREAKER, Point::SyncAngle, 5.0);
    let back = desk.run(0.2);
    assert_eq!(back[&BREAKER].0, Setpoint::Switch { on: true });
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
fn the_safe_mode_brings_storage_and_sun_to_rest_and_is_left_only_on_request() {
    let mut desk = Desk::new();
    desk.orders(&[schedule(1.0, 5.0)]);
    desk.run(1.0);
    desk.orders(&[Order::Mode(ModeRequest::Safe)]);
    desk.run(1.0);
    assert_eq!(desk.mode(), Mode::Safe);
    assert_eq!(sent_power(&desk.controller.sent, ESS), ActivePower::ZERO);
    assert_eq!(
        desk.controller.sent[&PV].1,
        Setpoint::Ceiling {
            p: ActivePower::ZERO
        }
    );
    desk.orders(&[Order::Mode(ModeRequest::Resume)]);
    desk.run(0.5);
    assert_eq!(desk.mode(), Mode::GridConnected);
}

#[test]
fn a_black_start_opens_every_load_before_it_starts_the_storage_and_closes_the_firm_ones_after() {
    const FIRM: DeviceIx = DeviceIx(8);
    let on = Setpoint::Switch { on: true };
    let off = Setpoint::Switch { on: false };
    let mut desk = Desk::of(|devices| {
        devices[ESS.index()].takes_switch = true;
        devices.push(spec("firm1", Role::Load, -1.0, 0.0));
    });
    for plug in [PLUG_1, PLUG_2, FIRM] {
        desk.image.devices[plug.index()].link = model::Link::Online;
        desk.see(plug, Point::SwitchOn, 1.0);
    }
    desk.see(BREAKER, Point::SwitchOn, 0.0);
    desk.see(BREAKER, Point::GridVoltage, 0.0);
    desk.see(PCC, Point::VoltageL1, 0.0);
    let dark = desk.run(2.0);
    assert_eq!(desk.mode(), Mode::Blackout);
    assert_eq!((dark[&PLUG_1].0, dark[&PLUG_2].0), (off, off));
    desk.see(PLUG_1, Point::SwitchOn, 0.0);
    desk.see(PLUG_2, Point::SwitchOn, 0.0);
    assert!(
        desk.run(10.0).get(&ESS).is_none_or(|(s, _)| *s != on),
        "nobody has asked"
    );

    desk.orders(&[Order::Mode(ModeRequest::BlackStart)]);
    let opening = desk.run(3.0);
    assert_eq!(desk.mode(), Mode::BlackStarting);
    assert_eq!(desk.controller.sent[&FIRM].1, off);
    assert!(
        !opening.contains_key(&ESS),
        "a load is still closed: {opening:?}"
    );
    desk.see(FIRM, Point::SwitchOn, 0.0);
    let started = desk.run(0.5);
    assert_eq!(started[&ESS], (on, Function::BlackStart));

    desk.see(PCC, Point::VoltageL1, 230.0);
    let up = desk.run(3.0);
    assert_eq!(desk.mode(), Mode::Islanded);
    assert_eq!(up[&FIRM], (on, Function::BlackStart));
    assert!(
        !up.contains_key(&PLUG_1),
        "what may be shed comes back by itself, later"
    );
    assert_eq!(desk.run(15.0)[&PLUG_1].0, on);
}

#[test]
fn a_black_start_waits_for_a_load_that_answers_and_for_no_other() {
    use model::Link;
    let check = |link: Link, closed: Option<f64>, starts: bool| {
        let mut desk = Desk::of(|devices| devices[ESS.index()].takes_switch = true);
        desk.image.devices[PLUG_1.index()].link = link;
        if let Some(closed) = closed {
            desk.see(PLUG_1, Point::SwitchOn, closed);
        }
        desk.image.devices[PLUG_2.index()].link = Link::Online;
        desk.see(PLUG_2, Point::SwitchOn, 0.0);
        desk.see(BREAKER, Point::SwitchOn, 0.0);
        desk.see(BREAKER, Point::GridVoltage, 0.0);
        desk.see(PCC, Point::VoltageL1, 0.0);
        desk.run(2.0);
        desk.orders(&[Order::Mode(ModeRequest::BlackStart)]);
        desk.run(3.0);
        assert_eq!(desk.mode(), Mode::BlackStarting);
        let on = Setpoint::Switch { on: true };
        let told = desk.controller.last_sent(ESS) == Some(on);
        assert_eq!(told, starts, "{link:?} {closed:?}");
    };
    check(Link::Online, Some(0.0), true);
    check(Link::Online, Some(1.0), false);
    // It answers and does not say: that is not open.
    check(Link::Online, None, false);
    // Nobody has ever heard of it, or not any more: it may hang on the dead bus itself.
    check(Link::Unknown, None, true);
    check(Link::Offline, None, true);
    check(Link::Offline, Some(1.0), true);
}

#[test]
fn a_lost_utility_opens_the_breaker_on_the_fast_path() {
    let mut desk = Desk::new();
    desk.see(BREAKER, Point::GridVoltage, 0.0);
    let mut opened = None;
    for _ in 0..15 {
        let outcome = desk.step(Rhythm::Fast, &[]);
        opened = opened.or(outcome.dispatches.into_iter().find(|d| d.device == BREAKER));
    }
    let dispatch = opened.expect("opened");
    assert_eq!(dispatch.setpoint.get(), Setpoint::Switch { on: false });
    assert_eq!(dispatch.function, Function::Separating);
    assert!(dispatch.urgent);
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

#[test]
fn a_source_is_asked_once_and_once_more_when_somebody_says_it_again() {
    let mut desk = Desk::new();
    let f_of = |outcome: &Outcome| -> Vec<f64> {
        let of_source = outcome.dispatches.iter().filter(|d| d.device == SOURCE);
        of_source
            .filter_map(|d| match d.setpoint.get() {
                Setpoint::Source { f, .. } => f.map(Frequency::as_hertz),
                _ => None,
            })
            .collect()
    };
    assert_eq!(f_of(&desk.orders(&[hold_source(Some(49.5), None)])), [49.5]);
    assert!(desk.run(2.0).is_empty(), "it says nothing new");
    assert_eq!(f_of(&desk.orders(&[hold_source(Some(49.5), None)])), [49.5]);
    assert_eq!(f_of(&desk.orders(&[hold_source(Some(40.0), None)])), [47.0]);
    assert!(desk.run(2.0).is_empty());
    let on = Setpoint::Switch { on: true };
    let outcome = desk.orders(&[Order::Hold {
        device: SOURCE,
        setpoint: on,
    }]);
    let sent = outcome.dispatches.first().expect("sent").setpoint.get();
    assert_eq!(sent, on.for_role(Role::Source), "its switch is its output");
}

#[test]
fn a_source_goes_back_to_nominal_in_the_safe_mode_and_one_never_set_is_not_touched() {
    let nominal = Setpoint::Source {
        f: Some(Frequency::from_hertz(50.0)),
        v: Some(Voltage::from_volts(230.0)),
        phase: None,
        on: None,
    };
    let mut desk = Desk::new();
    desk.orders(&[Order::Mode(ModeRequest::Safe)]);
    assert!(!desk.run(1.0).contains_key(&SOURCE));
    assert!(
        desk.controller
            .rest(desk.now(), "the run ends")
            .iter()
            .all(|d| d.device != SOURCE)
    );

    let mut desk = Desk::new();
    desk.orders(&[hold_source(Some(49.0), Some(true))]);
    desk.run(1.0);
    let safe = desk.orders(&[Order::Mode(ModeRequest::Safe)]);
    let of_source = safe.dispatches.iter().find(|d| d.device == SOURCE);
    let sent = of_source.map(|d| (d.setpoint.get(), d.function));
    assert_eq!(sent, Some((nominal, Function::Safety)));
    assert!(!desk.run(1.0).contains_key(&SOURCE), "once");

    let mut desk = Desk::new();
    desk.orders(&[hold_source(Some(49.0), None)]);
    let rest = desk.controller.rest(desk.now(), "the run ends");
    let of_source = rest.iter().find(|d| d.device == SOURCE).expect("at rest");
    assert_eq!(of_source.setpoint.get(), nominal);
}

#[test]
fn a_load_that_takes_a_setpoint_is_switched_by_nobody_but_its_holder() {
    let mut desk = Desk::new();
    let plug_2 = DeviceIx(6);
    desk.controller.bench.devices[plug_2.index()].takes_power = true;
    desk.controller.sent.clear();
    let sent = desk.run(1.0);
    assert!(
        sent.contains_key(&DeviceIx(5)),
        "the other plug is given back"
    );
    assert!(!sent.contains_key(&plug_2));
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
fn a_safe_end_goes_step_by_step_and_nothing_is_decided_meanwhile() {
    let mut desk = Desk::of(|devices| {
        devices[PLUG_1.index()].safe_on = Some(false);
    });
    let plug_on = Order::Hold {
        device: PLUG_1,
        setpoint: Setpoint::Switch { on: true },
    };
    desk.orders(&[hold_ess(2.0), plug_on]);
    desk.run(2.0);
    let touched: Vec<DeviceIx> = desk.controller.touched().collect();
    assert!(
        touched.contains(&ESS) && touched.contains(&PLUG_1),
        "{touched:?}"
    );
    let plugs = desk.orders(&[Order::Rest(RestStep::Plugs)]);
    let [dispatch] = plugs.dispatches.as_slice() else {
        unreachable!("{plugs:?}")
    };
    assert_eq!(dispatch.setpoint.get(), Setpoint::Switch { on: false });
    assert_eq!(dispatch.why, "the bench comes to rest: plugs");
    assert!(desk.run(1.0).is_empty(), "the storage waits for its step");
    let storages = desk.orders(&[Order::Rest(RestStep::Storages)]);
    assert_eq!(kw(storages.dispatches[0].setpoint.get()), 0.0);
    assert!(desk.run(1.0).is_empty(), "nobody holds anything any more");
    assert!(desk.orders(&[Order::Arm(false)]).dispatches.is_empty());
    desk.orders(&[Order::Arm(true)]);
    assert!(
        desk.run(1.0).contains_key(&ESS),
        "armed anew, it is held again"
    );
}

#[test]
fn the_breaker_is_opened_at_a_safe_end_only_where_the_rig_wants_it() {
    for opens in [false, true] {
        let mut desk = Desk::new();
        desk.controller.bench.settings.safe_opens_breaker = opens;
        let outcome = desk.orders(&[Order::Rest(RestStep::Breaker)]);
        let open = Setpoint::Switch { on: false };
        let opened = outcome
            .dispatches
            .iter()
            .any(|d| d.device == BREAKER && d.setpoint.get() == open);
        assert_eq!(opened, opens);
        let mut desk = Desk::new();
        desk.controller.bench.settings.safe_opens_breaker = opens;
        let outcome = desk.orders(&[Order::EmergencyStop]);
        let opened = outcome
            .dispatches
            .iter()
            .any(|d| d.device == BREAKER && d.setpoint.get() == open);
        assert_eq!(opened, opens, "by an emergency stop");
    }
}

#[test]
fn the_change_to_the_safe_mode_names_what_has_caused_it() {
    let check = |order: Order, cause: &str| {
        let mut desk = Desk::new();
        desk.run(1.0);
        let outcome = desk.orders(&[order]);
        let changes = outcome.events.iter().filter_map(|event| match event {
            Event::ModeChanged { to, why, .. } => Some((*to, why.as_str())),
            _ => None,
        });
        assert_eq!(changes.collect::<Vec<_>>(), [(Mode::Safe, cause)]);
    };
    check(
        Order::EmergencyStop,
        "the emergency stop is not seen closed",
    );
    check(Order::HeartbeatLost, "control had not run for a heartbeat");
    check(Order::Mode(ModeRequest::Safe), "asked for");
}

#[test]
fn in_an_island_the_safe_mode_waits_for_a_storage_that_only_follows_and_not_for_its_former() {
    let check = |forming: model::Forming, sun_after_ms: usize| {
        let mut desk = Desk::of(|devices| devices[ESS.index()].forming = forming);
        desk.see(BREAKER, Point::SwitchOn, 0.0);
        desk.see(ESS, Point::ActivePower, 5_000.0);
        desk.see(PV, Point::ActivePower, 3_000.0);
        desk.run(1.0);
        desk.orders(&[Order::Mode(ModeRequest::Safe)]);
        let dark = Setpoint::Ceiling {
            p: ActivePower::ZERO,
        };
        let steps = (1..30).find(|_| {
            let told = desk.orders(&[]).dispatches;
            told.iter().any(|d| d.setpoint.get() == dark)
        });
        assert_eq!(steps.map(|n| n * 100), Some(sun_after_ms), "{forming:?}");
    };
    check(model::Forming::Droops, 100);
    check(model::Forming::Follows, 1500);
}

/// Who is told what when, in the safe mode, in milliseconds after it was asked for. Devices are at rest
/// 200 ms after they were told, if they come to rest at all, and seen so in the step after.
fn rests(order: &[RestStep], asked: Order, deaf: Option<DeviceIx>) -> Vec<(DeviceIx, u64)> {
    let mut desk = Desk::of(|devices| {
        let mut load = spec("load1", Role::Load, -5.0, 0.0);
        load.takes_power = true;
        devices.push(load);
    });
    const LOAD: DeviceIx = DeviceIx(8);
    let settings = &mut desk.controller.bench.settings;
    settings.safe_opens_breaker = true;
    settings.safe_order = order.to_vec();
    let hold = |device, p| Order::Hold {
        device,
        setpoint: Setpoint::Power {
            p: ActivePower::from_kilowatts(p),
            q: ReactivePower::ZERO,
        },
    };
    let sources = hold_source(Some(49.0), None);
    desk.orders(&[hold(ESS, 5.0), hold(LOAD, -4.0), sources]);
    for (device, point, value) in [
        (ESS, Point::ActivePower, 5_000.0),
        (LOAD, Point::ActivePower, -4_000.0),
        (PV, Point::ActivePower, 3_000.0),
        (SOURCE, Point::Frequency, 49.0),
    ] {
        desk.see(device, point, value);
    }
    desk.run(1.0);
    let began = desk.now_ms + 100;
    let mut told: Vec<(DeviceIx, u64)> = Vec::new();
    for step in 0..100 {
        let now = desk.now_ms;
        for (device, at) in &told {
            if deaf == Some(*device) || now < began + at + 200 {
                continue;
            }
            match *device {
                SOURCE => desk.see(SOURCE, Point::Frequency, 50.0),
                BREAKER => desk.see(BREAKER, Point::SwitchOn, 0.0),
                device => desk.see(device, Point::ActivePower, 0.0),
            }
        }
        let orders = if step == 0 {
            vec![asked.clone()]
        } else {
            vec![]
        };
        for dispatch in desk.orders(&orders).dispatches {
            if told.iter().all(|(device, _)| *device != dispatch.device) {
                told.push((dispatch.device, desk.now_ms - began));
            }
        }
    }
    told
}

#[test]
fn the_safe_mode_goes_in_the_order_of_the_safe_end_and_waits_for_each_step_in_its_time() {
    use RestStep::{Breaker, Loads, Plugs, Pv, Sources, Storages};
    const LOAD: DeviceIx = DeviceIx(8);
    let usual = [Sources, Loads, Storages, Pv, Plugs, Breaker];
    let safe = || Order::Mode(ModeRequest::Safe);
    assert_eq!(
        rests(&usual, safe(), None),
        [
            (SOURCE, 0),
            (LOAD, 300),
            (ESS, 600),
            (PV, 900),
            (BREAKER, 1200)
        ]
    );
    // With the breaker open the storage carries an island, and is waited for no longer than a sample.
    let turned = [Breaker, Pv, Plugs, Storages, Loads, Sources];
    assert_eq!(
        rests(&turned, safe(), None),
        [
            (BREAKER, 0),
            (PV, 300),
            (ESS, 600),
            (LOAD, 700),
            (SOURCE, 1000)
        ]
    );
    // A storage that does not follow has its second and a half.
    assert_eq!(
        rests(&usual, safe(), Some(ESS)),
        [
            (SOURCE, 0),
            (LOAD, 300),
            (ESS, 600),
            (PV, 2100),
            (BREAKER, 2400)
        ]
    );
    // An emergency stop opens the breaker at once, and so leaves an island that the storage carries.
    assert_eq!(
        rests(&usual, Order::EmergencyStop, Some(ESS)),
        [
            (BREAKER, 0),
            (SOURCE, 0),
            (LOAD, 300),
            (ESS, 600),
            (PV, 700)
        ]
    );
}

#[test]
fn the_safe_mode_stops_a_storage_at_once_whatever_its_ramp() {
    let mut desk = Desk::of(|devices| {
        devices[ESS.index()].rating.ramp = quantities::PowerRamp::from_watts_per_second(1_000.0);
    });
    desk.see(ESS, Point::ActivePower, 5_000.0);
    desk.orders(&[hold_ess(5.0)]);
    desk.run(1.0);
    let stopped = desk.orders(&[Order::Mode(ModeRequest::Safe)]);
    let own = stopped
        .dispatches
        .iter()
        .find(|d| d.device == ESS)
        .expect("sent");
    assert_eq!(kw(own.setpoint.get()), 0.0);
    assert!(own.urgent);
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
