//! The machine on rows of what is seen, a row a second.

use model::{DeviceSpec, Rating};
use quantities::{ApparentPower, Energy, PowerRamp, StateOfCharge};

use super::*;

const ESS: DeviceIx = DeviceIx(1);

fn spec(name: &str, role: Role, shed: Option<u8>, kw: f64) -> DeviceSpec {
    let p = ActivePower::from_kilowatts(kw);
    DeviceSpec {
        id: name.into(),
        role,
        rating: Rating {
            p: Bounds::between(-p, p),
            s_max: ApparentPower::from_kilovolt_amperes(kw),
            ramp: PowerRamp::from_watts_per_second(1e5),
            soc: Bounds::between(
                StateOfCharge::from_percent(15.0),
                StateOfCharge::from_percent(90.0),
            ),
            capacity: Some(Energy::from_kilowatt_hours(10.0)),
            source: None,
            efficiency: model::Efficiency::LOSSLESS,
            temperature: None,
        },
        shed,
        battery: None,
        takes_power: role == Role::Ess,
        takes_reactive: role == Role::Ess,
        takes_ceiling: false,
        takes_switch: matches!(role, Role::Breaker | Role::Load),
        safe_p: ActivePower::ZERO,
        safe_on: None,
        forming: model::Forming::Droops,
        sample_age_max: Duration::from_secs(1),
    }
}

/// A bench with a breaker, a storage of 10 kW and a plug of 2 kW that can be shed.
struct Desk {
    machine: ModeMachine,
    bench: Bench,
    seen: Estimate,
    able_kw: f64,
    held_open: bool,
    now: Instant,
    events: Vec<Event>,
}

impl Desk {
    fn new() -> Self {
        let mut settings =
            Settings::nominal(Frequency::from_hertz(50.0), Voltage::from_volts(230.0));
        settings.reconnect_delay = Duration::from_secs(5);
        settings.sync_timeout = Duration::from_secs(10);
        Self {
            machine: ModeMachine::default(),
            bench: Bench {
                settings,
                devices: vec![
                    spec("brk1", Role::Breaker, None, 10.0),
                    spec("ess1", Role::Ess, None, 10.0),
                    spec("plug1", Role::Load, Some(1), 2.0),
                ],
            },
            seen: Estimate {
                f: Some(Frequency::from_hertz(50.0)),
                rocof: None,
                v: Some(Voltage::from_volts(230.0)),
                pcc: Some(ActivePower::ZERO),
                pcc_q: None,
                storage: Some(ActivePower::ZERO),
                storage_q: None,
                pv: Some(ActivePower::ZERO),
                load: Some(ActivePower::from_kilowatts(3.0)),
                soc: Some(StateOfCharge::from_percent(50.0)),
                breaker_closed: Some(true),
                grid_f: Some(Frequency::from_hertz(50.0)),
                grid_v: Some(Voltage::from_volts(230.0)),
            },
            able_kw: 10.0,
            held_open: false,
            now: Instant::START,
            events: Vec::new(),
        }
    }

    /// Sees what it sees for a time, ten times a second.
    fn run(&mut self, seconds: f64) -> &mut Self {
        let able = ActivePower::from_kilowatts(self.able_kw);
        let storage = [(ESS, Bounds::between(-able, able))];
        for _ in 0..(seconds * 10.0).round() as usize {
            self.now = self.now + Duration::from_millis(100);
            let look = Look {
                held_open: self.held_open,
                now: self.now,
                seen: &self.seen,
                bench: &self.bench,
                storage: &storage,
            };
            self.machine.advance(&look, &mut self.events);
        }
        self
    }

    fn see(&mut self, change: impl FnOnce(&mut Estimate)) -> &mut Self {
        change(&mut self.seen);
        self
    }

    fn ask(&mut self, request: ModeRequest) -> &mut Self {
        self.machine.ask(request, Asking::Person);
        self.run(0.1)
    }

    fn is(&mut self, mode: Mode) -> &mut Self {
        assert_eq!(self.machine.mode(), mode, "{:#?}", self.events);
        self
    }

    /// Why a request was refused the last time.
    fn refusal_of(&self, of: &str) -> Option<&str> {
        self.events.iter().rev().find_map(|event| match event {
            Event::ModeRefused { request, why, .. } if request == of => Some(why.as_str()),
            _ => None,
        })
    }

    fn coupled() -> Self {
        let mut desk = Self::new();
        desk.run(0.2).is(Mode::GridConnected);
        desk
    }

    fn islanded() -> Self {
        let mut desk = Self::coupled();
        // The utility is away, so that nothing returns by itself.
        desk.see(|s| {
            s.breaker_closed = Some(false);
            s.grid_v = Some(Voltage::ZERO);
        });
        desk.run(3.0).is(Mode::Islanded);
        desk
    }

    fn dark() -> Self {
        let mut desk = Self::islanded();
        desk.see(|s| s.v = Some(Voltage::ZERO));
        desk.run(1.0).is(Mode::Blackout);
        desk
    }
}

fn kw(kw: f64) -> Option<ActivePower> {
    Some(ActivePower::from_kilowatts(kw))
}

#[test]
fn a_planned_island_is_refused_with_the_guard_and_its_numbers() {
    type Change = fn(&mut Desk);
    let rows: &[(Change, &str)] = &[
        (
            |d| d.bench.devices[0].role = Role::Meter,
            "breaker_there: the rig has no coupling breaker",
        ),
        (
            |d| d.able_kw = 0.0,
            "storage_ready: no storage answers that could form the island",
        ),
        (
            |d| d.seen.soc = Some(StateOfCharge::from_percent(18.0)),
            "charge_above_reserve: state of charge 18 %, 20 % is kept for an island",
        ),
        (
            |d| d.seen.soc = None,
            "charge_above_reserve: the state of charge is not known",
        ),
        (
            |d| d.seen.load = kw(12.5),
            "reserve_covers_loads: loads that cannot be shed take 10.5 kW, the storage can give 10.0 kW",
        ),
        (
            |d| d.seen.load = None,
            "reserve_covers_loads: what the loads take is not known",
        ),
    ];
    for (change, expected) in rows {
        let mut desk = Desk::coupled();
        change(&mut desk);
        desk.ask(ModeRequest::Island).is(Mode::GridConnected);
        assert_eq!(desk.refusal_of("island"), Some(*expected));
    }
    // What can be shed need not be carried.
    let mut desk = Desk::coupled();
    desk.see(|s| s.load = kw(11.9))
        .ask(ModeRequest::Island)
        .is(Mode::Leaving);
}

#[test]
fn a_planned_island_opens_from_a_quiet_exchange_only_and_is_given_up_in_time() {
    let mut desk = Desk::coupled();
    desk.see(|s| s.pcc = kw(2.0)).ask(ModeRequest::Island);
    desk.run(20.0).is(Mode::Leaving);
    assert!(!desk.machine.is_opening(), "2 kW are not quiet");
    desk.see(|s| s.pcc = kw(0.4)).run(0.7);
    assert!(desk.machine.is_opening());
    desk.see(|s| s.breaker_closed = Some(false))
        .run(0.1)
        .is(Mode::Islanding);

    let mut desk = Desk::coupled();
    desk.see(|s| s.pcc = kw(2.0)).ask(ModeRequest::Island);
    desk.run(26.0).is(Mode::GridConnected);
    assert!(!desk.machine.is_opening());
}

#[test]
fn a_breaker_that_is_not_seen_open_takes_the_microgrid_back_to_the_grid() {
    let mut desk = Desk::coupled();
    desk.ask(ModeRequest::Island).run(1.0);
    assert!(desk.machine.is_opening());
    desk.run(2.0).is(Mode::Leaving);
    desk.run(1.5).is(Mode::GridConnected);
}

#[test]
fn a_utility_that_is_lost_on_the_way_out_is_left_at_once() {
    let mut desk = Desk::coupled();
    desk.see(|s| s.pcc = None).ask(ModeRequest::Island);
    desk.run(1.0).is(Mode::Leaving);
    assert!(
        !desk.machine.is_opening(),
        "an unknown exchange is not quiet"
    );
    desk.see(|s| s.grid_v = Some(Voltage::ZERO)).run(0.5);
    assert!(desk.machine.is_opening());
}

#[test]
fn who_is_told_to_leave_leaves_in_time_whatever_flows_and_however_poor_the_reserve() {
    let mut desk = Desk::coupled();
    desk.see(|s| {
        s.pcc = kw(9.0);
        s.soc = Some(StateOfCharge::from_percent(16.0));
    });
    desk.ask(ModeRequest::Disconnect).is(Mode::Leaving);
    desk.run(24.0);
    assert!(
        !desk.machine.is_opening(),
        "there is still time to come to rest"
    );
    desk.run(1.2);
    assert!(desk.machine.is_opening());
    desk.run(20.0).is(Mode::Leaving);
    assert!(desk.machine.is_opening(), "it is never given up");
}

#[test]
fn a_lost_utility_opens_the_breaker_at_once_and_an_unknown_one_does_not() {
    type Change = fn(&mut Estimate);
    let rows: &[(&str, Change, bool)] = &[
        ("no voltage", |s| s.grid_v = Some(Voltage::ZERO), true),
        (
            "under-voltage",
            |s| s.grid_v = Some(Voltage::from_volts(150.0)),
            true,
        ),
        (
            "over-voltage",
            |s| s.grid_v = Some(Voltage::from_volts(280.0)),
            true,
        ),
        (
            "low frequency",
            |s| s.grid_f = Some(Frequency::from_hertz(46.9)),
            true,
        ),
        (
            "a dip to 75 %",
            |s| s.grid_v = Some(Voltage::from_volts(172.5)),
            false,
        ),
        (
            "a service's range",
            |s| s.grid_f = Some(Frequency::from_hertz(47.5)),
            false,
        ),
        (
            "nothing known",
            |s| (s.grid_v, s.grid_f, s.v, s.f) = (None, None, None, None),
            false,
        ),
        (
            "a step of 1 Hz",
            |s| s.rocof = Some(quantities::FrequencyRate::from_hertz_per_second(4.0)),
            false,
        ),
    ];
    for (what, change, lost) in rows {
        let mut desk = Desk::coupled();
        desk.see(change).run(0.5);
        let expected = if *lost {
            Mode::Leaving
        } else {
            Mode::GridConnected
        };
        assert_eq!(desk.machine.mode(), expected, "{what}");
        assert_eq!(desk.machine.is_opening(), *lost, "{what}");
    }
    let mut desk = Desk::coupled();
    desk.bench.settings.mains_rocof_max =
        Some(quantities::FrequencyRate::from_hertz_per_second(2.5));
    desk.see(|s| s.rocof = Some(quantities::FrequencyRate::from_hertz_per_second(-4.0)))
        .run(0.5)
        .is(Mode::Leaving);
}

#[test]
fn an_island_without_voltage_is_a_blackout_and_one_with_unknown_voltage_is_not() {
    let mut desk = Desk::islanded();
    desk.see(|s| s.v = None).run(5.0).is(Mode::Islanded);
    desk.see(|s| s.v = Some(Voltage::from_volts(9.0)));
    desk.run(0.4).is(Mode::Islanded);
    desk.run(0.3).is(Mode::Blackout);
}

#[test]
fn a_black_start_needs_an_open_breaker_a_dead_bus_and_a_charged_storage_that_answers() {
    type Change = fn(&mut Desk);
    let rows: &[(Change, &str)] = &[
        (
            |d| d.seen.breaker_closed = Some(true),
            "breaker_open: the coupling breaker is closed",
        ),
        (
            |d| d.seen.breaker_closed = None,
            "breaker_open: the position of the coupling breaker is not known",
        ),
        (
            |d| d.seen.v = Some(Voltage::from_volts(40.0)),
            "bus_dead: the bus stands at 40.0 V",
        ),
        (
            |d| d.seen.v = None,
            "bus_dead: the voltage of the bus is not known",
        ),
        (
            |d| d.able_kw = 0.0,
            "storage_ready: no storage answers that could form the island",
        ),
        (
            |d| d.seen.soc = Some(StateOfCharge::from_percent(10.0)),
            "charge_above_reserve: state of charge 10 %, 20 % is kept for an island",
        ),
    ];
    for (change, expected) in rows {
        let mut desk = Desk::dark();
        change(&mut desk);
        desk.ask(ModeRequest::BlackStart).is(Mode::Blackout);
        assert_eq!(desk.refusal_of("black_start"), Some(*expected));
    }
    let mut desk = Desk::dark();
    desk.ask(ModeRequest::BlackStart).is(Mode::BlackStarting);
    desk.run(5.0).is(Mode::BlackStarting);
    desk.see(|s| s.v = Some(Voltage::from_volts(228.0)))
        .run(2.5)
        .is(Mode::Islanded);
}

#[test]
fn a_bus_that_does_not_come_up_is_a_blackout_again() {
    let mut desk = Desk::dark();
    desk.ask(ModeRequest::BlackStart);
    desk.run(59.0).is(Mode::BlackStarting);
    desk.run(2.0).is(Mode::Blackout);
}

#[test]
fn a_dead_bus_behind_a_closed_breaker_is_no_grid_until_the_utility_is_back() {
    let mut desk = Desk::dark();
    desk.see(|s| s.breaker_closed = Some(true))
        .run(2.0)
        .is(Mode::Blackout);
    let told = |desk: &Desk| {
        desk.events
            .iter()
            .filter(|e| matches!(e, Event::ModeRefused { .. }))
            .count()
    };
    assert_eq!(told(&desk), 1, "told once, not in every cycle");
    desk.see(|s| {
        s.v = Some(Voltage::from_volts(230.0));
        s.grid_v = s.v;
    });
    desk.run(0.1).is(Mode::GridConnected);
}

#[test]
fn an_island_does_not_return_through_a_breaker_that_a_person_holds_open() {
    let mut desk = Desk::islanded();
    desk.held_open = true;
    desk.see(|s| s.grid_v = Some(Voltage::from_volts(230.0)));
    desk.run(20.0).is(Mode::Islanded);
    assert_eq!(
        desk.refusal_of("ReturnWanted"),
        Some("breaker_free: a person holds the coupling breaker open; release it first")
    );
    desk.held_open = false;
    desk.run(0.3).is(Mode::Resynchronising);
    desk.held_open = true;
    desk.run(0.1).is(Mode::Islanded);
}

#[test]
fn an_island_returns_when_the_utility_was_healthy_long_enough_and_a_person_hears_why_not_yet() {
    let mut desk = Desk::islanded();
    desk.ask(ModeRequest::Reconnect);
    assert_eq!(
        desk.refusal_of("ReturnWanted"),
        Some("utility_healthy: the utility has been healthy for 0 s of 5 s")
    );
    desk.see(|s| s.grid_v = Some(Voltage::from_volts(230.0)));
    desk.run(4.9).is(Mode::Islanded);
    desk.run(0.3).is(Mode::Resynchronising);
    desk.run(10.5).is(Mode::Islanded);
    desk.run(5.5).is(Mode::Resynchronising);
    desk.see(|s| s.grid_v = Some(Voltage::from_volts(180.0)))
        .run(0.1)
        .is(Mode::Islanded);
}

#[test]
fn a_request_that_a_mode_cannot_serve_is_refused() {
    let rows = [
        (Desk::coupled(), ModeRequest::Reconnect),
        (Desk::coupled(), ModeRequest::Resume),
        (Desk::coupled(), ModeRequest::BlackStart),
        (Desk::islanded(), ModeRequest::BlackStart),
        (Desk::dark(), ModeRequest::Island),
        (Desk::dark(), ModeRequest::Reconnect),
    ];
    for (mut desk, request) in rows {
        let mode = desk.machine.mode();
        desk.ask(request).is(mode);
        assert_eq!(
            desk.refusal_of(request.name()),
            Some(format!("{mode} has no way there").as_str())
        );
    }
    let mut desk = Desk::coupled();
    desk.ask(ModeRequest::Safe).is(Mode::Safe);
    desk.ask(ModeRequest::Island).is(Mode::Safe);
    desk.ask(ModeRequest::Resume)
        .run(0.1)
        .is(Mode::GridConnected);
}

mod any_order {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Happening {
        Asked(ModeRequest),
        Breaker(Option<bool>),
        BusV(Option<f64>),
        GridV(Option<f64>),
        Exchange(f64),
        Charge(f64),
        Able(f64),
        Time(f64),
    }

    fn happening() -> impl Strategy<Value = Happening> {
        let requests: Vec<_> = ModeRequest::NAMES.iter().map(|(_, r)| *r).collect();
        prop_oneof![
            prop::sample::select(requests).prop_map(Happening::Asked),
            any::<Option<bool>>().prop_map(Happening::Breaker),
            prop::option::of(prop_oneof![Just(0.0), 0.0..300.0]).prop_map(Happening::BusV),
            prop::option::of(prop_oneof![Just(0.0), Just(230.0), 0.0..300.0])
                .prop_map(Happening::GridV),
            (-12.0..12.0).prop_map(Happening::Exchange),
            (0.0..100.0).prop_map(Happening::Charge),
            prop_oneof![Just(0.0), Just(10.0)].prop_map(Happening::Able),
            (0.1..40.0).prop_map(Happening::Time),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_every_step_is_in_the_table_and_safe_can_always_be_reached(
            happenings in prop::collection::vec(happening(), 1..60)
        ) {
            let mut desk = Desk::new();
            for what in happenings {
                match what {
                    Happening::Asked(request) => { desk.ask(request); }
                    Happening::Breaker(closed) => desk.seen.breaker_closed = closed,
                    Happening::BusV(v) => desk.seen.v = v.map(Voltage::from_volts),
                    Happening::GridV(v) => desk.seen.grid_v = v.map(Voltage::from_volts),
                    Happening::Exchange(p) => desk.seen.pcc = kw(p),
                    Happening::Charge(soc) => desk.seen.soc = Some(StateOfCharge::from_percent(soc)),
                    Happening::Able(p) => desk.able_kw = p,
                    Happening::Time(seconds) => { desk.run(seconds); }
                }
                desk.run(0.1);
                prop_assert!(!desk.machine.is_opening() || desk.machine.mode() == Mode::Leaving);
                let mut ahead = desk.machine.clone();
                let look = Look { now: desk.now, held_open: false, seen: &desk.seen, bench: &desk.bench, storage: &[] };
                ahead.ask(ModeRequest::Safe, Asking::Person);
                ahead.advance(&look, &mut Vec::new());
                prop_assert_eq!(ahead.mode(), Mode::Safe);
            }
            let mut at = Mode::Starting;
            for event in &desk.events {
                if let Event::ModeChanged { from, to, .. } = event {
                    prop_assert_eq!(*from, at);
                    let in_table = table::TABLE.iter().any(|row| row.from == *from && row.to == *to);
                    prop_assert!(in_table, "{} -> {}", from, to);
                    at = *to;
                }
            }
        }
    }
}
