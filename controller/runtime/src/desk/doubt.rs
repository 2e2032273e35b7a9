//! A meter of the market that is watched: whether it can be believed as it is.
//!
//! What it says nothing about is settled as it was traded; what it says with gaps, or without ever
//! moving, is an estimate; what cannot be is not counted at all. Each is told when it begins.
//! What a meter with energy counters has not said is asked of these ([`CountedEnergy`]), as soon as they are read again.

use market::meter::{Count, CountedEnergy, EnergyMeter, MeterRules, Reading, Sample};
use market::quantity::{MilliwattNs, PPM, energy_of_power_mwh};
use market::{Interval, Mwh, MwhTotal};

/// Mean power by which what was traded has changed against the interval before, from which a meter
/// that has not moved at all is frozen, in milliwatts.
/// Chosen: 100 W, more than a device has to move to be seen.
const CHANGE_MILLIWATT: i64 = 100_000;
/// Samples of an interval without which nothing can be said about its standing still.
/// Chosen: five, so that a plug that reports every few seconds counts, and a gap does not.
const STILL_SAMPLES_MIN: u32 = 5;

/// What is wrong with a meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It says too little to tell an energy.
    Missing,
    /// It has gaps.
    Gaps,
    /// It has gaps, in which its counter went on.
    Counted,
    /// It says the same number, though its device was to do something else.
    Frozen,
    /// It says what its device cannot do.
    Jumped,
}

impl Doubt {
    /// In a word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Gaps | Self::Counted => "full of gaps",
            Self::Frozen => "frozen",
            Self::Jumped => "jumping",
        }
    }

    /// What is settled.
    pub(super) fn instead(self) -> &'static str {
        match self {
            Self::Missing => "what was traded counts as delivered",
            Self::Gaps => "its gaps are bridged, and the energy is an estimate",
            Self::Counted => "its counter says what flowed in them, and the energy is an estimate",
            Self::Frozen => "its energy counts as an estimate, and somebody has to look",
            Self::Jumped => "what its device cannot do is not counted",
        }
    }
}

/// Age of its last sample beyond which nobody says what a meter has counted so far.
/// Chosen: 3 s, the gap up to which samples are one curve.
const SO_FAR_AGE_MAX_NS: i64 = 3_000_000_000;

/// Time by which readings of both counters may be apart to be one.
/// Chosen: 1 s, far more than the requests of one poll take.
const TOGETHER_NS_MAX: i64 = 1_000_000_000;

/// A counter of one direction.
#[derive(Clone, Copy, Debug)]
struct Direction {
    instant_ns: i64,
    energy: Mwh,
    is_new: bool,
}

/// What the counters of a meter have said last.
#[derive(Debug, Default)]
struct Counters {
    withdrawn: Option<Direction>,
    injected: Option<Direction>,
}

impl Counters {
    /// Takes a reading of one direction; that of all that the meter counts, once each is new.
    fn take(&mut self, is_injected: bool, read: (i64, Mwh), together_ns_max: i64) -> Option<Count> {
        let (instant_ns, energy) = read;
        let own = match is_injected {
            true => &mut self.injected,
            false => &mut self.withdrawn,
        };
        *own = Some(Direction {
            instant_ns,
            energy,
            is_new: true,
        });
        let mut known = self.withdrawn.iter().chain(&self.injected);
        let is_one = known.all(|it| {
            it.is_new && instant_ns.saturating_sub(it.instant_ns).abs() <= together_ns_max
        });
        if !is_one {
            return None;
        }
        for it in self.withdrawn.iter_mut().chain(&mut self.injected) {
            it.is_new = false;
        }
        Some(Count {
            instant_ns,
            withdrawn: self.withdrawn.map(|it| it.energy),
            injected: self.injected.map(|it| it.energy),
        })
    }
}

/// A meter and what was seen of it.
#[derive(Debug)]
pub(super) struct WatchedMeter {
    meter: EnergyMeter,
    counted: CountedEnergy,
    counters: Counters,
    /// Energies of intervals that were settled without them.
    late: Vec<(Interval, Mwh)>,
    /// How much market time is faster than the clock of the bench.
    time_factor: i64,
    /// Magnitude beyond which its device cannot be, in milliwatts.
    most_milliwatt: Option<i64>,
    last: Option<i64>,
    last_ns: Option<i64>,
    /// Samples since the last interval, and whether one differed from the one before it.
    samples: u32,
    has_moved: bool,
    has_jumped: bool,
    /// What was traded in the interval before, and its number, if the meter stood still in it.
    before: Option<(u64, MwhTotal)>,
    /// What was told last.
    doubt: Option<Doubt>,
}

impl WatchedMeter {
    /// A meter of a device that cannot be beyond `most_milliwatt`, whose samples are one curve by these rules.
    pub(super) fn new(
        meter: EnergyMeter,
        rules: &MeterRules,
        most_milliwatt: Option<i64>,
        time_factor: i64,
    ) -> Self {
        Self {
            meter,
            counted: CountedEnergy::new(rules.gap_ns_max, most_milliwatt),
            counters: Counters::default(),
            late: Vec::new(),
            time_factor,
            most_milliwatt,
            last: None,
            last_ns: None,
            samples: 0,
            has_moved: false,
            has_jumped: false,
            before: None,
            doubt: None,
        }
    }

    /// Takes a sample. One that repeats an instant adds nothing; one that cannot be does not count.
    pub(super) fn record(&mut self, sample: Sample) {
        let power = sample.power_milliwatt;
        let most = self.most_milliwatt.map(i64::unsigned_abs);
        if most.is_some_and(|most| power.unsigned_abs() > most) {
            self.has_jumped = true;
            return;
        }
        if self.meter.record(sample).is_ok() {
            self.counted.record(sample);
            self.samples += 1;
            self.has_moved |= self.last != Some(power);
            self.last = Some(power);
            self.last_ns = Some(sample.instant_ns);
        }
    }

    /// Takes what one of its counters says, in watt-hours of the bench.
    pub(super) fn count(&mut self, is_injected: bool, instant_ns: i64, watt_hours: f64) {
        let energy = watt_hours * 1e3 * self.time_factor as f64;
        // Beyond that a 64-bit float has no milliwatt-hours, and no laboratory a terawatt-hour.
        if !(0.0..=1e15).contains(&energy) {
            return;
        }
        let read = (instant_ns, Mwh(energy.round() as i64));
        let together = TOGETHER_NS_MAX.saturating_mul(self.time_factor);
        if let Some(count) = self.counters.take(is_injected, read, together) {
            self.counted.count(count);
        }
    }

    /// Energies of settled intervals that its counter has told since then, each once.
    pub(super) fn told_late(&mut self) -> Vec<(Interval, Mwh)> {
        let mut all = std::mem::take(&mut self.late);
        all.extend(std::iter::from_fn(|| self.counted.found()));
        all
    }

    /// What it has counted of an interval so far; `None` when it has fallen silent.
    /// Its samples come by the clock of the bench, so many times slower than market time.
    pub(super) fn so_far(
        &self,
        interval: &Interval,
        now_ns: i64,
        time_factor: i64,
    ) -> Option<MilliwattNs> {
        let last_ns = self.last_ns?;
        if now_ns.saturating_sub(last_ns) > SO_FAR_AGE_MAX_NS.saturating_mul(time_factor) {
            return None;
        }
        self.meter.so_far(interval, now_ns)
    }

    /// The reading of an interval that is over, in which so much was traded, and a doubt that is new.
    pub(super) fn close(
        &mut self,
        interval: &Interval,
        committed: MwhTotal,
    ) -> (Reading, Option<Doubt>) {
        let reading = self.meter.close_with(interval, Some(&mut self.counted));
        let mut counted = None;
        while let Some((other, energy)) = self.counted.found() {
            match other.index == interval.index {
                true => counted = Some(energy),
                false => self.late.push((other, energy)),
            }
        }
        let reading = match (reading, counted) {
            (
                Reading::Missing { coverage_ppm } | Reading::Estimated { coverage_ppm, .. },
                Some(energy),
            ) => Reading::Estimated {
                energy,
                coverage_ppm,
            },
            _ => reading,
        };
        let is_still = !self.has_moved && self.samples >= STILL_SAMPLES_MIN;
        let least = energy_of_power_mwh(CHANGE_MILLIWATT, interval.dt_ns).unwrap_or(Mwh(i64::MAX));
        let changed = self.before.is_some_and(|(index, before)| {
            let change = (committed - before).0.unsigned_abs();
            index + 1 == interval.index && change >= u128::from(least.0.unsigned_abs())
        });
        // Once it is frozen, only a move says that it is not any more.
        let was_frozen = self.doubt == Some(Doubt::Frozen);
        let is_frozen = is_still && (changed || was_frozen);
        // A forecast follows its meter by an interval, so one that has moved just now counts for nothing.
        self.before = is_still.then_some((interval.index, committed));
        let has_jumped = self.has_jumped;
        (self.samples, self.has_moved, self.has_jumped) = (0, false, false);
        let (reading, doubt) = match reading {
            Reading::Missing { .. } => (reading, Some(Doubt::Missing)),
            _ if has_jumped => (reading, Some(Doubt::Jumped)),
            Reading::Valid { energy } if is_frozen => {
                let estimated = Reading::Estimated {
                    energy,
                    coverage_ppm: PPM,
                };
                (estimated, Some(Doubt::Frozen))
            }
            Reading::Estimated { .. } if counted.is_some() => (reading, Some(Doubt::Counted)),
            Reading::Estimated { .. } => (reading, Some(Doubt::Gaps)),
            Reading::Valid { .. } => (reading, None),
        };
        let before = std::mem::replace(&mut self.doubt, doubt);
        (reading, doubt.filter(|doubt| before != Some(*doubt)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    /// A device of two kilowatts whose meter says one number in each second, `None` nothing, in
    /// intervals of ten seconds.
    fn check(says: impl Fn(i64) -> Option<i64>, expected: &[(&str, Option<Doubt>)]) {
        check_traded(says, |_| 0, expected);
    }

    /// The same, and so many milliwatt-hours are traded in each interval.
    fn check_traded(
        says: impl Fn(i64) -> Option<i64>,
        traded: impl Fn(i64) -> i128,
        expected: &[(&str, Option<Doubt>)],
    ) {
        let rules = MeterRules {
            gap_ns_max: 3 * SECOND_NS,
            valid_ppm: 950_000,
            estimated_ppm: 500_000,
        };
        let meter = EnergyMeter::new(rules).expect("rules");
        let mut watched = WatchedMeter::new(meter, &rules, Some(2_000_000), 1);
        let mut found = Vec::new();
        for index in 0..expected.len() as i64 {
            for second in index * 10..index * 10 + 10 {
                if let Some(power_milliwatt) = says(second) {
                    watched.record(Sample {
                        instant_ns: second * SECOND_NS,
                        power_milliwatt,
                    });
                }
            }
            let interval = Interval::new(index as u64, index * 10 * SECOND_NS, 10 * SECOND_NS);
            let committed = MwhTotal(traded(index));
            let (reading, doubt) = watched.close(&interval.expect("an interval"), committed);
            let quality = match reading {
                Reading::Valid { .. } => "valid",
                Reading::Estimated { .. } => "estimated",
                Reading::Missing { .. } => "missing",
            };
            found.push((quality, doubt));
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn counters_of_both_directions_are_one_reading_when_both_are_new() {
        let mut counters = Counters::default();
        let mut take = |is_injected, ms: i64, energy| {
            let read = (ms * 1_000_000, Mwh(energy));
            let count = counters.take(is_injected, read, SECOND_NS)?;
            Some((
                count.withdrawn.map(|it| it.0),
                count.injected.map(|it| it.0),
            ))
        };
        // Nobody knows yet that there is another one.
        assert_eq!(take(true, 0, 10), Some((None, Some(10))));
        assert_eq!(take(false, 100, 20), None);
        // The next poll.
        assert_eq!(
            take(true, 60_000, 11),
            None,
            "the other one is a minute old"
        );
        assert_eq!(take(false, 60_100, 21), Some((Some(21), Some(11))));
        // A poll that is so fast that both are within a second, and one of them is told already.
        assert_eq!(take(true, 60_600, 12), None);
        assert_eq!(take(false, 60_700, 22), Some((Some(22), Some(12))));
    }

    #[test]
    fn a_meter_is_doubted_once_when_it_begins_to_be_wrong() {
        use Doubt::{Frozen, Gaps, Jumped, Missing};
        let moving = |second: i64| Some(1_000_000 + second % 7);
        check(moving, &[("valid", None), ("valid", None)]);
        // What is to do the same all the time may say the same all the time.
        check(|_| Some(1_500_000), &[("valid", None); 5]);
        // 100 W for ten seconds are 277 mWh: less of a change is none.
        check_traded(
            |_| Some(1_500_000),
            |index| 276 * i128::from(index % 2),
            &[("valid", None); 5],
        );
        check_traded(
            |second| {
                Some(if second < 40 {
                    1_500_000
                } else {
                    500_000 + second
                })
            },
            |index| if index < 2 { 4_000 } else { 0 },
            &[
                ("valid", None),
                ("valid", None),
                ("estimated", Some(Frozen)),
                ("estimated", None),
                ("valid", None),
            ],
        );
        // What is traded follows what was metered, an interval later.
        check_traded(
            |second| Some(if second < 25 { 1_500_000 } else { 500_000 }),
            |index| if index < 3 { 4_000 } else { 0 },
            &[("valid", None); 6],
        );
        // What moves a little has moved.
        check_traded(
            moving,
            |index| 4_000 * i128::from(index),
            &[("valid", None); 4],
        );
        check(
            |second| moving(second).filter(|_| !(12..16).contains(&second)),
            &[("valid", None), ("estimated", Some(Gaps)), ("valid", None)],
        );
        check(
            |second| moving(second).filter(|_| !(10..30).contains(&second)),
            &[
                ("valid", None),
                ("missing", Some(Missing)),
                ("missing", None),
                ("valid", None),
            ],
        );
        // Ten times as much for a moment is not counted, and the energy is whole without it.
        let jumps = |second: i64| {
            Some(if second == 15 {
                20_000_000
            } else {
                1_000_000 + second
            })
        };
        check(
            jumps,
            &[("valid", None), ("valid", Some(Jumped)), ("valid", None)],
        );
        // For good it is, in the end, nothing that could be settled.
        let scaled = |second: i64| {
            Some(if second < 10 {
                1_000_000 + second
            } else {
                20_000_000
            })
        };
        check(
            scaled,
            &[
                ("valid", None),
                ("missing", Some(Missing)),
                ("missing", None),
            ],
        );
    }
}
