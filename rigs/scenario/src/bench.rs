//! The emulated bench behind a rig: the same buses and drivers, with emulated devices at the far end.
//!
//! In real time the far ends are sockets, ptys and a broker on loopback; in virtual
//! time they are in-memory streams. Nothing else changes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use document::{Actor, Diagnostic, Source};
use emulator::bench::{
    Address, Bench, BenchError, BenchSpec, BusAddress, BusKind as EmulatedKind,
    BusSpec as EmulatedBus, DeviceSpec as EmulatedSpec, Emulate, EmulatedSet, MemoryLink,
};
use emulator::course::Course;
use emulator::day::DayCurve;
use emulator::faults::Fault;
use emulator::plant::breaker::SyncCheck;
use emulator::plant::genset::Governor;
use emulator::plant::load::{Inrush, Shape};
use emulator::plant::network::Feeder;
use emulator::plant::{Forming, FormingLaw, Site};
use model::Role;
use network::description::Zip;
use quantities::ActivePower;
use runtime::rig::{BusKind, CanUri, EmulatedDevice, Physics, Rig};
use tokio::sync::mpsc;

use crate::far_ends::FarEnds;

/// Resistance and reactance of the feeder where the rig says nothing: 0.3 km of a usual 150 mm2
/// low-voltage cable.
const FEEDER_OHM: (f64, f64) = (0.0624, 0.024);

pub use emulator::course::EXPLANATIONS as COURSE_EXPLANATIONS;

/// Longest file of a recorded course, in bytes.
/// Chosen: 64 MiB, a month in seconds; more is a mistake, and would take the memory of the bench.
const COURSE_BYTES_MAX: u64 = 64 << 20;

/// What the codes of the emulated day mean, for `gridrig explain`.
pub const EXPLANATIONS: &[(&str, &str)] = &[
    (
        "E101",
        "The emulated day takes no time. Its length is how long 24 hours take on the bench, such as `10min`.",
    ),
    (
        "E102",
        "Something in the file of the emulated day cannot be used: hours that do not rise from 0 to 24, as many watts as hours, or a share outside 0 to 1.",
    ),
];

/// A running emulated bench.
pub struct EmulatedBench {
    bench: Bench,
    /// Where each bus is reached, in real time.
    pub addresses: Vec<BusAddress>,
}

fn fault(e: &BenchError) -> Box<Diagnostic> {
    let (code, actor) = match e {
        BenchError::Io { .. } | BenchError::Broker { .. } => ("R024", Actor::Operator),
        _ => ("R027", Actor::Author),
    };
    let diagnostic =
        Diagnostic::error(code, actor, format!("the emulated bench cannot start: {e}"));
    Box::new(match e {
        BenchError::Io { .. } => diagnostic.help(
            "another program may hold the port; take it out of `[emulate]`, and a free one is used",
        ),
        _ => diagnostic,
    })
}

/// An address as a person or another tool uses it.
#[must_use]
pub fn address_text(address: &Address) -> String {
    match address {
        Address::ModbusTcp(a) | Address::Scpi(a) => a.to_string(),
        Address::Serial(path) => path.clone(),
        Address::Slcan(path) => format!("slcan://{path}"),
        Address::Socketcand(a, interface) => format!("socketcand://{a}/{interface}"),
        Address::Broker(a) => format!("mqtt://{a}"),
    }
}

impl EmulatedBench {
    /// The handle by which scripts reach into the bench.
    #[must_use]
    pub fn handle(&self) -> emulator::bench::Handle {
        self.bench.handle()
    }

    /// Starts the bench on real sockets, ptys and a broker, and says how its buses are opened.
    ///
    /// # Errors
    /// All faults of the day's file, or the one that kept the bench from starting.
    pub async fn start_real(
        rig: &Rig,
        seed: u64,
    ) -> Result<(Self, Vec<bus::BusSpec>), Vec<Diagnostic>> {
        Self::start_part(rig, &FarEnds::emulated(rig), seed).await
    }

    /// As [`Self::start_real`], with those buses alone that are not real, and says how all are opened.
    ///
    /// # Errors
    /// As [`Self::start_real`], and what keeps a real bus from being opened.
    pub async fn start_part(
        rig: &Rig,
        far_ends: &FarEnds,
        seed: u64,
    ) -> Result<(Self, Vec<bus::BusSpec>), Vec<Diagnostic>> {
        let mut bench = Self::make_part(rig, far_ends, seed)?;
        let addresses = bench.start_real().await.map_err(|e| vec![*fault(&e)])?;
        let mut faults = Vec::new();
        let mut specs = Vec::new();
        for (index, rig_bus) in rig.buses.iter().enumerate() {
            if far_ends.is_real(index) {
                match rig.bus_spec(index, seed) {
                    Ok(spec) => specs.push(spec),
                    Err(fault) => faults.push(*fault),
                }
                continue;
            }
            let address = addresses
                .iter()
                .find(|a| a.bus == rig_bus.id)
                .map(|a| a.address.clone());
            specs.push(bus_spec(rig, index, seed, address));
        }
        match faults.is_empty() {
            true => Ok((Self { bench, addresses }, specs)),
            false => Err(faults),
        }
    }

    /// Starts the bench on in-memory streams, for virtual time.
    ///
    /// # Errors
    /// As [`Self::start_real`].
    pub fn start_memory(
        rig: &Rig,
        seed: u64,
    ) -> Result<(Self, Vec<bus::BusSpec>), Vec<Diagnostic>> {
        let mut bench = Self::make(rig, seed)?;
        let mut links = BTreeMap::new();
        let mut specs = Vec::new();
        for (index, rig_bus) in rig.buses.iter().enumerate() {
            let (endpoint, link) = match rig_bus.kind {
                BusKind::Mqtt { .. } => {
                    let (dial, dialled) = mpsc::unbounded_channel();
                    (
                        bus::Endpoint::MemoryBroker(dial),
                        MemoryLink::Broker(dialled),
                    )
                }
                _ => {
                    let (dial, dialled) = mpsc::unbounded_channel();
                    (bus::Endpoint::Memory(dial), MemoryLink::Streams(dialled))
                }
            };
            links.insert(Arc::clone(&rig_bus.id), link);
            specs.push(bus::BusSpec {
                endpoint,
                ..bus_spec(rig, index, seed, None)
            });
        }
        bench.start_memory(links).map_err(|e| vec![*fault(&e)])?;
        Ok((
            Self {
                bench,
                addresses: Vec::new(),
            },
            specs,
        ))
    }

    /// Makes plant, devices and faces; nothing runs yet.
    pub(crate) fn make(rig: &Rig, seed: u64) -> Result<Bench, Vec<Diagnostic>> {
        Self::make_part(rig, &FarEnds::emulated(rig), seed)
    }

    /// The same without what is real: the plant knows nothing of the hardware.
    fn make_part(rig: &Rig, far_ends: &FarEnds, seed: u64) -> Result<Bench, Vec<Diagnostic>> {
        let course = match &rig.emulate.course {
            Some(path) => Some(course(path)?),
            None => None,
        };
        let day = match &rig.emulate.day {
            Some(path) => Some(day(path, seed)?),
            None => None,
        };
        let mut faults = Vec::new();
        let devices = rig
            .devices
            .iter()
            .enumerate()
            .filter(|(_, device)| !far_ends.is_real(device.bus))
            .map(|(index, device)| {
                let options = rig
                    .emulate
                    .devices
                    .iter()
                    .find(|(i, _)| *i == index)
                    .map(|(_, e)| e.clone())
                    .unwrap_or_default();
                EmulatedSpec {
                    id: Arc::clone(&device.id),
                    role: device.role,
                    profile: Arc::clone(&device.profile),
                    bus: Arc::clone(&rig.buses[device.bus].id),
                    unit: device.unit,
                    topic: device.topic.clone(),
                    battery: device.battery.map(|b| Arc::clone(&rig.devices[b].id)),
                    emulate: emulate(device, options, &mut faults),
                }
            })
            .collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let spec = BenchSpec {
            site: Site {
                v_nominal: rig.site.v,
                f_nominal: rig.site.f,
                phases: rig.site.phases,
            },
            feeder: Feeder {
                r_ohm: rig.emulate.feeder_r_ohm.unwrap_or(FEEDER_OHM.0),
                x_ohm: rig.emulate.feeder_x_ohm.unwrap_or(FEEDER_OHM.1),
            },
            network: rig.emulate.network.clone(),
            forming: Forming::default(),
            sync: SyncCheck::default(),
            relay: rig.emulate.relay.unwrap_or(true),
            buses: rig
                .buses
                .iter()
                .enumerate()
                .filter(|(index, _)| !far_ends.is_real(*index))
                .map(|(index, bus)| emulated_bus(rig, index, bus))
                .collect(),
            devices,
            day,
            course,
            seed,
        };
        Bench::new(spec).map_err(|e| vec![*fault(&e)])
    }
}

fn day(path: &Path, seed: u64) -> Result<DayCurve, Vec<Diagnostic>> {
    let shown = path.display().to_string();
    // A file on disk counts before the one inside the binary: somebody may have changed it.
    let text = match (std::fs::read_to_string(path), embedded(path)) {
        (Ok(text), _) => text,
        (Err(_), Some(text)) => text.to_owned(),
        (Err(e), None) => {
            return Err(vec![Diagnostic::error(
                "R028",
                Actor::Author,
                format!("the course of the day {shown} cannot be read: {e}"),
            )]);
        }
    };
    DayCurve::parse(Source::new(shown, text), seed)
}

/// The recorded course in a file.
pub(crate) fn course(path: &Path) -> Result<Course, Vec<Diagnostic>> {
    let shown = path.display().to_string();
    let unreadable = |why: &dyn std::fmt::Display| {
        vec![Diagnostic::error(
            "R028",
            Actor::Author,
            format!("the recorded course {shown} cannot be read: {why}"),
        )]
    };
    let kind = std::fs::metadata(path).map_err(|e| unreadable(&e))?;
    if !kind.is_file() || kind.len() > COURSE_BYTES_MAX {
        return Err(unreadable(&format!(
            "it is no file of at most {COURSE_BYTES_MAX} bytes"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(&e))?;
    Course::parse(&Source::new(shown.clone(), text))
}

/// Files of the demo bench, inside the binary: it runs without any file on disk.
fn embedded(path: &Path) -> Option<&'static str> {
    (path == Path::new(crate::demo::DAY_PATH)).then_some(crate::demo::DAY)
}

fn emulate(
    device: &runtime::rig::RigDevice,
    options: EmulatedDevice,
    faults: &mut Vec<Diagnostic>,
) -> Emulate {
    let parsed = options
        .faults
        .iter()
        .filter_map(|text| {
            Fault::parse(text)
                .map_err(|e| {
                    faults.push(Diagnostic::error(
                        "R029",
                        Actor::Author,
                        format!("`emulate.{}`: {e}", device.id),
                    ));
                })
                .ok()
        })
        .collect();
    let is_load = matches!(device.role, Role::Load | Role::Meter);
    let physics = options.physics;
    Emulate {
        rated: options
            .rated
            .map(|s| ActivePower::from_watts(s.as_volt_amperes())),
        capacity: options.capacity.or(device.capacity),
        soc: options.soc,
        ramp: options.ramp,
        load: options.p.filter(|_| is_load),
        available: options.p.filter(|_| device.role == Role::Pv),
        on: None,
        measures: options.measures.map(Into::into),
        faults: parsed,
        shape: physics.zip.map(|(z, i)| Shape::Zip(Zip { z, i })),
        damping: physics.damping,
        quality: physics.quality,
        inrush: physics
            .inrush
            .map(|(current, length)| Inrush { current, length }),
        law: (device.role == Role::Ess).then(|| law(&physics)),
        forms: physics.forms,
        der: physics.der,
        set: EmulatedSet {
            droop: physics.droop,
            inertia: physics.inertia,
            lag: physics.lag,
            starts_in: physics.starts_in,
            governor: if physics.isochronous {
                Governor::Isochronous
            } else {
                Governor::Droop
            },
            running: physics.running,
            p: options.p.filter(|_| device.role == Role::Genset),
        },
    }
}

/// How a storage forms an island, where the rig says so.
fn law(physics: &Physics) -> FormingLaw {
    let usual = FormingLaw::default();
    FormingLaw {
        droop_p: physics.droop.unwrap_or(usual.droop_p),
        droop_q: physics.droop_q.unwrap_or(usual.droop_q),
        inertia_s: physics
            .inertia
            .map_or(usual.inertia_s, |time| time.as_secs_f64()),
        virtual_r: physics.virtual_r.unwrap_or(usual.virtual_r),
        virtual_x: physics.virtual_x.unwrap_or(usual.virtual_x),
        current_max: physics.current_max.unwrap_or(usual.current_max),
    }
}

fn emulated_bus(rig: &Rig, index: usize, bus: &runtime::rig::RigBus) -> EmulatedBus {
    let kind = match &bus.kind {
        BusKind::ModbusTcp { .. } => EmulatedKind::ModbusTcp,
        BusKind::ModbusRtuTcp { .. } => EmulatedKind::ModbusRtuTcp,
        BusKind::ModbusRtu { .. } => EmulatedKind::ModbusRtu,
        BusKind::Can(CanUri::Slcan { .. }) => EmulatedKind::SerialCan,
        BusKind::Can(_) => EmulatedKind::Can,
        BusKind::Mqtt { .. } => EmulatedKind::Mqtt,
        BusKind::ScpiTcp { .. } => EmulatedKind::ScpiTcp,
        BusKind::ScpiSerial { .. } => EmulatedKind::ScpiSerial,
    };
    // The port belongs to the bus; the rig states it at any of its devices.
    let port = rig
        .emulate
        .devices
        .iter()
        .filter(|(device, _)| rig.devices[*device].bus == index)
        .find_map(|(_, e)| e.port)
        .filter(|port| *port != 0);
    EmulatedBus {
        id: Arc::clone(&bus.id),
        kind,
        port,
        // An in-memory CAN link opens the bus by its name in the rig.
        interface: Arc::clone(&bus.id),
    }
}

/// How an emulated bus is opened: as in the rig, but at the emulator's address.
fn bus_spec(rig: &Rig, index: usize, seed: u64, address: Option<Address>) -> bus::BusSpec {
    let rig_bus = &rig.buses[index];
    let tcp = |a: std::net::SocketAddr| (a.ip().to_string(), a.port());
    let endpoint = match address {
        Some(Address::ModbusTcp(a) | Address::Scpi(a)) => {
            let (host, port) = tcp(a);
            bus::Endpoint::Tcp { host, port }
        }
        Some(Address::Serial(path)) => bus::Endpoint::Serial {
            path,
            settings: rig_bus
                .kind
                .serial()
                .unwrap_or(profile::modbus::SerialSettings {
                    baud: 9600,
                    parity: profile::modbus::Parity::None,
                    stop_bits: 1,
                }),
        },
        Some(Address::Slcan(path)) => bus::Endpoint::Slcan {
            path,
            bitrate: match &rig_bus.kind {
                BusKind::Can(CanUri::Slcan { bitrate, .. }) => *bitrate,
                _ => 500_000,
            },
        },
        Some(Address::Socketcand(a, interface)) => {
            let (host, port) = tcp(a);
            bus::Endpoint::Socketcand {
                host,
                port,
                interface: interface.to_string(),
            }
        }
        Some(Address::Broker(a)) => {
            let (host, port) = tcp(a);
            bus::Endpoint::Broker(bus::mqtt::link::Broker {
                host,
                port,
                login: None,
                trust: None,
                status: Some(rig.status_topic(&rig_bus.id)),
            })
        }
        // Replaced by the caller, who brings the in-memory end.
        None => bus::Endpoint::Memory(mpsc::unbounded_channel().0),
    };
    bus::BusSpec {
        id: Arc::clone(&rig_bus.id),
        framing: rig_bus.kind.framing(),
        endpoint,
        timeout: rig_bus.timeout,
        min_gap: rig_bus.min_gap,
        seed: seed.wrapping_add(index as u64),
    }
}
