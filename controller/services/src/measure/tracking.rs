//! How near a delivery stays to what was asked, and how far it shoots beyond.

use super::Measured;

/// The value of a series that is held until the next one; `None` before the first.
fn held(series: &[(f64, f64)], t_s: f64) -> Option<f64> {
    let after = series.partition_point(|(t, _)| *t <= t_s);
    Some(series[after.checked_sub(1)?].1)
}

/// Mean distance of what was measured from what was asked, as a share of a whole (what was sold).
///
/// Each measurement is compared with what was asked when it was taken; the two times may be `clock_s` off, and
/// by as much the distance may be another one. `None` without a measurement after the first asked value.
#[must_use]
pub fn accuracy(
    asked: &[(f64, f64)],
    measured: &[(f64, f64)],
    whole: f64,
    clock_s: f64,
) -> Option<Measured> {
    let (mut sum, mut open, mut count) = (0.0, 0.0, 0_u32);
    for (t_s, value) in measured {
        let Some(wanted) = held(asked, *t_s) else {
            continue;
        };
        let around = [*t_s - clock_s, *t_s + clock_s].map(|t| held(asked, t).unwrap_or(wanted));
        sum += (value - wanted).abs();
        open += around
            .map(|other| (other - wanted).abs())
            .into_iter()
            .fold(0.0, f64::max);
        count += 1;
    }
    (count > 0 && whole > 0.0).then(|| Measured {
        value: sum / f64::from(count) / whole,
        uncertainty: open / f64::from(count) / whole,
    })
}

/// How far a series goes beyond the end of its step, as a share of the step; zero where it never does.
///
/// Between two measurements it may have gone further: by half of what it changes there, on the flatter side of
/// the farthest point.
/// `None` without a measurement, or without a step.
#[must_use]
pub fn overshoot(values: &[f64], from: f64, to: f64) -> Option<Measured> {
    let beyond = |value: f64| (value - to) / (to - from);
    let (at, most) = values
        .iter()
        .map(|value| beyond(*value))
        .enumerate()
        .filter(|(_, b)| b.is_finite())
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    let neighbours = [at.checked_sub(1), at.checked_add(1)];
    let uncertainty = neighbours
        .into_iter()
        .flatten()
        .filter_map(|i| values.get(i))
        .map(|value| (most - beyond(*value)).abs() / 2.0)
        .reduce(f64::min)
        .unwrap_or_default();
    Some(Measured {
        value: most.max(0.0),
        // What never comes near the end cannot have gone beyond it unseen.
        uncertainty: if most + uncertainty > 0.0 {
            uncertainty
        } else {
            0.0
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<Measured>, value: f64, uncertainty: f64) {
        let found = found.expect("a measurement");
        assert!(
            (found.value - value).abs() < 1e-9 && (found.uncertainty - uncertainty).abs() < 1e-9,
            "{found:?}, not {value} +- {uncertainty}"
        );
    }

    #[test]
    fn accuracy_is_the_mean_distance_over_what_was_sold_and_a_step_of_what_is_asked_leaves_it_open()
    {
        let asked = [(0.0, 0.0), (10.0, 4.0)];
        let measured = [(5.0, 0.1), (9.9, -0.1), (10.1, 3.0), (15.0, 4.0)];
        // (0.1 + 0.1 + 1 + 0) / 4 of 5; two of the four lie within 0.2 s of the step by 4.
        near(accuracy(&asked, &measured, 5.0, 0.2), 0.06, 8.0 / 4.0 / 5.0);
        near(accuracy(&asked, &measured, 5.0, 0.05), 0.06, 0.0);
        assert_eq!(accuracy(&[(20.0, 1.0)], &measured, 5.0, 0.0), None);
        assert_eq!(accuracy(&asked, &[], 5.0, 0.0), None);
    }

    #[test]
    fn overshoot_is_told_as_a_share_of_the_step_with_what_may_lie_between_two_measurements() {
        near(overshoot(&[0.0, 1.0, 2.2, 2.0], 0.0, 2.0), 0.1, 0.05);
        near(
            overshoot(&[0.0, -1.0, -2.1, -2.1, -2.0], 0.0, -2.0),
            0.05,
            0.0,
        );
        near(overshoot(&[0.0, 0.5, 0.9, 0.95], 0.0, 1.0), 0.0, 0.0);
        assert_eq!(overshoot(&[], 0.0, 1.0), None);
        assert_eq!(overshoot(&[1.0], 1.0, 1.0), None);
    }
}
