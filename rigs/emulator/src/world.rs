//! The plant with its devices, and the names by which a script reaches into them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Point;
use quantities::{Frequency, Voltage};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::device::law::Phase;
use crate::device::{Device, Kind, Metered, NotTaken, Revert, refusal_text};
use crate::faults::{Fault, FaultSet, WireFaults};
use crate::plant::der::{Change, Functions};
use crate::plant::zones::NotSwitched;
use crate::plant::{Plant, Supply};

/// Why a signal cannot be set or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// There is no such name.
    #[error("the emulated bench has no signal `{name}`; {hint}")]
    Unknown {
        /// The name in question.
        name: String,
        /// What there is instead.
        hint: String,
    },
    /// The signal can only be read.
    #[error("signal `{name}` can be read but not set")]
    ReadOnly {
        /// The name in question.
        name: String,
    },
    /// The value is not a number.
    #[error("signal `{name}` cannot be set to {value}")]
    NotANumber {
        /// The name in question.
        name: String,
        /// The value as text.
        value: String,
    },
    /// A switch cannot stand so.
    #[error("`{name}` stays as it is: {why}")]
    NotSwitched {
        /// The name in question.
        name: String,
        /// Why.
        why: NotSwitched,
    },
    /// The phases of this utility cannot differ.
    #[error("`{name}` cannot be set: {why}")]
    NoPhase {
        /// The name in question.
        name: String,
        /// Why.
        why: &'static str,
    },
    /// Nothing of that name can have faults.
    #[error("the emulated bench has no device or bus `{name}`")]
    NoTarget {
        /// The name in question.
        name: String,
    },
}

/// The plant with its devices.
#[derive(Clone, Debug)]
pub struct World {
    /// The plant.
    pub plant: Plant,
    devices: Vec<Device>,
    bus_faults: BTreeMap<Arc<str>, FaultSet>,
    /// Brokers that start anew, and until when they are away.
    brokers_down: BTreeMap<Arc<str>, Duration>,
    /// What was heard that writes or commands, the first ones.
    touches: Vec<Touch>,
    ramps: Vec<Ramp>,
    returns: Vec<Return>,
    rng: ChaCha8Rng,
}

/// Something that a face heard and that is no question: a write, a frame, a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// When, in the plant's time.
    pub at: Duration,
    /// Name of the device, or of what was heard on the bus.
    pub what: String,
}

/// Touches that are kept. Chosen: enough for a test to say which came first; more are not counted.
const TOUCHES_MAX: usize = 1000;

#[derive(Clone, Debug)]
struct Ramp {
    signal: String,
    target: f64,
    per_s: f64,
}

/// A signal that was set for a time.
#[derive(Clone, Debug)]
struct Return {
    signal: String,
    value: f64,
    at: Duration,
}

/// The world as all faces share it.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<World>>);

impl Shared {
    /// Shares a world.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    /// The world, for a moment; never held across an await.
    ///
    /// A panic elsewhere leaves the plant a plain value, so a poisoned lock is used on.
    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// A world of a plant and its devices, with a seed for the faults of chance.
    #[must_use]
    pub fn new(plant: Plant, devices: Vec<Device>, seed: u64) -> Self {
        Self {
            plant,
            devices,
            bus_faults: BTreeMap::new(),
            brokers_down: BTreeMap::new(),
            touches: Vec::new(),
            ramps: Vec::new(),
            returns: Vec::new(),
            rng: ChaCha8Rng::seed_from_u64(seed ^ FAULT_SEED),
        }
    }

    /// Moves everything on by `dt`.
    pub fn step(&mut self, dt: Duration) {
        if !self.ramps.is_empty() {
            self.step_ramps(dt.as_secs_f64());
        }
        if !self.returns.is_empty() {
            self.take_back();
        }
        self.plant.step(dt);
        for device in &mut self.devices {
            device.expire(&mut self.plant);
            device.carry_on(&mut self.plant);
        }
    }

    /// All devices, in the order of the rig.
    #[must_use]
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Place of a device of this name.
    #[must_use]
    pub fn device_index(&self, id: &str) -> Option<usize> {
        self.devices.iter().position(|device| &*device.id == id)
    }

    /// What a device says at a point.
    #[must_use]
    pub fn value(&self, device: usize, point: Point) -> Option<f64> {
        self.devices.get(device)?.value(&self.plant, point)
    }

    /// The setpoint as a device's own register shows it.
    #[must_use]
    pub fn setpoint(&self, device: usize, point: Point) -> Option<f64> {
        self.devices.get(device)?.setpoint(&self.plant, point)
    }

    /// Whether a setpoint of a device is in force.
    #[must_use]
    pub fn holds(&self, device: usize, point: Point) -> bool {
        self.devices.get(device).is_some_and(|d| d.holds(point))
    }

    /// Time left until a device takes a setpoint back.
    #[must_use]
    pub fn remaining(&self, device: usize, point: Point) -> Option<Duration> {
        self.devices.get(device)?.remaining(&self.plant, point)
    }

    /// Whether a device forgets what is written to it.
    #[must_use]
    pub fn ignores_writes(&self, device: usize) -> bool {
        self.devices
            .get(device)
            .is_some_and(|device| device.faults.has(Fault::IgnoreWrites))
    }

    /// Sets something at a device.
    ///
    /// # Errors
    /// When it has no such setpoint.
    pub fn write(
        &mut self,
        device: usize,
        point: Point,
        value: f64,
        revert: Option<Revert>,
    ) -> Result<(), NotTaken> {
        if let Some(id) = self.devices.get(device).map(|d| d.id.clone()) {
            self.touched(|| format!("{id} {point}"));
        }
        match self.devices.get_mut(device) {
            Some(device) => device.write(&mut self.plant, point, value, revert),
            None => Err(NotTaken { point }),
        }
    }

    /// Everything that was heard so far and that is no question; at most the first thousand.
    #[must_use]
    pub fn touches(&self) -> &[Touch] {
        &self.touches
    }

    /// Notes that something was heard that is no question, whether or not it is obeyed.
    pub fn touched(&mut self, what: impl FnOnce() -> String) {
        if self.touches.len() < TOUCHES_MAX {
            let at = self.plant.now();
            self.touches.push(Touch { at, what: what() });
        }
    }

    /// Lets go of a setpoint of a device.
    pub fn release(&mut self, device: usize, point: Point) {
        if let Some(device) = self.devices.get_mut(device) {
            device.release(&mut self.plant, point);
        }
    }

    /// Lets a device carry out a function by itself, in phases by time.
    pub fn follow(&mut self, device: usize, number: u16, phases: Vec<Phase>) {
        if let Some(device) = self.devices.get_mut(device) {
            device.follow(number, phases);
        }
    }

    /// Lets what a device does as a DER change at these times.
    pub fn change(&mut self, device: usize, number: u16, changes: Vec<(Duration, Change)>) {
        if let Some(device) = self.devices.get_mut(device) {
            device.change(number, changes);
        }
    }

    /// What a device does as a DER to IEEE 1547-2018, if it is one.
    #[must_use]
    pub fn functions(&self, device: usize) -> Option<&Functions> {
        self.devices.get(device)?.functions(&self.plant)
    }

    /// Powers of ten by which a device's SunSpec scale factors stand away from where they began.
    #[must_use]
    pub fn scale_shift(&self, device: usize) -> i16 {
        self.devices.get(device).map_or(0, |d| d.scale_shift)
    }

    /// Moves the SunSpec scale factors of a device, as some inverters do while they run; its
    /// values stay the same.
    pub fn set_scale_shift(&mut self, device: usize, powers: i16) {
        if let Some(device) = self.devices.get_mut(device) {
            device.scale_shift = powers;
        }
    }

    /// What happens on the wire to the next answer of a device.
    pub fn befall(&mut self, device: usize) -> WireFaults {
        let mut wire = WireFaults::default();
        let Some(device) = self.devices.get_mut(device) else {
            return wire;
        };
        let rng = &mut self.rng;
        let mut chance = || (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        device.faults.befall(&mut wire, &mut chance);
        if let Some(faults) = self.bus_faults.get_mut(&device.bus) {
            faults.befall(&mut wire, &mut chance);
        }
        wire.hang_up |= device.is_away(&self.plant);
        wire
    }

    /// How often a device was started anew.
    #[must_use]
    pub fn starts(&self, device: usize) -> u32 {
        self.devices.get(device).map_or(0, Device::starts)
    }

    /// Whether the broker of a bus is away because it starts anew.
    #[must_use]
    pub fn broker_is_down(&self, bus: &str) -> bool {
        let until = self.brokers_down.get(bus);
        until.is_some_and(|until| self.plant.now() < *until)
    }

    /// Whether a device, or its whole bus, says nothing at all.
    #[must_use]
    pub fn is_silent(&self, device: usize) -> bool {
        self.devices.get(device).is_some_and(|device| {
            device.faults.has(Fault::Silent)
                || device.is_away(&self.plant)
                || self
                    .bus_faults
                    .get(&device.bus)
                    .is_some_and(|faults| faults.has(Fault::Silent))
        })
    }

    /// Puts a fault into a device or, for faults of the wire, a bus; or takes it away.
    ///
    /// # Errors
    /// When there is no device and no bus of that name.
    pub fn set_fault(&mut self, target: &str, fault: Fault, on: bool) -> Result<(), SignalError> {
        if let Some(device) = self.devices.iter_mut().find(|d| &*d.id == target) {
            device.set_fault(&mut self.plant, fault, on);
            return Ok(());
        }
        let Some(bus) = self
            .devices
            .iter()
            .map(|device| &device.bus)
            .find(|bus| &***bus == target)
            .cloned()
        else {
            return Err(SignalError::NoTarget {
                name: target.into(),
            });
        };
        match fault {
            // What happens inside devices happens to all on the bus.
            Fault::ScaleShift(_) | Fault::ClockJump(_) | Fault::Reboot(_) => {
                for device in self.devices.iter_mut().filter(|d| d.bus == bus) {
                    device.set_fault(&mut self.plant, fault, on);
                }
            }
            Fault::Restart(away) => {
                let until = self.plant.now() + if on { away } else { Duration::ZERO };
                self.brokers_down.insert(bus, until);
            }
            _ => self.bus_faults.entry(bus).or_default().set(fault, on),
        }
        Ok(())
    }

    /// Sets a signal such as `grid.f`, `pv1.available`, `load1.p`, `bat1.soc` or `brk1.closed`.
    ///
    /// A load's `p` is its consumption at nominal voltage, positive.
    ///
    /// # Errors
    /// When there is no such signal, it cannot be set, or the value is not finite.
    pub fn set(&mut self, signal: &str, value: f64) -> Result<(), SignalError> {
        self.ramps.retain(|ramp| ramp.signal != signal);
        self.returns.retain(|back| back.signal != signal);
        self.apply(signal, value)
    }

    /// Sets a signal for a time; then it is again what it was. A second one in that time goes
    /// back to what was before the first; a phase jumps back.
    ///
    /// # Errors
    /// As [`World::set`], and when the signal has no value to go back to.
    pub fn pulse(&mut self, signal: &str, value: f64, length: Duration) -> Result<(), SignalError> {
        let earlier = self.returns.iter().find(|back| back.signal == signal);
        let before = match (signal, earlier) {
            (turn, _) if turns(turn) => -value,
            (_, Some(back)) => back.value,
            (_, None) => self.set_value(signal)?,
        };
        if turns(signal) {
            // Jumps add up, so that each has its own way back.
            self.apply(signal, value)?;
        } else {
            self.set(signal, value)?;
        }
        self.returns.push(Return {
            signal: signal.into(),
            value: before,
            at: self.plant.now() + length,
        });
        Ok(())
    }

    fn take_back(&mut self) {
        let now = self.plant.now();
        for back in std::mem::take(&mut self.returns) {
            if back.at > now {
                self.returns.push(back);
            } else {
                // It was accepted once, with a value that it had.
                self.apply(&back.signal, back.value).ok();
            }
        }
    }

    /// Moves a signal to a value along a straight line over a time.
    ///
    /// # Errors
    /// As [`World::set`].
    pub fn ramp(&mut self, signal: &str, target: f64, over: Duration) -> Result<(), SignalError> {
        let from = self.set_value(signal)?;
        if over.is_zero() || !target.is_finite() {
            return self.set(signal, target);
        }
        self.apply(signal, from)?;
        self.returns.retain(|back| back.signal != signal);
        self.ramps.retain(|ramp| ramp.signal != signal);
        self.ramps.push(Ramp {
            signal: signal.into(),
            target,
            per_s: (target - from).abs() / over.as_secs_f64(),
        });
        Ok(())
    }

    /// Reads a signal: one that can be set, `bus.v`, `pcc.p` and the like, or a device's
    /// canonical point such as `bat1.ac.p`; always the truth, without faults.
    ///
    /// # Errors
    /// When there is no such signal or its value is unknown now.
    pub fn get(&self, signal: &str) -> Result<f64, SignalError> {
        let (object, name) = self.split(signal)?;
        let flag = |on: bool| f64::from(u8::from(on));
        let bus = self.plant.bus();
        let value = match (object, name) {
            ("grid", "f") => Some(self.plant.grid.f()),
            ("grid", "v") => Some(self.plant.grid.v()),
            ("grid", name) if phase_v(name).is_some() => {
                phase_v(name).and_then(|phase| self.plant.grid.phases().get(phase).copied())
            }
            ("grid", "live" | "closed") => Some(flag(self.plant.grid.is_live(self.plant.site()))),
            ("bus", "f") => self.plant.is_live().then_some(bus.f),
            ("bus", "v") => Some(bus.v),
            ("bus", "angle") => Some(bus.angle),
            ("bus", "live") => Some(flag(self.plant.is_live())),
            ("bus", "islanded") => Some(flag(bus.supply == Supply::Island)),
            ("pcc", "p") => Some(self.plant.pcc().p),
            ("pcc", "q") => Some(self.plant.pcc().q),
            ("pcc", "losses") => Some(self.plant.pcc().losses),
            (switch, "on" | "closed") if self.is_switch(switch) => {
                self.plant.is_switch_closed(switch).map(flag)
            }
            _ => {
                let ix = self
                    .device_index(object)
                    .ok_or_else(|| self.unknown(signal))?;
                self.device_get(ix, name)
            }
        };
        value.ok_or_else(|| self.unknown(signal))
    }

    /// Why the last close command has not closed, in words.
    #[must_use]
    pub fn breaker_refusal(&self) -> Option<&'static str> {
        self.plant.breaker.blocked_by().map(refusal_text)
    }

    /// Whether a name is that of a switch of the network, and of no device.
    fn is_switch(&self, name: &str) -> bool {
        self.device_index(name).is_none() && self.plant.is_switch_closed(name).is_some()
    }

    fn device_get(&self, ix: usize, name: &str) -> Option<f64> {
        let device = self.devices.get(ix)?;
        let truth = |point| device.truth(&self.plant, point);
        match (device.kind, name) {
            (Kind::Pv(pv), "available") => Some(self.plant.pv.get(pv)?.available()),
            (Kind::Genset(set), "litres") => Some(self.plant.gensets.get(set)?.litres()),
            (_, "p") => truth(Point::ActivePower),
            (_, "q") => truth(Point::ReactivePower),
            (_, "soc") => truth(Point::StateOfCharge),
            (_, "closed" | "on") => truth(Point::SwitchOn),
            _ => truth(Point::from_name(name)?),
        }
    }

    /// The value that a settable signal was set to, without noise and dynamics.
    pub(crate) fn set_value(&self, signal: &str) -> Result<f64, SignalError> {
        let (object, name) = self.split(signal)?;
        match (object, name) {
            ("grid", "f") => return Ok(self.plant.grid.f_set()),
            ("grid", "v") => return Ok(self.plant.grid.v_set()),
            ("grid", "live" | "closed") => {
                return Ok(f64::from(u8::from(self.plant.grid.is_energised())));
            }
            _ => {}
        }
        let load = self
            .device_index(object)
            .and_then(|ix| self.devices.get(ix))
            .and_then(|device| load_of(device.kind));
        match (load, name) {
            (Some(load), "p") => Ok(self.plant.loads.get(load).map_or(0.0, |l| l.nominal())),
            _ => self.get(signal),
        }
    }

    fn apply(&mut self, signal: &str, value: f64) -> Result<(), SignalError> {
        let read_only = || SignalError::ReadOnly {
            name: signal.into(),
        };
        if !value.is_finite() {
            return Err(SignalError::NotANumber {
                name: signal.into(),
                value: value.to_string(),
            });
        }
        let (object, name) = self.split(signal)?;
        let on = value >= 0.5;
        let is_switch = self.is_switch(object);
        if object == "grid" {
            if let Some(phase) = phase_v(name) {
                self.phases_can_differ(signal)?;
                let v = Voltage::from_volts(value);
                self.plant.grid.set_phase_v(phase, v);
                return Ok(());
            }
            if let Some(phase) = phase_turn(name) {
                self.phases_can_differ(signal)?;
                self.plant.grid.turn_phase(phase, value);
                return Ok(());
            }
        }
        let plant = &mut self.plant;
        match (object, name) {
            ("grid", "f") => plant.grid.set_f(Frequency::from_hertz(value)),
            ("grid", "v") => plant.grid.set_v(Voltage::from_volts(value)),
            ("grid", "live" | "closed") => plant.grid.set_energised(on),
            ("grid", "noise") => plant.grid.set_noise(Frequency::from_hertz(value)),
            ("grid", "phase") => plant.grid.jump_phase(value),
            ("bus", "restart") => {
                plant.restart();
            }
            (switch, "on" | "closed") if is_switch => {
                plant
                    .switch(switch, on)
                    .map_err(|why| SignalError::NotSwitched {
                        name: signal.into(),
                        why,
                    })?;
            }
            ("bus" | "pcc", _) => {
                self.get(signal)?;
                return Err(read_only());
            }
            _ => {
                let ix = self
                    .device_index(object)
                    .ok_or_else(|| self.unknown(signal))?;
                return self.device_set(ix, name, signal, value);
            }
        }
        Ok(())
    }

    fn device_set(
        &mut self,
        ix: usize,
        name: &str,
        signal: &str,
        value: f64,
    ) -> Result<(), SignalError> {
        let on = value >= 0.5;
        let Some(kind) = self.devices.get(ix).map(|device| device.kind) else {
            return Err(self.unknown(signal));
        };
        let plant = &mut self.plant;
        match (kind, name) {
            (Kind::Pv(pv), "available") => {
                if let Some(pv) = plant.pv.get_mut(pv) {
                    pv.set_available(value);
                }
            }
            (Kind::Storage(storage) | Kind::Battery(storage), "soc") => {
                if let Some(storage) = plant.storage.get_mut(storage) {
                    storage.set_soc(value);
                }
            }
            (Kind::Genset(set), "on") => {
                if let Some(set) = plant.gensets.get_mut(set) {
                    set.run(on);
                }
            }
            (Kind::Breaker, "closed" | "on") if on => plant.breaker.close(),
            (Kind::Breaker, "closed" | "on") => plant.breaker.open(),
            (kind, "p" | "on") if load_of(kind).is_some() => {
                let load = load_of(kind).and_then(|load| plant.loads.get_mut(load));
                if let Some(load) = load {
                    match name {
                        "p" => load.set_nominal(value),
                        _ => load.switch(on),
                    }
                }
            }
            _ => {
                self.device_get(ix, name)
                    .ok_or_else(|| self.unknown(signal))?;
                return Err(SignalError::ReadOnly {
                    name: signal.into(),
                });
            }
        }
        Ok(())
    }

    fn step_ramps(&mut self, dt_s: f64) {
        for mut ramp in std::mem::take(&mut self.ramps) {
            // A ramp was accepted once; should its signal be unreadable now (a dead bus), it ends.
            let Ok(now) = self.set_value(&ramp.signal) else {
                continue;
            };
            let step = ramp.per_s * dt_s;
            let next = now + (ramp.target - now).clamp(-step, step);
            if self.apply(&ramp.signal, next).is_ok() && next != ramp.target {
                ramp.per_s = ramp.per_s.max(f64::MIN_POSITIVE);
                self.ramps.push(ramp);
            }
        }
    }

    fn split<'s>(&self, signal: &'s str) -> Result<(&'s str, &'s str), SignalError> {
        signal.split_once('.').ok_or_else(|| self.unknown(signal))
    }

    /// Whether one phase of the utility can be other than the rest.
    fn phases_can_differ(&self, signal: &str) -> Result<(), SignalError> {
        let why = if self.plant.site().phases < 3 {
            "the site has one phase"
        } else if self.plant.is_wired() {
            "the utility of a `[network]` is balanced"
        } else if self.plant.grid.v() <= 0.0 {
            "there is no voltage that a phase could have a share of"
        } else {
            return Ok(());
        };
        Err(SignalError::NoPhase {
            name: signal.into(),
            why,
        })
    }

    fn unknown(&self, signal: &str) -> SignalError {
        let devices: Vec<&str> = self.devices.iter().map(|d| &*d.id).collect();
        SignalError::Unknown {
            name: signal.into(),
            hint: format!(
                "there are grid.(f, v, live, noise, phase, v_l1..3, phase_l1..3), bus.(f, v, angle, live), pcc.(p, q){} \
                 and the devices {} with p, q, available, soc, on or closed",
                self.plant
                    .switches()
                    .map(|switch| format!(", {switch}.closed"))
                    .collect::<String>(),
                devices.join(", ")
            ),
        }
    }
}

/// Signals of the utility's phases.
const PHASES: [(&str, &str); 3] = [
    ("v_l1", "phase_l1"),
    ("v_l2", "phase_l2"),
    ("v_l3", "phase_l3"),
];

/// The phase of whose voltage a name speaks.
fn phase_v(name: &str) -> Option<usize> {
    PHASES.iter().position(|(v, _)| *v == name)
}

/// The phase of whose angle a name speaks.
fn phase_turn(name: &str) -> Option<usize> {
    PHASES.iter().position(|(_, turn)| *turn == name)
}

/// Whether setting a signal turns something from where it stands.
fn turns(signal: &str) -> bool {
    let name = signal.strip_prefix("grid.");
    name.is_some_and(|name| name == "phase" || phase_turn(name).is_some())
}

fn load_of(kind: Kind) -> Option<usize> {
    match kind {
        Kind::Plug(load) | Kind::ElectronicLoad(load) | Kind::Meter(Metered::Load(load)) => {
            Some(load)
        }
        _ => None,
    }
}

/// Sets the chance of faults apart from the plant's noise, which has the same seed.
const FAULT_SEED: u64 = 0x0fa1_7ed0_c0de;
