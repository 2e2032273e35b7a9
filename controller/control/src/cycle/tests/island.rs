//! Into an island and back: the breaker, loads that are shed, a dead bus.

use super::*;

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
