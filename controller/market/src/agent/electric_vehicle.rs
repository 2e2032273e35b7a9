//! A vehicle that must be full by its departure and can wait until it cannot.
//!
//! Its slack is the time left less the time that charging takes. With all of it the
//! vehicle bids its patient price, without any the cap, and in between
//! `patient + (cap − patient) · (1 − slack/slack_full)^urgency`.

use serde::{Deserialize, Serialize};

use super::{Agent, MarketView};
use crate::fault::Coded;
use crate::interval::Interval;
use crate::order::{AgentId, Order};
use crate::quantity::{MilliwattNs, Mwh, PPM, Price, energy_of_power_mwh};

/// How a vehicle is declared; [`ElectricVehicle`] is the checked form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VehicleDeclaration {
    /// Who orders.
    pub agent: AgentId,
    /// Energy in the cells from 0 to 1000000 ppm, in mWh.
    pub capacity_mwh: Mwh,
    /// Most power it withdraws, in mW.
    pub charge_milliwatt_max: i64,
    /// Share of withdrawn energy that reaches the cells, in ppm.
    pub charge_efficiency_ppm: u32,
    /// State of charge at departure, in ppm.
    pub wanted_ppm: u32,
    /// When it departs, in nanoseconds of market time.
    pub departure_ns: i64,
    /// Slack at which it bids its patient price, in nanoseconds.
    pub slack_full_ns: i64,
    /// What it pays while it can wait.
    pub patient: Price,
    /// Exponent of its urgency, 1 to 4; the larger, the later it hurries.
    pub urgency: u32,
}

/// A vehicle whose declaration has been checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "VehicleDeclaration", into = "VehicleDeclaration")]
pub struct ElectricVehicle(VehicleDeclaration);

/// Why a vehicle's declaration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("vehicle `{agent}`: {reason}")]
pub struct VehicleError {
    /// Whose declaration.
    pub agent: AgentId,
    /// What is wrong with it, in words.
    pub reason: &'static str,
}

impl Coded for VehicleError {
    fn code(&self) -> &'static str {
        "M051"
    }
    fn place(&self) -> String {
        format!("vehicle `{}`", self.agent)
    }
    fn help(&self) -> String {
        "give a positive capacity, power and full slack, shares within 1..=1000000 ppm and an \
         urgency from 1 to 4"
            .into()
    }
}

impl TryFrom<VehicleDeclaration> for ElectricVehicle {
    type Error = VehicleError;

    fn try_from(it: VehicleDeclaration) -> Result<Self, VehicleError> {
        let share = |ppm: u32| (1..=PPM).contains(&ppm);
        let reason = if it.capacity_mwh.0 <= 0 || it.charge_milliwatt_max <= 0 {
            "its capacity or power is not positive"
        } else if !share(it.charge_efficiency_ppm) || !share(it.wanted_ppm) {
            "a share is not within 1..=1000000 ppm"
        } else if it.slack_full_ns <= 0 {
            "its full slack is not positive"
        } else if !(1..=4).contains(&it.urgency) {
            "its urgency is not from 1 to 4"
        } else {
            return Ok(Self(it));
        };
        Err(VehicleError {
            agent: it.agent,
            reason,
        })
    }
}

impl From<ElectricVehicle> for VehicleDeclaration {
    fn from(vehicle: ElectricVehicle) -> Self {
        vehicle.0
    }
}

impl ElectricVehicle {
    /// Who orders.
    #[must_use]
    pub fn agent(&self) -> &AgentId {
        &self.0.agent
    }

    /// Energy at the plug until it is as full as wanted, rounded up.
    #[must_use]
    pub fn missing(&self, state_of_charge_ppm: u32) -> Mwh {
        let it = &self.0;
        let ppm = i128::from(it.wanted_ppm.saturating_sub(state_of_charge_ppm));
        let cells = ppm * i128::from(it.capacity_mwh.0);
        // The share of the state of charge and that of the efficiency cancel.
        let plug = -(-cells).div_euclid(i128::from(it.charge_efficiency_ppm));
        Mwh(i64::try_from(plug).unwrap_or(i64::MAX))
    }

    /// Time left at `now_ns` less the time that charging takes; negative when it is late.
    #[must_use]
    pub fn slack_ns(&self, state_of_charge_ppm: u32, now_ns: i64) -> i64 {
        let it = &self.0;
        let energy = MilliwattNs::from(self.missing(state_of_charge_ppm)).0;
        let charging = -(-energy).div_euclid(i128::from(it.charge_milliwatt_max));
        let left = i128::from(it.departure_ns) - i128::from(now_ns) - charging;
        left.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    /// What it bids with that slack, up to the cap.
    #[must_use]
    pub fn price(&self, slack_ns: i64, cap: Price) -> Price {
        let it = &self.0;
        let whole = i128::from(PPM);
        let slack = i128::from(slack_ns.clamp(0, it.slack_full_ns));
        let hurry = whole - slack * whole / i128::from(it.slack_full_ns);
        let raised = (0..it.urgency).fold(whole, |power, _| power * hurry / whole);
        let above = (i128::from(cap.0) - i128::from(it.patient.0)).max(0) * raised / whole;
        // At most the cap, or the patient price where that is higher.
        Price((i128::from(it.patient.0) + above) as i64)
    }
}

impl Agent for ElectricVehicle {
    fn orders(&mut self, view: &MarketView, interval: &Interval) -> Vec<Order> {
        let Some(charge) = view.outlook(self.agent()).state_of_charge_ppm else {
            return Vec::new();
        };
        // Who has left is not here to charge.
        if interval.start_ns >= self.0.departure_ns {
            return Vec::new();
        }
        let missing = self.missing(charge);
        let most = energy_of_power_mwh(self.0.charge_milliwatt_max, interval.dt_ns);
        let energy = most.map_or(missing, |most| most.min(missing));
        let price = self.price(self.slack_ns(charge, interval.start_ns), view.rules.cap);
        view.bid(self.agent(), price, energy).into_iter().collect()
    }
}
