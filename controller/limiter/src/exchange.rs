//! The limit of the exchange with the utility: what may be asked of a device without breaking it.
//!
//! It narrows wishes and never makes one: where loads alone import more than they may, a storage that
//! wishes nothing stays at rest. That the exchange is held is a matter of control.

use model::{DeviceImage, DeviceIx, DeviceSpec, Instant, ProcessImage, Role};
use quantities::{ActivePower, Bounds, Quantity};

/// What each device was last approved for, and when.
pub(crate) type Asked = [Option<(Instant, ActivePower)>];

/// What a device may be asked for under a limit of the exchange, and what is exchanged now.
///
/// The exchange after the wish is the measured one less what this device and all others have still
/// to move to where they were asked to go. Others may follow or not: of both the worse counts. An
/// exchange that is not known leaves rest only; rest is always left.
pub(crate) fn allowed(
    now: Instant,
    limit: Bounds<ActivePower>,
    device: DeviceIx,
    specs: &[DeviceSpec],
    asked: &Asked,
    image: &ProcessImage,
) -> (Bounds<ActivePower>, Option<ActivePower>) {
    let zero = ActivePower::ZERO;
    if is_open(now, specs, image) {
        return (Bounds::unbounded(), None);
    }
    let seen = of_role(Role::Pcc, specs, image, |(spec, own)| {
        fresh_p(now, spec, own)
    });
    let own = fresh_p(now, &specs[device.index()], &image.devices[device.index()]);
    let (Some(exchange), Some((measured_at, measured))) = (seen, own) else {
        return (Bounds::exactly(zero), seen.map(|(_, p)| p));
    };
    let (exchanged_at, exchanged) = exchange;
    // What others were asked for and do not give yet comes, or does not.
    let mut pending = (zero, zero);
    for (index, memory) in asked.iter().enumerate() {
        let Some((_, wanted)) = memory.filter(|_| index != device.index()) else {
            continue;
        };
        match fresh_p(now, &specs[index], &image.devices[index]) {
            Some((_, p)) => {
                pending.0 += Quantity::min(wanted - p, zero);
                pending.1 += Quantity::max(wanted - p, zero);
            }
            // It may stand anywhere between rest and what it was asked for.
            None => {
                pending.0 += -wanted.abs();
                pending.1 += wanted.abs();
            }
        }
    }
    // Between two measurements the device may have moved, but no further than to what was asked.
    let apart = if exchanged_at > measured_at {
        exchanged_at.since(measured_at)
    } else {
        measured_at.since(exchanged_at)
    };
    let still = asked[device.index()].map_or(zero, |(_, wanted)| (wanted - measured).abs());
    let moved = Quantity::min(specs[device.index()].rating.ramp * apart, still);
    let import_most = exchanged - pending.0 + moved;
    let export_most = exchanged - pending.1 - moved;
    let lower = measured + import_most - limit.upper();
    let upper = measured + export_most - limit.lower();
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
