//! `settle`: a signal comes into a band about a value in time, and stays there.

use std::time::Duration;

use super::values::{hole, incomplete, no_measurement};
use super::{CheckResult, Span, Worst};
use crate::report::number;
use crate::series::{Recording, Series};
use crate::signal::Signal;
use crate::verdict::Verdict;

/// What is demanded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settling {
    /// The value, in the base unit.
    pub to: f64,
    /// Distance from it that is settled, in the base unit.
    pub band: f64,
    /// Time in which it has to be there.
    pub within: Duration,
    /// Time for which it has to stay.
    pub hold: Duration,
}

/// From some time within `within` on, every measurement of the time `hold` lies in the band. The window is as long
/// as both together.
pub(super) fn settle(
    mut result: CheckResult,
    recording: &Recording,
    window: &Span,
    signal: &Signal,
    demand: Settling,
    max_gap: Duration,
) -> CheckResult {
    result.unit = "s".to_owned();
    result.upper = Some(demand.within.as_secs_f64());
    let empty = Series::new();
    let series = recording.series.get(signal).unwrap_or(&empty);
    let (mut began, mut settled, mut last_out) = (None, None, None);
    for (at, value) in series.measured(window.from, window.seen_to) {
        result.samples += 1;
        if (value - demand.to).abs() > demand.band {
            began = None;
            last_out = Some((at, value));
            continue;
        }
        let since = *began.get_or_insert(at);
        if at.since(since) >= demand.hold {
            settled = Some((since, at));
            break;
        }
    }
    if result.samples == 0 {
        return result.says(
            Verdict::Inconclusive,
            no_measurement(signal, series, window),
        );
    }
    if let Some(spacing) = series.spacing_max(window.from, window.seen_to) {
        result.uncertainty = Some(spacing.as_secs_f64() / 2.0);
        result.uncertainty_unit = "s".to_owned();
    }
    if let Some((at, value)) = last_out {
        result.worst = Some(Worst {
            t_s: at.as_seconds(),
            value: value * signal.quantity.shown_unit().1,
        });
    }
    let looked_to = settled.map_or(window.seen_to, |(_, end)| end);
    if let Some(why) = hole(signal, series, (window.from, looked_to), max_gap) {
        return result.says(Verdict::Inconclusive, why);
    }
    let target = signal.show(demand.to);
    let Some((since, _)) = settled else {
        let last = last_out.map_or(String::new(), |(at, value)| {
            let at_s = number(at.as_seconds());
            format!("; it was {} at {at_s} s", signal.show(value))
        });
        let why = format!("{signal} did not settle at {target}{last}");
        let is_open = incomplete(window);
        let verdict = match is_open {
            Some(_) => Verdict::Inconclusive,
            None => Verdict::Fail,
        };
        return result.says(verdict, is_open.unwrap_or(why));
    };
    let took = since.since(window.from);
    result.value = Some(took.as_secs_f64());
    let verdict = match took <= demand.within {
        true => Verdict::Pass,
        false => Verdict::Fail,
    };
    let why = format!(
        "{signal} was settled at {target} after {} s",
        number(took.as_secs_f64())
    );
    result.says(verdict, why)
}
