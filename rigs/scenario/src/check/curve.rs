//! A response against its characteristic: `curve`.
//!
//! Without a response time every measurement of the window is judged against the settled band at
//! the latest measurement of the other axis. With one, the signal must lie in the band of a first
//! order response around that time, and from twice that time on in the settled band: a first order
//! response has a hundredth of its step left by then.

use std::time::Duration;

use model::Instant;

use super::acceptance::{Acceptance, Ends};
use super::values::{hole, incomplete, no_measurement};
use super::{CheckResult, Span, Worst};
use crate::report::number;
use crate::series::{Recording, Series};
use crate::signal::Signal;
use crate::verdict::Verdict;

/// Length of the stretch before the step in which the value before it is measured.
///
/// Chosen: as for `t90`, five control cycles of the slowest bundled rig.
const BEFORE: Duration = Duration::from_secs(1);

/// Response times after which the settled band counts. Source: `control.md` 2.6 (IEEE 1547.1).
const SETTLED: u32 = 2;

/// What is demanded.
#[derive(Clone, Debug, PartialEq)]
pub struct Characteristic {
    /// The signal on the other axis, which the device looks at.
    pub of: Signal,
    /// The curve and the accuracies.
    pub acceptance: Acceptance,
    /// Time in which nine tenths of a step at the begin of the window are covered; `None` = settled.
    pub response: Option<Duration>,
}

/// A measurement with the band that it must lie in.
struct Judged {
    at: Instant,
    value: f64,
    band: Ends,
}

/// Every measurement lies in its band.
pub(super) fn curve(
    mut result: CheckResult,
    recording: &Recording,
    window: &Span,
    (signal, demand): (&Signal, &Characteristic),
    max_gap: Duration,
) -> CheckResult {
    let empty = Series::new();
    let of = |signal: &Signal| recording.series.get(signal).unwrap_or(&empty);
    let (ys, xs) = (of(signal), of(&demand.of));
    let (_, factor) = signal.quantity.shown_unit();
    for (signal, series) in [(signal, ys), (&demand.of, xs)] {
        if series
            .measured(window.from, window.seen_to)
            .next()
            .is_none()
        {
            let why = no_measurement(signal, series, window);
            return result.says(Verdict::Inconclusive, why);
        }
    }
    let before = match demand.response {
        Some(_) => match before(signal, ys, window) {
            Ok(value) => Some(value),
            Err(why) => return result.says(Verdict::Inconclusive, why),
        },
        None => None,
    };
    let mut judged = Vec::new();
    let mut bands = Vec::new();
    for (at, value) in ys.measured(window.from, window.seen_to) {
        let Some((_, x)) = xs.held(at, max_gap) else {
            continue;
        };
        let after = at.since(window.from);
        let band = match (demand.response, before) {
            (Some(response), Some(before)) if after < response * SETTLED => {
                demand.acceptance.responding(x, before, response, after)
            }
            _ => demand.acceptance.settled(x),
        };
        let Some(band) = band else { continue };
        bands.push((at.as_seconds(), band.low * factor, band.high * factor));
        judged.push(Judged { at, value, band });
    }
    result.band = bands;
    if let Some(response) = demand.response {
        let kept = around(&judged, window.from + response, max_gap);
        if kept.is_empty() {
            let why = format!(
                "{signal} was not measured around the response time, {} s after the step",
                number(response.as_secs_f64())
            );
            return result.says(Verdict::Inconclusive, why);
        }
        let settled = window.from + response * SETTLED;
        judged.retain(|j| kept.contains(&j.at) || j.at >= settled);
        if judged.last().is_none_or(|j| j.at < settled) {
            let why = format!(
                "{signal} was not measured after it had time to settle, {} s after the step",
                number((response * SETTLED).as_secs_f64())
            );
            return result.says(Verdict::Inconclusive, why);
        }
    }
    verdict(
        result,
        (signal, ys),
        (&demand.of, xs),
        window,
        &judged,
        max_gap,
    )
}

/// The median in the second before the step.
fn before(signal: &Signal, ys: &Series, window: &Span) -> Result<f64, String> {
    let mut values: Vec<f64> = ys
        .measured(window.from - BEFORE, window.from)
        .map(|(_, v)| v)
        .collect();
    values.sort_by(f64::total_cmp);
    values
        .get(values.len() / 2)
        .copied()
        .ok_or_else(|| format!("{signal} was not measured in the second before the step"))
}

/// The times of the last measurement before a moment and of the first one from it on, where they
/// are near enough.
fn around(judged: &[Judged], moment: Instant, max_gap: Duration) -> Vec<Instant> {
    let split = judged.partition_point(|j| j.at < moment);
    let earlier = split.checked_sub(1).and_then(|i| judged.get(i));
    let earlier = earlier.filter(|j| moment.since(j.at) <= max_gap);
    let later = judged.get(split);
    let later = later.filter(|j| j.at.since(moment) <= max_gap);
    match (earlier, later) {
        // One on each side, or none: a response that was seen on one side only is not known.
        (Some(earlier), Some(later)) => vec![earlier.at, later.at],
        _ => Vec::new(),
    }
}

fn verdict(
    mut result: CheckResult,
    (signal, ys): (&Signal, &Series),
    (of, xs): (&Signal, &Series),
    window: &Span,
    judged: &[Judged],
    max_gap: Duration,
) -> CheckResult {
    let (_, factor) = signal.quantity.shown_unit();
    result.samples = judged.len() as u64;
    let excess = |j: &Judged| j.band.excess(j.value);
    let worst = judged.iter().max_by(|a, b| excess(a).total_cmp(&excess(b)));
    let Some(worst) = worst else {
        let why = format!("{signal} and {of} were not measured together");
        return result.says(Verdict::Inconclusive, why);
    };
    result.value = Some(worst.value * factor);
    result.lower = Some(worst.band.low * factor);
    result.upper = Some(worst.band.high * factor);
    result.worst = Some(Worst {
        t_s: worst.at.as_seconds(),
        value: worst.value * factor,
    });
    if let Some(spacing) = ys.spacing_max(window.from, window.seen_to) {
        result.uncertainty = Some(spacing.as_secs_f64() / 2.0);
        result.uncertainty_unit = "s".to_owned();
    }
    let at_s = number(worst.at.as_seconds());
    let band = format!(
        "{} to {}",
        signal.show(worst.band.low),
        signal.show(worst.band.high)
    );
    let outside = judged.iter().filter(|j| excess(j) > 0.0).count();
    if outside > 0 {
        let why = format!(
            "{signal} was {} at {at_s} s, where the characteristic allows {band}; {outside} of {} measurements were outside",
            signal.show(worst.value),
            judged.len()
        );
        return result.says(Verdict::Fail, why);
    }
    for (signal, series) in [(signal, ys), (of, xs)] {
        if let Some(why) = hole(signal, series, (window.from, window.seen_to), max_gap) {
            return result.says(Verdict::Inconclusive, why);
        }
    }
    if let Some(why) = incomplete(window) {
        return result.says(Verdict::Inconclusive, why);
    }
    let why = format!(
        "{} measurements, nearest to its end {} at {at_s} s, where the characteristic allows {band}",
        judged.len(),
        signal.show(worst.value)
    );
    result.says(Verdict::Pass, why)
}

#[cfg(test)]
mod tests {
    use model::{Flaw, Reading};

    use super::*;
    use crate::check::{Check, CheckKind, Evidence, Window, WindowEnd, evaluate};
    use crate::script::Moment;
    use crate::signal::SignalQuantity;
    use Verdict::{Fail, Inconclusive, Pass};

    /// Rating of the device under test, VA and var.
    const RATING: f64 = 10_000.0;
    /// The step comes then, from 230 V to 248.4 V: 1.08 per unit.
    const STEP_S: f64 = 5.0;

    fn at(s: f64) -> Instant {
        Instant::START + Duration::from_secs_f64(s)
    }

    fn y() -> Signal {
        Signal::new("der1", SignalQuantity::ReactivePower)
    }

    fn x() -> Signal {
        Signal::new("der1", SignalQuantity::Voltage)
    }

    /// Half a minute, sampled every 100 ms; the device answers by `q`, in per unit by seconds since the step.
    fn record(q: impl Fn(f64) -> Option<f64>) -> Recording {
        let mut recording = Recording {
            ended: at(30.0),
            ..Recording::default()
        };
        recording.marks.insert("t0".to_owned(), at(STEP_S));
        for tenth in 0..=300 {
            let s = f64::from(tenth) / 10.0;
            let volts = if s < STEP_S { 230.0 } else { 248.4 };
            recording.push(&x(), at(s), Reading::Good(volts));
            let q =
                q(s - STEP_S).map_or(Reading::Bad(Flaw::Timeout), |q| Reading::Good(q * RATING));
            recording.push(&y(), at(s), q);
        }
        recording
    }

    /// A response of first order to `end`, in `tr` seconds.
    fn response(end: f64, tr: f64) -> impl Fn(f64) -> Option<f64> {
        move |s| {
            let open = if s <= 0.0 { 1.0 } else { 10_f64.powf(-s / tr) };
            Some(end * (1.0 - open))
        }
    }

    fn judge(
        response: Option<Duration>,
        from: &str,
        for_s: u64,
        recording: &Recording,
    ) -> CheckResult {
        let points = [(0.92, 0.44), (0.98, 0.0), (1.02, 0.0), (1.08, -0.44)];
        let points = points.map(|(v, q)| (v * 230.0, q * RATING)).to_vec();
        let kind = CheckKind::Curve {
            signal: y(),
            characteristic: Characteristic {
                of: x(),
                acceptance: Acceptance::new(points, 1.15, 0.02 * RATING).expect("a curve"),
                response,
            },
            window: Window {
                from: Moment::parse(from).expect("a moment"),
                to: WindowEnd::For(Duration::from_secs(for_s)),
            },
            max_gap: Duration::from_millis(250),
        };
        let check = Check {
            uncertainty: None,
            name: kind.to_string(),
            kind,
            line: 1,
        };
        evaluate(&check, recording, &Evidence::default())
    }

    type Q = Box<dyn Fn(f64) -> Option<f64>>;

    #[test]
    fn a_step_is_judged_at_the_response_time_and_when_it_has_settled() {
        let rows: [(&str, Q, Verdict); 9] = [
            ("good", Box::new(response(-0.44, 5.0)), Pass),
            ("stuck", Box::new(|_| Some(0.0)), Fail),
            ("late", Box::new(response(-0.44, 10.0)), Fail),
            ("far too fast", Box::new(response(-0.44, 0.1)), Fail),
            ("turned round", Box::new(response(0.44, 5.0)), Fail),
            ("too weak", Box::new(response(-0.30, 5.0)), Fail),
            (
                "tripped later",
                Box::new(|s| response(-0.44, 5.0)(s).map(|q| if s > 15.0 { 0.0 } else { q })),
                Fail,
            ),
            (
                "not measured at the response time",
                Box::new(|s| response(-0.44, 5.0)(s).filter(|_| !(4.0..6.0).contains(&s))),
                Inconclusive,
            ),
            ("not measured", Box::new(|_| None), Inconclusive),
        ];
        for (name, q, expected) in rows {
            let result = judge(Some(Duration::from_secs(5)), "t0", 20, &record(q));
            assert_eq!(result.verdict, expected, "{name}: {}", result.why);
        }
    }

    #[test]
    fn what_has_settled_is_judged_at_every_measurement() {
        let rows: [(&str, Q, Verdict); 4] = [
            ("good", Box::new(response(-0.44, 5.0)), Pass),
            (
                "slow, but there by then",
                Box::new(response(-0.44, 7.0)),
                Pass,
            ),
            (
                "a single spike",
                Box::new(|s| Some(if (s - 17.0).abs() < 0.01 { -0.6 } else { -0.44 })),
                Fail,
            ),
            (
                "a hole",
                Box::new(|s| response(-0.44, 5.0)(s).filter(|_| !(15.0..16.0).contains(&s))),
                Inconclusive,
            ),
        ];
        for (name, q, expected) in rows {
            let result = judge(None, "t0+12s", 10, &record(q));
            assert_eq!(result.verdict, expected, "{name}: {}", result.why);
        }
    }

    #[test]
    fn a_window_past_the_end_of_the_record_shows_nothing() {
        let good = record(response(-0.44, 5.0));
        assert_eq!(judge(None, "t0+12s", 60, &good).verdict, Inconclusive);
        let late = judge(Some(Duration::from_secs(20)), "t0", 50, &good);
        assert_eq!(late.verdict, Inconclusive, "{}", late.why);
    }

    #[test]
    fn the_picture_shows_the_band_as_it_moves() {
        let good = record(response(-0.44, 5.0));
        let result = judge(Some(Duration::from_secs(5)), "t0", 20, &good);
        let plot = result.plot.expect("a picture");
        assert!(plot.band.len() > 190, "{}", plot.band.len());
        let svg = crate::report::charts::svg(&plot, "a response");
        assert!(svg.contains("class=\"band\" d=\"M"), "the band is drawn");
        assert_eq!((plot.lower, plot.upper), (None, None));
    }
}
