//! The performance score of regulation: correlation, delay and precision.
//!
//! Signal and response are compared on samples of ten seconds. For each of them the response of the following five
//! minutes is moved back by up to five minutes, to where correlation and promptness together are best:
//! correlation `C`, promptness `D = |d - 300| / 300`, and `P = 1 - |response - signal| / mean |signal|`. The
//! score is the mean of the three, each held between 0 and 1.
//!
//! Two traps are closed. A response that does not move has no correlation, and a delay of nothing would be as good as
//! any: then `D` is 0, too. And the mean of a signal with its sign is near nothing: it is the mean magnitude
//! that precision is measured by.
//!
//! Source: PJM, performance score of regulation, as a published script of the University of Michigan computes it.

/// Seconds of a sample. Source: the same.
const SAMPLE_S: f64 = 10.0;
/// Samples of a window, five minutes. Source: the same.
const WINDOW: usize = 30;
/// Largest delay in samples, five minutes. Source: the same.
const DELAY_MAX: usize = 30;
/// Spread of a response below which it counts as not moving, as a share of the signal's spread.
/// Chosen: 2 %, above the noise of a meter on a battery at rest.
const STUCK: f64 = 0.02;

/// A score with its parts, each from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerformanceScore {
    /// How alike the courses are.
    pub correlation: f64,
    /// How prompt the response is.
    pub delay: f64,
    /// How near it is.
    pub precision: f64,
}

impl PerformanceScore {
    /// The score: the mean of the three.
    #[must_use]
    pub fn total(&self) -> f64 {
        (self.correlation + self.delay + self.precision) / 3.0
    }
}

/// Samples of ten seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resampled(pub Vec<f64>);

/// Means over ten seconds of a series whose values are held until the next one; `None` where one of them lies more
/// than `gap_s_max` after the last value, or before the first.
#[must_use]
pub fn resample(
    series: &[(f64, f64)],
    (from_s, to_s): (f64, f64),
    gap_s_max: f64,
) -> Option<Resampled> {
    let count = ((to_s - from_s) / SAMPLE_S + 1e-9).floor().max(0.0) as usize;
    let mut samples = Vec::with_capacity(count);
    let mut next = series.partition_point(|(t, _)| *t <= from_s);
    let mut held = *series.get(next.checked_sub(1)?)?;
    for index in 0..count {
        let begin = from_s + index as f64 * SAMPLE_S;
        let end = begin + SAMPLE_S;
        let (mut at, mut sum) = (begin, 0.0);
        while let Some((t, value)) = series.get(next).filter(|(t, _)| *t < end) {
            if t - held.0 > gap_s_max {
                return None;
            }
            sum += held.1 * (t - at);
            at = *t;
            held = (*t, *value);
            next += 1;
        }
        if end - held.0 > gap_s_max {
            return None;
        }
        sum += held.1 * (end - at);
        samples.push(sum / SAMPLE_S);
    }
    Some(Resampled(samples))
}

/// The score of a response to a signal; `None` where they are shorter than ten minutes and a sample, of different
/// length, or the signal is nothing throughout.
#[must_use]
pub fn performance_score(signal: &Resampled, response: &Resampled) -> Option<PerformanceScore> {
    let (signal, response) = (&signal.0, &response.0);
    let times = signal.len().checked_sub(WINDOW + DELAY_MAX)?;
    let magnitude = signal.iter().map(|s| s.abs()).sum::<f64>() / signal.len() as f64;
    let usable = times > 0 && response.len() == signal.len() && magnitude > 0.0;
    if !usable || signal.iter().chain(response).any(|v| !v.is_finite()) {
        return None;
    }
    let (mut correlation, mut delay, mut moving) = (0.0, 0.0, 0_u32);
    let mut precision = 0.0;
    for t in 0..times {
        let off = (response[t] - signal[t]).abs() / magnitude;
        precision += (1.0 - off).clamp(0.0, 1.0);
        let wanted = Window::of(&signal[t..t + WINDOW]);
        // Where the signal rests there is nothing to be alike with.
        if wanted.spread == 0.0 {
            continue;
        }
        moving += 1;
        let best = (0..=DELAY_MAX)
            .map(|d| {
                let given = Window::of(&response[t + d..t + d + WINDOW]);
                let prompt = (d as f64 - DELAY_MAX as f64).abs() / DELAY_MAX as f64;
                (wanted.correlation(&given), prompt)
            })
            .max_by(|a, b| {
                let sum = |x: &(Option<f64>, f64)| x.0.unwrap_or_default() + x.1;
                // Of equals the earlier one.
                sum(a).total_cmp(&sum(b)).then(a.1.total_cmp(&b.1))
            });
        if let Some((Some(alike), prompt)) = best {
            correlation += alike.clamp(0.0, 1.0);
            delay += prompt;
        }
    }
    let of_moving = f64::from(moving.max(1));
    Some(PerformanceScore {
        correlation: correlation / of_moving,
        delay: delay / of_moving,
        precision: precision / times as f64,
    })
}

/// Values of a window with their mean and spread.
struct Window<'a> {
    values: &'a [f64],
    mean: f64,
    /// Root of the sum of squares around the mean.
    spread: f64,
}

impl<'a> Window<'a> {
    fn of(values: &'a [f64]) -> Self {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        Self {
            values,
            mean,
            spread: squares.sqrt(),
        }
    }

    /// Correlation with a response; `None` where that does not move.
    fn correlation(&self, response: &Self) -> Option<f64> {
        if response.spread <= self.spread * STUCK {
            return None;
        }
        let pairs = self.values.iter().zip(response.values);
        let product: f64 = pairs
            .map(|(a, b)| (a - self.mean) * (b - response.mean))
            .sum();
        Some(product / (self.spread * response.spread))
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn signal(t_s: f64) -> f64 {
        0.6 * (TAU * t_s / 600.0).sin() + 0.3 * (TAU * t_s / 137.0).sin()
    }

    /// An hour of it, answered in some way.
    fn score(respond: impl Fn(f64) -> f64) -> f64 {
        let hour = |f: &dyn Fn(f64) -> f64| {
            Resampled((0..360).map(|i| f(f64::from(i) * SAMPLE_S)).collect())
        };
        performance_score(&hour(&signal), &hour(&respond))
            .expect("a score")
            .total()
    }

    /// The signal, so many seconds late; before it began the response rests.
    fn late(by_s: f64) -> impl Fn(f64) -> f64 {
        move |t_s| if t_s < by_s { 0.0 } else { signal(t_s - by_s) }
    }

    #[test]
    fn the_score_meets_the_values_that_another_program_computed() {
        // Computed beside with a program of thirty lines; the last digit of the published ones is rounded.
        for (name, found, expected) in [
            ("perfect", score(signal), 1.000),
            ("10 s late", score(late(10.0)), 0.916),
            ("20 s late", score(late(20.0)), 0.834),
            ("60 s late", score(late(60.0)), 0.693),
            ("four fifths", score(|t| 0.8 * signal(t)), 0.933),
        ] {
            assert!(
                (found - expected).abs() < 1e-3,
                "{name}: {found:.4}, not {expected}"
            );
        }
    }

    #[test]
    fn a_response_that_does_not_move_has_no_promptness() {
        for (name, found) in [
            ("at rest", score(|_| 0.0)),
            ("at rest, with noise", score(|t| 0.004 * (t * 17.0).sin())),
            ("elsewhere", score(|_| 0.5)),
        ] {
            assert!(found <= 0.0851, "{name}: {found:.4}");
        }
    }

    #[test]
    fn the_wrong_sign_and_somebody_elses_course_score_little() {
        assert!(score(|t| -signal(t)) < 0.45);
        assert!(score(|t| (TAU * t / 71.0).sin()) < 0.5);
    }

    #[test]
    fn a_signal_whose_mean_is_nothing_leaves_precision_as_it_is() {
        let whole = |f: &dyn Fn(f64) -> f64| {
            // Whole periods: the mean with its sign is nothing.
            Resampled((0..240).map(|i| f(f64::from(i) * SAMPLE_S)).collect())
        };
        let wave = |t: f64| (TAU * t / 600.0).sin();
        let found = performance_score(&whole(&wave), &whole(&|t| 0.9 * wave(t))).expect("a score");
        // One tenth off, as a share of the mean magnitude.
        assert!((found.precision - 0.9).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn too_short_a_record_and_a_signal_of_nothing_have_no_score() {
        let of = |n: usize, v: f64| Resampled(vec![v; n]);
        assert_eq!(performance_score(&of(60, 0.5), &of(60, 0.5)), None);
        assert_eq!(performance_score(&of(100, 0.0), &of(100, 0.5)), None);
        assert_eq!(performance_score(&of(100, 0.5), &of(99, 0.5)), None);
        assert_eq!(performance_score(&of(100, 0.5), &of(100, f64::NAN)), None);
    }

    #[test]
    fn samples_are_means_of_what_was_held_and_a_hole_is_none() {
        let series = [(0.0, 1.0), (4.0, 2.0), (12.0, 4.0), (19.0, 0.0)];
        let found = resample(&series, (0.0, 20.0), 10.0).expect("no hole");
        // 4 s of 1 and 6 s of 2; 2 s of 2, 7 s of 4 and 1 s of 0.
        assert_eq!(found.0, [1.6, 3.2]);
        assert_eq!(resample(&series, (0.0, 20.0), 5.0), None);
        assert_eq!(resample(&series, (-1.0, 9.0), 10.0), None);
        assert_eq!(resample(&series, (0.0, 40.0), 10.0), None);
    }
}
