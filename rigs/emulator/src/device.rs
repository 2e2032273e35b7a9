//! Devices: what stands between the plant and a wire.
//!
//! A device measures and commands one part of the plant. It has a nameplate, its own
//! timers that take a setpoint back when nobody repeats it, and faults. Values are in
//! canonical base units with the canonical sign, except that a meter tells what its
//! real pendant would: a load's meter shows consumption as positive, since it is wired
//! with its import side to the bus; the rig's `invert` turns that round.
//!
//! It is not responsible for registers, frames or topics (see `faces`).

pub mod law;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use der_model::Status;
use model::Point;
use network::island::Engine;
use quantities::{Frequency, Voltage};

use crate::faults::{Fault, FaultSet};
use crate::plant::breaker::Refusal;
use crate::plant::counter::Counter;
use crate::plant::der::{Change, Functions};
use crate::plant::genset::Genset;
use crate::plant::storage::Storage;
use crate::plant::wires::Unit;
use crate::plant::{Plant, Supply};
use law::{Event, Law, Phase};

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

/// Pack voltage of an empty and a full battery and its resistance.
/// Chosen: sixteen iron-phosphate cells, 3.0 to 3.4 V each, 10 milliohms in all.
const PACK_EMPTY_V: f64 = 48.0;
const PACK_SPAN_V: f64 = 6.0;
const PACK_OHM: f64 = 0.01;

/// Voltage limits that the battery asks for, in volts: charging and discharging.
/// As in the captured LV-CAN frame `351#1402740E740ECC01`.
const PACK_LIMITS_V: (f64, f64) = (53.2, 46.0);

/// Voltage at the modules of a photovoltaic inverter in volts.
/// Chosen: a string of ten modules near its maximum power point.
const MODULES_V: f64 = 380.0;

/// Part of the module power that arrives at the bus.
/// Chosen: a usual European efficiency.
const PV_EFFICIENCY: f64 = 0.97;

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

    /// What is true at a point, whatever faults the device has.
    #[must_use]
    pub fn truth(&self, plant: &Plant, point: Point) -> Option<f64> {
        match point {
            Point::RatedActivePower => return (self.nameplate.p > 0.0).then_some(self.nameplate.p),
            Point::RatedApparentPower => {
                return (self.nameplate.s > 0.0).then_some(self.nameplate.s);
            }
            Point::Alarm => return Some(f64::from(u8::from(self.alarm(plant)))),
            _ => {}
        }
        let unit = self.unit();
        let bus_ac = |p: f64, q: f64, counter: Counter| ac(plant, point, unit, (p, q), counter);
        match self.kind {
            Kind::Pcc => {
                let pcc = plant.pcc();
                // The import register of the real meter counts what the grid gives.
                bus_ac(pcc.p, pcc.q, swapped(pcc.counter))
            }
            Kind::Breaker => breaker(plant, point),
            Kind::Pv(ix) => {
                let pv = plant.pv.get(ix)?;
                let dc = pv.p() / PV_EFFICIENCY;
                match point {
                    Point::DcPower => Some(dc),
                    Point::DcVoltage => Some(MODULES_V),
                    Point::DcCurrent => Some(dc / MODULES_V),
                    Point::ActivePowerLimit => self.told(point).or(Some(pv.ceiling())),
                    Point::ReactivePowerSet => self.told(point).or(Some(pv.q_set())),
                    Point::SwitchOn => Some(f64::from(u8::from(pv.is_connected()))),
                    Point::State => {
                        let throttled = pv.ceiling().min(pv.available()) < pv.available();
                        Some(match pv.functions() {
                            Some(functions) => der_state(functions, pv.p(), throttled),
                            None => {
                                inverter_state(plant, unit, pv.is_connected(), pv.p(), throttled)
                            }
                        })
                    }
                    _ => bus_ac(pv.p(), pv.q(), pv.counter()),
                }
            }
            Kind::Storage(ix) => {
                let storage = plant.storage.get(ix)?;
                match point {
                    Point::ActivePowerSet => self.told(point).or(Some(storage.p_set())),
                    Point::ReactivePowerSet => self.told(point).or(Some(storage.q_set())),
                    Point::SwitchOn => Some(f64::from(u8::from(storage.is_connected()))),
                    Point::DcVoltage => Some(pack_voltage(storage)),
                    Point::DcPower => Some(storage.dc_power()),
                    Point::DcCurrent => Some(storage.dc_power() / pack_voltage(storage)),
                    Point::State => Some(match storage.functions() {
                        Some(functions) => der_state(functions, storage.p().abs(), false),
                        None => inverter_state(
                            plant,
                            unit,
                            storage.is_connected(),
                            storage.p().abs(),
                            false,
                        ),
                    }),
                    _ => battery(storage, point)
                        .or_else(|| bus_ac(storage.p(), storage.q(), storage.counter())),
                }
            }
            Kind::Genset(ix) => {
                let set = plant.gensets.get(ix)?;
                match point {
                    Point::ActivePowerSet => self.told(point).or(Some(set.p_set())),
                    Point::ActivePowerLimit => self.told(point).or(Some(set.ceiling())),
                    Point::SwitchOn => Some(f64::from(u8::from(set.is_wanted()))),
                    Point::State => Some(genset_state(plant, unit, set)),
                    _ => bus_ac(set.p(), set.q(), set.counter()),
                }
            }
            Kind::Battery(ix) => {
                let storage = plant.storage.get(ix)?;
                match point {
                    Point::State => Some(battery_state(storage)),
                    _ => battery(storage, point),
                }
            }
            Kind::Plug(ix) => {
                let load = plant.loads.get(ix)?;
                match point {
                    Point::SwitchOn => self.told(point).or(Some(f64::from(u8::from(load.is_on())))),
                    _ => bus_ac(load.p(), load.q(), load.counter()),
                }
            }
            Kind::Source => {
                let (grid, pcc) = (&plant.grid, plant.pcc());
                let three = plant.site().phases >= 3;
                match point {
                    Point::FrequencySet => self.told(point).or(Some(grid.f_set())),
                    Point::VoltageSet => self.told(point).or(Some(grid.v_set())),
                    Point::PhaseSet => self.told(point).or(Some(grid.phase_set())),
                    Point::SwitchOn => self
                        .told(point)
                        .or(Some(f64::from(u8::from(grid.is_energised())))),
                    // Nobody can measure the frequency of a dead output.
                    Point::Frequency => (grid.v() > 0.0).then_some(grid.f()),
                    Point::VoltageL1 => Some(grid.phases()[0]),
                    Point::VoltageL2 => three.then_some(grid.phases()[1]),
                    Point::VoltageL3 => three.then_some(grid.phases()[2]),
                    _ => bus_ac(pcc.p, pcc.q, pcc.counter),
                }
            }
            Kind::ElectronicLoad(ix) => {
                let load = plant.loads.get(ix)?;
                match point {
                    Point::SwitchOn => self.told(point).or(Some(f64::from(u8::from(load.is_on())))),
                    Point::ActivePowerSet => self.told(point).or(Some(-load.nominal())),
                    _ => bus_ac(load.p(), load.q(), load.counter()),
                }
            }
            Kind::Meter(metered) => {
                let (p, q, counter) = match metered {
                    Metered::Load(ix) => {
                        let load = plant.loads.get(ix)?;
                        (load.p(), load.q(), load.counter())
                    }
                    Metered::Pv(ix) => {
                        let pv = plant.pv.get(ix)?;
                        (pv.p(), pv.q(), pv.counter())
                    }
                    Metered::Storage(ix) => {
                        let storage = plant.storage.get(ix)?;
                        (storage.p(), storage.q(), storage.counter())
                    }
                    Metered::Genset(ix) => {
                        let set = plant.gensets.get(ix)?;
                        (set.p(), set.q(), set.counter())
                    }
                };
                match point {
                    Point::EnergyImport | Point::EnergyExport => bus_ac(p, q, counter),
                    _ => bus_ac(-p, -q, counter),
                }
            }
        }
    }

    /// Sets something; with a revert time the device takes it back by itself unless it is repeated.
    ///
    /// A switch with a revert time toggles back, as a plug's dead-man timer does.
    ///
    /// # Errors
    /// When the device has no such setpoint.
    pub fn write(
        &mut self,
        plant: &mut Plant,
        point: Point,
        value: f64,
        revert: Option<Revert>,
    ) -> Result<(), NotTaken> {
        // A storage has a limit beside its setpoint only where it is a DER.
        let limits = point == Point::ActivePowerLimit && self.functions(plant).is_some();
        if !(self.takes(point) || limits) || !value.is_finite() {
            return Err(NotTaken { point });
        }
        if self.faults.has(Fault::IgnoreWrites) {
            return Ok(());
        }
        let revert = revert.filter(|revert| !revert.after.is_zero());
        let held = Held {
            value,
            until: revert.map(|revert| plant.now() + revert.after),
            back: revert.and_then(|revert| revert.to),
        };
        self.held.insert(point, held);
        if !self.faults.has(Fault::HoldOutput) {
            self.command(plant, point, value);
        }
        Ok(())
    }

    /// Lets go of a setpoint: the device returns to what it does unasked.
    pub fn release(&mut self, plant: &mut Plant, point: Point) {
        if !self.faults.has(Fault::IgnoreWrites) && self.held.remove(&point).is_some() {
            self.let_go(plant, point);
        }
    }

    /// Returns to what it does unasked; a DER to its own reactive function.
    fn let_go(&self, plant: &mut Plant, point: Point) {
        self.command(plant, point, self.unasked(point));
        if point == Point::ReactivePowerSet
            && let Some(functions) = self.functions_mut(plant)
        {
            functions.hold_q(None);
        }
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

    /// Lets what it does as a DER change at these times; what was to come under the number does not.
    pub fn change(&mut self, number: u16, changes: Vec<(Duration, Change)>) {
        self.changes.retain(|(known, ..)| *known != number);
        let all = changes.into_iter();
        self.changes
            .extend(all.map(|(at, change)| (number, at, change)));
        self.changes
            .sort_by_key(|(_, at, _)| std::cmp::Reverse(*at));
    }

    /// Carries out the changes that are due.
    fn carry_out_changes(&mut self, plant: &mut Plant) {
        let now = plant.now();
        while self.changes.last().is_some_and(|(_, at, _)| *at <= now) {
            if let (Some((_, _, change)), Some(functions)) =
                (self.changes.pop(), self.functions_mut(plant))
            {
                functions.change(change);
            }
        }
    }

    /// The setpoint as the device's own register shows it: a breaker that waits for its
    /// window has been told to close, though it is open.
    #[must_use]
    pub fn setpoint(&self, plant: &Plant, point: Point) -> Option<f64> {
        match (self.kind, point) {
            (Kind::Breaker, Point::SwitchOn) => {
                let asked = plant.breaker.is_closed() || plant.breaker.is_armed();
                self.told(point).or(Some(f64::from(u8::from(asked))))
            }
            _ => self.value(plant, point),
        }
    }

    /// Whether a setpoint is in force.
    #[must_use]
    pub fn holds(&self, point: Point) -> bool {
        self.held.contains_key(&point)
    }

    /// Time left until a setpoint is taken back.
    #[must_use]
    pub fn remaining(&self, plant: &Plant, point: Point) -> Option<Duration> {
        Some(self.held.get(&point)?.until?.saturating_sub(plant.now()))
    }

    /// Whether the device takes such a setpoint.
    #[must_use]
    pub fn takes(&self, point: Point) -> bool {
        match self.kind {
            Kind::Pv(_) => matches!(
                point,
                Point::ActivePowerLimit | Point::ReactivePowerSet | Point::SwitchOn
            ),
            Kind::Storage(_) => matches!(
                point,
                Point::ActivePowerSet | Point::ReactivePowerSet | Point::SwitchOn
            ),
            Kind::Genset(_) => matches!(
                point,
                Point::ActivePowerSet | Point::ActivePowerLimit | Point::SwitchOn
            ),
            Kind::Breaker | Kind::Plug(_) => point == Point::SwitchOn,
            Kind::Source => matches!(
                point,
                Point::FrequencySet | Point::VoltageSet | Point::PhaseSet | Point::SwitchOn
            ),
            Kind::ElectronicLoad(_) => matches!(point, Point::ActivePowerSet | Point::SwitchOn),
            Kind::Pcc | Kind::Battery(_) | Kind::Meter(_) => false,
        }
    }

    /// Takes back what nobody has repeated in time.
    pub fn expire(&mut self, plant: &mut Plant) {
        if self.held.is_empty() {
            return;
        }
        let now = plant.now();
        let due: Vec<(Point, Held)> = self
            .held
            .iter()
            .filter(|(_, held)| held.until.is_some_and(|until| until <= now))
            .map(|(point, held)| (*point, *held))
            .collect();
        for (point, held) in due {
            self.held.remove(&point);
            match (held.back, point) {
                (Some(back), _) => self.command(plant, point, back),
                (None, Point::SwitchOn) => self.command(plant, point, 1.0 - held.value),
                (None, _) => self.let_go(plant, point),
            }
        }
    }

    /// Lets the device carry out a function by itself, in phases by time.
    pub fn follow(&mut self, number: u16, phases: Vec<Phase>) {
        self.laws.insert(number, phases);
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

    /// Carries out the functions that the device follows by itself.
    pub fn carry_on(&mut self, plant: &mut Plant) {
        if !self.changes.is_empty() && !self.faults.has(Fault::HoldOutput) {
            self.carry_out_changes(plant);
        }
        if self.laws.is_empty() || self.faults.has(Fault::HoldOutput) {
            return;
        }
        let bus = plant.bus_at(self.unit());
        if !bus.is_live() {
            return;
        }
        let now = plant.now();
        let laws: Vec<&Law> = self
            .laws
            .values()
            .filter_map(|phases| law::at(phases, now))
            .collect();
        let p = self.truth(plant, Point::ActivePower);
        // Of its phases, an inverter goes by the highest.
        let v = plant.volts(self.unit()).into_iter().fold(0.0, f64::max);
        if !self.holds(Point::ReactivePowerSet) && self.takes(Point::ReactivePowerSet) {
            let q = p.and_then(|p| laws.iter().find_map(|law| law.q(v, p)));
            let q = q.unwrap_or_else(|| self.unasked(Point::ReactivePowerSet));
            self.command(plant, Point::ReactivePowerSet, q);
        }
        if self.takes(Point::ActivePowerLimit) {
            let held = self.held.get(&Point::ActivePowerLimit).map(|h| h.value);
            let free = held.unwrap_or_else(|| self.unasked(Point::ActivePowerLimit));
            let droop = laws.iter().find_map(|law| match law {
                Law::FrequencyDroop(droop) => Some(*droop),
                _ => None,
            });
            let ceiling = laws
                .iter()
                .filter_map(|law| law.ceiling(v))
                .fold(f64::INFINITY, f64::min);
            let event = droop.and_then(|droop| droop.event(bus.f, self.event, p?));
            // Droop goes over the limit that was set, volt-watt caps both.
            let wanted = match (droop, event) {
                (Some(droop), Some(event)) => droop.power(bus.f, event),
                _ => free,
            };
            self.command(plant, Point::ActivePowerLimit, wanted.min(ceiling));
            self.event = event;
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

    /// What a setpoint is when nobody asks: no power for a storage, no ceiling for the sun.
    fn unasked(&self, point: Point) -> f64 {
        match point {
            Point::ActivePowerLimit => self.nameplate.p,
            Point::SwitchOn if matches!(self.kind, Kind::Genset(_)) => 0.0,
            Point::SwitchOn => 1.0,
            _ => 0.0,
        }
    }

    /// The value that a register shows while the output does not follow.
    fn told(&self, point: Point) -> Option<f64> {
        if self.faults.has(Fault::HoldOutput) {
            self.held.get(&point).map(|held| held.value)
        } else {
            None
        }
    }

    fn command(&self, plant: &mut Plant, point: Point, value: f64) {
        let on = value >= 0.5;
        match (self.kind, point) {
            (Kind::Breaker, Point::SwitchOn) if on => plant.breaker.close(),
            (Kind::Breaker, Point::SwitchOn) => plant.breaker.open(),
            (Kind::Pv(ix), _) => {
                if let Some(pv) = plant.pv.get_mut(ix) {
                    match point {
                        Point::ActivePowerLimit => pv.set_ceiling(value),
                        Point::ReactivePowerSet => pv.set_q(value),
                        Point::SwitchOn => pv.connect(on),
                        _ => {}
                    }
                }
            }
            (Kind::Storage(ix), _) => {
                if let Some(storage) = plant.storage.get_mut(ix) {
                    match point {
                        Point::ActivePowerSet => storage.set_p(value),
                        Point::ActivePowerLimit => storage.limit(value),
                        Point::ReactivePowerSet => storage.set_q(value),
                        Point::SwitchOn => storage.connect(on),
                        _ => {}
                    }
                }
            }
            (Kind::Genset(ix), _) => {
                if let Some(set) = plant.gensets.get_mut(ix) {
                    match point {
                        Point::ActivePowerSet => set.set_p(value),
                        Point::ActivePowerLimit => set.set_ceiling(value),
                        Point::SwitchOn => set.run(on),
                        _ => {}
                    }
                }
            }
            (Kind::Source, Point::FrequencySet) => {
                plant.grid.set_f(Frequency::from_hertz(value));
            }
            (Kind::Source, Point::VoltageSet) => plant.grid.set_v(Voltage::from_volts(value)),
            (Kind::Source, Point::PhaseSet) => plant.grid.set_phase(value),
            (Kind::Source, Point::SwitchOn) => plant.grid.set_energised(on),
            (Kind::ElectronicLoad(ix), Point::ActivePowerSet) => {
                if let Some(load) = plant.loads.get_mut(ix) {
                    load.set_nominal((-value).max(0.0));
                }
            }
            (Kind::Plug(ix) | Kind::ElectronicLoad(ix), Point::SwitchOn) => {
                if let Some(load) = plant.loads.get_mut(ix) {
                    load.switch(on);
                }
            }
            _ => {}
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

/// The AC side as a meter of this power at this unit would tell it.
fn ac(
    plant: &Plant,
    point: Point,
    unit: Unit,
    (p, q): (f64, f64),
    counter: Counter,
) -> Option<f64> {
    let volts = plant.volts(unit);
    let shares = plant.shares(unit);
    let there = |phase: usize| phase < usize::from(plant.site().phases.max(1));
    let current = |phase: usize| {
        let s = (p * shares[phase]).hypot(q * shares[phase]);
        if volts[phase] > 0.0 {
            s / volts[phase]
        } else {
            0.0
        }
    };
    match point {
        Point::ActivePower => Some(p),
        Point::ReactivePower => Some(q),
        Point::ApparentPower => Some(p.hypot(q)),
        Point::PowerFactor => {
            let s = p.hypot(q);
            Some(if s > 0.0 { p / s } else { 1.0 })
        }
        // Nobody can measure the frequency of a dead bus.
        Point::Frequency => {
            let bus = plant.bus_at(unit);
            bus.is_live().then_some(bus.f)
        }
        Point::VoltageL1 => Some(volts[0]),
        Point::VoltageL2 => there(2).then_some(volts[1]),
        Point::VoltageL3 => there(2).then_some(volts[2]),
        Point::CurrentL1 => Some(current(0)),
        Point::CurrentL2 => there(2).then(|| current(1)),
        Point::CurrentL3 => there(2).then(|| current(2)),
        Point::ActivePowerL1 => Some(p * shares[0]),
        Point::ActivePowerL2 => there(2).then_some(p * shares[1]),
        Point::ActivePowerL3 => there(2).then_some(p * shares[2]),
        Point::EnergyExport => Some(counter.positive_wh),
        Point::EnergyImport => Some(counter.negative_wh),
        _ => None,
    }
}

fn swapped(counter: Counter) -> Counter {
    Counter {
        positive_wh: counter.negative_wh,
        negative_wh: counter.positive_wh,
    }
}

/// Operating states of SunSpec inverter models.
//= SunSpec model 103, point St: 2 sleeping, 4 MPPT, 5 throttled, 1 off, 7 fault.
fn inverter_state(plant: &Plant, unit: Unit, connected: bool, p: f64, throttled: bool) -> f64 {
    if !connected {
        1.0
    } else if !plant.bus_at(unit).is_live() {
        7.0
    } else if throttled {
        5.0
    } else if p > 1.0 {
        4.0
    } else {
        2.0
    }
}

/// The same states of one that is a DER to IEEE 1547-2018.
//= SunSpec model 103, point St: 1 off, 2 sleeping, 3 starting, 4 MPPT, 5 throttled, 7 fault, 8 standby.
fn der_state(functions: &Functions, p: f64, throttled: bool) -> f64 {
    match functions.status() {
        Status::Off => 1.0,
        Status::Tripped => 7.0,
        Status::Ceased => 8.0,
        Status::Entering => 3.0,
        Status::On if throttled => 5.0,
        Status::On if p > 1.0 => 4.0,
        Status::On => 2.0,
    }
}

/// Operating states of a set, as those of an inverter that fit it.
//= SunSpec model 103, point St: 1 off, 3 starting, 4 giving power, 7 fault, 8 standby.
fn genset_state(plant: &Plant, unit: Unit, set: &Genset) -> f64 {
    match set.engine() {
        _ if set.has_tripped() => 7.0,
        Engine::Stopped => 1.0,
        Engine::Starting { .. } => 3.0,
        Engine::Running if set.is_on_load() && plant.bus_at(unit).is_live() => 4.0,
        Engine::Running => 8.0,
    }
}

fn pack_voltage(storage: &Storage) -> f64 {
    let open = PACK_EMPTY_V + PACK_SPAN_V * storage.soc();
    let current = storage.dc_power() / open;
    (open - current * PACK_OHM).max(1.0)
}

/// Operating states of a battery behind an energy management system.
//= Victron register list, com.victronenergy.system 844: 0 idle, 1 charging, 2 discharging.
fn battery_state(storage: &Storage) -> f64 {
    // Chosen: below one watt nothing flows but what the electronics need.
    match storage.dc_power() {
        p if p < -1.0 => 1.0,
        p if p > 1.0 => 2.0,
        _ => 0.0,
    }
}

fn battery(storage: &Storage, point: Point) -> Option<f64> {
    let v = pack_voltage(storage);
    match point {
        Point::StateOfCharge => Some(storage.soc()),
        Point::StateOfHealth => Some(1.0),
        // This plant's batteries are well until they raise an alarm.
        Point::Warning => Some(0.0),
        Point::BatteryVoltage => Some(v),
        Point::BatteryCurrent => Some(storage.dc_power() / v),
        // Chosen: a cellar; the thermal model is not part of this plant.
        Point::BatteryTemperature => Some(22.0),
        Point::ChargeCurrentMax => Some(storage.charge_max() / v),
        Point::DischargeCurrentMax => Some(storage.discharge_max() / v),
        Point::ChargePowerMax => Some(storage.charge_max()),
        Point::DischargePowerMax => Some(storage.discharge_max()),
        Point::ChargeVoltageMax => Some(PACK_LIMITS_V.0),
        Point::DischargeVoltageMin => Some(PACK_LIMITS_V.1),
        Point::ChargeEnabled => Some(f64::from(u8::from(storage.charge_max() > 0.0))),
        Point::DischargeEnabled => Some(f64::from(u8::from(storage.discharge_max() > 0.0))),
        _ => None,
    }
}

fn breaker(plant: &Plant, point: Point) -> Option<f64> {
    let breaker = &plant.breaker;
    let bus = plant.bus();
    match point {
        Point::SwitchOn => Some(f64::from(u8::from(breaker.is_closed()))),
        Point::GridVoltage => Some(plant.grid.v()),
        Point::GridFrequency => plant.grid.is_live(plant.site()).then_some(plant.grid.f()),
        Point::SyncAngle => match bus.supply {
            Supply::Island | Supply::Drifting => Some(bus.angle),
            Supply::Grid => Some(0.0),
            Supply::Lost | Supply::Dead => None,
        },
        Point::VoltageL1 => Some(bus.v),
        Point::Frequency => plant.is_live().then_some(bus.f),
        // 0 open, 1 closed, 2 a close command waits for its window.
        Point::State => Some(if breaker.is_closed() {
            1.0
        } else if breaker.is_armed() {
            2.0
        } else {
            0.0
        }),
        _ => None,
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
