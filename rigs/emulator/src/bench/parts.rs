//! Which part of the plant each device is, made as the rig says.

use std::sync::Arc;
use std::time::Duration;

use model::Role;
use network::island::Diesel;
use quantities::{ActivePower, Energy, Frequency, PowerRamp, StateOfCharge};

use super::{BenchError, DeviceSpec, Emulate};
use crate::device::{Kind, Metered, Nameplate};
use crate::plant::der::Functions;
use crate::plant::genset::{Genset, POWER_FACTOR};
use crate::plant::load::Load;
use crate::plant::pv::Pv;
use crate::plant::storage::{Storage, StorageRating};
use crate::plant::{Plant, Site};

/// Rating where the rig gives none.
/// Chosen: the size of laboratory inverters, 3 kW, and half an hour of storage per kilowatt.
const RATED_W: f64 = 3000.0;
const CAPACITY_WH: f64 = 5000.0;
const LOAD_W: f64 = 800.0;
const SOC: f64 = 0.5;

/// Ramp of inverters where the rig gives none, in ratings per second.
/// Chosen: full swing in a fifth of a second, so that the device does not limit a fast service.
const RAMP_PER_S: f64 = 5.0;

/// Inertia, droop and lag of a diesel set where the rig gives none.
/// Chosen: a set of some tens of kilowatts: 1.5 s on its rating, 4 % droop as governors come from
/// the factory, and 300 ms from the governor to the shaft, between a small and a turbocharged one.
const INERTIA_S: f64 = 1.5;
const DROOP: f64 = 0.04;
const LAG_S: f64 = 0.3;

/// The part of the plant that a device brings itself; `None` when it refers to another's.
pub(super) fn own_part(plant: &mut Plant, device: &DeviceSpec, site: Site) -> Option<Kind> {
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
            if let Some(settings) = &emulate.der {
                pv.set_functions(Functions::new(settings.clone()));
            }
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
            let mut storage = Storage::new(rating, soc);
            if let Some(law) = emulate.law {
                storage.set_law(law);
            }
            if emulate.forms == Some(false) {
                storage.follow_only();
            }
            if let Some(settings) = &emulate.der {
                storage.set_functions(Functions::new(settings.clone()));
                if emulate.forms == Some(true) {
                    storage.form_too();
                }
            }
            plant.storage.push(storage);
            Some(Kind::Storage(plant.storage.len() - 1))
        }
        Role::Genset => {
            plant.gensets.push(genset(emulate, rated));
            Some(Kind::Genset(plant.gensets.len() - 1))
        }
        Role::Source => {
            // A grid simulator holds its frequency to the last digit.
            plant.grid.set_noise(Frequency::ZERO);
            Some(Kind::Source)
        }
        Role::Load if device.profile.takes(model::Point::ActivePowerSet) => {
            let p = emulate.load.map_or(0.0, ActivePower::as_watts);
            // It holds power, whatever the voltage, with a power factor of one.
            let mut load =
                Load::new(p, emulate.on.unwrap_or(emulate.load.is_some())).shaped(0.0, 0.0);
            shape(&mut load, emulate);
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

/// A set; its fuel grows with its size.
fn genset(emulate: &Emulate, rated_va: f64) -> Genset {
    let set = &emulate.set;
    let seconds = |time: Option<Duration>, or: f64| time.map_or(or, |time| time.as_secs_f64());
    let mut diesel = Diesel::running(
        rated_va,
        seconds(set.inertia, INERTIA_S),
        set.droop.unwrap_or(DROOP),
        seconds(set.lag, LAG_S),
    );
    diesel.starting_s = seconds(set.starts_in, diesel.starting_s);
    // The data sheet behind the idle figure is that of a set of 100 kW.
    diesel.fuel.idle_l_per_h *= POWER_FACTOR * rated_va / 100e3;
    let mut made = Genset::new(diesel, set.governor);
    if let Some(p) = set.p {
        made.set_p(p.as_watts());
    }
    if set.running {
        made.run_on_load();
    }
    made
}

fn shape(load: &mut Load, emulate: &Emulate) {
    if let Some(shape) = emulate.shape {
        load.set_shape(shape);
    }
    if let Some(damping) = emulate.damping {
        load.set_damping(damping);
    }
    if let Some(quality) = emulate.quality {
        load.set_quality(quality);
    }
    if let Some(inrush) = emulate.inrush {
        load.set_inrush(inrush);
    }
}

fn add_load(plant: &mut Plant, emulate: &Emulate, switched: bool) -> Kind {
    let p = emulate.load.map_or(LOAD_W, ActivePower::as_watts);
    let mut load = Load::new(p, emulate.on.unwrap_or(true));
    shape(&mut load, emulate);
    plant.loads.push(load);
    let ix = plant.loads.len() - 1;
    if switched {
        Kind::Plug(ix)
    } else {
        Kind::Meter(Metered::Load(ix))
    }
}

/// The part that a battery or a meter shares with another device.
pub(super) fn shared_part(
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
        Some(Kind::Genset(ix) | Kind::Meter(Metered::Genset(ix))) => Metered::Genset(ix),
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

pub(super) fn nameplate(plant: &Plant, kind: Kind) -> Nameplate {
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
        Kind::Genset(ix) => {
            let set = plant.gensets.get(ix);
            set.map_or_else(Nameplate::default, |set| Nameplate {
                p: set.rated(),
                s: set.rated_va(),
                capacity_wh: 0.0,
            })
        }
        Kind::Pcc
        | Kind::Breaker
        | Kind::Plug(_)
        | Kind::Meter(_)
        | Kind::Source
        | Kind::ElectronicLoad(_) => Nameplate::default(),
    }
}
