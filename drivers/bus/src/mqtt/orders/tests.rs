//! Commands whose broker or connection goes at the worst moment.

use model::Setpoint;

use super::*;
use crate::DispatchId;

const DEVICE: DeviceIx = DeviceIx(0);
const KEY: Key = (DEVICE, Point::SwitchOn);
const ON: Wish = Wish {
    value: 1.0,
    tolerance: 0.0,
};
const VALID: Duration = Duration::from_secs(2);
const CONFIRM: Duration = Duration::from_secs(5);

fn at(ms: u64) -> Instant {
    Instant::START + Duration::from_millis(ms)
}

fn order(dispatch: u64) -> Order {
    Order {
        dispatch: DispatchId(dispatch),
        device: DEVICE,
        setpoint: Setpoint::Switch { on: true },
        valid_until: Instant::START + VALID,
        urgent: false,
    }
}

/// A command of dispatch 1 that went out at the start, on the first connection.
fn one_out() -> (Orders, Token) {
    let mut orders = Orders::default();
    orders.link_up();
    assert_eq!(orders.take(Point::SwitchOn, order(1), ON), None);
    let token = orders.next_token();
    assert_eq!(orders.sent(KEY, token, at(0), CONFIRM), None);
    (orders, token)
}

/// The dispatch that would be sent next.
fn next(orders: &Orders, now: Instant) -> Option<u64> {
    let ready = orders.next_ready(now, |_| true);
    ready.map(|(_, order, _)| order.dispatch.0)
}

fn stages(events: &[LinkEvent]) -> Vec<(u64, Option<Stage>)> {
    let told = events.iter().filter_map(|event| match event {
        LinkEvent::Confirmed {
            dispatch, stage, ..
        } => Some((dispatch.0, Some(*stage))),
        LinkEvent::Missed { dispatch, .. } => Some((dispatch.0, None)),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_lost_connection_brings_back_what_the_broker_has_not_taken_while_it_is_in_time() {
    // (acknowledged, a newer one waits, lost at, what is sent next)
    for (acknowledged, newer, lost_ms, expected) in [
        (false, false, 1000, Some(1)),
        (false, false, 2000, Some(1)),
        (true, false, 1000, None),
        (false, true, 1000, Some(2)),
        (false, false, 2001, None),
    ] {
        let (mut orders, token) = one_out();
        if acknowledged {
            orders.acknowledged(token, at(1));
        }
        if newer {
            orders.take(Point::SwitchOn, order(2), ON);
        }
        orders.link_down(at(lost_ms));
        let row = format!("acknowledged {acknowledged}, newer {newer}, lost at {lost_ms} ms");
        assert_eq!(next(&orders, at(lost_ms)), expected, "{row}");
        assert_eq!(next(&orders, at(2001)), None, "{row}: never sent late");
        let over = orders.next_due().map(|due| due <= at(2000) + CONFIRM);
        assert_eq!(over, Some(true), "{row}: it is told of");
    }
}

#[test]
fn a_late_command_is_noticed_just_after_its_deadline() {
    let mut orders = Orders::default();
    orders.take(Point::SwitchOn, order(1), ON);
    assert_eq!(orders.tick(at(2000), |_| "plug"), Outcome::default());
    let due = orders.next_due().expect("it waits");
    assert!(due > at(2000) && due < at(2001));
    let outcome = orders.tick(due, |_| "plug");
    assert_eq!(
        (outcome.expired, stages(&outcome.events)),
        (vec![KEY.0], vec![(1, None)])
    );
    assert_eq!(orders.next_due(), None);
}

#[test]
fn a_connection_is_dead_when_its_own_broker_owes_an_acknowledgement() {
    // (acknowledged, another connection since, dead)
    for (acknowledged, reconnected, dead) in [
        (false, false, true),
        (true, false, false),
        // The one that owes it is gone already: the new one need not suffer.
        (false, true, false),
    ] {
        let (mut orders, token) = one_out();
        if acknowledged {
            orders.acknowledged(token, at(1));
        }
        if reconnected {
            orders.link_down(at(2001));
            orders.link_up();
        }
        let outcome = orders.tick(at(5000), |_| "plug");
        assert_eq!(
            (outcome.unconfirmed, outcome.dead_connection),
            (vec![KEY.0], dead),
            "acknowledged {acknowledged}, reconnected {reconnected}"
        );
    }
}

#[test]
fn each_stage_is_told_once_whoever_is_faster() {
    let (mut orders, token) = one_out();
    let first = orders.acknowledged(token, at(1));
    assert_eq!(stages(first.as_slice()), [(1, Some(Stage::Written))]);
    assert_eq!(orders.acknowledged(token, at(2)), None, "told already");
    let state = orders.state(KEY, 1.0, at(3));
    assert_eq!(stages(&state), [(1, Some(Stage::Register))]);
    assert_eq!(orders.state(KEY, 1.0, at(4)), []);
    // The device may be faster than the broker.
    let (mut orders, token) = one_out();
    assert_eq!(orders.state(KEY, 0.0, at(1)), []);
    let state = orders.state(KEY, 1.0, at(1));
    let both = [(1, Some(Stage::Written)), (1, Some(Stage::Register))];
    assert_eq!(stages(&state), both);
    assert_eq!(orders.acknowledged(token, at(2)), None);
}
