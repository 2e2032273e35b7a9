//! A balance of two meters that do not read at the same instant.

use std::time::Duration;

use model::Instant;
use quantities::Quantity;

/// Time constant. Chosen: 300 ms, three supervisory cycles; a storage over Modbus that answered the
/// plain sum of a coupling meter and its own, read up to 200 ms apart, rang by half of a step.
const TIME_CONSTANT: Duration = Duration::from_millis(300);

/// A sum of readings, smoothed so that a step that one meter shows before the other is not answered twice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Smoothed<Q> {
    last: Option<(Instant, Q)>,
}

impl<Q> Default for Smoothed<Q> {
    fn default() -> Self {
        Self { last: None }
    }
}

impl<Q: Quantity> Smoothed<Q> {
    /// Takes in what is seen now and gives the smoothed value; the first one counts as it is.
    pub(super) fn take(&mut self, now: Instant, seen: Q) -> Q {
        let smoothed = match self.last {
            None => seen,
            Some((at, last)) => {
                let elapsed = now.since(at).as_secs_f64();
                let share = 1.0 - (-elapsed / TIME_CONSTANT.as_secs_f64()).exp();
                Q::from_base(last.base() + (seen.base() - last.base()) * share)
            }
        };
        self.last = Some((now, smoothed));
        smoothed
    }

    /// What was seen is of another situation.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use quantities::ActivePower;

    use super::*;

    #[test]
    fn a_step_is_believed_by_two_thirds_after_its_time_constant_and_wholly_in_the_end() {
        let mut smoothed = Smoothed::default();
        let mut at = |ms: u64, watts: f64| {
            let now = Instant::START + Duration::from_millis(ms);
            smoothed
                .take(now, ActivePower::from_watts(watts))
                .as_watts()
        };
        assert_eq!(at(0, 100.0), 100.0);
        // However the time is cut into steps.
        at(50, 200.0);
        let third = at(300, 200.0);
        assert!((third - 163.2).abs() < 0.1, "{third}");
        assert!((at(3000, 200.0) - 200.0).abs() < 0.1);
    }
}
