//! What the market says again of an interval, and what it tries out before one.

use super::*;

fn sent(desk: &Desk) -> f64 {
    sent_power(&desk.controller.sent, ESS).as_kilowatts()
}

#[test]
fn what_the_market_says_again_of_an_interval_counts_at_once_and_alone() {
    let mut desk = Desk::new();
    desk.see(PCC, Point::ActivePower, 0.0);
    desk.orders(&[schedule(0.0, 2.0)]);
    desk.run(1.0);
    assert_eq!(sent(&desk), 2.0);
    // The utility shall take a kilowatt, and its meter does not know of it yet.
    desk.orders(&[schedule(-1.0, 2.0)]);
    assert_eq!(desk.controller.schedules.len(), 1);
    assert_eq!(sent(&desk), 3.0);
    desk.see(PCC, Point::ActivePower, -1_000.0);
    desk.run(1.0);
    assert_eq!(sent(&desk), 3.0);

    // A controller that hears the first word only.
    let mut desk = Desk::new();
    desk.controller.defect = Some(Defect::EnergyUntracked);
    desk.orders(&[schedule(0.0, 2.0)]);
    desk.orders(&[schedule(-1.0, 2.0)]);
    desk.run(0.2);
    assert_eq!(sent(&desk), 2.0);
}

#[test]
fn what_a_ramp_has_not_let_through_yet_is_not_asked_for_again() {
    let slow = |devices: &mut Vec<DeviceSpec>| {
        devices[ESS.index()].rating.ramp = PowerRamp::from_watts_per_second(500.0);
    };
    let mut desk = Desk::of(slow);
    desk.see(PCC, Point::ActivePower, 4_000.0);
    desk.see(ESS, Point::ActivePower, 0.0);
    desk.orders(&[schedule(0.0, 0.0)]);
    // It brings half a kilowatt more in each second, and so much less comes from the utility.
    for _ in 0..120 {
        let p_w = sent(&desk) * 1e3;
        desk.see(ESS, Point::ActivePower, p_w);
        desk.see(PCC, Point::ActivePower, 4_000.0 - p_w);
        desk.run(0.1);
        assert!(sent(&desk) < 4.2, "{}", sent(&desk));
    }
    assert!(sent(&desk) > 3.8, "{}", sent(&desk));
}

#[test]
fn a_storage_that_is_tried_out_does_that_and_goes_back() {
    let mut desk = Desk::new();
    let probe = |kw: f64, until_s: u64| Order::Probe {
        device: ESS,
        p: ActivePower::from_kilowatts(kw),
        until: Instant::START + Duration::from_secs(until_s),
    };
    let told = desk.orders(&[probe(0.5, 3)]).dispatches;
    let own = told.iter().find(|dispatch| dispatch.device == ESS);
    assert_eq!(own.map(|it| it.function), Some(Function::MarketSchedule));
    desk.run(1.0);
    assert_eq!(sent(&desk), 0.5);
    desk.orders(&[probe(-0.5, 3)]);
    desk.run(1.0);
    assert_eq!(sent(&desk), -0.5);
    desk.run(2.0);
    assert_eq!(sent(&desk), 0.0);
    let unknown = Order::Probe {
        device: DeviceIx(99),
        p: ActivePower::ZERO,
        until: Instant::START,
    };
    desk.orders(&[unknown]);
    let last = desk.events.last();
    assert!(matches!(last, Some(Event::OrderRefused { .. })), "{last:?}");
}
