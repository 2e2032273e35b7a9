//! Whether the loop from frequency to setpoint is fast enough for an answer that grows with the deviation.

use limiter::loop_delay::{TooLate, may_droop};
use model::Event;

use super::{Situation, Wishes};

/// The guard of one answer along a droop, whoever gives it.
#[derive(Clone, Debug, Default)]
pub(super) struct LoopGuard {
    /// Whether the loop was too slow when it was last looked at.
    too_late: bool,
}

impl LoopGuard {
    /// Looks again; told when it changes. Where the rig does not say what the island bears, or nothing was
    /// measured yet, nothing is refused.
    ///
    /// # Errors
    /// When the measured loop takes more than half of its delay margin.
    pub(super) fn look(
        &mut self,
        s: &Situation<'_>,
        what: &str,
        wishes: &mut Wishes,
    ) -> Result<(), TooLate> {
        let (Some(delay), Some(margin)) = (s.loop_delay, s.bench.settings.delay_margin) else {
            return Ok(());
        };
        let verdict = may_droop(delay, margin);
        if std::mem::replace(&mut self.too_late, verdict.is_err()) != verdict.is_err() {
            let text = match &verdict {
                Err(late) => format!("R062: {what} is refused: {late}"),
                Ok(()) => format!("the loop is fast enough for {what} again"),
            };
            wishes.events.push(Event::Noticed { device: None, text });
        }
        verdict
    }
}
