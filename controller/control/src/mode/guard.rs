//! What must hold before a transition may be taken. A guard that refuses says which number was wrong.

use std::time::Duration;

use model::{DeviceIx, Role};
use quantities::{ActivePower, Bounds, Quantity, StateOfCharge};

use super::limits;
use crate::{Bench, Estimate};

/// A condition with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The rig has a coupling breaker.
    BreakerThere,
    /// The breaker is seen open; not known is not open.
    BreakerOpen,
    /// Nobody holds the breaker open by hand.
    BreakerFree,
    /// A storage answers and can give power.
    StorageReady,
    /// The lowest charge is above the reserve that an island needs.
    ChargeAboveReserve,
    /// The storage alone can carry what cannot be shed.
    ReserveCoversLoads,
    /// The utility's voltage and frequency have been in the window of a return for long enough.
    UtilityHealthy,
    /// No voltage has been seen on the bus for long enough.
    BusDead,
    /// There is voltage on the bus.
    VoltageOnBus,
}

/// What the guards look at.
#[derive(Clone, Copy)]
pub struct Sight<'a> {
    /// What is true on the bus.
    pub seen: &'a Estimate,
    /// Settings and devices.
    pub bench: &'a Bench,
    /// What each storage inverter that answers can do now.
    pub storage: &'a [(DeviceIx, Bounds<ActivePower>)],
    /// Whether a person holds the coupling breaker open.
    pub held_open: bool,
    /// How long the bus has been without voltage.
    pub dead_for: Option<Duration>,
    /// How long the utility has been healthy.
    pub healthy_for: Option<Duration>,
}

impl Sight<'_> {
    fn dischargeable(&self) -> ActivePower {
        self.storage
            .iter()
            .map(|(_, able)| Quantity::max(able.upper(), ActivePower::ZERO))
            .sum()
    }

    /// The charge that has to be there before the microgrid stands on its own: the highest lower
    /// limit of the rig's storages and a margin.
    fn reserve(&self) -> Option<StateOfCharge> {
        let floor = self
            .bench
            .of_role(Role::Ess)
            .map(|(_, spec)| spec.rating.soc.lower())
            .reduce(Quantity::max)?;
        Some(StateOfCharge::from_fraction(
            floor.as_fraction() + limits::RESERVE_SOC,
        ))
    }
}

impl Guard {
    /// The name in diagrams and refusals.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BreakerThere => "breaker_there",
            Self::BreakerOpen => "breaker_open",
            Self::BreakerFree => "breaker_free",
            Self::StorageReady => "storage_ready",
            Self::ChargeAboveReserve => "charge_above_reserve",
            Self::ReserveCoversLoads => "reserve_covers_loads",
            Self::UtilityHealthy => "utility_healthy",
            Self::BusDead => "bus_dead",
            Self::VoltageOnBus => "voltage_on_bus",
        }
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// Why it does not, with numbers. Unknown never counts as good.
    pub fn check(self, sight: &Sight<'_>) -> Result<(), String> {
        let seen = sight.seen;
        let demand =
            |holds: bool, why: &dyn Fn() -> String| if holds { Ok(()) } else { Err(why()) };
        match self {
            Self::BreakerThere => demand(sight.bench.first(Role::Breaker).is_some(), &|| {
                "the rig has no coupling breaker".into()
            }),
            Self::BreakerOpen => match seen.breaker_closed {
                Some(false) => Ok(()),
                Some(true) => Err("the coupling breaker is closed".into()),
                None => Err("the position of the coupling breaker is not known".into()),
            },
            Self::BreakerFree => demand(!sight.held_open, &|| {
                "a person holds the coupling breaker open; release it first".into()
            }),
            Self::StorageReady => demand(sight.dischargeable() > ActivePower::ZERO, &|| {
                "no storage answers that could form the island".into()
            }),
            Self::ChargeAboveReserve => {
                let Some(reserve) = sight.reserve() else {
                    return Err("the rig has no storage".into());
                };
                match seen.soc {
                    None => Err("the state of charge is not known".into()),
                    Some(soc) => demand(soc > reserve, &|| {
                        format!(
                            "state of charge {:.0} %, {:.0} % is kept for an island",
                            soc.as_percent(),
                            reserve.as_percent()
                        )
                    }),
                }
            }
            Self::ReserveCoversLoads => match seen.load {
                None => Err("what the loads take is not known".into()),
                Some(load) => {
                    let sheddable: ActivePower = sight
                        .bench
                        .shed_order()
                        .iter()
                        .map(|device| sight.bench.devices[device.index()].rating.p.lower().abs())
                        .sum();
                    let firm = Quantity::max(load - sheddable, ActivePower::ZERO);
                    let able = sight.dischargeable();
                    demand(able >= firm, &|| {
                        format!(
                            "loads that cannot be shed take {firm:.1}, the storage can give {able:.1}"
                        )
                    })
                }
            },
            Self::UtilityHealthy => {
                let wanted = sight.bench.settings.reconnect_delay;
                let so_far = sight.healthy_for.unwrap_or_default();
                demand(sight.healthy_for.is_some_and(|t| t >= wanted), &|| {
                    format!(
                        "the utility has been healthy for {} s of {} s",
                        so_far.as_secs(),
                        wanted.as_secs()
                    )
                })
            }
            Self::BusDead => match (sight.dead_for, seen.v) {
                (Some(time), _) if time >= limits::DEAD_FOR => Ok(()),
                (_, Some(v)) => Err(format!("the bus stands at {v:.1}")),
                (_, None) => Err("the voltage of the bus is not known".into()),
            },
            Self::VoltageOnBus => match seen.v {
                Some(v) => demand(
                    v / sight.bench.settings.nominal_v >= limits::LIVE_V_PU,
                    &|| format!("the bus stands at {v:.1}"),
                ),
                None => Err("the voltage of the bus is not known".into()),
            },
        }
    }
}
