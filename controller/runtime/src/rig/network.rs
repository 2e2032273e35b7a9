//! The network between the devices, as the emulated bench has it.

use std::sync::Arc;

use document::Table;
use model::Role;
use network::description::Network;

use super::parse::Reader;
use super::sections::{Place, named};
use super::{RigDevice, Site};

/// Reads `[network]`, and holds its names against those of `[device]`.
pub(super) fn network(
    reader: &Reader<'_>,
    devices: &[(RigDevice, Place<'_>)],
    site: &Site,
) -> Option<Arc<Network>> {
    let table = reader.section("network")?;
    let network = network::read::read(&table, site.f.as_hertz());
    for (list, key) in [("switch", "device"), ("connection", "device")] {
        for entry in table.tables(list) {
            let Some(name) = entry.text(key) else {
                continue;
            };
            if named(devices, &name.value).is_none() {
                table.document().error(
                    "R053",
                    name.span,
                    format!("the rig has no device `{}`", name.value),
                    "",
                    "use the same names as in `[device]`",
                );
            }
        }
    }
    for switch in table.tables("switch") {
        check_switch(&switch, devices);
    }
    table.finish();
    network.map(Arc::new)
}

/// A switch is the coupling breaker, which the plant begins with closed, or a name of its own by
/// which a scenario moves it.
fn check_switch(switch: &Table<'_>, devices: &[(RigDevice, Place<'_>)]) {
    let fault = |code, span, message: String, help: &str| {
        switch.document().error(code, span, message, "", help);
    };
    if let Some(device) = switch.text("device") {
        let found = named(devices, &device.value).map(|index| devices[index].0.role);
        if found.is_some_and(|role| role != Role::Breaker) {
            fault(
                "R057",
                device.span,
                format!("`{}` is no breaker", device.value),
                "name the device with `role = \"breaker\"`, or leave `device` out: a scenario moves the switch by its name",
            );
        } else if let Some(closed) = switch.boolean("closed")
            && found.is_some()
            && !closed.value
        {
            fault(
                "R057",
                closed.span,
                "the coupling breaker is closed at the start".into(),
                "leave `closed` out, and let a scenario open it",
            );
        }
        return;
    }
    if let Some(name) = switch.text("name")
        && named(devices, &name.value).is_some()
    {
        fault(
            "R052",
            name.span,
            format!("`{}` is a device already", name.value),
            "give the switch a name of its own, or say `device` if it is that one",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::load_text;
    use crate::rig::EXPLANATIONS;

    const RIG: &str = r#"
site = { v = "230V", f = "50Hz" }
[bus]
rs1 = { kind = "modbus-rtu", port = "/dev/ttyUSB0" }
[device]
pcc  = { profile = "eastron/sdm630", bus = "rs1", unit = 1, role = "pcc" }
brk1 = { profile = "generic/sync-breaker", bus = "rs1", unit = 2, role = "breaker" }
[network]
bus = [{ name = "grid", v_ll = "400V" }, { name = "hall", v_ll = "400V" }, { name = "shed", v_ll = "400V" }]
source = [{ bus = "grid" }]
"#;

    /// Switches, the code that they get and the place where it is told; none where they are right.
    fn check(switches: &str, fault: Option<(&str, &str)>) {
        let text = format!("{RIG}switch = [{switches}]\n");
        let faults = match load_text(std::path::Path::new("rig.toml"), &text) {
            Ok(_) => Vec::new(),
            Err(faults) => faults,
        };
        let Some((code, place)) = fault else {
            assert!(faults.is_empty(), "{faults:?}");
            return;
        };
        let [only] = faults.as_slice() else {
            panic!("one slip is one fault: {faults:?}");
        };
        assert_eq!(only.code, code, "{switches}");
        let span = only.place.as_ref().expect("a place").span.clone();
        assert_eq!(&text[span], place, "{switches}");
        assert!(only.help.is_some(), "{switches}: it says what to do");
        let known = EXPLANATIONS.iter().chain(network::read::EXPLANATIONS);
        assert!(known.into_iter().any(|(known, _)| *known == code));
    }

    #[test]
    fn a_switch_is_the_breaker_or_has_a_name_of_its_own() {
        let coupling = r#"{ name = "coupling", from = "grid", to = "hall", device = "brk1" }"#;
        let with = |other: &str| format!("{coupling}, {other}");
        check(
            &with(r#"{ name = "tie", from = "hall", to = "shed", closed = false }"#),
            None,
        );
        check(
            &with(r#"{ name = "brk1", from = "hall", to = "shed" }"#),
            Some(("R052", "\"brk1\"")),
        );
        check(
            &with(r#"{ name = "tie", from = "hall", to = "shed", device = "pcc" }"#),
            Some(("R057", "\"pcc\"")),
        );
        let open = coupling.replace("device", "closed = false, device");
        check(
            &format!(r#"{open}, {{ name = "tie", from = "hall", to = "shed" }}"#),
            Some(("R057", "false")),
        );
    }
}
