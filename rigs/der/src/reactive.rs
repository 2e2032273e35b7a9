//! Reactive power: one function with its response, the reference voltage that may follow by itself,
//! and what the rating leaves of both powers.
//!
//! Near the rating, reactive power goes before active power; a power factor is kept by giving up
//! both, and watt-var stays on its curve.

use std::mem::{Discriminant, discriminant};

use services::{Curve, Reactive};

use crate::filter::Lag;
use crate::settings::{Capability, ReactiveSettings, Vref};

/// What the reactive function remembers.
#[derive(Clone, Debug, Default)]
pub struct ReactivePower {
    response: Lag,
    reference: Lag,
    mode: Mode,
    giving_way: Option<GivingWay>,
}

/// Which function was on in the step before, if any, and with what response.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Mode {
    begun: bool,
    law: Option<Discriminant<Reactive>>,
    olrt_s: f64,
    q_pu: f64,
}

/// One function gives way to another: from where, and since when.
#[derive(Clone, Copy, Debug)]
struct GivingWay {
    from_pu: f64,
    since_s: f64,
}

impl ReactivePower {
    /// The reactive power that is wanted at a voltage and a wanted active power; without a function
    /// what is left of the one before, and then nothing.
    pub fn step(
        &mut self,
        settings: Option<&ReactiveSettings>,
        change_s: f64,
        v_pu: f64,
        p_pu: f64,
        dt_s: f64,
    ) -> f64 {
        let law = settings.map(|settings| discriminant(&settings.law));
        if self.mode.begun && law != self.mode.law {
            let from_pu = self.mode.q_pu;
            self.giving_way = Some(GivingWay {
                from_pu,
                since_s: 0.0,
            });
        }
        let target = match settings {
            // The points are written for a reference voltage of 1.
            Some(ReactiveSettings {
                law: Reactive::VoltVar(curve),
                vref,
                ..
            }) => curve.value(v_pu - (self.reference(vref, v_pu, dt_s) - 1.0)),
            Some(settings) => settings.law.q(v_pu, p_pu),
            None => 0.0,
        };
        let target = self.given_way(target, change_s, dt_s);
        let olrt_s = settings.map_or(self.mode.olrt_s, |settings| settings.olrt_s);
        let q_pu = self.response.step(target, olrt_s, dt_s);
        self.mode = Mode {
            begun: true,
            law,
            olrt_s,
            q_pu,
        };
        q_pu
    }

    /// The target on its way from one function to another.
    fn given_way(&mut self, target: f64, change_s: f64, dt_s: f64) -> f64 {
        let Some(way) = &mut self.giving_way else {
            return target;
        };
        way.since_s += dt_s;
        if way.since_s >= change_s {
            self.giving_way = None;
            return target;
        }
        way.from_pu + (target - way.from_pu) * way.since_s / change_s
    }

    fn reference(&mut self, vref: &Vref, v_pu: f64, dt_s: f64) -> f64 {
        match vref.tau_s {
            // A time constant leaves 1/e, a response time a tenth.
            Some(tau_s) => self
                .reference
                .step(v_pu, tau_s * std::f64::consts::LN_10, dt_s)
                .clamp(vref.lo_pu, vref.hi_pu),
            None => vref.fixed_pu,
        }
    }

    /// Stands back for somebody else, who gives so much: from there it goes on with its response.
    pub fn stand_back(&mut self, v_pu: f64, q_pu: f64) {
        self.leave(None, v_pu);
        self.response.reset(q_pu);
    }

    /// Out of service: nothing is given, and the reference is where the voltage is. A constant
    /// reactive power waits for its return, as OpenDER 2.2.0 has it.
    pub fn leave(&mut self, settings: Option<&ReactiveSettings>, v_pu: f64) {
        let waits_pu = match settings.map(|settings| &settings.law) {
            Some(Reactive::Constant(q)) => *q,
            _ => 0.0,
        };
        self.response.reset(waits_pu);
        self.reference.reset(v_pu);
        // Whatever is on then, it begins anew.
        self.mode = Mode::default();
        self.giving_way = None;
    }
}

impl Capability {
    /// Largest reactive power at an active power: into the bus, and out of it.
    #[must_use]
    pub fn limits(&self, p_pu: f64, storage: bool) -> (f64, f64) {
        let share = if storage || p_pu >= self.p_full_pu {
            1.0
        } else if p_pu >= self.p_least_pu - NEAR_PU {
            p_pu / self.p_full_pu
        } else {
            0.0
        };
        (self.inject_pu * share, self.absorb_pu * share)
    }

    /// The active and the reactive power that are left of what is wanted.
    #[must_use]
    pub fn share(&self, law: Option<&Reactive>, p: f64, q: f64, storage: bool) -> (f64, f64) {
        let within = |p: f64, q: f64| {
            let (inject, absorb) = self.limits(p, storage);
            q.clamp(-absorb, inject)
        };
        let fits = p * p + q * q < 1.0;
        match law {
            // Of a function that was switched off something may be left.
            None | Some(Reactive::VoltVar(_) | Reactive::Constant(_)) => {
                let q = within(p, q);
                if p * p + q * q < 1.0 {
                    (p, q)
                } else {
                    (beside(q).copysign(p), q)
                }
            }
            Some(Reactive::PowerFactor { .. }) => {
                let scale = if fits { 1.0 } else { 1.0 / p.hypot(q) };
                let most = if q > 0.0 {
                    self.inject_pu
                } else {
                    self.absorb_pu
                };
                // Where the capability ends before the power factor does, active power is kept.
                let p_kept = if (q * scale).abs() > most {
                    beside(most).min(p.abs()).copysign(p)
                } else {
                    p * scale
                };
                (p_kept, within(p_kept, q * scale))
            }
            Some(Reactive::WattVar(curve)) => {
                if fits {
                    return (p, within(p, q));
                }
                let (p_on, q_on) = on_circle(curve, p.signum());
                let q_kept = q_on.abs().min(q.abs()).copysign(q);
                (p_on.abs().min(p.abs()).copysign(p), within(p, q_kept))
            }
        }
    }
}

/// How far below a limit rounding may carry a power that stands on it, per unit.
const NEAR_PU: f64 = 1e-9;

/// The active power beside a reactive one on the circle of the rating.
fn beside(q: f64) -> f64 {
    (1.0 - q * q).max(0.0).sqrt()
}

/// Halvings of an interval of one: its rest is below the resolution of the numbers.
const HALVINGS: u32 = 52;

/// Where a curve of reactive over active power meets the circle of the rating, on one side.
fn on_circle(curve: &Curve, side: f64) -> (f64, f64) {
    let (mut inside, mut outside) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(inside, outside);
        if middle.hypot(curve.value(side * middle)) < 1.0 {
            inside = middle;
        } else {
            outside = middle;
        }
    }
    (side * inside, curve.value(side * inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: Capability = Capability {
        inject_pu: 0.44,
        absorb_pu: 0.44,
        p_full_pu: 0.2,
        p_least_pu: 0.05,
        current_pu: 1.2,
        inverter_s: 0.02,
    };

    fn check(law: &Reactive, rows: &[(f64, f64, f64)]) {
        for &(wanted, p, q) in rows {
            let (found_p, found_q) = B.share(Some(law), wanted, law.q(1.0, wanted), false);
            assert!(
                (found_p - p).abs() < 5e-5,
                "{law:?} at {wanted}: P {found_p}"
            );
            assert!(
                (found_q - q).abs() < 5e-5,
                "{law:?} at {wanted}: Q {found_q}"
            );
        }
    }

    #[test]
    fn watt_var_stays_on_its_curve_up_to_the_rating() {
        let curve = vec![(0.2, 0.0), (0.5, 0.0), (1.0, -0.44)];
        check(
            &Reactive::WattVar(Curve::new(curve).expect("a curve")),
            &[
                (0.2, 0.2, 0.0),
                (0.6, 0.6, -0.0880),
                (0.75, 0.75, -0.2200),
                (0.9, 0.9, -0.3520),
                (1.0, 0.9268, -0.3756),
            ],
        );
    }

    #[test]
    fn a_power_factor_is_kept_by_giving_up_both_powers() {
        check(
            &Reactive::power_factor(0.9, true).expect("a power factor"),
            &[
                (0.03, 0.03, 0.0),
                (0.1, 0.1, -0.0484),
                (0.5, 0.5, -0.2422),
                (1.0, 0.9, -0.4359),
            ],
        );
    }

    #[test]
    fn constant_reactive_power_goes_before_active_power_and_fades_at_low_power() {
        check(
            &Reactive::Constant(0.44),
            &[
                (0.03, 0.03, 0.0),
                (0.05, 0.05, 0.11),
                (0.1, 0.1, 0.22),
                (0.2, 0.2, 0.44),
                (1.0, 0.8980, 0.44),
            ],
        );
    }

    #[test]
    fn a_power_factor_beyond_the_capability_keeps_the_capability() {
        let law = Reactive::power_factor(0.8, false).expect("a power factor");
        // As OpenDER 2.2.0 has it: the power factor gives way, not the active power.
        check(
            &law,
            &[(1.0, 0.8980, 0.44), (0.85, 0.85, 0.44), (0.7, 0.7, 0.44)],
        );
    }

    #[test]
    fn a_storage_gives_reactive_power_at_any_active_power() {
        let law = Reactive::Constant(-0.44);
        assert_eq!(B.share(Some(&law), 0.0, -0.44, true), (0.0, -0.44));
        let (p, q) = B.share(Some(&law), -1.0, -0.44, true);
        assert!((p + 0.8980).abs() < 5e-5 && q == -0.44, "{p} {q}");
        assert_eq!(B.share(None, 0.5, 0.1, true), (0.5, 0.1));
    }
}
