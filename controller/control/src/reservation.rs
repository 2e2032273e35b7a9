//! What services reserve of their devices: power, and the energy to sustain it.
//!
//! A service is shared out over its devices in proportion to what each is made for in that direction.
//! Reserves come first: a schedule may use only what they leave, `P_max - sum(up)` to `P_min + sum(down)`,
//! and only the charge between the two edges at which every reserve could still be held for its time.

use std::time::Duration;

use model::{DeviceIx, DeviceSpec, ReadyShare, Role};
use quantities::{ActivePower, Bounds, Energy, Quantity, ReactivePower, StateOfCharge};
use serde::{Deserialize, Serialize};
use services::definition::Definition;

/// A service that was sold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Its name in the rig.
    pub name: String,
    /// What it is.
    pub definition: Definition,
    /// Power that was sold upwards, more into the bus.
    pub up: ActivePower,
    /// Power that was sold downwards, as a magnitude.
    pub down: ActivePower,
    /// How long each must be sustained.
    pub hold: Duration,
    /// The devices that deliver it.
    pub devices: Vec<DeviceIx>,
    /// An inverter that is left free: what it gives of its rating tells what those of the service could give.
    pub reference: Option<DeviceIx>,
    /// Shortest times for which its switched loads stay on, and off.
    pub dwell: Dwell,
    /// The charge that its storages go back to after an event, where they do by themselves.
    pub recover: Option<StateOfCharge>,
    /// What each device has ready now, where a market says so; `None` shares out what was sold.
    pub ready: Option<Vec<ReadyShare>>,
}

/// Support of the voltage at the point of common coupling that was sold, by all storages that take a reactive setpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VoltageSpec {
    /// Its name in the rig.
    pub name: String,
    /// What it is.
    pub definition: Definition,
    /// Reactive power that was sold, to either side.
    pub q: ReactivePower,
}

/// Shortest times for which a switched load stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dwell {
    /// On.
    pub on: Duration,
    /// Off.
    pub off: Duration,
}

/// How a device gives more or less power on request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deliverer {
    /// It takes any power within its limits, as long as its charge lasts.
    Storage,
    /// It takes a power setpoint, and takes less or more than its baseline.
    Load,
    /// It takes a ceiling: it gives less than the sun would, and more again if it was held before.
    Sun,
    /// It has a switch only: all of its power or nothing.
    Block,
}

impl Deliverer {
    /// What a device is; `None` for one that cannot deliver.
    #[must_use]
    pub fn of(spec: &DeviceSpec) -> Option<Self> {
        match spec.role {
            Role::Ess if spec.takes_power => Some(Self::Storage),
            Role::Load if spec.takes_power => Some(Self::Load),
            Role::Load if spec.takes_switch => Some(Self::Block),
            Role::Pv if spec.takes_ceiling => Some(Self::Sun),
            _ => None,
        }
    }
}

/// Upwards or downwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// More power into the bus.
    Up,
    /// Less of it.
    Down,
}

impl Side {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::Up, Self::Down];

    /// The side to which this power is, on top of a baseline.
    #[must_use]
    pub fn of_wish(power: ActivePower) -> Self {
        if power < ActivePower::ZERO {
            Self::Down
        } else {
            Self::Up
        }
    }

    /// What a device has ready to this side, as a magnitude.
    fn of(self, share: &ReadyShare) -> ActivePower {
        match self {
            Self::Up => share.up,
            Self::Down => share.down,
        }
    }

    /// What a device can give to this side by its rating, as a magnitude. A load gives upwards by taking
    /// less than its baseline, and the sun by being held less, so that either way it is all of their range.
    #[must_use]
    pub fn rated(self, spec: &DeviceSpec) -> ActivePower {
        match self {
            _ if matches!(spec.role, Role::Load | Role::Pv) => {
                spec.rating.p.upper() - spec.rating.p.lower()
            }
            Self::Up => Quantity::max(spec.rating.p.upper(), ActivePower::ZERO),
            Self::Down => Quantity::max(-spec.rating.p.lower(), ActivePower::ZERO),
        }
    }
}

impl ServiceSpec {
    /// What was sold to a side, or is ready for it where a market says so, as a magnitude.
    #[must_use]
    pub fn sold(&self, side: Side) -> ActivePower {
        match (&self.ready, side) {
            (Some(ready), _) => ready.iter().map(|share| side.of(share)).sum(),
            (None, Side::Up) => self.up,
            (None, Side::Down) => self.down,
        }
    }

    /// The devices that are called to a side, in their order, with what each has ready; `None` where all
    /// are asked alike.
    #[must_use]
    pub fn merit(&self, side: Side) -> Option<Vec<(DeviceIx, ActivePower)>> {
        let mut called: Vec<&ReadyShare> = self.ready.as_ref()?.iter().collect();
        called.sort_by_key(|share| match side {
            Side::Up => (share.up_rank, share.device),
            Side::Down => (share.down_rank, share.device),
        });
        let called = called.into_iter();
        Some(called.map(|share| (share.device, side.of(share))).collect())
    }

    /// A device's share of what was sold to a side, as a magnitude.
    #[must_use]
    pub fn share(&self, side: Side, device: DeviceIx, specs: &[DeviceSpec]) -> ActivePower {
        if let Some(ready) = &self.ready {
            let own = ready.iter().filter(|share| share.device == device);
            return own.map(|share| side.of(share)).sum();
        }
        let rated = |device: &DeviceIx| side.rated(&specs[device.index()]);
        let all: ActivePower = self.devices.iter().map(rated).sum();
        if all == ActivePower::ZERO || !self.devices.contains(&device) {
            return ActivePower::ZERO;
        }
        self.sold(side) * (rated(&device) / all)
    }
}

/// What all services together reserve of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reserved {
    /// Power upwards.
    pub up: ActivePower,
    /// Power downwards, as a magnitude.
    pub down: ActivePower,
    /// Energy at the terminals that must be there to discharge.
    pub energy_up: Energy,
    /// Energy at the terminals that must find room.
    pub energy_down: Energy,
}

impl Reserved {
    /// What these services reserve of a device.
    #[must_use]
    pub fn of(device: DeviceIx, services: &[ServiceSpec], specs: &[DeviceSpec]) -> Self {
        services.iter().fold(Self::default(), |sum, service| {
            let up = service.share(Side::Up, device, specs);
            let down = service.share(Side::Down, device, specs);
            Self {
                up: sum.up + up,
                down: sum.down + down,
                energy_up: sum.energy_up + up * service.hold,
                energy_down: sum.energy_down + down * service.hold,
            }
        })
    }

    /// What is left of a device's power for everything else; `None` where nothing is.
    #[must_use]
    pub fn leaves(&self, able: Bounds<ActivePower>) -> Option<Bounds<ActivePower>> {
        Bounds::new(able.lower() + self.down, able.upper() - self.up)
    }

    /// The charges between which every reserve can be held for its time, losses included; `None` where there is none,
    /// or the rig does not say how much energy the device has.
    #[must_use]
    pub fn charge(&self, spec: &DeviceSpec) -> Option<Bounds<StateOfCharge>> {
        let capacity_wh = spec
            .rating
            .capacity
            .map(Energy::as_watt_hours)
            .filter(|wh| *wh > 0.0)?;
        let part = |energy: Energy| energy.as_watt_hours() / capacity_wh;
        let (soc, efficiency) = (spec.rating.soc, spec.rating.efficiency);
        Bounds::new(
            StateOfCharge::from_fraction(
                soc.lower().as_fraction() + part(efficiency.drawn(self.energy_up)),
            ),
            StateOfCharge::from_fraction(
                soc.upper().as_fraction() - part(efficiency.stored(self.energy_down)),
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use model::{Forming, Rating};
    use quantities::{ApparentPower, PowerRamp};
    use services::definition::named;

    use super::*;

    fn storage(lower_kw: f64, upper_kw: f64) -> DeviceSpec {
        DeviceSpec {
            id: "ess".into(),
            role: Role::Ess,
            rating: Rating {
                p: Bounds::between(
                    ActivePower::from_kilowatts(lower_kw),
                    ActivePower::from_kilowatts(upper_kw),
                ),
                s_max: ApparentPower::from_kilovolt_amperes(upper_kw),
                ramp: PowerRamp::from_watts_per_second(1e6),
                soc: Bounds::between(
                    StateOfCharge::from_percent(15.0),
                    StateOfCharge::from_percent(90.0),
                ),
                capacity: Some(Energy::from_kilowatt_hours(10.0)),
                source: None,
                efficiency: model::Efficiency::LOSSLESS,
                temperature: None,
            },
            shed: None,
            battery: None,
            takes_power: true,
            takes_reactive: false,
            takes_ceiling: false,
            takes_switch: false,
            safe_p: ActivePower::ZERO,
            safe_on: None,
            forming: Forming::Droops,
            sample_age_max: Duration::from_secs(1),
        }
    }

    fn fleet() -> Vec<DeviceSpec> {
        vec![storage(-10.0, 10.0), storage(-2.0, 5.0)]
    }

    fn sold(name: &str, up_kw: f64, down_kw: f64, hold_s: u64, devices: &[u16]) -> ServiceSpec {
        ServiceSpec {
            name: name.to_owned(),
            definition: named(name).expect("a service"),
            up: ActivePower::from_kilowatts(up_kw),
            down: ActivePower::from_kilowatts(down_kw),
            hold: Duration::from_secs(hold_s),
            devices: devices.iter().map(|d| DeviceIx(*d)).collect(),
            reference: None,
            dwell: Dwell::default(),
            recover: None,
            ready: None,
        }
    }

    #[test]
    fn a_service_is_shared_in_proportion_to_what_its_devices_are_made_for() {
        let specs = fleet();
        let service = sold("fcr-ce", 6.0, 3.0, 900, &[0, 1]);
        let kw = |side, device| service.share(side, DeviceIx(device), &specs).as_kilowatts();
        // The first is made for 10 kW either way, the second for 5 kW out and 2 kW in.
        for (side, device, expected) in [
            (Side::Up, 0, 4.0),
            (Side::Up, 1, 2.0),
            (Side::Down, 0, 2.5),
            (Side::Down, 1, 0.5),
            (Side::Up, 2, 0.0),
        ] {
            let found = kw(side, device);
            assert!(
                (found - expected).abs() < 1e-9,
                "{side:?} {device}: {found}"
            );
        }
    }

    #[test]
    fn reserves_of_several_services_add_up_in_power_and_in_energy() {
        let specs = fleet();
        let services = [
            sold("fcr-ce", 4.0, 4.0, 900, &[0]),
            sold("ffr", 3.0, 0.0, 1800, &[0, 1]),
        ];
        let reserved = Reserved::of(DeviceIx(0), &services, &specs);
        // 4 kW for a quarter of an hour and two thirds of 3 kW for half an hour.
        assert!((reserved.up.as_kilowatts() - 6.0).abs() < 1e-9);
        assert!((reserved.down.as_kilowatts() - 4.0).abs() < 1e-9);
        assert!((reserved.energy_up.as_watt_hours() - 2000.0).abs() < 1e-6);
        assert!((reserved.energy_down.as_watt_hours() - 1000.0).abs() < 1e-6);
        let left = reserved.leaves(specs[0].rating.p).expect("some");
        assert!((left.upper().as_kilowatts() - 4.0).abs() < 1e-9);
        assert!((left.lower().as_kilowatts() + 6.0).abs() < 1e-9);
        // Of 10 kWh between 15 and 90 %, 2 kWh below and 1 kWh above are not to be touched.
        let charge = reserved.charge(&specs[0]).expect("some");
        assert!((charge.lower().as_percent() - 35.0).abs() < 1e-9);
        assert!((charge.upper().as_percent() - 80.0).abs() < 1e-9);
        // With losses more of the charge has to be kept for the way out, and less room for the way in.
        let mut lossy = specs[0].clone();
        lossy.rating.efficiency = model::Efficiency {
            charge: 0.9,
            discharge: 0.8,
        };
        let charge = reserved.charge(&lossy).expect("some");
        assert!((charge.lower().as_percent() - 40.0).abs() < 1e-9);
        assert!((charge.upper().as_percent() - 81.0).abs() < 1e-9);
        let too_much = sold("fcr-ce", 6.0, 6.0, 7200, &[0]);
        assert_eq!(
            Reserved::of(DeviceIx(0), &[too_much], &specs).charge(&specs[0]),
            None
        );
    }
}
