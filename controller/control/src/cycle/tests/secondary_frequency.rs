//! The frequency of an island that a set forms alone.

use super::*;

const SET: DeviceIx = DeviceIx(8);
/// A second set of half the size, where there is one.
const SMALL: DeviceIx = DeviceIx(9);

/// An island that sets hold up alone, 20 kW and, with two, 10 kW; each seen to give as much of its
/// rating. The storage is seen off.
fn island(
    sets: usize,
    given: f64,
    change: impl FnOnce(&mut Vec<DeviceSpec>, &mut Settings),
) -> Desk {
    let mut desk = Desk::made(|devices, settings| {
        devices[ESS.index()].takes_switch = true;
        for (name, kw) in [("gen1", 20.0), ("gen2", 10.0)].into_iter().take(sets) {
            let mut set = spec(name, Role::Genset, 0.0, kw);
            set.takes_switch = true;
            set.takes_power = true;
            devices.push(set);
        }
        settings.auto_reconnect = false;
        change(devices, settings);
    });
    desk.see(ESS, Point::SwitchOn, 0.0);
    for set in [SET, SMALL].into_iter().take(sets) {
        desk.see(set, Point::SwitchOn, 1.0);
    }
    give(&mut desk, sets, given);
    desk.see(BREAKER, Point::SwitchOn, 0.0);
    desk.run(0.5);
    desk
}

fn give(desk: &mut Desk, sets: usize, given: f64) {
    for (set, kw) in [(SET, 20.0), (SMALL, 10.0)].into_iter().take(sets) {
        desk.see(set, Point::ActivePower, given * kw * 1e3);
    }
}

fn setpoint(desk: &Desk, set: DeviceIx) -> f64 {
    sent_power(&desk.controller.sent, set).as_kilowatts()
}

/// A set of 4 % droop that obeys: its power stays what the island needs, and the frequency is what the
/// distance from its setpoint makes of it.
fn live(desk: &mut Desk, needed: f64, seconds: f64) -> f64 {
    give(desk, 1, needed);
    let mut f = 50.0;
    for _ in 0..(seconds * 10.0) as usize {
        f = 50.0 + 0.04 * 50.0 * (setpoint(desk, SET) / 20.0 - needed);
        desk.see(PCC, Point::Frequency, f);
        desk.orders(&[]);
    }
    f
}

#[test]
fn the_setpoint_begins_at_the_power_and_brings_the_frequency_back() {
    let mut desk = island(1, 0.25, |_, _| ());
    assert!((setpoint(&desk, SET) - 5.0).abs() < 0.1);
    // 4 kW more are 0.4 Hz less at first; 4 /s times 4 % closes the loop in 6 s.
    let soon = live(&mut desk, 0.45, 1.0);
    assert!((49.62..49.7).contains(&soon), "{soon}");
    let later = live(&mut desk, 0.45, 25.0);
    assert!((49.985..50.015).contains(&later), "{later}");
    assert!((setpoint(&desk, SET) - 9.0).abs() < 0.15);
}

#[test]
fn it_stays_inside_the_rating_and_does_not_wind_up_there() {
    let mut desk = island(1, 0.5, |_, _| ());
    let short = live(&mut desk, 1.2, 120.0);
    assert!((setpoint(&desk, SET) - 20.0).abs() < 0.1);
    assert!((49.58..49.62).contains(&short), "{short}");
    // Freed, it begins at once: 50.8 Hz by the droop, 6 s to a third of it.
    live(&mut desk, 0.6, 6.5);
    let back = live(&mut desk, 0.6, 0.1);
    assert!((50.2..50.35).contains(&back), "{back}");
}

#[test]
fn a_set_at_a_limit_of_its_own_does_not_wind_the_setpoint_up() {
    let mut desk = island(1, 0.5, |_, _| ());
    // Whatever it is told, it gives half and the frequency sags.
    desk.see(PCC, Point::Frequency, 49.4);
    desk.run(60.0);
    let sent = setpoint(&desk, SET);
    assert!((10.9..11.3).contains(&sent), "5 % ahead of 10 kW: {sent}");
}

#[test]
fn what_the_ramp_holds_back_is_not_made_up_for_later() {
    let mut desk = island(1, 0.25, |devices, _| {
        devices[SET.index()].rating.ramp = PowerRamp::from_watts_per_second(100.0);
    });
    // The frequency asks for 0.8 kW/s, the set bears 0.1 kW/s.
    give(&mut desk, 1, 0.5);
    desk.see(PCC, Point::Frequency, 49.5);
    desk.run(10.0);
    let sent = setpoint(&desk, SET);
    assert!((5.6..6.2).contains(&sent), "{sent}");
    desk.see(PCC, Point::Frequency, 50.0);
    desk.run(10.0);
    assert!((setpoint(&desk, SET) - sent).abs() < 0.25);
}

#[test]
fn sets_are_loaded_equally_by_their_rating() {
    let mut desk = island(2, 0.5, |_, _| ());
    desk.see(PCC, Point::Frequency, 49.9);
    desk.run(5.0);
    let (large, small) = (setpoint(&desk, SET), setpoint(&desk, SMALL));
    assert!(
        large > 10.5 && (large - 2.0 * small).abs() < 0.2,
        "{large} {small}"
    );
}

#[test]
fn a_frequency_or_a_power_that_is_not_known_leaves_the_setpoint_where_it_is() {
    let mut desk = island(1, 0.5, |_, _| ());
    desk.see(PCC, Point::Frequency, 49.9);
    desk.run(2.0);
    let before = setpoint(&desk, SET);
    desk.image.devices[SET.index()].p = model::Signal::unread();
    desk.run(5.0);
    assert!(before > 10.1 && setpoint(&desk, SET) == before);
}

#[test]
fn only_a_set_that_forms_alone_and_has_a_setpoint_is_moved() {
    let check = |moves: bool, change: &dyn Fn(&mut Vec<DeviceSpec>, &mut Settings), on: f64| {
        let mut desk = island(1, 0.5, change);
        desk.see(ESS, Point::SwitchOn, on);
        desk.orders(&[]);
        desk.controller.sent.remove(&SET);
        desk.see(PCC, Point::Frequency, 49.9);
        desk.run(2.0);
        assert_eq!(desk.controller.sent.contains_key(&SET), moves);
    };
    check(true, &|_, _| (), 0.0);
    // A storage forms as well: its reference does it.
    check(false, &|_, _| (), 1.0);
    // One that follows does not.
    let follows = |devices: &mut Vec<DeviceSpec>, _: &mut Settings| {
        devices[ESS.index()].forming = model::Forming::Follows;
    };
    check(true, &follows, 1.0);
    let isochronous = |devices: &mut Vec<DeviceSpec>, _: &mut Settings| {
        devices[SET.index()].forming = model::Forming::Isochronous;
    };
    check(false, &isochronous, 0.0);
    let deaf = |devices: &mut Vec<DeviceSpec>, _: &mut Settings| {
        devices[SET.index()].takes_power = false;
    };
    check(false, &deaf, 0.0);
    let left_to_the_droop = |_: &mut Vec<DeviceSpec>, settings: &mut Settings| {
        settings.island_f_gain_per_s = 0.0;
    };
    check(false, &left_to_the_droop, 0.0);
}

#[test]
fn a_set_that_returns_slips_past_the_utility_by_its_setpoint() {
    let mut desk = island(1, 0.5, |_, settings| settings.auto_reconnect = true);
    desk.see(BREAKER, Point::GridFrequency, 50.0);
    desk.run(12.0);
    assert_eq!(desk.mode(), Mode::Resynchronising);
    let sent = setpoint(&desk, SET);
    assert!(sent > 10.5, "to 0.1 Hz above the utility: {sent}");
}

#[test]
fn back_on_the_utility_or_stopped_it_goes_to_rest_unless_somebody_holds_it() {
    let leaves = |desk: &mut Desk| {
        desk.run(3.0);
        setpoint(desk, SET)
    };
    let mut desk = island(1, 0.5, |_, _| ());
    desk.see(SET, Point::SwitchOn, 0.0);
    assert_eq!(leaves(&mut desk), 0.0);
    let mut desk = island(1, 0.5, |_, _| ());
    desk.see(BREAKER, Point::SwitchOn, 1.0);
    assert_eq!(leaves(&mut desk), 0.0);
    let mut desk = island(1, 0.5, |_, _| ());
    desk.see(BREAKER, Point::SwitchOn, 1.0);
    let p = ActivePower::from_kilowatts(7.0);
    let q = ReactivePower::ZERO;
    desk.orders(&[Order::Hold {
        device: SET,
        setpoint: Setpoint::Power { p, q },
    }]);
    assert_eq!(leaves(&mut desk), 7.0);
}

#[test]
fn held_on_it_is_still_moved() {
    let mut desk = island(1, 0.5, |_, _| ());
    let setpoint_on = Setpoint::Switch { on: true };
    desk.orders(&[Order::Hold {
        device: SET,
        setpoint: setpoint_on,
    }]);
    desk.see(PCC, Point::Frequency, 49.9);
    desk.run(5.0);
    assert!(setpoint(&desk, SET) > 10.3);
}
