//! Services on two storages that do what they are told, unless they are made to fail.

use model::{Link, ServiceIx, ServicePhase};
use services::definition::named;

use super::*;
use crate::{Dwell, ServiceSpec};

mod blocks_and_sun;
mod market;
mod recovery;

/// The second storage: half of the first.
const ESS_2: DeviceIx = DeviceIx(8);

/// What the second gives along the droop at 49.5 Hz when it is in no service: (0.5 - 0.03) Hz of 2 Hz at 5 kW.
const DROOP_KW: f64 = 5.0 * 0.47 / 2.0;

fn sold(name: &str, of: &str, up_kw: f64, down_kw: f64, devices: &[DeviceIx]) -> ServiceSpec {
    let definition = named(of).expect("a service");
    let hold = definition.times_s[2].unwrap_or(900.0);
    ServiceSpec {
        name: name.to_owned(),
        definition,
        up: ActivePower::from_kilowatts(up_kw),
        down: ActivePower::from_kilowatts(down_kw),
        hold: Duration::from_secs_f64(hold),
        devices: devices.to_vec(),
        reference: None,
        dwell: Dwell::default(),
        recover: None,
        ready: None,
    }
}

/// Two storages and what they have sold; the devices that are stuck where they are.
struct Fleet {
    desk: Desk,
    stuck: Vec<DeviceIx>,
}

impl Fleet {
    fn with(services: Vec<ServiceSpec>) -> Self {
        let mut desk = Desk::made(|devices, settings| {
            let mut second = spec("ess2", Role::Ess, -5.0, 5.0);
            second.battery = None;
            devices.push(second);
            settings.services = services;
        });
        desk.see(ESS_2, Point::ActivePower, 0.0);
        desk.see(ESS_2, Point::StateOfCharge, 0.5);
        let mut fleet = Self {
            desk,
            stuck: Vec::new(),
        };
        fleet.run(0.5, &[]);
        fleet
    }

    /// Runs for a time, in cycles and with a fast step between; storages do what they were sent.
    fn run(&mut self, seconds: f64, orders: &[Order]) -> Outcome {
        let mut outcome = self.desk.orders(orders);
        for _ in 0..(seconds * 10.0).round() as usize {
            self.obey();
            self.desk.step(Rhythm::Fast, &[]);
            self.obey();
            self.desk.now_ms -= 20;
            outcome = self.desk.orders(&[]);
        }
        outcome
    }

    fn obey(&mut self) {
        for device in [ESS, ESS_2] {
            if !self.stuck.contains(&device) {
                let p = sent_power(&self.desk.controller.sent, device);
                self.desk.see(device, Point::ActivePower, p.as_watts());
            }
        }
    }

    fn f(&mut self, hz: f64) {
        self.desk.see(PCC, Point::Frequency, hz);
        self.desk.see(BREAKER, Point::GridFrequency, hz);
    }

    /// What the two storages were sent, in kilowatts.
    fn sent(&self) -> [f64; 2] {
        [ESS, ESS_2].map(|device| sent_power(&self.desk.controller.sent, device).as_kilowatts())
    }

    #[track_caller]
    fn sees(&self, kw: [f64; 2]) {
        let sent = self.sent();
        let near = sent.iter().zip(kw).all(|(a, b)| (a - b).abs() < 0.06);
        assert!(near, "{sent:?}, not {kw:?}");
    }

    fn told(&self, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        let events = self.desk.events.iter();
        events.filter(|event| wanted(event)).cloned().collect()
    }
}

fn baseline(device: DeviceIx, kw: f64) -> Order {
    Order::Baseline {
        device,
        p: ActivePower::from_kilowatts(kw),
    }
}

fn signal(service: u16, fraction: f64) -> Order {
    Order::Signal {
        service: ServiceIx(service),
        fraction,
    }
}

#[test]
fn an_answer_is_shared_by_the_room_that_each_has_on_top_of_the_declared_baseline() {
    let mut fleet = Fleet::with(vec![sold("dc1", "dc", 6.0, 6.0, &[ESS, ESS_2])]);
    fleet.run(1.0, &[baseline(ESS, 1.0)]);
    fleet.sees([1.0, 0.0]);
    fleet.f(49.5);
    let outcome = fleet.run(1.5, &[]);
    // 9 kW and 5 kW of room: 6 kW are shared as 9 to 5.
    fleet.sees([1.0 + 6.0 * 9.0 / 14.0, 6.0 * 5.0 / 14.0]);
    let report = outcome.services[0];
    assert_eq!(report.phase, ServicePhase::Holding);
    assert_eq!(report.asked.as_kilowatts(), 6.0);
    assert_eq!(report.baseline, Some(ActivePower::from_kilowatts(1.0)));
    fleet.f(50.5);
    fleet.run(2.0, &[]);
    let total: f64 = fleet.sent().iter().sum();
    assert!((total + 5.0).abs() < 0.1, "-6 kW on 1 kW: {total}");
    fleet.f(50.0);
    fleet.run(2.0, &[]);
    fleet.sees([1.0, 0.0]);
}

#[test]
fn the_baseline_is_what_was_declared_before_the_event_and_a_new_one_waits_for_its_end() {
    let mut fleet = Fleet::with(vec![sold("dc1", "dc", 6.0, 6.0, &[ESS])]);
    fleet.run(1.0, &[baseline(ESS, 1.0)]);
    fleet.f(49.5);
    fleet.run(2.0, &[]);
    fleet.run(2.0, &[baseline(ESS, -2.0)]);
    assert!((fleet.sent()[0] - 7.0).abs() < 0.06, "{:?}", fleet.sent());
    fleet.f(50.0);
    fleet.run(2.0, &[]);
    fleet.sees([-2.0, 0.0]);
}

#[test]
fn a_schedule_uses_only_what_the_reserves_leave() {
    let mut fleet = Fleet::with(vec![
        sold("dc1", "dc", 4.0, 4.0, &[ESS]),
        sold("ffr1", "ffr", 3.0, 0.0, &[ESS]),
    ]);
    // Of 10 kW out, 7 are sold; of 10 kW in, 4.
    for (committed, left) in [(9.0, 3.0), (2.0, 2.0), (-9.0, -6.0)] {
        fleet.run(1.0, &[schedule(0.0, committed)]);
        fleet.sees([left, 0.0]);
    }
    fleet.run(1.0, &[schedule(0.0, 9.0)]);
    fleet.f(49.5);
    fleet.run(2.0, &[]);
    fleet.sees([10.0, DROOP_KW]);
}

#[test]
fn a_schedule_leaves_the_charge_that_the_reserves_need() {
    // 4 kW for half an hour are 2 kWh of 10: not below 35 %, not above 70 %.
    let mut fleet = Fleet::with(vec![sold("dm1", "dm", 4.0, 4.0, &[ESS])]);
    for (soc, committed, left) in [
        (0.36, 3.0, 3.0),
        (0.34, 3.0, 0.0),
        (0.34, -3.0, -3.0),
        (0.69, -3.0, -3.0),
        (0.71, -3.0, 0.0),
        (0.71, 3.0, 3.0),
    ] {
        fleet.desk.see(BAT, Point::StateOfCharge, soc);
        fleet.run(1.0, &[schedule(0.0, committed)]);
        fleet.sees([left, 0.0]);
    }
    let unavailable = fleet.told(|e| matches!(e, Event::ServiceUnavailable { .. }));
    assert_eq!(unavailable.len(), 0, "the edges are within what is enough");
    fleet.desk.see(BAT, Point::StateOfCharge, 0.25);
    let outcome = fleet.run(0.5, &[]);
    // 1 kWh for half an hour is 2 kW.
    assert!((outcome.services[0].up.as_kilowatts() - 2.0).abs() < 0.01);
    let unavailable = fleet.told(|e| matches!(e, Event::ServiceUnavailable { .. }));
    assert_eq!(unavailable.len(), 1);
}

#[test]
fn a_storage_that_is_in_no_service_still_answers_along_its_droop() {
    let mut fleet = Fleet::with(vec![sold("dc1", "dc", 6.0, 6.0, &[ESS])]);
    fleet.f(49.5);
    fleet.run(2.0, &[]);
    fleet.sees([6.0, DROOP_KW]);
}

#[test]
fn a_signal_is_followed_and_one_that_is_none_is_refused() {
    let mut fleet = Fleet::with(vec![
        sold("agc1", "agc", 5.0, 3.0, &[ESS]),
        sold("dc1", "dc", 2.0, 2.0, &[ESS]),
    ]);
    fleet.run(1.0, &[signal(0, 0.6)]);
    fleet.sees([3.0, 0.0]);
    fleet.run(1.0, &[signal(0, -1.0)]);
    fleet.sees([-3.0, 0.0]);
    for bad in [
        signal(0, 1.5),
        signal(0, f64::NAN),
        signal(1, 0.5),
        signal(7, 0.5),
    ] {
        fleet.run(0.1, &[bad]);
    }
    fleet.sees([-3.0, 0.0]);
    let refused = fleet.told(|e| matches!(e, Event::OrderRefused { .. }));
    assert_eq!(refused.len(), 4);
    // Stacked: what the frequency asks for comes on top.
    fleet.f(49.5);
    fleet.run(1.5, &[]);
    fleet.sees([-1.0, DROOP_KW]);
}

#[test]
fn what_a_small_service_asks_of_a_large_device_is_sent_by_the_measure_of_what_was_sold() {
    let mut fleet = Fleet::with(vec![sold("agc1", "agc", 1.0, 1.0, &[ESS])]);
    // 20 W are little to a storage of 10 kW, and two parts in a hundred of what it has sold; 2 W are little to both.
    for (fraction, sent_kw) in [(0.5, 0.5), (0.52, 0.52), (0.522, 0.52)] {
        fleet.run(2.0, &[signal(0, fraction)]);
        let [sent, _] = fleet.sent();
        assert!((sent - sent_kw).abs() < 1e-9, "{fraction}: {sent}");
    }
}

#[test]
fn when_a_device_drops_out_in_the_middle_the_other_takes_its_share_and_what_is_missing_is_told() {
    let mut fleet = Fleet::with(vec![sold("dc1", "dc", 9.0, 9.0, &[ESS, ESS_2])]);
    fleet.f(49.5);
    fleet.run(2.0, &[]);
    fleet.sees([6.0, 3.0]);
    fleet.desk.image.devices[ESS_2.index()].link = Link::Offline;
    fleet.run(1.0, &[]);
    assert!((fleet.sent()[0] - 9.0).abs() < 0.06, "{:?}", fleet.sent());
    let moved = fleet.told(|e| matches!(e, Event::ServiceReallocated { .. }));
    let [
        Event::ServiceReallocated {
            device,
            lost_w,
            moved_w,
            missing_w,
            why,
            ..
        },
    ] = moved.as_slice()
    else {
        unreachable!("{moved:?}")
    };
    assert_eq!((*device, why.as_str()), (ESS_2, "ess2 does not answer"));
    assert!((lost_w - 3000.0).abs() < 1.0 && (moved_w - 3000.0).abs() < 1.0);
    assert_eq!(*missing_w, 0.0);
    assert!(
        fleet
            .told(|e| matches!(e, Event::ServiceFellShort { .. }))
            .is_empty()
    );
    // What one alone could give is all of it still, in power; in energy 3.5 kWh for 9 kW and 900 s, too.
    assert!(
        fleet
            .told(|e| matches!(e, Event::ServiceUnavailable { .. }))
            .is_empty()
    );
}

#[test]
fn a_storage_that_runs_empty_in_the_middle_is_made_up_for_and_what_is_missing_is_told() {
    let mut fleet = Fleet::with(vec![sold("dc1", "dc", 9.0, 9.0, &[ESS, ESS_2])]);
    fleet.f(49.5);
    fleet.run(2.0, &[]);
    fleet.sees([6.0, 3.0]);
    fleet.desk.see(BAT, Point::StateOfCharge, 0.15);
    fleet.run(1.0, &[]);
    fleet.sees([0.0, 5.0]);
    let short = fleet.told(
        |e| matches!(e, Event::ServiceFellShort { achieved_w, .. } if achieved_w.round() == 5000.0),
    );
    assert_eq!(short.len(), 1, "{:?}", fleet.desk.events);
}

#[test]
fn a_device_that_does_not_follow_is_owed_for_by_the_other_as_far_as_that_goes() {
    let mut fleet = Fleet::with(vec![sold("dc1", "dc", 13.0, 0.0, &[ESS, ESS_2])]);
    fleet.stuck.push(ESS_2);
    fleet.f(49.5);
    fleet.run(1.5, &[]);
    fleet.sees([13.0 * 10.0 / 15.0, 13.0 * 5.0 / 15.0]);
    fleet.run(2.0, &[]);
    fleet.sees([10.0, 13.0 * 5.0 / 15.0]);
    let short = fleet.told(|e| matches!(e, Event::ServiceFellShort { .. }));
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
    assert_eq!((*asked_w, achieved_w.round()), (13_000.0, 10_000.0));
    assert!(
        why.contains("ess2 does not follow, it gives 0.0 W"),
        "{why}"
    );
    // It follows again: nobody owes for it any more.
    fleet.stuck.clear();
    fleet.run(1.0, &[]);
    fleet.sees([13.0 * 10.0 / 15.0, 13.0 * 5.0 / 15.0]);
}

#[test]
fn a_device_on_its_slow_way_to_another_baseline_has_not_failed() {
    let mut fleet = Fleet::with(vec![sold("dc1", "dc", 4.0, 4.0, &[ESS])]);
    fleet.run(0.5, &[baseline(ESS, 6.0)]);
    fleet.stuck.push(ESS);
    fleet.run(5.0, &[baseline(ESS, -6.0)]);
    assert!(
        fleet
            .told(|e| matches!(e, Event::ServiceUnavailable { .. }))
            .is_empty()
    );
}

#[test]
fn a_device_that_somebody_holds_is_out_of_service() {
    let mut fleet = Fleet::with(vec![sold("dc1", "dc", 6.0, 6.0, &[ESS, ESS_2])]);
    let held = Order::Hold {
        device: ESS,
        setpoint: Setpoint::Power {
            p: ActivePower::from_kilowatts(-2.0),
            q: ReactivePower::ZERO,
        },
    };
    fleet.run(0.5, &[held]);
    fleet.f(49.5);
    let outcome = fleet.run(1.5, &[]);
    fleet.sees([-2.0, 5.0]);
    assert!((outcome.services[0].up.as_kilowatts() - 5.0).abs() < 1e-9);
    let unavailable = fleet.told(|e| matches!(e, Event::ServiceUnavailable { .. }));
    let [Event::ServiceUnavailable { why, .. }] = unavailable.as_slice() else {
        unreachable!("{unavailable:?}")
    };
    assert_eq!(why, "ess1 is held by somebody");
}

#[test]
fn an_island_has_no_reserve_and_a_bench_that_is_coupled_again_has_it_back() {
    let mut fleet = Fleet::with(vec![sold("dc1", "dc", 6.0, 6.0, &[ESS, ESS_2])]);
    fleet.desk.see(BREAKER, Point::SwitchOn, 0.0);
    fleet.f(49.5);
    let outcome = fleet.run(0.5, &[]);
    let report = outcome.services[0];
    assert_eq!(
        (report.up, report.down),
        (ActivePower::ZERO, ActivePower::ZERO)
    );
    assert_eq!(report.baseline, None);
    assert_eq!(report.asked, ActivePower::ZERO);
    fleet.desk.see(BREAKER, Point::SwitchOn, 1.0);
    fleet.f(50.0);
    let outcome = fleet.run(1.0, &[]);
    assert_eq!(outcome.services[0].up.as_kilowatts(), 6.0);
    let told = fleet.told(|e| {
        matches!(
            e,
            Event::ServiceUnavailable { .. } | Event::ServiceAvailable { .. }
        )
    });
    let [
        Event::ServiceAvailable { .. },
        Event::ServiceUnavailable { why, .. },
        Event::ServiceAvailable { .. },
    ] = told.as_slice()
    else {
        unreachable!("{told:?}")
    };
    assert_eq!(why, "the mode is islanding");
}

#[test]
fn only_what_is_fast_looks_again_between_two_cycles() {
    for (of, looks) in [("dc", true), ("droop", false)] {
        let mut fleet = Fleet::with(vec![sold("s1", of, 6.0, 6.0, &[ESS])]);
        fleet.f(49.0);
        let asked = fleet.desk.step(Rhythm::Fast, &[]).services[0].asked;
        assert_eq!(asked > ActivePower::ZERO, looks, "{of}");
    }
}

/// An event at 49.5 Hz in whose middle the frequency is not known any more; what is sent then after so many seconds.
#[track_caller]
fn blind(of: &str, rows: &[(f64, f64)]) -> Fleet {
    let mut fleet = Fleet::with(vec![sold("s1", of, 6.0, 6.0, &[ESS])]);
    fleet.f(49.5);
    fleet.run(40.0, &[]);
    for device in &mut fleet.desk.image.devices {
        device.f.last_good = None;
    }
    let mut at = 0.0;
    for (seconds, kw) in rows {
        fleet.run(seconds - at, &[]);
        at = *seconds;
        let sent = fleet.sent()[0];
        assert!(
            (sent - kw).abs() < 0.2,
            "{of} after {seconds} s: {sent}, not {kw}"
        );
    }
    fleet
}

#[test]
fn an_answer_stands_while_the_frequency_is_unknown_for_a_moment_and_then_returns_by_its_release() {
    // The release of DC is its ramp, full within 0.6 s; FCR takes 18 s; a droop of 5 % gives 19 % of it at 0.5 Hz
    // and names no ramp: it is given back within 5 s.
    blind("dc", &[(0.1, 6.0), (3.9, 6.0), (5.8, 0.0)]);
    blind("fcr-ce", &[(3.9, 6.0), (14.0, 3.0), (23.5, 0.0)]);
    blind("droop", &[(0.1, 1.11), (3.9, 1.11), (9.9, 0.0)]);
    let mut fleet = blind("dc", &[(3.0, 6.0)]);
    let noticed = |fleet: &Fleet, word: &str| {
        let of = |e: &Event| matches!(e, Event::Noticed { text, .. } if text.contains(word));
        fleet.told(of).len()
    };
    assert_eq!(noticed(&fleet, "not known"), 1);
    fleet.f(49.5);
    fleet.run(8.0, &[]);
    fleet.sees([6.0, DROOP_KW]);
    assert_eq!(noticed(&fleet, "known again"), 1);
    assert_eq!(noticed(&fleet, "returns"), 0);
}

#[test]
fn a_frequency_that_was_never_known_is_not_answered() {
    let mut fleet = Fleet::with(vec![sold("dc1", "dc", 6.0, 6.0, &[ESS])]);
    for device in &mut fleet.desk.image.devices {
        device.f.last_good = None;
    }
    fleet.run(2.0, &[]);
    fleet.sees([0.0, 0.0]);
    assert!(
        fleet
            .told(|e| matches!(e, Event::Noticed { .. }))
            .is_empty()
    );
}

#[test]
fn a_service_along_a_droop_is_refused_over_a_loop_slower_than_half_its_margin_and_one_that_is_none_is_not()
 {
    let late = |ms| Order::LoopDelay(Duration::from_millis(ms));
    for (of, closes_a_loop, kw) in [
        ("dc", true, 6.0),
        ("fcr-ce", true, 6.0),
        ("droop", true, 1.11),
        ("ffr", false, 6.0),
        ("agc", false, 6.0),
    ] {
        let mut fleet = Fleet::with(vec![sold("s1", of, 6.0, 0.0, &[ESS])]);
        fleet.desk.controller.bench.settings.delay_margin = Some(Duration::from_millis(300));
        fleet.f(49.5);
        fleet.run(25.0, &[late(150), signal(0, 1.0)]);
        let check = |fleet: &Fleet, kw: f64, when: &str| {
            let sent = fleet.sent()[0];
            assert!((sent - kw).abs() < 0.06, "{of} {when}: {sent} kW, not {kw}");
        };
        check(&fleet, kw, "at half of the margin");
        let outcome = fleet.run(25.0, &[late(151)]);
        check(&fleet, if closes_a_loop { 0.0 } else { kw }, "beyond it");
        let up = outcome.services[0].up;
        assert_eq!(up == ActivePower::ZERO, closes_a_loop, "{of}: {up}");
        fleet.run(25.0, &[late(100)]);
        check(&fleet, kw, "below it again");
        let noticed = |words: &str| {
            let of = |e: &Event| matches!(e, Event::Noticed { text, .. } if text.contains(words));
            fleet.told(of).len()
        };
        let told = (
            noticed(
                "R062: the service s1 is refused: the loop from frequency to setpoint takes 151 ms",
            ),
            noticed("fast enough for the service s1 again"),
        );
        assert_eq!(told, if closes_a_loop { (1, 1) } else { (0, 0) }, "{of}");
        let why = fleet.told(
            |e| matches!(e, Event::ServiceUnavailable { why, .. } if why.contains("takes 151 ms")),
        );
        assert_eq!(why.len(), usize::from(closes_a_loop), "{of}");
    }
}

/// A load beside the two storages, in the place of the sun: it takes up to 4 kW, as it is told.
const LOAD: DeviceIx = DeviceIx(9);

/// The fleet with that load, and its power as it was last seen in kilowatts.
fn with_load(services: Vec<ServiceSpec>) -> Fleet {
    let mut desk = Desk::made(|devices, settings| {
        devices.push(spec("ess2", Role::Ess, -5.0, 5.0));
        let mut load = spec("load9", Role::Load, -4.0, 0.0);
        load.takes_power = true;
        load.takes_switch = false;
        devices.push(load);
        settings.services = services;
    });
    desk.see(ESS_2, Point::ActivePower, 0.0);
    desk.see(LOAD, Point::ActivePower, 0.0);
    Fleet {
        desk,
        stuck: Vec::new(),
    }
}

/// Runs for a time; the load obeys or is stuck where it is.
fn run_with_load(fleet: &mut Fleet, seconds: f64, orders: &[Order], obeys: bool) -> f64 {
    for n in 0..(seconds * 10.0).round() as usize {
        fleet.run(0.1, if n == 0 { orders } else { &[] });
        if obeys {
            let p = sent_power(&fleet.desk.controller.sent, LOAD);
            fleet.desk.see(LOAD, Point::ActivePower, p.as_watts());
        }
    }
    sent_power(&fleet.desk.controller.sent, LOAD).as_kilowatts()
}

#[test]
fn a_load_delivers_by_taking_less_and_more_than_its_baseline() {
    let mut fleet = with_load(vec![sold("dc1", "dc", 2.0, 1.0, &[LOAD])]);
    // Nothing was stated: it takes what it has sold upwards, so that there is something to let go.
    let check = |got: f64, kw: f64| assert!((got - kw).abs() < 0.06, "{got}, not {kw}");
    check(run_with_load(&mut fleet, 2.0, &[], true), -2.0);
    check(
        run_with_load(&mut fleet, 2.0, &[baseline(LOAD, -2.5)], true),
        -2.5,
    );
    fleet.f(49.5);
    check(run_with_load(&mut fleet, 3.0, &[], true), -0.5);
    fleet.f(50.0);
    check(run_with_load(&mut fleet, 3.0, &[], true), -2.5);
    fleet.f(50.5);
    check(run_with_load(&mut fleet, 3.0, &[], true), -3.5);
    // A baseline leaves what is sold downwards, too.
    fleet.f(50.0);
    check(
        run_with_load(&mut fleet, 3.0, &[baseline(LOAD, -4.0)], true),
        -3.0,
    );
    let short = fleet.told(|e| matches!(e, Event::ServiceFellShort { .. }));
    assert_eq!(short, []);
    // Off, it gives nothing.
    fleet.desk.see(LOAD, Point::SwitchOn, 0.0);
    run_with_load(&mut fleet, 0.5, &[], true);
    let is_off = |why: &str| why.contains("load9 is off");
    let gone = fleet.told(
        |e| matches!(e, Event::ServiceUnavailable { up_w, why, .. } if *up_w == 0.0 && is_off(why)),
    );
    assert_eq!(gone.len(), 1, "{:?}", fleet.desk.events);
}

#[test]
fn what_a_load_fails_to_give_the_storage_gives() {
    let devices = [ESS, LOAD];
    let mut fleet = with_load(vec![sold("dc1", "dc", 7.0, 0.0, &devices)]);
    // The storage has room for 10 kW, the load for the 3 kW that it takes.
    run_with_load(&mut fleet, 3.0, &[baseline(LOAD, -3.0)], true);
    fleet.f(49.5);
    let load = run_with_load(&mut fleet, 1.0, &[], false);
    assert!((load + 3.0 - 7.0 * 3.0 / 13.0).abs() < 0.06, "{load}");
    // It stays where it is: after two seconds the storage gives all of it.
    run_with_load(&mut fleet, 5.0, &[], false);
    let sent = fleet.sent()[0];
    assert!((sent - 7.0).abs() < 0.1, "{sent}");
    let moved = fleet.told(|e| matches!(e, Event::ServiceReallocated { device: LOAD, .. }));
    assert_eq!(moved.len(), 1, "{moved:?}");
}

#[test]
fn a_load_goes_back_to_its_baseline_when_nothing_is_delivered_any_more() {
    let mut fleet = with_load(vec![sold("dc1", "dc", 2.0, 0.0, &[LOAD])]);
    run_with_load(&mut fleet, 2.0, &[baseline(LOAD, -3.0)], true);
    fleet.f(49.5);
    let load = run_with_load(&mut fleet, 3.0, &[], true);
    assert!((load + 1.0).abs() < 0.06, "{load}");
    fleet.desk.see(BREAKER, Point::SwitchOn, 0.0);
    let load = run_with_load(&mut fleet, 2.0, &[], true);
    assert!((load + 3.0).abs() < 0.06, "{load}");
}
