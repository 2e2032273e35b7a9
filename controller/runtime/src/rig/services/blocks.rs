//! What holds of loads with a switch only, which give whole blocks.

use control::blocks::reach;
use control::{ServiceSpec, Side};
use model::DeviceSpec;
use quantities::ActivePower;

use super::super::parse::Reader;
use super::super::sections::Place;
use super::super::{Market, ParticipantKind};
use super::is_block;

/// Share of what was sold that has to be in reach of whole blocks. Source: the controller's own measure of availability.
const ENOUGH: f64 = 0.95;

/// Whether each block stands for one service and one side, and whether whole blocks come to what was sold.
pub(super) fn check(
    service: &ServiceSpec,
    services: &[ServiceSpec],
    specs: &[DeviceSpec],
    (document, span): &Place<'_>,
) {
    let fault = |message: String, help: &str| {
        document.error("R102", span.clone(), message, "", help);
    };
    let all = || {
        service
            .devices
            .iter()
            .map(|device| (*device, &specs[device.index()]))
    };
    let blocks: Vec<_> = all().filter(|(_, spec)| is_block(spec)).collect();
    if blocks.is_empty() {
        return;
    }
    for (device, spec) in &blocks {
        let others = services
            .iter()
            .filter(|other| other.devices.contains(device));
        if others.count() > 1 {
            fault(
                format!("`{}` has one switch, and more than one service", spec.id),
                "let it deliver one of them",
            );
        }
    }
    if Side::BOTH
        .iter()
        .all(|side| service.sold(*side) > ActivePower::ZERO)
    {
        fault(
            format!(
                "`{}` has one switch, and was sold to both sides",
                blocks[0].1.id
            ),
            "a load that stands on can be let go of, one that stands off can be taken: leave `up` or `down` out",
        );
        return;
    }
    let side = match service.up > ActivePower::ZERO {
        true => Side::Up,
        false => Side::Down,
    };
    let sizes: Vec<ActivePower> = blocks.iter().map(|(_, spec)| side.rated(spec)).collect();
    let any_power = all().filter(|(_, spec)| !is_block(spec));
    let any_power: ActivePower = any_power.map(|(_, spec)| side.rated(spec)).sum();
    let (sold, all) = (
        service.sold(side),
        sizes.iter().copied().sum::<ActivePower>() + any_power,
    );
    let found = reach(sold, any_power, &sizes);
    // What is more than all of them is told anyway.
    if sold <= all && found < sold * ENOUGH {
        fault(
            format!(
                "of the {sold:.1} of `{}` only {found:.1} can be given in whole blocks",
                service.name
            ),
            "sell what they come to, or let a device that takes a power set point deliver beside them",
        );
    }
}

/// A load that stands for a service has nothing left to trade: what a market would switch is sold already.
pub(in super::super) fn check_market(
    reader: &Reader<'_>,
    market: Option<&Market>,
    services: &[ServiceSpec],
    specs: &[DeviceSpec],
) {
    let flexible = market.into_iter().flat_map(|market| {
        let participants = market.participants.iter();
        participants.filter(|participant| participant.kind == ParticipantKind::Flexible)
    });
    for participant in flexible {
        let spec = &specs[participant.device];
        let is_sold = services.iter().any(|service| {
            let devices = service.devices.iter();
            devices
                .into_iter()
                .any(|device| device.index() == participant.device)
        });
        let Some(section) = reader
            .section("market")
            .filter(|_| is_sold && is_block(spec))
        else {
            continue;
        };
        let Some(list) = section.table("participant") else {
            continue;
        };
        list.document().error(
            "R103",
            list.span_of(&participant.name),
            format!("`{}` stands ready for a service, so the market cannot switch it", spec.id),
            "",
            "let it take part as `must_run`, with what it takes while it stands on, or leave it out of the service",
        );
    }
}
