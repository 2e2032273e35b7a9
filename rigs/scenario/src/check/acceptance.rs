//! The band in which a response must lie, after IEEE 1547.1: the characteristic widened by what
//! the instruments may be wrong.
//!
//! Responsible for the arithmetic alone: one expected value and what may be off in both axes
//! become a lower and an upper end. The band has two sides always, so that a device that is
//! stuck, has tripped or goes the wrong way is out of it as well as one that is too slow.
//! Source: `control.md` 2.6 of the design notes, as read in two transcriptions of the standard's 4.2.

use std::time::Duration;

use services::{Curve, CurveError};

/// What of the accuracy of the instruments a value may be off: 1.5 times.
/// Source: as the module.
const ACCURACIES: f64 = 1.5;

/// Share of the step that a response leaves open after its time: a tenth, by definition.
const OPEN: f64 = 0.1;

/// Accuracy of times from [`LONG`] on, as a share of the duration. Source: as the module (table 3).
const TIME_SHARE: f64 = 0.01;

/// Durations from which on the accuracy of time is a share. Source: as the module (table 3).
const LONG: Duration = Duration::from_secs(5);

/// Accuracy of shorter times: two cycles. Source: as the module (table 3).
/// Chosen: of 50 Hz, since a check does not know the nominal frequency; at 60 Hz it would be 33 ms.
const TWO_CYCLES: Duration = Duration::from_millis(40);

/// A lower and an upper end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ends {
    /// Lower end.
    pub(crate) low: f64,
    /// Upper end.
    pub(crate) high: f64,
}

impl Ends {
    /// The narrowest that holds all of the values; `None` without a value that is a number.
    fn around(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        values
            .into_iter()
            .filter(|v| !v.is_nan())
            .fold(None, |ends: Option<Self>, v| {
                Some(ends.map_or(Self { low: v, high: v }, |e| Self {
                    low: e.low.min(v),
                    high: e.high.max(v),
                }))
            })
    }

    fn widened(self, by: f64) -> Self {
        Self {
            low: self.low - by,
            high: self.high + by,
        }
    }

    /// By how much a value is outside; negative inside.
    pub(crate) fn excess(self, value: f64) -> f64 {
        (self.low - value).max(value - self.high)
    }
}

/// A characteristic with the accuracy of both of its axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Acceptance {
    curve: Curve,
    mra_x: f64,
    mra_y: f64,
}

impl Acceptance {
    /// The characteristic through these points, in base units; `mra_x` and `mra_y` are the
    /// manufacturer's stated accuracies (MRA) of the two axes, not negative.
    ///
    /// # Errors
    /// When the points make no function.
    pub fn new(points: Vec<(f64, f64)>, mra_x: f64, mra_y: f64) -> Result<Self, CurveError> {
        Ok(Self {
            curve: Curve::new(points)?,
            mra_x,
            mra_y,
        })
    }

    /// What the characteristic says when `x` is measured, without room in `y`.
    fn said(&self, x: f64) -> Option<Ends> {
        let (low, high) = (x - ACCURACIES * self.mra_x, x + ACCURACIES * self.mra_x);
        let ends = [low, high].map(|x| self.curve.value(x));
        // A characteristic that turns back between the two ends has its extreme at one of its points.
        let between = self.curve.points().iter();
        let between = between.filter(|(px, _)| low <= *px && *px <= high);
        Ends::around(ends.into_iter().chain(between.map(|(_, y)| *y)))
    }

    /// The band of the settled response to `x`; `None` for an `x` that is no number.
    pub(crate) fn settled(&self, x: f64) -> Option<Ends> {
        Some(self.said(x)?.widened(ACCURACIES * self.mra_y))
    }

    /// The band at `after` since a step to `x`, for a response that began at `y_before` and leaves a
    /// tenth open after `response`.
    pub(crate) fn responding(
        &self,
        x: f64,
        y_before: f64,
        response: Duration,
        after: Duration,
    ) -> Option<Ends> {
        let said = self.said(x)?;
        let room = time_accuracy(after).mul_f64(ACCURACIES);
        let course = |at: Duration, end: f64| {
            let open = OPEN.powf(at.as_secs_f64() / response.as_secs_f64());
            end + (y_before - end) * open
        };
        let times = [after.saturating_sub(room), after + room];
        let corners = times
            .into_iter()
            .flat_map(|at| [said.low, said.high].map(|end| course(at, end)));
        Some(Ends::around(corners)?.widened(ACCURACIES * self.mra_y))
    }
}

/// How accurate a measured duration is.
fn time_accuracy(duration: Duration) -> Duration {
    if duration >= LONG {
        duration.mul_f64(TIME_SHARE)
    } else {
        TWO_CYCLES
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The default volt-var of category B, per unit, with the accuracies of a lab: 1 % and 5 %.
    fn volt_var() -> Acceptance {
        let points = vec![(0.92, 0.44), (0.98, 0.0), (1.02, 0.0), (1.08, -0.44)];
        Acceptance::new(points, 0.01, 0.05).expect("a curve")
    }

    #[test]
    fn the_settled_band_is_the_curve_widened_in_both_axes() {
        // Voltage, lower and upper end, computed by hand: the slope is 0.44 over 0.06.
        let rows = [
            (1.00, -0.075, 0.075),
            (0.95, 0.22 - 0.11 - 0.075, 0.22 + 0.11 + 0.075),
            (0.90, 0.44 - 0.075, 0.44 + 0.075),
            // Near a point the band keeps to it on one side: 0.93 + 0.015 is 0.945, 0.915 is flat.
            (0.93, 0.2566667 - 0.075, 0.44 + 0.075),
            (1.08, -0.44 - 0.075, -0.33 + 0.075),
        ];
        for (v, low, high) in rows {
            let ends = volt_var().settled(v).expect("a number");
            assert!((ends.low - low).abs() < 1e-6, "{v}: {ends:?}");
            assert!((ends.high - high).abs() < 1e-6, "{v}: {ends:?}");
        }
        assert_eq!(volt_var().settled(f64::NAN), None);
    }

    #[test]
    fn a_curve_that_turns_back_inside_the_accuracy_keeps_its_extreme() {
        let tent = Acceptance::new(vec![(0.0, 0.0), (1.0, 1.0), (2.0, 0.0)], 0.5, 0.0);
        let ends = tent.expect("a curve").settled(1.0).expect("a number");
        assert_eq!(
            ends,
            Ends {
                low: 0.25,
                high: 1.0
            }
        );
    }

    #[test]
    fn a_response_has_covered_nine_tenths_after_its_time() {
        let exact = Acceptance::new(vec![(0.0, 0.0), (1.0, 1.0)], 0.0, 0.0).expect("a curve");
        let tr = Duration::from_secs(5);
        // Seconds after the step; ends of 1 - 10^(-t/5) with the time off by 1.5 accuracies.
        let rows = [
            (5.0, 1.0 - 10_f64.powf(-0.985), 1.0 - 10_f64.powf(-1.015)),
            (
                1.0,
                1.0 - 10_f64.powf(-0.94 / 5.0),
                1.0 - 10_f64.powf(-1.06 / 5.0),
            ),
            (0.0, 0.0, 1.0 - 10_f64.powf(-0.06 / 5.0)),
        ];
        for (t, low, high) in rows {
            let ends = exact.responding(1.0, 0.0, tr, Duration::from_secs_f64(t));
            let ends = ends.expect("a number");
            assert!(
                (ends.low - low).abs() < 1e-9 && (ends.high - high).abs() < 1e-9,
                "{t} {ends:?}"
            );
        }
    }

    #[test]
    fn a_device_that_is_stuck_tripped_late_or_turned_round_is_outside_at_the_response_time() {
        // A step from 1.00 to 1.08: the response to be is -0.396 after 5 s.
        let tr = Duration::from_secs(5);
        let ends = volt_var().responding(1.08, 0.0, tr, tr).expect("a number");
        let at = |tr: f64| -0.44 * (1.0 - 10_f64.powf(-5.0 / tr));
        let rows = [
            ("as it should be", at(5.0), true),
            ("stuck or tripped", 0.0, false),
            ("turned round", -at(5.0), false),
            // The characteristic alone allows a device to be a quarter weaker at this voltage.
            ("four times too slow", at(20.0), false),
        ];
        for (name, value, inside) in rows {
            assert_eq!(
                ends.excess(value) <= 0.0,
                inside,
                "{name}: {value} in {ends:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_true_value_is_inside_whatever_the_instruments_say(
            x in 0.8..1.2_f64, off_x in -1.0..1.0_f64, off_y in -1.0..1.0_f64,
        ) {
            let band = volt_var();
            let true_y = band.curve.value(x) + off_y * ACCURACIES * band.mra_y;
            let ends = band.settled(x + off_x * ACCURACIES * band.mra_x).expect("a number");
            prop_assert!(ends.excess(true_y) <= 1e-9);
        }

        #[test]
        fn a_response_ends_in_the_settled_band(x in 0.8..1.2_f64, before in -0.5..0.5_f64) {
            let band = volt_var();
            let tr = Duration::from_secs(5);
            let late = band.responding(x, before, tr, tr * 20).expect("a number");
            let settled = band.settled(x).expect("a number");
            prop_assert!((late.low - settled.low).abs() < 1e-6 && (late.high - settled.high).abs() < 1e-6);
        }
    }
}
