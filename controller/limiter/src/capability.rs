//! What a device can do right now, taking the worst case of what is not known.

use model::{DeviceImage, DeviceSpec, Instant};
use quantities::{ActivePower, Bounds, Quantity, StateOfCharge};

/// Active power that a device may be asked for now.
///
/// For a storage inverter the rating is narrowed by its battery:
/// - current limits of the battery times its voltage,
/// - no discharge at the lower, no charge at the upper end of its state of charge,
///   both judged by the worst value that the last reading can have become since.
///
/// An unknown state of charge permits neither: unknown is never zero, and never full.
#[must_use]
pub fn capability(
    now: Instant,
    spec: &DeviceSpec,
    own: &DeviceImage,
    battery: Option<&DeviceImage>,
) -> Bounds<ActivePower> {
    if spec.role != model::Role::Ess {
        return spec.rating.p;
    }
    let store = battery.unwrap_or(own);
    let mut discharge_max = Quantity::max(spec.rating.p.upper(), ActivePower::ZERO);
    let mut charge_max = Quantity::max(-spec.rating.p.lower(), ActivePower::ZERO);

    if let Some((_, volts)) = store.battery_v.last_good {
        let power = |amperes: f64| ActivePower::from_watts((volts.as_volts() * amperes).max(0.0));
        if let Some((_, limit)) = store.discharge_i_max.last_good {
            discharge_max = Quantity::min(discharge_max, power(limit.as_amperes()));
        }
        if let Some((_, limit)) = store.charge_i_max.last_good {
            charge_max = Quantity::min(charge_max, power(limit.as_amperes()));
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
    let moved = |power: ActivePower| (power.abs() * age).as_watt_hours() / capacity.as_watt_hours();
    let fraction = soc.as_fraction();
    Some(Bounds::between(
        StateOfCharge::from_fraction(fraction - moved(spec.rating.p.upper())),
        StateOfCharge::from_fraction(fraction + moved(spec.rating.p.lower())),
    ))
}
