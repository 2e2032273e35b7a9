//! What a participant expects of an interval to come, from what its device does now and did before.
//!
//! Three ways, all in whole numbers so that the same samples give the same forecast everywhere:
//! - **persistence**: all stays as it is;
//! - **exponential smoothing**: the mean of what was, the newest weighing most, `level += α (now − level)`
//!   at each gate: for what jumps about, such as a load that is switched;
//! - **profile**: the course of a day is known, and by how much now differs from it lasts,
//!   `profile(then) + now − profile(now)`. Where nobody knows what is now it is the profile itself.
//!
//! Not responsible for the sign: the caller knows that the sun does not consume.

use serde::{Deserialize, Serialize};

use crate::quantity::PPM;

/// A course of a day, repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Power at points that are equally far apart, the first at the beginning of the day, in mW.
    pub milliwatts: Vec<i64>,
    /// Length of the day in nanoseconds.
    pub day_ns: i64,
}

impl Profile {
    /// Power at a time since a day began, between two points on the line between them.
    #[must_use]
    pub fn at(&self, ns: i64) -> Option<i64> {
        let count = i128::try_from(self.milliwatts.len())
            .ok()
            .filter(|n| *n > 0)?;
        let day = i128::from(self.day_ns.max(1));
        // In parts of the distance between two points, each `day` long.
        let place = i128::from(ns).rem_euclid(day) * count;
        let (index, part) = (place / day, place % day);
        let point = |index: i128| {
            let index = usize::try_from(index % count).ok()?;
            self.milliwatts.get(index).map(|p| i128::from(*p))
        };
        let (here, next) = (point(index)?, point(index + 1)?);
        // Between two 64-bit numbers.
        i64::try_from(here + ((next - here) * part).div_euclid(day)).ok()
    }
}

/// How a participant forecasts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// All stays as it is.
    #[default]
    Persistence,
    /// The mean of what was.
    Smoothing {
        /// Weight of the newest in parts per million.
        weight_ppm: u32,
    },
    /// The course of a day.
    Profile(Profile),
}

/// A forecaster with what it has learned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forecaster {
    method: Method,
    level: Option<i64>,
}

impl Forecaster {
    /// One that has learned nothing.
    #[must_use]
    pub fn new(method: Method) -> Self {
        Self {
            method,
            level: None,
        }
    }

    /// Takes in what is at a gate, in mW; what nobody knows teaches nothing.
    pub fn learn(&mut self, now: Option<i64>) {
        let Method::Smoothing { weight_ppm } = self.method else {
            return;
        };
        let Some(now) = now else {
            return;
        };
        let level = i128::from(self.level.unwrap_or(now));
        let moved = (i128::from(now) - level) * i128::from(weight_ppm.min(PPM));
        // Between two 64-bit numbers.
        self.level = i64::try_from(level + moved.div_euclid(i128::from(PPM))).ok();
    }

    /// Mean power expected at a time, in mW, when this is known now; `None` when nothing is.
    #[must_use]
    pub fn expect(&self, now: Option<i64>, now_ns: i64, then_ns: i64) -> Option<i64> {
        match &self.method {
            Method::Persistence => now,
            // What it knew before still counts while a meter is silent for an interval.
            Method::Smoothing { .. } => self.level.or(now),
            Method::Profile(profile) => {
                let then = profile.at(then_ns)?;
                match (now, profile.at(now_ns)) {
                    (Some(now), Some(usual)) => {
                        Some(then.saturating_add(now.saturating_sub(usual)))
                    }
                    _ => Some(then),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000_000;

    fn day(milliwatts: &[i64]) -> Profile {
        Profile {
            milliwatts: milliwatts.to_vec(),
            day_ns: 24 * HOUR,
        }
    }

    #[test]
    fn a_profile_lies_on_the_line_between_its_points_and_begins_again() {
        let profile = day(&[0, 8_000, 4_000, -4_000]);
        for (hour, power) in [
            (0, 0),
            (3, 4_000),
            (6, 8_000),
            (9, 6_000),
            (15, 0),
            // From the last point back to the first of the next day.
            (21, -2_000),
            (24, 0),
            (27, 4_000),
            (-3, -2_000),
        ] {
            assert_eq!(profile.at(hour * HOUR), Some(power), "{hour} h");
        }
        assert_eq!(day(&[]).at(0), None);
        assert_eq!(day(&[7]).at(5 * HOUR), Some(7));
        assert_eq!(day(&[i64::MAX, i64::MIN]).at(12 * HOUR), Some(i64::MIN));
    }

    #[test]
    fn each_method_expects_what_it_says() {
        let (now_ns, then_ns) = (6 * HOUR, 9 * HOUR);
        let profile = Method::Profile(day(&[0, 8_000, 4_000, -4_000]));
        let smoothing = Method::Smoothing {
            weight_ppm: 250_000,
        };
        for (method, learned, now, expected) in [
            (Method::Persistence, vec![], Some(500), Some(500)),
            (Method::Persistence, vec![Some(9)], None, None),
            // A thousand over the usual, which lasts.
            (profile.clone(), vec![], Some(9_000), Some(7_000)),
            (profile, vec![], None, Some(6_000)),
            (smoothing.clone(), vec![], None, None),
            (smoothing.clone(), vec![], Some(4), Some(4)),
            (
                smoothing.clone(),
                vec![Some(1_000), Some(2_000)],
                Some(2_000),
                Some(1_250),
            ),
            (smoothing, vec![Some(1_000), None], None, Some(1_000)),
        ] {
            let mut forecaster = Forecaster::new(method.clone());
            for power in learned {
                forecaster.learn(power);
            }
            let found = forecaster.expect(now, now_ns, then_ns);
            assert_eq!(found, expected, "{method:?} {now:?}");
        }
    }

    #[test]
    fn smoothing_misses_less_than_persistence_where_a_load_jumps_and_the_profile_where_a_day_goes_on()
     {
        let missed = |method: Method, power_at: &dyn Fn(i64) -> i64| -> i64 {
            let mut forecaster = Forecaster::new(method);
            let mut sum = 0;
            for quarter in 0..96 {
                let (now, then) = (quarter * HOUR / 4, (quarter + 1) * HOUR / 4);
                let power = power_at(quarter);
                forecaster.learn(Some(power));
                let expected = forecaster.expect(Some(power), now, then).unwrap();
                sum += (expected - power_at(quarter + 1)).abs();
            }
            sum
        };
        let smoothing = || Method::Smoothing {
            weight_ppm: 200_000,
        };
        let jumps = |quarter: i64| if quarter % 2 == 0 { -2_000 } else { -4_000 };
        assert!(missed(smoothing(), &jumps) * 3 < missed(Method::Persistence, &jumps) * 2);
        let points: Vec<i64> = (0..24)
            .map(|hour: i64| (12 - (hour - 12).abs()) * 1_000)
            .collect();
        let profile = day(&points);
        let course = |quarter: i64| profile.at(quarter * HOUR / 4).unwrap() + 300;
        let known = missed(Method::Profile(profile.clone()), &course);
        assert!(known < 100, "a day that is as usual is met: {known}");
        assert!(missed(Method::Persistence, &course) > 20_000);
        assert!(missed(smoothing(), &course) > missed(Method::Persistence, &course));
    }
}
