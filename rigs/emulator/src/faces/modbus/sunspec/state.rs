//! What model 701 tells of the state of a device.

use der_model::Status;
use der_model::trip::Cause;
use model::Point;

use crate::world::World;

/// Whether it operates.
pub(super) fn operates(world: &World, device: usize) -> Option<f64> {
    let off = inverter(world, device)? < 1.0;
    Some(if off { 0.0 } else { 1.0 })
}

/// Its state in this model's own enumeration, which counts from zero what model 103 counts from one.
//= SunSpec model 701, point InvSt: 0 off, 1 sleeping, 2 starting, 3 running, 4 throttled,
// 5 shutting down, 6 fault, 7 standby.
pub(super) fn inverter(world: &World, device: usize) -> Option<f64> {
    Some(world.value(device, Point::State)? - 1.0)
}

/// Whether it is connected to its bus: one that has tripped, or waits to enter service, is not.
pub(super) fn connected(world: &World, device: usize) -> Option<f64> {
    let device_there = world.devices().get(device)?;
    if let Some(functions) = world.functions(device) {
        let on = matches!(
            functions.status(),
            Status::On | Status::Entering | Status::Ceased
        );
        return Some(f64::from(u8::from(on)));
    }
    match device_there.is_on_load(&world.plant) {
        Some(on_load) => Some(f64::from(u8::from(on_load))),
        None => world.value(device, Point::SwitchOn),
    }
}

/// How it works, as bits.
//= SunSpec model 701, point DERMode: 0 grid following, 1 grid forming.
pub(super) fn mode(world: &World, device: usize) -> Option<f64> {
    let forms = world.devices().get(device)?.forms(&world.plant);
    Some(if forms { 2.0 } else { 1.0 })
}

/// Its alarms as bits: why it has tripped.
//= SunSpec model 701, point Alrm: 4 grid disconnect, 8 and 9 over- and under-frequency, 10 and 11
// over- and under-voltage, 16 the manufacturer's own.
pub(super) fn alarms(world: &World, device: usize) -> Option<f64> {
    let cause = world.functions(device).and_then(|der| der.model().cause());
    let bit = match cause {
        None => return Some(0.0),
        Some(Cause::Island) => 4,
        Some(Cause::OverFrequency) => 8,
        Some(Cause::UnderFrequency) => 9,
        Some(Cause::OverVoltage) => 10,
        Some(Cause::UnderVoltage) => 11,
        Some(Cause::Rocof | Cause::PhaseJump) => 16,
    };
    Some(f64::from(1_u32 << bit))
}

/// Seconds until it may enter service.
pub(super) fn enters_in(world: &World, device: usize) -> Option<f64> {
    let waits_s = world
        .functions(device)
        .and_then(|der| der.model().enters_in_s());
    Some(waits_s.unwrap_or(0.0).ceil())
}
