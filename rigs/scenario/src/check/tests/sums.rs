//! `count` and `energy`.

use super::*;

fn from_step(from: &str, length_ms: u64) -> Window {
    Window {
        from: moment(from),
        to: WindowEnd::For(Duration::from_millis(length_ms)),
    }
}

fn count(window: Window, at_least: u64, at_most: Option<u64>) -> CheckKind {
    CheckKind::Count {
        condition: Condition::Signal {
            signal: signal(),
            comparison: Comparison::Above,
            limit: 500.0,
        },
        window,
        times: Times { at_least, at_most },
        max_gap: Duration::from_millis(200),
    }
}

/// A power that is 1 kW from 1 s to 2 s and from 3 s to 4 s after the step; nothing is read in `lost`.
fn pulses(lost: std::ops::Range<i64>) -> Recording {
    record(|ms| match ms {
        _ if lost.contains(&ms) => Reading::Bad(Flaw::Timeout),
        1000..2000 | 3000..4000 => Reading::Good(1000.0),
        _ => Reading::Good(0.0),
    })
}

#[test]
fn a_condition_has_become_true_where_it_was_seen_false_before() {
    let whole = || from_step("t0", 6000);
    let rows = [
        (count(whole(), 2, Some(2)), 0..0, Pass),
        (count(whole(), 1, None), 0..0, Pass),
        (count(whole(), 3, None), 0..0, Fail),
        (count(whole(), 1, Some(1)), 0..0, Fail),
        (count(whole(), 0, Some(0)), 0..0, Fail),
        (count(from_step("t0+1.5s", 4000), 1, Some(1)), 0..0, Pass),
        (count(from_step("t0+4.2s", 1000), 0, Some(0)), 0..0, Pass),
        (count(whole(), 2, Some(2)), 1500..1650, Pass),
        (count(whole(), 2, Some(2)), 1500..1700, Inconclusive),
        (count(whole(), 3, None), 1500..1700, Inconclusive),
        (count(whole(), 1, Some(1)), 1500..1700, Fail),
        (count(whole(), 0, None), -2000..8001, Inconclusive),
        (count(from_step("t0", 9000), 1, None), 0..0, Inconclusive),
        (count(from_step("t0", 9000), 1, Some(1)), 0..0, Fail),
    ];
    for (kind, lost, expected) in rows {
        let result = judge(kind.clone(), &pulses(lost.clone()));
        assert_eq!(result.verdict, expected, "{kind}, {lost:?}: {}", result.why);
        assert_eq!(result.unit, "");
        let plot = result.plot.expect("a picture");
        assert_eq!((plot.lower, plot.upper), (None, None));
    }
    let result = judge(count(whole(), 1, Some(1)), &pulses(0..0));
    let second = Worst {
        t_s: 5.0,
        value: 1000.0,
    };
    assert_eq!((result.value, result.worst), (Some(2.0), Some(second)));
}

#[test]
fn a_mode_is_counted_when_it_begins() {
    use Mode::{GridConnected, Islanded};
    let kind = |times| CheckKind::Count {
        condition: Condition::Mode {
            is: true,
            mode: Islanded,
        },
        window: from_step("t0", 6000),
        times,
        max_gap: MAX_GAP,
    };
    let twice: Modes<'_> = &[
        (0, GridConnected),
        (3000, Islanded),
        (4000, GridConnected),
        (8000, Islanded),
    ];
    let rows: &[(Modes<'_>, u64, Verdict)] = &[
        (twice, 2, Pass),
        (twice, 1, Fail),
        (&[(0, Islanded)], 1, Fail),
        (&[(0, Islanded), (8001, GridConnected)], 0, Pass),
        (&[], 0, Inconclusive),
    ];
    for (modes, count, expected) in rows {
        let times = Times {
            at_least: *count,
            at_most: Some(*count),
        };
        let result = judge(kind(times), &with_modes(modes));
        assert_eq!(result.verdict, *expected, "{modes:?}: {}", result.why);
    }
}

fn energy(window: Window, within: (f64, f64), max_gap_ms: u64) -> CheckKind {
    CheckKind::Energy {
        signal: signal(),
        window,
        within,
        max_gap: Duration::from_millis(max_gap_ms),
    }
}

#[test]
fn an_energy_holds_only_where_the_power_was_known_all_the_time() {
    // 2 kW for 5 s are 2.78 Wh.
    check(
        &energy(from_step("t0+1.3s", 5000), (2.7, 2.8), 200),
        &[
            ("good", Pass),
            ("stuck", Fail),
            ("sign flipped", Fail),
            ("too much", Fail),
            ("one read lost", Pass),
            ("a hole later", Inconclusive),
            ("gappy", Inconclusive),
            ("not a number", Inconclusive),
            ("cut short", Inconclusive),
            ("empty", Inconclusive),
            ("no mark", Inconclusive),
        ],
    );
    check(
        &energy(from_step("t0+1.3s", 5000), (2.7, 2.8), 550),
        &[("a hole later", Pass)],
    );
}

#[test]
fn an_energy_lies_between_the_smaller_and_the_larger_of_neighbouring_powers() {
    // 1 W for each millisecond since the step: 4 s of it are 8 kWs, and 80 steps of 50 W are open.
    let rising = record(|ms| Reading::Good(ms as f64));
    let exact = 8000.0 / 3600.0;
    let open = 100.0 / 3600.0;
    let result = judge(energy(from_step("t0", 4000), (0.0, 9.0), 200), &rising);
    let (value, uncertainty) = (result.value.expect("one"), result.uncertainty.expect("one"));
    assert!((value - exact).abs() < 1e-9, "{value}");
    assert!((uncertainty - open).abs() < 1e-9, "{uncertainty}");
    assert_eq!(
        (result.unit.as_str(), result.uncertainty_unit.as_str()),
        ("Wh", "Wh")
    );
    let rows = [
        ((exact - open - 0.001, exact + open + 0.001), Pass),
        ((exact - open + 0.001, 9.0), Inconclusive),
        ((0.0, exact + open - 0.001), Inconclusive),
        ((exact + open + 0.001, 9.0), Fail),
        ((0.0, exact - open - 0.001), Fail),
    ];
    for (within, expected) in rows {
        let result = judge(energy(from_step("t0", 4000), within, 200), &rising);
        assert_eq!(result.verdict, expected, "{within:?}: {}", result.why);
    }
    // A window that begins and ends between two measurements counts its parts of theirs.
    let flat = record(|_| Reading::Good(3600.0));
    let result = judge(energy(from_step("t0+0.02s", 4010), (0.0, 9.0), 200), &flat);
    assert!(
        (result.value.expect("one") - 4.01).abs() < 1e-9,
        "{result:?}"
    );
}

#[test]
fn the_limit_of_a_time_is_drawn_in_no_picture_of_a_signal() {
    let kind = CheckKind::Settle {
        signal: signal(),
        from: moment("t0"),
        demand: Settling {
            to: 2000.0,
            band: 50.0,
            within: Duration::from_secs(3),
            hold: Duration::from_secs(1),
        },
        max_gap: MAX_GAP,
    };
    let plot = judge(kind, &series("good")).plot.expect("a picture");
    assert_eq!((plot.lower, plot.upper), (None, None));
    assert_eq!(plot.window, Some((2.0, 5.0)));
}
