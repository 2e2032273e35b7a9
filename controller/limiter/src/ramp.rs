//! How far a value may move at once.

use quantities::{Bounds, Quantity};

/// The value nearest to a wish that is no further than a step from the last one.
pub(crate) fn towards<Q: Quantity>(wished: Q, last: Q, step: Q) -> Q {
    let (last, step) = (last.base(), step.base().abs());
    Bounds::between(Q::from_base(last - step), Q::from_base(last + step)).clamp(wished)
}
