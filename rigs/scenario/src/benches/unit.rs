//! The devices that the Modbus benches read: profiles made for counting, not for a bench.

use std::sync::Arc;
use std::time::Duration;

use model::Point;
use profile::modbus::{
    Address, DataType, Encoding, Layout, ModbusProfile, Patterns, Poll, RegisterPoint, Table,
    WordOrder, WriteFunction,
};
use profile::{Profile, Protocol};

/// A point at a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Its name.
    pub point: Point,
    /// Its holding register, zero-based.
    pub address: u16,
    /// Its type.
    pub data: DataType,
}

/// Times of a device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Time to wait for an answer.
    pub timeout: Duration,
    /// Time in which a late answer may still come.
    pub late_window: Duration,
}

/// A device with these points in holding registers, all of them read fast, and no control.
pub(super) fn profile(id: &str, places: &[Place], times: Times) -> Arc<Profile> {
    let points = places.iter().map(|place| RegisterPoint {
        point: place.point,
        address: Address::Fixed {
            table: Table::Holding,
            address: place.address,
        },
        encoding: Encoding {
            data: place.data,
            order: WordOrder::BigFirst,
            factor: 1.0,
            scale: None,
            not_implemented: Patterns::default(),
        },
        range: (f64::MIN, f64::MAX),
        poll: Poll::Fast,
        monotonic: false,
    });
    Arc::new(Profile {
        id: id.into(),
        title: "a device of a bench".into(),
        version: 1,
        source: Vec::new(),
        opt_in: false,
        protocol: Protocol::Modbus(ModbusProfile {
            unit: 1,
            timeout: times.timeout,
            min_gap: Duration::ZERO,
            late_window: times.late_window,
            connect_delay: Duration::ZERO,
            max_regs: 125,
            max_gap: 0,
            serial: None,
            write_function: WriteFunction::Multiple,
            layout: Layout::Fixed,
            identify: Vec::new(),
            points: points.collect(),
            controls: Vec::new(),
            heartbeats: Vec::new(),
        }),
    })
}
