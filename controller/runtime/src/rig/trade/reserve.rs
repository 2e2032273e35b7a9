//! `[market.reserve]`: which service the utility buys readiness for, and what participants offer of it.

use control::{Reserved, ServiceSpec, Side};
use document::Table;
use market::Price;
use market::cooptimised::PROVIDERS_MAX;
use market::mechanism::UniformPrice;
use market::venue::Procurement;
use model::{DeviceIx, DeviceSpec, Role};
use quantities::{ActivePower, Quantity};
use services::definition::Shape;

use super::super::parse::Reader;
use super::super::{Market, ParticipantKind, Participation, ReserveOfRig, ReserveOffer};
use super::participant::PRICES;
use crate::evidence::milliwatts;

/// The stage, if the rig has it; whether its service is there is [`check`]ed later.
pub(super) fn stage(
    market: &Table<'_>,
    mechanism: Option<&str>,
    has_feeder: bool,
) -> Option<ReserveOfRig> {
    if !market.has("reserve") {
        return None;
    }
    let table = market.table("reserve")?;
    let service = table.required_text("service", "\"agc1\"");
    let limit = match table.has("limit_mc_per_kwh") {
        true => table.integer("limit_mc_per_kwh", 0..=crate::desk::PRICE_CAP.0),
        false => table.missing("limit_mc_per_kwh", "5000"),
    };
    let penalty = table.integer("penalty_mc_per_kwh", 0..=*PRICES.end());
    let procurement = procurement(&table, market, mechanism, has_feeder);
    table.finish();
    let limit = Price(limit?.value);
    Some(ReserveOfRig {
        service: service?.value,
        limit,
        // Chosen: who does not follow gives back as much as it could have received.
        penalty: penalty.map_or(limit, |price| Price(price.value)),
        procurement,
    })
}

/// How it is bought: together with energy only where energy has one price.
fn procurement(
    table: &Table<'_>,
    market: &Table<'_>,
    mechanism: Option<&str>,
    has_feeder: bool,
) -> Procurement {
    const KEY: &str = "procurement";
    if !table.has(KEY) {
        return Procurement::Sequential;
    }
    let known = [
        ("sequential", Procurement::Sequential),
        ("co_optimised", Procurement::CoOptimised),
    ];
    let Some(choice) = table.choice(KEY, &known) else {
        return Procurement::Sequential;
    };
    let fault = |what: String, span, help: &str| {
        table.document().error("R185", span, what, "", help);
    };
    if choice.value == Procurement::CoOptimised {
        let other = mechanism.filter(|name| UniformPrice::by_name(name).is_none());
        if let Some(other) = other {
            let what = format!(
                "`{other}` has no one price of energy that readiness could be weighed against"
            );
            let help = "leave `mechanism` out, or name a `uniform_k_<num>_<den>`";
            fault(what, market.span_of("mechanism"), help);
        }
        if has_feeder {
            let what =
                "a feeder has a price for every node, and readiness is bought for all of them"
                    .to_owned();
            let help = "leave `[market.feeder]` out, or buy reserve before energy: `procurement = \"sequential\"`";
            fault(what, choice.span, help);
        }
    }
    choice.value
}

/// What a participant offers to be ready for, if it does.
pub(super) fn offer(entry: &Table<'_>, kind: Option<ParticipantKind>) -> Option<ReserveOffer> {
    const KEY: &str = "reserve";
    if !entry.has(KEY) {
        return None;
    }
    let table = entry.table(KEY)?;
    let document = table.document();
    if kind.is_some_and(|kind| kind != ParticipantKind::Storage) {
        document.error(
            "R172",
            table.span(),
            "only a storage can be ready to give more or less",
            "",
            "leave `reserve` out, or let a participant with a storage offer it",
        );
    }
    let power = |key: &str| {
        let found = table.quantity::<ActivePower>(key);
        if let Some(power) = found.as_ref().filter(|p| p.value < ActivePower::ZERO) {
            let what = "readiness is a magnitude";
            document.error("R172", power.span.clone(), what, "", "leave the sign out");
        }
        milliwatts(found.map_or(0.0, |power| power.value.as_watts().max(0.0)))
    };
    let (up_milliwatt, down_milliwatt) = (power("up"), power("down"));
    if up_milliwatt == 0 && down_milliwatt == 0 {
        let what = "this offers to be ready for nothing";
        document.error(
            "R172",
            table.span(),
            what,
            "",
            "add `up = \"3kW\"`, or `down`",
        );
    }
    let price = |key: &str, is_used: bool| match (table.has(key), is_used) {
        (true, _) => table.integer(key, PRICES).map(|price| Price(price.value)),
        (false, true) => table.missing(key, "20000"),
        (false, false) => Some(Price(0)),
    };
    let ready = price("ready_mc_per_kwh", true);
    let up_energy = price("up_mc_per_kwh", up_milliwatt > 0);
    let down_energy = price("down_mc_per_kwh", down_milliwatt > 0);
    table.finish();
    Some(ReserveOffer {
        up_milliwatt,
        down_milliwatt,
        ready: ready?,
        up_energy: up_energy?,
        down_energy: down_energy?,
    })
}

/// What an offer reserves of its device at most, each power for the time of the service.
pub(crate) fn reserves(offer: &ReserveOffer, service: &ServiceSpec) -> Reserved {
    let watts = |milliwatt: i64| ActivePower::from_watts(milliwatt as f64 / 1000.0);
    let (up, down) = (watts(offer.up_milliwatt), watts(offer.down_milliwatt));
    Reserved {
        up,
        down,
        energy_up: up * service.hold,
        energy_down: down * service.hold,
    }
}

/// Holds the stage against the services of the rig. Of the one that it buys nobody is ready but by what
/// is bought.
pub(in super::super) fn check(
    reader: &Reader<'_>,
    market: Option<&Market>,
    services: &mut [ServiceSpec],
    specs: &[DeviceSpec],
) {
    let Some(market) = market else { return };
    let section = reader.section("market");
    let offering: Vec<(&Participation, &ReserveOffer)> = (market.participants.iter())
        .filter_map(|one| Some((one, one.reserve.as_ref()?)))
        .collect();
    let place = section.as_ref().map(|section| {
        let table = section.has("reserve").then(|| section.table("reserve"));
        let span = table.flatten().map_or(section.span(), |table| table.span());
        (section.document(), span)
    });
    let Some((document, span)) = place else {
        return;
    };
    let fault = |code: &'static str, what: String, help: &str| {
        document.error(code, span.clone(), what, "", help);
    };
    let Some(reserve) = &market.reserve else {
        // A stage that could not be read was told of.
        let is_there = section.is_some_and(|section| section.has("reserve"));
        if let (Some((one, _)), false) = (offering.first(), is_there) {
            let what = format!("`{}` offers reserve, and nobody buys it", one.name);
            fault(
                "R172",
                what,
                "add `[market.reserve]`, or leave `reserve` out",
            );
        }
        return;
    };
    let found = services
        .iter()
        .position(|spec| spec.name == reserve.service);
    let Some(index) = found else {
        let what = format!("the bench has sold no service `{}`", reserve.service);
        fault(
            "R172",
            what,
            "name one of `[service]` that follows a signal",
        );
        return;
    };
    let service = services[index].clone();
    let name = &service.name;
    if service.definition.shape != Shape::Signal {
        let what = format!("`{name}` follows the frequency, and is not called by anybody");
        fault(
            "R172",
            what,
            "buy readiness for one that follows a signal: `agc`, `afrr` or `mfrr`",
        );
    }
    if specs.iter().all(|spec| spec.role != Role::Pcc) {
        let what = "nobody meters what the utility gets".to_owned();
        fault("R172", what, "add a meter with the role `pcc`");
    }
    if reserve.procurement == Procurement::CoOptimised && offering.len() > PROVIDERS_MAX {
        let found = offering.len();
        let what = format!("{found} participants offer reserve, one program takes {PROVIDERS_MAX}");
        fault(
            "R185",
            what,
            "buy it before energy: `procurement = \"sequential\"`",
        );
    }
    // What could not be read was told of, and is no offer that is missing.
    let participants = section.and_then(|section| section.table("participant"));
    let says = |one: &Participation| {
        let entry = participants.as_ref().and_then(|all| all.table(&one.name));
        entry.is_some_and(|entry| entry.has("reserve"))
    };
    for device in &service.devices {
        let mut own = market.participants.iter().filter(|one| says(one));
        if !own.any(|one| one.device == device.index()) {
            let id = &specs[device.index()].id;
            let what = format!("`{id}` delivers `{name}`, and nobody offers reserve with it");
            fault(
                "R172",
                what,
                "give its participant `reserve`, or leave it out of `devices`",
            );
        }
    }
    for (one, offer) in offering {
        let device = DeviceIx(one.device as u16);
        let spec = &specs[one.device];
        if !service.devices.contains(&device) {
            let what = format!(
                "`{}` offers reserve with `{}`, which does not deliver `{name}`",
                one.name, spec.id
            );
            fault("R172", what, "name the device in `devices` of the service");
            continue;
        }
        if one.share_ppm != 1_000_000 {
            let what = format!("`{}` offers reserve with a part of `{}`", one.name, spec.id);
            fault(
                "R172",
                what,
                "let one participant have the device: who follows is seen at its meter",
            );
        }
        let others: Vec<ServiceSpec> = services
            .iter()
            .filter(|other| other.name != service.name)
            .cloned()
            .collect();
        let kept = Reserved::of(device, &others, specs);
        let wanted = reserves(offer, &service);
        let all = Reserved {
            up: kept.up + wanted.up,
            down: kept.down + wanted.down,
            energy_up: kept.energy_up + wanted.energy_up,
            energy_down: kept.energy_down + wanted.energy_down,
        };
        let is_beyond = |side: Side, sum: ActivePower| sum > side.rated(spec);
        if is_beyond(Side::Up, all.up) || is_beyond(Side::Down, all.down) {
            let what = format!(
                "`{}` offers more than `{}` can do beside what other services reserve of it",
                one.name, spec.id
            );
            fault("R173", what, "offer less");
        } else if all.charge(spec).is_none() {
            let what = format!(
                "`{}` offers more than the charge of `{}` sustains for {:?}",
                one.name, spec.id, service.hold
            );
            fault(
                "R173",
                what,
                "offer less, or for a shorter `hold` of the service",
            );
        }
        let takes_s = Quantity::max(wanted.up, wanted.down).as_watts()
            / spec.rating.ramp.as_watts_per_second();
        if let Some(full_s) = service.definition.times_s[1].filter(|full_s| takes_s > *full_s) {
            let what = format!(
                "`{}` takes {takes_s:.1} s for what `{}` offers of `{name}`, which must be full after {full_s} s",
                spec.id, one.name
            );
            fault(
                "R173",
                what,
                "offer less, or give the device a faster `ramp`",
            );
        }
    }
    services[index].ready = Some(Vec::new());
}
