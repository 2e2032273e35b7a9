//! The voltage at the device's terminals: one number, or one for each phase.
//!
//! Functions look at the average, protection at the worst: the lowest and the highest of all line to
//! neutral and line to line voltages. Phases are taken for 120 degrees apart.

/// Voltages per unit of nominal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Volts {
    /// The same on every phase, or the only one.
    Balanced(f64),
    /// Line to neutral.
    Phases([f64; 3]),
}

impl Volts {
    /// What functions follow.
    #[must_use]
    pub fn average(self) -> f64 {
        match self {
            Self::Balanced(v) => v,
            Self::Phases([a, b, c]) => (a + b + c) / 3.0,
        }
    }

    /// The lowest, which under-voltage protection looks at.
    #[must_use]
    pub fn low(self) -> f64 {
        match self {
            Self::Balanced(v) => v,
            Self::Phases(phases) => of_all(phases, f64::min),
        }
    }

    /// The highest, which over-voltage protection looks at.
    #[must_use]
    pub fn high(self) -> f64 {
        match self {
            Self::Balanced(v) => v,
            Self::Phases(phases) => of_all(phases, f64::max),
        }
    }
}

fn of_all([a, b, c]: [f64; 3], worse: fn(f64, f64) -> f64) -> f64 {
    // By the law of cosines, per unit of the nominal line to line voltage.
    let line = |a: f64, b: f64| ((a * a + b * b + a * b) / 3.0).sqrt();
    [b, c, line(a, b), line(b, c), line(c, a)]
        .into_iter()
        .fold(a, worse)
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
    }
}
