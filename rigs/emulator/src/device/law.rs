//! Functions that a device carries out by itself, from what it measures.
//!
//! An inverter follows its curves whether or not a controller is there. Reactive laws set
//! the reactive power while nobody holds it; active ones lower a photovoltaic inverter's
//! ceiling. It is not responsible for where a curve comes from (see the faces).

use std::time::Duration;

use services::Curve;

/// A law that a device follows; quantities in base units, positive = into the bus.
#[derive(Clone, Debug, PartialEq)]
pub enum Law {
    /// Reactive power of the voltage.
    VoltVar(Curve),
    /// Ceiling of active power of the voltage.
    VoltWatt(Curve),
    /// Reactive power of the active power.
    WattVar(Curve),
    /// Reactive power in a fixed proportion to the active power.
    PowerFactor {
        /// Reactive per active power.
        q_per_p: f64,
    },
    /// Ceiling of active power falls with the frequency.
    FrequencyDroop {
        /// Frequency at which it begins, in hertz.
        f_begin: f64,
        /// Hertz for the whole rating.
        hz_per_rating: f64,
        /// Rating in watts.
        rating: f64,
        /// It does not go below this, in watts.
        p_min: f64,
    },
}

impl Law {
    /// A constant power factor; `None` when it is none.
    ///
    /// Over-excited gives reactive power, under-excited takes it.
    #[must_use]
    pub fn power_factor(pf: f64, under_excited: bool) -> Option<Self> {
        if !(pf > 0.0 && pf <= 1.0) {
            return None;
        }
        let q_per_p = (1.0 - pf * pf).sqrt() / pf;
        Some(Self::PowerFactor {
            q_per_p: if under_excited { -q_per_p } else { q_per_p },
        })
    }

    /// The reactive power that it asks for at a voltage and an active power.
    #[must_use]
    pub fn q(&self, v: f64, p: f64) -> Option<f64> {
        match self {
            Self::VoltVar(curve) => Some(curve.value(v)),
            Self::WattVar(curve) => Some(curve.value(p)),
            Self::PowerFactor { q_per_p } => Some(q_per_p * p.abs()),
            Self::VoltWatt(_) | Self::FrequencyDroop { .. } => None,
        }
    }

    /// The ceiling of active power that it sets at a voltage and a frequency.
    #[must_use]
    pub fn ceiling(&self, v: f64, f: f64) -> Option<f64> {
        match self {
            Self::VoltWatt(curve) => Some(curve.value(v).max(0.0)),
            Self::FrequencyDroop {
                f_begin,
                hz_per_rating,
                rating,
                p_min,
            } => {
                let share = 1.0 - (f - f_begin).max(0.0) / hz_per_rating;
                Some((share * rating).clamp(p_min.min(*rating), *rating))
            }
            _ => None,
        }
    }
}

/// A law from a time on, until the next one.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// From this time of the plant on.
    pub from: Duration,
    /// What is followed; `None` = nothing.
    pub law: Option<Law>,
}

/// The law that holds at a time.
#[must_use]
pub fn at(phases: &[Phase], now: Duration) -> Option<&Law> {
    let current = phases.iter().rev().find(|phase| phase.from <= now)?;
    current.law.as_ref()
}
