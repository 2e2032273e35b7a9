//! What a reader sees of what the engine told.

use model::{Flaw, Point, PointSample, Reading, Sample};
use quantities::{ActivePower, Frequency, ReactivePower};

use super::*;
use crate::web::wire::{self, Quality};

/// A bench of a meter, a battery, a plug and a breaker.
pub(crate) fn bench_view() -> LiveView {
    let label = |name: &str, role| DeviceLabel {
        name: name.into(),
        role,
        profile: "test/device".into(),
        bus: "lan1".into(),
        sample_age_max: Duration::from_secs(2),
    };
    LiveView::new(RigView {
        title: "Test".into(),
        rig_path: "test.toml".into(),
        site: "230 V".into(),
        devices: vec![
            label("met1", Role::Pcc),
            label("bat1", Role::Ess),
            label("plug1", Role::Load),
        ],
        services: vec![super::ServiceLabel {
            name: "fcr1".into(),
            service: "fcr-ce".into(),
            up: ActivePower::from_kilowatts(2.0),
            down: ActivePower::from_kilowatts(1.0),
            devices: vec![DeviceIx(1)],
        }],
        buses: vec!["lan1".into()],
        started_utc: UtcTime::default(),
        virtual_time: true,
    })
}

fn at(seconds: f64) -> Instant {
    Instant::from_nanos((seconds * 1e9) as u64)
}

fn image_of(samples: &[(u16, f64, Reading<f64>)]) -> ProcessImage {
    let mut image = ProcessImage::unread(3);
    for (device, t_s, reading) in samples {
        image.observe(PointSample {
            device: DeviceIx(*device),
            point: Point::ActivePower,
            sample: Sample {
                measured_at: at(*t_s),
                reading: *reading,
            },
        });
    }
    image
}

fn turn(view: &LiveView, n: u64, t_s: f64, image: &ProcessImage) {
    let estimate = Estimate {
        f: Some(Frequency::from_hertz(49.9)),
        rocof: None,
        v: None,
        pcc: None,
        pcc_q: None,
        storage: None,
        storage_q: None,
        pv: None,
        load: None,
        soc: None,
        breaker_closed: None,
        grid_f: None,
        grid_v: None,
    };
    view.cycle(CycleReport {
        n,
        now: at(t_s),
        utc: UtcTime::from_unix_nanos((t_s * 1e9) as i64),
        late_ms: 0.0,
        took_ms: 1.0,
        mode: Mode::Islanded,
        armed: true,
        estimate: &estimate,
        image,
        services: &[ServiceReport {
            service: ServiceIx(0),
            phase: model::ServicePhase::Holding,
            asked: ActivePower::from_kilowatts(1.5),
            baseline: Some(ActivePower::from_watts(-200.0)),
            others: ActivePower::ZERO,
            up: ActivePower::from_kilowatts(2.0),
            down: ActivePower::from_kilowatts(1.0),
            available: n.is_multiple_of(2),
        }],
    });
}

/// One cycle in which only `bat1` has been read.
pub(crate) fn cycle_of(view: &LiveView, n: u64) {
    let t_s = n as f64 / 10.0;
    turn(view, n, t_s, &image_of(&[(1, t_s, Reading::Good(-1500.0))]));
}

/// A cycle a long time after `bat1` was last read.
pub(crate) fn stale_cycle(view: &LiveView) {
    turn(
        view,
        1_000,
        100.0,
        &image_of(&[(1, 1.0, Reading::Good(-1500.0))]),
    );
}

/// A dispatch whose record is called after its number.
pub(crate) fn dispatched(n: u64) -> Event {
    Event::Dispatched {
        device: DeviceIx(1),
        setpoint: Setpoint::Power {
            p: ActivePower::from_watts(100.0),
            q: ReactivePower::ZERO,
        },
        function: Function::Operator,
        why: "a person holds it".into(),
        clamped: vec![],
        ledger_clock: n,
        atom: format!("a{n}"),
    }
}

#[test]
fn a_value_says_how_far_it_can_be_believed_and_why_not() {
    let good = |t_s| (0, t_s, Reading::Good(7.0));
    let bad = |t_s, flaw| (0, t_s, Reading::Bad(flaw));
    type Row<'a> = (
        &'a [(u16, f64, Reading<f64>)],
        Quality,
        Option<&'a str>,
        Option<f64>,
    );
    let rows: &[Row<'_>] = &[
        (&[], Quality::Unread, Some("never read"), None),
        (
            &[bad(1.0, Flaw::Timeout)],
            Quality::Unread,
            Some("timeout"),
            None,
        ),
        (
            &[bad(1.0, Flaw::NotImplemented)],
            Quality::Absent,
            Some("not implemented"),
            None,
        ),
        (&[good(9.0)], Quality::Good, None, Some(7.0)),
        (&[good(8.0)], Quality::Good, None, Some(7.0)),
        (
            &[good(7.9)],
            Quality::Stale,
            Some("no new sample"),
            Some(7.0),
        ),
        (
            &[good(9.0), bad(9.5, Flaw::Corrupt)],
            Quality::Held,
            Some("corrupt"),
            Some(7.0),
        ),
        (
            &[good(7.0), bad(9.5, Flaw::Offline)],
            Quality::Stale,
            Some("offline"),
            Some(7.0),
        ),
    ];
    for (samples, quality, why, value) in rows {
        let view = bench_view();
        turn(&view, 1, 10.0, &image_of(samples));
        let device = &wire::devices(&view)[0];
        let seen = (device.quality, device.why, device.p_w.value);
        assert_eq!(seen, (*quality, *why, *value), "{samples:?}");
    }
}

#[test]
fn the_history_keeps_ten_minutes_at_two_points_per_second_with_gaps() {
    let view = bench_view();
    for n in 0..8_000_u64 {
        let t_s = n as f64 / 10.0;
        let image = image_of(&[(1, t_s, Reading::Good(t_s)), (0, 100.0, Reading::Good(1.0))]);
        turn(&view, n, t_s, &image);
    }
    let past = view.history();
    assert_eq!(past.t_s.len(), 1_200);
    assert_eq!(past.t_s.back(), Some(&799.5));
    assert_eq!(past.devices[1].p_w.back(), Some(&Some(799.5)));
    assert!(
        past.devices[0].p_w.iter().all(Option::is_none),
        "stale is unknown"
    );
    let silent = &past.devices[2];
    for list in [
        &past.f_hz,
        &past.v_v,
        &silent.q_var,
        &silent.f_hz,
        &silent.v_v,
    ] {
        assert_eq!(list.len(), past.t_s.len());
    }
}

#[test]
fn a_dispatch_shows_the_furthest_stage_that_its_record_was_named_for() {
    let confirmed = |atom: &str, stage| Event::SetpointConfirmed {
        device: DeviceIx(1),
        stage,
        after_s: 0.5,
        atom: atom.into(),
    };
    let missed = Event::SetpointMissed {
        device: DeviceIx(1),
        stage: Stage::Power,
        why: "measured 0 W".into(),
        atom: "a1".into(),
    };
    let rows: &[(Vec<Event>, &str)] = &[
        (vec![], "sent"),
        (vec![confirmed("a1", Stage::Written)], "written"),
        (
            vec![
                confirmed("a1", Stage::Power),
                confirmed("a1", Stage::Register),
            ],
            "power",
        ),
        (vec![confirmed("a2", Stage::Power)], "sent"),
        (vec![confirmed("a1", Stage::Register), missed], "missed"),
    ];
    for (events, stage) in rows {
        let view = bench_view();
        view.event(UtcTime::default(), at(1.0), &dispatched(1));
        for event in events {
            view.event(UtcTime::default(), at(2.0), event);
        }
        assert_eq!(wire::dispatches(&view)[0].stage, *stage, "{events:?}");
    }
}

#[test]
fn rings_keep_the_newest() {
    let view = bench_view();
    for n in 1..=500 {
        view.event(UtcTime::default(), at(n as f64), &dispatched(n));
    }
    let clocks: Vec<u64> = wire::dispatches(&view)
        .iter()
        .map(|d| d.ledger_clock)
        .collect();
    assert_eq!(clocks, (481..=500).rev().collect::<Vec<_>>());
    let events = view.events_after(0);
    assert_eq!(
        (events.len(), events[0].seq, events[199].seq),
        (200, 301, 500)
    );
    assert_eq!(view.events_after(498).len(), 2);
}

#[test]
fn the_time_in_a_mode_counts_from_its_first_cycle() {
    let view = bench_view();
    for (n, t_s) in [(1, 1.0), (2, 2.0), (3, 4.5)] {
        turn(&view, n, t_s, &image_of(&[]));
    }
    let cycle = wire::State::of(&view).cycle.unwrap();
    assert_eq!((cycle.mode, cycle.mode_for_s), ("islanded", 3.5));
}

#[test]
fn a_device_outside_the_rig_harms_nothing() {
    let view = bench_view();
    view.event(
        UtcTime::default(),
        at(1.0),
        &Event::DeviceOnline {
            device: DeviceIx(99),
        },
    );
    assert_eq!(
        wire::events_after(&view, 0)[0].device.as_deref(),
        Some("#99")
    );
    turn(&view, 1, 1.0, &ProcessImage::unread(0));
    assert_eq!(wire::devices(&view).len(), 3);
}
