//! Each check against a good, stuck, late, sign-flipped, gappy and empty series.

mod sums;

use std::time::Duration;

use model::{Flaw, Instant, Mode, Reading};

use super::*;
use crate::script::Moment;
use crate::series::RecordedEvent;
use crate::signal::{Signal, SignalQuantity};
use Verdict::{Fail, Inconclusive, Ledger, Pass};

/// The step comes two seconds after the run began.
const STEP_MS: u64 = 2000;

fn at(ms: u64) -> Instant {
    Instant::START + Duration::from_millis(ms)
}

fn signal() -> Signal {
    Signal::new("bat1", SignalQuantity::ActivePower)
}

/// Ten seconds of a battery that is sampled every 50 ms; `power` gives W by ms since the step.
fn record(power: impl Fn(i64) -> Reading<f64>) -> Recording {
    let mut recording = Recording {
        ended: at(10_000),
        ..Recording::default()
    };
    recording.marks.insert("t0".to_owned(), at(STEP_MS));
    for ms in (0..=10_000).step_by(50) {
        let since_step = i64::try_from(ms).expect("small") - 2000;
        recording.push(&signal(), at(ms), power(since_step));
    }
    recording
}

/// A response of first order to 2 kW with a time constant of 200 ms after a delay.
fn response(ms: i64, delay_ms: i64, watts: f64) -> Reading<f64> {
    let t_s = (ms - delay_ms) as f64 / 1000.0;
    Reading::Good(if t_s <= 0.0 {
        0.0
    } else {
        watts * (1.0 - (-t_s / 0.2).exp())
    })
}

/// The kinds of series that a bench delivers, by name.
fn series(kind: &str) -> Recording {
    let good = |ms| response(ms, 100, 2000.0);
    match kind {
        "good" => record(good),
        "stuck" => record(|_| Reading::Good(0.0)),
        "late" => record(|ms| response(ms, 1500, 2000.0)),
        "sign flipped" => record(|ms| response(ms, 100, -2000.0)),
        "too much" => record(|ms| response(ms, 100, 2100.0)),
        "a spike" => record(|ms| {
            if ms == 4000 {
                Reading::Good(2600.0)
            } else {
                good(ms)
            }
        }),
        "a glitch" => record(|ms| {
            if ms == 300 {
                Reading::Good(1950.0)
            } else {
                response(ms, 1500, 2000.0)
            }
        }),
        "gappy" => record(|ms| {
            if (-200..4000).contains(&ms) {
                Reading::Bad(Flaw::Timeout)
            } else {
                good(ms)
            }
        }),
        "a hole later" => record(|ms| {
            if (3000..3500).contains(&ms) {
                Reading::Bad(Flaw::Timeout)
            } else {
                good(ms)
            }
        }),
        "not a number" => record(|_| Reading::Good(f64::NAN)),
        "one read lost" => record(|ms| {
            if ms == 4000 {
                Reading::Bad(Flaw::Corrupt)
            } else {
                good(ms)
            }
        }),
        "cut short" => {
            let whole = record(good);
            let mut recording = Recording {
                ended: at(3000),
                marks: whole.marks.clone(),
                ..Recording::default()
            };
            let series = &whole.series[&signal()];
            for (t, v) in series.measured(at(0), at(3000)) {
                recording.push(&signal(), t, Reading::Good(v));
            }
            recording
        }
        "empty" => Recording {
            ended: at(10_000),
            marks: [("t0".to_owned(), at(STEP_MS))].into(),
            ..Recording::default()
        },
        "no mark" => {
            let mut recording = record(good);
            recording.marks.clear();
            recording
        }
        other => unreachable!("no series is called {other}"),
    }
}

fn judge(kind: CheckKind, recording: &Recording) -> CheckResult {
    let check = Check {
        uncertainty: None,
        name: kind.to_string(),
        kind,
        line: 7,
    };
    let result = evaluate(&check, recording, &Evidence::default());
    assert!(!result.why.is_empty(), "a verdict has a reason");
    result
}

fn check(kind: &CheckKind, rows: &[(&str, Verdict)]) {
    for (name, expected) in rows {
        let result = judge(kind.clone(), &series(name));
        assert_eq!(result.verdict, *expected, "{kind}, {name}: {}", result.why);
    }
}

fn moment(text: &str) -> Moment {
    Moment::parse(text).expect("a moment")
}

fn band(max_gap_ms: u64) -> CheckKind {
    CheckKind::Band {
        signal: signal(),
        window: Window {
            from: moment("t0+1.3s"),
            to: WindowEnd::For(Duration::from_secs(5)),
        },
        within: (1900.0, 2050.0),
        max_gap: Duration::from_millis(max_gap_ms),
    }
}

fn t90(to: Option<f64>) -> CheckKind {
    CheckKind::ResponseTime {
        share: ResponseShare::Ninety,
        signal: signal(),
        from: moment("t0"),
        max: Duration::from_secs(1),
        to,
        over: Duration::from_secs(5),
        max_gap: Duration::from_millis(200),
    }
}

fn never(comparison: Comparison, limit: f64) -> CheckKind {
    CheckKind::Never {
        condition: Condition::Signal {
            signal: signal(),
            comparison,
            limit,
        },
        window: Window::WHOLE,
        max_gap: Duration::from_millis(200),
    }
}

#[test]
fn a_band_holds_only_where_every_measurement_lies_in_it() {
    check(
        &band(100),
        &[
            ("good", Pass),
            ("stuck", Fail),
            ("late", Fail),
            ("sign flipped", Fail),
            ("too much", Fail),
            ("a spike", Fail),
            ("gappy", Inconclusive),
            ("a hole later", Inconclusive),
            ("one read lost", Pass),
            ("not a number", Inconclusive),
            ("cut short", Inconclusive),
            ("empty", Inconclusive),
            ("no mark", Inconclusive),
        ],
    );
}

#[test]
fn a_hole_counts_only_when_it_is_longer_than_allowed() {
    check(&band(550), &[("a hole later", Pass)]);
    check(&band(549), &[("a hole later", Inconclusive)]);
    check(&band(49), &[("good", Inconclusive)]);
}

#[test]
fn a_measured_violation_stays_a_failure_beside_a_hole() {
    let mut recording = series("a hole later");
    recording.push(&signal(), at(4500), Reading::Good(2500.0));
    assert_eq!(judge(band(100), &recording).verdict, Fail);
}

#[test]
fn a_window_that_the_record_does_not_fill_shows_nothing_even_without_a_hole() {
    let mut recording = series("good");
    // The window ends at 8.3 s; the missing 50 ms are shorter than the hole that is overlooked.
    recording.ended = at(8250);
    assert_eq!(judge(band(100), &recording).verdict, Inconclusive);
    recording.ended = at(8300);
    assert_eq!(judge(band(100), &recording).verdict, Pass);
}

#[test]
fn the_worst_measurement_is_told_with_its_time_and_the_time_resolution() {
    let result = judge(band(100), &series("a spike"));
    assert_eq!(
        result.worst,
        Some(Worst {
            t_s: 6.0,
            value: 2600.0
        })
    );
    assert_eq!(result.value, Some(2600.0));
    assert_eq!(result.uncertainty, Some(0.025));
    assert_eq!((result.from_s, result.to_s), (Some(3.3), Some(8.3)));
    assert_eq!(result.samples, 101);
}

#[test]
fn a_response_is_in_time_only_where_the_data_shows_it() {
    check(
        &t90(Some(2000.0)),
        &[
            ("good", Pass),
            ("stuck", Fail),
            ("late", Fail),
            ("sign flipped", Fail),
            ("too much", Pass),
            ("a glitch", Fail),
            ("gappy", Inconclusive),
            ("not a number", Inconclusive),
            ("empty", Inconclusive),
            ("no mark", Inconclusive),
            ("cut short", Pass),
        ],
    );
    // Without a settled value the sign is not known and the end of the record is needed.
    check(
        &t90(None),
        &[
            ("good", Pass),
            ("stuck", Fail),
            ("late", Fail),
            ("sign flipped", Pass),
            ("a glitch", Fail),
            ("gappy", Inconclusive),
            ("cut short", Inconclusive),
            ("empty", Inconclusive),
        ],
    );
}

#[test]
fn a_response_time_encloses_the_true_one() {
    // First order, 200 ms, after 100 ms: 90 % is reached at 0.1 + 0.2 ln 10 = 0.5605 s.
    let result = judge(t90(Some(2000.0)), &series("good"));
    let (value, uncertainty) = (result.value.expect("a time"), result.uncertainty);
    assert_eq!(uncertainty, Some(0.025));
    assert!((value - 0.5605).abs() <= 0.025, "{value}");
}

#[test]
fn a_response_time_that_the_sampling_cannot_tell_is_inconclusive() {
    let with_max = |ms| {
        let CheckKind::ResponseTime { signal, from, .. } = t90(None) else {
            unreachable!("made above")
        };
        CheckKind::ResponseTime {
            share: ResponseShare::Ninety,
            signal,
            from,
            max: Duration::from_millis(ms),
            to: Some(2000.0),
            over: Duration::from_secs(5),
            max_gap: Duration::from_millis(200),
        }
    };
    // It was reached between 550 ms and 600 ms.
    for (ms, expected) in [
        (600, Pass),
        (599, Inconclusive),
        (551, Inconclusive),
        (550, Fail),
    ] {
        let result = judge(with_max(ms), &series("good"));
        assert_eq!(result.verdict, expected, "{ms} ms: {}", result.why);
    }
}

#[test]
fn a_step_that_was_made_before_shows_nothing() {
    let recording = record(|_| Reading::Good(2000.0));
    assert_eq!(judge(t90(Some(2000.0)), &recording).verdict, Inconclusive);
    assert_eq!(
        judge(t90(None), &recording).verdict,
        Fail,
        "it did not move"
    );
}

#[test]
fn what_must_never_be_is_looked_for_in_every_measurement() {
    check(
        &never(Comparison::Above, 2050.0),
        &[
            ("good", Pass),
            ("stuck", Pass),
            ("sign flipped", Pass),
            ("too much", Fail),
            ("a spike", Fail),
            ("gappy", Inconclusive),
            ("not a number", Inconclusive),
            ("empty", Inconclusive),
            ("cut short", Pass),
        ],
    );
    check(
        &never(Comparison::Below, -50.0),
        &[("good", Pass), ("sign flipped", Fail)],
    );
}

#[test]
fn every_comparison_tells_its_edge() {
    let rows = [
        (Comparison::Above, Pass),
        (Comparison::AtLeast, Fail),
        (Comparison::Below, Pass),
        (Comparison::AtMost, Fail),
        (Comparison::Equal, Fail),
        (Comparison::Different, Pass),
    ];
    for (comparison, expected) in rows {
        let flat = record(|_| Reading::Good(100.0));
        let result = judge(never(comparison, 100.0), &flat);
        assert_eq!(result.verdict, expected, "{comparison:?}: {}", result.why);
    }
    assert!(!Comparison::Different.holds(f64::NAN, 1.0));
}

/// Modes with the millisecond in which each began.
type Modes<'a> = &'a [(u64, Mode)];

fn with_modes(modes: Modes<'_>) -> Recording {
    let mut recording = series("good");
    recording.modes = modes.iter().map(|(ms, m)| (at(*ms), *m)).collect();
    recording.resolution = Duration::from_millis(100);
    recording
}

#[test]
fn a_mode_is_reached_in_time_or_was_there_already() {
    let kind = CheckKind::Mode {
        mode: Mode::Islanded,
        from: moment("t0"),
        within: Duration::from_secs(2),
    };
    use Mode::{GridConnected, Islanded, Islanding};
    let rows: &[(&str, Modes<'_>, Verdict)] = &[
        (
            "in time",
            &[(0, GridConnected), (2100, Islanding), (3900, Islanded)],
            Pass,
        ),
        (
            "at the last moment",
            &[(0, GridConnected), (4000, Islanded)],
            Pass,
        ),
        ("too late", &[(0, GridConnected), (4001, Islanded)], Fail),
        ("there already", &[(0, Islanded)], Pass),
        ("only before", &[(0, Islanded), (1900, GridConnected)], Fail),
        (
            "another one",
            &[(0, GridConnected), (2100, Islanding)],
            Fail,
        ),
        ("unknown", &[], Inconclusive),
    ];
    for (name, modes, expected) in rows {
        let result = judge(kind.clone(), &with_modes(modes));
        assert_eq!(result.verdict, *expected, "{name}: {}", result.why);
    }
    let mut short = with_modes(&[(0, GridConnected)]);
    short.ended = at(3000);
    assert_eq!(
        judge(kind, &short).verdict,
        Inconclusive,
        "the record ended"
    );
}

#[test]
fn a_mode_that_must_never_be_is_seen_however_short_it_was() {
    use Mode::{GridConnected, Safe};
    let never = |is, mode| CheckKind::Never {
        condition: Condition::Mode { is, mode },
        window: Window {
            from: moment("t0"),
            to: WindowEnd::At(Moment::END),
        },
        max_gap: MAX_GAP,
    };
    let short = [(0, GridConnected), (5000, Safe), (5001, GridConnected)];
    let before = [(0, Safe), (1999, GridConnected)];
    let rows: &[(bool, Mode, Modes<'_>, Verdict)] = &[
        (true, Safe, &short, Fail),
        (true, Safe, &before, Pass),
        (true, Safe, &[(0, Safe)], Fail),
        (false, GridConnected, &short, Fail),
        (false, GridConnected, &before, Pass),
        (true, Safe, &[], Inconclusive),
        (true, Safe, &[(5000, GridConnected)], Inconclusive),
    ];
    for (is, mode, modes, expected) in rows {
        let result = judge(never(*is, *mode), &with_modes(modes));
        assert_eq!(result.verdict, *expected, "{modes:?}: {}", result.why);
    }
}

#[test]
fn a_mode_after_the_record_is_not_known() {
    let kind = CheckKind::Never {
        condition: Condition::Mode {
            is: true,
            mode: Mode::Safe,
        },
        window: Window {
            from: moment("t0"),
            to: WindowEnd::For(Duration::from_secs(9)),
        },
        max_gap: MAX_GAP,
    };
    let recording = with_modes(&[(0, Mode::GridConnected)]);
    assert_eq!(judge(kind, &recording).verdict, Inconclusive);
}

#[test]
fn events_are_counted_in_their_window() {
    let shed = |ms, device: &str| RecordedEvent {
        at: at(ms),
        kind: "load_shed",
        device: Some(device.to_owned()),
    };
    let other = RecordedEvent {
        at: at(2500),
        kind: "armed",
        device: None,
    };
    let events = |rows: &[RecordedEvent]| {
        let mut recording = series("good");
        recording.events = rows.to_vec();
        recording
    };
    let kind = |device: Option<&str>, at_least, at_most| CheckKind::Event {
        kind: "load_shed",
        device: device.map(str::to_owned),
        window: Window {
            from: moment("t0"),
            to: WindowEnd::For(Duration::from_secs(2)),
        },
        times: Times { at_least, at_most },
    };
    let once = events(&[shed(3000, "plug3")]);
    let early = events(&[shed(1999, "plug3")]);
    let late = events(&[shed(4001, "plug3")]);
    let twice = events(&[shed(3000, "plug3"), shed(3500, "plug4")]);
    let none = events(&[other]);
    let silent = events(&[]);
    let rows = [
        (kind(None, 1, None), &once, Pass),
        (kind(None, 1, None), &early, Fail),
        (kind(None, 1, None), &late, Fail),
        (kind(None, 1, None), &none, Fail),
        (kind(None, 1, None), &silent, Inconclusive),
        (kind(Some("plug3"), 1, None), &once, Pass),
        (kind(Some("plug4"), 1, None), &once, Fail),
        (kind(None, 0, Some(0)), &none, Pass),
        (kind(None, 0, Some(0)), &once, Fail),
        (kind(None, 0, Some(0)), &silent, Inconclusive),
        (kind(None, 1, Some(1)), &twice, Fail),
        (kind(None, 2, None), &twice, Pass),
    ];
    for (kind, recording, expected) in rows {
        let result = judge(kind.clone(), recording);
        assert_eq!(result.verdict, expected, "{kind}: {}", result.why);
    }
}

#[test]
fn a_signal_is_settled_from_where_it_stays_in_its_band() {
    let ms = Duration::from_millis;
    // Every 100 ms from 2 s on: out of the band, in it, out once more at 3.5 s, and then in it for good.
    let course = |in_from: u64, out_at: Option<u64>, ends: u64, hole: (u64, u64)| {
        let mut recording = Recording {
            ended: at(ends),
            resolution: ms(100),
            ..Recording::default()
        };
        recording.marks.insert("t0".to_owned(), at(2000));
        let signal = Signal::parse("bat1.p").expect("known");
        for t in (0..=ends)
            .step_by(100)
            .filter(|t| *t < hole.0 || *t > hole.1)
        {
            let is_in = t >= in_from && out_at != Some(t);
            let value = if is_in { 1040.0 } else { 1100.0 };
            recording.push(&signal, at(t), Reading::Good(value));
        }
        recording
    };
    let kind = |within_s: u64, hold_ms: u64| CheckKind::Settle {
        signal: Signal::parse("bat1.p").expect("known"),
        from: moment("t0"),
        demand: Settling {
            to: 1000.0,
            band: 50.0,
            within: Duration::from_secs(within_s),
            hold: ms(hold_ms),
        },
        max_gap: ms(500),
    };
    let whole = (20_000, 20_000);
    let rows = [
        (
            kind(2, 1000),
            course(3000, None, 8000, whole),
            Pass,
            Some(1.0),
        ),
        // Back out before its time was over: it counts from where it came back.
        (
            kind(2, 1000),
            course(3000, Some(3500), 8000, whole),
            Pass,
            Some(1.6),
        ),
        (
            kind(1, 1000),
            course(3000, Some(3500), 8000, whole),
            Fail,
            None,
        ),
        (
            kind(2, 400),
            course(3000, Some(3500), 8000, whole),
            Pass,
            Some(1.0),
        ),
        (kind(2, 1000), course(9000, None, 8000, whole), Fail, None),
        (kind(2, 1000), course(4500, None, 8000, whole), Fail, None),
        // What was not seen does not count as settled.
        (
            kind(2, 1000),
            course(3000, None, 8000, (3200, 3900)),
            Inconclusive,
            None,
        ),
        (
            kind(2, 1000),
            course(3000, None, 3500, whole),
            Inconclusive,
            None,
        ),
        (
            kind(2, 1000),
            course(3000, None, 8000, (1900, 9000)),
            Inconclusive,
            None,
        ),
    ];
    for (kind, recording, expected, value) in rows {
        let result = judge(kind.clone(), &recording);
        assert_eq!(result.verdict, expected, "{kind}: {}", result.why);
        if value.is_some() {
            assert_eq!(result.value, value, "{kind}");
        }
    }
}

#[test]
fn events_happen_in_an_order_when_each_first_one_stands_behind_the_one_before() {
    let told = |ms, kind, device: &str| RecordedEvent {
        at: at(ms),
        kind,
        device: Some(device.to_owned()),
    };
    let (shed, back) = ("load_shed", "load_restored");
    let right = [told(2500, shed, "plug3"), told(3500, back, "plug3")];
    let again = [
        right[0].clone(),
        right[1].clone(),
        told(3900, shed, "plug3"),
    ];
    let at_once = [told(3000, shed, "plug3"), told(3000, back, "plug3")];
    let turned = [told(2500, back, "plug3"), told(3500, shed, "plug3")];
    let turned_at_once = [at_once[1].clone(), at_once[0].clone()];
    let early = [told(1999, shed, "plug3"), told(3500, back, "plug3")];
    let any = [(shed, None), (back, None)];
    let of = |device: &str| [(shed, Some(device.to_owned())), (back, None)];
    let rows: &[(&[RecordedEvent], _, u64, _)] = &[
        (&right, any.clone(), 2, Pass),
        (&again, any.clone(), 2, Pass),
        (&at_once, any.clone(), 2, Pass),
        (&turned, any.clone(), 2, Fail),
        (&turned_at_once, any.clone(), 2, Fail),
        (&early, any.clone(), 2, Fail),
        (&right[..1], any.clone(), 2, Fail),
        (&[], any.clone(), 2, Inconclusive),
        (&right, of("plug3"), 2, Pass),
        (&right, of("plug4"), 2, Fail),
        // The record ends before the window does: what was not seen may still have come.
        (&right[..1], any.clone(), 3600, Inconclusive),
        (&turned, any, 3600, Fail),
    ];
    for (events, wanted, window_s, expected) in rows {
        let mut recording = series("good");
        recording.events = events.to_vec();
        let kind = CheckKind::Ordered {
            events: wanted.to_vec(),
            window: Window {
                from: moment("t0"),
                to: WindowEnd::For(Duration::from_secs(*window_s)),
            },
        };
        let result = judge(kind.clone(), &recording);
        assert_eq!(
            result.verdict, *expected,
            "{kind} of {events:?}: {}",
            result.why
        );
    }
}

#[test]
fn a_ledger_is_complete_only_when_it_was_verified_and_misses_nothing() {
    let holds = || Verification::Holds {
        root: "1f".to_owned(),
    };
    let rows = [
        (3, 3, holds(), Pass),
        (3, 2, holds(), Ledger),
        (3, 4, holds(), Ledger),
        (3, 3, Verification::Broken("entry 7".to_owned()), Ledger),
        (3, 3, Verification::NotDone, Inconclusive),
        (
            3,
            3,
            Verification::Impossible("gone".to_owned()),
            Inconclusive,
        ),
        (0, 0, holds(), Inconclusive),
    ];
    for (dispatches, dispatches_logged, verification, expected) in rows {
        let evidence = Evidence {
            ledger: LedgerEvidence {
                dispatches,
                dispatches_logged,
                verification,
            },
            ..Evidence::default()
        };
        let check = Check {
            uncertainty: None,
            name: "ledger".to_owned(),
            kind: CheckKind::Ledger,
            line: 1,
        };
        let result = evaluate(&check, &Recording::default(), &evidence);
        assert_eq!(result.verdict, expected, "{}", result.why);
    }
}

#[test]
fn a_value_within_its_uncertainty_of_a_limit_is_marginal_and_keeps_its_verdict() {
    // A steady 2,000 W in all rows; the limits and what is stated differ.
    let rows = [
        ((1900.0, 2100.0), Some(10.0), Pass, false),
        ((1900.0, 2005.0), Some(10.0), Pass, true),
        ((1995.0, 2100.0), Some(10.0), Pass, true),
        ((1900.0, 1995.0), Some(10.0), Fail, true),
        ((1900.0, 1980.0), Some(10.0), Fail, false),
        ((2000.0, 2100.0), Some(0.0), Pass, true),
        // What the sampling leaves open is a time and says nothing about watts.
        ((2000.0, 2100.0), None, Pass, false),
    ];
    let steady = record(|_| Reading::Good(2000.0));
    for (within, uncertainty, verdict, is_marginal) in rows {
        let check = Check {
            name: "a check".to_owned(),
            kind: CheckKind::Band {
                signal: signal(),
                window: Window::WHOLE,
                within,
                max_gap: MAX_GAP,
            },
            line: 1,
            uncertainty,
        };
        let result = evaluate(&check, &steady, &Evidence::default());
        let found = (result.verdict, result.marginal);
        assert_eq!(found, (verdict, is_marginal), "{within:?} {uncertainty:?}");
    }
}

#[test]
fn what_must_always_be_is_looked_for_in_every_measurement() {
    let always = |condition| CheckKind::Always {
        condition,
        window: Window::WHOLE,
        max_gap: Duration::from_millis(200),
    };
    check(
        &always(Condition::Signal {
            signal: signal(),
            comparison: Comparison::AtMost,
            limit: 2050.0,
        }),
        &[
            ("good", Pass),
            ("too much", Fail),
            ("a spike", Fail),
            ("gappy", Inconclusive),
            ("not a number", Inconclusive),
            ("empty", Inconclusive),
        ],
    );
    use Mode::{GridConnected, Safe};
    let short = [(0, GridConnected), (5000, Safe), (5001, GridConnected)];
    let rows: &[(bool, Mode, Modes<'_>, Verdict)] = &[
        (true, GridConnected, &[(0, GridConnected)], Pass),
        (true, GridConnected, &short, Fail),
        (false, Safe, &short, Fail),
        (false, Safe, &[(0, GridConnected)], Pass),
        (true, Safe, &[], Inconclusive),
    ];
    for (is, mode, modes, expected) in rows {
        let kind = always(Condition::Mode {
            is: *is,
            mode: *mode,
        });
        let result = judge(kind, &with_modes(modes));
        assert_eq!(result.verdict, *expected, "{modes:?}: {}", result.why);
    }
}

#[test]
fn of_a_comparison_and_its_opposite_exactly_one_holds_for_a_number() {
    for (sign, comparison) in Comparison::SIGNS {
        for value in [-1.0, 0.0, 1.0] {
            let both = (
                comparison.holds(value, 0.0),
                comparison.opposite().holds(value, 0.0),
            );
            assert!(both.0 != both.1, "{value} {sign} 0");
        }
    }
}
