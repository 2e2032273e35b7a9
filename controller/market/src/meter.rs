//! From power samples to the energy of an interval, without losing any.
//!
//! The integral is a trapezoid over `(instant, power)` samples in 128-bit
//! milliwatt-nanoseconds. What is left below one milliwatt-hour is carried to the
//! next interval, and a trapezoid cut by an interval boundary is cut so that both
//! parts together are the whole.
//!
//! Not responsible for what a missing reading costs: it says `Missing`, and the
//! settlement substitutes and flags.

mod counted;

use serde::{Deserialize, Serialize};

pub use counted::{Count, CountedEnergy};

use crate::fault::Coded;
use crate::interval::{Interval, MarketTimeNs};
use crate::outcome::shares;
use crate::quantity::{MilliwattNs, Mwh, MwhTotal, NS_PER_HOUR, PPM};

/// Largest magnitude of a sample in mW.
/// Chosen: one gigawatt; beyond it a laboratory reads a wrong register.
pub const POWER_MILLIWATT_MAX: i64 = 1_000_000_000_000;

/// One power sample, injection positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// When it was taken, in market time.
    pub instant_ns: MarketTimeNs,
    /// Power in mW.
    pub power_milliwatt: i64,
}

/// When samples count, and how much of an interval they must cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeterRules {
    /// Longest time between samples that counts as covered, in nanoseconds.
    pub gap_ns_max: i64,
    /// Coverage from which a reading is valid, in ppm.
    pub valid_ppm: u32,
    /// Coverage from which it is at least estimated, in ppm.
    pub estimated_ppm: u32,
}

/// How far a reading can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// Samples cover the interval.
    Valid,
    /// Gaps were bridged between their neighbours.
    Estimated,
    /// Too little is known to say an energy.
    Missing,
}

/// What the meter says about an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reading {
    /// Samples cover the interval.
    Valid {
        /// Metered energy, injection positive.
        energy: Mwh,
    },
    /// Gaps were bridged between their neighbours.
    Estimated {
        /// Metered energy, injection positive.
        energy: Mwh,
        /// Covered share of the interval, in ppm.
        coverage_ppm: u32,
    },
    /// Too little is known to say an energy.
    Missing {
        /// Covered share of the interval, in ppm.
        coverage_ppm: u32,
    },
}

impl Reading {
    /// The energy, if the reading has one.
    #[must_use]
    pub fn energy(&self) -> Option<Mwh> {
        match *self {
            Self::Valid { energy } | Self::Estimated { energy, .. } => Some(energy),
            Self::Missing { .. } => None,
        }
    }

    /// How far it can be trusted.
    #[must_use]
    pub fn quality(&self) -> Quality {
        match self {
            Self::Valid { .. } => Quality::Valid,
            Self::Estimated { .. } => Quality::Estimated,
            Self::Missing { .. } => Quality::Missing,
        }
    }
}

/// Why a sample or the rules are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MeterError {
    /// The rules contradict themselves.
    #[error(
        "meter rules: estimated {estimated_ppm} ppm <= valid {valid_ppm} ppm <= 1000000 ppm and a positive gap are needed"
    )]
    Rules {
        /// Coverage stated for valid readings.
        valid_ppm: u32,
        /// Coverage stated for estimated readings.
        estimated_ppm: u32,
    },
    /// A sample is not after the one before it.
    #[error("sample at {instant_ns} ns is not after the one at {last_ns} ns")]
    OutOfOrder {
        /// Instant of the sample.
        instant_ns: i64,
        /// Instant of its predecessor.
        last_ns: i64,
    },
    /// A sample no laboratory can produce.
    #[error("sample at {instant_ns} ns: {power_milliwatt} mW exceeds one gigawatt")]
    Implausible {
        /// Instant of the sample.
        instant_ns: i64,
        /// The refused power.
        power_milliwatt: i64,
    },
}

impl Coded for MeterError {
    fn code(&self) -> &'static str {
        match self {
            Self::Rules { .. } => "M070",
            Self::OutOfOrder { .. } => "M071",
            Self::Implausible { .. } => "M072",
        }
    }
    fn place(&self) -> String {
        match self {
            Self::Rules { .. } => "meter rules".into(),
            Self::OutOfOrder { instant_ns, .. } | Self::Implausible { instant_ns, .. } => {
                format!("meter sample at {instant_ns} ns")
            }
        }
    }
    fn help(&self) -> String {
        match self {
            Self::Rules { .. } => "order the coverages and give a positive gap",
            Self::OutOfOrder { .. } => "drop the sample, or sort by instant before metering",
            Self::Implausible { .. } => "check scale and register of the meter's profile",
        }
        .into()
    }
}

/// Twice the mW·ns of one milliwatt-hour; the factor two keeps half trapezoids whole.
const DOUBLED_PER_MWH: i128 = 2 * NS_PER_HOUR as i128;

/// Integrates the samples of one meter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnergyMeter {
    rules: MeterRules,
    /// Samples not closed yet, and the last one before them.
    samples: Vec<Sample>,
    /// Twice the mW·ns below one mWh left from earlier intervals.
    carry_doubled: i128,
}

struct Integral {
    doubled: i128,
    covered_ns: i128,
    /// The part of the energy that samples cover, and the times that they do not.
    covered_doubled: i128,
    open: Vec<(i64, i64)>,
}

impl Integral {
    /// Adds a span that lies in a gap between samples.
    fn add(&mut self, doubled: i128, (from, until): (i128, i128), is_covered: bool) {
        self.doubled += doubled;
        if is_covered {
            self.covered_ns += until - from;
            self.covered_doubled += doubled;
        } else {
            // Both lie within an interval, whose ends fit.
            self.open.push((from as i64, until as i64));
        }
    }
}

impl EnergyMeter {
    /// A meter that has seen nothing.
    ///
    /// # Errors
    /// [`MeterError::Rules`].
    pub fn new(rules: MeterRules) -> Result<Self, MeterError> {
        let MeterRules {
            gap_ns_max,
            valid_ppm,
            estimated_ppm,
        } = rules;
        if gap_ns_max <= 0 || estimated_ppm > valid_ppm || valid_ppm > PPM {
            return Err(MeterError::Rules {
                valid_ppm,
                estimated_ppm,
            });
        }
        Ok(Self {
            rules,
            samples: Vec::new(),
            carry_doubled: 0,
        })
    }

    /// Takes a sample, later than all before it.
    ///
    /// # Errors
    /// When it is not later or not plausible; the meter is unchanged then.
    pub fn record(&mut self, sample: Sample) -> Result<(), MeterError> {
        let Sample {
            instant_ns,
            power_milliwatt,
        } = sample;
        if let Some(last) = self
            .samples
            .last()
            .filter(|last| last.instant_ns >= instant_ns)
        {
            return Err(MeterError::OutOfOrder {
                instant_ns,
                last_ns: last.instant_ns,
            });
        }
        if power_milliwatt.unsigned_abs() > POWER_MILLIWATT_MAX.unsigned_abs() {
            return Err(MeterError::Implausible {
                instant_ns,
                power_milliwatt,
            });
        }
        self.samples.push(sample);
        Ok(())
    }

    /// Energy from the start of the interval until `now_ns`, the last sample held;
    /// `None` without any sample. For tracking, not for settlement.
    #[must_use]
    pub fn so_far(&self, interval: &Interval, now_ns: MarketTimeNs) -> Option<MilliwattNs> {
        let now = now_ns.clamp(interval.start_ns, interval.end_ns());
        let integral = self.integrate(interval.start_ns, now)?;
        Some(MilliwattNs(integral.doubled.div_euclid(2)))
    }

    /// The reading of an interval; samples before its end are forgotten, save the
    /// last. Close intervals in order, after samples past the end have come if
    /// they will: without one, the last sample is held to the end.
    pub fn close(&mut self, interval: &Interval) -> Reading {
        self.close_with(interval, None)
    }

    /// The same, and what a reading lacks that is not valid is told to its counter.
    pub fn close_with(
        &mut self,
        interval: &Interval,
        counted: Option<&mut CountedEnergy>,
    ) -> Reading {
        let integral = self.integrate(interval.start_ns, interval.end_ns());
        let past = self
            .samples
            .partition_point(|s| s.instant_ns <= interval.end_ns());
        self.samples.drain(..past.saturating_sub(1));
        let covered = integral.as_ref().map_or(0, |integral| integral.covered_ns);
        // At most the interval is covered, so the share is at most a million.
        let coverage_ppm = (covered * i128::from(PPM) / i128::from(interval.dt_ns)) as u32;
        if let Some((integral, counted)) = integral.as_ref().zip(counted)
            && coverage_ppm < self.rules.valid_ppm
        {
            counted.lacks(*interval, integral.covered_doubled, integral.open.clone());
        }
        let Some(Integral { doubled, .. }) = integral else {
            return Reading::Missing { coverage_ppm };
        };
        if coverage_ppm < self.rules.estimated_ppm {
            return Reading::Missing { coverage_ppm };
        }
        let total = self.carry_doubled + doubled;
        let Ok(energy) = i64::try_from(total.div_euclid(DOUBLED_PER_MWH)) else {
            return Reading::Missing { coverage_ppm };
        };
        self.carry_doubled = total.rem_euclid(DOUBLED_PER_MWH);
        let energy = Mwh(energy);
        if coverage_ppm < self.rules.valid_ppm {
            Reading::Estimated {
                energy,
                coverage_ppm,
            }
        } else {
            Reading::Valid { energy }
        }
    }

    /// The integral over `[from, to]`; the first and last samples are held outward.
    fn integrate(&self, from: i64, to: i64) -> Option<Integral> {
        let (first, last) = (self.samples.first()?, self.samples.last()?);
        let mut sum = Integral {
            doubled: 0,
            covered_ns: 0,
            covered_doubled: 0,
            open: Vec::new(),
        };
        let (from, to) = (i128::from(from), i128::from(to));
        let mut hold = |sample: &Sample, a: i128, b: i128| {
            if a < b {
                let doubled = 2 * i128::from(sample.power_milliwatt) * (b - a);
                let instant = i128::from(sample.instant_ns);
                let gap = (b - instant).max(instant - a);
                sum.add(doubled, (a, b), self.covers(gap));
            }
        };
        hold(first, from, to.min(first.instant_ns.into()));
        hold(last, from.max(last.instant_ns.into()), to);
        for pair in self.samples.windows(2) {
            let (t0, t1) = (
                i128::from(pair[0].instant_ns),
                i128::from(pair[1].instant_ns),
            );
            let (a, b) = (from.max(t0), to.min(t1));
            if a < b {
                let doubled = trapezoid(pair, b) - trapezoid(pair, a);
                sum.add(doubled, (a, b), self.covers(t1 - t0));
            }
        }
        Some(sum)
    }

    /// Whether samples so far apart are one curve.
    fn covers(&self, gap: i128) -> bool {
        gap <= i128::from(self.rules.gap_ns_max)
    }
}

/// Twice the energy between the first sample of `pair` and `until`, rounded down.
/// Both sides of a boundary round the same value, so their difference is exact.
fn trapezoid(pair: &[Sample], until: i128) -> i128 {
    let [p0, p1] = [pair[0], pair[1]].map(|s| i128::from(s.power_milliwatt));
    let [t0, t1] = [pair[0], pair[1]].map(|s| i128::from(s.instant_ns));
    let (x, span) = (until - t0, t1 - t0);
    // (p1 - p0) * x * x / span without leaving 128 bits: x <= span, so the
    // quotient of the first product is small and its rest is below the span. Two
    // samples can be 2^64 ns apart, so the square of a span needs all 128 bits.
    let slope = (p1 - p0) * x;
    let (quotient, rest) = (slope.div_euclid(span), slope.rem_euclid(span));
    let below_quotient = rest.unsigned_abs() * x.unsigned_abs() / span.unsigned_abs();
    2 * p0 * x + quotient * x + below_quotient.cast_signed()
}

/// What each of several participants with one device has metered, from what each has committed
/// (injection positive) and its share of the device. What differs from all that was committed is
/// split by how much each had committed, or by the shares if nothing was. A split is an
/// estimate by this rule; the parts add up to the device.
#[must_use]
pub fn split(reading: Reading, parts: &[(MwhTotal, u32)]) -> Vec<Reading> {
    let (energy, coverage_ppm) = match reading {
        _ if parts.len() <= 1 => return vec![reading; parts.len()],
        Reading::Missing { .. } => return vec![reading; parts.len()],
        Reading::Valid { energy } => (energy, PPM),
        Reading::Estimated {
            energy,
            coverage_ppm,
        } => (energy, coverage_ppm),
    };
    let committed: i128 = parts.iter().map(|(committed, _)| committed.0).sum();
    let mut weights: Vec<i128> = parts.iter().map(|(own, _)| own.0.abs()).collect();
    if weights.iter().all(|weight| *weight == 0) {
        weights = parts.iter().map(|(_, share)| i128::from(*share)).collect();
    }
    let beyond = shares(i128::from(energy.0) - committed, &weights);
    parts
        .iter()
        .zip(beyond)
        .map(|((own, _), beyond)| {
            let energy = (own.0 + beyond).clamp(i64::MIN.into(), i64::MAX.into());
            Reading::Estimated {
                energy: Mwh(energy as i64),
                coverage_ppm,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
