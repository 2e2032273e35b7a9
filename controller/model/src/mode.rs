//! The operating modes of a microgrid, by name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Operating mode of the microgrid.
///
/// Grid-connected and islanded are the steady modes; the others are the ways between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Waiting for the first trustworthy image.
    Starting,
    /// Coupled to the utility, which forms voltage and frequency.
    GridConnected,
    /// Has just lost or left the utility; not yet stable.
    Islanding,
    /// Stands alone and is stable.
    Islanded,
    /// Islanded, and being matched to the utility so that the breaker may close.
    Resynchronising,
    /// Everything that moves power is at rest; left only by a person.
    Safe,
}

impl Mode {
    /// All modes.
    pub const ALL: &'static [Self] = &[
        Self::Starting,
        Self::GridConnected,
        Self::Islanding,
        Self::Islanded,
        Self::Resynchronising,
        Self::Safe,
    ];

    /// The name in telemetry, scenarios and the page.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::GridConnected => "grid_connected",
            Self::Islanding => "islanding",
            Self::Islanded => "islanded",
            Self::Resynchronising => "resynchronising",
            Self::Safe => "safe",
        }
    }

    /// Whether the microgrid stands apart from the utility.
    #[must_use]
    pub fn is_islanded(self) -> bool {
        matches!(
            self,
            Self::Islanding | Self::Islanded | Self::Resynchronising
        )
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A person's or a script's wish about the mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModeRequest {
    /// Leave the utility: open the coupling breaker.
    Island,
    /// Return to the utility when it is healthy and matched.
    Reconnect,
    /// Bring everything to rest.
    Safe,
    /// Leave the safe mode.
    Resume,
}
