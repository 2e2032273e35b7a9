//! What a device is for, as far as its profile tells.

use model::{Point, Role};
use profile::{Profile, Protocol};

/// A guess, for a person to correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guess {
    /// What it is for.
    pub role: Role,
    /// Name of a device of this kind, before its number.
    pub prefix: &'static str,
}

/// Which way a device can be told to move power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Not,
    Consume,
    Generate,
    Both,
}

/// What a device can tell or be told decides, the most telling first; the last row is what is left.
pub fn guess(profile: &Profile) -> Guess {
    let says = |point| profile.says(point);
    let takes = |point| profile.takes(point);
    let told = told(profile);
    let moves_ac = told != Told::Not
        || [Point::ActivePower, Point::ActivePowerL1, Point::VoltageL1]
            .into_iter()
            .any(says);
    let charge = says(Point::StateOfCharge);
    let sun = takes(Point::ActivePowerLimit) || says(Point::DcPower) || told == Told::Generate;
    let rows = [
        (
            says(Point::SyncAngle) && takes(Point::SwitchOn),
            Role::Breaker,
            "brk",
        ),
        (
            takes(Point::FrequencySet) && takes(Point::VoltageSet),
            Role::Source,
            "grid",
        ),
        // Behind an inverter, a battery knows direct current only.
        (charge && !moves_ac, Role::Battery, "bat"),
        (charge, Role::Ess, "ess"),
        (told == Told::Consume, Role::Load, "load"),
        (told == Told::Both, Role::Ess, "ess"),
        (sun, Role::Pv, "pv"),
        (takes(Point::SwitchOn), Role::Load, "plug"),
        (true, Role::Meter, "met"),
    ];
    let fits = rows.into_iter().find(|(fits, ..)| *fits);
    let (_, role, prefix) = fits.unwrap_or((true, Role::Meter, "met"));
    Guess { role, prefix }
}

/// Where a profile states no range, a setpoint may have either sign.
fn told(profile: &Profile) -> Told {
    if !profile.takes(Point::ActivePowerSet) {
        return Told::Not;
    }
    let range_w = match &profile.protocol {
        Protocol::Modbus(modbus) => modbus
            .controls
            .iter()
            .find(|control| control.point == Point::ActivePowerSet)
            .and_then(|control| control.range)
            .map(|range| (range.lower().as_watts(), range.upper().as_watts())),
        Protocol::Scpi(scpi) => scpi
            .controls
            .iter()
            .find(|control| control.point == Point::ActivePowerSet)
            .and_then(|control| control.range),
        Protocol::Can(_) | Protocol::Mqtt(_) => None,
    };
    match range_w {
        Some((_, upper)) if upper <= 0.0 => Told::Consume,
        Some((lower, _)) if lower >= 0.0 => Told::Generate,
        _ => Told::Both,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// In the zoo a meter stands where a load or the coupling is measured: that no profile can tell.
    fn as_a_scan_can_know(role: Role, profile: &Profile) -> Role {
        match role {
            Role::Pcc => Role::Meter,
            Role::Load if profile.controls().is_empty() => Role::Meter,
            role => role,
        }
    }

    #[test]
    fn every_bundled_profile_is_guessed_to_be_what_it_is_in_the_zoo() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rigs/virtual/zoo.toml");
        let zoo = runtime::rig::load(&path).expect("the zoo passes its check");
        let mut seen = 0;
        for device in &zoo.devices {
            // The zoo lets nobody write to some makers' devices; a scan sees all of the profile.
            let profile = profile::bundled(&device.profile.id).expect("it is bundled");
            let expected = as_a_scan_can_know(device.role, &profile);
            assert_eq!(guess(&profile).role, expected, "{}", profile.id);
            seen += 1;
        }
        assert_eq!(seen, profile::bundled_ids().len());
    }
}
