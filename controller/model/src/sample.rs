//! What was measured, when, and how far it can be believed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{DeviceIx, Instant, Point};

/// Why a value is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// Nothing has been read since the run began.
    NeverRead,
    /// No answer in time.
    Timeout,
    /// The answer was damaged: checksum, framing, length or identity did not fit.
    Corrupt,
    /// The device refused with a Modbus exception code.
    Exception(u8),
    /// The device says that it does not have this value.
    NotImplemented,
    /// The value lies outside what the profile allows.
    OutOfRange,
    /// The device does not answer at all.
    Offline,
    /// The CAN controller left the bus.
    BusOff,
    /// The rig or the profile asks for something that the device does not have.
    Config,
}

impl Flaw {
    /// A short word for tables and telemetry tags.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NeverRead => "never read",
            Self::Timeout => "timeout",
            Self::Corrupt => "corrupt",
            Self::Exception(_) => "exception",
            Self::NotImplemented => "not implemented",
            Self::OutOfRange => "out of range",
            Self::Offline => "offline",
            Self::BusOff => "bus off",
            Self::Config => "config",
        }
    }
}

/// A value that can be believed, or the reason why there is none. Unknown is never zero.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reading<T> {
    /// The value, in the unit of its type.
    Good(T),
    /// Why there is no value.
    Bad(Flaw),
}

impl<T: Copy> Reading<T> {
    /// The value, if it can be believed.
    pub fn good(self) -> Option<T> {
        match self {
            Self::Good(value) => Some(value),
            Self::Bad(_) => None,
        }
    }

    /// The same reading of another type.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Self::Good(value) => Reading::Good(f(value)),
            Self::Bad(flaw) => Reading::Bad(flaw),
        }
    }
}

/// A reading with its time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample<T> {
    /// When the value was true at the device, as well as we can tell (mid-transaction for a poll).
    pub measured_at: Instant,
    /// What was read.
    pub reading: Reading<T>,
}

/// What a driver hands over: one point of one device.
///
/// The value is in the base unit of the point ([`Point::unit`]); switches are 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointSample {
    /// Which device.
    pub device: DeviceIx,
    /// Which of its points.
    pub point: Point,
    /// When and what.
    pub sample: Sample<f64>,
}

/// The history of one point that control needs: the latest attempt and the last good value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signal<T> {
    /// The latest attempt, good or bad.
    pub latest: Sample<T>,
    /// The last value that could be believed, with its time.
    pub last_good: Option<(Instant, T)>,
}

impl<T: Copy> Signal<T> {
    /// A signal that has never been read.
    #[must_use]
    pub fn unread() -> Self {
        Self {
            latest: Sample {
                measured_at: Instant::START,
                reading: Reading::Bad(Flaw::NeverRead),
            },
            last_good: None,
        }
    }

    /// Takes in a new sample; one older than the latest is ignored.
    pub fn observe(&mut self, sample: Sample<T>) {
        if sample.measured_at < self.latest.measured_at {
            return;
        }
        self.latest = sample;
        if let Reading::Good(value) = sample.reading {
            self.last_good = Some((sample.measured_at, value));
        }
    }

    /// The last good value if it is not older than `age_max`.
    #[must_use]
    pub fn fresh(&self, now: Instant, age_max: Duration) -> Option<T> {
        self.last_good
            .filter(|(at, _)| now.since(*at) <= age_max)
            .map(|(_, value)| value)
    }

    /// Age of the last good value; `None` when there never was one.
    #[must_use]
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.last_good.map(|(at, _)| now.since(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    #[test]
    fn a_failed_read_keeps_the_last_good_value_and_its_age() {
        let mut signal = Signal::unread();
        signal.observe(Sample {
            measured_at: at(1),
            reading: Reading::Good(7.0),
        });
        signal.observe(Sample {
            measured_at: at(2),
            reading: Reading::Bad(Flaw::Timeout),
        });
        assert_eq!(signal.latest.reading, Reading::Bad(Flaw::Timeout));
        assert_eq!(signal.fresh(at(3), Duration::from_secs(2)), Some(7.0));
        assert_eq!(signal.fresh(at(4), Duration::from_secs(2)), None);
    }

    #[test]
    fn a_late_sample_does_not_replace_a_newer_one() {
        let mut signal = Signal::unread();
        for (seconds, value) in [(5, 1.0), (4, 2.0)] {
            signal.observe(Sample {
                measured_at: at(seconds),
                reading: Reading::Good(value),
            });
        }
        assert_eq!(signal.last_good, Some((at(5), 1.0)));
    }
}
