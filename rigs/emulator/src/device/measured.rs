//! What is true at a device: what it would measure if it had no fault.
//!
//! Every quantity is that of the part of the plant that the device is, in canonical base units with the
//! canonical sign (see the parent for what a meter tells). It is not responsible for what a fault makes of it.

use model::Point;
use network::island::Engine;

use der_model::Status;

use super::{Device, Kind, Metered};
use crate::plant::counter::Counter;
use crate::plant::der::Functions;
use crate::plant::genset::Genset;
use crate::plant::storage::Storage;
use crate::plant::wires::Unit;
use crate::plant::{Plant, Supply};

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
                // What the real meter calls import is given to the bus, its energy as its power.
                bus_ac(pcc.p, pcc.q, pcc.counter)
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
                // The energy counts the same way as the power.
                bus_ac(-p, -q, swapped(counter))
            }
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
