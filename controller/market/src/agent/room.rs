//! The room of a load that heats or cools, where nobody measures it.
//!
//! Theory. One store of heat with one leak: `dT/dt = (T_end − T) / τ`. Left alone the room ends at the
//! temperature outside, with the load always on at another one, and between the two in proportion to
//! its power. That is the model of a thermostatic load of first order, as transactive controllers use it; it
//! has no sun, no people and no second store in the walls.
//!
//! Whole nanokelvins and nanoseconds, so that the same powers come to the same temperature everywhere.

use crate::quantity::{PPM, div_nearest};

/// Part of the time constant that one step takes at most, as its inverse.
/// Chosen: a hundredth; the error of the course is below half a per cent of what it moves by.
const STEPS: i64 = 100;
/// Time constants after which the room is where it ends. Chosen: 20, all but 2e-9 of the way.
const SETTLED: i64 = 20;
const NANO_PER_MILLI: i128 = 1_000_000;

/// A room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Where it ends when the load is off and when it is on, in nanokelvin.
    ends: (i128, i128),
    time_constant_ns: i64,
    temperature: i128,
}

impl Room {
    /// A room that ends at `outside_mk` with the load off and at `running_mk` with it on, and begins at
    /// `begins_mk`, all in millikelvin; `None` where the time constant is not positive or both ends are one.
    #[must_use]
    pub fn new(
        (outside_mk, running_mk): (i64, i64),
        time_constant_ns: i64,
        begins_mk: i64,
    ) -> Option<Self> {
        let nano = |milli: i64| i128::from(milli) * NANO_PER_MILLI;
        (time_constant_ns > 0 && outside_mk != running_mk).then(|| Self {
            ends: (nano(outside_mk), nano(running_mk)),
            time_constant_ns,
            temperature: nano(begins_mk),
        })
    }

    /// Lets a time go by in which the load takes this part of its power, in ppm.
    pub fn live(&mut self, for_ns: i64, share_ppm: u32) {
        let tau = self.time_constant_ns;
        let (off, on) = self.ends;
        let share = i128::from(share_ppm.min(PPM));
        let end = off + (on - off) * share / i128::from(PPM);
        let longest = (tau / STEPS).max(1);
        let mut left = for_ns.clamp(0, tau.saturating_mul(SETTLED));
        while left > 0 {
            let step = left.min(longest);
            let moved = (end - self.temperature) * i128::from(step);
            self.temperature += div_nearest(moved, i128::from(tau));
            left -= step;
        }
    }

    /// Its temperature in millikelvin.
    #[must_use]
    pub fn temperature_mk(&self) -> i64 {
        i64::try_from(div_nearest(self.temperature, NANO_PER_MILLI)).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    /// A room of ten minutes, 5 degrees outside and 35 with the load on, that begins at 20.
    fn room() -> Room {
        Room::new((278_150, 308_150), 600 * SECOND_NS, 293_150).unwrap()
    }

    #[test]
    fn a_room_goes_to_where_its_power_leads_by_the_law_of_first_order() {
        for (seconds, share_ppm, expected_mk) in [
            // 15 K below: e^-1 of it is left after ten minutes.
            (600, 0, 278_150 + 5_518),
            (600, PPM, 308_150 - 5_518),
            // Half of the power holds 20 degrees.
            (3_600, PPM / 2, 293_150),
            (100_000, 0, 278_150),
            (0, PPM, 293_150),
        ] {
            let mut room = room();
            room.live(seconds * SECOND_NS, share_ppm);
            let found = room.temperature_mk();
            assert!((found - expected_mk).abs() <= 30, "{seconds} {found}");
        }
        // In many small steps it comes to the same.
        let (mut whole, mut parts) = (room(), room());
        whole.live(60 * SECOND_NS, PPM);
        (0..600).for_each(|_| parts.live(SECOND_NS / 10, PPM));
        assert!((whole.temperature_mk() - parts.temperature_mk()).abs() <= 10);
        assert_eq!(Room::new((1, 1), 1, 0), None);
        assert_eq!(Room::new((1, 2), 0, 0), None);
    }
}
