use super::*;
use proptest::prelude::*;

const SECOND_NS: i64 = 1_000_000_000;
const MINUTE_NS: i64 = 60 * SECOND_NS;

const RULES: MeterRules = MeterRules {
    gap_ns_max: 2 * SECOND_NS,
    valid_ppm: 990_000,
    estimated_ppm: 500_000,
};

fn minute(index: u64) -> Interval {
    Interval::new(index, index as i64 * MINUTE_NS, MINUTE_NS).unwrap()
}

fn fresh(samples: impl IntoIterator<Item = (i64, i64)>) -> EnergyMeter {
    let mut meter = EnergyMeter::new(RULES).unwrap();
    for (second, power_milliwatt) in samples {
        meter
            .record(Sample {
                instant_ns: second * SECOND_NS,
                power_milliwatt,
            })
            .unwrap();
    }
    meter
}

/// The reading of the first minute.
fn check(samples: impl IntoIterator<Item = (i64, i64)>, expected: Reading) {
    assert_eq!(fresh(samples).close(&minute(0)), expected);
}

#[test]
fn a_constant_power_reads_as_power_times_time() {
    // 1 kW over a minute is 16 666.67 mWh.
    check(
        (0..=60).map(|s| (s, 1_000_000)),
        Reading::Valid {
            energy: Mwh(16_666),
        },
    );
    check(
        (0..=60).map(|s| (s, -6_000)),
        Reading::Valid { energy: Mwh(-100) },
    );
}

#[test]
fn a_ramp_reads_as_its_average() {
    check(
        (0..=60).map(|s| (s, s * 1_000)),
        Reading::Valid { energy: Mwh(500) },
    );
}

#[test]
fn the_remainder_below_a_milliwatt_hour_is_carried_not_dropped() {
    // 100 mW over a minute is 1 2/3 mWh: 1, 2, 2 and then again.
    let mut meter = fresh((0..=361).map(|s| (s, 100)));
    let readings: Vec<_> = (0..6)
        .map(|i| meter.close(&minute(i)).energy().unwrap().0)
        .collect();
    assert_eq!(readings, [1, 2, 2, 1, 2, 2]);
}

#[test]
fn a_gap_is_bridged_and_flagged_and_too_many_gaps_are_missing() {
    let without = |from, to| {
        (0..=60)
            .filter(move |s| !(from..to).contains(s))
            .map(|s| (s, 60_000))
    };
    let estimated = |coverage_ppm| Reading::Estimated {
        energy: Mwh(1_000),
        coverage_ppm,
    };
    check(without(10, 11), Reading::Valid { energy: Mwh(1_000) });
    check(without(10, 15), estimated(900_000));
    check(without(10, 39), estimated(500_000));
    check(
        without(10, 40),
        Reading::Missing {
            coverage_ppm: 483_333,
        },
    );
    // At the edges the nearest sample is held.
    check(without(0, 6), estimated(900_000));
    check(without(51, 61), estimated(833_333));
    check(without(0, 2), Reading::Valid { energy: Mwh(1_000) });
}

#[test]
fn a_meter_that_fell_silent_is_missing_whatever_it_said_before() {
    check([], Reading::Missing { coverage_ppm: 0 });
    let mut meter = fresh((0..=60).map(|s| (s, 60_000)));
    assert_eq!(meter.close(&minute(0)).quality(), Quality::Valid);
    assert_eq!(
        meter.close(&minute(1)),
        Reading::Missing { coverage_ppm: 0 }
    );
    assert_eq!(
        meter.close(&minute(2)),
        Reading::Missing { coverage_ppm: 0 }
    );
    // A short interval long after the last sample is no better covered.
    let late = Interval::new(9, 9 * MINUTE_NS, SECOND_NS).unwrap();
    assert_eq!(meter.close(&late), Reading::Missing { coverage_ppm: 0 });
}

#[test]
fn a_missing_interval_leaves_the_carry_for_the_next() {
    let mut meter = fresh((0..=60).chain(120..=180).map(|s| (s, 100)));
    // The long gap lies within the second minute.
    assert_eq!(meter.close(&minute(0)).energy(), Some(Mwh(1)));
    assert_eq!(meter.close(&minute(1)).quality(), Quality::Missing);
    assert_eq!(meter.close(&minute(2)).energy(), Some(Mwh(2)));
}

#[test]
fn energy_so_far_holds_the_last_sample() {
    let meter = fresh([(0, 1_000), (10, 3_000)]);
    let so_far = |second: i64| meter.so_far(&minute(0), second * SECOND_NS).map(|e| e.0);
    for (second, milliwatt_seconds) in [(-5, 0), (0, 0), (5, 7_500), (10, 20_000), (20, 50_000)] {
        assert_eq!(
            so_far(second),
            Some(milliwatt_seconds * i128::from(SECOND_NS)),
            "{second} s"
        );
    }
    assert_eq!(so_far(60), so_far(600));
    // From 0 to 1 mW over 3 s: 2/3 mW·s after 2 s, to the nanosecond.
    let ramp = fresh([(0, 0), (3, 1)]);
    assert_eq!(
        ramp.so_far(&minute(0), 2 * SECOND_NS),
        Some(MilliwattNs(666_666_666))
    );
    assert_eq!(
        EnergyMeter::new(RULES)
            .unwrap()
            .so_far(&minute(0), SECOND_NS),
        None
    );
}

#[test]
fn a_refused_sample_leaves_the_meter_as_it_was() {
    let mut meter = fresh([(1, 5)]);
    let before = meter.clone();
    for (instant_ns, power_milliwatt, code) in [
        (SECOND_NS, 5, "M071"),
        (0, 5, "M071"),
        (2 * SECOND_NS, POWER_MILLIWATT_MAX + 1, "M072"),
        (2 * SECOND_NS, i64::MIN, "M072"),
    ] {
        let refused = meter
            .record(Sample {
                instant_ns,
                power_milliwatt,
            })
            .unwrap_err();
        assert_eq!(refused.code(), code);
        assert_eq!(meter, before);
    }
    let reversed = MeterRules {
        valid_ppm: 1,
        estimated_ppm: 2,
        ..RULES
    };
    assert_eq!(EnergyMeter::new(reversed).unwrap_err().code(), "M070");
}

#[test]
fn samples_almost_all_of_time_apart_integrate_exactly() {
    let mut meter = EnergyMeter::new(RULES).unwrap();
    let power = 234_327_108_744;
    for (instant_ns, power_milliwatt) in [
        (-9_061_425_168_272_132_036, power),
        (7_100_534_685_511_317_823, -power),
    ] {
        meter
            .record(Sample {
                instant_ns,
                power_milliwatt,
            })
            .unwrap();
    }
    let interval = Interval::new(0, 1_611_860_934_265_552_194, 1_988_780_908_879_222_387).unwrap();
    // By Python's integers: power * (1 - 2x/span) integrated over the interval.
    assert_eq!(
        meter.so_far(&interval, interval.end_ns()),
        Some(MilliwattNs(-206_842_649_965_613_261_714_544_930_986))
    );
}

proptest! {
    /// However a stretch is cut into intervals, no energy is lost or made.
    #[test]
    fn readings_of_adjacent_intervals_add_up_to_the_whole(
        steps in prop::collection::vec((1_i64..SECOND_NS, -1_000_000_000_i64..1_000_000_000), 2..80),
        cuts in prop::collection::btree_set(1_i64..1_000_000, 0..8),
    ) {
        let mut meter = EnergyMeter::new(RULES).unwrap();
        let mut instant_ns = 0;
        for (step, power_milliwatt) in steps {
            meter.record(Sample { instant_ns, power_milliwatt }).unwrap();
            instant_ns += step;
        }
        let end = meter.samples.last().unwrap().instant_ns;
        let mut whole = meter.clone();
        let whole_reading = whole.close(&Interval::new(0, 0, end).unwrap());
        let mut edges: Vec<i64> = cuts.into_iter().map(|cut| {
            (i128::from(end) * i128::from(cut) / 1_000_000) as i64
        }).collect();
        edges.push(end);
        edges.dedup();
        let (mut from, mut sum) = (0, 0);
        for to in edges.into_iter().filter(|edge| *edge > 0) {
            let reading = meter.close(&Interval::new(1, from, to - from).unwrap());
            prop_assert_eq!(reading.quality(), Quality::Valid);
            sum += reading.energy().unwrap().0;
            from = to;
        }
        prop_assert_eq!(Some(Mwh(sum)), whole_reading.energy());
        prop_assert_eq!(meter.carry_doubled, whole.carry_doubled);
    }

    /// The whole range of admissible samples integrates without overflow.
    #[test]
    fn no_admissible_sample_overflows(
        instants in prop::collection::btree_set(any::<i64>(), 1..6),
        power in -POWER_MILLIWATT_MAX..=POWER_MILLIWATT_MAX,
        start_ns in any::<i64>(),
        dt_ns in 1..i64::MAX,
    ) {
        let mut meter = EnergyMeter::new(RULES).unwrap();
        for (index, instant_ns) in instants.into_iter().enumerate() {
            let power_milliwatt = if index % 2 == 0 { power } else { -power };
            meter.record(Sample { instant_ns, power_milliwatt }).unwrap();
        }
        if let Ok(interval) = Interval::new(0, start_ns, dt_ns) {
            let _ = meter.so_far(&interval, interval.end_ns());
            let _ = meter.close(&interval);
        }
    }
}

#[test]
fn who_share_a_device_split_its_deviation_by_what_they_committed() {
    for (energy, committed, expected) in [
        // Delivered: each its own.
        (-900, [-600, -300], [-600, -300]),
        // 90 short of 900, by two thirds and one.
        (-810, [-600, -300], [-540, -270]),
        // One buys what the other sells; both count by their size.
        (400, [600, -200], [600, -200]),
        (480, [600, -200], [660, -180]),
        // Nothing was committed: by the shares of 3 to 1.
        (-100, [0, 0], [-75, -25]),
        (-1, [0, 0], [-1, 0]),
    ] {
        let parts = [
            (MwhTotal(committed[0]), 750_000),
            (MwhTotal(committed[1]), 250_000),
        ];
        let reading = Reading::Valid {
            energy: Mwh(energy),
        };
        let found = split(reading, &parts);
        let energies: Vec<i64> = found.iter().map(|r| r.energy().unwrap().0).collect();
        assert_eq!(energies, expected, "{energy} of {committed:?}");
        let estimated = found.iter().all(|r| r.quality() == Quality::Estimated);
        assert!(estimated, "{found:?}");
    }
    let missing = Reading::Missing { coverage_ppm: 7 };
    let parts = [(MwhTotal(5), 500_000), (MwhTotal(5), 500_000)];
    assert_eq!(split(missing, &parts), [missing, missing]);
    let alone = Reading::Valid { energy: Mwh(4) };
    assert_eq!(split(alone, &parts[..1]), [alone]);
}
