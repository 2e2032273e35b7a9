//! The exchange with the utility and what is kept back, on a site that answers with its own balance.

use model::Signal;

use super::*;

/// A site behind the coupling: what loads and sun do by themselves.
#[derive(Clone, Copy)]
struct Site {
    load_kw: f64,
    load_kvar: f64,
    sun_kw: f64,
}

/// The desk of a bench with these settings.
fn desk(change: impl FnOnce(&mut Settings)) -> Desk {
    let mut desk = Desk::new();
    let mut bench = desk.controller.bench.clone();
    change(&mut bench.settings);
    desk.controller = Controller::new(bench);
    desk
}

fn kilo(value: f64) -> ActivePower {
    ActivePower::from_kilowatts(value)
}

/// Runs a site for some seconds: storage and ceiling are obeyed at once, meters show the balance.
/// Gives the exchange at the end: kW, kvar.
fn run(desk: &mut Desk, site: Site, orders: &[Order], seconds: usize) -> (f64, f64) {
    let (mut storage_w, mut storage_var, mut ceiling_w) = (0.0, 0.0, f64::INFINITY);
    let mut exchange = (0.0, 0.0);
    for step in 0..10 * seconds {
        let sun_w = (site.sun_kw * 1e3).min(ceiling_w);
        exchange = (
            site.load_kw * 1e3 - sun_w - storage_w,
            site.load_kvar * 1e3 - storage_var,
        );
        desk.see(PV, Point::ActivePower, sun_w);
        desk.see(ESS, Point::ActivePower, storage_w);
        desk.see(ESS, Point::ReactivePower, storage_var);
        desk.see(PCC, Point::ActivePower, exchange.0);
        desk.see(PCC, Point::ReactivePower, exchange.1);
        let orders = match step {
            0 => [&[Order::Arm(true)], orders].concat(),
            _ => Vec::new(),
        };
        for dispatch in desk.orders(&orders).dispatches {
            match dispatch.setpoint.get() {
                Setpoint::Power { p, q } => (storage_w, storage_var) = (p.as_watts(), q.as_vars()),
                Setpoint::Ceiling { p } => ceiling_w = p.as_watts(),
                Setpoint::Switch { .. } | Setpoint::Source { .. } => {}
            }
        }
    }
    (exchange.0 / 1e3, exchange.1 / 1e3)
}

#[test]
fn an_agreed_exchange_is_kept_by_the_storage_and_then_by_a_ceiling_on_the_sun() {
    let agreed = |s: &mut Settings| s.agreement.limits = Bounds::new(kilo(-3.0), kilo(5.0));
    let check = |load_kw, sun_kw, orders: &[Order], expected_kw: f64| {
        let site = Site {
            load_kw,
            load_kvar: 0.0,
            sun_kw,
        };
        let (exchange_kw, _) = run(&mut desk(agreed), site, orders, 20);
        assert!(
            (exchange_kw - expected_kw).abs() < 0.11,
            "load {load_kw}, sun {sun_kw}: {exchange_kw} instead of {expected_kw}"
        );
    };
    // Inside, nothing is done; at a limit, the storage gives what is beyond, and 1 % of its rating.
    check(4.0, 0.0, &[], 4.0);
    check(8.0, 0.0, &[], 4.9);
    check(0.0, 8.0, &[], -2.9);
    // Ten kilowatts of charge are all that the storage can take: then the sun is held.
    check(0.0, 18.0, &[], -2.9);
    // The market's storage power is held back where it would break the agreement.
    check(0.0, 0.0, &[schedule_of_storage(8.0)], -2.9);
    check(0.0, 0.0, &[schedule_of_storage(2.0)], -2.0);
}

/// A schedule that commits the storage and says nothing of the exchange.
fn schedule_of_storage(kw: f64) -> Order {
    let Order::Schedule(mut schedule) = schedule(0.0, kw) else {
        unreachable!("a schedule")
    };
    schedule.pcc = None;
    Order::Schedule(schedule)
}

#[test]
fn an_agreement_that_is_not_kept_is_told_once_with_its_cause_and_once_at_its_end() {
    let check = |change: &dyn Fn(&mut Settings),
                 situation: &dyn Fn(&mut Desk),
                 (load_kw, sun_kw): (f64, f64),
                 missing_kw: f64,
                 expected: &str| {
        let mut desk = desk(|s| {
            s.agreement.limits = Bounds::new(kilo(-3.0), kilo(5.0));
            change(s);
        });
        situation(&mut desk);
        let site = Site {
            load_kw,
            load_kvar: 0.0,
            sun_kw,
        };
        run(&mut desk, site, &[], 20);
        let quiet = Site {
            load_kw: 1.0,
            sun_kw: 0.0,
            ..site
        };
        run(&mut desk, quiet, &[], 10);
        let told: Vec<&Event> = desk
            .events
            .iter()
            .filter(|e| matches!(e, Event::ExchangeMissed { .. } | Event::ExchangeKept { .. }))
            .collect();
        let [
            Event::ExchangeMissed { missing_w, why },
            Event::ExchangeKept {
                after_s,
                why: ended,
            },
        ] = told.as_slice()
        else {
            panic!("{expected}: {told:?}");
        };
        assert!((missing_w - missing_kw * 1e3).abs() < 10.0, "{missing_w}");
        assert!(why.contains(expected), "{why}");
        assert!((after_s - 20.0).abs() < 0.5, "{after_s}");
        assert!(ended.contains("inside again"), "{ended}");
    };
    let same = |_: &mut Settings| ();
    let none = |_: &mut Desk| ();
    check(
        &same,
        &none,
        (17.0, 0.0),
        2.0,
        "12.0 kW are needed, the storage can give 10.0 kW",
    );
    let power = |s: &mut Settings| s.reserve_p = Some(kilo(4.0));
    check(
        &power,
        &none,
        (12.0, 0.0),
        1.0,
        "7.0 kW are needed; 4.0 kW stay in reserve, 6.0 kW are free",
    );
    let floor = |s: &mut Settings| s.reserve_soc = Some(StateOfCharge::from_percent(60.0));
    check(
        &floor,
        &none,
        (8.0, 0.0),
        3.0,
        "3.0 kW are needed of the storage; charge 50 %, reserve 60 %",
    );
    let full = |desk: &mut Desk| desk.see(BAT, Point::StateOfCharge, 0.9);
    let no_ceiling = |desk: &mut Desk| {
        let mut bench = desk.controller.bench.clone();
        bench.devices[PV.index()].takes_ceiling = false;
        desk.controller = Controller::new(bench);
        full(desk);
    };
    check(
        &same,
        &no_ceiling,
        (0.0, 8.0),
        -5.0,
        "5.0 kW are too much, the storage can take 0.0 W, not all of the sun can be held",
    );
}

#[test]
fn an_agreement_that_is_kept_in_time_or_by_nobody_is_not_told() {
    let is_told = |e: &Event| matches!(e, Event::ExchangeMissed { .. });
    let agreed = |s: &mut Settings| s.agreement.limits = Bounds::new(kilo(-3.0), kilo(5.0));
    let heavy = Site {
        load_kw: 8.0,
        load_kvar: 0.0,
        sun_kw: 0.0,
    };
    let mut kept = desk(agreed);
    run(&mut kept, heavy, &[], 20);
    assert!(!kept.events.iter().any(is_told));
    // A bench that only looks keeps nothing.
    let mut looks = desk(agreed);
    looks.see(PCC, Point::ActivePower, 20_000.0);
    looks.run(10.0);
    assert!(!looks.events.iter().any(is_told));
}

#[test]
fn an_agreement_that_is_given_up_is_not_missed_any_more() {
    let mut desk = desk(|s| s.agreement.limits = Bounds::new(kilo(-3.0), kilo(5.0)));
    let heavy = Site {
        load_kw: 20.0,
        load_kvar: 0.0,
        sun_kw: 0.0,
    };
    run(&mut desk, heavy, &[], 10);
    let nothing = model::Agreement::default();
    desk.orders(&[Order::Agree(nothing)]);
    let last = desk.events.last();
    assert!(
        matches!(last, Some(Event::ExchangeKept { why, .. }) if why.contains("no limit")),
        "{last:?}"
    );
}

#[test]
fn a_ceiling_that_the_agreement_needed_is_lifted_when_the_sun_has_gone_down() {
    let mut desk = desk(|s| s.agreement.limits = Bounds::new(kilo(-3.0), kilo(5.0)));
    let noon = Site {
        load_kw: 0.0,
        load_kvar: 0.0,
        sun_kw: 18.0,
    };
    run(&mut desk, noon, &[], 10);
    let evening = Site {
        load_kw: 4.0,
        sun_kw: 1.0,
        ..noon
    };
    run(&mut desk, evening, &[], 10);
    let (_, last) = desk.controller.sent[&PV];
    let rated = Setpoint::Ceiling { p: kilo(20.0) };
    assert_eq!(last, rated);
}

#[test]
fn a_ceiling_stands_while_the_exchange_is_not_known() {
    let mut desk = desk(|s| s.agreement.limits = Bounds::new(kilo(-3.0), kilo(5.0)));
    let noon = Site {
        load_kw: 0.0,
        load_kvar: 0.0,
        sun_kw: 18.0,
    };
    run(&mut desk, noon, &[], 10);
    let held = desk.controller.sent[&PV].1;
    assert!(kw(held) < 13.0, "{held:?}");
    desk.image.devices[PCC.index()].p = model::Signal::unread();
    desk.run(5.0);
    assert_eq!(desk.controller.sent[&PV].1, held);
}

#[test]
fn a_frequency_answer_goes_before_the_agreed_exchange_and_the_reserve() {
    let mut desk = desk(|s| {
        s.agreement.limits = Bounds::new(kilo(-1.0), kilo(1.0));
        s.reserve_p = Some(kilo(9.0));
    });
    desk.see(PCC, Point::Frequency, 49.0);
    desk.orders(&[Order::Arm(true)]);
    desk.run(1.0);
    let (_, setpoint) = desk.controller.sent[&ESS];
    // 1 Hz less 0.03 Hz of deadband, at 4 % droop of 10 kW.
    assert!((kw(setpoint) - 4.85).abs() < 0.01, "{setpoint:?}");
}

#[test]
fn what_is_in_reserve_is_neither_planned_nor_sold() {
    let check = |change: &dyn Fn(&mut Settings), charge: Option<f64>, expected_kw: f64| {
        let mut desk = desk(|s| change(s));
        if let Some(charge) = charge {
            desk.see(BAT, Point::StateOfCharge, charge);
        } else {
            // Never seen: not known.
            desk.image.devices[BAT.index()].soc = model::Signal::unread();
        }
        desk.orders(&[Order::Arm(true), schedule_of_storage(8.0)]);
        desk.run(2.0);
        let sent = desk.controller.sent.get(&ESS);
        let got = sent.map_or(0.0, |(_, setpoint)| kw(*setpoint));
        assert!((got - expected_kw).abs() < 0.01, "{charge:?}: {got}");
    };
    let power = |s: &mut Settings| s.reserve_p = Some(kilo(3.0));
    let all = |s: &mut Settings| s.reserve_p = Some(kilo(30.0));
    let charge = |s: &mut Settings| s.reserve_soc = Some(StateOfCharge::from_percent(40.0));
    let none = |_: &mut Settings| ();
    check(&none, Some(0.5), 8.0);
    check(&power, Some(0.5), 7.0);
    check(&all, Some(0.5), 0.0);
    check(&charge, Some(0.41), 8.0);
    check(&charge, Some(0.39), 0.0);
    check(&charge, None, 0.0);
}

#[test]
fn a_floor_of_charge_is_left_only_with_some_charge_above_it() {
    let mut desk = desk(|s| s.reserve_soc = Some(StateOfCharge::from_percent(40.0)));
    desk.orders(&[Order::Arm(true), schedule_of_storage(4.0)]);
    let mut discharges = |charge: f64| {
        desk.see(BAT, Point::StateOfCharge, charge);
        desk.run(1.0);
        let sent = desk.controller.sent.get(&ESS);
        sent.is_some_and(|(_, setpoint)| kw(*setpoint) > 3.9)
    };
    let charges = [0.405, 0.395, 0.405, 0.415, 0.405];
    let expected = [true, false, false, true, true];
    assert_eq!(charges.map(&mut discharges), expected);
}

#[test]
fn a_power_factor_or_a_reactive_power_is_kept_at_the_coupling() {
    let check = |change: &dyn Fn(&mut Settings), load_kvar: f64, expected_kvar: f64| {
        let site = Site {
            load_kw: 6.0,
            load_kvar,
            sun_kw: 0.0,
        };
        let (_, kvar) = run(&mut desk(|s| change(s)), site, &[], 5);
        assert!(
            (kvar - expected_kvar).abs() < 0.06,
            "{load_kvar}: {kvar} instead of {expected_kvar}"
        );
    };
    // Nine tenths of 6 kW * tan(acos(0.95)) = 1.775 kvar.
    let factor = |s: &mut Settings| s.agreement.pf_min = Some(0.95);
    let none = |_: &mut Settings| ();
    let reactive = |s: &mut Settings| {
        s.agreement.pf_min = Some(0.95);
        s.agreement.q = Some(ReactivePower::from_vars(-500.0));
    };
    check(&none, 4.0, 4.0);
    check(&factor, 1.0, 1.0);
    check(&factor, 4.0, 1.775);
    check(&factor, -4.0, -1.775);
    check(&reactive, 4.0, -0.5);
    // The same while power is given.
    let exports = Site {
        load_kw: 0.0,
        load_kvar: 4.0,
        sun_kw: 6.0,
    };
    let (_, kvar) = run(&mut desk(factor), exports, &[], 5);
    assert!((kvar - 1.775).abs() < 0.06, "{kvar}");
}

#[test]
fn a_reactive_power_stands_while_the_exchange_is_not_known() {
    let site = Site {
        load_kw: 6.0,
        load_kvar: 4.0,
        sun_kw: 0.0,
    };
    let reactive = |s: &mut Settings| s.agreement.q = Some(ReactivePower::ZERO);
    let factor = |s: &mut Settings| s.agreement.pf_min = Some(0.95);
    let check = |change: &dyn Fn(&mut Settings), lost: &dyn Fn(&mut ProcessImage)| {
        let mut desk = desk(|s| change(s));
        run(&mut desk, site, &[], 5);
        let held = desk.controller.sent[&ESS].1;
        assert!(
            matches!(held, Setpoint::Power { q, .. } if q.as_vars() > 2_000.0),
            "{held:?}"
        );
        lost(&mut desk.image);
        desk.run(3.0);
        assert_eq!(desk.controller.sent[&ESS].1, held);
        // It is let go with the agreement.
        let nothing = model::Agreement::default();
        desk.orders(&[Order::Agree(nothing)]);
        desk.run(0.5);
        assert_eq!(kvar(desk.controller.sent[&ESS].1), 0.0);
    };
    let exchange = |image: &mut ProcessImage| image.devices[PCC.index()].q = Signal::unread();
    let storage = |image: &mut ProcessImage| image.devices[ESS.index()].q = Signal::unread();
    let active = |image: &mut ProcessImage| image.devices[PCC.index()].p = Signal::unread();
    check(&reactive, &exchange);
    check(&reactive, &storage);
    check(&factor, &exchange);
    check(&factor, &active);
}

fn kvar(setpoint: Setpoint) -> f64 {
    match setpoint {
        Setpoint::Power { q, .. } => q.as_vars() / 1e3,
        _ => f64::NAN,
    }
}

#[test]
fn an_islands_voltage_comes_back_to_nominal_and_meets_the_utilitys_before_they_are_coupled() {
    let mut desk = desk(|s| s.auto_reconnect = false);
    desk.orders(&[Order::Arm(true)]);
    let (mut reactive_var, mut v) = (0.0, 0.0);
    desk.see(BREAKER, Point::SwitchOn, 0.0);
    desk.see(BREAKER, Point::GridVoltage, 234.0);
    let mut live = |desk: &mut Desk, seconds: usize| {
        for _ in 0..10 * seconds {
            // The former's droop of 5 % at 10 kVA, under a load of 4 kvar.
            v = 230.0 * (1.0 - 0.05 * (4_000.0 - reactive_var) / 10_000.0);
            desk.see(ESS, Point::VoltageL1, v);
            desk.see(PCC, Point::VoltageL1, v);
            desk.see(ESS, Point::ReactivePower, 4_000.0);
            for dispatch in desk.orders(&[]).dispatches {
                if let Setpoint::Power { q, .. } = dispatch.setpoint.get() {
                    reactive_var = q.as_vars();
                }
            }
        }
        v
    };
    assert!((live(&mut desk, 30) - 230.0).abs() <= 0.5, "{v}");
    assert_eq!(desk.mode(), Mode::Islanded);
    // While the voltage is not known the reference stands.
    let reference = desk.controller.sent[&ESS].1;
    let seen = desk.image.clone();
    for device in [PCC, ESS] {
        desk.image.devices[device.index()].v = model::Signal::unread();
    }
    desk.run(3.0);
    assert_eq!(desk.controller.sent[&ESS].1, reference);
    desk.image = seen;
    desk.orders(&[Order::Mode(ModeRequest::Reconnect)]);
    let met = live(&mut desk, 30);
    assert!((met - 234.0).abs() <= 0.5, "{met}");
    assert_eq!(desk.mode(), Mode::Resynchronising);
}

#[test]
fn the_market_is_suspended_for_an_island_and_resumed_after_it() {
    let mut desk = Desk::new();
    desk.orders(&[schedule(1.0, 0.5)]);
    desk.see(BREAKER, Point::SwitchOn, 0.0);
    desk.run(1.0);
    desk.see(BREAKER, Point::SwitchOn, 1.0);
    desk.run(1.0);
    let told: Vec<&Event> = desk
        .events
        .iter()
        .filter(|e| {
            matches!(
                e,
                Event::MarketSuspended { .. } | Event::MarketResumed { .. }
            )
        })
        .collect();
    let suspended = Event::MarketSuspended {
        interval: 1,
        mode: Mode::Islanding,
    };
    assert_eq!(told, [&suspended, &Event::MarketResumed { interval: 1 }]);
}

#[test]
fn what_the_utility_asks_for_holds_from_then_on_and_nonsense_is_refused() {
    let mut desk = desk(|s| s.agreement.limits = Bounds::new(kilo(-3.0), kilo(5.0)));
    let site = Site {
        load_kw: 4.0,
        load_kvar: 2.0,
        sun_kw: 0.0,
    };
    run(&mut desk, site, &[], 3);
    let asked = model::Agreement {
        target: Some(kilo(1.0)),
        q: Some(ReactivePower::ZERO),
        ..model::Agreement::default()
    };
    // Settled by integral tracking within 1 % of the storage's rating.
    let (kw, kvar) = run(&mut desk, site, &[Order::Agree(asked)], 10);
    assert!((kw - 1.0).abs() <= 0.11 && kvar.abs() < 0.06, "{kw} {kvar}");
    assert!(desk.events.contains(&Event::Agreed { agreement: asked }));
    let nonsense = model::Agreement {
        pf_min: Some(1.2),
        ..asked
    };
    desk.orders(&[Order::Agree(nonsense)]);
    assert_eq!(desk.controller.bench.settings.agreement, asked);
    let refused =
        |e: &Event| matches!(e, Event::OrderRefused { why } if why.contains("power factor"));
    assert!(desk.events.iter().any(refused));
}

#[test]
fn who_leaves_the_utility_may_use_the_reserve_and_who_stays_may_not() {
    let site = Site {
        load_kw: 9.0,
        load_kvar: 0.0,
        sun_kw: 0.0,
    };
    let check = |change: &dyn Fn(&mut Settings), stays_kw: f64| {
        let mut desk = desk(|s| change(s));
        let (imported_kw, _) = run(&mut desk, site, &[schedule_of_storage(9.0)], 3);
        assert!((imported_kw - stays_kw).abs() < 0.1, "{imported_kw}");
        let leave = Order::Mode(ModeRequest::Disconnect);
        let (imported_kw, _) = run(&mut desk, site, &[leave], 3);
        assert!(imported_kw.abs() < 0.1, "{imported_kw}");
        assert_eq!(desk.mode(), Mode::Leaving);
    };
    check(&|s| s.reserve_p = Some(kilo(3.0)), 2.0);
    let charge = StateOfCharge::from_percent(60.0);
    check(&|s| s.reserve_soc = Some(charge), 9.0);
}

#[test]
fn the_agreed_reactive_exchange_is_nothing_to_an_island() {
    let mut desk = desk(|s| s.agreement.q = Some(ReactivePower::from_vars(-500.0)));
    let site = Site {
        load_kw: 6.0,
        load_kvar: 4.0,
        sun_kw: 0.0,
    };
    run(&mut desk, site, &[], 5);
    assert!((kvar(desk.controller.sent[&ESS].1) - 4.5).abs() < 0.06);
    // The breaker opens, and the island does not settle: nobody brings its voltage back yet.
    desk.see(BREAKER, Point::SwitchOn, 0.0);
    desk.see(PCC, Point::Frequency, 50.6);
    desk.see(PCC, Point::ReactivePower, 4_000.0);
    let told = desk.run(3.0);
    assert_eq!(desk.mode(), Mode::Islanding);
    assert_eq!(kvar(told[&ESS].0), 0.0);
}

#[test]
fn an_islands_reactive_reference_moves_as_fast_as_its_gain_says() {
    // 1 % below nominal for a second: gain times 1 % of 10 kVA, on top of what is given.
    let check = |change: &dyn Fn(&mut Settings), moved_var: f64| {
        let mut desk = desk(|s| {
            s.auto_reconnect = false;
            change(s);
        });
        desk.see(BREAKER, Point::SwitchOn, 0.0);
        desk.see(ESS, Point::ReactivePower, 1_000.0);
        desk.run(5.0);
        desk.orders(&[Order::Arm(true)]);
        assert_eq!(desk.mode(), Mode::Islanded);
        let before = kvar(desk.controller.sent[&ESS].1);
        for device in [PCC, ESS] {
            desk.see(device, Point::VoltageL1, 230.0 * 0.99);
        }
        desk.run(1.0);
        let moved = (kvar(desk.controller.sent[&ESS].1) - before) * 1e3;
        assert!((moved - moved_var).abs() < 0.15 * moved_var, "{moved}");
    };
    // The default is 4 per second.
    check(&|_| (), 400.0);
    check(&|s| s.island_v_gain_per_s = 10.0, 1_000.0);
}
