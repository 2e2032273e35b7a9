//! A rig as the emulator needs it, and why one cannot be emulated.

use std::sync::Arc;
use std::time::Duration;

use model::Role;
use quantities::{ActivePower, Energy, PowerRamp, StateOfCharge};

use crate::broker::BrokerError;
use crate::course::Course;
use crate::day::DayCurve;
use crate::faults::Fault;
use crate::plant::breaker::SyncCheck;
use crate::plant::genset::Governor;
use crate::plant::load::{Inrush, Shape};
use crate::plant::network::Feeder;
use crate::plant::{Forming, FormingLaw, Site};
use crate::world::SignalError;

/// A rig as the emulator needs it.
#[derive(Clone, Debug)]
pub struct BenchSpec {
    /// Nominal values.
    pub site: Site,
    /// The feeder to the grid.
    pub feeder: Feeder,
    /// The network between the devices, which takes the feeder's place.
    pub network: Option<Arc<network::description::Network>>,
    /// How storages form an island.
    pub forming: Forming,
    /// Windows of the breaker's sync-check.
    pub sync: SyncCheck,
    /// Whether the breaker opens by itself when the utility is lost.
    pub relay: bool,
    /// Buses.
    pub buses: Vec<BusSpec>,
    /// Devices, in the order of the rig.
    pub devices: Vec<DeviceSpec>,
    /// Course of the day, if sun and loads shall move by themselves.
    pub day: Option<DayCurve>,
    /// Recorded course of loads, sun and utility; it begins with the plant.
    pub course: Option<Course>,
    /// Seed of all noise and chance.
    pub seed: u64,
}

/// Kind of a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusKind {
    /// Modbus TCP.
    ModbusTcp,
    /// Modbus RTU inside a TCP connection.
    ModbusRtuTcp,
    /// Modbus RTU.
    ModbusRtu,
    /// CAN, reached through socketcand.
    Can,
    /// CAN, reached through a serial adapter that speaks slcan.
    SerialCan,
    /// MQTT.
    Mqtt,
    /// SCPI over TCP.
    ScpiTcp,
    /// SCPI over a serial line.
    ScpiSerial,
}

/// A bus.
#[derive(Clone, Debug, PartialEq)]
pub struct BusSpec {
    /// Name in the rig.
    pub id: Arc<str>,
    /// Kind.
    pub kind: BusKind,
    /// TCP port to listen on; `None` = any free one.
    pub port: Option<u16>,
    /// Name of the CAN interface that clients must open.
    pub interface: Arc<str>,
}

/// A device.
#[derive(Clone, Debug)]
pub struct DeviceSpec {
    /// Name in the rig.
    pub id: Arc<str>,
    /// What it is for.
    pub role: Role,
    /// Its profile.
    pub profile: Arc<profile::Profile>,
    /// The bus that it hangs on.
    pub bus: Arc<str>,
    /// Modbus unit, if the rig overrides the profile's.
    pub unit: Option<u8>,
    /// MQTT topic.
    pub topic: Option<String>,
    /// Name of the battery behind a storage inverter, as the rig says it.
    pub battery: Option<Arc<str>>,
    /// How it is emulated.
    pub emulate: Emulate,
}

/// How a device is emulated; what is `None` has a default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Emulate {
    /// Rated power of an inverter.
    pub rated: Option<ActivePower>,
    /// Usable energy of a storage.
    pub capacity: Option<Energy>,
    /// Charge at the beginning.
    pub soc: Option<StateOfCharge>,
    /// Fastest change of power.
    pub ramp: Option<PowerRamp>,
    /// Power of a load at nominal voltage, positive = consumption.
    pub load: Option<ActivePower>,
    /// Power that the sun offers at the beginning.
    pub available: Option<ActivePower>,
    /// Whether a plug is on at the beginning; on unless said otherwise.
    pub on: Option<bool>,
    /// How a load depends on its voltage.
    pub shape: Option<Shape>,
    /// Change of a load's power per change of frequency, both in per unit.
    pub damping: Option<f64>,
    /// Quality factor with which a load resonates at nominal frequency.
    pub quality: Option<f64>,
    /// What a load draws when it gets its voltage.
    pub inrush: Option<Inrush>,
    /// How a storage forms an island, where it differs from the rest of the plant.
    pub law: Option<FormingLaw>,
    /// Whether a storage can form an island; it can unless said otherwise.
    pub forms: Option<bool>,
    /// Settings of a photovoltaic or storage inverter that is a DER to IEEE 1547-2018.
    pub der: Option<der_model::Settings>,
    /// What a diesel set is made of.
    pub set: EmulatedSet,
    /// The device that a meter measures; without one, a meter has a load of its own.
    pub measures: Option<Arc<str>>,
    /// Faults from the beginning.
    pub faults: Vec<Fault>,
}

/// What a diesel set is made of, beside its rating; what is `None` has a default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EmulatedSet {
    /// Droop of the governor in per unit of nominal frequency at rated power.
    pub droop: Option<f64>,
    /// Inertia constant.
    pub inertia: Option<Duration>,
    /// Time constant of governor and engine.
    pub lag: Option<Duration>,
    /// Time from a start command until it can take load.
    pub starts_in: Option<Duration>,
    /// How the governor holds the frequency.
    pub governor: Governor,
    /// Power at nominal frequency at the beginning.
    pub p: Option<ActivePower>,
    /// Whether it runs on load from the beginning.
    pub running: bool,
}

/// Why a bench cannot be made or started.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A device names a bus that is not there.
    #[error("device `{device}` hangs on bus `{bus}`, which is not in the rig")]
    NoBus {
        /// The device.
        device: Arc<str>,
        /// The bus.
        bus: Arc<str>,
    },
    /// A device names another one that is not there or does not fit.
    #[error("device `{device}` refers to `{other}`, which is not a device that it can belong to")]
    NoPartner {
        /// The device.
        device: Arc<str>,
        /// What it refers to.
        other: Arc<str>,
    },
    /// A battery has no storage inverter.
    #[error("battery `{device}` has no storage inverter in the rig (role `ess`)")]
    LonelyBattery {
        /// The battery.
        device: Arc<str>,
    },
    /// The profile speaks another protocol than the bus.
    #[error("the profile of `{device}` does not speak the protocol of bus `{bus}`")]
    WrongProtocol {
        /// The device.
        device: Arc<str>,
        /// The bus.
        bus: Arc<str>,
    },
    /// A line of SCPI without an instrument.
    #[error("bus `{bus}` has no instrument")]
    NoInstrument {
        /// The bus.
        bus: Arc<str>,
    },
    /// An MQTT device without a topic, or with one that is too short.
    #[error("device `{device}` needs a `topic` of {levels} or more levels")]
    NoTopic {
        /// The device.
        device: Arc<str>,
        /// How many levels its profile speaks of.
        levels: usize,
    },
    /// The network between the devices is no tree.
    #[error("the network: {0}")]
    Network(#[from] network::tree::TreeError),
    /// The recorded course moves a signal that the bench does not have.
    #[error("the recorded course: {0}")]
    Course(SignalError),
    /// The day moves a signal that the bench does not have.
    #[error("the course of the day: {0}")]
    Day(SignalError),
    /// The wrong kind of in-memory link, or none, for a bus.
    #[error("bus `{bus}` was given no in-memory link that fits it")]
    NoLink {
        /// The bus.
        bus: Arc<str>,
    },
    /// A socket or pty could not be opened.
    #[error("bus `{bus}`: {source}")]
    Io {
        /// The bus.
        bus: Arc<str>,
        /// What the system says.
        source: std::io::Error,
    },
    /// The embedded broker did not start.
    #[error("bus `{bus}`: {source}")]
    Broker {
        /// The bus.
        bus: Arc<str>,
        /// Why.
        source: BrokerError,
    },
}
