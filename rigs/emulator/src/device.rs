//! Devices: what stands between the plant and a wire.
//!
//! A device measures and commands one part of the plant. It has a nameplate, its own
//! timers that take a setpoint back when nobody repeats it, and faults. Values are in
//! canonical base units with the canonical sign, except that a meter tells what its
//! real pendant would: a load's meter shows consumption as positive, since it is wired
//! with its import side to the bus; the rig's `invert` turns that round.
//!
//! It is not responsible for registers, frames or topics (see `faces`).

mod measured;
mod setpoints;

mod own;

pub mod law;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use der_model::Status;
use model::Point;

use crate::faults::{Fault, FaultSet};
use crate::plant::breaker::Refusal;
use crate::plant::der::{Change, Functions};
use crate::plant::genset::Genset;
use crate::plant::storage::Storage;
use crate::plant::wires::Unit;
use crate::plant::{Plant, Supply};
use law::{Event, Phase};

/// Which part of the plant a device is, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Meter at the point of common coupling; positive = import.
    Pcc,
    /// Breaker at the point of common coupling.
    Breaker,
    /// Photovoltaic inverter.
    Pv(usize),
    /// Storage inverter.
    Storage(usize),
    /// Diesel set.
    Genset(usize),
    /// The management system of the battery behind a storage inverter.
    Battery(usize),
    /// Switched and metered load.
    Plug(usize),
    /// Meter of a part of the plant; positive = consumption.
    Meter(Metered),
    /// Grid simulator: it is the plant's grid.
    Source,
    /// Load that holds the power it is set to.
    ElectronicLoad(usize),
}

/// What a meter measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metered {
    /// A load.
    Load(usize),
    /// A photovoltaic inverter.
    Pv(usize),
    /// A storage inverter.
    Storage(usize),
    /// A diesel set.
    Genset(usize),
}

/// What stands on the nameplate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Nameplate {
    /// Rated active power in watts.
    pub p: f64,
    /// Rated apparent power in volt-amperes.
    pub s: f64,
    /// Usable energy in watt-hours, for a storage.
    pub capacity_wh: f64,
}

/// Why a device does not take a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the device does not take {point}")]
pub struct NotTaken {
    /// What was written.
    pub point: Point,
}

/// A device.
#[derive(Clone, Debug)]
pub struct Device {
    /// Name in the rig.
    pub id: Arc<str>,
    /// Bus that it hangs on.
    pub bus: Arc<str>,
    /// Which part of the plant it is.
    pub kind: Kind,
    /// Its nameplate.
    pub nameplate: Nameplate,
    /// Its faults.
    pub faults: FaultSet,
    /// Setpoints that are in force, each with the time at which it is taken back.
    held: BTreeMap<Point, Held>,
    /// Powers of ten by which its SunSpec scale factors stand away from where they began.
    pub scale_shift: i16,
    /// Functions that it carries out by itself, each under a number, in phases by time.
    laws: BTreeMap<u16, Vec<Phase>>,
    /// The event in which its droop acts.
    event: Option<Event>,
    /// Changes of what it does as a DER, each under a number and with its time; the next last.
    changes: Vec<(u16, Duration, Change)>,
    /// What it says while it is stuck.
    frozen: Option<BTreeMap<Point, f64>>,
    /// While it starts anew: until when, in the plant's time.
    away_until: Option<Duration>,
    /// How often it was started; what its registers held is gone with each.
    starts: u32,
    /// What its counters stood at when it was last started.
    counted: BTreeMap<Point, f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Held {
    value: f64,
    until: Option<Duration>,
    /// What it goes back to, if not to what it does unasked.
    back: Option<f64>,
}

/// How a device takes a setpoint back by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Revert {
    /// Time without a repetition; zero means never.
    pub after: Duration,
    /// What it goes back to; `None` = what it does unasked, a switch to its other position.
    pub to: Option<f64>,
}

impl From<Duration> for Revert {
    fn from(after: Duration) -> Self {
        Self { after, to: None }
    }
}

impl Device {
    /// A device without faults and setpoints.
    #[must_use]
    pub fn new(id: Arc<str>, bus: Arc<str>, kind: Kind, nameplate: Nameplate) -> Self {
        Self {
            id,
            bus,
            kind,
            nameplate,
            faults: FaultSet::default(),
            held: BTreeMap::new(),
            scale_shift: 0,
            laws: BTreeMap::new(),
            event: None,
            changes: Vec::new(),
            frozen: None,
            away_until: None,
            starts: 0,
            counted: BTreeMap::new(),
        }
    }

    /// What the device says at a point; `None` when it does not know or does not have it.
    #[must_use]
    pub fn value(&self, plant: &Plant, point: Point) -> Option<f64> {
        if self.faults.is_empty() {
            return self.counted(plant, point);
        }
        if self.faults.has(Fault::NotImplemented) {
            return None;
        }
        let told = match &self.frozen {
            Some(frozen) => frozen.get(&point).copied(),
            None => self.counted(plant, point),
        }?;
        Some(match point {
            Point::ActivePower => {
                let sign = if self.faults.has(Fault::SignFlip) {
                    -1.0
                } else {
                    1.0
                };
                sign * told * 10_f64.powi(self.faults.wrong_scale()) + self.faults.bias()
            }
            Point::ReactivePower
            | Point::ActivePowerL1
            | Point::ActivePowerL2
            | Point::ActivePowerL3
            | Point::BatteryCurrent
                if self.faults.has(Fault::SignFlip) =>
            {
                -told
            }
            _ => told,
        })
    }

    /// What is true, counted from the device's last start.
    fn counted(&self, plant: &Plant, point: Point) -> Option<f64> {
        let before = self.counted.get(&point).copied().unwrap_or(0.0);
        Some(self.truth(plant, point)? - before)
    }

    /// What it does as a DER to IEEE 1547-2018, if it is one.
    #[must_use]
    pub fn functions<'p>(&self, plant: &'p Plant) -> Option<&'p Functions> {
        match self.kind {
            Kind::Pv(ix) => plant.pv.get(ix)?.functions(),
            Kind::Storage(ix) => plant.storage.get(ix)?.functions(),
            _ => None,
        }
    }

    /// Whether it forms the island that it is in.
    #[must_use]
    pub fn forms(&self, plant: &Plant) -> bool {
        match self.kind {
            Kind::Storage(ix) => plant.storage.get(ix).is_some_and(Storage::is_forming),
            Kind::Genset(ix) => {
                let on_load = plant.gensets.get(ix).is_some_and(Genset::is_on_load);
                on_load && plant.bus_at(self.unit()).supply == Supply::Island
            }
            _ => false,
        }
    }

    /// Whether a set has closed its breaker; `None` for what is no set.
    #[must_use]
    pub fn is_on_load(&self, plant: &Plant) -> Option<bool> {
        match self.kind {
            Kind::Genset(ix) => Some(plant.gensets.get(ix)?.is_on_load()),
            _ => None,
        }
    }

    fn functions_mut<'p>(&self, plant: &'p mut Plant) -> Option<&'p mut Functions> {
        match self.kind {
            Kind::Pv(ix) => plant.pv.get_mut(ix)?.functions_mut(),
            Kind::Storage(ix) => plant.storage.get_mut(ix)?.functions_mut(),
            _ => None,
        }
    }

    /// The part of the plant whose voltage it sees.
    fn unit(&self) -> Unit {
        match self.kind {
            Kind::Pcc | Kind::Breaker | Kind::Source => Unit::Main,
            Kind::Pv(n) | Kind::Meter(Metered::Pv(n)) => Unit::Pv(n),
            Kind::Storage(n) | Kind::Battery(n) | Kind::Meter(Metered::Storage(n)) => {
                Unit::Storage(n)
            }
            Kind::Genset(n) | Kind::Meter(Metered::Genset(n)) => Unit::Genset(n),
            Kind::Plug(n) | Kind::ElectronicLoad(n) | Kind::Meter(Metered::Load(n)) => {
                Unit::Load(n)
            }
        }
    }

    /// Puts a fault in or takes it away.
    pub fn set_fault(&mut self, plant: &mut Plant, fault: Fault, on: bool) {
        if fault == Fault::Stuck {
            self.frozen = on.then(|| {
                Point::ALL
                    .iter()
                    .filter_map(|point| Some((*point, self.truth(plant, *point)?)))
                    .collect()
            });
        }
        match fault {
            Fault::ScaleShift(powers) => self.scale_shift = if on { powers } else { 0 },
            Fault::ClockJump(seconds) if on => self.jump(seconds),
            Fault::Reboot(away) if on => self.start_anew(plant, away),
            Fault::Reboot(_) => self.away_until = None,
            _ => {}
        }
        self.faults.set(fault, on);
    }

    /// Whether the device is away because it starts anew.
    #[must_use]
    pub fn is_away(&self, plant: &Plant) -> bool {
        self.away_until.is_some_and(|until| plant.now() < until)
    }

    /// How often the device was started anew.
    #[must_use]
    pub fn starts(&self) -> u32 {
        self.starts
    }

    /// Everything that it was told is gone, and its counters begin at zero.
    fn start_anew(&mut self, plant: &mut Plant, away: Duration) {
        for (point, _) in std::mem::take(&mut self.held) {
            self.let_go(plant, point);
        }
        self.laws.clear();
        self.event = None;
        self.changes.clear();
        if let Some(functions) = self.functions_mut(plant) {
            functions.start_anew();
        }
        self.counted = [Point::EnergyImport, Point::EnergyExport]
            .into_iter()
            .filter_map(|point| Some((point, self.truth(plant, point)?)))
            .collect();
        self.away_until = Some(plant.now() + away);
        self.starts += 1;
    }

    /// The device's clock jumps: forward, its timers are over sooner; back, later.
    fn jump(&mut self, seconds: f64) {
        let by = Duration::from_secs_f64(seconds.abs());
        for until in self
            .held
            .values_mut()
            .filter_map(|held| held.until.as_mut())
        {
            *until = if seconds < 0.0 {
                until.saturating_add(by)
            } else {
                until.saturating_sub(by)
            };
        }
    }

    fn alarm(&self, plant: &Plant) -> bool {
        match self.kind {
            Kind::Breaker => {
                plant.breaker.has_tripped()
                    || (!plant.breaker.is_armed() && plant.breaker.blocked_by().is_some())
            }
            Kind::Pv(_) | Kind::Storage(_) => self
                .functions(plant)
                .is_some_and(|functions| functions.status() == Status::Tripped),
            _ => false,
        }
    }
}

/// A refusal as words for the log.
#[must_use]
pub fn refusal_text(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::DeadGrid => "no voltage on the grid side",
        Refusal::Voltage => "the voltages differ too much",
        Refusal::Frequency => "the frequencies differ too much",
        Refusal::Angle => "the angle is too large",
    }
}

#[cfg(test)]
pub(crate) mod tests;
