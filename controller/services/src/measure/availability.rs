//! For how much of a time what was sold was there.

use super::Measured;

/// Share of `from_s..to_s` in which a service was available: pairs of a time and whether it was, each held until
/// the next, for `gap_s_max` at most. Each change may have been `clock_s` earlier or later.
///
/// `None` where at some time nobody knows.
#[must_use]
pub fn availability(
    told: &[(f64, bool)],
    (from_s, to_s): (f64, f64),
    gap_s_max: f64,
    clock_s: f64,
) -> Option<Measured> {
    let length = to_s - from_s;
    let begin = told.partition_point(|(t, _)| *t <= from_s).checked_sub(1)?;
    let mut available = 0.0;
    let mut changes = 0_u32;
    let mut last: Option<bool> = None;
    let inside = told[begin..].iter().take_while(|(t, _)| *t < to_s);
    let mut covered_s = from_s;
    let rows: Vec<(f64, bool)> = inside.copied().collect();
    for (index, (t, is)) in rows.iter().enumerate() {
        let ends = rows.get(index + 1).map_or(to_s, |(next, _)| *next);
        if ends - t > gap_s_max {
            return None;
        }
        let part = ends - t.max(from_s);
        available += if *is { part } else { 0.0 };
        changes += u32::from(last.is_some_and(|last| last != *is));
        last = Some(*is);
        covered_s = ends;
    }
    (length > 0.0 && covered_s >= to_s).then(|| Measured {
        value: available / length,
        uncertainty: f64::from(changes) * clock_s / length,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(until_s: u32, is: impl Fn(u32) -> bool) -> Vec<(f64, bool)> {
        (0..until_s).map(|t| (f64::from(t), is(t))).collect()
    }

    #[test]
    fn availability_is_the_share_of_the_time_with_each_change_open_by_the_clock() {
        let found = availability(
            &told(100, |t| !(30..35).contains(&t)),
            (0.0, 100.0),
            2.0,
            0.1,
        );
        let found = found.expect("known throughout");
        assert!((found.value - 0.95).abs() < 1e-9, "{found:?}");
        assert!((found.uncertainty - 0.002).abs() < 1e-9, "{found:?}");
        // A part of it only.
        let found = availability(
            &told(100, |t| !(30..35).contains(&t)),
            (25.5, 35.5),
            2.0,
            0.1,
        );
        assert!((found.expect("known").value - 0.5).abs() < 1e-9);
        let whole = availability(&told(100, |_| true), (0.0, 100.0), 2.0, 0.1).expect("known");
        assert_eq!((whole.value, whole.uncertainty), (1.0, 0.0));
    }

    #[test]
    fn a_time_that_nobody_knows_is_no_availability() {
        let mut holed = told(100, |_| true);
        holed.drain(40..45);
        assert_eq!(availability(&holed, (0.0, 100.0), 2.0, 0.1), None);
        assert!(availability(&holed, (0.0, 40.0), 2.0, 0.1).is_some());
        assert_eq!(
            availability(&told(100, |_| true), (-5.0, 10.0), 2.0, 0.1),
            None
        );
        assert_eq!(
            availability(&told(10, |_| true), (0.0, 50.0), 2.0, 0.1),
            None
        );
        assert_eq!(availability(&[], (0.0, 1.0), 2.0, 0.1), None);
    }
}
