//! Points of single devices, read and written by a person, without a control loop.
//!
//! The same drivers, the same limiter and the same ledger as in a run: what is written is
//! approved, recorded before it leaves, and read back. It is not responsible for choosing
//! what is written, nor for bringing a device back; whoever needs that starts a run.

pub mod plausible;
pub mod recorder;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bus::{AdoptJob, BusHandle, BusReport, BusSpec, LinkEvent, WriteJob, Writer};
use control::{Bench, Dispatch};
use document::Diagnostic;
use ledger_core::AtomId;
use limiter::{Clamp, Limiter, Refusal};
use model::{
    Characteristic, Clock, DeviceIx, Flaw, Function, Instant, Point, ProcessImage, Reading, Role,
    Sample, Setpoint, Stage,
};
use quantities::{ActivePower, Bounds, Frequency, PhaseAngle, ReactivePower, Voltage};

use crate::evidence::{self, CONTROLLER, Evidence, NotDurable};
use crate::image::ImageStore;
use crate::rig::Rig;
use crate::tracker::{Progress, Tracker};
use plausible::{Observations, Observed};
use recorder::Recorder;

/// How often it is looked whether something has arrived.
/// Chosen: 10 ms, below what a person notices and far above what it costs.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a device that is told to be absent may still come.
/// Chosen: 2 s, the first two attempts of every driver's back-off.
const ABSENT_AFTER: Duration = Duration::from_secs(2);
/// How long a device may take to adopt a characteristic.
/// Chosen: 20 s, what its bus grants the device and twice as long.
const ADOPTED_WITHIN: Duration = Duration::from_secs(20);
/// How long a setpoint may wait on its bus. Chosen: 2 s; a person waits, no loop depends on it.
const VALID_FOR: Duration = Duration::from_secs(2);

/// What is known of one point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PointReading {
    /// Which device.
    pub device: DeviceIx,
    /// Which point.
    pub point: Point,
    /// The latest attempt, in the base unit of the point; [`Flaw::NeverRead`] when there was none.
    pub reading: Reading<f64>,
    /// When it was measured, after the buses were opened; `None` when it never was.
    pub measured_at: Option<Instant>,
}

/// What a write came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// What was wished.
    pub wished: Setpoint,
    /// What the limiter approved last.
    pub approved: Setpoint,
    /// What it changed about the wish.
    pub clamped: Vec<String>,
    /// Setpoints on the way there, because the ramp allows no jump; the last one included.
    pub steps: u64,
    /// The record of the last one in the ledger.
    pub atom: AtomId,
    /// How far the last one was proved, and after which time.
    pub proved: Option<(Stage, Duration)>,
}

/// What came of a characteristic.
#[derive(Clone, Debug, PartialEq)]
pub struct Adopted {
    /// What the device follows now.
    pub characteristic: Characteristic,
    /// Its record in the ledger.
    pub atom: AtomId,
    /// Time until the device's own registers proved it.
    pub after: Duration,
}

/// Why a setpoint did not arrive.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WriteFault {
    /// The limiter refused.
    #[error("`{device}` was not written: {refusal}")]
    Refused {
        /// Which device.
        device: String,
        /// Why.
        refusal: Refusal,
    },
    /// The record was not durable, so nothing was sent.
    #[error("`{device}` was not written: {source}")]
    NotRecorded {
        /// Which device.
        device: String,
        /// Why.
        source: NotDurable,
    },
    /// The bus did not take it.
    #[error("`{device}` was not written: {why}")]
    NotTaken {
        /// Which device.
        device: String,
        /// Why.
        why: String,
    },
    /// The device did not prove it.
    #[error("`{device}` did not prove the setpoint: {why}")]
    NotProved {
        /// Which device.
        device: String,
        /// Why.
        why: String,
    },
}

/// Buses that are open for looking and for single setpoints.
pub struct PointAccess {
    rig: Arc<Rig>,
    bench: Bench,
    clock: Arc<dyn Clock>,
    store: Arc<ImageStore>,
    buses: BTreeMap<usize, BusHandle>,
    /// Ways to write, each made by the first write on its bus.
    writers: BTreeMap<usize, Writer>,
    limiter: Limiter,
    tracker: Tracker,
    latest: BTreeMap<(DeviceIx, Point), Sample<f64>>,
    image: ProcessImage,
    /// Devices that were told to be absent, with the time and the reason.
    absent: BTreeMap<DeviceIx, (Instant, Flaw)>,
    online: BTreeMap<DeviceIx, Instant>,
    events: Vec<LinkEvent>,
    /// What the buses told, in order, each thing once.
    pub notices: Vec<String>,
}

impl PointAccess {
    /// Opens the buses that are given, each with its number in the rig.
    ///
    /// Must be called inside a tokio runtime; the buses end when it is dropped.
    #[must_use]
    pub fn open(rig: &Arc<Rig>, specs: Vec<(usize, BusSpec)>, clock: Arc<dyn Clock>) -> Self {
        let store = store_of(rig);
        let sink = Arc::clone(&store) as Arc<dyn bus::Sink>;
        Self::over(rig, specs, clock, store, &sink)
    }

    /// The same with a recorder of everything that goes over the buses.
    #[must_use]
    pub fn open_recorded(
        rig: &Arc<Rig>,
        specs: Vec<(usize, BusSpec)>,
        clock: Arc<dyn Clock>,
    ) -> (Self, Arc<Recorder>) {
        let store = store_of(rig);
        let recorder = Arc::new(Recorder::new(
            Arc::clone(&store) as Arc<dyn bus::Sink>,
            Arc::clone(&clock),
        ));
        let sink = Arc::clone(&recorder) as Arc<dyn bus::Sink>;
        (Self::over(rig, specs, clock, store, &sink), recorder)
    }

    fn over(
        rig: &Arc<Rig>,
        specs: Vec<(usize, BusSpec)>,
        clock: Arc<dyn Clock>,
        store: Arc<ImageStore>,
        sink: &Arc<dyn bus::Sink>,
    ) -> Self {
        let bench = rig.bench();
        let buses = specs
            .into_iter()
            .map(|(index, spec)| {
                let devices = rig.devices_on(index);
                let handle = bus::start(spec, devices, Arc::clone(&clock), Arc::clone(sink));
                (index, handle)
            })
            .collect();
        Self {
            limiter: bench.limiter(),
            rig: Arc::clone(rig),
            image: ProcessImage::unread(bench.devices.len()),
            bench,
            clock,
            store,
            buses,
            writers: BTreeMap::new(),
            tracker: Tracker::default(),
            latest: BTreeMap::new(),
            absent: BTreeMap::new(),
            online: BTreeMap::new(),
            events: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// Takes in what has arrived.
    fn listen(&mut self) {
        let now = self.clock.now();
        let (image, arrivals) = self.store.take(now);
        self.image = image;
        for sample in arrivals.samples {
            let slot = self.latest.entry((sample.device, sample.point));
            let latest = slot.or_insert(sample.sample);
            if sample.sample.measured_at >= latest.measured_at {
                *latest = sample.sample;
            }
        }
        for event in &arrivals.events {
            match event {
                LinkEvent::Online(device) => {
                    self.absent.remove(device);
                    self.online.entry(*device).or_insert(now);
                }
                LinkEvent::Offline(device, flaw) => {
                    self.absent.entry(*device).or_insert((now, *flaw));
                }
                LinkEvent::Notice { text, .. } if !self.notices.contains(text) => {
                    self.notices.push(text.clone());
                }
                _ => (),
            }
        }
        self.events.extend(arrivals.events);
    }

    /// Waits until every wanted point is known, or is known not to come, or the time is over.
    pub async fn read(
        &mut self,
        wanted: &[(DeviceIx, Point)],
        within: Duration,
    ) -> Vec<PointReading> {
        let end = self.clock.now() + within;
        loop {
            self.listen();
            let now = self.clock.now();
            if now >= end || wanted.iter().all(|w| self.is_settled(*w, now)) {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        wanted.iter().map(|w| self.reading(*w)).collect()
    }

    /// What all good samples that are measured from now on say, for some time.
    pub async fn observe(&mut self, during: Duration) -> Observations {
        self.listen();
        let begin = self.clock.now();
        let mut observed = Observations::new();
        while self.clock.now().since(begin) < during {
            tokio::time::sleep(LOOK_EVERY).await;
            self.listen();
            for (key, sample) in &self.latest {
                if let Reading::Good(value) = sample.reading
                    && sample.measured_at >= begin
                {
                    let slot = observed.entry(*key).or_insert(Observed::steady(value));
                    *slot = slot.with(value);
                }
            }
        }
        observed
    }

    /// What is known of some points now, without waiting.
    pub fn look(&mut self, wanted: &[(DeviceIx, Point)]) -> Vec<PointReading> {
        self.listen();
        wanted.iter().map(|w| self.reading(*w)).collect()
    }

    fn is_settled(&self, (device, point): (DeviceIx, Point), now: Instant) -> bool {
        let reading = self.latest.get(&(device, point)).map(|s| s.reading);
        match reading {
            Some(Reading::Good(_)) => true,
            // The device has answered; asking again gives the same.
            Some(Reading::Bad(
                Flaw::NotImplemented | Flaw::OutOfRange | Flaw::Exception(_) | Flaw::Config,
            )) => true,
            Some(Reading::Bad(_)) | None => self
                .absent
                .get(&device)
                .is_some_and(|(since, _)| now.since(*since) >= ABSENT_AFTER),
        }
    }

    fn reading(&self, (device, point): (DeviceIx, Point)) -> PointReading {
        let latest = self.latest.get(&(device, point));
        let absent = self.absent.get(&device).map(|(_, flaw)| *flaw);
        let reading = match (latest.map(|s| s.reading), absent) {
            (Some(reading), _) => reading,
            (None, Some(flaw)) => Reading::Bad(flaw),
            (None, None) => Reading::Bad(Flaw::NeverRead),
        };
        PointReading {
            device,
            point,
            reading,
            measured_at: latest.map(|s| s.measured_at),
        }
    }

    /// When a device was first heard, after the buses were opened; `None` while it was not.
    #[must_use]
    pub fn heard_at(&self, device: DeviceIx) -> Option<Instant> {
        self.online.get(&device).copied()
    }

    /// Counters of a bus that is open.
    #[must_use]
    pub fn report(&self, bus: usize) -> Option<BusReport> {
        self.buses.get(&bus).map(|handle| handle.stats.report())
    }

    /// Points that the limiter and the proof of a setpoint need to know.
    fn needed(&self, device: DeviceIx) -> Vec<(DeviceIx, Point)> {
        let battery = self.bench.devices[device.index()].battery;
        [Some(device), battery]
            .into_iter()
            .flatten()
            .flat_map(|d| {
                points_of(&self.rig, d)
                    .into_iter()
                    .filter(|p| NEEDED.contains(p))
                    .map(move |p| (d, p))
            })
            .collect()
    }

    /// Brings a device to a setpoint: every step is limited, recorded, sent and proved.
    ///
    /// The ramp of the rig allows no jump, so this may take several steps. It ends when the
    /// limiter has nothing left to add because of the ramp and the device's own register proved
    /// the last step.
    ///
    /// # Errors
    /// See [`WriteFault`]. Steps before the fault have been sent.
    pub async fn write(
        &mut self,
        evidence: &mut Evidence,
        device: DeviceIx,
        wished: Setpoint,
        within: Duration,
    ) -> Result<Written, WriteFault> {
        let name = self.rig.devices[device.index()].id.to_string();
        let end = self.clock.now() + within;
        if !self.learn(device, within).await {
            return Err(WriteFault::Refused {
                device: name,
                refusal: Refusal::Offline,
            });
        }
        let late = |steps: u64| match steps {
            0 => WriteFault::NotRecorded {
                device: name.clone(),
                source: NotDurable::Late(within),
            },
            _ => WriteFault::NotProved {
                device: name.clone(),
                why: format!("after {} s it is still on its ramp", within.as_secs_f64()),
            },
        };
        let mut steps = 0;
        loop {
            let now = self.clock.now();
            if now >= end {
                return Err(late(steps));
            }
            let verdict = self
                .limiter
                .approve(now, device, wished, &self.image)
                .map_err(|refusal| WriteFault::Refused {
                    device: name.clone(),
                    refusal,
                })?;
            let on_the_ramp = verdict
                .clamps
                .iter()
                .any(|clamp| matches!(clamp, Clamp::Ramp { .. }));
            let clamped: Vec<String> = verdict.clamps.iter().map(ToString::to_string).collect();
            let dispatch = Dispatch {
                device,
                setpoint: verdict.approved,
                function: Function::Operator,
                why: "point-level access".to_owned(),
                clamped: clamped.clone(),
                valid_until: now + VALID_FOR,
                urgent: false,
            };
            let Some(atom) = self.record(evidence, &name, &dispatch)? else {
                // The disk was slow. The record may still come, but what it says never left, and
                // its validity ends; the wish is decided and recorded anew.
                tokio::time::sleep(LOOK_EVERY).await;
                self.listen();
                continue;
            };
            let proved = self.send(evidence, &name, &dispatch, atom).await?;
            steps += 1;
            if !on_the_ramp {
                return Ok(Written {
                    wished,
                    approved: dispatch.setpoint.get(),
                    clamped,
                    steps,
                    atom,
                    proved,
                });
            }
            tokio::time::sleep(self.bench.settings.period).await;
            self.listen();
        }
    }

    /// Makes the record of a step durable; `None` when the disk was too slow for it.
    fn record(
        &self,
        evidence: &mut Evidence,
        name: &str,
        dispatch: &Dispatch,
    ) -> Result<Option<AtomId>, WriteFault> {
        let names: Vec<_> = self.bench.devices.iter().map(|d| d.id.clone()).collect();
        let (utc, now) = (self.clock.utc(), self.clock.now());
        let fault = |source| WriteFault::NotRecorded {
            device: name.to_owned(),
            source,
        };
        match evidence.before_release(
            utc,
            now,
            &names,
            std::slice::from_ref(dispatch),
            None,
            Duration::MAX,
        ) {
            Ok(receipts) => match receipts.first() {
                Some(receipt) => Ok(Some(receipt.atom_id)),
                None => Err(fault(NotDurable::Stopped("it gave no receipt".into()))),
            },
            Err(NotDurable::Late(_)) => Ok(None),
            Err(stopped) => Err(fault(stopped)),
        }
    }

    /// Lets a device adopt a characteristic: limited, recorded, sent and proved like a setpoint.
    ///
    /// # Errors
    /// See [`WriteFault`].
    pub async fn adopt(
        &mut self,
        evidence: &mut Evidence,
        device: DeviceIx,
        wish: Characteristic,
        revert: Option<Duration>,
        within: Duration,
    ) -> Result<Adopted, WriteFault> {
        let name = self.rig.devices[device.index()].id.to_string();
        let refused = |refusal| WriteFault::Refused {
            device: name.clone(),
            refusal,
        };
        if !self.learn(device, within).await {
            return Err(refused(Refusal::Offline));
        }
        let characteristic = self
            .limiter
            .approve_characteristic(device, wish, &self.image)
            .map_err(refused)?;
        let subject = format!("{name} {}", characteristic.value().name());
        let mut note = |what: String| {
            let utc = self.clock.utc();
            let bytes = format!("{subject}: {what}");
            let draft = evidence.draft(
                CONTROLLER,
                evidence::document(&subject, bytes.as_bytes(), &what),
            );
            // Nothing is sent, and nothing is said, before its record is durable.
            let receipts = evidence.append(utc, vec![draft], None);
            let receipt = receipts.and_then(|receipts| {
                let missing = || NotDurable::Stopped("it gave no receipt".into());
                receipts.first().map(|r| r.atom_id).ok_or_else(missing)
            });
            receipt.map_err(|source| WriteFault::NotRecorded {
                device: name.clone(),
                source,
            })
        };
        let text = characteristic.value().to_string();
        let atom = note(format!("approved: {text}"))?;
        let not_taken = |why: String| WriteFault::NotTaken {
            device: name.clone(),
            why,
        };
        let bus = self.rig.devices[device.index()].bus;
        let Some(handle) = self.buses.get(&bus) else {
            return Err(not_taken("its bus is not open".into()));
        };
        let writer = self.writers.entry(bus).or_insert_with(|| handle.arm());
        let number = self.tracker.number();
        let sent = self.clock.now();
        writer
            .adopt(AdoptJob {
                dispatch: number,
                device,
                characteristic: characteristic.clone(),
                revert,
                valid_until: sent + VALID_FOR,
            })
            .map_err(|e| not_taken(e.to_string()))?;
        let end = sent + ADOPTED_WITHIN;
        let mut why = format!("nothing was heard of it for {} s", ADOPTED_WITHIN.as_secs());
        let mut after = None;
        'waiting: while self.clock.now() < end {
            tokio::time::sleep(LOOK_EVERY).await;
            let (_, arrivals) = self.store.take(self.clock.now());
            for event in arrivals.events {
                match event {
                    LinkEvent::Confirmed {
                        dispatch,
                        stage: Stage::Register,
                        at,
                        ..
                    } if dispatch == number => {
                        after = Some(at.since(sent));
                        break 'waiting;
                    }
                    LinkEvent::Missed {
                        dispatch,
                        why: told,
                        ..
                    } if dispatch == number => {
                        why = told;
                        break 'waiting;
                    }
                    _ => {}
                }
            }
        }
        match after {
            Some(after) => {
                note(format!("adopted: {text}"))?;
                Ok(Adopted {
                    characteristic: characteristic.value().clone(),
                    atom,
                    after,
                })
            }
            None => {
                note(format!("not adopted: {why}"))?;
                Err(WriteFault::NotProved { device: name, why })
            }
        }
    }

    /// Hands a step to its bus and waits for what the device's own register says.
    async fn send(
        &mut self,
        evidence: &mut Evidence,
        name: &str,
        dispatch: &Dispatch,
        atom: AtomId,
    ) -> Result<Option<(Stage, Duration)>, WriteFault> {
        let not_taken = |why: String| WriteFault::NotTaken {
            device: name.to_owned(),
            why,
        };
        let bus = self.rig.devices[dispatch.device.index()].bus;
        let Some(handle) = self.buses.get(&bus) else {
            return Err(not_taken("its bus is not open".into()));
        };
        let writer = self.writers.entry(bus).or_insert_with(|| handle.arm());
        let number = self.tracker.number();
        writer
            .write(WriteJob {
                dispatch: number,
                device: dispatch.device,
                setpoint: dispatch.setpoint,
                valid_until: dispatch.valid_until,
                urgent: dispatch.urgent,
            })
            .map_err(|e| not_taken(e.to_string()))?;
        let now = self.clock.now();
        self.tracker
            .sent(dispatch.device, number, atom, dispatch.setpoint.get(), now);
        let end = now + VALID_FOR + VALID_FOR;
        while self.clock.now() < end {
            tokio::time::sleep(LOOK_EVERY).await;
            self.listen();
            let now = self.clock.now();
            for event in std::mem::take(&mut self.events) {
                let Some(progress) = self.tracker.heard(now, &event) else {
                    continue;
                };
                self.acknowledge(evidence, name, &progress)?;
                return match progress.missed {
                    Some(why) => Err(WriteFault::NotProved {
                        device: name.to_owned(),
                        why,
                    }),
                    None => Ok(Some((progress.stage, progress.after))),
                };
            }
        }
        Err(WriteFault::NotProved {
            device: name.to_owned(),
            why: format!("nothing was heard of it for {} s", end.since(now).as_secs()),
        })
    }

    fn acknowledge(
        &self,
        evidence: &mut Evidence,
        name: &str,
        progress: &Progress,
    ) -> Result<(), WriteFault> {
        let utc = self.clock.utc();
        let draft = evidence.draft(CONTROLLER, evidence::acknowledgement(utc, progress));
        evidence
            .note(utc, vec![draft])
            .map_err(|source| WriteFault::NotRecorded {
                device: name.to_owned(),
                source,
            })
    }

    /// Learns what the limiter must know of a device; whether the device was heard at all.
    pub async fn learn(&mut self, device: DeviceIx, within: Duration) -> bool {
        let needed = self.needed(device);
        self.read(&needed, within).await;
        self.heard_at(device).is_some()
    }

    /// The setpoints that points with values, in their base units, mean together.
    ///
    /// Active and reactive power are one setpoint. Where only reactive power is wished, active
    /// power stays what it is now; `None` when that is not known, or for a point that cannot be set.
    #[must_use]
    pub fn setpoints(&self, device: DeviceIx, values: &[(Point, f64)]) -> Option<Vec<Setpoint>> {
        let now_p = self.image.devices.get(device.index())?.p.last_good;
        let of = |point| values.iter().find(|(p, _)| *p == point).map(|(_, v)| *v);
        let mut setpoints = Vec::new();
        let (p, q) = (of(Point::ActivePowerSet), of(Point::ReactivePowerSet));
        if p.is_some() || q.is_some() {
            setpoints.push(Setpoint::Power {
                p: match p {
                    Some(watts) => ActivePower::from_watts(watts),
                    None => now_p?.1,
                },
                q: ReactivePower::from_vars(q.unwrap_or(0.0)),
            });
        }
        let role = self.rig.devices.get(device.index())?.role;
        let of_source = |point: &Point| {
            matches!(
                point,
                Point::FrequencySet | Point::VoltageSet | Point::PhaseSet
            ) || (*point == Point::SwitchOn && role == Role::Source)
        };
        if values.iter().any(|(point, _)| of_source(point)) {
            setpoints.push(Setpoint::Source {
                f: of(Point::FrequencySet).map(Frequency::from_hertz),
                v: of(Point::VoltageSet).map(Voltage::from_volts),
                phase: of(Point::PhaseSet).map(PhaseAngle::from_degrees),
                on: of(Point::SwitchOn).map(|on| on >= 0.5),
            });
        }
        for (point, value) in values {
            match point {
                point if of_source(point) => (),
                Point::ActivePowerSet | Point::ReactivePowerSet => (),
                Point::ActivePowerLimit => setpoints.push(Setpoint::Ceiling {
                    p: ActivePower::from_watts(*value),
                }),
                Point::SwitchOn => setpoints.push(Setpoint::Switch { on: *value >= 0.5 }),
                _ => return None,
            }
        }
        Some(setpoints)
    }
}

/// Where the samples of a rig arrive.
fn store_of(rig: &Rig) -> Arc<ImageStore> {
    ImageStore::new(
        rig.devices.iter().map(|d| d.invert).collect(),
        // Nobody waits for a fast path here.
        crate::image::Alarm {
            calm: Bounds::unbounded(),
            estop: None,
        },
        Box::new(|| ()),
    )
}

/// What the limiter looks at.
const NEEDED: &[Point] = &[
    Point::ActivePower,
    Point::StateOfCharge,
    Point::BatteryVoltage,
    Point::ChargeCurrentMax,
    Point::DischargeCurrentMax,
    Point::GridVoltage,
    Point::GridFrequency,
    Point::SwitchOn,
    Point::Frequency,
];

/// The points of a device as they arrive: for a meter that is wired the other way round, the two
/// energy counters have changed places.
#[must_use]
pub fn points_of(rig: &Rig, device: DeviceIx) -> Vec<Point> {
    let Some(device) = rig.devices.get(device.index()) else {
        return Vec::new();
    };
    let turned = |point| match point {
        Point::EnergyImport if device.invert => Point::EnergyExport,
        Point::EnergyExport if device.invert => Point::EnergyImport,
        point => point,
    };
    let mut points: Vec<Point> = device.profile.points().into_iter().map(turned).collect();
    points.sort();
    points
}

/// The buses that some devices and their batteries hang on.
#[must_use]
pub fn buses_of(rig: &Rig, devices: &[DeviceIx]) -> Vec<usize> {
    let mut buses: Vec<usize> = devices
        .iter()
        .filter_map(|d| rig.devices.get(d.index()))
        .flat_map(|d| {
            let battery = d.battery.and_then(|b| rig.devices.get(b));
            [Some(d.bus), battery.map(|b| b.bus)]
        })
        .flatten()
        .collect();
    buses.sort_unstable();
    buses.dedup();
    buses
}

/// How some buses of the real bench are opened.
///
/// # Errors
/// All faults of these buses.
pub fn specs_of(
    rig: &Rig,
    buses: &[usize],
    seed: u64,
) -> Result<Vec<(usize, BusSpec)>, Vec<Diagnostic>> {
    let mut specs = Vec::new();
    let mut faults = Vec::new();
    for bus in buses {
        match rig.bus_spec(*bus, seed) {
            Ok(spec) => specs.push((*bus, spec)),
            Err(fault) => faults.push(*fault),
        }
    }
    if faults.is_empty() {
        Ok(specs)
    } else {
        Err(faults)
    }
}

#[cfg(test)]
mod tests;
