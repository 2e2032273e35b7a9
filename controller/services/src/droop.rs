//! Power that answers frequency: droop around nominal, and reduction above a threshold.

use quantities::{ActivePower, Bounds, Frequency};
use serde::{Deserialize, Serialize};

/// Proportional answer of active power to frequency.
///
/// Beyond the deadband, a deviation of `droop * nominal` moves the power by
/// `p_max`; it is held there. Under-frequency gives positive power (into the bus).
///
/// ```
/// use quantities::{ActivePower, Frequency};
/// use services::Droop;
/// let droop = Droop {
///     nominal: Frequency::from_hertz(50.0),
///     deadband: Frequency::ZERO,
///     droop: 0.04,
///     p_max: ActivePower::from_kilowatts(100.0),
/// };
/// let p = droop.power(Frequency::from_hertz(48.8));
/// assert!((p.as_kilowatts() - 60.0).abs() < 1e-9);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Droop {
    /// Nominal frequency.
    pub nominal: Frequency,
    /// Deviation from nominal in which it stays silent, to each side.
    pub deadband: Frequency,
    /// Deviation beyond the deadband, per unit of nominal, at which it gives `p_max`.
    pub droop: f64,
    /// Power at full answer, to each side; the rating.
    pub p_max: ActivePower,
}

impl Droop {
    /// The settled power at a frequency; NaN gives no answer (zero).
    #[must_use]
    pub fn power(&self, f: Frequency) -> ActivePower {
        let deviation = (self.nominal - f).as_hertz();
        let deadband = self.deadband.as_hertz();
        let beyond = if deviation > deadband {
            deviation - deadband
        } else if deviation < -deadband {
            deviation + deadband
        } else {
            return ActivePower::ZERO;
        };
        let full = self.droop * self.nominal.as_hertz();
        let fraction = if full > 0.0 {
            (beyond / full).clamp(-1.0, 1.0)
        } else {
            beyond.signum()
        };
        self.p_max * fraction
    }

    /// The frequencies between which the answer is not yet full.
    #[must_use]
    pub fn proportional_band(&self) -> Bounds<Frequency> {
        let reach = self.deadband + self.nominal * self.droop;
        Bounds::between(self.nominal - reach, self.nominal + reach)
    }
}

/// A generator's own reduction of active power at over-frequency, relative to the
/// power it gave when the threshold was crossed.
//= ENTSO-E network code RfG, article 13(2): limited frequency sensitive mode at over-frequency.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reduction {
    /// Nominal frequency.
    pub nominal: Frequency,
    /// Frequency above which power is reduced.
    pub threshold: Frequency,
    /// Deviation above the threshold, per unit of nominal, at which nothing is left.
    pub droop: f64,
}

impl Reduction {
    /// The fraction of the reference power that may still be given, 0 to 1.
    #[must_use]
    pub fn remaining(&self, f: Frequency) -> f64 {
        let above = (f - self.threshold).as_hertz();
        if above > 0.0 {
            (1.0 - above / (self.nominal.as_hertz() * self.droop)).max(0.0)
        } else {
            1.0
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hertz(f: f64) -> Frequency {
        Frequency::from_hertz(f)
    }

    fn check(droop: Droop, rows: &[(f64, f64)]) {
        for &(f, kw) in rows {
            let got = droop.power(hertz(f)).as_kilowatts();
            assert!((got - kw).abs() < 1e-4, "{f} Hz: {got} kW, not {kw}");
        }
    }

    #[test]
    fn two_units_share_90_kilowatts_at_48_80_and_at_49_10_hertz() {
        let unit = |kva, droop| Droop {
            nominal: hertz(50.0),
            deadband: Frequency::ZERO,
            droop,
            p_max: ActivePower::from_kilowatts(kva),
        };
        check(unit(100.0, 0.04), &[(48.80, 60.0), (49.10, 45.0)]);
        check(unit(50.0, 0.04), &[(48.80, 30.0)]);
        check(unit(50.0, 0.02), &[(49.10, 45.0)]);
    }

    #[test]
    fn storage_droop_of_ieee_1547_meets_its_reference_points() {
        let droop = Droop {
            nominal: hertz(60.0),
            deadband: hertz(0.036),
            droop: 0.05,
            p_max: ActivePower::from_kilowatts(1.0),
        };
        check(
            droop,
            &[
                (59.0, 0.3213),
                (60.5, -0.1547),
                (61.0, -0.3213),
                (59.97, 0.0),
                (60.03, 0.0),
                (50.0, 1.0),
                (70.0, -1.0),
            ],
        );
    }

    #[test]
    fn an_unknown_frequency_is_not_answered() {
        let droop = Droop {
            nominal: hertz(50.0),
            deadband: Frequency::ZERO,
            droop: 0.04,
            p_max: ActivePower::from_kilowatts(1.0),
        };
        assert_eq!(droop.power(hertz(f64::NAN)), ActivePower::ZERO);
        let band = droop.proportional_band();
        assert_eq!((band.lower(), band.upper()), (hertz(48.0), hertz(52.0)));
    }

    #[test]
    fn over_frequency_reduction_meets_its_reference_points() {
        let reduction = Reduction {
            nominal: hertz(50.0),
            threshold: hertz(50.2),
            droop: 0.05,
        };
        for (f, change) in [
            (50.0, 0.0),
            (50.2, 0.0),
            (50.3, -0.04),
            (50.5, -0.12),
            (51.0, -0.32),
            (51.5, -0.52),
            (60.0, -1.0),
        ] {
            assert!(
                (reduction.remaining(hertz(f)) - 1.0 - change).abs() < 1e-9,
                "{f}"
            );
        }
    }

    proptest! {
        #[test]
        fn droop_opposes_the_deviation_and_never_exceeds_its_rating(
            f in 40.0..70.0_f64, nominal in prop::sample::select(vec![50.0, 60.0]),
            deadband in 0.0..0.5_f64, slope in 0.0..0.1_f64, kw in 0.0..100.0_f64,
        ) {
            let droop = Droop {
                nominal: hertz(nominal),
                deadband: hertz(deadband),
                droop: slope,
                p_max: ActivePower::from_kilowatts(kw),
            };
            let p = droop.power(hertz(f)).as_kilowatts();
            prop_assert!(p.abs() <= kw + 1e-9);
            prop_assert!(p * (nominal - f) >= 0.0, "{p} at {f}");
        }
    }
}
