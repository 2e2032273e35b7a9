//! The network between the devices, as the emulated bench has it.

use std::sync::Arc;

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
    table.finish();
    network.map(Arc::new)
}
