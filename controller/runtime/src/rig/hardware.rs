//! The `[bench]` section: which buses of a bench that is half emulated are real, and how the hardware is
//! switched off and on again.
//!
//! A wire ends at the hardware or at the emulator, so what is real is said by bus. What hangs together in
//! the emulated plant cannot be torn apart: a battery and its inverter are both real or both emulated.

use std::path::{Path, PathBuf};
use std::time::Duration;

use document::{Spanned, Table};
use model::Role;

use super::parse::Reader;
use super::sections::{Place, named};
use super::{Emulation, RigBus, RigDevice};

/// Longest time of a power cycle where the rig does not say.
/// Chosen: ten minutes; inverters wait for the grid for five before they enter service.
pub const POWER_CYCLE_WITHIN: Duration = Duration::from_secs(600);

/// What a rig says of its hardware.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hardware {
    /// The buses that are real when the others are emulated (`--on mixed`), by their index.
    pub real: Vec<usize>,
    /// How the bench is switched off and on again, if it can be.
    pub power_cycle: Option<PowerCycle>,
}

/// A program that switches a bench off and on again, and returns when it is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PowerCycle {
    /// The program and its arguments; no shell reads them.
    pub command: Vec<String>,
    /// The folder in which it is called: that of the rig's file.
    pub folder: PathBuf,
    /// Time after which it has failed.
    pub within: Duration,
}

pub(super) fn hardware(
    reader: &Reader<'_>,
    buses: &[RigBus],
    devices: &[(RigDevice, Place<'_>)],
    emulate: &Emulation,
) -> Hardware {
    let Some(table) = reader.section("bench") else {
        return Hardware::default();
    };
    let real = real(&table, buses);
    check_halves(&table, &real, devices, emulate);
    let power_cycle = power_cycle(reader, &table);
    table.finish();
    Hardware { real, power_cycle }
}

/// The buses that are named as real.
fn real(table: &Table<'_>, buses: &[RigBus]) -> Vec<usize> {
    let mut real = Vec::new();
    for name in table.texts("real") {
        let index = buses.iter().position(|bus| *bus.id == *name.value);
        let message = match index {
            Some(index) if real.contains(&index) => {
                format!("the bus `{}` stands here twice", name.value)
            }
            Some(index) => {
                real.push(index);
                continue;
            }
            None => format!("the rig has no bus `{}`", name.value),
        };
        let known: Vec<&str> = buses.iter().map(|bus| &*bus.id).collect();
        let help = format!(
            "a wire is real or emulated as a whole, so name buses: {}",
            known.join(", ")
        );
        table.document().error("R141", name.span, message, "", help);
    }
    real
}

/// R142 for what the plant holds together and the list tears apart.
fn check_halves(
    table: &Table<'_>,
    real: &[usize],
    devices: &[(RigDevice, Place<'_>)],
    emulate: &Emulation,
) {
    if real.is_empty() {
        return;
    }
    let is_real = |device: &RigDevice| real.contains(&device.bus);
    let torn = |emulated: &RigDevice, other: &RigDevice, why: &str| {
        table.document().error(
            "R142",
            table.span_of("real"),
            format!(
                "`{}` is emulated and `{}` is real: {why}",
                emulated.id, other.id
            ),
            "",
            "name the buses of both, or of none of them",
        );
    };
    for (index, (device, _)) in devices.iter().enumerate() {
        if is_real(device) {
            continue;
        }
        if device.role == Role::Battery {
            let mut inverters = devices.iter().map(|(other, _)| other);
            let own = inverters.clone().find(|d| d.battery == Some(index));
            // The emulator takes the first storage where no device names the battery.
            let inverter = own.or_else(|| inverters.find(|d| d.role == Role::Ess));
            if let Some(inverter) = inverter.filter(|d| is_real(d)) {
                torn(
                    device,
                    inverter,
                    "an emulated battery has an emulated inverter",
                );
            }
        }
        let options = emulate.devices.iter().find(|(of, _)| *of == index);
        let looked_at = options.and_then(|(_, options)| options.measures.as_deref());
        let looked_at = looked_at.and_then(|name| named(devices, name));
        if let Some((other, _)) = looked_at.and_then(|ix| devices.get(ix))
            && is_real(other)
        {
            torn(device, other, "an emulated meter cannot look at it");
        }
    }
    let switches = emulate.network.iter().flat_map(|network| &network.switches);
    for switch in switches {
        let breaker = switch.device.as_deref().and_then(|id| named(devices, id));
        if let Some((breaker, _)) = breaker.and_then(|ix| devices.get(ix))
            && is_real(breaker)
        {
            table.document().error(
                "R142",
                table.span_of("real"),
                format!(
                    "`{}` is real and a switch of the emulated network",
                    breaker.id
                ),
                "",
                "leave its bus out, or take `device` from the switch",
            );
        }
    }
}

/// How the bench is switched off and on again.
fn power_cycle(reader: &Reader<'_>, table: &Table<'_>) -> Option<PowerCycle> {
    let refused = |span, message: &str, help: &str| {
        table.document().error("R140", span, message, "", help);
    };
    let within = table.duration("recover_within");
    let words: Vec<Spanned<String>> = table.texts("recover");
    if !table.has("recover") {
        if let Some(within) = within {
            let message = "`recover_within` without `recover`: there is nothing to wait for";
            refused(
                within.span,
                message,
                "add `recover = [\"./power-cycle.sh\"]`",
            );
        }
        return None;
    }
    let example =
        "write the program and its arguments, such as `recover = [\"./power-cycle.sh\", \"3\"]`";
    let Some(program) = words.first() else {
        refused(
            table.span_of("recover"),
            "`recover` names no program",
            example,
        );
        return None;
    };
    if program.value.trim().is_empty() {
        refused(program.span.clone(), "the program has no name", example);
        return None;
    }
    let within = match within {
        Some(within) if within.value.is_zero() => {
            refused(
                within.span,
                "a power cycle takes longer than nothing",
                "such as `recover_within = \"2min\"`",
            );
            return None;
        }
        Some(within) => within.value,
        None => POWER_CYCLE_WITHIN,
    };
    let beside = reader.path(table, "");
    let here = beside.as_os_str().is_empty();
    let folder = if here { PathBuf::from(".") } else { beside };
    let mut command: Vec<String> = words.into_iter().map(|word| word.value).collect();
    // A program with a slash lies beside the rig; any other is one that the system finds.
    if let Some(program) = command.first_mut().filter(|program| program.contains('/')) {
        let beside = folder.join(Path::new(program.as_str()));
        let found = std::path::absolute(&beside).unwrap_or(beside);
        *program = found.display().to_string();
    }
    Some(PowerCycle {
        command,
        folder,
        within,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::rig::{Rig, load_text};

    fn rig(bench: &str) -> Result<Rig, Vec<document::Diagnostic>> {
        let text = format!(
            r#"
schema = 1
site = {{ v = "230V", f = "50Hz", phases = 1 }}
[bench]
{bench}
[bus]
lan1 = {{ kind = "modbus-tcp", host = "10.1.0.11" }}
can0 = {{ kind = "can", uri = "socketcan://can0" }}
rs1  = {{ kind = "modbus-rtu", port = "/dev/ttyUSB0" }}
[device]
ess1 = {{ profile = "sunspec/storage-inverter", bus = "lan1", unit = 1, role = "ess", battery = "bat1", limits = {{ p = "-2..2kW" }} }}
bat1 = {{ profile = "pylontech/lv-can", bus = "can0", role = "battery" }}
met1 = {{ profile = "eastron/sdm630", bus = "rs1", unit = 1, role = "meter" }}
[emulate]
met1 = {{ measures = "ess1" }}
"#
        );
        load_text(Path::new("rigs/lab/rig.toml"), &text)
    }

    #[test]
    fn what_is_real_is_said_by_bus_and_a_program_beside_the_rig_brings_it_back() {
        let rig = rig("real = [\"lan1\", \"can0\", \"rs1\"]\nrecover = [\"./cycle.sh\", \"3\"]\nrecover_within = \"90s\"").expect("it is right");
        assert_eq!(rig.hardware.real, [0, 1, 2]);
        let cycle = rig.hardware.power_cycle.expect("it is told");
        assert!(
            cycle.command[0].ends_with("/rigs/lab/cycle.sh"),
            "{cycle:?}"
        );
        assert_eq!(cycle.command[1..], ["3"]);
        assert_eq!(cycle.folder, Path::new("rigs/lab/"));
        assert_eq!(cycle.within, Duration::from_secs(90));
        let found = rig_of("recover = [\"usbrelay\"]").hardware.power_cycle;
        let found = found.expect("it is told");
        assert_eq!(
            (found.command, found.within),
            (vec!["usbrelay".to_owned()], POWER_CYCLE_WITHIN)
        );
        assert_eq!(rig_of("").hardware, Hardware::default());
    }

    fn rig_of(bench: &str) -> Rig {
        rig(bench).expect("it is right")
    }

    #[test]
    fn what_cannot_be_real_or_brought_back_is_told_at_its_place() {
        let rows: [(&str, &[&str]); 9] = [
            (
                "real = [\"lan2\"]",
                &["R141", "no bus `lan2`", "name buses: lan1, can0, rs1"],
            ),
            ("real = [\"ess1\"]", &["R141", "no bus `ess1`"]),
            ("real = [\"can0\", \"can0\"]", &["R141", "twice"]),
            (
                "real = [\"lan1\", \"rs1\"]",
                &["R142", "`bat1` is emulated and `ess1` is real"],
            ),
            (
                "real = [\"lan1\", \"can0\"]",
                &["R142", "`met1` is emulated and `ess1` is real"],
            ),
            ("recover = []", &["R140", "no program"]),
            ("recover = [\" \"]", &["R140", "no name"]),
            ("recover_within = \"1min\"", &["R140", "without `recover`"]),
            (
                "recover = [\"true\"]\nrecover_within = \"0s\"",
                &["R140", "longer than nothing"],
            ),
        ];
        for (bench, expected) in rows {
            let faults = rig(bench).expect_err(bench);
            let told: Vec<String> = faults.iter().map(|fault| format!("{fault:?}")).collect();
            assert_eq!(faults.len(), 1, "{bench}: {told:#?}");
            for word in expected {
                assert!(told[0].contains(word), "{bench}: {word}: {}", told[0]);
            }
            assert!(faults[0].place.is_some(), "{bench}");
        }
    }
}
