//! The voltage at the device's terminals: one number, or one for each phase.
//!
//! Functions look at the average, protection at the worst: the lowest and the highest of all line to
//! neutral and line to line voltages. Phases stand 120 degrees apart unless it is said that one is turned.

/// Voltages per unit of nominal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Volts {
    /// The same on every phase, or the only one.
    Balanced(f64),
    /// Line to neutral.
    Phases([f64; 3]),
    /// Line to neutral, each phase turned forward from its place.
    Turned {
        /// Line to neutral.
        phases: [f64; 3],
        /// By how many degrees each is turned.
        degrees: [f64; 3],
    },
}

impl Volts {
    /// What functions follow.
    #[must_use]
    pub fn average(self) -> f64 {
        match self {
            Self::Balanced(v) => v,
            Self::Phases([a, b, c])
            | Self::Turned {
                phases: [a, b, c], ..
            } => (a + b + c) / 3.0,
        }
    }

    /// The lowest, which under-voltage protection looks at.
    #[must_use]
    pub fn low(self) -> f64 {
        match self {
            Self::Balanced(v) => v,
            Self::Phases(phases) => of_all(phases, [0.0; 3], f64::min),
            Self::Turned { phases, degrees } => of_all(phases, degrees, f64::min),
        }
    }

    /// The highest, which over-voltage protection looks at.
    #[must_use]
    pub fn high(self) -> f64 {
        match self {
            Self::Balanced(v) => v,
            Self::Phases(phases) => of_all(phases, [0.0; 3], f64::max),
            Self::Turned { phases, degrees } => of_all(phases, degrees, f64::max),
        }
    }

    /// By how many degrees the positive sequence is turned forward: what a device takes for the angle.
    #[must_use]
    pub fn turned_deg(self) -> f64 {
        let Self::Turned { phases, degrees } = self else {
            return 0.0;
        };
        let sum = |part: fn(f64) -> f64| -> f64 {
            let parts = phases.iter().zip(degrees);
            parts.map(|(v, turned)| v * part(turned.to_radians())).sum()
        };
        sum(f64::sin).atan2(sum(f64::cos)).to_degrees()
    }
}

fn of_all([a, b, c]: [f64; 3], [a_deg, b_deg, c_deg]: [f64; 3], worse: fn(f64, f64) -> f64) -> f64 {
    // By the law of cosines, per unit of the nominal line to line voltage.
    let line = |a: f64, b: f64, turned_deg: f64| {
        let between = (120.0 + turned_deg).to_radians();
        ((a * a + b * b - 2.0 * a * b * between.cos()) / 3.0)
            .max(0.0)
            .sqrt()
    };
    let lines = [
        line(a, b, a_deg - b_deg),
        line(b, c, b_deg - c_deg),
        line(c, a, c_deg - a_deg),
    ];
    [b, c].into_iter().chain(lines).fold(a, worse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(volts: Volts, low: f64, average: f64, high: f64) {
        for (found, expected) in [
            (volts.low(), low),
            (volts.average(), average),
            (volts.high(), high),
        ] {
            assert!((found - expected).abs() < 1e-9, "{volts:?}: {found}");
        }
    }

    #[test]
    fn functions_look_at_the_average_and_protection_at_the_worst() {
        check(Volts::Balanced(0.97), 0.97, 0.97, 0.97);
        check(Volts::Phases([1.02; 3]), 1.02, 1.02, 1.02);
        check(Volts::Phases([1.07, 0.91, 0.91]), 0.91, 2.89 / 3.0, 1.07);
        // Two phases that are gone pull down the line between them further than to the third.
        check(Volts::Phases([1.0, 0.0, 0.0]), 0.0, 1.0 / 3.0, 1.0);
        // A phase turned by 60 degrees stands opposite one of the others and near the other one.
        let turned = Volts::Turned {
            phases: [1.0; 3],
            degrees: [60.0, 0.0, 0.0],
        };
        let third = 3.0_f64.sqrt().recip();
        check(turned, third, 1.0, 2.0 * third);
    }

    #[test]
    fn the_positive_sequence_turns_by_a_third_of_what_one_phase_does_and_with_all_three() {
        for (degrees, expected, near) in [
            ([20.0; 3], 20.0, 1e-9),
            ([3.0, 0.0, 0.0], 1.0, 1e-2),
            ([60.0, 0.0, 0.0], 19.106_605, 1e-6),
        ] {
            let turned = Volts::Turned {
                phases: [1.0; 3],
                degrees,
            };
            let found = turned.turned_deg();
            assert!((found - expected).abs() < near, "{degrees:?}: {found}");
        }
        assert_eq!(Volts::Phases([1.0, 0.9, 0.8]).turned_deg(), 0.0);
    }
}
