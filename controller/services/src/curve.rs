//! Piecewise-linear functions.

use serde::{Deserialize, Serialize};

/// A piecewise-linear function through given points, held constant beyond its ends.
///
/// The unit of both axes is its owner's affair (per unit, hertz, watt).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(f64, f64)>", into = "Vec<(f64, f64)>")]
pub struct Curve {
    points: Vec<(f64, f64)>,
}

/// Why points do not make a curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CurveError {
    /// There is no point at all.
    Empty,
    /// A coordinate is not a finite number.
    NotFinite {
        /// Index of the point, from zero.
        index: usize,
    },
    /// A point stands left of its predecessor.
    NotAscending {
        /// Index of the point, from zero.
        index: usize,
    },
}

impl std::fmt::Display for CurveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => write!(f, "a curve needs at least one point"),
            Self::NotFinite { index } => {
                write!(f, "point {} of the curve is not finite", index + 1)
            }
            Self::NotAscending { index } => write!(
                f,
                "point {} of the curve stands left of the one before it",
                index + 1
            ),
        }
    }
}

impl std::error::Error for CurveError {}

impl Curve {
    /// The curve through these points, in ascending order of `x`.
    ///
    /// Two points with the same `x` are a step: at the step itself the later one counts.
    ///
    /// # Errors
    /// When there is no point, a coordinate is not finite, or `x` descends.
    pub fn new(points: Vec<(f64, f64)>) -> Result<Self, CurveError> {
        if points.is_empty() {
            return Err(CurveError::Empty);
        }
        for (index, &(x, y)) in points.iter().enumerate() {
            if !(x.is_finite() && y.is_finite()) {
                return Err(CurveError::NotFinite { index });
            }
            if index > 0 && x < points[index - 1].0 {
                return Err(CurveError::NotAscending { index });
            }
        }
        Ok(Self { points })
    }

    /// The points, in ascending order of `x`.
    #[must_use]
    pub fn points(&self) -> &[(f64, f64)] {
        &self.points
    }

    /// The value at `x`; NaN gives NaN, for a curve cannot know the unknown.
    #[must_use]
    pub fn value(&self, x: f64) -> f64 {
        if x.is_nan() {
            return f64::NAN;
        }
        let after = self.points.partition_point(|&(px, _)| px <= x);
        if after == 0 {
            return self.points[0].1;
        }
        let (x0, y0) = self.points[after - 1];
        match self.points.get(after) {
            None => y0,
            Some(&(x1, y1)) => y0 + (y1 - y0) * (x - x0) / (x1 - x0),
        }
    }
}

impl TryFrom<Vec<(f64, f64)>> for Curve {
    type Error = CurveError;
    fn try_from(points: Vec<(f64, f64)>) -> Result<Self, CurveError> {
        Self::new(points)
    }
}

impl From<Curve> for Vec<(f64, f64)> {
    fn from(curve: Curve) -> Self {
        curve.points
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(points: &[(f64, f64)], rows: &[(f64, f64)]) {
        let curve = Curve::new(points.to_vec()).expect("a curve");
        for &(x, y) in rows {
            assert!((curve.value(x) - y).abs() < 1e-4, "{x}: {}", curve.value(x));
        }
    }

    #[test]
    fn volt_var_category_b_meets_its_reference_points() {
        check(
            &[(0.92, 0.44), (0.98, 0.0), (1.02, 0.0), (1.08, -0.44)],
            &[
                (0.89, 0.44),
                (0.92, 0.44),
                (0.935, 0.33),
                (0.95, 0.22),
                (0.98, 0.0),
                (1.0, 0.0),
                (1.03, -0.0733),
                (1.065, -0.33),
                (1.095, -0.44),
            ],
        );
    }

    #[test]
    fn dynamic_containment_meets_its_reference_points() {
        check(
            &[
                (49.5, 1.0),
                (49.8, 0.05),
                (49.985, 0.0),
                (50.015, 0.0),
                (50.2, -0.05),
                (50.5, -1.0),
            ],
            &[
                (49.98, 0.0014),
                (49.95, 0.0095),
                (49.85, 0.0365),
                (49.7, 0.3667),
                (49.6, 0.6833),
                (49.4, 1.0),
                (50.05, -0.0095),
                (50.3, -0.3667),
            ],
        );
    }

    #[test]
    fn a_step_takes_its_later_value() {
        check(
            &[(49.7, 1.0), (49.7, 0.0)],
            &[(49.69, 1.0), (49.7, 0.0), (50.0, 0.0)],
        );
    }

    #[test]
    fn points_that_make_no_function_are_refused() {
        assert_eq!(Curve::new(vec![]), Err(CurveError::Empty));
        assert_eq!(
            Curve::new(vec![(0.0, 0.0), (f64::NAN, 1.0)]),
            Err(CurveError::NotFinite { index: 1 })
        );
        assert_eq!(
            Curve::new(vec![(1.0, 0.0), (0.0, 1.0)]),
            Err(CurveError::NotAscending { index: 1 })
        );
        assert!(
            Curve::new(vec![(0.0, 1.0)])
                .expect("one")
                .value(f64::NAN)
                .is_nan()
        );
    }

    proptest! {
        #[test]
        fn a_curve_never_leaves_the_range_of_its_points(
            mut xs in prop::collection::vec((-100.0..100.0_f64, -5.0..5.0_f64), 1..9),
            x in -200.0..200.0_f64,
        ) {
            xs.sort_by(|a, b| a.0.total_cmp(&b.0));
            let low = xs.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
            let high = xs.iter().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max);
            let y = Curve::new(xs).expect("sorted and finite").value(x);
            prop_assert!(low - 1e-9 <= y && y <= high + 1e-9);
        }
    }
}
