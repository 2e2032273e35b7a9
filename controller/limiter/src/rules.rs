//! The rules, in the order in which they are applied. Read line by line.

use model::{
    Characteristic, DeviceIx, DeviceSpec, Forming, Instant, Link, ProcessImage, Role, Setpoint,
};
use quantities::{ActivePower, Bounds, Quantity, ReactivePower};

use crate::capability::{by_charge, by_temperature, capability, temperature};
use crate::interlock::{Bus, Sight};
use crate::ramp::towards;
use crate::source::{SourceMemory, is_finite};
use crate::{Approved, Clamp, Fences, Refusal, Verdict, exchange};

/// The limiter of a bench: hard limits and the memory that ramps need.
#[derive(Clone, Debug)]
pub struct Limiter {
    specs: Vec<DeviceSpec>,
    fences: Fences,
    /// What each device was last approved for, and when.
    ramps: Vec<Option<(Instant, ActivePower)>>,
    /// What each device was approved for lately, which the limit of the exchange needs.
    past: Vec<exchange::Past>,
    /// The memory of each source that was ever set.
    sources: Vec<Option<SourceMemory>>,
}

impl Limiter {
    /// A limiter for the devices of a rig.
    #[must_use]
    pub fn new(specs: Vec<DeviceSpec>, fences: Fences) -> Self {
        let ramps = vec![None; specs.len()];
        let past = vec![exchange::Past::default(); specs.len()];
        let sources = vec![None; specs.len()];
        Self {
            specs,
            fences,
            ramps,
            past,
            sources,
        }
    }

    /// Gives a device of a test another rating.
    #[cfg(test)]
    pub(crate) fn widen(&mut self, device: DeviceIx, p: ActivePower) {
        self.specs[device.index()].rating.p = Bounds::between(-p, p);
        self.specs[device.index()].rating.s_max =
            quantities::ApparentPower::from_volt_amperes(p.as_watts());
    }

    /// What a device can do now; `None` for a device that is not in the rig.
    #[must_use]
    pub fn capability(
        &self,
        now: Instant,
        device: DeviceIx,
        image: &ProcessImage,
    ) -> Option<Bounds<ActivePower>> {
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
        if self.fences.exchange.is_some() {
            for (past, own) in self.past.iter_mut().zip(&image.devices) {
                past.see(now, own);
            }
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
                Ok(self.approve_ceiling(now, device, p, image))
            }
            Setpoint::Switch { on } => {
                if !spec.takes_switch {
                    return Err(Refusal::NotDispatchable);
                }
                if on {
                    self.sight(now, image).may_close(device)?;
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
                let wish = (f, v, phase, on);
                if !is_finite(&wish) {
                    return Err(Refusal::NotANumber);
                }
                let memory = self.sources[device.index()].get_or_insert_default();
                Ok(memory.approve(now, &rating, wish, own))
            }
            Setpoint::Power { .. } | Setpoint::Ceiling { .. } => Err(Refusal::NotANumber),
        }
    }

    /// As [`approve`](Self::approve), for a wish that stops a device: a storage that shall give nothing
    /// does so at once, however steep that is. Anything else takes the usual way.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn stop(
        &mut self,
        now: Instant,
        device: DeviceIx,
        wish: Setpoint,
        image: &ProcessImage,
    ) -> Result<Verdict, Refusal> {
        let nothing = Setpoint::Power {
            p: ActivePower::ZERO,
            q: ReactivePower::ZERO,
        };
        if wish == nothing {
            let spec = self.specs.get(device.index());
            let ramp = self.ramps.get_mut(device.index());
            if let (Some(spec), Some(ramp)) = (spec, ramp) {
                *ramp = Some((now, spec.rating.p.clamp(ActivePower::ZERO)));
            }
        }
        self.approve(now, device, wish, image)
    }

    /// What was approved last did not reach the device, or is long ago: its next setpoint moves from
    /// where the device is measured to be. A source still counts as one that was set.
    pub fn forget(&mut self, device: DeviceIx) {
        if let Some(ramp) = self.ramps.get_mut(device.index()) {
            *ramp = None;
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
            self.sources[device.index()] = Some(SourceMemory::set(now, f, v));
            return Some(Approved::new(Setpoint::Source {
                f: Some(f),
                v: Some(v),
                phase: None,
                on: None,
            }));
        }
        if spec.takes_power {
            self.ramps[device.index()] = Some((now, p));
            self.past[device.index()].ask(p);
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

    /// The ceiling of an inverter that follows the sun: inside its rating, and no further up than the
    /// exchange bears, as if the sun gave all of it at once.
    fn approve_ceiling(
        &self,
        now: Instant,
        device: DeviceIx,
        p: ActivePower,
        image: &ProcessImage,
    ) -> Verdict {
        let spec = &self.specs[device.index()];
        let mut clamps = Vec::new();
        let p_max = Quantity::max(spec.rating.p.upper(), ActivePower::ZERO);
        let rated = Bounds::between(ActivePower::ZERO, p_max).clamp(p);
        if rated != p {
            clamps.push(Clamp::Rating { wished: p });
        }
        let limited = self.by_exchange(now, device, rated, image, &mut clamps);
        Verdict {
            approved: Approved::new(Setpoint::Ceiling { p: limited }),
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
        // The ramp first, what protects after it: a battery that must not be discharged
        // is stopped at once, however steep that is.
        let ramped = self.ramp(now, device, rated, own);
        if ramped != rated {
            clamps.push(Clamp::Ramp { wished: rated });
        }
        let charged = by_charge(now, spec, own, battery).clamp(ramped);
        if charged != ramped {
            clamps.push(Clamp::Battery { wished: ramped });
        }
        let cooled = by_temperature(now, spec, own, battery).clamp(charged);
        if cooled != charged {
            clamps.push(Clamp::Temperature {
                wished: charged,
                seen: temperature(own, battery).map(|(_, t)| t),
            });
        }
        let exchanged = self.by_exchange(now, device, cooled, image, &mut clamps);
        let able = self.by_former(now, device, exchanged, image, &mut clamps);
        let room = spec.rating.s_max.as_volt_amperes().powi(2) - able.as_watts().powi(2);
        let q_max = ReactivePower::from_vars(room.max(0.0).sqrt());
        let turned = Bounds::between(-q_max, q_max).clamp(q);
        if turned != q {
            clamps.push(Clamp::Apparent { wished: q });
        }
        self.ramps[device.index()] = Some((now, able));
        self.past[device.index()].ask(able);
        Ok(Verdict {
            approved: Approved::new(Setpoint::Power { p: able, q: turned }),
            clamps,
        })
    }

    /// What the limit of the exchange leaves of a wish. Loads are not held back: what they take is
    /// decided by whoever switches them.
    fn by_exchange(
        &self,
        now: Instant,
        device: DeviceIx,
        p: ActivePower,
        image: &ProcessImage,
        clamps: &mut Vec<Clamp>,
    ) -> ActivePower {
        let gives = matches!(self.specs[device.index()].role, Role::Ess | Role::Pv);
        let Some(limit) = self.fences.exchange.filter(|_| gives) else {
            return p;
        };
        let (allowed, seen) = exchange::allowed(now, limit, device, &self.specs, &self.past, image);
        let left = allowed.clamp(p);
        if left != p {
            clamps.push(Clamp::Exchange { wished: p, seen });
        }
        left
    }

    /// A unit that only follows is at rest while the breaker is open and nobody is seen to form the
    /// bus; one that can form is at rest on a bus that is seen dead.
    fn by_former(
        &self,
        now: Instant,
        device: DeviceIx,
        p: ActivePower,
        image: &ProcessImage,
        clamps: &mut Vec<Clamp>,
    ) -> ActivePower {
        let spec = &self.specs[device.index()];
        if p == ActivePower::ZERO || spec.role != Role::Ess {
            return p;
        }
        let sight = self.sight(now, image);
        let formed = match (sight.bus(), spec.forming) {
            (Bus::Alive(_), _) => true,
            (Bus::Dead, _) => sight.breaker_open() != Some(true),
            (_, Forming::Follows) => sight.breaker_open() != Some(true),
            _ => true,
        };
        if formed {
            return p;
        }
        clamps.push(Clamp::NoFormer { wished: p });
        ActivePower::ZERO
    }

    /// The value nearest to `p` that the ramp permits, from the last approved setpoint or, before there
    /// is one, from the measured power. A device whose power is not known begins at its safe power.
    ///
    /// The time since the last approval counts as it is, however short: the fast path may run every
    /// few milliseconds, and what it gets in each of them must not add up to more than the ramp. It
    /// counts for one period at most: after a hold a setpoint does not jump.
    fn ramp(
        &self,
        now: Instant,
        device: DeviceIx,
        p: ActivePower,
        own: &model::DeviceImage,
    ) -> ActivePower {
        let spec = &self.specs[device.index()];
        let measured = own
            .p
            .last_good
            .filter(|(at, _)| now.since(*at) <= spec.sample_age_max);
        let period = self.fences.period;
        let (time, last) = match self.ramps[device.index()].or(measured) {
            Some((at, last)) => (now.since(at).min(period), last),
            None => (period, spec.safe_p),
        };
        towards(p, last, spec.rating.ramp * time)
    }

    fn sight<'a>(&'a self, now: Instant, image: &'a ProcessImage) -> Sight<'a> {
        Sight {
            now,
            fences: &self.fences,
            specs: &self.specs,
            image,
        }
    }
}

#[cfg(test)]
mod tests;
