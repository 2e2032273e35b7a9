//! Regions of voltage or frequency and time: where a device may trip, and where it ceases.
//!
//! A region is a staircase for each quantity, the one that SunSpec's models 707 to 710 have room
//! for: beyond a threshold for so many seconds without a break is inside, and the farther a
//! threshold lies from nominal, the shorter its time. A slope between two points is taken as a
//! step, on the side on which the device stays the longer.

use crate::filter::Timer;
use crate::settings::Threshold;
use crate::voltage::Volts;

/// What a staircase looks at, and on which side of nominal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// The lowest of all voltages.
    LowVoltage,
    /// The highest of them.
    HighVoltage,
    /// Frequency below nominal.
    LowFrequency,
    /// Frequency above nominal.
    HighFrequency,
}

impl Quantity {
    /// All of them, with the names of their keys, in the order of [`Region`].
    pub const ALL: [(&'static str, Self); 4] = [
        ("lv", Self::LowVoltage),
        ("hv", Self::HighVoltage),
        ("lf", Self::LowFrequency),
        ("hf", Self::HighFrequency),
    ];

    /// Whether its thresholds lie below nominal.
    #[must_use]
    pub const fn is_low(self) -> bool {
        matches!(self, Self::LowVoltage | Self::LowFrequency)
    }

    /// Whether it is a voltage.
    #[must_use]
    pub const fn is_voltage(self) -> bool {
        matches!(self, Self::LowVoltage | Self::HighVoltage)
    }
}

/// The steps of one staircase, the nearest to nominal first; none is a region that nothing is in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steps(Vec<Threshold>);

impl Steps {
    /// The most steps of a staircase. Chosen: the points that the emulated SunSpec models have room
    /// for, so that whatever is set can be read there.
    pub const MOST: usize = 4;

    /// A staircase out of points in any order. Of points with the same time the one nearest to
    /// nominal counts.
    ///
    /// # Errors
    /// The place of a point that lies farther from nominal than one with a shorter time.
    pub fn new(points: &[Threshold], of: Quantity) -> Result<Self, usize> {
        let nearer = |a: f64, b: f64| if of.is_low() { a > b } else { a < b };
        let mut order: Vec<usize> = (0..points.len()).collect();
        order.sort_by(|a, b| points[*b].clearing_s.total_cmp(&points[*a].clearing_s));
        let mut steps: Vec<Threshold> = Vec::new();
        for n in order {
            let point = points[n];
            match steps.last_mut() {
                Some(last) if last.clearing_s == point.clearing_s => {
                    if nearer(point.at, last.at) {
                        last.at = point.at;
                    }
                }
                _ => steps.push(point),
            }
        }
        let out_of_order = steps.windows(2).find(|pair| nearer(pair[1].at, pair[0].at));
        match out_of_order {
            Some(pair) => Err(points.iter().position(|p| *p == pair[1]).unwrap_or(0)),
            None => Ok(Self(steps)),
        }
    }

    /// The steps, the nearest to nominal first.
    #[must_use]
    pub fn as_slice(&self) -> &[Threshold] {
        &self.0
    }

    /// Whether a threshold with its time lies inside, all of what is beyond it.
    #[must_use]
    pub fn holds(&self, threshold: &Threshold, of: Quantity) -> bool {
        self.0.iter().any(|step| {
            let reached = if of.is_low() {
                threshold.at <= step.at
            } else {
                threshold.at >= step.at
            };
            reached && threshold.clearing_s >= step.clearing_s
        })
    }

    /// The same thresholds with other times.
    #[must_use]
    pub fn timed(&self, changed: impl Fn(f64) -> f64) -> Self {
        let with = |step: &Threshold| Threshold {
            clearing_s: changed(step.clearing_s),
            ..*step
        };
        Self(self.0.iter().map(with).collect())
    }
}

/// A region: one staircase for each quantity.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Region([Steps; 4]);

impl Region {
    /// The staircase of a quantity.
    #[must_use]
    pub fn of(&self, quantity: Quantity) -> &Steps {
        &self.0[quantity as usize]
    }

    /// Puts a staircase in its place.
    pub fn put(&mut self, quantity: Quantity, steps: Steps) {
        self.0[quantity as usize] = steps;
    }

    /// The same thresholds with other times.
    #[must_use]
    pub fn timed(&self, changed: impl Fn(f64) -> f64) -> Self {
        Self(self.0.each_ref().map(|steps| steps.timed(&changed)))
    }
}

/// Whether what stands on a lower threshold is beyond it. On an upper one it never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// As protection has it.
    Outside,
    /// As momentary cessation has it (OpenDER 2.2.0).
    Inside,
}

/// How deep in a region a device is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Beyond a threshold, for whatever time.
    pub beyond: bool,
    /// The first quantity that has been beyond one of its thresholds for its time.
    pub inside: Option<Quantity>,
}

/// The timers of a region, one for each step.
#[derive(Clone, Debug, Default)]
pub struct Watch([Vec<Timer>; 4]);

impl Watch {
    /// Where the device is at the end of a step.
    pub fn step(&mut self, region: &Region, edge: Edge, v: Volts, f_hz: f64, dt_s: f64) -> Place {
        let mut place = Place::default();
        for (_, quantity) in Quantity::ALL {
            let (steps, timers) = (region.of(quantity), &mut self.0[quantity as usize]);
            timers.resize(steps.0.len(), Timer::default());
            let value = match quantity {
                Quantity::LowVoltage => v.low(),
                Quantity::HighVoltage => v.high(),
                Quantity::LowFrequency | Quantity::HighFrequency => f_hz,
            };
            for (step, timer) in steps.0.iter().zip(timers) {
                let beyond = match (quantity.is_low(), edge) {
                    (true, Edge::Outside) => value < step.at,
                    (true, Edge::Inside) => value <= step.at,
                    (false, _) => value > step.at,
                };
                place.beyond |= beyond;
                if timer.step(beyond, step.clearing_s, dt_s) {
                    place.inside = place.inside.or(Some(quantity));
                }
            }
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(points: &[(f64, f64)], of: Quantity) -> Result<Steps, usize> {
        let points: Vec<Threshold> = points
            .iter()
            .map(|&(at, clearing_s)| Threshold { at, clearing_s })
            .collect();
        Steps::new(&points, of)
    }

    #[test]
    fn of_points_with_one_time_the_nearest_counts_and_the_farther_is_never_the_slower() {
        use Quantity::{HighVoltage, LowVoltage};
        let check = |points: &[(f64, f64)], of, expected: Result<&[(f64, f64)], usize>| {
            let found = steps(points, of);
            let found = found.map(|steps| {
                let pair = |t: &Threshold| (t.at, t.clearing_s);
                steps.as_slice().iter().map(pair).collect::<Vec<_>>()
            });
            assert_eq!(found, expected.map(<[_]>::to_vec));
        };
        let low = [(0.0, 0.16), (0.45, 0.16), (0.45, 2.0), (0.7, 2.0)];
        check(&low, LowVoltage, Ok(&[(0.7, 2.0), (0.45, 0.16)]));
        check(
            &[(1.2, 0.0), (1.1, 12.0)],
            HighVoltage,
            Ok(&[(1.1, 12.0), (1.2, 0.0)]),
        );
        check(&[], LowVoltage, Ok(&[]));
        check(&[(0.5, 5.0), (0.7, 1.0)], LowVoltage, Err(1));
        check(&[(1.1, 1.0), (1.2, 5.0)], HighVoltage, Err(0));
    }

    #[test]
    fn each_step_has_a_time_of_its_own_that_counts_what_holds_without_a_break() {
        let mut region = Region::default();
        let low = steps(&[(0.88, 1.0), (0.5, 0.2)], Quantity::LowVoltage);
        region.put(Quantity::LowVoltage, low.expect("in order"));
        let high = steps(&[(61.2, 0.3)], Quantity::HighFrequency);
        region.put(Quantity::HighFrequency, high.expect("in order"));
        let mut watch = Watch::default();
        let mut check = |v, f_hz, seconds: f64, beyond, inside| {
            let mut found = Place::default();
            for _ in 0..(seconds / 0.1).round() as u32 {
                found = watch.step(&region, Edge::Outside, Volts::Balanced(v), f_hz, 0.1);
            }
            assert_eq!(found, Place { beyond, inside }, "{v} for {seconds} s");
        };
        check(0.88, 61.2, 2.0, false, None);
        check(0.6, 60.0, 0.9, true, None);
        check(0.4, 60.0, 0.1, true, Some(Quantity::LowVoltage));
        check(0.9, 60.0, 0.1, false, None);
        check(0.4, 60.0, 0.1, true, None);
        check(0.4, 60.0, 0.1, true, Some(Quantity::LowVoltage));
        check(1.0, 61.3, 0.2, true, None);
        check(1.0, 61.3, 0.1, true, Some(Quantity::HighFrequency));
    }

    #[test]
    fn what_stands_on_a_lower_threshold_is_inside_for_cessation_only() {
        let mut region = Region::default();
        let low = steps(&[(0.5, 0.0)], Quantity::LowVoltage).expect("in order");
        region.put(Quantity::LowVoltage, low);
        let high = steps(&[(1.1, 0.0)], Quantity::HighVoltage).expect("in order");
        region.put(Quantity::HighVoltage, high);
        for (v, edge, expected) in [
            (0.5, Edge::Inside, true),
            (0.5, Edge::Outside, false),
            (1.1, Edge::Inside, false),
            (1.1, Edge::Outside, false),
        ] {
            let place = Watch::default().step(&region, edge, Volts::Balanced(v), 60.0, 0.05);
            assert_eq!(place.inside.is_some(), expected, "{v}, {edge:?}");
        }
    }

    #[test]
    fn a_region_holds_a_threshold_that_is_reached_no_sooner_and_no_nearer() {
        let low = steps(&[(0.88, 5.0), (0.65, 0.32)], Quantity::LowVoltage).expect("in order");
        for (at, clearing_s, expected) in [
            (0.7, 10.0, true),
            (0.7, 2.0, false),
            (0.45, 0.32, true),
            (0.9, 10.0, false),
        ] {
            let threshold = Threshold { at, clearing_s };
            assert_eq!(
                low.holds(&threshold, Quantity::LowVoltage),
                expected,
                "{at}"
            );
        }
    }
}
