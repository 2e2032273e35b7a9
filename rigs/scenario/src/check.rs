//! Checks: what was recorded against what was demanded. Pure functions.
//!
//! A check says pass only where the data shows it, fail only where the data shows
//! the opposite, and inconclusive everywhere else: without a measurement, over a hole
//! longer than the check allows, past the end of the record, or where the sampling is
//! too coarse to tell. A violation that was measured stays a failure, hole or not.
//! Only measurements made inside the window are judged; nothing is interpolated.
//!
//! **Response time (`t_start`, `t90`, `t_full`).** Time from the mark to the first of two successive
//! measurements that have covered 5 %, 90 % or 97 % of the step. The step goes from the median of the
//! measurements in the second before the mark to `to`, or, without `to`, to the median
//! of the last fifth of the observation (`over`, five times `max` unless told). Without
//! `to` the check does not know which way the step should go: state it where the sign
//! matters. The true time lies between that measurement and the one before it; the value
//! told is the middle, and the verdict holds for both ends.

mod acceptance;
mod condition;
mod count;
mod curve;
mod discrete;
mod energy;
mod evidence;
mod kind;
mod kpi;
mod link;
mod market;
mod response;
mod result;
mod rhythm;
mod service;
mod settle;
#[cfg(test)]
mod tests;
mod values;
mod window;

use std::time::Duration;

pub use acceptance::Acceptance;
pub use condition::{Comparison, Condition};
pub use count::Times;
pub use curve::Characteristic;
pub use evidence::{Evidence, LedgerEvidence, LinkEvidence, Verification};
pub use kind::CheckKind;
pub use kpi::{Figure, LoadClass};
pub use link::LinkDemand;
pub use market::{MarketEvidence, MarketWord, Replay};
pub use response::ResponseShare;
pub use result::{CheckResult, Worst};
pub use rhythm::RhythmDemand;
pub use service::ServiceFigure;
pub use settle::Settling;
pub(crate) use window::Span;
pub use window::{Window, WindowEnd};

use self::window::resolve;
use crate::report::plot::Plot;
use crate::series::Recording;
use crate::verdict::Verdict;

/// Longest hole in the data that a check overlooks unless it says otherwise.
///
/// Chosen: twice the one-second period of the slowest polled devices of the bundled rigs.
pub const MAX_GAP: Duration = Duration::from_secs(2);

/// A demand of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Name in reports: as written, or made of its demand.
    pub name: String,
    /// The demand.
    pub kind: CheckKind,
    /// Line in the file, counted from 1.
    pub line: usize,
    /// Plus or minus of a measured value as the file states it, in the base unit of the signal;
    /// `None` = what the sampling leaves open.
    pub uncertainty: Option<f64>,
}

/// Judges a check.
#[must_use]
pub fn evaluate(check: &Check, recording: &Recording, evidence: &Evidence) -> CheckResult {
    let mut result = judge(check, recording, evidence);
    if let (Some(stated), Some(signal)) = (check.uncertainty, check.kind.signal()) {
        let (unit, factor) = signal.quantity.shown_unit();
        result.uncertainty = Some(stated * factor);
        unit.clone_into(&mut result.uncertainty_unit);
    }
    result.marginal = result.is_near_a_limit();
    result
}

fn judge(check: &Check, recording: &Recording, evidence: &Evidence) -> CheckResult {
    let mut result = CheckResult::new(check);
    match &check.kind {
        CheckKind::Ledger => return evidence::ledger(result, &evidence.ledger),
        CheckKind::Market(word) => {
            return market::word(result, evidence.market.as_ref(), *word);
        }
        CheckKind::Penalised { participants } => {
            return market::penalised(result, evidence.market.as_ref(), participants);
        }
        CheckKind::Booked {
            participants,
            what,
            at_least,
        } => {
            let market = evidence.market.as_ref();
            return market::booked(result, market, participants, what, *at_least);
        }
        CheckKind::Link { device, demand } => {
            return link::link(result, &evidence.links, device, *demand);
        }
        _ => {}
    }
    let window = match resolve(&check.kind, recording) {
        Ok(window) => window,
        Err(why) => return result.says(Verdict::Inconclusive, why),
    };
    result.from_s = Some(window.from.as_seconds());
    result.to_s = Some(window.seen_to.as_seconds());
    let mut result = match &check.kind {
        CheckKind::Band {
            signal,
            within,
            max_gap,
            ..
        } => values::band(result, recording, &window, signal, *within, *max_gap),
        CheckKind::Curve {
            signal,
            characteristic,
            max_gap,
            ..
        } => curve::curve(
            result,
            recording,
            &window,
            (signal, characteristic),
            *max_gap,
        ),
        CheckKind::Never {
            condition, max_gap, ..
        } => never(result, recording, &window, condition, *max_gap),
        // What holds always is what is never otherwise.
        CheckKind::Always {
            condition, max_gap, ..
        } => never(result, recording, &window, &condition.opposite(), *max_gap),
        CheckKind::ResponseTime {
            share,
            signal,
            max,
            to,
            max_gap,
            ..
        } => response::time(
            result, recording, &window, signal, *share, *max, *to, *max_gap,
        ),
        CheckKind::Service {
            figure,
            signal,
            limit,
            max_gap,
            ..
        } => service::figure(
            result, recording, &window, *figure, signal, *limit, *max_gap,
        ),
        CheckKind::Overshoot {
            signal,
            to,
            most,
            max_gap,
            ..
        } => service::overshoot(result, recording, &window, signal, *to, *most, *max_gap),
        CheckKind::Settle {
            signal,
            demand,
            max_gap,
            ..
        } => settle::settle(result, recording, &window, signal, *demand, *max_gap),
        CheckKind::Mode { mode, .. } => discrete::mode_reached(result, recording, &window, *mode),
        CheckKind::Event {
            kind,
            device,
            times,
            ..
        } => discrete::event(
            result,
            recording,
            &window,
            (kind, device.as_deref()),
            *times,
        ),
        CheckKind::Count {
            condition,
            times,
            max_gap,
            ..
        } => count::count(result, recording, &window, condition, *times, *max_gap),
        CheckKind::Energy {
            signal,
            within,
            max_gap,
            ..
        } => energy::energy(result, recording, &window, signal, *within, *max_gap),
        CheckKind::Ordered { events, .. } => discrete::ordered(result, recording, &window, events),
        CheckKind::Kpi {
            figure,
            at_least,
            at_most,
            max_gap,
            ..
        } => kpi::kpi(
            result,
            recording,
            &window,
            *figure,
            (*at_least, *at_most),
            *max_gap,
        ),
        CheckKind::Rhythm { demand, .. } => rhythm::rhythm(result, recording, &window, *demand),
        CheckKind::Delivered {
            participants,
            at_most,
            ..
        } => market::delivered(
            result,
            evidence.market.as_ref(),
            &window,
            participants,
            *at_most,
        ),
        CheckKind::Link { .. }
        | CheckKind::Ledger
        | CheckKind::Market(_)
        | CheckKind::Penalised { .. }
        | CheckKind::Booked { .. } => result,
    };
    if let Some(signal) = check.kind.signal() {
        result.plot = Some(match check.kind {
            CheckKind::Service { .. } | CheckKind::Overshoot { .. } => {
                service::plot(&result, signal, recording, &window)
            }
            // Limits of a number of times and of an energy are none of the signal.
            CheckKind::Count { .. } | CheckKind::Energy { .. } => Plot {
                lower: None,
                upper: None,
                ..Plot::of_check(&result, signal, recording, &window)
            },
            _ => Plot::of_check(&result, signal, recording, &window),
        });
    }
    result
}

fn never(
    result: CheckResult,
    recording: &Recording,
    window: &Span,
    condition: &Condition,
    max_gap: Duration,
) -> CheckResult {
    match condition {
        Condition::Signal {
            signal,
            comparison,
            limit,
        } => values::never(
            result,
            recording,
            window,
            signal,
            *comparison,
            *limit,
            max_gap,
        ),
        Condition::Mode { is, mode } => discrete::never_mode(result, recording, window, *is, *mode),
    }
}
