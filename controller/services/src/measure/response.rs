//! When a share of a step is reached.

/// A step that a series is to make.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepUnit {
    /// Value before.
    pub from: f64,
    /// Value after.
    pub to: f64,
}

impl StepUnit {
    /// Share of the step that a value has covered; negative on the wrong side.
    #[must_use]
    pub fn covered(&self, value: f64) -> f64 {
        (value - self.from) / (self.to - self.from)
    }
}

/// Which measurements tell that a share was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Index of the first one that has covered it; the truth lies between the one before and this one.
    pub index: usize,
}

/// The first of two measurements in a row that have both covered a share of the step: one alone may be noise.
#[must_use]
pub fn reached(
    values: impl IntoIterator<Item = f64>,
    step: &StepUnit,
    share: f64,
) -> Option<Reached> {
    let mut before = false;
    for (index, value) in values.into_iter().enumerate() {
        let covers = step.covered(value) >= share;
        if covers && before {
            return Some(Reached { index: index - 1 });
        }
        before = covers;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_counts_from_the_first_of_two_that_cover_it() {
        type Row<'a> = (&'a [f64], f64, f64, f64, Option<usize>);
        let rows: &[Row<'_>] = &[
            (&[0.0, 0.5, 0.95, 0.97, 1.0], 0.0, 1.0, 0.9, Some(2)),
            // One that is noise.
            (&[0.0, 0.95, 0.2, 0.93, 0.95], 0.0, 1.0, 0.9, Some(3)),
            (&[0.0, 0.2, 0.89, 0.89], 0.0, 1.0, 0.9, None),
            // Downwards, from somewhere else.
            (&[2.0, 1.5, 1.0, 1.0], 2.0, 1.0, 0.5, Some(1)),
            // Alone at the end.
            (&[0.0, 1.0], 0.0, 1.0, 0.9, None),
            (&[f64::NAN, f64::NAN], 0.0, 1.0, 0.9, None),
        ];
        for (values, from, to, share, expected) in rows {
            let step = StepUnit {
                from: *from,
                to: *to,
            };
            let found = reached(values.iter().copied(), &step, *share);
            assert_eq!(found.map(|r| r.index), *expected, "{values:?}");
        }
    }
}
