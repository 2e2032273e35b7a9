//! Ride-through: how long a device must stay at a voltage, and when it gives up its output.
//!
//! Staying and tripping are two things: between what must be ridden through and what must trip, a
//! device may do either. This one stays until its protection trips.

use crate::filter::Timer;
use crate::region::{Edge, Watch};
use crate::settings::{Abnormal, Cease, Energise};
use crate::voltage::Volts;

/// What a category asks of a device at a voltage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Asked {
    /// It stays for ever.
    Continuous,
    /// It stays and gives power for so many seconds.
    Mandatory(f64),
    /// It stays for so many seconds, and may give power or not.
    Permissive(f64),
    /// It stays without giving power for so many seconds.
    Momentary(f64),
    /// It gives no power.
    Cease,
}

/// What a category asks at a voltage per unit, below and above nominal alike.
///
/// As OpenDER 2.2.0 and the tables in `svp_1547.1` at 3517e7f have it.
#[must_use]
pub fn asked(category: Abnormal, v_pu: f64) -> Asked {
    use Abnormal::{I, II, III};
    use Asked::{Cease, Continuous, Mandatory, Momentary, Permissive};
    match (category, v_pu) {
        (_, v) if (0.88..=1.10).contains(&v) => Continuous,
        (_, v) if v > 1.20 => Cease,
        (III, v) if v > 1.10 => Momentary(12.0),
        (I | II, v) if v > 1.175 => Permissive(0.2),
        (I | II, v) if v > 1.15 => Permissive(0.5),
        (I | II, v) if v > 1.10 => Permissive(1.0),
        (I, v) if v >= 0.70 => Mandatory(0.7 + 4.0 * (v - 0.70)),
        (I, v) if v >= 0.50 => Permissive(0.16),
        (II, v) if v >= 0.65 => Mandatory(3.0 + 8.7 * (v - 0.65)),
        (II, v) if v >= 0.45 => Permissive(0.32),
        (II, v) if v >= 0.30 => Permissive(0.16),
        (III, v) if v >= 0.70 => Mandatory(20.0),
        (III, v) if v >= 0.50 => Mandatory(10.0),
        (III, _) => Momentary(1.0),
        _ => Cease,
    }
}

/// Whether the output is given up, and the timers that decide it.
#[derive(Clone, Debug, Default)]
pub struct Cessation {
    energise: Timer,
    momentary: Watch,
    back: Timer,
    ceased: bool,
}

impl Cessation {
    /// Whether the device gives nothing at the end of a step. It comes back when voltage and
    /// frequency are nearer than every threshold.
    pub fn step(&mut self, cease: &Cease, v: Volts, f_hz: f64, dt_s: f64) -> bool {
        let (low, high) = (v.low(), v.high());
        let far = |e: &Energise| low < e.lo_pu || high > e.hi_pu;
        let asked = cease.energise.as_ref().is_some_and(far);
        let after_s = cease.energise.map_or(0.0, |e| e.after_s);
        let place = self
            .momentary
            .step(&cease.momentary, Edge::Inside, v, f_hz, dt_s);
        if self.energise.step(asked, after_s, dt_s) || place.inside.is_some() {
            self.ceased = true;
        }
        if self
            .back
            .step(!asked && !place.beyond, cease.return_s, dt_s)
        {
            self.ceased = false;
        }
        self.ceased
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::{Quantity, Region, Steps};
    use crate::settings::Threshold;

    #[test]
    fn each_category_asks_what_its_table_says() {
        use Abnormal::{I, II, III};
        use Asked::{Cease, Continuous, Mandatory, Momentary, Permissive};
        let rows = [
            (I, 1.0, Continuous),
            (I, 0.88, Continuous),
            (II, 1.10, Continuous),
            (I, 0.80, Mandatory(1.1)),
            (I, 0.70, Mandatory(0.7)),
            (I, 0.60, Permissive(0.16)),
            (I, 0.45, Cease),
            (II, 0.88 - 1e-9, Mandatory(5.001)),
            (II, 0.65, Mandatory(3.0)),
            (II, 0.50, Permissive(0.32)),
            (II, 0.35, Permissive(0.16)),
            (II, 0.29, Cease),
            (I, 1.18, Permissive(0.2)),
            (II, 1.16, Permissive(0.5)),
            (II, 1.12, Permissive(1.0)),
            (II, 1.21, Cease),
            (III, 0.75, Mandatory(20.0)),
            (III, 0.60, Mandatory(10.0)),
            (III, 0.40, Momentary(1.0)),
            (III, 1.18, Momentary(12.0)),
            (III, 1.21, Cease),
        ];
        for (category, v, expected) in rows {
            let found = asked(category, v);
            let near = match (found, expected) {
                (Mandatory(a), Mandatory(b)) => (a - b).abs() < 1e-6,
                _ => found == expected,
            };
            assert!(near, "{category:?} at {v}: {found:?}");
        }
    }

    #[test]
    fn momentary_cessation_comes_and_goes_at_once_and_ceasing_takes_its_time() {
        let mut region = Region::default();
        for (quantity, at) in [(Quantity::LowVoltage, 0.5), (Quantity::HighVoltage, 1.1)] {
            let step = Threshold {
                at,
                clearing_s: 0.0,
            };
            region.put(quantity, Steps::new(&[step], quantity).expect("one step"));
        }
        let momentary = Cease {
            energise: None,
            momentary: region,
            return_s: 0.1,
        };
        let energise = Cease {
            energise: Some(Energise {
                lo_pu: 0.3,
                hi_pu: 1.2,
                after_s: 0.1,
            }),
            momentary: Region::default(),
            return_s: 0.0,
        };
        let check = |cease: &Cease, rows: &[(f64, bool)]| {
            let mut cessation = Cessation::default();
            for (n, (v, expected)) in rows.iter().enumerate() {
                let found = cessation.step(cease, Volts::Balanced(*v), 60.0, 0.05);
                assert_eq!(found, *expected, "{cease:?}, step {n}, {v}");
            }
        };
        check(
            &momentary,
            &[
                (1.0, false),
                (0.5, true),
                (0.6, true),
                (0.6, false),
                (1.1, false),
                (1.11, true),
            ],
        );
        check(
            &energise,
            &[
                (0.29, false),
                (0.29, true),
                (0.3, false),
                (1.2, false),
                (1.21, false),
                (1.21, true),
            ],
        );
    }
}
