//! The safe mode and the safe end: what comes to rest, in which order, and what is waited for.

use super::*;

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
