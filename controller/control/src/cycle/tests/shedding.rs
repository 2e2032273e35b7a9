//! When a load is shed, when not yet, and when it comes back.

use super::*;

/// An island whose storage gives this, at this charge and frequency.
fn island(storage_kw: f64, charge: f64, f_hz: f64) -> Desk {
    let mut desk = Desk::new();
    desk.controller.bench.settings.auto_reconnect = false;
    desk.see(BREAKER, Point::SwitchOn, 0.0);
    desk.see(ESS, Point::ActivePower, storage_kw * 1e3);
    desk.see(BAT, Point::StateOfCharge, charge);
    desk.see(PCC, Point::Frequency, f_hz);
    desk
}

fn shed(desk: &Desk) -> Vec<DeviceIx> {
    let of = |e: &Event| match e {
        Event::LoadShed { device, .. } => Some(*device),
        _ => None,
    };
    desk.events.iter().filter_map(of).collect()
}

fn restored(desk: &Desk) -> usize {
    let of = |e: &&Event| matches!(e, Event::LoadRestored { .. });
    desk.events.iter().filter(of).count()
}

#[test]
fn a_load_is_shed_for_frequency_strain_or_charge_and_for_nothing_less() {
    let check = |storage_kw, charge, f_hz, seconds, expected: &[DeviceIx]| {
        let mut desk = island(storage_kw, charge, f_hz);
        desk.run(seconds);
        assert_eq!(
            shed(&desk),
            expected,
            "{storage_kw} kW, {charge}, {f_hz} Hz"
        );
    };
    check(5.0, 0.5, 49.01, 3.0, &[]);
    check(5.0, 0.5, 48.99, 0.1, &[PLUG_1]);
    // 9.5 of 10 kW, for half a second; one block, and the next only when it is still so.
    check(9.4, 0.5, 50.0, 3.0, &[]);
    check(9.6, 0.5, 50.0, 0.5, &[]);
    check(9.6, 0.5, 50.0, 0.6, &[PLUG_1]);
    check(9.6, 0.5, 50.0, 1.2, &[PLUG_1, PLUG_2]);
    // A storage that must not be discharged and is not, is not strained.
    check(-1.0, 0.1, 50.0, 3.0, &[]);
    check(0.0, 0.1, 50.0, 3.0, &[]);
    // 5 % above the lower limit of 15 %, while it is discharged.
    check(5.0, 0.21, 50.0, 3.0, &[]);
    check(5.0, 0.19, 50.0, 0.1, &[PLUG_1]);
}

#[test]
fn two_blocks_are_300_ms_apart_and_do_not_wait_for_a_cycle() {
    let mut desk = island(5.0, 0.5, 48.9);
    desk.step(Rhythm::Fast, &[]);
    assert_eq!(shed(&desk), [PLUG_1], "on the fast path");
    let mut steps = 0;
    while shed(&desk).len() < 2 {
        desk.step(Rhythm::Fast, &[]);
        steps += 1;
    }
    assert_eq!(steps * 20, 300);
}

#[test]
fn a_load_comes_back_when_frequency_and_room_have_been_there_for_five_seconds() {
    let check = |storage_kw: f64, f_hz: f64, closed: f64, seconds: f64, expected: usize| {
        let mut desk = island(5.0, 0.5, 48.9);
        desk.orders(&[]);
        assert_eq!(shed(&desk), [PLUG_1]);
        desk.see(ESS, Point::ActivePower, storage_kw * 1e3);
        desk.see(PCC, Point::Frequency, f_hz);
        desk.see(BREAKER, Point::SwitchOn, closed);
        desk.run(seconds);
        assert_eq!(
            restored(&desk),
            expected,
            "{storage_kw} kW, {f_hz} Hz, {closed}, {seconds} s"
        );
    };
    // 2 kW and half of it must be left.
    check(6.9, 50.0, 0.0, 5.0, 0);
    check(6.9, 50.0, 0.0, 5.2, 1);
    check(7.1, 50.0, 0.0, 9.0, 0);
    check(5.0, 49.4, 0.0, 9.0, 0);
    check(5.0, 49.6, 0.0, 9.0, 1);
    // On the utility there is always room.
    check(9.0, 49.4, 1.0, 5.2, 1);
}
