//! The emulated bench: a whole rig with plant, devices and faces.
//!
//! [`Bench::new`] takes a description; [`Bench::start_real`] puts it on sockets, ptys
//! and a broker, [`Bench::start_memory`] on in-memory streams. All run on the current
//! tokio runtime, the plant's steps included, so that a paused clock paces them too.
//! Everything ends when the bench is dropped.

mod parts;
mod spec;
mod wiring;

pub use spec::{BenchError, BenchSpec, BusKind, BusSpec, DeviceSpec, Emulate, EmulatedSet};

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use model::Role;
use profile::Protocol;
use profile::mqtt::{Message, ToBroker};
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::broker;
use crate::course::Course;
use crate::device::{Device, Kind};
use crate::faces::can::CanBus;
use crate::faces::modbus::Port;
use crate::faces::modbus::frame::Framing;
use crate::faces::modbus::image::{Identity, Image};
use crate::faces::mqtt::{self, Firmware, Talker};
use crate::faces::scpi::Instrument;
use crate::faces::{slcan, socketcand};
use crate::faults::Fault;
use crate::hub::Hub;
use crate::plant::Plant;
use crate::world::{Shared, SignalError, World};
use crate::{pty, relay};
use parts::{nameplate, own_part, shared_part};

/// Step of the plant.
/// Chosen: half a cycle of the mains, a tenth of the fastest controller's period.
pub const STEP: Duration = Duration::from_millis(10);

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
        if !spec.relay {
            plant.breaker.without_relay();
        }
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
            der: device.emulate.der.clone(),
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
