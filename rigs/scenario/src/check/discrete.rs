//! Checks of modes and events, which are known when they change and hold in between.

use model::Mode;

use super::{CheckResult, Span, Times, Worst};
use crate::report::number;
use crate::series::Recording;
use crate::verdict::Verdict;

/// The mode is never this one (`is`), or never another one.
pub(super) fn never_mode(
    mut result: CheckResult,
    recording: &Recording,
    window: &Span,
    is: bool,
    mode: Mode,
) -> CheckResult {
    let Some(first) = recording.mode_at(window.from) else {
        return result.says(
            Verdict::Inconclusive,
            format!(
                "the mode at {} s is not known",
                number(window.from.as_seconds())
            ),
        );
    };
    let later = recording
        .modes
        .iter()
        .filter(|(t, _)| *t > window.from && *t <= window.seen_to)
        .copied();
    let held: Vec<_> = std::iter::once((window.from, first)).chain(later).collect();
    result.samples = held.len() as u64;
    resolution(&mut result, recording);
    if let Some((t, found)) = held.iter().find(|(_, m)| (*m == mode) == is) {
        result.worst = Some(Worst {
            t_s: t.as_seconds(),
            value: 0.0,
        });
        let why = format!("the mode was {found} at {} s", number(t.as_seconds()));
        return result.says(Verdict::Fail, why);
    }
    if !window.is_complete() {
        return result.says(
            Verdict::Inconclusive,
            "the record ended before the window did",
        );
    }
    let names: Vec<&str> = held.iter().map(|(_, m)| m.name()).collect();
    result.says(Verdict::Pass, format!("the mode was {}", names.join(", ")))
}

/// The mode is this one at some time in the window.
pub(super) fn mode_reached(
    mut result: CheckResult,
    recording: &Recording,
    window: &Span,
    mode: Mode,
) -> CheckResult {
    let allowed_s = window.to.since(window.from).as_secs_f64();
    result.unit = "s".to_owned();
    result.upper = Some(allowed_s);
    result.samples = recording.modes.len() as u64;
    resolution(&mut result, recording);
    if recording.modes.is_empty() {
        return result.says(Verdict::Inconclusive, "no mode was recorded");
    }
    let is_there = recording.mode_at(window.from) == Some(mode);
    let reached = if is_there {
        Some(window.from)
    } else {
        recording
            .modes
            .iter()
            .find(|(t, m)| *t >= window.from && *m == mode)
            .map(|(t, _)| *t)
    };
    if let Some(t) = reached {
        let after_s = t.since(window.from).as_secs_f64();
        result.value = Some(after_s);
        let verdict = if t <= window.to {
            Verdict::Pass
        } else {
            Verdict::Fail
        };
        let why = format!("the mode was {mode} after {} s", number(after_s));
        return result.says(verdict, why);
    }
    let last = recording.mode_at(window.seen_to);
    let why = format!(
        "the mode did not become {mode}; at {} s it was {}",
        number(window.seen_to.as_seconds()),
        last.map_or("not known", Mode::name)
    );
    let verdict = if window.is_complete() {
        Verdict::Fail
    } else {
        Verdict::Inconclusive
    };
    result.says(verdict, why)
}

/// An event happens at least and at most so often.
pub(super) fn event(
    mut result: CheckResult,
    recording: &Recording,
    window: &Span,
    (kind, device): (&str, Option<&str>),
    Times { at_least, at_most }: Times,
) -> CheckResult {
    result.lower = Some(at_least as f64);
    result.upper = at_most.map(|n| n as f64);
    result.samples = recording.events.len() as u64;
    resolution(&mut result, recording);
    // Every run tells at least of its first mode: silence means that nobody listened.
    if recording.events.is_empty() {
        return result.says(Verdict::Inconclusive, "no event of any kind was recorded");
    }
    let times: Vec<f64> = recording
        .events
        .iter()
        .filter(|e| window.from <= e.at && e.at <= window.seen_to)
        .filter(|e| e.kind == kind && (device.is_none() || e.device.as_deref() == device))
        .map(|e| e.at.as_seconds())
        .collect();
    let count = times.len() as u64;
    result.value = Some(count as f64);
    let why = match times.first() {
        Some(first) => format!(
            "{kind} happened {count} times, first at {} s",
            number(*first)
        ),
        None => format!("{kind} did not happen"),
    };
    if at_most.is_some_and(|most| count > most) {
        return result.says(Verdict::Fail, why);
    }
    let settled = window.is_complete() || (at_most.is_none() && count >= at_least);
    if !settled {
        return result.says(
            Verdict::Inconclusive,
            format!("{why}, but the record ended before the window did"),
        );
    }
    let verdict = if count >= at_least {
        Verdict::Pass
    } else {
        Verdict::Fail
    };
    result.says(verdict, why)
}

/// A kind of event and its device, as a scenario writes them.
pub(super) fn event_text((kind, device): &(&'static str, Option<String>)) -> String {
    match device {
        None => (*kind).to_owned(),
        Some(device) => format!("{kind} {device}"),
    }
}

/// Events happen in the window, the first of each not before the first of the one named before it. Those of one
/// moment stand in the order in which they were told.
pub(super) fn ordered(
    mut result: CheckResult,
    recording: &Recording,
    window: &Span,
    events: &[(&'static str, Option<String>)],
) -> CheckResult {
    result.samples = recording.events.len() as u64;
    resolution(&mut result, recording);
    if recording.events.is_empty() {
        return result.says(Verdict::Inconclusive, "no event of any kind was recorded");
    }
    let mut before: Option<(usize, String)> = None;
    let mut told = Vec::new();
    for wanted in events {
        let (kind, device) = wanted;
        let text = event_text(wanted);
        let first = recording.events.iter().enumerate().find(|(_, e)| {
            let is_it = e.kind == *kind && (device.is_none() || e.device == *device);
            is_it && window.from <= e.at && e.at <= window.seen_to
        });
        let Some((place, found)) = first else {
            let verdict = match window.is_complete() {
                true => Verdict::Fail,
                false => Verdict::Inconclusive,
            };
            return result.says(verdict, format!("{text} did not happen"));
        };
        let at_s = found.at.as_seconds();
        if let Some((earlier, name)) = &before
            && place < *earlier
        {
            result.worst = Some(Worst {
                t_s: at_s,
                value: 0.0,
            });
            let why = format!("{text} happened at {} s, before {name}", number(at_s));
            return result.says(Verdict::Fail, why);
        }
        told.push(format!("{text} at {} s", number(at_s)));
        before = Some((place, text));
    }
    result.says(Verdict::Pass, told.join(", then "))
}

pub(super) fn resolution(result: &mut CheckResult, recording: &Recording) {
    if !recording.resolution.is_zero() {
        result.uncertainty = Some(recording.resolution.as_secs_f64() / 2.0);
        result.uncertainty_unit = "s".to_owned();
    }
}
