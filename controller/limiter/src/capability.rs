//! What a device can do right now, taking the worst case of what is not known.

use std::time::Duration;

use model::{DeviceImage, DeviceSpec, Instant, Role, Signal};
use quantities::{ActivePower, Bounds, Current, Energy, Quantity, StateOfCharge, Temperature};

/// How fast a battery can have become warmer or colder since its temperature was read, in kelvin per
/// second.
/// Chosen: 1 K/min, three times what a cell that loses 5 % of its power at one capacity an hour warms
/// by when no heat leaves it (100 Wh/kg and 1 kJ/(kg K): 18 K/h).
const TEMPERATURE_DRIFT_PER_S: f64 = 1.0 / 60.0;

/// Active power that a device may be asked for now.
///
/// For a storage inverter the rating is narrowed by its battery:
/// - current limits of the battery times its voltage,
/// - no discharge at the lower, no charge at the upper end of its state of charge,
/// - nothing outside the temperatures that the rig allows,
///   each judged by the worst value that the last reading can have become since.
///
/// An unknown state of charge permits neither: unknown is never zero, and never full.
#[must_use]
pub fn capability(
    now: Instant,
    spec: &DeviceSpec,
    own: &DeviceImage,
    battery: Option<&DeviceImage>,
) -> Bounds<ActivePower> {
    let charge = by_charge(now, spec, own, battery);
    let heat = by_temperature(now, spec, own, battery);
    charge
        .intersect(heat)
        .unwrap_or(Bounds::exactly(ActivePower::ZERO))
}

/// What state of charge and current limits leave of the rating.
pub(crate) fn by_charge(
    now: Instant,
    spec: &DeviceSpec,
    own: &DeviceImage,
    battery: Option<&DeviceImage>,
) -> Bounds<ActivePower> {
    if spec.role != Role::Ess {
        return spec.rating.p;
    }
    let store = battery.unwrap_or(own);
    let mut discharge_max = Quantity::max(spec.rating.p.upper(), ActivePower::ZERO);
    let mut charge_max = Quantity::max(-spec.rating.p.lower(), ActivePower::ZERO);

    if let Some((_, volts)) = store.battery_v.last_good {
        // A battery that tells limits and has fallen silent has none any more.
        let power = |limit: &Signal<Current>| {
            let amperes = match limit.fresh(now, spec.sample_age_max) {
                Some(limit) => limit.as_amperes(),
                None => 0.0,
            };
            ActivePower::from_watts((volts.as_volts() * amperes).max(0.0))
        };
        if store.discharge_i_max.last_good.is_some() {
            discharge_max = Quantity::min(discharge_max, power(&store.discharge_i_max));
        }
        if store.charge_i_max.last_good.is_some() {
            charge_max = Quantity::min(charge_max, power(&store.charge_i_max));
        }
    }

    let charge = worst_case_soc(now, spec, own, battery);
    match charge {
        None => {
            discharge_max = ActivePower::ZERO;
            charge_max = ActivePower::ZERO;
        }
        Some(possible) => {
            if possible.lower() <= spec.rating.soc.lower() {
                discharge_max = ActivePower::ZERO;
            }
            if possible.upper() >= spec.rating.soc.upper() {
                charge_max = ActivePower::ZERO;
            }
        }
    }
    Bounds::between(-charge_max, discharge_max)
}

/// What the temperature of the battery leaves of the rating. Where the rig states limits and it was
/// never read, neither charging nor discharging is left.
pub(crate) fn by_temperature(
    now: Instant,
    spec: &DeviceSpec,
    own: &DeviceImage,
    battery: Option<&DeviceImage>,
) -> Bounds<ActivePower> {
    let Some(limits) = spec.rating.temperature else {
        return spec.rating.p;
    };
    let zero = ActivePower::ZERO;
    let Some((at, t)) = temperature(own, battery) else {
        return Bounds::exactly(zero);
    };
    let drift = over_age(now, at, spec.sample_age_max).as_secs_f64() * TEMPERATURE_DRIFT_PER_S;
    let possible = Bounds::between(
        Temperature::from_celsius(t.as_celsius() - drift),
        Temperature::from_celsius(t.as_celsius() + drift),
    );
    let allowed = |limit: Bounds<Temperature>, p: ActivePower| {
        if limit.encloses(possible) { p } else { zero }
    };
    Bounds::between(
        allowed(
            limits.charge,
            Quantity::min(spec.rating.p.lower(), ActivePower::ZERO),
        ),
        allowed(
            limits.discharge,
            Quantity::max(spec.rating.p.upper(), ActivePower::ZERO),
        ),
    )
}

/// The last temperature of the battery, with its time.
pub(crate) fn temperature(
    own: &DeviceImage,
    battery: Option<&DeviceImage>,
) -> Option<(Instant, Temperature)> {
    [battery.map(|b| b.battery_t), Some(own.battery_t)]
        .into_iter()
        .flatten()
        .filter_map(|signal| signal.last_good)
        .max_by_key(|(at, _)| *at)
}

/// How much older a reading is than its device's samples may be.
fn over_age(now: Instant, at: Instant, age_max: Duration) -> Duration {
    now.since(at).saturating_sub(age_max)
}

/// The range in which the state of charge can lie now: the last reading, widened by its age
/// at full power. `None` when it was never read, or when the capacity is unknown and the
/// reading is older than the device's samples may be.
fn worst_case_soc(
    now: Instant,
    spec: &DeviceSpec,
    own: &DeviceImage,
    battery: Option<&DeviceImage>,
) -> Option<Bounds<StateOfCharge>> {
    let newest = [battery.map(|b| b.soc), Some(own.soc)]
        .into_iter()
        .flatten()
        .filter_map(|signal| signal.last_good)
        .max_by_key(|(at, _)| *at);
    let (at, soc) = newest?;
    let age = now.since(at);
    if age <= spec.sample_age_max {
        return Some(Bounds::exactly(soc));
    }
    let capacity = spec.rating.capacity?;
    let efficiency = spec.rating.efficiency;
    let energy = |power: ActivePower| power.abs() * age;
    let part = |energy: Energy| energy.as_watt_hours() / capacity.as_watt_hours();
    let fraction = soc.as_fraction();
    let drawn = part(efficiency.drawn(energy(spec.rating.p.upper())));
    let stored = part(efficiency.stored(energy(spec.rating.p.lower())));
    Some(Bounds::between(
        StateOfCharge::from_fraction(fraction - drawn),
        StateOfCharge::from_fraction(fraction + stored),
    ))
}
