//! What may be asked of a device, and what may be asked of the controller.

use std::fmt;
use std::time::Duration;

use quantities::{ActivePower, Bounds, Frequency, PhaseAngle, Quantity, ReactivePower, Voltage};
use serde::{Deserialize, Serialize};

use crate::{Characteristic, DeviceIx, DeviceSpec, Instant, ModeRequest, Role, ServiceIx};

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
    /// Most power of photovoltaics whose offer the network does not bear; who is not listed gives what
    /// the sun does.
    pub ceilings: Vec<(DeviceIx, ActivePower)>,
}

/// What devices have ready for a service in an interval, and in which order they are called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Readiness {
    /// Which service.
    pub service: ServiceIx,
    /// From when it counts.
    pub from: Instant,
    /// Until when it counts.
    pub until: Instant,
    /// Who is ready for how much.
    pub shares: Vec<ReadyShare>,
}

/// What one device has ready.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadyShare {
    /// Which device.
    pub device: DeviceIx,
    /// Power upwards, more into the bus.
    pub up: ActivePower,
    /// Power downwards, as a magnitude.
    pub down: ActivePower,
    /// The lowest is called upwards first.
    pub up_rank: u16,
    /// The lowest is called downwards first.
    pub down_rank: u16,
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
    /// The market's result for an interval; it takes the place of what was said of it before.
    Schedule(Schedule),
    /// The market tries out whether the meter of a device follows its setpoint, before it trades.
    Probe {
        /// Which device.
        device: DeviceIx,
        /// What it shall do.
        p: ActivePower,
        /// Until when.
        until: Instant,
    },
    /// The utility asks for something else at the point of common coupling: this holds from now on.
    Agree(Agreement),
    /// The set point of a service that follows one: a fraction of its contract, positive = more into
    /// the bus.
    Signal {
        /// Which service.
        service: ServiceIx,
        /// From -1 to 1.
        fraction: f64,
    },
    /// The operational baseline of a device that delivers services: what it would do without them. It
    /// counts from now on, or from the end of an event under way.
    Baseline {
        /// Which device.
        device: DeviceIx,
        /// Power, positive = into the bus.
        p: ActivePower,
    },
    /// A change of mode.
    Mode(ModeRequest),
    /// Allow (or stop) writing to devices at all.
    Arm(bool),
    /// Bring the devices of a step to rest and decide nothing more: the safe end, step by step.
    Rest(RestStep),
    /// A device hears nothing any more (or hears us again): what is asked of it waits.
    Unplug {
        /// Which device.
        device: DeviceIx,
        /// Whether its plug is out.
        out: bool,
    },
    /// How long it has lately taken from a frequency to a setpoint that a storage has taken over.
    LoopDelay(Duration),
    /// The emergency stop is not seen closed: the safe mode, and the coupling breaker first.
    EmergencyStop,
    /// Another unit is to form the island, now or when there is one.
    HandOver {
        /// Which unit.
        to: DeviceIx,
    },
    /// A device is to follow another characteristic by itself.
    Adopt {
        /// Which device.
        device: DeviceIx,
        /// What it shall follow.
        characteristic: Characteristic,
        /// Time after which it shall give it up by itself; `None`: as the device has it.
        revert: Option<Duration>,
    },
    /// Control has not run for a heartbeat, and devices were brought to rest without it: the safe mode.
    HeartbeatLost,
    /// Who is ready for a service that the market buys.
    Ready(Readiness),
}

/// What is agreed with the utility about the point of common coupling; `None` = nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Exchange to hold when the market says nothing; positive = import.
    pub target: Option<ActivePower>,
    /// Exchange that is allowed; positive = import.
    pub limits: Option<Bounds<ActivePower>>,
    /// Least power factor.
    pub pf_min: Option<f64>,
    /// Reactive power to hold, in place of a power factor.
    pub q: Option<ReactivePower>,
}

impl Agreement {
    /// Why it cannot be agreed; `None` when it can.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        let finite = |q: Option<f64>| q.is_none_or(f64::is_finite);
        let outside = match (self.target, self.limits) {
            (Some(target), Some(limits)) => !limits.contains(target),
            _ => false,
        };
        if !finite(self.target.map(Quantity::base)) || !finite(self.q.map(Quantity::base)) {
            Some("the exchange to hold is not a finite number")
        } else if outside {
            Some("the exchange to hold must lie inside the limits")
        } else if self.pf_min.is_some_and(|pf| !(0.5..=1.0).contains(&pf)) {
            Some("the power factor must lie between 0.5 and 1")
        } else {
            None
        }
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            self.target.map(|p| format!("{p:.1} exchanged")),
            self.limits.map(|limits| format!("within {limits:.1}")),
            self.pf_min
                .map(|pf| format!("power factor of {pf:.2} at least")),
            self.q.map(|q| format!("{q:.1}")),
        ];
        let words: Vec<String> = words.into_iter().flatten().collect();
        if words.is_empty() {
            f.write_str("nothing")
        } else {
            f.write_str(&words.join(", "))
        }
    }
}

/// A step of the safe end. Their order is the rig's to say; this is the usual one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestStep {
    /// Grid simulators go back to the site's nominal values.
    Sources,
    /// Loads that take a setpoint go to their safe power.
    Loads,
    /// Storages, and sets that can be told, go to their safe power.
    Storages,
    /// Ceilings of photovoltaics go to their safe value: they are lifted.
    Pv,
    /// Switched loads go to their safe position.
    Plugs,
    /// The coupling breaker is opened, where the rig wants that.
    Breaker,
}

impl RestStep {
    /// All steps in the usual order, with their names in a rig file: what disturbs a bench stops
    /// first, what carries it stops last.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("sources", Self::Sources),
        ("loads", Self::Loads),
        ("storages", Self::Storages),
        ("pv", Self::Pv),
        ("plugs", Self::Plugs),
        ("breaker", Self::Breaker),
    ];

    /// The name in a rig file and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sources => "sources",
            Self::Loads => "loads",
            Self::Storages => "storages",
            Self::Pv => "pv",
            Self::Plugs => "plugs",
            Self::Breaker => "breaker",
        }
    }

    /// The step in which a device is brought to rest; `None` for one that only measures.
    #[must_use]
    pub fn of(spec: &DeviceSpec) -> Option<Self> {
        match spec.role {
            Role::Source => Some(Self::Sources),
            Role::Ess | Role::Genset => Some(Self::Storages),
            Role::Pv => Some(Self::Pv),
            Role::Breaker => Some(Self::Breaker),
            Role::Load if spec.takes_power || spec.takes_ceiling => Some(Self::Loads),
            Role::Load => Some(Self::Plugs),
            Role::Pcc | Role::Battery | Role::Meter => None,
        }
    }
}
