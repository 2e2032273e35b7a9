//! What a device does for the grid by itself: reactive power of voltage or active power, and
//! active power of frequency.
//!
//! One evaluator serves IEEE 1547, EN 50549 and market services: they differ in points and in
//! nominal values, not in shape. Axes are per unit of what their owner says.

use quantities::Frequency;

use crate::Curve;

/// Where reactive power comes from; per unit, positive = into the bus.
#[derive(Clone, Debug, PartialEq)]
pub enum Reactive {
    /// Of the voltage.
    VoltVar(Curve),
    /// Of the active power.
    WattVar(Curve),
    /// In a fixed proportion to the active power, whose sign it shares or opposes.
    PowerFactor {
        /// Reactive per active power.
        q_per_p: f64,
    },
    /// Always the same.
    Constant(f64),
}

impl Reactive {
    /// A constant power factor; `None` when it is none.
    ///
    /// ```
    /// use services::Reactive;
    /// let absorbing = Reactive::power_factor(0.9, true).unwrap();
    /// assert!((absorbing.q(1.0, 0.5) + 0.2422).abs() < 1e-4);
    /// assert_eq!(Reactive::power_factor(0.0, true), None);
    /// ```
    #[must_use]
    pub fn power_factor(pf: f64, absorbs: bool) -> Option<Self> {
        if !(pf > 0.0 && pf <= 1.0) {
            return None;
        }
        let q_per_p = (1.0 - pf * pf).sqrt() / pf;
        Some(Self::PowerFactor {
            q_per_p: if absorbs { -q_per_p } else { q_per_p },
        })
    }

    /// The settled reactive power at a voltage and an active power.
    #[must_use]
    pub fn q(&self, v_pu: f64, p_pu: f64) -> f64 {
        match self {
            Self::VoltVar(curve) => curve.value(v_pu),
            Self::WattVar(curve) => curve.value(p_pu),
            Self::PowerFactor { q_per_p } => q_per_p * p_pu,
            Self::Constant(q) => *q,
        }
    }
}

/// On which side of nominal a frequency lies, beyond the dead band.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Above.
    Over,
    /// Below.
    Under,
}

/// Change of active power with frequency, counted from the power before the event.
///
/// Other than [`crate::Droop`], each side has its own dead band and droop, and nothing is
/// clipped: the device knows its own limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrequencyWatt {
    /// Nominal frequency.
    pub nominal: Frequency,
    /// Dead band above nominal.
    pub deadband_over: Frequency,
    /// Dead band below nominal.
    pub deadband_under: Frequency,
    /// Change of frequency per change of power above nominal, both in per unit.
    pub droop_over: f64,
    /// The same below nominal.
    pub droop_under: f64,
}

impl FrequencyWatt {
    /// On which side the frequency has left the dead band; an unknown one has not.
    #[must_use]
    pub fn side(self, f: Frequency) -> Option<Side> {
        if f > self.nominal + self.deadband_over {
            Some(Side::Over)
        } else if f < self.nominal - self.deadband_under {
            Some(Side::Under)
        } else {
            None
        }
    }

    /// The change of power, per unit, positive = more into the bus; zero inside the dead band.
    #[must_use]
    pub fn change(self, f: Frequency) -> f64 {
        let (nominal, f) = (self.nominal.as_hertz(), f.as_hertz());
        let over = f - (nominal + self.deadband_over.as_hertz());
        let under = (nominal - self.deadband_under.as_hertz()) - f;
        if over > 0.0 {
            -over / (nominal * self.droop_over)
        } else if under > 0.0 {
            under / (nominal * self.droop_under)
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hertz(f: f64) -> Frequency {
        Frequency::from_hertz(f)
    }

    fn check(droop: FrequencyWatt, rows: &[(f64, f64)]) {
        for &(f, change) in rows {
            let got = droop.change(hertz(f));
            assert!((got - change).abs() < 5e-5, "{f} Hz: {got}, not {change}");
            assert_eq!(droop.side(hertz(f)).is_some(), change != 0.0, "{f}");
        }
    }

    #[test]
    fn droop_from_the_power_before_meets_its_reference_points() {
        // The golden points start at half of the rating.
        check(
            FrequencyWatt {
                nominal: hertz(60.0),
                deadband_over: hertz(0.036),
                deadband_under: hertz(0.036),
                droop_over: 0.05,
                droop_under: 0.05,
            },
            &[
                (58.6, 0.4547),
                (59.36, 0.2013),
                (59.9, 0.0213),
                (59.964, 0.0),
                (60.0, 0.0),
                (60.036, 0.0),
                (60.33, -0.0980),
                (61.2, -0.3880),
            ],
        );
    }

    #[test]
    fn each_side_has_its_own_deadband_and_droop() {
        check(
            FrequencyWatt {
                nominal: hertz(50.0),
                deadband_over: hertz(0.2),
                deadband_under: hertz(0.5),
                droop_over: 0.02,
                droop_under: 0.04,
            },
            &[(50.7, -0.5), (50.2, 0.0), (49.6, 0.0), (49.0, 0.25)],
        );
    }

    #[test]
    fn an_unknown_frequency_changes_nothing() {
        let droop = FrequencyWatt {
            nominal: hertz(50.0),
            deadband_over: Frequency::ZERO,
            deadband_under: Frequency::ZERO,
            droop_over: 0.05,
            droop_under: 0.05,
        };
        assert_eq!(droop.side(hertz(f64::NAN)), None);
        assert_eq!(droop.change(hertz(f64::NAN)), 0.0);
    }

    #[test]
    fn each_kind_of_reactive_power_meets_its_reference_points() {
        let curve = |points: &[(f64, f64)]| Curve::new(points.to_vec()).expect("a curve");
        let rows = [
            (
                Reactive::VoltVar(curve(&[
                    (0.92, 0.44),
                    (0.98, 0.0),
                    (1.02, 0.0),
                    (1.08, -0.44),
                ])),
                (0.95, 0.5),
                0.22,
            ),
            (
                Reactive::WattVar(curve(&[(0.2, 0.0), (0.5, 0.0), (1.0, -0.44)])),
                (1.0, 0.75),
                -0.22,
            ),
            (
                Reactive::power_factor(0.9, false).expect("a power factor"),
                (1.0, 0.5),
                0.2422,
            ),
            (Reactive::Constant(-0.3), (1.1, 0.0), -0.3),
        ];
        for (kind, (v, p), q) in rows {
            assert!((kind.q(v, p) - q).abs() < 5e-5, "{kind:?}");
        }
        assert_eq!(Reactive::power_factor(1.1, false), None);
    }
}
