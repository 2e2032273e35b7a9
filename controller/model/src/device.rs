//! A device of the bench, as the controller knows it before it has measured anything.

use std::fmt;
use std::sync::Arc;

use quantities::{
    ActivePower, ApparentPower, Bounds, Energy, Frequency, FrequencyRate, PowerRamp, StateOfCharge,
    Temperature, Voltage, VoltageRate,
};
use serde::{Deserialize, Serialize};

/// The name of a device in its rig, such as `inv1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceId(pub Arc<str>);

impl DeviceId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for DeviceId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Place of a device in the rig's list: the same index in every table of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceIx(pub u16);

impl DeviceIx {
    /// The index as a number for slices.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What a device is for on the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Meter at the point of common coupling; positive = import.
    Pcc,
    /// Breaker at the point of common coupling.
    Breaker,
    /// Photovoltaic inverter: follows the sun, takes a ceiling.
    Pv,
    /// Energy storage: takes a power setpoint of either sign.
    Ess,
    /// Battery behind an energy storage inverter: reports charge and limits.
    Battery,
    /// Load; with a switch it can be shed.
    Load,
    /// Meter that only informs.
    Meter,
    /// Grid simulator: it is the utility of the bench and takes voltage and frequency.
    Source,
    /// Engine set with a governor: it is told to run or to stand, and gives what its bus asks for.
    Genset,
}

impl Role {
    /// All roles with their names in a rig file.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("pcc", Self::Pcc),
        ("breaker", Self::Breaker),
        ("pv", Self::Pv),
        ("ess", Self::Ess),
        ("battery", Self::Battery),
        ("load", Self::Load),
        ("meter", Self::Meter),
        ("source", Self::Source),
        ("genset", Self::Genset),
    ];

    /// The name in a rig file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcc => "pcc",
            Self::Breaker => "breaker",
            Self::Pv => "pv",
            Self::Ess => "ess",
            Self::Battery => "battery",
            Self::Load => "load",
            Self::Meter => "meter",
            Self::Source => "source",
            Self::Genset => "genset",
        }
    }
}

/// What a device may be asked for. Limits of the rig, never wider than the nameplate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rating {
    /// Active power that may be asked for.
    pub p: Bounds<ActivePower>,
    /// Apparent power that the device can carry.
    pub s_max: ApparentPower,
    /// Largest change of the active power setpoint over time.
    pub ramp: PowerRamp,
    /// State of charge inside which a storage may be used.
    pub soc: Bounds<StateOfCharge>,
    /// Usable energy of a storage at full charge, if it is one and the rig says so.
    pub capacity: Option<Energy>,
    /// What a storage loses between its AC terminals and its charge.
    pub efficiency: Efficiency,
    /// What a source may be asked for, if it is one.
    pub source: Option<SourceRating>,
    /// Temperatures of the battery in which a storage may be used; `None` = the rig states none.
    pub temperature: Option<TemperatureRating>,
}

/// What a storage keeps of the energy that passes between its AC terminals and its charge, as fractions
/// above 0 up to 1. Of what it takes in it stores the one share; of what its charge gives, the other comes out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Efficiency {
    /// Of charging.
    pub charge: f64,
    /// Of discharging.
    pub discharge: f64,
}

impl Efficiency {
    /// Nothing is lost.
    pub const LOSSLESS: Self = Self {
        charge: 1.0,
        discharge: 1.0,
    };
    /// What counts where nothing is stated. Chosen: 95 % each way, the usual round trip of 90 % that data
    /// sheets of lithium storages say.
    pub const USUAL: Self = Self {
        charge: 0.95,
        discharge: 0.95,
    };

    /// What the charge must give for this energy at the terminals.
    #[must_use]
    pub fn drawn(self, given: Energy) -> Energy {
        given * (1.0 / self.discharge)
    }

    /// What of this energy, taken in at the terminals, is stored.
    #[must_use]
    pub fn stored(self, taken: Energy) -> Energy {
        taken * self.charge
    }

    /// Energy that this much of the charge gives at the terminals.
    #[must_use]
    pub fn gives(self, charge: Energy) -> Energy {
        charge * self.discharge
    }

    /// Energy at the terminals that fills this much room.
    #[must_use]
    pub fn fills(self, room: Energy) -> Energy {
        room * (1.0 / self.charge)
    }
}

/// Temperatures of a battery in which it may be used. Limits of the rig.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemperatureRating {
    /// In which it may be charged.
    pub charge: Bounds<Temperature>,
    /// In which it may be discharged.
    pub discharge: Bounds<Temperature>,
}

/// What a device does about voltage and frequency where no utility is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forming {
    /// It follows a voltage that somebody else forms.
    #[default]
    Follows,
    /// It forms one, and shares power with others along a droop.
    Droops,
    /// It forms one and holds its frequency: two of them on one bus fight.
    Isochronous,
}

/// What a grid simulator may be asked for. Limits of the rig.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceRating {
    /// Frequency.
    pub f: Bounds<Frequency>,
    /// Voltage, line to neutral.
    pub v: Bounds<Voltage>,
    /// Largest rate of change of the frequency; `None` = a step.
    pub rocof: Option<FrequencyRate>,
    /// Largest rate of change of the voltage; `None` = a step.
    pub slew: Option<VoltageRate>,
    /// Where it goes back to at a safe end: the site's nominal values.
    pub nominal: (Frequency, Voltage),
}

/// A device of the rig.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// Its name.
    pub id: DeviceId,
    /// What it is for.
    pub role: Role,
    /// What it may be asked for.
    pub rating: Rating,
    /// Order of shedding: 1 goes first; `None` is never shed.
    pub shed: Option<u8>,
    /// The battery behind this storage inverter.
    pub battery: Option<DeviceIx>,
    /// Whether the profile can take an active power setpoint.
    pub takes_power: bool,
    /// Whether that includes reactive power.
    pub takes_reactive: bool,
    /// Whether the profile can take an active power ceiling.
    pub takes_ceiling: bool,
    /// Whether the profile has a switch that can be set.
    pub takes_switch: bool,
    /// Power for a safe end: the setpoint of a storage, the ceiling of anything else.
    pub safe_p: ActivePower,
    /// Position of a switched load for a safe end; `None` leaves it as it is.
    pub safe_on: Option<bool>,
    /// What it does where no utility is.
    pub forming: Forming,
    /// Oldest age at which a sample of this device still counts as fresh.
    pub sample_age_max: std::time::Duration,
}
