//! Device profiles: what a device says and takes, as data.
//!
//! A profile is a TOML file: the driver, the emulator and the reference page all
//! read the same one. This crate owns its schema, its validation and the bundled
//! files; it does no I/O on a bus.

pub mod can;
pub mod modbus;
pub mod mqtt;
pub mod sunspec;

mod bundled;
mod codes;
mod near;
mod read;
mod reference;

use std::collections::BTreeSet;
use std::sync::Arc;

use model::Point;

pub use bundled::{bundled, bundled_ids, bundled_text, similar};
pub use codes::{EXPLANATIONS, explanation};
pub use reference::reference_page;

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

impl Profile {
    /// All points that the device says, in canonical order, each once.
    #[must_use]
    pub fn points(&self) -> Vec<Point> {
        let points: BTreeSet<Point> = match &self.protocol {
            Protocol::Modbus(m) => m.points.iter().map(|p| p.point).collect(),
            Protocol::Can(c) => c
                .frames
                .iter()
                .flat_map(|f| f.signals.iter().map(|s| s.point))
                .collect(),
            Protocol::Mqtt(m) => m
                .topics
                .iter()
                .flat_map(|t| t.values.iter().map(|v| v.point))
                .collect(),
        };
        points.into_iter().collect()
    }

    /// Whether the device says this point.
    #[must_use]
    pub fn says(&self, point: Point) -> bool {
        self.points().contains(&point)
    }

    /// All points that can be set, in the order of the file.
    #[must_use]
    pub fn controls(&self) -> Vec<Point> {
        match &self.protocol {
            Protocol::Modbus(m) => m.controls.iter().map(|c| c.point).collect(),
            Protocol::Can(_) => Vec::new(),
            Protocol::Mqtt(m) => m.commands.iter().map(|c| c.point).collect(),
        }
    }

    /// Whether this point can be set.
    #[must_use]
    pub fn takes(&self, point: Point) -> bool {
        self.controls().contains(&point)
    }
}
