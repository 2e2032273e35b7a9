//! Hangs the units of a bench on its network.

use network::description::{Network, On};
use network::tree::TreeError;

use super::DeviceSpec;
use crate::device::{Kind, Metered};
use crate::plant::Plant;
use crate::plant::wires::{Hang, Places, Wires, main_bus};

/// Puts the network between the units; what it does not name hangs on the main busbar.
///
/// # Errors
/// When it is no tree.
pub(super) fn wire(
    plant: &mut Plant,
    network: &Network,
    devices: &[DeviceSpec],
    kinds: &[Option<Kind>],
) -> Result<(), TreeError> {
    let is_breaker = |id: &str| {
        let named = devices.iter().zip(kinds).find(|(d, _)| *d.id == *id);
        named.is_some_and(|(_, kind)| *kind == Some(Kind::Breaker))
    };
    let coupling = network
        .switches
        .iter()
        .position(|switch| switch.device.as_deref().is_some_and(is_breaker));
    let main = Hang {
        bus: main_bus(network, coupling),
        on: On::All,
    };
    let mut places = Places {
        pv: vec![main; plant.pv.len()],
        storage: vec![main; plant.storage.len()],
        gensets: vec![main; plant.gensets.len()],
        loads: vec![main; plant.loads.len()],
        coupling,
    };
    for (device, kind) in devices.iter().zip(kinds) {
        let own = network.connections.iter().find(|c| c.device == device.id);
        let (Some(connection), Some(kind)) = (own, kind) else {
            continue;
        };
        let place = match *kind {
            Kind::Pv(n) => places.pv.get_mut(n),
            Kind::Storage(n) => places.storage.get_mut(n),
            Kind::Genset(n) => places.gensets.get_mut(n),
            Kind::Plug(n) | Kind::ElectronicLoad(n) | Kind::Meter(Metered::Load(n)) => {
                places.loads.get_mut(n)
            }
            // They see the voltage of what they belong to.
            Kind::Pcc
            | Kind::Breaker
            | Kind::Source
            | Kind::Battery(_)
            | Kind::Meter(Metered::Pv(_) | Metered::Storage(_) | Metered::Genset(_)) => None,
        };
        if let Some(place) = place {
            *place = Hang {
                bus: connection.bus,
                on: connection.on,
            };
        }
    }
    let phases = plant.site().phases;
    plant.wire(Wires::new(network, &places, phases)?);
    Ok(())
}
