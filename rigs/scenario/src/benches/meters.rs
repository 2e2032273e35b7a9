//! Emulated meters that the Modbus benches read, in a child process: each with ten registers.

use std::sync::Arc;
use std::time::Duration;

use emulator::bench::{Address, Bench, BenchSpec, BusKind, BusSpec, DeviceSpec, Emulate};
use emulator::faults::Fault;
use emulator::plant::breaker::SyncCheck;
use emulator::plant::network::Feeder;
use emulator::plant::{Forming, Site};
use model::{Point, Role};
use profile::Profile;
use profile::modbus::DataType;
use quantities::{Frequency, Voltage};
use serde_json::json;

use super::unit::{Place, Times, profile};
use super::{BenchError, child};
use crate::live::in_runtime;

/// What is read: five values of two registers each.
pub(super) const PLACES: [(Point, u16); 5] = [
    (Point::ActivePower, 0),
    (Point::ReactivePower, 2),
    (Point::ApparentPower, 4),
    (Point::Frequency, 6),
    (Point::VoltageL1, 8),
];

/// Registers of one read.
pub(super) const REGISTERS: u16 = 10;

/// Seed of the plant's noise. Chosen: any; the same each time.
const SEED: u64 = 7;

/// A meter with these times.
pub(super) fn meter(timeout: Duration, late_window: Duration) -> Arc<Profile> {
    let places = PLACES.map(|(point, address)| Place {
        point,
        address,
        data: DataType::F32,
    });
    let times = Times {
        timeout,
        late_window,
    };
    profile("bench/ten-registers", &places, times)
}

/// How meters hang together.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wiring {
    /// Each has a TCP port of its own.
    Ports,
    /// All are units of one serial line, from 1 on; this one may say nothing.
    Line { silent: Option<usize> },
}

/// Serves so many meters, each with a load of its own on a common plant, tells the parent where they
/// are, and ends with it.
pub(super) fn serve(count: usize, wiring: Wiring) -> Result<(), BenchError> {
    // A meter's times are those of whoever reads it; the emulator has none.
    let profile = meter(Duration::ZERO, Duration::ZERO);
    let name = |n: usize| -> Arc<str> { format!("meter-{n}").into() };
    let (buses, kind) = match wiring {
        Wiring::Ports => (count, BusKind::ModbusTcp),
        Wiring::Line { .. } => (1, BusKind::ModbusRtu),
    };
    let faults = |n: usize| match wiring {
        Wiring::Line { silent } if silent == Some(n) => vec![Fault::Silent],
        _ => Vec::new(),
    };
    let spec = BenchSpec {
        site: Site {
            v_nominal: Voltage::from_volts(230.0),
            f_nominal: Frequency::from_hertz(50.0),
            phases: 3,
        },
        // A stiff grid: the devices are of interest, not the feeder.
        network: None,
        feeder: Feeder {
            r_ohm: 0.001,
            x_ohm: 0.001,
        },
        forming: Forming::default(),
        sync: SyncCheck::default(),
        relay: true,
        buses: (0..buses)
            .map(|n| BusSpec {
                id: name(n),
                kind,
                port: None,
                interface: name(n),
            })
            .collect(),
        devices: (0..count)
            .map(|n| DeviceSpec {
                id: name(n),
                role: Role::Meter,
                profile: Arc::clone(&profile),
                bus: name(n.min(buses - 1)),
                unit: matches!(wiring, Wiring::Line { .. })
                    .then(|| u8::try_from(n + 1).unwrap_or(u8::MAX)),
                topic: None,
                battery: None,
                emulate: Emulate {
                    faults: faults(n),
                    ..Emulate::default()
                },
            })
            .collect(),
        day: None,
        course: None,
        seed: SEED,
    };
    let mut bench = Bench::new(spec).map_err(|e| BenchError::Run(e.to_string()))?;
    in_runtime(false, async move {
        let addresses = bench
            .start_real()
            .await
            .map_err(|e| BenchError::Run(e.to_string()))?;
        let ports: Vec<u16> = addresses
            .iter()
            .filter_map(|a| match &a.address {
                Address::ModbusTcp(address) => Some(address.port()),
                _ => None,
            })
            .collect();
        let line = addresses.iter().find_map(|a| match &a.address {
            Address::Serial(path) => Some(path.clone()),
            _ => None,
        });
        child::tell(&json!({ "ports": ports, "line": line }))?;
        // The parent's end is waited for beside the servers.
        let _ = tokio::task::spawn_blocking(child::wait_for_parent).await;
        Ok(())
    })
    .map_err(|faults| BenchError::Run(super::virtual_time::told(&faults)))?
}

/// The ports that a child of this kind has told.
pub(super) fn ports(said: &serde_json::Value) -> Result<Vec<u16>, BenchError> {
    said.get("ports")
        .and_then(|v| serde_json::from_value(v.clone()).ok())
        .ok_or_else(|| BenchError::Child {
            expected: "the ports of its servers",
            said: said.to_string(),
        })
}
