//! What can only be seen when all sections were read: addresses, roles, limits.

use std::collections::BTreeMap;

use model::{Point, Role};
use profile::Protocol;
use profile::mqtt::Payload;
use quantities::{ActivePower, Bounds, Quantity};

use super::bench::takes;
use super::sections::Place;
use super::{BusKind, Emulation, RigBus, RigDevice};

/// What can only be seen when all devices are known.
pub(super) fn check_devices(
    buses: &[RigBus],
    devices: &[(RigDevice, Place<'_>)],
    emulate: &Emulation,
) {
    let mut addresses: BTreeMap<(usize, String), String> = BTreeMap::new();
    for (index, (device, (document, span))) in devices.iter().enumerate() {
        let fault = |code, message: String, help: &str| {
            document.error(code, span.clone(), message, "", help);
        };
        let kind = &buses[device.bus].kind;
        let fits = matches!(
            (&device.profile.protocol, kind),
            (
                Protocol::Modbus(_),
                BusKind::ModbusTcp { .. }
                    | BusKind::ModbusRtu { .. }
                    | BusKind::ModbusRtuTcp { .. }
            ) | (Protocol::Can(_), BusKind::Can(_))
                | (Protocol::Mqtt(_), BusKind::Mqtt { .. })
                | (
                    Protocol::Scpi(_),
                    BusKind::ScpiTcp { .. } | BusKind::ScpiSerial { .. }
                )
        );
        if !fits {
            fault(
                "R004",
                format!(
                    "`{}` ({}) cannot be on bus `{}` ({})",
                    device.id,
                    device.profile.id,
                    buses[device.bus].id,
                    kind.protocol()
                ),
                "put it on a bus of its own protocol",
            );
            continue;
        }
        let address = match &device.profile.protocol {
            Protocol::Modbus(modbus) => format!("unit {}", device.unit.unwrap_or(modbus.unit)),
            Protocol::Can(_) => "the CAN identifiers of its profile".to_owned(),
            Protocol::Scpi(_) => "the one place on a line of SCPI".to_owned(),
            Protocol::Mqtt(mqtt) => match &device.topic {
                Some(topic) if topic.split('/').count() < mqtt.topic_levels() => {
                    fault(
                        "R011",
                        format!(
                            "the topic of `{}` has too few levels for its profile {}",
                            device.id, device.profile.id
                        ),
                        &format!(
                            "write at least {} levels with `/` between them, as the profile's file says",
                            mqtt.topic_levels()
                        ),
                    );
                    continue;
                }
                Some(topic) => format!("topic {topic}"),
                None => {
                    fault(
                        "R011",
                        format!("`{}` has no topic", device.id),
                        "add `topic = \"…\"`",
                    );
                    continue;
                }
            },
        };
        let key = (device.bus, address.clone());
        if let Some(other) = addresses.insert(key, device.id.to_string()) {
            fault(
                "R003",
                format!("`{other}` and `{}` both have {address}", device.id),
                "each device of a bus needs its own address",
            );
        }
        check_role(device, devices, &fault);
        check_limits(index, device, emulate, (document, span.clone()));
    }
    for (role, most) in [(Role::Pcc, 1), (Role::Breaker, 1)] {
        let of_role: Vec<_> = devices.iter().filter(|(d, _)| d.role == role).collect();
        if let Some((device, (document, span))) = of_role.get(most) {
            document.error(
                "R013",
                span.clone(),
                format!("`{}` is a second {}", device.id, role.name()),
                "",
                "give it the role \"meter\" or \"load\"",
            );
        }
    }
}

fn check_role(
    device: &RigDevice,
    devices: &[(RigDevice, Place<'_>)],
    fault: &impl Fn(&'static str, String, &str),
) {
    let needs = match device.role {
        Role::Breaker => Some(Point::SwitchOn),
        Role::Source => Some(Point::FrequencySet),
        _ => None,
    };
    if let Some(point) = needs.filter(|p| !takes(device, *p)) {
        fault(
            "R005",
            format!(
                "`{}` is a {} but its profile {} cannot set {point}",
                device.id,
                device.role.name(),
                device.profile.id
            ),
            "choose another profile or role",
        );
    }
    if device.shed.is_some() && !(device.role == Role::Load && takes(device, Point::SwitchOn)) {
        fault(
            "R006",
            format!("`{}` cannot be shed", device.id),
            "only loads with a switch can",
        );
    }
    if let Some(battery) = device.battery
        && devices
            .get(battery)
            .is_none_or(|(b, _)| b.role != Role::Battery)
    {
        fault(
            "R007",
            format!(
                "the battery of `{}` does not have the role \"battery\"",
                device.id
            ),
            "give it `role = \"battery\"`",
        );
    }
}

fn check_limits(
    index: usize,
    device: &RigDevice,
    emulate: &Emulation,
    (document, span): Place<'_>,
) {
    check_source_limits(device, (document, span.clone()));
    let Some(p) = device.p else { return };
    let rated = emulate
        .devices
        .iter()
        .find(|(i, _)| *i == index)
        .and_then(|(_, e)| e.rated)
        .map(|s| ActivePower::from_watts(s.as_volt_amperes()));
    let profiled = match &device.profile.protocol {
        Protocol::Modbus(modbus) => modbus.controls.iter().find_map(|c| c.range),
        Protocol::Mqtt(mqtt) => mqtt.commands.iter().find_map(|c| match c.payload {
            Payload::Number { range, .. } => Some(Bounds::between(
                ActivePower::from_watts(range.0),
                ActivePower::from_watts(range.1),
            )),
            Payload::Switch { .. } => None,
        }),
        Protocol::Can(_) => None,
        Protocol::Scpi(scpi) => {
            let power = scpi
                .controls
                .iter()
                .find(|c| c.point == Point::ActivePowerSet);
            let watts = |(low, high)| {
                Bounds::between(ActivePower::from_watts(low), ActivePower::from_watts(high))
            };
            power.and_then(|c| c.range).map(watts)
        }
    };
    let widest = Quantity::max(p.upper().abs(), p.lower().abs());
    if let Some(rated) = rated.filter(|rated| widest > *rated) {
        document.error(
            "R012",
            span,
            format!("the limit of `{}` is wider than its nameplate", device.id),
            format!("limit {widest}, nameplate {rated}"),
            format!("use limits within {rated}"),
        );
    } else if let Some(range) = profiled.filter(|range| !range.encloses(p)) {
        document.error(
            "R012",
            span,
            format!(
                "the limit of `{}` is wider than its profile allows",
                device.id
            ),
            format!("limit {p}, profile {range}"),
            "use narrower limits",
        );
    }
}

/// A source's limits lie inside what the instrument takes, and the nominal values inside them.
fn check_source_limits(device: &RigDevice, (document, span): Place<'_>) {
    let Protocol::Scpi(scpi) = &device.profile.protocol else {
        return;
    };
    let limits = [
        (
            Point::FrequencySet,
            device.f.map(|f| (f.lower().base(), f.upper().base())),
        ),
        (
            Point::VoltageSet,
            device.v.map(|v| (v.lower().base(), v.upper().base())),
        ),
    ];
    for (point, limit) in limits {
        let range = scpi
            .controls
            .iter()
            .find(|c| c.point == point)
            .and_then(|c| c.range);
        if let (Some((low, high)), Some((widest, most))) = (limit, range)
            && (low < widest || high > most)
        {
            let unit = point.unit();
            document.error(
                "R012",
                span.clone(),
                format!(
                    "the limit of `{}` is wider than its profile allows",
                    device.id
                ),
                format!("limit {low}..{high}{unit}, profile {widest}..{most}{unit}"),
                "use narrower limits",
            );
        }
    }
}
