//! Rigs that contradict themselves: a guard of the modes that can never hold, an interlock that keeps
//! itself from ever being met, a droop over a loop that is too slow.
//!
//! Such a bench would start, look well, and refuse for ever. What a guard and an interlock demand is
//! said where they are (`control::mode`, `limiter`); here it is held against the rig.

use std::time::Duration;

use limiter::loop_delay::may_droop;
use model::{Forming, Point, Role};
use quantities::{ActivePower, Quantity};

use super::bench::takes;
use super::parse::Reader;
use super::sections::Place;
use super::{RigDevice, Safety};

/// A write with its answer on a usual bus, behind a read that is under way.
/// Chosen: 100 ms, two round trips of a usual serial line; what it really takes is measured while it runs.
const WRITE_USUAL: Duration = Duration::from_millis(100);

/// Looks at a whole rig.
pub(super) fn check(
    reader: &Reader<'_>,
    devices: &[(RigDevice, Place<'_>)],
    settings: &control::Settings,
    safety: &Safety,
) {
    let of_role = |role: Role| devices.iter().filter(move |(d, _)| d.role == role);
    if of_role(Role::Breaker).next().is_some() {
        check_guards(reader, devices, settings);
        check_breaker(devices);
    }
    check_isochronous(devices);
    check_estop(devices, settings, safety);
    check_loop(reader, devices, settings);
    check_export(devices, settings);
}

fn never(place: &Place<'_>, guard: &str, message: String, help: &str) {
    let (document, span) = place;
    document.error(
        "R064",
        span.clone(),
        message,
        format!("`{guard}` can never hold"),
        help,
    );
}

fn blocked(place: &Place<'_>, message: String, help: &str) {
    let (document, span) = place;
    document.error("R065", span.clone(), message, "blocks itself", help);
}

/// Guards that nothing the bench may do could ever make true.
fn check_guards(
    reader: &Reader<'_>,
    devices: &[(RigDevice, Place<'_>)],
    settings: &control::Settings,
) {
    let storages: Vec<_> = devices
        .iter()
        .filter(|(d, _)| d.role == Role::Ess)
        .collect();
    let floor = storages
        .iter()
        .filter_map(|(d, _)| d.soc)
        .map(|soc| soc.lower().as_fraction())
        .fold(0.0, f64::max);
    let reserve = floor + control::mode::limits::RESERVE_SOC;
    for (device, place) in &storages {
        if let Some(soc) = device
            .soc
            .filter(|soc| soc.upper().as_fraction() <= reserve)
        {
            never(
                place,
                "charge_above_reserve",
                format!(
                    "`{}` is charged to {:.0} % at most, and an island needs more than {:.0} %",
                    device.id,
                    soc.upper().as_percent(),
                    reserve * 100.0
                ),
                "widen `limits.soc`: an island begins 5 % above the highest lower end of all storages",
            );
        }
    }
    let gives = |device: &RigDevice| {
        device.p.map_or(ActivePower::ZERO, |p| {
            Quantity::max(p.upper(), ActivePower::ZERO)
        })
    };
    let able: ActivePower = storages.iter().map(|(d, _)| gives(d)).sum();
    if let Some((device, place)) = storages.first()
        && able == ActivePower::ZERO
    {
        never(
            place,
            "storage_ready",
            format!(
                "`{}` may only be charged, and nobody else could carry an island",
                device.id
            ),
            "give `limits.p` an upper end above zero, or leave the breaker out of the rig",
        );
    }
    if let Some(reserve) = settings.reserve_p.filter(|reserve| *reserve > able)
        && let Some(table) = reader.section("control")
    {
        table.document().error(
            "R064",
            table.span_of("reserve_p"),
            format!("a reserve of {reserve} is more than the {able} that all storages give"),
            "it can never be kept",
            "lower it, or widen `limits.p` of the storages",
        );
    }
}

/// A breaker that could never be closed again, since nobody tells what its interlock demands.
fn check_breaker(devices: &[(RigDevice, Place<'_>)]) {
    let tells = |device: &RigDevice, point: Point| device.profile.points().contains(&point);
    let bus = [Role::Pcc, Role::Meter, Role::Ess, Role::Pv];
    let on_bus = |point: Point| {
        devices
            .iter()
            .any(|(d, _)| bus.contains(&d.role) && tells(d, point))
    };
    // One that cannot be set at all is told of already.
    let can_close = |d: &RigDevice| d.role == Role::Breaker && takes(d, Point::SwitchOn);
    for (breaker, place) in devices.iter().filter(|(d, _)| can_close(d)) {
        let own = [Point::GridVoltage, Point::GridFrequency, Point::SyncAngle];
        let mut lacks: Vec<&str> = own
            .into_iter()
            .filter(|point| !tells(breaker, *point))
            .map(Point::name)
            .collect();
        if !on_bus(Point::VoltageL1) {
            lacks.push("the voltage of the bus");
        }
        if !tells(breaker, Point::Frequency) && !on_bus(Point::Frequency) {
            lacks.push("the frequency of the bus");
        }
        if !lacks.is_empty() {
            blocked(
                place,
                format!(
                    "`{}` can be opened and never closed again: nobody tells {}",
                    breaker.id,
                    lacks.join(", ")
                ),
                "closing needs both sides in step; take a breaker whose profile tells its far side, or \
                 give it the role \"load\"",
            );
        }
    }
}

/// Units without droop that wait for each other to be seen off.
fn check_isochronous(devices: &[(RigDevice, Place<'_>)]) {
    let stiff: Vec<_> = devices
        .iter()
        .filter(|(d, _)| d.forming == Forming::Isochronous)
        .collect();
    if stiff.len() < 2 {
        return;
    }
    for (device, place) in &stiff {
        if !device.profile.points().contains(&Point::SwitchOn) {
            blocked(
                place,
                format!(
                    "`{}` forms without droop and does not tell whether it is on: no other unit without \
                     droop could ever be connected",
                    device.id
                ),
                "let all but one form along a droop (`forming = \"droop\"`)",
            );
        }
    }
}

/// An emergency stop circuit that the safe state itself holds open.
fn check_estop(devices: &[(RigDevice, Place<'_>)], settings: &control::Settings, safety: &Safety) {
    let Some((device, place)) = safety.estop.and_then(|index| devices.get(index)) else {
        return;
    };
    let opened = match device.role {
        Role::Breaker => settings.safe_opens_breaker,
        Role::Load => takes(device, Point::SwitchOn) && device.shed.is_some(),
        _ => false,
    };
    if opened {
        blocked(
            place,
            format!(
                "`{}` is the emergency stop circuit, and control opens it by itself: the stop would \
                 hold itself for ever",
                device.id
            ),
            "name a contact that nobody but a person opens",
        );
    }
}

/// A droop over a loop that is expected to be too slow.
fn check_loop(
    reader: &Reader<'_>,
    devices: &[(RigDevice, Place<'_>)],
    settings: &control::Settings,
) {
    let Some(margin) = settings.delay_margin else {
        return;
    };
    let meter = [Role::Pcc, Role::Meter, Role::Ess, Role::Pv]
        .into_iter()
        .flat_map(|role| devices.iter().filter(move |(d, _)| d.role == role))
        .find(|(d, _)| d.profile.points().contains(&Point::Frequency));
    let Some((device, _)) = meter else { return };
    let expected = device.poll.fast + WRITE_USUAL;
    if let Err(late) = may_droop(expected, margin)
        && let Some(table) = reader.section("control")
    {
        let key = ["delay_margin", "inertia"]
            .into_iter()
            .find(|key| table.has(key))
            .unwrap_or("delay_margin");
        let services: String = settings
            .services
            .iter()
            .filter(|spec| spec.definition.shape.closes_a_loop())
            .map(|spec| format!(", the service {}", spec.name))
            .collect();
        table.document().warning(
            "R062",
            table.span_of(key),
            format!(
                "the frequency droop{services} will be refused: {late} (`{}` is polled every {} ms, and a write takes {} ms)",
                device.id,
                device.poll.fast.as_millis(),
                WRITE_USUAL.as_millis()
            ),
            "poll its fast points more often, or let the inverters do the droop by themselves",
        );
    }
}

/// A hard limit of exports that the sun alone could break, since nobody can tell it a ceiling.
fn check_export(devices: &[(RigDevice, Place<'_>)], settings: &control::Settings) {
    let Some(limits) = settings.exchange else {
        return;
    };
    let allowed = Quantity::max(-limits.lower(), ActivePower::ZERO);
    let free: Vec<_> = devices
        .iter()
        .filter(|(d, _)| d.role == Role::Pv && !takes(d, Point::ActivePowerLimit))
        .collect();
    // One that states no power may give any.
    let most: Option<ActivePower> = free.iter().map(|(d, _)| Some(d.p?.upper())).sum();
    if most.is_some_and(|most| most <= allowed) {
        return;
    }
    let gives = most.map_or("as much as it likes".into(), |most| format!("{most:.1}"));
    for (device, (document, span)) in &free {
        document.warning(
            "R066",
            span.clone(),
            format!(
                "the export of {allowed:.1} at most cannot be held: `{}` takes no ceiling, and the sun \
                 alone may give {gives}",
                device.id
            ),
            "the limit still holds back what the controller asks of others; let the inverter, or a relay \
             at the coupling, keep the limit by itself",
        );
    }
}
