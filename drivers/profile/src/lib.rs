//! Device profiles: what a device says and takes, as data.
//!
//! A profile is a TOML file: the driver, the emulator and the reference page all
//! read the same one. This crate owns its schema, its validation and the bundled
//! files; it does no I/O on a bus.

pub mod can;
pub mod modbus;
pub mod mqtt;

use std::sync::Arc;

/// A device profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Identity such as `eastron/sdm630`, the name that rigs use.
    pub id: Arc<str>,
    /// What the device is, in a line, with vendor and model.
    pub title: String,
    /// Revision of this profile, raised with every change of meaning.
    pub version: u32,
    /// Documents that the profile was made from, with revision.
    pub source: Vec<String>,
    /// How the device is reached and what it says there.
    pub protocol: Protocol,
}

/// How a device is reached.
#[derive(Clone, Debug, PartialEq)]
pub enum Protocol {
    /// Modbus TCP or RTU: registers.
    Modbus(modbus::ModbusProfile),
    /// CAN: frames with signals.
    Can(can::CanProfile),
    /// MQTT: topics with payloads.
    Mqtt(mqtt::MqttProfile),
}
