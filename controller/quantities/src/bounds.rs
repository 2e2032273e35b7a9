//! A closed interval of one quantity.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Quantity;

/// A closed interval `lower..=upper`; never empty, never NaN.
///
/// Devices in series intersect their bounds, devices in parallel add them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounds<Q> {
    lower: Q,
    upper: Q,
}

impl<Q: Quantity> Bounds<Q> {
    /// The interval from `lower` to `upper`; `None` when it would be empty or is not a number.
    #[must_use]
    pub fn new(lower: Q, upper: Q) -> Option<Self> {
        (lower <= upper).then_some(Self { lower, upper })
    }

    /// The interval between two values, whichever order they come in.
    ///
    /// Not-a-number ends are replaced by the other end.
    #[must_use]
    pub fn between(a: Q, b: Q) -> Self {
        Self {
            lower: Quantity::min(a, b),
            upper: Quantity::max(a, b),
        }
    }

    /// The interval that holds one value only.
    #[must_use]
    pub fn exactly(value: Q) -> Self {
        Self {
            lower: value,
            upper: value,
        }
    }

    /// Every value from minus to plus infinity.
    #[must_use]
    pub fn unbounded() -> Self {
        Self {
            lower: Q::from_base(f64::NEG_INFINITY),
            upper: Q::from_base(f64::INFINITY),
        }
    }

    /// The lower end.
    #[must_use]
    pub fn lower(self) -> Q {
        self.lower
    }

    /// The upper end.
    #[must_use]
    pub fn upper(self) -> Q {
        self.upper
    }

    /// Whether `value` lies inside, ends included; NaN never does.
    #[must_use]
    pub fn contains(self, value: Q) -> bool {
        self.lower <= value && value <= self.upper
    }

    /// Whether all of `inner` lies inside.
    #[must_use]
    pub fn encloses(self, inner: Self) -> bool {
        self.lower <= inner.lower && inner.upper <= self.upper
    }

    /// The nearest value inside; NaN becomes the value nearest to zero.
    #[must_use]
    pub fn clamp(self, value: Q) -> Q {
        if value < self.lower {
            self.lower
        } else if value > self.upper {
            self.upper
        } else if value.base().is_nan() {
            // NaN carries no wish: the value nearest to doing nothing is the safe reading.
            self.clamp(Q::from_base(0.0))
        } else {
            value
        }
    }

    /// Both at once (devices in series); `None` when they do not meet.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::new(
            Quantity::max(self.lower, other.lower),
            Quantity::min(self.upper, other.upper),
        )
    }

    /// The sum of two intervals (devices in parallel).
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            lower: Q::from_base(self.lower.base() + other.lower.base()),
            upper: Q::from_base(self.upper.base() + other.upper.base()),
        }
    }
}

impl<Q: Quantity> fmt::Display for Bounds<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.lower, self.upper)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ActivePower;

    fn w(watts: f64) -> ActivePower {
        ActivePower::from_watts(watts)
    }

    proptest! {
        #[test]
        fn a_clamped_value_always_lies_inside(a in -1e6..1e6_f64, b in -1e6..1e6_f64, v in proptest::num::f64::ANY) {
            let bounds = Bounds::between(w(a), w(b));
            prop_assert!(bounds.contains(bounds.clamp(w(v))));
        }

        #[test]
        fn an_intersection_lies_inside_both(a in -9..9_i8, b in -9..9_i8, c in -9..9_i8, d in -9..9_i8) {
            let (x, y) = (Bounds::between(w(a.into()), w(b.into())), Bounds::between(w(c.into()), w(d.into())));
            if let Some(both) = x.intersect(y) {
                prop_assert!(x.encloses(both) && y.encloses(both));
            } else {
                prop_assert!(x.upper() < y.lower() || y.upper() < x.lower());
            }
        }
    }

    #[test]
    fn an_empty_or_unknown_interval_cannot_be_made() {
        assert!(Bounds::new(w(1.0), w(0.0)).is_none());
        assert!(Bounds::new(w(f64::NAN), w(0.0)).is_none());
    }
}
