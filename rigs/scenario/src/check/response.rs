//! Response time of a step. The definition stands in the head of [`crate::check`].

use std::time::Duration;

use model::Instant;
use services::measure::{Reached, StepUnit, reached};

use super::values::{hole, no_measurement};
use super::{CheckResult, Span, Worst};
use crate::report::number;
use crate::series::{Recording, Series};
use crate::signal::Signal;
use crate::verdict::Verdict;

/// Length of the stretch before the mark in which the value before the step is measured.
///
/// Chosen: five control cycles of the slowest bundled rig (200 ms).
pub(super) const BEFORE: Duration = Duration::from_secs(1);

/// Which share of a step a response time counts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseShare {
    /// It has begun. Chosen: 5 %, above the noise of a meter.
    Start,
    /// Nearly there, by the definition of t90.
    Ninety,
    /// All of it. Source: 3 % of the curve, as of a delivery to NESO (recalled).
    Full,
}

impl ResponseShare {
    /// The key that it is written with.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "t_start",
            Self::Ninety => "t90",
            Self::Full => "t_full",
        }
    }

    /// The share.
    #[must_use]
    pub fn fraction(self) -> f64 {
        match self {
            Self::Start => 0.05,
            Self::Ninety => 0.9,
            Self::Full => 0.97,
        }
    }

    fn percent(self) -> String {
        number(self.fraction() * 100.0)
    }
}

/// Share of the observation, at its end, in which the settled value is measured.
///
/// Chosen: with the default observation of five times the allowed time this begins
/// four allowed times after the step; a device that is still moving then is late anyway.
const SETTLED: f64 = 0.2;

/// A share of the step is reached within `max`.
#[allow(clippy::too_many_arguments, reason = "one check with all of its keys")]
pub(super) fn time(
    mut result: CheckResult,
    recording: &Recording,
    window: &Span,
    signal: &Signal,
    share: ResponseShare,
    max: Duration,
    to: Option<f64>,
    max_gap: Duration,
) -> CheckResult {
    let max_s = max.as_secs_f64();
    result.unit = "s".to_owned();
    result.upper = Some(max_s);
    let empty = Series::new();
    let series = recording.series.get(signal).unwrap_or(&empty);
    let after: Vec<(Instant, f64)> = series
        .measured(window.from, window.seen_to)
        .filter(|(t, _)| *t > window.from)
        .collect();
    result.samples = after.len() as u64;
    if after.is_empty() {
        return result.says(
            Verdict::Inconclusive,
            no_measurement(signal, series, window),
        );
    }
    let before: Vec<(Instant, f64)> = series.measured(window.from - BEFORE, window.from).collect();
    let Some((last_before, _)) = before.last().copied() else {
        let why = format!("{signal} was not measured in the second before the step");
        return result.says(Verdict::Inconclusive, why);
    };
    let step = match size_of_step(signal, series, &before, window, to, max_gap) {
        Ok(step) => step,
        Err((verdict, why)) => return result.says(verdict, why),
    };
    let values = after.iter().map(|(_, value)| *value);
    match reached(values, &step, share.fraction()) {
        Some(Reached { index: i }) => {
            let at = after[i].0;
            let previous = if i == 0 { last_before } else { after[i - 1].0 };
            let upper = at.since(window.from);
            let lower = previous.since(window.from);
            let (upper_s, lower_s) = (upper.as_secs_f64(), lower.as_secs_f64());
            let half = upper.saturating_sub(lower) / 2;
            result.value = Some((lower + half).as_secs_f64());
            result.uncertainty = Some(half.as_secs_f64());
            result.uncertainty_unit = "s".to_owned();
            result.worst = Some(Worst {
                t_s: at.as_seconds(),
                value: after[i].1 * signal.quantity.shown_unit().1,
            });
            let told = format!(
                "{} % of the step from {} to {} was reached between {} s and {} s after it",
                share.percent(),
                signal.show(step.from),
                signal.show(step.to),
                number(lower_s),
                number(upper_s)
            );
            if lower >= max {
                return result.says(Verdict::Fail, told);
            }
            if let Some(why) = hole(signal, series, (last_before, at), max_gap) {
                return result.says(Verdict::Inconclusive, why);
            }
            if upper <= max {
                return result.says(Verdict::Pass, told);
            }
            let why = format!("{told}: the sampling is too coarse to tell");
            result.says(Verdict::Inconclusive, why)
        }
        None => {
            let end = window.from + max;
            if let Some(why) = hole(signal, series, (last_before, end), max_gap) {
                return result.says(Verdict::Inconclusive, why);
            }
            // A last measurement at the allowed time that is still below shows the failure.
            if after.last().is_none_or(|(t, _)| *t < end) {
                let why = format!(
                    "the record of {signal} ended before {} s after the step",
                    number(max_s)
                );
                return result.says(Verdict::Inconclusive, why);
            }
            let furthest = furthest(&after, &step);
            if let Some((t, value)) = furthest {
                result.worst = Some(Worst {
                    t_s: t.as_seconds(),
                    value: value * signal.quantity.shown_unit().1,
                });
            }
            let why = format!(
                "{} % of the step from {} to {} was not reached; {signal} came to {}",
                share.percent(),
                signal.show(step.from),
                signal.show(step.to),
                furthest.map_or_else(|| "nothing".to_owned(), |(_, v)| signal.show(v))
            );
            result.says(Verdict::Fail, why)
        }
    }
}

fn size_of_step(
    signal: &Signal,
    series: &Series,
    before: &[(Instant, f64)],
    window: &Span,
    to: Option<f64>,
    max_gap: Duration,
) -> Result<StepUnit, (Verdict, String)> {
    let values = |rows: &[(Instant, f64)]| rows.iter().map(|(_, v)| *v).collect::<Vec<f64>>();
    let nothing = || {
        (
            Verdict::Inconclusive,
            format!("{signal} was not measured around the step"),
        )
    };
    let from = median(values(before)).ok_or_else(nothing)?;
    let low = before.iter().map(|(_, v)| *v).fold(from, f64::min);
    let high = before.iter().map(|(_, v)| *v).fold(from, f64::max);
    let noise = high - low;
    if let Some(to) = to {
        if (to - from).abs() <= noise {
            let why = format!(
                "{signal} was {} before the step already: there was no step to make",
                signal.show(from)
            );
            return Err((Verdict::Inconclusive, why));
        }
        return Ok(StepUnit { from, to });
    }
    if !window.is_complete() {
        let why = "the record ended before the settled value could be measured".to_owned();
        return Err((Verdict::Inconclusive, why));
    }
    let settled_from = window.to - window.length().mul_f64(SETTLED);
    if let Some(why) = hole(signal, series, (settled_from, window.to), max_gap) {
        return Err((Verdict::Inconclusive, why));
    }
    let settled: Vec<(Instant, f64)> = series.measured(settled_from, window.to).collect();
    let to = median(values(&settled)).ok_or_else(nothing)?;
    if (to - from).abs() <= noise {
        if let Some(why) = hole(signal, series, (window.from, window.to), max_gap) {
            return Err((Verdict::Inconclusive, why));
        }
        let why = format!(
            "{signal} did not move: {} before the step, {} at the end of the observation",
            signal.show(from),
            signal.show(to)
        );
        return Err((Verdict::Fail, why));
    }
    Ok(StepUnit { from, to })
}

fn furthest(after: &[(Instant, f64)], step: &StepUnit) -> Option<(Instant, f64)> {
    after
        .iter()
        .copied()
        .max_by(|a, b| step.covered(a.1).total_cmp(&step.covered(b.1)))
}

pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}
