//! The emulated bench: a whole rig with plant, devices and faces.
//!
//! [`Bench::new`] takes a description; [`Bench::start_real`] puts it on sockets, ptys
//! and a broker, [`Bench::start_memory`] on in-memory streams. All run on the current
//! tokio runtime, the plant's steps included, so that a paused clock paces them too.
//! Everything ends when the bench is dropped.

mod wiring;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use model::Role;
use profile::Protocol;
use profile::mqtt::{Message, ToBroker};
use quantities::{ActivePower, Energy, Frequency, PowerRamp, StateOfCharge};
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::broker::{self, BrokerError};
use crate::course::Course;
use crate::day::DayCurve;
use crate::device::{Device, Kind, Metered, Nameplate};
use crate::faces::can::CanBus;
use crate::faces::modbus::Port;
use crate::faces::modbus::frame::Framing;
use crate::faces::modbus::image::{Identity, Image};
use crate::faces::mqtt::{self, Firmware, Talker};
use crate::faces::scpi::Instrument;
use crate::faces::{slcan, socketcand};
use crate::faults::Fault;
use crate::hub::Hub;
use crate::plant::breaker::SyncCheck;
use crate::plant::load::Load;
use crate::plant::network::Feeder;
use crate::plant::pv::Pv;
use crate::plant::storage::{Storage, StorageRating};
use crate::plant::{Forming, Plant, Site};
use crate::world::{Shared, SignalError, World};
use crate::{pty, relay};

/// Step of the plant.
/// Chosen: half a cycle of the mains, a tenth of the fastest controller's period.
pub const STEP: Duration = Duration::from_millis(10);

/// Rating where the rig gives none.
/// Chosen: the size of laboratory inverters, 3 kW, and half an hour of storage per kilowatt.
const RATED_W: f64 = 3000.0;
const CAPACITY_WH: f64 = 5000.0;
const LOAD_W: f64 = 800.0;
const SOC: f64 = 0.5;

/// Ramp of inverters where the rig gives none, in ratings per second.
/// Chosen: full swing in a fifth of a second, so that the device does not limit a fast service.
const RAMP_PER_S: f64 = 5.0;

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
    /// The device that a meter measures; without one, a meter has a load of its own.
    pub measures: Option<Arc<str>>,
    /// Faults from the beginning.
    pub faults: Vec<Fault>,
}

/// Where a bus is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Modbus TCP.
    ModbusTcp(SocketAddr),
    /// A serial port: the path of a pty.
    Serial(String),
    /// A serial CAN adapter that speaks slcan: the path of a pty.
    Slcan(String),
    /// A socketcand server and the interface to open there.
    Socketcand(SocketAddr, Arc<str>),
    /// An MQTT broker.
    Broker(SocketAddr),
    /// A raw socket of SCPI.
    Scpi(SocketAddr),
}

/// A bus and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusAddress {
    /// Name of the bus in the rig.
    pub bus: Arc<str>,
    /// Where it is.
    pub address: Address,
}

/// The far ends of what a virtual bus dials.
#[derive(Debug)]
pub enum MemoryLink {
    /// Byte streams (Modbus in the bus's own framing, CAN as socketcand text).
    Streams(UnboundedReceiver<DuplexStream>),
    /// Pairs of channels of an in-memory broker.
    Broker(UnboundedReceiver<(UnboundedReceiver<ToBroker>, UnboundedSender<Message>)>),
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

/// An emulated bench.
#[derive(Debug)]
pub struct Bench {
    spec: BenchSpec,
    world: Shared,
    tasks: Vec<JoinHandle<()>>,
    /// Far ends of ptys, kept open so that a client may leave and come back.
    keep_open: Vec<File>,
}

/// What a bus runs on, ready to be joined to a wire.
enum Face {
    Modbus(Arc<Port>, Framing),
    Can(Arc<CanBus>, Arc<str>),
    SerialCan(Arc<CanBus>, Arc<str>),
    Mqtt(Vec<Talker>),
    Scpi(Arc<Instrument>),
}

impl Bench {
    /// Builds plant and devices; nothing runs yet.
    ///
    /// # Errors
    /// When devices, buses and profiles do not fit together.
    pub fn new(spec: BenchSpec) -> Result<Self, BenchError> {
        let mut plant = Plant::new(spec.site, spec.feeder, spec.forming, spec.sync, spec.seed);
        let mut kinds: Vec<Option<Kind>> = Vec::with_capacity(spec.devices.len());
        for device in &spec.devices {
            kinds.push(own_part(&mut plant, device, spec.site));
        }
        // Batteries and meters refer to parts that others have brought.
        for (ix, device) in spec.devices.iter().enumerate() {
            if kinds.get(ix).copied().flatten().is_none() {
                let kind = shared_part(&mut plant, &spec.devices, &kinds, device)?;
                if let Some(slot) = kinds.get_mut(ix) {
                    *slot = Some(kind);
                }
            }
        }
        if let Some(network) = &spec.network {
            wiring::wire(&mut plant, network, &spec.devices, &kinds)?;
        }
        let mut devices = Vec::new();
        for (device, kind) in spec.devices.iter().zip(kinds) {
            let bus = spec.buses.iter().find(|bus| bus.id == device.bus);
            let (Some(bus), Some(kind)) = (bus, kind) else {
                return Err(BenchError::NoBus {
                    device: device.id.clone(),
                    bus: device.bus.clone(),
                });
            };
            check_protocol(device, bus)?;
            let mut made = Device::new(
                device.id.clone(),
                device.bus.clone(),
                kind,
                nameplate(&plant, kind),
            );
            for fault in &device.emulate.faults {
                made.set_fault(&mut plant, *fault, true);
            }
            devices.push(made);
        }
        let mut world = World::new(plant, devices, spec.seed);
        if let Some(day) = &spec.day {
            // Tried out on a copy: a misspelt name must not pass as a quiet day.
            let mut trial = world.clone();
            for signal in day.signals() {
                trial.set(&signal, 1.0).map_err(BenchError::Day)?;
            }
            day.begin(&mut world);
        }
        if let Some(course) = &spec.course {
            let mut trial = world.clone();
            for column in course.columns() {
                trial.set(&column.signal, 1.0).map_err(BenchError::Course)?;
            }
            follow(course, &mut world);
        }
        Ok(Self {
            world: Shared::new(world),
            spec,
            tasks: Vec::new(),
            keep_open: Vec::new(),
        })
    }

    /// A handle for scripts; it may outlive the bench and then does nothing.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            world: self.world.clone(),
        }
    }

    /// Opens sockets, ptys and a broker on loopback and lets the plant run.
    ///
    /// # Errors
    /// When a port is taken or a pty cannot be had.
    pub async fn start_real(&mut self) -> Result<Vec<BusAddress>, BenchError> {
        let mut addresses = Vec::new();
        for bus in self.spec.buses.clone() {
            let address = match self.face(&bus)? {
                Face::Modbus(port, framing) if bus.kind != BusKind::ModbusRtu => {
                    let listener = listen(&bus).await?;
                    let address = local(&bus, &listener)?;
                    self.spawn(accept(listener, move |stream| {
                        // A client that leaves in the middle is no fault of the bench.
                        let port = Arc::clone(&port);
                        async move {
                            port.serve(stream, framing).await.ok();
                        }
                    }));
                    Address::ModbusTcp(address)
                }
                Face::Modbus(port, framing) => {
                    let opened = pty::Opened::open().map_err(|source| io(&bus, source))?;
                    let (pty, path) = (opened.pty, opened.path);
                    self.keep_open.push(opened.client_side);
                    self.spawn(async move {
                        if let Err(error) = port.serve(pty, framing).await {
                            tracing::warn!(%error, "An emulated serial line has ended.");
                        }
                    });
                    Address::Serial(path)
                }
                Face::Scpi(instrument) if bus.kind == BusKind::ScpiSerial => {
                    let opened = pty::Opened::open().map_err(|source| io(&bus, source))?;
                    let (pty, path) = (opened.pty, opened.path);
                    self.keep_open.push(opened.client_side);
                    self.spawn(async move {
                        if let Err(error) = instrument.serve(pty).await {
                            tracing::warn!(%error, "An emulated serial line has ended.");
                        }
                    });
                    Address::Serial(path)
                }
                Face::Scpi(instrument) => {
                    let listener = listen(&bus).await?;
                    let address = local(&bus, &listener)?;
                    self.spawn(accept(listener, move |stream| {
                        let instrument = Arc::clone(&instrument);
                        async move {
                            instrument.serve(stream).await.ok();
                        }
                    }));
                    Address::Scpi(address)
                }
                Face::Can(can, interface) => {
                    let listener = listen(&bus).await?;
                    let address = local(&bus, &listener)?;
                    self.spawn(Arc::clone(&can).run());
                    let name = interface.clone();
                    self.spawn(accept(listener, move |stream| {
                        let (can, name) = (Arc::clone(&can), name.clone());
                        async move {
                            socketcand::serve(can, name, stream).await.ok();
                        }
                    }));
                    Address::Socketcand(address, interface)
                }
                Face::SerialCan(can, _) => {
                    let opened = pty::Opened::open().map_err(|source| io(&bus, source))?;
                    let (pty, path) = (opened.pty, opened.path);
                    self.keep_open.push(opened.client_side);
                    self.spawn(Arc::clone(&can).run());
                    self.spawn(async move {
                        if let Err(error) = slcan::serve(can, pty).await {
                            tracing::warn!(%error, "An emulated CAN adapter has ended.");
                        }
                    });
                    Address::Slcan(path)
                }
                Face::Mqtt(talkers) => {
                    // The port of the rig is the relay's: the broker itself cannot be stopped.
                    let listener = listen(&bus).await?;
                    let relayed = local(&bus, &listener)?;
                    let started = tokio::task::spawn_blocking(|| broker::start(0)).await;
                    let address = match started {
                        Ok(Ok(address)) => address,
                        Ok(Err(source)) => {
                            return Err(BenchError::Broker {
                                bus: bus.id.clone(),
                                source,
                            });
                        }
                        Err(error) => {
                            return Err(BenchError::Io {
                                bus: bus.id.clone(),
                                source: std::io::Error::other(error),
                            });
                        }
                    };
                    for talker in talkers {
                        self.spawn(mqtt::run_on_broker(talker, relayed));
                    }
                    let (world, id) = (self.world.clone(), bus.id.clone());
                    self.spawn(relay::run(listener, address, world, id));
                    Address::Broker(relayed)
                }
            };
            addresses.push(BusAddress {
                bus: bus.id.clone(),
                address,
            });
        }
        self.run_plant();
        Ok(addresses)
    }

    /// Joins the buses to in-memory links, by bus name, and lets the plant run.
    ///
    /// # Errors
    /// When a bus has no link, or one of the wrong kind.
    pub fn start_memory(
        &mut self,
        mut links: BTreeMap<Arc<str>, MemoryLink>,
    ) -> Result<(), BenchError> {
        // The plant goes first: at equal times, faces then see its newest state.
        self.run_plant();
        for bus in self.spec.buses.clone() {
            let link = links.remove(&bus.id);
            match (self.face(&bus)?, link) {
                (Face::Modbus(port, framing), Some(MemoryLink::Streams(mut dialled))) => {
                    self.spawn(async move {
                        while let Some(stream) = dialled.recv().await {
                            let port = Arc::clone(&port);
                            tokio::spawn(async move {
                                port.serve(stream, framing).await.ok();
                            });
                        }
                    });
                }
                (
                    Face::Can(can, interface) | Face::SerialCan(can, interface),
                    Some(MemoryLink::Streams(mut dialled)),
                ) => {
                    self.spawn(Arc::clone(&can).run());
                    self.spawn(async move {
                        while let Some(stream) = dialled.recv().await {
                            let served =
                                socketcand::serve(Arc::clone(&can), interface.clone(), stream);
                            tokio::spawn(async move {
                                served.await.ok();
                            });
                        }
                    });
                }
                (Face::Scpi(instrument), Some(MemoryLink::Streams(mut dialled))) => {
                    self.spawn(async move {
                        while let Some(stream) = dialled.recv().await {
                            let instrument = Arc::clone(&instrument);
                            tokio::spawn(async move {
                                instrument.serve(stream).await.ok();
                            });
                        }
                    });
                }
                (Face::Mqtt(talkers), Some(MemoryLink::Broker(mut dialled))) => {
                    let hub = Hub::default();
                    for talker in talkers {
                        self.spawn(mqtt::run_on_hub(talker, hub.clone()));
                    }
                    let (world, broker, bus) = (self.world.clone(), hub.clone(), bus.id.clone());
                    self.spawn(async move {
                        let mut ticks = tokio::time::interval(STEP);
                        loop {
                            ticks.tick().await;
                            broker.set_down(world.lock().broker_is_down(&bus));
                        }
                    });
                    self.spawn(async move {
                        while let Some((heard, deliver)) = dialled.recv().await {
                            hub.attach(heard, deliver, None);
                        }
                    });
                }
                _ => {
                    return Err(BenchError::NoLink {
                        bus: bus.id.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    fn run_plant(&mut self) {
        let world = self.world.clone();
        let day = self.spec.day.clone();
        let course = self.spec.course.clone();
        let mut row = course.as_ref().and_then(|c| c.row(Duration::ZERO));
        self.spawn(async move {
            let mut ticks = tokio::time::interval(STEP);
            // A late tick is made up for: the plant's time must not fall behind.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let mut world = world.lock();
                if let Some(day) = &day {
                    day.move_on(&mut world);
                }
                // Set once where a row begins, so that a script may set something else meanwhile.
                if let Some(course) = &course {
                    let now = course.row(world.plant.now());
                    if now != row {
                        row = now;
                        follow(course, &mut world);
                    }
                }
                world.step(STEP);
            }
        });
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(task));
    }

    fn face(&self, bus: &BusSpec) -> Result<Face, BenchError> {
        let on_bus = || {
            self.spec
                .devices
                .iter()
                .enumerate()
                .filter(|(_, device)| device.bus == bus.id)
        };
        Ok(match bus.kind {
            BusKind::ModbusTcp | BusKind::ModbusRtuTcp | BusKind::ModbusRtu => {
                let mut port = Port::new(self.world.clone());
                for (ix, device) in on_bus() {
                    if let Protocol::Modbus(profile) = &device.profile.protocol {
                        let identity = self.identity(ix, device);
                        let image = Image::of(profile, &identity, self.spec.site);
                        port.add(device.unit.unwrap_or(profile.unit), ix, image);
                    }
                }
                let framing = match bus.kind {
                    BusKind::ModbusRtu | BusKind::ModbusRtuTcp => Framing::Rtu,
                    _ => Framing::Tcp,
                };
                Face::Modbus(Arc::new(port), framing)
            }
            BusKind::Can | BusKind::SerialCan => {
                let mut can = CanBus::new(self.world.clone());
                for (ix, device) in on_bus() {
                    if let Protocol::Can(profile) = &device.profile.protocol {
                        can.add(ix, profile.clone());
                    }
                }
                let (can, interface) = (Arc::new(can), bus.interface.clone());
                match bus.kind {
                    BusKind::SerialCan => Face::SerialCan(can, interface),
                    _ => Face::Can(can, interface),
                }
            }
            BusKind::ScpiTcp | BusKind::ScpiSerial => {
                let instrument = on_bus().find_map(|(ix, device)| match &device.profile.protocol {
                    Protocol::Scpi(profile) => Some(Instrument::new(
                        self.world.clone(),
                        ix,
                        profile,
                        &format!("{},EMU-{}", device.profile.id, device.id),
                    )),
                    _ => None,
                });
                let Some(instrument) = instrument else {
                    return Err(BenchError::NoInstrument {
                        bus: bus.id.clone(),
                    });
                };
                Face::Scpi(Arc::new(instrument))
            }
            BusKind::Mqtt => {
                let mut talkers = Vec::new();
                for (ix, device) in on_bus() {
                    if let (Protocol::Mqtt(profile), Some(topic)) =
                        (&device.profile.protocol, &device.topic)
                    {
                        let firmware = Firmware::of(&device.profile, profile);
                        talkers.push(Talker::new(self.world.clone(), ix, topic, firmware));
                    }
                }
                Face::Mqtt(talkers)
            }
        })
    }

    fn identity(&self, ix: usize, device: &DeviceSpec) -> Identity {
        let nameplate = self
            .world
            .lock()
            .devices()
            .get(ix)
            .map(|device| device.nameplate)
            .unwrap_or_default();
        // A profile that is not of one maker has none to tell.
        let maker = match device.profile.id.split_once('/') {
            Some((maker, _)) if !["sunspec", "generic"].contains(&maker) => maker,
            _ => "gridrig",
        };
        Identity {
            maker: maker.into(),
            model: device.profile.id.to_string(),
            serial: format!("EMU-{}", device.id),
            nameplate,
            is_storage: device.role == Role::Ess,
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A handle on a bench's world for scripts.
#[derive(Clone, Debug)]
pub struct Handle {
    world: Shared,
}

impl Handle {
    /// Sets a signal; see [`World::set`].
    ///
    /// # Errors
    /// When there is no such signal or it cannot be set.
    pub fn set(&self, signal: &str, value: f64) -> Result<(), SignalError> {
        self.world.lock().set(signal, value)
    }

    /// Moves a signal to a value over a time; see [`World::ramp`].
    ///
    /// # Errors
    /// When there is no such signal or it cannot be set.
    pub fn ramp(&self, signal: &str, target: f64, over: Duration) -> Result<(), SignalError> {
        self.world.lock().ramp(signal, target, over)
    }

    /// Sets a signal for a time; see [`World::pulse`].
    ///
    /// # Errors
    /// When there is no such signal or it cannot be set.
    pub fn pulse(&self, signal: &str, value: f64, length: Duration) -> Result<(), SignalError> {
        self.world.lock().pulse(signal, value, length)
    }

    /// Reads a signal, without faults and noise of meters; see [`World::get`].
    ///
    /// # Errors
    /// When there is no such signal or its value is unknown now.
    pub fn get(&self, signal: &str) -> Result<f64, SignalError> {
        self.world.lock().get(signal)
    }

    /// Puts a fault into a device or bus, or takes it away; see [`World::set_fault`].
    ///
    /// # Errors
    /// When there is no device and no bus of that name.
    pub fn set_fault(&self, target: &str, fault: Fault, on: bool) -> Result<(), SignalError> {
        self.world.lock().set_fault(target, fault, on)
    }

    /// The world itself, for faces and tests.
    #[must_use]
    pub fn world(&self) -> &Shared {
        &self.world
    }
}

/// The part of the plant that a device brings itself; `None` when it refers to another's.
fn own_part(plant: &mut Plant, device: &DeviceSpec, site: Site) -> Option<Kind> {
    let emulate = &device.emulate;
    let rated = emulate.rated.map_or(RATED_W, ActivePower::as_watts);
    let ramp = emulate
        .ramp
        .map_or(RAMP_PER_S * rated, PowerRamp::as_watts_per_second);
    match device.role {
        Role::Pcc => Some(Kind::Pcc),
        Role::Breaker => Some(Kind::Breaker),
        Role::Pv => {
            let mut pv = Pv::new(rated, ramp, site.f_nominal);
            pv.set_available(emulate.available.map_or(rated, ActivePower::as_watts));
            plant.pv.push(pv);
            Some(Kind::Pv(plant.pv.len() - 1))
        }
        Role::Ess => {
            let rating = StorageRating {
                p: rated,
                capacity_wh: emulate.capacity.map_or(CAPACITY_WH, Energy::as_watt_hours),
                ramp,
            };
            let soc = emulate.soc.map_or(SOC, StateOfCharge::as_fraction);
            plant.storage.push(Storage::new(rating, soc));
            Some(Kind::Storage(plant.storage.len() - 1))
        }
        Role::Source => {
            // A grid simulator holds its frequency to the last digit.
            plant.grid.set_noise(Frequency::ZERO);
            Some(Kind::Source)
        }
        Role::Load if device.profile.takes(model::Point::ActivePowerSet) => {
            let p = emulate.load.map_or(0.0, ActivePower::as_watts);
            // It holds power, whatever the voltage, with a power factor of one.
            let load = Load::new(p, emulate.on.unwrap_or(emulate.load.is_some())).shaped(0.0, 0.0);
            plant.loads.push(load);
            Some(Kind::ElectronicLoad(plant.loads.len() - 1))
        }
        Role::Load if emulate.measures.is_none() => {
            let switched = device.profile.takes(model::Point::SwitchOn);
            Some(add_load(plant, emulate, switched))
        }
        Role::Load | Role::Battery | Role::Meter => None,
    }
}

fn add_load(plant: &mut Plant, emulate: &Emulate, switched: bool) -> Kind {
    let p = emulate.load.map_or(LOAD_W, ActivePower::as_watts);
    plant.loads.push(Load::new(p, emulate.on.unwrap_or(true)));
    let ix = plant.loads.len() - 1;
    if switched {
        Kind::Plug(ix)
    } else {
        Kind::Meter(Metered::Load(ix))
    }
}

/// The part that a battery or a meter shares with another device.
fn shared_part(
    plant: &mut Plant,
    devices: &[DeviceSpec],
    kinds: &[Option<Kind>],
    device: &DeviceSpec,
) -> Result<Kind, BenchError> {
    let kind_of = |id: &Arc<str>| {
        let ix = devices.iter().position(|other| other.id == *id)?;
        kinds.get(ix).copied().flatten()
    };
    if device.role == Role::Battery {
        let inverter = devices
            .iter()
            .find(|other| other.battery.as_ref() == Some(&device.id))
            .or_else(|| devices.iter().find(|other| other.role == Role::Ess));
        let Some(Kind::Storage(ix)) = inverter.and_then(|inverter| kind_of(&inverter.id)) else {
            return Err(BenchError::LonelyBattery {
                device: device.id.clone(),
            });
        };
        // The battery's own entry may say its size and charge, for it is the battery.
        if let Some(storage) = plant.storage.get_mut(ix) {
            if let Some(soc) = device.emulate.soc {
                storage.set_soc(soc.as_fraction());
            }
            if let Some(capacity) = device.emulate.capacity {
                storage.set_capacity(capacity.as_watt_hours());
            }
        }
        return Ok(Kind::Battery(ix));
    }
    let Some(other) = &device.emulate.measures else {
        let switched = device.profile.takes(model::Point::SwitchOn);
        return Ok(add_load(plant, &device.emulate, switched));
    };
    let metered = match kind_of(other) {
        Some(Kind::Plug(ix) | Kind::ElectronicLoad(ix) | Kind::Meter(Metered::Load(ix))) => {
            Metered::Load(ix)
        }
        Some(Kind::Pv(ix) | Kind::Meter(Metered::Pv(ix))) => Metered::Pv(ix),
        Some(Kind::Storage(ix) | Kind::Meter(Metered::Storage(ix))) => Metered::Storage(ix),
        Some(Kind::Pcc | Kind::Source) => return Ok(Kind::Pcc),
        Some(Kind::Breaker | Kind::Battery(_)) | None => {
            return Err(BenchError::NoPartner {
                device: device.id.clone(),
                other: other.clone(),
            });
        }
    };
    Ok(Kind::Meter(metered))
}

fn nameplate(plant: &Plant, kind: Kind) -> Nameplate {
    let of = |p: f64, capacity_wh: f64| Nameplate {
        p,
        s: p,
        capacity_wh,
    };
    match kind {
        Kind::Pv(ix) => plant
            .pv
            .get(ix)
            .map_or_else(Nameplate::default, |pv| of(pv.rated(), 0.0)),
        Kind::Storage(ix) | Kind::Battery(ix) => plant
            .storage
            .get(ix)
            .map_or_else(Nameplate::default, |s| of(s.rating(), s.capacity_wh())),
        Kind::Pcc
        | Kind::Breaker
        | Kind::Plug(_)
        | Kind::Meter(_)
        | Kind::Source
        | Kind::ElectronicLoad(_) => Nameplate::default(),
    }
}

fn check_protocol(device: &DeviceSpec, bus: &BusSpec) -> Result<(), BenchError> {
    match (&device.profile.protocol, bus.kind) {
        (Protocol::Modbus(_), BusKind::ModbusTcp | BusKind::ModbusRtuTcp | BusKind::ModbusRtu)
        | (Protocol::Can(_), BusKind::Can | BusKind::SerialCan)
        | (Protocol::Scpi(_), BusKind::ScpiTcp | BusKind::ScpiSerial) => Ok(()),
        (Protocol::Mqtt(profile), BusKind::Mqtt) => {
            let levels = profile.topic_levels().max(1);
            let there = device.topic.as_ref().map_or(0, |t| t.split('/').count());
            if there < levels {
                Err(BenchError::NoTopic {
                    device: device.id.clone(),
                    levels,
                })
            } else {
                Ok(())
            }
        }
        _ => Err(BenchError::WrongProtocol {
            device: device.id.clone(),
            bus: bus.id.clone(),
        }),
    }
}

async fn listen(bus: &BusSpec) -> Result<TcpListener, BenchError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, bus.port.unwrap_or(0)))
        .await
        .map_err(|source| io(bus, source))
}

fn local(bus: &BusSpec, listener: &TcpListener) -> Result<SocketAddr, BenchError> {
    listener.local_addr().map_err(|source| io(bus, source))
}

fn io(bus: &BusSpec, source: std::io::Error) -> BenchError {
    BenchError::Io {
        bus: bus.id.clone(),
        source,
    }
}

/// Serves every client of a listener in a task of its own.
async fn accept<F, S>(listener: TcpListener, serve: F)
where
    F: Fn(tokio::net::TcpStream) -> S,
    S: Future<Output = ()> + Send + 'static,
{
    let mut clients = tokio::task::JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it small answers wait for acknowledgements; a refusal costs only time.
                stream.set_nodelay(true).ok();
                clients.spawn(serve(stream));
            }
            // Out of descriptors, for instance: try again rather than end.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Puts what a course says now into the plant, whose loads count consumption as positive.
fn follow(course: &Course, world: &mut World) {
    for (signal, value) in course.at(world.plant.now()).into_iter().flatten() {
        let turned = signal.ends_with(".p") || signal.ends_with(".q");
        // `Bench::new` has refused names that the rig does not have.
        let value = if turned { -value } else { value };
        world.set(signal, value).ok();
    }
}

#[cfg(test)]
mod tests;
