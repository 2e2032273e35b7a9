//! The `[service]` section: frequency services that the bench has sold, one entry each, and support of the voltage.

use std::time::Duration;

use control::{Deliverer, Dwell, Reserved, ServiceSpec, Side, VoltageSpec};
use document::{Diagnostic, Source, Table};
use model::{DeviceIx, DeviceSpec, Role};
use quantities::{ActivePower, Frequency, Quantity, ReactivePower, StateOfCharge};
use services::definition::{self, Definition, Shape};

use super::bench::{device_ix, spec};
use super::parse::Reader;
use super::sections::{Place, named};
use super::{RigDevice, Site};

mod blocks;
pub(super) use blocks::check_market;

/// What was sold: frequency services, and support of the voltage.
pub(super) struct Sold {
    pub(super) services: Vec<ServiceSpec>,
    pub(super) pcc_voltage: Option<VoltageSpec>,
}

pub(super) fn services(
    reader: &Reader<'_>,
    devices: &[(RigDevice, Place<'_>)],
    site: &Site,
) -> Sold {
    let specs: Vec<DeviceSpec> = devices.iter().map(|(d, _)| spec(d, site)).collect();
    let mut sold: Vec<(ServiceSpec, Place<'_>)> = Vec::new();
    let mut pcc_voltage: Option<VoltageSpec> = None;
    for (name, table) in reader.entries("service") {
        let entry = Entry {
            reader,
            table: &table,
            name: &name,
        };
        let definition = entry.definition(site);
        let is_of_voltage = matches!(
            definition.as_ref().map(|definition| &definition.shape),
            Some(Shape::Voltage { .. })
        );
        let found = match definition {
            Some(definition) if is_of_voltage => {
                let found = entry.voltage(definition, &specs);
                if pcc_voltage.is_some() {
                    entry.fault(
                        "R104",
                        "service",
                        "the voltage at the coupling is supported twice".to_owned(),
                        "leave one of both out: there is one reactive power for it",
                    );
                }
                pcc_voltage = found.or(pcc_voltage);
                None
            }
            definition => entry.read(definition, devices, &specs),
        };
        if named(devices, &name).is_some() {
            table.document().error(
                "R086",
                table.span(),
                format!("`{name}` is a device and a service"),
                "",
                "give the service another name: scenarios ask for both by it",
            );
        }
        let place = (table.document(), table.span());
        table.finish();
        if let Some(found) = found {
            sold.push((found, place));
        }
    }
    let services: Vec<ServiceSpec> = sold.iter().map(|(service, _)| service.clone()).collect();
    for (service, place) in &sold {
        check_power(service, &services, &specs, place);
        check_recovery(service, &services, &specs, place);
        blocks::check(service, &services, &specs, place);
    }
    Sold {
        services,
        pcc_voltage,
    }
}

/// One entry of the section.
struct Entry<'a, 'd> {
    reader: &'a Reader<'d>,
    table: &'a Table<'d>,
    name: &'a str,
}

impl Entry<'_, '_> {
    fn read(
        &self,
        definition: Option<Definition>,
        devices: &[(RigDevice, Place<'_>)],
        specs: &[DeviceSpec],
    ) -> Option<ServiceSpec> {
        let table = self.table;
        let up = self.power("up");
        let down = self.power("down");
        let chosen = self.devices(devices, specs);
        let reference = self.reference(devices, specs, chosen.as_deref(), up);
        let dwell = |key| table.duration(key).map(|at_least| at_least.value);
        let (on, off) = (dwell("on_min"), dwell("off_min"));
        let hold = table.duration("hold").map(|hold| hold.value);
        let recover = table.quantity::<StateOfCharge>("recover");
        let definition = definition?;
        let has_blocks = chosen
            .iter()
            .flatten()
            .any(|index| is_block(&specs[*index]));
        if let Some(key) = ["on_min", "off_min"]
            .into_iter()
            .find(|key| !has_blocks && chosen.is_some() && table.has(key))
        {
            self.fault(
                "R101",
                key,
                format!("no load with a switch only delivers `{}`", self.name),
                "leave the key out: it is the shortest time for which such a load stays on, or off",
            );
        }
        if has_blocks && !definition.blocks {
            self.fault(
                "R101",
                "devices",
                format!(
                    "`{}` cannot be delivered in whole blocks, as a load with a switch only gives them",
                    definition.name
                ),
                "let it deliver `ffr-held`, `afrr` or `mfrr`",
            );
        }
        self.check_directions(&definition, up?, down?);
        if recover.is_some() && definition.recovery.is_none() {
            self.fault(
                "R130",
                "recover",
                format!("nobody says how a storage of `{}` gets its charge back", definition.name),
                "leave `recover` out, or give `recover_share`, `recover_every_s` and `recover_notice_s` with `settings`",
            );
        }
        let stated = definition.times_s[2].map(Duration::from_secs_f64);
        let Some(hold) = hold.or(stated).filter(|hold| !hold.is_zero()) else {
            self.fault(
                "R084",
                "hold",
                format!("nobody says for how long `{}` must be sustained", self.name),
                "add `hold = \"15min\"`: that much energy is kept for it",
            );
            return None;
        };
        Some(ServiceSpec {
            name: self.name.to_owned(),
            definition,
            up: up?,
            down: down?,
            hold,
            devices: chosen?.into_iter().map(device_ix).collect(),
            reference: reference?,
            dwell: Dwell {
                on: on.unwrap_or_default(),
                off: off.unwrap_or_default(),
            },
            recover: recover.map(|recover| recover.value),
            ready: None,
        })
    }

    /// The inverter that is left free, which the sun of this service needs to have sold anything upwards.
    /// `None` where it is wrong.
    fn reference(
        &self,
        devices: &[(RigDevice, Place<'_>)],
        specs: &[DeviceSpec],
        chosen: Option<&[usize]>,
        up: Option<ActivePower>,
    ) -> Option<Option<DeviceIx>> {
        let is_sun = |index: &&usize| Deliverer::of(&specs[**index]) == Some(Deliverer::Sun);
        let sun = chosen?.iter().find(is_sun);
        let Some(given) = self.table.text("reference") else {
            return match sun {
                Some(index) if up? > ActivePower::ZERO => {
                    self.fault(
                        "R100",
                        "up",
                        format!(
                            "nobody tells what `{}` could give while it is held, and {:.1} more was sold",
                            specs[*index].id,
                            up?
                        ),
                        "name an inverter under the same sun that is left free: `reference = \"pv2\"`",
                    );
                    None
                }
                _ => Some(None),
            };
        };
        let index = named(devices, &given.value);
        let index = index.filter(|index| {
            let spec = &specs[*index];
            spec.role == Role::Pv && chosen.is_some_and(|chosen| !chosen.contains(index))
        });
        if sun.is_none() || index.is_none() {
            self.fault(
                "R100",
                "reference",
                format!(
                    "`{}` tells nothing of what the devices of `{}` could give",
                    given.value, self.name
                ),
                "name an inverter with the role \"pv\" that delivers no service, beside one that does; else leave it out",
            );
            return None;
        }
        Some(index.map(device_ix))
    }

    /// Support of the voltage: by all storages that take a reactive setpoint.
    fn voltage(&self, definition: Definition, specs: &[DeviceSpec]) -> Option<VoltageSpec> {
        let table = self.table;
        table.choice("group", &[("storage", ())]);
        if !table.has("q") {
            table.missing::<()>("q", "\"5kvar\"");
            return None;
        }
        let q = table.quantity::<ReactivePower>("q")?.value;
        if !q.is_finite() || q <= ReactivePower::ZERO {
            self.fault(
                "R081",
                "q",
                format!("`q` of `{}` is {q}", self.name),
                "it is a magnitude: how much reactive power was sold, to either side",
            );
            return None;
        }
        let control = self.reader.section("control");
        let other = ["pcc_q", "pcc_pf_min"]
            .into_iter()
            .find(|key| control.as_ref().is_some_and(|control| control.has(key)));
        if let Some(key) = other {
            self.fault(
                "R104",
                "service",
                format!(
                    "`control` has `{key}`, and `{}` supports the voltage",
                    self.name
                ),
                "leave one of both out: there is one reactive power at the coupling",
            );
        }
        let able: ReactivePower = specs
            .iter()
            .filter(|spec| spec.role == Role::Ess && spec.takes_reactive)
            .map(|spec| ReactivePower::from_vars(spec.rating.s_max.as_volt_amperes()))
            .sum();
        if q > able {
            self.fault(
                "R083",
                "q",
                format!("{q:.1} were sold, and storages that take a reactive setpoint can give {able:.1}"),
                "sell less, or use storages whose profiles take a reactive setpoint",
            );
        }
        Some(VoltageSpec {
            name: self.name.to_owned(),
            definition,
            q,
        })
    }

    fn fault(&self, code: &'static str, key: &str, message: String, help: &str) {
        let span = match self.table.has(key) {
            true => self.table.span_of(key),
            false => self.table.span(),
        };
        self.table.document().error(code, span, message, "", help);
    }

    /// The definition with the settings of its file, at the frequency of the site.
    fn definition(&self, site: &Site) -> Option<Definition> {
        let table = self.table;
        let of = table.required_text("service", "\"fcr-ce\"")?;
        let settings = table.text("settings");
        let mut definition = match definition::named(&of.value) {
            Ok(definition) => definition,
            Err(faults) => {
                table.document().adopt(placed(faults, self, "service"));
                return None;
            }
        };
        if definition.nominal.is_none() && definition.fraction(site.f).is_some() {
            definition.nominal = Some(site.f);
        }
        if let Some(file) = settings {
            let path = self.reader.path(table, &file.value);
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text,
                Err(e) => {
                    let message = format!("{} cannot be read: {e}", path.display());
                    self.fault(
                        "R085",
                        "settings",
                        message,
                        "name a TOML file with settings",
                    );
                    return None;
                }
            };
            definition = match definition.with(Source::new(path.display().to_string(), text)) {
                Ok(definition) => definition,
                Err(faults) => {
                    table.document().adopt(faults);
                    return None;
                }
            };
        }
        let fits = definition.nominal.is_none_or(|f| f == site.f);
        if !fits {
            let nominal = definition.nominal.map_or(f64::NAN, Frequency::as_hertz);
            self.fault(
                "R080",
                "service",
                format!(
                    "`{}` is a service at {nominal} Hz, and the site has {} Hz",
                    of.value,
                    site.f.as_hertz()
                ),
                "take a service of this frequency, or give it another nominal one with `settings`",
            );
            return None;
        }
        if let Shape::OfADer { .. } = definition.shape {
            self.fault(
                "R080",
                "service",
                format!("`{}` is what a device does by itself", of.value),
                "set it in the device, or let a scenario adopt its curve; `voltage-support` is the controller's",
            );
            return None;
        }
        if definition
            .fraction(site.f)
            .is_some_and(|at_rest| at_rest != 0.0)
        {
            self.fault(
                "R080",
                "service",
                format!(
                    "`{}` says what is left of a power, not what is given on top of it",
                    of.value
                ),
                "take a service that asks for nothing at the nominal frequency",
            );
            return None;
        }
        Some(definition)
    }

    /// A power that was sold; nothing where the key is not there.
    fn power(&self, key: &str) -> Option<ActivePower> {
        if !self.table.has(key) {
            return Some(ActivePower::ZERO);
        }
        let power = self.table.quantity::<ActivePower>(key)?.value;
        if power < ActivePower::ZERO || !power.is_finite() {
            self.fault(
                "R081",
                key,
                format!("`{key}` of `{}` is {power}", self.name),
                "it is a magnitude: how much more, or how much less, was sold",
            );
            return None;
        }
        Some(power)
    }

    fn check_directions(&self, definition: &Definition, up: ActivePower, down: ActivePower) {
        let (goes_up, goes_down) = definition.directions();
        for (key, sold, goes) in [("up", up, goes_up), ("down", down, goes_down)] {
            if sold > ActivePower::ZERO && !goes {
                self.fault(
                    "R081",
                    key,
                    format!(
                        "`{}` never asks for power {key}, and {sold} of that was sold",
                        definition.name
                    ),
                    "leave the key out",
                );
            }
        }
        if up == ActivePower::ZERO && down == ActivePower::ZERO {
            self.fault(
                "R081",
                "up",
                format!("nothing of `{}` was sold", self.name),
                "add `up = \"5kW\"`, `down = \"5kW\"` or both: that much is kept in reserve",
            );
        }
    }

    /// The devices that deliver it, in the order of the rig.
    fn devices(
        &self,
        devices: &[(RigDevice, Place<'_>)],
        specs: &[DeviceSpec],
    ) -> Option<Vec<usize>> {
        let table = self.table;
        let delivers = |index: usize| Deliverer::of(&specs[index]).is_some();
        let stores = |index: &usize| Deliverer::of(&specs[*index]) == Some(Deliverer::Storage);
        let listed = table.texts("devices");
        let group = table.choice("group", &[("storage", ())]);
        let mut chosen: Vec<usize> = match (listed.is_empty(), group.is_some()) {
            (true, true) => (0..devices.len()).filter(stores).collect(),
            (false, false) => listed
                .iter()
                .map(|name| {
                    let index = named(devices, &name.value);
                    let (code, message) = match index {
                        Some(index) if delivers(index) => return Some(index),
                        Some(_) => ("R082", format!("`{}` cannot deliver a service", name.value)),
                        None => (
                            "R009",
                            format!(
                                "`service` speaks of `{}`, which the rig does not have",
                                name.value
                            ),
                        ),
                    };
                    table.document().error(
                        code,
                        name.span.clone(),
                        message,
                        "",
                        "name storage inverters and loads that take a power set point, inverters that take a ceiling, and loads with a switch",
                    );
                    None
                })
                .collect::<Option<_>>()?,
            _ => Vec::new(),
        };
        let named = chosen.len();
        chosen.sort_unstable();
        chosen.dedup();
        if chosen.is_empty() || chosen.len() < named {
            self.fault(
                "R082",
                "devices",
                format!("it is not said once who delivers `{}`", self.name),
                "add either `devices = [\"ess1\"]` or `group = \"storage\"`",
            );
            return None;
        }
        Some(chosen)
    }
}

fn is_block(spec: &DeviceSpec) -> bool {
    Deliverer::of(spec) == Some(Deliverer::Block)
}

/// Faults without a place of their own are told where the entry names them.
fn placed(mut faults: Vec<Diagnostic>, entry: &Entry<'_, '_>, key: &str) -> Vec<Diagnostic> {
    let document = entry.table.document();
    for fault in faults.iter_mut().filter(|fault| fault.place.is_none()) {
        fault.place = Some(document.place(entry.table.span_of(key)));
    }
    faults
}

/// Whether there is a storage that has a charge to go back to, and that charge is one at which every reserve could
/// be held.
fn check_recovery(
    service: &ServiceSpec,
    services: &[ServiceSpec],
    specs: &[DeviceSpec],
    (document, span): &Place<'_>,
) {
    let Some(target) = service.recover else {
        return;
    };
    let fault = |message: String, help: &str| {
        document.error("R131", span.clone(), message, "", help);
    };
    let storages = service.devices.iter().filter(|device| {
        let spec = &specs[device.index()];
        Deliverer::of(spec) == Some(Deliverer::Storage)
    });
    let mut found = false;
    for device in storages {
        found = true;
        let spec = &specs[device.index()];
        let edges = Reserved::of(*device, services, specs).charge(spec);
        if let Some(edges) = edges.filter(|edges| !edges.contains(target)) {
            fault(
                format!(
                    "`{}` is to go back to {:.1} %, and its reserves need {:.1} to {:.1} %",
                    spec.id,
                    target.as_percent(),
                    edges.lower().as_percent(),
                    edges.upper().as_percent()
                ),
                "name a charge between these two",
            );
        }
    }
    if !found {
        let what = format!(
            "no storage delivers `{}`, so there is no charge to go back to",
            service.name
        );
        fault(what, "leave `recover` out");
    }
}

/// Whether each device of a service can give what all services together reserve of it, in time and for as
/// long as they must be sustained.
fn check_power(
    service: &ServiceSpec,
    services: &[ServiceSpec],
    specs: &[DeviceSpec],
    (document, span): &Place<'_>,
) {
    let fault = |code, message: String, help: &str| {
        document.error(code, span.clone(), message, "", help);
    };
    for device in &service.devices {
        let of = &specs[device.index()];
        let reserved = Reserved::of(*device, services, specs);
        for (side, word, sum) in [
            (Side::Up, "up", reserved.up),
            (Side::Down, "down", reserved.down),
        ] {
            let rated = side.rated(of);
            if service.sold(side) > ActivePower::ZERO && (sum > rated || rated == ActivePower::ZERO)
            {
                fault(
                    "R083",
                    format!(
                        "services reserve {sum:.1} of `{}` {word}, and it can give {rated:.1}",
                        of.id
                    ),
                    "sell less, or let more devices deliver it",
                );
            }
            let share = service.share(side, *device, specs);
            let full_s = service.definition.times_s[1];
            let takes_s = share.as_watts() / of.rating.ramp.as_watts_per_second();
            if full_s.is_some_and(|full_s| takes_s > full_s) && !is_block(of) {
                fault(
                    "R083",
                    format!(
                        "`{}` takes {takes_s:.1} s for its share of `{}`, which must be full after {} s",
                        of.id,
                        service.name,
                        full_s.unwrap_or_default()
                    ),
                    "sell less, or give the device a faster `ramp`",
                );
            }
        }
        if Deliverer::of(of) != Some(Deliverer::Storage) {
            if reserved.leaves(of.rating.p).is_none() {
                let (up, down) = (reserved.up, reserved.down);
                fault(
                    "R083",
                    format!(
                        "services reserve {up:.1} up and {down:.1} down of `{}`, whose range is {:.1}",
                        of.id,
                        of.rating.p.upper() - of.rating.p.lower()
                    ),
                    "sell less, or let more devices deliver it",
                );
            }
        } else if of.rating.capacity.is_none() {
            fault(
                "R084",
                format!("the rig does not say how much energy `{}` has", of.id),
                "add its `capacity`",
            );
        } else if reserved.charge(of).is_none() {
            fault(
                "R083",
                format!(
                    "services reserve {:.1} and room for {:.1} of `{}`, more than it has between {:.1}",
                    reserved.energy_up, reserved.energy_down, of.id, of.rating.soc
                ),
                "sell less, or let more devices deliver it",
            );
        }
    }
}

#[cfg(test)]
mod tests;
