//! Services delivered by what is told no power: loads with a switch, and the sun under a ceiling.

use super::*;

/// The sun beside the two storages, up to 20 kW, and an inverter that is left free, up to 10 kW.
const FREE: DeviceIx = DeviceIx(9);
/// What the free one gives of its rating is what the other could.
const PV_KW: f64 = 20.0;

/// A bench that does what it is told: the storages, two plugs of 2 kW, the sun.
struct Yard {
    fleet: Fleet,
    /// Power of the sun, as a share of the rating.
    sun: f64,
    /// Plugs whose switch is stuck.
    stuck: Vec<DeviceIx>,
    switchings: usize,
}

impl Yard {
    fn with(services: Vec<ServiceSpec>) -> Self {
        let desk = Desk::made(|devices, settings| {
            devices.push(spec("ess2", Role::Ess, -5.0, 5.0));
            devices.push(spec("pv9", Role::Pv, 0.0, 10.0));
            settings.services = services;
        });
        let mut yard = Self {
            fleet: Fleet {
                desk,
                stuck: Vec::new(),
            },
            sun: 0.5,
            stuck: Vec::new(),
            switchings: 0,
        };
        for plug in [PLUG_1, PLUG_2] {
            yard.put(plug, true);
        }
        yard.fleet.desk.see(ESS_2, Point::ActivePower, 0.0);
        yard.fleet.desk.see(ESS_2, Point::StateOfCharge, 0.5);
        yard.run(1.0, &[]);
        yard.switchings = 0;
        yard
    }

    fn put(&mut self, plug: DeviceIx, on: bool) {
        let desk = &mut self.fleet.desk;
        desk.see(plug, Point::SwitchOn, f64::from(u8::from(on)));
        desk.see(plug, Point::ActivePower, if on { -2000.0 } else { 0.0 });
    }

    fn run(&mut self, seconds: f64, orders: &[Order]) -> Outcome {
        let mut outcome = self.fleet.run(0.1, orders);
        for _ in 1..(seconds * 10.0).round() as usize {
            self.obey();
            outcome = self.fleet.run(0.1, &[]);
        }
        self.obey();
        outcome
    }

    fn obey(&mut self) {
        for plug in [PLUG_1, PLUG_2] {
            let seen = self.fleet.desk.image.devices[plug.index()].switch_on;
            let was = seen.last_good.is_some_and(|(_, on)| on);
            let on = match self.fleet.desk.controller.last_sent(plug) {
                Some(Setpoint::Switch { on }) if !self.stuck.contains(&plug) => on,
                _ => was,
            };
            self.switchings += usize::from(on != was);
            self.put(plug, on);
        }
        let there = self.sun * PV_KW;
        let most = match self.fleet.desk.controller.last_sent(PV) {
            Some(Setpoint::Ceiling { p }) => p.as_kilowatts(),
            _ => PV_KW,
        };
        let given = there.min(most) * 1000.0;
        self.fleet.desk.see(PV, Point::ActivePower, given);
        let free = self.sun * 10_000.0;
        self.fleet.desk.see(FREE, Point::ActivePower, free);
    }

    /// Which of the two plugs are on, and what the sun gives in kilowatts.
    fn plugs(&self) -> [bool; 2] {
        [PLUG_1, PLUG_2].map(|plug| {
            let seen = self.fleet.desk.image.devices[plug.index()].switch_on;
            seen.last_good.is_some_and(|(_, on)| on)
        })
    }

    #[track_caller]
    fn sun_gives(&self, kw: f64) {
        let p = self.fleet.desk.image.devices[PV.index()].p.last_good;
        let given = p.map_or(f64::NAN, |(_, p)| p.as_kilowatts());
        // A change of a ceiling by half a percent of the rating is not worth a message.
        assert!((given - kw).abs() <= 0.1, "{given} kW, not {kw}");
    }

    fn told(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.fleet.told(wanted).len()
    }
}

fn is_short(event: &Event) -> bool {
    matches!(event, Event::ServiceFellShort { .. })
}

fn with_dwell(mut spec: ServiceSpec, on_s: u64, off_s: u64) -> ServiceSpec {
    spec.dwell = Dwell {
        on: Duration::from_secs(on_s),
        off: Duration::from_secs(off_s),
    };
    spec
}

fn with_reference(mut spec: ServiceSpec) -> ServiceSpec {
    spec.reference = Some(FREE);
    spec
}

#[test]
fn loads_with_a_switch_let_go_of_whole_blocks_and_come_back_to_stand_on() {
    let mut yard = Yard::with(vec![sold("ffr1", "ffr", 4.0, 0.0, &[PLUG_1, PLUG_2])]);
    assert_eq!(yard.plugs(), [true, true]);
    yard.fleet.f(49.6);
    let outcome = yard.run(1.5, &[]);
    assert_eq!(yard.plugs(), [false, false]);
    assert_eq!(outcome.services[0].phase, ServicePhase::Holding);
    assert_eq!(
        outcome.services[0].baseline,
        Some(ActivePower::from_kilowatts(-4.0))
    );
    assert!(outcome.services[0].available);
    yard.fleet.f(50.0);
    yard.run(15.0, &[]);
    assert_eq!(yard.plugs(), [true, true]);
    assert_eq!(yard.switchings, 4);
    assert_eq!(yard.told(is_short), 0);
}

#[test]
fn a_storage_makes_up_for_what_whole_blocks_leave() {
    // 5.5 kW of two blocks and a storage of 5 kW: it goes first, and one block makes up for the rest.
    let devices = [ESS_2, PLUG_1, PLUG_2];
    let mut yard = Yard::with(vec![sold("mfrr1", "mfrr", 5.5, 0.0, &devices)]);
    yard.run(500.0, &[signal(0, 1.0)]);
    assert_eq!(yard.plugs().map(u8::from).iter().sum::<u8>(), 1);
    assert!(
        (yard.fleet.sent()[1] - 3.5).abs() < 0.06,
        "{:?}",
        yard.fleet.sent()
    );
    assert_eq!(yard.switchings, 1);
    yard.run(500.0, &[signal(0, 0.0)]);
    assert_eq!((yard.plugs(), yard.fleet.sent()[1]), ([true, true], 0.0));
}

#[test]
fn a_set_point_that_wanders_about_a_block_does_not_make_it_chatter_and_one_stays_for_its_time() {
    let sold = sold("mfrr1", "mfrr", 4.0, 0.0, &[PLUG_1, PLUG_2]);
    let mut yard = Yard::with(vec![with_dwell(sold, 60, 120)]);
    yard.run(500.0, &[signal(0, 1.0)]);
    assert_eq!((yard.plugs(), yard.switchings), ([false, false], 2));
    for fraction in [0.9, 0.95, 1.0, 0.88, 1.0] {
        yard.run(60.0, &[signal(0, fraction)]);
    }
    assert_eq!((yard.plugs(), yard.switchings), ([false, false], 2));
    // Back within a minute, and wanted again: each has to stand on for its minute first.
    yard.run(450.0, &[signal(0, 0.0)]);
    assert_eq!((yard.plugs(), yard.switchings), ([true, true], 4));
}

#[test]
fn a_block_that_has_to_stay_is_not_there_and_that_is_told() {
    let sold = with_dwell(sold("ffr1", "ffr", 4.0, 0.0, &[PLUG_1, PLUG_2]), 0, 60);
    let mut yard = Yard::with(vec![sold]);
    yard.fleet.f(49.6);
    yard.run(2.0, &[]);
    yard.fleet.f(50.0);
    yard.run(20.0, &[]);
    assert_eq!(yard.plugs(), [false, false], "off for a minute");
    yard.run(45.0, &[]);
    assert_eq!(yard.plugs(), [true, true]);
    assert_eq!(yard.switchings, 4);
}

#[test]
fn a_block_that_does_not_follow_is_made_up_for_and_what_is_missing_is_told() {
    let mut yard = Yard::with(vec![sold(
        "ffr1",
        "ffr",
        4.0,
        0.0,
        &[ESS_2, PLUG_1, PLUG_2],
    )]);
    yard.fleet.stuck = vec![ESS_2];
    yard.fleet.f(49.6);
    yard.run(1.5, &[]);
    // The storage could give all of it, and gives nothing: the blocks do.
    yard.run(3.0, &[]);
    let moved = |e: &Event| matches!(e, Event::ServiceReallocated { device: ESS_2, .. });
    assert_eq!(yard.told(moved), 1, "{:?}", yard.fleet.desk.events);

    let mut yard = Yard::with(vec![sold("ffr1", "ffr", 4.0, 0.0, &[PLUG_1, PLUG_2])]);
    yard.stuck = vec![PLUG_2];
    yard.fleet.f(49.6);
    yard.run(4.5, &[]);
    assert_eq!(yard.plugs(), [false, true]);
    let short = yard.fleet.told(is_short);
    let [
        Event::ServiceFellShort {
            asked_w,
            achieved_w,
            why,
            ..
        },
    ] = short.as_slice()
    else {
        unreachable!("{short:?}")
    };
    assert_eq!((asked_w.round(), achieved_w.round()), (4000.0, 2000.0));
    assert!(why.contains("plug2 does not follow"), "{why}");
}

#[test]
fn a_block_that_was_sold_downwards_stands_off_and_one_takes_what_it_was_seen_to_take() {
    let mut yard = Yard::with(vec![sold("mfrr1", "mfrr", 0.0, 2.0, &[PLUG_1])]);
    assert_eq!(yard.plugs(), [false, true]);
    yard.run(500.0, &[signal(0, -1.0)]);
    assert_eq!(yard.plugs(), [true, true]);
    // Sold upwards: what it is seen to take is what it can let go of.
    let mut yard = Yard::with(vec![sold("mfrr1", "mfrr", 2.0, 0.0, &[PLUG_1])]);
    yard.run(3.0, &[]);
    yard.fleet.desk.see(PLUG_1, Point::ActivePower, -1500.0);
    let outcome = yard.fleet.run(0.2, &[]);
    assert_eq!(outcome.services[0].up.as_kilowatts(), 1.5);
    assert!(!outcome.services[0].available);
}

#[test]
fn the_market_switches_no_load_that_is_in_service() {
    let mut yard = Yard::with(vec![sold("ffr1", "ffr", 2.0, 0.0, &[PLUG_1])]);
    let Order::Schedule(mut off) = schedule(0.0, 0.0) else {
        unreachable!()
    };
    off.devices = vec![(PLUG_1, ActivePower::ZERO), (PLUG_2, ActivePower::ZERO)];
    yard.run(2.0, &[Order::Schedule(off)]);
    assert_eq!(yard.plugs(), [true, false]);
}

#[test]
fn the_sun_is_held_below_what_it_was_seen_to_give_and_left_free_otherwise() {
    let mut yard = Yard::with(vec![sold("fcr-d1", "fcr-d-down", 0.0, 4.0, &[PV])]);
    assert_eq!(
        yard.fleet.desk.controller.last_sent(PV),
        None,
        "nobody touches it"
    );
    yard.sun_gives(10.0);
    yard.fleet.f(50.3);
    yard.run(20.0, &[]);
    yard.sun_gives(8.0);
    // The sun comes out in the middle: what was declared before stands.
    yard.sun = 0.8;
    yard.run(5.0, &[]);
    yard.sun_gives(8.0);
    yard.fleet.f(50.0);
    let outcome = yard.run(30.0, &[]);
    yard.sun_gives(16.0);
    assert_eq!(
        outcome.services[0].baseline,
        Some(ActivePower::from_kilowatts(16.0))
    );
    assert_eq!(yard.told(is_short), 0);
    // At night there is nothing to be held down.
    yard.sun = 0.0;
    let outcome = yard.run(2.0, &[]);
    assert_eq!(outcome.services[0].down, ActivePower::ZERO);
    assert!(!outcome.services[0].available);
}

#[test]
fn the_sun_held_below_what_is_there_gives_upwards_and_downwards() {
    let sold = with_reference(sold("dc1", "dc", 3.0, 3.0, &[PV]));
    let mut yard = Yard::with(vec![sold]);
    yard.run(2.0, &[]);
    yard.sun_gives(7.0);
    for (hz, kw) in [(49.5, 10.0), (50.0, 7.0), (50.5, 4.0), (50.0, 7.0)] {
        yard.fleet.f(hz);
        yard.run(3.0, &[]);
        yard.sun_gives(kw);
    }
    // The distance is kept as the sun goes.
    yard.sun = 0.4;
    let outcome = yard.run(2.0, &[]);
    yard.sun_gives(5.0);
    assert!(outcome.services[0].available);
    // It goes away in the middle of an event: what is missing is told.
    yard.fleet.f(49.5);
    yard.run(2.0, &[]);
    yard.sun_gives(8.0);
    yard.sun = 0.3;
    yard.run(1.0, &[]);
    assert_eq!(yard.told(is_short), 1, "{:?}", yard.fleet.desk.events);
    // Nobody tells what is there: nothing is promised upwards.
    yard.fleet.f(50.0);
    yard.run(3.0, &[]);
    yard.fleet.desk.image.devices[FREE.index()].p.last_good = None;
    let outcome = yard.fleet.run(0.1, &[]);
    assert_eq!(outcome.services[0].up, ActivePower::ZERO);
}

#[test]
fn what_the_sun_fails_to_give_a_storage_gives() {
    let sold = with_reference(sold("dc1", "dc", 4.0, 0.0, &[ESS, PV]));
    let mut yard = Yard::with(vec![sold]);
    yard.fleet.f(49.5);
    yard.run(2.0, &[]);
    yard.sun = 0.2;
    yard.run(4.0, &[]);
    // The baseline was 10 kW less its share of the reserve, 8/3 kW; there are 4 kW now.
    let expected = 4.0 + (10.0 - 8.0 / 3.0) - 4.0;
    let sent = yard.fleet.sent()[0];
    assert!((sent - expected).abs() < 0.1, "{sent} kW, not {expected}");
}

#[test]
fn an_island_lifts_what_held_the_sun_and_leaves_the_plugs_where_they_stand() {
    let services = vec![
        with_reference(sold("dc1", "dc", 3.0, 0.0, &[PV])),
        sold("ffr1", "ffr", 2.0, 0.0, &[PLUG_1]),
    ];
    let mut yard = Yard::with(services);
    yard.run(2.0, &[]);
    yard.sun_gives(7.0);
    yard.fleet.desk.see(BREAKER, Point::SwitchOn, 0.0);
    // Afterwards the island disposes of it.
    yard.fleet.desk.orders(&[]);
    let lifted = yard.fleet.desk.controller.last_sent(PV);
    assert_eq!(
        lifted,
        Some(Setpoint::Ceiling {
            p: ActivePower::from_kilowatts(PV_KW)
        })
    );
    yard.run(1.0, &[]);
    assert!(yard.plugs()[0]);
}
