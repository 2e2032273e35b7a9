//! The rig: what is on the bench, where, and with which limits. No logic.
//!
//! A rig is a TOML file (its reference is `rigs/README.md`). Loading one gives a
//! [`Rig`] whose every promise has been checked, or all faults at once, each with
//! its place. What a rig means to the control core is said by [`Rig::bench`].

mod alarms;
mod bench;
mod buses;
mod checks;
mod codes;
mod devices;
mod emulated;
mod hardware;
mod interlocks;
mod ledger;
mod network;
mod parse;
mod sections;
mod services;
mod telemetry;
mod trade;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use document::{Diagnostic, Source};
use model::{Efficiency, Forming, RestStep, Role};
use profile::Profile;
use profile::modbus::SerialSettings;
use quantities::{
    ActivePower, ApparentPower, Bounds, Energy, Frequency, FrequencyRate, PowerRamp, StateOfCharge,
    Temperature, Voltage, VoltageRate,
};

pub use codes::EXPLANATIONS;
pub use emulated::Physics;
pub use hardware::{Hardware, POWER_CYCLE_WITHIN, PowerCycle};
pub use ledger::SharedLedger;
pub use parse::{load, load_mutant, load_text};
pub(crate) use trade::reserves;
pub use trade::{ContractOfRig, DataOfRig, Lead, MarketFeeder, Regulation};

/// A checked rig.
#[derive(Clone, Debug)]
pub struct Rig {
    /// The text it came from.
    pub source: Arc<Source>,
    /// What the bench is, in a line.
    pub title: String,
    /// Nominal values of the site.
    pub site: Site,
    /// What happens when control is lost.
    pub safety: Safety,
    /// Settings of the control core.
    pub control: control::Settings,
    /// What the processors do while the bench is armed and there is nothing to do.
    pub processors: Processors,
    /// The buses, in writing order.
    pub buses: Vec<RigBus>,
    /// The devices, in writing order: the order of every table of a run.
    pub devices: Vec<RigDevice>,
    /// The telemetry server, if one is named.
    pub influx: Option<Influx>,
    /// The broker of a Home Assistant, if one is named.
    pub home_assistant: Option<HomeAssistant>,
    /// The node of a ledger of several nodes, if the rig names one; otherwise each run has a ledger of
    /// its own.
    pub ledger: Option<SharedLedger>,
    /// The market, if the rig runs one.
    pub market: Option<Market>,
    /// The values that a person shall look at.
    pub alarms: Vec<crate::alarm::AlarmSpec>,
    /// What the emulated bench is told.
    pub emulate: Emulation,
    /// What the hardware is like: which of it a mixed bench has, and how it is brought back.
    pub hardware: Hardware,
    /// Faults that do not forbid the rig.
    pub warnings: Vec<Diagnostic>,
}

/// Nominal values of the site.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// What the place is called; empty where the rig does not say.
    pub name: String,
    /// Line to neutral.
    pub v: Voltage,
    /// Nominal frequency.
    pub f: Frequency,
    /// Number of phases, 1 or 3.
    pub phases: u8,
}

/// What the processors do while the bench is armed and there is nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Processors {
    /// They sleep, as the system thinks best.
    #[default]
    MayIdle,
    /// They stay awake, at the price of their power: see [`crate::awake`].
    StayAwake,
}

/// What happens when control is lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Safety {
    /// Control that does not run for this long counts as lost.
    pub heartbeat: Duration,
    /// What the buses do then.
    pub on_lost: OnLost,
    /// A device whose switch must be closed for the bench to run.
    pub estop: Option<usize>,
    /// The steps of the safe end, in their order.
    pub order: Vec<RestStep>,
    /// Longest time of one step.
    pub step: Duration,
}

/// What the buses do when control is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLost {
    /// Storage goes to rest.
    Safe,
    /// Devices keep their last setpoint (their own watchdogs still count).
    Hold,
}

/// A bus of the rig.
#[derive(Clone, Debug, PartialEq)]
pub struct RigBus {
    /// Name.
    pub id: Arc<str>,
    /// How it is reached.
    pub kind: BusKind,
    /// Whether the rig states the settings of a serial line; otherwise they are the devices' own.
    pub serial_stated: bool,
    /// Time-out that overrides the profiles'.
    pub timeout: Option<Duration>,
    /// Silence between requests that overrides the profiles'.
    pub min_gap: Option<Duration>,
}

/// How a bus is reached.
#[derive(Clone, Debug, PartialEq)]
pub enum BusKind {
    /// Modbus TCP.
    ModbusTcp {
        /// Host.
        host: String,
        /// Port.
        port: u16,
        /// Whether answers repeat the transaction number of their request; some gateways' do not.
        numbered: bool,
    },
    /// Modbus RTU inside a TCP connection: a serial line behind a transparent gateway.
    ModbusRtuTcp {
        /// Host.
        host: String,
        /// Port.
        port: u16,
        /// Settings of the line behind the gateway.
        settings: SerialSettings,
    },
    /// Modbus RTU.
    ModbusRtu {
        /// Path of the serial device.
        port: String,
        /// Line settings.
        settings: SerialSettings,
    },
    /// CAN.
    Can(CanUri),
    /// SCPI over TCP.
    ScpiTcp {
        /// Host.
        host: String,
        /// Port; `None` = the instrument's own.
        port: Option<u16>,
    },
    /// SCPI over a serial line.
    ScpiSerial {
        /// Path of the serial device.
        port: String,
        /// Line settings.
        settings: SerialSettings,
    },
    /// MQTT.
    Mqtt(BrokerAddress),
}

/// Where a broker is and how it knows us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User name.
    pub user: Option<String>,
    /// Environment variable that holds the password.
    pub password_env: Option<String>,
    /// File of the certificate authority; TLS is used when it is there.
    pub ca: Option<PathBuf>,
    /// Files of our own certificate and its key, for a broker that asks who we are.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// Where a CAN bus is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanUri {
    /// Kernel interface.
    SocketCan {
        /// Interface name.
        interface: String,
    },
    /// socketcand server.
    Socketcand {
        /// Host.
        host: String,
        /// Port.
        port: u16,
        /// Bus name on that server.
        interface: String,
    },
    /// Serial adapter that speaks slcan.
    Slcan {
        /// Path of the serial device.
        path: String,
        /// Bit rate of the bus in bits per second.
        bitrate: u32,
    },
    /// A bus inside this process.
    Virtual {
        /// Name of the bus.
        name: String,
        /// Bits per second, if frames shall take their time.
        bitrate: Option<u32>,
    },
}

impl BusKind {
    /// The protocol in a word.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::ModbusTcp { .. } => "modbus-tcp",
            Self::ModbusRtuTcp { .. } => "modbus-rtu-tcp",
            Self::ModbusRtu { .. } => "modbus-rtu",
            Self::Can(_) => "can",
            Self::Mqtt(_) => "mqtt",
            Self::ScpiTcp { .. } | Self::ScpiSerial { .. } => "scpi",
        }
    }

    /// Settings of its serial line, also of one behind a gateway.
    #[must_use]
    pub fn serial(&self) -> Option<SerialSettings> {
        match self {
            Self::ModbusRtu { settings, .. }
            | Self::ModbusRtuTcp { settings, .. }
            | Self::ScpiSerial { settings, .. } => Some(*settings),
            Self::ModbusTcp { .. } | Self::Can(_) | Self::Mqtt(_) | Self::ScpiTcp { .. } => None,
        }
    }

    /// How Modbus frames are told apart on it.
    #[must_use]
    pub fn framing(&self) -> bus::Framing {
        match self {
            Self::ModbusTcp {
                numbered: false, ..
            } => bus::Framing::TcpUnnumbered,
            _ => self
                .serial()
                .map_or(bus::Framing::Tcp, |settings| bus::Framing::Rtu {
                    baud: Some(settings.baud),
                }),
        }
    }
}

/// A device of the rig.
#[derive(Clone, Debug)]
pub struct RigDevice {
    /// Name.
    pub id: Arc<str>,
    /// Its profile.
    pub profile: Arc<Profile>,
    /// Index of its bus.
    pub bus: usize,
    /// What it is for.
    pub role: Role,
    /// Modbus unit that overrides the profile's.
    pub unit: Option<u8>,
    /// MQTT topic.
    pub topic: Option<String>,
    /// Limits of active power.
    pub p: Option<Bounds<ActivePower>>,
    /// Limit of apparent power.
    pub s: Option<ApparentPower>,
    /// Limits of a source's frequency.
    pub f: Option<Bounds<Frequency>>,
    /// Limits of a source's voltage, line to neutral.
    pub v: Option<Bounds<Voltage>>,
    /// Limit of the rate of change of a source's frequency.
    pub rocof: Option<FrequencyRate>,
    /// Limit of the rate of change of a source's voltage.
    pub slew: Option<VoltageRate>,
    /// Limits of state of charge.
    pub soc: Option<Bounds<StateOfCharge>>,
    /// Temperatures of its battery in which it may be charged.
    pub t_charge: Option<Bounds<Temperature>>,
    /// Temperatures of its battery in which it may be discharged.
    pub t_discharge: Option<Bounds<Temperature>>,
    /// What it does where no utility is.
    pub forming: Forming,
    /// Limit of the change of power.
    pub ramp: Option<PowerRamp>,
    /// Usable energy at full charge.
    pub capacity: Option<Energy>,
    /// What a storage keeps of the energy that passes through it.
    pub efficiency: Efficiency,
    /// Time after which it shall revert by itself.
    pub revert: Option<Duration>,
    /// Order of shedding.
    pub shed: Option<u8>,
    /// Index of the battery behind it.
    pub battery: Option<usize>,
    /// Whether its power is measured with the opposite sign (a meter wired towards a load).
    pub invert: bool,
    /// Periods that override the defaults.
    pub poll: bus::PollPeriods,
    /// When it is sent the frames that keep it awake (CAN).
    pub keep_alives: bus::KeepAlives,
}

/// Where a secret is, which a rig never holds itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretFrom {
    /// In this environment variable.
    Environment(String),
    /// In this file, with or without a newline at its end.
    File(std::path::PathBuf),
}

/// A telemetry server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Influx {
    /// URL of the server.
    pub url: String,
    /// How it takes line protocol.
    pub api: crate::telemetry::WriteApi,
    /// Organisation.
    pub org: String,
    /// Bucket; for version 1 `database` or `database/retention_policy`.
    pub bucket: String,
    /// Where the token is; for version 1 it is `user:password`.
    pub token: Option<SecretFrom>,
    /// File of the authority that signed the server's certificate; no other is trusted then.
    pub ca: Option<PathBuf>,
    /// Largest spool on disk while the server is away, in bytes.
    pub spool_bytes: u64,
}

/// A Home Assistant that is shown the bench.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeAssistant {
    /// Its broker.
    pub broker: BrokerAddress,
    /// First level of the topics of its discovery.
    pub prefix: String,
    /// How often the values of a device are told.
    pub every: Duration,
}

/// The market of a rig.
#[derive(Clone, Debug, PartialEq)]
pub struct Market {
    /// Length of an interval.
    pub interval: Duration,
    /// Name of the clearing mechanism; a bench can use it.
    pub mechanism: String,
    /// What the utility charges and pays.
    pub tariff: market::utility::Tariff,
    /// Most power that may be traded across the point of common coupling.
    pub pcc_max: ActivePower,
    /// What a unit that an island cannot serve is worth to a load that must run.
    pub lost_load: Option<market::Price>,
    /// Part of its rating that a storage is asked for so that its meter shows its sign before it trades;
    /// `None` asks for nothing.
    pub sign_check: Option<f64>,
    /// Who takes part, by device and name.
    pub participants: Vec<Participation>,
    /// What binds them to what they committed, if anything does.
    pub obligations: Option<market::venue::ObligationRules>,
    /// The day-ahead stage, if there is one.
    pub day_ahead: Option<DayAhead>,
    /// What a regulator asks, if the rig says anything of it.
    pub regulation: Option<Regulation>,
    /// How many intervals are open within the day at a time, if there is such a stage.
    pub intraday_intervals: Option<u64>,
    /// The reserve that the utility buys of participants, if it does.
    pub reserve: Option<ReserveOfRig>,
    /// What participants have agreed between each other.
    pub contracts: Vec<market::contract::Contract>,
    /// What of the network it heeds, if it does.
    pub feeder: Option<MarketFeeder>,
    /// Whether real time activates balancing energy instead of trading everything once more.
    pub balancing: bool,
    /// How long before an interval its gate closes, in market time.
    pub gate: Duration,
    /// How much faster market time goes than the clock of the bench.
    pub time_factor: u32,
    /// What the gate leaves time for, by the clock of the bench.
    pub lead: Lead,
}

/// The reserve that the utility buys in a market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReserveOfRig {
    /// Name of the service that it is called as; what that has sold is needed.
    pub service: String,
    /// The most that is paid for readiness.
    pub limit: market::Price,
    /// What who follows worst owes for all that it was to be ready for.
    pub penalty: market::Price,
    /// Whether it is bought before energy or together with it.
    pub procurement: market::venue::Procurement,
}

/// What a participant offers to be ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReserveOffer {
    /// Most of it upwards, in milliwatts.
    pub up_milliwatt: i64,
    /// Most of it downwards, as a magnitude.
    pub down_milliwatt: i64,
    /// What being ready costs.
    pub ready: market::Price,
    /// What energy upwards costs when it is called.
    pub up_energy: market::Price,
    /// What is paid for energy downwards when it is called.
    pub down_energy: market::Price,
}

/// The day-ahead stage of a market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayAhead {
    /// Intervals that are traded at once.
    pub intervals: u64,
    /// How long before the first of them the gate closes.
    pub gate: Duration,
    /// Name of the mechanism.
    pub mechanism: String,
}

/// One participant of the market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participation {
    /// Its name, and that of its account.
    pub name: String,
    /// Index of its device.
    pub device: usize,
    /// Its part of the device, in parts per million.
    pub share_ppm: u32,
    /// What it is.
    pub kind: ParticipantKind,
    /// How it orders.
    pub strategy: Strategy,
    /// How it forecasts what its device will do, where it does.
    pub forecast: market::forecast::Method,
    /// What it offers to be ready for, where it does.
    pub reserve: Option<ReserveOffer>,
    /// Whether it pays for what it does not deliver, where the market has a penalty.
    pub bound: bool,
    /// What it has paid in, in milli-cent, if that is stated for it alone.
    pub deposit_mc: Option<i64>,
}

/// What a participant is: where its forecast comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParticipantKind {
    /// Sells what the sun gives now.
    Pv,
    /// Buys what it draws now.
    MustRun,
    /// Buys what it would draw when on.
    Flexible,
    /// Buys and sells what its state of charge allows.
    Storage,
}

/// How a participant orders. Prices in milli-cent per kWh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Its orders come from outside.
    External,
    /// Takes any price that is better than doing without.
    PriceTaker {
        /// The most it pays, or the least it takes; `None` pays any price.
        limit_mc: Option<i64>,
    },
    /// Draws its prices.
    ZeroIntelligence {
        /// What a unit is worth to it, or costs it.
        limit_mc: i64,
        /// Whether it never asks a price at which it would lose.
        constrained: bool,
        /// Seed of its draws.
        seed: u64,
    },
    /// Learns its margin.
    Zip {
        /// What a unit is worth to it, or costs it.
        limit_mc: i64,
        /// Margin with which it begins.
        margin_mc: i64,
        /// Seed of its draws.
        seed: u64,
    },
    /// Uses less the dearer it is.
    Quadratic {
        /// Price at which it does without everything.
        choke_mc: i64,
    },
    /// Buys low, sells high.
    Thresholds {
        /// The most it pays.
        buy_below_mc: i64,
        /// The least it takes.
        sell_above_mc: i64,
    },
    /// Plans its storage over expected prices.
    BatteryDp {
        /// What a unit in the cells is worth after the plan.
        value_mc: i64,
        /// Wear of a unit in one direction.
        wear_mc: i64,
        /// Expected price of each interval; the list begins again at its end.
        forecast_mc: Vec<i64>,
    },
    /// Heating or cooling that pays by how far its room is from where it should be.
    Hvac {
        /// What it wants of its room, and how it pays for that.
        comfort: market::agent::Comfort,
        /// The room, as nobody measures it.
        room: market::agent::Room,
    },
    /// A vehicle that must be charged by its departure.
    Vehicle {
        /// When it leaves, since the run began.
        departure: Duration,
        /// State of charge with which it leaves, in parts per million.
        wanted_ppm: u32,
        /// What it pays while it can wait.
        patient_mc: i64,
        /// Slack at which it pays no more than that.
        slack: Duration,
        /// Exponent of its urgency.
        urgency: u32,
    },
}

/// What the emulated bench is told beyond the rig itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Emulation {
    /// Options per device index.
    pub devices: Vec<(usize, EmulatedDevice)>,
    /// The grid behind the coupling breaker.
    pub feeder_r_ohm: Option<f64>,
    /// The grid behind the coupling breaker.
    pub feeder_x_ohm: Option<f64>,
    /// Whether the relay at the coupling breaker opens it when the utility is lost.
    pub relay: Option<bool>,
    /// The network between the devices; without one they share a busbar behind the feeder.
    pub network: Option<Arc<::network::description::Network>>,
    /// File with the course of the day, relative to the rig.
    pub day: Option<PathBuf>,
    /// CSV file with a recorded course of loads, sun and utility, relative to the rig.
    pub course: Option<PathBuf>,
}

/// Options of an emulated device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmulatedDevice {
    /// Rated apparent power on its nameplate.
    pub rated: Option<ApparentPower>,
    /// State of charge at the start.
    pub soc: Option<StateOfCharge>,
    /// Usable energy at full charge.
    pub capacity: Option<Energy>,
    /// Its own ramp.
    pub ramp: Option<PowerRamp>,
    /// Available power of photovoltaics, or power of a load, at the start.
    pub p: Option<ActivePower>,
    /// TCP port of its bus; 0 or absent = any free one.
    pub port: Option<u16>,
    /// Faults that it has from the start, as in scenarios (`stuck`, `late=300ms`).
    pub faults: Vec<String>,
    /// Name of the load that a meter looks at.
    pub measures: Option<String>,
    /// What it is made of.
    pub physics: Physics,
}
