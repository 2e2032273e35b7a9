//! The product interval that orders, meters and settlements speak about.
//!
//! Not responsible for gates or for the mapping to wall time: the caller says
//! which market time it is.

use serde::{Deserialize, Serialize};

use crate::fault::Coded;

/// An instant in market time, nanoseconds since an epoch the run fixes.
pub type MarketTimeNs = i64;

/// One half-open product interval `[start, start + dt)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawInterval")]
pub struct Interval {
    /// Running number of the interval in its run.
    pub index: u64,
    /// First instant, in nanoseconds of market time.
    pub start_ns: MarketTimeNs,
    /// Length in nanoseconds, always positive.
    pub dt_ns: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInterval {
    index: u64,
    start_ns: i64,
    dt_ns: i64,
}

impl TryFrom<RawInterval> for Interval {
    type Error = IntervalError;

    fn try_from(raw: RawInterval) -> Result<Self, IntervalError> {
        Self::new(raw.index, raw.start_ns, raw.dt_ns)
    }
}

/// Why an interval is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("interval {index}: start {start_ns} ns and length {dt_ns} ns do not make an interval")]
pub struct IntervalError {
    index: u64,
    start_ns: i64,
    dt_ns: i64,
}

impl Coded for IntervalError {
    fn code(&self) -> &'static str {
        "M001"
    }
    fn place(&self) -> String {
        format!("interval {}", self.index)
    }
    fn help(&self) -> String {
        "give a positive length whose end still fits 64-bit nanoseconds".into()
    }
}

impl Interval {
    /// An interval of positive length.
    ///
    /// # Errors
    /// When the length is not positive or the end does not fit 64 bits.
    pub fn new(index: u64, start_ns: MarketTimeNs, dt_ns: i64) -> Result<Self, IntervalError> {
        if dt_ns <= 0 || start_ns.checked_add(dt_ns).is_none() {
            return Err(IntervalError {
                index,
                start_ns,
                dt_ns,
            });
        }
        Ok(Self {
            index,
            start_ns,
            dt_ns,
        })
    }

    /// First instant after the interval, in nanoseconds.
    #[must_use]
    pub fn end_ns(&self) -> MarketTimeNs {
        // The fields are public, so the proof of `new` may have been undone.
        self.start_ns.saturating_add(self.dt_ns)
    }
}
