//! How evenly the control cycles came: the jitter of their distances, and those that were left out.

use super::{CheckResult, Span, Worst};
use crate::report::number;
use crate::series::Recording;
use crate::verdict::Verdict;

/// What is demanded of the rhythm of control.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RhythmDemand {
    /// Share of the period by which at most one distance in a thousand may be off.
    pub jitter: f64,
    /// Largest share of cycles that were left out because the one before took too long.
    pub overruns: f64,
}

/// Distances without which one in a thousand cannot be told.
const CYCLES_AT_LEAST: usize = 1000;

/// Judges the control cycles of a window.
pub(super) fn rhythm(
    mut result: CheckResult,
    recording: &Recording,
    window: &Span,
    demand: RhythmDemand,
) -> CheckResult {
    result.unit = "%".to_owned();
    result.upper = Some(demand.jitter * 100.0);
    let period_s = recording.resolution.as_secs_f64();
    let inside = |at: &&model::Instant| window.from <= **at && **at <= window.seen_to;
    let times: Vec<model::Instant> = recording.cycles.iter().filter(inside).copied().collect();
    if times.len() < 2 || period_s <= 0.0 {
        return result.says(Verdict::Inconclusive, "no two control cycles were recorded");
    }
    let distances = times.windows(2).map(|pair| {
        let off = pair[1].since(pair[0]).as_secs_f64() / period_s;
        (pair[1].as_seconds(), off)
    });
    let mut left_out = 0.0;
    let mut jitters = Vec::new();
    for (t_s, periods) in distances {
        left_out += (periods.round() - 1.0).max(0.0);
        jitters.push((t_s, (periods - 1.0).abs()));
    }
    result.samples = jitters.len() as u64;
    jitters.sort_by(|a, b| a.1.total_cmp(&b.1));
    // The smallest one that 99.9 % do not exceed.
    let rank = (jitters.len() * 999).div_ceil(1000).max(1) - 1;
    let (t_s, jitter) = jitters[rank];
    let overruns = left_out / (jitters.len() as f64 + left_out);
    result.value = Some(jitter * 100.0);
    result.worst = Some(Worst {
        t_s,
        value: jitter * 100.0,
    });
    let why = format!(
        "99.9 % of {} distances between control cycles were off by {} % of the period at most, and {left_out} cycles were left out ({} %)",
        jitters.len(),
        number(jitter * 100.0),
        number(overruns * 100.0)
    );
    if overruns > demand.overruns {
        return result.says(Verdict::Fail, why);
    }
    if jitters.len() < CYCLES_AT_LEAST {
        let why = format!("{why}, but {CYCLES_AT_LEAST} are needed");
        return result.says(Verdict::Inconclusive, why);
    }
    if jitter > demand.jitter {
        return result.says(Verdict::Fail, why);
    }
    if !window.is_complete() {
        return result.says(
            Verdict::Inconclusive,
            "the record ended before the window did",
        );
    }
    result.says(Verdict::Pass, why)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Check, CheckKind, Evidence, Window, evaluate};
    use super::*;
    use Verdict::{Fail, Inconclusive, Pass};

    /// So many cycles of 100 ms, of which each `late_every`-th comes late by `late_ms` and the
    /// `lost` ones in the middle do not come.
    fn check(cycles: u64, (late_every, late_ms): (u64, u64), lost: u64, expected: Verdict) {
        let at = |n: u64| {
            let late_ms = if (n + 1).is_multiple_of(late_every) {
                late_ms
            } else {
                0
            };
            model::Instant::START + Duration::from_millis(n * 100 + late_ms)
        };
        let lost = cycles / 2..cycles / 2 + lost;
        let recording = Recording {
            resolution: Duration::from_millis(100),
            cycles: (0..cycles).filter(|n| !lost.contains(n)).map(at).collect(),
            ended: at(cycles - 1),
            ..Recording::default()
        };
        let check = Check {
            uncertainty: None,
            name: String::new(),
            kind: CheckKind::Rhythm {
                demand: RhythmDemand {
                    jitter: 0.2,
                    overruns: 0.001,
                },
                window: Window::WHOLE,
            },
            line: 1,
        };
        let result = evaluate(&check, &recording, &Evidence::default());
        assert_eq!(result.verdict, expected, "{}", result.why);
    }

    #[test]
    fn one_distance_in_a_thousand_may_be_off_and_one_cycle_in_a_thousand_left_out() {
        let even = (1, 0);
        check(2000, even, 0, Pass);
        check(2000, even, 1, Pass);
        check(2000, even, 4, Fail);
        // A late cycle makes two distances wrong: that before it and that after it.
        check(2100, (2001, 30), 0, Pass);
        check(2000, (300, 30), 0, Fail);
        check(2000, (300, 19), 0, Pass);
        check(1000, even, 0, Inconclusive);
        // A control that stands still is told also where little was seen.
        check(500, even, 40, Fail);
        check(1, even, 0, Inconclusive);
    }
}
