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
    /// Still coupled, on the way out: the exchange is brought to zero and the breaker opened.
    Leaving,
    /// Has just lost or left the utility; not yet stable.
    Islanding,
    /// Stands alone and is stable.
    Islanded,
    /// Islanded, and being matched to the utility so that the breaker may close.
    Resynchronising,
    /// Apart from the utility, and nobody forms voltage.
    Blackout,
    /// A grid-forming unit is brought up on the dead bus, loads open.
    BlackStarting,
    /// Everything that moves power is at rest; left only by a person.
    Safe,
}

impl Mode {
    /// All modes.
    pub const ALL: &'static [Self] = &[
        Self::Starting,
        Self::GridConnected,
        Self::Leaving,
        Self::Islanding,
        Self::Islanded,
        Self::Resynchronising,
        Self::Blackout,
        Self::BlackStarting,
        Self::Safe,
    ];

    /// The name in telemetry, scenarios and the page.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::GridConnected => "grid_connected",
            Self::Leaving => "leaving",
            Self::Islanding => "islanding",
            Self::Islanded => "islanded",
            Self::Resynchronising => "resynchronising",
            Self::Blackout => "blackout",
            Self::BlackStarting => "black_starting",
            Self::Safe => "safe",
        }
    }

    /// Whether the utility forms voltage and frequency.
    #[must_use]
    pub fn is_coupled(self) -> bool {
        matches!(self, Self::GridConnected | Self::Leaving)
    }

    /// Whether the bus is dead, or is only just being brought up.
    #[must_use]
    pub fn is_dark(self) -> bool {
        matches!(self, Self::Blackout | Self::BlackStarting)
    }

    /// Whether the microgrid stands apart from the utility and is alive.
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
    /// Leave the utility when the exchange has come to rest; given up when it does not.
    Island,
    /// Leave the utility because it demands so: in time, at rest or not.
    Disconnect,
    /// Return to the utility when it is healthy and matched.
    Reconnect,
    /// Bring up a dead bus.
    BlackStart,
    /// Bring everything to rest.
    Safe,
    /// Leave the safe mode.
    Resume,
}

impl ModeRequest {
    /// All requests with their names in scenarios and the API.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("island", Self::Island),
        ("disconnect", Self::Disconnect),
        ("reconnect", Self::Reconnect),
        ("black_start", Self::BlackStart),
        ("safe", Self::Safe),
        ("resume", Self::Resume),
    ];

    /// The name in scenarios and the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Island => "island",
            Self::Disconnect => "disconnect",
            Self::Reconnect => "reconnect",
            Self::BlackStart => "black_start",
            Self::Safe => "safe",
            Self::Resume => "resume",
        }
    }
}
