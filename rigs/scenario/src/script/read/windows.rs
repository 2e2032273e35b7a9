//! Windows in which a check can never see a thing.

use std::ops::Range;

use super::Reader;
use crate::check::{Check, Window, WindowEnd};
use crate::codes;
use crate::script::timeline::Timeline;
use crate::script::{Anchor, Moment};
use crate::stage::AFTERMATH;

impl Reader<'_> {
    /// Tells of every check whose window the record of this script can never hold.
    ///
    /// `is_first` says that nothing is played before the script.
    pub(super) fn windows(
        &self,
        timeline: &Timeline,
        checks: &[(Check, Range<usize>)],
        is_first: bool,
    ) {
        let windows: Vec<Window> = checks.iter().filter_map(|(c, _)| c.kind.window()).collect();
        for (check, place) in checks {
            let Some(window) = check.kind.window() else {
                continue;
            };
            let why = ends_early(timeline, &window)
                .or_else(|| lies_before(timeline, &window).filter(|_| is_first))
                .or_else(|| lies_behind(timeline, &window, &windows));
            if let Some((why, help)) = why {
                self.document
                    .error(codes::NEVER_SEEN, place.clone(), why, "", help);
            }
        }
    }
}

type Fault = (String, &'static str);

fn nanoseconds(window: &Window) -> Option<i128> {
    match window.to {
        WindowEnd::For(length) => i128::try_from(length.as_nanos()).ok(),
        WindowEnd::At(_) => None,
    }
}

/// The end of a window lies before its begin, however long the waits take.
fn ends_early(timeline: &Timeline, window: &Window) -> Option<Fault> {
    let WindowEnd::At(to) = &window.to else {
        return None;
    };
    let most = timeline.most_behind(to, &window.from.anchor)?;
    (most <= i128::from(window.from.offset_ns)).then(|| {
        (
            format!(
                "the window ends at {to}, and {} is not before that",
                window.from
            ),
            "turn `from` and `to` round, or name another mark",
        )
    })
}

/// A window is over before the script begins.
fn lies_before(timeline: &Timeline, window: &Window) -> Option<Fault> {
    let most = match &window.to {
        WindowEnd::For(_) => {
            timeline.most_behind(&window.from, &Anchor::Start)? + nanoseconds(window)?
        }
        WindowEnd::At(to) => timeline.most_behind(to, &Anchor::Start)?,
    };
    (most <= 0).then(|| {
        (
            "the window is over before the scenario begins".to_owned(),
            "a record begins with the first step; let that one come later",
        )
    })
}

/// A window begins when the record is over, or ends when it is.
fn lies_behind(timeline: &Timeline, window: &Window, all: &[Window]) -> Option<Fault> {
    let help = "the record ends a second behind the last step and what the checks count to from marks: \
                say `for`, or a mark in place of `end`";
    let offset = i128::from(window.from.offset_ns);
    if window.from.anchor == Anchor::End {
        let is_behind = match &window.to {
            WindowEnd::For(_) => offset + nanoseconds(window)? > 0,
            WindowEnd::At(_) => offset >= 0,
        };
        let why = "the window ends behind the end of the record".to_owned();
        return is_behind.then_some((why, help));
    }
    let WindowEnd::At(to) = &window.to else {
        return None;
    };
    if to.anchor != Anchor::End {
        return None;
    }
    if to.offset_ns > 0 {
        let why = format!("the window ends at {to}, and nothing is recorded behind the end");
        return Some((why, help));
    }
    let end = record_end(timeline, &window.from.anchor, all)?;
    (offset >= end + i128::from(to.offset_ns)).then(|| {
        let end_s = crate::report::number((end as f64) / 1e9);
        let from = Moment {
            anchor: window.from.anchor.clone(),
            offset_ns: 0,
        };
        (
            format!(
                "the window begins at {}, and the record ends {end_s} s behind {from} at the latest",
                window.from
            ),
            help,
        )
    })
}

/// How far at most the record reaches behind `anchor`, in nanoseconds.
fn record_end(timeline: &Timeline, anchor: &Anchor, all: &[Window]) -> Option<i128> {
    let aftermath = i128::try_from(AFTERMATH.as_nanos()).ok()?;
    let mut end = timeline.end_most_behind(anchor)?;
    let last = end;
    for window in all {
        let behind = |moment: &Moment| match moment.anchor {
            // What counts from the end reaches no further than the last step and its own length.
            Anchor::End => Some(last + i128::from(moment.offset_ns)),
            _ => timeline.most_behind(moment, anchor),
        };
        let needs = match &window.to {
            WindowEnd::For(_) => behind(&window.from)? + nanoseconds(window)?,
            WindowEnd::At(to) if to.anchor == Anchor::End => continue,
            WindowEnd::At(to) => behind(to)?,
        };
        end = end.max(needs);
    }
    Some(end + aftermath)
}
