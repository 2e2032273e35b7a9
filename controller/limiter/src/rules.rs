//! The rules, in the order in which they are applied. Read line by line.

use std::fmt;

use model::{
    Characteristic, DeviceIx, DeviceSpec, Instant, Link, NotACharacteristic, ProcessImage, Role,
    Setpoint, SourceRating,
};
use quantities::{ActivePower, Frequency, PhaseAngle, Quantity, ReactivePower, Voltage};

use crate::{Approved, capability};

/// What the limiter changed about a wish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clamp {
    /// The rig's limit of the device.
    Rating {
        /// What was wished for.
        wished: ActivePower,
    },
    /// State of charge or battery current limits.
    Battery {
        /// What was wished for.
        wished: ActivePower,
    },
    /// Rate of change.
    Ramp {
        /// What was wished for.
        wished: ActivePower,
    },
    /// Apparent power: active power has priority.
    Apparent {
        /// What was wished for.
        wished: ReactivePower,
    },
    /// The rig's limit of a source's frequency.
    Frequency {
        /// What was wished for.
        wished: Frequency,
    },
    /// The rig's limit of a source's voltage.
    Voltage {
        /// What was wished for.
        wished: Voltage,
    },
    /// Rate of change of a source's frequency.
    Rocof {
        /// What was wished for.
        wished: Frequency,
    },
    /// Rate of change of a source's voltage.
    Slew {
        /// What was wished for.
        wished: Voltage,
    },
}

impl fmt::Display for Clamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rating { wished } => write!(f, "rating, wished {wished:.1}"),
            Self::Battery { wished } => write!(f, "battery, wished {wished:.1}"),
            Self::Ramp { wished } => write!(f, "ramp, wished {wished:.1}"),
            Self::Apparent { wished } => write!(f, "apparent power, wished {wished:.1}"),
            Self::Frequency { wished } => write!(f, "frequency limit, wished {wished:.3}"),
            Self::Voltage { wished } => write!(f, "voltage limit, wished {wished:.1}"),
            Self::Rocof { wished } => write!(f, "rate of frequency, wished {wished:.3}"),
            Self::Slew { wished } => write!(f, "rate of voltage, wished {wished:.1}"),
        }
    }
}

/// Why a wish was refused altogether.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The rig has no such device.
    #[error("there is no such device")]
    NoSuchDevice,
    /// The wish is not a number.
    #[error("the setpoint is not a finite number")]
    NotANumber,
    /// The profile cannot take this kind of setpoint.
    #[error("its profile cannot take this kind of setpoint")]
    NotDispatchable,
    /// The device does not answer.
    #[error("it is offline")]
    Offline,
    /// No device could follow such a characteristic.
    #[error("it is no characteristic: {0}")]
    NotACharacteristic(NotACharacteristic),
    /// Closing onto a utility that is not seen to be healthy.
    #[error("the utility side of the breaker is not known to be healthy")]
    GridNotHealthy,
}

/// An approved setpoint and what was changed on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What may be written.
    pub approved: Approved<Setpoint>,
    /// What the limiter changed, in the order of the rules.
    pub clamps: Vec<Clamp>,
}

/// Lowest voltage of a utility worth closing onto, per unit.
/// IEEE 1547-2018 default enter-service window as given by secondary sources; the site's agreement wins.
const GRID_V_MIN_PU: f64 = 0.917;
/// Highest voltage of a utility worth closing onto, per unit. Source as above.
const GRID_V_MAX_PU: f64 = 1.05;

/// Frequency, voltage, phase and output that are wished of a source.
type SourceWish = (
    Option<Frequency>,
    Option<Voltage>,
    Option<PhaseAngle>,
    Option<bool>,
);

/// What a source was last approved to be, and when; `None` was never asked for.
#[derive(Clone, Copy, Debug, Default)]
struct SourceMemory {
    f: Option<(Instant, Frequency)>,
    v: Option<(Instant, Voltage)>,
}

/// The limiter of a bench: hard limits and the memory that ramps need.
#[derive(Clone, Debug)]
pub struct Limiter {
    specs: Vec<DeviceSpec>,
    nominal_v: Voltage,
    ramps: Vec<Option<(Instant, ActivePower)>>,
    /// The memory of each source that was ever set.
    sources: Vec<Option<SourceMemory>>,
}

impl Limiter {
    /// A limiter for the devices of a rig; `nominal_v` is line to neutral.
    #[must_use]
    pub fn new(specs: Vec<DeviceSpec>, nominal_v: Voltage) -> Self {
        let ramps = vec![None; specs.len()];
        let sources = vec![None; specs.len()];
        Self {
            specs,
            nominal_v,
            ramps,
            sources,
        }
    }

    /// What a device can do now; `None` for a device that is not in the rig.
    #[must_use]
    pub fn capability(
        &self,
        now: Instant,
        device: DeviceIx,
        image: &ProcessImage,
    ) -> Option<quantities::Bounds<ActivePower>> {
        let spec = self.specs.get(device.index())?;
        let own = image.devices.get(device.index())?;
        let battery = spec.battery.and_then(|b| image.devices.get(b.index()));
        Some(capability(now, spec, own, battery))
    }

    /// Clamps a wish to what the device and its limits permit, or refuses it.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn approve(
        &mut self,
        now: Instant,
        device: DeviceIx,
        wish: Setpoint,
        image: &ProcessImage,
    ) -> Result<Verdict, Refusal> {
        let spec = self
            .specs
            .get(device.index())
            .ok_or(Refusal::NoSuchDevice)?;
        let own = image
            .devices
            .get(device.index())
            .ok_or(Refusal::NoSuchDevice)?;
        if own.link == Link::Offline {
            return Err(Refusal::Offline);
        }
        match wish {
            Setpoint::Power { p, q } if p.is_finite() && q.is_finite() => {
                if !spec.takes_power {
                    return Err(Refusal::NotDispatchable);
                }
                self.approve_power(now, device, p, q, image)
            }
            Setpoint::Ceiling { p } if p.is_finite() => {
                if !spec.takes_ceiling {
                    return Err(Refusal::NotDispatchable);
                }
                let p_max = Quantity::max(spec.rating.p.upper(), ActivePower::ZERO);
                let limited = quantities::Bounds::between(ActivePower::ZERO, p_max).clamp(p);
                Ok(Verdict {
                    approved: Approved::new(Setpoint::Ceiling { p: limited }),
                    clamps: (limited != p)
                        .then_some(Clamp::Rating { wished: p })
                        .into_iter()
                        .collect(),
                })
            }
            Setpoint::Switch { on } => {
                if !spec.takes_switch {
                    return Err(Refusal::NotDispatchable);
                }
                if spec.role == Role::Breaker && on && !self.grid_is_healthy(now, spec, own) {
                    return Err(Refusal::GridNotHealthy);
                }
                Ok(Verdict {
                    approved: Approved::new(wish),
                    clamps: Vec::new(),
                })
            }
            Setpoint::Source { f, v, phase, on } => {
                let Some(rating) = spec.rating.source else {
                    return Err(Refusal::NotDispatchable);
                };
                let finite = f.is_none_or(Quantity::is_finite)
                    && v.is_none_or(Quantity::is_finite)
                    && phase.is_none_or(Quantity::is_finite);
                if !finite {
                    return Err(Refusal::NotANumber);
                }
                // Where it was never set from here, it moves from where it is.
                let since = now - RAMP_STEP_MIN;
                let measured = SourceMemory {
                    f: own.f.last_good.map(|(_, f)| (since, f)),
                    v: own.v.last_good.map(|(_, v)| (since, v)),
                };
                Ok(self.approve_source(now, device, &rating, (f, v, phase, on), measured))
            }
            Setpoint::Power { .. } | Setpoint::Ceiling { .. } => Err(Refusal::NotANumber),
        }
    }

    /// Lets a characteristic through that a device may follow by itself, or refuses it.
    ///
    /// Its numbers are shares of the device's own largest values, so that it can never ask for more
    /// than the device has. Only inverters follow one.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn approve_characteristic(
        &self,
        device: DeviceIx,
        wish: Characteristic,
        image: &ProcessImage,
    ) -> Result<Approved<Characteristic>, Refusal> {
        let spec = self
            .specs
            .get(device.index())
            .ok_or(Refusal::NoSuchDevice)?;
        let own = image
            .devices
            .get(device.index())
            .ok_or(Refusal::NoSuchDevice)?;
        // A device that takes no setpoint is one that nobody may write to.
        let may_be_written = spec.takes_power || spec.takes_ceiling;
        if !(matches!(spec.role, Role::Pv | Role::Ess) && may_be_written) {
            return Err(Refusal::NotDispatchable);
        }
        if own.link == Link::Offline {
            return Err(Refusal::Offline);
        }
        wish.check().map_err(Refusal::NotACharacteristic)?;
        Ok(Approved::new(wish))
    }

    /// Rest: what the device's profile says is safe. A storage is brought to its safe power
    /// without a ramp, a ceiling is set to its safe value, a switched load to its safe position.
    /// A breaker is left alone: opening it would make an island that nobody looks after. A source
    /// that was set goes back to nominal, and its output stays as it is for the same reason.
    ///
    /// It needs no image: a device may always be brought to rest, also when nothing is known of it
    /// any more. `None` for a device that has nothing to be brought to.
    pub fn rest(&mut self, now: Instant, device: DeviceIx) -> Option<Approved<Setpoint>> {
        let spec = self.specs.get(device.index())?;
        let p = spec.rating.p.clamp(spec.safe_p);
        if let Some(rating) = spec.rating.source {
            // One that was never set from here may stand at a voltage of somebody else's choice:
            // nominal voltage would then be no rest at all. Its output is left as it is, as a
            // breaker is.
            self.sources[device.index()]?;
            let (f, v) = rating.nominal;
            let (f, v) = (rating.f.clamp(f), rating.v.clamp(v));
            self.sources[device.index()] = Some(SourceMemory {
                f: Some((now, f)),
                v: Some((now, v)),
            });
            return Some(Approved::new(Setpoint::Source {
                f: Some(f),
                v: Some(v),
                phase: None,
                on: None,
            }));
        }
        if spec.takes_power {
            self.ramps[device.index()] = Some((now, p));
            Some(Approved::new(Setpoint::Power {
                p,
                q: ReactivePower::ZERO,
            }))
        } else if spec.takes_ceiling {
            Some(Approved::new(Setpoint::Ceiling {
                p: Quantity::max(p, ActivePower::ZERO),
            }))
        } else if spec.takes_switch && spec.role == Role::Load {
            spec.safe_on
                .map(|on| Approved::new(Setpoint::Switch { on }))
        } else {
            None
        }
    }

    /// A source: frequency and voltage inside the rig's limits, neither faster than it may
    /// move. Switching the output is a person's decision and has no limit of its own.
    fn approve_source(
        &mut self,
        now: Instant,
        device: DeviceIx,
        rating: &SourceRating,
        (f, v, phase, on): SourceWish,
        measured: SourceMemory,
    ) -> Verdict {
        let mut clamps = Vec::new();
        let last = self.sources[device.index()].unwrap_or_default();
        let f = f.map(|wished| {
            let rated = rating.f.clamp(wished);
            if rated != wished {
                clamps.push(Clamp::Frequency { wished });
            }
            let from = last.f.or(measured.f);
            let moved = match (rating.rocof, from) {
                (Some(rate), Some((at, f))) => towards(rated, f, rate * source_time(now, at)),
                _ => rated,
            };
            if moved != rated {
                clamps.push(Clamp::Rocof { wished: rated });
            }
            rating.f.clamp(moved)
        });
        let v = v.map(|wished| {
            let rated = rating.v.clamp(wished);
            if rated != wished {
                clamps.push(Clamp::Voltage { wished });
            }
            let from = last.v.or(measured.v);
            let moved = match (rating.slew, from) {
                (Some(rate), Some((at, v))) => towards(rated, v, rate * source_time(now, at)),
                _ => rated,
            };
            if moved != rated {
                clamps.push(Clamp::Slew { wished: rated });
            }
            rating.v.clamp(moved)
        });
        self.sources[device.index()] = Some(SourceMemory {
            f: f.map(|f| (now, f)).or(last.f),
            v: v.map(|v| (now, v)).or(last.v),
        });
        Verdict {
            approved: Approved::new(Setpoint::Source { f, v, phase, on }),
            clamps,
        }
    }

    fn approve_power(
        &mut self,
        now: Instant,
        device: DeviceIx,
        p: ActivePower,
        q: ReactivePower,
        image: &ProcessImage,
    ) -> Result<Verdict, Refusal> {
        let spec = &self.specs[device.index()];
        let own = &image.devices[device.index()];
        let battery = spec.battery.and_then(|b| image.devices.get(b.index()));
        let mut clamps = Vec::new();

        let rated = spec.rating.p.clamp(p);
        if rated != p {
            clamps.push(Clamp::Rating { wished: p });
        }
        // The ramp first, the battery last: a battery that must not be discharged
        // is stopped at once, however steep that is.
        let ramped = self.ramp(now, device, rated, own);
        if ramped != rated {
            clamps.push(Clamp::Ramp { wished: rated });
        }
        let able = capability(now, spec, own, battery).clamp(ramped);
        if able != ramped {
            clamps.push(Clamp::Battery { wished: ramped });
        }
        let room = spec.rating.s_max.as_volt_amperes().powi(2) - able.as_watts().powi(2);
        let q_max = ReactivePower::from_vars(room.max(0.0).sqrt());
        let turned = quantities::Bounds::between(-q_max, q_max).clamp(q);
        if turned != q {
            clamps.push(Clamp::Apparent { wished: q });
        }
        self.ramps[device.index()] = Some((now, able));
        Ok(Verdict {
            approved: Approved::new(Setpoint::Power { p: able, q: turned }),
            clamps,
        })
    }

    /// The value nearest to `p` that the ramp permits, from the last approved setpoint or,
    /// before there is one, from the measured power.
    fn ramp(
        &self,
        now: Instant,
        device: DeviceIx,
        p: ActivePower,
        own: &model::DeviceImage,
    ) -> ActivePower {
        let spec = &self.specs[device.index()];
        let from = self.ramps[device.index()]
            .or_else(|| own.p.last_good.map(|(_, measured)| (now, measured)));
        let Some((at, last)) = from else {
            return p;
        };
        // A setpoint may always move by what one period of the slowest supported cycle allows,
        // so that the first step after a long hold is not a jump of unlimited size.
        let time = now.since(at).clamp(RAMP_STEP_MIN, RAMP_STEP_MAX);
        towards(p, last, spec.rating.ramp * time)
    }

    fn grid_is_healthy(&self, now: Instant, spec: &DeviceSpec, own: &model::DeviceImage) -> bool {
        let age_max = spec.sample_age_max;
        let v = own.grid_v.fresh(now, age_max);
        let f = own.grid_f.fresh(now, age_max);
        match (v, f) {
            (Some(v), Some(f)) => {
                let v_pu = v / self.nominal_v;
                (GRID_V_MIN_PU..=GRID_V_MAX_PU).contains(&v_pu) && f.is_finite()
            }
            _ => false,
        }
    }
}

/// The value nearest to a wish that is no further than a step from the last one.
fn towards<Q: Quantity>(wished: Q, last: Q, step: Q) -> Q {
    let (last, step) = (last.base(), step.base().abs());
    quantities::Bounds::between(Q::from_base(last - step), Q::from_base(last + step)).clamp(wished)
}

/// The time that a source is credited with since it was last set.
fn source_time(now: Instant, at: Instant) -> std::time::Duration {
    now.since(at).min(SOURCE_STEP_MAX)
}

/// Longest time credited to a source, whose rates are what a test is about: after an hour of rest
/// it must not jump.
/// Chosen: 100 ms, the usual cycle; in a slower one it moves more slowly than it may, never faster.
const SOURCE_STEP_MAX: std::time::Duration = std::time::Duration::from_millis(100);

/// Shortest time credited to a ramp: the fast path may run every few milliseconds.
/// Chosen: 10 ms, the fastest cycle that a bench is offered.
const RAMP_STEP_MIN: std::time::Duration = std::time::Duration::from_millis(10);
/// Longest time credited to a ramp after a hold.
/// Chosen: 1 s, so that a setpoint after an hour of rest still moves by one second's ramp.
const RAMP_STEP_MAX: std::time::Duration = std::time::Duration::from_secs(1);

#[cfg(test)]
mod tests;
