//! Who decides over what, and what of it is sent.

use super::*;

fn power(kw: f64) -> Setpoint {
    Setpoint::Power {
        p: ActivePower::from_kilowatts(kw),
        q: ReactivePower::ZERO,
    }
}

fn hold(device: DeviceIx, setpoint: Setpoint) -> Order {
    Order::Hold { device, setpoint }
}

/// A schedule of one device, from and until seconds after the start.
fn schedule_of(interval: u64, device: DeviceIx, kw: f64, from_s: u64, until_s: u64) -> Order {
    let at = |s| Instant::START + Duration::from_secs(s);
    Order::Schedule(Schedule {
        interval,
        from: at(from_s),
        until: at(until_s),
        price_mc_per_kwh: None,
        pcc: None,
        devices: vec![(device, ActivePower::from_kilowatts(kw))],
        ceilings: Vec::new(),
    })
}

#[test]
fn a_frequency_answer_comes_on_top_of_what_was_given_before_and_on_the_utility_only() {
    let mut desk = Desk::new();
    desk.orders(&[schedule_of(1, ESS, 2.0, 0, 900)]);
    desk.run(1.0);
    desk.see(PCC, Point::Frequency, 49.5);
    // The answer is not added to itself, however long it lasts.
    desk.run(3.0);
    // 2.35 kW on top of 2 kW.
    let sent = kw(desk.controller.sent[&ESS].1);
    assert!((sent - 4.35).abs() < 0.06, "{sent}");

    let mut desk = Desk::new();
    desk.see(BREAKER, Point::SwitchOn, 0.0);
    desk.see(ESS, Point::ActivePower, 1_000.0);
    desk.see(PCC, Point::Frequency, 49.5);
    let last = desk.run(3.0);
    assert_eq!(last[&ESS].1, Function::IslandBalance);
}

#[test]
fn what_is_held_counts_for_its_group_and_the_others_give_the_rest() {
    const ESS_2: DeviceIx = DeviceIx(8);
    let mut desk = Desk::of(|devices| devices.push(spec("ess2", Role::Ess, -10.0, 10.0)));
    desk.see(ESS_2, Point::ActivePower, 0.0);
    desk.orders(&[hold(ESS, power(2.0)), schedule_of(1, ESS, 5.0, 0, 900)]);
    desk.run(1.0);
    let sent = [ESS, ESS_2].map(|device| kw(desk.controller.sent[&device].1));
    assert_eq!(sent, [2.0, 3.0]);
}

#[test]
fn a_storage_that_is_held_on_still_gets_its_power_and_its_rest() {
    let on = Setpoint::Switch { on: true };
    let with_switch = || Desk::of(|devices| devices[ESS.index()].takes_switch = true);
    let mut desk = with_switch();
    desk.see(ESS, Point::SwitchOn, 1.0);
    desk.orders(&[hold(ESS, on), schedule_of(1, ESS, 3.0, 0, 900)]);
    desk.run(1.0);
    assert_eq!(kw(desk.controller.sent[&ESS].1), 3.0);
    desk.orders(&[Order::Mode(ModeRequest::Safe)]);
    desk.run(1.0);
    assert_eq!(kw(desk.controller.sent[&ESS].1), 0.0);

    // One that is off is switched on first, and rests in the safe mode as it is.
    let mut desk = with_switch();
    desk.see(ESS, Point::SwitchOn, 0.0);
    desk.orders(&[hold(ESS, on)]);
    desk.run(1.0);
    assert_eq!(desk.controller.sent[&ESS].1, on);
    desk.orders(&[Order::Mode(ModeRequest::Safe)]);
    desk.run(1.0);
    assert_eq!(kw(desk.controller.sent[&ESS].1), 0.0);
}

#[test]
fn a_storage_that_does_not_answer_is_counted_on_for_nothing() {
    const ESS_2: DeviceIx = DeviceIx(8);
    let mut desk = Desk::of(|devices| devices.push(spec("ess2", Role::Ess, -10.0, 10.0)));
    desk.see(ESS_2, Point::ActivePower, 0.0);
    desk.image.devices[ESS_2.index()].link = model::Link::Offline;
    desk.orders(&[schedule_of(1, ESS, 5.0, 0, 900)]);
    desk.run(1.0);
    assert_eq!(kw(desk.controller.sent[&ESS].1), 5.0);
}

#[test]
fn an_exchange_within_a_hundredth_of_the_storage_is_left_alone() {
    let check = |exchange_kw: f64, moves: bool| {
        let mut desk = Desk::new();
        desk.see(PCC, Point::ActivePower, exchange_kw * 1e3);
        desk.orders(&[schedule(1.0, 0.5)]);
        desk.run(10.0);
        let sent = kw(desk.controller.sent[&ESS].1);
        assert_eq!((sent - 0.5).abs() > 0.1, moves, "{exchange_kw}: {sent}");
    };
    check(1.09, false);
    check(0.91, false);
    check(1.12, true);
    check(0.88, true);
}

#[test]
fn a_wish_of_the_storage_that_nobody_can_meet_is_told_once_and_a_high_ceiling_never() {
    let short = |desk: &Desk| {
        let of = |e: &&Event| matches!(e, Event::FellShort { .. });
        desk.events.iter().filter(of).count()
    };
    let mut desk = Desk::new();
    desk.orders(&[schedule_of(1, ESS, 15.0, 0, 900)]);
    desk.run(3.0);
    assert_eq!(short(&desk), 1);
    let mut desk = Desk::new();
    desk.see(BREAKER, Point::SwitchOn, 0.0);
    desk.see(PV, Point::ActivePower, 19_000.0);
    desk.see(ESS, Point::ActivePower, -5_000.0);
    desk.run(3.0);
    assert_eq!(short(&desk), 0, "{:?}", desk.events);
}

#[test]
fn a_person_is_told_that_a_device_cannot_be_asked_and_a_function_leaves_it_alone() {
    let mut desk = Desk::of(|devices| devices[ESS.index()].takes_power = false);
    let refused = |desk: &Desk| {
        let of = |e: &&Event| matches!(e, Event::SetpointRefused { device: ESS, .. });
        desk.events.iter().filter(of).count()
    };
    desk.orders(&[schedule_of(1, ESS, 2.0, 0, 900)]);
    desk.run(1.0);
    assert_eq!(refused(&desk), 0);
    desk.orders(&[hold(ESS, power(2.0))]);
    desk.run(1.0);
    assert_eq!(refused(&desk), 1);
}

#[test]
fn coming_to_rest_is_sent_however_small_the_step_is() {
    let mut desk = Desk::new();
    for kw in [1.0, 0.04] {
        desk.orders(&[hold(ESS, power(kw))]);
        desk.run(0.5);
    }
    desk.orders(&[hold(ESS, power(0.05))]);
    assert!(!desk.run(0.5).contains_key(&ESS), "not worth a message");
    assert_eq!(desk.controller.sent[&ESS].1, power(0.04));
    let rest = desk.orders(&[hold(ESS, power(0.0))]).dispatches;
    assert_eq!(rest.first().map(|d| d.setpoint.get()), Some(power(0.0)));
}

#[test]
fn a_switch_that_did_not_follow_is_asked_again_after_three_seconds_and_a_set_after_a_minute() {
    let check = |role: Role, seconds: u64| {
        const UNIT: DeviceIx = DeviceIx(8);
        let mut desk = Desk::of(|devices| {
            let mut unit = spec("unit1", role, 0.0, 10.0);
            unit.takes_switch = true;
            // Nobody else switches one that takes a setpoint.
            unit.takes_power = role == Role::Load;
            devices.push(unit);
        });
        desk.see(UNIT, Point::SwitchOn, 0.0);
        let on = Setpoint::Switch { on: true };
        let first = desk.orders(&[hold(UNIT, on)]).dispatches;
        assert!(first.iter().any(|d| d.device == UNIT));
        let quiet = desk.run(seconds as f64 - 0.1);
        assert!(!quiet.contains_key(&UNIT), "{role:?}");
        assert!(desk.run(0.2).contains_key(&UNIT), "{role:?}");
    };
    check(Role::Load, 3);
    check(Role::Genset, 60);
}

#[test]
fn the_schedule_that_was_told_last_counts_while_it_counts() {
    let mut desk = Desk::new();
    desk.orders(&[
        schedule_of(1, ESS, 2.0, 0, 900),
        schedule_of(2, ESS, 3.0, 5, 10),
    ]);
    let mut after = |seconds: f64| {
        desk.run(seconds);
        kw(desk.controller.sent[&ESS].1)
    };
    assert_eq!(after(2.0), 2.0);
    assert_eq!(after(5.0), 3.0);
    assert_eq!(after(5.0), 2.0);
}

#[test]
fn a_plug_is_switched_by_what_the_market_commits_to_it_and_closed_where_it_says_nothing() {
    let check = |kw: f64, islanded: bool, expected: bool| {
        let mut desk = Desk::new();
        if islanded {
            desk.see(BREAKER, Point::SwitchOn, 0.0);
        }
        desk.see(PLUG_1, Point::SwitchOn, f64::from(u8::from(!expected)));
        desk.orders(&[schedule_of(1, PLUG_1, kw, 0, 900)]);
        let sent = desk.controller.sent.get(&PLUG_1).map(|(_, s)| *s);
        assert_eq!(sent, Some(Setpoint::Switch { on: expected }), "{kw} kW");
    };
    check(-2.0, false, true);
    check(-0.1, false, false);
    // In an island the market has no say.
    check(-0.1, true, true);
}

#[test]
fn who_leaves_brings_the_exchange_to_zero_whatever_was_agreed_and_forgets_it_at_an_interval() {
    let mut desk = Desk::new();
    let agreed = model::Agreement {
        target: Some(ActivePower::from_kilowatts(2.0)),
        ..model::Agreement::default()
    };
    desk.see(PCC, Point::ActivePower, 2_000.0);
    desk.orders(&[Order::Agree(agreed)]);
    desk.run(3.0);
    let sent = |desk: &Desk| sent_power(&desk.controller.sent, ESS).as_kilowatts();
    assert_eq!(sent(&desk), 0.0);
    desk.orders(&[Order::Mode(ModeRequest::Island)]);
    desk.run(1.0);
    assert!(sent(&desk) > 1.0, "{}", sent(&desk));

    // The integral of an interval does not run on into the next: it begins at what is committed.
    let mut desk = Desk::new();
    desk.see(PCC, Point::ActivePower, 3_000.0);
    desk.orders(&[schedule(1.0, 0.5)]);
    desk.run(3.0);
    assert!(sent(&desk) > 5.0);
    desk.see(PCC, Point::ActivePower, 1_000.0);
    let Order::Schedule(mut next) = schedule(1.0, 0.5) else {
        unreachable!("a schedule")
    };
    next.interval = 2;
    desk.orders(&[Order::Schedule(next)]);
    desk.run(1.0);
    assert_eq!(sent(&desk), 0.5);
}

#[test]
fn a_commitment_of_the_market_is_sent_to_the_last_watt() {
    let mut desk = Desk::new();
    desk.see(BREAKER, Point::SwitchOn, 1.0);
    // Half a per cent of ten kilowatts are 50 W; who is held to 20 W more is not told.
    let sent = |desk: &Desk| kw(desk.controller.sent[&ESS].1);
    desk.orders(&[hold(ESS, power(2.0))]);
    desk.run(1.0);
    desk.orders(&[hold(ESS, power(2.02))]);
    desk.run(1.0);
    assert_eq!(sent(&desk), 2.0);
    let mut desk = Desk::new();
    let next = schedule_of(2, ESS, 2.02, 2, 900);
    desk.orders(&[schedule_of(1, ESS, 2.0, 0, 2), next]);
    desk.run(1.0);
    assert_eq!(sent(&desk), 2.0);
    let told = desk.run(1.5);
    assert_eq!(kw(told[&ESS].0), 2.02);
    // Once: it is not said again and again.
    assert!(!desk.run(1.0).contains_key(&ESS));
}

#[test]
fn the_sun_is_held_to_what_the_network_bears_of_each_inverter_and_let_go_once() {
    let mut desk = Desk::of(|devices| devices.push(devices[PV.index()].clone()));
    let other = DeviceIx(desk.controller.bench.devices.len() as u16 - 1);
    let Order::Schedule(mut schedule) = schedule_of(1, ESS, 0.0, 0, 5) else {
        unreachable!("a schedule");
    };
    schedule.ceilings = vec![(PV, ActivePower::from_kilowatts(4.0))];
    let told = desk.orders(&[Order::Schedule(schedule.clone())]).dispatches;
    let own = told.iter().find(|dispatch| dispatch.device == PV);
    assert_eq!(own.map(|d| d.function), Some(Function::MarketSchedule));
    let check = |desk: &Desk, own: f64| {
        let sent = |device| kw(desk.controller.sent[&device].1);
        assert_eq!((sent(PV), sent(other)), (own, 20.0));
    };
    check(&desk, 4.0);
    desk.run(4.0);
    check(&desk, 4.0);
    // The interval is over, and nothing is said of the next one.
    let told = desk.run(1.5);
    assert!(told.contains_key(&PV), "{told:?}");
    check(&desk, 20.0);
    // In an island balance comes first.
    schedule.until = Instant::START + Duration::from_secs(900);
    desk.see(BREAKER, Point::SwitchOn, 0.0);
    desk.orders(&[Order::Schedule(schedule)]);
    let told = desk.run(2.0);
    let mut functions = told.values().map(|(_, function)| *function);
    assert!(functions.all(|f| f != Function::MarketSchedule), "{told:?}");
}
