//! What a picture of a series holds: lines, band, marks, faults, the worst sample.
//!
//! Long series are thinned to the lowest and highest value of each column, so that a
//! peak of one sample survives. A line is broken where nothing was measured.

use serde::{Deserialize, Serialize};

use crate::check::{CheckResult, Span};
use crate::series::Recording;
use crate::signal::{Signal, SignalQuantity};

/// Columns to which a long line is thinned.
///
/// Chosen: half the pixels of the picture's width; each column keeps two values.
const COLUMNS: usize = 240;

/// A line is broken where the distance of two samples exceeds the median by this factor.
///
/// Chosen: one lost sample of a poll is overlooked, two in a row are shown.
const BREAK: f64 = 2.5;

/// A line with a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Name in the legend.
    pub name: String,
    /// Time in seconds and value; `None` breaks the line.
    pub points: Vec<(f64, Option<f64>)>,
    /// Whether values hold until the next one, as those of a switch do.
    pub holds: bool,
}

/// A stretch of time with a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// Begin in seconds.
    pub from_s: f64,
    /// End in seconds.
    pub to_s: f64,
    /// What it is.
    pub name: String,
}

/// A picture of series over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plot {
    /// What is shown.
    pub title: String,
    /// Unit of the values.
    pub unit: String,
    /// Begin of the picture in seconds.
    pub from_s: f64,
    /// End of the picture in seconds.
    pub to_s: f64,
    /// The lines.
    pub lines: Vec<Line>,
    /// Lower end of the band.
    pub lower: Option<f64>,
    /// Upper end of the band.
    pub upper: Option<f64>,
    /// A band that moves: time in seconds, lower and upper end; in place of the two above.
    pub band: Vec<(f64, f64, f64)>,
    /// Where the band counts; `None` = everywhere.
    pub window: Option<(f64, f64)>,
    /// Marks with their times in seconds.
    pub marks: Vec<(f64, String)>,
    /// Stretches with a fault.
    pub faults: Vec<Stretch>,
    /// The sample that decided, time in seconds and value.
    pub worst: Option<(f64, f64)>,
}

impl Plot {
    /// The picture of a check.
    pub(crate) fn of_check(
        result: &CheckResult,
        signal: &Signal,
        recording: &Recording,
        window: &Span,
    ) -> Self {
        let (began, ended) = (recording.began.as_seconds(), recording.ended.as_seconds());
        let (from, to) = (window.from.as_seconds(), window.to.as_seconds());
        // Chosen: a quarter of the window on either side shows where the signal came from.
        let margin = ((to - from) / 4.0).max(1.0);
        // What a setup did lies before the begin of the record.
        let from_s = (from - margin).max(began.min(from));
        let to_s = (to + margin).min(ended).max(from_s + 1e-3);
        let (unit, factor) = signal.quantity.shown_unit();
        let samples: Vec<(f64, Option<f64>)> = recording
            .series
            .get(signal)
            .map(|series| {
                series
                    .samples()
                    .iter()
                    .map(|(t, r)| (t.as_seconds(), r.good().map(|v| v * factor)))
                    .filter(|(t, _)| from_s <= *t && *t <= to_s)
                    .collect()
            })
            .unwrap_or_default();
        let moves = !result.band.is_empty();
        let is_time = matches!(
            result.kind.as_str(),
            "t_start" | "t90" | "t_full" | "settle"
        );
        let end = window.from.as_seconds() + result.upper.unwrap_or_default();
        Self {
            title: signal.to_string(),
            unit: unit.to_owned(),
            from_s,
            to_s,
            lines: vec![Line {
                name: signal.to_string(),
                points: thinned(&broken(samples)),
                holds: matches!(
                    signal.quantity,
                    SignalQuantity::Switch | SignalQuantity::Live
                ),
            }],
            // The limit of a response time is a time and no value of the signal.
            // Those of one that moves belong to the worst measurement only.
            lower: result.lower.filter(|_| !is_time && !moves),
            upper: result.upper.filter(|_| !is_time && !moves),
            band: result.band.clone(),
            window: Some(if is_time { (from, end) } else { (from, to) }),
            marks: recording
                .marks
                .iter()
                .map(|(name, t)| (t.as_seconds(), name.clone()))
                .filter(|(t, _)| from_s <= *t && *t <= to_s)
                .collect(),
            faults: recording
                .faults
                .iter()
                .map(|fault| Stretch {
                    from_s: fault.from.as_seconds().max(from_s),
                    to_s: fault.to.map_or(ended, |t| t.as_seconds()).min(to_s),
                    name: fault.what.clone(),
                })
                .filter(|s| s.from_s < s.to_s)
                .collect(),
            worst: result.worst.map(|w| (w.t_s, w.value)),
        }
    }
}

/// Leaves out failed reads and breaks the line where samples are missing.
fn broken(samples: Vec<(f64, Option<f64>)>) -> Vec<(f64, Option<f64>)> {
    let good: Vec<(f64, f64)> = samples
        .into_iter()
        .filter_map(|(t, v)| v.map(|v| (t, v)))
        .collect();
    let mut distances: Vec<f64> = good.windows(2).map(|w| w[1].0 - w[0].0).collect();
    distances.sort_by(f64::total_cmp);
    let median = distances.get(distances.len() / 2).copied();
    let longest = median.map_or(f64::INFINITY, |m| m * BREAK);
    let mut line = Vec::with_capacity(good.len());
    let mut last: Option<f64> = None;
    for (t, v) in good {
        if let Some(last) = last
            && t - last > longest
        {
            line.push((last, None));
        }
        line.push((t, Some(v)));
        last = Some(t);
    }
    line
}

/// At most two values for each of the columns: the lowest and the highest, in their order.
#[must_use]
pub fn thinned(points: &[(f64, Option<f64>)]) -> Vec<(f64, Option<f64>)> {
    if points.len() <= 2 * COLUMNS {
        return points.to_vec();
    }
    let (first, last) = (points[0].0, points[points.len() - 1].0);
    let width = ((last - first) / COLUMNS as f64).max(f64::MIN_POSITIVE);
    let column = |t: f64| ((t - first) / width) as usize;
    let mut thin: Vec<(f64, Option<f64>)> = Vec::new();
    let mut open: Vec<(f64, f64)> = Vec::new();
    for (t, value) in points {
        let is_next = open.first().is_some_and(|(o, _)| column(*o) != column(*t));
        if is_next || value.is_none() {
            close(&mut open, &mut thin);
        }
        match value {
            Some(v) => open.push((*t, *v)),
            None => thin.push((*t, None)),
        }
    }
    close(&mut open, &mut thin);
    thin
}

fn close(open: &mut Vec<(f64, f64)>, thin: &mut Vec<(f64, Option<f64>)>) {
    let low = open.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
    let high = open.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    if let (Some(low), Some(high)) = (low, high) {
        let (a, b) = if low.0 <= high.0 {
            (low, high)
        } else {
            (high, low)
        };
        thin.push((a.0, Some(a.1)));
        if b != a {
            thin.push((b.0, Some(b.1)));
        }
    }
    open.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_of_one_sample_survives_the_thinning() {
        let mut points: Vec<(f64, Option<f64>)> =
            (0..100_000).map(|i| (f64::from(i), Some(1.0))).collect();
        points[54_321].1 = Some(9.0);
        points[12_345].1 = Some(-9.0);
        let thin = thinned(&points);
        assert!(thin.len() <= 2 * COLUMNS + 2, "{}", thin.len());
        for expected in [(54_321.0, Some(9.0)), (12_345.0, Some(-9.0))] {
            assert!(thin.contains(&expected), "{expected:?}");
        }
        assert!(
            thin.windows(2).all(|w| w[0].0 <= w[1].0),
            "in order of time"
        );
    }

    #[test]
    fn a_line_is_broken_where_samples_are_missing() {
        let samples = [0.0, 0.1, 0.2, 0.3, 1.0, 1.1].map(|t| (t, Some(1.0)));
        let line = broken(samples.to_vec());
        let breaks: Vec<f64> = line
            .iter()
            .filter(|(_, v)| v.is_none())
            .map(|(t, _)| *t)
            .collect();
        assert_eq!(breaks, [0.3]);
    }
}
