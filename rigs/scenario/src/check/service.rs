//! Checks of what a service has delivered: `accuracy`, `score`, `availability`, and `overshoot` of any signal.
//!
//! What was delivered is held against what was asked: the signal of a service that follows one, as the script has
//! said it, and for any other what the controller told that the service asks for. The limits of a service that
//! hang on frequency are stated in watts by `band`, `t_start`, `t90` and `t_full`.

use std::time::Duration;

use services::measure::{self, Comparison, Measured, performance_score, resample};

use super::values::{hole, no_measurement};
use super::{CheckResult, Span, Worst};
use crate::report::number;
use crate::report::plot::Plot;
use crate::series::{Recording, Series, ServiceFacts};
use crate::signal::{Signal, SignalQuantity};
use crate::verdict::Verdict;

/// What is measured of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceFigure {
    /// Mean distance from what was asked, as a share of what was sold.
    Accuracy,
    /// Performance score of regulation, 0 to 1.
    Score,
    /// Share of the time in which what was sold was there.
    Availability,
}

impl ServiceFigure {
    /// The key that it is written with.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Score => "score",
            Self::Availability => "availability",
        }
    }

    /// The signal that a picture of it shows.
    #[must_use]
    pub fn shown(self) -> SignalQuantity {
        match self {
            Self::Accuracy | Self::Score => SignalQuantity::ActivePower,
            Self::Availability => SignalQuantity::ReserveUp,
        }
    }

    /// Factor from the figure to the number that is shown, with its unit.
    #[must_use]
    pub fn unit(self) -> (f64, &'static str) {
        match self {
            Self::Accuracy | Self::Availability => (100.0, "%"),
            Self::Score => (1.0, ""),
        }
    }

    /// Whether the limit is the largest allowed value, and not the least.
    #[must_use]
    pub fn is_limited_above(self) -> bool {
        self == Self::Accuracy
    }
}

/// Share of what was sold that has to be there. Source: the controller's own measure of availability.
const ENOUGH: f64 = 0.95;

/// A figure of a service against its limit.
pub(super) fn figure(
    mut result: CheckResult,
    recording: &Recording,
    window: &Span,
    figure: ServiceFigure,
    signal: &Signal,
    limit: f64,
    max_gap: Duration,
) -> CheckResult {
    let (factor, unit) = figure.unit();
    result.unit = unit.to_owned();
    let shown = Some(limit * factor);
    (result.lower, result.upper) = match figure.is_limited_above() {
        true => (None, shown),
        false => (shown, None),
    };
    let name = &signal.subject;
    let mut services = recording.facts.services.iter();
    let Some(facts) = services.find(|service| service.name == *name) else {
        let why = format!("the rig has sold no service `{name}`");
        return result.says(Verdict::Inconclusive, why);
    };
    let sight = Sight {
        recording,
        window,
        facts,
        max_gap,
    };
    let found = match figure {
        ServiceFigure::Accuracy => sight.accuracy(),
        ServiceFigure::Score => sight.score(),
        ServiceFigure::Availability => sight.availability(),
    };
    let (measured, words) = match found {
        Ok(found) => found,
        Err(why) => return result.says(Verdict::Inconclusive, why),
    };
    result.samples = sight.series(figure.shown()).map_or(0, |series| {
        series.measured(window.from, window.seen_to).count() as u64
    });
    judge(result, window, measured, factor, unit, &words)
}

/// A measured number against the one limit that a result has.
fn judge(
    mut result: CheckResult,
    window: &Span,
    measured: Measured,
    factor: f64,
    unit: &str,
    words: &str,
) -> CheckResult {
    result.value = Some(measured.value * factor);
    result.uncertainty = Some(measured.uncertainty * factor);
    result.uncertainty_unit = unit.to_owned();
    let told = format!(
        "{} {unit}, plus or minus {}{words}",
        number(measured.value * factor),
        number(measured.uncertainty * factor)
    );
    let comparison = match (result.lower, result.upper) {
        (Some(least), _) => measured.at_least(least / factor),
        (None, Some(most)) => measured.at_most(most / factor),
        (None, None) => Comparison::Open,
    };
    match comparison {
        Comparison::Broken => result.says(Verdict::Fail, told),
        _ if !window.is_complete() => {
            let why = format!("{told}, but the record ended before the window did");
            result.says(Verdict::Inconclusive, why)
        }
        Comparison::Kept => result.says(Verdict::Pass, told),
        Comparison::Open => {
            let why = format!("{told}: the limit lies inside");
            result.says(Verdict::Inconclusive, why)
        }
    }
}

/// A service in a stretch of a record.
struct Sight<'a> {
    recording: &'a Recording,
    window: &'a Span,
    facts: &'a ServiceFacts,
    max_gap: Duration,
}

impl Sight<'_> {
    fn signal(&self, quantity: SignalQuantity) -> Signal {
        Signal::new(self.facts.name.as_str(), quantity)
    }

    fn series(&self, quantity: SignalQuantity) -> Option<&Series> {
        self.recording.series.get(&self.signal(quantity))
    }

    /// How far the time of an answer and that of what was asked may be off each other: the controller looks
    /// once per cycle.
    fn clock_s(&self) -> f64 {
        self.recording.resolution.as_secs_f64()
    }

    fn span_s(&self) -> (f64, f64) {
        (
            self.window.from.as_seconds(),
            self.window.seen_to.as_seconds(),
        )
    }

    /// What was delivered in the window, and shortly before it, in watts.
    fn delivered(&self) -> Result<Vec<(f64, f64)>, String> {
        let signal = self.signal(SignalQuantity::ActivePower);
        let empty = Series::new();
        let series = self.recording.series.get(&signal).unwrap_or(&empty);
        let (from, to) = (self.window.from, self.window.seen_to);
        if series.measured(from, to).next().is_none() {
            return Err(no_measurement(&signal, series, self.window));
        }
        if let Some(why) = hole(&signal, series, (from, to), self.max_gap) {
            return Err(why);
        }
        let rows = series.measured(from - self.max_gap, to);
        Ok(rows.map(|(t, p)| (t.as_seconds(), p)).collect())
    }

    /// What was asked since the record began, in watts.
    fn asked(&self) -> Vec<(f64, f64)> {
        let began = self.recording.began;
        let ended = self.window.seen_to;
        let quantity = match self.facts.follows_signal {
            true => SignalQuantity::ServiceSignal,
            false => SignalQuantity::AskedPower,
        };
        // Before somebody has said something, nothing is asked.
        let mut rows = vec![(began.as_seconds(), 0.0)];
        if let Some(series) = self.series(quantity) {
            rows.extend(series.measured(began, ended).map(|(t, v)| {
                let power = match (self.facts.follows_signal, v < 0.0) {
                    (false, _) => v,
                    (true, false) => v * self.facts.up_w,
                    (true, true) => v * self.facts.down_w,
                };
                (t.as_seconds(), power)
            }));
        }
        rows
    }

    fn accuracy(&self) -> Result<(Measured, String), String> {
        let delivered = self.delivered()?;
        let (from_s, _) = self.span_s();
        let inside = delivered.partition_point(|(t, _)| *t < from_s);
        let whole = self.facts.up_w.max(self.facts.down_w);
        measure::accuracy(&self.asked(), &delivered[inside..], whole, self.clock_s())
            .map(|found| (found, format!(" of {} W", number(whole))))
            .ok_or_else(|| "nothing was asked".to_owned())
    }

    fn score(&self) -> Result<(Measured, String), String> {
        let delivered = self.delivered()?;
        let asked = self.asked();
        let (from_s, to_s) = self.span_s();
        let of = |shift_s: f64| {
            let moved: Vec<(f64, f64)> = asked.iter().map(|(t, p)| (t + shift_s, *p)).collect();
            let span = (from_s, to_s);
            let signal = resample(&moved, span, f64::INFINITY)?;
            // Between two measurements the last one counts.
            let response = resample(&delivered, span, self.max_gap.as_secs_f64() * 2.0)?;
            performance_score(&signal, &response)
        };
        let too_short = || "a score needs more than ten minutes of a signal that moves".to_owned();
        let found = of(0.0).ok_or_else(too_short)?;
        let around = [of(-self.clock_s()), of(self.clock_s())];
        let uncertainty = around
            .into_iter()
            .flatten()
            .map(|other| (other.total() - found.total()).abs())
            .fold(0.0, f64::max);
        let words = format!(
            ": correlation {}, delay {}, precision {}",
            number(found.correlation),
            number(found.delay),
            number(found.precision)
        );
        let value = found.total();
        Ok((Measured { value, uncertainty }, words))
    }

    fn availability(&self) -> Result<(Measured, String), String> {
        let told = |quantity| {
            let rows = self.series(quantity).into_iter();
            let (from, to) = (self.recording.began, self.window.seen_to);
            rows.flat_map(move |series| series.measured(from, to))
                .map(|(t, w)| (t.as_seconds(), w))
                .collect::<Vec<(f64, f64)>>()
        };
        let (up, down) = (
            told(SignalQuantity::ReserveUp),
            told(SignalQuantity::ReserveDown),
        );
        let is_there = |((t, up), (_, down)): (&(f64, f64), &(f64, f64))| {
            let enough = *up >= self.facts.up_w * ENOUGH && *down >= self.facts.down_w * ENOUGH;
            (*t, enough)
        };
        let rows: Vec<(f64, bool)> = up.iter().zip(&down).map(is_there).collect();
        let gap_s = self.max_gap.as_secs_f64();
        measure::availability(&rows, self.span_s(), gap_s, self.clock_s())
            .map(|found| (found, " of the time".to_owned()))
            .ok_or_else(|| format!("nobody told throughout what {} could give", self.facts.name))
    }
}

/// A picture of what was delivered beside what was asked, or of what could be given.
pub(super) fn plot(
    result: &CheckResult,
    signal: &Signal,
    recording: &Recording,
    window: &Span,
) -> Plot {
    let mut plot = Plot::of_check(result, signal, recording, window);
    // The limit is one of the figure, not of the power.
    (plot.lower, plot.upper) = (None, None);
    let other = match signal.quantity {
        SignalQuantity::ReserveUp => SignalQuantity::ReserveDown,
        _ => SignalQuantity::AskedPower,
    };
    let other = Signal::new(signal.subject.as_str(), other);
    plot.lines
        .extend(Plot::of_check(result, &other, recording, window).lines);
    plot
}

/// How far a signal goes beyond the end of its step.
pub(super) fn overshoot(
    mut result: CheckResult,
    recording: &Recording,
    window: &Span,
    signal: &Signal,
    to: f64,
    most: f64,
    max_gap: Duration,
) -> CheckResult {
    result.unit = "%".to_owned();
    result.upper = Some(most * 100.0);
    let empty = Series::new();
    let series = recording.series.get(signal).unwrap_or(&empty);
    let before = series.measured(window.from - super::response::BEFORE, window.from);
    let from = super::response::median(before.map(|(_, v)| v).collect());
    let after: Vec<_> = series.measured(window.from, window.seen_to).collect();
    result.samples = after.len() as u64;
    let values: Vec<f64> = after.iter().map(|(_, v)| *v).collect();
    let found = from.and_then(|from| measure::overshoot(&values, from, to));
    let Some(found) = found else {
        let why = no_measurement(signal, series, window);
        return result.says(Verdict::Inconclusive, why);
    };
    let from = from.unwrap_or_default();
    let farthest = after
        .iter()
        .max_by(|a, b| ((a.1 - to) / (to - from)).total_cmp(&((b.1 - to) / (to - from))));
    result.worst = farthest.map(|(t, value)| Worst {
        t_s: t.as_seconds(),
        value: value * signal.quantity.shown_unit().1,
    });
    let words = format!(
        " of the step from {} to {}",
        signal.show(from),
        signal.show(to)
    );
    let hole = hole(signal, series, (window.from, window.seen_to), max_gap);
    let result = judge(result, window, found, 100.0, "%", &words);
    match hole {
        Some(why) if result.verdict != Verdict::Fail => result.says(Verdict::Inconclusive, why),
        _ => result,
    }
}

#[cfg(test)]
mod tests;
