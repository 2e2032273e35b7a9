//! What is seen of the units that can form an island.

use model::{DeviceIx, DeviceSpec, Forming, Link, Role};
use quantities::{ActivePower, Quantity, StateOfCharge};

use crate::functions::Situation;
use crate::mode::limits;

/// What a set gives when it is known to be on load, as a share of its rating.
/// Chosen: 2 %, above the error of a class 1 meter at a tenth of its current.
pub(super) const SEEN_GIVING: f64 = 0.02;
/// Power that the old formers may still carry when they are opened, as a share of their rating.
const LET_GO: f64 = limits::QUIET_SHARE;
/// Share of the island's power that a new storage must be seen to carry; below as much of its own
/// rating there is nothing to share. Chosen: 10 %, far above what meters err, far below an even split.
const SHARES: f64 = 0.1;
/// Charge above the lower limit at which a former's part is handed over by itself.
/// Chosen: twice what is kept for essential loads, so that no load is shed before.
const RUNS_LOW: f64 = 2.0 * limits::RESERVE_SOC;

/// Units that can form an island.
pub(super) fn formers(s: &Situation<'_>) -> impl Iterator<Item = DeviceIx> {
    let devices = s.bench.devices.iter().enumerate();
    devices
        .filter(|(_, spec)| is_former(spec))
        .filter_map(|(index, _)| Some(DeviceIx(u16::try_from(index).ok()?)))
}

pub(super) fn is_former(spec: &DeviceSpec) -> bool {
    matches!(spec.role, Role::Ess | Role::Genset) && spec.forming != Forming::Follows
}

/// Whether a unit is connected. One that cannot tell is, as long as it answers: it has no switch.
pub(super) fn is_on(s: &Situation<'_>, device: DeviceIx) -> Option<bool> {
    let (spec, own) = (s.spec(device), &s.image.devices[device.index()]);
    if own.link == Link::Offline {
        return None;
    }
    match own.switch_on.last_good {
        Some(_) => own.switch_on.fresh(s.now, spec.sample_age_max),
        None if spec.takes_switch => None,
        None => Some(true),
    }
}

pub(super) fn power(s: &Situation<'_>, device: DeviceIx) -> Option<ActivePower> {
    let own = &s.image.devices[device.index()];
    own.p.fresh(s.now, s.spec(device).sample_age_max)
}

pub(super) fn rated(s: &Situation<'_>, device: DeviceIx) -> ActivePower {
    s.spec(device).rating.p.upper()
}

/// The charge behind a storage.
pub(super) fn charge(s: &Situation<'_>, device: DeviceIx) -> Option<StateOfCharge> {
    let of = |device: DeviceIx| {
        let own = &s.image.devices[device.index()];
        own.soc.fresh(s.now, s.spec(device).sample_age_max)
    };
    s.spec(device).battery.and_then(of).or_else(|| of(device))
}

/// Why a former will not carry the island for much longer.
pub(super) fn ends_soon(s: &Situation<'_>, former: DeviceIx) -> Option<String> {
    let spec = s.spec(former);
    if s.image.devices[former.index()].link == Link::Offline {
        return Some(format!("{} does not answer any more", spec.id));
    }
    let soc = charge(s, former).filter(|_| spec.role == Role::Ess)?;
    let low = spec.rating.soc.lower().as_fraction() + RUNS_LOW;
    let discharges = power(s, former).is_some_and(|p| p > ActivePower::ZERO);
    (discharges && soc.as_fraction() <= low).then(|| {
        format!(
            "{} runs low: state of charge {:.0} %, {:.0} % or less",
            spec.id,
            soc.as_percent(),
            low * 100.0
        )
    })
}

pub(super) fn is_settled(s: &Situation<'_>) -> bool {
    let nominal = s.bench.settings.nominal_f;
    s.seen
        .f
        .is_some_and(|f| (f / nominal - 1.0).abs() <= limits::SETTLED_F_PU)
}

/// Whether the new former is seen to carry the island, or its share of it.
pub(super) fn carries(s: &Situation<'_>, to: DeviceIx, others: &[DeviceIx]) -> bool {
    let old: Option<ActivePower> = others.iter().map(|device| power(s, *device)).sum();
    let (Some(new), Some(old)) = (power(s, to), old) else {
        return false;
    };
    if s.spec(to).role == Role::Genset {
        let rating: ActivePower = others.iter().map(|device| rated(s, *device)).sum();
        return new >= rated(s, to) * SEEN_GIVING && old.abs() <= rating * LET_GO;
    }
    let all = old + new;
    all.abs() <= rated(s, to) * SHARES
        || new.abs() >= all.abs() * SHARES && new.as_watts() * all.as_watts() > 0.0
}
