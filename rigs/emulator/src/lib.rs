//! The emulated plant and the faces of its devices on real protocols.
//!
//! A [`plant`] (bus, grid, inverters, battery, loads) is stepped by time; [`device`]s
//! measure and command it; [`faces`] speak for the devices in Modbus, CAN and MQTT,
//! over sockets and ptys in real time and over in-memory streams in virtual time;
//! [`faults`] spoil them; a [`mod@bench`] puts a whole rig together.
//!
//! Its encoders are its own: it never uses the drivers' codec, so that a mistake in
//! one does not cancel out in the other. What a device's registers are comes from its
//! profile, which both sides read.

pub mod bench;
pub mod broker;
pub mod course;
pub mod day;
pub mod device;
pub mod faces;
pub mod faults;
pub mod hub;
pub mod plant;
mod pty;
mod relay;
pub mod world;
