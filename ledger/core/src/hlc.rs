//! The hybrid logical clock: wall time that never runs backwards.
//!
//! It is advisory. Order within a node is the entry index; order between
//! streams is in the dependencies. The upper 48 bits hold milliseconds since
//! the Unix epoch (UTC), the lower 16 bits count events within one of them
//! (Kulkarni et al. 2014). This module never reads a clock: `now` is given.

use crate::cbor::Value;
use crate::record::{Field, SchemaError, Shown};

/// Nanoseconds in a millisecond, the unit of the physical part.
const NANOSECONDS_PER_MILLISECOND: i64 = 1_000_000;

/// Bits of the counter below the milliseconds.
/// Kulkarni et al. 2014, section 6: 48 bits of time, 16 bits of counter.
const COUNTER_BITS: u32 = 16;

/// A hybrid logical clock value. It orders like its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hlc(
    /// Milliseconds since the Unix epoch in the upper 48 bits, a counter below.
    pub u64,
);

impl Hlc {
    /// The next value at wall time `now_utc_ns`: greater than `self` always,
    /// and at the wall time whenever that has moved on. When the wall clock
    /// steps back, or more than 65,536 events fall into one millisecond, the
    /// value runs ahead of the wall and waits for it.
    #[must_use]
    pub fn tick(self, now_utc_ns: i64) -> Hlc {
        let milliseconds = (now_utc_ns / NANOSECONDS_PER_MILLISECOND).max(0) as u64;
        Hlc((milliseconds << COUNTER_BITS).max(self.0.saturating_add(1)))
    }

    /// The next value after a message that carries `other` was received.
    #[must_use]
    pub fn receive(self, other: Hlc, now_utc_ns: i64) -> Hlc {
        self.max(other).tick(now_utc_ns)
    }

    /// The physical part in milliseconds since the Unix epoch.
    pub fn utc_milliseconds(self) -> u64 {
        self.0 >> COUNTER_BITS
    }
}

impl Field for Hlc {
    fn to_value(&self) -> Value {
        self.0.to_value()
    }
    fn from_value(value: Value) -> Result<Self, SchemaError> {
        u64::from_value(value).map(Hlc)
    }
    fn shown(&self) -> Shown {
        self.0.shown()
    }
}

coded! {
    /// Where the author's wall time came from.
    ClockSource {
        /// Nothing is known about it.
        Unknown = 0 "unknown",
        /// A clock that nothing disciplines.
        FreeRunning = 1 "free-running",
        /// Disciplined by NTP.
        Ntp = 2 "ntp",
        /// Disciplined by PTP (IEEE 1588).
        Ptp = 3 "ptp",
        /// Virtual time of a simulation.
        Virtual = 4 "virtual",
    }
}

record! {
    /// How far the wall time in an atom may be trusted.
    ClockQuality {
        /// Its source.
        source: ClockSource,
        /// Bound on its offset from UTC in nanoseconds, where one is known.
        offset_ns_max: Option<u64>,
    }
}

impl ClockQuality {
    /// Nothing is known about the clock.
    pub const UNKNOWN: ClockQuality = ClockQuality {
        source: ClockSource::Unknown,
        offset_ns_max: None,
    };
    /// Virtual time: exact by definition.
    pub const VIRTUAL: ClockQuality = ClockQuality {
        source: ClockSource::Virtual,
        offset_ns_max: Some(0),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_clock_follows_the_wall_forward_and_never_back() {
        let mut clock = Hlc::default();
        let ms = 1_000_000;
        // Wall time in nanoseconds, expected milliseconds and counter.
        for (now, milliseconds, counter) in [
            (5 * ms, 5, 0),
            (5 * ms + 10, 5, 1),
            (5 * ms + 10, 5, 2),
            (3 * ms, 5, 3),
            (-7 * ms, 5, 4),
            (6 * ms, 6, 0),
        ] {
            clock = clock.tick(now);
            assert_eq!(
                (clock.utc_milliseconds(), clock.0 & 0xffff),
                (milliseconds, counter)
            );
        }
    }

    proptest! {
        #[test]
        fn every_tick_and_receipt_is_later(a in any::<u32>(), b in any::<u32>(), now in any::<i64>()) {
            let (a, b) = (Hlc(a.into()), Hlc(b.into()));
            prop_assert!(a.tick(now) > a);
            prop_assert!(a.receive(b, now) > a.max(b));
        }
    }
}
