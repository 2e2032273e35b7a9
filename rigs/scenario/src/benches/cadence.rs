//! How regularly devices were read: pure arithmetic on the times of their answers.
//!
//! Terms: a device's *slots* are the periods of its own grid, which lies where most of its
//! answers lie; a slot is *missed* when no answer is nearer to its middle than half a
//! period. The same arithmetic serves ours and the peer, who only deliver times.

use serde_json::{Value, json};

use super::rounded;

/// The time in which is counted, in seconds on the clock of the answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Its begin.
    pub from_s: f64,
    /// Its length.
    pub run_s: f64,
    /// Period of the reads.
    pub period_s: f64,
}

/// How regularly devices were read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cadence {
    /// Slots of all devices.
    pub slots: u64,
    /// Those with an answer.
    pub answered: u64,
    /// Time from one answer to the next, in milliseconds: the median, 99 of 100, the longest.
    pub period_ms: [f64; 3],
    /// How far an answer is behind the early place on its device's grid, likewise.
    pub lag_ms: [f64; 3],
}

impl Cadence {
    pub(super) fn missed(&self) -> u64 {
        self.slots - self.answered
    }

    pub(super) fn json(&self) -> Value {
        let [p50, p99, max] = self.period_ms.map(rounded);
        let [lag_p50, lag_p99, lag_max] = self.lag_ms.map(rounded);
        json!({
            "slots": self.slots,
            "answered": self.answered,
            "missed": self.missed(),
            "period_p50_ms": p50,
            "period_p99_ms": p99,
            "period_max_ms": max,
            "lag_p50_ms": lag_p50,
            "lag_p99_ms": lag_p99,
            "lag_max_ms": lag_max,
        })
    }
}

/// Judges the times of the answers of each device.
pub(super) fn cadence(answers_s: &[Vec<f64>], window: Window) -> Cadence {
    let mut all = Cadence::default();
    let mut periods = Vec::new();
    let mut lags = Vec::new();
    let end_s = window.from_s + window.run_s;
    for times in answers_s {
        let (first, last) = slots_in(anchor(times, window), window);
        let mut hit = vec![false; usize::try_from(last - first).unwrap_or(0)];
        let place = anchor(times, window);
        for time in times {
            let slot = ((time - place) / window.period_s).round() as i64 - first;
            if let Some(hit) = usize::try_from(slot).ok().and_then(|s| hit.get_mut(s)) {
                *hit = true;
            }
        }
        all.slots += hit.len() as u64;
        all.answered += hit.iter().filter(|hit| **hit).count() as u64;
        let inside = |t: &&f64| (window.from_s..end_s).contains(*t);
        let inside: Vec<f64> = times.iter().filter(inside).copied().collect();
        periods.extend(inside.windows(2).map(|pair| 1e3 * (pair[1] - pair[0])));
        lags.extend(lags_s(&inside, place, window.period_s).map(|lag_s| 1e3 * lag_s));
    }
    periods.sort_by(f64::total_cmp);
    lags.sort_by(f64::total_cmp);
    all.period_ms = [0.5, 0.99, 1.0].map(|share| quantile(&periods, share));
    all.lag_ms = [0.5, 0.99, 1.0].map(|share| quantile(&lags, share));
    all
}

/// Share of a device's answers that lie before its early place. Chosen: a twentieth, so that a few
/// answers late by more than half a period, which look early, do not make all others look late.
const EARLY_SHARE: f64 = 0.05;

/// How much before the early place an answer still counts as early, in periods; what lies further
/// before is late by most of a period. Chosen: a fifth.
const EARLIER_PERIODS: f64 = 0.2;

/// How far each answer is behind the early place on the device's grid.
fn lags_s(times: &[f64], place: f64, period_s: f64) -> impl Iterator<Item = f64> {
    let mut off: Vec<f64> = times
        .iter()
        .map(|time| {
            let slots = (time - place) / period_s;
            period_s * (slots - slots.round())
        })
        .collect();
    off.sort_by(f64::total_cmp);
    let early = quantile(&off, EARLY_SHARE);
    off.into_iter().map(move |off| {
        let lag = off - early;
        if lag < -EARLIER_PERIODS * period_s {
            lag + period_s
        } else {
            lag.max(0.0)
        }
    })
}

/// Where a device's grid lies: the middle of its answers' places within the period.
fn anchor(times: &[f64], window: Window) -> f64 {
    let reference = times.first().copied().unwrap_or(window.from_s);
    let mut places: Vec<f64> = times
        .iter()
        .map(|time| {
            let periods = (time - reference) / window.period_s;
            (periods - periods.round()) * window.period_s
        })
        .collect();
    places.sort_by(f64::total_cmp);
    reference + quantile(&places, 0.5)
}

/// The numbers of the slots whose middles lie in the window: the first, and the one after the last.
fn slots_in(anchor: f64, window: Window) -> (i64, i64) {
    let at = |time: f64| ((time - anchor) / window.period_s).ceil() as i64;
    (at(window.from_s), at(window.from_s + window.run_s))
}

/// The value that a share of the sorted values does not exceed; 0 without values.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Window = Window {
        from_s: 1.0,
        run_s: 2.0,
        period_s: 0.02,
    };

    /// A device that answers in all slots, from long before the window to long after it.
    fn steady(phase_s: f64) -> Vec<f64> {
        (0..200).map(|n| phase_s + 0.02 * f64::from(n)).collect()
    }

    fn check(times: Vec<f64>, answered: u64, missed: u64) {
        let found = cadence(&[times], WINDOW);
        assert_eq!((found.answered, found.missed()), (answered, missed));
    }

    #[test]
    fn a_steady_device_misses_no_slot_and_its_period_is_the_asked_one() {
        check(steady(0.003), 100, 0);
        let found = cadence(&[steady(0.003), steady(0.012)], WINDOW);
        assert_eq!(found.slots, 200);
        assert_eq!(found.period_ms.map(f64::round), [20.0; 3]);
    }

    #[test]
    fn the_lag_is_the_time_behind_the_early_place_of_the_grid() {
        let check = |every: usize, late_s: f64, expected: [f64; 3]| {
            let mut times = steady(0.003);
            times.iter_mut().step_by(every).for_each(|t| *t += late_s);
            let found = cadence(&[times], WINDOW);
            assert_eq!(
                found.lag_ms.map(f64::round),
                expected,
                "one in {every} by {late_s} s"
            );
        };
        check(4, 0.005, [0.0, 5.0, 5.0]);
        // Late by more than half a period, it is nearer to the next place of the grid.
        check(100, 0.013, [0.0, 0.0, 13.0]);
        check(50, 0.013, [0.0, 13.0, 13.0]);
        // Early ones are not late.
        check(50, -0.002, [0.0, 0.0, 0.0]);
    }

    #[test]
    fn an_answer_that_never_comes_is_a_missed_slot() {
        let mut times = steady(0.003);
        times.drain(80..83);
        check(times, 97, 3);
    }

    #[test]
    fn an_answer_late_by_more_than_half_a_period_leaves_its_slot_empty() {
        let mut times = steady(0.003);
        times[80] += 0.009;
        check(times.clone(), 100, 0);
        times[80] += 0.002;
        check(times, 99, 1);
    }

    #[test]
    fn a_late_first_answer_does_not_move_the_grid() {
        let mut times = steady(0.003);
        times[0] += 0.009;
        // On the late one's grid this one would lie in the slot before.
        times[80] -= 0.002;
        check(times, 100, 0);
    }

    #[test]
    fn a_device_that_was_never_heard_misses_all_slots() {
        check(Vec::new(), 0, 100);
    }

    proptest! {
        #[test]
        fn every_slot_is_answered_or_missed(times in prop::collection::vec(0.0..4.0_f64, 0..300)) {
            let mut times = times;
            times.sort_by(f64::total_cmp);
            let found = cadence(&[times], WINDOW);
            prop_assert!(found.answered <= found.slots);
            prop_assert!((99..=101).contains(&found.slots));
        }
    }
}
