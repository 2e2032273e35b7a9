//! Checks of every measurement in a window: `band`, `never` and `always`.

use std::time::Duration;

use model::Instant;

use super::{CheckResult, Comparison, Span, Worst};
use crate::report::number;
use crate::series::{Recording, Series};
use crate::signal::Signal;
use crate::verdict::Verdict;

/// Every measurement lies in `within` (base unit, ends allowed).
pub(super) fn band(
    mut result: CheckResult,
    recording: &Recording,
    window: &Span,
    signal: &Signal,
    within: (f64, f64),
    max_gap: Duration,
) -> CheckResult {
    let (_, factor) = signal.quantity.shown_unit();
    result.lower = Some(within.0 * factor);
    result.upper = Some(within.1 * factor);
    // Distance out of the band; inside it is negative, and the worst is nearest to an end.
    let excess = |v: f64| (within.0 - v).max(v - within.1);
    let demand = Demand {
        excess: &excess,
        is_violation: &|v| !(within.0 <= v && v <= within.1),
        said: "outside the band",
    };
    every(result, recording, window, signal, &demand, max_gap)
}

/// No measurement meets the condition.
pub(super) fn never(
    mut result: CheckResult,
    recording: &Recording,
    window: &Span,
    signal: &Signal,
    comparison: Comparison,
    limit: f64,
    max_gap: Duration,
) -> CheckResult {
    let (_, factor) = signal.quantity.shown_unit();
    let shown = Some(limit * factor);
    match comparison {
        Comparison::Above | Comparison::AtLeast => result.upper = shown,
        Comparison::Below | Comparison::AtMost => result.lower = shown,
        Comparison::Equal => {}
        Comparison::Different => (result.lower, result.upper) = (shown, shown),
    }
    let excess = |v: f64| match comparison {
        Comparison::Above | Comparison::AtLeast => v - limit,
        Comparison::Below | Comparison::AtMost => limit - v,
        Comparison::Equal => -(v - limit).abs(),
        Comparison::Different => (v - limit).abs(),
    };
    let demand = Demand {
        excess: &excess,
        is_violation: &|v| comparison.holds(v, limit),
        said: "what must never be",
    };
    every(result, recording, window, signal, &demand, max_gap)
}

/// What is demanded of each measurement.
struct Demand<'a> {
    /// How bad a value is; larger is worse.
    excess: &'a dyn Fn(f64) -> f64,
    /// Whether it breaks the demand.
    is_violation: &'a dyn Fn(f64) -> bool,
    /// What a violation is, in words.
    said: &'static str,
}

fn every(
    mut result: CheckResult,
    recording: &Recording,
    window: &Span,
    signal: &Signal,
    demand: &Demand<'_>,
    max_gap: Duration,
) -> CheckResult {
    let empty = Series::new();
    let series = recording.series.get(signal).unwrap_or(&empty);
    let (_, factor) = signal.quantity.shown_unit();
    let mut worst: Option<(Instant, f64)> = None;
    let mut violations = 0_u64;
    for (at, value) in series.measured(window.from, window.seen_to) {
        result.samples += 1;
        violations += u64::from((demand.is_violation)(value));
        let is_worse = worst.is_none_or(|(_, w)| (demand.excess)(value) > (demand.excess)(w));
        if is_worse {
            worst = Some((at, value));
        }
    }
    let Some((at, value)) = worst else {
        return result.says(
            Verdict::Inconclusive,
            no_measurement(signal, series, window),
        );
    };
    result.value = Some(value * factor);
    result.worst = Some(Worst {
        t_s: at.as_seconds(),
        value: value * factor,
    });
    if let Some(spacing) = series.spacing_max(window.from, window.seen_to) {
        result.uncertainty = Some(spacing.as_secs_f64() / 2.0);
        result.uncertainty_unit = "s".to_owned();
    }
    let at_s = number(at.as_seconds());
    if violations > 0 {
        let why = format!(
            "{signal} was {} at {at_s} s, {}; {violations} of {} measurements were",
            signal.show(value),
            demand.said,
            result.samples
        );
        return result.says(Verdict::Fail, why);
    }
    if let Some(why) = hole(signal, series, (window.from, window.seen_to), max_gap) {
        return result.says(Verdict::Inconclusive, why);
    }
    if let Some(why) = incomplete(window) {
        return result.says(Verdict::Inconclusive, why);
    }
    let why = format!(
        "{} measurements, nearest to the limit {} at {at_s} s",
        result.samples,
        signal.show(value)
    );
    result.says(Verdict::Pass, why)
}

/// That the record does not go to the end of the window, in words; `None` when it does.
pub(super) fn incomplete(window: &Span) -> Option<String> {
    (!window.is_complete()).then(|| {
        format!(
            "the record ended at {} s, before the window did at {} s",
            number(window.seen_to.as_seconds()),
            number(window.to.as_seconds())
        )
    })
}

/// Why there is nothing to judge.
pub(super) fn no_measurement(signal: &Signal, series: &Series, window: &Span) -> String {
    let range = format!(
        "between {} s and {} s",
        number(window.from.as_seconds()),
        number(window.seen_to.as_seconds())
    );
    match series.first_flaw(window.from, window.seen_to) {
        Some((_, flaw)) => format!("{signal} was not measured {range}: {}", flaw.word()),
        None => format!("{signal} was not measured {range}"),
    }
}

/// The longest hole of a signal in a stretch, in words; `None` when there is none.
pub(super) fn hole(
    signal: &Signal,
    series: &Series,
    (from, to): (Instant, Instant),
    max_gap: Duration,
) -> Option<String> {
    let gap = series
        .gaps(from, to, max_gap)
        .into_iter()
        .max_by_key(|gap| gap.length())?;
    let because = series
        .first_flaw(gap.from, gap.to)
        .map_or(String::new(), |(_, flaw)| format!(" ({})", flaw.word()));
    Some(format!(
        "{signal} was not measured from {} s to {} s{because}; at most {} s is allowed",
        number(gap.from.as_seconds()),
        number(gap.to.as_seconds()),
        number(max_gap.as_secs_f64())
    ))
}
