//! Whether a meter says the same direction as the setpoint of its device.
//!
//! Theory. Positive is into the bus, for a setpoint as for a reading. A current transformer the wrong way
//! round, or a sign in a profile, turns a sale into a purchase, and nobody sees it in the books: they
//! sum to zero all the same. So a device is asked for a little more and a little less before it trades,
//! and its meter has to follow by half of that at least. What no setpoint moves has a direction by its
//! kind: the sun gives, a load takes.
//!
//! Not responsible for asking, or for when a reading is one of what was asked.

use crate::fault::Coded;

/// Part of what was asked by which a meter must follow to be believed, as its inverse.
/// Chosen: half; noise is far below it, and a device that is held back by a limit is far above.
const FOLLOWS_FROM: i128 = 2;

/// Why a device may not trade.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignFault {
    /// Its meter goes the other way.
    #[error(
        "the meter of `{device}` went by {measured} mW when its setpoint went by {asked} mW: one of them has the wrong sign"
    )]
    Opposite {
        /// Which device.
        device: String,
        /// Change of its setpoint in mW.
        asked: i64,
        /// Change of its reading in mW.
        measured: i64,
    },
    /// Its meter does not go with it.
    #[error(
        "the meter of `{device}` went by {measured} mW when its setpoint went by {asked} mW: it does not follow"
    )]
    Still {
        /// Which device.
        device: String,
        /// Change of its setpoint in mW.
        asked: i64,
        /// Change of its reading in mW.
        measured: i64,
    },
    /// It says what a device of its kind does not do.
    #[error("the meter of `{device}` says {measured} mW, and its kind only {does}")]
    Kind {
        /// Which device.
        device: String,
        /// Its reading in mW.
        measured: i64,
        /// What its kind does.
        does: &'static str,
    },
    /// Nobody could try it out yet.
    #[error("whether the meter of `{device}` follows its setpoint is not known yet")]
    Untried {
        /// Which device.
        device: String,
    },
}

impl Coded for SignFault {
    fn code(&self) -> &'static str {
        match self {
            Self::Opposite { .. } | Self::Kind { .. } => "M061",
            Self::Still { .. } => "M062",
            Self::Untried { .. } => "M063",
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Opposite { device, .. }
            | Self::Still { device, .. }
            | Self::Kind { device, .. }
            | Self::Untried { device } => format!("meter of `{device}`"),
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Opposite { .. } | Self::Kind { .. } => {
                "look at the current transformer, at `invert` and at the profile, and begin the run again"
            }
            Self::Still { .. } => "see whether it is on, obeys, and is not held by anybody",
            Self::Untried { .. } => "arm the bench, and see whether the device answers",
        }
        .into()
    }
}

/// Judges by how far a reading went when a setpoint went by so much, both in mW.
///
/// # Errors
/// Why the device may not trade.
pub fn judge(device: &str, asked: i64, measured: i64) -> Result<(), SignFault> {
    let device = device.to_owned();
    let (a, m) = (i128::from(asked), i128::from(measured));
    let goes_with = a.signum() * m;
    let least = a.abs() / FOLLOWS_FROM;
    if least > 0 && goes_with >= least {
        Ok(())
    } else if least > 0 && goes_with <= -least {
        Err(SignFault::Opposite {
            device,
            asked,
            measured,
        })
    } else {
        Err(SignFault::Still {
            device,
            asked,
            measured,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_must_follow_its_setpoint_by_half_and_to_the_same_side() {
        for (asked, measured, code) in [
            (1_000, 990, ""),
            (1_000, 500, ""),
            (-1_000, -700, ""),
            (1_000, -990, "M061"),
            (-1_000, 500, "M061"),
            (1_000, 499, "M062"),
            (1_000, -499, "M062"),
            (0, 1_000, "M062"),
            (i64::MAX, i64::MIN, "M061"),
        ] {
            let found = judge("ess1", asked, measured);
            let found = found.map_or_else(|fault| fault.code(), |()| "");
            assert_eq!(found, code, "{asked} {measured}");
        }
    }
}
