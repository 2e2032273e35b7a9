use std::time::Duration;

use proptest::prelude::*;
use quantities::{ActivePower, ReactivePower};

use super::*;

const MS: Duration = Duration::from_millis(1);

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn write(dispatch: u64, device: usize, urgent: bool) -> Write {
    Write {
        dispatch: DispatchId(dispatch),
        device,
        setpoint: Setpoint::Power {
            p: ActivePower::from_watts(dispatch as f64),
            q: ReactivePower::ZERO,
        },
        valid_until: at(10_000),
        urgent,
        not_before: Instant::START,
        refusals: 0,
    }
}

/// A plan whose devices are all set up.
fn ready(devices: usize) -> Plan {
    let mut plan = Plan::new(devices);
    for device in 0..devices {
        plan.setup_done(device);
    }
    plan
}

fn offline(plan: &mut Plan, device: usize, now: Instant) {
    assert_eq!(plan.failed(device, now), None);
    assert_eq!(plan.failed(device, now), None);
    assert_eq!(plan.failed(device, now), Some(Change::Offline));
    assert_eq!(plan.failed(device, now), None);
}

#[test]
fn work_is_taken_in_the_order_of_its_weight() {
    let mut plan = ready(6);
    let slow = plan.add_read(0, Class::Slow, Some(MS * 9000), at(0));
    let normal = plan.add_read(0, Class::Normal, Some(MS * 900), at(0));
    let fast = plan.add_read(0, Class::Fast, Some(MS * 500), at(0));
    plan.set_refresh(1, Point::ActivePowerLimit, Some(MS * 10), at(0));
    plan.push_write(write(1, 2, false));
    plan.push_write(write(2, 3, true));
    offline(&mut plan, 5, at(0));
    plan.probe_all(at(50));
    let read = |key| Task::Read { device: 0, key };
    let expected = [
        Task::Write(write(2, 3, true)),
        Task::Write(write(1, 2, false)),
        Task::Refresh {
            device: 1,
            point: Point::ActivePowerLimit,
        },
        read(fast),
        read(normal),
        read(slow),
        Task::Probe(5),
    ];
    for task in expected {
        let next = plan.next(at(50));
        assert_eq!(next, task);
        match next {
            Task::Refresh { device, point } => plan.refresh_done(device, point, at(50)),
            Task::Read { key, .. } => plan.read_done(key, at(50)),
            _ => {}
        }
    }
}

#[test]
fn inside_a_class_the_earliest_deadline_goes_first() {
    let mut plan = ready(1);
    let late = plan.add_read(0, Class::Fast, Some(MS * 300), at(0));
    let soon = plan.add_read(0, Class::Fast, Some(MS * 100), at(50));
    assert_eq!(
        plan.next(at(60)),
        Task::Read {
            device: 0,
            key: soon
        }
    );
    plan.read_done(soon, at(60));
    assert_eq!(
        plan.next(at(60)),
        Task::Read {
            device: 0,
            key: late
        }
    );
}

#[test]
fn after_four_writes_in_a_row_one_read_is_done() {
    let mut plan = ready(20);
    let key = plan.add_read(0, Class::Slow, Some(MS), at(0));
    for device in 0..10 {
        plan.push_write(write(device as u64, device, false));
    }
    let mut kinds = String::new();
    for _ in 0..12 {
        match plan.next(at(5)) {
            Task::Write(_) => kinds.push('w'),
            Task::Read { .. } => {
                plan.read_done(key, at(5));
                kinds.push('r');
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(kinds, "wwwwrwwwwrww");
    // What keeps setpoints alive and what is taught give way alike.
    for chores in [false, true] {
        let mut plan = ready(10);
        let key = plan.add_read(0, Class::Slow, Some(MS), at(0));
        for device in 0..10 {
            if chores {
                plan.set_chore(device, Some(at(0)));
            } else {
                plan.set_refresh(device, Point::SwitchOn, Some(MS * 5), at(0));
            }
        }
        let mut kinds = String::new();
        for _ in 0..12 {
            match plan.next(at(5)) {
                Task::Refresh { device, point } => {
                    plan.refresh_done(device, point, at(5));
                    kinds.push('w');
                }
                Task::Chore(device) => {
                    plan.set_chore(device, None);
                    kinds.push('w');
                }
                Task::Read { .. } => {
                    plan.read_done(key, at(5));
                    kinds.push('r');
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(kinds, "wwwwrwwwwrww", "chores: {chores}");
    }
    // An urgent one does not even wait for that.
    let mut plan = ready(20);
    plan.add_read(0, Class::Fast, Some(MS), at(0));
    for device in 0..10 {
        plan.push_write(write(device as u64, device, true));
    }
    for _ in 0..10 {
        assert!(matches!(plan.next(at(5)), Task::Write(_)));
    }
}

#[test]
fn a_read_that_is_late_is_done_once_and_not_made_up_for() {
    let mut plan = ready(1);
    let key = plan.add_read(0, Class::Fast, Some(MS * 100), at(0));
    // (done at, due next)
    for (done, due) in [(10, 100), (150, 200), (250, 300), (730, 730), (740, 830)] {
        plan.read_done(key, at(done));
        assert_eq!(plan.wakes_at(at(done)), Some(at(due)), "done at {done}");
    }
}

#[test]
fn slow_reads_come_through_on_a_bus_full_of_fast_ones() {
    let mut plan = ready(1);
    for _ in 0..20 {
        plan.add_read(0, Class::Fast, Some(MS * 100), at(0));
    }
    let slow = plan.add_read(0, Class::Slow, Some(MS * 1000), at(0));
    let mut slow_done = 0;
    // Each read takes 10 ms: the fast ones alone would need twice the bus.
    for n in 0..1000 {
        let Task::Read { key, .. } = plan.next(at(n * 10)) else {
            panic!("the bus is full")
        };
        slow_done += u32::from(key == slow);
        plan.read_done(key, at(n * 10 + 10));
    }
    assert!((3..=10).contains(&slow_done), "{slow_done} in ten seconds");
}

#[test]
fn the_last_write_of_a_point_wins_and_keeps_place_and_urgency() {
    let mut plan = ready(2);
    plan.push_write(write(1, 0, true));
    plan.push_write(write(2, 1, true));
    assert_eq!(
        plan.push_write(write(3, 0, false)).map(|w| w.dispatch),
        Some(DispatchId(1))
    );
    let Task::Write(first) = plan.next(at(0)) else {
        panic!("a write waits")
    };
    assert_eq!((first.dispatch, first.urgent), (DispatchId(3), true));
    // A write that is tried again does not replace a newer one.
    plan.push_write(write(4, 0, false));
    assert!(!plan.write_again(first));
    let waiting = plan.take_writes(|w| w.device == 0);
    assert_eq!(waiting, [write(4, 0, false)]);
}

#[test]
fn a_write_that_the_device_was_too_busy_for_waits_its_time() {
    let mut plan = ready(1);
    let busy = Write {
        not_before: at(100),
        ..write(1, 0, false)
    };
    assert!(plan.write_again(busy));
    assert_eq!(plan.next(at(0)), Task::Wait(Some(at(100))));
    assert_eq!(plan.next(at(99)), Task::Wait(Some(at(100))));
    assert_eq!(plan.next(at(100)), Task::Write(busy));
}

#[test]
fn a_step_of_setting_up_that_failed_is_not_repeated_at_once() {
    let mut plan = Plan::new(1);
    assert_eq!(plan.next(at(0)), Task::Setup(0));
    plan.setup_failed(0, at(0));
    assert_eq!(plan.next(at(0)), Task::Wait(Some(at(500))));
    assert_eq!(plan.next(at(500)), Task::Setup(0));
}

#[test]
fn a_write_may_be_done_until_its_last_instant_and_not_after() {
    for (now, expired) in [(9_999, 0), (10_000, 0), (10_001, 1)] {
        let mut plan = ready(1);
        plan.push_write(write(1, 0, false));
        assert_eq!(plan.expire(at(now)).len(), expired, "at {now} ms");
    }
    let mut plan = ready(1);
    plan.push_write(write(1, 0, false));
    assert_eq!(plan.next_expiry(), Some(at(10_001)));
}

#[test]
fn nothing_is_written_to_a_device_that_is_not_ready_or_does_not_answer() {
    let mut plan = Plan::new(1);
    plan.push_write(write(1, 0, true));
    assert_eq!(plan.next(at(0)), Task::Setup(0));
    plan.setup_done(0);
    offline(&mut plan, 0, at(0));
    // A trip is tried all the same, an ordinary write waits.
    assert!(matches!(plan.next(at(0)), Task::Write(_)));
    plan.push_write(write(2, 0, false));
    assert_eq!(plan.next(at(0)), Task::Wait(Some(at(500))));
    assert_eq!(plan.answered(0), Some(Change::Online));
    assert_eq!(plan.answered(0), None);
    assert!(matches!(plan.next(at(0)), Task::Write(_)));
}

#[test]
fn a_silent_device_is_probed_ever_more_rarely_but_at_least_once_a_minute() {
    let mut plan = ready(1);
    offline(&mut plan, 0, at(0));
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..40 {
        let Task::Wait(Some(then)) = plan.next(now) else {
            panic!("nothing is due")
        };
        waits.push(then.since(now).as_millis());
        assert_eq!(plan.next(then), Task::Probe(0));
        now = then;
        plan.probe_failed(0, now, MS * 500);
    }
    assert_eq!(waits[..5], [500, 2000, 4000, 6000, 8000]);
    assert_eq!(waits[35..], [60_000; 5]);
}

#[test]
fn probes_of_dead_devices_take_a_twentieth_of_the_bus_at_most() {
    let mut plan = ready(10);
    plan.add_read(0, Class::Fast, Some(MS * 10), at(0));
    plan.answered(0);
    for device in 1..10 {
        offline(&mut plan, device, at(0));
    }
    let (mut now, mut probing, mut probed) = (0, 0, [0; 10]);
    while now < 1_000_000 {
        match plan.next(at(now)) {
            Task::Probe(device) => {
                now += 500;
                probing += 500;
                probed[device] += 1;
                plan.probe_failed(device, at(now), MS * 500);
            }
            // The read takes the whole bus: a probe must come through nevertheless.
            Task::Read { key, .. } => {
                now += 20;
                plan.read_done(key, at(now));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(probing <= now / 20, "{probing} of {now} ms");
    assert!(probed[1..].iter().all(|n| *n >= 5), "{probed:?}");
}

#[test]
fn a_refresh_is_due_anew_after_each_write() {
    let mut plan = ready(1);
    let point = Point::ActivePowerSet;
    plan.set_refresh(0, point, Some(MS * 100), at(0));
    plan.set_refresh(0, point, Some(MS * 100), at(60));
    assert_eq!(plan.next(at(100)), Task::Wait(Some(at(160))));
    assert_eq!(plan.next(at(160)), Task::Refresh { device: 0, point });
    plan.refresh_done(0, point, at(160));
    assert_eq!(plan.next(at(160)), Task::Wait(Some(at(260))));
    // Nobody keeps alive what does not answer.
    offline(&mut plan, 0, at(160));
    assert_eq!(plan.next(at(260)), Task::Wait(Some(at(660))));
    plan.answered(0);
    assert_eq!(plan.next(at(260)), Task::Refresh { device: 0, point });
    plan.set_refresh(0, point, None, at(260));
    assert_eq!(plan.next(at(999)), Task::Wait(None));
}

#[test]
fn on_a_new_link_whoever_was_offline_is_probed_at_once() {
    let mut plan = ready(2);
    plan.answered(0);
    offline(&mut plan, 1, at(0));
    assert_eq!(plan.next(at(2000)), Task::Probe(1));
    plan.probe_failed(1, at(2500), MS * 500);
    assert_eq!(plan.next(at(3000)), Task::Wait(Some(at(12_000))));
    plan.probe_all(at(3000));
    assert_eq!(plan.next(at(3000)), Task::Probe(1));
}

proptest! {
    #[test]
    fn a_plan_that_waits_has_something_to_wait_for(steps in prop::collection::vec((0..9_u8, 0..4_usize, 0..3000_u64), 1..200)) {
        let mut plan = Plan::new(4);
        let (mut now, mut n) = (0, 0);
        for (what, device, ms) in steps {
            n += 1;
            match what {
                0 => drop(plan.push_write(write(n, device, n % 3 == 0))),
                1 => drop(plan.add_read(device, Class::Normal, Some(MS * (ms as u32 + 1)), at(now))),
                2 => drop(plan.failed(device, at(now))),
                3 => drop(plan.answered(device)),
                4 => plan.setup_done(device),
                5 => plan.begin_setup(device, at(now)),
                6 => plan.set_refresh(device, Point::SwitchOn, Some(MS * (ms as u32 + 1)), at(now)),
                _ => now += ms,
            }
            plan.expire(at(now));
            // Whatever is due is taken; a wait never ends at once.
            for _ in 0..50 {
                match plan.next(at(now)) {
                    Task::Wait(until) => {
                        prop_assert!(until.is_none_or(|u| u > at(now)), "a wait until {until:?} at {now} ms");
                        break;
                    }
                    Task::Read { key, .. } => plan.read_done(key, at(now + 1)),
                    Task::Refresh { device, point } => plan.refresh_done(device, point, at(now)),
                    Task::Setup(device) => plan.setup_failed(device, at(now)),
                    Task::Probe(device) => plan.probe_failed(device, at(now), MS * 10),
                    Task::Chore(_) => {}
                    Task::Write(_) => {}
                }
                now += 1;
                plan.expire(at(now));
            }
        }
    }
}
