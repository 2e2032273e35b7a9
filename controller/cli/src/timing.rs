//! Times that are proposed for a bus after it was measured.

use std::time::Duration;

/// A time-out is proposed to be so many round trips. Chosen: 5, which leaves room for one resend
/// by the network and for a device that is busy with its display.
const TIMEOUT_ROUND_TRIPS: u32 = 5;
/// Shortest time-out that is proposed. Chosen: 50 ms, the jitter of USB adapters.
const TIMEOUT_MIN: Duration = Duration::from_millis(50);
/// Proposals are whole multiples of this: nobody wants to read 217 ms. Chosen.
const STEP_MS: u128 = 10;
/// First silence that is proposed where requests were lost without any.
/// Chosen: 5 ms, what most serial converters need to turn round.
const GAP_FIRST: Duration = Duration::from_millis(5);

/// The time-out for a bus on which an answer took this long.
pub fn timeout(round_trip: Duration) -> Duration {
    let wanted = (round_trip * TIMEOUT_ROUND_TRIPS).max(TIMEOUT_MIN);
    let steps = wanted.as_micros().div_ceil(STEP_MS * 1000);
    Duration::from_millis(u64::try_from(steps * STEP_MS).unwrap_or(u64::MAX))
}

/// The silence before a request for a bus that was asked with this one: the same when nothing was
/// lost, more when something was.
pub fn min_gap(used: Duration, lost: u64) -> Duration {
    match lost {
        0 => used,
        _ => (used * 2).max(GAP_FIRST),
    }
}

/// A time as a rig writes it.
pub fn text(time: Duration) -> String {
    match time.subsec_millis() {
        0 if !time.is_zero() => format!("{}s", time.as_secs()),
        _ => format!("{}ms", time.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_leaves_room_for_five_round_trips_and_for_jitter() {
        for (round_trip_ms, expected) in [(0, "50ms"), (9, "50ms"), (11, "60ms"), (200, "1s")] {
            let proposed = timeout(Duration::from_millis(round_trip_ms));
            assert_eq!(text(proposed), expected, "{round_trip_ms}");
        }
    }

    #[test]
    fn a_gap_grows_only_where_something_was_lost() {
        for (used_ms, lost, expected) in [
            (0, 0, "0ms"),
            (0, 1, "5ms"),
            (20, 0, "20ms"),
            (20, 3, "40ms"),
        ] {
            assert_eq!(
                text(min_gap(Duration::from_millis(used_ms), lost)),
                expected
            );
        }
    }
}
