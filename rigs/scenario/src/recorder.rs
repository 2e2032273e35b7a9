//! Records a run as scenarios look at it: signals by name, modes, events.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{DeviceIx, Event, Instant, Mode, Point, PointSample, Reading, Role, ServiceReport};
use runtime::engine::Listener;
use runtime::rig::Rig;

use crate::services::Delivered;

use crate::series::{BenchFacts, DeviceFacts, RecordedEvent, Recording, ServiceFacts};
use crate::signal::{Signal, SignalQuantity};

/// A record that grows while the run goes on.
#[derive(Clone, Debug)]
pub struct SharedRecording(Arc<Mutex<Recording>>);

impl SharedRecording {
    /// An empty record of a run with this control period.
    #[must_use]
    pub fn new(resolution: std::time::Duration) -> Self {
        let recording = Recording {
            resolution,
            ..Recording::default()
        };
        Self(Arc::new(Mutex::new(recording)))
    }

    /// Looks into the record, or changes it, for a moment.
    pub fn with<T>(&self, look: impl FnOnce(&mut Recording) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The points that scenarios speak of, with the quantity behind the dot.
const HEARD: &[(Point, SignalQuantity)] = &[
    (Point::ActivePower, SignalQuantity::ActivePower),
    (Point::ReactivePower, SignalQuantity::ReactivePower),
    (Point::VoltageL1, SignalQuantity::Voltage),
    (Point::Frequency, SignalQuantity::Frequency),
    (Point::StateOfCharge, SignalQuantity::StateOfCharge),
    (Point::SwitchOn, SignalQuantity::Switch),
    (Point::SyncAngle, SignalQuantity::PhaseAngle),
];

/// The points of a breaker that speak of the utility, heard as `grid.f` and `grid.v`.
const HEARD_OF_GRID: &[(Point, SignalQuantity)] = &[
    (Point::GridFrequency, SignalQuantity::Frequency),
    (Point::GridVoltage, SignalQuantity::Voltage),
];

/// The points of a grid simulator that speak of the utility, where no breaker does.
const HEARD_OF_SOURCE: &[(Point, SignalQuantity)] = &[
    (Point::Frequency, SignalQuantity::Frequency),
    (Point::VoltageL1, SignalQuantity::Voltage),
    (Point::SwitchOn, SignalQuantity::Live),
];

/// Listens to the engine and fills the record.
pub struct Recorder {
    recording: SharedRecording,
    names: Vec<(String, Role)>,
    /// The device that is the utility, where there is one and no breaker looks at it.
    grid: Option<usize>,
    /// What the services deliver.
    delivered: Vec<Delivered>,
}

impl Recorder {
    /// A recorder for the devices of a rig.
    #[must_use]
    pub fn new(rig: &Rig, recording: SharedRecording) -> Self {
        recording.with(|recording| recording.facts = facts(rig));
        Self {
            recording,
            grid: the_source(rig),
            delivered: Delivered::of(rig),
            names: rig
                .devices
                .iter()
                .map(|d| (d.id.to_string(), d.role))
                .collect(),
        }
    }
}

fn facts(rig: &Rig) -> BenchFacts {
    let device = |d: &runtime::rig::RigDevice| DeviceFacts {
        name: d.id.to_string(),
        role: d.role,
        shed: d.shed,
        capacity_wh: d.capacity.map(|capacity| capacity.as_watt_hours()),
    };
    BenchFacts {
        nominal_v: rig.site.v.as_volts(),
        devices: rig.devices.iter().map(device).collect(),
        services: rig
            .control
            .services
            .iter()
            .map(|sold| ServiceFacts {
                name: sold.name.clone(),
                up_w: sold.up.as_watts(),
                down_w: sold.down.as_watts(),
                follows_signal: sold.definition.shape == services::definition::Shape::Signal,
            })
            .collect(),
    }
}

fn quantity(table: &[(Point, SignalQuantity)], point: Point) -> Option<SignalQuantity> {
    table.iter().find(|(p, _)| *p == point).map(|(_, q)| *q)
}

/// Every signal that a record of this rig can hold: the other side of what [`Recorder`] hears.
#[must_use]
pub fn signals(rig: &Rig) -> BTreeSet<Signal> {
    let mut signals = BTreeSet::new();
    let grid = the_source(rig);
    for (index, device) in rig.devices.iter().enumerate() {
        let said = device.profile.points();
        let mut hear = |name: &str, table: &[(Point, SignalQuantity)]| {
            let heard = table.iter().filter(|(point, _)| said.contains(point));
            signals.extend(heard.map(|(_, quantity)| Signal::new(name, *quantity)));
        };
        hear(&device.id, HEARD);
        hear("grid", HEARD_OF_GRID);
        if device.role == Role::Pcc {
            hear("pcc", HEARD);
        }
        if grid == Some(index) {
            hear("grid", HEARD_OF_SOURCE);
        }
    }
    let of_service = [
        SignalQuantity::ActivePower,
        SignalQuantity::AskedPower,
        SignalQuantity::ReserveUp,
        SignalQuantity::ReserveDown,
        SignalQuantity::Baseline,
        SignalQuantity::ServiceSignal,
    ];
    for service in &rig.control.services {
        let of_it = of_service.map(|quantity| Signal::new(service.name.as_str(), quantity));
        signals.extend(of_it);
    }
    signals
}

/// The device that is the utility, where there is one and no breaker looks at it.
fn the_source(rig: &Rig) -> Option<usize> {
    let has_breaker = rig.devices.iter().any(|d| d.role == Role::Breaker);
    let mut sources = (0..)
        .zip(&rig.devices)
        .filter(|(_, d)| d.role == Role::Source);
    match (sources.next(), sources.next()) {
        (Some((index, _)), None) if !has_breaker => Some(index),
        _ => None,
    }
}

impl Listener for Recorder {
    fn samples(&mut self, _: Instant, samples: &[PointSample]) {
        self.recording.with(|recording| {
            for sample in samples {
                let Some((name, role)) = self.names.get(sample.device.index()) else {
                    continue;
                };
                let (at, reading) = (sample.sample.measured_at, sample.sample.reading);
                if let Some(quantity) = quantity(HEARD, sample.point) {
                    recording.push(&Signal::new(name.as_str(), quantity), at, reading);
                    if quantity == SignalQuantity::ActivePower {
                        for service in &mut self.delivered {
                            if let Some(reading) = service.observe(sample.device, at, reading) {
                                let name = service.name.as_str();
                                recording.push(&Signal::new(name, quantity), at, reading);
                            }
                        }
                    }
                    // The coupling point is also known by its role.
                    if *role == Role::Pcc && name != "pcc" {
                        recording.push(&Signal::new("pcc", quantity), at, reading);
                    }
                }
                if self.grid == Some(sample.device.index())
                    && let Some(quantity) = quantity(HEARD_OF_SOURCE, sample.point)
                {
                    recording.push(&Signal::new("grid", quantity), at, reading);
                }
                if let Some(quantity) = quantity(HEARD_OF_GRID, sample.point) {
                    recording.push(&Signal::new("grid", quantity), at, reading);
                }
            }
        });
    }

    fn services(&mut self, now: Instant, services: &[ServiceReport]) {
        self.recording.with(|recording| {
            for (service, report) in self.delivered.iter_mut().zip(services) {
                service.told(*report);
                let told = [
                    (SignalQuantity::AskedPower, Some(report.asked)),
                    (SignalQuantity::ReserveUp, Some(report.up)),
                    (SignalQuantity::ReserveDown, Some(report.down)),
                    (SignalQuantity::Baseline, report.baseline),
                ];
                for (quantity, value) in told {
                    if let Some(value) = value {
                        let signal = Signal::new(service.name.as_str(), quantity);
                        recording.push(&signal, now, Reading::Good(value.as_watts()));
                    }
                }
            }
        });
    }

    fn event(&mut self, now: Instant, event: &Event) {
        let name_of =
            |device: DeviceIx| self.names.get(device.index()).map(|(name, _)| name.clone());
        let recorded = RecordedEvent::of(now, event, name_of);
        self.recording.with(|r| r.events.push(recorded));
    }

    fn cycle(&mut self, now: Instant, mode: Mode, _: Duration) {
        self.recording.with(|recording| {
            recording.ended = now;
            recording.cycles.push(now);
            if recording.modes.last().is_none_or(|(_, last)| *last != mode) {
                recording.modes.push((now, mode));
            }
        });
    }
}
