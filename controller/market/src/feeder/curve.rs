//! The net injection of a part of a feeder as a function of the price: steps that rise.

use crate::book::Book;
use crate::order::Side;
use crate::quantity::Price;

/// Net injection below every step, and the steps by rising price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Curve {
    /// What is injected at the lowest price; never positive.
    base: i128,
    /// Price and energy of each rise.
    steps: Vec<(i128, i128)>,
}

impl Curve {
    /// The orders of one node: all bids are served at the lowest price and leave as it
    /// rises, the offers come.
    pub(super) fn of_orders(book: &Book) -> Self {
        let entries = [Side::Buy, Side::Sell].map(|side| book.entries(side));
        let mut steps: Vec<(i128, i128)> = (entries.iter().copied().flatten())
            .map(|entry| (i128::from(entry.price), i128::from(entry.quantity)))
            .collect();
        steps.sort_unstable();
        let served = entries[0].iter().map(|entry| i128::from(entry.quantity));
        Self {
            base: -served.sum::<i128>(),
            steps,
        }
    }

    /// Both parts together.
    pub(super) fn with(mut self, other: &Self) -> Self {
        self.base += other.base;
        self.steps.extend(&other.steps);
        self.steps.sort_unstable();
        self
    }

    /// What the other end of a line sees: exports cost the fee on top and imports cost
    /// it as well, so the rising part moves up and the other down; no more than the
    /// capacity passes.
    pub(super) fn through(&self, capacity: i128, fee: i128) -> Self {
        let mut steps = Vec::with_capacity(self.steps.len() + 1);
        let mut from = self.base;
        for &(price, rise) in &self.steps {
            let to = from + rise;
            let import = to.min(0) - from.max(-capacity);
            let export = to.min(capacity) - from.max(0);
            if import > 0 {
                steps.push((price - fee, import));
            }
            if export > 0 {
                steps.push((price + fee, export));
            }
            from = to;
        }
        Self {
            base: self.base.max(-capacity),
            steps,
        }
    }

    /// The least and the most that is injected at a price.
    pub(super) fn at(&self, price: Price) -> (i128, i128) {
        let price = i128::from(price.0);
        let (mut least, mut most) = (self.base, self.base);
        for &(step, rise) in &self.steps {
            if step < price {
                least += rise;
            }
            if step > price {
                break;
            }
            most += rise;
        }
        (least, most)
    }

    /// The prices at which `injection` is between least and most; `None` for an end
    /// without bound.
    pub(super) fn supporting(&self, injection: i128) -> (Option<i128>, Option<i128>) {
        let mut sum = self.base;
        let mut low = None;
        for &(price, rise) in &self.steps {
            if sum > injection {
                break;
            }
            if sum < injection {
                low = Some(price);
            }
            sum += rise;
            if sum > injection {
                return (low, Some(price));
            }
        }
        (low, None)
    }
}
