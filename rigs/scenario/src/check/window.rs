//! A stretch of a run, as it is written and as it was.

use std::time::Duration;

use model::Instant;

use super::CheckKind;
use crate::script::{Anchor, Moment};
use crate::series::Recording;

/// The end of a window.
#[derive(Clone, Debug, PartialEq)]
pub enum WindowEnd {
    /// So long after its begin.
    For(Duration),
    /// At a moment.
    At(Moment),
}

/// A stretch of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Begin.
    pub from: Moment,
    /// End.
    pub to: WindowEnd,
}

impl Window {
    /// The whole record.
    pub const WHOLE: Self = Self {
        from: Moment::START,
        to: WindowEnd::At(Moment::END),
    };
}

/// A window in the times of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Begin.
    pub(crate) from: Instant,
    /// End as demanded.
    pub(crate) to: Instant,
    /// End as far as the record goes.
    pub(crate) seen_to: Instant,
}

impl Span {
    /// Whether the record goes to the end of the window.
    pub(crate) fn is_complete(&self) -> bool {
        self.seen_to >= self.to
    }

    pub(super) fn length(&self) -> Duration {
        self.to.since(self.from)
    }
}

pub(super) fn resolve(kind: &CheckKind, recording: &Recording) -> Result<Span, String> {
    let Window { from, to } = kind.window().unwrap_or(Window::WHOLE);
    let from = instant(&from, recording)?;
    let to = match to {
        WindowEnd::For(length) => from + length,
        WindowEnd::At(moment) => instant(&moment, recording)?,
    };
    if to < from {
        return Err("the window ended before it began".to_owned());
    }
    if from > recording.ended {
        return Err(format!(
            "the record ended at {} s, before the window began at {} s",
            crate::report::number(recording.ended.as_seconds()),
            crate::report::number(from.as_seconds())
        ));
    }
    Ok(Span {
        from,
        to,
        seen_to: to.min(recording.ended),
    })
}

fn instant(moment: &Moment, recording: &Recording) -> Result<Instant, String> {
    let anchor = match &moment.anchor {
        Anchor::Start => recording.began,
        Anchor::End => recording.ended,
        Anchor::Mark(mark) => *recording
            .marks
            .get(mark)
            .ok_or_else(|| format!("mark {mark} was never reached"))?,
        Anchor::Previous => {
            return Err("a check has no previous step to count from".to_owned());
        }
    };
    Ok(moment.from_anchor(anchor))
}
