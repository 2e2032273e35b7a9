//! The border of a bus: what goes in, what comes out.

use std::sync::Arc;
use std::time::Duration;

use limiter::Approved;
use model::{Characteristic, Clock, DeviceIx, Flaw, Instant, Point, PointSample, Setpoint, Stage};
use profile::Profile;
use profile::modbus::SerialSettings;
use profile::mqtt::{Message, ToBroker};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use crate::stats::BusStats;
use crate::{Traffic, arming, can, modbus, mqtt, scpi};

/// Where a bus is reached.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// A TCP server (Modbus TCP, SCPI).
    Tcp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A serial port (Modbus RTU, SCPI).
    Serial {
        /// Device path.
        path: String,
        /// Line settings.
        settings: SerialSettings,
    },
    /// The kernel's CAN interface (SocketCAN).
    SocketCan {
        /// Interface name such as `can0`.
        interface: String,
    },
    /// A socketcand server that carries a CAN bus over TCP.
    Socketcand {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
        /// Bus name on that server.
        interface: String,
    },
    /// A serial CAN adapter that speaks slcan.
    Slcan {
        /// Device path.
        path: String,
        /// Bit rate of the CAN bus in bits per second.
        bitrate: u32,
    },
    /// A CAN bus inside this process, shared by all who name it.
    VirtualCan {
        /// Its name.
        name: String,
        /// Bits per second, if frames shall take their time.
        bitrate: Option<u32>,
    },
    /// An MQTT broker.
    Broker(mqtt::link::Broker),
    /// An in-memory byte stream in place of TCP or serial (virtual time): each dial sends the far end.
    Memory(mpsc::UnboundedSender<DuplexStream>),
    /// An in-memory broker in place of MQTT over TCP: each dial sends the far ends of both channels.
    MemoryBroker(
        mpsc::UnboundedSender<(
            mpsc::UnboundedReceiver<ToBroker>,
            mpsc::UnboundedSender<Message>,
        )>,
    ),
}

/// How Modbus frames are told apart on a stream. Other protocols take no notice of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Modbus TCP: each answer repeats the number of its request.
    #[default]
    Tcp,
    /// Modbus TCP from a gateway that does not repeat numbers: answers are told apart as on a line.
    TcpUnnumbered,
    /// Modbus RTU, on a line or inside a TCP connection. A serial endpoint always has it.
    Rtu {
        /// Bits per second of the line, where they are known.
        baud: Option<u32>,
    },
}

/// Which protocol an endpoint carries is told by the devices' profiles.
#[derive(Clone, Debug)]
pub struct BusSpec {
    /// Name of the bus in the rig.
    pub id: Arc<str>,
    /// Where it is.
    pub endpoint: Endpoint,
    /// How Modbus frames are told apart.
    pub framing: Framing,
    /// The rig's time-out, if it overrides the profiles'.
    pub timeout: Option<Duration>,
    /// The rig's silence between requests, if it overrides the profiles'.
    pub min_gap: Option<Duration>,
    /// Seed of the jitter in reconnect back-off, so that virtual time is deterministic.
    pub seed: u64,
}

/// A device that hangs on a bus.
#[derive(Clone, Debug)]
pub struct BusDevice {
    /// Its place in the rig.
    pub ix: DeviceIx,
    /// Its name in the rig.
    pub id: Arc<str>,
    /// Its profile.
    pub profile: Arc<Profile>,
    /// Modbus unit, if the rig overrides the profile's.
    pub unit: Option<u8>,
    /// MQTT topic of the device (`{t}` in its profile).
    pub topic: Option<String>,
    /// Time after which the device shall revert by itself, if the rig says so.
    pub revert: Option<Duration>,
    /// How often each class of points is read.
    pub poll: PollPeriods,
    /// When a CAN device is sent the frames that keep it awake.
    pub keep_alives: KeepAlives,
    /// Limits of the rig, for devices that can be told them: a second fence in the device itself.
    pub limits: Vec<LimitOf>,
}

/// A limit of the rig on something that can be set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LimitOf {
    /// What is limited.
    pub point: Point,
    /// Lower end, in the point's base unit.
    pub low: f64,
    /// Upper end, in the point's base unit.
    pub high: f64,
}

/// When a CAN device is sent the frames that keep it awake. Such a frame is a write: to the battery
/// it says that an inverter is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepAlives {
    /// While the bench is armed.
    #[default]
    WhileArmed,
    /// Always, since the rig says so: also while the bench only looks.
    Always,
}

/// How often each class of points is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollPeriods {
    /// The fast class.
    pub fast: Duration,
    /// The normal class.
    pub normal: Duration,
    /// The slow class.
    pub slow: Duration,
}

/// Number of a dispatch in a run; a bus repeats it in what it says about the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DispatchId(pub u64);

/// A setpoint on its way to a device.
#[derive(Clone, Copy, Debug)]
pub struct WriteJob {
    /// Number of the dispatch.
    pub dispatch: DispatchId,
    /// Which device.
    pub device: DeviceIx,
    /// What it shall do.
    pub setpoint: Approved<Setpoint>,
    /// Not to be written after this instant: a late setpoint is a wrong one.
    pub valid_until: Instant,
    /// Goes before everything else on the bus (trips, safe end).
    pub urgent: bool,
}

/// A characteristic on its way to a device.
#[derive(Clone, Debug)]
pub struct AdoptJob {
    /// Number of the dispatch.
    pub dispatch: DispatchId,
    /// Which device.
    pub device: DeviceIx,
    /// What it shall follow by itself.
    pub characteristic: Approved<Characteristic>,
    /// Time after which the device shall give it up by itself; `None`: what the device has.
    pub revert: Option<Duration>,
    /// Not to be begun after this instant.
    pub valid_until: Instant,
}

/// A setpoint as a bus takes it in. Outside tests it always was approved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Order {
    pub(crate) dispatch: DispatchId,
    pub(crate) device: DeviceIx,
    pub(crate) setpoint: Setpoint,
    pub(crate) valid_until: Instant,
    pub(crate) urgent: bool,
}

impl From<WriteJob> for Order {
    fn from(job: WriteJob) -> Self {
        Self {
            dispatch: job.dispatch,
            device: job.device,
            setpoint: job.setpoint.get(),
            valid_until: job.valid_until,
            urgent: job.urgent,
        }
    }
}

/// What goes through the write path of a bus.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    /// A setpoint.
    Write(WriteJob),
    /// A characteristic.
    Adopt(AdoptJob),
}

/// What a bus says besides samples.
#[derive(Clone, Debug, PartialEq)]
pub enum LinkEvent {
    /// A device answers.
    Online(DeviceIx),
    /// A device does not answer any more.
    Offline(DeviceIx, Flaw),
    /// A write has reached a stage (`Written`, then `Register`).
    Confirmed {
        /// Which dispatch.
        dispatch: DispatchId,
        /// Which device.
        device: DeviceIx,
        /// How far it came.
        stage: Stage,
        /// When.
        at: Instant,
    },
    /// A write has not reached a stage and never will.
    Missed {
        /// Which dispatch.
        dispatch: DispatchId,
        /// Which device.
        device: DeviceIx,
        /// The stage that was not reached.
        stage: Stage,
        /// Device, register and what to do.
        why: String,
    },
    /// Something that a person should know about a device or the link (once, not per cycle).
    Notice {
        /// Which device, if it is about one.
        device: Option<DeviceIx>,
        /// What, where, and what to do.
        text: String,
    },
}

/// Where a bus delivers. Calls are short and never block.
pub trait Sink: Send + Sync {
    /// Takes a sample.
    fn sample(&self, sample: PointSample);
    /// Takes an event.
    fn event(&self, event: LinkEvent);
    /// Is shown what has gone over the wire; who does not record does nothing.
    fn traffic(&self, _: Traffic<'_>) {}
}

/// Why a bus did not take a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Too many writes wait already.
    #[error("too many writes wait on this bus; it is slower than it is asked to be")]
    Busy,
    /// There is no way to write.
    #[error("the bench is not armed")]
    NotArmed,
    /// The bus has ended.
    #[error("the bus has ended")]
    Ended,
}

/// The controlling end of a running bus. It cannot write: that takes a [`Writer`].
#[derive(Clone, Debug)]
pub struct BusHandle {
    /// Name of the bus in the rig.
    pub id: Arc<str>,
    /// Its counters.
    pub stats: Arc<BusStats>,
    key: arming::Key<Job>,
}

impl BusHandle {
    /// Arms the bus: makes its one way to write. While an earlier writer lives, this one waits.
    #[must_use]
    pub fn arm(&self) -> Writer {
        Writer(self.key.open())
    }
}

/// The write path of a bus. It exists while the bench is armed; dropping it disarms the bus:
/// urgent writes still have two seconds to leave, the others are missed, and nothing is refreshed.
#[derive(Debug)]
pub struct Writer(mpsc::Sender<Job>);

impl Writer {
    /// Hands a setpoint over; never waits.
    ///
    /// # Errors
    /// When too many wait already or the bus has ended.
    pub fn write(&self, job: WriteJob) -> Result<(), Rejected> {
        self.send(Job::Write(job))
    }

    /// Hands a characteristic over; never waits. What comes of it is told as with a setpoint.
    ///
    /// # Errors
    /// When too many wait already or the bus has ended.
    pub fn adopt(&self, job: AdoptJob) -> Result<(), Rejected> {
        self.send(Job::Adopt(job))
    }

    fn send(&self, job: Job) -> Result<(), Rejected> {
        self.0.try_send(job).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => Rejected::Busy,
            mpsc::error::TrySendError::Closed(_) => Rejected::Ended,
        })
    }
}

/// Starts a bus as a task of the current tokio runtime; it ends when all handles and its writer are
/// dropped. It only looks until it is armed.
#[must_use]
pub fn start(
    spec: BusSpec,
    devices: Vec<BusDevice>,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn Sink>,
) -> BusHandle {
    let (key, door) = arming::new();
    let stats = Arc::new(BusStats::of(devices.iter().map(|d| d.ix)));
    let handle = BusHandle {
        id: Arc::clone(&spec.id),
        stats: Arc::clone(&stats),
        key,
    };
    match &spec.endpoint {
        Endpoint::SocketCan { .. }
        | Endpoint::Socketcand { .. }
        | Endpoint::Slcan { .. }
        | Endpoint::VirtualCan { .. } => {
            tokio::spawn(can::run(spec, devices, clock, sink, door, stats));
        }
        Endpoint::Broker(_) | Endpoint::MemoryBroker(_) => {
            tokio::spawn(mqtt::run(spec, devices, clock, sink, door, stats));
        }
        Endpoint::Memory(_) if is_can(&devices) => {
            tokio::spawn(can::run(spec, devices, clock, sink, door, stats));
        }
        Endpoint::Tcp { .. } | Endpoint::Serial { .. } | Endpoint::Memory(_)
            if is_scpi(&devices) =>
        {
            tokio::spawn(scpi::run(spec, devices, clock, sink, door, stats));
        }
        Endpoint::Tcp { .. } | Endpoint::Serial { .. } | Endpoint::Memory(_) => {
            tokio::spawn(modbus::run(spec, devices, clock, sink, door, stats));
        }
    }
    handle
}

fn is_can(devices: &[BusDevice]) -> bool {
    devices
        .iter()
        .any(|d| matches!(d.profile.protocol, profile::Protocol::Can(_)))
}

fn is_scpi(devices: &[BusDevice]) -> bool {
    devices
        .iter()
        .any(|d| matches!(d.profile.protocol, profile::Protocol::Scpi(_)))
}
