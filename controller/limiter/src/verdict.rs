//! What the limiter says of a wish: let through, with what was changed on the way, or refused.

use std::fmt;

use model::{NotACharacteristic, Setpoint};
use quantities::{ActivePower, Frequency, PhaseAngle, ReactivePower, Temperature, Voltage};

use crate::Approved;

/// What the limiter changed about a wish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clamp {
    /// The rig's limit of the device.
    Rating {
        /// What was wished for.
        wished: ActivePower,
    },
    /// State of charge or battery current limits.
    Battery {
        /// What was wished for.
        wished: ActivePower,
    },
    /// The battery is too cold or too warm, or how warm it is, is not known.
    Temperature {
        /// What was wished for.
        wished: ActivePower,
        /// What it was last seen to be, if ever.
        seen: Option<Temperature>,
    },
    /// The rig's limit of the exchange with the utility.
    Exchange {
        /// What was wished for.
        wished: ActivePower,
        /// What is exchanged now, positive = import; `None` when it is not known.
        seen: Option<ActivePower>,
    },
    /// Nobody forms the voltage of the bus.
    NoFormer {
        /// What was wished for.
        wished: ActivePower,
    },
    /// Rate of change.
    Ramp {
        /// What was wished for.
        wished: ActivePower,
    },
    /// Apparent power: active power has priority.
    Apparent {
        /// What was wished for.
        wished: ReactivePower,
    },
    /// The rig's limit of a source's frequency.
    Frequency {
        /// What was wished for.
        wished: Frequency,
    },
    /// The rig's limit of a source's voltage.
    Voltage {
        /// What was wished for.
        wished: Voltage,
    },
    /// Rate of change of a source's frequency.
    Rocof {
        /// What was wished for.
        wished: Frequency,
    },
    /// Rate of change of a source's voltage.
    Slew {
        /// What was wished for.
        wished: Voltage,
    },
}

impl fmt::Display for Clamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rating { wished } => write!(f, "rating, wished {wished:.1}"),
            Self::Battery { wished } => write!(f, "battery, wished {wished:.1}"),
            Self::Temperature {
                wished,
                seen: Some(t),
            } => write!(f, "battery at {t:.1}, wished {wished:.1}"),
            Self::Temperature { wished, seen: None } => {
                write!(f, "battery temperature not known, wished {wished:.1}")
            }
            Self::Exchange {
                wished,
                seen: Some(p),
            } => write!(
                f,
                "limit of the exchange, {p:.1} imported, wished {wished:.1}"
            ),
            Self::Exchange { wished, seen: None } => {
                write!(f, "exchange not known, wished {wished:.1}")
            }
            Self::NoFormer { wished } => write!(f, "nobody forms the bus, wished {wished:.1}"),
            Self::Ramp { wished } => write!(f, "ramp, wished {wished:.1}"),
            Self::Apparent { wished } => write!(f, "apparent power, wished {wished:.1}"),
            Self::Frequency { wished } => write!(f, "frequency limit, wished {wished:.3}"),
            Self::Voltage { wished } => write!(f, "voltage limit, wished {wished:.1}"),
            Self::Rocof { wished } => write!(f, "rate of frequency, wished {wished:.3}"),
            Self::Slew { wished } => write!(f, "rate of voltage, wished {wished:.1}"),
        }
    }
}

/// Why a wish was refused altogether.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The rig has no such device.
    #[error("there is no such device")]
    NoSuchDevice,
    /// The wish is not a number.
    #[error("the setpoint is not a finite number")]
    NotANumber,
    /// The profile cannot take this kind of setpoint.
    #[error("its profile cannot take this kind of setpoint")]
    NotDispatchable,
    /// The device does not answer.
    #[error("it is offline")]
    Offline,
    /// No device could follow such a characteristic.
    #[error("it is no characteristic: {0}")]
    NotACharacteristic(NotACharacteristic),
    /// Closing onto a utility that is not seen to be healthy: a dead one would be back-fed.
    #[error("the utility side of the breaker is not known to be healthy")]
    GridNotHealthy,
    /// Closing while it is not known whether there is voltage on the bus.
    #[error("whether there is voltage on the bus is not known")]
    BusNotKnown,
    /// Closing while the bus stands somewhere between dead and alive.
    #[error("the bus is neither dead nor alive: it stands at {v:.1}")]
    BusBetween {
        /// Where it stands.
        v: Voltage,
    },
    /// Closing onto a live bus whose angle or frequency against the utility is not known.
    #[error("the bus is alive, and {what} across the breaker is not known")]
    StepNotKnown {
        /// What is not known.
        what: &'static str,
    },
    /// Closing onto a live bus that is out of step.
    #[error(
        "the two sides are {df:.3}, {dv:.1} and {angle:.1} apart; {by} is beyond the limit of {limit}"
    )]
    OutOfStep {
        /// Difference of frequency, bus less utility.
        df: Frequency,
        /// Difference of voltage, bus less utility.
        dv: Voltage,
        /// Angle that is expected at the worst moment of closing.
        angle: PhaseAngle,
        /// Which of them is too large.
        by: &'static str,
        /// Its limit.
        limit: f64,
    },
    /// Bringing up a dead bus that may still hang on the utility.
    #[error(
        "the bus is dead and the coupling breaker is not seen open: the utility would be back-fed"
    )]
    BackFeed,
    /// Connecting a unit that only follows where nobody forms voltage and frequency.
    #[error("it follows a voltage, and nobody forms one on this bus")]
    NoFormer,
    /// A second unit that holds frequency without droop.
    #[error("another unit that forms without droop is not known to be off")]
    TwoUndrooped,
}

impl Refusal {
    /// Whether two refusals have the same reason, whatever their numbers.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// An approved setpoint and what was changed on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What may be written.
    pub approved: Approved<Setpoint>,
    /// What the limiter changed, in the order of the rules.
    pub clamps: Vec<Clamp>,
}
