//! `count`: how often a condition became true.
//!
//! It has become true where a measurement meets it and the one before it in the window did not.
//! One that is true from the begin of the window has not become so in it.

use std::time::Duration;

use model::Instant;

use super::discrete::resolution;
use super::values::{hole, incomplete, no_measurement};
use super::{CheckResult, Condition, Span, Worst};
use crate::report::number;
use crate::series::{Recording, Series};
use crate::verdict::Verdict;

/// How often something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Least number.
    pub at_least: u64,
    /// Largest number; `None` = any.
    pub at_most: Option<u64>,
}

impl Times {
    /// The demand behind the name of what happens, such as `, 1 to 3 times`.
    #[must_use]
    pub fn text(self) -> String {
        match (self.at_least, self.at_most) {
            (_, Some(0)) => ", never".to_owned(),
            (least, Some(most)) => format!(", {least} to {most} times"),
            (1, None) => String::new(),
            (least, None) => format!(", at least {least} times"),
        }
    }
}

/// A condition becomes true at least and at most so often.
pub(super) fn count(
    mut result: CheckResult,
    recording: &Recording,
    window: &Span,
    condition: &Condition,
    times: Times,
    max_gap: Duration,
) -> CheckResult {
    result.unit = String::new();
    result.lower = Some(times.at_least as f64);
    result.upper = times.at_most.map(|most| most as f64);
    let (states, unknown) = match states(&mut result, recording, window, condition, max_gap) {
        Ok(states) => states,
        Err(why) => return result.says(Verdict::Inconclusive, why),
    };
    let begins: Vec<(Instant, f64)> = states
        .windows(2)
        .filter(|pair| !pair[0].is_true && pair[1].is_true)
        .map(|pair| (pair[1].at, pair[1].value))
        .collect();
    let count = begins.len() as u64;
    result.value = Some(count as f64);
    let why = match begins.first() {
        Some((first, _)) => format!(
            "{condition} became true {count} times, first at {} s",
            number(first.as_seconds())
        ),
        None => format!("{condition} did not become true"),
    };
    // The one too many was seen, whatever was not.
    let beyond = times
        .at_most
        .and_then(|most| begins.get(usize::try_from(most).ok()?));
    if let Some((at, value)) = beyond {
        result.worst = Some(Worst {
            t_s: at.as_seconds(),
            value: *value,
        });
        return result.says(Verdict::Fail, why);
    }
    if let Some(unknown) = unknown.or_else(|| incomplete(window)) {
        return result.says(Verdict::Inconclusive, format!("{why}, but {unknown}"));
    }
    let verdict = match count >= times.at_least {
        true => Verdict::Pass,
        false => Verdict::Fail,
    };
    result.says(verdict, why)
}

/// A condition at a time, and the value that decided, in the unit of reports.
struct State {
    at: Instant,
    is_true: bool,
    value: f64,
}

/// The states that were seen, and why some may not have been; an error where none was.
fn states(
    result: &mut CheckResult,
    recording: &Recording,
    window: &Span,
    condition: &Condition,
    max_gap: Duration,
) -> Result<(Vec<State>, Option<String>), String> {
    match condition {
        Condition::Signal {
            signal,
            comparison,
            limit,
        } => {
            let empty = Series::new();
            let series = recording.series.get(signal).unwrap_or(&empty);
            let (_, factor) = signal.quantity.shown_unit();
            let states: Vec<State> = series
                .measured(window.from, window.seen_to)
                .map(|(at, value)| State {
                    at,
                    is_true: comparison.holds(value, *limit),
                    value: value * factor,
                })
                .collect();
            result.samples = states.len() as u64;
            if states.is_empty() {
                return Err(no_measurement(signal, series, window));
            }
            if let Some(spacing) = series.spacing_max(window.from, window.seen_to) {
                result.uncertainty = Some(spacing.as_secs_f64() / 2.0);
                result.uncertainty_unit = "s".to_owned();
            }
            let hole = hole(signal, series, (window.from, window.seen_to), max_gap);
            Ok((states, hole))
        }
        Condition::Mode { is, mode } => {
            resolution(result, recording);
            let first = recording.mode_at(window.from).ok_or_else(|| {
                let from_s = number(window.from.as_seconds());
                format!("the mode at {from_s} s is not known")
            })?;
            let later = recording.modes.iter().copied();
            let later = later.filter(|(at, _)| *at > window.from && *at <= window.seen_to);
            let states: Vec<State> = std::iter::once((window.from, first))
                .chain(later)
                .map(|(at, found)| State {
                    at,
                    is_true: (found == *mode) == *is,
                    value: 0.0,
                })
                .collect();
            result.samples = states.len() as u64;
            Ok((states, None))
        }
    }
}
