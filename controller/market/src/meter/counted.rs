//! The energy of a gap, by the counter of the meter that has it.
//!
//! Theory. Between two readings of a counter the energy is known, and so is the part of that time in which samples of
//! power say what flowed. What is left has flowed in the gaps between these samples; where in them nobody knows, so it
//! is spread evenly over their time. An interval with gaps then has the energy that its samples cover, and that of the
//! gaps in it. The sum over all intervals of a gap is what the counter says, exactly to its step; how it is
//! divided among them is an estimate.
//!
//! A counter counts in steps, and a meter does not measure energy as it measures power. While there is no gap both say the
//! same but for that; how far they have been apart at most is what a counter is good for, and where that is not small
//! against what has flowed in the gaps, nothing is said. A counter that has gone back was exchanged or has begun again,
//! and a new one begins.
//!
//! Not responsible for whether an interval lacks anything ([`super::EnergyMeter`]), nor for when a counter is read.

use std::collections::VecDeque;

use super::{DOUBLED_PER_MWH, Sample};
use crate::interval::{Interval, MarketTimeNs};
use crate::quantity::Mwh;

/// How far counter and samples may be apart, as a part of what has flowed in gaps: a twentieth.
/// Chosen: 5 %, the tolerance within which nobody owes a penalty.
const APART_PART: i128 = 20;
/// Intervals and gaps that are kept. Chosen: 96, as many intervals as can be corrected.
const KEPT: usize = 96;

/// A reading of the counters of a meter, in milliwatt-hours; `None` of a direction that it does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// When, in market time.
    pub instant_ns: MarketTimeNs,
    /// Taken out of the bus.
    pub withdrawn: Option<Mwh>,
    /// Given into the bus.
    pub injected: Option<Mwh>,
}

impl Count {
    /// What was counted since an earlier reading, injection positive; `None` when it is not of the same counters.
    fn since(&self, before: &Self) -> Option<i128> {
        let forward = |now: Option<Mwh>, before: Option<Mwh>| match (now, before) {
            (None, None) => Some(0),
            (Some(now), Some(before)) if now >= before => {
                Some(i128::from(now.0) - i128::from(before.0))
            }
            _ => None,
        };
        let injected = forward(self.injected, before.injected)?;
        Some(injected - forward(self.withdrawn, before.withdrawn)?)
    }
}

/// A time in which no samples say what flowed.
#[derive(Debug, Clone, Copy)]
struct Gap {
    from_ns: i64,
    until_ns: i64,
    /// Mean power in it, once a counter has told.
    power_milliwatt: Option<i128>,
}

/// An interval with gaps.
#[derive(Debug, Clone)]
struct Lacking {
    interval: Interval,
    /// Twice the energy that samples cover in it, in mW ns.
    covered_doubled: i128,
    /// What they do not cover.
    open: Vec<(i64, i64)>,
}

/// The counter of a meter beside its samples of power.
#[derive(Debug, Clone)]
pub struct CountedEnergy {
    gap_ns_max: i64,
    /// Magnitude beyond which its device cannot be, in milliwatts.
    most_milliwatt: Option<i64>,
    last: Option<Sample>,
    /// Twice the energy that samples have covered since the first, in mW ns.
    covered_doubled: i128,
    /// The last reading, and what samples had covered by then.
    counted: Option<(Count, i128)>,
    /// How far counter and samples were apart at most where there was no gap, as twice an energy in mW ns; `None` before
    /// it has counted anything.
    apart_doubled: Option<i128>,
    gaps: VecDeque<Gap>,
    lacking: VecDeque<Lacking>,
}

impl CountedEnergy {
    /// That of a meter whose samples are one curve up to this time between them.
    #[must_use]
    pub fn new(gap_ns_max: i64, most_milliwatt: Option<i64>) -> Self {
        Self {
            gap_ns_max,
            most_milliwatt,
            last: None,
            covered_doubled: 0,
            counted: None,
            apart_doubled: None,
            gaps: VecDeque::new(),
            lacking: VecDeque::new(),
        }
    }

    /// Takes a sample of power, later than all before it.
    pub fn record(&mut self, sample: Sample) {
        let Some(last) = self.last.replace(sample) else {
            return;
        };
        let span = i128::from(sample.instant_ns) - i128::from(last.instant_ns);
        if span <= i128::from(self.gap_ns_max) {
            let both = i128::from(last.power_milliwatt) + i128::from(sample.power_milliwatt);
            self.covered_doubled += both * span;
            return;
        }
        keep(
            &mut self.gaps,
            Gap {
                from_ns: last.instant_ns,
                until_ns: sample.instant_ns,
                power_milliwatt: None,
            },
        );
    }

    /// Takes a reading of the counters. One beside which no power is known says nothing of where a gap ends.
    pub fn count(&mut self, count: Count) {
        let Some(last) = self.last else { return };
        let apart = i128::from(count.instant_ns) - i128::from(last.instant_ns);
        if apart.abs() > i128::from(self.gap_ns_max) {
            return;
        }
        // The power holds from the last sample until then.
        let covered = self.covered_doubled + 2 * i128::from(last.power_milliwatt) * apart;
        let before = self.counted.replace((count, covered));
        let Some((before, covered_before)) = before else {
            return self.forget_open();
        };
        let Some(counted) = count.since(&before) else {
            self.apart_doubled = None;
            return self.forget_open();
        };
        let flowed = counted * DOUBLED_PER_MWH - (covered - covered_before);
        let open = self.gaps.iter().filter(|gap| gap.power_milliwatt.is_none());
        let open_ns: i128 = open
            .map(|gap| i128::from(gap.until_ns) - i128::from(gap.from_ns))
            .sum();
        if open_ns == 0 {
            // Until it has moved once, nobody knows how coarse it is.
            if counted != 0 || self.apart_doubled.is_some() {
                let most = self.apart_doubled.unwrap_or(0);
                self.apart_doubled = Some(most.max(flowed.abs()));
            }
            return;
        }
        let power = flowed.div_euclid(2 * open_ns);
        let is_fine = (self.apart_doubled).is_some_and(|it| it * APART_PART <= flowed.abs());
        let most = self.most_milliwatt.map(|most| i128::from(most).abs());
        if !is_fine || most.is_some_and(|most| power.abs() > most) {
            return self.forget_open();
        }
        for gap in &mut self.gaps {
            gap.power_milliwatt.get_or_insert(power);
        }
    }

    /// What flowed in these gaps nobody will know.
    fn forget_open(&mut self) {
        self.gaps.retain(|gap| gap.power_milliwatt.is_some());
    }

    /// An interval that is over lacks these times; samples cover the rest of it with `covered_doubled` mW ns, twice.
    pub(super) fn lacks(
        &mut self,
        interval: Interval,
        covered_doubled: i128,
        open: Vec<(i64, i64)>,
    ) {
        keep(
            &mut self.lacking,
            Lacking {
                interval,
                covered_doubled,
                open,
            },
        );
    }

    /// The oldest interval whose gaps are all known by now, and its energy; it is told once.
    pub fn found(&mut self) -> Option<(Interval, Mwh)> {
        let gaps = &self.gaps;
        let energy = |lacking: &Lacking| lacking.energy(gaps);
        let (at, energy) = (self.lacking.iter().enumerate())
            .find_map(|(at, lacking)| Some((at, energy(lacking)?)))?;
        let found = self.lacking.remove(at)?;
        Some((found.interval, energy))
    }
}

impl Lacking {
    /// Its energy, once the power in all that it lacks is known.
    fn energy(&self, gaps: &VecDeque<Gap>) -> Option<Mwh> {
        let mut doubled = self.covered_doubled;
        for (from, until) in &self.open {
            let around = |gap: &&Gap| gap.from_ns <= *from && *until <= gap.until_ns;
            let power = gaps.iter().find(around)?.power_milliwatt?;
            doubled += 2 * power * (i128::from(*until) - i128::from(*from));
        }
        i64::try_from(doubled.div_euclid(DOUBLED_PER_MWH))
            .ok()
            .map(Mwh)
    }
}

/// Keeps one more, and lets the oldest go when there are too many.
fn keep<T>(all: &mut VecDeque<T>, one: T) {
    if all.len() >= KEPT {
        all.pop_front();
    }
    all.push_back(one);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;
    /// A milliwatt-hour in joules.
    const JOULES: f64 = 3.6;

    /// A meter in whose intervals of ten seconds the power at a second is `power` watts, and that says nothing where
    /// `is_silent`; its counter is read every `poll` seconds, in steps of `step` milliwatt-hours. What is found of
    /// which interval, and at which second.
    fn check(
        power: fn(i64) -> i64,
        is_silent: impl Fn(i64) -> bool,
        (poll, step): (i64, i64),
        expected: &[(u64, i64, i64)],
    ) {
        let rules = super::super::MeterRules {
            gap_ns_max: 3 * SECOND_NS,
            valid_ppm: 950_000,
            estimated_ppm: 500_000,
        };
        let mut meter = super::super::EnergyMeter::new(rules).unwrap();
        let mut counted = CountedEnergy::new(rules.gap_ns_max, Some(20_000_000));
        let (mut given_j, mut taken_j) = (0.0, 0.0);
        let mut found = Vec::new();
        for second in 0..80 {
            let now = power(second);
            if !is_silent(second) {
                let sample = Sample {
                    instant_ns: second * SECOND_NS,
                    power_milliwatt: now * 1_000,
                };
                meter.record(sample).unwrap();
                counted.record(sample);
                if second % poll == 0 {
                    let stepped = |joules: f64| Some(Mwh((joules / JOULES) as i64 / step * step));
                    counted.count(Count {
                        instant_ns: second * SECOND_NS,
                        withdrawn: stepped(taken_j),
                        injected: stepped(given_j),
                    });
                }
            }
            // What flows until the next second, as a trapezoid.
            let joules = (now + power(second + 1)) as f64 / 2.0;
            *(if joules > 0.0 {
                &mut given_j
            } else {
                &mut taken_j
            }) += joules.abs();
            if second % 10 == 1 && second > 10 {
                let index = second / 10 - 1;
                let interval = Interval::new(index as u64, index * 10 * SECOND_NS, 10 * SECOND_NS);
                meter.close_with(&interval.unwrap(), Some(&mut counted));
            }
            while let Some((interval, energy)) = counted.found() {
                found.push((interval.index, energy.0, second));
            }
        }
        let is_near = |(one, other): (&(u64, i64, i64), &(u64, i64, i64))| {
            (one.0, one.2) == (other.0, other.2) && (one.1 - other.1).abs() <= step.max(3)
        };
        assert!(
            found.len() == expected.len() && found.iter().zip(expected).all(is_near),
            "{found:?}, not {expected:?}"
        );
    }

    #[test]
    fn a_counter_says_what_flowed_while_nobody_heard_the_meter() {
        let steady = |_| 3_600;
        // In ten seconds 3.6 kW are 10000 mWh.
        check(steady, |_| false, (1, 1), &[]);
        // A gap within an interval, before it is settled.
        check(
            steady,
            |s| (22..28).contains(&s),
            (1, 1),
            &[(2, 10_000, 31)],
        );
        // Over three intervals: known when the counter is read next.
        let away = |s: i64| (25..44).contains(&s);
        let whole = [(2, 10_000, 44), (3, 10_000, 44), (4, 10_000, 51)];
        check(steady, away, (1, 1), &whole);
        let later = [(2, 10_000, 60), (3, 10_000, 60), (4, 10_000, 60)];
        check(steady, away, (20, 1), &later);
        // Out of the bus, the same.
        let taken = whole.map(|(index, energy, at)| (index, -energy, at));
        check(|_| -3_600, away, (1, 1), &taken);
    }

    #[test]
    fn what_flowed_in_a_gap_is_what_the_counter_says_and_not_what_its_ends_suggest() {
        // Twice as much from 26 to 40 s; samples end at 24 s and begin again at 44.
        let jumps = |s| if (26..40).contains(&s) { 7_200 } else { 3_600 };
        let away = |s: i64| (25..44).contains(&s);
        // In the gap 14 s of 1000 mWh each more (with half of a second at either end) spread over 20 s: 1700 mWh/s.
        let expected = [
            (2, 4_000 + 6 * 1_700, 44),
            (3, 17_000, 44),
            (4, 4 * 1_700 + 6_000, 51),
        ];
        check(jumps, away, (1, 1), &expected);
    }

    #[test]
    fn a_counter_that_is_too_coarse_or_that_began_again_says_nothing() {
        let away = |s: i64| (25..44).contains(&s);
        // 20 s are 20000 mWh, a twentieth of that is 1000; in steps of 2000 and more it is further from the samples.
        let found = [(2, 10_000, 44), (3, 10_000, 44), (4, 10_000, 51)];
        check(|_| 3_600, away, (1, 700), &found);
        check(|_| 3_600, away, (1, 3_000), &[]);
        let mut counted = CountedEnergy::new(3 * SECOND_NS, None);
        let mut read = |second: i64, energy: i64| {
            counted.record(Sample {
                instant_ns: second * SECOND_NS,
                power_milliwatt: 3_600_000,
            });
            counted.count(Count {
                instant_ns: second * SECOND_NS,
                withdrawn: None,
                injected: Some(Mwh(energy)),
            });
            counted
                .gaps
                .iter()
                .filter_map(|gap| gap.power_milliwatt)
                .next_back()
        };
        assert_eq!(read(0, 50_000), None);
        assert_eq!(read(1, 51_000), None);
        assert_eq!(read(40, 0), None, "it began again");
        assert_eq!(read(41, 1_000), None);
        assert_eq!(
            read(81, 41_000),
            Some(3_600_000),
            "and is a counter from then on"
        );
    }

    #[test]
    fn a_counter_that_is_read_where_no_power_is_known_waits_for_it() {
        let mut counted = CountedEnergy::new(3 * SECOND_NS, None);
        let power = |second: i64| Sample {
            instant_ns: second * SECOND_NS,
            power_milliwatt: 3_600_000,
        };
        // Twice the power from 2 s to 42 s, and a reading of the counter amid it.
        let reads = [
            (0, 0, true),
            (1, 1_000, true),
            (2, 2_000, true),
            (20, 38_000, false),
            (42, 82_000, true),
        ];
        for (second, energy, is_heard) in reads {
            if is_heard {
                counted.record(power(second));
            }
            counted.count(Count {
                instant_ns: second * SECOND_NS,
                withdrawn: None,
                injected: Some(Mwh(energy)),
            });
        }
        let known: Vec<_> = counted.gaps.iter().map(|gap| gap.power_milliwatt).collect();
        assert_eq!(known, [Some(7_200_000)]);
    }

    #[test]
    fn what_its_device_cannot_do_is_no_counter_of_it() {
        let mut counted = CountedEnergy::new(3 * SECOND_NS, Some(5_000_000));
        for (second, energy) in [(0, 0), (1, 1_000), (41, 1_000_000)] {
            counted.record(Sample {
                instant_ns: second * SECOND_NS,
                power_milliwatt: 3_600_000,
            });
            counted.count(Count {
                instant_ns: second * SECOND_NS,
                withdrawn: None,
                injected: Some(Mwh(energy)),
            });
        }
        assert!(counted.gaps.is_empty(), "{:?}", counted.gaps);
    }
}
