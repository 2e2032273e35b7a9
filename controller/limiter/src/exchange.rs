//! The limit of the exchange with the utility: what may be asked of a device without breaking it.
//!
//! It narrows wishes and never makes one: where loads alone import more than they may, a storage that
//! wishes nothing stays at rest. That the exchange is held is a matter of control.

use std::collections::VecDeque;
use std::time::Duration;

use model::{DeviceImage, DeviceIx, DeviceSpec, Instant, ProcessImage, Role};
use quantities::{ActivePower, Bounds, Quantity};

/// How long measured powers are remembered.
/// Chosen: 10 s, three polls of the slowest meter that a coupling is measured with.
const REMEMBERED: Duration = Duration::from_secs(10);

/// What a device gave lately, and what it was approved for last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    given: VecDeque<(Instant, ActivePower)>,
    asked: Option<ActivePower>,
}

impl Past {
    /// Takes in what is measured.
    pub(crate) fn see(&mut self, now: Instant, own: &DeviceImage) {
        let newest = self.given.back().map(|(at, _)| *at);
        let newer = own.p.last_good.filter(|(at, _)| Some(*at) > newest);
        self.given.extend(newer);
        while self
            .given
            .get(1)
            .is_some_and(|(at, _)| now.since(*at) > REMEMBERED)
        {
            self.given.pop_front();
        }
    }

    /// Takes in what is approved.
    pub(crate) fn ask(&mut self, p: ActivePower) {
        self.asked = Some(p);
    }

    /// Between which powers the device was at a time: between its measurements before and after it, or
    /// between the last one and where it was asked to go.
    fn at(&self, time: Instant) -> Option<(ActivePower, ActivePower)> {
        let before = self.given.iter().rev().find(|(at, _)| *at <= time);
        let after = self.given.iter().find(|(at, _)| *at > time);
        let (one, other) = match (before, after) {
            (Some((at, exactly)), _) if *at == time => (*exactly, *exactly),
            (Some((_, one)), Some((_, other))) => (*one, *other),
            (Some((_, one)), None) => (*one, self.asked.unwrap_or(*one)),
            (None, Some((_, only))) => (*only, *only),
            (None, None) => return None,
        };
        Some((Quantity::min(one, other), Quantity::max(one, other)))
    }
}

/// What a device may be asked for under a limit of the exchange, and what is exchanged now.
///
/// The exchange after the wish is the one that was measured, less what every device has moved since
/// and will still move. Where each of them stood when the meter was read lies between its measurements;
/// others may follow what they were asked for, or not: of all that the worst counts. An exchange that
/// is not known leaves rest only; rest is always left.
pub(crate) fn allowed(
    now: Instant,
    limit: Bounds<ActivePower>,
    device: DeviceIx,
    specs: &[DeviceSpec],
    past: &[Past],
    image: &ProcessImage,
) -> (Bounds<ActivePower>, Option<ActivePower>) {
    let zero = ActivePower::ZERO;
    if is_open(now, specs, image) {
        return (Bounds::unbounded(), None);
    }
    let seen = of_role(Role::Pcc, specs, image, |(spec, own)| {
        fresh_p(now, spec, own)
    });
    let stood = |index: usize, time| {
        fresh_p(now, &specs[index], &image.devices[index])?;
        past[index].at(time)
    };
    let own = seen.and_then(|(at, _)| stood(device.index(), at));
    let (Some((at, exchanged)), Some((low, high))) = (seen, own) else {
        return (Bounds::exactly(zero), seen.map(|(_, p)| p));
    };
    // By how much others can have moved, or move, since the meter was read: at least and at most.
    let (mut least, mut most) = (zero, zero);
    for (index, other) in past.iter().enumerate() {
        let Some(asked) = other.asked.filter(|_| index != device.index()) else {
            continue;
        };
        match (stood(index, at), other.given.back()) {
            (Some((low, high)), Some((_, gives))) => {
                least += Quantity::min(*gives, asked) - high;
                most += Quantity::max(*gives, asked) - low;
            }
            // It may stand anywhere between rest and what it was asked for.
            _ => {
                least += -asked.abs();
                most += asked.abs();
            }
        }
    }
    let lower = exchanged + high - least - limit.upper();
    let upper = exchanged + low - most - limit.lower();
    (
        Bounds::between(Quantity::min(lower, zero), Quantity::max(upper, zero)),
        Some(exchanged),
    )
}

/// Whether the coupling breaker is seen open: then nothing is exchanged.
fn is_open(now: Instant, specs: &[DeviceSpec], image: &ProcessImage) -> bool {
    let position = of_role(Role::Breaker, specs, image, |(spec, own)| {
        own.switch_on.fresh(now, spec.sample_age_max)
    });
    position == Some(false)
}

fn fresh_p(now: Instant, spec: &DeviceSpec, own: &DeviceImage) -> Option<(Instant, ActivePower)> {
    own.p
        .last_good
        .filter(|(at, _)| now.since(*at) <= spec.sample_age_max)
}

/// What the first device of a role says.
fn of_role<T>(
    role: Role,
    specs: &[DeviceSpec],
    image: &ProcessImage,
    says: impl Fn((&DeviceSpec, &DeviceImage)) -> Option<T>,
) -> Option<T> {
    specs
        .iter()
        .zip(&image.devices)
        .filter(|(spec, _)| spec.role == role)
        .find_map(says)
}
