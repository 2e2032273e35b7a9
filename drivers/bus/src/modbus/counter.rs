//! Counters that only grow: whether a smaller value is a fault of the reading or a reset. Pure.
//!
//! A single smaller value is not believed, since it may be a damaged answer or a device that
//! is just starting. When the next read confirms it, the device was reset or exchanged, and
//! that is told once. It is not responsible for what a reset means for a settlement.

/// A counter of a device, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counter {
    /// Last value that was believed.
    last: Option<f64>,
    /// A smaller value that waits for the next read.
    doubtful: Option<f64>,
}

/// What a reading of a counter is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Count {
    /// It has grown, or stands still.
    Good,
    /// It is smaller than before, and nothing confirms it yet.
    Doubtful,
    /// It is smaller than before, for the second time: the counter was reset.
    Reset {
        /// The last value before.
        from: f64,
    },
}

impl Counter {
    /// Judges the next value.
    pub(super) fn take(&mut self, value: f64) -> Count {
        let Some(last) = self.last.filter(|last| value < *last) else {
            *self = Self {
                last: Some(value),
                doubtful: None,
            };
            return Count::Good;
        };
        if self.doubtful.is_some_and(|doubtful| doubtful <= value) {
            *self = Self {
                last: Some(value),
                doubtful: None,
            };
            return Count::Reset { from: last };
        }
        self.doubtful = Some(value);
        Count::Doubtful
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_value_counts_when_the_next_one_confirms_it() {
        use Count::{Doubtful, Good, Reset};
        let rows: [&[(f64, Count)]; 4] = [
            &[(5.0, Good), (5.0, Good), (6.0, Good)],
            &[(5.0, Good), (0.0, Doubtful), (6.0, Good), (5.0, Doubtful)],
            &[
                (5.0, Good),
                (1.0, Doubtful),
                (1.0, Reset { from: 5.0 }),
                (2.0, Good),
            ],
            &[
                (5.0, Good),
                (3.0, Doubtful),
                (1.0, Doubtful),
                (2.0, Reset { from: 5.0 }),
            ],
        ];
        for row in rows {
            let mut counter = Counter::default();
            for (value, expected) in row {
                assert_eq!(counter.take(*value), *expected, "{value} in {row:?}");
            }
        }
    }
}
