//! The hard limits of a bench as a whole.

use std::time::Duration;

use model::{DeviceSpec, Role};
use quantities::{ActivePower, Bounds, Frequency, PhaseAngle, Voltage};

/// What no single device's rating says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fences {
    /// Nominal voltage, line to neutral.
    pub nominal_v: Voltage,
    /// Period of the supervisory cycle: the longest time that a setpoint is credited with.
    pub period: Duration,
    /// What may be exchanged with the utility, positive = import; `None` = whatever flows.
    pub exchange: Option<Bounds<ActivePower>>,
}

impl Fences {
    /// The fences of a bench whose rig states none: a cycle of 100 ms, any exchange.
    #[must_use]
    pub fn of(nominal_v: Voltage) -> Self {
        Self {
            nominal_v,
            period: Duration::from_millis(100),
            exchange: None,
        }
    }
}

/// How far the two sides of a breaker may be apart when it closes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SyncWindow {
    /// Largest difference of frequency.
    pub df_max: Frequency,
    /// Largest difference of voltage, per unit of nominal.
    pub dv_max_pu: f64,
    /// Largest angle.
    pub angle_max: PhaseAngle,
}

/// Up to which rating in VA a row counts, and its limits in hertz, per unit and degrees.
//= IEEE 1547-2018 Table 5 (recalled from secondary sources; values unchanged since 2003): limits of
//= frequency, voltage and angle at the moment of coupling, by the aggregate rating of the sources.
const ROWS: &[(f64, f64, f64, f64)] = &[
    (500e3, 0.3, 0.10, 20.0),
    (1500e3, 0.2, 0.05, 15.0),
    (f64::INFINITY, 0.1, 0.03, 10.0),
];

impl SyncWindow {
    /// The window for a bench with these devices: the more kVA, the narrower.
    #[must_use]
    pub fn of(specs: &[DeviceSpec]) -> Self {
        let rated: f64 = specs
            .iter()
            .filter(|spec| matches!(spec.role, Role::Ess | Role::Genset | Role::Pv))
            .map(|spec| spec.rating.s_max.as_volt_amperes())
            .sum();
        let (_, df, dv, angle) = *ROWS
            .iter()
            .find(|(up_to, ..)| rated <= *up_to)
            .unwrap_or(&ROWS[ROWS.len() - 1]);
        Self {
            df_max: Frequency::from_hertz(df),
            dv_max_pu: dv,
            angle_max: PhaseAngle::from_degrees(angle),
        }
    }
}
