//! A field of inverters for benches: every one a device of its own, behind a socket of its own.
//!
//! Every fifth is a storage that answers the frequency, the others have a sun with clouds, so that
//! no solution of the network is the last one again. The frequency of the utility dips in between.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use runtime::rig::Rig;

use super::BenchError;
use super::virtual_time::{RunFolder, told};

/// Of so many inverters one is a storage. Chosen: enough of both that each kind weighs something.
const STORAGE_EVERY: usize = 5;

/// Rated power of each inverter. Chosen: that of a house.
const RATED_KW: usize = 5;

/// Name of the file with the course of the day, beside the rig.
const DAY_FILE: &str = "field-day.toml";

/// What stands in the field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// Inverters; a meter at the point of common coupling comes to them.
    pub inverters: usize,
    /// Buses of the network, every second one with an inverter and the others with a load;
    /// `None` = one busbar for all.
    pub buses: Option<usize>,
}

impl Field {
    /// Devices of the rig.
    pub(super) fn devices(self) -> usize {
        self.inverters + 1
    }

    /// Writes the course of the day into a folder and reads the rig that names it.
    pub(super) fn load(self, folder: &RunFolder) -> Result<Arc<Rig>, BenchError> {
        std::fs::write(folder.0.join(DAY_FILE), self.day()).map_err(BenchError::system(
            "the course of the day cannot be written",
        ))?;
        self.read(&folder.0)
    }

    fn read(self, folder: &Path) -> Result<Arc<Rig>, BenchError> {
        runtime::rig::load_text(&folder.join("field.toml"), &self.rig())
            .map(Arc::new)
            .map_err(|faults| BenchError::Run(told(&faults)))
    }

    fn is_storage(n: usize) -> bool {
        n.is_multiple_of(STORAGE_EVERY)
    }

    /// The text of the rig.
    fn rig(self) -> String {
        let mut text = format!(
            r#"schema = 1
title = "A field of {} inverters"
site = {{ v = "230V", f = "50Hz", phases = 3 }}
safety = {{ heartbeat = "1s", on_lost = "safe" }}
[control]
period = "100ms"
droop = "4%"
deadband = "0.03Hz"
[plant]
day = "{DAY_FILE}"
[bus.lan0]
kind = "modbus-tcp"
host = "127.0.0.1"
port = 20000
[device.pcc]
profile = "sunspec/meter"
bus = "lan0"
role = "pcc"
"#,
            self.inverters
        );
        for n in 1..=self.inverters {
            let device = if Self::is_storage(n) {
                format!(
                    r#"profile = "sunspec/storage-inverter"
role = "ess"
limits = {{ p = "-{RATED_KW}..{RATED_KW}kW" }}
ramp = "{RATED_KW}kW/s"
capacity = "10kWh"
"#
                )
            } else {
                format!(
                    r#"profile = "sunspec/inverter"
role = "pv"
limits = {{ p = "0..{RATED_KW}kW" }}
"#
                )
            };
            let charge = if Self::is_storage(n) {
                "soc = \"50%\"\n"
            } else {
                ""
            };
            // The write into a String cannot fail.
            let _ = write!(
                text,
                r#"[bus.lan{n}]
kind = "modbus-tcp"
host = "127.0.0.1"
port = {port}
[device.inv{n}]
bus = "lan{n}"
revert = "60s"
{device}[emulate.inv{n}]
rated = "{RATED_KW}kVA"
{charge}"#,
                port = 20_000 + n,
            );
        }
        if let Some(buses) = self.buses {
            self.network(buses, &mut text);
        }
        text
    }

    /// The network: each bus feeds two further ones, so that the depth grows with the logarithm.
    fn network(self, buses: usize, text: &mut String) {
        text.push_str("[network]\nunbalanced = true\n[[network.source]]\nbus = \"b0\"\n");
        for bus in 0..buses {
            let _ = write!(
                text,
                "[[network.bus]]\nname = \"b{bus}\"\nv_ll = \"400V\"\n"
            );
            if bus > 0 {
                // 4 x 150 mm2 aluminium, the cable of a usual low-voltage trunk.
                let _ = write!(
                    text,
                    r#"[[network.line]]
name = "l{bus}"
from = "b{from}"
to = "b{bus}"
length_m = {length_m}
r_ohm_per_km = 0.208
x_ohm_per_km = 0.080
r0_ohm_per_km = 0.832
x0_ohm_per_km = 0.320
"#,
                    from = (bus - 1) / 2,
                    length_m = 20 + bus % 30,
                );
            }
            let inverter = bus / 2 + 1;
            let _ = if bus % 2 == 0 && inverter <= self.inverters {
                write!(
                    text,
                    "[[network.connection]]\ndevice = \"inv{inverter}\"\nbus = \"b{bus}\"\n"
                )
            } else {
                let phase = ["a", "b", "c"][bus % 3];
                write!(
                    text,
                    "[[network.load]]\nbus = \"b{bus}\"\np = \"1kW\"\nq = \"0.2kvar\"\nphase = \"{phase}\"\n"
                )
            };
        }
    }

    /// The course of the day: sun, clouds, and a dip of the frequency every ten seconds.
    fn day(self) -> String {
        let sunny: Vec<String> = (1..=self.inverters)
            .filter(|n| !Self::is_storage(*n))
            .map(|n| format!("\"inv{n}\""))
            .collect();
        format!(
            r#"schema = 1
day = "10min"
start = 0.40
[sun]
devices = [{}]
peak = "4kW"
clouds = 0.7
[[event]]
at = "12s"
every = "10s"
set = "grid.f"
value = 49.85
[[event]]
at = "17s"
every = "10s"
set = "grid.f"
value = 50.0
"#,
            sunny.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rig_of_every_bench_can_be_read_and_has_its_devices() {
        for (inverters, buses) in [(50, Some(100)), (49, None)] {
            let field = Field { inverters, buses };
            let rig = field.read(Path::new("")).expect("the rig is right");
            assert_eq!(rig.devices.len(), field.devices());
            assert_eq!(rig.buses.len(), field.devices(), "each has its own face");
            let network = rig.emulate.network.as_ref();
            assert_eq!(network.map(|n| n.buses.len()), buses);
        }
    }
}
