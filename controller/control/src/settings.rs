//! What the core is told once, before the first cycle.

use std::time::Duration;

use limiter::{Fences, Limiter};
use model::{Agreement, DeviceIx, DeviceSpec, RestStep, Role};
use quantities::{ActivePower, Bounds, Frequency, FrequencyRate, StateOfCharge, Voltage};
use serde::{Deserialize, Serialize};

use crate::reservation::{ServiceSpec, VoltageSpec};

/// Settings of the control functions. Times are real time, powers positive into the bus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Nominal frequency.
    pub nominal_f: Frequency,
    /// Nominal voltage, line to neutral.
    pub nominal_v: Voltage,
    /// Period of the supervisory cycle.
    pub period: Duration,
    /// Droop of the storage while grid-connected, per unit of frequency at full power.
    pub droop: f64,
    /// Deviation from nominal in which the droop stays silent.
    pub deadband: Frequency,
    /// What is agreed with the utility at the start.
    pub agreement: Agreement,
    /// Charge below which nothing is discharged while grid-connected.
    pub reserve_soc: Option<StateOfCharge>,
    /// Power of the storage that stays free while grid-connected, for a frequency event or an island.
    pub reserve_p: Option<ActivePower>,
    /// Integral gain of the island's voltage, in apparent power of the storage per unit of voltage and second.
    pub island_v_gain_per_s: f64,
    /// Integral gain of the frequency of an island that sets form alone, in their rated power per unit of
    /// frequency and second; 0 leaves it to their droop.
    pub island_f_gain_per_s: f64,
    /// Integral gain of the exchange tracking, per second.
    pub pcc_gain_per_s: f64,
    /// Rate of change of the utility's frequency from which it counts as lost; `None` = never by
    /// rate, since a test of a frequency service steps it on purpose.
    pub mains_rocof_max: Option<FrequencyRate>,
    /// Whether an island reconnects by itself when the utility is healthy.
    pub auto_reconnect: bool,
    /// How long the utility must be healthy before an island reconnects.
    pub reconnect_delay: Duration,
    /// How long to try to synchronise before giving up.
    pub sync_timeout: Duration,
    /// How long an island must stay inside its bands to count as stable.
    pub settle_time: Duration,
    /// How long a setpoint stays valid on its way to the device.
    pub setpoint_validity: Duration,
    /// What may be exchanged at the point of common coupling, positive = import; a hard limit.
    pub exchange: Option<Bounds<ActivePower>>,
    /// Whether the coupling breaker is opened at a safe end and in the safe mode.
    pub safe_opens_breaker: bool,
    /// Steps of a safe end and of the safe mode, in their order.
    pub safe_order: Vec<RestStep>,
    /// Longest time of one step of the safe mode.
    pub safe_step: Duration,
    /// Delay at which a droop over the network begins to swing, where the rig states the island.
    pub delay_margin: Option<Duration>,
    /// Frequency services that were sold, in the order of the rig.
    pub services: Vec<ServiceSpec>,
    /// Support of the voltage at the coupling that was sold.
    pub pcc_voltage: Option<VoltageSpec>,
}

impl Settings {
    /// Settings for a nominal frequency and voltage, everything else at its default.
    ///
    /// Origins: droop 4 % and deadband 0.036 Hz (scaled with nominal) follow the usual default of
    /// IEEE 1547-2018 category II/III as given by secondary sources; the reconnect delay of 300 s
    /// is its enter-service default. Chosen: tracking gain 1.0 /s, a third of what a loop delay of
    /// 0.5 s would bear (pi/2 / 0.5 s); voltage gain and frequency gain 4 /s, which with the usual droop of 5 % closes the
    /// loop in 5 s, the lower end of what is usual for secondary control (5 to 30 s); settle time 2 s; sync time-out 60 s, six beat periods at
    /// 0.1 Hz slip; setpoint validity 2 s, longer than any healthy bus needs; a step of the safe mode as one of the
    /// safe end, three time-outs of the slowest bundled profile.
    #[must_use]
    pub fn nominal(nominal_f: Frequency, nominal_v: Voltage) -> Self {
        Self {
            nominal_f,
            nominal_v,
            period: Duration::from_millis(100),
            droop: 0.04,
            deadband: nominal_f * (0.036 / 60.0),
            agreement: Agreement::default(),
            reserve_soc: None,
            reserve_p: None,
            island_v_gain_per_s: 4.0,
            island_f_gain_per_s: 4.0,
            pcc_gain_per_s: 1.0,
            mains_rocof_max: None,
            auto_reconnect: true,
            reconnect_delay: Duration::from_secs(300),
            sync_timeout: Duration::from_secs(60),
            settle_time: Duration::from_secs(2),
            setpoint_validity: Duration::from_secs(2),
            exchange: None,
            safe_opens_breaker: false,
            safe_order: RestStep::NAMES.iter().map(|(_, step)| *step).collect(),
            safe_step: Duration::from_millis(1500),
            delay_margin: None,
            services: Vec::new(),
            pcc_voltage: None,
        }
    }
}

/// The bench as the core sees it: settings and the list of devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bench {
    /// Settings of the functions.
    pub settings: Settings,
    /// The devices, in the order of the rig.
    pub devices: Vec<DeviceSpec>,
}

impl Bench {
    /// The limiter of this bench, with nothing approved yet.
    #[must_use]
    pub fn limiter(&self) -> Limiter {
        let fences = Fences {
            nominal_v: self.settings.nominal_v,
            period: self.settings.period,
            exchange: self.settings.exchange,
        };
        Limiter::new(self.devices.clone(), fences)
    }

    /// The devices of a role, in the order of the rig.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = (DeviceIx, &DeviceSpec)> {
        self.devices
            .iter()
            .enumerate()
            .filter(move |(_, spec)| spec.role == role)
            .map(|(index, spec)| (ix(index), spec))
    }

    /// The first device of a role.
    #[must_use]
    pub fn first(&self, role: Role) -> Option<(DeviceIx, &DeviceSpec)> {
        self.of_role(role).next()
    }

    /// Loads that may be shed, the first to go first.
    #[must_use]
    pub fn shed_order(&self) -> Vec<DeviceIx> {
        let mut order: Vec<(u8, DeviceIx)> = self
            .devices
            .iter()
            .enumerate()
            .filter(|(_, spec)| spec.takes_switch && spec.role == Role::Load)
            .filter_map(|(index, spec)| spec.shed.map(|priority| (priority, ix(index))))
            .collect();
        order.sort();
        order.into_iter().map(|(_, device)| device).collect()
    }
}

fn ix(index: usize) -> DeviceIx {
    DeviceIx(u16::try_from(index).expect("a rig has fewer than 65536 devices (checked at load)"))
}
