//! Services that the bench has sold: how they are named between the rooms, and what is told of them.

use quantities::ActivePower;
use serde::{Deserialize, Serialize};

/// Place of a service in the rig's list: the same index in every table of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServiceIx(pub u16);

impl ServiceIx {
    /// The index as a number for slices.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// How far a service is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServicePhase {
    /// Nothing to speak of is wanted of it.
    #[default]
    Ready,
    /// On the way to what is wanted.
    Activating,
    /// What is wanted is given.
    Holding,
    /// On the way back.
    Releasing,
    /// Back, and not to be asked again before its time.
    Recovering,
}

impl ServicePhase {
    /// The name in events and files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Activating => "activating",
            Self::Holding => "holding",
            Self::Releasing => "releasing",
            Self::Recovering => "recovering",
        }
    }
}

/// What a service is asked for now, and what it could give. Positive is more power into the bus.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// Which service.
    pub service: ServiceIx,
    /// How far it is.
    pub phase: ServicePhase,
    /// Power that it is to give on top of the baseline now.
    pub asked: ActivePower,
    /// Power of its devices that was declared before the event; `None` while nothing is delivered,
    /// as in an island.
    pub baseline: Option<ActivePower>,
    /// Power that other services ask of its devices now.
    pub others: ActivePower,
    /// Additional power that it could give for its time if it were asked now.
    pub up: ActivePower,
    /// The same downwards, as a magnitude.
    pub down: ActivePower,
    /// Whether that is enough of what was sold to count as available.
    pub available: bool,
}
