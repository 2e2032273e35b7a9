//! What may be asked of a device, and what may be asked of the controller.

use quantities::{ActivePower, Frequency, PhaseAngle, ReactivePower, Voltage};
use serde::{Deserialize, Serialize};

use crate::{DeviceIx, Instant, ModeRequest, Role};

/// What a device is asked to do. Only the limiter turns one into something that drivers take.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setpoint {
    /// Hold this active and reactive power.
    Power {
        /// Active power, positive = into the bus.
        p: ActivePower,
        /// Reactive power, positive = into the bus.
        q: ReactivePower,
    },
    /// Do not give more than this active power.
    Ceiling {
        /// Upper limit of active power.
        p: ActivePower,
    },
    /// Close or open the switch.
    Switch {
        /// Whether it shall be closed.
        on: bool,
    },
    /// Hold voltage and frequency of the bus's far side, as a grid simulator does.
    /// What is `None` stays as it is.
    Source {
        /// Frequency.
        f: Option<Frequency>,
        /// Voltage, line to neutral.
        v: Option<Voltage>,
        /// Angle against the source's own reference; a change of it is a jump of the phase.
        phase: Option<PhaseAngle>,
        /// Whether the output shall be on.
        on: Option<bool>,
    },
}

impl Setpoint {
    /// The same wish as a device of this role takes it: the switch of a source is its output.
    #[must_use]
    pub fn for_role(self, role: Role) -> Self {
        match (self, role) {
            (Self::Switch { on }, Role::Source) => Self::Source {
                f: None,
                v: None,
                phase: None,
                on: Some(on),
            },
            (setpoint, _) => setpoint,
        }
    }
}

/// What the market has decided for an interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Number of the market interval.
    pub interval: u64,
    /// From when it counts.
    pub from: Instant,
    /// Until when it counts.
    pub until: Instant,
    /// Clearing price in milli-cent per kWh; `None` when nothing cleared.
    pub price_mc_per_kwh: Option<i64>,
    /// Committed exchange at the point of common coupling, positive = import.
    pub pcc: Option<ActivePower>,
    /// Committed mean power of devices, positive = into the bus.
    pub devices: Vec<(DeviceIx, ActivePower)>,
}

/// What is asked of the controller from outside: it enters as a proposal and is limited like any other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// An operator or a scenario wants a device to hold this.
    Hold {
        /// Which device.
        device: DeviceIx,
        /// What it shall hold.
        setpoint: Setpoint,
    },
    /// An operator or a scenario lets go of a device.
    Release {
        /// Which device.
        device: DeviceIx,
    },
    /// What was sent last did not reach the device (ledger, bus or device refused it):
    /// it counts as not sent.
    Forget {
        /// Which device.
        device: DeviceIx,
    },
    /// The market's result for an interval.
    Schedule(Schedule),
    /// A change of mode.
    Mode(ModeRequest),
    /// Allow (or stop) writing to devices at all.
    Arm(bool),
}
