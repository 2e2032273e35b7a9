//! `energy`: a power, summed over a window.
//!
//! Between two measurements the power was somewhere between both: the energy lies between the sum of
//! the smaller and the sum of the larger one. What is told is the middle, and the verdict holds for
//! both ends. The measurement before the window and the one behind it count for their part in it.

use std::time::Duration;

use model::Instant;

use super::values::{hole, incomplete, no_measurement};
use super::{CheckResult, Span};
use crate::report::number;
use crate::series::{Recording, Series};
use crate::signal::Signal;
use crate::verdict::Verdict;

/// Seconds of an hour: from watt-seconds to watt-hours.
const SECONDS_PER_HOUR: f64 = 3600.0;

/// The energy of a power signal lies in `within`, in watt-hours, ends allowed.
pub(super) fn energy(
    mut result: CheckResult,
    recording: &Recording,
    window: &Span,
    signal: &Signal,
    within: (f64, f64),
    max_gap: Duration,
) -> CheckResult {
    result.unit = "Wh".to_owned();
    (result.lower, result.upper) = (Some(within.0), Some(within.1));
    let empty = Series::new();
    let series = recording.series.get(signal).unwrap_or(&empty);
    result.samples = series.measured(window.from, window.seen_to).count() as u64;
    if result.samples == 0 {
        let why = no_measurement(signal, series, window);
        return result.says(Verdict::Inconclusive, why);
    }
    let why = hole(signal, series, (window.from, window.seen_to), max_gap);
    if let Some(why) = why.or_else(|| incomplete(window)) {
        return result.says(Verdict::Inconclusive, why);
    }
    let (low, high) = bounds(series, window, max_gap);
    let (value, open) = ((low + high) / 2.0, (high - low) / 2.0);
    result.value = Some(value);
    result.uncertainty = Some(open);
    result.uncertainty_unit = "Wh".to_owned();
    let told = format!(
        "{signal} summed up to {} ± {} Wh over {} s",
        number(value),
        number(open),
        number(window.length().as_secs_f64())
    );
    if within.0 <= low && high <= within.1 {
        return result.says(Verdict::Pass, told);
    }
    if high < within.0 || within.1 < low {
        return result.says(Verdict::Fail, told);
    }
    let why = format!("{told}, and an end of the band lies inside that");
    result.says(Verdict::Inconclusive, why)
}

/// Least and largest energy in watt-hours.
fn bounds(series: &Series, window: &Span, max_gap: Duration) -> (f64, f64) {
    let before = series.held(window.from, max_gap);
    let behind = series
        .measured(window.to, window.to + max_gap)
        .find(|(at, _)| *at > window.to);
    let inside = series
        .measured(window.from, window.to)
        .filter(|(at, _)| before.is_none_or(|(first, _)| *at > first));
    let points: Vec<(Instant, f64)> = before.into_iter().chain(inside).chain(behind).collect();
    let (mut low, mut high) = (0.0, 0.0);
    let mut add = |from: Instant, to: Instant, least: f64, most: f64| {
        let seconds = to.min(window.to).since(from.max(window.from)).as_secs_f64();
        low += least * seconds;
        high += most * seconds;
    };
    for pair in points.windows(2) {
        let [(from, a), (to, b)] = [pair[0], pair[1]];
        add(from, to, a.min(b), a.max(b));
    }
    // An end of the window that no measurement is beyond has the value of the nearest one.
    if let (Some((first, a)), Some((last, b))) = (points.first(), points.last()) {
        add(window.from, *first, *a, *a);
        add(*last, window.to, *b, *b);
    }
    (low / SECONDS_PER_HOUR, high / SECONDS_PER_HOUR)
}
