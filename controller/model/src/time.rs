//! Three times, three types: control, records, ledger. They do not mix.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Monotonic time of the control loop, in nanoseconds since the run began.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Instant(u64);

impl Instant {
    /// The beginning of the run.
    pub const START: Self = Self(0);

    /// An instant so many nanoseconds after the beginning of the run.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the beginning of the run.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the beginning of the run.
    #[must_use]
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Time from `earlier` to this instant; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    /// Saturates at the end of time (584 years).
    fn add(self, d: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    /// Saturates at the beginning of the run.
    fn sub(self, d: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// The one way for code at the edge to learn the time.
///
/// Exactly two things implement it: the system clock of a real bench and the
/// simulated clock of virtual time. Pure code never sees it: there, time is an argument.
pub trait Clock: Send + Sync {
    /// Monotonic time since the run began.
    fn now(&self) -> Instant;
    /// Wall-clock time for records; may step.
    fn utc(&self) -> UtcTime;
}

/// Wall-clock time of records, in nanoseconds since 1970-01-01T00:00:00 UTC.
///
/// It may step; nothing is ordered or timed by it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UtcTime(i64);

impl UtcTime {
    /// A time so many nanoseconds after the Unix epoch.
    #[must_use]
    pub const fn from_unix_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_nanos(self) -> i64 {
        self.0
    }

    /// Year, month, day, hour, minute, second and nanosecond of the proleptic Gregorian calendar.
    #[must_use]
    pub fn civil(self) -> (i64, u32, u32, u32, u32, u32, u32) {
        let seconds = self.0.div_euclid(1_000_000_000);
        let nanos = self.0.rem_euclid(1_000_000_000) as u32;
        let days = seconds.div_euclid(86_400);
        let second_of_day = seconds.rem_euclid(86_400) as u32;
        // Days since 0000-03-01 in eras of 400 years: leap days then fall at the end.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        } as u32;
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        (
            year,
            month,
            day,
            second_of_day / 3600,
            second_of_day / 60 % 60,
            second_of_day % 60,
            nanos,
        )
    }

    /// Compact form for folder names: `20261122T101530Z`.
    #[must_use]
    pub fn compact(self) -> String {
        let (y, mo, d, h, mi, s, _) = self.civil();
        format!("{y:04}{mo:02}{d:02}T{h:02}{mi:02}{s:02}Z")
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (y, mo, d, h, mi, s, n) = self.civil();
        write!(
            f,
            "{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}.{:03}Z",
            n / 1_000_000
        )
    }
}

/// Why a text is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMoment;

impl fmt::Display for NoMoment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a moment is written as 2026-11-22 or 2026-11-22T10:55:30Z, in UTC")
    }
}

impl std::error::Error for NoMoment {}

impl std::str::FromStr for UtcTime {
    type Err = NoMoment;

    /// A day, which is its beginning, or a day and a time in whole seconds with `Z`.
    fn from_str(text: &str) -> Result<Self, NoMoment> {
        let (day, time) = match text.split_once('T') {
            Some((day, time)) => (day, time.strip_suffix('Z').ok_or(NoMoment)?),
            None => (text, "00:00:00"),
        };
        let numbers = |text: &str, between: char, widths: [usize; 3]| {
            let parts: Vec<&str> = text.split(between).collect();
            let [a, b, c]: [&str; 3] = parts.try_into().map_err(|_| NoMoment)?;
            let number = |(part, width): (&str, usize)| {
                let is_plain = part.len() == width && part.bytes().all(|b| b.is_ascii_digit());
                let number = is_plain.then(|| part.parse::<i64>().ok()).flatten();
                number.ok_or(NoMoment)
            };
            let [wide_a, wide_b, wide_c] = widths;
            Ok([
                number((a, wide_a))?,
                number((b, wide_b))?,
                number((c, wide_c))?,
            ])
        };
        let [year, month, day] = numbers(day, '-', [4, 2, 2])?;
        let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
        if hour > 23 || minute > 59 || second > 59 {
            return Err(NoMoment);
        }
        // Days since 0000-03-01, as `civil` counts them.
        let shifted_year = if month <= 2 { year - 1 } else { year };
        let era = shifted_year.div_euclid(400);
        let year_of_era = shifted_year.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
        let nanos = seconds.checked_mul(1_000_000_000).ok_or(NoMoment)?;
        let moment = Self(nanos);
        // A day that no month has would be one of the next month.
        let (y, mo, d, ..) = moment.civil();
        let same = (y, i64::from(mo), i64::from(d)) == (year, month, day);
        same.then_some(moment).ok_or(NoMoment)
    }
}

/// The ledger's clock: the count of entries in a node's log.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LogicalTime(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_time_prints_as_rfc_3339() {
        let rows = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696_789_000_000, "2000-02-29T12:34:56.789Z"),
            (1_795_344_930_000_000_000, "2026-11-22T10:55:30.000Z"),
            (-1_000_000, "1969-12-31T23:59:59.999Z"),
        ];
        for (nanos, text) in rows {
            assert_eq!(UtcTime::from_unix_nanos(nanos).to_string(), text);
        }
    }

    #[test]
    fn a_moment_is_read_as_it_is_printed_and_no_month_has_a_thirty_second() {
        for (text, printed) in [
            ("1970-01-01", Some("1970-01-01T00:00:00.000Z")),
            ("2000-02-29T12:34:56Z", Some("2000-02-29T12:34:56.000Z")),
            ("2026-12-31", Some("2026-12-31T00:00:00.000Z")),
            ("2026-03-01T23:59:59Z", Some("2026-03-01T23:59:59.000Z")),
            ("2100-02-29", None),
            ("2026-13-01", None),
            ("2026-00-10", None),
            ("2026-01-32", None),
            ("2026-01-01T24:00:00Z", None),
            ("2026-01-01T00:00:00", None),
            ("2026-1-1", None),
            ("+026-01-01", None),
            ("9999-01-01", None),
            ("", None),
        ] {
            let read = text.parse::<UtcTime>().ok().map(|it| it.to_string());
            assert_eq!(read.as_deref(), printed, "{text:?}");
        }
    }
}
