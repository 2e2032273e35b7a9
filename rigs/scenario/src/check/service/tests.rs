//! Each figure passes, fails, and is inconclusive where the data does not tell.

use std::f64::consts::TAU;

use model::{Instant, Reading};

use super::*;
use crate::check::{Check, CheckKind, Evidence, Window, WindowEnd, evaluate};
use crate::script::Moment;
use Verdict::{Fail, Inconclusive, Pass};

fn at(t_s: f64) -> Instant {
    Instant::START + Duration::from_secs_f64(t_s)
}

/// A record of a service that follows a signal: what was said and what was given, every two seconds.
fn record(
    length_s: u32,
    said: impl Fn(f64) -> f64,
    given_w: impl Fn(f64) -> Option<f64>,
) -> Recording {
    let mut recording = Recording {
        // Before it begins, something was measured already.
        began: at(2.0),
        ended: at(f64::from(length_s + 2)),
        resolution: Duration::from_millis(100),
        ..Recording::default()
    };
    recording.facts.services.push(ServiceFacts {
        name: "agc1".into(),
        up_w: 2000.0,
        down_w: 2000.0,
        follows_signal: true,
    });
    let signal = |quantity| Signal::new("agc1", quantity);
    for t in (0..=length_s + 2).step_by(2).map(f64::from) {
        let said = Reading::Good(said(t));
        recording.push(&signal(SignalQuantity::ServiceSignal), at(t), said);
        if let Some(p) = given_w(t) {
            let p = Reading::Good(p);
            recording.push(&signal(SignalQuantity::ActivePower), at(t + 0.5), p);
        }
    }
    recording
}

fn course(t: f64) -> f64 {
    0.6 * (TAU * t / 600.0).sin() + 0.3 * (TAU * t / 137.0).sin()
}

fn judged(recording: &Recording, figure: ServiceFigure, limit: f64, for_s: u64) -> CheckResult {
    let check = Check {
        uncertainty: None,
        name: "it".into(),
        kind: CheckKind::Service {
            figure,
            signal: Signal::new("agc1", figure.shown()),
            window: Window {
                from: Moment::START,
                to: WindowEnd::For(Duration::from_secs(for_s)),
            },
            limit,
            max_gap: Duration::from_secs(5),
        },
        line: 1,
    };
    evaluate(&check, recording, &Evidence::default())
}

#[track_caller]
fn check(recording: &Recording, figure: ServiceFigure, limit: f64, for_s: u64, expected: Verdict) {
    let result = judged(recording, figure, limit, for_s);
    assert_eq!(result.verdict, expected, "{}", result.why);
    assert!(result.plot.is_some());
}

#[test]
fn a_score_passes_what_follows_and_fails_what_is_stuck_or_turned() {
    use ServiceFigure::Score;
    let following = record(2400, course, |t| Some(2000.0 * course(t)));
    check(&following, Score, 0.75, 2400, Pass);
    check(&following, Score, 0.99, 2400, Pass);
    let stuck = record(2400, course, |_| Some(0.0));
    check(&stuck, Score, 0.75, 2400, Fail);
    let found = judged(&stuck, Score, 0.75, 2400).value.expect("a score");
    assert!(found <= 0.09, "{found}");
    let turned = record(2400, course, |t| Some(-2000.0 * course(t)));
    check(&turned, Score, 0.75, 2400, Fail);
}

#[test]
fn a_score_of_a_holed_a_short_or_an_unfinished_record_is_inconclusive() {
    use ServiceFigure::Score;
    let holed = record(2400, course, |t| {
        (!(600.0..620.0).contains(&t)).then(|| 2000.0 * course(t))
    });
    check(&holed, Score, 0.75, 2400, Inconclusive);
    let short = record(500, course, |t| Some(2000.0 * course(t)));
    check(&short, Score, 0.75, 500, Inconclusive);
    let unfinished = record(1200, course, |t| Some(2000.0 * course(t)));
    check(&unfinished, Score, 0.75, 2400, Inconclusive);
    check(
        &record(2400, |_| 0.0, |_| Some(0.0)),
        Score,
        0.75,
        2400,
        Inconclusive,
    );
    check(
        &record(2400, course, |_| None),
        Score,
        0.75,
        2400,
        Inconclusive,
    );
}

#[test]
fn accuracy_is_a_share_of_what_was_sold_and_open_where_the_signal_moves_between_two_looks() {
    use ServiceFigure::Accuracy;
    let held = |offset_w: f64| record(100, |_| 0.5, move |_| Some(1000.0 + offset_w));
    check(&held(60.0), Accuracy, 0.05, 100, Pass);
    check(&held(140.0), Accuracy, 0.05, 100, Fail);
    check(&held(60.0), Accuracy, 0.05, 200, Inconclusive);
    // A signal that turns round within a tenth of a second of each measurement.
    let mut racing = record(100, |_| 0.5, |_| Some(1000.0));
    for t in (0..100).step_by(2).map(f64::from) {
        let signal = Signal::new("agc1", SignalQuantity::ServiceSignal);
        racing.push(&signal, at(t + 0.45), Reading::Good(0.55));
    }
    check(&racing, Accuracy, 0.05, 100, Inconclusive);
    let nobody = judged(&Recording::default(), Accuracy, 0.05, 0);
    assert_eq!(nobody.verdict, Inconclusive, "{}", nobody.why);
}

#[test]
fn availability_counts_the_time_in_which_both_sides_were_there() {
    use ServiceFigure::Availability;
    let with = |up_w: fn(u32) -> f64, known: fn(u32) -> bool| {
        let mut recording = record(100, |_| 0.0, |_| Some(0.0));
        for t in (0..1000).filter(|t| known(*t)) {
            let row = [
                (SignalQuantity::ReserveUp, up_w(t)),
                (SignalQuantity::ReserveDown, 2000.0),
            ];
            for (quantity, w) in row {
                let signal = Signal::new("agc1", quantity);
                recording.push(&signal, at(f64::from(t) / 10.0), Reading::Good(w));
            }
        }
        recording
    };
    let always = |_: u32| true;
    check(&with(|_| 1950.0, always), Availability, 0.999, 100, Pass);
    let away = |t: u32| if (300..400).contains(&t) { 0.0 } else { 2000.0 };
    check(&with(away, always), Availability, 0.999, 100, Fail);
    check(&with(away, always), Availability, 0.85, 100, Pass);
    // 90 % within a fifth of a per cent.
    check(&with(away, always), Availability, 0.901, 100, Inconclusive);
    check(
        &with(|_| 2000.0, |t| !(300..400).contains(&t)),
        Availability,
        0.999,
        100,
        Inconclusive,
    );
}

#[test]
fn an_overshoot_is_a_share_of_the_step() {
    let step = |peak_w: f64| {
        let p = move |t: f64| match t {
            t if t < 12.0 => Some(0.0),
            t if t < 18.0 => Some(peak_w),
            _ => Some(1000.0),
        };
        record(40, |_| 0.5, p)
    };
    let judged = |recording: &Recording, over_s: u64| {
        let check = Check {
            uncertainty: None,
            name: "it".into(),
            kind: CheckKind::Overshoot {
                signal: Signal::new("agc1", SignalQuantity::ActivePower),
                from: Moment {
                    offset_ns: 9_000_000_000,
                    ..Moment::START
                },
                to: 1000.0,
                over: Duration::from_secs(over_s),
                most: 0.05,
                max_gap: Duration::from_secs(5),
            },
            line: 1,
        };
        evaluate(&check, recording, &Evidence::default())
    };
    for (peak_w, over_s, expected) in [
        (1000.0, 20, Pass),
        (1040.0, 20, Pass),
        (1100.0, 20, Fail),
        (1000.0, 60, Inconclusive),
    ] {
        let result = judged(&step(peak_w), over_s);
        assert_eq!(result.verdict, expected, "{peak_w}: {}", result.why);
    }
}
