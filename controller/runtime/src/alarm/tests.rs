//! When an alarm is raised, seen and cleared, second by second.

use quantities::{Frequency, StateOfCharge};

use super::*;

fn at(seconds: f64) -> Instant {
    Instant::from_nanos((seconds * 1e9).round() as u64)
}

fn low_charge() -> AlarmSpec {
    AlarmSpec {
        name: "low charge".into(),
        source: Source::Bench,
        signal: "bench.soc".into(),
        quantity: Quantity::Soc,
        side: Side::Below,
        limit: 0.20,
        clears: 0.25,
        lasting: Duration::from_secs(2),
        silent: None,
        severity: Severity::Warning,
    }
}

fn bench(soc: Option<f64>) -> Estimate {
    Estimate {
        soc: soc.map(StateOfCharge::from_fraction),
        ..Estimate::default()
    }
}

fn looked(alarms: &Alarms, t_s: f64, estimate: &Estimate) -> Vec<Event> {
    let image = ProcessImage::unread(0);
    alarms.observe(at(t_s), estimate, &image, |_| Duration::from_secs(1));
    alarms.news()
}

/// What is told, one word a second, for a value a second.
fn check(spec: AlarmSpec, values: &[Option<f64>], told: &[&str]) {
    let alarms = Alarms::of(&[spec], at(0.0));
    let words: Vec<&str> = values
        .iter()
        .enumerate()
        .map(
            |(second, value)| match &looked(&alarms, second as f64, &bench(*value))[..] {
                [] => ".",
                [Event::AlarmRaised { .. }] => "raised",
                [Event::AlarmCleared { .. }] => "cleared",
                other => panic!("{other:?}"),
            },
        )
        .collect();
    assert_eq!(words, told, "{values:?}");
}

#[test]
fn it_is_raised_after_its_time_without_a_break_and_cleared_with_a_distance() {
    let all = |values: &[f64]| -> Vec<Option<f64>> { values.iter().map(|v| Some(*v)).collect() };
    check(
        low_charge(),
        &all(&[0.3, 0.19, 0.18, 0.17, 0.16, 0.22, 0.249, 0.25, 0.19]),
        &[".", ".", ".", "raised", ".", ".", ".", "cleared", "."],
    );
    // At the limit is not beyond it, and a break begins anew.
    check(
        low_charge(),
        &all(&[0.2, 0.19, 0.19, 0.2, 0.19, 0.19, 0.19]),
        &[".", ".", ".", ".", ".", ".", "raised"],
    );
    let high = AlarmSpec {
        side: Side::Above,
        limit: 0.9,
        clears: 0.9,
        lasting: Duration::ZERO,
        ..low_charge()
    };
    check(
        high,
        &all(&[0.9, 0.91, 0.91, 0.9, 0.91]),
        &[".", "raised", ".", "cleared", "raised"],
    );
}

#[test]
fn what_is_not_known_neither_raises_nor_clears_unless_silence_is_an_alarm_itself() {
    let low = Some(0.1);
    check(
        low_charge(),
        // A break in what is known begins anew, too.
        &[low, None, low, low, low, None, None, Some(0.5)],
        &[".", ".", ".", ".", "raised", ".", ".", "cleared"],
    );
    let watched = AlarmSpec {
        silent: Some(Duration::from_secs(3)),
        ..low_charge()
    };
    check(
        watched.clone(),
        &[Some(0.5), None, None, None, None, Some(0.22), Some(0.5)],
        &[".", ".", ".", "raised", ".", ".", "cleared"],
    );
    // A value that was never there is silent from the beginning.
    check(
        watched,
        &[None, None, None, None, None],
        &[".", ".", ".", "raised", "."],
    );
}

#[test]
fn it_says_what_was_seen_and_who_has_seen_it() {
    let alarms = Alarms::of(&[low_charge()], at(0.0));
    assert_eq!(
        alarms.acknowledge("low charge", "ann"),
        Err(NotAcknowledged::Calm)
    );
    assert_eq!(
        alarms.acknowledge("no such", "ann"),
        Err(NotAcknowledged::Unknown)
    );
    let _ = looked(&alarms, 0.0, &bench(Some(0.15)));
    let raised = Event::AlarmRaised {
        alarm: "low charge".into(),
        severe: false,
        why: "bench.soc is 15.0 %, below 20.0 %".into(),
    };
    assert_eq!(looked(&alarms, 2.0, &bench(Some(0.15))), [raised]);
    assert_eq!(alarms.acknowledge("low charge", "ann"), Ok(()));
    // Whoever comes later changes nothing.
    assert_eq!(alarms.acknowledge("low charge", "bob"), Ok(()));
    let seen = Event::AlarmAcknowledged {
        alarm: "low charge".into(),
        by: "ann".into(),
    };
    assert_eq!(alarms.news(), [seen]);
    assert!(matches!(
        &alarms.view()[0].standing,
        Standing::Raised { since, acknowledged_by: Some(by), .. } if *since == at(2.0) && by == "ann"
    ));
    let cleared = Event::AlarmCleared {
        alarm: "low charge".into(),
        after_s: 3.0,
        why: "bench.soc is 30.0 %".into(),
    };
    assert_eq!(looked(&alarms, 5.0, &bench(Some(0.3))), [cleared]);
    assert_eq!(
        (alarms.view()[0].times, &alarms.view()[0].standing),
        (1, &Standing::Calm)
    );
}

#[test]
fn a_value_of_a_device_counts_while_it_is_fresh() {
    let spec = AlarmSpec {
        source: Source::Device(DeviceIx(0)),
        signal: "met1.f".into(),
        quantity: Quantity::F,
        side: Side::Above,
        limit: 50.5,
        clears: 50.5,
        lasting: Duration::ZERO,
        ..low_charge()
    };
    for (age_s, raised) in [(0.5, 1), (1.5, 0)] {
        let alarms = Alarms::of(std::slice::from_ref(&spec), at(0.0));
        let mut image = ProcessImage::unread(1);
        image.devices[0].f.observe(model::Sample {
            measured_at: at(10.0 - age_s),
            reading: model::Reading::Good(Frequency::from_hertz(51.0)),
        });
        alarms.observe(at(10.0), &Estimate::default(), &image, |_| {
            Duration::from_secs(1)
        });
        assert_eq!(alarms.news().len(), raised, "{age_s}");
    }
}
