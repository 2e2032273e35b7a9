//! The part of the former, from one unit of an island to another.

use super::*;

const SET: DeviceIx = DeviceIx(8);

/// The desk with a set beside the storage, islanded: the storage carries 4 kW.
fn desk(change: impl FnOnce(&mut Vec<DeviceSpec>)) -> Desk {
    let mut desk = Desk::of(|devices| {
        devices[ESS.index()].takes_switch = true;
        let mut set = spec("gen1", Role::Genset, 0.0, 20.0);
        set.takes_switch = true;
        devices.push(set);
        change(devices);
    });
    desk.controller.bench.settings.auto_reconnect = false;
    for (device, point, value) in [
        (ESS, Point::SwitchOn, 1.0),
        (ESS, Point::ReactivePower, 0.0),
        (SET, Point::SwitchOn, 0.0),
    ] {
        desk.see(device, point, value);
    }
    share(&mut desk, 4.0, 0.0);
    desk
}

fn islanded(change: impl FnOnce(&mut Vec<DeviceSpec>)) -> Desk {
    let mut desk = desk(change);
    desk.see(BREAKER, Point::SwitchOn, 0.0);
    desk.run(5.0);
    assert_eq!(desk.mode(), Mode::Islanded);
    desk
}

/// What storage and set are seen to give.
fn share(desk: &mut Desk, storage_kw: f64, set_kw: f64) {
    desk.see(ESS, Point::ActivePower, storage_kw * 1e3);
    desk.see(SET, Point::ActivePower, set_kw * 1e3);
}

fn hand_over(to: DeviceIx) -> Order {
    Order::HandOver { to }
}

/// Runs for a time; every switch that was commanded.
fn switched(desk: &mut Desk, seconds: f64) -> Vec<(DeviceIx, bool)> {
    let mut seen = Vec::new();
    for _ in 0..(seconds * 10.0) as usize {
        for dispatch in desk.orders(&[]).dispatches {
            if let Setpoint::Switch { on } = dispatch.setpoint.get() {
                seen.push((dispatch.device, on));
            }
        }
    }
    seen
}

fn failed(desk: &Desk) -> Option<&str> {
    desk.events.iter().find_map(|e| match e {
        Event::HandOverFailed { why, .. } => Some(why.as_str()),
        _ => None,
    })
}

fn handed_to(desk: &Desk) -> Vec<(DeviceIx, u64)> {
    let handed = |e: &Event| match e {
        Event::HandedOver { to, parted, .. } => Some((*to, *parted)),
        _ => None,
    };
    desk.events.iter().filter_map(handed).collect()
}

#[test]
fn the_old_former_goes_when_the_new_one_is_seen_to_carry_and_not_before() {
    let mut desk = islanded(|_| ());
    desk.orders(&[hand_over(SET)]);
    // Told to run, it is not there yet: the storage keeps what it carries.
    desk.see(SET, Point::SwitchOn, 0.0);
    assert_eq!(switched(&mut desk, 5.0), []);
    assert_eq!(kw(desk.controller.sent[&ESS].1), 4.0);
    // On load without giving anything, it is called by a lower frequency, and by a tenth only.
    desk.see(SET, Point::SwitchOn, 1.0);
    assert_eq!(switched(&mut desk, 5.0), []);
    assert!((kw(desk.controller.sent[&ESS].1) - 3.0).abs() < 0.06);
    // It gives half: the storage is brought down, and still not let go.
    share(&mut desk, 2.0, 2.0);
    assert_eq!(switched(&mut desk, 2.0), []);
    assert!(kw(desk.controller.sent[&ESS].1) < 0.0);
    // It carries all of it, for two seconds.
    share(&mut desk, 0.3, 3.7);
    assert_eq!(switched(&mut desk, 1.9), []);
    assert_eq!(switched(&mut desk, 0.5), [(ESS, false)]);
    assert_eq!(handed_to(&desk), []);
    desk.see(ESS, Point::SwitchOn, 0.0);
    share(&mut desk, 0.0, 4.0);
    desk.run(1.0);
    assert_eq!(handed_to(&desk), [(SET, 1)]);
    assert_eq!(failed(&desk), None);
}

#[test]
fn a_storage_takes_over_when_it_is_seen_to_share() {
    let mut desk = islanded(|_| ());
    desk.see(SET, Point::SwitchOn, 1.0);
    desk.see(ESS, Point::SwitchOn, 0.0);
    share(&mut desk, 0.0, 4.0);
    desk.run(1.0);
    let first = desk.orders(&[hand_over(ESS)]).dispatches;
    assert_eq!(first[0].setpoint.get(), Setpoint::Switch { on: true });
    desk.see(ESS, Point::SwitchOn, 1.0);
    // Connected is not carrying.
    assert_eq!(switched(&mut desk, 5.0), []);
    share(&mut desk, 0.3, 3.7);
    assert_eq!(switched(&mut desk, 5.0), []);
    share(&mut desk, 2.0, 2.0);
    assert_eq!(switched(&mut desk, 3.0), [(SET, false)]);
    desk.see(SET, Point::SwitchOn, 0.0);
    desk.run(1.0);
    assert_eq!(handed_to(&desk), [(ESS, 1)]);
}

#[test]
fn a_hand_over_is_refused_by_a_guard_with_its_numbers() {
    let check = |change: &dyn Fn(&mut Vec<DeviceSpec>),
                 situation: &dyn Fn(&mut Desk),
                 to: DeviceIx,
                 expected: &str| {
        let mut desk = islanded(|devices| change(devices));
        situation(&mut desk);
        desk.events.clear();
        desk.orders(&[hand_over(to)]);
        let why = desk.events.iter().find_map(|e| match e {
            Event::OrderRefused { why } => Some(why.as_str()),
            _ => None,
        });
        assert!(
            why.is_some_and(|why| why.contains(expected)),
            "{expected}: {why:?}"
        );
    };
    let same = |_: &mut Vec<DeviceSpec>| ();
    let none = |_: &mut Desk| ();
    let set_carries = |desk: &mut Desk| {
        desk.see(SET, Point::SwitchOn, 1.0);
        desk.see(ESS, Point::SwitchOn, 0.0);
        share(desk, 0.0, 4.0);
        desk.run(1.0);
    };
    check(
        &same,
        &none,
        PLUG_1,
        "hand over to plug1: former_there: it forms no voltage",
    );
    check(&same, &none, DeviceIx(99), "there is no device number 99");
    let follows = |d: &mut Vec<DeviceSpec>| d[SET.index()].forming = model::Forming::Follows;
    check(&follows, &none, SET, "former_there: it forms no voltage");
    let stuck = |d: &mut Vec<DeviceSpec>| d[SET.index()].takes_switch = false;
    check(&stuck, &none, SET, "former_there: it has no switch");
    let away = |desk: &mut Desk| desk.image.devices[SET.index()].link = model::Link::Offline;
    check(&same, &away, SET, "former_answers: it does not answer");
    let held = |desk: &mut Desk| {
        desk.orders(&[Order::Hold {
            device: SET,
            setpoint: Setpoint::Switch { on: false },
        }]);
    };
    check(&same, &held, SET, "former_free: a person holds it off");
    check(
        &same,
        &none,
        ESS,
        "others_can_part: no other unit forms the island",
    );
    let fixed = |d: &mut Vec<DeviceSpec>| d[ESS.index()].takes_switch = false;
    check(
        &fixed,
        &none,
        SET,
        "others_can_part: ess1 would go on forming",
    );
    let stiff = |d: &mut Vec<DeviceSpec>| {
        d[SET.index()].forming = model::Forming::Isochronous;
        d[ESS.index()].forming = model::Forming::Isochronous;
    };
    check(
        &stiff,
        &none,
        SET,
        "one_undrooped: ess1 forms without a droop, too",
    );
    let low = |desk: &mut Desk| {
        set_carries(desk);
        desk.see(BAT, Point::StateOfCharge, 0.19);
    };
    check(
        &same,
        &low,
        ESS,
        "charge_above_reserve: state of charge 19 %, 20 % is kept",
    );
    let unknown = |desk: &mut Desk| {
        set_carries(desk);
        desk.image.devices[BAT.index()].soc = model::Signal::unread();
    };
    check(
        &same,
        &unknown,
        ESS,
        "charge_above_reserve: the state of charge is not known",
    );
    let heavy = |desk: &mut Desk| share(desk, 9.0, 16.0);
    check(
        &same,
        &heavy,
        SET,
        "covers_loads: loads that cannot be shed take 21.0 kW, it can give 20.0 kW",
    );
    let dark = |desk: &mut Desk| desk.image.devices[PV.index()].p = model::Signal::unread();
    check(
        &same,
        &dark,
        SET,
        "covers_loads: what the loads take is not known",
    );
    let twice = |desk: &mut Desk| drop(desk.orders(&[hand_over(SET)]));
    check(&same, &twice, SET, "none_under_way: gen1 is taking over");
    let safe = |desk: &mut Desk| drop(desk.orders(&[Order::Mode(ModeRequest::Safe)]));
    check(&same, &safe, SET, "mode_fits: the microgrid is in safe");
}

#[test]
fn one_without_a_droop_may_take_over_from_one_that_droops() {
    let mut desk = islanded(|d| d[SET.index()].forming = model::Forming::Isochronous);
    desk.orders(&[hand_over(SET)]);
    let began = |e: &Event| matches!(e, Event::HandOverBegan { to, .. } if *to == SET);
    assert!(desk.events.iter().any(began));
}

#[test]
fn a_new_former_that_comes_to_nothing_is_taken_off_again_and_the_old_one_stays() {
    let check = |on: f64, gives_kw: f64, expected: &str| {
        let mut desk = islanded(|_| ());
        desk.orders(&[hand_over(SET)]);
        desk.see(SET, Point::SwitchOn, on);
        share(&mut desk, 4.0 - gives_kw, gives_kw);
        let switched = switched(&mut desk, 62.0);
        assert!(!switched.contains(&(ESS, false)), "{switched:?}");
        let why = failed(&desk).expect("it fails");
        assert!(why.contains(expected), "{why}");
        assert_eq!(
            switched.last() == Some(&(SET, false)),
            on > 0.5,
            "{switched:?}"
        );
        // The storage carries the island's power again.
        assert!((kw(desk.controller.sent[&ESS].1) - (4.0 - gives_kw)).abs() < 0.06);
    };
    check(0.0, 0.0, "gen1 was not seen on in time");
    check(
        1.0,
        0.0,
        "gen1 was not seen to carry the island: it gives 0.0 W",
    );
    check(
        1.0,
        2.0,
        "gen1 was not seen to carry the island: it gives 2.0 kW",
    );
}

#[test]
fn nobody_is_asked_to_go_any_more_when_the_new_former_is_lost() {
    let mut desk = islanded(|_| ());
    desk.orders(&[hand_over(SET)]);
    desk.see(SET, Point::SwitchOn, 1.0);
    share(&mut desk, 0.3, 3.7);
    assert_eq!(switched(&mut desk, 3.0), [(ESS, false)]);
    desk.image.devices[SET.index()].switch_on = model::Signal::unread();
    desk.run(0.2);
    assert_eq!(failed(&desk), Some("gen1 is not seen on any more"));
    assert_eq!(handed_to(&desk), []);
    // Seen there still, the storage is balanced again.
    share(&mut desk, 4.0, 0.0);
    desk.run(1.0);
    assert_eq!(kw(desk.controller.sent[&ESS].1), 4.0);
}

#[test]
fn an_old_former_that_does_not_go_ends_the_hand_over() {
    let mut desk = islanded(|_| ());
    desk.orders(&[hand_over(SET)]);
    desk.see(SET, Point::SwitchOn, 1.0);
    share(&mut desk, 0.3, 3.7);
    // Whether it has gone or not, the new one stays.
    assert_eq!(switched(&mut desk, 10.0), [(ESS, false)]);
    assert_eq!(failed(&desk), Some("ess1 was not seen off in time"));
}

#[test]
fn called_for_on_the_utility_the_new_former_waits_for_the_island() {
    let mut desk = desk(|_| ());
    desk.run(1.0);
    assert_eq!(desk.mode(), Mode::GridConnected);
    let first = desk.orders(&[hand_over(SET)]).dispatches;
    assert_eq!(first[0].setpoint.get(), Setpoint::Switch { on: true });
    desk.see(SET, Point::SwitchOn, 1.0);
    share(&mut desk, 0.3, 3.7);
    // However long that takes.
    assert_eq!(switched(&mut desk, 90.0), []);
    desk.see(BREAKER, Point::SwitchOn, 0.0);
    assert_eq!(switched(&mut desk, 5.0), [(ESS, false)]);
    desk.see(ESS, Point::SwitchOn, 0.0);
    desk.run(1.0);
    assert_eq!(handed_to(&desk), [(SET, 1)]);
}

#[test]
fn back_on_the_utility_a_storage_that_was_taken_off_follows_again() {
    let mut desk = islanded(|_| ());
    desk.orders(&[hand_over(SET)]);
    desk.see(SET, Point::SwitchOn, 1.0);
    share(&mut desk, 0.3, 3.7);
    desk.run(3.0);
    desk.see(ESS, Point::SwitchOn, 0.0);
    share(&mut desk, 0.0, 4.0);
    assert_eq!(switched(&mut desk, 5.0), []);
    desk.see(BREAKER, Point::SwitchOn, 1.0);
    assert_eq!(switched(&mut desk, 1.0), [(ESS, true)]);
    desk.see(ESS, Point::SwitchOn, 1.0);
    assert_eq!(switched(&mut desk, 5.0), []);
}

#[test]
fn a_former_that_runs_low_or_falls_silent_hands_over_by_itself_once() {
    let check = |situation: &dyn Fn(&mut Desk), expected: Option<&str>| {
        let mut desk = islanded(|_| ());
        situation(&mut desk);
        desk.run(70.0);
        let began: Vec<&str> = desk
            .events
            .iter()
            .filter_map(|e| match e {
                Event::HandOverBegan { to, why } if *to == SET => Some(why.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(began, Vec::from_iter(expected));
    };
    check(&|desk| desk.see(BAT, Point::StateOfCharge, 0.26), None);
    check(
        &|desk| desk.see(BAT, Point::StateOfCharge, 0.24),
        Some("ess1 runs low: state of charge 24 %, 25 % or less"),
    );
    // It is charged: the island gives more than it takes.
    let charged = |desk: &mut Desk| {
        desk.see(BAT, Point::StateOfCharge, 0.24);
        share(desk, -1.0, 0.0);
    };
    check(&charged, None);
    let silent = |desk: &mut Desk| desk.image.devices[ESS.index()].link = model::Link::Offline;
    check(&silent, Some("ess1 does not answer any more"));
    // Nobody else is needed where a set stands beside it.
    let two = |desk: &mut Desk| {
        desk.see(SET, Point::SwitchOn, 1.0);
        desk.see(BAT, Point::StateOfCharge, 0.24);
    };
    check(&two, None);
}

#[test]
fn where_a_set_forms_alone_sun_and_loads_are_left_what_it_can_do() {
    let mut desk = islanded(|_| ());
    desk.see(SET, Point::SwitchOn, 1.0);
    desk.see(ESS, Point::SwitchOn, 0.0);
    desk.see(PV, Point::ActivePower, 4_000.0);
    share(&mut desk, 0.0, 6.0);
    desk.run(1.0);
    // Three tenths of the 10 kW that the loads take are the set's.
    let ceiling = desk.controller.sent[&PV].1;
    assert_eq!(
        ceiling,
        Setpoint::Ceiling {
            p: ActivePower::from_kilowatts(7.0)
        }
    );
    // An empty battery, or noise of a storage that is off, sheds nothing.
    desk.see(BAT, Point::StateOfCharge, 0.1);
    share(&mut desk, 0.01, 6.0);
    desk.run(2.0);
    let shed = |desk: &Desk| {
        let mut events = desk.events.iter();
        events.any(|e| matches!(e, Event::LoadShed { .. }))
    };
    assert!(!shed(&desk));
    // A low frequency does, and the load comes back into the set's own room: 2 kW and half of it.
    let restored = |desk: &Desk| {
        let mut events = desk.events.iter();
        events.any(|e| matches!(e, Event::LoadRestored { .. }))
    };
    desk.see(PCC, Point::Frequency, 48.9);
    desk.run(0.2);
    assert!(shed(&desk));
    desk.see(PCC, Point::Frequency, 50.0);
    share(&mut desk, 0.0, 17.5);
    desk.run(10.0);
    assert!(!restored(&desk));
    share(&mut desk, 0.0, 16.5);
    desk.run(10.0);
    assert!(restored(&desk));
}

#[test]
fn nobody_lets_go_of_an_island_that_is_not_at_ease_or_whose_new_former_is_not_there() {
    let check = |spoil: &dyn Fn(&mut Desk)| {
        let mut desk = islanded(|_| ());
        desk.orders(&[hand_over(SET)]);
        desk.see(SET, Point::SwitchOn, 1.0);
        share(&mut desk, 0.3, 3.7);
        spoil(&mut desk);
        let switched = switched(&mut desk, 10.0);
        assert!(!switched.contains(&(ESS, false)), "{switched:?}");
    };
    check(&|desk| desk.see(PCC, Point::Frequency, 49.4));
    check(&|desk| desk.image.devices[SET.index()].link = model::Link::Offline);
    check(&|desk| desk.image.devices[SET.index()].p = model::Signal::unread());
    // Half of it still hangs on the storage.
    check(&|desk| share(desk, 2.0, 2.0));
}

#[test]
fn a_storage_that_charges_while_the_island_is_fed_does_not_share_it() {
    let mut desk = islanded(|_| ());
    desk.see(SET, Point::SwitchOn, 1.0);
    desk.see(ESS, Point::SwitchOn, 0.0);
    share(&mut desk, 0.0, 4.0);
    desk.run(1.0);
    desk.orders(&[hand_over(ESS)]);
    desk.see(ESS, Point::SwitchOn, 1.0);
    share(&mut desk, -2.0, 6.0);
    assert_eq!(switched(&mut desk, 5.0), []);
}

#[test]
fn a_storage_with_charge_comes_back_to_steer_the_way_to_the_utility() {
    let check = |charge: f64, comes_back: bool| {
        let mut desk = islanded(|_| ());
        desk.orders(&[hand_over(SET)]);
        desk.see(SET, Point::SwitchOn, 1.0);
        share(&mut desk, 0.3, 3.7);
        desk.run(3.0);
        desk.see(ESS, Point::SwitchOn, 0.0);
        share(&mut desk, 0.0, 4.0);
        desk.see(BAT, Point::StateOfCharge, charge);
        desk.run(5.0);
        desk.orders(&[Order::Mode(ModeRequest::Reconnect)]);
        assert_eq!(desk.mode(), Mode::Resynchronising);
        let asked = desk.controller.sent[&ESS].1;
        assert_eq!(asked, Setpoint::Switch { on: comes_back });
    };
    check(0.5, true);
    check(0.19, false);
}

#[test]
fn a_reference_of_voltage_does_not_wind_up_while_a_set_forms_alone() {
    let mut desk = islanded(|_| ());
    desk.see(SET, Point::SwitchOn, 1.0);
    desk.see(ESS, Point::SwitchOn, 0.0);
    for device in [PCC, ESS] {
        desk.see(device, Point::VoltageL1, 224.0);
    }
    desk.run(30.0);
    desk.see(ESS, Point::SwitchOn, 1.0);
    let first = desk.orders(&[]).dispatches;
    let q = first.iter().find_map(|d| match d.setpoint.get() {
        Setpoint::Power { q, .. } if d.device == ESS => Some(q.as_vars()),
        _ => None,
    });
    assert!(q.is_none_or(|q| q.abs() < 500.0), "{q:?}");
}

#[test]
fn a_set_with_a_setpoint_is_unloaded_for_the_storage_that_takes_over() {
    let mut desk = islanded(|devices| devices[SET.index()].takes_power = true);
    desk.see(SET, Point::SwitchOn, 1.0);
    desk.see(ESS, Point::SwitchOn, 0.0);
    share(&mut desk, 0.0, 4.0);
    desk.run(1.0);
    assert!((kw(desk.controller.sent[&SET].1) - 4.0).abs() < 0.1);
    desk.orders(&[hand_over(ESS)]);
    desk.see(ESS, Point::SwitchOn, 1.0);
    share(&mut desk, 0.3, 3.7);
    desk.run(0.6);
    let sent = kw(desk.controller.sent[&SET].1);
    assert!((1.0..3.0).contains(&sent), "{sent}");
    // What is left goes on being called down, never below nothing.
    desk.run(5.0);
    assert_eq!(kw(desk.controller.sent[&SET].1), 0.0);
}

#[test]
fn a_set_that_is_kept_on_after_a_hand_over_takes_its_setpoint() {
    let mut desk = islanded(|devices| devices[SET.index()].takes_power = true);
    desk.orders(&[hand_over(SET)]);
    desk.see(SET, Point::SwitchOn, 1.0);
    share(&mut desk, 0.0, 4.0);
    desk.run(4.0);
    desk.see(ESS, Point::SwitchOn, 0.0);
    desk.run(1.0);
    assert_eq!(handed_to(&desk), [(SET, 1)]);
    assert!((kw(desk.controller.sent[&SET].1) - 4.0).abs() < 0.1);
}
