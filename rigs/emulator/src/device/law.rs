//! Functions that a device carries out by itself, from what it measures.
//!
//! An inverter follows its curves whether or not a controller is there. Reactive laws set
//! the reactive power while nobody holds it; active ones lower a photovoltaic inverter's
//! ceiling. It is not responsible for where a curve comes from (see the faces).

use std::time::Duration;

use quantities::Frequency;
use services::{Curve, FrequencyWatt, Reactive, Side};

/// A law that a device follows; quantities in base units, positive = into the bus.
#[derive(Clone, Debug, PartialEq)]
pub enum Law {
    /// Reactive power, of the voltage or of the active power.
    Reactive(Reactive),
    /// Ceiling of active power of the voltage.
    VoltWatt(Curve),
    /// Active power moves with the frequency, from what was given before the event.
    FrequencyDroop(Droop),
}

/// Active power by frequency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Droop {
    /// Dead bands and slopes.
    pub law: FrequencyWatt,
    /// Rating in watts.
    pub rating: f64,
    /// It does not go below this, in watts.
    pub p_min: f64,
}

/// The event in which a droop acts: on which side of nominal, and the power in watts before it.
///
/// As in the model of a DER: the power is held while the frequency stays out of its dead band.
pub type Event = (Side, f64);

impl Droop {
    /// The event at a frequency, given the one before and the power now.
    #[must_use]
    pub fn event(&self, f: f64, before: Option<Event>, p: f64) -> Option<Event> {
        let side = self.law.side(Frequency::from_hertz(f))?;
        Some(
            before
                .filter(|(held, _)| *held == side)
                .unwrap_or((side, p)),
        )
    }

    /// The power in watts that it asks for in an event.
    #[must_use]
    pub fn power(&self, f: f64, (_, before): Event) -> f64 {
        let change = self.law.change(Frequency::from_hertz(f));
        (before + change * self.rating).clamp(self.p_min.min(self.rating), self.rating)
    }
}

impl Law {
    /// A constant power factor; `None` when it is none.
    ///
    /// Over-excited gives reactive power, under-excited takes it.
    #[must_use]
    pub fn power_factor(pf: f64, under_excited: bool) -> Option<Self> {
        Reactive::power_factor(pf, under_excited).map(Self::Reactive)
    }

    /// The reactive power that it asks for at a voltage and an active power.
    #[must_use]
    pub fn q(&self, v: f64, p: f64) -> Option<f64> {
        match self {
            // Excitation is the same whichever way active power flows.
            Self::Reactive(law @ Reactive::PowerFactor { .. }) => Some(law.q(v, p.abs())),
            Self::Reactive(law) => Some(law.q(v, p)),
            _ => None,
        }
    }

    /// The ceiling of active power that it sets at a voltage.
    #[must_use]
    pub fn ceiling(&self, v: f64) -> Option<f64> {
        match self {
            Self::VoltWatt(curve) => Some(curve.value(v).max(0.0)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_power_before_the_event_is_held_while_frequency_is_out_of_its_dead_band() {
        let droop = Droop {
            law: FrequencyWatt {
                nominal: Frequency::from_hertz(50.0),
                deadband_over: Frequency::from_hertz(0.03),
                deadband_under: Frequency::from_hertz(0.03),
                droop_over: 0.05,
                droop_under: 0.05,
            },
            rating: 1000.0,
            p_min: 0.0,
        };
        // Frequency, power at that moment, and what is asked for, if anything is.
        let rows = [
            (50.0, 500.0, None),
            (50.53, 500.0, Some(300.0)),
            (50.53, 300.0, Some(300.0)),
            (51.03, 250.0, Some(100.0)),
            (52.0, 100.0, Some(0.0)),
            (49.47, 0.0, Some(200.0)),
            (50.02, 400.0, None),
            (49.47, 400.0, Some(600.0)),
            (47.0, 600.0, Some(1000.0)),
        ];
        let mut event = None;
        for (n, (f, p, asked)) in rows.into_iter().enumerate() {
            event = droop.event(f, event, p);
            let found = event.map(|event| droop.power(f, event));
            let near = match (found, asked) {
                (Some(found), Some(asked)) => (found - asked).abs() < 1e-6,
                (found, asked) => found == asked,
            };
            assert!(near, "row {n}: {found:?}, not {asked:?}");
        }
    }
}
